"""The adversarial gateway: not idempotent, slow, forgetful and lying, with a ledger that is true.

What it may do that hurts:

- A second check makes a second order, a second pay pays again, whatever the order's status is.
- A request whose answer was lost may take effect up to ``LATEST`` seconds later. For a check that
  is longer than the thirty seconds after which the library may check again, on purpose: then two
  orders exist, and what makes that safe is that only the one in the journal is ever paid.
- A request that is delivered twice takes effect and is refused all the same: "already exists", or
  a nonce that was used.
- Orders of another amount or currency than was asked for.
- Status answers may be stale, contradict each other, deny an order that exists, be about another
  order, or name nothing.

What it never does, since no client could be safe then: it never denies a one-step payout that it
has refused although a copy of it was paid, and it never acknowledges with another order's id.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import Context, copy_context
from decimal import Decimal
from typing import Final

from billblend_async.gateway.wire import RequestKind

from .fate import Fate
from .loop import WHOSE, Mortal, SeededLoop
from .orders import BAD_LINK, FINAL_WORDS, LINKS, Order, Standing
from .sending import LOST, UNANSWERED, Reply, Send, Witness

__all__ = ["LATEST", "Gateway"]

LATEST: Final = 900.0
"""Seconds after which a request that has not taken effect never will."""
_UNKNOWN_MERCHANT: Final = "4"
_NOT_FOUND: Final = {"type": "error", "error-code": "101", "error-message": "Order not found"}


class Gateway:
    """The gateway's memory, and the network before it.

    Attributes:
        orders: Every order by its id.
        pending: The requests that may still take effect, by client_orderid.
        context: The world's, in which nothing belongs to a program.
        paid: How often each client_orderid was paid: the truth.
        not_found: When definite not-found answers were given, by client_orderid.
        refused: The sends whose refusal was delivered.
        last_effect_at: When the last request that is under way takes effect.
    """

    def __init__(self, loop: SeededLoop, fate: Fate) -> None:
        self._loop = loop
        self._fate = fate
        self._witness: Witness | None = None
        self._next_number = 6982864
        self.context = _world()
        self.orders: dict[str, Order] = {}
        self.pending: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.not_found: dict[str, list[float]] = {}
        self.refused: list[Send] = []
        self.last_effect_at = 0.0
        self._announce: Callable[[Order], None] | None = None

    @property
    def now(self) -> float:
        """The instant."""
        return self._loop.now

    def watch_by(self, witness: Witness) -> None:
        """Let somebody look at everything that takes effect."""
        self._witness = witness

    def announce_by(self, announce: Callable[[Order], None]) -> None:
        """Let somebody hear of every order whose end has come into sight."""
        self._announce = announce

    def of(self, client_orderid: str) -> list[Order]:
        """List the orders of a client_orderid."""
        return [o for o in self.orders.values() if o.client_orderid == client_orderid]

    def may_pay(self, client_orderid: str) -> bool:
        """Tell whether it was paid, or may be by what is under way."""
        return bool(self.paid[client_orderid] or self.pending[client_orderid])

    def send(self, send: Send) -> asyncio.Future[Reply]:
        """Take a request's first byte; from here on its sender has no say."""
        self.see_leaving(send)
        return self.take(send)

    def see_leaving(self, send: Send) -> None:
        """Let the witness look at a request whose first byte leaves."""
        if self._witness is not None:
            self._witness.sees_leaving(send)

    def see_calling(self, client_orderid: str, whose: Mortal, *, is_send: bool) -> None:
        """Let the witness look at a program that calls upon its client."""
        if self._witness is not None:
            self._witness.sees_calling(client_orderid, whose, is_send=is_send)

    def take(self, send: Send) -> asyncio.Future[Reply]:
        """Take a whole request, of which every byte has left."""
        fate, answer = self._fate, self._loop.create_future()
        arrives, replies = fate.between(0.01, 0.4), fate.between(0.01, 0.4)
        fault = send.fault
        self._fate.note(self._loop.now, f"{send.kind} {send.client_orderid} leaves: {fault}")
        if fault == "late":
            arrives = fate.one_of((5.0, 40.0, 200.0, LATEST)) * fate.between(0.1, 1.0)
        if fault == "slow":  # it waits before it takes effect, or its answer waits
            waits = fate.between(5.0, 80.0)
            arrives, replies = fate.one_of(((arrives + waits, replies), (arrives, replies + waits)))
        lost = LOST.get(fault or "")
        if lost is not None:
            self.later(fate.between(0.1, 90.0), _settle, answer, lost)
        if fault in ("lost-before", "denied"):
            return answer
        if fault in ("refused", "turned-away"):
            code = "8" if fault == "refused" else _UNKNOWN_MERCHANT
            refusal = {"type": "validation-error", "error-code": code, "error-message": "no"}
            late = fate.one_of((0.0, 0.0, 85.0)) * fate.between(0.4, 1.0)
            self.later(arrives + replies + late, self._refuse, answer, send, refusal)
            return answer
        if fault == "lying-refusal":
            # Delivered twice: one copy acts, and the other is refused, as a duplicate or its nonce.
            code = "9" if send.kind is RequestKind.PAY else fate.one_of(("9", _UNKNOWN_MERCHANT))
            refusal = {"type": "validation-error", "error-code": code, "error-message": "no"}
            self.later(fate.between(0.1, 9.0), self._refuse, answer, send, refusal)
        self.pending[send.client_orderid] += 1
        self.last_effect_at = max(self.last_effect_at, self._loop.now + arrives)
        self.later(arrives, self._act, send, answer, replies)
        return answer

    def ask(
        self, client_orderid: str, number: str | None, fault: str | None
    ) -> asyncio.Future[Reply]:
        """Take a status request."""
        fate, answer = self._fate, self._loop.create_future()
        lost = UNANSWERED.get(fault or "")
        if lost is not None:
            self.later(fate.between(0.1, 30.0), _settle, answer, fate.one_of(lost))
            return answer
        replies = fate.between(1.0, 29.0) if fault == "slow-status" else fate.between(0.01, 0.3)
        self.later(
            fate.between(0.01, 0.3), self._tell, client_orderid, number, fault, answer, replies
        )
        return answer

    def plant_foreign(self, client_orderid: str, amount: Decimal, currency: str) -> None:
        """Let another system of the merchant make an order under our client_orderid."""
        order = self._make(client_orderid, amount, currency)
        order.is_foreign = True

    def calm_down(self) -> None:
        """End what only lasts while things go wrong: receivers fill in their forms."""
        for order in self.orders.values():
            if order.links and order.paid_at is not None:
                order.links_until = min(order.links_until, self._loop.now - order.paid_at)
            order.lie = None
            self._tell_of(order)

    def _tell_of(self, order: Order) -> None:
        if self._announce is not None:
            self._announce(order)

    def later(self, seconds: float, callback: object, *args: object) -> None:
        """Let something of the world happen later, whoever dies meanwhile."""
        self._loop.call_later(seconds, callback, *args, context=self.context)  # type: ignore[arg-type] # a callable

    def _refuse(self, answer: asyncio.Future[Reply], send: Send, fields: Reply) -> None:
        self.refused.append(send)
        _settle(answer, fields)

    def _act(self, send: Send, answer: asyncio.Future[Reply], replies: float) -> None:
        """Let a request take effect and answer it, if nothing else was answered before."""
        self.pending[send.client_orderid] -= 1
        if send.is_lost:
            return
        if send.kind is RequestKind.PAY:
            fields = self._pay(send)
        else:
            assert send.amount is not None
            order = self._make(send.client_orderid, send.amount, send.currency)
            order.is_certain = send.fault == "lying-refusal"
            if send.kind is RequestKind.CHECK and self._has("misread"):
                order.is_misread = True
                order.amount += _misreading(self._fate)
            fields = _acknowledge(order)
            if send.kind is RequestKind.PAYOUT:
                self._spend(order, send)
        self._fate.note(self._loop.now, f"{send.kind} {send.client_orderid} acts: {fields}")
        if send.fault == "lying-refusal" and send.kind is not RequestKind.PAY:
            return  # the answer to this copy is lost
        if send.fault == "nameless-error":
            fields = {"type": "error", "error-code": "102", "error-message": "internal"}
        elif send.fault == "misnamed":
            fields = {**fields, "merchant-order-id": "po-of-another"}
        self.later(replies, _settle, answer, fields)

    def _make(self, client_orderid: str, amount: Decimal, currency: str) -> Order:
        fate = self._fate
        order = Order(
            number=str(self._next_number),
            client_orderid=client_orderid,
            amount=amount,
            currency=currency,
            made_at=self._loop.now,
            validation=fate.between(0.5, 6.0),
            processing=fate.between(0.5, 6.0),
        )
        self._next_number += 1
        self.orders[order.number] = order
        for trait in ("declined", "filtered", "error"):
            if self._has(trait):
                order.ending = trait
        if self._has("ends-at-check"):
            order.ends_at_check = fate.one_of(("declined", "filtered", "error"))
        if self._has("slow-bank"):
            order.validation = fate.between(30.0, 300.0)
            order.processing = fate.between(30.0, 300.0)
        if self._has("paid-by-others"):
            order.others_pay_at = order.made_at + order.validation + fate.between(0.0, 12.0)
        if self._has("redirect"):
            order.links, order.links_until = LINKS[:1], fate.between(2.0, 100.0)
        if self._has("redirect-again"):
            order.links, order.links_until = LINKS, fate.between(10.0, 100.0)
        if self._has("bad-redirect"):
            order.links, order.links_until = (BAD_LINK, LINKS[0]), fate.between(10.0, 100.0)
        if self._has("contradicts"):
            order.lie = fate.one_of(sorted(FINAL_WORDS))
        if self._has("wavering-word"):
            order.wavering = fate.one_of(("unknown", "chain_declined", "settling", "Processing"))
        for kind in ("reversal", "chargeback"):
            if self._has(kind):
                order.later, order.later_word = kind, fate.one_of(("approved", "declined"))
                order.later_after = fate.one_of((1.0, 60.0, 3000.0)) * fate.between(0.0, 1.0)
        self._tell_of(order)
        return order

    def _has(self, trait: str) -> bool:
        if not self._fate.strikes(trait):
            return False
        self._fate.hit("order", trait)
        return True

    def _pay(self, send: Send) -> dict[str, str]:
        order = self.orders.get(send.number or "")
        if order is None or order.client_orderid != send.client_orderid:
            return dict(_NOT_FOUND)
        if not order.can_be_paid(self._loop.now):
            refusal = {"type": "error", "error-code": "106", "error-message": "wrong state"}
            return {**refusal, "paynet-order-id": order.number}
        self._spend(order, send)
        return _acknowledge(order)

    def _spend(self, order: Order, send: Send) -> None:
        order.pays += 1
        if order.paid_at is None:
            order.paid_at = self._loop.now
            if order.ending != "approved":
                order.later = None
            self._tell_of(order)
        self.paid[order.client_orderid] += 1
        if self._witness is not None:
            self._witness.sees_paid(order, send)

    def _tell(
        self,
        client_orderid: str,
        number: str | None,
        fault: str | None,
        answer: asyncio.Future[Reply],
        replies: float,
    ) -> None:
        """Answer a status request from what is known now, or was a while ago."""
        fate = self._fate
        at = self._loop.now - (fate.between(1.0, 60.0) if fault == "stale" else 0.0)
        found = [
            o for o in self.of(client_orderid) if o.made_at <= at and number in (None, o.number)
        ]
        if fault == "denies-order":
            found = []
        if fault in ("misnamed-status", "nameless-status"):
            found = [fate.one_of(list(self.orders.values()))] if self.orders else []
        if len(found) > 1 and fate.strikes("any-of-several"):
            found = [fate.one_of(found)]
        if not found and (certain := [o for o in self.of(client_orderid) if o.is_certain]):
            found, at = certain, self._loop.now
        if not found:
            fields: dict[str, str] = dict(_NOT_FOUND)
            self.later(replies, self._deny, client_orderid, number, answer, fields)
        elif len(found) > 1:
            fields = {"type": "error", "error-code": "102", "error-message": "not unique"}
            self.later(replies, _settle, answer, fields)
        else:
            fields = self._report(found[0], client_orderid, at, fault)
            self.later(replies, _settle, answer, fields)
        fate.note(self._loop.now, f"status {client_orderid} {number}: {fault} {fields}")

    def _deny(
        self, client_orderid: str, number: str | None, answer: asyncio.Future[Reply], fields: Reply
    ) -> None:
        if number is None:
            self.not_found.setdefault(client_orderid, []).append(self._loop.now)
        _settle(answer, fields)

    def _report(
        self, order: Order, client_orderid: str, at: float, fault: str | None
    ) -> dict[str, str]:
        standing = order.standing(at)
        if order.lie is not None and not self._fate.is_quiet and self._fate.random.random() < 0.1:
            standing = Standing(order.lie, "payout_" + order.lie)
        word, kind, later_at = standing.word, "payout", order.later_at()
        if order.later is not None and later_at is not None and at >= later_at:
            word, kind = order.later_word, order.later
            standing = Standing(word, f"{kind}_{word}")
        if fault == "odd-word" and word not in FINAL_WORDS:
            word = self._fate.one_of(("settling", "approved?", "final", "paid"))
        if kind != "payout":
            order.has_told_later = True
        elif word in FINAL_WORDS and order.client_orderid == client_orderid:
            order.told.add(word)
        fields = {
            "type": "status-response",
            "status": word,
            "order-stage": standing.stage,
            "transaction-type": kind,
            "merchant-order-id": order.client_orderid,
            "paynet-order-id": order.number,
            "amount": str(order.amount),
            "initial-amount": str(order.amount),
            "currency": order.currency,
        }
        if standing.link is not None:
            fields["redirect-to"] = standing.link
        if fault == "no-order-id":
            del fields["paynet-order-id"]
        elif fault == "nameless-status":
            del fields["paynet-order-id"], fields["merchant-order-id"]
        elif fault == "no-amount" and not order.is_misread:
            for name in ("amount", "initial-amount", "currency"):
                del fields[name]
        elif fault == "other-amount":
            fields["amount"] = str(order.amount + 1)
        return fields


def _misreading(fate: Fate) -> Decimal:
    """Draw by how much an order's amount is misread."""
    return fate.one_of((Decimal(1), Decimal("0.01"), Decimal(1000)))


def _world() -> Context:
    context = copy_context()
    context.run(WHOSE.set, None)
    return context


def _settle(answer: asyncio.Future[Reply], reply: Reply) -> None:
    if not answer.done():
        answer.set_result(reply)


def _acknowledge(order: Order) -> dict[str, str]:
    return {
        "type": "async-response",
        "merchant-order-id": order.client_orderid,
        "paynet-order-id": order.number,
    }
