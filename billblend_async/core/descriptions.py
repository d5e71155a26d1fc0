"""Values and events as text for people: instants, durations, money, and sanitized foreign text.

No link and no receiver appears in them. Foreign text becomes one line without control or
bidirectional characters, and of a bounded length.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, assert_never

import attrs

from .events import (
    Acknowledged,
    Approved,
    CalledBack,
    Checked,
    CheckNotSent,
    CheckRefused,
    CheckStarted,
    Closed,
    Decision,
    Event,
    Finished,
    NeedsAttention,
    NotSeen,
    Opened,
    PayAccepted,
    PayNotSent,
    PayRefused,
    PayStarted,
    RedirectCleared,
    RedirectRequired,
    Rejected,
    Released,
    Restored,
    TurnedAway,
    Validated,
    Withdrawn,
)
from .models import Flow
from .parameters import decimals

__all__ = [
    "LONGEST",
    "Notation",
    "decided",
    "decision_word",
    "duration",
    "format_amount",
    "happened",
    "instant",
    "legible",
    "many",
    "misread",
    "money",
    "reason_of",
    "tone",
    "with_point",
]

LONGEST: Final = 300
"""Characters that are shown of a stranger's text."""
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"


def legible(text: str | None, most: int = LONGEST) -> str:
    """Make a stranger's text harmless to look at: one line, nothing unseen, not endless.

    What would steer a terminal or turn the direction of writing is replaced.
    """
    if not text:
        return ""
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else _stand_in(each) for each in shown)


def _stand_in(character: str) -> str:
    return " " if character.isspace() else _REPLACED


def instant(at: float) -> str:
    """Write an instant to the second, in UTC, so that texts sort as the instants do."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")[:19]
    except (OverflowError, OSError, ValueError):  # a clock that was set beyond every calendar
        return "unknown"


_TONES: Final = {
    "approved": "good",
    "declined": "bad",
    "filtered": "bad",
    "rejected": "bad",
    "error": "odd",
    "attention": "odd",
    "withdrawn": "still",
    "closed": "still",
}


def duration(seconds: float) -> str:
    """Write how long something took, in the two largest units that matter."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = math.floor(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02} h"


def format_amount(amount: Decimal, currency: str) -> str:
    """Write an amount with all the decimals of its currency, and more if it has more."""
    exponent, fewest = amount.as_tuple().exponent, decimals(currency)
    if isinstance(exponent, int) and -exponent <= fewest:
        return f"{amount:,.{fewest}f}"
    return f"{amount:,f}"


def many(count: int, one: str, more: str = "") -> str:
    """Count something: 1 payout, 2,000 payouts."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def tone(status: str) -> str:
    """Say how a status is to be taken: good, bad, odd (a person must look), still or wait."""
    return _TONES.get(status, "wait")


_WITH_COMMA: Final = re.compile(r"[+-]?[0-9]{1,40},[0-9]{1,40}")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}")


@attrs.frozen(kw_only=True)
class Notation:
    """How numbers are written for people: as in the payouts file that they have before them.

    Attributes:
        decimal_comma: Whether a comma begins the decimals. Then nothing marks the thousands, since
            whoever writes 1,500 for one and a half reads 1.500 as a thousand times as much.
    """

    decimal_comma: bool = False

    def amount(self, amount: Decimal) -> str:
        """Write an amount: 1,234.50, or 1234,50 where a comma begins the decimals."""
        return self._signed(f"{amount:,f}")

    def sums(self, amounts: Mapping[str, Decimal]) -> str:
        """Write sums of several currencies, such as ``1,234.50 EUR, 99.00 USD``."""
        told = sorted(amounts.items())
        return ", ".join(f"{self.amount(amount)} {currency}" for currency, amount in told)

    def count(self, number: int) -> str:
        """Write how many there are: beside amounts, a comma must not say two things."""
        return self._signed(f"{number:,}")

    def tenths(self, number: float) -> str:
        """Write a number of which one decimal is enough, such as a pace."""
        return self._signed(f"{number:,.1f}")

    def _signed(self, text: str) -> str:
        """Give a number with commas for its thousands the signs that its reader takes."""
        return text.replace(",", "").replace(".", ",") if self.decimal_comma else text


def misread(text: str, *, decimal_comma: bool) -> str:
    """Say why nobody can be sure what an amount says, and how to write it; empty when they can.

    A comma or a point may begin the decimals or mark the thousands, and 1,234 looks the same for
    both. So which it is is told once, for all amounts, and the other sign is refused.

    Args:
        text: The amount as it is written.
        decimal_comma: Whether a comma begins the decimals, which is never guessed.
    """
    has_comma = _WITH_COMMA.fullmatch(text) is not None
    if not decimal_comma:
        if has_comma:
            return (
                "has a comma; write it as 10.42, or add --decimal-comma where commas begin the "
                "decimals"
            )
        return ""
    if has_comma or _WHOLE.fullmatch(text) or not text:
        return ""
    if "." in text:
        return (
            "has a point, which --decimal-comma does not take, since it may mark thousands; write "
            "it as 10,42"
        )
    return "must be a plain number such as 10,42, with one comma at most and no thousands marked"


def with_point(text: str, *, decimal_comma: bool) -> str:
    """Write an amount that can be read with a point, as the gateway wants it."""
    return text.replace(",", ".") if decimal_comma else text


_LONGEST_WHO: Final = 60
_LONGEST_WORD: Final = 40


def decision_word(decision: Decision) -> str:
    """Say in one word what a person has decided: approved, released, closed, …."""
    return type(decision).__name__.lower()


def reason_of(decision: Decision) -> str:
    """Give a person's reason, in one harmless line; an approval has none."""
    return "" if isinstance(decision, Approved) else legible(decision.why)


