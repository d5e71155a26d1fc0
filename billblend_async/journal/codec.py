"""Events as a journal stores them: sealed JSON and back, and the fold into a payout."""

import enum
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring_ascii as _quoted
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs

from ..core.events import ADDED, EVENTS, Event, Opened
from ..core.machine import evolve
from ..core.models import Deadlines, State
from ..core.payout import Payout, open_payout
from ..core.responses import Status
from ..errors import JournalDamaged

__all__ = [
    "Entry",
    "Found",
    "Record",
    "Written",
    "erase_secrets",
    "fold_events",
    "fold_on",
    "make_entry",
    "read_event",
    "read_found",
    "read_sealed",
    "seal_event",
    "write_event",
]


def write_event(event: Event) -> str:
    """Write an event's fields as JSON, keys sorted.

    Raises:
        ValueError: A field holds what its type does not allow; the message names the field.
    """
    kind: type = type(event)
    plain = _codec(kind).write(kind.__name__, event)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_event(name: str, text: str) -> Event:
    """Read an event back from its name and its JSON.

    Raises:
        ValueError: The name is unknown, or a field is unknown, missing or not of its type; the
            message names the field and never its value.
    """
    kind: type | None = EVENTS.get(name)
    if kind is None:
        raise ValueError("there is no event of this name")
    problem = f"{name}: this is not JSON"
    try:
        plain, end = _JSON.raw_decode(text)  # nothing stands around it
    except _Repeated:
        problem = f"{name}: a field stands there twice"
    except (ValueError, RecursionError):
        pass
    else:
        if end == len(text):
            event: Event = _codec(kind).read(name, plain)
            return event
    raise ValueError(problem)  # out here, since json's own error holds the text


def read_sealed(
    key: bytes, client_orderid: str, sequence: int, name: object, data: object, seal: object
) -> Event:
    """Read an event back from its record, if the record is as it was sealed.

    Raises:
        ValueError: It is not, or it cannot be read; the message never holds a value.
    """
    # One changed bit makes a text a blob.
    if (
        isinstance(name, str)
        and isinstance(data, str)
        and seal == seal_event(key, client_orderid, sequence, name, data)
    ):
        return read_event(name, data)
    raise ValueError("it is not as it was written")


def erase_secrets(event: Event) -> Event | None:
    """Empty the fields that are erased once the payout is final; None when there are none."""
    if not event.secret:
        return None
    emptied: dict[str, Any] = dict.fromkeys(event.secret, "")
    return attrs.evolve(event, **emptied)


def seal_event(key: bytes, client_orderid: str, sequence: int, name: str, text: str) -> bytes:
    """Seal a record: 16 bytes that nobody can make for another record without the journal's key.

    With it one changed byte in a stored amount or order id is seen, where JSON would still be JSON.
    """
    # Byte for byte what json.dumps makes of a list of them, which makes an encoder each time.
    record = f"[{_quoted(client_orderid)}, {sequence}, {_quoted(name)}, {_quoted(text)}]".encode()
    return hashlib.blake2b(record, digest_size=16, key=key, person=b"billblend event").digest()


def fold_events(
    client_orderid: str, events: Sequence[Event], *, lacks_secrets: bool = False
) -> Payout:
    """Fold a payout from all of its events.

    Args:
        client_orderid: The payout.
        events: The events.
        lacks_secrets: Whether its links were left where they are, by somebody who only looks.

    Raises:
        ValueError: They cannot be the events of this payout; the message says why.
    """
    first, *later = events or (None,)
    if not isinstance(first, Opened):
        raise ValueError("its first event is not Opened")  # noqa: TRY004 - wrong data, no wrong type
    if first.client_orderid != client_orderid:
        raise ValueError("its first event belongs to another payout")
    payout, erased = fold_on(open_payout(first), later)
    if erased and not (lacks_secrets or payout.state.is_terminal):
        raise ValueError("a secret was erased before the payout was final")
    return payout


def fold_on(payout: Payout, events: Sequence[Event]) -> tuple[Payout, bool]:
    """Fold the events that follow into a payout; tell also whether one had its secret erased.

    Raises:
        ValueError: One of them changes nothing, which no journal would have written.
    """
    erased = False
    for sequence, event in enumerate(events, payout.sequence + 1):
        becomes = evolve(payout, event)
        emptied = event == erase_secrets(event)
        if becomes is payout and emptied:
            # A second link that replaced a first looks like the first once both are erased.
            becomes = attrs.evolve(payout, sequence=sequence)
        if becomes.sequence != sequence:
            raise ValueError(f"event {sequence} ({type(event).__name__}) changes nothing")
        payout, erased = becomes, erased or emptied
    return payout, erased


class _Repeated(ValueError):
    """A JSON object has the same key twice."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise _Repeated
    return plain


def _refuse_constant(_constant: str) -> object:
    raise ValueError("NaN and Infinity are no JSON")


_JSON: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
"""Made once: json.loads would make one for each text, which takes longer than reading it."""


@attrs.frozen
class _Codec:
    """How values of one type become JSON and come back; both take the field's name for errors."""

    write: Callable[[str, Any], object]
    read: Callable[[str, object], Any]


def _wrong(name: str, right: str) -> ValueError:
    return ValueError(f"{name}: must be {right}")


