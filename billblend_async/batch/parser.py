"""A file of payouts in, and what became of them in sum."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from ..core.descriptions import Notation, misread, with_point
from ..core.parameters import Kind
from ..core.request import PARAMETER_NAMES, PARAMETERS, PayoutRequest
from ..errors import InvalidInput, Problem
from ..reporting.export import harmless
from .formats import (
    Cell,
    Form,
    Number,
    Record,
    Sheet,
    Unfit,
    column_letters,
    open_sheet,
    shown_name,
)

__all__ = [
    "RESULT_COLUMNS",
    "Batch",
    "Row",
    "read_batch",
]

RESULT_COLUMNS: Final = (
    "status",
    "paynet_order_id",
    "order_stage",
    "error_code",
    "error_message",
    "explanation",
    "redirect_to",
)
"""The columns that a results file adds to those of the payouts file."""

_REQUIRED: Final = ("client_orderid", "amount", "currency")
_SHORTENED: Final = re.compile(r"\d([.,]\d+)?[eE]\+\d+")
"""A long number as a spreadsheet writes it: its digits are lost."""
_MADE_FLOAT: Final = re.compile(r"\d{5,}\.0")
"""A long number as a program writes it that takes it for one to calculate with."""
_WHOLE: Final = (Kind.INTEGER, Kind.MONTH, Kind.YEAR)
_CALCULATED: Final = (
    "has a part that a spreadsheet takes for a formula, so that results cannot repeat it as it is; "
    "let none begin with =, +, - or @"
)
_SIGNS: Final = {",": "comma", ";": "semicolon", "\t": "tab"}
_NO_NUMBER: Final = "is a number, and numbers lose zeros and digits; "
_NUMBERS: Final = {
    "row": f"{_NO_NUMBER}format the column as text and enter it again",
    "line": f"{_NO_NUMBER}write it as text, in quotes",
}


@attrs.frozen
class Row:
    """One payout of a file.

    Attributes:
        line: The line of the file on which it ends, or its row in a spreadsheet.
        cells: The cells as they stand there.
        request: The payout.
    """

    line: int
    cells: tuple[str, ...] = attrs.field(repr=False)
    request: PayoutRequest


@attrs.frozen
class Batch:
    """A file of payouts, all of them good.

    Attributes:
        columns: The file's header.
        rows: The payouts in the file's order.
        form: How the file is written.
        notation: How its amounts are written, and so are told to whoever gave it.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    form: Form = Form()
    notation: Notation = Notation()

    def place(self, row: Row, column: str) -> str:
        """Name a cell for a person who has the file before them."""
        return f"{self.form.unit} {row.line}, {column}"


def read_batch(path: Path, *, decimal_comma: bool = False) -> Batch:
    """Read a file whose columns are parameter names: CSV, JSON Lines or an Excel workbook.

    The file is taken whole or not at all. A CSV file has commas, semicolons or tabs between its
    cells, and is UTF-8, or UTF-16 with a byte order mark.

    Args:
        path: The file.
        decimal_comma: Whether amounts that are text have a comma before their decimals, and no
            point; a number of a workbook or of JSON Lines is one all the same.

    Raises:
        InvalidInput: Every wrong line and field is named, none with its value.
        ConfigurationError: It is an Excel workbook, and openpyxl is missing.
    """
    read = _read(path, decimal_comma=decimal_comma)
    if isinstance(read, Batch):
        return read
    raise InvalidInput(tuple(read))


def _read(path: Path, *, decimal_comma: bool) -> Batch | list[Problem]:
    """Read a file, or return its problems: no exception passes the cells."""
    try:
        with path.open("rb") as file:
            sheet = open_sheet(file, ending=path.suffix)
            return _Reading(str(path), sheet, decimal_comma=decimal_comma).read()
    except OSError as error:
        return [Problem(str(path), f"cannot be read: {error.strerror}")]


