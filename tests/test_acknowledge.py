"""A person acknowledges what does not fit about finished payouts; nothing is sent for that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from callers import genuine
from fakes import LOST_BEFORE, MemoryJournal
from house import House, house, virtually
from payouts import finished, request

from billblend_async.core.events import Acknowledged, Event, Finished
from billblend_async.core.machine import Payout, evolve
from billblend_async.core.models import Alarm, State
from billblend_async.errors import DecisionRefused, InvalidInput, PayoutNotFound
from billblend_async.gateway.wire import RequestKind

ANOTHER_AMOUNT, ERROR, GOOD = "5000000001", "1987654321", "1234567890"
WHO: dict[str, Any] = {"who": "ann", "why": "asked the bank"}


@asynccontextmanager
async def odd(journal: MemoryJournal | None = None) -> AsyncIterator[House]:
    """Pay po-1 another amount, let po-2 end in error, and po-3 well."""
    async with house(journal=journal) as h:
        accounts = {"po-1": ANOTHER_AMOUNT, "po-2": ERROR, "po-3": GOOD}
        wanted = [request(name, account_number=each) for name, each in accounts.items()]
        async for _ in h.payouts.run_many(wanted):
            pass
        yield h


def reversal(payout: Payout, at: float, amount: str) -> Finished:
    """Tell that a payout, or a part of it, was taken back."""
    order = payout.paynet_order_id
    assert order is not None
    return finished(
        at=at,
        paynet_order_id=order,
        transaction_type="reversal",
        amount=Decimal(amount),
    )


async def taken_back(h: House, amount: str) -> None:
    """Let this process learn that po-1 was taken back."""
    async with h.payouts._crew.driver("po-1") as driver:
        event = reversal(driver.payout, h.client.wall_clock(), amount)
        assert await driver.record(event)


class Overtaken(MemoryJournal):
    """A journal into which somebody else writes a reversal right before an acknowledgement."""

    is_overtaken = False

    async def append(self, becomes: Payout, event: Event) -> None:
        """Be overtaken, once."""
        if isinstance(event, Acknowledged) and not self.is_overtaken:
            self.is_overtaken = True
            before = await self.load(becomes.client_orderid)
            assert before is not None
            told = reversal(before, event.at, "10.00")
            await super().append(evolve(before, told), told)
        await super().append(becomes, event)


class TestFlagged:
    @virtually
    async def test_until_they_are_acknowledged(self) -> None:
        """What does not fit is listed until a person has acknowledged it, and then never again."""
        async with odd() as h:
            listed = [each.client_orderid for each in await h.payouts.flagged()]
            assert ["po-1", "po-2"] == listed
            assert [] == await h.payouts.attention()
            assert ["po-2"] == [
                each.client_orderid for each in await h.payouts.flagged(among={"po-2", "po-3"})
            ]
            first = await h.payouts.acknowledge("po-1", **WHO)
            assert ((Alarm.AMOUNT_DIFFERS,), False) == (first.alarms, first.needs_person)
            assert ("amount-differs",) == first.acknowledged
            second = await h.payouts.acknowledge("po-2", **WHO)
            assert (("error",), False) == (second.acknowledged, second.needs_person)
            assert [] == await h.payouts.flagged()
        async with house(h.client, h.journal.twin()) as again:
            assert [] == await again.payouts.flagged()
            told = await again.payouts.run(request("po-1", account_number=ANOTHER_AMOUNT))
            assert (True, False) == (told.is_approved, told.needs_person)

    @virtually
    async def test_later_alarm(self) -> None:
        """What comes after the acknowledgement is listed again."""
        async with odd() as h:
            await h.payouts.acknowledge("po-1", **WHO)
            order = (await h.payouts.status("po-1")).paynet_order_id
            assert order is not None
            await asyncio.sleep(60)
            h.client.gateway.reverse(order, h.client.wall_clock())
            await h.payouts.deliver(genuine(order=order, transaction_type="reversal"))
            told, _ = await h.payouts.flagged()
            assert (Alarm.LATER_TRANSACTION,) == told.open_alarms
            assert (Alarm.AMOUNT_DIFFERS, Alarm.LATER_TRANSACTION) == told.alarms


class TestAcknowledge:
    @virtually
    async def test_is_journaled_and_sends_nothing(self) -> None:
        """Who and why are journaled, the payout stands where it stood, and nothing is sent."""
        async with odd() as h:
            before, requests = await h.payouts.status("po-1"), len(h.client.gateway.requests)
            await h.payouts.acknowledge("po-1", **WHO)
            await asyncio.sleep(1000)
            after = await h.payouts.status("po-1")
            *_, last = h.journal.events["po-1"]
            assert isinstance(last, Acknowledged)
            assert ("ann", "asked the bank") == (last.who, last.why)
            assert (before.state, before.status, before.paynet_order_id) == (
                after.state,
                after.status,
                after.paynet_order_id,
            )
            assert requests == len(h.client.gateway.requests)

    @virtually
    async def test_once(self) -> None:
        """Of several who acknowledge at once one is heard, and the others are told so."""
        async with odd() as h, house(h.client, h.journal.twin()) as other:
            owners = (h.payouts, other.payouts, h.payouts)
            ends = await asyncio.gather(
                *(owner.acknowledge("po-1", **WHO) for owner in owners), return_exceptions=True
            )
            assert 2 == sum(isinstance(end, DecisionRefused) for end in ends)
            assert 1 == h.names().count("Acknowledged")

    @virtually
    async def test_only_what_is_named(self) -> None:
        """Of a payout with two alarms the one that is named is acknowledged, the other is left."""
        async with odd() as h:
            await taken_back(h, "10.00")
            told = await h.payouts.acknowledge("po-1", alarms=["amount-differs"], **WHO)
            assert ("amount-differs",) == told.acknowledged
            ((word, sentence),) = told.details
            assert "later-transaction" == word
            assert "a reversal, approved, 10.00 USD" in sentence
            assert ["po-1"] == [o.client_orderid for o in await h.payouts.flagged(among={"po-1"})]
            for again in (["amount-differs"], ["error"], []):
                with pytest.raises(DecisionRefused, match="what is open: later-transaction; look"):
                    await h.payouts.acknowledge("po-1", alarms=again, **WHO)
            with pytest.raises(InvalidInput, match="alarms: 'eror' is no alarm; there are status-"):
                await h.payouts.acknowledge("po-1", alarms=["eror"], **WHO)

    @virtually
    async def test_only_what_was_shown(self) -> None:
        """What was told after the outcome that the person was shown is left, also of that alarm."""
        async with odd() as h:
            await taken_back(h, "0.10")
            shown = await h.payouts.status("po-1")
            await taken_back(h, "10.00")
            told = await h.payouts.acknowledge("po-1", as_of=shown.sequence, **WHO)
            assert ("amount-differs",) == told.acknowledged
            assert ["later-transaction"] == [word for word, _ in told.details]
            assert "10.00" in told.details[0][1]
            with pytest.raises(DecisionRefused, match="later-transaction"):
                await h.payouts.acknowledge("po-1", as_of=shown.sequence, **WHO)
            assert not (await h.payouts.acknowledge("po-1", **WHO)).needs_person

    @virtually
    async def test_race(self) -> None:
        """An alarm that another process writes meanwhile is not acknowledged with those before."""
        for alarms in (None, ["amount-differs", "later-transaction"]):
            journal = Overtaken()
            async with odd(journal) as h:
                told = await h.payouts.acknowledge("po-1", **WHO, alarms=alarms)
                assert journal.is_overtaken
                assert (("amount-differs",), True) == (told.acknowledged, told.needs_person)
                assert ["later-transaction"] == [word for word, _ in told.details]

    @virtually
    async def test_behind_another_process(self) -> None:
        """A program that knows an older state of a payout looks into the journal first."""
        async with odd() as h, house(h.client, h.journal.twin()) as other:
            async with other.payouts._crew.driver("po-1"):
                await taken_back(h, "10.00")
                told = await other.payouts.acknowledge("po-1", **WHO)
            assert ((), False) == (told.details, told.needs_person)

    @virtually
    async def test_refused(self) -> None:
        """Where nothing is odd, or nothing is finished, there is nothing to acknowledge."""
        async with odd() as h:
            await h.payouts.accept(request("po-4"))
            for name in ("po-3", "po-4"):
                names = h.names(name)
                with pytest.raises(DecisionRefused, match=f"payout {name}: .*acknowledged"):
                    await h.payouts.acknowledge(name, **WHO)
                assert names == h.names(name)
            with pytest.raises(PayoutNotFound):
                await h.payouts.acknowledge("po-9", **WHO)
            for who, why in (("", "asked"), ("ann", " ")):
                with pytest.raises(InvalidInput, match="is missing"):
                    await h.payouts.acknowledge("po-1", who=who, why=why)

    @virtually
    async def test_never_arms_a_send(self) -> None:
        """A payout in doubt is not acknowledged, and is not sent again for it."""
        async with house() as h:
            h.client.faults[RequestKind.PAY] = [LOST_BEFORE]
            told = await h.payouts.run(request())
            assert State.ATTENTION is told.state
            pays = h.client.count(RequestKind.PAY)
            with pytest.raises(DecisionRefused):
                await h.payouts.acknowledge("po-1", **WHO)
            assert State.ATTENTION is (await h.payouts.run(request())).state
            assert pays == h.client.count(RequestKind.PAY)
