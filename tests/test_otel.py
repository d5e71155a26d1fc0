"""What a trace viewer and a metrics page show of payouts, from the SDK's own exporters."""

import asyncio
import builtins
import gc
import importlib
import sys
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from fakes import LOST_AFTER, LOST_BEFORE, NOT_CONNECTED, UNANSWERED, FakeClient, Fault
from house import house, virtually
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from payouts import LINK, finished, payout_in, request

from billblend_async import OpenTelemetryObserver
from billblend_async.core.models import Deadlines, Flow, State
from billblend_async.core.responses import Status, StatusReport
from billblend_async.gateway.wire import RequestKind
from billblend_async.orchestrator.observer import Monitor
from billblend_async.orchestrator.orchestrator import Orchestrator

CHECK, PAY, STATUS = RequestKind.CHECK, RequestKind.PAY, RequestKind.STATUS
DECLINED, ERROR = "0987654321", "1987654321"
PHASE = "billblend.phase."


class Screen:
    """An SDK whose exporters keep what they are given."""

    def __init__(self, **options: Any) -> None:
        self.spans = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.observer = OpenTelemetryObserver(
            tracer_provider=self.tracers,
            meter_provider=self.meters,
            clock=lambda: round(FakeClient.wall_clock() * 1e9),
            **options,
        )

    def watch(self, payouts: Orchestrator) -> None:
        """Watch an open orchestrator."""
        payouts._means.monitor = Monitor(self.observer)

    def named(self, name: str) -> list[ReadableSpan]:
        """Give the finished spans of a name, the earliest first."""
        found = [span for span in self.spans.get_finished_spans() if span.name == name]
        return sorted(found, key=lambda span: span.start_time or 0)

    def phases(self) -> list[str]:
        """Name the states that were shown, in their order."""
        spans = [s for s in self.spans.get_finished_spans() if s.name.startswith(PHASE)]
        return [span.name.removeprefix(PHASE) for span in spans]

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Give each metric's figures by the values of its attributes in the order of their names.

        A histogram's figure is the number of its measurements.
        """
        data = self.reader.get_metrics_data()
        told: dict[str, dict[tuple[str, ...], float]] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            points = told.setdefault(metric.name, {})
            for point in metric.data.data_points:
                words = tuple(str(word) for _, word in sorted((point.attributes or {}).items()))
                figure: Any = point
                points[words] = figure.count if hasattr(figure, "count") else figure.value
        return told


def told(span: ReadableSpan) -> dict[str, Any]:
    """Give a span's attributes without their common prefix."""
    return {name.removeprefix("billblend."): word for name, word in (span.attributes or {}).items()}


def seconds(span: ReadableSpan) -> float:
    """Give how long a span lasted."""
    assert span.start_time is not None
    assert span.end_time is not None
    return round((span.end_time - span.start_time) / 1e9, 3)


def parent(span: ReadableSpan) -> int | None:
    """Give the id of the span that a span belongs to."""
    return span.parent and span.parent.span_id


def own(span: ReadableSpan) -> int:
    """Give the id of a span."""
    assert span.context is not None
    return int(span.context.span_id)


