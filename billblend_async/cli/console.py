"""What every command of ``billblend`` shares: exit statuses, messages on stderr, signals.

It is a file of its own since it is imported before everything else, and so must import little.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["BAD_CONFIGURATION", "BAD_INPUT", "UNFINISHED", "Patience", "end_on_signals", "say"]

UNFINISHED: Final = 2
BAD_INPUT: Final = 3
BAD_CONFIGURATION: Final = 4
_PATIENCE: Final = 2.0
"""Seconds for which a person waits without wondering."""
_BETWEEN: Final = 5.0
"""Seconds between two lines that tell how far something is."""


def say(message: str) -> None:
    """Tell a person what is wrong, or what goes on, beside a command's own output."""
    print(f"billblend: {message}", file=sys.stderr)


@attrs.define
class Patience:
    """Tells how far something is that makes a person wait, and nothing of what is done at once.

    Attributes:
        what: What is done, such as ``looking payouts up``.
        whole: How many there are to do; None where nobody knows.
        clock: Seconds, monotonic.
    """

    what: str
    whole: int | None = None
    clock: Callable[[], float] = time.monotonic
    _due: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin to wait."""
        self._due = self.clock() + _PATIENCE

    def hear(self, done: int) -> None:
        """Take in how many are done, and say it when it is time for that."""
        if (self.whole is None or done < self.whole) and self.clock() >= self._due:
            self._due = self.clock() + _BETWEEN
            say(f"{self.what}: {done:,}{'' if self.whole is None else f' of {self.whole:,}'}")


def end_on_signals(*, ignore_interrupt: bool = False) -> None:
    """Let Ctrl-C and SIGTERM end a server: what is under way is answered and recorded.

    Only the first one counts: a second must not keep the first from ending well.

    Args:
        ignore_interrupt: Whether SIGTERM alone does, since Ctrl-C is for somebody else.
    """
    import asyncio  # by whoever serves something, and by nobody else

    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def end() -> None:
        if task is None or task.cancelling():
            return
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # also once the loop is closed
        task.cancel()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if ignore_interrupt:
        numbers.remove(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in numbers:
        with contextlib.suppress(NotImplementedError):  # Windows knows no such handlers
            loop.add_signal_handler(number, end)
