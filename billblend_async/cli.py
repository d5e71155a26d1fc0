"""The ``billblend`` command: parses, calls, prints."""

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from . import __version__
from .batch import Batch, are_results, exit_status, read_batch, totals, write_results
from .decisions import add_attention, add_journal
from .desk import check_journal, make_client, make_orchestrator
from .errors import (
    BillblendError,
    ConfigurationError,
    InvalidInput,
    JournalError,
    PayoutNotFound,
    SendingStopped,
)
from .models import Outcome
from .polling import Polling
from .settings import Settings, read_settings

if TYPE_CHECKING:
    from .events import Event
    from .orchestrator import Orchestrator
    from .payout import Payout

__all__ = ["main"]

BAD_INPUT: Final = 3
BAD_CONFIGURATION: Final = 4
UNFINISHED: Final = 2

_EXIT_STATUS: Final = """\
exit status:
  0  all payouts are approved
  1  some are declined, error, filtered or rejected
  2  something is unfinished or needs a person
  3  bad input: nothing was sent
  4  bad configuration: nothing was sent
"""
_SETTINGS: Final = """\
settings, from the environment:
  BILLBLEND_LOGIN                 the merchant's login
  BILLBLEND_PRIVATE_KEY           path of the RSA private key's PEM file
  BILLBLEND_PRIVATE_KEY_PASSWORD  its password, if it is encrypted
  BILLBLEND_MERCHANT_CONTROL      the control secret (status v2; without it, v4 is used)
  BILLBLEND_ENDPOINT_ID           the endpoint's number, or
  BILLBLEND_ENDPOINT_GROUP_ID     the endpoint group's number
  BILLBLEND_BASE_URL              sandbox (default), production or a URL
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose usage errors are bad input, not an unfinished batch."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line."""
        self.print_usage(sys.stderr)
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except InvalidInput as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        _say(f"{len(error.problems)} problem(s); nothing was sent. Mend them and run again.")
        return BAD_INPUT
    except PayoutNotFound as error:
        _say(str(error))
        return BAD_INPUT
    except (ConfigurationError, JournalError) as error:
        _say(str(error))
        return BAD_CONFIGURATION
    except BillblendError as error:
        _say(str(error))
        return UNFINISHED
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to go on")
        return UNFINISHED
    except ModuleNotFoundError as error:
        _say(f"{error.name} is missing; install it with: pip install 'billblend-async[cli]'")
        return BAD_CONFIGURATION
    return status


