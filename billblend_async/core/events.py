"""What can happen to a payout: the events that the journal keeps and the machine folds.

An event is a fact with its instant (``at``: seconds since the epoch, UTC, by the wall clock). It
holds no personal data: what it takes from a status answer is a white list.
"""

from decimal import Decimal
from typing import ClassVar, Final, get_args

import attrs

from .models import Deadlines, Doubt, Flow
from .responses import Status

__all__ = [
    "ADDED",
    "EVENTS",
    "Acknowledged",
    "Approved",
    "CalledBack",
    "CheckNotSent",
    "CheckRefused",
    "CheckStarted",
    "Checked",
    "Closed",
    "Decision",
    "Event",
    "Fact",
    "Finished",
    "NeedsAttention",
    "NotSeen",
    "Opened",
    "PayAccepted",
    "PayNotSent",
    "PayRefused",
    "PayStarted",
    "RedirectCleared",
    "RedirectRequired",
    "Rejected",
    "Released",
    "Restored",
    "TurnedAway",
    "Validated",
    "Withdrawn",
]


ADDED: Final = {"added": True}
"""Marks a field that came after the first journals: it is written only where it says something, so
that all other events stay byte for byte as they were."""


@attrs.frozen(kw_only=True)
class Fact:
    """Something that happened to one payout.

    Attributes:
        at: When, in seconds since the epoch.
    """

    at: float
    secret: ClassVar[frozenset[str]] = frozenset()
    """Names of fields that a journal erases once the payout is final."""


@attrs.frozen(kw_only=True)
class Opened(Fact):
    """The payout was accepted into the journal; nothing was sent yet.

    Attributes:
        client_orderid: The caller's id, unique in the journal.
        flow: Which way the payout goes.
        amount: Asked amount in major units.
        currency: Asked currency.
        fingerprint: Keyed hash over who gets the money.
        receiver_hint: The last four characters of the receiver's number.
        held: Whether a validated payout waits for approval before pay; a one-step payout cannot,
            since it has nothing to wait with.
        deadlines: How long each wait may take.

    Raises:
        ValueError: It is held and goes in one step.
    """

    client_orderid: str
    flow: Flow
    amount: Decimal
    currency: str
    fingerprint: str = attrs.field(repr=False)
    receiver_hint: str | None = attrs.field(default=None, repr=False)
    held: bool = False
    deadlines: Deadlines = attrs.field(factory=Deadlines)

    def __attrs_post_init__(self) -> None:
        """Refuse what could never be sent."""
        if self.held and self.flow is Flow.ONE_STEP:
            raise ValueError("a one-step payout cannot be held")


@attrs.frozen(kw_only=True)
class CheckStarted(Fact):
    """The next byte that leaves may be a payout-check: from here on its outcome may be unknown."""


@attrs.frozen(kw_only=True)
class CheckNotSent(Fact):
    """Proved: the payout-check that was started never left this machine."""


@attrs.frozen(kw_only=True)
class CheckRefused(Fact):
    """The gateway answered payout-check with a refusal that names no order.

    Another copy of the request may have made an order before, so the status is asked for once
    before the payout is Rejected.

    Attributes:
        error_code: The gateway's code.
        error_message: The gateway's text, long numbers masked.
    """

    error_code: str | None = None
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class Checked(Fact):
    """The gateway has our order: it answered payout-check, or status found it later.

    Attributes:
        paynet_order_id: The gateway's order id.
    """

    paynet_order_id: str


@attrs.frozen(kw_only=True)
class NotSeen(Fact):
    """The gateway said that it knows no order with our client_orderid."""


@attrs.frozen(kw_only=True)
class Rejected(Fact):
    """The gateway refused the payout and made no order.

    Attributes:
        error_code: The gateway's code.
        error_message: The gateway's text, long numbers masked.
    """

    error_code: str | None = None
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class TurnedAway(Fact):
    """The gateway refused payout-check for a wrong setting: login, endpoint or control.

    Every other check would be refused too, so the payout is New again. Earlier releases also wrote
    it after the request of a one-step payout. That one may have paid all the same, so it is asked
    about before it is sent again.

    Attributes:
        error_code: The gateway's code.
        error_message: The gateway's text, long numbers masked.
    """

    error_code: str | None = None
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class Validated(Fact):
    """The bank has validated the payout: stage payout_check_validated (document 1.10, step 5)."""


@attrs.frozen(kw_only=True)
class Approved(Fact):
    """A person approved that a held payout is paid.

    Attributes:
        who: The person.
    """

    who: str


@attrs.frozen(kw_only=True)
class PayStarted(Fact):
    """The next byte that leaves may move money: from here on its outcome may be unknown."""


