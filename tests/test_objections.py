"""A decision that does not fit is refused for one reason, and with when it may be tried again."""

import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
import pytest
from payouts import (
    ALARM_PATHS,
    DOUBT_PATHS,
    ONE_STEP_PATHS,
    PATHS,
    START,
    doubtful,
    finished,
    fold,
    opened,
    payout_in,
    seen,
)

from billblend_async.core.events import (
    Approved,
    Checked,
    Closed,
    Decision,
    Released,
    Restored,
    Validated,
    Withdrawn,
)
from billblend_async.core.machine import RELEASE_AFTER, evolve, is_out_of_date
from billblend_async.core.models import Alarm, Doubt, Flow, State
from billblend_async.core.payout import Payout
from billblend_async.core.responses import NotFound, StatusAnswer
from billblend_async.errors import DecisionRefused
from billblend_async.orchestrator.review import object_to

LATE: Final = START + 10_000
WHO: Final[dict[str, Any]] = {"at": LATE, "who": "ann", "why": "asked"}
RELEASE, CLOSE, WITHDRAW = Released(**WHO), Closed(**WHO), Withdrawn(**WHO)
APPROVE, ACKNOWLEDGE = Approved(at=LATE, who="ann"), seen(LATE)
DECISIONS: Final[tuple[Decision, ...]] = (RELEASE, CLOSE, WITHDRAW, APPROVE, ACKNOWLEDGE)
SECOND: Final = Checked(at=START + 500, paynet_order_id="999")


def payouts() -> Sequence[Payout]:
    """Give payouts in every state, held or not, in doubt, odd, released and finished."""
    released = Released(at=START + 1000, who="ann", why="never arrived")
    ended = fold(*PATHS[State.AWAITING_FINAL], finished("error"))
    held = [fold(*PATHS[state], first=opened(held=True)) for state in list(PATHS)[:4]]
    return [
        *(payout_in(state) for state in PATHS),
        *(payout_in(state, flow=Flow.ONE_STEP) for state in ONE_STEP_PATHS),
        *(doubtful(doubt) for doubt in DOUBT_PATHS),
        *(fold(*events) for events in ALARM_PATHS.values()),
        *(evolve(payout_in(state), SECOND) for state in list(PATHS)[2:8]),
        *held,
        fold(*DOUBT_PATHS[Doubt.CHECK_UNCONFIRMED], first=opened(held=True)),
        evolve(payout_in(State.ATTENTION), released),
        fold(*PATHS[State.ATTENTION], released, Validated(at=START + 1001)),
        ended,
        evolve(ended, ACKNOWLEDGE),
    ]


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda each: type(each).__name__)
def test_whatever_is_refused(decision: Decision) -> None:
    """Wherever a decision does not fit there is one reason, and what it says to do does fit."""
    refused = [payout for payout in payouts() if evolve(payout, decision) is payout]
    assert len(refused) > 10
    for payout in refused:
        objection = object_to(decision, payout)
        told = str(DecisionRefused("po-1", "x", payout.state, objection.reason))
        assert re.fullmatch(r"payout po-1: it stands at \S+ and cannot be x: \w[^.]*\.", told)
        assert "moved on" not in told, payout
        assert objection.again_at is None
        for word, fits in (("release", RELEASE), ("close it", CLOSE), ("withdraw it", WITHDRAW)):
            if re.search(rf"; (?:\w+ or )*{word}", told):
                assert evolve(payout, fits) is not payout, told
        if re.search(r"[;,] acknowledge", told):
            assert evolve(payout, ACKNOWLEDGE) is not payout, told
        if re.search(r"; approve", told):
            assert evolve(payout, APPROVE) is not payout, told


def test_too_early() -> None:
    """A doubt that is too young says since when it is one, and from when on it may be released."""
    payout = doubtful(Doubt.PAY_UNCONFIRMED)
    for age in (0.0, 12.3, 59.9, -5.0):
        early = attrs.evolve(RELEASE, at=payout.since + age)
        assert payout is evolve(payout, early)
        objection = object_to(early, payout)
        assert payout.since + RELEASE_AFTER == objection.again_at
        assert f"its doubt is {max(0, int(age))} s old" in objection.reason
        assert objection.reason.endswith("try again from 2027-01-15 08:01:20 UTC on")
        again = attrs.evolve(early, at=objection.again_at)
        assert payout is not evolve(payout, again)


@pytest.mark.parametrize(
    ("decision", "payout", "reason"),
    [
        (RELEASE, payout_in(State.FINAL), "to pay it after all takes a new client_orderid"),
        (RELEASE, doubtful(Doubt.APPROVED_BEFORE_PAY), "calls its order approved, so nothing"),
        (RELEASE, doubtful(Doubt.OTHER_TRANSACTION), "tells of a reversal or the like"),
        (RELEASE, payout_in(State.PAYING), "it is in no doubt; run its file again"),
        (RELEASE, payout_in(State.VALIDATED, held=True), "it waits for approval"),
        (CLOSE, payout_in(State.VALIDATED), "pay was not sent; withdraw it to end it"),
        (CLOSE, payout_in(State.PAYING), "close it if it comes to need a person"),
        (CLOSE, fold(*ALARM_PATHS[Alarm.AMOUNT_DIFFERS]), "acknowledge what does not fit"),
        (WITHDRAW, payout_in(State.ATTENTION), "it needs a person; close it to end it"),
        (WITHDRAW, payout_in(State.PAYING), "pay may have left, which cannot be taken back"),
        (APPROVE, payout_in(State.VALIDATED), "it waits for nobody's approval"),
        (APPROVE, payout_in(State.WITHDRAWN, held=True), "it is finished"),
        (ACKNOWLEDGE, payout_in(State.FINAL), "everything about it fits"),
        (ACKNOWLEDGE, payout_in(State.ATTENTION), "needs a decision; release or close it"),
        (ACKNOWLEDGE, evolve(payout_in(State.PAYING), SECOND), "try again once it is"),
    ],
)
def test_reasons(decision: Decision, payout: Payout, reason: str) -> None:
    """Each reason says what holds of this payout."""
    assert payout is evolve(payout, decision)
    assert reason in object_to(decision, payout).reason


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda each: type(each).__name__)
def test_overtaken(decision: Decision) -> None:
    """Where a decision would fit by now, another look is what is asked for."""
    fitting = [payout for payout in payouts() if evolve(payout, decision) is not payout]
    assert fitting
    for payout in fitting:
        if not is_out_of_date(decision, payout, None):
            reason = object_to(decision, payout).reason
            assert "it has moved on meanwhile; look at it again" == reason


@pytest.mark.parametrize(
    ("decision", "told", "reason"),
    [
        (WITHDRAW, None, "the gateway did not answer about it; try again when it does"),
        (WITHDRAW, NotFound("101"), "does not say that it has no order"),
        (CLOSE, None, "the gateway did not answer about it; try again when it does"),
        (CLOSE, NotFound("101"), ""),
        (RELEASE, None, ""),
        (APPROVE, None, ""),
        (ACKNOWLEDGE, None, ""),
    ],
)
def test_restored(decision: Decision, told: StatusAnswer | None, reason: str) -> None:
    """What ends a restored payout waits for the gateway; what sends is asked about anyway."""
    for state in (State.NEW, State.VALIDATING, State.ATTENTION):
        payout = evolve(payout_in(state), Restored(at=LATE))
        assert bool(reason) is is_out_of_date(decision, payout, told)
        if evolve(payout, decision) is not payout:
            assert reason in object_to(decision, payout, told).reason
        assert not is_out_of_date(decision, attrs.evolve(payout, restored=False), None)
