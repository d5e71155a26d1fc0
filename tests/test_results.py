"""A results file is never half written, and no spreadsheet runs what strangers wrote into it."""

import csv
import fcntl
import json
import os
import tempfile
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from openpyxl import load_workbook

from billblend_async.batch.parser import RESULT_COLUMNS, Batch, Row, read_batch
from billblend_async.batch.results import are_results, check_ending, write_results
from billblend_async.core.models import OpenReason, Outcome, State
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import Status
from billblend_async.errors import ConfigurationError, InvalidInput
from billblend_async.reporting.export import harmless, remove_leftovers

HEADER = "client_orderid,amount,currency,account_number"
ADDED = ",".join(RESULT_COLUMNS)
LINK = "https://127.0.0.1/form/1"
FORM = "The receiver must open a link and fill in a form; the link stands in the results file."
CARD = "4929000000006"


def outcome(number: int, state: State, status: str | None = None, **values: Any) -> Outcome:
    """Tell what became of a payout of the batch."""
    word = None if status is None else Status(status)
    plain: Any = {"amount": Decimal(number), "currency": "USD", "state": state, "status": word}
    return Outcome(client_orderid=f"po-{number}", **plain | values)


def batch(*currencies: str, **more: str) -> Batch:
    """Make a batch of payouts po-1, po-2, … of 1.10, 2.10, … in these currencies."""
    rows, columns = [], (*HEADER.split(","), *more)
    for number, currency in enumerate(currencies, 1):
        cells = f"po-{number}", f"{number}.10", currency, "1234567890", *more.values()
        request = PayoutRequest.from_text(dict(zip(columns, cells, strict=True)))
        rows.append(Row(number + 1, cells, request))
    return Batch(columns, tuple(rows))


def read(path: Path, text: str) -> Batch:
    """Read a CSV file of payouts with this content."""
    (path / "payouts.csv").write_bytes(text.encode())
    return read_batch(path / "payouts.csv")


def names_in(folder: Path) -> list[str]:
    """Name the files of a folder in order."""
    return sorted(path.name for path in folder.iterdir())


class TestCsv:
    def test_columns(self, tmp_path: Path) -> None:
        """The results are the input's columns and rows in its order, and what became of each."""
        outcomes = {
            "po-2": outcome(
                2,
                State.FINAL,
                "declined",
                paynet_order_id="77",
                order_stage="payout_declined",
                error_code="8",
                error_message='no, "never"',
                explanation="line\nline",
            ),
            "po-1": outcome(
                1,
                State.AWAITING_RECEIVER,
                open_reason=OpenReason.AWAITING_RECEIVER,
                redirect_to=LINK,
            ),
        }
        write_results(tmp_path / "out.csv", batch("USD", "GBP", "EUR"), outcomes)
        with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
            written = list(csv.reader(file, strict=True))

        told = ["declined", "77", "payout_declined", "8", 'no, "never"', "line\nline", ""]
        assert [
            [*HEADER.split(","), *RESULT_COLUMNS],
            ["po-1", "1.10", "USD", "1234567890", "awaiting-receiver", *[""] * 4, FORM, LINK],
            ["po-2", "2.10", "GBP", "1234567890", *told],
            ["po-3", "3.10", "EUR", "1234567890", "unfinished", *[""] * 6],
        ] == written

    def test_masked(self, tmp_path: Path) -> None:
        """Card number, expiry and CVV are masked; the account number is kept."""
        header = f"{HEADER},credit_card_number,expire_month,expire_year,cvv2"
        rows = [
            f"po-1,1,USD,12345678, {CARD} ,12,2031,987",
            "po-2,1,USD,,,,,",
            "po-3,1,USD,,4929,,,",
        ]
        batch = read(tmp_path, "\n".join([header, *rows]))
        write_results(tmp_path / "out.csv", batch, {})
        lines = (tmp_path / "out.csv").read_bytes().decode().split("\r\n")

        assert [
            f"{header},{ADDED}",
            "po-1,1,USD,12345678,****0006,****,****,****,unfinished,,,,,,",
            "po-2,1,USD,,,,,,unfinished,,,,,,",
            "po-3,1,USD,,****,,,,unfinished,,,,,,",
            "",
        ] == lines

    def test_replaced(self, tmp_path: Path) -> None:
        """An earlier results file is replaced by the new one, and nothing else is left there."""
        path = tmp_path / "out.csv"
        path.write_text("of yesterday\n" * 1000)
        write_results(path, batch("USD"), {})

        assert [path] == list(tmp_path.iterdir())
        assert [f"{HEADER},{ADDED}", "po-1,1.10,USD,1234567890,unfinished,,,,,,"] == (
            path.read_text().splitlines()
        )

    def test_failing(self, tmp_path: Path) -> None:
        """A write that fails leaves the earlier results file whole, and no part of the new one."""
        path = tmp_path / "out.csv"
        path.write_text("of yesterday")
        good = batch("USD", "USD")
        bad = Row(4, ("po-3", "1", "USD", "half \ud800"), good.rows[0].request)

        with pytest.raises(UnicodeEncodeError):
            write_results(path, Batch(good.columns, (*good.rows, bad)), {})

        assert "of yesterday" == path.read_text()
        assert [path] == list(tmp_path.iterdir())

    def test_no_place(self, tmp_path: Path) -> None:
        """Where no file can be written, the caller learns it, and nothing is left behind."""
        with pytest.raises(FileNotFoundError):
            write_results(tmp_path / "nowhere" / "out.csv", batch("USD"), {})
        (tmp_path / "directory").mkdir()
        with pytest.raises(OSError, match="directory"):
            write_results(tmp_path / "directory", batch("USD"), {})

        assert [tmp_path / "directory"] == list(tmp_path.iterdir())

    def test_manner_of_the_input(self, tmp_path: Path) -> None:
        """Results have the delimiter of the payouts file, and a byte order mark if that had one."""
        text = f"{HEADER}\npo-1,1,USD,12345678\n".replace(",", ";")
        for mark in (b"", b"\xef\xbb\xbf"):
            (tmp_path / "payouts.csv").write_bytes(mark + text.encode())
            write_results(tmp_path / "out.csv", read_batch(tmp_path / "payouts.csv"), {})
            written = (tmp_path / "out.csv").read_bytes()

            header, row, _ = written.decode().split("\r\n")
            assert f"{HEADER},{ADDED}".replace(",", ";") == header.removeprefix("\ufeff")
            assert "po-1;1;USD;12345678;unfinished;;;;;;" == row
            assert (mark != b"", True) == (
                header.startswith("\ufeff"),
                are_results(tmp_path / "out.csv"),
            )


