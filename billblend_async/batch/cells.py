"""What a payouts file holds: records of cells, and what else a cell may hold than text."""

from typing import Final, Literal

import attrs

from ..core.parameters import mask_digits

__all__ = ["Cell", "Form", "Number", "Record", "Unfit", "shown_name"]

_LONGEST_NAME: Final = 40


class Number(str):
    """A number of a file that tells numbers from text, written as it stands there."""

    __slots__ = ()


@attrs.frozen
class Unfit:
    """What cannot be taken: a cell, or all that follows in a file.

    Attributes:
        reason: What it is and what to do about it, without its value.
    """

    reason: str


Cell = str | Unfit
"""Text, a number, or what is neither."""


@attrs.frozen
class Record:
    """One record of a file.

    Attributes:
        place: The line on which it ends, or its row in a spreadsheet.
        cells: Its cells, one for each column that is known by then.
        problem: What keeps it from being read at all; empty when nothing does.
    """

    place: int
    cells: tuple[Cell, ...] = attrs.field(repr=False)
    problem: str = ""


@attrs.frozen
class Form:
    """How a file is written.

    Attributes:
        kind: CSV, JSON Lines or an Excel workbook.
        delimiter: What stands between the cells of a CSV file.
        has_mark: Whether a CSV file begins with a byte order mark, by which Excel knows UTF-8.
    """

    kind: Literal["csv", "jsonl", "xlsx"] = "csv"
    delimiter: str = ","
    has_mark: bool = False

    @property
    def unit(self) -> str:
        """What its places count."""
        return "row" if self.kind == "xlsx" else "line"


def shown_name(name: str) -> str:
    """Show a column's name, which may be anything: a cell of a payout, or a terminal's command."""
    if not name:
        return "(without a name)"
    shown = mask_digits(name if name.isprintable() else ascii(name)[1:-1])
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"
