"""The private files beside a journal: its key, and the mark that it was restored.

They are written whole or not at all, durably, and readable by their owner only. They lie beside the
journal's file itself, whatever links lead to it: two names of one journal with a key each would be
two journals, and each would find the other's payouts damaged.
"""

import contextlib
import errno
import hashlib
import math
import os
import re
import stat
import tempfile
from pathlib import Path

__all__ = [
    "check_of",
    "find_key",
    "has_key",
    "is_marked",
    "itself",
    "key_file",
    "key_files",
    "make_key",
    "make_mark",
    "make_private",
    "mark_file",
    "read_key",
    "read_mark",
    "remove_mark",
    "siblings",
    "sync_directory",
    "tighten",
]


def make_key(path: Path, key: bytes) -> bool:
    """Write a key of 32 bytes into a file of its own; False when there is one already."""
    return make_private(path, key.hex().encode() + b"\n")


def read_key(path: Path) -> bytes | None:
    """Read a key; None when the file holds anything else."""
    text = path.read_text(encoding="ascii", errors="replace")
    return bytes.fromhex(text) if re.fullmatch(r"[0-9a-f]{64}\n?", text) else None


def check_of(key: bytes) -> str:
    """Name a journal's key without telling it."""
    return hashlib.sha256(key).hexdigest()[:16]


def make_private(path: Path, content: bytes) -> bool:
    """Make a file of mode 0600, whole and durable; False when somebody else has made it.

    It is written under a name of its own and then linked into place. So nobody ever sees half of
    it, two makers never overwrite each other, and no handle to it is closed here: with POSIX locks
    that would drop the locks which another connection of this process has on the same file.
    """
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a handle, no path
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(path).hardlink_to(draft)
    except FileExistsError:
        return False
    finally:
        Path(draft).unlink()
    sync_directory(path.parent)
    return True


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable; Windows does that by itself."""
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def tighten(path: Path) -> None:
    """Take everybody else's rights from a file that is ours."""
    if os.name == "nt":
        return
    status = path.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)


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
