"""How soon a final status is known, with the gateway's callbacks and without them.

The same payouts run twice against a sandbox on this machine at the usual pace of 3 to 5 s: once
with callbacks that come in over HTTP at an endpoint of our own, once with every callback lost. ::

    python benchmarks/callbacks.py --payouts 200

For each it prints how long after the gateway's final status ``run`` came back (median, 95th of 100,
longest), and how many status requests each payout took.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import attrs

from billblend_async import (
    CallbackEndpoint,
    Client,
    Credentials,
    Orchestrator,
    PayoutRequest,
    SqliteJournal,
)
from billblend_async.gateway.wire import RequestKind
from billblend_async.sandbox import Sandbox
from billblend_async.server import Server, take_port


@attrs.frozen
class Figures:
    """What one run came to.

    Attributes:
        waits: Seconds from each final status to the end of ``run``.
        polls: Status requests for each payout.
        approved: How many payouts were approved.
        paid_once: How many the sandbox's ledger holds exactly once.
    """

    waits: list[float]
    polls: float
    approved: int
    paid_once: int


@asynccontextmanager
async def serving(payouts: Orchestrator) -> AsyncIterator[str]:
    """Take callbacks in on a free port."""
    with take_port("127.0.0.1", 0) as listener:
        server = Server(CallbackEndpoint(payouts), asyncio.Event())
        await server.begin(listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/callback"
        finally:
            await server.end()


async def measure(folder: Path, count: int, *, callbacks: bool, processing: float) -> Figures:
    """Run the payouts once."""
    async with Sandbox(validation=1.0, processing=processing, callbacks=callbacks) as sandbox:
        credentials = Credentials(
            sandbox.login, sandbox.private_key, merchant_control=sandbox.merchant_control
        )
        journal = SqliteJournal(folder / f"callbacks-{callbacks}.db")
        async with (
            Client(
                credentials, endpoint_id=sandbox.endpoint_id, base_url=sandbox.base_url
            ) as client,
            Orchestrator(client, journal) as payouts,
            serving(payouts) as address,
        ):
            waits: list[float] = []

            async def one(number: int) -> bool:
                request = PayoutRequest(
                    client_orderid=f"po-{number}",
                    amount=Decimal("10.42"),
                    currency="USD",
                    account_number="1234567890",
                    server_callback_url=address,
                )
                await asyncio.sleep(number * 0.15)  # as they come in at a service
                outcome = await payouts.run(request)
                known = time.time()
                order = sandbox.gateway.orders[outcome.paynet_order_id or ""]
                waits.append(known - (order.paid_at or 0.0) - processing)
                return outcome.is_approved

            approved = sum(await asyncio.gather(*map(one, range(count))))
        asked = [r for r in sandbox.gateway.requests if r.kind is RequestKind.STATUS]
        paid_once = sum(sandbox.gateway.paid(f"po-{n}") == 1 for n in range(count))
    return Figures(sorted(waits), len(asked) / count, approved, paid_once)


def main() -> None:
    """Measure both and print the figures side by side."""
    parser = argparse.ArgumentParser(description="How soon is a final status known?")
    parser.add_argument("--payouts", type=int, default=200)
    parser.add_argument("--processing", type=float, default=8.0, help="seconds a payment takes")
    options = parser.parse_args()
    print(f"{options.payouts} payouts, a payment takes {options.processing:g} s")
    print(
        f"{'callbacks':>10} {'median':>9} {'95 %':>9} {'longest':>9} {'polls':>7}  approved, once"
    )
    for callbacks in (True, False):
        with tempfile.TemporaryDirectory(prefix="billblend-callbacks-") as folder:
            found = asyncio.run(
                measure(
                    Path(folder),
                    options.payouts,
                    callbacks=callbacks,
                    processing=options.processing,
                )
            )
        late = found.waits[int(0.95 * (len(found.waits) - 1))]
        told = (statistics.median(found.waits), late, found.waits[-1])
        seconds = " ".join(f"{wait:8.3f}s" for wait in told)
        name = "sent" if callbacks else "lost"
        print(f"{name:>10} {seconds} {found.polls:7.2f}  {found.approved}, {found.paid_once}")


if __name__ == "__main__":
    main()