class TestFormulas:
    @pytest.mark.parametrize(
        ("cell", "written"),
        [
            ("=1+1", "'=1+1"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t'=1"),
            ("\r=1", "'\r'=1"),
            ("\tx", "'\tx"),
            ("no,-x", "no,'-x"),
            (" =1", "' =1"),
            ("\uff1dHYPERLINK(1)", "'\uff1dHYPERLINK(1)"),
            ("no;=1", "no;'=1"),
            ('no","=1', 'no","\'=1'),
            ("no\n@x", "no\n'@x"),
            *[(cell, cell) for cell in ("", "-", "-5", "+49 151 (0) 2345-67", "1.50", "(5)")],
            *[(cell, cell) for cell in ("a=b", "ann@example.com", "x - y", "no, never", LINK)],
        ],
    )
    def test_harmless(self, cell: str, written: str) -> None:
        """What a spreadsheet would calculate gets an apostrophe; numbers and words get none."""
        assert written == harmless(cell)

    def test_everywhere(self, tmp_path: Path) -> None:
        """Cells of the input and words of the gateway are both made harmless in CSV."""
        told = {"po-1": outcome(1, State.FINAL, "declined", error_message="=HYPERLINK(0)")}
        write_results(tmp_path / "out.csv", batch("USD", purpose="@x", account_name="+cmd"), told)
        with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
            [row] = csv.DictReader(file)

        assert ("'@x", "'+cmd", "'=HYPERLINK(0)") == (
            row["purpose"],
            row["account_name"],
            row["error_message"],
        )
        assert "1234567890" == row["account_number"]


class TestOtherForms:
    def test_json_lines(self, tmp_path: Path) -> None:
        """A path that ends in .jsonl gets one object per row, every value as text."""
        told = {"po-2": outcome(2, State.FINAL, "approved", paynet_order_id="77")}
        write_results(tmp_path / "out.jsonl", batch("USD", "EUR", purpose="=ä\n"), told)
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]

        assert [*HEADER.split(","), "purpose", *RESULT_COLUMNS] == list(rows[0])
        assert ("2.10", "=ä\n", "approved", "77") == tuple(
            rows[1][name] for name in ("amount", "purpose", "status", "paynet_order_id")
        )
        assert are_results(tmp_path / "out.jsonl")

    def test_workbook(self, tmp_path: Path) -> None:
        """A path that ends in .xlsx gets a workbook in which every cell is text."""
        texts = {"purpose": "=1+1", "account_name": "+cmd", "merchant_data": "a\nb\x07"}
        told = {"po-1": outcome(1, State.FINAL, "error", error_message="#N/A")}
        write_results(tmp_path / "out.xlsx", batch("USD", **texts), told)
        book = load_workbook(tmp_path / "out.xlsx")
        header, row = book.worksheets[0].iter_rows()
        cells = {name.value: cell for name, cell in zip(header, row, strict=True)}

        assert [*HEADER.split(","), *texts, *RESULT_COLUMNS] == list(cells)
        assert {"s"} == {cell.data_type for cell in cells.values() if cell.value is not None}
        assert ("1234567890", "=1+1", "+cmd", "a\nb\ufffd", "#N/A") == tuple(
            cells[name].value for name in ("account_number", *texts, "error_message")
        )
        assert are_results(tmp_path / "out.xlsx")
        book.close()

    def test_long_text_in_a_workbook(self, tmp_path: Path) -> None:
        """A text that a workbook cannot hold says that it was shortened."""
        write_results(tmp_path / "out.xlsx", batch("USD", merchant_data="x" * 40_000), {})
        rows: Any = load_workbook(tmp_path / "out.xlsx").worksheets[0].values
        [_, row] = rows

        assert 32_767 == len(row[4])
        assert row[4].endswith("x… (shortened)")

    @pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.xlsx"])
    def test_read_back(self, tmp_path: Path, name: str) -> None:
        """Results of any form are refused as a payouts file, so nobody is paid from them."""
        write_results(tmp_path / name, batch("USD"), {})
        with pytest.raises(InvalidInput, match="header: these are the results of an earlier run"):
            read_batch(tmp_path / name)

    @pytest.mark.parametrize("name", ["out.xls", "out.ODS", "out.json"])
    def test_misleading_name(self, tmp_path: Path, name: str) -> None:
        """A path that promises another form is refused."""
        with pytest.raises(ConfigurationError, match="let it end in"):
            check_ending(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "are"),
    [
        (b"", True),
        (f"{HEADER},{ADDED}\r\npo-1".encode(), True),
        (f"\ufeff{HEADER};{ADDED}\n".replace(",", ";").encode(), True),
        (f"{HEADER}\n{ADDED}".encode(), False),
        (f"{ADDED},x".encode(), False),
        (b"PK\x03\x04 broken", False),
        (b"{broken", False),
        (b"\n", False),
        (b"\r\nmy diary\r\n", False),
        (b"[" * 10_000, False),
        (b"\xff\x00", False),
    ],
)
def test_are_results(tmp_path: Path, content: bytes, *, are: bool) -> None:
    """Only an empty file, or one whose last columns are those of results, may be replaced."""
    (tmp_path / "out").write_bytes(content)

    assert are is are_results(tmp_path / "out")


