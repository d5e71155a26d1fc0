"""The sandbox over HTTP: an ASGI app that reads, verifies and answers as the gateway does.

A request is verified for the exact URL that was asked for and the bytes of its body, as RFC 5849
section 3.4.1 wants it. Timestamps and nonces are not judged: no document says that the gateway
does, so a repeated request must show in the ledger. The server listens on this machine only.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..core.models import Endpoint
from ..errors import InvalidInput, VerificationFailed
from ..gateway.signing import (
    body_parameters,
    control_matches,
    read_authorization,
    verify_authorization,
)
from ..gateway.wire import FORM, RequestKind, status_control_parts
from ..server import HANG_UP
from .callbacks import Postman
from .faults import FaultKind, Faults
from .gateway import Gateway
from .web import Site, content_type, read_body
from .wire import build_answer, read_form, read_url_path

__all__ = [
    "LONGEST_BODY",
    "PREFIX",
    "Merchant",
    "answer",
    "build_app",
    "error_page",
    "hang_up",
    "requested_url",
]

_JSON: Final = "application/vnd.pay+json"


def requested_url(request: Request) -> str:
    """Put the URL together again as it was sent: nothing decoded, nothing normalised."""
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    url = f"{request.scope['scheme']}://{request.headers.get('host', '')}{path}"
    return f"{url}?{query}" if query else url


def answer(request: Request, reply: dict[str, str]) -> Response:
    """Write an answer in the form that was asked for; only JSON tells errors by its HTTP code."""
    if _JSON not in request.headers.get("accept", "").casefold():
        return Response(build_answer(reply), headers={"Content-Type": "text/html;charset=utf-8"})
    failed = reply["type"] in ("validation-error", "error")
    return Response(
        build_answer(reply, as_json=True), 400 if failed else 200, headers={"Content-Type": _JSON}
    )


def error_page(code: int, sentence: str) -> Response:
    """Write the page that the gateway gives instead of an answer."""
    page = _PAGE.replace("{code}", str(code)).replace("{sentence}", sentence)
    return Response(page, code, headers={"Content-Type": "text/html"})


def hang_up(request: Request) -> Response:
    """Close the connection without an answer; what is returned reaches nobody.

    Raises:
        RuntimeError: The server offers no way to do that.
    """
    close: Callable[[], None] | None = request.scope.get("extensions", {}).get(HANG_UP)
    if close is None:
        raise RuntimeError("only the sandbox's own server can close a connection without an answer")
    close()
    return Response()


_PAGE: Final = """\
<!DOCTYPE html>
<html>
<head>
    <meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>
    <title>{code}</title>
    <style type="text/css">
        body {
            font-family: Arial, sans-serif;
            font-size: 130%;
            background-color: #eee;
        }
        p {
            margin: 10em auto 0;
            width: 500px;
            border: 1px solid gray;
            text-align: center;
            vertical-align: middle;
            padding: 40px 20px;
            background-color: #fff;
            -webkit-border-radius: 20px;
            -moz-border-radius: 20px;
            border-radius: 20px;
        }
    </style>
</head>
<body>
    <p>{sentence}</p>
</body>
</html>
"""


log = logging.getLogger("billblend_async.sandbox.app")

LONGEST_BODY: Final = 1024 * 1024
"""Bytes of the longest request that is read."""
PREFIX: Final = "/checkout"
"""Where the gateway's paths begin."""
_INVALID_CONTROL: Final = {
    "type": "validation-error",
    "error-message": "INVALID_CONTROL_CODE",
    "error-code": "2",
}
_GARBAGE: Final = bytes(range(256))


@attrs.frozen(kw_only=True)
class Merchant:
    """Somebody whom the gateway knows.

    Attributes:
        login: The login, which is the OAuth consumer key.
        endpoint_id: The number of the endpoint, and of the endpoint group, that is open to them.
        public_key: The public half of their key as PEM.
        merchant_control: The secret of the v2 commands, callbacks and final redirects.
    """

    login: str
    endpoint_id: int
    public_key: bytes = attrs.field(repr=False)
    merchant_control: str = attrs.field(repr=False)


