"""A run's payouts are counted as they move: groups, money, phases, pace and what went wrong."""

import random
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest
from payouts import DOUBT_PATHS, PATHS, START, finished, fold, opened, payout_in, request, seen

from billblend_async.batch.progress import Group, Phase, Tally
from billblend_async.core.events import Approved, Event
from billblend_async.core.machine import Payout, evolve, open_payout
from billblend_async.core.models import Alarm, Doubt, Flow, OpenReason, Outcome, State
from billblend_async.core.payout import not_taken, outcome
from billblend_async.errors import PayoutConflict, SendingStopped

EVENT = opened()


def tally_of(payouts: int) -> Tally:
    """Begin to count po-0, po-1 and so on."""
    return Tally(request(f"po-{n}") for n in range(payouts))


def way_to(status: str = "approved", **fields: Any) -> tuple[Event, ...]:
    """Give the way to a final status."""
    return (*PATHS[State.AWAITING_FINAL], finished(status, **fields))


def told(tally: Tally, *payouts: Payout) -> Tally:
    """Tell a tally of changed payouts."""
    for payout in payouts:
        tally.changed(payout, EVENT)
    return tally


def ways() -> list[tuple[Event, ...]]:
    """Give every way that the other tests know, with its refusals and its doubts."""
    return [*PATHS.values(), *DOUBT_PATHS.values(), way_to("declined"), way_to("error")]


def by_hand(payouts: Sequence[Payout], group: Group) -> list[Payout]:
    """Pick the payouts of a group, in the plainest way."""

    def is_good(payout: Payout) -> bool:
        return payout.status == "approved" and payout.state is State.FINAL

    odd = [p for p in payouts if p.alarms or p.state is State.ATTENTION or p.status == "error"]
    rest = [p for p in payouts if p not in odd]
    return {
        Group.NEEDS_PERSON: odd,
        Group.APPROVED: [p for p in rest if is_good(p)],
        Group.REFUSED: [p for p in rest if p.state.is_terminal and not is_good(p)],
        Group.WAITING: [p for p in rest if not p.state.is_terminal],
    }.get(group, [])


