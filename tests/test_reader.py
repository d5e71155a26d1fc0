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

from billblend_async.core.events import Event, Opened
from billblend_async.core.models import State
from billblend_async.core.payout import Payout
from billblend_async.errors import ClosedError, JournalDamaged, JournalMismatch, JournalUnavailable
from billblend_async.journal import Owner
from billblend_async.journal import sqlite as reader
from billblend_async.journal.codec import fold_events
from billblend_async.journal.smooth import fold_smooth
from billblend_async.journal.sqlite import SqliteJournal, SqliteReader

MODES = {"rollback": (3, 51, 2), "wal": (3, 51, 3)}


@pytest.fixture(params=MODES)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A place for a journal, in either of SQLite's modes."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", MODES[request.param])
    return tmp_path / "payouts.db"


def read(path: Path, known: dict[str, int] | None = None) -> list[Payout]:
    """Read the payouts of a journal."""
    with SqliteReader(path, busy_timeout=0.2) as opened:
        return list(opened.payouts(known))


def owner_of(path: Path) -> Owner | None:
    """Ask a journal whose it is."""
    with SqliteReader(path) as opened:
        return opened.owner()


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
        lives = list(mixed(3 * reader._READ_PAGE))
        write_journal(path, lives)
        assert [payout.client_orderid for payout in read(path)] == [
            first.client_orderid for first, _ in lives
        ]

    def test_owner(self, path: Path) -> None:
        """The journal tells whose it is without any settings."""
        write_journal(path, [])
        assert owner_of(path) == OWNER
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
        for number in range(2 * reader._READ_PAGE):
            await journal.accept(opened(f"po-{number}"))
        with SqliteReader(path) as slow:
            reading = slow.payouts()
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


