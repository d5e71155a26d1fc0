"""The command as people run it: real processes, a real socket, a real journal."""

import asyncio
import os
import pty
import re
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from desk import ACCOUNTS, NAMES, Desk, ended, open_desk
from payouts import PATHS, opened
from rsa_keys import PEM_2048

from billblend_async.cli.main import main
from billblend_async.core.machine import evolve
from billblend_async.core.models import State
from billblend_async.gateway.wire import RequestKind
from billblend_async.journal import Owner
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.sandbox.orders import SCENARIOS


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


FAST = ("--poll", "0.1:0.2")


async def test_forty_payouts_at_the_real_pace(desk: Desk) -> None:
    """Forty payouts are checked once and paid once, polled every 3 to 5 s, and told as they are."""
    file = desk.write(40)

    status, out, error = await desk.pay(file)

    assert (2, "") == (status, error)
    ids = {f"po-{n}" for n in range(40)}
    for kind in (RequestKind.CHECK, RequestKind.PAY):
        assert dict.fromkeys(ids, 1) == dict(desk.count(kind))
    for n in range(40):
        told, account = desk.results()[f"po-{n}"], list(ACCOUNTS)[n % 3]
        assert ACCOUNTS[account] == told["status"]
        assert int(told["status"] == "approved") == desk.sandbox.gateway.paid(f"po-{n}")
        assert account == told["account_number"]
        assert told["paynet_order_id"] in desk.sandbox.gateway.orders
    asked: dict[str, list[float]] = {}
    for request in desk.sandbox.gateway.requests:
        if request.kind is RequestKind.STATUS:
            asked.setdefault(request.client_orderid, []).append(request.at)
    gaps = [b - a for instants in asked.values() for a, b in pairwise(instants)]
    assert 40 <= len(gaps)
    assert 3.0 <= min(gaps) <= max(gaps) <= 5.0
    assert re.search(r"approved\s+│\s+EUR\s+│\s+14", out)


async def test_nothing_secret_is_told(desk: Desk) -> None:
    """Terminal and journal hold no account number, name, CVV or control; results mask the CVV."""
    file = desk.write(9)

    _, out, error = await desk.pay(file, *FAST)

    secrets = [*ACCOUNTS, *NAMES, desk.sandbox.merchant_control, "BEGIN RSA"]
    for path in desk.folder.glob("payouts.db*"):
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, (path.name, secret)
        assert 0o600 == path.stat().st_mode & 0o777
    for secret in secrets:
        assert secret not in out + error
    assert {"****"} == {row["cvv2"] for row in desk.results().values()}


async def test_same_command_again(desk: Desk) -> None:
    """The same command again tells the same results and sends nothing."""
    file = desk.write(6)
    first = await desk.pay(file, *FAST)
    results, requests = desk.results(), len(desk.sandbox.gateway.requests)

    second = await desk.pay(file, *FAST)

    # Lines about payouts come in the order in which these end.
    assert [first[0], *sorted(first[1].splitlines())] == [
        second[0],
        *sorted(second[1].splitlines()),
    ]
    assert results == desk.results()
    assert requests == len(desk.sandbox.gateway.requests)


async def test_exit_status_zero(desk: Desk) -> None:
    """A batch that is approved whole exits 0."""
    status, _, _ = await desk.pay(desk.write(3, accounts=["1234567890"]), *FAST)

    assert 0 == status


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted(desk: Desk, stop: signal.Signals) -> None:
    """An interrupted run says how to go on, writes what it knows, and goes on without repeating."""
    desk.sandbox.gateway.validation = 1.0
    file = desk.write(30)
    process = await desk.start(
        "pay", file, "--journal", "payouts.db", "--out", "results.csv", *FAST
    )
    while len(desk.count(RequestKind.CHECK)) < 30:
        assert process.returncode is None
        await asyncio.sleep(0.02)
    process.send_signal(stop)
    _, error = await process.communicate()

    assert 2 == process.returncode
    assert "run the same command again" in error.decode()
    assert "Traceback" not in error.decode()
    assert 30 == len(desk.results())
    assert 2 == (await desk.pay(file, *FAST))[0]
    for kind in (RequestKind.CHECK, RequestKind.PAY):
        assert {1} == set(desk.count(kind).values())
    assert 10 == len(desk.sandbox.gateway.ledger)


