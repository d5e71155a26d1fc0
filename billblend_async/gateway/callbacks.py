"""The gateway's callback and final redirect: read, and verified by their control.

The control covers status, order id and client_orderid, joined without a separator, and neither
time nor nonce (documents 3.37, 3.38). So whoever has seen one genuine callback can repeat it, move
digits from the order id to the client_orderid or back, or change all its other fields: what
verifies is a hint that it is time to ask for the status, and never an outcome.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from ..core.responses import Callback, Status
from ..errors import UnreadableAnswer, VerificationFailed
from .signing import control_matches
from .wire import read_query

__all__ = ["LONGEST_QUERY", "FinalRedirect", "read_final_redirect", "verify_callback"]

LONGEST_QUERY: Final = 256 * 1024
"""Bytes of the longest callback: merchant_data of 64 KiB comes back in it, each byte escaped."""
_LONGEST: Final = {"status": 32, "orderid": 32, "client_orderid": 128, "type": 32}
"""Characters; of the order id as many as its digits can be."""
_MOST_FIELDS: Final = 200
"""Several times as many as are documented; reading many more would hold up the event loop."""
_WORD: Final = re.compile("[A-Za-z_-]+")


@attrs.frozen(kw_only=True)
class FinalRedirect:
    """What the receiver's browser brings back after the form (document 3.38): never an outcome.

    Show the receiver a page by it, and ask ``Orchestrator.status`` what is true.

    Attributes:
        status: What the gateway's page has told.
        paynet_order_id: The gateway's order id.
        client_orderid: The merchant's id.
        error_message: The gateway's text, if there was one.
    """

    status: Status
    paynet_order_id: str
    client_orderid: str
    error_message: str | None = attrs.field(default=None, repr=False)


def verify_callback(query: str | bytes, merchant_controls: Iterable[str]) -> Callback:
    """Verify a callback by the query of its URL, as it came: nothing decoded, nothing left out.

    Args:
        query: What stands after the question mark.
        merchant_controls: Every merchant control that is live; two while one replaces the other.

    Raises:
        VerificationFailed: It is too long, badly encoded, says something twice, leaves something
            out, or was not made by the gateway; the reason names no value.
    """
    fields = _verified(query, merchant_controls, "callback")
    if isinstance(fields, str):
        # Error trackers record the variables of every frame that an exception passes.
        del query, merchant_controls
        raise VerificationFailed(fields)
    return Callback(
        status=Status(fields["status"]),
        paynet_order_id=fields["orderid"],
        client_orderid=fields["client_orderid"],
        transaction_type=fields.get("type") or None,
    )


def read_final_redirect(body: str | bytes, merchant_controls: Iterable[str]) -> FinalRedirect:
    """Read the form that the receiver's browser posts to ``redirect_url`` after the final status.

    Args:
        body: The request's body, as it came.
        merchant_controls: Every merchant control that is live.

    Raises:
        VerificationFailed: As for ``verify_callback``.
    """
    fields = _verified(body, merchant_controls, "final redirect")
    if isinstance(fields, str):
        del body, merchant_controls  # as above
        raise VerificationFailed(fields)
    message = fields.get("error_message", "")
    return FinalRedirect(
        status=Status(fields["status"]),
        paynet_order_id=fields["orderid"],
        client_orderid=fields["client_orderid"],
        error_message=None if message in ("", "null") else message,
    )


def _verified(
    text: str | bytes, merchant_controls: Iterable[str], what: str
) -> dict[str, str] | str:
    """Check size, shape, one value for each key, and the control, in this order.

    Returns:
        The fields, or the reason why they are refused: no exception passes them.
    """
    octets = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(octets) > LONGEST_QUERY or octets.count(b"&") > _MOST_FIELDS:
        return f"the {what} is too long"
    try:
        fields = read_query(octets)
    except UnreadableAnswer as error:
        return f"the {what} is {error.reason}"
    # Older texts of the gateway call the merchant's id merchant_order (document 3.37).
    name = fields.get("client_orderid") or fields.get("merchant_order") or ""
    if fields.get("merchant_order") not in (None, "", name):
        return f"the {what} names two payouts"
    told = {**fields, "client_orderid": name}
    for key, longest in _LONGEST.items():
        if len(told.get(key, "")) > longest or (key != "type" and not told.get(key)):
            return f"the {what} has no {key} that can be right"
    if not (told["orderid"].isascii() and told["orderid"].isdigit()):
        return f"the {what} has no orderid that can be right"
    # A status is one word. One with digits would hold the order id, moved over the first joint.
    if not _WORD.fullmatch(told["status"]):
        return f"the {what} has no status that can be right"
    # One text would be taken for many secrets of one character, which anybody can guess.
    live = (merchant_controls,) if isinstance(merchant_controls, str) else tuple(merchant_controls)
    return told if _is_signed(told, live) else f"the control of the {what} is wrong"


def _is_signed(fields: Mapping[str, str], merchant_controls: tuple[str, ...]) -> bool:
    """Compare with every live control, also after one has matched, so that time tells nothing."""
    given = fields.get("control", "")
    parts = (fields["status"], fields["orderid"], fields["client_orderid"])
    return sum(control_matches(given, *parts, live) for live in merchant_controls) > 0
