"""The machine: every state by every event, and what no run can ever do."""

import random
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any, get_args

import attrs
import pytest
from diagram import diagram
from hypothesis import given, settings
from hypothesis import strategies as st
from payouts import (
    ALARM_PATHS,
    DOUBT_PATHS,
    LINK,
    ONE_STEP_PATHS,
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

from billblend_async.core.discrepancies import MOST_ALIKE
from billblend_async.core.events import (
    EVENTS,
    Acknowledged,
    Approved,
    CalledBack,
    Checked,
    CheckNotSent,
    CheckRefused,
    CheckStarted,
    Closed,
    Event,
    Finished,
    NeedsAttention,
    NotSeen,
    PayAccepted,
    PayNotSent,
    PayRefused,
    PayStarted,
    RedirectCleared,
    RedirectRequired,
    Rejected,
    Released,
    Restored,
    TurnedAway,
    Validated,
    Withdrawn,
)
from billblend_async.core.machine import (
    MOST_CHECKS,
    NOT_SEEN_FOR,
    NOT_SEEN_TIMES,
    RELEASE_AFTER,
    TRANSITIONS,
    Ask,
    Check,
    Command,
    Pace,
    Pay,
    PayOut,
    Payout,
    Stop,
    evolve,
    next_command,
    open_payout,
)
from billblend_async.core.models import Alarm, Doubt, Flow, OpenReason, State
from billblend_async.core.payout import FRESH_FOR, acknowledgement, deadline, outcome
from billblend_async.core.responses import Status

LATE = START + 1000.0
SEEN = seen(LATE)

COLUMNS: dict[str, Event] = {
    "CS": CheckStarted(at=LATE),
    "CN": CheckNotSent(at=LATE),
    "CR": CheckRefused(at=LATE),
    "CK": Checked(at=LATE, paynet_order_id=ORDER),
    "NS": NotSeen(at=LATE),
    "RJ": Rejected(at=LATE),
    "TA": TurnedAway(at=LATE),
    "VA": Validated(at=LATE),
    "AP": Approved(at=LATE, who="ann"),
    "PS": PayStarted(at=LATE),
    "PN": PayNotSent(at=LATE),
    "PA": PayAccepted(at=LATE, paynet_order_id=ORDER),
    "PR": PayRefused(at=LATE),
    "RR": RedirectRequired(at=LATE, redirect_to=f"{LINK}2"),
    "RC": RedirectCleared(at=LATE),
    "FA": finished("approved", LATE),
    "FD": finished("declined", LATE),
    "FR": finished("approved", LATE, transaction_type="reversal"),
    "CB": CalledBack(at=LATE, status=Status("approved")),
    "NA": NeedsAttention(at=LATE, doubt=Doubt.PAY_UNCONFIRMED),
    "RE": Released(at=LATE, who="ann", why="never arrived"),
    "CL": Closed(at=LATE, who="ann", why="paid by hand"),
    "WD": Withdrawn(at=LATE, who="ann", why="typo"),
    "AK": SEEN,
    "RS": Restored(at=LATE),
    "OP": opened(at=LATE),
}
ROWS = {
    "new": State.NEW,
    "chk": State.CHECKING,
    "val": State.VALIDATING,
    "vdd": State.VALIDATED,
    "pay": State.PAYING,
    "fin": State.AWAITING_FINAL,
    "rcv": State.AWAITING_RECEIVER,
    "att": State.ATTENTION,
    "FIN": State.FINAL,
    "REJ": State.REJECTED,
    "WDN": State.WITHDRAWN,
    "CLO": State.CLOSED,
}
# A name is the state that follows; . is nothing at all, = news without a move, ! an alarm only.
CHECK_PAY_TABLE = """
     CS  CN  CR  CK  NS  RJ  TA  VA  AP  PS  PN  PA  PR  RR  RC  FA  FD  FR  CB  NA  RE  CL  WD  AK  RS  OP
new  chk .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   =   .   .   .   WDN .   =   .
chk  .   new =   val =   REJ new .   .   .   .   .   .   .   .   att FIN .   =   .   .   .   WDN .   =   .
val  .   .   .   .   .   .   .   vdd .   .   .   .   .   .   .   att FIN .   =   .   .   .   WDN .   =   .
vdd  .   .   .   .   .   .   .   =   .   pay .   .   .   .   .   att FIN .   =   .   .   .   WDN .   att .
pay  .   .   .   .   .   .   .   .   .   .   vdd fin att rcv .   FIN FIN .   =   att .   .   .   .   .   .
fin  .   .   .   .   .   .   .   .   .   .   .   .   .   rcv .   FIN FIN .   =   .   .   .   .   .   .   .
rcv  .   .   .   .   .   .   .   .   .   .   .   .   .   =   fin FIN FIN .   =   .   .   .   .   .   .   .
att  .   .   .   .   .   .   .   .   .   .   .   fin .   rcv .   FIN FIN .   =   .   vdd CLO .   .   =   .
FIN  .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   !   !   .   .   .   .   .   .   .   .
REJ  .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   !   .   !   .   .   .   .   .   .   .   .
WDN  .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   !   .   !   .   .   .   .   .   .   .   .
CLO  .   .   .   .   .   .   .   .   .   .   .   !   .   .   .   !   .   !   .   .   .   .   .   .   .   .
"""  # noqa: E501 - a column for each event
ONE_STEP_TABLE = """
     CS  CN  CR  CK  NS  RJ  TA  VA  AP  PS  PN  PA  PR  RR  RC  FA  FD  FR  CB  NA  RE  CL  WD  AK  RS  OP
new  .   .   .   .   .   .   .   .   .   pay .   .   .   .   .   .   .   .   =   .   .   .   WDN .   =   .
pay  .   .   .   .   .   REJ new .   .   .   new fin =   rcv .   FIN FIN .   =   att .   .   .   .   .   .
fin  .   .   .   .   .   .   .   .   .   .   .   .   .   rcv .   FIN FIN .   =   .   .   .   .   .   .   .
att  .   .   .   .   .   .   .   .   .   .   .   fin .   rcv .   FIN FIN .   =   .   new CLO .   .   =   .
"""  # noqa: E501 - likewise


def cells(table: str, flow: Flow) -> Iterator[Any]:
    """Read a table into its cells."""
    header, *rows = table.strip("\n").splitlines()
    for row in rows:
        name, *answers = row.split()
        for column, answer in zip(header.split(), answers, strict=True):
            yield pytest.param(flow, ROWS[name], column, answer, id=f"{flow}-{name}-{column}")


@pytest.mark.parametrize(
    ("flow", "state", "column", "answer"),
    [*cells(CHECK_PAY_TABLE, Flow.CHECK_PAY), *cells(ONE_STEP_TABLE, Flow.ONE_STEP)],
)
def test_cell(flow: Flow, state: State, column: str, answer: str) -> None:
    """Every pair of state and event has the answer that the table gives it."""
    payout = payout_in(state, flow=flow)
    becomes = evolve(payout, COLUMNS[column])

    if answer == ".":
        assert payout is becomes
        return
    assert payout.sequence + 1 == becomes.sequence
    if answer == "!":
        assert (payout.alarms, state) == (becomes.alarms[:-1], becomes.state)
    else:
        assert ROWS.get(answer, state) is becomes.state
        assert answer == "=" or becomes.since == LATE


def test_table_is_whole() -> None:
    """The tables of this test name every state and every kind of event."""
    assert set(State) == set(ROWS.values())
    assert set(EVENTS.values()) == {type(event) for event in COLUMNS.values()}
    assert set(get_args(Event)) == set(EVENTS.values())


@pytest.mark.parametrize("state", PATHS)
def test_paths_lead_where_they_say(state: State) -> None:
    """The events of a smooth payout lead into each state in turn."""
    assert state is payout_in(state).state


def test_smooth_payout_has_seven_rows() -> None:
    """A payout without trouble is seven events, its opening included."""
    assert 6 == payout_in(State.FINAL).sequence


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (State.NEW, Check(1)),
        (State.CHECKING, Ask(None)),
        (State.VALIDATING, Ask(ORDER)),
        (State.VALIDATED, Pay(ORDER, 1)),
        (State.PAYING, Ask(ORDER)),
        (State.AWAITING_FINAL, Ask(ORDER)),
        (State.AWAITING_RECEIVER, Ask(ORDER, Pace.RECEIVER)),
        (State.ATTENTION, Ask(ORDER, Pace.PERSON)),
        (State.FINAL, Stop()),
        (State.REJECTED, Stop()),
        (State.WITHDRAWN, Stop()),
        (State.CLOSED, Stop()),
    ],
)
def test_next_command(state: State, command: Command) -> None:
    """Each state has one command."""
    assert command == next_command(payout_in(state), START + 11)


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (State.NEW, PayOut(1)),
        (State.PAYING, Ask(None)),
        (State.AWAITING_FINAL, Ask(ORDER)),
        (State.ATTENTION, Ask(None, Pace.PERSON)),
    ],
)
def test_next_command_of_one_step(state: State, command: Command) -> None:
    """A one-step payout is sent at once and never checked."""
    assert command == next_command(payout_in(state, flow=Flow.ONE_STEP), START + 11)


