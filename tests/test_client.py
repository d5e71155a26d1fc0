"""Every answer is sorted into what it proves, and nothing that may move money is sent twice."""

import asyncio
import contextlib
import gc
import gzip
import hashlib
import inspect
import json
import logging
import random
import re
import socket
import ssl
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import attrs
import httpcore
import httpx
import pytest
import respx
from carriers import Fake
from hypothesis import given, settings
from hypothesis import strategies as st
from rsa_keys import PEM_2048, private_key
from servers import (
    HOST,
    ORDER,
    Connection,
    GatewayServer,
    ProxyServer,
    Script,
    Server,
    answer_to,
    http_answer,
    pairs,
    settle,
    tls_contexts,
    verified,
)

from billblend_async import __version__
from billblend_async.core.models import Polling
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import (
    Accepted,
    NoAnswer,
    NotFound,
    NotSent,
    Refused,
    SendAnswer,
    StatusReport,
    Unknown,
    is_later_transaction,
)
from billblend_async.errors import ClaimLost, ClosedError, ConfigurationError, JournalUnavailable
from billblend_async.gateway.client import Client
from billblend_async.gateway.credentials import Credentials, RsaSigner
from billblend_async.gateway.exchange import KEEP_ALIVE, LONGEST_ANSWER, Timeouts

LOGIN = "acme"
CONTROL = "AF4B5DE6-3468-424C-A922-C1DAD7CB4509"
CREDENTIALS = Credentials(LOGIN, RsaSigner(private_key(2048)), merchant_control=CONTROL)
OAUTH_ONLY = Credentials(LOGIN, RsaSigner(private_key(2048)))
SANDBOX = "https://sandbox.billblend.com/checkout"
# Trusts nobody, which spares the reading of all certificate authorities.
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
SERIAL = "00000000-0000-0000-0000-0000000000ab"
ACCEPTED = Accepted(ORDER, SERIAL)

Sending = Coroutine[Any, Any, SendAnswer]
Send = Callable[..., Sending]


def payout_request(client_orderid: str = "po-1", **fields: Any) -> PayoutRequest:
    usual = {"amount": Decimal("10.42"), "currency": "USD", "account_number": "1234567890"}
    return PayoutRequest(client_orderid=client_orderid, **{**usual, **fields})


def check(client: Client, client_orderid: str = "po-1", **hooks: Any) -> Sending:
    return client.check(payout_request(client_orderid), **hooks)


def pay(client: Client, client_orderid: str = "po-1", **hooks: Any) -> Sending:
    return client.pay(client_orderid, ORDER, **hooks)


def payout(client: Client, client_orderid: str = "po-1", **hooks: Any) -> Sending:
    return client.payout(payout_request(client_orderid), **hooks)


every_send = pytest.mark.parametrize("send", [check, pay, payout])


