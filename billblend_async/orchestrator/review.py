"""Manual review: what a person sees and decides about payouts, and why a decision is refused.

Every decision is journaled with who made it and why.
"""

import math
from collections.abc import AsyncGenerator, Collection, Container, Mapping
from typing import Final, assert_never

import attrs

from ..core.descriptions import decision_word, instant
from ..core.events import Acknowledged, Approved, Closed, Decision, Event, Released, Withdrawn
from ..core.machine import RELEASE_AFTER, evolve, is_out_of_date
from ..core.models import Alarm, Doubt, Outcome, State
from ..core.payout import Payout, acknowledgement, outcome
from ..core.request import PayoutRequest
from ..core.responses import Status, StatusAnswer
from ..errors import DecisionRefused, InvalidInput, PayoutNotFound, Problem
from .context import Means
from .runner import Crew

__all__ = [
    "Objection",
    "Oversight",
    "object_to",
]

_GOES_ON: Final = "run its file again, which goes on with it"
_FOR_GOOD: Final[Mapping[Doubt | None, str]] = {
    Doubt.APPROVED_BEFORE_PAY: "the gateway calls its order approved",
    Doubt.OTHER_TRANSACTION: "the gateway tells of a reversal or the like on its order",
}


@attrs.frozen
class Objection:
    """Why a decision does not fit.

    Attributes:
        reason: In words, with what to do.
        again_at: When it will fit by waiting alone, in seconds since the epoch; None if never.
    """

    reason: str
    again_at: float | None = None


def object_to(decision: Decision, payout: Payout, told: StatusAnswer | None = None) -> Objection:
    """Say why a payout does not take a decision."""
    if is_out_of_date(decision, payout, told) and evolve(payout, decision) is not payout:
        return Objection(_UNASKED if told is None else _UNSETTLED)
    if payout.state.is_terminal and not isinstance(decision, Acknowledged):
        return Objection(_after_the_end(decision, payout))
    match decision:
        case Released():
            return _to_release(decision, payout)
        case Closed():
            return Objection(_to_close(payout))
        case Withdrawn():
            return Objection(_to_withdraw(payout))
        case Approved():
            return Objection(_to_approve(payout))
        case Acknowledged():
            return Objection(_to_acknowledge(decision, payout))
        case _:
            assert_never(decision)


_UNASKED: Final = (
    "the journal was restored from a copy, so it may have been paid since, and the gateway did not "
    "answer about it; try again when it does"
)
_UNSETTLED: Final = (
    "the journal was restored from a copy, so it may have been paid since, and the gateway does "
    "not say that it has no order for it; run its file again, which asks about it and pays nothing "
    "that may be paid, then close it"
)
_MOVED: Final = "it has moved on meanwhile; look at it again"


def _after_the_end(decision: Decision, payout: Payout) -> str:
    if isinstance(decision, Closed) and (payout.open_alarms or payout.needs_reconciliation):
        return "it is finished already; acknowledge what does not fit about it"
    if isinstance(decision, Approved | Released):
        return (
            "it is finished, and nothing is ever sent for it again; to pay it after all takes a "
            "new client_orderid"
        )
    return "it is finished already"


def _to_release(decision: Released, payout: Payout) -> Objection:
    if payout.state is not State.ATTENTION:
        if payout.held:
            return Objection("it waits for approval and is in no doubt; approve or withdraw it")
        return Objection(f"it is in no doubt; {_GOES_ON}")
    if (told := _FOR_GOOD.get(payout.doubt)) is not None:
        return Objection(f"{told}, so nothing that could be sent would be right; close it")
    again_at = payout.since + RELEASE_AFTER
    if decision.at >= again_at:
        return Objection(_MOVED)
    age, at = max(0, int(decision.at - payout.since)), instant(math.ceil(again_at))
    return Objection(
        f"its doubt is {age} s old, and for {RELEASE_AFTER:.0f} s what was sent may still be under "
        f"way; try again from {at} UTC on",
        again_at,
    )


def _to_close(payout: Payout) -> str:
    if payout.state is State.ATTENTION:
        return _MOVED
    if payout.state in _BEFORE_PAY and not payout.pays:
        return "it is in no doubt, and pay was not sent; withdraw it to end it"
    return f"it is in no doubt; {_GOES_ON}, and close it if it comes to need a person"


_BEFORE_PAY: Final = (State.NEW, State.CHECKING, State.VALIDATING, State.VALIDATED)


def _to_withdraw(payout: Payout) -> str:
    if payout.state is State.ATTENTION:
        return "it needs a person; close it to end it"
    if payout.state in _BEFORE_PAY and not payout.pays:
        return _MOVED
    return f"pay may have left, which cannot be taken back; {_GOES_ON}"


def _to_approve(payout: Payout) -> str:
    if not payout.held:
        return "it was handed in to be paid, so it waits for nobody's approval"
    if payout.state is State.ATTENTION:
        return "it needs a person first; release or close it"
    return _MOVED


def _to_acknowledge(decision: Acknowledged, payout: Payout) -> str:
    open_now = {each.number for each in payout.open_findings}
    error = [str(Status.ERROR)] if payout.needs_reconciliation else []
    is_odd = bool(open_now or error)
    if payout.state is State.ATTENTION:
        how = "close it" if payout.doubt in _FOR_GOOD else "release or close it"
        return f"it is in doubt, and needs a decision; {how}"
    if not is_odd:
        seen = "all that does not fit about it is acknowledged already"
        return seen if payout.acknowledged else "everything about it fits"
    if not payout.state.is_terminal:
        return "it is not finished; try again once it is"
    if open_now.isdisjoint(decision.findings) and not (decision.error and error):
        left = ", ".join([*payout.open_alarms, *error])
        return f"nothing that was named or shown is open; what is open: {left}; look at it again"
    return _MOVED


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
