"""The links for receivers in the results while payouts still run, and where payouts stand."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..batch.parser import Batch
from ..batch.results import write_results
from ..core.models import Outcome
from ..core.payout import not_taken
from ..core.request import PayoutRequest
from ..errors import JournalError, JournalRolledBack, PayoutConflict, PayoutNotFound

if TYPE_CHECKING:
    from ..orchestrator.orchestrator import Orchestrator

__all__ = ["Links", "journaled", "stands"]

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
