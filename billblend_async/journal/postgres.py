"""A journal in a PostgreSQL database, which programs on many machines share."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Final, TypeVar

import attrs

from ..core.events import Event, Opened, Restored
from ..core.machine import evolve
from ..core.models import State
from ..core.payout import Payout, open_payout
from ..errors import (
    BillblendError,
    ClaimLost,
    ClosedError,
    ConfigurationError,
    InvalidInput,
    JournalDamaged,
    JournalError,
    JournalRolledBack,
    Problem,
)
from . import Owner
from .attempts import Attempts
from .entries import Entry, Found, Written, make_entry, read_found
from .group_commit import Groups
from .key_file import check_of
from .postgres_connection import OwnPool, Pool, describe
from .queries import check_schema
from .statements import Statements

__all__ = ["PostgresJournal"]

T = TypeVar("T")

PAGE: Final = 64
"""Payouts that are read at once while iterating."""
KEY_SIZE: Final = 32
"""Bytes of a journal's key."""


@attrs.frozen
class _Accepting:
    """What is written to accept a payout, and what else if the journal was restored."""

    opened: Entry
    restored: Entry


class PostgresJournal:
    """A journal in one schema of a PostgreSQL database.

    Any number of programs on any number of machines may work on it; each step is still written
    exactly once. Make its tables before with ``initialise``. A
    journal belongs to the event loop that has opened it and is opened once. It holds no
    transaction and no lock while anything is sent.

    A connection that is lost is made again, and what was under way is done again, which writes
    nothing twice. After ``patience`` seconds whoever waits gets JournalUnavailable, and what it
    wanted may have happened.

    A server that no longer has what this journal has written, such as a standby without the last
    commits, is noticed and marked as restored; from then on every call raises JournalRolledBack.

    Args:
        database: A connection string or URL (libpq's, without its password if that stands in
            ``PGPASSWORD`` or a password file), or a ``psycopg_pool.AsyncConnectionPool`` of the
            host's, which stays open when the journal is closed. A pooler in transaction mode may
            stand between.
        key: The secret of 32 bytes under which receivers are fingerprinted and events sealed, the
            same on every machine. Keep it apart from the database and from its copies.
        schema: The schema of its tables.
        patience: Seconds to wait for a server that does not answer.
        random_bytes: Where the tokens come from by which a program knows what it wrote.
        wall_clock: Seconds since the epoch, for the mark of an older state.
    """

    def __init__(
        self,
        database: str | Pool,
        *,
        key: bytes,
        schema: str = "billblend",
        patience: float = 10.0,
        random_bytes: Callable[[int], bytes] = os.urandom,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        check_schema(schema)
        self._own: OwnPool | None = None
        place, pool = "PostgreSQL", database
        if isinstance(pool, str):
            place = describe(pool)
            pool = self._own = OwnPool(pool)
        self._name = f"{place} (schema {schema})"
        self._statements = Statements(pool, schema, self._name)
        self._attempts = Attempts(self._name, patience)
        self._key = _checked_key(key)
        self._key_check = check_of(self._key)
        self._random_bytes = random_bytes
        self._wall_clock = wall_clock
        self._wanted: dict[str, str] = {}
        self._written: Written | None = None
        self._turn = asyncio.Lock()  # of two commits that are told together the later one counts
        self._rolled_back: JournalRolledBack | None = None
        self._marking: asyncio.Future[None] | None = None
        self._state = "new"
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        """Show where it lies and whether it is open."""
        return f"<PostgresJournal {self._name} {self._state}>"

    @property
    def fingerprint_key(self) -> bytes:
        """The random secret under which receivers are fingerprinted."""
        if self._state != "open":
            raise ClosedError("journal")
        return self._key

    async def initialise(self) -> tuple[int, int]:
        """Make the tables, or bring them forward to this release's version.

        It needs a role that may create a schema; a program that runs payouts need not.

        Returns:
            The version before, 0 for none, and the version now.

        Raises:
            JournalMismatch: They are of a later release, or of another key.
            JournalUnavailable: The database cannot be reached or refuses it.
        """
        return await self._attempts.make(lambda: self._statements.initialise(self._key_check))

    async def open(self, owner: Owner) -> None:
        """Open the journal for one owner.

        Each payout is checked whenever it is read, and not all of them now.

        Raises:
            ConfigurationError: It was opened before.
            JournalMismatch: It belongs to another environment, login, endpoint, key or version.
            JournalUnavailable: The database cannot be reached, has no tables or may lose commits.
        """
        if self._state != "new":
            raise ConfigurationError("a journal is opened once; make another one for the database")
        self._state, self._loop = "opening", asyncio.get_running_loop()
        settings = attrs.asdict(owner)
        self._wanted = {**settings, "key_check": self._key_check}
        try:
            await self._attempts.make(lambda: self._statements.settle(settings, self._key_check))
        except BaseException:
            await self.aclose()
            raise
        if self._state != "opening":  # it was closed meanwhile
            raise ClosedError("journal")
        self._writes: Groups[_Accepting | Entry, bool] = Groups(
            self._name, self._write, about=_about
        )
        self._reads: Groups[str, Found | None] = Groups(self._name, self._read, about=str)
        self._state = "open"

    async def accept(self, opened: Opened) -> Payout:
        """Accept a payout once for ever and return the payout that is held under its id."""
        key = _checked(opened.client_orderid)
        self._check_open()
        payout = open_payout(opened)
        restored = Restored(at=opened.at)
        job = _Accepting(
            self._entry(payout, opened), self._entry(evolve(payout, restored), restored)
        )
        if await self._writes.submit(job):
            return payout
        held = await self.load(key)
        if held is None:
            raise self._damaged(key, "it can be neither written nor read")
        return held

    async def append(self, becomes: Payout, event: Event) -> None:
        """Write one event at the place ``becomes.sequence``, if that is the next one."""
        key = _checked(becomes.client_orderid)
        self._check_open()
        entry = self._entry(becomes, event)
        if entry.sequence < 1 or not await self._writes.submit(entry):
            raise ClaimLost(key, becomes.sequence)

    async def declare_restored(self, at: float) -> int:
        """Mark every unfinished payout, and those to come, as read from a restored copy."""
        self._check_open()
        async with self._turn:
            return await self._attempt(lambda: self._restore(at, self._written))

    async def _restore(self, at: float, written: Written | None) -> int:
        event = Restored(at=at)

        def mark(unfinished: Sequence[Found]) -> list[Entry]:
            entries = []
            for found in unfinished:
                payout, _ = read_found(self._name, self._key, found)
                becomes = evolve(payout, event)
                if becomes is not payout:
                    entries.append(self._entry(becomes, event))
            return entries

        entries = await self._statements.restore(self._wanted, mark, written)
        for entry in entries[-1:]:
            self._written = _named(entry)
        return len(entries)

    async def declare_complete(self) -> None:
        """Let new payouts be sent without being asked about first."""
        self._check_open()
        async with self._turn:
            await self._attempt(lambda: self._statements.complete(self._wanted, self._written))

    async def load(self, client_orderid: str) -> Payout | None:
        """Fold a payout from its events; None when there is no such payout."""
        found = await self._find(client_orderid)
        return None if found is None else found[0]

    async def history(self, client_orderid: str) -> list[Event]:
        """Read a payout's events in order; empty when there is no such payout."""
        found = await self._find(client_orderid)
        return [] if found is None else found[1]

    async def payouts(self, states: Collection[State] | None = None) -> AsyncIterator[Payout]:
        """Iterate over the payouts in the order they were accepted, in these states or in all.

        They are read in pages; each page is as the journal stands when its turn comes.
        """
        self._check_open()
        wanted = tuple(State) if states is None else tuple(states)
        place = 0

        async def read() -> list[tuple[int, Found]]:
            return await self._statements.page(place, wanted, PAGE, self._written)

        while wanted:
            self._check_open()
            page = await self._attempt(read)
            for place, found in page:  # noqa: B007 - the last one begins the next page
                yield read_found(self._name, self._key, found)[0]
            if len(page) < PAGE:
                return

    async def aclose(self) -> None:
        """Finish what was handed in and close; a second call does nothing."""
        was_open, self._state = self._state == "open", "closed"
        if was_open and asyncio.get_running_loop() is self._loop:
            await self._writes.aclose()
            await self._reads.aclose()
            if self._marking is not None:
                await asyncio.wait({self._marking})
        if self._own is not None:
            await self._own.aclose()

    async def _find(self, client_orderid: str) -> tuple[Payout, list[Event]] | None:
        key = _checked(client_orderid)
        self._check_open()
        found = await self._reads.submit(key)
        return None if found is None else read_found(self._name, self._key, found)

    async def _write(self, jobs: Sequence[_Accepting | Entry]) -> list[bool]:
        entries = [job.opened if isinstance(job, _Accepting) else job for job in jobs]
        restored = [job.restored for job in jobs if isinstance(job, _Accepting)]
        async with self._turn:
            written = await self._attempt(
                lambda: self._statements.write(self._wanted, entries, restored, self._written)
            )
            # All of them share one commit, so any of them will do.
            for entry in (*entries, *restored):
                if entry.token in written:
                    self._written = _named(entry)
        return [_is_written(job, written) for job in jobs]

    async def _read(self, names: Sequence[str]) -> list[Found | BillblendError | None]:
        found = await self._attempt(lambda: self._statements.read(names, self._written))
        return [found.get(name) for name in names]

    async def _attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work that may be done twice, unless the server has forgotten something.

        Raises:
            JournalRolledBack: It has, now or before; it is marked, if it can be.
            JournalUnavailable: It did not succeed in time; what it wanted may have happened.
        """
        if self._rolled_back is None:
            try:
                return await self._attempts.make(work)
            except JournalRolledBack as error:
                lost = error.with_traceback(None)
            if self._rolled_back is None:
                self._rolled_back = lost
                self._marking = asyncio.ensure_future(self._mark())
        if self._marking is not None:
            await asyncio.shield(self._marking)  # whoever is cancelled leaves it under way
        raise attrs.evolve(self._rolled_back)

    async def _mark(self) -> None:
        """Mark what the server has now as restored, before anybody hears of it."""
        try:
            await self._attempts.make(lambda: self._restore(self._wall_clock(), None))
        except JournalError:
            return
        if self._rolled_back is not None:
            self._rolled_back = attrs.evolve(self._rolled_back, is_marked=True)

    def _entry(self, becomes: Payout, event: Event) -> Entry:
        return make_entry(self._key, becomes, event, random_bytes=self._random_bytes)

    def _check_open(self) -> None:
        if self._state != "open":
            raise ClosedError("journal")
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError(
                "the journal was opened in another event loop; make one journal for each loop"
            )

    def _damaged(self, key: str, reason: str) -> JournalDamaged:
        return JournalDamaged(self._name, f"payout {key}: {reason}")


def _checked_key(key: object) -> bytes:
    if isinstance(key, bytes) and len(key) == KEY_SIZE:
        return key
    raise ConfigurationError(
        f"key: must be {KEY_SIZE} bytes, such as secrets.token_bytes({KEY_SIZE}) gives"
    )


def _checked(client_orderid: str) -> str:
    """Refuse an id that PostgreSQL cannot hold before it can spoil a group."""
    try:
        client_orderid.encode()
    except UnicodeEncodeError:
        pass
    else:
        if "\0" not in client_orderid:
            return client_orderid
    problem = "must be text that can be written as UTF-8, without NUL"
    raise InvalidInput((Problem("client_orderid", problem),))


def _named(entry: Entry) -> Written:
    return Written(entry.client_orderid, entry.sequence, entry.token)


def _about(job: _Accepting | Entry) -> str:
    return (job.opened if isinstance(job, _Accepting) else job).client_orderid


def _is_written(job: _Accepting | Entry, written: Collection[bytes]) -> bool:
    """Tell whether the payout is as whoever handed this in made it, and no further."""
    if isinstance(job, Entry):
        return job.token in written
    return job.opened.token in written and job.restored.token not in written
