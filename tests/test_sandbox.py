"""The sandbox pays what it is told, once for every time it is told, and says so in its ledger."""

import asyncio
import gc
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

import attrs
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from merchants import (
    AT,
    CARD,
    FIRST,
    LOGIN,
    REQUEST,
    SECRET,
    Caller,
    Clock,
    Fields,
    Unserved,
    check,
    is_denied,
    load,
    pay,
    payout,
    seen,
    send,
    signed,
    status,
)

from billblend_async import sandbox as door
from billblend_async.errors import ClosedError, ConfigurationError
from billblend_async.gateway.wire import FORM, RequestKind, read_reply
from billblend_async.sandbox.app import LONGEST_BODY, Merchant
from billblend_async.sandbox.gateway import Gateway, LedgerEntry, RequestSeen
from billblend_async.sandbox.server import Sandbox
from billblend_async.sandbox.wire import build_answer


class TestOrders:
    def test_first_answer_is_the_documented_one(self) -> None:
        """The first answer to the documented request is the documented answer, byte for byte."""
        documented = {
            "account_name": "1234",
            "account_number": "1234",
            "amount": "10.42",
            "client_orderid": "1",
            "currency": "USD",
            "routing_number": "15",
            "server_callback_url": "https://httpstat.us/200",
        }
        answer = build_answer(send(Gateway(), RequestKind.PAYOUT, documented))
        assert answer == (
            b"type=async-response\n"
            b"&serial-number=00000000-0000-0000-0000-000002e2c322\n"
            b"&merchant-order-id=1\n"
            b"&paynet-order-id=6982864\n"
            b"&end-point-id=39915"
        )
        assert len(answer) == 137

    def test_way_of_an_order(self) -> None:
        """An order is validated two seconds after its check and final two seconds after its pay."""
        gateway = Gateway()
        check(gateway)
        assert seen(gateway, AT) == ("processing", "payout_check_validating")
        assert seen(gateway, AT + 1.9) == ("processing", "payout_check_validating")
        assert seen(gateway, AT + 2) == ("processing", "payout_check_validated")
        assert seen(gateway, AT + 9999) == ("processing", "payout_check_validated")
        acknowledged = pay(gateway, AT + 10_000)
        assert acknowledged["type"] == "async-response"
        assert acknowledged["paynet-order-id"] == FIRST
        assert acknowledged["merchant-order-id"] == "po-1"
        assert seen(gateway, AT + 10_001.9) == ("processing", "payout_processing")
        assert seen(gateway, AT + 10_002) == ("approved", "payout_approved")

    def test_one_step(self) -> None:
        """A one-step payout needs no validation and is final two seconds later."""
        gateway = Gateway()
        assert payout(gateway)["type"] == "async-response"
        assert seen(gateway, AT) == ("processing", "payout_processing")
        assert seen(gateway, AT + 2) == ("approved", "payout_approved")

    def test_waits_are_settings(self) -> None:
        """Both waits and the first order id are the caller's to choose."""
        gateway = Gateway(validation=0, processing=60, first_order_id=7)
        assert check(gateway)["paynet-order-id"] == "7"
        pay(gateway, AT, "7")
        assert status(gateway, AT + 59, "7")["status"] == "processing"
        assert status(gateway, AT + 60, "7")["status"] == "approved"

    @pytest.mark.parametrize("setting", ["validation", "processing", "first_order_id"])
    def test_negative_settings(self, setting: str) -> None:
        """Nothing is over before it began."""
        settings: dict[str, Any] = {setting: -1}
        with pytest.raises(ValueError, match=setting):
            Gateway(**settings)

    @pytest.mark.parametrize(
        ("account", "word", "stage"),
        [
            ("1234567890", "approved", "payout_approved"),
            ("0987654321", "declined", "payout_declined"),
            ("1987654321", "error", "payout_error"),
            ("DE02120300000000202051", "approved", "payout_approved"),
        ],
    )
    def test_scenarios(self, account: str, word: str, stage: str) -> None:
        """The account decides how a payout ends, and nothing shows of it before it was paid."""
        gateway = Gateway()
        check(gateway, account_number=account)
        assert seen(gateway, AT + 2) == ("processing", "payout_check_validated")
        pay(gateway, AT + 2)
        assert seen(gateway, AT + 3) == ("processing", "payout_processing")
        assert seen(gateway, AT + 4) == (word, stage)
        assert gateway.paid("po-1") == (word == "approved")

    @pytest.mark.parametrize(
        "receiver",
        [{"credit_card_number": CARD}, {"ewallet_type": "x", "ewallet_wallet": "1987654321"}],
    )
    def test_other_receivers(self, receiver: Fields) -> None:
        """A card or a wallet is approved, whatever its number."""
        gateway = Gateway()
        send(gateway, RequestKind.PAYOUT, {**REQUEST, "account_number": "", **receiver})
        assert seen(gateway, AT + 2) == ("approved", "payout_approved")

    def test_failure_says_why(self) -> None:
        """A declined payout has a code and a text, and the failing one the documented word."""
        gateway = Gateway(validation=0, processing=0)
        check(gateway, account_number="0987654321")
        check(gateway, account_number="1987654321", client_orderid="po-2")
        pay(gateway, AT)
        pay(gateway, AT, "6982865", "po-2")
        declined = status(gateway, AT)
        assert declined["error-code"]
        assert declined["error-message"]
        failed = status(gateway, AT, "6982865", client_orderid="po-2")
        assert failed["error-message"] == "PROCESSOR_INTERNAL_ERROR"
        assert declined["type"] == failed["type"] == "status-response"

    def test_status_response(self) -> None:
        """A status response has every documented field that a payout has, and no receiver's."""
        gateway = Gateway()
        payout(
            gateway,
            amount="10.5",
            credit_card_number=CARD,
            account_number="",
            merchant_data="VIP & co",
        )
        assert status(gateway, AT + 2) == {
            "type": "status-response",
            "serial-number": "00000000-0000-0000-0000-000002e2c323",
            "status": "approved",
            "order-stage": "payout_approved",
            "merchant-order-id": "po-1",
            "paynet-order-id": FIRST,
            "transaction-type": "payout",
            "amount": "10.5",
            "initial-amount": "10.5",
            "currency": "USD",
            "processor-tx-id": f"PNTEST-{FIRST}",
            "last-four-digits": "4448",
            "merchantdata": "VIP & co",
            "paynet-processing-date": "2023-11-14 22:13:22 UTC",
        }

    def test_status_before_the_end(self) -> None:
        """There is no processing date before the end, and no last four digits without a card."""
        gateway = Gateway()
        check(gateway, account_number="1234567890")
        answer = status(gateway, AT + 2)
        assert answer.keys().isdisjoint(
            {"paynet-processing-date", "last-four-digits", "merchantdata", "error-code"}
        )
        pay(gateway, AT + 2)
        assert "paynet-processing-date" not in status(gateway, AT + 3)

    def test_serial_numbers_differ(self) -> None:
        """Every request has a serial number of its own, and by-request-sn comes back."""
        gateway = Gateway()
        made = check(gateway)["serial-number"]
        answer = status(gateway, AT, **{"by-request-sn": made})
        assert answer["by-request-sn"] == made
        assert made != answer["serial-number"] != status(gateway, AT)["serial-number"]


