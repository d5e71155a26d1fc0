"""The connection to the SQLite file of a journal: how it is set up, used and closed.

Everything here runs in the writer's thread.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import JournalDamaged, JournalMismatch, JournalUnavailable

__all__ = ["Handle", "Trouble", "journal_mode", "look_at"]

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


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def look_at(name: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tell which file has a name, and when it was written last."""
    status = os.stat(name)  # noqa: PTH116 - a path would cost more than the call
    return (status.st_dev, status.st_ino), (status.st_mtime_ns, status.st_size)
