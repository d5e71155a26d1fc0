"""The SQL of a PostgreSQL journal: its schema, its migrations, what is read and what is written.

Each method makes one attempt in one transaction on one connection; ``Attempts`` repeats it.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final

import attrs

from ..core.models import State
from ..errors import ConfigurationError, JournalMismatch, JournalRolledBack, JournalUnavailable
from .codec import Entry, Found, Record, Written
from .postgres_connection import Connections, Pool, Row, Transaction

__all__ = [
    "ACCEPT",
    "APPEND",
    "AUDIT",
    "BINDS",
    "ERASE",
    "HIDE",
    "LISTED",
    "LOCK",
    "MAY",
    "MIGRATIONS",
    "NAMED",
    "OURS_OF",
    "PAGE",
    "READ",
    "SECRETS",
    "SETTINGS",
    "STATES",
    "STRAYS",
    "VERSION",
    "WANTED",
    "WRITTEN",
    "Meta",
    "Readings",
    "Seen",
    "Statements",
    "check_schema",
    "version_of",
]

MIGRATIONS: Final = (
    (
        "CREATE TABLE {schema}.meta (name text PRIMARY KEY, value text NOT NULL)",
        "CREATE SEQUENCE {schema}.places",
        # The list changes with every event. It has no index on what changes while a payout is
        # open, and room on each page, so that PostgreSQL need not touch an index for that (a
        # heap-only tuple update).
        (
            "CREATE TABLE {schema}.payouts (place bigint PRIMARY KEY,"
            ' client_orderid text COLLATE "C" NOT NULL UNIQUE, state text NOT NULL,'
            " is_open boolean NOT NULL, sequence integer NOT NULL) WITH (fillfactor = 70)"
        ),
        "CREATE INDEX unfinished ON {schema}.payouts (place) WHERE is_open",
        (
            'CREATE TABLE {schema}.events (client_orderid text COLLATE "C" NOT NULL,'
            " sequence integer NOT NULL, name text NOT NULL, data text NOT NULL,"
            " seal bytea NOT NULL, token bytea NOT NULL, PRIMARY KEY (client_orderid, sequence))"
        ),
        # Secrets stand apart from the log, which is only ever added to.
        (
            'CREATE TABLE {schema}.secrets (client_orderid text COLLATE "C" NOT NULL,'
            " sequence integer NOT NULL, data text NOT NULL, seal bytea NOT NULL,"
            " PRIMARY KEY (client_orderid, sequence))"
        ),
    ),
)
"""What each version adds to the one before it."""

VERSION: Final = len(MIGRATIONS)
"""The layout of the tables and the way of writing events."""

_BEGUN: Final = "SELECT 1 FROM {schema}.events WHERE name NOT IN ('Opened', 'Withdrawn')"
_OPENED: Final = "SELECT 1 FROM {schema}.payouts"

BINDS: Final = {
    "base_url": f"{_BEGUN} LIMIT 1",
    "login": f"{_OPENED} LIMIT 1",
    "endpoint": (
        f"SELECT 1 WHERE EXISTS ({_OPENED} WHERE state <> 'new' AND EXISTS ({_BEGUN}))"  # noqa: S608 - ours alone
        " OR EXISTS (SELECT 1 FROM {schema}.events WHERE name IN ('Released', 'Restored'))"
    ),
}
"""Asks, for each setting of a journal's owner, whether it stands for ever; see ``tables``."""


_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")

