"""Programs that stand still for minutes and wake up again, at any moment and at the worst ones."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .fate import Fate
from .gateway import Gateway
from .loop import Mortal, SeededLoop

if TYPE_CHECKING:
    from .process import Process

__all__ = ["GATEWAY_WAITS", "Freezer"]

GATEWAY_WAITS: Final = 60.0
"""Seconds for which the gateway waits for the rest of a request before it closes the connection."""
_SHORTEST: Final = 12.0
_LONGEST: Final = 900.0


class Freezer:
    """Lets programs stand still.

    Args:
        loop: The loop.
        fate: What goes wrong.
        gateway: In whose context the world's own work is done.

    Attributes:
        gateway_waits: Seconds for which the gateway waits for the rest of a request.
    """

    def __init__(self, loop: SeededLoop, fate: Fate, gateway: Gateway) -> None:
        self._loop = loop
        self._fate = fate
        self._later = gateway.later
        self.gateway_waits = GATEWAY_WAITS

    def freeze(self, whose: "Process", moment: str) -> None:
        """Let a program stand still from this turn on, for seconds or for minutes."""
        if whose.is_frozen or whose.is_dead or whose.is_over or self._fate.is_quiet:
            return
        seconds = self._fate.one_of((_SHORTEST, 60.0, _LONGEST, _LONGEST))
        seconds *= self._fate.between(0.2 if seconds > _SHORTEST else 0.9, 1.0)
        self._fate.hit("freeze", moment)
        self._fate.note(self._loop.now, f"freezes for {seconds:.0f} s: {moment}")
        Mortal.freeze(whose)
        if seconds > self.gateway_waits:
            self._later(self.gateway_waits, whose.hang_up)
        self._later(seconds, self._thaw, whose)

    def _thaw(self, whose: Mortal) -> None:
        self._fate.note(self._loop.now, "one wakes up")
        self._loop.thaw(whose)

    async def freeze_at_times(self, processes: "Callable[[], list[Process]]") -> None:
        """Let one or the other stand still now and then, until it is quiet."""
        fate = self._fate
        while not fate.is_quiet:
            await asyncio.sleep(fate.one_of((3.0, 30.0, 200.0)) * fate.between(0.1, 1.0))
            alive = [each for each in processes() if not (each.is_over or each.is_dead)]
            if alive and fate.strikes("freezes-at-times"):
                self.freeze(fate.one_of(alive), "at-a-time")
