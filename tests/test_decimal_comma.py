"""Commas begin decimals where a person says so, for every command that reads the same file."""

import argparse
import ast
import asyncio
import json
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from command_words import PARSERS
from desk import ROOT, Desk, ended, open_desk
from openpyxl import Workbook

from billblend_async.batch.parser import read_batch
from billblend_async.batch.preflight import Limits, add_limits, limits_of
from billblend_async.cli.options import add_reading
from billblend_async.core.descriptions import misread, with_point
from billblend_async.errors import InvalidInput
from billblend_async.gateway.wire import RequestKind

FAST = ("--poll", "0.1:0.2")
HEADER = "client_orderid;amount;currency;account_number"
GOOD = "1234567890"
COMMA = "has a comma; write it as 10.42, or add --decimal-comma where commas begin the decimals"
POINT = (
    "has a point, which --decimal-comma does not take, since it may mark thousands; write it as "
    "10,42"
)
PLAIN = "must be a plain number such as 10,42, with one comma at most and no thousands marked"
NO_COMMA = "must be a plain number such as 10.42, with a point and no comma"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


def write(folder: Path, *amounts: str) -> Path:
    """Write a file of payouts in euro as a German spreadsheet does."""
    rows = [f"po-{n};{amount};EUR;{GOOD}" for n, amount in enumerate(amounts)]
    file = folder / "payouts.csv"
    file.write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    return file


def problems(file: Path, *, decimal_comma: bool) -> list[str]:
    """Gather what is wrong with a file."""
    with pytest.raises(InvalidInput) as caught:
        read_batch(file, decimal_comma=decimal_comma)
    return [str(problem) for problem in caught.value.problems]


def limits(*words: str) -> Limits:
    """Read the limits of a command line."""
    parser = argparse.ArgumentParser()
    add_reading(parser)
    add_limits(parser)
    return limits_of(parser.parse_args(words))


class TestFile:
    def test_taken(self, tmp_path: Path) -> None:
        """With the option an amount is whole, or has a comma and decimals; its cell is kept."""
        batch = read_batch(
            write(tmp_path, "10,42", " 5 ", "1234567,8", "+7,00"), decimal_comma=True
        )

        told = [row.request.amount for row in batch.rows]
        assert [Decimal(text) for text in ("10.42", "5", "1234567.8", "7.00")] == told
        assert ["10,42", " 5 ", "1234567,8", "+7,00"] == [row.cells[1] for row in batch.rows]

    def test_quoted(self, tmp_path: Path) -> None:
        """Where commas part the cells too, an amount in quotes is one cell."""
        file = tmp_path / "payouts.csv"
        file.write_text('client_orderid,amount,currency\npo-1,"10,42",EUR\n', encoding="utf-8")

        assert Decimal("10.42") == read_batch(file, decimal_comma=True).rows[0].request.amount
        file.write_text("client_orderid,amount,currency\npo-1,10,42,EUR\n", encoding="utf-8")
        wrong = "line 2: has 4 cells, but the header has 3; put a cell that holds a comma in quotes"
        assert [wrong] == problems(file, decimal_comma=True)

    @pytest.mark.parametrize("amount", ["10,42", "1,234", "-5,0", " 10,42 "])
    def test_never_guessed(self, tmp_path: Path, amount: str) -> None:
        """Without the option no comma is taken, and the error says the two ways to go on."""
        told = problems(write(tmp_path, amount), decimal_comma=False)

        assert [f"line 2, amount: {COMMA}"] == told

    @pytest.mark.parametrize("amount", ["10.42", "1.234", "1.234,56", "1,234.56", "1.234.567"])
    def test_points(self, tmp_path: Path, amount: str) -> None:
        """With the option a point is refused, since it may mark thousands."""
        told = problems(write(tmp_path, "1,00", amount), decimal_comma=True)

        assert [f"line 3, amount: {POINT}"] == told

    @pytest.mark.parametrize("amount", ["1,234,567", "1 234,56", "10,", ",5", "1'000", "x", "1e3"])
    def test_no_plain_number(self, tmp_path: Path, amount: str) -> None:
        """What is no plain number is refused either way, with an example of the right way."""
        file = write(tmp_path, amount)

        assert [f"line 2, amount: {PLAIN}"] == problems(file, decimal_comma=True)
        assert [f"line 2, amount: {NO_COMMA}"] == problems(file, decimal_comma=False)

    def test_decimals_of_the_currency(self, tmp_path: Path) -> None:
        """A thousand with a comma in it has too many decimals for most currencies."""
        told = problems(write(tmp_path, "1,234", "0,00", ""), decimal_comma=True)

        assert [
            "line 2, amount: has more decimals than EUR, which has 2",
            "line 3, amount: must be greater than zero",
            "line 4, amount: is missing",
        ] == told

    def test_numbers_are_numbers(self, tmp_path: Path) -> None:
        """A number of a workbook or of JSON Lines needs no option and no other way with it."""
        book = Workbook()
        columns = ("client_orderid", "amount", "currency")
        rows = [("po-1", 10.42, "EUR"), ("po-2", "10,42", "EUR"), ("po-3", 7, "EUR")]
        for row in (columns, *rows):
            book.worksheets[0].append(row)
        book.save(tmp_path / "p.xlsx")
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        (tmp_path / "p.jsonl").write_text("\n".join(lines), encoding="utf-8")

        for name in ("p.xlsx", "p.jsonl"):
            batch = read_batch(tmp_path / name, decimal_comma=True)
            told = [row.request.amount for row in batch.rows]
            assert [Decimal("10.42"), Decimal("10.42"), Decimal(7)] == told
            [problem] = problems(tmp_path / name, decimal_comma=False)
            assert problem.endswith(COMMA)

    def test_text_with_a_point_in_a_workbook(self, tmp_path: Path) -> None:
        """A text cell is text: with the option its point is refused, and its column named."""
        book = Workbook()
        book.worksheets[0].append(("client_orderid", "amount", "currency"))
        book.worksheets[0].append(("po-1", "1.234", "EUR"))
        book.save(tmp_path / "p.xlsx")

        told = problems(tmp_path / "p.xlsx", decimal_comma=True)
        assert [f"row 2, amount (column B): {POINT}"] == told