class TestRefusals:
    @pytest.mark.parametrize("kind", [RequestKind.CHECK, RequestKind.PAYOUT])
    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"amount": "ten"}, ["amount"]),
            ({"amount": "-1", "currency": "usd"}, ["amount", "currency"]),
            ({"client_orderid": ""}, ["client_orderid"]),
            ({"account_numbr": "1234567890"}, ["account_numbr"]),
        ],
    )
    def test_wrong_parameters(self, kind: RequestKind, changes: Fields, named: list[str]) -> None:
        """Wrong parameters are named in a validation error, and no order is made."""
        gateway = Gateway()
        answer = send(gateway, kind, {**REQUEST, **changes})
        assert answer["type"] == "validation-error"
        assert answer["error-code"] == "1"
        assert all(name in answer["error-message"] for name in named)
        assert "paynet-order-id" not in answer
        assert (gateway.orders, gateway.requests, gateway.ledger) == ({}, [], [])

    @pytest.mark.parametrize(("order", "name"), [("1", "po-1"), (FIRST, "po-2")])
    def test_pay_of_unknown_order(self, order: str, name: str) -> None:
        """An order is paid only under its own id and its own client_orderid."""
        gateway = Gateway()
        check(gateway)
        answer = pay(gateway, AT + 2, order, name)
        assert (answer["type"], answer["error-code"]) == ("error", "101")
        assert answer["error-message"] == "Order not found"
        assert gateway.ledger == []

    def test_pay_before_validated(self) -> None:
        """Pay before the bank has validated moves no money and names the order."""
        gateway = Gateway()
        check(gateway)
        answer = pay(gateway, AT + 1)
        assert answer["type"] == "error"
        assert answer["paynet-order-id"] == FIRST
        assert "not validated" in answer["error-message"]
        assert gateway.ledger == []
        assert seen(gateway, AT + 2) == ("processing", "payout_check_validated")

    @pytest.mark.parametrize("missing", ["client_orderid", "orderid", "login"])
    def test_pay_demands_its_parameters(self, missing: str) -> None:
        """Pay wants both ids and the login, and names the one that is missing."""
        gateway = Gateway(validation=0)
        check(gateway)
        fields = {"client_orderid": "po-1", "orderid": FIRST, "login": LOGIN, missing: ""}
        answer = send(gateway, RequestKind.PAY, fields)
        assert answer["type"] == "validation-error"
        assert answer["error-message"] == f"{missing}: is missing"
        assert gateway.ledger == []

    @pytest.mark.parametrize("kind", [RequestKind.PAY, RequestKind.STATUS])
    def test_login_is_the_signers(self, kind: RequestKind) -> None:
        """The login in the body must be the one that has signed."""
        gateway = Gateway(validation=0)
        check(gateway)
        fields = {"client_orderid": "po-1", "orderid": FIRST, "login": "somebody"}
        answer = send(gateway, kind, fields)
        assert answer["type"] == "validation-error"
        assert answer["error-message"].startswith("login:")
        assert gateway.ledger == []

    @pytest.mark.parametrize(("order", "name"), [("1", "po-1"), (FIRST, "po-2"), (None, "po-2")])
    def test_status_of_unknown_order(self, order: str | None, name: str) -> None:
        """The status of an order that is not there is error 101 and names no order."""
        gateway = Gateway()
        check(gateway)
        answer = status(gateway, AT, order, client_orderid=name)
        assert (answer["type"], answer["error-code"]) == ("error", "101")
        assert answer["error-message"] == "Order not found"
        assert answer["merchant-order-id"] == name
        assert "paynet-order-id" not in answer

    def test_status_demands_client_orderid(self) -> None:
        """Status wants the client_orderid even when the order id is known."""
        gateway = Gateway()
        check(gateway)
        answer = status(gateway, AT, client_orderid="")
        assert answer["type"] == "validation-error"
        assert "client_orderid" in answer["error-message"]

    def test_status_by_client_orderid_alone(self) -> None:
        """A client_orderid alone finds its order as long as it has only one."""
        gateway = Gateway()
        check(gateway)
        assert status(gateway, AT, None)["paynet-order-id"] == FIRST
        check(gateway)
        answer = status(gateway, AT, None)
        assert (answer["type"], answer["error-message"]) == (
            "error",
            "client_orderid is not unique",
        )
        assert answer["error-code"] not in ("", "101")
        assert status(gateway, AT)["status"] == "processing"

    def test_orders_belong_to_a_login(self) -> None:
        """To another login an order is not there."""
        gateway = Gateway(validation=0)
        check(gateway)
        fields = {"client_orderid": "po-1", "orderid": FIRST, "login": "other"}
        for kind in (RequestKind.PAY, RequestKind.STATUS):
            assert send(gateway, kind, fields, login="other")["error-code"] == "101"
        assert gateway.ledger == []


