"""The chart: what a payout costs, and how near each figure is to its goal. SVG, written by hand."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import attrs

from .row import Row, rank

__all__ = ["draw_chart"]

_WIDTH: Final = 860
_LEFT: Final = 250
_RIGHT: Final = 110
_LINE: Final = 30
_BAR: Final = 16
_OPENING: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="what"'
    ' viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
)
_STYLE: Final = """\
  svg { color-scheme: light dark; font: 13px system-ui, sans-serif; }
  .ground { fill: #ffffff; } text { fill: #1f2328; } .quiet { fill: #59636e; }
  .title { font-weight: 600; font-size: 15px; }
  .ours { fill: #1a7f37; } .other { fill: #8c959f; } .missed { fill: #cf222e; }
  .goal { stroke: #1f2328; stroke-dasharray: 4 3; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9198a1; }
    .ours { fill: #3fb950; } .other { fill: #6e7681; } .missed { fill: #f85149; }
    .goal { stroke: #e6edf3; }
  }
"""


@attrs.frozen
class _Bar:
    """One bar.

    Attributes:
        name: What stands before it.
        value: Its length, in the panel's unit.
        text: What stands behind it.
        kind: Its class in the style.
    """

    name: str
    value: float
    text: str
    kind: str


def draw_chart(rows: Sequence[Row]) -> str:
    """Draw what was measured as one SVG."""
    costs = [
        _Bar(
            row.contestant,
            row.median,
            row.figure_text,
            "ours" if row.contestant.startswith("ours") else "other",
        )
        for row in rows
        if row.contestant and row.median is not None
    ]
    goals = [
        bar
        for row in sorted(rows, key=lambda row: rank(row.key))
        if (bar := _goal_bar(row)) is not None
    ]
    lines: list[str] = []
    top = 0
    if costs:
        longest = max(bar.value for bar in costs)
        lines += _panel(top, "CPU time of a payout, in ms: less is better", costs, longest)
        top += _height(costs)
    if goals:
        longest = max(1.2, *(min(bar.value, 2.0) for bar in goals))
        lines += _panel(
            top,
            "What each goal allows, and how much of it is used: left of the line is met",
            goals,
            longest,
        )
        at = _LEFT + (_WIDTH - _LEFT - _RIGHT) / longest
        bottom = top + _height(goals) - 12
        lines.append(
            f'<line class="goal" x1="{at:.1f}" x2="{at:.1f}" y1="{top + 40}" y2="{bottom}"/>'
        )
        top += _height(goals)
    return "\n".join(
        (
            _OPENING.format(width=_WIDTH, height=top),
            '<title id="what">CPU time of a payout, and each figure as a share of its goal</title>',
            f"<style>\n{_STYLE}</style>",
            f'<rect class="ground" width="{_WIDTH}" height="{top}" rx="8"/>',
            *lines,
            "</svg>\n",
        )
    )


def _goal_bar(row: Row) -> _Bar | None:
    """Say how much of what is allowed was used; of what is demanded, how much is still wanting."""
    if row.goal is None or not row.median:
        return None
    share = row.goal / row.median if row.is_floor else row.median / row.goal
    kind = "ours" if row.is_met else "missed"
    return _Bar(f"{row.key}: {row.goal_text}", share, row.figure_text, kind)


def _height(bars: Sequence[_Bar]) -> int:
    return 40 + _LINE * len(bars) + 20


def _panel(top: int, title: str, bars: Iterable[_Bar], longest: float) -> list[str]:
    """Draw bars under a title; one that is longer than the longest is cut there."""
    lines = [f'<text class="title" x="20" y="{top + 28}">{escape(title)}</text>']
    for place, bar in enumerate(bars):
        y = top + 44 + place * _LINE
        length = min(bar.value / longest, 1.0) * (_WIDTH - _LEFT - _RIGHT)
        middle = y + _BAR - 3
        lines += (
            f'<text class="quiet" x="{_LEFT - 10}" y="{middle}" text-anchor="end">',
            f"{escape(bar.name)}</text>",
            f'<rect class="{bar.kind}" x="{_LEFT}" y="{y}" rx="3"',
            f' width="{max(length, 1):.1f}" height="{_BAR}"/>',
            f'<text x="{_LEFT + length + 8:.1f}" y="{middle}">{escape(bar.text)}</text>',
        )
    return lines
