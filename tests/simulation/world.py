"""A world of one seed: it is built, it is run, and everything that happened is told."""

import asyncio
import logging
from decimal import Decimal

import attrs

from billblend_async.core.models import State
from billblend_async.core.request import PayoutRequest

from .courier import Courier
from .coverage import Hits
from .fate import Fate
from .freezing import Freezer
from .frontdoor import FrontDoor
from .gateway import Gateway
from .invariants import Invariants
from .journal import Store
from .loop import make_loop
from .plan import Life, Plan, Profile, draw_plan
from .process import Process
from .server import Server
from .statements import small_pages
from .wire_client import virtual_clock

__all__ = ["Report", "World", "run_plan", "run_seed"]

_SHARE = 0.01
_LAST_LIVES = tuple(
    Life(manner=manner, ends_after=20_000.0, is_killed=False, dies_after=None)
    for manner in ("batch", "resume")
)
_ROUNDS = 12
_BETWEEN_ROUNDS = 60.0
_LONGEST_FREEZE = 700.0
"""Seconds after which a journal has told of a claim and of its taking back, both frozen."""


@attrs.frozen(kw_only=True)
class Report:
    """What came of one seed.

    Attributes:
        seed: The seed.
        profile: How much went wrong.
        digest: A hash over the whole history.
        problem: The rule that was broken, or what else went wrong; None if nothing did.
        hits: How often each fault was hit.
        payouts: How many payouts there were.
        attention: How many of them need a person at the end.
        crashes: How many programs were killed.
        turns: How many callbacks ran, for each program.
        deaths: The turns after which the programs were killed, where these were chosen.
        lines: The history, if it was kept.
    """

    seed: int
    profile: Profile
    digest: str
    problem: str | None
    hits: Hits
    payouts: int
    attention: int
    crashes: int
    turns: tuple[int, ...]
    deaths: tuple[int, ...] = ()
    lines: list[str] | None = None

    @property
    def replay(self) -> str:
        """The line that runs this seed again."""
        line = f"python -m simulation --seed {self.seed} --profile {self.profile}"
        return " ".join([line, *(f"--die-after {turn}" for turn in self.deaths)])


