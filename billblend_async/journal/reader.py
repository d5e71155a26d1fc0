"""Reads a journal in a SQLite file beside whoever writes it, and changes nothing.

For whoever only looks: it needs no settings, takes no lock for longer than a page and works while
payouts run, and after a crash. What it reads is checked as strictly as when payouts run from it.
"""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from ..errors import JournalDamaged, JournalError, JournalMismatch, JournalUnavailable
from ..events import Opened
from ..models import State
from ..payout import Payout, open_payout
from . import Owner
from .files import read_key
from .records import fold_events, fold_on, read_sealed
from .smooth import fold_smooth
from .tables import AUDIT, TABLES, VERSION

__all__ = ["SqliteReader"]

T = TypeVar("T")

PAGE: Final = 128
"""Payouts that are read at once: for that long nobody can write, which is a few milliseconds."""
_PAUSE: Final = 0.001
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_TABLES: Final = (
    "SELECT name, sql FROM sqlite_master"
    " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
)
_LISTED: Final = (
    "SELECT place, client_orderid, state, sequence FROM payouts"
    " WHERE place > ? ORDER BY place LIMIT ?"
)
_EVENTS: Final = (
    "SELECT sequence, name, data, seal FROM events WHERE client_orderid = ? ORDER BY sequence"
)
_Listed = tuple[int, str, str, int]
_Record = tuple[int, object, object, object]


