"""What the machine asks its driver to do next."""

from typing import assert_never

import attrs

from .models import Flow, Pace, State
from .payout import Payout, is_fresh

__all__ = ["Ask", "Check", "Command", "Pay", "PayOut", "Stop", "next_command"]


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
