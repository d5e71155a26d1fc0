"""Observers hear what happens, in its order, and nothing that they do reaches a payout."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from fakes import LOST_AFTER, LOST_BEFORE, NOT_CONNECTED, UNANSWERED, FakeClient, Fault
from house import House, house, virtually
from payouts import payout_in, request
from virtual_time import run_virtual

from billblend_async import Observer
from billblend_async.core.events import CheckStarted, Event
from billblend_async.core.models import Flow, State
from billblend_async.core.payout import Payout
from billblend_async.core.responses import Refused
from billblend_async.gateway.wire import RequestKind
from billblend_async.orchestrator.observer import Monitor

CHECK, PAY, STATUS = RequestKind.CHECK, RequestKind.PAY, RequestKind.STATUS
HOOKS = ("joined", "changed", "overtaken", "asked", "sent", "left")


class Ear(Observer):
    """Writes down all that it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def joined(self, payout: Payout) -> None:
        self.heard.append(("joined", payout.state))

    def changed(self, payout: Payout, event: Event) -> None:
        self.heard.append(("changed", type(event).__name__, payout.state))

    def overtaken(self, payout: Payout) -> None:
        self.heard.append(("overtaken", payout.state))

    def asked(self, payout: Payout, answer: str, seconds: float, late: float) -> None:
        self.heard.append(("asked", answer, round(seconds, 3)))

    def sent(self, payout: Payout, command: str, answer: str, seconds: float) -> None:
        self.heard.append(("sent", command, answer, round(seconds, 3)))

    def left(self, payout: Payout) -> None:
        self.heard.append(("left", payout.state))

    def of(self, hook: str) -> list[tuple[Any, ...]]:
        """Give what one of its methods has heard."""
        return [told[1:] for told in self.heard if told[0] == hook]


def listening(h: House, *observers: Any) -> None:
    """Let observers listen in an open house."""
    h.payouts._means.monitor = Monitor(observers)


class TestHeard:
    @virtually
    async def test_smooth(self) -> None:
        """Of a smooth payout all is heard in its order, and its first and last word fit."""
        async with house() as h:
            ear = Ear()
            listening(h, ear)
            await h.payouts.run(request())

            assert ("joined", State.NEW) == ear.heard[0]
            assert ("left", State.FINAL) == ear.heard[-1]
            assert h.names() == [event for event, _ in ear.of("changed")]
            assert [("payout-check", "accepted", 0.025), ("payout-pay", "accepted", 0.025)] == (
                ear.of("sent")
            )
            assert len(h.client.asked["po-1"]) == len(ear.of("asked"))
            assert {("report", 0.05)} == set(ear.of("asked"))
            names = [told[1] if told[0] == "changed" else told[0] for told in ear.heard]
            assert names.index("asked") < names.index("Validated") < names.index("PayStarted")
            assert names.index("Checked") + 1 == names.index("sent")

    @virtually
    async def test_one_step(self) -> None:
        """A one-step payout is heard of by its own name."""
        async with house() as h:
            ear = Ear()
            listening(h, ear)
            await h.payouts.run(request(), flow=Flow.ONE_STEP)

            assert [("payout", "accepted", 0.025)] == ear.of("sent")

    @virtually
    async def test_every_end(self) -> None:
        """Each end of a request is told by its name, and what never left took no time."""
        client = FakeClient()
        client.faults[CHECK] = [NOT_CONNECTED, LOST_AFTER]
        client.faults[PAY] = [LOST_BEFORE]
        client.faults[STATUS] = [UNANSWERED]
        async with house(client) as h:
            ear = Ear()
            listening(h, ear)
            assert State.ATTENTION is (await h.payouts.run(request())).state
            client.faults[CHECK] = [LOST_BEFORE, Fault(reaches=False, answer=Refused("8", "no"))]
            assert State.REJECTED is (await h.payouts.run(request("po-2"))).state

            assert [
                ("payout-check", "not-sent", 0.0),
                ("payout-check", "unknown", 0.025),
                ("payout-pay", "unknown", 0.025),
                ("payout-check", "unknown", 0.025),
                ("payout-check", "refused", 0.025),
            ] == ear.of("sent")
            assert {"report", "no-answer", "not-found"} == {answer for answer, _ in ear.of("asked")}

    @virtually
    async def test_many_tasks_join_once(self) -> None:
        """However many tasks run a payout, this process joins it and leaves it once."""
        async with house() as h:
            ear = Ear()
            listening(h, ear)
            await asyncio.gather(*(h.payouts.run(request()) for _ in range(20)))

            assert (1, 1) == (len(ear.of("joined")), len(ear.of("left")))

    @virtually
    async def test_late_answer(self) -> None:
        """The answer to a request whose run was cancelled is heard after it was left."""
        client = FakeClient()
        client.faults[PAY] = [Fault(delay=5.0)]
        async with house(client) as h:
            ear = Ear()
            listening(h, ear)
            task = asyncio.create_task(h.payouts.run(request()))
            while not client.sent[PAY, "po-1"]:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            assert [(State.PAYING,)] == ear.of("left")
            await client.drain()

            assert [
                ("left", State.PAYING),
                ("changed", "PayAccepted", State.AWAITING_FINAL),
                ("sent", "payout-pay", "accepted", 5.025),
            ] == ear.heard[-3:]

    @virtually
    async def test_overtaken(self) -> None:
        """What another process does is heard of as such, and not as a change of ours."""
        client = FakeClient()
        async with house(client) as h, house(client, h.journal.twin()) as other:
            ears = Ear(), Ear()
            listening(h, ears[0])
            listening(other, ears[1])
            told = await asyncio.gather(h.payouts.run(request()), other.payouts.run(request()))

            assert [True, True] == [outcome.is_approved for outcome in told]
            changes = [event for ear in ears for event, _ in ear.of("changed")]
            assert sorted(h.names()) == sorted({*changes})
            assert ears[0].of("overtaken") or ears[1].of("overtaken")
            assert len(changes) <= len(h.names()) + 1  # both may have opened it


