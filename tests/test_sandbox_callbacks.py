"""The sandbox brings its callbacks as the gateway does: signed, prompt, until somebody says 200."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from merchants import FIRST, SECRET, check, pay, payout, until
from rsa_keys import PEM_2048
from servers import Connection, Received, Server, http_answer

from billblend_async.gateway.signing import control
from billblend_async.sandbox.callbacks import MOST_TRIES, Delivery
from billblend_async.sandbox.server import Sandbox

Answers = Callable[[int], int]
STEADY = 0.99
"""A wall clock may run a little slower than the event loop's while it is being set right."""


class Merchant(Server):
    """A merchant's callback URL.

    Args:
        answers: What it says to each request, by how many there were before.
    """

    def __init__(self, answers: Answers = lambda _: 200) -> None:
        super().__init__(self._serve)
        self._answers = answers
        self.instants: list[float] = []
        self.busy = self.peak = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def _serve(self, connection: Connection) -> None:
        while True:
            before = len(self.requests)
            request = await connection.read_request()
            self.instants.append(time.time())
            self.busy += 1
            self.peak = max(self.peak, self.busy)
            self.note()
            await self.gate.wait()
            self.busy -= 1
            await connection.write(self.answer(request, self._answers(before)))

    def answer(self, _: Received, status: int) -> bytes:
        """Write the answer."""
        return http_answer(b"OK", status)

    def told(self) -> list[dict[str, str]]:
        """What every callback has said."""
        return [read(each) for each in self.requests]


def read(request: Received) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.target).query, strict_parsing=True))


@asynccontextmanager
async def sandbox(**settings: Any) -> AsyncIterator[Sandbox]:
    given: Mapping[str, Any] = {"processing": 0.0, "validation": 0.0, "callback_pace": 0.001}
    async with Sandbox(
        private_key=PEM_2048, merchant_control=SECRET, **{**given, **settings}
    ) as opened:
        yield opened


def send(opened: Sandbox, url: str, **changes: str) -> str:
    """Make a payout in one step, now."""
    fields = {"server_callback_url": url, "account_number": "1234567890", **changes}
    return payout(opened.gateway, time.time(), **fields)["paynet-order-id"]


async def over(opened: Sandbox, count: int = 1) -> list[Delivery]:
    """Wait until that many callbacks will not be sent any more."""
    await until(lambda: sum(each.is_over for each in opened.deliveries) >= count)
    return opened.deliveries


class TestDelivery:
    async def test_what_is_sent(self) -> None:
        """A callback is a GET whose query has the documented fields beside the merchant's own."""
        async with Merchant() as merchant, sandbox() as opened:
            send(opened, f"{merchant.origin}/back?shop=7&a=%26", merchant_data="é & =")
            (delivery,) = await over(opened)

        (request,) = merchant.requests
        assert ("GET", b"") == (request.method, request.body)
        assert request.target.startswith("/back?shop=7&a=%26&status=approved&")
        assert "cookie" not in request.headers
        assert {
            "shop": "7",
            "a": "&",
            "status": "approved",
            "orderid": FIRST,
            "merchant_order": "po-1",
            "client_orderid": "po-1",
            "type": "payout",
            "amount": "10.42",
            "currency": "USD",
            "merchantdata": "é & =",
            "processor-tx-id": f"PNTEST-{FIRST}",
            "control": control("approved", FIRST, "po-1", SECRET),
        } == read(request)
        assert (FIRST, "payout", "approved") == (
            delivery.paynet_order_id,
            delivery.type,
            delivery.status,
        )
        assert (1, "200", True) == (delivery.tries, delivery.answer, delivery.is_delivered)

    async def test_not_before_the_end(self) -> None:
        """A callback comes when the status is final, not before, and says what status says."""
        async with Merchant() as merchant, sandbox(processing=0.3) as opened:
            order = send(opened, merchant.origin, account_number="0987654321")
            (delivery,) = await over(opened)

            ends_at = opened.gateway.orders[order].ends_at
        assert ends_at is not None
        assert merchant.instants[0] >= ends_at
        assert delivery.at == ends_at
        assert ("declined", "20001") == (
            merchant.told()[0]["status"],
            merchant.told()[0]["error_code"],
        )

    async def test_earlier_one_is_not_held_up(self) -> None:
        """A callback that becomes due first is sent first, though it was planned last."""
        async with Merchant() as merchant, sandbox(processing=3600) as opened:
            send(opened, merchant.origin)
            opened.gateway.processing = 0.0
            send(opened, merchant.origin, client_orderid="po-2")
            await over(opened)

        assert ["po-2"] == [told["client_orderid"] for told in merchant.told()]

    async def test_clock_that_is_set(self) -> None:
        """A callback that a clock has jumped over is sent soon after."""
        ahead = 0.0
        async with (
            Merchant() as merchant,
            sandbox(processing=3600, clock=lambda: time.time() + ahead) as opened,
        ):
            send(opened, merchant.origin)
            await asyncio.sleep(0)
            ahead = 7200
            await over(opened)

        assert 1 == len(merchant.requests)

    async def test_each_once(self) -> None:
        """Hundreds of payouts that end together are told of once each, at most fifty at a time."""
        async with Merchant() as merchant, sandbox() as opened:
            merchant.gate.clear()
            for number in range(300):
                send(opened, merchant.origin, client_orderid=f"po-{number}")
            await merchant.until(lambda: merchant.busy == 50)
            merchant.gate.set()
            await over(opened, 300)

        assert 50 == merchant.peak
        heard = Counter(told["client_orderid"] for told in merchant.told())
        assert {f"po-{number}": 1 for number in range(300)} == heard

    async def test_second_pay(self) -> None:
        """A payout that was paid twice is told of once: it ended once."""
        async with Merchant() as merchant, sandbox() as opened:
            order = send(opened, merchant.origin)
            pay(opened.gateway, time.time(), order)
            await over(opened)

        assert 2 == opened.gateway.paid("po-1")
        assert 1 == len(merchant.requests) == len(opened.deliveries)

    async def test_switched_off(self) -> None:
        """A sandbox without callbacks sends none and plans none for later."""
        async with Merchant() as merchant:
            async with sandbox(callbacks=False) as opened:
                send(opened, merchant.origin)
            assert [] == merchant.requests
            assert [] == opened.deliveries


