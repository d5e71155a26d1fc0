"""The wire is read and written byte for byte as the gateway does, and odd bytes are no answer."""

import contextlib
import json
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billblend_async.core.models import Endpoint
from billblend_async.core.parameters import mask_digits
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import (
    Accepted,
    NoAnswer,
    NotFound,
    Refused,
    SendAnswer,
    Status,
    StatusReport,
    Unknown,
)
from billblend_async.errors import InvalidInput, UnreadableAnswer
from billblend_async.gateway.wire import (
    FORM,
    RequestKind,
    build_form,
    build_pay,
    build_payout,
    build_status,
    read_reply,
    read_send_answer,
    read_status_answer,
    status_control_parts,
    url_path,
)
from billblend_async.sandbox.wire import build_answer, read_form, read_payout, read_url_path

# The gateway's own example, document 3.24: a body of 150 bytes and an answer of 137.
REQUEST_BODY = (
    b"account_name=1234&account_number=1234&amount=10.42&client_orderid=1&currency=USD"
    b"&routing_number=15&server_callback_url=https%3A%2F%2Fhttpstat.us%2F200"
)
ANSWER_BODY = (
    b"type=async-response\n&serial-number=00000000-0000-0000-0000-000002e2c322"
    b"\n&merchant-order-id=1\n&paynet-order-id=6982864\n&end-point-id=39915"
)
FIELDS = {
    "type": "async-response",
    "serial-number": "00000000-0000-0000-0000-000002e2c322",
    "merchant-order-id": "1",
    "paynet-order-id": "6982864",
    "end-point-id": "39915",
}
EXAMPLE = PayoutRequest(
    client_orderid="1",
    amount=Decimal("10.42"),
    currency="USD",
    server_callback_url="https://httpstat.us/200",
    account_number="1234",
    account_name="1234",
    routing_number="15",
)
PAGE_403 = (
    b"<!DOCTYPE html>\n<html>\n<head>\n<title>403</title>\n<p>Access is denied</p>\n</html>\n"
)
# Every field that a status answer was ever seen with, protocol section 2.
REPORT_FIELDS = """type status amount currency paynet-order-id merchant-order-id serial-number
    by-request-sn phone email name first-name last-name html redirect-to order-stage bin
    transaction-type processor-tx-id processor-rrn processor-credit-rrn processor-credit-arn
    processor-debit-arn processor-auth-credit-code auth-response-code approval-code terminal-id
    receipt-id descriptor original-gate-descriptor last-four-digits card-type card-exp-month
    card-exp-year cardholder-name card-hash-id bank-name card-country-alpha-three-code
    dest-bank-name dest-last-four-digits dest-bin dest-card-type destination-hash-id card-ref-id
    destination-card-ref-id recurring-payment-id ips-src-payment-product-code
    ips-src-payment-product-name ips-src-payment-type-code ips-src-payment-type-name
    gate-partial-reversal gate-partial-capture verified-3d-status verified-rsc-status
    paynet-processing-date acquirer-processing-date initial-amount merchantdata loyalty-balance
    loyalty-message loyalty-bonus loyalty-program bank_message filter_message fraud_message
    error-message error-code control"""
SECRET = b"hush-4929"
CUT, NO_JSON, NESTED = "cut, or no form data", "cut, or no JSON object", "nested JSON"
TWICE, BADLY = "a key that is there twice", "badly encoded"
OTHER, NO_ID = "an answer that names another order", "an answer with an order id that is none"
NO_STATUS, NO_REASON = "an answer without a status", "an error without a reason"
PIECES = [
    *[b"&", b"=", b"%", b"{", b'"', b":", b",", b"[", b"\\ud800", b"\xff", b"null", b"1e999"],
    *[b"&status=", b"&type=error", b"&error-code=101", b"&paynet-order-id=77", b"&amount=1_0E9"],
]
OURS = {"type": "status-response", "merchant-order-id": "po-1", "paynet-order-id": "77"}

