"""The gateway as the sandbox plays it: orders, their stages and a ledger of the money that left.

Pure: every instant is an argument, and what an order's status is follows from the instants at which
it was made and paid; nothing runs in the background. What it answers is what documents 1.10, 3.16,
3.22, 3.24 and 3.39 say; where they are silent, it takes the reading that shows a mistake best:

- It is **not idempotent**, on purpose. A second payout-check with the same client_orderid makes a
  second order, and a second payout-pay pays again, with another entry in the ledger. The real
  gateway promises neither, so a client that repeats itself must be seen here.
- The documented test accounts decide how a payout ends, not how its check ends: all of them
  validate, and fail or succeed only after they were paid.
- An order belongs to the login that made it; to any other login it does not exist.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import attrs

from ..answers import Status
from ..errors import InvalidInput, Problem
from ..models import Endpoint
from ..parameters import amount_text
from ..wire import RequestKind
from .wire import read_payout

__all__ = ["Gateway", "LedgerEntry", "Order", "RequestSeen", "Standing"]

_Fields = Mapping[str, str]

_FIRST_SERIAL: Final = 0x2E2C322
"""The serial number of the documented example, so that the first answer is that example."""

_MALFORMED_REQUEST: Final = "1"
_ORDER_NOT_FOUND: Final = "101"
_INTERNAL_ERROR: Final = "102"
_SESSION_STATUS_ERROR: Final = "106"


@attrs.frozen
class Standing:
    """Where an order stands, in the gateway's words.

    Attributes:
        status: The status of document 5.9.
        order_stage: The finer word for it.
        error_code: Why it was not approved, as a code.
        error_message: Why it was not approved.
    """

    status: Status
    order_stage: str
    error_code: str | None = None
    error_message: str | None = None


_VALIDATING: Final = Standing(Status.PROCESSING, "payout_check_validating")
_VALIDATED: Final = Standing(Status.PROCESSING, "payout_check_validated")
_PROCESSING: Final = Standing(Status.PROCESSING, "payout_processing")
_APPROVED: Final = Standing(Status.APPROVED, "payout_approved")
# The documented error codes end long before these: the processor's own are not published.
_DECLINED: Final = Standing(Status.DECLINED, "payout_declined", "20001", "Declined by the bank")
_FAILED: Final = Standing(Status.ERROR, "payout_error", "20002", "PROCESSOR_INTERNAL_ERROR")
_ENDINGS: Final = {"1234567890": _APPROVED, "0987654321": _DECLINED, "1987654321": _FAILED}
"""How a payout to each test account ends (document 3.24); to anywhere else it is approved."""


@attrs.frozen(kw_only=True)
class Order:
    """One order; of the receiver it keeps nothing but how the payout ends and a card's last four.

    Attributes:
        paynet_order_id: The gateway's id.
        login: The merchant whose order it is.
        client_orderid: The merchant's id, which need not be unique.
        amount: Amount in major units.
        currency: Currency code.
        ending: Where it will stand at last, once it is paid.
        made_at: The instant of payout-check or payout, in seconds since the epoch.
        paid_at: The instant of the first payout-pay, or of payout; None before.
        last_four_digits: Of the card, if one was given.
        merchant_data: What the merchant wants to hear again.
    """

    paynet_order_id: str
    login: str
    client_orderid: str
    amount: Decimal
    currency: str
    ending: Standing
    made_at: float
    paid_at: float | None = None
    last_four_digits: str | None = attrs.field(default=None, repr=False)
    merchant_data: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class LedgerEntry:
    """Money that left, once.

    Attributes:
        paynet_order_id: The order that was paid.
        client_orderid: The merchant's id of it.
        amount: Amount in major units.
        currency: Currency code.
        at: The instant of the request, in seconds since the epoch.
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


