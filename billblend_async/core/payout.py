"""A payout as its events have left it, how long its waits may take, and its fields in log records.

Every record of the logger ``billblend_async`` and of those below it has a message that can be read
alone, and those of these fields that apply to it, as attributes of the record (``extra``). They
hold ids and words of ours and the gateway's: never an account number, a name, a key, a control, a
redirect link or a body, and no amount.

=============================  ================================================================
``billblend_client_orderid``   your id of the payout
``billblend_paynet_order_id``  the gateway's id of its order
``billblend_flow``             ``check-pay`` or ``one-step``
``billblend_state``            the state that the payout is in, such as ``awaiting-final``
``billblend_sequence``         how many events after the first have changed it
``billblend_event``            the event that has just changed it, such as ``PayStarted``
``billblend_status``           the gateway's final status
``billblend_doubt``            why a person must look, such as ``pay-unconfirmed``
``billblend_alarm``            what does not fit, such as ``amount-differs``
``billblend_reason``           why something failed, in a few words or as the class of an error
``billblend_seconds``          for how long something rests
=============================  ================================================================

Levels: DEBUG for each change, INFO for a payout that has ended and for a claim that another owner
got first, WARNING for what a person should know (Attention, alarms, the status ``error``, a stop of
sending, a callback that was refused), ERROR for what failed in the host's own code or settings. The
sandbox plays the gateway: its records carry none of these fields.
"""

from collections.abc import Collection
from decimal import Decimal
from typing import Final, assert_never

import attrs

from ..errors import BillblendError
from .descriptions import decided, money
from .discrepancies import ENDED_IN_ERROR, RECONCILE, Finding, describe, explain
from .events import Acknowledged, Closed, Decision, Event, Opened, Withdrawn
from .models import Alarm, Deadlines, Doubt, Flow, OpenReason, Outcome, State
from .request import PayoutRequest
from .responses import Status

__all__ = [
    "FIELDS",
    "FRESH_FOR",
    "RESTORED_TOO",
    "Payout",
    "acknowledgement",
    "deadline",
    "differences",
    "fields",
    "fields_of",
    "is_fresh",
    "not_taken",
    "open_payout",
    "outcome",
]

RESTORED_TOO: Final = (
    "The journal was restored from a copy after that, so the payout may have been decided and paid "
    "since."
)
"""What a doubt of a restored payout says besides its own sentence."""
_REFUSED: Final = "The gateway refused it, and is asked whether an order was made all the same."
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
        restored: Whether what the journal says of it may be out of date (it was restored from a
            copy, or an earlier send may have paid), and the gateway has not been asked since.
        attempt: Which round of sending this is; a vanished check or a release begins the next.
        pays: How many pay requests may have left this machine.
        paynet_order_id: The gateway's order id, once known.
        validated_at: When the bank's validation was last seen.
        not_seen_at: When the gateway first said that it knows no such order.
        not_seen: How often it has said so.
        refused: Whether the latest send was answered with a refusal, and the gateway was not yet
            asked whether an order was made all the same.
        settings_refused: Whether that refusal was about a setting and not about the payout.
        doubt: Why a person must look.
        told_amount: The amount that the gateway tells, where that is the doubt.
        told_currency: The currency that the gateway tells, where that is the doubt.
        status: The final status.
        status_number: Which of its events told the final status.
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
    refused: bool = False
    settings_refused: bool = False
    doubt: Doubt | None = None
    told_amount: Decimal | None = None
    told_currency: str | None = None
    status: Status | None = None
    status_number: int | None = None
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
        return tuple(dict.fromkeys(each.alarm for each in self.open_findings))

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """What does not fit and no person has acknowledged."""
        return tuple(each for each in self.findings if not each.is_acknowledged)

    @property
    def told_findings(self) -> tuple[Finding, ...]:
        """The same without what only repeats the doubt for which a person must look."""
        is_parked = self.state is State.ATTENTION
        repeating = self.repeating if is_parked else ()
        return tuple(each for each in self.open_findings if each.number not in repeating)

    @property
    def repeating(self) -> tuple[int, ...]:
        """The number of the finding that was told together with the doubt, if there is one."""
        same = (each.number for each in self.findings if each.alarm.value == self.doubt)
        return tuple(same)[:1]

    @property
    def needs_reconciliation(self) -> bool:
        """Whether to ask the gateway what really happened: its status ``error`` does not say."""
        is_error = self.state is State.FINAL and self.status == Status.ERROR
        return is_error and not self.is_reconciled

    @property
    def doubt_sentence(self) -> str | None:
        """Why a person must look, with the numbers of this payout; None while none must."""
        if self.state is not State.ATTENTION or self.doubt is None:
            return None
        sentences = [self.doubt.sentence]
        if self.doubt is Doubt.AMOUNT_DIFFERS:
            told = money(self.told_amount, self.told_currency or self.currency)
            if self.told_amount is None and told.upper() == self.currency:
                told = "an amount that cannot be read"
            asked = money(self.amount, self.currency)
            sentences.append(f"The gateway tells {told}; {asked} was asked for.")
        if self.restored and self.doubt is not Doubt.RESTORED:
            sentences.append(RESTORED_TOO)
        return " ".join(sentences)

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