class Claim:
    """What is done before the first byte: it waits where it is told, and raises what it is told."""

    def __init__(
        self,
        error: BaseException | None = None,
        wait: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.begun = 0
        self.kept = 0
        self._error = error
        self._wait = wait

    async def __call__(self) -> None:
        self.begun += 1
        if self._wait is not None:
            await self._wait()
        if self._error is not None:
            raise self._error
        self.kept += 1


class Record:
    """Keeps what every exchange ended in."""

    def __init__(self) -> None:
        self.answers: list[SendAnswer] = []

    async def __call__(self, answer: SendAnswer) -> None:
        self.answers.append(answer)


class Stream(httpx.AsyncByteStream):
    """A body that ends when the connection does."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Hand it out whole."""
        yield self._octets


class FailingStream(httpx.AsyncByteStream):
    """An answer's body that breaks off."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Hand out a piece, then fail."""
        yield b"type=async-response"
        raise self._error


def client_at(url: str, credentials: Credentials = CREDENTIALS, **options: Any) -> Client:
    """Make a client of whatever listens at a URL."""
    usual = {"endpoint_id": 39915, "base_url": url, "ssl_context": NO_TRUST}
    return Client(credentials, **{**usual, **options})


def client_over(
    transport: httpx.AsyncBaseTransport, credentials: Credentials = CREDENTIALS, **options: Any
) -> Client:
    """Make a client of the sandbox that talks over a transport of ours."""
    usual = {} if "endpoint_group_id" in options else {"endpoint_id": 39915}
    return Client(credentials, **{**usual, **options}, transport=transport)


def routed(router: respx.Router, credentials: Credentials = CREDENTIALS, **options: Any) -> Client:
    """Make a client that talks to a router."""
    return client_over(httpx.MockTransport(router.async_handler), credentials, **options)


def answering(status: int = 200, content: bytes = b"", **headers: str) -> respx.Router:
    """Answer everything in one way."""
    router = respx.Router(assert_all_called=False)
    router.route().respond(
        status, content=content, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )
    return router


def only_request(router: respx.Router) -> httpx.Request:
    """Give the one request that came."""
    assert 1 == router.calls.call_count
    request = router.calls.last.request
    assert isinstance(request, httpx.Request)
    return request


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make the gateway's TLS, and that of a client that trusts it."""
    return tls_contexts(tmp_path_factory.mktemp("tls"))


class TestFrames:
    @pytest.mark.parametrize("command", [check, payout])
    async def test_refused_claim(self, command: Send) -> None:
        """What a refused claim raises shows no receiver's data in the frames that it passed."""
        request = payout_request(credit_card_number="4444555566661111", cvv2="973")
        caught: BaseException | None = None
        async with GatewayServer() as server, client_at(server.url) as client:
            send = client.check if command is check else client.payout
            try:
                await send(request, before_send=Claim(JournalUnavailable("payouts.db", "full")))
            except JournalUnavailable as error:
                caught = error

        assert caught is not None
        shown = traceback.TracebackException.from_exception(caught, capture_locals=True)
        assert "4444555566661111" not in "".join(shown.format())
        assert not re.search(r"(?<![0-9a-f])973(?![0-9a-f])", "".join(shown.format()))

    async def test_trickle(self) -> None:
        """An answer that comes byte by byte and never ends is given up on in a bounded time."""

        async def script(connection: Connection) -> None:
            await connection.read_request()
            await connection.write(b"HTTP/1.1 200 \r\nContent-Length: 1000\r\n\r\n")
            while True:
                await connection.write(b"x")
                await asyncio.sleep(0.05)

        timeouts = Timeouts(connect=0.2, write=0.2, send_read=0.2, poll_read=0.2)
        async with (
            Server(script) as server,
            client_at(server.url, timeouts=timeouts) as client,
        ):
            sent, told = await asyncio.gather(check(client), client.status("po-1"))

        assert Unknown("no whole answer in 0.8 s") == sent
        assert NoAnswer("no whole answer in 0.8 s") == told


class TestAddress:
    @pytest.mark.parametrize(
        ("base_url", "root"),
        [
            ("sandbox", "https://sandbox.billblend.com/checkout"),
            ("production", "https://pay.billblend.com/checkout"),
            ("https://gate.example/paynet/", "https://gate.example/paynet"),
            ("http://127.0.0.1:8080/checkout", "http://127.0.0.1:8080/checkout"),
        ],
    )
    @pytest.mark.parametrize(
        ("endpoint", "path"),
        [({"endpoint_id": 39915}, "39915"), ({"endpoint_group_id": 7}, "group/7")],
    )
    async def test_urls(
        self, base_url: str, root: str, endpoint: dict[str, Any], path: str
    ) -> None:
        """Each command is posted to its own address of the endpoint or group."""
        router = answering()

        for version in (2, 4):
            async with routed(
                router, base_url=base_url, status_version=version, **endpoint
            ) as client:
                await client.status("po-1", ORDER)
        async with routed(router, base_url=base_url, **endpoint) as client:
            await check(client)
            await pay(client)
            await payout(client)

        commands = ["v2/status", "v4/status", "v4/payout-check", "v4/payout-pay", "v4/payout"]
        assert [("POST", f"{root}/api/{command}/{path}") for command in commands] == [
            (call.request.method, str(call.request.url)) for call in router.calls
        ]

    @pytest.mark.parametrize(
        "options",
        [
            {"base_url": "https://999.1.1.1/checkout"},
            {"base_url": "https://☃.example/checkout"},
            {"base_url": "http://gate.example/checkout"},
            {"endpoint_id": 0},
            {"endpoint_group_id": 7},
            {"status_version": 3},
            {"status_version": 2, "credentials": OAUTH_ONLY},
            {"max_sends": 0},
            {"max_polls": 0},
        ],
        ids=str,
    )
    def test_refused(self, options: dict[str, Any]) -> None:
        """What can never work is refused when the client is made, and not with each payout."""
        usual: dict[str, Any] = {"credentials": CREDENTIALS, "endpoint_id": 39915}

        with pytest.raises(ConfigurationError):
            Client(**{**usual, **options})


class TestRequest:
    @pytest.mark.parametrize(
        ("send", "body"),
        [
            (
                check,
                b"client_orderid=po-1&amount=10.42&currency=USD&account_number=1234567890",
            ),
            (
                payout,
                b"client_orderid=po-1&amount=10.42&currency=USD&account_number=1234567890",
            ),
            (pay, b"client_orderid=po-1&login=acme&orderid=6982864"),
        ],
    )
    async def test_send(self, send: Send, body: bytes) -> None:
        """A request that may move money is a signed form that wants a connection of its own."""
        async with routed(router := answering()) as client:
            await send(client)

        request = only_request(router)
        headers = dict(request.headers)
        assert body == request.content
        assert headers.pop("authorization").startswith('OAuth oauth_consumer_key="acme", ')
        assert {
            "host": "sandbox.billblend.com",
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(body)),
            "accept": "*/*",
            "accept-encoding": "identity",
            "connection": "close",
            "user-agent": f"billblend-async/{__version__}",
        } == headers

    async def test_any_value(self) -> None:
        """Reserved characters, other alphabets and hyphened names travel as the gateway wants."""
        request = payout_request(
            order_desc="Zoë & Söhne = 100% + \"'!*()~/?", recurring_payment_id=7, purpose="a b+c"
        )

        async with routed(router := answering()) as client:
            await client.check(request)

        body = only_request(router).content
        assert b"&order_desc=Zo%C3%AB%20%26%20S%C3%B6hne%20%3D%20100%25%20%2B%20%22%27%21" in body
        assert b"&recurring-payment-id=7" in body
        assert {**dict(request.given()), "recurring-payment-id": "7"}.items() >= dict(
            parse_qsl(body.decode(), strict_parsing=True)
        ).items()

    @pytest.mark.parametrize(
        ("arguments", "middle", "covered"),
        [
            (("po-1", ORDER), b"&orderid=6982864", "acmepo-16982864"),
            (("po-1",), b"", "acmepo-1"),
        ],
    )
    async def test_status_v2(self, arguments: tuple[str, ...], middle: bytes, covered: str) -> None:
        """Version 2 of status is guarded by the control alone, over login, ids and secret."""
        async with routed(router := answering()) as client:
            await client.status(*arguments)

        request = only_request(router)
        control = hashlib.sha1(f"{covered}{CONTROL}".encode()).hexdigest().encode()
        assert b"client_orderid=po-1&login=acme" + middle + b"&control=" + control == (
            request.content
        )
        assert "authorization" not in request.headers
        assert "close" != request.headers.get("connection")
        assert "identity" == request.headers["accept-encoding"]

    @pytest.mark.parametrize("credentials", [CREDENTIALS, OAUTH_ONLY])
    async def test_status_v4(self, credentials: Credentials) -> None:
        """Version 4 of status is guarded by the signature, and no control leaves."""
        async with routed(router := answering(), credentials, status_version=4) as client:
            await client.status("po-1", ORDER)

        request = only_request(router)
        assert b"client_orderid=po-1&login=acme&orderid=6982864" == request.content
        assert request.headers["authorization"].startswith("OAuth ")

    @pytest.mark.parametrize(("credentials", "version"), [(CREDENTIALS, "v2"), (OAUTH_ONLY, "v4")])
    async def test_status_version(self, credentials: Credentials, version: str) -> None:
        """Status is version 2 where there is a control, and 4 where there is none."""
        async with routed(router := answering(), credentials) as client:
            await client.status("po-1", ORDER)

        assert f"/checkout/api/{version}/status/39915" == only_request(router).url.path

    async def test_by_request_sn(self) -> None:
        """One earlier request can be asked about; the control does not cover its number."""
        async with routed(router := answering()) as client:
            await client.status("po-1", ORDER, by_request_sn=SERIAL)

        form = dict(parse_qsl(only_request(router).content.decode()))
        assert SERIAL == form["by-request-sn"]
        assert hashlib.sha1(f"acmepo-1{ORDER}{CONTROL}".encode()).hexdigest() == form["control"]

    async def test_timeouts(self) -> None:
        """A send is waited for as long as sends may take, a question as long as questions may."""
        timeouts = Timeouts(connect=1.0, write=2.0, send_read=3.0, poll_read=4.0)
        usual = {"connect": 1.0, "write": 2.0, "pool": 1.0}
        transport = Fake(httpx.Response(200))

        async with client_over(transport, timeouts=timeouts) as client:
            await check(client)
            await client.status("po-1")

        assert [{**usual, "read": 3.0}, {**usual, "read": 4.0}] == [
            request.extensions["timeout"] for request in transport.requests
        ]

    @pytest.mark.parametrize("bits", [2048, 4096])
    @pytest.mark.parametrize("base", ["checkout", "a~b/c%20d"])
    async def test_signatures(self, bits: int, base: str) -> None:
        """What check, pay, payout and status sign is what they send, to whatever path."""
        credentials = Credentials("acme & söhne", RsaSigner(private_key(bits)))
        odd = "po~1 & Zoë=100%+'*()/"
        request = payout_request(odd, order_desc="Ж + \"'!*()~/?=&%", account_name="O'Neil, Жанна")

        async with (
            GatewayServer() as server,
            client_at(f"{server.origin}/{base}", credentials) as client,
        ):
            answers = [
                await client.check(request),
                await client.pay(odd, ORDER),
                await client.payout(request),
                await client.status(odd, ORDER),
            ]

        assert not [answer for answer in answers if isinstance(answer, Unknown | NoAnswer)]
        assert 4 == len(server.requests)
        nonces = {
            verified(sent, server.origin, bits=bits)["oauth_nonce"] for sent in server.requests
        }
        assert 4 == len(nonces)

    async def test_fifty_at_once(self) -> None:
        """Fifty requests at once keep their bodies, signatures and answers apart."""
        async with GatewayServer() as server, client_at(server.url) as client:
            answers = await asyncio.gather(
                *(client.pay(f"po-{number}", str(1000 + number)) for number in range(50))
            )

        assert [Accepted(str(1000 + number), SERIAL) for number in range(50)] == answers
        assert 50 == len({verified(r, server.origin)["oauth_nonce"] for r in server.requests})