@attrs.define
class _Reading:
    """One file while it is read, with all that is wrong so far."""

    name: str
    sheet: Sheet
    decimal_comma: bool = attrs.field(kw_only=True)
    problems: list[Problem] = attrs.field(factory=list)
    _learned: int = attrs.field(default=0, init=False)
    _places: dict[str, int] = attrs.field(factory=dict, init=False)
    """Where each parameter stands among the columns."""
    _labels: dict[str, str] = attrs.field(factory=dict, init=False)
    """How each parameter is called there."""
    _lines: dict[str, int] = attrs.field(factory=dict, init=False)
    """Where each client_orderid stands first."""

    def read(self) -> Batch | list[Problem]:
        """Read all records, or return all problems."""
        columns, rows, records = self.sheet.columns, list[Row](), 0
        for record in self.sheet.records:
            if isinstance(record, Unfit):
                self.problems.append(Problem(self.name, record.reason))
                return self.problems
            records += 1
            if not self._learn():
                return self.problems
            row = self._row(record, rows[-1].cells if rows else ())
            if row is not None:
                rows.append(row)
        if self._learn() and not records:
            wrong = "the file has a header and no payouts" if columns else "the file is empty"
            self.problems = self.problems or [Problem(self.name, wrong)]
        notation = Notation(decimal_comma=self.decimal_comma)
        read = _levelled(rows, columns)
        return self.problems or Batch(tuple(columns), read, self.sheet.form, notation)

    @property
    def _has_header(self) -> bool:
        return self.sheet.form.kind != "jsonl"

    def _learn(self) -> bool:
        """Take note of the columns that are new; False when no row can be read with them."""
        columns = self.sheet.columns
        if self._learned == len(columns):
            return True
        new, first = columns[self._learned :], self._learned
        self._learned = len(columns)
        wrong = ""
        if set(RESULT_COLUMNS) <= set(columns):
            wrong = "these are the results of an earlier run; give its payouts file instead"
        elif not self._places and not any(name in PARAMETER_NAMES for name in new):
            # It may well be a payout, whose cells are not to be repeated.
            wrong = "the first line names no parameter of a payout"
        if wrong:
            self.problems.append(Problem("header", wrong))
            return False
        named = Counter(PARAMETER_NAMES.get(name, name) for name in columns)
        missing = [name for name in _REQUIRED if name not in named]
        if missing and self._has_header:
            wrong = f"has no column {' and no column '.join(missing)}"
            self.problems.append(Problem("header", wrong))
        for place, name in enumerate(new, first):
            parameter = PARAMETER_NAMES.get(name)
            if parameter is None:
                wrong = "is no parameter of a payout"
                self.problems.append(Problem(f"column {shown_name(name)}", wrong))
                continue
            if named[parameter] > 1:
                wrong = "is there twice, under its name or its alias"
                self.problems.append(Problem(f"column {name}", wrong))
            letters = f" (column {column_letters(place + 1)})" if self._is_sheet else ""
            self._places.setdefault(parameter, place)
            self._labels.setdefault(parameter, f"{name}{letters}")
        return True

    @property
    def _is_sheet(self) -> bool:
        return self.sheet.form.kind == "xlsx"

    def _row(self, record: Record, before: Sequence[str]) -> Row | None:
        """Read one payout; None when something is wrong with it, and then a problem tells what."""
        where = f"{self.sheet.form.unit} {record.place}"
        wrong, width = record.problem, len(self.sheet.columns)
        if not wrong and len(record.cells) != width:
            wrong = f"has {len(record.cells)} cells, but the header has {width}"
            if self.sheet.form.kind == "csv" and len(record.cells) > width:
                wrong += f"; put a cell that holds a {_SIGNS[self.sheet.form.delimiter]} in quotes"
        if wrong:
            self.problems.append(Problem(where, wrong))
            return None
        told = [
            (name, wrong)
            for name, place in self._places.items()
            if (wrong := self._unfit(name, record.cells[place]))
        ]
        cells = _shared(record.cells, before)
        fields = self._fields(record, cells)
        request = self._request(fields, told)
        client_orderid = fields.get("client_orderid", "").strip()
        if harmless(client_orderid) != client_orderid:
            told.append(("client_orderid", _CALCULATED))
        first = self._lines.setdefault(client_orderid, record.place)
        if client_orderid and first != record.place:
            told.append(("client_orderid", f"is the same as on {self.sheet.form.unit} {first}"))
        if request is not None and not told:
            return Row(record.place, cells, request)
        for name, wrong in sorted(told, key=lambda each: self._places.get(each[0], width)):
            self.problems.append(Problem(f"{where}, {self._labels.get(name, name)}", wrong))
        return None

    def _fields(self, record: Record, cells: Sequence[str]) -> dict[str, str]:
        """Name the cells that are not empty; an amount of text is written as everywhere else."""
        fields = {name: cells[place] for name, place in self._places.items() if cells[place]}
        amount = fields.get("amount")
        if amount and not isinstance(record.cells[self._places["amount"]], Number):
            fields["amount"] = with_point(amount, decimal_comma=self.decimal_comma)
        return fields

    def _request(
        self, fields: Mapping[str, str], told: list[tuple[str, str]]
    ) -> PayoutRequest | None:
        """Make the payout of a row, or add what else is wrong with it to what is told."""
        try:
            return PayoutRequest.from_text(fields)
        except InvalidInput as error:
            named = {name for name, _ in told}
            told += (
                (problem.field, problem.message)
                for problem in error.problems
                if problem.field not in named and not self._is_missed(problem.field)
            )
            return None

    def _is_missed(self, name: str) -> bool:
        """Whether the header has no column of a name that every payout needs, and says so once."""
        return self._has_header and name in _REQUIRED and name not in self._places

    def _unfit(self, name: str, cell: Cell) -> str:
        """Say why a cell cannot be what its column wants, as far as that can be seen here."""
        if isinstance(cell, Unfit):
            return cell.reason
        kind = PARAMETERS[name].kind
        if kind is Kind.AMOUNT:
            is_plain = isinstance(cell, Number)
            return "" if is_plain else misread(cell.strip(), decimal_comma=self.decimal_comma)
        if isinstance(cell, Number):
            is_whole = kind in _WHOLE and cell.isdigit()
            return "" if is_whole else _NUMBERS[self.sheet.form.unit]
        text = cell.strip()
        if not text[:1].isdigit():
            return ""
        if _SHORTENED.fullmatch(text):
            return "was shortened by a spreadsheet; format it as text"
        if _MADE_FLOAT.fullmatch(text):
            return "ends in .0, as if it were an amount; write it as text"
        return ""


def _shared(cells: Sequence[Cell], before: Sequence[str]) -> tuple[str, ...]:
    """Take cells as text; one that repeats the row before is kept once."""
    texts = tuple("" if isinstance(cell, Unfit) else str(cell) for cell in cells)
    if len(texts) != len(before):
        return texts
    return tuple(old if old == new else new for old, new in zip(before, texts, strict=True))


def _levelled(rows: Sequence[Row], columns: Sequence[str]) -> tuple[Row, ...]:
    """Give the rows of JSON Lines that came before the last name was known their empty cells."""
    width = len(columns)
    return tuple(
        row
        if len(row.cells) == width
        else attrs.evolve(row, cells=(*row.cells, *[""] * (width - len(row.cells))))
        for row in rows
    )
