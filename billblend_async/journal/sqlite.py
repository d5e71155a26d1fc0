"""A journal in one SQLite file, and its reader. It survives a crash of program or machine.

The reader takes no lock for longer than a page, works while payouts run and after a crash, and
checks what it reads as strictly as the journal does.
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import attrs

from ..core.events import EVENTS, Event, Opened, Restored
from ..core.models import State, moves_real_money
from ..core.payout import Payout, open_payout
from ..errors import (
    ClosedError,
    ConfigurationError,
    InvalidInput,
    JournalDamaged,
    JournalMismatch,
    JournalUnavailable,
    Problem,
)
from . import Owner
from .codec import erase_secrets, fold_events, read_sealed, seal_event, write_event
from .group_commit import Writer
from .key_file import check_of, find_key, has_key, is_marked, key_file
from .smooth import fold_smooth
from .sqlite_database import (
    AUDIT,
    BINDS,
    PAGE,
    TABLES,
    VERSION,
    Database,
    QuietFile,
    add_event,
    damaged,
    journal_mode,
    load_payout,
    mark_restored,
    read_page,
    write_news,
)

__all__ = [
    "SqliteJournal",
    "SqliteReader",
    "journal_mode",
    "load_payout",
]

T = TypeVar("T")

_ACCEPT: Final = (
    "INSERT INTO events (client_orderid, sequence, name, data, seal) SELECT ?1, 0, ?2, ?3, ?4"
    " WHERE NOT EXISTS (SELECT 1 FROM payouts WHERE client_orderid = ?1) ON CONFLICT DO NOTHING"
)
_LIST: Final = "INSERT INTO payouts (client_orderid, state, sequence) VALUES (?, ?, 0)"
_HIDE: Final = "INSERT INTO secrets (client_orderid, sequence, data, seal) VALUES (?, ?, ?, ?)"
_ERASE: Final = (
    "UPDATE secrets SET data = zeroblob(length(data)), seal = zeroblob(length(seal))"
    " WHERE client_orderid = ?"
)


class SqliteJournal:
    """A journal in one SQLite file, with its key in a second file beside it (``<path>.key``).

    Several journals, in this program and in others, may work on one file; each step is still
    written exactly once. Back up both files together, with SQLite's ``.backup`` or while nothing
    runs. A journal belongs to the event loop that has opened it and is opened once.

    Links are followed: the key lies beside the file itself. An older copy that is put in the file's
    place while it is open is noticed and marked as restored; from then on every call raises
    JournalRolledBack.

    Args:
        path: The file; made when it is not there. ``":memory:"`` is for tests: it forgets
            everything when it is closed, so it serves the gateway's own sandbox and this machine
            only.
        busy_timeout: Seconds to wait for another program that holds the file.
        random_bytes: Where the key comes from.
        wall_clock: Seconds since the epoch, for the mark of an older copy.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout: float = 10.0,
        random_bytes: Callable[[int], bytes] = os.urandom,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = os.fspath(path)
        self._busy_timeout = busy_timeout
        self._random_bytes = random_bytes
        self._wall_clock = wall_clock
        self._state = "new"
        self._writer: Writer | None = None
        self._key = b""

    def __repr__(self) -> str:
        """Show where it lies and whether it is open."""
        return f"<SqliteJournal {self._path} {self._state}>"

    @property
    def fingerprint_key(self) -> bytes:
        """The random secret under which receivers are fingerprinted."""
        if self._state != "open":
            raise ClosedError("journal")
        return self._key

    async def open(self, owner: Owner) -> None:
        """Open the file for one owner, make it if it is not there, and check all of it.

        The check reads the whole file and folds every payout, which takes 0.2 s for a thousand.

        Raises:
            ConfigurationError: It was opened before, or lies in memory and moves real money.
            JournalMismatch: It belongs to another environment, login, endpoint or version.
            JournalDamaged: What it holds cannot be what was written.
            JournalUnavailable: The file cannot be read or written.
        """
        if self._state != "new":
            raise ConfigurationError("a journal is opened once; make another one for the file")
        if self._path == ":memory:" and moves_real_money(owner.base_url):
            raise ConfigurationError(
                "a journal in memory forgets who was paid; it is for the gateway's own sandbox and "
                "this machine, so give a journal in a file"
            )
        database = Database(
            self._path,
            owner,
            busy_timeout=self._busy_timeout,
            random_bytes=self._random_bytes,
            wall_clock=self._wall_clock,
        )
        self._state, self._writer = "opening", Writer(database)
        try:
            await self._writer.open()
        except BaseException:
            self._state = "closed"
            raise
        if self._state != "opening":  # it was closed meanwhile
            raise ClosedError("journal")
        self._state, self._key = "open", database.key
        try:
            # Whatever was edited must be found before anything is sent, not when its turn comes.
            # Page by page, since one long read would keep other programs from writing.
            async for _ in self.payouts():
                pass
        except BaseException:
            await self.aclose()
            raise

    async def accept(self, opened: Opened) -> Payout:
        """Accept a payout once for ever and return the payout that is held under its id."""
        key = _checked(opened.client_orderid)
        name, data = type(opened).__name__, write_event(opened)

        def work(database: Database) -> Payout:
            database.check_owner()
            seal = seal_event(database.key, key, 0, name, data)
            if database.execute(_ACCEPT, (key, name, data, seal)).rowcount == 1:
                database.execute(_LIST, (key, State.NEW.value))
                database.note(key, 0, seal)
                payout = open_payout(opened)
                if database.is_restored:
                    payout = write_news(database, payout, Restored(at=opened.at))
                return payout
            found = load_payout(database, key)
            if found is None:
                raise damaged(database, key, "it can be neither written nor read")
            return found[0]

        return await self._do(work, writes=True)

    async def append(self, becomes: Payout, event: Event) -> None:
        """Write one event at the place ``becomes.sequence``, if that is the next one."""
        key, sequence, state = _checked(becomes.client_orderid), becomes.sequence, becomes.state
        name, secret = type(event).__name__, write_event(event)
        erased = erase_secrets(event)
        data = secret if erased is None else write_event(erased)

        def work(database: Database) -> None:
            database.check_owner()
            add_event(database, becomes, name, data)
            if secret != data:
                seal = seal_event(database.key, key, sequence, name, secret)
                database.execute(_HIDE, (key, sequence, secret, seal))
            if state.is_terminal and database.execute(_ERASE, (key,)).rowcount:
                database.erased = True

        await self._do(work, writes=True)

    async def declare_restored(self, at: float) -> int:
        """Mark every unfinished payout, and those to come, as read from a restored copy."""

        def work(database: Database) -> int:
            database.check_owner()
            return mark_restored(database, at)

        return await self._do(work, writes=True)

    async def declare_complete(self) -> None:
        """Let new payouts be sent without being asked about first."""

        def work(database: Database) -> None:
            database.check_owner()
            database.end_restoration()

        await self._do(work, writes=True)

    async def load(self, client_orderid: str) -> Payout | None:
        """Fold a payout from its events; None when there is no such payout."""
        key = _checked(client_orderid)
        found = await self._do(lambda database: load_payout(database, key), writes=False)
        return None if found is None else found[0]

    async def history(self, client_orderid: str) -> list[Event]:
        """Read a payout's events in order; empty when there is no such payout."""
        key = _checked(client_orderid)
        found = await self._do(lambda database: load_payout(database, key), writes=False)
        return [] if found is None else found[1]

    async def payouts(self, states: Collection[State] | None = None) -> AsyncIterator[Payout]:
        """Iterate over the payouts in the order they were accepted, in these states or in all.

        They are read in pages; each page is as the journal stands when its turn comes.
        """
        wanted = f" {' '.join(State if states is None else states)} "
        place = 0
        while True:
            page = await self._do(partial(read_page, after=place, states=wanted), writes=False)
            for place, payout in page:  # noqa: B007 - the last one begins the next page
                yield payout
            if len(page) < PAGE:
                return

    async def aclose(self) -> None:
        """Finish what was handed in and close the file; a second call does nothing."""
        self._state = "closed"
        if self._writer is not None:
            await self._writer.aclose()

    async def _do(self, work: Callable[[Database], T], *, writes: bool) -> T:
        if self._state != "open" or self._writer is None:
            raise ClosedError("journal")
        return await self._writer.submit(work, writes=writes)