@pytest.mark.parametrize(
    ("text", "plain"), [("", ""), ("7", "7"), ("7,5", "7.5"), ("-7,5", "-7.5")]
)
def test_notation(text: str, plain: str) -> None:
    """An amount with a comma says the same with a point, once a person has said that it may."""
    assert "" == misread(text, decimal_comma=True)
    assert plain == with_point(text, decimal_comma=True)
    assert text == with_point(text, decimal_comma=False)


class TestLimits:
    def test_commas(self) -> None:
        """With the option limits are written as the file is."""
        words = ("--expect-total", "EUR=1234,50", "--expect-total", "USD=7")
        found = limits("--decimal-comma", *words, "--max-amount", "99,5", "--max-amount", "GBP=1,5")

        assert {"EUR": Decimal("1234.50"), "USD": Decimal(7)} == found.totals
        assert (Decimal("99.5"), {"GBP": Decimal("1.5")}) == (found.most_of_any, found.most)

    @pytest.mark.parametrize("is_comma", [True, False])
    def test_other_sign(self, *, is_comma: bool) -> None:
        """A limit that is written as its file is not is refused with the reason, each by name."""
        text = "1.50" if is_comma else "1,50"
        words = ("--expect-total", f"EUR={text}", "--max-amount", text, "--max-amount", "USD=3")
        with pytest.raises(InvalidInput) as caught:
            limits(*words, *["--decimal-comma"] * is_comma)

        wrong = POINT if is_comma else COMMA
        told = [str(problem) for problem in caught.value.problems]
        assert [f"--expect-total EUR: {wrong}", f"--max-amount: {wrong}"] == told


