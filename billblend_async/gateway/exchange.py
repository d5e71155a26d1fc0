"""One exchange with the gateway: what comes back, how long it may take, and who carries it."""

from typing import Final, Protocol

import attrs

from ..errors import ConfigurationError
from .departure import Departure

__all__ = [
    "KEEP_ALIVE",
    "LONGEST_ANSWER",
    "Failure",
    "Reply",
    "Sender",
    "Timeouts",
    "judge",
    "no_transport",
    "unfit_for_sending",
]

LONGEST_ANSWER: Final = 1024 * 1024
"""Bytes of the longest answer that is read; merchant_data alone may be 192 KiB when encoded."""
KEEP_ALIVE: Final = 2.0
"""Seconds that an idle connection is kept: below the poll interval and the gateway's own limit, so
that no poll is written into a connection that the gateway is closing."""
_GIVEN_UP: Final = "the transport gave it up before it left"
_UNSEEN: Final = (
    "answered without being seen leaving; does a mocking library replace httpx's insides? "
    "see the testing guide"
)


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


async def judge(
    answer: Reply | Failure, departure: Departure, *, is_answered: bool, came_before: bool
) -> Reply | Failure:
    """Tell what an exchange has come to, by what was seen of its departure.

    What proves that nothing has left is both a failure of a kind that comes before the first byte,
    and a departure that has seen no first byte; or that the transport has given up while the
    request was let go, for nothing leaves after that.

    Args:
        answer: What came of it.
        departure: What was seen.
        is_answered: Whether something was answered.
        came_before: Whether it has failed in a way that comes before the first byte.

    Raises:
        BaseException: What it was refused for; then nothing was sent.
    """
    if is_answered and not departure.has_begun and departure.refusal is None:
        # An answer to what was not seen leaving: put it on record, late, and trust no more.
        await departure.leave()
        answer = Failure(_UNSEEN, may_have_left=True)
    departure.is_over = True  # copies that the transport still holds leave no more
    await departure.settle()
    if departure.refusal is not None:
        # What the transport made of it, or that it went on regardless, says nothing; its frames
        # hold the request's bytes.
        raise departure.refusal.with_traceback(None)
    if departure.may_have_left:
        return answer
    if departure.has_begun:
        return Failure(_GIVEN_UP, may_have_left=False)
    if came_before and isinstance(answer, Failure):
        return attrs.evolve(answer, may_have_left=False)
    return answer


def no_transport(name: str, thing: object, others: str) -> ConfigurationError:
    """Say that what was given as a transport is none, and what to give."""
    given = f"the class {_name(thing)}" if isinstance(thing, type) else _name(type(thing))
    return ConfigurationError(
        f"{name} must be an httpx.AsyncBaseTransport{others}, and not {given}; give an "
        "httpx.AsyncHTTPTransport, which takes verify, cert, proxy and more"
    )


def unfit_for_sending(transport: object) -> ConfigurationError:
    """Say that a transport is not seen to send a request, and what to give instead."""
    return ConfigurationError(
        f"transport {_name(type(transport))}: it reads a request before it sends it, or does not "
        "tell when it leaves, so it could send it twice; use httpx.AsyncHTTPTransport, which takes "
        "verify, cert, proxy and more, or give this one as poll_transport, for questions alone. In "
        "tests use httpx.MockTransport, and if a mocking library replaces httpx's insides, see the "
        "testing guide"
    )


def _name(thing: type) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
