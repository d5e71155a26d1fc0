"""Reads the records of a payouts file: CSV and JSON Lines here, an Excel workbook beside it."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Final

import attrs

from ..core.request import PARAMETER_NAMES
from .cells import Cell, Form, Number, Record, Unfit, shown_name
from .workbook import read_workbook

__all__ = ["Sheet", "open_sheet"]

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
