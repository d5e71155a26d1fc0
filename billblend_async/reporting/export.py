"""The report as a table for spreadsheets, and files that are replaced whole or not at all.

Text that a spreadsheet would calculate is escaped.
"""

import contextlib
import csv
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from ..core.descriptions import decided, decision_word, instant, legible, reason_of
from ..core.events import Decision
from ..errors import ConfigurationError
from .projection import Line, remedies_of
from .summary import Report

__all__ = [
    "COLUMNS",
    "check_target",
    "harmless",
    "is_sheet",
    "remove_leftovers",
    "replacing",
    "sheet",
    "write_whole",
]

_TRIGGERS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_BEGINS: Final = rf"[\s\0]*[{_TRIGGERS}]|[\t\r\n]"
_PARTED: Final = rf"([,;\t\r\n\"][\s\"]*)(?=[{_TRIGGERS}])"
_FORMULA: Final = re.compile(_BEGINS)
"""What a spreadsheet takes for a formula, or for the beginning of one."""
_INNER_FORMULA: Final = re.compile(_PARTED)
"""Where another spreadsheet, which expects another delimiter, would see a cell begin."""
_ANY_FORMULA: Final = re.compile(rf"\A(?:{_BEGINS})|{_PARTED}")
"""Either of them, which few cells hold: most are looked at once."""
_CALCULATION: Final = re.compile(r"[-+0-9 ().,]*")
"""A number, or a phone number: it can call nothing."""


def harmless(cell: str) -> str:
    """Write a cell of a CSV file so that no spreadsheet takes it, or a part of it, for a formula.

    Plain numbers stay as they are, and so do phone numbers: they can call nothing.
    """
    if not _ANY_FORMULA.search(cell) or _CALCULATION.fullmatch(cell):
        return cell
    if _FORMULA.match(cell):
        cell = f"'{cell}"
    return _INNER_FORMULA.sub(r"\1'", cell)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes a path once it is whole, and vanishes if it never is.

    It is for its owner only. A link that stands at the path stays one.

    Raises:
        OSError: It cannot be written.
    """
    path = path.resolve()
    handle, temporary = _begin(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(handle)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _begin(path: Path, *, tries: int = 2) -> tuple[int, str]:
    """Make a new file beside a path and hold it.

    Until it is held, another run may take it for what a killed one has left, and remove it.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    is_taken = False
    try:
        _hold(handle)
    except BlockingIOError:
        is_taken = True
    except OSError:  # not every file system can
        pass
    if tries > 1 and (is_taken or not Path(temporary).exists()):
        os.close(handle)
        Path(temporary).unlink(missing_ok=True)
        return _begin(path, tries=tries - 1)
    return handle, temporary


def remove_leftovers(path: Path) -> None:
    """Remove what programs that were killed while they wrote a file have left beside it."""
    path = path.resolve()
    left = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part")
    parts: list[Path] = []
    with contextlib.suppress(OSError):  # a folder that cannot be listed can be written all the same
        parts += (each for each in path.parent.iterdir() if left.fullmatch(each.name))
    for part in parts:
        # One that is held is being written, and one that is gone has been.
        with contextlib.suppress(OSError):
            with part.open("rb+") as file:
                _hold(file.fileno())
            part.unlink()


def _hold(handle: int) -> None:
    """Hold a file as long as it is open here.

    Raises:
        OSError: Somebody else does.
    """
    with contextlib.suppress(ModuleNotFoundError):  # Windows removes no open file
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_LONGEST_HEAD = 4096


def check_target(option: str, path: Path, is_ours: Callable[[str], bool]) -> None:
    """Find out before the work whether a file can be written, and over nothing but a report.

    Args:
        option: The option that named it, such as ``--html``.
        path: The file.
        is_ours: Tells from a file's first 4096 bytes whether it is an earlier report.

    Raises:
        ConfigurationError: It cannot be written, or something else would be lost.
    """
    wrong = ""
    if path.exists() and not path.is_file():
        wrong = "this is no file; give another path"
    elif not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        wrong = "this file cannot be written; give another path"
    elif path.is_file():
        try:
            with path.open("rb") as file:
                head = file.read(_LONGEST_HEAD).decode(errors="replace")
        except OSError:
            wrong = "this file cannot be read; give another path"
        else:
            if head and not is_ours(head):
                wrong = "this holds something else than a report; move it or give another path"
    if wrong:
        raise ConfigurationError(f"{option} {path}: {wrong}")


def write_whole(option: str, path: Path, text: str) -> None:
    """Write a file atomically, for its owner only; what is there is replaced by a whole one.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    reason = ""
    try:
        remove_leftovers(path)
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason:
        raise ConfigurationError(f"{option} {path}: {reason}; make room or give another path")


COLUMNS: Final = (
    "client_orderid",
    "status",
    "state",
    "amount",
    "currency",
    "paynet_order_id",
    "order_stage",
    "error_code",
    "error_message",
    "needs_person",
    "reason",
    "alarms",
    "accepted_at",
    "since",
    "seconds_to_final",
    "acknowledged",
    "decision",
    "decided_at",
    "who",
    "why",
    "earlier_decisions",
    "what_to_run",
)
_FIRST: Final = 15
"""Columns that every table of ours has ever had."""


def sheet(report: Report) -> str:
    """Write all payouts of a report as CSV, in the order in which they were accepted.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, as in
    spreadsheets themselves. Instants are UTC.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(_cells(line, report.named) for line in report.lines)
    return text.getvalue()


def is_sheet(head: str) -> bool:
    """Tell from the beginning of a file whether it is a table of ours."""
    # Those that an earlier release has written have fewer columns, in the same order.
    return head.splitlines()[0].startswith(",".join(COLUMNS[:_FIRST]))


def _cells(line: Line, journal: str) -> tuple[str, ...]:
    seconds = line.seconds_to_final
    last = line.decisions[-1] if line.decisions else None
    return (
        _text(line.client_orderid),
        _text(line.status),
        line.state.value,
        f"{line.amount:f}",
        _text(line.currency),
        _text(line.paynet_order_id),
        _text(line.order_stage),
        _text(line.error_code),
        _text(line.error_message),
        "yes" if line.needs_person else "",
        _text("" if line.is_paid and not line.alarms else line.explanation),
        " ".join(line.alarms),
        instant(line.accepted_at),
        instant(line.since),
        "" if seconds is None else f"{seconds:.3f}",
        " ".join(line.acknowledged),
        *_decision(last),
        _text("; ".join(f"{instant(each.at)} {decided(each)}" for each in line.decisions[:-1])),
        _text(" or: ".join(each.command for each in remedies_of(line, journal))),
    )


def _decision(decision: Decision | None) -> tuple[str, ...]:
    """Tell a decision in cells of its own: what, when, who and why."""
    if decision is None:
        return ("", "", "", "")
    who, why = _text(decision.who), _text(reason_of(decision))
    return (decision_word(decision), instant(decision.at), who, why)


def _text(value: str | None) -> str:
    return harmless(legible(value, most=10_000))
