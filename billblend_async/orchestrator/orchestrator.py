"""Runs payouts: accepts each once, drives it until it is finished, and isolates it from the rest.

``run`` repeats ``advance`` with tenacity until the payout is finished or nobody should wait for it
any longer; ``run_many`` runs a batch. However often a payout is handed in, it is one payout, and
the journal decides who may send for it.
"""

import asyncio
import random
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import aclosing
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import attrs
from tenacity import RetryCallState, retry_if_result

from ..core.events import Approved, Opened
from ..core.machine import open_payout
from ..core.models import Deadlines, Flow, Outcome, Polling, State
from ..core.payout import Payout, not_taken
from ..core.request import PayoutRequest
from ..core.responses import Callback
from ..errors import (
    BillblendError,
    ClosedError,
    DecisionRefused,
    InvalidInput,
    JournalError,
    JournalRolledBack,
    PayoutConflict,
    Problem,
    SendingStopped,
)
from ..journal import Journal, Owner
from .context import Means, Observers, PayoutGateway, Resolve
from .inbox import Delivery, Mailbox
from .observer import Events, OnRedirect
from .polling import Repeating
from .review import Oversight
from .runner import Crew, Done, Driver, Waiting

__all__ = [
    "Admission",
    "Orchestrator",
    "side_by_side",
]


@attrs.define(eq=False)
class Admission:
    """Where payouts come in.

    Attributes:
        means: What the orchestrator works with.
        crew: The drivers, one of which each payout gets.
        deadlines: How long each wait of a new payout may take.
    """

    means: Means
    crew: Crew
    deadlines: Deadlines

    async def admit(self, request: PayoutRequest, flow: Flow, *, pay: bool) -> Driver:
        """Accept a payout into the journal, or join the one that is there."""
        self.crew.check_open()
        self.means.check_memory()
        if not pay and flow is Flow.ONE_STEP:
            wrong = "a payout in one step has nothing to wait with; let it be checked and then paid"
            raise InvalidInput((Problem("pay", wrong),))
        await self._check_sending(request.client_orderid)
        opened = Opened(
            at=self.means.wall_clock(),
            client_orderid=request.client_orderid,
            flow=flow,
            amount=request.amount,
            currency=request.currency,
            fingerprint=request.fingerprint(self.means.journal.fingerprint_key),
            receiver_hint=request.receiver_hint,
            held=not pay,
            deadlines=self.deadlines,
        )
        payout = await self.means.journal.accept(opened)
        if payout.flow is not flow:
            raise PayoutConflict(request.client_orderid, ("flow",))
        self.means.check_same(payout, request)
        is_approved = payout.approved_by is not None or payout.state.is_terminal
        if not (pay or payout.held or is_approved):
            raise PayoutConflict(request.client_orderid, ("pay",))
        driver = self.crew.join(payout)
        driver.request = request
        if attrs.evolve(payout, restored=False, sequence=0) == open_payout(opened):
            self.means.tell(payout, opened)
        return driver

    async def _check_sending(self, client_orderid: str) -> None:
        """Take no new payouts that could not be sent."""
        breaker = self.means.breaker
        if breaker.is_proven or await self.means.journal.load(client_orderid) is not None:
            return
        await breaker.prove()
        if breaker.trouble is not None and breaker.is_hopeless(self.deadlines.sending):
            raise SendingStopped(breaker.trouble, breaker.is_barred)


Item = TypeVar("Item")
Result = TypeVar("Result")


