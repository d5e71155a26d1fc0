"""The SQLite file behind a journal: its tables, its connection, its transactions and its checks.

Everything here runs in the writer's thread, except ``QuietFile`` and ``inspect_journal``, which
look at a file beside a writer and change nothing. The file is long because one rule joins its
parts: whatever opens the file must check it in the same way.
"""

import contextlib
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from ..core.events import Event, Restored
from ..core.machine import evolve
from ..core.models import State
from ..core.payout import Payout
from ..errors import (
    ClaimLost,
    ClosedError,
    JournalDamaged,
    JournalError,
    JournalMismatch,
    JournalRolledBack,
    JournalUnavailable,
)
from . import Owner
from .codec import fold_events, read_sealed, seal_event, write_event
from .group_commit import Job
from .key_file import (
    check_of,
    find_key,
    has_key,
    is_marked,
    itself,
    key_file,
    make_key,
    make_mark,
    make_private,
    mark_file,
    read_mark,
    remove_mark,
    tighten,
)

__all__ = [
    "AUDIT",
    "BINDS",
    "LISTED_IN",
    "PAGE",
    "TABLES",
    "VERSION",
    "Database",
    "Handle",
    "Inspection",
    "QuietFile",
    "Trouble",
    "add_event",
    "damaged",
    "describe_sqlite",
    "inspect_journal",
    "journal_mode",
    "load_payout",
    "look_at",
    "mark_restored",
    "read_page",
    "write_news",
]

VERSION: Final = 1
"""The layout of the tables and the way of writing events."""

TABLES: Final = {
    "meta": "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "payouts": (
        "CREATE TABLE payouts (place INTEGER PRIMARY KEY, client_orderid TEXT NOT NULL UNIQUE,"
        " state TEXT NOT NULL, sequence INTEGER NOT NULL)"
    ),
    "events": (
        "CREATE TABLE events (client_orderid TEXT NOT NULL, sequence INTEGER NOT NULL,"
        " name TEXT NOT NULL, data TEXT NOT NULL, seal BLOB NOT NULL,"
        " PRIMARY KEY (client_orderid, sequence)) WITHOUT ROWID"
    ),
    # Secrets stand apart from the log, in the order they come, and are overwritten where they
    # stand: a page of this table is never split or merged, which would leave copies behind that
    # even secure_delete does not reach.
    "secrets": (
        "CREATE TABLE secrets (place INTEGER PRIMARY KEY, client_orderid TEXT NOT NULL,"
        " sequence INTEGER NOT NULL, data TEXT NOT NULL, seal BLOB NOT NULL)"
    ),
    "secrets_of": "CREATE INDEX secrets_of ON secrets (client_orderid, sequence)",
}
"""What makes each table and index, by its name: exactly this stands in the file."""

_BEGUN: Final = "SELECT 1 FROM events WHERE name NOT IN ('Opened', 'Withdrawn') LIMIT 1"
"""Asks whether anything was ever claimed, approved or restored: without a claim nothing is sent."""

BINDS: Final = {
    "base_url": _BEGUN,
    # Whoever accepted a payout wants it paid by this login, although nothing was sent yet.
    "login": "SELECT 1 FROM payouts LIMIT 1",
    # What has left before a release, or before a copy was restored, is looked for at its endpoint.
    "endpoint": (
        f"SELECT 1 WHERE EXISTS (SELECT 1 FROM payouts WHERE state <> 'new' AND EXISTS ({_BEGUN}))"  # noqa: S608 - ours alone
        " OR EXISTS (SELECT 1 FROM events WHERE name IN ('Released', 'Restored'))"
    ),
}
"""Asks, for each setting of a journal's owner, whether it stands for ever."""

LISTED_IN: Final = "SELECT client_orderid FROM payouts WHERE instr(?, ' ' || state || ' ') > 0"
"""Names the payouts in one of some states."""

AUDIT: Final = (
    "SELECT (SELECT count(*) FROM events) = (SELECT coalesce(sum(sequence + 1), 0) FROM payouts)"
    " AND NOT EXISTS (SELECT 1 FROM payouts WHERE instr(?, ' ' || state || ' ') = 0)"
)
"""Asks whether the list of payouts fits the events in number and names known states only."""


