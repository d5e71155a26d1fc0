"""A relay in front of PostgreSQL that cuts the connection at a chosen message.

It knows of the protocol only where one message ends and the next begins ("Frontend/Backend
Protocol" of PostgreSQL's manual).
"""

import asyncio
import contextlib
import struct
from types import TracebackType
from typing import Final, Literal, Self

import attrs

__all__ = ["Cutter", "Where"]

Where = Literal["before", "after"]
"""Cut before the server has got the message, or after it has, and before its answer."""
_HEAD: Final = struct.Struct("!cI")


@attrs.define
class Cutter:
    """Relays connections from a port of its own to the server's, inside ``async with``.

    Attributes:
        port: The server's port.
        at: Which message to cut at, counted over all connections from 1; None for none.
        where: On which side of it.
        seen: How many messages have passed.
        cuts: How many connections were cut.
    """

    port: int
    at: int | None = None
    where: Where = "before"
    seen: int = 0
    cuts: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = attrs.field(factory=set)

    @property
    def url(self) -> str:
        """How to connect through it; in clear text, since it reads along."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://tester@127.0.0.1:{port}/postgres?sslmode=disable&gssencmode=disable"

    async def __aenter__(self) -> Self:
        """Take a port."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut every connection."""
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, ours: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            theirs, forth = await asyncio.open_connection("127.0.0.1", self.port)
            answering = asyncio.create_task(_pass_all(theirs, back))
            try:
                await self._relay(ours, forth, answering)
            finally:
                answering.cancel()
                for writer in (forth, back):
                    writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)

    async def _relay(
        self,
        ours: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        answering: asyncio.Task[None],
    ) -> None:
        size = await ours.readexactly(4)  # the first message has no kind
        forth.write(size + await ours.readexactly(int.from_bytes(size) - 4))
        while True:
            head = await ours.readexactly(_HEAD.size)
            _, length = _HEAD.unpack(head)
            message = head + await ours.readexactly(length - 4)
            self.seen += 1
            is_it = self.seen == self.at
            if is_it and self.where == "before":
                self.cuts += 1
                return
            if is_it:
                answering.cancel()  # the server does it, and nobody hears of it
            forth.write(message)
            await forth.drain()
            if is_it:
                self.cuts += 1
                # Whatever was sent along is what the server is still to do: it is passed on.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        while rest := await ours.read(65536):
                            forth.write(rest)
                            await forth.drain()
                forth.write_eof()
                await asyncio.sleep(0.05)
                return


async def _pass_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