SETTINGS: Final = (
    "SELECT name, value FROM {schema}.meta"
    " UNION ALL SELECT setting, current_setting(setting)"
    " FROM unnest(ARRAY['fsync', 'full_page_writes', 'server_encoding', 'synchronous_commit'])"
    " AS s(setting)"
)
WRITTEN: Final = (
    "SELECT 1 FROM {schema}.events"
    " WHERE client_orderid = %(key)s AND sequence = %(sequence)s AND token = %(token)s"
)
"""Asks whether an entry is there that is known to be committed."""
WANTED: Final = (
    "unnest(%(keys)s::text[], %(sequences)s::int[], %(states)s::text[], %(open)s::bool[],"
    " %(names)s::text[], %(data)s::text[], %(seals)s::bytea[], %(tokens)s::bytea[])"
    " {ordinality} AS w(client_orderid, sequence, state, is_open, name, data, seal, token{place})"
)
ACCEPT: Final = (
    # Places are drawn in the order of the group, and rows are written in the order of their ids,
    # in which nobody can wait in a circle.
    "WITH wanted AS MATERIALIZED (SELECT w.*, nextval('{schema}.places') AS place FROM {wanted}"
    " ORDER BY n), listed AS (INSERT INTO {schema}.payouts"
    " (place, client_orderid, state, is_open, sequence)"
    " SELECT place, client_orderid, state, is_open, 0 FROM wanted ORDER BY client_orderid"
    " ON CONFLICT (client_orderid) DO NOTHING RETURNING client_orderid)"
    " INSERT INTO {schema}.events (client_orderid, sequence, name, data, seal, token)"
    " SELECT client_orderid, 0, name, data, seal, token FROM wanted JOIN listed"
    " USING (client_orderid) ORDER BY client_orderid RETURNING client_orderid"
)
LOCK: Final = (
    "SELECT 1 FROM {schema}.payouts WHERE client_orderid = ANY(%(keys)s)"
    " ORDER BY client_orderid FOR UPDATE"
)
APPEND: Final = (
    "WITH wanted AS MATERIALIZED (SELECT * FROM {wanted}), written AS ("
    "INSERT INTO {schema}.events (client_orderid, sequence, name, data, seal, token)"
    " SELECT w.client_orderid, w.sequence, w.name, w.data, w.seal, w.token FROM wanted w"
    " JOIN {schema}.payouts p ON p.client_orderid = w.client_orderid"
    " AND p.sequence = w.sequence - 1 ON CONFLICT DO NOTHING RETURNING client_orderid)"
    " UPDATE {schema}.payouts p SET state = w.state, is_open = w.is_open, sequence = w.sequence"
    " FROM wanted w JOIN written USING (client_orderid)"
    " WHERE p.client_orderid = w.client_orderid"
)
OURS_OF: Final = (
    "SELECT token FROM {schema}.events WHERE (client_orderid, sequence) IN"
    " (SELECT * FROM unnest(%(keys)s::text[], %(sequences)s::int[])) AND token = ANY(%(tokens)s)"
)
HIDE: Final = (
    "INSERT INTO {schema}.secrets (client_orderid, sequence, data, seal)"
    " SELECT w.* FROM unnest(%(keys)s::text[], %(sequences)s::int[], %(data)s::text[],"
    " %(seals)s::bytea[]) AS w(client_orderid, sequence, data, seal) JOIN {schema}.events e"
    " USING (client_orderid, sequence) WHERE e.token = ANY(%(tokens)s) ON CONFLICT DO NOTHING"
)
ERASE: Final = (
    "DELETE FROM {schema}.secrets s USING {schema}.payouts p"
    " WHERE p.client_orderid = s.client_orderid AND NOT p.is_open"
    " AND s.client_orderid = ANY(%(keys)s)"
)
READ: Final = (
    "SELECT p.client_orderid, p.place, p.state, p.sequence, e.sequence, e.name, e.data, e.seal,"
    " {secret} FROM {payouts} LEFT JOIN {schema}.events e USING (client_orderid)"
    " {secrets} ORDER BY p.place, e.sequence"
)
SECRETS: Final = (
    "LEFT JOIN {schema}.secrets s"
    " ON s.client_orderid = e.client_orderid AND s.sequence = e.sequence"
)
NAMED: Final = "(SELECT * FROM {schema}.payouts WHERE client_orderid = ANY(%(keys)s)) AS p"
PAGE: Final = (
    "(SELECT * FROM {schema}.payouts WHERE place > %(after)s AND state = ANY(%(states)s)"
    " {open} ORDER BY place LIMIT %(limit)s) AS p"
)
LISTED: Final = (
    "SELECT place, client_orderid, sequence FROM {schema}.payouts WHERE place > %(after)s"
    " ORDER BY place LIMIT %(limit)s"
)
AUDIT: Final = (
    "SELECT (SELECT count(*) FROM {schema}.events)"
    " = (SELECT coalesce(sum(sequence + 1), 0) FROM {schema}.payouts)"
)
STRAYS: Final = (
    "SELECT client_orderid FROM {schema}.events e WHERE client_orderid = ANY(%(keys)s) AND NOT"
    " EXISTS (SELECT 1 FROM {schema}.payouts p WHERE p.client_orderid = e.client_orderid) LIMIT 1"
)
"""Names a payout that has events and is not listed."""
MAY: Final = (
    # Rights to some columns are enough for all but DELETE, which has none for columns.
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',"
    " ARRAY(SELECT what || ' on ' || name FROM (VALUES ('SELECT', 'meta'),"
    " ('SELECT', 'events'), ('INSERT', 'events'), ('SELECT', 'payouts'), ('INSERT', 'payouts'),"
    " ('UPDATE', 'payouts'), ('SELECT', 'secrets'), ('INSERT', 'secrets')) AS w(what, name)"
    " WHERE NOT has_any_column_privilege('{schema}.' || name, what)"
    " UNION ALL SELECT 'DELETE on secrets' WHERE NOT"
    " has_table_privilege('{schema}.secrets', 'DELETE')"
    " UNION ALL SELECT 'USAGE on places' WHERE NOT"
    " has_sequence_privilege('{schema}.places', 'USAGE, UPDATE'))"
)
"""Asks what keeps payouts from being written: a standby, a setting, and which rights lack."""
STATES: Final = "SELECT state, count(*) FROM {schema}.payouts GROUP BY state"


