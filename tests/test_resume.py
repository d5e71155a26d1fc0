"""Going on after a restart, and what a person decides."""

import asyncio

import pytest
from fakes import (
    LOST_AFTER,
    LOST_BEFORE,
    NOT_CONNECTED,
    UNANSWERED,
    FakeClient,
    Fault,
    MemoryJournal,
)
from house import House, house, virtually, virtually_alone
from payouts import request
from virtual_time import run_virtual

from billblend_async.core.models import Doubt, Flow, OpenReason, Outcome, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import NoAnswer
from billblend_async.errors import (
    DecisionRefused,
    InvalidInput,
    PayoutConflict,
    PayoutNotFound,
    RequestNeeded,
)
from billblend_async.gateway.wire import RequestKind
from billblend_async.sandbox import Gateway

CHECK, PAY = RequestKind.CHECK, RequestKind.PAY
VAGUE = Fault(reaches=False, answer=NoAnswer("error 102", readable=True))
WHY = {"who": "ann", "why": "asked the bank"}


async def leave_after(h: House, seconds: float, *ids: str) -> None:
    """Run payouts and leave them as they stand after some seconds."""
    runs = [asyncio.create_task(h.payouts.run(request(name))) for name in ids]
    await asyncio.sleep(seconds)
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)


async def resumed(h: House) -> dict[str, Outcome]:
    """Resume everything."""
    return {told.client_orderid: told async for told in h.payouts.resume()}


