"""Transports of hosts, which send again by themselves what they are given."""

import asyncio
import contextlib

import httpx

from .fate import Fate
from .network import TRIP

__all__ = ["Unruly"]


class Unruly(httpx.AsyncBaseTransport):
    """Wraps a transport and sends what may move money more than once, in its own manner.

    Args:
        inner: What sends.
        manner: One of ``coverage.CARRIERS``.
        fate: Counts what it does, and says when it behaves.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, manner: str, fate: Fate) -> None:
        self._inner = inner
        self._manner = manner
        self._fate = fate

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, some more than once."""
        if TRIP.get().send is None or self._fate.is_quiet:
            return await self._inner.handle_async_request(request)
        match self._manner:
            case "repeats-failures":
                return await self._repeat_failures(request)
            case "repeats-answers":
                return await self._repeat_answers(request)
            case "hedges":
                return await self._hedge(request)
            case _:
                return await self._give_up(request)

    async def _repeat_failures(self, request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            with contextlib.suppress(Exception):
                return await self._inner.handle_async_request(request)
            self._fate.hit("transport", self._manner)
        return await self._inner.handle_async_request(request)

    async def _repeat_answers(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        self._fate.hit("transport", self._manner)
        with contextlib.suppress(Exception):
            again = await self._inner.handle_async_request(request)
            await again.aclose()
        return answer

    async def _hedge(self, request: httpx.Request) -> httpx.Response:
        """Send copies at once and take the first answer of all."""
        copies = self._copies(request)
        await asyncio.wait(copies)
        answers = [copy.result() for copy in copies if copy.exception() is None]
        for answer in answers[1:]:
            await answer.aclose()
        return answers[0] if answers else copies[0].result()

    async def _give_up(self, request: httpx.Request) -> httpx.Response:
        """Send copies at once, take what comes first, and cancel the rest."""
        copies = self._copies(request)
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        first = next(copy for copy in copies if copy.done())
        others = [copy for copy in copies if copy is not first]
        for copy in others:
            copy.cancel()
        for end in await asyncio.gather(*others, return_exceptions=True):
            if isinstance(end, httpx.Response):
                await end.aclose()
        return first.result()

    def _copies(self, request: httpx.Request) -> list[asyncio.Task[httpx.Response]]:
        self._fate.hit("transport", self._manner)
        return [
            asyncio.create_task(self._inner.handle_async_request(request))
            for _ in range(self._fate.one_of((2, 3)))
        ]
