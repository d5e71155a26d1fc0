"""A SQLite journal is one journal by whatever name it is opened; see names_walk.py."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from journal_cases import OWNER
from names_walk import planted, walk
from payouts import opened

from billblend_async.cli.doctor import examine_journal
from billblend_async.errors import BillblendError, JournalDamaged, JournalMismatch
from billblend_async.journal.key_file import make_key
from billblend_async.journal.location import FilePlace
from billblend_async.journal.sqlite import SqliteJournal, SqliteReader
from billblend_async.journal.sqlite_database import Inspection, inspect_journal

KILLED = """
import asyncio, os, signal, sys
from journal_cases import OWNER
from billblend_async.journal import sqlite_database as database
from billblend_async.journal.sqlite import SqliteJournal
rightly = database.make_key
def make(path, key):
    rightly(path, key)
    os.kill(os.getpid(), signal.SIGKILL)
database.make_key = make
asyncio.run(SqliteJournal(sys.argv[1]).open(OWNER))
"""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The journal's own name."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "payouts.db"


@pytest.fixture
def link(real: Path, tmp_path: Path) -> Path:
    """A link to it, in another folder and under another name."""
    link = tmp_path / "june.db"
    link.symlink_to(real)
    return link


async def reopened(path: Path) -> SqliteJournal:
    """Open a journal."""
    journal = SqliteJournal(path)
    try:
        await journal.open(OWNER)
    except BillblendError:
        await journal.aclose()
        raise
    return journal


async def use(path: Path, *names: str) -> list[str]:
    """Accept payouts by one name of a journal and list all that it holds."""
    journal = await reopened(path)
    for name in names:
        await journal.accept(opened(name))
    told = [payout.client_orderid async for payout in journal.payouts()]
    await journal.aclose()
    return told


def key_check(path: Path) -> str:
    """Read what a journal says of its key."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT value FROM meta WHERE name = 'key_check'").fetchone()
    return str(row[0])


@pytest.mark.parametrize("is_link_first", [True, False])
async def test_a_link_is_the_file(real: Path, link: Path, *, is_link_first: bool) -> None:
    """Opened by a link or by its own name, a journal has one key, which lies beside the file."""
    names = [link, real] if is_link_first else [real, link]
    await use(names[0])
    check = key_check(real)
    assert ["po-1"] == await use(names[1], "po-1")
    assert ["po-1", "po-2"] == await use(names[0], "po-2")
    assert check == key_check(real)
    assert [real.with_name("payouts.db.key")] == list(real.parent.parent.rglob("*.key"))
    for name in names:
        with SqliteReader(name) as reader:
            assert ["po-1", "po-2"] == list(reader.names())
            assert all(reader.find(["po-1", "po-2"]))
        assert isinstance(inspect_journal(name), Inspection)
        place = FilePlace(name)
        assert "is sound; 2 payouts" in examine_journal(place, None)[0].told
        place.check()
        assert {real, real.with_name("payouts.db.key")} <= {path.resolve() for path in place.files}


async def test_links_in_a_circle(tmp_path: Path) -> None:
    """Links that lead in a circle are refused with the system's own words."""
    (tmp_path / "a.db").symlink_to(tmp_path / "b.db")
    (tmp_path / "b.db").symlink_to(tmp_path / "a.db")
    with pytest.raises(BillblendError, match="symbolic links"):
        await reopened(tmp_path / "a.db")


async def test_a_hard_link_needs_the_key(real: Path, tmp_path: Path) -> None:
    """By another name of the file, where no key lies, nothing is opened and none is made."""
    await use(real)
    check, other = key_check(real), tmp_path / "other.db"
    os.link(real, other)
    for holds in ((), ("po-1",)):
        await use(real, *holds)
        with pytest.raises(
            JournalDamaged, match=r"its key file other\.db\.key is missing; restore"
        ):
            await reopened(other)
    assert [real.with_name("payouts.db.key")] == list(tmp_path.rglob("*.key"))
    shutil.copy(real.with_name("payouts.db.key"), tmp_path / "other.db.key")
    assert ["po-1"] == await use(other) == await use(real)
    assert check == key_check(real)


@pytest.mark.parametrize("holds", [(), ("po-1",)])
async def test_a_key_that_is_gone_is_not_made_anew(real: Path, holds: tuple[str, ...]) -> None:
    """A journal whose key file is missing is refused, whether it holds payouts or not."""
    await use(real, *holds)
    key, check = real.with_name("payouts.db.key"), key_check(real)
    held = key.read_bytes()
    key.unlink()
    with pytest.raises(JournalDamaged, match=r"payouts\.db\.key is missing; restore it"):
        await reopened(real)
    assert (check, False) == (key_check(real), key.exists())
    key.write_bytes(held)
    assert list(holds) == await use(real)