def check_schema(schema: str, setting: str = "schema") -> str:
    """Give a schema's name back if it is one that can stand in SQL as it is.

    Args:
        schema: The name.
        setting: Where it was given, for the error.

    Raises:
        ConfigurationError: It is none.
    """
    if _NAME.fullmatch(schema):
        return schema
    raise ConfigurationError(
        f"{setting}: must be a name of small letters, digits and _, at most 63"
    )


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
        secret, joined = ("s.data, s.seal", SECRETS) if secrets else ("NULL, NULL", "")
        self._reading = READ.replace("{secret}", secret).replace("{secrets}", joined)

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
            [(fits,)] = await transaction.rows(AUDIT)
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
            found = await self._found(transaction, NAMED, values, written)
        return {one.client_orderid: one for _, one in found}

    async def stray(self, names: Sequence[str]) -> str | None:
        """Name one of these payouts that has vanished from the list; None where none has."""
        async with self._connections.transaction() as transaction:
            rows = await transaction.rows(STRAYS, {"keys": list(names)})
        return rows[0][0] if rows else None

    async def page(
        self, after: int, states: Collection[State], limit: int, written: Written | None = None
    ) -> list[tuple[int, Found]]:
        """Read the next payouts in some states, each with its place; see ``read``."""
        is_open = not any(state.is_terminal for state in states)
        payouts = PAGE.replace("{open}", "AND is_open" if is_open else "")
        values = {"after": after, "states": [state.value for state in states], "limit": limit}
        async with self._connections.transaction() as transaction:
            return await self._found(transaction, payouts, values, written)

    async def listed(self, after: int, limit: int) -> list[tuple[int, str, int]]:
        """List the next payouts: the place, the id and the newest event's place of each."""
        async with self._connections.transaction() as transaction:
            rows = await transaction.rows(LISTED, {"after": after, "limit": limit})
        return [(place, name, sequence) for place, name, sequence in rows]

    async def inspect(self) -> Seen:
        """Look at the journal and its server, which must be fit to run payouts from."""
        async with self._connections.transaction() as transaction:
            meta = await self._meta(transaction)
            self._check_server(meta)
            [(server,)] = await transaction.rows("SHOW server_version")
            states = await transaction.rows(STATES)
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
        return dict(await transaction.rows(SETTINGS))

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
        rows = await self._rows(transaction, SETTINGS, None, written)
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
        [(is_standby, is_read_only, lacking)] = await transaction.rows(MAY)
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
        rows, found = await transaction.each((sql, values), (WRITTEN, written.values))
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
                rows = await transaction.rows(self._wanting(ACCEPT), _columns(opened))
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
        await transaction.run(LOCK, columns)
        await transaction.run(self._wanting(APPEND), columns)
        secrets = [(entry, *entry.secret) for entry in entries if entry.secret is not None]
        if secrets:
            values = {
                "keys": [entry.client_orderid for entry, _, _ in secrets],
                "sequences": [entry.sequence for entry, _, _ in secrets],
                "data": [data for _, data, _ in secrets],
                "seals": [seal for _, _, seal in secrets],
                "tokens": [entry.token for entry, _, _ in secrets],
            }
            await transaction.run(HIDE, values)
        final = [entry.client_orderid for entry in entries if entry.state.is_terminal]
        if final:
            await transaction.run(ERASE, {"keys": final})

    async def _ours(self, transaction: Transaction, entries: Sequence[Entry]) -> set[bytes]:
        rows = await transaction.rows(OURS_OF, _columns(entries))
        return {token for (token,) in rows}

    async def _remember(self, transaction: Transaction, name: str, value: str) -> None:
        sql = (
            "INSERT INTO {schema}.meta (name, value) VALUES (%(name)s, %(value)s)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )
        await transaction.run(sql, {"name": name, "value": value})

    def _wanting(self, sql: str) -> str:
        """Put the entries in; those that are accepted are numbered in their order."""
        is_numbered = sql is ACCEPT
        wanted = WANTED.replace("{ordinality}", "WITH ORDINALITY" if is_numbered else "")
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
