"""A client at the level of the gateway's answers, whose network fails as the seed says.

Each exchange runs in the real client's lane, in a task of its own that a cancelled caller leaves
whole. The rest keeps the promises of the real one: ``before_send`` is awaited when the connection
is open, and what it raises is raised here with nothing sent; ``after`` is awaited with the answer
whatever became of the caller. NotSent is answered only before ``before_send``: once that has
returned, the real transport counts the request as having left (see ``Departure.leave``), so no
failure after it proves anything.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from billblend_async.core.models import Endpoint
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import (
    Callback,
    NoAnswer,
    NotSent,
    SendAnswer,
    StatusAnswer,
    Unknown,
)
from billblend_async.gateway.callbacks import verify_callback
from billblend_async.gateway.exchange import Lane, Timeouts
from billblend_async.gateway.httpx_transport import AsyncTransport, HttpxSender
from billblend_async.gateway.wire import RequestKind, read_send_answer, read_status_answer

from .coverage import PROBE_FAULTS, SEND_FAULTS, STATUS_FAULTS
from .fate import Fate
from .gateway import Gateway
from .loop import Mortal
from .sending import Lost, Send

__all__ = ["SimulatedClient"]

T = TypeVar("T")
BeforeSend = Callable[[], Awaitable[None]]
After = Callable[[SendAnswer], Awaitable[None]]

_STEPS = {RequestKind.CHECK: "check", RequestKind.PAY: "pay", RequestKind.PAYOUT: "payout"}
_PAY_FAULTS = (*SEND_FAULTS, "lying-refusal")
_MAKE_FAULTS = (*SEND_FAULTS, "turned-away", "lying-refusal")

MERCHANT_CONTROL = "AF4B5DE6-3468-424C-A922-C1DAD7CB4509"


class SimulatedClient:
    """A client of the adversarial gateway; see ``orchestrator.context.PayoutGateway``.

    Args:
        gateway: The gateway.
        fate: What goes wrong.
        whose: The program that it belongs to.
    """

    def __init__(self, gateway: Gateway, fate: Fate, whose: Mortal) -> None:
        self.endpoint = Endpoint(base_url="http://127.0.0.1/checkout", endpoint_id=39915)
        self.login = "simulated"
        self.max_sends = 32
        self._gateway = gateway
        self._fate = fate
        self._whose = whose
        # The transport is never called: what would travel over it goes to the gateway's model.
        nothing = AsyncTransport()
        self._lanes = [
            Lane(HttpxSender(nothing, connections, headers={}, timeouts=Timeouts(), read=90.0))
            for connections in (self.max_sends, 64)
        ]

    async def check(
        self,
        request: PayoutRequest,
        *,
        before_send: BeforeSend | None = None,
        after: After | None = None,
    ) -> SendAnswer:
        """Send payout-check."""
        return await self._make(RequestKind.CHECK, request, before_send, after)

    async def payout(
        self,
        request: PayoutRequest,
        *,
        before_send: BeforeSend | None = None,
        after: After | None = None,
    ) -> SendAnswer:
        """Send the one-step payout."""
        return await self._make(RequestKind.PAYOUT, request, before_send, after)

    async def pay(
        self,
        client_orderid: str,
        paynet_order_id: str,
        *,
        before_send: BeforeSend | None = None,
        after: After | None = None,
    ) -> SendAnswer:
        """Send payout-pay."""
        send = Send(
            kind=RequestKind.PAY,
            client_orderid=client_orderid,
            number=paynet_order_id,
            whose=self._whose,
        )
        self._gateway.see_calling(client_orderid, self._whose, is_send=True)
        return await self._alone(partial(self._exchange, send, before_send, after))

    async def status(
        self,
        client_orderid: str,
        paynet_order_id: str | None = None,
        *,
        on_leave: Callable[[], None] | None = None,
    ) -> StatusAnswer:
        """Ask for the status."""
        self._gateway.see_calling(client_orderid, self._whose, is_send=False)

        async def exchange() -> StatusAnswer:
            fault = self._fate.pick("status", STATUS_FAULTS)
            reply = await self._gateway.ask(client_orderid, paynet_order_id, fault)
            if isinstance(reply, Lost):
                return NoAnswer(reply.reason, reply.http_status)
            return read_status_answer(
                reply, client_orderid=client_orderid, paynet_order_id=paynet_order_id
            )

        return await self._alone(exchange, is_send=False)

    async def probe(self) -> StatusAnswer:
        """Ask about an order that nobody has made."""

        async def exchange() -> StatusAnswer:
            fault = self._fate.pick("probe", PROBE_FAULTS)
            reply = await self._gateway.ask("probe", None, fault)
            if isinstance(reply, Lost):
                return NoAnswer(reply.reason, reply.http_status)
            return read_status_answer(reply, client_orderid="probe")

        return await self._alone(exchange)

    def verify_callback(self, query: str | bytes) -> Callback:
        """Verify a callback as the real client does."""
        return verify_callback(query, [MERCHANT_CONTROL])

    async def drain(self) -> None:
        """Wait for every exchange that is under way."""
        for lane in self._lanes:
            await lane.drain()

    async def _make(
        self,
        kind: RequestKind,
        request: PayoutRequest,
        before_send: BeforeSend | None,
        after: After | None,
    ) -> SendAnswer:
        send = Send(
            kind=kind,
            client_orderid=request.client_orderid,
            amount=request.amount,
            currency=request.currency,
            whose=self._whose,
        )
        self._gateway.see_calling(send.client_orderid, self._whose, is_send=True)
        return await self._alone(partial(self._exchange, send, before_send, after))

    async def _alone(
        self, exchange: Callable[[], Coroutine[Any, Any, T]], *, is_send: bool = True
    ) -> T:
        """Run an exchange in its lane and see to it that nobody cuts it off."""

        async def whole() -> T:
            try:
                return await exchange()
            except asyncio.CancelledError:
                raise AssertionError("an exchange was cancelled") from None

        return await self._lanes[0 if is_send else 1].run(whole)

    async def _exchange(
        self, send: Send, before_send: BeforeSend | None, after: After | None
    ) -> SendAnswer:
        step = _STEPS[send.kind]
        faults = _PAY_FAULTS if send.kind is RequestKind.PAY else _MAKE_FAULTS
        send.fault = self._fate.pick(step, faults)
        await asyncio.sleep(self._fate.between(0.0, 0.2))
        answer: SendAnswer
        if send.fault == "not-sent":
            answer = NotSent("ConnectError")
        else:
            if before_send is not None:
                await before_send()
            await asyncio.sleep(0)  # a place to die at: claimed, and nothing left yet
            reply = await self._gateway.send(send)
            if isinstance(reply, Lost):
                answer = Unknown(reply.reason, reply.http_status)
            else:
                answer = read_send_answer(
                    reply, client_orderid=send.client_orderid, paynet_order_id=send.number
                )
        if after is not None:
            await after(answer)
        return answer
