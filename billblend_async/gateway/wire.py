"""The gateway's wire format: the only place that knows its paths and field names.

Requests are form-encoded and answers are ``key=value`` pairs joined by ``LF &`` under the type
text/html, or a flat JSON object (documents 2.1, 3.16, 3.22 and 3.24). This is the client's side:
it builds requests and reads answers; what the gateway itself reads and builds is in the sandbox.
"""

import contextlib
import enum
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import attrs

from ..core.models import Endpoint
from ..core.parameters import mask_digits
from ..core.request import PayoutRequest
from ..core.responses import (
    Accepted,
    NoAnswer,
    NotFound,
    Refused,
    SendAnswer,
    Status,
    StatusAnswer,
    StatusReport,
    Unknown,
)
from ..errors import UnreadableAnswer

__all__ = [
    "FORM",
    "Body",
    "Form",
    "RequestKind",
    "build_form",
    "build_pay",
    "build_payout",
    "build_status",
    "read_pairs",
    "read_query",
    "read_reply",
    "read_send_answer",
    "read_status_answer",
    "status_control_parts",
    "url_path",
]

FORM: Final = "application/x-www-form-urlencoded"
"""The content type of every request."""

_ORDER_NOT_FOUND: Final = "101"
_REQUEST_NAMES: Final = {"recurring_payment_id": "recurring-payment-id"}
_REPORT_NAMES: Final = {
    "merchant_data": ("merchantdata", "merchant_data", "merchant-data"),
    "bank_message": ("bank_message", "bank-message"),
    "filter_message": ("filter_message", "filter-message"),
    "fraud_message": ("fraud_message", "fraud-message"),
}
_REPORT_FIELDS: Final = {
    wire_name: field.name
    for field in attrs.fields(StatusReport)
    if field.name != "rest"
    for wire_name in _REPORT_NAMES.get(field.name, (field.name.replace("_", "-"),))
}
_AMOUNT_FIELDS: Final = frozenset({"amount", "initial_amount"})
_MASKED_FIELDS: Final = frozenset({"error_code", "error_message"})
_ID_FIELDS: Final = frozenset({"paynet_order_id", "merchant_order_id"})


class RequestKind(enum.StrEnum):
    """The gateway's commands that this library sends, by their place in the path."""

    CHECK = "payout-check"
    PAY = "payout-pay"
    PAYOUT = "payout"
    STATUS = "status"


# Requests, built


def url_path(kind: RequestKind, endpoint: Endpoint, *, version: int = 4) -> str:
    """Write the path of a command after the base URL: ``/api/v4/payout-check/39915``."""
    return f"/api/v{version}/{kind.value}/{endpoint.path}"


class Form(tuple[tuple[str, str], ...]):
    """The parameters of a request, in order; its repr shows none of them."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<form of {len(self)} parameters>"


class Body(bytes):
    """The bytes of a request; its repr shows none of them."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<body of {len(self)} bytes>"


def build_payout(request: PayoutRequest) -> Form:
    """Build the parameters of payout-check and of payout (documents 3.24 and 3.35)."""
    return Form((_REQUEST_NAMES.get(name, name), text) for name, text in request.given())


def build_pay(login: str, client_orderid: str, paynet_order_id: str) -> Form:
    """Build the parameters of payout-pay, which takes the login in the body (document 3.39)."""
    ours = ("client_orderid", client_orderid)
    return Form((ours, ("login", login), ("orderid", paynet_order_id)))


def build_status(
    login: str,
    client_orderid: str,
    paynet_order_id: str | None = None,
    *,
    by_request_sn: str | None = None,
    control: str | None = None,
) -> Form:
    """Build the parameters of status, v4 without and v2 with control (documents 3.16, 3.22).

    Args:
        login: The merchant's login.
        client_orderid: The caller's id.
        paynet_order_id: The gateway's id; None to ask by client_orderid alone.
        by_request_sn: The serial number of one earlier request, to ask about that one.
        control: The SHA-1 over ``status_control_parts`` and the merchant control, for v2.
    """
    optional = {"orderid": paynet_order_id, "by-request-sn": by_request_sn, "control": control}
    return Form(
        (
            ("client_orderid", client_orderid),
            ("login", login),
            *((name, value) for name, value in optional.items() if value is not None),
        )
    )