@pytest.mark.parametrize("age", [-0.1, FRESH_FOR + 0.1, 3600.0])
def test_stale_validation_is_asked_again(age: float) -> None:
    """A validated answer that is old, or from the future of a clock set back, is not paid on."""
    payout = payout_in(State.VALIDATED)
    assert payout.validated_at is not None

    assert Ask(ORDER) == next_command(payout, payout.validated_at + age)


def test_held_payout_is_not_paid() -> None:
    """A payout that waits for approval is asked about and never paid."""
    payout = payout_in(State.VALIDATED, held=True)

    assert Ask(ORDER, Pace.PERSON) == next_command(payout, START + 11)
    assert payout is evolve(payout, PayStarted(at=START + 11))


@pytest.mark.parametrize("state", [State.NEW, State.CHECKING, State.VALIDATING, State.VALIDATED])
def test_approval(state: State) -> None:
    """Approval lets a held payout be paid, whenever it comes."""
    approved = evolve(payout_in(state, held=True), Approved(at=START + 11, who="ann"))

    assert not approved.held
    assert state is approved.state


class TestLostCheck:
    """A check whose answer was lost is asked about, never blindly repeated."""

    def not_seen(self, payout: Payout, *ages: float) -> Payout:
        """Let the gateway deny the order at some seconds after the check."""
        for age in ages:
            payout = evolve(payout, NotSeen(at=START + 1 + age))
        return payout

    def test_too_few_denials(self) -> None:
        """Denials that are too few never lead to a second check, however long they last."""
        ages = [1000.0 * n for n in range(NOT_SEEN_TIMES - 1)]

        assert State.CHECKING is self.not_seen(payout_in(State.CHECKING), *ages).state

    def test_too_short_a_time(self) -> None:
        """Denials over too short a time never lead to a second check, however many they are."""
        ages = [n * 0.1 for n in range(100)]

        assert State.CHECKING is self.not_seen(payout_in(State.CHECKING), *ages).state

    def test_enough_denials(self) -> None:
        """Five denials over thirty seconds allow the next round."""
        ages = [n * NOT_SEEN_FOR / (NOT_SEEN_TIMES - 1) for n in range(NOT_SEEN_TIMES)]
        payout = self.not_seen(payout_in(State.CHECKING), *ages)

        assert (State.NEW, 2, 0) == (payout.state, payout.attempt, payout.not_seen)
        assert Check(2) == next_command(payout, LATE)

    def test_rounds_are_bounded(self) -> None:
        """When checks keep vanishing, a person must look."""
        payout, at = payout_in(State.NEW), START
        for _ in range(MOST_CHECKS):
            payout = evolve(payout, CheckStarted(at=at))
            for _ in range(NOT_SEEN_TIMES):
                at += NOT_SEEN_FOR
                payout = evolve(payout, NotSeen(at=at))

        assert (State.ATTENTION, Doubt.CHECKS_SPENT) == (payout.state, payout.doubt)

    def test_denials_count_from_each_check(self) -> None:
        """A new check forgets the denials of the one before."""
        payout = self.not_seen(payout_in(State.CHECKING), 0, 1, 2)
        payout = evolve(payout, CheckNotSent(at=LATE))
        payout = evolve(payout, CheckStarted(at=LATE))

        assert (0, None) == (payout.not_seen, payout.not_seen_at)


