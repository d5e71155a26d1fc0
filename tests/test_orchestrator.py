"""The orchestrator on a virtual clock: hours pass at once, the gateway's ledger is the truth."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from fakes import (
    EPOCH,
    LOST_AFTER,
    LOST_BEFORE,
    NOT_CONNECTED,
    UNANSWERED,
    FakeClient,
    Fault,
    MemoryJournal,
)
from house import house, virtually
from payouts import request
from virtual_time import run_virtual

from billblend_async.core.events import CheckStarted, Event, PayNotSent, PayStarted, Released
from billblend_async.core.machine import Payout
from billblend_async.core.models import Deadlines, Doubt, Flow, OpenReason, Outcome, Polling, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import Refused, Unknown
from billblend_async.errors import (
    ClosedError,
    JournalUnavailable,
    PayoutConflict,
    PayoutNotFound,
    RequestNeeded,
)
from billblend_async.gateway.wire import RequestKind
from billblend_async.orchestrator.observer import Monitor
from billblend_async.orchestrator.orchestrator import Orchestrator
from billblend_async.orchestrator.runner import Done, Waiting
from billblend_async.sandbox import Gateway

CHECK, PAY, STATUS = RequestKind.CHECK, RequestKind.PAY, RequestKind.STATUS


class TestSmooth:
    @virtually
    async def test_one(self) -> None:
        """A payout is checked once, paid once, final, and leaves seven rows."""
        async with house() as h:
            outcome = await h.payouts.run(request())

            assert (State.FINAL, "approved") == (outcome.state, outcome.status)
            assert outcome.is_approved
            assert outcome.open_reason is None
            assert (1, 1, 1) == (h.client.count(CHECK), h.client.count(PAY), h.client.paid("po-1"))
            assert [
                "Opened",
                "CheckStarted",
                "Checked",
                "Validated",
                "PayStarted",
                "PayAccepted",
                "Finished",
            ] == h.names()
            assert h.names() == [type(event).__name__ for _, event in h.told]

    @virtually
    async def test_declined(self) -> None:
        """A declined payout is final with the gateway's reason, and nothing was paid."""
        async with house() as h:
            outcome = await h.payouts.run(request(account_number="0987654321"))

            assert ("declined", 0) == (outcome.status, h.client.paid("po-1"))
            assert outcome.error_code

    @virtually
    async def test_error_is_flagged(self) -> None:
        """The status error ends a payout and asks for reconciliation."""
        async with house() as h:
            outcome = await h.payouts.run(request(account_number="1987654321"))

            assert (True, True) == (outcome.is_finished, outcome.needs_reconciliation)

    @virtually
    async def test_one_step(self) -> None:
        """A one-step payout is sent once, without a check."""
        async with house() as h:
            outcome = await h.payouts.run(request(), flow=Flow.ONE_STEP)

            assert outcome.is_approved
            assert (0, 1, 1) == (
                h.client.count(CHECK),
                h.client.count(RequestKind.PAYOUT),
                h.client.paid("po-1"),
            )

    @virtually
    async def test_poll_gaps(self) -> None:
        """Status requests for one payout lie 3 to 5 s apart, over sends and slow banks alike."""
        client = FakeClient(Gateway(validation=60.0, processing=60.0))
        client.faults[PAY] = [Fault(delay=1.5)] * 50
        async with house(client) as h:
            told = h.payouts.run_many([request(f"po-{n}") for n in range(50)])
            assert 50 == len([outcome async for outcome in told])

            gaps = [b - a for asked in client.asked.values() for a, b in pairwise(asked)]
            assert gaps
            assert 3.0 <= min(gaps)
            assert max(gaps) <= 5.0

    @virtually
    async def test_first_polls_are_spread(self) -> None:
        """Payouts that are accepted together are not asked about together."""
        async with house() as h:
            _ = [o async for o in h.payouts.run_many([request(f"po-{n}") for n in range(100)])]

            firsts = [asked[0] for asked in h.client.asked.values()]
            assert max(firsts) - min(firsts) > 1.0

    @virtually
    async def test_polls_slow_down(self) -> None:
        """After five minutes a payout is asked about less and less often."""
        client = FakeClient(Gateway(validation=3000.0, processing=1.0))
        async with house(client) as h:
            assert (await h.payouts.run(request())).is_approved

            asked = client.asked["po-1"]
            assert len(asked) < 250
            assert asked[-1] - asked[-3] > 10.0


