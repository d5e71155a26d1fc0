"""The endpoint answers every caller in one number, and repeats nothing of what it was told."""

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
import pytest
import uvicorn
from callers import callback_fields, query_of
from fakes import FakeClient, MemoryJournal
from house import house
from leaks import CARD, LINK, RECEIVER, leaks
from payouts import request
from rsa_keys import PEM_2048

from billblend_async.core.models import Polling
from billblend_async.core.responses import Callback
from billblend_async.errors import (
    BillblendError,
    ClosedError,
    ConfigurationError,
    DeliverAgain,
    JournalUnavailable,
    PayoutNotFound,
    VerificationFailed,
)
from billblend_async.gateway.callbacks import LONGEST_QUERY
from billblend_async.gateway.client import Client
from billblend_async.gateway.credentials import Credentials
from billblend_async.integrations.asgi import CallbackEndpoint, answer_callback
from billblend_async.orchestrator.inbox import Delivery
from billblend_async.orchestrator.orchestrator import Orchestrator
from billblend_async.sandbox import Gateway

FAST = Polling(shortest=0.05, longest=0.1)


class Told:
    """A recipient that does what it is told to; it keeps what it was given."""

    def __init__(self, ends: BaseException | None = None) -> None:
        self.ends = ends
        self.queries: list[str | bytes] = []

    def verify_callback(self, query: str | bytes) -> Callback:
        self.queries.append(query)
        return FakeClient().verify_callback(query)

    async def deliver(self, callback: Callback) -> Delivery:
        await asyncio.sleep(0)
        if self.ends is not None:
            raise self.ends
        return Delivery.NOTED


async def call(
    payouts: Any, query: bytes = b"", method: str = "GET", path: str = "/callback"
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Call the endpoint as an ASGI server does; it must answer once and in order."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": []}
    await CallbackEndpoint(payouts)(scope, receive, send)
    start, body = sent
    assert ("http.response.start", "http.response.body") == (start["type"], body["type"])
    headers = dict(start["headers"])
    assert str(len(body["body"])).encode() == headers[b"content-length"]
    return start["status"], headers, body["body"]


GENUINE = query_of(callback_fields()).encode()


class TestAnswers:
    @pytest.mark.parametrize(
        ("ends", "status"),
        [
            (None, 200),
            (VerificationFailed("the callback's order is not the order of this payout"), 403),
            (PayoutNotFound("po-1"), 404),
            (DeliverAgain("po-1", "it is not final here yet"), 503),
            (JournalUnavailable("memory", "disk full"), 503),
            (ClosedError("orchestrator"), 503),
        ],
    )
    async def test_each(self, ends: BillblendError | None, status: int) -> None:
        """Each end of a delivery has its number, from the endpoint and from the function alike."""
        told, headers, body = await call(Told(ends), GENUINE)
        assert (status, b"OK" if status == 200 else b"") == (told, body)
        assert b"no-store" == headers[b"cache-control"]
        assert status == await answer_callback(Told(ends), GENUINE)
        assert status == await answer_callback(Told(ends), GENUINE.decode())

    @pytest.mark.parametrize("query", [b"", b"status", GENUINE + b"&status=approved", b"%zz=1"])
    async def test_forged(self, query: bytes) -> None:
        """What does not verify is 403 and is never delivered."""
        told = Told(AssertionError("delivered"))
        assert 403 == (await call(told, query))[0]

    @pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "get"])
    async def test_methods(self, method: str) -> None:
        """Every other method is 405, names the right one, and nothing is looked at."""
        told = Told()
        status, headers, _ = await call(told, GENUINE, method)
        assert (405, b"GET", []) == (status, headers[b"allow"], told.queries)

    @pytest.mark.parametrize("path", ["", "/", "/callback", "/callback/", "/a/b%20c"])
    async def test_any_path(self, path: str) -> None:
        """It answers at whatever path it is routed to, with and without a slash at its end."""
        assert 200 == (await call(Told(), GENUINE, path=path))[0]

    async def test_without_a_control(self) -> None:
        """Without a merchant control of ours the gateway is to try again, once that is mended."""
        credentials = Credentials("m1", PEM_2048)
        async with (
            Client(credentials, endpoint_id=1, base_url="http://127.0.0.1:9") as client,
            Orchestrator(client, MemoryJournal()) as payouts,
        ):
            assert 503 == (await call(payouts, GENUINE))[0]
            with pytest.raises(ConfigurationError, match="merchant_control"):
                await answer_callback(payouts, GENUINE)

    async def test_bugs_are_not_hidden(self) -> None:
        """What nobody has foreseen reaches the server, which answers 500."""
        with pytest.raises(ZeroDivisionError):
            await call(Told(ZeroDivisionError()), GENUINE)