async def test_conflicting_row(desk: Desk) -> None:
    """A file with an id that is taken by another payout is refused before anything is sent."""
    await desk.pay(desk.write(3, accounts=["1234567890"]), *FAST)
    rows = desk.write(4, accounts=["1234567890"]).read_text().replace("2.50", "9.99")
    (desk.folder / "payouts.csv").write_text(rows)
    results, requests = desk.results(), len(desk.sandbox.gateway.requests)

    status, out, error = await desk.pay(desk.folder / "payouts.csv", *FAST)

    assert (3, "", 2) == (status, out, error.count("\n"))
    assert "line 3, client_orderid: is in the journal with another amount" in error
    assert (results, requests) == (desk.results(), len(desk.sandbox.gateway.requests))


async def test_bad_file(desk: Desk) -> None:
    """A file with wrong rows is refused whole, each line and field named and no value told."""
    file = desk.folder / "payouts.csv"
    file.write_text(
        "client_orderid,amount,currency,account_number\n"
        "po-1,10.50,EUR,1234567890\npo-2,ten,EUR,1234567890\npo-3,1.234,EUR,4815162342481516234248151623424815\n"
    )

    status, out, error = await desk.pay(file)

    assert (3, "") == (status, out)
    assert "line 3, amount:" in error
    assert "line 4, amount:" in error
    assert "line 4, account_number:" in error
    assert "48151623" not in error
    assert [] == desk.sandbox.gateway.requests
    assert not (desk.folder / "payouts.db").exists()


@pytest.mark.parametrize("journal", [".", "/", ""])
async def test_journal_that_is_a_directory(desk: Desk, journal: str) -> None:
    """A journal's path that names no file is a wrong setting, and nothing is sent."""
    file = desk.write(1)
    given = ("--journal", journal, "--out", "results.csv")
    status, _, error = await desk.billblend("pay", file, *given)

    assert (4, 1) == (status, error.count("\n"))
    assert "--journal" in error
    assert [] == desk.sandbox.gateway.requests


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"BILLBLEND_LOGIN": ""}, "BILLBLEND_LOGIN is not set"),
        ({"BILLBLEND_PRIVATE_KEY": "nowhere.pem"}, "PRIVATE_KEY: this file cannot be read"),
        ({"BILLBLEND_ENDPOINT_ID": ""}, "BILLBLEND_ENDPOINT_GROUP_ID"),
        ({"BILLBLEND_BASE_URL": "http://example.com"}, "plain http"),
    ],
)
async def test_bad_settings(desk: Desk, changes: dict[str, str], said: str) -> None:
    """A setting that is missing or wrong is named, and nothing is sent."""
    desk.environ.update(changes)

    status, _, error = await desk.pay(desk.write(1))

    assert 4 == status
    assert said in error
    assert 1 == error.count("\n")
    assert [] == desk.sandbox.gateway.requests


async def test_other_login(desk: Desk) -> None:
    """A journal of another login is refused before anything is sent."""
    file = desk.write(1)
    await desk.pay(file, *FAST)
    requests = len(desk.sandbox.gateway.requests)
    desk.environ["BILLBLEND_LOGIN"] = "somebody-else"

    status, _, error = await desk.pay(file, *FAST)

    assert 4 == status
    assert "login sandbox" in error
    assert requests == len(desk.sandbox.gateway.requests)


@pytest.mark.parametrize("out", ["payouts.csv", "payouts.db", "nowhere/results.csv", "."])
async def test_results_path(desk: Desk, out: str) -> None:
    """A results path that cannot be written is found out before anything is sent."""
    file = desk.write(1)

    status, _, error = await desk.billblend("pay", file, "--journal", "payouts.db", "--out", out)

    assert 4 == status
    assert "--out" in error
    assert [] == desk.sandbox.gateway.requests


