"""The engine's own decisions on a virtual clock, over a DBOS in memory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from dbos import DBOS
from fake_dbos import FakeDbos
from fakes import FakeClient
from house import House, house, virtually_alone
from payouts import request

from billblend_async.core.models import Outcome, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import Callback, Status
from billblend_async.errors import ClosedError, ConfigurationError, PayoutNotFound
from billblend_async.integrations.dbos import DbosEngine
from billblend_async.orchestrator.inbox import Delivery
from billblend_async.sandbox import Gateway

HOUR = 3600.0
ORDER = "6982864"


async def finder(client_orderid: str) -> PayoutRequest:
    """Find any request again."""
    return request(client_orderid)


@asynccontextmanager
async def engine_of(h: House, dbos: FakeDbos, **options: Any) -> AsyncIterator[DbosEngine]:
    """Open an engine, and end its workflows as a process that ends would."""
    async with DbosEngine(cast("DBOS", dbos), h.payouts, **options) as engine:
        yield engine
    for task in dbos.running.values():
        task.cancel()
    await asyncio.gather(*dbos.running.values(), return_exceptions=True)


def slow(seconds: float) -> FakeClient:
    """A gateway that takes long after pay."""
    return FakeClient(Gateway(validation=2.0, processing=seconds))


async def paid(seconds: float, **options: Any) -> tuple[FakeDbos, Outcome]:
    """Run a payout that takes so long."""
    dbos = FakeDbos()
    async with house(slow(seconds), resolve=finder) as h, engine_of(h, dbos, **options) as engine:
        assert State.NEW is (await engine.submit(request())).state
        outcome = await engine.outcome("po-1")
        assert 1 == h.client.paid("po-1")
    return dbos, outcome


@virtually_alone
async def test_rows_of_a_short_payout() -> None:
    """A payout that is final within five minutes costs one row."""
    dbos, outcome = await paid(200.0)

    assert outcome.is_approved
    assert {"billblend.advance": 1} == dbos.rows
    assert [("final", None)] == dbos.results


@virtually_alone
async def test_rows_of_a_long_payout() -> None:
    """A payout that is open for a day costs less than a thousand rows."""
    six_hours, _ = await paid(6 * HOUR)
    a_day, outcome = await paid(24 * HOUR)

    assert outcome.is_approved
    assert 800 > six_hours.rows.total()
    assert 1000 > a_day.rows.total()
    words = {word for word, _ in a_day.results}
    assert {"awaiting-final", "final"} == words


@virtually_alone
async def test_rounds_for_every_question() -> None:
    """Without naps within a step every question is a round of three rows."""
    dbos, _ = await paid(60.0, nap=0.0, stint=0.0)

    assert dbos.rows["billblend.advance"] > 12
    assert dbos.rows["recv"] == 2 * (dbos.rows["billblend.advance"] - 1)


@virtually_alone
async def test_a_callback_ends_a_long_wait() -> None:
    """A callback ends a wait of minutes in DBOS; one that was heard before writes nothing."""
    dbos = FakeDbos()
    async with house(slow(5 * HOUR), resolve=finder) as h, engine_of(h, dbos) as engine:
        await engine.submit(request())
        await asyncio.sleep(5 * HOUR + 5)
        assert not dbos.running["billblend:po-1"].done()
        callback = Callback(status=Status("approved"), paynet_order_id=ORDER, client_orderid="po-1")
        assert Delivery.NOTED is await engine.deliver(callback)
        await asyncio.sleep(5)
        assert dbos.running["billblend:po-1"].done()
        assert (await engine.outcome("po-1")).is_approved
        assert Delivery.KNOWN is await engine.deliver(callback)
        assert 1 == dbos.rows["message"]


@virtually_alone
async def test_what_nobody_resolves_goes_on_later() -> None:
    """A payout whose request is not found waits, is told of, and goes on once it is."""
    dbos = FakeDbos()
    found: list[bool] = []

    async def find(client_orderid: str) -> PayoutRequest | None:
        return request(client_orderid) if found else None

    async with house(resolve=find) as h, engine_of(h, dbos) as engine:
        await engine.submit(request())
        await asyncio.sleep(2 * HOUR)
        assert not dbos.running["billblend:po-1"].done()
        assert 100 > dbos.rows.total()
        found.append(True)
        assert (await engine.outcome("po-1")).is_approved
        assert {("trouble", 300.0), ("final", None)} == set(dbos.results)


@virtually_alone
async def test_a_journal_that_is_gone() -> None:
    """While the journal is gone nothing ends; the payout goes on soon after it is back."""
    dbos = FakeDbos()
    async with house(slow(60.0), resolve=finder) as h, engine_of(h, dbos) as engine:
        await engine.submit(request())
        await asyncio.sleep(10)
        h.journal.is_full = True
        await asyncio.sleep(HOUR)
        assert not dbos.running["billblend:po-1"].done()
        assert 80 > dbos.rows.total()
        h.journal.is_full = False
        await asyncio.sleep(300)
        assert dbos.running["billblend:po-1"].done()
        assert (1, 1) == (h.client.paid("po-1"), len(h.client.gateway.ledger))


@virtually_alone
async def test_a_bug_ends_no_workflow() -> None:
    """What nobody foresaw is logged by its class alone and tried again."""
    dbos, client = FakeDbos(), slow(60.0)
    real, calls = client.status, []

    async def status(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise ZeroDivisionError("1234567890 went wrong")
        return await real(*arguments, **options)

    client.status = status  # type: ignore[method-assign]
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("billblend_async.engines.stints").addHandler(handler)
    try:
        async with house(client, resolve=finder) as h, engine_of(h, dbos) as engine:
            await engine.submit(request())
            assert (await engine.outcome("po-1")).is_approved
    finally:
        logging.getLogger("billblend_async.engines.stints").removeHandler(handler)
    assert ["payout po-1: ZeroDivisionError (it is tried again)"] == records


@virtually_alone
async def test_one_that_needs_a_person() -> None:
    """A payout that waits for approval costs few rows, and goes on at once when it is woken."""
    dbos = FakeDbos()
    async with house(slow(2.0), resolve=finder) as h, engine_of(h, dbos) as engine:
        await engine.submit(request(), pay=False)
        await asyncio.sleep(7 * 24 * HOUR)
        assert 3000 > dbos.rows.total()
        assert 0 == h.client.paid("po-1")
        began = asyncio.get_running_loop().time()
        approving = asyncio.create_task(h.payouts.approve("po-1", who="ann"))
        await asyncio.sleep(1)
        await engine.wake("po-1")
        assert (await engine.outcome("po-1")).is_approved
        await approving
        assert 30 > asyncio.get_running_loop().time() - began
        assert 1 == h.client.paid("po-1")


@virtually_alone
async def test_resume() -> None:
    """What was accepted and not enqueued before a crash is enqueued at the start, each once."""
    dbos = FakeDbos()
    async with house(resolve=finder) as h:
        for n in range(3):
            await h.payouts.accept(request(f"po-{n}"))
        await h.payouts.run(request("paid"))
        async with engine_of(h, dbos, name="pay", concurrency=5, starts_per_second=7) as engine:
            assert 3 == await engine.resume()
            assert {"pay:po-0", "pay:po-1", "pay:po-2"} == set(dbos.running)
            assert [True] * 3 == [(await engine.outcome(f"po-{n}")).is_approved for n in range(3)]
            assert 0 == await engine.resume()
            assert {1} == {h.client.paid(f"po-{n}") for n in range(3)}
        limiter = {"limit": 7, "period": 1.0}
        assert {"pay": {"worker_concurrency": 5, "limiter": limiter}} == dbos.queues


@virtually_alone
async def test_wrong_use() -> None:
    """An engine says what it lacks: a resolve, a launched DBOS, its ``async with``, the payout."""
    dbos = FakeDbos()
    async with house() as h:
        with pytest.raises(ConfigurationError, match="resolve: an engine needs it"):
            DbosEngine(cast("DBOS", dbos), h.payouts)
    async with house(resolve=finder) as h:
        engine = DbosEngine(cast("DBOS", FakeDbos(is_launched=False)), h.payouts)
        with pytest.raises(ConfigurationError, match=r"call DBOS\.launch\(\) first"):
            await engine.__aenter__()
        engine = DbosEngine(cast("DBOS", dbos), h.payouts)
        assert "<DbosEngine billblend closed>" == repr(engine)
        for call in (engine.submit(request()), engine.resume(), engine.wake("po-1")):
            with pytest.raises(ClosedError, match="engine is not open"):
                await call
        async with engine:
            assert "<DbosEngine billblend open>" == repr(engine)
            await engine.wake("po-1")  # nobody runs it, so nobody is woken
            with pytest.raises(PayoutNotFound):
                await engine.outcome("po-1")
            assert 0 == await engine.take_over([])
