"""Before money moves: limits hold, the journal is asked and left alone, and a person says yes."""

import argparse
import asyncio
import io
import json
import os
import pty
import re
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from desk import Desk, ended, open_desk
from openpyxl import Workbook, load_workbook
from payouts import PATHS, START, fold, opened
from rsa_keys import PEM_2048

from billblend_async.batch.parser import Batch, read_batch
from billblend_async.batch.preflight import (
    Limits,
    Survey,
    add_limits,
    approvable,
    check_limits,
    is_released,
    limits_of,
    question,
    survey,
)
from billblend_async.cli import pay as preflight
from billblend_async.cli.console import Patience
from billblend_async.cli.main import main
from billblend_async.cli.options import add_reading
from billblend_async.cli.pay import confirm, is_cleared
from billblend_async.core.descriptions import Notation
from billblend_async.core.events import Approved, Event, Released
from billblend_async.core.machine import evolve
from billblend_async.core.models import Endpoint, Flow, State
from billblend_async.errors import ConfigurationError, InvalidInput, JournalDamaged, JournalMismatch
from billblend_async.gateway.credentials import Credentials
from billblend_async.gateway.settings import Settings
from billblend_async.gateway.wire import RequestKind
from billblend_async.journal import Owner
from billblend_async.journal.location import FilePlace
from billblend_async.journal.sqlite import SqliteJournal, journal_mode

HEADER = "client_orderid,amount,currency,account_number"
FAST = ("--poll", "0.1:0.2")
SETTINGS = Settings(Credentials("m1", PEM_2048), Endpoint(base_url="sandbox", endpoint_id=7))
OWNER = Owner(base_url=SETTINGS.endpoint.base_url, login="m1", endpoint="7")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


def batch_of(folder: Path, *rows: str) -> Batch:
    """Read a file with these rows."""
    (folder / "payouts.csv").write_text("\n".join([HEADER, *rows]))
    return read_batch(folder / "payouts.csv")


