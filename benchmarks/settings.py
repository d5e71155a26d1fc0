"""What a contestant is told, and what it tells: both travel between processes as JSON."""

import json
from pathlib import Path
from typing import Literal, Self

import attrs

from .spread import Spread
from .store import Store

__all__ = ["Gap", "Loop", "Sample", "Score", "Settings", "Transport"]

Loop = Literal["asyncio", "uvloop"]
Transport = Literal["httpx", "aiohttp", "pyreqwest"]


@attrs.frozen
class Gap:
    """Seconds from an answer to the next question, spread evenly between two bounds."""

    shortest: float
    longest: float

    def choose(self, chance: float) -> float:
        """Choose one by a number from 0 to 1."""
        return self.shortest + chance * (self.longest - self.shortest)


@attrs.frozen(kw_only=True)
class Settings:
    """What a contestant has to do, and how.

    Attributes:
        base_url: Where the gateway is.
        ca: The PEM file of the authority to trust; None for http.
        key: The PEM file of the merchant's private key.
        folder: Where files may be written.
        payouts: How many are begun at once.
        shortest: Seconds of the shortest gap between an answer and the next question.
        longest: Seconds of the longest one.
        patience: Seconds that all payouts may take; then it tells how far it came.
        core: The core that it keeps to; None for any.
        status_version: 2 (SHA-1 control) or 4 (RSA signature).
        transport: What sends our status questions.
        loop: Whose event loop runs an asynchronous contestant.
        is_durable: Whether our journal is kept.
        database: The URL of the PostgreSQL database that keeps it; empty for a file.
        tells_due: Whether each poll tells when it was due.
        measures_lag: Whether the event loop's lag is measured.
        weighs_store: Whether it is told what has come to the journal's store.
    """

    base_url: str
    ca: str | None
    key: str
    folder: str
    payouts: int = 3
    shortest: float = 0.8
    longest: float = 1.2
    patience: float = 60.0
    core: int | None = None
    status_version: Literal[2, 4] = 2
    transport: Transport = "httpx"
    loop: Loop = "asyncio"
    is_durable: bool = True
    database: str = ""
    tells_due: bool = False
    measures_lag: bool = False
    weighs_store: bool = False
    login: str = "merchant"
    merchant_control: str = "8C2F9A51-4A1E-4B6D-9F62-0C6B1D2E3F40"

    @property
    def gap(self) -> Gap:
        """The gap between an answer and the next question."""
        return Gap(self.shortest, self.longest)

    @property
    def store(self) -> Path | str:
        """Where our journal is kept: its file, or the URL of its database."""
        return self.database or Path(self.folder) / "ours.db"

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it."""
        return cls(**json.loads(text))


@attrs.frozen(kw_only=True)
class Sample:
    """How a contestant stands while it runs, since its warm-up.

    Attributes:
        cpu: CPU seconds of the process, user and system, all threads.
        wall: Seconds that have passed.
        resident: Bytes of memory that are resident now.
    """

    cpu: float
    wall: float
    resident: int


@attrs.frozen(kw_only=True)
class Score:
    """How a contestant has done, since its warm-up.

    Attributes:
        payouts: How many it was given.
        done: How many were approved within its patience.
        cpu: CPU seconds of the process, user and system, all threads.
        wall: Seconds that it took.
        peak: Bytes of memory that were resident at most.
        errors: What went wrong on the way, by the class of the exception.
        lag: Seconds by which the event loop was late, if that was measured.
        store: What has come to the journal's store, if that was weighed.
        others: Seconds for which its core worked for others; 0 where it keeps to none.
    """

    payouts: int
    done: int
    cpu: float
    wall: float
    peak: int
    errors: dict[str, int]
    lag: Spread | None
    store: Store | None
    others: float

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it."""
        told = json.loads(text)
        lag, store = told.pop("lag"), told.pop("store")
        return cls(
            **told,
            lag=None if lag is None else Spread(**lag),
            store=None if store is None else Store(**store),
        )
