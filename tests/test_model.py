"""The machine against everything that can ever happen around one payout, to the end.

``small_world`` says what can happen, ``walks`` goes through all of it; ``pytest -s`` shows how much
that is. Where two owners or a copy of the journal make the world large, a check is repeated after
two definite denials instead of five and at most once: the same rules with smaller numbers.
"""

import functools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs
import pytest
from small_world import LONG_AGO, NOW, Moment, Rules, World
from walks import Found, stuck, walk

from billblend_async.core import machine
from billblend_async.core.events import (
    Acknowledged,
    Checked,
    CheckStarted,
    Event,
    Finished,
    NeedsAttention,
    NotSeen,
    PayNotSent,
    PayRefused,
    PayStarted,
    Rejected,
    Released,
)
from billblend_async.core.machine import TRANSITIONS, Command, Pay, event_for, evolve, next_command
from billblend_async.core.models import Doubt, Flow, State
from billblend_async.core.payout import Payout, is_fresh
from billblend_async.core.responses import (
    NoAnswer,
    NotFound,
    SendAnswer,
    StatusAnswer,
    StatusReport,
)

REAL: Final = {"NOT_SEEN_TIMES": machine.NOT_SEEN_TIMES, "MOST_CHECKS": machine.MOST_CHECKS}
SMALL: Final = {"NOT_SEEN_TIMES": 2, "MOST_CHECKS": 2}
WORLDS: Final[dict[str, tuple[dict[str, int], dict[str, Any]]]] = {
    "honest": (REAL, {"owners": 1, "duplicates": True}),
    "lying": (REAL, {"owners": 1, "lies": True}),
    "two-owners": (SMALL, {"flights": 1, "releases": 0}),
    "two-owners-lying": (SMALL, {"flights": 1, "lies": True}),
    "restored": (SMALL, {"flights": 1, "owners": 1, "restores": True, "releases": 0}),
    "restored-and-released": (
        SMALL,
        {"flights": 1, "owners": 1, "restores": True, "copied_in": State.ATTENTION},
    ),
    "misreading": (SMALL, {"flights": 1, "owners": 1, "misreads": True}),
}


@contextmanager
def numbers(given: dict[str, int]) -> Iterator[None]:
    """Let the machine work with these numbers."""
    with pytest.MonkeyPatch.context() as patch:
        for name, number in given.items():
            patch.setattr(machine, name, number)
        yield


@functools.cache
def explored(name: str, flow: Flow) -> tuple[World, list[Moment]]:
    """Walk through a world to closure, once; give it and the moments that cannot come to an end."""
    given, options = WORLDS[name]
    world = World(flow, **options)
    with numbers(given):
        began = time.perf_counter()
        walked = walk(world)
    sys.stdout.write(
        f"{name}, {flow}: {len(walked.moments):,} moments, {walked.transitions:,} transitions,"
        f" {len(world.payouts):,} payouts in {time.perf_counter() - began:.1f} s\n"
    )
    return world, stuck(world, walked)


@pytest.mark.timeout(600)  # every moment of a world, on whatever else the machine does
@pytest.mark.parametrize("flow", Flow)
@pytest.mark.parametrize("name", WORLDS)
def test_everything_that_can_happen(name: str, flow: Flow) -> None:
    """No pay is repeated without a release, no end is left again, and every payout can end."""
    world, lost = explored(name, flow)

    assert world.lies or [] == lost[:1]


def test_the_worlds_are_whole() -> None:
    """Every event, every doubt and every state is met on these walks."""
    worlds = [explored(name, flow)[0] for name in WORLDS for flow in Flow]

    listed = {event.__name__ for row in TRANSITIONS.values() for event in row}
    assert set() == listed - {name for world in worlds for name in world.events}
    assert set() == set(Doubt) - {doubt for world in worlds for doubt in world.doubts}
    assert set() == set(State) - {payout.state for world in worlds for payout in world.payouts}


# Planted bugs: each is one that somebody might make


def _pays_again_in_doubt(payout: Payout, at: float) -> Command:
    order = payout.paynet_order_id
    if payout.state is State.PAYING and order is not None:
        return Pay(order, payout.attempt)
    return next_command(payout, at)


def _restarts_pay(payout: Payout, event: Event) -> Payout:
    if isinstance(event, PayStarted) and payout.state is State.PAYING:
        return attrs.evolve(payout, pays=payout.pays + 1, sequence=payout.sequence + 1)
    return evolve(payout, event)


