"""A callback is a hint: durable when it is answered, never believed, no reason to send."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import pytest
from callers import callback_fields, genuine, query_of
from fakes import UNANSWERED, FakeClient, Fault, MemoryJournal
from house import House, house, virtually
from payouts import request

from billblend_async.core.events import CalledBack, Event, Finished
from billblend_async.core.models import Alarm, Deadlines, Flow, OpenReason, State
from billblend_async.core.responses import NotFound, Status, StatusReport, Unknown
from billblend_async.errors import (
    ClosedError,
    ConfigurationError,
    DeliverAgain,
    JournalUnavailable,
    PayoutNotFound,
    VerificationFailed,
)
from billblend_async.gateway.wire import RequestKind
from billblend_async.integrations.asgi import answer_callback
from billblend_async.orchestrator.inbox import Delivery
from billblend_async.orchestrator.observer import Notice
from billblend_async.orchestrator.orchestrator import Orchestrator
from billblend_async.sandbox import Gateway

ORDER = "6982864"
REDIRECT = "2000000001"
SENDS = (RequestKind.CHECK, RequestKind.PAY, RequestKind.PAYOUT)


def sends(h: House) -> int:
    """Count what the gateway took that may move money."""
    return sum(request.kind in SENDS for request in h.client.gateway.requests)


def asked(h: House) -> list[float]:
    """Give the instants of the status requests."""
    return h.client.asked.get("po-1", [])


async def reach(h: House, state: State) -> None:
    """Wait until a payout is in a state, each millisecond of virtual time."""
    while "po-1" not in h.journal.events:
        await asyncio.sleep(0.001)
    while (await h.payouts.status("po-1")).state is not state:
        await asyncio.sleep(0.001)


class Counting(MemoryJournal):
    """A journal that counts what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    async def append(self, becomes: Any, event: Event) -> None:
        self.writes += 1
        await super().append(becomes, event)


@asynccontextmanager
async def finished(account: str = "1234567890", **options: Any) -> AsyncIterator[House]:
    """Open a house in which po-1 has come to its end, a while ago."""
    async with house(journal=Counting(), **options) as h:
        await h.payouts.run(request(account_number=account))
        await asyncio.sleep(60)
        yield h


def journal_of(h: House) -> tuple[list[Event], int]:
    """Copy what a journal holds and how often it was written."""
    assert isinstance(h.journal, Counting)
    return list(h.journal.events["po-1"]), h.journal.writes


async def wait_final(h: House) -> None:
    """Wait until po-1 is final without running it, a day at most."""
    async with asyncio.timeout(86_400):
        await reach(h, State.FINAL)


