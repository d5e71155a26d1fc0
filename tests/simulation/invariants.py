"""What must hold at every request that leaves, every pay that takes effect and every journal write.

It keeps its own books of the journal's events and of what truly happened; it trusts neither the
machine nor the driver. What it finds ends the run.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from billblend_async.core.events import (
    Acknowledged,
    Approved,
    CalledBack,
    Checked,
    CheckNotSent,
    CheckRefused,
    CheckStarted,
    Closed,
    Event,
    Finished,
    NotSeen,
    Opened,
    PayAccepted,
    PayNotSent,
    PayRefused,
    PayStarted,
    RedirectRequired,
    Rejected,
    Released,
    TurnedAway,
    Withdrawn,
)
from billblend_async.core.models import Doubt, Flow, Outcome, State
from billblend_async.core.payout import Payout
from billblend_async.core.responses import is_later_transaction
from billblend_async.gateway.wire import RequestKind
from billblend_async.journal.codec import fold_events

from .gateway import Gateway
from .journal import Store
from .loop import Mortal, SeededLoop
from .manners import Manners
from .orders import FINAL_WORDS, LINKS, Order
from .sending import Send

__all__ = ["Invariants"]

_OLDEST_CLAIM: Final = 10.0
_OLDEST_REQUEST: Final = 20.0
_RELEASE_AFTER: Final = 60.0
_NOT_SEEN_FOR: Final = 30.0
_NOT_SEEN_TIMES: Final = 5


@attrs.define(eq=False)
class Claim:
    """A claim in the journal.

    Attributes:
        is_pay: Whether it may move money.
        whose: The program that wrote it.
        at: When it became durable, by the loop's clock.
        send: The request that left on it.
        is_back: Whether it was taken back.
    """

    is_pay: bool
    whose: Mortal
    at: float
    send: Send | None = None
    is_back: bool = False

    def is_for(self, send: Send) -> bool:
        """Tell whether a request may leave on it."""
        is_pay = send.kind is not RequestKind.CHECK
        is_free = self.send is None and not self.is_back
        return is_free and (self.is_pay, self.whose) == (is_pay, send.whose)


@attrs.define(eq=False)
class Books:
    """What is known of one payout, from the journal's events alone.

    Attributes:
        opened: How it was accepted.
        state: The state that the latest event left it in.
        order: The first order id that was journaled.
        is_approved: Whether a person has approved it, if it was held.
        claims: Its claims.
        allowed_checks: How many checks may have left by now.
        allowed_pays: How many pays may have left by now.
        wrong_releases: Releases by an operator who did not look at the ledger.
        not_seen: When the journal noted that no such order is known, since the last claim.
        doubt_since: When its doubt began, by the writer's wall clock.
    """

    opened: Opened
    state: State = State.NEW
    payout: Payout | None = None
    order: str | None = None
    is_approved: bool = False
    claims: list[Claim] = attrs.field(factory=list)
    allowed_checks: int = 1
    allowed_pays: int = 1
    wrong_releases: int = 0
    not_seen: list[float] = attrs.field(factory=list)
    doubt_since: float = 0.0

    def standing_claims(self, *, is_pay: bool) -> int:
        """Count the claims of a kind that were not taken back."""
        return sum(claim.is_pay == is_pay and not claim.is_back for claim in self.claims)


class Invariants(Manners):
    """Watches one world.

    Args:
        loop: The loop, which ends at the first violation.
        gateway: The truth.
        store: What is durable.
    """

    def __init__(self, loop: SeededLoop, gateway: Gateway, store: Store) -> None:
        super().__init__(loop, store)
        self._gateway = gateway
        self.books: dict[str, Books] = {}
        self.careless: set[str] = set()
        self.approving: set[str] = set()
        self.shown: dict[str, tuple[Outcome, list[str] | None]] = {}
        self.forgotten: frozenset[str] = frozenset()
        self.signed: set[tuple[str, str, str]] = set()
        self._lost: dict[str, list[Claim]] = {}
        self._forgotten: dict[str, Books] = {}

    # the gateway's side

    def sees_leaving(self, send: Send) -> None:
        """Check that a durable, fresh and unused claim of this very program stands behind it."""
        name, is_pay = send.client_orderid, send.kind is not RequestKind.CHECK
        books = self.books.get(name)
        claims = books.claims if books is not None else []
        if send.whose is not None and send.whose.was_frozen:
            # It may have stood still after its claim, and others have gone on. A head alone does
            # nothing: what follows it has to be in time, see below.
            claims = [each for each in claims if each.whose is send.whose]
        claim = claims[-1] if claims else None
        # A claim that was lost since was durable when its program was told so.
        is_ours = claim is not None and claim.is_for(send)
        lost = None if is_ours else self._lost_claim(send)
        claim = lost or claim
        if books is None and lost is None:
            self.fail("sent without being accepted", name)
            return
        if claim is None or claim.is_pay is not is_pay or claim.is_back:
            self.fail(f"{send.kind} left without a claim", name)
            return
        self.demand(claim.whose is send.whose, "sent on another program's claim", name)
        self.demand(claim.send is None, f"{send.kind} left twice on one claim", name)
        is_fresh = self._loop.now - claim.at <= _OLDEST_CLAIM
        self.demand(is_fresh or claim.whose.was_frozen, "sent on an old claim", name)
        claim.send = send
        if claim is lost or books is None:
            return
        sent = sum(
            each.is_pay == is_pay and each.send is not None and not each.is_back
            for each in books.claims
        )
        allowed = books.allowed_pays if is_pay else books.allowed_checks
        self.demand(sent <= allowed, f"{send.kind} left more often than allowed", name)
        if send.kind is RequestKind.PAY:
            approved = books.is_approved or not books.opened.held
            self.demand(approved, "pays what nobody has approved", name)
            self.demand(send.number == books.order, "pays an order that is not journaled", name)
        else:
            asked = (books.opened.amount, books.opened.currency)
            self.demand((send.amount, send.currency) == asked, "sends another amount", name)

    def sees_whole(self, send: Send, stood: float) -> None:
        """Check that what makes a request whole left in time, but for a sender that stood still.

        Args:
            send: The request.
            stood: Seconds for which its sender stood still after its last look at the clock.
        """
        books = self.books.get(send.client_orderid)
        claims = (
            *(books.claims if books is not None else ()),
            *self._lost.get(send.client_orderid, ()),
        )
        claim = next((c for c in claims if c.send is send), None)
        age = self._loop.now - (claim.at if claim is not None else 0.0) - stood
        self.demand(age <= _OLDEST_REQUEST, "made whole on an old claim", send.client_orderid)

    def sees_paid(self, order: Order, send: Send) -> None:
        """Check that nobody is paid twice, and nothing but what was asked for."""
        name = order.client_orderid
        books = self.books.get(name) or self._forgotten[name]
        most = 1 + books.wrong_releases
        self.demand(self._gateway.paid[name] <= most, "paid twice", name)
        self.demand(not order.is_foreign, "paid a foreign order", name)
        gone = books.state in (State.REJECTED, State.WITHDRAWN)
        self.demand(not gone, f"paid although {books.state.value}", name)
        is_lost = any(claim.send is send for claim in self._lost.get(name, ()))
        if send.kind is RequestKind.PAY and not is_lost:
            self.demand(order.number == books.order, "paid an order that is not journaled", name)
            self.demand(not order.is_misread, "paid another amount", name)

    # what a standby has forgotten

    def copy_books(self) -> dict[str, tuple[Books, list[bool]]]:
        """Copy the books as they are now, and which claims were taken back by now."""
        return {
            name: (
                attrs.evolve(books, claims=list(books.claims), not_seen=list(books.not_seen)),
                [claim.is_back for claim in books.claims],
            )
            for name, books in self.books.items()
        }

    def rewind(self, copy: dict[str, tuple[Books, list[bool]]]) -> None:
        """Go back to earlier books, but for what has happened in the world since."""
        for name, books in self.books.items():
            before, backs = copy.get(name, (None, []))
            self._lost.setdefault(name, []).extend(books.claims[len(backs) :])
            self._forgotten[name] = books
            if before is None or before.payout != books.payout:
                self.forgotten_by_server.add(name)
            if before is not None:
                before.wrong_releases = books.wrong_releases
                for claim, is_back in zip(before.claims, backs, strict=True):
                    claim.is_back = is_back
        self.books = {name: books for name, (books, _) in copy.items()}

    def _lost_claim(self, send: Send) -> Claim | None:
        lost = self._lost.get(send.client_orderid, ())
        return next((claim for claim in lost if claim.is_for(send)), None)

    # the journal's side

    def sees_opened(self, opened: Opened) -> None:
        """Open the books of a payout."""
        self.books[opened.client_orderid] = Books(opened)

    def sees_event(self, payout: Payout, event: Event, whose: Mortal) -> None:
        """Check an event against the books, then enter it."""
        books, name = self.books[payout.client_orderid], payout.client_orderid
        if books.state.is_terminal:
            self._after_the_end(books, payout, event)
        if payout.state is State.FINAL and books.state is not State.FINAL:
            self.demand(isinstance(event, Finished), "final without a status answer", name)
        is_early = isinstance(event, Acknowledged) and not books.state.is_terminal
        self.demand(not is_early, "acknowledged before it was finished", name)
        match event:
            case CheckStarted() | PayStarted():
                self._claimed(books, payout, event, whose)
            case CheckNotSent() | PayNotSent():
                self._taken_back(books, payout, event, whose)
            case NotSeen(at=at):
                self._not_seen(books, payout, at)
            case Finished() if is_later_transaction(event.transaction_type, event.order_stage):
                order = self._gateway.orders.get(event.paynet_order_id)
                told_later = order is not None and order.has_told_later
                self.demand(told_later, "a reversal, which no status answer has told", name)
                self.demand(payout.state is books.state, "a reversal moved a payout", name)
            case Approved():
                self.demand(name in self.approving, "approved by nobody", name)
                books.is_approved = True
            case CalledBack(status=status):
                is_genuine = (str(status), books.order, name) in self.signed
                self.demand(is_genuine, "a hint that the gateway never gave", name)
                self.demand(payout.state is books.state, "a callback moved a payout", name)
            case Checked() | PayAccepted() | Finished():
                self._named(books, payout, event)
            case Rejected() | CheckRefused() | PayRefused() | TurnedAway():
                claim = books.claims[-1] if books.claims else None
                if claim is None or claim.send not in self._gateway.refused:
                    self.fail("refused, which nobody has said of the last send", name)
                elif isinstance(event, TurnedAway):
                    claim.is_back = True  # what was refused may be sent again
            case RedirectRequired(redirect_to=link):
                self.demand(link in LINKS, "a link that is not safe", name)
            case Released() | Closed() | Withdrawn():
                self._decided(books, payout, event)
            case _:
                pass
        if books.state is State.AWAITING_RECEIVER:
            self.sees_leaving_link(books.payout, payout, whose)
        left = books.state is State.ATTENTION and payout.state in (State.NEW, State.VALIDATED)
        self.demand(not left or isinstance(event, Released), "re-armed without a release", name)
        if payout.state is State.ATTENTION:
            self.demand(payout.doubt is not None, "in Attention without a doubt", name)
            if books.state is not State.ATTENTION:
                books.doubt_since = event.at
        books.state, books.payout = payout.state, payout

    def _claimed(
        self, books: Books, payout: Payout, event: CheckStarted | PayStarted, whose: Mortal
    ) -> None:
        name, is_pay = payout.client_orderid, isinstance(event, PayStarted)
        rests = books.state in (State.NEW, State.VALIDATED)
        self.demand(rests, f"claimed while {books.state.value}", name)
        books.claims.append(Claim(is_pay, whose, self._loop.now))
        allowed = books.allowed_pays if is_pay else books.allowed_checks
        claimed = books.standing_claims(is_pay=is_pay)
        self.demand(claimed <= allowed, "claimed again without proof or release", name)
        books.not_seen.clear()

    def _taken_back(
        self, books: Books, payout: Payout, event: CheckNotSent | PayNotSent, whose: Mortal
    ) -> None:
        name, is_pay = payout.client_orderid, isinstance(event, PayNotSent)
        claim = books.claims[-1] if books.claims else None
        if claim is None or claim.is_pay is not is_pay or claim.is_back:
            self.fail("a claim that is not there was taken back", name)
            return
        self.demand(claim.whose is whose, "another program's claim was taken back", name)
        self.demand(claim.send is None, "a claim was taken back although it left", name)
        claim.is_back = True

    def _not_seen(self, books: Books, payout: Payout, at: float) -> None:
        name = payout.client_orderid
        if books.not_seen and at < books.not_seen[0]:
            books.not_seen.clear()  # the clock was set back: what was counted began in the future
        books.not_seen.append(at)
        since = books.claims[-1].at if books.claims else 0.0
        answers = sum(told >= since for told in self._gateway.not_found.get(name, ()))
        self.demand(len(books.not_seen) <= answers, "not seen, which nobody has said", name)
        doubted = books.state in (State.CHECKING, State.PAYING)
        if doubted and payout.state is not books.state:
            long = at - books.not_seen[0] >= _NOT_SEEN_FOR
            enough = len(books.not_seen) >= _NOT_SEEN_TIMES and long
            self.demand(enough, "given up without definite answers", name)
            books.allowed_checks += books.state is State.CHECKING

    def _named(self, books: Books, payout: Payout, event: Checked | PayAccepted | Finished) -> None:
        name, number = payout.client_orderid, payout.paynet_order_id
        if number is None:
            return
        order = self._gateway.orders.get(number)
        if order is None or order.client_orderid != name:
            self.fail("an order that is not ours", name)
            return
        self.demand(books.order in (None, number), "the order id was replaced", name)
        self.demand(not order.is_foreign, "a foreign order was adopted", name)
        books.order = number
        if payout.state is State.FINAL and books.state is not State.FINAL:
            status = str(payout.status)
            self.demand(status in order.told, "final, which no status answer has said", name)
            if not order.told - {order.standing(self._loop.now).word}:
                truth = order.standing(self._loop.now).word
                self.demand(status == truth, "told another end than the ledger's", name)
            is_claimed = books.standing_claims(is_pay=True) or self._lost.get(name)
            unpaid = status == "approved" and not is_claimed
            self.demand(not unpaid, "approved before pay was taken for an end", name)

    def _decided(self, books: Books, payout: Payout, event: Released | Closed | Withdrawn) -> None:
        name = payout.client_orderid
        if isinstance(event, Withdrawn):
            paying = books.standing_claims(is_pay=True)
            self.demand(not paying, "withdrawn after pay was started", name)
            return
        self.demand(books.state is State.ATTENTION, "decided outside Attention", name)
        if isinstance(event, Closed):
            return
        doubt = books.payout.doubt if books.payout is not None else None
        self.demand(doubt is not Doubt.APPROVED_BEFORE_PAY, "released what others paid", name)
        waited = event.at - books.doubt_since
        self.demand(waited >= _RELEASE_AFTER, "released within a minute", name)
        one_step = books.opened.flow is Flow.ONE_STEP
        if payout.state is State.NEW and not one_step:
            books.allowed_checks = books.standing_claims(is_pay=False) + 1
        elif payout.state in (State.NEW, State.VALIDATED):
            books.allowed_pays = books.standing_claims(is_pay=True) + 1
            books.wrong_releases += name in self.careless
        self.careless.discard(name)

    def _after_the_end(self, books: Books, payout: Payout, event: Event) -> None:
        """Check that nothing moves, and that what is odd is told of until somebody has seen it."""
        name, before = payout.client_orderid, books.payout
        if before is None:
            self.fail("finished before anything happened", name)
            return
        kept = (payout.state, payout.status) == (before.state, before.status)
        self.demand(kept, "a terminal state moved", name)
        is_odd = bool(payout.open_alarms) or payout.needs_reconciliation
        if not isinstance(event, Acknowledged):
            self.demand(is_odd, "odd, and nobody is told of it", name)
            return
        was_odd = bool(before.open_alarms) or before.needs_reconciliation
        self.demand(was_odd, "acknowledged although nothing was odd", name)
        self._acknowledged(before, payout, event)
        same = attrs.evolve(
            payout,
            sequence=before.sequence,
            findings=before.findings,
            is_reconciled=before.is_reconciled,
            decisions=before.decisions,
        )
        self.demand(same == before, "an acknowledgement changed more than that", name)

    def _acknowledged(self, before: Payout, payout: Payout, event: Acknowledged) -> None:
        """Check that who acknowledged took note of what they were shown and chose, and no more."""
        name, (shown, alarms) = payout.client_orderid, self.shown[event.who]
        was_shown = {
            each.number
            for each in before.open_findings
            if each.number <= shown.sequence and (alarms is None or each.alarm in alarms)
        }
        left = {each.number for each in before.open_findings} - was_shown
        is_left = left == {each.number for each in payout.open_findings}
        self.demand(is_left, "acknowledged otherwise than shown", name)
        is_noted = shown.needs_reconciliation and (alarms is None or "error" in alarms)
        is_left = before.needs_reconciliation and not is_noted
        self.demand(payout.needs_reconciliation is is_left, "another error was noted", name)

    # what callers hear, and the end

    def sees_outcome(self, outcome: Outcome) -> None:
        """Check that what a caller hears is durable."""
        name = outcome.client_orderid
        payout = self._store.payouts.get(name)
        if payout is None or outcome.problem is not None:
            return
        if outcome.is_finished:
            same = (outcome.state, outcome.status) == (payout.state, payout.status)
            self.demand_durable(same, "told an end that is not durable", name)
        if outcome.redirect_to is not None:
            links = [e for e in self._store.events[name] if isinstance(e, RedirectRequired)]
            known = any(outcome.redirect_to == event.redirect_to for event in links)
            self.demand_durable(known, "told a link that is not durable", name)

    def has_ended(self, payout: Payout) -> bool:
        """Tell whether nothing but a person can lead a payout on."""
        waits = payout.held and payout.state is State.VALIDATED
        is_forgotten = waits and payout.client_orderid in self.forgotten
        return payout.state.is_terminal or payout.state is State.ATTENTION or is_forgotten

    def check_end(self, names: Iterable[str], *, is_calm: bool) -> None:
        """Check the whole after a quiet period."""
        for name in names:
            books, payout = self.books.get(name), self._store.payouts.get(name)
            if books is None or payout is None:
                self.fail("lost: never accepted", name)
                continue
            self.demand(
                self.has_ended(payout), f"after the quiet it is still {payout.state.value}", name
            )
            folded = fold_events(name, self._store.events[name])
            self.demand(folded == payout, "the events fold to something else", name)
            paid = self._gateway.paid[name]
            is_unapproved = payout.held and not self._lost.get(name)
            unpaid = is_unapproved or payout.state in (State.REJECTED, State.WITHDRAWN)
            self.demand(not (unpaid and paid), "told unpaid although it was paid", name)
            if payout.state is State.FINAL:
                self._check_final(payout)
            if is_calm:
                self.demand(payout.state is State.FINAL, "no end in calm weather", name)
                self.demand(paid == 1, "not paid once in calm weather", name)

    def _check_final(self, payout: Payout) -> None:
        order = self._gateway.orders[payout.paynet_order_id or ""]
        truth = order.standing(self._loop.now).word
        if not order.told - {truth}:
            self.demand(payout.status == truth, "told another end", payout.client_orderid)
        self.demand(payout.status in FINAL_WORDS, "an end that is none", payout.client_orderid)
