"""What is signed is what is sent; what is called not sent has not left."""

import asyncio
import gzip
import logging
import re
import ssl
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpcore
import httpx
import pytest
from carriers import Fake
from hypothesis import given, settings
from hypothesis import strategies as st
from rsa_keys import private_key, public_pem
from servers import GatewayServer, Received, verified

from billblend_async.errors import (
    BillblendError,
    ClaimLost,
    ConfigurationError,
    InvalidInput,
    JournalUnavailable,
    SigningFailed,
)
from billblend_async.gateway.credentials import Credentials, RsaSigner, Signer
from billblend_async.gateway.exchange import (
    LONGEST_ANSWER,
    Departure,
    Failure,
    Lane,
    MayNotLeave,
    Reply,
    Timeouts,
)
from billblend_async.gateway.httpx_transport import HttpxSender, SigningTransport, check_url
from billblend_async.gateway.signing import body_parameters, verify_authorization

LOGIN = "acme/corp é"
URL = "https://sandbox.billblend.com/checkout/api/v4/payout/39915"
BODY = b"client_orderid=po-1"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}
SECRET = "hunter2-4111111111111111"
# Trusts nobody, which spares the reading of all certificate authorities.
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
HEADER = re.compile(
    r'OAuth oauth_consumer_key="acme%2Fcorp%20%C3%A9", oauth_nonce="[0-9a-f]{32}", '
    r'oauth_signature="(?:[A-Za-z0-9]|%2B|%2F|%3D){342,}", '
    r'oauth_signature_method="RSA-SHA256", oauth_timestamp="[0-9]{10}", oauth_version="1.0"'
)


class OwnSigner:
    """A signer of the user's own, as for a hardware module; it notes the threads it runs in."""

    def __init__(self, bits: int = 2048) -> None:
        self.key_size = bits
        self.threads: list[int] = []

    def sign(self, message: bytes) -> bytes:
        self.threads.append(threading.get_ident())
        return RsaSigner(private_key(self.key_size)).sign(message)


class SlowSigner(OwnSigner):
    """Signs as soon as it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.called = threading.Event()
        self.released = threading.Event()

    def sign(self, message: bytes) -> bytes:
        self.called.set()
        assert self.released.wait(5)
        return super().sign(message)


class FailingSigner:
    """A signer that fails with a secret in its text, or gives what is no signature."""

    key_size = 2048

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def sign(self, message: bytes) -> bytes:
        if self._error is not None:
            raise self._error
        return None  # type: ignore[return-value]


def noting_rsa_signer(bits: int, threads: list[int]) -> RsaSigner:
    """Make our own signer of a key in memory, that notes the threads it runs in."""

    class Noting(RsaSigner):
        def sign(self, message: bytes) -> bytes:
            threads.append(threading.get_ident())
            return super().sign(message)

    return Noting(private_key(bits))


class Stream(httpx.AsyncByteStream):
    """An answer's body that comes in pieces, and notes how much of it was taken."""

    def __init__(self, pieces: Iterator[bytes], error: Exception | None = None) -> None:
        self.taken = 0
        self.is_closed = False
        self._pieces = pieces
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Hand out the pieces."""
        for piece in self._pieces:
            self.taken += len(piece)
            yield piece
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        self.is_closed = True


class Pool:
    """Stands in for httpcore's pool: traces what it is told, raises what it is told, or answers."""

    def __init__(self, *steps: str | BaseException, swallows: bool = False) -> None:
        self._steps = steps
        self._swallows = swallows

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        for step in self._steps:
            if isinstance(step, BaseException):
                raise step
            try:
                await request.extensions["trace"](step, {"request": request})
            except ClaimLost:
                if not self._swallows:
                    raise
        return httpcore.Response(200, headers=[(b"Content-Length", b"1")], content=b"x")


class Claim:
    """What is done right before the first byte; it counts, and raises what it is told."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls = 0
        self.error = error

    async def __call__(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error


def httpx_transport(
    *steps: str | BaseException, swallows: bool = False
) -> httpx.AsyncHTTPTransport:
    """Make httpx's own transport over a pool that does as it is told."""
    transport = httpx.AsyncHTTPTransport(verify=TLS)
    transport._pool = Pool(*steps, swallows=swallows)  # type: ignore[assignment]
    return transport


