"""The report and the results in the terminal, rendered with rich."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, Protocol

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..core.descriptions import (
    Notation,
    decided,
    duration,
    format_amount,
    happened,
    instant,
    legible,
    many,
    tone,
)
from ..core.events import Event
from ..core.models import OpenReason, Outcome, State
from ..core.responses import StatusReport
from ..errors import SendingStopped
from .projection import explanation_of, remedies, verdicts
from .summary import Group, Report, Summary, Timeline

__all__ = [
    "Counted",
    "print_attention",
    "print_history",
    "print_outcome",
    "print_problems",
    "print_report",
    "print_totals",
    "print_whole",
]

_STATE_COLOURS: Final = {
    "approved": "green",
    "declined": "yellow",
    "filtered": "yellow",
    "rejected": "yellow",
    "error": "red",
    "attention": "bold red",
    "conflict": "bold red",
    "unfinished": "magenta",
}

_MOST_EVENTS: Final = 200
_LONGEST_VALUE: Final = 4000
"""Characters of a line: links for receivers are long."""
_ODD: Final = (
    "Finished, but something does not fit. Ask, and then billblend attention acknowledge takes "
    "them off this list:"
)
_ODD_YET: Final = (
    "Something does not fit, and they go on. Ask; they can be acknowledged once they are finished:"
)


class Counted(Protocol):
    """One line of the totals."""

    @property
    def status(self) -> str:
        """The status word."""
        ...

    @property
    def currency(self) -> str:
        """The currency."""
        ...

    @property
    def payouts(self) -> int:
        """How many."""
        ...

    @property
    def amount(self) -> Decimal:
        """Their sum in major units."""
        ...


def print_totals(console: Console, totals: Iterable[Counted], notation: Notation) -> None:
    """Show how many payouts and how much money per status and currency."""
    # Where there is little room, the words and numbers need it more than the lines around them.
    box = HEAVY_HEAD if console.width >= 60 else None
    table = Table(title="Payouts", title_justify="left", box=box, pad_edge=box is not None)
    table.add_column("status", overflow="fold")
    table.add_column("currency" if box else "", overflow="fold")
    table.add_column("payouts", justify="right", overflow="fold")
    table.add_column("amount", justify="right", overflow="fold")
    for total in totals:
        colour = _STATE_COLOURS.get(total.status, "")
        status = total.status if box else total.status.replace("-", "-\n")
        word = f"[{colour}]{status}[/]" if colour else status
        payouts, amount = notation.count(total.payouts), notation.amount(total.amount)
        table.add_row(word, total.currency, payouts, amount)
    console.print(table)


def print_problems(console: Console, outcomes: Iterable[Outcome], most: int = 20) -> None:
    """List the payouts that need a person or are not finished, with what to do."""
    left: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.needs_person or not outcome.is_finished:
            left.setdefault(_trouble(outcome), []).append(outcome.client_orderid)
    for trouble, names in islice(left.items(), most):
        # What many have in common is said once.
        shown = ", ".join(names[:3])
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        _print_sentence(console, f"{shown}{more}: {trouble}")
    if len(left) > most:
        console.print(f"... and {len(left) - most} more; see the results file", markup=False)


def print_attention(console: Console, outcomes: Iterable[Outcome]) -> None:
    """List payouts that need a person, each with its reason and what to do."""
    parts: dict[str, list[Outcome]] = {"": [], _ODD: [], _ODD_YET: []}
    for outcome in outcomes:
        is_parked = outcome.state is State.ATTENTION
        part = "" if is_parked else _ODD if outcome.is_finished else _ODD_YET
        parts[part].append(outcome)
    for heading, group in parts.items():
        if heading and group:
            _print_sentence(console, heading)
        for outcome in group:
            _print_sentence(console, f"{outcome.client_orderid}: {_trouble(outcome)}")


def _print_sentence(console: Console, text: str) -> None:
    """Show a sentence: on a terminal it is broken between words, in a log it is one line."""
    told = legible(text, _LONGEST_VALUE)
    console.print(told, markup=False, highlight=False, soft_wrap=not console.file.isatty())


def print_history(console: Console, events: Sequence[Event]) -> None:
    """Show what has happened to a payout, in order; of very many events the latest."""
    if len(events) > _MOST_EVENTS:
        console.print(f"  {len(events) - _MOST_EVENTS:,} earlier events", highlight=False)
    for event in events[-_MOST_EVENTS:]:
        told = f"  {instant(event.at)} UTC  {happened(event)}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Show one payout."""
    told = {
        "client_orderid": outcome.client_orderid,
        "state": outcome.state.value,
        "status": outcome.status,
        "amount": f"{outcome.amount} {outcome.currency}",
        "paynet_order_id": outcome.paynet_order_id,
        "order_stage": outcome.order_stage,
        "error_code": outcome.error_code,
        "error_message": outcome.error_message,
        "redirect_to": outcome.redirect_to,
        "open_reason": outcome.open_reason,
        "explanation": outcome.explanation,
        "alarms": ", ".join(outcome.alarms),
        "acknowledged": ", ".join(outcome.acknowledged),
    }
    _print_fields(console, told)


def _trouble(outcome: Outcome) -> str:
    stopped = isinstance(outcome.problem, SendingStopped)
    word: str | None = outcome.status if outcome.state is State.FINAL else outcome.state
    if outcome.open_reason is OpenReason.AWAITING_APPROVAL:
        word = outcome.open_reason
    words = ["not-sent"] if stopped else [*outcome.concerns] or [str(word)]
    if outcome.restored and outcome.state is State.ATTENTION and "restored" not in words:
        words.append("restored")  # its doubt is older than the copy
    return f"{', '.join(words)}. {explanation_of(outcome)}".rstrip()


def print_report(console: Console, report: StatusReport) -> None:
    """Show what a status answer tells, without personal data."""
    told = {
        "client_orderid": report.merchant_order_id,
        "status": report.status,
        "order_stage": report.order_stage,
        "paynet_order_id": report.paynet_order_id,
        "amount": None if report.amount is None else f"{report.amount} {report.currency or ''}",
        "error_code": report.error_code,
        "error_message": report.error_message,
        "redirect_to": report.redirect_to,
    }
    _print_fields(console, told)


def _print_fields(console: Console, fields: Mapping[str, object]) -> None:
    for name, value in fields.items():
        if value:
            told = f"  {name}: {legible(str(value), _LONGEST)}"
            console.print(told, markup=False, highlight=False, soft_wrap=True)


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
        table.add_row(
            status, currency, f"{each.payouts:,}", format_amount(each.amount, each.currency)
        )
    table.add_section()
    for each in summary.sums:
        amount = format_amount(each.amount, each.currency)
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
            amount = f"{format_amount(line.amount, line.currency)} {legible(line.currency)}"
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
