"""The command that pays a file of payouts, and what it shares with those that approve one."""

import argparse
import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from .batch import Batch, Total, exit_status, totals
from .console import BAD_CONFIGURATION, UNFINISHED, say
from .desk import make_client, make_orchestrator
from .ending import Ending, same_command
from .errors import (
    ConfigurationError,
    JournalError,
    SendingStopped,
)
from .lines import JSON_HELP
from .links import Links, journaled
from .live import View, Watch, make_view
from .models import Deadlines, Flow, Outcome
from .options import POLL_HELP, deadline, polling, positive
from .places import Place, read_place
from .polling import Polling
from .preflight import add_preflight, is_cleared, read_file
from .replacement import remove_leftovers
from .results import are_results, check_ending, write_results
from .settings import Settings, read_settings
from .tally import Tally

if TYPE_CHECKING:
    from .orchestrator import Orchestrator

__all__ = [
    "Plan",
    "add_pay",
    "add_view",
    "check_out",
    "run_batch",
    "run_payouts",
]

_SIGNALS_HELP: Final = """\
Ctrl-C (or SIGTERM) ends a run well: nothing new is sent, what is under way is recorded, and the
same command goes on with the rest. A second one cuts it off within a second; that is safe for the
money, and what was under way is asked about by the next run.
"""


@attrs.frozen(kw_only=True)
class Plan:
    """How a file is run.

    Attributes:
        journal: Where every step is recorded.
        out: The results file.
        polling: How often a status is asked for.
        concurrency: The most that are open at once.
        flow: Which way the payouts go.
        pay: Whether they are paid, or only checked and left for approval.
        deadlines: How long each wait may take.
        title: What it is called while it is shown.
        as_json: Whether machines read what is told of it.
        again: How somebody goes on with it when it was ended early.
        at_cut: Called when a second signal cuts it off.
    """

    journal: Place
    out: Path
    polling: Polling = Polling()
    concurrency: int = 1000
    flow: Flow = Flow.CHECK_PAY
    pay: bool = True
    deadlines: Deadlines = Deadlines()
    title: str = "payouts"
    as_json: bool = False
    again: str = "run the same command again"
    at_cut: Callable[[], object] = attrs.field(default=lambda: None, repr=False)


def add_pay(pay: argparse.ArgumentParser) -> None:
    """Give ``billblend pay`` its options."""
    pay.add_argument(
        "file",
        type=Path,
        help="CSV, JSON Lines or XLSX whose columns are the gateway's parameter names",
    )
    pay.add_argument("--journal", type=read_place, help="where every step is recorded")
    pay.add_argument("--out", type=Path, help="the results file to write: .csv, .jsonl or .xlsx")
    add_preflight(pay)
    pay.add_argument("--concurrency", type=positive, default=1000, help="most payouts at once")
    pay.add_argument("--poll", type=polling, default=Polling(), metavar="MIN:MAX", help=POLL_HELP)
    way = pay.add_mutually_exclusive_group()
    way.add_argument(
        "--check-only",
        action="store_true",
        help="let the bank validate each payout and pay none: see billblend approve",
    )
    way.add_argument(
        "--one-step",
        action="store_true",
        help="pay at once, without the bank's confirmation (/api/v4/payout)",
    )
    pay.add_argument(
        "--deadline",
        type=deadline,
        action="append",
        default=[],
        metavar="NAME=SECONDS",
        help="hand a new payout back when one of its waits has taken so long; may be given several "
        f"times (default {', '.join(f'{n}={s:g}' for n, s in attrs.asdict(Deadlines()).items())})",
    )
    add_view(pay)
    pay.set_defaults(run=_pay)


def add_view(command: argparse.ArgumentParser) -> None:
    """Give a command that runs payouts its options for what is seen of them."""
    command.add_argument(
        "--json", action="store_true", help="tell what happens in JSON lines, for machines"
    )
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = f"{JSON_HELP}\n{_SIGNALS_HELP}"


