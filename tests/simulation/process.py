"""One program's life: it drives payouts with the real orchestrator until it ends or is killed."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING

from httpcore import AsyncConnectionPool

from billblend_async.core.models import Outcome, Polling, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import Callback
from billblend_async.errors import (
    ClosedError,
    JournalError,
    PayoutConflict,
    PayoutNotFound,
    RequestNeeded,
    SendingStopped,
)
from billblend_async.journal import Journal
from billblend_async.orchestrator.orchestrator import Orchestrator
from billblend_async.orchestrator.runner import Done

from .client import SimulatedClient
from .coverage import CARRIERS
from .journal import SimulatedJournal
from .loop import WHOSE, Mortal
from .network import Network, Trip
from .office import Office, disturb
from .plan import Life
from .porch import Porch
from .schedulers import schedule
from .server import Server
from .statements import SharedJournal, SimulatedStatements
from .wire_client import WireClient, connected

if TYPE_CHECKING:
    from .world import World

__all__ = ["EPOCH", "Process"]

EPOCH = 1_800_000_000.0
_PATIENCE = 4


class Process(Mortal):
    """A program that runs payouts.

    Args:
        world: What it lives in.
        life: How it lives.
        number: Which one it is.
    """

    def __init__(self, world: "World", life: Life, number: int) -> None:
        super().__init__(dies_after=life.dies_after, freezes_after=life.freezes_after)
        self.world = world
        self.life = life
        self.number = number
        self.clock_error = 0.0
        self.over = world.loop.create_future()
        self.main: asyncio.Task[None] | None = None
        self._random = random.Random(f"{world.plan.seed}/{number}")
        self._payouts: Orchestrator | None = None
        self.journal: SharedJournal | None = None
        self._driving: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._network: Network | None = None
        self._pools: list[AsyncConnectionPool] = []
        self.verifies = False
        self._porch = Porch(self)
        self._inbox: set[asyncio.Task[int]] = set()
        self._running: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to live, in a context of its own by which the loop knows whose code runs."""
        context = copy_context()
        context.run(WHOSE.set, self)
        self.main = self.world.loop.create_task(self._live(), context=context)

    def die(self) -> None:
        """Be killed: nothing of it ever runs again."""
        if self.is_dead or self.over.done():
            return
        super().die()
        if self._network is not None:
            self._network.cut()
        for payout in self.world.store.payouts.values():
            self.world.fate.hit("crash", payout.state.value)
            if payout.approved_by is not None and payout.state is State.VALIDATED:
                self.world.fate.hit("crash", "approved")
        self.world.fate.note(self.world.loop.now, f"process {self.number} is killed")
        self.over.set_result(None)

    def freeze(self) -> None:
        """Stand still for a while."""
        self.world.freezer.freeze(self, "at-a-turn")

    def hang_up(self) -> None:
        """Find, on waking, that the gateway has closed what waited for a request."""
        if self.is_frozen and self._network is not None:
            self._network.hang_up()

    def _on_brink(self, trip: Trip, part: str) -> None:
        """Stand still at the worst moment: claimed, and this part of the request not sent."""
        if self.world.fate.strikes("freezes-on-the-brink"):
            self.world.freezer.freeze(self, part)

    def stop(self) -> None:
        """Be asked to end in order; what is under way ends in a record."""
        self._is_stopped = True
        if self._driving is not None:
            self._driving.cancel()

    @property
    def takes_callbacks(self) -> bool:
        """Whether its server is up: from its start on, and while all else of it comes to an end."""
        return self._payouts is not None and not self.is_over and not self.is_dead

    def receive(self, callback: Callback) -> asyncio.Task[int]:
        """Take a callback in, in a task of its server."""
        assert self._payouts is not None
        context = copy_context()
        context.run(WHOSE.set, self)
        taking = self._porch.take(self._payouts, callback)
        task = self.world.loop.create_task(taking, context=context)
        self._inbox.add(task)
        task.add_done_callback(self._inbox.discard, context=self.world.gateway.context)
        return task

    @contextlib.contextmanager
    def runs(self, *names: str) -> Iterator[None]:
        """Mark payouts as run by this program: for nothing else may it send."""
        invariants = self.world.invariants
        self._running.update(names)
        for name in names:
            invariants.sees_reason_to_ask(name)
        try:
            yield
        finally:
            self._running.subtract(names)
            for name in names:
                invariants.sees_reason_to_ask(name)

    @contextlib.contextmanager
    def decides(self, name: str) -> Iterator[None]:
        """Mark a decision, before and after which there is a reason to ask the gateway."""
        self.world.invariants.sees_reason_to_ask(name)
        try:
            yield
        finally:
            self.world.invariants.sees_reason_to_ask(name)

    def is_running(self, client_orderid: str) -> bool:
        """Tell whether somebody in this program runs a payout."""
        return self._running[client_orderid] > 0

    def wall_clock(self) -> float:
        """Tell the time of day as this program's machine has it."""
        return EPOCH + self.world.loop.now + self.clock_error

    async def _live(self) -> None:
        world = self.world
        disturbances: list[asyncio.Task[None]] = []
        listening: asyncio.Task[None] | None = None
        try:
            async with (
                self._client() as client,
                Orchestrator(
                    client,
                    self._make_journal(),
                    polling=Polling(eager_for=30.0, slowest=120.0),
                    deadlines=world.plan.deadlines,
                    resolve=self._resolve,
                    on_redirect=self._porch.on_redirect,
                    wall_clock=self.wall_clock,
                    chance=self._random.random,
                ) as self._payouts,
            ):
                if "listens" in world.fate.faults:
                    listening = asyncio.create_task(self._porch.listen(self._payouts.events()))
                disturbances = [asyncio.create_task(each) for each in disturb(self, self._payouts)]
                self._driving = asyncio.create_task(self._drive())
                if self._is_stopped:  # it stood still while it began
                    self._driving.cancel()
                await asyncio.wait([self._driving])
                for task in disturbances:
                    task.cancel()
                await asyncio.gather(*disturbances, return_exceptions=True)
                if not self._driving.cancelled():
                    self._driving.result()
        except JournalError as error:
            world.fate.note(world.loop.now, f"process {self.number} ends: {error}")
        finally:
            await self._close(listening)
            self.over.set_result(None)

    def _make_journal(self) -> Journal:
        """Make the journal that this world is about."""
        world = self.world
        if world.server is None:
            return SimulatedJournal(world.store, world.loop, world.fate, self, world.invariants)
        self.journal = self._share(world.server)
        return self.journal

    def _share(self, server: Server) -> SharedJournal:
        world = self.world
        statements = SimulatedStatements(server, world.loop, world.fate, self, world.freezer)
        name = f"{world.plan.seed}/{self.number}"
        return SharedJournal(statements, server, whose=self, witness=world.invariants, name=name)

    async def _close(self, listening: asyncio.Task[None] | None) -> None:
        """Answer what has come in, and stop listening: a server is the last to go."""
        while self._inbox:
            await asyncio.wait(self._inbox)
        if listening is not None:
            listening.cancel()
            await asyncio.wait([listening])
            if not listening.cancelled():
                listening.result()

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[SimulatedClient | WireClient]:
        """Open the client that this world is about."""
        world, traits = self.world, random.Random(f"{self.world.plan.seed}/{self.number}/client")
        if world.door is None:
            yield SimulatedClient(world.gateway, world.fate, self)
            return
        has_control = traits.random() < 0.5
        async with connected(
            world.loop,
            world.fate,
            world.door,
            self,
            name=f"{world.plan.seed}/{self.number}",
            wall_clock=self.wall_clock,
            has_control=has_control,
            max_sends=traits.choice((1, 2, 32)),
            carrier=self._carrier(),
        ) as (client, self._network):
            self._network.on_brink = self._on_brink
            self._pools = client.pools
            self.verifies = has_control
            yield client

    def _carrier(self) -> str | None:
        """Choose what the transport of this program does by itself, if it has one of its own."""
        chance = random.Random(f"{self.world.plan.seed}/{self.number}/transport")
        if self.world.plan.profile != "wire" or chance.random() < 0.75:
            return None
        return chance.choice(CARRIERS)

    def leftovers(self) -> int:
        """Count the connections and places in a pool that were never given back."""
        streams = 0 if self._network is None else self._network.open_streams
        places = sum(len(pool._requests) + len(pool.connections) for pool in self._pools)
        return streams + places

    async def _resolve(self, client_orderid: str) -> PayoutRequest | None:
        await asyncio.sleep(0)
        if self.world.fate.strikes("forgets-requests"):
            return None
        return self.world.request(client_orderid)

    async def _drive(self) -> None:
        if self._payouts is None:
            return
        match self.life.manner:
            case "batch":
                for _ in range(_PATIENCE):
                    with contextlib.suppress(JournalError):
                        await self._run_batch()
                        break
            case "each":
                runs = [asyncio.create_task(self._run_one(r)) for r in self._handed_in()]
                try:
                    await asyncio.gather(*runs)
                finally:
                    for run in runs:
                        run.cancel()
                    await asyncio.gather(*runs, return_exceptions=True)
            case "resume":
                for _ in range(_PATIENCE):
                    with contextlib.suppress(JournalError):
                        resumed = self._payouts.resume()
                        with self.runs(*self.world.requests):
                            async with contextlib.aclosing(resumed) as outcomes:
                                async for outcome in outcomes:
                                    self.hear(outcome)
                        break
                await self._run_batch()
            case "steps":
                await asyncio.gather(*(self._step(name) for name in self.world.requests))
            case "scheduler":
                await schedule(self, self._payouts)
            case "listen":
                await asyncio.sleep(self.life.ends_after)
        if self.world.fate.is_quiet:
            await Office(self, self._payouts).tidy_up()
        elif self.world.plan.held:
            await asyncio.sleep(self._random.choice((0.0, 20.0, 200.0)))

    async def _run_batch(self) -> None:
        assert self._payouts is not None
        concurrency = self._random.choice((1, 2, 1000)) if self._random.random() < 0.3 else 1000
        requests = self._handed_in()
        if self.world.plan.held:
            pays = [self._pays_at_once(request) for request in requests]
            batches = [
                [r for r, p in zip(requests, pays, strict=True) if p is pay]
                for pay in (False, True)
            ]
        else:
            batches = [[], requests]
        for pay, batch in zip((False, True), batches, strict=True):
            told = self._payouts.run_many(
                batch, concurrency=concurrency, flow=self.world.plan.flow, pay=pay
            )
            with self.runs(*(request.client_orderid for request in batch)):
                async with contextlib.aclosing(told) as outcomes:
                    async for outcome in outcomes:
                        self.hear(outcome)

    def _pays_at_once(self, request: PayoutRequest) -> bool:
        """Say whether a payout is handed in to be paid; one that is held approves nothing by it."""
        world, name = self.world, request.client_orderid
        if name not in world.plan.held:
            return True
        again = name in world.store.payouts and (world.fate.is_quiet or self._random.random() < 0.4)
        if again:
            world.fate.hit("world", "run-again")
        return again

    def _handed_in(self) -> list[PayoutRequest]:
        """List the payouts as the caller hands them in, some twice, some with another amount."""
        fate = self.world.fate
        requests = [self.world.request(name) for name in self.world.requests]
        for request in self.world.plan.requests:
            if fate.strikes("duplicate"):
                fate.hit("world", "duplicate")
                requests.append(request)
            if fate.strikes("conflict"):
                fate.hit("world", "conflict")
                requests.append(self.world.other(request))
        return requests

    async def _run_one(self, request: PayoutRequest) -> None:
        """Run one payout; a caller that is cancelled or hears of a full disk tries again."""
        assert self._payouts is not None
        fate, loop = self.world.fate, self.world.loop
        for _ in range(_PATIENCE):
            try:
                pay = self._pays_at_once(request)
                run = asyncio.create_task(
                    self._payouts.run(request, flow=self.world.plan.flow, pay=pay)
                )
                if fate.strikes("cancelled-caller"):
                    loop.call_later(fate.between(0.0, 40.0), run.cancel)
                    fate.hit("world", "cancelled-caller")
                with self.runs(request.client_orderid):
                    try:
                        await asyncio.wait([run])
                    finally:
                        run.cancel()
                        await asyncio.wait([run])
                if run.cancelled():
                    continue
                outcome = run.result()
            except JournalError:
                await asyncio.sleep(3.0)
            except (PayoutConflict, RequestNeeded, SendingStopped, ClosedError):
                return
            else:
                self.hear(outcome)
                return

    async def _step(self, client_orderid: str) -> None:
        """Drive a payout as a scheduler does, one step at a time."""
        assert self._payouts is not None
        while True:
            try:
                with self.runs(client_orderid):
                    step = await self._payouts.advance(client_orderid)
            except (PayoutNotFound, RequestNeeded, PayoutConflict, ClosedError):
                return
            except JournalError:
                await asyncio.sleep(3.0)
                continue
            if isinstance(step, Done):
                self.hear(step.outcome)
                return
            await asyncio.sleep(max(step.seconds, 0.1))

    def hear(self, outcome: Outcome) -> None:
        problem = type(outcome.problem).__name__
        self.world.fate.note(
            self.world.loop.now,
            f"process {self.number} hears {outcome.client_orderid} {outcome.state} "
            f"{outcome.status} {outcome.open_reason} {problem}",
        )
        self.world.invariants.sees_outcome(outcome)

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was killed."""
        return self.over.done()
