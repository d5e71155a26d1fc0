"""The gateway's orders: they go on by how often they are asked about, never by time.

So every contestant sends exactly the same requests, however fast or slow it is.
"""

import json
import time
from array import array
from collections import Counter
from typing import Final, Self

import attrs

from .spread import Spread

__all__ = ["WARM_UP", "Book", "Figures", "Terms"]

WARM_UP: Final = "warm-up"
"""What the client_orderid of a payout begins with that is finished at once and not counted."""


@attrs.frozen(kw_only=True)
class Terms:
    """How orders go on.

    Attributes:
        validating: Status questions after check that are answered "not yet".
        processing: Status questions after pay that are answered "not yet".
        is_held: Whether no order is ever validated.
        public_key: The merchant's public key as PEM, to verify every signature; None verifies
            nothing, so that the gateway costs little.
        merchant_control: The secret of the controls that are verified with it.
    """

    validating: int = 2
    processing: int = 3
    is_held: bool = False
    public_key: str | None = None
    merchant_control: str = ""


@attrs.frozen(kw_only=True)
class Figures:
    """What the gateway has seen since it was last reset.

    Attributes:
        requests: How many of each kind, without those of warm-ups.
        orders: How many orders were made.
        asked: How many of them were asked about at least once.
        most_pays: The most pays that one client_orderid got.
        most_unfinished: The most orders that were made and not final at once.
        forged: Requests whose signature or control was not right, where that was verified.
        connections: Connections that carried requests.
        most_connections: The most of them open at once.
        lateness: Of the polls that told when they were due, seconds until they arrived here.
        cpu: CPU seconds of the gateway's process since it began.
    """

    requests: dict[str, int]
    orders: int
    asked: int
    most_pays: int
    most_unfinished: int
    forged: int
    connections: int
    most_connections: int
    lateness: Spread
    cpu: float

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read it."""
        told = json.loads(text)
        return cls(**{**told, "lateness": Spread(**told["lateness"])})


@attrs.define(eq=False)
class _Order:
    """One order, from its check to its last question."""

    client_orderid: bytes
    is_warm_up: bool
    patience: int
    asks: int = 0
    is_paid: bool = False


@attrs.define(eq=False)
class Book:
    """Every order since the last reset, and what was counted.

    Attributes:
        terms: How orders go on.
        forged: Requests that were refused as not the merchant's.
        connections: Connections that carried requests.
        open_connections: Those of them that are open.
        most_connections: The most of them open at once.
    """

    terms: Terms = attrs.field(factory=Terms)
    forged: int = attrs.field(default=0, init=False)
    connections: int = attrs.field(default=0, init=False)
    open_connections: int = attrs.field(default=0, init=False)
    most_connections: int = attrs.field(default=0, init=False)
    _orders: dict[bytes, _Order] = attrs.field(factory=dict, init=False)
    _ids: dict[bytes, bytes] = attrs.field(factory=dict, init=False)
    _requests: Counter[str] = attrs.field(factory=Counter, init=False)
    _pays: Counter[bytes] = attrs.field(factory=Counter, init=False)
    _asked: int = attrs.field(default=0, init=False)
    _unfinished: int = attrs.field(default=0, init=False)
    _most_unfinished: int = attrs.field(default=0, init=False)
    _lateness: "array[float]" = attrs.field(factory=lambda: array("d"), init=False)
    _serial: int = attrs.field(default=0, init=False)

    def check(self, fields: dict[bytes, bytes]) -> bytes:
        """Make an order."""
        name = fields.get(b"client_orderid", b"")
        number = b"%d" % (_FIRST_ORDER + len(self._orders))
        is_warm_up = name.startswith(WARM_UP.encode())
        order = _Order(name, is_warm_up, 0 if is_warm_up else self.terms.validating)
        self._orders[number] = order
        self._ids[name] = number
        if not is_warm_up:
            self._requests["check"] += 1
            self._unfinished += 1
            self._most_unfinished = max(self._most_unfinished, self._unfinished)
        return _ACKNOWLEDGED % (self._next_serial(), name, number)

    def pay(self, fields: dict[bytes, bytes]) -> bytes:
        """Pay an order, also one that was paid before: whoever counts must see it."""
        number = fields.get(b"orderid", b"")
        order = self._orders.get(number)
        if order is None:
            self._requests["pay of an unknown order"] += 1
            return _NOT_FOUND % (self._next_serial(), fields.get(b"client_orderid", b""))
        if not order.is_paid:
            order.patience = order.asks + (0 if order.is_warm_up else self.terms.processing)
        order.is_paid = True
        if not order.is_warm_up:
            self._requests["pay"] += 1
            self._pays[order.client_orderid] += 1
        return _ACKNOWLEDGED % (self._next_serial(), order.client_orderid, number)

    def status(self, fields: dict[bytes, bytes]) -> bytes:
        """Tell where an order stands; each question brings it one step nearer to its end."""
        name = fields.get(b"client_orderid", b"")
        number = fields.get(b"orderid") or self._ids.get(name, b"")
        order = self._orders.get(number)
        if order is None:
            self._requests["probe"] += 1
            return _NOT_FOUND % (self._next_serial(), name)
        order.asks += 1
        if not order.is_warm_up:
            self._requests["status"] += 1
            self._asked += order.asks == 1
        is_over = order.asks > order.patience
        if not order.is_paid:
            is_validated = is_over and (order.is_warm_up or not self.terms.is_held)
            words = _VALIDATED if is_validated else _VALIDATING
        elif is_over:
            words = _APPROVED
            if order.asks == order.patience + 1 and not order.is_warm_up:
                self._unfinished -= 1
        else:
            words = _PROCESSING
        return _REPORT % (self._next_serial(), *words, name, number, number, b"USD")

    def note_due(self, due: bytes) -> None:
        """Take note of a poll that was due at an instant of the machine's monotonic clock."""
        self._lateness.append(time.monotonic() - float(due))

    def mark(self) -> None:
        """Begin a new window of lateness; orders and counts stay."""
        del self._lateness[:]

    def connect(self) -> None:
        """Take note of a connection that carries its first request."""
        self.connections += 1
        self.open_connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)

    def figures(self) -> Figures:
        """Sum up."""
        return Figures(
            requests=dict(self._requests),
            orders=self._requests["check"],
            asked=self._asked,
            most_pays=max(self._pays.values(), default=0),
            most_unfinished=self._most_unfinished,
            forged=self.forged,
            connections=self.connections,
            most_connections=self.most_connections,
            lateness=Spread.of(self._lateness),
            cpu=time.process_time(),
        )

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial


_FIRST_ORDER: Final = 6_982_864

_SERIAL: Final = b"serial-number=00000000-0000-0000-0000-%012x"
_ACKNOWLEDGED: Final = (
    b"type=async-response\n&" + _SERIAL + b"\n&merchant-order-id=%b\n&paynet-order-id=%b"
)
_NOT_FOUND: Final = (
    b"type=error\n&"
    + _SERIAL
    + b"\n&merchant-order-id=%b\n&error-message=Order+not+found\n&error-code=101"
)
_REPORT: Final = (
    b"type=status-response\n&"
    + _SERIAL
    + b"\n&status=%b\n&order-stage=%b\n&merchant-order-id=%b\n&paynet-order-id=%b"
    + b"\n&transaction-type=payout\n&amount=10.42\n&initial-amount=10.42"
    + b"\n&processor-tx-id=PNTEST-%b\n&currency=%b"
)
_VALIDATING: Final = (b"processing", b"payout_check_validating")
_VALIDATED: Final = (b"processing", b"payout_check_validated")
_PROCESSING: Final = (b"processing", b"payout_processing")
_APPROVED: Final = (b"approved", b"payout_approved")
