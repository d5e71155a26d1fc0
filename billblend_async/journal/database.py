"""The SQLite file behind a journal: made private, opened with care, checked, and its transactions.

Everything here runs in the writer's thread.
"""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from ..errors import ClaimLost, JournalDamaged, JournalMismatch, JournalUnavailable
from ..models import State
from . import Owner
from .files import make_key, make_private, read_key, tighten
from .tables import AUDIT, BINDS, LISTED_IN, TABLES, VERSION
from .writer import Job

__all__ = ["Database", "journal_mode"]

_SETTINGS: Final = {
    "synchronous": 2,  # FULL: what is committed is on the disk
    "fullfsync": 1,  # where it exists (macOS), fsync alone leaves it in the disk's cache
    "secure_delete": 1,  # what is erased is overwritten
    "trusted_schema": 0,  # a doctored file runs no function of ours
    "cell_size_check": 1,
    "temp_store": 2,  # nothing of the journal lands in a temporary file
}
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_Problem = JournalUnavailable | JournalDamaged | JournalMismatch
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


class Database:
    """One SQLite file with a journal's tables.

    Attributes:
        name: Where it lies, as the caller wrote it.
        key: The journal's secret, once it is open.
        erased: Whether a secret was erased that a write-ahead log may still hold.
    """

    def __init__(
        self,
        name: str,
        owner: Owner,
        *,
        busy_timeout: float,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.name = name
        self.key = b""
        self.erased = False
        self._settings: dict[str, str] = attrs.asdict(owner)
        self._busy_timeout = busy_timeout
        self._random_bytes = random_bytes
        self._path = None if name == ":memory:" else Path(name).absolute()
        self._mode = "memory" if self._path is None else journal_mode(sqlite3.sqlite_version_info)
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)
        self._recalled: dict[str, str | None] = {}

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

    # What the writer drives

    def open(self) -> _Problem | None:
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
        try:
            self._find_again()
            with self._transaction(writes=any(job.writes for job in jobs)):
                return [self._result(job) for job in jobs]
        except Exception as error:  # noqa: BLE001 - the thread must tell, whatever it was
            problem = self._told(error)
        if self._path is not None:
            self.close()  # the next group begins with a fresh connection
        return [attrs.evolve(problem) for _ in jobs]

    def check_owner(self) -> None:
        """Be sure that the journal is still ours: before its first claim it may change hands."""
        for name, expected in self._settings.items():
            found = self._recall(name)
            if found != expected:
                raise JournalMismatch(self.name, name, expected, str(found))

    @property
    def is_restored(self) -> bool:
        """Whether payouts that were made after this copy may be missing from it."""
        return self._recall("restored") is not None

    @is_restored.setter
    def is_restored(self, is_restored: bool) -> None:
        if is_restored:
            self._remember("restored", "yes")
        else:
            self._forget("restored")

    def listed(self, states: str) -> list[str]:
        """Name the payouts that are listed in one of these states."""
        rows = self.execute(LISTED_IN, (states,)).fetchall()
        return [str(name) for (name,) in rows]

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

    # Opening

    def _find(self) -> None:
        """Make the file when there is none yet, and keep it to its owner."""
        if self._path is None:
            return
        if not self._path.parent.is_dir():
            raise self._unavailable(f"the directory {self._path.parent} is not there; make it")
        # The key is looked for first: it is made after the file, so it never stands alone.
        if self._key_file(self._path).exists() and not self._path.exists():
            raise self._damaged("the file is gone, but its key file is there")
        if self._path.is_dir():
            raise self._unavailable("this is a directory; give the path of a file")
        if not self._path.exists():
            make_private(self._path, b"")
        self._inode = _inode(self._path)

    def _find_again(self) -> None:
        """Be sure that what is written lands in the file that has the name."""
        if self._path is not None and self._inode != _inode(self._path):
            raise self._unavailable("the file was moved or replaced while it was open")
        if self._connection is None:
            self._connect()

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
            return
        with self._transaction():
            self.key = self._agree_on_key(self._key_file(self._path))

    def _settle(self) -> None:
        """Make the tables in a new file; in another, check whose they are."""
        tables = dict(
            self.execute(
                "SELECT name, sql FROM sqlite_master"
                " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
            ).fetchall()
        )
        if not tables:
            if self._path is not None and self._key_file(self._path).exists():
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
                if self.is_restored or self.execute(BINDS[name]).fetchone() is not None:
                    raise JournalMismatch(self.name, name, expected, found)
                self._remember(name, expected)

    def _agree_on_key(self, path: Path) -> bytes:
        """Read the secret from its file; make both for a journal that never held a payout.

        The tables are there before the key file and this runs under SQLite's lock, so whatever
        crashes, a journal that holds payouts has seen its key.
        """
        known = self._recall("key_check")
        if not path.exists():
            if self.execute("SELECT 1 FROM payouts LIMIT 1").fetchone() is not None:
                raise self._damaged(f"its key file {path.name} is missing; restore it")
            make_key(path, self._random_bytes(32))
            known = None
        tighten(path)
        key = read_key(path)
        if key is None:
            raise self._damaged(f"its key file {path.name} holds no key; restore it")
        check = hashlib.sha256(key).hexdigest()[:16]
        if known is None:
            self._remember("key_check", check)
        elif known != check:
            raise JournalMismatch(
                self.name,
                "fingerprint key",
                f"{check} (restore the key file {path.name} that belongs to this journal)",
                known,
            )
        return key

    def _key_file(self, path: Path) -> Path:
        return path.with_name(f"{path.name}.key")

    def _recall(self, name: str) -> str | None:
        """Read a setting of the journal, once in each transaction: nobody changes it meanwhile."""
        if name not in self._recalled:
            row = self.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            self._recalled[name] = None if row is None else str(row[0])
        return self._recalled[name]

    def _remember(self, name: str, value: str) -> None:
        self._recalled.pop(name, None)
        self.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))

    def _forget(self, name: str) -> None:
        self._recalled.pop(name, None)
        self.execute("DELETE FROM meta WHERE name = ?", (name,))

    # Transactions

    @contextlib.contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[None]:
        self.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        self._recalled.clear()
        try:
            if writes:
                self._check_mode()
            yield
            self.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.execute("ROLLBACK")
            raise

    def _check_mode(self) -> None:
        """Look again in each transaction: another program may have switched a file at rest."""
        if self.execute("PRAGMA journal_mode").fetchone() != (self._mode,):
            raise self._unavailable("another program has changed its journal mode")

    def _result(self, job: Job["Database"]) -> object:
        """Do one job; what else it may raise than these two ends the whole group."""
        try:
            return job.work(self)
        except (ClaimLost, JournalDamaged) as error:
            return error.with_traceback(None)

    def _told(self, error: Exception) -> _Problem:
        """Say in our words what failed; frames and foreign errors, which may hold data, stay."""
        if isinstance(error, _Problem):
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


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
