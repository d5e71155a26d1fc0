"""``billblend journal``, ``listen`` and ``take-over``."""

import argparse
import asyncio
import contextlib
import logging
import os
from typing import Final

from ..errors import ConfigurationError
from ..gateway.callbacks import LONGEST_QUERY
from ..gateway.settings import Settings, read_settings
from ..integrations.asgi import CallbackEndpoint
from ..journal.location import JOURNAL_HELP, DatabasePlace, Place, found, read_address, read_place
from .console import end_on_signals
from .options import make_client, make_orchestrator

__all__ = [
    "add_journal",
    "add_listen",
    "add_take_over",
]

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


_HEADERS: Final = 64 * 1024
_CONNECTIONS: Final = 256
"""Connections at once, well below the 1024 open files of most processes; callbacks come again."""
_PATIENCE: Final = 10.0
"""Seconds that a callback may take to come."""


def add_listen(listen: argparse.ArgumentParser) -> None:
    """Give ``billblend listen`` its options."""
    listen.add_argument(
        "--journal",
        type=read_place,
        required=True,
        help="the journal of the payouts: a file, made if it is not there, or an address",
    )
    listen.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    listen.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    listen.set_defaults(run=_listen)


def _listen(arguments: argparse.Namespace) -> int:
    settings = read_settings(os.environ)
    if not settings.credentials.callback_controls:
        raise ConfigurationError(
            "BILLBLEND_MERCHANT_CONTROL is not set; without it no callback can be verified"
        )
    if not 0 <= arguments.port < 65536:
        raise ConfigurationError("--port: must lie between 0, for any free one, and 65535")
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(settings, arguments.journal, arguments.host, arguments.port))
    return 0


async def _serve(settings: Settings, journal: Place, host: str, port: int) -> None:
    """Take callbacks in at any path until a signal ends it; nothing is ever sent from here."""
    from ..server import Server, Wall, take_port

    # Whoever runs it sees what is refused and how payouts end; of a callback nothing is repeated.
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("billblend_async").setLevel(logging.INFO)
    end_on_signals()
    with take_port(host, port) as listener:
        async with (
            make_client(settings) as client,
            make_orchestrator(client, journal) as payouts,
        ):
            wall = Wall(connections=_CONNECTIONS, seconds=_PATIENCE)
            endpoint = CallbackEndpoint(payouts)
            server = Server(endpoint, asyncio.Event(), LONGEST_QUERY + _HEADERS, wall)
            try:
                await server.begin(listener)
                name = f"[{host}]" if ":" in host else host
                address = f"http://{name}:{listener.getsockname()[1]}/"
                print(f"Callbacks are taken in at {address} and every path below it.", flush=True)
                await server.wait()
            except asyncio.CancelledError:
                pass
            finally:
                await server.end()


_DATABASE: Final = "DBOS_SYSTEM_DATABASE_URL"


def add_take_over(parser: argparse.ArgumentParser) -> None:
    """Give ``billblend take-over`` its options."""
    parser.add_argument("executor", nargs="+", help="the executor_id of each process that is dead")
    parser.add_argument(
        "--database",
        type=read_address,
        metavar="URL",
        help="DBOS's system database, without a password: see PGPASSWORD (default: "
        f"{_DATABASE} from the environment)",
    )
    parser.add_argument("--name", default="billblend", help="the engine's name")
    parser.add_argument("--schema", default="dbos", help="DBOS's dbos_system_schema")
    parser.set_defaults(run=_take_over)


def _take_over(arguments: argparse.Namespace) -> int:
    from ..integrations.dbos import take_over

    database = arguments.database or os.environ.get(_DATABASE, "").strip()
    if not database:
        raise ConfigurationError(f"give DBOS's system database in --database or {_DATABASE}")
    taken = asyncio.run(
        take_over(database, arguments.executor, name=arguments.name, schema=arguments.schema)
    )
    who = ", ".join(arguments.executor)
    print(f"{taken:,} payout(s) of {who} go on with whoever takes them from the queue.")
    return 0
