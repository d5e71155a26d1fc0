"""What the gateway tells without being asked: callbacks and the receiver's final redirect.

Both carry the SHA-1 control over status, orderid, client_orderid and the merchant's secret; nothing
else in them is signed (documents 3.37 and 3.38).
"""

from ..core.parameters import amount_text
from ..gateway.signing import control
from .orders import Order, TransactionType
from .replies import processor_id

__all__ = ["callback", "final_redirect"]

_Fields = dict[str, str]


def callback(order: Order, about: TransactionType, at: float, merchant_control: str) -> _Fields:
    """Write the parameters of a callback (document 3.37).

    Args:
        order: The order.
        about: What it tells of: the payout, or money that came back.
        at: The instant at which that was final.
        merchant_control: The merchant's secret, which the control is made with.
    """
    standing = order.standing(at)
    fields = {
        "status": str(standing.status),
        "orderid": order.paynet_order_id,
        "merchant_order": order.client_orderid,
        "client_orderid": order.client_orderid,
        "type": about,
        "amount": amount_text(order.amount_at(at), order.currency),
        "currency": order.currency,
        "error_code": standing.error_code,
        "error_message": standing.error_message,
        "last-four-digits": order.last_four_digits,
        "merchantdata": order.merchant_data,
        "processor-tx-id": processor_id(order),
        "control": control(
            str(standing.status), order.paynet_order_id, order.client_orderid, merchant_control
        ),
    }
    return {name: text for name, text in fields.items() if text is not None}


def final_redirect(order: Order, merchant_control: str) -> tuple[str, _Fields] | None:
    """Write where the receiver is sent back to, and with what (document 3.38).

    It tells the end that the payout is coming to, which status will tell a little later: nothing
    may rely on it. A payout that did not fail says ``error_message=null``, as documented.

    Args:
        order: An order whose receiver has submitted the form.
        merchant_control: The merchant's secret, which the control is made with.

    Returns:
        The URL and the fields to post; None if the merchant has named no URL.
    """
    success, fail = order.redirect_success_url, order.redirect_fail_url
    url = order.redirect_url or (success if order.moves_money else fail)
    if url is None or order.ends_at is None:
        return None
    fields = callback(order, "payout", order.ends_at, merchant_control)
    return url, {"error_message": "null", **fields}
