"""Forges callbacks by the thousand and holds the journal to what it was, byte by byte.

The long run prints its figures and exits 1 when anything is not as it must be (in tests/)::

    python -m forging --callbacks 1000000

An orchestrator with a real journal in a file holds payouts in every state, runs some of them, and
is told every genuine callback first. Then come forged ones and repeated ones. None of them may be
taken for news, change a payout, or change a byte of the journal's files. Some are answered 200: a
callback that was repeated, or changed only where nothing is signed, is a genuine one.
"""

import argparse
import asyncio
import hashlib
import logging
import random
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from callers import SIGNED, callback_fields, query_of, shifts
from fakes import FakeClient
from payouts import DOUBT_PATHS, LINK, ONE_STEP_PATHS, PATHS, START, opened, request

from billblend_async.core.events import Approved, Event
from billblend_async.core.machine import Payout, evolve, open_payout
from billblend_async.core.models import Deadlines, Flow, Polling, State
from billblend_async.core.responses import NotFound, Status, StatusAnswer, StatusReport
from billblend_async.errors import VerificationFailed
from billblend_async.integrations.asgi import answer_callback
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.orchestrator.inbox import Delivery
from billblend_async.orchestrator.orchestrator import Orchestrator

LATER = 300.0
"""Seconds after the first event at which the callbacks come."""
HASTE = 50.0
"""How many times as fast the wall clock goes, so that validations grow old during a short flood."""
PATIENT = Deadlines(doubt=1e6, validation=1e6, receiver=1e6, final=1e6)
RUN = (State.VALIDATING, State.PAYING, State.AWAITING_FINAL, State.AWAITING_RECEIVER)
"""The states in which payouts are run meanwhile; others would be sent."""
KINDS = {"random": 25, "edit": 25, "shift": 25, "type swap": 10, "unsigned edit": 5, "replay": 10}
"""Of a hundred callbacks, how many are of each kind."""
NEVER_TAKEN = ("random", "edit", "shift")
"""The kinds of which not one may be answered 200."""
WORKERS = 32
_ALPHABET = string.ascii_letters + string.digits + "-_ %&=äß"