def _say(message: str) -> None:
    print(f"billblend: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="billblend",
        description="Pay people through the Billblend payment gateway, each exactly once.",
        epilog=f"{_SETTINGS}\n{_EXIT_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"billblend {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    pay = commands.add_parser("pay", help="run a file of payouts, or go on with it")
    pay.add_argument("file", type=Path, help="CSV whose headers are the gateway's parameter names")
    pay.add_argument("--journal", type=Path, required=True, help="where every step is recorded")
    pay.add_argument("--out", type=Path, required=True, help="the results file to write")
    pay.add_argument("--concurrency", type=_positive, default=1000, help="most payouts at once")
    pay.add_argument("--poll", type=_polling, default=Polling(), metavar="MIN:MAX", help=_POLL_HELP)
    pay.set_defaults(run=_pay)

    status = commands.add_parser("status", help="tell where one payout stands")
    status.add_argument("client_orderid", help="the payout's id")
    status.add_argument("--journal", type=Path, help="the journal that knows it")
    status.set_defaults(run=_status)

    attention = commands.add_parser("attention", help="decide about payouts that need a person")
    add_attention(attention)
    journal = commands.add_parser("journal", help="declare what a journal cannot know by itself")
    add_journal(journal)

    sandbox = commands.add_parser("sandbox", help="run a gateway to play against, on this machine")
    sandbox.add_argument("--port", type=int, default=8765, help="0 takes a free one")
    sandbox.add_argument("--validation", type=float, default=2.0, help="seconds the bank takes")
    sandbox.add_argument("--processing", type=float, default=2.0, help="seconds a payment takes")
    sandbox.set_defaults(run=_sandbox)

    demo = commands.add_parser("demo", help="pay a sample file against the sandbox")
    demo.add_argument("--payouts", type=_positive, default=240, help="how many rows")
    demo.add_argument("--directory", type=Path, help="where to put the files (a new one)")
    demo.add_argument(
        "--poll", type=_polling, default=Polling(), metavar="MIN:MAX", help=_POLL_HELP
    )
    demo.set_defaults(run=_demo)
    return parser


_POLL_HELP: Final = "seconds between two status requests for one payout (default 3:5)"


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 on")
    return int(text)


def _polling(text: str) -> Polling:
    shortest, _, longest = text.partition(":")
    with contextlib.suppress(ValueError):
        return Polling(shortest=float(shortest), longest=float(longest))
    raise argparse.ArgumentTypeError("must be MIN:MAX in seconds, such as 3:5")


def _pay(arguments: argparse.Namespace) -> int:
    batch = read_batch(arguments.file)
    settings = read_settings(os.environ)
    _check_out(arguments.out, arguments.file, arguments.journal)
    return asyncio.run(
        _pay_batch(
            settings,
            batch,
            journal=arguments.journal,
            out=arguments.out,
            polling=arguments.poll,
            concurrency=arguments.concurrency,
        )
    )


def _check_out(out: Path, file: Path, journal: Path) -> None:
    """Find out before anything is sent whether the results can be written, and over nothing else.

    Raises:
        ConfigurationError: They cannot, or something else would be lost.
    """
    beside = [journal.with_name(journal.name + end) for end in ("", ".key", "-journal", "-wal")]
    key = os.environ.get("BILLBLEND_PRIVATE_KEY", "")
    if out.resolve() in [path.resolve() for path in (file, Path(key), *beside)]:
        raise ConfigurationError(f"--out {out}: give the results a file of their own")
    if out.exists() and not out.is_file():
        raise ConfigurationError(f"--out {out}: this is no file; give another path")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ConfigurationError(f"--out {out}: this file cannot be written; give another path")
    if out.is_file() and not are_results(out):
        raise ConfigurationError(
            f"--out {out}: this holds no results; move it or give another path"
        )


async def _pay_batch(
    settings: Settings,
    batch: Batch,
    *,
    journal: Path,
    out: Path,
    polling: Polling,
    concurrency: int,
) -> int:
    from rich.console import Console

    from .report import print_problems, print_totals, progress

    console = Console()
    outcomes: dict[str, Outcome] = {}
    trouble: BaseException | None = None
    with progress(console, len(batch.rows)) as board:

        def show(payout: "Payout", _: "Event") -> None:
            board.move(payout.client_orderid, payout.state)

        async with (
            make_client(settings) as client,
            make_orchestrator(client, journal, polling=polling, observer=show) as payouts,
        ):
            _end_on_signals("ending; what is under way is recorded first")
            requests = (row.request for row in batch.rows)
            try:
                async with aclosing(payouts.run_many(requests, concurrency=concurrency)) as told:
                    async for outcome in told:
                        outcomes[outcome.client_orderid] = outcome
                        board.move(outcome.client_orderid, outcome.state)
            except (asyncio.CancelledError, JournalError) as error:
                trouble = error
                outcomes |= await _journaled(payouts, batch, outcomes)
    is_written = _write(out, batch, outcomes)
    print_totals(console, totals(batch, outcomes))
    print_problems(console, outcomes.values())
    if is_written:
        console.print(f"Results: {out}", markup=False, highlight=False, soft_wrap=True)
    if trouble is not None:
        interrupted = "interrupted; run the same command again to go on with the unfinished payouts"
        _say(interrupted if isinstance(trouble, asyncio.CancelledError) else str(trouble))
        return UNFINISHED
    if not is_written:
        return UNFINISHED
    problems = [told.problem for told in outcomes.values()]
    if all(isinstance(p, SendingStopped) and p.is_setting for p in problems):
        return BAD_CONFIGURATION
    return exit_status(batch, outcomes)


async def _journaled(
    payouts: "Orchestrator", batch: Batch, told: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """Read where the payouts stand that a batch which was ended early has not told."""
    found: dict[str, Outcome] = {}
    for row in batch.rows:
        name = row.request.client_orderid
        if name not in told:
            with contextlib.suppress(PayoutNotFound):
                try:
                    found[name] = await payouts.status(name)
                except JournalError:
                    return found
    return found


def _write(out: Path, batch: Batch, outcomes: dict[str, Outcome]) -> bool:
    """Write the results; what was paid is in the journal, so another run can write them too."""
    try:
        write_results(out, batch, outcomes)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        _say(f"--out {out}: {reason}; make room and run the same command again for the results")
        return False
    return True


def _end_on_signals(told: str = "") -> None:
    """Let Ctrl-C and SIGTERM end a run: nothing new is sent, what is under way is recorded.

    Only the first one counts: a second must not keep the first from ending well.

    Args:
        told: What to say when it comes.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def end() -> None:
        if task is None or task.cancelling():
            return
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # also once the loop is closed
        if told:
            _say(told)
        task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, end)


def _status(arguments: argparse.Namespace) -> int:
    check_journal(arguments.journal)
    return asyncio.run(_ask_status(arguments.client_orderid, arguments.journal))


async def _ask_status(client_orderid: str, journal: Path | None) -> int:
    from rich.console import Console

    from .answers import NotFound, StatusReport
    from .report import print_outcome, print_report

    console = Console()
    async with make_client(read_settings(os.environ)) as client:
        order: str | None = None
        if journal is not None:
            async with make_orchestrator(client, journal) as payouts:
                outcome = await payouts.status(client_orderid)
            order = outcome.paynet_order_id
            console.print("journal:", highlight=False)
            print_outcome(console, outcome)
        answer = await client.status(client_orderid, order)
    console.print("gateway:", highlight=False)
    if isinstance(answer, StatusReport):
        print_report(console, answer)
        if not answer.status.is_final:
            return UNFINISHED
        return 0 if answer.status == "approved" else 1
    reason = "knows no such order" if isinstance(answer, NotFound) else answer.reason
    console.print(f"  {reason}", markup=False, highlight=False, soft_wrap=True)
    return UNFINISHED


def _sandbox(arguments: argparse.Namespace) -> int:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run_sandbox(arguments.port, arguments.validation, arguments.processing))
    return 0


async def _run_sandbox(port: int, validation: float, processing: float) -> None:
    from .sandbox import Sandbox

    _end_on_signals()
    with tempfile.TemporaryDirectory(prefix="billblend-sandbox-") as directory:
        async with Sandbox(port=port, validation=validation, processing=processing) as sandbox:
            key = Path(directory) / "private-key.pem"
            key.touch(mode=0o600)
            key.write_text(sandbox.private_key)
            exports = {
                "BILLBLEND_BASE_URL": sandbox.base_url,
                "BILLBLEND_LOGIN": sandbox.login,
                "BILLBLEND_PRIVATE_KEY": str(key),
                "BILLBLEND_MERCHANT_CONTROL": sandbox.merchant_control,
                "BILLBLEND_ENDPOINT_ID": str(sandbox.endpoint_id),
            }
            _print_lines(
                [
                    "# The sandbox gateway is running; Ctrl-C stops it. Use these settings:",
                    *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
                ]
            )
            with contextlib.suppress(asyncio.CancelledError):
                await sandbox.wait()


def _print_lines(lines: Iterable[str]) -> None:
    print("\n".join(lines), flush=True)


def _demo(arguments: argparse.Namespace) -> int:
    from .demo import run_demo

    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="billblend-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run_demo(directory, arguments.payouts, arguments.poll, _pay_batch))


if __name__ == "__main__":
    sys.exit(main())