Trouble = JournalUnavailable | JournalDamaged | JournalMismatch

_SETTINGS: Final = {
    "synchronous": 2,  # FULL: what is committed is on the disk
    "fullfsync": 1,  # where it exists (macOS), fsync alone leaves it in the disk's cache
    "secure_delete": 1,  # what is erased is overwritten
    "trusted_schema": 0,  # a doctored file runs no function of ours
    "cell_size_check": 1,
    "temp_store": 2,  # nothing of the journal lands in a temporary file
}
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PAUSE: Final = 0.001


def journal_mode(version: tuple[int, int, int]) -> str:
    """Choose SQLite's journal mode for a version of SQLite.

    WAL is the faster one. Up to 3.51.2 (fixed in 3.50.7 and 3.44.6 too) two connections that
    write and checkpoint at the same moment can damage a file in WAL mode, the "WAL-reset bug" of
    https://sqlite.org/wal.html: there a rollback journal is kept, which is as durable.
    """
    fixed = (
        version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51)
        or ((3, 44, 6) <= version < (3, 45))
    )
    return "wal" if fixed else "truncate"


class Handle:
    """A SQLite file, or a database in memory, and the one connection to it.

    Args:
        name: Where it lies, as the caller wrote it; ``:memory:`` for nowhere.
        busy_timeout: Seconds to wait for another program that holds the file.

    Attributes:
        name: Where it lies, as the caller wrote it.
        erased: Whether a secret was erased that a write-ahead log may still hold.
    """

    def __init__(self, name: str, busy_timeout: float) -> None:
        self.name = name
        self.erased = False
        self._busy_timeout = busy_timeout
        self._path = None if name == ":memory:" else Path(name).absolute()
        self._mode = "memory" if self._path is None else journal_mode(sqlite3.sqlite_version_info)
        self._connection: sqlite3.Connection | None = None

    def execute(
        self, sql: str, values: Sequence[object] = (), *, blocked: str = ""
    ) -> sqlite3.Cursor:
        """Execute one statement on the one connection; wait while another one holds the file.

        SQLite's own waiting naps for up to 100 ms, and a busy neighbour would starve us.

        Args:
            sql: The statement.
            values: What its marks stand for.
            blocked: What to say when the file is not free in time.
        """
        until: float | None = None
        while True:
            if self._connection is None:
                raise self._unavailable("it is not open")
            try:
                return self._connection.execute(sql, values)
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
            now = time.monotonic()
            until = now + self._busy_timeout if until is None else until
            if now >= until:
                held = f"another program has held the file for {self._busy_timeout:g} seconds"
                raise self._unavailable(blocked or held)
            time.sleep(_PAUSE)

    def rest(self) -> None:
        """Empty the write-ahead log when something was erased that it may still hold."""
        if self.erased and self._mode == "wal":
            with contextlib.suppress(sqlite3.Error, JournalUnavailable):
                busy, *_ = self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self.erased = bool(busy)

    def close(self) -> None:
        """Close the file; what is in it stays as it is."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _connect(self) -> None:
        target = ":memory:" if self._path is None else f"{self._path.as_uri()}?mode=rw"
        self._connection = sqlite3.connect(
            target, timeout=0, isolation_level=None, uri=self._path is not None
        )
        # A damaged text must not become a foreign exception: its seal is broken anyway.
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        for name, value in _SETTINGS.items():
            self.execute(f"PRAGMA {name}={value}")
            if self.execute(f"PRAGMA {name}").fetchone() not in ((value,), None):
                raise self._unavailable(f"SQLite refuses PRAGMA {name}={value}")
        if self._path is not None:
            self._choose_mode()

    def _choose_mode(self) -> None:
        """Put the file into the journal mode that is safe with this SQLite."""
        blocked = (
            f"another program holds the file and it cannot be put into journal mode {self._mode},"
            f" the one that is safe with SQLite {sqlite3.sqlite_version}"
        )
        change = self.execute(f"PRAGMA journal_mode={self._mode}", blocked=blocked)
        if change.fetchone() != (self._mode,):
            raise self._unavailable(blocked)

    def _check_mode(self) -> None:
        """Look again in each transaction: another program may have switched a file at rest."""
        if self.execute("PRAGMA journal_mode").fetchone() != (self._mode,):
            raise self._unavailable("another program has changed its journal mode")

    def _told(self, error: Exception) -> Trouble:
        """Say in our words what failed; frames and foreign errors, which may hold data, stay."""
        if isinstance(error, Trouble):
            return error.with_traceback(None)
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            reason = f"SQLite says: {error}"
            return self._damaged(reason) if code in _DAMAGED else self._unavailable(reason)
        if isinstance(error, OSError):
            return self._unavailable(error.strerror or type(error).__name__)
        return self._unavailable(f"unexpected {type(error).__name__}")

    def _unavailable(self, reason: str) -> JournalUnavailable:
        return JournalUnavailable(self.name, reason)

    def _damaged(self, reason: str) -> JournalDamaged:
        return JournalDamaged(self.name, reason)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def look_at(name: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tell which file has a name, and when it was written last."""
    status = os.stat(name)  # noqa: PTH116 - a path would cost more than the call
    return (status.st_dev, status.st_ino), (status.st_mtime_ns, status.st_size)


