"""The simulation: whatever goes wrong, nobody is paid twice and nothing is lost.

``python -m simulation`` in this directory replays a seed and soaks.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from simulation import crowd
from simulation.__main__ import main
from simulation.coverage import missing
from simulation.loop import WHOSE, Mortal, SeededLoop, Stuck, make_loop
from simulation.world import run_seed

SWARM = range(9_000)
"""Adversarial worlds: 90 s on one core of a small machine."""
ONE_PERCENT = range(2_000)
CALM = range(300)
pytestmark = pytest.mark.timeout(900)


def test_swarm() -> None:
    """No rule is broken in any world, and every fault was hit at every step."""
    total = crowd.run_seeds(SWARM, "swarm")

    assert [] == total.failures
    assert [] == missing(total.hits)


def test_calm() -> None:
    """With no faults every payout is paid once and nobody is needed."""
    total = crowd.run_seeds(CALM, "calm")

    assert [] == total.failures
    assert (0, 0) == (total.attention, total.hits.total())


def test_one_percent() -> None:
    """With one faulty request in a hundred at most one payout in a hundred needs a person."""
    total = crowd.run_seeds(ONE_PERCENT, "one-percent")

    assert [] == total.failures
    assert total.hits.total() > 100
    assert total.attention <= total.payouts / 100


def test_same_seed_same_history() -> None:
    """A seed gives the same history again, also in a program that hashes differently."""
    digests = [run_seed(seed).digest for seed in range(20)]

    assert digests == [run_seed(seed).digest for seed in range(20)]
    assert 20 == len(set(digests))
    told = subprocess.run(
        [sys.executable, "-c", _TELL_DIGESTS],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
        timeout=150,
        cwd=Path(__file__).parent,
    )
    assert digests == told.stdout.split()


_TELL_DIGESTS = """
from simulation.world import run_seed
print(*(run_seed(seed).digest for seed in range(20)))
"""


def test_replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line that a report ends with tells the same history."""
    line = run_seed(3).replay
    monkeypatch.setattr(sys, "argv", line.split()[2:])

    assert 0 == main()
    assert run_seed(3).digest in capsys.readouterr().out


class TestLoop:
    def test_order_follows_from_the_seed(self) -> None:
        """What is ready at once runs in an order that the seed decides."""

        def order(seed: int) -> list[int]:
            loop, ran = make_loop(seed), list[int]()

            async def main() -> None:
                for number in range(20):
                    loop.call_soon(ran.append, number)
                await sleep(loop, 1.0)

            loop.run(main())
            return ran

        assert order(1) == order(1)
        assert sorted(order(1)) == sorted(order(2))
        assert order(1) != order(2)

    def test_the_dead_do_nothing(self) -> None:
        """A program that is killed runs not one more line, not even to clean up."""
        loop, mortal, told = make_loop(1), Mortal(), list[str]()

        async def live() -> None:
            try:
                told.append("begins")
                await sleep(loop, 2.0)
                told.append("goes on")
            finally:
                if loop.verdict is None and not is_over:
                    told.append("cleans up")

        async def watch() -> None:
            token = WHOSE.set(mortal)
            loop.create_task(live())
            WHOSE.reset(token)
            await sleep(loop, 1.0)
            mortal.die()
            await sleep(loop, 5.0)
            is_over.append(True)

        is_over: list[bool] = []
        loop.run(watch())

        assert ["begins"] == told

    def test_stuck(self) -> None:
        """A world in which everybody waits for ever is found out."""
        loop = make_loop(1)

        async def wait() -> None:
            await loop.create_future()

        with pytest.raises(Stuck):
            loop.run(wait())


async def sleep(loop: SeededLoop, seconds: float) -> None:
    """Sleep in virtual time."""
    until = loop.create_future()
    loop.call_later(seconds, until.set_result, None)
    await until
