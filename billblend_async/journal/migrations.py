"""The tables of a PostgreSQL journal, as the steps that make them or bring older ones forward."""

from typing import Final

__all__ = ["BINDS", "MIGRATIONS", "VERSION"]

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
