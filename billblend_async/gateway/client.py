"""The gateway's client: one coroutine for each command.

Each response is sorted into what it proves: Accepted, Refused, NotSent or Unknown. What may move
money goes over fresh connections, questions over kept ones.
"""

import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Final, Literal, Protocol, Self

import attrs

from .. import __version__
from ..core.models import Endpoint
from ..core.request import PayoutRequest
from ..core.responses import (
    Callback,
    NoAnswer,
    NotSent,
    Refused,
    SendAnswer,
    StatusAnswer,
    StatusReport,
    Unknown,
)
from ..errors import ClosedError, ConfigurationError, UnreadableAnswer
from .callbacks import verify_callback
from .credentials import Credentials
from .exchange import Authorizer, BeforeSend, Departure, Failure, Lane, Reply, Sender, Timeouts
from .httpx_transport import (
    AsyncTransport,
    Connections,
    HttpxSender,
    SigningTransport,
    check_transport,
    check_url,
    make_ssl_context,
)
from .signing import control
from .wire import (
    FORM,
    RequestKind,
    build_form,
    build_pay,
    build_payout,
    build_status,
    read_reply,
    read_send_answer,
    read_status_answer,
    status_control_parts,
    url_path,
)

if TYPE_CHECKING:
    from .aiohttp_transport import ExpressSender

__all__ = [
    "After",
    "Client",
    "Lanes",
    "PollTransport",
    "make_lanes",
    "read_fields",
    "sort_send",
]

PollTransport = AsyncTransport | Literal["aiohttp"]
"""What status requests may travel on."""

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": FORM,
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"billblend-async/{__version__}",
}


class _Closable(Protocol):
    async def aclose(self) -> None: ...


@attrs.define(eq=False)
class Lanes:
    """The two lanes, and what was made for them.

    Attributes:
        send: For requests that may move money; signed, each on a connection of its own.
        poll: For status requests.
    """

    send: Lane
    poll: Lane
    _made: list[_Closable] = attrs.field(repr=False)

    @property
    def in_flight(self) -> int:
        """How many exchanges are under way."""
        return len(self.send.in_flight) + len(self.poll.in_flight)

    async def drain(self) -> None:
        """Wait for every exchange that is under way now."""
        await self.send.drain()
        await self.poll.drain()

    async def aclose(self) -> None:
        """Close what was made here, and nothing that was handed in."""
        while self._made:
            await self._made[-1].aclose()
            self._made.pop()


def make_lanes(
    credentials: Credentials,
    *,
    is_signed: bool,
    transport: AsyncTransport | None,
    poll_transport: PollTransport | None,
    ssl_context: ssl.SSLContext | None,
    timeouts: Timeouts,
    max_sends: int,
    max_polls: int,
    nonce: Callable[[], str],
    wall_clock: Callable[[], float],
) -> Lanes:
    """Make the lanes of a client from its arguments; ``is_signed`` are its status requests or not.

    Raises:
        ConfigurationError: What is given as a transport is none, or is not installed.
    """
    if transport is not None:
        check_transport("transport", transport)
    if poll_transport is not None and not isinstance(poll_transport, str):
        check_transport("poll_transport", poll_transport, others=' or "aiohttp"')
    made: list[_Closable] = []
    # Reading the certificate authorities takes longer than all the rest: once is enough.
    tls = cache(lambda: ssl_context or make_ssl_context())

    def connections(*, keep_alive: bool) -> AsyncTransport:
        made.append(connections := Connections(tls(), keep_alive=keep_alive))
        return connections

    def signing(inner: AsyncTransport) -> AsyncTransport:
        made.append(
            signing := SigningTransport(credentials, inner, nonce=nonce, wall_clock=wall_clock)
        )
        return signing

    def poller() -> Sender:
        if isinstance(poll_transport, str):
            authorizer = Authorizer(credentials, nonce=nonce, wall_clock=wall_clock)
            express = _express(poll_transport)(
                tls(),
                max_polls,
                headers=_HEADERS,
                timeouts=timeouts,
                authorizer=authorizer if is_signed else None,
            )
            made.append(express)
            return express
        inner = poll_transport or transport or connections(keep_alive=True)
        return HttpxSender(
            signing(inner) if is_signed else inner,
            max_polls,
            headers=_HEADERS,
            timeouts=timeouts,
            read=timeouts.poll_read,
        )

    sender = HttpxSender(
        signing(transport or connections(keep_alive=False)),
        max_sends,
        headers={**_HEADERS, "Connection": "close"},
        timeouts=timeouts,
        read=timeouts.send_read,
    )
    return Lanes(Lane(sender), Lane(poller()), made)


