"""A server that strangers can reach gives none of them more than it can spare."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from billblend_async.errors import ConfigurationError
from billblend_async.server import Server, Wall, take_port

PATIENCE = 0.4
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class App:
    """Answers when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        await self.may_answer.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"++"})


@asynccontextmanager
async def served(app: App, wall: Wall | None) -> AsyncIterator[int]:
    """Serve an app behind a wall; the port."""
    with take_port("127.0.0.1", 0) as listener:
        server = Server(app, asyncio.Event(), wall=wall)
        await server.begin(listener)
        try:
            yield listener.getsockname()[1]
        finally:
            await server.end()


async def came_to_its_end(reader: asyncio.StreamReader) -> bytes:
    """Read until the other side closes."""
    read = b""
    with contextlib.suppress(ConnectionResetError):
        while octets := await asyncio.wait_for(reader.read(4096), 10):
            read += octets
    return read


@pytest.mark.parametrize(
    "drip", [b"", b"G", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"]
)
async def test_slow_requests(drip: bytes) -> None:
    """Who sends nothing, or bit by bit, is let go in time, however much of it there is to come."""
    async with served(App(), Wall(connections=10, seconds=PATIENCE)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = asyncio.get_running_loop().time()

        async def go_on() -> None:
            writer.write(drip)
            while drip:
                await asyncio.sleep(PATIENCE / 8)
                writer.write(b"x")

        dripping = asyncio.create_task(go_on())
        await came_to_its_end(reader)
        dripping.cancel()
        writer.close()

        assert asyncio.get_running_loop().time() - began < 8 * PATIENCE


async def test_too_many() -> None:
    """One connection more than there may be is closed, and there is room again when one leaves."""
    async with served(App(), Wall(connections=2, seconds=30.0)) as port, callers(port) as call:
        for _ in range(2):
            assert b"200" in await call()
        assert b"" == await call()
        call.hang_up()
        async with asyncio.timeout(10):
            while not await call():
                await asyncio.sleep(0.01)  # the server has not noticed yet


@attrs.define
class Caller:
    """Opens connections and keeps those that are answered."""

    port: int
    writers: list[asyncio.StreamWriter] = attrs.field(factory=list)

    async def __call__(self) -> bytes:
        """Ask over a new connection; the first line of the answer, or nothing."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError):
            writer.write(GET)
            return await reader.readline()
        return b""

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@asynccontextmanager
async def callers(port: int) -> AsyncIterator[Caller]:
    """Call a port, and hang up in the end."""
    caller = Caller(port)
    try:
        yield caller
    finally:
        caller.hang_up()
        await asyncio.sleep(0)


async def test_work_is_not_cut_off() -> None:
    """An answer that takes long to make is not cut off, and another request may follow it."""
    app = App()
    async with served(app, Wall(connections=2, seconds=PATIENCE)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        app.may_answer.clear()
        writer.write(GET)
        await asyncio.sleep(2 * PATIENCE)
        app.may_answer.set()
        assert b"200" in await reader.readuntil(b"++")
        writer.write(GET)
        assert b"200" in await reader.readuntil(b"++")
        assert b"" == await came_to_its_end(reader)
        writer.close()


def test_no_such_host() -> None:
    """A host that cannot even be a name is no address of this machine."""
    with pytest.raises(ConfigurationError, match="this is no address"):
        take_port("\udcff", 0)
