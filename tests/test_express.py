"""A question over aiohttp is answered as one over httpx, and what may move money never goes so."""

import asyncio
import gc
import gzip
import logging
import socket
import ssl
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

import attrs
import pytest
from rsa_keys import private_key
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

from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import Accepted, NoAnswer, StatusAnswer, StatusReport
from billblend_async.errors import ClosedError, ConfigurationError
from billblend_async.gateway.aiohttp_transport import ExpressSender
from billblend_async.gateway.client import Client
from billblend_async.gateway.credentials import Credentials, RsaSigner
from billblend_async.gateway.exchange import KEEP_ALIVE, LONGEST_ANSWER, Departure, Timeouts

CONTROL: Final = "AF4B5DE6-3468-424C-A922-C1DAD7CB4509"
SECRET: Final = "hunter2-5500009876543210"
WITH_CONTROL = Credentials("acme", RsaSigner(private_key(2048)), merchant_control=CONTROL)
OAUTH_ONLY = Credentials("acme", RsaSigner(private_key(2048)))
# Trusts nobody, which spares the reading of all certificate authorities.
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
IMPATIENT = Timeouts(connect=0.1, write=0.1, poll_read=0.1)
Tls = tuple[ssl.SSLContext, ssl.SSLContext]
Way = Literal["aiohttp"] | None
WAYS: Final[tuple[Way, Way]] = (None, "aiohttp")
"""httpx's own and aiohttp's."""


def client_at(
    url: str, credentials: Credentials = WITH_CONTROL, way: Way = "aiohttp", **options: Any
) -> Client:
    """Make a client that asks over aiohttp, unless it is told another way."""
    usual: dict[str, Any] = {"endpoint_id": 39915, "base_url": url, "ssl_context": NO_TRUST}
    return Client(credentials, **{**usual, **options}, poll_transport=way)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Make the gateway's TLS, and that of a client that trusts it."""
    return tls_contexts(tmp_path_factory.mktemp("tls"))


def says(octets: bytes, *, resets: bool = False) -> Script:
    """Read the request, say something and close."""

    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(octets)
        if resets:
            connection.reset()

    return script


async def resets_at_once(connection: Connection) -> None:
    connection.reset()


async def never_answers(connection: Connection) -> None:
    await connection.read_request()
    await connection.reader.read(-1)


