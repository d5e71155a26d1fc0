"""What each command's ``--help`` tells beside its options: what it is for, and how it is called."""

import argparse
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

__all__ = ["complete", "explain", "nearest"]

_WIDTH: Final = 78
_MOST_CHOICES: Final = 4
"""Words that fit into a usage line; of more, the help tells."""
_VALUES: Final[Mapping[Any, str]] = {Path: "FILE", int: "N", float: "SECONDS"}
"""What to call the value of an option that has no word for it, by its type."""

_TEXTS: Final = {
    "pay": (
        "Pay every row of a file, each exactly once, and write what became of it. A file with a "
        "wrong row is refused whole. Interrupted or killed? Run the same command again: "
        "finished rows are told from the journal, the rest goes on."
    ),
    "status": (
        "Tell where one payout stands: what the journal knows of it, and what the gateway says "
        "now. Nothing is sent that moves money."
    ),
    "attention": (
        "List the payouts for which nothing is sent until a person has looked, and those that are "
        "odd, or decide about them. Ask the gateway's support before you release one that may have "
        "been paid."
    ),
    "approve": (
        "Pay the rows of a file that was run with --check-only, all of them or the ones named. "
        "What was changed in the file since its check stays unpaid."
    ),
    "withdraw": (
        "Take payouts back before they are paid. Each is ended for good; to pay it after all "
        "takes a new client_orderid."
    ),
    "journal": (
        "Make the tables of a journal in PostgreSQL, or declare what a journal cannot know by "
        "itself: that it was restored from a copy, and later that nothing is missing from it."
    ),
    "take-over": (
        "Let living processes of a DBOS application go on with the payouts of dead ones. To be "
        "wrong about who is dead is harmless: each send still leaves once. Nothing is sent from "
        "here, and no settings are needed."
    ),
    "listen": (
        "Take the gateway's callbacks in for payouts that other processes run on the same "
        "journal. It never sends a payout. It speaks plain HTTP: put your TLS in front of it."
    ),
    "sandbox": (
        "Run the built-in sandbox, a gateway to play against on this machine, and print the "
        "settings to use with it. Each start is a new one with a new key: begin a new journal with "
        "it. The setting BILLBLEND_BASE_URL=sandbox leads to another: the gateway's own sandbox."
    ),
    "demo": (
        "Pay a sample file against a built-in sandbox of its own and compare the results with the "
        "books of that. It needs no settings and no network."
    ),
}
_EXAMPLES: Final = {
    "pay": "billblend pay payouts.csv --journal payouts.db --out results.csv",
    "status": "billblend status po-1 --journal payouts.db",
    "attention": 'billblend attention release po-7 --journal payouts.db --who ann --why "not paid"',
    "approve": "billblend approve payouts.csv --journal payouts.db --out results.csv --who ann",
    "withdraw": 'billblend withdraw po-2 --journal payouts.db --who ann --why "wrong amount"',
    "journal": "billblend journal restored --journal payouts.db",
    "take-over": "billblend take-over machine-7 --database postgresql://dbos@db/payouts_dbos",
    "listen": "billblend listen --journal payouts.db --port 8080",
    "sandbox": "billblend sandbox --fault payout-pay:drop_after:0.1",
    "demo": "billblend demo --payouts 60",
    "report": "billblend report --journal payouts.db --html report.html",
    "watch": "billblend watch --journal payouts.db",
    "doctor": "billblend doctor --journal payouts.db",
    "sign": "billblend sign payout-pay client_orderid=po-1 orderid=6982864",
}


def complete(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Complete what an argument is declared with: the word for its value, and its default.

    Args:
        names: The names of the argument.
        options: What ``add_argument`` is given beside them.
    """
    told = dict(options)
    if not names[0].startswith("-"):
        return told
    kind, default, text = told.get("type"), told.get("default"), told.get("help")
    choices = list(told.get("choices") or ())
    if text and len(choices) > _MOST_CHOICES:
        told.setdefault("metavar", names[0].lstrip("-").upper())
        told["help"] = text = f"{text}: {', '.join(map(str, choices))}"
    if "action" not in told and (type(default) is int or kind in _VALUES):
        told.setdefault("metavar", _VALUES.get(kind, "N"))
    if type(default) in (str, int, float) and default != argparse.SUPPRESS:
        shown = default if isinstance(default, str) else f"{default:g}"
        if text and "default" not in text:
            told["help"] = f"{text} (default {shown})"
    return told


def explain(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Let ``--help`` of each command say what it is for, and show an example of it."""
    for name, command in commands.items():
        # The example stands on a line of its own, so nothing is wrapped for us.
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.description = textwrap.fill(_TEXTS.get(name) or command.description or "", _WIDTH)
        if example := _EXAMPLES.get(name):
            rest = f"\n\n{command.epilog}" if command.epilog else ""
            command.epilog = f"example:\n  {example}{rest}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Find what was meant by an option or a command that does not exist; empty where that is open.

    Args:
        word: What was typed, without a value.
        known: What there is.
    """
    typed = word.lstrip("-").lower().replace("_", "-")
    names = {name.lstrip("-"): name for name in known}
    near = get_close_matches(typed, names)
    # Of --who and --why, --woh is rather the one with the same letters.
    meant = min(near, key=lambda name: sorted(name) != sorted(typed), default=None)
    return "" if meant is None else names[meant]
