"""The report as one page: values in, HTML out.

The page needs nothing but itself: style and script stand in it and are allowed by their hashes, so
nothing else can run and nothing is loaded. It is complete without its script, which only filters
and sorts. Everything that is put into it is escaped. Charts are inline SVG without text; beside
each stands a table with the same numbers. Each part of a table names its role, since a narrow
screen shows rows as blocks, and a screen reader would find no table there otherwise.
The file is long because it holds every part of one page.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import attrs

from ..core.descriptions import (
    decided,
    decision_word,
    duration,
    format_amount,
    instant,
    legible,
    many,
    reason_of,
    tone,
)
from ..core.models import BASE_URLS, State
from .projection import Line, remedies, verdicts
from .summary import Group, Report, Spread, Summary, Timeline

__all__ = [
    "HEADERS",
    "MARK",
    "MOST_DECISIONS",
    "MOST_LISTED",
    "NONE",
    "NUMBER",
    "Column",
    "all_payouts",
    "amount_of",
    "bars",
    "body_parts",
    "breakable",
    "decisions",
    "folded",
    "is_page",
    "left_to_do",
    "refusals",
    "report_page",
    "said",
    "shares",
    "status_of",
    "table",
    "time_line",
    "times",
    "totals",
    "trouble_page",
    "verdict",
    "watch_page",
]

NONE: Final = '<span class="soft nil">none</span>'
"""What stands where there is nothing to say; on a narrow screen it is left out."""


def folded(name: str, label: str, body: str, *, is_open: bool) -> str:
    """Fold something away below a label, or show it at once."""
    opened = " open" if is_open else ""
    return (
        f'<details id="{name}"{opened}><summary id="{name}-summary">{escape(label)}</summary>'
        f"{body}</details>"
    )


def status_of(word: str) -> str:
    """Show a status in the colour of how it is to be taken."""
    return f'<span class="status {tone(word)}">{escape(legible(word))}</span>'


def amount_of(amount: Decimal, currency: str) -> str:
    """Write an amount with its currency."""
    return f"{format_amount(amount, currency)} {escape(legible(currency))}"


def said(code: str | None, message: str | None, stage: str | None = None) -> str:
    """Repeat what the gateway said: its text, its code and its stage, as far as it told them."""
    told = [legible(message)]
    if code:
        told.append(f"(error {legible(code)})")
    if stage:
        told.append(f"[{legible(stage)}]")
    return breakable(" ".join(filter(None, told)))


def breakable(text: str) -> str:
    """Let the gateway's long words be broken where a person would, if they must be."""
    return escape(text).replace("_", "_<wbr>")


_HEIGHT: Final = 60
_WIDTH: Final = 10
_GAP: Final = 1.5


def bars(
    counts: Sequence[int], *, name: str, title: str, told: str, labels: Sequence[str], kind: str
) -> str:
    """Draw a bar for each count, the largest over the full height.

    Args:
        counts: The counts.
        name: The beginning of its ids, unlike every other on the page.
        title: What it shows.
        told: What can be seen in it, in words.
        labels: What each bar is about, shown with its count where the pointer rests.
        kind: The CSS class that colours it.
    """
    most = max(counts, default=0) or 1
    drawn = "".join(
        _bar(place, count / most, f"{label}: {count:,}")
        for place, (count, label) in enumerate(zip(counts, labels, strict=True))
        if count
    )
    return _svg(f"bars {kind}", len(counts) * _WIDTH, _HEIGHT, name, (title, told), drawn)


def shares(parts: Sequence[tuple[str, str, int]], *, name: str, title: str, told: str) -> str:
    """Draw one band that is divided as a whole is: of each part its label, CSS class and count."""
    whole = sum(count for *_, count in parts) or 1
    drawn, place = "", 0.0
    for label, kind, count in parts:
        width = 1000 * count / whole
        drawn += (
            f'<rect class="{kind}" x="{place:.2f}" y="0" width="{max(width, 2):.2f}" height="10">'
            f"<title>{escape(label)}: {count:,}</title></rect>"
        )
        place += width
    return _svg("shares", 1000, 10, name, (title, told), drawn)


