"""Lets worker processes share payouts over one PostgreSQL, and kills them and it again and again.

The long run prints its figures and exits 1 when anything is not as it must be (in tests/)::

    python -m sharing --payouts 1000 --workers 3 --every 4
    python -m sharing --payouts 1000 --workers 3 --every 4 --restarts 3
    python -m sharing --payouts 1000 --workers 3 --every 4 --freeze 20
    python -m sharing --payouts 1000 --workers 3 --every 4 --engine dbos

Every worker is a real process, killed with SIGKILL and replaced at once, as a supervisor would.
The gateway's own ledger is the truth. What is claimed and never left this machine needs a person:
the run plays that person, a minute after the doubt, and says how often.
"""

import argparse
import asyncio
import contextlib
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import psycopg
from desk import Desk, open_desk
from sharing_worker import KEY, share_of
from truth import Record, Truth, states

from benchmarks.postgres import MISSING, Postgres, running_postgres
from billblend_async import Orchestrator, Owner, PostgresJournal
from billblend_async.batch.parser import read_batch
from billblend_async.batch.results import write_results
from billblend_async.cli.options import make_client
from billblend_async.errors import DecisionRefused
from billblend_async.gateway.settings import read_settings

WORKER = str(Path(__file__).with_name("sharing_worker.py"))
PATIENCE = 600.0


@attrs.define
class Takeover:
    """One kill, and when each payout that the dead one had was gone on with."""

    at: float
    names: frozenset[str]

    def seconds(self, requests: dict[str, list[float]]) -> list[float]:
        """Measure from the kill to the gateway's next request about each payout."""
        return [
            min(later) - self.at
            for name in self.names
            if (later := [at for at in requests.get(name, ()) if at > self.at])
        ]


