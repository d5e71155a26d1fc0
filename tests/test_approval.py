"""What waits for approval is never paid before, and exactly once after."""

import asyncio
from itertools import pairwise

import pytest
from fakes import LOST_AFTER, NOT_CONNECTED, FakeClient, MemoryJournal
from house import House, house, virtually
from payouts import request

from billblend_async.core.events import Approved
from billblend_async.core.models import Flow, OpenReason, State
from billblend_async.errors import (
    ClosedError,
    DecisionRefused,
    InvalidInput,
    PayoutConflict,
    PayoutNotFound,
    RequestNeeded,
)
from billblend_async.gateway.wire import RequestKind
from billblend_async.orchestrator.runner import Waiting

PAY, STATUS = RequestKind.PAY, RequestKind.STATUS


async def checked(h: House, name: str = "po-1") -> None:
    """Have a payout validated and left for approval."""
    told = await h.payouts.run(request(name), pay=False)
    assert (State.VALIDATED, OpenReason.AWAITING_APPROVAL) == (told.state, told.open_reason)


def approvals(h: House) -> list[Approved]:
    """Give the approvals that the journal holds."""
    return [event for event in h.journal.events["po-1"] if isinstance(event, Approved)]


class TestHeld:
    @virtually
    async def test_ends_at_validated(self) -> None:
        """It comes back once the bank has validated it, and says what a person should do."""
        async with house() as h:
            told = await h.payouts.run(request(), pay=False)
            assert (State.VALIDATED, OpenReason.AWAITING_APPROVAL) == (told.state, told.open_reason)
            assert "approve it" in (told.explanation or "")
            assert (False, None) == (told.needs_person, told.approved_by)
            assert ["Opened", "CheckStarted", "Checked", "Validated"] == h.names()

    @virtually
    async def test_is_never_paid(self) -> None:
        """However it is driven, resumed, run again or restarted, no pay is sent."""
        async with house() as h:
            await checked(h)
            for pay in (False, True, True):
                told = await h.payouts.run(request(), pay=pay)
                assert OpenReason.AWAITING_APPROVAL == told.open_reason
            for _ in range(50):
                step = await h.payouts.advance("po-1")
                assert isinstance(step, Waiting)
                await asyncio.sleep(step.seconds)
            outcomes = [told async for told in h.payouts.resume()]
            assert [OpenReason.AWAITING_APPROVAL] == [told.open_reason for told in outcomes]
            many = [told async for told in h.payouts.run_many([request()])]
            assert [OpenReason.AWAITING_APPROVAL] == [told.open_reason for told in many]
            names = h.names()
        async with house(h.client, h.journal.twin()) as again:
            assert 1 == len([told async for told in again.payouts.resume()])
            assert OpenReason.AWAITING_APPROVAL == (await again.payouts.run(request())).open_reason
            assert names == again.names()
        assert (0, 0) == (h.client.sent[PAY, "po-1"], h.client.paid("po-1"))

    @virtually
    async def test_many(self) -> None:
        """A batch can be checked now; those that the bank refuses end, and the others wait."""
        async with house() as h:
            wanted = [request(f"po-{n}") for n in range(4)]
            wanted.append(request("po-4", account_number="3000000003"))
            ends = h.payouts.run_many(wanted, pay=False)
            told = {each.client_orderid: each async for each in ends}
            assert "declined" == told.pop("po-4").status
            assert {State.VALIDATED} == {each.state for each in told.values()}
            waiting = await h.payouts.awaiting_approval()
            assert sorted(told) == sorted(each.client_orderid for each in waiting)
            among = await h.payouts.awaiting_approval(among={"po-1", "po-4", "po-9"})
            assert ["po-1"] == [each.client_orderid for each in among]
            assert not any(h.client.sent[PAY, each] for each in told)

    @virtually
    async def test_conflict(self) -> None:
        """A payout that was handed in to be paid cannot be only checked now, unless it is over."""
        async with house() as h:
            await h.payouts.accept(request())
            for call in (h.payouts.run, h.payouts.accept):
                with pytest.raises(PayoutConflict, match="only checked") as caught:
                    await call(request(), pay=False)
                assert ("pay",) == caught.value.differs
            assert ["Opened"] == h.names()
            final = await h.payouts.run(request())
            assert final == await h.payouts.run(request(), pay=False)
            assert final.is_approved

    @virtually
    async def test_one_step(self) -> None:
        """A payout in one step has nothing to wait with, so it is refused and not accepted."""
        async with house() as h:
            for call in (h.payouts.run, h.payouts.accept):
                with pytest.raises(InvalidInput, match="pay: "):
                    await call(request(), flow=Flow.ONE_STEP, pay=False)
            assert {} == h.journal.events

    @virtually
    async def test_asked_about_slowly(self) -> None:
        """While it waits, a scheduler that drives it asks about once a minute."""
        async with house() as h:
            await checked(h)
            before = len(h.client.asked["po-1"])
            for _ in range(8):
                step = await h.payouts.advance("po-1")
                assert isinstance(step, Waiting)
                await asyncio.sleep(max(step.seconds, 1.0))
            gaps = [b - a for a, b in pairwise(h.client.asked["po-1"][before:])]
            assert gaps
            assert min(gaps) >= 45.0


