"""What a PostgreSQL journal asks of its server: one attempt, one transaction, one connection."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final

from ..errors import JournalMismatch, JournalUnavailable
from ..models import State
from . import queries
from .connections import Connections, Pool, Transaction
from .entries import Entry, Found, Record
from .migrations import BINDS, MIGRATIONS, VERSION

__all__ = ["Statements"]

_Meta = Mapping[str, str]

_DURABLE: Final = ("on", "remote_apply", "remote_write")


class Statements:
    """A journal's server.

    Args:
        pool: Where connections come from.
        schema: The schema that the tables are in.
        name: The journal's, for errors.
    """

    def __init__(self, pool: Pool, schema: str, name: str) -> None:
        self._connections = Connections(pool, schema, name)
        self._name = name
        digest = blake2b(f"billblend journal {schema}".encode(), digest_size=8).digest()
        self._lock = int.from_bytes(digest, signed=True)

    async def initialise(self) -> tuple[int, int]:
        """Make the tables, or bring them to this release's version; tell the versions."""
        async with self._transaction(is_alone=True) as transaction:
            await transaction.run("CREATE SCHEMA IF NOT EXISTS {schema}")
            [(meta,)] = await transaction.rows("SELECT to_regclass('{schema}.meta')")
            before = 0 if meta is None else _version(await self._meta(transaction))
            if before > VERSION:
                raise self._mismatch("version", str(VERSION), str(before))
            for steps in MIGRATIONS[before:]:
                for step in steps:
                    await transaction.run(step)
            await self._remember(transaction, "version", str(VERSION))
            return before, VERSION

    async def settle(self, owner: dict[str, str], key_check: str) -> None:
        """Check whose journal it is, and that the server keeps what it says it has written.

        A new journal becomes the owner's and the key's.
        """
        async with self._transaction() as transaction:
            meta = await self._meta(transaction)
        self._check_server(meta)
        if {**owner, "key_check": key_check}.items() <= meta.items():
            return
        async with self._transaction(is_alone=True) as transaction:
            meta = await self._meta(transaction)
            known = meta.get("key_check", key_check)
            if known != key_check:
                raise self._mismatch("fingerprint key", key_check, known)
            for name, expected in {**owner, "key_check": key_check}.items():
                found = meta.get(name)
                if found == expected:
                    continue
                if found is not None and (
                    "restored" in meta or await transaction.rows(BINDS[name])
                ):
                    raise self._mismatch(name, expected, found)
                await self._remember(transaction, name, expected)

    async def write(
        self, owner: dict[str, str], entries: Sequence[Entry], restored: Sequence[Entry] = ()
    ) -> set[bytes]:
        """Write what is next of each payout, all in one transaction.

        Args:
            owner: Whose journal it must be.
            entries: What to write; those at place 0 are accepted.
            restored: What else to write of those that are accepted by a restored journal.

        Returns:
            The tokens of the entries that are written, by this attempt or an earlier one.
        """
        async with self._transaction() as transaction:
            meta = await self._meta(transaction)
            self._check_owner(meta, owner)
            opened = [entry for entry in entries if entry.sequence == 0]
            later = [entry for entry in entries if entry.sequence != 0]
            if opened:
                rows = await transaction.rows(self._wanting(queries.ACCEPT), _columns(opened))
                if "restored" in meta:
                    names = {name for (name,) in rows}
                    later += [entry for entry in restored if entry.client_orderid in names]
            if later:
                await self._append(transaction, later)
            return await self._ours(transaction, [*opened, *later])

    async def restore(
        self, owner: dict[str, str], mark: Callable[[Sequence[Found]], Sequence[Entry]]
    ) -> int:
        """Write what ``mark`` makes of every unfinished payout, and remember the restoration."""
        async with self._transaction(is_alone=True) as transaction:
            self._check_owner(await self._meta(transaction), owner)
            await self._remember(transaction, "restored", "yes")
            payouts = "(SELECT * FROM {schema}.payouts WHERE is_open) AS p"
            found = await self._found(transaction, payouts, {})
            entries = mark([one for _, one in found])
            if entries:
                await self._append(transaction, entries)
            return len(entries)

    async def complete(self) -> None:
        """Forget the restoration."""
        async with self._transaction(is_alone=True) as transaction:
            await transaction.run("DELETE FROM {schema}.meta WHERE name = 'restored'")

    async def read(self, names: Sequence[str]) -> dict[str, Found]:
        """Read payouts by their ids, as they stand at one moment."""
        async with self._connections.transaction() as transaction:
            found = await self._found(transaction, queries.NAMED, {"keys": list(names)})
        return {one.client_orderid: one for _, one in found}

    async def page(
        self, after: int, states: Collection[State], limit: int
    ) -> list[tuple[int, Found]]:
        """Read the next payouts in some states, each with its place."""
        is_open = not any(state.is_terminal for state in states)
        payouts = queries.PAGE.replace("{open}", "AND is_open" if is_open else "")
        values = {"after": after, "states": [state.value for state in states], "limit": limit}
        async with self._connections.transaction() as transaction:
            return await self._found(transaction, payouts, values)

    # Inside a transaction

    async def _append(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        columns = _columns(entries)
        await transaction.run(queries.LOCK, columns)
        await transaction.run(self._wanting(queries.APPEND), columns)
        secrets = [(entry, *entry.secret) for entry in entries if entry.secret is not None]
        if secrets:
            values = {
                "keys": [entry.client_orderid for entry, _, _ in secrets],
                "sequences": [entry.sequence for entry, _, _ in secrets],
                "data": [data for _, data, _ in secrets],
                "seals": [seal for _, _, seal in secrets],
                "tokens": [entry.token for entry, _, _ in secrets],
            }
            await transaction.run(queries.HIDE, values)
        final = [entry.client_orderid for entry in entries if entry.state.is_terminal]
        if final:
            await transaction.run(queries.ERASE, {"keys": final})

    async def _ours(self, transaction: Transaction, entries: Sequence[Entry]) -> set[bytes]:
        rows = await transaction.rows(queries.OURS_OF, _columns(entries))
        return {token for (token,) in rows}

    async def _found(
        self, transaction: Transaction, payouts: str, values: dict[str, Any]
    ) -> list[tuple[int, Found]]:
        rows = await transaction.rows(queries.READ.replace("{payouts}", payouts), values)
        return [
            (place, Found(name, state, sequence, _records(group)))
            for (name, place, state, sequence), group in groupby(rows, key=lambda row: row[:4])
        ]

    async def _meta(self, transaction: Transaction) -> _Meta:
        return dict(await transaction.rows(queries.SETTINGS))

    async def _remember(self, transaction: Transaction, name: str, value: str) -> None:
        sql = (
            "INSERT INTO {schema}.meta (name, value) VALUES (%(name)s, %(value)s)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )
        await transaction.run(sql, {"name": name, "value": value})

    def _wanting(self, sql: str) -> str:
        """Put the entries in; those that are accepted are numbered in their order."""
        is_numbered = sql is queries.ACCEPT
        wanted = queries.WANTED.replace("{ordinality}", "WITH ORDINALITY" if is_numbered else "")
        return sql.replace("{wanted}", wanted.replace("{place}", ", n" if is_numbered else ""))

    # Checks

    def _check_owner(self, meta: _Meta, owner: dict[str, str]) -> None:
        for name, expected in owner.items():
            found = meta.get(name)
            if found != expected:
                raise self._mismatch(name, expected, str(found))
        self._check_commit(meta)

    def _check_server(self, meta: _Meta) -> None:
        """Refuse a server that may lose what it has committed."""
        version = _version(meta)
        if version > VERSION:
            raise self._mismatch("version", str(VERSION), str(version))
        if version < VERSION:
            raise self._unavailable(
                f"its tables are of version {version}, and this release needs {VERSION}: run"
                " PostgresJournal.initialise, which brings them forward"
            )
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

    def _check_commit(self, meta: _Meta) -> None:
        """Look in each transaction: a role, a database or a connection may have its own setting."""
        if meta["synchronous_commit"] not in _DURABLE:
            raise self._unavailable(
                f"synchronous_commit is {meta['synchronous_commit']}, so a crash may forget what"
                " was sent; set it to on for this role and database"
            )

    @contextlib.asynccontextmanager
    async def _transaction(self, *, is_alone: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction that writes.

        Args:
            is_alone: Whether nobody else may write meanwhile: the owner is not to change between a
                look at it and a claim.
        """
        async with self._connections.transaction() as transaction:
            shared = "" if is_alone else "_shared"
            await transaction.run(f"SELECT pg_advisory_xact_lock{shared}({self._lock})")
            yield transaction

    def _unavailable(self, reason: str) -> JournalUnavailable:
        return JournalUnavailable(self._name, reason)

    def _mismatch(self, field: str, expected: str, found: str) -> JournalMismatch:
        return JournalMismatch(self._name, field, expected, found)


def _columns(entries: Sequence[Entry]) -> dict[str, Any]:
    """Turn entries into one list for each column."""
    return {
        "keys": [entry.client_orderid for entry in entries],
        "sequences": [entry.sequence for entry in entries],
        "states": [entry.state.value for entry in entries],
        "open": [not entry.state.is_terminal for entry in entries],
        "names": [entry.name for entry in entries],
        "data": [entry.data for entry in entries],
        "seals": [entry.seal for entry in entries],
        "tokens": [entry.token for entry in entries],
    }


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


def _version(meta: _Meta) -> int:
    version = meta.get("version", "")
    return int(version) if version.isdecimal() else 0
