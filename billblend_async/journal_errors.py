"""The base of every exception, and those of the journal; take all of them from ``errors``."""

import attrs

__all__ = [
    "BillblendError",
    "ClaimLost",
    "JournalDamaged",
    "JournalError",
    "JournalMismatch",
    "JournalRolledBack",
    "JournalUnavailable",
]


class BillblendError(Exception):
    """The base of every exception that this library raises on purpose."""


def _is_database(journal: str) -> bool:
    return journal.startswith(("postgresql:", "PostgreSQL "))


class JournalError(BillblendError):
    """The journal cannot be used; as long as it cannot, nothing is sent."""


@attrs.define(eq=False)
class JournalUnavailable(JournalError):
    """It cannot be read or written right now: disk full, locked, no server, no permission.

    Attributes:
        journal: Where the journal lies.
        reason: What the storage said.
        is_reader: Whether it was only to be looked at, by somebody who sends nothing anyway.
    """

    journal: str
    reason: str
    is_reader: bool = False

    def __str__(self) -> str:
        """Say where the journal lies and what to look at."""
        does, way = ("told of it", "read") if self.is_reader else ("sent", "written")
        look = "free space, permissions and other programs that hold it"
        if _is_database(self.journal):
            look = "the server, the way to it and what this role may do"
        told = f"{self.reason}. Nothing is {does} until it can be {way}"
        return f"journal {self.journal}: {told}; look at {look}, then run again."


@attrs.define(eq=False)
class JournalMismatch(JournalError):
    """The journal belongs to another environment, login or endpoint.

    Attributes:
        journal: Where the journal lies.
        field: What differs: base_url, login, endpoint, version or fingerprint key.
        expected: What the caller is configured for.
        found: What the journal holds.
    """

    journal: str
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Name what differs."""
        return (
            f"journal {self.journal}: it holds payouts of {self.field} {self.found}, but this "
            f"program is set up for {self.expected}. Use the matching settings, or another journal."
        )


@attrs.define(eq=False)
class JournalDamaged(JournalError):
    """What the journal holds cannot be what was written.

    Attributes:
        journal: Where the journal lies.
        reason: What does not fit.
    """

    journal: str
    reason: str

    def __str__(self) -> str:
        """Say what does not fit and what to do."""
        what = "schema" if _is_database(self.journal) else "file"
        return (
            f"journal {self.journal}: {self.reason}. Nothing is sent from it. Keep this {what} as "
            "it is, restore the newest sound copy, and compare with the gateway before paying."
        )


@attrs.define(eq=False)
class JournalRolledBack(JournalDamaged):
    """The journal holds less than this program has written or read: an older copy took its place.

    Attributes:
        journal: Where the journal lies.
        reason: What is missing.
        is_marked: Whether what lies there now was marked as restored, so that every payout is asked
            about before anything is sent for it, whichever program opens it next.
    """

    is_marked: bool

    def __str__(self) -> str:
        """Say what is missing, whether that is on record, and what to do."""
        if self.is_marked:
            what = (
                "It is marked as restored: every payout is asked about before anything is sent for "
                "it, until billblend journal complete ends that. If there is a newer copy, put it "
                "in its place first and declare that: billblend journal restored --journal ..."
            )
        else:
            what = (
                "It could not be marked as restored. Put the newest copy in its place, and declare "
                "it before anything runs from it: billblend journal restored --journal ..."
            )
        return (
            f"journal {self.journal}: {self.reason}, as after an older copy was put in its place, "
            "or a standby without the last commits has taken over. Nothing is sent from it. Stop "
            f"every program that uses it. {what}"
        )


@attrs.define(eq=False)
class ClaimLost(JournalError):
    """Somebody else wrote this step of the payout first; nothing was sent for the loser.

    Attributes:
        client_orderid: The payout.
        sequence: The place in its log that was taken.
    """

    client_orderid: str
    sequence: int

    def __str__(self) -> str:
        """Name the payout and the place."""
        return (
            f"payout {self.client_orderid}: step {self.sequence} is not to be taken any more, "
            "since the payout has moved on or too long ago; read it again and go on from there."
        )
