"""A small world around one payout: every choice that the gateway, clock, owners or a person have.

``World.successors`` gives all that can happen next; ``walks.walk`` goes breadth-first through
everything that can ever happen, until nothing new is found. The machine is the real one; the rest
is a model that is as hostile as the contract with the gateway allows, and small enough to be
finite:

- **Instants** become ages of two classes each, young and old, and each ages by itself whenever it
  likes: a payout's state (the time for doubt, and the minute before a release), a validation (10
  s), the first "no such order" (30 s), a claim (10 s).
- **The gateway** holds up to two orders. A request that was sent travels for as long as it likes,
  is lost, refused, or takes effect; pay is not idempotent; the answer may be lost too. One that
  was delivered twice takes effect and is refused all the same. The status tells any word that was
  ever true, also late; the lying gateway tells any word at any time. A gateway that misreads makes
  orders of another amount.
- **Owners** read the journal when they lose a claim, or have waited for long: until then they go on
  with what they knew. They crash at any time and forget what is not journaled.
- **A person** looks at the ledger and never releases what is paid; they press the buttons in every
  state. Nothing travels for longer than it takes a doubt to become old enough for a release:
  against a request that takes effect hours later no person could decide either.
- **A journal** may be restored, once, from a copy of any moment. Then nothing travels any more, and
  "no such order" is the truth. A person who looks at it does not know what happened after the copy,
  so they release what has no order without a look at the ledger.

What nothing depends on is left out: alarms, error texts and the number of an event.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import product
from typing import Any, Final, NamedTuple

import attrs
from payouts import opened

from billblend_async.core import machine
from billblend_async.core.events import (
    Acknowledged,
    Approved,
    CalledBack,
    CheckNotSent,
    CheckStarted,
    Closed,
    Decision,
    Event,
    PayNotSent,
    PayStarted,
    Released,
    Restored,
    Withdrawn,
)
from billblend_async.core.machine import (
    NOT_SEEN_FOR,
    Ask,
    Check,
    Command,
    Pay,
    PayOut,
    event_for,
    evolve,
    is_out_of_date,
    next_command,
)
from billblend_async.core.models import Doubt, Flow, State
from billblend_async.core.payout import FRESH_FOR, Payout, open_payout
from billblend_async.core.responses import (
    Accepted,
    NoAnswer,
    NotFound,
    Refused,
    SendAnswer,
    Status,
    StatusAnswer,
    StatusReport,
)

NOW: Final = 1_800_000_000.0
LONG_AGO: Final = NOW - 10_000.0
ORDERS: Final = ("1", "2")
WHO: Final = {"who": "ann", "why": "asked the bank"}

Send = Check | Pay | PayOut
Answer = SendAnswer | StatusAnswer


class Broken(Exception):
    """A rule was broken."""


@attrs.frozen
class Rules:
    """The rules that are tried: the real ones, or some with a bug planted.

    Attributes:
        keeps_place: Whether the journal takes each place of a log once.
        sends_old_claims: Whether an owner sends however old its claim is.
        is_out_of_date: Whether a person's decision must wait for an answer of the gateway.
    """

    next_command: Callable[[Payout, float], Command] = next_command
    event_for: Callable[[Payout, Command, Answer, float], Event | None] = event_for
    evolve: Callable[[Payout, Event], Payout] = evolve
    keeps_place: bool = True
    sends_old_claims: bool = False
    is_out_of_date: Callable[[Decision, Payout, StatusAnswer | None], bool] = is_out_of_date


class Owner(NamedTuple):
    """A process that drives the payout.

    ``wish`` is what it last wanted to do, once it is behind the journal; ``claim`` what it has
    claimed and not yet sent.
    """

    is_current: bool = True
    wish: Command | None = None
    claim: Send | None = None
    claim_is_fresh: bool = False


class Flight(NamedTuple):
    """A request that has left: on its way there, or its answer on the way back."""

    command: Send
    answer: SendAnswer | None = None


class Order(NamedTuple):
    """An order at the gateway."""

    word: str = "made"
    is_paid: bool = False
    is_misread: bool = False


class Moment(NamedTuple):
    """All there is at one moment; the payout by its number, since it is compared so often.

    ``may_pay`` and ``may_check`` say whether one more send is owed; ``denials`` counts the "no such
    order" since the last check was claimed or the journal restored.
    """

    payout: int
    owners: tuple[Owner, ...]
    flights: tuple[Flight, ...] = ()
    orders: tuple[Order, ...] = ()
    may_pay: bool = True
    may_check: bool = True
    denials: int = 0
    denied_long: bool = False
    releases: int = 0
    copy: int | None = None
    is_restored: bool = False


class Step(NamedTuple):
    """What happened and what is then; a fair one needs no luck and no person."""

    name: str
    moment: Moment
    is_fair: bool = True


_NEXT_WORDS: Final = {
    "made": ("validated", "declined"),
    "validated": (),
    "processing": ("redirect", "approved", "declined"),
    "redirect": ("processing", "declined"),
}
"""What an order may become by itself, by its latest word."""
_UNPAID_WORDS: Final = ("made", "validated")
_PAID_WORDS: Final = ("processing", "redirect", "bad-redirect")
_LINKS: Final = {"redirect": "https://127.0.0.1/form", "bad-redirect": "http://elsewhere/form"}
_LIES: Final = (
    *("made", "validated", "processing", "redirect", "bad-redirect"),
    *("approved", "error", "reversed"),
)
_SILENCE: Final = (NoAnswer("HTTP 503", 503), NoAnswer("error 102", readable=True))
_ENDS: Final = frozenset({"approved", "declined", "error"})
_STATUSES: Final = {**{word: Status(word) for word in _ENDS}, "reversed": Status.APPROVED}
_UNCHECKED: Final = (State.NEW, State.CHECKING)
_DOUBTFUL: Final = (State.NEW, State.CHECKING, State.PAYING, State.ATTENTION)


def report(order: str, word: str, *, amount: str = "10.42") -> StatusReport:
    """Tell the status of an order."""
    stage = {"made": "payout_check_validating", "validated": "payout_check_validated"}
    return StatusReport(
        type="status-response",
        status=_STATUSES.get(word, Status.PROCESSING),
        order_stage=stage.get(word, f"payout_{word}"),
        paynet_order_id=order,
        merchant_order_id="po-1",
        amount=Decimal(amount),
        currency="USD",
        redirect_to=_LINKS.get(word),
        transaction_type="reversal" if word == "reversed" else "payout",
    )


@attrs.define(eq=False)
class World:
    """One way the world may be.

    Attributes:
        flow: Which way the payout goes.
        rules: The rules that are tried.
        owners: How many processes drive it.
        lies: Whether the gateway tells any word at any time.
        releases: How often a person may release it.
        restores: Whether the journal may be restored from a copy; then "no such order" is true.
        copied_in: The state in which that copy is made; None for any that is not the end.
        misreads: Whether the gateway may make an order of another amount.
        duplicates: Whether a request may be delivered twice, so that it acts and is refused.
        flights: How many requests may be on their way at once.
    """

    flow: Flow
    rules: Rules = attrs.field(factory=Rules)
    owners: int = 2
    lies: bool = False
    releases: int = 1
    restores: bool = False
    copied_in: State | None = None
    misreads: bool = False
    duplicates: bool = False
    flights: int = 2
    events: set[str] = attrs.field(factory=set, init=False)
    doubts: set[Doubt] = attrs.field(factory=set, init=False)
    payouts: list[Payout] = attrs.field(factory=list, init=False)
    _numbers: dict[Payout, int] = attrs.field(factory=dict, init=False)
    _folded: dict[tuple[int, Event], int | None] = attrs.field(factory=dict, init=False)
    _meant: dict[tuple[int, Command, int], Event | None] = attrs.field(factory=dict, init=False)
    _ranks: dict[Owner | Flight, int] = attrs.field(factory=dict, init=False)
    _ageing: dict[tuple[int, str], int] = attrs.field(factory=dict, init=False)
    _wanted: dict[int, Command] = attrs.field(factory=dict, init=False)
    _reports: dict[tuple[str, str, str], StatusReport] = attrs.field(factory=dict, init=False)

    def beginnings(self) -> list[Moment]:
        """Give the moments right after the payout was accepted, held or not."""
        return [
            Moment(self.number(open_payout(first)), (Owner(),) * self.owners)
            for held in (False, True)[: 2 if self.flow is Flow.CHECK_PAY else 1]
            for first in [opened(at=NOW, flow=self.flow, held=held)]
        ]

    def payout(self, moment: Moment) -> Payout:
        """Look at the payout as the journal has it."""
        return self.payouts[moment.payout]

    def number(self, payout: Payout) -> int:
        """Number a payout after leaving out what nothing depends on."""
        payout = attrs.evolve(
            payout,
            sequence=0,
            status_number=None,
            alarms=(),
            findings=(),
            is_reconciled=False,
            decisions=(),
            hints=(),
            approved_by=None,
            opened_at=NOW,
            since=LONG_AGO if payout.state in _DOUBTFUL and payout.since <= LONG_AGO else NOW,
            not_seen=min(payout.not_seen, machine.NOT_SEEN_TIMES),
        )
        if not _counts_denials(payout):
            payout = attrs.evolve(payout, not_seen=0, not_seen_at=None)
        if payout.state not in (State.VALIDATED, State.PAYING):
            payout = attrs.evolve(payout, validated_at=None)
        if payout.state.is_terminal:
            payout = attrs.evolve(
                payout, since=NOW, held=False, restored=False, not_seen=0, not_seen_at=None
            )
        found = self._numbers.setdefault(payout, len(self.payouts))
        if found == len(self.payouts):
            self.payouts.append(payout)
        return found

    # What the rules say, remembered

    def fold(self, payout: int, event: Event) -> int | None:
        """Fold an event; None when it changes nothing."""
        key = payout, event
        if key not in self._folded:
            before = self.payouts[payout]
            after = self.rules.evolve(before, event)
            self._folded[key] = None if after is before else self.number(after)
        return self._folded[key]

    def mean(self, payout: int, command: Command, answer: Answer) -> Event | None:
        """Say what an answer means; answers are few and live as long as the world."""
        key = payout, command, id(answer)
        if key not in self._meant:
            self._meant[key] = self.rules.event_for(self.payouts[payout], command, answer, NOW)
        return self._meant[key]

    def want(self, payout: int) -> Command:
        """Say what a driver wants to do."""
        if payout not in self._wanted:
            self._wanted[payout] = self.rules.next_command(self.payouts[payout], NOW)
        return self._wanted[payout]

    # What can happen

    def successors(self, m: Moment) -> Iterator[Step]:
        """Give everything that can happen next."""
        yield from self._ages(m)
        yield from self._gateway(m)
        for place, flight in enumerate(m.flights):
            if flight.answer is not None:
                # One that is no news is as good as lost.
                landed = m._replace(flights=_without(m.flights, place))
                yield from self._learn(landed, flight.command, flight.answer, fair=True)
        for n, owner in enumerate(m.owners):
            yield from self._drive(m, n, owner)
        yield from self._person(m)
        yield from self._call_back(m)
        if self.restores:
            yield from self._restore(m)

    def _fly(self, m: Moment, flight: Flight) -> tuple[Flight, ...]:
        """Add a flight; which flew first does not matter."""
        return tuple(sorted((*m.flights, flight), key=self._rank))

    def _rank(self, thing: Owner | Flight) -> int:
        return self._ranks.setdefault(thing, len(self._ranks))

    def in_order(self, m: Moment) -> Moment:
        """Leave out what makes no difference: which owner is which, the round of an old send."""
        if m.flights:
            attempt = self.payouts[m.payout].attempt
            if len(m.flights) == 1 and m.flights[0].command.attempt == attempt:
                return self._owners_in_order(m)
            flights = [
                flight
                if flight.command.attempt == attempt
                else flight._replace(command=attrs.evolve(flight.command, attempt=0))
                for flight in m.flights
                if not isinstance(flight.answer, Refused) or flight.command.attempt == attempt
            ]
            m = m._replace(flights=tuple(sorted(flights, key=self._rank)))
        return self._owners_in_order(m)

    def _owners_in_order(self, m: Moment) -> Moment:
        if len(m.owners) < 2 or self._rank(m.owners[0]) <= self._rank(m.owners[1]):
            return m
        return m._replace(owners=m.owners[::-1])

    def _ages(self, m: Moment) -> Iterator[Step]:
        payout = self.payout(m)
        stale = tuple(owner._replace(claim_is_fresh=False) for owner in m.owners)
        if stale != m.owners:
            yield Step("10 s pass over a claim", m._replace(owners=stale))
        if payout.validated_at == NOW:
            old = self._aged(m.payout, "validated_at", NOW - FRESH_FOR - 1)
            yield Step("10 s pass over the validation", m._replace(payout=old))
        if payout.not_seen_at == NOW or (m.denials and not m.denied_long):
            old = self._aged(m.payout, "not_seen_at", NOW - NOT_SEEN_FOR - 1)
            passed = m._replace(payout=old, denied_long=bool(m.denials), owners=stale)
            yield Step("30 s pass", passed)
        travels = any(flight.answer is None for flight in m.flights)
        if payout.state in _DOUBTFUL and not (payout.state is State.ATTENTION and travels):
            old = self._aged(m.payout, "since", LONG_AGO)
            if old != m.payout:
                yield Step("the time for doubt passes", m._replace(payout=old, owners=stale))

    def _aged(self, payout: int, instant: str, at: float) -> int:
        """Let one instant of a payout lie further back."""
        key = payout, instant
        if key not in self._ageing:
            before = self.payouts[payout]
            known = getattr(before, instant) is not None
            changes: dict[str, Any] = {instant: at}
            self._ageing[key] = self.number(attrs.evolve(before, **changes)) if known else payout
        return self._ageing[key]

    def _gateway(self, m: Moment) -> Iterator[Step]:
        for place, flight in enumerate(m.flights):
            gone = m._replace(flights=_without(m.flights, place))
            yield Step(f"{flight.command} or its answer is lost", gone)
            if flight.answer is not None:
                continue
            yield self._answered(gone, flight.command, _REFUSED, "is refused")
            yield self._turned_away(gone, flight.command)
            yield from self._acts(gone, flight.command)
            for refusal in (_REFUSED, _TURNED_AWAY) if self.duplicates else ():
                yield from self._acts(gone, flight.command, refusal)
        if self.lies:
            return
        for n, order in enumerate(m.orders):
            # What becomes of an order that nobody will ask about is as if it had not happened.
            if len(m.orders) > 1 and self.payout(m).paynet_order_id != ORDERS[n]:
                continue
            for word in _NEXT_WORDS.get(order.word, ()):
                orders = _with(m.orders, n, order._replace(word=word))
                yield Step(f"order {ORDERS[n]} is {word}", m._replace(orders=orders))

    def _turned_away(self, m: Moment, command: Send) -> Step:
        """Refuse a request for its settings; a check moves no money and may be sent again."""
        if isinstance(command, Check):
            m = m._replace(may_check=True)
        return self._answered(m, command, _TURNED_AWAY, "is turned away")

    def _acts(self, m: Moment, command: Send, refusal: Refused | None = None) -> Iterator[Step]:
        """Let a request take effect; with a refusal, a second copy of it is refused."""
        what = "takes effect" if refusal is None else f"takes effect, {refusal.error_message}"
        if isinstance(command, Pay):
            n = ORDERS.index(command.paynet_order_id)
            if self.lies or m.orders[n].word == "validated" or m.orders[n].is_paid:
                yield self._answered(self._spend(m, n), command, refusal or _ACCEPTED[n], what)
        elif len(m.orders) < len(ORDERS):
            n = len(m.orders)
            if refusal is _TURNED_AWAY and isinstance(command, Check):
                m = m._replace(may_check=True)
            can_misread = self.misreads and isinstance(command, Check)
            for is_misread in (False, True)[: 2 if can_misread else 1]:
                order = Order(is_misread=is_misread)
                made = m._replace(orders=(*m.orders, order))
                if isinstance(command, PayOut):
                    made = self._spend(made, n)
                told = f"{what}, misread" if is_misread else what
                yield self._answered(made, command, refusal or _ACCEPTED[n], told)

    def _spend(self, m: Moment, n: int) -> Moment:
        if any(order.is_paid for order in m.orders):
            raise Broken("paid twice")
        if m.orders[n].is_misread:
            raise Broken("paid another amount")
        word = m.orders[n].word if self.lies else "processing"
        return m._replace(orders=_with(m.orders, n, Order(word, is_paid=True)))

    def _answered(self, m: Moment, command: Send, answer: SendAnswer, what: str) -> Step:
        flying = self._fly(m, Flight(command, answer))
        return Step(f"{command} {what}", m._replace(flights=flying))

    def _learn(
        self, m: Moment, command: Command, answer: Answer, *, fair: bool, by: int | None = None
    ) -> Iterator[Step]:
        """Let each owner journal what an answer means; whoever was behind reads first."""
        before = m
        if isinstance(answer, NotFound) and _counts_denials(self.payout(m)):
            m = m._replace(denials=min(m.denials + 1, machine.NOT_SEEN_TIMES))
        event = self.mean(m.payout, command, answer)
        for n in range(self.owners) if by is None else [by]:
            after = None if event is None else self._write(m, n, event)
            if after is not None:
                yield Step(f"owner {n} learns {answer!r}", after, is_fair=fair)
            else:
                if m is not before:
                    yield Step(f"{type(answer).__name__} is no news", m, is_fair=fair)
                return

    def _write(self, m: Moment, n: int, event: Event) -> Moment | None:
        """Journal an event; the other owners are behind from then on."""
        after = self.fold(m.payout, event)
        if after is None:
            return None
        self.events.add(type(event).__name__)
        self._check_move(self.payouts[m.payout], event, self.payouts[after])
        wish = self.want(m.payout)
        owners = [
            owner
            if not owner.is_current
            else owner._replace(is_current=False, wish=None if owner.claim else wish)
            for owner in m.owners
        ]
        mine = m.owners[n]
        # A claim is taken back only while the owner has seen nothing since.
        owners[n] = mine._replace(is_current=False) if mine.claim else Owner()
        if not _counts_denials(self.payouts[after]):
            m = m._replace(
                may_check=m.may_check or self.payouts[after].paynet_order_id is not None,
                denials=0,
                denied_long=False,
            )
        return m._replace(payout=after, owners=tuple(owners))

    def _check_move(self, before: Payout, event: Event, after: Payout) -> None:
        if before.state.is_terminal and (before.state, before.status) != (
            after.state,
            after.status,
        ):
            raise Broken(f"{before.state} {before.status} was left on {type(event).__name__}")
        if isinstance(event, Acknowledged) and after != before:
            raise Broken("an acknowledgement did more than that")
        known = before.paynet_order_id
        if known is not None and after.paynet_order_id != known:
            raise Broken("the journaled order was replaced")
        if after.doubt is not None:
            self.doubts.add(after.doubt)

    def _drive(self, m: Moment, n: int, owner: Owner) -> Iterator[Step]:
        if owner != Owner():
            fresh = m._replace(owners=_with(m.owners, n, Owner()))
            yield Step(f"owner {n} crashes", fresh, is_fair=False)
        if owner.claim is not None:
            yield from self._finish_claim(m, n, owner, owner.claim)
        if not owner.is_current and owner.claim is None:
            # The doubt that it is in passes too, and then it writes and loses, and reads.
            read = m._replace(owners=_with(m.owners, n, Owner()))
            yield Step(f"owner {n} reads the journal", read)
        wish = self.want(m.payout) if owner.is_current else owner.wish
        if isinstance(wish, Ask):
            yield from self._ask(m, n, wish)
        elif isinstance(wish, Check | Pay | PayOut) and owner.claim is None:
            yield self._claim(m, n, owner, wish)

    def _claim(self, m: Moment, n: int, owner: Owner, command: Send) -> Step:
        name = f"owner {n} claims {command}"
        if not owner.is_current and self.rules.keeps_place:
            return Step(f"{name} and loses", m._replace(owners=_with(m.owners, n, Owner())))
        payout = self.payout(m)
        if owner.is_current and payout.state not in (State.NEW, State.VALIDATED):
            raise Broken(f"{command} is wanted in {payout.state}")
        started = CheckStarted(at=NOW) if isinstance(command, Check) else PayStarted(at=NOW)
        after = self._write(m, n, started)
        if after is None and self.rules.keeps_place:
            return Step(f"{name} and loses", m)
        after = m if after is None else after
        claimed = Owner(claim=command, claim_is_fresh=True)
        after = after._replace(owners=_with(after.owners, n, claimed))
        if isinstance(command, Check):
            if not (m.may_check or (m.denials >= machine.NOT_SEEN_TIMES and m.denied_long)):
                raise Broken("a blind second check")
            after = after._replace(may_check=True, denials=0, denied_long=False)
        return Step(name, after)

    def _finish_claim(self, m: Moment, n: int, owner: Owner, command: Send) -> Iterator[Step]:
        idle = Owner() if owner.is_current else Owner(is_current=False, wish=Ask(None))
        idle_moment = m._replace(owners=_with(m.owners, n, idle))
        may_send = owner.claim_is_fresh or self.rules.sends_old_claims
        if may_send and len(m.flights) < self.flights:
            yield Step(f"owner {n} sends {command}", self._sent(idle_moment, command))
        kept = CheckNotSent(at=NOW) if isinstance(command, Check) else PayNotSent(at=NOW)
        after = self._write(idle_moment, n, kept) if owner.is_current else None
        yield Step(f"owner {n} does not send {command}", after or idle_moment)

    def _sent(self, m: Moment, command: Send) -> Moment:
        flights = self._fly(m, Flight(command))
        if isinstance(command, Check):
            return m._replace(flights=flights, may_check=False)
        if not m.may_pay:
            raise Broken("two pays without a release")
        if isinstance(command, Pay) and command.paynet_order_id != self.payout(m).paynet_order_id:
            raise Broken("another order than the journaled one is paid")
        return m._replace(flights=flights, may_pay=False)

    def _ask(self, m: Moment, n: int, ask: Ask) -> Iterator[Step]:
        for silence in _SILENCE:
            yield from self._learn(m, ask, silence, fair=silence.readable, by=n)
        asked = ask.paynet_order_id
        # Of what it has refused, and of a journal that was restored, the gateway denies no order.
        denies = not m.orders or not (self.restores or self.payout(m).refused)
        if asked is None and denies:
            yield from self._learn(m, ask, _NOT_FOUND, fair=not m.orders, by=n)
        if self.lies and asked is None:
            yield from self._learn(m, ask, self._report("7", "made", "9"), fair=False, by=n)
        if asked is None and len(m.orders) > 1 and not self.lies:
            return  # the gateway does not answer for an id that is not unique
        for name, order in zip(ORDERS, m.orders, strict=False):
            if asked in (None, name):
                for word in _LIES if self.lies else _words(order):
                    amount = "9" if order.is_misread else "10.42"
                    told = self._report(name, word, amount)
                    yield from self._learn(m, ask, told, fair=word == order.word, by=n)

    def _call_back(self, m: Moment) -> Iterator[Step]:
        """Deliver callbacks to any owner: true ones, or any at all where the gateway lies."""
        for name, order in zip(ORDERS, m.orders, strict=False):
            if name != self.payout(m).paynet_order_id or not (self.lies or order.word in _ENDS):
                continue
            for n, word in product(range(self.owners), _ENDS if self.lies else (order.word,)):
                after = self._write(m, n, CalledBack(at=NOW, status=Status(word)))
                if after is not None:
                    yield Step(f"owner {n} is called back: {word}", after, is_fair=False)

    def _report(self, order: str, word: str, amount: str = "10.42") -> StatusReport:
        """Make each report once, so that it is known by its identity."""
        key = order, word, amount
        if key not in self._reports:
            self._reports[key] = report(order, word, amount=amount)
        return self._reports[key]

    def _person(self, m: Moment) -> Iterator[Step]:
        payout = self.payout(m)
        decisions: list[Decision] = [kind(at=NOW, **WHO) for kind in (Withdrawn, Closed)]
        decisions.append(Acknowledged(at=NOW, **WHO, findings=(), error=True))
        if payout.held:
            decisions.append(Approved(at=NOW, who="ann"))
        no_send = payout.doubt is Doubt.BAD_REDIRECT
        is_blind = payout.restored and payout.paynet_order_id is None
        looks = no_send or is_blind or not any(o.is_paid for o in m.orders)
        if m.releases < self.releases and looks:
            decisions.append(Released(at=NOW, **WHO))
        decisions = [d for d in decisions if not self.rules.is_out_of_date(d, payout, _SILENCE[1])]
        for n, event in product(range(self.owners), decisions):
            after = self._write(m, n, event)
            if after is None:
                continue
            if isinstance(event, Released):
                after = after._replace(releases=m.releases + 1)
                if not no_send:
                    after = after._replace(may_pay=True, may_check=not is_blind)
            yield Step(f"ann: {type(event).__name__}", after, is_fair=False)

    def _restore(self, m: Moment) -> Iterator[Step]:
        state = self.payout(m).state
        is_copied = not state.is_terminal if self.copied_in is None else state is self.copied_in
        if m.copy is None and is_copied:
            yield Step("the journal is copied", m._replace(copy=m.payout), is_fair=False)
        elif m.copy is not None and not m.is_restored:
            event = Restored(at=NOW)
            after = self.fold(m.copy, event)
            self.events |= set() if after is None else {"Restored"}
            copied = self.payouts[m.copy if after is None else after]
            self._check_move(self.payouts[m.copy], event, copied)
            back = m._replace(
                payout=m.copy if after is None else after,
                owners=(Owner(),) * self.owners,
                flights=(),  # restoring takes longer than a request lives
                is_restored=True,
                may_pay=True,  # the ledger alone decides from here on
                may_check=False,
                denials=0,
                denied_long=False,
                copy=0,
            )
            yield Step("the journal is restored", back, is_fair=False)

    def check(self, m: Moment) -> None:
        """Compare what the payout says with the gateway's ledger; only a liar's word is nothing."""
        payout, paid = self.payout(m), any(order.is_paid for order in m.orders)
        if paid and payout.state in (State.REJECTED, State.WITHDRAWN) and not self.lies:
            raise Broken(f"told {payout.state}, and it was paid")
        if self.lies or m.is_restored:
            return
        if paid and payout.pays == 0:
            raise Broken(f"paid, and nobody knows of a pay: {payout.state}")
        if payout.state is State.FINAL:
            told = m.orders[ORDERS.index(str(payout.paynet_order_id))]
            if payout.status != told.word:
                raise Broken(f"told {payout.status} of an order that is {told.word}")


def _counts_denials(payout: Payout) -> bool:
    """Tell whether denials of its order are counted."""
    return payout.state in _UNCHECKED or payout.refused


def _words(order: Order) -> tuple[str, ...]:
    """Every word that was ever true of an order, or may have been."""
    paid = _PAID_WORDS if order.is_paid else ()
    ends = (order.word,) if order.word in _ENDS else ()
    return (*_UNPAID_WORDS[: 1 if order.word == "made" else 2], *paid, *ends)


_REFUSED: Final = Refused("8", "refused")
_TURNED_AWAY: Final = Refused("5", "refused for a setting")
_ACCEPTED: Final = tuple(Accepted(order) for order in ORDERS)
_NOT_FOUND: Final = NotFound("101")


def _with(items: tuple[Owner, ...] | tuple[Order, ...], place: int, item: Owner | Order) -> tuple:  # type: ignore[type-arg]
    return (*items[:place], item, *items[place + 1 :])


def _without(items: tuple[Flight, ...], place: int) -> tuple[Flight, ...]:
    return (*items[:place], *items[place + 1 :])
