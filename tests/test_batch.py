"""A file of payouts is taken whole or not at all, and its results are never half written."""

import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billblend_async.batch.parser import RESULT_COLUMNS, Batch, Row, read_batch
from billblend_async.batch.results import exit_status, totals
from billblend_async.core.models import Alarm, Doubt, OpenReason, Outcome, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import Status
from billblend_async.errors import InvalidInput, PayoutConflict
from billblend_async.reporting.projection import Total, told_status

HEADER = "client_orderid,amount,currency,account_number"
SECRET = "hush-4929"
CARD = "4929000000006"


def read(path: Path, text: str | bytes) -> Batch:
    """Read a file of payouts with this content."""
    path /= "payouts.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_batch(path)


def problems(path: Path, text: str | bytes | None) -> list[str]:
    """Gather what is wrong with a file, once it is sure that no value of it is shown."""
    with pytest.raises(InvalidInput) as caught:
        read_batch(path) if text is None else read(path, text)
    error = caught.value
    ours = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename != __file__
    ]
    shown = "".join([str(error), repr(error), *traceback.format_exception(error), repr(ours)])
    assert (False, False) == (SECRET in shown, CARD in shown)
    assert error.__context__ is None
    return [str(problem).replace(str(path), "DIR") for problem in error.problems]


def outcome(number: int, state: State, status: str | None = None, **values: Any) -> Outcome:
    """Tell what became of a payout of the batch."""
    word = None if status is None else Status(status)
    plain: Any = {"amount": Decimal(number), "currency": "USD", "state": state, "status": word}
    return Outcome(client_orderid=f"po-{number}", **plain | values)


def batch(*currencies: str) -> Batch:
    """Make a batch of payouts po-1, po-2, … of 1.10, 2.10, … in these currencies."""
    rows = []
    for number, currency in enumerate(currencies, 1):
        cells = f"po-{number}", f"{number}.10", currency, "1234567890"
        columns = HEADER.split(",")
        request = PayoutRequest.from_text(dict(zip(columns, cells, strict=True)))
        rows.append(Row(number + 1, cells, request))
    return Batch(tuple(HEADER.split(",")), tuple(rows))


class TestReading:
    def test_good(self, tmp_path: Path) -> None:
        """Each row becomes the payout that it says, with its line and its cells as they stand."""
        text = f"{HEADER}\npo-1,10.42,USD,1234567890\n po-2 ,5,JPY,\n"
        batch = read(tmp_path, text)

        assert tuple(HEADER.split(",")) == batch.columns
        assert [2, 3] == [row.line for row in batch.rows]
        assert (" po-2 ", "5", "JPY", "") == batch.rows[1].cells
        assert (
            PayoutRequest(
                client_orderid="po-1",
                amount=Decimal("10.42"),
                currency="USD",
                account_number="1234567890",
            )
            == batch.rows[0].request
        )
        assert batch.rows[1].request.account_number is None

    @pytest.mark.parametrize(
        "text",
        [
            f"{HEADER}\npo-1,1,USD,12345678\n",
            f"{HEADER}\npo-1,1,USD,12345678",
            f"{HEADER}\r\npo-1,1,USD,12345678\r\n",
            f"{HEADER}\rpo-1,1,USD,12345678\r",
            f"\n{HEADER}\n\n,,,\npo-1,1,USD,12345678\n\n",
            f"\ufeff{HEADER}\npo-1,1,USD,12345678\n",
            f"{HEADER}\npo-1,1,USD,12345678\n".replace(",", ";"),
            f"{HEADER}\r\npo-1,1,USD,12345678\r\n".replace(",", "\t"),
            f"\n;;;\n{HEADER}\npo-1,1,USD,12345678\n".replace(",", ";"),
            f"\ufeff{HEADER}\npo-1,1,USD,12345678\n".encode("utf-16-le"),
            f"{HEADER}\npo-1,1,USD,12345678\n".replace(",", "\t").encode("utf-16"),
            f"\ufeff{HEADER}\npo-1,1,USD,12345678\n".encode("utf-16-be"),
            '"client_orderid", amount ,currency,account_number\n"po-1","1",USD,"12345678"\n',
            "account_number,currency,amount,client_orderid\n12345678,USD,1,po-1\n",
        ],
    )
    def test_same_payout(self, tmp_path: Path, text: str | bytes) -> None:
        """Delimiter, BOM, encoding, line ends, blank lines, quotes and order make no difference."""
        request = PayoutRequest(
            client_orderid="po-1", amount=Decimal(1), currency="USD", account_number="12345678"
        )

        assert [request] == [row.request for row in read(tmp_path, text).rows]

    def test_quotes(self, tmp_path: Path) -> None:
        """Quoted commas, quotes and line ends belong to their cell, and lines are still counted."""
        header = "client_orderid,amount,currency,merchant_data"
        text = f'{header}\n"po,1",1,USD,"a ""b""\r\nc\nd"\npo-2,1,USD,\n'
        rows = read(tmp_path, text).rows

        assert ("po,1", 'a "b"\r\nc\nd') == (
            rows[0].request.client_orderid,
            rows[0].request.merchant_data,
        )
        assert [4, 5] == [row.line for row in rows]

    def test_aliases(self, tmp_path: Path) -> None:
        """A column may have the documented alias of its parameter, or its hyphens."""
        header = "client_orderid,amount,currency,first_name,country,recurring-payment-id"
        request = read(tmp_path, f"{header}\npo-1,1,USD,Ann,USA,7\n").rows[0].request

        assert ("Ann", "USA", 7) == (
            request.receiver_first_name,
            request.receiver_country_code,
            request.recurring_payment_id,
        )

    def test_repr(self, tmp_path: Path) -> None:
        """A batch shows no cell of a receiver."""
        header = "client_orderid,amount,currency,account_number,credit_card_number"
        batch = read(tmp_path, f"{header}\npo-1,1,USD,{SECRET},{CARD}\n")

        assert (False, False) == (SECRET in repr(batch), CARD in repr(batch))


