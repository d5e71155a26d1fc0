"""An order of the sandbox: where it stands follows from the instants of what happened to it.

Every instant is an argument, in seconds since the epoch; nothing runs in the background.
"""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final, Literal

import attrs

from ..core.responses import Status

__all__ = [
    "APPROVED",
    "CANCELLED",
    "ORDINARY",
    "PROCESSING",
    "SCENARIOS",
    "VALIDATED",
    "VALIDATING",
    "Happening",
    "Order",
    "Reversal",
    "Scenario",
    "Standing",
    "TransactionType",
]


@attrs.frozen
class Standing:
    """Where an order stands, in the gateway's words.

    Attributes:
        status: The status of document 5.9.
        order_stage: The finer word for it.
        error_code: Why it was not approved, as a code.
        error_message: Why it was not approved.
    """

    status: Status
    order_stage: str
    error_code: str | None = None
    error_message: str | None = None


VALIDATING: Final = Standing(Status.PROCESSING, "payout_check_validating")
VALIDATED: Final = Standing(Status.PROCESSING, "payout_check_validated")
PROCESSING: Final = Standing(Status.PROCESSING, "payout_processing")
APPROVED: Final = Standing(Status.APPROVED, "payout_approved")

# The documented error codes end long before these: the processor's own are not published.
_DECLINED: Final = Standing(Status.DECLINED, "payout_declined", "20001", "Declined by the bank")
_FAILED: Final = Standing(Status.ERROR, "payout_error", "20002", "PROCESSOR_INTERNAL_ERROR")
_FILTERED: Final = Standing(Status.FILTERED, "payout_filtered", "20003", "Stopped as fraud")
CANCELLED: Final = Standing(
    Status.DECLINED, "payout_cancelled", "20004", "Cancelled by the receiver"
)
_UNKNOWN: Final = Standing(Status.UNKNOWN, "payout_unknown")
_CHAIN_DECLINED: Final = Standing(Status.CHAIN_DECLINED, "payout_chain_declined")
_CHECK_DECLINED: Final = attrs.evolve(_DECLINED, order_stage="payout_check_declined")
_CHECK_FILTERED: Final = attrs.evolve(_FILTERED, order_stage="payout_check_filtered")
_CHECK_FAILED: Final = attrs.evolve(_FAILED, order_stage="payout_check_error")


def _must_be_final(_: object, field: "attrs.Attribute[Standing]", end: Standing | None) -> None:
    if end is not None and not end.status.is_final:
        raise ValueError(f"{field.name}: {end.status} is no final status")


def _must_go_on(_: object, field: "attrs.Attribute[Standing]", interim: Standing | None) -> None:
    if interim is not None and interim.status.is_final:
        raise ValueError(f"{field.name}: {interim.status} is a final status")


@attrs.frozen
class Scenario:
    """How a payout goes.

    Attributes:
        tale: The same in one sentence.
        ending: Where it stands at last, once it is paid; money leaves if that is approved.
        validation: How many times as long as usual the bank takes to validate; infinite for never.
        check_ending: The final standing that the check itself comes to, so that it is never paid;
            None if the bank validates.
        interim: Where it stands for twice the usual processing, between processing and the ending.
        asks_receiver: Whether it waits for the receiver's form once it is paid; a receiver who
            cancels ends it as declined.
        multiple: How many times the asked amount leaves.
    """

    tale: str
    ending: Standing = attrs.field(default=APPROVED, kw_only=True, validator=_must_be_final)
    validation: float = attrs.field(default=1.0, kw_only=True, validator=attrs.validators.ge(0))
    check_ending: Standing | None = attrs.field(
        default=None, kw_only=True, validator=_must_be_final
    )
    interim: Standing | None = attrs.field(default=None, kw_only=True, validator=_must_go_on)
    asks_receiver: bool = attrs.field(default=False, kw_only=True)
    multiple: int = attrs.field(default=1, kw_only=True, validator=attrs.validators.ge(1))