class TestBeforeFinal:
    @virtually
    async def test_before_the_check_answer(self) -> None:
        """A callback that overtakes the check's answer is to come again, and nothing is written."""
        client = FakeClient()
        client.faults[RequestKind.CHECK] = [Fault(delay=3.0)]
        async with house(client) as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.CHECKING)
            await asyncio.sleep(1)
            with pytest.raises(DeliverAgain):
                await h.payouts.deliver(genuine())
            assert 503 == await answer_callback(h.payouts, query_of(callback_fields()))
            assert ["Opened", "CheckStarted"] == h.names()
            assert (await running).is_approved
            assert Delivery.KNOWN is await h.payouts.deliver(genuine())

    @virtually
    async def test_before_the_pay_answer(self) -> None:
        """A callback that overtakes the pay's answer is durable, and the status alone decides."""
        client = FakeClient()
        client.faults[RequestKind.PAY] = [Fault(delay=8.0)]
        async with house(client) as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.PAYING)
            await asyncio.sleep(1)
            assert Delivery.NOTED is await h.payouts.deliver(genuine())
            assert (
                CalledBack(at=client.wall_clock(), status=Status.APPROVED)
                == (h.journal.events["po-1"][-1])
            )
            assert State.PAYING is (await h.payouts.status("po-1")).state
            assert (await running).is_approved
            assert 1 == client.count(RequestKind.PAY)

    @virtually
    async def test_it_is_not_believed(self) -> None:
        """Whatever final status a callback tells, the payout ends as the status answer says."""
        async with house() as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.VALIDATING)
            for status in ("declined", "error", "filtered", "approved", "unknown", "no-such-word"):
                assert Delivery.NOTED is await h.payouts.deliver(genuine(status))
            assert State.VALIDATING is (await h.payouts.status("po-1")).state
            outcome = await running
            assert outcome.is_approved
            assert () == outcome.alarms
            assert 1 == h.client.paid("po-1")

    @virtually
    async def test_twice(self) -> None:
        """The same callback again is known, writes nothing and hastens nothing."""
        async with house() as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.AWAITING_FINAL)
            assert Delivery.NOTED is await h.payouts.deliver(genuine("unknown"))
            await asyncio.sleep(1.1)
            questions, names = len(asked(h)), h.names()
            for _ in range(5):
                assert Delivery.KNOWN is await h.payouts.deliver(genuine("Unknown"))
                await asyncio.sleep(0.1)
            assert (questions, names) == (len(asked(h)), h.names())
            assert (await running).is_approved

    @virtually
    async def test_later_transaction(self) -> None:
        """A callback about a reversal of a payout that is not final is to come again."""
        async with house() as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.AWAITING_FINAL)
            names = h.names()
            with pytest.raises(DeliverAgain):
                await h.payouts.deliver(genuine(transaction_type="reversal"))
            assert names == h.names()
            assert (await running).is_approved

    @virtually
    async def test_storm_of_later_transactions(self) -> None:
        """Repeated, they hasten the questions no more often than usual."""
        client = FakeClient(Gateway(validation=40.0))
        async with house(client) as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.VALIDATING)
            for _ in range(300):
                with pytest.raises(DeliverAgain):
                    await h.payouts.deliver(genuine(transaction_type="reversal"))
                await asyncio.sleep(0.1)
            assert 30 / 3.0 + 2 >= len(asked(h))
            assert (await running).is_approved

    @virtually
    async def test_unknown_payout(self) -> None:
        """A callback about a payout that the journal does not know is 404 and leaves nothing."""
        async with house() as h:
            with pytest.raises(PayoutNotFound):
                await h.payouts.deliver(genuine())
            assert 404 == await answer_callback(h.payouts, query_of(callback_fields()))
            assert {} == h.journal.events
            assert {} == h.client.asked

    @virtually
    async def test_wrong_order(self) -> None:
        """Ids that do not belong together are 403 before and after the end, and leave nothing."""
        async with finished() as h:
            running = asyncio.create_task(h.payouts.run(request("po-2")))
            while len(h.names("po-2") if "po-2" in h.journal.events else ()) < 3:
                await asyncio.sleep(0.01)
            for name in ("po-1", "po-2"):
                names, questions = h.names(name), len(h.client.asked.get(name, ()))
                for kind in ("payout", "reversal"):
                    with pytest.raises(VerificationFailed):
                        await h.payouts.deliver(genuine("declined", "111", name, kind))
                    query = query_of(callback_fields("declined", "111", name, type=kind))
                    assert 403 == await answer_callback(h.payouts, query)
                assert (names, questions) == (h.names(name), len(h.client.asked.get(name, ())))
            assert (await running).is_approved


class TestStopped:
    @virtually
    async def test_a_look_keeps_no_send_alive(self) -> None:
        """Whoever stops before the claim sends nothing, though a callback causes a look at it."""
        async with house(FakeClient(latency=1.0)) as h:
            await h.payouts.run(request(), pay=False)
            await h.payouts.deliver(genuine("unknown"))
            await asyncio.sleep(1.5)
            approving = asyncio.create_task(h.payouts.approve("po-1", who="ann"))
            await asyncio.sleep(0.3)  # the request waits for its connection
            approving.cancel()
            await asyncio.gather(approving, return_exceptions=True)
            await asyncio.sleep(300)
            assert "PayStarted" not in h.names()
            assert 0 == h.client.paid("po-1")
            assert (await h.payouts.approve("po-1", who="ann")).is_approved


