"""The live view of a terminal: bars, counts, money, pace and what did not go well."""

import contextlib
import os
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.control import Control
from rich.live import Live
from rich.segment import Segment

from ..batch.snapshot import Group, Phase, Snapshot
from ..core.models import Outcome
from ..core.notation import Notation
from ..reporting.projection import Total
from .display import WORDS, doubt_text, many, pace, span

__all__ = ["Frame", "Screen", "is_screen", "make_console"]

Line = list[tuple[str, str]]
"""Pieces of text, each with the name of its style."""

_STYLES: Final = {
    Group.APPROVED: "green",
    Group.WAITING: "cyan",
    Group.REFUSED: "yellow",
    Group.NEEDS_PERSON: "bold red",
    Group.AWAITING_APPROVAL: "magenta",
    Group.UNFINISHED: "magenta",
}
_ALWAYS: Final = (Group.APPROVED, Group.WAITING, Group.REFUSED, Group.NEEDS_PERSON)
_NAME: Final = 15
"""Cells for the name of a group."""
_WIDE: Final = 60
"""Cells from which on there is room for more than the most needed numbers."""
_FEW_CASES: Final = 4
"""Lines that the latest problems get before anything is set apart from them: a head and three."""
_RESTORE: Final = b"\r\n\x1b[?25h"
"""Leaves the last frame where it is, and shows the cursor that rich has hidden."""


@attrs.frozen
class _Glyphs:
    """What bars and texts are made of."""

    through: str
    now: str
    rest: str
    dot: str
    more: str


_UNICODE: Final = _Glyphs("\u2588", "\u2592", "\u00b7", "\u00b7", "\u2026")
_ASCII: Final = _Glyphs("#", "=", ".", "-", "...")


def is_screen() -> bool:
    """Tell whether somebody looks at a terminal that can show a live view."""
    # Not what rich thinks of it: FORCE_COLOR makes a terminal of every log.
    return sys.stdout.isatty() and not Console().is_dumb_terminal


class _Paper(Console):
    """A console whose reader may leave: what was done is done, and its exit status stands."""

    def on_broken_pipe(self) -> None:
        """Write no more."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


def make_console(*, stderr: bool = False) -> Console:
    """Make the console on which people read what came of a run."""
    return _Paper(stderr=stderr)


@attrs.define
class Frame:
    """One picture of a run, made to fit whatever terminal it is rendered on.

    Attributes:
        title: What is run.
        notation: How numbers are written.
        snapshot: Where it stands.
    """

    title: str
    notation: Notation
    snapshot: Snapshot | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Give the lines; rich cuts nothing, since they fit."""
        if self.snapshot is None:
            return
        glyphs = _UNICODE if console.encoding.startswith("utf") else _ASCII
        width, height = options.max_width - 1, console.size.height - 1
        for line in _picture(self, self.snapshot, width, height, glyphs):
            left = width
            for text, style in line:
                piece = _cut(text, left, glyphs)
                left -= cell_len(piece)
                yield Segment(piece, console.get_style(style) if style else None)
            yield Segment.line()