def _bar(place: int, share: float, label: str) -> str:
    height = max(share * _HEIGHT, 1.0)  # a single one among thousands is still seen
    return (
        f'<rect x="{place * _WIDTH + _GAP / 2:g}" y="{_HEIGHT - height:.2f}"'
        f' width="{_WIDTH - _GAP:g}" height="{height:.2f}"><title>{escape(label)}</title></rect>'
    )


def _svg(kind: str, width: int, height: int, name: str, words: tuple[str, str], drawn: str) -> str:
    title, told = (escape(text) for text in words)
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" preserveAspectRatio="none"'
        f' role="img" aria-labelledby="{name}-title" aria-describedby="{name}-told">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-told">{told}</desc>'
        f"{drawn}</svg>"
    )


NUMBER: Final = "number"


@attrs.frozen
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        kind: A CSS class of its cells: ``number`` is set to the right.
    """

    name: str
    kind: str = ""


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    caption: str,
    name: str = "",
    kind: str = "",
) -> str:
    """Write a table whose first column names the rows.

    Args:
        columns: Its columns.
        rows: The cells of each row, as HTML.
        caption: What it holds, for those who cannot see what stands around it.
        name: Its id, if it has one.
        kind: A CSS class; ``stack`` turns rows into blocks where the screen is narrow.
    """
    heads = "".join(
        f'<th role="columnheader" scope="col"{_class(column.kind)}>{escape(column.name)}</th>'
        for column in columns
    )
    parts = [
        f'<table{_id(name)}{_class(kind)} role="table">',
        f"<caption>{escape(caption)}</caption>",
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>',
        '<tbody role="rowgroup">',
        *_rows(columns, rows),
        "</tbody>",
        "</table>",
    ]
    return "\n".join(parts)


def _rows(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    head, *rest = columns
    first = f'<tr role="row"><th role="rowheader" scope="row"{_class(head.kind)}>'
    begins = [
        f'<td role="cell"{_class(each.kind)} data-name="{escape(each.name)}">' for each in rest
    ]
    for name, *cells in rows:
        told = "".join(f"{begin}{cell}</td>" for begin, cell in zip(begins, cells, strict=True))
        yield f"{first}{name}</th>{told}</tr>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _id(name: str) -> str:
    return f' id="{name}"' if name else ""


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


MOST_LISTED: Final = 500
"""Payouts in the list of all: with more a page is slow, and a spreadsheet is the better tool."""
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


MARK: Final = '<meta name="generator" content="billblend report">'
"""What every page begins with, so that a file is known again as one that may be replaced."""


def report_page(report: Report) -> str:
    """Write a report as a page that stands alone in a file."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_FILE_POLICY}">'
    return _page(_title(report), "\n".join(body_parts(report)), policy, _SCRIPT)


def watch_page(report: Report) -> str:
    """Write a report as a page that keeps itself up to date; without scripts it loads itself again.

    Its policy travels as a header.
    """
    live = (
        '<p class="notice" id="trouble" role="alert"></p>'
        '<p class="live small soft">This page reads the journal again every two seconds. It only '
        "reads: nothing on it can change a payout.</p>"
    )
    header, main = body_parts(report)
    return _page(_title(report), f"{header}\n{live}\n{main}", _AGAIN, _LIVE_SCRIPT)


def trouble_page(sentence: str) -> str:
    """Write a page that says why there is no report, and tries again."""
    body = (
        '<header><h1>No report</h1></header><main id="report">'
        f'<p class="notice" role="alert">{escape(sentence)}</p></main>'
    )
    return _page("No report", body, _REFRESH, "")


