"""A client, a journal and an orchestrator that are open, on a virtual clock."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
from fakes import FakeClient, MemoryJournal
from virtual_time import run_virtual

from billblend_async.core.events import Event
from billblend_async.core.machine import Payout
from billblend_async.orchestrator.orchestrator import Orchestrator


@attrs.define
class House:
    """A client, a journal and an orchestrator that are open."""

    client: FakeClient
    journal: MemoryJournal
    payouts: Orchestrator
    told: list[tuple[Payout, Event]]

    def names(self, client_orderid: str = "po-1") -> list[str]:
        """Name the journaled events of a payout."""
        return [type(event).__name__ for event in self.journal.events[client_orderid]]


@asynccontextmanager
async def house(
    client: FakeClient | None = None, journal: MemoryJournal | None = None, **options: Any
) -> AsyncIterator[House]:
    """Open everything; options go to the orchestrator."""
    client, journal = client or FakeClient(), journal or MemoryJournal()
    told: list[tuple[Payout, Event]] = []
    async with Orchestrator(
        client,
        journal,
        wall_clock=client.wall_clock,
        chance=random.Random(1).random,
        observer=lambda payout, event: told.append((payout, event)),
        **options,
    ) as payouts:
        yield House(client, journal, payouts, told)


def virtually(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test on a virtual clock."""

    def run(self: Any) -> None:
        async def main() -> None:
            await test(self)

        run_virtual(main())

    run.__doc__ = test.__doc__
    return run


def virtually_alone(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run an asynchronous test that stands in no class on a virtual clock."""

    def run() -> None:
        async def main() -> None:
            await test()

        run_virtual(main())

    run.__doc__ = test.__doc__
    return run
