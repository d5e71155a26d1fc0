"""The commands with which a person decides what nobody else can."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .batch import read_batch
from .desk import check_journal, make_client, make_orchestrator
from .errors import DecisionRefused, InvalidInput, PayoutNotFound, Problem
from .models import Doubt, State
from .settings import read_settings

if TYPE_CHECKING:
    from .orchestrator import Orchestrator

__all__ = ["add_attention", "add_journal"]

_NEEDS_PERSON: Final = 2
_BAD_INPUT: Final = 3

_DECISIONS: Final = {
    "list": "list the payouts for which nothing is sent until a person has looked",
    "release": "allow exactly one more send for each; run the file again to send it",
    "close": "end each: nothing is sent or asked for it again",
}
_DECLARATIONS: Final = {
    "restored": (
        "declare that the journal was restored from a copy: every payout is asked about before "
        "anything is sent for it"
    ),
    "complete": (
        "declare that nobody will hand in a payout again that the restored journal has lost: new "
        "ones are sent without being asked about"
    ),
}


def add_attention(attention: argparse.ArgumentParser) -> None:
    """Give ``billblend attention`` its commands."""
    decisions = attention.add_subparsers(required=True, metavar="DECISION")
    for name, text in _DECISIONS.items():
        decision = decisions.add_parser(name, help=text, description=_sentence(text))
        decision.add_argument("--journal", type=Path, required=True, help="the journal")
        decision.add_argument(
            "--doubt", choices=[word.value for word in Doubt], help="only those with this reason"
        )
        decision.add_argument("--batch", type=Path, metavar="FILE", help="only those of this file")
        if name != "list":
            decision.add_argument("client_orderid", nargs="*", help="payouts, or else a filter")
            decision.add_argument("--who", required=True, help="your name, for the record")
            decision.add_argument("--why", required=True, help="what you found out, for the record")
        decision.set_defaults(run=_attention, decision=name, client_orderid=[])


def add_journal(journal: argparse.ArgumentParser) -> None:
    """Give ``billblend journal`` its commands."""
    declarations = journal.add_subparsers(required=True, metavar="DECLARATION")
    for name, text in _DECLARATIONS.items():
        declaration = declarations.add_parser(name, help=text, description=_sentence(text))
        declaration.add_argument("--journal", type=Path, required=True, help="the journal")
        declaration.set_defaults(run=_journal, declaration=name)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _attention(arguments: argparse.Namespace) -> int:
    check_journal(arguments.journal)
    named, filtered = arguments.client_orderid, arguments.doubt or arguments.batch
    if arguments.decision != "list" and bool(named) is bool(filtered):
        wrong = "give payouts, or --doubt or --batch for all of those"
        raise InvalidInput((Problem("client_orderid", wrong),))
    return asyncio.run(_decide(arguments))


async def _decide(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from .report import print_attention

    console = Console()
    batch = None if arguments.batch is None else read_batch(arguments.batch)
    ids = None if batch is None else {row.request.client_orderid for row in batch.rows}
    async with (
        make_client(read_settings(os.environ)) as client,
        make_orchestrator(client, arguments.journal) as payouts,
    ):
        doubt = None if arguments.doubt is None else Doubt(arguments.doubt)
        parked = await payouts.attention(doubt=doubt, among=ids)
        if arguments.decision == "list":
            print_attention(console, parked)
            if not parked:
                print("Nothing needs a person.")
            return _NEEDS_PERSON if parked else 0
        names = arguments.client_orderid or [told.client_orderid for told in parked]
        if not names:
            print("No payout in attention fits the filter.")
        decided = await _decide_each(payouts, names, arguments)
    return 0 if decided == len(names) else _BAD_INPUT


async def _decide_each(
    payouts: "Orchestrator", names: Sequence[str], arguments: argparse.Namespace
) -> int:
    decide = payouts.release if arguments.decision == "release" else payouts.close
    decided = 0
    for name in names:
        try:
            told = await decide(name, who=arguments.who, why=arguments.why)
        except (DecisionRefused, PayoutNotFound) as error:
            print(f"billblend: {error}", file=sys.stderr)
        else:
            again = "; run its file again to send it" if told.state is State.NEW else ""
            print(f"{name}: {told.state}{again}")
            decided += 1
    return decided


def _journal(arguments: argparse.Namespace) -> int:
    check_journal(arguments.journal)
    return asyncio.run(_declare(arguments))


async def _declare(arguments: argparse.Namespace) -> int:
    async with (
        make_client(read_settings(os.environ)) as client,
        make_orchestrator(client, arguments.journal) as payouts,
    ):
        if arguments.declaration == "complete":
            await payouts.declare_complete()
            print("New payouts are sent without being asked about.")
            return 0
        marked = await payouts.declare_restored()
    print(
        f"{marked} unfinished payouts, and all that are handed in from now on, are asked about "
        "before anything is sent. When every file since the copy has been run again, say: "
        "billblend journal complete"
    )
    return 0
