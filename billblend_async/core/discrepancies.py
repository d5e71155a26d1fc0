"""What does not fit about a payout: what the gateway told, and in words with what to do.

Each different contradiction is kept, so that a small one cannot hide a large one. A gateway that
tells another one every time fills no journal with that: see ``MOST_ALIKE``.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol, assert_never

import attrs

from .descriptions import legible
from .events import Checked, Finished, PayAccepted
from .models import Alarm, State
from .responses import Status

__all__ = [
    "ENDED_IN_ERROR",
    "MOST_ALIKE",
    "RECONCILE",
    "Finding",
    "acknowledged",
    "describe",
    "explain",
    "find",
    "is_full",
    "sentence_of",
    "with_finding",
]

_HAPPENED: Final[Mapping[Alarm, str]] = {
    Alarm.STATUS_CONTRADICTS: "The gateway told another final status after the payout had ended",
    Alarm.APPROVED_BEFORE_PAY: "The gateway called the order approved although pay was never sent",
    Alarm.AMOUNT_DIFFERS: "The gateway paid another amount or currency than was asked for",
    Alarm.ACCEPTED_LATE: "The gateway accepted the pay request after the payout had been closed",
    Alarm.LATER_TRANSACTION: (
        "The gateway tells of a reversal, a chargeback or the like after the payout had ended"
    ),
    Alarm.SECOND_ORDER: "The gateway named a second order for the payout, which is never paid here",
}
_TO_DO: Final[Mapping[Alarm, str]] = {
    Alarm.STATUS_CONTRADICTS: "ask its support which one is true",
    Alarm.APPROVED_BEFORE_PAY: "ask its support who paid it",
    Alarm.AMOUNT_DIFFERS: "ask its support how much the receiver got",
    Alarm.ACCEPTED_LATE: (
        "ask its support whether the money moved, before anybody pays it another way"
    ),
    Alarm.LATER_TRANSACTION: "ask its support how much of the money has come back",
    Alarm.SECOND_ORDER: "ask its support why it was made, and to cancel it",
}
ENDED_IN_ERROR: Final = (
    "The gateway ended it with the status error, which does not say whether the money moved"
)
"""What the status ``error`` says."""
RECONCILE: Final = (
    f"{ENDED_IN_ERROR}; ask its support before anybody pays it again, then acknowledge it."
)
"""The same with what to do."""
MOST_ALIKE: Final = 5
"""Findings of one alarm with one status word that are kept while nobody has acknowledged them.

What comes beyond them leaves no record. It is never the first of its kind: neither many declines
nor many small reversals hide that an order was approved. The words for people say that there may be
more, and who acknowledges what is kept makes room for what is told then.
"""
_MORE: Final = "There may be more like it, which is kept only once these are acknowledged."
_LONGEST: Final = 40
"""Characters that are shown of a word of the gateway's."""


@attrs.frozen(kw_only=True)
class Finding:
    """What one alarm is about.

    Attributes:
        alarm: What does not fit.
        number: Which of the payout's events told it; so it is known whatever comes later.
        status: The final status that was told with it, if one was.
        paynet_order_id: The order that it was told of.
        amount: The amount that was told, in major units.
        currency: The currency that was told.
        transaction_type: What the status was about, if that was told.
        is_acknowledged: Whether a person has looked at it.
    """

    alarm: Alarm
    number: int
    status: Status | None = None
    paynet_order_id: str
    amount: Decimal | None = None
    currency: str | None = None
    transaction_type: str | None = None
    is_acknowledged: bool = False


class Odd(Protocol):
    """A payout about which something does not fit."""

    @property
    def amount(self) -> Decimal:
        """What was asked for."""
        ...

    @property
    def currency(self) -> str:
        """Its currency."""
        ...

    @property
    def state(self) -> State:
        """The situation it is in."""
        ...

    @property
    def status(self) -> Status | None:
        """Its final status."""
        ...

    @property
    def paynet_order_id(self) -> str | None:
        """Its order."""
        ...


def find(alarm: Alarm, event: Checked | PayAccepted | Finished, number: int) -> Finding:
    """Keep what an event told that raises an alarm, and which of the payout's events it is."""
    if not isinstance(event, Finished):
        return Finding(alarm=alarm, number=number, paynet_order_id=event.paynet_order_id)
    return Finding(
        alarm=alarm,
        number=number,
        status=event.status,
        paynet_order_id=event.paynet_order_id,
        amount=event.amount,
        currency=event.currency,
        transaction_type=event.transaction_type,
    )


