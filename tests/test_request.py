"""A payout request says what the gateway's parameter table says, and never repeats a value."""

import copy
import enum
import hmac
import pickle
import re
import traceback
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billblend_async.core.parameters import Kind, amount_text
from billblend_async.core.request import PARAMETER_NAMES, PARAMETERS, PayoutRequest
from billblend_async.errors import InvalidInput, Problem

words = re.compile(r"\w+").findall

# Document 3.24, /api/v4/payout: name, Required/Conditional/Optional, type, length.
TABLE = """
client_orderid R string 128 | amount R numeric 10 | currency R string 3 | order_desc O string 64
ipaddress C string 7-45 | purpose C string 128 | server_callback_url O string 128
redirect_url O string 128 | redirect_success_url O string 1024 | redirect_fail_url O string 1024
credit_card_number C numeric 20 | card_printed_name C string 128 | expire_month C numeric 2
expire_year C numeric 4 | cvv2 C numeric 3-4 | account_number C string 32
account_name O string 128 | ewallet_type C string 64 | ewallet_wallet C string 128
crypto_wallet_address C string 64 | bank_name C string 255 | bank_branch C string 255
bank_code C string 32 | bank_city C string 128 | bank_address1 C string 255
bank_zip_code C string 255 | bank_province C string 255 | bank_area C string 255
routing_number C string 16 | legal_person_name C string 128
legal_person_document_number C string 128 | receiver_first_name C string 128
receiver_last_name C string 128 | receiver_birthday C numeric 30 | receiver_country_code C string 3
receiver_state C string 4 | receiver_city C string 128 | receiver_zip_code C numeric 32
receiver_address1 C string 256 | receiver_phone C numeric 128 | receiver_email C string 128
receiver_identity_document_id C string 128 | receiver_identity_document_number C string 128
merchant_data O string 65536 | bank_bic O string 128 | receiver_inn O string 128
customer_level O varchar 32 | customer_id O int 10 | merchant_customer_identifier O varchar 64
card_recurring_payment_id C long - | recurring-payment-id C long -
"""
ROWS = [row.split() for row in re.split(r"[|\n]", TABLE.strip())]
NAMES = [name.replace("-", "_") for name, *_ in ROWS]
KINDS = {
    "string": {Kind.TEXT, Kind.LONG_TEXT, Kind.CURRENCY, Kind.IP, Kind.URL},
    "varchar": {Kind.TEXT},
    "numeric": {Kind.AMOUNT, Kind.DIGITS, Kind.MONTH, Kind.YEAR, Kind.PHONE, Kind.ZIP},
    "int": {Kind.INTEGER},
    "long": {Kind.INTEGER},
}
# "also can be sent as", each after receiver_.
ALIASES = words("""first_name last_name birthday country state city zip_code address1 phone email
    identity_document_id identity_document_number""")
# Personal data, and whatever money could be taken with.
SECRETS = words("""credit_card_number card_printed_name expire_month expire_year cvv2 account_number
    account_name ewallet_wallet crypto_wallet_address ipaddress merchant_data receiver_inn
    legal_person_name legal_person_document_number receiver_first_name receiver_last_name
    receiver_birthday receiver_city receiver_zip_code receiver_address1 receiver_phone
    receiver_email receiver_identity_document_id receiver_identity_document_number
    card_recurring_payment_id recurring_payment_id""")
# All that does not say who gets the money.
NO_RECEIVER = words("""client_orderid amount currency order_desc ipaddress purpose redirect_url
    server_callback_url redirect_success_url redirect_fail_url cvv2 merchant_data customer_level""")

