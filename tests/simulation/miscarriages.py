"""Planted bugs in the client and its transport, which only bytes on a wire bring to light."""

import re
from collections.abc import Callable
from typing import Any

import attrs

from billblend_async.core import machine
from billblend_async.core import machine as news
from billblend_async.core.events import CheckNotSent, PayNotSent
from billblend_async.core.machine import Check
from billblend_async.core.responses import NotSent, Unknown, is_later_transaction
from billblend_async.errors import UnreadableAnswer
from billblend_async.gateway import client
from billblend_async.gateway import client as replies
from billblend_async.gateway import httpx_transport as transport
from billblend_async.gateway.exchange import Departure, Failure, Reply
from billblend_async.orchestrator import runner as driver

from .bugs import BUGS
from .planting import Garden, wire_bug

__all__ = ["SHARED"]

SHARED = (
    "pays_again_after_unknown",
    "cuts_exchanges_off",
    "sends_although_the_claim_is_lost",
)
"""Bugs of the other level that are looked for here too."""
for _name in SHARED:
    wire_bug(BUGS[_name])


def _obeys_not_sent(garden: Garden) -> None:
    """Let NotSent take a claim back."""

    def event_for(payout: Any, command: Any, answer: Any, at: float) -> Any:
        if isinstance(answer, NotSent):
            return CheckNotSent(at=at) if isinstance(command, Check) else PayNotSent(at=at)
        return rightly(payout, command, answer, at)

    rightly = garden.replace(driver, "event_for", event_for)


def _posts(garden: Garden, again: Callable[[Any], bool]) -> None:
    """Let a request be sent a second time after some replies."""

    async def post(self: Any, url: str, body: bytes, departure: Any = None) -> Any:
        reply = await rightly(self, url, body, departure)
        return await rightly(self, url, body, Departure()) if again(reply) else reply

    rightly = garden.replace(transport.HttpxSender, "post", post)


@wire_bug
def claims_after_the_answer(garden: Garden) -> None:
    """The claim is written when the answer is there."""

    async def move(self: Any, kind: Any, form: Any, read: Any, departure: Any, after: Any) -> Any:
        async def claim_late(answer: Any) -> None:
            if claim is not None and not isinstance(answer, NotSent):
                await claim()
            await after(answer)

        claim = departure._before_send
        return await rightly(self, kind, form, read, Departure(), claim_late)

    rightly = garden.replace(client.Client, "_move", move)


@wire_bug
def claims_after_the_head(garden: Garden) -> None:
    """The claim is written when the head has left."""

    async def on_trace(self: Any, name: str, info: Any) -> None:
        if name.endswith(".send_request_headers.complete"):
            await self.leave()

    garden.replace(Departure, "on_trace", on_trace)


@wire_bug
def takes_every_failure_for_not_sent(garden: Garden) -> None:
    """A failure of any kind proves that nothing has left."""

    def failure(reason: str, may_have_left: object, http_status: int | None = None) -> Failure:
        return Failure(reason, may_have_left=False, http_status=http_status)

    garden.replace(transport, "Failure", failure)
    _obeys_not_sent(garden)


@wire_bug
def takes_pages_for_not_sent(garden: Garden) -> None:
    """A page that says error proves that nothing was done."""

    def sort(reply: Any, read: Any) -> Any:
        answer = rightly(reply, read)
        is_page = isinstance(answer, Unknown) and (answer.http_status or 200) >= 400
        return NotSent("an error page") if is_page else answer

    rightly = garden.replace(client, "sort_send", sort)
    _obeys_not_sent(garden)


@wire_bug
def sends_plainly_over_any_transport(garden: Garden) -> None:
    """A transport of a host's gets the bytes themselves, once the request is claimed."""

    async def send(self: Any, request: Any, body: object, departure: Departure) -> Any:
        await departure.leave()
        return await self._inner.handle_async_request(request)

    garden.replace(transport.SigningTransport, "_send_once", send)


@wire_bug
def lets_copies_leave_later(garden: Garden) -> None:
    """What has left once may leave again, with its body."""

    async def leave(self: Departure) -> None:
        if not self.may_have_left:
            await rightly(self)

    rightly = garden.replace(Departure, "leave", leave)
    garden.replace(Departure, "give_body", lambda self: None)
    garden.replace(transport._Once, "_take", lambda self: self._body)


@wire_bug
def lets_copies_leave_at_once(garden: Garden) -> None:
    """A copy goes along with the one whose claim is being made."""

    async def leave(self: Departure) -> None:
        is_claiming = self.has_begun and not self.may_have_left
        if is_claiming and self.refusal is None:
            return
        await rightly(self)

    rightly = garden.replace(Departure, "leave", leave)


@wire_bug
def follows_redirects(garden: Garden) -> None:
    """A redirect is followed, with the request."""
    _posts(garden, lambda reply: isinstance(reply, Reply) and reply.http_status in (302, 307))


@wire_bug
def repeats_what_was_cut(garden: Garden) -> None:
    """A request is repeated when the connection closes without an answer."""
    cut = ("RemoteProtocolError", "ReadError")
    _posts(garden, lambda reply: isinstance(reply, Failure) and reply.reason in cut)


@wire_bug
def reads_garbled_answers(garden: Garden) -> None:
    """Bytes that cannot be decoded are left out."""

    def read(body: bytes) -> Any:
        try:
            return rightly(body)
        except UnreadableAnswer:
            return rightly(re.sub(rb"[\x80-\xff]", b"", body))

    rightly = garden.replace(replies, "read_reply", read)


@wire_bug
def believes_cut_answers(garden: Garden) -> None:
    """An answer whose end cannot be seen counts as whole."""

    def reply(http_status: int, body: bytes, is_delimited: object) -> Reply:
        return Reply(http_status, body, is_delimited=True)

    garden.replace(transport, "Reply", reply)


@wire_bug
def believes_cut_statuses(garden: Garden) -> None:
    """A status whose end cannot be seen counts as whole."""

    def read(reply: Any, *ids: Any) -> Any:
        whole = attrs.evolve(reply, is_delimited=True) if isinstance(reply, Reply) else reply
        return rightly(whole, *ids)

    rightly = client.Client._read_status
    garden.replace(client.Client, "_read_status", staticmethod(read))


@wire_bug
def believes_cut_ends(garden: Garden) -> None:
    """A final status without its type counts for the payout, whatever its stage says."""

    def is_later(transaction_type: str | None, _: str | None = None) -> bool:
        return is_later_transaction(transaction_type)

    garden.replace(news, "is_later_transaction", is_later)
    garden.replace(machine, "is_later_transaction", is_later)


@wire_bug
def reads_one_piece(garden: Garden) -> None:
    """What arrives first counts as the whole answer."""

    async def read(response: Any) -> Any:
        piece = b""
        async for piece in response.stream:  # noqa: B007 - the last one is not wanted
            break
        await response.aclose()
        return Reply(response.status_code, piece, is_delimited=True)

    garden.replace(transport, "_read", read)


@wire_bug
def believes_any_name(garden: Garden) -> None:
    """An answer that names another order counts for ours."""

    def read(fields: Any, *, client_orderid: str, paynet_order_id: str | None = None) -> Any:
        ours = {**fields, "merchant-order-id": client_orderid}
        return rightly(ours, client_orderid=client_orderid, paynet_order_id=paynet_order_id)

    rightly = garden.replace(client, "read_send_answer", read)
