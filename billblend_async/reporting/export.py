"""A report as a table for spreadsheets: every payout in one row."""

import csv
import io
from typing import Final

from ..core.descriptions import decided, decision_word, reason_of
from ..core.events import Decision
from ..core.words import instant, legible
from .formulas import harmless
from .projection import Line
from .remedies import remedies_of
from .source import Report

__all__ = ["COLUMNS", "is_sheet", "sheet"]

COLUMNS: Final = (
    "client_orderid",
    "status",
    "state",
    "amount",
    "currency",
    "paynet_order_id",
    "order_stage",
    "error_code",
    "error_message",
    "needs_person",
    "reason",
    "alarms",
    "accepted_at",
    "since",
    "seconds_to_final",
    "acknowledged",
    "decision",
    "decided_at",
    "who",
    "why",
    "earlier_decisions",
    "what_to_run",
)
_FIRST: Final = 15
"""Columns that every table of ours has ever had."""


def sheet(report: Report) -> str:
    """Write all payouts of a report as CSV, in the order in which they were accepted.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, as in
    spreadsheets themselves. Instants are UTC.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(_cells(line, report.named) for line in report.lines)
    return text.getvalue()


def is_sheet(head: str) -> bool:
    """Tell from the beginning of a file whether it is a table of ours."""
    # Those that an earlier release has written have fewer columns, in the same order.
    return head.splitlines()[0].startswith(",".join(COLUMNS[:_FIRST]))


def _cells(line: Line, journal: str) -> tuple[str, ...]:
    seconds = line.seconds_to_final
    last = line.decisions[-1] if line.decisions else None
    return (
        _text(line.client_orderid),
        _text(line.status),
        line.state.value,
        f"{line.amount:f}",
        _text(line.currency),
        _text(line.paynet_order_id),
        _text(line.order_stage),
        _text(line.error_code),
        _text(line.error_message),
        "yes" if line.needs_person else "",
        _text("" if line.is_paid and not line.alarms else line.explanation),
        " ".join(line.alarms),
        instant(line.accepted_at),
        instant(line.since),
        "" if seconds is None else f"{seconds:.3f}",
        " ".join(line.acknowledged),
        *_decision(last),
        _text("; ".join(f"{instant(each.at)} {decided(each)}" for each in line.decisions[:-1])),
        _text(" or: ".join(each.command for each in remedies_of(line, journal))),
    )


def _decision(decision: Decision | None) -> tuple[str, ...]:
    """Tell a decision in cells of its own: what, when, who and why."""
    if decision is None:
        return ("", "", "", "")
    who, why = _text(decision.who), _text(reason_of(decision))
    return (decision_word(decision), instant(decision.at), who, why)


def _text(value: str | None) -> str:
    return harmless(legible(value, most=10_000))
