"""The gateway's side of the wire: reads requests and builds answers (documents 2.1 and 3.24)."""

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from ..core.models import Endpoint
from ..core.request import PayoutRequest
from ..errors import InvalidInput, Problem, UnreadableAnswer
from ..gateway.wire import RequestKind, read_pairs

__all__ = ["build_answer", "read_form", "read_payout", "read_url_path"]


def read_url_path(path: str) -> tuple[int, RequestKind, Endpoint] | None:
    """Read version, command and endpoint from the path after the base URL; None if it has none."""
    match = _PATH.fullmatch(path)
    if match is None or match["kind"] not in _KINDS:
        return None
    number = int(match["number"])
    if number >= 2**63:
        return None
    endpoint = (
        Endpoint(endpoint_group_id=number) if match["group"] else Endpoint(endpoint_id=number)
    )
    return int(match["version"]), RequestKind(match["kind"]), endpoint


_KINDS: Final = frozenset(kind.value for kind in RequestKind)
_PATH: Final = re.compile(
    r"/api/v(?P<version>[24])/(?P<kind>[a-z-]+)/(?P<group>group/)?(?P<number>[1-9][0-9]{0,18})"
)


def read_form(body: bytes) -> dict[str, str]:
    """Read a request's body; white space around values is dropped, as the gateway does.

    Raises:
        InvalidInput: It is no form data, or a name is there twice.
    """
    try:
        fields = read_pairs(body) if body else {}
    except UnreadableAnswer as error:
        reason = error.reason
    else:
        return {name: value.strip() for name, value in fields.items()}
    raise InvalidInput((Problem("body", f"must be form data: {reason}"),))


def read_payout(fields: Mapping[str, str]) -> PayoutRequest:
    """Read the parameters of payout-check and payout as the gateway does.

    Raises:
        InvalidInput: A parameter is missing, wrong or unknown.
    """
    return PayoutRequest.from_text(fields)


def build_answer(fields: Mapping[str, str | None], *, as_json: bool = False) -> bytes:
    """Build an answer as the gateway does: pairs joined by LF and &, no LF after the last value."""
    given = {name: value for name, value in fields.items() if value is not None}
    if as_json:
        return json.dumps(given).encode()
    return "\n&".join(
        f"{name}={quote(value, safe='').replace('%20', '+')}" for name, value in given.items()
    ).encode()
