"""The report as a live page on this machine: read-only, and only for who has the link.

The link holds a token of its own for each run, so neither another user of this machine nor a web
page in somebody's browser finds it. A page whose name was made to point to this machine (DNS
rebinding) is turned away by the Host header. There is nothing to post: it only shows.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, Self

import attrs

from ..errors import ClosedError, JournalError
from ..journal.location import Place
from ..server import Server, take_port
from .html import HEADERS, body_parts, trouble_page, watch_page
from .summary import Choice, Report, Source

__all__ = ["Watch"]

_HOST: Final = "127.0.0.1"
_YOUNG: Final = 1.0
"""Seconds for which what was read is young enough to be shown to the next who asks."""
_REST: Final = 10.0
"""At most one part in so many of the time goes into reading, however large the journal is."""
_PLAIN: Final = {**HEADERS, "Content-Type": "text/plain; charset=utf-8"}

_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@attrs.frozen
class _Answer:
    """What is sent back."""

    status: int
    headers: Mapping[str, str]
    body: str = ""


class Watch:
    """Serves the report of a journal inside its ``async with`` block.

    Args:
        journal: Where the journal lies.
        port: The port on this machine; 0 takes a free one.
        choice: Which payouts it tells of; by default all.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: The port is taken.
        JournalError: The journal cannot be read.
    """

    def __init__(
        self,
        journal: Place,
        port: int = 0,
        choice: Choice | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = Source(journal, choice)
        self._port = port
        self._clock = clock
        self._token = secrets.token_urlsafe(24)
        self._hosts: frozenset[str] = frozenset()
        self._reading = asyncio.Lock()
        self._report: Report | None = None
        self._stale_at = 0.0
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The link, with its token."""
        return f"http://{_HOST}:{self._port}/{self._token}/"

    async def __aenter__(self) -> Self:
        """Read the journal once, take the port and begin to answer."""
        await self._read()
        listener = take_port(_HOST, self._port)
        self._port = listener.getsockname()[1]
        self._hosts = frozenset({f"{_HOST}:{self._port}", f"localhost:{self._port}"})
        self._server = Server(self, asyncio.Event())
        await self._server.begin(listener)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop answering and give the port back."""
        if self._server is not None:
            await self._server.end()

    async def wait(self) -> None:
        """Go on answering until this wait is cancelled."""
        if self._server is None:
            raise ClosedError("page")
        await self._server.wait()

    async def __call__(
        self, scope: Mapping[str, Any], _: Callable[[], Awaitable[Any]], send: _Send
    ) -> None:
        """Answer one request, as an ASGI application."""
        answer = await self._choose(scope)
        body = answer.body.encode()
        headers = {**answer.headers, "Content-Length": str(len(body))}
        lines = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.body", "body": body})

    async def _choose(self, scope: Mapping[str, Any]) -> _Answer:
        hosts = [text.decode("latin-1") for name, text in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _Answer(403, _PLAIN, "Open the link that billblend watch has printed.\n")
        _, token, *rest = f"{scope['path']}/".split("/")
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return _Answer(404, _PLAIN, "Open the link that billblend watch has printed.\n")
        if scope["method"] not in ("GET", "HEAD"):
            return _Answer(405, {**_PLAIN, "Allow": "GET, HEAD"}, "This page only shows.\n")
        match rest:
            case [""]:
                return _Answer(308, {**_PLAIN, "Location": f"/{self._token}/"})
            case ["", ""]:
                return await self._page()
            case ["main", ""]:
                return await self._main()
            case _:
                return _Answer(404, _PLAIN, "There is no such page.\n")

    async def _page(self) -> _Answer:
        try:
            report = await self._read()
        except JournalError as error:
            return _Answer(503, HEADERS, trouble_page(str(error)))
        return _Answer(200, HEADERS, await asyncio.to_thread(watch_page, report))

    async def _main(self) -> _Answer:
        try:
            report = await self._read()
        except JournalError as error:
            return _Answer(503, _PLAIN, str(error))
        parts = await asyncio.to_thread(body_parts, report)
        return _Answer(200, HEADERS, "\n".join(parts))

    async def _read(self) -> Report:
        """Read what has changed, unless that was done a moment ago; never twice side by side."""
        async with self._reading:
            began = time.monotonic()
            if self._report is None or began >= self._stale_at:
                self._report = await asyncio.to_thread(self._source.read, self._clock())
                took = time.monotonic() - began
                self._stale_at = began + max(_YOUNG, _REST * took)
            return self._report