class World:
    """The gateway, the store and the programs of one plan.

    Args:
        plan: What was drawn.
        keeps_history: Whether the history is kept as text.
    """

    def __init__(self, plan: Plan, *, keeps_history: bool = False) -> None:
        self.plan = plan
        name = f"{plan.seed}/{plan.profile}"
        self.loop = make_loop(name)
        share = _SHARE if plan.profile == "one-percent" else 0.0
        self.fate = Fate(name, plan.faults, share=share, keeps_history=keeps_history)
        self.gateway = Gateway(self.loop, self.fate)
        self.store = Store()
        self.invariants = Invariants(self.loop, self.gateway, self.store)
        self.invariants.forgotten = plan.forgotten
        self.gateway.watch_by(self.invariants)
        self.door = (
            FrontDoor(self.gateway, self.fate, self.invariants)
            if plan.profile in ("wire", "shared")
            else None
        )
        self.freezer = Freezer(self.loop, self.fate, self.gateway)
        self.server = (
            Server(self.loop, self.fate, self.gateway, self.store, self.invariants)
            if plan.profile == "shared"
            else None
        )
        self.courier = Courier(
            name, self.loop, self.fate, self.gateway, lambda: list(self.processes)
        )
        self.invariants.signed = self.courier.signed
        self.requests = {request.client_orderid: request for request in plan.requests}
        self.processes: list[Process] = []

    def request(self, client_orderid: str) -> PayoutRequest:
        """Find the request that was accepted under an id: of two that differ, the faster one."""
        request, books = self.requests[client_orderid], self.invariants.books.get(client_orderid)
        if books is None or books.opened.amount == request.amount:
            return request
        return self.other(request)

    def other(self, request: PayoutRequest) -> PayoutRequest:
        """Make a request that takes another one's id for another amount."""
        return PayoutRequest(
            client_orderid=request.client_orderid,
            amount=request.amount + Decimal(1),
            currency=request.currency,
            account_number=request.account_number,
        )

    async def run(self) -> None:
        """Let the programs live and die, then let it be quiet, and look at what is left."""
        for request in self.plan.requests:
            if self.fate.strikes("foreign-order"):
                self.fate.hit("world", "foreign-order")
                amount = request.amount + 5
                self.gateway.plant_foreign(request.client_orderid, amount, request.currency)
        beside: list[asyncio.Task[None]] = []
        for life in self.plan.lives:
            if life.starts_with_previous:
                self.fate.hit("world", "second-process")
            else:
                await asyncio.gather(*beside)
                beside = []
            beside.append(asyncio.create_task(self._live(life)))
        if "freezes-at-times" in self.fate.faults:
            freezing = asyncio.create_task(self.freezer.freeze_at_times(lambda: self.processes))
            await asyncio.gather(*beside)
            freezing.cancel()
        await asyncio.gather(*beside)
        await self._calm_down()
        self.invariants.check_end(list(self.requests), is_calm=self.plan.profile == "calm")

    async def _live(self, life: Life) -> None:
        """Let one program live its time."""
        process = self._start(life)
        failing = self.loop.create_task(self._fail_over(process))
        await asyncio.wait([process.over], timeout=life.ends_after)
        if life.is_killed:
            process.die()
        if not process.is_over:
            self.fate.hit("world", "stopped")
            process.stop()
            await asyncio.wait([process.over])
        failing.cancel()
        await self._check_gone(process)
        if failing.done() and not failing.cancelled() and failing.result():
            self._declare(process)
        if life.next_life is not None:
            self.fate.hit("world", "replaced")
            await self._live(life.next_life)

    async def _fail_over(self, process: Process) -> bool:
        """Let a standby take over while a program runs, without what it has written last."""
        if self.server is None or "fails-over" not in self.fate.faults:
            return False
        await asyncio.sleep(self.fate.one_of((2.0, 20.0, 100.0)) * self.fate.between(0.1, 1.0))
        copy, books = self.server.copy(), self.invariants.copy_books()
        paid = self.gateway.paid.total()
        for _ in range(self.fate.one_of((0, 100))):  # often until the copy has missed a pay
            if self.gateway.paid.total() > paid:
                break
            await asyncio.sleep(1.0)
        await asyncio.sleep(self.fate.one_of((1.0, 10.0, 60.0)) * self.fate.between(0.1, 1.0))
        if process.is_over:
            return False
        self.fate.note(self.loop.now, "a standby takes over")
        self.server.fail_over(copy)
        self.invariants.rewind(books)
        return True

    def _declare(self, process: Process) -> None:
        """Let a person declare what no program has marked, once the one that ran has ended."""
        assert self.server is not None
        lost = process.journal.rolled_back if process.journal is not None else None
        self.fate.hits["failover", "noticed"] += lost is not None
        if lost is not None and lost.is_marked:
            self.fate.hit("failover", "marked")
        else:
            self.fate.hit("failover", "declared")
            self.server.declare(process, process.wall_clock())
        self.invariants.forgotten_by_server.clear()

    def _start(self, life: Life) -> Process:
        process = Process(self, life, len(self.processes))
        self.processes.append(process)
        process.start()
        return process

    def _left_alive(self, process: Process) -> list[str]:
        return [name for name in self.loop.alive(process) if name != "Process._live"]

    async def _check_gone(self, process: Process) -> None:
        if process.is_dead or process.main is None:
            return
        if self.door is not None:
            await asyncio.sleep(1.0)  # a request that was left to itself hears of its end only now
            if process.leftovers():
                # It waits for a journal that has not told for minutes what became of its claim.
                await asyncio.sleep(_LONGEST_FREEZE)
            # Who stood still while it connected has closed the client before the connection stood.
            is_whole = process.was_frozen or not process.leftovers()
            self.invariants.demand(is_whole, "connections are left open", "-")
        if process.main.done() and not process.main.cancelled():
            process.main.result()
        left = self._left_alive(process)
        if left:
            await asyncio.sleep(0.001)  # who was cancelled in this very moment needs one more turn
            left = self._left_alive(process)
        self.invariants.demand(not left, f"tasks are left alive: {left}", "-")

    async def _calm_down(self) -> None:
        """End all faults, wait until nothing is under way, and let one more program finish."""
        self.fate.is_quiet = True
        self.fate.note(self.loop.now, "quiet")
        downtime = self.fate.one_of((1.0, 100.0, 5000.0))
        last = max(self.gateway.last_effect_at, self.server.last_effect_at if self.server else 0.0)
        await asyncio.sleep(max(0.0, last - self.loop.now) + downtime)
        life = self.fate.one_of(_LAST_LIVES)
        for _ in range(_ROUNDS):
            self.gateway.calm_down()
            process = self._start(life)
            await asyncio.wait([process.over])
            await self._check_gone(process)
            if all(self.invariants.has_ended(payout) for payout in self.store.payouts.values()):
                return
            await asyncio.sleep(_BETWEEN_ROUNDS)

    def report(self, problem: str | None) -> Report:
        """Sum up."""
        states = [payout.state for payout in self.store.payouts.values()]
        return Report(
            seed=self.plan.seed,
            profile=self.plan.profile,
            digest=self.fate.digest,
            problem=problem,
            hits=self.fate.hits,
            payouts=len(self.requests),
            attention=states.count(State.ATTENTION),
            crashes=sum(process.is_dead for process in self.processes),
            turns=tuple(process.turns for process in self.processes),
            deaths=self.plan.deaths,
            lines=self.fate.lines,
        )


def run_plan(plan: Plan, *, keeps_history: bool = False) -> Report:
    """Run a plan to its end and report; what goes wrong is told in the report."""
    world = World(plan, keeps_history=keeps_history)
    problem = None
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what goes wrong here goes wrong a million times
    try:
        with virtual_clock(world.loop), small_pages():
            world.loop.run(world.run())
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed goes on record
        problem = f"{type(error).__name__}: {error}"
    finally:
        logging.disable(level)
    return world.report(problem)


def run_seed(seed: int, profile: Profile = "swarm", *, keeps_history: bool = False) -> Report:
    """Run a seed."""
    return run_plan(draw_plan(seed, profile), keeps_history=keeps_history)