def signing(
    inner: httpx.AsyncBaseTransport, signer: Signer | None = None, **options: Any
) -> SigningTransport:
    """Sign over another transport."""
    credentials = Credentials(LOGIN, signer or RsaSigner(private_key(2048)))
    return SigningTransport(credentials, inner, **options)


def lane_over(transport: httpx.AsyncBaseTransport) -> Lane:
    """Make a lane for one request at a time."""
    return Lane(HttpxSender(transport, 1, headers=HEADERS, timeouts=Timeouts(), read=7.0))


def lane(inner: httpx.AsyncBaseTransport, **options: Any) -> Lane:
    """Make a lane that signs over another transport."""
    return lane_over(signing(inner, **options))


@asynccontextmanager
async def signing_to_socket(
    signer: Signer | None = None, **options: Any
) -> AsyncIterator[SigningTransport]:
    """Sign over httpx's own transport."""
    async with (
        httpx.AsyncHTTPTransport(verify=TLS, trust_env=False) as inner,
        signing(inner, signer, **options) as transport,
    ):
        yield transport


async def send(transport: httpx.AsyncBaseTransport, url: str, body: bytes = BODY) -> bytes:
    """Send one request and read its answer."""
    request = httpx.Request("POST", url, headers=HEADERS, content=body)
    response = await transport.handle_async_request(request)
    try:
        return await response.aread()
    finally:
        await response.aclose()


async def send_to_socket(
    body: bytes = BODY, signer: Signer | None = None, **options: Any
) -> tuple[Received, str]:
    """Send one signed request over a socket; give what came out, and the server's origin."""
    async with GatewayServer() as server, signing_to_socket(signer, **options) as transport:
        await send(transport, f"{server.url}/api/v4/payout/39915", body)
    [received] = server.requests
    return received, server.origin


def all_that_is_shown(error: BaseException) -> str:
    """Gather what a log could show of an error, which has nothing of others attached."""
    assert error.__context__ is None
    assert error.__cause__ is None
    return "".join([str(error), repr(error), *traceback.format_exception(error)])


class TestSigning:
    @pytest.mark.parametrize(
        "body",
        [
            b"client_orderid=po-1",
            b"client_orderid=po-1&empty=",
            b"a=1+2&b=1%202&c=1%2B2&client_orderid=po-1",
            b"b%5B%5D=%0A%00&client_orderid=po-1&a.c-d_e~=~.-_",
            b"client_orderid=" + quote("Zoë & Söhne = 100% + \"'!*()~/;,𝄞", safe="").encode(),
        ],
    )
    async def test_what_is_sent(self, body: bytes) -> None:
        """The bytes that arrive are those that were handed in, and their signature verifies."""
        received, origin = await send_to_socket(body)

        assert body == received.body
        assert LOGIN == verified(received, origin)["oauth_consumer_key"]

    @settings(deadline=None, max_examples=40)
    @given(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9).filter(
                lambda name: name[:5].lower() != "oauth"
            ),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
            max_size=6,
        )
    )
    def test_any_form(self, form: dict[str, str]) -> None:
        """Any form is signed as it is sent."""
        inner, body = Fake(), httpx.Request("POST", URL, data=form).read()

        asyncio.run(send(signing(inner), URL, body))

        [request] = inner.requests
        assert body == request.content
        parameters = body_parameters(body)
        assert form == dict(parameters)
        assert verify_authorization(
            request.headers["Authorization"], "POST", URL, parameters, public_key=public_pem(2048)
        )

    async def test_a_changed_byte(self) -> None:
        """A request of which one byte was changed on its way does not verify."""
        received, origin = await send_to_socket()
        changed = Received(received.method, received.target, received.lines, BODY + b"0")

        with pytest.raises(AssertionError):
            verified(changed, origin)

    async def test_header_shape(self) -> None:
        """One header holds the six fields in the order of the gateway's example, the body none."""
        received, _ = await send_to_socket()

        names = [name for name, _ in received.lines]
        assert 1 == names.count("Authorization")
        assert HEADER.fullmatch(received.headers["authorization"])
        assert b"oauth" not in received.body
        assert str(len(BODY)) == received.headers["content-length"]

    async def test_nonce_and_clock(self) -> None:
        """An injected nonce and clock are what is signed and sent."""
        received, origin = await send_to_socket(
            nonce=lambda: "of my own", wall_clock=lambda: 1677831012.9
        )

        fields = verified(received, origin)
        assert ("of my own", "1677831012") == (fields["oauth_nonce"], fields["oauth_timestamp"])

    async def test_nonce_is_never_used_twice(self) -> None:
        """Each of two hundred requests has a nonce of its own."""
        inner = Fake()
        transport = signing(inner)

        for _ in range(200):
            await transport.handle_async_request(httpx.Request("POST", URL, content=BODY))

        headers = {request.headers["Authorization"] for request in inner.requests}
        assert 200 == len({re.findall('oauth_nonce="([^"]+)"', header)[0] for header in headers})

    @pytest.mark.parametrize("bits", [2048, 4096])
    @pytest.mark.parametrize("is_own", [False, True])
    async def test_fifty_at_once(self, bits: int, is_own: bool) -> None:  # noqa: FBT001
        """Fifty requests at once keep their bodies, nonces and signatures apart."""
        signer = OwnSigner(bits) if is_own else RsaSigner(private_key(bits))

        async with GatewayServer() as server, signing_to_socket(signer) as transport:
            url = f"{server.url}/api/v4/payout/39915"
            await asyncio.gather(
                *(send(transport, url, b"client_orderid=po-%d" % number) for number in range(50))
            )

        seen = [verified(request, server.origin, bits=bits) for request in server.requests]
        assert 50 == len({fields["oauth_nonce"] for fields in seen})
        assert {f"client_orderid=po-{number}".encode() for number in range(50)} == {
            request.body for request in server.requests
        }


