"""HTTP as the gateway speaks it: what a request says, and how an answer looks."""

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ..server import HANG_UP
from .wire import build_answer

__all__ = [
    "answer",
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
