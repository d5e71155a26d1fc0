"""Private files: made whole or not at all, durable at once, and open to their owner only."""

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

__all__ = ["check_of", "make_key", "make_private", "read_key", "sync_directory", "tighten"]


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
