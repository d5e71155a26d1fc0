"""Payouts on DBOS: real processes over a real PostgreSQL, killed, taken over and woken."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
from desk import ended
from leaks import forms

from benchmarks.postgres import MISSING, NEEDED, Postgres, running_postgres
from billblend_async.core.models import State
from billblend_async.errors import ConfigurationError
from billblend_async.testing import RunningSandbox

try:
    import psycopg
    from dbos import DBOSClient
    from dbos_program import ACCOUNTS, KEY

    from billblend_async.integrations.dbos import take_over
    from billblend_async.journal.postgres import PostgresJournal
except ModuleNotFoundError:
    if os.environ.get(NEEDED):
        raise
    pytest.skip("pip install 'billblend-async[dbos,postgres]'", allow_module_level=True)

PROGRAM = Path(__file__).parent / "dbos_program.py"
ROOT = PROGRAM.parent.parent
PATIENCE = 120.0
DEATHS = int(os.environ.get("BILLBLEND_DEATHS", "5"))
"""How often the pay call is killed; twenty take a minute or more."""
STATES = "SELECT status, count(*) FROM dbos.workflow_status GROUP BY 1"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One server for all tests of this module."""
    with running_postgres() as server:
        if server is None:
            pytest.skip(MISSING)
        yield server


@attrs.define
class Worker:
    """A process of the application."""

    process: asyncio.subprocess.Process
    said: list[str] = attrs.field(factory=list)

    async def hear(self, line: str) -> str:
        """Wait until it says a line that begins so; empty if it ends before."""
        assert self.process.stdout is not None
        for told in self.said:
            if told.startswith(line):
                self.said.remove(told)
                return told
        async with asyncio.timeout(PATIENCE):
            while told := (await self.process.stdout.readline()).decode().strip():
                if told.startswith(line):
                    return told
                self.said.append(told)
        return ""

    def tell(self, *words: str) -> None:
        """Tell it to do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(words).encode() + b"\n")

    async def do(self, *words: str) -> str:
        """Tell it to do something and give the last word that it has said of it."""
        self.tell(*words)
        return (await self.hear(" ".join(words))).rpartition(" ")[2]

    async def end(self) -> str:
        """End it kindly and give its stderr."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        _, error = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        return error.decode()


@attrs.define
class Application:
    """A sandbox, a system database of its own, a journal, and processes over them."""

    sandbox: RunningSandbox
    database: str
    environ: dict[str, str]
    stack: AsyncExitStack

    async def start(self, *words: str, **environ: str) -> Worker:
        """Start a process and wait until it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            *words,
            env=self.environ | environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        worker = Worker(process)
        self.stack.push_async_callback(_be_gone, process)
        assert await worker.hear("ready"), await worker.end()
        return worker

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask DBOS's own tables."""
        with psycopg.connect(self.database) as connection:
            return list(connection.execute(query.encode()).fetchall())

    def dump(self) -> dict[str, bytes]:
        """Write out every row of every table of the system database."""
        tables = self.rows("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'dbos'")
        assert {"workflow_status", "operation_outputs"} <= {table for _, table in tables}
        return {
            table: repr(self.rows(f'SELECT * FROM "{schema}"."{table}"')).encode()
            for schema, table in tables
        }


async def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await asyncio.sleep(0.02)


