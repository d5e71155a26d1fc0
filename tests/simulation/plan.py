"""What a seed decides beforehand: the payouts, the faults that are switched on, and the lives."""

import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

import attrs

from billblend_async.core.models import Deadlines, Flow
from billblend_async.core.request import PayoutRequest

from .coverage import (
    CALLBACK_FAULTS,
    FREEZES,
    HOST_FAULTS,
    JOURNAL_FAULTS,
    KEPT_FAULTS,
    LATER,
    SEND_FAULTS,
    SERVER_FAULTS,
    STATUS_FAULTS,
    TRAITS,
    WIRE_FAULTS,
)

__all__ = ["PROFILES", "Life", "Plan", "Profile", "draw_plan"]

Profile = Literal["swarm", "calm", "one-percent", "wire", "shared"]
PROFILES: Final[tuple[Profile, ...]] = ("swarm", "calm", "one-percent", "wire", "shared")

Manner = Literal["batch", "each", "resume", "steps", "listen", "scheduler"]

_DEEDS: Final = (
    "cancelled-caller",
    "clock-jump",
    "withdraw",
    "operator",
    "duplicate",
    "conflict",
    "foreign-order",
    "forgets-requests",
    "any-of-several",
)
_FAULTS: Final = (
    *SEND_FAULTS,
    "lying-refusal",
    "turned-away",
    *STATUS_FAULTS,
    *JOURNAL_FAULTS,
    *TRAITS,
    *_DEEDS,
)
_OF_CALLBACKS: Final = (*CALLBACK_FAULTS, "calls-unknown", *LATER)
_BYTES: Final = (*WIRE_FAULTS, *KEPT_FAULTS)
_PROBABILITIES: Final = (0.03, 0.1, 0.1, 0.3, 0.6)
_OF_SERVERS: Final = (0.01, 0.03, 0.1, 0.2)
_DUEL: Final = {
    "slow": 0.3,
    "late": 0.1,
    "refused": 0.2,
    "freezes": 0.05,
    "denies-order": 0.1,
    "cancelled-caller": 0.3,
    "operator": 1.0,
}
"""Faults under which two programs side by side overtake each other."""
_PAYOUTS: Final[dict[Profile, tuple[int, int]]] = {"wire": (1, 3), "shared": (1, 3)}
_TURNS: Final[dict[Profile, int]] = {"wire": 1200, "shared": 1500}
"""The turns that a program lives on average: real HTTP takes more of them for each request."""
_ACCOUNTS: Final = ("1234567890", "GB29NWBK60161331926819")


@attrs.frozen(kw_only=True)
class Life:
    """One program's life.

    Attributes:
        manner: How it drives the payouts.
        ends_after: Seconds after which it ends.
        is_killed: Whether it is killed then, or stopped in order.
        dies_after: The turn of the loop after which it is killed; None for never.
        freezes_after: The turn after which it stands still for a while; None for never.
        starts_with_previous: Whether it runs beside the life before it.
        next_life: The life of the program that takes its place.
    """

    manner: Manner
    ends_after: float
    is_killed: bool
    dies_after: int | None
    freezes_after: int | None = None
    starts_with_previous: bool = False
    next_life: "Life | None" = None


_WHOLE_LIFE: Final = Life(manner="batch", ends_after=20_000.0, is_killed=False, dies_after=None)


@attrs.frozen(kw_only=True)
class Plan:
    """What a seed decides beforehand.

    Attributes:
        seed: The seed.
        profile: How much goes wrong.
        requests: The payouts that are wanted.
        flow: Which way they go.
        faults: The probability of each fault that is switched on.
        lives: The programs, one after the other or side by side.
        deadlines: How long the payouts wait.
        held: The payouts that wait for approval, if they are accepted as planned.
        forgotten: Those of them that nobody ever decides about.
        deaths: The turns after which the programs are killed, where these were chosen.
    """

    seed: int
    profile: Profile
    requests: tuple[PayoutRequest, ...]
    flow: Flow
    faults: dict[str, float]
    lives: tuple[Life, ...]
    deadlines: Deadlines
    held: frozenset[str] = frozenset()
    forgotten: frozenset[str] = frozenset()
    deaths: tuple[int, ...] = ()


def draw_plan(seed: int, profile: Profile) -> Plan:
    """Draw the plan of a seed."""
    chance = random.Random(f"{seed}/{profile}/plan")
    requests = tuple(
        PayoutRequest(
            client_orderid=f"po-{number}",
            amount=Decimal(chance.randrange(100, 100_000)) / 100,
            currency=chance.choice(("USD", "EUR")),
            account_number=chance.choice(_ACCOUNTS),
        )
        for number in range(chance.randint(*_PAYOUTS.get(profile, (3, 6))))
    )
    faults = {}
    is_adverse, is_shared = profile in ("swarm", "wire", "shared"), profile == "shared"
    if is_adverse:
        share = chance.choice((0.05, 0.15, 0.25))
        faults = {n: chance.choice(_PROBABILITIES) for n in _FAULTS if chance.random() < share}
        if chance.random() < 0.15:
            faults = dict(_DUEL)
        if profile in ("wire", "shared"):
            faults |= {n: chance.choice(_PROBABILITIES) for n in _BYTES if chance.random() < share}
        if is_shared:
            faults |= {
                n: chance.choice(_OF_SERVERS) for n in SERVER_FAULTS if chance.random() < 2 * share
            }
            faults |= {n: chance.choice(_PROBABILITIES) for n in FREEZES if chance.random() < 0.5}
        # Operators see only what lives long enough to be parked.
        if chance.random() < 0.5:
            faults["operator"] = 1.0
    doubt = chance.choice((60.0, 120.0, 240.0)) if is_adverse else 900.0
    turns = _TURNS.get(profile, 400)
    plan = Plan(
        seed=seed,
        profile=profile,
        requests=requests,
        flow=Flow.ONE_STEP if chance.random() < 0.25 else Flow.CHECK_PAY,
        faults=faults,
        lives=_draw_rivals(chance, turns)
        if is_shared
        else _draw_lives(chance, faults, turns)
        if is_adverse
        else (_WHOLE_LIFE,),
        deadlines=Deadlines(
            sending=60.0, validation=400.0, receiver=400.0, final=400.0, doubt=doubt
        ),
    )
    return _draw_failover(_draw_terms(_draw_company(plan))) if is_adverse else plan


