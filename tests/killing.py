"""Kills ``billblend pay`` without warning, again and again, and holds it to the gateway's ledger.

The long run prints its figures and exits 1 when anything is not as it must be (in tests/)::

    python -m killing --kills 150 --payouts 400
    python -m killing --kills 12 --payouts 200 --calm --doubt 0

Every process is the real command over a real file, journal and socket. With ``--doubt 0`` it is
the command as it is installed; otherwise payouts stay in doubt for that many seconds and not for
15 minutes, so that the last run ends sooner. By default the command polls fast and is killed where
it is busiest; with ``--calm`` it keeps its usual pace and is killed at any moment of its run.
"""

import argparse
import asyncio
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import attrs
from desk import Desk, ended, ended_when_quiet, open_desk, pay_arguments
from truth import Record, Truth, read_records, states

PATIENCE = 120.0
"""Seconds after which a process that neither ends nor reaches its moment is stuck."""
ACCOUNTS = ["1234567890"] * 20
ACCOUNTS[5], ACCOUNTS[15] = "0987654321", "1987654321"
"""Of twenty payouts one is declined and one ends in an error."""
BUSY, DOUBTFUL = ("new", "checking", "paying"), ("checking", "paying")


@attrs.define(kw_only=True)
class Killing:
    """Starts the command, kills it at seeded moments and starts it again.

    Attributes:
        desk: Where it runs.
        file: What it pays.
        chance: Where the moments come from.
        poll: How often it asks.
        window: The most payouts that are open at once beside those in doubt; None for the
            command's own 1000.
        doubt: Seconds for which a payout stays in doubt; None for the command's own.
        calm: Whether any moment is as good as another.
        kills: How many it has survived so far.
        found: In which states the payouts were when it was killed, and how often in mid-commit.
    """

    desk: Desk
    file: Path
    chance: random.Random
    poll: str = "0.05:0.1"
    window: int | None = None
    doubt: float | None = None
    calm: bool = False
    kills: int = 0
    found: Counter[str] = attrs.Factory(Counter)

    async def kill(self) -> bool:
        """Start it and kill it; False when it ended before its moment came."""
        process = await self._start()
        moment = asyncio.create_task(self._moment())
        over = asyncio.create_task(process.wait())
        try:
            await asyncio.wait(
                {moment, over}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            moment.cancel()
            over.cancel()
            lived = process.returncode is None
            if lived:
                process.kill()
        _, _, error = await ended(process)
        assert "Traceback" not in error, error
        assert lived or process.returncode in (0, 1, 2), error
        self.kills += lived
        if lived:
            self._look()
        return lived

    async def finish(self, quiet: float | None = None) -> tuple[int | None, str, str]:
        """Run it to its end, or end it kindly once it has only asked for that many seconds."""
        process = await self._start()
        return await (
            ended(process) if quiet is None else ended_when_quiet(self.desk, process, quiet)
        )

    async def _start(self) -> asyncio.subprocess.Process:
        window: list[object] = []
        if self.doubt is not None:
            window += ["--deadline", f"doubt={self.doubt}"]
        if self.window is not None:
            doubtful = sum(self._states()[state] for state in DOUBTFUL)
            window += ["--concurrency", self.window + doubtful]
        pay = pay_arguments(self.file)
        return await self.desk.start(*pay, "--poll", self.poll, *window)

    async def _moment(self) -> None:
        """Wait for the moment to kill: while it starts, anywhere, or right around a request."""
        kind = "anywhere" if self.calm else self.chance.choice(["start", "anywhere", *["busy"] * 3])
        if kind == "start":
            await asyncio.sleep(self.chance.uniform(0.1, 1.0))
            return
        gateway, before = self.desk.sandbox.gateway, len(self.desk.sandbox.gateway.requests)
        sends, more = self.desk.sends, self.chance.randint(1, 12)
        while len(gateway.requests) == before:
            await asyncio.sleep(0.002)
        if kind == "busy":
            while self.desk.sends < sends + more and len(gateway.requests) < before + 20 * more:
                await asyncio.sleep(0.001)
            await asyncio.sleep(self.chance.uniform(0, 0.02))
        else:
            await asyncio.sleep(self.chance.uniform(0, 2.0 if self.calm else 1.0))

    def _states(self) -> Counter[str]:
        """Count the journal's payouts by state, in a copy: the next process mends the original."""
        counts: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            for path in self.desk.folder.glob("payouts.db*"):
                shutil.copy(path, folder)
                is_begun = path.name != "payouts.db" and path.suffix != ".key"
                if is_begun and path.read_bytes()[:8].strip(b"\0"):
                    counts["in mid-commit"] += 1
            connection = sqlite3.connect(Path(folder) / "payouts.db")
            try:
                rows = connection.execute("SELECT state, count(*) FROM payouts GROUP BY state")
                counts.update(dict(rows.fetchall()))
            except sqlite3.OperationalError:
                counts["before the tables"] += 1
            finally:
                connection.close()
        return counts

    def _look(self) -> None:
        self.found.update({state: 1 for state, count in self._states().items() if count})

    async def wrongs(self, *, late: bool = False) -> tuple[dict[str, Record], list[str]]:
        """Read the journal and say everything that is not as it must be."""
        records = await read_records(self.desk.folder / "payouts.db", self.desk.environ)
        truth = Truth(self.desk.sandbox.gateway, records, time.time(), late)
        return records, truth.wrongs(self.file, self.desk.results())


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Make the long run and print its figures."""
    began = time.monotonic()
    async with open_desk(folder, validation=options.bank, processing=options.bank) as desk:
        killing = Killing(
            desk=desk,
            file=desk.write(options.payouts, accounts=ACCOUNTS),
            chance=random.Random(options.seed),
            poll="3:5" if options.calm else "0.05:0.1",
            window=None if options.calm else max(4, 3 * options.payouts // options.kills),
            doubt=options.doubt or None,
            calm=options.calm,
        )
        while killing.kills < options.kills and await killing.kill():
            say(f"\rkill {killing.kills}: {desk.sends} sends  ", end="")
        killed = time.monotonic() - began
        say(f"\n{killing.kills} kills of {options.payouts} payouts in {killed:.0f} s")
        status, out, error = await killing.finish()
        say(out, error, f"exit status {status}", sep="")
        records, wrongs = await killing.wrongs()
        sent = Counter(r.kind.value for r in desk.sandbox.gateway.requests)
        say(f"found by the kills: {dict(killing.found)}")
        say(f"requests: {dict(sent)}; left this machine and never arrived: {lost(records, desk)}")
        parked = Counter(r.payout.doubt for r in records.values() if r.payout.doubt)
        say(f"states: {dict(states(records))}; parked: {dict(parked)}")
        approvable = sum(ACCOUNTS[n % 20] == "1234567890" for n in range(options.payouts))
        approved = sum(row["status"] == "approved" for row in desk.results().values())
        say(f"approved {approved} of {approvable}; wall time {time.monotonic() - began:.0f} s")
        for wrong in wrongs:
            say(f"WRONG: {wrong}")
        say(f"{len(wrongs)} wrong, seed {options.seed}")
    return int(bool(wrongs) or killing.kills < options.kills)


def lost(records: dict[str, Record], desk: Desk) -> dict[str, int]:
    """Count the claims whose request the gateway never acted on."""
    claims = Counter(type(event).__name__ for record in records.values() for event in record.events)
    kinds = Counter(request.kind.value for request in desk.sandbox.gateway.requests)
    return {
        "checks": claims["CheckStarted"] - claims["CheckNotSent"] - kinds["payout-check"],
        "pays": claims["PayStarted"] - claims["PayNotSent"] - kinds["payout-pay"],
    }


def say(*words: object, sep: str = " ", end: str = "\n") -> None:
    """Print at once."""
    print(*words, sep=sep, end=end, flush=True)  # noqa: T201 - a command's figures


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Kill billblend pay again and again.")
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--payouts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bank", type=float, default=1.0, help="seconds the bank takes each time")
    parser.add_argument("--doubt", type=float, default=60.0, help="seconds; 0 for the usual ones")
    parser.add_argument("--calm", action="store_true", help="the usual pace, any moment")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="billblend-killing-") as folder:
        return asyncio.run(run(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