async def _be_gone(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


@pytest.fixture
async def application(
    server: Postgres, billblend_sandbox: RunningSandbox
) -> AsyncIterator[Application]:
    """Prepare an application that nothing runs of yet."""
    async with opened(server, billblend_sandbox) as application:
        yield application


@asynccontextmanager
async def opened(server: Postgres, sandbox: RunningSandbox) -> AsyncIterator[Application]:
    """Make a database and the environment that every process gets."""
    name = server.new_schema()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    database = f"{server.url.rpartition('/')[0]}/{name}"
    kept = {key: text for key, text in os.environ.items() if "BILLBLEND" not in key}
    environ = {
        **kept,
        **sandbox.environ,
        "DBOS_URL": database,
        "PYTHONPATH": str(ROOT),
    }
    journal = PostgresJournal(database, key=KEY)
    await journal.initialise()
    await journal.aclose()
    async with AsyncExitStack() as stack:
        yield Application(sandbox, database, environ, stack)


async def test_happy_path(application: Application) -> None:
    """Submitted payouts are paid once each, and their history is short."""
    worker = await application.start("work", "e1")
    names = [f"po-{n}" for n in range(20)]
    assert {"new"} == {await worker.do("submit", name) for name in names}
    states = set(State) - {State.ATTENTION}
    assert states >= {await worker.do("submit", name) for name in names}
    assert {"approved"} == {await worker.do("outcome", name) for name in names}

    application.sandbox.assert_paid_once(*names)
    assert [("SUCCESS", 20)] == application.rows(STATES)
    [(rows,)] = application.rows("SELECT count(*) FROM dbos.operation_outputs")
    assert 20 * 4 >= rows
    assert "" == await worker.end()


async def test_a_loop_of_its_own(application: Application) -> None:
    """DBOS that was launched outside the event loop runs workflows in another one: that works."""
    worker = await application.start("work", "e1", THREAD="1")
    names = [f"po-{n}" for n in range(5)]
    for name in names:
        await worker.do("submit", name)
    assert {"approved"} == {await worker.do("outcome", name) for name in names}

    application.sandbox.assert_paid_once(*names)


async def test_a_process_restarts(application: Application) -> None:
    """A process that ends kindly in the middle leaves all pending, and goes on when it is back."""
    application.sandbox.validation = 2.0
    names = [f"po-{n}" for n in range(20)]
    first = await application.start("work", "e1")
    for name in names:
        await first.do("submit", name)
    await until(lambda: 20 == len(application.sandbox.orders))
    said = await first.end()
    assert not {"ERROR", "Traceback"} & set(said.replace(":", " ").split())
    assert [("PENDING", 20)] == application.rows(STATES)
    second = await application.start("work", "e1")
    assert {"approved"} == {await second.do("outcome", name) for name in names}

    application.sandbox.assert_paid_once(*names)


@contextlib.contextmanager
def _client(database: str) -> Iterator[DBOSClient]:
    client = DBOSClient(system_database_url=database)
    try:
        yield client
    finally:
        client.destroy()


async def test_a_workflow_is_cancelled(application: Application) -> None:
    """A workflow that somebody has cancelled is begun again by whoever submits its payout again."""
    application.sandbox.validation = 3.0
    worker = await application.start("work", "e1")
    await worker.do("submit", "po-1")
    await until(lambda: application.sandbox.orders)
    with _client(application.database) as client:
        await asyncio.to_thread(client.cancel_workflow, "billblend:po-1")
    assert [("CANCELLED", 1)] == application.rows(STATES)
    await worker.do("submit", "po-1")
    assert "approved" == await worker.do("outcome", "po-1")

    assert [("SUCCESS", 1)] == application.rows(STATES)
    application.sandbox.assert_paid_once("po-1")


async def die_at_each_pay(application: Application, program: str, kills: int) -> None:
    """Let a process die in a payout-pay so often, and let another one finish what is left."""
    names = [f"po-{n}" for n in range(kills)]
    worker = await application.start(program, "e1", "die")
    for name in names:
        await worker.do("submit", name)
    for death in range(kills):
        assert 9 == await asyncio.wait_for(worker.process.wait(), PATIENCE)
        worker = await application.start(program, "e1", "die" if death + 1 < kills else "")
    for name in names:
        await worker.do("outcome", name)


@pytest.mark.timeout(600)  # as many starts of an interpreter and of DBOS, and one more
async def test_killed_in_the_pay_call(application: Application) -> None:
    """Processes that die in every pay call pay each payout once."""
    await die_at_each_pay(application, "work", DEATHS)

    application.sandbox.assert_paid_once(*(f"po-{n}" for n in range(DEATHS)))
    assert {1} == {each["pays"] for each in application.sandbox.ledger.values()}


async def test_the_same_without_a_journal(application: Application) -> None:
    """Without a journal's claim DBOS sends pay again after each death: these tests can fail."""
    await die_at_each_pay(application, "unguarded", 3)

    assert 3 + 3 == sum(each["pays"] for each in application.sandbox.ledger.values())


async def test_a_callback_wakes_another_machine(application: Application) -> None:
    """A callback that one process takes in ends the wait of the process that has the payout."""
    slow = {"NAP": "0.1", "GAP": "3"}
    first = await application.start("work", "e1", **slow)
    await first.do("submit", "po-1")
    outcome = asyncio.create_task(first.do("outcome", "po-1"))
    await until(lambda: application.sandbox.paid("po-1"))
    second = await application.start("work", "e2", **slow)
    query = urlencode(application.sandbox.callback("po-1"))
    assert "noted" == await second.do("deliver", query)
    assert "approved" == await outcome

    assert [(True,)] == application.rows("SELECT consumed FROM dbos.notifications")
    assert [("e1",)] == application.rows("SELECT executor_id FROM dbos.workflow_status")
    assert "known" == await second.do("deliver", query)
    assert 1 == len(application.rows("SELECT 1 FROM dbos.notifications"))
    application.sandbox.assert_paid_once("po-1")


async def test_a_dead_process_is_taken_over(application: Application) -> None:
    """What a killed process had begun is finished by another once it is told, each paid once."""
    application.sandbox.validation = 3.0
    names = [f"po-{n}" for n in range(30)]
    first = await application.start("work", "e1")
    for name in names:
        await first.do("submit", name)
    await until(lambda: 30 == len(application.sandbox.orders))
    first.process.send_signal(signal.SIGKILL)
    await first.process.wait()
    second = await application.start("work", "e2")
    status, out, error = await ended(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "billblend_async", "take-over", "e1"),
            *("--database", application.database),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )
    told = "30 payout(s) of e1 go on with whoever takes them from the queue.\n"
    assert (0, told, "") == (status, out, error)
    assert {"approved"} == {await second.do("outcome", name) for name in names}

    assert 0 == await take_over(application.database, ["e1"])
    application.sandbox.assert_paid_once(*names)
    assert {1} == {len(each["orders"]) for each in application.sandbox.ledger.values()}