careful = settings(deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
names = st.text("abcdefghijklmnopqrstuvwxyz-_", min_size=1, max_size=12)
printable = texts.filter(lambda text: text.isprintable() and text == text.strip())
requests = st.builds(
    PayoutRequest,
    client_orderid=printable,
    amount=st.decimals("0.01", "9999999.99", places=2),
    currency=st.sampled_from(["USD", "EUR", "ZZZ"]),
    purpose=st.none() | printable,
    account_number=st.none() | printable,
    receiver_first_name=st.none() | printable,
    merchant_data=st.none() | texts.filter(lambda text: text == text.strip()),
    customer_id=st.none() | st.integers(0, 10**10 - 1),
    recurring_payment_id=st.none() | st.integers(0, 2**63 - 1),
)


def unreadable(body: bytes) -> str:
    """Say why a body is no answer, once it is sure that nothing of it is shown."""
    with pytest.raises(UnreadableAnswer) as caught:
        read_reply(body)
    error = caught.value
    assert (None, None) == (error.__context__, error.__cause__)
    assert SECRET.decode() not in str(error) + repr(error)
    return error.reason


def send(order: str | None = None, **fields: str) -> SendAnswer:
    """Read the answer to a send about po-1, or to pay its order."""
    named = {name.replace("_", "-"): text for name, text in fields.items()}
    return read_send_answer(named, client_orderid="po-1", paynet_order_id=order)


def report(order: str | None = "77", **fields: str) -> StatusReport:
    """Read a status answer about po-1 that is a report."""
    named = OURS | {"status": "processing"} | fields
    answer = read_status_answer(named, client_orderid="po-1", paynet_order_id=order)
    assert isinstance(answer, StatusReport)
    return answer


class TestRequests:
    def test_example(self) -> None:
        """The gateway's example request is built byte for byte but for the order, and read back."""
        assert 150 == len(REQUEST_BODY)
        assert REQUEST_BODY == build_form(sorted(build_payout(EXAMPLE)))
        assert EXAMPLE == read_payout(read_form(REQUEST_BODY))
        assert "application/x-www-form-urlencoded" == FORM

    @careful
    @given(requests)
    def test_round_trip(self, request: PayoutRequest) -> None:
        """Whatever payout is built for the wire is the one that the gateway reads."""
        assert request == read_payout(read_form(build_form(build_payout(request))))

    def test_hyphens(self) -> None:
        """The one hyphenated parameter travels under the name that the gateway gave it."""
        request = attrs.evolve(EXAMPLE, recurring_payment_id=7)

        assert ("recurring-payment-id", "7") in build_payout(request)

    def test_escapes(self) -> None:
        """Reserved characters, spaces and non-ASCII text are escaped, so nothing is misread."""
        body = build_form([("a b", "1&2=3+4 5"), ("é", '"\n%\0')])

        assert b"a%20b=1%262%3D3%2B4%205&%C3%A9=%22%0A%25%00" == body

    def test_pay(self) -> None:
        """Pay names the login and both ids, and carries neither amount nor receiver."""
        expected = {"client_orderid": "po-1", "login": "Merchant", "orderid": "77"}

        assert expected == dict(build_pay("Merchant", "po-1", "77"))

    @pytest.mark.parametrize(
        ("values", "more"),
        [
            ({}, {}),
            ({"paynet_order_id": "77"}, {"orderid": "77"}),
            ({"by_request_sn": "0-1"}, {"by-request-sn": "0-1"}),
            ({"paynet_order_id": "77", "control": "c"}, {"orderid": "77", "control": "c"}),
        ],
    )
    def test_status(self, values: dict[str, str], more: dict[str, str]) -> None:
        """A question names the login and our id, and beyond that only what is known."""
        expected = {"client_orderid": "po-1", "login": "Merchant"} | more

        assert expected == dict(build_status("Merchant", "po-1", **values))

    def test_status_control(self) -> None:
        """The control of a v2 status covers login, our id and the order id, or nothing for it."""
        assert ["Merchant", "po-1", "77"] == status_control_parts("Merchant", "po-1", "77")
        assert ["Merchant", "po-1", ""] == status_control_parts("Merchant", "po-1", None)

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            (b"", {}),
            (b"a=1&b=", {"a": "1", "b": ""}),
            (b"a=+1%20+&b=%0a", {"a": "1", "b": ""}),
            (b"a==&b=%26%3d", {"a": "=", "b": "&="}),
        ],
    )
    def test_read_form(self, body: bytes, fields: dict[str, str]) -> None:
        """A request's values lose the white space around them, as the gateway drops it."""
        assert fields == read_form(body)

    @pytest.mark.parametrize("body", [b"a", b"a=1&", b"a=1&a=2", b"a=%zz", b"a=%ff", b"a=\xff"])
    def test_no_form(self, body: bytes) -> None:
        """A request that is no form data, or says a name twice, is refused as bad input."""
        with pytest.raises(InvalidInput, match=r"^body: must be form data: ") as caught:
            read_form(body)

        assert caught.value.__context__ is None