# What an amount looks like on the wire.
WRITTEN = """
USD 10.42 as 10.42 | USD 10.4200 as 10.42 | USD 10.4 as 10.4 | USD 10.4000 as 10.40
USD 0.01 as 0.01 | USD 0010.42 as 10.42 | USD 1E+2 as 100 | USD 1.042E1 as 10.42
USD 9999999999 as 9999999999 | USD 9999999.990000000000000000000000000000000 as 9999999.99
JPY 100 as 100 | JPY 100.0 as 100 | JPY 1E+2 as 100 | ZZZ 0.00000001 as 0.00000001
KWD 0.001 as 0.001 | KWD 0.0010 as 0.001 | CLF 0.0001 as 0.0001 | ZZZ 1.50000 as 1.50000
"""
KEY = b"kept beside the journal"
SECRET = "hush-4929"
LONG_IP = "0000:0000:0000:0000:0000:ffff:255.255.255.255"
PAIRS = {
    "redirect_success_url": {"redirect_fail_url": "https://e.co/"},
    "redirect_fail_url": {"redirect_success_url": "https://e.co/"},
}
FITTING: dict[Kind, Callable[[int], object]] = {
    Kind.AMOUNT: lambda length: Decimal("9" * length),
    Kind.CURRENCY: lambda length: "U" * length,
    **dict.fromkeys([Kind.TEXT, Kind.LONG_TEXT], lambda length: "é" * length),
    **dict.fromkeys([Kind.DIGITS, Kind.PHONE, Kind.ZIP], lambda length: "7" * length),
    Kind.MONTH: lambda length: "1" * length,
    Kind.YEAR: lambda length: "2" * length,
    Kind.INTEGER: lambda length: 10**length - 1,
    Kind.IP: lambda length: {6: "::1234", 7: "1.2.3.4", 45: LONG_IP}.get(length, LONG_IP + "0"),
    Kind.URL: lambda length: "https://e.co/".ljust(length, "x"),
}


def fit(name: str) -> Any:
    """Make a value that fits a parameter and is as long as it may be."""
    row = PARAMETERS[name]
    return FITTING[row.kind](row.longest or 18)


def request(**values: Any) -> PayoutRequest:
    """Ask for a small payout, or one that differs from it."""
    plain: Any = {"client_orderid": "po-1", "amount": Decimal("10.42"), "currency": "USD"}
    return PayoutRequest(**plain | values)


def problems(**values: Any) -> dict[str, str]:
    """Gather what is wrong with a payout, by field."""
    with pytest.raises(InvalidInput) as caught:
        request(**values)
    return {problem.field: problem.message for problem in caught.value.problems}


def all_that_is_shown(error: BaseException) -> str:
    """Gather what a log or an error tracker could show, with the variables of our own frames."""
    assert error.__context__ is None
    assert error.__cause__ is None
    ours = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename != __file__
    ]
    assert ours
    return "".join([str(error), repr(error), *traceback.format_exception(error), repr(ours)])


class TestTable:
    def test_rows(self) -> None:
        """The parameters are the 51 of document 3.24, in its order, with its needs and lengths."""
        actual = [
            [name, row.need.name[0], f"{row.shortest}-{row.longest or '-'}".removeprefix("1-")]
            for name, row in PARAMETERS.items()
        ]

        assert 51 == len(NAMES)
        assert [[row[0].replace("-", "_"), row[1], row[3]] for row in ROWS] == actual

    def test_types(self) -> None:
        """The kind of each parameter is one of its type in document 3.24."""
        types = [type_ for _, _, type_, _ in ROWS]

        for type_, row in zip(types, PARAMETERS.values(), strict=True):
            assert row.kind in KINDS[type_]

    def test_names(self) -> None:
        """A parameter is known by its name, its documented alias and its hyphens."""
        aliases = {alias: f"receiver_{alias}" for alias in ALIASES}
        aliases |= {"country": "receiver_country_code"}
        aliases |= {"recurring-payment-id": "recurring_payment_id"}

        assert {name: name for name in NAMES} | aliases == PARAMETER_NAMES

    def test_required(self) -> None:
        """Without what is required a payout cannot even be written."""
        with pytest.raises(TypeError, match="missing 3 required keyword-only"):
            PayoutRequest()  # pyright: ignore[reportCallIssue]

    def test_conditional(self) -> None:
        """Conditional parameters are agreed with the support manager, so none is demanded."""
        assert NAMES[:3] == [name for name, _ in request().given()]


