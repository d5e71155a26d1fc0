"""P8: whether the host's event loop stutters while payouts run and are signed."""

from collections.abc import Iterator
from typing import Final

import attrs

from ..arena import DidNotFinish
from ..row import Row, ratios
from ..spread import Spread
from .stand import Stand

__all__ = ["lag"]

_SMALL: Final = 2048
_LARGE: Final = 4096


def lag(stand: Stand) -> Iterator[Row]:
    """Measure by how much a nap of 5 ms is too long, with a small key and a large one in turn."""
    lags: dict[int, list[Spread]] = {_SMALL: [], _LARGE: []}
    note = ""
    try:
        for _ in range(stand.scale.slow_rounds + 1):
            for bits, found in lags.items():
                found.append(_run(stand, bits))
    except DidNotFinish as late:
        note = str(late)
    small, large = ([spread.p99 * 1e3 for spread in lags[bits]] for bits in (_SMALL, _LARGE))
    longest = ", ".join(
        f"{max((spread.longest for spread in found), default=0.0) * 1e3:.0f} ms with {bits} bits"
        for bits, found in lags.items()
    )
    host = f"lag of the event loop, p99, {stand.scale.host:,} payouts"
    yield Row(what=f"{host}, key of {_SMALL} bits", unit="ms", values=tuple(small))
    yield Row(
        key="P8",
        what=f"{host}, key of {_LARGE} bits",
        unit="ms",
        values=tuple(large),
        goal=15.0,
        note="; ".join(filter(None, (note, f"longest {longest}"))),
    )
    yield Row(
        key="P8",
        what=f"the same, {_LARGE} bits / {_SMALL} bits",
        unit="×",
        values=ratios(large, small),
        goal=1.5,
    )


def _run(stand: Stand, bits: int) -> Spread:
    scale = stand.scale
    settings = attrs.evolve(
        stand.fast().prepared(stand.arena.settings(bits=bits)),
        payouts=scale.host,
        shortest=scale.host_gap.shortest,
        longest=scale.host_gap.longest,
        patience=scale.patience,
        measures_lag=True,
    )
    found = stand.arena.run(stand.fast().program, settings).score.lag
    if found is None or not found.count:
        raise DidNotFinish("no lag was measured")
    return found