class TestPaths:
    @pytest.mark.parametrize("kind", RequestKind)
    @pytest.mark.parametrize("version", [2, 4])
    @pytest.mark.parametrize("number", [1, 39915, 10**18, 2**63 - 1])
    def test_round_trip(self, kind: RequestKind, version: int, number: int) -> None:
        """A path is read back into its version, command and endpoint or group."""
        for endpoint in (Endpoint(endpoint_id=number), Endpoint(endpoint_group_id=number)):
            path = url_path(kind, endpoint, version=version)

            assert (version, kind, endpoint) == read_url_path(path)

    def test_documented(self) -> None:
        """The paths are those of documents 1.10, 3.16 and 3.24."""
        one, group = Endpoint(endpoint_id=39915), Endpoint(endpoint_group_id=7)

        assert "/api/v4/payout-check/39915" == url_path(RequestKind.CHECK, one)
        assert "/api/v4/payout-pay/group/7" == url_path(RequestKind.PAY, group)
        assert "/api/v4/payout/39915" == url_path(RequestKind.PAYOUT, one)
        assert "/api/v2/status/group/7" == url_path(RequestKind.STATUS, group, version=2)

    @pytest.mark.parametrize(
        "path",
        [
            *["", "/", "/api/v4/payout"],
            *["/api/v4/payout/", "/api/v4/payout/0", "/api/v4/payout/01"],
            *["/api/v4/payout/group/", "/api/v4/payout/a"],
            *["/api/v4/payout/1/", "/api/v4/payout/-1"],
            *["/api/v3/payout/1", "/api/v4/sale/1"],
            *["/api/v4/Payout/1", "/checkout/api/v4/payout/1"],
            *[f"/api/v4/payout/{2**63}", "/api/v4/payout/1\n"],
            *["/api/v4/payout/\u0661", "api/v4/payout/1"],
        ],
    )
    def test_no_command(self, path: str) -> None:
        """Any other path is no command, and no exception."""
        assert read_url_path(path) is None


