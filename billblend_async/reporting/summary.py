"""Aggregates of a journal's payouts: totals, refusals, times, and what is left to do.

Payouts go in one by one and only what is shown of them is kept: a line for each of those that need
a person, up to a bound, and three instants for every other one. ``Source`` reads a journal again
only where it has changed.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from itertools import chain, pairwise
from typing import Final

import attrs

from ..core.models import Doubt, State
from ..core.responses import Status
from ..errors import ConfigurationError
from ..journal import Owner
from ..journal.location import Place, Reader
from .projection import ATTENTION, UNFINISHED, Line, Total, line_of

__all__ = [
    "LONGEST_GROUP",
    "MOST_REASONS",
    "Choice",
    "Group",
    "Refusal",
    "Report",
    "Source",
    "Spread",
    "Summary",
    "Timeline",
    "spread",
    "summarize",
    "timeline",
]

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


LONGEST_GROUP: Final = 500
"""Payouts that are listed of those with one reason."""
MOST_REASONS: Final = 100
"""Reasons for refusals that are told apart: the gateway's texts may be all different."""


@attrs.frozen(kw_only=True)
class Group:
    """Payouts that are not done with, for one reason.

    Attributes:
        name: The reason in one word.
        sentence: The reason in words, with what to do.
        payouts: How many.
        late: How many of them wait for longer than they were given.
        lines: The first of them.
    """

    name: str
    sentence: str
    payouts: int
    late: int
    lines: tuple[Line, ...]


@attrs.frozen(kw_only=True)
class Refusal:
    """Payouts that the gateway refused for one reason.

    Attributes:
        status: How they ended, or ``attention`` where pay was refused.
        order_stage: The gateway's word for the stage.
        error_code: Its code.
        error_message: Its text.
        payouts: How many.
        example: The client_orderid of the first.
    """

    status: str
    order_stage: str | None
    error_code: str | None
    error_message: str | None
    payouts: int
    example: str


@attrs.frozen(kw_only=True)
class Summary:
    """What payouts come to.

    Attributes:
        payouts: How many.
        paid: How many are approved.
        finished: How many are finished, paid or not.
        totals: Payouts and money per status and currency.
        sums: Payouts and money per currency.
        persons: How many need a person.
        attention: They, by reason.
        unfinished: What is not finished and needs no person, by reason.
        refusals: Refusals by reason, the most frequent first.
        unlisted_refusals: Payouts whose reason is not among them.
        timeline: How many were accepted, finished and paid when; None without payouts.
        times: Seconds from acceptance to the final status; None while none is final.
    """

    payouts: int
    paid: int
    finished: int
    totals: tuple[Total, ...]
    sums: tuple[Total, ...]
    persons: int
    attention: tuple[Group, ...]
    unfinished: tuple[Group, ...]
    refusals: tuple[Refusal, ...]
    unlisted_refusals: int
    timeline: Timeline | None
    times: Spread | None


def summarize(lines: Iterable[Line], *, at: float) -> Summary:
    """Sum payouts up in one pass.

    Args:
        lines: The payouts, in any order.
        at: Now, in seconds since the epoch: what waits too long is told by it.
    """
    books = _Books(at)
    for line in lines:
        books.take(line)
    return books.summary()


@attrs.define
class _Books:
    """Counts payouts as they come."""

    at: float
    counts: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False)
    sums: dict[tuple[str, str], Decimal] = attrs.field(factory=dict, init=False)
    persons: int = attrs.field(default=0, init=False)
    piles: dict[str, "_Pile"] = attrs.field(factory=dict, init=False)
    refused: Counter[tuple[str | None, ...]] = attrs.field(factory=Counter, init=False)
    examples: dict[tuple[str | None, ...], str] = attrs.field(factory=dict, init=False)
    accepted: list[float] = attrs.field(factory=list, init=False)
    finished: list[float] = attrs.field(factory=list, init=False)
    paid: list[float] = attrs.field(factory=list, init=False)
    seconds: list[float] = attrs.field(factory=list, init=False)

    def take(self, line: Line) -> None:
        """Count one payout."""
        key = line.status, line.currency
        self.counts[key] += 1
        self.sums[key] = self.sums.get(key, Decimal(0)) + line.amount
        self.accepted.append(line.accepted_at)
        if line.state.is_terminal:
            self.finished.append(line.since)
        if line.is_paid:
            self.paid.append(line.since)
        if (seconds := line.seconds_to_final) is not None:
            self.seconds.append(seconds)
        if line.is_paid and not line.alarms:
            return  # most are, and there is nothing more to say of them
        self.persons += line.needs_person
        for name, sentence in line.reasons:
            pile = self.piles.get(name)
            if pile is None:
                pile = self.piles[name] = _Pile(sentence)
            pile.take(line, self.at)
        if (reason := _refusal_of(line)) is not None:
            self.refused[reason] += 1
            self.examples.setdefault(reason, line.client_orderid)

    def summary(self) -> Summary:
        """Say what they come to."""
        totals = [Total(*key, self.counts[key], self.sums[key]) for key in sorted(self.counts)]
        refusals = tuple(
            Refusal(
                status=str(reason[0]),
                order_stage=reason[1],
                error_code=reason[2],
                error_message=reason[3],
                payouts=count,
                example=self.examples[reason],
            )
            for reason, count in self.refused.most_common(MOST_REASONS)
        )
        return Summary(
            payouts=len(self.accepted),
            paid=len(self.paid),
            finished=len(self.finished),
            totals=tuple(totals),
            sums=_per_currency(totals),
            persons=self.persons,
            attention=self._groups(ATTENTION),
            unfinished=self._groups(UNFINISHED),
            refusals=refusals,
            unlisted_refusals=self.refused.total() - sum(each.payouts for each in refusals),
            timeline=timeline(accepted=self.accepted, finished=self.finished, paid=self.paid),
            times=spread(self.seconds),
        )

    def _groups(self, names: Sequence[str]) -> tuple[Group, ...]:
        return tuple(self.piles[name].group(name) for name in names if name in self.piles)


