"""A journal in a PostgreSQL database, which programs on many machines share, and its reader.

The reader opens the same tables outside an event loop. It holds no lock, works while payouts run,
needs no right but to read, and checks what it reads as strictly as the journal does.
"""

import asyncio
import os
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

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
    JournalMismatch,
    JournalRolledBack,
    JournalUnavailable,
    Problem,
)
from . import Owner
from .codec import Entry, Found, Written, make_entry, read_found
from .group_commit import Groups
from .key_file import check_of
from .postgres_connection import Attempts, OwnPool, Pool, describe
from .postgres_store import Readings, Statements, check_schema
from .sqlite_database import Inspection

__all__ = [
    "PostgresJournal",
    "PostgresReader",
]

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


_READER_PAGE: Final = 500
"""Payouts that are read at once."""
LIST: Final = 10_000
"""Ids that are listed at once."""
_OWNER: Final = tuple(field.name for field in attrs.fields(Owner))


class PostgresReader:
    """A journal in one schema of a database, open for reading inside ``with``.

    The links for receivers are left where they are: a payout that is read here holds none.

    Args:
        database: A connection string or URL, as ``PostgresJournal`` takes it.
        key: The journal's secret.
        schema: The schema of its tables.
        patience: Seconds to wait for a server that does not answer.
        is_reader: Whether it is only looked at, by somebody who sends nothing anyway.

    Raises:
        ConfigurationError: The connection string or the schema's name is none.
    """

    def __init__(
        self,
        database: str,
        *,
        key: bytes,
        schema: str = "billblend",
        patience: float = 10.0,
        is_reader: bool = False,
    ) -> None:
        check_schema(schema)
        self._name = f"{describe(database)} (schema {schema})"
        self._key = key
        self._is_reader = is_reader
        self._attempts = Attempts(self._name, patience)
        self._runner: asyncio.Runner | None = None
        self._pool = OwnPool(database)
        self._readings = Readings(self._pool, schema, self._name, secrets=False)

    def __repr__(self) -> str:
        """Show where it lies."""
        return f"<PostgresReader {self._name}>"

    def __enter__(self) -> Self:
        """Begin to read; a connection is made when it is needed."""
        self._runner = asyncio.Runner()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self._pool.aclose())

    @property
    def fingerprint_key(self) -> bytes:
        """The secret under which receivers are fingerprinted."""
        return self._key

    def owner(self) -> Owner | None:
        """Tell whose payouts it holds; None before the first program has opened it.

        Raises:
            JournalUnavailable: The database cannot be reached or has no tables.
            JournalMismatch: It was made by another release, or with another key.
        """
        meta = self._read(self._readings.meta)
        self._check_key(meta)
        if any(name not in meta for name in _OWNER):
            return None
        return Owner(**{name: meta[name] for name in _OWNER})

    def check(self, owner: Owner, *, is_sending: bool = True) -> None:
        """Make sure that a program with these settings may work on it.

        Args:
            owner: Whose payouts it must hold.
            is_sending: Whether payouts are about to be run from it, which need to write.

        Raises:
            JournalMismatch: It belongs to another environment, login, endpoint, key or version.
            JournalUnavailable: The database cannot be reached, has no tables, may lose commits, or
                takes no writes from this role.
        """
        given, key = attrs.asdict(owner), check_of(self._key)
        self._read(lambda: self._readings.check(given, key, is_sending=is_sending))

    def identity(self) -> object:
        """Name the tables, so that it is noticed when others have taken their place."""
        return self._read(self._readings.identity)

    @property
    def holds_payouts(self) -> bool:
        """Whether it holds any payout."""
        return bool(self._read(lambda: self._readings.listed(0, 1)))

    @property
    def is_restored(self) -> bool:
        """Whether it was declared restored from a copy."""
        return "restored" in self._read(self._readings.meta)

    def names(self) -> Iterator[str]:
        """Iterate over the ids of all payouts, none of which is read."""
        return (name for page in self._listed(LIST) for _, name, _ in page)

    def find(self, client_orderids: Sequence[str]) -> Iterator[Payout | None]:
        """Look payouts up in this order; None for each that the journal does not know.

        Raises:
            JournalDamaged: What is there cannot be what was written.
        """
        for start in range(0, len(client_orderids), _READER_PAGE):
            page = client_orderids[start : start + _READER_PAGE]
            found = self._found(page)
            self._check_unknown([name for name in page if name not in found])
            for name in page:
                yield self._payout(found[name]) if name in found else None

    def payouts(
        self, known: Mapping[str, int] | None = None, *, listed: set[str] | None = None
    ) -> Iterator[Payout]:
        """Iterate over the payouts in the order they were accepted, each as it stands.

        They are read in pages; each page is as the journal stands when its turn comes.

        Args:
            known: Sequences by client_orderid: payouts that are there still are passed over.
            listed: Takes in the ids of all that are there, passed over or not.

        Raises:
            JournalUnavailable: The database cannot be read.
            JournalDamaged: What it holds cannot be what was written.
        """
        known = {} if known is None else known
        listed = set() if listed is None else listed
        if not known and not self._read(self._readings.is_whole):
            raise JournalDamaged(self._name, "its list of payouts does not fit its events")
        for page in self._listed():
            listed.update(name for _, name, _ in page)
            names = [name for _, name, sequence in page if known.get(name) != sequence]
            found = self._found(names) if names else {}
            yield from (self._payout(found[name]) for name in names if name in found)

    def inspect(self) -> Inspection:
        """Look into it for whoever asks whether it fits their settings.

        Raises:
            JournalError: It cannot be read, or payouts could not be run from it.
        """
        seen = self._read(self._readings.inspect)
        self._check_key(seen.meta)
        fields = {name: seen.meta.get(name, "") for name in _OWNER}
        return Inspection(
            owner=Owner(**fields) if all(fields.values()) else None,
            mode=f"PostgreSQL {seen.server}",
            states={State(state): count for state, count in seen.states.items()},
            bound=seen.bound,
            is_restored="restored" in seen.meta,
            obstacle=seen.obstacle,
            is_exposed=seen.is_exposed,
        )

    def _listed(self, limit: int = _READER_PAGE) -> Iterator[list[tuple[int, str, int]]]:
        place = 0
        while True:
            page = self._read(partial(self._readings.listed, place, limit))
            if page:
                yield page
            if len(page) < limit:
                return
            place = page[-1][0]

    def _found(self, names: Sequence[str]) -> Mapping[str, Found]:
        return self._read(lambda: self._readings.read(names))

    def _check_unknown(self, names: Sequence[str]) -> None:
        """Be sure that nobody was paid under ids which are not listed."""
        stray = self._read(lambda: self._readings.stray(names)) if names else None
        if stray is not None:
            reason = "it has events and is not in the list of payouts"
            raise JournalDamaged(self._name, f"payout {stray}: {reason}")

    def _payout(self, found: Found) -> Payout:
        return read_found(self._name, self._key, found, secrets=False)[0]

    def _check_key(self, meta: Mapping[str, str]) -> None:
        known, given = meta.get("key_check"), check_of(self._key)
        if known is not None and known != given:
            raise JournalMismatch(self._name, "fingerprint key", given, known)

    def _read(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._runner is None:
            raise ClosedError("journal")
        try:
            return self._runner.run(self._attempts.make(work))
        except JournalUnavailable as error:
            problem = attrs.evolve(error, is_reader=self._is_reader)
        raise problem
