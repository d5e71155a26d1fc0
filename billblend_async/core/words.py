"""Values as people read them: instants, durations, money, and texts that strangers have written."""

import math
from decimal import Decimal
from typing import Final

from .legibility import LONGEST, instant, legible
from .parameters import decimals

__all__ = ["LONGEST", "duration", "instant", "legible", "many", "money", "tone"]

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


def money(amount: Decimal, currency: str) -> str:
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
