"""How a pile of measured values is spread."""

from collections.abc import Iterable
from typing import Self

import attrs

__all__ = ["Spread"]


@attrs.frozen
class Spread:
    """What is told of many values, all in the unit that they came in.

    Attributes:
        count: How many there were; of none, everything is 0.
        median: Half of them are no larger.
        p99: 99 of 100 are no larger.
        longest: The largest.
    """

    count: int
    median: float
    p99: float
    longest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Sort the values and pick."""
        ranked = sorted(values)
        if not ranked:
            return cls(0, 0.0, 0.0, 0.0)
        last = len(ranked) - 1
        return cls(len(ranked), ranked[last // 2], ranked[round(0.99 * last)], ranked[last])