class TestReplies:
    def test_example(self) -> None:
        """The gateway's example answer is read, and built again byte for byte."""
        assert 137 == len(ANSWER_BODY)
        assert FIELDS == read_reply(ANSWER_BODY)
        assert ANSWER_BODY == build_answer(FIELDS)

    @pytest.mark.parametrize(
        "body",
        [
            ANSWER_BODY.replace(b"\n", b""),
            ANSWER_BODY.replace(b"\n", b"\r\n"),
            ANSWER_BODY.replace(b"\n&", b"&\n"),
            ANSWER_BODY.replace(b"=", b"=\n").replace(b"&", b"\n\n&\r"),
            ANSWER_BODY + b"\n",
            b"\r\n " + ANSWER_BODY + b"\r\n\r\n",
            ANSWER_BODY.replace(b"-", b"%2d"),
            json.dumps(FIELDS).encode(),
            json.dumps(FIELDS, indent=2).encode() + b"\r\n",
            json.dumps({name: f"{text}\n" for name, text in FIELDS.items()}).encode(),
            json.dumps(FIELDS).encode().replace(b'"6982864"', b"6982864"),
            json.dumps(FIELDS | {"error-code": None}).encode(),
        ],
    )
    def test_same_answer(self, body: bytes) -> None:
        """Line ends anywhere or nowhere, and form or JSON, make no difference."""
        assert FIELDS == read_reply(body)

    @careful
    @given(st.dictionaries(names, texts | st.none(), min_size=1))
    def test_round_trip(self, fields: dict[str, str | None]) -> None:
        """Whatever answer the gateway builds is the one that we read, without what is None."""
        given = {name: text for name, text in fields.items() if text is not None}
        ends = {name: text.strip("\r\n") for name, text in given.items()}

        if given:
            assert given == read_reply(build_answer(fields))
        assert ends == read_reply(build_answer(fields, as_json=True))

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            (b"a=John+Smith%2B%C3%A9&b=", {"a": "John Smith+é", "b": ""}),
            (b"a=\xc3\xa9&b=1=2", {"a": "é", "b": "1=2"}),
            (b"a=%0Ab%0D%0A", {"a": "\nb\r\n"}),
            (b'{"n": 9007199254740993}', {"n": "9007199254740993"}),
            (
                b'{"n": 123456789012345678901234567890123}',
                {"n": "123456789012345678901234567890123"},
            ),
            (b'{"a": 10.10, "b": 1e5, "c": -0}', {"a": "10.10", "b": "1e5", "c": "-0"}),
            (b'{"a": NaN, "b": Infinity}', {"a": "NaN", "b": "Infinity"}),
            (b'{"a": true, "b": false, "c": null}', {"a": "true", "b": "false"}),
            (b'{"a": "\\ud834\\udd1e \\u00e9"}', {"a": "𝄞 é"}),
            (b"{}", {}),
        ],
    )
    def test_values(self, body: bytes, fields: dict[str, str]) -> None:
        """Values are text as the gateway wrote it: no digit of a number is lost or made up."""
        assert fields == read_reply(body)

    @pytest.mark.parametrize(
        ("reason", "bodies"),
        [
            ("empty", [b"", b" ", b"\n\r\n", b"\t"]),
            ("an HTML page", [PAGE_403, b"\n <html>", b"<", b"<?xml?><a>%s</a>" % SECRET]),
            (CUT, [SECRET, b"type=a&%s" % SECRET, b"type=a&", b"&type=a", b"a=1&&", b"\x00"]),
            (CUT, [b'["a"]', b'"%s"' % SECRET, b"null", b"17", b"\xef\xbb\xbf{}"]),
            (TWICE, [b"a=1&b=2&a=%s" % SECRET, b"a=1&%%61=%s" % SECRET, b"=1&=2"]),
            (TWICE, [b'{"a": 1, "a": "%s"}' % SECRET, b'{"a": null, "a": "%s"}' % SECRET]),
            (TWICE, [b'{"a": 1, "\\u0061": null}']),
            (BADLY, [b"a=%s%%" % SECRET, b"a=%%4%s" % SECRET, b"a=%zz", b"%=1", b"a=% 41"]),
            (BADLY, [b"a=%s\xff" % SECRET, b"a=%FF", b"a=%ED%A0%80", b"\xc3=1", b"a=%C0%AF"]),
            (BADLY, [b'{"a": "%s\\ud800"}' % SECRET, b'{"\\udfff": 1}', b'{"a": "\xed\xa0\x80"}']),
            (NO_JSON, [b"{", b'{"a": "%s' % SECRET, b'{"%s": 1,}' % SECRET, b"{a: 1}", b"{\x00"]),
            (NO_JSON, [b'{"a": 1} %s' % SECRET, b'{"a": "%s\xff"}' % SECRET]),
            (NO_JSON, [b'{"a": "%s\n"}' % SECRET, b'{"a":' * 100_000]),
            (NESTED, [b'{"a": {"b": "%s"}}' % SECRET, b'{"a": ["%s"]}' % SECRET, b'{"a": {}}']),
        ],
    )
    def test_unreadable(self, reason: str, bodies: list[bytes]) -> None:
        """What is no answer is told by its kind, and nothing of it is ever shown."""
        assert [reason] * len(bodies) == [unreadable(body) for body in bodies]

    @careful
    @given(st.data())
    def test_any_bytes(self, data: st.DataObject) -> None:
        """Any bytes at all are an answer, a report or unreadable, and never another exception."""
        pieces = st.binary(max_size=8) | st.sampled_from(PIECES)
        whole = data.draw(st.sampled_from([b"", ANSWER_BODY, json.dumps(FIELDS).encode()]))
        place = data.draw(st.integers(0, len(whole)))
        body = whole[:place] + b"".join(data.draw(st.lists(pieces))) + whole[place:]

        fields: dict[str, str] = {}
        with contextlib.suppress(UnreadableAnswer):
            fields = read_reply(body)
        for order in (None, "6982864"):
            asked: Any = {"client_orderid": "1", "paynet_order_id": order}
            assert isinstance(
                read_status_answer(fields, **asked), StatusReport | NotFound | NoAnswer
            )
            assert isinstance(read_send_answer(fields, **asked), Accepted | Refused | Unknown)


