"""The command that pays a file of payouts, and what it shares with those that approve one."""

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from .batch import Batch, exit_status, totals
from .console import BAD_CONFIGURATION, UNFINISHED, end_on_signals, say
from .desk import make_client, make_orchestrator
from .errors import (
    ConfigurationError,
    JournalError,
    PayoutConflict,
    PayoutNotFound,
    SendingStopped,
)
from .models import Deadlines, Flow, Outcome
from .payout import not_taken
from .polling import Polling
from .preflight import add_preflight, is_cleared, read_file
from .request import PayoutRequest
from .results import are_results, check_ending, remove_leftovers, write_results
from .settings import Settings, read_settings

if TYPE_CHECKING:
    from .events import Event
    from .orchestrator import Orchestrator
    from .payout import Payout

__all__ = [
    "POLL_HELP",
    "Plan",
    "add_pay",
    "check_out",
    "polling",
    "positive",
    "run_batch",
    "run_payouts",
    "stands",
]

POLL_HELP: Final = "seconds between two status requests for one payout (default 3:5)"
_DEADLINES: Final = tuple(field.name for field in attrs.fields(Deadlines))
_BETWEEN_RESULTS: Final = 2.0
"""Seconds between two writings of the results while payouts still run."""


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
    """

    journal: Path
    out: Path
    polling: Polling = Polling()
    concurrency: int = 1000
    flow: Flow = Flow.CHECK_PAY
    pay: bool = True
    deadlines: Deadlines = Deadlines()


def add_pay(pay: argparse.ArgumentParser) -> None:
    """Give ``billblend pay`` its options."""
    pay.add_argument(
        "file",
        type=Path,
        help="CSV, JSON Lines or XLSX whose columns are the gateway's parameter names",
    )
    pay.add_argument("--journal", type=Path, help="where every step is recorded")
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
        type=_deadline,
        action="append",
        default=[],
        metavar="NAME=SECONDS",
        help=f"how long to wait before a new payout is handed back; {', '.join(_DEADLINES)}",
    )
    pay.set_defaults(run=_pay)


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


def _deadline(text: str) -> tuple[str, float]:
    name, _, seconds = text.partition("=")
    if name not in _DEADLINES:
        known = ", ".join(_DEADLINES)
        raise argparse.ArgumentTypeError(f"must be NAME=SECONDS with one of {known}")
    with contextlib.suppress(ValueError):
        Deadlines(**{name: float(seconds)})  # making it checks the number
        return name, float(seconds)
    wrong = f"{name} must be a number of seconds above 0, such as {name}=600"
    raise argparse.ArgumentTypeError(wrong)


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
    )
    return asyncio.run(run_batch(settings, batch, plan))


def check_out(out: Path, file: Path, journal: Path) -> None:
    """Find out before anything is sent whether the results can be written, and over nothing else.

    Raises:
        ConfigurationError: They cannot, or something else would be lost.
    """
    if not journal.name:
        raise ConfigurationError(f"--journal {journal}: this is a directory; give a file's path")
    beside = [journal.with_name(journal.name + end) for end in ("", ".key", "-journal", "-wal")]
    key = os.environ.get("BILLBLEND_PRIVATE_KEY", "")
    if out.resolve() in [path.resolve() for path in (file, Path(key), *beside)]:
        raise ConfigurationError(f"--out {out}: give the results a file of their own")
    check_ending(out)
    if out.exists() and not out.is_file():
        raise ConfigurationError(f"--out {out}: this is no file; give another path")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ConfigurationError(f"--out {out}: this file cannot be written; give another path")
    if out.is_file() and not are_results(out):
        raise ConfigurationError(
            f"--out {out}: this holds no results; move it or give another path"
        )


async def run_batch(settings: Settings, batch: Batch, plan: Plan) -> int:
    """Run a file of payouts, show how it goes and write its results; the exit status."""

    def run(payouts: "Orchestrator") -> AsyncGenerator[Outcome, None]:
        requests = (row.request for row in batch.rows)
        return payouts.run_many(
            requests, concurrency=plan.concurrency, flow=plan.flow, pay=plan.pay
        )

    return await run_payouts(settings, batch, plan, run)


async def run_payouts(
    settings: Settings,
    batch: Batch,
    plan: Plan,
    run: Callable[["Orchestrator"], AsyncGenerator[Outcome, None]],
) -> int:
    """Run payouts of a file, show how it goes and write the file's results; the exit status."""
    from rich.console import Console

    from .report import print_problems, print_totals, progress

    remove_leftovers(plan.out)
    console = Console()
    outcomes: dict[str, Outcome] = {}
    trouble: BaseException | None = None
    with progress(console, len(batch.rows)) as board:

        def show(payout: "Payout", _: "Event") -> None:
            board.move(payout.client_orderid, payout.state)

        links = _Links(plan.out, batch, outcomes)
        async with (
            make_client(settings) as client,
            make_orchestrator(
                client,
                plan.journal,
                polling=plan.polling,
                deadlines=plan.deadlines,
                observer=show,
                on_redirect=links.take,
                server_callback_url=settings.server_callback_url,
            ) as payouts,
        ):
            end_on_signals("ending; what is under way is recorded first")
            try:
                async with links.written(payouts), aclosing(run(payouts)) as told:
                    async for outcome in told:
                        outcomes[outcome.client_orderid] = outcome
                        links.hear(outcome)
                        board.move(outcome.client_orderid, outcome.state)
            except (asyncio.CancelledError, JournalError) as error:
                trouble = error
            outcomes |= await _journaled(payouts, batch, outcomes)
    is_written = _write(plan.out, batch, outcomes)
    print_totals(console, totals(batch, outcomes))
    print_problems(console, outcomes.values())
    if is_written:
        console.print(f"Results: {plan.out}", markup=False, highlight=False, soft_wrap=True)
    if trouble is not None:
        interrupted = "interrupted; run the same command again to go on with the unfinished payouts"
        say(interrupted if isinstance(trouble, asyncio.CancelledError) else str(trouble))
        return UNFINISHED
    if not is_written:
        return UNFINISHED
    problems = [told.problem for told in outcomes.values()]
    if problems and all(isinstance(p, SendingStopped) and p.is_setting for p in problems):
        return BAD_CONFIGURATION
    return exit_status(batch, outcomes, check_only=not plan.pay)