def told(error: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    """Give all problems of an error."""
    return [str(problem) for problem in error.value.problems]


def limits(*words: str) -> Limits:
    """Read the limits of a command line."""
    parser = argparse.ArgumentParser()
    add_reading(parser)
    add_limits(parser)
    return limits_of(parser.parse_args(words))


def files(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Give the content, mode and time of every file of a folder."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


async def keep(
    folder: Path, batch: Batch, *states: State | tuple[Event, ...], **fields: Any
) -> Path:
    """Write a batch's first payouts into a journal, each in its state or led by its events."""
    journal = SqliteJournal(folder / "payouts.db")
    await journal.open(OWNER)
    for row, state in zip(batch.rows, states, strict=False):
        request = row.request
        first = {
            "amount": request.amount,
            "currency": request.currency,
            "fingerprint": request.fingerprint(journal.fingerprint_key),
        }
        payout = await journal.accept(opened(request.client_orderid, **{**first, **fields}))
        for event in PATHS[state] if isinstance(state, State) else state:
            payout = evolve(payout, event)
            await journal.append(payout, event)
    await journal.aclose()
    return folder / "payouts.db"


def look(
    batch: Batch, journal: Path | None, *, flow: Flow = Flow.CHECK_PAY, pay: bool = True
) -> Survey:
    """Compare a batch with a journal."""
    place = None if journal is None else FilePlace(journal)
    return survey(batch, place, SETTINGS, flow=flow, pay=pay)


class TestLimits:
    @pytest.fixture
    def batch(self, tmp_path: Path) -> Batch:
        """Make a batch of 12.50 EUR and 600 USD."""
        return batch_of(tmp_path, "po-1,10.00,EUR,", "po-2,2.50,EUR,", "po-3,600,USD,")

    @pytest.mark.parametrize(
        "words",
        [
            "",
            "--expect-total EUR=12.5 --expect-total USD=600.00",
            "--expect-total EUR=12.5 --expect-total USD=600 --expect-total GBP=0",
            "--max-amount 600",
            "--max-amount EUR=10",
            "--max-amount EUR=10 --max-amount 600",
            "--max-amount 10 --max-amount USD=600",
        ],
    )
    def test_kept(self, batch: Batch, words: str) -> None:
        """A file that sums to what is expected and has no larger amount than allowed is taken."""
        check_limits(batch, limits(*words.split()))

    @pytest.mark.parametrize(
        ("words", "problems"),
        [
            (
                "--expect-total EUR=12.51",
                [
                    "--expect-total EUR: is 12.51, but the file sums to 12.50",
                    "--expect-total USD: is not given, and the file holds 600 USD",
                ],
            ),
            (
                "--expect-total EUR=12.5 --expect-total USD=600 --expect-total GBP=1",
                ["--expect-total GBP: is 1, but the file sums to 0"],
            ),
            (
                "--max-amount 9.99",
                [
                    "line 2, amount: is above --max-amount, which is 9.99 EUR",
                    "line 4, amount: is above --max-amount, which is 9.99 USD",
                ],
            ),
            (
                "--expect-total USD=600 --max-amount EUR=2.5 --max-amount 1000",
                [
                    "--expect-total EUR: is not given, and the file holds 12.50 EUR",
                    "line 2, amount: is above --max-amount, which is 2.5 EUR",
                ],
            ),
        ],
    )
    def test_broken(self, batch: Batch, words: str, problems: list[str]) -> None:
        """Every currency that sums to something else, and every row above a limit, is named."""
        with pytest.raises(InvalidInput) as caught:
            check_limits(batch, limits(*words.split()))

        assert problems == told(caught)

    def test_given_twice(self) -> None:
        """Two limits of one kind for one currency are refused: one of them is a mistake."""
        with pytest.raises(InvalidInput) as caught:
            limits("--expect-total", "EUR=1", "--expect-total", "EUR=1", *["--max-amount", "5"] * 2)

        twice = "is given twice; give it once"
        assert [f"--expect-total EUR: {twice}", f"--max-amount: {twice}"] == told(caught)

    @pytest.mark.parametrize(
        ("option", "text"),
        [
            ("--expect-total", "12.50"),
            ("--expect-total", "EUR=12,5,0"),
            ("--expect-total", "eur=12"),
            ("--expect-total", "EUR=-1"),
            ("--max-amount", "EUR=nan"),
            ("--max-amount", "1e3"),
            ("--poll", "5:3"),
            ("--poll", "0:3"),
            ("--poll", "nan:3"),
            ("--poll", "3:301"),
            ("--poll", "3"),
            ("--deadline", "receiver=-1"),
            ("--deadline", "receiver=soon"),
            ("--deadline", "lunch=1"),
        ],
    )
    def test_wrong_words(self, option: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A limit, pace or deadline that cannot be read is refused with a right one as example."""
        with pytest.raises(SystemExit) as caught:
            main(["pay", "f", "--journal", "j", "--out", "o", option, text])

        assert 3 == caught.value.code
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"argument {option}: " in said
        assert re.search(r"such as .*\d; see |with one of sending, ", said)


class TestSurvey:
    async def test_groups(self, tmp_path: Path) -> None:
        """The rows are sorted by what a run does with them, each group with its sums."""
        rows = [f"po-{n},{n}.50,{'EUR' if n % 2 else 'USD'},12345678" for n in range(1, 8)]
        batch = batch_of(tmp_path, *rows)
        parked = "to be asked about only; see billblend attention list"
        states = (State.FINAL, State.REJECTED, State.VALIDATING, State.ATTENTION, State.NEW)
        journal = await keep(tmp_path, batch, *states)

        assert [
            "        2 new: 7.50 EUR, 6.50 USD, to be checked and then paid",
            "        2 begun: 9.00 EUR, to go on where they stand",
            f"        1 needing a person: 4.50 USD, {parked}",
            "        2 finished: 1.50 EUR, 2.50 USD, to be left alone",
        ] == [str(group) for group in look(batch, journal).groups()]
        assert not look(batch, journal).is_finished
        assert look(batch_of(tmp_path, rows[0], rows[1]), journal).is_finished

    async def test_released(self, tmp_path: Path) -> None:
        """What a person has released is said to be paid again, by a run and by an approval."""
        batch = batch_of(tmp_path, "po-1,1,EUR,12345678", "po-2,5,EUR,12345678")
        again = (*PATHS[State.ATTENTION], Released(at=START + 100, who="ann", why="not paid"))
        approved = (*PATHS[State.VALIDATED], Approved(at=START + 10, who="bob"), *again[-3:])
        journal = await keep(tmp_path, batch, again, PATHS[State.VALIDATING])
        [begun, released] = look(batch, journal).groups()

        assert "        1 released: 1 EUR, to be paid again" == str(released)
        assert "begun" == begun.word
        (tmp_path / "held").mkdir()
        journal = await keep(tmp_path / "held", batch, approved, held=True)
        [payout] = approvable(batch, FilePlace(journal), SETTINGS, {"po-1"})
        assert is_released(payout)

    async def test_a_journal_that_is_replaced_meanwhile(self, tmp_path: Path) -> None:
        """What was finished when somebody said yes is not paid from a copy that has lost it."""
        batch = batch_of(tmp_path, "po-1,1,EUR,12345678", "po-2,5,EUR,12345678")
        journal = await keep(tmp_path, batch, State.FINAL)
        words = argparse.Namespace(
            journal=FilePlace(journal), out=None, dry_run=False, similar_ids=False, yes=False
        )

        def ask(*_: object, **__: object) -> bool:
            for file in tmp_path.glob("payouts.db*"):
                file.unlink()
            return True

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(preflight, "confirm", lambda *_, **__: True)
            assert is_cleared(words, batch, SETTINGS, flow=Flow.CHECK_PAY, pay=True)
            patch.setattr(preflight, "confirm", ask)
            with pytest.raises(ConfigurationError, match="changed while you were asked"):
                is_cleared(words, batch, SETTINGS, flow=Flow.CHECK_PAY, pay=True)

    async def test_moving(self, tmp_path: Path) -> None:
        """What is finished, awaits approval or needs a person is not what a run pays."""
        batch = batch_of(tmp_path, *[f"po-{n},{n}.00,EUR,12345678" for n in range(1, 6)])
        again = (*PATHS[State.ATTENTION], Released(at=START + 100, who="ann", why="not paid"))
        states = (State.FINAL, State.ATTENTION, State.VALIDATING, again)
        journal = await keep(tmp_path, batch, *states)
        asked = list[str]()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(preflight, "confirm", lambda what, *_, **__: asked.append(what))
            words = argparse.Namespace(
                journal=FilePlace(journal), out=None, dry_run=False, similar_ids=False, yes=False
            )
            assert is_cleared(words, batch, SETTINGS, flow=Flow.CHECK_PAY, pay=True)
            few = batch_of(tmp_path, "po-2,2,EUR,12345678")
            assert is_cleared(words, few, SETTINGS, flow=Flow.CHECK_PAY, pay=True)

        left = "ask about payouts that are left to a person"
        assert ["pay 3 payout(s), 12.00 EUR", left] == asked

    def test_approved_and_parked(self) -> None:
        """An approval counts what it sends: not what was approved and is in doubt by now."""
        approved = (*PATHS[State.VALIDATED], Approved(at=START + 10, who="bob"))
        parked = (*approved, *PATHS[State.ATTENTION][-2:])
        again = (*parked, Released(at=START + 100, who="ann", why="not paid"))
        found = [
            fold(*events, first=opened(held=True))
            for events in (approved[:-1], approved, parked, again)
        ]
        what, details = question(found, Notation())

        assert "approve 3 payout(s): 31.26 USD" == what
        assert [
            "        1 released: 10.42 USD, to be paid again",
            "        1 needing a person: 10.42 USD, to be asked about only",
        ] == details
        assert "ask about payouts that need a person" == question(found[2:3], Notation())[0]

    async def test_held(self, tmp_path: Path) -> None:
        """What awaits approval is left alone by a run, and is what an approval pays."""
        batch = batch_of(tmp_path, *[f"po-{n},1,EUR,12345678" for n in range(3)])
        journal = await keep(tmp_path, batch, State.VALIDATED, State.VALIDATED, held=True)
        words = [group.word for group in look(batch, journal, pay=False).groups()]
        changed = batch_of(tmp_path, "po-0,2,EUR,12345678", "po-1,1,EUR,12345678")

        assert ["new", "awaiting approval"] == words
        for names, of in ({"po-1", "po-2"}, batch), ({"po-0", "po-1"}, changed):
            found = approvable(of, FilePlace(journal), SETTINGS, names)
            assert ["po-1"] == [each.client_orderid for each in found]

    @pytest.mark.parametrize("journal", ["nothing.db", None])
    def test_no_journal(self, tmp_path: Path, journal: str | None) -> None:
        """Where there is no journal every payout is new, and none is made."""
        batch = batch_of(tmp_path, "po-1,1,EUR,")
        path = None if journal is None else tmp_path / journal
        new = {
            "to be checked and then paid": look(batch, path),
            "to be checked only": look(batch, path, pay=False),
            "to be paid in one step": look(batch, path, flow=Flow.ONE_STEP),
        }

        for action, found in new.items():
            assert [f"        1 new: 1 EUR, {action}"] == [str(group) for group in found.groups()]
        assert ["payouts.csv"] == [path.name for path in tmp_path.iterdir()]

    async def test_conflicts(self, tmp_path: Path) -> None:
        """Every row whose id is another payout's is named with what differs."""
        rows = [f"po-{n},1,EUR,12345678" for n in range(5)]
        journal = await keep(tmp_path, batch_of(tmp_path, *rows), *[State.FINAL] * 5)
        rows[1], rows[2] = "po-1,2,EUR,12345678", "po-2,1,USD,1234567"
        rows[4] = "po-4,1.00,EUR,012345678"
        with pytest.raises(InvalidInput) as caught:
            look(batch_of(tmp_path, *rows), journal)

        other, do = "client_orderid: is in the journal with another", "use a new id, or put the row"
        assert [
            f"line 3, {other} amount; {do} back",
            f"line 4, {other} currency and receiver; {do} back",
            f"line 6, {other} receiver; {do} back",
        ] == told(caught)

    async def test_same_again(self, tmp_path: Path) -> None:
        """The same file again is no conflict, also when an amount is written in another way."""
        journal = await keep(tmp_path, batch_of(tmp_path, "po-1,1.00,EUR,1"), State.FINAL)

        assert look(batch_of(tmp_path, " po-1 ,1,EUR,1"), journal).is_finished

    async def test_other_way(self, tmp_path: Path) -> None:
        """A payout that was begun in another way is refused with the way in which to go on."""
        batch = batch_of(tmp_path, "po-1,1,EUR,1")
        journal = await keep(tmp_path, batch, State.VALIDATING)
        with pytest.raises(InvalidInput, match="was begun without --one-step; run it without it"):
            look(batch, journal, flow=Flow.ONE_STEP)
        with pytest.raises(InvalidInput, match="was begun to be paid; leave out --check-only"):
            look(batch, journal, pay=False)

    async def test_left_alone(self, tmp_path: Path) -> None:
        """A journal that is asked stays as it is, byte for byte."""
        batch = batch_of(tmp_path, *[f"po-{n},1,EUR,1" for n in range(100)])
        journal = await keep(tmp_path, batch, *[State.FINAL] * 70)
        before = files(tmp_path)

        assert [30, 70] == [group.payouts for group in look(batch, journal).groups()]
        assert before == files(tmp_path)

    async def test_crashed(self, tmp_path: Path) -> None:
        """A journal behind which a program has died in mid-write is asked for what was durable."""
        batch = batch_of(tmp_path, *[f"po-{n},1,EUR,1" for n in range(100)])
        journal = await keep(tmp_path, batch, *[State.FINAL] * 70)
        died = tmp_path / "died"
        died.mkdir()
        database = sqlite3.connect(journal, isolation_level=None)
        database.execute("PRAGMA cache_size=1")  # so that half of it lands in the file
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE events SET data = upper(data)")
        for path in tmp_path.glob("payouts.db*"):
            shutil.copy(path, died)
        database.execute("ROLLBACK")
        database.close()
        mode = journal_mode(sqlite3.sqlite_version_info)
        assert mode == "wal" or (died / "payouts.db-journal").stat().st_size

        assert [30, 70] == [group.payouts for group in look(batch, died / "payouts.db").groups()]

    async def test_in_use(self, tmp_path: Path) -> None:
        """A journal that a run has open is asked all the same, and the run goes on."""
        batch = batch_of(tmp_path, "po-1,1,EUR,1", "po-2,1,EUR,1")
        journal = await keep(tmp_path, batch, State.FINAL)
        other = SqliteJournal(journal)
        await other.open(OWNER)
        try:
            assert [1, 1] == [group.payouts for group in look(batch, journal).groups()]
            await other.accept(opened("po-3", at=START))
        finally:
            await other.aclose()

    async def test_empty(self, tmp_path: Path) -> None:
        """A journal without payouts knows nothing, and is bound to nobody by being asked."""
        batch = batch_of(tmp_path, "po-1,1,EUR,1")
        journal = await keep(tmp_path, batch)
        before = files(tmp_path)
        other = attrs.evolve(SETTINGS, endpoint=Endpoint(base_url="production", endpoint_id=7))

        for settings in (SETTINGS, other):
            found = survey(batch, FilePlace(journal), settings, flow=Flow.CHECK_PAY, pay=True)
            assert {} == found.outcomes
        assert before == files(tmp_path)
        journal.write_bytes(b"")
        (tmp_path / "payouts.db.key").unlink()
        assert {} == look(batch, journal).outcomes
        assert b"" == journal.read_bytes()

    async def test_of_somebody_else(self, tmp_path: Path) -> None:
        """A journal of another login, or without its key, is refused before anything is sent."""
        batch = batch_of(tmp_path, "po-1,1,EUR,1")
        journal = await keep(tmp_path, batch, State.FINAL)
        other = attrs.evolve(SETTINGS, credentials=Credentials("m2", PEM_2048))
        with pytest.raises(JournalMismatch, match="login m1"):
            survey(batch, FilePlace(journal), other, flow=Flow.CHECK_PAY, pay=True)
        (tmp_path / "payouts.db.key").unlink()
        with pytest.raises(JournalDamaged, match=r"key file payouts\.db\.key is missing"):
            look(batch, journal)

    @pytest.mark.parametrize(("is_gone", "wrong"), [(True, "gone"), (False, "empty")])
    async def test_key_alone(self, tmp_path: Path, wrong: str, *, is_gone: bool) -> None:
        """Where only a journal's key is left, a dry run refuses as the run itself would."""
        batch = batch_of(tmp_path, "po-1,1,EUR,1")
        journal = await keep(tmp_path, batch, State.FINAL)
        journal.unlink()
        if not is_gone:
            journal.touch()
        with pytest.raises(JournalDamaged, match=f"the file is {wrong}, but its key file is there"):
            look(batch, journal)

    async def test_damaged(self, tmp_path: Path) -> None:
        """A payout that was edited in the journal is found before anything is sent."""
        batch = batch_of(tmp_path, "po-1,1,EUR,1")
        journal = await keep(tmp_path, batch, State.FINAL)
        with sqlite3.connect(journal) as database:
            database.execute("UPDATE events SET data = replace(data, '1', '2') WHERE sequence = 0")
        database.close()
        with pytest.raises(JournalDamaged, match="payout po-1"):
            look(batch, journal)


class TestPatience:
    def test_slow(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Who waits for more than two seconds is told how far it is, and then now and again."""
        clock = [0.0]
        patience = Patience("looking", 90, lambda: clock[0])
        for done in range(91):
            clock[0] = done / 10
            patience.hear(done)
        assert ["billblend: looking: 20 of 90", "billblend: looking: 70 of 90"] == (
            capsys.readouterr().err.splitlines()
        )

    def test_fast(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Of what is done at once, or done by now, nothing is said."""
        clock = [0.0]
        patience = Patience("looking", 9, lambda: clock[0])
        for done in range(9):
            patience.hear(done)
        clock[0] = 60.0
        patience.hear(9)
        assert "" == capsys.readouterr().err


class Terminal(io.StringIO):
    """A standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


def ask(base_url: str, *, is_given: bool = False) -> None:
    """Ask for the yes to a payout somewhere."""
    endpoint = Endpoint(base_url=base_url, endpoint_id=7)
    details = ["        1 new: 5.00 EUR, to be checked and then paid"]
    journal = Path("payouts.db")
    confirm(
        "pay 1 payout", details, endpoint=endpoint, journal=FilePlace(journal), is_given=is_given
    )


REAL = ("production", "https://pay.billblend.com./checkout", "https://gate.example.com/checkout")


class TestConfirmation:
    @pytest.mark.parametrize("where", ["sandbox", "http://127.0.0.1:8/checkout", *REAL])
    def test_not_asked(self, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        """Nobody is asked for the sandbox or this machine, nor where the command says yes."""
        monkeypatch.setattr("sys.stdin", None)
        ask(where, is_given=where in REAL)

    @pytest.mark.parametrize("where", REAL)
    def test_yes(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
    ) -> None:
        """Whoever is asked sees what is paid, where and from which journal, and says yes."""
        monkeypatch.setattr("sys.stdin", Terminal("Yes\n"))
        ask(where)

        out, error = capsys.readouterr()
        assert "" == out
        for word in ("About to pay 1 payout\n", "5.00 EUR", "payouts.db", ".com", "Type yes"):
            assert word in error

    def test_yes_beforehand(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Where the command says yes, what would have been asked is said, and nobody waits."""
        ask("production", is_given=True)
        out, error = capsys.readouterr()

        assert ("", 3) == (out, error.count("\n"))
        for words in ("About to pay 1 payout\n", "5.00 EUR", "with the new journal payouts.db, at"):
            assert words in error

    @pytest.mark.parametrize("answer", ["", "\n", "y\n", "no\n", "yes please\n"])
    def test_no(self, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        """Anything but yes is no."""
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        with pytest.raises(ConfigurationError, match="not confirmed, so nothing was sent"):
            ask("production")

    @pytest.mark.parametrize("stdin", [None, io.StringIO("yes\n")])
    def test_nobody_there(self, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None) -> None:
        """Where nobody can be asked, the answer must stand in the command."""
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(ConfigurationError, match=r"may move real money, .* add --yes to pay 1"):
            ask("production")


class TestCommand:
    async def test_dry_run(self, desk: Desk) -> None:
        """A dry run tells what would happen, and sends and writes nothing."""
        file = desk.write(3, accounts=["1234567890"])
        before = files(desk.folder)

        status, out, error = await desk.billblend("pay", file, "--dry-run")
        assert (0, "") == (status, error)
        assert [
            "payouts.csv: 3 payout(s), 7.50 EUR",
            "without a journal:",
            "        3 new: 7.50 EUR, to be checked and then paid",
            "A run goes to 127.0.0.1, on this machine.",
            "Nothing was sent or written.",
        ] == out.splitlines()
        again = (await desk.pay(file, "--dry-run"))[1]
        assert out == again.replace("with the new journal payouts.db", "without a journal")
        assert before == files(desk.folder)
        await desk.pay(file, *FAST)
        before, requests = files(desk.folder), len(desk.sandbox.gateway.requests)
        status, out, error = await desk.pay(desk.write(4, accounts=["1234567890"]), "--dry-run")
        before.pop("payouts.csv")
        after = files(desk.folder)
        after.pop("payouts.csv")
        assert (0, "") == (status, error)
        assert "with the journal payouts.db:" in out
        assert "1 new: 4.50 EUR" in out
        assert "3 finished: 7.50 EUR, to be left alone" in out
        assert (before, requests) == (after, len(desk.sandbox.gateway.requests))

    @pytest.mark.parametrize("end", ["csv", "jsonl", "xlsx"])
    async def test_another_journal(self, desk: Desk, end: str) -> None:
        """Results of the file's payouts and a journal without any are not of one run: nobody pays.

        That is so with --yes as well, and whatever form the results have.
        """
        file, out = desk.write(3, accounts=["1234567890"]), f"results.{end}"
        first = ("pay", file, "--journal", "payouts.db", "--out", out, *FAST)
        assert 0 == (await desk.billblend(*first))[0]
        sends, before = desk.sends, (desk.folder / out).read_bytes()
        again = ("--journal", "elsewhere.db", "--out", out, "--yes", *FAST)
        for more in ((), ("--dry-run",)):
            status, _, error = await desk.billblend("pay", file, *again, *more)
            assert (4, 1) == (status, error.count("\n"))
            assert "--journal elsewhere.db: this journal is new, but --out results." in error
            assert "holds results of 3 of these payouts, such as po-0; give the journal" in error
        assert (sends, before) == (desk.sends, (desk.folder / out).read_bytes())
        assert not (desk.folder / "elsewhere.db").exists()

        # One that was made and never used, such as with a wrong endpoint, knows nobody either.
        other = desk.write(1, "other.csv", accounts=["1234567890"], prefix="other-")
        right, desk.environ["BILLBLEND_ENDPOINT_ID"] = desk.environ["BILLBLEND_ENDPOINT_ID"], "1"
        words = ("--journal", "elsewhere.db", "--out", "other-results.csv", *FAST)
        assert 4 == (await desk.billblend("pay", other, *words))[0]
        desk.environ["BILLBLEND_ENDPOINT_ID"] = right
        assert (desk.folder / "elsewhere.db").exists()
        assert 4 == (await desk.billblend("pay", file, *again))[0]
        assert sends == desk.sends
        assert 0 == (await desk.billblend("pay", other, *words))[0]
        assert sends + 2 == desk.sends

    async def test_a_journal_of_others(self, desk: Desk) -> None:
        """A journal that knows others does not pay those of whom the results tell."""
        file = desk.write(3, accounts=["1234567890"])
        assert 0 == (await desk.pay(file, *FAST))[0]
        other = desk.write(1, "other.csv", accounts=["1234567890"], prefix="other-")
        words = ("--journal", "elsewhere.db", "--out", "other-results.csv", *FAST)
        assert 0 == (await desk.billblend("pay", other, *words))[0]
        sends = desk.sends
        again = ("--journal", "elsewhere.db", "--out", "results.csv", *FAST)
        for more in ((), ("--dry-run",)):
            status, _, error = await desk.billblend("pay", file, *again, *more)
            assert 4 == status
            assert "this journal knows other payouts, but --out results.csv holds results" in error
            assert "declare it restored if it is an older copy" in error
        assert sends == desk.sends

        # What a declared copy has lost is asked about before anything is sent.
        declared = ("journal", "restored", "--journal", "elsewhere.db")
        assert 0 == (await desk.billblend(*declared))[0]
        assert 0 == (await desk.billblend("pay", file, *again, "--dry-run"))[0]

    async def test_dry_run_without_settings(self, desk: Desk) -> None:
        """A dry run tells what the file holds before it tells that a setting is missing."""
        desk.environ["BILLBLEND_LOGIN"] = ""
        status, out, error = await desk.billblend("pay", desk.write(3), "--dry-run")

        assert (4, "payouts.csv: 3 payout(s), 7.50 EUR\n") == (status, out)
        assert "billblend: BILLBLEND_LOGIN is not set\n" == error

    async def test_limits(self, desk: Desk) -> None:
        """A file beyond its limits is refused whole, and one within them is paid."""
        file = desk.write(3, accounts=["1234567890"])
        wrong = ("--expect-total", "EUR=7.51", "--max-amount", "3.4")
        status, out, error = await desk.pay(file, *wrong, *FAST)
        assert (3, "", 0) == (status, out, desk.sends)
        assert [
            "--expect-total EUR: is 7.51, but the file sums to 7.50",
            "line 4, amount: is above --max-amount, which is 3.4 EUR",
        ] == error.splitlines()[:2]
        right = ("--expect-total", "EUR=7.5", "--max-amount", "EUR=3.50")
        assert 0 == (await desk.pay(file, *right, *FAST))[0]

    @pytest.mark.parametrize("answer", ["no", None])
    async def test_real_money(self, desk: Desk, answer: str | None) -> None:
        """Where money is real nothing happens until a person says yes, and no journal is made."""
        desk.environ["BILLBLEND_BASE_URL"] = "https://pay.invalid/checkout"
        words = ("pay", desk.write(3), "--journal", "payouts.db", "--out", "results.csv")
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "billblend_async", *map(str, words)),
            env=desk.environ,
            cwd=desk.folder,
            stdin=asyncio.subprocess.DEVNULL if answer is None else theirs,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        os.write(ours, f"{answer}\n".encode())
        status, out, error = await ended(process)
        os.close(ours)
        os.close(theirs)

        assert (4, "") == (status, out)
        if answer is None:
            assert ["--yes"] == re.findall("--[a-z]+", error)
            assert 1 == error.count("\n")
        else:
            assert "About to pay 3 payout(s), 7.50 EUR" in error
            assert "with the new journal payouts.db, at pay.invalid." in error
            assert "not confirmed, so nothing was sent" in error
        assert {"key.pem", "payouts.csv"} == {path.name for path in desk.folder.iterdir()}

    async def test_approve_real_money(self, desk: Desk) -> None:
        """An approval where money is real is asked for as well, with what it pays."""
        batch = batch_of(desk.folder, "po-1,5,EUR,1")
        journal = SqliteJournal(desk.folder / "payouts.db")
        where, number = "https://pay.invalid/checkout", desk.sandbox.endpoint_id
        endpoint = Endpoint(base_url=where, endpoint_id=number)
        await journal.open(
            Owner(base_url=endpoint.base_url, login=desk.sandbox.login, endpoint=endpoint.path)
        )
        request = batch.rows[0].request
        fingerprint = request.fingerprint(journal.fingerprint_key)
        more: Any = {"amount": Decimal(5), "currency": "EUR", "fingerprint": fingerprint}
        payout = await journal.accept(opened("po-1", held=True, **more))
        for event in PATHS[State.VALIDATED]:
            payout = evolve(payout, event)
            await journal.append(payout, event)
        await journal.aclose()
        desk.environ["BILLBLEND_BASE_URL"] = where
        words = ("payouts.csv", "--journal", "payouts.db", "--out", "results.csv", "--who", "ann")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "billblend_async", "approve", *words),
            env=desk.environ,
            cwd=desk.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        status, _, error = await ended(process)

        assert 4 == status
        assert "add --yes to approve 1 payout(s): 5 EUR" in error

    @pytest.mark.parametrize("command", ["pay", "approve", "status"])
    async def test_no_journal_at_all(self, desk: Desk, command: str) -> None:
        """A payouts file that is given as the journal is told from one in a calm sentence."""
        file = desk.write(1)
        more = {
            "pay": (file, "--out", "results.csv"),
            "approve": (file, "--out", "results.csv", "--who", "ann"),
            "status": ("po-0",),
        }
        other = desk.write(1, "other.csv")
        before = other.read_bytes()
        words = (*more[command], "--journal", "other.csv")
        status, out, error = await desk.billblend(command, *words)

        assert (4, "", 1) == (status, out, error.count("\n"))
        assert "--journal other.csv: this is no journal; give the path of one" in error
        assert before == other.read_bytes()

    @pytest.mark.parametrize("path", [":memory:", "./:memory:"])
    async def test_journal_in_memory(self, desk: Desk, path: str) -> None:
        """A command takes no journal in memory, also not where money is no real one."""
        words = ("--journal", path, "--out", "results.csv", "--yes")
        status, out, error = await desk.billblend("pay", desk.write(1), *words)

        assert (4, "", 1) == (status, out, error.count("\n"))
        assert "--journal :memory:: a journal in memory forgets who was paid; give" in error
        assert 0 == desk.sends

    def test_missing_paths(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without --dry-run the journal and the results file must be given."""
        with pytest.raises(SystemExit) as caught:
            main(["pay", "payouts.csv"])

        assert 3 == caught.value.code
        assert "the following arguments are required: --journal, --out" in capsys.readouterr().err

    async def test_many_problems(self, desk: Desk) -> None:
        """Of very many problems the first hundred are shown, and all are counted."""
        file = desk.folder / "payouts.csv"
        file.write_text("\n".join([HEADER, *["po-1,x,EUR,1"] * 2000]))
        status, _, error = await desk.pay(file)
        lines = error.splitlines()

        assert (3, 102) == (status, len(lines))
        assert ["and 3,899 more", "billblend: 3,999 problem(s); nothing was sent."] == [
            lines[-2],
            lines[-1][:46],
        ]

    async def test_hidden_rows(self, desk: Desk) -> None:
        """A workbook with a hidden row pays nobody, neither in a dry run nor with --yes."""
        batch, book = read_batch(desk.write(3)), Workbook()
        for row in (batch.columns, *(row.cells for row in batch.rows)):
            book.worksheets[0].append(row)
        book.worksheets[0].row_dimensions[3].hidden = True
        file = desk.folder / "p.xlsx"
        book.save(file)
        for words in ("--yes", "--dry-run"):
            status, out, error = await desk.pay(file, words)
            assert (3, "", 0) == (status, out, desk.sends)
            assert f"{file}: row 3 is hidden, by a filter or by hand" in error

    @pytest.mark.parametrize("end", ["xlsx", "jsonl"])
    async def test_other_forms(self, desk: Desk, end: str) -> None:
        """A file of another form is paid, and its results have the form that their name says."""
        file = desk.write(2, accounts=["1234567890"])
        batch = read_batch(file)
        if end == "xlsx":
            book = Workbook()
            for row in (batch.columns, *(row.cells for row in batch.rows)):
                book.worksheets[0].append(row)
            book.save(desk.folder / "p.xlsx")
        else:
            texts = [json.dumps(dict(zip(batch.columns, r.cells, strict=True))) for r in batch.rows]
            (desk.folder / "p.jsonl").write_text("\n".join(texts))
        words = ("--journal", "payouts.db", "--out", f"r.{end}", *FAST)
        status, _, error = await desk.billblend("pay", desk.folder / f"p.{end}", *words)
        assert (0, "") == (status, error)
        assert {"po-0": 1, "po-1": 1} == dict(desk.count(RequestKind.PAY))
        again = await desk.billblend("pay", desk.folder / f"p.{end}", *words)
        assert (0, 4) == (again[0], desk.sends)
        if end == "xlsx":
            read = load_workbook(desk.folder / "r.xlsx")
            statuses = [row[6] for row in read.worksheets[0].values]
            assert ["status", "approved", "approved"] == statuses
