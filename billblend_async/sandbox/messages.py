"""HTTP as the gateway speaks it: what a request says, and how an answer looks."""

from collections.abc import Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..server import HANG_UP
from .wire import build_answer

__all__ = [
    "answer",
    "content_type",
    "error_page",
    "hang_up",
    "read_body",
    "requested_url",
]

_JSON: Final = "application/vnd.pay+json"


def content_type(request: Request) -> str:
    """Tell the type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


def requested_url(request: Request) -> str:
    """Put the URL together again as it was sent: nothing decoded, nothing normalised."""
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    url = f"{request.scope['scheme']}://{request.headers.get('host', '')}{path}"
    return f"{url}?{query}" if query else url


async def read_body(request: Request, longest: int) -> bytes | None:
    """Read the body; None if it is too long or was cut.

    A body that is too long is read to its end all the same, and forgotten: a client that is still
    writing when the connection closes would never see the answer.
    """
    body = bytearray()
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= longest:
                body += chunk
    except ClientDisconnect:
        return None
    return bytes(body) if size <= longest else None


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
