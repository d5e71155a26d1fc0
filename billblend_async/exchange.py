"""One exchange with the gateway: what comes back, how long it may take, and who carries it."""

from typing import Final, Protocol

import attrs

from .departure import Departure

__all__ = ["KEEP_ALIVE", "LONGEST_ANSWER", "Failure", "Reply", "Sender", "Timeouts"]

LONGEST_ANSWER: Final = 1024 * 1024
"""Bytes of the longest answer that is read; merchant_data alone may be 192 KiB when encoded."""
KEEP_ALIVE: Final = 2.0
"""Seconds that an idle connection is kept: below the poll interval and the gateway's own limit, so
that no poll is written into a connection that the gateway is closing."""


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each part of an exchange may take, in seconds.

    Attributes:
        connect: Until the connection is open and secured.
        write: Until a part of the request is handed to the network.
        send_read: Until the next part of the answer to a request that may move money; long, since
            an answer that is given up on must be asked about.
        poll_read: Until the next part of the answer to a status request.
    """

    connect: float = 10.0
    write: float = 30.0
    send_read: float = 90.0
    poll_read: float = 30.0


@attrs.frozen
class Reply:
    """What came back.

    Attributes:
        http_status: The HTTP status.
        body: The bytes as they came; masked, since they may hold personal data.
        is_delimited: Whether their end was declared, so that a cut would have been seen.
    """

    http_status: int
    body: bytes = attrs.field(repr=False)
    is_delimited: bool


@attrs.frozen
class Failure:
    """Nothing that can be read came back.

    Attributes:
        reason: The kind of failure.
        may_have_left: Whether the request may have left this machine.
        http_status: The HTTP status, if there was one.
    """

    reason: str
    may_have_left: bool
    http_status: int | None = None


class Sender(Protocol):
    """Carries requests to the gateway over connections of its own.

    Attributes:
        connections: How many requests may be under way.
        longest: Seconds that a whole exchange may take, however well each part keeps its time.
    """

    connections: int
    longest: float

    async def post(
        self, url: str, body: bytes, departure: Departure | None = None
    ) -> Reply | Failure:
        """Send one request and read its answer; every failure becomes a value."""
        ...