class TestLedger:
    def test_entry(self) -> None:
        """Pay leaves one entry that says what left, for whom, when and by which command."""
        gateway = Gateway()
        check(gateway)
        assert gateway.ledger == []
        pay(gateway, AT + 2)
        payout(gateway, AT + 5, client_orderid="po-2")
        assert gateway.ledger == [
            LedgerEntry(FIRST, "po-1", Decimal("10.42"), "USD", AT + 2, RequestKind.PAY),
            LedgerEntry("6982865", "po-2", Decimal("10.42"), "USD", AT + 5, RequestKind.PAYOUT),
        ]
        assert (gateway.paid("po-1"), gateway.paid("po-2"), gateway.paid("po-3")) == (1, 1, 0)

    def test_second_check_makes_second_order(self) -> None:
        """The same check again makes a second order, so that the mistake can be seen."""
        gateway = Gateway()
        assert check(gateway)["paynet-order-id"] == FIRST
        assert check(gateway)["paynet-order-id"] == "6982865"
        assert gateway.snapshot(AT)["po-1"]["orders"] == [FIRST, "6982865"]

    @pytest.mark.parametrize("later", [2, 3, 999])
    def test_second_pay_pays_twice(self, later: float) -> None:
        """The same pay again pays again, at once or long after, and does not delay the end."""
        gateway = Gateway()
        check(gateway)
        pay(gateway, AT + 2)
        assert pay(gateway, AT + later)["type"] == "async-response"
        assert gateway.paid("po-1") == 2
        assert seen(gateway, AT + 4) == ("approved", "payout_approved")

    def test_second_payout_pays_twice(self) -> None:
        """The same one-step payout again is a second order and is paid too."""
        gateway = Gateway()
        assert payout(gateway)["paynet-order-id"] != payout(gateway)["paynet-order-id"]
        assert gateway.paid("po-1") == 2

    @pytest.mark.parametrize("account", ["0987654321", "1987654321"])
    def test_failing_payout_moves_nothing(self, account: str) -> None:
        """A payout that will not be approved leaves no entry, in one step or in two."""
        gateway = Gateway()
        check(gateway, account_number=account)
        pay(gateway, AT + 2)
        payout(gateway, account_number=account)
        assert gateway.ledger == []

    def test_requests(self) -> None:
        """What took effect and what was asked is remembered with its instant."""
        gateway = Gateway()
        status(gateway, AT - 4, None)
        check(gateway)
        pay(gateway, AT + 1)
        status(gateway, AT + 4, None)
        pay(gateway, AT + 5)
        assert gateway.requests == [
            RequestSeen(RequestKind.STATUS, "po-1", None, AT - 4),
            RequestSeen(RequestKind.CHECK, "po-1", FIRST, AT),
            RequestSeen(RequestKind.STATUS, "po-1", FIRST, AT + 4),
            RequestSeen(RequestKind.PAY, "po-1", FIRST, AT + 5),
        ]

    def test_snapshot(self) -> None:
        """The snapshot sums up each client_orderid in plain JSON values."""
        gateway = Gateway()
        check(gateway)
        pay(gateway, AT + 2)
        pay(gateway, AT + 2)
        payout(gateway, client_orderid="po-2", account_number="0987654321", amount="7")
        assert json.loads(json.dumps(gateway.snapshot(AT + 3))) == {
            "po-1": {
                "orders": [FIRST],
                "checks": 1,
                "pays": 2,
                "paid": 2,
                "amount": "10.42",
                "currency": "USD",
                "status": "processing",
            },
            "po-2": {
                "orders": ["6982865"],
                "checks": 0,
                "pays": 1,
                "paid": 0,
                "amount": "7",
                "currency": "USD",
                "status": "declined",
            },
        }

    def test_model_keeps_no_receiver(self) -> None:
        """The model remembers no card, account or wallet, not even inside its orders."""
        gateway = Gateway()
        check(gateway, account_number="12345678901234")
        check(gateway, account_number="", credit_card_number=CARD, cvv2="7357")
        check(gateway, account_number="", ewallet_type="w", ewallet_wallet="wallet-4711")
        check(gateway, account_number="", credit_card_number="7357")
        kept = f"{gateway!r} {[attrs.asdict(order) for order in gateway.orders.values()]}"
        for secret in ("12345678901234", CARD, "7357", "wallet-4711"):
            assert secret not in kept


