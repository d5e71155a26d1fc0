"""A third of the answers are lost, broken or garbled, and every payout is told as it is."""

from collections import Counter
from pathlib import Path

import pytest
from bad_answers import trial
from bad_gateway import AFTER, BEFORE, LATE

from billblend_async.core.models import Doubt, State


@pytest.mark.timeout(150)
async def test_a_third_of_all_answers(tmp_path: Path) -> None:
    """Nobody is paid twice, no check is repeated blindly, and each row is as the ledger has it."""
    async with trial(tmp_path, 80, seed=3, doubt=20.0) as paid:
        error = await paid.pay(patience=100)
        first = await paid.records()

        assert "" == error
        assert [] == paid.wrongs(first)
        sends = sum(n for (kind, _), n in paid.line.arrived.items() if kind != "status")
        assert sends / 5 < len(paid.line.met) < sends / 2
        for faults in (BEFORE, AFTER, LATE):
            assert {"payout-check", "payout-pay"} == {
                met.kind for met in paid.line.met if met.fault in faults
            }
        # What was lost after the gateway acted, or came late, clears itself up; the rest cannot.
        lost = {
            met.client_orderid
            for met in paid.line.met
            if met.kind == "payout-pay" and met.fault in BEFORE
        }
        parked = {n: r for n, r in first.items() if r.payout.state is State.ATTENTION}
        assert lost == set(parked)
        assert {Doubt.PAY_UNCONFIRMED} == {r.payout.doubt for r in parked.values()}
        told = Counter(row["status"] for row in paid.desk.results().values())
        assert len(paid.desk.sandbox.gateway.ledger) == told["approved"]


async def test_pays_that_come_very_late(tmp_path: Path) -> None:
    """A pay that takes effect after its doubt was given up is learned by the next run, not sent."""
    async with trial(tmp_path, 40, seed=1, doubt=2.0) as paid:
        line = paid.line
        line.share, line.kinds, line.faults, line.lateness = 0.4, ("payout-pay",), LATE, (6.0, 8.0)
        await paid.pay(patience=100)
        late = {met.client_orderid for met in line.met}
        first = await paid.records()
        parked = {n for n, r in first.items() if r.payout.state is State.ATTENTION}
        assert late == parked
        assert 5 < len(late) < 30
        await line.settle()
        await paid.pay(patience=100)

        assert [] == paid.wrongs(await paid.records())
        assert {1} == {n for (kind, _), n in line.arrived.items() if kind == "payout-pay"}
        ends = Counter(row["status"] for row in paid.desk.results().values())
        assert {"approved", "declined", "error"} == set(ends)
        assert len(paid.desk.sandbox.gateway.ledger) == ends["approved"]