async def never_goes_on(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 200 \r\nContent-Length: 100\r\n\r\ntype=")
    await connection.reader.read(-1)


def with_head(*lines: str, body: bytes = b"", status: int = 200) -> bytes:
    """Write an answer with just these header lines."""
    head = "\r\n".join([f"HTTP/1.1 {status} ", *lines, "", ""])
    return head.encode() + body


FORM = pairs(
    type="status-response",
    status="processing",
    order_stage="payout_check_validated",
    paynet_order_id=ORDER,
    merchant_order_id="po-1",
)
JSON = b'{"type":"status-response","status":"approved","merchant-order-id":"po-1","amount":"10.42"}'
PAGE = b"<html><head><title>Access is denied</title></head><body>Access is denied</body></html>"
HALF = len(FORM) // 2
CHUNKS = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (HALF, FORM[:HALF], len(FORM) - HALF, FORM[HALF:])
LONGEST = FORM + b"\n&pad=" + b"x" * (LONGEST_ANSWER - len(FORM) - 6)
SAID: dict[str, tuple[Script, type[object]]] = {
    "form": (says(http_answer(FORM)), StatusReport),
    "JSON": (says(http_answer(JSON)), StatusReport),
    "JSON of an error": (says(http_answer(JSON, 400)), StatusReport),
    "chunked": (says(with_head("Transfer-Encoding: chunked", body=CHUNKS)), StatusReport),
    "after an interim one": (
        says(with_head(status=100) + with_head("X: y", status=103) + http_answer(FORM)),
        StatusReport,
    ),
    "without an end": (says(with_head("Connection: close", body=FORM + b"\n")), StatusReport),
    "without an end, cut": (says(with_head("Connection: close", body=FORM[:HALF])), NoAnswer),
    "without an end, cut at once": (says(with_head("Connection: close", body=b"ty")), NoAnswer),
    "JSON without an end": (says(with_head("Connection: close", body=JSON)), NoAnswer),
    "in old HTTP": (says(b"HTTP/1.0 200 OK\r\n\r\n" + FORM + b"\n"), StatusReport),
    "longest": (says(http_answer(LONGEST)), StatusReport),
    "oversized": (says(http_answer(LONGEST + b"x")), NoAnswer),
    "oversized without an end": (
        says(with_head("Connection: close", body=LONGEST * 2)),
        NoAnswer,
    ),
    "compressed": (
        says(with_head("Content-Encoding: gzip", "Content-Length: 2", body=b"ab")),
        NoAnswer,
    ),
    "called compressed": (
        says(
            with_head("Content-Encoding: GZIP", f"Content-Length: {len(FORM)}", body=FORM),
        ),
        NoAnswer,
    ),
    "compressed twice": (
        says(
            with_head(
                "Content-Encoding: identity",
                "Content-Encoding: gzip",
                f"Content-Length: {len(gzip.compress(FORM, mtime=0))}",
                body=gzip.compress(FORM, mtime=0),
            )
        ),
        NoAnswer,
    ),
    "called not compressed": (
        says(
            with_head("Content-Encoding: Identity", f"Content-Length: {len(FORM)}", body=FORM),
        ),
        StatusReport,
    ),
    "empty": (says(http_answer(b"")), NoAnswer),
    "page": (says(http_answer(PAGE)), NoAnswer),
    "no content": (says(with_head(status=204)), NoAnswer),
    **{
        f"HTTP {status}": (says(http_answer(body, status)), NoAnswer)
        for status, body in (
            (401, PAGE),
            (403, PAGE),
            (404, PAGE),
            (429, FORM),
            (500, FORM),
            (502, PAGE),
        )
    },
    **{
        f"redirect {status}": (
            says(with_head("Location: /elsewhere", "Content-Length: 0", status=status)),
            NoAnswer,
        )
        for status in (301, 302, 303, 307, 308)
    },
}
# The transports name what went wrong each in their own way.
BROKEN: dict[str, Script] = {
    "reset at once": resets_at_once,
    "reset before the answer": says(b"", resets=True),
    "closed before the answer": says(b""),
    "half a head": says(b"HTTP/1.1 200 \r\nContent-Le"),
    "cut with its length": says(http_answer(FORM)[:-5]),
    "reset with its length": says(http_answer(FORM)[:-5], resets=True),
    "no last chunk": says(with_head("Transfer-Encoding: chunked", body=CHUNKS[:-5])),
    "half a chunk": says(with_head("Transfer-Encoding: chunked", body=b"ff\r\ntype=")),
    "no HTTP": says(FORM + b"\r\n\r\n"),
    "endless head": says(b"HTTP/1.1 200 \r\nX: " + b"a" * 200_000),
    "two lengths": says(with_head("Content-Length: 1", "Content-Length: 2", body=b"aa")),
    "late": never_answers,
    "late in the middle": never_goes_on,
}


async def told_by(script: Script, way: Way, tls: Tls | None = None) -> tuple[StatusAnswer, int]:
    """Ask once; give the answer, and how many connections that took."""
    over, trust = tls or (None, NO_TRUST)
    timeouts = Timeouts(poll_read=0.2)
    async with (
        Server(script, tls=over) as server,
        client_at(server.url, way=way, ssl_context=trust, timeouts=timeouts) as client,
    ):
        answer = await client.status("po-1", ORDER)
        await settle()
        return answer, len(server.connections)


class TestAnswers:
    @pytest.mark.parametrize("secured", [False, True])
    @pytest.mark.parametrize("said", SAID)
    async def test_said(self, said: str, secured: bool, tls: Tls) -> None:  # noqa: FBT001
        """What the gateway says is the same answer over aiohttp and over httpx."""
        script, kind = SAID[said]

        (plain, _), (express, connections) = [
            await told_by(script, way, tls if secured else None) for way in WAYS
        ]

        assert plain == express
        assert kind is type(express)
        assert 1 == connections  # nothing was followed or repeated

    @pytest.mark.parametrize("secured", [False, True])
    @pytest.mark.parametrize("how", BROKEN)
    async def test_broken(self, how: str, secured: bool, tls: Tls) -> None:  # noqa: FBT001
        """Whatever becomes of the bytes, there is no answer, and nothing is repeated."""
        over = None if secured and how == "reset at once" else tls if secured else None
        (plain, _), (express, connections) = [await told_by(BROKEN[how], way, over) for way in WAYS]

        assert isinstance(plain, NoAnswer)
        assert isinstance(express, NoAnswer)
        assert attrs.evolve(plain, reason="") == attrs.evolve(express, reason="")
        assert express.reason.isidentifier()
        assert 1 == connections

    @pytest.mark.parametrize("secured", [False, True])
    @pytest.mark.parametrize("octets", [FORM, FORM + b"\n", FORM[:HALF], b"type=", JSON])
    async def test_reset_without_an_end(
        self,
        octets: bytes,
        secured: bool,  # noqa: FBT001
        tls: Tls,
    ) -> None:
        """An answer that is reset where its end cannot be seen is worth no more than a cut one."""
        answer = with_head("Connection: close", body=octets)
        over = tls if secured else None

        cut, _ = await told_by(says(answer), "aiohttp", over)
        reset, connections = await told_by(says(answer, resets=True), "aiohttp", over)

        assert reset == cut or isinstance(reset, NoAnswer)
        assert 1 == connections

    @pytest.mark.parametrize("way", WAYS)
    async def test_refused(self, way: Way) -> None:
        """Where nobody listens there is no answer."""
        with socket.socket() as taken:
            taken.bind((HOST, 0))  # bound and not listening, so nobody else takes it
            url = f"http://{HOST}:{taken.getsockname()[1]}/checkout"

            async with client_at(url, way=way) as client:
                answer = await client.status("po-1")

        assert isinstance(answer, NoAnswer)
        assert (None, False) == (answer.http_status, answer.readable)

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("host", [HOST, "localhost"])
    async def test_strangers(self, host: str, way: Way, tls: Tls) -> None:
        """A gateway whose certificate is another host's, or nobody's we trust, is told nothing."""
        trust = NO_TRUST if host == HOST else tls[1]
        async with GatewayServer(tls=tls[0]) as server:
            url = f"https://{host}:{server.port}/checkout"
            async with client_at(url, way=way, ssl_context=trust) as client:
                answer = await client.status("po-1")

            assert isinstance(answer, NoAnswer)
            assert b"" == server.received

    async def test_handshake_hangs(self) -> None:
        """A TLS handshake that does not end in time is no answer, and told nothing."""
        async with Server(lambda connection: connection.reader.read(-1)) as server:
            url = f"https://{HOST}:{server.port}/checkout"
            async with client_at(url, timeouts=Timeouts(connect=0.05)) as client:
                assert NoAnswer("ConnectionTimeoutError") == await client.status("po-1")

            assert b"po-1" not in server.received

    async def test_nothing_leaks(self, caplog: pytest.LogCaptureFixture) -> None:
        """Of what goes wrong no more than the kind is told, and nothing secret is logged."""
        caplog.set_level(logging.DEBUG)
        caplog.set_level(logging.DEBUG, "aiohttp")
        heads = [
            f"HTTP/1.1 {SECRET}\r\n\r\n",
            f"HTTP/1.1 200 \r\n{SECRET}\r\n\r\n",
            f"HTTP/1.1 200 \r\nContent-Length: {SECRET}\r\n\r\n",
            f"HTTP/1.1 200 \r\nSet-Cookie: {SECRET}=\x07;;=\r\nContent-Length: 9\r\n\r\n{SECRET}",
        ]
        shown = ""
        for head in heads:
            answer, _ = await told_by(says(head.encode()), "aiohttp")
            assert isinstance(answer, NoAnswer)
            shown += repr(answer)

        gc.collect()
        for secret in (SECRET, CONTROL, "control="):
            assert secret not in shown + caplog.text


class TestQuestions:
    @pytest.mark.parametrize("base", ["checkout", "a~b/c%20d", "%7Euser/%c3%bc", "a+b", "x/./y"])
    @pytest.mark.parametrize("way", WAYS)
    async def test_signed(self, base: str, way: Way) -> None:
        """A question of version 4 carries a signature over exactly what arrives."""
        odd = "po~1 & Zoë=100%+'*()/"
        async with (
            GatewayServer() as server,
            client_at(f"{server.origin}/{base}", OAUTH_ONLY, way) as client,
        ):
            for _ in range(3):
                assert isinstance(await client.status(odd, ORDER), StatusReport)

            assert 3 == len({verified(r, server.origin)["oauth_nonce"] for r in server.requests})
            assert {odd} == {request.form["client_orderid"] for request in server.requests}

    @pytest.mark.parametrize("credentials", [WITH_CONTROL, OAUTH_ONLY])
    async def test_same_request(self, credentials: Credentials) -> None:
        """A question has the same headers and body over aiohttp as over httpx."""
        async with GatewayServer() as server:
            for way in WAYS:
                async with client_at(server.url, credentials, way) as client:
                    await client.status("po-1", ORDER)
            plain, express = server.requests

        headers = [
            {k: v for k, v in r.headers.items() if k not in {"authorization", "connection"}}
            for r in (plain, express)
        ]
        assert headers[0] == headers[1]
        assert plain.body == express.body
        assert (credentials is OAUTH_ONLY) is ("authorization" in express.headers)
        assert (credentials is OAUTH_ONLY) is (b"control" not in express.body)

    async def test_big_key(self) -> None:
        """A big key signs in threads, which closing ends."""
        before = set(threading.enumerate())
        async with (
            GatewayServer() as server,
            client_at(server.url, Credentials("acme", RsaSigner(private_key(4096)))) as client,
        ):
            assert isinstance(await client.status("po-1"), StatusReport)
            assert verified(server.requests[0], server.origin, bits=4096)

        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("billblend"):
                thread.join(5)
                assert not thread.is_alive()

    async def test_failing_signer(self) -> None:
        """A signer that fails is no answer, and not even a connection is opened."""

        class Failing:
            key_size = 2048

            def sign(self, message: bytes) -> bytes:
                raise RuntimeError(SECRET)

        async with (
            GatewayServer() as server,
            client_at(server.url, Credentials("acme", Failing())) as client,
        ):
            assert NoAnswer("SigningFailed") == await client.status("po-1")
            await settle()

            assert [] == server.connections

    @pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
    @pytest.mark.parametrize("way", WAYS)
    async def test_environment(
        self, way: Way, name: str, tls: Tls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A proxy that the environment names is not used for questions."""
        async with (
            ProxyServer() as proxy,
            GatewayServer() as plain,
            GatewayServer(tls=tls[0]) as secured,
        ):
            monkeypatch.setenv(name, proxy.origin)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            for server in (plain, secured):
                async with client_at(server.url, way=way, ssl_context=tls[1]) as client:
                    assert isinstance(await client.status("po-1"), StatusReport)

            assert [] == proxy.connections

    async def test_cookies(self) -> None:
        """A cookie that the gateway sets is never sent back."""

        async def script(connection: Connection) -> None:
            while True:
                body = answer_to(await connection.read_request())
                length = f"Content-Length: {len(body)}"
                await connection.write(with_head("Set-Cookie: a=b; Path=/", length, body=body))

        async with Server(script) as server:
            # Of an address without a name no jar would keep any.
            async with client_at(f"http://localhost:{server.port}/checkout") as client:
                for _ in range(3):
                    assert isinstance(await client.status("po-1"), StatusReport)

            assert 3 == len(server.requests)
            assert not [r for r in server.requests if "cookie" in r.headers]

    async def test_money(self) -> None:
        """What may move money goes over httpx, each request on a connection of its own."""
        payout = PayoutRequest(
            client_orderid="po-1",
            amount=Decimal("10.42"),
            currency="USD",
            account_number="1234567890",
        )
        async with GatewayServer() as server, client_at(server.url) as client:
            for _ in range(2):
                await client.status("po-1")
                assert isinstance(await client.check(payout), Accepted)
                assert isinstance(await client.pay("po-1", ORDER), Accepted)
            await server.until(lambda: server.open_connections == 1)

            assert 5 == len(server.connections)
            closing = [r for r in server.requests if r.headers.get("connection") == "close"]
            assert 4 == len(closing)
            assert {"payout-check", "payout-pay"} == {r.target.split("/")[4] for r in closing}

    async def test_departure(self) -> None:
        """What has a departure may move money, so it is refused before anything is opened."""
        async with GatewayServer() as server:
            sender = sender_of(NO_TRUST)
            with pytest.raises(RuntimeError):
                await sender.post(f"{server.url}/api/v4/payout", b"a=b", Departure())
            await sender.aclose()
            await settle()

            assert [] == server.connections


def sender_of(trust: ssl.SSLContext, **options: Any) -> ExpressSender:
    """Make what carries questions."""
    usual: dict[str, Any] = {"headers": {}, "timeouts": Timeouts(), "authorizer": None}
    return ExpressSender(trust, 1, **{**usual, **options})


class TestConnections:
    async def test_used_again(self) -> None:
        """Questions that follow one another share a connection."""
        async with GatewayServer() as server, client_at(server.url) as client:
            for number in range(5):
                assert isinstance(await client.status(f"po-{number}"), StatusReport)

            assert 1 == len(server.connections)

    @pytest.mark.parametrize(("idle", "connections"), [(-0.01, 1), (0.01, 2)])
    async def test_age(
        self, idle: float, connections: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A connection is used again for two seconds and not after."""
        now = [1000.0]
        monkeypatch.setattr("aiohttp.connector.monotonic", lambda: now[0])
        async with GatewayServer() as server, client_at(server.url) as client:
            await client.status("po-1")
            now[0] += KEEP_ALIVE + idle
            await client.status("po-1")

            assert connections == len(server.connections)

    async def test_closed_meanwhile(self) -> None:
        """A connection that the gateway has closed meanwhile costs no question."""

        async def script(connection: Connection) -> None:
            await connection.write(http_answer(answer_to(await connection.read_request())))

        async with Server(script) as server, client_at(server.url) as client:
            for number in range(3):
                assert isinstance(await client.status(f"po-{number}"), StatusReport)
                await server.until(lambda: server.open_connections == 0)
                await settle()

            assert 3 == len(server.connections)

    async def test_closed_under_a_question(self) -> None:
        """A connection that the gateway closes under a question is no answer, asked once."""

        async def script(connection: Connection) -> None:
            await connection.write(http_answer(answer_to(await connection.read_request())))
            await connection.read_request()

        async with Server(script) as server, client_at(server.url) as client:
            assert isinstance(await client.status("po-1"), StatusReport)
            assert isinstance(await client.status("po-2"), NoAnswer)
            assert isinstance(await client.status("po-3"), StatusReport)

            assert ["po-1", "po-2", "po-3"] == [r.form["client_orderid"] for r in server.requests]
            assert 2 == len(server.connections)

    @pytest.mark.parametrize("way", WAYS)
    async def test_answer_to_nobody(self, way: Way) -> None:
        """What the gateway says without having been asked is never taken for the next answer."""
        says_more = asyncio.Event()

        async def script(connection: Connection) -> None:
            while True:
                answer = http_answer(answer_to(await connection.read_request()))
                await connection.write(answer)
                if len(connection.server.requests) == 1:
                    await says_more.wait()
                    await connection.write(http_answer(JSON))

        async with Server(script) as server, client_at(server.url, way=way) as client:
            first = await client.status("po-1")
            says_more.set()
            await settle()
            second = await client.status("po-1")

            assert isinstance(second, StatusReport)
            assert first == second
            assert 2 == len(server.connections)

    async def test_speaks_first(self) -> None:
        """A gateway that speaks before it is asked is given up, not called on without end."""

        async def script(connection: Connection) -> None:
            await connection.write(http_answer(b"busy", status=503))
            await connection.read_request()

        async with Server(script) as server, client_at(server.url) as client:
            answers = [await client.status(f"po-{number}") for number in range(3)]

            assert all(isinstance(answer, NoAnswer) for answer in answers)
            assert len(server.connections) <= 9

    @pytest.mark.parametrize("script", [*BROKEN.values(), SAID["oversized"][0]])
    async def test_broken(self, script: Script) -> None:
        """A connection whose answer was not whole is closed and not used again."""

        async def fails_once(connection: Connection) -> None:
            if len(connection.server.connections) == 1:
                await script(connection)
            else:
                await connection.write(http_answer(answer_to(await connection.read_request())))

        async with (
            Server(fails_once) as server,
            client_at(server.url, timeouts=Timeouts(poll_read=0.2)) as client,
        ):
            assert isinstance(await client.status("po-1"), NoAnswer)
            assert isinstance(await client.status("po-2"), StatusReport)
            await server.until(lambda: server.open_connections == 0)

            assert 2 == len(server.connections)

    async def test_limit(self) -> None:
        """No more questions are under way than max_polls, and they are served as they came."""
        asked: list[str] = []

        async def ask(client: Client, number: int) -> None:
            assert isinstance(await client.status(f"po-{number}"), StatusReport)
            asked.append(f"po-{number}")

        async with GatewayServer() as server, client_at(server.url, max_polls=7) as client:
            server.gate.clear()
            callers = [asyncio.create_task(ask(client, number)) for number in range(60)]
            await server.until(lambda: server.busy == 7)
            await settle()
            assert (7, 7) == (len(server.requests), client.in_flight)
            server.gate.set()
            await asyncio.gather(*callers)

            names = [request.form["client_orderid"] for request in server.requests]
            assert 60 == len({*names, *asked})
            # Within one batch the connections may open in any order; nobody waits for two.
            assert all(abs(place - int(name[3:])) < 14 for place, name in enumerate(names))
            assert 7 == server.peak
            assert len(server.connections) <= 7

    async def test_one_at_a_time(self) -> None:
        """Over one connection questions are asked in the order in which they came."""
        async with GatewayServer() as server, client_at(server.url, max_polls=1) as client:
            await asyncio.gather(*(client.status(f"po-{n}") for n in range(50)))

            assert [f"po-{n}" for n in range(50)] == [
                request.form["client_orderid"] for request in server.requests
            ]
            assert 1 == len(server.connections)


class Slow:
    """A signer that signs when it is told."""

    key_size = 2048

    def __init__(self) -> None:
        self.called = threading.Event()
        self.released = threading.Event()

    def sign(self, message: bytes) -> bytes:
        self.called.set()
        assert self.released.wait(20)
        return RsaSigner(private_key(2048)).sign(message)


class TestEnds:
    @pytest.mark.parametrize("way", WAYS)
    async def test_cancelled(self, way: Way) -> None:
        """A caller that is cancelled leaves the question whole, and its connection is kept."""
        async with (
            GatewayServer() as server,
            client_at(server.url, way=way, max_polls=1) as client,
        ):
            server.gate.clear()
            caller = asyncio.create_task(client.status("po-1"))
            await server.until(lambda: server.busy == 1)
            waiting = asyncio.create_task(client.status("po-2"))
            await settle()
            for task in (waiting, caller):
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()

            assert (1, 1) == (client.in_flight, server.open_connections)
            draining = asyncio.create_task(client.drain())
            await settle()
            assert not draining.done()
            server.gate.set()
            await draining
            assert 0 == client.in_flight
            assert isinstance(await client.status("po-3"), StatusReport)

            assert ["po-1", "po-3"] == [r.form["client_orderid"] for r in server.requests]
            assert 1 == len(server.connections)

    async def test_closing(self) -> None:
        """Closing waits for what is under way, begins nothing that waits, and asks no more."""
        async with GatewayServer() as server:
            async with client_at(server.url, max_polls=1) as client:
                server.gate.clear()
                asking = asyncio.create_task(client.status("po-1"))
                await server.until(lambda: server.busy == 1)
                waiting = asyncio.create_task(client.status("po-2"))
                await settle()
                closing = asyncio.create_task(client.aclose())
                await settle()
                assert not closing.done()
                server.gate.set()
                await closing
                assert isinstance(await asking, StatusReport)
                with pytest.raises(ClosedError):
                    await waiting
                with pytest.raises(ClosedError):
                    await client.status("po-3")
            await server.until(lambda: server.open_connections == 0)

        assert 1 == len(server.requests)

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("secured", [False, True])
    async def test_too_long(self, way: Way, secured: bool, tls: Tls) -> None:  # noqa: FBT001
        """What takes too long ends the wait, keeps its permit, and does not hold up closing."""

        async def trickles(connection: Connection) -> None:
            await connection.read_request()
            await connection.write(b"HTTP/1.1 200 \r\nContent-Length: 1000\r\n\r\n")
            while True:
                await connection.write(b"x")
                await asyncio.sleep(0.02)

        over, trust = tls if secured else (None, NO_TRUST)
        async with Server(trickles, tls=over) as server:
            client = client_at(
                server.url, way=way, max_polls=1, ssl_context=trust, timeouts=IMPATIENT
            )
            async with client:
                assert NoAnswer("no whole answer in 0.4 s") == await client.status("po-1")
                await client.drain()
                waiting = asyncio.create_task(client.status("po-2"))
                await settle()
                assert (0, 1) == (client.in_flight, len(server.requests))
            with pytest.raises(ClosedError):
                await waiting
            await server.until(lambda: server.open_connections == 0)

            assert 1 == len(server.requests)

    async def test_too_long_to_sign(self) -> None:
        """A question that is signed only after its client was closed does not leave any more."""
        signer = Slow()
        async with GatewayServer() as server:
            async with client_at(
                server.url, Credentials("acme", signer), timeouts=IMPATIENT
            ) as client:
                assert NoAnswer("no whole answer in 0.4 s") == await client.status("po-1")
            assert {} == client._lanes.poll._exchanges
            signer.released.set()
            for thread in threading.enumerate():
                if thread.name.startswith("billblend"):
                    await asyncio.to_thread(thread.join, 5)
            await settle()

            assert [] == server.connections
        gc.collect()

    @pytest.mark.skipif(not Path("/dev/fd").exists(), reason="counts open files by /dev/fd")
    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("secured", [False, True])
    async def test_nothing_is_left(self, secured: bool, tls: Tls) -> None:  # noqa: FBT001
        """A client that is closed leaves no task, connection or warning behind."""
        over, trust = tls if secured else (None, NO_TRUST)

        async def live() -> None:
            for script, _ in SAID.values():
                async with (
                    Server(script, tls=over) as server,
                    client_at(server.url, ssl_context=trust) as client,
                ):
                    await asyncio.gather(*(client.status(f"po-{n}") for n in range(3)))
            async with (
                GatewayServer(tls=over) as good,
                client_at(good.url, ssl_context=trust) as client,
            ):
                await asyncio.gather(*(client.status(f"po-{n}") for n in range(3)))
                await client.aclose()
                await good.until(lambda: good.open_connections == 0)

        await live()  # what is made once for the whole process
        gc.collect()
        files = len(list(Path("/dev/fd").iterdir()))

        await live()
        await settle()
        gc.collect()

        assert files == len(list(Path("/dev/fd").iterdir()))
        assert {asyncio.current_task()} == asyncio.all_tasks()

    async def test_never_used(self) -> None:
        """A client that has asked nothing closes without ever having opened anything."""
        async with client_at("https://127.0.0.1:9/checkout"):
            pass

    def test_two_loops(self) -> None:
        """One client after the other, each in an event loop of its own, works and closes."""

        async def live() -> StatusAnswer:
            async with GatewayServer() as server, client_at(server.url) as client:
                return await client.status("po-1")

        assert [StatusReport] * 2 == [type(asyncio.run(live())) for _ in range(2)]


class TestSettings:
    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without aiohttp the error says what to install."""
        monkeypatch.setitem(sys.modules, "aiohttp", None)
        monkeypatch.delitem(sys.modules, "billblend_async.gateway.aiohttp_transport")

        with pytest.raises(ConfigurationError, match=r"pip install 'billblend-async\[aiohttp\]'"):
            client_at("sandbox")

    def test_not_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without aiohttp everything else works."""
        monkeypatch.setitem(sys.modules, "aiohttp", None)
        monkeypatch.delitem(sys.modules, "billblend_async.gateway.aiohttp_transport")

        client_at("sandbox", way=None)

    @pytest.mark.parametrize("name", ["", "httpx", "AIOHTTP", "aiohttp "])
    def test_another_way(self, name: Any) -> None:
        """A way that is not known is refused."""
        with pytest.raises(ConfigurationError, match="aiohttp"):
            client_at("sandbox", way=name)
