"""When payouts came and went, and how long they took: instants and seconds, in buckets."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Final

import attrs

__all__ = ["Spread", "Timeline", "spread", "timeline"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 7, 14, 28, 91, 182, 364)),
)
_MOST_BUCKETS: Final = 48
_BARS: Final = 20


@attrs.frozen(kw_only=True)
class Timeline:
    """How many payouts were accepted, finished and paid in each bucket of time.

    Attributes:
        begins_at: When the first bucket begins, in seconds since the epoch.
        step: Seconds of a bucket.
        accepted: Payouts that were accepted, bucket by bucket.
        finished: Payouts that were finished, paid or not.
        paid: Payouts that were approved.
    """

    begins_at: float
    step: int
    accepted: tuple[int, ...]
    finished: tuple[int, ...]
    paid: tuple[int, ...]


@attrs.frozen(kw_only=True)
class Spread:
    """How some durations are spread.

    Attributes:
        count: How many.
        median: Half of them took no longer; in seconds, as all of these.
        p90: Nine of ten took no longer.
        p99: Ninety-nine of a hundred took no longer.
        longest: The longest.
        step: The width of a bar.
        bars: How many took from ``n * step`` up to the next bar, the last one also longer.
    """

    count: int
    median: float
    p90: float
    p99: float
    longest: float
    step: float
    bars: tuple[int, ...]


def timeline(
    *, accepted: Sequence[float], finished: Sequence[float], paid: Sequence[float]
) -> Timeline | None:
    """Count instants in buckets of a round length, at most four dozen; None without any."""
    if not accepted:
        return None
    first = min(chain(accepted, finished))
    last = max(chain(accepted, finished))
    step = next((each for each in _STEPS if _buckets(first, last, each) <= _MOST_BUCKETS), 0)
    if not step:  # a journal of decades, or clocks that were set far off
        step = _DAY * math.ceil((last - first) / _DAY / (_MOST_BUCKETS - 1))
    begins_at, buckets = first // step * step, _buckets(first, last, step)

    def counted(instants: Sequence[float]) -> tuple[int, ...]:
        counts = [0] * buckets
        for instant in instants:
            counts[int((instant - begins_at) // step)] += 1
        return tuple(counts)

    return Timeline(
        begins_at=begins_at,
        step=step,
        accepted=counted(accepted),
        finished=counted(finished),
        paid=counted(paid),
    )


def spread(seconds: Sequence[float]) -> Spread | None:
    """Say how durations are spread; None without any.

    The bars reach to the 99th percentile, so that a single straggler does not squeeze the rest.
    """
    if not seconds:
        return None
    ordered = sorted(seconds)
    p99 = _percentile(ordered, 0.99)
    step = _round_up(max(p99, 0.001) / _BARS)
    most = max(1, math.ceil(p99 / step))
    edges = [bisect_right(ordered, step * n) for n in range(1, most)]
    # What lies on an edge belongs to the bar below it, and all beyond the last edge to the last.
    ends = [*edges, len(ordered)]
    bars = [end - begin for begin, end in pairwise([0, *ends])]
    return Spread(
        count=len(ordered),
        median=_percentile(ordered, 0.5),
        p90=_percentile(ordered, 0.9),
        p99=p99,
        longest=ordered[-1],
        step=step,
        bars=tuple(bars),
    )


def _buckets(first: float, last: float, step: int) -> int:
    return int(last // step - first // step) + 1


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Give the smallest value that at least this share of all is not above (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _round_up(width: float) -> float:
    """Find the next width of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next((n * power for n in (1, 2, 5) if n * power >= width), 10 * power)
