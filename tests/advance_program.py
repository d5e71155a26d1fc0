"""A scheduler that never waits; run as a file by test_advance.py, twice over one journal.

``PATH NAME ...`` says "ready", waits for a line, and advances the payouts again and again until all
are at their end.
"""

import asyncio
import os
import sys

from payouts import request

from billblend_async import Client, Done, Orchestrator, PayoutRequest, Polling, SqliteJournal
from billblend_async.gateway.settings import read_settings


async def resolve(client_orderid: str) -> PayoutRequest:
    """Find a request again."""
    return request(client_orderid)


async def main(path: str, *names: str) -> None:
    """Advance all payouts side by side."""
    settings = read_settings(os.environ)
    client = Client(
        settings.credentials,
        endpoint_id=settings.endpoint.endpoint_id,
        base_url=settings.endpoint.base_url,
    )
    polling = Polling(shortest=0.2, longest=0.4)
    journal = SqliteJournal(path)
    async with client, Orchestrator(client, journal, polling=polling, resolve=resolve) as payouts:
        print("ready", flush=True)  # noqa: T201 - read by the test
        await asyncio.to_thread(sys.stdin.readline)

        async def drive(name: str) -> None:
            while not isinstance(await payouts.advance(name), Done):
                await asyncio.sleep(0.01)

        await asyncio.gather(*map(drive, names))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
