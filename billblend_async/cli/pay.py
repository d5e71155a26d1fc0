"""``billblend pay``, and what happens before money moves: checks, the plan, and a person's yes."""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from ..batch.parser import Batch
from ..batch.preflight import (
    Survey,
    add_limits,
    amounts_text,
    check_limits,
    limits_of,
    remarks,
    survey,
)
from ..batch.results import ToldRow, are_results, check_ending, told_rows
from ..core.descriptions import Notation
from ..core.models import (
    Deadlines,
    Endpoint,
    Flow,
    Polling,
    is_own_sandbox,
    moves_real_money,
    place_of,
)
from ..core.request import PayoutRequest
from ..errors import ConfigurationError
from ..gateway.settings import Settings, read_settings
from ..journal.location import Place, read_place
from .console import say
from .options import POLL_HELP, add_reading, deadline, polling, positive, read_payouts

__all__ = [
    "JSON_HELP",
    "add_confirmation",
    "add_pay",
    "add_preflight",
    "add_view",
    "check_out",
    "confirm",
    "is_cleared",
    "read_file",
]


def add_preflight(pay: argparse.ArgumentParser) -> None:
    """Give ``billblend pay`` the options for what happens before."""
    pay.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would happen; send and write nothing (--journal and --out may be left out)",
    )
    pay.add_argument(
        "--similar-ids",
        action="store_true",
        help="take ids that differ from others of the file or journal only in case, spaces, "
        "hyphens, leading zeros or the like",
    )
    add_reading(pay)
    add_limits(pay)
    add_confirmation(pay)


def add_confirmation(parser: argparse.ArgumentParser) -> None:
    """Give a command the option that answers its question beforehand."""
    parser.add_argument("--yes", action="store_true", help="do not ask before real money moves")


def read_file(arguments: argparse.Namespace) -> Batch:
    """Read the file of ``billblend pay``, and hold it to the limits of the command line.

    Raises:
        InvalidInput: Something is wrong with the file, or it is beyond the limits.
    """
    given = {"--journal": arguments.journal, "--out": arguments.out}
    missing = [name for name, path in given.items() if path is None]
    if missing and not arguments.dry_run:
        arguments.refuse(f"the following arguments are required: {', '.join(missing)}")
    limits = limits_of(arguments)
    batch = read_payouts(arguments.file, arguments)
    check_limits(batch, limits)
    if arguments.dry_run:
        told = _told([row.request for row in batch.rows], batch.notation)
        print(f"{arguments.file.name}: {told}", flush=True)
    return batch


def is_cleared(
    arguments: argparse.Namespace, batch: Batch, settings: Settings, *, flow: Flow, pay: bool
) -> bool:
    """Ask the journal and, where real money moves, a person; False when it was a dry run.

    Raises:
        InvalidInput: The journal holds ids of the file for other payouts.
        ConfigurationError: The journal is none, or nobody says yes.
        JournalError: The journal cannot be read, or is somebody else's.
    """
    journal: Place | None = arguments.journal
    out: Path | None = arguments.out
    if journal is not None:
        journal.check(must_exist=False)
    look = partial(
        survey,
        batch,
        journal,
        settings,
        flow=flow,
        pay=pay,
        similar_ids=arguments.similar_ids,
        is_dry=arguments.dry_run,
    )
    found = look()
    if journal is not None and out is not None and not found.is_restored:
        _check_results(found, journal, out)
    moving = found.moving
    told = remarks(batch, {request.client_orderid for request in moving})
    if arguments.dry_run or journal is None:  # only a dry run goes without one
        print("without a journal:" if journal is None else f"{_with(journal)}:")
        for group in found.groups():
            print(group)
        for remark in told:
            # Where machines read stdout, a warning is for people.
            print(remark, file=sys.stderr if arguments.json else sys.stdout)
        print(f"A run goes to {place_of(settings.endpoint.base_url)}.")
        print("Nothing was sent or written.")
        return False
    if not found.is_finished:
        verb = "pay" if pay else "check"
        is_asked = confirm(
            f"{verb} {_told(moving, batch.notation)}"
            if moving
            else "ask about payouts that are left to a person",
            found.groups(),
            told,
            endpoint=settings.endpoint,
            journal=journal,
            is_given=arguments.yes,
        )
        # The question may have stood for an hour, in which a journal can be replaced by a copy.
        if is_asked and not _ids(look().moving) <= _ids(moving):
            raise ConfigurationError(
                "the journal has changed while you were asked, and more would be sent than you "
                "have said yes to; run the same command again to see what"
            )
    return True


