"""``billblend sandbox`` and ``billblend demo``: the built-in sandbox, and a batch against it."""

import argparse
import asyncio
import contextlib
import csv
import json
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import ProxyHandler, build_opener

from ..batch.parser import read_batch
from ..core.models import Polling
from ..errors import ConfigurationError
from ..gateway.settings import Settings, read_settings
from ..journal.location import FilePlace
from ..sandbox.faults import FAULTS, Switch, read_switch
from ..sandbox.orders import SCENARIOS
from .console import UNFINISHED, end_on_signals
from .options import POLL_HELP, polling, positive
from .run import Plan, run_batch

__all__ = [
    "add_demo",
    "add_sandbox",
]


def add_sandbox(parser: argparse.ArgumentParser) -> None:
    """Give ``billblend sandbox`` its options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{_faults()}\n\n{_accounts()}"
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one")
    parser.add_argument("--validation", type=float, default=2.0, help="seconds the bank takes")
    parser.add_argument("--processing", type=float, default=2.0, help="seconds a payment takes")
    parser.add_argument(
        "--fault",
        type=_switch,
        action="append",
        default=[],
        metavar="COMMAND:FAULT[:HOW-OFTEN[:SECONDS]]",
        help="let something go wrong; may be given several times (see below)",
    )
    parser.add_argument(
        "--no-callbacks", dest="callbacks", action="store_false", help="send no callbacks"
    )
    # For whoever starts it beside itself, and has its own use for a terminal's Ctrl-C.
    parser.add_argument("--ignore-interrupt", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=_run_sandbox)


def _run_sandbox(arguments: argparse.Namespace) -> int:
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(arguments))
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    """Print the settings to use with a new sandbox, and serve it until cancelled."""
    from ..sandbox.server import Sandbox

    end_on_signals(ignore_interrupt=arguments.ignore_interrupt)
    sandbox = Sandbox(
        port=arguments.port,
        validation=arguments.validation,
        processing=arguments.processing,
        callbacks=arguments.callbacks,
    )
    for switch in arguments.fault:
        sandbox.faults.add(switch)
    with tempfile.TemporaryDirectory(prefix="billblend-sandbox-") as directory:
        async with sandbox:
            exports = await asyncio.to_thread(sandbox.export, Path(directory))
            print("# The built-in sandbox is running on this machine; Ctrl-C stops it.")
            print(f"# Its orders and the switches for faults: {sandbox.page_url}")
            print("# Use these settings (BILLBLEND_BASE_URL=sandbox is the gateway's own sandbox):")
            lines = (f"export {name}={shlex.quote(value)}" for name, value in exports.items())
            print("\n".join(lines), flush=True)
            with contextlib.suppress(asyncio.CancelledError):
                await sandbox.wait()


def _switch(text: str) -> Switch:
    reason = ""
    try:
        return read_switch(text)
    except ConfigurationError as error:
        reason = str(error)
    raise argparse.ArgumentTypeError(reason)


def _faults() -> str:
    lines = [f"  {command}: {', '.join(faults)}" for command, faults in FAULTS.items()]
    return "\n".join(
        [
            "faults, by command; HOW-OFTEN is a share (0.1), a count (x3) or both (0.1x3):",
            *lines,
        ]
    )


def _accounts() -> str:
    lines = [f"  {account}  {scenario.tale}" for account, scenario in SCENARIOS.items()]
    return "\n".join(["what happens to a payout, by its account_number:", *lines])


_RECEIVERS: Final = (
    *(("1234567890", "approved"),) * 8,
    ("0987654321", "declined"),
    ("1987654321", "error"),
)
"""The documented test accounts and what becomes of them (document 3.24, Test Scenario)."""
_CURRENCIES: Final = ("USD", "EUR", "GBP")
_STARTING_TAKES_AT_MOST: Final = 30.0


def add_demo(demo: argparse.ArgumentParser) -> None:
    """Give ``billblend demo`` its options."""
    demo.add_argument("--payouts", type=positive, default=240, help="how many rows")
    demo.add_argument(
        "--directory", type=Path, metavar="FOLDER", help="where to put the files (a new one)"
    )
    demo.add_argument("--poll", type=polling, default=Polling(), metavar="MIN:MAX", help=POLL_HELP)
    demo.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="billblend-demo-"))
    if (directory.exists() and not directory.is_dir()) or (directory / "payouts.db").exists():
        wrong = "this is no directory, or holds an earlier demo; give a new one"
        raise ConfigurationError(f"--directory {directory}: {wrong}")
    directory.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_run(directory, arguments.payouts, arguments.poll))


async def _run(directory: Path, payouts: int, poll: Polling) -> int:
    """Write a file of payouts, pay it against the built-in sandbox, and compare with its ledger.

    Returns:
        0 when the ledger agrees with every row, 1 when it does not, 2 when it was interrupted.
    """
    file, results = directory / "payouts.csv", directory / "results.csv"
    expected = _write_payouts(file, payouts)
    print(f"{payouts} payouts in {file}", flush=True)
    async with _sandbox() as (settings, stop):
        plan = Plan(
            journal=FilePlace(directory / "payouts.db"),
            out=results,
            polling=poll,
            title="billblend demo",
            again="its sandbox ends with the demo, so begin a new one",
            at_cut=stop,  # nothing else is left to stop it then
        )
        await run_batch(settings, read_batch(file), plan)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return UNFINISHED  # what was not paid cannot agree with anything
        ledger = await asyncio.to_thread(_read_ledger, settings.endpoint.base_url)
    wrong = _compare(results, expected, ledger)
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    paid = sum(order["paid"] for order in ledger.values())
    if wrong:
        print(f"the gateway's ledger disagrees with {len(wrong)} row(s)", file=sys.stderr)
        return 1
    print(f"The gateway's ledger agrees with every row: {paid} paid, each exactly once.")
    return 0


def _write_payouts(path: Path, payouts: int) -> dict[str, str]:
    """Write a payouts file and return the status that each row must come to."""
    expected: dict[str, str] = {}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("client_orderid", "amount", "currency", "account_number", "purpose"))
        for number in range(1, payouts + 1):
            account, status = _RECEIVERS[number % len(_RECEIVERS)]
            client_orderid = f"demo-{number:05}"
            currency = _CURRENCIES[number % len(_CURRENCIES)]
            amount = f"{10 + number % 90}.{number % 100:02}"
            writer.writerow((client_orderid, amount, currency, account, f"Invoice {number}"))
            expected[client_orderid] = status
    return expected


@asynccontextmanager
async def _sandbox() -> AsyncIterator[tuple[Settings, Callable[[], object]]]:
    """Run the sandbox as a process of its own on a free loopback port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "billblend_async", "sandbox", "--port", "0", "--ignore-interrupt"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield read_settings(await _read_exports(process)), process.terminate
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _read_exports(process: asyncio.subprocess.Process) -> dict[str, str]:
    """Read the settings that the sandbox prints once it is listening."""
    exports: dict[str, str] = {}
    output = process.stdout
    try:
        async with asyncio.timeout(_STARTING_TAKES_AT_MOST):
            while output is not None and "BILLBLEND_ENDPOINT_ID" not in exports:
                line = (await output.readline()).decode()
                if not line:
                    break
                words = shlex.split(line, comments=True)
                if words[:1] == ["export"]:
                    name, _, value = words[1].partition("=")
                    exports[name] = value
    except TimeoutError:
        exports.clear()
    if "BILLBLEND_ENDPOINT_ID" not in exports:
        raise ConfigurationError(
            "the built-in sandbox did not start; run: billblend sandbox --port 0"
        )
    return exports


def _read_ledger(base_url: str) -> dict[str, dict[str, Any]]:
    """Read the sandbox's own ledger, over loopback and past any proxy."""
    url = base_url.removesuffix("/checkout") + "/sandbox/ledger"
    with build_opener(ProxyHandler({})).open(url, timeout=30) as answer:
        ledger: dict[str, dict[str, Any]] = json.load(answer)
    return ledger


def _compare(
    results: Path, expected: dict[str, str], ledger: dict[str, dict[str, Any]]
) -> list[str]:
    """Say where results file, ledger and expectation differ."""
    with results.open(encoding="utf-8", newline="") as file:
        told = {row["client_orderid"]: row for row in csv.DictReader(file)}
    wrong = []
    for client_orderid, status in expected.items():
        row, kept = told[client_orderid], ledger.get(client_orderid, {})
        right = {"checks": 1, "pays": 1, "paid": int(status == "approved")}
        counts = {name: kept.get(name) for name in right}
        if not row["status"] == status == kept.get("status") or counts != right:
            wrong.append(f"{client_orderid}: told {row['status']}, ledger {kept}")
    return wrong