class SqliteReader:
    """A journal's file, open for reading.

    The links for receivers are left where they are: a payout that is read here holds none.

    Args:
        path: The file; its key lies beside it, in ``<path>.key``.
        busy_timeout: Seconds to wait for another program that holds the file.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 10.0) -> None:
        self._path = path
        self._busy_timeout = busy_timeout

    def __repr__(self) -> str:
        """Show where it lies."""
        return f"<SqliteReader {self._path}>"

    def owner(self) -> Owner:
        """Tell whose payouts it holds.

        Raises:
            JournalUnavailable: The file cannot be read.
            JournalDamaged: It is no journal.
            JournalMismatch: It was written by a later release.
        """
        with self._opened() as connection:
            meta = self._meta(connection)
        names = ("base_url", "login", "endpoint")
        missing = [name for name in names if name not in meta]
        if missing:
            raise self._damaged(f"it does not say its {missing[0]}")
        return Owner(**{name: meta[name] for name in names})

    def identity(self) -> tuple[int, int]:
        """Name the file that has the path now, so that one is noticed that took its place.

        Raises:
            JournalUnavailable: It is gone.
        """
        try:
            status = self._path.stat()
        except OSError as error:
            reason = error.strerror or type(error).__name__
        else:
            return status.st_dev, status.st_ino
        raise self._unavailable(reason)

    def payouts(self, known: Mapping[str, int] | None = None) -> Iterator[Payout]:
        """Iterate over the payouts in the order they were accepted, each as it stands.

        They are read in pages; each page is as the journal stands when its turn comes.

        Args:
            known: Sequences by client_orderid: payouts that are there still are passed over.

        Raises:
            JournalUnavailable: The file cannot be read.
            JournalDamaged: What it holds cannot be what was written.
            JournalMismatch: Its key is another journal's, or a later release wrote it.
        """
        known = {} if known is None else known
        with self._opened() as connection:
            key = self._key(self._meta(connection))
            if not known:
                self._audit(connection)
            place = 0
            while True:
                listed, news = self._read(connection, partial(_page, connection, place, known))
                for (_, name, state, sequence), records in news:
                    payout = self._fold(key, name, records)
                    if (state, sequence) != (payout.state.value, payout.sequence):
                        wrong = "its events do not lead to the state that is listed"
                        raise self._damaged(f"payout {name}: {wrong}")
                    yield payout
                if len(listed) < PAGE:
                    return
                place = listed[-1][0]

    def _fold(self, key: bytes | None, name: str, records: list[_Record]) -> Payout:
        reason = "there is no key to check it with; restore the journal's key file"
        if key is not None:
            try:
                return _folded(key, name, records)
            except ValueError as error:
                reason = str(error)
        raise self._damaged(f"payout {name}: {reason}")

    def _meta(self, connection: sqlite3.Connection) -> dict[str, str]:
        """Read what the journal says of itself, if it is one that we can read."""
        tables = dict(self._read(connection, lambda: connection.execute(_TABLES).fetchall()))
        meta: dict[str, str] = {}
        if "meta" in tables:
            select = "SELECT name, value FROM meta"
            meta = dict(self._read(connection, lambda: connection.execute(select).fetchall()))
        version = meta.get("version", "")
        if version.isdecimal() and int(version) > VERSION:
            raise JournalMismatch(str(self._path), "version", str(VERSION), version)
        if tables != TABLES or version != str(VERSION):
            raise self._damaged("its tables are not those of a journal")
        return meta

    def _key(self, meta: Mapping[str, str]) -> bytes | None:
        """Read the secret that seals the events; None where nothing was sealed yet."""
        path = self._path.with_name(f"{self._path.name}.key")
        known = meta.get("key_check")
        if known is None:
            return None
        try:
            key = read_key(path)
        except OSError as error:
            key, reason = None, error.strerror or type(error).__name__
        else:
            reason = "it holds no key"
        if key is None:
            raise self._damaged(f"its key file {path.name}: {reason}; restore it")
        check = hashlib.sha256(key).hexdigest()[:16]
        if check != known:
            restore = f"{check} (restore the key file {path.name} that belongs to this journal)"
            raise JournalMismatch(str(self._path), "fingerprint key", restore, known)
        return key

    def _audit(self, connection: sqlite3.Connection) -> None:
        """Be sure that no payout has vanished from the list."""
        states = (f" {' '.join(State)} ",)
        (fits,) = self._read(connection, lambda: connection.execute(AUDIT, states).fetchone())
        if not fits:
            raise self._damaged("its list of payouts does not fit its events")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Open the file; where a writer has crashed, SQLite itself must be able to mend it.

        That is why it is not opened with mode=ro, which cannot read such a file. No statement can
        write all the same, and a file that may not be written is read as it is.
        """
        connection = self._connect()
        with contextlib.closing(connection):
            for pragma in ("query_only=1", "trusted_schema=0", "cell_size_check=1"):
                self._read(connection, partial(connection.execute, f"PRAGMA {pragma}")).close()
            yield connection

    def _connect(self) -> sqlite3.Connection:
        target = f"{self._path.absolute().as_uri()}?mode=rw"
        try:
            return sqlite3.connect(target, timeout=0, isolation_level=None, uri=True)
        except sqlite3.Error as error:
            problem = self._told(error)
        raise problem

    def _read(self, connection: sqlite3.Connection, read: Callable[[], T]) -> T:
        """Read in one short transaction; wait while a writer holds the file."""
        until = time.monotonic() + self._busy_timeout
        while True:
            problem: JournalError
            try:
                connection.execute("BEGIN")
                try:
                    return read()
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

    def _told(self, error: sqlite3.Error) -> JournalError:
        """Say in our words what failed: SQLite's own may repeat what it could not read."""
        name = getattr(error, "sqlite_errorname", None)
        if name is None:
            return self._damaged("it holds a text that is no UTF-8")
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            return self._damaged(f"SQLite finds it damaged ({name})")
        return self._unavailable(f"SQLite cannot read it ({name})")

    def _unavailable(self, reason: str) -> JournalUnavailable:
        return JournalUnavailable(str(self._path), reason, is_reader=True)

    def _damaged(self, reason: str) -> JournalDamaged:
        return JournalDamaged(str(self._path), reason)


def _page(
    connection: sqlite3.Connection, after: int, known: Mapping[str, int]
) -> tuple[list[_Listed], list[tuple[_Listed, list[_Record]]]]:
    """Read a page of the list, and the records of those payouts that are not known as they are."""
    listed: list[Any] = connection.execute(_LISTED, (after, PAGE)).fetchall()
    news = [
        (row, connection.execute(_EVENTS, (row[1],)).fetchall())
        for row in listed
        if known.get(row[1]) != row[3]
    ]
    return listed, news


def _folded(key: bytes, name: str, records: list[_Record]) -> Payout:
    """Fold a payout from its records without its link.

    Raises:
        ValueError: They cannot be the records of this payout; the message says why.
    """
    events = [read_sealed(key, name, *record) for record in records]
    if [record[0] for record in records] != list(range(len(records))):
        raise ValueError("an event is missing")
    first = events[0] if events else None
    if not isinstance(first, Opened) or first.client_orderid != name:
        return fold_events(name, events)  # it says what is wrong
    return fold_smooth(events) or fold_on(open_payout(first), events[1:])[0]


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