class TestAfterFinal:
    @virtually
    async def test_same_status(self) -> None:
        """A callback that tells the final status is known: no byte, no question."""
        async with finished() as h:
            before, questions = journal_of(h), len(asked(h))
            for _ in range(3):
                assert Delivery.KNOWN is await h.payouts.deliver(genuine())
            assert 200 == await answer_callback(h.payouts, query_of(callback_fields()))
            assert (before, questions) == (journal_of(h), len(asked(h)))

    @virtually
    async def test_reversal(self) -> None:
        """A reversal that the status confirms becomes an alarm, once, and touches no outcome."""
        async with finished() as h:
            was = await h.payouts.status("po-1")
            h.client.gateway.reverse(ORDER, h.client.wall_clock())
            callback = genuine(transaction_type="reversal")
            with h.payouts.events() as events:
                assert Delivery.NOTED is await h.payouts.deliver(callback)
                told = await h.payouts.status("po-1")
                recorded, notice = await anext(events), await anext(events)
            assert (Alarm.LATER_TRANSACTION,) == told.alarms
            assert was == attrs.evolve(
                told, alarms=(), details=(), explanation=None, sequence=was.sequence
            )
            assert isinstance(recorded.event, Finished)
            assert Notice(told, callback) == notice
            before = journal_of(h)
            await asyncio.sleep(10)
            assert Delivery.KNOWN is await h.payouts.deliver(callback)
            assert before == journal_of(h)

    @virtually
    async def test_type_swap(self) -> None:
        """A genuine callback under another type leaves no byte; listeners hear it as what it is."""
        async with finished() as h:
            before = journal_of(h)
            with h.payouts.events("po-1") as events:
                for kind in ("reversal", "chargeback", "fraud", "refund"):
                    callback = genuine(transaction_type=kind)
                    assert Delivery.KNOWN is await h.payouts.deliver(callback)
                    assert callback == (await anext(events)).event
                    await asyncio.sleep(10)
            assert before == journal_of(h)
            assert () == (await h.payouts.status("po-1")).alarms

    @virtually
    async def test_storm(self) -> None:
        """A storm of them asks no more often than usual; the others are to come again."""
        async with finished() as h:
            before, questions = journal_of(h), len(asked(h))
            query = query_of(callback_fields(type="reversal"))
            answers = Counter[int]()
            for _ in range(60):
                statuses = [answer_callback(h.payouts, query) for _ in range(20)]
                answers.update(await asyncio.gather(*statuses))
                await asyncio.sleep(0.1)
            new = asked(h)[questions:]
            assert {200: len(new), 503: 1200 - len(new)} == answers
            assert 2 <= len(new) <= 3
            assert all(b - a >= 3.0 for a, b in pairwise(new))
            assert before == journal_of(h)

    @virtually
    async def test_contradiction(self) -> None:
        """Another final status is an alarm when the gateway's status says so, else no byte."""
        async with finished() as h:
            before = journal_of(h)
            assert Delivery.KNOWN is await h.payouts.deliver(genuine("declined"))
            assert before == journal_of(h)
            await asyncio.sleep(10)
            h.client.faults[RequestKind.STATUS] = [Fault(answer=report("declined"))]
            assert Delivery.NOTED is await h.payouts.deliver(genuine("declined"))
            told = await h.payouts.status("po-1")
            assert (True, (Alarm.STATUS_CONTRADICTS,)) == (told.is_approved, told.alarms)

    @virtually
    async def test_answers_of_the_status(self) -> None:
        """An answer without an order id is about the order; without an answer it is 503."""
        async with finished() as h:
            before = journal_of(h)
            nameless = attrs.evolve(report("approved"), paynet_order_id=None)
            for answer, expected in (
                (nameless, 200),
                (UNANSWERED.answer, 503),
                (NotFound("101"), 503),
                (attrs.evolve(report("approved"), paynet_order_id="111"), 403),
            ):
                await asyncio.sleep(10)
                h.client.faults[RequestKind.STATUS] = [Fault(answer=answer)]
                query = query_of(callback_fields("declined"))
                assert expected == await answer_callback(h.payouts, query)
            assert before == journal_of(h)

    @virtually
    async def test_without_an_order(self) -> None:
        """About a payout that ended without an order the gateway is asked: 404 if it has none."""
        async with house() as h:
            await h.payouts.accept(request())
            await h.payouts.withdraw("po-1", who="ann", why="typo")
            names, query = h.names(), query_of(callback_fields())
            assert 404 == await answer_callback(h.payouts, query)
            for order, expected in ((None, 503), (ORDER, 200), ("111", 403)):
                await asyncio.sleep(10)
                answer = attrs.evolve(report("declined"), paynet_order_id=order)
                h.client.faults[RequestKind.STATUS] = [Fault(answer=answer)]
                assert expected == await answer_callback(h.payouts, query)
            assert names == h.names()
            assert State.WITHDRAWN is (await h.payouts.status("po-1")).state