@attrs.define
class _Pile:
    """Payouts with one reason, as they come."""

    sentence: str
    payouts: int = attrs.field(default=0, init=False)
    late: int = attrs.field(default=0, init=False)
    lines: list[Line] = attrs.field(factory=list, init=False)

    def take(self, line: Line, at: float) -> None:
        self.payouts += 1
        self.late += line.late_at is not None and at > line.late_at
        if len(self.lines) < LONGEST_GROUP:
            self.lines.append(line)

    def group(self, name: str) -> Group:
        return Group(
            name=name.removeprefix("doubt "),
            sentence=self.sentence,
            payouts=self.payouts,
            late=self.late,
            lines=tuple(self.lines),
        )


def _refusal_of(line: Line) -> tuple[str | None, ...] | None:
    """Say why the gateway refused a payout, if it did."""
    is_refused = line.state is State.REJECTED or (
        line.state is State.FINAL and line.status not in (Status.APPROVED, Status.ERROR)
    )
    if not is_refused and line.doubt is not Doubt.PAY_REFUSED:
        return None
    return line.status, line.order_stage, line.error_code, line.error_message


def _per_currency(totals: Iterable[Total]) -> tuple[Total, ...]:
    sums: dict[str, Total] = {}
    for each in totals:
        before = sums.get(each.currency, Total("all", each.currency, 0, Decimal(0)))
        payouts, amount = before.payouts + each.payouts, before.amount + each.amount
        sums[each.currency] = Total("all", each.currency, payouts, amount)
    return tuple(sums[currency] for currency in sorted(sums))


@attrs.frozen(kw_only=True)
class Choice:
    """Which payouts are told of.

    Attributes:
        since: Those that were accepted at this instant or later.
        until: Those that were accepted before this instant.
        among: Those with one of these client_orderids.
        words: The choice in words; empty for all payouts.
    """

    since: float | None = None
    until: float | None = None
    among: Collection[str] | None = None
    words: str = ""

    def takes(self, line: Line) -> bool:
        """Tell whether a payout is chosen."""
        return (
            (self.since is None or line.accepted_at >= self.since)
            and (self.until is None or line.accepted_at < self.until)
            and (self.among is None or line.client_orderid in self.among)
        )


@attrs.frozen(kw_only=True)
class Report:
    """What a journal holds, at one moment.

    Attributes:
        journal: Its name.
        named: The same as the user has named it, to be repeated in commands.
        owner: Whose payouts it holds.
        at: When it was read, in seconds since the epoch.
        choice: Which payouts are told of, in words; empty for all.
        missing: How many that were chosen by id the journal does not know.
        lines: The payouts, in the order in which they were accepted.
        summary: What they come to.
    """

    journal: str
    named: str
    owner: Owner
    at: float
    choice: str
    missing: int
    lines: tuple[Line, ...] = attrs.field(repr=False)
    summary: Summary = attrs.field(repr=False)


class Source:
    """A journal, and what was read of it.

    Args:
        place: Where it lies.
        choice: Which payouts are told of.
    """

    def __init__(self, place: Place, choice: Choice | None = None) -> None:
        self._place = place
        self._choice = Choice() if choice is None else choice
        self._identity: object = None
        self._known: dict[str, int] = {}
        self._lines: dict[str, Line] = {}

    def read(self, at: float) -> Report:
        """Read what has changed since the last time, and say what everything comes to.

        Args:
            at: Now, in seconds since the epoch.

        Raises:
            JournalError: It cannot be read, or is not what was written.
            ConfigurationError: Nobody has opened it yet.
        """
        with self._place.reader() as reader:
            owner = self._read(reader)
        lines = tuple(self._lines.values())
        among = self._choice.among
        return Report(
            journal=self._place.title,
            named=str(self._place),
            owner=owner,
            at=at,
            choice=self._choice.words,
            missing=0 if among is None else sum(name not in self._known for name in among),
            lines=lines,
            summary=summarize(lines, at=at),
        )

    def _read(self, reader: Reader) -> Owner:
        owner, identity = reader.owner(), reader.identity()
        if owner is None:
            wrong = "nobody has run payouts from it yet, so there is nothing to tell"
            raise ConfigurationError(f"--journal {self._place}: {wrong}")
        if self._identity != identity:
            # Another journal lies there now: nothing that was read is true of it.
            self._identity, self._known, self._lines = identity, {}, {}
        listed: set[str] = set()
        for payout in reader.payouts(self._known, listed=listed):
            line = line_of(payout)
            if self._choice.takes(line):
                self._lines[line.client_orderid] = line
            self._known[line.client_orderid] = line.sequence
        for name in self._known.keys() - listed:
            # A copy, or a standby that was behind, has taken the journal's place.
            del self._known[name]
            self._lines.pop(name, None)
        return owner
