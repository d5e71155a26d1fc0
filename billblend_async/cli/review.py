"""``billblend attention``, ``approve``, ``withdraw`` and ``status``: a person decides and looks."""

import argparse
import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..batch.parser import Batch
from ..batch.preflight import amounts_text, approvable, is_approvable, question, remarks
from ..batch.progress import Tally
from ..core.descriptions import Notation, legible
from ..core.models import Alarm, Doubt, Outcome, Polling, State
from ..core.parameters import check_value
from ..core.request import PARAMETERS, PayoutRequest
from ..core.responses import NotFound, StatusReport
from ..errors import (
    BillblendError,
    ClosedError,
    DecisionRefused,
    InvalidInput,
    JournalError,
    PayoutNotFound,
    Problem,
)
from ..gateway.settings import read_settings
from ..journal.location import JOURNAL_HELP, Place, read_place
from ..orchestrator.orchestrator import side_by_side
from .console import BAD_INPUT, UNFINISHED, say
from .ending import same_command
from .options import (
    POLL_HELP,
    add_reading,
    make_client,
    make_orchestrator,
    polling,
    positive,
    read_chosen,
    read_payouts,
)
from .pay import add_confirmation, add_view, check_out, confirm
from .run import Plan, run_payouts, stands

if TYPE_CHECKING:
    from ..orchestrator.orchestrator import Orchestrator

__all__ = [
    "acknowledge",
    "add_approve",
    "add_attention",
    "add_status",
    "add_withdraw",
]

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

    from ..reporting.terminal import print_history, print_outcome, print_report

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


_DECISIONS: Final = {
    "list": "list the payouts that need a person: nothing is sent for them, or something is odd",
    "release": "allow exactly one more send for each; run the file again to send it",
    "close": "end each: nothing is sent or asked for it again",
    "acknowledge": "take finished payouts off the list, whose alarms or status error you know of",
}
_ALARMS: Final = (*(word.value for word in Alarm), "error")


def add_attention(attention: argparse.ArgumentParser) -> None:
    """Give ``billblend attention`` its commands."""
    decisions = attention.add_subparsers(required=True, metavar="DECISION")
    for name, text in _DECISIONS.items():
        decision = decisions.add_parser(name, help=text, description=_sentence(text))
        decision.add_argument("--journal", type=read_place, required=True, help=JOURNAL_HELP)
        if name != "acknowledge":
            decision.add_argument(
                "--doubt", choices=[word.value for word in Doubt], help="only those with this doubt"
            )
        if name in ("list", "acknowledge"):
            decision.add_argument(
                "--alarm", choices=_ALARMS, help="only those with this alarm or status"
            )
        decision.add_argument("--batch", type=Path, metavar="FILE", help="only those of this file")
        add_reading(decision)
        if name != "list":
            decision.add_argument("client_orderid", nargs="*", help="payouts, or else a filter")
            decision.add_argument("--who", required=True, help="your name, for the record")
            decision.add_argument("--why", required=True, help="what you found out, for the record")
        if name in ("release", "acknowledge"):
            told = f"do not ask before all that fit are {name.removesuffix('e')}ed"
            decision.add_argument("--yes", action="store_true", help=told)
        decision.set_defaults(run=_attention, decision=name)
        decision.set_defaults(client_orderid=[], doubt=None, alarm=None)


def add_approve(approve: argparse.ArgumentParser) -> None:
    """Give ``billblend approve`` its options."""
    approve.add_argument("file", type=Path, help="the file that was run with --check-only")
    approve.add_argument("client_orderid", nargs="*", help="only these of its payouts")
    add_reading(approve)
    approve.add_argument("--journal", type=read_place, required=True, help=JOURNAL_HELP)
    approve.add_argument("--out", type=Path, required=True, help="the results file to write")
    approve.add_argument("--who", required=True, help="your name, for the record")
    approve.add_argument("--concurrency", type=positive, default=1000, help="most payouts at once")
    approve.add_argument(
        "--poll", type=polling, default=Polling(), metavar="MIN:MAX", help=POLL_HELP
    )
    add_confirmation(approve)
    add_view(approve)
    approve.set_defaults(run=_approve)


