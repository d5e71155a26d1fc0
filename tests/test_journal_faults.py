"""``billblend pay`` over a damaged, locked or restored journal: it sends nothing it should not."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from desk import Desk, ended, open_desk, pay_arguments
from truth import assert_true

FAST = ("--poll", "0.1:0.2")
COPY = "restore the newest sound copy"
KEY = "restore"
APPROVED = ["1234567890"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


def edit(*statements: str) -> Callable[[Path], None]:
    """Change a journal with SQLite's own means."""

    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                assert connection.execute(statement).rowcount

    return change


def flip(path: Path) -> None:
    """Flip bytes in the middle of the file, in the text of an event."""
    content = bytearray(path.read_bytes())
    at = content.index(b'"paynet_order_id"')
    content[at + 20 : at + 24] = bytes(octet ^ 1 for octet in content[at + 20 : at + 24])
    path.write_bytes(content)


def key(path: Path) -> Path:
    """Name the key file of a journal."""
    return path.with_name(f"{path.name}.key")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut in two": (lambda path: os.truncate(path, path.stat().st_size // 2), COPY),
    "cut by a page": (lambda path: os.truncate(path, path.stat().st_size - 4096), COPY),
    "emptied": (lambda path: os.truncate(path, 0), COPY),
    "gone": (Path.unlink, COPY),
    "another file": (lambda path: path.write_text("client_orderid,amount\n" * 500), COPY),
    "flipped bytes": (flip, COPY),
    "an edited event": (
        edit(
            "UPDATE events SET data = replace(data, '3.50', '9.50')"
            " WHERE client_orderid = 'po-2' AND sequence = 0"
        ),
        COPY,
    ),
    "an edited state": (
        edit("UPDATE payouts SET state = 'validated' WHERE client_orderid = 'po-2'"),
        COPY,
    ),
    "a deleted event": (
        edit("DELETE FROM events WHERE client_orderid = 'po-2' AND sequence = 6"),
        COPY,
    ),
    "a missing key": (lambda path: key(path).unlink(), KEY),
    "another key": (lambda path: key(path).write_text("5e" * 32), KEY),
    "a spoilt key": (lambda path: key(path).write_text("no key"), KEY),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_damage(desk: Desk, fault: str) -> None:
    """A damaged journal is refused with a sentence that says what to do, and nothing is sent."""
    spoil, said = FAULTS[fault]
    await desk.pay(desk.write(3, accounts=APPROVED), *FAST)
    requests, journal = len(desk.sandbox.gateway.requests), desk.folder / "payouts.db"
    results = (desk.folder / "results.csv").read_bytes()
    spoil(journal)
    before = journal.read_bytes() if journal.exists() else None
    file = desk.write(6, accounts=APPROVED)
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, *reversed(rows)]))

    status, _, error = await desk.pay(file, *FAST)

    assert (4, 1) == (status, error.count("\n")), error
    assert said in error
    assert requests == len(desk.sandbox.gateway.requests)
    assert before == (journal.read_bytes() if journal.exists() else None)
    assert results == (desk.folder / "results.csv").read_bytes()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a journal as another program that writes would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


async def test_locked_from_the_start(desk: Desk) -> None:
    """A journal that another program holds is refused after ten seconds, and nothing is sent."""
    await desk.pay(desk.write(1, accounts=APPROVED), *FAST)
    requests = len(desk.sandbox.gateway.requests)
    with locked(desk.folder / "payouts.db"):
        status, _, error = await desk.pay(desk.write(3, accounts=APPROVED), *FAST)

    assert (4, 1) == (status, error.count("\n"))
    assert "another program has held the file for 10 seconds" in error
    assert requests == len(desk.sandbox.gateway.requests)
    assert 0 == (await desk.pay(desk.write(3, accounts=APPROVED), *FAST))[0]


@pytest.mark.parametrize("seconds", [3, 12])
async def test_locked_on_the_way(desk: Desk, seconds: int) -> None:
    """A lock is waited for; if it lasts, nothing more is sent and the same command goes on."""
    desk.sandbox.gateway.validation = 0.5
    file = desk.write(20, accounts=APPROVED)
    process = await desk.start(*pay_arguments(file), *FAST)
    while desk.sends < 12:
        assert process.returncode is None
        await asyncio.sleep(0.002)
    with locked(desk.folder / "payouts.db"):
        await asyncio.sleep(0.3)  # what was claimed before the lock arrives
        sends = desk.sends
        await asyncio.sleep(seconds)
        assert sends == desk.sends
    status, _, error = await ended(process)

    assert "Traceback" not in error
    if seconds > 10:
        assert (2, True) == (status, "run again" in error), error
        assert "another program has held the file" in error
        status, _, error = await desk.pay(file, *FAST)
    assert (0, "") == (status, error)
    await assert_true(desk, file)


async def test_an_older_copy_of_what_was_validated(desk: Desk) -> None:
    """An older copy that knows the orders and not their pays leads to a person, not to a pay."""
    desk.sandbox.gateway.validation = 1.0
    file = desk.write(5, accounts=APPROVED)
    process = await desk.start(*pay_arguments(file), *FAST)
    while desk.sends < 5:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.5)
    process.kill()
    await process.communicate()
    journal = desk.folder / "payouts.db"
    shutil.copy(journal, desk.folder / "older.db")
    assert 0 == (await desk.pay(file, *FAST))[0]
    shutil.copy(desk.folder / "older.db", journal)

    requests = len(desk.sandbox.gateway.requests)
    status, _, error = await desk.pay(file, *FAST)
    assert 4 == status
    assert "knows less than --out results.csv" in error
    assert requests == len(desk.sandbox.gateway.requests)

    (desk.folder / "results.csv").unlink()  # nothing is left that tells of it
    status, _, error = await desk.pay(file, *FAST)

    assert (2, "") == (status, error)
    assert {1} == set(map(desk.sandbox.gateway.paid, desk.results()))
    assert {"attention"} == {row["status"] for row in desk.results().values()}
    assert all("pay was never sent" in row["explanation"] for row in desk.results().values())
