"""The results as a page: a table of goals, a table of all that stands beside them, and a chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .chart import draw_chart
from .entrants import ENTRANTS
from .machine import describe_machine
from .row import Row

__all__ = ["HERE", "write_results"]

HERE: Final = Path(__file__).resolve().parent
_HEAD: Final = """\
# Results

Written by `python -m benchmarks{command}`. {scale}

What is compared ran in turn, in one run, on the same work and against the same gateway, which is a
process of its own on another core. A figure is the median of all rounds, and its range is the least
and the most of them. CPU is user and system time of the whole process with all of its threads, from
after its start and one warm-up payout. Where one that ours is compared to did not finish in its
time, it counts with the CPU that it had spent by then, shared among all of its payouts: less than
they would have cost.

![What a payout costs, and how near each figure is to its goal](RESULTS.svg)
"""
_FULL: Final = "The numbers are those of the goals."
_SMALL: Final = "**Its numbers are small, to see that all works: they say little about the goals.**"
_WORK: Final = """\
Each payout is one check, three status questions, one pay and four status questions, whoever runs
it, unless a figure says otherwise; the gateway counts them, and that each payout is paid once. All
run with `gc.set_threshold(700, 10, 1000)`, as the README advises where thousands wait at once.
"""


def write_results(
    rows: Sequence[Row], *, command: str, is_full: bool = True, folder: Path = HERE
) -> None:
    """Write ``RESULTS.md`` and ``RESULTS.svg``.

    Args:
        rows: All figures, in the order in which they came.
        command: What stood behind the program's name.
        is_full: Whether the numbers are those of the goals.
        folder: Where both are written.
    """
    goals = [row for row in rows if row.goal is not None]
    others = [row for row in rows if row.goal is None]
    pieces = (
        _HEAD.format(command=f" {command}" if command else "", scale=_FULL if is_full else _SMALL),
        "## Goals\n",
        _table(
            ("", "figure", "goal", "measured", "range", "", "note"),
            [
                (
                    row.key,
                    row.what,
                    row.goal_text,
                    f"**{row.figure_text}**",
                    row.range_text,
                    row.verdict,
                    row.note,
                )
                for row in sorted(goals, key=lambda row: row.key)
            ],
        ),
        "## Beside them\n",
        _table(
            ("figure", "measured", "range", "note"),
            [(row.what, row.figure_text, row.range_text, row.note) for row in others],
        ),
        "## Who takes part\n",
        *(f"- **{entrant.name}**: {entrant.about}." for entrant in ENTRANTS),
        "",
        _WORK,
        "## Machine\n",
        *(f"- {name}: {text}" for name, text in describe_machine().items()),
    )
    (folder / "RESULTS.md").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (folder / "RESULTS.svg").write_text(draw_chart(rows), encoding="utf-8")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = (head, ["---"] * len(head), *lines)
    cells = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join(cells) + "\n"
