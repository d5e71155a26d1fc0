"""How a run is shown: line by line for a log, as JSON for a machine, as bars in a terminal.

The file is long because it holds three views of one snapshot.
"""

import asyncio
import contextlib
import datetime as dt
import json
import os
import queue
import shlex
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, TextIO

import attrs
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.control import Control
from rich.live import Live
from rich.segment import Segment

from ..batch.progress import Group, Phase, Snapshot, Tally
from ..core.descriptions import Notation, instant
from ..core.models import Outcome
from ..reporting.projection import Total, explanation_of, told_status
from .console import say
from .ending import Ending

if TYPE_CHECKING:
    from ..gateway.client import Client
    from ..orchestrator.orchestrator import Orchestrator

__all__ = [
    "WORDS",
    "Frame",
    "JsonLines",
    "PlainLines",
    "Screen",
    "View",
    "Watch",
    "doubt_text",
    "is_screen",
    "make_console",
    "make_view",
    "many",
    "pace",
    "span",
]

WORDS: Final = {
    Group.APPROVED: "approved",
    Group.WAITING: "waiting",
    Group.REFUSED: "refused",
    Group.NEEDS_PERSON: "needs a person",
    Group.AWAITING_APPROVAL: "to approve",
    Group.UNFINISHED: "unfinished",
}
"""The groups as a person reads them."""
_LASTING: Final = 2.0
"""Seconds after which trouble is worth a line of a log."""


class _Scribe:
    """Writes lines from a thread of its own: a reader that is slow holds no payout up.

    Args:
        file: Where to.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # A daemon, so that a reader which never reads on cannot keep a program from being cut off.
        self._thread = threading.Thread(target=self._run, name="billblend lines", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Hand a line over."""
        self._lines.put(line)

    def close(self) -> None:
        """Wait until everything is written, or nobody is there to read it."""
        self._lines.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_read, encoding = True, self._file.encoding or "utf-8"
        while (line := self._lines.get()) is not None:
            if not is_read:
                continue
            try:
                self._file.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
                self._file.flush()
            except OSError:
                is_read = False
                _lead_nowhere(self._file)
                say("nobody reads the output any more; the run goes on and writes its results")