class TestScopes:
    async def test_lifespan(self) -> None:
        """Served alone it begins and ends with its server."""
        asked = iter(["lifespan.startup", "lifespan.shutdown"])
        sent: list[str] = []

        async def receive() -> Any:
            return {"type": next(asked)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await CallbackEndpoint(Told())({"type": "lifespan"}, receive, send)
        assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent

    @pytest.mark.parametrize("kind", ["websocket", "email"])
    async def test_others(self, kind: str) -> None:
        """What is not http is refused, and nothing is sent."""

        async def fail(*_: Any) -> None:
            raise AssertionError

        endpoint = CallbackEndpoint(Told())
        with pytest.raises(RuntimeError, match=kind):
            await endpoint({"type": kind, "query_string": GENUINE}, fail, fail)


@asynccontextmanager
async def served(
    app: Callable[..., Awaitable[None]], http: Literal["h11", "auto"] = "auto"
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an application with uvicorn on a free port, and open a client to it."""
    config = uvicorn.Config(
        app,
        http=http,
        lifespan="on",
        log_config=None,
        access_log=False,
        h11_max_incomplete_event_size=2 * LONGEST_QUERY,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=url, trust_env=False) as browser:
                yield browser
        finally:
            server.should_exit = True
            await serving


class TestServed:
    async def test_a_payout_learns_its_end(self) -> None:
        """Over a real socket a callback ends the wait of a payout that would ask much later."""
        client = FakeClient(Gateway(validation=0.05, processing=0.3))
        slow = Polling(shortest=3.0, longest=5.0)
        async with house(client, polling=slow) as h, served(CallbackEndpoint(h.payouts)) as caller:
            url = f"/callback?{query_of(callback_fields())}"
            assert 404 == (await caller.get(url)).status_code
            running = asyncio.create_task(h.payouts.run(request()))
            async for notice in h.payouts.events("po-1"):
                if type(notice.event).__name__ == "PayAccepted":
                    break
            await asyncio.sleep(0.3)
            answer = await caller.get(url)
            assert (200, "OK") == (answer.status_code, answer.text)
            assert (await running).is_approved
            assert 200 == (await caller.get(url)).status_code
            assert (
                405 == (await caller.head(url)).status_code == (await caller.post(url)).status_code
            )
            forged = url.replace("status=approved", "status=declined")
            assert 403 == (await caller.get(forged)).status_code
            h.journal.is_full = True
            assert 503 == (await caller.get(url)).status_code
        assert h.names().count("CalledBack") == 1

    async def test_longest(self) -> None:
        """The longest callback comes through a server with a raised limit; a longer one is 403."""
        longest = f"{query_of(callback_fields())}&merchantdata={'%26' * 65536}"
        longer = f"{longest}&x={'x' * LONGEST_QUERY}"[: LONGEST_QUERY + 1]
        async with served(CallbackEndpoint(Told()), "h11") as caller:
            for query, status in ((longest, b"200"), (longer, b"403")):
                # An httpx.URL takes 64 KiB at most.
                reader, writer = await asyncio.open_connection("127.0.0.1", caller.base_url.port)
                writer.write(f"GET /?{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                assert b"HTTP/1.1 " + status == (await reader.readline())[:12]
                writer.close()
                await writer.wait_closed()

    async def test_nothing_of_it_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """Whatever a callback brings, no log and no answer repeats any of it."""
        caplog.set_level(logging.DEBUG)
        for name in ("asyncio", "uvicorn", "billblend_async"):
            caplog.set_level(logging.DEBUG, logger=name)
        planted = {f"zq-{name}": text for name, text in RECEIVER.items()}
        planted |= {"card-number": CARD, "redirect": LINK, "type": "zq-reversal"}
        fields = callback_fields(**planted)
        gone = query_of({**callback_fields(client_orderid="zq-unknown"), **planted})
        answers: list[bytes] = []
        async with house(polling=FAST) as h, served(CallbackEndpoint(h.payouts)) as caller:
            await h.payouts.accept(request())
            for query in (
                query_of(fields),
                gone,
                query_of({**fields, "status": "zq-status"}),
                query_of({**fields, "control": "zq" * 20}),
                query_of(fields) + "&zq-twice=1&zq-twice=2",
                query_of(fields) + "&zq=%zz",
            ):
                answer = await caller.get(f"/zq-path?{query}")
                assert answer.status_code in (403, 404, 503)
                answers.append(answer.content + repr(answer.headers).encode())
        ours = [r for r in caplog.records if r.name.split(".")[0] in ("billblend_async", "uvicorn")]
        assert 6 <= len(ours)
        # httpx is the caller here, and asyncio its sockets: what they tell is not ours.
        told = "\n".join(f"{r.getMessage()} {r.__dict__}" for r in ours).encode()
        control = callback_fields()["control"].encode()
        for evidence in (told, *answers):
            assert b"zq" not in evidence
            assert control not in evidence
        assert [] == leaks({"logs": told, "answers": b"".join(answers)})
        gc.collect()
