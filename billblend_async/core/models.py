"""The values around a payout: where it goes, the situation it is in, and what became of it."""

import contextlib
import enum
import ipaddress
import math
from decimal import Decimal
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from ..errors import BillblendError, ConfigurationError
from .responses import Status

__all__ = [
    "BASE_URLS",
    "Alarm",
    "Deadlines",
    "Doubt",
    "Endpoint",
    "Flow",
    "OpenReason",
    "Outcome",
    "Pace",
    "Polling",
    "State",
    "is_callback_address",
    "is_loopback",
    "is_own_sandbox",
    "is_safe_link",
    "moves_real_money",
    "place_of",
]

BASE_URLS: Final = {
    "sandbox": "https://sandbox.billblend.com/checkout",
    "production": "https://pay.billblend.com/checkout",
}
"""Where the gateway's two environments lie (document 3.24)."""


def _base_url(url: str) -> str:
    return BASE_URLS.get(url, url).rstrip("/")


@attrs.frozen(kw_only=True)
class Endpoint:
    """Where the gateway is and which of its endpoints is ours.

    Attributes:
        base_url: ``sandbox`` (the gateway's own, at sandbox.billblend.com), ``production``, or the
            URL up to and with ``/checkout``: https, or plain http for a loopback address, such as
            that of the built-in sandbox.
        endpoint_id: The endpoint's number (one currency).
        endpoint_group_id: The endpoint group's number (several currencies); give one of the two.

    Raises:
        ConfigurationError: The URL or the numbers cannot be right.
    """

    base_url: str = attrs.field(default="sandbox", converter=_base_url)
    endpoint_id: int | None = None
    endpoint_group_id: int | None = None

    def __attrs_post_init__(self) -> None:
        """Check the URL and that exactly one number is given."""
        _check_base_url(self.base_url)
        numbers = (self.endpoint_id, self.endpoint_group_id)
        if sum(number is not None for number in numbers) != 1:
            raise ConfigurationError("give either endpoint_id or endpoint_group_id, and not both")
        for number in numbers:
            if number is not None and (type(number) is not int or not 0 < number < 2**63):
                raise ConfigurationError("an endpoint id is a whole number from 1 to 2^63 - 1")

    @property
    def path(self) -> str:
        """The end of every URL: ``39915`` or ``group/39915``."""
        group = f"group/{self.endpoint_group_id}"
        return group if self.endpoint_id is None else str(self.endpoint_id)

    @property
    def is_production(self) -> bool:
        """Whether money that moves here is real."""
        return moves_real_money(self.base_url)


def _split_url(url: str) -> SplitResult | None:
    """Split a URL; None if it is none, or one that two readers could read differently."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
        return parts
    return None


def _check_base_url(url: str) -> None:
    parts = _split_url(url)
    if parts is None:
        raise ConfigurationError("base_url: this is no URL of plain ASCII characters")
    if parts.scheme not in ("https", "http") or not parts.hostname:
        known = ", ".join(BASE_URLS)
        raise ConfigurationError(f"base_url: give {known} or a URL that begins with https://")
    if parts.username is not None or "?" in url or "#" in url:
        raise ConfigurationError("base_url: it must hold no user, query or fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigurationError(
            "base_url: plain http is allowed for a loopback address only; use https"
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def moves_real_money(base_url: str) -> bool:
    """Tell whether money that moves at an address may be real.

    It is everywhere but in the gateway's own sandbox and on this machine: the gateway is also
    reached under names of its partners.
    """
    return not is_loopback(_host(base_url)) and not is_own_sandbox(base_url)


def is_own_sandbox(base_url: str) -> bool:
    """Tell whether an address is the gateway's own sandbox, which the built-in one is not."""
    return _host(base_url) == urlsplit(BASE_URLS["sandbox"]).hostname


def place_of(base_url: str) -> str:
    """Name where the gateway is so that nobody takes one of its places for another."""
    host = _host(base_url)
    if is_own_sandbox(base_url):
        return f"{host}, the gateway's own sandbox"
    return f"{host}, on this machine" if is_loopback(host) else host