ORDINARY: Final = Scenario("The bank validates, and the payout is approved.")
"""What a payout to any other account comes to."""

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "1234567890": ORDINARY,
    "0987654321": Scenario(
        "The bank validates, and declines after the payout was paid.", ending=_DECLINED
    ),
    "1987654321": Scenario(
        "The bank validates, and the payout ends as an error after it was paid.", ending=_FAILED
    ),
    "2000000001": Scenario(
        "The receiver must fill in a form after the pay: confirmed it is approved, cancelled it is "
        "declined.",
        asks_receiver=True,
    ),
    "2000000002": Scenario(
        "The receiver must fill in a form after the pay, and the payout is declined whether they "
        "confirm or cancel.",
        asks_receiver=True,
        ending=_DECLINED,
    ),
    "3000000001": Scenario("The bank never validates.", validation=math.inf),
    "3000000002": Scenario(
        "A slow bank: it takes ten times as long as usual to validate, and the payout is approved.",
        validation=10.0,
    ),
    "3000000003": Scenario(
        "The check ends as declined, before anything can be paid.",
        check_ending=_CHECK_DECLINED,
        ending=_DECLINED,
    ),
    "3000000004": Scenario(
        "The check ends as filtered, before anything can be paid.",
        check_ending=_CHECK_FILTERED,
        ending=_FILTERED,
    ),
    "3000000005": Scenario(
        "The check ends as an error, before anything can be paid.",
        check_ending=_CHECK_FAILED,
        ending=_FAILED,
    ),
    "4000000001": Scenario(
        "After the pay the status is unknown for a while, and then approved.", interim=_UNKNOWN
    ),
    "4000000002": Scenario(
        "After the pay the status is chain_declined for a while, and then approved.",
        interim=_CHAIN_DECLINED,
    ),
    "4000000003": Scenario(
        "The bank validates, and a fraud filter stops the payout after it was paid.",
        ending=_FILTERED,
    ),
    "5000000001": Scenario(
        "The payout is approved with another amount: twice the asked one leaves.", multiple=2
    ),
}
"""What happens to a payout, by the account_number that it goes to."""


TransactionType = Literal["payout", "reversal", "chargeback"]
"""What a status or a callback is about: the payout itself or what came back later."""

_INTERIM: Final = 2.0
"""How many times the usual processing a standing between processing and ending lasts."""


@attrs.frozen
class Reversal:
    """Money that came back after a payout was approved.

    Attributes:
        kind: Who has called it back: the gateway or the receiver's bank.
        at: Its instant.
    """

    kind: Literal["reversal", "chargeback"] = attrs.field(
        validator=attrs.validators.in_(("reversal", "chargeback"))
    )
    at: float


@attrs.frozen
class Happening:
    """One line of an order's history.

    Attributes:
        at: Its instant.
        what: What happened, in a few words.
    """

    at: float
    what: str


