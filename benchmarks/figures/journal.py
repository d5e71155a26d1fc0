"""P9: durable records a second, against a bare loop over SQLite that commits each."""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from unittest import mock

from billblend_async import Flow, Owner, SqliteJournal
from billblend_async.core.events import Opened
from billblend_async.journal import sqlite_database as handle

from ..row import Row
from .stand import Stand

__all__ = ["journal", "opened"]


def journal(stand: Stand) -> Iterator[Row]:
    """Compare in both journal modes, whichever this SQLite would get, with few and many waiting."""
    usual = handle.journal_mode(sqlite3.sqlite_version_info)
    for mode in ("wal", "truncate"):
        for waiting, total in stand.scale.records:
            with tempfile.TemporaryDirectory(dir=stand.arena.folder) as name:
                pairs = [
                    (_accept(Path(name), mode, waiting, total), _commit_each(Path(name), mode))
                    for _ in range(stand.scale.rounds)
                ]
            is_goal = waiting == stand.scale.records[-1][0]
            yield Row(
                key="P9" if is_goal else "",
                what=f"durable records a second, {waiting:,} waiting / a bare loop, {mode.upper()}",
                unit="×",
                values=tuple(ours / bare for ours, bare in pairs),
                goal=8.0 if is_goal else None,
                is_floor=True,
                note=f"{max(ours for ours, _ in pairs):,.0f} a second at best"
                + (f"; the mode of SQLite {sqlite3.sqlite_version}" if mode == usual else ""),
            )


def _accept(folder: Path, mode: str, waiting: int, total: int) -> float:
    """Count the durable records a second of our journal, with so many tasks waiting at once."""
    with mock.patch.object(handle, "journal_mode", return_value=mode):
        return asyncio.run(_accept_all(folder / f"ours-{time.monotonic_ns()}.db", waiting, total))


async def _accept_all(path: Path, waiting: int, total: int) -> float:
    records = SqliteJournal(path)
    await records.open(Owner(base_url="https://example.com", login="merchant", endpoint="1"))
    numbers = iter(range(total))

    async def work() -> None:
        for number in numbers:
            await records.accept(opened(number))

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(waiting)))
    spent = time.perf_counter() - began
    await records.aclose()
    return total / spent


def opened(number: int) -> Opened:
    """Make the first event of a payout."""
    return Opened(
        at=1_800_000_000.0,
        client_orderid=f"po-{number}",
        flow=Flow.CHECK_PAY,
        amount=Decimal("10.42"),
        currency="USD",
        fingerprint="f" * 64,
    )


def _commit_each(folder: Path, mode: str, total: int = 300) -> float:
    """Count the durable records a second of a loop that commits each."""
    bare = sqlite3.connect(folder / f"bare-{time.monotonic_ns()}.db", isolation_level=None)
    bare.execute(f"PRAGMA journal_mode={mode}")
    bare.execute("PRAGMA synchronous=FULL")
    bare.execute("CREATE TABLE event (id TEXT, n INTEGER, data TEXT, PRIMARY KEY (id, n))")
    began = time.perf_counter()
    for number in range(total):
        bare.execute("INSERT INTO event VALUES (?, 0, ?)", (f"po-{number}", "x" * 250))
    spent = time.perf_counter() - began
    bare.close()
    return total / spent
