"""Instants and durations fall into buckets that people can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billblend_async.reporting.summary import spread, timeline

MOMENTS = st.lists(st.floats(0, 4e9), min_size=1, max_size=50)


class TestTimeline:
    def test_nothing_has_no_timeline(self) -> None:
        """Without payouts there is nothing to show."""
        assert timeline(accepted=[], finished=[], paid=[]) is None

    def test_buckets_are_round(self) -> None:
        """Forty minutes fall into minutes that begin where a clock's minutes begin."""
        line = timeline(accepted=[90.0, 2400.0], finished=[95.0, 2460.0], paid=[95.0])
        assert line is not None
        assert (line.begins_at, line.step) == (60, 60)
        assert line.accepted[0] == line.finished[0] == line.paid[0] == 1
        assert (line.accepted[39], line.finished[40], len(line.paid)) == (1, 1, 41)

    @given(accepted=MOMENTS, finished=st.lists(st.floats(0, 4e9), max_size=50))
    def test_every_instant_is_counted_once(
        self, accepted: list[float], finished: list[float]
    ) -> None:
        """Whatever the instants, each is in one bucket and there are at most four dozen."""
        line = timeline(accepted=accepted, finished=finished, paid=finished)
        assert line is not None
        assert (sum(line.accepted), sum(line.finished)) == (len(accepted), len(finished))
        assert line.paid == line.finished
        assert len(line.accepted) == len(line.finished) <= 48
        assert line.begins_at <= min(*accepted, *finished, 4e9)


class TestSpread:
    def test_nothing_has_no_spread(self) -> None:
        """Without a final status there are no times."""
        assert spread([]) is None

    def test_percentiles_are_times_that_were_taken(self) -> None:
        """Of a hundred durations the median is the fiftieth, and p90 and p99 are likewise."""
        told = spread([float(n) for n in range(100, 0, -1)])
        assert told is not None
        assert (told.median, told.p90, told.p99, told.longest) == (50, 90, 99, 100)

    def test_a_straggler_squeezes_nobody(self) -> None:
        """One that took a day beside a thousand that took seconds is in the last bar."""
        told = spread([1 + n % 10 / 10 for n in range(1000)] + [86_400.0])
        assert told is not None
        assert told.step <= 0.1
        assert told.longest == 86_400
        assert told.bars[-1] == 101

    @pytest.mark.parametrize("same", [0.0, 1.0, 1e-9, 5e8])
    def test_durations_may_all_be_the_same(self, same: float) -> None:
        """A single value is its own median and in one of the bars."""
        told = spread([same] * 3)
        assert told is not None
        assert told.median == told.longest == same
        assert sum(told.bars) == 3

    @given(seconds=st.lists(st.floats(0, 1e9), min_size=1, max_size=100))
    def test_every_duration_is_counted_once(self, seconds: list[float]) -> None:
        """Whatever the durations, the bars hold all of them and are not too many."""
        told = spread(seconds)
        assert told is not None
        assert sum(told.bars) == told.count == len(seconds)
        assert 1 <= len(told.bars) <= 20
        assert told.median <= told.p90 <= told.p99 <= told.longest
