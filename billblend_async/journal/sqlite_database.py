"""The SQLite file behind a journal: made private, opened with care, checked, and its transactions.

Everything here runs in the writer's thread.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from ..core.models import State
from ..errors import ClaimLost, JournalDamaged, JournalMismatch, JournalRolledBack
from . import Owner
from .handle import Handle, Trouble, look_at
from .key_file import check_of, make_key, make_private, tighten
from .rows import mark_restored
from .siblings import (
    find_key,
    has_key,
    itself,
    key_file,
    make_mark,
    mark_file,
    read_mark,
    remove_mark,
)
from .tables import AUDIT, BINDS, LISTED_IN, TABLES, VERSION
from .writer import Job

__all__ = ["Database"]

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
