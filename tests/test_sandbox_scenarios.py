"""The account that a payout goes to decides how it goes, in the sandbox's own time."""

from decimal import Decimal
from typing import Any

import pytest
from merchants import AT, FIRST, LOGIN, REQUEST, Fields, check, pay, payout, seen, status

from billblend_async.core.responses import Status
from billblend_async.errors import InvalidInput
from billblend_async.gateway.signing import control
from billblend_async.sandbox.callbacks import callback, final_redirect
from billblend_async.sandbox.gateway import Gateway
from billblend_async.sandbox.orders import SCENARIOS, Scenario, Standing

SECRET = "AF4B5DE6-3468-424C-A922-C1DAD7CB4509"
REDIRECT, REFUSED_FORM = "2000000001", "2000000002"
NEVER, SLOW = "3000000001", "3000000002"
UNKNOWN, CHAIN, DOUBLE = "4000000001", "4000000002", "5000000001"
CALLBACK = "http://127.0.0.1:1/callback?shop=7"


def gateway(**settings: Any) -> Gateway:
    """A gateway that takes two seconds to validate and two to pay."""
    return Gateway(validation=2.0, processing=2.0, **settings)


def paid(account: str, **changes: str) -> Gateway:
    """A gateway with one order, checked at AT and paid two seconds later."""
    made = gateway()
    check(made, AT, account_number=account, **changes)
    pay(made, AT + 2)
    return made


def history(made: Gateway, at: float) -> list[tuple[float, str]]:
    return [(each.at - AT, each.what) for each in made.orders[FIRST].history(at)]


class TestTable:
    def test_documented_accounts(self) -> None:
        """The three accounts of document 3.24 are there, and each account is easy to type."""
        assert ["1234567890", "0987654321", "1987654321"] == list(SCENARIOS)[:3]
        assert all(len(account) == 10 and account.isdigit() for account in SCENARIOS)
        assert all(each.tale.endswith(".") for each in SCENARIOS.values())

    @pytest.mark.parametrize("account", sorted(SCENARIOS.keys() - {NEVER}))
    def test_every_scenario_ends(self, account: str) -> None:
        """Every scenario but the bank that never validates comes to an end, in two steps or one."""
        for one_step in (False, True):
            made = gateway()
            make = payout if one_step else check
            make(made, account_number=account)
            pay(made, AT + 100)
            if token := made.orders[FIRST].token:
                made.submit(token, AT + 100, is_confirmed=True)
            answer = status(made, AT + 200)
            assert Status(answer["status"]).is_final, one_step
            assert ("error-code" in answer) is (answer["status"] != "approved")
            assert bool(made.ledger) is (answer["status"] == "approved")

    def test_own_scenarios(self) -> None:
        """A scenario of one's own stands beside ours, or instead of one of them."""
        odd = Scenario("Odd.", ending=Standing(Status.FILTERED, "payout_odd", "9", "odd"))
        made = gateway(scenarios={"42": odd, "1234567890": odd})

        for number, account in enumerate(("42", "1234567890", "0987654321")):
            payout(made, account_number=account, client_orderid=f"po-{number}")

        ends = [order.standing(AT + 2).order_stage for order in made.orders.values()]
        assert ["payout_odd", "payout_odd", "payout_declined"] == ends

    @pytest.mark.parametrize(
        "wrong",
        [
            {"ending": Standing(Status.UNKNOWN, "x")},
            {"check_ending": Standing(Status.PROCESSING, "x")},
            {"interim": Standing(Status.APPROVED, "x")},
            {"validation": -1.0},
            {"multiple": 0},
        ],
    )
    def test_senseless_scenarios(self, wrong: dict[str, Any]) -> None:
        """A scenario that contradicts the meaning of the status words cannot be made."""
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Scenario("Wrong.", **wrong)


