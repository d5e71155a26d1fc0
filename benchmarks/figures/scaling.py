"""P6: whether a payout costs more where many are open."""

from collections.abc import Iterator

import attrs

from ..arena import DidNotFinish, Result
from ..row import Row
from .stand import Stand

__all__ = ["scaling"]


def scaling(stand: Stand) -> Iterator[Row]:
    """Run few, many and few again, with the same requests for each payout."""
    many, few = stand.scale.many, stand.scale.few
    runs: list[Result] = []
    note = ""
    try:
        runs.extend(_run(stand, payouts) for payouts in (few, many, few))
    except DidNotFinish as late:
        note = str(late)
    for run in runs:
        yield Row(
            what=f"CPU of a payout, {run.score.payouts:,} at once, {stand.fastest.name}",
            unit="ms",
            values=(run.cpu_each * 1e3,),
            note=f"{run.score.done:,} done, {run.seen.most_unfinished:,} open at once",
        )
    values: tuple[float, ...] = ()
    if len(runs) == 3 and all(run.is_whole for run in runs):
        values = tuple(runs[1].cpu_each / other.cpu_each for other in runs[::2])
        note = f"{runs[1].seen.most_unfinished:,} and {runs[0].seen.most_unfinished:,} were open"
    elif not note:
        note = "not every payout came to its end"
    requests = 4 + stand.scale.long.validating + stand.scale.long.processing
    yield Row(
        key="P6",
        what=f"CPU of a payout of {requests} requests, {many:,} open / {few:,} open",
        unit="×",
        values=values,
        goal=1.25,
        note=note,
    )


def _run(stand: Stand, payouts: int) -> Result:
    scale = stand.scale
    settings = attrs.evolve(
        stand.fastest.prepared(stand.arena.settings()),
        payouts=payouts,
        shortest=scale.gap.shortest,
        longest=scale.gap.longest,
        patience=2 * scale.opening,
    )
    return stand.arena.run(stand.fastest.program, settings, scale.long)
