"""The results as a page: a table of goals, a table of all that stands beside them, and a chart."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from .chart import draw_chart
from .entrants import ENTRANTS, ways
from .machine import describe_machine
from .record import Part, Run, merge, read_parts, write_parts
from .row import Row, rank

__all__ = ["HERE", "write_results"]

HERE: Final = Path(__file__).resolve().parent
_HEAD: Final = """\
# Results

{origin}

What is compared ran in turn, in one run, on the same work and against the same gateway, which is a
process of its own on another core. A figure is the median of all rounds, and its range is the least
and the most of them. CPU is user and system time of the whole process with all of its threads, from
after its start and one warm-up payout. Where one that ours is compared to did not finish in its
time, it counts with the CPU that it had spent by then, shared among all of its payouts: less than
they would have cost.

![What a payout costs, and how near each figure is to its goal](RESULTS.svg)
"""
_ORIGIN: Final = "`python -m benchmarks{command}`. {scale}"
_SEVERAL: Final = "Written by `python -m benchmarks`; each figure is of the last run of it:"
_FULL: Final = "The numbers are those of the goals."
_SMALL: Final = "**Its numbers are small, to see that all works: they say little about the goals.**"
_WORK: Final = """\
Each payout is one check, three status questions, one pay and four status questions, whoever runs
it, unless a figure says otherwise; the gateway counts them, and that each payout is paid once. All
run with `gc.set_threshold(700, 10, 1000)`, as the README advises where thousands wait at once.
A PostgreSQL server has durable commits and shares the gateway's core; what it spends is told on its
own.
"""


def write_results(
    figures: Mapping[str, Sequence[Row]],
    *,
    command: str,
    is_full: bool = True,
    keeps_others: bool = False,
    folder: Path = HERE,
) -> None:
    """Write ``RESULTS.md``, ``RESULTS.svg``, and ``RESULTS.json``, from which both are drawn.

    Args:
        figures: The rows of each figure that was measured, in the order in which they came.
        command: What stood behind the program's name.
        is_full: Whether the numbers are those of the goals.
        keeps_others: Whether figures that were not measured stay as an earlier run has left them.
        folder: Where all are written.
    """
    run = Run(command=command, is_full=is_full, machine=describe_machine())
    measured = [
        Part(figure=name, run=run, rows=tuple(rows)) for name, rows in figures.items() if rows
    ]
    parts = merge(read_parts(folder) if keeps_others else (), measured)
    write_parts(folder, parts)
    rows = [row for part in parts for row in part.rows]
    (folder / "RESULTS.md").write_text(_draw_page(parts), encoding="utf-8")
    (folder / "RESULTS.svg").write_text(draw_chart(rows), encoding="utf-8")


def _draw_page(parts: Sequence[Part]) -> str:
    """Draw the page of what is kept."""
    rows = [row for part in parts for row in part.rows]
    goals = [row for row in rows if row.key]
    others = [row for row in rows if not row.key]
    runs = _runs(parts)
    pieces = (
        _HEAD.format(origin=_origin(runs)),
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
                for row in sorted(goals, key=lambda row: rank(row.key))
            ],
        ),
        "## Beside them\n",
        _table(
            ("figure", "measured", "range", "note"),
            [(row.what, row.figure_text, row.range_text, row.note) for row in others],
        ),
        "## Who takes part\n",
        *(f"- **{way.name}**: {way.about}." for way in (*ENTRANTS, *ways("aiohttp"))),
        "",
        _WORK,
        "## Machine\n",
        "\n".join(_machines(runs)),
    )
    return "\n".join(pieces)


def _runs(parts: Sequence[Part]) -> list[tuple[Run, str]]:
    """Name the goals that each run has measured last."""
    runs: list[Run] = []
    for part in parts:
        if part.run not in runs:
            runs.append(part.run)
    goals = [[goal for part in parts if part.run == run for goal in part.goals] for run in runs]
    named = (", ".join(sorted(each, key=rank)) for each in goals)
    return list(zip(runs, named, strict=True))


def _origin(runs: Sequence[tuple[Run, str]]) -> str:
    """Say which run each figure is of."""
    told = [
        _ORIGIN.format(
            command=f" {run.command}" if run.command else "",
            scale=_FULL if run.is_full else _SMALL,
        )
        for run, _ in runs
    ]
    if len(runs) == 1:
        return f"Written by {told[0]}"
    lines = (f"- {goals}: {text}" for (_, goals), text in zip(runs, told, strict=True))
    return "\n".join((_SEVERAL, "", *lines))


def _machines(runs: Sequence[tuple[Run, str]]) -> Iterator[str]:
    """Describe the machine of each run; one alone needs no heading."""
    for run, goals in runs:
        if len(runs) > 1:
            yield f"### {goals}\n"
        yield "".join(f"- {name}: {text}\n" for name, text in run.machine.items())


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = (head, ["---"] * len(head), *lines)
    cells = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join(cells) + "\n"