class TestLimits:
    @pytest.mark.parametrize("name", NAMES)
    def test_longest(self, name: str) -> None:
        """A value as long as the table allows goes to the wire whole; one longer is refused."""
        row, other = PARAMETERS[name], PAIRS.get(name, {})
        edge = fit(name) if row.longest else 2**63 - 1
        past = FITTING[row.kind](row.longest + 1) if row.longest else 2**63

        assert str(edge) == dict(request(**{name: edge}, **other).given())[name]
        wrong = problems(**{name: past}, **other)
        assert [name] == list(wrong)
        assert re.match("must have (at most|[37] to) [0-9]+ |must lie between", wrong[name])

    @pytest.mark.parametrize(("name", "shortest"), [("ipaddress", 7), ("cvv2", 3)])
    def test_shortest(self, name: str, shortest: int) -> None:
        """A value as short as the table allows is taken; one shorter is refused."""
        fitting = FITTING[PARAMETERS[name].kind]

        assert fitting(shortest) == getattr(request(**{name: fitting(shortest)}), name)
        wrong = problems(**{name: fitting(shortest - 1)})
        assert wrong[name].startswith(f"must have {shortest} to ")

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("value", ["", " ", "half \ud800", b"1", 1.0, True, [], -1])
    def test_never_fits(self, name: str, value: object) -> None:
        """What is empty, blank, broken or of another type fits no parameter."""
        assert [name] == list(problems(**{name: value}, **PAIRS.get(name, {})))

    @pytest.mark.parametrize(
        "hidden",
        ["\u200b", "\u200e", "\xad", "\u2060", "\ufeff", "\xa0", "\u3000", "\ue000", "\u0378"],
    )
    def test_id_that_looks_like_another(self, hidden: str) -> None:
        """An id holds nothing that cannot be seen; it is refused by name and not repeated."""
        for value in (f"po{hidden}1", f"a{hidden}b-\xe9"):
            wrong = problems(client_orderid=value)["client_orderid"]
            assert "cannot be seen, or an odd space" in wrong
            assert value not in wrong

    def test_id_in_parts(self) -> None:
        """An id has its letters composed, so that two programs write it with the same bytes."""
        assert "caf\xe9-1" == request(client_orderid="caf\xe9-1").client_orderid
        wrong = problems(client_orderid="cafe\u0301-1")
        assert ["client_orderid"] == list(wrong)
        assert "Unicode NFC" in wrong["client_orderid"]

    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("currency", ["USD"], [None, "usd", "US", "ÜSD", "USD\n"]),
            ("client_orderid", ["a b", "№1"], [None, 7, "x\n", " x"]),
            ("credit_card_number", ["4444444444444448"], ["4444 4444 44", "\u0664\u0664", "4-4"]),
            ("expire_month", ["1", "01", "09", "10", "12"], ["0", "00", "13", "1a", "+1"]),
            ("expire_year", ["2030"], ["30", "203", "20a0"]),
            ("cvv2", ["123", "0000"], ["12a", "12 "]),
            ("ipaddress", ["10.0.0.1", "2001:db8::1"], ["256.1.1.1", "1.2.3.4/8", "example.com"]),
            ("receiver_phone", ["+7 (495) 123-45-67", "007"], ["7+7", "+-()", "1;2", "call me"]),
            ("receiver_zip_code", ["12345-6789", "190 000"], ["SW1A 1AA", "12-", "-12", "1--2"]),
            ("receiver_birthday", ["19801231"], ["1980-12-31"]),
            ("customer_id", [0, 7], ["7", 7.0]),
            ("recurring_payment_id", [0, 2**53 + 1], ["7", 7.0]),
            ("redirect_url", ["http://e.co:80/a?b=c#d", "https://[::1]/"], ["//e.co", "e.co/a"]),
            ("redirect_url", ["HTTPS://E.CO"], ["ftp://e.co", "https:///a", "javascript:alert(1)"]),
            ("redirect_url", [], ["https://e.co:port/", "https://[::1/", "https://e.co/a b"]),
            (
                "purpose",
                ["Ünïcödé 支付 𝄞", "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc"],
                [" x", "x ", "x\u3000", "a\nb", "a\tb", "\x7f"],
            ),
            ("purpose", ["a" * 128], ["nul\0", "\x1b[31m", "right to left \u202e", "\ud800"]),
            ("merchant_data", ["line\nline\t1\r\n{}"], ["line\n", "\tx", "half \udfff"]),
        ],
    )
    def test_form(self, name: str, good: list[object], bad: list[object]) -> None:
        """A value has the form of its kind, or its field is named."""
        assert good == [getattr(request(**{name: value}), name) for value in good]
        assert [[name]] * len(bad) == [list(problems(**{name: value})) for value in bad]