# Over HTTP


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
async def sandbox(key: str, clock: Clock) -> AsyncIterator[Sandbox]:
    """Open a sandbox on a real socket, in the test's own time."""
    async with Sandbox(private_key=key, merchant_control=SECRET, clock=clock) as opened:
        yield opened


@pytest.fixture
async def caller(key: str, clock: Clock) -> AsyncIterator[Caller]:
    """Call the app itself."""
    unserved = Unserved(key, clock)
    transport = httpx.ASGITransport(unserved.app())
    async with httpx.AsyncClient(transport=transport, verify=False) as client:
        yield Caller(client, unserved)


@pytest.fixture
def dialler(http: httpx.AsyncClient, sandbox: Sandbox) -> Caller:
    """Call over a real socket."""
    return Caller(http, sandbox)


class TestHttp:
    async def test_whole_way(self, dialler: Caller, clock: Clock) -> None:
        """A client made of oauthlib and httpx checks, waits, pays and sees it approved."""
        checked = await dialler.post("payout-check", {**REQUEST, "purpose": "é + & ~ *"})
        assert checked.status_code == 200
        assert checked.headers["Content-Type"] == "text/html;charset=utf-8"
        assert checked.content.startswith(b"type=async-response\n&serial-number=")
        assert not checked.content.endswith(b"\n")
        order = read_reply(checked.content)["paynet-order-id"]
        ids = {"client_orderid": "po-1", "orderid": order, "login": LOGIN}
        clock.now += 2
        validated = read_reply((await dialler.post("status", ids)).content)
        assert validated["order-stage"] == "payout_check_validated"
        assert (await dialler.post("payout-pay", ids)).status_code == 200
        clock.now += 2
        final = read_reply((await dialler.post("status", ids)).content)
        assert final["status"] == "approved"
        assert dialler.sandbox.gateway.paid("po-1") == 1

    async def test_one_step(self, caller: Caller) -> None:
        """The one-step payout has a path of its own."""
        answer = await caller.post("payout", REQUEST)
        assert read_reply(answer.content)["type"] == "async-response"
        assert caller.sandbox.gateway.paid("po-1") == 1

    async def test_group(self, caller: Caller) -> None:
        """The same number is open as an endpoint group, and comes back without the word."""
        answer = await caller.post("payout-check", REQUEST, endpoint="group/39915")
        assert read_reply(answer.content)["end-point-id"] == "39915"

    async def test_every_stranger_is_denied(self, caller: Caller, key: str) -> None:
        """A wrong key, login or endpoint is denied with one and the same page, and does nothing."""
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        pages = [
            await caller.post("payout", REQUEST, key=other.decode()),
            await caller.post("payout", REQUEST, login="nobody"),
            await caller.post("payout", REQUEST, endpoint="39916"),
            await caller.post("payout", REQUEST, endpoint="group/39916"),
            await caller.post("payout", REQUEST, headers={"Authorization": "Basic c2FuZGJveDo="}),
        ]
        assert all(map(is_denied, pages))
        assert len({page.content for page in pages}) == 1
        assert caller.sandbox.gateway.orders == {}

    @pytest.mark.parametrize("part", ["body", "path", "host", "query", "none"])
    async def test_tampered(self, http: httpx.AsyncClient, sandbox: Sandbox, part: str) -> None:
        """The signature covers the body, the path, the host and the query as they arrive."""
        signed_url = url = f"{sandbox.base_url}/api/v4/payout/39915"
        body = urlencode(REQUEST)
        headers = signed(signed_url, body, sandbox.private_key)
        match part:
            case "body":
                body = body.replace("10.42", "99.42")
            case "path":
                url = url.replace("payout/", "payout-check/")
            case "host":
                headers["Host"] = "localhost"
            case "query":
                url += "?amount=1"
        response = await http.post(url, content=body, headers=headers)
        assert is_denied(response) is (part != "none")
        assert len(sandbox.gateway.ledger) == (part == "none")

    async def test_repeat_is_not_refused(self, http: httpx.AsyncClient, sandbox: Sandbox) -> None:
        """The very same bytes again are carried out again: nonce and timestamp are not judged."""
        url = f"{sandbox.base_url}/api/v4/payout/39915"
        body = urlencode(REQUEST)
        headers = signed(url, body, sandbox.private_key)
        for _ in range(2):
            assert (await http.post(url, content=body, headers=headers)).status_code == 200
        assert sandbox.gateway.paid("po-1") == 2

    async def test_foreign_login_in_body(self, caller: Caller, clock: Clock) -> None:
        """A login in the body that is not the consumer key pays nothing."""
        await caller.post("payout-check", REQUEST)
        clock.now += 2
        ids = {"client_orderid": "po-1", "orderid": FIRST, "login": "somebody"}
        for command in ("payout-pay", "status"):
            answer = read_reply((await caller.post(command, ids)).content)
            assert answer["type"] == "validation-error"
        assert caller.sandbox.gateway.ledger == []