async def test_a_living_process_is_taken_over(application: Application) -> None:
    """A take-over by mistake lets two processes drive each payout, and pays each once."""
    application.sandbox.validation = application.sandbox.processing = 2.0
    names = [f"po-{n}" for n in range(30)]
    first, second = [await application.start("work", name) for name in ("e1", "e2")]
    for name in names:
        await first.do("submit", name)
    for _ in range(3):
        await until(lambda: application.sandbox.orders)
        assert await second.do("take_over", "e1")
        assert await first.do("take_over", "e2")
        await asyncio.sleep(0.7)
    told = [await worker.do("outcome", name) for worker in (first, second) for name in names]

    assert {"approved"} == set(told)
    application.sandbox.assert_paid_once(*names)
    assert {1} == {each["pays"] for each in application.sandbox.ledger.values()}
    assert [("SUCCESS", 30)] == application.rows(STATES)


async def test_the_server_restarts(application: Application, server: Postgres) -> None:
    """PostgreSQL that crashes and comes back in the middle loses no payout and pays none twice."""
    application.sandbox.validation = application.sandbox.processing = 1.0
    names = [f"po-{n}" for n in range(30)]
    worker = await application.start("work", "e1")
    for name in names:
        await worker.do("submit", name)
    for how in (signal.SIGKILL, signal.SIGINT):
        await asyncio.sleep(1.5)
        await asyncio.to_thread(server.restart, how)
    assert {"approved"} == {await worker.do("outcome", name) for name in names}

    application.sandbox.assert_paid_once(*names)


async def test_nothing_secret(application: Application) -> None:
    """No table of DBOS holds a receiver's number, a link, an amount or a key, nor is one said."""
    worker = await application.start("work", "e1")
    for name in ("form-1", "po-1"):
        await worker.do("submit", name)
    assert "approved" == await worker.do("outcome", "po-1")
    while (link := await worker.do("link", "form-1")) == "None":
        await asyncio.sleep(0.1)
    tables = application.dump()
    application.sandbox.submit_form(link)
    await worker.do("outcome", "form-1")
    tables = {**{f"{name}, earlier": rows for name, rows in tables.items()}, **application.dump()}
    evidence = {**tables, "stderr": (await worker.end()).encode()}
    sandbox = application.sandbox
    secrets = [*ACCOUNTS.values(), link, "10.42", sandbox.merchant_control, KEY.hex()]
    secrets += sandbox.private_key.splitlines()[1:-1]

    assert [] == [
        f"{secret[:4]}... in {where}"
        for where, octets in evidence.items()
        for secret in secrets
        for _, form in forms(secret)
        if len(form) > 4 and form in octets
    ]
    assert b"form-1" in tables["workflow_status"]


async def test_a_database_that_is_none() -> None:
    """A take-over in a database that cannot be used says so, without the URL."""
    with pytest.raises(ConfigurationError, match="system database: it cannot be used") as caught:
        await take_over("postgresql://ann:hunter2@127.0.0.1:1/none", ["e1"])
    assert "hunter2" not in str(caught.value)


async def test_the_command_says_nothing_foreign() -> None:
    """What DBOS logs of a database that cannot be used may hold a piece of its password."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billblend_async", "take-over", "e1"),
        env={**os.environ, "DBOS_SYSTEM_DATABASE_URL": "postgresql://ann:hun@ter2@127.0.0.1:1/x"},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    status, out, error = await ended(process)
    assert (4, "") == (status, out)
    assert "ter2" not in error
    [line] = error.splitlines()
    assert line.startswith("billblend: system database: it cannot be used")