class TestCounts:
    def test_before_anything(self) -> None:
        """Before it begins, a run has all of its payouts and their money waiting, in no phase."""
        shot = Tally([request("a"), request("b", currency="EUR")]).snapshot(0.0)
        assert (2, 0) == (shot.total, shot.over)
        assert 2 == shot.counts[Group.WAITING]
        assert {"USD": Decimal("10.42"), "EUR": Decimal("10.42")} == shot.amounts[Group.WAITING]
        assert 0 == sum(shot.now.values()) + sum(shot.through.values())

    def test_agrees_with_counting_anew(self) -> None:
        """After any moves the counts are those of counting every payout anew."""
        chance, names = random.Random(7), [f"po-{n}" for n in range(60)]
        currency = {name: chance.choice(["USD", "EUR", "GBP"]) for name in names}
        amount = {name: Decimal(chance.randint(1, 10_000)) / 100 for name in names}
        tally = Tally(request(n, amount=amount[n], currency=currency[n]) for n in names)
        payouts: dict[str, Payout] = {}
        todo = {name: list(chance.choice(ways())) for name in names}
        shot = tally.snapshot(0.0)
        while todo:
            name = chance.choice(list(todo))
            if name not in payouts:
                first = opened(name, amount=amount[name], currency=currency[name])
                payouts[name] = open_payout(first)
            elif todo[name]:
                payouts[name] = evolve(payouts[name], todo[name].pop(0))
            else:
                del todo[name]
                continue
            told(tally, payouts[name])
            shot, standing = tally.snapshot(0.0), list(payouts.values())
            for group in set(Group) - {Group.WAITING}:
                own = by_hand(standing, group)
                assert len(own) == shot.counts[group], group
                for each in ("USD", "EUR", "GBP"):
                    wanted = sum(p.amount for p in own if p.currency == each)
                    assert wanted == shot.amounts[group].get(each, 0), (group, each)
            assert 60 == sum(shot.counts.values())
        ended = sum(p.state.is_terminal for p in payouts.values())
        assert ended == shot.through[Phase.FINAL]
        assert shot.now[Phase.PERSON] == sum(p.state is State.ATTENTION for p in payouts.values())

    @pytest.mark.parametrize(
        ("state", "phase", "through"),
        [
            (State.NEW, Phase.CHECK, ()),
            (State.CHECKING, Phase.CHECK, ()),
            (State.VALIDATING, Phase.BANK, ("check",)),
            (State.VALIDATED, Phase.BANK, ("check",)),
            (State.PAYING, Phase.PAY, ("check", "bank")),
            (State.AWAITING_FINAL, Phase.FINAL, ("check", "bank", "pay")),
            (State.AWAITING_RECEIVER, Phase.RECEIVER, ("check", "bank", "pay")),
            (State.ATTENTION, Phase.PERSON, ()),
            (State.FINAL, None, ("check", "bank", "pay", "final")),
            (State.REJECTED, None, ("check", "bank", "pay", "final")),
        ],
    )
    def test_phases(self, state: State, phase: Phase | None, through: tuple[str, ...]) -> None:
        """Each state lies in one phase and is through the earlier ones."""
        shot = told(Tally([request()]), payout_in(state)).snapshot(0.0)
        assert [phase] * (phase is not None) == [p for p, n in shot.now.items() if n]
        assert set(through) == {p for p, n in shot.through.items() if n}

    def test_kinds_of_runs(self) -> None:
        """A run shows only phases that its payouts go through."""
        assert tuple(Phase) == Tally([]).snapshot(0.0).phases
        assert ("check", "bank", "person") == Tally([], pays=False).snapshot(0.0).phases
        one_step = Tally([request()], is_one_step=True)
        told(one_step, payout_in(State.NEW, flow=Flow.ONE_STEP))
        shot = one_step.snapshot(0.0)
        assert ("pay", "final", "receiver", "person") == shot.phases
        assert 1 == shot.now[Phase.PAY]

    def test_held(self) -> None:
        """A payout that waits for approval is through the bank, and goes on once approved."""
        payout = fold(*PATHS[State.VALIDATED], first=opened(held=True))
        tally = told(Tally([request()], pays=False), payout)
        shot = tally.snapshot(0.0)
        assert (1, 1) == (shot.counts[Group.AWAITING_APPROVAL], shot.over)
        assert (0, 1) == (shot.now[Phase.BANK], shot.through[Phase.BANK])
        told(tally, evolve(payout, Approved(at=START + 20, who="ann")))
        shot = tally.snapshot(1.0)
        assert (0, 1) == (shot.counts[Group.AWAITING_APPROVAL], shot.now[Phase.BANK])

    def test_strangers(self) -> None:
        """A payout that the run is not about is not counted."""
        tally = Tally([request("a"), request("b")])
        tally.only({"b"})
        told(tally, payout_in(State.FINAL), payout_in(State.FINAL, client_orderid="a"))
        shot = tally.snapshot(0.0)
        assert (1, 1) == (shot.total, shot.counts[Group.WAITING])
        assert {"USD": Decimal("10.42")} == shot.amounts[Group.WAITING]


