"""A status word says whether it is final, and a report shows nothing personal."""

import copy
import pickle
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

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

FINAL = ["approved", "declined", "filtered", "error"]
OPEN = ["processing", "unknown", "chain_declined"]
SHOWN = {
    *["type", "status", "order_stage", "paynet_order_id", "merchant_order_id", "serial_number"],
    *["by_request_sn", "transaction_type", "amount", "initial_amount", "currency", "error_code"],
}
SECRET = "hush-4929"


class TestStatus:
    @pytest.mark.parametrize("word", FINAL)
    def test_final(self, word: str) -> None:
        """Exactly the four documented words are final, in any case."""
        for written in (word, word.upper(), word.title(), f" {word}\n"):
            assert Status(written).is_final
            assert word == Status(written)
            assert Status(word) == Status(written)

    @pytest.mark.parametrize(
        "word",
        [
            *[*OPEN, "PROCESSING", "", " ", "pending"],
            *["new", "cancelled", "approve", "okay", "null"],
            *["not approved", "approved declined", "approved!"],
            *["approved\0", "app\nroved", "errors"],
        ],
    )
    def test_open(self, word: str) -> None:
        """Every other word, known or never seen, keeps asking."""
        assert not Status(word).is_final

    @given(st.text(st.characters(codec="ascii")) | st.text("ERORerro", min_size=5, max_size=5))
    def test_any_word(self, word: str) -> None:
        """A word is kept as it was written, and is final only as one of the four."""
        status = Status(word)

        assert word == status.raw
        assert (word.strip().lower() in FINAL) is status.is_final

    def test_names(self) -> None:
        """The seven documented words are at hand under their names."""
        assert FINAL == [Status.APPROVED, Status.DECLINED, Status.FILTERED, Status.ERROR]
        assert OPEN == [Status.PROCESSING, Status.UNKNOWN, Status.CHAIN_DECLINED]

    def test_copies(self) -> None:
        """A status is text, and keeps what was written through pickles and copies."""
        status = Status(" Chain_Declined")
        copies = [pickle.loads(pickle.dumps(status, protocol)) for protocol in range(2, 6)]

        for same in [*copies, copy.copy(status), copy.deepcopy(status)]:
            assert (Status, "chain_declined", " Chain_Declined") == (type(same), same, same.raw)
        assert {"chain_declined"} == {status}


class TestStatusReport:
    def test_repr(self) -> None:
        """The repr shows ids, words and amounts, and no personal data."""
        hidden = {field.name for field in attrs.fields(StatusReport)} - SHOWN - {"rest"}
        secrets: Any = dict.fromkeys(hidden, SECRET)
        plain: Any = {"type": "status-response", "amount": Decimal("10.42")}
        report = StatusReport(
            status=Status("approved"), rest={"surname": SECRET}, **plain, **secrets
        )

        assert SECRET not in repr(report)
        assert "approved" in repr(report)
        assert "10.42" in repr(report)

    @pytest.mark.parametrize("name", sorted(SHOWN))
    def test_shown(self, name: str) -> None:
        """What tells one report from another is in its repr."""
        values: Any = {"type": "a", "status": Status("b")} | {name: Status("seen")}

        assert f"{name}='seen'" in repr(StatusReport(**values))

    @pytest.mark.parametrize(
        ("written", "stage"),
        [
            ("PAYOUT_CHECK_VALIDATED", "payout_check_validated"),
            (" payout_check_validating\n", "payout_check_validating"),
            ("", ""),
            (None, ""),
        ],
    )
    def test_stage(self, written: str | None, stage: str) -> None:
        """The stage is read in lower case: tables print capitals, the wire small letters."""
        report = StatusReport(type="a", status=Status("b"), order_stage=written)

        assert stage == report.stage


@pytest.mark.parametrize(
    "answer",
    [
        NotSent("ConnectError"),
        Accepted("1", "2"),
        Refused("8", "bad card"),
        Unknown("ReadTimeout", 500),
        NotFound("101"),
        NoAnswer("an error", readable=True),
        StatusReport(type="a", status=Status("Error"), amount=Decimal(1), rest={"b": "c"}),
    ],
)
def test_answers_are_values(answer: object) -> None:
    """Every answer is an equal, hashable, picklable value."""
    same = pickle.loads(pickle.dumps(answer))

    assert answer == same
    assert {answer} == {same}
    assert repr(answer) == repr(same)
