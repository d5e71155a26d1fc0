"""The SQLite journal: the truths of every journal, and those of its file."""

import asyncio
import hashlib
import json
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_cases import (
    LIVES,
    OWNER,
    DurableJournalCases,
    JournalCases,
    Maker,
    any_event,
    grow,
    listed,
    live,
)
from payouts import LINK, ORDER, PATHS, START, finished, opened, request

from billblend_async.core.events import EVENTS, Event, PayStarted, RedirectRequired
from billblend_async.core.machine import Payout
from billblend_async.core.models import BASE_URLS, State
from billblend_async.errors import (
    BillblendError,
    ConfigurationError,
    JournalDamaged,
    JournalMismatch,
    JournalUnavailable,
)
from billblend_async.journal.codec import (
    erase_secrets,
    fold_events,
    read_event,
    seal_event,
    write_event,
)
from billblend_async.journal.sqlite import SqliteJournal, journal_mode
from billblend_async.journal.sqlite_database import Database

PROGRAM = Path(__file__).with_name("journal_program.py")
SAFE_WAL = (3, 51, 3)
UNSAFE_WAL = (3, 51, 2)


class TestMemoryJournal(JournalCases):
    @pytest.fixture
    def make(self) -> Maker:
        return lambda: SqliteJournal(":memory:")


class FileCases(DurableJournalCases):
    @pytest.fixture
    def roll_back(self, path: Path) -> Callable[[], None]:
        def roll_back() -> None:
            with edited(path) as connection:
                connection.execute(
                    "DELETE FROM events WHERE client_orderid = 'po-1' AND sequence ="
                    " (SELECT sequence FROM payouts WHERE client_orderid = 'po-1')"
                )
                connection.execute(
                    "UPDATE payouts SET state = 'validated', sequence = sequence - 1"
                    " WHERE client_orderid = 'po-1'"
                )

        return roll_back


