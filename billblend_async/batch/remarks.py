"""What looks wrong in a payouts file and may be right: told before money moves, never refused."""

from collections.abc import Container, Sequence
from itertools import islice
from typing import Final

from ..core.currencies import CODES, PUBLISHED
from .parser import Batch, Row

__all__ = ["remarks"]

_MOST_NAMED: Final = 5


def remarks(batch: Batch, among: Container[str]) -> list[str]:
    """Tell what a person should look at before payouts of a file are sent.

    A payout that names no receiver is legal where the receiver fills a form in, and a currency that
    no list has may be one that the gateway has added.

    Args:
        batch: The file.
        among: The ids of those that are to be sent.
    """
    told, rows = list[str](), [row for row in batch.rows if row.request.client_orderid in among]
    if nobody := [row for row in rows if not row.request.names_receiver]:
        told.append(
            f"warning: {len(nobody):,} payout(s) name no card, account, wallet or other receiver: "
            f"{_places(batch, nobody)}; right only where receivers fill a form in behind a link"
        )
    odd: dict[str, list[Row]] = {}
    for row in rows:
        if row.request.currency not in CODES:
            odd.setdefault(row.request.currency, []).append(row)
    told += (
        f"warning: {currency} is no currency of ISO 4217 (list of {PUBLISHED}): "
        f"{_places(batch, of)}; mend it, unless the gateway knows it"
        for currency, of in islice(odd.items(), _MOST_NAMED)
    )
    if len(odd) > _MOST_NAMED:
        told.append(
            f"warning: {len(odd) - _MOST_NAMED:,} more words are no currencies of it either"
        )
    return told


def _places(batch: Batch, rows: Sequence[Row]) -> str:
    """Name the first rows, for a person who has the file before them."""
    lines = [f"{row.line:,}" for row in rows[:_MOST_NAMED]]
    if len(rows) > _MOST_NAMED:
        lines.append(f"{len(rows) - _MOST_NAMED:,} more")
    unit = batch.form.unit
    if len(lines) == 1:
        return f"{unit} {lines[0]}"
    return f"{unit}s {', '.join(lines[:-1])} and {lines[-1]}"
