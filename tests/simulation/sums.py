"""What many worlds came to, added up."""

from collections import Counter

import attrs

from .coverage import Hits
from .world import Report

__all__ = ["Sum"]


@attrs.define
class Sum:
    """What many seeds came to.

    Attributes:
        seeds: How many ran.
        payouts: How many payouts they had.
        attention: How many of these needed a person at the end.
        crashes: How many programs were killed.
        seconds: How long all took on the wall.
        hits: How often each fault was hit.
        failures: The replay line and the problem of each seed that failed.
    """

    seeds: int = 0
    payouts: int = 0
    attention: int = 0
    crashes: int = 0
    seconds: float = 0.0
    hits: Hits = attrs.field(factory=Counter)
    failures: list[str] = attrs.field(factory=list)

    def add(self, report: Report) -> None:
        """Add one seed."""
        self.seeds += 1
        self.payouts += report.payouts
        self.attention += report.attention
        self.crashes += report.crashes
        self.hits.update(report.hits)
        if report.problem is not None:
            self.failures.append(f"{report.replay}  # {report.problem}")

    def merge(self, other: "Sum") -> None:
        """Add the sum of other seeds."""
        self.seeds += other.seeds
        self.payouts += other.payouts
        self.attention += other.attention
        self.crashes += other.crashes
        self.hits.update(other.hits)
        self.failures += other.failures

    def __str__(self) -> str:
        """Tell the figures in one line."""
        rate = self.seeds / self.seconds * 60 if self.seconds else 0.0
        share = 100 * self.attention / self.payouts if self.payouts else 0.0
        return (
            f"{self.seeds} seeds, {rate:.0f} a minute, {self.hits.total()} faults at "
            f"{len(self.hits)} places, {self.crashes} crashes, {self.payouts} payouts, "
            f"{share:.2f} % in Attention, {len(self.failures)} failures"
        )
