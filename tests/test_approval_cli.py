"""Files are checked now and paid after approval, with the command as people run it."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, ended, ended_when_quiet, open_desk, pay_arguments

from billblend_async.batch.preflight import approvable
from billblend_async.cli import review as decisions
from billblend_async.cli.main import main
from billblend_async.gateway.wire import RequestKind

CHECK, PAY, PAYOUT = RequestKind.CHECK, RequestKind.PAY, RequestKind.PAYOUT
FAST = ("--poll", "0.1:0.2")
GOOD, DECLINED, REFUSED, REDIRECT = "1234567890", "0987654321", "3000000003", "2000000001"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


async def approve(
    desk: Desk, file: Path, *words: object, who: str = "ann"
) -> tuple[int | None, str, str]:
    """Approve payouts of a file."""
    given = ("--journal", "payouts.db", "--out", "results.csv", "--who", who, *FAST)
    return await desk.billblend("approve", file, *words, *given)


def told(desk: Desk) -> dict[str, str]:
    """Give the word for each payout of the results."""
    return {name: row["status"] for name, row in desk.results().items()}


class TestCheckOnly:
    async def test_checked_then_approved(self, desk: Desk) -> None:
        """A file is checked with exit 0 and nobody is paid; once approved, each is, with exit 0."""
        file = desk.write(4, accounts=[GOOD])
        status, out, error = await desk.pay(file, "--check-only", *FAST)
        assert (0, "") == (status, error)
        assert "awaiting-approval" in out
        assert {"awaiting-approval"} == set(told(desk).values())
        assert all("approve it" in row["explanation"] for row in desk.results().values())
        assert (4, 0) == (desk.count(CHECK).total(), desk.count(PAY).total())

        # Neither the same command nor one that pays approves anything.
        assert 0 == (await desk.pay(file, "--check-only", *FAST))[0]
        assert 2 == (await desk.pay(file, *FAST))[0]
        assert (4, 0) == (desk.count(CHECK).total(), desk.count(PAY).total())

        status, out, error = await approve(desk, file)
        assert (0, "billblend: approving 4 payout(s): 12.00 EUR\n") == (status, error)
        assert {"approved"} == set(told(desk).values())
        assert {f"po-{n}": 1 for n in range(4)} == desk.count(PAY)
        assert 4 == len(desk.sandbox.gateway.ledger)

        # And a second approval finds nothing to do.
        status, _, error = await approve(desk, file)
        assert 0 == status
        assert "file has them: po-0, po-1, po-2, po-3\n" in error
        assert 4 == desk.count(PAY).total()
        assert 0 == (await desk.pay(file, "--check-only", *FAST))[0]

    async def test_what_the_bank_refuses(self, desk: Desk) -> None:
        """A payout that the bank refuses at the check makes it 1, and cannot be approved."""
        file = desk.write(2, accounts=[GOOD, REFUSED])
        assert 1 == (await desk.pay(file, "--check-only", *FAST))[0]
        assert {"po-0": "awaiting-approval", "po-1": "declined"} == told(desk)
        status, _, error = await approve(desk, file)
        assert 1 == status
        assert "left alone" in error
        assert {"po-0": "approved", "po-1": "declined"} == told(desk)
        assert {"po-0": 1} == desk.count(PAY)

    async def test_named(self, desk: Desk) -> None:
        """Only those that are named are paid; the others go on waiting, so it is 2."""
        file = desk.write(3, accounts=[GOOD])
        await desk.pay(file, "--check-only", *FAST)
        status, _, error = await approve(desk, file, "po-0", "po-2")
        assert (2, "billblend: approving 2 payout(s): 5.00 EUR\n") == (status, error)
        assert {"po-0": 1, "po-2": 1} == desk.count(PAY)
        words = {"po-0": "approved", "po-1": "awaiting-approval", "po-2": "approved"}
        assert words == told(desk)
        assert 0 == (await approve(desk, file, "po-1"))[0]

    async def test_after_it_was_handed_in_to_be_paid(self, desk: Desk) -> None:
        """A file that was handed in to be paid cannot be only checked; nothing more is sent."""
        desk.sandbox.gateway.validation = 1e6
        file = desk.write(2, accounts=[GOOD])
        first = ("--deadline", "validation=1")
        assert 2 == (await desk.pay(file, *first, *FAST))[0]
        sends = desk.sends
        status, _, error = await desk.pay(file, "--check-only", *FAST)
        assert 3 == status
        assert "line 3, client_orderid: was begun to be paid; leave out --check-only" in error
        assert sends == desk.sends


class TestWithdraw:
    async def test_withdrawn(self, desk: Desk) -> None:
        """What was only checked can be withdrawn; it is never paid, and cannot be approved."""
        file = desk.write(2, accounts=[GOOD])
        await desk.pay(file, "--check-only", *FAST)
        words = ("--journal", "payouts.db", "--who", "ann", "--why", "wrong amount")
        status, out, error = await desk.billblend("withdraw", "po-0", *words)
        assert (0, "po-0: withdrawn\n", "") == (status, out, error)
        status, _, error = await approve(desk, file)
        assert (1, True) == (status, "po-0" in error)
        assert {"po-0": "withdrawn", "po-1": "approved"} == told(desk)
        assert {"po-1": 1} == desk.count(PAY)
        status, _, error = await desk.billblend("withdraw", "po-1", "po-9", *words)
        assert 3 == status
        assert "it stands at final and cannot be withdrawn: it is finished already." in error
        assert "po-9: the journal knows no such payout" in error


class TestApprove:
    async def test_nobody(self, desk: Desk) -> None:
        """An approval without a name is bad input, and nothing is said to be approved."""
        file = desk.write(1, accounts=[GOOD])
        await desk.pay(file, "--check-only", *FAST)
        status, _, error = await approve(desk, file, who=" ")
        assert 3 == status
        assert "--who: is empty" in error
        assert "approving" not in error

    @pytest.mark.parametrize("first", [1, 0])
    async def test_only_what_was_asked(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, first: int
    ) -> None:
        """What the bank validates while the question stands goes on waiting, and is not paid."""
        file, asked = desk.write(4, accounts=[GOOD]), list[str]()
        some = desk.write(1, "some.csv", accounts=[GOOD], prefix="po-" if first else "other-")
        check = ("--journal", "payouts.db", "--out", "checked.csv", "--check-only", *FAST)
        assert 0 == (await desk.billblend("pay", some, *check))[0]
        loop, find = asyncio.get_running_loop(), approvable

        def found(*words: Any) -> Any:
            told = find(*words)
            more = asyncio.run_coroutine_threadsafe(desk.billblend("pay", file, *check), loop)
            assert 0 == more.result()[0]
            return told

        monkeypatch.setattr(decisions, "approvable", found)
        monkeypatch.setattr(decisions, "confirm", lambda what, *_, **__: asked.append(what))
        monkeypatch.chdir(desk.folder)
        for name, value in desk.environ.items():
            monkeypatch.setenv(name, value)
        words = ["approve", str(file), "--journal", "payouts.db", "--out", "results.csv"]
        status = await asyncio.to_thread(main, [*words, "--who", "ann", *FAST])

        assert (2, first) == (status, len(asked))
        assert ["approve 1 payout(s): 1.50 EUR"] * first == asked
        assert {f"po-{n}": 1 for n in range(first)} == desk.count(PAY)
        waiting = {f"po-{n}" for n in range(first, 4)}
        assert waiting == {name for name, word in told(desk).items() if "awaiting" in word}

    async def test_links_that_are_over(self, desk: Desk) -> None:
        """While one receiver is waited for, the link of another who is done leaves the results."""
        file = desk.write(2, accounts=[REDIRECT])
        process = await desk.start(*pay_arguments(file), *FAST)
        results = desk.folder / "results.csv"
        while not results.exists() or not all(r["redirect_to"] for r in desk.results().values()):
            assert process.returncode is None
            await asyncio.sleep(0.02)
        gateway = desk.sandbox.gateway
        [order] = [o for o in gateway.orders.values() if o.client_orderid == "po-0"]
        gateway.submit(order.token or "", time.time(), is_confirmed=True)
        while desk.results()["po-0"]["redirect_to"]:
            assert process.returncode is None
            await asyncio.sleep(0.02)
        assert {"po-0": "approved", "po-1": "awaiting-receiver"} == told(desk)
        process.send_signal(signal.SIGINT)
        await ended(process)

    async def test_changed_rows(self, desk: Desk) -> None:
        """A row that was changed since its check is a conflict: nothing else is paid or told."""
        file = desk.write(3, accounts=[GOOD])
        assert 0 == (await desk.pay(file, "--check-only", *FAST))[0]
        file.write_text(file.read_text().replace("1.50", "9000.00"))
        status, out, error = await approve(desk, file)
        assert 2 == status
        assert "left alone" in error
        assert "another amount" in " ".join(out.split())
        assert {"po-0": "conflict", "po-1": "approved", "po-2": "approved"} == told(desk)
        assert {"po-1": 1, "po-2": 1} == desk.count(PAY)

    async def test_results_are_never_taken_back(self, desk: Desk) -> None:
        """While one row waits for its receiver, the rows of an earlier run stay as they ended."""
        file = desk.write(2, accounts=[GOOD, REDIRECT])
        await desk.pay(file, "--check-only", *FAST)
        assert 2 == (await approve(desk, file, "po-0"))[0]
        given = ("--journal", "payouts.db", "--out", "results.csv", "--who", "ann", *FAST)
        process = await desk.start("approve", file, "po-1", *given)
        while not desk.results()["po-1"]["redirect_to"]:
            assert process.returncode is None
            await asyncio.sleep(0.02)
        process.kill()
        await process.communicate()
        assert {"po-0": "approved", "po-1": "awaiting-receiver"} == told(desk)

    async def test_unknown(self, desk: Desk) -> None:
        """An id that is not in the file is bad input, and nobody at all is paid."""
        file = desk.write(2, accounts=[GOOD])
        await desk.pay(file, "--check-only", *FAST)
        status, _, error = await approve(desk, file, "po-0", "po-77")
        assert 3 == status
        assert "po-77: is not in the file" in error
        assert 0 == desk.count(PAY).total()

    async def test_not_awaiting(self, desk: Desk) -> None:
        """Approving what was paid already, or a file that nobody ran, sends nothing."""
        file = desk.write(2, accounts=[GOOD])
        await desk.pay(file, *FAST)
        status, _, error = await approve(desk, file, "po-0")
        assert 0 == status
        assert "left alone, since they did not await approval" in error
        other = desk.write(2, "other.csv", accounts=[GOOD], prefix="new-")
        status, _, error = await approve(desk, other)
        assert 2 == status
        assert "left alone" in error
        assert {"unfinished"} == set(told(desk).values())
        assert 2 == desk.count(PAY).total()

    async def test_no_journal(self, desk: Desk) -> None:
        """A journal that is not there is a wrong path, and none is made."""
        file = desk.write(1)
        status, _, error = await approve(desk, file)
        assert 4 == status
        assert "--journal payouts.db: there is no such file" in error
        assert not (desk.folder / "payouts.db").exists()

    async def test_without_a_name(self, desk: Desk) -> None:
        """Nobody approves without a name."""
        file = desk.write(1, accounts=[GOOD])
        await desk.pay(file, "--check-only", *FAST)
        status, _, _ = await approve(desk, file, who=" ")
        assert 0 != status
        assert 0 == desk.count(PAY).total()

    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
    async def test_interrupted(self, desk: Desk, stop: signal.Signals) -> None:
        """An approval that is interrupted or killed goes on when it is given again: paid once."""
        file = desk.write(12, accounts=[GOOD])
        await desk.pay(file, "--check-only", *FAST)
        desk.sandbox.gateway.processing = 1.0
        given = ("--journal", "payouts.db", "--out", "results.csv", *FAST)
        process = await desk.start("approve", file, "--who", "ann", *given)
        while desk.count(PAY).total() < 3:
            assert process.returncode is None
            await asyncio.sleep(0.01)
        process.send_signal(stop)
        status, _, error = await ended(process)
        assert "Traceback" not in error
        if stop is signal.SIGINT:
            assert 2 == status
            assert "run the same command again" in error

        again = await desk.start("approve", file, "--who", "bob", *given)
        status, _, error = await ended_when_quiet(desk, again, quiet=5)
        assert "Traceback" not in error
        paid = set(desk.count(PAY))
        assert {1} == set(desk.count(PAY).values())
        assert paid == {name for name, word in told(desk).items() if word == "approved"}
        # A kill leaves pays that were claimed and never sent: those stay in doubt.
        assert (0 if len(paid) == 12 else 2) == status
        assert stop is signal.SIGKILL or len(paid) == 12


class TestOneStep:
    async def test_pays_at_once(self, desk: Desk) -> None:
        """With --one-step each payout is sent once and never checked."""
        file = desk.write(6)
        status, _, error = await desk.pay(file, "--one-step", *FAST)
        assert (2, "") == (status, error)
        kinds = (CHECK, PAY, PAYOUT)
        assert [0, 0, 6] == [desk.count(kind).total() for kind in kinds]
        assert ["approved", "declined", "error"] * 2 == list(told(desk).values())
        assert 2 == (await desk.pay(file, "--one-step", *FAST))[0]
        status, _, error = await desk.pay(file, *FAST)
        assert 3 == status
        assert "line 7, client_orderid: was begun with --one-step; run it with it" in error
        assert [0, 0, 6] == [desk.count(kind).total() for kind in kinds]

    def test_not_with_check_only(self, capsys: pytest.CaptureFixture[str]) -> None:
        """What is paid at once cannot be only checked."""
        with pytest.raises(SystemExit) as caught:
            main(["pay", "f", "--journal", "j", "--out", "o", "--one-step", "--check-only"])
        assert 3 == caught.value.code
        assert "not allowed with" in capsys.readouterr().err


class TestDeadline:
    @pytest.mark.parametrize(
        "word",
        [
            "",
            "final",
            "final=",
            "final=x",
            "final=0",
            "final=-1",
            "final=nan",
            "final=inf",
            "=5",
            "last=5",
            "Final=5",
            "final=5=6",
        ],
    )
    def test_bad(self, word: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A deadline that is none is bad input, and the right names or numbers are told."""
        with pytest.raises(SystemExit) as caught:
            main(["pay", "f", "--journal", "j", "--out", "o", "--deadline", word])
        assert 3 == caught.value.code
        error = " ".join(capsys.readouterr().err.split())
        names = ("sending", "validation", "receiver", "final", "doubt")
        if word.startswith("final"):
            assert "final must be a number of seconds above 0, such as final=600" in error
        else:
            assert f"must be NAME=SECONDS with one of {', '.join(names)}" in error

    async def test_ends_the_wait(self, desk: Desk) -> None:
        """A deadline ends the wait for a payout and not the payout: the next run learns its end."""
        desk.sandbox.gateway.processing = 3.0
        file = desk.write(1, accounts=[GOOD])
        limits = (
            "--deadline",
            "validation=60",
            "--deadline",
            "final=60",
            "--deadline",
            "final=0.5",
        )
        status, _, _ = await desk.pay(file, *limits, *FAST)
        assert (2, {"po-0": "unfinished"}) == (status, told(desk))
        while (status := (await desk.pay(file, *FAST))[0]) == 2:
            pass
        assert (0, {"po-0": "approved"}) == (status, told(desk))
        assert {"po-0": 1} == desk.count(PAY)