def _lead_nowhere(file: TextIO) -> None:
    """Let what is still in a file's buffer go nowhere, or the program's end would fail over it."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)


class _Lines:
    """What is told of a run line by line, to whomever.

    Args:
        file: Where to.
    """

    pause = 0.25
    is_screen = False
    between: ClassVar[float]
    """Seconds between two lines of progress."""

    def __init__(self, file: TextIO) -> None:
        self._scribe = _Scribe(file)
        self._due = self.between
        self._has_begun = False
        self._told_trouble: str | None = None
        self._doubt_since: float | None = None
        self._has_told_doubt = False

    def close(self) -> None:
        """Write what is left."""
        self._scribe.close()

    def abandon(self) -> bytes:
        """Do nothing: lines leave no terminal to restore."""
        return b""

    def _begins(self) -> bool:
        """Tell, once, that nothing was told before."""
        begins, self._has_begun = not self._has_begun, True
        return begins

    def _doubt_turns(self, snapshot: Snapshot) -> bool:
        """Tell whether it is time to say that payouts are in doubt, or that none is any more.

        A doubt that is cleared up within moments is worth nobody's attention.
        """
        if not snapshot.in_doubt:
            self._doubt_since = None
        elif self._doubt_since is None:
            self._doubt_since = snapshot.seconds
        since = self._doubt_since
        lasts = since is not None and snapshot.seconds - since >= _LASTING
        turns = lasts if not self._has_told_doubt else since is None
        self._has_told_doubt ^= turns
        return turns

    def _is_time(self, snapshot: Snapshot) -> bool:
        """Tell whether it is time to say how far the run is; what was missed is not made up for."""
        late = snapshot.seconds - self._due
        if late < 0:
            return False
        self._due += self.between * (1 + late // self.between)
        return True


class PlainLines(_Lines):
    """What a log shows of a run: a line every ten seconds, and one for each bad turn.

    Args:
        file: Where to.
        notation: How numbers are written.
    """

    between = 10.0

    def __init__(self, file: TextIO, notation: Notation) -> None:
        super().__init__(file)
        self._notation = notation

    def show(self, snapshot: Snapshot) -> None:
        """Write what is new, and how far the run is when it is time for that."""
        if self._begins():
            amounts = {name: _sum(snapshot, name) for name in snapshot.currencies}
            payouts = many(snapshot.total, self._notation)
            self._scribe.write(f"{payouts}: {self._notation.sums(amounts)}")
        for case in snapshot.news:
            self._scribe.write(f"{case.client_orderid} needs a person: {case.text}")
        self._tell_trouble(snapshot)
        if self._doubt_turns(snapshot):
            told = doubt_text(snapshot, self._notation) or "nothing is in doubt any more"
            self._scribe.write(f"{span(snapshot.seconds)}: {told}")
        if self._is_time(snapshot):
            self._scribe.write(_progress(snapshot, self._notation))

    def hear(self, outcome: Outcome) -> None:
        """Leave how a payout ended to the totals and the results."""

    def finish(
        self, exit_status: int, totals: Sequence[Total], results: Path | None, *, interrupted: bool
    ) -> None:
        """Leave the end to what is printed then."""

    def _tell_trouble(self, snapshot: Snapshot) -> None:
        """Say why nothing goes on once that lasts, and when it does again."""
        trouble = snapshot.trouble
        if trouble == self._told_trouble:
            return
        if trouble is None:
            self._scribe.write(f"{span(snapshot.seconds)}: the gateway answers again")
        elif snapshot.trouble_seconds < _LASTING:
            return
        else:
            self._scribe.write(f"{span(snapshot.seconds)}: {trouble}")
        self._told_trouble = trouble


class JsonLines(_Lines):
    """What a machine reads of a run: one JSON object a line.

    Args:
        file: Where to.
    """

    between = 5.0

    def show(self, snapshot: Snapshot) -> None:
        """Write what is new, and how far the run is when it is time for that."""
        if self._begins():
            amounts = {name: _plain(_sum(snapshot, name)) for name in snapshot.currencies}
            self._write("started", payouts=snapshot.total, amounts=amounts)
        for case in snapshot.news:
            self._write("problem", client_orderid=case.client_orderid, problem=case.text)
        if snapshot.trouble != self._told_trouble:
            self._told_trouble = snapshot.trouble
            self._write("trouble", trouble=snapshot.trouble)
        if self._doubt_turns(snapshot):
            self._write(
                "doubt",
                in_doubt=snapshot.in_doubt,
                until=_utc(snapshot.doubt_until),
                doubt=doubt_text(snapshot, Notation()),
                command=_list_command(snapshot),
            )
        if self._is_time(snapshot):
            self._write("progress", **_numbers(snapshot))

    def hear(self, outcome: Outcome) -> None:
        """Write how a payout ended, or was handed back."""
        self._write(
            "payout",
            client_orderid=outcome.client_orderid,
            status=told_status(outcome),
            state=outcome.state.value,
            amount=_plain(outcome.amount),
            currency=outcome.currency,
            paynet_order_id=outcome.paynet_order_id,
            order_stage=outcome.order_stage,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            open_reason=outcome.open_reason,
            doubt=outcome.doubt,
            alarms=list(outcome.alarms),
            acknowledged=list(outcome.acknowledged),
            explanation=explanation_of(outcome) or None,
        )

    def finish(
        self, exit_status: int, totals: Sequence[Total], results: Path | None, *, interrupted: bool
    ) -> None:
        """Write how the run ended."""
        told = [
            {
                "status": total.status,
                "currency": total.currency,
                "payouts": total.payouts,
                "amount": _plain(total.amount),
            }
            for total in totals
        ]
        self._write(
            "finished",
            exit_status=exit_status,
            interrupted=interrupted,
            results=None if results is None else str(results),
            totals=told,
        )

    def _write(self, event: str, **fields: object) -> None:
        at = _utc(dt.datetime.now(dt.UTC).timestamp())
        self._scribe.write(json.dumps({"event": event, "at": at, **fields}))


def many(payouts: int, notation: Notation) -> str:
    """Write how many payouts there are."""
    return "1 payout" if payouts == 1 else f"{notation.count(payouts)} payouts"


def span(seconds: float) -> str:
    """Write a length of time as a person says it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min"


def pace(per_second: float, what: str, notation: Notation) -> str:
    """Write how fast it goes, in a unit in which it is no fraction."""
    if 0 < per_second < 1:
        return f"{notation.tenths(60 * per_second)} {what}per minute"
    return f"{notation.tenths(per_second)} {what}per second"


def doubt_text(snapshot: Snapshot, notation: Notation) -> str | None:
    """Say how many payouts are in doubt, how long they are asked about, and what comes then."""
    until = snapshot.doubt_until
    if not snapshot.in_doubt or until is None:
        return None
    left = until - snapshot.at
    how_long = "until the gateway answers"
    if left > 0:
        how_long = f"until {instant(until)} UTC at the longest ({span(left)} from now)"
    they = "It is" if snapshot.in_doubt == 1 else "They are"
    return (
        f"{many(snapshot.in_doubt, notation)} in doubt: claimed, by this run or another, and no "
        f"answer is known. {they} asked about {how_long}; what is in doubt then needs a person: "
        f"{_list_command(snapshot)}"
    )


def _list_command(snapshot: Snapshot) -> str:
    return f"billblend attention list --journal {shlex.quote(snapshot.journal)}"


def _utc(at: float | None) -> str | None:
    """Write an instant for machines."""
    if at is None:
        return None
    told = dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")


def _progress(snapshot: Snapshot, notation: Notation) -> str:
    """Say in one line how far a run is."""
    told = []
    for group, word in WORDS.items():
        if snapshot.counts[group]:
            sums = {name: s for name, s in snapshot.amounts[group].items() if s}
            count = notation.count(snapshot.counts[group])
            told.append(f"{count} {word} ({notation.sums(sums)})")
    line = f"{span(snapshot.seconds)}: {'; '.join(told)}"
    if snapshot.per_second:
        line += f"; {pace(snapshot.per_second, 'finished ', notation)}"
    if snapshot.seconds_left and not snapshot.is_stopping:
        line += f"; about {span(snapshot.seconds_left)} left"
    if snapshot.in_doubt and snapshot.doubt_until is not None:
        count = notation.count(snapshot.in_doubt)
        line += f"; {count} in doubt, until {instant(snapshot.doubt_until)} UTC"
    return line