def _approve(arguments: argparse.Namespace) -> int:
    arguments.journal.check()
    if not arguments.who.strip():
        raise InvalidInput((Problem("--who", "is empty; give your name, for the record"),))
    batch, settings = read_payouts(arguments.file, arguments), read_settings(os.environ)
    check_out(arguments.out, arguments.file, arguments.journal)
    rows = {row.request.client_orderid for row in batch.rows}
    unknown = [name for name in arguments.client_orderid if name not in rows]
    if unknown:
        raise InvalidInput(tuple(Problem(name, "is not in the file") for name in unknown))
    named = set(arguments.client_orderid) or rows
    found = approvable(batch, arguments.journal, settings, named)
    if found:
        what, details = question(found, batch.notation)
        confirm(
            what,
            details,
            remarks(batch, {payout.client_orderid for payout in found}),
            endpoint=settings.endpoint,
            journal=arguments.journal,
            is_given=arguments.yes,
        )
    # What the bank validates from here on nobody was asked about, so it goes on waiting.
    asked = {told.client_orderid for told in found}
    plan = Plan(
        journal=arguments.journal,
        out=arguments.out,
        polling=arguments.poll,
        concurrency=arguments.concurrency,
        title=arguments.file.name,
        as_json=arguments.json,
        again=same_command(arguments.typed),
    )

    async def run(payouts: "Orchestrator", tally: Tally) -> AsyncGenerator[Outcome, None]:
        async def approve(outcome: Outcome) -> Outcome:
            try:
                return await payouts.approve(outcome.client_orderid, who=arguments.who)
            except (JournalError, ClosedError):
                raise
            except BillblendError as error:
                return attrs.evolve(outcome, explanation=str(error), problem=error)

        rows = [row.request for row in batch.rows if row.request.client_orderid in asked]
        waiting = [told async for told in _approvable(payouts, rows)]
        tally.only({told.client_orderid for told in waiting})
        left = sorted(named - {told.client_orderid for told in waiting})
        if left:
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            names = f"{', '.join(left[:5])}{more}"
            since = "they did not await approval when this began, or not as the file has them"
            say(f"left alone, since {since}: {names}")
        _announce(waiting, batch.notation)
        async with aclosing(side_by_side(waiting, approve, limit=plan.concurrency)) as outcomes:
            async for told in outcomes:
                yield told

    return asyncio.run(run_payouts(settings, batch, plan, run))


async def _approvable(
    payouts: "Orchestrator", requests: Sequence[PayoutRequest]
) -> AsyncGenerator[Outcome, None]:
    """Find what awaits approval, and what was approved in a run that did not come to its end.

    What is approved is what the file says: a row that was changed since its check is left alone.
    """
    for request in requests:
        with contextlib.suppress(PayoutNotFound):
            told = await stands(payouts, request)
            if is_approvable(told):
                yield told


def _announce(waiting: Sequence[Outcome], notation: Notation) -> None:
    """Say what is about to be paid."""
    paid = [told for told in waiting if told.state is not State.ATTENTION]
    if paid:
        say(f"approving {len(paid)} payout(s): {amounts_text(paid, notation)}")


def add_withdraw(withdraw: argparse.ArgumentParser) -> None:
    """Give ``billblend withdraw`` its options."""
    withdraw.add_argument("client_orderid", nargs="+", help="payouts that are not paid yet")
    withdraw.add_argument("--journal", type=read_place, required=True, help=JOURNAL_HELP)
    withdraw.add_argument("--who", required=True, help="your name, for the record")
    withdraw.add_argument("--why", required=True, help="your reason, for the record")
    withdraw.set_defaults(run=_withdraw)


def _withdraw(arguments: argparse.Namespace) -> int:
    arguments.journal.check()
    return asyncio.run(_withdraw_all(arguments))


