"""Repeating does what tenacity's own asyncio loop does, for policies that are plain functions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    RetryError,
    TryAgain,
    retry_any,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    wait_incrementing,
)

from billblend_async.repeating import Repeating


class Ours(Exception):
    """Something that a step raises."""


class Theirs(Exception):
    """Something that a step raises and that no policy knows."""


Step = int | type[BaseException]
"""What comes of one step: a result, or an exception."""
STEPS = st.lists(
    st.integers(-2, 2) | st.sampled_from([Ours, Theirs, TryAgain, asyncio.CancelledError]),
    max_size=8,
)
_EXCEPTIONS = (Exception, asyncio.CancelledError)


@attrs.define
class Told:
    """All that can be seen of a repetition.

    Attributes:
        end: Its result, or the kind of its exception and what that holds.
        steps: How many steps were made.
        naps: The seconds of each nap.
        heard: What the policies were told, in its order.
        statistics: What it counted.
    """

    end: object = None
    steps: int = 0
    naps: list[float] = attrs.field(factory=list)
    heard: list[tuple[object, ...]] = attrs.field(factory=list)
    statistics: dict[str, Any] = attrs.field(factory=dict)


def repeat(
    made: Callable[..., Any],
    nap: str,
    steps: list[Step],
    *,
    most: int,
    cancelled_nap: int | None,
    **options: Any,
) -> Told:
    """Repeat a sequence of steps with the same policies; give all that can be seen."""
    told, errors = Told(), dict[int, BaseException]()

    async def step(*args: object, **named: object) -> int:
        assert ((7,), {"name": "x"}) == (args, named)
        what = steps[told.steps] if told.steps < len(steps) else 0
        told.steps += 1
        await asyncio.sleep(0)
        if isinstance(what, int):
            return what
        errors[told.steps] = what()
        raise errors[told.steps]

    async def doze(seconds: float) -> None:
        told.naps.append(float(seconds))
        await asyncio.sleep(0)
        if len(told.naps) == cancelled_nap:
            raise asyncio.CancelledError

    def hears(name: str) -> Callable[[RetryCallState], None]:
        def hear(state: RetryCallState) -> None:
            upcoming = state.upcoming_sleep if name == "before_sleep" else None
            told.heard.append((name, state.attempt_number, upcoming))

        return hear

    policies: dict[str, Any] = {
        nap: doze,
        "retry": retry_any(
            retry_if_result(lambda result: result < 0), retry_if_exception_type(Ours)
        ),
        "stop": stop_after_attempt(most),
        "wait": wait_incrementing(1, 2),
        "before": hears("before"),
        "after": hears("after"),
        "before_sleep": hears("before_sleep"),
        **options,
    }
    repeating = made(**policies)

    async def main() -> None:
        try:
            told.end = await repeating(step, 7, name="x")
        except RetryError as error:
            told.end = RetryError, error.last_attempt.attempt_number
        except _EXCEPTIONS as error:
            told.end = type(error), error in errors.values() or "of the nap"

    asyncio.run(main())
    told.statistics = {
        name: figure
        for name, figure in repeating.statistics.items()
        if name not in {"start_time", "delay_since_first_attempt"}
    }
    assert told.statistics["attempt_number"] == 1 + len(told.naps)
    return told


def last(state: RetryCallState) -> object:
    """Give the number of the last attempt, as a host's callback may."""
    return "given up", state.attempt_number


class TestSame:
    @given(
        STEPS,
        st.integers(1, 8),
        st.none() | st.integers(1, 4),
        st.sampled_from([{}, {"reraise": True}, {"retry_error_callback": last}]),
    )
    def test_any(
        self, steps: list[Step], most: int, cancelled_nap: int | None, options: dict[str, Any]
    ) -> None:
        """Whatever the steps bring, all that can be seen is as with tenacity's own loop."""
        theirs, ours = (
            repeat(made, nap, steps, most=most, cancelled_nap=cancelled_nap, **options)
            for made, nap in ((AsyncRetrying, "sleep"), (Repeating, "nap"))
        )

        assert theirs == ours


class TestEnds:
    async def repeat(self, step: Callable[[], Awaitable[object]], **options: Any) -> object:
        """Repeat a step until it gives something true."""

        async def nap(_: float) -> None:
            await asyncio.sleep(0)

        retry = retry_if_result(lambda result: not result)
        return await Repeating(nap=nap, **{"retry": retry, **options})(step)

    @pytest.mark.parametrize(
        "error", [Ours("x"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError("x")]
    )
    async def test_exception(self, error: BaseException) -> None:
        """What a step raises comes out as it is."""

        async def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            await self.repeat(fail)

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

        task = asyncio.create_task(self.repeat(step))
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

        async def nap(_: float) -> None:
            napping.set()
            await asyncio.get_running_loop().create_future()

        repeating = Repeating(nap=nap, retry=retry_if_result(lambda result: result is None))
        task = asyncio.create_task(repeating(step))
        await napping.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert 1 == steps

    async def test_side_by_side(self) -> None:
        """Repetitions that run at the same time count each for itself."""

        async def run(most: int) -> tuple[int, int]:
            steps = 0

            async def step() -> bool:
                nonlocal steps
                steps += 1
                await asyncio.sleep(0)
                return steps == most

            async def nap(_: float) -> None:
                await asyncio.sleep(0)

            repeating = Repeating(
                nap=nap,
                retry=retry_if_result(lambda result: not result),
                stop=lambda state: state.attempt_number > most,
            )
            assert await repeating(step)
            return steps, repeating.statistics["attempt_number"]

        told = await asyncio.gather(*(run(most) for most in range(1, 40)))

        assert [(most, most) for most in range(1, 40)] == told
