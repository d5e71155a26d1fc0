"""Planted bugs in driving, claiming and writing; see ``simulation.bugs``."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from billblend_async.core import machine
from billblend_async.core import machine as commands
from billblend_async.core.events import CheckNotSent, CheckStarted, Event, PayNotSent, PayStarted
from billblend_async.core.machine import Check
from billblend_async.core.models import State
from billblend_async.core.payout import FRESH_FOR, Payout
from billblend_async.core.responses import NotSent
from billblend_async.errors import ClaimLost, JournalUnavailable
from billblend_async.gateway import exchange as lane
from billblend_async.orchestrator import context as means
from billblend_async.orchestrator import runner as driver

from . import client, journal
from .planting import Garden, bug


@bug
def claims_after_the_send(garden: Garden) -> None:
    """The claim is written when the answer is there."""
    rightly = client.SimulatedClient._exchange

    async def exchange(self: Any, send: Any, before_send: Any, after: Any) -> Any:
        async def claim_late(answer: Any) -> None:
            if before_send is not None and not isinstance(answer, NotSent):
                await before_send()
            await after(answer)

        return await rightly(self, send, None, claim_late)

    garden.replace(client.SimulatedClient, "_exchange", exchange)


def _claim_by(garden: Garden, claim: Callable[[Any, Any, Any], Awaitable[None]]) -> Any:
    async def replaced(self: Any, expected: Payout, command: Any) -> None:
        await claim(self, expected, command)

    return garden.replace(driver.Driver, "_claim", replaced)


@bug
def sends_although_the_claim_is_lost(garden: Garden) -> None:
    """Whoever loses the race for a claim sends too."""

    async def claim(self: Any, expected: Payout, command: Any) -> None:
        try:
            await rightly(self, expected, command)
        except ClaimLost:
            return

    rightly = _claim_by(garden, claim)


@bug
def sends_although_the_journal_failed(garden: Garden) -> None:
    """A claim that could not be written is sent on."""

    async def claim(self: Any, expected: Payout, command: Any) -> None:
        try:
            await rightly(self, expected, command)
        except JournalUnavailable:
            return

    rightly = _claim_by(garden, claim)


@bug
def sends_old_intents(garden: Garden) -> None:
    """A claim is sent on however long writing it took."""
    garden.replace(driver, "FRESH_FOR", 1e9)


@bug
def takes_back_any_claim(garden: Garden) -> None:
    """A claim that took too long is taken back, even if another owner's stands there by now."""

    async def claim(self: Any, expected: Payout, command: Any) -> None:
        began = asyncio.get_running_loop().time()
        at = self._means.wall_clock()
        lost = ClaimLost(expected.client_orderid, expected.sequence + 1)
        async with self._writing:
            if self.payout is not expected or commands.next_command(expected, at) != command:
                raise lost
            started = CheckStarted(at=at) if isinstance(command, Check) else PayStarted(at=at)
            await self._append(started)
        if asyncio.get_running_loop().time() - began > FRESH_FOR:
            kept = CheckNotSent if isinstance(command, Check) else PayNotSent
            await self._record(lambda _: kept(at=self._means.wall_clock()))
            raise lost

    _claim_by(garden, claim)


@bug
def ignores_conflicts_in_the_journal(garden: Garden) -> None:
    """A step that is taken is written over."""

    def write(self: Any, becomes: Payout, event: Event) -> None:
        events = self.events[becomes.client_orderid]
        events[becomes.sequence :] = [event]
        self.payouts[becomes.client_orderid] = becomes

    garden.replace(journal.Store, "write", write)


@bug
def tells_before_it_is_durable(garden: Garden) -> None:
    """What an event makes of a payout counts before it is written."""

    async def append(self: Any, event: Event) -> None:
        self.payout, before = machine.evolve(self.payout, event), self.payout
        try:
            await self._means.journal.append(self.payout, event)
        except ClaimLost:
            self.payout = await self._means.load(before.client_orderid)
            raise

    garden.replace(driver.Driver, "_append", append)


def _wakes_as(garden: Garden, asleep: State, awake: State) -> None:
    """Let a program that starts anew take a payout for another state than the journal's."""
    rightly = driver.Driver.__init__

    def init(self: Any, its_means: means.Means, payout: Payout) -> None:
        if payout.state is asleep:
            payout = attrs.evolve(payout, state=awake)
        rightly(self, its_means, payout)

    garden.replace(driver.Driver, "__init__", init)


@bug
def checks_again_after_a_crash(garden: Garden) -> None:
    """A program that starts anew sends the check that was under way."""
    _wakes_as(garden, State.CHECKING, State.NEW)


@bug
def pays_again_after_a_crash(garden: Garden) -> None:
    """A program that starts anew asks whether the order is validated, and pays what was paid."""
    _wakes_as(garden, State.PAYING, State.VALIDATED)


@bug
def cuts_exchanges_off(garden: Garden) -> None:
    """A caller that is cancelled cancels the request."""

    async def run(self: Any, exchange: Any) -> Any:
        return await exchange()

    async def ask(self: Any, url: Any, body: Any, may_begin: Any) -> Any:
        may_begin()
        return await self._sender.post(url, body)

    garden.replace(lane.Lane, "run", run)
    garden.replace(lane.Lane, "ask", ask)


@bug
def closes_without_waiting(garden: Garden) -> None:
    """An orchestrator that is closed leaves requests under way."""

    async def drain(self: Any) -> None:
        return

    garden.replace(lane.Lane, "drain", drain)


@bug
def takes_another_amount(garden: Garden) -> None:
    """A payout that is handed in again with another amount is sent with it."""
    garden.replace(means.Means, "check_same", lambda self, payout, request: None)