class TestAttention:
    """Attention is sticky for sending and open for learning."""

    @pytest.mark.parametrize("doubt", DOUBT_PATHS)
    def test_nothing_is_sent(self, doubt: Doubt) -> None:
        """No doubt is answered by sending."""
        payout = doubtful(doubt)

        assert (State.ATTENTION, doubt) == (payout.state, payout.doubt)
        assert isinstance(next_command(payout, LATE), Ask)
        assert payout is evolve(payout, PayStarted(at=LATE))
        assert payout is evolve(payout, CheckStarted(at=LATE))

    @pytest.mark.parametrize(
        ("doubt", "event", "state"),
        [
            (Doubt.CHECK_UNCONFIRMED, COLUMNS["CK"], State.VALIDATING),
            (Doubt.FOREIGN_ORDER, COLUMNS["CK"], State.ATTENTION),
            (Doubt.FOREIGN_ORDER, COLUMNS["FD"], State.ATTENTION),
            (Doubt.CHECK_UNCONFIRMED, COLUMNS["RR"], State.ATTENTION),
            (Doubt.PAY_REFUSED, COLUMNS["PA"], State.AWAITING_FINAL),
            (Doubt.BAD_REDIRECT, COLUMNS["RR"], State.AWAITING_RECEIVER),
            (Doubt.APPROVED_BEFORE_PAY, COLUMNS["FA"], State.ATTENTION),
            (Doubt.APPROVED_BEFORE_PAY, COLUMNS["PA"], State.ATTENTION),
            (Doubt.RESTORED, COLUMNS["FD"], State.FINAL),
        ],
    )
    def test_learning(self, doubt: Doubt, event: Event, state: State) -> None:
        """What is learned late counts, where it can only be about our order."""
        assert state is evolve(doubtful(doubt), event).state

    @pytest.mark.parametrize(
        ("doubt", "state"),
        [
            (Doubt.CHECK_UNCONFIRMED, State.NEW),
            (Doubt.FOREIGN_ORDER, State.NEW),
            (Doubt.PAY_UNCONFIRMED, State.VALIDATED),
            (Doubt.PAY_REFUSED, State.VALIDATED),
            (Doubt.RESTORED, State.VALIDATED),
            (Doubt.BAD_REDIRECT, State.AWAITING_FINAL),
            (Doubt.APPROVED_BEFORE_PAY, State.ATTENTION),
        ],
    )
    def test_release(self, doubt: Doubt, state: State) -> None:
        """A release goes back to where one more send may follow, save after a strange approval."""
        assert state is evolve(doubtful(doubt), COLUMNS["RE"]).state

    def test_release_pays_only_after_a_new_look(self) -> None:
        """A released payout is asked about before it is paid."""
        released = evolve(doubtful(Doubt.PAY_UNCONFIRMED), COLUMNS["RE"])

        assert Ask(ORDER) == next_command(released, LATE)
        again = evolve(released, Validated(at=LATE + 1))
        assert Pay(ORDER, 2) == next_command(again, LATE + 2)

    def test_release_too_early(self) -> None:
        """A doubt must be a minute old before a person can release it."""
        payout = doubtful(Doubt.PAY_UNCONFIRMED)
        early = Released(at=payout.since + RELEASE_AFTER - 1, who="ann", why="hurry")

        assert payout is evolve(payout, early)


