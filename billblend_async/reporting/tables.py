"""Tables of a page. What is put into a cell is HTML, so whoever makes a cell escapes it.

Each part names its role: a narrow screen shows rows as blocks, and without the roles a screen
reader would find no table there any more.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import attrs

__all__ = ["NUMBER", "Column", "table"]

NUMBER: Final = "number"


@attrs.frozen
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        kind: A CSS class of its cells: ``number`` is set to the right.
    """

    name: str
    kind: str = ""


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    caption: str,
    name: str = "",
    kind: str = "",
) -> str:
    """Write a table whose first column names the rows.

    Args:
        columns: Its columns.
        rows: The cells of each row, as HTML.
        caption: What it holds, for those who cannot see what stands around it.
        name: Its id, if it has one.
        kind: A CSS class; ``stack`` turns rows into blocks where the screen is narrow.
    """
    heads = "".join(
        f'<th role="columnheader" scope="col"{_class(column.kind)}>{escape(column.name)}</th>'
        for column in columns
    )
    parts = [
        f'<table{_id(name)}{_class(kind)} role="table">',
        f"<caption>{escape(caption)}</caption>",
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>',
        '<tbody role="rowgroup">',
        *_rows(columns, rows),
        "</tbody>",
        "</table>",
    ]
    return "\n".join(parts)


def _rows(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    head, *rest = columns
    first = f'<tr role="row"><th role="rowheader" scope="row"{_class(head.kind)}>'
    begins = [
        f'<td role="cell"{_class(each.kind)} data-name="{escape(each.name)}">' for each in rest
    ]
    for name, *cells in rows:
        told = "".join(f"{begin}{cell}</td>" for begin, cell in zip(begins, cells, strict=True))
        yield f"{first}{name}</th>{told}</tr>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _id(name: str) -> str:
    return f' id="{name}"' if name else ""
