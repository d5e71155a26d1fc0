"""The way to the gateway: sign what is sent, know whether it has left, read what comes back.

The only file that knows the HTTP library. Transports are called directly: this API has no cookies,
redirects or compression, and none is ever followed or undone.
"""

import asyncio
import contextlib
import os
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import attrs
import httpx

from .errors import BillblendError, ConfigurationError, SigningFailed
from .keys import Credentials, RsaSigner
from .signing import authorization, body_parameters, signature_url

__all__ = [
    "AsyncTransport",
    "BeforeSend",
    "Departure",
    "Failure",
    "Reply",
    "Sender",
    "SigningTransport",
    "Timeouts",
    "check_url",
    "http_transport",
    "make_ssl_context",
]

AsyncTransport = httpx.AsyncBaseTransport
"""What a user may put in place of httpx's own transport."""
BeforeSend = Callable[[], Awaitable[None]]
"""Awaited right before the first byte; if it raises, nothing is sent."""

LONGEST_ANSWER: Final = 1024 * 1024
"""Bytes of the longest answer that is read; merchant_data alone may be 192 KiB when encoded."""
_KEEP_ALIVE: Final = 2.0
"""Seconds that an idle connection is kept: below the poll interval and the gateway's own limit, so
that no poll is written into a connection that the gateway is closing."""
_BEFORE_SENDING: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    BillblendError,  # ours are raised before the inner transport is called
)
"""Failures that come before the first byte; alone they prove nothing (see Departure)."""

_INLINE_KEY_SIZE: Final = 3072
"""Bits up to which a signature (2.2 ms) costs the event loop less than a trip to a thread saves."""


