"""Amounts are told to people as the file that they come from is written, wherever they are told."""

import ast
import io
import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from command_words import PARSERS
from desk import ROOT, Desk, ended, open_desk
from payouts import PATHS, START, fold, opened, request
from rich.console import Console

from billblend_async.batch.parser import read_batch
from billblend_async.batch.preflight import Group, Limits, check_limits, question
from billblend_async.batch.progress import Tally
from billblend_async.cli.display import Frame, PlainLines
from billblend_async.core.descriptions import Notation
from billblend_async.core.events import Approved
from billblend_async.core.machine import evolve
from billblend_async.core.models import State
from billblend_async.journal import Owner
from billblend_async.journal.sqlite import SqliteJournal

FAST = ("--poll", "0.1:0.2")
PATHS_OF_RUN = ("--journal", "payouts.db", "--out", "results.csv")
GOOD = "1234567890"
COMMA, POINT = Notation(decimal_comma=True), Notation()
ROWS = (("yen", "1500", "JPY"), ("dinar", "1,500", "KWD"), ("euro", "1234567,8", "EUR"))
TOLD = "1234567,8 EUR, 1500 JPY, 1,500 KWD"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


def write(folder: Path) -> Path:
    """Write a file whose amounts are a thousand times as much or as little if misread."""
    lines = [f"{name};{amount};{currency};{GOOD}" for name, amount, currency in ROWS]
    file = folder / "payouts.csv"
    file.write_text(
        "\n".join(["client_orderid;amount;currency;account_number", *lines]), encoding="utf-8"
    )
    return file


@pytest.mark.parametrize(
    ("amount", "with_comma", "with_point"),
    [
        ("1500", "1500", "1,500"),
        ("1.500", "1,500", "1.500"),
        ("1234567.8", "1234567,8", "1,234,567.8"),
        ("-0.05", "-0,05", "-0.05"),
        ("1E+4", "10000", "10,000"),
    ],
)
def test_amount(amount: str, with_comma: str, with_point: str) -> None:
    """Where a comma begins the decimals nothing marks the thousands; else a comma does."""
    assert with_comma == COMMA.amount(Decimal(amount))
    assert with_point == POINT.amount(Decimal(amount))


def test_beside_amounts() -> None:
    """What stands beside amounts has the same signs, so that a comma never says two things."""
    assert ("1500", "1,500") == (COMMA.count(1500), POINT.count(1500))
    assert ("1234,5", "1,234.5") == (COMMA.tenths(1234.5), POINT.tenths(1234.5))
    assert "     1500 new: 1,5 EUR, to be paid" == str(
        Group("new", 1500, "1,5 EUR", "to be paid", COMMA)
    )


def test_one_way() -> None:
    """No file writes amounts for people around the notation, but for reports, which have one."""
    found = set[str]()
    package = ROOT / "billblend_async"
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        forms = [node for node in ast.walk(tree) if isinstance(node, ast.FormattedValue)]
        if any(form.format_spec and ",f" in ast.unparse(form.format_spec) for form in forms):
            found.add(path.relative_to(package).as_posix())

    assert {"core/descriptions.py"} == found


class TestBefore:
    async def test_dry_run(self, desk: Desk) -> None:
        """A dry run tells sums and groups as the file has them, with the option and without it."""
        file = write(desk.folder)
        status, out, error = await desk.billblend("pay", file, "--dry-run", "--decimal-comma")

        assert (0, "") == (status, error)
        assert [
            f"payouts.csv: 3 payout(s), {TOLD}",
            "without a journal:",
            f"        3 new: {TOLD}, to be checked and then paid",
        ] == out.splitlines()[:3]

        file.write_text(file.read_text().replace(",", "."), encoding="utf-8")
        out = (await desk.billblend("pay", file, "--dry-run"))[1]
        assert "payouts.csv: 3 payout(s), 1,234,567.8 EUR, 1,500 JPY, 1.500 KWD\n" in out

    async def test_real_money(self, desk: Desk) -> None:
        """What a person is asked to say yes to says what the file says."""
        desk.environ["BILLBLEND_BASE_URL"] = "https://pay.invalid/checkout"
        words = ("pay", write(desk.folder), *PATHS_OF_RUN, "--decimal-comma")
        status, _, error = await desk.billblend(*words)

        assert 4 == status
        assert f"add --yes to pay 3 payout(s), {TOLD}\n" in error

    def test_limits(self, tmp_path: Path) -> None:
        """What is refused is told with the amounts of the command line as they were written."""
        batch = read_batch(write(tmp_path), decimal_comma=True)
        totals = {"JPY": Decimal(15000), "KWD": Decimal("1.5")}
        with pytest.raises(Exception, match="--expect-total EUR") as caught:
            check_limits(batch, Limits(totals=totals, most={"KWD": Decimal("1.4")}))

        assert [
            "--expect-total EUR: is not given, and the file holds 1234567,8 EUR",
            "--expect-total JPY: is 15000, but the file sums to 1500",
            "line 3, amount: is above --max-amount, which is 1,4 KWD",
        ] == str(caught.value).split("; ")

    def test_approval(self) -> None:
        """The question of an approval, and each line of it, has the signs of the file."""
        path = (*PATHS[State.VALIDATED], Approved(at=START + 10, who="bob"))
        parked = (*path, *PATHS[State.ATTENTION][-2:])
        first = opened(held=True, amount=Decimal("1500.5"))
        what, details = question([fold(*path, first=first), fold(*parked, first=first)], COMMA)

        assert "approve 1 payout(s): 1500,5 USD" == what
        assert ["        1 needing a person: 1500,5 USD, to be asked about only"] == details

    async def test_release(self, desk: Desk) -> None:
        """The payouts of a file that are to be sent again are told as the file has them."""
        sandbox, file = desk.sandbox, write(desk.folder)
        number = str(sandbox.endpoint_id)
        journal = SqliteJournal(desk.folder / "payouts.db")
        await journal.open(Owner(base_url=sandbox.base_url, login=sandbox.login, endpoint=number))
        then = time.time() - 1000
        first = opened("dinar", at=then, amount=Decimal("1.500"), currency="KWD")
        payout = await journal.accept(first)
        for event in PATHS[State.ATTENTION]:
            payout = evolve(payout, now := attrs.evolve(event, at=then))
            await journal.append(payout, now)
        await journal.aclose()
        words = ("attention", "release", *PATHS_OF_RUN[:2], "--who", "ann", "--why", "not there")
        given = ("--batch", file, "--decimal-comma", "--yes")
        status, _, error = await desk.billblend(*words, *given)

        assert 0 == status
        assert "release 1 payout(s) to be sent again: 1,500 KWD\ndinar: 1,500 KWD, " in error