class Screen:
    """Shows a run live; painted by a thread of its own, so that no terminal holds a payout up.

    Args:
        title: What is run.
        notation: How numbers are written.
        console: Where it is shown.
    """

    pause = 0.25
    is_screen = True

    def __init__(self, title: str, notation: Notation, console: Console | None = None) -> None:
        self._frame = Frame(title, notation)
        self._console = console or Console()
        self._live = Live(self._frame, console=self._console, auto_refresh=False, transient=True)
        self._width = self._console.width
        self._news = threading.Event()
        self._is_over = False
        self._painter = threading.Thread(target=self._paint, name="billblend screen", daemon=True)
        self._live.start()
        self._painter.start()

    def show(self, snapshot: Snapshot) -> None:
        """Let this be painted next."""
        self._frame.snapshot = snapshot
        self._news.set()

    def hear(self, outcome: Outcome) -> None:
        """Leave how a payout ended to the counts."""

    def finish(
        self, exit_status: int, totals: Sequence[Total], results: Path | None, *, interrupted: bool
    ) -> None:
        """Leave the end to what is printed then."""

    def close(self) -> None:
        """Take the view away."""
        self._is_over = True
        self._news.set()
        self._painter.join()
        with contextlib.suppress(OSError):  # the terminal has gone, and nobody needs it restored
            self._clear_if_narrower()
            self._live.stop()

    def abandon(self) -> bytes:
        """Paint no more, and tell what restores the terminal."""
        self._is_over = True
        return _RESTORE

    def _paint(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if self._is_over:
                return
            try:
                self._clear_if_narrower()
                self._live.refresh()
            except OSError:
                return  # the terminal has gone; the run needs none

    def _clear_if_narrower(self) -> None:
        """Begin on a clear terminal where it was made narrower.

        It may have broken the lines of the last picture, and nobody can tell how many rows that
        takes now: some would be left above the next one.
        """
        width = self._console.width
        if width < self._width:
            self._console.control(Control.clear(), Control.home())
        self._width = width


def _picture(frame: Frame, shot: Snapshot, width: int, height: int, glyphs: _Glyphs) -> list[Line]:
    """Choose what fits: what is needed most first, the rest as long as there is room."""
    notation = frame.notation
    title = f"{frame.title} {glyphs.dot} {many(shot.total, notation)}"
    head = [_head(title, shot, width, glyphs), *_notes(shot, width, notation)]
    parts = {
        "money": _money(shot, width, notation),
        "pace": _pace(shot, width, glyphs, notation),
        "bars": _bars(shot, width, glyphs, notation),
    }
    room = height - len(head)
    chosen: list[str] = []
    for name in ("pace", "money", "bars"):
        if len(parts[name]) <= room:
            chosen.append(name)
            room -= len(parts[name])
    # A blank line before each block is worth a case, as long as there are some all the same.
    blanks = len(chosen) + 1
    cases = _cases(shot, room - blanks if room - blanks >= _FEW_CASES else room)
    room -= len(cases)
    blocks = [head, *(parts[name] for name in ("bars", "money", "pace") if name in chosen), cases]
    lines: list[Line] = []
    for block in blocks:
        if lines and block and room > 0:
            lines.append([])
            room -= 1
        lines += block
    return lines[: max(1, height)]


def _head(title: str, shot: Snapshot, width: int, glyphs: _Glyphs) -> Line:
    time = span(shot.seconds)
    room = max(0, width - cell_len(time) - 1)
    return [(set_cell_size(_cut(title, room, glyphs), room), "bold"), (f" {time}", "dim")]


def _notes(shot: Snapshot, width: int, notation: Notation) -> list[Line]:
    """Say what everybody must see: that the run is ending, and why nothing goes on."""
    lines: list[Line] = []
    if shot.is_stopping:
        count = notation.count(shot.under_way)
        way = f"{count} request(s) under way" if shot.under_way else "what is under way"
        told = f"stopping: nothing new is sent, {way} will be recorded; Ctrl-C again cuts it off"
        lines += [[(line, "bold yellow")] for line in textwrap.wrap(told, width)]
    if shot.trouble is not None:
        told = f"for {span(shot.trouble_seconds)}: {shot.trouble}"
        lines += [[(line, "bold red")] for line in textwrap.wrap(told, width)[:3]]
    doubt = doubt_text(shot, notation) or ""
    return lines + [[(line, "yellow")] for line in textwrap.wrap(doubt, width)[:6]]


def _bars(shot: Snapshot, width: int, glyphs: _Glyphs, notation: Notation) -> list[Line]:
    """Draw a bar for each phase: who is through it, who is in it, who has not come so far."""
    column = max(len(notation.count(shot.total)), len("through")) + 2
    columns = 2 if width >= _WIDE else 1
    room = max(4, width - 9 - columns * column)
    header = " " * (9 + room) + "now".rjust(column)
    lines: list[Line] = [[(header + ("through".rjust(column) if columns > 1 else ""), "dim")]]
    total = shot.total or 1
    for phase in shot.phases:
        now, through = shot.now[phase], shot.through.get(phase)
        full = room * (through or 0) // total
        # Whoever is in a phase is seen, be it one of ten thousand.
        part = min(max(1, room * now // total), room - full) if now else 0
        style = "bold red" if phase is Phase.PERSON else "cyan"
        line = [
            (phase.value.ljust(9), ""),
            (glyphs.through * full, "green"),
            (glyphs.now * part, style),
            (glyphs.rest * (room - full - part), "dim"),
            (notation.count(now).rjust(column), style if now else "dim"),
        ]
        if columns > 1:
            told = "" if through is None else notation.count(through)
            line.append((told.rjust(column), ""))
        lines.append(line)
    return lines


def _money(shot: Snapshot, width: int, notation: Notation) -> list[Line]:
    """Show how many payouts, and how much of each currency, are in each group."""
    groups = [group for group in Group if group in _ALWAYS or shot.counts[group]]
    column = max(len(notation.count(shot.total)), len("payouts")) + 1
    room = width - _NAME - column
    columns: list[tuple[str, list[str]]] = []
    for currency in shot.currencies:
        amounts = (shot.amounts[group][currency] for group in groups)
        cells = [notation.amount(amount) if amount else "-" for amount in amounts]
        size = max(map(len, [*cells, currency])) + 2
        left = len(shot.currencies) - len(columns) - 1
        if size + (len(f" +{left}") if left else 0) > room:
            break
        room -= size
        columns.append((currency.rjust(size), [cell.rjust(size) for cell in cells]))
    hidden = len(shot.currencies) - len(columns)
    more = f" +{hidden}" if hidden else ""
    header = " " * _NAME + "payouts".rjust(column) + "".join(name for name, _ in columns) + more
    lines: list[Line] = [[(header, "dim")]]
    for index, group in enumerate(groups):
        count = shot.counts[group]
        style = _STYLES[group] if count else "dim"
        sums = "".join(cells[index] for _, cells in columns)
        lines.append(
            [
                (WORDS[group].ljust(_NAME), style),
                (notation.count(count).rjust(column), style),
                (sums, "" if count else "dim"),
            ]
        )
    return lines


def _pace(shot: Snapshot, width: int, glyphs: _Glyphs, notation: Notation) -> list[Line]:
    """Say how fast it goes and when it will be over."""
    told = []
    if shot.per_second is not None:
        told.append(pace(shot.per_second, "finished " if width >= _WIDE else "", notation))
    elif not shot.finished:
        told.append("none has finished yet")
    if shot.seconds_left and not shot.is_stopping:
        told.append(f"about {span(shot.seconds_left)} left")
    if shot.receivers:
        told.append(f"{notation.count(shot.receivers)} wait for their receivers")
    lines = textwrap.wrap(f" {glyphs.dot} ".join(told), max(1, width)) or [""]
    return [[(line, "")] for line in lines]


def _cases(shot: Snapshot, room: int) -> list[Line]:
    """List the latest that did not go well, each in one line."""
    if not shot.cases or room < 2:
        return []
    cases = shot.cases[: room - 1]
    told: list[Line] = [[(each.client_orderid, "bold"), (f": {each.text}", "")] for each in cases]
    return [[("latest problems", "dim")], *told]


def _cut(text: str, width: int, glyphs: _Glyphs) -> str:
    """Cut a text to so many cells, and show that it goes on."""
    if cell_len(text) <= width:
        return text
    kept = set_cell_size(text, max(0, width - len(glyphs.more))).rstrip()
    return set_cell_size(kept + glyphs.more, min(width, cell_len(kept) + len(glyphs.more)))
