"""The report in the terminal: what the page says, in fewer words."""

from collections.abc import Iterable

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..core.descriptions import decided
from ..core.words import duration, instant, legible, many, money, tone
from .remedies import remedies
from .source import Report
from .summary import Group, Summary
from .timeline import Timeline
from .verdicts import verdicts

__all__ = ["print_whole"]

_MOST_NAMED = 5
_MOST_REASONS = 10
_MOST_DECISIONS = 10
_LONGEST = 10_000
"""Characters of a command, which is never cut short: so many ids are not longer."""
_WIDE = 60
"""Cells from which on a table has lines around its cells."""
_COLOURS = {"good": "green", "bad": "yellow", "odd": "bold red", "wait": "magenta", "still": "dim"}
_BLOCKS = " ▁▂▃▄▅▆▇█"


def print_whole(console: Console, report: Report) -> None:
    """Print a report; what a stranger has written is never taken for markup or for commands."""
    summary = report.summary
    owner = report.owner
    _line(console, f"{legible(report.journal)}, read at {instant(report.at)} UTC")
    told = f"gateway {owner.base_url}, login {owner.login}, endpoint {owner.endpoint}"
    _line(console, legible(told))
    if report.choice:
        _line(console, f"chosen: {legible(report.choice)}")
    if report.missing:
        _line(console, f"{many(report.missing, 'payout')} of the file not in this journal")
    if not summary.payouts:
        _line(console, "No payouts.")
        return
    _totals(console, summary)
    _groups(console, "Needs a person", summary.attention, report.named)
    _groups(console, "Not finished", summary.unfinished, report.named)
    _refusals(console, summary)
    _verdicts(console, report)
    if summary.timeline is not None:
        _timeline(console, summary.timeline)
    times = summary.times
    if times is not None:
        told = (
            f"median {duration(times.median)}, 90 % {duration(times.p90)}, "
            f"99 % {duration(times.p99)}, longest {duration(times.longest)}"
        )
        _head(console, "Time to the final status")
        _line(console, f"  {told}")
    _line(console, "")
    word = "None needs a person." if not summary.persons else f"{summary.persons:,} need a person."
    if summary.persons == 1:
        word = "One needs a person."
    finished = f"{summary.finished:,} of {many(summary.payouts, 'payout')} finished"
    _line(console, f"{finished}, {summary.paid:,} paid. {word}")


def _totals(console: Console, summary: Summary) -> None:
    # Where there is little room, the words and numbers need it more than the lines around them.
    box = HEAVY_HEAD if console.width >= _WIDE else None
    table = Table(title="Payouts", title_justify="left", box=box, pad_edge=box is not None)
    table.add_column("status", overflow="fold")
    table.add_column("currency" if box else "", overflow="fold")
    table.add_column("payouts", justify="right", overflow="fold")
    table.add_column("amount", justify="right", overflow="fold")
    for each in summary.totals:
        word = legible(each.status) if box else legible(each.status).replace("-", "-\n")
        status = Text(word, style=_COLOURS[tone(each.status)])
        currency = Text(legible(each.currency))
        table.add_row(status, currency, f"{each.payouts:,}", money(each.amount, each.currency))
    table.add_section()
    for each in summary.sums:
        amount = money(each.amount, each.currency)
        table.add_row("all", Text(legible(each.currency)), f"{each.payouts:,}", amount)
    console.print(table)


def _groups(console: Console, title: str, groups: Iterable[Group], journal: str) -> None:
    for number, group in enumerate(groups):
        if not number:
            _head(console, title)
        late = f", {group.late:,} for longer than it should take" if group.late else ""
        _line(console, f"  {group.name}: {many(group.payouts, 'payout')}{late}. {group.sentence}")
        for line in group.lines[:_MOST_NAMED]:
            order = f", order {legible(line.paynet_order_id)}" if line.paynet_order_id else ""
            said = " ".join(filter(None, (line.error_code, line.error_message)))
            said = line.detail(group.name) or legible(said)
            told = f": {said}" if said else ""
            amount = f"{money(line.amount, line.currency)} {legible(line.currency)}"
            _line(console, f"    {legible(line.client_orderid)}{order}, {amount}{told}")
        if group.payouts > _MOST_NAMED:
            left = group.payouts - _MOST_NAMED
            _line(console, f"    and {left:,} more; --html or --csv lists them")
        for each in remedies(group.name, group.lines, journal, most=_MOST_NAMED):
            _line(console, f"    {each.heading}:")
            # It is never broken here, so that it can be copied whole from a narrow terminal too.
            command = f"      {legible(each.command, _LONGEST)}"
            console.print(command, markup=False, highlight=False, soft_wrap=True)


def _refusals(console: Console, summary: Summary) -> None:
    shown = summary.refusals[:_MOST_REASONS]
    for number, each in enumerate(shown):
        if not number:
            _head(console, "Refused, by reason")
        said = " ".join(filter(None, (each.error_code, each.error_message))) or "no reason told"
        stage = f" [{legible(each.order_stage)}]" if each.order_stage else ""
        told = f"{legible(each.status)}{stage}: {legible(said)}"
        _line(console, f"  {each.payouts:>6,}  {told} (such as {legible(each.example)})")
    left = summary.unlisted_refusals + sum(each.payouts for each in summary.refusals[len(shown) :])
    if left:
        _line(console, f"  {left:>6,}  for rarer reasons")


def _verdicts(console: Console, report: Report) -> None:
    told = verdicts(report.lines, _MOST_DECISIONS)
    if told.listed or told.approvals:
        _head(console, "Decided by people")
    for who, count in told.approvals[:_MOST_DECISIONS]:
        _line(console, f"  {who} has approved {many(count, 'payout')}")
    for line, decision in told.listed:
        what = f"{legible(line.client_orderid)} {decided(decision)}"
        _line(console, f"  {instant(decision.at)} UTC  {what}")
    if told.unlisted:
        left = many(told.unlisted, "earlier decision")
        _line(console, f"  {left}; --csv has them all")


def _timeline(console: Console, line: Timeline) -> None:
    begins, ends = line.begins_at, line.begins_at + line.step * len(line.accepted)
    _head(console, f"Timeline, {instant(begins)} to {instant(ends)} UTC")
    for name, counts in (
        ("accepted", line.accepted),
        ("finished", line.finished),
        ("paid", line.paid),
    ):
        most = max(counts) or 1
        # Rounded up, so that a single one among thousands is still seen.
        drawn = "".join(_BLOCKS[-(-count * 8 // most)] for count in counts)
        told = f"  {name:<9}{drawn}  {sum(counts):,}"
        if len(told) > console.width and console.file.isatty():
            told = f"  {name:<9}{sum(counts):,}"  # a picture that is broken shows nothing
        _line(console, told)


def _head(console: Console, title: str) -> None:
    _line(console, "")
    console.print(Text(title, style="bold"), soft_wrap=not console.file.isatty())


def _line(console: Console, text: str) -> None:
    """Print a line; on a terminal it is broken between words and set in, in a file it is one."""
    if not text or not console.file.isatty():
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    told = text.lstrip(" ")
    console.print(Padding(Text(told), (0, 0, 0, len(text) - len(told)), expand=False))
