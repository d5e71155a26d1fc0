"""What people look at: the one place that renders for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, Protocol

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table

from ..core.descriptions import happened
from ..core.events import Event
from ..core.legibility import instant, legible
from ..core.models import OpenReason, Outcome, State
from ..core.notation import Notation
from ..core.responses import StatusReport
from ..errors import SendingStopped
from .projection import explanation_of

__all__ = [
    "Counted",
    "print_attention",
    "print_history",
    "print_outcome",
    "print_problems",
    "print_report",
    "print_totals",
]

_COLOURS: Final = {
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
_LONGEST: Final = 4000
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
        colour = _COLOURS.get(total.status, "")
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
    told = legible(text, _LONGEST)
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
