"""A journal in memory and a client without a network: the real rules, no threads, no sockets."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import attrs

from billblend_async.core.events import Event, Opened, Restored
from billblend_async.core.machine import Payout, evolve
from billblend_async.core.models import Endpoint, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import (
    Callback,
    NoAnswer,
    NotFound,
    NotSent,
    SendAnswer,
    StatusAnswer,
    Unknown,
)
from billblend_async.errors import (
    ClaimLost,
    ClosedError,
    ConfigurationError,
    InvalidInput,
    JournalRolledBack,
    JournalUnavailable,
    Problem,
)
from billblend_async.gateway.callbacks import verify_callback
from billblend_async.gateway.wire import (
    RequestKind,
    build_pay,
    build_payout,
    build_status,
    read_send_answer,
    read_status_answer,
)
from billblend_async.journal import Owner
from billblend_async.journal.codec import erase_secrets, fold_events, write_event
from billblend_async.sandbox import Gateway

EPOCH = 1_800_000_000.0

MERCHANT_CONTROL = "AF4B5DE6-3468-424C-A922-C1DAD7CB4509"


class MemoryJournal:
    """A journal that forgets everything with its process; it keeps the promises of the protocol.

    It needs no thread, so it works under a virtual clock.

    Attributes:
        events: The events of each payout.
        marks: What is noted of the whole journal.
        is_full: Whether it can be written or read.
        notices: Whether it notices by itself, as the real ones do, that what it wrote is gone.
    """

    def __init__(self, *, notices: bool = False) -> None:
        self.events: dict[str, list[Event]] = {}
        self.marks: list[str] = []
        self.is_full = False
        self.notices = notices
        self._written: tuple[str, int, Event] | None = None
        self._rolled_back: JournalRolledBack | None = None
        self._state = "new"
        self._busy = 0
        self._key = os.urandom(32)
        self._loop: asyncio.AbstractEventLoop | None = None

    def twin(self) -> "MemoryJournal":
        """Make a second journal over the same events, as two programs have on one file."""
        twin = MemoryJournal()
        twin.events, twin.marks, twin._key = self.events, self.marks, self._key
        return twin

    @property
    def fingerprint_key(self) -> bytes:
        """The key of this journal."""
        if self._state != "open":
            raise ClosedError("journal")
        return self._key

    async def open(self, owner: Owner) -> None:
        """Open; whose it is does not matter here."""
        assert owner.login
        if self._state != "new":
            raise ConfigurationError("a journal is opened once")
        self._state, self._loop = "open", asyncio.get_running_loop()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Let others run before something is read or written, as a real journal does."""
        if self._state != "open":
            raise ClosedError("journal")
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError("the journal was opened in another event loop")
        self._busy += 1
        try:
            await asyncio.sleep(0)
            if self.is_full:
                raise JournalUnavailable("memory", "disk full")
            self._look_back()
            yield
        finally:
            self._busy -= 1

    def _look_back(self) -> None:
        """Mark it as restored when the last entry of this journal is gone."""
        if self.notices and self._rolled_back is None and self._written is not None:
            name, sequence, event = self._written
            if self.events.get(name, [])[sequence : sequence + 1] not in (
                [event],
                [erase_secrets(event)],
            ):
                self._mark(event.at)
                self._rolled_back = JournalRolledBack("memory", f"{name} is gone", is_marked=True)
        if self._rolled_back is not None:
            raise attrs.evolve(self._rolled_back)

    def _note(self, client_orderid: str) -> None:
        events = self.events[client_orderid]
        self._written = client_orderid, len(events) - 1, events[-1]

    def _fold(self, client_orderid: str) -> Payout:
        return fold_events(client_orderid, self.events[client_orderid])

    async def accept(self, opened: Opened) -> Payout:
        """Accept a payout once."""
        _check_id(opened.client_orderid)
        write_event(opened)
        async with self._turn():
            if opened.client_orderid not in self.events:
                restored = [Restored(at=opened.at)] if self.marks else []
                self.events[opened.client_orderid] = [opened, *restored]
                self._note(opened.client_orderid)
            return self._fold(opened.client_orderid)

    async def append(self, becomes: Payout, event: Event) -> None:
        """Write an event in the next place or not at all."""
        write_event(event)
        async with self._turn():
            events = self.events.get(becomes.client_orderid, [])
            if len(events) != becomes.sequence:
                raise ClaimLost(becomes.client_orderid, becomes.sequence)
            events.append(event)
            self._note(becomes.client_orderid)
            if becomes.state.is_terminal:
                events[:] = [erase_secrets(event) or event for event in events]

    async def declare_restored(self, at: float) -> int:
        """Mark what is unfinished and what is to come."""
        async with self._turn():
            return self._mark(at)

    def _mark(self, at: float) -> int:
        self.marks[:] = ["restored"]
        marked = 0
        for client_orderid, events in self.events.items():
            payout, event = self._fold(client_orderid), Restored(at=at)
            if evolve(payout, event) is not payout:
                events.append(event)
                self._note(client_orderid)
                marked += 1
        return marked

    async def declare_complete(self) -> None:
        """Mark nothing more."""
        async with self._turn():
            self.marks.clear()

    async def load(self, client_orderid: str) -> Payout | None:
        """Fold a payout."""
        _check_id(client_orderid)
        async with self._turn():
            return self._fold(client_orderid) if client_orderid in self.events else None

    async def history(self, client_orderid: str) -> list[Event]:
        """Copy a payout's events."""
        async with self._turn():
            return list(self.events.get(client_orderid, ()))

    async def payouts(self, states: Collection[State] | None = None) -> AsyncIterator[Payout]:
        """Fold every payout."""
        async with self._turn():
            ids = list(self.events)
        for client_orderid in ids:
            payout = self._fold(client_orderid)
            if states is None or payout.state in states:
                yield payout

    async def aclose(self) -> None:
        """Finish what was handed in and close."""
        self._state = "closed"
        while self._busy:
            await asyncio.sleep(0)


