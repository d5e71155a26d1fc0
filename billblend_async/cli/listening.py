"""The command that takes callbacks in for payouts which other processes run."""

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
from ..journal.location import Place, read_place
from .console import end_on_signals
from .desk import make_client, make_orchestrator

__all__ = ["add_listen"]

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