class TestControl:
    async def test_right_control(self, caller: Caller) -> None:
        """A v2 status with its control is answered, with the order id and without."""
        await caller.post("payout-check", REQUEST)
        for ids in ({"orderid": FIRST}, {"orderid": ""}, {}):
            response = await caller.status({"client_orderid": "po-1", **ids})
            assert response.status_code == 200
            assert read_reply(response.content)["paynet-order-id"] == FIRST

    @pytest.mark.parametrize("wrong", ["", "é", "0" * 40])
    async def test_wrong_control(self, caller: Caller, wrong: str) -> None:
        """A wrong control is told as a validation error with code 2."""
        await caller.post("payout-check", REQUEST)
        response = await caller.status({"client_orderid": "po-1", "control": wrong})
        assert response.status_code == 200
        answer = read_reply(response.content)
        assert answer["type"] == "validation-error"
        assert (answer["error-code"], answer["error-message"]) == ("2", "INVALID_CONTROL_CODE")

    async def test_strangers(self, caller: Caller) -> None:
        """An unknown login or endpoint is denied before its control is looked at."""
        assert is_denied(await caller.status({"client_orderid": "po-1", "login": "nobody"}))
        fields = {"client_orderid": "po-1", "login": LOGIN}
        assert is_denied(await caller.post("status", fields, version=2, endpoint="1"))
        assert is_denied(await caller.post("status", {}, version=2))

    @pytest.mark.parametrize("command", ["payout-check", "payout-pay", "payout"])
    async def test_only_status(self, caller: Caller, command: str) -> None:
        """Nothing but status exists as v2, so nothing that moves money does."""
        response = await caller.post(command, REQUEST, version=2)
        assert response.status_code == 404