PAGE: Final = 64
"""Payouts that are read at once while iterating."""

_APPEND: Final = (
    "INSERT INTO events (client_orderid, sequence, name, data, seal)"
    " SELECT client_orderid, sequence + 1, ?3, ?4, ?5 FROM payouts"
    " WHERE client_orderid = ?1 AND sequence = ?2 - 1 ON CONFLICT DO NOTHING"
)
_MOVE: Final = "UPDATE payouts SET state = ?, sequence = ? WHERE client_orderid = ?"
_EVENTS: Final = (
    "SELECT sequence, name, data, seal FROM events WHERE client_orderid = ? ORDER BY sequence"
)
_LISTED: Final = "SELECT state, sequence FROM payouts WHERE client_orderid = ?"
_REVEAL: Final = (
    "SELECT data, seal FROM secrets"
    " WHERE client_orderid = ? AND sequence = ? AND seal <> zeroblob(length(seal))"
)
_OPEN_STATES: Final = f" {' '.join(state for state in State if not state.is_terminal)} "
_PAGE: Final = (
    "SELECT place, client_orderid FROM payouts"
    " WHERE place > ? AND instr(?, ' ' || state || ' ') > 0 ORDER BY place LIMIT ?"
)


def damaged(database: "Database", key: str, reason: str) -> JournalDamaged:
    """Say what is wrong with a payout."""
    return JournalDamaged(database.name, f"payout {key}: {reason}")


def add_event(database: "Database", becomes: Payout, name: str, data: str) -> None:
    """Write an event at the place ``becomes.sequence``, and what it makes of the payout.

    Raises:
        ClaimLost: That is not the next place.
    """
    key, sequence = becomes.client_orderid, becomes.sequence
    seal = seal_event(database.key, key, sequence, name, data)
    if database.execute(_APPEND, (key, sequence, name, data, seal)).rowcount != 1:
        raise ClaimLost(key, sequence)
    database.execute(_MOVE, (becomes.state.value, sequence, key))
    database.note(key, sequence, seal)


def write_news(database: "Database", payout: Payout, event: Event) -> Payout:
    """Write an event that holds no secret, if it changes the payout."""
    becomes = evolve(payout, event)
    if becomes is not payout:
        add_event(database, becomes, type(event).__name__, write_event(event))
    return becomes


def mark_restored(database: "Database", at: float) -> int:
    """Mark the journal as restored, and each unfinished payout; tell how many those were."""
    # All are read before one is written: a damaged one leaves the journal as it is.
    unfinished = [_listed(database, key) for key in database.listed(_OPEN_STATES)]
    database.begin_restoration(at)
    event = Restored(at=at)
    return sum(write_news(database, payout, event) is not payout for payout in unfinished)


def load_payout(database: "Database", key: str) -> tuple[Payout, list[Event]] | None:
    """Read a payout and its events, and compare them with what the list says."""
    listed = database.execute(_LISTED, (key,)).fetchone()
    events = _events(database, key)
    if listed is None and not events:
        return None
    try:
        payout = fold_events(key, events)
    except ValueError as error:
        reason = str(error)
    else:
        if listed == (payout.state.value, payout.sequence):
            return payout, events
        reason = "its events do not lead to the state that is listed"
    raise damaged(database, key, reason)