class TestAcknowledged:
    """A person acknowledges what does not fit about a finished payout; that moves nothing."""

    def changes(self, before: Payout, after: Payout) -> set[str]:
        """Name the fields in which two payouts differ, but for the number of the event."""
        names = {field.name for field in attrs.fields(Payout)} - {"sequence"}
        return {name for name in names if getattr(before, name) != getattr(after, name)}

    @pytest.mark.parametrize("alarm", [a for a in Alarm if a is not Alarm.APPROVED_BEFORE_PAY])
    def test_nothing_moves(self, alarm: Alarm) -> None:
        """An acknowledged alarm needs nobody, once and for all, and nothing else is changed."""
        payout = fold(*ALARM_PATHS[alarm])
        after = evolve(payout, SEEN)

        assert ((alarm,), (), (alarm,)) == (payout.open_alarms, after.open_alarms, after.alarms)
        assert {"findings", "decisions"} == self.changes(payout, after)
        assert Stop() == next_command(after, LATE)
        assert after is evolve(after, SEEN)

    def test_error(self) -> None:
        """The status error is acknowledged likewise."""
        payout = fold(*PATHS[State.AWAITING_FINAL], finished("error"))
        after = evolve(payout, SEEN)

        assert (True, False) == (payout.needs_reconciliation, after.needs_reconciliation)
        assert {"is_reconciled", "decisions"} == self.changes(payout, after)
        assert after is evolve(after, SEEN)

    @pytest.mark.parametrize("state", State)
    def test_nothing_to_acknowledge(self, state: State) -> None:
        """Where everything fits there is nothing to acknowledge, and nothing beforehand."""
        payout = payout_in(state)

        assert payout is evolve(payout, SEEN)
        contradicted = evolve(evolve(payout, SEEN), finished(at=LATE + 1))
        if state in (State.REJECTED, State.WITHDRAWN, State.CLOSED):
            assert (Alarm.STATUS_CONTRADICTS,) == contradicted.open_alarms

    @pytest.mark.parametrize("state", list(PATHS)[2:7])
    def test_not_before_the_end(self, state: State) -> None:
        """What does not fit about a payout that goes on is acknowledged once it is finished."""
        payout = evolve(payout_in(state), Checked(at=LATE, paynet_order_id="999"))

        assert (Alarm.SECOND_ORDER,) == payout.open_alarms
        assert payout is evolve(payout, SEEN)

    @pytest.mark.parametrize("doubt", DOUBT_PATHS)
    def test_never_in_attention(self, doubt: Doubt) -> None:
        """A doubt is released or closed, and acknowledged never, with an alarm or without."""
        payout = doubtful(doubt)
        odd = attrs.evolve(payout, findings=fold(*ALARM_PATHS[Alarm.AMOUNT_DIFFERS]).findings)

        assert payout is evolve(payout, SEEN)
        assert odd is evolve(odd, SEEN)

    def test_another_alarm_later(self) -> None:
        """An alarm that comes after the acknowledgement needs a person."""
        payout = fold(*ALARM_PATHS[Alarm.AMOUNT_DIFFERS], SEEN)
        again = evolve(payout, finished("declined", LATE + 1))

        assert (Alarm.STATUS_CONTRADICTS,) == again.open_alarms
        assert (Alarm.AMOUNT_DIFFERS, Alarm.STATUS_CONTRADICTS) == again.alarms
        assert () == evolve(again, attrs.evolve(SEEN, at=LATE + 2)).open_alarms

    def test_same_alarm_later(self) -> None:
        """The same in other words needs a person again; the same again does not."""
        payout = fold(*ALARM_PATHS[Alarm.LATER_TRANSACTION], SEEN)
        told = {"transaction_type": "chargeback"}
        same = finished(at=LATE + 1, amount=Decimal("5.00"), **told)
        more = finished(at=LATE + 1, **told)
        again = evolve(payout, more)

        assert payout is evolve(payout, same)
        assert (Alarm.LATER_TRANSACTION,) == again.open_alarms == again.alarms
        assert again is evolve(again, same) is evolve(again, more)
        noted = evolve(again, SEEN)
        assert noted is evolve(noted, same) is evolve(noted, more)

    def test_only_what_was_seen(self) -> None:
        """What was not among what the person has seen stays open, of whichever alarm it is."""
        payout = fold(
            *PATHS[State.AWAITING_FINAL],
            finished("error"),
            finished(at=LATE, transaction_type="reversal", amount=Decimal("0.10")),
            finished(at=LATE, transaction_type="chargeback", amount=Decimal("1.50")),
        )
        first, second = (each.number for each in payout.findings)
        assert (first, second) == (payout.sequence - 1, payout.sequence)

        after = evolve(payout, seen(LATE, findings=(first,), error=False))
        assert [Decimal("1.50")] == [each.amount for each in after.open_findings]
        assert ((Alarm.LATER_TRANSACTION,), True) == (
            after.open_alarms,
            after.needs_reconciliation,
        )
        assert () == after.acknowledged
        reconciled = evolve(after, seen(LATE, findings=(first, 999)))
        assert (("error",), False) == (reconciled.acknowledged, reconciled.needs_reconciliation)
        assert after is evolve(after, seen(LATE, findings=(first, 999), error=False))
        assert () == evolve(reconciled, seen(LATE, findings=(second,))).open_findings

    def test_not_beforehand(self) -> None:
        """What comes in between the look and the acknowledgement stays open."""
        payout = fold(*ALARM_PATHS[Alarm.AMOUNT_DIFFERS])
        looked = acknowledgement(payout, at=LATE, who="ann", why="asked")
        between = evolve(payout, finished("declined", at=LATE))

        assert (payout.sequence,) == looked.findings
        after = evolve(between, looked)
        assert (Alarm.STATUS_CONTRADICTS,) == after.open_alarms
        both: dict[str, Any] = {"at": LATE, "who": "ann", "why": "asked", "as_of": payout.sequence}
        assert looked == acknowledgement(between, **both)
        named = acknowledgement(between, **both, alarms=["status-contradicts", "error"])
        assert ((), False) == (named.findings, named.error)

    def test_error_that_was_not_shown(self) -> None:
        """The status error of a payout that was looked at before its end is not acknowledged."""
        odd = fold(*PATHS[State.AWAITING_FINAL], Checked(at=LATE, paynet_order_id="999"))
        ended = evolve(odd, finished("error", at=LATE + 1))
        given: dict[str, Any] = {"at": LATE + 2, "who": "ann", "why": "asked"}

        looked = acknowledgement(ended, **given, as_of=odd.sequence)
        assert ((odd.sequence,), False) == (looked.findings, looked.error)
        assert evolve(ended, looked).needs_reconciliation
        assert acknowledgement(ended, **given, as_of=ended.sequence).error
        assert not acknowledgement(ended, **given, alarms=["second-order"]).error

    def test_close_of_the_same(self) -> None:
        """Who closes a doubt has looked at the alarm that repeats it, and at no other."""
        closed = Closed(at=LATE, who="ann", why="paid by hand")
        parked = doubtful(Doubt.APPROVED_BEFORE_PAY)
        other = evolve(parked, Checked(at=LATE, paynet_order_id="999"))

        assert (Alarm.APPROVED_BEFORE_PAY,) == parked.open_alarms
        assert () == evolve(parked, closed).open_alarms
        assert (Alarm.SECOND_ORDER,) == evolve(other, closed).open_alarms

    def test_close_of_more(self) -> None:
        """Who closes a payout has not seen what else was told of the same alarm as its doubt."""
        more = evolve(doubtful(Doubt.APPROVED_BEFORE_PAY), finished(at=LATE, amount=Decimal(7)))
        told = outcome(more)

        assert [Decimal(7)] == [each.amount for each in more.told_findings]
        assert "(7 USD) although pay was never sent" in (told.explanation or "")
        assert evolve(more, COLUMNS["CL"]).open_findings == more.told_findings


