"""A bad line to a good gateway: it drops, breaks or garbles answers, before and after it acted.

It stands before a sandbox on sockets of its own and hands every request on byte by byte, so that
signatures stay right. A seeded share of the requests that may move money meets a fault.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

import attrs
from servers import HOST, Connection, Server, http_answer

PAGE: Final = b"<html><body><p>Try again later</p></body></html>"
BEFORE: Final = ("reset before", "closed before", "page before", "held before")
AFTER: Final = ("reset", "closed", "cut", "garbled", "page", "empty", "another's", "noise")
LATE: Final = ("late",)


@attrs.frozen
class Met:
    """A request that met a fault."""

    kind: str
    client_orderid: str
    fault: str


@attrs.define
class BadLine:
    """Stands between a client and a gateway.

    Attributes:
        gateway_url: The gateway's base URL.
        chance: Where the faults come from.
        share: How many of the requests that may move money meet a fault, from 0 to 1.
        lateness: The least and the most seconds after which a late request reaches the gateway.
        most_faults: How many of the same requests for one payout may meet a fault.
        kinds: The commands that may meet a fault.
        faults: What may happen to them.
        spared: How many of them come through before the first fault.
        met: The faults, in order.
        arrived: How often each request came: command and client_orderid.
    """

    gateway_url: str
    chance: random.Random
    share: float = 1 / 3
    lateness: tuple[float, float] = (1.0, 10.0)
    most_faults: int = 1
    kinds: tuple[str, ...] = ("payout-check", "payout-pay")
    faults: tuple[str, ...] = (*BEFORE, *AFTER, *LATE * 4)
    spared: int = 0
    base_url: str = ""
    met: list[Met] = attrs.Factory(list)
    arrived: Counter[tuple[str, str]] = attrs.Factory(Counter)
    late: set[asyncio.Task[bytes]] = attrs.Factory(set)

    @property
    def counts(self) -> Counter[str]:
        """Count the faults by kind."""
        return Counter(met.fault for met in self.met)

    async def serve(self, connection: Connection) -> None:
        """Hand on every request of a connection, or let it meet its fault."""
        while True:
            head = await connection.read_head()
            lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            body = await connection.reader.readexactly(int(headers["content-length"]))
            kind = lines[0].split(" ")[1].split("/")[4]
            name = parse_qs(body.decode())["client_orderid"][0]
            self.arrived[kind, name] += 1
            request = head + body
            spared = kind not in self.kinds or self.arrived[kind, name] > self.most_faults
            if not spared and self.spared:
                self.spared, spared = self.spared - 1, True
            if spared or self.chance.random() >= self.share:
                await connection.write(await self.ask(request))
            else:
                fault = self.chance.choice(self.faults)
                self.met.append(Met(kind, name, fault))
                if not await self.spoil(connection, fault, request):
                    return
            if headers.get("connection") == "close":
                return

    async def spoil(self, connection: Connection, fault: str, request: bytes) -> bool:
        """Let a request meet its fault; False when the connection ends with it."""
        if fault == "late":
            task = asyncio.create_task(self.ask(request, self.chance.uniform(*self.lateness)))
            self.late.add(task)
            connection.reset()
            return False
        if fault == "held before":
            await asyncio.sleep(1)
            return False
        answer = b"" if fault in BEFORE else await self.ask(request)
        head, gap, body = answer.partition(b"\r\n\r\n")
        match fault.removesuffix(" before"):
            case "reset":
                connection.reset()
                return False
            case "closed":
                return False
            case "page":
                await connection.write(http_answer(PAGE, self.chance.choice((500, 502, 503, 504))))
            case "cut":
                await connection.write(head + gap + body[: len(body) // 2])
                return False
            case "garbled":
                noise = bytes(octet ^ self.chance.randrange(256) for octet in body)
                await connection.write(head + gap + noise)
            case "empty":
                await connection.write(http_answer(b""))
            case "another's":
                wrong = body.replace(b"merchant-order-id=", b"merchant-order-id=not-")
                await connection.write(http_answer(wrong))
            case "noise":
                await connection.write(self.chance.randbytes(200))
                return False
            case _:
                raise AssertionError(fault)
        return True

    async def ask(self, request: bytes, later: float = 0.0) -> bytes:
        """Hand a request to the gateway and bring its whole answer."""
        if later:
            await asyncio.sleep(later)
        url = urlsplit(self.gateway_url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            (length,) = (line.split(": ")[1] for line in lines if line.startswith("content-length"))
            return head + await reader.readexactly(int(length))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def settle(self) -> float:
        """Wait until every late request has reached the gateway; the instant after."""
        await asyncio.gather(*self.late)
        return time.time()


@asynccontextmanager
async def bad_line(
    gateway_url: str, chance: random.Random, share: float = 1 / 3
) -> AsyncIterator[BadLine]:
    """Open a bad line to a gateway."""
    line = BadLine(gateway_url, chance, share)
    async with Server(line.serve) as server:
        line.base_url = f"http://{HOST}:{server.port}/checkout"
        yield line
        await line.settle()