class TestForms:
    JSON: ClassVar = {"Accept": "text/html, application/vnd.pay+json"}

    async def test_json(self, caller: Caller) -> None:
        """Who accepts the gateway's JSON gets the same fields as one flat object."""
        response = await caller.post("payout-check", REQUEST, headers=self.JSON)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/vnd.pay+json"
        assert response.json() == {
            "type": "async-response",
            "serial-number": "00000000-0000-0000-0000-000002e2c322",
            "merchant-order-id": "po-1",
            "paynet-order-id": FIRST,
            "end-point-id": "39915",
        }

    async def test_json_errors(self, caller: Caller) -> None:
        """In JSON an error is told by HTTP 400 too; a declined payout is no error."""
        refused = await caller.post("payout-check", {**REQUEST, "amount": "0"}, headers=self.JSON)
        unknown = await caller.status({"client_orderid": "po-2"}, self.JSON)
        forged = await caller.status({"client_orderid": "po-2", "control": "0"}, self.JSON)
        assert [each.status_code for each in (refused, unknown, forged)] == [400, 400, 400]
        assert [each.json()["error-code"] for each in (refused, unknown, forged)] == [
            "1",
            "101",
            "2",
        ]
        await caller.post("payout", {**REQUEST, "account_number": "0987654321"})
        told = await caller.status({"client_orderid": "po-1"}, self.JSON)
        assert told.status_code == 200

    async def test_form_errors(self, caller: Caller) -> None:
        """As a form an error is told by its type, under HTTP 200."""
        response = await caller.post("payout-check", {**REQUEST, "amount": "0"})
        assert response.status_code == 200
        assert dict(parse_qsl(response.text.replace("\n", "")))["type"] == "validation-error"

    async def test_no_form(self, caller: Caller) -> None:
        """A body that is no form is a bad request."""
        for content_type in ("application/json", "multipart/form-data; boundary=x", ""):
            response = await caller.post("payout", REQUEST, headers={"Content-Type": content_type})
            assert response.status_code == 400
            assert response.headers["Content-Type"] == "text/html"
            assert response.text.startswith("<!DOCTYPE html>")
        typed = {"Content-Type": f"{FORM.upper()}; charset=UTF-8"}
        assert (await caller.post("payout", REQUEST, headers=typed)).status_code == 200

    @pytest.mark.parametrize("body", [b"amount", b"amount=1&amount=2", b"amount=%zz", b"a=%ff"])
    async def test_unreadable(self, caller: Caller, body: bytes) -> None:
        """A body that two readers could read differently is a bad request."""
        url = f"{caller.sandbox.base_url}/api/v4/payout/39915"
        headers = signed(url, "", caller.sandbox.private_key)
        response = await caller.http.post(url, content=body, headers=headers)
        assert response.status_code == 400

    @pytest.mark.parametrize(("excess", "code"), [(0, 200), (1, 400), (LONGEST_BODY, 400)])
    async def test_longest_body(self, dialler: Caller, excess: int, code: int) -> None:
        """A body of one mebibyte is read to its last byte, and a longer one is a bad request."""
        url = f"{dialler.sandbox.base_url}/api/v4/payout/39915"
        body = "merchant_data=".ljust(LONGEST_BODY + excess, "x")
        headers = signed(url, body, dialler.sandbox.private_key)
        response = await dialler.http.post(url, content=body, headers=headers)
        assert response.status_code == code

    @pytest.mark.parametrize(
        "path", ["/api/v4/sale/39915", "/api/v3/status/39915", "/api/v4/payout/", "/api"]
    )
    async def test_other_commands(self, caller: Caller, path: str) -> None:
        """A path that is no command of ours is not found."""
        response = await caller.http.post(caller.sandbox.base_url + path)
        assert response.status_code == 404

    async def test_only_post(self, caller: Caller) -> None:
        """A command is never carried out by GET."""
        response = await caller.http.get(f"{caller.sandbox.base_url}/api/v4/payout/39915")
        assert response.status_code == 405