class TestSigningThreads:
    async def test_small_key(self) -> None:
        """A key of 2048 bits signs at once, in the thread of the event loop."""
        threads: list[int] = []

        received, origin = await send_to_socket(signer=noting_rsa_signer(2048, threads))

        assert verified(received, origin)
        assert [threading.get_ident()] == threads

    async def test_big_key(self) -> None:
        """A key of 4096 bits signs off the thread of the event loop."""
        threads: list[int] = []

        received, origin = await send_to_socket(signer=noting_rsa_signer(4096, threads))

        assert verified(received, origin, bits=4096)
        assert len(threads) == 1
        assert threading.get_ident() not in threads

    async def test_own_signer(self) -> None:
        """A signer of the user's own signs off the thread of the event loop, whatever its key."""
        signer = OwnSigner(2048)

        received, origin = await send_to_socket(signer=signer)

        assert verified(received, origin)
        assert len(signer.threads) == 1
        assert threading.get_ident() not in signer.threads

    async def test_slow_signer(self) -> None:
        """The event loop goes on while a signer takes its time."""
        signer = SlowSigner()
        sending = asyncio.create_task(send_to_socket(signer=signer))

        assert await asyncio.to_thread(signer.called.wait, 5)
        signer.released.set()

        received, origin = await sending
        assert verified(received, origin)

    async def test_closing(self) -> None:
        """Closing ends the signing threads, leaves the inner transport open, and signs no more."""
        inner = Fake()
        transport = signing(inner, OwnSigner())
        await send(transport, URL)
        threads = [thread for thread in threading.enumerate() if "billblend" in thread.name]

        await transport.aclose()

        assert threads
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        assert not inner.is_closed
        with pytest.raises(SigningFailed):
            await send(transport, URL)
        assert 1 == len(inner.requests)


FAILING_SIGNERS = [
    FailingSigner(RuntimeError(SECRET)),
    FailingSigner(KeyError(SECRET)),
    FailingSigner(httpx.ReadError(SECRET, request=httpx.Request("POST", URL))),
    FailingSigner(None),
]


def fail() -> Any:
    """Fail like a source of nonces that is a service itself."""
    raise OSError(SECRET)


