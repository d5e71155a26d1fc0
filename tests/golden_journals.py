"""Write the golden journal of this release: ``PYTHONPATH=. python tests/golden_journals.py``.

Run it once for each release, right before its tag, and commit what it writes into
``tests/golden/<version>/``; what an earlier release has written is never written again. Every later
release replays all of them (``test_golden.py``). The folder holds

- ``payouts.sqlite`` and ``payouts.sqlite.key``: a journal with a payout in every state, with every
  kind of event, every doubt and every alarm, in both flows, as ``SqliteJournal`` has written it
  (not ``.db``, which git is told to pass over);
- ``payouts.json``: whose it is, and for each payout its events as they were handed in, and all that
  this release makes of them.

Keys and instants are fixed, so it writes the same bytes each time with the same SQLite.
"""

import asyncio
import enum
import json
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs
from payouts import DOUBT_PATHS, LINK, ONE_STEP_PATHS, ORDER, PATHS, START, finished, opened

from billblend_async import __version__
from billblend_async.core.events import (
    EVENTS,
    Acknowledged,
    Approved,
    CalledBack,
    Checked,
    CheckNotSent,
    CheckRefused,
    CheckStarted,
    Event,
    NotSeen,
    PayAccepted,
    PayNotSent,
    PayRefused,
    PayStarted,
    RedirectCleared,
    RedirectRequired,
    Rejected,
    Released,
    Restored,
    TurnedAway,
    Validated,
)
from billblend_async.core.machine import (
    MOST_CHECKS,
    NOT_SEEN_FOR,
    NOT_SEEN_TIMES,
    Payout,
    evolve,
    next_command,
)
from billblend_async.core.models import Alarm, Deadlines, Doubt, Flow, State
from billblend_async.core.payout import outcome
from billblend_async.core.responses import Status
from billblend_async.journal import Owner
from billblend_async.journal.codec import write_event
from billblend_async.journal.sqlite import SqliteJournal

GOLDEN: Final = Path(__file__).with_name("golden")
JOURNAL: Final = "payouts.sqlite"
RECORD: Final = "payouts.json"
OWNER: Final = Owner(
    base_url="https://sandbox.billblend.com/checkout", login="m1", endpoint="39915"
)

_PAID: Final = PATHS[State.AWAITING_FINAL]
_REFUSED: Final = (
    PayStarted(at=START + 1),
    PayRefused(at=START + 2, error_code="8", error_message="No such receiver"),
)


def _denials(begin: float) -> tuple[Event, ...]:
    last = NOT_SEEN_TIMES - 1
    return tuple(NotSeen(at=begin + n * NOT_SEEN_FOR / last) for n in range(NOT_SEEN_TIMES))


def _spent_checks() -> tuple[Event, ...]:
    rounds = ((CheckStarted(at=START + 100 * n), *_denials(START + 100 * n)) for n in range(9))
    return tuple(event for _, events in zip(range(MOST_CHECKS), rounds) for event in events)  # noqa: B905 - the first few


