"""Whatever a user does to the command, it ends in words: no traceback, no secret."""

import asyncio
import contextlib
import io
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from desk import COMMAND, Desk, ended, open_desk, pay_arguments
from leaks import CARD

from billblend_async.cli.entrance import Lasting, tell_unexpected

FULL = Path("/dev/full")
HOLLOW = (*("--journal", "payouts.db", "--out", "results.csv"),)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


async def run(desk: Desk, *words: object, stdout: int | None = None) -> tuple[int | None, str, str]:
    """Run the command with an output of its own; its end, and what it has said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *COMMAND, *map(str, words)),
        env=desk.environ,
        cwd=desk.folder,
        stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode, (out or b"").decode(errors="replace"), error.decode(errors="replace")


def assert_words(error: str, *, most: int = 1) -> None:
    """See that some words, and not too many lines of them, were said."""
    assert "Traceback" not in error
    assert 'File "' not in error
    assert "should never happen" not in error
    assert 1 <= error.count("\n") <= most, error


BROKEN = {
    "no command": [],
    "no such command": ["pya"],
    "bad option": ["status", "po-1", "--jornal", "x"],
    "bad number": ["listen", "--journal", "j.db", "--port", "x"],
    "high port": ["listen", "--journal", "j.db", "--port", "70000"],
    "no such host": ["listen", "--journal", "j.db", "--host", "a" * 300, "--port", "0"],
    "no port": ["sandbox", "--port", "-1"],
    "no duration": ["sandbox", "--port", "0", "--validation", "nan"],
    "no file": ["pay", "nowhere.csv", *HOLLOW],
    "directory for a file": ["pay", ".", *HOLLOW],
    "device for a file": ["pay", "/dev/null", *HOLLOW],
    "long name": ["pay", "x" * 300, *HOLLOW],
    "no UTF-8 name": ["pay", "\udcff\udcfe.csv", *HOLLOW],
    "no UTF-8 in a file": ["pay", "latin.csv", *HOLLOW],
    "long journal": ["pay", "good.csv", "--journal", "x" * 300, "--out", "results.csv"],
    "long out": ["pay", "good.csv", "--journal", "p.db", "--out", "x" * 300],
    "file for a folder": ["pay", "good.csv", "--journal", "p.db", "--out", "good.csv/x"],
    "circular out": ["pay", "good.csv", "--journal", "p.db", "--out", "circle"],
    "circular journal": ["pay", "good.csv", "--journal", "circle", "--out", "results.csv"],
    "no database": ["pay", "good.csv", "--journal", "good.csv", "--out", "results.csv"],
    "journal in a file": ["status", "po-1", "--journal", "good.csv/x"],
    "directory for a journal": ["attention", "list", "--journal", "."],
    "no journal": ["journal", "restored", "--journal", "nowhere.db"],
    "no UTF-8 id": ["status", "\udcff"],
    "long id": ["status", "x" * 1000],
    "no UTF-8 name to withdraw": ["withdraw", "\udcff", "--journal", "empty.db", "--who", "a"],
    "empty name": ["approve", "good.csv", *HOLLOW, "--who", " "],
    "demo in a file": ["demo", "--directory", "good.csv"],
    "demo below a file": ["demo", "--directory", "good.csv/x"],
    "sign nothing": ["sign"],
    "sign no pair": ["sign", "payout", CARD],
    "sign no UTF-8": ["sign", "payout", "a=\udcff"],
    "card for an option": ["sign", "payout", f"--nonce={CARD}", f"--timestamp={CARD}"],
    "journal of a doctor": ["doctor", "--jornal", CARD],
}


@pytest.mark.parametrize("words", BROKEN.values(), ids=BROKEN.keys())
async def test_broken_command_lines(desk: Desk, words: list[str]) -> None:
    """A command line that cannot work is answered in words, sends nothing, tells no number."""
    desk.write(2, "good.csv")
    (desk.folder / "latin.csv").write_bytes(b"client_orderid,amount,currency\n\xff,1.00,EUR\n")
    (desk.folder / "circle").symlink_to("circle")
    (desk.folder / "empty.db").touch()

    status, _, error = await run(desk, *words)

    assert status in (2, 3, 4)
    assert_words(error, most=30)
    assert error.count("billblend") > 0 or error.count("problem") > 0
    assert CARD not in error
    assert 0 == desk.sends


@pytest.mark.parametrize("command", ["--help", "sandbox --help", "--version"])
async def test_reader_that_leaves(desk: Desk, command: str) -> None:
    """Where nobody reads the output any more, as behind head, it ends quietly and as usual."""
    reader, writer = os.pipe()
    os.close(reader)
    status, _, error = await run(desk, *command.split(), stdout=writer)
    os.close(writer)

    assert (0, "") == (status, error)


async def test_run_outlasts_its_reader(desk: Desk) -> None:
    """A run whose reader leaves is finished, written and told by its exit status all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    file = desk.write(3)
    status, _, error = await run(desk, *pay_arguments(file), "--poll", "0.1:0.2", stdout=writer)
    os.close(writer)

    assert (2, "") == (status, error)
    assert ["approved", "declined", "error"] == [r["status"] for r in desk.results().values()]


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["sign", "status", "client_orderid=po-1"]])
async def test_full_disk(desk: Desk, words: list[str]) -> None:
    """An output that cannot be written is a sentence and no success."""
    full = os.open(FULL, os.O_WRONLY)
    status, _, error = await run(desk, *words, stdout=full)
    os.close(full)

    assert 2 == status
    assert_words(error)


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&- <&-"])
async def test_closed_streams(desk: Desk, closed: str) -> None:
    """A journal never gets the number of a standard stream that was closed."""
    file = desk.write(2, accounts=["1234567890"])
    words = " ".join(map(str, (*pay_arguments(file), "--poll", "0.1:0.2")))
    line = f"exec {sys.executable} {' '.join(COMMAND)} {words} {closed}"
    status, _, error = await ended(await desk.spawn("sh", "-c", line))

    assert (0, "") == (status, error)
    assert ["approved"] * 2 == [row["status"] for row in desk.results().values()]


