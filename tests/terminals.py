"""A terminal to look at: a program on a pseudo-terminal, and its screen as a person sees it."""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pyte

PATIENCE = 60.0
"""Seconds after which what a test looks for will not come."""
CTRL_C = b"\x03"
CTRL_S = b"\x13"
"""Holds all output of a terminal."""
_LAUNCH = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""Makes the terminal the one that sends signals for its keys, then becomes the program."""


@attrs.define(eq=False)
class Terminal:
    """A program on a terminal.

    Attributes:
        screen: What is to be seen.
        raw: Every byte that was written.
        frames: Every screen that was seen after the cursor had come to rest.
    """

    process: asyncio.subprocess.Process
    screen: pyte.Screen
    raw: bytearray
    frames: list[str]
    _master: int
    _changed: asyncio.Event

    @property
    def text(self) -> str:
        """The screen's lines without the blanks at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def prose(self) -> str:
        """The screen's words, as if no line had been broken at its edge."""
        return " ".join("".join(self.screen.display).split())

    def shows_cursor(self) -> bool:
        """Tell whether the cursor is to be seen."""
        return not self.screen.cursor.hidden

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def narrow(self, columns: int) -> None:
        """Make it narrower; as most terminals do, it breaks the lines that do not fit any more."""
        size = struct.pack("HHHH", self.screen.lines, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        shown = [line.rstrip() for line in self.screen.display[: self.screen.cursor.y + 1]]
        broken = [
            line[start : start + columns]
            for line in shown
            for start in range(0, max(1, len(line)), columns)
        ]
        self.screen.resize(self.screen.lines, columns)
        self.screen.reset()
        pyte.Stream(self.screen).feed("\r\n".join(broken[-self.screen.lines :]))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of the screen."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await self._changed.wait()
                self._changed.clear()

    async def sees(self, *words: str) -> str:
        """Wait until the screen shows all of these words; the screen then."""
        await self.until(lambda: all(word in self.text for word in words))
        return self.text

    async def ended(self) -> int:
        """Wait for the program's end; its exit status."""
        async with asyncio.timeout(PATIENCE):
            status = await self.process.wait()
            await asyncio.sleep(0.05)  # the last bytes are read by the event loop
        return status


@asynccontextmanager
async def on_terminal(
    *words: object,
    folder: Path,
    environ: dict[str, str],
    columns: int = 80,
    lines: int = 24,
    term: str = "xterm-256color",
) -> AsyncIterator[Terminal]:
    """Run Python with some words on a terminal of this size; kill it at the end if need be."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    odd = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    kept = {name: value for name, value in os.environ.items() if name not in odd}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", _LAUNCH, *map(str, words)),
        cwd=folder,
        env={**kept, "PYTHONIOENCODING": "utf-8", "TERM": term, **environ},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    screen = pyte.Screen(columns, lines)
    terminal = Terminal(process, screen, bytearray(), [], master, asyncio.Event())
    stream, loop = pyte.ByteStream(screen), asyncio.get_running_loop()

    def read() -> None:
        try:
            octets = os.read(master, 65536)
        except OSError:  # the program has ended
            octets = b""
        if not octets:
            loop.remove_reader(master)
            return
        terminal.raw += octets
        stream.feed(octets)
        terminal.frames.append(terminal.text)
        terminal._changed.set()

    os.set_blocking(master, False)
    loop.add_reader(master, read)
    try:
        yield terminal
    finally:
        loop.remove_reader(master)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        os.close(master)
