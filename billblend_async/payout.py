"""A payout as its events have left it, and how long each of its waits may take."""

from decimal import Decimal
from typing import Final, assert_never

import attrs

from .answers import Status
from .errors import BillblendError
from .events import Acknowledged, Closed, Decision, Opened, Withdrawn
from .findings import RECONCILE, Finding, explain
from .history import decided
from .models import Alarm, Deadlines, Doubt, Flow, OpenReason, Outcome, State
from .request import PayoutRequest

__all__ = [
    "FRESH_FOR",
    "Payout",
    "deadline",
    "differences",
    "is_fresh",
    "not_taken",
    "open_payout",
    "outcome",
]

FRESH_FOR: Final = 10.0
"""Seconds for which a validated answer, or a claim, is young enough to send on."""


@attrs.frozen(kw_only=True)
class Payout:
    """A payout as its events have left it.

    Attributes:
        client_orderid: The caller's id.
        flow: Which way it goes.
        amount: Asked amount in major units.
        currency: Asked currency.
        fingerprint: Keyed hash over who gets the money.
        receiver_hint: The last four characters of the receiver's number.
        deadlines: How long each wait may take.
        opened_at: When it was accepted.
        sequence: How many events after the first have changed it.
        state: The situation it is in.
        since: When it came into that state.
        held: Whether pay waits for a person's approval.
        approved_by: Who approved it, if it was held.
        restored: Whether it was read from a restored copy and not looked at since.
        attempt: Which round of sending this is; a vanished check or a release begins the next.
        pays: How many pay requests may have left this machine.
        paynet_order_id: The gateway's order id, once known.
        validated_at: When the bank's validation was last seen.
        not_seen_at: When the gateway first said that it knows no such order.
        not_seen: How often it has said so.
        doubt: Why a person must look.
        status: The final status.
        order_stage: The gateway's word for the final stage.
        error_code: The gateway's code for a refusal.
        error_message: The gateway's text for a refusal.
        redirect_to: Where the receiver must go.
        hints: What the gateway's callbacks have told, each word once.
        alarms: What does not fit.
        findings: What each alarm is about, and whether a person has acknowledged it.
        is_reconciled: Whether a person has acknowledged that it ended in the status ``error``.
        decisions: What people have decided about it, in order.
    """

    client_orderid: str
    flow: Flow
    amount: Decimal
    currency: str
    fingerprint: str = attrs.field(repr=False)
    receiver_hint: str | None = attrs.field(default=None, repr=False)
    deadlines: Deadlines = attrs.field(factory=Deadlines, repr=False)
    opened_at: float
    sequence: int = 0
    state: State = State.NEW
    since: float
    held: bool = False
    approved_by: str | None = None
    restored: bool = False
    attempt: int = 1
    pays: int = 0
    paynet_order_id: str | None = None
    validated_at: float | None = None
    not_seen_at: float | None = None
    not_seen: int = 0
    doubt: Doubt | None = None
    status: Status | None = None
    order_stage: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    redirect_to: str | None = attrs.field(default=None, repr=False)
    hints: tuple[Status, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    findings: tuple[Finding, ...] = ()
    is_reconciled: bool = False
    decisions: tuple[Decision, ...] = attrs.field(default=(), repr=False)

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        """The alarms that no person has acknowledged."""
        return tuple(each.alarm for each in self.findings if not each.is_acknowledged)

    @property
    def needs_reconciliation(self) -> bool:
        """Whether to ask the gateway what really happened: its status ``error`` does not say."""
        is_error = self.state is State.FINAL and self.status == Status.ERROR
        return is_error and not self.is_reconciled

    @property
    def acknowledged(self) -> tuple[str, ...]:
        """What a person has acknowledged of the alarms and the status ``error``, in words."""
        words = [alarm.value for alarm in self.alarms if alarm not in self.open_alarms]
        return (*words, str(Status.ERROR)) if self.is_reconciled else tuple(words)


def open_payout(event: Opened) -> Payout:
    """Begin a payout from its first event."""
    return Payout(
        client_orderid=event.client_orderid,
        flow=event.flow,
        amount=event.amount,
        currency=event.currency,
        fingerprint=event.fingerprint,
        receiver_hint=event.receiver_hint,
        deadlines=event.deadlines,
        held=event.held,
        opened_at=event.at,
        since=event.at,
    )


def differences(payout: Payout, request: PayoutRequest, key: bytes) -> tuple[str, ...]:
    """Name what a request would pay otherwise than the payout that has its id.

    Args:
        payout: The payout.
        request: What was handed in.
        key: The secret under which the journal fingerprints receivers.
    """
    same = {
        "amount": payout.amount == request.amount,
        "currency": payout.currency == request.currency,
        "receiver": payout.fingerprint == request.fingerprint(key),
    }
    return tuple(name for name, is_same in same.items() if not is_same)


def is_fresh(payout: Payout, at: float) -> bool:
    """Tell whether the validated answer is young enough to pay on; a clock set back ages it.

    What was asked before a person released the payout is no answer to that.
    """
    seen = payout.validated_at
    return seen is not None and payout.since <= seen and 0 <= at - seen <= FRESH_FOR


def deadline(payout: Payout) -> tuple[OpenReason, float] | None:
    """Say how long a caller should wait for this payout to move on, and what it is if it does not.

    A deadline ends the caller's wait and never the payout. None where nothing is waited for.
    """
    limits, since = payout.deadlines, payout.since
    match payout.state:
        case State.FINAL | State.REJECTED | State.WITHDRAWN | State.CLOSED:
            return None
        case State.NEW:
            return OpenReason.NOT_SENT, since + limits.sending
        case State.CHECKING | State.PAYING:
            # After limits.doubt the next readable answer parks the payout; this is for none at all.
            return OpenReason.UNCONFIRMED, since + 2 * limits.doubt
        case State.VALIDATED if payout.held:
            return OpenReason.AWAITING_APPROVAL, since
        case State.VALIDATING | State.VALIDATED:
            return OpenReason.STALLED, since + limits.validation
        case State.AWAITING_FINAL:
            return OpenReason.OVERDUE, since + limits.final
        case State.AWAITING_RECEIVER:
            return OpenReason.AWAITING_RECEIVER, since + limits.receiver
        case State.ATTENTION:
            return OpenReason.ATTENTION, since
        case _:
            assert_never(payout.state)


def not_taken(request: PayoutRequest, problem: BillblendError) -> Outcome:
    """Tell of a payout that was not taken in as it was asked for, and why."""
    return Outcome(
        client_orderid=request.client_orderid,
        amount=request.amount,
        currency=request.currency,
        state=State.NEW,
        explanation=str(problem),
        problem=problem,
    )


def outcome(payout: Payout, *, explanation: str | None = None) -> Outcome:
    """Tell what became of a payout, or where it stands and why it is not finished.

    Args:
        payout: The payout.
        explanation: Why the latest question brought no news, if it did not.
    """
    wait = deadline(payout)
    return Outcome(
        client_orderid=payout.client_orderid,
        amount=payout.amount,
        currency=payout.currency,
        state=payout.state,
        status=payout.status,
        paynet_order_id=payout.paynet_order_id,
        order_stage=payout.order_stage,
        error_code=payout.error_code,
        error_message=payout.error_message,
        redirect_to=payout.redirect_to,
        open_reason=None if wait is None else wait[0],
        doubt=payout.doubt,
        explanation=_explain(payout, explanation),
        approved_by=payout.approved_by,
        alarms=payout.alarms,
        acknowledged=payout.acknowledged,
    )


def _explain(payout: Payout, latest: str | None) -> str | None:
    """Say what a person should know: the doubt, what does not fit, why there is no end yet."""
    told: list[str] = []
    wait = deadline(payout)
    if payout.state is State.ATTENTION and payout.doubt is not None:
        told.append(payout.doubt.sentence)
    # An alarm that only repeats the doubt is no second reason.
    told += (
        explain(finding, payout)
        for finding in payout.findings
        if not finding.is_acknowledged and (not told or finding.alarm.value != payout.doubt)
    )
    if payout.needs_reconciliation:
        told.append(RECONCILE)
    if wait is not None and payout.doubt is None:
        told.append(latest or wait[0].sentence or "")
    last = payout.decisions[-1] if payout.decisions else None
    if wait is None and isinstance(last, Closed | Withdrawn | Acknowledged):
        how = decided(last)
        told.append(f"{how[0].upper()}{how[1:].rstrip('.')}.")
    return " ".join(filter(None, told)) or None
