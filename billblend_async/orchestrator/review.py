"""What a person sees and decides about payouts; every decision is journaled with who and why."""

from collections.abc import AsyncGenerator, Collection, Container
from typing import Final

from ..core.descriptions import decision_word
from ..core.events import Closed, Decision, Event, Released, Withdrawn
from ..core.models import Alarm, Doubt, Outcome, State
from ..core.payout import acknowledgement, outcome
from ..core.request import PayoutRequest
from ..core.responses import Status
from ..errors import DecisionRefused, InvalidInput, PayoutNotFound, Problem
from .context import Means
from .crew import Crew
from .objections import object_to

__all__ = ["Oversight"]

_ALARMS: Final = (*(alarm.value for alarm in Alarm), str(Status.ERROR))
"""The words for what can be acknowledged."""

_LONGEST: Final = 1000
"""Characters of a name or a reason, which the journal keeps for ever."""


class Oversight:
    """The side of an orchestrator that a person uses."""

    def __init__(self, means: Means, crew: Crew) -> None:
        self._means = means
        self._crew = crew

    @property
    def trouble(self) -> str | None:
        """Why nothing goes on just now, in a sentence with what to do; None while all is well.

        It is about the gateway as a whole; what keeps a single payout is told by its outcome.
        """
        return self._means.breaker.trouble or self._means.back_off.trouble

    @property
    def can_resolve(self) -> bool:
        """Whether the host finds requests again, so that nobody must hand them in a second time."""
        return self._means.resolve is not None

    async def status(self, client_orderid: str) -> Outcome:
        """Tell where a payout stands, from the journal; nothing is asked or sent.

        Raises:
            PayoutNotFound: The journal knows no such payout.
        """
        self._crew.check_open()
        driver = self._crew.get(client_orderid)
        if driver is not None:
            return driver.outcome
        return outcome(await self._means.load(client_orderid))

    async def status_of(self, request: PayoutRequest) -> Outcome:
        """Tell where the payout of a request stands; nothing is asked or sent.

        Raises:
            PayoutNotFound: The journal knows no such payout.
            PayoutConflict: The journal holds this client_orderid with another amount or receiver.
        """
        self._crew.check_open()
        payout = await self._means.load(request.client_orderid)
        self._means.check_same(payout, request)
        return await self.status(request.client_orderid)

    async def history(self, client_orderid: str) -> list[Event]:
        """Read all that has happened to a payout, in order, from the journal.

        ``isinstance`` tells the events apart; those that a person decided have ``who`` and ``why``.

        Raises:
            PayoutNotFound: The journal knows no such payout.
        """
        self._crew.check_open()
        events = await self._means.journal.history(client_orderid)
        if not events:
            raise PayoutNotFound(client_orderid)
        return events

    async def attention(
        self, *, doubt: Doubt | None = None, among: Container[str] | None = None
    ) -> list[Outcome]:
        """List the payouts for which nothing is sent until a person has looked.

        Args:
            doubt: Only those with this reason.
            among: Only those with one of these client_orderids, such as those of a batch.
        """
        self._crew.check_open()
        parked = self._means.journal.payouts([State.ATTENTION])
        return [
            outcome(payout)
            async for payout in parked
            if doubt in (None, payout.doubt) and (among is None or payout.client_orderid in among)
        ]

    async def flagged(self, *, among: Container[str] | None = None) -> list[Outcome]:
        """List the payouts outside Attention that a person must look at all the same.

        They have an alarm, or ended in the status ``error``, and nobody has acknowledged that. All
        payouts of the journal are gone through.

        Args:
            among: Only those with one of these client_orderids, such as those of a batch.
        """
        self._crew.check_open()
        elsewhere = [state for state in State if state is not State.ATTENTION]
        return [
            outcome(payout)
            async for payout in self._means.journal.payouts(elsewhere)
            if (payout.open_alarms or payout.needs_reconciliation)
            and (among is None or payout.client_orderid in among)
        ]

    async def unfinished(self) -> AsyncGenerator[Outcome, None]:
        """Go through the payouts that are not finished, such as a scheduler must know of."""
        self._crew.check_open()
        unfinished = [state for state in State if not state.is_terminal]
        async for payout in self._means.journal.payouts(unfinished):
            yield outcome(payout)

    async def awaiting_approval(self, *, among: Container[str] | None = None) -> list[Outcome]:
        """List the payouts that the bank has validated and that wait for ``approve``.

        Args:
            among: Only those with one of these client_orderids, such as those of a batch.
        """
        self._crew.check_open()
        validated = self._means.journal.payouts([State.VALIDATED])
        return [
            outcome(payout)
            async for payout in validated
            if payout.held and (among is None or payout.client_orderid in among)
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
        self._check_named(who=who, why=why)
        decision = Released(at=self._means.wall_clock(), who=who, why=why)
        return await self._decide(client_orderid, decision)

    async def close(self, client_orderid: str, *, who: str, why: str) -> Outcome:
        """Write down that a person ended a payout in Attention; nothing is sent or asked again.

        In a journal that was restored from a copy, the gateway is asked about it first.

        Raises:
            DecisionRefused: It is not in Attention, or it was restored and the gateway does not
                answer about it.
            PayoutNotFound: The journal knows no such payout.
        """
        self._check_named(who=who, why=why)
        decision = Closed(at=self._means.wall_clock(), who=who, why=why)
        return await self._decide(client_orderid, decision)

    async def withdraw(self, client_orderid: str, *, who: str, why: str) -> Outcome:
        """Take a payout back; from then on pay is never sent.

        In a journal that was restored from a copy, the gateway is asked first whether it has an
        order for it, which takes half a minute where it has none.

        Raises:
            DecisionRefused: Pay may have been sent, the payout is finished, or it was restored and
                the gateway does not say that it was not paid.
            PayoutNotFound: The journal knows no such payout.
        """
        self._check_named(who=who, why=why)
        decision = Withdrawn(at=self._means.wall_clock(), who=who, why=why)
        return await self._decide(client_orderid, decision)

    async def acknowledge(
        self,
        client_orderid: str,
        *,
        who: str,
        why: str,
        alarms: Collection[str] | None = None,
        as_of: int | None = None,
    ) -> Outcome:
        """Write down that a person looked at what does not fit about a finished payout.

        What they have seen needs nobody any more. All else does, whenever it came: what is left
        stands in the ``details`` of the outcome. Nothing is sent or changed by it.

        Args:
            client_orderid: A finished payout with an alarm, or that ended in the status ``error``.
            who: The person.
            why: What they found out.
            alarms: The words of what they acknowledge, such as ``amount-differs`` or ``error``;
                without them all that they were shown.
            as_of: The ``sequence`` of the outcome that they were shown; what was told after it is
                left. Without it this call looks into the journal itself, once.

        Raises:
            DecisionRefused: It is not finished, or there is nothing of that to acknowledge.
            PayoutNotFound: The journal knows no such payout.
            InvalidInput: No alarm has one of the words.
        """
        self._check_named(who=who, why=why)
        unknown = [word for word in alarms or () if word not in _ALARMS]
        if unknown:
            what = f"{unknown[0]!r} is no alarm; there are {', '.join(_ALARMS)}"
            raise InvalidInput((Problem("alarms", what),))
        async with self._crew.driver(client_orderid) as driver:
            if driver.users > 1:  # it may lag behind another process
                await driver.refresh()
            # What was seen stands in the decision, so whatever comes in between is left.
            decision = acknowledgement(
                driver.payout,
                at=self._means.wall_clock(),
                who=who,
                why=why,
                alarms=alarms,
                as_of=as_of,
            )
            return await self._decide(client_orderid, decision)

    async def declare_restored(self) -> int:
        """Take note that the journal was restored from a copy, before anything is run from it.

        What happened after the copy was made is missing from it. So every unfinished payout, and
        every payout that is accepted from now on, is asked about before anything is sent for it,
        and one that was about to be paid needs a person. That costs each new payout half a minute;
        ``declare_complete`` ends it.

        Returns:
            How many payouts were marked.
        """
        self._crew.check_open()
        return await self._means.journal.declare_restored(self._means.wall_clock())

    async def declare_complete(self) -> None:
        """Take note that nobody will hand in a payout again that a restored journal has lost."""
        self._crew.check_open()
        await self._means.journal.declare_complete()

    def _check_named(self, **texts: str) -> None:
        """Take no decision without a name or a reason, and no book for one."""
        self._crew.check_open()
        problems = [Problem(name, "is missing") for name, text in texts.items() if not text.strip()]
        problems += [
            Problem(name, f"is longer than {_LONGEST:,} characters; shorten it")
            for name, text in texts.items()
            if len(text) > _LONGEST
        ]
        if problems:
            raise InvalidInput(tuple(problems))

    async def _decide(self, client_orderid: str, decision: Decision) -> Outcome:
        async with self._crew.driver(client_orderid) as driver:
            told = None
            if driver.payout.restored and isinstance(decision, Closed | Withdrawn):
                told = await driver.consult()
            if not await driver.decide(decision, told=told):
                objection = object_to(decision, driver.payout, told)
                raise DecisionRefused(
                    client_orderid,
                    decision_word(decision),
                    driver.payout.state.value,
                    objection.reason,
                    objection.again_at,
                )
            return driver.outcome