class TestAmount:
    @pytest.mark.parametrize("row", WRITTEN.strip().split("\n"))
    def test_text(self, row: str) -> None:
        """An amount travels in major units, without exponent or needless zeros."""
        for case in row.split("|"):
            currency, amount, _, text = case.split()
            payout = request(amount=Decimal(amount), currency=currency)

            assert text == dict(payout.given())["amount"]
            assert text == amount_text(payout.amount, currency)
            assert Decimal(amount) == payout.amount

    @pytest.mark.parametrize(
        ("reason", "amounts"),
        [
            ("must be a Decimal; a float cannot hold money exactly", [10.42, 1.0, float("nan")]),
            ("must be a plain decimal number", ["10.42", 10, True, None, 1j, (0, (1,), 0)]),
        ],
    )
    def test_no_decimal(self, reason: str, amounts: list[object]) -> None:
        """Whatever is no Decimal is refused, above all a float."""
        for amount in amounts:
            wrong = problems(amount=amount)
            assert (["amount"], reason) == ([*wrong], wrong["amount"][: len(reason)])

    @pytest.mark.parametrize(
        ("currency", "reason", "amounts"),
        [
            ("USD", "must be greater than zero", "0 -0.00 -10.42 -Infinity Infinity NaN sNaN"),
            ("USD", "has more decimals than USD, which has 2", "10.425 0.001 1E-3"),
            ("JPY", "has more decimals than JPY, which has 0", "1.5 0.1"),
            ("KWD", "has more decimals than KWD, which has 3", "0.0001"),
            ("USD", "must have at most 10 characters", "99999999999 99999999.99 1E+10 1E-9"),
            ("USD", "must have at most 10 characters", "1E+999999999999 1E-999999999999"),
            ("USD", "must have at most 10 characters", f"{10**40} {10**40}.1230 1.{10**40}1"),
            ("ZZZ", "must have at most 10 characters", "0.000000001 1E-999999999999"),
        ],
    )
    def test_refusal(self, currency: str, reason: str, amounts: str) -> None:
        """No amount is rounded, or sent although the currency or the table cannot hold it."""
        for amount in amounts.split():
            wrong = problems(amount=Decimal(amount), currency=currency)
            assert (["amount"], reason) == ([*wrong], wrong["amount"][: len(reason)])

    def test_decimal_context(self) -> None:
        """The host's own decimal context changes no amount and breaks none."""
        with localcontext() as context:
            context.prec = 3
            context.traps = dict.fromkeys(context.traps, True)
            payout = request(amount=Decimal("12345.6700"))

            assert "12345.67" == dict(payout.given())["amount"]

    @settings(deadline=None)
    @given(st.integers(1, 9_999_999_99), st.integers(0, 5))
    def test_no_cent_is_lost(self, cents: int, zeros: int) -> None:
        """Any number of cents arrives as that number of cents, whatever zeros follow it."""
        text = f"{cents // 100}.{cents % 100:02}"

        assert text == dict(request(amount=Decimal(text + "0" * zeros)).given())["amount"]


class TestGroups:
    @pytest.mark.parametrize(
        ("names", "wrong"),
        [
            ("redirect_url", []),
            ("redirect_success_url redirect_fail_url", []),
            ("redirect_success_url", ["redirect_fail_url"]),
            ("redirect_fail_url", ["redirect_success_url"]),
            ("redirect_url redirect_success_url", ["redirect_url"]),
            ("redirect_url redirect_fail_url", ["redirect_url"]),
            ("redirect_url redirect_success_url redirect_fail_url", ["redirect_url"]),
            ("credit_card_number card_printed_name expire_month expire_year", []),
            ("card_recurring_payment_id", []),
            ("recurring_payment_id", []),
            ("card_recurring_payment_id credit_card_number", ["card_recurring_payment_id"]),
            ("card_recurring_payment_id card_printed_name", ["card_recurring_payment_id"]),
            ("card_recurring_payment_id expire_month", ["card_recurring_payment_id"]),
            ("recurring_payment_id expire_year", ["recurring_payment_id"]),
        ],
    )
    def test_exclusion(self, names: str, wrong: list[str]) -> None:
        """Redirects are of one kind, success and failure go together, a token replaces the card."""
        values = {name: fit(name) for name in names.split()}

        if wrong:
            assert wrong == list(problems(**values))
        else:
            assert [*NAMES[:3], *values] == [name for name, _ in request(**values).given()]


