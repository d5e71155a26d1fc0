"""Tells the log and the host's observers what happens to payouts; nothing of that can fail one."""

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..core.commands import Check, Pay, PayOut
from ..core.events import Event
from ..core.logs import fields_of
from ..core.models import State
from ..core.payout import Payout
from ..core.responses import (
    Accepted,
    NotFound,
    NotSent,
    Refused,
    SendAnswer,
    Status,
    StatusAnswer,
    StatusReport,
)
from .observer import Command, Listener, Observer, Observers, SendEnd, StatusEnd

__all__ = ["Monitor"]

log = logging.getLogger("billblend_async.monitor")

_Hook = Callable[..., object]


class Monitor:
    """Those who are told what happens to the payouts of one orchestrator.

    Only what an observer overrides is called, so that what nobody wants to hear costs nothing.

    Args:
        observers: The host's; None for none.

    Raises:
        TypeError: One of them cannot be told anything.
    """

    __slots__ = ("_asked", "_changed", "_joined", "_left", "_overtaken", "_sent")

    def __init__(self, observers: Observers | None = None) -> None:
        listeners = [_checked(listener) for listener in _each(observers)]
        self._joined = _hooks(listeners, "joined")
        self._changed = _hooks(listeners, "changed")
        self._overtaken = _hooks(listeners, "overtaken")
        self._asked = _hooks(listeners, "asked")
        self._sent = _hooks(listeners, "sent")
        self._left = _hooks(listeners, "left")

    def joined(self, payout: Payout) -> None:
        """Tell that this process begins to drive a payout."""
        for hook in self._joined:
            _call(hook, payout)

    def changed(self, payout: Payout, event: Event, before: Payout | None) -> None:
        """Tell of a change that is durable; before it the payout was another, or not there."""
        try:
            _log_change(payout, event, before)
        except Exception as error:  # noqa: BLE001 - the host's filters may raise anything
            _complain(payout, "the log", error)
        for hook in self._changed:
            _call(hook, payout, event)

    def overtaken(self, payout: Payout) -> None:
        """Tell that another process has led a payout on."""
        for hook in self._overtaken:
            _call(hook, payout)

    def asked(self, payout: Payout, answer: StatusAnswer, seconds: float, late: float) -> None:
        """Tell how a status request ended."""
        for hook in self._asked:
            _call(hook, payout, _status_end(answer), seconds, late)

    def sent(
        self, payout: Payout, command: Check | Pay | PayOut, answer: SendAnswer, seconds: float
    ) -> None:
        """Tell how a request that may move money ended."""
        for hook in self._sent:
            _call(hook, payout, _word(command), _send_end(answer), seconds)

    def left(self, payout: Payout) -> None:
        """Tell that this process ceases to drive a payout."""
        for hook in self._left:
            _call(hook, payout)


def _each(observers: Observers | None) -> Iterable[Listener]:
    if observers is None:
        return ()
    if isinstance(observers, Sequence):
        return observers
    return (observers,)


def _checked(listener: Any) -> Listener:  # noqa: ANN401 - whatever the host hands in
    """Refuse what could never be told anything, and say why."""
    if isinstance(listener, type) and issubclass(listener, Observer):
        raise TypeError(f"observer: give an object, {listener.__name__}(), and not its class")
    accepted: Listener = listener
    if not isinstance(accepted, Observer) and not callable(accepted):
        raise TypeError(f"observer: {type(listener).__name__} is neither an Observer nor callable")
    for hook in _all_hooks(accepted):
        if inspect.iscoroutinefunction(hook):
            raise TypeError("observer: it is told and not awaited, so it cannot be async")
    return accepted


def _all_hooks(listener: Listener) -> list[Any]:
    if not isinstance(listener, Observer):
        return [listener]
    names = ("joined", "changed", "overtaken", "asked", "sent", "left")
    return [getattr(listener, name) for name in names]


def _hooks(listeners: Iterable[Listener], name: str) -> tuple[_Hook, ...]:
    """Give what must be called to tell everybody who wants to hear it."""
    hooks: list[_Hook] = []
    for listener in listeners:
        if not isinstance(listener, Observer):
            if name == "changed":
                hooks.append(listener)
        elif getattr(type(listener), name, None) is not getattr(Observer, name):
            hooks.append(getattr(listener, name))
    return tuple(hooks)


def _call(hook: _Hook, payout: Payout, *told: object) -> None:
    """Tell one observer; the payout goes on whatever it raises."""
    try:
        hook(payout, *told)
    except (KeyboardInterrupt, SystemExit):
        raise  # the whole program ends, and what is on record suffices to go on
    except BaseException as error:  # noqa: BLE001 - the host's code may raise anything
        _complain(payout, "an observer", error)


def _complain(payout: Payout, whose: str, error: BaseException) -> None:
    # Its class alone: its text may hold what it was told.
    failed = type(error).__name__
    with contextlib.suppress(Exception):  # a log that fails cannot be told of it
        log.error(
            "payout %s: %s failed: %s; the payout goes on",
            payout.client_orderid,
            whose,
            failed,
            extra=fields_of(payout, reason=failed),
        )


def _log_change(payout: Payout, event: Event, before: Payout | None) -> None:
    """Log a change: what needs a person louder than an end, and that louder than the rest."""
    level, message, *words = _summary(payout, event, before)
    if log.isEnabledFor(level):
        log.log(level, message, payout.client_orderid, *words, extra=fields_of(payout, event))


def _summary(payout: Payout, event: Event, before: Payout | None) -> tuple[Any, ...]:
    """Give the level, the message and what stands in it after the client_orderid."""
    if before is not None and len(payout.findings) > len(before.findings):
        return logging.WARNING, "payout %s: alarm: %s", payout.findings[-1].alarm
    is_moved = before is None or before.state is not payout.state
    if is_moved and payout.state is State.ATTENTION:
        return logging.WARNING, "payout %s needs a person: %s", payout.doubt
    if is_moved and payout.state.is_terminal:
        # What became of the money the gateway does not say with the status error.
        level = logging.WARNING if payout.status == Status.ERROR else logging.INFO
        return level, "payout %s has ended: %s", payout.status or payout.state
    return logging.DEBUG, "payout %s: %s -> %s", type(event).__name__, payout.state


def _word(command: Check | Pay | PayOut) -> Command:
    match command:
        case Check():
            return "payout-check"
        case Pay():
            return "payout-pay"
        case _:
            return "payout"


def _send_end(answer: SendAnswer) -> SendEnd:
    match answer:
        case Accepted():
            return "accepted"
        case Refused():
            return "refused"
        case NotSent():
            return "not-sent"
        case _:
            return "unknown"


def _status_end(answer: StatusAnswer) -> StatusEnd:
    match answer:
        case StatusReport():
            return "report"
        case NotFound():
            return "not-found"
        case _:
            return "no-answer"
