"""How amounts are written: with a point, or with a comma where a person has said so."""

import re
from typing import Final

__all__ = ["misread", "with_point"]

_WITH_COMMA: Final = re.compile(r"[+-]?[0-9]{1,40},[0-9]{1,40}")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}")


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