class TestCheck:
    def test_never_validates(self) -> None:
        """A bank that never validates is still validating a year later, and nothing can be paid."""
        made = gateway()
        check(made, account_number=NEVER)

        assert ("processing", "payout_check_validating") == seen(made, AT + 3e7)
        assert "106" == pay(made, AT + 3e7)["error-code"]
        assert [] == made.ledger
        assert [(0, "made")] == history(made, AT + 3e7)

    def test_slow_bank(self) -> None:
        """A slow bank takes ten times as long to validate, and then pays as any other."""
        made = gateway()
        check(made, account_number=SLOW)

        assert "payout_check_validating" == seen(made, AT + 19.9)[1]
        assert "payout_check_validated" == seen(made, AT + 20)[1]
        pay(made, AT + 20)
        assert "approved" == seen(made, AT + 22)[0]

    @pytest.mark.parametrize(
        ("account", "word"),
        [("3000000003", "declined"), ("3000000004", "filtered"), ("3000000005", "error")],
    )
    def test_final_before_any_pay(self, account: str, word: str) -> None:
        """A check can end the payout: it is final, says why, and a pay moves nothing."""
        made = gateway()
        check(made, account_number=account, server_callback_url=CALLBACK)

        assert ("processing", "payout_check_validating") == seen(made, AT + 1.9)
        assert (word, f"payout_check_{word}") == seen(made, AT + 2)
        assert status(made, AT + 2)["paynet-processing-date"]
        assert "106" == pay(made, AT + 3)["error-code"]
        assert [] == made.ledger
        assert [(0, "made"), (2, f"final: {word}")] == history(made, AT + 3)
        assert [AT + 2] == [each.at for each in made.take_notices(AT + 2)]


class TestWayAfterPay:
    @pytest.mark.parametrize(("account", "word"), [(UNKNOWN, "unknown"), (CHAIN, "chain_declined")])
    def test_word_that_is_not_final(self, account: str, word: str) -> None:
        """Between processing and approved stands a word that must not be taken for an end."""
        made = paid(account)

        assert "processing" == seen(made, AT + 3.9)[0]
        assert (word, f"payout_{word}") == seen(made, AT + 4)
        assert word == seen(made, AT + 7.9)[0]
        assert "paynet-processing-date" not in status(made, AT + 7.9)
        assert "approved" == seen(made, AT + 8)[0]
        assert 1 == made.paid("po-1")

    def test_another_amount(self) -> None:
        """Twice the asked amount leaves: status tells both, and the ledger what left."""
        made = paid(DOUBLE)

        assert "10.42" == status(made, AT + 3)["amount"]
        final = status(made, AT + 4)
        assert ("20.84", "10.42") == (final["amount"], final["initial-amount"])
        assert [Decimal("20.84")] == [entry.amount for entry in made.ledger]


class TestReceiver:
    def test_link_until_submitted(self) -> None:
        """From the pay on, status carries one and the same link until the form is submitted."""
        made = gateway(site="https://gate.test", make_token=lambda: "abc")
        check(made, account_number=REDIRECT)
        assert "redirect-to" not in status(made, AT + 2)

        pay(made, AT + 2)
        for at in (AT + 2, AT + 9999):
            answer = status(made, at)
            assert "https://gate.test/sandbox/form/abc" == answer["redirect-to"]
            assert ("processing", "payout_processing") == (answer["status"], answer["order-stage"])
        assert [] == made.ledger

    def test_confirmed(self) -> None:
        """A confirmed payout goes on from the form to approved, and its money leaves then."""
        made = paid(REDIRECT)
        order = made.submit("form-6982864", AT + 50, is_confirmed=True)

        assert order == made.orders[FIRST]
        assert "redirect-to" not in status(made, AT + 50)
        assert "processing" == seen(made, AT + 51.9)[0]
        assert "approved" == seen(made, AT + 52)[0]
        assert [AT + 50] == [entry.at for entry in made.ledger]
        assert [
            (0, "made"),
            (2, "validated"),
            (2, "paid"),
            (2, "redirect given"),
            (50, "form submitted: confirmed"),
            (52, "final: approved"),
        ] == history(made, AT + 52)

    def test_cancelled(self) -> None:
        """A payout that the receiver cancels is declined at once, and nothing leaves."""
        made = paid(REDIRECT)
        made.submit("form-6982864", AT + 50, is_confirmed=False)

        answer = status(made, AT + 50)
        assert "declined" == answer["status"]
        assert "Cancelled by the receiver" == answer["error-message"]
        pay(made, AT + 51)
        assert [] == made.ledger

    @pytest.mark.parametrize("is_confirmed", [True, False])
    def test_declined_whatever_they_say(self, is_confirmed: bool) -> None:  # noqa: FBT001 - a parameter
        """The second account that asks the receiver ends as declined either way."""
        made = paid(REFUSED_FORM)
        made.submit("form-6982864", AT + 50, is_confirmed=is_confirmed)

        assert "declined" == seen(made, AT + 52)[0]
        assert [] == made.ledger

    def test_used_link(self) -> None:
        """A link works once, and one that was never given never."""
        made = paid(REDIRECT)
        assert made.order_of("form-6982864") == made.orders[FIRST]

        assert made.submit("form-6982864", AT + 50, is_confirmed=True)
        for token in ("form-6982864", "form-1", ""):
            assert made.order_of(token) is None
            assert made.submit(token, AT + 51, is_confirmed=True) is None
        assert 1 == made.paid("po-1")

    def test_paid_twice_before_the_form(self) -> None:
        """A pay that was sent twice before the form pays twice after it, over the one link."""
        made = paid(REDIRECT)
        link = status(made, AT + 3)["redirect-to"]
        pay(made, AT + 3)

        assert link == status(made, AT + 4)["redirect-to"]
        made.submit("form-6982864", AT + 50, is_confirmed=True)
        assert 2 == made.paid("po-1")

    def test_one_step(self) -> None:
        """A payout in one step asks its receiver too, and the ledger names its command."""
        made = gateway()
        payout(made, account_number=REDIRECT)
        pay(made, AT + 1)
        made.submit("form-6982864", AT + 5, is_confirmed=True)

        assert ["payout", "payout-pay"] == [entry.kind for entry in made.ledger]
        assert "validated" not in [what for _, what in history(made, AT + 1e9)]

    def test_repr_keeps_the_link(self) -> None:
        """Neither the links nor the merchant's URLs show in a repr."""
        made = paid(REDIRECT, server_callback_url=CALLBACK, redirect_url="http://127.0.0.1/r")

        shown = f"{made!r} {made.orders[FIRST]!r}"
        assert "form-6982864" not in shown
        assert "127.0.0.1/r" not in shown
        assert CALLBACK not in shown


