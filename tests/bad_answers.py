"""Pays a file over a bad line and holds the command to the gateway's ledger.

The long run prints its figures and exits 1 when anything is not as it must be (in tests/)::

    python -m bad_answers --payouts 400

A third of the requests that may move money meet a fault: before the gateway acted, after it, or it
acts late. Payouts stay in doubt for 40 seconds and not for 15 minutes.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
from bad_gateway import AFTER, BEFORE, LATE, BadLine, bad_line
from desk import Desk, ended, open_desk, pay_arguments
from killing import ACCOUNTS, say
from truth import Record, Truth, read_records, states

from billblend_async.core.models import State


@attrs.frozen
class Trial:
    """A desk whose line to the gateway is bad, and what it pays."""

    desk: Desk
    line: BadLine
    file: Path
    doubt: float

    async def pay(self, *, patience: float) -> str:
        """Pay the file once; what the command said on standard error."""
        _, _, error = await asyncio.wait_for(ended(await self.start()), patience)
        return error

    async def start(self) -> asyncio.subprocess.Process:
        """Begin to pay the file."""
        pay = pay_arguments(self.file)
        doubt = f"doubt={self.doubt}"
        return await self.desk.start(*pay, "--poll", "0.3:0.6", "--deadline", doubt)

    async def records(self) -> dict[str, Record]:
        """Read the journal."""
        return await read_records(self.desk.folder / "payouts.db", self.desk.environ)

    def wrongs(self, records: dict[str, Record]) -> list[str]:
        """Say everything that is not as it must be."""
        truth = Truth(self.desk.sandbox.gateway, records, time.time(), late=True)
        wrongs = truth.wrongs(self.file, self.desk.results())
        for (kind, name), count in self.line.arrived.items():
            if name not in records:
                wrongs += [] if kind == "status" else [f"{name}: sent and not in the journal"]
                continue
            claims = {"payout-check": "CheckStarted", "payout-pay": "PayStarted"}
            claimed = [type(event).__name__ for event in records[name].events]
            if kind in claims and count > claimed.count(claims[kind]):
                wrongs.append(f"{name}: {kind} came {count} times, more often than claimed")
            if kind == "payout-pay" and count > 1:
                wrongs.append(f"{name}: {kind} came {count} times")
        wrongs += [
            f"{name}: neither finished nor parked"
            for name, record in records.items()
            if record.payout.state not in (State.FINAL, State.ATTENTION)
        ]
        return wrongs


@asynccontextmanager
async def trial(folder: Path, payouts: int, *, seed: int, doubt: float) -> AsyncIterator[Trial]:
    """Open a desk with a bad line."""
    async with (
        open_desk(folder) as desk,
        bad_line(desk.sandbox.base_url, random.Random(seed)) as line,
    ):
        desk.environ["BILLBLEND_BASE_URL"] = line.base_url
        yield Trial(desk, line, desk.write(payouts, accounts=ACCOUNTS), doubt)


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Make the long run and print its figures."""
    began = time.monotonic()
    async with trial(folder, options.payouts, seed=options.seed, doubt=40.0) as paid:
        paid.line.most_faults, paid.line.lateness = 9, (1.0, options.latest)
        wrongs = []
        for _ in range(2):  # the second run learns what has come late
            error = await paid.pay(patience=600)
            records = await paid.records()
            wrongs += paid.wrongs(records)
            doubts = Counter(r.payout.doubt for r in records.values() if r.payout.doubt)
            sent = sum(n for (kind, _), n in paid.line.arrived.items() if kind != "status")
            for name, kinds in (("before", BEFORE), ("after", AFTER), ("late", LATE)):
                say(f"{name}: { ({kind: paid.line.counts[kind] for kind in kinds}) }")
            say(f"{error}{len(paid.line.met)} faults in {sent} sends, {states(records)}")
            say(f"parked: {dict(doubts)}; {time.monotonic() - began:.0f} s")
            await paid.line.settle()
        for wrong in wrongs:
            say(f"WRONG: {wrong}")
        say(f"{len(wrongs)} wrong, seed {options.seed}")
    return int(bool(wrongs))


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Pay over a bad line.")
    parser.add_argument("--payouts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--latest", type=float, default=60.0, help="most seconds of lateness")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="billblend-bad-answers-") as folder:
        return asyncio.run(run(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
