"""An older copy takes a journal's place while programs use it: nobody is paid twice."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from desk import Desk, ended, open_desk, pay_arguments
from journal_cases import OWNER, grow, live
from payouts import PATHS, START, opened
from rolling_back import STEPS, WAYS

from billblend_async import Client, Credentials, Orchestrator, PayoutRequest, Polling
from billblend_async.batch.parser import read_batch
from billblend_async.cli.run import Links
from billblend_async.core.events import PayStarted
from billblend_async.core.models import Doubt, State
from billblend_async.errors import JournalDamaged, JournalMismatch, JournalRolledBack
from billblend_async.gateway.wire import RequestKind
from billblend_async.journal.key_file import make_mark, mark_file
from billblend_async.journal.sqlite import SqliteJournal, SqliteReader
from billblend_async.journal.sqlite_database import Inspection, inspect_journal
from billblend_async.orchestrator.observer import OnRedirect
from billblend_async.sandbox import Sandbox

UNSAFE_WAL, SAFE_WAL = (3, 51, 2), (3, 51, 3)
FAST = ("--poll", "0.1:0.2", "--deadline", "doubt=2")
GOOD = ["1234567890"]
MOST_RUNS = 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The journal."""
    return tmp_path / "payouts.db"


async def reopened(path: Path, **settings: Any) -> SqliteJournal:
    """Open a journal."""
    journal = SqliteJournal(path, **settings)
    try:
        await journal.open(OWNER)
    except BaseException:
        await journal.aclose()
        raise
    return journal


async def assert_marked(path: Path) -> None:
    """Demand that whoever opens the journal next asks before they send anything."""
    with SqliteReader(path) as reader:
        assert reader.is_restored
    found = inspect_journal(path)
    assert isinstance(found, Inspection)
    assert found.is_restored
    journal = await reopened(path)
    assert (await journal.accept(opened("after"))).restored
    async for payout in journal.payouts():
        assert payout.state is not State.VALIDATED
        assert payout.restored or payout.state is not State.NEW
    await journal.aclose()
    assert not mark_file(path).exists()
    journal = await reopened(path)
    await journal.declare_complete()
    assert not (await journal.accept(opened("much later"))).restored
    await journal.aclose()


async def copied(path: Path) -> Path:
    """Make a journal with a payout in each state, and a copy of it."""
    journal = await reopened(path)
    for state in State:
        await live(journal, opened(f"{state}"), PATHS[state])
    await journal.aclose()
    return Path(shutil.copy(path, path.with_name("night")))


