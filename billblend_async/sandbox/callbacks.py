"""Builds callbacks and final redirects, and sends callbacks to this machine until they get a 200.

A callback is an HTTP GET with its parameters in the query (document 3.37). Anything but 200 is not
delivered, also a redirect, which is not followed. Nothing but this machine is ever contacted.
Both carry the SHA-1 control over status, orderid, client_orderid and the merchant's secret; nothing
else in them is signed (documents 3.37, 3.38).
"""

import asyncio
import contextlib
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import attrs
import httpx

from ..core.models import is_loopback
from ..core.parameters import amount_text
from ..gateway.signing import control
from .faults import CALLBACK, FaultKind, Faults
from .gateway import Gateway, Notice
from .orders import Happening, Order, TransactionType
from .wire import processor_id

__all__ = ["MOST_TRIES", "Delivery", "Postman", "callback", "final_redirect"]

log = logging.getLogger("billblend_async.sandbox.postman")

MOST_TRIES: Final = 30
"""How often a callback is tried (document 3.37)."""
_LONGEST_PAUSE: Final = 60.0
_LONGEST_ANSWER: Final = 64 * 1024
_AT_ONCE: Final = 50
_PATIENCE: Final = 10.0
"""Seconds that a merchant may take for anything."""
_LOOK_UP: Final = 1.0
"""Seconds after which the clock is read again at the latest, since a wall clock can be set."""


@attrs.define(kw_only=True, eq=False)
class Delivery:
    """One callback and what became of it.

    Attributes:
        paynet_order_id: The order.
        client_orderid: The merchant's id of it.
        type: What it is about: payout, reversal or chargeback.
        status: The status that it tells.
        at: The instant at which it became due, in seconds since the epoch.
        tries: How often it was sent.
        answer: The last answer: an HTTP status as text, what went wrong instead, or why it was not
            sent.
        is_delivered: Whether the merchant has said 200.
        is_over: Whether it will not be sent any more.
        log: Each sending and its answer.
    """

    paynet_order_id: str
    client_orderid: str
    type: str
    status: str
    at: float
    tries: int = 0
    answer: str | None = None
    is_delivered: bool = False
    is_over: bool = False
    log: list[Happening] = attrs.field(factory=list, repr=False)


