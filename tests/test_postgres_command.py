"""The command over a journal in PostgreSQL: a real server, and the gateway's own books."""

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
from desk import Desk, ended, open_desk
from servers import tls_contexts

from benchmarks.postgres import MISSING, Postgres, running_postgres
from billblend_async.cli.doctor import Finding, examine_journal
from billblend_async.gateway.wire import RequestKind
from billblend_async.journal import postgres_connection as connections
from billblend_async.journal.location import DatabasePlace
from billblend_async.journal.postgres_connection import is_local
from billblend_async.journal.postgres_store import VERSION

FAST = ("--poll", "0.1:0.2")
GOOD, DECLINED, REDIRECT = "1234567890", "0987654321", "2000000001"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One server for all tests of this module."""
    with running_postgres() as server:
        if server is None:
            pytest.skip(MISSING)
        yield server


@pytest.fixture
async def desk(tmp_path: Path, server: Postgres) -> AsyncIterator[Desk]:
    """Open a desk whose journal lies in a schema of its own."""
    async with open_desk(tmp_path) as desk:
        desk.environ["BILLBLEND_JOURNAL_KEY"] = str(tmp_path / "journal.key")
        desk.environ["BILLBLEND_JOURNAL_SCHEMA"] = server.new_schema()
        yield desk


@pytest.fixture
async def ready(desk: Desk, server: Postgres) -> Desk:
    """Make the tables."""
    status, _, error = await desk.billblend("journal", "init", "--journal", server.url)
    assert (0, "") == (status, error)
    return desk


async def pay(
    desk: Desk, server: Postgres, file: Path, *words: object
) -> tuple[int | None, str, str]:
    """Pay a file."""
    given = ("--journal", server.url, "--out", "results.csv", *FAST)
    return await desk.billblend("pay", file, *given, *words)


def told(desk: Desk) -> dict[str, str]:
    """Give the word for each payout of the results."""
    return {name: row["status"] for name, row in desk.results().items()}


def query(desk: Desk, server: Postgres, sql: str) -> list[tuple[object, ...]]:
    """Run some SQL beside the journal."""
    schema = desk.environ["BILLBLEND_JOURNAL_SCHEMA"]
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(sql.replace("{schema}", schema).encode())
        return cursor.fetchall() if cursor.description else []


class TestInit:
    async def test_once(self, desk: Desk, server: Postgres) -> None:
        """The tables and their key are made once, and a second time changes nothing."""
        key = desk.folder / "journal.key"
        status, out, error = await desk.billblend("journal", "init", "--journal", server.url)
        assert (0, "") == (status, error)
        assert f"Made the tables of a journal (version {VERSION})" in out
        assert f"Made its key in {key}" in out
        assert 0o600 == key.stat().st_mode & 0o777
        held = key.read_bytes()

        status, out, error = await desk.billblend("journal", "init", "--journal", server.url)
        assert (0, "") == (status, error)
        assert "The tables are there already" in out
        assert "key" not in out
        assert held == key.read_bytes()

    async def test_a_second_key(self, ready: Desk, server: Postgres) -> None:
        """A machine without the journal's key is told to copy it, and makes none."""
        other = ready.folder / "other.key"
        ready.environ["BILLBLEND_JOURNAL_KEY"] = str(other)
        status, _, error = await ready.billblend("journal", "init", "--journal", server.url)
        assert 4 == status
        assert "this journal has a key already; copy its file" in error
        assert not other.exists()

        other.write_text(f"{bytes(32).hex()}\n")
        status, _, error = await ready.billblend("journal", "init", "--journal", server.url)
        assert 4 == status
        assert "fingerprint key" in error

    async def test_no_server(self, desk: Desk, server: Postgres) -> None:
        """The key that was made is kept when the server cannot be reached, and is used later."""
        key = desk.folder / "journal.key"
        nowhere = "postgresql://tester@127.0.0.1:1/postgres"
        status, _, error = await desk.billblend("journal", "init", "--journal", nowhere)
        assert 4 == status
        assert "Traceback" not in error
        assert f"its key is kept in {key}; run init again" in error
        held = key.read_bytes()
        status, _, error = await desk.billblend("journal", "init", "--journal", server.url)
        assert (0, "") == (status, error)
        assert held == key.read_bytes()

    async def test_an_answer_that_never_comes(self, desk: Desk, server: Postgres) -> None:
        """The key of tables that may have been committed is kept: without it nothing is run."""
        key = desk.folder / "journal.key"
        query(desk, server, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        query(desk, server, "SELECT pg_reload_conf()")
        try:
            status, _, error = await desk.billblend("journal", "init", "--journal", server.url)
        finally:
            query(desk, server, "ALTER SYSTEM RESET synchronous_standby_names")
            query(desk, server, "SELECT pg_reload_conf()")
        assert 4 == status
        assert f"its key is kept in {key}; run init again" in error
        assert ["billblend: journal"] == [line[:18] for line in error.splitlines()]
        status, out, error = await desk.billblend("journal", "init", "--journal", server.url)
        assert (0, "") == (status, error)
        assert "The tables are there already" in out

    async def test_a_file(self, desk: Desk) -> None:
        """A journal in a file needs no init, which says so."""
        status, _, error = await desk.billblend("journal", "init", "--journal", "payouts.db")
        assert 4 == status
        assert "is made by its first run" in error
        assert not (desk.folder / "payouts.db").exists()


async def test_before_init(desk: Desk, server: Postgres) -> None:
    """Without tables nothing is sent, and the command that makes them is named."""
    (desk.folder / "journal.key").write_text(f"{bytes(range(32)).hex()}\n")
    file = desk.write(2, accounts=[GOOD])
    for words in ((), ("--dry-run",)):
        status, _, error = await pay(desk, server, file, *words)
        assert 4 == status
        assert "billblend journal init" in error
    assert 0 == desk.sends


async def test_a_file_is_paid(ready: Desk, server: Postgres) -> None:
    """Every row is paid once, a second run sends nothing, and every command tells of it."""
    file = ready.write(6)
    status, out, _ = await pay(ready, server, file, "--dry-run")
    assert 0 == status
    assert "with the new journal postgresql://" in out
    assert 0 == ready.sends

    status, _, error = await pay(ready, server, file)
    assert (2, "") == (status, error)  # the status error needs a person
    ends = {"po-0": "approved", "po-1": "declined", "po-2": "error"}
    assert ends.items() <= told(ready).items()
    assert {f"po-{n}": 1 for n in range(6)} == ready.count(RequestKind.PAY)

    status, out, _ = await pay(ready, server, file, "--dry-run")
    assert 0 == status
    assert "6 finished" in out
    assert 2 == (await pay(ready, server, file))[0]
    assert {f"po-{n}": 1 for n in range(6)} == ready.count(RequestKind.PAY)

    status, out, error = await ready.billblend("status", "po-0", "--journal", server.url)
    assert (0, "") == (status, error)
    assert "approved" in out
    for words in (("report",), ("report", "--html", "a.html", "--csv", "a.csv")):
        status, out, error = await ready.billblend(*words, "--journal", server.url)
        assert (0, "") == (status, error)
    page = (ready.folder / "a.html").read_text("utf-8")
    assert "po-1" in (ready.folder / "a.csv").read_text("utf-8")
    assert "schema" in page
    # Who connects is nobody's business; but what is to be copied says what was typed.
    assert "tester" not in re.sub(r"<code>.*?</code>", "", page)
    assert f"billblend attention acknowledge --journal {server.url} po-2" in page

    (ready.folder / "key.pem").chmod(0o600)
    status, out, error = await ready.billblend("doctor", "--journal", server.url)
    assert (0, "") == (status, error), out
    assert f"BILLBLEND_JOURNAL_KEY is {ready.folder / 'journal.key'}" in out
    assert "fits the settings; 6 payouts, 0 unfinished" in out
    assert "PostgreSQL 1" in out


async def test_another_payout_under_a_known_id(ready: Desk, server: Postgres) -> None:
    """An id that the journal holds for another amount is refused before anything is sent."""
    file = ready.write(2, accounts=[GOOD])
    await pay(ready, server, file)
    sends = ready.sends
    file.write_text(file.read_text("utf-8").replace("1.50", "9.50"), "utf-8")
    status, _, error = await pay(ready, server, file)
    assert 3 == status
    assert "is in the journal with another amount" in error

    other = ready.write(1, "other.csv", accounts=[GOOD], prefix="PO-")
    status, _, error = await pay(ready, server, other)
    assert 3 == status
    assert "differs from po-0 in the journal" in error
    assert sends == ready.sends


async def test_a_new_database_beside_old_results(ready: Desk, server: Postgres) -> None:
    """Tables in which nobody was paid do not pay again what the results file knows of."""
    file = ready.write(3, accounts=[REDIRECT])
    given = ("--journal", "payouts.db", "--out", "results.csv", *FAST)
    await ready.billblend("pay", file, *given, "--deadline", "receiver=1")
    sends = ready.sends
    status, _, error = await pay(ready, server, file)
    assert 4 == status
    assert "this journal is new, but --out results.csv holds results" in error
    assert sends == ready.sends


async def test_killed_and_run_again(ready: Desk, server: Postgres) -> None:
    """A run that is killed with -9 is gone on with by the same command, also beside another."""
    file = ready.write(40, accounts=[GOOD])
    given = ("--journal", server.url, "--out", "results.csv", "--deadline", "doubt=2", *FAST)
    process = await ready.start("pay", file, *given)
    while ready.count(RequestKind.PAY).total() < 10:
        await asyncio.sleep(0.02)
        assert process.returncode is None
    process.send_signal(signal.SIGKILL)
    await ended(process)

    runs = [
        pay(ready, server, file, "--out", f"results-{n}.csv", "--deadline", "doubt=2")
        for n in (0, 1)
    ]
    for status, _, error in await asyncio.gather(*runs):
        assert status in (0, 2), error
    paid = Counter(entry.client_orderid for entry in ready.sandbox.gateway.ledger)
    assert {1} == set(paid.values())
    assert {1} == set(ready.count(RequestKind.PAY).values())
    for n in range(2):
        results = ready.results(f"results-{n}.csv")
        open_ones = {name for name, row in results.items() if row["status"] != "approved"}
        # What was claimed and not sent when the process died is a person's to decide about.
        assert {"attention"} >= {results[name]["status"] for name in open_ones}
        assert 40 == len(results)
        assert paid.keys() == results.keys() - open_ones


async def test_a_person_decides(ready: Desk, server: Postgres) -> None:
    """Payouts are held, approved, withdrawn and declared about as over a file."""
    file = ready.write(3, accounts=[GOOD])
    status, _, _ = await pay(ready, server, file, "--check-only")
    assert 0 == status
    who = ("--journal", server.url, "--who", "ann")
    status, out, _ = await ready.billblend("withdraw", "po-2", *who, "--why", "twice")
    assert (0, "po-2: withdrawn\n") == (status, out)
    status, _, error = await ready.billblend("approve", file, *who, "--out", "results.csv", *FAST)
    assert 2 != status, error
    words = {"po-0": "approved", "po-1": "approved", "po-2": "withdrawn"}
    assert words == told(ready)
    status, out, _ = await ready.billblend("attention", "list", "--journal", server.url)
    assert (0, "Nothing needs a person.\n") == (status, out)
    for word in ("restored", "complete"):
        assert 0 == (await ready.billblend("journal", word, "--journal", server.url))[0]


async def test_somebody_elses(ready: Desk, server: Postgres) -> None:
    """With the key of another journal, or another login, nothing is sent and nothing is read."""
    file = ready.write(2, accounts=[GOOD])
    await pay(ready, server, file)
    sends = ready.sends
    login = ready.environ["BILLBLEND_LOGIN"]
    ready.environ["BILLBLEND_LOGIN"] = "somebody-else"
    assert 4 == (await pay(ready, server, file))[0]
    status, out, _ = await ready.billblend("doctor", "--journal", server.url)
    assert 4 == status
    assert "use the settings that belong to it" in out
    ready.environ["BILLBLEND_LOGIN"] = login
    (ready.folder / "journal.key").write_text(f"{bytes(32).hex()}\n")
    for words in (("pay", file, "--out", "results.csv"), ("report",), ("doctor",)):
        status, out, error = await ready.billblend(*words, "--journal", server.url)
        assert 4 == status
        assert "fingerprint key" in out + error
    assert sends == ready.sends


async def test_a_server_that_forgets(ready: Desk, server: Postgres) -> None:
    """A run whose server has lost its claim sends nothing again, and says what to do."""
    ready.sandbox.faults.set("payout-pay", "delay", count=1, seconds=2.0)
    file = ready.write(1, accounts=[GOOD])
    given = ("--journal", server.url, "--out", "results.csv", *FAST)
    process = await ready.start("pay", file, *given)
    while ("paying",) not in query(ready, server, "SELECT state FROM {schema}.payouts"):
        await asyncio.sleep(0.02)
        assert process.returncode is None
    query(ready, server, "DELETE FROM {schema}.events WHERE sequence > 3 RETURNING 1")
    rewind = "UPDATE {schema}.payouts SET sequence = 3, state = 'validated' RETURNING 1"
    query(ready, server, rewind)

    status, _, error = await ended(process)
    assert 2 == status
    error = " ".join(error.split())
    assert "which this program wrote, is missing" in error
    assert "marked as restored" in error
    assert "billblend journal restored" in error
    assert "run again" not in error
    assert "--out results.csv: left as it is" in error
    assert not (ready.folder / "results.csv").exists()
    for _ in range(3):  # as a supervisor does
        assert 2 == (await pay(ready, server, file, "--deadline", "doubt=2"))[0]
    assert 1 == ready.count(RequestKind.PAY).total()


async def test_another_schema(ready: Desk, server: Postgres) -> None:
    """A person who says yes reads which schema it is, since each is a journal of its own."""
    schema = ready.environ["BILLBLEND_JOURNAL_SCHEMA"]
    _, out, _ = await pay(ready, server, ready.write(1), "--dry-run")
    assert f"(schema {schema}):" in out
    assert "tester" not in out


async def test_damage(ready: Desk, server: Postgres) -> None:
    """A report of tables from which an event has vanished is refused."""
    await pay(ready, server, ready.write(2, accounts=[GOOD]))
    query(ready, server, "DELETE FROM {schema}.events WHERE sequence = 2 RETURNING 1")
    status, _, error = await ready.billblend("report", "--journal", server.url)
    assert 4 == status
    assert "does not fit its events" in error


async def test_a_payout_that_is_not_listed(ready: Desk, server: Postgres) -> None:
    """A file with a payout that has vanished from the list and has events is not run."""
    file = ready.write(3, accounts=[GOOD])
    await pay(ready, server, file)
    sends = ready.sends
    query(ready, server, "DELETE FROM {schema}.payouts WHERE client_orderid = 'po-1'")
    for words in ((), ("--dry-run",)):
        status, _, error = await pay(ready, server, file, *words)
        assert 4 == status
        assert "payout po-1: it has events and is not in the list of payouts" in error
    assert sends == ready.sends


async def test_what_is_shown_holds_no_link(ready: Desk, server: Postgres) -> None:
    """A report over PostgreSQL reads no receiver's link, though the journal keeps it."""
    file = ready.write(1, accounts=[REDIRECT])
    await pay(ready, server, file, "--deadline", "receiver=1")
    assert [(1,)] == query(ready, server, "SELECT count(*) FROM {schema}.secrets")
    status, out, error = await ready.billblend("report", "--journal", server.url)
    assert (0, "") == (status, error)
    link = ready.results()["po-0"]["redirect_to"]
    assert link.startswith("http://127.0.0.1")
    assert link.rpartition("/")[2] not in out


async def looked_at(desk: Desk, url: str) -> dict[str, Finding]:
    """Give what the doctor finds of a journal, by what it is about."""
    place = DatabasePlace(url, desk.environ)
    return {one.about: one for one in await asyncio.to_thread(examine_journal, place, None)}


async def test_a_session_that_only_reads(ready: Desk, server: Postgres) -> None:
    """Where a setting forbids to write, no run begins, and a dry run and a report are given."""
    query(ready, server, "CREATE ROLE hot LOGIN SUPERUSER")
    query(ready, server, "ALTER ROLE hot SET default_transaction_read_only = on")
    await nothing_is_written(ready, server.url.replace("tester", "hot"), "read_only is on, so")


async def test_a_standby(desk: Desk) -> None:
    """From a standby no run begins, and a dry run and a report are given."""
    with running_postgres() as server:
        if server is None:
            pytest.skip(MISSING)
        status, _, error = await desk.billblend("journal", "init", "--journal", server.url)
        assert (0, "") == (status, error)
        await pay(desk, server, desk.write(1, "first.csv", prefix="first-"))
        [(data,)] = query(desk, server, "SHOW data_directory")
        (Path(str(data)) / "standby.signal").touch()
        server.restart()
        await nothing_is_written(desk, server.url, "the server is a standby, which takes no")


async def nothing_is_written(desk: Desk, url: str, reason: str) -> None:
    """See that a journal is read only, which is told before anything is sent or written."""
    file = desk.write(2, accounts=[GOOD])
    sends = desk.sends
    given = ("--journal", url, "--out", "none.csv", *FAST)
    status, _, error = await desk.billblend("pay", file, *given)
    assert 4 == status
    assert reason in error
    assert not (desk.folder / "none.csv").exists()
    status, out, error = await desk.billblend("pay", file, *given, "--dry-run")
    assert (0, "") == (status, error)
    assert "2 new" in out
    assert sends == desk.sends
    finding = (await looked_at(desk, url))["journal writes"]
    assert reason in finding.told
    assert "warning" == finding.verdict


async def test_a_way_that_others_see(
    ready: Desk, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of another machine that is reached without TLS is a warning, and with TLS none."""
    assert "journal TLS" not in await looked_at(ready, server.url)
    monkeypatch.setattr(connections, "is_local", lambda *_: False)
    finding = (await looked_at(ready, server.url))["journal TLS"]
    assert "warning" == finding.verdict
    assert "sslmode=verify-full" in finding.remedy

    tls_contexts(ready.folder)
    [(directory,)] = query(ready, server, "SHOW data_directory")
    owner, file = Path(str(directory)).stat(), Path(str(directory)) / "tls.pem"
    file.write_bytes((ready.folder / "gateway.pem").read_bytes())
    os.chown(file, owner.st_uid, owner.st_gid)
    file.chmod(0o600)
    for name in ("ssl_cert_file", "ssl_key_file"):
        query(ready, server, f"ALTER SYSTEM SET {name} = '{file}'")
    query(ready, server, "ALTER SYSTEM SET ssl = on")
    server.restart()
    trusted = f"sslmode=verify-full&sslrootcert={ready.folder / 'gateway.pem'}"
    findings = await looked_at(ready, f"{server.url}?{trusted}")
    assert "ok" == findings["journal server"].verdict
    assert "journal TLS" not in findings


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("/var/run/postgresql", "", True),
        ("@socket", "", True),
        ("db.internal", "10.0.0.7", False),
        ("db.internal", "", False),
        ("10.0.0.7", "", False),
    ],
)
def test_what_is_local(host: str, address: str, *, expected: bool) -> None:
    """A socket's directory and loopback are of this machine, and a name alone is not."""
    assert expected == is_local(host, address)


GRANTS = Path(__file__).parent.parent / "docs" / "guide" / "postgres.md"


async def test_roles(ready: Desk, server: Postgres) -> None:
    """What the guide grants is enough to run payouts, and what it grants a reader to read them."""
    schema = ready.environ["BILLBLEND_JOURNAL_SCHEMA"]
    grants = re.findall(r"```sql\n(.*?)```", GRANTS.read_text("utf-8"), re.DOTALL)
    running, reading = (grant.replace("billblend", schema) for grant in grants)
    sql = running.replace("TO payouts", "TO runner") + reading.replace("TO reader", "TO looker")
    with psycopg.connect(server.url, autocommit=True) as connection:
        for line in ("CREATE ROLE runner LOGIN", "CREATE ROLE looker LOGIN"):
            connection.execute(line.encode())
        connection.execute(sql.encode())
    runner, looker = (server.url.replace("tester", name) for name in ("runner", "looker"))
    file = ready.write(3, accounts=[GOOD])
    given = ("--out", "results.csv", *FAST)
    status, _, error = await ready.billblend("pay", file, "--journal", runner, *given)
    assert (0, "") == (status, error)
    for word in ("restored", "complete"):
        status, _, error = await ready.billblend("journal", word, "--journal", runner)
        assert (0, "") == (status, error)
    (ready.folder / "key.pem").chmod(0o600)
    with psycopg.connect(looker) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"SELECT FROM {schema}.secrets".encode())
    for words in (("report",), ("doctor",), ("pay", file, "--dry-run")):
        status, _, error = await ready.billblend(*words, "--journal", looker)
        assert (0, "") == (status, error)
    watch = await ready.start("watch", "--journal", looker)
    assert watch.stdout is not None
    assert b"http://127.0.0.1" in await watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    assert 0 == (await ended(watch))[0]
    more = ready.write(1, "more.csv", prefix="more-")
    status, _, error = await ready.billblend("pay", more, "--journal", looker, "--dry-run")
    assert (0, "") == (status, error)
    status, _, error = await ready.billblend("pay", more, "--journal", looker, *given)
    assert 4 == status
    assert "this role lacks the right to INSERT on events, INSERT on payouts, UPDATE on" in error
    findings = await looked_at(ready, looker)
    assert "warning" == findings["journal writes"].verdict
    assert "payouts cannot be run with it" in findings["journal writes"].remedy
    assert "journal writes" not in await looked_at(ready, runner)
    assert 3 == ready.count(RequestKind.PAY).total()


async def test_a_watch_page(ready: Desk, server: Postgres) -> None:
    """The live page shows what was written after it was opened, and not what is there no more."""
    file = ready.write(2, accounts=[GOOD])
    assert 4 == (await ready.billblend("watch", "--journal", server.url))[0]  # nobody ran anything
    await pay(ready, server, file)
    process = await ready.start("watch", "--journal", server.url)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    link = line.split()[-1]
    page = await asyncio.to_thread(fetch, f"{link}main")
    assert "approved" in page
    assert "declined" not in page
    await pay(ready, server, ready.write(3, "more.csv", accounts=[DECLINED], prefix="more-"))
    for _ in range(200):
        page = await asyncio.to_thread(fetch, f"{link}main")
        if "declined" in page:
            break
        await asyncio.sleep(0.1)
    assert "declined" in page
    query(ready, server, "DELETE FROM {schema}.events WHERE client_orderid LIKE 'more-%'")
    query(ready, server, "DELETE FROM {schema}.payouts WHERE client_orderid LIKE 'more-%'")
    for _ in range(200):
        page = await asyncio.to_thread(fetch, f"{link}main")
        if "declined" not in page:
            break
        await asyncio.sleep(0.1)
    assert "declined" not in page  # a standby that was behind has taken over
    process.send_signal(signal.SIGINT)
    assert 0 == (await ended(process))[0]


def fetch(url: str) -> str:
    """Fetch a page."""
    with urlopen(url) as answer:
        text: str = answer.read().decode()
    return text
