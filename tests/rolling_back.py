"""An older copy is put in the place of a SQLite journal that programs use; run as a file too.

``mark PATH STEP`` opens a journal, waits for a line, writes (which notices the older copy and marks
it) and kills itself at a step of the marking; ``declare PATH STEP`` declares it restored instead.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from journal_cases import OWNER
from payouts import START, opened

from billblend_async.journal import key_file as siblings
from billblend_async.journal import sqlite_database as database
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.journal.sqlite_database import Database

STEPS = ("before the mark", "after the mark", "before the commit", "after the commit", "at the end")


def by_cp(copy: Path, path: Path) -> None:
    """Write a copy over a journal: the file stays the same one."""
    path.write_bytes(copy.read_bytes())


def by_mv(copy: Path, path: Path) -> None:
    """Move a copy to a journal's name: another file has it from now on."""
    draft = path.with_name("draft")
    shutil.copy(copy, draft)
    draft.replace(path)


def by_rm(copy: Path, path: Path) -> None:
    """Take a journal away and put the copy there after that."""
    path.unlink()
    shutil.copy(copy, path)


WAYS: dict[str, Callable[[Path, Path], None]] = {"cp": by_cp, "mv": by_mv, "rm": by_rm}


def die() -> None:
    """End as a machine does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(step: str) -> None:
    """Let this process die at a step of the next marking."""
    make, execute = siblings.make_mark, Database.execute
    marked = {"begun": False}

    def making(path: Path, at: float) -> None:
        if step == "before the mark":
            die()
        make(path, at)
        marked["begun"] = True
        if step == "after the mark":
            die()

    def executing(self: Database, sql: str, *values: Any, **words: Any) -> Any:
        is_commit = sql == "COMMIT" and marked["begun"] and self._recall("restored") is not None
        if is_commit and step == "before the commit":
            die()
        cursor = execute(self, sql, *values, **words)
        if is_commit and step == "after the commit":
            die()
        return cursor

    remove = siblings.remove_mark

    def removing(path: Path) -> None:
        remove(path)
        die()

    patched: Any = database
    patched.make_mark = making
    patched.remove_mark = removing
    Database.execute = executing  # type: ignore[method-assign,assignment] # it is about to die


async def main(what: str, path: str, step: str) -> None:
    """Use a journal, and die at a step of its marking."""
    journal = SqliteJournal(path)
    await journal.open(OWNER)
    await journal.accept(opened("mine"))
    print("ready", flush=True)  # noqa: T201 - read by the test
    sys.stdin.readline()
    die_at(step)
    if what == "mark":
        await journal.accept(opened("later"))
    else:
        await journal.declare_restored(START + 99)
    print("lived", flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