class TestPages:
    async def test_ledger(self, caller: Caller) -> None:
        """The ledger can be read as JSON, and no number of a receiver is in it."""
        await caller.post("payout", {**REQUEST, "account_number": "12345678901234"})
        card = {"account_number": "", "credit_card_number": CARD}
        await caller.post("payout-check", {**REQUEST, **card, "client_orderid": "po-2"})
        root = caller.sandbox.base_url.removesuffix("/checkout")
        response = await caller.http.get(f"{root}/sandbox/ledger")
        assert response.json() == caller.sandbox.gateway.snapshot(AT)
        assert response.json()["po-1"]["paid"] == 1
        assert "12345678901234" not in response.text
        assert "4448" not in response.text

    async def test_greeting(self, caller: Caller) -> None:
        """Whoever opens the root in a browser reads in one sentence what this is."""
        root = caller.sandbox.base_url.removesuffix("/checkout")
        response = await caller.http.get(root)
        assert response.headers["Content-Type"].startswith("text/plain")
        assert response.text.count(".\n") == 1
        assert "no real money" in response.text

    async def test_https(self, caller: Caller) -> None:
        """The scheme of the URL is signed too."""
        url = "https://gate.test/checkout/api/v4/payout/39915"
        body = urlencode(REQUEST)
        for scheme, code in (("http", 403), ("https", 200)):
            headers = signed(f"{scheme}{url[5:]}", body, caller.sandbox.private_key)
            response = await caller.http.post(url, content=body, headers=headers)
            assert response.status_code == code

    def test_merchant(self) -> None:
        """The repr of a merchant holds no secret."""
        merchant = Merchant(login="a", endpoint_id=1, public_key=b"", merchant_control=SECRET)
        assert SECRET not in repr(merchant)