def _checks_again_at_once(payout: Payout, event: Event) -> Payout:
    if isinstance(event, NotSeen) and payout.state is State.CHECKING and payout.attempt < 2:
        return attrs.evolve(
            payout, state=State.NEW, attempt=payout.attempt + 1, sequence=payout.sequence + 1
        )
    return evolve(payout, event)


def _releases_what_is_under_way(payout: Payout, event: Event) -> Payout:
    if isinstance(event, Released) and payout.state is State.PAYING:
        payout = attrs.evolve(
            payout, state=State.ATTENTION, doubt=Doubt.PAY_UNCONFIRMED, since=LONG_AGO
        )
    return evolve(payout, event)


def _releases_at_once(payout: Payout, event: Event) -> Payout:
    return evolve(
        payout, attrs.evolve(event, at=NOW + 61) if isinstance(event, Released) else event
    )


def _overwrites_an_end(payout: Payout, event: Event) -> Payout:
    if isinstance(event, Finished) and payout.state is State.FINAL:
        if event.status == payout.status:
            return payout
        return attrs.evolve(payout, status=event.status, sequence=payout.sequence + 1)
    return evolve(payout, event)


def _acknowledges_into_sending(payout: Payout, event: Event) -> Payout:
    if isinstance(event, Acknowledged) and payout.doubt is Doubt.PAY_UNCONFIRMED:
        event = Released(at=event.at, who=event.who, why=event.why)
    return evolve(payout, event)


def _acknowledges_into_asking(payout: Payout, event: Event) -> Payout:
    after = evolve(payout, event)
    if isinstance(event, Acknowledged) and payout.status == "error" and after is not payout:
        return attrs.evolve(after, state=State.AWAITING_FINAL)
    return after


def _replaces_the_order(payout: Payout, event: Event) -> Payout:
    if isinstance(event, Checked) and payout.state is State.VALIDATING:
        if event.paynet_order_id == payout.paynet_order_id:
            return payout
        order = event.paynet_order_id
        return attrs.evolve(payout, paynet_order_id=order, sequence=payout.sequence + 1)
    return evolve(payout, event)


def _takes_silence_for_a_denial(
    payout: Payout, command: Command, answer: SendAnswer | StatusAnswer, at: float
) -> Event | None:
    silent = isinstance(answer, NoAnswer)
    return event_for(payout, command, NotFound() if silent else answer, at)


def _forgets_the_copy(payout: Payout, event: Event) -> Payout:
    after = evolve(payout, event)
    is_news = payout.state is State.VALIDATING and after is not payout
    return attrs.evolve(after, restored=False) if is_news else after


def _believes_denials_of_before(payout: Payout, event: Event) -> Payout:
    after = evolve(payout, event)
    if after.restored and not payout.restored:
        return attrs.evolve(after, not_seen=payout.not_seen, not_seen_at=payout.not_seen_at)
    return after


def _never_parks(
    payout: Payout, command: Command, answer: SendAnswer | StatusAnswer, at: float
) -> Event | None:
    event = event_for(payout, command, answer, at)
    return None if isinstance(event, NeedsAttention) else event


def _pays_on_an_old_validation(payout: Payout, at: float) -> Command:
    if payout.state is State.VALIDATED and not is_fresh(payout, at) and not payout.held:
        return Pay("2", payout.attempt)
    return next_command(payout, at)


def _believes_a_refusal(
    payout: Payout, command: Command, answer: SendAnswer | StatusAnswer, at: float
) -> Event | None:
    event = event_for(payout, command, answer, at)
    return Rejected(at=at) if isinstance(event, PayRefused) else event


def _uncounts_a_refused_setting(
    payout: Payout, command: Command, answer: SendAnswer | StatusAnswer, at: float
) -> Event | None:
    event = event_for(payout, command, answer, at)
    is_setting = isinstance(event, PayRefused) and event.about_settings
    return PayNotSent(at=at) if is_setting else event


def _release_forgets_the_copy(payout: Payout, event: Event) -> Payout:
    after = evolve(payout, event)
    is_news = isinstance(event, Released) and after is not payout
    return attrs.evolve(after, restored=False) if is_news else after


def _ignores_amounts(
    payout: Payout, command: Command, answer: SendAnswer | StatusAnswer, at: float
) -> Event | None:
    if isinstance(answer, StatusReport):
        answer = attrs.evolve(answer, amount=payout.amount)
    return event_for(payout, command, answer, at)


