"""Pieces of the page that several parts are made of, each as HTML with everything escaped."""

from decimal import Decimal
from html import escape
from typing import Final

from ..core.words import legible, money, tone

__all__ = ["NONE", "amount_of", "breakable", "folded", "said", "status_of"]

NONE: Final = '<span class="soft nil">none</span>'
"""What stands where there is nothing to say; on a narrow screen it is left out."""


def folded(name: str, label: str, body: str, *, is_open: bool) -> str:
    """Fold something away below a label, or show it at once."""
    opened = " open" if is_open else ""
    return (
        f'<details id="{name}"{opened}><summary id="{name}-summary">{escape(label)}</summary>'
        f"{body}</details>"
    )


def status_of(word: str) -> str:
    """Show a status in the colour of how it is to be taken."""
    return f'<span class="status {tone(word)}">{escape(legible(word))}</span>'


def amount_of(amount: Decimal, currency: str) -> str:
    """Write an amount with its currency."""
    return f"{money(amount, currency)} {escape(legible(currency))}"


def said(code: str | None, message: str | None, stage: str | None = None) -> str:
    """Repeat what the gateway said: its text, its code and its stage, as far as it told them."""
    told = [legible(message)]
    if code:
        told.append(f"(error {legible(code)})")
    if stage:
        told.append(f"[{legible(stage)}]")
    return breakable(" ".join(filter(None, told)))


def breakable(text: str) -> str:
    """Let the gateway's long words be broken where a person would, if they must be."""
    return escape(text).replace("_", "_<wbr>")
