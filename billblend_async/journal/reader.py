"""Reads a journal in a SQLite file beside whoever writes it, and changes nothing.

For whoever only looks: it takes no lock for longer than a page and works while payouts run, and
after a crash. What it reads is checked as strictly as when payouts run from it.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs

from ..core.events import EVENTS
from ..core.models import State
from ..core.payout import Payout
from ..errors import ClosedError, JournalDamaged, JournalMismatch, JournalUnavailable
from . import Owner
from .codec import fold_events, read_sealed
from .key_file import check_of
from .quiet import QuietFile
from .siblings import find_key, has_key, is_marked, key_file
from .smooth import fold_smooth
from .tables import AUDIT, BINDS, TABLES, VERSION

__all__ = ["SqliteReader"]

PAGE: Final = 128
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
        while page := list(islice(names, PAGE)):
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
        size, place = PAGE if self.holds_payouts else 0, 0
        while size == PAGE:
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
    rows: list[tuple[int, str, str, int]] = connection.execute(_LISTED, (after, PAGE)).fetchall()
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
