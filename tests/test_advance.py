"""``advance`` is safe to call from anywhere at any time, however many do and whatever they know."""

import asyncio
import os
import sys
from itertools import pairwise
from pathlib import Path

from fakes import FakeClient, MemoryJournal
from house import House, house, virtually_alone
from payouts import request

from billblend_async.core.models import State
from billblend_async.gateway.wire import RequestKind
from billblend_async.orchestrator.runner import Done, Waiting
from billblend_async.sandbox import Gateway
from billblend_async.testing import RunningSandbox

PROGRAM = Path(__file__).parent / "advance_program.py"
CHECK, PAY = RequestKind.CHECK, RequestKind.PAY


async def finder(client_orderid: str) -> object:
    """Find any request again, as a host does."""
    return request(client_orderid)


async def drive(h: House, client_orderid: str = "po-1") -> Done:
    """Call advance whenever it says, as a task queue does."""
    while isinstance(step := await h.payouts.advance(client_orderid), Waiting):
        await asyncio.sleep(step.seconds)
    return step


def slow() -> FakeClient:
    """A gateway whose bank takes a minute."""
    return FakeClient(Gateway(validation=60.0, processing=60.0))


@virtually_alone
async def test_ten_schedulers_ask_as_one() -> None:
    """Ten schedulers in one process ask about a payout no more often than one would."""
    async with house(slow(), resolve=finder) as h:
        await h.payouts.accept(request())
        told = await asyncio.gather(*(drive(h) for _ in range(10)))

        assert {True} == {step.outcome.is_approved for step in told}
        assert (1, 1) == (h.client.count(CHECK), h.client.count(PAY))
        gaps = [second - first for first, second in pairwise(h.client.asked["po-1"])]
        # What is news is acted on at once; else the shortest gap of 3 s lies between two.
        assert 2 >= sum(gap < 3.0 for gap in gaps), gaps


@virtually_alone
async def test_a_scheduler_that_does_not_wait() -> None:
    """Who calls advance again and again without waiting makes nobody ask more often."""
    async with house(slow(), resolve=finder) as h:
        await h.payouts.accept(request())
        calls = 0
        while isinstance(step := await h.payouts.advance("po-1"), Waiting):
            calls += 1
            await asyncio.sleep(0.05)

        assert step.outcome.is_approved
        assert 2000 < calls
        assert 1 == h.client.count(PAY)
        assert 45 > len(h.client.asked["po-1"])


@virtually_alone
async def test_what_another_process_did_is_seen() -> None:
    """A process that waits beside a run sees at once where another process has led the payout."""
    async with house(slow()) as a, house(a.client, a.journal.twin()) as b:
        run = asyncio.create_task(a.payouts.run(request()))
        await asyncio.sleep(10)
        assert State.VALIDATING is (await a.payouts.status("po-1")).state
        await b.payouts.withdraw("po-1", who="ann", why="wrong amount")

        step = await a.payouts.advance("po-1")
        assert isinstance(step, Done)
        assert State.WITHDRAWN is step.outcome.state
        await asyncio.sleep(60)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert 0 == a.client.paid("po-1")


@virtually_alone
async def test_what_was_approved_elsewhere_goes_on() -> None:
    """What another process has approved is led on by all who advance it, and paid once."""
    client, journal = slow(), MemoryJournal()
    async with house(client, journal) as a, house(client, journal.twin()) as b:
        outcome = await a.payouts.run(request(), pay=False)
        assert "awaiting-approval" == outcome.open_reason
        waiting = await a.payouts.advance("po-1")
        assert isinstance(waiting, Waiting)
        approving = asyncio.create_task(b.payouts.approve("po-1", who="ann"))
        await asyncio.sleep(0)
        told = await asyncio.gather(drive(a), drive(b), approving)

        assert told[0].outcome.is_approved
        assert told[1].outcome.is_approved
        assert 1 == client.count(PAY)


@virtually_alone
async def test_a_hot_caller_keeps_nobody_from_sending() -> None:
    """Who advances a payout all the time does not take the send of another caller away."""
    client = slow()
    client.latency = 1.0  # the claim comes half a second after the decision to send
    async with house(client, resolve=finder) as h:
        await h.payouts.accept(request())
        run = asyncio.create_task(h.payouts.run(request()))
        while not run.done():
            await asyncio.gather(*(h.payouts.advance("po-1") for _ in range(3)))
            await asyncio.sleep(0.1)

        assert run.result().is_approved
        assert (1, 1) == (client.sent[CHECK, "po-1"], client.sent[PAY, "po-1"])
        assert 150 > asyncio.get_running_loop().time()


@virtually_alone
async def test_two_processes_drive_one_payout() -> None:
    """Two processes that advance the same payouts send each once and both see the end."""
    async with (
        house(resolve=finder) as a,
        house(a.client, a.journal.twin(), resolve=finder) as b,
    ):
        names = [f"po-{n}" for n in range(50)]
        for name in names:
            await a.payouts.accept(request(name))
        told = await asyncio.gather(*(drive(h, name) for h in (a, b) for name in names))

        assert {True} == {step.outcome.is_approved for step in told}
        assert {1} == {a.client.count(PAY, name) for name in names}
        assert {1} == {a.client.count(CHECK, name) for name in names}


async def test_two_real_processes(billblend_sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Two real processes that advance the same payouts all the time pay each once, and both end."""
    names, path = [f"po-{n}" for n in range(20)], tmp_path / "payouts.db"
    async with billblend_sandbox.orchestrator(path) as payouts:
        for name in names:
            await payouts.accept(request(name))
    environ = os.environ | billblend_sandbox.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = (sys.executable, str(PROGRAM), str(path), *names)
    pipe = asyncio.subprocess.PIPE
    both = [
        await asyncio.create_subprocess_exec(
            *words, env=environ, stdin=pipe, stdout=pipe, stderr=pipe
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert b"ready\n" == await process.stdout.readline()
    told = await asyncio.gather(*(process.communicate(b"go\n") for process in both))

    assert [b"", b""] == [error for _, error in told]
    billblend_sandbox.assert_paid_once(*names)
    ledger = billblend_sandbox.ledger.values()
    assert {(1, 1)} == {(each["checks"], each["pays"]) for each in ledger}