def _check_id(client_orderid: str) -> None:
    try:
        client_orderid.encode()
    except UnicodeEncodeError:
        raise InvalidInput((Problem("client_orderid", "must be text"),)) from None


@attrs.define
class Fault:
    """What happens to one request.

    Attributes:
        reaches: Whether the gateway acts on it.
        answer: What the client makes of it; None for the gateway's own answer.
        delay: Seconds until the answer is there.
        claims: Whether ``before_send`` is called.
    """

    reaches: bool = True
    answer: SendAnswer | StatusAnswer | None = None
    delay: float = 0.0
    claims: bool = True


LOST_BEFORE = Fault(reaches=False, answer=Unknown("ReadTimeout"))
LOST_AFTER = Fault(answer=Unknown("ReadTimeout"))
NOT_CONNECTED = Fault(reaches=False, answer=NotSent("ConnectError"), claims=False)
UNANSWERED = Fault(reaches=False, answer=NoAnswer("HTTP 503", 503))


class FakeClient:
    """A client that hands every request to the sandbox's model, with faults by plan.

    Attributes:
        gateway: The model, whose ledger is the truth.
        faults: For each kind of request, what happens to the next ones.
        asked: The instants of the status requests, by client_orderid.
    """

    def __init__(self, gateway: Gateway | None = None, latency: float = 0.05) -> None:
        self.gateway = gateway or Gateway(validation=2.0, processing=2.0)
        self.endpoint = Endpoint(base_url="http://127.0.0.1/checkout", endpoint_id=39915)
        self.login = "fake"
        self.max_sends = 64
        self.latency = latency
        self.faults: dict[RequestKind, list[Fault]] = {kind: [] for kind in RequestKind}
        self.asked: dict[str, list[float]] = {}
        self.sent: Counter[tuple[RequestKind, str]] = Counter()
        self.probes = 0
        self.probe_faults: list[NoAnswer] = []
        self.in_flight: set[asyncio.Task[SendAnswer]] = set()

    def verify_callback(self, query: str | bytes) -> Callback:
        """Verify a callback as the real client does."""
        return verify_callback(query, [MERCHANT_CONTROL])

    @staticmethod
    def wall_clock() -> float:
        """The wall clock that goes with the virtual loop."""
        return EPOCH + asyncio.get_running_loop().time()

    def paid(self, client_orderid: str) -> int:
        """How often the gateway paid it."""
        return self.gateway.paid(client_orderid)

    def count(self, kind: RequestKind, client_orderid: str = "po-1") -> int:
        """How many requests of a kind the gateway acted on for a payout."""
        seen = self.gateway.requests
        return sum(1 for r in seen if (r.kind, r.client_orderid) == (kind, client_orderid))

    async def drain(self) -> None:
        """Wait for what is under way."""
        while self.in_flight:
            await asyncio.wait(self.in_flight)

    def _next_fault(self, kind: RequestKind) -> Fault:
        return self.faults[kind].pop(0) if self.faults[kind] else Fault()

    def _handle(self, kind: RequestKind, fields: Mapping[str, str]) -> dict[str, str]:
        return self.gateway.handle(kind, self.endpoint, self.login, fields, self.wall_clock())

    async def _send(
        self,
        kind: RequestKind,
        fields: dict[str, str],
        before_send: Callable[[], Awaitable[None]] | None,
        after: Callable[[SendAnswer], Awaitable[None]] | None,
    ) -> SendAnswer:
        fault = self._next_fault(kind)

        async def exchange() -> SendAnswer:
            await asyncio.sleep(self.latency / 2)
            if fault.claims and before_send is not None:
                await before_send()
                self.sent[kind, fields["client_orderid"]] += 1
            answer = fault.answer
            if fault.reaches:
                reply = self._handle(kind, fields)
                answer = answer or read_send_answer(
                    reply,
                    client_orderid=fields["client_orderid"],
                    paynet_order_id=fields.get("orderid"),
                )
            await asyncio.sleep(self.latency / 2 + fault.delay)
            assert not isinstance(answer, StatusAnswer)
            assert answer is not None
            if after is not None:
                await after(answer)
            return answer

        task = asyncio.create_task(exchange())
        self.in_flight.add(task)
        task.add_done_callback(self.in_flight.discard)
        return await asyncio.shield(task)

    async def check(
        self,
        request: PayoutRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[SendAnswer], Awaitable[None]] | None = None,
    ) -> SendAnswer:
        """Send payout-check."""
        return await self._send(RequestKind.CHECK, dict(build_payout(request)), before_send, after)

    async def pay(
        self,
        client_orderid: str,
        paynet_order_id: str,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[SendAnswer], Awaitable[None]] | None = None,
    ) -> SendAnswer:
        """Send payout-pay."""
        fields = dict(build_pay(self.login, client_orderid, paynet_order_id))
        return await self._send(RequestKind.PAY, fields, before_send, after)

    async def payout(
        self,
        request: PayoutRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[SendAnswer], Awaitable[None]] | None = None,
    ) -> SendAnswer:
        """Send the one-step payout."""
        return await self._send(RequestKind.PAYOUT, dict(build_payout(request)), before_send, after)

    async def probe(self) -> StatusAnswer:
        """Say that the gateway knows us, unless a fault is planned."""
        self.probes += 1
        await asyncio.sleep(self.latency)
        return self.probe_faults.pop(0) if self.probe_faults else NotFound("101")

    async def status(
        self,
        client_orderid: str,
        paynet_order_id: str | None = None,
        *,
        on_leave: Callable[[], None] | None = None,
    ) -> StatusAnswer:
        """Ask for the status."""
        fault = self._next_fault(RequestKind.STATUS)
        self.asked.setdefault(client_orderid, []).append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.latency + fault.delay)
        if fault.answer is not None:
            assert isinstance(fault.answer, StatusAnswer)
            return fault.answer
        fields = dict(build_status(self.login, client_orderid, paynet_order_id))
        return read_status_answer(
            self._handle(RequestKind.STATUS, fields),
            client_orderid=client_orderid,
            paynet_order_id=paynet_order_id,
        )
