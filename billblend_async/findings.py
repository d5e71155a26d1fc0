"""What does not fit about a payout: what the gateway told, and in words with what to do."""

from collections.abc import Container, Iterable, Mapping
from decimal import Decimal
from typing import Final, Protocol, assert_never

import attrs

from .answers import Status
from .events import Checked, Finished, PayAccepted
from .legibility import legible
from .models import Alarm, State

__all__ = [
    "RECONCILE",
    "Finding",
    "acknowledged",
    "explain",
    "find",
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
RECONCILE: Final = (
    "The gateway ended it with the status error, which does not say whether the money moved; ask "
    "its support before anybody pays it again, then acknowledge it."
)
"""What the status ``error`` says, and what to do."""
_LONGEST: Final = 40
"""Characters that are shown of a word of the gateway's."""


@attrs.frozen(kw_only=True)
class Finding:
    """What one alarm is about.

    Attributes:
        alarm: What does not fit.
        status: The final status that was told with it, if one was.
        paynet_order_id: The order that it was told of.
        amount: The amount that was told, in major units.
        currency: The currency that was told.
        transaction_type: What the status was about, if that was told.
        is_acknowledged: Whether a person has looked at it.
    """

    alarm: Alarm
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


def find(alarm: Alarm, event: Checked | PayAccepted | Finished) -> Finding:
    """Keep what an event told that raises an alarm."""
    if not isinstance(event, Finished):
        return Finding(alarm=alarm, paynet_order_id=event.paynet_order_id)
    return Finding(
        alarm=alarm,
        status=event.status,
        paynet_order_id=event.paynet_order_id,
        amount=event.amount,
        currency=event.currency,
        transaction_type=event.transaction_type,
    )


def with_finding(findings: tuple[Finding, ...], new: Finding) -> tuple[Finding, ...]:
    """Add a finding. An alarm is told of once; after it was acknowledged, in other words again."""
    same = [known for known in findings if known.alarm is new.alarm]
    if not all(known.is_acknowledged for known in same):
        return findings
    if new in acknowledged(same, is_so=False):
        return findings
    return (*findings, new)


def acknowledged(
    findings: Iterable[Finding], alarms: Container[Alarm] = tuple(Alarm), *, is_so: bool = True
) -> tuple[Finding, ...]:
    """Take findings as acknowledged by a person, or only those of some alarms."""
    return tuple(
        attrs.evolve(each, is_acknowledged=is_so) if each.alarm in alarms else each
        for each in findings
    )


def sentence_of(alarm: Alarm) -> str:
    """Say what an alarm means and what to do, whatever payout it is about."""
    return f"{_HAPPENED[alarm]}; {_TO_DO[alarm]}, then acknowledge it."


def explain(finding: Finding, payout: Odd) -> str:
    """Say what does not fit about a payout, with the numbers and what to do."""
    then = ", then acknowledge it" if payout.state.is_terminal else ""
    return f"{_happened(finding, payout)}; {_TO_DO[finding.alarm]}{then}."


def _happened(finding: Finding, payout: Odd) -> str:
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
                f"The gateway named order {other} for the payout of {asked}, whose order is {ours};"
                " the other one is never paid here"
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