class TestIdentity:
    @virtually
    async def test_same_request_joins(self) -> None:
        """The same payout handed in a hundred times at once is one payout."""
        async with house() as h:
            outcomes = await asyncio.gather(*(h.payouts.run(request()) for _ in range(100)))

            assert {True} == {outcome.is_approved for outcome in outcomes}
            assert (1, 1) == (h.client.count(CHECK), h.client.count(PAY))
            gaps = [b - a for a, b in pairwise(h.client.asked["po-1"])]
            assert min(gaps) > 3.0

    @virtually
    async def test_finished_payout_is_told_again(self) -> None:
        """A finished payout handed in again is told from the journal, and nothing is asked."""
        async with house() as h:
            first = await h.payouts.run(request())
            asked = len(h.client.asked["po-1"])

            assert first == await h.payouts.run(request())
            assert asked == len(h.client.asked["po-1"])

    @virtually
    async def test_conflicts(self) -> None:
        """The same id with another amount, currency, receiver or flow is refused, unsent."""
        async with house() as h:
            await h.payouts.run(request())
            sent = dict(h.client.sent)
            for differs, again in (
                ("amount", request(amount=Decimal("10.43"))),
                ("currency", request(currency="EUR")),
                ("receiver", request(account_number="1234567891")),
            ):
                with pytest.raises(PayoutConflict) as caught:
                    await h.payouts.run(again)
                assert (differs,) == caught.value.differs
            with pytest.raises(PayoutConflict):
                await h.payouts.run(request(), flow=Flow.ONE_STEP)
            assert sent == dict(h.client.sent)

    @virtually
    async def test_wording_may_differ(self) -> None:
        """A repeat may differ in what does not say who gets how much."""
        async with house() as h:
            first = await h.payouts.run(request(order_desc="a", amount=Decimal("10.420")))

            assert (
                first.client_orderid
                == (await h.payouts.run(request(order_desc="b"))).client_orderid
            )
            assert 1 == h.client.count(PAY)

    @virtually
    async def test_two_owners(self) -> None:
        """Two orchestrators over one journal check once and pay once, and both learn the end."""
        journal, client = MemoryJournal(), FakeClient()
        async with house(client, journal) as a, house(client, journal.twin()) as b:
            outcomes = await asyncio.gather(a.payouts.run(request()), b.payouts.run(request()))

        assert [True, True] == [outcome.is_approved for outcome in outcomes]
        assert (1, 1) == (client.count(CHECK), client.count(PAY))


