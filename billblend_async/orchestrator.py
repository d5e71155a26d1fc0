"""Runs payouts: accepts each once, drives it until it is finished, and isolates it from the rest.

``run`` repeats ``advance`` with tenacity until the payout is finished or nobody should wait for it
any longer; ``run_many`` runs a batch. However often a payout is handed in, it is one payout, and
the journal decides who may send for it.
"""

import random
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Container, Iterable
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Self

import attrs
from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from .concurrency import side_by_side
from .driver import Done, Driver, Waiting
from .errors import (
    BillblendError,
    ClosedError,
    DecisionRefused,
    InvalidInput,
    JournalError,
    PayoutConflict,
    Problem,
    SendingStopped,
)
from .events import Closed, Opened, Released, Withdrawn
from .journal import Journal, Owner
from .machine import open_payout
from .means import Means, Observer, PayoutGateway, Resolve
from .models import Deadlines, Doubt, Flow, Outcome, State
from .payout import Payout, outcome
from .polling import Polling
from .request import PayoutRequest

__all__ = ["Orchestrator"]


class Orchestrator:
    """Runs payouts over a client and a journal; use it inside ``async with``.

    It opens the journal and closes it. Any number of tasks may run payouts at once; the same
    payout handed in twice is one payout.

    Args:
        client: The gateway's client, open.
        journal: The journal, not yet open.
        polling: How often a status is asked for.
        deadlines: How long each wait of a new payout may take before ``run`` hands it back.
        observer: Told of every change once it is durable.
        resolve: Finds the request of a payout that ``resume`` or ``advance`` must send and that
            nobody handed in since the process began; None when there is none.
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
        observer: Observer | None = None,
        resolve: Resolve | None = None,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._means = Means(
            client=client,
            journal=journal,
            polling=polling,
            observer=observer,
            resolve=resolve,
            wall_clock=wall_clock,
            chance=chance,
        )
        self._deadlines = deadlines
        self._drivers: dict[str, Driver] = {}

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
        for driver in self._drivers.values():
            driver.wake()
        try:
            await self._means.client.drain()
        finally:
            await self._means.journal.aclose()

    async def run(self, request: PayoutRequest, *, flow: Flow = Flow.CHECK_PAY) -> Outcome:
        """Run a payout until it is finished, or until it needs somebody or its deadline has passed.

        The same request again joins the payout that the journal holds. A caller that is cancelled
        ends its wait only; run the payout again to go on.

        Returns:
            The final outcome, or one whose ``open_reason`` says why it is not finished.

        Raises:
            PayoutConflict: The client_orderid is taken by another payout; nothing was sent.
            SendingStopped: The gateway refuses us, or has not answered for as long as
                ``deadlines.sending``; a payout that the journal did not hold was not accepted.
            JournalError: The journal cannot be used; nothing is sent that is not on record.
        """
        driver = await self._admit(request, flow)
        try:
            return await self._drive(driver)
        finally:
            self._leave(driver)

    async def run_many(
        self,
        requests: Iterable[PayoutRequest] | AsyncIterable[PayoutRequest],
        *,
        concurrency: int = 1000,
        flow: Flow = Flow.CHECK_PAY,
    ) -> AsyncGenerator[Outcome, None]:
        """Run payouts side by side and yield each outcome as it comes.

        One payout's trouble is told in its own outcome (``problem``) and touches no other. Only a
        journal that cannot be used ends the batch. Close the iterator to stop early: nothing new
        is sent, and what is under way ends in a record.

        Args:
            requests: The payouts; they are taken as places get free.
            concurrency: The most that are open at once, 1 or more.
            flow: Which way they go.
        """
        work = partial(self._isolated, flow=flow)
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
        self._check_open()
        unfinished = [state for state in State if not state.is_terminal]
        payouts = self._means.journal.payouts(unfinished)
        async with aclosing(side_by_side(payouts, self._resumed, limit=concurrency)) as outcomes:
            async for told in outcomes:
                yield told

    async def advance(self, client_orderid: str) -> Done | Waiting:
        """Perform at most one command of a payout: the step that any scheduler may call any time.

        Raises:
            PayoutNotFound: The journal knows no such payout.
            RequestNeeded: It was never checked, so it must be handed in again by ``run``.
            JournalError: The journal cannot be used; nothing is sent that is not on record.
        """
        self._check_open()
        driver = await self._find(client_orderid)
        try:
            return await driver.advance()
        finally:
            self._leave(driver)

    async def status(self, client_orderid: str) -> Outcome:
        """Tell where a payout stands, from the journal; nothing is asked or sent.

        Raises:
            PayoutNotFound: The journal knows no such payout.
        """
        self._check_open()
        driver = self._drivers.get(client_orderid)
        if driver is not None:
            return driver.outcome
        return outcome(await self._means.load(client_orderid))

    async def attention(
        self, *, doubt: Doubt | None = None, among: Container[str] | None = None
    ) -> list[Outcome]:
        """List the payouts for which nothing is sent until a person has looked.

        Args:
            doubt: Only those with this reason.
            among: Only those with one of these client_orderids, such as those of a batch.
        """
        self._check_open()
        parked = self._means.journal.payouts([State.ATTENTION])
        return [
            outcome(payout)
            async for payout in parked
            if doubt in (None, payout.doubt) and (among is None or payout.client_orderid in among)
        ]

    async def release(self, client_orderid: str, *, who: str, why: str) -> Outcome:
        """Write down that a person looked and allows exactly one more send; run it to go on.

        Args:
            client_orderid: A payout in Attention whose doubt is at least a minute old.
            who: The person.
            why: What they found out.

        Raises:
            DecisionRefused: It is not in Attention, the doubt is too young, or nothing that could
                be sent would be right.
            PayoutNotFound: The journal knows no such payout.
        """
        return await self._decide(client_orderid, Released, who, why)

    async def close(self, client_orderid: str, *, who: str, why: str) -> Outcome:
        """Write down that a person ended a payout in Attention; nothing is sent or asked again.

        Raises:
            DecisionRefused: It is not in Attention.
            PayoutNotFound: The journal knows no such payout.
        """
        return await self._decide(client_orderid, Closed, who, why)

    async def withdraw(self, client_orderid: str, *, who: str, why: str) -> Outcome:
        """Take a payout back; from then on pay is never sent.

        Raises:
            DecisionRefused: Pay may have been sent, or the payout is finished.
            PayoutNotFound: The journal knows no such payout.
        """
        return await self._decide(client_orderid, Withdrawn, who, why)

    async def declare_restored(self) -> int:
        """Take note that the journal was restored from a copy, before anything is run from it.

        What happened after the copy was made is missing from it. So every unfinished payout, and
        every payout that is accepted from now on, is asked about before anything is sent for it,
        and one that was about to be paid needs a person. That costs each new payout half a minute;
        ``declare_complete`` ends it.

        Returns:
            How many payouts were marked.
        """
        self._check_open()
        return await self._means.journal.declare_restored(self._means.wall_clock())

    async def declare_complete(self) -> None:
        """Take note that nobody will hand in a payout again that a restored journal has lost."""
        self._check_open()
        await self._means.journal.declare_complete()

    async def _decide(
        self,
        client_orderid: str,
        decision: type[Released | Closed | Withdrawn],
        who: str,
        why: str,
    ) -> Outcome:
        self._check_open()
        missing = [name for name, text in (("who", who), ("why", why)) if not text.strip()]
        if missing:
            raise InvalidInput(tuple(Problem(name, "is missing") for name in missing))
        driver = await self._find(client_orderid)
        try:
            event = decision(at=self._means.wall_clock(), who=who, why=why)
            if not await driver.decide(event):
                state = driver.payout.state
                raise DecisionRefused(client_orderid, decision.__name__.lower(), state.value)
            return driver.outcome
        finally:
            self._leave(driver)

    async def _resumed(self, payout: Payout) -> Outcome:
        """Go on with one payout of the journal; its own trouble becomes its outcome."""
        driver = self._join(Driver(self._means, payout))
        try:
            return await self._drive(driver)
        except (JournalError, ClosedError):
            raise
        except BillblendError as error:
            return attrs.evolve(driver.outcome, explanation=str(error), problem=error)
        finally:
            self._leave(driver)

    async def _find(self, client_orderid: str) -> Driver:
        """Join the driver that a payout has, or make one from the journal."""
        driver = self._drivers.get(client_orderid)
        if driver is None:
            driver = Driver(self._means, await self._means.load(client_orderid))
        return self._join(driver)

    def _check_open(self) -> None:
        if not self._means.is_open:
            raise ClosedError("orchestrator")

    async def _admit(self, request: PayoutRequest, flow: Flow) -> Driver:
        """Accept a payout into the journal, or join the one that is there."""
        self._check_open()
        await self._check_sending(request.client_orderid)
        opened = Opened(
            at=self._means.wall_clock(),
            client_orderid=request.client_orderid,
            flow=flow,
            amount=request.amount,
            currency=request.currency,
            fingerprint=request.fingerprint(self._means.journal.fingerprint_key),
            receiver_hint=request.receiver_hint,
            deadlines=self._deadlines,
        )
        payout = await self._means.journal.accept(opened)
        if payout.flow is not flow:
            raise PayoutConflict(request.client_orderid, ("flow",))
        self._means.check_same(payout, request)
        driver = self._join(Driver(self._means, payout))
        driver.request = request
        if attrs.evolve(payout, restored=False, sequence=0) == open_payout(opened):
            self._means.tell(payout, opened)
        return driver

    async def _check_sending(self, client_orderid: str) -> None:
        """Take no new payouts that could not be sent."""
        breaker = self._means.breaker
        if breaker.is_proven or await self._means.journal.load(client_orderid) is not None:
            return
        await breaker.prove()
        if breaker.trouble is not None and breaker.is_hopeless(self._deadlines.sending):
            raise SendingStopped(breaker.trouble, breaker.is_barred)

    def _join(self, driver: Driver) -> Driver:
        """Use the driver that this payout has already, or this one."""
        driver = self._drivers.setdefault(driver.payout.client_orderid, driver)
        driver.users += 1
        return driver

    def _leave(self, driver: Driver) -> None:
        driver.users -= 1
        if not driver.users:
            del self._drivers[driver.payout.client_orderid]

    async def _isolated(self, request: PayoutRequest, flow: Flow) -> Outcome:
        """Run one payout of a batch; its own trouble becomes its outcome."""
        try:
            return await self.run(request, flow=flow)
        except (JournalError, ClosedError):
            raise
        except BillblendError as error:
            return Outcome(
                client_orderid=request.client_orderid,
                amount=request.amount,
                currency=request.currency,
                state=State.NEW,
                explanation=str(error),
                problem=error,
            )

    async def _drive(self, driver: Driver) -> Outcome:
        """Repeat ``advance`` until it is done; tenacity is the policy, one object for one wait."""

        def gives_up(_: RetryCallState) -> bool:
            return not self._means.is_open or driver.is_overdue

        def pause(_: RetryCallState) -> float:
            return driver.pause()

        polling = AsyncRetrying(
            retry=retry_if_result(_is_waiting),
            stop=gives_up,
            wait=pause,
            sleep=driver.nap,
            retry_error_callback=_ignore,
        )
        await polling(driver.advance)
        return driver.outcome


def _is_waiting(step: Done | Waiting) -> bool:
    return isinstance(step, Waiting)


def _ignore(_: RetryCallState) -> None:
    """Give up quietly: where the payout stands is told by its outcome."""
