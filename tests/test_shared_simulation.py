"""The simulation of programs that share a PostgreSQL journal, freeze, and wake up minutes later.

``python -m simulation --profile shared`` in this directory replays a seed and soaks.
"""

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulation import crowd
from simulation.__main__ import main
from simulation.bugs import planted
from simulation.coverage import POSSIBLE_IF_SHARED, missing
from simulation.hunt import MOST_SEEDS, find, read_killers
from simulation.loop import WHOSE, Mortal, make_loop
from simulation.planting import SHARED_BUGS
from simulation.world import run_seed
from test_simulation import sleep

SEEDS = range(350)
"""20 s on two cores of a small machine."""
KILLERS = read_killers("shared")
pytestmark = [
    pytest.mark.timeout(600),
    # Programs that are killed leave coroutines behind, and anyio's scopes cannot end in no loop.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def collect_garbage() -> Iterator[None]:
    """Let what is left of the dead be collected here, and not in another test."""
    yield
    gc.collect()


def test_shared() -> None:
    """No rule is broken by rivals that freeze, and every fault was hit at every statement."""
    total = crowd.run_seeds(SEEDS, "shared")

    assert [] == total.failures
    assert [] == missing(total.hits, POSSIBLE_IF_SHARED)


def test_same_seed_same_history() -> None:
    """A seed gives the same history again, also in a program that hashes differently."""
    digests = [run_seed(seed, "shared").digest for seed in range(10)]

    assert 10 == len(set(digests))
    told = subprocess.run(
        [sys.executable, "-c", _TELL_DIGESTS],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parent,
    )
    assert digests == told.stdout.split()


_TELL_DIGESTS = """
from simulation.world import run_seed
print(*[run_seed(seed, "shared").digest for seed in range(9, -1, -1)][::-1])
"""


def test_replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line that a report ends with tells the same history."""
    line = run_seed(3, "shared").replay
    monkeypatch.setattr(sys, "argv", line.split()[2:])

    assert 0 == main()
    assert run_seed(3, "shared").digest in capsys.readouterr().out


def test_frozen_programs_go_on_where_they_stood() -> None:
    """A program that stands still runs nothing, and then all of it, with timers that are late."""
    loop, mortal, told = make_loop(1), Mortal(), list[tuple[float, str]]()

    async def live() -> None:
        told.append((loop.now, "begins"))
        await sleep(loop, 2.0)
        told.append((loop.now, "wakes"))
        await sleep(loop, 1.0)
        told.append((loop.now, "goes on"))

    async def watch() -> None:
        token = WHOSE.set(mortal)
        loop.create_task(live())
        WHOSE.reset(token)
        await sleep(loop, 1.0)
        mortal.freeze()
        await sleep(loop, 100.0)
        assert 1 == len(told)
        loop.thaw(mortal)
        await sleep(loop, 5.0)

    loop.run(watch())

    assert ["begins", "wakes", "goes on"] == [what for _, what in told]
    assert pytest.approx([0.0, 101.0, 102.0], abs=0.001) == [at for at, _ in told]


def test_table() -> None:
    """Every bug of a shared journal was found within 2,000 seeds."""
    assert set(SHARED_BUGS) == set(KILLERS)
    assert len(SHARED_BUGS) >= 5
    late = [k.bug for k in KILLERS.values() if not k.found_after or k.found_after > MOST_SEEDS]
    assert [] == late


@pytest.mark.parametrize("bug", SHARED_BUGS)
def test_found(bug: str) -> None:
    """The bug breaks a rule in a world where no rule is broken without it."""
    seeds = KILLERS[bug].seeds
    with planted(bug):
        found = [seed for seed in seeds if run_seed(seed, "shared").problem is not None]
    # A change of the library changes what a seed does: then the seeds are looked for anew.
    found = found or list(find(bug, "shared", enough=1).seeds)

    assert found
    assert [None] * len(found) == [run_seed(seed, "shared").problem for seed in found]
