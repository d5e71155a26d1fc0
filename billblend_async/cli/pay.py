"""The command that pays a file of payouts, and what it shares with the one that approves them."""

import argparse
import os
from pathlib import Path
from typing import Final

import attrs

from ..batch.results import are_results, check_ending
from ..core.models import Deadlines, Flow, Polling
from ..errors import ConfigurationError
from ..gateway.settings import read_settings
from ..journal.location import Place, read_place
from .options import POLL_HELP, deadline, polling, positive
from .preflight import add_preflight, is_cleared, read_file

__all__ = ["JSON_HELP", "add_pay", "add_view", "check_out"]

_SIGNALS_HELP: Final = """\
Ctrl-C (or SIGTERM) ends a run well: nothing new is sent, what is under way is recorded, and the
same command goes on with the rest. A second one cuts it off within a second; that is safe for the
money, and what was under way is asked about by the next run.
"""


def add_pay(pay: argparse.ArgumentParser) -> None:
    """Give ``billblend pay`` its options."""
    pay.add_argument(
        "file",
        type=Path,
        help="CSV, JSON Lines or XLSX whose columns are the gateway's parameter names",
    )
    pay.add_argument("--journal", type=read_place, help="where every step is recorded")
    pay.add_argument("--out", type=Path, help="the results file to write: .csv, .jsonl or .xlsx")
    add_preflight(pay)
    pay.add_argument("--concurrency", type=positive, default=1000, help="most payouts at once")
    pay.add_argument("--poll", type=polling, default=Polling(), metavar="MIN:MAX", help=POLL_HELP)
    way = pay.add_mutually_exclusive_group()
    way.add_argument(
        "--check-only",
        action="store_true",
        help="let the bank validate each payout and pay none: see billblend approve",
    )
    way.add_argument(
        "--one-step",
        action="store_true",
        help="pay at once, without the bank's confirmation (/api/v4/payout)",
    )
    pay.add_argument(
        "--deadline",
        type=deadline,
        action="append",
        default=[],
        metavar="NAME=SECONDS",
        help="hand a new payout back when one of its waits has taken so long; may be given several "
        f"times (default {', '.join(f'{n}={s:g}' for n, s in attrs.asdict(Deadlines()).items())})",
    )
    add_view(pay)
    pay.set_defaults(run=_pay)


def add_view(command: argparse.ArgumentParser) -> None:
    """Give a command that runs payouts its options for what is seen of them."""
    command.add_argument(
        "--json", action="store_true", help="tell what happens in JSON lines, for machines"
    )
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = f"{JSON_HELP}\n{_SIGNALS_HELP}"


def _pay(arguments: argparse.Namespace) -> int:
    batch = read_file(arguments)
    settings = read_settings(os.environ)
    if None not in (arguments.out, arguments.journal):  # else it is a dry run
        check_out(arguments.out, arguments.file, arguments.journal)
    flow, pay = Flow.ONE_STEP if arguments.one_step else Flow.CHECK_PAY, not arguments.check_only
    if not is_cleared(arguments, batch, settings, flow=flow, pay=pay):
        return 0
    import asyncio  # a dry run needs none of these

    from .ending import same_command
    from .run import Plan, run_batch

    plan = Plan(
        journal=arguments.journal,
        out=arguments.out,
        polling=arguments.poll,
        concurrency=arguments.concurrency,
        flow=flow,
        pay=pay,
        deadlines=Deadlines(**dict(arguments.deadline)),
        title=arguments.file.name,
        as_json=arguments.json,
        again=same_command(arguments.typed),
    )
    return asyncio.run(run_batch(settings, batch, plan))


def check_out(out: Path, file: Path, journal: Place) -> None:
    """Find out before anything is sent whether the results can be written, and over nothing else.

    Raises:
        ConfigurationError: They cannot, or something else would be lost.
    """
    reason = ""
    try:
        _check_out(out, file, journal)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except RuntimeError:  # how pathlib calls links that lead in a circle, before Python 3.13
        reason = "its links lead in a circle"
    if reason:
        raise ConfigurationError(f"--out {out}: {reason}; give another path")


def _check_out(out: Path, file: Path, journal: Place) -> None:
    key = os.environ.get("BILLBLEND_PRIVATE_KEY", "")
    if out.resolve() in [path.resolve() for path in (file, Path(key), *journal.files)]:
        raise ConfigurationError(f"--out {out}: give the results a file of their own")
    check_ending(out)
    if out.exists() and not out.is_file():
        raise ConfigurationError(f"--out {out}: this is no file; give another path")
    folder = out.resolve().parent  # a link is followed, and the file beside its end is written
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigurationError(f"--out {out}: this file cannot be written; give another path")
    if out.is_file() and not are_results(out):
        raise ConfigurationError(
            f"--out {out}: this holds no results; move it or give another path"
        )


JSON_HELP: Final = """\
--json writes one JSON object a line to stdout, and what people read to stderr. Amounts are strings
in major units, by currency; "at" is UTC. No line holds anything of a receiver, unless somebody has
written it into the reason of a decision.
  started   payouts, amounts
  payout    client_orderid, status (as in the results file), state, amount, currency,
            paynet_order_id, order_stage, error_code, error_message, open_reason, doubt, alarms,
            acknowledged, explanation: a payout has ended, or this run has handed it back
  problem   client_orderid, problem: a payout needs a person
  trouble   trouble: why nothing goes on; null once it does
  doubt     in_doubt, until, doubt, command: payouts that were claimed, by this run or another, of
            which no answer is known, until when they are asked about at the longest, the same in
            words, and what lists what needs a person then; in_doubt is 0 once there are none
  progress  seconds, counts, amounts (both by group: approved, waiting, refused, needs-person,
            awaiting-approval, unfinished), phases, per_second, seconds_left, under_way, stopping,
            in_doubt, doubt_until; every five seconds
  finished  exit_status, interrupted, results (the file, or null), totals: status, currency,
            payouts, amount; a run that is killed or cut off ends without it
"""
