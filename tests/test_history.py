"""What has happened to a payout is told in words, harmless whoever has written a part of them."""

import io
from typing import Any, Final

import pytest
from golden_journals import lives
from house import house, virtually
from journals import HOSTILE
from payouts import LINK, ORDER, PATHS, START, finished, fold, opened, request
from rich.console import Console

from billblend_async.core.descriptions import decided, happened, reason_of
from billblend_async.core.events import (
    EVENTS,
    Acknowledged,
    Approved,
    Closed,
    Event,
    Finished,
    PayRefused,
    Released,
    Withdrawn,
)
from billblend_async.core.models import State
from billblend_async.core.payout import outcome
from billblend_async.errors import InvalidInput, PayoutNotFound
from billblend_async.reporting.terminal import print_history

ALL: Final = [event for events in lives().values() for event in events]


@pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)
def test_every_event(kind: type[Event]) -> None:
    """Each kind of event is one harmless line of its own, without the receiver's link."""
    told = [happened(event) for event in ALL if type(event) is kind]

    assert told
    assert all(each.isprintable() and LINK not in each for each in told)
    others = {happened(event) for event in ALL if type(event) is not kind}
    assert set() == others & set(told)


def test_what_the_gateway_told() -> None:
    """A final status is told with its amount, type and error."""
    event = finished("error", error_code="20002", error_message="Broken", transaction_type="payout")

    assert "the gateway told payout, error, 10.42 USD: 20002 Broken" == happened(event)
    assert "the gateway told approved" == happened(finished(amount=None, currency=None))


class TestDecisions:
    @pytest.mark.parametrize("kind", [Released, Closed, Withdrawn, Acknowledged])
    def test_who_and_why(self, kind: Any) -> None:
        """A decision is told with who has made it and why."""
        seen = {"findings": (6,), "error": False} if kind is Acknowledged else {}
        decision = kind(at=START, who="ann", why="asked the bank", **seen)

        assert f"{kind.__name__.lower()} by ann: asked the bank" == decided(decision)

    def test_approval(self) -> None:
        """An approval has no reason."""
        decision = Approved(at=START, who="ann")

        assert ("approved by ann", "") == (decided(decision), reason_of(decision))

    def test_harmless(self) -> None:
        """Names and reasons are short and steer nothing, whatever somebody has typed."""
        who, why = f"{HOSTILE}{'x' * 999}", f"{HOSTILE}\n{HOSTILE * 99}"
        told = decided(Released(at=START, who=who, why=why))

        assert told.isprintable()
        assert len(told) < 400

    def test_are_remembered_in_order(self) -> None:
        """A payout knows what people have decided about it, and how it was ended by them."""
        approved = (Approved(at=START + 1, who="bob"), *PATHS[State.ATTENTION])
        released = Released(at=START + 1000, who="ann", why="not paid")
        payout = fold(*approved, released, first=opened(held=True))
        closed = fold(*PATHS[State.CLOSED])
        withdrawn = fold(*PATHS[State.WITHDRAWN])

        assert (approved[0], released) == payout.decisions
        assert "Closed by ann: asked the bank." == outcome(closed).explanation
        assert "Withdrawn by ann: typo." == outcome(withdrawn).explanation
        assert "asked the bank" not in repr(closed)


class TestStatus:
    @virtually
    async def test_history(self) -> None:
        """All that happened to a payout can be read by a program, in order."""
        async with house() as h:
            await h.payouts.run(request(), pay=False)
            await h.payouts.approve("po-1", who="ann")
            events = await h.payouts.history("po-1")
            assert h.journal.events["po-1"] == events
            assert isinstance(events[-1], Finished)
            with pytest.raises(PayoutNotFound):
                await h.payouts.history("po-2")

    @virtually
    async def test_long_reason(self) -> None:
        """A reason that is a book is refused before anything is journaled."""
        async with house() as h:
            await h.payouts.accept(request())
            with pytest.raises(InvalidInput, match="why: is longer than 1,000 characters"):
                await h.payouts.withdraw("po-1", who="ann", why="x" * 1001)
            assert ["Opened"] == h.names()
            await h.payouts.withdraw("po-1", who="ann", why="x" * 1000)

    def test_printed(self) -> None:
        """Each event is printed with its time in UTC; of very many the latest are."""
        paper = io.StringIO()
        events: list[Event] = [opened(), PayRefused(at=START + 1, error_message=HOSTILE)]
        print_history(Console(file=paper, width=40), events * 150)
        lines = paper.getvalue().splitlines()

        assert "  100 earlier events" == lines[0]
        assert "  2027-01-15 08:00:00 UTC  accepted: 10.42 USD" == lines[1]
        assert 201 == len(lines)
        assert not {"\x1b", "\u202e"} & set(paper.getvalue())


def test_order_is_named() -> None:
    """The order that a payout is at the gateway is named where it was learned."""
    told = [happened(event) for event in PATHS[State.AWAITING_FINAL]]

    assert f"the gateway has it as order {ORDER}" in told
