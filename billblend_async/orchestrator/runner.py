"""Runs one payout: performs the machine's commands and journals what they brought.

Nothing that may move money is sent without a claim: see ``Driver._claim``. ``Crew`` is the registry
of the runners of this process: one for each payout, however many tasks use it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, assert_never

import attrs

from ..core.events import (
    CheckNotSent,
    CheckStarted,
    Decision,
    Event,
    NotSeen,
    PayNotSent,
    PayStarted,
    Validated,
)
from ..core.machine import (
    Ask,
    Check,
    Command,
    Pay,
    PayOut,
    Stop,
    event_for,
    evolve,
    is_out_of_date,
    next_command,
)
from ..core.models import Outcome, State
from ..core.payout import FRESH_FOR, Payout, fields_of, outcome
from ..core.request import PayoutRequest
from ..core.responses import NoAnswer, NotFound, NotSent, SendAnswer, StatusAnswer, Unknown
from ..errors import ClaimLost, ClosedError, RequestNeeded
from .context import Means
from .polling import Timing, clock

__all__ = [
    "Crew",
    "Done",
    "Driver",
    "Waiting",
]


@attrs.frozen
class Done:
    """Nothing more is sent or asked for this payout.

    Attributes:
        outcome: What became of it.
    """

    outcome: Outcome


@attrs.frozen
class Waiting:
    """The payout goes on later.

    Attributes:
        outcome: Where it stands.
        seconds: How long to wait before the next ``advance``.
        until: The same as an instant, in seconds since the epoch.
    """

    outcome: Outcome
    seconds: float
    until: float


log = logging.getLogger("billblend_async.driver")

_MOST_SILENT: Final = 3
"""Questions without an answer after which a person's decision is not waited for any longer."""