class TestContradictions:
    """Whatever the gateway tells against a finished payout is kept, and not without end."""

    def test_none_hides_another(self) -> None:
        """A contradiction is kept while another one of the same alarm is open, and after it."""
        declined = fold(*PATHS[State.AWAITING_FINAL], finished("declined"))
        told = evolve(evolve(declined, finished("error", LATE)), finished(at=LATE))

        words = [each.status for each in told.findings]
        assert (["error", "approved"], (Alarm.STATUS_CONTRADICTS,)) == (words, told.alarms)
        assert told is evolve(told, finished("error", at=LATE + 1))
        noted = evolve(told, SEEN)
        assert noted is evolve(noted, finished(at=LATE + 1))

    def test_another_amount(self) -> None:
        """An approved payout of which another amount is told later needs a person."""
        payout = payout_in(State.FINAL)
        other = evolve(payout, finished(at=LATE, amount=Decimal("3.00")))

        assert (Alarm.AMOUNT_DIFFERS,) == other.open_alarms
        assert payout is evolve(payout, finished(at=LATE, amount=None, currency=None))

    @pytest.mark.parametrize("status", ["approved", "declined"])
    def test_another_order(self, status: str) -> None:
        """How another order ended is no word of how this one did, and is kept."""
        other = evolve(payout_in(State.FINAL), finished(status, at=LATE, paynet_order_id="999"))

        assert (Alarm.SECOND_ORDER,) == other.open_alarms
        assert status == other.findings[0].status

    def test_are_bounded(self) -> None:
        """Of one kind a few are kept while nobody looks; they never keep out another kind."""
        payout = fold(*PATHS[State.AWAITING_FINAL], finished("declined"))
        for cents in range(1, 100):
            for status, kind in (("error", None), ("approved", "reversal")):
                told = finished(status, LATE, amount=Decimal(cents), transaction_type=kind)
                payout = evolve(payout, told)
        assert 2 * MOST_ALIKE == len(payout.findings)
        assert "There may be more like it" in (outcome(payout).explanation or "")
        worse = evolve(payout, finished(at=LATE))
        chargeback = finished("declined", LATE, transaction_type="chargeback")
        assert ["approved", "declined"] == [
            each.status for each in evolve(worse, chargeback).findings[-2:]
        ]
        assert len(payout.findings) + 1 == len(worse.findings)

        noted = evolve(worse, SEEN)
        again = evolve(noted, finished(at=LATE, amount=Decimal(99), transaction_type="reversal"))
        assert [Decimal(99)] == [each.amount for each in again.open_findings]


def refused(*, settings: bool = False, pays: int = 1) -> Payout:
    """Make a one-step payout whose latest request was answered with a refusal."""
    payout = payout_in(State.PAYING, flow=Flow.ONE_STEP) if pays == 1 else released_and_sent_again()
    return evolve(
        payout,
        PayRefused(at=LATE + 2000, error_code="8", error_message="no", about_settings=settings),
    )


def denied(payout: Payout, times: int = NOT_SEEN_TIMES, seconds: float = NOT_SEEN_FOR) -> Payout:
    """Let the gateway deny the order so often, over so many seconds."""
    for n in range(times):
        payout = evolve(payout, NotSeen(at=payout.since + 1 + n * seconds / (times - 1)))
    return payout


class TestRefused:
    """A refusal is no proof that nothing was done: another copy of the request may have acted."""

    @pytest.mark.parametrize("settings", [False, True])
    def test_one_step_is_asked_about(self, settings: bool) -> None:  # noqa: FBT001
        """A one-step payout that was refused stays in doubt, counted as sent, with the reason."""
        payout = refused(settings=settings)

        assert Ask(None) == next_command(payout, LATE + 5000)
        assert (State.PAYING, 1, "8") == (payout.state, payout.pays, payout.error_code)
        assert payout is evolve(payout, COLUMNS["WD"])
        assert "asked whether an order was made" in (outcome(payout).explanation or "")

    def test_one_step_that_is_denied(self) -> None:
        """It is rejected after as many denials as let a lost check be sent again."""
        assert State.REJECTED is denied(refused()).state
        assert "no" == denied(refused()).error_message
        assert State.PAYING is denied(refused(), times=NOT_SEEN_TIMES - 1).state
        assert State.PAYING is denied(refused(), seconds=NOT_SEEN_FOR - 1).state

    @pytest.mark.parametrize(("settings", "pays"), [(True, 1), (False, 2)])
    def test_one_step_that_needs_a_person(self, settings: bool, pays: int) -> None:  # noqa: FBT001
        """A wrong setting can be mended, and an earlier send may have paid: a person decides."""
        payout = denied(refused(settings=settings, pays=pays))

        assert (State.ATTENTION, Doubt.PAY_REFUSED) == (payout.state, payout.doubt)

    def test_one_step_that_is_found(self) -> None:
        """An order that is found all the same is followed, and the refusal forgotten."""
        payout = evolve(refused(), PayAccepted(at=LATE + 3000, paynet_order_id=ORDER))

        assert (State.AWAITING_FINAL, None) == (payout.state, payout.error_code)
        assert State.FINAL is evolve(refused(), finished(at=LATE + 3000)).state

    def test_denials_without_a_refusal(self) -> None:
        """A pay whose answer was lost is never given up for a denial."""
        lost = payout_in(State.PAYING, flow=Flow.ONE_STEP)

        assert lost is evolve(lost, NotSeen(at=LATE))

    def test_second_refusal(self) -> None:
        """One send has one answer."""
        assert refused() is not evolve(refused(), COLUMNS["PR"])
        payout = refused()
        assert payout is evolve(payout, COLUMNS["PR"])

    def test_what_earlier_releases_believed(self) -> None:
        """A one-step payout that was turned away is asked about before it is sent again."""
        payout = lead(payout_in(State.PAYING, flow=Flow.ONE_STEP), COLUMNS["TA"])

        assert Ask(None) == next_command(payout, LATE + 5000)
        assert isinstance(next_command(denied(payout), LATE + 5000), PayOut)
        assert State.PAYING is lead(payout, COLUMNS["PS"]).state  # as they have written it


