"""A server that behaves as PostgreSQL in READ COMMITTED, with one journal that all programs share.

A transaction locks the payouts that it writes, looks at what is committed then, and tells; what it
wrote is seen by others once its program has sent COMMIT and that was executed. One whose program
falls silent in between is rolled back after a while, as the journal asks for.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from billblend_async.core.events import Event, Opened, Restored
from billblend_async.core.machine import evolve
from billblend_async.core.models import State
from billblend_async.core.payout import Payout, open_payout
from billblend_async.errors import JournalMismatch, JournalRolledBack
from billblend_async.journal.codec import Entry, Found, Record, Written, make_entry, read_sealed
from billblend_async.journal.postgres_connection import SILENCE, Lost

from .fate import Fate
from .gateway import Gateway
from .journal import Store, Witness
from .loop import Mortal, SeededLoop

__all__ = ["KEY", "Copy", "Server", "Transaction"]

KEY: Final = b"k" * 32


class Judge(Witness, Protocol):
    """Looks at what becomes durable, and ends the run."""

    def demand(self, holds: object, rule: str, client_orderid: str) -> None:
        """End the run when a rule does not hold."""
        ...

    def demand_durable(self, holds: object, rule: str, client_orderid: str) -> None:
        """Likewise, but for what a standby has forgotten."""
        ...

    def fail(self, rule: str, client_orderid: str) -> None:
        """End the run."""
        ...


@attrs.define(eq=False)
class Row:
    """What is committed of one payout.

    Attributes:
        place: Its place in the order of acceptance.
        entries: Its events.
    """

    place: int
    entries: list[Entry] = attrs.field(factory=list)

    @property
    def last(self) -> Entry:
        """The entry that is listed."""
        return self.entries[-1]


@attrs.frozen
class Copy:
    """What a standby has.

    Attributes:
        rows: What is committed of each payout.
        meta: The settings.
        events: The events of each payout.
        payouts: What they make of it.
    """

    rows: dict[str, Row]
    meta: dict[str, str]
    events: dict[str, list[Event]]
    payouts: dict[str, Payout]


@attrs.define(eq=False)
class Transaction:
    """A transaction on the server.

    Attributes:
        whose: The program that began it.
        names: The payouts that it locks; None locks them all.
        work: What it does: it stages what to write, and tells.
        told: What the work has told, or why there is no such thing.
        staged: What is written once it is committed.
        places: The places of the payouts that it accepts.
        meta: The settings that it writes.
        is_granted: Whether it holds its locks.
        is_over: Whether it was committed or rolled back.
        has_commit: Whether its COMMIT has reached the server, which may execute it later.
    """

    whose: Mortal
    names: frozenset[str] | None
    work: Callable[["Transaction"], Any]
    told: Any
    staged: list[Entry] = attrs.field(factory=list)
    places: dict[str, int] = attrs.field(factory=dict)
    meta: dict[str, str] = attrs.field(factory=dict)
    is_granted: bool = False
    is_over: bool = False
    has_commit: bool = False

    def excludes(self, other: "Transaction") -> bool:
        """Tell whether another one must wait for this one."""
        if self.names is None or other.names is None:
            return self.names != frozenset() and other.names != frozenset()
        return bool(self.names & other.names)


class Server:
    """One server for all programs of a world.

    Args:
        loop: The loop.
        fate: What goes wrong.
        gateway: In whose context the world's own work is done.
        store: Where the invariants look up what is durable.
        judge: Looks at what becomes durable.

    Attributes:
        last_effect_at: When the last statement that is under way is executed.
    """

    def __init__(
        self, loop: SeededLoop, fate: Fate, gateway: Gateway, store: Store, judge: Judge
    ) -> None:
        self._loop = loop
        self._fate = fate
        self._store = store
        self._judge = judge
        self.later = gateway.later
        self._rows: dict[str, Row] = {}
        self._meta: dict[str, str] = {}
        self._writers: dict[tuple[str, int], tuple[Mortal, Event]] = {}
        self._next_place = 1
        self._queue: list[Transaction] = []
        self._down_until = 0.0
        self.last_effect_at = 0.0
        self.failovers = 0

    @property
    def is_down(self) -> bool:
        """Whether it takes no connections, since it is starting up."""
        return self._loop.now < self._down_until

    def has_written(self, whose: Mortal, becomes: Payout, event: Event) -> bool:
        """Tell whether this event stands in its place, and this program has put it there."""
        return self._writers.get((becomes.client_orderid, becomes.sequence)) == (whose, event)

    def listed(self) -> list[tuple[str, State]]:
        """List every payout that is committed and its state."""
        return [(name, row.last.state) for name, row in self._rows.items()]

    # Transactions

    def begin(self, transaction: Transaction) -> None:
        """Take a transaction in; it is executed when it has its locks."""
        if transaction.is_over:
            return
        self._queue.append(transaction)
        self._grant()

    def commit(self, transaction: Transaction) -> None:
        """Let others see what a transaction wrote.

        Raises:
            Lost: It was rolled back before.
        """
        if transaction.is_over or not transaction.is_granted:
            raise Lost("the connection is closed")
        for entry in transaction.staged:
            try:
                self._apply(entry, transaction)
            except Exception as error:  # noqa: BLE001 - no program may take it for a lost connection
                self._loop.verdict = self._loop.verdict or error
        self._meta |= transaction.meta
        self.end(transaction)

    def end(self, transaction: Transaction) -> None:
        """Forget a transaction: roll it back, if it was not committed."""
        transaction.is_over = True
        if transaction in self._queue:
            self._queue.remove(transaction)
            self._grant()

    def restart(self) -> None:
        """Crash and start again: everything under way is lost, some of it after its commit."""
        self._down_until = self._loop.now + self._fate.one_of((0.5, 5.0, 20.0))
        self.last_effect_at = max(self.last_effect_at, self._down_until)
        under_way, self._queue = self._queue, []
        for transaction in under_way:
            if transaction.is_granted and self._fate.random.random() < 0.5:
                self.commit(transaction)
            self.end(transaction)
            tell(transaction, Lost("terminating connection: the server is shutting down"))

    def copy(self) -> Copy:
        """Copy all that is committed, as a standby has it that lags behind."""
        return Copy(
            {name: Row(row.place, list(row.entries)) for name, row in self._rows.items()},
            dict(self._meta),
            {name: list(events) for name, events in self._store.events.items()},
            dict(self._store.payouts),
        )

    def fail_over(self, copy: Copy) -> None:
        """Let a standby take over: what was committed since the copy is gone."""
        self.failovers += 1
        under_way, self._queue = self._queue, []
        for transaction in under_way:
            self.end(transaction)
            tell(transaction, Lost("terminating connection: the server is shutting down"))
        # Whose journal it is was settled long before.
        owner = {name: value for name, value in self._meta.items() if name != "restored"}
        self._rows, self._meta = copy.rows, {**owner, **copy.meta}
        self._store.events.clear()
        self._store.events.update(copy.events)
        self._store.payouts.clear()
        self._store.payouts.update(copy.payouts)
        for name, sequence in list(self._writers):
            if sequence >= len(copy.events.get(name, ())):
                del self._writers[name, sequence]

    def declare(self, whose: Mortal, at: float) -> None:
        """Mark it as restored, as a person does who knows that a standby has taken over."""

        def work(transaction: Transaction) -> None:
            event = Restored(at=at)
            for payout in self._store.payouts.values():
                becomes = evolve(payout, event)
                if becomes is not payout:
                    entry = make_entry(KEY, becomes, event, random_bytes=lambda size: b"d" * size)
                    transaction.staged.append(entry)
            transaction.meta = {"restored": "yes"}

        declaring = Transaction(whose, None, work, self._loop.create_future())
        declaring.has_commit = True
        self.begin(declaring)

    def _grant(self) -> None:
        """Execute what has its locks now; who comes first is served first."""
        while (transaction := self._next()) is not None:
            transaction.is_granted = True
            try:
                tell(transaction, transaction.work(transaction))
            except (JournalMismatch, JournalRolledBack) as error:
                tell(transaction, error)
                self.end(transaction)  # as any error of a statement ends it
                continue
            if transaction.has_commit:
                self.commit(transaction)
            else:
                self.later(SILENCE, self._break_off, transaction)

    def _next(self) -> Transaction | None:
        for place, transaction in enumerate(self._queue):
            before = self._queue[:place]
            if not (transaction.is_granted or any(other.excludes(transaction) for other in before)):
                return transaction
        return None

    def _break_off(self, transaction: Transaction) -> None:
        """Roll back what its program has left alone, unless its COMMIT is under way."""
        if not (transaction.is_over or transaction.has_commit):
            self._fate.hit("server", "broke-off")
            self.end(transaction)

    # What transactions do

    def settle(self, transaction: Transaction, owner: Mapping[str, str]) -> None:
        """Check whose journal it is; a new one becomes the owner's."""
        self._check({name: value for name, value in owner.items() if name in self._meta})
        transaction.meta = dict(owner)

    def write(
        self,
        transaction: Transaction,
        owner: Mapping[str, str],
        entries: Sequence[Entry],
        restored: Sequence[Entry] = (),
        known: Written | None = None,
    ) -> set[bytes]:
        """Stage what is next of each payout and tell what is written then, by their tokens."""
        self._look_back(known)
        self._check(owner)
        for entry in entries:
            row = self._rows.get(entry.client_orderid)
            if entry.sequence == 0 and row is None:
                transaction.places[entry.client_orderid] = self._next_place
                self._next_place += 1
                transaction.staged.append(entry)
            elif entry.sequence and row is not None and row.last.sequence == entry.sequence - 1:
                transaction.staged.append(entry)
        if "restored" in self._meta:
            names = {entry.client_orderid for entry in transaction.staged if not entry.sequence}
            transaction.staged += [each for each in restored if each.client_orderid in names]
        written = {entry.token for entry in transaction.staged}
        for entry in entries:
            row = self._rows.get(entry.client_orderid)
            if row is not None and entry.sequence <= row.last.sequence:
                written |= {entry.token} & {row.entries[entry.sequence].token}
        return written

    def restore(
        self,
        transaction: Transaction,
        owner: Mapping[str, str],
        mark: Callable[[Sequence[Found]], Sequence[Entry]],
        known: Written | None,
    ) -> Sequence[Entry]:
        """Stage what marks every unfinished payout as restored."""
        self._look_back(known)
        self._check(owner)
        rows = sorted(self._rows.values(), key=lambda row: row.place)
        entries = mark([_find(row) for row in rows if not row.last.state.is_terminal])
        transaction.staged = list(entries)
        transaction.meta = {"restored": "yes"}
        return entries

    def read(self, names: Collection[str], known: Written | None = None) -> dict[str, Found]:
        """Read payouts as they stand now."""
        self._look_back(known)
        return {name: _find(self._rows[name]) for name in names if name in self._rows}

    def page(
        self, after: int, states: Collection[State], limit: int, known: Written | None = None
    ) -> list[tuple[int, Found]]:
        """Read the next payouts in some states, each with its place."""
        self._look_back(known)
        rows = sorted(self._rows.values(), key=lambda row: row.place)
        found = [row for row in rows if row.place > after and row.last.state in states]
        return [(row.place, _find(row)) for row in found[:limit]]

    def _look_back(self, known: Written | None) -> None:
        if known is None:
            return
        row = self._rows.get(known.client_orderid)
        entries = row.entries[known.sequence : known.sequence + 1] if row is not None else []
        if [known.token] != [entry.token for entry in entries]:
            raise JournalRolledBack("simulated", f"{known.client_orderid} is gone", is_marked=False)

    def _check(self, owner: Mapping[str, str]) -> None:
        for name, expected in owner.items():
            found = str(self._meta.get(name))
            if found != expected:
                raise JournalMismatch("simulated", name, expected, found)

    def _apply(self, entry: Entry, transaction: Transaction) -> None:
        """Write an entry and let the judge look at what it says."""
        name, whose = entry.client_orderid, transaction.whose
        event = _read_event(entry)
        if isinstance(event, Opened):
            self._rows[name] = Row(transaction.places[name])
            becomes = open_payout(event)
        else:
            becomes = evolve(self._store.payouts[name], event)
        row = self._rows[name]
        listed = (len(row.entries), entry.state)
        if (becomes.sequence, becomes.state) != listed or entry.sequence != becomes.sequence:
            self._judge.fail("what is written is not what follows", name)
            return
        row.entries.append(entry)
        self._writers[name, entry.sequence] = (whose, event)
        self._remember(becomes, event, whose)
        if entry.state.is_terminal:
            row.entries = [attrs.evolve(each, secret=None) for each in row.entries]

    def _remember(self, becomes: Payout, event: Event, whose: Mortal) -> None:
        name = becomes.client_orderid
        if isinstance(event, Opened):
            self._store.events[name], self._store.payouts[name] = [event], becomes
            self._fate.note(self._loop.now, f"{name} Opened")
            self._judge.sees_opened(event)
            return
        self._store.write(becomes, event)
        self._fate.note(self._loop.now, f"{name} {becomes.state.value} {event!r}")
        self._judge.sees_event(becomes, event, whose)


def tell(transaction: Transaction, told: Any) -> None:
    """Tell the program, if it still listens."""
    if transaction.told.done():
        return
    if isinstance(told, Exception):
        transaction.told.set_exception(told)
    else:
        transaction.told.set_result(told)


def _read_event(entry: Entry) -> Event:
    data, seal = entry.secret or (entry.data, entry.seal)
    return read_sealed(KEY, entry.client_orderid, entry.sequence, entry.name, data, seal)


def _find(row: Row) -> Found:
    records = [Record(e.sequence, e.name, e.data, e.seal, e.secret) for e in row.entries]
    last = row.last
    return Found(last.client_orderid, last.state.value, last.sequence, records)
