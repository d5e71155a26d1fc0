"""tenacity's policies around a step that is repeated, at a third of what its own loop costs."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tenacity import BaseRetrying, RetryCallState

__all__ = ["Repeating"]

T = TypeVar("T")


class Repeating(BaseRetrying):
    """Repeats a step as tenacity's policies say, by what it gives; one object for all waits.

    ``tenacity.AsyncRetrying`` lets every policy be a coroutine and collects anew, for each
    repetition, what is to be called: that costs more than the question that is repeated. Here the
    step and the nap are awaited, and ``retry``, ``stop`` and ``wait`` are plain functions. What
    one repetition knows is in its own ``RetryCallState``, so any number may share the object.
    Whatever the step raises ends the repetition and is raised.

    Args:
        retry: Whether what a step gave asks for another one.
        stop: Whether to give up instead.
        wait: Seconds until the next step.
        nap: Awaited between two steps; ``upcoming_sleep`` says how long.
    """

    def __init__(
        self,
        *,
        retry: Callable[[RetryCallState], bool],
        stop: Callable[[RetryCallState], bool],
        wait: Callable[[RetryCallState], float],
        nap: Callable[[RetryCallState], Awaitable[None]],
    ) -> None:
        super().__init__(sleep=_never, retry=retry, stop=stop, wait=wait)
        self._nap = nap

    async def __call__(  # type: ignore[override]  # awaited, as AsyncRetrying's is
        self,
        fn: Callable[..., Awaitable[T]],
        *args: Any,  # noqa: ANN401 - handed on
        **kwargs: Any,  # noqa: ANN401 - handed on
    ) -> T:
        """Repeat a step until a policy ends that; give what the last one gave."""
        state = RetryCallState(self, fn, args, kwargs)
        while True:
            result = await fn(*args, **kwargs)
            state.set_result(result)
            if not self.retry(state):
                return result
            state.upcoming_sleep = seconds = self.wait(state)
            if self.stop(state):
                return result
            del result  # and what ``state`` has of it: thousands wait at once
            state.prepare_for_next_attempt()
            state.upcoming_sleep = seconds
            state.idle_for += seconds
            await self._nap(state)


def _never(_seconds: float) -> None:
    raise AssertionError("a step that is awaited naps; it does not sleep")