def status_control_parts(login: str, client_orderid: str, paynet_order_id: str | None) -> list[str]:
    """Name what the control of a v2 status covers, in order and before the merchant control."""
    return [login, client_orderid, paynet_order_id or ""]


def build_form(parameters: Iterable[tuple[str, str]]) -> Body:
    """Encode parameters as a request body; RFC 3986 escapes, so spaces travel as %20."""
    return Body(
        "&".join([f"{_quote(name)}={_quote(value)}" for name, value in parameters]).encode()
    )


_UNRESERVED: Final = re.compile(r"[A-Za-z0-9\-._~]*+")


def _quote(text: str) -> str:
    """Encode one name or value; quote() would look at each byte, and most need none changed."""
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")


# Answers, read


def read_reply(body: bytes) -> dict[str, str]:
    """Read an answer's body into its fields, form or flat JSON, decided by its first character.

    Raises:
        UnreadableAnswer: It is HTML, empty, cut, badly encoded, or says a key twice.
    """
    stripped = body.strip()
    if not stripped:
        raise UnreadableAnswer("empty")
    if stripped.startswith(b"<"):
        raise UnreadableAnswer("an HTML page")
    return _read_json(stripped) if stripped.startswith(b"{") else read_pairs(stripped)


def read_pairs(body: bytes) -> dict[str, str]:
    """Read form data in which no name is there twice; line feeds around values are dropped.

    Raises:
        UnreadableAnswer: It is cut, badly encoded, no form data, or says a key twice.
    """
    return read_query(body.translate(None, b"\r\n"))


def read_query(query: bytes) -> dict[str, str]:
    """Read the parameters of a callback or a final redirect, each as it was signed.

    Raises:
        UnreadableAnswer: It is empty, cut, badly encoded, or says a key twice.
    """
    read: Callable[[str], str] = str
    if b"%" not in query:  # most answers: nothing to undo, so all of it is decoded at once
        query = query.replace(b"+", b" ")
        pairs = _decode(query).split("&")
    else:
        read, pairs = _unquote, query.decode("latin-1").split("&")
    fields: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UnreadableAnswer("cut, or no form data")
        key = read(name)
        if key in fields:
            raise UnreadableAnswer("a key that is there twice")
        fields[key] = read(value)
    return fields


_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _unquote(text: str) -> str:
    """Undo the escapes of one name or value, whose bytes stand here as Latin-1."""
    if _BAD_ESCAPE.search(text):
        raise UnreadableAnswer("badly encoded")
    return _decode(unquote_to_bytes(text.replace("+", " ").encode("latin-1")))


