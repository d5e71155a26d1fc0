"""What is seen of a run, with the command as people run it: on terminals, in logs, by machines."""

import asyncio
import datetime as dt
import json
import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from desk import ACCOUNTS, COMMAND, NAMES, Desk, ended, open_desk, pay_arguments
from servers import Connection, Server
from terminals import CTRL_C, CTRL_S, Terminal, on_terminal

from billblend_async.gateway.wire import RequestKind

FAST = ("--poll", "0.1:0.2")
GOOD = "1234567890"
NO_ECHO = 0.3
"""Seconds after which a second signal is meant, and no echo of the first."""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


def on(
    desk: Desk, *words: object, environ: dict[str, str] | None = None, **options: Any
) -> AbstractAsyncContextManager[Terminal]:
    """Run the command on a terminal at a desk."""
    names = {name: value for name, value in desk.environ.items() if "BILLBLEND" in name}
    given = {**names, "PYTHONPATH": desk.environ["PYTHONPATH"], **(environ or {})}
    return on_terminal(*COMMAND, *words, folder=desk.folder, environ=given, **options)


def events(out: str) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def some_in(phase: str, terminal: Terminal) -> bool:
    """Tell whether the screen shows payouts in a phase."""
    return bool(re.search(rf"^{phase}\s.*\s[1-9]\d*\s+\d+$", terminal.text, re.MULTILINE))


async def silent(connection: Connection) -> None:
    """Take a request in and never answer."""
    await connection.read_request()
    await connection.reader.read()


class TestScreen:
    @pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 20), (120, 40)])
    async def test_a_run(self, desk: Desk, columns: int, lines: int) -> None:
        """While it runs there are bars and counts; then there is room for the totals again."""
        desk.sandbox.gateway.validation = desk.sandbox.gateway.processing = 1.0
        file = desk.write(30)
        async with on(desk, *pay_arguments(file), *FAST, columns=columns, lines=lines) as terminal:
            shown = await terminal.sees("payouts.csv", "30 payouts", "bank", "waiting", "EUR")
            assert not terminal.shows_cursor()
            await terminal.sees("final", "approved")
            assert 2 == await terminal.ended()
            assert terminal.shows_cursor()
            assert "check  " in shown
            assert "check  " not in terminal.text
            assert "Results: results.csv" in terminal.text
            assert "declined" in terminal.text
            assert "pays it again, then acknowledge it." in " ".join(terminal.text.split())
            for secret in (*ACCOUNTS, *NAMES):
                assert secret not in terminal.raw.decode()

    async def test_narrowed(self, desk: Desk) -> None:
        """A terminal that is made narrower shows the view once, and nothing of the wider one."""
        desk.sandbox.gateway.validation = 5.0
        given = (*pay_arguments(desk.write(30)), *FAST)
        async with on(desk, *given, columns=120, lines=40) as terminal:
            await terminal.sees("30 payouts", "person", "waiting")
            terminal.narrow(50)
            seen = len(terminal.frames) + 4
            await terminal.until(lambda: len(terminal.frames) > seen)
            for word in ("30 payouts", "now", "check ", "receiver", "approved"):
                assert 1 == terminal.text.count(word), terminal.text
            assert "through" not in terminal.text

    async def test_no_colour(self, desk: Desk) -> None:
        """With NO_COLOR nothing is coloured, and the view is there all the same."""
        desk.sandbox.gateway.validation = 1.0
        given = (*pay_arguments(desk.write(3)), *FAST)
        async with on(desk, *given, environ={"NO_COLOR": "1"}) as terminal:
            await terminal.sees("bank", "waiting")
            await terminal.ended()
            assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", terminal.raw)

    async def test_dumb_terminal(self, desk: Desk) -> None:
        """A terminal that moves no cursor gets plain lines."""
        given = (*pay_arguments(desk.write(3)), *FAST)
        async with on(desk, *given, term="dumb") as terminal:
            assert 2 == await terminal.ended()
            assert b"\x1b" not in terminal.raw
            assert "3 payouts: 7.50 EUR" in terminal.text

    async def test_approve(self, desk: Desk) -> None:
        """An approval shows only the payouts that it is about."""
        file = desk.write(5, accounts=[GOOD])
        await desk.pay(file, "--check-only", *FAST)
        desk.sandbox.gateway.processing = 1.0
        given = ("--journal", "payouts.db", "--out", "results.csv", "--who", "ann", *FAST)
        async with on(desk, "approve", file, "po-1", "po-2", *given) as terminal:
            await terminal.sees("approving 2 payout(s)", "2 payouts", "final")
            assert 2 == await terminal.ended()
        assert 2 == len(desk.sandbox.gateway.ledger)


