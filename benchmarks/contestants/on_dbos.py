"""This library driven by DBOS: a workflow for each payout, in the PostgreSQL of its journal.

Each end is heard of in this process, as a service hears of it that keeps books of its own: to wait
in DBOS for each single result costs a question to the database every second.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from dbos import DBOS

from billblend_async import Orchestrator, Payout, PayoutRequest, Status
from billblend_async.core.events import Event
from billblend_async.integrations.dbos import DbosEngine

from ..settings import Gap, Settings
from .forms import payout_request
from .ours import make_polling, make_shared_journal, make_tables, opened_client
from .stage import perform

_LOOK: Final = 0.1


class OnDbos:
    """Payouts by ``DbosEngine``, all of them submitted at once."""

    def __init__(self, dbos: DBOS, engine: DbosEngine, ends: asyncio.Queue[bool]) -> None:
        self.errors: Counter[str] = Counter()
        self._dbos = dbos
        self._engine = engine
        self._ends = ends

    async def run(self, payouts: Sequence[str], gap: Gap) -> AsyncGenerator[bool, None]:  # noqa: ARG002 - the engine has one orchestrator, and it one gap
        """Submit all payouts at once, and end when DBOS has written down the last one."""
        await asyncio.gather(*(self._engine.submit(payout_request(name)) for name in payouts))
        for _ in payouts:
            yield await self._ends.get()
        while await self._are_open():  # noqa: ASYNC110 - only its tables know
            await asyncio.sleep(_LOOK)

    async def _are_open(self) -> bool:
        """Tell whether a workflow is open in DBOS's tables."""
        found = await self._dbos.list_workflows_async(
            status=["ENQUEUED", "PENDING"], limit=1, load_input=False, load_output=False
        )
        return bool(found)


async def _resolve(name: str) -> PayoutRequest:
    """Find a request again."""
    return payout_request(name)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[OnDbos]:
    """Launch DBOS and open the engine, as a service does once for the process."""
    await make_tables(settings.database)
    ends: asyncio.Queue[bool] = asyncio.Queue()

    def hear(payout: Payout, event: Event) -> None:  # noqa: ARG001 - where it stands says all
        if payout.state.is_terminal:
            ends.put_nowait(payout.status == Status.APPROVED)

    dbos = DBOS(
        config={
            "name": "payouts",
            "system_database_url": settings.database,
            "application_version": "1",
            "executor_id": "benchmark",
            "log_level": "WARNING",
        }
    )
    async with opened_client(settings) as client:
        orchestrator = Orchestrator(
            client,
            make_shared_journal(settings.database),
            polling=make_polling(settings, settings.gap),
            observer=hear,
            resolve=_resolve,
        )
        engine = DbosEngine(dbos, orchestrator)
        async with orchestrator:
            DBOS.launch()
            async with engine:
                yield OnDbos(dbos, engine, ends)
    DBOS.destroy()


if __name__ == "__main__":
    perform(opened)