@functools.cache
def _codec(kind: Any) -> _Codec:  # noqa: ANN401 - an annotation: a class or a union
    """Find the codec for an annotation."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if get_origin(kind) is UnionType:
        return _optional(kind)
    if get_origin(kind) is tuple:
        return _series(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enumeration(kind)
    if isinstance(kind, type) and attrs.has(kind):
        return _object(kind)
    raise TypeError(f"a journal cannot hold {kind}")


def _object(kind: type) -> _Codec:
    hints = get_type_hints(kind)
    codecs = {field.name: _codec(hints[field.name]) for field in attrs.fields(kind)}
    silent = {
        field.name: field.default
        for field in attrs.fields(kind)
        if ADDED.items() <= field.metadata.items()
    }
    needed = {field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    # Nearly all payouts of a journal have the same deadlines.
    make = functools.lru_cache(maxsize=64)(kind) if kind is Deadlines else kind

    @functools.cache  # there are as many names as kinds of events, and thousands of each
    def paths(name: str) -> list[tuple[str, str, Callable[[str, object], Any]]]:
        return [(field, f"{name}.{field}", codec.read) for field, codec in codecs.items()]

    def write(name: str, value: object) -> dict[str, object]:
        if type(value) is not kind:
            raise _wrong(name, kind.__name__)
        plain = {
            field: codec.write(f"{name}.{field}", getattr(value, field))
            for field, codec in codecs.items()
        }
        for field, default in silent.items():
            if getattr(value, field) == default:
                del plain[field]
        return plain

    def read(name: str, plain: object) -> object:
        if not isinstance(plain, dict):
            raise _wrong(name, "an object")
        told = paths(name)
        # A later release may add a field with a default that makes old events mean what they did.
        if plain.keys() != codecs.keys():
            if missing := needed - plain.keys():
                raise ValueError(f"{name}.{min(missing)}: is missing")
            if unknown := plain.keys() - codecs.keys():
                raise ValueError(f"{name}.{min(unknown)}: is unknown")
            told = [each for each in told if each[0] in plain]
        return make(**{field: read(path, plain[field]) for field, path, read in told})

    return _Codec(write, read)


def _optional(kind: object) -> _Codec:
    inner, nothing = get_args(kind)
    if nothing is not NoneType:
        raise TypeError(f"a journal cannot hold {kind}")
    codec = _codec(inner)
    return _Codec(
        lambda name, value: None if value is None else codec.write(name, value),
        lambda name, plain: None if plain is None else codec.read(name, plain),
    )


def _series(kind: object) -> _Codec:
    """Make a codec for any number of values of one type."""
    inner, rest = get_args(kind)
    if rest is not Ellipsis:
        raise TypeError(f"a journal cannot hold {kind}")
    codec = _codec(inner)

    def write(name: str, values: object) -> object:
        if not isinstance(values, tuple):
            raise _wrong(name, "a tuple")
        return [codec.write(name, value) for value in values]

    def read(name: str, plain: object) -> object:
        if not isinstance(plain, list):
            raise _wrong(name, "a list")
        return tuple(codec.read(name, value) for value in plain)

    return _Codec(write, read)


def _enumeration(kind: type[enum.Enum]) -> _Codec:
    members = {member.value: member for member in kind}

    def write(name: str, value: object) -> object:
        if not isinstance(value, kind):
            raise _wrong(name, kind.__name__)
        return value.value

    def read(name: str, plain: object) -> enum.Enum:
        if not isinstance(plain, str) or plain not in members:
            raise _wrong(name, f"a word of {kind.__name__}")
        return members[plain]

    return _Codec(write, read)


def _write_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "text")
    return str(value)


def _read_text(name: str, plain: object) -> str:
    if not isinstance(plain, str):
        raise _wrong(name, "text")
    return plain


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false")
    return value


def _whole(name: str, value: object) -> int:
    if type(value) is not int:
        raise _wrong(name, "a whole number")
    return value


def _float(name: str, value: object) -> float:
    """Take a finite number; a whole one comes from a caller who wrote 60 for 60.0."""
    if type(value) is float and math.isfinite(value):
        return value  # nearly all are, and each event has one
    if isinstance(value, float | int) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise _wrong(name, "a finite number")


def _write_decimal(name: str, value: object) -> str:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise _wrong(name, "a finite Decimal")
    return str(value)


def _read_decimal(name: str, plain: object) -> Decimal:
    """Take a number only in the one way that it is written."""
    try:
        value = Decimal(plain) if isinstance(plain, str) else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite() or str(value) != plain:
        raise _wrong(name, "a decimal number in a string")
    return value


def _write_status(name: str, value: object) -> str:
    if not isinstance(value, Status):
        raise _wrong(name, "Status")
    return value.raw


def _read_status(name: str, plain: object) -> Status:
    return Status(_read_text(name, plain))


_SCALARS: Final[Mapping[object, _Codec]] = {
    str: _Codec(_write_text, _read_text),
    bool: _Codec(_truth, _truth),
    int: _Codec(_whole, _whole),
    float: _Codec(_float, _float),
    Decimal: _Codec(_write_decimal, _read_decimal),
    Status: _Codec(_write_status, _read_status),
}


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
