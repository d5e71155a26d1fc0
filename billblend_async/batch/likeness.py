"""Ids that are one to a person and two to a computer, as spreadsheets make them of each other."""

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator
from typing import Final

from ..errors import Problem
from .parser import Batch

__all__ = ["find_similar", "shapes"]

_HYPHENS: Final = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u02d7\u2796\ufe58", "-")
)
"""What looks like a hyphen and is none, and what word processors make of one."""
_ZEROS: Final = re.compile(r"(?<!\d)0+(?=\d)")
_ADVICE: Final = (
    "only in case, width, spaces, hyphens or leading zeros, as when a spreadsheet has changed it, "
    "and both would be paid; use one id for one payout, or add --similar-ids if they are two"
)


def find_similar(batch: Batch, known: Container[str], held: Iterable[str]) -> list[Problem]:
    """Name the rows whose id is new and looks like another one of the file or of the journal.

    Args:
        batch: The file.
        known: Which of its ids the journal holds.
        held: All ids that the journal holds; they may be millions, and few of them are kept.
    """
    rows = [
        (row, shapes(row.request.client_orderid))
        for row in batch.rows
        if row.request.client_orderid not in known
    ]
    if not rows:
        return []
    wanted = {shape for _, own in rows for shape in own}
    seen = {
        shape: f"{name} in the journal"
        for name in held
        for shape in shapes(name)
        if shape in wanted
    }
    problems = []
    for row, own in rows:
        name = row.request.client_orderid
        other = next((seen[shape] for shape in own if shape in seen), None)
        if other is not None:
            wrong = f"{name} differs from {other} {_ADVICE}"
            problems.append(Problem(batch.place(row, "client_orderid"), wrong))
        place = f"{name} on {batch.form.unit} {row.line}"
        seen.update((shape, place) for shape in own if shape not in seen)
    return problems


def shapes(name: str) -> tuple[str, ...]:
    """Reduce an id to what is left where only people look: two ids that share one are alike.

    There are two where zeros stand behind a space, which may or may not part two numbers.
    """
    return tuple(dict.fromkeys(_shapes(name)))


def _shapes(name: str) -> Iterator[str]:
    if name.isascii():  # nearly all are, and this is much faster
        text = name.lower()
    else:
        text = unicodedata.normalize("NFKC", name).casefold().translate(_HYPHENS)
        text = unicodedata.normalize("NFKC", text)
    joined = "".join(text.split())
    yield _ZEROS.sub("", joined) if "0" in joined else joined
    if joined != text and "0" in text:
        yield "".join(_ZEROS.sub("", text).split())
