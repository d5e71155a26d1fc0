"""What one program asks of the simulated server, over connections that break at every statement.

It stands in the place of ``Statements`` of the journal; what is above that, the
groups, attempts, tokens, seals and folding, is the real journal.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

from billblend_async.core.events import Event, Opened
from billblend_async.core.models import State
from billblend_async.core.payout import Payout
from billblend_async.errors import ClaimLost, JournalRolledBack, JournalUnavailable
from billblend_async.journal import postgres
from billblend_async.journal.codec import Entry, Found, Written
from billblend_async.journal.postgres import PostgresJournal
from billblend_async.journal.postgres_connection import Lost

from .coverage import SERVER_FAULTS
from .fate import Fate
from .freezing import Freezer
from .loop import Mortal, SeededLoop
from .server import KEY, Judge, Server, Transaction

if TYPE_CHECKING:
    from .process import Process

__all__ = ["SharedJournal", "SimulatedStatements", "small_pages"]

T = TypeVar("T")

_LATE: Final = (0.5, 8.0, 40.0, 300.0)
"""Seconds, at most, after which a statement is executed that sat in a socket."""
_PAGE: Final = 2
_NOBODY: Final[frozenset[str]] = frozenset()


class SimulatedStatements:
    """One program's way to the server; see ``billblend_async.journal.postgres_store.Statements``.

    Args:
        server: The server.
        loop: The loop.
        fate: What goes wrong.
        whose: The program.
        freezer: Lets programs stand still.
    """

    def __init__(
        self, server: Server, loop: SeededLoop, fate: Fate, whose: "Process", freezer: Freezer
    ) -> None:
        self._server = server
        self._loop = loop
        self._fate = fate
        self._whose = whose
        self._freezer = freezer

    async def settle(self, owner: dict[str, str], key_check: str) -> None:
        """Check whose journal it is."""
        wanted = {**owner, "key_check": key_check}
        await self._attempt("settle", _NOBODY, lambda t: self._server.settle(t, wanted))

    async def write(
        self,
        owner: dict[str, str],
        entries: Sequence[Entry],
        restored: Sequence[Entry] = (),
        written: Written | None = None,
    ) -> set[bytes]:
        """Write what is next of each payout."""
        names = frozenset(entry.client_orderid for entry in entries)
        return await self._attempt(
            "write", names, lambda t: self._server.write(t, owner, entries, restored, written)
        )

    async def read(self, names: Sequence[str], written: Written | None = None) -> dict[str, Found]:
        """Read payouts by their ids."""
        return await self._attempt("read", _NOBODY, lambda _: self._server.read(names, written))

    async def page(
        self, after: int, states: Collection[State], limit: int, written: Written | None = None
    ) -> list[tuple[int, Found]]:
        """Read the next payouts in some states."""
        return await self._attempt(
            "page", _NOBODY, lambda _: self._server.page(after, states, limit, written)
        )

    async def restore(
        self,
        owner: dict[str, str],
        mark: Callable[[Sequence[Found]], Sequence[Entry]],
        written: Written | None = None,
    ) -> Sequence[Entry]:
        """Mark every unfinished payout as restored."""
        return await self._attempt(
            "restore", None, lambda t: self._server.restore(t, owner, mark, written)
        )

    async def complete(self, *_: object) -> None:
        """Mark nothing more."""
        raise AssertionError("no world declares its journal complete; test_model.py does")

    async def _attempt(
        self, kind: str, names: frozenset[str] | None, work: Callable[[Transaction], T]
    ) -> T:
        """Make one attempt on one connection, and let one thing at most go wrong with it."""
        fault = self._fate.pick(kind, SERVER_FAULTS, is_request=False)
        transaction = Transaction(self._whose, names, work, self._loop.create_future())
        try:
            await self._travel()
            return cast("T", await self._follow(fault, transaction))
        finally:
            if not transaction.has_commit:  # a connection that is closed rolls it back
                self._server.later(self._fate.between(0.0, 0.5), self._server.end, transaction)

    async def _follow(self, fault: str | None, transaction: Transaction) -> Any:
        server = self._server
        if fault == "refused":
            raise JournalUnavailable("simulated", "PostgreSQL refuses it (DiskFull, 53100)")
        if server.is_down or fault in ("lost-before", "rolled-back"):
            raise Lost("deadlock detected" if fault == "rolled-back" else "no connection")
        if fault == "executed-late":
            self._execute_late(transaction)
            await self._hear_nothing()
        if fault == "hangs":
            await self._hang()
        server.begin(transaction)
        if fault == "restarts":
            server.restart()
        told = await transaction.told
        if fault == "freezes-before-commit":
            self._freezer.freeze(self._whose, "before-commit")
        await self._travel()
        return await self._commit(fault, transaction, told)

    async def _commit(self, fault: str | None, transaction: Transaction, told: T) -> T:
        server = self._server
        if transaction.is_over:
            raise Lost("the connection is closed")
        transaction.has_commit = True
        if fault == "committed-late":
            self._server.last_effect_at = max(
                self._server.last_effect_at, self._loop.now + (delay := self._late())
            )
            server.later(delay, _commit_if_open, server, transaction)
            await self._hear_nothing()
        server.commit(transaction)
        if fault == "lost-after":
            await self._hear_nothing()
        if fault == "freezes-after-commit":
            self._freezer.freeze(self._whose, "after-commit")
        await self._travel()
        return told

    def _execute_late(self, transaction: Transaction) -> None:
        """Let the whole of it be executed later, when its program has long given it up."""
        server = self._server
        late = Transaction(
            transaction.whose, transaction.names, transaction.work, self._loop.create_future()
        )
        late.has_commit = True
        delay = self._late()
        server.last_effect_at = max(server.last_effect_at, self._loop.now + delay)
        server.later(delay, _begin_late, server, late, server.failovers)

    def _late(self) -> float:
        return self._fate.one_of(_LATE) * self._fate.between(0.1, 1.0)

    async def _travel(self) -> None:
        await asyncio.sleep(self._fate.between(0.0, 0.05))

    async def _hang(self) -> None:
        """Wait for a server that stands still, longer than anybody has patience for."""
        await asyncio.sleep(self._fate.between(8.0, 60.0))

    async def _hear_nothing(self) -> NoReturn:
        """Learn that the connection is lost: at once, late, or not at all for minutes."""
        await asyncio.sleep(self._fate.one_of((0.0, 3.0, 300.0)) * self._fate.between(0.1, 1.0))
        raise Lost("server closed the connection unexpectedly")


def _begin_late(server: Server, late: Transaction, failovers: int) -> None:
    if server.failovers == failovers:  # it has reached this server and no other
        server.begin(late)


def _commit_if_open(server: Server, transaction: Transaction) -> None:
    if not transaction.is_over:
        server.commit(transaction)


class _NoPool:
    """No connections: they are simulated one layer above."""

    def connection(self) -> NoReturn:
        """Lend none."""
        raise AssertionError("no world has a socket")


class SharedJournal(PostgresJournal):
    """The real journal over the simulated server; it tells the judge what was told.

    Args:
        statements: The way to the server.
        server: The server, to compare with.
        whose: The program that it belongs to.
        witness: Looks at what its program knows.
        name: Makes its tokens its own.
    """

    def __init__(
        self,
        statements: SimulatedStatements,
        server: Server,
        *,
        whose: Mortal,
        witness: Judge,
        name: str,
    ) -> None:
        tokens = random.Random(f"{name}/tokens")
        super().__init__(_NoPool(), key=KEY, random_bytes=tokens.randbytes)
        self._statements = statements  # type: ignore[assignment] # what it calls is all there
        self._server = server
        self._whose = whose
        self._witness = witness
        self._handed_in: Counter[tuple[str, int, str]] = Counter()

    @property
    def rolled_back(self) -> JournalRolledBack | None:
        """What it has noticed of a standby that took over."""
        return self._rolled_back

    async def accept(self, opened: Opened) -> Payout:
        """Accept a payout once."""
        payout = await super().accept(opened)
        self._witness.sees_known(opened, opened.client_orderid, self._whose)
        return payout

    async def append(self, becomes: Payout, event: Event) -> None:
        """Write an event in the next place or not at all, and say truly which."""
        name, same = becomes.client_orderid, (becomes.client_orderid, becomes.sequence, repr(event))
        self._handed_in[same] += 1
        try:
            await super().append(becomes, event)
        except ClaimLost:
            # Two who approve in the same instant hand in the same, and one of them has lost.
            is_alone = self._handed_in[same] == 1
            is_written = is_alone and self._server.has_written(self._whose, becomes, event)
            self._witness.demand(not is_written, "told that it lost what it wrote", name)
            raise
        is_written = self._server.has_written(self._whose, becomes, event)
        self._witness.demand_durable(is_written, "told that it wrote what it did not", name)
        self._witness.sees_known(event, name, self._whose)

    async def payouts(self, states: Collection[State] | None = None) -> AsyncIterator[Payout]:
        """Iterate over the payouts, and leave none out that was there all the time."""
        wanted = tuple(State) if states is None else tuple(states)
        left_out = {name for name, state in self._server.listed() if state in wanted}
        async for payout in super().payouts(states):
            left_out.discard(payout.client_orderid)
            yield payout
        left_out &= {name for name, state in self._server.listed() if state in wanted}
        for name in sorted(left_out):
            self._witness.demand_durable(not left_out, "a payout was left out", name)


@contextlib.contextmanager
def small_pages() -> Iterator[None]:
    """Let the journal read so few payouts at once that worlds with few of them have pages."""
    size, module = postgres.PAGE, cast("Any", postgres)
    module.PAGE = _PAGE
    try:
        yield
    finally:
        module.PAGE = size