def _pay(arguments: argparse.Namespace) -> int:
    batch = read_file(arguments)
    settings = read_settings(os.environ)
    if None not in (arguments.out, arguments.journal):  # else it is a dry run
        check_out(arguments.out, arguments.file, arguments.journal)
    flow, pay = Flow.ONE_STEP if arguments.one_step else Flow.CHECK_PAY, not arguments.check_only
    if not is_cleared(arguments, batch, settings, flow=flow, pay=pay):
        return 0
    plan = Plan(
        journal=arguments.journal,
        out=arguments.out,
        polling=arguments.poll,
        concurrency=arguments.concurrency,
        flow=flow,
        pay=pay,
        deadlines=Deadlines(**dict(arguments.deadline)),
        title=arguments.file.name,
        as_json=arguments.json,
        again=same_command(arguments.typed),
    )
    return asyncio.run(run_batch(settings, batch, plan))


def check_out(out: Path, file: Path, journal: Place) -> None:
    """Find out before anything is sent whether the results can be written, and over nothing else.

    Raises:
        ConfigurationError: They cannot, or something else would be lost.
    """
    reason = ""
    try:
        _check_out(out, file, journal)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except RuntimeError:  # how pathlib calls links that lead in a circle, before Python 3.13
        reason = "its links lead in a circle"
    if reason:
        raise ConfigurationError(f"--out {out}: {reason}; give another path")


def _check_out(out: Path, file: Path, journal: Place) -> None:
    key = os.environ.get("BILLBLEND_PRIVATE_KEY", "")
    if out.resolve() in [path.resolve() for path in (file, Path(key), *journal.files)]:
        raise ConfigurationError(f"--out {out}: give the results a file of their own")
    check_ending(out)
    if out.exists() and not out.is_file():
        raise ConfigurationError(f"--out {out}: this is no file; give another path")
    folder = out.resolve().parent  # a link is followed, and the file beside its end is written
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigurationError(f"--out {out}: this file cannot be written; give another path")
    if out.is_file() and not are_results(out):
        raise ConfigurationError(
            f"--out {out}: this holds no results; move it or give another path"
        )


async def run_batch(settings: Settings, batch: Batch, plan: Plan) -> int:
    """Run a file of payouts, show how it goes and write its results; the exit status."""

    def run(payouts: "Orchestrator", _: Tally) -> AsyncGenerator[Outcome, None]:
        requests = (row.request for row in batch.rows)
        return payouts.run_many(
            requests, concurrency=plan.concurrency, flow=plan.flow, pay=plan.pay
        )

    return await run_payouts(settings, batch, plan, run)


async def run_payouts(
    settings: Settings,
    batch: Batch,
    plan: Plan,
    run: Callable[["Orchestrator", Tally], AsyncGenerator[Outcome, None]],
) -> int:
    """Run payouts of a file, show how it goes and write the file's results; the exit status."""
    remove_leftovers(plan.out)
    tally = Tally(
        (row.request for row in batch.rows),
        is_one_step=plan.flow is Flow.ONE_STEP,
        pays=plan.pay,
    )
    view = make_view(plan.title, as_json=plan.as_json)
    # Outside the view: a terminal that takes nothing keeps neither a view nor a run from being cut.
    with _ending(plan, view) as ending:
        watch = Watch(tally=tally, view=view, ending=ending)
        return await _shown(settings, batch, plan, run, watch)


async def _shown(
    settings: Settings,
    batch: Batch,
    plan: Plan,
    run: Callable[["Orchestrator", Tally], AsyncGenerator[Outcome, None]],
    watch: Watch,
) -> int:
    """Run payouts while somebody watches, write the results and tell the end."""
    outcomes: dict[str, Outcome] = {}
    with closing(watch.view) as view:
        try:
            trouble, unread = await _run(settings, batch, plan, run, watch, outcomes)
        except asyncio.CancelledError:
            # The journal was still being opened: of the results, nothing better is known.
            view.finish(UNFINISHED, (), None, interrupted=True)
            say(f"interrupted before anything was sent; {plan.again}")
            return UNFINISHED
        # What is not known is not written: an earlier run may have written how it came out.
        is_written = unread is None and _write(plan.out, batch, outcomes)
        status = _exit_status(batch, plan, outcomes, trouble, is_written=is_written)
        told = totals(batch, outcomes) if unread is None else []
        is_interrupted = isinstance(trouble, asyncio.CancelledError)
        out = plan.out if is_written else None
        view.finish(status, told, out, interrupted=is_interrupted)
        if is_written:
            watch.ending.last_words = "cut off, after the results were written"
    if unread is None:
        _print_end(plan, told, outcomes, is_written=is_written)
    if is_interrupted:
        left = f"{_unfinished(batch, outcomes)}; " if unread is None else ""
        say(f"interrupted; {left}{plan.again}")
    elif trouble is not None and str(trouble) != str(unread):
        say(str(trouble))
    if unread is not None:
        say(f"--out {plan.out}: left as it is, since where the payouts stand is unknown; {unread}")
    return status