ACCEPTED, FOREIGN = Accepted("77", "0-1"), Unknown("an answer that names another order")
CHECK_TABLE: list[tuple[str, str, str, object]] = [
    # type, paynet-order-id, merchant-order-id, what a check or one-step payout came to
    ("async-response", "77", "po-1", ACCEPTED),
    ("async-response", "77", "po-2", FOREIGN),
    ("async-response", "77", "", FOREIGN),
    ("async-response", "7x", "po-1", FOREIGN),
    ("async-response", "7" * 33, "po-1", FOREIGN),
    ("async-response", "", "po-1", Unknown("error 8: bad")),
    ("validation-error", "", "po-1", Refused("8", "bad")),
    ("validation-error", "", "", Refused("8", "bad")),
    ("validation-error", "", "po-2", Unknown("a refusal of another order")),
    ("validation-error", "77", "po-1", ACCEPTED),
    ("validation-error", "77", "po-2", FOREIGN),
    ("error", "", "po-1", Unknown("error 8: bad")),
    ("error", "", "", Unknown("error 8: bad")),
    ("error", "77", "po-1", ACCEPTED),
    ("error", "77", "po-2", FOREIGN),
    ("async-form-response", "77", "po-1", Unknown("an answer of an unknown type")),
    ("status-response", "77", "po-1", Unknown("an answer of an unknown type")),
    ("", "77", "po-1", Unknown("an answer of an unknown type")),
]
PAY_TABLE: list[tuple[str, str, str, object]] = [
    # the same of payout-pay for the order 77
    ("async-response", "77", "po-1", ACCEPTED),
    ("async-response", "77", "", ACCEPTED),
    ("async-response", "77", "po-2", FOREIGN),
    ("async-response", "78", "po-1", FOREIGN),
    ("async-response", "", "po-1", Unknown("error 8: bad")),
    ("validation-error", "", "po-1", Refused("8", "bad")),
    ("validation-error", "", "po-2", Unknown("a refusal of another order")),
    ("validation-error", "77", "po-1", Unknown("error 8: bad")),
    ("validation-error", "78", "po-1", FOREIGN),
    ("error", "", "po-1", Unknown("error 8: bad")),
    ("error", "77", "po-1", Unknown("error 8: bad")),
    ("error", "78", "", FOREIGN),
    ("status-response", "77", "po-1", Unknown("an answer of an unknown type")),
]