class TestApprove:
    @virtually
    async def test_pays_once(self) -> None:
        """An approval is journaled with who gave it, and then the payout is paid once."""
        async with house() as h:
            await checked(h)
            told = await h.payouts.approve("po-1", who="ann")
            assert (True, "ann") == (told.is_approved, told.approved_by)
            assert ["ann"] == [event.who for event in approvals(h)]
            assert h.names().index("Approved") < h.names().index("PayStarted")
            assert (1, 1) == (h.client.count(PAY), h.client.paid("po-1"))

    @virtually
    async def test_fresh(self) -> None:
        """Pay is sent on a validation that is ten seconds old at most; else the bank is asked."""
        for age, questions in ((0.0, 0), (7.0, 0), (12.0, 1), (3600.0, 1)):
            async with house() as h:
                await checked(h)
                validated = h.journal.events["po-1"][-1].at
                while h.client.wall_clock() < validated + age:
                    await asyncio.sleep(0.5)
                asked = h.client.count(STATUS)
                approving = asyncio.create_task(h.payouts.approve("po-1", who="ann"))
                while not h.client.count(PAY):
                    await asyncio.sleep(0.01)
                assert questions == h.client.count(STATUS) - asked
                assert (await approving).is_approved

    @virtually
    async def test_two_at_once(self) -> None:
        """Two who approve at once, in one process or in two, both see it paid once."""
        async with house() as a, house(a.client, a.journal.twin()) as b:
            for name, houses in (("po-1", (a, a)), ("po-2", (a, b))):
                await checked(a, name)
                told = await asyncio.gather(
                    *(h.payouts.approve(name, who=who) for h, who in zip(houses, "xy", strict=True))
                )
                assert [True, True] == [each.is_approved for each in told]
                assert 1 == len({each.approved_by for each in told})
                assert 1 == a.names(name).count("Approved") == a.client.paid(name)

    @virtually
    async def test_again(self) -> None:
        """Approving again goes on with it, also after a crash, and asks nobody twice."""
        client, journal = FakeClient(), MemoryJournal()
        async with house(client, journal) as h:
            await checked(h)
            approving = asyncio.create_task(h.payouts.approve("po-1", who="ann"))
            while not approvals(h):
                await asyncio.sleep(0.001)
            approving.cancel()
        assert 0 == client.paid("po-1")
        async with house(client, journal.twin()) as h:
            told = await h.payouts.approve("po-1", who="bob")
            assert (True, "ann") == (told.is_approved, told.approved_by)
            assert told == await h.payouts.approve("po-1", who="bob")
        assert (1, 1) == (journal_names(journal).count("Approved"), client.paid("po-1"))

    @virtually
    async def test_resumed_after_a_crash(self) -> None:
        """An approval that a crash has interrupted stands: whoever resumes pays."""
        client, journal = FakeClient(), MemoryJournal()
        async with house(client, journal) as h:
            await checked(h)
            await h.payouts._decide("po-1", Approved(at=client.wall_clock(), who="ann"))
            told = await h.payouts.run(request(), pay=False)
            assert (State.VALIDATED, "ann") == (told.state, told.approved_by)
            assert 0 == client.paid("po-1")
        async with house(client, journal.twin()) as h:
            assert [True] == [told.is_approved async for told in h.payouts.resume()]
        assert 1 == client.paid("po-1")

    @virtually
    async def test_before_it_is_validated(self) -> None:
        """An approval may come before the bank's word: whoever runs the payout then pays it."""
        async with house() as h:
            checking = asyncio.create_task(h.payouts.run(request(), pay=False))
            while len(h.journal.events.get("po-1", ())) < 3:
                await asyncio.sleep(0.001)
            told = await h.payouts.approve("po-1", who="ann")
            assert told.is_approved
            assert "ann" == (await checking).approved_by
            assert 1 == h.client.paid("po-1")

    @virtually
    async def test_never_checked(self) -> None:
        """What was accepted and never checked can be approved; it is paid once it is handed in."""
        async with house() as h:
            await h.payouts.accept(request(), pay=False)
            with pytest.raises(RequestNeeded):
                await h.payouts.approve("po-1", who="ann")
            assert (await h.payouts.run(request())).is_approved
            assert 1 == h.client.paid("po-1")

    @virtually
    async def test_faults_of_the_pay(self) -> None:
        """After an approval too a lost pay is asked about, and one that never left is sent."""
        for fault in (LOST_AFTER, NOT_CONNECTED):
            async with house() as h:
                await checked(h)
                h.client.faults[PAY] = [fault]
                assert (await h.payouts.approve("po-1", who="ann")).is_approved
                assert (1, 1) == (h.client.count(PAY), h.client.paid("po-1"))


