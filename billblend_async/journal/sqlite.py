"""A journal in one SQLite file: what it holds survives a crash of the program or the machine."""

import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from typing import Final, TypeVar

from ..core.events import Event, Opened, Restored
from ..core.models import State, moves_real_money
from ..core.payout import Payout, open_payout
from ..errors import ClosedError, ConfigurationError, InvalidInput, Problem
from . import Owner
from .codec import erase_secrets, seal_event, write_event
from .handle import journal_mode
from .rows import PAGE, add_event, damaged, load_payout, mark_restored, read_page, write_news
from .sqlite_database import Database
from .writer import Writer

__all__ = ["SqliteJournal", "journal_mode", "load_payout"]

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