class TestLinks:
    async def test_while_it_runs(self, desk: Desk) -> None:
        """The results carry a row's link while its receiver is waited for, until it is final."""
        file = desk.write(3, accounts=[GOOD, REDIRECT, DECLINED])
        process = await desk.start(*pay_arguments(file), *FAST)
        results = desk.folder / "results.csv"
        while not results.exists() or not desk.results()["po-1"]["redirect_to"]:
            assert process.returncode is None
            await asyncio.sleep(0.02)
        row = desk.results()["po-1"]
        [order] = [o for o in desk.sandbox.gateway.orders.values() if o.client_orderid == "po-1"]
        assert order.token is not None
        assert "awaiting-receiver" == row["status"]
        assert row["redirect_to"].endswith(order.token)
        assert "****" == row["cvv2"]
        assert process.returncode is None

        desk.sandbox.gateway.submit(order.token or "", time.time(), is_confirmed=True)
        status, out, error = await ended(process)
        assert (1, "") == (status, error)
        words = {"po-0": "approved", "po-1": "approved", "po-2": "declined"}
        assert words == told(desk)
        assert {""} == {row["redirect_to"] for row in desk.results().values()}
        assert order.token not in out
        for path in desk.folder.glob("payouts.db*"):
            assert order.token.encode() not in path.read_bytes(), path.name

    async def test_after_the_deadline(self, desk: Desk) -> None:
        """A run that has waited long enough leaves the link; the next one hands it out again."""
        file = desk.write(1, accounts=[REDIRECT])
        for _ in range(2):
            status, _, error = await desk.pay(file, "--deadline", "receiver=0.5", *FAST)
            assert (2, "") == (status, error)
            [row] = desk.results().values()
            assert "awaiting-receiver" == row["status"]
            assert row["redirect_to"]
            assert "redirect_to" in row["explanation"]
        [order] = desk.sandbox.gateway.orders.values()
        assert order.token is not None
        desk.sandbox.gateway.submit(order.token or "", time.time(), is_confirmed=False)
        assert 1 == (await desk.pay(file, *FAST))[0]
        [row] = desk.results().values()
        assert ("declined", "") == (row["status"], row["redirect_to"])