@attrs.define(kw_only=True)
class Sharing:
    """The workers, the server that they share, and what happens to both.

    Attributes:
        desk: The gateway and the settings.
        server: PostgreSQL.
        file: The payouts.
        options: The command line's.
    """

    desk: Desk
    server: Postgres
    file: Path
    options: argparse.Namespace
    schema: str = attrs.field(init=False)
    chance: random.Random = attrs.field(init=False)
    workers: list[asyncio.subprocess.Process] = attrs.Factory(list)
    frozen: dict[asyncio.subprocess.Process, float] = attrs.Factory(dict)
    thawed: list[asyncio.subprocess.Process] = attrs.Factory(list)
    kills: int = 0
    freezes: int = 0
    restarts: int = 0
    released: int = 0
    takeovers: list[Takeover] = attrs.Factory(list)
    errors: Counter[str] = attrs.Factory(Counter)

    def __attrs_post_init__(self) -> None:
        """Name the journal's schema."""
        self.schema = self.server.new_schema()
        self.chance = random.Random(self.options.seed)

    @property
    def names(self) -> list[str]:
        """The payouts' ids."""
        return [row.request.client_orderid for row in read_batch(self.file).rows]

    async def run(self) -> dict[str, Record]:
        """Run until every payout is finished; give the journal's records."""
        journal = PostgresJournal(self.server.url, key=KEY, schema=self.schema)
        await journal.initialise()
        await journal.aclose()
        self.workers = [await self._start(share) for share in range(self.options.workers)]
        killer = asyncio.create_task(self._kill_for_ever())
        restarter = asyncio.create_task(self._restart())
        until = time.monotonic() + PATIENCE
        try:
            while (unfinished := self._unfinished()) is None or unfinished:
                assert time.monotonic() < until, f"not finished: {unfinished}"
                for task in (killer, restarter):
                    if task.done():
                        task.result()
                await self._mend()
                self._thaw()
                await asyncio.sleep(0.5)
            await restarter
            if self.frozen:  # what wakes up late finds that all is done
                self._thaw(everybody=True)
                await asyncio.sleep(10.0)
        finally:
            killer.cancel()
            restarter.cancel()
            await asyncio.gather(killer, restarter, return_exceptions=True)
            for worker in (*self.workers, *self.frozen, *self.thawed):
                if worker.returncode is None:
                    worker.kill()
                await worker.wait()
        return await self._records()

    async def _start(self, share: int) -> asyncio.subprocess.Process:
        options = self.options
        words = (options.engine, self.server.url, self.schema, self.file, share, options.workers)
        log = (self.desk.folder / f"worker-{share}.log").open("ab")
        with log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                WORKER,
                *map(str, (*words, options.poll, options.doubt)),
                env=self.desk.environ,
                cwd=self.desk.folder,
                stdout=log,
                stderr=log,
            )

    async def _kill_for_ever(self) -> None:
        """Kill one worker every few seconds and put another in its place."""
        while True:
            await asyncio.sleep(self.options.every * self.chance.uniform(0.5, 1.5))
            alive = [n for n, worker in enumerate(self.workers) if worker.returncode is None]
            if not alive:
                continue
            share = self.chance.choice(alive)
            worker = self.workers[share]
            if self.options.freeze and self.chance.random() < 0.5:
                # Its payouts are taken over although it lives: it wakes up beside its successor.
                worker.send_signal(signal.SIGSTOP)
                self.frozen[worker] = time.monotonic() + self.options.freeze
                self.freezes += 1
            else:
                worker.kill()
                await worker.wait()
                self.kills += 1
            self.takeovers.append(Takeover(time.time(), self._held(share)))
            self.workers[share] = await self._start(share)

    def _thaw(self, *, everybody: bool = False) -> None:
        for worker, until in tuple(self.frozen.items()):
            if everybody or time.monotonic() >= until:
                worker.send_signal(signal.SIGCONT)
                del self.frozen[worker]
                self.thawed.append(worker)

    async def _restart(self) -> None:
        """Restart PostgreSQL in the middle: in order, and as after a crash."""
        for number in range(1, self.options.restarts + 1):
            total = len(self.names)
            while (left := self._unfinished()) is None or left > total * (
                1 - number / (self.options.restarts + 2)
            ):
                await asyncio.sleep(0.1)
            how = signal.SIGINT if number % 2 else signal.SIGKILL
            await asyncio.to_thread(self.server.restart, how)
            self.restarts += 1

    async def _mend(self) -> None:
        """Do what a supervisor and a person would: start what ended too early, release doubts."""
        parked = "SELECT client_orderid, place FROM {schema}.payouts WHERE state = 'attention'"
        if not self.options.leave_doubts and self._query(parked):
            await self._release()
        for share, worker in enumerate(self.workers):
            if worker.returncode is not None and self._held(share):
                self.errors[f"worker ended by itself with {worker.returncode}"] += 1
                self.workers[share] = await self._start(share)

    async def _release(self) -> None:
        async with self._desk_of_a_person() as payouts:
            for outcome in await payouts.attention():
                with contextlib.suppress(DecisionRefused):  # the doubt is too young
                    await payouts.release(outcome.client_orderid, who="ann", why="never arrived")
                    self.released += 1

    @contextlib.asynccontextmanager
    async def _desk_of_a_person(self) -> AsyncIterator[Orchestrator]:
        journal = PostgresJournal(self.server.url, key=KEY, schema=self.schema)
        async with (
            make_client(read_settings(self.desk.environ)) as client,
            Orchestrator(client, journal) as payouts,
        ):
            yield payouts

    def _held(self, share: int) -> frozenset[str]:
        """Name the unfinished payouts that a worker has."""
        if self.options.engine == "dbos":
            rows = self._query(
                f"SELECT workflow_uuid, 0 FROM {self.schema}_dbos.workflow_status"
                f" WHERE status = 'PENDING' AND executor_id = 'worker-{share}'"
            )
            return frozenset(name.rpartition(":")[2] for name, _ in rows)
        rows = self._query(
            "SELECT client_orderid, place FROM {schema}.payouts"
            " WHERE is_open AND state <> 'attention'"
        )
        shares = self.options.workers
        return frozenset(name for name, _ in rows if share_of(name, shares) == share)

    def _unfinished(self) -> int | None:
        """Count the payouts that are not finished; None while nobody can tell."""
        parked = " OR state = 'attention'" if self.options.leave_doubts else ""
        done = self._query(f"SELECT count(*), 0 FROM {{schema}}.payouts WHERE NOT is_open{parked}")
        return len(self.names) - int(done[0][0]) if done else None

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            with psycopg.connect(self.server.url, autocommit=True) as connection:
                return connection.execute(sql.replace("{schema}", self.schema).encode()).fetchall()
        except psycopg.Error:
            return []  # it is being restarted

    async def _records(self) -> dict[str, Record]:
        journal = PostgresJournal(self.server.url, key=KEY, schema=self.schema)
        endpoint = read_settings(self.desk.environ).endpoint
        await journal.open(
            Owner(
                base_url=endpoint.base_url,
                login=self.desk.environ["BILLBLEND_LOGIN"],
                endpoint=endpoint.path,
            )
        )
        try:
            return {
                payout.client_orderid: Record(payout, await journal.history(payout.client_orderid))
                async for payout in journal.payouts()
            }
        finally:
            await journal.aclose()


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Make the long run and print its figures."""
    began = time.monotonic()
    with running_postgres() as server:
        assert server is not None, MISSING
        async with open_desk(folder, validation=options.bank, processing=options.bank) as desk:
            file = desk.write(options.payouts, accounts=["1234567890"])
            sharing = Sharing(desk=desk, server=server, file=file, options=options)
            records = await sharing.run()
            seconds = time.monotonic() - began
            batch = read_batch(file)
            outcomes = {name: record.outcome for name, record in records.items()}
            write_results(folder / "results.csv", batch, outcomes)
            truth = Truth(desk.sandbox.gateway, records, time.time(), owners=options.workers)
            wrongs = truth.wrongs(file, desk.results())
            gateway = desk.sandbox.gateway
    asked: dict[str, list[float]] = {}
    for request in gateway.requests:
        asked.setdefault(request.client_orderid, []).append(request.at)
    paid = Counter(entry.client_orderid for entry in gateway.ledger)
    sent = Counter(request.kind.value for request in gateway.requests)
    say(f"{options.engine}: {options.payouts} payouts, {options.workers} workers, {seconds:.0f} s")
    say(
        f"{sharing.kills} kills, {sharing.freezes} freezes, {sharing.restarts} restarts of "
        f"PostgreSQL; {dict(sharing.errors)}"
    )
    say(f"states: {dict(states(records))}; requests: {dict(sent)}")
    say(f"paid twice: {sum(n > 1 for n in paid.values())}; paid: {len(paid)}")
    say(f"lost: {len(batch.rows) - len(records)}; released by a person: {sharing.released}")
    times = [s for takeover in sharing.takeovers for s in takeover.seconds(asked)]
    if times:
        times.sort()
        say(
            f"taken over: {len(times)} payouts after {statistics.median(times):.1f} s (median), "
            f"{times[int(0.99 * len(times))]:.1f} s (p99), {times[-1]:.1f} s (longest)"
        )
    for wrong in wrongs:
        say(f"WRONG: {wrong}")
    say(f"{len(wrongs)} wrong, seed {options.seed}")
    return int(bool(wrongs) or len(records) != options.payouts or not sharing.kills)


def say(*words: object) -> None:
    """Print at once."""
    print(*words, flush=True)  # noqa: T201 - a command's figures


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Kill workers that share payouts, and PostgreSQL.")
    parser.add_argument("--payouts", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two kills")
    parser.add_argument("--restarts", type=int, default=0, help="of PostgreSQL, in the middle")
    parser.add_argument("--freeze", type=float, default=0.0, help="freeze every other one so long")
    parser.add_argument("--engine", choices=("plain", "dbos"), default="plain")
    parser.add_argument("--bank", type=float, default=15.0, help="seconds the bank takes each time")
    parser.add_argument("--poll", type=float, default=3.0, help="shortest pause of a question")
    parser.add_argument("--doubt", type=float, default=60.0, help="seconds in doubt until a person")
    parser.add_argument("--leave-doubts", action="store_true", help="end without that person")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main() -> int:
    """Read the options and run."""
    options = read_options()
    with tempfile.TemporaryDirectory(prefix="billblend-sharing-") as folder:
        return asyncio.run(run(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
