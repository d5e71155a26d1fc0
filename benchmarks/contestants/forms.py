"""What a payout says to the gateway, the same for every contestant."""

from decimal import Decimal
from typing import Final
from urllib.parse import parse_qsl

from billblend_async import PayoutRequest

from ..gateway import ENDPOINT

__all__ = [
    "CHECK",
    "FORM",
    "PAY",
    "check_form",
    "is_approved",
    "is_validated",
    "pay_form",
    "payout_request",
    "read_answer",
    "status_form",
    "status_path",
]

FORM: Final = "application/x-www-form-urlencoded"
CHECK: Final = f"/api/v4/payout-check/{ENDPOINT}"
PAY: Final = f"/api/v4/payout-pay/{ENDPOINT}"

_RECEIVER: Final = {
    "amount": "10.42",
    "currency": "USD",
    "order_desc": "Invoice 1",
    "ipaddress": "192.0.2.1",
    "purpose": "Refund",
    "account_number": "1234567890",
    "account_name": "Ann Smith",
    "bank_name": "First Bank",
    "bank_code": "123",
    "receiver_first_name": "Ann",
    "receiver_last_name": "Smith",
    "receiver_country_code": "USA",
    "receiver_email": "ann@example.com",
}


def status_path(version: int) -> str:
    """Give the path of the status command."""
    return f"/api/v{version}/status/{ENDPOINT}"


def check_form(name: str) -> dict[str, str]:
    """Give the parameters of payout-check."""
    return {"client_orderid": name, **_RECEIVER}


def payout_request(name: str) -> PayoutRequest:
    """Give the same as a request of this library."""
    form = check_form(name)
    amount = Decimal(form.pop("amount"))
    return PayoutRequest(amount=amount, **form)  # type: ignore[arg-type] # the rest is texts


def pay_form(login: str, name: str, order: str) -> dict[str, str]:
    """Give the parameters of payout-pay."""
    return {"client_orderid": name, "login": login, "orderid": order}


def status_form(login: str, name: str, order: str) -> dict[str, str]:
    """Give the parameters of status; a v2 question adds its control."""
    return {"client_orderid": name, "login": login, "orderid": order}


def read_answer(text: str) -> dict[str, str]:
    """Read the gateway's answer."""
    return dict(parse_qsl(text.replace("\n", ""), keep_blank_values=True))


def is_validated(answer: dict[str, str]) -> bool:
    """Tell whether the bank has validated the payout."""
    return answer.get("order-stage") == "payout_check_validated"


def is_approved(answer: dict[str, str]) -> bool:
    """Tell whether the payout has come to its good end."""
    return answer.get("status") == "approved"