def _express(name: str) -> "type[ExpressSender]":
    if name != "aiohttp":
        raise ConfigurationError('poll_transport must be an httpx transport, or "aiohttp"')
    try:
        from .aiohttp_transport import ExpressSender  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        pass
    else:
        return ExpressSender
    raise ConfigurationError(
        "poll_transport \"aiohttp\" needs aiohttp: pip install 'billblend-async[aiohttp]'"
    )


_SAID_BY_OTHERS: Final = frozenset({401, 403, 407, 408, 429})
"""Client errors that something in front of the gateway may answer, so their body says nothing."""


def sort_send(reply: Reply | Failure, read: Callable[[dict[str, str]], SendAnswer]) -> SendAnswer:
    """Sort what came of a request that may move money into its four ends.

    Args:
        reply: What came back.
        read: Reads the fields of an answer.
    """
    if isinstance(reply, Failure):
        if reply.may_have_left:
            return Unknown(reply.reason, reply.http_status)
        return NotSent(reply.reason)
    fields = read_fields(reply)
    if isinstance(fields, str):
        return Unknown(fields, reply.http_status)
    answer = read(fields)
    if isinstance(answer, Refused) and not reply.is_delimited:
        # What is missing may be the id of an order that was made all the same.
        return Unknown("a refusal whose end cannot be seen", reply.http_status)
    return answer


def read_fields(reply: Reply) -> dict[str, str] | str:
    """Read the fields of an answer, or say why it has none.

    The gateway answers 200 to forms and 4xx to errors in JSON mode; any other HTTP status is not
    its word.
    """
    status = reply.http_status
    if status in (401, 403):
        return f"access denied (HTTP {status})"
    if status != 200 and (not 400 <= status < 500 or status in _SAID_BY_OTHERS):
        return f"HTTP {status}"
    body = reply.body
    if not reply.is_delimited and not body.lstrip().startswith(b"{"):
        # It may be cut where it still reads well, in the middle of an order id, say: what stands
        # before the last separator is whole.
        body = body[: body.rfind(b"&" if not body.endswith(b"\n") else b"\n") + 1]
        if not body:
            return "an answer whose end cannot be seen"
    try:
        return read_reply(body.rstrip(b"&"))
    except UnreadableAnswer as error:
        return error.reason


After = Callable[[SendAnswer], Awaitable[None]]
"""Awaited with an answer, even when the caller was cancelled meanwhile."""

_NO_SUCH_COMMAND: Final = (404, 405, 501)