class TestHandedBack:
    def test_unfinished(self) -> None:
        """A payout that the run hands back is over for it, whatever is recorded afterwards."""
        payout = payout_in(State.VALIDATING)
        tally = told(Tally([request()]), payout)
        tally.hear(outcome(payout))
        shot = tally.snapshot(0.0)
        assert (1, 1) == (shot.counts[Group.UNFINISHED], shot.now[Phase.BANK])
        told(tally, payout_in(State.VALIDATED))
        assert 1 == tally.snapshot(0.0).counts[Group.UNFINISHED]
        told(tally, payout_in(State.FINAL))
        assert 1 == tally.snapshot(0.0).counts[Group.APPROVED]

    def test_conflict(self) -> None:
        """A row whose id belongs to another payout needs a person, with the reason in words."""
        tally = Tally([request()])
        tally.hear(not_taken(request(), PayoutConflict("po-1", ("amount",))))
        shot = tally.snapshot(0.0)
        assert (1, 1) == (shot.counts[Group.NEEDS_PERSON], shot.now[Phase.PERSON])
        assert "another amount" in shot.cases[0].text

    def test_sending_stopped(self) -> None:
        """A payout that was not even accepted is unfinished, in no phase and no case of its own."""
        tally = Tally([request()])
        tally.hear(not_taken(request(), SendingStopped("the network is down", is_setting=False)))
        shot = tally.snapshot(0.0)
        assert (1, 0, ()) == (shot.counts[Group.UNFINISHED], sum(shot.now.values()), shot.cases)
        assert 0 == shot.through[Phase.FINAL]

    def test_awaiting_approval(self) -> None:
        """An outcome that awaits approval is counted as the payout itself would be."""
        tally = Tally([request()], pays=False)
        state, why = State.VALIDATED, OpenReason.AWAITING_APPROVAL
        tally.hear(
            Outcome(
                client_orderid="po-1",
                amount=Decimal("10.42"),
                currency="USD",
                state=state,
                open_reason=why,
            )
        )
        assert 1 == tally.snapshot(0.0).counts[Group.AWAITING_APPROVAL]


class TestCases:
    def test_people_first(self) -> None:
        """Payouts that need a person stand before refusals, and newer ones before older ones."""
        tally, refusal = tally_of(12), way_to("declined", error_message="no money")
        for n in range(12):
            path = PATHS[State.ATTENTION] if n < 3 else refusal
            told(tally, fold(*path, first=opened(f"po-{n}")))
        shot = tally.snapshot(0.0)
        ids = [case.client_orderid for case in shot.cases]
        assert ["po-2", "po-1", "po-0", "po-11", "po-10"] == ids
        assert "pay-unconfirmed. The answer to the pay request" in shot.cases[0].text
        assert "declined: no money" == shot.cases[3].text

    def test_news_once(self) -> None:
        """What needs a person is news in one snapshot only."""
        tally = told(Tally([request()]), payout_in(State.ATTENTION))
        assert ["po-1"] == [case.client_orderid for case in tally.snapshot(0.0).news]
        assert () == tally.snapshot(0.0).news

    def test_found_late(self) -> None:
        """What needed a person and has ended well after all is a case no longer."""
        payout = payout_in(State.ATTENTION)
        tally = told(Tally([request()]), payout)
        told(tally, evolve(payout, finished(at=START + 60)))
        shot = tally.snapshot(0.0)
        assert (1, ()) == (shot.counts[Group.APPROVED], shot.cases)

    def test_earlier(self) -> None:
        """What an earlier run has refused is no case of this one; what needs a person still is."""
        tally = Tally([request("a"), request("b")])
        tally.joined(fold(*way_to("declined"), first=opened("a")))
        tally.joined(payout_in(State.ATTENTION, client_orderid="b"))
        shot = tally.snapshot(0.0)
        assert ["b"] == [case.client_orderid for case in shot.cases]
        assert (2, 0) == (shot.over, shot.finished)

    def test_alarm(self) -> None:
        """An alarm makes an approved payout one that needs a person, and names what is odd."""
        payout = fold(*way_to(amount=Decimal(1)))
        assert (Alarm.AMOUNT_DIFFERS,) == payout.alarms
        shot = told(Tally([request()]), payout).snapshot(0.0)
        assert (1, 0) == (shot.counts[Group.NEEDS_PERSON], shot.counts[Group.APPROVED])
        assert shot.cases[0].text.startswith(
            "amount-differs. The gateway paid 1 USD, but 10.42 USD "
        )

    def test_error(self) -> None:
        """The status error is no refusal: money may have moved, and a person must ask."""
        payout = fold(*way_to("error", error_message="Internal error"))
        shot = told(Tally([request()]), payout).snapshot(0.0)
        assert (1, 0) == (shot.counts[Group.NEEDS_PERSON], shot.counts[Group.REFUSED])
        assert Decimal("10.42") == shot.amounts[Group.NEEDS_PERSON]["USD"]
        assert shot.cases[0].text.startswith("error. The gateway ended it with the status error")
        assert shot.cases == shot.news
        assert (1, 0) == (shot.through[Phase.FINAL], shot.now[Phase.PERSON])

    def test_acknowledged(self) -> None:
        """What a person has acknowledged is counted as what it is, and is a case no longer."""
        noted = seen(START + 100)
        odd, error = fold(*way_to(amount=Decimal(1))), fold(*way_to("error"))
        for payout, group in ((odd, Group.APPROVED), (error, Group.REFUSED)):
            tally = told(Tally([request()]), payout)
            assert 1 == tally.snapshot(0.0).counts[Group.NEEDS_PERSON]
            shot = told(tally, evolve(payout, noted)).snapshot(0.0)
            assert (1, 0) == (shot.counts[group], shot.counts[Group.NEEDS_PERSON])
            tally.hear(outcome(evolve(payout, noted)))
            assert 1 == tally.snapshot(0.0).counts[group]

    def test_one_plain_line(self) -> None:
        """Nothing that the gateway writes can move a cursor or break a line."""
        bad = "a\x1b[2J\nb\r\x07c\u202e d"
        refused = fold(*way_to("declined", error_message=bad))
        shot = told(Tally([request()]), refused).snapshot(0.0)
        assert "declined: a [2J b c d" == shot.cases[0].text
        assert all(case.text.isprintable() for case in shot.cases)

    @pytest.mark.parametrize("doubt", list(DOUBT_PATHS))
    def test_every_doubt(self, doubt: Doubt) -> None:
        """Each doubt is told with what to do."""
        shot = told(Tally([request()]), fold(*DOUBT_PATHS[doubt])).snapshot(0.0)
        assert doubt.sentence in shot.cases[0].text


