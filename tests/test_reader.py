"""A journal is read beside its writer, without a key to the gateway, and is not changed by it."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from journal_cases import LIVES, OWNER, any_life, grow, live
from journals import mixed, write_journal
from payouts import LINK, PATHS, opened

from billblend_async.errors import JournalDamaged, JournalMismatch, JournalUnavailable
from billblend_async.events import Event, Opened
from billblend_async.journal import reader
from billblend_async.journal.reader import SqliteReader
from billblend_async.journal.records import fold_events
from billblend_async.journal.smooth import fold_smooth
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.models import State
from billblend_async.payout import Payout

MODES = {"rollback": (3, 51, 2), "wal": (3, 51, 3)}


@pytest.fixture(params=MODES)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A place for a journal, in either of SQLite's modes."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", MODES[request.param])
    return tmp_path / "payouts.db"


def read(path: Path, known: dict[str, int] | None = None) -> list[Payout]:
    """Read the payouts of a journal."""
    return list(SqliteReader(path, busy_timeout=0.2).payouts(known))


def without_link(payout: Payout) -> Payout:
    """Take from a payout what a reader does not read."""
    return attrs.evolve(payout, redirect_to=payout.redirect_to and "")


async def open_journal(path: Path) -> SqliteJournal:
    """Open a journal as a run does."""
    journal = SqliteJournal(path)
    await journal.open(OWNER)
    return journal


class TestReading:
    async def test_every_life_is_read(self, path: Path) -> None:
        """What is read beside an open journal is what it holds, in its order, without the links."""
        journal = await open_journal(path)
        held = [
            await live(journal, attrs.evolve(first, client_orderid=f"po-{number}"), events)
            for number, (first, events) in enumerate(LIVES.values())
        ]
        assert read(path) == [without_link(payout) for payout in held]
        assert any(payout.redirect_to == LINK for payout in held)
        await journal.aclose()
        assert read(path) == [without_link(payout) for payout in held]

    def test_many_pages(self, path: Path) -> None:
        """Payouts of many pages are read once each and in the order they were accepted."""
        lives = list(mixed(3 * reader.PAGE))
        write_journal(path, lives)
        assert [payout.client_orderid for payout in read(path)] == [
            first.client_orderid for first, _ in lives
        ]

    def test_owner(self, path: Path) -> None:
        """The journal tells whose it is without any settings."""
        write_journal(path, [])
        assert SqliteReader(path).owner() == OWNER
        assert read(path) == []

    async def test_only_what_has_changed(self, path: Path) -> None:
        """Payouts that are known as they stand are passed over, and the others are read whole."""
        journal = await open_journal(path)
        for name in ("po-1", "po-2", "po-3"):
            await live(journal, opened(name), PATHS[State.VALIDATING])
        known = {payout.client_orderid: payout.sequence for payout in read(path)}
        assert read(path, known) == []
        (becomes, event), *_ = grow(read(path)[1], PATHS[State.FINAL][2:])
        await journal.append(becomes, event)
        assert read(path, known) == [becomes]
        await journal.aclose()

    def test_nothing_is_changed(self, path: Path) -> None:
        """Reading leaves every byte of a journal, and no file beside it."""
        write_journal(path, mixed(60))
        before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
        assert len(read(path)) == 60
        assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before

    def test_a_file_that_may_not_be_written(self, path: Path) -> None:
        """A copy that only may be read is read."""
        write_journal(path, mixed(10))
        path.chmod(0o400)
        assert len(read(path)) == 10

    async def test_the_run_goes_on_meanwhile(self, path: Path) -> None:
        """While somebody reads slowly, payouts are accepted and written."""
        journal = await open_journal(path)
        for number in range(2 * reader.PAGE):
            await journal.accept(opened(f"po-{number}"))
        reading = SqliteReader(path).payouts()
        assert next(reading).client_orderid == "po-0"
        async with asyncio.timeout(5):
            await live(journal, opened("new"), PATHS[State.FINAL])
        assert [payout.client_orderid for payout in reading][-1] == "new"
        await journal.aclose()

    def test_a_writer_that_holds_the_file(self, path: Path) -> None:
        """A file that is never let go of is told as held, after a while and not for ever."""
        write_journal(path, mixed(10))
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("PRAGMA locking_mode=EXCLUSIVE")
            writer.execute("BEGIN EXCLUSIVE")
            writer.execute("UPDATE meta SET value = value")
            if writer.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                writer.execute("COMMIT")
            with pytest.raises(JournalUnavailable, match="has held the file"):
                read(path)


CRASH = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE events SET data = data || ' '")
os._exit(0)
"""


def test_after_a_crash(path: Path) -> None:
    """What a writer left half written when it was killed is not read, and all before it is."""
    write_journal(path, mixed(500))
    before = read(path)
    subprocess.run([sys.executable, "-c", CRASH, str(path)], check=True, timeout=60)
    assert any(file.stat().st_size for file in path.parent.glob("payouts.db-*"))
    assert read(path) == before


