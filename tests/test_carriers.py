"""A request that may move money leaves at most once for each claim, whatever carries it."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from decimal import Decimal
from typing import Any

import httpcore
import httpx
import pytest
import respx
from carriers import (
    READS,
    Answers,
    FallsBack,
    FollowsRedirects,
    Gathers,
    GathersAll,
    Hasty,
    Hedges,
    ReadsFirst,
    RepeatsAlways,
    RepeatsAnswers,
    RepeatsErrors,
    Retrying,
    Untraced,
    Wrapper,
)
from httpcore._backends.auto import AutoBackend
from rsa_keys import private_key
from servers import HOST, Connection, Server, http_answer, pairs, settle

from billblend_async.core.events import CheckStarted, Event, PayStarted
from billblend_async.core.models import Deadlines, Flow, Polling, State
from billblend_async.core.payout import Payout
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import (
    Accepted,
    NoAnswer,
    NotSent,
    SendAnswer,
    StatusReport,
    Unknown,
)
from billblend_async.errors import ClaimLost, ConfigurationError
from billblend_async.gateway.client import Client
from billblend_async.gateway.credentials import Credentials, RsaSigner
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.orchestrator.orchestrator import Orchestrator

ORDER = "6982864"
CONTROL = "AF4B5DE6-3468-424C-A922-C1DAD7CB4509"
CREDENTIALS = Credentials("acme", RsaSigner(private_key(2048)), merchant_control=CONTROL)
REDIRECT = b"HTTP/1.1 307 \r\nLocation: /elsewhere/checkout/x\r\nContent-Length: 0\r\n\r\n"


class PayingGateway(Server):
    """Pays whatever arrives whole, as often as it arrives; its first answers are as it is told.

    Attributes:
        taken: How many whole requests that may move money have come, by their command.
        paid: How many of them have paid, by client_orderid.
        known: The payouts of which one has come.
    """

    def __init__(self, *first: bytes) -> None:
        super().__init__(self._serve)
        self.taken: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.known: set[str] = set()
        self._first = list(first)

    async def _serve(self, connection: Connection) -> None:
        while True:
            request = await connection.read_request()
            ours = request.form["client_orderid"]
            if "/status/" in request.target:
                await connection.write(http_answer(self._status(ours)))
                continue
            command = request.target.split("/")[4]
            self.taken[command] += 1
            self.paid[ours] += command != "payout-check"
            self.known.add(ours)
            if not self._first:
                told = pairs(type="async-response", merchant_order_id=ours, paynet_order_id=ORDER)
                await connection.write(http_answer(told))
            elif answer := self._first.pop(0):
                await connection.write(answer)
            return

    def _status(self, ours: str) -> bytes:
        if ours not in self.known:
            return pairs(type="error", error_code="101", error_message="no such order")
        stage = "payout_approved" if self.paid[ours] else "payout_check_validated"
        return pairs(
            type="status-response",
            status="approved" if self.paid[ours] else "processing",
            order_stage=stage,
            merchant_order_id=ours,
            paynet_order_id=ORDER,
            amount="10.42",
            currency="USD",
        )


LOST, BROKEN = b"", http_answer(b"<html>", 502)
FIRST_ANSWERS = {
    "answers": (),
    "loses": (LOST,) * 3,
    "breaks": (BROKEN,) * 3,
    "loses then breaks": (LOST, BROKEN),
    "redirects": (REDIRECT,) * 3,
}
every_gateway = pytest.mark.parametrize("first", FIRST_ANSWERS.values(), ids=FIRST_ANSWERS)


class Claims:
    """Counts claims; it holds each one back until it is told, if it is told to."""

    def __init__(self, goes_on: asyncio.Event | None = None) -> None:
        self.begun = 0
        self.kept = 0
        self.has_begun = asyncio.Event()
        self._goes_on = goes_on

    async def __call__(self) -> None:
        self.begun += 1
        self.has_begun.set()
        if self._goes_on is not None:
            await self._goes_on.wait()
        self.kept += 1


def payout_request(client_orderid: str = "po-1") -> PayoutRequest:
    return PayoutRequest(
        client_orderid=client_orderid,
        amount=Decimal("10.42"),
        currency="USD",
        account_number="1234567890",
    )


Sending = Coroutine[Any, Any, SendAnswer]
Send = Callable[..., Sending]


def check(client: Client, **hooks: Any) -> Sending:
    return client.check(payout_request(), **hooks)


def pay(client: Client, **hooks: Any) -> Sending:
    return client.pay("po-1", ORDER, **hooks)


def payout(client: Client, **hooks: Any) -> Sending:
    return client.payout(payout_request(), **hooks)


every_send = pytest.mark.parametrize("send", [check, pay, payout])


def plain() -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(verify=False, trust_env=False)


@contextlib.asynccontextmanager
async def client_over(
    transport: httpx.AsyncBaseTransport, url: str, **options: Any
) -> AsyncIterator[Client]:
    """Open a client whose sends go over a transport, and whose questions do not."""
    async with (
        transport,
        plain() as polls,
        Client(
            CREDENTIALS,
            endpoint_id=39915,
            base_url=url,
            transport=transport,
            **{"poll_transport": polls, **options},
        ) as client,
    ):
        yield client


REPEATING = [
    RepeatsErrors,
    RepeatsAnswers,
    RepeatsAlways,
    Gathers,
    GathersAll,
    Hedges,
    FollowsRedirects,
    FallsBack,
]
every_repeating = pytest.mark.parametrize("carrier", REPEATING)


class TestOneDeparture:
    @every_repeating
    @every_gateway
    @every_send
    async def test_wrapper(
        self, carrier: type[Wrapper], first: tuple[bytes, ...], send: Send
    ) -> None:
        """Of what a wrapper sends again, at once or elsewhere, one request leaves on one claim."""
        claims, transport = Claims(), carrier(plain())
        async with (
            PayingGateway(*first) as gateway,
            client_over(transport, gateway.url) as client,
        ):
            answer = await send(client, before_send=claims)
            await settle()

            assert isinstance(answer, Accepted | Unknown | NotSent)
            assert gateway.taken.total() <= 1
            assert 1 == claims.begun
            # What has left is claimed, and what is told as not sent has not left.
            assert not (isinstance(answer, NotSent) and gateway.taken)

    @pytest.mark.parametrize(
        "carrier", [RepeatsErrors, RepeatsAlways, GathersAll, FollowsRedirects]
    )
    async def test_answer(self, carrier: type[Wrapper]) -> None:
        """The answer to the one that left is what a wrapper that keeps it gives."""
        async with (
            PayingGateway() as gateway,
            client_over(carrier(plain()), gateway.url) as client,
        ):
            assert Accepted(ORDER) == await pay(client, before_send=Claims())

            assert {"payout-pay": 1} == gateway.taken

    @every_gateway
    async def test_subclass(self, first: tuple[bytes, ...]) -> None:
        """A subclass of httpx's transport that tries again lets one request leave."""
        claims, transport = Claims(), Retrying(verify=False, trust_env=False)
        async with (
            PayingGateway(*first) as gateway,
            client_over(transport, gateway.url) as client,
        ):
            assert isinstance(await pay(client, before_send=claims), Unknown)

            assert (1, 1) == (gateway.taken.total(), claims.begun)
        assert transport.attempts > 1

    async def test_instance(self) -> None:
        """A transport of httpx's whose own method was replaced is known no longer."""
        transport = plain()
        sends = transport.handle_async_request

        async def send_twice(request: httpx.Request) -> httpx.Response:
            await request.aread()
            bare = httpx.Request(request.method, request.url, content=request.content)
            await (await sends(bare)).aclose()
            return await sends(bare)

        transport.handle_async_request = send_twice  # type: ignore[method-assign]  # as a host may
        claims = Claims()
        async with PayingGateway() as gateway, client_over(transport, gateway.url) as client:
            with pytest.raises(ConfigurationError):
                await pay(client, before_send=claims)

            assert (0, 0) == (gateway.taken.total(), claims.begun)

    @every_send
    async def test_connecting_again(self, send: Send) -> None:
        """Httpx's own transport may connect as often as it likes: the request leaves once."""

        class Flaky(httpcore.AsyncNetworkBackend):
            """Connects at the third try, and sleeps no moment."""

            tries = 0

            async def connect_tcp(self, *where: Any, **how: Any) -> httpcore.AsyncNetworkStream:
                self.tries += 1
                if self.tries < 3:
                    raise httpcore.ConnectError
                return await AutoBackend().connect_tcp(*where, **how)

            async def sleep(self, seconds: float) -> None:
                pass

        transport, claims = httpx.AsyncHTTPTransport(verify=False, retries=3), Claims()
        transport._pool._network_backend = flaky = Flaky()
        async with PayingGateway() as gateway, client_over(transport, gateway.url) as client:
            assert Accepted(ORDER) == await send(client, before_send=claims)

            assert (1, 1) == (gateway.taken.total(), claims.kept)
        assert 3 == flaky.tries

    async def test_nobody_is_there(self) -> None:
        """Over a wrapper too a connection that is refused proves that nothing has left."""
        async with PayingGateway() as gone:
            url = gone.url
        claims = Claims()
        async with client_over(RepeatsErrors(plain()), url) as client:
            assert NotSent("ConnectError") == await pay(client, before_send=claims)

        assert 0 == claims.begun


