"""Planted bugs: the simulation sees every one of many small mistakes in the rules."""

import pytest
from simulation.bugs import BUGS, planted
from simulation.hunt import MOST_SEEDS, find, read_killers
from simulation.world import run_seed

KILLERS = read_killers()


def test_table() -> None:
    """Every bug was found within 2,000 seeds."""
    assert set(BUGS) == set(KILLERS)
    assert len(BUGS) >= 20
    late = [k.bug for k in KILLERS.values() if not k.found_after or k.found_after > MOST_SEEDS]
    assert [] == late


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS)
def test_found(bug: str) -> None:
    """The bug breaks a rule in a world where no rule is broken without it."""
    seeds = KILLERS[bug].seeds
    with planted(bug):
        found = [seed for seed in seeds if run_seed(seed).problem is not None]
    # A change of the library changes what a seed does: then the seeds are looked for anew.
    found = found or list(find(bug, enough=1).seeds)

    assert found
    assert [None] * len(found) == [run_seed(seed).problem for seed in found]
