"""Why a person's decision does not fit where a payout stands, and when it may be tried again."""

import math
from collections.abc import Mapping
from typing import Final, assert_never

import attrs

from ..core.events import Acknowledged, Approved, Closed, Decision, Released, Withdrawn
from ..core.legibility import instant
from ..core.machine import RELEASE_AFTER, evolve, is_out_of_date
from ..core.models import Doubt, State
from ..core.payout import Payout
from ..core.responses import Status, StatusAnswer

__all__ = ["Objection", "object_to"]

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