class TestDoubt:
    def test_what_an_earlier_run_has_claimed(self) -> None:
        """What was claimed before this run is in doubt until something is known of it."""
        tally = Tally([request("a"), request("b"), request("c")])
        tally.joined(payout_in(State.PAYING, client_orderid="a"))
        tally.joined(payout_in(State.CHECKING, client_orderid="b"))
        tally.joined(payout_in(State.VALIDATING, client_orderid="c"))
        tally.joined(payout_in(State.PAYING, client_orderid="stranger"))
        shot = tally.snapshot(0.0)
        assert (2, START + 11 + 900) == (shot.in_doubt, shot.doubt_until)
        told(tally, payout_in(State.AWAITING_FINAL, client_orderid="a"))
        shot = tally.snapshot(1.0)
        assert (1, START + 1 + 900) == (shot.in_doubt, shot.doubt_until)
        told(tally, payout_in(State.ATTENTION, client_orderid="b"))
        shot = tally.snapshot(2.0)
        assert (0, None) == (shot.in_doubt, shot.doubt_until)

    def test_what_is_under_way(self) -> None:
        """A request of this run is in doubt once its answer is lost, and not before."""
        tally = told(Tally([request()]), payout_in(State.PAYING))
        assert 0 == tally.snapshot(0.0).in_doubt
        tally.sent(payout_in(State.PAYING), "payout-pay", "unknown", 1.0)
        assert 1 == tally.snapshot(1.0).in_doubt
        told(tally, payout_in(State.PAYING))  # a callback came, which is believed in nothing
        assert 1 == tally.snapshot(2.0).in_doubt
        tally.sent(payout_in(State.AWAITING_FINAL), "payout-pay", "accepted", 1.0)
        assert 0 == tally.snapshot(3.0).in_doubt

    def test_handed_back(self) -> None:
        """What this run asks about no more is not told to be asked about."""
        payout = payout_in(State.PAYING)
        tally = Tally([request()])
        tally.joined(payout)
        tally.hear(outcome(payout))
        assert (0, 1) == (
            tally.snapshot(0.0).in_doubt,
            tally.snapshot(0.0).counts[Group.UNFINISHED],
        )


