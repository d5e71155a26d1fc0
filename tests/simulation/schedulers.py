"""Schedulers that know nothing of each other and call ``advance`` whenever they like."""

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from billblend_async.errors import ClosedError, JournalError, PayoutNotFound, RequestNeeded
from billblend_async.orchestrator.orchestrator import Orchestrator
from billblend_async.orchestrator.runner import Done

if TYPE_CHECKING:
    from .process import Process

__all__ = ["schedule"]


async def schedule(process: "Process", payouts: Orchestrator) -> None:
    """Call at random times, for any payout, several times at once, until nothing is left to do."""
    world, calls = process.world, list[asyncio.Task[None]]()
    chance = random.Random(f"{world.plan.seed}/{process.number}/schedule")
    try:
        while not world.fate.is_quiet:
            held = world.store.payouts
            if all(name in held and held[name].state.is_terminal for name in world.requests):
                break
            await asyncio.sleep(chance.choice((0.0, 0.3, 4.0, 30.0)) * chance.random())
            name = chance.choice(sorted(world.requests))
            calls += [
                asyncio.create_task(_call(process, payouts, name))
                for _ in range(chance.choice((1, 1, 3)))
            ]
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    for call in calls:
        if not call.cancelled():
            call.result()


async def _call(process: "Process", payouts: Orchestrator, client_orderid: str) -> None:
    """Drive a payout by one step, whenever that is."""
    if process.is_running(client_orderid):
        process.world.fate.hit("world", "advance-at-once")
    with (
        contextlib.suppress(JournalError, PayoutNotFound, RequestNeeded, ClosedError),
        process.runs(client_orderid),
    ):
        step = await payouts.advance(client_orderid)
        if isinstance(step, Done):
            process.hear(step.outcome)