def _checked(client_orderid: str) -> str:
    """Refuse an id that SQLite cannot hold before it can spoil a group."""
    try:
        client_orderid.encode()
    except UnicodeEncodeError:
        pass
    else:
        return client_orderid
    raise InvalidInput((Problem("client_orderid", "must be text that can be written as UTF-8"),))


_READ_PAGE: Final = 128
"""Payouts that are read at once: for that long nobody can write, which is a few milliseconds."""
LIST: Final = 10_000
"""Ids that are listed at once, which takes no longer."""
_TABLES: Final = (
    "SELECT name, sql FROM sqlite_master"
    " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
)
_META: Final = "SELECT name, value FROM meta"
_ANY: Final = "SELECT 1 FROM payouts LIMIT 1"
_NAMES: Final = "SELECT place, client_orderid FROM payouts WHERE place > ? ORDER BY place LIMIT ?"
_LISTED: Final = (
    "SELECT place, client_orderid, state, sequence FROM payouts"
    " WHERE place > ? ORDER BY place LIMIT ?"
)
_NAMED: Final = "SELECT state, sequence FROM payouts WHERE client_orderid = ?"
_EVENTS: Final = (
    "SELECT sequence, name, data, seal FROM events WHERE client_orderid = ? ORDER BY sequence"
)
_SECRETS: Final = (
    "SELECT sequence, data, seal FROM secrets"
    " WHERE client_orderid = ? AND seal <> zeroblob(length(seal))"
)
_SECRETIVE: Final = frozenset(name for name, kind in EVENTS.items() if kind.secret)
_Record = tuple[int, object, object, object]