class TestNotices:
    def test_planned_once(self) -> None:
        """A callback is due at the final status, once however often was paid, and told of."""
        told: list[float | None] = []
        made = gateway()
        made.on_notice = lambda: told.append(made.next_notice())
        check(made, server_callback_url=CALLBACK)
        assert made.next_notice() is None
        pay(made, AT + 2)
        pay(made, AT + 3)

        assert [AT + 4] == told
        assert [] == made.take_notices(AT + 3.9)
        assert [(AT + 4, FIRST, "payout")] == [
            (each.at, each.paynet_order_id, each.type) for each in made.take_notices(AT + 4)
        ]
        assert [] == made.take_notices(AT + 9)

    def test_in_order(self) -> None:
        """What is due first is told first, whatever was planned first."""
        made = gateway()
        payout(made, account_number=UNKNOWN, server_callback_url=CALLBACK)
        payout(made, server_callback_url=CALLBACK)

        due = [each.paynet_order_id for each in made.take_notices(AT + 100)]
        assert ["6982865", FIRST] == due

    def test_nobody_asked(self) -> None:
        """Without a callback URL, before the form and for a bank that never validates: none."""
        made = gateway()
        payout(made)
        payout(made, account_number=REDIRECT, server_callback_url=CALLBACK)
        check(made, account_number=NEVER, server_callback_url=CALLBACK)

        assert made.next_notice() is None
        made.submit("form-6982865", AT + 5, is_confirmed=False)
        assert AT + 5 == made.next_notice()

    @pytest.mark.parametrize(
        ("account", "word"), [("1234567890", "approved"), ("0987654321", "declined")]
    )
    def test_callback(self, account: str, word: str) -> None:
        """A callback has the fields of document 3.37 and a control over three of them."""
        made = paid(account, merchant_data="VIP & co")
        fields = callback(made.orders[FIRST], "payout", AT + 4, SECRET)

        why = {"error_code": "20001", "error_message": "Declined by the bank"}
        assert {
            "status": word,
            "orderid": FIRST,
            "merchant_order": "po-1",
            "client_orderid": "po-1",
            "type": "payout",
            "amount": "10.42",
            "currency": "USD",
            "merchantdata": "VIP & co",
            "processor-tx-id": f"PNTEST-{FIRST}",
            "control": control(word, FIRST, "po-1", SECRET),
        } | (why if word == "declined" else {}) == fields

    @pytest.mark.parametrize("is_confirmed", [True, False])
    @pytest.mark.parametrize("urls", [1, 2, 0])
    def test_final_redirect(self, is_confirmed: bool, urls: int) -> None:  # noqa: FBT001 - a parameter
        """The receiver goes back to the one URL, or to the one for their outcome, or nowhere."""
        one = {"redirect_url": "http://127.0.0.1/r?a=1"}
        two = {"redirect_success_url": "http://a.test/", "redirect_fail_url": "http://b.test/"}
        chosen: Fields = {0: {}, 1: one, 2: two}[urls]
        made = paid(REDIRECT, **chosen)
        order = made.submit("form-6982864", AT + 50, is_confirmed=is_confirmed)
        assert order is not None

        sent = final_redirect(order, SECRET)
        if sent is None:
            assert 0 == urls
            return
        url, fields = sent
        two_way = "http://a.test/" if is_confirmed else "http://b.test/"
        assert url == (one["redirect_url"] if urls == 1 else two_way)
        word = "approved" if is_confirmed else "declined"
        assert (word, "payout") == (fields["status"], fields["type"])
        assert control(word, FIRST, "po-1", SECRET) == fields["control"]
        assert fields["error_message"] == ("null" if is_confirmed else "Cancelled by the receiver")


