"""A status is asked for every three to five seconds, and less often once it takes long."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billblend_async.core.models import Pace, Polling

chances = st.floats(0, 1)
paces = st.sampled_from(Pace)
FIVE_MINUTES = 300.0
SLOWEST = 300.0


@given(chances, st.floats(0, FIVE_MINUTES))
def test_documented_gap(chance: float, waited: float) -> None:
    """In the first five minutes a gap lies within 3 to 5 s, with room at both ends."""
    gap = Polling().gap(Pace.NORMAL, waited, chance)

    assert 3.2 <= gap <= 4.8 + 1e-9


@given(st.floats(-1e9, FIVE_MINUTES))
def test_spread(waited: float) -> None:
    """Chance spreads gaps evenly over the inner range, so that payouts do not ask in step."""
    gaps = [Polling().gap(Pace.NORMAL, waited, tenth / 10) for tenth in range(11)]

    assert [3.2 + 0.16 * tenth for tenth in range(11)] == pytest.approx(gaps)


@given(paces, chances, st.lists(st.floats(0, 1e12), min_size=2))
def test_slower_later(pace: Pace, chance: float, times: list[float]) -> None:
    """The longer a payout has waited, the longer the gap, up to a limit and never beyond."""
    gaps = [Polling().gap(pace, waited, chance) for waited in sorted(times)]

    assert gaps == sorted(gaps)
    assert 3 < gaps[0]
    assert gaps[-1] <= SLOWEST


@given(paces, chances)
def test_growth(pace: Pace, chance: float) -> None:
    """Past five minutes a gap grows, news is never later than 2 % of the wait, and it is capped."""
    normal = [Polling().gap(Pace.NORMAL, waited, chance) for waited in (300, 301, 600, 6000)]

    assert all(one < later for one, later in itertools.pairwise(normal))
    assert 2 * normal[0] == pytest.approx(normal[2])
    assert all(
        gap <= 0.02 * waited for gap, waited in zip(normal, (300, 301, 600, 6000), strict=True)
    )
    assert SLOWEST == Polling().gap(pace, 1e6, chance)


@given(chances, st.floats(0, 1000))
def test_paces(chance: float, waited: float) -> None:
    """While a person fills in a form it is asked less often, and least while one must decide."""
    normal, receiver, person = (Polling().gap(pace, waited, chance) for pace in Pace)

    assert normal < receiver < person


@given(st.floats(0.001, 100), st.floats(1, 3), chances, st.floats(0, 60))
def test_own_range(shortest: float, factor: float, chance: float, waited: float) -> None:
    """Another range is kept as strictly."""
    longest = shortest * factor
    polling = Polling(shortest=shortest, longest=longest, eager_for=60)
    gap = polling.gap(Pace.NORMAL, waited, chance)

    assert shortest * (1 - 1e-9) <= gap <= longest * (1 + 1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shortest": 0},
        {"shortest": -1},
        {"shortest": float("nan")},
        {"shortest": 6},
        {"shortest": float("inf"), "longest": float("inf")},
        {"longest": 2.9},
        {"longest": float("nan")},
        {"longest": 301},
        {"slowest": 4.9},
        {"slowest": float("nan")},
        {"eager_for": 0},
        {"eager_for": -1},
        {"eager_for": float("nan")},
    ],
)
def test_bad_range(wrong: dict[str, Any]) -> None:
    """A range that is none is refused before anything is polled."""
    with pytest.raises(ValueError, match=r"in this order|must be > 0"):
        Polling(**wrong)