class TestRefused:
    @pytest.mark.parametrize("way", READS)
    @every_send
    async def test_reads_first(self, way: str, send: Send) -> None:
        """A transport that reads a request before it leaves is refused, and nothing is claimed."""
        claims, heard = Claims(), []

        async def hear(answer: SendAnswer) -> None:
            heard.append(answer)

        transport = ReadsFirst(plain(), way)
        async with PayingGateway() as gateway, client_over(transport, gateway.url) as client:
            with pytest.raises(ConfigurationError) as caught:
                await send(client, before_send=claims, after=hear)

            assert 0 == client.in_flight
            assert ({}, 0, []) == (gateway.taken, claims.begun, heard)
        assert "carriers.ReadsFirst: it reads a request before it sends it" in str(caught.value)
        assert "testing guide" in str(caught.value)
        assert caught.value.__context__ is None

    @pytest.mark.parametrize("transport", [Answers(), Untraced(plain())])
    async def test_not_seen(self, transport: httpx.AsyncBaseTransport) -> None:
        """A transport that does not tell when a request leaves is refused, whatever it answers."""
        claims = Claims()
        async with PayingGateway() as gateway, client_over(transport, gateway.url) as client:
            with pytest.raises(ConfigurationError):
                await pay(client, before_send=claims)

            assert ({}, 0) == (gateway.taken, claims.begun)

    async def test_other_http(self) -> None:
        """A transport over another HTTP library, which takes no body of httpx's, is refused."""

        class Foreign(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                assert isinstance(request.stream, OtherStream)
                return httpx.Response(200)

        class OtherStream:
            pass

        async with client_over(Foreign(), f"http://{HOST}:1/checkout") as client:
            with pytest.raises(ConfigurationError):
                await pay(client)

    async def test_questions(self) -> None:
        """The same transport is good for questions, and the gateway can be asked who we are."""
        reading = ReadsFirst(plain(), "without extensions")
        async with (
            PayingGateway() as gateway,
            client_over(reading, gateway.url, poll_transport=None) as client,
        ):
            gateway.known.add("po-1")
            await client.probe()
            assert isinstance(await client.status("po-1"), StatusReport)

    @pytest.mark.parametrize("argument", ["transport", "poll_transport"])
    @pytest.mark.parametrize(
        ("thing", "named"),
        [
            (httpx.HTTPTransport(verify=False), "httpx.HTTPTransport"),
            (httpx.AsyncHTTPTransport, "the class httpx.AsyncHTTPTransport"),
            (random.Random(0), "random.Random"),
        ],
    )
    def test_no_transport(self, thing: object, named: str, argument: str) -> None:
        """What is no asynchronous transport of httpx is refused when the client is made."""
        with pytest.raises(ConfigurationError) as caught:
            Client(CREDENTIALS, endpoint_id=39915, **{argument: thing})  # type: ignore[arg-type]  # on purpose

        assert f"{argument} must be an httpx.AsyncBaseTransport" in str(caught.value)
        assert f"not {named};" in str(caught.value)
        assert "httpx.AsyncHTTPTransport, which takes verify" in str(caught.value)


class TestMocked:
    """A mocking library that replaces httpx's insides answers what nobody has seen leaving."""

    @pytest.fixture(autouse=True)
    def replace_insides(self) -> Iterator[None]:
        """Let everything be answered as the gateway does when all is well."""
        told = pairs(type="async-response", merchant_order_id="po-1", paynet_order_id=ORDER)
        with respx.mock(assert_all_called=False) as router:
            router.route().respond(200, content=told)
            self.router = router
            yield

    @every_send
    async def test_own(self, send: Send) -> None:
        """Over httpx's own transport it is claimed late, and the answer says what the cause is."""
        claims = Claims()
        async with Client(CREDENTIALS, endpoint_id=39915, base_url=f"http://{HOST}/x") as client:
            answer = await send(client, before_send=claims)

        assert isinstance(answer, Unknown)
        assert "does a mocking library replace httpx's insides? see the testing" in answer.reason
        assert 1 == claims.kept

    async def test_wrapped(self) -> None:
        """Over a wrapper it is refused, since the library reads the request before it leaves."""
        claims = Claims()
        async with client_over(RepeatsErrors(plain()), f"http://{HOST}/x") as client:
            with pytest.raises(ConfigurationError, match="mocking library"):
                await pay(client, before_send=claims)

        assert 0 == claims.begun

    async def test_let_through(self) -> None:
        """A host that such a library lets through is reached, and the request is seen leaving."""
        claims = Claims()
        async with PayingGateway() as gateway:
            self.router.routes.clear()
            self.router.route(host=HOST).pass_through()
            async with Client(CREDENTIALS, endpoint_id=39915, base_url=gateway.url) as client:
                assert Accepted(ORDER) == await pay(client, before_send=claims)

            assert (1, 1) == (gateway.taken.total(), claims.kept)


class TestGivenUp:
    @every_send
    async def test_cancelled_claim(self, send: Send) -> None:
        """A wrapper that cancels its attempt during the claim ends in NotSent, and is no cancel."""
        claims, told = Claims(goes_on := asyncio.Event()), asyncio.Event()
        transport = Hasty(plain(), told)
        async with PayingGateway() as gateway, client_over(transport, gateway.url) as client:
            sending = asyncio.create_task(send(client, before_send=claims))
            await claims.has_begun.wait()
            told.set()
            await settle()
            assert not sending.done()  # what is being put on record is waited for
            goes_on.set()

            assert NotSent("the transport gave it up before it left") == await sending
            assert ({}, 1) == (gateway.taken, claims.kept)

    async def test_claim_that_fails_meanwhile(self) -> None:
        """What the claim of a given up attempt raises comes out as ever."""
        goes_on, told, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def claim() -> None:
            begun.set()
            await goes_on.wait()
            raise ClaimLost("po-1", 2)

        async with (
            PayingGateway() as gateway,
            client_over(Hasty(plain(), told), gateway.url) as client,
        ):
            sending = asyncio.create_task(pay(client, before_send=claim))
            await begun.wait()
            told.set()
            goes_on.set()
            with pytest.raises(ClaimLost):
                await sending

            assert {} == gateway.taken

    async def test_cancelled_answer(self) -> None:
        """A wrapper that cancels its attempt when the request has left ends in Unknown."""
        told = asyncio.Event()

        class Silent(PayingGateway):
            async def _serve(self, connection: Connection) -> None:
                await connection.read_request()
                told.set()
                await connection.reader.read()

        async with Silent() as gateway, client_over(Hasty(plain(), told), gateway.url) as client:
            assert Unknown("CancelledError") == await pay(client, before_send=Claims())

            assert 1 == len(gateway.requests)

    async def test_copies_that_are_left_behind(self) -> None:
        """A copy that still connects when the exchange is over leaves no more."""
        goes_on, connected = asyncio.Event(), asyncio.Event()
        claims = Claims()

        class Slow(httpcore.AsyncNetworkBackend):
            """Connects when it is told, after the first one, which it refuses."""

            tries = 0

            async def connect_tcp(self, *where: Any, **how: Any) -> httpcore.AsyncNetworkStream:
                self.tries += 1
                if self.tries == 1:
                    raise httpcore.ConnectError
                await goes_on.wait()
                stream = await AutoBackend().connect_tcp(*where, **how)
                connected.set()
                return stream

        inner = plain()
        inner._pool._network_backend = Slow()
        transport = Gathers(inner)
        async with PayingGateway() as gateway, client_over(transport, gateway.url) as client:
            assert NotSent("ConnectError") == await pay(client, before_send=claims)
            goes_on.set()
            await connected.wait()
            await settle()

            assert ({}, 0) == (gateway.taken, claims.begun)

    async def test_timeout_of_its_own(self) -> None:
        """A wrapper's own time limit that ends the claim cancels nobody else."""
        claims = Claims(goes_on := asyncio.Event())

        class Timed(Wrapper):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                async with asyncio.timeout(None) as limit:
                    attempt = asyncio.create_task(claims.has_begun.wait())
                    attempt.add_done_callback(lambda _: limit.reschedule(0))
                    return await self.attempt(request)

        async with PayingGateway() as gateway, client_over(Timed(plain()), gateway.url) as client:
            sending = asyncio.create_task(pay(client, before_send=claims))
            await claims.has_begun.wait()
            await settle()
            goes_on.set()

            assert NotSent("the transport gave it up before it left") == await sending
            assert {} == gateway.taken

    async def test_cancelled_question(self) -> None:
        """A wrapper that cancels a question leaves it unanswered, and cancels nobody."""
        told = asyncio.Event()
        told.set()
        async with (
            PayingGateway() as gateway,
            client_over(plain(), gateway.url, poll_transport=Hasty(plain(), told)) as one,
        ):
            assert NoAnswer("CancelledError") == await one.status("po-1")


@contextlib.asynccontextmanager
async def orchestrator_over(
    transport: httpx.AsyncBaseTransport, url: str, journal: SqliteJournal
) -> AsyncIterator[Orchestrator]:
    """Run payouts over a transport, quickly."""
    async with (
        client_over(transport, url) as client,
        Orchestrator(
            client,
            journal,
            polling=Polling(shortest=0.01, longest=0.02),
            deadlines=Deadlines(doubt=0.3),
        ) as payouts,
    ):
        yield payouts


async def claims_of(journal: SqliteJournal, client_orderid: str = "po-1") -> Counter[str]:
    """Count the claims of a payout."""
    events = await journal.history(client_orderid)
    return Counter(type(e).__name__ for e in events if isinstance(e, CheckStarted | PayStarted))


class TestOrchestrator:
    @pytest.mark.parametrize("flow", Flow)
    @pytest.mark.parametrize("first", [(), (LOST,) * 4], ids=["answers", "loses"])
    @pytest.mark.parametrize(
        "carrier", [RepeatsErrors, RepeatsAnswers, RepeatsAlways, GathersAll, FallsBack]
    )
    async def test_paid_once(
        self, carrier: type[Wrapper], first: tuple[bytes, ...], flow: Flow
    ) -> None:
        """A payout over a transport that repeats is checked once and paid once, and ends."""
        async with (
            PayingGateway(*first) as gateway,
            orchestrator_over(
                carrier(plain()), gateway.url, journal := SqliteJournal(":memory:")
            ) as payouts,
        ):
            assert (await payouts.run(payout_request(), flow=flow)).is_approved

            claims = await claims_of(journal)
            commands = ["payout-check", "payout-pay"] if flow is Flow.CHECK_PAY else ["payout"]
            assert dict.fromkeys(commands, 1) == gateway.taken
            assert {1} == set(claims.values())
            assert len(commands) == len(claims)

    @pytest.mark.parametrize("flow", Flow)
    async def test_refused(self, flow: Flow) -> None:
        """What a transport is refused for comes out of run and run_many, and claims nothing."""
        transport = ReadsFirst(plain(), "aread")
        async with (
            PayingGateway() as gateway,
            orchestrator_over(
                transport, gateway.url, journal := SqliteJournal(":memory:")
            ) as payouts,
        ):
            for _ in range(3):
                with pytest.raises(ConfigurationError, match="ReadsFirst"):
                    await payouts.run(payout_request(), flow=flow)
            requests = [payout_request(f"po-{n}") for n in range(1, 5)]
            told = [outcome async for outcome in payouts.run_many(requests, flow=flow)]

            assert [ConfigurationError] * 4 == [type(outcome.problem) for outcome in told]
            assert "ReadsFirst" in str(told[0].explanation)
            assert {} == gateway.taken
            for request in requests:
                assert {} == await claims_of(journal, request.client_orderid)
            breaker = payouts._means.breaker
            assert (None, 0) == (breaker.trouble, breaker._under_way)

            transport._way = "nothing"
            transport._read = _as_it_is  # type: ignore[method-assign]  # it is mended
            assert (await payouts.run(payout_request(), flow=flow)).is_approved
            assert {1} == set(gateway.taken.values())

    @pytest.mark.parametrize("flow", Flow)
    async def test_given_up(self, flow: Flow) -> None:
        """A claim whose request was given up stands: the payout is asked about and sent no more."""
        told = asyncio.Event()

        class Telling(SqliteJournal):
            """Tells when the claim to pay is being written."""

            async def append(self, becomes: Payout, event: Event) -> None:
                if isinstance(event, PayStarted):
                    told.set()
                    await settle()
                await super().append(becomes, event)

        async with (
            PayingGateway() as gateway,
            orchestrator_over(
                Hasty(plain(), told), gateway.url, journal := Telling(":memory:")
            ) as payouts,
        ):
            outcome = await payouts.run(payout_request(), flow=flow)

            assert State.ATTENTION is outcome.state or "unconfirmed" == outcome.open_reason
            assert 1 == (await claims_of(journal))["PayStarted"]
            assert 0 == gateway.paid["po-1"]

    @pytest.mark.parametrize("carrier", [Hedges, Gathers])
    async def test_hedging(self, carrier: type[Wrapper]) -> None:
        """A transport that sends copies and keeps the worst of them pays nothing twice."""
        async with (
            PayingGateway() as gateway,
            orchestrator_over(
                carrier(plain()), gateway.url, journal := SqliteJournal(":memory:")
            ) as payouts,
        ):
            outcome = await payouts.run(payout_request(), flow=Flow.ONE_STEP)

            assert {"PayStarted": 1} == await claims_of(journal)
            assert gateway.paid["po-1"] <= 1
            assert outcome.is_approved == (gateway.paid["po-1"] == 1)


async def _as_it_is(request: httpx.Request) -> httpx.Request:
    return request
