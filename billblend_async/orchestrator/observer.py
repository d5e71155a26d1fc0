"""What a host is told while payouts run: subclass ``Observer`` and override what you need.

An observer is called in the event loop, between two steps of a payout, so it must be quick: count,
append, hand over to a queue, and never wait. What it raises is logged and changes nothing. It is
told values that hold no personal data; ``payout.redirect_to`` alone is for the receiver's eyes.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

from ..core.events import Event
from ..core.payout import Payout

__all__ = ["Command", "Listener", "Observer", "Observers", "SendEnd", "StatusEnd"]

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
