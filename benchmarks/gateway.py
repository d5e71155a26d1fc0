"""The gateway as a process of its own, far cheaper than whoever asks it.

A bare HTTP/1.1 server that keeps connections alive, over TLS unless told otherwise. It prints one
line of JSON, its base URL and the certificate to trust, and ends when its standard input does. ::

    python -m benchmarks.gateway --folder /tmp/somewhere [--core 1] [--plain]

``/control/reset``, ``/control/mark`` and ``/control/figures`` drive it; see ``arena.Gateway``.
"""

import argparse
import asyncio
import json
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple, cast

import attrs

from .book import Book, Terms
from .certificate import HOST, make_server_context
from .inspector import is_genuine
from .process import obey, pin_to, raise_file_limit

__all__ = ["DUE", "ENDPOINT", "PREFIX"]

PREFIX: Final = "/checkout"
"""Where the gateway's paths begin."""
ENDPOINT: Final = 39915
"""The endpoint that everybody uses."""
DUE: Final = "X-Due"
"""The header in which a poll tells when it was due, by the machine's monotonic clock."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)")
_DUE: Final = re.compile(rb"\r\n%b:[ \t]*([0-9.]+)" % DUE.lower().encode())
_AUTHORIZATION: Final = re.compile(rb"\r\nauthorization:[ \t]*([^\r\n]+)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(rb"\r\nhost:[ \t]*([^\r\n]+)", re.IGNORECASE)
_FORGED: Final = b"type=validation-error\n&error-message=INVALID_CONTROL_CODE\n&error-code=2"
_BACKLOG: Final = 8192


class _Asked(NamedTuple):
    """One request: its path, its head as it came and in lower case, and its body."""

    path: bytes
    head: bytes
    lower: bytes
    body: bytes


@attrs.define(eq=False)
class _Desk:
    """What all connections share.

    Attributes:
        scheme: http or https.
        book: The orders since the last reset.
    """

    scheme: str
    book: Book = attrs.field(factory=Book)


class _Connection(asyncio.Protocol):
    """One connection; requests are answered in order, several at once if they come so."""

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._buffer = b""
        self._counted_in: Book | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of no interest
        """Forget the way back."""
        self._transport = None
        if self._counted_in is not None:
            self._counted_in.open_connections -= 1

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = buffer[: end + 2]
            lower = head.lower()
            length = _LENGTH.search(lower)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < whole:
                break
            path = head[: head.find(b"\r\n")].split(b" ")[1]
            self._answer(_Asked(path, head, lower, buffer[end + 4 : whole]))
            buffer = buffer[whole:]
        self._buffer = buffer

    def _answer(self, asked: _Asked) -> None:
        is_control = asked.path.startswith(b"/control/")
        book = self._desk.book
        if not is_control and self._counted_in is not book:
            self._counted_in = book
            book.connect()
        body = self._command(asked) if is_control else self._reply(asked)
        status = b"404 Not Found" if body is None else b"200 OK"
        body = body or b""
        if self._transport is None:
            return
        self._transport.write(_RESPONSE % (status, len(body), body))
        if b"\r\nconnection: close" in asked.lower:
            self._transport.close()

    def _reply(self, asked: _Asked) -> bytes | None:
        """Answer as the gateway does; None for a path that it does not have."""
        fields = {
            name: value
            for name, _, value in (pair.partition(b"=") for pair in asked.body.split(b"&"))
        }
        book = self._desk.book
        if book.terms.public_key is not None and not self._is_genuine(asked, fields):
            book.forged += 1
            return _FORGED
        if asked.path in _STATUS:
            due = _DUE.search(asked.lower)
            if due is not None:
                book.note_due(due[1])
            return book.status(fields)
        if asked.path == _CHECK:
            return book.check(fields)
        return book.pay(fields) if asked.path == _PAY else None

    def _is_genuine(self, asked: _Asked, fields: dict[bytes, bytes]) -> bool:
        authority = _AUTHORITY.search(asked.head)
        given = _AUTHORIZATION.search(asked.head)
        host = authority[1].decode() if authority else ""
        url = f"{self._desk.scheme}://{host}{asked.path.decode()}"
        authorization = given[1].decode("latin-1") if given else ""
        return is_genuine(self._desk.book.terms, url, authorization, asked.body, fields)

    def _command(self, asked: _Asked) -> bytes | None:
        """Do what the benchmark wants; its answers are JSON."""
        match asked.path:
            case b"/control/reset":
                self._desk.book = Book(Terms(**json.loads(asked.body)))
                return b"{}"
            case b"/control/mark":
                self._desk.book.mark()
                return b"{}"
            case b"/control/figures":
                return json.dumps(attrs.asdict(self._desk.book.figures())).encode()
            case _:
                return None


_RESPONSE: Final = (
    b"HTTP/1.1 %b\r\nContent-Type: text/html;charset=utf-8\r\nContent-Length: %d\r\n\r\n%b"
)


def _path(version: int, command: str) -> bytes:
    return f"{PREFIX}/api/v{version}/{command}/{ENDPOINT}".encode()


_CHECK: Final = _path(4, "payout-check")
_PAY: Final = _path(4, "payout-pay")
_STATUS: Final = frozenset(_path(version, "status") for version in (2, 4))


async def _serve(folder: Path, *, plain: bool) -> None:
    """Serve until the process ends."""
    context, trusted = (None, None) if plain else make_server_context(folder)
    scheme = "http" if plain else "https"
    server = await asyncio.get_running_loop().create_server(
        partial(_Connection, _Desk(scheme)), HOST, 0, ssl=context, backlog=_BACKLOG
    )
    port = server.sockets[0].getsockname()[1]
    print(
        json.dumps(
            {
                "base_url": f"{scheme}://{HOST}:{port}{PREFIX}",
                "ca": None if trusted is None else str(trusted),
            }
        ),
        flush=True,
    )
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A gateway to measure clients against.")
    parser.add_argument("--folder", type=Path, required=True, help="where its certificate goes")
    parser.add_argument("--core", type=int, help="the core that it keeps to")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    options = parser.parse_args()
    if options.core is not None:
        pin_to(options.core)
    raise_file_limit()
    obey(lambda: None)
    serving = _serve(options.folder, plain=options.plain)
    if find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415 - only where it is installed

        uvloop.run(serving)
    else:
        asyncio.run(serving)


if __name__ == "__main__":
    main()