class TestSpans:
    @virtually
    async def test_smooth(self) -> None:
        """A payout is a span, its states lie end to end within it, and its sends within those."""
        screen = Screen()
        async with house() as h:
            screen.watch(h.payouts)
            outcome = await h.payouts.run(request())

        (root,) = screen.named("billblend.payout")
        assert {
            "client_orderid": "po-1",
            "paynet_order_id": outcome.paynet_order_id,
            "flow": "check-pay",
            "currency": "USD",
            "resumed": False,
            "sequence": 0,
            "state": "final",
            "status": "approved",
            "order_stage": "payout_approved",
        } == told(root)
        assert parent(root) is None
        assert root.status.is_unset
        order = ["new", "checking", "validating", "validated", "paying", "awaiting-final"]
        assert order == screen.phases()
        phases = [screen.named(PHASE + state)[0] for state in order]
        assert {own(root)} == {parent(phase) for phase in phases}
        assert [root.start_time, *(phase.end_time for phase in phases)] == [
            *(phase.start_time for phase in phases),
            root.end_time,
        ]
        asked = sum(told(phase)["status.requests"] for phase in phases)
        assert len(h.client.asked["po-1"]) == asked
        for command, state in (("payout-check", "checking"), ("payout-pay", "paying")):
            (send,) = screen.named(f"billblend.send.{command}")
            (phase,) = screen.named(PHASE + state)
            assert {"command": command, "answer": "accepted"} == told(send)
            assert (own(phase), phase.start_time) == (parent(send), send.start_time)
            assert (trace.SpanKind.CLIENT, 0.025) == (send.kind, seconds(send))
            assert seconds(send) <= seconds(phase)
        assert "10.42" not in "".join(s.to_json() for s in screen.spans.get_finished_spans())

    @virtually
    async def test_declined(self) -> None:
        """A declined payout is no error, and one that the gateway calls error is."""
        screen = Screen()
        async with house() as h:
            screen.watch(h.payouts)
            await h.payouts.run(request(account_number=DECLINED))
            await h.payouts.run(request("po-2", account_number=ERROR))

        declined, error = screen.named("billblend.payout")
        assert ("declined", "20001") == (told(declined)["status"], told(declined)["error_code"])
        assert declined.status.is_unset
        assert (False, "error") == (error.status.is_ok, error.status.description)
        assert trace.StatusCode.ERROR is error.status.status_code

    @virtually
    async def test_attention(self) -> None:
        """A payout that is left to a person is an error that names the doubt."""
        client = FakeClient()
        client.faults[PAY] = [LOST_BEFORE]
        screen = Screen()
        async with house(client, deadlines=Deadlines(doubt=60.0)) as h:
            screen.watch(h.payouts)
            assert State.ATTENTION is (await h.payouts.run(request())).state

            (root,) = screen.named("billblend.payout")
            assert "pay-unconfirmed" == root.status.description
            (event,) = [e for e in root.events if e.name == "billblend.attention"]
            assert {"billblend.doubt": "pay-unconfirmed"} == dict(event.attributes or {})
            (send,) = screen.named("billblend.send.payout-pay")
            assert "unknown" == told(send)["answer"]
            assert send.status.is_unset

            await asyncio.sleep(120)
            await h.payouts.release("po-1", who="ann", why="support says no")
            assert (await h.payouts.run(request())).is_approved

        spans = screen.named("billblend.payout")
        assert [False, True, True] == [told(span)["resumed"] for span in spans]
        assert [False, True, True] == [span.status.is_unset for span in spans]
        assert {("pay-unconfirmed",): 1} == screen.metrics()["billblend.attention"]

    @virtually
    async def test_alarm(self) -> None:
        """An alarm is an event, is counted, and makes an error of an approved payout."""
        client = FakeClient()
        wrong = StatusReport(
            type="status-response",
            status=Status("approved"),
            paynet_order_id="1",
            merchant_order_id="po-1",
            amount=request().amount * 2,
            currency="USD",
        )
        screen = Screen()
        async with house(client) as h:
            screen.watch(h.payouts)
            task = asyncio.create_task(h.payouts.run(request()))
            while not client.count(PAY):
                await asyncio.sleep(0.01)
            order = h.payouts._crew.get("po-1")
            assert order is not None
            report = attrs.evolve(wrong, paynet_order_id=order.payout.paynet_order_id)
            client.faults[STATUS] = [Fault(answer=report)]
            assert (await task).is_approved
            await h.payouts.acknowledge("po-1", who="ann", why="booked")

        root, seen = screen.named("billblend.payout")
        assert seen.status.is_unset
        assert [] == [event.name for event in seen.events]
        assert "amount-differs" == root.status.description
        assert ["billblend.alarm"] == [event.name for event in root.events]
        assert {("amount-differs",): 1} == screen.metrics()["billblend.alarms"]

    @virtually
    async def test_redirect(self) -> None:
        """A payout that waits for its receiver shows that wait, and not the link."""
        client = FakeClient()
        screen = Screen()
        async with house(client) as h:
            screen.watch(h.payouts)
            task = asyncio.create_task(h.payouts.run(request()))
            while not client.count(PAY):
                await asyncio.sleep(0.01)
            driver = h.payouts._crew.get("po-1")
            assert driver is not None
            waits = StatusReport(
                type="status-response",
                status=Status("processing"),
                paynet_order_id=driver.payout.paynet_order_id,
                merchant_order_id="po-1",
                redirect_to=LINK,
            )
            client.faults[STATUS] = [Fault(answer=waits)]
            assert (await task).is_approved

        assert "awaiting-receiver" in screen.phases()
        shown = "".join(span.to_json() for span in screen.spans.get_finished_spans())
        assert LINK not in shown

    @virtually
    async def test_trouble_is_told_once(self) -> None:
        """Of questions that end alike the first is an event, and all are counted."""
        client = FakeClient()
        client.faults[CHECK] = [NOT_CONNECTED, LOST_AFTER]
        client.faults[STATUS] = [UNANSWERED] * 3
        screen = Screen()
        async with house(client) as h:
            screen.watch(h.payouts)
            assert (await h.payouts.run(request())).is_approved

        checking = screen.named(PHASE + "checking")[0]
        answers = [dict(e.attributes or {})["billblend.answer"] for e in checking.events]
        assert ["no-answer", "report"] == answers
        assert 4 == told(checking)["status.requests"]
        sends = screen.named("billblend.send.payout-check")
        assert ["not-sent", "unknown"] == [told(send)["answer"] for send in sends]
        assert [0.0, 0.025] == [seconds(send) for send in sends]

    @virtually
    async def test_cancelled_and_joined_again(self) -> None:
        """A span ends when the run is cancelled; the next run has one that says it was resumed."""
        client = FakeClient()
        client.faults[PAY] = [Fault(delay=5.0)]
        screen = Screen()
        async with house(client) as h:
            screen.watch(h.payouts)
            task = asyncio.create_task(h.payouts.run(request()))
            while not client.sent[PAY, "po-1"]:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            (first,) = screen.named("billblend.payout")
            await client.drain()  # its late answer ends no span twice
            assert (await h.payouts.run(request())).is_approved

        _, second = screen.named("billblend.payout")
        assert ("paying", "final") == (told(first)["state"], told(second)["state"])
        assert (True, 5) == (told(second)["resumed"], told(second)["sequence"])
        assert {("USD", "check-pay", "final", "approved"): 1} == (
            screen.metrics()["billblend.payouts"]
        )

    @virtually
    async def test_resumed_after_a_restart(self) -> None:
        """A program that starts anew shows from where it went on."""
        client = FakeClient()
        async with house(client) as h:
            task = asyncio.create_task(h.payouts.run(request()))
            while not client.count(CHECK):
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
        screen = Screen()
        async with house(client, h.journal.twin()) as again:
            screen.watch(again.payouts)
            assert [True] == [told.is_approved async for told in again.payouts.resume()]

        (root,) = screen.named("billblend.payout")
        assert (True, 2) == (told(root)["resumed"], told(root)["sequence"])
        assert "validating" == screen.phases()[0]

    @virtually
    async def test_overtaken(self) -> None:
        """States into which another process leads a payout are shown, and its end counted once."""
        client = FakeClient()
        screens = Screen(), Screen()
        async with house(client) as h, house(client, h.journal.twin()) as other:
            screens[0].watch(h.payouts)
            screens[1].watch(other.payouts)
            both = await asyncio.gather(h.payouts.run(request()), other.payouts.run(request()))

        assert [True, True] == [outcome.is_approved for outcome in both]
        roots = [screen.named("billblend.payout")[0] for screen in screens]
        assert ["final", "final"] == [told(root)["state"] for root in roots]
        assert "billblend.overtaken" in {event.name for root in roots for event in root.events}
        ends = [screen.metrics().get("billblend.payouts", {}) for screen in screens]
        assert 1 == sum(sum(end.values()) for end in ends)

    @virtually
    async def test_callers_span_is_the_parent(self) -> None:
        """A payout's span belongs to the span in which it is run, also in a batch."""
        screen = Screen()
        tracer = screen.tracers.get_tracer("host")
        async with house() as h:
            screen.watch(h.payouts)
            with tracer.start_as_current_span("request") as outer:
                await h.payouts.run(request())
                _ = [o async for o in h.payouts.run_many([request(f"po-{n}") for n in (2, 3)])]
            await h.payouts.run(request("po-4"))

        roots = screen.named("billblend.payout")
        here = outer.get_span_context().span_id
        assert [here, here, here, None] == [parent(root) for root in roots]

    @virtually
    async def test_given_parent(self) -> None:
        """A parent that is given stands before the span in which a payout is run."""
        provider = TracerProvider(shutdown_on_exit=False)
        job = provider.get_tracer("host").start_span("job")
        screen = Screen(parent=trace.set_span_in_context(job))
        async with house() as h:
            screen.watch(h.payouts)
            with provider.get_tracer("host").start_as_current_span("request"):
                await h.payouts.run(request())

        (root,) = screen.named("billblend.payout")
        assert job.get_span_context().span_id == parent(root)

    @virtually
    async def test_nothing_to_tell(self) -> None:
        """A payout that was finished long ago has no span when it is handed in again."""
        screen = Screen()
        async with house() as h:
            await h.payouts.run(request())
            screen.watch(h.payouts)
            assert (await h.payouts.run(request())).is_approved

        assert () == screen.spans.get_finished_spans()