class TestLostAnswers:
    @virtually
    async def test_check_answer_lost_after_the_gateway_acted(self) -> None:
        """A check whose answer is lost is found by client_orderid and not repeated."""
        async with house() as h:
            h.client.faults[CHECK] = [LOST_AFTER]

            assert (await h.payouts.run(request())).is_approved
            assert (1, 1) == (h.client.count(CHECK), h.client.paid("po-1"))

    @virtually
    async def test_check_lost_before_the_gateway_acted(self) -> None:
        """A check that never arrived is sent again only after definite answers for 30 s."""
        async with house() as h:
            h.client.faults[CHECK] = [LOST_BEFORE]

            assert (await h.payouts.run(request())).is_approved
            assert h.names().count("NotSeen") >= 5
            assert 1 == h.client.paid("po-1")
            started = [e.at for e in h.journal.events["po-1"] if isinstance(e, CheckStarted)]
            assert 2 == len(started)
            assert started[1] - started[0] >= 30.0

    @pytest.mark.parametrize("slow", [0, 4])
    def test_denials_that_travel_long(self, slow: int) -> None:
        """However late a question arrives, the gateway has denied the order for 30 s."""

        class Case:
            @virtually
            async def run(self) -> None:
                async with house() as h:
                    h.client.faults[CHECK] = [LOST_BEFORE]
                    h.client.faults[STATUS] = [*[Fault()] * slow, Fault(delay=10.0)]
                    assert (await h.payouts.run(request())).is_approved
                    seen = h.client.gateway.requests
                checked = next(n for n, one in enumerate(seen) if one.kind is CHECK)
                denials = [one.at for one in seen[:checked] if one.kind is STATUS]
                assert 30 <= denials[-1] - denials[0]

        Case().run()

    @virtually
    async def test_pay_answer_lost_after_the_gateway_acted(self) -> None:
        """A pay whose answer is lost is never sent again, and its end is learned by asking."""
        async with house() as h:
            h.client.faults[PAY] = [LOST_AFTER]

            assert (await h.payouts.run(request())).is_approved
            assert (1, 1) == (h.client.sent[PAY, "po-1"], h.client.paid("po-1"))

    @virtually
    async def test_pay_lost_before_the_gateway_acted(self) -> None:
        """A pay that never arrived is parked for a person: "still validated" proves nothing."""
        async with house() as h:
            h.client.faults[PAY] = [LOST_BEFORE]

            outcome = await h.payouts.run(request())

            assert (State.ATTENTION, Doubt.PAY_UNCONFIRMED) == (outcome.state, outcome.doubt)
            assert (OpenReason.ATTENTION, True) == (outcome.open_reason, outcome.needs_person)
            assert outcome.explanation == Doubt.PAY_UNCONFIRMED.sentence
            assert (1, 0) == (h.client.sent[PAY, "po-1"], h.client.paid("po-1"))
            started = next(e for e in h.journal.events["po-1"] if isinstance(e, PayStarted))
            assert h.client.wall_clock() - started.at >= 900.0

    @virtually
    async def test_parked_payout_still_learns(self) -> None:
        """A payment that takes effect after it was parked is learned by the next run."""
        client = FakeClient(Gateway(validation=1.0, processing=2000.0))
        async with house(client) as h:
            client.faults[PAY] = [LOST_AFTER]
            assert State.ATTENTION is (await h.payouts.run(request())).state
            await asyncio.sleep(2000)

            assert (await h.payouts.run(request())).is_approved
            assert 1 == client.sent[PAY, "po-1"]

    @virtually
    async def test_not_sent_is_sent_again(self) -> None:
        """A request that proves not to have left is sent again, and only what left is claimed."""
        async with house() as h:
            h.client.faults[CHECK] = [NOT_CONNECTED] * 3
            h.client.faults[PAY] = [NOT_CONNECTED] * 3

            assert (await h.payouts.run(request())).is_approved
            assert [1, 1] == [h.names().count(name) for name in ("CheckStarted", "PayStarted")]
            assert (1, 1) == (h.client.sent[CHECK, "po-1"], h.client.sent[PAY, "po-1"])

    @virtually
    async def test_unreachable_gateway(self) -> None:
        """While the gateway cannot be reached a run ends at its deadline and says why."""
        async with house(deadlines=Deadlines(sending=60.0)) as h:
            h.client.faults[CHECK] = [NOT_CONNECTED] * 1000

            outcome = await h.payouts.run(request())

            assert (State.NEW, OpenReason.NOT_SENT) == (outcome.state, outcome.open_reason)
            assert "cannot be reached (ConnectError)" in (outcome.explanation or "")

    @virtually
    async def test_polls_that_fail_are_repeated(self) -> None:
        """Polls without an answer bring nothing and cost nothing but time."""
        async with house() as h:
            h.client.faults[STATUS] = [UNANSWERED] * 20

            assert (await h.payouts.run(request())).is_approved
            assert 7 == len(h.names())

    @virtually
    async def test_refused_check(self) -> None:
        """A refused check is rejected with the gateway's reason."""
        async with house() as h:
            h.client.faults[CHECK] = [Fault(reaches=False, answer=Refused("8", "bad number"))]

            outcome = await h.payouts.run(request())

            assert (State.REJECTED, "8", "bad number") == (
                outcome.state,
                outcome.error_code,
                outcome.error_message,
            )

    @virtually
    async def test_slow_bank_is_stalled(self) -> None:
        """A bank that does not answer leaves the payout open, and a later run goes on."""
        client = FakeClient(Gateway(validation=5000.0, processing=1.0))
        async with house(client) as h:
            outcome = await h.payouts.run(request())
            assert (State.VALIDATING, OpenReason.STALLED) == (outcome.state, outcome.open_reason)
            await asyncio.sleep(2000)

            assert (await h.payouts.run(request())).is_approved
            assert 1 == client.count(CHECK)


