"""What a host is told while payouts run: observers, the stream of events, and the redirect hook.

Subclass ``Observer`` and override what you need. An observer is called in the event loop, between
two steps of a payout, so it must be quick: count, append, hand over to a queue, and never wait.
What it raises is logged and changes nothing. It is given values without personal data;
``payout.redirect_to`` alone is for the receiver's eyes.

``Feed`` is bounded and hears what is durable already. ``Redirects`` hands each link to the host
once it is durable, and again until the host has taken it.
"""

import asyncio
import contextlib
import inspect
import logging
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Literal, Protocol, Self, runtime_checkable

import attrs

from ..core.events import Event
from ..core.machine import Check, Pay, PayOut
from ..core.models import Outcome, State
from ..core.payout import Payout, fields, fields_of
from ..core.responses import (
    Accepted,
    Callback,
    NotFound,
    NotSent,
    Refused,
    SendAnswer,
    Status,
    StatusAnswer,
    StatusReport,
)
from ..errors import EventsMissed

__all__ = [
    "Command",
    "Events",
    "Feed",
    "Listener",
    "Monitor",
    "Notice",
    "Observer",
    "Observers",
    "OnRedirect",
    "Redirects",
    "SendEnd",
    "StatusEnd",
]

Command = Literal["payout-check", "payout-pay", "payout"]
"""A request that may move money, in the gateway's words."""
SendEnd = Literal["accepted", "refused", "not-sent", "unknown"]
"""The four ends of a request that may move money."""
StatusEnd = Literal["report", "not-found", "no-answer"]
"""The three ends of a status request."""


@runtime_checkable
class Observer(Protocol):
    """Told what happens to payouts; every method does nothing until it is overridden.

    Subclass it, so that what a later version tells more does nothing either.
    """

    def joined(self, payout: Payout) -> None:
        """Hear that this process begins to drive a payout: to run it, step it or decide on it.

        It is called in the task of whoever runs the payout, with the context of that task.
        """
        return

    def changed(self, payout: Payout, event: Event) -> None:
        """Hear of a change that this process has made durable.

        Args:
            payout: As the event has left it.
            event: What happened.
        """
        return

    def overtaken(self, payout: Payout) -> None:
        """Hear that another process, which shares the journal, has led a payout on to here."""
        return

    def asked(self, payout: Payout, answer: StatusEnd, seconds: float, late: float) -> None:
        """Hear how a status request ended, before what it brought is recorded.

        Args:
            payout: As it was asked about.
            answer: What the answer was.
            seconds: From the question to its answer, with the wait for a free connection.
            late: Seconds that it left after it was due, with the wait for a free connection. Where
                it grows, the event loop is busy or ``max_polls`` is too small.
        """
        return

    def sent(self, payout: Payout, command: Command, answer: SendEnd, seconds: float) -> None:
        """Hear how a request that may move money ended, once that is recorded.

        Args:
            payout: As the answer has left it.
            command: What was sent.
            answer: How it ended.
            seconds: From its claim, right before its first byte, to its answer; 0 for one that
                never came so far.
        """
        return

    def left(self, payout: Payout) -> None:
        """Hear that this process ceases to drive a payout: finished, handed back or cancelled.

        The answer to a request that was under way can still come afterwards, as a change.
        """
        return


Listener = Observer | Callable[[Payout, Event], None]
"""One observer, or a function that is told what ``Observer.changed`` is told."""
Observers = Listener | Sequence[Listener]
"""One observer, or several, which are told in their order."""


LONGEST_QUEUE: Final = 10_000
"""Notices that wait for a listener before it has missed some."""


@attrs.frozen
class Notice:
    """A change of one payout.

    Attributes:
        outcome: Where it stands after the change.
        event: What happened: an event that is in the journal; a ``Callback`` about a later
            transaction, such as a reversal, of which only status and ids are signed; or None when
            another process has led the payout on.
    """

    outcome: Outcome
    event: Event | Callback | None


