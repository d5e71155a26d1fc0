"""What a reply over HTTP is worth: an answer of the gateway, or why it is none."""

from collections.abc import Callable
from typing import Final

from ..core.responses import NotSent, Refused, SendAnswer, Unknown
from ..errors import UnreadableAnswer
from .exchange import Failure, Reply
from .wire import read_reply

__all__ = ["read_fields", "sort_send"]

_SAID_BY_OTHERS: Final = frozenset({401, 403, 407, 408, 429})
"""Client errors that something in front of the gateway may answer, so their body says nothing."""


def sort_send(reply: Reply | Failure, read: Callable[[dict[str, str]], SendAnswer]) -> SendAnswer:
    """Sort what came of a request that may move money into its four ends.

    Args:
        reply: What came back.
        read: Reads the fields of an answer.
    """
    if isinstance(reply, Failure):
        if reply.may_have_left:
            return Unknown(reply.reason, reply.http_status)
        return NotSent(reply.reason)
    fields = read_fields(reply)
    if isinstance(fields, str):
        return Unknown(fields, reply.http_status)
    answer = read(fields)
    if isinstance(answer, Refused) and not reply.is_delimited:
        # What is missing may be the id of an order that was made all the same.
        return Unknown("a refusal whose end cannot be seen", reply.http_status)
    return answer


def read_fields(reply: Reply) -> dict[str, str] | str:
    """Read the fields of an answer, or say why it has none.

    The gateway answers 200 to forms and 4xx to errors in JSON mode; any other HTTP status is not
    its word.
    """
    status = reply.http_status
    if status in (401, 403):
        return f"access denied (HTTP {status})"
    if status != 200 and (not 400 <= status < 500 or status in _SAID_BY_OTHERS):
        return f"HTTP {status}"
    body = reply.body
    if not reply.is_delimited and not body.lstrip().startswith(b"{"):
        # It may be cut where it still reads well, in the middle of an order id, say: what stands
        # before the last separator is whole.
        body = body[: body.rfind(b"&" if not body.endswith(b"\n") else b"\n") + 1]
        if not body:
            return "an answer whose end cannot be seen"
    try:
        return read_reply(body.rstrip(b"&"))
    except UnreadableAnswer as error:
        return error.reason