class TestMetrics:
    @virtually
    async def test_figures(self) -> None:
        """Ends, requests and payouts in flight are counted by words, and no id is among them."""
        client = FakeClient()
        client.faults[CHECK] = [NOT_CONNECTED]
        screen = Screen()
        seen: list[dict[tuple[str, ...], float]] = []
        async with house(client) as h:
            screen.watch(h.payouts)
            batch = [request(f"po-{n}") for n in range(8)]
            batch += [request(f"declined-{n}", account_number=DECLINED) for n in range(2)]
            task = asyncio.create_task(_all(h.payouts.run_many(batch)))
            while not task.done():
                seen.append(screen.metrics().get("billblend.payouts.in_flight", {}))
                await asyncio.sleep(0.2)
            await h.payouts.run(request("po-9", currency="EUR"), flow=Flow.ONE_STEP)
            orders = {driver.client_orderid for driver in await task}

        figures = screen.metrics()
        assert {
            ("USD", "check-pay", "final", "approved"): 8,
            ("USD", "check-pay", "final", "declined"): 2,
            ("EUR", "one-step", "final", "approved"): 1,
        } == figures["billblend.payouts"]
        assert {0.0} == set(figures["billblend.payouts.in_flight"].values())
        assert max(sum(flying.values()) for flying in seen) == 10
        assert all(figure >= 0 for flying in seen for figure in flying.values())
        assert {
            ("accepted", "payout-check"): 10,
            ("not-sent", "payout-check"): 1,
            ("accepted", "payout-pay"): 10,
            ("accepted", "payout"): 1,
        } == figures["billblend.send.duration"]
        asked = sum(len(times) for times in client.asked.values())
        assert {("report",): asked} == figures["billblend.status.duration"]
        assert {(): asked} == figures["billblend.status.lateness"]
        words = {word for points in figures.values() for key in points for word in key}
        assert not words & orders

    @virtually
    async def test_lateness(self) -> None:
        """How late each status request left is measured."""
        screen = Screen()
        for late in (0.0, 0.25, 1.5):
            screen.observer.asked(payout_in(State.VALIDATING), "report", 2.0, late)
        data = screen.reader.get_metrics_data()
        assert data is not None
        [point] = [
            point
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == "billblend.status.lateness"
            for point in metric.data.data_points
        ]
        figure: Any = point

        assert (3, 1.75, 1.5, {}) == (figure.count, figure.sum, figure.max, figure.attributes)

    @virtually
    async def test_late_end(self) -> None:
        """An end that is learned after its run was given up is counted."""
        screen = Screen()
        final = payout_in(State.FINAL)
        screen.observer.changed(final, finished(at=final.since))

        figures = screen.metrics()
        assert {("USD", "check-pay", "final", "approved"): 1} == figures["billblend.payouts"]
        assert () == screen.spans.get_finished_spans()


