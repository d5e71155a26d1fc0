"""The formats of a payouts file: CSV, JSON Lines and Excel workbooks, read as records of cells."""

import csv
import io
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, BinaryIO, Final, Literal
from xml.parsers.expat import ParserCreate

import attrs

from ..core.parameters import mask_digits
from ..core.request import PARAMETER_NAMES
from ..errors import ConfigurationError

__all__ = [
    "Cell",
    "Form",
    "Number",
    "Record",
    "Sheet",
    "Unfit",
    "check_openpyxl",
    "column_letters",
    "open_sheet",
    "read_header",
    "read_workbook",
    "shown_name",
    "write_workbook",
]

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


_DIGITS_KEPT: Final = 15
"""Significant digits of a number in a spreadsheet; Excel neither shows nor keeps more."""
_LONGEST_TEXT: Final = 32_767
_CUT: Final = "… (shortened)"
_NO_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ORNAMENT: Final = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[$][^\]]*\]|[€$£¥ ()+\-\xa0\u202f]')
"""What a number format shows beside the number: texts, gaps and signs."""
_PLAIN_FORMAT: Final = re.compile(r"[#0?,]*[#0?](?:\.([#0?]+))?")
_UNFIT: Final = {
    "b": Unfit("is TRUE or FALSE; format the cell as text"),
    "d": Unfit("is a date or a time; format the cell as text and enter it again"),
    "e": Unfit("is an error of the spreadsheet, such as #N/A; enter it again"),
    "f": Unfit("is a formula; copy it and paste its value, as text"),
}
_HIDES: Final = Unfit("does not show the number that it holds; format the cell as text")
_MOST_NAMED: Final = 20
"""Hidden rows, or spans of them, that are named."""
_YES: Final = ("1", "true")
_TOO_LONG: Final = Unfit("has more digits than a spreadsheet keeps; format the cell as text")


def check_openpyxl() -> None:
    """Find out whether workbooks can be read and written here.

    Raises:
        ConfigurationError: They cannot; the message says how to mend that.
    """
    try:
        import openpyxl  # noqa: F401 - whether it is there is all we ask
    except ModuleNotFoundError:
        pass
    else:
        return
    raise ConfigurationError(
        "an .xlsx file needs openpyxl; install it with: pip install 'billblend-async[xlsx]', "
        "or use CSV UTF-8"
    )


def read_workbook(file: BinaryIO, columns: list[str]) -> Iterator[Record | Unfit]:
    """Read the rows of the only sheet that is not empty; the first one gives the columns' names."""
    check_openpyxl()
    reason = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that carry no payout
        try:
            sheet = _only_sheet(file)
            if sheet is None or isinstance(sheet, str):
                reason = sheet or ""
            else:
                places = _hidden(sheet)
                read: list[int] = []
                for record in _records(iter(sheet.iter_rows()), columns):
                    yield record
                    if record.place in places:
                        read.append(record.place)
                reason = _told_hidden(read)
        except Exception:  # noqa: BLE001 - a broken workbook breaks openpyxl in any way
            reason = "is no Excel workbook that can be read; save it as .xlsx again"
    if reason:
        yield Unfit(reason)


def _only_sheet(file: BinaryIO) -> Any:  # noqa: ANN401 - openpyxl has no types
    """Find the sheet that holds something; None without any, or say why none can be taken."""
    from openpyxl import load_workbook

    book = load_workbook(file, read_only=True, keep_links=False)
    filled = []
    for sheet in book.worksheets:
        # What a sheet says of its size may be wrong, and rows beyond it would be passed over.
        sheet.reset_dimensions()
        if any(cell.value is not None for row in sheet.iter_rows() for cell in row):
            filled.append(sheet)
    if len(filled) > 1:
        return f"holds {len(filled)} sheets, hidden ones too; keep the one with the payouts"
    if filled and filled[0].sheet_state != "visible":
        return "has its rows on a hidden sheet; show the sheet, so that it is seen what is paid"
    return filled[0] if filled else None


def _hidden(sheet: Any) -> set[int]:  # noqa: ANN401 - openpyxl has no types
    """Number the rows that whoever looks at a sheet does not see: filtered, hidden or folded.

    openpyxl passes this over where it reads row by row, so the sheet's XML is looked at once more.
    """
    hidden, place = set[int](), 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal place
        if name.rpartition(" ")[2] != "row":
            return
        place = int(float(attributes.get("r", place + 1)))
        if attributes.get("hidden") in _YES or float(attributes.get("ht", 1)) == 0:
            hidden.add(place)

    parser = ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = begin
    with sheet._get_source() as source:  # noqa: SLF001 - were it gone, no workbook would be taken
        parser.ParseFile(source)
    return hidden