class TestLog:
    async def test_before_the_end(self, desk: Desk) -> None:
        """A log has its first line while the run still goes on."""
        desk.sandbox.gateway.validation = 1.0
        process = await desk.start(*pay_arguments(desk.write(3, accounts=[GOOD])), *FAST)
        assert process.stdout is not None
        assert b"3 payouts: 7.50 EUR\n" == await process.stdout.readline()
        assert process.returncode is None
        assert (0, "") == (await ended(process))[::2]

    async def test_reader_leaves(self, desk: Desk) -> None:
        """Whoever reads the log may leave: everybody is paid, and no error is made of it."""
        desk.sandbox.gateway.validation = 0.5
        file = desk.write(3, accounts=[GOOD])
        there, here = os.pipe()
        words = [sys.executable, *COMMAND, *map(str, (*pay_arguments(file), *FAST))]
        process = await asyncio.create_subprocess_exec(
            *words,
            env=desk.environ,
            cwd=desk.folder,
            stdout=here,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(here)
        os.close(there)
        _, error = await process.communicate()
        assert 0 == process.returncode, error
        assert "Traceback" not in error.decode()
        assert {"approved"} == {row["status"] for row in desk.results().values()}


class TestJson:
    async def test_a_run(self, desk: Desk) -> None:
        """Machines read JSON and nothing else, one end for each payout, and nothing personal."""
        status, out, error = await desk.pay(desk.write(9), "--json", *FAST)
        told = events(out)
        assert (2, "started", "finished") == (status, told[0]["event"], told[-1]["event"])
        ends = {each["client_orderid"]: each for each in told if each["event"] == "payout"}
        assert 9 == len(ends) == sum(each["event"] == "payout" for each in told)
        for name, row in desk.results().items():
            assert row["status"] == ends[name]["status"]
            assert row["paynet_order_id"] == ends[name]["paynet_order_id"]
            assert row["explanation"] == (ends[name]["explanation"] or "")
        problems = {e["client_orderid"]: e["problem"] for e in told if e["event"] == "problem"}
        assert {"po-2", "po-5", "po-8"} == set(problems)
        assert "whether the money moved; ask its support" in problems["po-2"]
        assert (2, False) == (told[-1]["exit_status"], told[-1]["interrupted"])
        assert "results.csv" == told[-1]["results"]
        assert 9 == sum(total["payouts"] for total in told[-1]["totals"])
        assert "Results: results.csv" in error
        for secret in (*ACCOUNTS, *NAMES, desk.sandbox.merchant_control):
            assert secret not in out

    async def test_interrupted(self, desk: Desk) -> None:
        """An interrupted run says so in its last event."""
        desk.sandbox.gateway.validation = 5.0
        process = await desk.start(*pay_arguments(desk.write(3)), "--json", *FAST)
        while desk.count(RequestKind.CHECK).total() < 3:
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        status, out, error = await ended(process)
        last = events(out)[-1]
        assert (2, "finished", True) == (status, last["event"], last["interrupted"])
        assert "interrupted; 3 payout(s) are unfinished; run the same command again" in error

    async def test_bad_input(self, desk: Desk) -> None:
        """What keeps a run from beginning is no event, and told to people."""
        (desk.folder / "payouts.csv").write_text("client_orderid\n")
        status, out, error = await desk.pay(desk.folder / "payouts.csv", "--json")
        assert (3, "", True) == (status, out, "header" in error)


class TestDoubt:
    async def test_after_a_kill(self, desk: Desk) -> None:
        """After kill -9, the next run says what is in doubt, until when, and what comes then."""
        desk.sandbox.faults.set("payout-pay", "drop_before")
        file = desk.write(3, accounts=[GOOD])
        killed = await desk.start(*pay_arguments(file), "--json", *FAST)
        first = await doubt_of(killed)
        killed.kill()
        await killed.communicate()
        desk.sandbox.faults.clear()

        again = await desk.start(*pay_arguments(file), "--json", *FAST)
        told = await doubt_of(again)
        assert (3, first["until"]) == (told["in_doubt"], told["until"])
        until = dt.datetime.fromisoformat(told["until"])
        assert 800 < (until - dt.datetime.now(dt.UTC)).total_seconds() < 900
        assert "billblend attention list --journal payouts.db" == told["command"]
        again.send_signal(signal.SIGINT)
        await again.communicate()
        process = await desk.start(*pay_arguments(file), *FAST)
        assert process.stdout is not None
        line = await process.stdout.readline()
        while line and b"in doubt" not in line:
            line = await process.stdout.readline()
        assert b"3 payouts in doubt: claimed, by this run or another" in line
        process.kill()
        await process.communicate()
        async with on(desk, *pay_arguments(file), *FAST) as terminal:
            await terminal.sees("3 payouts in doubt", "UTC at the longest", "attention list")
            terminal.press(CTRL_C)
            assert 2 == await terminal.ended()
        assert 0 == len(desk.sandbox.gateway.ledger)


async def doubt_of(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Read events until one tells of payouts in doubt."""
    assert process.stdout is not None
    async for line in process.stdout:
        told: dict[str, Any] = json.loads(line)
        if told["event"] == "doubt":
            return told
    raise AssertionError("the run has ended without a word of doubt")


class TestEnding:
    async def test_once(self, desk: Desk) -> None:
        """Ctrl-C sends nothing new, records what is under way and names the way to go on."""
        desk.sandbox.faults.set("payout-pay", "delay", seconds=3.0)
        file = desk.write(4, accounts=[GOOD])
        async with on(desk, *pay_arguments(file), *FAST, columns=100) as terminal:
            await terminal.until(lambda: some_in("pay", terminal))
            terminal.press(CTRL_C)
            await terminal.sees("stopping: nothing new is sent")
            sends = desk.count(RequestKind.CHECK).total()
            assert 2 == await terminal.ended()
            assert terminal.shows_cursor()
            told = terminal.prose
            again = "run the same command again: python -m billblend_async pay"
            assert f"interrupted; 4 payout(s) are unfinished; {again}" in told
            assert "--journal payouts.db --out results.csv --poll 0.1:0.2" in told
            assert sends == desk.count(RequestKind.CHECK).total()
        assert desk.count(RequestKind.PAY)
        desk.sandbox.faults.clear()
        # What was under way is on record, so nothing of it is in doubt.
        assert 0 == (await desk.pay(file, *FAST))[0]
        assert dict.fromkeys((f"po-{n}" for n in range(4)), 1) == desk.count(RequestKind.PAY)

    @pytest.mark.parametrize("as_json", [False, True])
    async def test_twice(self, desk: Desk, *, as_json: bool) -> None:
        """A second signal ends it within a second, and nobody is paid twice after it."""
        desk.sandbox.faults.set("payout-pay", "delay", seconds=30.0)
        file = desk.write(4, accounts=[GOOD])
        more = ("--json",) if as_json else ()
        process = await desk.start(*pay_arguments(file), *FAST, "--deadline", "doubt=1", *more)
        await self.claimed(desk)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        status, _, error = await ended(process)
        assert time.monotonic() - began < 1.0
        assert 2 == status
        assert "ending; what is under way is recorded first" in error
        assert "cut off, and the results were not written again; run the same command" in error
        assert "Traceback" not in error
        assert not list(desk.folder.glob(".results*"))
        desk.sandbox.faults.clear()
        status, _, _ = await desk.pay(file, *FAST)
        paid, told = desk.count(RequestKind.PAY), desk.results()
        # What was cut off before the gateway acted on it is in doubt, and never sent again.
        assert {1} >= set(paid.values())
        assert {"approved", "attention"} >= {row["status"] for row in told.values()}
        assert (0 if set(paid) == set(told) else 2) == status

    async def claimed(self, desk: Desk) -> None:
        """Wait until a payout is being paid, as the journal has it."""
        path = desk.folder / "payouts.db"
        query = "SELECT count(*) FROM payouts WHERE state = 'paying'"
        while True:
            await asyncio.sleep(0.05)
            if not path.exists():
                continue
            try:
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                    if database.execute(query).fetchone()[0]:
                        return
            except sqlite3.OperationalError:
                continue  # it is not made yet

    async def test_twice_on_a_terminal(self, desk: Desk) -> None:
        """A run that is cut off leaves the terminal as it was."""
        desk.sandbox.faults.set("payout-pay", "delay", seconds=30.0)
        file = desk.write(4, accounts=[GOOD])
        async with on(desk, *pay_arguments(file), *FAST) as terminal:
            await terminal.until(lambda: some_in("pay", terminal))
            terminal.press(CTRL_C)
            await terminal.sees("stopping:")
            await asyncio.sleep(NO_ECHO)
            terminal.press(CTRL_C)
            began = time.monotonic()
            assert 2 == await terminal.ended()
            assert time.monotonic() - began < 1.2
            assert terminal.shows_cursor()
            assert "cut off" in terminal.text

    async def test_held_terminal(self, desk: Desk) -> None:
        """A terminal that takes nothing holds no payout up, nor a second signal."""
        file = desk.write(20, accounts=[GOOD])
        async with on(desk, *pay_arguments(file), *FAST) as terminal:
            await terminal.sees("20 payouts")
            terminal.press(CTRL_S)
            while (
                len(desk.sandbox.gateway.ledger) < 20 or not (desk.folder / "results.csv").exists()
            ):
                assert terminal.process.returncode is None
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)  # a view that is painted four times a second has stood still
            assert terminal.process.returncode is None
            terminal.process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.5)
            terminal.process.send_signal(signal.SIGINT)
            began = time.monotonic()
            assert 2 == await terminal.ended()
            assert time.monotonic() - began < 1.5
        assert {"approved"} == {row["status"] for row in desk.results().values()}

    async def test_echo(self, desk: Desk) -> None:
        """Two signals at the same moment are one: a wrapper has passed on what both have got."""
        desk.sandbox.gateway.validation = 5.0
        process = await desk.start(*pay_arguments(desk.write(3)), *FAST)
        while desk.count(RequestKind.CHECK).total() < 3:
            await asyncio.sleep(0.02)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        status, _, error = await ended(process)
        assert 2 == status
        assert 1 == error.count("ending;")
        assert "interrupted; 3 payout(s)" in error

    async def test_demo(self, desk: Desk) -> None:
        """A demo that is interrupted ends well: its sandbox outlives the key that was pressed."""
        given = ("demo", "--payouts", "30", "--directory", "demo")
        async with on(desk, *given) as terminal:
            await terminal.until(lambda: some_in("bank", terminal))
            terminal.press(CTRL_C)
            assert 2 == await terminal.ended()
            assert "its sandbox ends with the demo, so begin a new one" in terminal.prose
            assert "Traceback" not in terminal.raw.decode()


class TestTrouble:
    async def test_nobody_there(self, desk: Desk) -> None:
        """Where nobody listens, that is said within three seconds, on a terminal and in JSON."""
        desk.environ["BILLBLEND_BASE_URL"] = "http://127.0.0.1:9/checkout"
        given = (*pay_arguments(desk.write(3)), *FAST)
        async with on(desk, *given) as terminal:
            await terminal.sees("3 payouts")
            began = time.monotonic()
            await terminal.sees("cannot be reached")
            assert time.monotonic() - began < 3.0
        process = await desk.start(*given, "--json")
        assert process.stdout is not None
        began = time.monotonic()
        while b'"trouble"' not in (line := await process.stdout.readline()):
            assert line
        assert time.monotonic() - began < 4.0
        assert "cannot be reached" in json.loads(line)["trouble"]
        process.terminate()
        assert 2 == (await ended(process))[0]

    async def test_nobody_answers(self, desk: Desk) -> None:
        """Where requests are taken and never answered, that is said within three seconds too."""
        async with Server(silent) as server:
            desk.environ["BILLBLEND_BASE_URL"] = server.url
            given = (*pay_arguments(desk.write(3)), *FAST)
            async with on(desk, *given) as terminal:
                await terminal.sees("3 payouts")
                began = time.monotonic()
                await terminal.sees("the gateway has not answered yet")
                assert time.monotonic() - began < 3.0
                terminal.press(CTRL_C)
                await terminal.sees("stopping:")
                await asyncio.sleep(NO_ECHO)
                terminal.press(CTRL_C)
                assert 2 == await terminal.ended()