class TestClaims:
    @virtually
    async def test_claim_is_durable_before_the_request(self) -> None:
        """When the journal cannot be written nothing is sent."""
        for kind in (CHECK, PAY):
            async with house() as h:
                journal = h.journal

                def fill(payout: Payout, _: Event, kind: Any = kind, j: Any = journal) -> None:
                    j.is_full = payout.state is (State.NEW if kind is CHECK else State.VALIDATED)

                h.payouts._means.monitor = Monitor(fill)
                with pytest.raises(JournalUnavailable):
                    await h.payouts.run(request())
                assert 0 == h.client.sent[kind, "po-1"]
                journal.is_full = False
                assert (await h.payouts.run(request())).is_approved
                assert 1 == h.client.paid("po-1")

    @virtually
    async def test_slow_claim_is_not_sent(self) -> None:
        """A claim that takes longer than ten seconds is taken back and sent later."""

        class SlowOnce(MemoryJournal):
            slow = True

            async def append(self, becomes: Payout, event: Event) -> None:
                await super().append(becomes, event)
                if isinstance(event, PayStarted) and self.slow:
                    self.slow = False
                    await asyncio.sleep(11)

        async with house(journal=SlowOnce()) as h:
            assert (await h.payouts.run(request())).is_approved
            assert 1 == h.client.sent[PAY, "po-1"]
            assert "PayNotSent" in h.names()

    @virtually
    async def test_only_the_own_claim_is_taken_back(self) -> None:
        """An owner that was frozen over its claim never takes back the claim of another."""
        journal, client = MemoryJournal(), FakeClient()

        class Frozen(MemoryJournal):
            """The journal as the first owner sees it, frozen after its claim."""

            def __init__(self) -> None:
                super().__init__()
                self.events = journal.events

            async def append(self, becomes: Payout, event: Event) -> None:
                await super().append(becomes, event)
                if isinstance(event, PayStarted):
                    # Meanwhile a person has looked and released, and another owner has paid.
                    released = Released(at=event.at + 1000, who="ann", why="never arrived")
                    again = PayStarted(at=event.at + 1001)
                    self.events["po-1"] += [released, again]
                    await asyncio.sleep(1002)

        frozen = Frozen()
        async with house(client, frozen) as h:
            h.payouts._admission.deadlines = Deadlines(doubt=1.0)
            run = asyncio.create_task(h.payouts.run(request()))
            await asyncio.sleep(1100)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

        assert not [event for event in journal.events["po-1"] if isinstance(event, PayNotSent)]
        assert 0 == client.sent[PAY, "po-1"]

    @virtually
    async def test_stale_validation_is_asked_again(self) -> None:
        """When connecting takes longer than a validated answer is good for, it is asked again."""
        client = FakeClient(latency=30.0)
        async with house(client) as h:
            outcome = await h.payouts.run(request())

            assert 0 == client.sent[PAY, "po-1"]
            assert OpenReason.STALLED is outcome.open_reason