class TestOlderIds:
    @pytest.mark.parametrize("name", ["po-\u200b1", "\ufeffpo-1", "cafe\u0301-1", "po\xa01"])
    def test_goes_on(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """What a journal holds under an id that is refused today is asked about and finished."""

        async def main() -> None:
            client, journal = FakeClient(), MemoryJournal()
            with monkeypatch.context() as older:  # it could be made once
                older.setattr("billblend_async.core.request.check_id", lambda _: None)
                async with house(client, journal) as h:
                    await leave_after(h, 0.5, name)
            assert "Checked" in [type(event).__name__ for event in journal.events[name]]
            with pytest.raises(InvalidInput):
                request(name)
            async with house(client, journal.twin()) as h:
                assert (await resumed(h))[name].is_approved
                assert (await h.payouts.status(name)).is_approved
            assert 1 == client.paid(name)

        run_virtual(main())


class TestReleasedOneStep:
    @virtually
    async def test_looks_before_it_sends_again(self) -> None:
        """A released one-step payout that had paid after all is found, and not paid again."""
        client = FakeClient()
        client.faults[RequestKind.PAYOUT] = [LOST_AFTER]
        broken = Fault(answer=NoAnswer("error 102: internal", readable=True))
        client.faults[RequestKind.STATUS] = [broken] * 10_000
        async with house(client) as h:
            told = await h.payouts.run(request(), flow=Flow.ONE_STEP)
            assert Doubt.PAY_UNCONFIRMED is told.doubt
            client.faults[RequestKind.STATUS].clear()
            await asyncio.sleep(70)
            await h.payouts.release("po-1", **WHY)
            told = await h.payouts.run(request(), flow=Flow.ONE_STEP)

        assert told.is_approved
        assert (1, 1) == (client.paid("po-1"), client.sent[RequestKind.PAYOUT, "po-1"])

    @virtually
    async def test_answer_that_comes_while_it_is_released(self) -> None:
        """An approval that arrives right after a release is not thrown away."""
        client = FakeClient()
        client.faults[RequestKind.PAYOUT] = [LOST_AFTER]
        broken = Fault(answer=NoAnswer("error 102: internal", readable=True))
        client.faults[RequestKind.STATUS] = [broken] * 10_000
        async with house(client) as h:
            await h.payouts.run(request(), flow=Flow.ONE_STEP)
            client.faults[RequestKind.STATUS] = [Fault(delay=5.0)]
            await asyncio.sleep(70)
            run = asyncio.create_task(h.payouts.run(request(), flow=Flow.ONE_STEP))
            await asyncio.sleep(2)
            await h.payouts.release("po-1", **WHY)
            told = await run

        assert told.is_approved
        assert (1, 1) == (client.paid("po-1"), client.sent[RequestKind.PAYOUT, "po-1"])


@pytest.mark.parametrize("flow", Flow)
def test_late_acknowledgement(flow: Flow) -> None:
    """The true answer to a pay that was given up counts even after a release."""
    kind = PAY if flow is Flow.CHECK_PAY else RequestKind.PAYOUT

    class Case:
        @virtually
        async def run(self) -> None:
            client = FakeClient()
            client.faults[kind] = [Fault(delay=1500.0)]
            broken = Fault(answer=NoAnswer("error 102: internal", readable=True))
            async with house(client) as h:
                await leave_after(h, 8, "po-1") if flow is Flow.CHECK_PAY else None
                if flow is Flow.ONE_STEP:
                    run = asyncio.create_task(h.payouts.run(request(), flow=flow))
                    await asyncio.sleep(8)
                    run.cancel()
                    await asyncio.gather(run, return_exceptions=True)
                client.faults[RequestKind.STATUS] = [broken] * 10_000
                assert Doubt.PAY_UNCONFIRMED is (await h.payouts.run(request(), flow=flow)).doubt
                await asyncio.sleep(70)
                await h.payouts.release("po-1", **WHY)
                await client.drain()  # the late acknowledgement arrives
                assert State.AWAITING_FINAL is (await h.payouts.status("po-1")).state
                client.faults[RequestKind.STATUS].clear()
                assert (await h.payouts.run(request(), flow=flow)).is_approved
            assert (1, 1) == (client.paid("po-1"), client.sent[kind, "po-1"])

    Case().run()


@virtually_alone
async def test_decision_about_what_another_owner_has_parked() -> None:
    """A decision fits where the payout stands in the journal, not where this process saw it."""
    journal, client = MemoryJournal(), FakeClient()
    client.faults[PAY] = [LOST_BEFORE]
    async with house(client, journal) as ours, house(client, journal.twin()) as theirs:
        run = asyncio.create_task(ours.payouts.run(request()))
        await asyncio.sleep(8)
        stale = ours.payouts._crew.get("po-1")
        assert stale is not None
        stale.timing.due = 1e9  # ours is asleep; theirs goes on
        assert (await theirs.payouts.run(request())).doubt is Doubt.PAY_UNCONFIRMED
        await asyncio.sleep(61)
        assert (await ours.payouts.close("po-1", **WHY)).state is State.CLOSED
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


@virtually_alone
async def test_clock_set_back() -> None:
    """A wall clock that is set back makes nobody wait longer."""
    client = FakeClient(Gateway(validation=1e9, processing=1.0))
    jump = 0.0
    async with house(client) as h:
        h.payouts._means.wall_clock = lambda: client.wall_clock() + jump
        run = asyncio.create_task(h.payouts.run(request()))
        await asyncio.sleep(10)
        jump = -86_400.0
        told = await run

    assert told.open_reason is OpenReason.STALLED
    assert asyncio.get_running_loop().time() < 3700


class TestResume:
    @virtually
    async def test_everything_goes_on(self) -> None:
        """A new process finishes every payout, wherever the last one left it."""

        async def resolve(client_orderid: str) -> PayoutRequest | None:
            return request(client_orderid)

        for tenth in range(0, 120, 7):
            journal, client = MemoryJournal(), FakeClient()
            async with house(client, journal) as before:
                await leave_after(before, 0.1 + tenth / 10, "po-1", "po-2", "po-3")
            async with house(client, journal.twin(), resolve=resolve) as after:
                told = await resumed(after)

            assert all(outcome.is_approved for outcome in told.values())
            assert [1, 1, 1] == [client.sent[PAY, f"po-{n}"] for n in (1, 2, 3)]
            assert [1, 1, 1] == [client.count(CHECK, f"po-{n}") for n in (1, 2, 3)]

    @virtually
    async def test_finished_payouts_are_left_alone(self) -> None:
        """What is finished is not resumed."""
        async with house() as h:
            await h.payouts.run(request())

            assert {} == await resumed(h)

    @virtually
    async def test_never_checked(self) -> None:
        """A payout that was never sent is reported as needing its request."""
        journal, client = MemoryJournal(), FakeClient()
        client.faults[CHECK] = [NOT_CONNECTED]
        async with house(client, journal) as before:
            await leave_after(before, 1, "po-1")
        async with house(client, journal.twin()) as after:
            told = (await resumed(after))["po-1"]

        assert isinstance(told.problem, RequestNeeded)
        assert (State.NEW, True) == (told.state, told.needs_person)
        assert 0 == client.count(CHECK)

    @virtually
    async def test_resolve(self) -> None:
        """A request that the caller keeps is asked for, and must be the same."""
        kept = {"po-1": request("po-1"), "po-2": request("po-2", account_number="1111111111")}

        async def resolve(client_orderid: str) -> PayoutRequest | None:
            return kept.get(client_orderid)

        journal, client = MemoryJournal(), FakeClient()
        client.faults[CHECK] = [NOT_CONNECTED] * 3
        async with house(client, journal) as before:
            await leave_after(before, 1, "po-1", "po-2", "po-3")
        async with house(client, journal.twin(), resolve=resolve) as after:
            told = await resumed(after)

        assert told["po-1"].is_approved
        assert isinstance(told["po-2"].problem, PayoutConflict)
        assert isinstance(told["po-3"].problem, RequestNeeded)
        assert 1 == len(client.gateway.ledger)

    @pytest.mark.parametrize("away", [60, 4000, 1e6])
    def test_long_away(self, away: float) -> None:
        """A payout whose deadline has passed while nobody ran it goes on with the next run."""

        class Case:
            @virtually
            async def validated(self) -> None:
                journal, client = MemoryJournal(), FakeClient()
                client.faults[PAY] = [NOT_CONNECTED]
                async with house(client, journal) as h:
                    await leave_after(h, 5.5, "po-1")
                    assert State.VALIDATED is (await h.payouts.status("po-1")).state
                await asyncio.sleep(away)
                async with house(client, journal.twin()) as h:
                    assert (await resumed(h))["po-1"].is_approved

            @virtually
            async def checking(self) -> None:
                async def resolve(client_orderid: str) -> PayoutRequest | None:
                    return request(client_orderid)

                journal, client = MemoryJournal(), FakeClient()
                client.faults[CHECK] = [LOST_BEFORE]
                async with house(client, journal) as h:
                    await leave_after(h, 1, "po-1")
                await asyncio.sleep(away)
                async with house(client, journal.twin(), resolve=resolve) as h:
                    assert (await resumed(h))["po-1"].is_approved

            @virtually
            async def released(self) -> None:
                client = FakeClient()
                client.faults[PAY] = [LOST_BEFORE]
                async with house(client) as h:
                    await h.payouts.run(request())
                    await asyncio.sleep(70)
                    await h.payouts.release("po-1", **WHY)
                    await asyncio.sleep(away)
                    assert (await h.payouts.run(request())).is_approved
                assert 1 == client.paid("po-1")

        Case().validated()
        Case().checking()
        Case().released()

    @virtually
    async def test_resolve_that_raises(self) -> None:
        """A caller who cannot find one request keeps no other payout from going on."""

        async def resolve(client_orderid: str) -> PayoutRequest | None:
            if client_orderid == "po-1":
                raise OSError("no such row")
            return request(client_orderid, amount=0) if client_orderid == "po-2" else None

        journal, client = MemoryJournal(), FakeClient()
        async with house(client, journal) as before:
            await leave_after(before, 2, "po-0")
            client.faults[CHECK] = [NOT_CONNECTED] * 2
            await leave_after(before, 1, "po-1", "po-2")
        async with house(client, journal.twin(), resolve=resolve) as after:
            told = await resumed(after)

        assert told["po-0"].is_approved
        assert isinstance(told["po-1"].problem, RequestNeeded)
        assert isinstance(told["po-2"].problem, RequestNeeded)

    @virtually
    async def test_restored_copy(self) -> None:
        """From a restored copy nobody is paid whom the journal has forgotten to have paid."""
        journal, client = MemoryJournal(), FakeClient()
        async with house(client, journal) as h:
            await h.payouts.run(request("done"))
            await leave_after(h, 0.3, "checked")
            copy = {name: list(events) for name, events in journal.events.items()}
            for name in ("checked", "lost"):
                assert (await h.payouts.run(request(name))).is_approved
        restored = journal.twin()
        restored.events = copy

        async with house(client, restored) as h:
            assert 1 == await h.payouts.declare_restored()
            told = {name: await h.payouts.run(request(name)) for name in ("done", "checked")}
            told["lost"] = await h.payouts.run(request("lost"))
            told["new"] = await h.payouts.run(request("new"))
            await h.payouts.declare_complete()
            started = asyncio.get_running_loop().time()
            told["newer"] = await h.payouts.run(request("newer"))

        assert told["done"].is_approved
        assert Doubt.APPROVED_BEFORE_PAY is told["checked"].doubt
        assert Doubt.APPROVED_BEFORE_PAY is told["lost"].doubt
        assert told["new"].is_approved
        assert told["newer"].is_approved
        assert asyncio.get_running_loop().time() - started < 20
        assert [1] * 5 == [client.paid(name) for name in told]

    @virtually
    async def test_lost_check_that_must_be_sent_again(self) -> None:
        """A lost check of another process is sent again only with its request in hand."""
        journal, client = MemoryJournal(), FakeClient()
        client.faults[CHECK] = [LOST_BEFORE]
        async with house(client, journal) as before:
            await leave_after(before, 1, "po-1")
        async with house(client, journal.twin()) as after:
            told = (await resumed(after))["po-1"]
            assert isinstance(told.problem, RequestNeeded)

            assert (await after.payouts.run(request("po-1"))).is_approved
        assert 1 == client.paid("po-1")


class TestDecisions:
    async def parked(self, h: House, *, arrived: bool) -> None:
        """Lead a payout into doubt about its pay."""
        h.client.faults[PAY] = [LOST_AFTER if arrived else LOST_BEFORE]
        outcome = await h.payouts.run(request())
        assert Doubt.PAY_UNCONFIRMED is outcome.doubt

    @virtually
    async def test_attention(self) -> None:
        """The payouts that need a person are listed with their reason in words."""
        async with house() as h:
            await self.parked(h, arrived=False)

            (told,) = await h.payouts.attention()
            assert ("po-1", Doubt.PAY_UNCONFIRMED) == (told.client_orderid, told.doubt)
            assert told.explanation == Doubt.PAY_UNCONFIRMED.sentence

    @virtually
    async def test_release_sends_exactly_once_more(self) -> None:
        """After a release one more pay is sent, and no second one."""
        async with house() as h:
            await self.parked(h, arrived=False)
            await asyncio.sleep(61)
            assert State.VALIDATED is (await h.payouts.release("po-1", **WHY)).state
            h.client.faults[PAY] = [LOST_BEFORE]

            assert State.ATTENTION is (await h.payouts.run(request())).state
            assert (2, 0) == (h.client.sent[PAY, "po-1"], h.client.paid("po-1"))
            await asyncio.sleep(61)
            await h.payouts.release("po-1", **WHY)
            assert (await h.payouts.run(request())).is_approved
            assert (3, 1) == (h.client.sent[PAY, "po-1"], h.client.paid("po-1"))

    @virtually
    async def test_release_after_the_pay_took_effect(self) -> None:
        """A release does not pay what the next look shows to be paid."""
        client = FakeClient(Gateway(validation=1.0, processing=1500.0))
        async with house(client) as h:
            await self.parked(h, arrived=True)
            await asyncio.sleep(61)
            await h.payouts.release("po-1", **WHY)
            outcome = await h.payouts.run(request())

            assert 1 == client.sent[PAY, "po-1"] == client.paid("po-1")
            assert outcome.is_approved

    @virtually
    async def test_release_too_early(self) -> None:
        """A doubt that is younger than a minute is not released."""
        async with house() as h:
            await self.parked(h, arrived=False)
            with pytest.raises(DecisionRefused):
                await h.payouts.release("po-1", **WHY)

    @virtually
    async def test_close(self) -> None:
        """A closed payout is finished, and nothing is asked or sent for it again."""
        async with house() as h:
            await self.parked(h, arrived=False)
            assert State.CLOSED is (await h.payouts.close("po-1", **WHY)).state
            asked = len(h.client.asked["po-1"])

            assert State.CLOSED is (await h.payouts.run(request())).state
            assert [] == await h.payouts.attention()
            assert asked == len(h.client.asked["po-1"])
            assert "ann" == h.journal.events["po-1"][-1].who  # type: ignore[union-attr] # Closed

    @virtually
    async def test_withdraw(self) -> None:
        """A payout can be taken back at any time before pay, and its run ends at once."""
        client = FakeClient(Gateway(validation=600.0))
        async with house(client) as h:
            run = asyncio.create_task(h.payouts.run(request()))
            await asyncio.sleep(20)
            told = await h.payouts.withdraw("po-1", **WHY)

            assert State.WITHDRAWN is told.state
            assert State.WITHDRAWN is (await asyncio.wait_for(run, 1)).state
            await asyncio.sleep(1000)
            assert 0 == client.sent[PAY, "po-1"]

    @virtually
    async def test_withdraw_races_with_pay(self) -> None:
        """Whoever is first wins: a withdrawn payout is never paid, a paid one never withdrawn."""
        ends = set()
        for n in range(60):
            async with house() as h:
                run = asyncio.create_task(h.payouts.run(request()))
                await asyncio.sleep(2 + n / 20)
                try:
                    await h.payouts.withdraw("po-1", **WHY)
                except DecisionRefused:
                    ends.add("paid")
                    assert (await run).is_approved
                else:
                    ends.add("withdrawn")
                    assert State.WITHDRAWN is (await run).state
                    await asyncio.sleep(60)
                    assert (0, 0) == (h.client.sent[PAY, "po-1"], h.client.paid("po-1"))

        assert {"paid", "withdrawn"} == ends

    @virtually
    async def test_too_late(self) -> None:
        """A finished payout takes no decision, and an unknown one is not found."""
        async with house() as h:
            await h.payouts.run(request())
            for decide in (h.payouts.release, h.payouts.close, h.payouts.withdraw):
                with pytest.raises(DecisionRefused, match="final"):
                    await decide("po-1", **WHY)
                with pytest.raises(PayoutNotFound):
                    await decide("po-2", **WHY)

    @virtually
    async def test_who_and_why(self) -> None:
        """A decision without a person or a reason is refused."""
        async with house() as h:
            await self.parked(h, arrived=False)
            with pytest.raises(InvalidInput, match="who: is missing; why: is missing"):
                await h.payouts.close("po-1", who=" ", why="")


@virtually_alone
async def test_what_was_finished_while_it_waited_for_its_place() -> None:
    """A payout that somebody else finishes before its turn is not asked about once more."""
    journal, client = MemoryJournal(), FakeClient()
    async with house(client, journal) as ours, house(client, journal.twin()) as theirs:
        await leave_after(ours, 1, "po-1", "po-2")
        client.faults[RequestKind.STATUS] = [Fault(delay=60.0)]
        resuming = ours.payouts.resume(concurrency=1)
        first = asyncio.create_task(anext(resuming))
        await asyncio.sleep(5)
        assert not client.faults[RequestKind.STATUS]
        assert (await theirs.payouts.run(request("po-2"))).is_approved
        asked = client.count(RequestKind.STATUS, "po-2")
        assert not first.done()
        told = [await first, *[told async for told in resuming]]

    assert [("po-1", True), ("po-2", True)] == [(t.client_orderid, t.is_approved) for t in told]
    assert asked == client.count(RequestKind.STATUS, "po-2")


class TestRestoredDecisions:
    """What a person decides on a restored copy waits for an answer of the gateway."""

    async def copied(self, h: House, client_orderid: str = "po-1") -> MemoryJournal:
        """Copy the journal as it stands, then let the payout be paid in the first one."""
        copy = h.journal.twin()
        copy.events = {name: list(events) for name, events in h.journal.events.items()}
        copy.marks = []
        assert (await h.payouts.run(request(client_orderid))).is_approved
        return copy

    @virtually
    async def test_withdraw_of_what_was_paid(self) -> None:
        """A payout that was paid since the copy was made is found before it is withdrawn."""
        async with house() as h:
            await h.payouts.accept(request())
            copy = await self.copied(h)
        async with house(h.client, copy) as again:
            await again.payouts.declare_restored()
            with pytest.raises(DecisionRefused, match="it needs a person; close it"):
                await again.payouts.withdraw("po-1", **WHY)
            (told,) = await again.payouts.attention()

            assert Doubt.APPROVED_BEFORE_PAY is told.doubt
            assert 1 == h.client.paid("po-1")

    @virtually
    async def test_withdraw_of_what_nobody_knows(self) -> None:
        """A payout that the gateway denies for half a minute is withdrawn, and nothing is sent."""
        async with house() as h:
            await h.payouts.accept(request())
            await h.payouts.declare_restored()
            began = asyncio.get_running_loop().time()

            assert State.WITHDRAWN is (await h.payouts.withdraw("po-1", **WHY)).state
            assert 30 <= asyncio.get_running_loop().time() - began < 60
            assert not h.client.sent

    @virtually
    async def test_withdraw_of_what_is_being_validated(self) -> None:
        """An order that the gateway has may have been paid since, whatever stage it tells."""
        async with house(FakeClient(Gateway(validation=600.0))) as h:
            await leave_after(h, 5, "po-1")
            await h.payouts.declare_restored()
            with pytest.raises(DecisionRefused, match="does not say that it has no order"):
                await h.payouts.withdraw("po-1", **WHY)

            assert State.VALIDATING is (await h.payouts.status("po-1")).state

    @virtually
    async def test_nobody_answers(self) -> None:
        """While the gateway does not answer, nothing that ends a restored payout is decided."""
        client = FakeClient()
        client.faults[PAY] = [LOST_BEFORE]
        async with house(client) as h:
            assert Doubt.PAY_UNCONFIRMED is (await h.payouts.run(request())).doubt
            await h.payouts.accept(request("po-2"))
            assert 2 == await h.payouts.declare_restored()
            client.faults[RequestKind.STATUS] = [UNANSWERED] * 6
            for decide, name in ((h.payouts.close, "po-1"), (h.payouts.withdraw, "po-2")):
                with pytest.raises(DecisionRefused, match="the gateway did not answer"):
                    await decide(name, **WHY)
            asked = len(client.asked["po-1"])
            client.faults[RequestKind.STATUS] = []
            await asyncio.sleep(600)

            assert State.CLOSED is (await h.payouts.close("po-1", **WHY)).state
            assert asked + 1 == len(client.asked["po-1"])

    @virtually
    async def test_release_without_an_order(self) -> None:
        """A lost check that is released again is asked about: it was paid since the copy."""
        client = FakeClient()
        client.faults[CHECK] = [LOST_BEFORE]
        client.faults[RequestKind.STATUS] = [VAGUE] * 200
        async with house(client) as h:
            assert Doubt.CHECK_UNCONFIRMED is (await h.payouts.run(request())).doubt
            client.faults[RequestKind.STATUS] = []
            await asyncio.sleep(61)
            copy = h.journal.twin()
            copy.events = {"po-1": list(h.journal.events["po-1"])}
            copy.marks = []
            await h.payouts.release("po-1", **WHY)
            assert (await h.payouts.run(request())).is_approved
        async with house(client, copy) as again:
            await again.payouts.declare_restored()
            assert (await again.payouts.attention())[0].restored
            await again.payouts.release("po-1", **WHY)

            assert Doubt.APPROVED_BEFORE_PAY is (await again.payouts.run(request())).doubt
            assert (2, 1) == (client.sent[CHECK, "po-1"], client.paid("po-1"))
