"""Repeating does what tenacity's own asyncio loop does, for policies that are plain functions."""

import asyncio
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    RetryError,
    retry_if_result,
    stop_after_attempt,
    stop_never,
    wait_incrementing,
    wait_none,
)

from billblend_async.orchestrator.polling import Repeating


@attrs.define
class Told:
    """All that can be seen of a repetition.

    Attributes:
        end: What it gave.
        steps: What each step was called with.
        naps: The seconds of each nap.
        heard: What the policies were told, in its order.
    """

    end: object = None
    steps: list[object] = attrs.field(factory=list)
    naps: list[float] = attrs.field(factory=list)
    heard: list[tuple[object, ...]] = attrs.field(factory=list)


def repeat(made: Callable[..., Any], nap: str, results: list[int], most: int) -> Told:
    """Repeat steps that give these results with the same policies; tell all that can be seen."""
    told = Told()

    async def step(*args: object, **named: object) -> int:
        told.steps.append((args, named))
        await asyncio.sleep(0)
        return results[len(told.steps) - 1] if len(told.steps) <= len(results) else 0

    async def doze(about: float | RetryCallState) -> None:
        seconds = about.upcoming_sleep if isinstance(about, RetryCallState) else about
        told.naps.append(float(seconds))
        await asyncio.sleep(0)

    def hears(name: str, policy: Callable[[RetryCallState], Any]) -> Callable[..., Any]:
        def hear(state: RetryCallState) -> Any:
            result = None if state.outcome is None else state.outcome.result()
            about = name, state.attempt_number, result, state.idle_for
            told.heard.append((*about, state.upcoming_sleep if name == "stop" else None))
            return policy(state)

        return hear

    repeating = made(
        **{nap: doze},
        retry=hears("retry", retry_if_result(lambda result: result < 0)),
        stop=hears("stop", stop_after_attempt(most)),
        wait=hears("wait", wait_incrementing(1, 2)),
    )

    async def main() -> object:
        try:
            return await repeating(step, 7, name="x")
        except RetryError as error:
            return error.last_attempt.result()

    told.end = asyncio.run(main())
    return told


class TestSame:
    @given(st.lists(st.integers(-2, 2), max_size=8), st.integers(1, 8))
    def test_any(self, results: list[int], most: int) -> None:
        """Whatever the steps give, all that can be seen is as with tenacity's own loop."""
        theirs = repeat(AsyncRetrying, "sleep", results, most)

        assert theirs == repeat(Repeating, "nap", results, most)


async def no_nap(_: RetryCallState) -> None:
    """Sleep for no time."""
    await asyncio.sleep(0)


def forever(**options: Any) -> Repeating:
    """Repeat until a step gives something true."""
    policies: dict[str, Any] = {
        "retry": retry_if_result(lambda result: not result),
        "stop": stop_never,
        "wait": wait_none(),
        "nap": no_nap,
    }
    return Repeating(**policies | options)


class TestEnds:
    @pytest.mark.parametrize(
        "error", [OSError("x"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError("x")]
    )
    async def test_exception(self, error: BaseException) -> None:
        """What a step raises comes out as it is."""

        async def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            await forever()(fail)

        assert caught.value is error
        assert error.__cause__ is None

    async def test_cancelled_step(self) -> None:
        """Whoever is cancelled in a step makes no other one."""
        begun = asyncio.Event()
        steps = 0

        async def step() -> None:
            nonlocal steps
            steps += 1
            begun.set()
            await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(forever()(step))
        await begun.wait()
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (1, 1) == (steps, task.cancelling())

    async def test_cancelled_nap(self) -> None:
        """Whoever is cancelled in a nap makes no other step."""
        napping = asyncio.Event()
        steps = 0

        async def step() -> None:
            nonlocal steps
            steps += 1

        async def nap(_: RetryCallState) -> None:
            napping.set()
            await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(forever(nap=nap)(step))
        await napping.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert 1 == steps

    async def test_side_by_side(self) -> None:
        """Repetitions of one object that run at the same time do not meet."""
        repeating = forever()

        async def run(most: int) -> int:
            steps = 0

            async def step() -> bool:
                nonlocal steps
                steps += 1
                await asyncio.sleep(0)
                return steps == most

            assert await repeating(step)
            return steps

        told = await asyncio.gather(*(run(most) for most in range(1, 40)))

        assert list(range(1, 40)) == told
