"""A journal that forgets while a program runs, as a standby without the last commits does."""

import asyncio

import attrs
import pytest
from fakes import EPOCH, MemoryJournal
from house import house, virtually
from payouts import request

from billblend_async.core.events import CalledBack, Event, PayAccepted, PayStarted
from billblend_async.core.machine import evolve
from billblend_async.core.models import Doubt, Flow, State
from billblend_async.core.payout import Payout
from billblend_async.core.responses import Status
from billblend_async.errors import JournalRolledBack, JournalUnavailable
from billblend_async.gateway.wire import RequestKind

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
                with pytest.raises(JournalRolledBack, match="billblend journal restored"):
                    await h.payouts.run(request(), flow=flow)
                for _ in range(3):
                    with pytest.raises(JournalRolledBack):
                        await h.payouts.run(request(), flow=flow)
                assert 1 == h.client.count(PAY) + h.client.count(PAYOUT)
                assert 1 == h.client.paid("po-1")

        check(None)

    @virtually
    async def test_no_other_payout_is_sent(self) -> None:
        """Once it has forgotten one payout, no other one is accepted or sent from it."""
        async with house(journal=Forgetful(4)) as h:
            await h.payouts.run(request(client_orderid="held"), pay=False)
            with pytest.raises(JournalRolledBack):
                await h.payouts.run(request())
            sent = h.client.count(CHECK), h.client.count(PAY)
            with pytest.raises(JournalRolledBack):
                await h.payouts.run(request(client_orderid="po-2"))
            approving = asyncio.create_task(h.payouts.approve("held", who="ann"))
            with pytest.raises(JournalRolledBack):
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
            with pytest.raises(JournalRolledBack):
                await h.payouts._means.read_again(claimed)
            with pytest.raises(JournalRolledBack):
                await h.payouts.approve("po-1", who="ann")
            assert 0 == h.client.count(PAY)

    @virtually
    async def test_it_is_marked_before_it_is_told(self) -> None:
        """The journal that is there is marked as restored, and the error says that it is."""
        async with house(journal=Forgetful(4)) as h:
            await h.payouts.run(request(client_orderid="held"), pay=False)
            with pytest.raises(JournalRolledBack, match="is marked as restored") as caught:
                await h.payouts.run(request())
            assert caught.value.is_marked
            assert h.payouts.rolled_back is not None
            assert h.journal.marks == ["restored"]
            held = await h.journal.load("held")
            assert held is not None
            assert (State.ATTENTION, Doubt.RESTORED) == (held.state, held.doubt)
            assert "again" not in str(caught.value)

    @virtually
    async def test_it_cannot_be_marked(self) -> None:
        """A journal that takes no mark is told to be declared, and nothing is sent from it."""

        class Unmarkable(Forgetful):
            async def declare_restored(self, at: float) -> int:
                raise JournalUnavailable("memory", f"full at {at}")

        async with house(journal=Unmarkable(4)) as h:
            with pytest.raises(JournalRolledBack, match="could not be marked") as caught:
                await h.payouts.run(request())
            assert not caught.value.is_marked
            assert "billblend journal restored" in str(caught.value)
            with pytest.raises(JournalRolledBack):
                await h.payouts.run(request(client_orderid="po-2"))
            assert 1 == h.client.count(PAY)

    @virtually
    async def test_whoever_is_cancelled_leaves_it_marked(self) -> None:
        """A caller that goes away while it is marked changes nothing of that."""

        class Slow(Forgetful):
            async def declare_restored(self, at: float) -> int:
                marking.set()
                await asyncio.sleep(5)
                return await super().declare_restored(at)

        marking = asyncio.Event()
        async with house(journal=Slow(4)) as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await marking.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert h.journal.marks == ["restored"]

    @virtually
    async def test_a_journal_that_notices(self) -> None:
        """What a journal notices by itself ends the run, and nothing is sent after it."""
        async with house(journal=MemoryJournal(notices=True)) as h:
            assert (await h.payouts.run(request(client_orderid="held"), pay=False)).state
            assert (await h.payouts.run(request())).is_approved
            del h.journal.events["po-1"][4:]
            for name in ("po-1", "po-2", "held"):
                with pytest.raises(JournalRolledBack):
                    await h.payouts.run(request(client_orderid=name), pay=name != "held")
            assert h.journal.marks == ["restored"]
            assert 1 == h.client.count(PAY)
            assert 0 == h.client.count(CHECK, "po-2")

    @virtually
    async def test_what_the_journal_notices_is_not_declared_twice(self) -> None:
        """A journal that has noticed by itself is asked for nothing more."""

        class Noticing(Forgetful):
            async def load(self, client_orderid: str) -> Payout | None:
                if self.has_lost:
                    raise JournalRolledBack("memory", f"{client_orderid} is gone", is_marked=True)
                return await super().load(client_orderid)

        async with house(journal=Noticing(4)) as h:
            with pytest.raises(JournalRolledBack):
                await h.payouts.run(request())
            assert h.journal.marks == []
            assert h.payouts.rolled_back is not None
            assert 1 == h.client.count(PAY)
