"""What looks wrong in a file and may be right is told before money moves, and refuses nothing."""

import asyncio
import io
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from desk import COMMAND, Desk, ended, open_desk
from openpyxl import Workbook

from billblend_async.batch.parser import read_batch
from billblend_async.batch.preflight import remarks
from billblend_async.cli.pay import confirm
from billblend_async.core.models import Endpoint
from billblend_async.core.parameters import CODES, EXPONENTS, PUBLISHED, decimals
from billblend_async.core.request import PARAMETERS, PayoutRequest
from billblend_async.errors import ConfigurationError
from billblend_async.gateway.wire import RequestKind
from billblend_async.journal.location import FilePlace

FAST = ("--poll", "0.1:0.2")
COLUMNS = "client_orderid,amount,currency,account_number,receiver_first_name,bank_name"
NOBODY = (
    "warning: {} payout(s) name no card, account, wallet or other receiver: {}; right only where "
    "receivers fill a form in behind a link"
)
ODD = (
    "warning: {} is no currency of ISO 4217 (list of 2026-01-01): {}; mend it, unless the gateway "
    "knows it"
)
PLACE = FilePlace(Path("payouts.db"))
SECRET = "hush-4929"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


def write(folder: Path, *rows: str) -> Path:
    """Write a payouts file with these rows."""
    file = folder / "payouts.csv"
    file.write_text("\n".join([COLUMNS, *rows]), encoding="utf-8")
    return file


def told(file: Path, among: set[str] | None = None) -> list[str]:
    """Gather the remarks on a file."""
    batch = read_batch(file)
    return remarks(batch, among or {row.request.client_orderid for row in batch.rows})


class TestReceivers:
    def test_named(self, tmp_path: Path) -> None:
        """Rows that name nobody are counted, and the first few of them named, without values."""
        rows = [f"po-{n},1,EUR,,{SECRET},{SECRET}" for n in range(7)]
        rows[1] = f"po-1,1,EUR,1234567890,{SECRET},"

        assert [NOBODY.format(6, "lines 2, 4, 5, 6, 7 and 1 more")] == told(write(tmp_path, *rows))
        assert [NOBODY.format(1, "line 4")] == told(tmp_path / "payouts.csv", {"po-1", "po-2"})
        assert [NOBODY.format(2, "lines 2 and 8")] == told(
            tmp_path / "payouts.csv", {"po-0", "po-1", "po-6"}
        )

    def test_row(self, tmp_path: Path) -> None:
        """The rows of a workbook are called rows, as a spreadsheet counts them."""
        book = Workbook()
        for row in (("client_orderid", "amount", "currency"), ("po-1", 1, "EUR")):
            book.worksheets[0].append(row)
        book.save(tmp_path / "p.xlsx")

        assert [NOBODY.format(1, "row 2")] == told(tmp_path / "p.xlsx")

    @pytest.mark.parametrize(
        "name",
        [
            *("credit_card_number", "account_number", "ewallet_wallet", "crypto_wallet_address"),
            *("card_recurring_payment_id", "recurring_payment_id", "customer_id"),
            *("merchant_customer_identifier", "receiver_phone", "receiver_email"),
            *("receiver_identity_document_number", "receiver_inn", "legal_person_document_number"),
        ],
    )
    def test_identifying(self, name: str) -> None:
        """A number or an address by which somebody can be paid names a receiver."""
        cells = {"client_orderid": "po-1", "amount": "1", "currency": "EUR"}

        assert not PayoutRequest.from_text(cells).names_receiver
        assert PayoutRequest.from_text(cells | {name: "12345678"}).names_receiver
        assert PARAMETERS[name].receiver

    @pytest.mark.parametrize(
        "name", ["receiver_first_name", "bank_name", "routing_number", "ewallet_type", "purpose"]
    )
    def test_not_enough(self, name: str) -> None:
        """A name, a bank or a kind of wallet alone says whom to pay to nobody."""
        cells = {"client_orderid": "po-1", "amount": "1", "currency": "EUR", name: "x"}

        assert not PayoutRequest.from_text(cells).names_receiver


class TestCurrencies:
    def test_typo(self, tmp_path: Path) -> None:
        """A word that no list has is named with its lines; what the list has is not."""
        rows = ["UDS", "USD", "EUR", "JPY", "XAU", "UDS", "BGN"]
        file = write(tmp_path, *[f"po-{n},1,{word},1,," for n, word in enumerate(rows)])

        assert [ODD.format("UDS", "lines 2 and 7"), ODD.format("BGN", "line 8")] == told(file)

    def test_many(self, tmp_path: Path) -> None:
        """Very many of such words are counted and not all shown."""
        rows = [f"po-{n},1,Q{chr(65 + n)}Q,1,," for n in range(26)]
        found = told(write(tmp_path, *rows))

        assert 6 == len(found)
        assert found[-1] == "warning: 21 more words are no currencies of it either"

    def test_list(self) -> None:
        """The list has the codes of ISO 4217 and what each of them has for decimals."""
        assert (178, "2026-01-01") == (len(CODES), PUBLISHED)
        assert all(len(code) == 3 and code.isupper() for code in CODES | set(EXPONENTS))
        assert {"ANG", "BGN"} == set(EXPONENTS) - CODES
        usual = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4, "BGN": 2, "XXX": 0}
        assert usual == {code: decimals(code) for code in usual}