@attrs.frozen
class _Found:
    """What is there of a payout.

    Attributes:
        name: Its client_orderid.
        listed: The state and the place of the newest event that are listed, if it is listed.
        records: Its events, in order.
        secrets: What is kept of their secrets, by place; None where those are not asked for.
    """

    name: str
    listed: tuple[str, int] | None
    records: list[_Record]
    secrets: Mapping[int, tuple[object, object]] | None = None


class SqliteReader:
    """A journal's file, open for reading inside ``with``.

    In a file that is not there, or that nobody has written to yet, nothing is found.

    Args:
        path: The file; its key lies beside it, in ``<path>.key``, whatever links lead to it.
        busy_timeout: Seconds to wait for another program that holds the file.
        is_reader: Whether it is only looked at, by somebody who sends nothing anyway.

    Attributes:
        fingerprint_key: The secret under which receivers are fingerprinted; empty where no payout
            is known.
        holds_payouts: Whether any payout was known when it was opened.

    Raises:
        JournalUnavailable: The file cannot be read.
        JournalDamaged: It is no journal, or its key or the file itself is lost.
        JournalMismatch: Its key is another journal's, or a later release wrote it.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 10.0, is_reader: bool = False) -> None:
        self.fingerprint_key = b""
        self.holds_payouts = False
        self._path = path
        self._busy_timeout = busy_timeout
        self._is_reader = is_reader
        self._is_open = self._is_audited = False
        self._file: QuietFile | None = None
        self._meta: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Show where it lies."""
        return f"<SqliteReader {self._path}>"

    def __enter__(self) -> Self:
        """Open the file, if it is there, and check that it is a journal with its key."""
        if self._path.exists():
            self._file = QuietFile(
                self._path, busy_timeout=self._busy_timeout, is_reader=self._is_reader
            )
            try:
                self._examine(self._file)
            except BaseException:
                self._file.close()
                raise
        elif has_key(self._path):
            raise self._damaged("the file is gone, but its key file is there")
        self._is_open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._is_open = False
        if self._file is not None:
            self._file.close()

    def owner(self) -> Owner | None:
        """Tell whose payouts it holds; None where nobody has written to it yet.

        Raises:
            JournalUnavailable: The file is not there.
            JournalDamaged: It does not say that.
        """
        self._opened()
        if not self._meta:
            return None
        names = ("base_url", "login", "endpoint")
        missing = [name for name in names if name not in self._meta]
        if missing:
            raise self._damaged(f"it does not say its {missing[0]}")
        return Owner(**{name: self._meta[name] for name in names})

    def check(self, owner: Owner) -> None:
        """Make sure that a program with these settings may work on it.

        What a run may still mend passes, as it does where a run opens it: see ``Journal.open``.

        Raises:
            JournalMismatch: It belongs to another environment, login or endpoint.
        """
        known = self.owner() if self._is_written() else None
        if known is None:
            return
        found = attrs.asdict(known)
        for name, expected in attrs.asdict(owner).items():
            if found[name] == expected:
                continue
            if self.is_restored or self._opened().select(BINDS[name]):
                raise JournalMismatch(str(self._path), name, expected, found[name])

    def identity(self) -> tuple[int, int]:
        """Name the file that was opened, so that one is noticed that took its place.

        Raises:
            JournalUnavailable: It is not there.
        """
        return self._opened().identity

    @property
    def is_restored(self) -> bool:
        """Whether it was declared restored from a copy, or will be marked so when it is opened."""
        return "restored" in self._meta or is_marked(self._path)

    def names(self) -> Iterator[str]:
        """Iterate over the ids of all payouts, none of which is read.

        Raises:
            JournalUnavailable: The file cannot be read.
            JournalDamaged: The list does not fit the events.
        """
        if self._is_written():
            self._audit()
        size, place = LIST if self.holds_payouts else 0, 0
        while size == LIST:
            rows = self._opened().select(_NAMES, place, LIST)
            size = len(rows)
            for place, name in rows:  # noqa: B007 - the last one begins the next page
                yield name

    def find(self, client_orderids: Iterable[str]) -> Iterator[Payout | None]:
        """Look payouts up in this order; None for each that the journal does not know.

        They are read in pages; each page is as the journal stands when its turn comes.

        Raises:
            JournalUnavailable: The file cannot be read.
            JournalDamaged: What it holds cannot be what was written.
        """
        if self._is_written():
            self._audit()
        if not self.holds_payouts:
            yield from (None for _ in client_orderids)
            return
        names = iter(client_orderids)
        while page := list(islice(names, _READ_PAGE)):
            for found in self._opened().read(partial(_look_up, page)):
                yield None if found is None else self._fold(found)

    def payouts(
        self, known: Mapping[str, int] | None = None, *, listed: set[str] | None = None
    ) -> Iterator[Payout]:
        """Iterate over the payouts in the order they were accepted, each as it stands.

        They are read in pages; each page is as the journal stands when its turn comes. The links
        for receivers are left where they are: a payout that is read here holds none.

        Args:
            known: Sequences by client_orderid: payouts that are there still are passed over.
            listed: Takes in the ids of all that are there, passed over or not.

        Raises:
            JournalUnavailable: The file cannot be read.
            JournalDamaged: What it holds cannot be what was written.
        """
        known, file = {} if known is None else known, self._opened()
        if self._is_written() and not known:
            self._audit()
        listed = set() if listed is None else listed
        size, place = _READ_PAGE if self.holds_payouts else 0, 0
        while size == _READ_PAGE:
            names, place, news = file.read(partial(_page, place, known))
            size = len(names)
            listed.update(names)
            for found in news:
                yield self._fold(found)

    def _fold(self, found: _Found) -> Payout:
        reason = "there is no key to check it with; restore the journal's key file"
        if self.fingerprint_key:
            try:
                payout = _folded(self.fingerprint_key, found)
            except ValueError as error:
                reason = str(error)
            else:
                if found.listed == (payout.state.value, payout.sequence):
                    return payout
                reason = "its events do not lead to the state that is listed"
        raise self._damaged(f"payout {found.name}: {reason}")

    def _examine(self, file: QuietFile) -> None:
        """Read what the journal says of itself, if it is one that we can read, and its key."""
        tables = dict(file.select(_TABLES))
        if not tables:
            if has_key(self._path):
                raise self._damaged("the file is empty, but its key file is there")
            return
        meta: dict[str, str] = dict(file.select(_META)) if "meta" in tables else {}
        version = meta.get("version", "")
        if version.isdecimal() and int(version) > VERSION:
            raise JournalMismatch(str(self._path), "version", str(VERSION), version)
        if tables != TABLES or version != str(VERSION):
            raise self._damaged("its tables are not those of a journal")
        self._meta = meta
        self.holds_payouts = bool(file.select(_ANY))
        if self.holds_payouts:
            self.fingerprint_key = self._read_key(meta.get("key_check"))

    def _read_key(self, known: str | None) -> bytes:
        """Read the secret that seals the events; empty where nothing was sealed yet."""
        path, key = key_file(self._path), None
        if known is None:
            return b""
        try:
            found = find_key(self._path, known)
        except OSError as error:
            reason = f": {error.strerror or type(error).__name__}"
        else:
            path, key = found or (path, None)
            reason = " is missing" if found is None else " holds no key"
        if key is None:
            raise self._damaged(f"its key file {path.name}{reason}; restore it")
        if (check := check_of(key)) != known:
            restore = f"{check} (restore the key file {path.name} that belongs to this journal)"
            raise JournalMismatch(str(self._path), "fingerprint key", restore, known)
        return key

    def _audit(self) -> None:
        """Be sure, once, that no payout has vanished from the list."""
        if not self._is_audited:
            [(fits,)] = self._opened().select(AUDIT, f" {' '.join(State)} ")
            if not fits:
                raise self._damaged("its list of payouts does not fit its events")
            self._is_audited = True

    def _is_written(self) -> bool:
        """Tell whether a journal is there by now."""
        if not self._is_open:
            raise ClosedError("journal")
        return bool(self._meta)

    def _opened(self) -> QuietFile:
        """Give the file, which is there."""
        if not self._is_open:
            raise ClosedError("journal")
        if self._file is None:
            wrong = "there is no such file"
            raise JournalUnavailable(str(self._path), wrong, is_reader=self._is_reader)
        return self._file

    def _damaged(self, reason: str) -> JournalDamaged:
        return JournalDamaged(str(self._path), reason)