def _ids(requests: Iterable[PayoutRequest]) -> set[str]:
    return {request.client_orderid for request in requests}


def _check_results(found: Survey, journal: Place, out: Path) -> None:
    """Refuse a journal that does not know what the results file tells of the payouts.

    Raises:
        ConfigurationError: Another journal, or a newer state of this one, knows who was paid.
    """
    try:
        told = told_rows(out) if out.is_file() and are_results(out) else {}
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        ids = (row.request.client_orderid for row in found.batch.rows)
        unknown = [name for name in ids if name in told and name not in found.outcomes]
        if not journal.is_new():
            # A run that was stopped before its first payout leaves a journal without any.
            unknown = [name for name in unknown if told[name].is_known]
        if not unknown:
            _check_progress(found, told, journal, out)
            return
        reason = f"holds results of {len(unknown):,} of these payouts, such as {unknown[0]}"
    is_first = "is new" if found.is_first else "knows other payouts"
    older = "" if found.is_first else ", declare it restored if it is an older copy of that one"
    raise ConfigurationError(
        f"--journal {journal}: this journal {is_first}, but --out {out} {reason}; give the "
        f"journal from which they were paid{older}, or another --out"
    )


def _check_progress(found: Survey, told: Mapping[str, ToldRow], journal: Place, out: Path) -> None:
    """Refuse a journal in which payouts stand further back than the results file tells."""
    behind = [
        name
        for name, outcome in found.outcomes.items()
        if name in told and told[name].is_ahead_of(outcome)
    ]
    if behind:
        names = f"{', '.join(behind[:3])}{', ...' if len(behind) > 3 else ''}"
        raise ConfigurationError(
            f"--journal {journal}: this journal knows less than --out {out}, which tells that "
            f"{len(behind):,} of these payouts had come further ({names}), so they may be paid "
            "already. Put the newest copy in its place, or declare it restored, and every payout "
            f"is asked about first: billblend journal restored --journal {journal}"
        )


def _told(requests: Sequence[PayoutRequest], notation: Notation) -> str:
    return f"{notation.count(len(requests))} payout(s), {amounts_text(requests, notation)}"


def _with(journal: Place) -> str:
    """Name a journal; one that is not there knows nobody who was paid, so its path may be wrong."""
    return f"with the {'new ' if journal.is_new() else ''}journal {journal.label}"


def confirm(
    what: str,
    details: Iterable[object],
    warnings: Sequence[str] = (),
    *,
    endpoint: Endpoint,
    journal: Place,
    is_given: bool,
    always: bool = False,
) -> bool:
    """Let a person say yes before real money moves, and tell what to look at before anything does.

    Args:
        what: What is about to happen, such as ``pay 2 payouts``.
        details: Lines that say more.
        warnings: What looks wrong and may be right; it is told also where nobody is asked.
        endpoint: Where; the gateway's own sandbox, which is named, and this machine move no money,
            so nobody is asked.
        journal: The journal.
        is_given: Whether the command line says yes already.
        always: Whether to ask there too.

    Returns:
        Whether somebody was asked, which takes as long as people take.

    Raises:
        ConfigurationError: Nobody can be asked, or they do not say yes.
    """
    place, is_real = place_of(endpoint.base_url), moves_real_money(endpoint.base_url)
    if not (is_real or always):
        if is_own_sandbox(endpoint.base_url):
            say(f"about to {what}, at {place}")
        _warn(warnings)
        return False
    lines = [f"About to {what}", *map(str, details), *warnings, f"{_with(journal)}, at {place}."]
    if is_given:  # nobody is asked, and a log can tell all the same
        print("\n".join(lines), file=sys.stderr, flush=True)
        return False
    if sys.stdin is None or not sys.stdin.isatty():
        _warn(warnings)
        why = f"{place} may move real money, and " if is_real else ""
        raise ConfigurationError(f"{why}nobody can be asked here; add --yes to {what}")
    print("\n".join(lines), file=sys.stderr)
    print("Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise ConfigurationError("not confirmed, so nothing was sent")
    return True


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        say(warning)


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
