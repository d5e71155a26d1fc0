"""Every exception of the library.

The tree::

    BillblendError
    ├── InvalidInput            the caller's values are wrong; nothing was sent
    ├── ConfigurationError      a setting, key or endpoint is wrong; nothing was sent
    ├── PayoutConflict          the client_orderid is taken by another payout; nothing was sent
    ├── PayoutNotFound          the journal knows no such payout
    ├── SendingStopped          the gateway takes nothing now; this payout was not accepted
    ├── RequestNeeded           the payout must be handed in again to go on; nothing was sent
    ├── DeliverAgain            a callback cannot be taken in yet; the gateway sends it again
    ├── EventsMissed            a listener was too slow; read where the payouts stand
    ├── DecisionRefused         a person's decision does not fit where the payout stands
    ├── ClosedError             the client, orchestrator or journal is closed
    ├── UnreadableAnswer        bytes from the gateway that are no answer of its protocol
    ├── SigningFailed           the signer could not sign; nothing was sent
    ├── VerificationFailed      a signature or control does not verify
    └── JournalError            the journal cannot be used
        ├── JournalUnavailable  it cannot be read or written right now
        ├── JournalMismatch     it belongs to another environment, login or endpoint
        ├── JournalDamaged      what it holds cannot be what was written
        │   └── JournalRolledBack  it holds less than this program has written or read
        └── ClaimLost           somebody else wrote this step first

All fields are flat values: no HTTP object, no request body and no secret is ever attached, and
every exception can be pickled. The message names what failed and what to do next.
"""

import attrs

__all__ = [
    "BillblendError",
    "ClaimLost",
    "ClosedError",
    "ConfigurationError",
    "DecisionRefused",
    "DeliverAgain",
    "EventsMissed",
    "InvalidInput",
    "JournalDamaged",
    "JournalError",
    "JournalMismatch",
    "JournalRolledBack",
    "JournalUnavailable",
    "PayoutConflict",
    "PayoutNotFound",
    "Problem",
    "RequestNeeded",
    "SendingStopped",
    "SigningFailed",
    "UnreadableAnswer",
    "VerificationFailed",
]


@attrs.frozen
class Problem:
    """One thing wrong with one field.

    Attributes:
        field: The parameter's name as the gateway documents it.
        message: What is wrong and what is right, without the value.
    """

    field: str
    message: str

    def __str__(self) -> str:
        """Read as "amount: must be a Decimal"."""
        return f"{self.field}: {self.message}"


class BillblendError(Exception):
    """The base of every exception that this library raises on purpose."""


@attrs.define(eq=False)
class InvalidInput(BillblendError):
    """The caller's values are wrong; nothing was sent.

    Attributes:
        problems: All that is wrong, field by field, never with a value.
    """

    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        """List every problem, since they are best mended together."""
        return "; ".join(map(str, self.problems))


@attrs.define(eq=False)
class ConfigurationError(BillblendError):
    """A setting, a key or an endpoint is wrong; nothing was sent.

    Attributes:
        message: What is wrong and how to mend it.
    """

    message: str

    def __str__(self) -> str:
        """Say what is wrong and how to mend it."""
        return self.message


@attrs.define(eq=False)
class PayoutConflict(BillblendError):
    """The client_orderid is taken by a payout with other contents; nothing was sent.

    Attributes:
        client_orderid: The id in question.
        differs: Names of what differs: amount, currency, receiver or flow; or pay, when it is the
            same payout and was handed in to be paid without approval.
    """

    client_orderid: str
    differs: tuple[str, ...]

    def __str__(self) -> str:
        """Name the payout and what differs."""
        if self.differs == ("pay",):
            wrong = "it was handed in to be paid, so it cannot be only checked now"
            return f"payout {self.client_orderid}: {wrong}; withdraw it if pay was not sent yet."
        return (
            f"payout {self.client_orderid}: the journal already holds this client_orderid with "
            f"another {' and '.join(self.differs)}; nothing was sent. "
            "Use a new client_orderid for a new payout."
        )


@attrs.define(eq=False)
class PayoutNotFound(BillblendError):
    """The journal knows no payout with this client_orderid.

    Attributes:
        client_orderid: The id that was asked for.
    """

    client_orderid: str

    def __str__(self) -> str:
        """Name the payout."""
        return (
            f"payout {self.client_orderid}: the journal knows no such payout. "
            "Check the id and that this is the journal it was accepted into."
        )


