"""What is seen in a journal without changing it, for whoever asks why it does not open."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from ..core.models import State
from . import Owner
from .handle import journal_mode
from .key_file import check_of
from .siblings import find_key, is_marked, itself, key_file
from .tables import AUDIT, BINDS, TABLES, VERSION

__all__ = ["Inspection", "describe_sqlite", "inspect_journal"]

_FIELDS: Final = ("base_url", "login", "endpoint")
_READONLY: Final = 8  # SQLITE_READONLY: what a crash has left must be mended by whoever may write


@attrs.frozen(kw_only=True)
class Inspection:
    """What a journal holds.

    Attributes:
        owner: Whose payouts it holds; None where nobody has opened it yet.
        mode: How it is kept: SQLite's journal mode of the file, or the server's version.
        states: How many payouts are in which state.
        bound: The settings of its owner that stand for ever.
        is_restored: Whether it was declared restored from a copy.
        obstacle: What keeps payouts from being run from it; empty where nothing is known to.
        is_exposed: Whether others on the way to it can read what is said.
    """

    owner: Owner | None
    mode: str
    states: Mapping[State, int]
    bound: frozenset[str]
    is_restored: bool
    obstacle: str = ""
    is_exposed: bool = False

    def takes(self, owner: Owner) -> bool:
        """Tell whether it would open for an owner."""
        if self.owner is None:
            return True
        differs = [name for name in _FIELDS if getattr(owner, name) != getattr(self.owner, name)]
        return not differs or (not self.is_restored and self.bound.isdisjoint(differs))


def describe_sqlite() -> str:
    """Tell SQLite's version, and in which mode journals are written with it."""
    mode = journal_mode(sqlite3.sqlite_version_info)
    return f"SQLite {sqlite3.sqlite_version} (journal mode {mode})"


def inspect_journal(path: Path, *, busy_timeout: float = 2.0) -> Inspection | str:
    """Look into a journal; what is wrong with it is a sentence.

    Args:
        path: The journal's file, which is there.
        busy_timeout: Seconds to wait for another program that holds the file.
    """
    try:
        # Read only: to look must neither make a file nor mend what a crash has left.
        uri = f"{itself(path).as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, timeout=busy_timeout, uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema=0")
            return _look(connection, path)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == _READONLY:
            return "its last program has crashed, and the next one that opens it will mend it"
        return f"SQLite says: {error}"
    except OSError as error:
        return error.strerror or type(error).__name__


def _look(connection: sqlite3.Connection, path: Path) -> Inspection | str:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        return "SQLite's quick_check finds the file damaged"
    tables = dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
        )
    )
    meta = dict(connection.execute("SELECT name, value FROM meta")) if "meta" in tables else {}
    if meta.get("version") != str(VERSION) or tables != TABLES:
        told = f"version {meta['version']}" if "version" in meta else "no version"
        return f"this is no journal of this release (it has {told}, not {VERSION})"
    (fits,) = connection.execute(AUDIT, (f" {' '.join(State)} ",)).fetchone()
    if not fits or not all(name in meta for name in _FIELDS):
        return "its tables do not fit each other"
    wrong = _examine_key(path, meta.get("key_check"))
    if wrong:
        return wrong
    states: Counter[State] = Counter()
    for name, count in connection.execute("SELECT state, count(*) FROM payouts GROUP BY state"):
        states[State(name)] = count
    return Inspection(
        owner=Owner(**{name: str(meta[name]) for name in _FIELDS}),
        mode=str(connection.execute("PRAGMA journal_mode").fetchone()[0]),
        states=states,
        bound=frozenset(
            name for name, asked in BINDS.items() if connection.execute(asked).fetchone()
        ),
        is_restored="restored" in meta or is_marked(path),
    )


def _examine_key(path: Path, check: str | None) -> str:
    """Say what is wrong with the key file beside a journal."""
    if check is None:
        return ""  # it has never been opened to its end
    found = find_key(path, check)
    if found is None:
        return f"its key file {key_file(path).name} is missing; restore it"
    lies, key = found
    if key is None or check_of(key) != check:
        return f"its key file {lies.name} is not the one that belongs to it; restore that"
    return ""