class Bank(FakeClient):
    """A client whose gateway tells of each payout just what the journal knows already."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: dict[str, StatusReport] = {}
        self.questions = 0

    async def status(
        self,
        client_orderid: str,
        paynet_order_id: str | None = None,
        *,
        on_leave: Callable[[], None] | None = None,
    ) -> StatusAnswer:
        """Tell the report, or that there is no such order."""
        self.questions += 1
        await asyncio.sleep(0)
        return self.reports.get(client_orderid, NotFound("101"))

    def learn(self, payout: Payout) -> None:
        """Take note of a payout as the journal has it."""
        if payout.paynet_order_id is None:
            return
        is_before_pay = payout.state in (State.VALIDATED, State.PAYING, State.ATTENTION)
        stage = "payout_check_validated" if is_before_pay else "payout_processing"
        self.reports[payout.client_orderid] = StatusReport(
            type="status-response",
            status=payout.status or Status.PROCESSING,
            order_stage=stage,
            paynet_order_id=payout.paynet_order_id,
            merchant_order_id=payout.client_orderid,
            amount=payout.amount,
            currency=payout.currency,
            transaction_type="payout",
            redirect_to=LINK if payout.state is State.AWAITING_RECEIVER else None,
        )


@attrs.frozen
class Story:
    """How a payout came to be where it is."""

    name: str
    events: tuple[Event, ...]
    flow: Flow = Flow.CHECK_PAY
    is_held: bool = False


def stories(copy: int) -> Iterator[Story]:
    """Tell how payouts came into every state; one story is another in every second copy."""
    for state, events in PATHS.items():
        yield Story(state.value, events)
    for state, events in ONE_STEP_PATHS.items():
        yield Story(f"one-step-{state.value}", events, Flow.ONE_STEP)
    for doubt, events in DOUBT_PATHS.items():
        yield Story(doubt.value, events)
    yield Story("held", PATHS[State.VALIDATED], is_held=True)
    approved = (*PATHS[State.VALIDATING], Approved(at=START + 5, who="ann"))
    yield Story("approved", approved, is_held=True)
    # Over the joint the callback of one that is final names one whose order is not known yet.
    yield Story("crossed", PATHS[State.FINAL if copy % 2 else State.CHECKING])


@attrs.define(kw_only=True)
class Forgery:
    """A journal under a flood of callbacks.

    Attributes:
        folder: Where the journal lies.
        payouts: The orchestrator.
        bank: What it asks.
        chance: Where everything comes from.
        names: Every client_orderid.
        genuine: The fields of a genuine callback for each payout that has an order.
        shifted: Every way to shift the joints of these.
        signed_shifts: Those of them whose control still verifies.
        heard: The changes that the orchestrator has told of.
        answers: How many callbacks of each kind were answered what.
        wrongs: What is not as it must be.
    """

    folder: Path
    payouts: Orchestrator
    bank: Bank
    chance: random.Random
    names: list[str] = attrs.field(factory=list)
    genuine: list[dict[str, str]] = attrs.field(factory=list)
    shifted: list[str] = attrs.field(factory=list)
    signed_shifts: list[str] = attrs.field(factory=list)
    heard: list[str] = attrs.field(factory=list)
    answers: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    wrongs: list[str] = attrs.field(factory=list)

    def hashes(self) -> dict[str, str]:
        """Hash every file of the journal."""
        files = sorted(self.folder.iterdir())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    async def states(self) -> dict[str, Payout]:
        """Read every payout back from the journal."""
        journal = self.payouts._means.journal
        return {payout.client_orderid: payout async for payout in journal.payouts()}

    async def accept_genuine(self) -> None:
        """Deliver every genuine callback; to a payout that is not over it is news, once."""
        for fields in self.genuine:
            callback = self.bank.verify_callback(query_of(fields))
            payout = await self.payouts._means.load(callback.client_orderid)
            taken = await self.payouts.deliver(callback)
            if (taken is Delivery.KNOWN) is not payout.state.is_terminal:
                self.wrongs.append(f"{callback.client_orderid}: genuine, yet {taken.value}")
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing more is asked because of a callback."""
        while self.payouts._mailbox._looking:
            await asyncio.sleep(0.01)

    def forge(self, kind: str) -> str:
        """Make a callback of a kind, as a query."""
        chance, fields = self.chance, dict(self.chance.choice(self.genuine))
        match kind:
            case "random":
                return self._random(fields)
            case "edit":
                name = chance.choice([*SIGNED, "control"])
                fields[name] = self._edited(fields[name])
                if chance.random() < 0.5:
                    del fields["merchant_order"]
            case "shift":
                return chance.choice(chance.choice([self.shifted, self.signed_shifts]))
            case "type swap":
                words = ("reversal", "chargeback", "refund", "fraud", "Dispute", "sale", "", "x")
                fields["type"] = chance.choice(words)
            case "unsigned edit":
                name = chance.choice(["amount", "currency", "error_code", "descriptor", "name"])
                fields[name] = self._text(12)
            case _:
                pass
        return query_of(fields)

    def _random(self, fields: dict[str, str]) -> str:
        """Make a callback out of nothing, of the right shape or not."""
        chance = self.chance
        if chance.random() < 0.2:
            return self._text(chance.randint(0, 200))
        made = callback_fields(
            chance.choice(["approved", "declined", "error", self._text(8)]),
            chance.choice([fields["orderid"], str(chance.randrange(10**9))]),
            chance.choice([chance.choice(self.names), self._text(10)]),
            secret=chance.choice(["", "secret", self._text(36)]),
        )
        if chance.random() < 0.5:
            made["control"] = f"{chance.getrandbits(160):040x}"
        return query_of(made)

    def _edited(self, text: str) -> str:
        """Change, add or take away one character; a letter's case alone may be no change."""
        place, letter = self.chance.randrange(len(text)), self.chance.choice(_ALPHABET)
        after = self.chance.choice([place, place + 1])
        edited = text[:place] + self.chance.choice(["", letter]) + text[after:]
        return edited if edited.lower() != text.lower() else f"{text}{self.chance.randrange(10)}"

    def _text(self, length: int) -> str:
        return "".join(self.chance.choices(_ALPHABET, k=length))

    async def flood(self, callbacks: int, show: Callable[[int], None]) -> None:
        """Let so many callbacks come, some at once."""
        kinds = iter(self.chance.choices(list(KINDS), list(KINDS.values()), k=callbacks))
        self.heard.clear()

        async def work() -> None:
            for kind in kinds:
                status = await answer_callback(self.payouts, self.forge(kind))
                self.answers[kind, status] += 1
                if (done := self.answers.total()) % 10_000 == 0:
                    show(done)
                    await asyncio.sleep(0)

        await asyncio.gather(*(work() for _ in range(WORKERS)))
        await self.settle()
        for kind in NEVER_TAKEN:
            if taken := self.answers[kind, 200]:
                self.wrongs.append(f"{taken} of kind {kind} were taken in")
        self.wrongs += [f"news: {heard}" for heard in self.heard]


