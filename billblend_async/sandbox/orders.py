"""An order of the sandbox: where it stands follows from the instants of what happened to it.

Every instant is an argument, in seconds since the epoch; nothing runs in the background.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, Literal

import attrs

from ..core.responses import Status
from .scenarios import CANCELLED, PROCESSING, VALIDATED, VALIDATING, Scenario, Standing

__all__ = ["Happening", "Order", "Reversal", "TransactionType"]

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