def lives() -> Mapping[str, tuple[Event, ...]]:
    """Give the events of every payout by its id, the first one included."""
    held = PATHS[State.VALIDATED]
    told = {
        **{f"state-{state.value}": PATHS[state] for state in PATHS},
        **{f"doubt-{doubt.value}": DOUBT_PATHS[doubt] for doubt in DOUBT_PATHS},
        "doubt-checks-spent": _spent_checks(),
        "check-not-sent": (CheckStarted(at=START + 1), CheckNotSent(at=START + 2)),
        "turned-away": (
            CheckStarted(at=START + 1),
            TurnedAway(at=START + 2, error_code="5", error_message="Merchant not found"),
        ),
        "check-refused": (
            CheckStarted(at=START + 1),
            CheckRefused(at=START + 2, error_code="8", error_message="No such receiver"),
        ),
        "check-refused-and-rejected": (
            CheckStarted(at=START + 1),
            CheckRefused(at=START + 2, error_code="8", error_message="No such receiver"),
            Rejected(at=START + 5, error_code="8", error_message="No such receiver"),
        ),
        "check-refused-and-found": (
            CheckStarted(at=START + 1),
            CheckRefused(at=START + 2, error_code="8"),
            Checked(at=START + 5, paynet_order_id=ORDER),
        ),
        "restored-and-released": (
            *DOUBT_PATHS[Doubt.CHECK_UNCONFIRMED],
            Restored(at=START + 1000),
            Released(at=START + 1100, who="ann", why="no such order"),
        ),
        "check-vanished": (CheckStarted(at=START + 1), *_denials(START + 2)),
        "pay-not-sent": (*PATHS[State.PAYING], PayNotSent(at=START + 12)),
        "released": (
            *PATHS[State.ATTENTION],
            Released(at=START + 1000.5, who="Ann Ämter", why='asked: "no", twice\n'),
        ),
        "released-and-paid": (
            *PATHS[State.ATTENTION],
            Released(at=START + 1000, who="ann", why="never arrived"),
            Validated(at=START + 1001),
            PayStarted(at=START + 1002),
            PayAccepted(at=START + 1003, paynet_order_id=ORDER),
            finished(at=START + 1004, order_stage="payout_approved"),
        ),
        "restored-new": (Restored(at=START + 5),),
        "link-cleared": (*PATHS[State.AWAITING_RECEIVER], RedirectCleared(at=START + 14)),
        "link-erased": (*PATHS[State.AWAITING_RECEIVER], finished(at=START + 15)),
        "links-erased": (
            *PATHS[State.AWAITING_RECEIVER],
            RedirectRequired(at=START + 14, redirect_to=f"{LINK}?second"),
            finished("declined", at=START + 15, error_code="20001", error_message="Declined"),
        ),
        "status-error": (*_PAID, finished("Error", error_code="20002", error_message="****4242")),
        "status-filtered": (*_PAID, finished("FILTERED", amount=None, currency=None)),
        "alarm-status-contradicts": (*_PAID, finished(), finished("declined", at=START + 40)),
        "alarm-approved-before-pay": (*PATHS[State.VALIDATING], finished()),
        "alarm-amount-differs": (*_PAID, finished(amount=Decimal("9.99"), currency="EUR")),
        "alarm-accepted-late": (
            *PATHS[State.CLOSED],
            PayAccepted(at=START + 200, paynet_order_id=ORDER),
        ),
        "alarm-later-transaction": (
            *_PAID,
            finished(),
            finished(at=START + 40, transaction_type="chargeback"),
        ),
        "called-back": (
            *PATHS[State.AWAITING_RECEIVER],
            CalledBack(at=START + 14, status=Status("Unknown")),
            CalledBack(at=START + 15, status=Status("approved")),
            finished(at=START + 16, transaction_type="payout"),
        ),
        "acknowledged": (
            *_PAID,
            finished(amount=Decimal("9.99"), currency="EUR"),
            finished(at=START + 40, transaction_type="chargeback", amount=Decimal("1.50")),
            Acknowledged(
                at=START + 1000.5,
                who="Ann Ämter",
                why='"booked", twice\n',
                findings=(6,),
                error=False,
            ),
        ),
        "acknowledged-and-again": (
            *_PAID,
            finished("error", error_code="20002"),
            Acknowledged(at=START + 1000, who="ann", why="no money moved", findings=(), error=True),
            finished(at=START + 2000),
            finished(at=START + 3000, transaction_type="reversal", amount=Decimal("5.00")),
            finished(at=START + 3001, transaction_type="reversal", amount=Decimal("0.10")),
            finished("declined", at=START + 3002),
        ),
        "alarm-second-order": (*_PAID, Checked(at=START + 16, paynet_order_id="999")),
        "выплата-№1 / 支払い 😀": PATHS[State.VALIDATING],
    }
    first: dict[str, dict[str, Any]] = {
        "state-new": {
            "amount": Decimal("10.4200"),
            "receiver_hint": None,
            "deadlines": Deadlines(sending=60, validation=1.5, receiver=86400, final=7.25, doubt=1),
        },
        "state-validating": {"amount": Decimal(500), "currency": "JPY"},
    }
    return {
        **{name: (opened(name, **first.get(name, {})), *later) for name, later in told.items()},
        **{
            f"one-step-{state.value}": (
                opened(f"one-step-{state.value}", flow=Flow.ONE_STEP),
                *ONE_STEP_PATHS[state],
            )
            for state in ONE_STEP_PATHS
        },
        "one-step-refused": (opened("one-step-refused", flow=Flow.ONE_STEP), *_REFUSED),
        "one-step-refused-for-settings": (
            opened("one-step-refused-for-settings", flow=Flow.ONE_STEP),
            PayStarted(at=START + 1),
            PayRefused(at=START + 2, error_code="5", about_settings=True),
            *_denials(START + 3),
        ),
        "one-step-rejected": (
            opened("one-step-rejected", flow=Flow.ONE_STEP),
            *_REFUSED,
            *_denials(START + 3),
        ),
        "held": (opened("held", held=True), *held),
        "held-and-approved": (
            opened("held-and-approved", held=True),
            *held,
            Approved(at=START + 50, who="ann"),
        ),
    }


