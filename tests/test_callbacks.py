"""What the gateway has signed verifies, however it is written; whatever was edited does not."""

import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from callers import SIGNED, callback_fields, query_of, shifts
from fakes import MERCHANT_CONTROL
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from leaks import CONTROL, leaks, told_by

from billblend_async.core.responses import Callback, Status
from billblend_async.errors import VerificationFailed
from billblend_async.gateway.callbacks import (
    LONGEST_QUERY,
    FinalRedirect,
    read_final_redirect,
    verify_callback,
)

LIVE = [MERCHANT_CONTROL]
FORMER = "0A1B2C3D-0000-4444-8888-CCCCDDDDEEEE"
READERS = [verify_callback, read_final_redirect]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
statuses = st.sampled_from(["approved", "declined", "filtered", "error", "unknown", "Approved"])
orders = st.integers(1, 10**12).map(str)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
chances = st.integers(0, 2**32).map(random.Random)
extras = st.dictionaries(
    texts.filter(lambda name: name not in {*SIGNED, "merchant_order", "type", "control"}),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    max_size=4,
)


def refused(query: str | bytes, live: Any = LIVE) -> bool:
    """Tell whether both readers refuse a text; they must agree."""
    ends = []
    for read in READERS:
        try:
            read(query, live)
        except VerificationFailed:
            ends.append(True)
        else:
            ends.append(False)
    assert ends[0] is ends[1]
    return ends[0]


def written(fields: dict[str, str], chance: random.Random) -> bytes:
    """Write fields in any order, each byte escaped or not, in capitals or small letters."""

    def octet(value: int) -> bytes:
        plain = bytes([value])
        if plain == b" " and chance.random() < 0.5:
            return b"+"
        if plain in b"&=+%#" or chance.random() < 0.4:
            return chance.choice([b"%%%02x", b"%%%02X"]) % value
        return plain

    def escape(text: str) -> bytes:
        return b"".join(octet(value) for value in text.encode())

    pairs = [escape(name) + b"=" + escape(text) for name, text in fields.items()]
    chance.shuffle(pairs)
    return b"&".join(pairs)


class TestVectors:
    @pytest.mark.parametrize(
        ("signed", "secret", "made"),
        [
            (
                ("approved", "1234567", "hf-abc"),
                "test-merchant-control",
                "652ace404c4dfe8bba069ecee594ec23a89340e1",
            ),
            (
                ("approved", "123", "invoice-1"),
                "AF4B5DE6-3468-424C-A922-C1DAD7CB4509",
                "5bc8ee48f9ba37c0fd1e0b052a9bc105c6df87e1",
            ),
        ],
    )
    def test_published(self, signed: tuple[str, str, str], secret: str, made: str) -> None:
        """The two published callbacks verify, their control in small or capital letters."""
        for spelled in (made, made.upper()):
            query = query_of({**dict(zip(SIGNED, signed, strict=True)), "control": spelled})
            callback = verify_callback(query, [secret])
            told = (callback.status, callback.paynet_order_id, callback.client_orderid)
            assert signed == told
            assert callback.transaction_type is None

    @pytest.mark.parametrize("read", READERS)
    @pytest.mark.parametrize("names", [SIGNED, (), ("status",), ("orderid", "client_orderid")])
    def test_empty(self, read: Callable[..., Any], names: tuple[str, ...]) -> None:
        """The empty callback is refused although its control is a valid hash."""
        made = "1a66987ac24e927ff2979f83a41cb818936a9e62"
        assert made == hashlib.sha1(b"test-merchant-control").hexdigest()
        with pytest.raises(VerificationFailed):
            read(query_of({**dict.fromkeys(names, ""), "control": made}), ["test-merchant-control"])


class TestGenuine:
    @given(statuses, orders, names, extras, chances)
    def test_however_written(
        self, status: str, order: str, name: str, extra: dict[str, str], chance: random.Random
    ) -> None:
        """A genuine callback verifies in any order, escaped in any way, with any other fields."""
        fields = callback_fields(status, order, name, **extra)
        expected = Callback(
            status=Status(status),
            paynet_order_id=order,
            client_orderid=name,
            transaction_type="payout",
        )
        assert expected == verify_callback(written(fields, chance), LIVE)
        assert expected == verify_callback(query_of(fields), LIVE)

    @pytest.mark.parametrize(
        "named",
        [("client_orderid",), ("merchant_order",), ("client_orderid", "merchant_order")],
    )
    def test_names_of_our_id(self, named: tuple[str, ...]) -> None:
        """Our id may be called client_orderid, merchant_order, or both with the same value."""
        fields = callback_fields()
        for left_out in {"client_orderid", "merchant_order"} - set(named):
            for without in ({}, {left_out: ""}):
                told = {**fields, **without}
                if not without:
                    del told[left_out]
                assert "po-1" == verify_callback(query_of(told), LIVE).client_orderid
        assert "po-1" == read_final_redirect(query_of(fields), LIVE).client_orderid

    def test_two_ids_of_ours(self) -> None:
        """A callback whose two names for our id differ is refused."""
        assert refused(query_of(callback_fields(merchant_order="po-2")))

    @pytest.mark.parametrize(
        ("kind", "is_later"),
        [("payout", False), ("", False), ("Reversal", True), ("chargeback", True)],
    )
    def test_type(self, kind: str, is_later: bool) -> None:  # noqa: FBT001 - parametrised
        """The type tells whether it is about a later transaction; an empty one is none."""
        callback = verify_callback(query_of(callback_fields(type=kind)), LIVE)
        assert (is_later, kind or None) == (
            callback.is_later_transaction,
            callback.transaction_type,
        )


