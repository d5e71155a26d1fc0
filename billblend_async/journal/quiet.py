"""A SQLite file that is read beside whoever writes it: nothing here can change it."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from ..errors import ClosedError, JournalDamaged, JournalError, JournalUnavailable

__all__ = ["QuietFile"]

T = TypeVar("T")

_PAUSE: Final = 0.001
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


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


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
