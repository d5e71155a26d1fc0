"""The commands about a journal as a whole: make its tables, and say what it cannot know."""

import argparse
import asyncio
import os
from typing import Final

from ..errors import ConfigurationError
from ..gateway.settings import read_settings
from ..journal.founding import found
from ..journal.location import JOURNAL_HELP, DatabasePlace, read_place
from .desk import make_client, make_orchestrator

__all__ = ["add_journal"]

_INIT: Final = (
    "make the tables of a journal in PostgreSQL, and its key, or bring them forward to this "
    "release; a journal in a file needs none of it"
)
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


def add_journal(journal: argparse.ArgumentParser) -> None:
    """Give ``billblend journal`` its commands."""
    commands = journal.add_subparsers(required=True, metavar="COMMAND")
    for name, text in {"init": _INIT, **_DECLARATIONS}.items():
        sentence = f"{text[0].upper()}{text[1:]}."
        command = commands.add_parser(name, help=text, description=sentence)
        command.add_argument("--journal", type=read_place, required=True, help=JOURNAL_HELP)
        command.set_defaults(run=_init if name == "init" else _journal, declaration=name)


def _init(arguments: argparse.Namespace) -> int:
    place = arguments.journal
    if not isinstance(place, DatabasePlace):
        raise ConfigurationError(
            f"--journal {place}: a journal in a file is made by its first run; init is for one in "
            "PostgreSQL, such as postgresql://user@host/database"
        )
    before, now, is_key_made = asyncio.run(found(place))
    if before == now:
        told = f"The tables are there already (version {now}) in"
    elif before:
        told = f"Brought the tables from version {before} to {now} in"
    else:
        told = f"Made the tables of a journal (version {now}) in"
    print(f"{told} {place.title}.")
    if is_key_made:
        print(
            f"Made its key in {place.key_file()}: copy this file to every machine that works on "
            "the journal, and keep it apart from the database and its copies."
        )
    return 0


def _journal(arguments: argparse.Namespace) -> int:
    arguments.journal.check()
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
