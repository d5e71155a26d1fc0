"""What does not fit is told with its numbers and with what to do."""

from decimal import Decimal
from typing import Any, Final

import attrs
import pytest
from payouts import DOUBT_PATHS, ORDER, PATHS, START, doubtful, finished, fold, payout_in

from billblend_async.events import Checked, Event, NeedsAttention, PayAccepted
from billblend_async.findings import sentence_of
from billblend_async.machine import evolve
from billblend_async.models import Alarm, Doubt, State
from billblend_async.payout import outcome

PAID: Final = PATHS[State.AWAITING_FINAL]
LIVES: Final[dict[Alarm, tuple[tuple[Event, ...], tuple[str, ...]]]] = {
    Alarm.AMOUNT_DIFFERS: (
        (*PAID, finished(amount=Decimal("9.99"), currency="EUR")),
        ("9.99 EUR", "10.42 USD", "how much the receiver got"),
    ),
    Alarm.STATUS_CONTRADICTS: (
        (*PAID, finished(), finished("declined", START + 40, amount=Decimal(7))),
        ("10.42 USD", "ended as approved", "told declined, 7 USD", "which one is true"),
    ),
    Alarm.APPROVED_BEFORE_PAY: (
        (*PATHS[State.VALIDATING], finished()),
        ("although pay was never sent", "who paid it"),
    ),
    Alarm.ACCEPTED_LATE: (
        (*PATHS[State.CLOSED], PayAccepted(at=START + 200, paynet_order_id=ORDER)),
        ("10.42 USD was closed", f"order {ORDER}", "whether the money moved"),
    ),
    Alarm.LATER_TRANSACTION: (
        (
            *PAID,
            finished(),
            finished(at=START + 40, transaction_type="chargeback", amount=Decimal("5.00")),
        ),
        ("10.42 USD", "a chargeback, approved, 5.00 USD", "how much of the money has come back"),
    ),
    Alarm.SECOND_ORDER: (
        (*PAID, Checked(at=START + 16, paynet_order_id="999")),
        ("order 999", "10.42 USD", f"whose order is {ORDER}", "to cancel it"),
    ),
}
"""For each alarm a life that raises it, and what must be told of it."""


@pytest.mark.parametrize("alarm", Alarm)
def test_numbers_and_what_to_do(alarm: Alarm) -> None:
    """The explanation of an outcome with an alarm has the numbers and says what to do."""
    events, words = LIVES[alarm]
    told = outcome(fold(*events))

    assert alarm in told.alarms
    assert told.explanation is not None
    for word in words:
        assert word in told.explanation


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


def test_repeated_doubt_is_told_after_the_close() -> None:
    """What a closed payout's alarm says is told in its own words, since no doubt says it."""
    closed = fold(*DOUBT_PATHS[Doubt.APPROVED_BEFORE_PAY], attrs.evolve(PATHS[State.CLOSED][-1]))
    told = outcome(closed).explanation

    assert told is not None
    assert "(10.42 USD) although pay was never sent" in told


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


def test_first_contradiction_stays() -> None:
    """A contradiction that comes in other words is still the one that was told of."""
    payout = fold(*LIVES[Alarm.STATUS_CONTRADICTS][0])

    assert payout is evolve(payout, finished("error", START + 50))


def test_no_end_is_no_finding() -> None:
    """A payout about which everything fits has no explanation once it is finished."""
    assert outcome(payout_in(State.FINAL)).explanation is None
    assert () == outcome(payout_in(State.FINAL)).concerns
