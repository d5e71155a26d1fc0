"""What runs have left in the journal's store, and what that has cost there."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, Self

import attrs

from .process import cpu_of_family, parent_of

__all__ = ["Store", "look"]

_TABLES: Final = (
    "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('billblend', 'dbos')"
)
_STATE: Final = "SELECT pg_backend_pid(), pg_current_wal_insert_lsn() - '0/0'"


@attrs.frozen(kw_only=True)
class Store:
    """How the store stands, or what has come to it between two looks.

    Attributes:
        rows: Rows of each table that has some; those of DBOS's tables begin with ``dbos.``.
        log: Bytes of PostgreSQL's write-ahead log; 0 for a file.
        cpu: CPU seconds of all the server's processes; 0 for a file, None where it is unknown.
    """

    rows: dict[str, int]
    log: int = 0
    cpu: float | None = 0.0

    @property
    def events(self) -> int:
        """The journal's events."""
        return self.rows.get("events", 0)

    @property
    def rows_of_dbos(self) -> int:
        """The rows of all of DBOS's tables."""
        return sum(count for table, count in self.rows.items() if table.startswith("dbos."))

    def since(self, before: Self) -> Self:
        """Give what has come since an earlier look."""
        rows = {table: count - before.rows.get(table, 0) for table, count in self.rows.items()}
        cpu = None
        if self.cpu is not None and before.cpu is not None:
            cpu = self.cpu - before.cpu
        return attrs.evolve(
            self,
            rows={table: count for table, count in rows.items() if count},
            log=self.log - before.log,
            cpu=cpu,
        )


def look(place: Path | str) -> Store:
    """Look at the store.

    Args:
        place: The journal's file, which need not be there yet, or the URL of its database.
    """
    return _look_at_server(place) if isinstance(place, str) else _look_at_file(place)


def _look_at_file(path: Path) -> Store:
    if not path.exists():
        return Store(rows={})
    with closing(sqlite3.connect(path)) as file:
        tables = file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return Store(
            rows={
                name: file.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                for (name,) in tables
            }
        )


def _look_at_server(url: str) -> Store:
    import psycopg  # noqa: PLC0415 - only where it is installed
    from psycopg import sql  # noqa: PLC0415 - likewise

    with psycopg.connect(url, autocommit=True) as server:
        tables = server.execute(_TABLES).fetchall()
        rows = {}
        for schema, table in tables:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
            name = table if schema == "billblend" else f"{schema}.{table}"
            [(rows[name],)] = server.execute(count).fetchall()
        [(backend, log)] = server.execute(_STATE).fetchall()
        postmaster = parent_of(backend)
        cpu = None if postmaster is None else cpu_of_family(postmaster)
    return Store(rows=rows, log=int(log), cpu=cpu)