class TestForged:
    @given(st.sampled_from([*SIGNED, "control"]), texts)
    def test_single_edits(self, name: str, text: str) -> None:
        """A callback with one signed field or the control edited is refused."""
        fields = callback_fields()
        assume(text.lower() != fields[name].lower())
        edited = {**fields, name: text}
        if name == "client_orderid":
            edited["merchant_order"] = text
        assert refused(query_of(edited))
        assert refused(query_of({**fields, name: fields[name] + text}))

    @pytest.mark.parametrize("name", [*SIGNED, "control"])
    def test_missing_and_empty(self, name: str) -> None:
        """A callback that leaves out something signed, or leaves it empty, is refused."""
        fields = callback_fields()
        if name == "client_orderid":
            del fields["merchant_order"]
        assert refused(query_of({**fields, name: ""}))
        del fields[name]
        assert refused(query_of(fields))

    @settings(deadline=None)
    @given(statuses, orders, names)
    def test_shifted_joints(self, status: str, order: str, name: str) -> None:
        """Of all shifted joints only digits moved between the two ids still verify."""
        for fields in shifts(callback_fields(status, order, name[:12])):
            if not refused(query_of(fields)):
                assert status == fields["status"]
                assert {fields["orderid"], fields["client_orderid"]}.isdisjoint({order, name[:12]})

    @given(texts, texts, texts, texts)
    def test_random(self, status: str, order: str, name: str, made: str) -> None:
        """A callback that was made up is refused."""
        fields: dict[str, str] = dict(
            zip((*SIGNED, "control"), (status, order, name, made), strict=True)
        )
        assert refused(query_of(fields))

    def test_too_many_fields(self) -> None:
        """A callback of many more fields than are documented is not even read."""
        query = query_of(callback_fields())
        assert not refused("&".join([query, *(f"x{n}=" for n in range(150))]))
        assert refused("&".join([query, *(f"x{n}=" for n in range(300))]))

    @given(st.binary(max_size=200))
    def test_noise(self, octets: bytes) -> None:
        """Bytes that mean nothing are refused and break nothing."""
        assert refused(octets)

    @pytest.mark.parametrize("name", [*SIGNED, "merchant_order", "type", "control", "amount"])
    def test_twice(self, name: str) -> None:
        """A callback that says anything twice is refused, also the same and also escaped."""
        query = query_of(callback_fields())
        text = callback_fields()[name]
        assert refused(f"{query}&{name}={text}")
        assert refused(f"{query}&%{ord(name[0]):02x}{name[1:]}={text}")
        assert refused(f"{name}=&{query}")

    @pytest.mark.parametrize("order", ["69 82864", "6982864x", "-1", "1e3", "٤٥", "²", "0x1F"])
    def test_order_ids(self, order: str) -> None:
        """An order id that is not all ASCII digits is refused although it is signed."""
        assert refused(query_of(callback_fields(order=order)))

    @pytest.mark.parametrize("status", ["approved6", "approved6982864po", "9", "٤", " approved"])
    def test_status_that_is_no_word(self, status: str) -> None:
        """A status with digits is refused although it is signed: they may be the order id's."""
        assert refused(query_of(callback_fields(status)))

    @pytest.mark.parametrize(
        "fields",
        [
            callback_fields("x" * 33),
            callback_fields(order="1" * 33),
            callback_fields(client_orderid="x" * 129),
            callback_fields(type="x" * 33),
            callback_fields(merchantdata="x" * LONGEST_QUERY),
        ],
        ids=["status", "orderid", "client_orderid", "type", "whole"],
    )
    def test_too_long(self, fields: dict[str, str]) -> None:
        """What is longer than it can be is refused, signed or not."""
        assert refused(query_of(fields))

    def test_as_long_as_it_can_be(self) -> None:
        """A callback with 64 KiB of merchant data, each byte escaped, verifies."""
        fields = callback_fields("x" * 32, "1" * 32, "ü" * 128, type="x" * 32)
        query = query_of(fields) + "&merchantdata=" + "%26" * 65536
        assert len(query) < LONGEST_QUERY
        assert "ü" * 128 == verify_callback(query, LIVE).client_orderid

    @pytest.mark.parametrize("bad", ["%", "%1", "%zz", "%ff", "%ed%a0%80", "%c0%af", "\udc80"])
    def test_badly_encoded(self, bad: str) -> None:
        """Escapes that are none and bytes that are no UTF-8 are refused anywhere."""
        query = query_of(callback_fields())
        assert refused(f"{query}&descriptor={bad}")
        assert refused(f"{query}&{bad}=1")
        assert refused(query.replace("po-1", f"po-1{bad}"))

    @pytest.mark.parametrize("cut", ["", "&", "status", "=", "status=approved&"])
    def test_no_form(self, cut: str) -> None:
        """What is no form data is refused."""
        assert refused(cut)


