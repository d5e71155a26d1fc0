"""The report as one page: values in, HTML out.

It needs nothing but itself: style and script stand in it and are allowed by their hashes, so
nothing else can run and nothing is loaded. It is complete without its script, which only filters
and sorts.
All that is put into it is escaped.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ..core.models import BASE_URLS
from ..core.words import instant, legible, many
from .parts import all_payouts, refusals, time_line, times, totals, verdict
from .people import decisions, left_to_do
from .source import Report

__all__ = ["HEADERS", "MARK", "body_parts", "is_page", "report_page", "trouble_page", "watch_page"]

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