class TestRefusing:
    def test_every_line_and_field(self, tmp_path: Path) -> None:
        """Every wrong line and field is named at once, and no value is shown."""
        text = "\n".join(
            [
                f"{HEADER},cvv2,receiver_email",
                f"po-1,1,USD,{SECRET},,",
                f",{SECRET},usd,{SECRET},{SECRET},{SECRET}",
                f'po-2,1,USD,"{SECRET}\n{SECRET}",,',
                f"po-3,1,USD,{CARD}",
                f"po-4,1,USD,{CARD},,,",
                f"po-1,2,EUR,{CARD},,",
                "po-5,1.5,JPY,,123,",
            ]
        )

        assert [
            "line 3, client_orderid: is missing",
            "line 3, amount: must be a plain number such as 10.42, with a point and no comma",
            "line 3, currency: must be a currency code of three capital letters",
            "line 3, cvv2: must have 3 to 4 characters, not 9",
            "line 5, account_number: holds control characters or line breaks",
            "line 6: has 4 cells, but the header has 6",
            "line 7: has 7 cells, but the header has 6; put a cell that holds a comma in quotes",
            "line 8, client_orderid: is the same as on line 2",
            "line 9, amount: has more decimals than JPY, which has 0",
        ] == problems(tmp_path, text)

    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            ("amount,iban,currency,", ["iban: is no", "(without a name): is no"]),
            ("amount,Currency,currency", ["Currency: is no"]),
            ("amount,currency,amount", ["amount: is there twice", "amount: is there twice"]),
            ("city,receiver_city", ["city: is there twice", "receiver_city: is there twice"]),
            (f"amount,{CARD}", ["****0006: is no"]),
        ],
    )
    def test_columns(self, tmp_path: Path, header: str, expected: list[str]) -> None:
        """A column that is no parameter, or is there twice, is named beside what rows are wrong."""
        missing, *told, row = problems(tmp_path, f"{header}\n{SECRET}\n")

        assert missing.startswith("header: has no column client_orderid")
        assert row.startswith("line 2: has 1 cells")

        assert [f"column {problem}" for problem in expected] == [
            problem[: len(f"column {start}")] for problem, start in zip(told, expected, strict=True)
        ]

    @pytest.mark.parametrize("row", [f"po-1,1,USD,{CARD}", f"{SECRET};1;USD", SECRET])
    def test_no_header(self, tmp_path: Path, row: str) -> None:
        """A file without a header is refused without repeating its first payout."""
        expected = ["header: the first line names no parameter of a payout"]

        assert expected == problems(tmp_path, f"{row}\n{row}\n")

    def test_columns_and_rows(self, tmp_path: Path) -> None:
        """What is wrong with columns hides nothing of what is wrong with rows."""
        text = f"client_orderid,amount,iban,cvv2\npo-1,1,x,12\npo-1,{SECRET},x,123\n"

        assert [
            "header: has no column currency",
            "column iban: is no parameter of a payout",
            "line 2, cvv2: must have 3 to 4 characters, not 2",
            "line 3, client_orderid: is the same as on line 2",
            "line 3, amount: must be a plain number such as 10.42, with a point and no comma",
        ] == problems(tmp_path, text)

    def test_results_again(self, tmp_path: Path) -> None:
        """Results that are given as a payouts file are refused, whatever they hold."""
        told = "these are the results of an earlier run; give its payouts file instead"
        header = f"{HEADER},{','.join(RESULT_COLUMNS)}"

        for row in ("", "po-1,1,USD,12345678,approved,7,,,,,\n", f"{SECRET}\n"):
            assert [f"header: {told}"] == problems(tmp_path, f"{header}\n{row}")

    def test_column_that_is_a_command(self, tmp_path: Path) -> None:
        """A column's name is shown so that it cannot command the terminal, and in short."""
        told = problems(tmp_path, f"{HEADER},\x1b[2J,{'x' * 99}\npo-1,1,USD,12345678,,\n")

        assert [
            r"column \x1b[2J: is no parameter of a payout",
            f"column {'x' * 40}…: is no parameter of a payout",
        ] == told

    def test_numbers_made_floats(self, tmp_path: Path) -> None:
        """A number that a program wrote as one to calculate with is refused, but not an amount."""
        told = problems(tmp_path, f"{HEADER}\npo-1,12345.0,USD,1234567890.0\n")

        assert [
            "line 2, account_number: ends in .0, as if it were an amount; write it as text"
        ] == (told)

    @pytest.mark.parametrize("name", ["@acme-1", "=1+x", "+a", "-a", "a;-b", "\uff1dx"])
    def test_id_that_is_calculated(self, tmp_path: Path, name: str) -> None:
        """An id that results would write with an apostrophe is refused: it would be another one."""
        [problem] = problems(tmp_path, f"{HEADER}\n{name},1,USD,1\n-12,1,USD,1\npo-@1,1,USD,1")

        assert problem.startswith("line 2, client_orderid: has a part that a spreadsheet takes for")

    def test_missing_columns(self, tmp_path: Path) -> None:
        """A column that every payout needs is missed once, and not in each row."""
        assert ["header: has no column client_orderid and no column currency"] == problems(
            tmp_path, "amount,city\n1,x\n2,y\n"
        )

    def test_shortened_numbers(self, tmp_path: Path) -> None:
        """A number whose digits a spreadsheet has dropped is refused."""
        header = "client_orderid,amount,currency,account_number"

        assert ["line 3, account_number: was shortened by a spreadsheet; format it as text"] == (
            problems(tmp_path, f"{header}\npo-1,1,USD,12345E1\npo-2,1,USD,1.23457E+15\n")
        )

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("", "the file is empty"),
            ("\ufeff", "the file is empty"),
            ("\n\n,,\n", "the file is empty"),
            (HEADER, "the file has a header and no payouts"),
            (f"{HEADER}\n\n,,,\n", "the file has a header and no payouts"),
            (
                f"{HEADER}\npo-1,1,USD,{SECRET}\n".encode("utf-16-le"),
                "is not UTF-8; save it as CSV UTF-8",
            ),
            (
                f"{HEADER}\npo-1,1,USD,{SECRET}\n".encode("utf-16")[:-1],
                "is not UTF-16; save it as CSV UTF-8",
            ),
            (HEADER.encode() + b"\n\xff" + SECRET.encode(), "is not UTF-8; save it as CSV UTF-8"),
            (f'{HEADER}\npo-1,1,USD,"{SECRET}', "line 2 is no CSV: unexpected end of data"),
            (f'{HEADER}\npo-1,1,USD,"a"{SECRET}\n', "line 2 is no CSV: ',' expected after '\"'"),
            (
                f"{HEADER}\npo-1,1,USD,{SECRET * 20000}",
                "line 2 is no CSV: field larger than field limit (131072)",
            ),
        ],
    )
    def test_no_file_of_payouts(self, tmp_path: Path, content: str | bytes, problem: str) -> None:
        """What is no CSV file of payouts in UTF-8 is refused with its reason."""
        assert [f"DIR/payouts.csv: {problem}"] == problems(tmp_path, content)

    def test_no_file(self, tmp_path: Path) -> None:
        """A file that is not there, or is a directory, is bad input too."""
        expected = ["DIR: cannot be read: No such file or directory"]

        assert expected == problems(tmp_path / "nothing.csv", None)
        assert ["DIR: cannot be read: Is a directory"] == problems(tmp_path, None)