def report(status: str) -> StatusReport:
    """Make a status answer about po-1."""
    return StatusReport(
        type="status-response",
        status=Status(status),
        paynet_order_id=ORDER,
        merchant_order_id="po-1",
        amount=Decimal("10.42"),
        currency="USD",
    )


class TestDurability:
    @virtually
    async def test_journal_full(self) -> None:
        """While nothing can be written a callback is 503, and the next attempt is taken in."""
        async with house() as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.AWAITING_FINAL)
            names, query = h.names(), query_of(callback_fields())
            h.journal.is_full = True
            with pytest.raises(JournalUnavailable):
                await h.payouts.deliver(genuine())
            assert 503 == await answer_callback(h.payouts, query)
            h.journal.is_full = False
            assert names == h.names()
            assert 200 == await answer_callback(h.payouts, query)
            assert [*names, "CalledBack"] == h.names()
            assert (await running).is_approved

    @virtually
    async def test_closed(self) -> None:
        """Before and after its time an orchestrator takes nothing in: 503."""
        async with finished() as h:
            before = journal_of(h)
        with pytest.raises(ClosedError):
            await h.payouts.deliver(genuine())
        assert 503 == await answer_callback(h.payouts, query_of(callback_fields()))
        assert before == journal_of(h)
        early = Orchestrator(FakeClient(), MemoryJournal())
        assert 503 == await answer_callback(early, query_of(callback_fields()))

    @virtually
    async def test_closing_while_it_asks(self) -> None:
        """Closing does not wait for the questions that a callback has caused."""
        journal = await left_in(State.AWAITING_FINAL)
        client = FakeClient(journal.client.gateway)
        client.faults[RequestKind.STATUS] = [Fault(answer=UNANSWERED.answer, delay=1000.0)]
        async with house(client, journal.journal.twin()) as h:
            assert Delivery.NOTED is await h.payouts.deliver(genuine("unknown"))
            await asyncio.sleep(1)
            began = asyncio.get_running_loop().time()
        assert 1 > asyncio.get_running_loop().time() - began


class TestHints:
    @virtually
    async def test_wakes_the_poll(self) -> None:
        """A callback has the status asked a breath after the last question, never sooner."""
        for late in (0.05, 0.1, 0.2, 0.9, 2.5):
            client = FakeClient(Gateway(validation=2.0, processing=60.0))
            async with house(client) as h:
                running = asyncio.create_task(h.payouts.run(request()))
                await reach(h, State.AWAITING_FINAL)
                questions = len(asked(h))
                while len(asked(h)) == questions:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(client.latency + late)
                answered = asked(h)[-1] + client.latency
                await h.payouts.deliver(genuine("unknown"))
                now = asyncio.get_running_loop().time()
                questions = len(asked(h))
                await asyncio.sleep(0.3)
                assert questions + 1 == len(asked(h))
                assert pytest.approx(max(now, answered + 0.25), abs=0.01) == asked(h)[-1]
                await h.payouts.deliver(genuine())
                running.cancel()

    @virtually
    async def test_while_a_question_is_under_way(self) -> None:
        """A callback that comes while a question is under way has one more asked a breath after."""
        client = FakeClient(Gateway(validation=30.0))
        client.faults[RequestKind.STATUS] = [Fault(), Fault(delay=2.0)]
        async with house(client) as h:
            running = asyncio.create_task(h.payouts.run(request()))
            while len(asked(h)) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
            await h.payouts.deliver(genuine())
            while len(asked(h)) < 3:
                await asyncio.sleep(0.01)
            first, second = asked(h)[1:]
            assert pytest.approx(2.0 + client.latency + 0.25, abs=0.02) == second - first
            running.cancel()

    @virtually
    async def test_knows_the_end_sooner(self) -> None:
        """With the callback at the gateway's end, the caller knows it within half a second."""
        client = FakeClient(Gateway(validation=2.0, processing=100.0))
        async with house(client) as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.AWAITING_FINAL)
            await asyncio.sleep(100)
            await h.payouts.deliver(genuine())
            began = asyncio.get_running_loop().time()
            assert (await running).is_approved
            assert 0.5 >= asyncio.get_running_loop().time() - began


@attrs.frozen
class Left:
    """What a process has left behind."""

    client: FakeClient
    journal: MemoryJournal


