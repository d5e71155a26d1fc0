"""The sandbox over HTTP: an ASGI app that reads, verifies and answers as the gateway does.

A request is verified for the exact URL that was asked for and the bytes of its body, as RFC 5849
section 3.4.1 wants it. Timestamps and nonces are not judged: no document says that the gateway
does, so a repeated request must show in the ledger. The server listens on this machine only.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

import attrs
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..errors import InvalidInput, VerificationFailed
from ..models import Endpoint
from ..signing import (
    body_parameters,
    control_matches,
    read_authorization,
    verify_authorization,
)
from ..wire import FORM, RequestKind, status_control_parts
from .gateway import Gateway
from .wire import build_answer, read_form, read_url_path

__all__ = ["LONGEST_BODY", "PREFIX", "Merchant", "build_app"]

log = logging.getLogger(__name__)

LONGEST_BODY: Final = 1024 * 1024
"""Bytes of the longest request that is read."""
PREFIX: Final = "/checkout"
"""Where the gateway's paths begin."""
_JSON: Final = "application/vnd.pay+json"
_INVALID_CONTROL: Final = {
    "type": "validation-error",
    "error-message": "INVALID_CONTROL_CODE",
    "error-code": "2",
}


@attrs.frozen(kw_only=True)
class Merchant:
    """Somebody whom the gateway knows.

    Attributes:
        login: The login, which is the OAuth consumer key.
        endpoint_id: The number of the endpoint, and of the endpoint group, that is open to them.
        public_key: The public half of their key as PEM.
        merchant_control: The secret of the v2 commands.
    """

    login: str
    endpoint_id: int
    public_key: bytes = attrs.field(repr=False)
    merchant_control: str = attrs.field(repr=False)


def build_app(
    gateway: Gateway, merchants: Iterable[Merchant], *, clock: Callable[[], float] = time.time
) -> Starlette:
    """Build the ASGI app of a gateway.

    Args:
        gateway: The model that carries the requests out.
        merchants: Who may send them.
        clock: Seconds since the epoch.
    """
    counter = _Counter(gateway, merchants, clock)
    return Starlette(
        routes=[
            Route("/", _greet),
            Route("/sandbox/ledger", counter.show_ledger),
            Route(f"{PREFIX}/{{rest:path}}", counter.serve, methods=["POST"]),
        ]
    )


async def _greet(_: Request) -> Response:
    return PlainTextResponse(
        "This is the sandbox of billblend_async, where no real money moves: POST its commands to "
        f"{PREFIX} and read at /sandbox/ledger what was paid.\n"
    )


class _Counter:
    """The counter where merchants hand in requests: it looks at the papers, the model decides."""

    def __init__(
        self, gateway: Gateway, merchants: Iterable[Merchant], clock: Callable[[], float]
    ) -> None:
        self._gateway = gateway
        self._merchants = {merchant.login: merchant for merchant in merchants}
        self._clock = clock

    async def show_ledger(self, _: Request) -> Response:
        """Answer what became of every client_orderid."""
        return JSONResponse(self._gateway.snapshot(self._clock()))

    async def serve(self, request: Request) -> Response:
        """Answer one command."""
        path = request.scope["raw_path"].decode("latin-1").removeprefix(PREFIX)
        addressed = read_url_path(path)
        if addressed is None or (addressed[0] == 2 and addressed[1] is not RequestKind.STATUS):
            return _page(404, "Not found")
        version, kind, endpoint = addressed
        content_type = request.headers.get("content-type", "").partition(";")[0]
        body = await _read_body(request)
        if body is None or content_type.strip().casefold() != FORM:
            return _page(400, "Bad request")
        try:
            fields = read_form(body)
            if version == 4:
                login = self._verify_signature(request, endpoint, body)
            else:
                merchant = self._known(fields.get("login", ""), endpoint)
                login = merchant.login
                if not _has_control(fields, merchant):
                    return _answer(request, _INVALID_CONTROL)
        except InvalidInput as error:
            log.info("400 for %s: %r", kind.value, str(error))
            return _page(400, "Bad request")
        except VerificationFailed as error:
            # The gateway gives no reason, so only whoever runs the sandbox may hear it.
            log.info("403 for %s: %r", kind.value, error.reason)
            return _page(403, "Access is denied")
        reply = self._gateway.handle(kind, endpoint, login, fields, self._clock())
        return _answer(request, reply)

    def _verify_signature(self, request: Request, endpoint: Endpoint, body: bytes) -> str:
        header = request.headers.get("authorization", "")
        merchant = self._known(read_authorization(header)["oauth_consumer_key"], endpoint)
        verify_authorization(
            header,
            request.method,
            _requested_url(request),
            body_parameters(body),
            public_key=merchant.public_key,
        )
        return merchant.login

    def _known(self, login: str, endpoint: Endpoint) -> Merchant:
        merchant = self._merchants.get(login)
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


def _requested_url(request: Request) -> str:
    """Put the URL together again as it was sent: nothing decoded, nothing normalised."""
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    url = f"{request.scope['scheme']}://{request.headers.get('host', '')}{path}"
    return f"{url}?{query}" if query else url


async def _read_body(request: Request) -> bytes | None:
    """Read the body; None if it is too long or was cut.

    A body that is too long is read to its end all the same, and forgotten: a client that is still
    writing when the connection closes would never see the answer.
    """
    body = bytearray()
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= LONGEST_BODY:
                body += chunk
    except ClientDisconnect:
        return None
    return bytes(body) if size <= LONGEST_BODY else None


def _answer(request: Request, reply: dict[str, str]) -> Response:
    """Write an answer in the form that was asked for; only JSON tells errors by its HTTP code."""
    if _JSON not in request.headers.get("accept", "").casefold():
        return Response(build_answer(reply), headers={"Content-Type": "text/html;charset=utf-8"})
    failed = reply["type"] in ("validation-error", "error")
    return Response(
        build_answer(reply, as_json=True), 400 if failed else 200, headers={"Content-Type": _JSON}
    )


def _page(code: int, sentence: str) -> Response:
    page = _PAGE.replace("{code}", str(code)).replace("{sentence}", sentence)
    return Response(page, code, headers={"Content-Type": "text/html"})


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