class Events(AsyncIterator[Notice]):
    """Notices from the moment it was made, until the orchestrator closes.

    Iterate over it from one task. ``close`` it, or use it inside ``with``, to stop listening early.
    """

    def __init__(self, feed: "Feed", client_orderid: str | None) -> None:
        self._feed = feed
        self._client_orderid = client_orderid
        self._queue: asyncio.Queue[Notice | None] = asyncio.Queue()
        self._missed = False

    def __enter__(self) -> Self:
        """Listen."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self.close()

    async def __anext__(self) -> Notice:
        """Wait for the next notice.

        Raises:
            EventsMissed: Too many waited; read where the payouts stand, and listen anew.
        """
        notice = await self._queue.get()
        if notice is not None:
            return notice
        self._queue.put_nowait(None)  # whoever asks again hears the same
        if self._missed:
            raise EventsMissed(LONGEST_QUEUE)
        raise StopAsyncIteration

    def close(self) -> None:
        """Stop listening; what has come already can still be read."""
        self._feed.leave(self)
        self._queue.put_nowait(None)

    def _hear(self, notice: Notice) -> None:
        if self._client_orderid not in (None, notice.outcome.client_orderid):
            return
        if self._queue.qsize() >= LONGEST_QUEUE:
            self._missed = True
            self.close()
            return
        self._queue.put_nowait(notice)


class Feed:
    """Those who listen to one orchestrator."""

    def __init__(self) -> None:
        # Whoever forgets to stop listening is forgotten.
        self._listeners: weakref.WeakSet[Events] = weakref.WeakSet()
        self._is_open = True

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def listen(self, client_orderid: str | None = None) -> Events:
        """Begin to listen, to all payouts or to one."""
        events = Events(self, client_orderid)
        if self._is_open:
            self._listeners.add(events)
        else:
            events.close()
        return events

    def leave(self, events: Events) -> None:
        """Let one stop listening."""
        self._listeners.discard(events)

    def tell(self, notice: Notice) -> None:
        """Tell everybody who listens."""
        for events in tuple(self._listeners):
            events._hear(notice)  # noqa: SLF001 - the two halves of one thing

    def close(self) -> None:
        """Let every listener come to an end."""
        self._is_open = False
        for events in tuple(self._listeners):
            events.close()


_redirect_log = logging.getLogger("billblend_async.redirects")

OnRedirect = Callable[[Outcome], Awaitable[None] | None]
"""Takes a link (``outcome.redirect_to``) to its receiver; called again if it raises, and after a
restart. A plain function must be quick, since the event loop waits for it."""

_REMEMBERED: Final = 100_000
"""Payouts whose links are remembered as taken: what another process has seen the end of would stay
for ever otherwise."""


@attrs.define(eq=False)
class Redirects:
    """The links that this process has handed over.

    Attributes:
        on_redirect: Takes them; None when nobody does.
    """

    on_redirect: OnRedirect | None
    _taken: OrderedDict[str, frozenset[str]] = attrs.field(
        factory=OrderedDict, init=False, repr=False
    )
    _is_open: bool = attrs.field(default=True, init=False)
    _giving: dict[tuple[str, str], asyncio.Task[None]] = attrs.field(
        factory=dict, init=False, repr=False
    )

    def show(self, outcome: Outcome) -> None:
        """Look at a payout: a link that was not handed over is, one that is over is forgotten."""
        name, link = outcome.client_orderid, outcome.redirect_to
        if outcome.state is not State.AWAITING_RECEIVER or link is None:
            self._taken.pop(name, None)
            return
        # A hook that hangs over one link does not keep the next one from its receiver.
        is_new = link not in self._taken.get(name, ()) and (name, link) not in self._giving
        if self.on_redirect and is_new and self._is_open:
            task = asyncio.create_task(self._give(outcome, link, self.on_redirect))
            self._giving[name, link] = task
            task.add_done_callback(lambda _: self._giving.pop((name, link), None))

    async def _give(self, outcome: Outcome, link: str, on_redirect: OnRedirect) -> None:
        try:
            taking = on_redirect(outcome)
            if taking is not None:
                await taking
        except Exception as error:  # noqa: BLE001 - the host's code may raise anything
            # Its class alone: its text may hold the link.
            name, failed = outcome.client_orderid, type(error).__name__
            _redirect_log.error(
                "payout %s: on_redirect failed: %s; it is called again",
                name,
                failed,
                extra=fields(name, reason=failed),
            )
        else:
            name = outcome.client_orderid
            self._taken[name] = self._taken.get(name, frozenset()) | {link}
            self._taken.move_to_end(name)
            if len(self._taken) > _REMEMBERED:
                self._taken.popitem(last=False)

    async def close(self) -> None:
        """Cancel what is still being handed over; after a restart it is handed over again."""
        self._is_open = False
        giving = tuple(self._giving.values())
        for task in giving:
            task.cancel()
        await asyncio.gather(*giving, return_exceptions=True)


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
