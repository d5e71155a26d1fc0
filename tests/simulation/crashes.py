"""Crash points: a program is killed at one turn of the loop after the other, and at pairs of them.

Every await ends a turn, so killing after each turn is killing at every await, send and append. Up
to its death a run is the same as the one that lives, so no point is missed.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from .plan import Life, Plan, draw_plan
from .world import Report, run_plan

__all__ = ["BASES", "Deaths", "all_points", "base_turns", "pairs", "plan_deaths", "run_deaths"]

Deaths = tuple[int, tuple[int, ...]]
"""A seed, and the turns after which its programs are killed, one after the other."""

BASES: Final = range(40)
"""The seeds of the runs that are crashed everywhere."""
_LONG: Final = 3000.0
_PAYOUTS: Final = 2


def plan_deaths(seed: int, deaths: Sequence[int]) -> Plan:
    """Draw the plan of a seed whose programs are killed after these turns and by nothing else."""
    plan = draw_plan(seed, "swarm")
    manner = random.Random(f"{seed}/crashes").choice(("batch", "each"))
    return attrs.evolve(
        plan,
        requests=plan.requests[:_PAYOUTS],
        lives=tuple(
            Life(
                manner="resume" if number else manner,  # type: ignore[arg-type] # both are manners
                ends_after=_LONG,
                is_killed=False,
                dies_after=turn,
            )
            for number, turn in enumerate(deaths or (None,))
        ),
        deaths=tuple(deaths),
    )


def run_deaths(seed: int, deaths: Sequence[int], *, keeps_history: bool = False) -> Report:
    """Run a seed and kill its programs after these turns."""
    return run_plan(plan_deaths(seed, deaths), keeps_history=keeps_history)


def base_turns(seed: int) -> int:
    """Count the turns of a seed's first program when nobody kills it: the points to die at."""
    report = run_deaths(seed, ())
    if report.problem is not None:
        raise AssertionError(report.problem)
    return report.turns[0]


def all_points(seeds: Iterable[int] = BASES, *, step: int = 1, start: int = 1) -> Iterator[Deaths]:
    """List every point of these seeds, or every so-many-th, beginning elsewhere in each seed."""
    for seed in seeds:
        turns = base_turns(seed)
        for turn in range(start + seed % step, turns + 1, step):
            yield seed, (turn,)


def pairs(count: int, *, first: int = 0, seeds: Sequence[int] = BASES) -> Iterator[Deaths]:
    """Draw pairs of points: the program dies, and so does the one that takes over."""
    chance = random.Random(f"{first}/pairs")
    turns = {seed: base_turns(seed) for seed in seeds}
    for _ in range(count):
        seed = chance.choice(seeds)
        yield seed, (chance.randint(1, turns[seed]), chance.randint(1, turns[seed]))
