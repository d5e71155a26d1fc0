"""What a journal's payouts come to: totals, refusals, times, and what is left to do.

Payouts go in one by one and only what is shown of them is kept: a line for each of those that need
somebody, up to a bound, and three instants for every other one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import attrs

from ..core.models import Doubt, State
from ..core.responses import Status
from .projection import ATTENTION, UNFINISHED, Line, Total
from .timeline import Spread, Timeline, spread, timeline

__all__ = [
    "LONGEST_GROUP",
    "MOST_REASONS",
    "Group",
    "Refusal",
    "Summary",
    "summarize",
]

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