@attrs.define
class _Links:
    """Writes the links for receivers into the results file while payouts still run."""

    out: Path
    batch: Batch
    outcomes: Mapping[str, Outcome]
    _waiting: dict[str, Outcome] = attrs.field(factory=dict, init=False)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _thread: asyncio.Future[None] | None = attrs.field(default=None, init=False)

    async def take(self, outcome: Outcome) -> None:
        """Take a link that a receiver must follow."""
        self._waiting[outcome.client_orderid] = outcome
        self._news.set()

    def hear(self, outcome: Outcome) -> None:
        """Take back the link of a payout that has come to its end."""
        if outcome.client_orderid in self._waiting:
            self._news.set()

    @contextlib.asynccontextmanager
    async def written(self, payouts: "Orchestrator") -> AsyncGenerator[None, None]:
        """Write while the payouts run."""
        writing = asyncio.create_task(self._write(payouts))
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            if self._thread is not None:
                # It would replace the last results with older ones.
                await asyncio.gather(self._thread, return_exceptions=True)

    async def _write(self, payouts: "Orchestrator") -> None:
        await self._news.wait()
        # What an earlier run has written must not be taken back, so the journal is asked once.
        before = await _journaled(payouts, self.batch, self.outcomes)
        while await self._news.wait():
            self._news.clear()
            began = time.monotonic()
            known = {**before, **self._waiting, **self.outcomes}
            write = asyncio.to_thread(write_results, self.out, self.batch, known)
            self._thread = asyncio.ensure_future(write)
            # What fails here is tried again at the end, and told then.
            with contextlib.suppress(OSError):
                await asyncio.shield(self._thread)
            took = time.monotonic() - began
            await asyncio.sleep(max(_BETWEEN_RESULTS, 20 * took))


async def _journaled(
    payouts: "Orchestrator", batch: Batch, told: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """Read where the payouts stand that a run has not told."""
    found: dict[str, Outcome] = {}
    for row in batch.rows:
        name = row.request.client_orderid
        if name in told:
            continue
        with contextlib.suppress(PayoutNotFound):
            try:
                found[name] = await stands(payouts, row.request)
            except JournalError:
                return found
    return found


async def stands(payouts: "Orchestrator", request: PayoutRequest) -> Outcome:
    """Tell where a row's payout stands; that of another payout is a conflict, and not its own.

    Raises:
        PayoutNotFound: The journal knows no such payout.
    """
    try:
        return await payouts.status_of(request)
    except PayoutConflict as error:
        return not_taken(request, error)


def _write(out: Path, batch: Batch, outcomes: dict[str, Outcome]) -> bool:
    """Write the results; what was paid is in the journal, so another run can write them too."""
    try:
        write_results(out, batch, outcomes)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        say(f"--out {out}: {reason}; make room and run the same command again for the results")
        return False
    return True