@asynccontextmanager
async def forgery(folder: Path, *, seed: int, copies: int) -> AsyncIterator[Forgery]:
    """Open a journal with payouts in every state, some of them running."""
    began, bank = time.monotonic(), Bank()
    heard: list[str] = []
    async with Orchestrator(
        bank,
        SqliteJournal(folder / "payouts.db"),
        polling=Polling(shortest=0.05, longest=0.1),
        wall_clock=lambda: START + LATER + HASTE * (time.monotonic() - began),
        observer=lambda payout, event: heard.append(f"{payout.client_orderid}: {event}"),
    ) as payouts:
        made = Forgery(
            folder=folder,
            payouts=payouts,
            bank=bank,
            chance=random.Random(seed),
            heard=heard,
        )
        runs = []
        for copy in range(copies):
            for number, story in enumerate(stories(copy)):
                # A digit moved over the joint of the two ids names another of these payouts.
                payout = await _write(made, f"{'1' * (copy + 1)}{number:02}", story)
                if payout.state in RUN and copy % 2:
                    runs.append((request(payout.client_orderid), payout.flow))
        made.shifted = [query_of(each) for fields in made.genuine for each in shifts(fields)]
        made.signed_shifts = [query for query in made.shifted if _verifies(bank, query)]
        running = [asyncio.create_task(payouts.run(each, flow=flow)) for each, flow in runs]
        yield made
        if ended := [task for task in running if task.done()]:
            made.wrongs.append(f"{len(ended)} payouts are not run any more")
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _verifies(bank: Bank, query: str) -> bool:
    try:
        bank.verify_callback(query)
    except VerificationFailed:
        return False
    return True


async def _write(made: Forgery, number: str, story: Story) -> Payout:
    """Write a payout with an order of its own into the journal, and its genuine callback."""
    journal, order = made.payouts._means.journal, f"6{number}864"
    wanted = request(f"{number}{story.name}")
    first = opened(
        wanted.client_orderid,
        flow=story.flow,
        held=story.is_held,
        deadlines=PATIENT,
        fingerprint=wanted.fingerprint(journal.fingerprint_key),
    )
    await journal.accept(first)
    payout = open_payout(first)
    for event in story.events:
        changes: dict[str, Any] = {}
        if hasattr(event, "paynet_order_id"):
            changes["paynet_order_id"] = order
        own = attrs.evolve(event, **changes)
        payout = evolve(payout, own)
        await journal.append(payout, own)
    made.names.append(payout.client_orderid)
    made.bank.learn(payout)
    if payout.paynet_order_id is not None:
        status = "unknown" if payout.status is None else str(payout.status)
        made.genuine.append(callback_fields(status, order, payout.client_orderid))
    return payout


async def hold(made: Forgery, callbacks: int, show: Callable[[int], None]) -> None:
    """Deliver what is genuine, let the forged ones come, and compare all there is."""
    await made.accept_genuine()
    before, states = made.hashes(), await made.states()
    await made.flood(callbacks, show)
    after, now = made.hashes(), await made.states()
    made.wrongs += [f"file {name} has changed" for name in before if before[name] != after[name]]
    made.wrongs += [f"file {name} is new or gone" for name in before.keys() ^ after.keys()]
    made.wrongs += [f"payout {name} has changed" for name in states if states[name] != now[name]]


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Make the long run and print its figures."""
    logging.getLogger("billblend_async").addHandler(logging.NullHandler())
    logging.getLogger("billblend_async").propagate = False
    async with forgery(folder, seed=options.seed, copies=options.copies) as made:
        began = time.monotonic()
        await hold(made, options.callbacks, lambda done: say(f"\r{done} callbacks  ", end=""))
        took = time.monotonic() - began
    say(f"\n{made.answers.total()} callbacks in {took:.0f} s, over {len(made.names)} payouts")
    for kind in KINDS:
        told = {f"{s}": n for (each, s), n in sorted(made.answers.items()) if each == kind}
        say(f"{kind}: {', '.join(f'{count} x {status}' for status, count in told.items())}")
    say(f"{made.bank.questions} status requests; files: {', '.join(made.hashes())}")
    for wrong in made.wrongs[:20]:
        say(f"WRONG: {wrong}")
    say(f"{len(made.wrongs)} wrong, seed {options.seed}")
    return int(bool(made.wrongs))


def say(*words: object, end: str = "\n") -> None:
    """Print at once."""
    print(*words, end=end, flush=True)  # noqa: T201 - a command's figures


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Forge callbacks and compare the journal's bytes.")
    parser.add_argument("--callbacks", type=int, default=1_000_000)
    parser.add_argument("--copies", type=int, default=4, help="payouts in each state")
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="billblend-forging-") as folder:
        return asyncio.run(run(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
