"""Hands each redirect link to the host, once it is durable and until the host has taken it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import attrs

from .logs import fields
from .models import Outcome, State

__all__ = ["OnRedirect", "Redirects"]

log = logging.getLogger(__name__)

OnRedirect = Callable[[Outcome], Awaitable[None]]
"""Takes a link (``outcome.redirect_to``) to its receiver; called again if it raises, and after a
restart."""


@attrs.define(eq=False)
class Redirects:
    """The links that this process has handed over.

    Attributes:
        on_redirect: Takes them; None when nobody does.
    """

    on_redirect: OnRedirect | None
    _shown: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    _taken: set[str] = attrs.field(factory=set, init=False)
    _giving: dict[tuple[str, str], asyncio.Task[None]] = attrs.field(
        factory=dict, init=False, repr=False
    )

    def show(self, outcome: Outcome) -> None:
        """Look at a payout: a link that was not handed over is, one that is over is forgotten."""
        name, link = outcome.client_orderid, outcome.redirect_to
        if outcome.state is not State.AWAITING_RECEIVER or link is None:
            self._shown.pop(name, None)
            self._taken.discard(name)
            return
        if self._shown.get(name) != link:
            self._shown[name] = link
            self._taken.discard(name)
        # A hook that hangs over one link does not keep the next one from its receiver.
        if self.on_redirect and name not in self._taken and (name, link) not in self._giving:
            task = asyncio.create_task(self._give(outcome, link, self.on_redirect))
            self._giving[name, link] = task
            task.add_done_callback(lambda _: self._giving.pop((name, link), None))

    async def _give(self, outcome: Outcome, link: str, on_redirect: OnRedirect) -> None:
        try:
            await on_redirect(outcome)
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
            if self._shown.get(outcome.client_orderid) == link:  # and not one that is over by now
                self._taken.add(outcome.client_orderid)

    async def close(self) -> None:
        """Cancel what is still being handed over; after a restart it is handed over again."""
        giving = tuple(self._giving.values())
        for task in giving:
            task.cancel()
        await asyncio.gather(*giving, return_exceptions=True)
