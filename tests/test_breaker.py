"""Sends go only as long as the gateway shows that it knows us, and answers."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from fakes import LOST_BEFORE, FakeClient, Fault, MemoryJournal
from house import house, virtually
from payouts import request

from billblend_async.core.models import OpenReason, Outcome, State
from billblend_async.core.responses import (
    Accepted,
    NoAnswer,
    NotFound,
    NotSent,
    Refused,
    SendAnswer,
    StatusAnswer,
    Unknown,
)
from billblend_async.errors import SendingStopped
from billblend_async.gateway.wire import RequestKind
from billblend_async.orchestrator.circuit_breaker import MOST_UNKNOWN, BackOff, Breaker

CHECK, PAY, STATUS = RequestKind.CHECK, RequestKind.PAY, RequestKind.STATUS
FINE = Accepted("1")
LOST = Unknown("ReadTimeout")
WELCOME = NotFound("101")
DENIED = NoAnswer("access denied (HTTP 403)", 403)
BROKEN = NoAnswer("HTTP 500", 500)


class Gate:
    """A breaker whose probe answers by plan, and then that all is well."""

    def __init__(self, *answers: StatusAnswer | Exception) -> None:
        self.answers = list(answers)
        self.probes = 0
        self.busy = 0
        self.most = 0
        self.breaker = Breaker(self.probe, 32)

    async def probe(self) -> StatusAnswer:
        """Answer after a while."""
        self.probes += 1
        await asyncio.sleep(0.1)
        answer = self.answers.pop(0) if self.answers else WELCOME
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def send(self, answer: SendAnswer) -> bool:
        """Send something that takes a second and ends in an answer; tell whether it was let go."""
        if not await self.breaker.admit():
            return False
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(1.0)
            self.breaker.learn(answer)
        finally:
            self.busy -= 1
            self.breaker.leave()
        return True

    async def send_many(self, count: int, answer: SendAnswer) -> int:
        """Send much at once and count what was let go."""
        return sum(await asyncio.gather(*(self.send(answer) for _ in range(count))))


def now() -> float:
    """Read the virtual clock."""
    return asyncio.get_running_loop().time()


class TestBreaker:
    @virtually
    async def test_ramp(self) -> None:
        """After one probe for all, sends go one, two, four at once, up to the most."""
        gate = Gate()

        assert 1000 == await gate.send_many(1000, FINE)
        assert 1 == gate.probes
        assert 36 < now() < 37  # rounds of 1, 2, 4, 8, 16, and all the rest in rounds of 32
        assert 32 == gate.most

    @virtually
    async def test_refused_access(self) -> None:
        """A key that the gateway refuses sends nothing, and says what to look at."""
        gate = Gate(DENIED)

        assert 0 == await gate.send_many(1000, FINE)
        assert (1, True) == (gate.probes, gate.breaker.is_barred)
        assert gate.breaker.is_hopeless(1e9)
        assert gate.breaker.trouble is not None
        assert "private key" in gate.breaker.trouble

    @pytest.mark.parametrize(
        ("answer", "word"),
        [
            (NoAnswer("access denied (HTTP 401)", 401), "private key"),
            (NoAnswer("HTTP 404", 404), "base URL"),
            (NoAnswer("error 5: ?", 200, readable=True, error_code="5"), "endpoint id"),
            (NoAnswer("error 2: ?", 200, readable=True, error_code="2"), "merchant control"),
        ],
    )
    def test_settings(self, answer: NoAnswer, word: str) -> None:
        """Each answer that a wrong setting causes names the setting to check."""

        class Case:
            @virtually
            async def run(self) -> None:
                gate = Gate(answer)
                assert not await gate.send(FINE)
                assert gate.breaker.is_barred
                assert word in (gate.breaker.trouble or "")

        Case().run()

    @pytest.mark.parametrize("answer", [NoAnswer("error 1: ?", 200, readable=True), WELCOME])
    def test_any_word_of_the_gateway_is_a_good_sign(self, answer: StatusAnswer) -> None:
        """What the gateway answers about an unknown order is not documented: any answer will do."""

        class Case:
            @virtually
            async def run(self) -> None:
                assert await Gate(answer).send(FINE)

        Case().run()

    @virtually
    async def test_outage_at_first(self) -> None:
        """While nothing is answered, one at a time is let go, ever more seldom."""
        gate = Gate(*[BROKEN] * 100)
        let_go = 0

        while now() < 200:
            let_go += await gate.send_many(10, LOST)
            await asyncio.sleep(0.5)

        assert (6, 6) == (gate.probes, let_go)  # after 5, 10, 20, 40, 60 s
        assert "get lost" in (gate.breaker.trouble or "")
        gate.answers.clear()
        await asyncio.sleep(60)
        assert 10 == await gate.send_many(10, FINE)
        assert gate.breaker.trouble is None

    @virtually
    async def test_probe_that_the_gateway_cannot_answer(self) -> None:
        """A gateway that breaks over an unknown order, and over nothing else, gets everything."""
        assert 100 == await Gate(BROKEN).send_many(100, FINE)

    @virtually
    async def test_unreachable(self) -> None:
        """A gateway that cannot be connected to is tried by few, with a sentence that says so."""
        gate = Gate(NoAnswer("ConnectError"))

        assert 1 == await gate.send_many(1000, NotSent("ConnectError"))
        assert "cannot be reached (ConnectError)" in (gate.breaker.trouble or "")

    @virtually
    async def test_hopeless(self) -> None:
        """An outage is waited out for as long as somebody is willing to."""
        gate = Gate(BROKEN)
        assert await gate.send(LOST)

        assert not gate.breaker.is_hopeless(2.0)
        assert not gate.breaker.is_barred
        await asyncio.sleep(3)
        assert gate.breaker.is_hopeless(2.0)
        await asyncio.sleep(3)
        assert await gate.send(FINE)
        assert not gate.breaker.is_hopeless(2.0)

    @virtually
    async def test_probe_that_raises(self) -> None:
        """A probe that fails in a way that nobody foresaw stops sends like an outage."""
        gate = Gate(RuntimeError("boom"))

        assert 0 == await gate.send_many(5, FINE)
        assert gate.breaker.trouble is not None

    @virtually
    async def test_lost_answers_at_first(self) -> None:
        """Three lost answers stop the ramp; then one is enough, until an answer comes."""
        gate = Gate()

        assert 3 == await gate.send_many(1000, LOST)
        assert 1 == gate.most
        sent = 3
        while now() < 120:
            sent += await gate.send_many(1000, LOST)
            await asyncio.sleep(1)
        assert 7 == sent
        assert "get lost" in (gate.breaker.trouble or "")

    @virtually
    async def test_lost_answers_later(self) -> None:
        """Ten lost answers in a row stop a stream; an answer between them does not."""
        gate = Gate()
        await gate.send_many(200, FINE)

        for _ in range(MOST_UNKNOWN - 1):
            assert await gate.send(LOST)
        assert await gate.send(FINE)
        for _ in range(MOST_UNKNOWN):
            assert await gate.send(LOST)
        assert not await gate.send(FINE)

    @virtually
    async def test_access_refused_later(self) -> None:
        """One refused access stops a stream at once, and the next probe tells whether it is us."""
        gate = Gate(WELCOME, DENIED)
        await gate.send_many(200, FINE)

        assert await gate.send(Unknown("access denied (HTTP 403)", 403))
        assert not await gate.send(FINE)
        assert not gate.breaker.is_barred
        await asyncio.sleep(6)
        assert not await gate.send(FINE)
        assert gate.breaker.is_barred

    @virtually
    async def test_refusals(self) -> None:
        """A refusal of one payout is an answer; a refusal of all of us stops everything."""
        gate = Gate()

        assert 20 == await gate.send_many(20, Refused("8", "bad number"))
        assert await gate.send(Refused("5", "no such endpoint"))
        assert 0 == await gate.send_many(20, FINE)
        assert gate.breaker.is_barred

    @virtually
    async def test_not_sent_does_not_speed_up(self) -> None:
        """Failures to connect do not speed the ramp up."""
        gate = Gate()

        assert 3 == await gate.send_many(50, NotSent("ConnectError"))
        assert 1 == gate.most

    @virtually
    async def test_late_answer_does_not_open(self) -> None:
        """An answer to what was sent before a stop does not let anything go."""
        gate = Gate()
        await gate.send_many(200, FINE)
        late = asyncio.create_task(gate.send(FINE))
        await asyncio.sleep(0.5)
        gate.breaker.learn(Unknown("access denied (HTTP 403)", 403))

        assert await late
        assert not gate.breaker.is_proven

    @virtually
    async def test_cancelled_in_line(self) -> None:
        """Whoever is cancelled in line, even with a turn in hand, blocks nobody behind."""
        gate = Gate()
        sends = [asyncio.create_task(gate.send(FINE)) for _ in range(60)]
        for step in range(60):
            await asyncio.sleep(0.05)
            if step % 3 == 1:
                sends[step].cancel()
        told = await asyncio.gather(*sends, return_exceptions=True)

        assert 0 == gate.busy
        assert 40 <= sum(one is True for one in told)
        assert 100 == await gate.send_many(100, FINE)

    @virtually
    async def test_cancelled_just_before_a_turn(self) -> None:
        """Whoever is cancelled in line takes no turn, even if one comes free before it has left."""
        for end in ("leave", "close"):
            gate = Gate()
            assert await gate.breaker.admit()
            waits = asyncio.create_task(gate.breaker.admit())
            await asyncio.sleep(0.1)
            waits.cancel()
            getattr(gate.breaker, end)()  # in the same turn of the loop

            with pytest.raises(asyncio.CancelledError):
                await waits
            if end == "leave":
                assert await gate.send(FINE)

    @virtually
    async def test_cancelled_with_a_turn_in_hand(self) -> None:
        """A turn that was given to somebody who is cancelled in the same moment is given on."""
        gate = Gate()
        assert await gate.breaker.admit()
        second = asyncio.create_task(gate.breaker.admit())
        third = asyncio.create_task(gate.breaker.admit())
        await asyncio.sleep(0.5)
        gate.breaker.leave()
        second.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await second

        assert await third

    @virtually
    async def test_closing(self) -> None:
        """Closing sends everybody home: who waits for the probe, and who waits for a turn."""
        gate, other = Gate(), Gate()
        await other.breaker.admit()
        waiting = [
            asyncio.create_task(b.admit()) for b in (gate.breaker, other.breaker, other.breaker)
        ]
        await asyncio.sleep(0.05)
        gate.breaker.close()
        other.breaker.close()

        assert [False] * 3 == await asyncio.gather(*waiting)
        assert not await other.breaker.admit()


class TestBackOff:
    @virtually
    async def test_grows_once_for_all(self) -> None:
        """A thousand failures at once count as one; the next ones double the pause."""
        back_off = BackOff()
        pauses = []
        for _ in range(8):
            for _ in range(1000):
                back_off.learn(NoAnswer("HTTP 503", 503))
            pauses.append(back_off.delay(0.0))
            await asyncio.sleep(pauses[-1])

        assert [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] == pauses

    @virtually
    async def test_spreads_those_who_wait(self) -> None:
        """Those who wait come back one after another, within one more pause."""
        back_off = BackOff()
        back_off.learn(NoAnswer("HTTP 503", 503))

        assert [2.0, 3.0, 4.0] == [back_off.delay(chance) for chance in (0.0, 0.5, 1.0)]

    @pytest.mark.parametrize("answer", [WELCOME, NoAnswer("error 1", 200, readable=True)])
    def test_any_answer_ends_it(self, answer: StatusAnswer) -> None:
        """An answer of the gateway, whatever it says, ends the pause."""

        class Case:
            @virtually
            async def run(self) -> None:
                back_off = BackOff()
                back_off.learn(NoAnswer("HTTP 503", 503))
                back_off.learn(answer)
                assert 0.0 == back_off.delay(1.0)

        Case().run()


async def run_batch(
    client: FakeClient, journal: MemoryJournal, count: int = 1000
) -> dict[str, Outcome]:
    """Run a batch to its end and tell its outcomes."""
    requests = [request(f"po-{n}") for n in range(count)]
    async with house(client, journal) as h:
        return {told.client_orderid: told async for told in h.payouts.run_many(requests)}


class TestBatch:
    @virtually
    async def test_wrong_key(self) -> None:
        """With a wrong key nothing is sent or accepted, and the mended key pays all of it."""
        client, journal = FakeClient(), MemoryJournal()
        client.probe_faults = [DENIED]
        told = await run_batch(client, journal)

        assert {State.NEW} == {outcome.state for outcome in told.values()}
        problems = {str(outcome.problem) for outcome in told.values()}
        assert 1 == len(problems)
        assert "private key" in problems.pop()
        assert (1, 0, {}) == (client.probes, len(client.gateway.requests), journal.events)
        assert now() < 5

        told = await run_batch(client, journal.twin())
        assert all(outcome.is_approved for outcome in told.values())
        assert 1000 == len(client.gateway.ledger)

    @virtually
    async def test_endpoint_that_only_a_check_finds_wrong(self) -> None:
        """A check that is turned away stops the batch after one send, and can be sent again."""
        client, journal = FakeClient(), MemoryJournal()
        client.faults[CHECK] = [Fault(reaches=False, answer=Refused("5", "no such endpoint"))]
        told = await run_batch(client, journal)

        assert 1 == client.sent.total()
        assert {State.NEW} == {outcome.state for outcome in told.values()}
        assert "endpoint id" in (told["po-0"].explanation or "")
        assert OpenReason.NOT_SENT is told["po-0"].open_reason
        assert now() < 5

        told = await run_batch(client, journal.twin())
        assert all(outcome.is_approved for outcome in told.values())
        assert 1000 == len(client.gateway.ledger)

    @virtually
    async def test_500_to_everything(self) -> None:
        """A gateway that answers 500 to everything is sent few; the batch ends in minutes."""
        client, journal = FakeClient(), MemoryJournal()
        client.probe_faults = [BROKEN] * 100
        client.faults[CHECK] = [Fault(reaches=False, answer=Unknown("HTTP 500", 500))] * 100
        client.faults[STATUS] = [Fault(reaches=False, answer=BROKEN)] * 10_000
        told = await run_batch(client, journal)

        assert client.sent.total() <= 6
        waiting = [outcome for outcome in told.values() if outcome.state is State.NEW]
        assert 994 <= len(waiting)
        assert all("get lost (HTTP 500)" in (one.explanation or "") for one in waiting)
        assert now() < 300

        client.probe_faults.clear()
        client.faults[CHECK].clear()
        client.faults[STATUS].clear()
        told = await run_batch(client, journal.twin())
        assert all(outcome.is_approved for outcome in told.values())

    @virtually
    async def test_500_to_every_send(self) -> None:
        """A gateway that loses every send is sent few; the mended one pays all of it once."""
        client, journal = FakeClient(), MemoryJournal()
        client.faults[CHECK] = [LOST_BEFORE] * 1000
        told = await run_batch(client, journal)

        assert client.sent.total() <= 12
        assert not any(outcome.is_finished for outcome in told.values())

        client.faults[CHECK].clear()
        told = await run_batch(client, journal.twin())
        assert all(outcome.is_approved for outcome in told.values())
        assert 1000 == len(client.gateway.ledger)

    @virtually
    async def test_key_that_is_revoked_midway(self) -> None:
        """Whoever waits to pay when the key is revoked is handed back with the reason."""
        client, journal = FakeClient(), MemoryJournal()
        denied = Fault(reaches=False, answer=Unknown("access denied (HTTP 403)", 403))
        client.faults[PAY] = [denied] * 200
        client.probe_faults = []

        async with house(client, journal) as h:
            runs = [asyncio.create_task(h.payouts.run(request(f"po-{n}"))) for n in range(100)]
            await asyncio.sleep(1.5)
            client.probe_faults = [DENIED] * 100
            told = await asyncio.gather(*runs)

        handed_back = [one for one in told if one.state is State.VALIDATED]
        assert 60 < len(handed_back)
        assert all("private key" in (one.explanation or "") for one in handed_back)
        assert 0 == len(client.gateway.ledger)

    @virtually
    async def test_finished_payouts_are_told_without_a_gateway(self) -> None:
        """What is finished is told from the journal, whatever the gateway says of us."""
        client, journal = FakeClient(), MemoryJournal()
        await run_batch(client, journal, 3)
        client.probe_faults = [DENIED] * 10
        probes = client.probes
        told = await run_batch(client, journal.twin(), 4)

        assert [True, True, True, False] == [told[f"po-{n}"].is_finished for n in range(4)]
        assert isinstance(told["po-3"].problem, SendingStopped)
        assert probes + 1 == client.probes

    @virtually
    async def test_service_goes_on_by_itself(self) -> None:
        """A service that stays open sends again soon after the gateway knows it again."""
        client = FakeClient()
        client.probe_faults = [DENIED] * 3
        told: list[Callable[[], bool]] = []
        async with house(client) as h:
            for n in range(200):
                with contextlib.suppress(SendingStopped):
                    assert (await h.payouts.run(request(f"po-{n}"))).is_approved
                    told.append(lambda: True)
                    break
                await asyncio.sleep(1)

        assert 1 == len(told)
        assert 5 + 10 + 20 < now() < 60

    @virtually
    async def test_polls_back_off_together(self) -> None:
        """While the gateway answers 503 to questions, all payouts together ask it seldom."""
        client = FakeClient()
        async with house(client) as h:
            runs = [asyncio.create_task(h.payouts.run(request(f"po-{n}"))) for n in range(100)]
            await asyncio.sleep(2)
            client.faults[STATUS] = [
                Fault(reaches=False, answer=NoAnswer("HTTP 503", 503)) for _ in range(5000)
            ]
            before = sum(map(len, client.asked.values()))
            await asyncio.sleep(300)
            asked = sum(map(len, client.asked.values())) - before
            client.faults[STATUS].clear()
            told = await asyncio.gather(*runs)

        # Each of the 100 would have asked 75 times.
        assert asked < 1500
        assert all(outcome.is_approved for outcome in told)
