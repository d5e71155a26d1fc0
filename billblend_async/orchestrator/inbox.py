"""Takes verified callbacks in: each is durable before it is acknowledged, and none is believed."""

import asyncio
import enum
import logging
from typing import Final

import attrs

from ..core.events import CalledBack
from ..core.machine import Ask
from ..core.payout import fields, fields_of
from ..core.responses import Callback, NotFound, StatusReport
from ..errors import BillblendError, DeliverAgain, PayoutNotFound, VerificationFailed
from .observer import Notice
from .polling import clock
from .runner import Crew, Driver

__all__ = ["Delivery", "Mailbox"]

log = logging.getLogger("billblend_async.delivery")

_LOOKS: Final = 3
"""Questions after a callback about a payout that nobody runs, each a shortest gap apart."""


class Delivery(enum.Enum):
    """What a callback that was taken in came to; both are acknowledged with 200."""

    NOTED = "noted"
    """It is durable, and the status is asked for."""
    KNOWN = "known"
    """It told nothing that the journal does not hold."""


@attrs.define(eq=False)
class Mailbox:
    """Where callbacks come in.

    Attributes:
        crew: The drivers, whose questions they hasten.
    """

    crew: Crew
    _looking: dict[str, asyncio.Task[None]] = attrs.field(factory=dict, init=False)
    _looks: dict[str, int] = attrs.field(factory=dict, init=False)

    async def deliver(self, callback: Callback) -> Delivery:
        """Take a callback in.

        Raises:
            PayoutNotFound: The journal knows no such payout.
            VerificationFailed: Its two ids do not belong together.
            DeliverAgain: Our own records are not far enough yet to judge it.
            JournalError: It cannot be made durable now.
        """
        async with self.crew.driver(callback.client_orderid) as driver:
            payout = driver.payout
            known = payout.paynet_order_id
            if known not in (None, callback.paynet_order_id):
                raise VerificationFailed("the callback's order is not the order of this payout")
            if payout.state.is_terminal:
                return await self._compare(driver, callback)
            if known is None or callback.is_later_transaction:
                if self._is_calm(callback.client_orderid):
                    self._hasten(driver)
                missing = "its order id is not known" if known is None else "it is not final"
                raise DeliverAgain(callback.client_orderid, f"{missing} here yet")
            at = self.crew.means.wall_clock()
            if await driver.record(CalledBack(at=at, status=callback.status)):
                self._hasten(driver)
                return Delivery.NOTED
            if driver.payout.state.is_terminal:  # another process has led it there meanwhile
                return await self._compare(driver, callback)
            # What was heard before hastens nothing: whoever repeats it must not make us ask.
            return Delivery.KNOWN

    def close(self) -> None:
        """End the questions that nobody waits for."""
        for task in self._looking.values():
            task.cancel()

    async def _compare(self, driver: Driver, callback: Callback) -> Delivery:
        """Hold a callback about a finished payout against what the gateway's status says now.

        Its journal is written by the status alone, so a callback that was repeated or changed
        leaves no byte behind.
        """
        payout, means = driver.payout, self.crew.means
        name, order = payout.client_orderid, payout.paynet_order_id
        is_later = callback.is_later_transaction
        if order is not None and not is_later and callback.status == payout.status:
            return Delivery.KNOWN
        self._check_calm(name)
        began = clock()
        means.questions.note(name)
        answer = await means.client.status(name, order)
        means.questions.note(name)
        means.back_off.learn(answer)
        means.monitor.asked(payout, answer, clock() - began, 0.0)
        if isinstance(answer, NotFound) and order is None:
            raise PayoutNotFound(name)
        if not isinstance(answer, StatusReport):
            raise DeliverAgain(name, "the gateway did not tell its status")
        told = answer.paynet_order_id or order  # an answer need not name what the question named
        if told is None:
            raise DeliverAgain(name, "the gateway did not tell its order id")
        if told != callback.paynet_order_id:
            raise VerificationFailed("the callback's order is not the order of this payout")
        is_news = await driver.learn_late(Ask(order), answer)
        if is_later:
            log.warning(
                "payout %s: a callback tells of a later transaction",
                name,
                extra=fields_of(driver.payout, reason="later-transaction"),
            )
            means.feed.tell(Notice(driver.outcome, callback))
        return Delivery.NOTED if is_news else Delivery.KNOWN

    def _check_calm(self, client_orderid: str) -> None:
        """Ask about one finished payout, and during an outage at all, no more often than usual.

        Raises:
            DeliverAgain: It is too soon.
        """
        if self.crew.means.back_off.delay(0.0) or not self._is_calm(client_orderid):
            raise DeliverAgain(client_orderid, "its status was asked for a moment ago")

    def _is_calm(self, client_orderid: str) -> bool:
        """Tell whether a payout was not asked about for as long as it usually is not."""
        means = self.crew.means
        return not means.questions.delay(client_orderid, means.polling.shortest)

    def _hasten(self, driver: Driver) -> None:
        """Let whoever runs the payout ask soon; if nobody does, ask a few times."""
        driver.hint()
        name = driver.payout.client_orderid
        if driver.runners:
            return
        self._looks[name] = _LOOKS
        if name not in self._looking:
            task = asyncio.create_task(self._look(name), name=f"billblend callback {name}")
            self._looking[name] = task

    async def _look(self, client_orderid: str) -> None:
        """Ask about a payout that nobody runs; nothing is ever sent from here.

        Its own timetable may have slowed down to minutes, and its deadline may have passed.
        """
        means = self.crew.means
        try:
            async with self.crew.driver(client_orderid) as driver:
                while self._looks[client_orderid] > 0 and not driver.runners:
                    self._looks[client_orderid] -= 1
                    driver.hint()
                    if not await driver.ask():
                        return
                    await asyncio.sleep(means.polling.shortest)
        except BillblendError as error:
            # Whoever runs the payout next asks again; the callback itself is durable.
            log.warning(
                "payout %s: asking after a callback failed: %s",
                client_orderid,
                error,
                extra=fields(client_orderid, reason=type(error).__name__),
            )
        finally:
            del self._looks[client_orderid], self._looking[client_orderid]
