"""The parts of the page about people: what they must do for payouts, and what they have decided."""

from html import escape
from typing import Final, Literal

from ..core.descriptions import decision_word, reason_of
from ..core.words import instant, legible, many
from .pieces import NONE, amount_of, folded, said
from .remedies import remedies
from .source import Report
from .summary import Group
from .tables import NUMBER, Column, table
from .verdicts import verdicts

__all__ = ["MOST_DECISIONS", "decisions", "left_to_do"]

_OPEN: Final = 25
"""Rows up to which a list that nobody must read is unfolded."""
MOST_DECISIONS: Final = 500
"""Decisions that are listed; the CSV file has all."""
_MOST_APPROVERS: Final = 20
_MOST_IDS: Final = 20
"""Ids in a command."""
_LONGEST: Final = 10_000
"""Characters of a command, which is never cut short: so many ids are not longer."""


def left_to_do(report: Report, kind: Literal["person", "unfinished"]) -> str:
    """List the payouts that somebody must do something about, by reason, with what to run."""
    summary = report.summary
    groups, nothing = {
        "person": (summary.attention, "No payout needs a person."),
        "unfinished": (summary.unfinished, "No payout waits for anything else."),
    }[kind]
    if not groups:
        return f'<p class="none">{nothing}</p>'
    return "".join(_group(group, kind, report.named) for group in groups)


def _group(group: Group, kind: str, journal: str) -> str:
    late = f", {group.late:,} for longer than it should take" if group.late else ""
    heading = (
        f'<h3>{escape(group.name)} <span class="count">{many(group.payouts, "payout")}{late}'
        f"</span></h3><p>{escape(group.sentence)}</p>"
    )
    columns = [
        Column("Payout id"),
        Column("Order id"),
        Column("Amount", NUMBER),
        Column("Since", "when"),
        Column("What the gateway said"),
    ]
    rows = (
        (
            escape(legible(line.client_orderid)),
            escape(legible(line.paynet_order_id)) or NONE,
            amount_of(line.amount, line.currency),
            instant(line.since),
            escape(line.detail(group.name))
            or said(line.error_code, line.error_message, line.order_stage)
            or NONE,
        )
        for line in group.lines
    )
    caption = f"Payouts with the reason {group.name}"
    shown = table(columns, rows, caption=caption, kind="stack")
    rest = _bound(len(group.lines), group.payouts)
    name = f"{kind}-{group.name.replace(' ', '-')}"
    is_open = kind == "person" or len(group.lines) <= _OPEN
    count = many(len(group.lines), "row")
    label = f"{count} with the ids for the gateway's support"
    return heading + _to_run(group, journal) + folded(name, label, shown + rest, is_open=is_open)


def _to_run(group: Group, journal: str) -> str:
    """Show what can be run about a group, as text that is copied whole."""
    told = "".join(
        f"<p>{escape(each.heading)}:</p><code>{escape(legible(each.command, _LONGEST))}</code>"
        for each in remedies(group.name, group.lines, journal, most=_MOST_IDS)
    )
    return f'<div class="run">{told}</div>'


def _bound(shown: int, count: int) -> str:
    if shown == count:
        return ""
    return (
        f'<p class="small soft">The first {shown:,} of {count:,} are listed; the CSV file has all, '
        "with the same reasons.</p>"
    )


def decisions(report: Report) -> str:
    """List what people have decided, with who and why."""
    told = verdicts(report.lines, MOST_DECISIONS)
    shown = "".join(
        f"<p>{escape(who)} has approved {many(count, 'payout')}.</p>"
        for who, count in told.approvals[:_MOST_APPROVERS]
    )
    if not told.listed:
        return shown or '<p class="none">Nobody has decided anything about a payout.</p>'
    columns = [
        Column("Payout id"),
        Column("When", "when"),
        Column("Decision"),
        Column("Who"),
        Column("Why"),
    ]
    rows = (
        (
            escape(legible(line.client_orderid)),
            instant(decision.at),
            decision_word(decision),
            escape(legible(decision.who)),
            escape(reason_of(decision)) or NONE,
        )
        for line, decision in told.listed
    )
    shown += table(columns, rows, caption="Decisions of people, the latest first", kind="stack")
    if told.unlisted:
        left = f"{many(told.unlisted, 'earlier decision')} are in the CSV file."
        shown += f'<p class="small soft">{left}</p>'
    return shown