class Driver:
    """One payout that this process drives right now.

    Any number of tasks may call ``advance``; one command is performed at a time.

    Attributes:
        payout: The payout as the journal has it, as far as this process knows.
        request: What the caller handed in, while it did.
        users: How many tasks use it.
        runners: How many of them want it to be sent; without any, nothing is.
        timing: When the next command is due.
    """

    __slots__ = (
        "_claimed_at",
        "_explanation",
        "_means",
        "_told",
        "_told_of",
        "_told_why",
        "_turn",
        "_writing",
        "payout",
        "request",
        "runners",
        "timing",
        "users",
    )

    def __init__(self, means: Means, payout: Payout) -> None:
        self._means = means
        self.timing = Timing(means.polling, means.alarms, means.wall_clock, means.chance)
        self.payout = payout
        self.request: PayoutRequest | None = None
        self.users = 0
        self.runners = 0
        self._turn = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._claimed_at: float | None = None
        self._explanation: str | None = None
        self._told: Outcome | None = None
        self._told_of = payout
        self._told_why: str | None = None

    @property
    def outcome(self) -> Outcome:
        """Where the payout stands."""
        trouble = self._means.breaker.trouble if self._waits_to_send else None
        why = trouble or self._explanation
        if self._told is None or self._told_of is not self.payout or self._told_why != why:
            self._told_of, self._told_why = self.payout, why
            self._told = outcome(self.payout, explanation=why)
        return self._told

    @property
    def is_given_up(self) -> bool:
        """Whether nobody should wait for it any longer; what can be done now is done first."""
        if not self._means.is_open:
            return True
        if self.timing.is_due:
            return False
        patience = self.payout.deadlines.sending
        if self._waits_to_send and self._means.breaker.is_hopeless(patience):
            return True
        if self.payout.state in (State.CHECKING, State.PAYING):
            if self._means.breaker.is_barred:
                patience = 0.0  # a wrong setting is not mended by waiting
            if self._means.back_off.is_hopeless(patience):
                return True
        return self.timing.rest(self.payout) <= 0

    @property
    def _waits_to_send(self) -> bool:
        return self.payout.state in (State.NEW, State.VALIDATED)

    async def advance(self) -> Done | Waiting:
        """Perform the next command if it is due: at most one request."""
        async with self._turn:
            if self._means.is_open and self.timing.is_due:
                await self._perform(next_command(self.payout, self._means.wall_clock()))
        told = self.outcome
        self._means.redirects.show(told)
        if self.payout.state.is_terminal:
            return Done(told)
        seconds = self.timing.seconds
        return Waiting(told, seconds, self._means.wall_clock() + seconds)

    def hint(self) -> None:
        """Ask soon, since there may be news."""
        self.timing.hint(self.payout)

    async def ask(self) -> bool:
        """Ask for the status if that is what is due; False when there is nothing to ask.

        Nothing is sent from here: a hint must not make anybody pay. Nor is anything journaled
        that serves sending alone, or whoever repeats a hint would fill the journal.
        """
        async with self._turn:
            command = next_command(self.payout, self._means.wall_clock())
            if not self._means.is_open or not isinstance(command, Ask):
                return False
            if self.timing.is_due:
                await self._perform(command, is_hinted=True)
        self._means.redirects.show(self.outcome)
        return not self.payout.state.is_terminal

    async def record(self, event: Event) -> bool:
        """Journal an event if it is news."""
        return await self._record(lambda _: event)

    async def learn_late(self, command: Ask, answer: StatusAnswer) -> bool:
        """Journal what an answer says against a finished payout; True when it says anything."""
        at = self._means.wall_clock()
        return await self._record(lambda payout: event_for(payout, command, answer, at))

    async def refresh(self) -> None:
        """Read the payout again, since another process may have led it on."""
        async with self._writing:
            await self._reload()

    async def _reload(self) -> None:
        payout = await self._means.read_again(self.payout)
        if payout.sequence != self.payout.sequence:  # else whoever is about to send still holds it
            self.payout = payout
            self._means.tell(payout, None)

    async def consult(self) -> StatusAnswer | None:
        """Ask the gateway about a restored payout, so that a person can decide about it.

        What such a journal says may be out of date. A denied order is asked about for as long as
        definite denials take (half a minute). Nothing is sent.

        Returns:
            The last answer that the gateway itself gave; None when it gave none.
        """
        told: StatusAnswer | None = None
        silent = 0
        while silent < _MOST_SILENT and self._means.is_open:
            async with self._turn:
                command = next_command(self.payout, self._means.wall_clock())
                if not self.payout.restored or not isinstance(command, Ask):
                    return told
                answer = await self._ask(command, is_hinted=False)
            if answer is None or (isinstance(answer, NoAnswer) and not answer.readable):
                silent += 1
            else:
                told = answer
                counts = self.payout.state in (State.NEW, State.CHECKING)
                if not (counts and isinstance(answer, NotFound)):
                    return told
            await self._sleep_until_due()
        return told

    async def _sleep_until_due(self) -> None:
        """Sleep until the next command is due; something else may end a nap earlier."""
        while self._means.is_open and not self.timing.is_due:
            await self.timing.nap(self.timing.seconds)

    async def decide(self, decision: Decision, *, told: StatusAnswer | None = None) -> bool:
        """Journal what a person decided; False when the payout does not take it as it stands.

        Args:
            decision: What was decided.
            told: What the gateway has answered about the payout just now, if it was asked.
        """

        def event_of(payout: Payout) -> Event | None:
            return None if is_out_of_date(decision, payout, told) else decision

        changed = await self._record(event_of)
        if not changed:
            # Another owner may have led it where the decision fits.
            await self.refresh()
            changed = await self._record(event_of)
        if changed:
            self.timing.due = clock()
            self.timing.wake()
        return changed

    async def _perform(self, command: Command, *, is_hinted: bool = False) -> None:
        match command:
            case Stop():
                return
            case Ask():
                await self._ask(command, is_hinted=is_hinted)
            case Check() | Pay() | PayOut():
                await self._send_in_turn(command)
            case _:
                assert_never(command)

    async def _ask(self, command: Ask, *, is_hinted: bool) -> StatusAnswer | None:
        """Ask for the status, unless nobody answers just now, and learn from the answer."""
        name, questions = self.payout.client_orderid, self._means.questions
        if delay := self._means.back_off.delay(self._means.chance()):
            self.timing.due = clock() + delay
            return None
        if delay := questions.delay(name):
            # So short a time is slept through: whoever runs an overdue payout again has at
            # least one answer.
            await asyncio.sleep(delay)
            wanted = next_command(self.payout, self._means.wall_clock())
            if not self._means.is_open or wanted != command:
                return None
        asked_at, began = self._means.wall_clock(), clock()
        due, left = self.timing.due, began

        def leave() -> None:
            nonlocal left
            left = clock()

        self.timing.ask()
        questions.note(name)
        answer = await self._means.client.status(name, command.paynet_order_id, on_leave=leave)
        questions.note(name)
        self.timing.asked()
        self._means.back_off.learn(answer)
        late = max(0.0, left - due) if due else 0.0  # the first one is due at once
        self._means.monitor.asked(self.payout, answer, clock() - began, late)
        await self._learn(command, answer, asked_at, is_hinted=is_hinted)
        return answer

    async def _send_in_turn(self, command: Check | Pay | PayOut) -> None:
        """Send when the breaker lets it go, if it is still the thing to do then."""
        expected, breaker = self.payout, self._means.breaker
        if not await breaker.admit():
            self.timing.due = max(breaker.retry_at, clock() + self._means.polling.shortest)
            return
        try:
            now = next_command(self.payout, self._means.wall_clock())
            if self.payout is expected and now == command:
                await self._send(command)
        finally:
            breaker.leave()

    async def _send(self, command: Check | Pay | PayOut) -> None:
        """Send what may move money: claimed before the first byte, recorded whatever happens."""
        before_send = partial(self._claim, self.payout, command)
        after = partial(self._hear, command)
        try:
            if isinstance(command, Pay):
                await self._means.client.pay(
                    self.payout.client_orderid,
                    command.paynet_order_id,
                    before_send=before_send,
                    after=after,
                )
                return
            request = await self._find_request()
            send = (
                self._means.client.check
                if isinstance(command, Check)
                else self._means.client.payout
            )
            await send(request, before_send=before_send, after=after)
        except ClaimLost as lost:
            log.info("%s", lost, extra=fields_of(self.payout, reason="ClaimLost"))

    async def _find_request(self) -> PayoutRequest:
        """Take the request that was handed in, or ask for it where the caller keeps it."""
        client_orderid = self.payout.client_orderid
        if self.request is None:
            found = await self._means.find_request(client_orderid)
            if found is not None:
                self._means.check_same(self.payout, found)
                self.request = found
        if self.request is None or self.request.client_orderid != client_orderid:
            raise RequestNeeded(client_orderid)
        return self._means.addressed(self.request)

    async def _claim(self, expected: Payout, command: Check | Pay | PayOut) -> None:
        """Write down that a request is about to leave; without that record it does not.

        The journal takes each step of a payout once, so of all owners that want to send it one
        succeeds. Whoever loses sends nothing, reads the payout again and goes on asking.

        Raises:
            ClaimLost: The payout has moved on, or the record took too long to be sent on.
            JournalRolledBack: The journal has forgotten what was written.
        """
        self._means.check_memory()
        lost = ClaimLost(expected.client_orderid, expected.sequence + 1)
        async with self._writing:
            at, began = self._means.wall_clock(), clock()
            is_wanted = self._means.is_open and self.runners > 0
            if (
                not is_wanted
                or self.payout is not expected
                or next_command(expected, at) != command
            ):
                raise lost
            started = CheckStarted(at=at) if isinstance(command, Check) else PayStarted(at=at)
            await self._append(started)
            claimed = self.payout
        age = self._means.wall_clock() - at
        if not (0 <= age <= FRESH_FOR and clock() - began <= FRESH_FOR and self._means.is_open):
            kept = CheckNotSent if isinstance(command, Check) else PayNotSent
            # This claim may be taken back and no other: the payout may have moved on meanwhile.
            await self._record(
                lambda payout: (
                    kept(at=self._means.wall_clock()) if _is_same_claim(payout, claimed) else None
                )
            )
            raise lost
        self._claimed_at = clock()

    async def _hear(self, command: Check | Pay | PayOut, answer: SendAnswer) -> None:
        """Learn from the answer to a send."""
        claimed_at, self._claimed_at = self._claimed_at, None
        seconds = 0.0 if claimed_at is None else clock() - claimed_at
        self._means.breaker.learn(answer)
        try:
            await self._learn(command, answer)
        finally:
            self._means.monitor.sent(self.payout, command, answer, seconds)

    async def _learn(
        self,
        command: Command,
        answer: SendAnswer | StatusAnswer,
        asked_at: float | None = None,
        *,
        is_hinted: bool = False,
    ) -> None:
        """Journal what an answer means and choose when to go on."""
        at = self._means.wall_clock()

        def event_of(payout: Payout) -> Event | None:
            event = event_for(payout, command, answer, at)
            if asked_at is None:
                return event
            # What may be sent on is as old as the question, however long the answer travelled; an
            # order is denied for as long as lies between the first answer and the last question.
            first = payout.not_seen_at
            match event:
                case NotSeen() if is_hinted:
                    return None
                case Validated() if is_hinted and payout.state is State.VALIDATED:
                    return None
                case Validated():
                    return attrs.evolve(event, at=asked_at)
                case NotSeen() if first is not None and first <= at:
                    return attrs.evolve(event, at=max(asked_at, first))
                case _:
                    return event

        changed = await self._record(event_of)
        self._explanation = _reason(answer)
        self.timing.schedule(
            self.payout,
            is_urgent=changed and not isinstance(answer, NotSent),
            is_announced=self._means.are_announced,
        )

    async def _record(self, event_of: Callable[[Payout], Event | None]) -> bool:
        """Journal an event if it changes the payout; an owner that was faster is read first."""
        async with self._writing:
            while (event := event_of(self.payout)) is not None:
                if evolve(self.payout, event) is self.payout:
                    return False
                try:
                    await self._append(event)
                except ClaimLost:
                    continue  # the payout was read again; see what the event means for it now
                return True
            return False

    async def _append(self, event: Event) -> None:
        """Write an event and what it makes of the payout; the caller holds the lock."""
        before, becomes = self.payout, evolve(self.payout, event)
        try:
            await self._means.journal.append(becomes, event)
        except ClaimLost:
            await self._reload()
            raise
        self.payout = becomes
        if becomes.state is State.FINAL and becomes.pays:
            self._means.are_announced = self.timing.was_hinted
        self._means.tell(becomes, event, before)