class TestSendAnswers:
    @pytest.mark.parametrize(
        ("paid", "type_", "order", "named", "expected"),
        [(None, *row) for row in CHECK_TABLE] + [("77", *row) for row in PAY_TABLE],
    )
    def test_table(
        self, paid: str | None, type_: str, order: str, named: str, expected: Any
    ) -> None:
        """Accepted names our order, refused is proved, and everything else is unknown."""
        given = {"type": type_, "paynet_order_id": order, "merchant_order_id": named}
        given |= {"serial_number": "0-1", "error_code": "8", "error_message": "bad"}

        assert expected == send(paid, **given)
        present = {name: text for name, text in given.items() if text}
        assert expected == send(paid, **present)
        assert expected == send(paid, **given | {"type": f" {type_.upper()} "})

    def test_no_reason(self) -> None:
        """Without an error text the answer still says what it lacks."""
        assert Unknown("an answer without an order id") == send(type="error")
        assert Unknown("an error about our order") == send("77", type="error", paynet_order_id="77")
        assert Unknown("an answer of an unknown type") == send()
        assert Refused(None, None) == send(type="validation-error")
        assert Unknown("error ?: no") == send(type="error", error_message="no")
        assert Unknown("error 8: no message") == send(type="error", error_code="8")

    def test_masked(self) -> None:
        """Card and account numbers in the gateway's texts are masked."""
        text = "card 4444 4444-4444 4448 of account 12345678, order 1234567"
        masked = "card ****4448 of account ****5678, order 1234567"

        assert masked == mask_digits(text)
        assert Refused("8", masked) == send(
            type="validation-error", error_code="8", error_message=f"{text}\n"
        )
        assert Unknown(f"error 8: {masked}") == send(
            type="error", error_code="8", error_message=text
        )
        assert masked == report(**{"error-message": text}).error_message


