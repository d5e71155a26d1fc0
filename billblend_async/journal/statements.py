"""What a PostgreSQL journal writes: one attempt, one transaction, one connection."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import blake2b
from typing import Any

from . import queries
from .entries import Entry, Found, Written
from .migrations import MIGRATIONS, VERSION
from .postgres_connection import Pool, Transaction
from .postgres_store import Meta, Readings, version_of

__all__ = ["Statements"]


class Statements(Readings):
    """A journal's server, for whoever writes too.

    Args:
        pool: Where connections come from.
        schema: The schema that the tables are in.
        name: The journal's, for errors.
    """

    def __init__(self, pool: Pool, schema: str, name: str) -> None:
        super().__init__(pool, schema, name)
        digest = blake2b(f"billblend journal {schema}".encode(), digest_size=8).digest()
        self._lock = int.from_bytes(digest, signed=True)

    async def initialise(self, key_check: str) -> tuple[int, int]:
        """Make the tables, or bring them to this release's version; tell the versions.

        From then on they belong to the key, so that nobody makes a second one on another machine.
        """
        async with self._transaction(is_alone=True) as transaction:
            [(schema,)] = await transaction.rows("SELECT to_regnamespace('{schema}')")
            if schema is None:  # where it is there, no right to make one is needed
                await transaction.run("CREATE SCHEMA {schema}")
            [(meta,)] = await transaction.rows("SELECT to_regclass('{schema}.meta')")
            before = 0 if meta is None else version_of(await self._meta(transaction))
            if before > VERSION:
                raise self._mismatch("version", str(VERSION), str(before))
            for steps in MIGRATIONS[before:]:
                for step in steps:
                    await transaction.run(step)
            known = (await self._meta(transaction)).get("key_check", key_check)
            if known != key_check:
                raise self._mismatch("fingerprint key", key_check, known)
            await self._remember(transaction, "key_check", key_check)
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
            wanted = {**owner, "key_check": key_check}
            for name, value in (await self._changes(transaction, meta, wanted)).items():
                await self._remember(transaction, name, value)

    async def write(
        self,
        wanted: Meta,
        entries: Sequence[Entry],
        restored: Sequence[Entry] = (),
        written: Written | None = None,
    ) -> set[bytes]:
        """Write what is next of each payout, all in one transaction.

        Args:
            wanted: Whose journal it must be, and of which key.
            entries: What to write; those at place 0 are accepted.
            restored: What else to write of those that are accepted by a restored journal.
            written: An entry that must be there already.

        Returns:
            The tokens of the entries that are written, by this attempt or an earlier one.

        Raises:
            JournalRolledBack: What must be there is not.
        """
        async with self._transaction() as transaction:
            meta = await self._ours_still(transaction, wanted, written)
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
        self,
        wanted: Meta,
        mark: Callable[[Sequence[Found]], Sequence[Entry]],
        written: Written | None = None,
    ) -> Sequence[Entry]:
        """Write what ``mark`` makes of every unfinished payout, and remember the restoration."""
        async with self._transaction(is_alone=True) as transaction:
            await self._ours_still(transaction, wanted, written)
            await self._remember(transaction, "restored", "yes")
            payouts = "(SELECT * FROM {schema}.payouts WHERE is_open) AS p"
            found = await self._found(transaction, payouts, {})
            entries = mark([one for _, one in found])
            if entries:
                await self._append(transaction, entries)
            return entries

    async def complete(self, wanted: Meta, written: Written | None = None) -> None:
        """Forget the restoration."""
        async with self._transaction(is_alone=True) as transaction:
            await self._ours_still(transaction, wanted, written)
            await transaction.run("DELETE FROM {schema}.meta WHERE name = 'restored'")

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
