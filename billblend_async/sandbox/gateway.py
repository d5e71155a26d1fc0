"""The gateway as the sandbox plays it: its commands, and a ledger of the money that left.

Pure: every instant is an argument, and where an order stands follows from the instants of what
happened to it; nothing runs in the background. What it answers is what documents 1.10, 3.16, 3.22,
3.24 and 3.39 say; where they are silent, it takes the reading that shows a mistake best:

- It is **not idempotent**, on purpose. A second payout-check with the same client_orderid makes a
  second order, and a second payout-pay pays again, with another entry in the ledger. The real
  gateway promises neither, so a client that repeats itself must be seen here.
- The account that a payout goes to decides how it goes (``SCENARIOS`` in ``orders``).
- An order belongs to the login that made it; to any other login it does not exist.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, Literal

import attrs

from ..core.models import Endpoint
from ..core.parameters import amount_text
from ..core.responses import Status
from ..errors import InvalidInput, Problem
from ..gateway.wire import RequestKind
from .orders import (
    ORDINARY,
    SCENARIOS,
    VALIDATED,
    Order,
    Reversal,
    Scenario,
    Standing,
    TransactionType,
)
from .wire import acknowledgement, read_payout, refusal, report

__all__ = [
    "Gateway",
    "LedgerEntry",
    "Notice",
    "RequestSeen",
]


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


_Fields = Mapping[str, str]

_FIRST_SERIAL: Final = 0x2E2C322
"""The serial number of the documented example, so that the first answer is that example."""

_MALFORMED_REQUEST: Final = "1"
_ORDER_NOT_FOUND: Final = "101"
_INTERNAL_ERROR: Final = "102"
_SESSION_STATUS_ERROR: Final = "106"


def _beside_ours(scenarios: Mapping[str, Scenario]) -> Mapping[str, Scenario]:
    return {**SCENARIOS, **scenarios}


def _do_nothing() -> None:
    pass


@attrs.define(kw_only=True, eq=False)
class Gateway:
    """The gateway's memory and rules.

    Args:
        validation: Seconds from payout-check until the bank has validated.
        processing: Seconds from payout-pay or payout until the final status.
        first_order_id: The id of the first order; the others count on from it.
        scenarios: How payouts to accounts of your own go, beside or instead of ``SCENARIOS``.
        site: Scheme and host of the links for receivers.
        make_token: Makes what a receiver's link ends in. By default they are counted, which is
            enough for a model; a server wants ones that nobody can guess.
        on_notice: Called when a callback has been planned that is due before all others.

    Attributes:
        ledger: The money that left, in order: the truth that every client is measured by.
        requests: The requests that took effect and the questions, in order.
        orders: Every order by its paynet_order_id.
    """

    validation: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    processing: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    first_order_id: int = attrs.field(default=6982864, validator=attrs.validators.ge(1))
    scenarios: Mapping[str, Scenario] = attrs.field(
        factory=dict, converter=_beside_ours, repr=False
    )
    site: str = "http://127.0.0.1"
    make_token: Callable[[], str] | None = attrs.field(default=None, repr=False)
    on_notice: Callable[[], None] = attrs.field(default=_do_nothing, repr=False)
    ledger: list[LedgerEntry] = attrs.field(factory=list, init=False)
    requests: list[RequestSeen] = attrs.field(factory=list, init=False)
    orders: dict[str, Order] = attrs.field(factory=dict, init=False, repr=False)
    _ids: dict[tuple[str, str], list[str]] = attrs.field(factory=dict, init=False, repr=False)
    _serials: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    _tokens: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    _notices: list[Notice] = attrs.field(factory=list, init=False, repr=False)
    _planned: int = attrs.field(default=0, init=False, repr=False)
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
            reply = refusal("validation-error", _MALFORMED_REQUEST, str(error), fields)
        serial = f"00000000-0000-0000-0000-{self._serial:012x}"
        self._serial += 1
        self._serials[serial] = reply.get("paynet-order-id", "")
        reply = {"type": reply.pop("type"), "serial-number": serial, **reply}
        if kind is not RequestKind.STATUS:
            reply["end-point-id"] = endpoint.path.removeprefix("group/")
        return reply

    def order_of(self, token: str) -> Order | None:
        """Find the order that a receiver's link belongs to; None if it was used or never given."""
        found = self._tokens.get(token)
        return None if found is None else self.orders[found]

    def submit(self, token: str, at: float, *, is_confirmed: bool) -> Order | None:
        """Take the receiver's form; None if the link was used or never given."""
        found = self._tokens.pop(token, None)
        if found is None:
            return None
        order = attrs.evolve(self.orders[found], submitted_at=at, is_confirmed=is_confirmed)
        self.orders[found] = order
        first = RequestKind.PAYOUT if math.isinf(order.validated_at) else RequestKind.PAY
        for number, _ in enumerate(order.pays):
            self._spend(RequestKind.PAY if number else first, order, at)
        self._plan(order, order.ends_at, "payout")
        return order

    def reverse(
        self,
        paynet_order_id: str,
        at: float,
        kind: Literal["reversal", "chargeback"] = "reversal",
    ) -> Order:
        """Let the money of an approved payout come back; the status says so, and a callback.

        The ledger does not change: it says what left.

        Raises:
            InvalidInput: No such payout is approved at that instant.
        """
        order = self.orders.get(paynet_order_id)
        if order is None or order.standing(at).status != Status.APPROVED:
            raise InvalidInput((Problem("paynet_order_id", "must name an approved payout"),))
        order = attrs.evolve(order, reversals=(*order.reversals, Reversal(kind, at)))
        self.orders[paynet_order_id] = order
        self._plan(order, at, kind)
        return order

    def next_notice(self) -> float | None:
        """Tell at which instant the next callback becomes due; None if none is planned."""
        return self._notices[0].at if self._notices else None

    def take_notices(self, at: float) -> list[Notice]:
        """Take the callbacks that are due at an instant, in order; each is taken once."""
        due = []
        while self._notices and self._notices[0].at <= at:
            due.append(heapq.heappop(self._notices))
        return due

    def paid(self, client_orderid: str) -> int:
        """Count how often money has left for a client_orderid; more than once is a disaster."""
        return sum(entry.client_orderid == client_orderid for entry in self.ledger)

    @staticmethod
    def standing(order: Order, at: float) -> Standing:
        """Tell where an order stands at an instant."""
        return order.standing(at)

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
                "status": str(orders[-1].standing(at).status),
            }
            for name, orders in told.items()
        }

    def _make(self, kind: RequestKind, login: str, fields: _Fields, at: float) -> dict[str, str]:
        """Make an order, also for a client_orderid that has one; a one-step payout is paid too."""
        request = read_payout(fields)
        scenario = self.scenarios.get(request.account_number or "", ORDINARY)
        is_checked = kind is RequestKind.CHECK
        order = Order(
            paynet_order_id=str(self.first_order_id + len(self.orders)),
            login=login,
            client_orderid=request.client_orderid,
            amount=request.amount,
            currency=request.currency,
            scenario=scenario,
            processing=self.processing,
            made_at=at,
            validated_at=at + self.validation * scenario.validation if is_checked else math.inf,
            server_callback_url=request.server_callback_url,
            redirect_url=request.redirect_url,
            redirect_success_url=request.redirect_success_url,
            redirect_fail_url=request.redirect_fail_url,
            last_four_digits=request.receiver_hint if request.credit_card_number else None,
            merchant_data=request.merchant_data,
        )
        self.orders[order.paynet_order_id] = order
        self._ids.setdefault((login, order.client_orderid), []).append(order.paynet_order_id)
        self._see(kind, order.client_orderid, order, at)
        if is_checked:
            self._plan(order, order.ends_at, "payout")
        else:
            self._take_pay(kind, order, at)
        return acknowledgement(order)

    def _pay(self, login: str, fields: _Fields, at: float) -> dict[str, str]:
        """Pay an order that the bank has validated, also one that was paid before."""
        _demand(fields, login, "client_orderid", "orderid")
        found = self._find(login, fields["client_orderid"], fields["orderid"])
        if not found:
            return refusal("error", _ORDER_NOT_FOUND, "Order not found", fields)
        order = found[0]
        if not order.pays and order.standing(at) is not VALIDATED:
            reply = refusal("error", _SESSION_STATUS_ERROR, "The order is not validated", fields)
            return {**reply, "paynet-order-id": order.paynet_order_id}
        self._see(RequestKind.PAY, order.client_orderid, order, at)
        self._take_pay(RequestKind.PAY, order, at)
        return acknowledgement(order)

    def _tell(self, login: str, fields: _Fields, at: float) -> dict[str, str]:
        """Tell the status of an order, by client_orderid alone only while that is unique.

        A by-request-sn must be the serial number of a request about that order, else there is no
        such order; what is told is always where the order stands now.
        """
        _demand(fields, login, "client_orderid")
        pinned = fields.get("by-request-sn")
        found = self._find(login, fields["client_orderid"], fields.get("orderid"))
        if pinned:
            found = [each for each in found if self._serials.get(pinned) == each.paynet_order_id]
        order = found[0] if len(found) == 1 else None
        self._see(RequestKind.STATUS, fields["client_orderid"], order, at)
        if order is not None:
            reply = report(order, at, site=self.site)
        elif found:
            reply = refusal("error", _INTERNAL_ERROR, "client_orderid is not unique", fields)
        else:
            reply = refusal("error", _ORDER_NOT_FOUND, "Order not found", fields)
        if pinned:
            reply["by-request-sn"] = pinned
        return reply

    def _find(self, login: str, client_orderid: str, wanted: str | None) -> list[Order]:
        """Find the orders of a client_orderid, or the one of them that orderid names."""
        ids = self._ids.get((login, client_orderid), [])
        return [self.orders[each] for each in ids if not wanted or each == wanted]

    def _see(self, kind: RequestKind, client_orderid: str, order: Order | None, at: float) -> None:
        found = order.paynet_order_id if order else None
        self.requests.append(RequestSeen(kind, client_orderid, found, at))

    def _take_pay(self, kind: RequestKind, order: Order, at: float) -> None:
        """Begin to pay: the first time also plan the end, or ask the receiver."""
        is_first = not order.pays
        order = attrs.evolve(order, pays=(*order.pays, at))
        if is_first and order.awaits_receiver:
            token = self.make_token() if self.make_token else f"form-{order.paynet_order_id}"
            order = attrs.evolve(order, token=token)
            self._tokens[token] = order.paynet_order_id
        self.orders[order.paynet_order_id] = order
        if not order.awaits_receiver:
            self._spend(kind, order, at)
        if is_first:
            self._plan(order, order.ends_at, "payout")

    def _spend(self, kind: RequestKind, order: Order, at: float) -> None:
        """Let the money leave, unless this payout is one that ends without it."""
        if order.moves_money:
            ids = order.paynet_order_id, order.client_orderid
            self.ledger.append(LedgerEntry(*ids, order.paid_amount, order.currency, at, kind))

    def _plan(self, order: Order, at: float | None, transaction: TransactionType) -> None:
        """Plan a callback, if there is an instant for it and somebody who wants it."""
        if at is None or math.isinf(at) or order.server_callback_url is None:
            return
        self._planned += 1
        notice = Notice(at, self._planned, order.paynet_order_id, transaction)
        heapq.heappush(self._notices, notice)
        if self._notices[0] is notice:
            self.on_notice()


def _demand(fields: _Fields, login: str, *names: str) -> None:
    """Refuse a request that lacks a parameter or whose login is not its sender's."""
    problems = [Problem(name, "is missing") for name in ("login", *names) if not fields.get(name)]
    if fields.get("login", login) not in (login, ""):
        problems.append(Problem("login", "must be the login that signs the request"))
    if problems:
        raise InvalidInput(tuple(problems))