def raising(hook: str, error: BaseException) -> Observer:
    """Make an observer that fails in one of its methods."""

    def fail(*_: object) -> None:
        raise error

    observer = Ear()
    setattr(observer, hook, fail)
    return observer


class TestFailures:
    @pytest.mark.parametrize("hook", HOOKS)
    def test_failing(self, hook: str, caplog: pytest.LogCaptureFixture) -> None:
        """Whatever an observer raises is logged by its class, and changes nothing."""
        assert set(HOOKS) == {name for name in vars(Observer) if not name.startswith("_")}
        errors = [LookupError("zq-secret"), asyncio.CancelledError("zq-secret"), GeneratorExit()]

        async def main() -> None:
            client = FakeClient()
            async with house(client) as h, house(client, h.journal.twin()) as other:
                after = Ear()
                listening(h, *(raising(hook, error) for error in errors), after)
                told = await asyncio.gather(h.payouts.run(request()), other.payouts.run(request()))

                assert {True} == {outcome.is_approved for outcome in told}
                assert 1 == client.paid("po-1") == client.sent[PAY, "po-1"]
                assert after.of(hook) or hook == "overtaken"
                h.payouts._means.monitor.overtaken(payout_in(State.NEW))

        virtually_run(main)
        failures = [r for r in caplog.records if "observer failed" in r.getMessage()]
        assert {"LookupError", "CancelledError", "GeneratorExit"} == {
            vars(record)["billblend_reason"] for record in failures
        }
        assert {logging.ERROR} == {record.levelno for record in failures}
        assert "zq-secret" not in caplog.text

    def test_failing_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """A host whose log filter fails is still paid for, once."""

        def fail(_: logging.LogRecord) -> bool:
            raise RuntimeError

        logger = logging.getLogger("billblend_async.orchestrator.observer")
        logger.setLevel(logging.DEBUG)
        logger.addFilter(fail)

        async def main() -> None:
            async with house() as h:
                assert (await h.payouts.run(request())).is_approved
                assert 1 == h.client.sent[PAY, "po-1"]
                assert 7 == len(h.told)

        try:
            virtually_run(main)
        finally:
            logger.removeFilter(fail)
            logger.setLevel(logging.NOTSET)

    def test_end_of_the_program(self) -> None:
        """An observer may end the program."""
        monitor = Monitor(raising("joined", SystemExit(3)))
        with pytest.raises(SystemExit):
            monitor.joined(payout_in(State.NEW))


def virtually_run(main: Callable[[], Any]) -> None:
    """Run an asynchronous function on a virtual clock."""
    run_virtual(main())


class TestGiven:
    def test_several_in_order(self) -> None:
        """Several observers, functions among them, are told in their order."""
        told: list[str] = []

        class First(Observer):
            def changed(self, payout: Payout, event: Event) -> None:
                told.append("first")

        def second(payout: Payout, event: Event) -> None:
            told.append("second")

        monitor = Monitor([First(), second, First()])
        monitor.changed(payout_in(State.CHECKING), CheckStarted(at=1.0), None)

        assert ["first", "second", "first"] == told

    def test_only_what_is_overridden_is_called(self) -> None:
        """An observer that overrides nothing costs no call."""
        monitor = Monitor([Observer.__new__(type("Deaf", (Observer,), {})), lambda *_: None])

        assert [0, 1, 0, 0, 0, 0] == [len(getattr(monitor, f"_{hook}")) for hook in HOOKS]

    def test_without_subclassing(self) -> None:
        """An object that has every method is an observer, and is not called itself."""

        @attrs.define
        class Quacks:
            told: list[str]

            def __call__(self, *_: object) -> None:
                self.told.append("called")

            def changed(self, payout: Payout, event: Event) -> None:
                self.told.append("changed")

            joined = overtaken = asked = sent = left = __call__

        quacks = Quacks([])
        Monitor(quacks).changed(payout_in(State.CHECKING), CheckStarted(at=1.0), None)

        assert ["changed"] == quacks.told

    def test_wrong_ones(self) -> None:
        """What could never be told anything is refused with a sentence that says why."""

        async def waits(payout: Payout, event: Event) -> None:
            """Wait."""

        class Waits(Observer):
            async def left(self, payout: Payout) -> None:  # type: ignore[override] # on purpose
                """Wait."""

        wrong: list[tuple[Any, str]] = [
            (Ear, "Ear\\(\\), and not its class"),
            (7, "int is neither"),
            ([Ear(), "x"], "str is neither"),
            (waits, "cannot be async"),
            (Waits(), "cannot be async"),
        ]
        for given, words in wrong:
            with pytest.raises(TypeError, match=words):
                Monitor(given)