class TestSecrecy:
    def test_every_problem_at_once(self) -> None:
        """Each of the 51 fields that is wrong is named at once, and no value is shown."""
        with pytest.raises(InvalidInput) as caught:
            request(**dict.fromkeys(NAMES, f"{SECRET}\ud800"))

        named = [problem.field for problem in caught.value.problems]
        groups = ["redirect_url", "card_recurring_payment_id", "recurring_payment_id"]
        assert [*NAMES, *groups] == named
        assert SECRET not in all_that_is_shown(caught.value)

    @pytest.mark.parametrize("name", SECRETS)
    def test_one_that_is_wrong(self, name: str) -> None:
        """When a secret is wrong, neither it nor a good one beside it is shown."""
        good = {"receiver_last_name": SECRET, "account_number": SECRET, "receiver_city": SECRET}

        with pytest.raises(InvalidInput, match=name) as caught:
            request(**good | {name: f"{SECRET}\ud800"})

        assert SECRET not in all_that_is_shown(caught.value)

    def test_unknown_keyword(self) -> None:
        """A parameter that is none is refused without showing its value or any other."""
        with pytest.raises(TypeError, match="'card'") as caught:
            request(card=SECRET, account_number=SECRET)

        assert SECRET not in all_that_is_shown(caught.value)

    @pytest.mark.parametrize("name", NAMES[3:])
    def test_repr(self, name: str) -> None:
        """The repr shows what was given, and three stars for a secret."""
        value, other = fit(name), PAIRS.get(name, {})
        shown = repr(request(**{name: value}, **other))

        assert f", {name}={'***' if name in SECRETS else str(value)!r}" in shown
        assert (str(value) in shown) is (name not in SECRETS)


class TestFromText:
    def test_cells(self) -> None:
        """Texts become a payout: numbers are read, white space and empty cells are dropped."""
        cells = {"client_orderid": " po-1\t", "amount": " 10.4200 ", "currency": "USD\n"}
        cells |= {"first_name": "Ann", "receiver_first_name": "  ", "country": "USA", "cvv2": ""}
        cells |= {"customer_id": "007", "recurring-payment-id": "12"}

        assert PayoutRequest.from_text(cells) == request(
            receiver_first_name="Ann",
            receiver_country_code="USA",
            customer_id=7,
            recurring_payment_id=12,
        )

    def test_every_problem_at_once(self) -> None:
        """Missing, unknown, twice-given and wrong parameters are told together, without values."""
        cells = dict.fromkeys(["amount", "phone", "receiver_phone", "iban", "cvv2", "city"], SECRET)

        with pytest.raises(InvalidInput) as caught:
            PayoutRequest.from_text(cells)

        plain = "must be a plain number such as 10.42, with a point and no comma"
        assert [
            Problem("amount", plain),
            Problem("receiver_phone", "is given twice, also as receiver_phone or its alias"),
            Problem("iban", "is no parameter of a payout"),
            Problem("client_orderid", "is missing"),
            Problem("currency", "is missing"),
        ] == list(caught.value.problems[:5])
        named = [problem.field for problem in caught.value.problems[5:]]
        assert ["cvv2", "receiver_phone"] == named
        assert SECRET not in all_that_is_shown(caught.value)

    @pytest.mark.parametrize("cells", [{}, {"client_orderid": " ", "currency": "", "cvv2": ""}])
    def test_nothing(self, cells: dict[str, str]) -> None:
        """A payout of nothing lacks the three required parameters and nothing else."""
        with pytest.raises(InvalidInput) as caught:
            PayoutRequest.from_text(cells)

        assert [Problem(name, "is missing") for name in NAMES[:3]] == [*caught.value.problems]

    @pytest.mark.parametrize(
        ("name", "texts"),
        [
            ("amount", "10,42 1_000 1e3 NaN Infinity 0x1 \u0661\u0660 $5 ½ .5 5. -5 0 0.00 0.001"),
            ("amount", f"{'9' * 30}.123 {'9' * 5000} 0.{'0' * 50}1"),
            ("recurring_payment_id", f"1.0 -1 1_0 0x1 \u0667 {'9' * 19} {'9' * 5000}"),
        ],
    )
    def test_no_number(self, name: str, texts: str) -> None:
        """What is not plainly a number, or too long for one, is not guessed at."""
        cells = {"client_orderid": "1", "amount": "1", "currency": "USD"}

        for text in texts.split():
            with pytest.raises(InvalidInput, match=f"^{name}: ") as caught:
                PayoutRequest.from_text(cells | {name: text})
            assert 1 == len(caught.value.problems)


