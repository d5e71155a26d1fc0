"""Shows how a run goes, to whoever looks: a terminal, a log or a machine."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from ..batch.progress import Tally
from ..batch.snapshot import Snapshot
from ..core.models import Outcome
from ..core.notation import Notation
from ..reporting.projection import Total
from .console import say
from .display import JsonLines, PlainLines
from .ending import Ending

if TYPE_CHECKING:
    from ..gateway.client import Client
    from ..orchestrator.orchestrator import Orchestrator

__all__ = ["View", "Watch", "make_view"]

_SILENCE: Final = 2.0
"""Seconds without any answer after which it is said that none comes."""
_SILENT: Final = (
    "the gateway has not answered yet; if this lasts, check the network and the base URL"
)


class View(Protocol):
    """What somebody sees of a run.

    Attributes:
        pause: Seconds between two snapshots.
        is_screen: Whether it owns the terminal, so that nobody else should write there.
    """

    pause: float
    is_screen: bool

    def show(self, snapshot: Snapshot) -> None:
        """Show where the run stands."""
        ...

    def hear(self, outcome: Outcome) -> None:
        """Take in how the run has handed a payout back."""
        ...

    def finish(
        self, exit_status: int, totals: Sequence[Total], results: Path | None, *, interrupted: bool
    ) -> None:
        """Take in how the run has ended."""
        ...

    def close(self) -> None:
        """Show what is left and end."""
        ...

    def abandon(self) -> bytes:
        """End without waiting for anything, and tell what restores the terminal."""
        ...


def make_view(title: str, notation: Notation, *, as_json: bool) -> View:
    """Make the view that fits where the output goes; machines read amounts in one way only."""
    if as_json:
        return JsonLines(sys.stdout)
    from .screen import Screen, is_screen

    return Screen(title, notation) if is_screen() else PlainLines(sys.stdout, notation)


@attrs.define(kw_only=True)
class Watch:
    """Looks at a run at intervals and shows what it sees.

    Attributes:
        tally: Where its payouts stand.
        view: Who is shown it.
        ending: Whether it is ending early.
        journal: The journal, as the user has named it.
    """

    tally: Tally
    view: View
    ending: Ending
    journal: str = ""
    _began: float = attrs.field(factory=time.monotonic, init=False)
    _answers: int = attrs.field(default=0, init=False)
    _heard_at: float = attrs.field(factory=time.monotonic, init=False)
    _trouble: str | None = attrs.field(default=None, init=False)
    _trouble_since: float = attrs.field(default=0.0, init=False)

    @asynccontextmanager
    async def looking(self, client: "Client", payouts: "Orchestrator") -> AsyncIterator[None]:
        """Look until the run is over, and once more then."""
        self.view.show(self._snapshot(client, payouts))
        looks = asyncio.create_task(self._look(client, payouts))
        try:
            yield
        finally:
            looks.cancel()
            [end] = await asyncio.gather(looks, return_exceptions=True)
            if isinstance(end, Exception):
                say(
                    f"the view of the run has failed ({type(end).__name__}); the run itself has not"
                )
            else:
                self.view.show(self._snapshot(client, payouts))

    async def _look(self, client: "Client", payouts: "Orchestrator") -> None:
        while True:
            await asyncio.sleep(self.view.pause)
            self.view.show(self._snapshot(client, payouts))

    def _snapshot(self, client: "Client", payouts: "Orchestrator") -> Snapshot:
        now = time.monotonic()
        trouble = payouts.trouble
        is_heard = self.tally.answers != self._answers
        # Once silence was told of, it is an answer that ends it, and no question given up on.
        if is_heard or (not client.in_flight and self._trouble is not _SILENT):
            self._answers, self._heard_at = self.tally.answers, now
        if trouble is None and now - self._heard_at >= _SILENCE:
            trouble = _SILENT
        if trouble != self._trouble:
            self._trouble = trouble
            self._trouble_since = self._heard_at if trouble is _SILENT else now
        return self.tally.snapshot(
            now - self._began,
            trouble=trouble,
            trouble_seconds=now - self._trouble_since,
            under_way=client.in_flight,
            is_stopping=self.ending.is_stopping,
            at=time.time(),
            journal=self.journal,
        )