class TestReversal:
    @pytest.mark.parametrize("kind", ["reversal", "chargeback"])
    def test_status_and_callback(self, kind: Any) -> None:
        """Money that came back shows in the status and in a callback, and not in the ledger."""
        made = paid("1234567890", server_callback_url=CALLBACK)
        made.take_notices(AT + 4)
        made.reverse(FIRST, AT + 60, kind)

        assert "payout" == status(made, AT + 59)["transaction-type"]
        answer = status(made, AT + 60)
        assert (kind, "approved") == (answer["transaction-type"], answer["status"])
        assert f"{kind}_approved" == answer["order-stage"]
        assert 1 == made.paid("po-1")
        (notice,) = made.take_notices(AT + 60)
        fields = callback(made.orders[FIRST], notice.type, notice.at, SECRET)
        assert (kind, "approved") == (fields["type"], fields["status"])
        assert (60, kind) == history(made, AT + 60)[-1]

    @pytest.mark.parametrize("account", ["0987654321", REDIRECT])
    def test_only_approved(self, account: str) -> None:
        """Only what was approved can come back."""
        made = paid(account)

        for order in (FIRST, "1"):
            with pytest.raises(InvalidInput, match="approved payout"):
                made.reverse(order, AT + 60)

    def test_only_two_kinds(self) -> None:
        """There is no other way for money to come back."""
        made = paid("1234567890")
        kind: Any = "refund"

        with pytest.raises(ValueError, match="kind"):
            made.reverse(FIRST, AT + 60, kind)


class TestSerialNumbers:
    def test_pinned(self) -> None:
        """A status can be asked by the serial number of any request about the order."""
        made = gateway()
        serials = [check(made)["serial-number"], pay(made, AT + 2)["serial-number"]]
        serials.append(status(made, AT + 2)["serial-number"])

        for serial in serials:
            answer = status(made, AT + 4, **{"by-request-sn": serial})
            assert "approved" == answer["status"]
            assert serial == answer["by-request-sn"]

    def test_it_tells_orders_apart(self) -> None:
        """Of two orders with one client_orderid, the serial number names the one."""
        made = gateway()
        check(made)
        second = check(made)

        answer = status(made, AT, None, **{"by-request-sn": second["serial-number"]})
        assert second["paynet-order-id"] == answer["paynet-order-id"]

    @pytest.mark.parametrize("serial", ["0", "00000000-0000-0000-0000-00000fffffff"])
    def test_unknown(self, serial: str) -> None:
        """A serial number that was never given is an unknown order."""
        made = gateway()
        check(made)

        answer = status(made, AT, **{"by-request-sn": serial})
        assert ("error", "101", serial) == (
            answer["type"],
            answer["error-code"],
            answer["by-request-sn"],
        )

    def test_of_another_order(self) -> None:
        """A serial number of another order, or of a refused request, names no order."""
        made = gateway()
        check(made)
        others = [check(made, client_orderid="po-2"), check(made, amount="0")]

        for other in others:
            answer = status(made, AT, **{"by-request-sn": other["serial-number"]})
            assert "101" == answer["error-code"]


def test_no_receiver_is_kept() -> None:
    """The account that chose the scenario is not kept with the order."""
    made = paid(REDIRECT)

    assert REDIRECT not in repr(made.orders[FIRST])
    assert REQUEST["client_orderid"] == made.orders[FIRST].client_orderid
    assert LOGIN == made.orders[FIRST].login
