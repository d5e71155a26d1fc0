"""A seeded walk over the names of one SQLite journal: links, hard links, keys that are copied.

Whatever is done by whichever name, a payout that was accepted is read by every opening that
succeeds, and the file's key check never changes. The long run prints a failing seed (in tests/)::

    python -m names_walk --seeds 500
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import attrs
from journal_cases import OWNER, grow
from payouts import START, opened

from billblend_async.core.events import CheckStarted
from billblend_async.errors import BillblendError, JournalDamaged, JournalMismatch
from billblend_async.journal import sqlite_database as database
from billblend_async.journal.key_file import check_of, make_key, read_key
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.journal.sqlite_database import Database

STEPS = 14


class Wrong(AssertionError):
    """What must hold does not."""


class Killed(Exception):
    """Stands for the end of a process between its key file and its key check."""


@attrs.define
class Walk:
    """One walk in a folder of its own.

    Attributes:
        folder: The folder.
        chance: Decides every step.
    """

    folder: Path
    chance: random.Random
    check: str | None = None
    accepted: list[str] = attrs.Factory(list)
    journals: list[SqliteJournal] = attrs.Factory(list)
    steps: list[str] = attrs.Factory(list)

    @property
    def names(self) -> list[Path]:
        """The names by which the journal can be meant."""
        ways = ("data/payouts.db", "linked/payouts.db", "folder/payouts.db", "hard/payouts.db")
        return [self.folder / way for way in ways]

    async def run(self) -> None:
        """Walk.

        Raises:
            Wrong: An accepted payout was not read, or the key check was replaced.
        """
        real, linked, *_, hard = self.names
        for path in (real, linked, hard):
            path.parent.mkdir()
        linked.symlink_to(real)
        (self.folder / "folder").symlink_to(real.parent)
        try:
            for _ in range(STEPS):
                kinds = (
                    "open",
                    "open",
                    "open",
                    "accept",
                    "append",
                    "close",
                    "kill",
                    "copy",
                    "link",
                )
                kind = self.chance.choice(kinds)
                self.steps.append(kind)
                await getattr(self, f"_{kind}")()
                self._look()
        finally:
            for journal in self.journals:
                await journal.aclose()

    async def _open(self) -> None:
        path = self.chance.choice(self.names)
        self.steps[-1] += f" {path.parent.name}"
        if (path.parent.name == "hard" and not path.exists()) or len(self.journals) > 2:
            return  # what is made there would be another journal
        journal = SqliteJournal(path)
        try:
            await journal.open(OWNER)
        except BillblendError:
            await journal.aclose()
            return
        self.journals.append(journal)
        self._look()
        told = [payout.client_orderid async for payout in journal.payouts()]
        if told != self.accepted:
            raise Wrong(f"{self.accepted} were accepted, and {told} are told")

    async def _accept(self) -> None:
        if self.journals:
            name = f"po-{len(self.accepted)}"
            with contextlib.suppress(BillblendError):
                await self.chance.choice(self.journals).accept(opened(name))
                self.accepted.append(name)

    async def _append(self) -> None:
        if self.journals and self.accepted:
            name = self.chance.choice(self.accepted)
            [step] = grow(opened(name), (CheckStarted(at=START),))
            with contextlib.suppress(BillblendError):
                await self.chance.choice(self.journals).append(*step)

    async def _close(self) -> None:
        if self.journals:
            await self.journals.pop(self.chance.randrange(len(self.journals))).aclose()

    async def _kill(self) -> None:
        """Open it by a process that ends right after it has made the key file."""

        def make(path: Path, key: bytes) -> bool:
            make_key(path, key)
            raise Killed

        with mock.patch.object(database, "make_key", make):
            await self._open()

    async def _copy(self) -> None:
        """Lay a key that is there beside another name, where there is none."""
        keys = [path.with_name("payouts.db.key") for path in self.names]
        lies, missing = [k for k in keys if k.exists()], [k for k in keys if not k.exists()]
        if lies and missing:
            shutil.copy(self.chance.choice(lies), self.chance.choice(missing))

    async def _link(self) -> None:
        real, *_, hard = self.names
        if real.exists() and not hard.exists():
            os.link(real, hard)

    def _look(self) -> None:
        check = None
        if self.names[0].exists():
            with (
                contextlib.closing(sqlite3.connect(self.names[0])) as connection,
                contextlib.suppress(sqlite3.OperationalError),  # it has no tables yet
            ):
                row = connection.execute("SELECT value FROM meta WHERE name = 'key_check'")
                check = next(row, (None,))[0]
        if self.check is not None and check != self.check:
            raise Wrong("the key check has changed")
        self.check = check


def walk(seed: int) -> str | None:
    """Run one seed; what went wrong, with its steps."""
    with tempfile.TemporaryDirectory() as folder:
        one = Walk(Path(folder), random.Random(seed))
        try:
            asyncio.run(one.run())
        except Wrong as wrong:
            return f"seed {seed}: {wrong}, after {', '.join(one.steps)}"
    return None


@contextlib.contextmanager
def planted() -> Iterator[None]:
    """Plant a bug: a key is made whenever there are no payouts, beside whatever name was given."""

    def agree(self: Database, path: Path) -> bytes:
        known, beside = self._recall("key_check"), (self._given or path).with_name("payouts.db.key")
        if not beside.exists():
            if self.execute("SELECT 1 FROM payouts LIMIT 1").fetchone() is not None:
                raise JournalDamaged(self.name, "its key file is missing")
            make_key(beside, self._random_bytes(32))
            known = None
        key = read_key(beside) or b""
        if known is None:
            self._remember("key_check", check_of(key))
        elif known != check_of(key):
            raise JournalMismatch(self.name, "fingerprint key", check_of(key), known)
        return key

    with mock.patch.object(Database, "_agree_on_key", agree):
        yield


def main() -> int:
    """Run many seeds."""
    parser = argparse.ArgumentParser(description="Walk over the names of a journal.")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--planted", action="store_true", help="with the bug that must be found")
    options = parser.parse_args()
    with planted() if options.planted else contextlib.nullcontext():
        for seed in range(options.seeds):
            if wrong := walk(seed):
                print(wrong)  # noqa: T201 - a command's figures
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