async def left_in(state: State, *, held: bool = False, **fields: Any) -> Left:
    """Run po-1 into a state, and end the process there."""
    client = FakeClient(Gateway(validation=2.0, processing=2.0))
    async with house(client) as h:
        running = asyncio.create_task(h.payouts.run(request(**fields), pay=not held))
        await reach(h, state)
        running.cancel()
    await asyncio.sleep(60)
    return Left(client, h.journal)


class TestNobodyRunsIt:
    @virtually
    async def test_nothing_is_sent(self) -> None:
        """Whatever it tells, nothing is sent for a payout that is new, held or validated."""
        for state, held in ((State.NEW, False), (State.VALIDATED, True), (State.VALIDATED, False)):
            if state is State.NEW:
                left = Left(FakeClient(), MemoryJournal())
            elif held:
                left = await left_in(state, held=True)
            else:
                left = await left_in(State.VALIDATING)
            async with house(left.client, left.journal.twin()) as h:
                if state is State.NEW:
                    await h.payouts.accept(request())
                elif not held:
                    await h.payouts.advance("po-1")
                assert state is (await h.payouts.status("po-1")).state
                before = sends(h)
                for status in ("approved", "declined", "unknown"):
                    with contextlib.suppress(DeliverAgain):
                        await h.payouts.deliver(genuine(status))
                    await asyncio.sleep(5)
                await asyncio.sleep(60)
                names = h.names()
                for _ in range(20):
                    with contextlib.suppress(DeliverAgain):
                        await h.payouts.deliver(genuine(transaction_type="reversal"))
                    await asyncio.sleep(5)
                assert names == h.names()
                assert before == sends(h)
                assert state is (await h.payouts.status("po-1")).state
                assert 0 == h.client.paid("po-1")

    @virtually
    async def test_denials_are_not_counted(self) -> None:
        """What a callback has us ask never counts towards another check."""
        client = FakeClient()
        client.faults[RequestKind.CHECK] = [Fault(reaches=False, answer=Unknown("ReadTimeout"))]
        async with house(client) as h:
            running = asyncio.create_task(h.payouts.run(request()))
            await reach(h, State.CHECKING)
            running.cancel()
            names = h.names()
            for _ in range(30):
                with pytest.raises(DeliverAgain):
                    await h.payouts.deliver(genuine())
                await asyncio.sleep(5)
            assert 30 <= len(asked(h))
            assert names == h.names() == ["Opened", "CheckStarted"]

    @virtually
    async def test_late_completion(self) -> None:
        """A payout whose receiver came after the deadline learns its end from the callback."""
        limits = Deadlines(receiver=60.0)
        async with house(deadlines=limits) as h:
            told = await h.payouts.run(request(account_number=REDIRECT))
            assert OpenReason.AWAITING_RECEIVER == told.open_reason
            await asyncio.sleep(7200)
            questions = len(asked(h))
            gateway = h.client.gateway
            token = gateway.orders[ORDER].token
            assert token is not None
            gateway.submit(token, h.client.wall_clock(), is_confirmed=True)
            await asyncio.sleep(2)
            assert Delivery.NOTED is await h.payouts.deliver(genuine())
            await asyncio.sleep(0.1)
            assert (await h.payouts.status("po-1")).is_approved
            assert questions + 1 == len(asked(h))

    @virtually
    async def test_status_that_lags(self) -> None:
        """It is asked three times, three seconds apart, until an answer tells something."""
        left = await left_in(State.AWAITING_FINAL)
        left.client.faults[RequestKind.STATUS] = [UNCHANGED, UNCHANGED]
        async with house(left.client, left.journal.twin()) as h:
            questions = len(asked(h))
            await h.payouts.deliver(genuine())
            await wait_final(h)
            new = asked(h)[questions:]
            assert [3.0, 3.0] == [pytest.approx(b - a, abs=0.2) for a, b in pairwise(new)]
            await asyncio.sleep(60)
            assert questions + 3 == len(asked(h))

    @virtually
    async def test_news_begins_anew(self) -> None:
        """Another callback while it is asked about begins the three questions anew."""
        left = await left_in(State.AWAITING_FINAL)
        left.client.faults[RequestKind.STATUS] = [UNCHANGED] * 10
        async with house(left.client, left.journal.twin()) as h:
            questions = len(asked(h))
            for status in ("unknown", "declined", "error"):
                await asyncio.gather(*(h.payouts.deliver(genuine(status)) for _ in range(3)))
                await asyncio.sleep(4)
            await asyncio.sleep(60)
            new = asked(h)[questions:]
            assert 5 <= len(new) <= 6
            assert all(b - a >= 1.0 for a, b in pairwise(new))

    @virtually
    async def test_two_at_once(self) -> None:
        """Two callbacks at once about a payout that nobody runs still have it asked about."""
        left = await left_in(State.AWAITING_FINAL)
        async with house(left.client, left.journal.twin()) as h:
            both = (h.payouts.deliver(genuine(status)) for status in ("approved", "unknown"))
            assert [Delivery.NOTED] * 2 == await asyncio.gather(*both)
            await wait_final(h)

    @virtually
    async def test_whoever_runs_it_then(self) -> None:
        """Who begins to run a payout that is asked about takes over, and both are one."""
        left = await left_in(State.AWAITING_FINAL)
        left.client.faults[RequestKind.STATUS] = [UNCHANGED]
        async with house(left.client, left.journal.twin()) as h:
            await h.payouts.deliver(genuine())
            await asyncio.sleep(0.5)
            assert (await h.payouts.run(request())).is_approved
            assert 1 == h.names().count("Finished")

    @virtually
    async def test_two_processes(self) -> None:
        """A callback that reaches the process that does not run the payout is durable for both."""
        client = FakeClient(Gateway(validation=2.0, processing=30.0))
        async with house(client) as a, house(client, a.journal.twin()) as b:
            running = asyncio.create_task(a.payouts.run(request()))
            await reach(a, State.AWAITING_FINAL)
            await asyncio.sleep(30)
            assert Delivery.NOTED is await b.payouts.deliver(genuine())
            assert (await running).is_approved
            await wait_final(b)
            assert 1 == a.names().count("CalledBack") == a.names().count("Finished")
            assert 1 == client.paid("po-1")

    @virtually
    async def test_a_process_that_is_behind(self) -> None:
        """A process that has not met the end yet compares with what the journal says."""
        client = FakeClient(Gateway(validation=2.0, processing=2.0))
        async with house(client) as a, house(client, a.journal.twin()) as b:
            behind = asyncio.create_task(a.payouts.run(request()))
            await reach(a, State.AWAITING_FINAL)
            client.faults[RequestKind.STATUS] = [Fault(answer=UNANSWERED.answer, delay=100.0)]
            questions = len(asked(a))
            while len(asked(a)) == questions:
                await asyncio.sleep(0.1)
            async with asyncio.timeout(60):
                assert (await b.payouts.run(request())).is_approved
            names = a.names()
            assert State.AWAITING_FINAL is (await a.payouts.status("po-1")).state
            assert Delivery.KNOWN is await a.payouts.deliver(genuine())
            assert names == a.names()
            assert (await behind).is_approved


