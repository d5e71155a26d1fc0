"""The bytes of an answer: how they are framed, and what may become of them."""

import gzip
import json
from collections.abc import Mapping
from typing import Final, Literal

import attrs

from billblend_async.gateway.exchange import LONGEST_ANSWER
from billblend_async.sandbox.wire import build_answer

from .fate import Fate

__all__ = ["Answer", "pages", "write_fields"]

Framing = Literal["length", "chunked", "close"]
_PAGES: Final = {
    302: "Found",
    307: "Temporary Redirect",
    403: "Forbidden",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


@attrs.frozen(kw_only=True)
class Answer:
    """An answer.

    Attributes:
        status: The HTTP status.
        body: The body.
        content_type: Its type.
        headers: More headers.
        framing: How its end is told; ``close`` tells nothing.
    """

    status: int = 200
    body: bytes
    content_type: str = "text/html;charset=utf-8"
    headers: tuple[str, ...] = ()
    framing: Framing = "length"

    def write(self, fate: Fate) -> tuple[bytes, int]:
        """Write all of its bytes; tell where the body begins."""
        lines = [
            f"HTTP/1.1 {self.status} {_PAGES.get(self.status, '')}",
            f"Content-Type: {self.content_type}",
            *self.headers,
        ]
        body = self.body
        if self.framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        elif self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
            cut = fate.random.randrange(len(body) + 1)
            parts = [part for part in (body[:cut], body[cut:], b"") if part or not body[cut:]]
            parts = [*(part for part in parts if part), b""]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        head = "\r\n".join([*lines, "", ""]).encode()
        return head + body, len(head)


def write_fields(fields: Mapping[str, str], fate: Fate) -> Answer:
    """Write fields as a form or as JSON, in any order: no document promises one."""
    names = list(fields)
    fate.random.shuffle(names)
    shuffled = {name: fields[name] for name in names}
    framing: Framing = fate.one_of(("length", "length", "chunked"))
    if fate.random.random() < 0.25:
        is_error = fields["type"] in ("error", "validation-error")
        status = fate.one_of((200, 400, 422)) if is_error else 200
        body = build_answer(shuffled, as_json=True)
        kind = "application/json"
        return Answer(status=status, body=body, content_type=kind, framing=framing)
    return Answer(body=build_answer(shuffled), framing=framing)


def pages(fault: str, answer: Answer, fate: Fate) -> Answer:
    """Put something else in an answer's place, or make it something that must not be read."""
    page = b"<html><body>type=async-response</body></html>"
    match fault:
        case "error-page":
            return Answer(status=fate.one_of((403, 500, 502, 503)), body=page)
        case "too-many":
            return Answer(status=429, body=fate.one_of((page, answer.body)))
        case "moved":
            place = "Location: http://127.0.0.1/checkout/api/v4/payout-pay/39915"
            body = fate.one_of((page, answer.body))
            return Answer(status=fate.one_of((302, 307)), body=body, headers=(place,))
        case "oversized":
            body = answer.body + b"\n&rest=" + b"x" * LONGEST_ANSWER
            return attrs.evolve(answer, body=body)
        case "compressed":
            packed = gzip.compress(answer.body, mtime=0)
            return attrs.evolve(answer, body=packed, headers=("Content-Encoding: gzip",))
        case "empty":
            return attrs.evolve(answer, status=200, body=b"", framing="length")
        case "twice":
            return attrs.evolve(answer, body=_say_twice(answer.body, fate))
        case "undelimited" | "cut-undelimited":
            return attrs.evolve(answer, framing="close")
    return answer


def _say_twice(body: bytes, fate: Fate) -> bytes:
    """Repeat a key, with another value."""
    key = fate.one_of(("type", "merchant-order-id", "paynet-order-id", "status"))
    if body.startswith(b"{"):
        extra = json.dumps({key: "1"})[1:-1].encode()
        again = json.dumps({key: "2"})[1:-1].encode()
        return body[:-1] + b", " + extra + b", " + again + b"}"
    return body + f"\n&{key}=1\n&{key}=2".encode()
