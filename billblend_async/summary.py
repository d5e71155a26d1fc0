"""What a journal's payouts come to: totals, refusals, times, and what is left to do.

Payouts go in one by one and only what is shown of them is kept: a line for each of those that need
somebody, up to a bound, and three instants for every other one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import attrs

from .answers import Status
from .batch import Total, told_status
from .models import Alarm, Doubt, State
from .payout import Payout, deadline, outcome
from .timeline import Spread, Timeline, spread, timeline

__all__ = [
    "LONGEST_GROUP",
    "MOST_REASONS",
    "Group",
    "Line",
    "Refusal",
    "Summary",
    "line_of",
    "summarize",
]

LONGEST_GROUP: Final = 500
"""Payouts that are listed of those with one reason."""
MOST_REASONS: Final = 100
"""Reasons for refusals that are told apart: the gateway's texts may be all different."""

_ALARM_SENTENCES: Final[Mapping[Alarm, str]] = {
    Alarm.STATUS_CONTRADICTS: (
        "The gateway told another final status after the first; ask its support which one is true."
    ),
    Alarm.APPROVED_BEFORE_PAY: (
        "The gateway called this order approved although pay was never sent; ask its support who "
        "paid it."
    ),
    Alarm.AMOUNT_DIFFERS: (
        "The gateway paid another amount or currency than was asked for; ask its support how much "
        "the receiver got."
    ),
    Alarm.ACCEPTED_LATE: (
        "The gateway accepted the pay request after a person had closed the payout; ask its "
        "support whether the money moved, before anybody pays it another way."
    ),
    Alarm.LATER_TRANSACTION: (
        "The gateway tells of a reversal, a chargeback or the like after the payout was final; the "
        "money may have come back. Ask its support."
    ),
    Alarm.SECOND_ORDER: (
        "The gateway named a second order for this payout, which is never paid; ask its support "
        "which one is ours."
    ),
}
_RECONCILE: Final = (
    "The gateway ended it with the status error, which does not say whether the money moved; ask "
    "its support before anybody pays it again."
)
_WAITS: Final[Mapping[State, str]] = {
    State.NEW: "Accepted, and nothing was sent for it yet; a run of its file goes on with it.",
    State.CHECKING: (
        "The answer to payout-check is not known yet; a run of its file asks for it and does not "
        "repeat the check."
    ),
    State.VALIDATING: "The bank is validating it; a run of its file asks again and then pays it.",
    State.VALIDATED: "The bank has validated it and pay was not sent; a run of its file pays it.",
    State.PAYING: (
        "The answer to the pay request is not known yet; a run of its file asks for it and never "
        "repeats the payment."
    ),
    State.AWAITING_FINAL: (
        "The gateway has taken the pay request; a run of its file asks for the final status."
    ),
    State.AWAITING_RECEIVER: (
        "The receiver must open a link and fill in a form; the link stands in the results file."
    ),
}
_AWAITS_APPROVAL: Final = "The bank has validated it; approve it to pay, or withdraw it."


@attrs.frozen(kw_only=True)
class Line:
    """What a report says of one payout: no receiver, no link.

    Attributes:
        client_orderid: The caller's id.
        status: One word for what became of it, as in the results of a batch.
        state: The situation it is in.
        amount: Asked amount in major units.
        currency: Asked currency.
        paynet_order_id: The gateway's order id, once known.
        order_stage: The gateway's word for the final stage.
        error_code: The gateway's code for a refusal.
        error_message: The gateway's text for a refusal.
        doubt: Why a person must look.
        alarms: What does not fit.
        held: Whether it waits for a person's approval.
        accepted_at: When it was accepted, in seconds since the epoch.
        since: When it came into its state.
        late_at: When its wait has taken longer than it was given; None where nothing is waited for.
        sequence: How many events have changed it.
    """

    client_orderid: str
    status: str
    state: State
    amount: Decimal
    currency: str
    paynet_order_id: str | None
    order_stage: str | None
    error_code: str | None
    error_message: str | None
    doubt: Doubt | None
    alarms: tuple[Alarm, ...]
    held: bool
    accepted_at: float
    since: float
    late_at: float | None
    sequence: int

    @property
    def is_paid(self) -> bool:
        """Whether the gateway says that the money has moved."""
        return self.state is State.FINAL and self.status == Status.APPROVED

    @property
    def needs_person(self) -> bool:
        """Whether a person must look."""
        return self.state is State.ATTENTION or bool(self.alarms)

    @property
    def seconds_to_final(self) -> float | None:
        """How long it took from its acceptance to the gateway's final status, if it has one."""
        if self.state is not State.FINAL:
            return None
        return max(0.0, self.since - self.accepted_at)  # a clock may have been set back

    @property
    def reasons(self) -> list[str]:
        """Why it needs somebody or is not finished, in words."""
        return [sentence for _, sentence in _groups_of(self)]


def line_of(payout: Payout) -> Line:
    """Take from a payout what a report says of it."""
    told = outcome(payout)
    wait = deadline(payout)
    waits = wait is not None and payout.state is not State.ATTENTION and not payout.held
    return Line(
        client_orderid=payout.client_orderid,
        status=told_status(told),
        state=payout.state,
        amount=payout.amount,
        currency=payout.currency,
        paynet_order_id=payout.paynet_order_id,
        order_stage=payout.order_stage,
        error_code=payout.error_code,
        error_message=payout.error_message,
        doubt=payout.doubt,
        alarms=payout.alarms,
        held=payout.held,
        accepted_at=payout.opened_at,
        since=payout.since,
        late_at=wait[1] if wait is not None and waits else None,
        sequence=payout.sequence,
    )


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
        reconcile: Those that ended in ``error``, at most one group.
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
    reconcile: tuple[Group, ...]
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
        for name, sentence in _groups_of(line):
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
            attention=self._groups(_ATTENTION),
            reconcile=self._groups(("error",)),
            unfinished=self._groups(_UNFINISHED),
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


_ATTENTION: Final = (*(f"doubt {doubt}" for doubt in Doubt), *(f"alarm {alarm}" for alarm in Alarm))
_UNFINISHED: Final = (*_WAITS, "awaiting-approval")


def _groups_of(line: Line) -> list[tuple[str, str]]:
    """Say where a payout is listed, each with the reason in words."""
    groups: list[tuple[str, str]] = []
    if line.doubt is not None and line.state is State.ATTENTION:
        groups.append((f"doubt {line.doubt}", line.doubt.sentence))
    # An alarm that only repeats the doubt is no second reason.
    alarms = [alarm for alarm in line.alarms if not groups or alarm.value != line.doubt]
    groups += [(f"alarm {alarm}", _ALARM_SENTENCES[alarm]) for alarm in alarms]
    if line.state is State.FINAL and line.status == Status.ERROR:
        groups.append(("error", _RECONCILE))
    if line.held and line.state is State.VALIDATED:
        groups.append(("awaiting-approval", _AWAITS_APPROVAL))
    elif line.state in _WAITS:
        groups.append((line.state.value, _WAITS[line.state]))
    return groups


def _refusal_of(line: Line) -> tuple[str | None, ...] | None:
    """Say why the gateway refused a payout, if it did."""
    is_refused = line.state is State.REJECTED or (
        line.state is State.FINAL and line.status != Status.APPROVED
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
