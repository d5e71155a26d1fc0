"""What a spreadsheet would calculate, and how it is written so that it does not."""

import re
from typing import Final

__all__ = ["harmless"]

_TRIGGERS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_BEGINS: Final = rf"[\s\0]*[{_TRIGGERS}]|[\t\r\n]"
_PARTED: Final = rf"([,;\t\r\n\"][\s\"]*)(?=[{_TRIGGERS}])"
_FORMULA: Final = re.compile(_BEGINS)
"""What a spreadsheet takes for a formula, or for the beginning of one."""
_INNER_FORMULA: Final = re.compile(_PARTED)
"""Where another spreadsheet, which expects another delimiter, would see a cell begin."""
_ANY_FORMULA: Final = re.compile(rf"\A(?:{_BEGINS})|{_PARTED}")
"""Either of them, which few cells hold: most are looked at once."""
_CALCULATION: Final = re.compile(r"[-+0-9 ().,]*")
"""A number, or a phone number: it can call nothing."""


def harmless(cell: str) -> str:
    """Write a cell of a CSV file so that no spreadsheet takes it, or a part of it, for a formula.

    Plain numbers stay as they are, and so do phone numbers: they can call nothing.
    """
    if not _ANY_FORMULA.search(cell) or _CALCULATION.fullmatch(cell):
        return cell
    if _FORMULA.match(cell):
        cell = f"'{cell}"
    return _INNER_FORMULA.sub(r"\1'", cell)
