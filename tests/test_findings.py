"""What does not fit is told with its numbers and with what to do."""

from decimal import Decimal
from typing import Any, Final

import pytest
from payouts import ALARM_PATHS, ORDER, PATHS, START, doubtful, finished, fold, payout_in, seen

from billblend_async.core.discrepancies import RECONCILE, sentence_of
from billblend_async.core.events import Checked, Closed, NeedsAttention
from billblend_async.core.machine import evolve
from billblend_async.core.models import Alarm, Doubt, State
from billblend_async.core.payout import outcome

PAID: Final = PATHS[State.AWAITING_FINAL]
SEEN: Final = seen()
WORDS: Final = {
    Alarm.AMOUNT_DIFFERS: ("paid 9.99 EUR", "10.42 USD", "how much the receiver got"),
    Alarm.STATUS_CONTRADICTS: (
        *("10.42 USD", "ended as approved", "told declined, 7 USD"),
        "which one is true",
    ),
    Alarm.APPROVED_BEFORE_PAY: ("although pay was never sent", "who paid it"),
    Alarm.ACCEPTED_LATE: ("10.42 USD was closed", f"order {ORDER}", "whether the money moved"),
    Alarm.LATER_TRANSACTION: (
        *("10.42 USD", "a chargeback, approved, 5.00 USD"),
        "how much of the money has come back",
    ),
    Alarm.SECOND_ORDER: ("order 999", "10.42 USD", f"whose order is {ORDER}", "to cancel it"),
}
"""What must be told of each alarm."""


@pytest.mark.parametrize("alarm", Alarm)
def test_numbers_and_what_to_do(alarm: Alarm) -> None:
    """The explanation of an outcome with an alarm has the numbers and says what to do."""
    told = outcome(fold(*ALARM_PATHS[alarm]))

    assert alarm in told.alarms
    assert told.explanation is not None
    for word in WORDS[alarm]:
        assert word in told.explanation
    assert told.is_finished is (", then acknowledge it." in told.explanation)


@pytest.mark.parametrize("alarm", Alarm)
def test_sentences(alarm: Alarm) -> None:
    """Each alarm has a sentence of its own that says whom to ask."""
    told = sentence_of(alarm)

    assert "ask its support" in told
    assert told.endswith(".")
    assert [alarm] == [other for other in Alarm if sentence_of(other) == told]


def test_alarm_before_the_end() -> None:
    """What does not fit about a payout that goes on is told beside why it goes on."""
    payout = fold(*PAID, Checked(at=START + 16, paynet_order_id="999"))
    told = outcome(payout, explanation="the gateway knows no such order yet").explanation

    assert told is not None
    assert "order 999" in told
    assert told.endswith("the gateway knows no such order yet")


def test_doubt_with_an_alarm() -> None:
    """An alarm beside a doubt is told after it; one that only repeats the doubt is not."""
    events = (*PAID, Checked(at=START + 16, paynet_order_id="999"))
    parked = fold(*events, NeedsAttention(at=START + 20, doubt=Doubt.BAD_REDIRECT))
    told = outcome(parked)
    same = outcome(doubtful(Doubt.APPROVED_BEFORE_PAY))

    assert ("bad-redirect", "second-order") == told.concerns
    assert told.explanation is not None
    assert told.explanation.startswith(Doubt.BAD_REDIRECT.sentence)
    assert "order 999" in told.explanation
    assert ("approved-before-pay",) == same.concerns
    assert Doubt.APPROVED_BEFORE_PAY.sentence == same.explanation


@pytest.mark.parametrize(
    ("fields", "paid"),
    [
        ({"amount": None, "currency": "EUR"}, "paid an unknown amount of EUR,"),
        ({"amount": Decimal("1E+1"), "currency": None}, "paid 10 (no currency told),"),
        ({"currency": f"\x1b[31m{'E' * 99}"}, f"paid 10.42 \ufffd[31m{'E' * 34}…,"),
    ],
)
def test_what_is_told_oddly(fields: dict[str, Any], paid: str) -> None:
    """What is missing is said to be, and what a stranger wrote is one short harmless line."""
    told = outcome(fold(*PAID, finished(**fields))).explanation

    assert told is not None
    assert paid in told


@pytest.mark.parametrize("alarm", ALARM_PATHS)
def test_acknowledged(alarm: Alarm) -> None:
    """What a person has acknowledged stays an alarm, and needs nobody and no words any more."""
    payout = fold(*ALARM_PATHS[alarm])
    if not payout.state.is_terminal:
        payout = evolve(payout, Closed(at=START + 50, who="ann", why="paid by hand"))
    told = outcome(evolve(payout, SEEN))

    assert ((alarm,), (), (alarm.value,)) == (told.alarms, told.open_alarms, told.acknowledged)
    assert (False, ()) == (told.needs_person, told.concerns)
    ends = ("Acknowledged by ann: asked.", "Closed by ann: paid by hand.")
    assert told.explanation in ends


def test_acknowledged_error() -> None:
    """A status error that a person has acknowledged is to be reconciled no more."""
    payout = fold(*PAID, finished("error"))
    before, after = outcome(payout), outcome(evolve(payout, SEEN))

    assert (True, ("error",), RECONCILE) == (
        before.needs_reconciliation,
        before.concerns,
        before.explanation,
    )
    assert (False, ("error",)) == (after.needs_reconciliation, after.acknowledged)
    assert "Acknowledged by ann: asked." == after.explanation
    assert ("error", State.FINAL) == (after.status, after.state)


def test_no_end_is_no_finding() -> None:
    """A payout about which everything fits has no explanation once it is finished."""
    assert outcome(payout_in(State.FINAL)).explanation is None
    assert () == outcome(payout_in(State.FINAL)).concerns
