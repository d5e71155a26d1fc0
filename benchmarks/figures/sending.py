"""P4: what a signed request that may move money costs beyond its socket and its signature."""

from collections.abc import Iterator

import attrs

from ..row import Row
from .stand import Stand

__all__ = ["sending"]


def sending(stand: Stand) -> Iterator[Row]:
    """Compare ``Client.check`` with a bare transport and a bare signature, in one process."""
    rounds = 3 * stand.scale.rounds
    settings = attrs.evolve(stand.arena.settings(), payouts=rounds * stand.scale.sends)
    pairs = stand.arena.measure("single_sends", settings, rounds)
    for what, values in (
        ("CPU of Client.check", [mine for mine, _ in pairs]),
        ("CPU of a bare transport and a bare signature", [theirs for _, theirs in pairs]),
    ):
        yield Row(what=what, unit="ms", values=tuple(value * 1e3 for value in values))
    yield Row(
        key="P4",
        what="CPU of a signed request / bare transport and signature",
        unit="×",
        values=tuple(mine / theirs for mine, theirs in pairs),
        goal=1.2,
    )