class TestServer:
    async def test_makes_its_own_key(self, http: httpx.AsyncClient) -> None:
        """Without settings it makes a key and a control, with which a payout goes through."""
        async with Sandbox() as sandbox:
            assert (sandbox.login, sandbox.endpoint_id) == ("sandbox", 39915)
            assert sandbox.base_url.startswith("http://127.0.0.1:")
            assert sandbox.base_url.endswith("/checkout")
            assert load(sandbox.private_key).key_size == 2048
            assert len(sandbox.merchant_control) == 36
            caller = Caller(http, sandbox)
            answer = read_reply((await caller.post("payout", REQUEST)).content)
            assert answer["type"] == "async-response"
            assert abs(sandbox.gateway.ledger[0].at - time.time()) < 60

    async def test_two_differ(self) -> None:
        """Two sandboxes share neither a port nor a key nor a secret."""
        async with Sandbox() as one, Sandbox() as two:
            assert one.base_url != two.base_url
            assert one.private_key != two.private_key
            assert one.merchant_control != two.merchant_control

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
    async def test_loopback(self, host: str, key: str, http: httpx.AsyncClient) -> None:
        """Any loopback address will do, and the signature covers it."""
        try:
            async with Sandbox(host=host, private_key=key) as sandbox:
                answer = await Caller(http, sandbox).post("payout", REQUEST)
                assert answer.status_code == 200
        except ConfigurationError:
            pytest.skip(f"this machine has no {host}")

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "", "::"])
    def test_stranger_host(self, host: str) -> None:
        """It never listens where somebody else could reach it."""
        with pytest.raises(ConfigurationError, match="loopback"):
            Sandbox(host=host)

    @pytest.mark.parametrize(
        "settings",
        [
            {"port": 65536},
            {"port": -1},
            {"validation": -1.0},
            {"processing": -0.1},
            {"endpoint_id": 0},
        ],
    )
    def test_wrong_settings(self, settings: dict[str, Any]) -> None:
        """A setting that cannot be right is refused before anything is opened."""
        with pytest.raises(ConfigurationError):
            Sandbox(**settings)

    @pytest.mark.parametrize(
        "settings", [{"private_key": "no key"}, {"login": " "}, {"merchant_control": "a\n"}]
    )
    async def test_wrong_credentials(self, settings: dict[str, Any], key: str) -> None:
        """What no client could use is refused when it opens, and no port is taken."""
        sandbox = Sandbox(**{"private_key": key, **settings})
        with pytest.raises(ConfigurationError):
            await sandbox.__aenter__()
        with pytest.raises(ClosedError):
            _ = sandbox.base_url

    async def test_taken_port(self, sandbox: Sandbox, key: str) -> None:
        """A port that is taken is told in a sentence."""
        port = httpx.URL(sandbox.base_url).port
        assert port is not None
        with pytest.raises(ConfigurationError, match=f"port: {port}"):
            await Sandbox(port=port, private_key=key).__aenter__()

    async def test_not_open(self, key: str) -> None:
        """Before it is open it has no URL and no key, and its repr holds no secret ever."""
        sandbox = Sandbox(merchant_control=SECRET)
        for name in ("base_url", "private_key"):
            with pytest.raises(ClosedError):
                getattr(sandbox, name)
        with pytest.raises(ClosedError):
            await sandbox.wait()
        assert repr(sandbox) == "<Sandbox, not open>"

    async def test_leaves_nothing_behind(
        self, key: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Closed, it leaves no task, socket, signal handler or log setting; it said nothing."""
        access = logging.getLogger("uvicorn.access")
        caplog.set_level(logging.INFO, access.name)
        state = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
        loggers = (access.propagate, access.level, list(access.handlers))
        before = asyncio.all_tasks()
        # Idle connections of a client that outlives the server.
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            async with Sandbox(private_key=key, clock=Clock()) as sandbox:
                assert state == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
                assert repr(sandbox) == f"<Sandbox at {sandbox.base_url}>"
                assert (await Caller(http, sandbox).post("payout", REQUEST)).status_code == 200
            assert asyncio.all_tasks() == before
            with pytest.raises(httpx.ConnectError):
                await http.get(sandbox.base_url)
        gc.collect()
        assert loggers == (access.propagate, access.level, list(access.handlers))
        assert caplog.records == []
        assert capfd.readouterr() == ("", "")

    async def test_opens_again(self, key: str, http: httpx.AsyncClient) -> None:
        """Opened again it remembers what it was told before, as a gateway after an outage."""
        sandbox = Sandbox(private_key=key)
        for times in (1, 2):
            async with sandbox:
                await Caller(http, sandbox).post("payout", REQUEST)
                assert sandbox.gateway.paid("po-1") == times

    async def test_unfinished_request(self, key: str, caplog: pytest.LogCaptureFixture) -> None:
        """A client that never finishes its request does not keep the sandbox from closing."""
        async with Sandbox(private_key=key) as sandbox:
            url = httpx.URL(sandbox.base_url)
            reader, writer = await asyncio.open_connection(url.host, url.port)
            head = f"POST /checkout/api/v4/payout/39915 HTTP/1.1\r\nHost: {url.host}\r\n"
            writer.write(f"{head}Content-Type: {FORM}\r\nContent-Length: 9\r\n\r\na=".encode())
            await writer.drain()
            async with httpx.AsyncClient(trust_env=False, verify=False) as http:
                await http.get(sandbox.base_url)  # by now the unfinished one has arrived too
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert caplog.records == []

    async def test_wait(self, dialler: Caller, sandbox: Sandbox) -> None:
        """To wait is to serve: until it is cancelled, and then the server is still whole."""
        waiting = asyncio.create_task(sandbox.wait())
        await dialler.post("payout", REQUEST)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await dialler.post("payout", REQUEST)).status_code == 200

    async def test_wait_ends(self, key: str) -> None:
        """Who still waits when the sandbox closes is let go."""
        async with Sandbox(private_key=key) as sandbox:
            waiting = asyncio.create_task(sandbox.wait())
        await waiting


class TestDoor:
    def test_model_needs_no_server(self) -> None:
        """The model loads without the packages of the server, of HTTP and of cryptography."""
        program = (
            "import sys, billblend_async.sandbox.gateway, billblend_async.sandbox as door;"
            "door.Gateway;"
            "heavy = {'starlette', 'uvicorn', 'httpx', 'cryptography', 'asyncio'};"
            "print(*(heavy & sys.modules.keys()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=30
        )
        assert (done.stdout, done.stderr) == ("\n", "")

    def test_missing_extra(self) -> None:
        """Without the extra the door says what to install."""
        program = (
            "import sys; sys.modules['uvicorn'] = None;"
            "import billblend_async.sandbox as door;"
            "door.Sandbox"
        )
        done = subprocess.run(  # noqa: PLW1510 - it must fail
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
        )
        assert "needs uvicorn; install billblend-async[cli]" in done.stderr

    def test_names(self) -> None:
        """Behind the door are the model, its scenarios and the server, and nothing else."""
        assert door.__all__ == ["SCENARIOS", "Gateway", "Sandbox", "Scenario", "Standing"]
        assert door.Sandbox is Sandbox
        assert door.Gateway is Gateway
        with pytest.raises(AttributeError, match="Elsewhere"):
            _ = door.Elsewhere