class TestCancellation:
    @virtually
    async def test_cancelled_during_a_send(self) -> None:
        """A caller that is cancelled during a send leaves it whole and recorded."""
        async with house() as h:
            h.client.faults[CHECK] = [Fault(delay=5.0)]
            run = asyncio.create_task(h.payouts.run(request()))
            await asyncio.sleep(1)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            assert ["Opened", "CheckStarted"] == h.names()
            await h.client.drain()

            assert ["Opened", "CheckStarted", "Checked"] == h.names()
            assert (await h.payouts.run(request())).is_approved
            assert (1, 1) == (h.client.count(CHECK), h.client.count(PAY))

    @virtually
    async def test_cancelled_anywhere(self) -> None:
        """Wherever a caller is cancelled, the next run finishes with one check and one pay."""
        for tenth in range(150):
            async with house() as h:
                h.client.faults[CHECK] = [Fault(delay=0.7)]
                h.client.faults[PAY] = [Fault(delay=0.7)]
                run = asyncio.create_task(h.payouts.run(request()))
                await asyncio.sleep(tenth / 10 + 0.013)
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)

                assert (await h.payouts.run(request())).is_approved
                assert (1, 1, 1) == (
                    h.client.sent[CHECK, "po-1"],
                    h.client.sent[PAY, "po-1"],
                    h.client.paid("po-1"),
                )

    @virtually
    async def test_orphaned_connect_failure_takes_nothing_back(self) -> None:
        """A send that fails to connect after its caller left does not undo the next caller's."""
        async with house() as h:
            slow = Fault(reaches=False, answer=NOT_CONNECTED.answer, claims=False, delay=8.0)
            h.client.faults[CHECK] = [slow]
            first = asyncio.create_task(h.payouts.run(request()))
            await asyncio.sleep(1)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            h.client.faults[CHECK] = [Fault(answer=Unknown("ReadTimeout"), delay=60.0)]

            assert (await h.payouts.run(request())).is_approved
            assert 1 == h.client.sent[CHECK, "po-1"]
            assert "CheckNotSent" not in h.names()

    @virtually
    async def test_closing_records_what_is_under_way(self) -> None:
        """Leaving the orchestrator waits for sends and their records, and ends every nap."""
        client, journal = FakeClient(), MemoryJournal()
        async with house(client, journal) as h:
            await h.payouts.run(request("first"))  # after it three may be under way at once
            client.faults[CHECK] = [Fault(delay=20.0)]
            runs = [asyncio.create_task(h.payouts.run(request(f"po-{n}"))) for n in range(3)]
            await asyncio.sleep(10)
        outcomes = await asyncio.gather(*runs)

        assert 3 == len(outcomes)
        assert all("Checked" in {type(e).__name__ for e in es} for es in journal.events.values())
        with pytest.raises(ClosedError):
            await h.payouts.run(request())


class TestAdvance:
    @virtually
    async def test_a_scheduler_of_the_users_own(self) -> None:
        """Calling advance when it says drives a payout to its end."""
        async with house() as h:
            first = asyncio.create_task(h.payouts.run(request()))
            await asyncio.sleep(0.5)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            steps = 0
            while isinstance(step := await h.payouts.advance("po-1"), Waiting):
                assert step.until == h.client.wall_clock() + step.seconds
                await asyncio.sleep(step.seconds)
                steps += 1

            assert isinstance(step, Done)
            assert step.outcome.is_approved
            assert steps < 10
            assert step.outcome == await h.payouts.status("po-1")

    @virtually
    async def test_unknown_payout(self) -> None:
        """A payout that the journal does not know is a clear error."""
        async with house() as h:
            with pytest.raises(PayoutNotFound):
                await h.payouts.advance("po-1")
            with pytest.raises(PayoutNotFound):
                await h.payouts.status("po-1")

    @virtually
    async def test_never_checked_payout_needs_its_request(self) -> None:
        """A payout that was accepted and never sent must be handed in again."""
        async with house() as h:
            h.client.faults[CHECK] = [NOT_CONNECTED]
            run = asyncio.create_task(h.payouts.run(request()))
            await asyncio.sleep(1)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

            with pytest.raises(RequestNeeded):
                await h.payouts.advance("po-1")
            assert (await h.payouts.run(request())).is_approved


