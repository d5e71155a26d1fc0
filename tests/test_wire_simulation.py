"""The simulation at the level of HTTP requests: httpx, httpcore and h11 run over faulty bytes.

``python -m simulation --profile wire`` in this directory replays a seed and soaks.
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
from simulation.coverage import POSSIBLE_ON_THE_WIRE, missing
from simulation.hunt import MOST_SEEDS, find, read_killers
from simulation.planting import WIRE_BUGS
from simulation.world import run_seed

SEEDS = range(2_000)
"""55 s on two cores of a small machine."""
KILLERS = read_killers("wire")
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


def test_wire() -> None:
    """No rule is broken whatever becomes of the bytes, and every fault was hit at every step."""
    total = crowd.run_seeds(SEEDS, "wire")

    assert [] == total.failures
    assert [] == missing(total.hits, POSSIBLE_ON_THE_WIRE)


def test_same_seed_same_history() -> None:
    """A seed gives the same history again, also in a program that hashes differently."""
    digests = [run_seed(seed, "wire").digest for seed in range(20)]

    assert digests == [run_seed(seed, "wire").digest for seed in range(20)]
    assert 20 == len(set(digests))
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
print(*[run_seed(seed, "wire").digest for seed in range(19, -1, -1)][::-1])
"""


def test_replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line that a report ends with tells the same history."""
    line = run_seed(3, "wire").replay
    monkeypatch.setattr(sys, "argv", line.split()[2:])

    assert 0 == main()
    assert run_seed(3, "wire").digest in capsys.readouterr().out


def test_table() -> None:
    """Every bug of the client and its transport was found within 2,000 seeds."""
    assert set(WIRE_BUGS) == set(KILLERS)
    late = [k.bug for k in KILLERS.values() if not k.found_after or k.found_after > MOST_SEEDS]
    assert [] == late


@pytest.mark.parametrize("bug", WIRE_BUGS)
def test_found(bug: str) -> None:
    """The bug breaks a rule in a world where no rule is broken without it."""
    seeds = KILLERS[bug].seeds
    with planted(bug):
        found = [seed for seed in seeds if run_seed(seed, "wire").problem is not None]
    # A change of the library changes what a seed does: then the seeds are looked for anew.
    found = found or list(find(bug, "wire", enough=1).seeds)

    assert found
    assert [None] * len(found) == [run_seed(seed, "wire").problem for seed in found]
