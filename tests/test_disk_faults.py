"""``billblend pay`` on a real disk that is full or cannot be synced."""

import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from desk import COMMAND, Desk, ended, open_desk, pay_arguments
from killing import lost
from truth import Truth, read_records

from billblend_async.core.events import CheckStarted, PayStarted
from billblend_async.core.models import State

FAST = ("--poll", "0.1:0.2")
DOUBT = ("--deadline", "doubt=5")
"""A claim whose commit or whose taking back has failed may be in the file: then it is in doubt."""
APPROVED = ["1234567890"]
AGAIN = "again"


def works(*words: str) -> bool:
    """Tell whether this machine allows a program."""
    if shutil.which(words[0]) is None:
        return False
    return subprocess.run(words, capture_output=True, check=False, timeout=10).returncode == 0


MOUNTS = works("unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt")
INJECTS = works("strace", "-f", "-e", "inject=fsync:error=EIO", "true")
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="a small disk cannot be mounted here")
needs_strace = pytest.mark.skipif(not INJECTS, reason="strace is missing or may not trace here")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


PAY = f'"$PYTHON" {" ".join(COMMAND)} pay payouts.csv --poll 0.1:0.2 {" ".join(DOUBT)}'


async def pay_again(desk: Desk, file: Path) -> None:
    """Pay the file on a sound disk."""
    status, _, error = await ended(await desk.start(*pay_arguments(file), *FAST, *DOUBT))
    assert status in (0, 2)
    assert "" == error


async def assert_told(desk: Desk, file: Path) -> None:
    """Demand that each row is paid once, or is in doubt after a claim that was never sent."""
    records = await read_records(desk.folder / "payouts.db", desk.environ)
    wrongs = Truth(desk.sandbox.gateway, records, time.time()).wrongs(file, desk.results())
    assert [] == wrongs, wrongs
    left = {name: r for name, r in records.items() if r.payout.state is not State.FINAL}
    # A lost check may have been denied five times meanwhile, and sent again.
    assert len(left) <= sum(lost(records, desk).values())
    assert all(r.instants(CheckStarted) or r.instants(PayStarted) for r in left.values())
    assert len(desk.sandbox.gateway.ledger) == len(records) - len(left)


async def on_small_disk(desk: Desk, size: str, script: str) -> tuple[int | None, str, str]:
    """Run a script that sees a disk of so many bytes at the folder ``disk``."""
    (desk.folder / "disk").mkdir()
    desk.environ["PYTHON"] = sys.executable
    mount = f"set -e; mount -t tmpfs -o size={size} tmpfs disk; set +e; {script}"
    return await ended(await desk.spawn("unshare", "-rm", "sh", "-c", mount))


@needs_mounts
async def test_a_full_disk(desk: Desk) -> None:
    """On a full disk nothing is sent that is not on record, and with room the command goes on."""
    file = desk.write(40, accounts=APPROVED)
    pay = f"{PAY} --journal disk/payouts.db --out results.csv"
    out, error = (
        await on_small_disk(
            desk,
            "96k",
            f"{pay} >&2; echo first $?; mkdir then; cp disk/* then; cp results.csv then;"
            f"mount -o remount,size=8m disk; {pay} >&2; echo second $?; cp disk/* .",
        )
    )[1:]

    assert out in ("first 2\nsecond 0\n", "first 2\nsecond 2\n"), error
    assert "disk is full" in error.replace("\n", " ")
    assert "look at free space" in error
    assert AGAIN in error
    assert "Traceback" not in error
    await assert_told(desk, file)
    assert any(row["status"] == "unfinished" for row in desk.results("then/results.csv").values())


@needs_mounts
async def test_a_disk_that_is_full_from_the_start(desk: Desk) -> None:
    """A journal that cannot even be made is refused with a sentence, and nothing is sent."""
    desk.write(3, accounts=APPROVED)
    pay = f"{PAY} --journal disk/payouts.db --out results.csv"
    status, _, error = await on_small_disk(desk, "16k", f"{pay}; exit $?")

    assert (4, 1) == (status, error.count("\n")), error
    assert "look at free space" in error
    assert [] == desk.sandbox.gateway.requests


@needs_mounts
async def test_results_that_do_not_fit(desk: Desk) -> None:
    """When the results cannot be written the command says so, and writes them elsewhere next."""
    file = desk.write(90, accounts=APPROVED)
    pay = f"{PAY} --journal payouts.db --out disk/results.csv"
    status, _, error = await on_small_disk(desk, "4k", f"{pay}; exit $?")

    assert (2, 1) == (status, error.count("\n")), error
    assert "disk/results.csv" in error
    assert AGAIN in error
    requests = len(desk.sandbox.gateway.requests)
    assert (0, "") == (await desk.pay(file, *FAST))[::2]
    assert requests == len(desk.sandbox.gateway.requests)
    await assert_told(desk, file)


async def test_a_file_that_may_not_grow(desk: Desk) -> None:
    """Under a limit of the system nothing is sent off the record, and without it all is paid."""
    file = desk.write(40, accounts=APPROVED)
    desk.environ["PYTHON"] = sys.executable
    limited = f"ulimit -f 120; {PAY} --journal payouts.db --out results.csv"
    status, _, error = await ended(await desk.spawn("sh", "-c", limited))

    assert (2, True) == (status, AGAIN in error), error
    assert "Traceback" not in error
    await pay_again(desk, file)
    await assert_told(desk, file)


@needs_strace
@pytest.mark.parametrize("when", ["1+", "24", "40", "40+", "60..90"])
async def test_a_disk_that_cannot_be_synced(desk: Desk, when: str) -> None:
    """When the disk fails to sync nothing is sent on that record, and a sound disk goes on."""
    file = desk.write(20, accounts=APPROVED)
    calls = "fsync,fdatasync"
    traced = ("strace", "-f", "-qq", "-o", desk.folder / "trace", "-e", f"trace={calls}")
    inject = ("-e", f"inject={calls}:error=EIO:when={when}")
    pay = ("pay", file, "--journal", "payouts.db", "--out", "results.csv", *FAST)
    process = await desk.spawn(*traced, *inject, sys.executable, *COMMAND, *pay, *DOUBT)
    status, _, error = await ended(process)

    assert "INJECTED" in (desk.folder / "trace").read_text()
    assert "Traceback" not in error
    if when == "1+":
        assert (4, []) == (status, desk.sandbox.gateway.requests), error
    else:
        assert (2, True) == (status, AGAIN in error), error
    assert "look at free space" in error
    await pay_again(desk, file)
    await assert_told(desk, file)