class TestStatusAnswers:
    @pytest.mark.parametrize("wire_name", REPORT_FIELDS.split())
    def test_field(self, wire_name: str) -> None:
        """Each documented field is read under its own name, with underscores."""
        name = {"merchantdata": "merchant_data"}.get(wire_name, wire_name.replace("-", "_"))
        text = {"merchant-order-id": "po-1", "paynet-order-id": "77"}.get(wire_name, "12.50")
        told = report(**{wire_name: text})

        assert text == str(getattr(told, name))
        assert {} == told.rest

    def test_every_field(self) -> None:
        """No field of a report lacks a name on the wire."""
        read = {name.replace("-", "_") for name in REPORT_FIELDS.split()} - {"merchantdata"}
        declared = {field.name for field in attrs.fields(StatusReport)}

        assert declared == read | {"merchant_data", "rest"}

    def test_amounts(self) -> None:
        """Amounts are exact decimals with their zeros; what is no amount is kept as text."""
        told = report(**{"amount": "10.10", "initial-amount": " 100.00 "})

        assert ("10.10", "100.00") == (str(told.amount), str(told.initial_amount))
        for text in ("", "ten", "10,42", "NaN", "sNaN", "Infinity", "-Infinity", "1.2.3", "$1"):
            told = report(amount=text)
            assert (None, {"amount": text}) == (told.amount, told.rest)

    def test_rest(self) -> None:
        """Unknown fields are kept, and so is a second spelling of a known one."""
        told = report(**{"merchantdata": "a", "merchant_data": "b", "new-field": "c", "bin": ""})

        assert ("a", None) == (told.merchant_data, told.bin)
        assert {"merchant_data": "b", "new-field": "c"} == told.rest
        for name in ("merchantdata", "merchant_data", "merchant-data"):
            assert "a" == report(**{name: "a"}).merchant_data

    @pytest.mark.parametrize(
        ("status", "final"),
        [
            ("APPROVED", True),
            ("Declined", True),
            ("processing", False),
            ("brand_new", False),
            ("", False),
        ],
    )
    def test_status(self, status: str, final: bool) -> None:  # noqa: FBT001 - a column
        """A status is read in any case, and one that was never seen keeps its raw text."""
        told = report(status=status)

        assert (Status(status), status, final) == (
            told.status,
            told.status.raw,
            told.status.is_final,
        )

    def test_ids(self) -> None:
        """White space around an id is no part of it."""
        told = report(**{"paynet-order-id": " 77\n", "merchant-order-id": "po-1 "})

        assert ("77", "po-1") == (told.paynet_order_id, told.merchant_order_id)

    @pytest.mark.parametrize(
        ("asked", "fields"),
        [
            (None, OURS | {"status": "processing"}),
            ("77", {"paynet-order-id": "77", "status": "processing"}),
            ("77", {"type": "error", "paynet-order-id": "77", "status": "declined"}),
            (None, {"type": "validation-error", "paynet-order-id": "77", "status": "error"}),
        ],
    )
    def test_report(self, asked: str | None, fields: dict[str, str]) -> None:
        """A status that names no other order is a report, also when it comes with an error."""
        answer = read_status_answer(fields, client_orderid="po-1", paynet_order_id=asked)

        assert isinstance(answer, StatusReport)
        assert fields.get("type", "") == answer.type

    @pytest.mark.parametrize(
        ("asked", "fields", "reason"),
        [
            ("77", {"merchant-order-id": "po-2"}, OTHER),
            ("78", {}, OTHER),
            ("77", {"merchant-order-id": "po-2", "status": "approved"}, OTHER),
            ("77", {"paynet-order-id": "78", "status": "approved"}, OTHER),
            (None, {"paynet-order-id": "7x", "status": "approved"}, NO_ID),
            (None, {"paynet-order-id": "7" * 33, "status": "approved"}, NO_ID),
            (None, {"paynet-order-id": "\u0661", "status": "approved"}, NO_ID),
            ("77", {}, NO_STATUS),
            (None, {"type": "async-response", "paynet-order-id": ""}, NO_STATUS),
            (None, {"type": "", "error-code": "101", "paynet-order-id": ""}, NO_STATUS),
            ("77", {"type": "error"}, NO_REASON),
            ("77", {"type": "error", "paynet-order-id": "", "status": "approved"}, NO_REASON),
            ("77", {"type": "error", "error-code": "101"}, "error 101: no message"),
            (
                "77",
                {"type": "error", "paynet-order-id": "", "error-code": "7"},
                "error 7: no message",
            ),
            (None, {"type": "error", "paynet-order-id": "", "error-message": "no"}, "error ?: no"),
        ],
    )
    def test_no_answer(self, asked: str | None, fields: dict[str, str], reason: str) -> None:
        """An answer about another order, or without a status, is no news about ours."""
        answer = read_status_answer(OURS | fields, client_orderid="po-1", paynet_order_id=asked)

        code = fields.get("error-code") if reason.startswith("error") else None
        assert NoAnswer(reason, readable=True, error_code=code) == answer

    @pytest.mark.parametrize("status", ["processing", "approved"])
    def test_names_no_order(self, status: str) -> None:
        """A status that names no order at all is no news about ours."""
        answer = read_status_answer(
            {"type": "status-response", "status": status},
            client_orderid="po-1",
            paynet_order_id="77",
        )

        assert NoAnswer("an answer that names no order", readable=True) == answer

    @pytest.mark.parametrize("type_", ["error", "validation-error", "ERROR\n"])
    @pytest.mark.parametrize("asked", [None, "77"])
    @pytest.mark.parametrize("named", ["po-1", ""])
    def test_not_found(self, type_: str, asked: str | None, named: str) -> None:
        """Only error 101 without an order id says that the gateway knows no such order."""
        fields = {"type": type_, "error-code": " 101 ", "merchant-order-id": named}

        assert NotFound("101") == read_status_answer(
            fields, client_orderid="po-1", paynet_order_id=asked
        )
        for code in ("1", "102", "1010", "0101", "", "ORDER_NOT_FOUND"):
            answer = read_status_answer(fields | {"error-code": code}, client_orderid="po-1")
            assert isinstance(answer, NoAnswer)