@attrs.define(eq=False)
class RequestNeeded(BillblendError):
    """The payout was accepted and never checked, so the receiver's data must be handed in again.

    Attributes:
        client_orderid: The payout.
    """

    client_orderid: str

    def __str__(self) -> str:
        """Name the payout and what to hand in."""
        return (
            f"payout {self.client_orderid}: it was accepted but never sent, and the journal keeps "
            "no receiver data; run the same PayoutRequest again."
        )


@attrs.define(eq=False)
class SendingStopped(BillblendError):
    """The gateway refuses us or has not answered for long; the payout was not even accepted.

    Attributes:
        reason: What is wrong, and what to do about it.
        is_setting: Whether a setting must be mended, rather than an outage waited out.
    """

    reason: str
    is_setting: bool

    def __str__(self) -> str:
        """Say what is wrong and what to do."""
        return f"sending has stopped: {self.reason}. Hand the payout in again afterwards."


@attrs.define(eq=False)
class DecisionRefused(BillblendError):
    """A person's decision does not fit where the payout stands; nothing was changed.

    Attributes:
        client_orderid: The payout.
        decision: approved, released, closed, withdrawn or acknowledged.
        state: Where the payout stands.
        reason: Why it does not fit, and what to do.
        again_at: When it will fit by waiting alone, in seconds since the epoch; None if never.
    """

    client_orderid: str
    decision: str
    state: str
    reason: str = "see where it stands"
    again_at: float | None = None

    def __str__(self) -> str:
        """Name the payout, the decision, where it stands, and why that does not fit."""
        stands = f"it stands at {self.state} and cannot be {self.decision}"
        return f"payout {self.client_orderid}: {stands}: {self.reason}."


@attrs.define(eq=False)
class DeliverAgain(BillblendError):
    """A callback cannot be taken in yet; answered 503, the gateway sends it again later.

    Attributes:
        client_orderid: The payout.
        reason: What it waits for.
    """

    client_orderid: str
    reason: str

    def __str__(self) -> str:
        """Name the payout and what the callback waits for."""
        cause = f"the callback cannot be taken in yet, since {self.reason}"
        return f"payout {self.client_orderid}: {cause}; answer 503, and the gateway sends it again."


@attrs.define(eq=False)
class EventsMissed(BillblendError):
    """A listener was so slow that it has missed notices; the payouts themselves go on.

    Attributes:
        waiting: How many notices waited for it.
    """

    waiting: int

    def __str__(self) -> str:
        """Say what to do."""
        cause = f"{self.waiting} notices waited for this listener, so it was let go"
        return f"{cause}; read where the payouts stand with status(), then listen with events()."


@attrs.define(eq=False)
class ClosedError(BillblendError):
    """The client, orchestrator or journal is not open.

    Attributes:
        what: The thing that is closed.
    """

    what: str

    def __str__(self) -> str:
        """Say what is closed and how it is opened."""
        return f"the {self.what} is not open; use it inside its 'async with' block"


@attrs.define(eq=False)
class UnreadableAnswer(BillblendError):
    """The gateway, or something in front of it, sent bytes that are no answer of its protocol.

    Attributes:
        reason: What is unreadable about it: html, empty, cut, oversized, …; never the bytes.
        http_status: The HTTP status that came with it, if any.
    """

    reason: str
    http_status: int | None = None

    def __str__(self) -> str:
        """Say what is unreadable about it."""
        status = "" if self.http_status is None else f"HTTP {self.http_status}: "
        return f"unreadable answer: {status}{self.reason}"


@attrs.define(eq=False)
class SigningFailed(BillblendError):
    """The signer could not sign; nothing was sent.

    Attributes:
        reason: The kind of failure, as the signer's exception names it.
    """

    reason: str

    def __str__(self) -> str:
        """Say what failed and where to look."""
        return f"signing failed: {self.reason}; look at the signer or key service"


@attrs.define(eq=False)
class VerificationFailed(BillblendError):
    """A signature or control does not verify.

    Attributes:
        reason: What is wrong with it, without key, signature or control.
    """

    reason: str

    def __str__(self) -> str:
        """Say what is wrong with it."""
        return f"verification failed: {self.reason}"


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