class TestConfirmation:
    WARNING = NOBODY.format(1, "line 2")

    def ask(self, where: str, *, is_given: bool = False) -> None:
        """Ask for the yes to a payout that names nobody."""
        endpoint = Endpoint(base_url=where, endpoint_id=7)
        details, journal = ["  1 new"], PLACE
        warnings = [self.WARNING]
        confirm("pay", details, warnings, endpoint=endpoint, journal=journal, is_given=is_given)

    @pytest.mark.parametrize("is_given", [True, False])
    def test_details(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        *,
        is_given: bool,
    ) -> None:
        """Whoever says yes has the warnings among what is about to happen, once."""
        stdin = io.StringIO("yes\n")
        monkeypatch.setattr(stdin, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", stdin)
        self.ask("production", is_given=is_given)
        out, error = capsys.readouterr()

        assert "" == out
        assert ["About to pay", "  1 new", self.WARNING] == error.splitlines()[:3]
        assert 1 == error.count("warning:")

    def test_not_asked(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Where nobody is asked, the warnings are told all the same."""
        self.ask("http://127.0.0.1:8765/checkout")

        assert f"billblend: {self.WARNING}\n" == capsys.readouterr().err

    def test_nobody_there(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whoever is about to add --yes is told the warnings before."""
        monkeypatch.setattr("sys.stdin", None)
        with pytest.raises(ConfigurationError, match="add --yes"):
            self.ask("production")

        assert f"billblend: {self.WARNING}\n" == capsys.readouterr().err


class TestCommand:
    ROWS = ("po-0,5.00,EUR,,Ann,", "po-1,7.00,UDS,1234567890,Bob,")
    WARNINGS = (NOBODY.format(1, "line 2"), ODD.format("UDS", "line 3"))

    async def test_dry_run(self, desk: Desk) -> None:
        """A dry run tells the warnings among what would happen, and for machines beside it."""
        file = write(desk.folder, *self.ROWS)
        status, out, error = await desk.billblend("pay", file, "--dry-run")

        assert (0, "") == (status, error)
        assert list(self.WARNINGS) == out.splitlines()[-4:-2]
        status, out, error = await desk.billblend("pay", file, "--dry-run", "--json")
        assert (0, False, list(self.WARNINGS)) == (status, "warning" in out, error.splitlines())

    async def test_run(self, desk: Desk) -> None:
        """A run tells them on stderr before it begins, pays all the same, and stdout stays JSON."""
        file = write(desk.folder, *self.ROWS)
        status, out, error = await desk.pay(file, "--json", *FAST)

        assert status in (0, 1)
        assert "started" == json.loads(out.splitlines()[0])["event"]
        assert all(json.loads(line)["event"] for line in out.splitlines())
        assert [f"billblend: {each}" for each in self.WARNINGS] == error.splitlines()[:2]
        assert {"po-0": 1, "po-1": 1} == dict(desk.count(RequestKind.CHECK))
        again = await desk.pay(file, *FAST)
        assert "warning" not in again[2]

    async def test_approval(self, desk: Desk) -> None:
        """An approval tells them again, of what it pays."""
        file = write(desk.folder, *self.ROWS)
        await desk.pay(file, "--check-only", *FAST)
        words = ("--journal", "payouts.db", "--out", "results.csv", "--who", "ann", *FAST)
        _, _, error = await desk.billblend("approve", file, "po-1", *words)

        assert f"billblend: {self.WARNINGS[1]}" == error.splitlines()[0]
        assert self.WARNINGS[0] not in error

    async def test_real_money(self, desk: Desk) -> None:
        """The question before real money moves shows them."""
        desk.environ["BILLBLEND_BASE_URL"] = "https://pay.invalid/checkout"
        file = write(desk.folder, *self.ROWS)
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *COMMAND, "pay", str(file)),
            *("--journal", "payouts.db", "--out", "results.csv"),
            env=desk.environ,
            cwd=desk.folder,
            stdin=theirs,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        os.write(ours, b"no\n")
        status, out, error = await ended(process)
        os.close(ours)
        os.close(theirs)

        assert (4, "") == (status, out)
        assert list(self.WARNINGS) == error.splitlines()[2:4]
        assert Decimal(0) == sum(entry.amount for entry in desk.sandbox.gateway.ledger)