UNCHANGED = Fault(
    answer=attrs.evolve(report("processing"), order_stage="payout_processing"),
)


class TestAddress:
    @virtually
    async def test_default(self) -> None:
        """The orchestrator's address goes into every request that has none of its own."""
        ours, own = "https://shop.example/callback", "https://shop.example:8443/own"
        async with house(server_callback_url=ours) as h:
            for flow in Flow:
                for url in (None, own):
                    name = f"{flow}-{url is None}"
                    await h.payouts.run(request(name, server_callback_url=url), flow=flow)
            sent = {
                o.client_orderid: o.server_callback_url for o in h.client.gateway.orders.values()
            }
            assert sent == {
                f"{flow}-{url is None}": url or ours for flow in Flow for url in (None, own)
            }
            # It says nothing about who is paid, so another address is no other payout.
            name = f"{Flow.CHECK_PAY}-True"
            again = request(name, server_callback_url=own)
            assert (await h.payouts.run(again)).is_approved

    @virtually
    async def test_none(self) -> None:
        """Without an address nothing is sent, and polling alone ends the payout."""
        async with house() as h:
            assert (await h.payouts.run(request())).is_approved
            assert h.client.gateway.orders[ORDER].server_callback_url is None

    @pytest.mark.parametrize(
        "url",
        ["", "ftp://a.example/", "https://a.example:99/", "https://a.example/" + "x" * 120, "//a"],
    )
    def test_bad(self, url: str) -> None:
        """An address that the gateway would not call is refused at once."""
        with pytest.raises(ConfigurationError, match="server_callback_url"):
            Orchestrator(FakeClient(), MemoryJournal(), server_callback_url=url)
