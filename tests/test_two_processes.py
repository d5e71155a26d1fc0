"""Several real processes on one file and one journal at the same time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from desk import ACCOUNTS, Desk, ended, ended_when_quiet, open_desk
from truth import assert_true

from billblend_async.gateway.wire import RequestKind


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


async def start(desk: Desk, file: Path, out: str) -> asyncio.subprocess.Process:
    """Start one of them."""
    words = ("--journal", "payouts.db", "--out", out, "--poll", "0.1:0.2")
    return await desk.start("pay", file, *words)


async def test_two_processes_pay_one_file(desk: Desk) -> None:
    """Two processes check and pay each row once between them and tell the same results."""
    file = desk.write(60)
    first, second = await start(desk, file, "results.csv"), await start(desk, file, "b.csv")
    both = await asyncio.gather(ended(first), ended(second))

    assert [(2, ""), (2, "")] == [(status, error) for status, _, error in both]
    for kind in (RequestKind.CHECK, RequestKind.PAY):
        assert {f"po-{n}": 1 for n in range(60)} == desk.count(kind)
    assert desk.results() == desk.results("b.csv")
    assert {row["status"] for row in desk.results().values()} == set(ACCOUNTS.values())
    await assert_true(desk, file, owners=2)


async def test_the_other_one_is_killed(desk: Desk) -> None:
    """Of two processes one is killed, and the other goes on with what both had begun."""
    file = desk.write(60)
    first, second = await start(desk, file, "results.csv"), await start(desk, file, "b.csv")
    while desk.sends < 70:
        assert None is first.returncode is second.returncode
        await asyncio.sleep(0.002)
    second.kill()
    await second.communicate()
    # It asks on about what the other one has lost.
    status, _, error = await ended_when_quiet(desk, first, quiet=5)

    assert status in (1, 2)
    assert "Traceback" not in error
    assert 40 < sum(row["status"] != "unfinished" for row in desk.results().values())
    await assert_true(desk, file, owners=2)
