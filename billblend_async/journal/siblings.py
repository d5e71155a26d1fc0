"""The files beside a SQLite journal: its key, the mark that it is to be restored, SQLite's own.

They lie beside the journal's file itself, whatever links lead to it: two names of one journal that
had a key each would be two journals, and each would find the other's payouts damaged.
"""

import contextlib
import errno
import math
import os
from pathlib import Path

from .key_file import check_of, make_private, read_key, sync_directory

__all__ = [
    "find_key",
    "has_key",
    "is_marked",
    "itself",
    "key_file",
    "key_files",
    "make_mark",
    "mark_file",
    "read_mark",
    "remove_mark",
    "siblings",
]


def itself(path: Path) -> Path:
    """Follow every link on the way to a file, which need not be there.

    Raises:
        OSError: The links lead in a circle.
    """
    try:
        return path.resolve()
    except RuntimeError:  # what pathlib calls that before Python 3.13
        reason = os.strerror(errno.ELOOP)
    raise OSError(errno.ELOOP, reason)


def key_file(path: Path) -> Path:
    """Name the key file of a journal, by any name of the journal."""
    return _beside(itself(path), ".key")


def key_files(path: Path) -> tuple[Path, ...]:
    """Name the files in which a journal's key may be found, the right place first.

    Earlier releases have made it beside a link, where the journal was named by that.
    """
    return tuple(dict.fromkeys((key_file(path), _beside(path.absolute(), ".key"))))


def has_key(path: Path) -> bool:
    """Tell whether a journal has a key file, so that it was there once."""
    return any(file.exists() for file in key_files(path))


def is_marked(path: Path) -> bool:
    """Tell whether somebody has written down that a journal is to be marked as restored."""
    return mark_file(path).exists()


def mark_file(path: Path) -> Path:
    """Name the file that says that a journal is to be marked as restored before it is used."""
    return _beside(itself(path), ".restored")


def siblings(path: Path) -> tuple[Path, ...]:
    """Name the journal's file and every file that may belong to it."""
    names = (path, itself(path))
    ends = (".key", ".restored", "-journal", "-wal")
    return tuple(dict.fromkeys((*names, *(_beside(name, end) for name in names for end in ends))))


def find_key(path: Path, check: str | None) -> tuple[Path, bytes | None] | None:
    """Find the key of a journal.

    Args:
        path: The journal.
        check: What the journal says of its key; None where it says nothing yet.

    Returns:
        The file and the key that it holds, None where it holds none; one that fits is preferred.
        None where there is no such file at all.

    Raises:
        OSError: A file that is there cannot be read.
    """
    right, *others = key_files(path)
    found = (right, read_key(right)) if right.exists() else None
    for other in others if check is not None else ():
        fits = found is not None and found[1] is not None and check_of(found[1]) == check
        if not fits and other.exists():
            key = read_key(other)
            if key is not None and check_of(key) == check:
                return other, key
    return found


def make_mark(path: Path, at: float) -> None:
    """Write down, durably, that a journal is to be marked as restored before it is used.

    Args:
        path: The journal; whatever lies there when somebody opens it next is meant.
        at: When that was found out, in seconds since the epoch.

    Raises:
        OSError: It cannot be written.
    """
    mark = mark_file(path)
    if not make_private(mark, f"{at!r}\n".encode()):
        sync_directory(mark.parent)  # whoever has made it may not have come so far


def read_mark(path: Path) -> float | None:
    """Read since when a journal is to be marked; 0 where that cannot be read, None without a mark.

    Raises:
        OSError: It cannot be found out whether there is a mark.
    """
    try:
        text = mark_file(path).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    at = 0.0
    with contextlib.suppress(ValueError):
        at = float(text)
    return at if math.isfinite(at) else 0.0


def remove_mark(path: Path) -> None:
    """Take the mark away, once the journal itself is marked."""
    mark = mark_file(path)
    mark.unlink(missing_ok=True)
    sync_directory(mark.parent)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
