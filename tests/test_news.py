"""What an answer means: an event where it is news about our order, and nothing otherwise."""

from decimal import Decimal
from typing import Any

import pytest
from payouts import LINK, ORDER, START, doubtful, fold, payout_in

from billblend_async.core.events import (
    Checked,
    CheckRefused,
    Finished,
    NeedsAttention,
    NotSeen,
    PayAccepted,
    PayRefused,
    RedirectCleared,
    RedirectRequired,
    Rejected,
    Released,
    Restored,
    Validated,
)
from billblend_async.core.machine import (
    Ask,
    Check,
    Pay,
    PayOut,
    Payout,
    event_for,
    evolve,
    next_command,
)
from billblend_async.core.models import Alarm, Doubt, Flow, State
from billblend_async.core.payout import outcome
from billblend_async.core.responses import (
    Accepted,
    NoAnswer,
    NotFound,
    NotSent,
    Refused,
    Status,
    StatusReport,
    Unknown,
)

AT = START + 60.0
ASK = Ask(ORDER)
SLOW = START + 10_000.0


def report(status: str = "processing", **fields: Any) -> StatusReport:
    """Make a status answer about our order."""
    usual = {
        "type": "status-response",
        "paynet_order_id": ORDER,
        "merchant_order_id": "po-1",
        "amount": Decimal("10.42"),
        "currency": "USD",
        "order_stage": "payout_check_validating",
    }
    return StatusReport(status=Status(status), **{**usual, **fields})


@pytest.mark.parametrize(
    ("state", "command", "answer", "event"),
    [
        (State.CHECKING, Check(1), Accepted(ORDER), Checked(at=AT, paynet_order_id=ORDER)),
        (
            State.CHECKING,
            Check(1),
            Refused("8", "no"),
            CheckRefused(at=AT, error_code="8", error_message="no"),
        ),
        (State.CHECKING, Check(1), Unknown("ReadTimeout"), None),
        (State.CHECKING, Check(1), NotSent("ConnectError"), None),
        (State.PAYING, Pay(ORDER, 1), Accepted(ORDER), PayAccepted(at=AT, paynet_order_id=ORDER)),
        (State.PAYING, Pay(ORDER, 1), Refused("8"), PayRefused(at=AT, error_code="8")),
        (State.PAYING, Pay(ORDER, 1), NotSent("ConnectError"), None),
        (State.PAYING, Pay(ORDER, 2), Refused("8"), None),
        (State.PAYING, Pay(ORDER, 1), Unknown("ReadTimeout"), None),
        (State.NEW, Check(1), NotSent("ConnectError"), None),
    ],
)
def test_answers_to_sends(state: State, command: Any, answer: Any, event: Any) -> None:
    """An answer to a send is news only where it proves something about this very send."""
    assert event == event_for(payout_in(state), command, answer, AT)


def test_answers_to_one_step() -> None:
    """A one-step payout is accepted with its order id; a refusal never un-counts its request."""
    payout = payout_in(State.PAYING, flow=Flow.ONE_STEP)

    accepted = event_for(payout, PayOut(1), Accepted(ORDER), AT)
    assert PayAccepted(at=AT, paynet_order_id=ORDER) == accepted
    assert PayRefused(at=AT) == event_for(payout, PayOut(1), Refused(), AT)
    for code in "23457":
        told = event_for(payout, PayOut(1), Refused(code, "no"), AT)
        assert told == PayRefused(at=AT, error_code=code, error_message="no", about_settings=True)


