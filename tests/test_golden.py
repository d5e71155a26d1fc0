"""The journals of earlier releases, replayed: what was written once means the same for ever."""

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from golden_journals import GOLDEN, JOURNAL, RECORD, told, write

from billblend_async import __version__
from billblend_async.core.events import Withdrawn
from billblend_async.core.machine import evolve
from billblend_async.core.models import State
from billblend_async.journal import Owner
from billblend_async.journal.codec import read_event, write_event
from billblend_async.journal.sqlite import SqliteJournal

RELEASES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())


def recorded(release: str) -> dict[str, Any]:
    """Read what a release has made of its journal."""
    record: dict[str, Any] = json.loads((GOLDEN / release / RECORD).read_text("utf-8"))
    return record


def copied(release: str, folder: Path) -> Path:
    """Copy a release's journal to where it may be opened; git keeps no private modes."""
    for name in (JOURNAL, f"{JOURNAL}.key"):
        shutil.copyfile(GOLDEN / release / name, folder / name)
        (folder / name).chmod(0o600)
    return folder / JOURNAL


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    """Read a table as it stands in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


def everything(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Read every table as it stands in the file."""
    return {table: rows(path, table) for table in ("meta", "payouts", "events", "secrets")}


@asynccontextmanager
async def opened(release: str, folder: Path) -> AsyncIterator[SqliteJournal]:
    """Open a copy of a release's journal."""
    journal = SqliteJournal(copied(release, folder))
    await journal.open(Owner(**recorded(release)["owner"]))
    try:
        yield journal
    finally:
        await journal.aclose()


def test_this_release_is_kept() -> None:
    """This release has its golden journal, which ``golden_journals.py`` writes."""
    assert __version__ in RELEASES


@pytest.mark.parametrize("release", RELEASES)
class TestReplay:
    async def test_every_payout(self, release: str, tmp_path: Path) -> None:
        """Every payout folds to what its own release made of it, and goes on in the same way."""
        async with opened(release, tmp_path) as journal:
            payouts = [payout async for payout in journal.payouts()]

        record = recorded(release)["payouts"]
        assert set(record) == {payout.client_orderid for payout in payouts}
        for payout in payouts:
            expected, found = record[payout.client_orderid], told(payout)
            assert expected["commands"] == found["commands"]
            for part in ("payout", "outcome"):
                # A later release may say more; what was said stays, but for its words to people.
                said = {n: value for n, value in expected[part].items() if n != "explanation"}
                assert said == {name: found[part][name] for name in said}

    async def test_every_history(self, release: str, tmp_path: Path) -> None:
        """Every history is read as it was handed in, erased links aside."""
        async with opened(release, tmp_path) as journal:
            for name, expected in recorded(release)["payouts"].items():
                history = await journal.history(name)

                found = [[type(event).__name__, write_event(event)] for event in history]
                assert expected["events"] == found

    def test_every_byte(self, release: str, tmp_path: Path) -> None:
        """Every event that lies in the file is written again to the same bytes."""
        path = copied(release, tmp_path)
        kinds = {(name, n): kind for name, n, kind, *_ in rows(path, "events")}
        records = [(kind, data) for _, _, kind, data, _ in rows(path, "events")]
        records += [
            (kinds[name, n], data)
            for _, name, n, data, _ in rows(path, "secrets")
            if isinstance(data, str)  # what is erased is zeros
        ]

        assert len(kinds) < len(records)
        for kind, data in records:
            assert data == write_event(read_event(kind, data))

    async def test_opening_changes_nothing(self, release: str, tmp_path: Path) -> None:
        """Opening and reading a journal leaves every row as it was."""
        (tmp_path / "other").mkdir()
        before = everything(copied(release, tmp_path / "other"))
        async with opened(release, tmp_path) as journal:
            assert [payout async for payout in journal.payouts()]

        assert before == everything(tmp_path / JOURNAL)

    async def test_going_on(self, release: str, tmp_path: Path) -> None:
        """A journal of any release is gone on with."""
        event = Withdrawn(at=1_900_000_000.0, who="ann", why="typo")
        async with opened(release, tmp_path) as journal:
            before = [payout async for payout in journal.payouts([State.NEW])]
            for payout in before:
                await journal.append(evolve(payout, event), event)
            after = [await journal.load(payout.client_orderid) for payout in before]

        assert {State.WITHDRAWN} == {payout.state for payout in after if payout is not None}


async def test_the_program_writes_the_same(tmp_path: Path) -> None:
    """What wrote the golden journal of this release writes the same rows and the same record."""
    await write(tmp_path)

    assert recorded(__version__) == json.loads((tmp_path / RECORD).read_text("utf-8"))
    (tmp_path / "kept").mkdir()
    assert everything(copied(__version__, tmp_path / "kept")) == everything(tmp_path / JOURNAL)


def test_links(tmp_path: Path) -> None:
    """The golden journal holds a link that is out, and none of a payout that is finished."""
    octets = copied("0.1.0", tmp_path).read_bytes()

    assert b"billblend.com/form/1" in octets
    assert b"?second" not in octets
