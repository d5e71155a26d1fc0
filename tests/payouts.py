"""Payouts in every state, built from events as a journal would."""

from decimal import Decimal
from typing import Any

from billblend_async.core.events import (
    Acknowledged,
    Checked,
    CheckStarted,
    Closed,
    Event,
    Finished,
    NeedsAttention,
    Opened,
    PayAccepted,
    PayRefused,
    PayStarted,
    RedirectRequired,
    Rejected,
    Restored,
    Validated,
    Withdrawn,
)
from billblend_async.core.machine import Payout, evolve, open_payout
from billblend_async.core.models import Alarm, Doubt, Flow, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import Status

START = 1_800_000_000.0
ORDER = "6982864"
LINK = "https://sandbox.billblend.com/form/1"


def request(client_orderid: str = "po-1", **fields: Any) -> PayoutRequest:
    """Make a payout request; fields replace the usual ones."""
    usual = {
        "amount": Decimal("10.42"),
        "currency": "USD",
        "account_number": "1234567890",
    }
    return PayoutRequest(client_orderid=client_orderid, **{**usual, **fields})


def opened(client_orderid: str = "po-1", **fields: Any) -> Opened:
    """Make the first event of a payout."""
    usual = {
        "at": START,
        "flow": Flow.CHECK_PAY,
        "amount": Decimal("10.42"),
        "currency": "USD",
        "fingerprint": "f" * 64,
        "receiver_hint": "7890",
    }
    return Opened(client_orderid=client_orderid, **{**usual, **fields})


def finished(status: str = "approved", at: float = START + 30, **fields: Any) -> Finished:
    """Make a final status."""
    usual = {"paynet_order_id": ORDER, "amount": Decimal("10.42"), "currency": "USD"}
    return Finished(at=at, status=Status(status), **{**usual, **fields})


def seen(at: float = START + 1000, **fields: Any) -> Acknowledged:
    """Acknowledge all that may have been told; fields say what less was seen."""
    usual = {"who": "ann", "why": "asked", "findings": tuple(range(1000)), "error": True}
    return Acknowledged(at=at, **{**usual, **fields})


_CHECKED = (CheckStarted(at=START + 1), Checked(at=START + 2, paynet_order_id=ORDER))
_VALIDATED = (*_CHECKED, Validated(at=START + 10))
_PAYING = (*_VALIDATED, PayStarted(at=START + 11))
_ACCEPTED = (*_PAYING, PayAccepted(at=START + 12, paynet_order_id=ORDER))

PATHS: dict[State, tuple[Event, ...]] = {
    State.NEW: (),
    State.CHECKING: (CheckStarted(at=START + 1),),
    State.VALIDATING: _CHECKED,
    State.VALIDATED: _VALIDATED,
    State.PAYING: _PAYING,
    State.AWAITING_FINAL: _ACCEPTED,
    State.AWAITING_RECEIVER: (*_ACCEPTED, RedirectRequired(at=START + 13, redirect_to=LINK)),
    State.ATTENTION: (*_PAYING, NeedsAttention(at=START + 20, doubt=Doubt.PAY_UNCONFIRMED)),
    State.FINAL: (*_ACCEPTED, finished()),
    State.REJECTED: (CheckStarted(at=START + 1), Rejected(at=START + 2, error_code="8")),
    State.WITHDRAWN: (Withdrawn(at=START + 1, who="ann", why="typo"),),
    State.CLOSED: (
        *_PAYING,
        NeedsAttention(at=START + 20, doubt=Doubt.PAY_UNCONFIRMED),
        Closed(at=START + 100, who="ann", why="asked the bank"),
    ),
}
"""Events that lead a payout with bank confirmation into each state."""

ONE_STEP_PATHS: dict[State, tuple[Event, ...]] = {
    State.NEW: (),
    State.PAYING: (PayStarted(at=START + 1),),
    State.AWAITING_FINAL: (
        PayStarted(at=START + 1),
        PayAccepted(at=START + 2, paynet_order_id=ORDER),
    ),
    State.ATTENTION: (
        PayStarted(at=START + 1),
        NeedsAttention(at=START + 20, doubt=Doubt.PAY_UNCONFIRMED),
    ),
}
"""Events that lead a one-step payout into the states of its own."""

DOUBT_PATHS: dict[Doubt, tuple[Event, ...]] = {
    Doubt.CHECK_UNCONFIRMED: (
        CheckStarted(at=START + 1),
        NeedsAttention(at=START + 20, doubt=Doubt.CHECK_UNCONFIRMED),
    ),
    Doubt.FOREIGN_ORDER: (
        CheckStarted(at=START + 1),
        NeedsAttention(at=START + 20, doubt=Doubt.FOREIGN_ORDER),
    ),
    Doubt.AMOUNT_DIFFERS: (
        *_CHECKED,
        NeedsAttention(
            at=START + 20, doubt=Doubt.AMOUNT_DIFFERS, amount=Decimal("1000.00"), currency="EUR"
        ),
    ),
    Doubt.PAY_UNCONFIRMED: PATHS[State.ATTENTION],
    Doubt.PAY_REFUSED: (*_PAYING, PayRefused(at=START + 20, error_code="102")),
    Doubt.APPROVED_BEFORE_PAY: (*_CHECKED, finished(at=START + 20)),
    Doubt.BAD_REDIRECT: (*_ACCEPTED, NeedsAttention(at=START + 20, doubt=Doubt.BAD_REDIRECT)),
    Doubt.OTHER_TRANSACTION: (
        *_ACCEPTED,
        NeedsAttention(at=START + 20, doubt=Doubt.OTHER_TRANSACTION),
    ),
    Doubt.RESTORED: (*_VALIDATED, Restored(at=START + 20)),
}
"""Events that lead a payout into Attention for each doubt but the spent checks."""


ALARM_PATHS: dict[Alarm, tuple[Event, ...]] = {
    Alarm.STATUS_CONTRADICTS: (
        *PATHS[State.FINAL],
        finished("declined", START + 40, amount=Decimal(7)),
    ),
    Alarm.APPROVED_BEFORE_PAY: (*_CHECKED, finished(at=START + 20)),
    Alarm.AMOUNT_DIFFERS: (*_ACCEPTED, finished(amount=Decimal("9.99"), currency="EUR")),
    Alarm.ACCEPTED_LATE: (
        *PATHS[State.CLOSED],
        PayAccepted(at=START + 200, paynet_order_id=ORDER),
    ),
    Alarm.LATER_TRANSACTION: (
        *PATHS[State.FINAL],
        finished(at=START + 40, transaction_type="chargeback", amount=Decimal("5.00")),
    ),
    Alarm.SECOND_ORDER: (*PATHS[State.FINAL], Checked(at=START + 40, paynet_order_id="999")),
}
"""Events that raise each alarm; all but one of the payouts are finished then."""


def fold(*events: Event, first: Opened | None = None) -> Payout:
    """Fold events into a payout; each must change it, as in a journal."""
    payout = open_payout(first or opened())
    for event in events:
        becomes = evolve(payout, event)
        assert becomes is not payout, f"{event} is no news in {payout.state}"
        payout = becomes
    return payout


def payout_in(state: State, *, flow: Flow = Flow.CHECK_PAY, **fields: Any) -> Payout:
    """Build a payout in a state; fields go into its first event."""
    paths = PATHS if flow is Flow.CHECK_PAY else ONE_STEP_PATHS
    return fold(*paths[state], first=opened(flow=flow, **fields))


def doubtful(doubt: Doubt) -> Payout:
    """Build a payout that needs a person for a reason."""
    return fold(*DOUBT_PATHS[doubt])