class TestAfterARefusal:
    """What the gateway says of an order that it has refused to make."""

    def check(self) -> Payout:
        """Make a payout whose check was refused."""
        return evolve(
            payout_in(State.CHECKING), CheckRefused(at=AT, error_code="8", error_message="no")
        )

    def one_step(self, code: str = "8", *, settings: bool = False) -> Payout:
        """Make a one-step payout whose request was refused."""
        event = PayRefused(at=AT, error_code=code, about_settings=settings)
        return evolve(payout_in(State.PAYING, flow=Flow.ONE_STEP), event)

    @pytest.mark.parametrize(
        "answer",
        [NotFound("101"), NoAnswer("error 9: no", readable=True, error_code="9")],
        ids=["denied", "another error"],
    )
    def test_check_after_one_answer(self, answer: Any) -> None:
        """A check moves no money: one answer without an order makes it Rejected."""
        payout = self.check()
        event = event_for(payout, next_command(payout, AT), answer, AT + 5)

        assert Rejected(at=AT + 5, error_code="8", error_message="no") == event

    @pytest.mark.parametrize(
        "answer",
        [
            NoAnswer("HTTP 503", 503),
            NoAnswer("error 5: ?", readable=True, error_code="5"),
            NoAnswer("an answer that names another order", readable=True),
        ],
        ids=["silence", "settings", "another order"],
    )
    @pytest.mark.parametrize("is_check", [True, False])
    def test_what_says_nothing(self, answer: Any, is_check: bool) -> None:  # noqa: FBT001
        """Silence, a wrong setting and another order's answer say nothing about this order."""
        payout = self.check() if is_check else self.one_step()

        assert event_for(payout, next_command(payout, AT), answer, AT + 5) is None

    def test_question_from_before(self) -> None:
        """What was asked before the refusal came says nothing about it."""
        for before, payout in (
            (payout_in(State.CHECKING), self.check()),
            (payout_in(State.PAYING, flow=Flow.ONE_STEP), self.one_step()),
        ):
            assert event_for(payout, next_command(before, AT), NotFound("101"), AT + 5) is None

    def test_one_step_is_denied(self) -> None:
        """A denial counts, and so does the refusal's own error in answer to a question."""
        payout, again = self.one_step(), NoAnswer("error 8", readable=True, error_code="8")
        ask = next_command(payout, AT)

        assert NotSeen(at=AT + 5) == event_for(payout, ask, NotFound("101"), AT + 5)
        assert NotSeen(at=AT + 5) == event_for(payout, ask, again, AT + 5)
        other = NoAnswer("error 102", readable=True, error_code="102")
        assert event_for(payout, ask, other, AT + 5) is None
        wrong = self.one_step("5", settings=True)
        same = NoAnswer("error 5", readable=True, error_code="5")
        assert event_for(wrong, next_command(wrong, AT), same, AT + 5) is None

    def test_found(self) -> None:
        """An order that is there all the same is followed."""
        for payout, event in (
            (self.check(), Checked(at=AT, paynet_order_id=ORDER)),
            (self.one_step(), PayAccepted(at=AT, paynet_order_id=ORDER)),
        ):
            assert event == event_for(payout, next_command(payout, AT), report("processing"), AT)

    def test_when_it_takes_too_long(self) -> None:
        """A refused one-step payout that is neither found nor denied needs a person."""
        payout, silent = self.one_step(), NoAnswer("error 102", readable=True, error_code="102")
        late = AT + payout.deadlines.doubt
        event = event_for(payout, next_command(payout, AT), silent, late)

        assert NeedsAttention(at=late, doubt=Doubt.PAY_REFUSED) == event
        assert event is not None
        assert Doubt.PAY_REFUSED is evolve(payout, event).doubt


