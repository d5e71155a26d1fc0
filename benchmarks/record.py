"""What was measured, kept from run to run: each figure with the last run that has measured it."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import attrs

from .row import Row, rank

__all__ = ["Part", "Run", "merge", "read_parts", "write_parts"]

_NAME: Final = "RESULTS.json"


@attrs.frozen(kw_only=True)
class Run:
    """One run of the program.

    Attributes:
        command: What stood behind the program's name.
        is_full: Whether the numbers are those of the goals.
        machine: What it ran on.
    """

    command: str
    is_full: bool
    machine: dict[str, str]


@attrs.frozen(kw_only=True)
class Part:
    """What one figure came to in one run; what is compared is never of two.

    Attributes:
        figure: The figure's name.
        run: The run.
        rows: Its rows, in the order in which they came.
    """

    figure: str
    run: Run
    rows: tuple[Row, ...]

    @property
    def goals(self) -> list[str]:
        """The names of its goals, or its own where it has none."""
        return sorted({row.key for row in self.rows if row.key}, key=rank) or [self.figure]

    @classmethod
    def from_fields(cls, told: dict[str, Any]) -> Self:
        """Read it."""
        rows = (Row(**{**row, "values": tuple(row["values"])}) for row in told["rows"])
        return cls(figure=told["figure"], run=Run(**told["run"]), rows=tuple(rows))


def merge(kept: Iterable[Part], measured: Sequence[Part]) -> list[Part]:
    """Put what was measured into the place of what is kept of the same figures."""
    fresh = {part.figure: part for part in measured}
    return [*(fresh.pop(part.figure, part) for part in kept), *fresh.values()]


def read_parts(folder: Path) -> list[Part]:
    """Read what is kept; nothing where nothing is."""
    path = folder / _NAME
    if not path.exists():
        return []
    return [Part.from_fields(told) for told in json.loads(path.read_text(encoding="utf-8"))]


def write_parts(folder: Path, parts: Iterable[Part]) -> None:
    """Keep it."""
    told = json.dumps([attrs.asdict(part) for part in parts], indent=1, ensure_ascii=False)
    (folder / _NAME).write_text(told + "\n", encoding="utf-8")
