"""Hands each redirect link to the host, once it is durable and until the host has taken it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from ..core.logs import fields
from ..core.models import Outcome, State

__all__ = ["OnRedirect", "Redirects"]

log = logging.getLogger("billblend_async.redirects")

OnRedirect = Callable[[Outcome], Awaitable[None] | None]
"""Takes a link (``outcome.redirect_to``) to its receiver; called again if it raises, and after a
restart. A plain function must be quick, since the event loop waits for it."""

_REMEMBERED: Final = 100_000
"""Payouts whose links are remembered as taken: what another process has seen the end of would stay
for ever otherwise."""


@attrs.define(eq=False)
class Redirects:
    """The links that this process has handed over.

    Attributes:
        on_redirect: Takes them; None when nobody does.
    """

    on_redirect: OnRedirect | None
    _taken: OrderedDict[str, frozenset[str]] = attrs.field(
        factory=OrderedDict, init=False, repr=False
    )
    _is_open: bool = attrs.field(default=True, init=False)
    _giving: dict[tuple[str, str], asyncio.Task[None]] = attrs.field(
        factory=dict, init=False, repr=False
    )

    def show(self, outcome: Outcome) -> None:
        """Look at a payout: a link that was not handed over is, one that is over is forgotten."""
        name, link = outcome.client_orderid, outcome.redirect_to
        if outcome.state is not State.AWAITING_RECEIVER or link is None:
            self._taken.pop(name, None)
            return
        # A hook that hangs over one link does not keep the next one from its receiver.
        is_new = link not in self._taken.get(name, ()) and (name, link) not in self._giving
        if self.on_redirect and is_new and self._is_open:
            task = asyncio.create_task(self._give(outcome, link, self.on_redirect))
            self._giving[name, link] = task
            task.add_done_callback(lambda _: self._giving.pop((name, link), None))

    async def _give(self, outcome: Outcome, link: str, on_redirect: OnRedirect) -> None:
        try:
            taking = on_redirect(outcome)
            if taking is not None:
                await taking
        except Exception as error:  # noqa: BLE001 - the host's code may raise anything
            # Its class alone: its text may hold the link.
            name, failed = outcome.client_orderid, type(error).__name__
            log.error(  # noqa: TRY400 - likewise
                "payout %s: on_redirect failed: %s; it is called again",
                name,
                failed,
                extra=fields(name, reason=failed),
            )
        else:
            name = outcome.client_orderid
            self._taken[name] = self._taken.get(name, frozenset()) | {link}
            self._taken.move_to_end(name)
            if len(self._taken) > _REMEMBERED:
                self._taken.popitem(last=False)

    async def close(self) -> None:
        """Cancel what is still being handed over; after a restart it is handed over again."""
        self._is_open = False
        giving = tuple(self._giving.values())
        for task in giving:
            task.cancel()
        await asyncio.gather(*giving, return_exceptions=True)
