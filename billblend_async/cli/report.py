"""The commands that look at a journal: ``billblend report`` and ``billblend watch``."""

import argparse
import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError
from ..journal.location import JOURNAL_HELP, Place, read_place
from .console import end_on_signals
from .options import add_reading, read_chosen

if TYPE_CHECKING:
    from ..reporting.summary import Choice

__all__ = ["add_report", "add_watch"]

_REPORT: Final = """\
Tell what a journal holds: totals per status and currency, what needs a person and why, what is not
finished, refusals by reason, a timeline and how long payouts took. It needs no settings and no key,
sends nothing, changes nothing, and works while payouts run.
"""
_WATCH: Final = """\
Serve the report of a journal as a page that keeps itself up to date, on this machine only and for
whoever has the link. It needs no settings and no key, sends nothing and changes nothing.
"""


def add_report(report: argparse.ArgumentParser) -> None:
    """Give ``billblend report`` its options."""
    report.description = _REPORT
    report.epilog = "exit status: 0 once the report is written, whatever it tells"
    report.add_argument("--journal", type=read_place, required=True, help=JOURNAL_HELP)
    report.add_argument("--html", type=Path, metavar="FILE", help="write one page that has it all")
    report.add_argument("--csv", type=Path, metavar="FILE", help="write every payout in a row")
    _add_choice(report)
    report.set_defaults(run=_report)


def add_watch(watch: argparse.ArgumentParser) -> None:
    """Give ``billblend watch`` its options."""
    watch.description = _WATCH
    watch.add_argument("--journal", type=read_place, required=True, help=JOURNAL_HELP)
    _add_choice(watch)
    watch.add_argument("--port", type=int, default=0, help="the port (default 0: a free one)")
    watch.set_defaults(run=_watch)


def _add_choice(command: argparse.ArgumentParser) -> None:
    """Give a command the options that choose payouts."""
    command.add_argument(
        "--since",
        type=_moment,
        metavar="TIME",
        help="only payouts accepted from then on, such as 2027-01-31 or 2027-01-31T12:30 (UTC)",
    )
    command.add_argument(
        "--until", type=_moment, metavar="TIME", help="only payouts accepted before then"
    )
    command.add_argument("--batch", type=Path, metavar="FILE", help="only payouts of this file")
    add_reading(command, reads_only=True)


def _moment(text: str) -> float:
    """Read an instant; one without a zone is UTC."""
    with contextlib.suppress(OverflowError, ValueError):
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
    raise argparse.ArgumentTypeError("must be YYYY-MM-DD or YYYY-MM-DDTHH:MM, and such a day")


def _report(arguments: argparse.Namespace) -> int:
    from ..reporting.export import check_target, is_sheet, sheet, write_whole
    from ..reporting.html import is_page, report_page
    from ..reporting.summary import Source

    arguments.journal.check()
    if arguments.html is not None:
        check_target("--html", arguments.html, is_page)
    if arguments.csv is not None:
        check_target("--csv", arguments.csv, is_sheet)
        if arguments.html is not None and arguments.html.resolve() == arguments.csv.resolve():
            raise ConfigurationError(f"--csv {arguments.csv}: this is the file of --html too")
    report = Source(arguments.journal, _choice(arguments)).read(time.time())
    if arguments.html is not None:
        write_whole("--html", arguments.html, report_page(report))
        print(f"Report: {arguments.html}")
    if arguments.csv is not None:
        write_whole("--csv", arguments.csv, sheet(report))
        print(f"Report: {arguments.csv}")
    if arguments.html is None and arguments.csv is None:
        from rich.console import Console

        from ..reporting.terminal import print_whole

        print_whole(Console(), report)
    return 0


def _choice(arguments: argparse.Namespace) -> "Choice":
    from ..core.descriptions import instant
    from ..reporting.summary import Choice

    since, until = arguments.since, arguments.until
    words = [
        f"accepted since {instant(since)} UTC" if since is not None else "",
        f"accepted before {instant(until)} UTC" if until is not None else "",
        f"payouts of {arguments.batch.name}" if arguments.batch is not None else "",
    ]
    batch, among = read_chosen(arguments), None
    if batch is not None:
        among = frozenset(row.request.client_orderid for row in batch.rows)
    told = ", ".join(filter(None, words))
    return Choice(since=since, until=until, among=among, words=told)


def _watch(arguments: argparse.Namespace) -> int:
    import asyncio

    arguments.journal.check()
    if not 0 <= arguments.port < 65536:
        raise ConfigurationError("--port: must lie between 0, for any free one, and 65535")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.journal, arguments.port, _choice(arguments)))
    return 0


async def _serve(journal: Place, port: int, choice: "Choice") -> None:
    from asyncio import CancelledError

    from ..reporting.dashboard import Watch

    end_on_signals()
    async with Watch(journal, port, choice) as watch:
        print(f"Watch it at {watch.url}")
        told = "Only who has this link can see it. Ctrl-C ends the page and no payout."
        print(told, flush=True)
        with contextlib.suppress(CancelledError):
            await watch.wait()