class TestWhile:
    async def test_log(self, desk: Desk) -> None:
        """A run and its approval tell a log of sums and totals as the file has them."""
        file = write(desk.folder)
        words = (file, *PATHS_OF_RUN, "--decimal-comma", *FAST)
        status, out, _ = await desk.billblend("pay", *words, "--check-only")
        assert 0 == status
        assert f"3 payouts: {TOLD}\n" in out

        status, out, error = await desk.billblend("approve", *words, "--who", "ann")
        assert (0, f"billblend: approving 3 payout(s): {TOLD}\n") == (status, error)
        amounts = {tuple(line.replace("│", " ").split()) for line in out.splitlines()}
        for _, amount, currency in ROWS:
            assert ("approved", currency, "1", amount) in amounts

    async def test_machines(self, desk: Desk) -> None:
        """JSON lines have points whatever the file has; the totals beside them are for people."""
        words = (write(desk.folder), *PATHS_OF_RUN, "--decimal-comma", "--json", *FAST)
        process = await desk.start("pay", *words)
        status, out, error = await ended(process)
        told = [json.loads(line) for line in out.splitlines()]

        assert 0 == status
        sums = {"EUR": "1234567.8", "JPY": "1500", "KWD": "1.500"}
        assert sums == told[0]["amounts"]
        assert sums == {each["currency"]: each["amount"] for each in told[-1]["totals"]}
        assert " 1234567,8 " in error

    def test_progress(self) -> None:
        """The lines that say how far a run is have one meaning for a comma."""
        tally = Tally(request(f"po-{n}", amount=Decimal("1.5")) for n in range(1500))
        paper = io.StringIO()
        view = PlainLines(paper, COMMA)
        for second in (0.0, 10.0):
            view.show(tally.snapshot(second))
        view.close()

        assert [
            "1500 payouts: 2250,0 USD",
            "10 s: 1500 waiting (2250,0 USD)",
        ] == paper.getvalue().splitlines()

    def test_screen(self) -> None:
        """The live view has the signs of the file in sums, counts and pace."""
        tally = Tally(request(f"po-{n}", amount=Decimal("1.5")) for n in range(1500))
        shot = attrs.evolve(tally.snapshot(0.0), per_second=1500.5, receivers=1500)
        seen = {}
        for notation in (COMMA, POINT):
            on = Console(width=80, height=24, _environ={}, file=io.StringIO())
            with on.capture() as caught:
                on.print(Frame("payouts.csv", notation, shot), end="")
            seen[notation] = caught.get()

        for told in ("1500 payouts", "2250,0", "1500,5 finished per second", "1500 wait for"):
            assert told in seen[COMMA]
        assert "2,250.0" in seen[POINT]
        assert "." not in seen[COMMA].replace("payouts.csv", "").replace("...", "")


class TestAfter:
    async def test_reports(self, desk: Desk) -> None:
        """What a journal's report tells has points, whoever reads it and with whatever file."""
        words = (*PATHS_OF_RUN[:2], "--batch", write(desk.folder), "--decimal-comma")
        assert 0 == (await desk.billblend("pay", words[3], *PATHS_OF_RUN, words[4], *FAST))[0]
        status, out, _ = await desk.billblend("report", *words)

        assert 0 == status
        for amount in ("1,500", "1.500", "1,234,567.80"):
            assert f" {amount}" in out

    def test_help(self) -> None:
        """The help of the option says whether what the command shows follows it."""
        told = {}
        for parser in PARSERS:
            for action in parser._actions:
                if "--decimal-comma" in action.option_strings:
                    told[parser.prog.split()[1]] = str(action.help).rpartition(", and ")[2]

        shown, keeps = "amounts are shown like that too", "what is shown keeps its points"
        assert dict.fromkeys(("pay", "approve", "attention"), shown) | dict.fromkeys(
            ("report", "watch", "sign"), keeps
        ) == {name: words.split(" (")[0] for name, words in told.items()}
