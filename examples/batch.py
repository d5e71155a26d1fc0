"""Pays a CSV file whose headers are the gateway's parameter names, and says what needs a person.

With ``BILLBLEND_LOGIN`` and its like set::

    python examples/batch.py payouts.csv

Interrupted or killed, run it again: what is finished is told, and the rest goes on. The command
``billblend pay`` does the same, checks the whole file first and writes the results to a file.
"""

import asyncio
import csv
import os
import sys
from collections import Counter
from pathlib import Path

from billblend_async import Client, InvalidInput, Orchestrator, PayoutRequest, SqliteJournal
from billblend_async.gateway.settings import read_settings


async def pay(file: Path) -> Counter[str]:
    """Pay every row and count what became of them."""
    with file.open(encoding="utf-8-sig", newline="") as rows:
        requests = [PayoutRequest.from_text(row) for row in csv.DictReader(rows)]
    settings = read_settings(os.environ)
    client = Client(
        settings.credentials,
        endpoint_id=settings.endpoint.endpoint_id,
        base_url=settings.endpoint.base_url,
    )
    told: Counter[str] = Counter()
    async with client, Orchestrator(client, SqliteJournal("payouts.db")) as payouts:
        async for outcome in payouts.run_many(requests, concurrency=1000):
            told[outcome.status or "unfinished"] += 1
            if outcome.needs_person:
                print(f"{outcome.client_orderid} needs a person: {outcome.explanation}")
            elif not outcome.is_finished:
                print(f"{outcome.client_orderid} is not finished: {outcome.open_reason}")
    return told


if __name__ == "__main__":
    try:
        print(dict(sorted(asyncio.run(pay(Path(sys.argv[1]))).items())))
    except InvalidInput as error:
        sys.exit(str(error))