def acknowledgement(
    payout: Payout,
    *,
    at: float,
    who: str,
    why: str,
    alarms: Collection[str] | None = None,
    as_of: int | None = None,
) -> Acknowledged:
    """Say that a person has seen what does not fit about a payout, or some of it.

    Args:
        payout: The payout.
        at: When.
        who: The person.
        why: What they found out.
        alarms: Only these alarms, and the status ``error`` only if it is among them.
        as_of: Only what was told by then: the payout's sequence when they looked.
    """

    def is_seen(number: int | None, word: str) -> bool:
        is_shown = as_of is None or (number is not None and number <= as_of)
        return is_shown and (alarms is None or word in alarms)

    seen = (each.number for each in payout.open_findings if is_seen(each.number, each.alarm.value))
    error = payout.needs_reconciliation and is_seen(payout.status_number, Status.ERROR)
    return Acknowledged(at=at, who=who, why=why, findings=tuple(seen), error=error)


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
        restored=payout.restored and not payout.state.is_terminal,
        explanation=_explain(payout, explanation),
        approved_by=payout.approved_by,
        alarms=payout.alarms,
        acknowledged=payout.acknowledged,
        details=_details(payout),
        sequence=payout.sequence,
    )


def _details(payout: Payout) -> tuple[tuple[str, str], ...]:
    odd = ((each.alarm.value, describe(each, payout)) for each in payout.told_findings)
    error = (str(Status.ERROR), ENDED_IN_ERROR)
    return (*odd, error) if payout.needs_reconciliation else tuple(odd)


def _explain(payout: Payout, latest: str | None) -> str | None:
    """Say what a person should know: the doubt, what does not fit, why there is no end yet."""
    told: list[str] = []
    wait = deadline(payout)
    if payout.doubt_sentence is not None:
        told.append(payout.doubt_sentence)
    elif payout.refused:
        told.append(_REFUSED)
    told += explain(payout.told_findings, payout)
    if payout.needs_reconciliation:
        told.append(RECONCILE)
    if wait is not None and payout.doubt is None:
        told.append(latest or wait[0].sentence or "")
    last = payout.decisions[-1] if payout.decisions else None
    if wait is None and isinstance(last, Closed | Withdrawn | Acknowledged):
        how = decided(last)
        told.append(f"{how[0].upper()}{how[1:].rstrip('.')}.")
    return " ".join(filter(None, told)) or None


FIELDS: Final = frozenset(
    f"billblend_{name}"
    for name in (
        "alarm",
        "client_orderid",
        "doubt",
        "event",
        "flow",
        "paynet_order_id",
        "reason",
        "seconds",
        "sequence",
        "state",
        "status",
    )
)
"""The names of all fields."""


def fields(
    client_orderid: str | None = None,
    *,
    reason: str | None = None,
    seconds: float | None = None,
) -> dict[str, object]:
    """Give the fields of a record that says why something failed or rests."""
    return _given(client_orderid=client_orderid, reason=reason, seconds=seconds)


def fields_of(
    payout: Payout, event: Event | None = None, *, reason: str | None = None
) -> dict[str, object]:
    """Give the fields of a record about a payout as it stands."""
    return _given(
        client_orderid=payout.client_orderid,
        paynet_order_id=payout.paynet_order_id,
        flow=payout.flow.value,
        state=payout.state.value,
        sequence=payout.sequence,
        event=None if event is None else type(event).__name__,
        status=None if payout.status is None else str(payout.status),
        doubt=None if payout.doubt is None else payout.doubt.value,
        alarm=payout.findings[-1].alarm.value if payout.findings else None,
        reason=reason,
    )


def _given(**values: object) -> dict[str, object]:
    return {f"billblend_{name}": value for name, value in values.items() if value is not None}