REFUSED = Refused("7", "no such bank")
GOOD = pairs(
    type="async-response",
    serial_number=SERIAL,
    merchant_order_id="po-1",
    paynet_order_id=ORDER,
    end_point_id="39915",
)
REFUSAL = {"error_message": "no such bank", "error_code": "7"}
OURS = {"merchant_order_id": "po-1", "paynet_order_id": ORDER, "serial_number": SERIAL}
PAGE = b"<html><head><title>Access is denied</title></head><body>Access is denied</body></html>"
JSON = json.dumps(
    {
        "type": "async-response",
        "serial-number": SERIAL,
        "merchant-order-id": "po-1",
        "paynet-order-id": int(ORDER),
    }
).encode()
# What a body means to check and payout, and what to pay, if it is the gateway's own word.
SEND_BODIES: dict[str, tuple[bytes, SendAnswer | None, SendAnswer | None]] = {
    "good": (GOOD, ACCEPTED, ACCEPTED),
    "good JSON": (JSON, ACCEPTED, ACCEPTED),
    "refusal": (pairs(type="validation-error", **REFUSAL), REFUSED, REFUSED),
    "refusal with an id": (pairs(type="validation-error", **OURS, **REFUSAL), ACCEPTED, None),
    "refusal of another": (
        pairs(type="validation-error", merchant_order_id="po-2", **REFUSAL),
        None,
        None,
    ),
    "error with an id": (pairs(type="error", **OURS, **REFUSAL), ACCEPTED, None),
    "error without an id": (pairs(type="error", **REFUSAL), None, None),
    "about another": (GOOD.replace(b"po-1", b"po-2"), None, None),
    "status": (pairs(type="status-response", status="approved", **OURS), None, None),
    "page": (PAGE, None, None),
    "empty": (b"", None, None),
    "cut": (GOOD[:50], None, None),
    "cut JSON": (JSON[:-1], None, None),
    "twice": (GOOD + b"\n&paynet-order-id=1", None, None),
    "compressed": (gzip.compress(GOOD), None, None),
    "oversized": (GOOD + b"\n&pad=" + b"x" * LONGEST_ANSWER, None, None),
}
PROCESSING = pairs(type="status-response", status="processing", **OURS)
# What a body means to status: what kind of answer, and whether the gateway itself has spoken.
STATUS_BODIES: dict[str, tuple[bytes, type[object], bool]] = {
    "good": (PROCESSING, StatusReport, True),
    "good JSON": (
        b'{"type":"status-response","status":"processing","merchant-order-id":"po-1"}',
        StatusReport,
        True,
    ),
    "not found": (pairs(type="error", error_code="101", error_message="x"), NotFound, True),
    "refusal": (pairs(type="validation-error", **REFUSAL), NoAnswer, True),
    "error": (pairs(type="error", **REFUSAL), NoAnswer, True),
    "about another": (PROCESSING.replace(b"po-1", b"po-2"), NoAnswer, True),
    "acknowledgement": (GOOD, NoAnswer, True),
    "page": (PAGE, NoAnswer, False),
    "empty": (b"", NoAnswer, False),
    "cut": (PROCESSING[:25], NoAnswer, False),
    "compressed": (gzip.compress(PROCESSING), NoAnswer, False),
    "oversized": (PROCESSING + b"\n&pad=" + b"x" * LONGEST_ANSWER, NoAnswer, False),
}
OTHERS_WORD = [201, 204, 301, 302, 307, 401, 403, 407, 408, 429, 500, 502, 503, 504]
GATEWAYS_WORD = [200, 400, 404, 418]


def answering_with(body: str, status: int, content: bytes) -> respx.Router:
    """Answer with one of the bodies above."""
    extra = {"content_encoding": "gzip"} if body == "compressed" else {}
    return answering(status, content, location=f"{SANDBOX}/elsewhere", **extra)


class TestAnswer:
    @pytest.mark.parametrize("body", SEND_BODIES)
    @pytest.mark.parametrize("status", [*GATEWAYS_WORD, *OTHERS_WORD])
    async def test_send(self, status: int, body: str) -> None:
        """Every answer to a send has one end, and all but the gateway's clear word is Unknown."""
        content, of_check, of_pay = SEND_BODIES[body]
        router = answering_with(body, status, content)

        async with routed(router) as client:
            for send, meant in ((check, of_check), (payout, of_check), (pay, of_pay)):
                answer = await send(client)

                if status in GATEWAYS_WORD and meant is not None:
                    assert meant == answer
                else:
                    assert isinstance(answer, Unknown)
                    assert answer.reason
                if status in OTHERS_WORD:
                    assert status == getattr(answer, "http_status", None)

        assert 3 == router.calls.call_count  # nothing was followed or repeated

    @pytest.mark.parametrize("body", STATUS_BODIES)
    @pytest.mark.parametrize("status", [*GATEWAYS_WORD, *OTHERS_WORD])
    async def test_status(self, status: int, body: str) -> None:
        """Every answer to a question has one end, and what the gateway did not say is no news."""
        content, kind, is_readable = STATUS_BODIES[body]
        router = answering_with(body, status, content)

        async with routed(router) as client:
            answer = await client.status("po-1", ORDER)

        if status in GATEWAYS_WORD:
            assert kind is type(answer)
            assert is_readable is getattr(answer, "readable", True)
        else:
            assert isinstance(answer, NoAnswer)
            assert status == answer.http_status
            assert not answer.readable
        assert 1 == router.calls.call_count

    @settings(deadline=None, max_examples=60)
    @given(
        st.integers(200, 599),
        st.binary(max_size=200)
        | st.builds(
            lambda keys: b"&".join(key + b"=%31" for key in keys),
            st.lists(st.sampled_from([b"type", b"paynet-order-id", b"status", b"error-code"])),
        )
        | st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps(value).encode()),
    )
    def test_anything(self, status: int, content: bytes) -> None:
        """Whatever comes back, a send has one of four ends and a question one of three."""

        async def ask() -> None:
            async with routed(answering(status, content)) as client:
                assert isinstance(await check(client), Unknown)
                assert isinstance(await pay(client), Unknown)
                assert isinstance(await client.status("po-1"), NoAnswer | StatusReport)

        asyncio.run(ask())

    @pytest.mark.parametrize("status", [401, 403])
    async def test_access_denied(self, status: int) -> None:
        """A refusal of the key or address is told in words, since the gateway gives none."""
        async with routed(answering(status, PAGE)) as client:
            assert Unknown(f"access denied (HTTP {status})", status) == await check(client)
            assert NoAnswer(f"access denied (HTTP {status})", status) == await client.status("po-1")

    async def test_report(self) -> None:
        """A status answer is handed on with the gateway's words."""
        async with routed(answering(200, PROCESSING)) as client:
            report = await client.status("po-1", ORDER)

        assert isinstance(report, StatusReport)
        assert ("processing", ORDER, "po-1") == (
            report.status,
            report.paynet_order_id,
            report.merchant_order_id,
        )


SECRET = "hunter2-5500009876543210"


def httpx_errors() -> Iterator[Exception]:
    """Build every exception of httpx, holding a request with secrets where it can."""
    request = httpx.Request(
        "POST", f"{SANDBOX}?q={SECRET}", headers={"Authorization": SECRET}, content=SECRET
    )
    known = {
        "message": SECRET,
        "request": request,
        "response": httpx.Response(500, request=request, text=SECRET),
    }

    def below(kind: type[Exception]) -> Iterator[type[Exception]]:
        yield kind
        for subclass in kind.__subclasses__():
            yield from below(subclass)

    for root in (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict):
        for kind in below(root):
            wanted = inspect.signature(kind).parameters
            yield kind(**{name: known[name] for name in wanted})


HTTPX_ERRORS = list(httpx_errors())
every_httpx_error = pytest.mark.parametrize(
    "error",
    [*HTTPX_ERRORS, OSError(SECRET), RuntimeError(SECRET), ExceptionGroup(SECRET, [OSError()])],
    ids=lambda error: type(error).__name__,
)


class TestErrors:
    def test_tree(self) -> None:
        """The exceptions that are tried below are all that httpx has."""
        named = {
            error
            for error in vars(httpx).values()
            if isinstance(error, type) and issubclass(error, Exception)
        }

        assert named <= {type(error) for error in HTTPX_ERRORS}

    @every_httpx_error
    @every_send
    async def test_send(self, error: Exception, send: Send) -> None:
        """Whatever a foreign transport raises, the send is Unknown and says the kind alone."""
        claim = Claim()

        async with client_over(transport := Fake(error)) as client:
            answer = await send(client, before_send=claim)

        assert Unknown(type(error).__name__) == answer
        assert 1 == len(transport.requests)
        assert 1 == claim.kept

    @every_httpx_error
    async def test_send_that_breaks_off(self, error: Exception) -> None:
        """Whatever is raised while an answer is read, the send is Unknown."""
        response = httpx.Response(200, stream=FailingStream(error))

        async with client_over(Fake(response)) as client:
            assert Unknown(type(error).__name__) == await pay(client)

    @every_httpx_error
    @pytest.mark.parametrize("version", [2, 4])
    async def test_status(self, error: Exception, version: int) -> None:
        """Whatever a transport raises, a question has no answer and says the kind alone."""
        async with client_over(Fake(error), status_version=version) as client:
            assert NoAnswer(type(error).__name__) == await client.status("po-1")


async def closes_at_once(_: Connection) -> None:
    """Close before a byte is read."""


