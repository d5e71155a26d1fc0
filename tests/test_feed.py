"""Whoever listens hears what is durable, in order, to an end; whoever forgets to is forgotten."""

import asyncio
import gc
import weakref
from decimal import Decimal
from itertools import pairwise

import pytest
from fakes import UNANSWERED, FakeClient, Fault
from house import House, house, virtually
from payouts import request

from billblend_async.core.models import Outcome, State
from billblend_async.errors import ClosedError, EventsMissed, PayoutNotFound
from billblend_async.gateway.wire import RequestKind
from billblend_async.orchestrator.observer import LONGEST_QUEUE, Events, Feed, Notice
from billblend_async.sandbox import Gateway

REDIRECT = "2000000001"


def notice(name: str = "po-1") -> Notice:
    """Make a notice about a payout."""
    told = Outcome(client_orderid=name, amount=Decimal(1), currency="EUR", state=State.NEW)
    return Notice(told, None)


async def names_of(events: Events) -> list[str]:
    """Name what a listener hears until it ends."""
    return [type(told.event).__name__ async for told in events]


async def begun(h: House) -> None:
    """Wait until po-1 has left New."""
    while len(h.journal.events.get("po-1", ())) < 2:
        await asyncio.sleep(0.01)


class TestEvents:
    @virtually
    async def test_everything_in_order(self) -> None:
        """A listener hears each journaled event, with where the payout then stands, and the end."""
        async with house() as h:
            all_of_them, one, other = (h.payouts.events(name) for name in (None, "po-1", "po-2"))
            await h.payouts.run(request())
            await h.payouts.run(request("po-2"))
        both = [told async for told in all_of_them]
        assert h.names() + h.names("po-2") == [type(told.event).__name__ for told in both]
        assert h.told == [(h.told[n][0], told.event) for n, told in enumerate(both)]
        assert [payout.state for payout, _ in h.told] == [told.outcome.state for told in both]
        assert h.names() == await names_of(one)
        assert h.names("po-2") == await names_of(other)

    @virtually
    async def test_durable_before_it_is_told(self) -> None:
        """What a listener hears is in the journal already."""
        async with house() as h:
            events = h.payouts.events()
            running = asyncio.create_task(h.payouts.run(request()))
            for place in range(len(("Opened", "CheckStarted", "Checked", "Validated"))):
                told = await anext(events)
                assert told.event == h.journal.events["po-1"][place]
            running.cancel()

    @virtually
    async def test_from_now_on(self) -> None:
        """A listener hears what comes after it was made, and nothing from before."""
        async with house() as h:
            await h.payouts.accept(request())
            events = h.payouts.events()
            await h.payouts.withdraw("po-1", who="ann", why="typo")
        assert ["Withdrawn"] == await names_of(events)

    @virtually
    async def test_closing(self) -> None:
        """Closing one listener ends it and no other; what has come can still be read."""
        async with house() as h:
            with h.payouts.events() as first:
                await h.payouts.accept(request())
            second = h.payouts.events()
            await h.payouts.accept(request("po-2"))
            assert ["Opened"] == await names_of(first)
            assert [] == await names_of(first)
            waiting = asyncio.create_task(names_of(second))
        assert ["Opened"] == await waiting
        assert [] == await names_of(h.payouts.events())

    @virtually
    async def test_another_process(self) -> None:
        """What another process has done is told without an event, once this one meets it."""
        async with house() as a, house(a.client, a.journal.twin()) as b:
            await a.payouts.accept(request())
            await asyncio.sleep(1)
            events = a.payouts.events()
            a.client.faults[RequestKind.CHECK] = [Fault(delay=4.0)]
            running = asyncio.create_task(a.payouts.run(request()))
            await begun(a)
            await b.payouts.withdraw("po-1", who="ann", why="typo")
            assert State.WITHDRAWN is (await running).state
        told = [(type(each.event).__name__, each.outcome.state) async for each in events]
        assert [("CheckStarted", State.CHECKING), ("NoneType", State.WITHDRAWN)] == told

    async def test_missed(self) -> None:
        """Whoever is 10,000 notices behind reads those, and is then told that more were missed."""
        feed = Feed()
        slow, quick = feed.listen(), feed.listen()
        for _ in range(LONGEST_QUEUE):
            feed.tell(notice())
            await anext(quick)
        feed.tell(notice())
        feed.tell(notice())
        for _ in range(LONGEST_QUEUE):
            assert notice() == await anext(slow)
        for _ in range(2):
            with pytest.raises(EventsMissed, match="10000"):
                await anext(slow)
        assert [notice()] * 2 == [await anext(quick), await anext(quick)]
        feed.close()
        with pytest.raises(EventsMissed):
            await anext(slow)
        assert [] == await names_of(quick)

    async def test_others_do_not_fill_it(self) -> None:
        """Notices of other payouts do not count against a listener to one."""
        feed = Feed()
        events = feed.listen("po-1")
        for _ in range(LONGEST_QUEUE + 5):
            feed.tell(notice("po-2"))
        feed.tell(notice())
        assert notice() == await anext(events)

    async def test_forgotten(self) -> None:
        """A listener that nobody holds any more is collected, and nothing is written for it."""
        feed = Feed()
        events = feed.listen()
        gone, heard = weakref.ref(events), [feed.is_heard]
        del events
        gc.collect()
        assert gone() is None
        assert [True, False] == [*heard, feed.is_heard]
        feed.tell(notice())