def build_app(
    gateway: Gateway,
    merchants: Iterable[Merchant],
    *,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,
    postman: Postman | None = None,
    nap: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Starlette:
    """Build the ASGI app of a gateway.

    Args:
        gateway: The model that carries the requests out.
        merchants: Who may send them.
        clock: Seconds since the epoch.
        faults: What is to go wrong; by default nothing.
        postman: Who brings the callbacks; by default nobody does.
        nap: Waits for that many seconds while an answer is delayed.
    """
    known = {merchant.login: merchant for merchant in merchants}
    controls = {merchant.login: merchant.merchant_control for merchant in known.values()}
    faults = faults or Faults(random.random)
    postman = postman or Postman(gateway, controls, faults=faults, clock=clock)
    site = Site(gateway, faults, postman, controls, clock)
    counter = _Counter(gateway, known, faults, clock, nap)
    commands = Route(f"{PREFIX}/{{rest:path}}", counter.serve, methods=["POST"])
    return Starlette(routes=[commands, Route("/", _greet), *site.routes()])


async def _greet(_: Request) -> Response:
    return PlainTextResponse(
        "This is the sandbox of billblend_async, where no real money moves: POST its commands to "
        f"{PREFIX}, look at /sandbox/ and read at /sandbox/ledger what was paid.\n"
    )


@attrs.frozen
class _Counter:
    """The counter where merchants hand in requests: it looks at the papers, the model decides."""

    gateway: Gateway
    merchants: dict[str, Merchant]
    faults: Faults
    clock: Callable[[], float]
    nap: Callable[[float], Awaitable[None]]

    async def serve(self, request: Request) -> Response:
        """Answer one command."""
        path = request.scope["raw_path"].decode("latin-1").removeprefix(PREFIX)
        addressed = read_url_path(path)
        if addressed is None or (addressed[0] == 2 and addressed[1] is not RequestKind.STATUS):
            return error_page(404, "Not found")
        version, kind, endpoint = addressed
        body = await read_body(request, LONGEST_BODY)
        if body is None or content_type(request) != FORM:
            return error_page(400, "Bad request")
        try:
            fields = read_form(body)
            if version == 4:
                login = self._verify_signature(request, endpoint, body)
            else:
                merchant = self._known(fields.get("login", ""), endpoint)
                login = merchant.login
                if not _has_control(fields, merchant):
                    return answer(request, _INVALID_CONTROL)
        except InvalidInput as error:
            log.info("400 for %s: %r", kind.value, str(error))
            return error_page(400, "Bad request")
        except VerificationFailed as error:
            # The gateway gives no reason, so only whoever runs the sandbox may hear it.
            log.info("403 for %s: %r", kind.value, error.reason)
            return error_page(403, "Access is denied")
        return await self._carry_out(request, kind, endpoint, login, fields)

    async def _carry_out(
        self,
        request: Request,
        kind: RequestKind,
        endpoint: Endpoint,
        login: str,
        fields: dict[str, str],
    ) -> Response:
        """Let the model decide, and the faults what becomes of that."""
        strike = self.faults.draw(kind.value)
        if strike.seconds:
            await self.nap(strike.seconds)
        if strike.fault is FaultKind.DROP_BEFORE:
            return hang_up(request)
        if strike.fault is FaultKind.DENIED_403:
            return error_page(403, "Access is denied")
        reply = self.gateway.handle(kind, endpoint, login, fields, self.clock())
        match strike.fault:
            case FaultKind.DROP_AFTER:
                return hang_up(request)
            case FaultKind.ERROR_500:
                return error_page(500, "Internal server error")
            case FaultKind.GARBAGE:
                return Response(_GARBAGE, headers={"Content-Type": "text/html;charset=utf-8"})
            case FaultKind.HTML:
                return error_page(200, "The gateway is being looked after")
            case _:
                return answer(request, reply)

    def _verify_signature(self, request: Request, endpoint: Endpoint, body: bytes) -> str:
        header = request.headers.get("authorization", "")
        merchant = self._known(read_authorization(header)["oauth_consumer_key"], endpoint)
        verify_authorization(
            header,
            request.method,
            requested_url(request),
            body_parameters(body),
            public_key=merchant.public_key,
        )
        return merchant.login

    def _known(self, login: str, endpoint: Endpoint) -> Merchant:
        merchant = self.merchants.get(login)
        if merchant is None:
            raise VerificationFailed("nobody has this login")
        if merchant.endpoint_id not in (endpoint.endpoint_id, endpoint.endpoint_group_id):
            raise VerificationFailed("this login has no such endpoint")
        return merchant


def _has_control(fields: dict[str, str], merchant: Merchant) -> bool:
    """Tell whether the control of a v2 status is right (document 3.16)."""
    parts = status_control_parts(
        merchant.login, fields.get("client_orderid", ""), fields.get("orderid")
    )
    sent = [part for part in parts if part]
    return control_matches(fields.get("control", ""), *sent, merchant.merchant_control)
