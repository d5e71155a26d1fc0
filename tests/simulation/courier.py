"""The gateway's callbacks: sent, lost, late and repeated, and forged by whoever has seen one.

What is delivered is what a valid control could carry. Of an order the gateway signs only the words
that it has truly come to, of the payout and of what came after it; ``signed`` holds them. An
adversary repeats what was signed, says that it is about something else, or, beyond what any control
allows, tells a word that never was or pairs the ids of two payouts.

Hosts get what a control has already been verified for; over the wire many of them verify it
themselves, in a real query.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final, Protocol

import attrs

from billblend_async.core.responses import Callback, Status

from .fate import Fate
from .gateway import Gateway
from .loop import SeededLoop
from .orders import FINAL_WORDS, Order

__all__ = ["Courier", "Host"]

_MOST_ATTEMPTS: Final = 10
_PATIENCE: Final = 60.0
"""Seconds that the gateway waits for the answer to a callback."""
_AGAIN: Final = 503
_LATER: Final = ("reversal", "chargeback")


class Host(Protocol):
    """A program that callbacks can be delivered to."""

    @property
    def takes_callbacks(self) -> bool:
        """Whether it is there."""
        ...

    def receive(self, callback: Callback) -> "asyncio.Task[int]":
        """Take a callback in and tell the HTTP status that it is answered with."""
        ...


@attrs.define(eq=False)
class Letter:
    """A callback on its way.

    Attributes:
        callback: What it says.
        is_forged: Whether the adversary sends it, who tries once.
        attempts: How often it was sent.
        is_settled: Whether the present attempt has come to its end.
    """

    callback: Callback
    is_forged: bool = False
    attempts: int = 0
    is_settled: bool = True


class Courier:
    """Sends the callbacks of one gateway to whatever program is alive.

    Args:
        name: Decides every draw.
        loop: The loop.
        fate: What goes wrong.
        gateway: The model.
        hosts: Lists the programs.

    Attributes:
        signed: Status, order id and client_orderid of every control that the gateway made.
    """

    def __init__(
        self,
        name: str,
        loop: SeededLoop,
        fate: Fate,
        gateway: Gateway,
        hosts: Callable[[], list[Host]],
    ) -> None:
        self._random = random.Random(f"{name}/courier")
        self._loop = loop
        self._fate = fate
        self._gateway = gateway
        self._hosts = hosts
        self._sent: set[tuple[str, str]] = set()
        self.signed: set[tuple[str, str, str]] = set()
        if "callbacks" in fate.faults:
            gateway.announce_by(self.watch)

    def watch(self, order: Order) -> None:
        """Look at an order again when it comes to its next end, and now and then before."""
        now, at = self._loop.now, order.final_at()
        for ends_at in (at, order.later_at()):
            if ends_at is not None:
                self._later(max(0.0, ends_at - now), self._look, order)
        if self._strikes("calls-unknown"):
            self._later(self._random.uniform(0.0, 40.0), self._waver, order)

    def _look(self, order: Order) -> None:
        now = self._loop.now
        word = order.standing(now).word
        if word in FINAL_WORDS:
            self._sign(order, word, "payout")
        later_at = order.later_at()
        if later_at is not None and now >= later_at and order.later is not None:
            self._sign(order, order.later_word, order.later)

    def _waver(self, order: Order) -> None:
        self._sign(order, "unknown", "payout")

    def _sign(self, order: Order, word: str, about: str) -> None:
        """Let the gateway send a callback, once for each end."""
        if (order.number, about + word) in self._sent:
            return
        self._sent.add((order.number, about + word))
        self.signed.add((word, order.number, order.client_orderid))
        callback = Callback(
            status=Status(word),
            paynet_order_id=order.number,
            client_orderid=order.client_orderid,
            transaction_type=self._random.choice((about, about, about.upper())),
        )
        self._fate.note(self._loop.now, f"calls back {callback}")
        if self._strikes("lost"):
            self._hit("lost")
        else:
            for _ in range(1 + self._counts("repeated")):
                self._post(Letter(callback), self._delay())
        self._forge(order, callback)

    def _delay(self) -> float:
        """Say how long a callback travels: mostly it overtakes the answer to a question."""
        if self._strikes("late"):
            self._hit("late")
            return self._random.choice((30.0, 600.0, 7200.0)) * self._random.random()
        return self._random.choice((0.0, 0.05, 1.0)) * self._random.random()

    def _forge(self, order: Order, genuine: Callback) -> None:
        """Let the adversary make something of what it has seen."""
        forged: list[Callback] = []
        if self._counts("replayed"):
            forged += [genuine] * self._random.choice((1, 4, 12))
        if self._counts("type-swapped"):
            swap = "payout" if genuine.is_later_transaction else self._random.choice(_LATER)
            forged.append(attrs.evolve(genuine, transaction_type=swap))
        if self._counts("never-true"):
            word = self._random.choice(sorted(FINAL_WORDS))
            kind = self._random.choice(_LATER)
            forged.append(attrs.evolve(genuine, status=Status(word), transaction_type=kind))
        if self._counts("shifted"):
            word, number = str(genuine.status), genuine.paynet_order_id
            # Status and ids are signed without a separator between them.
            word, number = word + number[0], number[1:]
            forged.append(attrs.evolve(genuine, status=Status(word), paynet_order_id=number))
        others = [
            o for o in self._gateway.orders.values() if o.client_orderid != order.client_orderid
        ]
        if others and self._counts("mispaired"):
            other = self._random.choice(others)
            forged.append(attrs.evolve(genuine, paynet_order_id=other.number))
            forged.append(attrs.evolve(genuine, client_orderid=other.client_orderid))
        begins, width = self._delay(), self._random.choice((0.3, 3.0, 300.0))
        for callback in forged:
            self._post(Letter(callback, is_forged=True), begins + width * self._random.random())

    def _post(self, letter: Letter, delay: float) -> None:
        self._later(delay, self._attempt, letter)

    def _attempt(self, letter: Letter) -> None:
        """Deliver to one of the programs that are alive; the gateway hears of none that dies."""
        letter.attempts += 1
        hosts = [host for host in self._hosts() if host.takes_callbacks]
        if not hosts:
            self._hit("nobody-there")
            self._settle(letter, _AGAIN)
            return
        letter.is_settled = False
        attempt = letter.attempts
        task = self._random.choice(hosts).receive(letter.callback)
        if self._counts("hangs-up"):
            self._later(self._random.choice((0.0, 0.2, 10.0)) * self._random.random(), task.cancel)
        task.add_done_callback(
            lambda told: self._answered(letter, attempt, told), context=self._gateway.context
        )
        self._later(_PATIENCE, self._give_up_waiting, letter, attempt)

    def _answered(self, letter: Letter, attempt: int, told: "asyncio.Task[int]") -> None:
        if attempt == letter.attempts and not letter.is_settled:
            self._settle(letter, _AGAIN if told.cancelled() else told.result())

    def _give_up_waiting(self, letter: Letter, attempt: int) -> None:
        if attempt == letter.attempts and not letter.is_settled:
            self._settle(letter, _AGAIN)

    def _settle(self, letter: Letter, status: int) -> None:
        letter.is_settled = True
        kind = "forged" if letter.is_forged else "genuine"
        self._hit(f"{kind}-{status}")
        if status == _AGAIN and letter.attempts < _MOST_ATTEMPTS and not letter.is_forged:
            pause: float = 4.0 * 2**letter.attempts * self._random.uniform(0.5, 1.5)
            self._post(letter, pause)

    def _strikes(self, fault: str) -> bool:
        chance = self._fate.faults.get(fault, 0.0)
        return not self._fate.is_quiet and self._random.random() < chance

    def _counts(self, fault: str) -> bool:
        """Draw and count a fault that takes effect at once."""
        strikes = self._strikes(fault)
        if strikes:
            self._hit(fault)
        return strikes

    def _hit(self, fault: str) -> None:
        self._fate.hit("callback", fault)

    def _later(self, seconds: float, happens: Callable[..., object], *args: object) -> None:
        self._gateway.later(seconds, happens, *args)
