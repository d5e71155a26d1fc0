"""The gateway's side of the wire: reads requests and builds responses.

Sources: documents 2.1 and 3.24.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from ..core.models import Endpoint
from ..core.parameters import amount_text
from ..core.request import PayoutRequest
from ..errors import InvalidInput, Problem, UnreadableAnswer
from ..gateway.wire import RequestKind, read_pairs
from .orders import Order

__all__ = [
    "acknowledgement",
    "build_answer",
    "processor_id",
    "read_form",
    "read_payout",
    "read_url_path",
    "refusal",
    "report",
]


def read_url_path(path: str) -> tuple[int, RequestKind, Endpoint] | None:
    """Read version, command and endpoint from the path after the base URL; None if it has none."""
    match = _PATH.fullmatch(path)
    if match is None or match["kind"] not in _KINDS:
        return None
    number = int(match["number"])
    if number >= 2**63:
        return None
    endpoint = (
        Endpoint(endpoint_group_id=number) if match["group"] else Endpoint(endpoint_id=number)
    )
    return int(match["version"]), RequestKind(match["kind"]), endpoint


_KINDS: Final = frozenset(kind.value for kind in RequestKind)
_PATH: Final = re.compile(
    r"/api/v(?P<version>[24])/(?P<kind>[a-z-]+)/(?P<group>group/)?(?P<number>[1-9][0-9]{0,18})"
)


def read_form(body: bytes) -> dict[str, str]:
    """Read a request's body; white space around values is dropped, as the gateway does.

    Raises:
        InvalidInput: It is no form data, or a name is there twice.
    """
    try:
        fields = read_pairs(body) if body else {}
    except UnreadableAnswer as error:
        reason = error.reason
    else:
        return {name: value.strip() for name, value in fields.items()}
    raise InvalidInput((Problem("body", f"must be form data: {reason}"),))


def read_payout(fields: Mapping[str, str]) -> PayoutRequest:
    """Read the parameters of payout-check and payout as the gateway does.

    Raises:
        InvalidInput: A parameter is missing, wrong or unknown.
    """
    return PayoutRequest.from_text(fields)


def build_answer(fields: Mapping[str, str | None], *, as_json: bool = False) -> bytes:
    """Build an answer as the gateway does: pairs joined by LF and &, no LF after the last value."""
    given = {name: value for name, value in fields.items() if value is not None}
    if as_json:
        return json.dumps(given).encode()
    return "\n&".join(
        f"{name}={quote(value, safe='').replace('%20', '+')}" for name, value in given.items()
    ).encode()


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
