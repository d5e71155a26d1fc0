"""What happens to payouts, for whoever listens: bounded, and told after it is durable."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from typing import Final, Self

import attrs

from ..core.events import Event
from ..core.models import Outcome
from ..core.responses import Callback
from ..errors import EventsMissed

__all__ = ["Events", "Feed", "Notice"]

LONGEST_QUEUE: Final = 10_000
"""Notices that wait for a listener before it has missed some."""


@attrs.frozen
class Notice:
    """A change of one payout.

    Attributes:
        outcome: Where it stands after the change.
        event: What happened: an event that is in the journal; a ``Callback`` about a later
            transaction, such as a reversal, of which only status and ids are signed; or None when
            another process has led the payout on.
    """

    outcome: Outcome
    event: Event | Callback | None


class Events(AsyncIterator[Notice]):
    """Notices from the moment it was made, until the orchestrator closes.

    Iterate over it from one task. ``close`` it, or use it inside ``with``, to stop listening early.
    """

    def __init__(self, feed: "Feed", client_orderid: str | None) -> None:
        self._feed = feed
        self._client_orderid = client_orderid
        self._queue: asyncio.Queue[Notice | None] = asyncio.Queue()
        self._missed = False

    def __enter__(self) -> Self:
        """Listen."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self.close()

    async def __anext__(self) -> Notice:
        """Wait for the next notice.

        Raises:
            EventsMissed: Too many waited; read where the payouts stand, and listen anew.
        """
        notice = await self._queue.get()
        if notice is not None:
            return notice
        self._queue.put_nowait(None)  # whoever asks again hears the same
        if self._missed:
            raise EventsMissed(LONGEST_QUEUE)
        raise StopAsyncIteration

    def close(self) -> None:
        """Stop listening; what has come already can still be read."""
        self._feed.leave(self)
        self._queue.put_nowait(None)

    def _hear(self, notice: Notice) -> None:
        if self._client_orderid not in (None, notice.outcome.client_orderid):
            return
        if self._queue.qsize() >= LONGEST_QUEUE:
            self._missed = True
            self.close()
            return
        self._queue.put_nowait(notice)


class Feed:
    """Those who listen to one orchestrator."""

    def __init__(self) -> None:
        # Whoever forgets to stop listening is forgotten.
        self._listeners: weakref.WeakSet[Events] = weakref.WeakSet()
        self._is_open = True

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def listen(self, client_orderid: str | None = None) -> Events:
        """Begin to listen, to all payouts or to one."""
        events = Events(self, client_orderid)
        if self._is_open:
            self._listeners.add(events)
        else:
            events.close()
        return events

    def leave(self, events: Events) -> None:
        """Let one stop listening."""
        self._listeners.discard(events)

    def tell(self, notice: Notice) -> None:
        """Tell everybody who listens."""
        for events in tuple(self._listeners):
            events._hear(notice)  # noqa: SLF001 - the two halves of one thing

    def close(self) -> None:
        """Let every listener come to an end."""
        self._is_open = False
        for events in tuple(self._listeners):
            events.close()