class TestSigningFails:
    @pytest.mark.parametrize("signer", FAILING_SIGNERS, ids=lambda signer: repr(signer._error)[:9])
    async def test_signer(self, signer: Signer, caplog: pytest.LogCaptureFixture) -> None:
        """A signer that fails puts nothing on the wire and shows the kind of its failure only."""
        caplog.set_level(logging.DEBUG)
        inner = Fake()

        async with signing(inner, signer) as transport:
            with pytest.raises(SigningFailed) as caught:
                await send(transport, URL)

        assert [] == inner.requests
        assert caught.value.reason in {"RuntimeError", "KeyError", "ReadError", "TypeError"}
        assert SECRET not in all_that_is_shown(caught.value) + caplog.text

    @pytest.mark.parametrize(
        "options", [{"nonce": fail}, {"wall_clock": fail}, {"nonce": lambda: 7}]
    )
    async def test_nonce_or_clock(self, options: dict[str, Any]) -> None:
        """A nonce or clock that fails puts nothing on the wire, and that is a proof."""
        inner, claim = Fake(), Claim()

        failure = await lane(inner, **options).post(URL, BODY, Departure(claim))

        assert Failure("SigningFailed", may_have_left=False) == failure
        assert [] == inner.requests
        assert 0 == claim.calls

    @pytest.mark.parametrize(
        "signer", [*FAILING_SIGNERS, FailingSigner(ConfigurationError(SECRET))]
    )
    async def test_it_is_a_proof(self, signer: FailingSigner) -> None:
        """A signer that fails, with an error of ours too, proves that nothing was sent."""
        inner, claim = Fake(), Claim()

        async with signing(inner, signer) as transport:
            failure = await lane_over(transport).post(URL, BODY, Departure(claim))

        assert isinstance(failure, Failure)
        assert failure.reason in {"SigningFailed", "ConfigurationError"}
        assert not failure.may_have_left
        assert ([], 0) == (inner.requests, claim.calls)

    @pytest.mark.parametrize("body", [b"a=1&a=2", b"a", b"a=%zz", b"oauth_nonce=1", b"\xff=1"])
    async def test_body(self, body: bytes) -> None:
        """A body whose signature could be read in two ways is not sent."""
        inner = Fake()

        with pytest.raises(InvalidInput):
            await send(signing(inner), URL, body)

        assert [] == inner.requests