class TestPace:
    def test_steady(self) -> None:
        """Ten ends a second are ten a second, and the rest takes as long as that says."""
        tally = tally_of(1000)
        shot = tally.snapshot(0.0)
        for second in range(1, 31):
            for n in range(10):
                name = f"po-{10 * second + n}"
                told(tally, payout_in(State.FINAL, client_orderid=name))
            shot = tally.snapshot(float(second))
            assert (shot.per_second is None) is (second < 3)
        assert pytest.approx(10.0) == shot.per_second
        assert pytest.approx(70.0) == shot.seconds_left

    def test_late_first_end(self) -> None:
        """The time before the first end does not make the pace look slower than it is."""
        tally = tally_of(100)
        for second in range(59):
            assert tally.snapshot(float(second)).per_second is None
        shot = tally.snapshot(59.0)
        for second in range(60, 64):
            told(tally, payout_in(State.FINAL, client_orderid=f"po-{second}"))
            shot = tally.snapshot(float(second))
        assert pytest.approx(1.0) == shot.per_second

    def test_before_the_first_end(self) -> None:
        """The steps that payouts make tell the expected end before the first of them has ended."""
        tally = tally_of(100)
        shot = tally.snapshot(0.0)
        for second in range(1, 11):
            for n in range(10):
                name = f"po-{10 * second - 10 + n}"
                told(tally, payout_in(State.VALIDATING, client_orderid=name))
            shot = tally.snapshot(float(second))
        # A quarter of all steps took ten seconds.
        assert (0, None) == (shot.finished, shot.per_second)
        assert pytest.approx(30.0) == shot.seconds_left

    def test_standstill(self) -> None:
        """When nothing ends any more the pace falls to nothing, and no end is promised."""
        tally = tally_of(3)
        shot = tally.snapshot(0.0)
        told(tally, payout_in(State.FINAL, client_orderid="po-0"))
        for second in range(1, 40):
            shot = tally.snapshot(float(second))
        assert (0.0, None) == (shot.per_second, shot.seconds_left)

    def test_receivers(self) -> None:
        """Nobody knows how long receivers take, so the expected end leaves them out."""
        tally = tally_of(10)
        shot = tally.snapshot(0.0)
        for n in range(5):
            tally.joined(payout_in(State.AWAITING_RECEIVER, client_orderid=f"po-{n}"))
        for second in range(1, 5):
            told(tally, payout_in(State.FINAL, client_orderid=f"po-{4 + second}"))
            shot = tally.snapshot(float(second))
        assert (5, 4) == (shot.receivers, shot.finished)
        assert pytest.approx(1.0) == shot.seconds_left

    def test_earlier_ends(self) -> None:
        """What was finished before the run is no work of it."""
        tally = tally_of(10)
        for n in range(9):
            tally.joined(payout_in(State.FINAL, client_orderid=f"po-{n}"))
        shot = tally.snapshot(0.0)
        for second in range(5):
            shot = tally.snapshot(float(second))
        assert (9, 0, None) == (shot.over, shot.finished, shot.per_second)


def test_answers() -> None:
    """Only what the gateway itself has answered counts as an answer."""
    tally, payout = Tally([request()]), payout_in(State.PAYING)
    tally.asked(payout, "no-answer", 1.0, 0.0)
    tally.sent(payout, "payout-pay", "unknown", 1.0)
    tally.sent(payout, "payout-pay", "not-sent", 1.0)
    assert 0 == tally.answers
    tally.asked(payout, "report", 1.0, 0.0)
    tally.asked(payout, "not-found", 1.0, 0.0)
    tally.sent(payout, "payout-pay", "accepted", 1.0)
    tally.sent(payout, "payout-pay", "refused", 1.0)
    assert 4 == tally.answers


def test_costs_little() -> None:
    """Following ten thousand payouts takes less than a second of all that they cost."""
    names = [f"po-{n}" for n in range(10_000)]
    tally = tally_of(10_000)
    states = (State.NEW, State.VALIDATING, State.VALIDATED, State.AWAITING_FINAL, State.FINAL)
    stages = [payout_in(state) for state in states]
    moved = [attrs.evolve(payout, client_orderid=name) for payout in stages for name in names]
    began = time.thread_time()
    told(tally, *moved)
    for second in range(400):
        tally.snapshot(float(second))
    assert time.thread_time() - began < 1.0
    assert 10_000 == tally.snapshot(400.0).counts[Group.APPROVED]