async def test_results_link(desk: Desk) -> None:
    """A link to where nothing can be written is found out before anything is sent."""
    (desk.folder / "results.csv").symlink_to(desk.folder / "nowhere" / "results.csv")

    status, _, error = await desk.pay(desk.write(1), *FAST)

    assert (4, True) == (status, "--out results.csv: this file cannot be written" in error)
    assert [] == desk.sandbox.gateway.requests


async def test_status(desk: Desk) -> None:
    """The status command tells a payout from the journal and from the gateway."""
    await desk.pay(desk.write(2), *FAST)

    status, out, error = await desk.billblend("status", "po-0", "--journal", "payouts.db")
    assert (0, "") == (status, error)
    assert 2 == out.count("status: approved")
    status, out, _ = await desk.billblend("status", "po-1")
    assert (1, 1) == (status, out.count("status: declined"))
    status, out, _ = await desk.billblend("status", "po-9")
    assert (2, True) == (status, "no such order" in out)
    status, _, error = await desk.billblend("status", "po-9", "--journal", "payouts.db")
    assert (3, True) == (status, "knows no such payout" in error)
    status, _, error = await desk.billblend("status", "po-9", "--journal", "other.db")
    assert (4, True) == (status, "no such file" in error)


async def test_acknowledge(desk: Desk) -> None:
    """What does not fit about finished payouts is listed until a person has acknowledged it."""
    file = desk.write(3, accounts=["1234567890", "5000000001", "1987654321"])
    assert 2 == (await desk.pay(file, *FAST))[0]
    given = ("--journal", "payouts.db")
    status, out, _ = await desk.billblend("attention", "list", *given)
    heading, *lines = out.splitlines()
    assert (2, 2) == (status, len(lines))
    assert "billblend attention acknowledge" in heading
    assert "po-1: amount-differs. The gateway paid" in out
    assert "but 2.50 EUR was asked for; ask its support" in out
    assert "po-2: error. The gateway ended it with the status error" in out
    for option, name in (("amount-differs", "po-1"), ("error", "po-2")):
        status, out, _ = await desk.billblend("attention", "list", "--alarm", option, *given)
        assert (2, [name]) == (status, re.findall(r"^(po-\d):", out, re.MULTILINE))
    doubtful = ("attention", "list", "--doubt", "pay-unconfirmed", *given)
    assert (0, "Nothing needs a person.\n", "") == await desk.billblend(*doubtful)

    who = (*given, "--who", "ann", "--why", "asked the bank")
    status, out, error = await desk.billblend("attention", "acknowledge", "po-0", "po-1", *who)
    told = "po-1: approved\n  acknowledged: amount-differs: The gateway paid 5.00 EUR, but 2.50 EUR"
    assert (3, f"{told} was asked for\n") == (status, out)
    assert "payout po-0: it stands at final and cannot be acknowledged: everything" in error
    again = await desk.billblend("attention", "acknowledge", "po-1", *who)
    assert (3, True) == (again[0], "is acknowledged already" in again[2])
    _, report, _ = await desk.billblend("report", *given)
    (command,) = [line for line in report.splitlines() if " attention acknowledge " in line]
    every = await desk.billblend(*shlex.split(command)[1:], *who[2:])
    assert (0, True) == (every[0], every[1].startswith("po-2: error\n  acknowledged: error: The"))
    nothing = (0, "Nothing needs a person.\n", "")
    assert nothing == await desk.billblend("attention", "list", *given)
    unnamed = await desk.billblend("attention", "acknowledge", *who)
    assert (3, True) == (unnamed[0], "give payouts, or --alarm or --batch" in unnamed[2])

    sends = desk.sends
    status, out, error = await desk.pay(file, *FAST)
    assert (1, "", sends) == (status, error, desk.sends)
    assert "needs a person" not in out
    status, out, _ = await desk.billblend("status", "po-1", *given)
    assert "acknowledged: amount-differs" in out
    assert "explanation: Acknowledged by ann: asked the bank." in out
    last = out[out.index("history:") : out.index("gateway:")].splitlines()[-1]
    assert re.fullmatch(
        r"  20\d\d-\d\d-\d\d [\d:]{8} UTC  acknowledged by ann: asked the bank", last
    )