class TestRestored:
    """A journal that was restored from a copy asks first, and never pays on its own word."""

    def test_new(self) -> None:
        """A new payout of a restored journal is asked about, not checked."""
        payout = fold(Restored(at=LATE))

        assert Ask(None) == next_command(payout, LATE)
        assert payout is evolve(payout, CheckStarted(at=LATE))

    def test_new_after_denials(self) -> None:
        """Only definite denials let it be checked."""
        payout = fold(Restored(at=LATE))
        for n in range(NOT_SEEN_TIMES):
            payout = evolve(payout, NotSeen(at=LATE + n * NOT_SEEN_FOR))

        assert Check(1) == next_command(payout, LATE + 1000)

    def test_found(self) -> None:
        """An order that the gateway has is adopted."""
        assert State.VALIDATING is fold(Restored(at=LATE), COLUMNS["CK"]).state

    @pytest.mark.parametrize("state", [State.VALIDATING, State.VALIDATED])
    def test_validated_needs_a_person(self, state: State) -> None:
        """What is validated may have been paid since the copy was made."""
        payout = evolve(payout_in(state), Restored(at=LATE))
        if state is State.VALIDATING:
            payout = evolve(payout, Validated(at=LATE))

        assert (State.ATTENTION, Doubt.RESTORED) == (payout.state, payout.doubt)

    @pytest.mark.parametrize("state", [State.NEW, State.CHECKING])
    def test_denials_before_the_copy(self, state: State) -> None:
        """What the gateway denied before the copy was made allows no check after it."""
        denied = [NotSeen(at=LATE + n * NOT_SEEN_FOR) for n in range(NOT_SEEN_TIMES - 1)]
        back = [CheckNotSent(at=LATE)] if state is State.NEW else []
        payout = fold(CheckStarted(at=START + 1), *denied, *back, Restored(at=LATE + 1000))
        payout = evolve(payout, NotSeen(at=LATE + 1001))

        assert (state, 1, True, 1) == (
            payout.state,
            payout.attempt,
            payout.restored,
            payout.not_seen,
        )

    def test_released(self) -> None:
        """Who releases a restored payout without an order has it asked about before a check."""
        payout = evolve(doubtful(Doubt.CHECK_UNCONFIRMED), Restored(at=LATE))
        payout = evolve(payout, Released(at=LATE + 100, who="ann", why="never arrived"))

        assert (State.NEW, True) == (payout.state, payout.restored)
        assert Ask(None) == next_command(payout, LATE + 200)
        found = lead(payout, COLUMNS["CK"], COLUMNS["VA"])
        assert (State.ATTENTION, Doubt.RESTORED) == (found.state, found.doubt)
        assert Check(2) == next_command(denied(payout), LATE + 5000)

    def test_denials_before_a_release(self) -> None:
        """What the gateway denied before a release does not shorten the time after it."""
        payout = payout_in(State.CHECKING)
        payout = lead(payout, COLUMNS["NS"], COLUMNS["NS"], _of_check(Doubt.CHECK_UNCONFIRMED))
        payout = lead(lead(payout, COLUMNS["RS"]), COLUMNS["RE"])

        assert denied(payout, seconds=NOT_SEEN_FOR - 1).restored

    def test_shown_beside_the_doubt(self) -> None:
        """A doubt that is older than the copy says that the journal was restored since."""
        told = outcome(evolve(payout_in(State.ATTENTION), Restored(at=LATE)))

        assert told.restored
        assert "restored from a copy after that" in (told.explanation or "")

    def test_found_after_a_doubt(self) -> None:
        """A copy whose check was in doubt needs a person too, once its order is found."""
        payout = evolve(doubtful(Doubt.CHECK_UNCONFIRMED), Restored(at=LATE))
        payout = evolve(evolve(payout, COLUMNS["CK"]), Validated(at=LATE))

        assert (State.ATTENTION, Doubt.RESTORED) == (payout.state, payout.doubt)


class TestFinal:
    """Only a status makes a payout final, and nothing unmakes it."""

    def test_approved_before_pay_is_an_alarm(self) -> None:
        """An approval that we did not cause is no end."""
        payout = evolve(payout_in(State.VALIDATED), finished())

        assert (State.ATTENTION, (Alarm.APPROVED_BEFORE_PAY,)) == (payout.state, payout.alarms)

    @pytest.mark.parametrize("fields", [{"amount": None}, {"currency": None}, {"currency": "usd"}])
    def test_amount_that_is_not_told(self, fields: dict[str, Any]) -> None:
        """An amount or currency that is not told raises no alarm."""
        assert () == evolve(payout_in(State.AWAITING_FINAL), finished(**fields)).alarms

    @pytest.mark.parametrize("fields", [{"amount": 10}, {"currency": "EUR"}])
    def test_amount_that_differs(self, fields: dict[str, Any]) -> None:
        """An amount or currency that was not asked for raises an alarm."""
        payout = evolve(payout_in(State.AWAITING_FINAL), finished(**fields))

        assert (State.FINAL, (Alarm.AMOUNT_DIFFERS,)) == (payout.state, payout.alarms)

    def test_contradiction_is_told_once(self) -> None:
        """A contradiction is one alarm and one record, however often it is repeated."""
        payout = evolve(payout_in(State.FINAL), finished("declined"))

        assert (Alarm.STATUS_CONTRADICTS,) == payout.alarms
        assert payout is evolve(payout, finished("declined", LATE))

    @pytest.mark.parametrize(
        "event",
        [
            Checked(at=LATE, paynet_order_id="999"),
            PayAccepted(at=LATE, paynet_order_id="999"),
            finished("declined", LATE, paynet_order_id="999"),
        ],
    )
    @pytest.mark.parametrize("state", [State.VALIDATING, State.PAYING, State.AWAITING_FINAL])
    def test_second_order_is_never_adopted(self, state: State, event: Event) -> None:
        """News about another order id is an alarm, and ours stays where it was."""
        payout = evolve(payout_in(state), event)

        assert (ORDER, (Alarm.SECOND_ORDER,)) == (payout.paynet_order_id, payout.alarms)
        assert state is payout.state

    def test_link_is_forgotten(self) -> None:
        """The receiver's link is erased from a final payout."""
        payout = evolve(payout_in(State.AWAITING_RECEIVER), finished())

        assert payout.redirect_to is None


@pytest.mark.parametrize("state", State)
def test_deadlines(state: State) -> None:
    """Every state that is not terminal says how long to wait and why it was not finished."""
    payout = payout_in(state)

    wait = deadline(payout)

    assert (wait is None) is state.is_terminal
    if wait is not None:
        assert isinstance(wait[0], OpenReason)
        assert wait[1] >= payout.since


