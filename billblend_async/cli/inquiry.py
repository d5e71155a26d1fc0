"""The command that tells where one payout stands: what the journal knows, and what the gateway."""

import argparse
import asyncio
import os

from ..core.parameters import check_value
from ..core.request import PARAMETERS
from ..core.responses import NotFound, StatusReport
from ..errors import InvalidInput, Problem
from ..gateway.settings import read_settings
from ..journal.location import Place, read_place
from .console import UNFINISHED
from .desk import make_client, make_orchestrator

__all__ = ["add_status"]


def add_status(status: argparse.ArgumentParser) -> None:
    """Give ``billblend status`` its options."""
    status.add_argument("client_orderid", help="the payout's id")
    status.add_argument(
        "--journal",
        type=read_place,
        help="the journal that knows it; without it only the gateway is asked",
    )
    status.set_defaults(run=_status)


def _status(arguments: argparse.Namespace) -> int:
    if wrong := check_value(PARAMETERS["client_orderid"], arguments.client_orderid):
        raise InvalidInput((Problem("client_orderid", wrong),))
    if arguments.journal is not None:
        arguments.journal.check()
    return asyncio.run(_ask_status(arguments.client_orderid, arguments.journal))


async def _ask_status(client_orderid: str, journal: Place | None) -> int:
    from rich.console import Console

    from ..reporting.report import print_history, print_outcome, print_report

    console = Console()
    async with make_client(read_settings(os.environ)) as client:
        order: str | None = None
        if journal is not None:
            async with make_orchestrator(client, journal) as payouts:
                outcome = await payouts.status(client_orderid)
                events = await payouts.history(client_orderid)
            order = outcome.paynet_order_id
            console.print("journal:", highlight=False)
            print_outcome(console, outcome)
            console.print("history:", highlight=False)
            print_history(console, events)
        answer = await client.status(client_orderid, order)
    console.print("gateway:", highlight=False)
    if isinstance(answer, StatusReport):
        print_report(console, answer)
        if not answer.status.is_final:
            return UNFINISHED
        return 0 if answer.status == "approved" else 1
    reason = "knows no such order" if isinstance(answer, NotFound) else answer.reason
    console.print(f"  {reason}", markup=False, highlight=False, soft_wrap=True)
    return UNFINISHED
