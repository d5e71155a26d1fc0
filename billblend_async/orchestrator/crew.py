"""The drivers that this process has right now: one for each payout, however many tasks use it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import attrs

from ..core.commands import Ask, next_command
from ..core.payout import Payout
from ..errors import ClosedError
from .context import Means
from .runner import Driver
from .timing import clock

__all__ = ["Crew"]


@attrs.define(eq=False)
class Crew:
    """The drivers of one orchestrator.

    Attributes:
        means: What every driver works with.
    """

    means: Means
    _drivers: dict[str, Driver] = attrs.field(factory=dict, init=False)

    def __iter__(self) -> Iterator[Driver]:
        """Go through the drivers."""
        return iter(tuple(self._drivers.values()))

    def get(self, client_orderid: str) -> Driver | None:
        """Find the driver that a payout has, if it has one."""
        return self._drivers.get(client_orderid)

    def join(self, payout: Payout) -> Driver:
        """Use the driver that this payout has already, or a new one; leave it afterwards."""
        driver = self._drivers.get(payout.client_orderid)
        if driver is None:
            driver = self._drivers[payout.client_orderid] = Driver(self.means, payout)
            self.means.monitor.joined(payout)
        driver.users += 1
        return driver

    def leave(self, driver: Driver) -> None:
        """Stop using a driver; the last one to go takes it away."""
        driver.users -= 1
        if not driver.users:
            del self._drivers[driver.payout.client_orderid]
            self.means.monitor.left(driver.payout)

    @asynccontextmanager
    async def driver(self, client_orderid: str) -> AsyncIterator[Driver]:
        """Use the driver of a payout that the journal knows.

        Raises:
            PayoutNotFound: The journal knows no such payout.
        """
        self.check_open()
        driver = self._drivers.get(client_orderid)
        driver = self.join(
            await self.means.load(client_orderid) if driver is None else driver.payout
        )
        try:
            yield driver
        finally:
            self.leave(driver)

    async def catch_up(self, driver: Driver) -> None:
        """Let a driver go on from where the journal is, and not ask what was asked a moment ago.

        One that somebody uses already may lag behind another process. One that has just begun does
        not know what this process has asked through an earlier one.
        """
        if driver.users > 1:
            before = driver.payout
            await driver.refresh()
            if driver.payout is before:
                return  # and its own timetable holds
        means, payout = self.means, driver.payout
        driver.timing.due = clock()
        if isinstance(next_command(payout, means.wall_clock()), Ask):
            name, shortest = payout.client_orderid, means.polling.shortest
            driver.timing.due += means.questions.delay(name, shortest)

    def check_open(self) -> None:
        """Refuse what is asked before or after the orchestrator's time."""
        if not self.means.is_open:
            raise ClosedError("orchestrator")
