"""P5: how many payouts one core holds open before its polls come late."""

from collections.abc import Generator, Iterator, Sequence
from typing import Final

from ..arena import DidNotFinish
from ..entrants import TEXTBOOK, Entrant
from ..row import Row
from .stand import Held, Stand

__all__ = ["capacity"]

_LATE: Final = 0.250
_ARRIVED: Final = 0.9
_GOAL: Final = 10_000


def capacity(stand: Stand) -> Iterator[Row]:
    """Hold more and more open, ours and the textbook's, while 99 of 100 polls are in time."""
    reached = yield from _search(stand, stand.fastest, stand.scale.held)
    theirs = yield from _search(stand, TEXTBOOK, stand.scale.held_peer)
    gap = stand.scale.gap
    yield Row(
        key="P5",
        what=f"payouts open at once, polls every {gap.shortest:g} to {gap.longest:g} s,"
        " p99 lateness under 250 ms",
        unit="",
        values=(float(reached),),
        goal=float(_GOAL) if stand.scale.held[-1] >= _GOAL else None,
        is_floor=True,
        note=f"{TEXTBOOK.name}: {theirs:,}; the search ends at {stand.scale.held[-1]:,}",
    )


def _search(stand: Stand, entrant: Entrant, steps: Sequence[int]) -> Generator[Row, None, int]:
    """Climb the steps until polls come late; the last one that held is returned."""
    reached = 0
    for payouts in steps:
        what = f"p99 lateness of polls, {payouts:,} open, {entrant.name}"
        try:
            held = stand.hold(entrant, payouts)
        except DidNotFinish as late:
            yield Row(what=what, unit="ms", values=(), note=str(late))
            break
        yield Row(what=what, unit="ms", values=(held.lateness.p99 * 1e3,), note=_note(held))
        if held.lateness.p99 >= _LATE or held.share < _ARRIVED:
            break
        reached = payouts
    return reached


def _note(held: Held) -> str:
    late = held.lateness
    return (
        f"median {late.median * 1e3:.1f} ms, longest {late.longest * 1e3:.0f} ms,"
        f" {late.count:,} polls, {held.share:.0%} of those due; core {held.busy:.0%} busy,"
        f" the gateway's {held.gateway_busy:.0%}; open after {held.opening:.0f} s"
    )