class TestLeftovers:
    def test_killed_runs(self, tmp_path: Path) -> None:
        """What killed runs left is removed; other files and what is being written stay."""
        names = [".out.csv.abcd_123.part", ".out.csv.x.abcd_123.part", ".out.csv.part", "out.csv"]
        for name in names:
            (tmp_path / name).write_text("x")
        remove_leftovers(tmp_path / "out.csv")

        assert sorted(names[1:]) == names_in(tmp_path)

    def test_being_written(self, tmp_path: Path) -> None:
        """A file that another run is writing is left to it."""

        @attrs.define
        class Watched(Mapping[str, Outcome]):
            """Outcomes that look around while they are written down."""

            seen: list[str] = attrs.field(factory=list)

            def __getitem__(self, name: str) -> Outcome:
                remove_leftovers(tmp_path / "out.csv")
                self.seen += names_in(tmp_path)
                raise KeyError(name)

            def __iter__(self) -> Any:
                return iter(())

            def __len__(self) -> int:
                return 0

        watched = Watched()
        write_results(tmp_path / "out.csv", batch("USD"), watched)

        assert [1, "out.csv"] == [len(watched.seen), *names_in(tmp_path)]
        assert watched.seen[0].endswith(".part")

    @pytest.mark.parametrize("is_held", [True, False])
    def test_taken_for_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_held: bool
    ) -> None:
        """What another run takes for a leftover before it is held is made again, and written."""
        made, make = list[str](), tempfile.mkstemp
        held: list[int] = []

        def taken(**words: Any) -> tuple[int, str]:
            handle, name = make(**words)
            made.append(name)
            if len(made) == 1 and is_held:  # it is about to be removed
                held.append(os.open(name, os.O_RDWR))
                fcntl.flock(held[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            elif len(made) == 1:
                remove_leftovers(tmp_path / "out.csv")
            return handle, name

        monkeypatch.setattr(tempfile, "mkstemp", taken)
        write_results(tmp_path / "out.csv", batch("USD"), {})
        for other in held:
            os.close(other)

        assert 2 == len(made)
        assert ["out.csv"] == names_in(tmp_path)
        assert "unfinished" in (tmp_path / "out.csv").read_text()
