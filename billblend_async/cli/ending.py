"""How a run ends early: a first signal lets it end well, a second one cuts it off at once."""

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn, Self

from .console import UNFINISHED

__all__ = ["Ending", "same_command"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_AT_ONCE: Final = 0.25
"""Seconds in which a second signal is an echo of the first: a wrapper that passes on what its
whole process group has got."""
_GRACE: Final = 0.3
"""Seconds for the journal's thread to finish what was handed to it."""


def same_command(words: Sequence[str]) -> str:
    """Tell how to go on with a run that was ended.

    Args:
        words: What the command was given.
    """
    program = Path(sys.argv[0]).name
    start = ["python", "-m", "billblend_async"] if program == "__main__.py" else [program]
    return f"run the same command again: {shlex.join([*start, *words])}"


class Ending:
    """Hears SIGINT and SIGTERM as long as a run lasts; use it inside ``with``, in the run's task.

    A SIGINT that is ignored when it begins, as under nohup, stays ignored.

    After the first one, nothing new is sent, and what is under way is recorded: the run's task is
    cancelled, which ends no request. The second one ends the program at once, as ``kill -9`` would:
    a claim is durable before its request leaves, so nothing is sent twice after that, and what was
    under way is asked about. It goes past the event loop, so that nothing can hold it up.

    Args:
        on_first: Called in the event loop when the first one comes.
        at_cut: Called right before the program is cut off; gives what restores the terminal.
        last_words: What is said then.

    Attributes:
        is_stopping: Whether the first one has come.
        last_words: What is said when the program is cut off.
    """

    def __init__(
        self,
        *,
        on_first: Callable[[], object],
        at_cut: Callable[[], bytes],
        last_words: str,
    ) -> None:
        self.is_stopping = False
        self._on_first = on_first
        self._at_cut = at_cut
        self.last_words = last_words
        self._heard_at: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Begin to hear."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for number in _SIGNALS:
            if number is signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                continue  # whoever has started this, such as nohup, wants it to outlast Ctrl-C
            with contextlib.suppress(ValueError):  # only the main thread hears signals
                self._former[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the signals to whoever had them before."""
        for number, handler in self._former.items():
            # None: whoever had it is no Python, and cannot be given it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def settle(self) -> None:
        """From here on the run is ending anyway: there is nothing left to cancel."""
        self._task = None

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._heard_at is None:
            self._heard_at = now
            self._loop.call_soon_threadsafe(self._begin)
        elif now - self._heard_at >= _AT_ONCE:
            self._cut()

    def _begin(self) -> None:
        self.is_stopping = True
        if self._task is not None:
            self._task.cancel()
        with contextlib.suppress(OSError):  # an output that takes nothing keeps no run from ending
            self._on_first()

    def _cut(self) -> NoReturn:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        try:
            restore = self._at_cut()
            time.sleep(_GRACE)
            _write(1, restore)
            _write(2, f"billblend: {self.last_words}\n".encode(errors="backslashreplace"))
        finally:
            os._exit(UNFINISHED)


def _write(file: int, octets: bytes) -> None:
    """Write without waiting: nobody who reads nothing may keep a program from ending."""
    if not octets:
        return
    with contextlib.suppress(OSError):
        os.set_blocking(file, False)
        try:
            os.write(file, octets)
        finally:
            os.set_blocking(file, True)  # others, such as the shell, share it