@attrs.define(kw_only=True, eq=False)
class Gateway:
    """The gateway's memory and rules.

    Args:
        validation: Seconds from payout-check until the bank has validated.
        processing: Seconds from payout-pay or payout until the final status.
        first_order_id: The id of the first order; the others count on from it.

    Attributes:
        ledger: The money that left, in order: the truth that every client is measured by.
        requests: The requests that took effect and the questions, in order.
        orders: Every order by its paynet_order_id.
    """

    validation: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    processing: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    first_order_id: int = attrs.field(default=6982864, validator=attrs.validators.ge(1))
    ledger: list[LedgerEntry] = attrs.field(factory=list, init=False)
    requests: list[RequestSeen] = attrs.field(factory=list, init=False)
    orders: dict[str, Order] = attrs.field(factory=dict, init=False, repr=False)
    _ids: dict[tuple[str, str], list[str]] = attrs.field(factory=dict, init=False, repr=False)
    _serial: int = attrs.field(default=_FIRST_SERIAL, init=False, repr=False)

    def handle(
        self,
        kind: RequestKind,
        endpoint: Endpoint,
        login: str,
        fields: _Fields,
        at: float,
    ) -> dict[str, str]:
        """Carry out one request whose sender is known, and give the fields of the answer.

        Args:
            kind: The command.
            endpoint: The endpoint or group that the URL names.
            login: Who has signed the request.
            fields: The parameters in the body.
            at: Now, in seconds since the epoch.
        """
        try:
            match kind:
                case RequestKind.CHECK | RequestKind.PAYOUT:
                    reply = self._make(kind, login, fields, at)
                case RequestKind.PAY:
                    reply = self._pay(login, fields, at)
                case RequestKind.STATUS:
                    reply = self._tell(login, fields, at)
        except InvalidInput as error:
            reply = _refusal("validation-error", _MALFORMED_REQUEST, str(error), fields)
        serial = f"00000000-0000-0000-0000-{self._serial:012x}"
        self._serial += 1
        reply = {"type": reply.pop("type"), "serial-number": serial, **reply}
        if kind is not RequestKind.STATUS:
            reply["end-point-id"] = endpoint.path.removeprefix("group/")
        return reply

    def paid(self, client_orderid: str) -> int:
        """Count how often money has left for a client_orderid; more than once is a disaster."""
        return sum(entry.client_orderid == client_orderid for entry in self.ledger)

    def standing(self, order: Order, at: float) -> Standing:
        """Tell where an order stands at an instant."""
        if order.paid_at is None:
            return _VALIDATING if at < order.made_at + self.validation else _VALIDATED
        return _PROCESSING if at < order.paid_at + self.processing else order.ending

    def snapshot(self, at: float) -> dict[str, dict[str, object]]:
        """Sum up each client_orderid as plain JSON values, with no account data.

        ``orders`` lists the ids of its orders, ``checks`` and ``pays`` count the requests that took
        effect (payout in one step is a pay), ``paid`` counts how often money left. Amount, currency
        and status are those of its newest order.
        """
        seen = Counter((request.client_orderid, request.kind) for request in self.requests)
        paid = Counter(entry.client_orderid for entry in self.ledger)
        told: dict[str, list[Order]] = {}
        for order in self.orders.values():
            told.setdefault(order.client_orderid, []).append(order)
        return {
            name: {
                "orders": [order.paynet_order_id for order in orders],
                "checks": seen[name, RequestKind.CHECK],
                "pays": seen[name, RequestKind.PAY] + seen[name, RequestKind.PAYOUT],
                "paid": paid[name],
                "amount": amount_text(orders[-1].amount, orders[-1].currency),
                "currency": orders[-1].currency,
                "status": str(self.standing(orders[-1], at).status),
            }
            for name, orders in told.items()
        }

    def _make(self, kind: RequestKind, login: str, fields: _Fields, at: float) -> dict[str, str]:
        """Make an order, also for a client_orderid that has one; a one-step payout is paid too."""
        request = read_payout(fields)
        order = Order(
            paynet_order_id=str(self.first_order_id + len(self.orders)),
            login=login,
            client_orderid=request.client_orderid,
            amount=request.amount,
            currency=request.currency,
            ending=_ENDINGS.get(request.account_number or "", _APPROVED),
            made_at=at,
            last_four_digits=request.receiver_hint if request.credit_card_number else None,
            merchant_data=request.merchant_data,
        )
        self.orders[order.paynet_order_id] = order
        self._ids.setdefault((login, order.client_orderid), []).append(order.paynet_order_id)
        self._see(kind, order.client_orderid, order, at)
        if kind is RequestKind.PAYOUT:
            self._spend(kind, order, at)
        return _acknowledgement(order)

    def _pay(self, login: str, fields: _Fields, at: float) -> dict[str, str]:
        """Pay an order that the bank has validated, also one that was paid before."""
        _demand(fields, login, "client_orderid", "orderid")
        found = self._find(login, fields)
        if not found:
            return _refusal("error", _ORDER_NOT_FOUND, "Order not found", fields)
        order = found[0]
        if self.standing(order, at) is _VALIDATING:
            reply = _refusal("error", _SESSION_STATUS_ERROR, "The order is not validated", fields)
            return {**reply, "paynet-order-id": order.paynet_order_id}
        self._see(RequestKind.PAY, order.client_orderid, order, at)
        self._spend(RequestKind.PAY, order, at)
        return _acknowledgement(order)

    def _tell(self, login: str, fields: _Fields, at: float) -> dict[str, str]:
        """Tell the status of an order, by client_orderid alone only while that is unique."""
        _demand(fields, login, "client_orderid")
        found = self._find(login, fields)
        order = found[0] if len(found) == 1 else None
        self._see(RequestKind.STATUS, fields["client_orderid"], order, at)
        if order is not None:
            reply = _report(order, self.standing(order, at))
            if order.paid_at is not None and reply["status"] != Status.PROCESSING:
                reply["paynet-processing-date"] = _date(order.paid_at + self.processing)
        elif found:
            reply = _refusal("error", _INTERNAL_ERROR, "client_orderid is not unique", fields)
        else:
            reply = _refusal("error", _ORDER_NOT_FOUND, "Order not found", fields)
        if pinned := fields.get("by-request-sn"):
            reply["by-request-sn"] = pinned
        return reply

    def _find(self, login: str, fields: _Fields) -> list[Order]:
        """Find the orders of a client_orderid, or the one of them that orderid names."""
        wanted = fields.get("orderid")
        ids = self._ids.get((login, fields["client_orderid"]), [])
        return [self.orders[each] for each in ids if not wanted or each == wanted]

    def _see(self, kind: RequestKind, client_orderid: str, order: Order | None, at: float) -> None:
        found = order.paynet_order_id if order else None
        self.requests.append(RequestSeen(kind, client_orderid, found, at))

    def _spend(self, kind: RequestKind, order: Order, at: float) -> None:
        """Let the money leave, unless this payout is one that ends without it."""
        if order.paid_at is None:
            self.orders[order.paynet_order_id] = attrs.evolve(order, paid_at=at)
        if order.ending is _APPROVED:
            ids = order.paynet_order_id, order.client_orderid
            self.ledger.append(LedgerEntry(*ids, order.amount, order.currency, at, kind))


