"""How amounts are written: with a point, or with a comma where a person has said so."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import attrs

__all__ = ["Notation", "misread", "with_point"]

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
