"""tenacity's policies around a step that is repeated, at a third of what its asyncio loop costs."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from tenacity import BaseRetrying, DoAttempt, DoSleep, RetryCallState

__all__ = ["Repeating"]


class Repeating(BaseRetrying):
    """Repeats an asynchronous step as plain policy functions say; one object for one wait.

    ``tenacity.AsyncRetrying`` lets every policy be a coroutine: for each repetition it looks over a
    dozen functions and wraps them anew, which costs more than the question that is repeated. Here
    the step and the nap are awaited, and ``retry``, ``stop`` and ``wait`` are plain functions.

    Args:
        nap: Awaited between two steps, with its seconds.
        policies: As for ``tenacity.AsyncRetrying``.
    """

    def __init__(
        self,
        *,
        nap: Callable[[float], Awaitable[None]],
        **policies: Any,  # noqa: ANN401 - handed on
    ) -> None:
        super().__init__(sleep=_never, **policies)
        self._nap = nap

    async def __call__(  # type: ignore[override]  # awaited, as AsyncRetrying's is
        self,
        fn: Callable[..., Awaitable[Any]],
        *args: Any,  # noqa: ANN401 - handed on
        **kwargs: Any,  # noqa: ANN401 - handed on
    ) -> Any:  # noqa: ANN401 - what the step or ``retry_error_callback`` gives
        """Repeat a step until a policy ends that; give its last result, or raise its exception."""
        self.begin()
        state = RetryCallState(self, fn, args, kwargs)
        while True:
            do = self.iter(state)
            self.iter_state.reset()  # or each payout that waits keeps a dozen functions alive
            if isinstance(do, DoAttempt):
                try:
                    result = await fn(*args, **kwargs)
                except BaseException:  # noqa: BLE001 - ``retry`` decides; what it leaves is raised
                    state.set_exception(sys.exc_info())  # type: ignore[arg-type]  # an exception
                else:
                    state.set_result(result)
            elif isinstance(do, DoSleep):
                state.prepare_for_next_attempt()
                await self._nap(do)
            else:
                return do


def _never(_seconds: float) -> None:
    raise AssertionError("a step that is awaited naps; it does not sleep")