class TestAnotherAmount:
    """An order of which another amount or currency is told is never paid."""

    @pytest.mark.parametrize(
        ("told", "amount", "currency"),
        [
            ({"amount": Decimal("1000.00")}, "1000.00", "USD"),
            ({"currency": "EUR"}, "10.42", "EUR"),
            ({"initial_amount": Decimal("10.41")}, "10.41", "USD"),
            ({"amount": None, "currency": "EUR"}, None, "EUR"),
            ({"amount": None, "rest": {"amount": "1,000.00"}}, None, "USD"),
        ],
    )
    @pytest.mark.parametrize("stage", ["payout_check_validated", "payout_check_validating"])
    @pytest.mark.parametrize("state", [State.VALIDATING, State.VALIDATED])
    def test_before_pay(
        self, state: State, stage: str, told: dict[str, Any], amount: str | None, currency: str
    ) -> None:
        """Before pay it needs a person, whichever stage is told with it; the numbers are kept."""
        payout = payout_in(state)
        event = event_for(payout, ASK, report("processing", order_stage=stage, **told), AT)

        assert isinstance(event, NeedsAttention)
        assert (Doubt.AMOUNT_DIFFERS, currency) == (event.doubt, event.currency)
        assert event.amount == (None if amount is None else Decimal(amount))
        parked = evolve(payout, event)
        assert State.ATTENTION is parked.state
        said = outcome(parked).explanation or ""
        unread = "an amount that cannot be read; 10.42 USD was asked for"
        assert (unread if told.get("rest") else f"{currency}; 10.42 USD was asked for") in said
        assert isinstance(next_command(parked, AT), Ask)

    def test_released(self) -> None:
        """Who releases it allows another question, and the order is paid once the terms fit."""
        payout = evolve(
            payout_in(State.VALIDATING),
            NeedsAttention(at=START + 50, doubt=Doubt.AMOUNT_DIFFERS, currency="EUR"),
        )
        payout = evolve(payout, Released(at=START + 500, who="ann", why="mended"))
        validated = {"order_stage": "payout_check_validated"}

        again = event_for(payout, ASK, report("processing", currency="EUR", **validated), AT + 500)
        assert isinstance(again, NeedsAttention)
        right = event_for(payout, ASK, report("processing", **validated), AT + 500)
        assert Validated(at=AT + 500) == right

    @pytest.mark.parametrize(
        "told",
        [
            {"amount": None, "currency": None},
            {"amount": Decimal("10.420"), "currency": "usd"},
            {"amount": Decimal("9.99"), "initial_amount": Decimal("10.42")},
        ],
    )
    def test_same_terms(self, told: dict[str, Any]) -> None:
        """What is not told differs in nothing; a first amount counts before the present one."""
        told = {"order_stage": "payout_check_validated", **told}

        assert Validated(at=AT) == event_for(payout_in(State.VALIDATING), ASK, report(**told), AT)


@pytest.mark.parametrize("status", ["approved", "declined", "filtered", "error"])
def test_final_statuses(status: str) -> None:
    """The four final statuses end a payout, with what the gateway told."""
    told = report(status, error_code="5", error_message="no", order_stage="payout_x")

    event = event_for(payout_in(State.AWAITING_FINAL), ASK, told, AT)

    assert event == Finished(
        at=AT,
        status=Status(status),
        paynet_order_id=ORDER,
        order_stage="payout_x",
        amount=Decimal("10.42"),
        currency="USD",
        error_code="5",
        error_message="no",
    )


@pytest.mark.parametrize("status", ["approved", "declined", "processing"])
@pytest.mark.parametrize(
    "about",
    [{"transaction_type": "Reversal"}, {"order_stage": "CHARGEBACK_approved"}],
    ids=["type", "stage"],
)
@pytest.mark.parametrize(
    "state",
    [
        State.VALIDATING,
        State.VALIDATED,
        State.PAYING,
        State.AWAITING_FINAL,
        State.AWAITING_RECEIVER,
    ],
)
def test_later_transactions(about: dict[str, Any], status: str, state: State) -> None:
    """The status of a reversal or the like ends no payout, in no state: a person must look."""
    payout = payout_in(state)

    event = event_for(payout, ASK, report(status, **about), AT)

    assert event == NeedsAttention(at=AT, doubt=Doubt.OTHER_TRANSACTION)
    assert event is not None
    assert evolve(payout, event).doubt is Doubt.OTHER_TRANSACTION
    late = event_for(payout_in(State.FINAL), ASK, report("declined", **about), AT)
    assert late is not None
    assert (Alarm.LATER_TRANSACTION,) == evolve(payout_in(State.FINAL), late).alarms


@pytest.mark.parametrize(
    "status", ["processing", "unknown", "chain_declined", "brand_new_word", ""]
)
@pytest.mark.parametrize(
    "state", [State.VALIDATING, State.PAYING, State.AWAITING_FINAL, State.ATTENTION]
)
def test_other_statuses_are_no_news(state: State, status: str) -> None:
    """Every other word, known or not, keeps asking."""
    assert event_for(payout_in(state), ASK, report(status), AT) is None