def plain(value: object) -> Any:
    """Turn a value into what JSON can hold."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    kind: type = type(value)
    if attrs.has(kind):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    if value is None or isinstance(value, bool | int | float):
        return value
    assert isinstance(value, str)
    return str(value)


def told(payout: Payout) -> dict[str, Any]:
    """Tell all that this release makes of a payout: its fields, its outcome, what it does next."""
    return {
        "payout": plain(payout),
        "outcome": plain(outcome(payout)),
        "commands": {
            f"{seconds:+g}": [type(command).__name__, plain(command)]
            for seconds in (1, 100_000)
            for command in [next_command(payout, payout.since + seconds)]
        },
    }


async def write(folder: Path) -> None:
    """Write the golden journal of this release into a folder that is there and empty."""
    journal = SqliteJournal(folder / JOURNAL, random_bytes=lambda count: bytes(range(7, 7 + count)))
    await journal.open(OWNER)
    record: dict[str, Any] = {}
    for name, (first, *later) in lives().items():
        payout = await journal.accept(first)  # type: ignore[arg-type] # the first one is Opened
        for event in later:
            becomes = evolve(payout, event)
            assert becomes is not payout, f"{name}: {event} is no news"
            await journal.append(becomes, event)
            payout = becomes
        loaded = await journal.load(name)
        assert loaded is not None
        history = await journal.history(name)
        events = [[type(event).__name__, write_event(event)] for event in history]
        record[name] = {"events": events, **told(loaded)}
    await journal.aclose()
    # SQLite's rollback journal is kept, empty, where one is used; it belongs to nobody.
    (folder / f"{JOURNAL}-journal").unlink(missing_ok=True)
    _check_whole(record.values())
    release = {"version": __version__, "owner": plain(OWNER), "payouts": record}
    text = json.dumps(release, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / RECORD).write_text(f"{text}\n", encoding="utf-8")


def _check_whole(record: Iterable[dict[str, Any]]) -> None:
    """See that nothing this release knows is missing."""
    payouts = [each["payout"] for each in record]
    events = {name for each in record for name, _ in each["events"]}
    assert set() == set(EVENTS) - events
    assert set(State) == {payout["state"] for payout in payouts}
    assert {None, *Doubt} == {payout["doubt"] for payout in payouts}
    assert set(Alarm) == {alarm for payout in payouts for alarm in payout["alarms"]}


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN / __version__
    target.mkdir(parents=True)
    asyncio.run(write(target))
