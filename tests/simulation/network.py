"""A network in memory: the streams that httpcore reads and writes, byte by byte, and their breaks.

Both ends of a stream are one object. What a program awaits in it belongs to that program and dies
with it; what comes from the other side belongs to the world.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final, Literal, Protocol

import attrs
import httpcore

from .fate import Fate
from .loop import SeededLoop
from .sending import Send

__all__ = ["TRIP", "Door", "End", "Network", "Request", "Stream", "Trip"]

End = Literal["closed", "reset"]
_END_OF_HEAD: Final = b"\r\n\r\n"


@attrs.define(eq=False, kw_only=True)
class Trip:
    """One exchange, as its caller means it.

    Attributes:
        step: The step, for the counters.
        fault: What goes wrong with it between the two machines.
        send: What may move money, as the caller asked for it; None for questions.
        stood: Seconds for which its program stood still right before its last bytes.
        is_given_up: Whether its transport cancels what it has begun itself.
    """

    step: str
    fault: str | None
    send: Send | None = None
    stood: float = 0.0
    is_given_up: bool = False


TRIP: ContextVar[Trip] = ContextVar("TRIP")
"""The exchange that the running code belongs to; the lane's tasks inherit it."""


@attrs.frozen(kw_only=True)
class Request:
    """A whole request, as its bytes say.

    Attributes:
        method: The method.
        target: The path and query.
        headers: The headers by lower-case name.
        body: The body.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Door(Protocol):
    """What stands behind the streams."""

    def sees_first_byte(self, trip: Trip) -> None:
        """Look at a request whose first byte leaves."""
        ...

    def takes(self, stream: "Stream", trip: Trip, request: Request) -> None:
        """Take a request of which every byte has arrived."""
        ...

    def sees_cut_off(self, trip: Trip) -> None:
        """Look at an exchange that somebody has cancelled in the middle."""
        ...


class Network(httpcore.AsyncNetworkBackend):
    """One program's way to the gateway.

    Args:
        loop: The loop.
        fate: What goes wrong.
        door: What stands at the other end.

    Attributes:
        on_brink: Called when a part of a request is about to leave that may move money.
    """

    def __init__(self, loop: SeededLoop, fate: Fate, door: Door) -> None:
        self.loop = loop
        self.fate = fate
        self.door = door
        self.streams: list[Stream] = []
        self.on_brink: Callable[[Trip, str], None] = lambda trip, part: None

    @property
    def open_streams(self) -> int:
        """How many streams the program has not closed."""
        return sum(not stream.is_closed for stream in self.streams)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "Stream":
        """Open a stream."""
        trip, fate = TRIP.get(), self.fate
        assert timeout is not None
        if trip.fault == "connect-refused":
            await asyncio.sleep(fate.between(0.0, 3.0))
            fate.hit(trip.step, trip.fault)
            raise httpcore.ConnectError
        if trip.fault == "connect-timeout":
            await asyncio.sleep(timeout)
            fate.hit(trip.step, trip.fault)
            raise httpcore.ConnectTimeout
        if trip.fault == "connect-slow":
            fate.hit(trip.step, trip.fault)
            await asyncio.sleep(fate.between(1.0, timeout))
        else:
            await asyncio.sleep(fate.between(0.0, 0.2))
        stream = Stream(self)
        self.streams.append(stream)
        return stream

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        socket_options: Iterable[Any] | None = None,
    ) -> "Stream":
        """Open none: there are no files here."""
        raise httpcore.UnsupportedProtocol

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def hang_up(self) -> None:
        """Let the gateway close every connection on which it waits for a request in vain."""
        for stream in self.streams:
            if stream.requests == stream.answers:
                stream.end("closed")

    def cut(self) -> None:
        """Cut every stream, as the kernel does when a program is killed.

        What was written may reach the gateway all the same, or be lost on its way.
        """
        for stream in self.streams:
            stream.end("reset")
            if stream.under_way is not None and self.fate.random.random() < 0.3:
                stream.under_way.is_lost = True
        self.streams.clear()


class Stream(httpcore.AsyncNetworkStream):
    """Both ends of a connection.

    Attributes:
        is_closed: Whether the program has closed it.
        answers: How many requests were answered whole.
        requests: How many have arrived whole.
        stood: Seconds for which its program stood still before it wrote last.
        under_way: The request that has arrived and is not answered, if it may move money.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._going = bytearray()
        self._has_begun = False
        self._coming = bytearray()
        self._ended: End | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.is_closed = False
        self.answers = 0
        self.requests = 0
        self.stood = 0.0
        self.under_way: Send | None = None

    # the program's end

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Send bytes, or a part of them."""
        if not buffer:
            return
        trip, fate, step = TRIP.get(), self._network.fate, TRIP.get().step
        fault = trip.fault
        is_head, began = not self._has_begun, self._network.loop.now
        if trip.send is not None:
            self._network.on_brink(trip, "head" if is_head else "body")
        await self._pause(trip, 0.0)  # a place to die at: claimed, and nothing left yet
        trip.stood = self.stood = self._network.loop.now - began
        self._has_begun = True
        if is_head:
            # Even if this very write fails: nobody can prove then that no byte has left.
            self._network.door.sees_first_byte(trip)
        if self.is_closed or self._ended is not None:
            if trip.stood:
                fate.hit("freeze", "hung-up")
            raise httpcore.WriteError
        if fault == "reset-early" and is_head:
            fate.hit(step, fault)
            self.end("reset")
            raise httpcore.WriteError
        if fault == "stale-connection" and is_head and self.answers:
            # The gateway closed it long ago, and the news of that crosses our bytes.
            fate.hit(step, fault)
            self.end(fate.one_of(("closed", "reset")))
            return
        if fault is not None and fault == ("cut-head" if is_head else "cut-body"):
            fate.hit(step, fault)
            self._deliver(trip, buffer[: fate.random.randrange(len(buffer))])
            self.end(fate.one_of(("closed", "reset")))
            if fate.random.random() < 0.5:  # else the kernel took them all, and tells later
                raise httpcore.WriteError
            return
        if fault == "stuck-write" and not is_head:
            fate.hit(step, fault)
            self._deliver(trip, buffer[: fate.random.randrange(len(buffer))])
            await self._pause(trip, timeout or 0.0)
            raise httpcore.WriteTimeout
        self._deliver(trip, buffer)
        if fault == "broken-write" and not is_head:
            fate.hit(step, fault)
            raise httpcore.WriteError  # all has arrived, and the answer comes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """Wait for bytes; none are the end."""
        if not (self._coming or self._ended or self.is_closed):
            trip, loop = TRIP.get(), self._network.loop
            self._waiter = loop.create_future()
            assert timeout is not None
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            except asyncio.CancelledError:
                self._network.door.sees_cut_off(trip)
                raise
            finally:
                timer.cancel()
        if self.is_closed:
            raise httpcore.ReadError
        if self._coming:
            octets = bytes(self._coming[:max_bytes])
            del self._coming[:max_bytes]
            return octets
        if self._ended == "closed":
            return b""
        raise httpcore.ReadTimeout if self._ended is None else httpcore.ReadError

    async def aclose(self) -> None:
        """Close it; whoever still reads is told."""
        self.is_closed = True
        self._wake()
        trip = TRIP.get(None)
        if self._going and self.stood and trip is not None and trip.send is not None:
            self._network.fate.hit("freeze", "woke-too-late")

    def get_extra_info(self, info: str) -> Any:
        """Tell whether a read would return at once; httpcore asks before it uses a stream again."""
        if info == "is_readable":
            return bool(self._coming or self._ended)
        return None

    async def _pause(self, trip: Trip, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._network.door.sees_cut_off(trip)
            raise

    # the other end

    def arrive(self, octets: bytes) -> None:
        """Let bytes of the gateway arrive."""
        if self._ended is None and not self.is_closed:
            self._coming += octets
            self._wake()

    def end(self, how: End) -> None:
        """Let nothing arrive any more, in either direction."""
        if self._ended is None:
            self._ended = how
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _deliver(self, trip: Trip, octets: bytes) -> None:
        """Bring bytes to the gateway; a whole request is taken in."""
        self._going += octets
        head, end, body = bytes(self._going).partition(_END_OF_HEAD)
        if not end:
            return
        first, *lines = head.decode("ascii").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        if len(body) < int(headers["content-length"]):
            return
        self._going.clear()
        self._has_begun = False
        self.requests += 1
        request = Request(method=method, target=target, headers=headers, body=body)
        self._network.door.takes(self, trip, request)