async def _withdraw_all(arguments: argparse.Namespace) -> int:
    async with (
        make_client(read_settings(os.environ)) as client,
        make_orchestrator(client, arguments.journal) as payouts,
    ):
        names = arguments.client_orderid
        decided = await _decide_each(payouts.withdraw, names, arguments)
    return 0 if decided == len(names) else BAD_INPUT


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _attention(arguments: argparse.Namespace) -> int:
    arguments.journal.check()
    named = arguments.client_orderid
    is_to_acknowledge = arguments.decision == "acknowledge"
    chosen = [
        arguments.doubt,
        arguments.batch,
        None if is_to_acknowledge and named else arguments.alarm,
    ]
    if arguments.decision != "list" and bool(named) is any(chosen):
        option = "--alarm" if is_to_acknowledge else "--doubt"
        wrong = f"give payouts, or {option} or --batch for all of those"
        raise InvalidInput((Problem("client_orderid", wrong),))
    batch = read_chosen(arguments)
    if is_to_acknowledge:
        return acknowledge(arguments, batch)
    parked = [] if named else asyncio.run(_parked(arguments, batch))
    if arguments.decision == "list":
        return _list(parked)
    if not named and not parked:
        print("No payout that needs a person fits the filter.")
        return 0
    if parked and arguments.decision == "release":
        notation = Notation() if batch is None else batch.notation
        what = f"release {notation.count(len(parked))} payout(s) to be sent again"
        confirm(
            f"{what}: {amounts_text(parked, notation)}",
            [_parked_line(told, notation) for told in parked],
            endpoint=read_settings(os.environ).endpoint,
            journal=arguments.journal,
            is_given=arguments.yes,
            always=True,
        )
    return asyncio.run(_decide(arguments, parked))


def _list(parked: Sequence[Outcome]) -> int:
    from rich.console import Console

    from ..reporting.terminal import print_attention

    print_attention(Console(), parked)
    if not parked:
        print("Nothing needs a person.")
    return UNFINISHED if parked else 0


def _parked_line(told: Outcome, notation: Notation) -> str:
    amount = notation.amount(told.amount)
    return f"{told.client_orderid}: {amount} {told.currency}, {told.doubt}"


async def _parked(arguments: argparse.Namespace, batch: Batch | None) -> list[Outcome]:
    """List what needs a person, as far as it fits the filter of the command line."""
    ids = None if batch is None else {row.request.client_orderid for row in batch.rows}
    doubt = None if arguments.doubt is None else Doubt(arguments.doubt)
    async with (
        make_client(read_settings(os.environ)) as client,
        make_orchestrator(client, arguments.journal) as payouts,
    ):
        found: list[Outcome] = []
        if arguments.alarm is None:
            found += await payouts.attention(doubt=doubt, among=ids)
        if arguments.doubt is None and arguments.decision == "list":
            flagged = await payouts.flagged(among=ids)
            found += (told for told in flagged if arguments.alarm in (None, *told.concerns))
        return found


async def _decide(arguments: argparse.Namespace, shown: Sequence[Outcome]) -> int:
    """Decide about the payouts that are named, or else about exactly those that were shown."""
    async with (
        make_client(read_settings(os.environ)) as client,
        make_orchestrator(client, arguments.journal) as payouts,
    ):
        names = arguments.client_orderid or [told.client_orderid for told in shown]
        if shown:
            # Nobody has looked at what has moved since it was shown.
            now = {told.client_orderid: told for told in await payouts.attention()}
            moved = {name for told in shown if now.get(name := told.client_orderid) != told}
            for name in sorted(moved):
                say(f"{name}: left alone, since it has moved on meanwhile; look at it again")
            names = [name for name in names if name not in moved]
        decide = getattr(payouts, arguments.decision)
        decided = await _decide_each(decide, names, arguments)
    return 0 if decided == len(shown or names) else BAD_INPUT


async def _decide_each(
    decide: Callable[..., Awaitable[Outcome]], names: Sequence[str], arguments: argparse.Namespace
) -> int:
    decided = 0
    for name in names:
        try:
            told = await decide(name, who=arguments.who, why=arguments.why)
        except (DecisionRefused, PayoutNotFound) as error:
            say(str(error))
        else:
            print(f"{name}: {_decided(told)}")
            decided += 1
    return decided


def _decided(told: Outcome) -> str:
    """Say what a decision has made of a payout."""
    if told.state in (State.NEW, State.VALIDATED):
        return f"{told.state}; run its file again to send it"
    return str(told.status or told.state)
