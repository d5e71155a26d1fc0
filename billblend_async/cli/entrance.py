"""How the ``billblend`` command begins and ends, so that whatever happens is told in words.

Little is imported here: everything else comes once Ctrl-C ends it in words.
"""

import contextlib
import errno
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

__all__ = ["Lasting", "enter", "tell_unexpected"]

_HERE: Final = str(Path(__file__).parents[1])
_WANTED: Final = "BILLBLEND_TRACEBACK"
_SILENT: Final = ("psycopg", "dbos")
"""What these log is told by the errors that follow; their own words may hold a part of an address,
and so of a password."""
_UNFINISHED: Final = 2  # as in console.py, which imports more


def enter() -> NoReturn:
    """Run the command that this process was started with, and end the process."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:  # and not ignored, as under nohup
        # An import that is broken off may fail in any way, so nothing is raised in one.
        signal.signal(signal.SIGINT, _leave_at_once)
    _fill_gaps()
    output, _ = _outlast("stdout"), _outlast("stderr")
    _tell_in_words()
    status = _run(signal.default_int_handler if is_usual else signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is told; nothing is left to interrupt
    sys.stdout.flush()
    if output is not None and output.is_lost:
        _say("standard output cannot be written, and what it should show is lost; make room")
        status = status or _UNFINISHED
    sys.stderr.flush()
    sys.exit(status)


def _run(on_interrupt: Any) -> int:  # noqa: ANN401 - a signal's handler
    try:
        from .main import load, main

        load(sys.argv[1:])
        signal.signal(signal.SIGINT, on_interrupt)
        return main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to go on")
    except BaseException as error:  # noqa: BLE001 - the last resort: nothing reaches a user as it is
        tell_unexpected(error)
    return _UNFINISHED


def _leave_at_once(_number: int, _frame: object) -> NoReturn:
    """End before anything has begun."""
    with contextlib.suppress(OSError):
        os.write(2, b"billblend: interrupted before anything began\n")
    os._exit(_UNFINISHED)


def _say(message: str) -> None:
    print(f"billblend: {message}", file=sys.stderr)


# What is unexpected


def tell_unexpected(error: BaseException) -> None:
    """Say in one sentence that something broke, where, and what to do; no value is ever told.

    With BILLBLEND_TRACEBACK=1 the way that the exception took follows: files, lines and the kinds
    of exceptions. Their texts are left out, since they may hold anything, secrets too.
    """
    _say(
        f"this should never happen: {type(error).__name__} in {_place(error)}. What was sent is in "
        "the journal, so the same command may be run again; please report this line to whoever "
        f"gave you billblend-async, with what {_WANTED}=1 shows (it tells no values and no secrets)"
    )
    if os.environ.get(_WANTED, "").strip() not in ("", "0"):
        print("\n".join(_way(error)), file=sys.stderr)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_HERE)] or frames
    if not ours:
        return "an unknown place"
    last = ours[-1]
    return f"{Path(last.filename).name}, line {last.lineno}, {last.name}"


def _way(error: BaseException) -> Iterator[str]:
    """Write down the way of an exception and of those behind it, without their texts."""
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        each = ahead.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        ahead += [each.__context__, each.__cause__]
        if isinstance(each, BaseExceptionGroup):
            ahead += each.exceptions
        yield f"{type(each).__module__}.{type(each).__qualname__}, most recent call last:"
        for frame in traceback.extract_tb(each.__traceback__):
            yield f"  {frame.filename}, line {frame.lineno}, in {frame.name}: {frame.line or ''}"


def _tell_in_words() -> None:
    """Tell also what breaks in a thread, in a destructor or in a task that nobody awaits."""

    def hook(args: Any) -> None:  # noqa: ANN401 - each hook has a type of its own
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            tell_unexpected(args.exc_value)

    threading.excepthook = hook
    sys.unraisablehook = hook
    _hand_over("asyncio", _Words(logging.WARNING))
    for name in _SILENT:
        _hand_over(name, logging.NullHandler())


def _hand_over(name: str, handler: logging.Handler) -> None:
    """Let a handler of ours alone hear a library."""
    library = logging.getLogger(name)
    library.addHandler(handler)
    library.propagate = False


class _Words(logging.Handler):
    """Tells what asyncio complains about; its own words would repeat exceptions and their texts."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            tell_unexpected(error)
        else:
            _say(f"asyncio: {record.getMessage().partition(chr(10))[0]}")


# Where it is told


class Lasting(io.RawIOBase):
    """An output that outlasts its reader: once it cannot be written, what is written is dropped.

    ``billblend pay ... | head`` must not end a run of payouts in the middle.

    Args:
        inner: What is written to.

    Attributes:
        is_lost: Whether something was dropped that somebody may still want to read.
    """

    def __init__(self, inner: io.RawIOBase) -> None:
        self._inner = inner
        self._is_open = True
        self.is_lost = False

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: Any) -> int | None:  # noqa: ANN401 - any buffer
        """Write, or drop what can be written no more."""
        if self._is_open:
            try:
                return self._inner.write(data)
            except OSError as error:
                self._is_open = False
                self.is_lost = error.errno != errno.EPIPE  # else its reader has left
        return len(data)

    def fileno(self) -> int:
        """Give the file descriptor."""
        return self._inner.fileno()

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return self._inner.isatty()


def _fill_gaps() -> None:
    """Open what was closed by the caller: else a journal might get the number of the output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w" if number else "r", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
            setattr(sys, name, nowhere)
            setattr(sys, f"__{name}__", nowhere)


def _outlast(name: str) -> Lasting | None:
    """Put a lasting output in place of a standard one."""
    usual = getattr(sys, name)
    if not isinstance(usual, io.TextIOWrapper):
        return None
    inner: Any = getattr(usual.buffer, "raw", usual.buffer)
    output = Lasting(inner)
    text = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=usual.encoding,
        errors="backslashreplace",  # a name that is no UTF-8 can be told all the same
        line_buffering=usual.line_buffering or usual.write_through,
    )
    setattr(sys, name, text)
    return output
