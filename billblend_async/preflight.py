"""What happens before money moves: a file is checked, the journal is asked, a person says yes."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from .batch import Batch
from .console import say
from .errors import ConfigurationError
from .intake import add_reading, read_payouts
from .limits import add_limits, amounts_text, check_limits, limits_of
from .models import Endpoint, Flow, is_own_sandbox, moves_real_money, place_of
from .places import Place
from .remarks import remarks
from .request import PayoutRequest
from .results import are_results, told_names
from .settings import Settings
from .survey import survey

__all__ = ["add_confirmation", "add_preflight", "confirm", "is_cleared", "read_file"]


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
        told = _told([row.request for row in batch.rows])
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
    if arguments.journal is not None:
        arguments.journal.check(must_exist=False)
    found = survey(
        batch,
        arguments.journal,
        settings,
        flow=flow,
        pay=pay,
        similar_ids=arguments.similar_ids,
        is_dry=arguments.dry_run,
    )
    if found.is_first and None not in (arguments.journal, arguments.out):
        _check_first(batch, arguments.journal, arguments.out)
    moving = found.moving
    told = remarks(batch, {request.client_orderid for request in moving})
    if arguments.dry_run:
        print("without a journal:" if arguments.journal is None else f"{_with(arguments.journal)}:")
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
        confirm(
            f"{verb} {_told(moving)}" if moving else "ask about payouts that are left to a person",
            found.groups(),
            told,
            endpoint=settings.endpoint,
            journal=arguments.journal,
            is_given=arguments.yes,
        )
    return True


def _check_first(batch: Batch, journal: Place, out: Path) -> None:
    """Refuse a journal without payouts where the results of the file's payouts are there.

    Raises:
        ConfigurationError: Another journal knows who was paid.
    """
    try:
        told = told_names(out) if out.is_file() and are_results(out) else {}
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        ids = (row.request.client_orderid for row in batch.rows)
        # A run that was stopped before its first payout leaves a journal without any.
        is_there = not journal.is_new()
        known = [name for name in ids if told.get(name, False) or (name in told and not is_there)]
        if not known:
            return
        reason = f"holds results of {len(known):,} of these payouts, such as {known[0]}"
    raise ConfigurationError(
        f"--journal {journal}: this journal is new, but --out {out} {reason}; give the journal "
        "from which they were paid, or another --out"
    )


def _told(requests: Sequence[PayoutRequest]) -> str:
    return f"{len(requests):,} payout(s), {amounts_text(requests)}"


def _with(journal: Place) -> str:
    """Name a journal; one that is not there knows nobody who was paid, so its path may be wrong."""
    return f"with the {'new ' if journal.is_new() else ''}journal {journal}"


def confirm(
    what: str,
    details: Iterable[object],
    warnings: Sequence[str] = (),
    *,
    endpoint: Endpoint,
    journal: Place,
    is_given: bool,
    always: bool = False,
) -> None:
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

    Raises:
        ConfigurationError: Nobody can be asked, or they do not say yes.
    """
    place, is_real = place_of(endpoint.base_url), moves_real_money(endpoint.base_url)
    if not (is_real or always):
        if is_own_sandbox(endpoint.base_url):
            say(f"about to {what}, at {place}")
        _warn(warnings)
        return
    lines = [f"About to {what}", *map(str, details), *warnings, f"{_with(journal)}, at {place}."]
    if is_given:  # nobody is asked, and a log can tell all the same
        print("\n".join(lines), file=sys.stderr, flush=True)
        return
    if sys.stdin is None or not sys.stdin.isatty():
        _warn(warnings)
        why = f"{place} may move real money, and " if is_real else ""
        raise ConfigurationError(f"{why}nobody can be asked here; add --yes to {what}")
    print("\n".join(lines), file=sys.stderr)
    print("Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise ConfigurationError("not confirmed, so nothing was sent")


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        say(warning)