def _host(base_url: str) -> str:
    return (urlsplit(base_url).hostname or "").rstrip(".")


def is_safe_link(url: str) -> bool:
    """Tell whether a receiver may be sent to a link: https (or loopback), no user, nothing odd."""
    parts = _split_url(url)
    if parts is None or not parts.hostname or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


def is_callback_address(url: str) -> bool:
    """Tell whether the gateway can send its callbacks to a URL (documents 3.24, 3.37)."""
    parts = _split_url(url)
    if parts is None or len(url) > 128 or not parts.hostname or parts.username is not None:
        return False
    ports = {"https": (None, 443, 8443), "http": (None, 80, 8080)}
    if is_loopback(parts.hostname):
        return parts.scheme in ports
    return parts.port in ports.get(parts.scheme, ())


class Flow(enum.StrEnum):
    """Which way a payout goes."""

    CHECK_PAY = "check-pay"
    """With bank confirmation: payout-check, validation, payout-pay (document 1.10)."""
    ONE_STEP = "one-step"
    """At once: /api/v4/payout (document 3.24)."""


class State(enum.StrEnum):
    """The situation that a payout is in."""

    NEW = "new"
    CHECKING = "checking"
    VALIDATING = "validating"
    VALIDATED = "validated"
    PAYING = "paying"
    AWAITING_FINAL = "awaiting-final"
    AWAITING_RECEIVER = "awaiting-receiver"
    ATTENTION = "attention"
    FINAL = "final"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing is ever sent or asked for this payout again."""
        return self in _TERMINAL


_TERMINAL: Final = frozenset({State.FINAL, State.REJECTED, State.WITHDRAWN, State.CLOSED})


class Doubt(enum.StrEnum):
    """Why a person must look at a payout; nothing is sent for it until one has."""

    CHECK_UNCONFIRMED = "check-unconfirmed"
    CHECKS_SPENT = "checks-spent"
    PAY_UNCONFIRMED = "pay-unconfirmed"
    PAY_REFUSED = "pay-refused"
    APPROVED_BEFORE_PAY = "approved-before-pay"
    FOREIGN_ORDER = "foreign-order"
    BAD_REDIRECT = "bad-redirect"
    AMOUNT_DIFFERS = "amount-differs"
    OTHER_TRANSACTION = "other-transaction"
    RESTORED = "restored"

    @property
    def sentence(self) -> str:
        """What happened and what to do, for the person who looks."""
        return _DOUBT_SENTENCES[self]


_DOUBT_SENTENCES: Final = {
    Doubt.CHECK_UNCONFIRMED: (
        "The answer to payout-check was lost and the gateway did not say whether it has the order; "
        "ask its support about this client_orderid, then release or close."
    ),
    Doubt.CHECKS_SPENT: (
        "Several checks vanished without an order; ask the gateway's support why, "
        "then release or close."
    ),
    Doubt.PAY_UNCONFIRMED: (
        "The answer to the pay request was lost and the status does not show whether it took "
        "effect; ask the gateway's support whether this order was paid, then release or close."
    ),
    Doubt.PAY_REFUSED: (
        "The gateway refused the request to pay, and whether another copy of it was paid is not "
        "known for sure; read its error, mend the cause, ask its support, then release or close."
    ),
    Doubt.APPROVED_BEFORE_PAY: (
        "The gateway calls this order approved although pay was never sent; ask its support who "
        "paid it, then close."
    ),
    Doubt.FOREIGN_ORDER: (
        "The gateway holds an order with this client_orderid but another amount or currency; "
        "find out who made it, then release or close."
    ),
    Doubt.BAD_REDIRECT: (
        "The link for the receiver is not safe to open; nobody was sent there. Ask the gateway's "
        "support for the right one."
    ),
    Doubt.AMOUNT_DIFFERS: (
        "The gateway's order has another amount or currency than was asked for, so it is not paid; "
        "ask its support to mend or cancel it, then release or close."
    ),
    Doubt.OTHER_TRANSACTION: (
        "The gateway tells of a reversal, a chargeback or the like on this order and not how the "
        "payout itself ended; ask its support what became of the money, then close."
    ),
    Doubt.RESTORED: (
        "The journal was restored from a copy, so this payout may have been paid since; compare "
        "with the gateway, then release or close."
    ),
}


class Alarm(enum.StrEnum):
    """Something that does not fit; it never moves a payout, and a person should know it."""

    STATUS_CONTRADICTS = "status-contradicts"
    """The gateway told another final status after the first."""
    APPROVED_BEFORE_PAY = "approved-before-pay"
    """The gateway says approved although pay was never sent."""
    AMOUNT_DIFFERS = "amount-differs"
    """The amount or currency that was paid is not the one that was asked for."""
    ACCEPTED_LATE = "accepted-late"
    """The gateway accepted a pay request after a person had closed the payout."""
    LATER_TRANSACTION = "later-transaction"
    """The gateway tells of a reversal, a chargeback or the like on an order that was final."""
    SECOND_ORDER = "second-order"
    """The gateway named a second order for this payout; it is never paid."""


class OpenReason(enum.StrEnum):
    """Why a payout that is not finished was handed back."""

    ATTENTION = "attention"
    AWAITING_APPROVAL = "awaiting-approval"
    AWAITING_RECEIVER = "awaiting-receiver"
    STALLED = "stalled"
    OVERDUE = "overdue"
    UNCONFIRMED = "unconfirmed"
    NOT_SENT = "not-sent"

    @property
    def sentence(self) -> str | None:
        """What to do, where somebody has to do something."""
        return _OPEN_SENTENCES.get(self)


_OPEN_SENTENCES: Final = {
    OpenReason.AWAITING_APPROVAL: "The bank has validated it; approve it to pay, or withdraw it.",
    OpenReason.AWAITING_RECEIVER: "The receiver must open the link redirect_to and fill in a form.",
}


def _check_seconds(_: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be a finite number of seconds above 0")


@attrs.frozen(kw_only=True)
class Deadlines:
    """How long each wait may take, in seconds from its beginning; a restart does not extend them.

    Attributes:
        sending: For the first request to leave, while the gateway cannot be reached.
        validation: For the bank to validate; then the payout is reported as stalled.
        receiver: For the receiver to follow the redirect link.
        final: For the final status after the gateway has acknowledged the pay request.
        doubt: For a lost answer to be cleared up; then a person must look.
    """

    sending: float = attrs.field(default=120.0, validator=_check_seconds)
    validation: float = attrs.field(default=3600.0, validator=_check_seconds)
    receiver: float = attrs.field(default=3600.0, validator=_check_seconds)
    final: float = attrs.field(default=3600.0, validator=_check_seconds)
    doubt: float = attrs.field(default=900.0, validator=_check_seconds)


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a payout, or where it stands and why it was handed back.

    Attributes:
        client_orderid: The caller's id.
        amount: Asked amount in major units.
        currency: Asked currency.
        state: The situation it is in.
        status: The gateway's final status; None as long as there is none.
        paynet_order_id: The gateway's order id, once known.
        order_stage: The gateway's word for the stage that was last seen.
        error_code: The gateway's code for a refusal.
        error_message: The gateway's text for a refusal, long numbers masked.
        redirect_to: Where the receiver must go, while they must.
        open_reason: Why it was handed back unfinished; None when it is finished.
        doubt: Why a person must look, if one must.
        restored: Whether what the journal says may be out of date, as in a journal that was
            restored from a copy; the gateway is asked before anything is sent.
        explanation: The latest reason why there is no news, or what a person should do.
        approved_by: Who approved that it is paid, if that was asked for.
        alarms: What does not fit.
        acknowledged: Which of the alarms, and ``error`` of the status, a person has acknowledged.
        details: What does not fit and nobody has acknowledged: each by its word, with its numbers.
        sequence: How many events had changed it; ``acknowledge`` takes it for what was shown.
        problem: The error that kept this payout from being accepted, in a batch.
    """

    client_orderid: str
    amount: Decimal
    currency: str
    state: State
    status: Status | None = None
    paynet_order_id: str | None = None
    order_stage: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    redirect_to: str | None = attrs.field(default=None, repr=False)
    open_reason: OpenReason | None = None
    doubt: Doubt | None = None
    restored: bool = False
    explanation: str | None = None
    approved_by: str | None = None
    alarms: tuple[Alarm, ...] = ()
    acknowledged: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    sequence: int = attrs.field(default=0, eq=False)
    problem: BillblendError | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more is sent or asked for it; the gateway may still change its status."""
        return self.state.is_terminal

    @property
    def is_approved(self) -> bool:
        """Whether the gateway says that the money has moved."""
        return self.state is State.FINAL and self.status == Status.APPROVED

    @property
    def needs_person(self) -> bool:
        """Whether a person must look: to decide how it goes on, or because something is odd."""
        return self.state is State.ATTENTION or bool(self.concerns) or self.problem is not None

    @property
    def concerns(self) -> tuple[str, ...]:
        """What a person must look at, each word once: the doubt, the open alarms, ``error``."""
        doubt = self.doubt if self.state is State.ATTENTION else None
        told = (doubt, *self.open_alarms, self.status if self.needs_reconciliation else None)
        return tuple(dict.fromkeys(map(str, filter(None, told))))

    @property
    def needs_reconciliation(self) -> bool:
        """Whether to ask the gateway what really happened: its status ``error`` does not say."""
        return self.status == Status.ERROR and Status.ERROR not in self.acknowledged

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        """The alarms that no person has acknowledged."""
        return tuple(alarm for alarm in self.alarms if alarm not in self.acknowledged)


class Pace(enum.Enum):
    """How urgently a status is asked for."""

    NORMAL = "normal"
    RECEIVER = "receiver"
    """A person fills in a form: slower."""
    PERSON = "person"
    """A person of ours must decide: slowly, only to learn."""


_PACES: Final = {Pace.NORMAL: 1.0, Pace.RECEIVER: 3.0, Pace.PERSON: 15.0}


@attrs.frozen(kw_only=True)
class Polling:
    """How often a status is asked for, in seconds from one answer to the next request.

    The gateway wants 3 to 5 s (document 1.10, step 17) and less often once a payout takes long
    (document 5.5). Gaps are spread evenly over the inner 80 % of the range, so that network and
    scheduling leave them inside it.

    Attributes:
        shortest: The shortest gap.
        longest: The longest gap.
        eager_for: How long a payout in one state is asked about that often; then gaps grow in
            proportion to the time it has waited, so that news is never later than 2 % of it.
        slowest: The longest gap that they grow to.
        with_callbacks: How many times as long the gaps are after pay while callbacks come in: the
            latest payout that came to its end here was announced by one. The first that is not
            brings the usual gaps back.
    """

    shortest: float = attrs.field(default=3.0, validator=attrs.validators.gt(0))
    longest: float = 5.0
    eager_for: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))
    slowest: float = 300.0
    with_callbacks: float = attrs.field(default=3.0, validator=attrs.validators.ge(1))

    def __attrs_post_init__(self) -> None:
        """Check that the range is one."""
        if not self.shortest <= self.longest <= self.slowest:
            raise ValueError("shortest, longest and slowest must be in this order")

    def gap(self, pace: Pace, waited: float, chance: float, *, is_announced: bool = False) -> float:
        """Choose the next gap.

        Args:
            pace: How urgent the question is.
            waited: Seconds that the payout has been in its state.
            chance: A number from 0 to 1 that spreads the gaps.
            is_announced: Whether a callback is likely to tell the news first.
        """
        width = self.longest - self.shortest
        gap = self.shortest + (0.1 + 0.8 * chance) * width
        gap *= _PACES[pace] * max(1.0, waited / self.eager_for)
        if is_announced and pace is Pace.NORMAL:
            gap *= self.with_callbacks
        return min(gap, self.slowest)