async def _run(
    settings: Settings,
    batch: Batch,
    plan: Plan,
    run: Callable[["Orchestrator", Tally], AsyncGenerator[Outcome, None]],
    watch: Watch,
    outcomes: dict[str, Outcome],
) -> tuple[BaseException | None, JournalError | None]:
    """Run payouts and gather where each stands.

    Returns:
        What ended the run early, if anything did, and why some of them are not told, if so.
    """
    trouble: BaseException | None = None
    unread: JournalError | None = None
    links = Links(plan.out, batch, outcomes)
    async with (
        make_client(settings) as client,
        make_orchestrator(
            client,
            plan.journal,
            polling=plan.polling,
            deadlines=plan.deadlines,
            observer=watch.tally,
            on_redirect=links.take,
            server_callback_url=settings.server_callback_url,
        ) as payouts,
        watch.looking(client, payouts),
    ):
        try:
            async with links.written(payouts), aclosing(run(payouts, watch.tally)) as told:
                async for outcome in told:
                    outcomes[outcome.client_orderid] = outcome
                    links.hear(outcome)
                    watch.tally.hear(outcome)
                    watch.view.hear(outcome)
        except (asyncio.CancelledError, JournalError) as error:
            trouble = error
        watch.ending.settle()
        # What is under way is recorded first, so that the results tell how it came out.
        await client.drain()
        rest: dict[str, Outcome] = {}
        try:
            rest = await journaled(payouts, batch, outcomes)
        except JournalError as error:
            unread = error
        outcomes.update(rest)
        for outcome in rest.values():
            if trouble is not None and outcome.is_finished:
                watch.view.hear(outcome)  # it came to its end while the run did
    return trouble, unread


def _ending(plan: Plan, view: View) -> Ending:
    """Let the first signal end a run well, and the second one cut it off."""

    def stop() -> None:
        if not view.is_screen:  # which says it itself
            say("ending; what is under way is recorded first; Ctrl-C again cuts it off")

    def cut() -> bytes:
        plan.at_cut()
        return view.abandon()

    return Ending(
        on_first=stop,
        at_cut=cut,
        last_words=f"cut off, and the results were not written again; {plan.again}",
    )


def _exit_status(
    batch: Batch,
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    trouble: BaseException | None,
    *,
    is_written: bool,
) -> int:
    if trouble is not None or not is_written:
        return UNFINISHED
    problems = [told.problem for told in outcomes.values()]
    if problems and all(isinstance(p, SendingStopped) and p.is_setting for p in problems):
        return BAD_CONFIGURATION
    return exit_status(batch, outcomes, check_only=not plan.pay)


def _print_end(
    plan: Plan, told: Iterable[Total], outcomes: Mapping[str, Outcome], *, is_written: bool
) -> None:
    """Tell people what came of a run."""
    from .report import print_problems, print_totals
    from .screen import make_console

    console = make_console(stderr=plan.as_json)
    print_totals(console, told)
    print_problems(console, outcomes.values())
    if is_written:
        console.print(f"Results: {plan.out}", markup=False, highlight=False, soft_wrap=True)


def _unfinished(batch: Batch, outcomes: Mapping[str, Outcome]) -> str:
    ends = [outcomes.get(row.request.client_orderid) for row in batch.rows]
    left = sum(told is None or not told.is_finished for told in ends)
    return f"{left:,} payout(s) are unfinished" if left else "every payout is finished"


def _write(out: Path, batch: Batch, outcomes: dict[str, Outcome]) -> bool:
    """Write the results; what was paid is in the journal, so another run can write them too."""
    try:
        write_results(out, batch, outcomes)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        say(f"--out {out}: {reason}; make room and run the same command again for the results")
        return False
    return True
