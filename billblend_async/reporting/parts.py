"""The parts of the page: each section's HTML from the summary, everything escaped."""

from collections.abc import Sequence
from html import escape
from itertools import accumulate
from typing import Final

from ..core.descriptions import decided
from ..core.models import State
from ..core.words import duration, instant, legible, many, tone
from .charts import bars, shares
from .pieces import NONE, amount_of, breakable, folded, said, status_of
from .projection import Line
from .source import Report
from .summary import Summary
from .tables import NUMBER, Column, table
from .timeline import Spread, Timeline

__all__ = [
    "MOST_LISTED",
    "all_payouts",
    "refusals",
    "time_line",
    "times",
    "totals",
    "verdict",
]

MOST_LISTED: Final = 500
"""Payouts in the list of all: with more a page is slow, and a spreadsheet is the better tool."""
_OPEN: Final = 25
"""Rows up to which a list that nobody must read is unfolded."""


def verdict(report: Report) -> str:
    """Say in words how things stand, and show it."""
    summary = report.summary
    if not summary.payouts:
        return f'<p class="verdict">{_NOTHING_CHOSEN if report.choice else _NOTHING}</p>'
    count = many(summary.payouts, "payout")
    sentences = [f"{summary.finished:,} of {count} finished, {summary.paid:,} paid."]
    if summary.persons == 1:
        sentences.append("One needs a person.")
    else:
        persons = f"{summary.persons:,} need" if summary.persons else "None needs"
        sentences.append(f"{persons} a person.")
    counts: dict[str, int] = {}
    for total in summary.totals:
        counts[total.status] = counts.get(total.status, 0) + total.payouts
    order = sorted(counts, key=lambda status: (_TONES.index(tone(status)), -counts[status]))
    told = ", ".join(f"{legible(status)} {counts[status]:,}" for status in order)
    parts = [(legible(status), tone(status), counts[status]) for status in order]
    picture = shares(parts, name="shares", title="Payouts by status", told=told)
    return f'<p class="verdict">{" ".join(sentences)}</p>{picture}'


_TONES: Final = ("good", "wait", "odd", "bad", "still")
_NOTHING: Final = "The journal holds no payouts yet."
_NOTHING_CHOSEN: Final = "The journal holds no payouts of this choice."


def totals(summary: Summary) -> str:
    """Show payouts and money per status and currency."""
    if not summary.payouts:
        return ""
    columns = [
        Column("Status"),
        Column("Payouts", NUMBER),
        Column("Share", f"{NUMBER} share"),
        Column("Amount", NUMBER),
    ]
    rows: list[tuple[str, ...]] = []
    for whole in summary.sums:
        of_currency = [each for each in summary.totals if each.currency == whole.currency]
        rows += (
            (
                status_of(each.status),
                f"{each.payouts:,}",
                f"{100 * each.payouts / whole.payouts:.1f} %",
                amount_of(each.amount, each.currency),
            )
            for each in sorted(of_currency, key=lambda each: -each.payouts)
        )
        every = f"<b>All in {escape(legible(whole.currency))}</b>"
        rows.append((every, f"{whole.payouts:,}", "", amount_of(whole.amount, whole.currency)))
    caption = "Payouts and money by status and currency; each share is of its currency's payouts"
    return table(columns, rows, caption=caption, kind="totals")


def refusals(summary: Summary) -> str:
    """Show why the gateway refused payouts, the most frequent reason first."""
    if not summary.refusals:
        return '<p class="none">The gateway refused no payout.</p>'
    columns = [
        Column("Status"),
        Column("Payouts", NUMBER),
        Column("What the gateway said"),
        Column("Stage"),
        Column("For example"),
    ]
    rows = (
        (
            status_of(each.status),
            f"{each.payouts:,}",
            said(each.error_code, each.error_message) or "no reason",
            breakable(legible(each.order_stage)) or NONE,
            escape(legible(each.example)),
        )
        for each in summary.refusals
    )
    shown = table(
        columns, rows, caption="Refusals by reason, the most frequent first", kind="stack"
    )
    if summary.unlisted_refusals:
        left = many(summary.unlisted_refusals, "payout was", "payouts were")
        shown += (
            f'<p class="small soft">{left} refused for rarer reasons; the CSV file has all.</p>'
        )
    return shown


def time_line(summary: Summary) -> str:
    """Show when payouts were accepted, finished and paid."""
    line = summary.timeline
    if line is None:
        return '<p class="none">There is nothing to show yet.</p>'
    labels = [instant(line.begins_at + n * line.step) for n in range(len(line.accepted))]
    told = "".join(
        _series(name, counts, labels, line)
        for name, counts in (
            ("Accepted", line.accepted),
            ("Finished", line.finished),
            ("Paid", line.paid),
        )
    )
    ends = instant(line.begins_at + len(labels) * line.step)
    columns = [Column("From"), *(Column(name, NUMBER) for name in ("Accepted", "Finished", "Paid"))]
    rows = (
        (label, f"{accepted:,}", f"{finished:,}", f"{paid:,}")
        for label, accepted, finished, paid in zip(
            labels, line.accepted, line.finished, line.paid, strict=True
        )
        if accepted or finished
    )
    caption = f"Payouts by time, in steps of {duration(line.step)}"
    shown = table(columns, rows, caption=caption)
    return (
        f'<p class="small soft">Each bar is {_span(line.step)}.</p>{told}'
        f'<p class="axis small soft"><span>{labels[0]}</span><span>{ends}</span></p>'
        + folded("timeline-table", "The same as a table", shown, is_open=False)
    )


