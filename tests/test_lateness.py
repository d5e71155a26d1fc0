"""How late a status request leaves is told: for the event loop's sake, and for max_polls'."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Literal

import pytest
from fakes import LOST_BEFORE, FakeClient
from house import House, house, virtually
from payouts import request
from rsa_keys import private_key
from servers import GatewayServer, settle
from virtual_time import VirtualTimeLoop

from billblend_async import Observer
from billblend_async.core.models import State
from billblend_async.core.payout import Payout
from billblend_async.core.responses import StatusAnswer, StatusReport
from billblend_async.errors import ClosedError
from billblend_async.gateway.client import Client
from billblend_async.gateway.credentials import Credentials, RsaSigner
from billblend_async.gateway.wire import RequestKind
from billblend_async.orchestrator.observer import Monitor

GRAIN = 1e-5
"""More than the virtual clock's grain."""
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Ear(Observer):
    """Writes down how late each question left.

    Args:
        blocked: Seconds for which the event loop is busy, beginning a second after the first one.
    """

    def __init__(self, blocked: float = 0.0) -> None:
        self.late: list[float] = []
        self.asked_at: list[float] = []
        self._blocked = blocked

    def asked(self, payout: Payout, answer: str, seconds: float, late: float) -> None:
        self.late.append(late)
        loop = asyncio.get_running_loop()
        self.asked_at.append(loop.time() - seconds)
        if len(self.late) == 1:
            loop.call_later(1.0, block, self._blocked)


class Crowded(FakeClient):
    """A client whose questions wait for a connection."""

    def __init__(self, *waits: float) -> None:
        super().__init__()
        self.waits = list(waits)

    async def status(
        self,
        client_orderid: str,
        paynet_order_id: str | None = None,
        *,
        on_leave: Callable[[], None] | None = None,
    ) -> StatusAnswer:
        """Wait for a connection, then ask."""
        if self.waits:
            await asyncio.sleep(self.waits.pop(0))
        assert on_leave is not None
        on_leave()
        return await super().status(client_orderid, paynet_order_id)


def listening(h: House, blocked: float = 0.0) -> Ear:
    """Let an ear listen in an open house."""
    ear = Ear(blocked)
    h.payouts._means.monitor = Monitor(ear)
    return ear


def block(seconds: float) -> None:
    """Let time pass in which the event loop does nothing, as a busy one does."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop._jumping.now += seconds


class TestTold:
    @virtually
    async def test_in_time(self) -> None:
        """A question that leaves when it is due is not late."""
        for client in (FakeClient(), Crowded()):
            async with house(client) as h:
                ear = listening(h)
                assert (await h.payouts.run(request())).is_approved

                assert len(ear.late) >= 2
                assert pytest.approx([0.0] * len(ear.late), abs=GRAIN) == ear.late

    @virtually
    async def test_waits_for_a_connection(self) -> None:
        """A question that waits for a connection is late by as long, and the next one is not."""
        async with house(Crowded(0.0, 1.5)) as h:
            ear = listening(h)
            assert (await h.payouts.run(request())).is_approved

            expected = [0.0, 1.5, *[0.0] * (len(ear.late) - 2)]
            assert pytest.approx(expected, abs=GRAIN) == ear.late

    @virtually
    async def test_blocked_loop(self) -> None:
        """A question whose event loop was busy when it was due is late by what was left of that."""
        ears: list[Ear] = []
        for blocked in (0.0, 10.0):
            async with house(Crowded()) as h:
                ears.append(listening(h, blocked))
                assert (await h.payouts.run(request())).is_approved

        calm, busy = ([at - ear.asked_at[0] for at in ear.asked_at] for ear in ears)
        assert pytest.approx(busy[1] - calm[1], abs=GRAIN) == ears[1].late.pop(1)
        assert busy[1] > 10
        assert pytest.approx([0.0] * len(ears[1].late), abs=GRAIN) == ears[1].late

    @virtually
    async def test_first_of_a_run(self) -> None:
        """The first question of a run is never late, however long ago the last run was."""
        client = Crowded()
        client.faults[RequestKind.PAY] = [LOST_BEFORE]
        async with house(client) as h:
            assert State.ATTENTION is (await h.payouts.run(request())).state
            await asyncio.sleep(5000)
            ear = listening(h)
            client.waits = [2.0]
            await h.payouts.run(request())

            assert 0.0 == ear.late[0]


class TestLeaving:
    @pytest.mark.parametrize("way", [None, "aiohttp"])
    async def test_turn(self, way: Literal["aiohttp"] | None) -> None:
        """A question tells that it leaves once it has its connection, and never if it has none."""
        left: list[str] = []
        credentials = Credentials("acme", RsaSigner(private_key(2048)))
        async with (
            GatewayServer() as server,
            Client(
                credentials,
                endpoint_id=39915,
                base_url=server.url,
                ssl_context=NO_TRUST,
                poll_transport=way,
                max_polls=1,
            ) as client,
        ):

            def ask(name: str) -> asyncio.Task[StatusAnswer]:
                return asyncio.create_task(client.status(name, on_leave=lambda: left.append(name)))

            server.gate.clear()
            first, second, third, cancelled = (ask(f"po-{n}") for n in range(4))
            await server.until(lambda: server.busy == 1)
            await settle()
            assert ["po-0"] == left
            cancelled.cancel()
            server.gate.set()
            assert isinstance(await first, StatusReport)
            assert isinstance(await second, StatusReport)
            assert isinstance(await third, StatusReport)
            server.gate.clear()
            first, second = ask("po-4"), ask("po-5")
            await server.until(lambda: server.busy == 1)
            closing = asyncio.create_task(client.aclose())
            await settle()
            server.gate.set()
            await closing
            assert isinstance(await first, StatusReport)
            with pytest.raises(ClosedError):
                await second

        assert ["po-0", "po-1", "po-2", "po-4"] == left

    async def test_that_raises(self) -> None:
        """A question that raises when it leaves is not asked, and its permit is free again."""

        def fail() -> None:
            raise LookupError

        credentials = Credentials("acme", RsaSigner(private_key(2048)))
        async with (
            GatewayServer() as server,
            Client(
                credentials,
                endpoint_id=39915,
                base_url=server.url,
                ssl_context=NO_TRUST,
                max_polls=1,
            ) as client,
        ):
            with pytest.raises(LookupError):
                await client.status("po-1", on_leave=fail)
            assert isinstance(await client.status("po-2"), StatusReport)

            assert ["po-2"] == [r.form["client_orderid"] for r in server.requests]