def _bugs() -> Iterator[object]:
    one, two = {"owners": 1, "flights": 2}, {"owners": 2, "flights": 2}
    copied = {"owners": 1, "releases": 0, "restores": True, "flights": 1}
    for name, rules, options, reason in (
        ("pay again in doubt", Rules(next_command=_pays_again_in_doubt), one, "is wanted in"),
        (
            "pay again in doubt, twice over",
            Rules(next_command=_pays_again_in_doubt, evolve=_restarts_pay),
            one,
            "is wanted in paying",
        ),
        ("check again at once", Rules(evolve=_checks_again_at_once), one, "a blind second check"),
        (
            "silence is a denial",
            Rules(event_for=_takes_silence_for_a_denial),
            one,
            "a blind second check",
        ),
        (
            "release in Paying",
            Rules(evolve=_releases_what_is_under_way),
            one,
            "paid twice|two pays",
        ),
        ("release at once", Rules(evolve=_releases_at_once), one, "paid twice"),
        ("end overwritten", Rules(evolve=_overwrites_an_end), {**one, "lies": True}, "was left"),
        (
            "acknowledged into sending",
            Rules(evolve=_acknowledges_into_sending),
            one,
            "did more than that|paid twice|two pays",
        ),
        (
            "acknowledged into asking",
            Rules(evolve=_acknowledges_into_asking),
            {**one, "lies": True},
            "was left|did more than that",
        ),
        ("order replaced", Rules(evolve=_replaces_the_order), one, "was replaced"),
        (
            "another order paid",
            Rules(next_command=_pays_on_an_old_validation),
            one,
            "another order",
        ),
        ("place taken twice", Rules(keeps_place=False), two, "blind second check"),
        (
            "place taken twice in one step",
            Rules(keeps_place=False),
            {**two, "flow": Flow.ONE_STEP},
            "two pays without a release",
        ),
        ("old claims sent", Rules(sends_old_claims=True), two, "two pays|blind second check"),
        (
            "refusal believed",
            Rules(event_for=_believes_a_refusal),
            {**one, "flow": Flow.ONE_STEP, "duplicates": True},
            "told rejected, and it was paid",
        ),
        (
            "refused setting un-counts a pay",
            Rules(event_for=_uncounts_a_refused_setting),
            {**one, "flow": Flow.ONE_STEP, "duplicates": True},
            "two pays without a release|paid, and nobody knows",
        ),
        (
            "release forgets the copy",
            Rules(evolve=_release_forgets_the_copy),
            {**copied, "releases": 1, "copied_in": State.ATTENTION},
            "blind second check|paid twice",
        ),
        (
            "withdrawn on an old copy",
            Rules(is_out_of_date=lambda *_: False),
            copied,
            "told withdrawn, and it was paid",
        ),
        (
            "another amount",
            Rules(event_for=_ignores_amounts),
            {**one, "flights": 1, "misreads": True},
            "paid another amount",
        ),
        (
            "copy forgotten",
            Rules(evolve=_forgets_the_copy),
            copied,
            "paid twice|told withdrawn, and it was paid",
        ),
        ("denials of before", Rules(evolve=_believes_denials_of_before), copied, "blind second"),
    ):
        yield pytest.param(rules, options, reason, id=name)


class TestThatItSees:
    """What is wrong is found, or a walk that finds nothing would say nothing."""

    @pytest.mark.parametrize(("rules", "options", "reason"), list(_bugs()))
    def test_planted_bug(self, rules: Rules, options: dict[str, Any], reason: str) -> None:
        """A planted bug is found, with the shortest way there."""
        world = World(**{"flow": Flow.CHECK_PAY, "rules": rules, **options})
        with numbers(SMALL), pytest.raises(Found, match=f"then: .*({reason})"):
            walk(world)

    def test_payout_that_never_ends(self) -> None:
        """A payout that would be asked about for ever is found."""
        world = World(Flow.ONE_STEP, Rules(event_for=_never_parks), owners=1)

        assert {State.PAYING} == {world.payout(m).state for m in stuck(world, walk(world))}


def test_claims_leave_the_states_that_send() -> None:
    """A claim moves a payout out of the state that wants it, so that it is wanted once."""
    for row, state in ((TRANSITIONS[s], s) for s in State):
        for claim in (CheckStarted, PayStarted):
            assert state not in row.get(claim, ())
