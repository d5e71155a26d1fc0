"""Excel workbooks: the rows of a payouts sheet in, the rows of results out."""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, BinaryIO, Final
from xml.parsers.expat import ParserCreate

from ..errors import ConfigurationError
from .cells import Cell, Number, Record, Unfit

__all__ = ["check_openpyxl", "column_letters", "read_header", "read_workbook", "write_workbook"]

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
        cells = [_cell(cell) for cell in row]
        while cells and cells[-1] == "":
            cells.pop()
        if not cells:
            continue
        if columns:
            cells += [""] * (len(columns) - len(cells))
            yield Record(place, tuple(cells))
        else:
            columns += ("" if isinstance(cell, Unfit) else str(cell).strip() for cell in cells)


def _cell(cell: Any) -> Cell:  # noqa: ANN401 - openpyxl has no types
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
