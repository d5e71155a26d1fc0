"""The picture of a run at one moment: what its payouts have come to, and where they are."""

import enum
from collections.abc import Mapping
from decimal import Decimal

import attrs

__all__ = ["Case", "Group", "Phase", "Snapshot"]


class Group(enum.StrEnum):
    """What a payout has come to, as far as this run is concerned."""

    APPROVED = "approved"
    WAITING = "waiting"
    REFUSED = "refused"
    """Declined, filtered, rejected, or ended by a person."""
    NEEDS_PERSON = "needs-person"
    """In attention, with an alarm, or ended in the status error: money may have moved."""
    AWAITING_APPROVAL = "awaiting-approval"
    UNFINISHED = "unfinished"
    """Handed back by this run; another one goes on with it."""


class Phase(enum.StrEnum):
    """Where on its way a payout is."""

    CHECK = "check"
    BANK = "bank"
    PAY = "pay"
    FINAL = "final"
    RECEIVER = "receiver"
    PERSON = "person"


@attrs.frozen
class Case:
    """A payout that did not go well.

    Attributes:
        client_orderid: The payout.
        text: What happened and what to do, in one line without control characters.
    """

    client_orderid: str
    text: str


@attrs.frozen(kw_only=True)
class Snapshot:
    """Where all payouts of a run stand at one moment.

    Attributes:
        seconds: Since the run began.
        total: How many payouts it is about.
        currencies: Their currencies, the most frequent first.
        counts: How many are in each group.
        amounts: What those sum to, by currency, in major units.
        phases: The phases of this kind of run, in their order.
        now: How many are in each phase.
        through: How many are through each phase that one gets through.
        receivers: How many wait for their receivers.
        finished: How many have come to their end in this run.
        per_second: How many do in a second, lately; None as long as that cannot be told.
        seconds_left: When the rest will have, as fast as they go through the phases lately; None
            as long as that cannot be told. Nobody knows how long receivers take, so they are left
            out.
        cases: The latest that did not go well, those that need a person first, newest first.
        news: Those that need a person and were not in the snapshot before.
        trouble: Why nothing goes on; None while all is well.
        trouble_seconds: For how long that has been so.
        under_way: Requests whose answers are waited for.
        is_stopping: Whether the run is ending early.
        in_doubt: How many were claimed, by this run or an earlier one, and nobody knows whether
            anything took effect.
        doubt_until: When the last of those comes to need a person, in seconds since the epoch.
        at: When this was, in seconds since the epoch.
        journal: The journal, as the user has named it.
    """

    seconds: float
    total: int
    currencies: tuple[str, ...]
    counts: Mapping[Group, int]
    amounts: Mapping[Group, Mapping[str, Decimal]]
    phases: tuple[Phase, ...]
    now: Mapping[Phase, int]
    through: Mapping[Phase, int]
    receivers: int
    finished: int
    per_second: float | None
    seconds_left: float | None
    cases: tuple[Case, ...]
    news: tuple[Case, ...]
    trouble: str | None = None
    trouble_seconds: float = 0.0
    under_way: int = 0
    is_stopping: bool = False
    in_doubt: int = 0
    doubt_until: float | None = None
    at: float = 0.0
    journal: str = ""

    @property
    def over(self) -> int:
        """How many this run has nothing more to do for."""
        return self.total - self.counts[Group.WAITING]
