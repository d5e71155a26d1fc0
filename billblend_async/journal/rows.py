"""The rows of a SQLite journal: payouts read from them, checked, and events added to them.

Everything here runs inside a transaction, in the writer's thread.
"""

from typing import TYPE_CHECKING, Final

from ..core.events import Event, Restored
from ..core.machine import evolve
from ..core.models import State
from ..core.payout import Payout
from ..errors import ClaimLost, JournalDamaged
from .codec import fold_events, read_sealed, seal_event, write_event

if TYPE_CHECKING:
    from .sqlite_database import Database

__all__ = [
    "PAGE",
    "add_event",
    "damaged",
    "load_payout",
    "mark_restored",
    "read_page",
    "write_news",
]

PAGE: Final = 64
"""Payouts that are read at once while iterating."""

_APPEND: Final = (
    "INSERT INTO events (client_orderid, sequence, name, data, seal)"
    " SELECT client_orderid, sequence + 1, ?3, ?4, ?5 FROM payouts"
    " WHERE client_orderid = ?1 AND sequence = ?2 - 1 ON CONFLICT DO NOTHING"
)
_MOVE: Final = "UPDATE payouts SET state = ?, sequence = ? WHERE client_orderid = ?"
_EVENTS: Final = (
    "SELECT sequence, name, data, seal FROM events WHERE client_orderid = ? ORDER BY sequence"
)
_LISTED: Final = "SELECT state, sequence FROM payouts WHERE client_orderid = ?"
_REVEAL: Final = (
    "SELECT data, seal FROM secrets"
    " WHERE client_orderid = ? AND sequence = ? AND seal <> zeroblob(length(seal))"
)
_OPEN_STATES: Final = f" {' '.join(state for state in State if not state.is_terminal)} "
_PAGE: Final = (
    "SELECT place, client_orderid FROM payouts"
    " WHERE place > ? AND instr(?, ' ' || state || ' ') > 0 ORDER BY place LIMIT ?"
)


def damaged(database: "Database", key: str, reason: str) -> JournalDamaged:
    """Say what is wrong with a payout."""
    return JournalDamaged(database.name, f"payout {key}: {reason}")


def add_event(database: "Database", becomes: Payout, name: str, data: str) -> None:
    """Write an event at the place ``becomes.sequence``, and what it makes of the payout.

    Raises:
        ClaimLost: That is not the next place.
    """
    key, sequence = becomes.client_orderid, becomes.sequence
    seal = seal_event(database.key, key, sequence, name, data)
    if database.execute(_APPEND, (key, sequence, name, data, seal)).rowcount != 1:
        raise ClaimLost(key, sequence)
    database.execute(_MOVE, (becomes.state.value, sequence, key))
    database.note(key, sequence, seal)


def write_news(database: "Database", payout: Payout, event: Event) -> Payout:
    """Write an event that holds no secret, if it changes the payout."""
    becomes = evolve(payout, event)
    if becomes is not payout:
        add_event(database, becomes, type(event).__name__, write_event(event))
    return becomes


def mark_restored(database: "Database", at: float) -> int:
    """Mark the journal as restored, and each unfinished payout; tell how many those were."""
    # All are read before one is written: a damaged one leaves the journal as it is.
    unfinished = [_listed(database, key) for key in database.listed(_OPEN_STATES)]
    database.begin_restoration(at)
    event = Restored(at=at)
    return sum(write_news(database, payout, event) is not payout for payout in unfinished)


def load_payout(database: "Database", key: str) -> tuple[Payout, list[Event]] | None:
    """Read a payout and its events, and compare them with what the list says."""
    listed = database.execute(_LISTED, (key,)).fetchone()
    events = _events(database, key)
    if listed is None and not events:
        return None
    try:
        payout = fold_events(key, events)
    except ValueError as error:
        reason = str(error)
    else:
        if listed == (payout.state.value, payout.sequence):
            return payout, events
        reason = "its events do not lead to the state that is listed"
    raise damaged(database, key, reason)


def read_page(database: "Database", *, after: int, states: str) -> list[tuple[int, Payout]]:
    """Read the next payouts in some states, each with its place."""
    page = []
    for place, key in database.execute(_PAGE, (after, states, PAGE)).fetchall():
        page.append((place, _listed(database, key)))
    return page


def _events(database: "Database", key: str) -> list[Event]:
    events: list[Event] = []
    for sequence, name, *record in database.execute(_EVENTS, (key,)).fetchall():
        if sequence != len(events):
            raise damaged(database, key, f"event {len(events)} is missing")
        event = _event(database, key, sequence, name, *record)
        if event.secret:
            secret = database.execute(_REVEAL, (key, sequence)).fetchone()
            if secret is not None:
                event = _event(database, key, sequence, name, *secret)
        events.append(event)
    return events


def _event(
    database: "Database", key: str, sequence: int, name: object, data: object, seal: object
) -> Event:
    try:
        return read_sealed(database.key, key, sequence, name, data, seal)
    except ValueError as error:
        reason = str(error)
    raise damaged(database, key, f"event {sequence}: {reason}")


def _listed(database: "Database", key: str) -> Payout:
    found = load_payout(database, key)
    if found is None:
        raise damaged(database, key, "it is listed and cannot be read")
    return found[0]
