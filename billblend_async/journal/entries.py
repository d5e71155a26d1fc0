"""What a journal writes of an event, and what it finds of a payout."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from ..core.events import Event
from ..core.models import State
from ..core.payout import Payout
from ..errors import JournalDamaged
from .codec import erase_secrets, fold_events, read_sealed, seal_event, write_event

__all__ = ["Entry", "Found", "Record", "Written", "make_entry", "read_found"]

_TOKEN_SIZE: Final = 16


@attrs.frozen(kw_only=True)
class Entry:
    """One event, ready to be written at its place.

    Attributes:
        client_orderid: The payout.
        sequence: Its place among the payout's events.
        state: What the payout's state is then.
        name: The event's kind.
        data: Its fields, as JSON, without secrets.
        seal: What only this record has.
        secret: The fields with their secrets and the seal of that, if it has any.
        token: Names this entry and no other, so that whoever wrote it recognises it.
    """

    client_orderid: str
    sequence: int
    state: State
    name: str
    data: str
    seal: bytes
    secret: tuple[str, bytes] | None
    token: bytes


@attrs.frozen
class Written:
    """Names an entry that is known to be committed.

    Attributes:
        client_orderid: The payout.
        sequence: Its place among the payout's events.
        token: The entry's own.
    """

    client_orderid: str
    sequence: int
    token: bytes

    @property
    def values(self) -> dict[str, object]:
        """The same for a statement."""
        return {"key": self.client_orderid, "sequence": self.sequence, "token": self.token}


@attrs.frozen
class Record:
    """One event as it was found.

    Attributes:
        sequence: Its place.
        name: Its kind.
        data: Its fields.
        seal: Its seal.
        secret: The fields with their secrets and the seal of that, while they are kept.
    """

    sequence: int
    name: str
    data: str
    seal: bytes
    secret: tuple[str, bytes] | None


@attrs.frozen
class Found:
    """What is there of a payout.

    Attributes:
        client_orderid: The payout.
        state: The state that is listed.
        sequence: The place of the newest event that is listed.
        records: The events, in order.
    """

    client_orderid: str
    state: str
    sequence: int
    records: Sequence[Record]


def make_entry(
    key: bytes, becomes: Payout, event: Event, *, random_bytes: Callable[[int], bytes]
) -> Entry:
    """Make ready to write an event and what it makes of its payout.

    Raises:
        ValueError: A field holds what cannot be read back; the message names it.
    """
    name, whole, erased = type(event).__name__, write_event(event), erase_secrets(event)
    data = whole if erased is None else write_event(erased)

    def seal(text: str) -> bytes:
        return seal_event(key, becomes.client_orderid, becomes.sequence, name, text)

    return Entry(
        client_orderid=becomes.client_orderid,
        sequence=becomes.sequence,
        state=becomes.state,
        name=name,
        data=data,
        seal=seal(data),
        secret=None if whole == data else (whole, seal(whole)),
        token=random_bytes(_TOKEN_SIZE),
    )


def read_found(
    journal: str, key: bytes, found: Found, *, secrets: bool = True
) -> tuple[Payout, list[Event]]:
    """Read a payout and its events, and compare them with what is listed.

    Args:
        journal: The journal's name, for errors.
        key: The journal's secret.
        found: What is there.
        secrets: Whether the links for receivers are read; else they are left where they are.

    Raises:
        JournalDamaged: It cannot be what was written.
    """
    name = found.client_orderid
    try:
        events = [
            _event(key, name, place, record, secrets=secrets)
            for place, record in enumerate(found.records)
        ]
        payout = fold_events(name, events, lacks_secrets=not secrets)
    except ValueError as error:
        reason = str(error)
    else:
        if (found.state, found.sequence) == (payout.state.value, payout.sequence):
            return payout, events
        reason = "its events do not lead to the state that is listed"
    raise JournalDamaged(journal, f"payout {name}: {reason}")


def _event(key: bytes, name: str, place: int, record: Record, *, secrets: bool) -> Event:
    if record.sequence != place:
        raise ValueError(f"event {place} is missing")
    try:
        event = read_sealed(key, name, place, record.name, record.data, record.seal)
        if secrets and event.secret and record.secret is not None:
            event = read_sealed(key, name, place, record.name, *record.secret)
    except ValueError as error:
        reason = str(error)
    else:
        return event
    raise ValueError(f"event {place}: {reason}")
