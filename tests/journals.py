"""Journals that are there already: thousands of payouts, written in one go."""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs
from journal_cases import OWNER
from payouts import DOUBT_PATHS, ORDER, PATHS, START, finished, opened

from billblend_async.core.events import (
    Checked,
    CheckStarted,
    Event,
    Opened,
    PayAccepted,
    PayStarted,
    Rejected,
    Validated,
)
from billblend_async.core.models import State
from billblend_async.journal.codec import erase_secrets, fold_events, seal_event, write_event
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.journal.sqlite_database import Database

Life = tuple[Opened, tuple[Event, ...]]

HOSTILE: Final = "</script><script>alert(1)</script>'\"&amp;\x1b[31m\u202e=1+1"
REFUSALS: Final = (
    ("2001", "Insufficient funds on the merchant's balance"),
    ("16", "The receiver's account is closed"),
    ("8", HOSTILE),
)
_EVENT: Final = (
    "INSERT INTO events (client_orderid, sequence, name, data, seal) VALUES (?, ?, ?, ?, ?)"
)
_SECRET: Final = "INSERT INTO secrets (client_orderid, sequence, data, seal) VALUES (?, ?, ?, ?)"
_LIST: Final = "INSERT INTO payouts (client_orderid, state, sequence) VALUES (?, ?, ?)"


def mixed(count: int) -> Iterator[Life]:
    """Make payouts as a payday brings them: most approved, and some of everything else."""
    chance = random.Random(6)
    odd = [PATHS[state] for state in State] + list(DOUBT_PATHS.values())
    for number in range(count):
        begin = START + number * 0.05
        first = opened(
            f"payday-2027-01-{number:05}",
            at=begin,
            amount=Decimal(chance.randint(100, 500_000)) / 100,
            currency=("EUR", "USD", "GBP")[number % 3],
        )
        if number % 40 == 7:
            yield first, later(odd[number // 40 % len(odd)], begin - START)
        elif number % 25 == 3:
            code, text = REFUSALS[number % 3]
            steps = (CheckStarted(at=begin + 1),)
            yield first, (*steps, Rejected(at=begin + 2, error_code=code, error_message=text))
        else:
            yield first, smooth(first, chance.lognormvariate(3, 0.5), number)


def smooth(first: Opened, seconds: float, number: int = 0) -> tuple[Event, ...]:
    """Lead a payout straight to its end."""
    begin, order = first.at, str(6_982_864 + number)
    status = "declined" if number % 30 == 11 else "approved"
    code, text = REFUSALS[number % 3] if status == "declined" else (None, None)
    return (
        CheckStarted(at=begin + 0.5),
        Checked(at=begin + 1, paynet_order_id=order),
        Validated(at=begin + 5),
        PayStarted(at=begin + 5.1),
        PayAccepted(at=begin + 5.4, paynet_order_id=order),
        finished(
            status,
            at=begin + 6 + seconds,
            paynet_order_id=order,
            amount=first.amount,
            currency=first.currency,
            order_stage="payout_approved" if status == "approved" else "payout_declined",
            error_code=code,
            error_message=text,
        ),
    )


def later(events: Iterable[Event], seconds: float) -> tuple[Event, ...]:
    """Let the same happen later."""
    return tuple(attrs.evolve(event, at=event.at + seconds) for event in events)


def write_journal(path: Path, lives: Iterable[Life]) -> None:
    """Add payouts to a journal, made if it is not there, in one transaction."""

    async def write() -> None:
        journal = SqliteJournal(path)
        await journal.open(OWNER)
        await journal._do(lambda database: _insert(database, list(lives)), writes=True)
        await journal.aclose()

    asyncio.run(write())


def _insert(database: Database, lives: Sequence[Life]) -> None:
    for first, events in lives:
        name = first.client_orderid
        payout = fold_events(name, [first, *events])
        for sequence, event in enumerate((first, *events)):
            kind, secret = type(event).__name__, write_event(event)
            erased = erase_secrets(event)
            text = secret if erased is None else write_event(erased)
            seal = seal_event(database.key, name, sequence, kind, text)
            database.execute(_EVENT, (name, sequence, kind, text, seal))
            if erased is not None and not payout.state.is_terminal:
                seal = seal_event(database.key, name, sequence, kind, secret)
                database.execute(_SECRET, (name, sequence, secret, seal))
        database.execute(_LIST, (name, payout.state.value, payout.sequence))


__all__ = ["HOSTILE", "ORDER", "REFUSALS", "Life", "later", "mixed", "smooth", "write_journal"]
