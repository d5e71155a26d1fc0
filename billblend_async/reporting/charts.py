"""Pictures of numbers as inline SVG: values in, markup out.

Each says in words what it shows, and beside each stands a table with the same numbers. They stretch
to the width of the page, so they hold no text: labels stand around them as HTML.
"""

from collections.abc import Sequence
from html import escape
from typing import Final

__all__ = ["bars", "shares"]

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
