"""Shows payouts in OpenTelemetry: a span for each, its states within it, and metrics.

Give an ``OpenTelemetryObserver`` to the orchestrator and set up an SDK and its exporters as for the
rest of your service; the extra ``otel`` installs the API alone.

Spans: ``billblend.payout`` lasts for as long as this process drives a payout. Within it each state
is a span (``billblend.phase.validating``), and within its state each request that may move money is
one (``billblend.send.payout-pay``). Status requests are counted (``billblend.status.requests``);
one that ends in another way than the one before it is an event. A payout that goes on after a
restart, or that is stepped, hinted at or decided on, has a span each time, with
``billblend.resumed`` and the ``billblend.sequence`` it went on from; search by
``billblend.client_orderid`` to see all of them. A span is an error if it leaves the payout to a
person: in Attention, with an alarm, or with the gateway's status ``error``. A declined payout is no
error.

Metrics, whose attributes are few-valued words and never ids:

==============================  ==================================================================
``billblend.payouts``           ended payouts by state, status, currency and flow
``billblend.payouts.in_flight`` payouts that this process drives now, by state
``billblend.status.duration``   seconds for each status request, by answer
``billblend.status.lateness``   seconds that each status request left after it was due
``billblend.send.duration``     seconds from each claim to its answer, by command and answer
``billblend.attention``         payouts that came to need a person, by doubt
``billblend.alarms``            what did not fit, by alarm
==============================  ==================================================================

An ended payout is counted once, by the process that recorded its end. No amount is told: traces
travel far and are read by many, and whoever may know what was paid to whom has the journal.
"""

import time
from collections.abc import Callable
from typing import Final

import attrs

from .. import __version__
from ..core.events import CheckStarted, Event, Opened, PayStarted
from ..core.models import State
from ..core.payout import Payout
from ..core.responses import Status
from ..orchestrator.observer import Command, Observer, SendEnd, StatusEnd

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, trace
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ImportError(
        "OpenTelemetryObserver needs opentelemetry-api; install billblend-async[otel]"
    ) from missing

__all__ = ["OpenTelemetryObserver"]

_BUCKETS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_NANO: Final = 1_000_000_000


@attrs.define(eq=False)
class _Drive:
    """One time that this process drives a payout.

    Attributes:
        payout: As last heard of.
        parent: What its span belongs to.
        began: When, in nanoseconds since the epoch.
        span: Its span, once there is anything to tell.
        phase: The span of the state that it is in.
        claim: Where the request that was claimed last belongs, and when it was.
        asked: How many status requests there were in this state.
        answer: How the last status request ended.
    """

    payout: Payout
    parent: contexts.Context
    began: int
    span: trace.Span | None = None
    phase: trace.Span | None = None
    claim: tuple[contexts.Context, int] | None = None
    asked: int = 0
    answer: StatusEnd = "report"