async def resets_at_once(connection: Connection) -> None:
    connection.reset()


async def closes_after_the_head(connection: Connection) -> None:
    await connection.read_head()


async def resets_after_the_head(connection: Connection) -> None:
    await connection.read_head()
    connection.reset()


async def closes_after_all(connection: Connection) -> None:
    await connection.read_request()


async def resets_after_all(connection: Connection) -> None:
    await connection.read_request()
    connection.reset()


def says(octets: bytes) -> Script:
    """Read the request, say something and close."""

    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(octets)

    return script


async def says_half(connection: Connection) -> None:
    answer = http_answer(answer_to(await connection.read_request()))
    await connection.write(answer[:-5])


async def says_half_and_resets(connection: Connection) -> None:
    answer = http_answer(answer_to(await connection.read_request()))
    await connection.write(answer[:-5])
    connection.reset()


async def says_it_without_an_end(connection: Connection) -> None:
    answer = answer_to(await connection.read_request())
    await connection.write(b"HTTP/1.1 200 \r\nConnection: close\r\n\r\n" + answer)


async def says_it_in_old_http(connection: Connection) -> None:
    answer = answer_to(await connection.read_request())
    await connection.write(b"HTTP/1.0 200 OK\r\n\r\n" + answer)


UNKNOWN_SCRIPTS: dict[str, Script] = {
    script.__name__: script
    for script in (
        closes_at_once,
        resets_at_once,
        closes_after_the_head,
        resets_after_the_head,
        closes_after_all,
        resets_after_all,
        says_half,
        says_half_and_resets,
    )
} | {
    "half a head": says(b"HTTP/1.1 200 \r\nContent-Le"),
    "half a chunk": says(b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\nff\r\ntype="),
    "no last chunk": says(b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\na=\r\n"),
    "no http": says(b"type=async-response\n&merchant-order-id=po-1\n&paynet-order-id=1\r\n\r\n"),
    "endless head": says(b"HTTP/1.1 200 \r\nX: " + b"a" * 200_000),
    "two lengths": says(b"HTTP/1.1 200 \r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\naa"),
    "upgrade": says(b"HTTP/1.1 101 \r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "bad gateway": says(http_answer(PAGE, 502)),
}


class TestNotSent:
    async def prove(self, url: str, reason: str, **options: Any) -> None:
        """Every send is NotSent, nothing is claimed, and asking is harmless."""
        claim, record = Claim(), Record()

        async with client_at(url, **options) as client:
            for send in (check, pay, payout):
                answer = await send(client, before_send=claim, after=record)
                assert NotSent(reason) == answer
            assert NoAnswer(reason) == await client.status("po-1")

        assert 0 == claim.begun
        assert [NotSent(reason)] * 3 == record.answers

    async def test_refused(self) -> None:
        """A port where nobody listens is NotSent."""
        with socket.socket() as taken:
            taken.bind((HOST, 0))  # bound and not listening, so nobody else takes it
            port = taken.getsockname()[1]

            await self.prove(f"http://{HOST}:{port}/checkout", "ConnectError")

    async def test_unresolvable(self) -> None:
        """A host whose name cannot be one (a label of 64 letters) is NotSent."""
        await self.prove(f"https://{'a' * 64}.invalid/checkout", "ConnectError")

    @pytest.mark.parametrize(
        "script", [closes_at_once, resets_at_once, lambda c: c.write(b"HTTP/1.1 400 \r\n\r\n")]
    )
    async def test_handshake_fails(self, script: Script) -> None:
        """A TLS handshake that fails is NotSent."""
        async with Server(script) as server:
            await self.prove(f"https://{HOST}:{server.port}/checkout", "ConnectError")

            assert b"po-1" not in server.received

    async def test_handshake_hangs(self) -> None:
        """A TLS handshake that does not end in time is NotSent."""
        async with Server(lambda connection: connection.reader.read(-1)) as server:
            url = f"https://{HOST}:{server.port}/checkout"
            await self.prove(url, "ConnectTimeout", timeouts=Timeouts(connect=0.05))

            assert b"po-1" not in server.received

    async def test_untrusted(self, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """A gateway whose certificate is not trusted is told nothing."""
        async with GatewayServer(tls=tls[0]) as server:
            await self.prove(server.url, "ConnectError")

            assert b"" == server.received

    async def test_pool_is_full(self) -> None:
        """A request that finds no connection in time is NotSent, and the next one is served."""
        claim, limits = Claim(), httpx.Limits(max_connections=1)
        async with (
            GatewayServer() as server,
            httpx.AsyncHTTPTransport(verify=NO_TRUST, limits=limits) as transport,
            client_at(server.url, transport=transport, timeouts=Timeouts(connect=0.3)) as client,
        ):
            server.gate.clear()
            first = asyncio.create_task(check(client, "po-1"))
            await server.until(lambda: server.busy == 1)

            assert NotSent("PoolTimeout") == await check(client, "po-2", before_send=claim)

            server.gate.set()
            assert ACCEPTED == await first
            assert ACCEPTED == await check(client, "po-3", before_send=claim)
        assert ["po-1", "po-3"] == [request.form["client_orderid"] for request in server.requests]
        assert 1 == claim.begun

    @every_send
    async def test_signer(self, send: Send) -> None:
        """A signer that fails is NotSent, and not even a connection is opened."""

        class Failing:
            key_size = 2048

            def sign(self, message: bytes) -> bytes:
                raise RuntimeError(SECRET)

        claim = Claim()
        async with (
            GatewayServer() as server,
            client_at(server.url, Credentials(LOGIN, Failing())) as client,
        ):
            assert NotSent("SigningFailed") == await send(client, before_send=claim)
            assert NoAnswer("SigningFailed") == await client.status("po-1")
            await settle()

        assert [] == server.connections
        assert 0 == claim.begun


class TestUnknown:
    @every_send
    @pytest.mark.parametrize("script", UNKNOWN_SCRIPTS)
    async def test_socket(self, script: str, send: Send) -> None:
        """Once the first byte may have left, whatever the gateway does is Unknown, and once."""
        claim, record = Claim(), Record()

        async with (
            Server(UNKNOWN_SCRIPTS[script]) as server,
            client_at(server.url) as client,
        ):
            answer = await send(client, before_send=claim, after=record)
            await settle()

        assert isinstance(answer, Unknown)
        assert [answer] == record.answers
        assert 1 == claim.kept
        assert 1 == len(server.connections)
        assert len(server.requests) <= 1

    @pytest.mark.parametrize("script", UNKNOWN_SCRIPTS)
    async def test_tls(self, script: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """Over TLS too, whatever the gateway does after the handshake is Unknown, and once."""
        claim = Claim()

        async with (
            Server(UNKNOWN_SCRIPTS[script], tls=tls[0]) as server,
            client_at(server.url, ssl_context=tls[1]) as client,
        ):
            answer = await pay(client, before_send=claim)
            await settle()

        assert isinstance(answer, Unknown)
        assert 1 == claim.kept
        assert 1 == len(server.connections)

    @pytest.mark.parametrize("script", [closes_at_once, resets_at_once])
    async def test_gone_before_the_first_byte(self, script: Script) -> None:
        """A connection that was gone before the first byte is not seen to be so: Unknown."""
        async with Server(script) as server, client_at(server.url) as client:
            claim = Claim(wait=lambda: server.until(lambda: server.connections[0].is_over))

            answer = await pay(client, before_send=claim)

        assert isinstance(answer, Unknown)
        assert 1 == claim.kept

    @every_send
    async def test_late_answer(self, send: Send) -> None:
        """An answer that comes too late changes nothing: the send is Unknown, once."""
        waited_for, rest = asyncio.Event(), []

        async def script(connection: Connection) -> None:
            request = await connection.read_request()
            await waited_for.wait()
            await connection.write(http_answer(answer_to(request)))
            rest.append(await connection.reader.read())

        record = Record()
        async with (
            Server(script) as server,
            client_at(server.url, timeouts=Timeouts(send_read=0.05)) as client,
        ):
            assert Unknown("ReadTimeout") == await send(client, after=record)

            waited_for.set()
            await server.until(lambda: server.open_connections == 0)

        assert [b""] == rest  # the client has closed, and said nothing more
        assert [Unknown("ReadTimeout")] == record.answers
        assert 1 == len(server.requests)


class TestEnd:
    """An answer without a declared end may be cut anywhere."""

    @pytest.mark.parametrize("script", [says_it_without_an_end, says_it_in_old_http])
    @every_send
    async def test_whole(self, send: Send, script: Script) -> None:
        """An answer that ends with its connection is read, since what it says is whole."""
        async with Server(script) as server, client_at(server.url) as client:
            assert ORDER == getattr(await send(client), "paynet_order_id", None)

    @pytest.mark.parametrize("separator", ["&", "\n&"])
    @pytest.mark.parametrize("command", [check, pay, None])
    async def test_cut(self, command: Send | None, separator: str) -> None:
        """However it is cut, no other order, status or amount is read than the gateway's own."""
        fields = {
            "type": "async-response" if command else "status-response",
            "serial-number": SERIAL,
            "merchant-order-id": "po-1",
            "paynet-order-id": ORDER,
            "status": "approved",
            "amount": "10.42",
            "initial-amount": "10.42",
            "currency": "USD",
        }
        order = list(fields.items())
        for turned in range(len(order)):
            told = dict(order[turned:] + order[:turned])
            whole = separator.join(f"{name}={value}" for name, value in told.items()).encode()
            for length in range(len(whole) + 1):
                response = httpx.Response(200, stream=Stream(whole[:length]))
                async with client_over(Fake(response)) as client:
                    answer = await (command(client) if command else client.status("po-1"))
                seen = {name: getattr(answer, name.replace("-", "_"), None) for name in fields}
                amounts = {"amount": Decimal("10.42"), "initial-amount": Decimal("10.42")}
                assert {k: v for k, v in seen.items() if v}.items() <= {
                    **fields,
                    **amounts,
                }.items()

    @pytest.mark.parametrize("status", ["approved", "declined"])
    async def test_cut_later_transaction(self, status: str) -> None:
        """However it is cut, how a chargeback ended is never told as how the payout did."""
        fields = {
            "type": "status-response",
            "merchant-order-id": "po-1",
            "paynet-order-id": ORDER,
            "status": status,
            "order-stage": f"chargeback_{status}",
            "transaction-type": "chargeback",
        }
        order, told_later = list(fields.items()), 0
        for turned in range(len(order)):
            told = dict(order[turned:] + order[:turned])
            whole = "\n&".join(f"{name}={value}" for name, value in told.items()).encode()
            for length in range(len(whole) + 1):
                response = httpx.Response(200, stream=Stream(whole[:length]))
                async with client_over(Fake(response)) as client:
                    answer = await client.status("po-1")
                if isinstance(answer, StatusReport) and answer.status.is_final:
                    assert is_later_transaction(answer.transaction_type, answer.order_stage)
                    told_later += 1
        assert told_later

    @every_send
    async def test_refusal(self, send: Send) -> None:
        """A refusal without an end is none: the id of an order may be what is missing."""
        said = b"type=validation-error\n&error-code=8\n&error-message=no\n&x="
        async with client_over(Fake(httpx.Response(200, stream=Stream(said)))) as client:
            assert Unknown("a refusal whose end cannot be seen", 200) == await send(client)

    @pytest.mark.parametrize(
        "named", ["", "order-stage=payout_approved\n&", "transaction-type=payout\n&"]
    )
    async def test_status(self, named: str) -> None:
        """A status without an end counts when it says what it is about: a reversal has one too."""
        said = f"type=status-response\n&status=approved\n&merchant-order-id=po-1\n&{named}x="
        stream = Stream(said.encode())
        async with client_over(Fake(httpx.Response(200, stream=stream))) as client:
            answer = await client.status("po-1")
        unseen = NoAnswer("an answer whose end cannot be seen", 200, readable=True)
        assert (answer != unseen) is bool(named)


class TestAccepted:
    @every_send
    async def test_socket(self, send: Send) -> None:
        """An acknowledgement that names our order is Accepted."""
        claim, record = Claim(), Record()

        async with GatewayServer() as server, client_at(server.url) as client:
            assert ACCEPTED == await send(client, before_send=claim, after=record)

        assert [ACCEPTED] == record.answers
        assert 1 == claim.kept

    async def test_tls(self, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """Over TLS it is the same."""
        async with (
            GatewayServer(tls=tls[0]) as server,
            client_at(server.url, ssl_context=tls[1]) as client,
        ):
            assert ACCEPTED == await check(client)

    async def test_in_pieces(self) -> None:
        """An answer in chunks, byte by byte and after an informational one is read whole."""

        async def script(connection: Connection) -> None:
            answer = answer_to(await connection.read_request())
            await connection.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await connection.write(b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n")
            for octet in answer:
                await connection.write(b"1\r\n%c\r\n" % octet)
            await connection.write(b"0\r\n\r\n")

        async with Server(script) as server, client_at(server.url) as client:
            assert ACCEPTED == await check(client)


class TestClaim:
    @pytest.mark.parametrize("is_tls", [False, True])
    async def test_between_connection_and_first_byte(
        self,
        is_tls: bool,  # noqa: FBT001
        tls: tuple[ssl.SSLContext, ssl.SSLContext],
    ) -> None:
        """The claim is made when the connection is open, and holds the first byte back."""
        server_tls, client_tls = tls if is_tls else (None, NO_TRUST)
        goes_on = asyncio.Event()
        async with (
            GatewayServer(tls=server_tls) as server,
            client_at(server.url, ssl_context=client_tls) as client,
        ):
            claim = Claim(wait=goes_on.wait)
            sending = asyncio.create_task(check(client, before_send=claim))
            await server.until(lambda: len(server.connections) == 1)
            while not claim.begun:
                await asyncio.sleep(0)
            await settle()

            assert (b"", 1) == (server.received, client.in_flight)
            assert not sending.done()

            goes_on.set()
            assert ACCEPTED == await sending
            assert 1 == len(server.connections)

    @every_send
    @pytest.mark.parametrize(
        "error",
        [
            ClaimLost("po-1", 2),
            RuntimeError("disk full"),
            TimeoutError(),
            httpx.ConnectError("the journal is a service"),
            httpcore.ConnectError("the journal is a service"),
            asyncio.CancelledError(),
        ],
        ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
    )
    async def test_refusal(self, error: BaseException, send: Send) -> None:
        """A claim that fails sends nothing, comes out as it is, and leaves the client whole."""
        claim, record = Claim(error), Record()

        async with (
            GatewayServer() as server,
            client_at(server.url, max_sends=1) as client,
        ):
            for _ in range(3):
                with pytest.raises(type(error)) as caught:
                    await send(client, before_send=claim, after=record)
                # asyncio makes a new CancelledError for each task that one passes through.
                assert isinstance(error, asyncio.CancelledError) or error is caught.value
            await server.until(lambda: server.open_connections == 0)
            assert (b"", 3, []) == (server.received, claim.begun, record.answers)

            assert ACCEPTED == await send(client, before_send=Claim(), after=record)

        assert [ACCEPTED] == record.answers
        assert 1 == len(server.requests)

    async def test_swallowed_refusal(self) -> None:
        """A claim that fails as httpcore's own writing would is not taken for that."""
        error = httpcore.WriteError("the journal is a service")

        async with (
            GatewayServer() as server,
            client_at(server.url, max_sends=1, timeouts=Timeouts(send_read=0.5)) as client,
        ):
            with pytest.raises(httpcore.WriteError) as caught:
                await pay(client, before_send=Claim(error))
            assert error is caught.value
            assert ACCEPTED == await pay(client)

        assert 1 == len(server.requests)

    async def test_without(self) -> None:
        """Whoever has nothing to claim may send."""
        async with GatewayServer() as server, client_at(server.url) as client:
            assert ACCEPTED == await payout(client, before_send=None, after=None)

    async def test_failing_record(self) -> None:
        """What the record of an answer raises comes out, and the client is whole."""

        async def fail(answer: SendAnswer) -> None:
            assert ACCEPTED == answer
            raise ClaimLost("po-1", 3)

        async with GatewayServer() as server, client_at(server.url, max_sends=1) as client:
            with pytest.raises(ClaimLost):
                await check(client, after=fail)
            assert ACCEPTED == await check(client)


class TestProxy:
    @contextlib.asynccontextmanager
    async def through(
        self, proxy: Server, url: str, trusts: ssl.SSLContext
    ) -> AsyncIterator[Client]:
        """Make a client that reaches the gateway over a proxy."""
        async with (
            httpx.AsyncHTTPTransport(
                proxy=proxy.origin, verify=trusts, trust_env=False
            ) as transport,
            client_at(url, transport=transport) as client,
        ):
            yield client

    async def test_tunnel(self, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """The claim is made when the tunnel is open and secured, not when it is asked for."""
        async with GatewayServer(tls=tls[0]) as server, ProxyServer() as proxy:

            async def look() -> None:
                await server.until(lambda: len(server.connections) == 1)
                await settle()
                assert [f"{HOST}:{server.port}"] == proxy.tunnels
                assert b"" == server.received
                assert b"po-1" not in proxy.received

            claim = Claim(wait=look)
            async with self.through(proxy, server.url, tls[1]) as client:
                assert ACCEPTED == await pay(client, before_send=claim)

            assert 1 == claim.kept
            assert 1 == len(server.requests)

    @pytest.mark.parametrize("status", [301, 403, 407, 502, 504])
    async def test_no_tunnel(self, status: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """A proxy that opens no tunnel has been told nothing: NotSent, and nothing is claimed."""
        claim = Claim()
        async with GatewayServer(tls=tls[0]) as server, ProxyServer(http_answer(b"", status)) as no:
            async with self.through(no, server.url, tls[1]) as client:
                assert NotSent("ProxyError") == await pay(client, before_send=claim)

            assert [] == server.connections
            assert 0 == claim.begun

    async def test_broken_tunnel(self, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """A tunnel that ends in the handshake has carried nothing: NotSent."""
        claim = Claim()
        async with ProxyServer(b"HTTP/1.1 200 \r\n\r\n") as proxy:
            async with self.through(proxy, f"https://{HOST}:1/checkout", tls[1]) as client:
                assert NotSent("ConnectError") == await pay(client, before_send=claim)

            assert 0 == claim.begun
            assert b"po-1" not in proxy.received

    async def test_silent_proxy(self, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """A proxy that hangs up has proved nothing: both kinds of evidence are needed."""
        async with Server(closes_after_the_head) as proxy:
            async with self.through(proxy, f"https://{HOST}:1/checkout", tls[1]) as client:
                assert isinstance(await pay(client), Unknown)

            assert b"po-1" not in proxy.received

    async def test_without_tunnel(self) -> None:
        """A request in plain text leaves to the proxy, so it is claimed before."""
        async with Server(closes_after_all) as proxy:
            claim = Claim(wait=lambda: proxy.until(lambda: len(proxy.connections) == 1))
            async with self.through(proxy, f"http://{HOST}:1/checkout", NO_TRUST) as client:
                assert isinstance(await pay(client, before_send=claim), Unknown)

            assert 1 == claim.kept
            assert 1 == len(proxy.requests)

    async def test_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy that the environment names is not used: nobody but the gateway is told."""
        async with GatewayServer() as server, ProxyServer() as proxy:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.origin)
                monkeypatch.setenv(name.lower(), proxy.origin)
            async with client_at(server.url) as client:
                assert ACCEPTED == await check(client)

            assert [] == proxy.connections


class TestForeignTransport:
    @every_send
    async def test_claim(self, send: Send) -> None:
        """What a handler in this process is to answer is claimed before it is called."""
        claim = Claim()

        def handle(request: httpx.Request) -> httpx.Response:
            assert 1 == claim.kept
            form = dict(parse_qsl(request.content.decode()))
            return httpx.Response(200, content=GOOD if form["client_orderid"] == "po-1" else b"")

        async with client_over(httpx.MockTransport(handle)) as client:
            assert ACCEPTED == await send(client, before_send=claim)

    @every_send
    async def test_refusal(self, send: Send) -> None:
        """A claim that fails keeps a request from leaving over a transport of a host's."""
        error = ClaimLost("po-1", 2)

        async with client_over(transport := Fake(httpx.Response(200))) as client:
            with pytest.raises(ClaimLost) as caught:
                await send(client, before_send=Claim(error))

        assert error is caught.value
        assert [] == transport.requests

    async def test_subclass(self) -> None:
        """A subclass of httpx's transport that keeps a trace of its own is refused."""

        class Tracing(httpx.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                request.extensions = {**request.extensions, "trace": trace}
                return await super().handle_async_request(request)

        async def trace(name: str, _: Mapping[str, Any]) -> None:
            names.append(name)

        claim = Claim()
        names: list[str] = []
        async with (
            GatewayServer() as server,
            Tracing(verify=NO_TRUST) as transport,
            client_at(server.url, transport=transport) as client,
        ):
            with pytest.raises(ConfigurationError, match="Tracing: it reads a request before"):
                await pay(client, before_send=claim)

        assert names
        assert (0, []) == (claim.begun, server.requests)

    async def test_lanes(self) -> None:
        """Questions go over the sending transport, or over one of their own."""
        sends, polls = Fake(httpx.Response(200)), Fake(httpx.Response(200))

        async with client_over(sends, poll_transport=polls) as client:
            await check(client)
            await client.status("po-1")
        async with client_over(sends) as client:
            await client.status("po-1")

        assert ["payout-check", "status"] == [r.url.path.split("/")[4] for r in sends.requests]
        assert ["status"] == [r.url.path.split("/")[4] for r in polls.requests]


PRIVATE = {
    "account_number": "55000098765432109876",
    "credit_card_number": "4444333322221111",
    "card_printed_name": "ZEBEDIAH QUUX",
    "receiver_email": "zebediah@quux.example",
    "legal_person_document_number": "DOC-77-QUX",
    "merchant_data": "PRIVATE-NOTE-31337",
}
NEVER_SHOWN = [
    *PRIVATE.values(),
    *(quote(text) for text in PRIVATE.values()),
    CONTROL,
    hashlib.sha1(f"{LOGIN}po-1{CONTROL}".encode()).hexdigest(),
    SECRET,
    "oauth_",
    "uthorization",
    PEM_2048.splitlines()[1],
    PEM_2048.splitlines()[9],
]
ECHO = pairs(
    type="error",
    error_code="7",
    error_message=f"the account {PRIVATE['account_number']} of card 4444333322221111 is closed",
)


def parts_of(value: object) -> Iterator[object]:
    """List a value and all that hangs on it."""
    yield value
    inner: list[object] = []
    if isinstance(value, BaseException):
        inner = [*value.args, value.__cause__, value.__context__, *vars(value).values()]
    elif isinstance(value, Mapping):
        inner = [*value.keys(), *value.values()]
    if attrs.has(type(value)):
        inner += attrs.astuple(value, recurse=False)  # type: ignore[arg-type]
    for part in inner:
        yield from parts_of(part)


class TestSecrets:
    async def tell(self, client: Client, *, version: str) -> str:
        """Send and ask; gather all that is shown of client, answers and exceptions."""
        request = payout_request(**PRIVATE)
        shown = [repr(client), str(client), repr(request), repr(CREDENTIALS)]
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: client.check(request),
            lambda: client.payout(request, before_send=Claim(ClaimLost("po-1", 2))),
            lambda: client.pay("po-1", ORDER),
            lambda: client.status("po-1"),
        ]
        for call in calls:
            try:
                result: object = await call()
            except ClaimLost as error:
                result = error
                shown += traceback.format_exception(error)
            shown += [repr(result), str(result)]
            assert {"builtins", "decimal"} >= {
                type(part).__module__
                for part in parts_of(result)
                if not type(part).__module__.startswith("billblend_async.")
            }
        return "\n".join(shown)

    @pytest.mark.parametrize("version", [2, 4])
    @pytest.mark.parametrize(
        "script",
        [
            says(http_answer(GOOD)),
            says(http_answer(ECHO)),
            says(http_answer(ECHO.replace(b"=error", b"=validation-error"))),
            says(http_answer(ECHO + b"\n&new=" + quote(str(PRIVATE)).encode(), 400)),
            says(http_answer(f"<html>{PRIVATE}</html>".encode())),
            says(http_answer(f"<html>{PRIVATE}</html>".encode(), 403)),
            says(b"HTTP/1.1 302 \r\nContent-Length: 0\r\nLocation: /\r\n\r\n"),
            closes_at_once,
            closes_after_all,
            resets_after_all,
            says_half,
            says(b"what?\r\n\r\n"),
        ],
    )
    async def test_sockets(
        self, script: Script, version: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """However an exchange ends, nothing secret is in a repr, traceback or debug record."""
        caplog.set_level(logging.DEBUG)
        for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "asyncio"):
            caplog.set_level(logging.DEBUG, name)

        async with (
            Server(script) as server,
            client_at(server.url, status_version=version) as client,
        ):
            shown = await self.tell(client, version=str(version))

        assert any(record.name.startswith("httpcore") for record in caplog.records)
        records = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
        for secret in NEVER_SHOWN:
            assert secret not in "\n".join([shown, *records])

    @pytest.mark.parametrize("error", HTTPX_ERRORS, ids=lambda error: type(error).__name__)
    async def test_errors(self, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
        """Whatever an exception of a transport holds, nothing of it is shown or kept."""
        caplog.set_level(logging.DEBUG)

        async with client_over(Fake(error)) as client:
            shown = await self.tell(client, version="2")

        for secret in NEVER_SHOWN:
            assert secret not in shown + caplog.text

    async def test_abandoned(self, caplog: pytest.LogCaptureFixture) -> None:
        """An exchange that fails after its caller has gone tells the log nothing secret."""
        caplog.set_level(logging.DEBUG)
        claim = Claim(ClaimLost("po-1", 2), wait=(goes_on := asyncio.Event()).wait)
        async with GatewayServer() as server, client_at(server.url) as client:
            caller = asyncio.create_task(client.check(payout_request(**PRIVATE), before_send=claim))
            while not claim.begun:
                await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait([caller])
            goes_on.set()

        assert "payout po-1: step 2" in caplog.text
        for secret in NEVER_SHOWN:
            assert secret not in caplog.text

    async def test_report(self) -> None:
        """A report of status shows nothing personal, not even in fields that we do not know."""
        personal = {
            name: quote(f"{SECRET}-{name}")
            for name in ("name", "email", "phone", "redirect-to", "html", "merchantdata", "new")
        }
        content = PROCESSING + "".join(f"\n&{k}={v}" for k, v in personal.items()).encode()

        async with routed(answering(200, content)) as client:
            report = await client.status("po-1", ORDER)

        assert isinstance(report, StatusReport)
        assert f"{SECRET}-email" == report.email
        assert SECRET not in repr(report) + str(report)


async def cancel(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and see that each ends so."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


Ask = Callable[[Client, str], Coroutine[Any, Any, object]]


def ask_status(client: Client, client_orderid: str) -> Coroutine[Any, Any, object]:
    return client.status(client_orderid, ORDER)


both_lanes = pytest.mark.parametrize("ask", [check, ask_status])


class TestCancellation:
    @every_send
    async def test_under_way(self, send: Send) -> None:
        """A caller that is cancelled ends its wait, never the request, and the answer is kept."""
        record = Record()
        async with GatewayServer() as server, client_at(server.url) as client:
            server.gate.clear()
            caller = asyncio.create_task(send(client, after=record))
            await server.until(lambda: server.busy == 1)

            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller

            assert ([], 1) == (record.answers, client.in_flight)
            server.gate.set()
            await client.drain()
            assert ([ACCEPTED], 0) == (record.answers, client.in_flight)
        assert 1 == len(server.requests)

    async def test_during_the_claim(self) -> None:
        """A caller that is cancelled while its claim is written does not hold its request back."""
        claim, record = Claim(wait=(goes_on := asyncio.Event()).wait), Record()
        async with GatewayServer() as server, client_at(server.url) as client:
            caller = asyncio.create_task(check(client, before_send=claim, after=record))
            while not claim.begun:
                await asyncio.sleep(0)

            caller.cancel()
            await asyncio.wait([caller])
            goes_on.set()
            await client.drain()

        assert [ACCEPTED] == record.answers
        assert 1 == len(server.requests)

    async def test_waiting(self) -> None:
        """A caller that is cancelled while it waits for its turn has started nothing."""
        claim, record = Claim(), Record()
        async with GatewayServer() as server, client_at(server.url, max_sends=1) as client:
            server.gate.clear()
            first = asyncio.create_task(check(client, "po-1"))
            await server.until(lambda: server.busy == 1)
            second = asyncio.create_task(check(client, "po-2", before_send=claim, after=record))
            await settle()

            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            server.gate.set()

            assert ACCEPTED == await first
            assert ACCEPTED == await check(client, "po-3")
        assert ["po-1", "po-3"] == [request.form["client_orderid"] for request in server.requests]
        assert (0, []) == (claim.begun, record.answers)

    @both_lanes
    async def test_hundred(self, ask: Ask) -> None:
        """After a hundred cancelled requests, under way or waiting, a hundred more are served."""
        async with (
            GatewayServer() as server,
            client_at(server.url, max_sends=8, max_polls=8) as client,
        ):
            server.gate.clear()
            callers = [asyncio.create_task(ask(client, f"po-{n}")) for n in range(100)]
            await server.until(lambda: server.busy == 8)
            await settle()

            await cancel(*callers)
            assert 8 == client.in_flight
            server.gate.set()
            await client.drain()
            assert (8, 8) == (server.peak, len(server.requests))

            answers = await asyncio.gather(*(ask(client, f"po-{n}") for n in range(100, 200)))
            assert not [a for a in answers if not isinstance(a, Accepted | StatusReport)]
            assert (8, 108, 0) == (server.peak, len(server.requests), client.in_flight)

    @both_lanes
    @pytest.mark.parametrize("seed", range(4))
    async def test_any_moment(self, seed: int, ask: Ask) -> None:
        """Whenever callers are cancelled, no place is lost and no limit is passed."""
        chance = random.Random(seed)
        async with (
            GatewayServer() as server,
            client_at(server.url, max_sends=3, max_polls=3) as client,
        ):
            callers = []
            for number in range(100):
                callers.append(asyncio.create_task(ask(client, f"po-{number}")))
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                chance.choice(callers).cancel()
                if chance.random() < 0.1:
                    server.gate.clear()
                if chance.random() < 0.3:
                    server.gate.set()
            server.gate.set()
            await asyncio.wait(callers)
            await client.drain()

            names = [request.form["client_orderid"] for request in server.requests]
            assert len(set(names)) == len(names)
            answered = [caller for caller in callers if not caller.cancelled()]
            assert 0 < len(answered) <= len(names)
            assert len(answered) < 100

            server.gate.clear()
            more = [asyncio.create_task(ask(client, f"new-{n}")) for n in range(20)]
            await server.until(lambda: server.busy == 3)
            server.gate.set()
            for answer in await asyncio.gather(*more):
                assert isinstance(answer, Accepted | StatusReport)
            assert 3 == server.peak


class TestLimits:
    async def test_lanes(self) -> None:
        """Each lane has as many requests under way as it has connections, and no more."""
        async with (
            GatewayServer() as server,
            client_at(server.url, max_sends=5, max_polls=7) as client,
        ):
            server.gate.clear()
            callers = [
                asyncio.create_task(ask(client, f"po-{n}"))
                for n in range(40)
                for ask in (check, ask_status)
            ]
            await server.until(lambda: server.busy == 12)
            await settle()

            targets = [request.target.split("/")[4] for request in server.requests]
            assert (5, 7) == (targets.count("payout-check"), targets.count("status"))
            assert (12, 12) == (client.in_flight, len(server.connections))
            server.gate.set()
            await asyncio.gather(*callers)

        assert 80 == len(server.requests)
        assert 12 == server.peak

    async def test_full_lane_of_sends(self) -> None:
        """Questions are answered while every connection for sends is taken."""
        async with GatewayServer() as server, client_at(server.url, max_sends=1) as client:
            goes_on = asyncio.Event()
            sending = asyncio.create_task(check(client, before_send=Claim(wait=goes_on.wait)))
            await server.until(lambda: len(server.connections) == 1)

            assert isinstance(await client.status("po-1"), StatusReport)

            goes_on.set()
            assert ACCEPTED == await sending


class TestConnections:
    async def test_sends(self) -> None:
        """Each request that may move money opens a connection of its own, which then closes."""
        async with GatewayServer() as server, client_at(server.url) as client:
            await client.status("po-1")
            for number in range(5):
                await check(client, f"po-{number}")
            await server.until(lambda: server.open_connections == 1)

            assert 6 == len(server.connections)
            assert all(
                connection.received.count(b"POST ") == 1 for connection in server.connections
            )

    async def test_unwilling_gateway(self) -> None:
        """A connection that the gateway would keep is not used for a second send."""

        async def script(connection: Connection) -> None:
            while True:
                request = await connection.read_request()
                answer = http_answer(answer_to(request))
                await connection.write(
                    answer.replace(b" \r\n", b" \r\nConnection: keep-alive\r\n", 1)
                )

        async with Server(script) as server, client_at(server.url) as client:
            for number in range(3):
                assert ACCEPTED == await check(client, f"po-{number}")

            assert 3 == len(server.connections)
            await server.until(lambda: server.open_connections == 0)

    async def test_polls(self) -> None:
        """Questions share a connection, and no send takes it."""
        async with GatewayServer() as server, client_at(server.url) as client:
            for number in range(5):
                await client.status(f"po-{number}")
                await pay(client)

            polls = [c for c in server.connections if b"/status/" in c.received]
            assert [5] == [poll.received.count(b"POST ") for poll in polls]
            assert b"payout-pay" not in polls[0].received
            assert 6 == len(server.connections)

    async def test_kept_connection_is_gone(self) -> None:
        """A kept connection that the gateway has closed meanwhile costs no question."""

        async def script(connection: Connection) -> None:
            request = await connection.read_request()
            await connection.write(http_answer(answer_to(request)))

        async with Server(script) as server, client_at(server.url) as client:
            for number in range(3):
                assert isinstance(await client.status(f"po-{number}"), StatusReport)
                await server.until(lambda: server.open_connections == 0)
                await settle()

            assert 3 == len(server.connections)

    def test_keep_alive(self) -> None:
        """A kept connection is given up before the next question about the same payout is due."""
        assert KEEP_ALIVE < Polling().shortest

    def test_two_loops(self) -> None:
        """Two clients in two event loops, one after the other, share credentials and work."""

        async def live() -> tuple[object, object]:
            async with GatewayServer() as server, client_at(server.url, max_sends=1) as client:
                answers = await asyncio.gather(*(check(client, f"po-{n}") for n in range(3)))
                return answers, await client.status("po-1")

        for _ in range(2):
            answers, report = asyncio.run(live())
            assert [ACCEPTED] * 3 == answers
            assert isinstance(report, StatusReport)


class TestClosing:
    @every_send
    async def test_closed(self, send: Send) -> None:
        """Before it is opened and after it is closed, a client sends and asks nothing."""
        claim = Claim()
        async with GatewayServer() as server:
            client = client_at(server.url)
            for _ in range(2):
                with pytest.raises(ClosedError):
                    await send(client, before_send=claim)
                with pytest.raises(ClosedError):
                    await client.status("po-1")
                await client.aclose()
            async with client_at(server.url) as client:
                pass
            with pytest.raises(ClosedError):
                await send(client, before_send=claim)

            assert ([], 0) == (server.connections, claim.begun)

    async def test_under_way(self) -> None:
        """Closing waits for what is under way, refuses what is new, and closes what it made."""
        record = Record()
        async with GatewayServer() as server:
            client = client_at(server.url)
            async with client:
                await client.status("po-1")
                server.gate.clear()
                sending = asyncio.create_task(check(client, after=record))
                asking = asyncio.create_task(client.status("po-1"))
                await server.until(lambda: server.busy == 2)
                closing = asyncio.create_task(client.aclose())
                await settle()

                assert not closing.done()
                with pytest.raises(ClosedError):
                    await check(client, "po-2")
                assert 2 == client.in_flight

                server.gate.set()
                await closing
                assert ACCEPTED == await sending
                assert isinstance(await asking, StatusReport)
            await server.until(lambda: server.open_connections == 0)

        assert [ACCEPTED] == record.answers
        assert 3 == len(server.requests)

    @both_lanes
    async def test_waiting(self, ask: Ask) -> None:
        """Requests that wait for their turn when the client is closed are not begun any more."""
        async with GatewayServer() as server:
            client = client_at(server.url, max_sends=1, max_polls=1)
            async with client:
                server.gate.clear()
                callers = [asyncio.create_task(ask(client, f"po-{n}")) for n in range(4)]
                await server.until(lambda: server.busy == 1)
                closing = asyncio.create_task(client.aclose())
                await settle()
                server.gate.set()
                await closing

                first, *others = await asyncio.gather(*callers, return_exceptions=True)
                assert isinstance(first, Accepted | StatusReport)
                assert [ClosedError] * 3 == [type(other) for other in others]

        assert 1 == len(server.requests)

    async def test_cancelled_caller(self) -> None:
        """Leaving the block waits for a request whose caller has gone."""
        record = Record()
        async with GatewayServer() as server:
            async with client_at(server.url) as client:
                server.gate.clear()
                caller = asyncio.create_task(check(client, after=record))
                await server.until(lambda: server.busy == 1)
                await cancel(caller)
                asyncio.get_running_loop().call_soon(server.gate.set)

            assert ([ACCEPTED], 0) == (record.answers, client.in_flight)

    async def test_transports_of_others(self) -> None:
        """Closing leaves transports open that the client did not make."""
        sends, polls = Fake(httpx.Response(200)), Fake(httpx.Response(200))

        async with client_over(sends, poll_transport=polls):
            pass

        assert (False, False) == (sends.is_closed, polls.is_closed)

    async def test_transport_of_others_is_usable(self) -> None:
        """A transport of the user's own serves one client after the other."""
        async with (
            GatewayServer() as server,
            httpx.AsyncHTTPTransport(verify=NO_TRUST) as transport,
        ):
            for _ in range(2):
                async with client_at(server.url, transport=transport) as client:
                    assert ACCEPTED == await check(client)
                    assert isinstance(await client.status("po-1"), StatusReport)

            polls = [c for c in server.connections if b"/status/" in c.received]
            assert 2 == sum(poll.received.count(b"/status/") for poll in polls)

    @pytest.mark.skipif(not Path("/dev/fd").exists(), reason="counts open files by /dev/fd")
    @pytest.mark.filterwarnings("error")
    async def test_nothing_is_left(self) -> None:
        """A client that is closed leaves no task, socket or signing thread behind."""
        credentials = Credentials(LOGIN, RsaSigner(private_key(4096)))

        async def live() -> None:
            scripts = [says(http_answer(GOOD)), closes_at_once, resets_after_all, says_half]
            for script in scripts:
                async with Server(script) as server, client_at(server.url, credentials) as client:
                    await asyncio.gather(*(check(client, f"po-{n}") for n in range(5)))
                    await asyncio.gather(*(client.status(f"po-{n}") for n in range(5)))
                    with contextlib.suppress(ClaimLost):
                        await check(client, before_send=Claim(ClaimLost("po-1", 2)))

        await live()  # what is made once for the whole process
        gc.collect()
        files, threads = list(Path("/dev/fd").iterdir()), threading.enumerate()

        await live()
        await settle()
        gc.collect()

        assert len(files) == len(list(Path("/dev/fd").iterdir()))
        assert {asyncio.current_task()} == asyncio.all_tasks()
        for thread in threading.enumerate():
            if thread not in threads and thread.name.startswith("billblend"):
                thread.join(5)
                assert not thread.is_alive()

    async def test_repr(self) -> None:
        """A client shows whom it talks to and how much is under way."""
        client = client_over(Fake(httpx.Response(200)), endpoint_group_id=7)
        assert f"<Client 'acme' at {SANDBOX} group/7, 0 in flight, closed>" == repr(client)

        async with client:
            assert "0 in flight, open" in repr(client)