class TestFollow:
    @virtually
    async def test_from_where_it_stands(self) -> None:
        """Following begins with where a payout stands, tells each change once, and ends with it."""
        async with house() as h:
            await h.payouts.accept(request(account_number=REDIRECT))
            told: list[Outcome] = []

            async def follow() -> None:
                async for outcome in h.payouts.follow("po-1"):
                    told.append(outcome)
                    if outcome.redirect_to:
                        gateway = h.client.gateway
                        token = gateway.orders["6982864"].token
                        assert token is not None
                        gateway.submit(token, h.client.wall_clock(), is_confirmed=True)

            following = asyncio.create_task(follow())
            running = asyncio.create_task(h.payouts.run(request(account_number=REDIRECT)))
            await asyncio.gather(following, running)
            states = [outcome.state for outcome in told]
            assert (State.NEW, State.FINAL) == (states[0], states[-1])
            assert State.AWAITING_RECEIVER in states
            assert all(a != b for a, b in pairwise(told))
            assert await h.payouts.status("po-1") == told[-1]
            assert told[-1].redirect_to is None

    @virtually
    async def test_finished(self) -> None:
        """A finished payout is told once, and that is the end."""
        async with house() as h:
            final = await h.payouts.run(request())
            assert [final] == [told async for told in h.payouts.follow("po-1")]
            assert [] == list(h.payouts._means.feed._listeners)

    @virtually
    async def test_unknown(self) -> None:
        """A payout that the journal does not know cannot be followed."""
        async with house() as h:
            with pytest.raises(PayoutNotFound):
                await anext(h.payouts.follow("po-1"))

    @virtually
    async def test_closing(self) -> None:
        """Following ends when the orchestrator closes, and afterwards does not begin."""
        async with house(FakeClient(Gateway(validation=1e6))) as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await begun(h)
            following = h.payouts.follow("po-1")
            assert not (await anext(following)).is_finished
            rest = asyncio.create_task(anext(following, None))
            await asyncio.sleep(10)
        while (told := await rest) is not None:
            assert not told.is_finished
            rest = asyncio.create_task(anext(following, None))
        assert not (await running).is_finished
        with pytest.raises(ClosedError):
            await anext(h.payouts.follow("po-1"))

    @virtually
    async def test_led_by_another_process(self) -> None:
        """A payout that another process finishes is followed to its end, once this one meets it."""
        client = FakeClient(Gateway(validation=2.0, processing=20.0))
        async with house(client) as a, house(client, a.journal.twin()) as b:
            both = [asyncio.create_task(h.payouts.run(request())) for h in (a, b)]
            await begun(a)
            client.faults[RequestKind.STATUS] = [UNANSWERED]
            told = [outcome async for outcome in b.payouts.follow("po-1")]
            assert told[-1].is_approved
            assert told[-1] == (await asyncio.gather(*both))[1]
