"""One timer of the loop ends every nap at its instant."""

import asyncio

import pytest
from house import virtually_alone
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from billblend_async.orchestrator.polling import Alarms

NAPS = st.lists(
    st.tuples(
        st.floats(0, 100), st.floats(0.001, 100), st.sampled_from(["sleeps", "is woken", "is cut"])
    ),
    max_size=200,
)


@given(NAPS)
def test_any_naps(naps: list[tuple[float, float, str]]) -> None:
    """Each nap ends at its own instant or when somebody ends it, however many there are."""

    async def main() -> None:
        alarms, loop = Alarms(), asyncio.get_running_loop()

        async def nap(start: float, seconds: float, how: str) -> None:
            await asyncio.sleep(start)
            began = loop.time()
            alarm = alarms.set(began + seconds)
            if how != "sleeps":
                loop.call_later(
                    seconds / 2,
                    alarms.end if how == "is woken" else asyncio.Future.cancel,
                    alarm,
                )
            try:
                await alarm
            except asyncio.CancelledError:
                alarms.end(alarm)
            ought = began + (seconds if how == "sleeps" else seconds / 2)
            assert 0 <= loop.time() - ought + 1e-9 < 1e-3

        await asyncio.gather(*(nap(*one) for one in naps))
        await asyncio.sleep(300)
        assert [] == alarms._entries
        assert alarms._timer is None

    run_virtual(main())


@virtually_alone
async def test_one_timer() -> None:
    """A thousand naps need one timer, which is set for the first of them."""
    alarms, loop = Alarms(), asyncio.get_running_loop()
    naps = [alarms.set(loop.time() + 1000 - number) for number in range(1000)]

    assert alarms._timer is not None
    assert naps[-1] is min(alarms._entries)[2]
    await naps[-1]
    assert pytest.approx(1.0) == loop.time()
    assert not naps[0].done()


@virtually_alone
async def test_ended_naps_leave() -> None:
    """What is ended early over and over does not pile up until its instant."""
    alarms, loop = Alarms(), asyncio.get_running_loop()
    for _ in range(10_000):
        alarms.end(alarms.set(loop.time() + 300))

    assert len(alarms._entries) < 200


@virtually_alone
async def test_woken_at_its_instant() -> None:
    """An alarm that is ended just when it rings is done once, and no error."""
    alarms, loop = Alarms(), asyncio.get_running_loop()
    first, second = alarms.set(loop.time() + 1), alarms.set(loop.time() + 1)
    first.add_done_callback(lambda _: alarms.end(second))
    await first
    await second
    await asyncio.sleep(1)

    assert [] == alarms._entries
