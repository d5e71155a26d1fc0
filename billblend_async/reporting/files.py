"""The files that a report is written to: whole or not at all, and never over something else."""

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigurationError
from .replacement import remove_leftovers, replacing

__all__ = ["check_target", "write_whole"]

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
