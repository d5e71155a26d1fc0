"""The two lanes of a client: fresh connections for what may move money, kept ones for questions."""

import ssl
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, Protocol

import attrs

from .. import __version__
from ..errors import ConfigurationError
from .authorizer import Authorizer
from .credentials import Credentials
from .exchange import Sender, Timeouts
from .httpx_transport import (
    AsyncTransport,
    Connections,
    HttpxSender,
    SigningTransport,
    check_transport,
    make_ssl_context,
)
from .lane import Lane
from .wire import FORM

if TYPE_CHECKING:
    from .aiohttp_transport import ExpressSender

__all__ = ["Lanes", "PollTransport", "make_lanes"]

PollTransport = AsyncTransport | Literal["aiohttp"]
"""What status requests may travel on."""

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": FORM,
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"billblend-async/{__version__}",
}


class _Closable(Protocol):
    async def aclose(self) -> None: ...


@attrs.define(eq=False)
class Lanes:
    """The two lanes, and what was made for them.

    Attributes:
        send: For requests that may move money; signed, each on a connection of its own.
        poll: For status requests.
    """

    send: Lane
    poll: Lane
    _made: list[_Closable] = attrs.field(repr=False)

    @property
    def in_flight(self) -> int:
        """How many exchanges are under way."""
        return len(self.send.in_flight) + len(self.poll.in_flight)

    async def drain(self) -> None:
        """Wait for every exchange that is under way now."""
        await self.send.drain()
        await self.poll.drain()

    async def aclose(self) -> None:
        """Close what was made here, and nothing that was handed in."""
        while self._made:
            await self._made[-1].aclose()
            self._made.pop()


def make_lanes(
    credentials: Credentials,
    *,
    is_signed: bool,
    transport: AsyncTransport | None,
    poll_transport: PollTransport | None,
    ssl_context: ssl.SSLContext | None,
    timeouts: Timeouts,
    max_sends: int,
    max_polls: int,
    nonce: Callable[[], str],
    wall_clock: Callable[[], float],
) -> Lanes:
    """Make the lanes of a client from its arguments; ``is_signed`` are its status requests or not.

    Raises:
        ConfigurationError: What is given as a transport is none, or is not installed.
    """
    if transport is not None:
        check_transport("transport", transport)
    if poll_transport is not None and not isinstance(poll_transport, str):
        check_transport("poll_transport", poll_transport, others=' or "aiohttp"')
    made: list[_Closable] = []
    # Reading the certificate authorities takes longer than all the rest: once is enough.
    tls = cache(lambda: ssl_context or make_ssl_context())

    def connections(*, keep_alive: bool) -> AsyncTransport:
        made.append(connections := Connections(tls(), keep_alive=keep_alive))
        return connections

    def signing(inner: AsyncTransport) -> AsyncTransport:
        made.append(
            signing := SigningTransport(credentials, inner, nonce=nonce, wall_clock=wall_clock)
        )
        return signing

    def poller() -> Sender:
        if isinstance(poll_transport, str):
            authorizer = Authorizer(credentials, nonce=nonce, wall_clock=wall_clock)
            express = _express(poll_transport)(
                tls(),
                max_polls,
                headers=_HEADERS,
                timeouts=timeouts,
                authorizer=authorizer if is_signed else None,
            )
            made.append(express)
            return express
        inner = poll_transport or transport or connections(keep_alive=True)
        return HttpxSender(
            signing(inner) if is_signed else inner,
            max_polls,
            headers=_HEADERS,
            timeouts=timeouts,
            read=timeouts.poll_read,
        )

    sender = HttpxSender(
        signing(transport or connections(keep_alive=False)),
        max_sends,
        headers={**_HEADERS, "Connection": "close"},
        timeouts=timeouts,
        read=timeouts.send_read,
    )
    return Lanes(Lane(sender), Lane(poller()), made)


def _express(name: str) -> "type[ExpressSender]":
    if name != "aiohttp":
        raise ConfigurationError('poll_transport must be an httpx transport, or "aiohttp"')
    try:
        from .aiohttp_transport import ExpressSender  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        pass
    else:
        return ExpressSender
    raise ConfigurationError(
        "poll_transport \"aiohttp\" needs aiohttp: pip install 'billblend-async[aiohttp]'"
    )
