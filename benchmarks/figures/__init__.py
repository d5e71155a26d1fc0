"""The figures, each measured side by side with what it is compared to, in one run."""

from collections.abc import Callable, Iterator
from typing import Final

from ..row import Row
from .capacity import capacity
from .crowd import crowd
from .engines import engines
from .journal import journal
from .lag import lag
from .memory import memory
from .parts import parts
from .scaling import scaling
from .sending import sending
from .stand import Stand

__all__ = ["FIGURES", "Figure", "Stand"]

Figure = Callable[[Stand], Iterator[Row]]

FIGURES: Final[dict[Figure, frozenset[str]]] = {
    crowd: frozenset({"P1", "P2", "P3"}),
    sending: frozenset({"P4"}),
    capacity: frozenset({"P5"}),
    memory: frozenset({"P7"}),
    scaling: frozenset({"P6"}),
    lag: frozenset({"P8"}),
    journal: frozenset({"P9"}),
    engines: frozenset({"P10"}),
    parts: frozenset({"PARTS"}),
}
"""What measures which goal."""
