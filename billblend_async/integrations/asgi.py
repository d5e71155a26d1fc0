"""Where the gateway's callbacks come in: an ASGI application without dependencies."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from ..core.payout import fields
from ..core.responses import Callback
from ..errors import (
    BillblendError,
    ClosedError,
    DeliverAgain,
    JournalError,
    PayoutNotFound,
    VerificationFailed,
)
from ..orchestrator.inbox import Delivery

__all__ = ["CallbackEndpoint", "Recipient", "answer_callback"]

log = logging.getLogger("billblend_async.endpoint")

# Each framework has types of its own for ASGI's messages: all of them fit these.
_Scope = Mapping[str, Any]
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]
_AGAIN: Final = 503


class Recipient(Protocol):
    """Whoever takes callbacks in; see ``billblend_async.Orchestrator``."""

    def verify_callback(self, query: str | bytes) -> Callback:
        """Verify a callback by the query of its URL."""
        ...

    async def deliver(self, callback: Callback) -> Delivery:
        """Take a verified callback in."""
        ...


async def answer_callback(payouts: Recipient, query: str | bytes) -> int:
    """Take a callback in and give the HTTP status to answer, for a host with routes of its own.

    Args:
        payouts: The orchestrator.
        query: The query of the URL as it came, nothing decoded.

    Returns:
        200: it is durable, or tells what is known already.
        403: the gateway has not made it, or its two ids do not belong together.
        404: the journal knows no such payout.
        503: it cannot be judged or made durable now; the gateway sends it again later.
    """
    try:
        return await _deliver(payouts, query)
    except (DeliverAgain, JournalError, ClosedError) as error:
        log.warning("callback not taken in: %s", error, extra=fields(reason=type(error).__name__))
        return _AGAIN


async def _deliver(payouts: Recipient, query: str | bytes) -> int:
    # What the callback itself says is untrusted: it is never repeated in a log.
    try:
        callback = payouts.verify_callback(query)
        await payouts.deliver(callback)
    except VerificationFailed as error:
        log.warning("callback refused: %s", error.reason, extra=fields(reason=error.reason))
        return 403
    except PayoutNotFound:
        unknown = "the journal knows no such payout"
        log.warning("callback refused: %s", unknown, extra=fields(reason=unknown))
        return 404
    return 200


class CallbackEndpoint:
    """An ASGI application that takes the gateway's callbacks in (document 3.37).

    Route it to the path of ``server_callback_url``, with and without a slash at its end; it answers
    at whatever path it is routed to. The host's lifespan owns the orchestrator.

    GET is answered with 200, 403, 404 or 503, as ``answer_callback`` says, HEAD and every other
    method with 405. The body says nothing to strangers.

    Args:
        payouts: The orchestrator.
    """

    def __init__(self, payouts: Recipient) -> None:
        self._payouts = payouts

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"callbacks come over http, not {scope['type']}")
        is_get = scope["method"] == "GET"
        try:
            status = await answer_callback(self._payouts, scope["query_string"]) if is_get else 405
        except BillblendError as error:
            # A setting of ours is wrong: the gateway's later attempts find it mended.
            log.error(  # noqa: TRY400 - our own words suffice
                "callback not taken in: %s", error, extra=fields(reason=type(error).__name__)
            )
            status = _AGAIN
        await _respond(send, status)


async def _live(receive: _Receive, send: _Send) -> None:
    """Begin and end with the server, where this application is served alone."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _respond(send: _Send, status: int) -> None:
    body = b"OK" if status == 200 else b""
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 405:
        headers.append((b"allow", b"GET"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