async def _all(outcomes: Any) -> list[Any]:
    return [outcome async for outcome in outcomes]


class _Broken(SpanExporter, SpanProcessor):
    """Fails wherever it can."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()

    def _fail(self, where: str) -> Any:
        self.failures[where] += 1
        raise RuntimeError(where)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._fail("export")  # type: ignore[no-any-return] # it never returns

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._fail("on_start")

    def on_end(self, span: ReadableSpan) -> None:
        self._fail("on_end")


class TestHarmless:
    @pytest.mark.parametrize("where", ["export", "on_start", "on_end"])
    def test_failing_exporter(self, where: str) -> None:
        """Whatever fails in the SDK reaches no payout, and nothing of it is kept."""
        broken = _Broken()

        @virtually
        async def main(_: Any) -> None:
            screen = Screen()
            if where == "export":
                screen.tracers.add_span_processor(SimpleSpanProcessor(broken))
            else:
                only = type("Only", (SpanProcessor,), {where: getattr(broken, where)})()
                screen.tracers.add_span_processor(only)
            async with house() as h:
                screen.watch(h.payouts)
                outcomes = await asyncio.gather(
                    *(h.payouts.run(request(f"po-{n}")) for n in range(5))
                )
                assert {True} == {outcome.is_approved for outcome in outcomes}
                assert {1} == {h.client.paid(f"po-{n}") for n in range(5)}
            assert {} == screen.observer._drives

        main(self)
        assert broken.failures[where] >= 5

    @virtually
    async def test_nothing_is_kept(self) -> None:
        """The spans of payouts that this process has left are let go."""
        screen = Screen()
        seen: list[weakref.ref[Any]] = []
        screen.tracers.add_span_processor(_Watcher(seen))
        async with house() as h:
            screen.watch(h.payouts)
            _ = await _all(h.payouts.run_many([request(f"po-{n}") for n in range(20)]))
            screen.spans.clear()
            gc.collect()

            assert len(seen) > 100
            assert [] == [ref for ref in seen if ref() is not None]
            assert {} == screen.observer._drives

    @virtually
    async def test_without_an_sdk(self) -> None:
        """Without an SDK everything runs and nothing is shown."""
        async with house() as h:
            h.payouts._means.monitor = Monitor(OpenTelemetryObserver())
            assert (await h.payouts.run(request())).is_approved


class _Watcher(SpanProcessor):
    def __init__(self, seen: list[weakref.ref[Any]]) -> None:
        self._seen = seen

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._seen.append(weakref.ref(span))


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry the name says which extra to install."""
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "billblend_async.integrations.otel")
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"install billblend-async\[otel\]"):
        importlib.import_module("billblend_async.integrations.otel")