def _decode(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        pass  # raised below, so that the bytes do not travel along as __context__
    raise UnreadableAnswer("badly encoded")


def _read_json(body: bytes) -> dict[str, str]:
    pairs: object = None
    # What cannot be parsed is raised below, so that the bytes do not travel along as __context__.
    with contextlib.suppress(ValueError, RecursionError):
        # Numbers stay text: an order id may pass 2^53 and an amount is no float.
        pairs = json.loads(
            body, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=tuple
        )
    if not isinstance(pairs, tuple):
        raise UnreadableAnswer("cut, or no JSON object")
    fields: dict[str, str | None] = {}
    for key, value in pairs:
        if key in fields:
            raise UnreadableAnswer("a key that is there twice")
        if isinstance(value, bool):
            fields[key] = "true" if value else "false"
        elif isinstance(value, str):
            fields[key] = value.strip("\r\n")
        elif value is None:
            fields[key] = None
        else:
            raise UnreadableAnswer("nested JSON")
    given = {key: text for key, text in fields.items() if text is not None}
    if _SURROGATE.search("".join([*given, *given.values()])):
        raise UnreadableAnswer("badly encoded")
    return given


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def read_send_answer(
    fields: Mapping[str, str], *, client_orderid: str, paynet_order_id: str | None = None
) -> SendAnswer:
    """Read the answer to payout-check, payout-pay or payout; one about no order of ours is unknown.

    Args:
        fields: The answer's fields.
        client_orderid: Ours, which the answer must name.
        paynet_order_id: The order to be paid, which the answer must name; None when it is made.
    """
    kind = fields.get("type", "").strip().casefold()
    order = fields.get("paynet-order-id", "").strip()
    named = fields.get("merchant-order-id")
    if kind == "validation-error" and not order:
        if named not in (None, "", client_orderid):
            return Unknown("a refusal of another order")
        return Refused(_masked(fields.get("error-code")), _masked(fields.get("error-message")))
    if kind not in ("async-response", "validation-error", "error"):
        return Unknown("an answer of an unknown type")
    if not order:
        return Unknown(_error_text(fields) or "an answer without an order id")
    if paynet_order_id is None:
        if named != client_orderid or not _is_order_id(order):
            return Unknown("an answer that names another order")
        # The order exists, even if its creation failed later: its status decides (document 3.24).
        return Accepted(order, fields.get("serial-number"))
    if order != paynet_order_id or named not in (None, "", client_orderid):
        return Unknown("an answer that names another order")
    if kind != "async-response":
        return Unknown(_error_text(fields) or "an error about our order")
    return Accepted(order, fields.get("serial-number"))


def read_status_answer(
    fields: Mapping[str, str], *, client_orderid: str, paynet_order_id: str | None = None
) -> StatusAnswer:
    """Read the answer to status; an answer about another order is no answer."""
    kind = fields.get("type", "").strip().casefold()
    order = fields.get("paynet-order-id", "").strip()
    named = fields.get("merchant-order-id", "").strip()
    if named and named != client_orderid:
        return NoAnswer("an answer that names another order", readable=True)
    if order and not _is_order_id(order):
        return NoAnswer("an answer with an order id that is none", readable=True)
    if order and paynet_order_id is not None and order != paynet_order_id:
        return NoAnswer("an answer that names another order", readable=True)
    if kind in ("error", "validation-error") and not (order and "status" in fields):
        if not order and fields.get("error-code", "").strip() == _ORDER_NOT_FOUND:
            return NotFound(_ORDER_NOT_FOUND)
        return NoAnswer(
            _error_text(fields) or "an error without a reason",
            readable=True,
            error_code=_masked(fields.get("error-code")),
        )
    if "status" not in fields:
        return NoAnswer("an answer without a status", readable=True)
    if not order and not named:
        return NoAnswer("an answer that names no order", readable=True)
    return _read_report(fields)


def _read_report(fields: Mapping[str, str]) -> StatusReport:
    known: dict[str, str | Decimal] = {}
    rest: dict[str, str] = {}
    for wire_name, text in fields.items():
        name = _REPORT_FIELDS.get(wire_name)
        if name is None or name in known:
            rest[wire_name] = text
        elif name in _AMOUNT_FIELDS:
            amount = _read_amount(text)
            if amount is None:
                rest[wire_name] = text
            else:
                known[name] = amount
        elif text or name in ("type", "status"):
            known[name] = mask_digits(text) if name in _MASKED_FIELDS else text
    known.setdefault("type", "")
    known["status"] = Status(str(known["status"]))
    for name in _ID_FIELDS & known.keys():
        known[name] = str(known[name]).strip()
    return StatusReport(rest=rest, **known)  # type: ignore[arg-type] # each by its field above


def _read_amount(text: str) -> Decimal | None:
    return Decimal(text) if _AMOUNT.fullmatch(text := text.strip()) else None


_AMOUNT: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


def _is_order_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 32


def _masked(text: str | None) -> str | None:
    return None if text is None else mask_digits(text.strip())


def _error_text(fields: Mapping[str, str]) -> str | None:
    code, text = _masked(fields.get("error-code")), _masked(fields.get("error-message"))
    if not code and not text:
        return None
    return f"error {code or '?'}: {text or 'no message'}"