class TestReceiver:
    @pytest.mark.parametrize("name", NAMES)
    def test_fingerprint(self, name: str) -> None:
        """The print changes with every field that says who gets the money, and with no other."""
        same = request().fingerprint(KEY) == request(
            **{name: fit(name)}, **PAIRS.get(name, {})
        ).fingerprint(KEY)

        assert (name in NO_RECEIVER) is same

    def test_value_and_place(self) -> None:
        """Another value, or the same value in another field, is another receiver."""
        names, values = ("account_number", "ewallet_wallet"), ("1", "2", '1", "bank_name": "2')
        receivers = [request(**{name: value}) for name in names for value in values]

        assert 6 == len({receiver.fingerprint(KEY) for receiver in receivers})

    def test_key(self) -> None:
        """The same receiver has the same print under one key, and another under another."""
        one, same = (request(account_number="1234567890", purpose=text) for text in ("a", "b"))

        assert one.fingerprint(KEY) == same.fingerprint(KEY)
        assert one.fingerprint(KEY) != same.fingerprint(KEY + b"!")

    def test_golden(self) -> None:
        """The print is HMAC-SHA-256 over sorted JSON, as in every journal that was ever written."""
        receiver = request(receiver_first_name="é", bank_bic="DEUTDEFF", account_number="12345678")
        message = (
            rb'{"account_number": "12345678", "bank_bic": "DEUTDEFF", '
            rb'"receiver_first_name": "\u00e9"}'
        )
        golden = "d14591d8fa677e73b022277ee82e05a402fd58c52de73ab15192b5527b5870f4"

        assert golden == hmac.new(KEY, message, "sha256").hexdigest()
        assert golden == receiver.fingerprint(KEY)

    @pytest.mark.parametrize(
        ("values", "hint"),
        [
            ({}, None),
            ({"account_number": "12345678"}, "5678"),
            ({"account_number": "1234567"}, None),
            ({"credit_card_number": "4444444444444448", "account_number": "12345678"}, "4448"),
            ({"credit_card_number": "1234567", "account_number": "12345678"}, None),
            ({"ewallet_wallet": "wallet-0007"}, "0007"),
            ({"crypto_wallet_address": "bc1qexample"}, "mple"),
            ({"receiver_phone": "12345678", "card_recurring_payment_id": 12345678}, None),
        ],
    )
    def test_hint(self, values: dict[str, Any], hint: str | None) -> None:
        """The hint is the last four of eight characters or more, and else nothing."""
        assert hint == request(**values).receiver_hint


class TestValue:
    def test_copies(self) -> None:
        """A request is equal to its pickles and its copies, and they hide the same."""
        payout = request(account_number="1234567890", customer_id=7)
        copies = [pickle.loads(pickle.dumps(payout, protocol)) for protocol in range(2, 6)]
        copies += [copy.copy(payout), copy.deepcopy(payout)]

        assert {payout} == set(copies)
        assert {repr(payout)} == set(map(repr, copies))

    def test_equality(self) -> None:
        """Two requests are equal when all their parameters are."""
        assert request() == request(amount=Decimal("10.420"))
        assert request() != request(purpose="x")

    def test_changes(self) -> None:
        """A checked request cannot be changed, and a changed copy is checked like a new one."""
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            request().amount = Decimal(1000)  # type: ignore[misc]
        with pytest.raises(InvalidInput, match=r"^amount: "):
            attrs.evolve(request(), amount=Decimal(-1))

    def test_enum(self) -> None:
        """An enum's member goes to the wire as the text it is, not under its own name."""

        class Currency(str, enum.Enum):  # noqa: UP042 - the kind that writes its own name
            DOLLAR = "USD"

        payout = request(currency=Currency.DOLLAR)

        assert ("currency", "USD") in list(payout.given())
        assert str is type(payout.currency)