def _series(name: str, counts: Sequence[int], labels: Sequence[str], line: Timeline) -> str:
    kind, most, all_of = name.casefold(), max(counts), sum(counts)
    peak = f"at most {most:,} in {_span(line.step)}"
    when = f", from {labels[counts.index(most)]}" if most else ""
    drawn = bars(
        counts,
        name=f"timeline-{kind}",
        title=f"{name} over time",
        told=f"{many(all_of, 'payout')}, {peak}{when}",
        labels=labels,
        kind=kind,
    )
    return (
        f'<div class="series"><p><b>{name}</b> <span class="soft number">{all_of:,}; {peak}</span>'
        f"</p>{drawn}</div>"
    )


def times(summary: Summary) -> str:
    """Show how long payouts took from their acceptance to the gateway's final status."""
    spread = summary.times
    if spread is None:
        return '<p class="none">No payout has a final status yet.</p>'
    facts = {
        "Half of them took at most": duration(spread.median),
        "9 of 10": duration(spread.p90),
        "99 of 100": duration(spread.p99),
        "The longest": duration(spread.longest),
    }
    told = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in facts.items())
    edges = _edges(spread)
    drawn = bars(
        spread.bars,
        name="times-bars",
        title="Time to the final status",
        told=f"{many(spread.count, 'payout')}: " + ", ".join(f"{k} {v}" for k, v in facts.items()),
        labels=edges,
        kind="finished",
    )
    columns = [Column("Took"), Column("Payouts", NUMBER)]
    rows = ((edge, f"{n:,}") for edge, n in zip(edges, spread.bars, strict=True) if n)
    shown = table(columns, rows, caption="Payouts by their time to the final status")
    end = f"{duration(len(edges) * spread.step)} and longer"
    return (
        f'<dl class="about">{told}</dl><div class="series">{drawn}</div>'
        f'<p class="axis small soft"><span>0 s</span><span>{end}</span></p>'
        + folded("times-table", "The same as a table", shown, is_open=False)
    )


def _edges(spread: Spread) -> list[str]:
    ends = list(accumulate([spread.step] * len(spread.bars)))
    told = [f"{_exact(end - spread.step)} to {_exact(end)}" for end in ends]
    told[-1] = f"over {_exact(ends[-1] - spread.step)}" if len(ends) > 1 else "any time"
    return told


def _exact(seconds: float) -> str:
    """Write the edge of a bar, which may be a small part of a second."""
    return f"{seconds:.3g} s" if seconds < 60 else duration(seconds)


def all_payouts(report: Report) -> str:
    """List the newest payouts."""
    if not report.lines:
        return '<p class="none">There is nothing to list.</p>'
    newest = report.lines[-MOST_LISTED:]
    columns = [
        Column("Payout"),
        Column("Amount", NUMBER),
        Column("Status"),
        Column("Accepted", "when"),
        Column("Took", NUMBER),
        Column("What the gateway said"),
    ]
    rows = (_payout(line) for line in reversed(newest))
    count = len(report.lines)
    which = f"all {count:,}" if len(newest) == count else f"the newest {len(newest):,} of {count:,}"
    caption = f"Payouts, {which}, the newest first"
    shown = table(columns, rows, caption=caption, name="listing", kind="stack")
    note = "" if len(newest) == count else _NEWEST_ONLY.format(newest=len(newest), count=count)
    is_open = len(newest) <= 2 * _OPEN
    return note + folded("listing-fold", f"Show {which}", shown, is_open=is_open)


def _payout(line: Line) -> tuple[str, ...]:
    seconds = line.seconds_to_final
    order = escape(legible(line.paynet_order_id))
    told = said(line.error_code, line.error_message)
    if not told and line.state is State.ATTENTION and line.doubt is not None:
        told = escape(line.doubt)
    if not told and line.decisions and line.state.is_terminal and not line.open_alarms:
        told = escape(decided(line.decisions[-1]))
    return (
        f'{escape(legible(line.client_orderid))}<span class="small soft">{order}</span>',
        amount_of(line.amount, line.currency),
        status_of(line.status if line.status != "unfinished" else line.state.value),
        instant(line.accepted_at),
        NONE if seconds is None else f'<data value="{seconds:.3f}">{duration(seconds)}</data>',
        told or (", ".join(line.open_alarms) or NONE),
    )


_NEWEST_ONLY: Final = (
    '<p class="small soft">The list holds the newest {newest:,} of {count:,} payouts; those that '
    "need somebody are listed above whatever their age. Every payout stands in the CSV file of "
    "billblend report --csv FILE.</p>"
)


def _span(step: int) -> str:
    """Write the length of a step in one unit."""
    for seconds, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if step % seconds == 0:
            return many(step // seconds, word)
    return many(step, "second")