def _page(
    after: int, known: Mapping[str, int], connection: sqlite3.Connection
) -> tuple[list[str], int, list[_Found]]:
    """Read a page of the list: its ids, its last place, and what is there of its payouts.

    Those that are known as they are listed are passed over.
    """
    rows: list[tuple[int, str, str, int]] = connection.execute(
        _LISTED, (after, _READ_PAGE)
    ).fetchall()
    news = [
        _Found(name, (state, sequence), connection.execute(_EVENTS, (name,)).fetchall())
        for _, name, state, sequence in rows
        if known.get(name) != sequence
    ]
    return [name for _, name, _, _ in rows], rows[-1][0] if rows else after, news


def _look_up(names: Iterable[str], connection: sqlite3.Connection) -> list[_Found | None]:
    """Read what is there of some payouts, with their secrets."""
    page: list[_Found | None] = []
    for name in names:
        listed: tuple[str, int] | None = connection.execute(_NAMED, (name,)).fetchone()
        records: list[_Record] = connection.execute(_EVENTS, (name,)).fetchall()
        if listed is None and not records:
            page.append(None)
            continue
        secrets = {}
        if not _SECRETIVE.isdisjoint([record[1] for record in records]):
            rows = connection.execute(_SECRETS, (name,)).fetchall()
            secrets = {place: (data, seal) for place, data, seal in rows}
        page.append(_Found(name, listed, records, secrets))
    return page


def _folded(key: bytes, found: _Found) -> Payout:
    """Fold a payout from its records.

    Raises:
        ValueError: They cannot be the records of this payout; the message says why.
    """
    name = found.name
    events = [read_sealed(key, name, *record) for record in found.records]
    if [record[0] for record in found.records] != list(range(len(events))):
        raise ValueError("an event is missing")
    smooth = fold_smooth(events)
    if smooth is not None and smooth.client_orderid == name:
        return smooth
    secrets = found.secrets
    if secrets is None:
        return fold_events(name, events, lacks_secrets=True)
    for place, event in enumerate(events):
        if event.secret and place in secrets:
            kind = found.records[place][1]
            events[place] = read_sealed(key, name, place, kind, *secrets[place])
    return fold_events(name, events)
