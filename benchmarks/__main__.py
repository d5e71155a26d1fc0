"""Measure this library against its goals and against what people would write instead.

::

    python -m benchmarks --quick          # about three minutes, small numbers, writes nothing
    python -m benchmarks                  # about twenty-two minutes, writes RESULTS.*
    python -m benchmarks --only P1,P5     # writes with --write, and keeps the others

Ratios are those of neighbours in one run, told as medians with their range: single times mean
little on a shared machine.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from .arena import Arena, DidNotFinish
from .entrants import ours
from .figures import FIGURES, Stand
from .results import write_results
from .row import Row, rank
from .scale import FULL, QUICK

_KNOWN = sorted(frozenset().union(*FIGURES.values()), key=rank)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, print it while it comes, and write it down."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure this library beside its peers."
    )
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument("--only", default="", help=f"some of {','.join(_KNOWN)}")
    parser.add_argument(
        "--write", action="store_true", help="write the results of a part too, and keep the others"
    )
    parser.add_argument(
        "--fast",
        choices=("aiohttp", "pyreqwest"),
        default="aiohttp",
        help="the transport of the fast figures",
    )
    options = parser.parse_args(arguments)
    wanted = frozenset(filter(None, options.only.upper().split(","))) or frozenset(_KNOWN)
    if unknown := wanted.difference(_KNOWN):
        parser.error(
            f"unknown: {', '.join(sorted(unknown, key=rank))}; there are {', '.join(_KNOWN)}"
        )
    if not ours(options.fast).is_installed:
        parser.error(f"{options.fast} is missing; install billblend-async[bench]")
    if options.quick:
        print("Small numbers, to see that all works; the goals are about those of the full run.\n")
    measured: dict[str, list[Row]] = {}
    began = time.monotonic()
    print(_line("", "figure", "goal", "measured", "range", ""))
    with Arena.opened() as arena:
        stand = Stand(
            arena=arena,
            scale=QUICK if options.quick else FULL,
            transport=options.fast,
            wanted=wanted,
        )
        for figure, keys in FIGURES.items():
            if keys.isdisjoint(wanted):
                continue
            rows = measured[figure.__name__] = []
            try:
                for row in figure(stand):
                    rows.append(row)
                    _show(row)
            except DidNotFinish as late:
                print(f"   {'/'.join(sorted(keys))}: {late}", flush=True)
    print(f"\n{time.monotonic() - began:.0f} s")
    if options.write or not (options.quick or options.only):
        command = " ".join(sys.argv[1:] if arguments is None else arguments)
        write_results(
            measured, command=command, is_full=not options.quick, keeps_others=bool(options.only)
        )


def _show(row: Row) -> None:
    print(
        _line(row.key, row.what, row.goal_text, row.figure_text, row.range_text, row.verdict)
        + (f"\n     {row.note}" if row.note else ""),
        flush=True,
    )


def _line(key: str, what: str, goal: str, figure: str, spread: str, verdict: str) -> str:
    return f"{key:<4} {what:<82} {goal:>10} {figure:>12}  {spread:<16} {verdict}".rstrip()


if __name__ == "__main__":
    main()
