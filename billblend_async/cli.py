"""The ``billblend`` command: parses, calls, prints."""

import argparse
import asyncio
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from . import __version__
from .batch import read_batch
from .builder import add_sign
from .console import BAD_CONFIGURATION, BAD_INPUT, UNFINISHED, end_on_signals, say
from .decisions import add_approve, add_attention, add_journal, add_withdraw
from .desk import check_journal, make_client, make_orchestrator
from .doctor import add_doctor
from .errors import (
    BillblendError,
    ConfigurationError,
    InvalidInput,
    JournalError,
    PayoutNotFound,
    Problem,
)
from .guidance import complete, explain
from .listening import add_listen
from .options import POLL_HELP, polling, positive
from .parameters import check_value, mask_digits
from .payroll import Plan, add_pay, run_batch
from .polling import Polling
from .reporting.command import add_report, add_watch
from .request import PARAMETERS
from .sandbox.command import add_sandbox, run_sandbox
from .settings import Settings, read_settings

__all__ = ["main"]

_MOST_PROBLEMS: Final = 100
_DATE: Final = re.compile(r"(?<![\d-])((?:19|20)\d\d-(?:0\d|1[0-2])-[0-3]\d)(?![\d-])")
_EXIT_STATUS: Final = """\
exit status:
  0  all payouts are approved
  1  some are declined, filtered, rejected or ended by a person
  2  something is unfinished, or needs a person, as the status error does
  3  bad input: nothing was sent
  4  bad configuration: nothing was sent
"""
_SETTINGS: Final = """\
settings, from the environment:
  BILLBLEND_LOGIN                 the merchant's login
  BILLBLEND_PRIVATE_KEY           path of the RSA private key's PEM file
  BILLBLEND_PRIVATE_KEY_PASSWORD  its password, if it is encrypted
  BILLBLEND_MERCHANT_CONTROL      the control secret, for status v2 and callbacks
  BILLBLEND_FORMER_MERCHANT_CONTROL  the one before it, while both are live
  BILLBLEND_STATUS_VERSION        2 or 4 (default 2, and 4 without a merchant control)
  BILLBLEND_POLL_TRANSPORT        httpx (default) or aiohttp, for status requests
  BILLBLEND_SERVER_CALLBACK_URL   where the gateway sends its callbacks (billblend listen)
  BILLBLEND_ENDPOINT_ID           the endpoint's number, or
  BILLBLEND_ENDPOINT_GROUP_ID     the endpoint group's number
  BILLBLEND_BASE_URL              sandbox (default), production or a URL
  BILLBLEND_TRACEBACK             1 shows where something unexpected came from, without any values
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose usage errors are bad input, not an unfinished batch."""

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:  # noqa: ANN401 - as argparse takes them
        """Add an argument whose help says what an option takes, and what it is by default."""
        return super().add_argument(*names, **complete(names, options))

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, without numbers that may be somebody's."""
        self.print_usage(sys.stderr)
        pieces = _DATE.split(message)  # every other one is a date
        told = "".join(text if n % 2 else mask_digits(text) for n, text in enumerate(pieces))
        self.exit(BAD_INPUT, f"{self.prog}: {told}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    parser = _parser()
    arguments, rest = parser.parse_known_args(words)
    if rest and "rest" not in arguments:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest, arguments.typed = rest, words
    try:
        status: int = arguments.run(arguments)
    except InvalidInput as error:
        for problem in error.problems[:_MOST_PROBLEMS]:
            print(problem, file=sys.stderr)
        more = len(error.problems) - _MOST_PROBLEMS
        if more > 0:
            print(f"and {more:,} more", file=sys.stderr)
        say(f"{len(error.problems):,} problem(s); nothing was sent. Mend them and run again.")
        return BAD_INPUT
    except PayoutNotFound as error:
        say(str(error))
        return BAD_INPUT
    except (ConfigurationError, JournalError) as error:
        say(str(error))
        return BAD_CONFIGURATION
    except BillblendError as error:
        say(str(error))
        return UNFINISHED
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted; run the same command again to go on")
        return UNFINISHED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"{where}{error.strerror or type(error).__name__}; mend that and run it again")
        return UNFINISHED
    except ModuleNotFoundError as error:
        say(f"{error.name} is missing; install it with: pip install 'billblend-async[cli]'")
        return BAD_CONFIGURATION
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="billblend",
        description="Pay people through the Billblend payment gateway, each exactly once.\n"
        "Begin with billblend demo, which needs no gateway.",
        epilog=f"{_SETTINGS}\n{_EXIT_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"billblend {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    pay = commands.add_parser("pay", help="run a file of payouts, or go on with it")
    add_pay(pay)

    status = commands.add_parser("status", help="tell where one payout stands")
    status.add_argument("client_orderid", help="the payout's id")
    status.add_argument(
        "--journal",
        type=Path,
        help="the journal that knows it; without it only the gateway is asked",
    )
    status.set_defaults(run=_status)

    attention = commands.add_parser("attention", help="decide about payouts that need a person")
    add_attention(attention)
    approve = commands.add_parser("approve", help="pay payouts that were checked only")
    add_approve(approve)
    withdraw = commands.add_parser("withdraw", help="take payouts back that are not paid yet")
    add_withdraw(withdraw)
    journal = commands.add_parser("journal", help="declare what a journal cannot know by itself")
    add_journal(journal)

    report = commands.add_parser("report", help="tell what a journal holds, as text, page or CSV")
    add_report(report)
    watch = commands.add_parser("watch", help="show a journal in the browser while payouts run")
    add_watch(watch)
    listen = commands.add_parser("listen", help="take the gateway's callbacks in")
    add_listen(listen)

    doctor = commands.add_parser("doctor", help="find out why it does not work, and what to do")
    add_doctor(doctor)
    sign = commands.add_parser("sign", help="show how a request is signed; nothing is sent")
    add_sign(sign)

    sandbox = commands.add_parser("sandbox", help="run a gateway to play against, on this machine")
    add_sandbox(sandbox)
    sandbox.set_defaults(run=_sandbox)

    demo = commands.add_parser("demo", help="pay a sample file against the sandbox")
    demo.add_argument("--payouts", type=positive, default=240, help="how many rows")
    demo.add_argument(
        "--directory", type=Path, metavar="FOLDER", help="where to put the files (a new one)"
    )
    demo.add_argument("--poll", type=polling, default=Polling(), metavar="MIN:MAX", help=POLL_HELP)
    demo.set_defaults(run=_demo)
    explain(commands.choices)
    return parser


def _status(arguments: argparse.Namespace) -> int:
    if wrong := check_value(PARAMETERS["client_orderid"], arguments.client_orderid):
        raise InvalidInput((Problem("client_orderid", wrong),))
    check_journal(arguments.journal)
    return asyncio.run(_ask_status(arguments.client_orderid, arguments.journal))


async def _ask_status(client_orderid: str, journal: Path | None) -> int:
    from rich.console import Console

    from .answers import NotFound, StatusReport
    from .report import print_history, print_outcome, print_report

    console = Console()
    async with make_client(read_settings(os.environ)) as client:
        order: str | None = None
        if journal is not None:
            async with make_orchestrator(client, journal) as payouts:
                outcome = await payouts.status(client_orderid)
                events = await payouts.history(client_orderid)
            order = outcome.paynet_order_id
            console.print("journal:", highlight=False)
            print_outcome(console, outcome)
            console.print("history:", highlight=False)
            print_history(console, events)
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
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve_sandbox(arguments))
    return 0


async def _serve_sandbox(arguments: argparse.Namespace) -> None:
    end_on_signals(ignore_interrupt=arguments.ignore_interrupt)
    await run_sandbox(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from .demo import run_demo

    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="billblend-demo-"))
    if (directory.exists() and not directory.is_dir()) or (directory / "payouts.db").exists():
        wrong = "this is no directory, or holds an earlier demo; give a new one"
        raise ConfigurationError(f"--directory {directory}: {wrong}")
    directory.mkdir(parents=True, exist_ok=True)

    async def pay(
        settings: Settings, file: Path, journal: Path, out: Path, stop: Callable[[], object]
    ) -> None:
        plan = Plan(
            journal=journal,
            out=out,
            polling=arguments.poll,
            title="billblend demo",
            again="its sandbox ends with the demo, so begin a new one",
            at_cut=stop,
        )
        await run_batch(settings, read_batch(file), plan)

    return asyncio.run(run_demo(directory, arguments.payouts, pay))


if __name__ == "__main__":
    sys.exit(main())