class TestMany:
    @virtually
    async def test_thousands(self) -> None:
        """Two thousand payouts run side by side, each paid once."""
        async with house() as h:
            requests = (request(f"po-{n}") for n in range(2000))
            outcomes = [o async for o in h.payouts.run_many(requests, concurrency=1500)]

            assert 2000 == len({outcome.client_orderid for outcome in outcomes})
            assert {True} == {outcome.is_approved for outcome in outcomes}
            assert 2000 == len(h.client.gateway.ledger)
            assert asyncio.get_running_loop().time() < 40

    @virtually
    async def test_isolation(self) -> None:
        """One payout's conflict is its own outcome and stops no other."""
        async with house() as h:
            await h.payouts.run(request("po-3"))
            batch = [request(f"po-{n}", amount=Decimal(n + 1)) for n in range(6)]
            told = {o.client_orderid: o async for o in h.payouts.run_many(batch)}

            assert isinstance(told["po-3"].problem, PayoutConflict)
            assert told["po-3"].needs_person
            assert 5 == sum(outcome.is_approved for outcome in told.values())

    @virtually
    async def test_concurrency(self) -> None:
        """Never more payouts are open than asked for, and requests are taken as places get free."""
        taken = finished = most = 0

        async def source() -> AsyncIterator[PayoutRequest]:
            nonlocal taken, most
            for n in range(30):
                taken += 1
                most = max(most, taken - finished)
                yield request(f"po-{n}")

        async with house() as h:
            async for _ in h.payouts.run_many(source(), concurrency=4):
                finished += 1

        assert (30, 30) == (taken, finished)
        assert most <= 6

    @virtually
    async def test_journal_failure_ends_the_batch(self) -> None:
        """A journal that cannot be used ends the batch with its error."""
        async with house() as h:
            h.journal.is_full = True
            with pytest.raises(JournalUnavailable):
                _ = [o async for o in h.payouts.run_many([request()])]
            h.journal.is_full = False

    @virtually
    async def test_answer_that_cannot_be_journaled(self) -> None:
        """While the journal fails, no caller who waits beside another asks at once again."""
        async with house() as h:

            def fill(payout: Payout, _: Event) -> None:
                h.journal.is_full = payout.state is State.AWAITING_FINAL

            h.payouts._means.monitor = Monitor(fill)
            runs = [h.payouts.run(request()) for _ in range(5)]
            told = await asyncio.gather(*runs, return_exceptions=True)
            h.journal.is_full = False

            assert 5 == sum(isinstance(each, JournalUnavailable) for each in told)
            gaps = [b - a for a, b in pairwise(h.client.asked["po-1"])]
            assert 3.0 <= min(gaps)

    @virtually
    async def test_failing_source_ends_the_batch(self) -> None:
        """What the source of requests raises reaches the caller."""

        async def source() -> AsyncIterator[PayoutRequest]:
            yield request()
            raise LookupError("no more")

        async with house() as h:
            with pytest.raises(LookupError):
                _ = [o async for o in h.payouts.run_many(source())]

    @virtually
    async def test_stopping_early(self) -> None:
        """Closing the iterator sends nothing new and leaves no task behind."""
        async with house() as h:
            told = h.payouts.run_many([request(f"po-{n}") for n in range(100)], concurrency=10)
            first: Outcome = await anext(told)
            await told.aclose()
            sent = dict(h.client.sent)
            await asyncio.sleep(60)

            assert first.is_approved
            assert sent == dict(h.client.sent)
            assert 1 == len(asyncio.all_tasks())


class TestObserver:
    @virtually
    async def test_failing_observer(self) -> None:
        """An observer that fails changes nothing."""

        def fail(_: Payout, __: Event) -> None:
            raise LookupError

        async with house() as h:
            h.payouts._means.monitor = Monitor(fail)
            assert (await h.payouts.run(request())).is_approved

    @virtually
    async def test_told_after_it_is_durable(self) -> None:
        """What the observer hears is in the journal already."""
        async with house() as h:
            journal = h.journal
            seen: list[bool] = []
            h.payouts._means.monitor = Monitor(
                lambda payout, event: seen.append(
                    event is journal.events[payout.client_orderid][payout.sequence]
                )
            )
            await h.payouts.run(request())

            assert [True] * 7 == seen


def test_wall_clock_jumps() -> None:
    """A wall clock that jumps back and forth costs time and never a second payment."""

    async def main() -> None:
        for jump in (-7200.0, -20.0, 20.0, 7200.0):
            client = FakeClient()
            jumped = [0.0]

            def wall_clock(client: Any = client, jumped: Any = jumped) -> float:
                return float(client.wall_clock() + jumped[0])

            journal = MemoryJournal()
            async with Orchestrator(client, journal, wall_clock=wall_clock) as payouts:
                run = asyncio.create_task(payouts.run(request()))
                await asyncio.sleep(4.5)
                jumped[0] = jump
                outcome = await run
                while not outcome.is_finished:  # an hour of patience, and two to catch up with
                    outcome = await payouts.run(request())

                assert client.paid("po-1") <= 1
                assert (1, True) == (client.sent[PAY, "po-1"], outcome.is_approved)

    run_virtual(main())


def test_epoch_is_what_the_fakes_say() -> None:
    """The fake wall clock begins at its epoch."""

    async def main() -> float:
        return FakeClient.wall_clock()

    assert EPOCH == run_virtual(main())


def test_polling_refuses_a_range_upside_down() -> None:
    """A poll range must be one."""
    with pytest.raises(ValueError, match="order"):
        Polling(shortest=5, longest=3)
