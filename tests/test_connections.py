"""Each connection is used by one request at a time, and again only after a whole answer."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from httpcore._async import http11
from servers import Connection, GatewayServer, ProxyServer, Script, Server, answer_to, http_answer
from servers import settle as settled

from billblend_async.gateway.exchange import KEEP_ALIVE
from billblend_async.gateway.httpx_transport import Connections, _is_clean

BODY = b"client_orderid=po-1"
# Trusts nobody, which spares the reading of all certificate authorities.
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@asynccontextmanager
async def connections(*, keep_alive: bool = True) -> AsyncIterator[Connections]:
    """Make connections, and close them."""
    made = Connections(TLS, keep_alive=keep_alive)
    try:
        yield made
    finally:
        await made.aclose()


async def begin(made: Connections, server: Server) -> httpx.Response:
    """Ask, and read no more than the answer's head."""
    url = f"{server.url}/api/v4/status/39915"
    timeout = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
    request = httpx.Request("POST", url, content=BODY, extensions={"timeout": timeout})
    return await made.handle_async_request(request)


async def ask(made: Connections, server: Server) -> bytes:
    """Ask, and read the answer to its end."""
    response = await begin(made, server)
    try:
        return await response.aread()
    finally:
        await response.aclose()


def first(script: Script) -> Script:
    """Play a script over the first connection, and answer well over all others."""

    async def play(connection: Connection) -> None:
        if len(connection.server.connections) == 1:
            await script(connection)
            return
        while True:
            await connection.write(http_answer(answer_to(await connection.read_request())))

    return play


async def resets(connection: Connection) -> None:
    await connection.read_request()
    connection.reset()


async def says_half(connection: Connection) -> None:
    await connection.write(http_answer(answer_to(await connection.read_request()))[:-5])


