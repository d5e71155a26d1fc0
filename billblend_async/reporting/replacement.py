"""Files that are replaced whole or not at all."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["remove_leftovers", "replacing"]


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