async def side_by_side(
    items: Iterable[Item] | AsyncIterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    *,
    limit: int,
) -> AsyncGenerator[Result, None]:
    """Work on items and yield what came of each, in the order in which they end.

    What the source or a piece of work raises ends everything and reaches the caller, also when
    it is a cancellation of its own making. Whoever closes the iterator early cancels what is under
    way.

    Args:
        items: Taken one by one, as places get free.
        work: What is done with each.
        limit: The most that are worked on at once.

    Raises:
        ValueError: The limit is less than 1.
    """
    if limit < 1:
        raise ValueError("concurrency must be 1 or more")
    ends: asyncio.Queue[tuple[Result] | Exception | None] = asyncio.Queue()
    places = asyncio.Semaphore(limit)
    running: set[asyncio.Task[None]] = set()

    async def one(item: Item) -> None:
        try:
            ends.put_nowait((await work(item),))
        except Exception as error:  # noqa: BLE001 - raised to the caller below
            ends.put_nowait(error)
        except asyncio.CancelledError:
            ends.put_nowait(RuntimeError("a payout's task was cancelled from within"))
            raise
        finally:
            places.release()

    async def feed() -> None:
        gone, here = running.discard, copy_context()  # once for all, since thousands wait at once
        try:
            async for item in _each(items):
                await places.acquire()
                task = asyncio.create_task(one(item))
                running.add(task)
                task.add_done_callback(gone, context=here)
            while running:
                await asyncio.wait(running)
            ends.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - raised to the caller below
            ends.put_nowait(error)
        except asyncio.CancelledError:
            ends.put_nowait(RuntimeError("the source of the payouts was cancelled from within"))
            raise

    feeder = asyncio.create_task(feed())
    try:
        while (end := await ends.get()) is not None:
            if isinstance(end, Exception):
                raise end
            yield end[0]
    finally:
        tasks = [feeder, *running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
            await asyncio.sleep(0)  # a thousand that begin at once would hold up the host


class Orchestrator(Oversight):
    """Runs payouts over a client and a journal; use it inside ``async with``.

    It opens the journal and closes it. Any number of tasks may run payouts at once; the same
    payout handed in twice is one payout.

    Args:
        client: The gateway's client, open.
        journal: The journal, not yet open.
        polling: How often a status is asked for.
        deadlines: How long each wait of a new payout may take before ``run`` hands it back.
        observer: An ``Observer``, or a function of a changed payout and its event; or several.
        resolve: Finds the request of a payout that ``resume`` or ``advance`` must send and that
            nobody handed in since the process began; None when there is none.
        on_redirect: Awaited with the outcome of a payout whose receiver must follow
            ``redirect_to``, once that is durable: at least once for each link, again if it raises,
            and again after a restart while the receiver is waited for.
        server_callback_url: Where the gateway sends its callbacks (``CallbackEndpoint`` serves
            them), unless a request has its own; at most 128 characters, port 80, 8080, 443 or
            8443 (document 3.37).
        wall_clock: Seconds since the epoch, for what is journaled.
        chance: Numbers from 0 to 1, to spread the polls.
    """

    def __init__(
        self,
        client: PayoutGateway,
        journal: Journal,
        *,
        polling: Polling = Polling(),
        deadlines: Deadlines = Deadlines(),
        observer: Observers | None = None,
        resolve: Resolve | None = None,
        on_redirect: OnRedirect | None = None,
        server_callback_url: str | None = None,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        means = Means(
            client=client,
            journal=journal,
            polling=polling,
            observer=observer,
            resolve=resolve,
            on_redirect=on_redirect,
            server_callback_url=server_callback_url,
            wall_clock=wall_clock,
            chance=chance,
        )
        super().__init__(means, Crew(means))
        self._admission = Admission(means, self._crew, deadlines)
        self._mailbox = Mailbox(self._crew)

    async def __aenter__(self) -> Self:
        """Open the journal."""
        client = self._means.client
        await self._means.journal.open(
            Owner(
                base_url=client.endpoint.base_url,
                login=client.login,
                endpoint=client.endpoint.path,
            )
        )
        self._means.is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send nothing new, let what is under way end in a record, and close the journal."""
        self._means.is_open = False
        self._means.breaker.close()
        self._mailbox.close()
        for driver in self._crew:
            driver.timing.wake()
        try:
            await self._means.redirects.close()
            await self._means.client.drain()
            await self._means.marked()
        finally:
            await self._means.journal.aclose()
            self._means.feed.close()

    async def accept(
        self, request: PayoutRequest, *, flow: Flow = Flow.CHECK_PAY, pay: bool = True
    ) -> Outcome:
        """Take a payout in without running it: once this returns, the journal holds it for good.

        Then a host can tell its caller that the payout is accepted, and ``run`` it in the
        background. Until it was checked, only the host can hand its request in again after a crash:
        keep that where ``resolve`` finds it before accepting.

        Args:
            request: The payout.
            flow: Which way it goes.
            pay: False to let it wait for ``approve``, as in ``run``; say the same there.

        Returns:
            Where it stands, which is further on when the journal holds it already.

        Raises:
            PayoutConflict, InvalidInput, SendingStopped, JournalError: As for ``run``.
        """
        driver = await self._admission.admit(request, flow, pay=pay)
        try:
            return driver.outcome
        finally:
            self._crew.leave(driver)

    async def run(
        self, request: PayoutRequest, *, flow: Flow = Flow.CHECK_PAY, pay: bool = True
    ) -> Outcome:
        """Run a payout until it is finished, or until it needs somebody or its deadline has passed.

        The same request again joins the payout that the journal holds. A caller that is cancelled
        ends its wait only; run the payout again to go on.

        Args:
            request: The payout.
            flow: Which way it goes.
            pay: False to let the bank validate it and then wait for ``approve`` (or ``withdraw``):
                it comes back with ``open_reason`` awaiting-approval. Running it again with True
                approves nothing.

        Returns:
            The final outcome, or one whose ``open_reason`` says why it is not finished.

        Raises:
            PayoutConflict: The client_orderid is taken by another payout, or by this one to be
                paid without approval; nothing was sent.
            InvalidInput: A payout in one step cannot wait for approval.
            SendingStopped: The gateway refuses us, or has not answered for as long as
                ``deadlines.sending``; a payout that the journal did not hold was not accepted.
            ConfigurationError: The client's transport is not seen to send; nothing was sent.
            JournalError: The journal cannot be used; nothing is sent that is not on record.
        """
        driver = await self._admission.admit(request, flow, pay=pay)
        try:
            if not pay and driver.payout.approved_by is not None:
                return driver.outcome  # whoever approved it pays it, and not this call
            return await self._drive(driver)
        finally:
            self._crew.leave(driver)

    async def run_many(
        self,
        requests: Iterable[PayoutRequest] | AsyncIterable[PayoutRequest],
        *,
        concurrency: int = 1000,
        flow: Flow = Flow.CHECK_PAY,
        pay: bool = True,
    ) -> AsyncGenerator[Outcome, None]:
        """Run payouts side by side and yield each outcome as it comes.

        One payout's trouble is told in its own outcome (``problem``) and touches no other. Only a
        journal that cannot be used ends the batch. Close the iterator to stop early: nothing new
        is sent, and what is under way ends in a record.

        Args:
            requests: The payouts; they are taken as places get free.
            concurrency: The most that are open at once, 1 or more.
            flow: Which way they go.
            pay: False to let each wait for ``approve``, as in ``run``.
        """
        work = partial(self._isolated, flow=flow, pay=pay)
        async with aclosing(side_by_side(requests, work, limit=concurrency)) as outcomes:
            async for told in outcomes:
                yield told

    async def resume(self, *, concurrency: int = 1000) -> AsyncGenerator[Outcome, None]:
        """Go on with every unfinished payout of the journal and yield each outcome as it comes.

        A payout that has an order id needs nothing more. One that must still be checked takes its
        request from ``resolve``; without it, its outcome's ``problem`` is RequestNeeded.

        Args:
            concurrency: The most that are open at once.
        """
        self._crew.check_open()
        unfinished = [state for state in State if not state.is_terminal]
        payouts = self._means.journal.payouts(unfinished)
        async with aclosing(side_by_side(payouts, self._resumed, limit=concurrency)) as outcomes:
            async for told in outcomes:
                yield told

    async def advance(self, client_orderid: str) -> Done | Waiting:
        """Perform at most one command of a payout: the step that any scheduler may call any time.

        Any number of tasks, processes and machines may call it at once. Each call reads the journal
        and goes on from there, and of all who want to send one does. However often it is called, a
        process asks about a payout no more often than ``polling.shortest``, but for what is news
        here; processes do not know of each other's questions.

        Raises:
            PayoutNotFound: The journal knows no such payout.
            RequestNeeded: It was never checked, so it must be handed in again by ``run``.
            JournalError: The journal cannot be used; nothing is sent that is not on record.
        """
        async with self._crew.driver(client_orderid) as driver:
            await self._crew.catch_up(driver)
            driver.runners += 1
            try:
                return await driver.advance()
            finally:
                driver.runners -= 1

    async def approve(self, client_orderid: str, *, who: str) -> Outcome:
        """Approve a payout that was run with ``pay=False``, and run it on to its end.

        Nothing but the journal is needed for that. The bank's validation is asked for once more
        before pay is sent, unless it was seen within ten seconds. A caller that is cancelled ends
        its wait; the approval stands, and approving it again goes on with it.

        Args:
            client_orderid: The payout.
            who: The person who approves.

        Raises:
            DecisionRefused: It was not held, or is finished without approval.
            PayoutNotFound: The journal knows no such payout.
            RequestNeeded: It was never checked, so it must be handed in again by ``run``.
        """
        self._check_named(who=who)
        self._means.check_memory()
        decision = Approved(at=self._means.wall_clock(), who=who)
        async with self._crew.driver(client_orderid) as driver:
            if driver.payout.approved_by is None:
                try:
                    await self._decide(client_orderid, decision)
                except DecisionRefused:
                    if driver.payout.approved_by is None:
                        raise  # and nobody else has approved it meanwhile
            return await self._drive(driver)

    async def deliver(self, callback: Callback) -> Delivery:
        """Take in a callback of the gateway that ``verify_callback`` has verified.

        What it tells is a hint: it is durable when this returns, and wakes the payout's next status
        request, which alone decides. The same callback again changes nothing. A host that answers
        callbacks itself answers 200 when this returns, and what ``CallbackEndpoint`` answers for
        each error.

        Raises:
            PayoutNotFound: The journal knows no such payout (404).
            VerificationFailed: Its two ids do not belong together (403).
            DeliverAgain: It comes too early to be judged (503).
            JournalError: It cannot be made durable now (503).
        """
        return await self._mailbox.deliver(callback)

    def verify_callback(self, query: str | bytes) -> Callback:
        """Verify a callback by the query of its URL and the client's merchant controls.

        Raises:
            VerificationFailed: The gateway has not made it.
            ConfigurationError: The client's credentials hold no merchant control.
        """
        return self._means.client.verify_callback(query)

    def events(self, client_orderid: str | None = None) -> Events:
        """Listen to every change that this process makes or meets, from now on.

        Args:
            client_orderid: Only those of this payout.

        Returns:
            An asynchronous iterator of ``Notice``; it ends when the orchestrator closes.
        """
        return self._means.feed.listen(client_orderid)

    async def follow(self, client_orderid: str) -> AsyncGenerator[Outcome, None]:
        """Tell where a payout stands now, and again whenever that changes, until it is finished.

        Following runs nothing: somebody else must have the payout run. What another process does
        with it is told once this one meets it.

        Raises:
            PayoutNotFound: The journal knows no such payout.
        """
        with self.events(client_orderid) as events:
            told = await self.status(client_orderid)
            yield told
            while not told.is_finished:
                notice = await anext(events, None)
                if notice is None:
                    return
                if notice.outcome != told:
                    told = notice.outcome
                    yield told

    @property
    def rolled_back(self) -> JournalRolledBack | None:
        """Why nothing is sent from the journal any more: an older copy has taken its place."""
        return self._means.forgetful

    async def _resumed(self, payout: Payout) -> Outcome:
        """Go on with one payout of the journal; its own trouble becomes its outcome."""
        if self._means.is_open:  # it may have waited long for its place and be finished by now
            payout = await self._means.load(payout.client_orderid)
        driver = self._crew.join(payout)
        try:
            return await self._drive(driver)
        except (JournalError, ClosedError):
            raise
        except BillblendError as error:
            return attrs.evolve(driver.outcome, explanation=str(error), problem=error)
        finally:
            self._crew.leave(driver)

    async def _isolated(self, request: PayoutRequest, flow: Flow, *, pay: bool) -> Outcome:
        """Run one payout of a batch; its own trouble becomes its outcome."""
        try:
            return await self.run(request, flow=flow, pay=pay)
        except (JournalError, ClosedError):
            raise
        except BillblendError as error:
            return not_taken(request, error)

    async def _drive(self, driver: Driver) -> Outcome:
        """Repeat ``advance`` until it is done; tenacity is the policy."""
        driver.runners += 1
        try:
            await _POLLING(Driver.advance, driver)
        finally:
            driver.runners -= 1
        return driver.outcome


def _driver(state: RetryCallState) -> Driver:
    """Find whose wait it is."""
    driver: Driver = state.args[0]
    return driver


def _is_waiting(step: Done | Waiting) -> bool:
    return isinstance(step, Waiting)


def _gives_up(state: RetryCallState) -> bool:
    return _driver(state).is_given_up


def _pause(state: RetryCallState) -> float:
    driver = _driver(state)
    return driver.timing.pause(driver.payout)


def _nap(state: RetryCallState) -> Awaitable[None]:
    return _driver(state).timing.nap(state.upcoming_sleep)


_POLLING: Final = Repeating(
    retry=retry_if_result(_is_waiting), stop=_gives_up, wait=_pause, nap=_nap
)
"""The policy of every wait; what each wait knows is in its own state."""