def _demand(fields: _Fields, login: str, *names: str) -> None:
    """Refuse a request that lacks a parameter or whose login is not its sender's."""
    problems = [Problem(name, "is missing") for name in ("login", *names) if not fields.get(name)]
    if fields.get("login", login) not in (login, ""):
        problems.append(Problem("login", "must be the login that signs the request"))
    if problems:
        raise InvalidInput(tuple(problems))


def _acknowledgement(order: Order) -> dict[str, str]:
    return {
        "type": "async-response",
        "merchant-order-id": order.client_orderid,
        "paynet-order-id": order.paynet_order_id,
    }


def _refusal(kind: str, code: str, message: str, fields: _Fields) -> dict[str, str]:
    named = fields.get("client_orderid")
    echo = {"merchant-order-id": named} if named else {}
    return {"type": kind, **echo, "error-message": message, "error-code": code}


def _report(order: Order, standing: Standing) -> dict[str, str]:
    """Write the status response: the fields of documents 3.16 and 3.22 that a payout has."""
    amount = amount_text(order.amount, order.currency)
    reply = {
        "type": "status-response",
        "status": str(standing.status),
        "order-stage": standing.order_stage,
        "merchant-order-id": order.client_orderid,
        "paynet-order-id": order.paynet_order_id,
        "transaction-type": "payout",
        "amount": amount,
        "initial-amount": amount,
        "currency": order.currency,
        "processor-tx-id": f"PNTEST-{order.paynet_order_id}",
        "last-four-digits": order.last_four_digits,
        "merchantdata": order.merchant_data,
        "error-code": standing.error_code,
        "error-message": standing.error_message,
    }
    return {name: text for name, text in reply.items() if text is not None}


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S %Z")