@pytest.mark.parametrize("stage", ["payout_check_validated", "PAYOUT_CHECK_VALIDATED"])
def test_validated(stage: str) -> None:
    """The validated stage, in any case, validates a payout that waits for it."""
    told = report(order_stage=stage)

    assert Validated(at=AT) == event_for(payout_in(State.VALIDATING), ASK, told, AT)
    assert Validated(at=SLOW) == event_for(payout_in(State.VALIDATED), ASK, told, SLOW)
    assert event_for(payout_in(State.VALIDATED, held=True), ASK, told, SLOW) is None
    for state in (State.PAYING, State.AWAITING_FINAL, State.ATTENTION):
        assert event_for(payout_in(state), ASK, told, AT) is None


class TestAdoption:
    """An order found by client_orderid alone is ours only when everything agrees."""

    def test_found(self) -> None:
        """An order that agrees is adopted."""
        event = event_for(payout_in(State.CHECKING), Ask(None), report(), AT)

        assert Checked(at=AT, paynet_order_id=ORDER) == event

    def test_found_final(self) -> None:
        """An order that agrees and is final ends the payout at once."""
        payout = payout_in(State.CHECKING)
        event = event_for(payout, Ask(None), report("declined"), AT)

        assert event is not None
        assert (State.FINAL, ORDER) == _after(payout, event)

    def test_found_approved(self) -> None:
        """An order that is approved before pay was sent is no end."""
        payout = payout_in(State.CHECKING)
        event = event_for(payout, Ask(None), report("approved"), AT)

        assert event is not None
        assert (State.ATTENTION, ORDER) == _after(payout, event)

    def test_initial_amount_counts_first(self) -> None:
        """The amount that was asked at first is compared, before the actual one."""
        told = report(amount=Decimal("9.99"), initial_amount=Decimal("10.420"))

        assert isinstance(event_for(payout_in(State.CHECKING), Ask(None), told, AT), Checked)

    @pytest.mark.parametrize(
        "fields",
        [{"amount": Decimal("10.43")}, {"currency": "EUR"}, {"initial_amount": Decimal(1)}],
    )
    def test_foreign(self, fields: dict[str, Any]) -> None:
        """An order with another amount or currency is somebody else's."""
        for status in ("processing", "declined", "approved"):
            told = report(status, **fields)
            event = event_for(payout_in(State.CHECKING), Ask(None), told, AT)

            assert NeedsAttention(at=AT, doubt=Doubt.FOREIGN_ORDER) == event

    @pytest.mark.parametrize(
        "fields",
        [
            {"amount": None},
            {"currency": None},
            {"paynet_order_id": None},
            {"merchant_order_id": None},
            {"merchant_order_id": "po-2"},
        ],
    )
    def test_too_little_is_told(self, fields: dict[str, Any]) -> None:
        """An order that cannot be compared is not adopted; in the end a person must look."""
        told = report("approved", **fields)

        assert event_for(payout_in(State.CHECKING), Ask(None), told, AT) is None
        parked = event_for(payout_in(State.CHECKING), Ask(None), told, SLOW)
        assert NeedsAttention(at=SLOW, doubt=Doubt.CHECK_UNCONFIRMED) == parked

    def test_one_step_is_found(self) -> None:
        """A one-step payout whose answer was lost is found as paid for, not as checked."""
        payout = payout_in(State.PAYING, flow=Flow.ONE_STEP)

        found = event_for(payout, Ask(None), report(), AT)
        assert PayAccepted(at=AT, paynet_order_id=ORDER) == found

    def test_found_late(self) -> None:
        """A lost check that is found after it was parked goes on."""
        payout = doubtful(Doubt.CHECK_UNCONFIRMED)
        event = event_for(payout, Ask(None), report(), AT)

        assert event is not None
        assert (State.VALIDATING, ORDER) == _after(payout, event)


def test_another_order_than_ours() -> None:
    """A status about another order than ours never moves a payout."""
    told = report("approved", paynet_order_id="1")

    assert event_for(payout_in(State.AWAITING_FINAL), Ask(None), told, AT) is None