def _draw_failover(plan: Plan) -> Plan:
    """Draw whether a standby without the last commits takes over while a program runs.

    Then one program runs at a time: another one, which has written nothing of what is lost, could
    not know of it.
    """
    chance = random.Random(f"{plan.seed}/{plan.profile}/failover")
    if plan.profile != "shared" or chance.random() >= 0.12:
        return plan
    lives = [attrs.evolve(life, starts_with_previous=False, next_life=None) for life in plan.lives]
    faults = {**plan.faults, "fails-over": 1.0}
    if chance.random() < 0.3:
        faults["withdraw"] = 1.0
    return attrs.evolve(plan, faults=faults, lives=tuple(lives))


def _draw_terms(plan: Plan) -> Plan:
    """Draw whether the gateway misreads what it is asked for."""
    chance = random.Random(f"{plan.seed}/{plan.profile}/terms")
    if chance.random() < 0.1:
        return attrs.evolve(plan, faults={**plan.faults, "misread": chance.choice((0.3, 1.0))})
    return plan


def _draw_company(plan: Plan) -> Plan:
    """Draw who else takes part: the gateway's callbacks, those who forge them, and approvers."""
    chance = random.Random(f"{plan.seed}/{plan.profile}/company")
    faults, lives, held = dict(plan.faults), plan.lives, frozenset[str]()
    faults |= {n: chance.choice(_PROBABILITIES) for n in HOST_FAULTS if chance.random() < 0.2}
    if "hook-raises" in faults or "hook-hangs" in faults:
        faults |= {"redirect-again": 0.6}  # a link is what these hooks are for
    if chance.random() < 0.4:
        faults["callbacks"] = 1.0
        faults |= {
            n: chance.choice((0.3, 0.6, 1.0)) for n in _OF_CALLBACKS if chance.random() < 0.25
        }
        if chance.random() < 0.2:
            ends_after = chance.choice((30.0, 900.0))
            lives += (
                Life(
                    manner="listen",
                    ends_after=ends_after,
                    is_killed=chance.random() < 0.5,
                    dies_after=None,
                    starts_with_previous=True,
                ),
            )
    if plan.flow is Flow.CHECK_PAY and chance.random() < 0.3:
        faults["holds"] = 1.0
        held = frozenset(r.client_orderid for r in plan.requests if chance.random() < 0.6)
    forgotten = frozenset(name for name in sorted(held) if chance.random() < 0.2)
    return attrs.evolve(plan, faults=faults, lives=lives, held=held, forgotten=forgotten)


def _draw_lives(chance: random.Random, faults: Mapping[str, float], turns: int) -> tuple[Life, ...]:
    manners: tuple[Manner, ...] = ("batch", "batch", "each", "each", "resume", "steps")
    # A frozen program is harmless unless another one goes on meanwhile.
    are_rivals = "freezes" in faults or chance.random() < 0.2
    return tuple(
        Life(
            manner=chance.choice(manners) if number else chance.choice(manners[:4]),
            ends_after=chance.choice((8.0, 30.0, 100.0, 400.0, 900.0)) * (0.5 + chance.random())
            + (400.0 if are_rivals else 0.0),
            is_killed=chance.random() < 0.7,
            dies_after=int(chance.expovariate(1 / turns)) + 1
            if not are_rivals and chance.random() < 0.5
            else None,
            starts_with_previous=number > 0 and (are_rivals or chance.random() < 0.3),
        )
        for number in range(2 if are_rivals else chance.randint(1, 3))
    )


def _draw_rivals(chance: random.Random, turns: int) -> tuple[Life, ...]:
    """Draw programs that run the same payouts at once, each with those that take its place."""
    manners: tuple[Manner, ...] = ("batch", "each", "resume", "steps", "scheduler", "scheduler")

    def draw(*, is_next: bool) -> Life:
        return Life(
            manner=chance.choice(manners),
            ends_after=chance.choice((20.0, 100.0, 400.0, 900.0)) * (0.5 + chance.random()),
            is_killed=chance.random() < 0.7,
            dies_after=int(chance.expovariate(1 / turns)) + 1 if chance.random() < 0.4 else None,
            freezes_after=int(chance.expovariate(1 / turns)) + 1 if chance.random() < 0.4 else None,
            starts_with_previous=True,
            next_life=draw(is_next=True) if chance.random() < (0.3 if is_next else 0.6) else None,
        )

    lives = [draw(is_next=False) for _ in range(chance.randint(2, 4))]
    # Somebody must accept the payouts before a scheduler can drive them.
    return (attrs.evolve(lives[0], manner=chance.choice(("batch", "each"))), *lives[1:])
