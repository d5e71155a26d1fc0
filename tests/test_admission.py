"""A host takes a payout in now and runs it later."""

from decimal import Decimal

import pytest
from fakes import FakeClient, MemoryJournal
from house import house, virtually_alone
from payouts import request

from billblend_async.core.models import OpenReason, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import NoAnswer
from billblend_async.errors import (
    ClosedError,
    JournalUnavailable,
    PayoutConflict,
    PayoutNotFound,
    SendingStopped,
)
from billblend_async.gateway.wire import RequestKind

SENDS = (RequestKind.CHECK, RequestKind.PAY)


@virtually_alone
async def test_accepted_and_not_run() -> None:
    """A payout that was accepted is in the journal, and nothing is sent before it is run."""
    async with house() as h:
        outcome = await h.payouts.accept(request())

        assert State.NEW == outcome.state
        assert ["Opened"] == h.names()
        assert [0, 0] == [h.client.count(kind) for kind in SENDS]
        assert (await h.payouts.run(request())).is_approved
        assert [1, 1] == [h.client.count(kind) for kind in SENDS]


@virtually_alone
async def test_accepted_twice() -> None:
    """A payout that is accepted again is told where it stands, and nothing new is written."""
    async with house() as h:
        await h.payouts.accept(request())
        assert State.NEW == (await h.payouts.accept(request())).state
        final = await h.payouts.run(request())
        names = h.names()

        assert final == await h.payouts.accept(request())
        assert names == h.names()


@virtually_alone
async def test_another_payout_is_not_accepted() -> None:
    """The same id with another amount is refused, and the first payout stands."""
    async with house() as h:
        await h.payouts.accept(request())
        with pytest.raises(PayoutConflict):
            await h.payouts.accept(request(amount=Decimal("10.43")))

        assert request().amount == (await h.payouts.status("po-1")).amount


@virtually_alone
async def test_accepted_before_a_crash() -> None:
    """A payout that was accepted before a crash is resumed with the request that resolve finds."""
    client, journal = FakeClient(), MemoryJournal()
    async with house(client, journal) as h:
        await h.payouts.accept(request())

    async def resolve(client_orderid: str) -> PayoutRequest:
        return request(client_orderid)

    async with house(client, journal.twin(), resolve=resolve) as h:
        assert [True] == [told.is_approved async for told in h.payouts.resume()]
        assert 1 == client.paid("po-1")


@virtually_alone
async def test_accepted_for_approval() -> None:
    """A payout that was accepted to wait for approval is not paid when it is resumed."""
    async with house() as h:
        await h.payouts.accept(request(), pay=False)
        told = await h.payouts.run(request())
        assert OpenReason.AWAITING_APPROVAL == told.open_reason
        assert 0 == h.client.count(RequestKind.PAY)


@virtually_alone
async def test_what_could_not_be_sent() -> None:
    """While the gateway refuses us, nothing is accepted and the journal stays empty."""
    client = FakeClient()
    client.probe_faults = [NoAnswer("access denied (HTTP 403)", 403)]
    async with house(client) as h:
        with pytest.raises(SendingStopped):
            await h.payouts.accept(request())
        with pytest.raises(PayoutNotFound):
            await h.payouts.status("po-1")


@virtually_alone
async def test_what_could_not_be_kept() -> None:
    """What the journal cannot take, or nobody would run, is not accepted."""
    async with house() as h:
        h.journal.is_full = True
        with pytest.raises(JournalUnavailable):
            await h.payouts.accept(request())
        h.journal.is_full = False
        assert [] == list(h.journal.events)
    with pytest.raises(ClosedError):
        await h.payouts.accept(request())