class TestTelling:
    @pytest.mark.parametrize(
        ("told", "word", "status"),
        [
            (outcome(1, State.FINAL, "Approved"), "approved", 0),
            (outcome(1, State.FINAL, "declined"), "declined", 1),
            (outcome(1, State.FINAL, "filtered"), "filtered", 1),
            (outcome(1, State.FINAL, "error"), "error", 2),
            (outcome(1, State.REJECTED), "rejected", 1),
            (outcome(1, State.WITHDRAWN), "withdrawn", 1),
            (outcome(1, State.CLOSED), "closed", 1),
            (outcome(1, State.FINAL, "approved", alarms=(Alarm.AMOUNT_DIFFERS,)), "approved", 2),
            (outcome(1, State.ATTENTION, doubt=Doubt.PAY_UNCONFIRMED), "attention", 2),
            *[
                (outcome(1, state), "unfinished", 2)
                for state in State
                if not state.is_terminal and state is not State.ATTENTION
            ],
            (outcome(1, State.PAYING, "approved"), "unfinished", 2),
            *[
                (outcome(1, State.VALIDATED, open_reason=reason), reason.value, 2)
                for reason in (OpenReason.AWAITING_APPROVAL, OpenReason.AWAITING_RECEIVER)
            ],
            (outcome(1, State.NEW, problem=PayoutConflict("po-1", ("amount",))), "conflict", 2),
            (outcome(1, State.FINAL, "approved", problem=PayoutConflict("", ("",))), "conflict", 2),
            (None, "unfinished", 2),
        ],
    )
    def test_word_and_exit_status(self, told: Outcome | None, word: str, status: int) -> None:
        """Each end has one word, and makes the whole run good, partly refused or unfinished."""
        outcomes = {} if told is None else {"po-1": told}

        assert word == told_status(told)
        assert status == exit_status(batch("USD"), outcomes)
        waits = told is not None and told.open_reason is OpenReason.AWAITING_APPROVAL
        assert (0 if waits else status) == exit_status(batch("USD"), outcomes, check_only=True)

    @pytest.mark.parametrize(
        ("ends", "status"),
        [("", 0), ("a", 0), ("aa", 0), ("ad", 1), ("da", 1), ("au", 2), ("du", 2), ("ud", 2)],
    )
    def test_worst_counts(self, ends: str, status: int) -> None:
        """One payout that is not approved makes it 1, one that is not finished makes it 2."""
        states = {
            "a": (State.FINAL, "approved"),
            "d": (State.FINAL, "declined"),
            "u": (State.VALIDATING, None),
        }
        outcomes = {f"po-{n}": outcome(n, *states[end]) for n, end in enumerate(ends, 1)}

        assert status == exit_status(batch(*["USD"] * len(ends)), outcomes)

    def test_totals(self) -> None:
        """Counts and sums are kept apart per status and currency, exactly."""
        outcomes = {
            "po-1": outcome(1, State.FINAL, "approved"),
            "po-2": outcome(2, State.FINAL, "approved"),
            "po-3": outcome(3, State.FINAL, "approved"),
            "po-4": outcome(4, State.FINAL, "declined"),
        }

        assert [
            Total("approved", "EUR", 1, Decimal("3.10")),
            Total("approved", "USD", 2, Decimal("3.20")),
            Total("declined", "USD", 1, Decimal("4.10")),
            Total("unfinished", "USD", 1, Decimal("5.10")),
        ] == totals(batch("USD", "USD", "EUR", "USD", "USD"), outcomes)
