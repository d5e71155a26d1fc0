"""The way to the gateway: sign what is sent, know whether it has left, read what comes back.

The only file that knows the HTTP library. Transports are called directly: this API has no cookies,
redirects or compression, and none is ever followed or undone.
"""

import asyncio
import contextlib
import secrets
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final

import httpx

from ..errors import BillblendError, ConfigurationError
from .credentials import Credentials
from .exchange import (
    KEEP_ALIVE,
    LONGEST_ANSWER,
    Authorizer,
    Departure,
    Failure,
    MayNotLeave,
    Reply,
    Timeouts,
    is_cancelled,
    judge,
    no_transport,
    unfit_for_sending,
)
from .signing import signature_url

__all__ = [
    "AsyncTransport",
    "Connections",
    "HttpxSender",
    "SigningTransport",
    "check_transport",
    "check_url",
    "make_ssl_context",
]

AsyncTransport = httpx.AsyncBaseTransport
"""What a user may put in place of httpx's own transport."""
_BEFORE_SENDING: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    BillblendError,  # ours are raised before the inner transport is called
)
"""Failures that come before the first byte; alone they prove nothing (see Departure)."""
_UNFIT: Final = (httpx.StreamError, AssertionError)
"""What readers of a request raise that has no bytes at hand, and what others' transports do."""