@attrs.frozen(kw_only=True)
class Order:
    """One order; of the receiver it keeps nothing but how the payout goes and a card's last four.

    Attributes:
        paynet_order_id: The gateway's id.
        login: The merchant whose order it is.
        client_orderid: The merchant's id, which need not be unique.
        amount: Amount in major units.
        currency: Currency code.
        scenario: How the payout goes.
        processing: Seconds that it takes from the pay, or the receiver's form, to its end.
        made_at: The instant of payout-check or payout.
        validated_at: The instant at which the check comes to its end; infinite for never, as for
            a payout in one step, which has no check.
        pays: The instants of each payout-pay, or of payout.
        submitted_at: The instant at which the receiver submitted the form; None before.
        is_confirmed: Whether the receiver has not cancelled.
        reversals: What came back later.
        token: What the receiver's link ends in, if there is to be one.
        server_callback_url: Where the merchant wants to hear of the end.
        redirect_url: Where the receiver is sent back to.
        redirect_success_url: Where the receiver of an approved payout is sent back to.
        redirect_fail_url: Where the receiver of any other payout is sent back to.
        last_four_digits: Of the card, if one was given.
        merchant_data: What the merchant wants to hear again.
    """

    paynet_order_id: str
    login: str
    client_orderid: str
    amount: Decimal
    currency: str
    scenario: Scenario
    processing: float
    made_at: float
    validated_at: float
    pays: tuple[float, ...] = ()
    submitted_at: float | None = None
    is_confirmed: bool = True
    reversals: tuple[Reversal, ...] = ()
    token: str | None = attrs.field(default=None, repr=False)
    server_callback_url: str | None = attrs.field(default=None, repr=False)
    redirect_url: str | None = attrs.field(default=None, repr=False)
    redirect_success_url: str | None = attrs.field(default=None, repr=False)
    redirect_fail_url: str | None = attrs.field(default=None, repr=False)
    last_four_digits: str | None = attrs.field(default=None, repr=False)
    merchant_data: str | None = attrs.field(default=None, repr=False)

    @property
    def paid_at(self) -> float | None:
        """The instant of the first payout-pay, or of payout; None before."""
        return self.pays[0] if self.pays else None

    @property
    def awaits_receiver(self) -> bool:
        """Whether nothing goes on until the receiver submits the form."""
        return self.scenario.asks_receiver and bool(self.pays) and self.submitted_at is None

    @property
    def ending(self) -> Standing:
        """Where it will stand at last, once it is paid, unless the receiver cancels."""
        return self.scenario.ending if self.is_confirmed else CANCELLED

    @property
    def moves_money(self) -> bool:
        """Whether money leaves when it is paid."""
        return self.ending.status == Status.APPROVED

    @property
    def paid_amount(self) -> Decimal:
        """What leaves each time, in major units."""
        return self.amount * self.scenario.multiple

    @property
    def ends_at(self) -> float | None:
        """The instant of its final status, maybe a later one; None while nobody knows."""
        if not self.pays:
            return self.validated_at if self.scenario.check_ending else None
        if self.awaits_receiver:
            return None
        since = self.pays[0] if self.submitted_at is None else self.submitted_at
        if not self.is_confirmed:
            return since
        return since + self.processing * (1 + _INTERIM if self.scenario.interim else 1)

    def standing(self, at: float) -> Standing:
        """Tell where it stands at an instant."""
        reversal = self._reversal(at)
        if reversal is not None:
            return Standing(Status.APPROVED, f"{reversal.kind}_approved")
        if not self.pays:
            if at < self.validated_at:
                return VALIDATING
            return self.scenario.check_ending or VALIDATED
        ends_at = self.ends_at
        if ends_at is None:
            return PROCESSING
        if at >= ends_at:
            return self.ending
        interim = self.scenario.interim
        return interim if interim and at >= ends_at - self.processing * _INTERIM else PROCESSING

    def transaction_type(self, at: float) -> TransactionType:
        """Tell what its status is about at an instant."""
        reversal = self._reversal(at)
        return "payout" if reversal is None else reversal.kind

    def amount_at(self, at: float) -> Decimal:
        """Tell the actual amount, which is the asked one until the payout is approved."""
        return self.paid_amount if self.standing(at).status == Status.APPROVED else self.amount

    def history(self, at: float) -> list[Happening]:
        """List what has happened to it up to an instant, oldest first."""
        return sorted((each for each in self._happenings() if each.at <= at), key=lambda e: e.at)

    def _reversal(self, at: float) -> Reversal | None:
        return next((each for each in reversed(self.reversals) if each.at <= at), None)

    def _happenings(self) -> Iterator[Happening]:
        yield Happening(self.made_at, "made")
        check_ending = self.scenario.check_ending
        if check_ending is None:
            yield Happening(self.validated_at, "validated")
        for pay in self.pays:
            yield Happening(pay, "paid")
        if self.pays and self.scenario.asks_receiver:
            yield Happening(self.pays[0], "redirect given")
        if self.submitted_at is not None:
            decision = "confirmed" if self.is_confirmed else "cancelled"
            yield Happening(self.submitted_at, f"form submitted: {decision}")
        if self.ends_at is not None:
            final = check_ending if check_ending and not self.pays else self.ending
            yield Happening(self.ends_at, f"final: {final.status}")
        for reversal in self.reversals:
            yield Happening(reversal.at, reversal.kind)
