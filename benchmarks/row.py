"""One line of the results."""

import statistics
from collections.abc import Sequence

import attrs

__all__ = ["Row", "rank", "ratios"]


@attrs.frozen(kw_only=True)
class Row:
    """One figure: what was measured, each round's value, and what it should be.

    Attributes:
        what: What it is, in a few words.
        unit: What its values are in; empty for a plain number.
        values: One for each round; none if nothing could be measured.
        key: The goal's name, P1 to P10; empty for a figure that stands beside them.
        goal: What the median should be: at most, unless ``is_floor``.
        is_floor: Whether the goal is the least that it should be.
        note: What a reader must know beside it.
        contestant: Whose figure it is, where the chart shows it.
    """

    what: str
    unit: str
    values: tuple[float, ...]
    key: str = ""
    goal: float | None = None
    is_floor: bool = False
    note: str = ""
    contestant: str = ""

    @property
    def median(self) -> float | None:
        """The middle of all rounds."""
        return statistics.median(self.values) if self.values else None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        if self.median is None:
            return False
        return self.median >= self.goal if self.is_floor else self.median <= self.goal

    @property
    def goal_text(self) -> str:
        """The goal as it is read."""
        if self.goal is None:
            return ""
        return f"{'≥' if self.is_floor else '≤'} {number(self.goal)} {self.unit}".strip()

    @property
    def figure_text(self) -> str:
        """The median as it is read."""
        return "none" if self.median is None else f"{number(self.median)} {self.unit}".strip()

    @property
    def range_text(self) -> str:
        """The least and the most of all rounds."""
        if len(self.values) < 2:
            return ""
        return f"{number(min(self.values))} to {number(max(self.values))}"

    @property
    def verdict(self) -> str:
        """Whether the goal is met, as it is read."""
        return {None: "", True: "met", False: "not met"}[self.is_met]


def rank(key: str) -> tuple[int, str]:
    """Rank goals as people count: P10 comes after P9."""
    return len(key), key


def ratios(ours: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    """Compare round by round: what ran side by side had the same neighbours."""
    return tuple(mine / theirs for mine, theirs in zip(ours, others, strict=False) if theirs > 0)


def number(value: float) -> str:
    """Write a number with four digits that count, and large ones in full."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"
