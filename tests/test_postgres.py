"""The PostgreSQL journal: the truths of every journal, and those of its server."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import attrs
import psycopg
import pytest
from cutting import Cutter, Where
from journal_cases import LIVES, OWNER, DurableJournalCases, Maker, grow, kept, listed, live
from payouts import LINK, PATHS, START, opened
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.postgres import MISSING, Postgres, is_needed, running_postgres
from billblend_async.core.events import CheckStarted
from billblend_async.core.models import State
from billblend_async.core.payout import open_payout
from billblend_async.errors import (
    ClaimLost,
    ConfigurationError,
    InvalidInput,
    JournalDamaged,
    JournalMismatch,
    JournalUnavailable,
)
from billblend_async.journal import postgres_connection as connections
from billblend_async.journal.postgres import PostgresJournal, PostgresReader
from billblend_async.journal.postgres_store import MIGRATIONS, VERSION, Statements

KEY = bytes(range(32))
_OURS = "FROM pg_stat_activity WHERE application_name = 'billblend_async'"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One server for all tests of this module."""
    with running_postgres() as server:
        if server is None:
            pytest.skip(MISSING)
        yield server


@pytest.fixture
def schema(server: Postgres) -> str:
    """Make the tables of a new journal and name their schema."""
    schema = server.new_schema()
    asyncio.run(_initialise(server, schema))
    return schema


async def _initialise(server: Postgres, schema: str) -> tuple[int, int]:
    journal = PostgresJournal(server.url, key=KEY, schema=schema)
    try:
        return await journal.initialise()
    finally:
        await journal.aclose()


class ServerCases(DurableJournalCases):
    @pytest.fixture
    def roll_back(self, server: Postgres, schema: str) -> Callable[[], None]:
        return partial(forget, server, schema)


def forget(server: Postgres, schema: str) -> None:
    """Take the last event of po-1 away, as a standby without the last commit has it."""
    last = "(SELECT sequence FROM {schema}.payouts WHERE client_orderid = 'po-1')"
    gone = f"DELETE FROM {{schema}}.events WHERE client_orderid = 'po-1' AND sequence = {last}"
    query(server, gone, schema)
    back = "UPDATE {schema}.payouts SET state = 'validated', sequence = sequence - 1"
    query(server, f"{back} WHERE client_orderid = 'po-1'", schema)


class TestPostgresJournal(ServerCases):
    @pytest.fixture
    def make(self, server: Postgres, schema: str) -> Maker:
        return lambda: PostgresJournal(server.url, key=KEY, schema=schema)


class TestHostsPool(ServerCases):
    @pytest.fixture
    async def make(self, server: Postgres, schema: str) -> AsyncIterator[Maker]:
        """Make journals over one pool of a host whose connections are set up in its own way."""
        pool = AsyncConnectionPool(
            server.url,
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=4,
            open=False,
        )
        async with pool:
            yield lambda: PostgresJournal(pool, key=KEY, schema=schema)

    def test_a_journal_belongs_to_one_loop(self, make: Maker) -> None:
        """A pool belongs to one loop too, so there is no other one to use it in."""


@pytest.fixture(scope="module")
def address(server: Postgres) -> Iterator[str]:
    """One pgbouncer in transaction mode for all tests of this module."""
    if shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        assert not is_needed(), "pgbouncer is not installed"
        pytest.skip("pgbouncer is not installed: apt-get install pgbouncer")
    yield server.start_pooler()
    server.stop_pooler()


class TestPooler(ServerCases):
    @pytest.fixture
    def make(self, address: str, schema: str) -> Maker:
        return lambda: PostgresJournal(address, key=KEY, schema=schema)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "WIN1251"])