def body_parts(report: Report) -> tuple[str, str]:
    """Write the header and the main part: all that changes of a page while payouts run."""
    summary = report.summary
    sections = [
        ("overview", "Overview", verdict(report) + totals(summary)),
        ("person", "Needs a person", left_to_do(report, "person")),
        ("unfinished", "Not finished", left_to_do(report, "unfinished")),
        ("refused", "Refused, by reason", refusals(summary)),
        ("decisions", "Decided by people", decisions(report)),
        ("timeline", "Timeline", time_line(summary)),
        ("times", "Time to the final status", times(summary)),
        ("payouts", "Payouts", all_payouts(report)),
    ]
    told = "\n".join(_section(*section) for section in sections)
    return _header(report), f'<main id="report">\n{told}\n</main>'


def is_page(head: str) -> bool:
    """Tell from the beginning of a file whether it is a page of ours."""
    return MARK in head


def _section(name: str, title: str, body: str) -> str:
    tools = _TOOLS if name == "payouts" else ""
    return (
        f'<section class="panel" id="{name}" aria-labelledby="{name}-heading">'
        f'<h2 id="{name}-heading">{title}</h2>{tools}'
        f'<div class="part" id="{name}-part" data-part>{body}</div></section>'
    )


def _header(report: Report) -> str:
    host = urlsplit(report.owner.base_url)
    is_real = host.hostname == urlsplit(BASE_URLS["production"]).hostname
    facts = {
        "Gateway": f"{host.netloc} ({'production' if is_real else 'no real money'})",
        "Login": report.owner.login,
        "Endpoint": report.owner.endpoint,
        "Read at": f"{instant(report.at)} UTC",
    }
    if report.choice:
        facts["Chosen"] = report.choice
    told = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(legible(text))}</dd></div>"
        for name, text in facts.items()
    )
    missing = ""
    if report.missing:
        count = many(report.missing, "payout of the file is", "payouts of the file are")
        missing = (
            f'<p class="notice">{count} not in this journal: nothing was ever sent from it '
            "for what it does not hold.</p>"
        )
    return (
        f'<header id="top"><p class="brand">billblend report</p><h1>{escape(_title(report))}</h1>'
        f'<div class="part" id="facts-part" data-part><dl class="about">{told}</dl>{missing}</div>'
        "</header>"
    )


def _title(report: Report) -> str:
    return f"Payouts of {legible(report.journal)}"


def _page(title: str, body: str, head: str, script: str) -> str:
    code = f"<script>{script}</script>" if script else ""
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{MARK}
{head}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<div class="report">
{body}
<footer class="small soft"><p>All times are UTC. A payout is paid when the gateway's status says \
approved. The payout id is your client_orderid, the order id the gateway's paynet_order_id: ask \
its support with both. No receiver, no account and no link stands on this page, unless somebody \
has written one into a reason.</p></footer>
</div>
{code}
</body>
</html>
"""


def _static(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Name a style or script in a policy by what it says."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _policy(script: str, *more: str) -> str:
    rules = (
        "default-src 'none'",
        f"style-src {_hash(_STYLE)}",
        f"script-src {_hash(script)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        *more,
    )
    return "; ".join(rules)


_FOLDER: Final = Path(__file__).with_name("static")
_BASE: Final = Path(__file__).parents[1] / "sandbox" / "static" / "pages.css"
# The colours and letters are those of the sandbox's pages, so that all of ours look alike.
_STYLE: Final = _static(_BASE) + _static(_FOLDER / "report.css")
_SCRIPT: Final = _static(_FOLDER / "report.js")
_LIVE_SCRIPT: Final = _SCRIPT + _static(_FOLDER / "watch.js")
_FILE_POLICY: Final = _policy(_SCRIPT)
_REFRESH: Final = '<meta http-equiv="refresh" content="5">'
_AGAIN: Final = f"<noscript>{_REFRESH}</noscript>"
_TOOLS: Final = (
    '<div class="search" id="tools" hidden><label for="filter">Filter these payouts</label>'
    '<input id="filter" type="search" autocomplete="off" spellcheck="false"'
    ' placeholder="id, amount, status or reason" aria-describedby="fitting">'
    '<p class="small soft" id="fitting" role="status"></p></div>'
)

HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": _policy(
        _LIVE_SCRIPT, "connect-src 'self'", "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What is sent with every page that is watched."""