def _told_hidden(places: Sequence[int]) -> str:
    """Say that rows would be paid which nobody has seen; empty where there are none."""
    if not places:
        return ""
    spans: list[tuple[int, int]] = []
    for place in places:
        if spans and spans[-1][1] == place - 1:
            spans[-1] = spans[-1][0], place
        else:
            spans.append((place, place))
    told = [f"{first}" if first == last else f"{first} to {last}" for first, last in spans]
    if len(told) > _MOST_NAMED:
        told[_MOST_NAMED:] = ["others"]
    rows = f"row {told[0]} is" if len(places) == 1 else f"rows {_listed(told)} are"
    return (
        f"{rows} hidden, by a filter or by hand, and would be paid like all others; show them, or "
        "delete those that are not to be paid"
    )


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _records(rows: Iterator[tuple[Any, ...]], columns: list[str]) -> Iterator[Record]:
    for place, row in enumerate(rows, 1):
        cells = [_workbook_cell(cell) for cell in row]
        while cells and cells[-1] == "":
            cells.pop()
        if not cells:
            continue
        if columns:
            cells += [""] * (len(columns) - len(cells))
            yield Record(place, tuple(cells))
        else:
            columns += ("" if isinstance(cell, Unfit) else str(cell).strip() for cell in cells)


def _workbook_cell(cell: Any) -> Cell:  # noqa: ANN401 - openpyxl has no types
    value = cell.value
    if value is None:
        return ""
    if cell.data_type in _UNFIT:
        return _UNFIT[cell.data_type]
    if isinstance(value, str):
        return value
    if type(value) not in (int, float):
        return _UNFIT["d"]
    return _number(value, cell.number_format)


def _number(value: float, number_format: str) -> Cell:
    """Take a number as its cell shows it, if that is the number that it holds."""
    exact = Decimal(value) if isinstance(value, int) else Decimal(f"{value:.{_DIGITS_KEPT}g}")
    if not exact.is_finite() or exact.adjusted() >= _DIGITS_KEPT:
        return _TOO_LONG
    plain = format(exact.normalize(), "f")
    if number_format in ("General", "@"):
        return Number(plain)
    shown = _PLAIN_FORMAT.fullmatch(_ORNAMENT.sub("", number_format).partition(";")[0])
    decimals = len(plain.partition(".")[2])
    if shown is None or decimals > len(shown[1] or ""):
        return _HIDES
    return Number(f"{exact:.{max(decimals, (shown[1] or '').count('0'))}f}")


def column_letters(number: int) -> str:
    """Name a column as a spreadsheet does: 1 is A, 27 is AA."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def read_header(file: BinaryIO) -> list[str]:
    """Read the first row's texts; nothing where this is no workbook that can be read."""
    columns: list[str] = []
    for _ in read_workbook(file, columns):
        break
    return columns


def write_workbook(file: BinaryIO, rows: Iterable[Sequence[str]]) -> None:
    """Write rows into a workbook of one sheet, every cell as text: nothing in it is a formula."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet("results")

    def text_cell(text: str) -> Any:  # noqa: ANN401 - openpyxl has no types
        text = _NO_XML.sub("\ufffd", text)
        if len(text) > _LONGEST_TEXT:
            text = text[: _LONGEST_TEXT - len(_CUT)] + _CUT
        cell = WriteOnlyCell(sheet, text)
        cell.data_type, cell.number_format = "s", "@"
        return cell

    for row in rows:
        sheet.append([text_cell(text) if text else None for text in row])
    book.save(file)


_DELIMITERS: Final = ",;\t"
_LONGEST_LINE: Final = 1 << 20
_MOST_NAMES: Final = 1000
_WORKBOOK: Final = b"PK\x03\x04"
_OLD_WORKBOOK: Final = b"\xd0\xcf\x11\xe0"


@attrs.frozen
class Sheet:
    """A payouts file while it is read.

    Attributes:
        form: How it is written.
        columns: Its columns' names, there once the first record is; JSON Lines may find more later.
        records: Its records as they come, without the header, or what ends them early.
    """

    form: Form
    columns: list[str]
    records: Iterator[Record | Unfit]


def open_sheet(file: io.BufferedReader, *, ending: str) -> Sheet:
    """Find out what kind of file this is, by what it holds and then by its name.

    Args:
        file: The file, at its beginning; it is read once, so it may be a pipe.
        ending: How its name ends, such as ``.csv``.
    """
    head, ending, columns = file.peek(1), ending.lower(), list[str]()
    if head.startswith(_WORKBOOK):
        return Sheet(Form("xlsx"), columns, read_workbook(file, columns))
    if head.startswith(_OLD_WORKBOOK):
        return _unreadable("is an old or encrypted Excel file; save it as .xlsx without a password")
    if ending in (".xlsx", ".xlsm"):
        return _unreadable("is no Excel workbook; save it as .xlsx, or name it .csv if it is one")
    encoding, has_mark = _encoding(head)
    start = head.decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n")
    if "\0" in start:
        return _unreadable("is not UTF-8; save it as CSV UTF-8")
    if start.startswith("[") or (ending == ".json" and not start.startswith("{")):
        return _unreadable("is no JSON Lines; write one object per line, without [ and ]")
    if start.startswith("{") or ending in (".jsonl", ".ndjson"):
        return Sheet(Form("jsonl"), columns, _read_objects(file, encoding, columns))
    form = Form("csv", _delimiter(start), has_mark)
    return Sheet(form, columns, _read_csv(file, encoding, form.delimiter, columns))


def _unreadable(reason: str) -> Sheet:
    return Sheet(Form(), [], iter([Unfit(reason)]))


def _encoding(head: bytes) -> tuple[str, bool]:
    """Tell the encoding by the byte order mark, and whether there is one."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", True
    return "utf-8-sig", head.startswith(b"\xef\xbb\xbf")