async def test_locked_journal(desk: Desk) -> None:
    """A journal that another program holds is told in one sentence."""
    file = desk.write(1, accounts=["1234567890"])
    await desk.pay(file, "--poll", "0.1:0.2")
    holder = sqlite3.connect(desk.folder / "payouts.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    status, _, error = await desk.billblend("attention", "list", "--journal", "payouts.db")
    holder.close()

    assert 4 == status
    assert_words(error)


@pytest.mark.parametrize("command", ["pay", "sandbox", "listen", "sign"])
async def test_interrupted_while_it_starts(desk: Desk, command: str) -> None:
    """Ctrl-C at any moment of the start ends it in at most one sentence."""
    words = {
        "pay": pay_arguments(desk.write(2)),
        "sandbox": ("sandbox", "--port", "0"),
        "listen": ("listen", "--journal", "payouts.db", "--port", "0"),
        "sign": ("sign", "status", "client_orderid=po-1"),
    }[command]
    for moment in range(6):
        process = await desk.start("-X", "importtime", *COMMAND, *words, program=())
        assert process.stderr is not None
        seen, left = False, 3 + 80 * moment
        with contextlib.suppress(TimeoutError):  # there is nothing left to import, and it serves
            while left and (line := await asyncio.wait_for(process.stderr.readline(), 5)):
                left -= seen
                seen = seen or b"billblend_async.cli.entrance" in line
        assert seen
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGINT)  # asyncio's own would take its exit status away
        try:
            _, rest = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
        said = [each for each in rest.decode().splitlines() if "import time:" not in each]
        assert process.returncode in (0, 1, 2), said
        assert len(said) <= 2, said
        assert all("Traceback" not in each and "File " not in each for each in said), said
        assert process.returncode == 0 or all(each.startswith("billblend:") for each in said)


UNEXPECTED = """
import billblend_async.cli.main as cli
from billblend_async.cli.entrance import enter

def fail(number):
    raise ValueError(number)

def main():
    try:
        fail({card!r})
    except ValueError as error:
        raise KeyError({card!r}) from error

cli.main = main
enter()
"""
BEHIND = """
import asyncio, gc, threading
import billblend_async.cli.main as cli
from billblend_async.cli.entrance import enter

async def fail():
    raise ValueError({card!r})

async def forget():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del task
    gc.collect()

class Thing:
    def __del__(self):
        raise ValueError({card!r})

def main():
    thread = threading.Thread(target=lambda: {{}}[{card!r}])
    thread.start()
    thread.join()
    Thing()
    gc.collect()
    asyncio.run(forget())
    return 0

cli.main = main
enter()
"""


class TestUnexpected:
    @pytest.mark.parametrize("wanted", ["", "0", "1"])
    async def test_last_resort(self, desk: Desk, wanted: str) -> None:
        """The unexpected is one sentence; the way it took is shown on request, without values."""
        desk.environ["BILLBLEND_TRACEBACK"] = wanted
        program = ("-c", UNEXPECTED.format(card=CARD))
        status, out, error = await ended(await desk.start(program=program))

        assert (2, "") == (status, out)
        assert "KeyError" in error.splitlines()[0]
        assert "please report" in error
        assert "BILLBLEND_TRACEBACK=1" in error
        assert CARD not in error
        if wanted == "1":
            assert "builtins.ValueError" in error
            assert "in fail" in error
        else:
            assert 1 == error.count("\n")

    async def test_behind_the_scenes(self, desk: Desk) -> None:
        """What fails in a thread, a task or a destructor is told in words too, without values."""
        program = ("-c", BEHIND.format(card=CARD))
        status, _, error = await ended(await desk.start(program=program))

        assert 0 == status
        assert 3 == error.count("should never happen") == error.count("\n")
        assert CARD not in error
        assert "Traceback" not in error

    def test_group(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a group of exceptions each one's kind is shown."""
        monkeypatch.setenv("BILLBLEND_TRACEBACK", "1")
        tell_unexpected(ExceptionGroup(CARD, [ValueError(CARD), KeyError(CARD)]))

        error = capsys.readouterr().err
        assert CARD not in error
        assert "builtins.ValueError" in error
        assert "builtins.KeyError" in error


class Shut(io.RawIOBase):
    """An output that fails."""

    def __init__(self, number: int) -> None:
        self.number = number

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(("number", "is_lost"), [(32, False), (28, True), (5, True)])
def test_lasting(number: int, is_lost: bool) -> None:  # noqa: FBT001 - a parametrised value
    """An output that cannot be written takes all there is, and knows whether that is a loss."""
    output = Lasting(Shut(number))

    assert (3, 5) == (output.write(b"abc"), output.write(b"defgh"))
    assert is_lost is output.is_lost