def forge(sql: str) -> Callable[[Path], None]:
    """Edit a journal's file with SQLite itself."""

    def edit(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(sql)

    return edit


def spoil(path: Path) -> None:
    """Put another key in the place of the journal's."""
    path.with_name(f"{path.name}.key").write_text("0" * 64)


FORGERIES: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "amount": (
        forge("UPDATE events SET data = replace(data, '10.42', '99.99') WHERE sequence = 0"),
        JournalDamaged,
        "not as it was written",
    ),
    "state": (forge("UPDATE payouts SET state = 'new'"), JournalDamaged, "do not lead to"),
    "known to nobody": (
        forge("UPDATE payouts SET state = 'rich'"),
        JournalDamaged,
        "does not fit its events",
    ),
    "event gone": (
        forge("DELETE FROM events WHERE sequence = 2"),
        JournalDamaged,
        "does not fit its events",
    ),
    "payout gone": (forge("DELETE FROM payouts"), JournalDamaged, "does not fit its events"),
    "no text": (
        forge("UPDATE events SET data = CAST(x'ff00ff' AS TEXT) WHERE sequence = 0"),
        JournalDamaged,
        "no UTF-8",
    ),
    "no journal": (forge("DROP TABLE events"), JournalDamaged, "not those of a journal"),
    "no owner": (
        forge("DELETE FROM meta WHERE name = 'login'"),
        JournalDamaged,
        "does not say its login",
    ),
    "later release": (
        forge("UPDATE meta SET value = '99' WHERE name = 'version'"),
        JournalMismatch,
        "version 99",
    ),
    "other key": (spoil, JournalMismatch, "restore the key file payouts.db.key"),
    "no key": (
        lambda path: path.with_name(f"{path.name}.key").unlink(),
        JournalDamaged,
        "key file payouts.db.key: No such file",
    ),
    "no database": (
        lambda path: path.write_bytes(b"client_orderid,amount\n" * 100),
        JournalDamaged,
        "SQLITE_NOTADB",
    ),
    "no file": (
        lambda path: path.unlink(),
        JournalUnavailable,
        r"\(SQLITE_CANTOPEN\)\. Nothing is told",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_was_not_written_is_refused(path: Path, forgery: str) -> None:
    """A journal that was edited, lost its key or is none is refused in one sentence."""
    edit, kind, words = FORGERIES[forgery]
    write_journal(path, [(opened(), PATHS[State.FINAL])])
    edit(path)

    def look() -> None:
        SqliteReader(path).owner()
        read(path)

    with pytest.raises(kind, match=words) as caught:
        look()
    assert "99.99" not in str(caught.value)
    assert "\n" not in str(caught.value)


class TestSmooth:
    @pytest.mark.parametrize("life", LIVES)
    def test_lives(self, life: str) -> None:
        """A life that is known at a glance is what the machine makes of it."""
        self._agrees(*LIVES[life])

    def test_most_are_smooth(self) -> None:
        """Nearly all payouts of a usual day are known at a glance."""
        known = [fold_smooth([first, *events]) for first, events in mixed(1000)]
        assert sum(payout is not None for payout in known) > 900

    @settings(max_examples=300, deadline=None)
    @given(life=any_life())
    def test_any_life(self, life: tuple[Opened, tuple[Event, ...]]) -> None:
        """Whatever happens to a payout, the glance and the machine never disagree."""
        self._agrees(*life)

    @pytest.mark.parametrize(
        "change",
        [
            {"status": "declined", "amount": None},
            {"amount": None, "currency": None},
            {"amount": 9},
            {"currency": "EUR"},
            {"currency": "usd"},
            {"transaction_type": "reversal"},
            {"order_stage": "chargeback_approved"},
            {"paynet_order_id": "7"},
            {"status": "error", "error_code": "1", "error_message": "no"},
        ],
    )
    def test_odd_ends(self, change: dict[str, Any]) -> None:
        """An end that is odd in any way is left to the machine, or told as the machine tells it."""
        first, events = LIVES["final"]
        last = attrs.evolve(events[-1], **change)
        self._agrees(first, (*events[:-1], last))
        self._agrees(attrs.evolve(first, currency="usd"), (*events[:-1], last))

    def _agrees(self, first: Opened, events: tuple[Event, ...]) -> None:
        told = [first, *(event for _, event in grow(first, events))]
        known = fold_smooth(told)
        assert known is None or known == fold_events(first.client_orderid, told)


def test_repr_shows_where_it_lies(tmp_path: Path) -> None:
    """A reader shows its path and nothing of what it reads."""
    assert repr(SqliteReader(tmp_path / "a.db")) == f"<SqliteReader {tmp_path / 'a.db'}>"
