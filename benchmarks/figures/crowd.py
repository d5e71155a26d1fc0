"""P1 to P3: many payouts that start at once, ours beside what people would write instead."""

from collections import defaultdict
from collections.abc import Iterator

import attrs

from ..arena import DidNotFinish, Result
from ..entrants import ENTRANTS, PLAIN, TEXTBOOK, THREADS, Entrant, ours
from ..row import Row, ratios
from .stand import Stand

__all__ = ["crowd"]


def crowd(stand: Stand) -> Iterator[Row]:
    """Run everybody in turn, some rounds, and compare the CPU time of a payout."""
    results: dict[Entrant, list[Result]] = defaultdict(list)
    entrants = [entrant for entrant in ENTRANTS if entrant.is_installed]
    for number in range(stand.scale.rounds):
        for entrant in entrants:
            if entrant in (TEXTBOOK, THREADS) and number >= stand.scale.slow_rounds:
                continue
            try:
                results[entrant].append(_run(stand, entrant))
            except DidNotFinish as late:
                yield Row(what=entrant.name, unit="ms", values=(), note=str(late))
    for entrant, runs in results.items():
        yield Row(
            what=f"CPU of a payout, {entrant.name}",
            unit="ms",
            values=tuple(run.cpu_each * 1e3 for run in runs),
            note="; ".join(filter(None, (_note(run) for run in runs[-1:]))),
            contestant=entrant.name,
        )
    for key, mine, theirs, goal in (
        ("P1", stand.fast(), TEXTBOOK, 0.10),
        ("P2", ours("httpx"), TEXTBOOK, 0.20),
        ("P3", stand.fast(), PLAIN, 1.5),
    ):
        yield Row(
            key=key,
            what=f"CPU of a payout, {mine.name} / {theirs.name}, {stand.scale.crowd} at once",
            unit="×",
            values=ratios(
                [run.cpu_each for run in results[mine]], [run.cpu_each for run in results[theirs]]
            ),
            goal=goal,
        )


def _run(stand: Stand, entrant: Entrant) -> Result:
    scale = stand.scale
    settings = attrs.evolve(
        entrant.prepared(stand.arena.settings()),
        payouts=scale.crowd,
        shortest=scale.crowd_gap.shortest,
        longest=scale.crowd_gap.longest,
        patience=scale.patience,
    )
    return stand.arena.run(entrant.program, settings)


def _note(run: Result) -> str:
    """Tell what did not go smoothly."""
    score, seen = run.score, run.seen
    told = [f"{count} {name}" for name, count in sorted(score.errors.items())]
    if score.done < score.payouts:
        told.insert(0, f"did not finish: {score.done} of {score.payouts} in {score.wall:.0f} s")
    if seen.most_pays > 1:
        told.insert(0, f"paid {seen.most_pays} times")
    return ", ".join(told)