def decided(decision: Decision) -> str:
    """Say what a person has decided, who it was and why."""
    who = f"{decision_word(decision)} by {legible(decision.who, _LONGEST_WHO)}"
    why = reason_of(decision)
    return f"{who}: {why}" if why else who


def happened(event: Event) -> str:
    """Say what an event is."""
    match event:
        case Opened():
            flow = " in one step" if event.flow is Flow.ONE_STEP else ""
            held = ", to wait for approval" if event.held else ""
            return f"accepted{flow}: {money(event.amount, event.currency)}{held}"
        case CheckStarted():
            return "payout-check was about to leave"
        case PayStarted():
            return "the request to pay was about to leave"
        case CheckNotSent():
            return "payout-check did not leave this machine"
        case PayNotSent():
            return "the request to pay did not leave this machine"
        case Checked(paynet_order_id=order):
            return f"the gateway has it as order {legible(order)}"
        case PayAccepted(paynet_order_id=order):
            return f"the gateway has taken the request to pay order {legible(order)}"
        case NotSeen():
            return "the gateway said that it knows no such order"
        case Rejected():
            return f"the gateway refused it and made no order{_because(event)}"
        case TurnedAway():
            return f"the gateway knows not this merchant or endpoint{_because(event)}"
        case CheckRefused() | PayRefused():
            what = "check" if isinstance(event, CheckRefused) else "pay"
            return f"the gateway refused to {what} it{_because(event)}"
        case Validated():
            return "the bank has validated it"
        case RedirectRequired():
            return "the receiver was asked to open a link"
        case RedirectCleared():
            return "the receiver was asked for nothing more"
        case Finished():
            return _final(event)
        case CalledBack(status=status):
            return f"a callback told {legible(status, _LONGEST_WORD)}, which was asked about"
        case NeedsAttention(doubt=doubt):
            told = money(event.amount, event.currency)
            return f"it came to need a person: {doubt}{f' ({told})' if told else ''}"
        case Approved() | Released() | Closed() | Withdrawn() | Acknowledged():
            return decided(event)
        case Restored():
            return "the journal was declared restored from a copy"
        case _:
            assert_never(event)


def _final(event: Finished) -> str:
    told = [legible(event.transaction_type, _LONGEST_WORD), str(event.status)]
    if event.amount is not None or event.currency:
        told.append(money(event.amount, event.currency))
    return f"the gateway told {', '.join(filter(None, told))}{_because(event)}"


def _because(event: CheckRefused | Rejected | TurnedAway | PayRefused | Finished) -> str:
    told = " ".join(filter(None, (event.error_code, event.error_message)))
    return f": {legible(told)}" if told else ""


def money(amount: Decimal | None, currency: str | None) -> str:
    """Write an amount and its currency, either of which may be missing."""
    number = "" if amount is None else f"{amount:f}"
    return f"{number} {legible(currency, _LONGEST_WORD)}".strip()