def read_page(database: "Database", *, after: int, states: str) -> list[tuple[int, Payout]]:
    """Read the next payouts in some states, each with its place."""
    page = []
    for place, key in database.execute(_PAGE, (after, states, PAGE)).fetchall():
        page.append((place, _listed(database, key)))
    return page


def _events(database: "Database", key: str) -> list[Event]:
    events: list[Event] = []
    for sequence, name, *record in database.execute(_EVENTS, (key,)).fetchall():
        if sequence != len(events):
            raise damaged(database, key, f"event {len(events)} is missing")
        event = _event(database, key, sequence, name, *record)
        if event.secret:
            secret = database.execute(_REVEAL, (key, sequence)).fetchone()
            if secret is not None:
                event = _event(database, key, sequence, name, *secret)
        events.append(event)
    return events


def _event(
    database: "Database", key: str, sequence: int, name: object, data: object, seal: object
) -> Event:
    try:
        return read_sealed(database.key, key, sequence, name, data, seal)
    except ValueError as error:
        reason = str(error)
    raise damaged(database, key, f"event {sequence}: {reason}")


def _listed(database: "Database", key: str) -> Payout:
    found = load_payout(database, key)
    if found is None:
        raise damaged(database, key, "it is listed and cannot be read")
    return found[0]


_Note = tuple[str, int, bytes]
_META: Final = "SELECT name, value FROM meta"
_STANDS: Final = (
    "SELECT group_concat(name || ' ' || length(value) || ' ' || value),"
    " (SELECT seal FROM events WHERE client_orderid = ? AND sequence = ?) FROM meta"
)
"""Tells in one row whether anything of the settings has changed, and the seal of an entry."""


