"""Runs a batch while it is shown, and writes its results, also while payouts still run."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..batch.parser import Batch
from ..batch.progress import Tally
from ..batch.results import exit_status, totals, write_results
from ..core.models import Deadlines, Flow, Outcome, Polling
from ..core.payout import not_taken
from ..core.request import PayoutRequest
from ..errors import JournalError, JournalRolledBack, PayoutConflict, PayoutNotFound, SendingStopped
from ..gateway.settings import Settings
from ..journal.location import Place
from ..reporting.export import remove_leftovers
from ..reporting.projection import Total
from .console import BAD_CONFIGURATION, UNFINISHED, say
from .display import View, Watch, make_view
from .ending import Ending
from .options import make_client, make_orchestrator

if TYPE_CHECKING:
    from ..orchestrator.orchestrator import Orchestrator

if TYPE_CHECKING:
    from ..orchestrator.orchestrator import Orchestrator

__all__ = [
    "Links",
    "Plan",
    "journaled",
    "run_batch",
    "run_payouts",
    "stands",
]

_BETWEEN_RESULTS: Final = 2.0
"""Seconds between two writings of the results while payouts still run."""


@attrs.define
class Links:
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
        before = await self._before(payouts)
        while await self._news.wait():
            self._news.clear()
            await self._look(payouts)
            began = time.monotonic()
            known = {**before, **self._waiting, **self.outcomes}
            write = asyncio.to_thread(write_results, self.out, self.batch, known)
            self._thread = asyncio.ensure_future(write)
            # What fails here is tried again at the end, and told then.
            with contextlib.suppress(OSError):
                await asyncio.shield(self._thread)
            took = time.monotonic() - began
            await asyncio.sleep(max(_BETWEEN_RESULTS, 20 * took))

    async def _look(self, payouts: "Orchestrator") -> None:
        """Be sure that the journal is no older copy, of which nothing is written.

        Raises:
            JournalRolledBack: It is one.
        """
        with contextlib.suppress(PayoutNotFound):
            try:
                await payouts.history(next(iter(self._waiting)))
            except JournalRolledBack:
                raise
            except JournalError:
                return  # the links are known all the same
        if payouts.rolled_back is not None:
            raise payouts.rolled_back

    async def _before(self, payouts: "Orchestrator") -> dict[str, Outcome]:
        """Read what an earlier run may have written; a journal that cannot be read is tried again.

        Until it can be, nothing is written. The end of the run tells of it.
        """
        while True:
            try:
                return await journaled(payouts, self.batch, self.outcomes)
            except JournalRolledBack:
                raise
            except JournalError:
                pass
            await asyncio.sleep(_BETWEEN_RESULTS)


async def journaled(
    payouts: "Orchestrator", batch: Batch, told: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """Read where the payouts stand that a run has not told.

    Raises:
        JournalError: It cannot be read; then nothing is known of the others.
    """
    found: dict[str, Outcome] = {}
    for row in batch.rows:
        name = row.request.client_orderid
        if name in told:
            continue
        with contextlib.suppress(PayoutNotFound):
            found[name] = await stands(payouts, row.request)
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
    view = make_view(plan.title, batch.notation, as_json=plan.as_json)
    # Outside the view: a terminal that takes nothing keeps neither a view nor a run from being cut.
    with _ending(plan, view) as ending:
        watch = Watch(tally=tally, view=view, ending=ending, journal=str(plan.journal))
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
        _print_end(plan, batch, told, outcomes, is_written=is_written)
    if is_interrupted:
        left = f"{_unfinished(batch, outcomes)}; " if unread is None else ""
        again = "" if isinstance(unread, JournalRolledBack) else f"; {left}{plan.again}"
        say(f"interrupted{again}")
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
        # What an older copy says is not written over what an earlier run has written.
        lost = trouble if isinstance(trouble, JournalRolledBack) else payouts.rolled_back
        unread = lost or unread
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
    plan: Plan,
    batch: Batch,
    told: Iterable[Total],
    outcomes: Mapping[str, Outcome],
    *,
    is_written: bool,
) -> None:
    """Tell people what came of a run."""
    from ..reporting.terminal import print_problems, print_totals
    from .display import make_console

    console = make_console(stderr=plan.as_json)
    print_totals(console, told, batch.notation)
    names = [row.request.client_orderid for row in batch.rows]
    print_problems(console, [outcomes[name] for name in names if name in outcomes])
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