async def test_attention(desk: Desk) -> None:
    """A person lists what is in doubt and ends it, with name and reason on record."""
    await desk.pay(desk.write(2), *FAST)
    await park(desk, "po-1000", "po-2000")
    listed = await desk.billblend("attention", "list", "--journal", "payouts.db")
    assert (2, True) == (
        listed[0],
        "po-1000: pay-unconfirmed. The answer to the pay request" in listed[1],
    )
    why = ("--journal", "payouts.db", "--who", "ann", "--why", "asked the bank")

    early = await desk.billblend("attention", "release", "po-1000", *why)
    assert (3, True) == (early[0], " s old, and for 60 s" in early[2])
    closed = await desk.billblend("attention", "close", "po-1000", *why)
    assert (0, "po-1000: closed\n") == closed[:2]
    others = await desk.billblend("attention", "close", "--doubt", "pay-unconfirmed", *why)
    assert (0, "po-2000: closed\n") == others[:2]
    nothing = (0, "Nothing needs a person.\n", "")
    assert nothing == await desk.billblend("attention", "list", "--journal", "payouts.db")
    await park(desk, "po-0000", "po-3000")
    file = desk.write(1, prefix="po-300")
    listed = await desk.billblend("attention", "list", "--batch", file, *why[:2])
    assert (2, True, False) == (listed[0], "po-3000" in listed[1], "po-0000" in listed[1])
    of_file = await desk.billblend("attention", "close", "--batch", file, *why)
    assert (0, "po-3000: closed\n") == of_file[:2]
    unnamed = await desk.billblend("attention", "close", *why)
    assert (3, True) == (unnamed[0], "give payouts, or --doubt" in unnamed[2])


@pytest.mark.parametrize("is_given", [True, False])
async def test_release_by_filter(desk: Desk, *, is_given: bool) -> None:
    """What fits a filter is shown and asked about, and nothing else is released with it."""
    await park(desk, "po-1", "po-2", ago=1000)
    fits = ("--journal", "payouts.db", "--who", "ann", "--why", "no", "--doubt", "pay-unconfirmed")
    words = ("attention", "release", *fits, *["--yes"] * is_given)
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billblend_async", *words),
        env=desk.environ,
        cwd=desk.folder,
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    if not is_given:
        assert process.stderr is not None
        shown = (await process.stderr.readuntil(b"Type yes")).decode()
        assert "release 2 payout(s) to be sent again: 20.84 USD\npo-1: 10.42 USD, pay-un" in shown
        await park(desk, "po-3", ago=1000)
        closing = ("attention", "close", "po-2", *fits[:-2])
        assert 0 == (await desk.billblend(*closing))[0]
        os.write(ours, b"yes\n")
    status, out, error = await ended(process)
    os.close(ours)
    os.close(theirs)

    again = "{}: validated; run its file again to send it"
    names = ["po-1", "po-2"] if is_given else ["po-1"]
    assert [again.format(name) for name in names] == out.splitlines()
    left = "po-2: left alone, since it has moved on meanwhile; look at it again"
    assert (0 if is_given else 3, not is_given) == (status, left in error)
    listed = await desk.billblend("attention", "list", *fits[:2])
    assert is_given is (listed[1] == "Nothing needs a person.\n")


async def test_release_unasked(desk: Desk) -> None:
    """Where nobody can be asked, nothing that merely fits a filter is released."""
    await park(desk, "po-1", ago=1000)
    file = desk.write(1, prefix="po-1")
    file.write_text(file.read_text().replace("po-10", "po-1"))
    fits = ("--journal", "payouts.db", "--who", "ann", "--why", "no", "--batch", file)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billblend_async", "attention", "release", *map(str, fits)),
        env=desk.environ,
        cwd=desk.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    status, out, error = await ended(process)

    assert (4, "") == (status, out)
    assert "billblend: nobody can be asked here; add --yes to release 1 payout(s)" in error
    listed = await desk.billblend("attention", "list", *fits[:2])
    assert 2 == listed[0]


