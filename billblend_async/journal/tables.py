"""The tables of a SQLite journal."""

from typing import Final

__all__ = ["AUDIT", "BINDS", "LISTED_IN", "TABLES", "VERSION"]

VERSION: Final = 1
"""The layout of the tables and the way of writing events."""

TABLES: Final = {
    "meta": "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "payouts": (
        "CREATE TABLE payouts (place INTEGER PRIMARY KEY, client_orderid TEXT NOT NULL UNIQUE,"
        " state TEXT NOT NULL, sequence INTEGER NOT NULL)"
    ),
    "events": (
        "CREATE TABLE events (client_orderid TEXT NOT NULL, sequence INTEGER NOT NULL,"
        " name TEXT NOT NULL, data TEXT NOT NULL, seal BLOB NOT NULL,"
        " PRIMARY KEY (client_orderid, sequence)) WITHOUT ROWID"
    ),
    # Secrets stand apart from the log, in the order they come, and are overwritten where they
    # stand: a page of this table is never split or merged, which would leave copies behind that
    # even secure_delete does not reach.
    "secrets": (
        "CREATE TABLE secrets (place INTEGER PRIMARY KEY, client_orderid TEXT NOT NULL,"
        " sequence INTEGER NOT NULL, data TEXT NOT NULL, seal BLOB NOT NULL)"
    ),
    "secrets_of": "CREATE INDEX secrets_of ON secrets (client_orderid, sequence)",
}
"""What makes each table and index, by its name: exactly this stands in the file."""

_BEGUN: Final = "SELECT 1 FROM events WHERE name NOT IN ('Opened', 'Withdrawn') LIMIT 1"
"""Asks whether anything was ever claimed, approved or restored: without a claim nothing is sent."""

BINDS: Final = {
    "base_url": _BEGUN,
    # Whoever accepted a payout wants it paid by this login, although nothing was sent yet.
    "login": "SELECT 1 FROM payouts LIMIT 1",
    # What has left before a release, or before a copy was restored, is looked for at its endpoint.
    "endpoint": (
        f"SELECT 1 WHERE EXISTS (SELECT 1 FROM payouts WHERE state <> 'new' AND EXISTS ({_BEGUN}))"  # noqa: S608 - ours alone
        " OR EXISTS (SELECT 1 FROM events WHERE name IN ('Released', 'Restored'))"
    ),
}
"""Asks, for each setting of a journal's owner, whether it stands for ever."""

LISTED_IN: Final = "SELECT client_orderid FROM payouts WHERE instr(?, ' ' || state || ' ') > 0"
"""Names the payouts in one of some states."""

AUDIT: Final = (
    "SELECT (SELECT count(*) FROM events) = (SELECT coalesce(sum(sequence + 1), 0) FROM payouts)"
    " AND NOT EXISTS (SELECT 1 FROM payouts WHERE instr(?, ' ' || state || ' ') = 0)"
)
"""Asks whether the list of payouts fits the events in number and names known states only."""
