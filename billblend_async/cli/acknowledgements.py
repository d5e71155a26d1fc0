"""``billblend attention acknowledge``: a person takes what they have been shown off the lists."""

import argparse
import asyncio
import os
from collections.abc import Iterator, Sequence

from ..batch.limits import amounts_text
from ..batch.parser import Batch
from ..core.legibility import legible
from ..core.models import Outcome
from ..core.notation import Notation
from ..errors import DecisionRefused, PayoutNotFound
from ..gateway.settings import read_settings
from .console import BAD_INPUT, say
from .desk import make_client, make_orchestrator
from .preflight import confirm

__all__ = ["acknowledge"]

_Details = tuple[tuple[str, str], ...]


def acknowledge(arguments: argparse.Namespace, batch: Batch | None) -> int:
    """Acknowledge what fits the command line, and nothing that comes while it is being shown."""
    shown = asyncio.run(_look(arguments, batch))
    if not arguments.client_orderid:
        if not shown:
            print("No payout that needs a person fits the filter.")
            return 0
        notation = Notation() if batch is None else batch.notation
        what = f"acknowledge this of {notation.count(len(shown))} payout(s)"
        confirm(
            f"{what}: {amounts_text(shown, notation)}",
            [_question(told, arguments.alarm, notation) for told in shown],
            endpoint=read_settings(os.environ).endpoint,
            journal=arguments.journal,
            is_given=arguments.yes,
            always=True,
        )
    decided = asyncio.run(_acknowledge(arguments, shown))
    return 0 if decided == len(arguments.client_orderid or shown) else BAD_INPUT


async def _look(arguments: argparse.Namespace, batch: Batch | None) -> Sequence[Outcome]:
    """Look at the payouts that are named, or else at all that fit the filter."""
    async with (
        make_client(read_settings(os.environ)) as client,
        make_orchestrator(client, arguments.journal) as payouts,
    ):
        if not arguments.client_orderid:
            ids = None if batch is None else {row.request.client_orderid for row in batch.rows}
            flagged = await payouts.flagged(among=ids)
            return [told for told in flagged if told.is_finished and _chosen(told, arguments.alarm)]
        found = []
        for name in arguments.client_orderid:
            try:
                found.append(await payouts.status(name))
            except PayoutNotFound as error:
                say(str(error))
        return found


async def _acknowledge(arguments: argparse.Namespace, shown: Sequence[Outcome]) -> int:
    """Acknowledge what was shown, and tell what that was and what is left; count the payouts."""
    decided = 0
    async with (
        make_client(read_settings(os.environ)) as client,
        make_orchestrator(client, arguments.journal) as payouts,
    ):
        for before in shown:
            try:
                after = await payouts.acknowledge(
                    before.client_orderid,
                    who=arguments.who,
                    why=arguments.why,
                    alarms=arguments.alarm and [arguments.alarm],
                    as_of=before.sequence,
                )
            except DecisionRefused as error:
                say(str(error))
                continue
            print("\n".join(_result(before, after, arguments.alarm)))
            decided += 1
    return decided


def _question(told: Outcome, alarm: str | None, notation: Notation) -> str:
    """Write what is about to be acknowledged of a payout."""
    odd = (f"\n  {word}: {legible(sentence)}" for word, sentence in _chosen(told, alarm))
    amount = f"{notation.amount(told.amount)} {told.currency}"
    return f"{told.client_orderid}: {amount}, {told.status or told.state}{''.join(odd)}"


def _result(before: Outcome, after: Outcome, alarm: str | None) -> Iterator[str]:
    """Write what was acknowledged of a payout, and what is left."""
    yield f"{after.client_orderid}: {after.status or after.state}"
    for word, sentence in _chosen(before, alarm):
        yield f"  acknowledged: {word}: {legible(sentence)}"
    for word, sentence in after.details:
        yield f"  left: {word}: {legible(sentence)}"


def _chosen(told: Outcome, alarm: str | None) -> _Details:
    """Give what of a payout the command line chooses."""
    return tuple(each for each in told.details if alarm in (None, each[0]))