def _is_same_claim(payout: Payout, claimed: Payout) -> bool:
    """Tell whether nothing but callbacks was heard since a claim."""
    return attrs.evolve(payout, hints=claimed.hints, sequence=claimed.sequence) == claimed


def _reason(answer: SendAnswer | StatusAnswer) -> str | None:
    """Say why an answer brought nothing, if it did not."""
    match answer:
        case NotFound():
            return "the gateway knows no such order yet"
        case NoAnswer(reason=reason) | NotSent(reason=reason) | Unknown(reason=reason):
            return reason
        case _:
            return None


@attrs.define(eq=False)
class Crew:
    """The drivers of one orchestrator.

    Attributes:
        means: What every driver works with.
    """

    means: Means
    _drivers: dict[str, Driver] = attrs.field(factory=dict, init=False)

    def __iter__(self) -> Iterator[Driver]:
        """Go through the drivers."""
        return iter(tuple(self._drivers.values()))

    def get(self, client_orderid: str) -> Driver | None:
        """Find the driver that a payout has, if it has one."""
        return self._drivers.get(client_orderid)

    def join(self, payout: Payout) -> Driver:
        """Use the driver that this payout has already, or a new one; leave it afterwards."""
        driver = self._drivers.get(payout.client_orderid)
        if driver is None:
            driver = self._drivers[payout.client_orderid] = Driver(self.means, payout)
            self.means.monitor.joined(payout)
        driver.users += 1
        return driver

    def leave(self, driver: Driver) -> None:
        """Stop using a driver; the last one to go takes it away."""
        driver.users -= 1
        if not driver.users:
            del self._drivers[driver.payout.client_orderid]
            self.means.monitor.left(driver.payout)

    @asynccontextmanager
    async def driver(self, client_orderid: str) -> AsyncIterator[Driver]:
        """Use the driver of a payout that the journal knows.

        Raises:
            PayoutNotFound: The journal knows no such payout.
        """
        self.check_open()
        driver = self._drivers.get(client_orderid)
        driver = self.join(
            await self.means.load(client_orderid) if driver is None else driver.payout
        )
        try:
            yield driver
        finally:
            self.leave(driver)

    async def catch_up(self, driver: Driver) -> None:
        """Let a driver go on from where the journal is, and not ask what was asked a moment ago.

        One that somebody uses already may lag behind another process. One that has just begun does
        not know what this process has asked through an earlier one.
        """
        if driver.users > 1:
            before = driver.payout
            await driver.refresh()
            if driver.payout is before:
                return  # and its own timetable holds
        means, payout = self.means, driver.payout
        driver.timing.due = clock()
        if isinstance(next_command(payout, means.wall_clock()), Ask):
            name, shortest = payout.client_orderid, means.polling.shortest
            driver.timing.due += means.questions.delay(name, shortest)

    def check_open(self) -> None:
        """Refuse what is asked before or after the orchestrator's time."""
        if not self.means.is_open:
            raise ClosedError("orchestrator")