class OpenTelemetryObserver(Observer):
    """Shows payouts as OpenTelemetry spans and metrics; make one for each orchestrator.

    Args:
        tracer_provider: Where spans go; the global one by default.
        meter_provider: Where metrics go; the global one by default.
        parent: What every payout's span belongs to; by default the span that is current where the
            payout is run.
        clock: Nanoseconds since the epoch.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        parent: contexts.Context | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tracer = trace.get_tracer("billblend_async", __version__, tracer_provider)
        self._parent = parent
        self._clock = clock
        self._drives: dict[str, _Drive] = {}
        meter = metrics.get_meter("billblend_async", __version__, meter_provider)
        self._ended = meter.create_counter(
            "billblend.payouts", "{payout}", "Payouts that have ended"
        )
        self._in_flight = meter.create_up_down_counter(
            "billblend.payouts.in_flight", "{payout}", "Payouts that this process drives now"
        )
        self._status_duration = meter.create_histogram(
            "billblend.status.duration",
            "s",
            "From a status request to its answer",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._status_lateness = meter.create_histogram(
            "billblend.status.lateness",
            "s",
            "From when a status request was due to when it left",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._send_duration = meter.create_histogram(
            "billblend.send.duration",
            "s",
            "From the claim of a request that may move money to its answer",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._attention = meter.create_counter(
            "billblend.attention", "{payout}", "Payouts that came to need a person"
        )
        self._alarms = meter.create_counter("billblend.alarms", "{alarm}", "What did not fit")

    def joined(self, payout: Payout) -> None:
        """Begin to watch; there is a span as soon as there is anything to tell."""
        if payout.client_orderid not in self._drives:
            parent = contexts.get_current() if self._parent is None else self._parent
            self._drives[payout.client_orderid] = _Drive(payout, parent, self._clock())
            self._in_flight.add(1, {"billblend.state": payout.state.value})

    def changed(self, payout: Payout, event: Event) -> None:
        """Count an end, a doubt and alarms; enter the next state."""
        drive = self._drives.get(payout.client_orderid)
        if drive is None:  # the answer to a request whose run was given up
            is_moved = payout.since == event.at
            found = tuple(each for each in payout.findings if each.number == payout.sequence)
        else:
            is_moved = drive.payout.state is not payout.state
            found = payout.findings[len(drive.payout.findings) :]
            self._show(drive, resumed=not isinstance(event, Opened))
            self._go_on(drive, payout, event)
        if is_moved and payout.state.is_terminal:
            self._ended.add(1, _ending(payout))
        if is_moved and payout.state is State.ATTENTION and payout.doubt is not None:
            self._attention.add(1, {"billblend.doubt": payout.doubt.value})
            self._mark(drive, "billblend.attention", {"billblend.doubt": payout.doubt.value})
        for each in found:
            self._alarms.add(1, {"billblend.alarm": each.alarm.value})
            self._mark(drive, "billblend.alarm", {"billblend.alarm": each.alarm.value})

    def overtaken(self, payout: Payout) -> None:
        """Enter the state into which another process has led the payout."""
        drive = self._drives.get(payout.client_orderid)
        if drive is not None:
            self._show(drive, resumed=True)
            self._mark(drive, "billblend.overtaken", {"billblend.sequence": payout.sequence})
            self._go_on(drive, payout, None)

    def asked(self, payout: Payout, answer: StatusEnd, seconds: float, late: float) -> None:
        """Measure a status request; tell of one that ended in another way than the last."""
        self._status_duration.record(seconds, {"billblend.answer": answer})
        self._status_lateness.record(late)
        drive = self._drives.get(payout.client_orderid)
        if drive is None:
            return
        self._show(drive, resumed=True)
        drive.asked += 1
        if drive.answer != answer and drive.phase is not None:
            told = {"billblend.answer": answer}
            drive.phase.add_event("billblend.status", told, timestamp=self._clock())
        drive.answer = answer

    def sent(self, payout: Payout, command: Command, answer: SendEnd, seconds: float) -> None:
        """Measure a request that may move money, and show it in the state that it was sent in."""
        told = {"billblend.command": command, "billblend.answer": answer}
        self._send_duration.record(seconds, told)
        drive = self._drives.get(payout.client_orderid)
        if drive is None:
            return
        self._show(drive, resumed=True)
        now = self._clock()
        where, start = drive.claim or (_within(drive.phase or drive.span), now)
        drive.claim = None
        span = self._tracer.start_span(
            f"billblend.send.{command}",
            where,
            kind=trace.SpanKind.CLIENT,
            attributes=told,
            start_time=start,
        )
        span.end(start + round(seconds * _NANO))

    def left(self, payout: Payout) -> None:
        """End the span: what this process does for the payout is over, if not the payout."""
        drive = self._drives.pop(payout.client_orderid, None)
        if drive is None:
            return
        self._in_flight.add(-1, {"billblend.state": drive.payout.state.value})
        span = drive.span
        if span is None:
            return
        try:
            self._end_phase(drive)
        finally:
            span.set_attributes(_standing(payout))
            doubts = [payout.doubt] if payout.state is State.ATTENTION else []
            errors = [Status.ERROR] if payout.needs_reconciliation else []
            if words := [*doubts, *payout.open_alarms[-1:], *errors]:
                span.set_status(trace.StatusCode.ERROR, str(words[0]))
            span.end(self._clock())

    def _show(self, drive: _Drive, *, resumed: bool) -> None:
        """Begin the span of a payout, at the time at which this process began to drive it."""
        if drive.span is None:
            attributes = {
                "billblend.client_orderid": drive.payout.client_orderid,
                "billblend.flow": drive.payout.flow.value,
                "billblend.currency": drive.payout.currency,
                "billblend.resumed": resumed,
                "billblend.sequence": drive.payout.sequence,
            }
            drive.span = self._tracer.start_span(
                "billblend.payout", drive.parent, attributes=attributes, start_time=drive.began
            )
            self._begin_phase(drive, drive.began)

    def _go_on(self, drive: _Drive, payout: Payout, event: Event | None) -> None:
        """Enter the state that a payout has come into, or tell what has happened within one."""
        if payout.sequence < drive.payout.sequence:
            return  # told late, of what is over
        before, drive.payout = drive.payout.state, payout
        if before is payout.state:
            if event is not None and drive.phase is not None:
                name = f"billblend.{type(event).__name__}"
                drive.phase.add_event(name, timestamp=self._clock())
            return
        self._in_flight.add(-1, {"billblend.state": before.value})
        self._in_flight.add(1, {"billblend.state": payout.state.value})
        self._end_phase(drive)
        now = self._clock()
        self._begin_phase(drive, now)
        if isinstance(event, CheckStarted | PayStarted):
            drive.claim = (_within(drive.phase), now)

    def _begin_phase(self, drive: _Drive, at: int) -> None:
        if not drive.payout.state.is_terminal:
            name = f"billblend.phase.{drive.payout.state.value}"
            drive.phase = self._tracer.start_span(name, _within(drive.span), start_time=at)

    def _end_phase(self, drive: _Drive) -> None:
        phase, drive.phase = drive.phase, None
        asked, drive.asked = drive.asked, 0
        if phase is not None:
            phase.set_attribute("billblend.status.requests", asked)
            phase.end(self._clock())

    def _mark(self, drive: _Drive | None, name: str, attributes: dict[str, str | int]) -> None:
        if drive is not None and drive.span is not None:
            drive.span.add_event(name, attributes, timestamp=self._clock())


def _within(span: trace.Span | None) -> contexts.Context:
    """Give the context of what belongs to a span."""
    empty = contexts.Context()
    return empty if span is None else trace.set_span_in_context(span, empty)


def _ending(payout: Payout) -> dict[str, str]:
    """Give the few-valued words that say how a payout ended."""
    words = {
        "billblend.state": payout.state.value,
        "billblend.currency": payout.currency,
        "billblend.flow": payout.flow.value,
    }
    if payout.status is not None:
        words["billblend.status"] = str(payout.status)
    return words


def _standing(payout: Payout) -> dict[str, str]:
    """Give where a payout stands when this process leaves it."""
    told = {
        "billblend.state": payout.state.value,
        "billblend.paynet_order_id": payout.paynet_order_id,
        "billblend.status": payout.status and str(payout.status),
        "billblend.order_stage": payout.order_stage,
        "billblend.error_code": payout.error_code,
    }
    return {name: word for name, word in told.items() if word is not None}
