"""A small HTTP server as a guest in the caller's event loop, for the sandbox and for callbacks."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Final

import attrs
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from .errors import ConfigurationError

__all__ = ["HANG_UP", "Server", "Wall", "take_port"]

HANG_UP: Final = "billblend.hang_up"
"""The ASGI extension of this server that closes the connection of a request without an answer."""
_HANG_UP: Final = 0.5
"""Seconds that a client has to finish its request when the server closes."""


def take_port(host: str, port: int) -> socket.socket:
    """Take a port; a name is never looked up, so localhost can mean nothing but this machine.

    Raises:
        ConfigurationError: It is taken, or the host is no address of this machine.
    """
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    reason: str | None = "this is no address"
    try:
        if address.isascii() and address.isprintable():
            return socket.create_server((address, port), family=family)
    except OSError as error:
        reason = error.strerror
    raise ConfigurationError(
        f"port: {port} of {host} cannot be used ({reason}); 0 takes a free one"
    )


@attrs.frozen(kw_only=True)
class Wall:
    """What strangers may take up of a server that they can reach.

    Attributes:
        connections: How many there are at most; one more is closed at once.
        seconds: How long a request may take to come, from the connection or the answer before it.
    """

    connections: int
    seconds: float


class _QuietProtocol(H11Protocol):
    """HTTP/1.1 without an access log, whatever the loggers of the process are set to.

    Attributes:
        wall: What strangers may take up, if they may come.
    """

    wall: ClassVar[Wall | None] = None
    _late: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self.access_log = False
        app = self.app

        async def with_hang_up(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
            scope["extensions"] = {HANG_UP: self._hang_up}
            await app(scope, receive, send)

        self.app = with_hang_up

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if self.wall is not None and len(self.connections) > self.wall.connections:
            transport.abort()
        else:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._await_request()

    def _await_request(self) -> None:
        """Give the next request its time; what comes in bit by bit gets no more of it."""
        if self._late is not None:
            self._late.cancel()
        if self.wall is not None and not self.transport.is_closing():
            self._late = self.loop.call_later(self.wall.seconds, self._end_waiting)

    def _end_waiting(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # there is none before the first request
        if cycle is not None and not cycle.response_complete:
            return  # the app is at it, and its answer starts the time anew
        self.transport.abort()

    def _hang_up(self) -> None:
        # Nothing more is written from here on, not even once the app returns.
        self.cycle.disconnected = True
        self.transport.abort()


class Server(uvicorn.Server):
    """Uvicorn as a guest in somebody else's loop: no signal handlers, no log settings, no waits.

    Args:
        app: What it serves.
        leaving: Set when it begins to close.
        longest_head: Bytes of the longest request line and headers.
        wall: What strangers may take up; without one, as much as they like.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        leaving: asyncio.Event,
        longest_head: int = 64 * 1024,
        wall: Wall | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=type("_Protocol", (_QuietProtocol,), {"wall": wall}),
                ws="none",
                lifespan="off",
                log_config=None,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=longest_head,
            )
        )
        self._open = asyncio.Event()
        self._leaving = leaving
        self._serving: asyncio.Task[None] | None = None

    async def main_loop(self) -> None:
        """Renew the Date header each second and leave at once; uvicorn would look for it late."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), 1)

    async def begin(self, listener: socket.socket) -> None:
        """Begin to answer at a port, which is given back at the end; raise what keeps it from that.

        Args:
            listener: The port, as ``take_port`` has taken it.
        """
        self._serving = asyncio.create_task(self.serve(sockets=[listener]))
        self._serving.add_done_callback(lambda _: listener.close())
        self._serving.add_done_callback(lambda _: self._open.set())
        try:
            await self._open.wait()
            if self._serving.done():
                await self._serving
        except BaseException:
            await self.end()
            raise

    async def wait(self) -> None:
        """Go on answering until this wait is cancelled, or nothing is answered any more."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def end(self) -> None:
        """Stop answering, hang up and give the port back."""
        self.should_exit = True
        self._leaving.set()
        if self._serving is not None:
            await self._serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self._open.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection; one whose client never finishes its request is cut."""
        timer = asyncio.get_running_loop().call_later(_HANG_UP, self._hang_up)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    def _hang_up(self) -> None:
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the program whose loop this is."""
        yield
