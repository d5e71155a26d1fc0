"""Chance: which fault strikes now, drawn from the seed and counted."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from .coverage import Hits

__all__ = ["Fate"]

T = TypeVar("T")


class Fate:
    """Draws what happens in one world, counts it, and writes the world's history.

    Args:
        seed: Decides every draw.
        faults: The probability of each fault that is switched on.
        share: Instead of them, the share of faulty requests: the one-percent profile.
        keeps_history: Whether the history is kept as text besides its hash.

    Attributes:
        hits: How often each fault was hit at each step.
        is_quiet: Whether nothing goes wrong any more.
        lines: The history, if it is kept.
    """

    def __init__(
        self,
        seed: object,
        faults: Mapping[str, float],
        *,
        share: float = 0.0,
        keeps_history: bool = False,
    ) -> None:
        self.random = random.Random(f"{seed}/fate")
        self.faults = faults
        self.share = share
        self.hits: Hits = Hits()
        self.is_quiet = False
        self.lines: list[str] | None = [] if keeps_history else None
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """A hash over the whole history."""
        return self._hash.hexdigest()

    def note(self, at: float, text: str) -> None:
        """Write a line of the history."""
        line = f"{at:12.6f} {text}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def strikes(self, fault: str) -> bool:
        """Draw whether a fault happens now; the caller counts it where it takes effect."""
        probability = self.faults.get(fault, 0.0)
        if not probability or self.is_quiet:
            return False
        return self.random.random() < probability

    def pick(
        self, step: str, faults: Sequence[str], *, is_request: bool = True, counts: bool = True
    ) -> str | None:
        """Draw at most one of several faults for a request or a write, and count it or not yet."""
        if self.is_quiet:
            return None
        found = None
        if self.share and is_request:
            if self.random.random() < self.share:
                found = self.random.choice(faults)
        elif self.faults:
            at_work = [fault for fault in faults if fault in self.faults]
            self.random.shuffle(at_work)
            found = next((fault for fault in at_work if self.strikes(fault)), None)
        if found is not None and counts:
            self.hits[step, found] += 1
        return found

    def hit(self, step: str, fault: str) -> None:
        """Count a fault."""
        self.hits[step, fault] += 1

    def between(self, low: float, high: float) -> float:
        """Draw a number."""
        return low + (high - low) * self.random.random()

    def one_of(self, things: Sequence[T]) -> T:
        """Draw one of several."""
        return self.random.choice(things)
