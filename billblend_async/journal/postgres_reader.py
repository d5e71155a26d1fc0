"""Reads a journal in a PostgreSQL database beside whoever writes it, and changes nothing.

For whoever only looks, outside an event loop: it holds no lock, works while payouts run, and a role
that may only read is enough. What it reads is checked as strictly as when payouts run from it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import attrs

from ..core.models import State
from ..core.payout import Payout
from ..errors import ClosedError, JournalDamaged, JournalMismatch, JournalUnavailable
from . import Owner
from .attempts import Attempts
from .entries import Found, read_found
from .inspection import Inspection
from .key_file import check_of
from .postgres_connection import OwnPool, describe
from .postgres_store import Readings
from .queries import check_schema

__all__ = ["PostgresReader"]

T = TypeVar("T")

PAGE: Final = 500
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
        for start in range(0, len(client_orderids), PAGE):
            page = client_orderids[start : start + PAGE]
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

    def _listed(self, limit: int = PAGE) -> Iterator[list[tuple[int, str, int]]]:
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
