"""What every driver of one orchestrator works with: client, journal, clocks and callers' hooks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs

from ..core.events import Event
from ..core.models import Endpoint, Polling, is_callback_address
from ..core.payout import Payout, differences, fields, outcome
from ..core.request import PayoutRequest
from ..core.responses import Callback, SendAnswer, StatusAnswer
from ..errors import (
    ClosedError,
    ConfigurationError,
    JournalError,
    JournalRolledBack,
    PayoutConflict,
    PayoutNotFound,
)
from ..journal import Journal
from .circuit_breaker import BackOff, Breaker
from .observer import Feed, Monitor, Notice, Observers, OnRedirect, Redirects
from .polling import Alarms, Questions

__all__ = ["Means", "Observers", "PayoutGateway", "Resolve"]

log = logging.getLogger("billblend_async.means")

Resolve = Callable[[str], Awaitable[PayoutRequest | None]]
"""Finds the request of a payout by its client_orderid, where the caller keeps it."""


class PayoutGateway(Protocol):
    """What the orchestrator needs of a client; see ``billblend_async.Client``."""

    endpoint: Endpoint
    login: str
    max_sends: int

    async def check(
        self,
        request: PayoutRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[SendAnswer], Awaitable[None]] | None = None,
    ) -> SendAnswer:
        """Send payout-check."""
        ...

    async def pay(
        self,
        client_orderid: str,
        paynet_order_id: str,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[SendAnswer], Awaitable[None]] | None = None,
    ) -> SendAnswer:
        """Send payout-pay."""
        ...

    async def payout(
        self,
        request: PayoutRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[SendAnswer], Awaitable[None]] | None = None,
    ) -> SendAnswer:
        """Send the one-step payout."""
        ...

    async def status(
        self,
        client_orderid: str,
        paynet_order_id: str | None = None,
        *,
        on_leave: Callable[[], None] | None = None,
    ) -> StatusAnswer:
        """Ask for the status."""
        ...

    async def probe(self) -> StatusAnswer:
        """Ask, signed, about an order that nobody has made."""
        ...

    async def drain(self) -> None:
        """Wait for every exchange that is under way."""
        ...

    def verify_callback(self, query: str | bytes) -> Callback:
        """Verify a callback by the query of its URL."""
        ...


def _checked_address(url: str | None) -> str | None:
    if url is not None and not is_callback_address(url):
        raise ConfigurationError(
            "server_callback_url: must be an http or https URL of at most 128 characters on port "
            "80, 8080, 443 or 8443 (on a loopback address: any port)"
        )
    return url


@attrs.define(kw_only=True)
class Means:
    """What every driver of one orchestrator works with.

    Attributes:
        client: The gateway's client.
        journal: The journal.
        polling: How often a status is asked for.
        observer: Told what happens to payouts.
        resolve: Finds the request of a payout that nobody handed in.
        on_redirect: Takes the links for receivers.
        server_callback_url: Where the gateway sends callbacks, unless a request says another.
        wall_clock: Seconds since the epoch, for what is journaled.
        chance: Numbers from 0 to 1, to spread the polls.
        is_open: Whether anything may still be sent.
        breaker: Guards what may move money.
        back_off: Spaces the questions out while nobody answers them.
        questions: When each payout was last asked about.
        alarms: Ends the naps between two questions.
        forgetful: Why nothing is sent from the journal any more, if it has lost what was written.
        are_announced: Whether a callback has told here how the latest payout ended, before a
            question did.
        feed: Whoever listens to what happens.
        redirects: The links that were handed over.
        monitor: Tells the log and the observers.
    """

    client: PayoutGateway
    journal: Journal
    polling: Polling
    observer: Observers | None
    resolve: Resolve | None
    on_redirect: OnRedirect | None
    server_callback_url: str | None = attrs.field(converter=_checked_address)
    wall_clock: Callable[[], float]
    chance: Callable[[], float]
    is_open: bool = False
    forgetful: JournalRolledBack | None = None
    are_announced: bool = False
    breaker: Breaker = attrs.field(init=False)
    back_off: BackOff = attrs.field(factory=BackOff, init=False)
    questions: Questions = attrs.field(init=False)
    alarms: Alarms = attrs.field(factory=Alarms, init=False)
    feed: Feed = attrs.field(factory=Feed, init=False)
    redirects: Redirects = attrs.field(init=False)
    monitor: Monitor = attrs.field(init=False)
    _marking: asyncio.Future[None] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Let the breaker ask through the client, and the monitor tell the observers."""
        self.breaker = Breaker(self.client.probe, self.client.max_sends)
        self.questions = Questions(self.polling.shortest)
        self.redirects = Redirects(self.on_redirect)
        self.monitor = Monitor(self.observer)

    async def find_request(self, client_orderid: str) -> PayoutRequest | None:
        """Ask the caller for a request; a caller that fails has none."""
        found = None
        if self.resolve is not None:
            try:
                found = await self.resolve(client_orderid)
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # it is we who are cancelled, and not something within the caller's code
                # Its class alone: its text may hold the receiver's data.
                failed = type(error).__name__
                log.error(  # noqa: TRY400 - likewise
                    "payout %s: resolve failed: %s",
                    client_orderid,
                    failed,
                    extra=fields(client_orderid, reason=failed),
                )
        return found

    async def load(self, client_orderid: str) -> Payout:
        """Read a payout from the journal."""
        payout = await self.journal.load(client_orderid)
        if payout is None:
            raise PayoutNotFound(client_orderid)
        return payout

    async def read_again(self, known: Payout) -> Payout:
        """Read a payout of which this program knows how it stood.

        A database that has failed over to a standby without the last commits, or a file that was
        replaced by an older copy, still answers: it has forgotten what was sent, and would let it
        be sent again. No other payout is sent from it either, and it is marked as restored, so that
        whichever program opens it next asks before it sends anything.

        Raises:
            JournalRolledBack: The journal holds less than what this program knows to be durable.
        """
        try:
            found = await self.journal.load(known.client_orderid)
        except JournalRolledBack as error:  # it has noticed by itself, and has marked it
            self.forgetful = error
            raise
        if found is not None and found.sequence > known.sequence:
            return found
        if found is not None and (found.sequence, found.state) == (known.sequence, known.state):
            return found
        reason = f"payout {known.client_orderid}: it has forgotten how far this payout had come"
        if self.forgetful is None:
            self.forgetful = JournalRolledBack(repr(self.journal), reason, is_marked=False)
            self._marking = asyncio.ensure_future(self._mark())
        if self._marking is not None:
            await asyncio.shield(self._marking)  # whoever is cancelled leaves it under way
        raise attrs.evolve(self.forgetful)

    async def marked(self) -> None:
        """Wait until the journal is marked as restored, if that is under way."""
        if self._marking is not None:
            await asyncio.wait({self._marking})

    async def _mark(self) -> None:
        """Mark the journal as restored, before anybody hears that it has forgotten something."""
        try:
            await self.journal.declare_restored(self.wall_clock())
        except JournalRolledBack as error:
            self.forgetful = error
        except (JournalError, ClosedError):
            return
        else:
            if self.forgetful is not None:
                self.forgetful = attrs.evolve(self.forgetful, is_marked=True)

    def check_memory(self) -> None:
        """Refuse to send anything from a journal that has forgotten something.

        Raises:
            JournalRolledBack: It has.
        """
        if self.forgetful is not None:
            raise attrs.evolve(self.forgetful)

    def check_same(self, payout: Payout, request: PayoutRequest) -> None:
        """Refuse a request that would pay another amount or another receiver.

        Raises:
            PayoutConflict: It differs; the error says in what.
        """
        differs = differences(payout, request, self.journal.fingerprint_key)
        if differs:
            raise PayoutConflict(payout.client_orderid, differs)

    def addressed(self, request: PayoutRequest) -> PayoutRequest:
        """Give a request the default address for callbacks, if it has none of its own."""
        if request.server_callback_url is not None or self.server_callback_url is None:
            return request
        return attrs.evolve(request, server_callback_url=self.server_callback_url)

    def tell(self, payout: Payout, event: Event | None, before: Payout | None = None) -> None:
        """Tell of a change that is durable; of one that another process has made with None."""
        if self.feed.is_heard:
            self.feed.tell(Notice(outcome(payout), event))
        if event is None:
            self.monitor.overtaken(payout)
        else:
            self.monitor.changed(payout, event, before)
