"""The payout state machine: everything that decides what is sent, and when it never is.

Theory of operation
===================

A payout is a frozen value that is folded from its events. Three pure functions are the whole
business:

``next_command(payout, at)``
    says what to do now: check, pay, ask for the status, or stop.
``event_for(payout, command, answer, at)``
    says what the gateway's answer to that command means for this payout; None when it is no news.
``evolve(payout, event)``
    says what the payout is afterwards. It has an answer for every pair of state and event, and an
    event that brings nothing new returns the payout itself: that comparison decides what is
    journaled and whether a poll is repeated.

``TRANSITIONS`` lists which state may follow which on what event. An event that a state does not
list never moves it. The rules that guard money are four:

1. ``Check`` and ``Pay`` are said in New and Validated only. CheckStarted and PayStarted, which
   leave those states, are journaled before the first byte. So a request that may have left is
   never said again, except by the proof that it did not leave (…NotSent), by definite answers
   that no order exists (a check only), or by one journaled decision of a person (Released).
2. A lost answer is asked about. A lost check is adopted when id, amount and currency agree. A lost
   pay is cleared up by a status that only a payment can cause; "still validated" proves nothing.
   When the time for doubt is over, the payout goes to Attention, where nothing is sent. A refusal
   is no proof either, since another copy of the request may have taken effect before: a check is
   Rejected after one more answer of the gateway, a one-step payout after definite denials.
   An order of which another amount or currency is told before pay is never paid.
3. Only a status answer makes a payout Final. Approved before pay was started is no end: somebody
   else paid, and a person must look.
4. A terminal state never moves again. What contradicts it becomes an alarm, each different
   contradiction a finding of its own, up to ``discrepancies.MOST_ALIKE``. A person can acknowledge
   the findings that they have seen, and no others; that moves nothing either.

Instants are seconds since the epoch and always arguments: this file knows no clock.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, assert_never

import attrs

from .discrepancies import acknowledged, find, with_finding
from .events import (
    Acknowledged,
    Approved,
    CalledBack,
    Checked,
    CheckNotSent,
    CheckRefused,
    CheckStarted,
    Closed,
    Decision,
    Event,
    Finished,
    NeedsAttention,
    NotSeen,
    Opened,
    PayAccepted,
    PayNotSent,
    PayRefused,
    PayStarted,
    RedirectCleared,
    RedirectRequired,
    Rejected,
    Released,
    Restored,
    TurnedAway,
    Validated,
    Withdrawn,
)
from .models import Alarm, Doubt, Flow, Pace, State, is_safe_link
from .payout import Payout, is_fresh, open_payout
from .responses import (
    Accepted,
    NoAnswer,
    NotFound,
    NotSent,
    Refused,
    SendAnswer,
    Status,
    StatusAnswer,
    StatusReport,
    Unknown,
    is_later_transaction,
)

__all__ = [
    "TRANSITIONS",
    "Ask",
    "Check",
    "Command",
    "Pace",
    "Pay",
    "PayOut",
    "Payout",
    "Stop",
    "event_for",
    "evolve",
    "is_out_of_date",
    "next_command",
    "open_payout",
]

_N, _C, _V, _VD = State.NEW, State.CHECKING, State.VALIDATING, State.VALIDATED
_P, _F, _R, _A = State.PAYING, State.AWAITING_FINAL, State.AWAITING_RECEIVER, State.ATTENTION

_ROWS: Final[Mapping[State, Mapping[type[Event], set[State]]]] = {
    _N: {
        CheckStarted: {_C},
        PayStarted: {_P},
        Checked: {_V},
        PayAccepted: {_F},
        NotSeen: {_N},
        Finished: {State.FINAL, _A},
        NeedsAttention: {_A},
        Approved: {_N},
        CalledBack: {_N},
        Withdrawn: {State.WITHDRAWN},
        Restored: {_N},
    },
    _C: {
        CheckNotSent: {_N},
        CheckRefused: {_C},
        Checked: {_V},
        NotSeen: {_C, _N, _A},
        Rejected: {State.REJECTED},
        TurnedAway: {_N},
        Finished: {State.FINAL, _A},
        NeedsAttention: {_A},
        Approved: {_C},
        CalledBack: {_C},
        Withdrawn: {State.WITHDRAWN},
        Restored: {_C},
    },
    _V: {
        Validated: {_VD, _A},
        Finished: {State.FINAL, _A},
        NeedsAttention: {_A},
        Approved: {_V},
        CalledBack: {_V},
        Withdrawn: {State.WITHDRAWN},
        Restored: {_V},
    },
    _VD: {
        Validated: {_VD},
        PayStarted: {_P},
        PayAccepted: {_F},
        RedirectRequired: {_R},
        Finished: {State.FINAL, _A},
        NeedsAttention: {_A},
        Approved: {_VD},
        CalledBack: {_VD},
        Withdrawn: {State.WITHDRAWN},
        Restored: {_A},
    },
    _P: {
        PayNotSent: {_VD, _N},
        PayAccepted: {_F},
        PayRefused: {_A, _P},
        NotSeen: {_P, State.REJECTED, _A},
        Rejected: {State.REJECTED, _A},
        TurnedAway: {_N},
        RedirectRequired: {_R},
        Finished: {State.FINAL},
        CalledBack: {_P},
        NeedsAttention: {_A},
    },
    _F: {
        RedirectRequired: {_R},
        Finished: {State.FINAL},
        CalledBack: {_F},
        NeedsAttention: {_A},
    },
    _R: {
        RedirectRequired: {_R},
        RedirectCleared: {_F},
        Finished: {State.FINAL},
        CalledBack: {_R},
        NeedsAttention: {_A},
    },
    _A: {
        Checked: {_V},
        PayAccepted: {_F},
        RedirectRequired: {_R},
        Finished: {State.FINAL, _A},
        CalledBack: {_A},
        Released: {_N, _VD, _F},
        Closed: {State.CLOSED},
        Restored: {_A},
    },
    State.FINAL: {Acknowledged: {State.FINAL}},
    State.REJECTED: {Acknowledged: {State.REJECTED}},
    State.WITHDRAWN: {Acknowledged: {State.WITHDRAWN}},
    State.CLOSED: {Acknowledged: {State.CLOSED}},
}

TRANSITIONS: Final[Mapping[State, Mapping[type[Event], frozenset[State]]]] = MappingProxyType(
    {
        state: MappingProxyType({event: frozenset(states) for event, states in row.items()})
        for state, row in _ROWS.items()
    }
)
"""For every state, the events that may move or change it, and the states that may follow."""


@attrs.frozen
class Check:
    """Send payout-check.

    Attributes:
        attempt: The round that it belongs to.
    """

    attempt: int


@attrs.frozen
class Pay:
    """Send payout-pay.

    Attributes:
        paynet_order_id: The one order that may ever be paid.
        attempt: The round that it belongs to.
    """

    paynet_order_id: str
    attempt: int


@attrs.frozen
class PayOut:
    """Send the one-step payout.

    Attributes:
        attempt: The round that it belongs to.
    """

    attempt: int


@attrs.frozen
class Ask:
    """Ask for the status.

    Attributes:
        paynet_order_id: The order, or None to ask by client_orderid alone.
        pace: How urgently.
        since: When the payout came into the state in which it is asked about; an answer that comes
            after it has left that state is about an earlier request.
    """

    paynet_order_id: str | None
    pace: Pace = Pace.NORMAL
    since: float | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Stop:
    """Do nothing, ever again."""


Command = Check | Pay | PayOut | Ask | Stop


def next_command(payout: Payout, at: float) -> Command:
    """Say what to do for a payout now."""
    match payout.state:
        case State.NEW:
            if payout.restored:
                return Ask(None, since=payout.since)
            send = Check if payout.flow is Flow.CHECK_PAY else PayOut
            return send(payout.attempt)
        case State.VALIDATED:
            order = payout.paynet_order_id
            if order is None or payout.held or payout.restored or not is_fresh(payout, at):
                return Ask(order, Pace.PERSON if payout.held else Pace.NORMAL, payout.since)
            return Pay(order, payout.attempt)
        case State.CHECKING | State.VALIDATING | State.PAYING | State.AWAITING_FINAL:
            return Ask(payout.paynet_order_id, since=payout.since)
        case State.AWAITING_RECEIVER:
            return Ask(payout.paynet_order_id, Pace.RECEIVER, payout.since)
        case State.ATTENTION:
            return Ask(payout.paynet_order_id, Pace.PERSON, payout.since)
        case State.FINAL | State.REJECTED | State.WITHDRAWN | State.CLOSED:
            return Stop()
        case _:
            assert_never(payout.state)


NOT_SEEN_FOR: Final = 30.0
"""Seconds over which the gateway must keep saying that it knows no order."""
NOT_SEEN_TIMES: Final = 5
"""How often it must say so before a lost check may be sent again."""
MOST_CHECKS: Final = 3
"""Checks that may vanish without an order before a person must look."""
RELEASE_AFTER: Final = 60.0
"""Seconds that a doubt must be old before a person can release it."""

_N, _C, _V, _VD = State.NEW, State.CHECKING, State.VALIDATING, State.VALIDATED
_P, _F, _R, _A = State.PAYING, State.AWAITING_FINAL, State.AWAITING_RECEIVER, State.ATTENTION


def evolve(payout: Payout, event: Event) -> Payout:
    """Say what a payout is after an event; the payout itself when the event brings nothing new."""
    listed = type(event) in TRANSITIONS[payout.state]
    becomes = _apply(payout, event) if listed else _notice(payout, event)
    if becomes == payout:
        return payout
    return attrs.evolve(becomes, sequence=payout.sequence + 1)


def _enter(payout: Payout, state: State, at: float, **changes: Any) -> Payout:  # noqa: ANN401 - fields of a payout, each of its own type
    since = payout.since if state is payout.state else at
    return attrs.evolve(payout, state=state, since=since, **changes)


def _alarm(payout: Payout, alarm: Alarm, event: Checked | PayAccepted | Finished) -> Payout:
    """Take note of what does not fit, and of what was told of it."""
    findings = with_finding(payout.findings, find(alarm, event, payout.sequence + 1))
    if findings is payout.findings:
        return payout
    alarms = payout.alarms if alarm in payout.alarms else (*payout.alarms, alarm)
    return attrs.evolve(payout, alarms=alarms, findings=findings)


def _notice(payout: Payout, event: Event) -> Payout:
    """Look at an event that cannot move this state: what contradicts it becomes an alarm."""
    match event:
        case Finished() if payout.paynet_order_id not in (None, event.paynet_order_id):
            return _alarm(payout, Alarm.SECOND_ORDER, event)
        case Finished() if is_later_transaction(event.transaction_type, event.order_stage):
            return _alarm(payout, Alarm.LATER_TRANSACTION, event)
        case Finished(status=status) if payout.state is State.FINAL and status != payout.status:
            return _alarm(payout, Alarm.STATUS_CONTRADICTS, event)
        case Finished(status=Status.APPROVED) if payout.state is State.FINAL:
            fits = _is_asked_amount(payout, event)
            return payout if fits else _alarm(payout, Alarm.AMOUNT_DIFFERS, event)
        case Finished(status=Status.APPROVED):
            return _alarm(payout, Alarm.STATUS_CONTRADICTS, event)
        case PayAccepted() if payout.state is State.CLOSED:
            return _alarm(payout, Alarm.ACCEPTED_LATE, event)
        case Checked(paynet_order_id=order) | PayAccepted(paynet_order_id=order):
            second = payout.paynet_order_id is not None and order != payout.paynet_order_id
            return _alarm(payout, Alarm.SECOND_ORDER, event) if second else payout
        case _:
            return payout


def _apply(payout: Payout, event: Event) -> Payout:
    """Fold an event that this state lists."""
    match event:
        case CheckStarted() | PayStarted():
            return _start(payout, event)
        case CheckNotSent():
            return _enter(payout, _N, event.at)
        case PayNotSent():
            back = _N if payout.flow is Flow.ONE_STEP else _VD
            return _enter(payout, back, event.at, pays=payout.pays - 1, validated_at=None)
        case Checked() | PayAccepted():
            return _found(payout, event)
        case NotSeen():
            return _not_seen(payout, event)
        case CheckRefused() | Rejected() | PayRefused() | TurnedAway():
            return _refused(payout, event)
        case Validated():
            if payout.restored and payout.state is not _VD:
                return _enter(payout, _A, event.at, doubt=Doubt.RESTORED)
            # One that a person has released is no longer out of date by this answer.
            return _enter(payout, _VD, event.at, validated_at=event.at, restored=False)
        case RedirectRequired(redirect_to=link):
            parked = payout.state is _A and payout.doubt not in _DOUBTS_OF_PAY
            if parked or not _may_be_paying(payout):
                return payout
            return _enter(payout, _R, event.at, redirect_to=link, doubt=None)
        case RedirectCleared():
            return _enter(payout, _F, event.at, redirect_to=None)
        case Finished():
            return _finish(payout, event)
        case CalledBack(status=status):
            heard = status in payout.hints
            return payout if heard else attrs.evolve(payout, hints=(*payout.hints, status))
        case NeedsAttention():
            return _park(payout, event)
        case Approved() | Released() | Closed() | Withdrawn() | Acknowledged():
            return _decide(payout, event)
        case Restored():
            if payout.state is _VD:
                return _enter(payout, _A, event.at, doubt=Doubt.RESTORED, restored=True)
            # What the gateway said before the copy was made says nothing of what came after it.
            return attrs.evolve(payout, restored=True, not_seen=0, not_seen_at=None)
        case Opened():
            return payout
        case _:
            assert_never(event)


_DOUBTS_OF_PAY: Final = (Doubt.PAY_UNCONFIRMED, Doubt.PAY_REFUSED, Doubt.BAD_REDIRECT)
_DOUBTS_FOR_GOOD: Final = (Doubt.APPROVED_BEFORE_PAY, Doubt.OTHER_TRANSACTION)
"""After these nothing that could be sent would be right."""
_DOUBTS_OF_CHECK: Final = (Doubt.CHECK_UNCONFIRMED, Doubt.CHECKS_SPENT)
_DOUBTED_IN: Final = {
    Doubt.CHECK_UNCONFIRMED: (_C,),
    Doubt.CHECKS_SPENT: (_C,),
    Doubt.PAY_UNCONFIRMED: (_P,),
    Doubt.PAY_REFUSED: (_P,),
    Doubt.FOREIGN_ORDER: (_N, _C, _P),
    Doubt.AMOUNT_DIFFERS: (_V, _VD),
    Doubt.BAD_REDIRECT: (_VD, _P, _F, _R),
    Doubt.OTHER_TRANSACTION: (_V, _VD, _P, _F, _R),
    Doubt.RESTORED: (_N,),
}


_SETTLED: Final = {"refused": False, "settings_refused": False}


def _start(payout: Payout, event: CheckStarted | PayStarted) -> Payout:
    one_step = payout.flow is Flow.ONE_STEP
    # Earlier releases sent after a release, or a refused setting, without asking first: what they
    # wrote can still be read. ``next_command`` decides what is sent, and it asks.
    if payout.restored and not one_step and payout.attempt == 1:
        return payout
    again = {"restored": False, **_SETTLED}
    if isinstance(event, CheckStarted):
        if one_step:
            return payout
        return _enter(payout, _C, event.at, not_seen=0, not_seen_at=None, **again)
    if payout.state is not (_N if one_step else _VD) or payout.held:
        return payout
    return _enter(payout, _P, event.at, pays=payout.pays + 1, **again)


def _found(payout: Payout, event: Checked | PayAccepted) -> Payout:
    order, known = event.paynet_order_id, payout.paynet_order_id
    if known is not None and known != order:
        return _alarm(payout, Alarm.SECOND_ORDER, event)
    match event:
        case Checked():
            one_step = payout.flow is Flow.ONE_STEP
            parked = payout.state is _A and payout.doubt not in _DOUBTS_OF_CHECK
            unasked = payout.state is _N and not payout.restored
            if one_step or parked or unasked or known is not None:
                return payout
            return _enter(
                payout, _V, event.at, paynet_order_id=order, doubt=None, **_unrefused(payout)
            )
        case PayAccepted():
            parked = payout.state is _A and payout.doubt not in _DOUBTS_OF_PAY
            unnamed = payout.flow is Flow.CHECK_PAY and known is None
            if parked or unnamed or not _may_be_paying(payout):
                return payout
            # A one-step payout that is found after a restore was paid by a claim that is lost.
            told = {"paynet_order_id": order, "pays": max(payout.pays, 1)}
            told |= {"doubt": None, "restored": False}
            return _enter(payout, _F, event.at, **told, **_unrefused(payout))
        case _:
            assert_never(event)


def _unrefused(payout: Payout) -> dict[str, Any]:
    """Forget a refusal, and its error, once an order is found all the same."""
    if not payout.refused:
        return {}
    return {**_SETTLED, "error_code": None, "error_message": None}


def _may_be_paying(payout: Payout) -> bool:
    """Tell whether a pay request may have left that a state before pay must still hear of.

    That is so after a person released a lost one, and for a one-step payout of a restored journal.
    """
    match payout.state:
        case State.VALIDATED:
            return payout.pays > 0
        case State.NEW:
            return payout.flow is Flow.ONE_STEP and (payout.pays > 0 or payout.restored)
        case _:
            return True


def _not_seen(payout: Payout, event: NotSeen) -> Payout:
    unasked = payout.state is _N and not payout.restored
    if unasked or (payout.state is _P and not payout.refused):
        return payout
    since, times = payout.not_seen_at, payout.not_seen + 1
    if since is None or event.at < since:
        since, times = event.at, 1  # at first, and when the clock was set back
    if times < NOT_SEEN_TIMES or event.at - since < NOT_SEEN_FOR:
        return attrs.evolve(payout, not_seen=times, not_seen_at=since)
    cleared = attrs.evolve(payout, not_seen=0, not_seen_at=None, restored=False)
    if payout.state is _N:
        return cleared
    if payout.state is _P:
        # It may be another send that a person released which paid; a setting can be mended.
        if payout.settings_refused or payout.pays > 1:
            return _enter(cleared, _A, event.at, doubt=Doubt.PAY_REFUSED, **_SETTLED)
        return _enter(cleared, State.REJECTED, event.at, **_SETTLED)
    if payout.attempt >= MOST_CHECKS:
        return _enter(cleared, _A, event.at, doubt=Doubt.CHECKS_SPENT)
    return _enter(cleared, _N, event.at, attempt=payout.attempt + 1)


def _park(payout: Payout, event: NeedsAttention) -> Payout:
    waits = payout.state is _N and not payout.restored
    unpaid = event.doubt is Doubt.BAD_REDIRECT and not payout.pays
    unrefused = event.doubt is Doubt.PAY_REFUSED and not payout.refused
    listed = payout.state in _DOUBTED_IN.get(event.doubt, ())
    if not listed or waits or unpaid or unrefused:
        return payout
    told = {"told_amount": event.amount, "told_currency": event.currency}
    return _enter(payout, _A, event.at, doubt=event.doubt, redirect_to=None, **_SETTLED, **told)


def _enter_refused(payout: Payout, event: CheckRefused | PayRefused) -> Payout:
    """Begin to ask whether an order was made although the gateway refused to make one."""
    return attrs.evolve(
        payout,
        since=event.at,
        refused=True,
        settings_refused=isinstance(event, PayRefused) and event.about_settings,
        not_seen=0,
        not_seen_at=None,
        error_code=event.error_code,
        error_message=event.error_message,
    )


def _refused(payout: Payout, event: CheckRefused | Rejected | PayRefused | TurnedAway) -> Payout:
    told = {"error_code": event.error_code, "error_message": event.error_message, **_SETTLED}
    one_step = payout.flow is Flow.ONE_STEP
    if isinstance(event, CheckRefused) or (one_step and isinstance(event, PayRefused)):
        return payout if payout.refused else _enter_refused(payout, event)
    if isinstance(event, PayRefused):
        return _enter(payout, _A, event.at, doubt=Doubt.PAY_REFUSED, **told)
    if payout.state is _C:
        if isinstance(event, TurnedAway):
            return _enter(payout, _N, event.at)
        return _enter(payout, State.REJECTED, event.at, **told)
    if not one_step:
        return payout
    # Only earlier releases wrote these two of a one-step payout, and believed the refusal.
    if isinstance(event, TurnedAway):
        return _enter(payout, _N, event.at, pays=payout.pays - 1, restored=True, **_SETTLED)
    if payout.pays > 1:
        return _enter(payout, _A, event.at, doubt=Doubt.PAY_REFUSED, **told)
    return _enter(payout, State.REJECTED, event.at, **told)


def _finish(payout: Payout, event: Finished) -> Payout:
    known = payout.paynet_order_id
    if known is not None and known != event.paynet_order_id:
        return _alarm(payout, Alarm.SECOND_ORDER, event)
    unasked = payout.state is _N and not payout.restored and not _may_be_paying(payout)
    if payout.doubt is Doubt.FOREIGN_ORDER or unasked:
        return payout
    if is_later_transaction(event.transaction_type, event.order_stage):
        return payout  # how that ended says nothing of the payout
    told = attrs.evolve(payout, paynet_order_id=event.paynet_order_id)
    if event.status == Status.APPROVED and payout.pays == 0:
        told = _alarm(told, Alarm.APPROVED_BEFORE_PAY, event)
        return _enter(told, _A, event.at, doubt=Doubt.APPROVED_BEFORE_PAY)
    if event.status == Status.APPROVED and not _is_asked_amount(payout, event):
        told = _alarm(told, Alarm.AMOUNT_DIFFERS, event)
    return _enter(
        told,
        State.FINAL,
        event.at,
        status=event.status,
        status_number=payout.sequence + 1,
        order_stage=event.order_stage,
        error_code=event.error_code,
        error_message=event.error_message,
        redirect_to=None,
        doubt=None,
        **_SETTLED,
    )


def _is_asked_amount(payout: Payout, event: Finished) -> bool:
    amount_fits = event.amount is None or event.amount == payout.amount
    return amount_fits and (event.currency or payout.currency).upper() == payout.currency


def _decide(payout: Payout, event: Decision) -> Payout:
    """Fold what a person decided, and remember that they did if it is taken."""
    becomes = _decided(payout, event)
    if becomes == payout:
        return payout
    return attrs.evolve(becomes, decisions=(*payout.decisions, event))


def _decided(payout: Payout, event: Decision) -> Payout:
    match event:
        case Approved(who=who):
            return attrs.evolve(payout, held=False, approved_by=who) if payout.held else payout
        case Closed():
            # Who ends a doubt has looked at the alarm that only repeats it.
            seen = acknowledged(payout.findings, payout.repeating)
            return _enter(payout, State.CLOSED, event.at, findings=seen)
        case Withdrawn():
            return payout if payout.pays > 0 else _enter(payout, State.WITHDRAWN, event.at)
        case Released():
            return _release(payout, event)
        case Acknowledged(findings=numbers, error=error):
            is_seen = payout.is_reconciled or (error and payout.needs_reconciliation)
            seen = acknowledged(payout.findings, numbers)
            return attrs.evolve(payout, findings=seen, is_reconciled=is_seen)
        case _:
            assert_never(event)


def _release(payout: Payout, event: Released) -> Payout:
    if event.at - payout.since < RELEASE_AFTER or payout.doubt in _DOUBTS_FOR_GOOD:
        return payout
    again: dict[str, Any] = {"doubt": None, "validated_at": None, "not_seen": 0}
    again |= {"not_seen_at": None, "told_amount": None, "told_currency": None}
    if payout.doubt is Doubt.BAD_REDIRECT:
        return _enter(payout, _F, event.at, restored=False, **again)
    again["attempt"] = payout.attempt + 1
    if payout.paynet_order_id is None:
        # An order that was made by a send which the journal has forgotten, or that may have paid
        # at once, is looked for before anything is sent again.
        restored = payout.restored or payout.pays > 0
        return _enter(payout, _N, event.at, restored=restored, **again)
    # The order is known, and it is asked about before it is paid.
    if payout.flow is Flow.ONE_STEP:
        return _enter(payout, _F, event.at, restored=False, **again)
    return _enter(payout, _VD, event.at, **again)


def is_out_of_date(decision: Decision, payout: Payout, told: StatusAnswer | None) -> bool:
    """Tell whether a decision rests on what may be out of date, as in a restored journal.

    What ends a payout without another question needs an answer of the gateway before: to withdraw
    it, that there is no such order (then it is not marked as restored any more); to close one that
    a person looks at anyway, any answer.

    Args:
        decision: What a person has decided.
        payout: The payout.
        told: What the gateway has answered about it just now; None when it was not asked.
    """
    if not payout.restored or payout.state.is_terminal:
        return False
    match decision:
        case Withdrawn():
            return True
        case Closed():
            return told is None
        case _:
            return False  # what it may make leave is asked about before


_VALIDATED_STAGE: Final = "payout_check_validated"


def event_for(
    payout: Payout, command: Command, answer: SendAnswer | StatusAnswer, at: float
) -> Event | None:
    """Say what an answer to a command means for a payout; None when it is no news."""
    match answer:
        case Accepted(paynet_order_id=order):
            if isinstance(command, Check):
                return Checked(at=at, paynet_order_id=order)
            return PayAccepted(at=at, paynet_order_id=order)
        case Refused(error_code=code, error_message=text):
            if not isinstance(command, Check | Pay | PayOut) or command.attempt != payout.attempt:
                return None  # said of an earlier round, after which a person has decided
            if isinstance(command, Pay | PayOut):
                about = isinstance(command, PayOut) and answer.is_about_settings
                return PayRefused(at=at, error_code=code, error_message=text, about_settings=about)
            # No money moves by a check, so one that is refused for a setting is just sent again.
            refusal = TurnedAway if answer.is_about_settings else CheckRefused
            return refusal(at=at, error_code=code, error_message=text)
        case NotSent() | Unknown():
            # What is not sent has changed nothing. If it is claimed all the same, since whoever
            # carries it gave it up meanwhile, it is asked about like any other claim.
            return None
        case StatusReport():
            return _event_for_report(payout, answer, at) or _end_of_doubt(payout, at)
        case NotFound() | NoAnswer():
            return _event_for_no_order(payout, command, answer, at)
        case _:
            assert_never(answer)


def _event_for_no_order(
    payout: Payout, command: Command, answer: NotFound | NoAnswer, at: float
) -> Event | None:
    """Say what it means that an answer names no order."""
    # Asked before the latest send left, or was answered, it proves nothing about that send.
    is_stale = isinstance(command, Ask) and command.since not in (None, payout.since)
    denies = isinstance(answer, NotFound)
    if isinstance(answer, NoAnswer):
        if not answer.readable:
            return None
        if payout.refused and not answer.is_about_settings and answer.error_code is not None:
            # An error without an order says why none was made (document 3.16). For a check any is
            # enough; for what may have paid it must be the refusal's own.
            is_check = payout.state is State.CHECKING
            denies = is_check or answer.error_code == payout.error_code
    if not denies or is_stale:
        return _end_of_doubt(payout, at)
    if payout.refused and payout.state is State.CHECKING:
        code, text = payout.error_code, payout.error_message
        return Rejected(at=at, error_code=code, error_message=text)
    if payout.refused or payout.state in (State.NEW, State.CHECKING):
        return NotSeen(at=at)
    return _end_of_doubt(payout, at)


def _event_for_report(payout: Payout, report: StatusReport, at: float) -> Event | None:
    order = payout.paynet_order_id
    if order is None:
        match _adoptable(payout, report):
            case None:
                return None
            case False:
                return NeedsAttention(at=at, doubt=Doubt.FOREIGN_ORDER)
        order = report.paynet_order_id
        assert order is not None  # noqa: S101 - _adoptable saw it; this tells the type checker
    elif report.paynet_order_id not in (None, order):
        return None
    is_later = is_later_transaction(report.transaction_type, report.order_stage)
    if is_later and not payout.state.is_terminal:
        if payout.paynet_order_id is None:
            return _order_found(payout, order, at)
        return NeedsAttention(at=at, doubt=Doubt.OTHER_TRANSACTION)
    if report.status.is_final:
        return Finished(
            at=at,
            status=report.status,
            paynet_order_id=order,
            order_stage=report.order_stage,
            amount=report.amount,
            currency=report.currency,
            error_code=report.error_code,
            error_message=report.error_message,
            transaction_type=report.transaction_type,
        )
    if payout.paynet_order_id is None:
        return _order_found(payout, order, at)
    if not payout.pays and payout.state in (State.VALIDATING, State.VALIDATED):
        amount, currency = report.asked_amount, report.currency
        if report.has_unreadable_amount or not _is_asked(payout, amount, currency):
            return NeedsAttention(
                at=at, doubt=Doubt.AMOUNT_DIFFERS, amount=amount, currency=currency
            )
    if report.redirect_to and payout.pays:
        if not is_safe_link(report.redirect_to):
            return NeedsAttention(at=at, doubt=Doubt.BAD_REDIRECT)
        return RedirectRequired(at=at, redirect_to=report.redirect_to)
    if payout.state is State.AWAITING_RECEIVER:
        return RedirectCleared(at=at)
    if report.stage != _VALIDATED_STAGE:
        return None
    # A payout that waits for approval is asked about for long: only the last look counts.
    looks_again = payout.state is State.VALIDATED and not payout.held and not is_fresh(payout, at)
    return Validated(at=at) if payout.state is State.VALIDATING or looks_again else None


def _order_found(payout: Payout, order: str, at: float) -> Event:
    found = Checked if payout.flow is Flow.CHECK_PAY else PayAccepted
    return found(at=at, paynet_order_id=order)


def _adoptable(payout: Payout, report: StatusReport) -> bool | None:
    """Tell whether an order found by client_orderid alone is ours; None when it does not say."""
    amount, currency = report.asked_amount, report.currency
    if report.paynet_order_id is None or amount is None or currency is None:
        return None
    if report.merchant_order_id != payout.client_orderid:
        return None
    return _is_asked(payout, amount, currency)


def _is_asked(payout: Payout, amount: Decimal | None, currency: str | None) -> bool:
    """Tell whether nothing that is told of an order differs from what was asked for."""
    same_amount = amount is None or amount == payout.amount
    return same_amount and (currency or payout.currency).upper() == payout.currency


def _end_of_doubt(payout: Payout, at: float) -> Event | None:
    """Park a payout whose doubt has lasted too long; said only when the gateway itself answered."""
    if at < payout.since + payout.deadlines.doubt:
        return None
    if payout.state is State.CHECKING:
        return NeedsAttention(at=at, doubt=Doubt.CHECK_UNCONFIRMED)
    if payout.state is State.PAYING:
        doubt = Doubt.PAY_REFUSED if payout.refused else Doubt.PAY_UNCONFIRMED
        return NeedsAttention(at=at, doubt=doubt)
    if payout.state is State.NEW and payout.restored:
        return NeedsAttention(at=at, doubt=Doubt.RESTORED)
    return None