def _delimiter(start: str) -> str:
    """Choose the delimiter with which the first line names most parameters."""
    line = next((line for line in start.splitlines() if line.strip(f'{_DELIMITERS} "')), "")

    def named(delimiter: str) -> int:
        names = next(csv.reader([line], delimiter=delimiter), [])
        return sum(name.strip() in PARAMETER_NAMES for name in names)

    return max(_DELIMITERS, key=named)


def _read_csv(
    file: io.BufferedReader, encoding: str, delimiter: str, columns: list[str]
) -> Iterator[Record | Unfit]:
    """Read the records that are not blank, each with the line on which it ends."""
    reason = ""
    with io.TextIOWrapper(file, encoding, newline="") as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if not any(cells):
                    continue
                if columns:
                    yield Record(reader.line_num, tuple(cells))
                else:
                    columns += (name.strip() for name in cells)
        except csv.Error as error:
            reason = f"line {reader.line_num} is no CSV: {error}"
        except UnicodeError:
            reason = _wrong_encoding(encoding)
    if reason:
        yield Unfit(reason)


def _wrong_encoding(encoding: str) -> str:
    name = "UTF-16" if encoding == "utf-16" else "UTF-8"
    return f"is not {name}; save it as CSV UTF-8"


def _read_objects(
    file: io.BufferedReader, encoding: str, columns: list[str]
) -> Iterator[Record | Unfit]:
    """Read JSON Lines: one object per line, each with the parameters that it names."""
    places: dict[str, int] = {}
    try:
        with io.TextIOWrapper(file, encoding) as text:
            lines = iter(lambda: text.readline(_LONGEST_LINE + 1), "")
            for place, line in enumerate(lines, 1):
                if len(line) > _LONGEST_LINE:
                    reason = f"line {place} is longer than {_LONGEST_LINE:,} characters"
                    break
                if not line.strip():
                    continue
                named = _read_object(line)
                if isinstance(named, str):
                    yield Record(place, (), named)
                    continue
                for name in named:
                    places.setdefault(name, len(places))
                if len(places) > _MOST_NAMES:
                    reason = f"line {place} brings the different names above {_MOST_NAMES:,}"
                    break
                columns += list(places)[len(columns) :]
                yield Record(place, tuple(named.get(name, "") for name in columns))
            else:
                return
    except UnicodeError:
        reason = _wrong_encoding(encoding)
    yield Unfit(reason)


class _Object(list[tuple[str, object]]):
    """A JSON object with all that it says, also what it says twice."""


def _refuse_constant(_constant: str) -> object:
    raise ValueError("NaN and Infinity are no JSON")


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_Object,
    parse_float=Number,
    parse_int=Number,
    parse_constant=_refuse_constant,
)
"""Takes numbers as they stand: no float comes near an amount."""


def _read_object(line: str) -> dict[str, Cell] | str:
    """Read one line's object, or say what is wrong with it, without its values."""
    try:
        found = _JSON.decode(line.strip())
    except json.JSONDecodeError as error:
        return f"is no JSON from its character {error.pos + 1} on"
    except (ValueError, RecursionError):
        return "is no JSON of names and texts"
    if not isinstance(found, _Object):
        return 'is no JSON object; write one like {"client_orderid": "po-1", …}'
    named: dict[str, Cell] = {}
    for name, value in found:
        if name.strip() in named:
            return f"names {shown_name(name.strip())} twice"
        named[name.strip()] = _cell(value)
    return named


def _cell(value: object) -> Cell:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    what = "true or false" if isinstance(value, bool) else "an object or a list"
    return Unfit(f"is {what}; write it as text, in quotes")
