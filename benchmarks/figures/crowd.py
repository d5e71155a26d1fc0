"""P1 to P3: many payouts that start at once, ours beside what people would write instead."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import attrs

from ..arena import DidNotFinish, Result
from ..entrants import ENTRANTS, PLAIN, TEXTBOOK, THREADS, Entrant, ours
from ..row import Row
from .stand import Stand

__all__ = ["Runs", "compare", "crowd", "tell"]


Runs = dict[int, Result]
"""What came of each round that an entrant took part in."""


def crowd(stand: Stand) -> Iterator[Row]:
    """Run everybody in turn, some rounds, and compare the CPU time of a payout."""
    results: dict[Entrant, Runs] = defaultdict(dict)
    quickest, usual = stand.fast(), ours("httpx")
    needed = (quickest, usual, PLAIN, TEXTBOOK, THREADS)
    slow = (usual, TEXTBOOK, THREADS)
    for number in range(stand.scale.rounds):
        for entrant in ENTRANTS if stand.scale.everybody else needed:
            if not entrant.is_installed or (entrant in slow and number >= stand.scale.slow_rounds):
                continue
            try:
                results[entrant][number] = _run(stand, entrant)
            except DidNotFinish as late:
                yield Row(
                    what=f"{entrant.name}, round {number}", unit="", values=(), note=str(late)
                )
    for entrant, runs in results.items():
        if runs:
            yield _cost(entrant, list(runs.values()))
    for key, mine, theirs, goal in (
        ("P1", quickest, TEXTBOOK, 0.10),
        ("P2", usual, TEXTBOOK, 0.20),
        ("P3", quickest, PLAIN, 1.5),
    ):
        values, note = compare(results[mine], results[theirs])
        yield Row(
            key=key,
            what=f"CPU of a payout, {mine.name} / {theirs.name}, {stand.scale.crowd} at once",
            unit="×",
            values=values,
            goal=goal,
            note=note,
        )


def _cost(entrant: Entrant, runs: Sequence[Result]) -> Row:
    """Tell what a payout costs; of a run that is not whole, at least."""
    is_bound = not all(run.is_whole for run in runs)
    return Row(
        what=f"CPU of a payout, {entrant.name}" + (", at least" if is_bound else ""),
        unit="ms",
        values=tuple(run.cpu_each * 1e3 for run in runs),
        note=tell(runs[-1]),
        contestant=entrant.name,
    )


def compare(mine: Runs, theirs: Runs) -> tuple[tuple[float, ...], str]:
    """Compare round by round; no doubt is ever to our advantage.

    A run of ours that is not whole counts for nothing. One of theirs counts with less than it would
    have cost, so that the ratio is no smaller than it would have been.
    """
    both = [number for number in mine if number in theirs]
    unfinished = sum(not mine[number].is_whole for number in both)
    if unfinished:
        return (), f"ours did not finish in {unfinished} of {len(both)} rounds"
    bounds = sum(not theirs[number].is_whole for number in both)
    note = f"at most: the other did not finish in {bounds} of {len(both)} rounds" if bounds else ""
    values = tuple(mine[number].cpu_each / theirs[number].cpu_each for number in both)
    return values, note


def _run(stand: Stand, entrant: Entrant) -> Result:
    scale = stand.scale
    settings = attrs.evolve(
        entrant.prepared(stand.arena.settings()),
        payouts=scale.crowd_threads if entrant == THREADS else scale.crowd,
        shortest=scale.crowd_gap.shortest,
        longest=scale.crowd_gap.longest,
        patience=scale.patience,
    )
    return stand.arena.run(entrant.program, settings)


def tell(run: Result) -> str:
    """Tell how it went, and first what did not go smoothly."""
    score, seen = run.score, run.seen
    told = [
        f"{score.payouts} at once in {score.wall:.0f} s",
        f"{score.peak / 2**20:.0f} MiB",
        f"{seen.connections:,} connections, {seen.most_connections:,} at once",
        *(f"{count} {name}" for name, count in sorted(score.errors.items())),
    ]
    if not run.is_whole:
        told.insert(0, f"did not finish: {score.done} of {score.payouts}")
    if seen.most_pays > 1:
        told.insert(0, f"paid {seen.most_pays} times")
    return ", ".join(told)