class TestRefused:
    @virtually
    async def test_what_cannot_be_approved(self) -> None:
        """What was not held, or has ended without approval, cannot be approved."""
        async with house() as h:
            await h.payouts.accept(request("po-1"))
            await h.payouts.run(request("po-2"))
            await h.payouts.run(request("po-3", account_number="3000000003"), pay=False)
            await checked(h, "po-4")
            await h.payouts.withdraw("po-4", who="ann", why="typo")
            for name in ("po-1", "po-2", "po-3", "po-4"):
                before = h.names(name)
                with pytest.raises(DecisionRefused, match="approved"):
                    await h.payouts.approve(name, who="ann")
                assert before == h.names(name)
            assert 1 == h.client.sent.total() - sum(
                n for (kind, _), n in h.client.sent.items() if kind is not PAY
            )

    @virtually
    async def test_withdrawn(self) -> None:
        """A payout that is withdrawn while it waits ends, and is never paid."""
        async with house() as h:
            await checked(h)
            told = await h.payouts.withdraw("po-1", who="ann", why="typo")
            assert State.WITHDRAWN is told.state
            assert State.WITHDRAWN is (await h.payouts.run(request(), pay=False)).state
            assert State.WITHDRAWN is (await h.payouts.run(request())).state
            assert [] == await h.payouts.awaiting_approval()
            assert 0 == h.client.sent[PAY, "po-1"]

    @virtually
    async def test_unnamed_unknown_closed(self) -> None:
        """An approval needs a name, a payout that is known, and an orchestrator that is open."""
        async with house() as h:
            await checked(h)
            with pytest.raises(InvalidInput, match="who: is missing"):
                await h.payouts.approve("po-1", who=" ")
            with pytest.raises(PayoutNotFound):
                await h.payouts.approve("po-2", who="ann")
        for call in (h.payouts.approve("po-1", who="ann"), h.payouts.awaiting_approval()):
            with pytest.raises(ClosedError):
                await call
        assert [] == approvals(h)


def journal_names(journal: MemoryJournal) -> list[str]:
    """Name the events of po-1 in a journal."""
    return [type(event).__name__ for event in journal.events["po-1"]]