class TestCommands:
    def test_all_have_it(self) -> None:
        """Each command that takes a payouts file takes the option, and no other does."""
        takes, has = set[str](), set[str]()
        for parser in PARSERS:
            names = {name for action in parser._actions for name in (*action.option_strings,)}
            files = {action.dest for action in parser._actions} & {"file", "batch"}
            if files:
                takes.add(parser.prog)
            if "--decimal-comma" in names:
                has.add(parser.prog)

        assert takes == has
        assert {"billblend pay", "billblend approve", "billblend watch", "billblend sign"} <= has

    def test_one_door(self) -> None:
        """A command reads payouts files through options, which knows the option, and not around."""
        readers = set()
        for path in sorted((ROOT / "billblend_async").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = node.func if isinstance(node, ast.Call) else None
                if isinstance(name, ast.Name) and name.id == "read_batch":
                    readers.add(path.name)

        assert {"options.py", "sandbox.py"} == readers  # the demo reads what it has written itself

    @pytest.mark.parametrize(
        "words",
        [
            ("report", "--journal", "payouts.db"),
            ("watch", "--journal", "payouts.db"),
            ("attention", "list", "--journal", "payouts.db"),
            ("sign", "payout", "client_orderid=po-1"),
        ],
    )
    async def test_without_a_file(self, desk: Desk, words: tuple[str, ...]) -> None:
        """Where there is no file to be read, the option is refused: a file was meant."""
        await desk.pay(desk.write(1, accounts=[GOOD]), *FAST)
        status, out, error = await desk.billblend(*words, "--decimal-comma")

        assert (3, "") == (status, out)
        assert error.startswith("--decimal-comma: belongs to --batch; give that too\n")

    async def test_same_file_everywhere(self, desk: Desk) -> None:
        """A file with commas is checked, approved and reported of with one and the same option."""
        file = write(desk.folder, "10,42", "7,00")
        paths = ("--journal", "payouts.db", "--out", "results.csv")
        commands = [
            ("pay", file, *paths, "--check-only", *FAST),
            ("approve", file, *paths, "--who", "ann", *FAST),
            ("report", *paths[:2], "--batch", file),
            ("attention", "list", *paths[:2], "--batch", file),
            ("sign", "payout", "--batch", file, "--id", "po-0"),
        ]
        out = ""
        for words in commands:
            status, out, error = await desk.billblend(*words, "--decimal-comma")
            assert 0 == status, error
            sends = desk.sends
            status, _, error = await desk.billblend(*words)
            assert (3, f"line 2, amount: {COMMA}") == (status, error.splitlines()[0])
            assert sends == desk.sends
        assert "amount=10.42" in out
        assert {"po-0": 1, "po-1": 1} == dict(desk.count(RequestKind.PAY))
        assert ["10,42", "7,00"] == [row["amount"] for row in rows(desk)]
        assert Decimal("17.42") == sum(entry.amount for entry in desk.sandbox.gateway.ledger)

    async def test_same_money(self, desk: Desk) -> None:
        """The same amounts, written with points for the next run, are the same payouts."""
        file = write(desk.folder, "10,42", "7")
        assert 0 == (await desk.pay(file, "--decimal-comma", "--max-amount", "10,42", *FAST))[0]
        sends = desk.sends
        write(desk.folder, "10.42", "7.00")

        assert 0 == (await desk.pay(file, "--expect-total", "EUR=17.42", *FAST))[0]
        assert sends == desk.sends

    async def test_same_command_again(self, desk: Desk) -> None:
        """The command that goes on with an interrupted run keeps the option."""
        desk.sandbox.gateway.validation = 5.0
        words = ("--journal", "payouts.db", "--out", "results.csv", "--decimal-comma", *FAST)
        process = await desk.start("pay", write(desk.folder, "10,42"), *words)
        while not desk.count(RequestKind.CHECK):
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        status, _, error = await ended(process)

        assert 2 == status
        assert "run the same command again: " in error
        assert "--out results.csv --decimal-comma --poll 0.1:0.2" in error


def rows(desk: Desk) -> list[dict[str, str]]:
    """Read the results, whose cells are parted as those of the payouts file."""
    lines = (desk.folder / "results.csv").read_text(encoding="utf-8").splitlines()
    names = lines[0].split(";")
    return [dict(zip(names, line.split(";"), strict=True)) for line in lines[1:]]
