"""What a process knows about itself: its core, its memory, its limits and its parent."""

import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = [
    "busy_seconds",
    "cores",
    "cpu_of_family",
    "obey",
    "parent_of",
    "peak_bytes",
    "pin_to",
    "raise_file_limit",
    "resident_bytes",
]

# Places in what Linux tells of a process behind its name, as proc(5) orders them.
_PARENT: Final = 1
_USER_TIME: Final = 11
_TIMES_OF_CHILDREN: Final = 13
_END_OF_TIMES: Final = 15


def cores() -> list[int]:
    """Number the cores that this process may use; a machine that does not say has core 0."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return [0]


def pin_to(core: int) -> None:
    """Keep this process, and every thread that it starts, on one core, where that can be had."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def busy_seconds(core: int) -> float:
    """Give the seconds that a core has worked for anybody; 0 where the system does not say."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    told = next((line.split()[1:] for line in lines if line.startswith(f"cpu{core} ")), [])
    ticks = list(map(int, told))
    return (sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK")  # less two kinds of rest


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


def parent_of(pid: int) -> int | None:
    """Give the parent of a process; None where the system does not say."""
    told = _stat(Path(f"/proc/{pid}/stat"))
    return None if told is None else int(told[_PARENT])


def cpu_of_family(pid: int) -> float | None:
    """Give the CPU seconds of a process and all its children, also of those that have ended.

    None where the system does not say.
    """
    told = _stat(Path(f"/proc/{pid}/stat"))
    if told is None:
        return None
    ticks = sum(map(int, told[_USER_TIME:_END_OF_TIMES]))
    for path in Path("/proc").glob("[0-9]*/stat"):
        child = _stat(path)
        if child is not None and int(child[_PARENT]) == pid:
            ticks += sum(map(int, child[_USER_TIME:_TIMES_OF_CHILDREN]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(path: Path) -> list[str] | None:
    """Read what Linux tells of a process, behind its name, which may hold anything."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile, or this is no Linux
        return None


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
