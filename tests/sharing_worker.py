"""One of several worker processes that share payouts over a PostgreSQL journal; see sharing.py.

``plain DATABASE SCHEMA FILE SHARE SHARES POLL DOUBT`` runs the payouts of its share, itself.
``dbos …`` with the same words hands its share in and runs what DBOS gives it.
"""

import asyncio
import contextlib
import os
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path

from billblend_async import Deadlines, Orchestrator, PayoutRequest, Polling, PostgresJournal
from billblend_async.batch.parser import read_batch
from billblend_async.cli.options import make_client
from billblend_async.gateway.settings import read_settings

KEY = b"shared by every worker, 32 bytes"
assert len(KEY) == 32


def share_of(client_orderid: str, shares: int) -> int:
    """Tell whose a payout is while nobody else has to take it over."""
    return zlib.crc32(client_orderid.encode()) % shares


async def run_plain(payouts: Orchestrator, mine: list[PayoutRequest]) -> None:
    """Run a share to its end; a payout that a process before this one has begun goes on."""
    async for outcome in payouts.run_many(mine):
        if outcome.problem is not None:
            print(outcome.client_orderid, outcome.problem, flush=True)  # noqa: T201 - to its log


async def run_dbos(
    payouts: Orchestrator, mine: list[PayoutRequest], database: str, schema: str, executor: str
) -> None:
    """Hand a share in, and run what is given to this executor until somebody ends this process."""
    from dbos import DBOS  # noqa: PLC0415 - only where it is wanted

    from billblend_async.integrations.dbos import DbosEngine  # noqa: PLC0415 - likewise

    dbos = DBOS(
        config={
            "name": "sharing",
            "system_database_url": database,
            "dbos_system_schema": f"{schema}_dbos",
            "executor_id": executor,
            "application_version": "1",
            "log_level": "ERROR",
        }
    )
    # Otherwise the first of them takes everything that waits.
    engine = DbosEngine(dbos, payouts, concurrency=400)
    DBOS.launch()
    try:
        async with engine:
            for request in mine:
                await engine.submit(request)
            await asyncio.Event().wait()
    finally:
        DBOS.destroy()


async def main(kind: str, database: str, schema: str, file: str, *numbers: str) -> None:
    """Work until the share is finished, or for ever."""
    share, shares = map(int, numbers[:2])
    poll, doubt = map(float, numbers[2:])
    requests: Mapping[str, PayoutRequest] = {
        row.request.client_orderid: row.request for row in read_batch(Path(file)).rows
    }

    async def resolve(client_orderid: str) -> PayoutRequest | None:
        return requests.get(client_orderid)

    mine = [request for name, request in requests.items() if share_of(name, shares) == share]
    journal = PostgresJournal(database, key=KEY, schema=schema)
    async with (
        make_client(read_settings(os.environ)) as client,
        Orchestrator(
            client,
            journal,
            polling=Polling(shortest=poll, longest=1.5 * poll),
            deadlines=Deadlines(doubt=doubt),
            resolve=resolve,
        ) as payouts,
    ):
        if kind == "plain":
            await run_plain(payouts, mine)
        else:
            await run_dbos(payouts, mine, database, schema, f"worker-{share}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
