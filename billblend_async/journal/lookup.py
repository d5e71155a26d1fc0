"""Looks payouts up in a journal's file before anything is run from it, and changes nothing."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..errors import BillblendError, JournalDamaged
from ..models import State
from ..payout import Payout
from . import Owner
from .database import Database
from .sqlite import load_payout
from .writer import Job

__all__ = ["Lookup"]

PAGE: Final = 64
"""Payouts that are read in one transaction; nobody can write meanwhile."""
_ALL_STATES: Final = f" {' '.join(State)} "


class Lookup:
    """A journal's file, open for questions; use it inside ``with``.

    It may be in use by others. A journal that is not there, or holds no payout, knows none.

    Args:
        path: The file; its key lies beside it.
        owner: Whose payouts it must hold.
        busy_timeout: Seconds to wait for another program that holds the file.

    Raises:
        JournalMismatch: It belongs to another environment, login, endpoint or version.
        JournalDamaged: What it holds cannot be what was written.
        JournalUnavailable: The file cannot be read.
    """

    def __init__(self, path: Path, owner: Owner, *, busy_timeout: float = 10.0) -> None:
        self._database = _Quiet(
            str(path), owner, busy_timeout=busy_timeout, random_bytes=_no_random_bytes
        )
        self._is_new = not path.exists()
        self._key = path.with_name(f"{path.name}.key")

    def __enter__(self) -> Self:
        """Open the file, if it is there."""
        if not self._is_new:
            problem = self._database.open()
            if problem is not None:
                self._database.close()
                raise problem
            self._is_new = not self._database.holds_payouts
        elif self._key.exists():
            raise JournalDamaged(self._database.name, "the file is gone, but its key file is there")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._database.close()

    @property
    def fingerprint_key(self) -> bytes:
        """The secret under which receivers are fingerprinted; empty where no payout is known."""
        return self._database.key

    def names(self) -> list[str]:
        """List the ids of all payouts, which is cheap: none of them is read."""
        if self._is_new:
            return []
        job = Job[Database](lambda database: database.listed(_ALL_STATES), writes=False)
        [found] = self._database.transact([job])
        if isinstance(found, BillblendError):
            raise found
        return found if isinstance(found, list) else []

    def find(self, client_orderids: Sequence[str]) -> Iterator[Payout | None]:
        """Look payouts up in this order; None for each that the journal does not know."""
        for start in range(0, len(client_orderids), PAGE):
            page = client_orderids[start : start + PAGE]
            if self._is_new:
                yield from [None] * len(page)
                continue
            for found in self._database.transact([_job(key) for key in page]):
                if isinstance(found, BillblendError):
                    raise found
                yield found if isinstance(found, Payout) else None


def _job(client_orderid: str) -> Job[Database]:
    def work(database: Database) -> Payout | None:
        found = load_payout(database, client_orderid)
        return None if found is None else found[0]

    return Job(work, writes=False)


def _no_random_bytes(_size: int) -> bytes:
    raise AssertionError("whoever only looks makes no key")


class _Quiet(Database):
    """A journal's file as others have left it.

    A file behind which a program has crashed must be mended by SQLite before it can be read, so it
    is not opened with mode=ro; but no statement of ours can write.
    """

    holds_payouts = False

    def _choose_mode(self) -> None:
        self.execute("PRAGMA query_only=1")

    def _examine(self) -> None:
        with self._transaction(writes=False):
            if self.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
                if self._path is not None and self._key_file(self._path).exists():
                    raise self._damaged("the file is empty, but its key file is there")
                return
            self._settle()
            select = "SELECT 1 FROM payouts LIMIT 1"
            self.holds_payouts = self.execute(select).fetchone() is not None
            if self.holds_payouts and self._path is not None:
                self.key = self._agree_on_key(self._key_file(self._path))

    def _remember(self, name: str, value: str) -> None:
        """Leave to the run what is settled by it."""
