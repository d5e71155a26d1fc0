"""How programs must behave towards the gateway and towards those whom they tell something.

What is demanded here needs no books: only what is durable, and who did what before.
"""

from typing import Final, Protocol, runtime_checkable

from billblend_async.core.events import (
    Approved,
    CalledBack,
    Event,
    Opened,
    RedirectRequired,
    Released,
)
from billblend_async.core.models import State
from billblend_async.core.payout import Payout
from billblend_async.core.responses import Callback
from billblend_async.orchestrator.observer import Notice

from .journal import Store
from .loop import Mortal, SeededLoop

__all__ = ["Manners", "Violation"]

_NEWS: Final = (Opened, Approved, CalledBack, Released)
_ROUNDED: Final = 1e-6
_AFTER_NEWS: Final = 0.25 - _ROUNDED
"""Seconds between two questions, whatever happens."""
_WITHOUT_NEWS: Final = 1.0 - _ROUNDED
"""Likewise, when no callback has told news and nobody has begun or ceased to run the payout."""


@runtime_checkable
class Running(Protocol):
    """A program that knows what it runs."""

    def is_running(self, client_orderid: str) -> bool:
        """Tell whether somebody in this program runs a payout."""
        ...


class Violation(AssertionError):
    """A rule was broken."""


class Manners:
    """Watches what the programs of one world ask, hand over, acknowledge and tell.

    Args:
        loop: The loop, which ends at the first violation.
        store: What is durable.
    """

    def __init__(self, loop: SeededLoop, store: Store) -> None:
        self._loop = loop
        self._store = store
        self._questions: dict[tuple[Mortal, str], float] = {}
        self._news: dict[str, float] = {}
        self._links: dict[tuple[Mortal, str], str] = {}
        self._handed_over: set[tuple[Mortal, str, str]] = set()
        self.forgotten_by_server: set[str] = set()

    def demand(self, holds: object, rule: str, client_orderid: str) -> None:
        """End the run when a rule does not hold."""
        if not holds and self._loop.verdict is None:
            self._loop.verdict = Violation(f"{rule} ({client_orderid})")

    def demand_durable(self, holds: object, rule: str, client_orderid: str) -> None:
        """Likewise, but for what was durable until a standby without it took over."""
        self.demand(holds or client_orderid in self.forgotten_by_server, rule, client_orderid)

    def fail(self, rule: str, client_orderid: str) -> None:
        """End the run."""
        self.demand(None, rule, client_orderid)

    def sees_calling(self, client_orderid: str, whose: Mortal, *, is_send: bool) -> None:
        """Check that what is sent is sent by whoever runs it, and questions are a second apart."""
        if is_send:
            runs = isinstance(whose, Running) and whose.is_running(client_orderid)
            self.demand(runs, "sent what nobody runs", client_orderid)
            self.sees_reason_to_ask(client_orderid)  # about the claim, which another may have won
            return
        now, last = self._loop.now, self._questions.get((whose, client_orderid))
        if last is not None:
            is_news = self._news.get(client_orderid, -1.0) >= last
            self.demand(now - last >= _AFTER_NEWS, "two questions at once", client_orderid)
            calm = is_news or now - last >= _WITHOUT_NEWS
            self.demand(calm, "two questions within a second", client_orderid)
        self._questions[whose, client_orderid] = now

    def sees_reason_to_ask(self, client_orderid: str) -> None:
        """Take note of what makes a question worth asking soon."""
        self._news[client_orderid] = self._loop.now

    def sees_known(self, event: Event, client_orderid: str, whose: Mortal) -> None:
        """Take note of what its program knows to be durable: a link must be handed over."""
        if isinstance(event, _NEWS):
            self.sees_reason_to_ask(client_orderid)
        if isinstance(event, RedirectRequired):
            self._links[whose, client_orderid] = event.redirect_to

    def sees_leaving_link(self, last: Payout | None, payout: Payout, whose: Mortal) -> None:
        """Check that a program has handed a link over before it led the payout on."""
        name = payout.client_orderid
        before = last.redirect_to if last is not None else None
        goes = payout.state is not State.AWAITING_RECEIVER or payout.redirect_to != before
        if goes and before is not None and self._links.get((whose, name)) == before:
            handed = (whose, name, before) in self._handed_over
            self.demand(handed, "a link that was never handed over", name)

    def sees_handed_over(self, client_orderid: str, link: str, whose: Mortal) -> None:
        """Check that a link that is handed over is durable."""
        links = [
            e for e in self._store.events.get(client_orderid, ()) if isinstance(e, RedirectRequired)
        ]
        known = any(link == event.redirect_to for event in links)
        self.demand_durable(known, "handed over a link that is not durable", client_orderid)
        self._handed_over.add((whose, client_orderid, link))

    def sees_acknowledged(self, callback: Callback) -> None:
        """Check that what a callback told is durable once it is acknowledged."""
        payout = self._store.payouts.get(callback.client_orderid)
        holds = payout is not None and (
            payout.state.is_terminal
            or (
                payout.paynet_order_id == callback.paynet_order_id
                and callback.status in payout.hints
            )
        )
        self.demand_durable(holds, "acknowledged what is not durable", callback.client_orderid)

    def sees_notice(self, notice: Notice) -> None:
        """Check that what a listener hears is durable."""
        name, event = notice.outcome.client_orderid, notice.event
        is_durable = event is None or isinstance(event, Callback)
        is_durable = is_durable or event in self._store.events.get(name, ())
        self.demand_durable(is_durable, "told what is not durable", name)
