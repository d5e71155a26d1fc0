"""A journal that forgets while a program runs, as a standby without the last commits does."""

import asyncio

import attrs
import pytest
from fakes import EPOCH, MemoryJournal
from house import house, virtually
from payouts import request

from billblend_async.answers import Status
from billblend_async.errors import JournalDamaged
from billblend_async.events import CalledBack, Event, PayAccepted, PayStarted
from billblend_async.machine import evolve
from billblend_async.models import Flow, State
from billblend_async.payout import Payout
from billblend_async.wire import RequestKind

CHECK, PAY, PAYOUT = RequestKind.CHECK, RequestKind.PAY, RequestKind.PAYOUT


class Forgetful(MemoryJournal):
    """A journal that loses the last events of a payout, once, before its answer is written.

    Args:
        keep: How many events of the payout it remembers.
    """

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.keep = keep
        self.has_lost = False

    async def append(self, becomes: Payout, event: Event) -> None:
        """Forget when it is told that pay was accepted."""
        if isinstance(event, PayAccepted) and not self.has_lost:
            self.has_lost = True
            events = self.events[becomes.client_orderid]
            del events[self.keep :]
            if not events:
                del self.events[becomes.client_orderid]
        await super().append(becomes, event)


class TestForgetful:
    @pytest.mark.parametrize("keep", range(5))
    @pytest.mark.parametrize("flow", [Flow.CHECK_PAY, Flow.ONE_STEP])
    def test_nothing_is_sent_again(self, keep: int, flow: Flow) -> None:
        """Whatever is lost of a payout, the program that knew of it sends nothing again."""

        @virtually
        async def check(_: object) -> None:
            async with house(journal=Forgetful(keep)) as h:
                if flow is Flow.ONE_STEP and keep > 1:
                    return  # it has no more events by then
                with pytest.raises(JournalDamaged, match="billblend journal restored"):
                    await h.payouts.run(request(), flow=flow)
                for _ in range(3):
                    with pytest.raises(JournalDamaged):
                        await h.payouts.run(request(), flow=flow)
                assert 1 == h.client.count(PAY) + h.client.count(PAYOUT)
                assert 1 == h.client.paid("po-1")

        check(None)

    @virtually
    async def test_no_other_payout_is_sent(self) -> None:
        """Once it has forgotten one payout, no other one is accepted or sent from it."""
        async with house(journal=Forgetful(4)) as h:
            await h.payouts.run(request(client_orderid="held"), pay=False)
            with pytest.raises(JournalDamaged):
                await h.payouts.run(request())
            sent = h.client.count(CHECK), h.client.count(PAY)
            with pytest.raises(JournalDamaged):
                await h.payouts.run(request(client_orderid="po-2"))
            approving = asyncio.create_task(h.payouts.approve("held", who="ann"))
            with pytest.raises(JournalDamaged):
                await approving
            assert sent == (h.client.count(CHECK), h.client.count(PAY))

    @virtually
    async def test_another_event_in_its_place(self) -> None:
        """That another event stands where the claim was is noticed when the payout is read."""
        async with house() as h:
            await h.payouts.run(request(), pay=False)
            told = await h.journal.load("po-1")
            assert told is not None
            claimed = evolve(attrs.evolve(told, held=False), PayStarted(at=EPOCH))
            assert claimed.state is State.PAYING
            h.journal.events["po-1"].append(CalledBack(at=EPOCH, status=Status.APPROVED))
            with pytest.raises(JournalDamaged):
                await h.payouts._means.read_again(claimed)
            with pytest.raises(JournalDamaged):
                await h.payouts.approve("po-1", who="ann")
            assert 0 == h.client.count(PAY)