class TestLookingUp:
    async def test_every_life_is_found(self, path: Path) -> None:
        """What is found beside an open journal is what it loads, links too, in the order asked."""
        journal = await open_journal(path)
        names = [f"po-{number}" for number in range(len(LIVES))]
        for name, (first, events) in zip(names, LIVES.values(), strict=True):
            await live(journal, attrs.evolve(first, client_orderid=name), events)
        asked = [*reversed(names), "nobody", names[0]]
        with SqliteReader(path) as opened:
            found = list(opened.find(iter(asked)))
            assert sorted(opened.names()) == sorted(names)
            assert opened.fingerprint_key == journal.fingerprint_key
            assert opened.holds_payouts
        assert found == [await journal.load(name) for name in asked]
        assert any(payout is not None and payout.redirect_to == LINK for payout in found)
        assert found[-2] is None
        await journal.aclose()

    def test_many_pages(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Payouts of many pages are found, and those that are not there are told at their place."""
        monkeypatch.setattr(reader, "LIST", 100)
        count = 2 * reader._READ_PAGE + 3
        write_journal(path, mixed(count))
        held = {payout.client_orderid: payout for payout in read(path)}
        asked = [name for each in held for name in (each, f"no-{each}")]
        with SqliteReader(path) as opened:
            found = [payout and without_link(payout) for payout in opened.find(asked)]
            assert list(opened.names()) == list(held)
        assert found == [held.get(name) for name in asked]

    @pytest.mark.parametrize("is_made", [False, True])
    async def test_nothing_to_find(self, path: Path, *, is_made: bool) -> None:
        """A journal that is not there, or without payouts, knows none and has no key to tell."""
        if is_made:
            await (await open_journal(path)).aclose()
            path.with_name("payouts.db.key").unlink()  # the next run makes another
        with SqliteReader(path) as opened:
            opened.check(attrs.evolve(OWNER, login="somebody else"))
            assert list(opened.find(["po-1", "po-2"])) == [None, None]
            assert (list(opened.names()), opened.holds_payouts) == ([], False)
            assert opened.fingerprint_key == b""
            if is_made:
                assert list(opened.payouts()) == []
            else:
                with pytest.raises(JournalUnavailable, match="there is no such file"):
                    opened.owner()
        assert is_made or not list(path.parent.iterdir())

    def test_an_empty_file(self, path: Path) -> None:
        """A file that nobody has written to is nobody's, and nothing is found in it."""
        path.touch()
        with SqliteReader(path) as opened:
            opened.check(OWNER)
            assert opened.owner() is None
            assert list(opened.find(["po-1"])) == [None]
            assert list(opened.payouts()) == []

    @pytest.mark.parametrize(
        ("states", "changes", "field"),
        [
            ([State.FINAL], {"login": "b"}, "login"),
            ([State.NEW], {"login": "b"}, "login"),
            ([State.FINAL], {"base_url": "https://b.example/checkout"}, "base_url"),
            ([State.NEW], {"base_url": "https://b.example/checkout", "endpoint": "8"}, None),
            ([State.CHECKING], {"endpoint": "8"}, "endpoint"),
            ([State.FINAL], {}, None),
        ],
    )
    async def test_whose_it_is(
        self, path: Path, states: list[State], changes: dict[str, str], field: str | None
    ) -> None:
        """It is refused to whoever a run would refuse it to, and taken by whoever may mend it."""
        journal = await open_journal(path)
        for number, state in enumerate(states):
            await live(journal, opened(f"po-{number}"), PATHS[state])
        await journal.aclose()
        owner = attrs.evolve(OWNER, **changes)

        def look() -> None:
            with SqliteReader(path) as looking:
                looking.check(owner)

        journal = SqliteJournal(path)
        if field is None:
            look()
            await journal.open(owner)
        else:
            with pytest.raises(JournalMismatch) as told:
                look()
            with pytest.raises(JournalMismatch) as refused:
                await journal.open(owner)
            assert told.value.field == refused.value.field == field
        await journal.aclose()

    async def test_restored(self, path: Path) -> None:
        """A restored copy may have forgotten what was sent, so only its own owner looks into it."""
        journal = await open_journal(path)
        await journal.declare_restored(0.0)
        await journal.aclose()
        with (
            SqliteReader(path) as opened,
            pytest.raises(JournalMismatch, match="holds payouts of endpoint 39915"),
        ):
            opened.check(attrs.evolve(OWNER, endpoint="8"))

    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ("UPDATE events SET data = replace(data, '10.42', '99.99')", "not as it was written"),
            ("UPDATE payouts SET state = 'new'", "do not lead to the state that is listed"),
            ("UPDATE payouts SET client_orderid = 'po-2'", "do not lead to the state"),
            ("DELETE FROM payouts", "does not fit its events"),
            ("DELETE FROM events", "does not fit its events"),
            ("DELETE FROM secrets", "a secret was erased before the payout was final"),
            ("UPDATE secrets SET data = '{}'", "not as it was written"),
            ("DELETE FROM meta WHERE name = 'key_check'", "there is no key to check it with"),
        ],
    )
    def test_forged(self, path: Path, sql: str, words: str) -> None:
        """Whatever was edited is found before a payout is told, its link too."""
        write_journal(path, [(opened("po-1"), PATHS[State.AWAITING_RECEIVER])])
        forge(sql)(path)
        with (
            SqliteReader(path) as looking,
            pytest.raises(JournalDamaged, match=words) as caught,
        ):
            list(looking.find(["po-1"]))
        assert "99.99" not in str(caught.value)

    def test_replaced_meanwhile(self, path: Path, tmp_path: Path) -> None:
        """A file that took the place of the one that was opened is noticed at the next page."""
        write_journal(path, mixed(2 * reader._READ_PAGE))
        other = tmp_path / "other.db"
        write_journal(other, mixed(1))
        names = [payout.client_orderid for payout in read(path)]
        with SqliteReader(path) as opened:
            found = opened.find(names)
            assert next(found) is not None
            other.replace(path)
            with pytest.raises(JournalUnavailable, match="moved or replaced while it was open"):
                list(found)

    def test_only_inside_with(self, path: Path) -> None:
        """Before and after its block a reader says that it is closed."""
        write_journal(path, mixed(1))
        looking = SqliteReader(path)
        with looking:
            assert list(looking.names())
        for ask in (looking.owner, lambda: list(looking.names()), lambda: next(looking.payouts())):
            with pytest.raises(ClosedError):
                ask()

    @pytest.mark.parametrize("way", ["find", "payouts"])
    def test_a_directory(self, tmp_path: Path, way: str) -> None:
        """A directory is no journal, however it is asked."""
        with (
            pytest.raises(JournalUnavailable, match="this is a directory"),
            SqliteReader(tmp_path) as opened,
        ):
            getattr(opened, way)()


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
        "key file payouts.db.key is missing; restore it",
    ),
    "no database": (
        lambda path: path.write_bytes(b"client_orderid,amount\n" * 100),
        JournalDamaged,
        "SQLITE_NOTADB",
    ),
    "no file": (
        lambda path: path.unlink(),
        JournalDamaged,
        "the file is gone, but its key file is there",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_was_not_written_is_refused(path: Path, forgery: str) -> None:
    """A journal that was edited, lost its key or is none is refused in one sentence."""
    edit, kind, words = FORGERIES[forgery]
    write_journal(path, [(opened(), PATHS[State.FINAL])])
    edit(path)

    def look() -> None:
        owner_of(path)
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
