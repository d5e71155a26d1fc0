"""Watches one request leave: the proof that nothing was sent, or that it may have been."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

__all__ = ["BeforeSend", "Departure", "MayNotLeave"]

BeforeSend = Callable[[], Awaitable[None]]
"""Awaited right before the first byte; if it raises, nothing is sent."""

_NOBODY_WAITS: Final = "nobody waits for this request any more"


class MayNotLeave(Exception):
    """Keeps a request from leaving a second time, or for nobody."""


class Departure:
    """Watches one request leave: whether it may have, and what is done right before.

    Put it into a request's extensions under ``Departure.EXTENSION``. Over httpx's own transport it
    listens to httpcore's awaited event ``send_request_headers.started``, which comes when the
    connection is open and before the first byte. Over any other transport, whose insides cannot be
    seen, the request counts as leaving before that transport is called.

    Attributes:
        may_have_left: Whether the first byte may have left this machine.
        refusal: What ``before_send`` raised; then nothing was sent.
        is_over: Whether nobody waits for the request any more; set it, and it does not leave.
    """

    EXTENSION: Final = "billblend.departure"

    __slots__ = ("_before_send", "is_over", "may_have_left", "refusal")

    def __init__(self, before_send: BeforeSend | None = None) -> None:
        self._before_send = before_send
        self.may_have_left = False
        self.is_over = False
        self.refusal: BaseException | None = None

    async def leave(self) -> None:
        """Do what must be done before the first byte, then let the request go, once."""
        if self.may_have_left or self.refusal is not None:
            # A transport that repeats requests by itself must not repeat one that moves money.
            raise MayNotLeave("a request leaves only once")
        if self.is_over:
            raise MayNotLeave(_NOBODY_WAITS)  # before a claim is made that nobody takes back
        try:
            if self._before_send is not None:
                await self._before_send()
        except BaseException as error:
            self.refusal = error
            raise
        if self.is_over:
            raise MayNotLeave(_NOBODY_WAITS)
        self.may_have_left = True

    async def on_trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Follow httpcore's trace; a proxy's CONNECT carries nothing of the request."""
        if name.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            await self.leave()
