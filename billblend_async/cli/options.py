"""The options that commands share, and what they open: the payouts file, the client, the runs."""

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..batch.parser import Batch, read_batch
from ..core.models import Deadlines, Polling
from ..errors import InvalidInput, Problem
from ..journal.location import Place

if TYPE_CHECKING:
    from ..gateway.client import Client
    from ..gateway.settings import Settings
    from ..orchestrator.context import Observers
    from ..orchestrator.observer import OnRedirect
    from ..orchestrator.orchestrator import Orchestrator

__all__ = [
    "POLL_HELP",
    "add_reading",
    "deadline",
    "make_client",
    "make_orchestrator",
    "polling",
    "positive",
    "read_chosen",
    "read_payouts",
]

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


def make_client(settings: "Settings") -> "Client":
    """Make a client of the endpoint that the settings name."""
    from ..gateway.client import Client

    endpoint = settings.endpoint
    return Client(
        settings.credentials,
        endpoint_id=endpoint.endpoint_id,
        endpoint_group_id=endpoint.endpoint_group_id,
        base_url=endpoint.base_url,
        status_version=settings.status_version,
        poll_transport=settings.poll_transport,
    )


def make_orchestrator(
    client: "Client",
    journal: Place,
    *,
    polling: Polling = Polling(),
    deadlines: Deadlines = Deadlines(),
    observer: "Observers | None" = None,
    on_redirect: "OnRedirect | None" = None,
    server_callback_url: str | None = None,
) -> "Orchestrator":
    """Make an orchestrator over a journal."""
    from ..orchestrator.orchestrator import Orchestrator

    return Orchestrator(
        client,
        journal.journal(),
        polling=polling,
        deadlines=deadlines,
        observer=observer,
        on_redirect=on_redirect,
        server_callback_url=server_callback_url,
    )


def add_reading(command: argparse.ArgumentParser, *, reads_only: bool = False) -> None:
    """Give a command the option that says how its payouts file is written.

    Args:
        command: The command.
        reads_only: Whether what it tells has points all the same: others and machines read it too.
    """
    told = "what is shown keeps its points" if reads_only else "amounts are shown like that too"
    command.add_argument(
        "--decimal-comma",
        action="store_true",
        help=f"take 10,42 for an amount in text; one with a point is refused then, and {told}",
    )


def read_payouts(path: Path, arguments: argparse.Namespace) -> Batch:
    """Read a payouts file as the command line says that it is written.

    Raises:
        InvalidInput: Every wrong line and field is named, none with its value.
    """
    return read_batch(path, decimal_comma=arguments.decimal_comma)


def read_chosen(arguments: argparse.Namespace) -> Batch | None:
    """Read the file of ``--batch``; None where there is none.

    Raises:
        InvalidInput: Something is wrong with the file, or there is none to be read in that way.
    """
    if arguments.batch is not None:
        return read_payouts(arguments.batch, arguments)
    if arguments.decimal_comma:
        raise InvalidInput((Problem("--decimal-comma", "belongs to --batch; give that too"),))
    return None