class Database(Handle):
    """One SQLite file with a journal's tables.

    Args:
        name: Where it lies, as the caller wrote it.
        owner: Whose payouts it holds.
        busy_timeout: Seconds to wait for another program that holds the file.
        random_bytes: Where a new key comes from.
        wall_clock: Seconds since the epoch, for the mark of an older copy.
        key: The journal's secret where it is known already: then nothing is made, and no other
            journal is opened.

    Attributes:
        key: The journal's secret, once it is open.
    """

    def __init__(
        self,
        name: str,
        owner: Owner,
        *,
        busy_timeout: float,
        random_bytes: Callable[[int], bytes],
        wall_clock: Callable[[], float],
        key: bytes = b"",
    ) -> None:
        super().__init__(name, busy_timeout)
        self.key = key
        self._check = ""
        self._owner = owner
        self._settings: dict[str, str] = attrs.asdict(owner)
        self._random_bytes = random_bytes
        self._wall_clock = wall_clock
        self._must_exist = bool(key)
        self._given = self._path
        self._mark = ""
        self._inode = (0, 0)
        self._stamp = (0, 0)
        self._names: tuple[str, ...] = ()
        self._meta: dict[str, str] | None = None
        self._last_meta: dict[str, str] | None = None
        self._text = ""
        self._noted: _Note | None = None
        self._written: _Note | None = None
        self._is_marking = False
        self._rolled_back: JournalRolledBack | None = None

    # What the writer drives

    def open(self) -> Trouble | None:
        """Open the file, or make it, and check all of it."""
        try:
            self._find()
            self._connect()
            self._examine()
        except Exception as error:  # noqa: BLE001 - the thread must tell, whatever it was
            return self._told(error)
        return None

    def transact(self, jobs: Sequence[Job["Database"]]) -> list[object]:
        """Do all jobs in one transaction, or none of them."""
        if self._rolled_back is not None:
            return [attrs.evolve(self._rolled_back) for _ in jobs]
        is_known, results = False, []
        writes = any(job.writes for job in jobs)
        try:
            self._find_again()
            with self._transaction(writes=writes):
                self._look_back()
                is_known = True
                if writes:
                    self._mark_if_asked()
                results = [self._result(job) for job in jobs]
            self._take_mark_away()
        except Exception as error:  # noqa: BLE001 - the thread must tell, whatever it was
            problem = self._told(error)
        else:
            return results
        if self._path is not None:
            self.close()  # the next group begins with a fresh connection
            if isinstance(problem, JournalDamaged) and not is_known:
                problem = self._rolled_back = self._mark_what_is_there(problem.reason)
        return [attrs.evolve(problem) for _ in jobs]

    def note(self, key: str, sequence: int, seal: bytes) -> None:
        """Note what was written; once it is committed, it must be there in every transaction."""
        self._noted = (key, sequence, seal)

    def check_owner(self) -> None:
        """Be sure that the journal is still ours: before its first claim it may change hands."""
        for name, expected in self._settings.items():
            if (found := self._recall(name)) != expected:
                raise JournalMismatch(self.name, name, expected, str(found))

    @property
    def is_restored(self) -> bool:
        """Whether payouts that were made after this copy may be missing from it."""
        return self._recall("restored") is not None

    def begin_restoration(self, at: float) -> None:
        """Take note that it was restored; a mark beside it lasts until that is committed."""
        if self._path is not None and not self._must_exist:
            if not self._is_asked:
                make_mark(self._path, at)
            self._is_marking = True
        self._remember("restored", "yes")

    def end_restoration(self) -> None:
        """Take note that it knows every payout again."""
        self._forget("restored")

    def listed(self, states: str) -> list[str]:
        """Name the payouts that are listed in one of these states."""
        rows = self.execute(LISTED_IN, (states,)).fetchall()
        return [str(name) for (name,) in rows]

    # Opening

    def _find(self) -> None:
        """Make the file when there is none yet, and keep it to its owner."""
        if self._given is None:
            return
        self._path = path = itself(self._given)
        if not path.parent.is_dir():
            raise self._unavailable(f"the directory {path.parent} is not there; make it")
        if path.is_dir():
            raise self._unavailable("this is a directory; give the path of a file")
        self._mark = str(mark_file(path))
        # The key is looked for first: it is made after the file, so it never stands alone.
        had_key = self._must_exist or has_key(self._given)
        if not path.exists():
            if had_key:
                raise self._damaged("the file is gone, but its key file is there")
            make_private(path, b"")
        self._names = tuple(dict.fromkeys((str(path), str(self._given))))
        self._inode, self._stamp = look_at(self._names[0])

    def _find_again(self) -> None:
        """Be sure that what is written lands in the file that has the name, by each of its names.

        Raises:
            JournalDamaged: It does not; the file was moved, replaced or removed.
        """
        stamp = self._stamp
        for name in self._names:
            try:
                inode, stamp = look_at(name)
                is_same = inode == self._inode
            except (FileNotFoundError, NotADirectoryError):
                is_same = False
            if not is_same:
                raise self._damaged("the file was moved, replaced or removed while it was open")
        if self._connection is None:
            self._connect()
        elif stamp != self._stamp:
            # Somebody else has written. SQLite goes by a counter in the file that may be the same
            # in a foreign one, and would take pages in its memory for that file's.
            self.execute("PRAGMA shrink_memory")

    def _examine(self) -> None:
        (verdict,) = self.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise self._damaged("SQLite's quick_check finds the file damaged")
        with self._transaction():
            self._settle()
        if self._path is not None:
            tighten(self._path)  # only now is it known to be ours
        (fits,) = self.execute(AUDIT, (f" {' '.join(State)} ",)).fetchone()
        if not fits:
            raise self._damaged("its list of payouts does not fit its events")
        if self._path is None:
            self.key = self._random_bytes(32)
            with self._transaction():
                self._remember("key_check", check_of(self.key))
        else:
            with self._transaction():
                self.key = self._agree_on_key(self._path)
            with self._transaction():
                self._mark_if_asked()
            self._take_mark_away()
        self._check = check_of(self.key)

    def _settle(self) -> None:
        """Make the tables in a new file; in another, check whose they are."""
        tables = dict(
            self.execute(
                "SELECT name, sql FROM sqlite_master"
                " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
            ).fetchall()
        )
        if not tables:
            if self._must_exist or (self._given is not None and has_key(self._given)):
                raise self._damaged("the file is empty, but its key file is there")
            for sql in TABLES.values():
                self.execute(sql)
            for name, value in {"version": str(VERSION), **self._settings}.items():
                self._remember(name, value)
            return
        version = self._recall("version") if "meta" in tables else None
        if version is not None and version.isdecimal() and int(version) > VERSION:
            raise JournalMismatch(self.name, "version", str(VERSION), version)
        if tables != TABLES or version != str(VERSION):
            raise self._damaged("its tables are not those of a journal")
        for name, expected in self._settings.items():
            found = self._recall(name)
            if found is None:
                raise self._damaged(f"it does not say its {name}")
            if found != expected:
                # Settings that were wrong from the start are mended before anything depends on
                # them. A restored copy may have forgotten what was sent, so it stays bound.
                is_restored = self.is_restored or self._is_asked or self._must_exist
                if is_restored or self.execute(BINDS[name]).fetchone() is not None:
                    raise JournalMismatch(self.name, name, expected, found)
                self._remember(name, expected)

    def _agree_on_key(self, path: Path) -> bytes:
        """Read the secret from its file; make both where the journal has never had one.

        The tables are there before the key file, the key file before the check of it, and this
        runs under SQLite's lock. So whatever crashes, a journal that holds payouts has its check,
        which is never replaced.
        """
        known = self._recall("key_check")
        if self._must_exist:
            if known != check_of(self.key):
                raise self._mismatched(check_of(self.key), known)
            return self.key
        right = key_file(path)
        found = find_key(self._given or path, known)
        if found is None:
            if known is not None or self.execute("SELECT 1 FROM payouts LIMIT 1").fetchone():
                raise self._damaged(f"its key file {right.name} is missing; restore it")
            make_key(right, self._random_bytes(32))
            found = find_key(path, known)
        lies, key = found or (right, None)
        if key is None:
            raise self._damaged(f"its key file {lies.name} holds no key; restore it")
        check = check_of(key)
        if known is None:
            self._remember("key_check", check)
        elif known != check:
            wanted = f"{check} (restore the key file {lies.name} that belongs to this journal)"
            raise self._mismatched(wanted, known)
        if lies != right and not right.exists():
            make_key(right, key)  # an earlier release has made it beside a link
        tighten(lies)
        return key

    def _mismatched(self, expected: str, found: str | None) -> JournalMismatch:
        return JournalMismatch(self.name, "fingerprint key", expected, str(found))

    def _recall(self, name: str) -> str | None:
        """Read a setting of the journal; all of them once in each transaction."""
        if self._meta is None:
            self._meta = {key: str(value) for key, value in self.execute(_META).fetchall()}
        return self._meta.get(name)

    def _remember(self, name: str, value: str) -> None:
        self._meta = None
        self.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))

    def _forget(self, name: str) -> None:
        self._meta = None
        self.execute("DELETE FROM meta WHERE name = ?", (name,))

    # What an older copy has forgotten

    def _look_back(self) -> None:
        """Be sure, in each transaction, that the last entry of ours is there, and our key's check.

        Commits are ordered, so with the last one every earlier one is there.

        Raises:
            JournalDamaged: The entry is not there: this is an older copy.
            JournalMismatch: It has another key by now.
        """
        key, sequence, seal = self._written or (None, None, None)
        try:
            text, found = self.execute(_STANDS, (key, sequence)).fetchone()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
                raise
            text = found = None  # the tables themselves are gone
        if found != seal or text is None:
            told = f"payout {key}: event {sequence}, which this program wrote, is missing"
            raise self._damaged(told if seal else "its tables are gone")
        self._meta = self._last_meta if text == self._text else None
        known = self._recall("key_check")
        self._text, self._last_meta = text, self._meta
        if known != self._check:
            raise self._mismatched(self._check, known)

    @property
    def _is_asked(self) -> bool:
        """Whether somebody has written down that the journal is to be marked as restored."""
        return self._mark != "" and os.path.exists(self._mark)  # noqa: PTH110 - quicker

    def _mark_if_asked(self) -> None:
        """Finish marking what somebody else has begun to mark, before anything else is done."""
        if self._path is not None and (self._must_exist or self._is_asked):
            mark_restored(self, read_mark(self._path) or self._wall_clock())

    def _take_mark_away(self) -> None:
        """Take the mark beside the file away: what it asks for is committed."""
        if self._is_marking and self._path is not None:
            with contextlib.suppress(OSError):  # then it is marked once more
                remove_mark(self._path)

    def _mark_what_is_there(self, reason: str) -> JournalRolledBack:
        """Mark the journal that has the name now, durably, before anybody hears of it.

        The mark beside it stays until the next opening: a copy that is not whole yet may overwrite
        what is written in it now, and where nothing of ours is there, something may be put there.
        """
        is_marked = True
        try:
            make_mark(self._given or Path(self.name), self._wall_clock())
        except OSError:
            is_marked = False
        there = Database(
            self.name,
            self._owner,
            busy_timeout=self._busy_timeout,
            random_bytes=self._random_bytes,
            wall_clock=self._wall_clock,
            key=self.key,
        )
        problem = there.open()
        there.close()
        return JournalRolledBack(self.name, reason, is_marked or problem is None)

    # Transactions

    @contextlib.contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[None]:
        self.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        self._meta, self._noted, self._is_marking = None, self._written, False
        try:
            if writes:
                self._check_mode()
            yield
            self.execute("COMMIT")
            self._written = self._noted
            if writes and self._names:
                _, self._stamp = look_at(self._names[0])
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.execute("ROLLBACK")
            raise

    def _result(self, job: Job["Database"]) -> object:
        """Do one job; what else it may raise than these two ends the whole group."""
        try:
            return job.work(self)
        except (ClaimLost, JournalDamaged) as error:
            return error.with_traceback(None)


