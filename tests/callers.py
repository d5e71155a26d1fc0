"""Callbacks as the gateway sends them, and as others would forge them."""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from fakes import MERCHANT_CONTROL
from payouts import ORDER

from billblend_async.core.responses import Callback
from billblend_async.gateway.callbacks import verify_callback
from billblend_async.gateway.signing import control

SIGNED: Final = ("status", "orderid", "client_orderid")


def callback_fields(
    status: str = "approved",
    order: str = ORDER,
    client_orderid: str = "po-1",
    *,
    secret: str = MERCHANT_CONTROL,
    **fields: str,
) -> dict[str, str]:
    """Write the fields of a genuine callback; fields add to them, unsigned."""
    return {
        "status": status,
        "orderid": order,
        "merchant_order": client_orderid,
        "client_orderid": client_orderid,
        "type": "payout",
        "amount": "10.42",
        "currency": "USD",
        "control": control(status, order, client_orderid, secret),
        **fields,
    }


def query_of(fields: Mapping[str, str]) -> str:
    """Write fields as a query."""
    return "&".join(f"{quote(name)}={quote(text, safe='')}" for name, text in fields.items())


def genuine(
    status: str = "approved",
    order: str = ORDER,
    client_orderid: str = "po-1",
    transaction_type: str = "payout",
) -> Callback:
    """Make a verified callback."""
    fields = callback_fields(status, order, client_orderid, type=transaction_type)
    return verify_callback(query_of(fields), [MERCHANT_CONTROL])


def shifts(fields: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Move the two joints of what is signed to every other place; the control stays genuine."""
    whole = "".join(fields[name] for name in SIGNED)
    own = tuple(fields[name] for name in SIGNED)
    for first in range(len(whole) + 1):
        for second in range(first, len(whole) + 1):
            parts = (whole[:first], whole[first:second], whole[second:])
            if parts != own:
                named = dict(zip(SIGNED, parts, strict=True))
                yield {**fields, **named, "merchant_order": parts[2]}
