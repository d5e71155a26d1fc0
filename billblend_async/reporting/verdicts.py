"""What people have decided about the payouts of a report, the latest first."""

from collections import Counter
from collections.abc import Sequence

import attrs

from ..core.events import Approved, Decision
from ..core.words import legible
from .projection import Line

__all__ = ["Verdicts", "verdicts"]


@attrs.frozen(kw_only=True)
class Verdicts:
    """What people have decided.

    Attributes:
        listed: The latest decisions but for approvals, each with its payout, the latest first.
        unlisted: How many earlier ones there are.
        approvals: How many payouts each person has approved, the busiest first.
    """

    listed: tuple[tuple[Line, Decision], ...]
    unlisted: int
    approvals: tuple[tuple[str, int], ...]


def verdicts(lines: Sequence[Line], most: int) -> Verdicts:
    """Gather what people have decided; approvals are many and alike, so they are counted.

    Args:
        lines: The payouts.
        most: How many decisions are listed.
    """
    found: list[tuple[Line, Decision]] = []
    approvals: Counter[str] = Counter()
    for line in lines:
        for decision in line.decisions:
            if isinstance(decision, Approved):
                approvals[legible(decision.who)] += 1
            else:
                found.append((line, decision))
    found.sort(key=lambda each: -each[1].at)
    return Verdicts(
        listed=tuple(found[:most]),
        unlisted=max(0, len(found) - most),
        approvals=tuple(approvals.most_common()),
    )