async def test_wrong_key(desk: Desk) -> None:
    """A wrong key stops a big file in one sentence, and the right key pays it afterwards."""
    file, key = desk.write(300), Path(desk.environ["BILLBLEND_PRIVATE_KEY"])
    right = key.read_text()
    key.write_text(PEM_2048)

    status, out, error = await desk.pay(file, *FAST)
    assert (4, "") == (status, error)
    assert 1 == out.count("refuses access (HTTP 403)")
    assert "and 297 more: not-sent" in out
    assert {"unfinished"} == {row["status"] for row in desk.results().values()}
    assert [] == desk.sandbox.gateway.requests
    key.write_text(right)
    status, _, error = await desk.pay(file, *FAST)
    assert (2, "") == (status, error)
    assert dict.fromkeys((f"po-{n}" for n in range(300)), 1) == dict(desk.count(RequestKind.PAY))


async def test_wrong_endpoint(desk: Desk) -> None:
    """A wrong endpoint sends nothing, and the same command pays with the right one."""
    file, right = desk.write(3), desk.environ["BILLBLEND_ENDPOINT_ID"]
    desk.environ["BILLBLEND_ENDPOINT_ID"] = "1"

    status, out, _ = await desk.pay(file, *FAST)
    assert (4, True) == (status, "endpoint id" in out)
    desk.environ["BILLBLEND_ENDPOINT_ID"] = right
    status, _, error = await desk.pay(file, *FAST)
    assert (2, "") == (status, error)


async def test_journal_restored(desk: Desk) -> None:
    """A copy that was declared restored asks before it sends, and says so until it is complete."""
    await desk.pay(desk.write(2), *FAST)
    await park(desk, "po-1000", state=State.VALIDATING)
    await park(desk, "po-2000")
    journal = ("--journal", "payouts.db")

    told = await desk.billblend("journal", "restored", *journal)
    assert (0, True, "") == (told[0], told[1].startswith("2 unfinished payouts"), told[2])
    listed = (await desk.billblend("attention", "list", *journal))[1]
    assert "po-2000: pay-unconfirmed, restored. " in listed
    assert "The journal was restored from a copy after that" in listed
    why = (*journal, "--who", "ann", "--why", "asked the bank")
    kept = await desk.billblend("withdraw", "po-1000", *why)
    assert (3, True) == (kept[0], "does not say that it has no order for it" in kept[2])
    assert (0, "po-2000: closed\n") == (
        await desk.billblend("attention", "close", "po-2000", *why)
    )[:2]
    assert 0 == (await desk.billblend("journal", "complete", *journal))[0]
    missing = await desk.billblend("journal", "restored", "--journal", "other.db")
    assert (4, True) == (missing[0], "no such file" in missing[2])


async def park(
    desk: Desk, *ids: str, state: State = State.ATTENTION, ago: float = 0.0, **fields: Any
) -> None:
    """Write payouts in doubt into the desk's journal, as a run with lost answers would."""
    journal = SqliteJournal(desk.folder / "payouts.db")
    sandbox = desk.sandbox
    owner = Owner(base_url=sandbox.base_url, login=sandbox.login, endpoint=str(sandbox.endpoint_id))
    await journal.open(owner)
    for client_orderid in ids:
        payout = await journal.accept(opened(client_orderid, at=time.time() - ago, **fields))
        for event in PATHS[state]:
            now = attrs.evolve(event, at=time.time() - ago)
            payout = evolve(payout, now)
            await journal.append(payout, now)
    await journal.aclose()