class Client:
    """A client of one endpoint of the gateway.

    Use one for each process, inside ``async with``. Requests that may move money travel on fresh
    connections, status requests on kept ones; in neither lane are more requests under way than
    there are connections. A caller that is cancelled ends its wait, never the request: each
    exchange runs to its end in a task of its own.

    Args:
        credentials: Login, key and merchant control.
        endpoint_id: The endpoint's number, or
        endpoint_group_id: the endpoint group's number.
        base_url: ``sandbox`` (the gateway's own), ``production`` or a URL.
        status_version: 2 (SHA-1 control) or 4 (RSA signature); by default 2 if the credentials
            hold a merchant control.
        transport: Sends what may move money, instead of httpx's own transport: an
            ``httpx.AsyncHTTPTransport``, which takes verify, cert, proxy and more, or one that
            passes each request on to it. It may look at a request and its answer, and add headers.
            It may not read the body or replace the extensions: then a send raises
            ConfigurationError and nothing is claimed. What it sends again, by itself, at once or
            after an answer, does not leave. ``httpx.MockTransport`` and ``httpx.ASGITransport``
            are for tests.
        poll_transport: Sends status requests, which it may repeat; by default ``transport``, if
            that is given.
            ``"aiohttp"`` takes a third of the CPU time of httpx and is an extra:
            ``pip install 'billblend-async[aiohttp]'``.
        ssl_context: For TLS, instead of httpx's default.
        timeouts: How long each part of an exchange may take.
        max_sends: Connections for requests that may move money.
        max_polls: Connections for status requests.
        nonce: Makes a value that is never used twice, for the signature.
        wall_clock: Seconds since the epoch, for the signature.

    Raises:
        ConfigurationError: The endpoint, URL, status version, limits or a transport cannot be
            right.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        endpoint_id: int | None = None,
        endpoint_group_id: int | None = None,
        base_url: str = "sandbox",
        status_version: Literal[2, 4] | None = None,
        transport: AsyncTransport | None = None,
        poll_transport: PollTransport | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeouts: Timeouts = Timeouts(),
        max_sends: int = 32,
        max_polls: int = 64,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = Endpoint(
            base_url=base_url, endpoint_id=endpoint_id, endpoint_group_id=endpoint_group_id
        )
        self.login = credentials.login
        self.max_sends = max_sends
        self._nonce = nonce
        self._wall_clock = wall_clock
        self._merchant_control = credentials.merchant_control
        self._callback_controls = credentials.callback_controls
        self._status_version = status_version or (2 if self._merchant_control else 4)
        if self._status_version == 2 and self._merchant_control is None:
            raise ConfigurationError("status_version 2 needs the merchant_control; or use 4")
        if self._status_version not in (2, 4):
            raise ConfigurationError("status_version must be 2 or 4")
        if min(max_sends, max_polls) < 1:
            raise ConfigurationError("max_sends and max_polls must be 1 or more")
        versions = dict.fromkeys(RequestKind, 4) | {RequestKind.STATUS: self._status_version}
        self._urls = {
            kind: self.endpoint.base_url + url_path(kind, self.endpoint, version=version)
            for kind, version in versions.items()
        }
        for url in self._urls.values():
            check_url(url)
        self._lanes = make_lanes(
            credentials,
            is_signed=self._status_version == 4,
            transport=transport,
            poll_transport=poll_transport,
            ssl_context=ssl_context,
            timeouts=timeouts,
            max_sends=max_sends,
            max_polls=max_polls,
            nonce=nonce,
            wall_clock=wall_clock,
        )
        self._is_open = False

    def __repr__(self) -> str:
        """Show where it talks to and how much is under way."""
        return (
            f"<Client {self.login!r} at {self.endpoint.base_url} {self.endpoint.path}, "
            f"{self.in_flight} in flight, {'open' if self._is_open else 'closed'}>"
        )

    @property
    def in_flight(self) -> int:
        """How many exchanges are under way."""
        return self._lanes.in_flight

    async def __aenter__(self) -> Self:
        """Open the client."""
        self._is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await self.aclose()

    async def aclose(self) -> None:
        """Take no new requests, wait for those under way, and close what this client made.

        Requests that still wait for a connection have not begun; they end in ClosedError.
        """
        self._is_open = False
        while self.in_flight:
            await self.drain()
        await self._lanes.aclose()

    async def drain(self) -> None:
        """Wait for every exchange that is under way now; others may begin meanwhile."""
        await self._lanes.drain()

    async def check(
        self,
        request: PayoutRequest,
        *,
        before_send: BeforeSend | None = None,
        after: After | None = None,
    ) -> SendAnswer:
        """Send payout-check: make an order and let the bank validate it; no money moves yet.

        Args:
            request: The payout.
            before_send: Awaited when the connection is open and the request signed, before the
                first byte; if it raises, nothing is sent and this raises the same.
            after: Awaited with the answer even when the caller was cancelled meanwhile.

        Returns:
            Accepted, Refused, NotSent or Unknown (see ``billblend_async.core.responses``).

        Raises:
            ConfigurationError: The transport reads a request before it sends it, or does not tell
                when it leaves; nothing was sent.
        """
        read = partial(read_send_answer, client_orderid=request.client_orderid)
        form = build_payout(request)
        return await self._move(RequestKind.CHECK, form, read, self._departure(before_send), after)

    async def pay(
        self,
        client_orderid: str,
        paynet_order_id: str,
        *,
        before_send: BeforeSend | None = None,
        after: After | None = None,
    ) -> SendAnswer:
        """Send payout-pay: pay a validated order. The arguments and answers are those of check."""
        read = partial(
            read_send_answer, client_orderid=client_orderid, paynet_order_id=paynet_order_id
        )
        form = build_pay(self.login, client_orderid, paynet_order_id)
        return await self._move(RequestKind.PAY, form, read, self._departure(before_send), after)

    async def payout(
        self,
        request: PayoutRequest,
        *,
        before_send: BeforeSend | None = None,
        after: After | None = None,
    ) -> SendAnswer:
        """Send the one-step payout, which pays at once. Arguments and answers are as of check."""
        read = partial(read_send_answer, client_orderid=request.client_orderid)
        form = build_payout(request)
        return await self._move(RequestKind.PAYOUT, form, read, self._departure(before_send), after)

    def _departure(self, before_send: BeforeSend | None) -> Departure:
        return Departure(before_send, wall_clock=self._wall_clock)

    async def status(
        self,
        client_orderid: str,
        paynet_order_id: str | None = None,
        *,
        by_request_sn: str | None = None,
        on_leave: Callable[[], None] | None = None,
    ) -> StatusAnswer:
        """Ask for the status of an order; it moves nothing.

        Args:
            client_orderid: The caller's id.
            paynet_order_id: The gateway's id; None asks by client_orderid alone, which the gateway
                answers only while that id is unique.
            by_request_sn: The serial number of one earlier request, to ask about that one.
            on_leave: Called when the question has waited for its connection and leaves.

        Returns:
            StatusReport, NotFound or NoAnswer.
        """
        signed = None
        if self._status_version == 2 and self._merchant_control is not None:
            parts = status_control_parts(self.login, client_orderid, paynet_order_id)
            signed = control(*parts, self._merchant_control)
        form = build_status(
            self.login,
            client_orderid,
            paynet_order_id,
            by_request_sn=by_request_sn,
            control=signed,
        )

        def may_begin() -> None:
            self._check_open()  # it may have been closed while this one waited for its place
            if on_leave is not None:
                on_leave()

        self._check_open()
        url, body = self._urls[RequestKind.STATUS], build_form(form)
        reply = await self._lanes.poll.ask(url, body, may_begin)
        return self._read_status(reply, client_orderid, paynet_order_id)

    def verify_callback(self, query: str | bytes) -> Callback:
        """Verify a callback by the query of its URL and the merchant controls of the credentials.

        Raises:
            VerificationFailed: The gateway has not made it; see ``verify_callback``.
            ConfigurationError: The credentials hold no merchant control.
        """
        if not self._callback_controls:
            raise ConfigurationError(
                "callbacks cannot be verified: give the credentials their merchant_control"
            )
        return verify_callback(query, self._callback_controls)

    async def probe(self) -> StatusAnswer:
        """Ask, signed, about an order that nobody has made, to see whether the gateway knows us.

        It moves nothing. It goes the way of what moves money, as status v4; where questions are
        asked as v2, their control is tried too.

        Returns:
            NoAnswer if the gateway refuses us or does not answer; anything else is a good sign.
        """
        client_orderid = f"probe-{self._nonce()}"
        form = build_status(self.login, client_orderid)
        url = self.endpoint.base_url + url_path(RequestKind.STATUS, self.endpoint, version=4)

        async def exchange() -> StatusAnswer:
            self._check_open()
            return self._read_status(
                await self._lanes.send.post(url, build_form(form)), client_orderid
            )

        self._check_open()
        answer = await self._lanes.send.run(exchange)
        lacks_v4 = isinstance(answer, NoAnswer) and answer.http_status in _NO_SUCH_COMMAND
        refused = isinstance(answer, NoAnswer) and (not answer.readable or answer.is_about_settings)
        if self._status_version == 4 or (refused and not lacks_v4):
            return answer
        return await self.status(f"probe-{self._nonce()}")

    @staticmethod
    def _read_status(
        reply: Reply | Failure, client_orderid: str, paynet_order_id: str | None = None
    ) -> StatusAnswer:
        if isinstance(reply, Failure):
            return NoAnswer(reply.reason, reply.http_status)
        fields = read_fields(reply)
        if isinstance(fields, str):
            return NoAnswer(fields, reply.http_status)
        answer = read_status_answer(
            fields, client_orderid=client_orderid, paynet_order_id=paynet_order_id
        )
        told = isinstance(answer, StatusReport) and (answer.transaction_type or answer.order_stage)
        if isinstance(answer, StatusReport) and not told and not reply.is_delimited:
            # What is missing may say that its status is that of a reversal.
            return NoAnswer("an answer whose end cannot be seen", reply.http_status, readable=True)
        return answer

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError("client")

    async def _move(
        self,
        kind: RequestKind,
        form: Iterable[tuple[str, str]],
        read: Callable[[dict[str, str]], SendAnswer],
        departure: Departure,
        after: After | None,
    ) -> SendAnswer:
        """Send what may move money and sort what comes back into its four ends."""

        async def exchange() -> SendAnswer:
            self._check_open()  # it may have been closed while this one waited for its place
            reply = await self._lanes.send.post(self._urls[kind], build_form(form), departure)
            answer = sort_send(reply, read)
            if after is not None:
                await after(answer)
            return answer

        self._check_open()
        return await self._lanes.send.run(exchange)