T = TypeVar("T")


class QuietFile:
    """A SQLite file, open for reading.

    Where a writer has crashed, SQLite itself must be able to mend the file. That is why it is not
    opened with mode=ro, which cannot read such a file. No statement can write all the same, and a
    file that may not be written is read as it is.

    Args:
        path: The file.
        busy_timeout: Seconds to wait for another program that holds it.
        is_reader: Whether it is only looked at, by somebody who sends nothing anyway.

    Attributes:
        identity: Which file it is, whatever its name.

    Raises:
        JournalUnavailable: It cannot be read.
        JournalDamaged: SQLite finds it damaged.
    """

    def __init__(self, path: Path, *, busy_timeout: float, is_reader: bool) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._is_reader = is_reader
        self._connection: sqlite3.Connection | None = None
        if path.is_dir():
            raise self._unavailable("this is a directory; give the path of a file")
        self.identity = self._look()
        try:
            self._connection = self._connect()
            for pragma in ("query_only=1", "trusted_schema=0", "cell_size_check=1"):
                self.select(f"PRAGMA {pragma}")
        except BaseException:
            self.close()
            raise

    def select(self, sql: str, *values: object) -> list[Any]:
        """Read the rows of one statement."""
        return self.read(lambda connection: connection.execute(sql, values).fetchall())

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read in one short transaction; wait while a writer holds the file."""
        connection = self._connection
        if connection is None:
            raise ClosedError("journal")
        if self._look() != self.identity:
            raise self._unavailable("the file was moved or replaced while it was open")
        until = time.monotonic() + self._busy_timeout
        while True:
            problem: JournalError
            try:
                connection.execute("BEGIN")
                try:
                    return work(connection)
                finally:
                    connection.execute("COMMIT")
            except sqlite3.Error as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if not _is_busy(error):
                    problem = self._told(error)
                    break
            if time.monotonic() >= until:
                held = f"another program has held the file for {self._busy_timeout:g} seconds"
                problem = self._unavailable(held)
                break
            time.sleep(_PAUSE)
        raise problem

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        target = f"{self._path.absolute().as_uri()}?mode=rw"
        try:
            return sqlite3.connect(target, timeout=0, isolation_level=None, uri=True)
        except sqlite3.Error as error:
            problem = self._told(error)
        raise problem

    def _look(self) -> tuple[int, int]:
        """Name the file that has the path now."""
        try:
            status = self._path.stat()
        except OSError as error:
            reason = error.strerror or type(error).__name__
        else:
            return status.st_dev, status.st_ino
        raise self._unavailable(reason)

    def _told(self, error: sqlite3.Error) -> JournalError:
        """Say in our words what failed: SQLite's own may repeat what it could not read."""
        name = getattr(error, "sqlite_errorname", None)
        if name is None:
            return JournalDamaged(str(self._path), "it holds a text that is no UTF-8")
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            return JournalDamaged(str(self._path), f"SQLite finds it damaged ({name})")
        return self._unavailable(f"SQLite cannot read it ({name})")

    def _unavailable(self, reason: str) -> JournalUnavailable:
        return JournalUnavailable(str(self._path), reason, is_reader=self._is_reader)


