"""The real client over the real HTTP library, with a network in memory under both."""

import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final, Literal

import httpcore
import httpx
from httpcore._async import http11
from rsa_keys import private_key

from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import SendAnswer, StatusAnswer
from billblend_async.gateway.client import After, Client
from billblend_async.gateway.credentials import Credentials, RsaSigner
from billblend_async.gateway.exchange import BeforeSend
from billblend_async.gateway.httpx_transport import Connections
from billblend_async.gateway.wire import RequestKind

from .carriers import Unruly
from .coverage import KEPT_FAULTS, WIRE_FAULTS
from .fate import Fate
from .frontdoor import CONTROL, ENDPOINT, LOGIN, STEPS, FrontDoor
from .loop import Mortal, SeededLoop
from .network import TRIP, Network, Trip
from .sending import Send

__all__ = ["WireClient", "connected", "virtual_clock"]

_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used over http; made once, since reading the certificate authorities takes long."""


class WireClient(Client):
    """The real client; all that it adds is to mark which exchange the bytes belong to.

    Args:
        network: What it sends over.
        door: The gateway's front door, where what it is about to do is looked at.
        whose: The program that it belongs to.
        name: Makes its nonces its own.
        wall_clock: The program's time of day.
        has_control: Whether it asks for a status as v2.
        max_sends: Connections for what may move money.
        carrier: What the host's own transport does by itself; None for none of its own.
    """

    def __init__(
        self,
        network: Network,
        door: FrontDoor,
        whose: Mortal,
        *,
        name: str,
        wall_clock: Callable[[], float],
        has_control: bool,
        max_sends: int,
        carrier: str | None,
    ) -> None:
        self._carrier = carrier
        # What a host makes it closes itself, see ``connected``.
        self.made = [Connections(_TLS, keep_alive=kept) for kept in (False, True) if carrier]
        nonces = (hashlib.sha256(f"{name}/{n}".encode()).hexdigest() for n in range(10**9))
        super().__init__(
            Credentials(
                LOGIN,
                RsaSigner(private_key(2048)),
                merchant_control=CONTROL if has_control else None,
            ),
            endpoint_id=ENDPOINT.endpoint_id,
            base_url=ENDPOINT.base_url,
            transport=Unruly(self.made[0], carrier, network.fate) if carrier else None,
            poll_transport=self.made[1] if carrier else None,
            ssl_context=_TLS,
            max_sends=max_sends,
            nonce=lambda: next(nonces),
            wall_clock=wall_clock,
        )
        self._fate = network.fate
        self._door = door
        self._whose = whose
        # The transports and pools are those that the client makes for itself, since only httpx's
        # own type is trusted to tell of the first byte. The pool's backend is where real sockets
        # begin, and httpx has no argument for it.
        self.pools: list[httpcore.AsyncConnectionPool] = []
        for connections in (*self.made, *self._lanes._made):
            if isinstance(connections, Connections):
                connections._connect = partial(self._connect, network, connections._connect)  # type: ignore[method-assign]  # mypy has no other way

    def _connect(
        self, network: Network, connect: Callable[[], httpx.AsyncHTTPTransport]
    ) -> httpx.AsyncHTTPTransport:
        transport = connect()
        pool = transport._pool
        pool._network_backend = network
        self.pools.append(pool)
        return transport

    async def check(
        self,
        request: PayoutRequest,
        *,
        before_send: BeforeSend | None = None,
        after: After | None = None,
    ) -> SendAnswer:
        """Send payout-check."""
        with self._travels(self._making(RequestKind.CHECK, request)):
            return await super().check(request, before_send=before_send, after=after)

    async def payout(
        self,
        request: PayoutRequest,
        *,
        before_send: BeforeSend | None = None,
        after: After | None = None,
    ) -> SendAnswer:
        """Send the one-step payout."""
        with self._travels(self._making(RequestKind.PAYOUT, request)):
            return await super().payout(request, before_send=before_send, after=after)

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
        with self._travels(send):
            return await super().pay(
                client_orderid, paynet_order_id, before_send=before_send, after=after
            )

    async def status(
        self,
        client_orderid: str,
        paynet_order_id: str | None = None,
        *,
        by_request_sn: str | None = None,
        on_leave: Callable[[], None] | None = None,
    ) -> StatusAnswer:
        """Ask for the status."""
        self._door.sees_calling(client_orderid, self._whose, is_send=False)
        with self._travels("status"):
            return await super().status(client_orderid, paynet_order_id, on_leave=on_leave)

    async def probe(self) -> StatusAnswer:
        """Ask about an order that nobody has made."""
        with self._travels("probe"):
            return await super().probe()

    def _making(self, kind: RequestKind, request: PayoutRequest) -> Send:
        return Send(
            kind=kind,
            client_orderid=request.client_orderid,
            amount=request.amount,
            currency=request.currency,
            whose=self._whose,
        )

    @contextlib.contextmanager
    def _travels(self, what: Send | Literal["status", "probe"]) -> Iterator[None]:
        """Mark what runs within: the lane's tasks inherit the mark."""
        send = what if isinstance(what, Send) else None
        if send is not None:
            self._door.sees_calling(send.client_orderid, self._whose, is_send=True)
        step = what if isinstance(what, str) else STEPS[what.kind]
        faults = WIRE_FAULTS if step != "status" else (*WIRE_FAULTS, *KEPT_FAULTS)
        fault = self._fate.pick(step, faults, counts=False)
        is_given_up = send is not None and self._carrier == "gives-up"
        token = TRIP.set(Trip(step=step, fault=fault, send=send, is_given_up=is_given_up))
        try:
            yield
        finally:
            TRIP.reset(token)


@contextlib.asynccontextmanager
async def connected(
    loop: SeededLoop, fate: Fate, door: FrontDoor, whose: Mortal, **options: Any
) -> AsyncIterator[tuple[WireClient, Network]]:
    """Open a client on a network of its own."""
    network = Network(loop, fate, door)
    async with WireClient(network, door, whose, **options) as client:
        try:
            yield client, network
        finally:
            await client.drain()
            for connections in client.made:
                await connections.aclose()


class _VirtualClock:
    """The part of the module ``time`` that httpcore reads, in virtual time."""

    def __init__(self, loop: SeededLoop) -> None:
        self.monotonic = loop.time


@contextlib.contextmanager
def virtual_clock(loop: SeededLoop) -> Iterator[None]:
    """Let httpcore read the loop's clock: it asks the machine's how old a kept connection is."""
    module: Any = http11
    clock, module.time = module.time, _VirtualClock(loop)
    try:
        yield
    finally:
        module.time = clock
