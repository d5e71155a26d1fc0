"""Planted bugs in what callbacks, people and later transactions may bring about."""

import asyncio
from typing import Any

import attrs

from billblend_async.core import machine
from billblend_async.core import machine as news
from billblend_async.core.events import Approved, CalledBack, Event
from billblend_async.core.machine import next_command
from billblend_async.core.models import Outcome, State
from billblend_async.core.payout import Payout
from billblend_async.core.responses import Callback
from billblend_async.orchestrator import context as means
from billblend_async.orchestrator import inbox as delivery
from billblend_async.orchestrator import (
    observer as redirects,
)
from billblend_async.orchestrator import (
    orchestrator as admission,
)
from billblend_async.orchestrator import (
    polling as questions,
)
from billblend_async.orchestrator import (
    polling as timing,
)
from billblend_async.orchestrator import runner as driver

from .planting import Garden, bug


def _evolve(garden: Garden, event_type: type[Event], becomes: Any) -> None:
    """Let something else say what a payout is after one kind of event, where it has an opinion."""
    rightly = machine._apply

    def apply(payout: Payout, event: Event) -> Payout:
        after = rightly(payout, event)
        return becomes(after, event) if isinstance(event, event_type) else after

    garden.replace(machine, "_apply", apply)


@bug
def believes_callbacks(garden: Garden) -> None:
    """A callback that says approved makes a payout final."""

    def becomes(payout: Payout, event: Any) -> Payout:
        if not event.status.is_final or not payout.pays:
            return payout
        return attrs.evolve(payout, state=State.FINAL, status=event.status, doubt=None)

    _evolve(garden, CalledBack, becomes)


@bug
def acknowledges_before_it_is_durable(garden: Garden) -> None:
    """A callback is acknowledged while its hint is still being written."""

    async def record(self: Any, event: Event) -> bool:
        writing = asyncio.create_task(rightly(self, event))
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        return True

    rightly = garden.replace(driver.Driver, "record", record)


@bug
def pairs_any_ids(garden: Garden) -> None:
    """A callback counts for the payout that it names, whatever order it names."""

    async def deliver(self: Any, callback: Callback) -> Any:
        async with self.crew.driver(callback.client_orderid) as found:
            known = found.payout.paynet_order_id
        ours = attrs.evolve(callback, paynet_order_id=known or callback.paynet_order_id)
        return await rightly(self, ours)

    rightly = garden.replace(delivery.Mailbox, "deliver", deliver)


@bug
def keeps_hints_about_reversals(garden: Garden) -> None:
    """What a reversal's callback says of an unfinished payout is kept as if it were its own."""
    unlike = property(lambda _: False)
    garden.replace(Callback, "is_later_transaction", unlike)
    garden.replace(delivery.Mailbox, "_compare", _known)


async def _known(*_: Any) -> delivery.Delivery:
    return delivery.Delivery.KNOWN


@bug
def forgets_holds(garden: Garden) -> None:
    """A program that starts anew does not know that a payout waits for approval."""
    rightly = driver.Driver.__init__

    def init(self: Any, its_means: means.Means, payout: Payout) -> None:
        is_new = payout.sequence == 0
        rightly(self, its_means, payout if is_new else attrs.evolve(payout, held=False))

    garden.replace(driver.Driver, "__init__", init)


@bug
def approves_by_running_again(garden: Garden) -> None:
    """A held payout that is run to be paid counts as approved."""

    async def admit(self: Any, request: Any, flow: Any, *, pay: bool) -> driver.Driver:
        admitted: driver.Driver = await rightly(self, request, flow, pay=pay)
        if pay and admitted.payout.held:
            await admitted.record(Approved(at=self.means.wall_clock(), who="whoever ran it"))
        return admitted

    rightly = garden.replace(admission.Admission, "admit", admit)


@bug
def pays_on_a_hint(garden: Garden) -> None:
    """A question that a callback asked for goes on to whatever is due."""

    async def ask(self: Any) -> bool:
        async with self._turn:
            if not self._means.is_open:
                return False
            if self.timing.is_due:
                await self._perform(next_command(self.payout, self._means.wall_clock()))
        return not self.payout.state.is_terminal

    garden.replace(driver.Driver, "ask", ask)


@bug
def takes_reversals_for_the_end(garden: Garden) -> None:
    """How a reversal ended counts as how the payout did."""

    def is_later(*_: object) -> bool:
        return False

    garden.replace(news, "is_later_transaction", is_later)
    garden.replace(machine, "is_later_transaction", is_later)


@bug
def asks_at_once(garden: Garden) -> None:
    """A callback makes the next question leave at once, whenever the last one did."""
    garden.replace(timing, "BETWEEN", 0.0)
    garden.replace(questions.Questions, "delay", lambda *_: 0.0)


@bug
def hastens_on_replays(garden: Garden) -> None:
    """A callback that tells nothing new makes the next question leave soon all the same."""

    async def deliver(self: Any, callback: Callback) -> Any:
        told = await rightly(self, callback)
        async with self.crew.driver(callback.client_orderid) as found:
            self._hasten(found)
        return told

    rightly = garden.replace(delivery.Mailbox, "deliver", deliver)


@bug
def hands_links_over_once(garden: Garden) -> None:
    """A payout's receiver is shown one link, and not the next."""
    rightly = redirects.Redirects.show

    def show(self: Any, outcome: Outcome) -> None:
        name, link = outcome.client_orderid, outcome.redirect_to
        others = {other for named, other in self._giving if named == name}
        others |= self._taken.get(name, frozenset())
        if link is None or not others - {link}:
            rightly(self, outcome)

    garden.replace(redirects.Redirects, "show", show)


@bug
def tells_listeners_too_early(garden: Garden) -> None:
    """Listeners hear of an event that is not written yet."""

    async def append(self: Any, event: Event) -> None:
        self._means.tell(machine.evolve(self.payout, event), event, self.payout)
        await rightly(self, event)

    rightly = garden.replace(driver.Driver, "_append", append)