_FIELDS: Final = ("base_url", "login", "endpoint")
_READONLY: Final = 8  # SQLITE_READONLY: what a crash has left must be mended by whoever may write


@attrs.frozen(kw_only=True)
class Inspection:
    """What a journal holds.

    Attributes:
        owner: Whose payouts it holds; None where nobody has opened it yet.
        mode: How it is kept: SQLite's journal mode of the file, or the server's version.
        states: How many payouts are in which state.
        bound: The settings of its owner that stand for ever.
        is_restored: Whether it was declared restored from a copy.
        obstacle: What keeps payouts from being run from it; empty where nothing is known to.
        is_exposed: Whether others on the way to it can read what is said.
    """

    owner: Owner | None
    mode: str
    states: Mapping[State, int]
    bound: frozenset[str]
    is_restored: bool
    obstacle: str = ""
    is_exposed: bool = False

    def takes(self, owner: Owner) -> bool:
        """Tell whether it would open for an owner."""
        if self.owner is None:
            return True
        differs = [name for name in _FIELDS if getattr(owner, name) != getattr(self.owner, name)]
        return not differs or (not self.is_restored and self.bound.isdisjoint(differs))


def describe_sqlite() -> str:
    """Tell SQLite's version, and in which mode journals are written with it."""
    mode = journal_mode(sqlite3.sqlite_version_info)
    return f"SQLite {sqlite3.sqlite_version} (journal mode {mode})"