@pytest.mark.parametrize("is_right_there", [True, False])
async def test_a_key_of_an_earlier_release(real: Path, link: Path, *, is_right_there: bool) -> None:
    """A key that an earlier release has made beside a link is used, and copied where it belongs."""
    await use(real, "po-1")
    key = real.with_name("payouts.db.key")
    former = link.with_name("june.db.key")
    held = key.read_bytes()
    key.rename(former)
    if is_right_there:  # it has made one there too, which belongs to nothing
        make_key(key, b"x" * 32)
        with pytest.raises(JournalMismatch):
            await reopened(real)
    with SqliteReader(link) as reader:
        assert all(reader.find(["po-1"]))
    assert isinstance(inspect_journal(link), Inspection)
    assert ["po-1"] == await use(link)
    assert held == former.read_bytes()
    if not is_right_there:
        assert (held, 0o600) == (key.read_bytes(), stat.S_IMODE(key.stat().st_mode))
        assert ["po-1"] == await use(real)


async def test_a_key_beside_a_link_that_fits_nothing(real: Path, link: Path) -> None:
    """A key beside a link that is not the journal's own is not taken for it."""
    await use(real, "po-1")
    real.with_name("payouts.db.key").unlink()
    make_key(link.with_name("june.db.key"), b"x" * 32)
    with pytest.raises(JournalDamaged, match=r"payouts\.db\.key is missing; restore it"):
        await reopened(link)


@pytest.mark.parametrize("is_link_first", [True, False])
async def test_killed_between_key_and_check(real: Path, link: Path, *, is_link_first: bool) -> None:
    """A process that dies after it has made the key leaves one that the next one takes."""
    first, second = (link, real) if is_link_first else (real, link)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", KILLED, str(first)]
    ended = await asyncio.to_thread(subprocess.run, words, env=environ, check=False, timeout=60)
    assert -9 == ended.returncode
    key = real.with_name("payouts.db.key").read_bytes()
    assert ["po-1"] == await use(second, "po-1")
    assert ["po-1"] == await use(first)
    assert key == real.with_name("payouts.db.key").read_bytes()


async def test_two_at_once(real: Path, link: Path) -> None:
    """Openings by both names at the same moment come to one key."""
    journals = [SqliteJournal(path) for path in (real, link) for _ in range(4)]
    await asyncio.gather(*(journal.open(OWNER) for journal in journals))
    assert 1 == len({journal.fingerprint_key for journal in journals})
    for number, journal in enumerate(journals):
        await journal.accept(opened(f"po-{number}"))
    assert 8 == len([payout async for payout in journals[0].payouts()])
    await asyncio.gather(*(journal.aclose() for journal in journals))


def test_two_processes(real: Path, link: Path) -> None:
    """Two programs that begin a journal by its two names share one key and each other's payouts."""
    code = (
        "import asyncio, sys\nfrom test_journal_names import use\nfrom pathlib import Path\n"
        "print(len(asyncio.run(use(Path(sys.argv[1]), *sys.argv[2:]))))"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    programs = [
        subprocess.Popen([sys.executable, "-c", code, path, *ids], env=environ)
        for path, ids in ((real, ("a1", "a2")), (link, ("b1", "b2")))
    ]
    assert [0, 0] == [program.wait(60) for program in programs]
    assert {"a1", "a2", "b1", "b2"} == set(asyncio.run(use(link))) == set(asyncio.run(use(real)))


async def test_another_key_check_in_an_open_journal(real: Path) -> None:
    """A key check that changes under an open journal is found by the next use, reads included."""
    journal = await reopened(real)
    await journal.accept(opened())
    check = key_check(real)

    def write(text: str) -> None:
        with closing(sqlite3.connect(real, isolation_level=None)) as connection:
            connection.execute("UPDATE meta SET value = ? WHERE name = 'key_check'", (text,))

    write("0" * 16)
    for use_it in (journal.load("po-1"), journal.accept(opened("po-2")), journal.history("po-1")):
        with pytest.raises(JournalMismatch, match="fingerprint key"):
            await use_it
    write(check)
    assert await journal.load("po-1") is not None
    await journal.aclose()


@pytest.mark.parametrize("seeds", [range(start, start + 10) for start in range(0, 40, 10)])
def test_a_walk_over_names(seeds: range) -> None:
    """By whatever names and in whatever order, what was accepted is read by whoever opens it."""
    assert [] == [wrong for seed in seeds if (wrong := walk(seed))]


def test_a_walk_finds_a_second_key() -> None:
    """A journal that makes a key whenever it holds no payout is found by the walk."""
    with planted():
        assert any(walk(seed) for seed in range(20))
