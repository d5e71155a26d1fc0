"""Crash points: a program may die at any await, and so may the one that takes over."""

import pytest
from simulation import crowd
from simulation.crashes import BASES, all_points, pairs, run_deaths

PAIRS = 3_000
"""Together with the points 10,000 runs: 60 s on two cores of a small machine."""


@pytest.mark.timeout(900)
def test_every_point_and_pairs_of_them() -> None:
    """Wherever a program dies, nobody is paid twice and the next one finishes the work."""
    points = list(all_points())
    total = crowd.run_all_crashes([*points, *pairs(PAIRS)])

    assert [] == total.failures
    assert len(points) > 100 * len(BASES)
    assert total.crashes > total.seeds


def test_a_point_is_a_death() -> None:
    """The program dies after the turn that was asked for."""
    report = run_deaths(1, (40,))

    assert 40 == report.turns[0]
    assert 1 == report.crashes
    assert "--die-after 40" in report.replay