class TestRedirect:
    @pytest.mark.parametrize(
        "state", [State.PAYING, State.AWAITING_FINAL, State.AWAITING_RECEIVER, State.ATTENTION]
    )
    def test_link(self, state: State) -> None:
        """A link after pay is for the receiver."""
        event = event_for(payout_in(state), ASK, report(redirect_to=LINK), AT)

        assert RedirectRequired(at=AT, redirect_to=LINK) == event

    @pytest.mark.parametrize("state", [State.VALIDATING, State.VALIDATED])
    def test_link_before_pay(self, state: State) -> None:
        """A link before pay is not for anybody."""
        assert event_for(payout_in(state), ASK, report(redirect_to=LINK), START + 11) is None

    @pytest.mark.parametrize(
        "link", ["http://evil.example/", "javascript:alert(1)", "https://a@b.example/", "https://"]
    )
    def test_bad_link(self, link: str) -> None:
        """A link that is not safe to open needs a person."""
        told = report(redirect_to=link)
        event = event_for(payout_in(State.AWAITING_FINAL), ASK, told, AT)

        assert NeedsAttention(at=AT, doubt=Doubt.BAD_REDIRECT) == event

    def test_cleared(self) -> None:
        """A payout that no longer has a link waits for its final status."""
        event = event_for(payout_in(State.AWAITING_RECEIVER), ASK, report(), AT)

        assert RedirectCleared(at=AT) == event

    def test_final_with_a_link(self) -> None:
        """A final status counts more than a link that is still there."""
        told = report("approved", redirect_to=LINK)

        assert isinstance(event_for(payout_in(State.AWAITING_RECEIVER), ASK, told, AT), Finished)


class TestDoubt:
    @pytest.mark.parametrize(
        ("state", "doubt"),
        [(State.CHECKING, Doubt.CHECK_UNCONFIRMED), (State.PAYING, Doubt.PAY_UNCONFIRMED)],
    )
    def test_end_of_doubt(self, state: State, doubt: Doubt) -> None:
        """A readable answer without news parks a payout whose doubt has lasted too long."""
        payout = payout_in(state)
        unclear = NoAnswer("error 102: ?", readable=True)

        assert event_for(payout, ASK, unclear, AT) is None
        assert NeedsAttention(at=SLOW, doubt=doubt) == event_for(payout, ASK, unclear, SLOW)

    @pytest.mark.parametrize("state", [State.CHECKING, State.PAYING])
    def test_silence_parks_nothing(self, state: State) -> None:
        """As long as the gateway itself does not answer nothing is concluded."""
        assert event_for(payout_in(state), ASK, NoAnswer("HTTP 503", 503), SLOW) is None

    @pytest.mark.parametrize("state", [State.VALIDATING, State.AWAITING_FINAL])
    def test_a_slow_bank_is_not_parked(self, state: State) -> None:
        """A payout that merely takes long is never parked."""
        assert event_for(payout_in(state), ASK, report(), SLOW) is None

    def test_not_found(self) -> None:
        """An order that is not found counts for a lost check; of a lost pay it proves nothing."""
        missing = NotFound("101")

        assert NotSeen(at=AT) == event_for(payout_in(State.CHECKING), Ask(None), missing, AT)
        for flow in Flow:
            payout = payout_in(State.PAYING, flow=flow)
            assert event_for(payout, Ask(None), missing, AT) is None
            parked = event_for(payout, Ask(None), missing, SLOW)
            assert NeedsAttention(at=SLOW, doubt=Doubt.PAY_UNCONFIRMED) == parked
        assert event_for(payout_in(State.AWAITING_FINAL), ASK, missing, SLOW) is None

    def test_not_found_before_the_latest_check(self) -> None:
        """An answer to a question that was asked before the latest check says nothing about it."""
        payout = payout_in(State.CHECKING)
        earlier = Ask(None, since=payout.since - 40)

        assert event_for(payout, earlier, NotFound("101"), AT) is None
        assert NotSeen(at=AT) == event_for(
            payout, Ask(None, since=payout.since), NotFound("101"), AT
        )

    def test_restored(self) -> None:
        """A restored payout that nobody can find out about needs a person."""
        payout = fold(Restored(at=START + 1))
        unclear = NoAnswer("error 102: ?", readable=True)

        parked = event_for(payout, Ask(None), unclear, SLOW)
        assert NeedsAttention(at=SLOW, doubt=Doubt.RESTORED) == parked


def _after(payout: Payout, event: Any) -> tuple[State, str | None]:
    becomes = evolve(payout, event)
    return becomes.state, becomes.paynet_order_id
