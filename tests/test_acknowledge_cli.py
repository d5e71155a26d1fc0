"""``billblend attention acknowledge`` takes off the lists what was chosen and shown, no more."""

import asyncio
import os
import pty
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
from desk import Desk, ended, open_desk
from payouts import finished

from billblend_async.core.machine import evolve
from billblend_async.journal import Owner
from billblend_async.journal.sqlite import SqliteJournal

FAST: Final = ("--poll", "0.1:0.2")
ANOTHER_AMOUNT: Final = "5000000001"
JOURNAL: Final = ("--journal", "payouts.db")
WHO: Final = (*JOURNAL, "--who", "ann", "--why", "bank fee")
ACKNOWLEDGE: Final = ("attention", "acknowledge")
AMOUNT: Final = ("--alarm", "amount-differs")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk whose payouts were paid another amount than was asked for."""
    async with open_desk(tmp_path) as desk:
        await desk.pay(desk.write(2, accounts=[ANOTHER_AMOUNT]), *FAST)
        yield desk


async def take_back(desk: Desk, name: str, *amounts: str) -> None:
    """Write into the journal that a payout was taken back, in parts."""
    journal, sandbox = SqliteJournal(desk.folder / "payouts.db"), desk.sandbox
    owner = Owner(base_url=sandbox.base_url, login=sandbox.login, endpoint=str(sandbox.endpoint_id))
    await journal.open(owner)
    for amount in amounts:
        before = await journal.load(name)
        assert before is not None
        told = finished(
            at=time.time(),
            paynet_order_id=before.paynet_order_id,
            transaction_type="chargeback",
            amount=Decimal(amount),
            currency="EUR",
        )
        await journal.append(evolve(before, told), told)
    await journal.aclose()


async def test_one_alarm(desk: Desk) -> None:
    """Of several alarms the one that is chosen is acknowledged; the others are told and listed."""
    await take_back(desk, "po-0", "0.10", "1.50")

    status, out, error = await desk.billblend(*ACKNOWLEDGE, *AMOUNT, *WHO, "--yes")
    assert (0, 2, 2) == (status, out.count("acknowledged: amount"), out.count("left: later-trans"))
    assert ["po-0: approved", "po-1: approved"] == [
        line for line in out.splitlines() if line.startswith("po-")
    ]
    assert "chargeback" not in error
    status, out, _ = await desk.billblend("attention", "list", *JOURNAL)
    assert (2, 2, False) == (status, out.count("a chargeback, approved,"), "amount-differs" in out)
    assert "po-1" not in out
    status, out, error = await desk.billblend(*ACKNOWLEDGE, "po-0", *AMOUNT, *WHO)
    assert (3, "") == (status, out)
    assert "what is open: later-transaction; look at it again" in error


async def test_by_name(desk: Desk) -> None:
    """What is acknowledged of a payout that is named is told with its numbers."""
    await take_back(desk, "po-0", "0.10", "1.50")

    status, out, error = await desk.billblend(*ACKNOWLEDGE, "po-0", "po-9", *WHO)
    assert (3, True) == (status, "po-9" in error)
    assert 2 == out.count("acknowledged: later-transaction: ")
    for number in ("3.00 EUR, but 1.50 EUR was asked", "0.10 EUR", "1.50 EUR"):
        assert number in out
    assert "left" not in out
    wrong = await desk.billblend(*ACKNOWLEDGE, "po-1", "--batch", "payouts.csv", *WHO)
    assert (3, True) == (wrong[0], "give payouts, or --alarm or --batch" in wrong[2])
    some = await desk.billblend(*ACKNOWLEDGE, "po-1", *AMOUNT, *WHO)
    assert 0 == some[0]
    assert (0, "Nothing needs a person.\n", "") == await desk.billblend(
        "attention", "list", *JOURNAL
    )


async def test_what_was_shown(desk: Desk) -> None:
    """What is told while a person looks at the question is not acknowledged with the rest."""
    await take_back(desk, "po-0", "0.10")
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billblend_async", *ACKNOWLEDGE),
        *(*WHO, "--batch", "payouts.csv"),
        env=desk.environ,
        cwd=desk.folder,
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    shown = (await process.stderr.readuntil(b"Type yes")).decode()
    assert "About to acknowledge this of 2 payout(s): 4.00 EUR\npo-0: 1.50 EUR, approved\n" in shown
    assert "  later-transaction: The payout of 1.50 EUR had ended as approved" in shown
    assert "0.10 EUR" in shown
    await take_back(desk, "po-0", "1.50")
    os.write(ours, b"yes\n")
    status, out, _ = await ended(process)
    os.close(ours)
    os.close(theirs)

    assert (0, 1) == (status, out.count("  left: "))
    (left,) = [line for line in out.splitlines() if line.startswith("  left: ")]
    assert left.endswith("a chargeback, approved, 1.50 EUR")
    listed = await desk.billblend("attention", "list", *JOURNAL)
    assert (2, 1, False) == (listed[0], listed[1].count("a chargeback"), "0.10" in listed[1])


async def test_unasked(desk: Desk) -> None:
    """Where nobody can be asked, nothing that merely fits a filter is acknowledged."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billblend_async", *ACKNOWLEDGE, *AMOUNT, *WHO),
        env=desk.environ,
        cwd=desk.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    status, out, error = await ended(process)

    assert (4, "") == (status, out)
    assert "nobody can be asked here; add --yes to acknowledge this of 2 payout(s)" in error
    assert 2 == (await desk.billblend("attention", "list", *JOURNAL))[0]
