"""What payouts come to is counted once, and told with its reason."""

from decimal import Decimal

import attrs
import pytest
from payouts import (
    ALARM_PATHS,
    DOUBT_PATHS,
    ORDER,
    PATHS,
    START,
    doubtful,
    finished,
    fold,
    opened,
    payout_in,
    seen,
)

from billblend_async.core.events import CheckStarted, Rejected, Released
from billblend_async.core.machine import evolve
from billblend_async.core.models import Alarm, Doubt, Flow, State
from billblend_async.core.payout import Payout
from billblend_async.reporting.projection import line_of
from billblend_async.reporting.summary import LONGEST_GROUP, MOST_REASONS, Summary, summarize


def summed(*payouts: Payout, at: float = START + 100) -> Summary:
    """Sum payouts up."""
    return summarize(map(line_of, payouts), at=at)


def test_nothing() -> None:
    """No payouts come to nothing, and nothing is divided by it."""
    told = summed()
    assert (told.payouts, told.paid, told.finished, told.persons) == (0, 0, 0, 0)
    assert (told.timeline, told.times) == (None, None)
    assert (told.totals, told.attention, told.unfinished, told.refusals) == ((), (), (), ())


def test_totals() -> None:
    """Money is summed per status and currency, to the cent."""
    told = summed(
        payout_in(State.FINAL),
        payout_in(State.FINAL, client_orderid="po-2"),
        payout_in(State.REJECTED, amount=Decimal("0.10"), currency="EUR"),
    )
    rows = {(each.status, each.currency): (each.payouts, each.amount) for each in told.totals}
    assert rows == {
        ("approved", "USD"): (2, Decimal("20.84")),
        ("rejected", "EUR"): (1, Decimal("0.10")),
    }
    assert [(each.currency, each.payouts) for each in told.sums] == [("EUR", 1), ("USD", 2)]


def test_released() -> None:
    """What is paid again by a person's decision is not called validated and never paid."""
    doubted = fold(*DOUBT_PATHS[Doubt.PAY_UNCONFIRMED])
    payout = evolve(doubted, Released(at=START + 900, who="ann", why="never arrived"))
    assert payout.state is State.VALIDATED
    [group] = summed(payout).unfinished
    assert group.name == "released"
    assert "A person has allowed one more send" in group.sentence


@pytest.mark.parametrize("state", State)
def test_every_state_is_somewhere(state: State) -> None:
    """A payout is finished, or needs a person, or is listed as unfinished with the reason."""
    told = summed(payout_in(state))
    groups = (*told.attention, *told.unfinished)
    assert told.payouts == 1
    assert told.finished == state.is_terminal
    assert told.persons == (state is State.ATTENTION)
    assert len(groups) == (not state.is_terminal)
    assert all(group.sentence for group in groups)


@pytest.mark.parametrize("doubt", DOUBT_PATHS)
def test_every_doubt_is_told(doubt: Doubt) -> None:
    """A doubt is told in the words that the person is given elsewhere too, with both ids."""
    told = summed(doubtful(doubt))
    assert told.persons == 1
    (group,) = told.attention
    assert (group.name, group.sentence, group.payouts) == (doubt.value, doubt.sentence, 1)
    assert group.lines[0].client_orderid == "po-1"
    assert told.unfinished == ()


@pytest.mark.parametrize("alarm", [a for a in Alarm if a is not Alarm.APPROVED_BEFORE_PAY])
def test_every_alarm_is_told(alarm: Alarm) -> None:
    """What does not fit is told in words until a person has acknowledged it."""
    payout = fold(*ALARM_PATHS[alarm])
    told = summed(payout)
    (group,) = told.attention
    assert (group.name, told.persons, told.finished) == (f"alarm {alarm}", 1, 1)
    assert group.sentence.endswith(".")
    assert "10.42 USD" in group.lines[0].explanation
    noted = summed(evolve(payout, seen()))
    assert ((), 0, 1) == (noted.attention, noted.persons, noted.finished)


