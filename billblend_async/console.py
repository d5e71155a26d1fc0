"""What every command of ``billblend`` shares: its exit statuses, its voice, its signals."""

import asyncio
import contextlib
import signal
import sys
from typing import Final

__all__ = ["BAD_CONFIGURATION", "BAD_INPUT", "UNFINISHED", "end_on_signals", "say"]

UNFINISHED: Final = 2
BAD_INPUT: Final = 3
BAD_CONFIGURATION: Final = 4


def say(message: str) -> None:
    """Tell a person what is wrong, or what goes on, beside a command's own output."""
    print(f"billblend: {message}", file=sys.stderr)


def end_on_signals(*, ignore_interrupt: bool = False) -> None:
    """Let Ctrl-C and SIGTERM end a server: what is under way is answered and recorded.

    Only the first one counts: a second must not keep the first from ending well.

    Args:
        ignore_interrupt: Whether SIGTERM alone does, since Ctrl-C is for somebody else.
    """
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
