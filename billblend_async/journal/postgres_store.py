"""What a PostgreSQL journal asks of its server without writing anything."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import attrs

from ..core.models import State
from ..errors import JournalMismatch, JournalRolledBack, JournalUnavailable
from . import queries
from .entries import Found, Record, Written
from .migrations import BINDS, VERSION
from .postgres_connection import Connections, Pool, Row, Transaction

__all__ = ["Meta", "Readings", "Seen", "version_of"]

Meta = Mapping[str, str]

_DURABLE: Final = ("on", "remote_apply", "remote_write")


@attrs.frozen(kw_only=True)
class Seen:
    """What a journal and its server say of themselves.

    Attributes:
        meta: The journal's settings, and those of the server that matter.
        server: The server's version.
        states: How many payouts are in which state.
        bound: The settings of its owner that stand for ever.
        obstacle: What keeps payouts from being run from it; empty where nothing does.
        is_exposed: Whether others on the way to the server can read what is said.
    """

    meta: Meta
    server: str
    states: Mapping[str, int]
    bound: frozenset[str]
    obstacle: str
    is_exposed: bool


class Readings:
    """A journal's server, for whoever reads; each call is one transaction on one connection.

    Args:
        pool: Where connections come from.
        schema: The schema that the tables are in.
        name: The journal's, for errors.
        secrets: Whether the links for receivers are read too; without them no right to is needed.
    """

    def __init__(self, pool: Pool, schema: str, name: str, *, secrets: bool = True) -> None:
        self._connections = Connections(pool, schema, name)
        self._name = name
        secret, joined = ("s.data, s.seal", queries.SECRETS) if secrets else ("NULL, NULL", "")
        self._reading = queries.READ.replace("{secret}", secret).replace("{secrets}", joined)

    async def meta(self) -> Meta:
        """Read what the journal says of itself; its tables must be of this release's version."""
        async with self._connections.transaction() as transaction:
            meta = await self._meta(transaction)
        self._check_version(meta)
        return meta

    async def check(
        self, owner: Mapping[str, str], key_check: str, *, is_sending: bool = True
    ) -> None:
        """Check that an owner may open it, as ``Statements.settle`` does.

        Args:
            owner: Whose journal it must be.
            key_check: The name of its key.
            is_sending: Whether payouts are about to be run, so that it must be possible to write.
        """
        async with self._connections.transaction() as transaction:
            meta = await self._meta(transaction)
            self._check_server(meta)
            await self._changes(transaction, meta, {**owner, "key_check": key_check})
            obstacle = await self._obstacle(transaction) if is_sending else ""
        if obstacle:
            raise self._unavailable(obstacle)

    async def identity(self) -> object:
        """Name the tables themselves, which are others once they were made again."""
        async with self._connections.transaction() as transaction:
            [(tables,)] = await transaction.rows("SELECT to_regclass('{schema}.payouts')::oid")
        return tables

    async def is_whole(self) -> bool:
        """Tell whether the list of payouts fits the events in number."""
        async with self._connections.transaction() as transaction:
            [(fits,)] = await transaction.rows(queries.AUDIT)
        return bool(fits)

    async def read(self, names: Sequence[str], written: Written | None = None) -> dict[str, Found]:
        """Read payouts by their ids, as they stand at one moment.

        Args:
            names: The ids.
            written: An entry that must be there too.

        Raises:
            JournalRolledBack: It is not.
        """
        async with self._connections.transaction() as transaction:
            values = {"keys": list(names)}
            found = await self._found(transaction, queries.NAMED, values, written)
        return {one.client_orderid: one for _, one in found}

    async def stray(self, names: Sequence[str]) -> str | None:
        """Name one of these payouts that has vanished from the list; None where none has."""
        async with self._connections.transaction() as transaction:
            rows = await transaction.rows(queries.STRAYS, {"keys": list(names)})
        return rows[0][0] if rows else None

    async def page(
        self, after: int, states: Collection[State], limit: int, written: Written | None = None
    ) -> list[tuple[int, Found]]:
        """Read the next payouts in some states, each with its place; see ``read``."""
        is_open = not any(state.is_terminal for state in states)
        payouts = queries.PAGE.replace("{open}", "AND is_open" if is_open else "")
        values = {"after": after, "states": [state.value for state in states], "limit": limit}
        async with self._connections.transaction() as transaction:
            return await self._found(transaction, payouts, values, written)

    async def listed(self, after: int, limit: int) -> list[tuple[int, str, int]]:
        """List the next payouts: the place, the id and the newest event's place of each."""
        async with self._connections.transaction() as transaction:
            rows = await transaction.rows(queries.LISTED, {"after": after, "limit": limit})
        return [(place, name, sequence) for place, name, sequence in rows]

    async def inspect(self) -> Seen:
        """Look at the journal and its server, which must be fit to run payouts from."""
        async with self._connections.transaction() as transaction:
            meta = await self._meta(transaction)
            self._check_server(meta)
            [(server,)] = await transaction.rows("SHOW server_version")
            states = await transaction.rows(queries.STATES)
            bound = [name for name, asked in BINDS.items() if await transaction.rows(asked)]
            obstacle = await self._obstacle(transaction)
            is_exposed = transaction.is_exposed
        return Seen(
            meta=meta,
            server=server,
            states=dict(states),
            bound=frozenset(bound),
            obstacle=obstacle,
            is_exposed=is_exposed,
        )

    # Inside a transaction

    async def _meta(self, transaction: Transaction) -> Meta:
        return dict(await transaction.rows(queries.SETTINGS))

    async def _ours_still(
        self, transaction: Transaction, wanted: Meta, written: Written | None
    ) -> Meta:
        """Read what the journal says of itself, in the same round trip as what was written.

        Args:
            transaction: The transaction.
            wanted: What it must say: whose journal it is, and which key it has.
            written: An entry that must be there, with which every earlier one is.

        Raises:
            JournalRolledBack: The entry is not there: the server has an older state.
            JournalMismatch: It is somebody else's by now.
        """
        rows = await self._rows(transaction, queries.SETTINGS, None, written)
        meta: Meta = dict(rows)
        for name, expected in wanted.items():
            if meta.get(name) != expected:
                field = "fingerprint key" if name == "key_check" else name
                raise self._mismatch(field, expected, str(meta.get(name)))
        self._check_commit(meta)
        return meta

    async def _changes(
        self, transaction: Transaction, meta: Meta, wanted: Mapping[str, str]
    ) -> dict[str, str]:
        """Tell which settings of the journal an owner changes; what stands for ever is refused."""
        known = meta.get("key_check", wanted["key_check"])
        if known != wanted["key_check"]:
            raise self._mismatch("fingerprint key", wanted["key_check"], known)
        changes = {}
        for name, expected in wanted.items():
            found = meta.get(name)
            if found == expected:
                continue
            if found is not None and ("restored" in meta or await transaction.rows(BINDS[name])):
                raise self._mismatch(name, expected, found)
            changes[name] = expected
        return changes

    async def _obstacle(self, transaction: Transaction) -> str:
        """Say what keeps payouts from being written; empty where nothing does."""
        [(is_standby, is_read_only, lacking)] = await transaction.rows(queries.MAY)
        if is_standby:
            return "the server is a standby, which takes no writes; give the primary's address"
        if is_read_only:
            return "default_transaction_read_only is on, so nothing can be written; turn it off"
        return f"this role lacks the right to {', '.join(lacking)}; grant it" if lacking else ""

    async def _found(
        self,
        transaction: Transaction,
        payouts: str,
        values: dict[str, Any],
        written: Written | None = None,
    ) -> list[tuple[int, Found]]:
        sql = self._reading.replace("{payouts}", payouts)
        rows = await self._rows(transaction, sql, values, written)
        return [
            (place, Found(name, state, sequence, _records(group)))
            for (name, place, state, sequence), group in groupby(rows, key=lambda row: row[:4])
        ]

    async def _rows(
        self,
        transaction: Transaction,
        sql: str,
        values: Mapping[str, object] | None,
        written: Written | None,
    ) -> list[Row]:
        """Fetch the rows of a statement, and in the same round trip look for a known entry.

        Raises:
            JournalRolledBack: The entry is not there: the server has an older state.
        """
        if written is None:
            return await transaction.rows(sql, values)
        rows, found = await transaction.each((sql, values), (queries.WRITTEN, written.values))
        if found:
            return rows
        about = f"payout {written.client_orderid}: event {written.sequence}"
        told = f"{about}, which this program wrote, is missing"
        raise JournalRolledBack(self._name, told, is_marked=False)

    # Checks

    def _check_server(self, meta: Meta) -> None:
        """Refuse a server that may lose what it has committed."""
        self._check_version(meta)
        for name in ("fsync", "full_page_writes"):
            if meta[name] != "on":
                raise self._unavailable(
                    f"the server runs with {name} = {meta[name]}, so a crash may damage what is"
                    " committed; turn it on"
                )
        if meta["server_encoding"] != "UTF8":
            raise self._unavailable(
                f"the database is in {meta['server_encoding']}; make one in UTF8"
            )
        self._check_commit(meta)

    def _check_version(self, meta: Meta) -> None:
        version = version_of(meta)
        if version > VERSION:
            raise self._mismatch("version", str(VERSION), str(version))
        if version < VERSION:
            raise self._unavailable(
                f"its tables are of version {version}, and this release needs {VERSION}: run"
                " billblend journal init (or PostgresJournal.initialise), which brings them forward"
            )

    def _check_commit(self, meta: Meta) -> None:
        """Look in each transaction: a role, a database or a connection may have its own setting."""
        if meta["synchronous_commit"] not in _DURABLE:
            raise self._unavailable(
                f"synchronous_commit is {meta['synchronous_commit']}, so a crash may forget what"
                " was sent; set it to on for this role and database"
            )

    def _unavailable(self, reason: str) -> JournalUnavailable:
        return JournalUnavailable(self._name, reason)

    def _mismatch(self, field: str, expected: str, found: str) -> JournalMismatch:
        return JournalMismatch(self._name, field, expected, found)


def version_of(meta: Meta) -> int:
    """Tell the version of a journal's tables; 0 for none."""
    version = meta.get("version", "")
    return int(version) if version.isdecimal() else 0


def _records(rows: Iterable[tuple[Any, ...]]) -> list[Record]:
    """Make records of joined rows; a payout without any has one row that holds nothing."""
    return [
        Record(
            row[4],
            row[5],
            row[6],
            bytes(row[7]),
            None if row[8] is None else (row[8], bytes(row[9])),
        )
        for row in rows
        if row[4] is not None
    ]