class Postman:
    """Sends the callbacks of a gateway as long as ``run`` runs; what is open then goes on later.

    Args:
        gateway: The gateway whose callbacks these are.
        controls: The control secret of each merchant, by login.
        faults: What is to go wrong.
        clock: Seconds since the epoch.
        pace: What the pauses between two tries are multiplied by.

    Attributes:
        deliveries: Every callback, in the order in which they became due.
    """

    def __init__(
        self,
        gateway: Gateway,
        controls: Mapping[str, str],
        *,
        faults: Faults,
        clock: Callable[[], float],
        pace: float = 1.0,
    ) -> None:
        self.deliveries: list[Delivery] = []
        self._by_order: dict[str, list[Delivery]] = defaultdict(list)
        self._open: dict[Delivery, str] = {}
        self._gateway = gateway
        self._controls = controls
        self._faults = faults
        self._clock = clock
        self._pace = pace
        self._woken = asyncio.Event()

    def of(self, paynet_order_id: str) -> list[Delivery]:
        """List the callbacks of one order."""
        return self._by_order.get(paynet_order_id, [])

    def wake(self) -> None:
        """Look again what is due: something was planned, or the clock was set."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due, when it is due, until cancelled."""
        self._woken = asyncio.Event()  # each event loop needs its own
        slots = asyncio.Semaphore(_AT_ONCE)
        # Nothing leaves this machine, where no certificate can be expected to be a public one.
        transport = httpx.AsyncHTTPTransport(verify=False, trust_env=False)
        async with transport, asyncio.TaskGroup() as rounds:
            for pending, link in self._open.items():
                rounds.create_task(self._deliver(pending, link, transport, slots))
            while True:
                for notice in self._gateway.take_notices(self._clock()):
                    delivery, url = self._write(notice)
                    if url is not None:
                        rounds.create_task(self._deliver(delivery, url, transport, slots))
                self._woken.clear()
                due = self._gateway.next_notice()
                pause = _LOOK_UP if due is None else min(_LOOK_UP, max(0.0, due - self._clock()))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)

    def _write(self, notice: Notice) -> tuple[Delivery, str | None]:
        """Note a callback and write its URL; None if it is not to be sent."""
        order = self._gateway.orders[notice.paynet_order_id]
        fields = callback(order, notice.type, notice.at, self._controls[order.login])
        delivery = Delivery(
            paynet_order_id=order.paynet_order_id,
            client_orderid=order.client_orderid,
            type=notice.type,
            status=fields["status"],
            at=notice.at,
        )
        self.deliveries.append(delivery)
        self._by_order[order.paynet_order_id].append(delivery)
        parts = urlsplit(order.server_callback_url or "")
        if not is_loopback(parts.hostname or ""):
            self._give_up(delivery, "not sent: only addresses of this machine are contacted")
            return delivery, None
        query = "&".join(filter(None, (parts.query, urlencode(fields))))
        url = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))
        self._open[delivery] = url
        return delivery, url

    async def _deliver(
        self,
        delivery: Delivery,
        url: str,
        transport: httpx.AsyncHTTPTransport,
        slots: asyncio.Semaphore,
    ) -> None:
        """Send one callback until it is delivered, with pauses of 1, 2, 4, … up to 60 seconds."""
        strike = self._faults.draw(CALLBACK)
        if strike.fault is FaultKind.LOST:
            self._give_up(delivery, "not sent: lost by a fault that is switched on")
            return
        await asyncio.sleep(strike.seconds)
        wanted = 2 if strike.fault is FaultKind.DUPLICATE else 1
        for doublings in itertools.count():
            async with slots:
                await self._send(delivery, url, transport)
            if delivery.answer == "200":
                delivery.is_delivered = True
                wanted -= 1
                if not wanted:
                    break
            elif delivery.tries >= MOST_TRIES:
                break
            else:
                pause = min(2.0 ** min(doublings, 6), _LONGEST_PAUSE)
                await asyncio.sleep(pause * self._pace)
        delivery.is_over = True
        del self._open[delivery]

    async def _send(
        self, delivery: Delivery, url: str, transport: httpx.AsyncHTTPTransport
    ) -> None:
        delivery.tries += 1
        delivery.log.append(Happening(self._clock(), f"callback sent: {delivery.type}"))
        waits = dict.fromkeys(("connect", "read", "write", "pool"), _PATIENCE)
        answer: str | None = None
        try:
            request = httpx.Request("GET", url, extensions={"timeout": waits})
            response = await transport.handle_async_request(request)
            answer = str(response.status_code)
            try:
                await _drain(response)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # What goes wrong after the status was read takes nothing back.
            answer = answer or type(error).__name__
        delivery.answer = answer
        delivery.log.append(Happening(self._clock(), f"callback answered: {delivery.answer}"))

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        delivery.answer, delivery.is_over = reason, True
        delivery.log.append(Happening(self._clock(), f"callback {reason}"))
        self._open.pop(delivery, None)
        log.info("callback for order %s %s", delivery.paynet_order_id, reason)


async def _drain(response: httpx.Response) -> None:
    """Read an answer to its end, so that the connection can be used again, unless it is long."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > _LONGEST_ANSWER:
            return


_Fields = dict[str, str]


def callback(order: Order, about: TransactionType, at: float, merchant_control: str) -> _Fields:
    """Write the parameters of a callback (document 3.37).

    Args:
        order: The order.
        about: What it tells of: the payout, or money that came back.
        at: The instant at which that was final.
        merchant_control: The merchant's secret, which the control is made with.
    """
    standing = order.standing(at)
    fields = {
        "status": str(standing.status),
        "orderid": order.paynet_order_id,
        "merchant_order": order.client_orderid,
        "client_orderid": order.client_orderid,
        "type": about,
        "amount": amount_text(order.amount_at(at), order.currency),
        "currency": order.currency,
        "error_code": standing.error_code,
        "error_message": standing.error_message,
        "last-four-digits": order.last_four_digits,
        "merchantdata": order.merchant_data,
        "processor-tx-id": processor_id(order),
        "control": control(
            str(standing.status), order.paynet_order_id, order.client_orderid, merchant_control
        ),
    }
    return {name: text for name, text in fields.items() if text is not None}


def final_redirect(order: Order, merchant_control: str) -> tuple[str, _Fields] | None:
    """Write where the receiver is sent back to, and with what (document 3.38).

    It tells the end that the payout is coming to, which status will tell a little later: nothing
    may rely on it. A payout that did not fail says ``error_message=null``, as documented.

    Args:
        order: An order whose receiver has submitted the form.
        merchant_control: The merchant's secret, which the control is made with.

    Returns:
        The URL and the fields to post; None if the merchant has named no URL.
    """
    success, fail = order.redirect_success_url, order.redirect_fail_url
    url = order.redirect_url or (success if order.moves_money else fail)
    if url is None or order.ends_at is None:
        return None
    fields = callback(order, "payout", order.ends_at, merchant_control)
    return url, {"error_message": "null", **fields}