class SigningTransport(httpx.AsyncBaseTransport):
    """Signs every request with OAuth 1.0a RSA-SHA256 and hands it to another transport.

    The parameters that are signed are read from the body that is sent, so nothing else can be
    signed (RFC 5849 section 3.4.1.3.1). The key is read once, when the credentials are made. Keys
    over 3072 bits, and signers of the user's own, sign in threads and off the event loop.

    Args:
        credentials: Login and signer.
        inner: The transport that sends; it is closed by whoever made it.
        nonce: Makes a value that is never used twice.
        wall_clock: Seconds since the epoch, for the signature's timestamp.
    """

    def __init__(
        self,
        credentials: Credentials,
        inner: httpx.AsyncBaseTransport,
        *,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._authorizer = Authorizer(credentials, nonce=nonce, wall_clock=wall_clock)
        self._inner = inner
        # Of these it is known what they do with a request, and of no subclass or wrapper of them.
        as_made = type(inner) if "handle_async_request" not in vars(inner) else None
        self._traces = as_made in (Connections, httpx.AsyncHTTPTransport)
        self._calls_once = as_made in (httpx.MockTransport, httpx.ASGITransport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sign a request and send it.

        Raises:
            InvalidInput: The body is no form data, or holds a name twice; nothing was sent.
            SigningFailed: The signer, nonce or clock raised; nothing was sent.
            httpx.TransportError: As the inner transport raises it.
        """
        body = await request.aread()
        request.headers["Authorization"] = await self._authorizer.authorize(
            request.method, str(request.url), body
        )
        departure = request.extensions.get(Departure.EXTENSION)
        if isinstance(departure, Departure):
            if self._traces:
                request.extensions = {**request.extensions, "trace": departure.on_trace}
            elif self._calls_once:
                await departure.leave()
            else:
                return await self._send_once(request, body, departure)
        return await self._inner.handle_async_request(request)

    async def _send_once(
        self, request: httpx.Request, body: bytes, departure: Departure
    ) -> httpx.Response:
        """Send over a transport that may repeat what it is given: its body can be read once.

        One that is not seen to send is refused, and nothing is claimed for it. The body proves that
        nothing was done: nobody has had it.
        """
        departure.is_shielded, unfit = True, unfit_for_sending(self._inner)
        extensions = {k: v for k, v in request.extensions.items() if k != Departure.EXTENSION}
        once = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=_Once(body, departure, unfit),
            extensions={**extensions, "trace": departure.on_trace},
        )
        try:
            response = await self._inner.handle_async_request(once)
        except _UNFIT:
            departure.refuse(unfit)
            raise
        departure.refuse(unfit)
        if not departure.may_have_left:
            departure.is_over = True  # copies that are still held leave no more
        return response

    async def aclose(self) -> None:
        """Stop the signing threads; the inner transport belongs to whoever made it."""
        self._authorizer.close()


class _Once(httpx.AsyncByteStream):
    """The body of a request that leaves once: it is given out when its head has left, once."""

    def __init__(self, body: bytes, departure: Departure, unfit: ConfigurationError) -> None:
        self._body = body
        self._departure = departure
        self._unfit = unfit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._take()

    def __iter__(self) -> Iterator[bytes]:
        """Refuse it: whoever reads it like this is not sending it."""
        return iter((self._take(),))

    def _take(self) -> bytes:
        try:
            self._departure.give_body()
        except MayNotLeave:
            self._departure.refuse(self._unfit)
            raise
        body, self._body = self._body, b""
        return body


class Connections(httpx.AsyncBaseTransport):
    """httpx's own transport, one for each connection, with TLS always verified and no proxy.

    httpx's pool looks at all of its connections whenever a request begins or ends, so that a
    request in a busy pool of 50 costs three times one that is alone. And a place in it that is lost
    stays lost; here a connection whose exchange did not end well is closed and forgotten.

    Args:
        ssl_context: For TLS.
        keep_alive: Whether connections are used again; one that may move money is not, since a
            connection that the gateway closes meanwhile would leave its outcome unknown.
    """

    def __init__(self, ssl_context: ssl.SSLContext, *, keep_alive: bool) -> None:
        self._ssl_context = ssl_context
        self._limits = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=1 if keep_alive else 0,
            keepalive_expiry=KEEP_ALIVE,
        )
        self._keep_alive = keep_alive
        self._is_open = True
        self._busy: dict[httpx.AsyncHTTPTransport, None] = {}  # in the order of their beginning
        # The one that was used last is used next, so that the rest can grow old and be closed.
        self._idle: deque[tuple[httpx.AsyncHTTPTransport, float]] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over a connection that nobody else uses meanwhile."""
        if not self._is_open:
            raise httpx.ConnectError("the client is closed")
        connection = self._idle.pop()[0] if self._idle else self._connect()
        self._busy[connection] = None
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self.give_back(connection, is_well=False)
            raise
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Answer(response.stream, self, connection)
        return response

    async def give_back(self, connection: httpx.AsyncHTTPTransport, *, is_well: bool) -> None:
        """Take a connection back after its exchange, and close those that nobody needs."""
        if connection not in self._busy:
            return  # an answer that is closed twice has one connection
        del self._busy[connection]
        now = asyncio.get_running_loop().time()
        if is_well and self._keep_alive and self._is_open and _is_clean(connection):
            self._idle.append((connection, now))
        else:
            await connection.aclose()
        while self._idle and self._idle[0][1] < now - KEEP_ALIVE:
            with contextlib.suppress(Exception):  # not the trouble of whoever has an answer
                await self._idle.popleft()[0].aclose()

    async def aclose(self) -> None:
        """Close every connection; what is still under way had all of its time, and fails."""
        self._is_open = False
        while self._idle:
            await self._idle.pop()[0].aclose()
        for connection in list(self._busy):
            await connection.aclose()

    def _connect(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(
            verify=self._ssl_context, limits=self._limits, trust_env=False
        )


class _Answer(httpx.AsyncByteStream):
    """The body of an answer, which gives its connection back when it is closed."""

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        connections: Connections,
        connection: httpx.AsyncHTTPTransport,
    ) -> None:
        self._stream = stream
        self._connections = connections
        self._connection = connection
        self._is_whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._is_whole = True

    async def aclose(self) -> None:
        is_well = False
        try:
            await self._stream.aclose()
            is_well = self._is_whole
        finally:
            await self._connections.give_back(self._connection, is_well=is_well)


def _is_clean(connection: httpx.AsyncHTTPTransport) -> bool:
    """Tell whether nothing came behind the answer, which would be taken for the next one.

    httpcore sees what is still in the socket, and not what it has read already. Where its insides
    are others than we know, no connection is used again.
    """
    try:
        kept: Any = connection._pool._connections  # noqa: SLF001 - no public way leads there
        states = [one._connection._h11_state for one in kept]  # noqa: SLF001 - likewise
        return not any(any(state.trailing_data) for state in states)
    except AttributeError:
        return False


def check_transport(name: str, transport: object, *, others: str = "") -> None:
    """Refuse what is no transport of httpx, before anything depends on it.

    Args:
        name: The argument that it was given as.
        transport: What was given.
        others: What else may be given.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(transport, httpx.AsyncBaseTransport):
        raise no_transport(name, transport, others)


def check_url(url: str) -> None:
    """Refuse a URL that could not be signed or sent, before anything depends on it.

    Raises:
        ConfigurationError: It is no such URL.
    """
    signature_url(url)
    with contextlib.suppress(httpx.InvalidURL):
        httpx.URL(url)
        return
    raise ConfigurationError("base_url: this is no URL that can be called; look at its host")


def make_ssl_context() -> ssl.SSLContext:
    """Make the TLS settings that trust httpx's certificate authorities and verify every host."""
    return httpx.create_ssl_context()


class HttpxSender:
    """Sends requests over one httpx transport; every failure becomes a value.

    Args:
        transport: What sends.
        connections: How many requests may be under way.
        headers: What every request carries.
        timeouts: How long each part may take.
        read: Seconds until the next part of an answer.

    Attributes:
        connections: How many requests may be under way.
        longest: Seconds that a whole exchange may take, however well each part keeps its time.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        connections: int,
        *,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        read: float,
    ) -> None:
        self.connections = connections
        self.longest = timeouts.connect + timeouts.write + 2 * read
        self._transport = transport
        self._headers = httpx.Headers(headers)
        self._urls: dict[str, httpx.URL] = {}
        # Nobody ever waits inside the pool: there are no more permits than connections.
        self._timeout = {
            "connect": timeouts.connect,
            "write": timeouts.write,
            "read": read,
            "pool": timeouts.connect,
        }

    async def post(
        self, url: str, body: bytes, departure: Departure | None = None
    ) -> Reply | Failure:
        """Send one request and read its answer; every failure becomes a value.

        What it has come to is judged by what was seen of its departure, see ``judge``.

        Raises:
            BaseException: What ``before_send`` raised, or ConfigurationError over a transport that
                is not seen to send; then nothing was sent.
        """
        extensions: dict[str, Any] = {"timeout": self._timeout}
        if departure is not None:
            extensions[Departure.EXTENSION] = departure
        parsed = self._urls.get(url) or self._urls.setdefault(url, httpx.URL(url))
        request = httpx.Request(
            "POST", parsed, headers=self._headers, content=body, extensions=extensions
        )
        is_answered, came_before = True, False
        try:
            response = await self._transport.handle_async_request(request)
            answer = await _read(response)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            is_answered, came_before = False, isinstance(error, _BEFORE_SENDING)
            # Its class alone: its text may hold addresses or worse.
            answer = Failure(type(error).__name__, may_have_left=True)
        if departure is None:
            return answer
        return await judge(answer, departure, is_answered=is_answered, came_before=came_before)


async def _read(response: httpx.Response) -> Reply | Failure:
    """Read an answer's bytes as they are: bounded, not decompressed, not redirected."""
    status, headers, stream = response.status_code, response.headers, response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        return Failure("no asynchronous stream", may_have_left=True, http_status=status)
    try:
        if headers.get("Content-Encoding", "identity").strip().casefold() not in ("", "identity"):
            return Failure(
                "compressed, which was not asked for", may_have_left=True, http_status=status
            )
        body = bytearray()
        async for chunk in stream:
            body += chunk
            if len(body) > LONGEST_ANSWER:
                return Failure("oversized", may_have_left=True, http_status=status)
    finally:
        await response.aclose()
    declared = "Content-Length" in headers or "Transfer-Encoding" in headers
    return Reply(status, bytes(body), declared)