class TestDeparture:
    async def test_once(self) -> None:
        """A request leaves once: whoever sends it again is stopped and nothing is claimed again."""
        claim = Claim()
        departure = Departure(claim)

        await departure.leave()

        assert departure.may_have_left
        with pytest.raises(MayNotLeave):
            await departure.leave()
        assert 1 == claim.calls

    async def test_at_the_same_moment(self) -> None:
        """Of two copies one leaves; the other is stopped while the claim is being made."""
        claim, goes_on = Claim(), asyncio.Event()

        async def wait() -> None:
            await goes_on.wait()
            await claim()

        departure = Departure(wait)
        first = asyncio.create_task(departure.leave())
        await asyncio.sleep(0)
        with pytest.raises(MayNotLeave):
            await departure.leave()
        assert departure.refusal is None
        goes_on.set()
        await first

        assert departure.may_have_left
        assert 1 == claim.calls

    @pytest.mark.parametrize("is_shielded", [False, True])
    async def test_given_up(self, is_shielded: bool) -> None:  # noqa: FBT001
        """Whoever gives up while the claim is made lets nothing leave, and that is no refusal."""
        claim, goes_on = Claim(), asyncio.Event()

        async def wait() -> None:
            await goes_on.wait()
            await claim()

        departure = Departure(wait)
        departure.is_shielded = is_shielded
        leaving = asyncio.create_task(departure.leave())
        await asyncio.sleep(0)
        leaving.cancel()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await leaving

        assert (False, None) == (departure.may_have_left, departure.refusal)
        assert int(is_shielded) == claim.calls
        with pytest.raises(MayNotLeave):
            await departure.leave()

    async def test_refused_claim_of_what_is_given_up(self) -> None:
        """A claim that fails after whoever wanted it has given up is a refusal all the same."""
        goes_on, error = asyncio.Event(), ClaimLost("po-1", 2)

        async def wait() -> None:
            await goes_on.wait()
            raise error

        departure = Departure(wait)
        departure.is_shielded = True
        leaving = asyncio.create_task(departure.leave())
        await asyncio.sleep(0)
        leaving.cancel()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await leaving

        assert error is departure.refusal

    async def test_body(self) -> None:
        """The body is given once, to whoever was just seen to begin with it."""
        departure, about = Departure(), {"request": httpcore.Request("POST", URL)}
        for event in ("connection.connect_tcp.started", HEADERS_START):
            with pytest.raises(MayNotLeave):
                departure.give_body()
            await departure.on_trace(event, about)
        with pytest.raises(MayNotLeave):
            departure.give_body()

        await departure.on_trace(BODY_START, about)
        departure.give_body()

        with pytest.raises(MayNotLeave):
            departure.give_body()

    async def test_body_that_nobody_took(self) -> None:
        """A body that was not read while it left is not given later."""
        departure, about = Departure(), {"request": httpcore.Request("POST", URL)}
        await departure.on_trace(HEADERS_START, about)
        await departure.on_trace(BODY_START, about)
        await departure.on_trace("http11.send_request_body.failed", about)

        with pytest.raises(MayNotLeave):
            departure.give_body()

    async def test_refused_for_good(self) -> None:
        """A request that was refused stays refused, however often a transport tries."""
        claim = Claim(ClaimLost("po-1", 2))
        departure = Departure(claim)
        with pytest.raises(ClaimLost):
            await departure.leave()
        claim.error = None

        with pytest.raises(MayNotLeave):
            await departure.leave()

        assert not departure.may_have_left
        assert 1 == claim.calls

    async def test_it_may_have_left_after_the_claim_only(self) -> None:
        """As long as the claim is being written, nothing may have left."""
        seen = []

        async def look() -> None:
            seen.append(departure.may_have_left)

        departure = Departure(look)
        await departure.leave()

        assert [False] == seen

    @pytest.mark.parametrize(
        ("method", "event", "leaves"),
        [
            (b"POST", "http11.send_request_headers.started", True),
            (b"POST", "http2.send_request_headers.started", True),
            (b"CONNECT", "http11.send_request_headers.started", False),
            (b"POST", "http11.send_request_headers.complete", False),
            (b"POST", "connection.connect_tcp.started", False),
        ],
    )
    async def test_trace(self, method: bytes, event: str, leaves: bool) -> None:  # noqa: FBT001
        """Only the start of our own request counts as leaving."""
        departure = Departure()

        await departure.on_trace(event, {"request": httpcore.Request(method, URL)})

        assert departure.may_have_left is leaves

    @pytest.mark.parametrize("stood", [-60.0, 60.0])
    async def test_a_program_that_stood_still_stops(self, stood: float) -> None:
        """A request whose head left long ago is not made whole, and it may have left."""
        now = 1000.0
        departure = Departure(wall_clock=lambda: now)
        request = {"request": httpcore.Request("POST", URL)}
        await departure.on_trace("http11.send_request_headers.started", request)
        now += 9.0
        await departure.on_trace("http11.send_request_body.started", request)

        now += stood
        with pytest.raises(MayNotLeave):
            await departure.on_trace("http11.send_request_body.started", request)

        assert departure.may_have_left

    async def test_nobody_waits_for_the_rest(self) -> None:
        """A request that is given up after its head has left is not made whole."""
        departure = Departure()
        await departure.leave()
        departure.is_over = True

        with pytest.raises(MayNotLeave):
            departure.go_on()

    async def test_stood_still_on_a_socket(self) -> None:
        """Over httpx's own transport such a request leaves as a head, and counts as unknown."""
        bodies: list[bytes] = []
        closed = asyncio.Event()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"POST ")
            bodies.append(await reader.read())
            writer.close()
            closed.set()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ticks = iter((1000.0, 1060.0))
        departure = Departure(wall_clock=lambda: next(ticks))
        async with httpx.AsyncHTTPTransport(verify=TLS) as inner:
            failure = await lane(inner).post(f"http://127.0.0.1:{port}/", BODY, departure)
            await closed.wait()
        server.close()

        assert Failure("MayNotLeave", may_have_left=True) == failure
        assert [b""] == bodies


HEADERS_START = "http11.send_request_headers.started"
BODY_START = "http11.send_request_body.started"
PROOFS = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
HTTPCORE_ERRORS = [
    error
    for error in vars(httpcore).values()
    if isinstance(error, type) and issubclass(error, Exception)
]
OTHER_ERRORS = [OSError, ssl.SSLError, UnicodeError, RuntimeError, KeyError, TimeoutError]