class TestRotation:
    @pytest.mark.parametrize("secret", [MERCHANT_CONTROL, FORMER])
    def test_two_live(self, secret: str) -> None:
        """While one control replaces another, callbacks of both verify."""
        query = query_of(callback_fields(secret=secret))
        assert "po-1" == verify_callback(query, [MERCHANT_CONTROL, FORMER]).client_orderid
        assert "po-1" == verify_callback(query, iter([FORMER, MERCHANT_CONTROL])).client_orderid

    def test_retired(self) -> None:
        """A callback of a control that is retired is refused."""
        assert refused(query_of(callback_fields(secret=FORMER)))

    @pytest.mark.parametrize("live", [[], [""]])
    def test_none_live(self, live: list[str]) -> None:
        """Without a control nothing verifies, not even what is signed with nothing."""
        assert refused(query_of(callback_fields(secret="")), live)

    def test_one_text(self) -> None:
        """A control that is handed in alone is one secret, and not one for each character."""
        assert not refused(query_of(callback_fields()), MERCHANT_CONTROL)
        for letter in set(MERCHANT_CONTROL):
            assert refused(query_of(callback_fields(secret=letter)), MERCHANT_CONTROL)


class TestSecrets:
    @pytest.mark.parametrize("read", READERS)
    @pytest.mark.parametrize(
        "edit",
        [
            {"status": "zqstatus"},
            {"orderid": "zq-order"},
            {"merchant_order": "zq-other"},
            {"control": "zq" * 20},
            {"status": "zq" * 40},
            {"zqname": "x" * LONGEST_QUERY},
        ],
        ids=["status", "orderid", "names", "control", "long", "longest"],
    )
    def test_refusals(self, read: Callable[..., Any], edit: dict[str, str]) -> None:
        """A refusal tells no value, and no frame of ours that it passes holds query or control."""
        fields = {**callback_fields(name="zq-Ludwiga", secret=CONTROL), **edit}
        with pytest.raises(VerificationFailed) as caught:
            read(query_of(fields), [CONTROL])
        told = told_by(caught.value)
        assert b"zq" not in told
        assert b"po-1" not in told
        assert [] == leaks({"error": told}, ["merchant_control"])

    @pytest.mark.parametrize("bad", ["zqLudwiga", "zq=%zz", "zq=%ff", "zq=1&zq=2"])
    def test_unreadable(self, bad: str) -> None:
        """A refusal of what cannot be read tells nothing of it."""
        with pytest.raises(VerificationFailed) as caught:
            verify_callback(bad, [CONTROL])
        assert b"zq" not in told_by(caught.value)
        assert [] == leaks({"error": told_by(caught.value)}, ["merchant_control"])

    def test_reprs(self) -> None:
        """What was read shows the ids and the status, and neither a name nor the gateway's text."""
        fields = callback_fields(name="zq-Ludwiga", error_message="zq-no money")
        shown = [repr(read(query_of(fields), LIVE)) for read in READERS]
        assert all("po-1" in text and "zq" not in text for text in shown)
        assert all(fields["control"] not in text for text in shown)


class TestFinalRedirect:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({}, None),
            ({"error_message": ""}, None),
            ({"error_message": "null"}, None),
            ({"error_message": "Declined by the bank"}, "Declined by the bank"),
        ],
    )
    def test_error_message(self, fields: dict[str, str], message: str | None) -> None:
        """An error message that is empty or the documented "null" is none."""
        told = read_final_redirect(query_of(callback_fields("declined", **fields)), LIVE)
        assert (
            FinalRedirect(
                status=Status("declined"),
                paynet_order_id="6982864",
                client_orderid="po-1",
                error_message=message,
            )
            == told
        )

    @given(statuses, orders, names, extras, chances)
    def test_however_written(
        self, status: str, order: str, name: str, extra: dict[str, str], chance: random.Random
    ) -> None:
        """A genuine redirect is read in any order, escaped in any way, with any other fields."""
        body = written(callback_fields(status, order, name, **extra), chance)
        told = read_final_redirect(body, LIVE)
        expected = (Status(status), order, name)
        assert expected == (told.status, told.paynet_order_id, told.client_orderid)

    def test_decides_nothing(self) -> None:
        """What a browser has brought is no callback, so no orchestrator takes it in."""
        told = read_final_redirect(query_of(callback_fields()), LIVE)
        assert not isinstance(told, Callback)
        assert not hasattr(told, "transaction_type")
