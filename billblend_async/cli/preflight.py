"""What happens before money moves: a file is checked, the journal is asked, a person says yes."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ..batch.limits import add_limits, amounts_text, check_limits, limits_of
from ..batch.parser import Batch
from ..batch.preflight import Survey, survey
from ..batch.remarks import remarks
from ..batch.results import ToldRow, are_results, told_rows
from ..core.models import Endpoint, Flow, is_own_sandbox, moves_real_money, place_of
from ..core.notation import Notation
from ..core.request import PayoutRequest
from ..errors import ConfigurationError
from ..gateway.settings import Settings
from ..journal.location import Place
from .console import say
from .intake import add_reading, read_payouts

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