def test_one_person_for_two_reasons() -> None:
    """A payout with two reasons is listed under both and counted once."""
    payout = fold(*ALARM_PATHS[Alarm.AMOUNT_DIFFERS], *ALARM_PATHS[Alarm.SECOND_ORDER][-1:])
    told = summed(payout)
    assert told.persons == 1
    assert [group.payouts for group in told.attention] == [1, 1]


def test_error_needs_a_person() -> None:
    """A payout that ended in error is no refusal: nobody knows whether its money moved."""
    told = summed(fold(*PATHS[State.AWAITING_FINAL], finished("error", error_code="7")))
    (group,) = told.attention
    assert (group.name, group.payouts, told.persons, told.finished) == ("error", 1, 1, 1)
    assert "ask its support before anybody pays it again" in group.sentence
    assert group.lines[0].error_code == "7"
    assert group.sentence == group.lines[0].explanation
    assert () == told.refusals
    payout = fold(*PATHS[State.AWAITING_FINAL], finished("error"))
    noted = summed(evolve(payout, seen()))
    assert ((), 0, ()) == (noted.attention, noted.persons, noted.refusals)


def test_refusals() -> None:
    """Refusals with one reason are counted together, the most frequent first, with an example."""

    def refused(name: str, code: str) -> Payout:
        gone = CheckStarted(at=START + 1), Rejected(at=START + 2, error_code=code)
        return fold(*gone, first=opened(name))

    told = summed(refused("a", "8"), refused("b", "9"), refused("c", "9"), payout_in(State.FINAL))
    reasons = [(each.error_code, each.payouts, each.example) for each in told.refusals]
    assert reasons == [("9", 2, "b"), ("8", 1, "a")]
    assert told.unlisted_refusals == 0


def test_many_reasons() -> None:
    """A gateway that words each refusal differently cannot make the summary endless."""
    refused = payout_in(State.REJECTED)
    told = summed(*(attrs.evolve(refused, error_message=str(n)) for n in range(MOST_REASONS + 50)))
    assert (len(told.refusals), told.unlisted_refusals) == (MOST_REASONS, 50)


def test_long_groups() -> None:
    """Of very many with one reason all are counted and the first are listed."""
    told = summed(*[doubtful(Doubt.PAY_UNCONFIRMED)] * (LONGEST_GROUP + 9))
    assert (told.attention[0].payouts, len(told.attention[0].lines)) == (
        LONGEST_GROUP + 9,
        LONGEST_GROUP,
    )


def test_what_takes_too_long() -> None:
    """A wait that has outlived its deadline is told as late, and one that has not is not."""
    waiting = payout_in(State.AWAITING_FINAL)
    assert [g.late for g in summed(waiting, at=waiting.since + 3599).unfinished] == [0]
    assert [g.late for g in summed(waiting, at=waiting.since + 3601).unfinished] == [1]


def test_held() -> None:
    """A payout that waits for approval says so, however long it waits."""
    told = summed(payout_in(State.VALIDATED, held=True), at=START + 1e6)
    assert [(group.name, group.late) for group in told.unfinished] == [("awaiting-approval", 0)]


def test_time_to_final() -> None:
    """Only what has the gateway's final status has taken a time, counted from its acceptance."""
    told = summed(payout_in(State.FINAL), payout_in(State.REJECTED), payout_in(State.PAYING))
    assert told.times is not None
    assert (told.times.count, told.times.median) == (1, 30)


def test_a_clock_that_was_set_back() -> None:
    """A final status before its acceptance took no time, and is no error."""
    final = attrs.evolve(payout_in(State.FINAL), since=START - 50)
    told = summed(final)
    assert told.times is not None
    assert told.times.longest == 0
    assert told.timeline is not None
    assert sum(told.timeline.paid) == 1


def test_one_step() -> None:
    """A one-step payout is told like any other."""
    told = summed(payout_in(State.AWAITING_FINAL, flow=Flow.ONE_STEP))
    assert told.unfinished[0].lines[0].paynet_order_id == ORDER