def with_finding(findings: tuple[Finding, ...], new: Finding) -> tuple[Finding, ...]:
    """Add a finding, unless the very same was told before or enough like it waits for a person."""
    if _said(new) in map(_said, findings) or is_full(findings, new):
        return findings
    return (*findings, new)


def is_full(findings: Iterable[Finding], like: Finding) -> bool:
    """Tell whether no more findings of a kind are kept until a person has acknowledged some."""
    alike = (each for each in findings if not each.is_acknowledged and _kind(each) == _kind(like))
    return sum(1 for _ in alike) >= MOST_ALIKE


def _kind(finding: Finding) -> tuple[Alarm, Status | None]:
    return finding.alarm, finding.status


def _said(finding: Finding) -> Finding:
    """Leave out what does not belong to what was told."""
    return attrs.evolve(finding, number=0, is_acknowledged=False)


def acknowledged(findings: Iterable[Finding], numbers: Container[int]) -> tuple[Finding, ...]:
    """Take the findings with some numbers as acknowledged by a person."""
    return tuple(
        attrs.evolve(each, is_acknowledged=True) if each.number in numbers else each
        for each in findings
    )


def sentence_of(alarm: Alarm) -> str:
    """Say what an alarm means and what to do, whatever payout it is about."""
    return f"{_HAPPENED[alarm]}; {_TO_DO[alarm]}, then acknowledge it."


def explain(findings: Sequence[Finding], payout: Odd) -> tuple[str, ...]:
    """Say of each finding what does not fit about a payout, with the numbers and what to do.

    Args:
        findings: What nobody has acknowledged.
        payout: The payout.
    """
    then = ", then acknowledge it" if payout.state.is_terminal else ""
    last = {_kind(each): each for each in findings if is_full(findings, each)}
    told = (
        (f"{describe(each, payout)}; {_TO_DO[each.alarm]}{then}.", last.get(_kind(each)) is each)
        for each in findings
    )
    return tuple(f"{sentence} {_MORE}" if is_last else sentence for sentence, is_last in told)


def describe(finding: Finding, payout: Odd) -> str:
    """Say what does not fit about a payout, with the numbers."""
    asked, told = f"{payout.amount:f} {payout.currency}", _told(finding)
    end = payout.status or payout.state
    match finding.alarm:
        case Alarm.STATUS_CONTRADICTS:
            return f"The payout of {asked} had ended as {end}, and then the gateway told {told}"
        case Alarm.APPROVED_BEFORE_PAY:
            order = finding.paynet_order_id
            return (
                f"Asked to check {asked}, the gateway called order {order} approved"
                f" ({_amount(finding)}) although pay was never sent"
            )
        case Alarm.AMOUNT_DIFFERS:
            return f"The gateway paid {_amount(finding)}, but {asked} was asked for"
        case Alarm.ACCEPTED_LATE:
            order = finding.paynet_order_id
            return (
                f"The payout of {asked} was closed, and then the gateway took pay of order {order}"
            )
        case Alarm.LATER_TRANSACTION:
            return (
                f"The payout of {asked} had ended as {end}, and then the gateway told of a {told}"
            )
        case Alarm.SECOND_ORDER:
            ours, other = payout.paynet_order_id, finding.paynet_order_id
            return (
                f"The gateway named order {other}{f' ({told})' if finding.status else ''} for the"
                f" payout of {asked}, whose order is {ours}; the other one is never paid here"
            )
        case _:
            assert_never(finding.alarm)


def _told(finding: Finding) -> str:
    kind = legible(finding.transaction_type, _LONGEST)
    if finding.alarm is Alarm.LATER_TRANSACTION:
        kind = kind or "later transaction"
    return ", ".join(filter(None, [kind, finding.status or "", _amount(finding)]))


def _amount(finding: Finding) -> str:
    """Write what was told of an amount and its currency; either may be missing."""
    amount = "" if finding.amount is None else f"{finding.amount:f}"
    currency = legible(finding.currency, _LONGEST)
    if not amount and not currency:
        return "no amount"
    return f"{amount or 'an unknown amount of'} {currency or '(no currency told)'}"
