"""What people are shown: instants, and texts of strangers that are harmless to look at."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["LONGEST", "instant", "legible"]

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