def inspect_journal(path: Path, *, busy_timeout: float = 2.0) -> Inspection | str:
    """Look into a journal; what is wrong with it is a sentence.

    Args:
        path: The journal's file, which is there.
        busy_timeout: Seconds to wait for another program that holds the file.
    """
    try:
        # Read only: to look must neither make a file nor mend what a crash has left.
        uri = f"{itself(path).as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, timeout=busy_timeout, uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema=0")
            return _look(connection, path)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == _READONLY:
            return "its last program has crashed, and the next one that opens it will mend it"
        return f"SQLite says: {error}"
    except OSError as error:
        return error.strerror or type(error).__name__


def _look(connection: sqlite3.Connection, path: Path) -> Inspection | str:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        return "SQLite's quick_check finds the file damaged"
    tables = dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
        )
    )
    meta = dict(connection.execute("SELECT name, value FROM meta")) if "meta" in tables else {}
    if meta.get("version") != str(VERSION) or tables != TABLES:
        told = f"version {meta['version']}" if "version" in meta else "no version"
        return f"this is no journal of this release (it has {told}, not {VERSION})"
    (fits,) = connection.execute(AUDIT, (f" {' '.join(State)} ",)).fetchone()
    if not fits or not all(name in meta for name in _FIELDS):
        return "its tables do not fit each other"
    wrong = _examine_key(path, meta.get("key_check"))
    if wrong:
        return wrong
    states: Counter[State] = Counter()
    for name, count in connection.execute("SELECT state, count(*) FROM payouts GROUP BY state"):
        states[State(name)] = count
    return Inspection(
        owner=Owner(**{name: str(meta[name]) for name in _FIELDS}),
        mode=str(connection.execute("PRAGMA journal_mode").fetchone()[0]),
        states=states,
        bound=frozenset(
            name for name, asked in BINDS.items() if connection.execute(asked).fetchone()
        ),
        is_restored="restored" in meta or is_marked(path),
    )


def _examine_key(path: Path, check: str | None) -> str:
    """Say what is wrong with the key file beside a journal."""
    if check is None:
        return ""  # it has never been opened to its end
    found = find_key(path, check)
    if found is None:
        return f"its key file {key_file(path).name} is missing; restore it"
    lies, key = found
    if key is None or check_of(key) != check:
        return f"its key file {lies.name} is not the one that belongs to it; restore that"
    return ""