class Clock:
    """A loop's clock and httpcore's, set forward by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + self.ahead)
        monkeypatch.setattr(http11, "time", self)
        self.monotonic = loop.time


class TestUse:
    async def test_used_again(self) -> None:
        """A connection whose answer was read to its end is used again."""
        async with GatewayServer() as server, connections() as made:
            for _ in range(5):
                assert await ask(made, server)

            assert 1 == len(server.connections)

    async def test_not_kept(self) -> None:
        """Without keep_alive each request has a connection of its own, which then closes."""
        async with GatewayServer() as server, connections(keep_alive=False) as made:
            for number in range(5):
                assert await ask(made, server)
                await server.until(lambda: server.open_connections == 0)

                assert number + 1 == len(server.connections)
                assert not made._idle

    @pytest.mark.parametrize("script", [resets, says_half])
    async def test_failed(self, script: Script) -> None:
        """A connection whose exchange failed, or whose answer was cut, is not used again."""
        async with Server(first(script)) as server, connections() as made:
            with pytest.raises(httpx.TransportError):
                await ask(made, server)
            await server.until(lambda: server.open_connections == 0)
            assert not made._idle
            assert await ask(made, server)
            assert await ask(made, server)

            assert 2 == len(server.connections)

    async def test_not_read(self) -> None:
        """A connection whose answer was not read to its end is closed and not used again."""
        async with GatewayServer() as server, connections() as made:
            response = await begin(made, server)
            await response.aclose()
            await server.until(lambda: server.open_connections == 0)
            assert not made._idle
            assert await ask(made, server)

            assert 2 == len(server.connections)

    async def test_cancelled(self) -> None:
        """A connection whose request was cancelled is closed and not used again."""
        async with GatewayServer() as server, connections() as made:
            server.gate.clear()
            asking = asyncio.create_task(ask(made, server))
            await server.until(lambda: server.busy == 1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            server.gate.set()
            await server.until(lambda: server.open_connections == 0)
            assert await ask(made, server)

            assert 2 == len(server.connections)

    async def test_closed_twice(self) -> None:
        """An answer that is closed twice gives its connection back once."""
        async with GatewayServer() as server, connections() as made:
            response = await begin(made, server)
            await response.aread()
            assert isinstance(response.stream, httpx.AsyncByteStream)
            await response.stream.aclose()
            server.gate.clear()
            asking = [asyncio.create_task(ask(made, server)) for _ in range(2)]
            await server.until(lambda: server.busy == 2)
            server.gate.set()
            await asyncio.gather(*asking)

            assert 2 == len(server.connections)

    async def test_more_than_an_answer(self) -> None:
        """What came behind an answer is no answer: its connection is not used again."""

        async def says_more(connection: Connection) -> None:
            answer = http_answer(answer_to(await connection.read_request()))
            await connection.write(answer + http_answer(b"type=error&error-code=101\n"))

        async with Server(first(says_more)) as server, connections() as made:
            first_answer, second = await ask(made, server), await ask(made, server)

            assert first_answer == second
            assert 2 == len(server.connections)

    def test_other_insides(self) -> None:
        """Where the pool's insides are not those that we know, no connection is used again."""
        assert not _is_clean(httpx.AsyncBaseTransport())  # type: ignore[arg-type]  # on purpose

    async def test_many(self) -> None:
        """Many requests at once get one connection each, and as many later ones no new one."""
        async with GatewayServer() as server, connections() as made:
            for _ in range(2):
                server.gate.clear()
                asking = [asyncio.create_task(ask(made, server)) for _ in range(30)]
                await server.until(lambda: server.busy == 30)
                server.gate.set()
                assert all(await asyncio.gather(*asking))

            assert (30, 60, 30) == (len(server.connections), len(server.requests), server.peak)

    async def test_last_is_next(self) -> None:
        """The connection that was used last is used next."""
        async with GatewayServer() as server, connections() as made:
            answers = [await begin(made, server) for _ in range(3)]
            for number in (2, 0, 1):
                await answers[number].aread()
            for _ in range(4):
                await ask(made, server)

            assert [1, 5, 1] == [c.received.count(b"POST ") for c in server.connections]

    @pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
    async def test_environment(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy that the environment names is not used."""
        for other in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(other, raising=False)
        async with ProxyServer() as proxy, GatewayServer() as server:
            monkeypatch.setenv(name, proxy.origin)
            async with connections() as made:
                assert await ask(made, server)

            assert [] == proxy.connections


class TestAge:
    @pytest.mark.parametrize(("idle", "expected"), [(-0.1, 1), (0.1, 2)])
    async def test_reuse(self, idle: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection is used again for two seconds, and not after."""
        clock = Clock(monkeypatch)
        async with GatewayServer() as server, connections() as made:
            await ask(made, server)
            clock.ahead += KEEP_ALIVE + idle
            await ask(made, server)

            assert expected == len(server.connections)

    async def test_idle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Connections that nobody has used for two seconds are closed at the next exchange."""
        clock = Clock(monkeypatch)
        async with GatewayServer() as server, connections() as made:
            server.gate.clear()
            asking = [asyncio.create_task(ask(made, server)) for _ in range(5)]
            await server.until(lambda: server.busy == 5)
            server.gate.set()
            await asyncio.gather(*asking)
            clock.ahead += KEEP_ALIVE / 2
            await ask(made, server)
            assert (5, 5) == (len(server.connections), server.open_connections)
            clock.ahead += KEEP_ALIVE / 2 + 0.1
            await ask(made, server)
            await server.until(lambda: server.open_connections == 1)

            assert 5 == len(server.connections)

    async def test_closed_meanwhile(self) -> None:
        """A connection that the gateway has closed meanwhile costs no request."""

        async def script(connection: Connection) -> None:
            await connection.write(http_answer(answer_to(await connection.read_request())))

        async with Server(script) as server, connections() as made:
            for number in range(3):
                assert await ask(made, server)
                await server.until(lambda: server.open_connections == 0)
                await settled()

                assert number + 1 == len(server.connections)


class TestClosing:
    async def test_idle(self) -> None:
        """Closing closes what is idle."""
        async with GatewayServer() as server:
            async with connections() as made:
                await ask(made, server)
                assert 1 == server.open_connections
            await server.until(lambda: server.open_connections == 0)

    async def test_comes_back(self) -> None:
        """A connection that comes back after the closing is closed."""
        async with GatewayServer() as server, connections() as made:
            response = await begin(made, server)
            await made.aclose()
            await response.aclose()
            await server.until(lambda: server.open_connections == 0)

    async def test_nothing_more(self) -> None:
        """After the closing nothing is asked, and nothing has left."""
        async with GatewayServer() as server, connections() as made:
            await made.aclose()
            with pytest.raises(httpx.ConnectError):
                await ask(made, server)

            assert not server.connections

    async def test_under_way(self) -> None:
        """Closing ends what is still under way, whose connection nobody could close later."""
        async with GatewayServer() as server:
            async with connections() as made:
                server.gate.clear()
                asking = asyncio.create_task(ask(made, server))
                await server.until(lambda: server.busy == 1)
            with pytest.raises(httpx.NetworkError):
                await asking
            server.gate.set()
            await server.until(lambda: server.open_connections == 0)

    async def test_empty(self) -> None:
        """Closing what was never used, or twice, does nothing."""
        async with connections() as made:
            await made.aclose()