# Walks: whatever happens, in whatever order.


def shuffled_events(chance: random.Random, state: State, at: float) -> Event:
    """Choose any event, more often one that the state lists, with any order id and doubt."""
    order = chance.choice([ORDER, ORDER, ORDER, "999"])
    listed = [event for event in COLUMNS.values() if type(event) in TRANSITIONS[state]]
    event = chance.choice(listed if listed and chance.random() < 0.7 else list(COLUMNS.values()))
    changes: dict[str, Any] = {"at": at}
    names = {field.name for field in attrs.fields(type(event))}
    if "paynet_order_id" in names:
        changes["paynet_order_id"] = order
    if "doubt" in names:
        changes["doubt"] = chance.choice(list(Doubt))
    if "findings" in names:
        changes["findings"] = tuple(n for n in range(80) if chance.random() < 0.7)
        changes["error"] = chance.random() < 0.7
    if isinstance(event, Finished):
        changes["amount"] = Decimal(chance.randint(1, 3))
    return attrs.evolve(event, **changes)


def walk(seed: int, steps: int = 60) -> Iterator[tuple[Payout, Event, Payout]]:
    """Walk from a new payout through any events."""
    chance = random.Random(seed)
    flow = chance.choice(list(Flow))
    held = flow is Flow.CHECK_PAY and chance.random() < 0.2
    payout = open_payout(opened(flow=flow, held=held))
    at = START
    for _ in range(steps):
        at += chance.choice([0.0, 1.0, 5.0, 40.0, 1000.0])
        event = shuffled_events(chance, payout.state, at)
        becomes = evolve(payout, event)
        yield payout, event, becomes
        payout = becomes


@settings(max_examples=1500, deadline=None)
@given(seed=st.integers(0, 2**48))
def test_walks(seed: int) -> None:
    """No walk pays twice without a release, leaves a terminal state or takes an unlisted way."""
    sends = releases = 0
    for before, event, after in walk(seed):
        if after is before:
            assert before == evolve(before, event)
            continue
        assert before.sequence + 1 == after.sequence
        assert [each.number for each in before.findings] == [
            each.number for each in after.findings if each.number != after.sequence
        ]
        if after.state is not before.state:
            assert after.state in TRANSITIONS[before.state][type(event)]
        assert not (before.state.is_terminal and after.state is not before.state)
        if isinstance(event, Acknowledged):
            kept: dict[str, Any] = {"findings": after.findings, "sequence": after.sequence}
            kept |= {"is_reconciled": after.is_reconciled, "decisions": after.decisions}
            assert (*before.decisions, event) == after.decisions
            assert attrs.evolve(before, **kept) == after
            left = [each for each in before.open_findings if each.number not in event.findings]
            assert left == list(after.open_findings)
            assert after.needs_reconciliation is (before.needs_reconciliation and not event.error)
        elif before.state.is_terminal:
            assert after.open_alarms  # or nobody would hear of what has changed it
        if isinstance(event, PayStarted):
            sends += 1
            assert before.state in (State.NEW, State.VALIDATED)
            assert not before.held
            # Earlier releases did so after a release, or a refused setting.
            again = before.attempt > 1 or before.flow is Flow.ONE_STEP
            assert again or not before.restored
        if isinstance(event, PayNotSent) or (
            isinstance(event, TurnedAway) and before.state is State.PAYING
        ):
            sends -= 1
        if isinstance(event, PayAccepted) and after.state is State.AWAITING_FINAL and not sends:
            assert before.restored  # a claim that the copy does not know
            sends += 1
        if isinstance(event, Released):
            releases += 1
        assert 0 <= after.pays == sends <= 1 + releases
        assert before.paynet_order_id in (None, after.paynet_order_id)
        assert isinstance(next_command(after, event.at), Stop) is after.state.is_terminal


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**48), length=st.integers(0, 40))
def test_every_walk_can_end(seed: int, length: int) -> None:
    """From wherever a walk has led, some events lead to a terminal state."""
    payout = open_payout(opened())
    for _, _, after in walk(seed, length):
        payout = after
    frontier, seen = [payout], set[tuple[object, ...]]()
    while frontier and not frontier[0].state.is_terminal:
        here = frontier.pop(0)
        for event in (
            *COLUMNS.values(),
            *(finished(at=LATE, paynet_order_id=o) for o in (ORDER, "999")),
        ):
            later = attrs.evolve(event, at=here.since + 100)
            there = evolve(here, later)
            key = (there.state, there.doubt, there.held, there.restored, there.paynet_order_id)
            if key not in seen:
                seen.add(key)
                frontier.append(there)

    assert frontier


def lead(payout: Payout, *events: Event) -> Payout:
    """Lead a payout through events, each a while after the one before."""
    for number, event in enumerate(events, 1):
        payout = evolve(payout, attrs.evolve(event, at=LATE + 100 * number))
    return payout


def released_and_sent_again() -> Payout:
    """Make a one-step payout whose first send is in doubt and whose second is under way."""
    denials = [COLUMNS["NS"]] * 5
    return lead(
        payout_in(State.ATTENTION, flow=Flow.ONE_STEP), COLUMNS["RE"], *denials, COLUMNS["PS"]
    )


def found_after_a_restore() -> Payout:
    """Make a one-step payout that a restored journal did not know to have been sent."""
    return lead(
        payout_in(State.NEW, flow=Flow.ONE_STEP),
        *(COLUMNS[name] for name in ("RS", "PA", "RR")),
    )


