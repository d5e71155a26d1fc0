"""``kill -9`` at any moment: nobody is paid twice and nobody is lost. See killing.py."""

import asyncio
import random
from itertools import pairwise
from pathlib import Path

import pytest
from bad_answers import Trial, trial
from desk import open_desk
from killing import ACCOUNTS, Killing, lost

from billblend_async.core.events import CheckStarted, PayStarted
from billblend_async.core.models import Doubt, State


async def test_the_command_is_killed(tmp_path: Path) -> None:
    """Killed six times, the command goes on, pays nobody twice and tells every row as it is."""
    async with open_desk(tmp_path, validation=0.5, processing=0.5) as desk:
        killing = Killing(
            desk=desk, file=desk.write(60, accounts=ACCOUNTS), chance=random.Random(7), window=25
        )
        while killing.kills < 6 and await killing.kill():
            pass
        status, _, error = await killing.finish(quiet=5)
        records, wrongs = await killing.wrongs()

        assert [] == wrongs
        assert 4 <= killing.kills
        assert status in (1, 2)
        assert "Traceback" not in error
        left = [name for name, r in records.items() if not r.payout.state.is_terminal]
        assert len(left) == sum(lost(records, desk).values())
        approved = {e.client_orderid for e in desk.sandbox.gateway.ledger}
        assert approved == {n for n, row in desk.results().items() if row["status"] == "approved"}


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_was_lost_is_parked(seed: int, tmp_path: Path) -> None:
    """After kills where it is busiest, what never left waits for a person or for five answers."""
    async with open_desk(tmp_path, validation=0.5, processing=0.5) as desk:
        killing = Killing(
            desk=desk,
            file=desk.write(60, accounts=ACCOUNTS),
            chance=random.Random(seed),
            window=25,
            doubt=5.0,
        )
        while killing.kills < 8 and await killing.kill():
            pass
        await killing.finish()
        records, wrongs = await killing.wrongs()

        assert [] == wrongs
        assert 4 <= killing.kills
        parked = [r for r in records.values() if r.payout.state is State.ATTENTION]
        asked = [r for r in records.values() if r.payout.state is State.CHECKING]
        finished = [r for r in records.values() if r.payout.state is State.FINAL]
        gone = lost(records, desk)
        assert len(parked) == gone["pays"]
        assert len(asked) <= gone["checks"]  # the others were denied five times, and sent again
        assert 60 == len(parked + asked + finished)
        assert all("was lost" in (r.outcome.explanation or "") for r in parked)


async def test_killed_while_checks_hang(tmp_path: Path) -> None:
    """Checks that hang when the process dies are sent again after thirty seconds and paid once."""
    async with trial(tmp_path, 60, seed=1, doubt=30.0) as paid:
        hung = await die_while_hanging(paid, "payout-check")
        await paid.pay(patience=100)
        records = await paid.records()

        assert [] == paid.wrongs(records)
        assert {State.FINAL} == {record.payout.state for record in records.values()}
        for record in (records[name] for name in hung):
            [(first, second)] = pairwise(record.instants(CheckStarted))
            assert 30 <= second - first
            assert 2 == paid.line.arrived["payout-check", record.payout.client_orderid]


async def test_killed_while_pays_hang(tmp_path: Path) -> None:
    """Pays that hang when the process dies are never sent again and wait for a person."""
    async with trial(tmp_path, 60, seed=1, doubt=5.0) as paid:
        hung = await die_while_hanging(paid, "payout-pay")
        await paid.pay(patience=100)
        records = await paid.records()

        assert [] == paid.wrongs(records)
        assert not hung & {entry.client_orderid for entry in paid.desk.sandbox.gateway.ledger}
        for name, record in ((name, records[name]) for name in hung):
            assert (State.ATTENTION, Doubt.PAY_UNCONFIRMED) == (
                record.payout.state,
                record.payout.doubt,
            )
            assert 1 == len(record.instants(PayStarted)) == paid.line.arrived["payout-pay", name]


async def die_while_hanging(paid: Trial, kind: str) -> set[str]:
    """Let requests of a kind hang once sends flow freely, and kill the process under them."""
    line = paid.line
    line.share, line.kinds, line.faults, line.spared = 1.0, (kind,), ("held before",), 35
    process = await paid.start()
    while len(line.met) < 20:
        assert process.returncode is None
        await asyncio.sleep(0.005)
    process.kill()
    await process.communicate()
    line.share = 0.0
    return {met.client_orderid for met in line.met}