def _numbers(snapshot: Snapshot) -> dict[str, object]:
    """Give how far a run is in numbers."""
    amounts = {
        group: {name: _plain(amount) for name, amount in sums.items()}
        for group, sums in snapshot.amounts.items()
    }
    rate, left = snapshot.per_second, snapshot.seconds_left
    return {
        "seconds": round(snapshot.seconds, 1),
        "counts": dict(snapshot.counts),
        "amounts": amounts,
        "phases": {phase: snapshot.now[phase] for phase in snapshot.phases},
        "per_second": None if rate is None else round(rate, 2),
        "seconds_left": None if left is None else round(left),
        "under_way": snapshot.under_way,
        "stopping": snapshot.is_stopping,
        "in_doubt": snapshot.in_doubt,
        "doubt_until": _utc(snapshot.doubt_until),
    }


def _sum(snapshot: Snapshot, currency: str) -> Decimal:
    return sum((sums[currency] for sums in snapshot.amounts.values()), Decimal(0))


def _plain(amount: Decimal) -> str:
    return f"{amount:f}"


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


_SILENCE: Final = 2.0
"""Seconds without any answer after which it is said that none comes."""
_SILENT: Final = (
    "the gateway has not answered yet; if this lasts, check the network and the base URL"
)


class View(Protocol):
    """What somebody sees of a run.

    Attributes:
        pause: Seconds between two snapshots.
        is_screen: Whether it owns the terminal, so that nobody else should write there.
    """

    pause: float
    is_screen: bool

    def show(self, snapshot: Snapshot) -> None:
        """Show where the run stands."""
        ...

    def hear(self, outcome: Outcome) -> None:
        """Take in how the run has handed a payout back."""
        ...

    def finish(
        self, exit_status: int, totals: Sequence[Total], results: Path | None, *, interrupted: bool
    ) -> None:
        """Take in how the run has ended."""
        ...

    def close(self) -> None:
        """Show what is left and end."""
        ...

    def abandon(self) -> bytes:
        """End without waiting for anything, and tell what restores the terminal."""
        ...


def make_view(title: str, notation: Notation, *, as_json: bool) -> View:
    """Make the view that fits where the output goes; machines read amounts in one way only."""
    if as_json:
        return JsonLines(sys.stdout)

    return Screen(title, notation) if is_screen() else PlainLines(sys.stdout, notation)


@attrs.define(kw_only=True)
class Watch:
    """Looks at a run at intervals and shows what it sees.

    Attributes:
        tally: Where its payouts stand.
        view: Who is shown it.
        ending: Whether it is ending early.
        journal: The journal, as the user has named it.
    """

    tally: Tally
    view: View
    ending: Ending
    journal: str = ""
    _began: float = attrs.field(factory=time.monotonic, init=False)
    _answers: int = attrs.field(default=0, init=False)
    _heard_at: float = attrs.field(factory=time.monotonic, init=False)
    _trouble: str | None = attrs.field(default=None, init=False)
    _trouble_since: float = attrs.field(default=0.0, init=False)

    @asynccontextmanager
    async def looking(self, client: "Client", payouts: "Orchestrator") -> AsyncIterator[None]:
        """Look until the run is over, and once more then."""
        self.view.show(self._snapshot(client, payouts))
        looks = asyncio.create_task(self._look(client, payouts))
        try:
            yield
        finally:
            looks.cancel()
            [end] = await asyncio.gather(looks, return_exceptions=True)
            if isinstance(end, Exception):
                say(
                    f"the view of the run has failed ({type(end).__name__}); the run itself has not"
                )
            else:
                self.view.show(self._snapshot(client, payouts))

    async def _look(self, client: "Client", payouts: "Orchestrator") -> None:
        while True:
            await asyncio.sleep(self.view.pause)
            self.view.show(self._snapshot(client, payouts))

    def _snapshot(self, client: "Client", payouts: "Orchestrator") -> Snapshot:
        now = time.monotonic()
        trouble = payouts.trouble
        is_heard = self.tally.answers != self._answers
        # Once silence was told of, it is an answer that ends it, and no question given up on.
        if is_heard or (not client.in_flight and self._trouble is not _SILENT):
            self._answers, self._heard_at = self.tally.answers, now
        if trouble is None and now - self._heard_at >= _SILENCE:
            trouble = _SILENT
        if trouble != self._trouble:
            self._trouble = trouble
            self._trouble_since = self._heard_at if trouble is _SILENT else now
        return self.tally.snapshot(
            now - self._began,
            trouble=trouble,
            trouble_seconds=now - self._trouble_since,
            under_way=client.in_flight,
            is_stopping=self.ending.is_stopping,
            at=time.time(),
            journal=self.journal,
        )
