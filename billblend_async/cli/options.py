"""Reads what the options of a command hold, each with a right one as example when it is wrong."""

import argparse
import contextlib
from typing import Final

import attrs

from ..core.models import Deadlines, Polling

__all__ = ["POLL_HELP", "deadline", "polling", "positive"]

POLL_HELP: Final = "seconds between two status requests for one payout (default 3:5)"
_DEADLINES: Final = tuple(field.name for field in attrs.fields(Deadlines))


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 on")
    return int(text)


def polling(text: str) -> Polling:
    """Read how often to ask."""
    shortest, _, longest = text.partition(":")
    try:
        low, high = float(shortest), float(longest)
    except ValueError:
        raise argparse.ArgumentTypeError("must be MIN:MAX in seconds, such as 3:5") from None
    slowest = Polling().slowest
    if not 0 < low <= high <= slowest:
        wrong = f"MIN must be above 0 and at most MAX, and MAX at most {slowest:g}, such as 3:5"
        raise argparse.ArgumentTypeError(wrong)
    return Polling(shortest=low, longest=high)


def deadline(text: str) -> tuple[str, float]:
    """Read how long a wait may take, and which one."""
    name, _, seconds = text.partition("=")
    if name not in _DEADLINES:
        known = ", ".join(_DEADLINES)
        raise argparse.ArgumentTypeError(f"must be NAME=SECONDS with one of {known}")
    with contextlib.suppress(ValueError):
        Deadlines(**{name: float(seconds)})  # making it checks the number
        return name, float(seconds)
    wrong = f"{name} must be a number of seconds above 0, such as {name}=600"
    raise argparse.ArgumentTypeError(wrong)
