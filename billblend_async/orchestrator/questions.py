"""Remembers when each payout was last asked about, so that nothing makes anybody ask in a storm."""

import asyncio
from collections import OrderedDict
from typing import Final

import attrs

__all__ = ["BETWEEN", "Questions"]

BETWEEN: Final = 0.25
"""Seconds from the answer to one question to the next about the same payout, at least.

So short a time is never reached but by what a callback tells for the first time.
"""
_REMEMBERED: Final = 10_000
"""Payouts whose last question is remembered: more are not asked about within a few seconds."""


@attrs.define(eq=False)
class Questions:
    """The questions of one process, whoever asks them: a driver comes and goes, this stays.

    Attributes:
        shortest: The shortest gap between two questions that are asked without a hint.
    """

    shortest: float
    _last: OrderedDict[str, float] = attrs.field(factory=OrderedDict, init=False)

    def note(self, client_orderid: str) -> None:
        """Take note that a question leaves, or that it has come to its end."""
        self._last[client_orderid] = asyncio.get_running_loop().time()
        self._last.move_to_end(client_orderid)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)

    def delay(self, client_orderid: str, between: float = BETWEEN) -> float:
        """Say how many seconds the next question about a payout must still wait; 0 for none.

        Args:
            client_orderid: The payout.
            between: Seconds that must lie between two; never more than the shortest gap.
        """
        last, between = self._last.get(client_orderid), min(between, self.shortest)
        if last is None:
            return 0.0
        return max(0.0, last + between - asyncio.get_running_loop().time())
