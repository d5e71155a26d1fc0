"""P7: the memory of an open payout."""

from collections.abc import Iterator

from ..arena import DidNotFinish
from ..row import Row
from .stand import Stand

__all__ = ["memory"]


def memory(stand: Stand) -> Iterator[Row]:
    """Compare what is resident with many open and with few, each in a fresh process."""
    many, few = stand.scale.held[0], stand.scale.held_few
    values: tuple[float, ...] = ()
    try:
        more, less = stand.hold(stand.fastest, many), stand.hold(stand.fastest, few)
    except DidNotFinish as late:
        note = str(late)
    else:
        values = ((more.resident - less.resident) / (many - few) / 1024,)
        note = f"{more.resident / 2**20:.0f} MiB less {less.resident / 2**20:.0f} MiB"
    yield Row(
        key="P7",
        what=f"memory of an open payout, ({many:,} - {few:,}) open, {stand.fastest.name}",
        unit="KiB",
        values=values,
        goal=16.0,
        note=note,
    )
