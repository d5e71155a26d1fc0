"""The gateway's front door: it reads requests, verifies them, and lets the model answer as bytes.

What goes wrong here goes wrong with bytes: between the model's answer and the client's stream.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from rsa_keys import private_key

from billblend_async.core.models import Endpoint
from billblend_async.gateway.signing import body_parameters, control_matches, verify_authorization
from billblend_async.gateway.wire import RequestKind, status_control_parts
from billblend_async.sandbox.wire import read_form, read_payout, read_url_path

from .answering import Answer, pages, write_fields
from .coverage import PROBE_FAULTS, SEND_FAULTS, STATUS_FAULTS
from .fate import Fate
from .gateway import Gateway
from .invariants import Invariants
from .loop import Mortal
from .network import End, Request, Stream, Trip
from .sending import Lost, Reply, Send

__all__ = ["CONTROL", "ENDPOINT", "LOGIN", "STEPS", "FrontDoor"]

LOGIN: Final = "simulated"
CONTROL: Final = "AF4B6DEE-3468-424C-A922-C1DAD7CB4509"
ENDPOINT: Final = Endpoint(base_url="http://127.0.0.1/checkout", endpoint_id=39915)
STEPS: Final = {RequestKind.CHECK: "check", RequestKind.PAY: "pay", RequestKind.PAYOUT: "payout"}
_ANSWERED: Final = tuple(fault for fault in SEND_FAULTS if fault != "not-sent")
_PAY_FAULTS: Final = (*_ANSWERED, "lying-refusal")
_MAKE_FAULTS: Final = (*_ANSWERED, "turned-away", "lying-refusal")
_ENDS: Final[tuple[End, End, None]] = ("closed", "reset", None)
_MAY_NOT_ACT: Final = ("error-page", "too-many", "moved", "empty", "silence")
"""Faults of something in front of the gateway, which may have passed the request on or not."""


class FrontDoor:
    """Stands before one gateway, for all programs.

    Args:
        gateway: The model.
        fate: What goes wrong.
        invariants: What must hold of every request.
    """

    def __init__(self, gateway: Gateway, fate: Fate, invariants: Invariants) -> None:
        self._gateway = gateway
        self._fate = fate
        self._invariants = invariants
        self._key = private_key(2048).public_key()
        self._nonces: set[str] = set()

    def sees_first_byte(self, trip: Trip) -> None:
        """Look at a request whose first byte leaves."""
        if trip.send is not None:
            self._gateway.see_leaving(trip.send)

    def sees_calling(self, client_orderid: str, whose: Mortal, *, is_send: bool) -> None:
        """Look at a program that calls upon its client."""
        self._gateway.see_calling(client_orderid, whose, is_send=is_send)

    def sees_cut_off(self, trip: Trip) -> None:
        """End the run: an exchange runs to its end, but for a transport that gives it up itself."""
        if not trip.is_given_up:
            self._invariants.fail("an exchange was cut off", trip.step)

    def takes(self, stream: Stream, trip: Trip, request: Request) -> None:
        """Verify a request and hand it to the gateway, or lose it before."""
        form, fate, fault = self._verify(trip, request), self._fate, trip.fault
        if trip.send is not None:
            self._invariants.sees_whole(trip.send, trip.stood)
            if trip.stood:
                fate.hit("freeze", "sent-late")
        is_lost = fault == "reset-unacted" or (fault in _MAY_NOT_ACT and fate.random.random() < 0.5)
        if is_lost:
            fields = {"type": "error", "error-code": "102", "error-message": "internal"}
            self._later(fate.between(0.1, 5.0), partial(self._answer, stream, trip, fields))
            return
        answer: asyncio.Future[Reply]
        if trip.send is None:
            # The answer's own faults are those of the level above; bytes fail less often then.
            faults: tuple[str, ...] = PROBE_FAULTS if trip.step == "probe" else STATUS_FAULTS
            struck = None if fault else fate.pick(trip.step, faults)
            answer = self._gateway.ask(form["client_orderid"], form.get("orderid"), struck)
        else:
            faults = _PAY_FAULTS if trip.send.kind is RequestKind.PAY else _MAKE_FAULTS
            trip.send.fault = None if fault else fate.pick(trip.step, faults)
            stream.under_way = trip.send
            answer = self._gateway.take(trip.send)
        answer.add_done_callback(
            lambda told: self._answer(stream, trip, told.result()), context=self._gateway.context
        )

    def _verify(self, trip: Trip, request: Request) -> dict[str, str]:
        """Verify path, signature or control, and that the request is what its caller meant."""
        demand, step = self._invariants.demand, trip.step
        demand(request.method == "POST", "a request that is no POST", step)
        place = read_url_path(request.target.removeprefix("/checkout"))
        assert place is not None
        version, kind, endpoint = place
        demand(endpoint.endpoint_id == ENDPOINT.endpoint_id, "another endpoint", step)
        form = read_form(request.body)
        if version == 4:
            oauth = verify_authorization(
                request.headers["authorization"],
                request.method,
                f"http://127.0.0.1{request.target}",
                body_parameters(request.body),
                public_key=self._key,
            )
            demand(oauth["oauth_consumer_key"] == LOGIN, "another login", step)
            demand(oauth["oauth_nonce"] not in self._nonces, "a nonce that was used", step)
            self._nonces.add(oauth["oauth_nonce"])
        else:
            parts = status_control_parts(LOGIN, form["client_orderid"], form.get("orderid"))
            is_right = control_matches(form["control"], *filter(None, parts), CONTROL)
            demand(is_right, "a wrong control", step)
        send = trip.send
        if send is None:
            demand(kind is RequestKind.STATUS, "a question that is none", step)
            return form
        demand(request.headers.get("connection") == "close", "sent on a kept connection", step)
        says = Send(kind=kind, client_orderid=form["client_orderid"], number=form.get("orderid"))
        if kind is not RequestKind.PAY:
            payout = read_payout(form)
            says.amount, says.currency = payout.amount, payout.currency
        for name in ("kind", "client_orderid", "number", "amount", "currency"):
            demand(getattr(says, name) == getattr(send, name), f"sends another {name}", step)
        return form

    def _later(self, seconds: float, happens: Callable[[], None]) -> None:
        self._gateway.later(seconds, happens)

    def _answer(self, stream: Stream, trip: Trip, reply: Reply) -> None:
        """Turn the model's answer into bytes, and let what is wrong with them happen."""
        fate, fault = self._fate, trip.fault
        stream.under_way = None
        if isinstance(reply, Lost):
            self._lose(stream, reply)
            return
        if fault is not None:
            fate.note(self._gateway.now, f"{trip.step} on the wire: {fault}")
        if fault == "mixed-up":
            reply = self._of_another(trip, reply)
        answer = write_fields(reply, fate)
        if fault is not None:
            answer = pages(fault, answer, fate)
        octets, head = answer.write(fate)
        waits = 0.0
        match fault:
            case "silence":
                fate.hit(trip.step, fault)
                return
            case "reset-unacted" | "reset-acted":
                fate.hit(trip.step, fault)
                stream.end(fate.one_of(_ENDS[:2]))
                return
            case "cut-answer":
                octets = octets[: fate.random.randrange(len(octets))]
            case "cut-undelimited":
                octets = octets[: self._last_byte(head, len(octets))]
            case "garbled-bytes":
                octets = self._garble(octets)
            case "held-back":
                waits = fate.between(5.0, 85.0)
        if fault in _AT_THE_ANSWER:
            fate.hit(trip.step, fault)
        ends = (
            trip.send is not None
            or trip.step == "probe"
            or answer.framing == "close"
            or fault in ("cut-answer", "garbled-bytes")
        )
        gap = fate.one_of((0.5, 5.0, 20.0)) if fault == "trickle" else 0.0
        if fault == "interim":
            octets = b"HTTP/1.1 100 Continue\r\n\r\n" + octets
        self._later(waits, partial(self._pour, stream, octets, gap, ends=ends))

    def _last_byte(self, head: int, length: int) -> int:
        """Choose where a body is cut, mostly near its end, where what is left reads well."""
        latest = length - 1
        if self._fate.random.random() < 0.7:
            return max(head + 1, latest - self._fate.random.randrange(8))
        return self._fate.random.randint(head + 1, latest)

    def _pour(self, stream: Stream, octets: bytes, gap: float, *, ends: bool) -> None:
        """Let an answer arrive piece by piece; then the connection closes or waits for more."""
        fate = self._fate
        if octets:
            much = 1 if gap else fate.random.randint(1, len(octets))
            stream.arrive(octets[:much])
            waits = gap or fate.between(0.001, 0.05)
            self._later(waits, partial(self._pour, stream, octets[much:], gap, ends=ends))
            return
        stream.answers += 1
        if ends:
            stream.end("closed")
        else:
            self._later(fate.between(0.2, 4.0), partial(self._tire, stream, stream.requests))

    def _tire(self, stream: Stream, requests: int) -> None:
        """Close a connection that nobody has used meanwhile."""
        if stream.requests == requests:
            stream.end("closed")

    def _lose(self, stream: Stream, lost: Lost) -> None:
        """Let what is no answer come as a page, as bytes that mean nothing, or as silence."""
        fate = self._fate
        if lost.http_status is not None:
            page = Answer(status=lost.http_status, body=b"<html>no</html>")
            self._pour(stream, page.write(fate)[0], 0.0, ends=True)
        elif "read" in lost.reason:
            octets, _ = Answer(body=b"type=async-response").write(fate)
            self._pour(stream, self._garble(octets), 0.0, ends=True)
        else:
            how: End | None = fate.one_of(_ENDS)
            if how is not None:
                stream.end(how)

    def _garble(self, octets: bytes) -> bytes:
        """Replace bytes by such as stand in no answer, so that it cannot become another answer."""
        fate, garbled = self._fate, bytearray(octets)
        for _ in range(fate.random.randint(1, 4)):
            garbled[fate.random.randrange(len(garbled))] = fate.random.randrange(0x80, 0x100)
        return bytes(garbled)

    def _of_another(self, trip: Trip, reply: Mapping[str, str]) -> Mapping[str, str]:
        """Answer what another request was meant to hear."""
        ours = reply.get("merchant-order-id") or (trip.send and trip.send.client_orderid)
        others = [o for o in self._gateway.orders.values() if o.client_orderid != ours]
        named, number = "po-of-another", "1"
        if others:
            other = self._fate.one_of(others)
            named, number = other.client_orderid, other.number
        kind = "async-response" if trip.send is not None else "status-response"
        told = {"type": kind, "merchant-order-id": named, "paynet-order-id": number}
        return told if trip.send is not None else {**told, "status": "approved"}


_AT_THE_ANSWER: Final = frozenset(
    (
        "cut-answer",
        "cut-undelimited",
        "undelimited",
        "garbled-bytes",
        "error-page",
        "too-many",
        "moved",
        "oversized",
        "compressed",
        "trickle",
        "twice",
        "empty",
        "mixed-up",
        "held-back",
        "interim",
    )
)