async def test_demo(tmp_path: Path) -> None:
    """The demo pays its file, agrees with the sandbox's ledger and leaves its files."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "billblend_async", "demo", "--payouts", "30", "--poll", "0.3:0.5"),
        *("--directory", str(tmp_path / "demo")),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()

    assert 0 == process.returncode
    assert "agrees with every row: 24 paid" in out.decode()
    assert str(tmp_path / "demo" / "results.csv") in out.decode()
    assert 31 == len((tmp_path / "demo" / "results.csv").read_text().splitlines())


async def test_sandbox_prints_its_settings(desk: Desk) -> None:
    """The sandbox command prints settings with which a file can be paid, and ends on SIGTERM."""
    process = await desk.start("sandbox", "--port", "0", "--validation", "0", "--processing", "0")
    assert process.stdout is not None
    while b"ENDPOINT_ID" not in (line := await process.stdout.readline()):
        assert line
        if line.startswith(b"export "):
            name, _, value = line.decode().removeprefix("export ").strip().partition("=")
            desk.environ[name] = value.strip("'")

    status, _, error = await desk.pay(desk.write(2, accounts=["1234567890"]), *FAST)
    process.terminate()
    await process.communicate()

    assert (0, "") == (status, error)
    assert 0 == process.returncode
    assert [] == desk.sandbox.gateway.requests
    assert not Path(desk.environ["BILLBLEND_PRIVATE_KEY"]).exists()


async def test_sandbox_with_faults(desk: Desk) -> None:
    """Faults and callbacks are set on the command line, and the page of orders is named."""
    faults = ("--fault", "payout-pay:drop_after:0.1", "--fault", "status:delay:0.5:2")
    process = await desk.start("sandbox", "--port", "0", "--no-callbacks", *faults)
    assert process.stdout is not None
    head = [(await process.stdout.readline()).decode() for _ in range(2)]
    page = head[1].split()[-1]
    async with httpx.AsyncClient(trust_env=False) as http:
        assert "<html" in (await http.get(page)).text
        switched = (await http.get(f"{page}faults")).json()["faults"]
    process.terminate()
    await process.communicate()

    assert 0 == process.returncode
    assert [("payout-pay", "drop_after", 0.1, None), ("status", "delay", 0.5, 2.0)] == [
        (each["command"], each["fault"], each["share"], each["seconds"]) for each in switched
    ]


@pytest.mark.parametrize("command", [[], ["sandbox"]])
def test_help_has_every_account(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The sandbox's help tells what happens to each account and what can go wrong."""
    with pytest.raises(SystemExit):
        main([*command, "--help"])

    out = capsys.readouterr().out
    lines = [f"{account}  {scenario.tale}" for account, scenario in SCENARIOS.items()]
    assert bool(command) is all(line in out for line in lines)
    assert bool(command) is ("callback: delay, duplicate, lost" in out)


def test_wrong_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault that does not exist is bad input, and what exists is named."""
    with pytest.raises(SystemExit) as caught:
        main(["sandbox", "--fault", "payout-pay:drop"])

    assert 3 == caught.value.code
    assert "fault: must be drop_before, drop_after" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "pay",
        "pay f --journal j --out o --poll 5",
        "pay f --journal j --out o --poll 5:3",
    ],
)
def test_bad_command_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that makes no sense is bad input, in words."""
    with pytest.raises(SystemExit) as caught:
        main(line.split())

    assert 3 == caught.value.code
    assert "usage:" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names every command, setting and exit status."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    out = capsys.readouterr().out
    assert 0 == caught.value.code
    for word in ("pay", "status", "sandbox", "demo", "BILLBLEND_LOGIN", "exit status"):
        assert word in out


@pytest.mark.parametrize("out", ["payouts.db.key", "key.pem", "/dev/null", "notes.txt"])
async def test_results_replace_nothing_else(desk: Desk, out: str) -> None:
    """Results are not written over the journal's key, our key, a device or another file."""
    file = desk.write(1)
    (desk.folder / "notes.txt").write_text("a,b\n")

    status, _, error = await desk.billblend("pay", file, "--journal", "payouts.db", "--out", out)

    assert (4, True) == (status, "--out" in error)
    assert 0 == desk.sends


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("2027-01-31", "2027-01-31"),
        ("2027-01-31T12:30", "2027-01-31T12:30"),
        ("4111111111111111", "****1111"),
        ("4111 1111 1111 1111", "****1111"),
        ("2027-01-31-2027-01-31", "****1-31"),
        ("2027-99-31", "****9-31"),
    ],
)
def test_usage_error(capsys: pytest.CaptureFixture[str], word: str, shown: str) -> None:
    """A usage error repeats a date that stands at the wrong place, and no number of an account."""
    with pytest.raises(SystemExit) as caught:
        main(["report", "--journal", "payouts.db", word])
    assert caught.value.code == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"unrecognized arguments: {shown};" in error