class TestRollbackJournal(FileCases):
    @pytest.fixture
    def make(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", UNSAFE_WAL)
        return lambda: SqliteJournal(path)


class TestWalJournal(FileCases):
    @pytest.fixture
    def make(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", SAFE_WAL)
        return lambda: SqliteJournal(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "payouts.db"


async def reopened(path: Path, **settings: Any) -> SqliteJournal:
    """Open a journal on a file."""
    journal = SqliteJournal(path, **settings)
    await journal.open(OWNER)
    return journal


async def written(path: Path, *states: State, copies: int = 1) -> list[Payout]:
    """Make a journal with payouts in some states, in all by default, and close it."""
    journal = await reopened(path)
    await asyncio.gather(
        *(
            live(journal, opened(f"{state}-{number}"), PATHS[state])
            for number in range(copies)
            for state in states or State
        )
    )
    payouts = [payout async for payout in journal.payouts()]
    await journal.aclose()
    return payouts


async def read(path: Path) -> list[Payout]:
    """Open a journal, read all of it, and close it whatever happens."""
    journal = SqliteJournal(path)
    try:
        await journal.open(OWNER)
        return [payout async for payout in journal.payouts()]
    finally:
        await journal.aclose()


@contextmanager
def edited(path: Path) -> Iterator[sqlite3.Connection]:
    """Work on a closed journal's file with SQLite itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


async def together(journal: SqliteJournal, *uses: Coroutine[Any, Any, Any]) -> list[Any]:
    """Hand in several uses while the writer is busy, so that they share one commit."""
    is_busy, may_go = threading.Event(), threading.Event()

    def work(_: Database) -> None:
        is_busy.set()
        may_go.wait()

    busy = asyncio.ensure_future(journal._do(work, writes=False))
    await asyncio.to_thread(is_busy.wait)
    tasks = [asyncio.ensure_future(use) for use in uses]
    await asyncio.sleep(0)
    may_go.set()
    await busy
    return await asyncio.gather(*tasks, return_exceptions=True)


def everything(path: Path) -> bytes:
    """Read every byte of every file beside a closed journal."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def program(*arguments: object, **streams: Any) -> subprocess.Popen[str]:
    """Start a second process at a journal."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, PROGRAM, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        **streams,
    )


# Records


@pytest.mark.parametrize("life", LIVES)
def test_an_event_is_read_back_from_its_json(life: str) -> None:
    """An event that is written as JSON is read back equal, to the raw word of a status."""
    first, events = LIVES[life]
    for event in (first, *events):
        text = write_event(event)
        again = read_event(type(event).__name__, text)
        assert again == event
        assert write_event(again) == text
        assert list(json.loads(text)) == sorted(json.loads(text))


@given(event=any_event())
def test_any_event_is_read_back_from_its_json(event: Event) -> None:
    """Whatever an event holds, its JSON gives it back."""
    assert read_event(type(event).__name__, write_event(event)) == event


def test_json_is_as_it_is_promised() -> None:
    """Decimals are strings, enums their values, a status its raw word, deadlines an object."""
    first = json.loads(write_event(opened(amount=Decimal("1.50"))))
    assert (first["amount"], first["flow"]) == ("1.50", "check-pay")
    assert first["deadlines"]["doubt"] == 900.0
    assert json.loads(write_event(finished(" Approved")))["status"] == " Approved"


def _changed(**changes: object) -> str:
    plain = {**json.loads(write_event(opened())), **changes}
    return json.dumps({name: value for name, value in plain.items() if value is not ...})


DEADLINES = json.loads(write_event(opened()))["deadlines"]
BAD_RECORDS = {
    "unknown event": ("Paid", "{}", "no event of this name"),
    "no json": ("Opened", "{", "Opened: this is not JSON"),
    "nested too deep": ("Opened", "[" * 100_000, "Opened: this is not JSON"),
    "no object": ("Opened", "[]", "Opened: must be an object"),
    "twice": ("PayStarted", '{"at":1.0,"at":1.0}', "PayStarted: a field stands there twice"),
    "not a number": ("PayStarted", '{"at":NaN}', "PayStarted: this is not JSON"),
    "endless": ("PayStarted", '{"at":1e999}', r"PayStarted\.at: must be a finite number"),
    "too long": ("PayStarted", f'{{"at":{"9" * 400}}}', r"PayStarted\.at: must be a finite"),
    "missing": ("Opened", _changed(currency=...), r"Opened\.currency: is missing"),
    "unknown": ("Opened", _changed(card="4111"), r"Opened\.card: is unknown"),
    "text": ("Opened", _changed(currency=1), r"Opened\.currency: must be text"),
    "none": ("Opened", _changed(currency=None), r"Opened\.currency: must be text"),
    "optional": ("Opened", _changed(receiver_hint=1), r"Opened\.receiver_hint: must be text"),
    "instant": ("Opened", _changed(at="1"), r"Opened\.at: must be a finite number"),
    "more behind it": ("PayStarted", '{"at":1.0} ', "PayStarted: this is not JSON"),
    "more before it": ("PayStarted", ' {"at":1.0}', "PayStarted: this is not JSON"),
    "truth for a number": ("Opened", _changed(at=True), r"Opened\.at: must be a finite number"),
    "number for a truth": ("Opened", _changed(held=1), r"Opened\.held: must be true or false"),
    "float amount": ("Opened", _changed(amount=1.5), r"Opened\.amount: must be a decimal"),
    "odd amount": ("Opened", _changed(amount=" 1"), r"Opened\.amount: must be a decimal"),
    "no amount": ("Opened", _changed(amount="ten"), r"Opened\.amount: must be a decimal"),
    "endless amount": ("Opened", _changed(amount="NaN"), r"Opened\.amount: must be a decimal"),
    "enum": ("Opened", _changed(flow="two"), r"Opened\.flow: must be a word of Flow"),
    "enum type": ("Opened", _changed(flow=[]), r"Opened\.flow: must be a word of Flow"),
    "inner": (
        "Opened",
        _changed(deadlines={**DEADLINES, "final": "1"}),
        r"Opened\.deadlines\.final: must be a finite number",
    ),
    "inner unknown": (
        "Opened",
        _changed(deadlines={**DEADLINES, "tea": 5}),
        r"Opened\.deadlines\.tea: is unknown",
    ),
    "inner range": ("Opened", _changed(deadlines={**DEADLINES, "final": -1.0}), "final"),
    "status": (
        "Finished",
        json.dumps({**json.loads(write_event(finished())), "status": None}),
        r"Finished\.status: must be text",
    ),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_a_bad_record_is_refused_by_name(case: str) -> None:
    """A record that is not exactly what is written is refused, and the message names the field."""
    name, text, message = BAD_RECORDS[case]
    with pytest.raises(ValueError, match=message) as caught:
        read_event(name, text)
    assert not isinstance(caught.value.__context__, json.JSONDecodeError)


BAD_EVENTS: dict[str, tuple[Event, str]] = {
    "endless instant": (PayStarted(at=float("inf")), r"PayStarted\.at"),
    "no number": (PayStarted(at="now"), r"PayStarted\.at"),  # type: ignore[arg-type]
    "float amount": (opened(amount=1.5), r"Opened\.amount"),
    "endless amount": (opened(amount=Decimal("Infinity")), r"Opened\.amount"),
    "no enum": (opened(flow="check-pay"), r"Opened\.flow"),
    "no truth": (opened(held=None), r"Opened\.held"),
    "no text": (opened(currency=840), r"Opened\.currency"),
    "no deadlines": (opened(deadlines={}), r"Opened\.deadlines"),
    "no status": (attrs.evolve(finished(), status="approved"), r"Finished\.status"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_a_bad_event_is_never_written(case: str) -> None:
    """An event whose field is not of its type is refused, and the message names the field."""
    event, message = BAD_EVENTS[case]
    with pytest.raises(ValueError, match=message):
        write_event(event)


def test_only_secrets_are_erased() -> None:
    """Erasing empties the secret fields and leaves an event without any alone."""
    link = RedirectRequired(at=START, redirect_to=LINK)
    assert erase_secrets(link) == RedirectRequired(at=START, redirect_to="")
    assert erase_secrets(PayStarted(at=START)) is None
    assert [name for name, event in EVENTS.items() if event.secret] == ["RedirectRequired"]


def test_a_seal_fits_one_record_only() -> None:
    """Another key, payout, place, name or text has another seal."""
    seals = {
        seal_event(key, *record)
        for key in (b"k" * 32, b"l" * 32)
        for record in (
            ("po-1", 1, "PayStarted", "{}"),
            ("po-2", 1, "PayStarted", "{}"),
            ("po-1", 2, "PayStarted", "{}"),
            ("po-1", 1, "PayNotSent", "{}"),
            ("po-1", 1, "PayStarted", "[]"),
        )
    }
    assert len(seals) == 10


@given(name=st.text(), sequence=st.integers(min_value=0), data=st.text())
def test_seal_is_of_json(name: str, sequence: int, data: str) -> None:
    """What is sealed is the record as JSON, whatever texts it holds."""
    record = json.dumps([name, sequence, "Opened", data]).encode()
    seal = hashlib.blake2b(record, digest_size=16, key=bytes(32), person=b"billblend event")

    assert seal.digest() == seal_event(bytes(32), name, sequence, "Opened", data)


FOREIGN_FOLDS: dict[str, tuple[list[Event], str]] = {
    "nothing": ([], "first event is not Opened"),
    "no beginning": ([PayStarted(at=START)], "first event is not Opened"),
    "another payout": ([opened("po-2")], "belongs to another payout"),
    "no news": ([opened(), PayStarted(at=START)], r"event 1 \(PayStarted\) changes nothing"),
    "opened twice": ([opened(), opened()], r"event 1 \(Opened\) changes nothing"),
    "erased too early": (
        [
            opened(),
            *PATHS[State.AWAITING_FINAL],
            RedirectRequired(at=START + 13, redirect_to=""),
        ],
        "erased before the payout was final",
    ),
}


@pytest.mark.parametrize("case", FOREIGN_FOLDS)
def test_what_cannot_have_happened_does_not_fold(case: str) -> None:
    """Events that no payout can have lived are refused with the reason."""
    events, message = FOREIGN_FOLDS[case]
    with pytest.raises(ValueError, match=message):
        fold_events("po-1", events)


# The file


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "truncate"),
        ((3, 44, 5), "truncate"),
        ((3, 44, 6), "wal"),
        ((3, 45, 0), "truncate"),
        ((3, 50, 6), "truncate"),
        ((3, 50, 7), "wal"),
        ((3, 51, 0), "truncate"),
        ((3, 51, 2), "truncate"),
        ((3, 51, 3), "wal"),
        ((3, 52, 0), "wal"),
        ((4, 0, 0), "wal"),
    ],
)
def test_wal_is_used_where_it_is_safe(version: tuple[int, int, int], mode: str) -> None:
    """WAL is chosen only with the versions of SQLite in which its reset is mended."""
    assert journal_mode(version) == mode


@pytest.mark.parametrize(
    ("version", "mode"), [(UNSAFE_WAL, "truncate"), (SAFE_WAL, "wal")], ids=["truncate", "wal"]
)
async def test_every_commit_is_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], mode: str
) -> None:
    """The connection runs in the chosen mode, synchronous=FULL, and erases what it deletes."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    journal = await reopened(path)

    def settings(database: Database) -> list[object]:
        names = ("journal_mode", "synchronous", "secure_delete", "trusted_schema", "temp_store")
        return [database.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await journal._do(settings, writes=False) == [mode, 2, 1, 0, 2]
    await journal.aclose()


async def test_a_wal_file_is_switched_where_wal_is_unsafe(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that a newer SQLite left in WAL mode is taken out of it, with all it holds."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", SAFE_WAL)
    payouts = await written(path)
    assert path.read_bytes()[18:20] == b"\2\2"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", UNSAFE_WAL)
    assert await read(path) == payouts
    assert path.read_bytes()[18:20] == b"\1\1"


async def test_a_wal_file_that_is_held_is_refused_where_wal_is_unsafe(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another program holds the file in WAL mode, an older SQLite does not write to it."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", SAFE_WAL)
    holder = await reopened(path)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", UNSAFE_WAL)
    with pytest.raises(JournalUnavailable, match="cannot be put into journal mode truncate"):
        await reopened(path, busy_timeout=0.05)
    await holder.aclose()
    await (await reopened(path)).aclose()


async def test_a_mode_that_changes_under_us_stops_us(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another program switches the file to WAL between two writes, the next one is refused."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", UNSAFE_WAL)
    journal = await reopened(path, busy_timeout=0.05)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", SAFE_WAL)
    other = await reopened(path)
    with pytest.raises(JournalUnavailable, match="has changed its journal mode"):
        await journal.accept(opened())
    with pytest.raises(JournalUnavailable, match="cannot be put into journal mode"):
        await journal.accept(opened())
    await other.aclose()
    await journal.accept(opened())
    await journal.aclose()


async def test_the_files_are_their_owner_s_alone(path: Path) -> None:
    """The journal, its key and whatever else lies beside them have mode 0600."""
    journal = await reopened(path)
    await journal.accept(opened())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await journal.aclose()
    assert {"payouts.db", "payouts.db.key"} <= modes.keys()
    assert set(modes.values()) == {0o600}


async def test_wide_rights_are_tightened(path: Path) -> None:
    """Files that others could read are kept to their owner from the next opening on."""
    await written(path, State.NEW)
    files = [path, path.with_name("payouts.db.key")]
    for file in files:
        file.chmod(0o664)
    await read(path)
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]


async def test_a_missing_directory_is_told(path: Path) -> None:
    """A journal in a directory that is not there is refused, and no directory is made."""
    with pytest.raises(JournalUnavailable, match="is not there; make it"):
        await reopened(path.parent / "deep" / "payouts.db")
    assert not list(path.parent.iterdir())


async def test_a_directory_is_no_journal(path: Path) -> None:
    """A path that names a directory is refused as unavailable."""
    path.mkdir()
    with pytest.raises(JournalUnavailable, match="this is a directory"):
        await reopened(path)


async def test_odd_names_are_names(path: Path) -> None:
    """A name with the marks of a URI is the name of a file and nothing else."""
    odd = path.with_name("a?mode=memory&b=%41#c.db")
    await written(odd, State.NEW)
    assert odd.stat().st_size > 0
    assert [payout.state for payout in await read(odd)] == [State.NEW]


def test_the_repr_shows_path_and_state_only(path: Path) -> None:
    """A journal's repr says where it lies and whether it is open."""
    assert repr(SqliteJournal(path)) == f"<SqliteJournal {path} new>"


@pytest.mark.parametrize(
    "base_url",
    [
        BASE_URLS["production"],
        "https://PAY.billblend.com:443/x",
        "https://pay.billblend.com./checkout",
        "https://gate.example.com/checkout",
        "https://sandbox.billblend.com.example.com/checkout",
    ],
)
async def test_memory_never_serves_real_money(base_url: str) -> None:
    """A journal in memory refuses every gateway where money is real, however it is written."""
    journal = SqliteJournal(":memory:")
    with pytest.raises(ConfigurationError, match="in memory"):
        await journal.open(attrs.evolve(OWNER, base_url=base_url))


@pytest.mark.parametrize(
    "base_url", [BASE_URLS["sandbox"], "http://127.0.0.1:8/checkout", "http://[::1]/checkout"]
)
async def test_memory_serves_tests(base_url: str) -> None:
    """A journal in memory takes the gateway's sandbox and this machine."""
    journal = SqliteJournal(":memory:")
    await journal.open(attrs.evolve(OWNER, base_url=base_url))
    await journal.aclose()


# The key


async def test_the_key_lies_beside_the_journal(path: Path) -> None:
    """The key file holds the key that the journal hands out, and the journal does not."""
    journal = await reopened(path, random_bytes=lambda size: b"\xab" * size)
    assert journal.fingerprint_key == b"\xab" * 32
    await journal.aclose()
    assert path.with_name("payouts.db.key").read_text("ascii") == "ab" * 32 + "\n"
    assert b"abababab" not in path.read_bytes()
    assert sorted(file.name for file in path.parent.glob(".*")) == []


async def test_a_missing_key_is_refused(path: Path) -> None:
    """A journal that holds payouts is not opened without its key file."""
    await written(path, State.NEW)
    path.with_name("payouts.db.key").unlink()
    with pytest.raises(JournalDamaged, match=r"payouts\.db\.key is missing; restore it"):
        await reopened(path)


async def test_a_foreign_key_is_refused(path: Path) -> None:
    """A key file of another journal is refused, and the right one is asked for."""
    await written(path, State.NEW)
    await (await reopened(path.with_name("other.db"))).aclose()
    shutil.copy(path.with_name("other.db.key"), path.with_name("payouts.db.key"))
    with pytest.raises(JournalMismatch, match="restore the key file") as caught:
        await reopened(path)
    assert caught.value.field == "fingerprint key"


@pytest.mark.parametrize("text", ["", "ab" * 31, "AB" * 32, "é" * 64])
async def test_a_spoilt_key_is_refused(path: Path, text: str) -> None:
    """A key file that holds no key is refused."""
    await written(path, State.NEW)
    path.with_name("payouts.db.key").write_text(text)
    with pytest.raises(JournalDamaged, match="holds no key"):
        await reopened(path)


@pytest.mark.parametrize("is_emptied", [True, False], ids=["emptied", "deleted"])
async def test_a_journal_that_is_gone_is_missed(path: Path, *, is_emptied: bool) -> None:
    """A key file without its journal is no new journal: payouts were lost, and that is said."""
    await written(path, State.FINAL)
    if is_emptied:
        path.write_bytes(b"")
    else:
        path.unlink()
    with pytest.raises(JournalDamaged, match="but its key file is there"):
        await reopened(path)
    assert path.exists() is is_emptied


# Secrets


async def test_no_personal_data_reaches_the_disk(path: Path) -> None:
    """Of who gets the money nothing is on the disk but the last four characters."""
    secrets = {
        "account_number": "1234567890123456",
        "account_name": "Johanna Quux",
        "receiver_first_name": "Johanna",
        "receiver_last_name": "Quux",
        "receiver_email": "quux@example.com",
    }
    payout = request(**secrets)
    journal = await reopened(path)
    first = opened(
        fingerprint=payout.fingerprint(journal.fingerprint_key), receiver_hint=payout.receiver_hint
    )
    await live(journal, first, PATHS[State.FINAL])
    await journal.aclose()
    held = everything(path)
    assert first.fingerprint.encode() in held
    for secret in secrets.values():
        assert secret.encode() not in held


@pytest.mark.parametrize("version", [UNSAFE_WAL, SAFE_WAL], ids=["truncate", "wal"])
async def test_a_used_link_leaves_no_byte(
    path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    """When payouts are final their links are gone from every file, while the journal is open."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    link = "https://sandbox.billblend.com/form/SECRETLINK"
    journal = await reopened(path)
    events = (*PATHS[State.AWAITING_FINAL], RedirectRequired(at=START + 13, redirect_to=link))
    chance = random.Random(7)
    names = [f"po-{chance.random()}" for _ in range(200)]
    await asyncio.gather(*(live(journal, opened(name), events) for name in names))
    assert b"SECRETLINK" in await asyncio.to_thread(_bytes_by_another_process, path)
    for name in chance.sample(names, len(names)):
        payout = await journal.load(name)
        assert payout is not None
        [step] = grow(payout, (finished(),))
        await journal.append(*step)
    # The log is emptied as soon as nobody waits for the writer.
    async with asyncio.timeout(30):
        while b"SECRETLINK" in await asyncio.to_thread(_bytes_by_another_process, path):
            await asyncio.sleep(0.05)
    assert (await journal.history(names[0]))[6] == RedirectRequired(at=START + 13, redirect_to="")
    await journal.aclose()


def _bytes_by_another_process(path: Path) -> bytes:
    """Read an open journal's files; closing one of them here would drop SQLite's POSIX locks."""
    return subprocess.run(
        ["cat", *map(str, path.parent.iterdir())], check=True, capture_output=True
    ).stdout


# Damage


def _cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size if size > 0 else path.stat().st_size + size)


def _scribble(at: int, garbage: bytes) -> Callable[[Path], None]:
    def scribble(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(garbage)

    return scribble


def _sql(*statements: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with edited(path) as connection:
            for statement in statements:
                assert connection.execute(statement).rowcount

    return edit


_PAID = "client_orderid = 'final-0'"
DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut by a byte": _cut(-1),
    "cut by a page": _cut(-4096),
    "cut in two": _cut(2 * 4096),
    "cut in the header": _cut(50),
    "no database": _scribble(0, b"client_orderid;amount\n" * 1000),
    "garbage in the header": _scribble(16, b"\xff" * 32),
    "garbage in the middle": _scribble(4 * 4096, bytes(range(256)) * 8),
    "a wrong list of free pages": _scribble(36, b"\0\0\0\5"),
    "a page of zeros": _scribble(4 * 4096, bytes(4096)),
    "another table": _sql("CREATE TABLE more (name TEXT)"),
    "a trigger": _sql("CREATE TRIGGER t AFTER INSERT ON events BEGIN SELECT 1; END"),
    "another column": _sql("ALTER TABLE payouts ADD COLUMN more TEXT"),
    "a missing table": _sql("DROP TABLE meta"),
    "no version": _sql("DELETE FROM meta WHERE name = 'version'"),
    "an odd version": _sql("UPDATE meta SET value = '-1' WHERE name = 'version'"),
    "no owner": _sql("DELETE FROM meta WHERE name = 'login'"),
    "a deleted event": _sql(f"DELETE FROM events WHERE {_PAID} AND sequence = 3"),
    "a deleted first event": _sql(f"DELETE FROM events WHERE {_PAID} AND sequence = 0"),
    "a deleted last event": _sql(f"DELETE FROM events WHERE {_PAID} AND sequence = 6"),
    "a deleted payout": _sql(f"DELETE FROM payouts WHERE {_PAID}"),
    "a payout without events": _sql(f"DELETE FROM events WHERE {_PAID}"),
    "an event that was moved up": _sql(
        f"DELETE FROM events WHERE {_PAID} AND sequence = 5",
        f"UPDATE events SET sequence = 5 WHERE {_PAID} AND sequence = 6",
        f"UPDATE payouts SET sequence = 5 WHERE {_PAID}",
    ),
    "a rolled back projection": _sql(
        f"UPDATE payouts SET state = 'validated', sequence = 3 WHERE {_PAID}",
        "UPDATE payouts SET sequence = sequence + 3 WHERE client_orderid = 'new-0'",
    ),
    "an edited state": _sql(f"UPDATE payouts SET state = 'validated' WHERE {_PAID}"),
    "an unknown state": _sql(f"UPDATE payouts SET state = 'paid' WHERE {_PAID}"),
    "an edited id": _sql(f"UPDATE payouts SET client_orderid = 'other' WHERE {_PAID}"),
    "an edited amount": _sql(
        f"UPDATE events SET data = replace(data, '10.42', '90.42') WHERE {_PAID} AND sequence = 0",
    ),
    "an edited order": _sql(
        f"UPDATE events SET data = replace(data, '{ORDER}', '1') WHERE {_PAID} AND sequence = 2",
    ),
    "a renamed event": _sql(
        f"UPDATE events SET name = 'CheckNotSent' WHERE {_PAID} AND sequence = 1",
    ),
    "another's event": _sql(
        f"UPDATE events SET seal = (SELECT seal FROM events WHERE {_PAID} AND sequence = 0)"
        " WHERE client_orderid = 'new-0'",
    ),
    "a blob for a text": _sql(f"UPDATE events SET data = CAST(data AS BLOB) WHERE {_PAID}"),
    "no text": _sql(f"UPDATE events SET data = CAST(x'ff' AS TEXT) WHERE {_PAID}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_refused(path: Path, damage: str) -> None:
    """A journal that cannot be what was written is refused with a sentence, when it is opened."""
    await written(path, copies=5)
    DAMAGES[damage](path)
    with pytest.raises(JournalDamaged, match="Nothing is sent from it"):
        await reopened(path)


async def test_a_changed_bit_is_harmless_or_refused(path: Path) -> None:
    """Whichever bit of the file changes, all is read as it was written, or the journal refuses."""
    payouts = await written(path)
    sound = path.read_bytes()
    chance = random.Random(20)
    refused = 0
    for _ in range(150):
        damaged = bytearray(sound)
        damaged[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            assert await read(path) == payouts
        except BillblendError:
            refused += 1
    assert refused > 20


async def test_an_event_that_cannot_have_happened_is_refused(path: Path) -> None:
    """An event that the machine would not have journaled is damage, whoever has written it."""
    journal = await reopened(path)
    payout = await journal.accept(opened())
    await journal.append(attrs.evolve(payout, sequence=1), PayStarted(at=START))
    with pytest.raises(JournalDamaged, match=r"event 1 \(PayStarted\) changes nothing"):
        await journal.load("po-1")
    await journal.aclose()


async def test_damage_to_one_payout_leaves_the_others_alone(path: Path) -> None:
    """In an open journal a damaged payout is refused by itself."""
    await written(path, State.NEW, State.FINAL)
    journal = await reopened(path)
    DAMAGES["an edited amount"](path)
    damaged, sound, new = await together(
        journal, journal.load("final-0"), journal.load("new-0"), journal.accept(opened())
    )
    assert isinstance(damaged, JournalDamaged)
    assert isinstance(sound, Payout)
    assert isinstance(new, Payout)
    with pytest.raises(JournalDamaged):
        await journal.accept(opened("final-0"))

    def lose(database: Database) -> None:
        database.execute("DELETE FROM events WHERE client_orderid = 'new-0'")

    await journal._do(lose, writes=True)
    with pytest.raises(JournalDamaged, match="first event is not Opened"):
        await journal.accept(opened("new-0"))
    await journal.aclose()


async def test_a_newer_version_is_refused(path: Path) -> None:
    """A journal that a later release has written is refused by its version."""
    await written(path, State.NEW)
    _sql("UPDATE meta SET value = '2' WHERE name = 'version'", "CREATE TABLE more (a)")(path)
    with pytest.raises(JournalMismatch) as caught:
        await reopened(path)
    assert (caught.value.field, caught.value.found) == ("version", "2")


async def test_upkeep_is_no_damage(path: Path) -> None:
    """A journal that was analysed and vacuumed by hand is the same journal."""
    payouts = await written(path)
    with edited(path) as connection:
        connection.execute("ANALYZE")
        connection.execute("VACUUM")
    assert await read(path) == payouts


# Storage that fails


async def test_a_full_disk_takes_nothing_half(path: Path) -> None:
    """When the disk is full the whole group is refused, nothing of it is kept, and it passes."""
    journal = await reopened(path)
    await journal.accept(opened("before"))

    def fill(database: Database) -> None:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages + 1}")

    await journal._do(fill, writes=False)
    results = await together(journal, *(journal.accept(opened(f"po-{n}")) for n in range(200)))
    assert {type(result) for result in results} == {JournalUnavailable}
    assert "disk is full" in str(results[0])
    assert await listed(journal) == ["before"]
    await live(journal, opened("after"), PATHS[State.FINAL])
    assert await listed(journal) == ["before", "after"]
    await journal.aclose()


async def test_a_full_memory_takes_nothing_half() -> None:
    """A journal in memory that may grow no more keeps what it has and refuses the rest."""
    journal = SqliteJournal(":memory:")
    await journal.open(OWNER)
    await journal.accept(opened("before"))

    def limit(pages: int) -> Callable[[Database], None]:
        def work(database: Database) -> None:
            database.execute(f"PRAGMA max_page_count = {pages}")

        return work

    await journal._do(limit(1), writes=False)
    results = await together(journal, *(journal.accept(opened(f"po-{n}")) for n in range(200)))
    assert {type(result) for result in results} == {JournalUnavailable}
    await journal._do(limit(10_000), writes=False)
    assert await listed(journal) == ["before"]
    await journal.accept(opened("after"))
    await journal.aclose()


def test_a_file_that_may_not_grow_loses_nothing(path: Path) -> None:
    """Under a limit of the system every step that was taken is kept and no other one."""
    with program("fill", path, 128 * 1024) as process:
        output, _ = process.communicate(timeout=120)
    lines = dict(line.split(" ", 1) for line in output.splitlines())
    assert process.returncode == 0
    assert "Nothing is sent until it can be written" in lines["full"]
    assert int(lines["refused"]) > 0
    assert lines["held"] == lines["expected"]
    finished_ones, taken = lines["final"].split()
    assert finished_ones == taken
    assert int(taken) > 10
    assert lines["after"] == "final"


async def test_a_locked_file_is_waited_for_and_then_refused(path: Path) -> None:
    """While another program writes, reading goes on and writing is refused after the timeout."""
    journal = await reopened(path, busy_timeout=0.05)
    await journal.accept(opened("before"))
    with edited(path) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await listed(journal) == ["before"]
        results = await together(journal, *(journal.accept(opened(f"po-{n}")) for n in range(20)))
        assert {type(result) for result in results} == {JournalUnavailable}
        assert "another program has held the file for 0.05 seconds" in str(results[0])
        other.execute("ROLLBACK")
    assert await listed(journal) == ["before"]
    await journal.accept(opened("after"))
    await journal.aclose()


async def test_a_file_that_is_read_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without WAL a reader that never ends keeps a commit from landing, and that is told."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", UNSAFE_WAL)
    journal = await reopened(path, busy_timeout=0.05)
    await journal.accept(opened("before"))
    with edited(path) as other:
        other.execute("BEGIN")
        assert len(other.execute("SELECT * FROM payouts").fetchall()) == 1
        with pytest.raises(JournalUnavailable):
            await journal.accept(opened())
    assert await listed(journal) == ["before"]
    await journal.aclose()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LookupError("4111111111111111"), "unexpected LookupError"),
        (JournalUnavailable("payouts.db", "locked"), "payouts.db: locked"),
    ],
    ids=["bug", "storage"],
)
async def test_a_failure_half_way_undoes_the_group(
    path: Path, error: Exception, message: str
) -> None:
    """What fails between two writes fails its whole group in our words, and the journal goes on."""
    journal = await reopened(path)

    def fail(database: Database) -> None:
        database.execute("DELETE FROM events")
        raise error

    results = await together(
        journal, journal.accept(opened()), journal._do(fail, writes=True), journal.load("po-1")
    )
    assert [type(result) for result in results] == [JournalUnavailable] * 3
    assert all(message in str(result) and "4111" not in str(result) for result in results)
    assert await listed(journal) == []
    await journal.accept(opened())
    await journal.aclose()


async def test_errors_carry_nothing_foreign(path: Path) -> None:
    """What a journal raises hangs on to no other exception and to no frame of its thread."""
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalDamaged) as caught:
        await reopened(path)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    names = [entry.name for entry in caught.traceback]
    assert "_examine" not in names


async def test_a_cancelled_opening_ends(path: Path) -> None:
    """A journal whose opening was cancelled is closed and leaves the file to others."""
    journal = SqliteJournal(path)
    task = asyncio.ensure_future(journal.open(OWNER))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await journal.aclose()
    await (await reopened(path)).aclose()


# Other processes


def test_two_processes_share_the_claims(path: Path) -> None:
    """Two processes race for the same hundred claims, and each claim has one winner."""
    racers = [program("claim", path, 100, stdin=subprocess.PIPE) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [racer.communicate(timeout=120)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sorted(won[0] + won[1]) == sorted(f"po-{number}" for number in range(100))


@pytest.mark.parametrize("lines", [1, 40, 333])
async def test_what_was_acknowledged_survives_a_kill(path: Path, lines: int) -> None:
    """After kill -9 in full flight every step that was acknowledged is there."""
    writers = [program("write", path, who) for who in ("a", "b")]
    printed = []
    for writer in writers:
        assert writer.stdout is not None
        printed += [writer.stdout.readline() for _ in range(lines)]
    for writer in writers:
        writer.kill()
        printed += writer.communicate()[0].splitlines(keepends=True)
    acknowledged: dict[str, int] = {}
    for line in printed:
        if line.endswith("\n"):
            name, sequence = line.split()
            acknowledged[name] = int(sequence)
    assert len(printed) >= 2 * lines
    payouts = {payout.client_orderid: payout.sequence for payout in await read(path)}
    assert all(payouts[name] >= sequence for name, sequence in acknowledged.items())


def test_the_event_loop_touches_no_file(path: Path) -> None:
    """Everything that opens, reads or writes the journal's files runs off the event loop."""
    with program("watch", path) as process:
        output, _ = process.communicate(timeout=120)
    assert output == "listed ['po-1']\n"
    assert process.returncode == 0