class TestTries:
    @pytest.mark.parametrize("status", [500, 404, 301, 202])
    async def test_until_200(self, status: int) -> None:
        """Whatever is not 200 is not delivered, and the callback comes again as it was."""
        async with (
            Merchant(lambda before: status if before < 3 else 200) as merchant,
            sandbox() as opened,
        ):
            send(opened, merchant.origin)
            (delivery,) = await over(opened)

        assert (4, "200", True) == (delivery.tries, delivery.answer, delivery.is_delivered)
        assert 1 == len({request.target for request in merchant.requests})

    async def test_thirty_tries(self) -> None:
        """After thirty tries it is given up, with the last answer on record."""
        async with Merchant(lambda _: 503) as merchant, sandbox(callback_pace=0) as opened:
            send(opened, merchant.origin)
            (delivery,) = await over(opened)

        assert MOST_TRIES == 30 == delivery.tries == len(merchant.requests)
        assert ("503", False) == (delivery.answer, delivery.is_delivered)

    async def test_growing_pauses(self) -> None:
        """The pauses double up to sixty times the first, as the pace has it."""
        async with (
            Merchant(lambda before: 200 if before == 8 else 500) as merchant,
            sandbox(callback_pace=0.01) as opened,
        ):
            send(opened, merchant.origin)
            await over(opened)
        pauses = [
            after - before
            for before, after in zip(merchant.instants, merchant.instants[1:], strict=False)
        ]
        for pause, least in zip(pauses, (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
            assert pause >= least * 0.01 * STEADY

    async def test_redirect_is_not_followed(self) -> None:
        """A redirect is an answer that is not 200, and nobody goes where it points."""

        class Redirecting(Merchant):
            def answer(self, _: Received, status: int) -> bytes:
                plain = http_answer(b"", status)
                return plain.replace(b"\r\n", f"\r\nLocation: {other.origin}/\r\n".encode(), 1)

        async with (
            Merchant() as other,
            Redirecting(lambda _: 302) as merchant,
            sandbox(callback_pace=0) as opened,
        ):
            send(opened, merchant.origin)
            (delivery,) = await over(opened)

        assert ("302", False) == (delivery.answer, delivery.is_delivered)
        assert [] == other.requests

    async def test_nobody_there(self) -> None:
        """A port where nobody listens is tried again, and the last error is on record."""
        async with Merchant() as merchant:
            origin = merchant.origin
        async with sandbox(callback_pace=0) as opened:
            send(opened, origin)
            (delivery,) = await over(opened)

        assert (30, "ConnectError") == (delivery.tries, delivery.answer)

    async def test_hangs_up(self) -> None:
        """A merchant that reads and closes is tried again."""

        async def close(connection: Connection) -> None:
            await connection.read_request()

        async with Server(close) as merchant, sandbox(callback_pace=0) as opened:
            send(opened, merchant.origin)
            (delivery,) = await over(opened)

        assert 30 == len(merchant.requests)
        assert (False, "RemoteProtocolError") == (delivery.is_delivered, delivery.answer)

    @pytest.mark.parametrize(
        "url", ["https://shop.example/back", "http://192.0.2.1/", "http://localhost.example/"]
    )
    async def test_only_this_machine(self, url: str) -> None:
        """Nobody else is ever contacted: such a callback is on record as not sent, and why."""
        async with sandbox() as opened:
            send(opened, url)
            (delivery,) = await over(opened)

        assert (0, False) == (delivery.tries, delivery.is_delivered)
        assert "only addresses of this machine" in str(delivery.answer)

    async def test_closing(self) -> None:
        """A sandbox that closes stops in the middle of a pause; opened again it goes on."""
        async with Merchant(lambda before: 200 if before else 500) as merchant:
            async with sandbox(callback_pace=3600) as opened:
                send(opened, merchant.origin)
                await until(lambda: opened.deliveries and opened.deliveries[0].answer)
            assert not opened.deliveries[0].is_over
            before = asyncio.all_tasks()
            async with opened:
                (delivery,) = await over(opened)
            assert asyncio.all_tasks() <= before
        assert (2, True) == (delivery.tries, delivery.is_delivered)

    async def test_says_nothing_secret(self, caplog: pytest.LogCaptureFixture) -> None:
        """Neither a log nor a repr holds the callback's URL or its control."""
        caplog.set_level(logging.INFO)
        async with Merchant() as merchant, sandbox() as opened:
            send(opened, f"{merchant.origin}/secret-path")
            send(opened, "https://shop.example/secret-path")
            await over(opened, 2)

        said = f"{caplog.text} {opened.deliveries!r} {opened!r}"
        assert "secret-path" not in said
        assert merchant.told()[0]["control"] not in said


class TestReversal:
    @pytest.mark.parametrize("kind", ["reversal", "chargeback"])
    async def test_money_that_came_back(self, kind: Any) -> None:
        """A reversal is a callback of its own with the type that says so."""
        async with Merchant() as merchant, sandbox() as opened:
            order = send(opened, merchant.origin)
            await over(opened)
            opened.reverse(order, kind)
            await over(opened, 2)

        assert ["payout", kind] == [told["type"] for told in merchant.told()]
        assert 1 == len({told["control"] for told in merchant.told()})
        assert [kind, "payout"] == [each.type for each in reversed(opened.deliveries)]


class TestFaults:
    async def test_duplicate(self) -> None:
        """A duplicated callback comes twice, though the first was answered with 200."""
        async with Merchant() as merchant, sandbox() as opened:
            opened.faults.set("callback", "duplicate", count=1)
            send(opened, merchant.origin)
            (delivery,) = await over(opened)
            send(opened, merchant.origin, client_orderid="po-2")
            await over(opened, 2)

        assert ["po-1", "po-1", "po-2"] == [told["client_orderid"] for told in merchant.told()]
        assert 2 == delivery.tries

    async def test_lost(self) -> None:
        """A lost callback is never sent, and the record says why."""
        async with Merchant() as merchant, sandbox() as opened:
            opened.faults.set("callback", "lost", count=1)
            send(opened, merchant.origin)
            (delivery,) = await over(opened)
            send(opened, merchant.origin, client_orderid="po-2")
            await over(opened, 2)

        assert ["po-2"] == [told["client_orderid"] for told in merchant.told()]
        assert (0, False) == (delivery.tries, delivery.is_delivered)
        assert "fault" in str(delivery.answer)

    async def test_delay(self) -> None:
        """A delayed callback comes that much after the final status."""
        async with Merchant() as merchant, sandbox() as opened:
            opened.faults.set("callback", "delay", seconds=0.2)
            send(opened, merchant.origin)
            (delivery,) = await over(opened)

        assert merchant.instants[0] >= delivery.at + 0.2 * STEADY


async def test_scenario_of_the_check() -> None:
    """A payout that ends with its check is told of too, and one without a URL never."""
    async with Merchant() as merchant, sandbox() as opened:
        gateway, now = opened.gateway, time.time()
        from_check = {"account_number": "3000000003", "server_callback_url": merchant.origin}
        payout(gateway, now, account_number="1234567890")
        check(gateway, now, client_orderid="po-2", **from_check)
        await over(opened)

    assert ["declined"] == [told["status"] for told in merchant.told()]
