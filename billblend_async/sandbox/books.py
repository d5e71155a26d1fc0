"""The lines of the gateway's books: what left, what was asked, and what is to be told."""

from decimal import Decimal

import attrs

from ..gateway.wire import RequestKind
from .orders import TransactionType

__all__ = ["LedgerEntry", "Notice", "RequestSeen"]


@attrs.frozen
class LedgerEntry:
    """Money that left, once.

    Attributes:
        paynet_order_id: The order that was paid.
        client_orderid: The merchant's id of it.
        amount: Amount in major units.
        currency: Currency code.
        at: The instant at which it left, in seconds since the epoch: that of the request, or of
            the receiver's form.
        kind: The command that paid: payout-pay, or payout in one step.
    """

    paynet_order_id: str
    client_orderid: str
    amount: Decimal
    currency: str
    at: float
    kind: RequestKind


@attrs.frozen
class RequestSeen:
    """A request that took effect, or a question that was well put.

    Attributes:
        kind: The command.
        client_orderid: The merchant's id.
        paynet_order_id: The order that was made, paid or found; None for a question that found
            none, or several.
        at: Its instant, in seconds since the epoch.
    """

    kind: RequestKind
    client_orderid: str
    paynet_order_id: str | None
    at: float


@attrs.frozen(order=True)
class Notice:
    """A callback that becomes due: an order reaches a final status, or money came back.

    Attributes:
        at: Its instant, in seconds since the epoch.
        number: Counts the notices.
        paynet_order_id: The order.
        type: What the callback is about.
    """

    at: float
    number: int
    paynet_order_id: str
    type: TransactionType
