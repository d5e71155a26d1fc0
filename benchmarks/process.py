"""What a process knows about itself: its core, its memory, its limits and its parent."""

import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "cores",
    "obey",
    "peak_bytes",
    "pin_to",
    "raise_file_limit",
    "resident_bytes",
]


def cores() -> list[int]:
    """Number the cores that this process may use; a machine that does not say has core 0."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return [0]


def pin_to(core: int) -> None:
    """Keep this process, and every thread that it starts, on one core, where that can be had."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def raise_file_limit() -> None:
    """Allow as many open sockets as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident_bytes() -> int:
    """Give the bytes of memory that are resident now; where that is unknown, the peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_bytes()
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """Give the most bytes of memory that were ever resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def obey(answer: Callable[[], None]) -> None:
    """Answer each line of the parent from a thread, and end with the parent.

    Whoever started us holds the other end of standard input: when it closes, nobody is left to
    tell. It is read below Python's own files, whose locks a thread must not hold at the end.
    """

    def listen() -> None:
        while lines := os.read(0, 4096):
            for _ in range(lines.count(b"\n")):
                answer()
        os._exit(1)

    threading.Thread(target=listen, name="parent", daemon=True).start()