@pytest.mark.parametrize("version", [UNSAFE_WAL, SAFE_WAL], ids=["truncate", "wal"])
@pytest.mark.parametrize("use", ["accept", "append", "load"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_copy_is_noticed(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    use: str,
    version: tuple[int, int, int],
) -> None:
    """Whatever puts it there, an older copy is marked before the next use is told of it."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    night = await copied(path)
    journal = await reopened(path)
    payout = await live(journal, opened(), PATHS[State.VALIDATED])
    [(paying, claim)] = grow(payout, (PayStarted(at=START + 11),))
    await journal.append(paying, claim)
    if (version, way) == (SAFE_WAL, "cp"):
        await journal.aclose()
        return  # the log still holds the newest pages, and is read first
    WAYS[way](night, path)
    uses: dict[str, Callable[[], Awaitable[object]]] = {
        "accept": lambda: journal.accept(opened("new")),
        "append": lambda: journal.append(attrs.evolve(paying, sequence=6), claim),
        "load": lambda: journal.load("po-1"),
    }
    for _ in range(2):
        with pytest.raises(JournalRolledBack, match="journal restored") as caught:
            await uses[use]()
        assert caught.value.is_marked
        assert "run again" not in str(caught.value)
    await journal.aclose()
    for end in ("-wal", "-shm"):  # they belong to the file that is gone
        path.with_name(f"payouts.db{end}").unlink(missing_ok=True)
    await assert_marked(path)


async def test_a_link_that_leads_elsewhere(path: Path, tmp_path: Path) -> None:
    """A link that is led to an older copy is noticed, and the copy is marked, not the old file."""
    night = await copied(path)
    shutil.copy(path.with_name("payouts.db.key"), night.with_name("night.key"))
    link = tmp_path / "current.db"
    link.symlink_to(path)
    journal = await reopened(link)
    await journal.accept(opened())
    link.unlink()
    link.symlink_to(night)
    with pytest.raises(JournalRolledBack) as caught:
        await journal.load("po-1")
    assert caught.value.is_marked
    await journal.aclose()
    with SqliteReader(path) as reader:
        assert not reader.is_restored
    await assert_marked(link)


async def test_a_file_that_is_gone(path: Path) -> None:
    """Whatever is put in the place of a file that is gone is opened as restored."""
    night = await copied(path)
    journal = await reopened(path)
    await journal.accept(opened())
    path.unlink()
    with pytest.raises(JournalRolledBack) as caught:
        await journal.accept(opened("new"))
    assert caught.value.is_marked
    await journal.aclose()
    with pytest.raises(JournalDamaged, match="the file is gone"):
        await reopened(path)
    shutil.copy(night, path)
    await assert_marked(path)


@pytest.mark.parametrize("part", [0, 50, 4096, 3 * 4096])
async def test_a_copy_that_is_not_whole_yet(path: Path, part: int) -> None:
    """A copy that is met while it is being made is marked once it is whole."""
    night = await copied(path)
    journal = await reopened(path)
    await journal.accept(opened())
    whole = night.read_bytes()
    path.write_bytes(whole[:part])
    with pytest.raises(JournalRolledBack) as caught:
        await journal.accept(opened("new"))
    assert caught.value.is_marked
    await journal.aclose()
    path.write_bytes(whole)
    await assert_marked(path)


@pytest.mark.parametrize("way", WAYS)
async def test_somebody_elses_is_left_alone(path: Path, tmp_path: Path, way: str) -> None:
    """Another journal that has taken the place is not written to by whoever notices that."""
    other = tmp_path / "other.db"
    theirs = await reopened(other)
    await theirs.accept(opened("theirs"))
    await theirs.aclose()
    journal = await reopened(path)
    await journal.accept(opened())
    WAYS[way](other, path)
    with pytest.raises(JournalRolledBack) as caught:
        await journal.accept(opened("new"))
    assert caught.value.is_marked
    await journal.aclose()
    assert other.read_bytes() == path.read_bytes()
    with pytest.raises(JournalMismatch, match="fingerprint key"):
        await reopened(path)
    shutil.copy(tmp_path / "other.db.key", tmp_path / "payouts.db.key")
    await assert_marked(path)


async def test_another_owners_stays_theirs(path: Path) -> None:
    """A copy that is to be marked takes no other settings, although nothing was sent from it."""
    await (await reopened(path)).aclose()
    night = shutil.copy(path, path.with_name("night"))
    journal = await reopened(path)
    await journal.accept(opened())
    path.unlink()
    with pytest.raises(JournalRolledBack):
        await journal.accept(opened("new"))
    await journal.aclose()
    shutil.copy(night, path)
    other = SqliteJournal(path)
    with pytest.raises(JournalMismatch):
        await other.open(attrs.evolve(OWNER, base_url="https://elsewhere.example/checkout"))
    await other.aclose()
    await assert_marked(path)


async def test_where_nothing_can_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that can be marked in no way is told to be declared before anything runs from it."""
    await copied(path)
    journal = await reopened(path)
    await journal.accept(opened())

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("billblend_async.journal.sqlite_database.make_mark", fail)
    path.write_bytes(b"")
    with pytest.raises(JournalRolledBack, match="could not be marked") as caught:
        await journal.accept(opened("new"))
    assert not caught.value.is_marked
    assert "billblend journal restored" in str(caught.value)
    assert "run again" not in str(caught.value)
    await journal.aclose()


async def test_the_mark_alone_cannot_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no mark can be laid beside it, the copy itself is marked."""
    night = await copied(path)
    journal = await reopened(path)
    await journal.accept(opened())

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("billblend_async.journal.sqlite_database.make_mark", fail)
    WAYS["cp"](night, path)
    with pytest.raises(JournalRolledBack) as caught:
        await journal.accept(opened("new"))
    assert caught.value.is_marked
    await journal.aclose()
    assert not mark_file(path).exists()
    await assert_marked(path)


async def test_a_mark_reaches_those_that_are_open(path: Path) -> None:
    """A program that goes on with an open journal finishes what another has begun to mark."""
    await copied(path)
    journal = await reopened(path)
    make_mark(path, START + 99)
    payout = await journal.load("new")
    assert payout is not None
    assert not payout.restored  # to read changes nothing
    assert (await journal.accept(opened())).restored
    assert not mark_file(path).exists()
    held = await journal.load("validated")
    assert held is not None
    assert (State.ATTENTION, Doubt.RESTORED) == (held.state, held.doubt)
    await journal.aclose()


@pytest.mark.parametrize("text", [b"", b"x", b"nan\n", b"1800000000.5\n"])
async def test_a_mark_is_a_mark(path: Path, text: bytes) -> None:
    """Whatever stands in it, a mark is obeyed: also one that a person has laid there."""
    await copied(path)
    mark_file(path).write_bytes(text)
    await assert_marked(path)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("what", ["mark", "declare"])
async def test_killed_while_it_is_marked(path: Path, what: str, step: str) -> None:
    """Whenever a process dies that marks a copy, the next opening finds it marked, or not begun."""
    night = await copied(path)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = Path(__file__).with_name("rolling_back.py")
    words = [sys.executable, str(program), what, str(path), step]
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here
        words, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        if what == "mark":
            WAYS["cp"](night, path)
        out, _ = process.communicate("go\n", timeout=60)
    if (what, step) == ("mark", "at the end"):
        assert 1 == process.returncode  # its mark stays for the next opening
    else:
        assert (-9, "") == (process.returncode, out)
    if step == "before the mark":
        journal = await reopened(path)
        assert await journal.load("later") is None
        await journal.aclose()
        return
    if (what, step) != ("declare", "at the end"):
        assert mark_file(path).exists()
    await assert_marked(path)


# Through the library


@asynccontextmanager
async def program(
    sandbox: Sandbox, path: Path, on_redirect: OnRedirect | None = None
) -> AsyncIterator[Orchestrator]:
    """Run a program of a host over a journal."""
    credentials = Credentials(sandbox.login, sandbox.private_key)
    async with (
        Client(credentials, endpoint_id=sandbox.endpoint_id, base_url=sandbox.base_url) as client,
        Orchestrator(
            client,
            SqliteJournal(path),
            polling=Polling(shortest=0.05, longest=0.1),
            on_redirect=on_redirect,
        ) as payouts,
    ):
        yield payouts


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("point", ["accepted", "checked", "paid", "finished"])
async def test_the_same_program_and_the_next(tmp_path: Path, point: str, way: str) -> None:
    """Neither the program that notices it nor the next one pays anybody a second time."""
    path, night = tmp_path / "payouts.db", tmp_path / "night"
    requests = [
        PayoutRequest(
            client_orderid=f"po-{n}", amount=Decimal(1), currency="EUR", account_number=GOOD[0]
        )
        for n in range(4)
    ]
    async with Sandbox(validation=0.05, processing=0.05) as sandbox:
        async with program(sandbox, path) as payouts:
            assert (await payouts.run(requests[0])).is_approved
        shutil.copy(path, night)
        async with program(sandbox, path) as payouts:
            if point == "accepted":
                for request in requests[1:]:
                    await payouts.accept(request)
            else:
                held = [await payouts.run(request, pay=False) for request in requests[1:]]
                assert {State.VALIDATED} == {outcome.state for outcome in held}
            if point in ("paid", "finished"):
                sandbox.faults.set("payout-pay", "delay", count=1, seconds=2.0)
                shutil.copy(path, night)  # in it they are all validated
                approving = asyncio.create_task(payouts.approve("po-1", who="ann"))
                # The answer comes two seconds after the claim, however busy the machine is.
                while not any(isinstance(e, PayStarted) for e in await payouts.history("po-1")):
                    await asyncio.sleep(0.01)
                if point == "finished":
                    assert (await approving).is_approved
                WAYS[way](night, path)
                if point == "paid":
                    with pytest.raises(JournalRolledBack):
                        await approving
            else:
                WAYS[way](night, path)
            for _ in range(2):
                for request in requests:
                    with pytest.raises(JournalRolledBack, match="journal restored"):
                        await payouts.run(request)
        sent = sum(request.kind is not RequestKind.STATUS for request in sandbox.gateway.requests)
        async with program(sandbox, path) as payouts:
            runs = [asyncio.create_task(payouts.run(request)) for request in requests]
            await asyncio.wait(runs, timeout=1.5)
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)
        now = sum(request.kind is not RequestKind.STATUS for request in sandbox.gateway.requests)
        assert sent == now
        paid = Counter(entry.client_orderid for entry in sandbox.gateway.ledger)
        assert {1} == set(paid.values())


# Through the command


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path, validation=0.5, processing=0.1) as desk:
        yield desk


async def supervised(desk: Desk, file: Path) -> list[tuple[int | None, str]]:
    """Run the command again as long as it ends with 2, which many supervisors do."""
    told: list[tuple[int | None, str]] = []
    while len(told) < MOST_RUNS and (not told or told[-1][0] == 2):
        status, _, error = await desk.pay(file, *FAST)
        told.append((status, error))
    return told


@pytest.mark.parametrize("begun", ["yesterday", "checked"])
@pytest.mark.parametrize("way", WAYS)
async def test_the_command_under_a_supervisor(desk: Desk, way: str, begun: str) -> None:
    """The run that notices it writes no results, and however often it is run, each is paid once."""
    path, night = desk.folder / "payouts.db", desk.folder / "night"
    old, file = desk.write(1, "old.csv", GOOD, prefix="old-"), desk.write(10, accounts=GOOD)
    words = ("--journal", "payouts.db", "--out", "old-results.csv", *FAST)
    assert 0 == (await desk.billblend("pay", old, *words))[0]
    shutil.copy(path, night)
    desk.sandbox.faults.set("payout-pay", "delay", count=1, seconds=3.0)
    process = await desk.start(*pay_arguments(file), *FAST)
    gateway = desk.sandbox.gateway
    if begun == "checked":
        while sum(desk.count(RequestKind.CHECK).values()) < 11:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert 1 == len(gateway.ledger)
        shutil.copy(path, night)
    while len(gateway.ledger) < 10:
        await asyncio.sleep(0.02)
        assert process.returncode is None
    await asyncio.sleep(0.5)
    (desk.folder / "results.csv").write_bytes(RESULTS)
    WAYS[way](night, path)

    status, _, error = await ended(process)
    assert 2 == status
    error = " ".join(error.split())
    assert "journal restored" in error
    assert "marked as restored" in error
    assert "run again" not in error
    assert "--out results.csv: left as it is" in error
    assert RESULTS == (desk.folder / "results.csv").read_bytes()

    for _, error in await supervised(desk, file):
        assert "Traceback" not in error
    paid = Counter(entry.client_orderid for entry in gateway.ledger)
    assert {f"po-{n}": 1 for n in range(10)} | {"old-0": 1} == paid
    assert {1} == set(desk.count(RequestKind.PAY).values())


async def test_the_command_whose_results_know_more(desk: Desk) -> None:
    """A run over an older copy stops before it sends anything, if its results know of more."""
    path, file = desk.folder / "payouts.db", desk.write(4, accounts=GOOD)
    assert 0 == (await desk.pay(file, *FAST, "--check-only"))[0]
    shutil.copy(path, desk.folder / "night")
    words = ("--journal", "payouts.db", "--who", "ann", "--out", "results.csv")
    assert 0 == (await desk.billblend("approve", file, *words, "--poll", "0.1:0.2"))[0]
    results, sends = (desk.folder / "results.csv").read_bytes(), desk.sends
    WAYS["cp"](desk.folder / "night", path)
    for more in ((), ("--dry-run",)):
        status, _, error = await desk.pay(file, *FAST, *more)
        assert (4, 1) == (status, error.count("\n"))
        assert "knows less than --out results.csv, which tells that 4 of these payouts" in error
        assert "(po-0, po-1, po-2, ...)" in error
        assert "billblend journal restored --journal payouts.db" in error
    assert (results, sends) == ((desk.folder / "results.csv").read_bytes(), desk.sends)

    # Declared, each is asked about, and none is paid again.
    assert 0 == (await desk.billblend("journal", "restored", "--journal", "payouts.db"))[0]
    assert not mark_file(path).exists()
    await supervised(desk, file)
    assert {f"po-{n}": 1 for n in range(4)} == desk.count(RequestKind.PAY)


async def test_the_command_over_a_copy_without_orders(desk: Desk) -> None:
    """Results that name orders which the journal does not know yet stop the run, too."""
    path, file = desk.folder / "payouts.db", desk.write(2, accounts=GOOD)
    desk.sandbox.faults.set("payout-check", "drop_before", count=2)
    process = await desk.start(*pay_arguments(file), *FAST, "--check-only")
    asked, wanted = set[str](), {"po-0", "po-1"}  # and not only the probe before them
    while not wanted <= asked:
        await asyncio.sleep(0.02)
        seen = desk.sandbox.gateway.requests
        asked = {r.client_orderid for r in seen if r.kind is RequestKind.STATUS}
    process.terminate()
    await ended(process)
    shutil.copy(path, desk.folder / "night")
    (desk.folder / "results.csv").write_text(
        "client_orderid,status,paynet_order_id,order_stage,error_code,error_message,explanation,"
        "redirect_to\npo-1,unfinished,77,,,,,\n"
    )
    sends = desk.sends
    status, _, error = await desk.pay(file, *FAST)
    assert 4 == status
    assert "tells that 1 of these payouts had come further (po-1)" in error
    assert sends == desk.sends


async def test_no_links_are_written_of_an_older_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While payouts run, results with links are written, and none once the journal is older."""
    monkeypatch.setattr("billblend_async.cli.run._BETWEEN_RESULTS", 0.05)
    path, out, file = (tmp_path / name for name in ("payouts.db", "out.csv", "payouts.csv"))
    file.write_text("client_orderid,amount,currency,account_number\npo-1,1,EUR,2000000001\n")
    batch = read_batch(file)
    async with Sandbox(validation=0.05, processing=0.05) as sandbox:
        async with program(sandbox, path):
            pass
        night = Path(shutil.copy(path, tmp_path / "night"))
        links = Links(out, batch, {})
        async with program(sandbox, path, links.take) as payouts, links.written(payouts):
            running = asyncio.create_task(payouts.run(batch.rows[0].request))
            async with asyncio.timeout(30):
                while not out.exists():
                    await asyncio.sleep(0.02)
            WAYS["cp"](night, path)
            out.write_bytes(RESULTS)
            for _ in range(5):
                await links.take(next(iter(links._waiting.values())))
                await asyncio.sleep(0.1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert RESULTS == out.read_bytes()


RESULTS = (
    b"client_orderid,status,paynet_order_id,order_stage,error_code,error_message,explanation,"
    b"redirect_to\npo-9,approved,1,,,,,\n"
)