@attrs.frozen(kw_only=True)
class PayNotSent(Fact):
    """Proved: the pay request that was started never left this machine."""


@attrs.frozen(kw_only=True)
class PayAccepted(Fact):
    """The gateway acknowledged the pay request, or its status shows that it took effect.

    Attributes:
        paynet_order_id: The gateway's order id.
    """

    paynet_order_id: str


@attrs.frozen(kw_only=True)
class PayRefused(Fact):
    """The gateway answered the request to pay with a refusal.

    That is no proof that nothing was paid: another copy of the request may have taken effect.

    Attributes:
        error_code: The gateway's code.
        error_message: The gateway's text, long numbers masked.
        about_settings: Whether it refuses a setting (login, endpoint, control) and not the payout.
    """

    error_code: str | None = None
    error_message: str | None = None
    about_settings: bool = attrs.field(default=False, metadata=ADDED)


@attrs.frozen(kw_only=True)
class RedirectRequired(Fact):
    """The receiver must follow a link and fill in a form (document 1.10, step 9).

    Attributes:
        redirect_to: The link, checked.
    """

    secret: ClassVar[frozenset[str]] = frozenset({"redirect_to"})
    redirect_to: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class RedirectCleared(Fact):
    """The gateway no longer asks for the receiver."""


@attrs.frozen(kw_only=True)
class Finished(Fact):
    """A status answer told a final status.

    Attributes:
        status: approved, declined, filtered or error.
        paynet_order_id: The gateway's order id.
        order_stage: The gateway's word for the stage.
        amount: The amount that the gateway tells, in major units.
        currency: The currency that the gateway tells.
        error_code: The gateway's code.
        error_message: The gateway's text, long numbers masked.
        transaction_type: What the status is about, if the gateway tells: payout, reversal, ….
    """

    status: Status
    paynet_order_id: str
    order_stage: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    transaction_type: str | None = None


@attrs.frozen(kw_only=True)
class CalledBack(Fact):
    """The gateway's callback told a status: a hint that it is time to ask, and never an outcome.

    Of a callback only this and the two ids are signed, so nothing else of it is kept (document
    3.37).

    Attributes:
        status: What it told.
    """

    status: Status


@attrs.frozen(kw_only=True)
class NeedsAttention(Fact):
    """A person must decide how the payout goes on.

    Attributes:
        doubt: Why.
        amount: The amount that the gateway tells, where that is the reason.
        currency: The currency that the gateway tells, where that is the reason.
    """

    doubt: Doubt
    amount: Decimal | None = attrs.field(default=None, metadata=ADDED)
    currency: str | None = attrs.field(default=None, metadata=ADDED)


@attrs.frozen(kw_only=True)
class Released(Fact):
    """A person looked and allows exactly one more send.

    Attributes:
        who: The person.
        why: What they found out.
    """

    who: str
    why: str


@attrs.frozen(kw_only=True)
class Closed(Fact):
    """A person looked and ended the payout: nothing is sent or asked again.

    Attributes:
        who: The person.
        why: What they found out.
    """

    who: str
    why: str


@attrs.frozen(kw_only=True)
class Withdrawn(Fact):
    """The caller took the payout back before pay was sent.

    Attributes:
        who: The person.
        why: Their reason.
    """

    who: str
    why: str


@attrs.frozen(kw_only=True)
class Acknowledged(Fact):
    """A person looked at what does not fit about a finished payout, and needs no reminder of it.

    It is about what they have seen and about nothing that was told later. It moves nothing.

    Attributes:
        who: The person.
        why: What they found out.
        findings: The numbers of the payout's events that told what they have seen.
        error: Whether they have seen that it ended in the status ``error``.
    """

    who: str
    why: str
    findings: tuple[int, ...]
    error: bool


@attrs.frozen(kw_only=True)
class Restored(Fact):
    """The journal was restored from a copy, so newer events of this payout may be missing."""


Decision = Approved | Released | Closed | Withdrawn | Acknowledged
"""Everything that a person can decide about a payout."""

Event = (
    Opened
    | CheckStarted
    | CheckNotSent
    | CheckRefused
    | Checked
    | NotSeen
    | Rejected
    | TurnedAway
    | Validated
    | Approved
    | PayStarted
    | PayNotSent
    | PayAccepted
    | PayRefused
    | RedirectRequired
    | RedirectCleared
    | Finished
    | CalledBack
    | NeedsAttention
    | Released
    | Closed
    | Withdrawn
    | Acknowledged
    | Restored
)
"""Everything that can happen to a payout."""

EVENTS: Final[dict[str, type[Event]]] = {event.__name__: event for event in get_args(Event)}
"""Every kind of event by its name, as the journal writes it."""