class TestAfterARelease:
    def test_one_step_is_looked_for_first(self) -> None:
        """A released one-step payout is sent again only after five denials that it exists."""
        payout = lead(payout_in(State.ATTENTION, flow=Flow.ONE_STEP), COLUMNS["RE"])
        for number in range(5):
            assert Ask(None) == next_command(payout, LATE)
            payout = evolve(payout, NotSeen(at=LATE + 200 + 10 * number))

        assert isinstance(next_command(payout, LATE), PayOut)

    @pytest.mark.parametrize("flow", Flow)
    @pytest.mark.parametrize(
        ("event", "state"),
        [
            ("PA", State.AWAITING_FINAL),
            ("FA", State.FINAL),
            ("FD", State.FINAL),
        ],
    )
    def test_news_of_the_first_pay_counts(self, flow: Flow, event: str, state: State) -> None:
        """What shows that the pay in doubt took effect is heard until the next one leaves."""
        payout = lead(payout_in(State.ATTENTION, flow=flow), COLUMNS["RE"], COLUMNS[event])

        assert state is payout.state

    def test_a_link_shows_that_the_first_pay_took_effect(self) -> None:
        """A redirect link, good or bad, is heard after a release, since only a pay causes one."""
        released = lead(payout_in(State.ATTENTION), COLUMNS["RE"])

        assert State.AWAITING_RECEIVER is lead(released, COLUMNS["RR"]).state
        bad = lead(released, NeedsAttention(at=LATE, doubt=Doubt.BAD_REDIRECT))
        assert Doubt.BAD_REDIRECT is bad.doubt

    def test_nothing_of_that_before_the_first_pay(self) -> None:
        """A payout that was never paid takes no news of a pay."""
        for name in ("PA", "RR"):
            payout = payout_in(State.VALIDATED)
            assert payout is evolve(payout, COLUMNS[name])

    def test_refusal_of_a_second_send(self) -> None:
        """A second one-step send that is refused, as a duplicate perhaps, needs a person."""
        payout = lead(released_and_sent_again(), COLUMNS["RJ"])

        assert (State.ATTENTION, Doubt.PAY_REFUSED) == (payout.state, payout.doubt)

    def test_second_send_that_is_turned_away(self) -> None:
        """A second one-step send that is turned away is looked for again before a third."""
        payout = lead(released_and_sent_again(), COLUMNS["TA"])

        assert (State.NEW, 1, True) == (payout.state, payout.pays, payout.restored)

    def test_a_look_before_the_release_is_none(self) -> None:
        """What was seen before a person released a payout does not count as the look after it."""
        parked = payout_in(State.ATTENTION)
        released = lead(parked, COLUMNS["RE"])
        seen = evolve(released, Validated(at=released.since - 1))

        assert isinstance(next_command(seen, released.since + 1), Ask)
        seen = evolve(released, Validated(at=released.since + 1))
        assert isinstance(next_command(seen, released.since + 2), Pay)

    def test_clock_set_back(self) -> None:
        """Denials from before the clock was set back do not count together with later ones."""
        payout = payout_in(State.CHECKING)
        for number in range(4):
            payout = evolve(payout, NotSeen(at=LATE + 10 * number))
        payout = evolve(payout, NotSeen(at=LATE - 86400))

        assert (State.CHECKING, 1) == (payout.state, payout.not_seen)


def test_listed_ways_are_taken() -> None:
    """Every way that the table of transitions lists is taken by some payout."""
    taken: set[tuple[State, type[Event], State]] = set()
    starts = [
        *(payout_in(state) for state in PATHS),
        *(payout_in(state, flow=Flow.ONE_STEP) for state in ONE_STEP_PATHS),
        *(doubtful(doubt) for doubt in DOUBT_PATHS),
        *(payout_in(state, held=True) for state in list(PATHS)[:4]),
        released_and_sent_again(),
        found_after_a_restore(),
    ]
    for start in starts:
        frontier = [start]
        for _ in range(3):
            frontier = [
                after
                for before in frontier
                for event in (*COLUMNS.values(), *map(_of_check, Doubt))
                if (after := evolve(before, attrs.evolve(event, at=before.since + 61)))
                is not before
                and not taken.add((before.state, type(event), after.state))  # type: ignore[func-returns-value] # the set is what is wanted
            ][:400]
    for seed in range(300):
        for before, event, after in walk(seed):
            if after is not before:
                taken.add((before.state, type(event), after.state))
    listed = {
        (state, event, target)
        for state, row in TRANSITIONS.items()
        for event, targets in row.items()
        for target in targets
    }

    unlisted = {way for way in taken - listed if way[0] is not way[2]}
    assert (set(), set()) == (listed - taken - NEEDS_A_RUN, unlisted)


def _of_check(doubt: Doubt) -> Event:
    return NeedsAttention(at=LATE, doubt=doubt)


NEEDS_A_RUN = {
    (State.CHECKING, NotSeen, State.ATTENTION),
    (State.CHECKING, NotSeen, State.NEW),
    (State.PAYING, NotSeen, State.ATTENTION),
    (State.PAYING, NotSeen, State.REJECTED),
}
"""Ways that take several events in a row; TestLostCheck and TestRefused take them."""


def test_diagram_is_drawn_from_the_table() -> None:
    """The diagram has an arrow for each pair of states that the table joins, and no other."""
    joined = {
        (state.name, target.name)
        for state, row in TRANSITIONS.items()
        for targets in row.values()
        for target in targets
        if target is not state
    }
    drawn = {
        tuple(line.partition(":")[0].split(" --> "))
        for line in diagram().splitlines()
        if " --> " in line and "[*]" not in line
    }

    assert joined == {tuple(part.strip() for part in pair) for pair in drawn}


def test_ring_of_states() -> None:
    """A smooth payout goes check, validate, pay, final and nowhere else."""
    path = [payout_in(state).state for state in list(PATHS)[:6]]

    assert all(b in {t for ts in TRANSITIONS[a].values() for t in ts} for a, b in pairwise(path))


def test_restored_one_step_payout_that_is_found() -> None:
    """A one-step payout that is found after a restore was paid: its link and its end count."""
    payout = fold(Restored(at=START + 1), first=opened(flow=Flow.ONE_STEP))
    found = evolve(payout, PayAccepted(at=START + 2, paynet_order_id=ORDER))
    shown = evolve(found, RedirectRequired(at=START + 3, redirect_to=LINK))
    ended = evolve(shown, finished(at=START + 4))

    assert (State.AWAITING_FINAL, 1) == (found.state, found.pays)
    assert (State.AWAITING_RECEIVER, LINK) == (shown.state, shown.redirect_to)
    assert (State.FINAL, ()) == (ended.state, ended.alarms)