class TestProof:
    @pytest.mark.parametrize("error", [*HTTPCORE_ERRORS, *OTHER_ERRORS])
    async def test_before_the_first_byte(self, error: type[Exception]) -> None:
        """Before the first byte, only a failure of a kind that comes then proves anything."""
        claim, inner = Claim(), httpx_transport("connection.connect_tcp.started", error(SECRET))

        failure = await lane(inner).post(URL, BODY, Departure(claim))

        assert Failure(error.__name__, may_have_left=error.__name__ not in PROOFS) == failure
        assert 0 == claim.calls

    @pytest.mark.parametrize("error", [*HTTPCORE_ERRORS, *OTHER_ERRORS])
    async def test_after_the_first_byte(self, error: type[Exception]) -> None:
        """After the first byte, no failure of any kind proves anything."""
        claim, inner = Claim(), httpx_transport(HEADERS_START, error(SECRET))

        failure = await lane(inner).post(URL, BODY, Departure(claim))

        assert Failure(error.__name__, may_have_left=True) == failure
        assert 1 == claim.calls

    def test_every_proof_is_tried(self) -> None:
        """Each kind of failure that can be a proof is among those tried above."""
        assert PROOFS <= {error.__name__ for error in HTTPCORE_ERRORS}

    @pytest.mark.parametrize("error", [httpcore.ConnectError, httpcore.ReadError])
    async def test_without_a_departure(self, error: type[Exception]) -> None:
        """Without somebody who watches it leave, nothing is proved."""
        failure = await lane(httpx_transport(error())).post(URL, BODY)

        assert isinstance(failure, Failure)
        assert failure.may_have_left

    async def test_second_try(self) -> None:
        """A transport that sends once more by itself is stopped, and its request is in doubt."""
        claim, inner = Claim(), httpx_transport(HEADERS_START, HEADERS_START)

        failure = await lane(inner).post(URL, BODY, Departure(claim))

        assert Failure("MayNotLeave", may_have_left=True) == failure
        assert 1 == claim.calls

    @pytest.mark.parametrize(
        "answer", [httpx.ConnectError("refused"), httpx.Response(200)], ids=["fails", "answers"]
    )
    async def test_handler(self, answer: httpx.Response | Exception) -> None:
        """A request counts as leaving before a transport that calls a handler in this process."""

        def handle(_: httpx.Request) -> httpx.Response:
            assert departure.may_have_left
            if isinstance(answer, Exception):
                raise answer
            return answer

        departure = Departure(claim := Claim())

        told = await lane(httpx.MockTransport(handle)).post(URL, BODY, departure)

        assert 1 == claim.calls
        assert told in {
            Failure("ConnectError", may_have_left=True),
            Reply(200, b"", is_delimited=False),
        }

    async def test_foreign_transport(self) -> None:
        """A request leaves over a transport of a host's when that is seen to send it."""
        departure, inner = Departure(claim := Claim()), Fake(httpx.ConnectError("refused"))

        failure = await lane(inner).post(URL, BODY, departure)

        assert Failure("ConnectError", may_have_left=True) == failure
        assert departure.may_have_left
        assert 1 == claim.calls
        assert BODY == inner.requests[0].content

    async def test_subclass(self) -> None:
        """A failure before anybody has had the body is a proof over a subclass of httpx's too."""

        class Failing(httpx.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                assert Departure.EXTENSION not in request.extensions
                raise httpx.ConnectError("refused")

        claim = Claim()

        failure = await lane(Failing(verify=TLS)).post(URL, BODY, Departure(claim))

        assert Failure("ConnectError", may_have_left=False) == failure
        assert 0 == claim.calls

    async def test_unseen(self) -> None:
        """An answer to what was not seen leaving is claimed late and not trusted, and says why."""
        departure = Departure(claim := Claim())

        failure = await lane(httpx_transport("http11.renamed")).post(URL, BODY, departure)

        assert isinstance(failure, Failure)
        assert failure.may_have_left
        assert failure.reason.startswith("answered without being seen leaving; does a mocking")
        assert departure.may_have_left
        assert 1 == claim.calls


class TestRefusal:
    @pytest.mark.parametrize(
        "error",
        [
            ClaimLost("po-1", 2),
            RuntimeError("disk"),
            TimeoutError(),
            httpx.ConnectError("the journal is a service"),
            httpcore.ConnectError("the journal is a service"),
            asyncio.CancelledError(),
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("is_httpx", [True, False])
    async def test_it_comes_out(self, error: BaseException, is_httpx: bool) -> None:  # noqa: FBT001
        """What the claim raises comes out as it is, and the inner transport has sent nothing."""
        inner = Fake()
        claimed = lane(httpx_transport(HEADERS_START) if is_httpx else inner)
        departure = Departure(Claim(error))

        with pytest.raises(type(error)) as caught:
            await claimed.post(URL, BODY, departure)

        # asyncio makes a new CancelledError for each task that one passes through.
        assert isinstance(error, asyncio.CancelledError) or caught.value is error
        assert not departure.may_have_left
        assert [] == inner.requests

    @pytest.mark.parametrize(
        "steps",
        [(HEADERS_START,), (HEADERS_START, httpcore.ConnectError("later"))],
        ids=["answered", "failed"],
    )
    async def test_it_is_not_forgotten(self, steps: tuple[str | Exception, ...]) -> None:
        """What the claim raised comes out even if the transport goes on without it."""
        error, inner = ClaimLost("po-1", 2), httpx_transport(*steps, swallows=True)

        with pytest.raises(ClaimLost) as caught:
            await lane(inner).post(URL, BODY, Departure(Claim(error)))

        assert caught.value is error


class TestReading:
    async def read(self, response: httpx.Response) -> Reply | Failure:
        """Let a lane read an answer."""
        return await lane(Fake(response)).post(URL, BODY, Departure())

    async def test_longest(self) -> None:
        """An answer of the greatest length is read whole, and closed."""
        stream = Stream(iter([b"a" * (LONGEST_ANSWER - 1), b"b"]))

        reply = await self.read(httpx.Response(200, stream=stream))

        assert Reply(200, b"a" * (LONGEST_ANSWER - 1) + b"b", is_delimited=False) == reply
        assert stream.is_closed

    async def test_too_long(self) -> None:
        """Of an answer without end no more than the greatest length is taken."""
        stream = Stream(iter(lambda: b"a" * 65536, b""))

        failure = await self.read(httpx.Response(200, stream=stream))

        assert Failure("oversized", may_have_left=True, http_status=200) == failure
        assert LONGEST_ANSWER + 65536 == stream.taken
        assert stream.is_closed

    @pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate, gzip", "zstd"])
    async def test_compressed(self, encoding: str) -> None:
        """A compressed answer is not even read, so that none can burst."""
        stream = Stream(iter([gzip.compress(b"type=async-response")]))

        failure = await self.read(
            httpx.Response(200, stream=stream, headers={"Content-Encoding": encoding})
        )

        assert isinstance(failure, Failure)
        assert failure.may_have_left
        assert 0 == stream.taken
        assert stream.is_closed

    @pytest.mark.parametrize("encoding", ["identity", "", " Identity "])
    async def test_identity(self, encoding: str) -> None:
        """An answer that says it is not compressed is read."""
        reply = await self.read(
            httpx.Response(200, content=b"a=b", headers={"Content-Encoding": encoding})
        )

        assert Reply(200, b"a=b", is_delimited=True) == reply

    @pytest.mark.parametrize(
        ("headers", "is_delimited"),
        [
            ({"Content-Length": "3"}, True),
            ({"Transfer-Encoding": "chunked"}, True),
            ({"Connection": "close"}, False),
        ],
    )
    async def test_end(self, headers: dict[str, str], is_delimited: bool) -> None:  # noqa: FBT001
        """A reply says whether a cut would have been seen."""
        response = httpx.Response(200, stream=Stream(iter([b"a=b"])), headers=headers)

        assert Reply(200, b"a=b", is_delimited) == await self.read(response)

    async def test_error_in_the_middle(self) -> None:
        """An answer that breaks off is a failure, and closed."""
        stream = Stream(iter([b"a"]), httpx.ReadError(SECRET))

        failure = await self.read(httpx.Response(200, stream=stream))

        assert Failure("ReadError", may_have_left=True) == failure
        assert stream.is_closed

    async def test_synchronous(self) -> None:
        """An answer that cannot be read without blocking is a failure, not an error."""

        class Blocking(httpx.SyncByteStream):
            pass

        failure = await self.read(httpx.Response(200, stream=Blocking()))

        assert Failure("no asynchronous stream", may_have_left=True, http_status=200) == failure

    def test_repr(self) -> None:
        """The body of a reply is not in its repr."""
        assert SECRET not in repr(Reply(200, SECRET.encode(), is_delimited=True))


class TestLane:
    @pytest.mark.parametrize("is_watched", [True, False])
    async def test_timeouts(self, is_watched: bool) -> None:  # noqa: FBT001
        """A transport that is called directly is told each of its timeouts."""
        inner = Fake()
        timeouts = Timeouts(connect=1.0, write=2.0)
        straight = Lane(HttpxSender(inner, 1, headers=HEADERS, timeouts=timeouts, read=3.0))

        await straight.post(URL, BODY, Departure() if is_watched else None)

        assert {"connect": 1.0, "write": 2.0, "read": 3.0, "pool": 1.0} == (
            inner.requests[0].extensions["timeout"]
        )

    async def test_sends_wait_longer(self) -> None:
        """Whoever sends what may move money waits longer for an answer than whoever asks."""
        assert Timeouts().send_read > Timeouts().poll_read

    async def test_answer_without_end(self) -> None:
        """What takes too long is left to itself, with its place, and leaves no more."""
        goes_on, timeouts = asyncio.Event(), Timeouts(connect=0.01, write=0.01)

        class Endless(httpx.AsyncBaseTransport):
            """Begins, and ends when it is told."""

            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                await goes_on.wait()
                await request.extensions[Departure.EXTENSION].leave()
                return httpx.Response(200)

        one = Lane(HttpxSender(Endless(), 1, headers=HEADERS, timeouts=timeouts, read=0.02))
        claim, late = Claim(), Claim()
        departure = Departure(late)
        told = await one.run(lambda: one.post(URL, BODY, departure))

        assert Failure("no whole answer in 0.06 s", may_have_left=True) == told
        await one.drain()
        waiting = asyncio.create_task(one.run(lambda: one.post(URL, BODY, Departure(claim))))
        await asyncio.sleep(0.02)
        assert 0 == len(one.in_flight)
        goes_on.set()
        await waiting
        assert departure.is_over
        assert not departure.may_have_left
        assert 0 == late.calls  # a claim for what never leaves would have to be taken back

    @pytest.mark.parametrize(
        ("error", "level"),
        [
            (JournalUnavailable("payouts.db", "disk full"), logging.ERROR),
            (
                ClaimLost("po-1", 2),
                logging.INFO,
            ),  # another owner was faster
        ],
    )
    async def test_failure_that_nobody_awaits(
        self, caplog: pytest.LogCaptureFixture, error: BillblendError, level: int
    ) -> None:
        """An exchange that fails after its caller was cancelled is told to the log, once."""
        caplog.set_level(logging.INFO, "billblend_async")
        begun, goes_on = asyncio.Event(), asyncio.Event()

        async def exchange() -> None:
            begun.set()
            await goes_on.wait()
            raise error

        one = lane(Fake())
        caller = asyncio.create_task(one.run(exchange))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert 1 == len(one.in_flight)

        goes_on.set()
        await one.drain()

        [record] = caplog.records
        assert (level, True) == (record.levelno, str(error) in record.getMessage())
        assert set() == one.in_flight

    async def test_failure_that_is_awaited(self, caplog: pytest.LogCaptureFixture) -> None:
        """An exchange that fails before the eyes of its caller is not logged too."""

        async def exchange() -> None:
            raise ClaimLost("po-1", 2)

        with pytest.raises(BillblendError):
            await lane(Fake()).run(exchange)

        assert [] == caplog.records


class TestUrl:
    @pytest.mark.parametrize(
        "url", [URL, "http://127.0.0.1:8000/x", "https://[::1]:8443/x", "http://localhost/x"]
    )
    def test_good(self, url: str) -> None:
        """A URL that can be signed and sent is taken."""
        check_url(url)

    @pytest.mark.parametrize(
        "url",
        [
            "https://999.1.1.1/x",  # httpx takes four numbers for an address
            "https://gate way.example/x",
            "https://gate\tway.example/x",
            "https://☃.example/x",
            "https://gate\\way.example/x",
            "ftp://gateway.example/x",
            "https:///x",
            f"https://{SECRET}@gateway.example/x",
        ],
    )
    def test_bad(self, url: str) -> None:
        """A URL that could not be called or signed is refused as what it is: a setting."""
        with pytest.raises(ConfigurationError) as caught:
            check_url(url)

        assert SECRET not in all_that_is_shown(caught.value)
