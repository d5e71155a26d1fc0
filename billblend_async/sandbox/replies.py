"""What the gateway answers about an order, in its own field names."""

from collections.abc import Mapping
from datetime import UTC, datetime

from ..core.parameters import amount_text
from .orders import Order

__all__ = ["acknowledgement", "processor_id", "refusal", "report"]


def acknowledgement(order: Order) -> dict[str, str]:
    """Say that a request about an order was taken (document 3.24)."""
    return {
        "type": "async-response",
        "merchant-order-id": order.client_orderid,
        "paynet-order-id": order.paynet_order_id,
    }


def refusal(kind: str, code: str, message: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Say why a request was not carried out.

    Args:
        kind: ``error`` or ``validation-error``.
        code: A code of document 5.6.
        message: The reason.
        fields: The parameters of the request.
    """
    named = fields.get("client_orderid")
    echo = {"merchant-order-id": named} if named else {}
    return {"type": kind, **echo, "error-message": message, "error-code": code}


def report(order: Order, at: float, *, site: str) -> dict[str, str]:
    """Write the status response: the fields of documents 3.16 and 3.22 that a payout has.

    Args:
        order: The order.
        at: Now, in seconds since the epoch.
        site: Scheme and host of the receiver's link.
    """
    standing = order.standing(at)
    ended_at = order.ends_at if standing.status.is_final else None
    reply = {
        "type": "status-response",
        "status": str(standing.status),
        "order-stage": standing.order_stage,
        "merchant-order-id": order.client_orderid,
        "paynet-order-id": order.paynet_order_id,
        "transaction-type": order.transaction_type(at),
        "amount": amount_text(order.amount_at(at), order.currency),
        "initial-amount": amount_text(order.amount, order.currency),
        "currency": order.currency,
        "processor-tx-id": processor_id(order),
        "last-four-digits": order.last_four_digits,
        "merchantdata": order.merchant_data,
        "error-code": standing.error_code,
        "error-message": standing.error_message,
        "redirect-to": f"{site}/sandbox/form/{order.token}" if order.awaits_receiver else None,
        "paynet-processing-date": None if ended_at is None else _date(ended_at),
    }
    return {name: text for name, text in reply.items() if text is not None}


def processor_id(order: Order) -> str:
    """Give the acquirer's id of an order, as a test gate makes it."""
    return f"PNTEST-{order.paynet_order_id}"


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S %Z")