class Departure:
    """Watches one request leave: whether it may have, and what is done right before.

    Put it into a request's extensions under ``Departure.EXTENSION``. Over httpx's own transport it
    listens to httpcore's awaited event ``send_request_headers.started``, which comes when the
    connection is open and before the first byte. Over any other transport, whose insides cannot be
    seen, the request counts as leaving before that transport is called.

    Attributes:
        may_have_left: Whether the first byte may have left this machine.
        refusal: What ``before_send`` raised; then nothing was sent.
        is_over: Whether nobody waits for the request any more; set it, and it does not leave.
    """

    EXTENSION: Final = "billblend.departure"

    __slots__ = ("_before_send", "is_over", "may_have_left", "refusal")

    def __init__(self, before_send: BeforeSend | None = None) -> None:
        self._before_send = before_send
        self.may_have_left = False
        self.is_over = False
        self.refusal: BaseException | None = None

    async def leave(self) -> None:
        """Do what must be done before the first byte, then let the request go, once."""
        if self.may_have_left or self.refusal is not None:
            # A transport that repeats requests by itself must not repeat one that moves money.
            raise httpx.WriteError("a request leaves only once")
        try:
            if self._before_send is not None:
                await self._before_send()
        except BaseException as error:
            self.refusal = error
            raise
        if self.is_over:
            raise httpx.WriteError("nobody waits for this request any more")
        self.may_have_left = True

    async def on_trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Follow httpcore's trace; a proxy's CONNECT carries nothing of the request."""
        if name.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            await self.leave()


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
        self._credentials = credentials
        self._inner = inner
        self._nonce = nonce
        self._wall_clock = wall_clock
        # A subclass may build requests anew or set a trace of its own: then ours would be silent.
        self._traces = type(inner) is httpx.AsyncHTTPTransport
        signer = credentials.signer
        inline = isinstance(signer, RsaSigner) and signer.key_size <= _INLINE_KEY_SIZE
        self._threads = (
            None
            if inline
            else ThreadPoolExecutor(
                max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="billblend-sign"
            )
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sign a request and send it.

        Raises:
            InvalidInput: The body is no form data, or holds a name twice; nothing was sent.
            SigningFailed: The signer, nonce or clock raised; nothing was sent.
            httpx.TransportError: As the inner transport raises it.
        """
        request.headers["Authorization"] = await self._authorize(request, await request.aread())
        departure = request.extensions.get(Departure.EXTENSION)
        if isinstance(departure, Departure):
            if self._traces:
                request.extensions = {**request.extensions, "trace": departure.on_trace}
            else:
                await departure.leave()
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Stop the signing threads; the inner transport belongs to whoever made it."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    async def _authorize(self, request: httpx.Request, body: bytes) -> str:
        parameters = body_parameters(body)

        def sign(nonce: str, timestamp: int) -> str:
            return authorization(
                self._credentials.signer,
                self._credentials.login,
                request.method,
                str(request.url),
                parameters,
                nonce=nonce,
                timestamp=timestamp,
            )

        try:
            fresh = self._nonce(), int(self._wall_clock())
            if self._threads is None:
                return sign(*fresh)
            return await asyncio.get_running_loop().run_in_executor(self._threads, sign, *fresh)
        except BillblendError:
            raise
        except Exception as error:  # noqa: BLE001 - a signer of the user's own may raise anything
            reason = type(error).__name__
        raise SigningFailed(reason)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each part of an exchange may take, in seconds.

    Attributes:
        connect: Until the connection is open and secured.
        write: Until a part of the request is handed to the network.
        send_read: Until the next part of the answer to a request that may move money; long, since
            an answer that is given up on must be asked about.
        poll_read: Until the next part of the answer to a status request.
    """

    connect: float = 10.0
    write: float = 30.0
    send_read: float = 90.0
    poll_read: float = 30.0


@attrs.frozen
class Reply:
    """What came back.

    Attributes:
        http_status: The HTTP status.
        body: The bytes as they came; masked, since they may hold personal data.
        is_delimited: Whether their end was declared, so that a cut would have been seen.
    """

    http_status: int
    body: bytes = attrs.field(repr=False)
    is_delimited: bool


@attrs.frozen
class Failure:
    """Nothing that can be read came back.

    Attributes:
        reason: The kind of failure.
        may_have_left: Whether the request may have left this machine.
        http_status: The HTTP status, if there was one.
    """

    reason: str
    may_have_left: bool
    http_status: int | None = None


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


def http_transport(
    connections: int, ssl_context: ssl.SSLContext, *, keep_alive: bool
) -> AsyncTransport:
    """Make httpx's own transport, with TLS always verified and no proxy from the environment.

    Args:
        connections: The most that are open at once.
        ssl_context: For TLS.
        keep_alive: Whether connections are used again; one that may move money is not, since a
            connection that the gateway closes meanwhile would leave its outcome unknown.
    """
    limits = httpx.Limits(
        max_connections=connections,
        max_keepalive_connections=connections if keep_alive else 0,
        keepalive_expiry=_KEEP_ALIVE,
    )
    return httpx.AsyncHTTPTransport(verify=ssl_context, limits=limits, trust_env=False)


class Sender:
    """Sends requests over one transport; every failure becomes a value.

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
        self._headers = dict(headers)
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

        What proves that nothing has left is both a failure of a kind that comes before the first
        byte, and a departure that has seen no first byte. Without a departure nothing is proved.

        Raises:
            BaseException: What ``before_send`` raised; then nothing was sent.
        """
        extensions: dict[str, Any] = {"timeout": self._timeout}
        if departure is not None:
            extensions[Departure.EXTENSION] = departure
        request = httpx.Request(
            "POST", url, headers=self._headers, content=body, extensions=extensions
        )
        try:
            response = await self._transport.handle_async_request(request)
            answer = await _read(response)
        except Exception as error:  # noqa: BLE001 - a transport may raise anything
            # Its class alone: its text may hold addresses or worse.
            reason, came_before = type(error).__name__, isinstance(error, _BEFORE_SENDING)
            unseen = departure is not None and not departure.may_have_left
            answer = Failure(reason, may_have_left=not (came_before and unseen))
        else:
            if departure is not None and not departure.may_have_left and departure.refusal is None:
                # An answer to what was not seen leaving: put it on record, late, and trust no more.
                await departure.leave()
                answer = Failure("left without being seen", may_have_left=True)
        if departure is not None and departure.refusal is not None:
            # What the transport made of it, or that it went on regardless, says nothing; its
            # frames hold the request's bytes.
            raise departure.refusal.with_traceback(None)
        return answer


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