async def test_text_travels_as_utf8(
    server: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Whatever the environment says of an encoding, each id comes back as it was."""
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    journal = await opened_journal(server, schema)
    await journal.accept(opened("pö-Ж"))
    held = await journal.load("pö-Ж")
    assert held is not None
    assert "pö-Ж" == held.client_orderid
    await journal.aclose()

    asking = f"{server.url}?client_encoding={encoding}"
    journal = await opened_journal(server, schema, database=asking)
    assert await journal.load("pö-Ж") == held
    await journal.aclose()

    async with AsyncConnectionPool(server.url, min_size=1, max_size=1, open=False) as pool:
        with pytest.raises(JournalUnavailable, match="do not use client_encoding UTF8; set that"):
            await opened_journal(server, schema, database=pool)


def query(server: Postgres, sql: str, schema: str = "") -> list[tuple[Any, ...]]:
    """Run some SQL beside the journal."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(sql.replace("{schema}", schema).encode())
        return cursor.fetchall() if cursor.description else []


async def opened_journal(server: Postgres, schema: str, **settings: Any) -> PostgresJournal:
    """Open a journal on a server."""
    journal = PostgresJournal(
        settings.pop("database", server.url),
        key=settings.pop("key", KEY),
        schema=schema,
        **settings,
    )
    await journal.open(OWNER)
    return journal


async def test_the_tables_are_made_once(server: Postgres) -> None:
    """Making tables that are there already changes nothing, and eight at once make them once."""
    schema = server.new_schema()
    assert sorted(await asyncio.gather(*(_initialise(server, schema) for _ in range(8)))) == [
        (0, VERSION),
        *[(VERSION, VERSION)] * 7,
    ]


async def test_tables_that_are_missing_are_told(server: Postgres) -> None:
    """A journal without tables says what makes them."""
    with pytest.raises(JournalUnavailable, match=r"PostgresJournal\.initialise"):
        await opened_journal(server, server.new_schema())


async def test_older_tables_are_brought_forward(
    server: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that adds to the tables refuses older ones until they are brought forward."""
    journal = await opened_journal(server, schema)
    payout = await live(journal, opened(), PATHS[State.PAYING])
    await journal.aclose()
    step = "ALTER TABLE {schema}.payouts ADD COLUMN note text"
    for name, value in {"MIGRATIONS": (*MIGRATIONS, (step,)), "VERSION": VERSION + 1}.items():
        for module in ("postgres_store",):
            monkeypatch.setattr(f"billblend_async.journal.{module}.{name}", value, raising=False)
    with pytest.raises(JournalUnavailable, match="brings them forward"):
        await opened_journal(server, schema)
    assert await _initialise(server, schema) == (VERSION, VERSION + 1)
    journal = await opened_journal(server, schema)
    assert await journal.load("po-1") == payout
    assert query(server, "SELECT note FROM {schema}.payouts", schema) == [(None,)]
    await journal.aclose()


async def test_newer_tables_are_refused(server: Postgres, schema: str) -> None:
    """Tables of a later release are neither opened nor changed."""
    query(server, "UPDATE {schema}.meta SET value = '99' WHERE name = 'version'", schema)
    with pytest.raises(JournalMismatch, match="version 99"):
        await opened_journal(server, schema)
    with pytest.raises(JournalMismatch, match="version 99"):
        await _initialise(server, schema)


async def test_another_key_is_refused(server: Postgres, schema: str) -> None:
    """A program with another key is refused, and the key is not in the database."""
    await (await opened_journal(server, schema)).aclose()
    with pytest.raises(JournalMismatch, match="fingerprint key"):
        await opened_journal(server, schema, key=bytes(32))
    assert KEY.hex() not in str(query(server, "SELECT * FROM {schema}.meta", schema))


@pytest.mark.parametrize("key", [b"", b"k" * 31, "k" * 32])
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    """A key has 32 bytes."""
    with pytest.raises(ConfigurationError, match="key: must be 32 bytes"):
        PostgresJournal("postgresql://", key=key)


@pytest.mark.parametrize("schema", ["", "Public", "a b", "a;drop", "x" * 64, '"'])
def test_a_schema_that_is_no_name_is_refused(schema: str) -> None:
    """The schema's name goes into every statement, so it may hold nothing odd."""
    for make in (PostgresJournal, PostgresReader):
        with pytest.raises(ConfigurationError, match="schema: must be a name of small letters"):
            make("postgresql://", key=KEY, schema=schema)


def test_the_password_is_never_shown() -> None:
    """Neither the repr nor an error repeats a password."""
    journal = PostgresJournal("postgresql://ann:s3cret@db.example:6432/pay", key=KEY)
    assert repr(journal) == (
        "<PostgresJournal postgresql://db.example:6432/pay (schema billblend) new>"
    )
    with pytest.raises(ConfigurationError) as caught:
        PostgresJournal("postgresql://ann:s3cret@[::1/pay", key=KEY)
    assert "s3cret" not in f"{caught.value!r}{caught.value.__cause__}{caught.value.__context__}"


async def test_nul_is_no_id(server: Postgres, schema: str) -> None:
    """PostgreSQL's texts hold no NUL; an id with one is bad input and harms no neighbour."""
    journal = await opened_journal(server, schema)
    good, bad = await asyncio.gather(
        journal.accept(opened()), journal.accept(opened("a\0b")), return_exceptions=True
    )
    assert good == open_payout(opened())
    assert isinstance(bad, InvalidInput)
    await journal.aclose()


@pytest.mark.parametrize("value", ["off", "local"])
async def test_a_server_that_forgets_is_refused(server: Postgres, schema: str, value: str) -> None:
    """With a synchronous_commit that loses commits nothing is opened and nothing is written."""
    journal = await opened_journal(server, schema)
    query(server, f"ALTER ROLE tester SET synchronous_commit = {value}")
    try:
        with pytest.raises(JournalUnavailable, match=f"synchronous_commit is {value}"):
            await opened_journal(server, schema)
        # It connects again, and gets the new setting.
        query(server, f"SELECT pg_terminate_backend(pid) {_OURS}")
        with pytest.raises(JournalUnavailable, match=f"synchronous_commit is {value}"):
            await journal.accept(opened())
    finally:
        query(server, "ALTER ROLE tester RESET synchronous_commit")
        await journal.aclose()
    assert query(server, "SELECT * FROM {schema}.events", schema) == []


async def test_nothing_is_held_between_two_steps(server: Postgres, schema: str) -> None:
    """Once a step has returned, no transaction, lock or prepared statement of it is left."""
    journal = await opened_journal(server, schema)
    await live(journal, opened(), PATHS[State.AWAITING_RECEIVER])
    await journal.load("po-1")
    activity = f"SELECT pid, state {_OURS}"
    sessions = query(server, activity)
    assert sessions
    assert {state for _, state in sessions} == {"idle"}
    pids = ",".join(str(pid) for pid, _ in sessions)
    assert query(server, f"SELECT * FROM pg_locks WHERE pid IN ({pids})") == []
    await journal.aclose()
    assert query(server, activity) == []


async def test_a_used_link_is_deleted(server: Postgres, schema: str) -> None:
    """The link for the receiver is in one table, until the payout is finished."""
    journal = await opened_journal(server, schema)
    first, events = opened(), PATHS[State.AWAITING_RECEIVER]
    payout = await live(journal, first, events)
    tables = ("meta", "payouts", "events", "secrets")
    held = {
        table: LINK in str(query(server, f"SELECT * FROM {{schema}}.{table}", schema))
        for table in tables
    }
    assert held == {"meta": False, "payouts": False, "events": False, "secrets": True}
    for becomes, event in grow(payout, PATHS[State.FINAL]):
        await journal.append(becomes, event)
    assert query(server, "SELECT * FROM {schema}.secrets", schema) == []
    await journal.aclose()


DAMAGES = {
    "an event is gone": "DELETE FROM {schema}.events WHERE sequence = 2",
    "the last event is gone": "DELETE FROM {schema}.events WHERE sequence = 6",
    "every event is gone": "DELETE FROM {schema}.events",
    "an event is changed": "UPDATE {schema}.events SET data = replace(data, '10.42', '99.42')",
    "an event is another": "UPDATE {schema}.events SET name = 'CheckStarted' WHERE sequence = 2",
    "a seal is changed": r"UPDATE {schema}.events SET seal = '\x00' WHERE sequence = 1",
    "the state is changed": "UPDATE {schema}.payouts SET state = 'validated'",
    "the count is changed": "UPDATE {schema}.payouts SET sequence = sequence - 1",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_refused(server: Postgres, schema: str, damage: str) -> None:
    """A payout that was edited by hand is refused whenever it is read, and its neighbour is not."""
    writer, journal = [await opened_journal(server, schema) for _ in range(2)]
    await live(writer, opened(), PATHS[State.FINAL])
    await writer.aclose()
    query(server, DAMAGES[damage], schema)
    await live(journal, opened("po-2"), PATHS[State.PAYING])
    with pytest.raises(JournalDamaged, match="po-1"):
        await journal.load("po-1")
    assert (await journal.load("po-2")) is not None
    with pytest.raises(JournalDamaged, match="po-1"):
        await listed(journal)
    await journal.aclose()


async def test_errors_carry_nothing_foreign(server: Postgres, schema: str) -> None:
    """What PostgreSQL says of a statement may repeat data, so only its code is told."""
    journal = await opened_journal(server, schema)
    query(server, "ALTER TABLE {schema}.events ADD CHECK (length(data) < 10)", schema)
    with pytest.raises(JournalUnavailable, match="CheckViolation, 23514") as caught:
        await journal.accept(opened())
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert "10.42" not in str(error)
    await journal.aclose()


# Lost connections


async def test_a_server_that_is_not_there_is_told(server: Postgres, schema: str) -> None:
    """Where nobody listens, or the role or database is unknown, the reason is told."""
    with pytest.raises(JournalUnavailable, match="refused"):
        await opened_journal(
            server, schema, database="postgresql://tester@127.0.0.1:1/postgres", patience=0.3
        )
    for wrong in ("postgresql://nobody_here@", "postgresql://tester@"):
        where = f"{wrong}127.0.0.1:{server.port}/nowhere"
        with pytest.raises(JournalUnavailable, match="does not exist"):
            await opened_journal(server, schema, database=where, patience=60)


async def _cut_life(
    server: Postgres, schema: str, number: int, at: int | None, where: Where
) -> Cutter:
    """Lead a payout through a life over a relay that cuts once, and hold it to what was written."""
    first, events = LIVES["two links"]
    name = f"po-{number}"
    async with Cutter(server.port, at, where) as cutter:
        journal = await opened_journal(server, schema, database=cutter.url)
        payout = await live(journal, opened(name), events)
        assert await journal.load(name) == payout
        written = [opened(name), *(event for _, event in grow(opened(name), events))]
        assert await journal.history(name) == kept(payout, written)
        await journal.aclose()
    assert first.client_orderid
    return cutter


async def test_a_connection_lost_at_any_message_changes_nothing(
    server: Postgres, schema: str
) -> None:
    """Wherever the connection is cut, before or after, each step is written once and succeeds."""
    await _cut_life(server, schema, 0, None, "before")  # it also makes the journal its owner's
    whole = await _cut_life(server, schema, 1, None, "before")
    assert whole.seen > 500
    # Every step of the life is made of the same messages, so a few of each are enough.
    sides: list[Where] = ["before", "after"]
    lives = product(range(1, whole.seen - 1, 13), sides)
    for number, (at, where) in enumerate(lives, 2):
        cutter = await _cut_life(server, schema, number, at, where)
        assert cutter.cuts == 1


async def test_a_server_that_hangs_is_not_waited_for_for_ever(
    server: Postgres, schema: str
) -> None:
    """Whoever waits is told when the patience is over, and later the journal goes on."""
    journal = await opened_journal(server, schema, patience=0.5)
    await journal.accept(opened())
    [(becomes, event)] = grow(opened(), (CheckStarted(at=START),))
    blocker = await psycopg.AsyncConnection.connect(server.url)
    async with blocker, blocker.transaction():
        await blocker.execute(f"LOCK TABLE {schema}.payouts".encode())
        with pytest.raises(JournalUnavailable, match=r"not answered for 0\.5 seconds"):
            await journal.append(becomes, event)
    await journal.accept(opened("po-2"))
    assert await journal.load("po-2") == open_payout(opened("po-2"))
    await journal.aclose()


async def test_what_was_acknowledged_survives_a_crash_of_the_server() -> None:
    """Whatever a journal has returned from is there after the server was killed and recovered."""
    with running_postgres() as server:
        if server is None:
            pytest.skip(MISSING)
        schema = server.new_schema()
        await _initialise(server, schema)
        journal = await opened_journal(server, schema)
        done: list[str] = []

        async def write(worker: int) -> None:
            for number in range(200):
                name = f"po-{worker}-{number}"
                await live(journal, opened(name), (CheckStarted(at=START),))
                done.append(name)

        writing = asyncio.gather(*(write(worker) for worker in range(8)))
        for kills in range(1, 4):
            while len(done) < kills * 150:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.restart, signal.SIGKILL)
        await writing
        assert sorted(await listed(journal, State.CHECKING)) == sorted(done)
        assert len(done) == 1600
        await journal.aclose()


async def test_many_programs_share_the_claims(server: Postgres, schema: str) -> None:
    """Four journals that claim the same hundred payouts at once have one winner for each."""
    journals = [await opened_journal(server, schema) for _ in range(4)]
    names = [f"po-{number}" for number in range(100)]
    for name in names:
        await journals[0].accept(opened(name))
    orders = [names, names[::-1], names[50:] + names[:50], names[::3] + names[1::3] + names[2::3]]

    async def claim(journal: PostgresJournal, order: list[str]) -> list[str]:
        steps = [grow(opened(name), (CheckStarted(at=START),))[0] for name in order]
        results = await asyncio.gather(
            *(journal.append(*step) for step in steps), return_exceptions=True
        )
        return [name for name, result in zip(order, results, strict=True) if result is None]

    won = await asyncio.gather(*map(claim, journals, orders))
    assert sorted(name for names in won for name in names) == sorted(names)
    for journal in journals:
        await journal.aclose()


async def test_a_program_that_stands_still_holds_nobody_up(
    server: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that freezes before its COMMIT is cut off: others go on, and it has lost."""
    monkeypatch.setattr(connections, "SILENCE", 0.3)
    frozen = await opened_journal(server, schema)
    rival = await opened_journal(server, schema, patience=5.0)
    payout = await rival.accept(opened())
    becomes, event = grow(payout, (CheckStarted(at=START + 1),))[0]
    stands, wakes = asyncio.Event(), asyncio.Event()
    rightly = Statements._ours

    async def stand_still(self: Statements, *arguments: Any) -> set[bytes]:
        written = await rightly(self, *arguments)
        if self is frozen._statements and not stands.is_set():
            stands.set()
            await wakes.wait()
        return written

    monkeypatch.setattr(Statements, "_ours", stand_still)
    freezing = asyncio.create_task(frozen.append(becomes, event))
    await stands.wait()

    await rival.append(becomes, attrs.evolve(event, at=START + 2))

    wakes.set()
    with pytest.raises(ClaimLost):
        await freezing
    assert [START + 2] == [e.at for e in (await rival.history("po-1"))[1:]]
    await frozen.aclose()
    await rival.aclose()
