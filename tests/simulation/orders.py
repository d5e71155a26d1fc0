"""An order at the adversarial gateway: where it truly stands at any instant, and what it tells."""

from decimal import Decimal
from typing import Final

import attrs

__all__ = ["FINAL_WORDS", "LINKS", "Order", "Standing"]

FINAL_WORDS: Final = frozenset({"approved", "declined", "filtered", "error"})
LINKS: Final = ("https://bank.example/form/1", "https://bank.example/form/2")
"""Links that a receiver may be sent to."""
BAD_LINK: Final = "http://bank.example@evil.example/form"


@attrs.frozen
class Standing:
    """Where an order stands, in the gateway's words.

    Attributes:
        word: The status.
        stage: The order stage.
        link: Where the receiver must go, if they must.
    """

    word: str
    stage: str
    link: str | None = None


@attrs.define(kw_only=True, eq=False)
class Order:
    """One order of the gateway.

    Attributes:
        number: The gateway's id.
        client_orderid: Our id, which need not be unique.
        amount: Amount in major units.
        currency: Currency code.
        made_at: When it was made.
        validation: Seconds until the bank has validated.
        processing: Seconds from the first pay until the end.
        ending: The last word, once paid.
        ends_at_check: The last word of an order that ends after validation, unpaid.
        others_pay_at: When somebody else pays it.
        links_until: Seconds after pay until which the receiver must go somewhere.
        links: Where, one after the other.
        lie: A final word that it tells for a while although it is not true.
        wavering: A word that is no end, told while it is processed.
        paid_at: When the first pay took effect.
        pays: How many pay requests took effect.
        told: The final words that were told of it.
        later: The transaction that follows on it once it is approved: reversal or chargeback.
        later_word: How that ends.
        later_after: Seconds from the payout's end until then.
        has_told_later: Whether a status answer was about that.
        is_foreign: Whether it is not ours.
        is_misread: Whether its amount is not the one that was asked for; each status tells it.
        is_certain: Whether it was refused although it exists, so that it is never denied.
    """

    number: str
    client_orderid: str
    amount: Decimal
    currency: str
    made_at: float
    validation: float = 2.0
    processing: float = 2.0
    ending: str = "approved"
    ends_at_check: str | None = None
    others_pay_at: float | None = None
    links_until: float = 0.0
    links: tuple[str, ...] = ()
    lie: str | None = None
    wavering: str | None = None
    paid_at: float | None = None
    pays: int = 0
    told: set[str] = attrs.field(factory=set)
    later: str | None = None
    later_word: str = "approved"
    later_after: float = 0.0
    has_told_later: bool = False
    is_foreign: bool = False
    is_misread: bool = False
    is_certain: bool = False

    def standing(self, at: float) -> Standing:
        """Tell the truth about an instant."""
        if self.paid_at is None or at < self.paid_at:
            if at < self.made_at + self.validation:
                return Standing("processing", "payout_check_validating")
            if self.ends_at_check is not None:
                return Standing(self.ends_at_check, f"payout_{self.ends_at_check}")
            if self.others_pay_at is not None and at >= self.others_pay_at:
                return Standing("approved", "payout_approved")
            return Standing("processing", "payout_check_validated")
        passed = at - self.paid_at
        if passed < self.links_until:
            place = int(passed / self.links_until * len(self.links))
            return Standing("processing", "payout_form", self.links[place])
        if passed < self.links_until + self.processing:
            return Standing(self.wavering or "processing", "payout_processing")
        return Standing(self.ending, f"payout_{self.ending}")

    def final_at(self) -> float | None:
        """Tell when it comes to its end, as things stand; None when something must happen first."""
        validated_at = self.made_at + self.validation
        if self.paid_at is not None:
            return self.paid_at + self.links_until + self.processing
        if self.ends_at_check is not None:
            return validated_at
        return None if self.others_pay_at is None else max(validated_at, self.others_pay_at)

    def later_at(self) -> float | None:
        """Tell when the transaction that follows on it is over; None when there is none."""
        ends_at = self.final_at()
        if self.later is None or self.paid_at is None or ends_at is None:
            return None
        return ends_at + self.later_after

    def can_be_paid(self, at: float) -> bool:
        """Tell whether a pay takes effect: also a second one does, since pay is not idempotent."""
        if self.paid_at is not None:
            return True
        return self.standing(at).stage == "payout_check_validated"
