"""What every journal must do; a test module brings the journals and collects these classes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from itertools import chain, count, product
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from payouts import (
    DOUBT_PATHS,
    LINK,
    ONE_STEP_PATHS,
    ORDER,
    PATHS,
    START,
    finished,
    opened,
)

from billblend_async.core.events import (
    EVENTS,
    Acknowledged,
    Approved,
    CalledBack,
    CheckNotSent,
    CheckRefused,
    CheckStarted,
    Event,
    NotSeen,
    Opened,
    PayAccepted,
    PayNotSent,
    PayStarted,
    RedirectCleared,
    RedirectRequired,
    Released,
    Restored,
    TurnedAway,
)
from billblend_async.core.machine import Payout, evolve, open_payout
from billblend_async.core.models import Deadlines, Flow, State
from billblend_async.core.responses import Status
from billblend_async.errors import (
    ClaimLost,
    ClosedError,
    ConfigurationError,
    InvalidInput,
    JournalMismatch,
    JournalRolledBack,
)
from billblend_async.journal import Journal, Owner
from billblend_async.journal.codec import erase_secrets

_NUMBERS = count()
Maker = Callable[[], Journal]

OWNER = Owner(base_url="https://sandbox.billblend.com/checkout", login="merchant", endpoint="39915")


def grow(first: Opened | Payout, events: tuple[Event, ...]) -> list[tuple[Payout, Event]]:
    """Fold the events that are news, each with what it makes of the payout."""
    steps = []
    payout = open_payout(first) if isinstance(first, Opened) else first
    for event in events:
        becomes = evolve(payout, event)
        if becomes is not payout:
            steps.append((becomes, event))
            payout = becomes
    return steps


async def live(journal: Journal, first: Opened, events: tuple[Event, ...] = ()) -> Payout:
    """Lead a payout through its events in a journal."""
    payout = await journal.accept(first)
    for becomes, event in grow(first, events):
        await journal.append(becomes, event)
        payout = becomes
    return payout


def kept(payout: Payout, events: list[Event]) -> list[Event]:
    """Say which events a journal keeps of a payout."""
    if not payout.state.is_terminal:
        return events
    return [erase_secrets(event) or event for event in events]


async def listed(journal: Journal, *states: State) -> list[str]:
    """List ids of payouts, of those in some states if any are named."""
    return [payout.client_orderid async for payout in journal.payouts(states or None)]


_DOUBT = PATHS[State.ATTENTION]
_RECEIVER = PATHS[State.AWAITING_RECEIVER]

LIVES: dict[str, tuple[Opened, tuple[Event, ...]]] = {
    **{f"{state}": (opened(), events) for state, events in PATHS.items()},
    **{
        f"one-step {state}": (opened(flow=Flow.ONE_STEP), events)
        for state, events in ONE_STEP_PATHS.items()
    },
    **{f"doubt {doubt}": (opened(), events) for doubt, events in DOUBT_PATHS.items()},
    "not sent": (
        opened(),
        (
            CheckStarted(at=START + 1),
            CheckNotSent(at=START + 2),
            *PATHS[State.PAYING],
            PayNotSent(at=START + 20),
        ),
    ),
    "approved by a person": (opened(held=True), (Approved(at=START + 1, who="ann"),)),
    "turned away": (
        opened(),
        (CheckStarted(at=START), TurnedAway(at=START + 1, error_code="5")),
    ),
    "check refused": (
        opened(),
        (CheckStarted(at=START), CheckRefused(at=START + 1, error_code="8")),
    ),
    "never seen": (
        opened(),
        (CheckStarted(at=START), *(NotSeen(at=START + 10 * n) for n in range(6))),
    ),
    "released": (opened(), (*_DOUBT, Released(at=START + 999, who="ann", why="never arrived"))),
    "two links": (
        opened(),
        (
            *_RECEIVER,
            RedirectRequired(at=START + 14, redirect_to=f"{LINK}/2"),
            RedirectCleared(at=START + 15),
            RedirectRequired(at=START + 16, redirect_to=f"{LINK}/3"),
            RedirectRequired(at=START + 17, redirect_to=f"{LINK}/4"),
            finished("declined"),
        ),
    ),
    "called back": (
        opened(),
        (*_RECEIVER, CalledBack(at=START + 14, status=Status("approved")), finished()),
    ),
    "contradicted": (
        opened(),
        (*_RECEIVER, finished("Approved "), finished("declined", START + 40)),
    ),
    "acknowledged, and odd again": (
        opened(),
        (
            *PATHS[State.AWAITING_FINAL],
            finished(amount=Decimal("9.99"), currency="EUR"),
            Acknowledged(
                at=START + 40,
                who="Ann Ämter",
                why='asked: "booked"\n',
                findings=(6,),
                error=False,
            ),
            finished("declined", START + 50),
        ),
    ),
    "every field": (
        opened(
            amount=Decimal("1E+2"),
            receiver_hint=None,
            held=True,
            deadlines=Deadlines(validation=1, receiver=2.5, final=1e9, doubt=0.1),
        ),
        (
            Approved(at=START, who="Zoë \N{SNOWMAN} \0 \ud800"),
            *PATHS[State.PAYING],
            finished(
                " ERROR",
                order_stage="sale",
                amount=Decimal("10.420"),
                error_code="8",
                error_message='a "quoted" \\ text',
            ),
        ),
    ),
}
"""Payouts that together meet every kind of event."""


def _moments() -> st.SearchStrategy[float]:
    return st.floats(START, START + 1e5)


def any_event() -> st.SearchStrategy[Event]:
    """Draw any event, from few enough values that one bears on another."""
    words = st.sampled_from(["ann", "bob"])
    values: dict[str, st.SearchStrategy[Any]] = {
        "at": _moments(),
        "paynet_order_id": st.sampled_from([ORDER, ORDER, ORDER, "7"]),
        "status": st.sampled_from(["approved", "DECLINED", "filtered", "error"]).map(Status),
        "amount": st.sampled_from([Decimal("10.42"), Decimal(9), None]),
        "currency": st.sampled_from(["USD", "usd", "EUR", None]),
        "redirect_to": st.sampled_from([LINK, f"{LINK}/2"]),
        "order_stage": st.none() | words,
        "transaction_type": st.sampled_from([None, "payout", "reversal"]),
        "error_code": st.none() | words,
        "error_message": st.none() | words,
        "who": words,
        "why": words,
    }
    kinds = [kind for kind in EVENTS.values() if kind is not Opened]
    return st.one_of(
        *(
            st.builds(
                kind,
                **{
                    field.name: values[field.name]
                    for field in attrs.fields(kind)
                    if field.name in values
                },
            )
            for kind in kinds
        )
    )


def any_life() -> st.SearchStrategy[tuple[Opened, tuple[Event, ...]]]:
    """Draw a payout and what happens to it; often it begins on a usual way."""
    usual = st.sampled_from([events for _, events in LIVES.values()])
    ways = [(Flow.CHECK_PAY, False), (Flow.CHECK_PAY, True), (Flow.ONE_STEP, False)]
    first = st.builds(
        lambda at, way: opened(at=at, flow=way[0], held=way[1]), _moments(), st.sampled_from(ways)
    )
    more = st.lists(any_event(), max_size=20).map(tuple)
    return st.tuples(first, st.builds(lambda one, two: one + two, usual, more))


class JournalCases:
    """The truths of one journal; a subclass brings ``make``, which makes journals not yet open."""

    @pytest.fixture
    async def journal(self, make: Maker) -> AsyncIterator[Journal]:
        """Open a journal for one test."""
        journal = make()
        await journal.open(OWNER)
        yield journal
        await journal.aclose()

    async def test_an_accepted_payout_is_returned_as_it_was_opened(self, journal: Journal) -> None:
        """Accepting a new payout returns it in state New, and the journal holds it."""
        payout = await journal.accept(opened())
        assert payout == open_payout(opened())
        assert await journal.load("po-1") == payout

    async def test_an_id_is_accepted_once_for_ever(self, journal: Journal) -> None:
        """Accepting a taken id returns the earlier payout as it stands and changes nothing."""
        earlier = await live(journal, opened(), PATHS[State.PAYING])
        assert await journal.accept(opened(amount=Decimal(99))) == earlier
        assert await journal.load("po-1") == earlier

    async def test_many_accept_one_id_together(self, journal: Journal) -> None:
        """Of fifty who accept one id at the same moment all get the one payout."""
        payouts = await asyncio.gather(
            *(journal.accept(opened(amount=Decimal(n))) for n in range(1, 51))
        )
        assert set(payouts) == {await journal.load("po-1")}
        assert len(await journal.history("po-1")) == 1

    async def test_a_place_is_written_once(self, journal: Journal) -> None:
        """The second who writes a step loses the claim and learns which."""
        [(becomes, event)] = grow(await self._accepted(journal), (CheckStarted(at=START),))
        await journal.append(becomes, event)
        with pytest.raises(ClaimLost) as caught:
            await journal.append(becomes, event)
        assert (caught.value.client_orderid, caught.value.sequence) == ("po-1", 1)
        assert await journal.load("po-1") == becomes

    @pytest.mark.parametrize("sequence", [-1, 0, 2, 3, 99])
    async def test_a_gap_is_a_lost_claim(self, journal: Journal, sequence: int) -> None:
        """A step that is not the very next one is refused and leaves nothing behind."""
        [(becomes, event)] = grow(await self._accepted(journal), (CheckStarted(at=START),))
        with pytest.raises(ClaimLost):
            await journal.append(attrs.evolve(becomes, sequence=sequence), event)
        assert await journal.load("po-1") == open_payout(opened())

    async def test_a_step_of_an_unknown_payout_is_a_lost_claim(self, journal: Journal) -> None:
        """Nothing can be written of a payout that was never accepted."""
        [(becomes, event)] = grow(opened(), (CheckStarted(at=START),))
        with pytest.raises(ClaimLost):
            await journal.append(becomes, event)
        assert await journal.load("po-1") is None

    async def test_a_conflict_leaves_its_neighbours_alone(self, journal: Journal) -> None:
        """Of two hundred appends handed in together the hundred that conflict are refused alone."""
        names = [f"po-{number}" for number in range(100)]
        await asyncio.gather(*(journal.accept(opened(name)) for name in names))
        steps = chain.from_iterable(
            2 * grow(opened(name), (CheckStarted(at=START),)) for name in names
        )
        results = await asyncio.gather(
            *(journal.append(*step) for step in steps), return_exceptions=True
        )
        assert [type(result) for result in results] == [type(None), ClaimLost] * 100
        assert await listed(journal, State.CHECKING) == names

    def test_the_lives_meet_every_event(self) -> None:
        """The lives that are tried below meet every kind of event and every state."""
        grown = [step for first, events in LIVES.values() for step in grow(first, events)]
        assert {type(event) for _, event in grown} | {Opened} == set(EVENTS.values())
        assert {payout.state for payout, _ in grown} == set(State)

    @pytest.mark.parametrize("life", LIVES)
    async def test_a_life_is_read_back(self, journal: Journal, life: str) -> None:
        """After each event the payout that is loaded equals the one that was written."""
        first, events = LIVES[life]
        assert await live(journal, first) == await journal.load("po-1")
        for becomes, event in grow(first, events):
            await journal.append(becomes, event)
            assert await journal.load("po-1") == becomes

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(life=any_life())
    async def test_any_life_is_read_back(
        self, journal: Journal, life: tuple[Opened, tuple[Event, ...]]
    ) -> None:
        """Whatever happens to a payout, what is loaded equals what was written, field by field."""
        first = attrs.evolve(life[0], client_orderid=f"po-{next(_NUMBERS)}")
        payout = await live(journal, first, life[1])
        assert await journal.load(first.client_orderid) == payout
        written = [first, *(event for _, event in grow(first, life[1]))]
        assert await journal.history(first.client_orderid) == kept(payout, written)

    async def test_the_history_is_what_was_written(self, journal: Journal) -> None:
        """A history holds the events in order, the secrets of a finished payout emptied."""
        for number, (first, events) in enumerate(LIVES.values()):
            named = attrs.evolve(first, client_orderid=f"po-{number}")
            payout = await live(journal, named, events)
            written = [named, *(event for _, event in grow(named, events))]
            assert await journal.history(f"po-{number}") == kept(payout, written)

    async def test_a_link_is_kept_as_long_as_it_is_needed(self, journal: Journal) -> None:
        """The link for the receiver is read back until the payout is finished."""
        payout = await live(journal, opened(), _RECEIVER)
        assert payout.redirect_to == LINK
        assert await journal.load("po-1") == payout

    async def test_an_unknown_id_is_nothing(self, journal: Journal) -> None:
        """A payout that was never accepted loads as None and has no history."""
        assert await journal.load("po-1") is None
        assert await journal.history("po-1") == []
        assert await listed(journal) == []

    async def test_payouts_come_in_the_order_they_were_accepted(self, journal: Journal) -> None:
        """Iterating gives every payout once, over any number of pages, the oldest first."""
        names = [f"po-{number * 7919 % 1000}" for number in range(300)]
        for name in names:
            await journal.accept(opened(name))
        assert await listed(journal) == names

    async def test_payouts_are_told_by_their_state(self, journal: Journal) -> None:
        """Iterating over some states gives the payouts in them, whole, and no others."""
        for state, events in PATHS.items():
            await live(journal, opened(f"{state} 1"), events)
        for state, events in PATHS.items():
            await live(journal, opened(f"{state} 2"), events)
        for state in State:
            assert await listed(journal, state) == [f"{state} 1", f"{state} 2"]
        both = await listed(journal, State.FINAL, State.NEW)
        assert both == ["new 1", "final 1", "new 2", "final 2"]
        assert [payout async for payout in journal.payouts([])] == []
        async for payout in journal.payouts():
            assert payout == await journal.load(payout.client_orderid)

    async def test_the_journal_goes_on_under_an_iteration(self, journal: Journal) -> None:
        """While somebody iterates, others write."""
        for number in range(150):
            await journal.accept(opened(f"po-{number}"))
        seen = 0
        async for payout in journal.payouts():
            first = opened(payout.client_orderid)
            await live(journal, first, (CheckStarted(at=START),))
            seen += 1
        assert seen == len(await listed(journal, State.CHECKING)) == 150

    async def test_a_cancelled_waiter_harms_nobody(self, journal: Journal) -> None:
        """Waiters that are cancelled leave the results of all others where they belong."""
        tasks = [asyncio.ensure_future(journal.accept(opened(f"po-{n}"))) for n in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            if number % 3:
                assert result == open_payout(opened(f"po-{number}"))
            else:
                assert isinstance(result, asyncio.CancelledError)

    async def test_an_id_that_cannot_be_written_is_refused_alone(self, journal: Journal) -> None:
        """An id that is no text is bad input, and its neighbours are accepted."""
        good, bad = await asyncio.gather(
            journal.accept(opened()), journal.accept(opened("\ud800")), return_exceptions=True
        )
        assert good == open_payout(opened())
        assert isinstance(bad, InvalidInput)

    async def test_an_event_that_cannot_be_written_is_refused(self, journal: Journal) -> None:
        """An event with a value that cannot be read back names its field and is not written."""
        with pytest.raises(ValueError, match=r"Opened\.at"):
            await journal.accept(opened(at=float("nan")))
        assert await listed(journal) == []

    async def test_a_journal_that_is_not_open_says_so(self, make: Maker) -> None:
        """Before it is opened and after it is closed every use is refused."""
        journal = make()
        await self._refuses(journal)
        await journal.open(OWNER)
        await journal.aclose()
        await self._refuses(journal)

    async def test_closing_finishes_what_was_handed_in(self, make: Maker) -> None:
        """What was handed in before the journal is closed is still written and answered."""
        journal = make()
        await journal.open(OWNER)
        tasks = [asyncio.ensure_future(journal.accept(opened(f"po-{n}"))) for n in range(1000)]
        await asyncio.sleep(0)
        await journal.aclose()
        assert [task.result().client_orderid for task in tasks] == [f"po-{n}" for n in range(1000)]

    async def test_closing_twice_is_closing_once(self, make: Maker) -> None:
        """A journal can be closed again, by two at once, and before it was ever opened."""
        await make().aclose()
        journal = make()
        await journal.open(OWNER)
        await asyncio.gather(journal.aclose(), journal.aclose())
        await journal.aclose()

    async def test_a_journal_is_opened_once(self, make: Maker) -> None:
        """Opening a journal a second time is refused, also after it was closed."""
        journal = make()
        await journal.open(OWNER)
        with pytest.raises(ConfigurationError, match="opened once"):
            await journal.open(OWNER)
        await journal.aclose()
        with pytest.raises(ConfigurationError, match="opened once"):
            await journal.open(OWNER)

    def test_a_journal_belongs_to_one_loop(self, make: Maker) -> None:
        """A journal is refused in another event loop; another journal can be used there."""

        async def use() -> Journal:
            journal = make()
            await journal.open(OWNER)
            await journal.accept(opened())
            return journal

        async def misuse(journal: Journal) -> None:
            with pytest.raises(ConfigurationError, match="event loop"):
                await journal.load("po-1")
            await journal.aclose()
            await (await use()).aclose()

        asyncio.run(misuse(asyncio.run(use())))

    async def test_the_key_is_secret_and_random(self, journal: Journal, make: Maker) -> None:
        """A journal has a key of 32 bytes and does not show it."""
        key = journal.fingerprint_key
        assert len(key) == 32
        assert key != bytes(32)
        assert key.hex() not in repr(journal)
        assert repr(key) not in repr(journal)

    async def _accepted(self, journal: Journal) -> Opened:
        await journal.accept(opened())
        return opened()

    async def _refuses(self, journal: Journal) -> None:
        [(becomes, event)] = grow(opened(), (CheckStarted(at=START),))
        uses = [
            journal.accept(opened()),
            journal.append(becomes, event),
            journal.load("po-1"),
            journal.history("po-1"),
            anext(aiter(journal.payouts())),
        ]
        for use in uses:
            with pytest.raises(ClosedError, match="journal"):
                await use
        with pytest.raises(ClosedError, match="journal"):
            _ = journal.fingerprint_key


class DurableJournalCases(JournalCases):
    """The truths of a journal that outlives its process; ``make`` makes them over one storage.

    ``roll_back`` takes the last event of the payout ``po-1`` away, which was validated before it.
    """

    async def test_reopening_keeps_everything(self, make: Maker) -> None:
        """What one journal wrote the next one reads, in order, with the same key."""
        first = make()
        await first.open(OWNER)
        payouts = []
        for number, (start, events) in enumerate(LIVES.values()):
            named = attrs.evolve(start, client_orderid=f"po-{number}")
            payouts.append(await live(first, named, events))
        histories = [await first.history(payout.client_orderid) for payout in payouts]
        key = first.fingerprint_key
        await first.aclose()
        second = make()
        await second.open(OWNER)
        assert [payout async for payout in second.payouts()] == payouts
        assert [await second.history(payout.client_orderid) for payout in payouts] == histories
        assert second.fingerprint_key == key
        await second.aclose()

    @pytest.mark.parametrize("field", ["base_url", "login", "endpoint"])
    async def test_a_journal_serves_one_owner(self, make: Maker, field: str) -> None:
        """A journal of another environment, login or endpoint is refused and says which."""
        first = make()
        await first.open(OWNER)
        await live(first, opened(), PATHS[State.CHECKING])
        await first.aclose()
        second = make()
        with pytest.raises(JournalMismatch) as caught:
            await second.open(attrs.evolve(OWNER, **{field: "other"}))
        assert (caught.value.field, caught.value.expected) == (field, "other")
        assert caught.value.found == getattr(OWNER, field)
        await self._refuses(second)

    @pytest.mark.parametrize(
        ("field", "is_empty"), [*product(("base_url", "endpoint"), (True, False)), ("login", True)]
    )
    async def test_wrong_settings_can_be_mended(
        self, make: Maker, field: str, *, is_empty: bool
    ) -> None:
        """A journal in which nothing was claimed takes settings anew, and claims for them alone."""
        first, other = make(), attrs.evolve(OWNER, **{field: "other"})
        await first.open(OWNER)
        if not is_empty:
            await first.accept(opened())
            await live(first, opened("po-0"), PATHS[State.WITHDRAWN])
        second = make()
        await second.open(other)
        with pytest.raises(JournalMismatch):
            await first.accept(opened("po-2"))  # it was opened for the settings before
        if not is_empty:
            [claim] = grow(opened(), (CheckStarted(at=START),))
            with pytest.raises(JournalMismatch):
                await first.append(*claim)
            assert await second.load("po-1") == open_payout(opened())
        await first.aclose()
        await live(second, opened("po-3"), PATHS[State.CHECKING])
        await second.aclose()
        third = make()
        with pytest.raises(JournalMismatch):
            await third.open(OWNER)

    async def test_a_payout_binds_its_login(self, make: Maker) -> None:
        """What was accepted for one login is never paid by another, although nothing was sent."""
        first = make()
        await first.open(OWNER)
        await first.accept(opened())
        await first.aclose()
        second = make()
        with pytest.raises(JournalMismatch):
            await second.open(attrs.evolve(OWNER, login="other"))
        await self._refuses(second)

    @pytest.mark.parametrize("field", ["base_url", "login", "endpoint"])
    @pytest.mark.parametrize("is_empty", [True, False])
    async def test_a_restored_copy_stays_bound(
        self, make: Maker, field: str, *, is_empty: bool
    ) -> None:
        """A copy that was declared restored takes no new settings: it may have sent something."""
        first = make()
        await first.open(OWNER)
        if not is_empty:
            await first.accept(opened())
        await first.declare_restored(START + 999)
        await first.aclose()
        second = make()
        with pytest.raises(JournalMismatch):
            await second.open(attrs.evolve(OWNER, **{field: "other"}))
        await self._refuses(second)

    @pytest.mark.parametrize("is_released", [True, False])
    async def test_what_may_have_left_binds_its_endpoint(
        self, make: Maker, *, is_released: bool
    ) -> None:
        """What may have been sent before is looked for where it was sent: no endpoint is taken."""
        first = make()
        await first.open(OWNER)
        if is_released:
            released = Released(at=START + 100, who="ann", why="not paid")
            events = (*ONE_STEP_PATHS[State.ATTENTION], released)
            payout = await live(first, opened(flow=Flow.ONE_STEP), events)
        else:
            await live(first, opened())
            await first.declare_restored(START + 999)
            await first.declare_complete()
            [payout] = [payout async for payout in first.payouts()]
        await first.aclose()
        assert (State.NEW, True) == (payout.state, payout.restored)

        second = make()
        with pytest.raises(JournalMismatch) as caught:
            await second.open(attrs.evolve(OWNER, endpoint="other"))
        assert "endpoint" == caught.value.field
        await self._refuses(second)

    @pytest.mark.parametrize("state", [s for s in State if s not in (State.NEW, State.WITHDRAWN)])
    async def test_a_claim_binds_for_ever(self, make: Maker, state: State) -> None:
        """Once anything was claimed no other environment or login is taken, however it ended."""
        first = make()
        await first.open(OWNER)
        await live(first, opened(), PATHS[state])
        await first.aclose()
        for field in ("base_url", "login"):
            with pytest.raises(JournalMismatch):
                await make().open(attrs.evolve(OWNER, **{field: "other"}))

    async def test_a_restored_copy_is_marked(self, make: Maker) -> None:
        """Declared restored, every unfinished and every later payout is asked about first."""
        first = make()
        await first.open(OWNER)
        held = [await live(first, opened(f"po-{state}"), PATHS[state]) for state in State]
        marked = await first.declare_restored(START + 999)
        await first.aclose()
        second = make()
        await second.open(OWNER)
        later = await second.accept(opened("later", at=START + 1000))
        after = [await second.load(payout.client_orderid) for payout in held]
        await second.declare_complete()
        much_later = await second.accept(opened("much later"))

        expected = [evolve(payout, Restored(at=START + 999)) for payout in held]
        assert after == expected
        assert marked == sum(a is not b for a, b in zip(held, expected, strict=True)) > 3
        assert (later.restored, later.sequence, later.state) == (True, 1, State.NEW)
        assert [opened("later", at=START + 1000), Restored(at=START + 1000)] == (
            await second.history("later")
        )
        assert not much_later.restored
        assert later == await second.accept(opened("later"))
        await second.aclose()

    @pytest.mark.parametrize("use", ["accept", "append", "load", "payouts", "declare", "complete"])
    async def test_an_older_state_is_noticed(
        self, make: Maker, roll_back: Callable[[], None], use: str
    ) -> None:
        """What forgot the last entry is marked before anybody hears of it, and serves no more."""
        journal = make()
        await journal.open(OWNER)
        await live(journal, opened("done"), PATHS[State.FINAL])
        payout = await live(journal, opened(), PATHS[State.VALIDATED])
        [(paying, claim)] = grow(payout, (PayStarted(at=START + 11),))
        await journal.append(paying, claim)
        roll_back()
        [step] = grow(paying, (PayAccepted(at=START + 12, paynet_order_id=ORDER),))
        uses: dict[str, Callable[[], Awaitable[object]]] = {
            "accept": lambda: journal.accept(opened("new")),
            "append": lambda: journal.append(*step),
            "load": lambda: journal.load("po-1"),
            "payouts": lambda: listed(journal),
            "declare": lambda: journal.declare_restored(START + 99),
            "complete": journal.declare_complete,
        }
        for name in (use, *uses, use):
            with pytest.raises(JournalRolledBack) as caught:
                await uses[name]()
            assert caught.value.is_marked
        await journal.aclose()

        second = make()
        await second.open(OWNER)
        held = await second.load("po-1")
        assert held is not None
        assert (State.ATTENTION, True) == (held.state, held.restored)
        assert held.pays == 0
        new = await second.accept(opened("new"))
        assert new.restored
        done = await second.load("done")
        assert done is not None
        assert (State.FINAL, False) == (done.state, done.restored)
        await second.aclose()

    async def test_what_others_write_is_no_older_state(self, make: Maker) -> None:
        """While others write, and after each kind of step, what a journal wrote stays there."""
        first, other = make(), make()
        await first.open(OWNER)
        await other.open(OWNER)
        for number, (start, events) in enumerate(LIVES.values()):
            named = attrs.evolve(start, client_orderid=f"po-{number}")
            payout = await first.accept(named)
            for turn, (becomes, event) in enumerate(grow(payout, events)):
                await (first, other)[turn % 2].append(becomes, event)
                assert await first.load(named.client_orderid) == becomes
                assert await other.load(named.client_orderid) == becomes
        await first.declare_restored(START + 999)
        await other.accept(opened("po-new"))
        await other.declare_complete()
        assert await first.load("po-new") == await other.load("po-new")
        await first.aclose()
        await other.aclose()

    async def test_new_journals_agree_on_a_key(self, make: Maker) -> None:
        """Journals that open a new storage at the same moment come to the same key."""
        journals = [make() for _ in range(8)]
        await asyncio.gather(*(journal.open(OWNER) for journal in journals))
        assert len({journal.fingerprint_key for journal in journals}) == 1
        await asyncio.gather(*(journal.aclose() for journal in journals))

    async def test_two_journals_share_the_claims(self, make: Maker) -> None:
        """Two journals on one storage race for a hundred claims, and each claim has one winner."""
        journals = [make(), make()]
        await asyncio.gather(*(journal.open(OWNER) for journal in journals))
        names = [f"po-{number}" for number in range(100)]
        await asyncio.gather(
            *(journal.accept(opened(name)) for name in names for journal in journals)
        )
        steps = chain.from_iterable(grow(opened(name), (CheckStarted(at=START),)) for name in names)
        results = await asyncio.gather(
            *(journal.append(*step) for step in steps for journal in journals),
            return_exceptions=True,
        )
        for pair in zip(results[::2], results[1::2], strict=True):
            assert {type(result) for result in pair} == {type(None), ClaimLost}
        assert await listed(journals[0], State.CHECKING) == await listed(journals[1])
        await asyncio.gather(*(journal.aclose() for journal in journals))

    async def test_one_journal_sees_what_the_other_wrote(self, make: Maker) -> None:
        """What one journal has returned from, another reads at once."""
        journals = [make(), make()]
        for journal in journals:
            await journal.open(OWNER)
        expected = await journals[0].accept(opened())
        for turn, (becomes, event) in enumerate(grow(opened(), PATHS[State.FINAL])):
            assert await journals[turn % 2].load("po-1") == expected
            await journals[turn % 2].append(becomes, event)
            expected = becomes
        for journal in journals:
            await journal.aclose()
