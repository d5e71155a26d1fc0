"""Replay one seed, or run fresh ones for as long as you like. Run it in ``tests/``.

    python -m simulation --seed 42 --profile swarm    # what happens in this world, line by line
    python -m simulation --soak 600 --workers 2       # ten minutes of fresh seeds, and the figures
    python -m simulation --soak 600 --profile wire    # likewise, as real HTTP requests
    python -m simulation --soak 600 --profile shared  # rivals that freeze, on one PostgreSQL
    python -m simulation --crashes 10000              # all crash points and so many pairs of them
    python -m simulation --hunt                       # find each planted bug and write killers.json
    python -m simulation --hunt --profile wire        # likewise those of client and transport
    python -m simulation --hunt --profile shared      # likewise those of a journal that is shared

It ends with 1 when a rule was broken, and prints the line that replays each seed that broke one.
"""

import argparse
import time

from . import crowd
from .coverage import POSSIBLE, POSSIBLE_IF_SHARED, POSSIBLE_ON_THE_WIRE, missing
from .crashes import BASES, all_points, pairs, run_deaths
from .hunt import write_killers
from .plan import PROFILES
from .sums import Sum
from .world import run_seed


def main() -> int:
    """Read the arguments and do what they say."""
    options = _read_arguments()
    if options.seed is not None:
        return _replay(options)
    if options.hunt:
        return write_killers(options.profile, count=options.workers)
    total = _crash(options) if options.crashes is not None else _soak(options)
    print(total)
    print("\n".join(total.failures))
    return int(bool(total.failures))


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, help="replay this seed and print its history")
    what.add_argument("--soak", type=float, metavar="SECONDS", help="run fresh seeds so long")
    what.add_argument("--crashes", type=int, metavar="PAIRS", help="crash everywhere")
    what.add_argument("--hunt", action="store_true", help="find the planted bugs")
    parser.add_argument("--profile", choices=PROFILES, default="swarm")
    parser.add_argument("--die-after", type=int, action="append", help="kill at this turn")
    parser.add_argument("--workers", type=int, default=crowd.CORES)
    parser.add_argument("--first", type=int, help="the first seed of all; fresh by default")
    return parser.parse_args()


def _replay(options: argparse.Namespace) -> int:
    if options.die_after:
        report = run_deaths(options.seed, options.die_after, keeps_history=True)
    else:
        report = run_seed(options.seed, options.profile, keeps_history=True)
    print("\n".join(report.lines or []))
    print(report.problem or "every rule held", report.digest)
    return int(report.problem is not None)


def _soak(options: argparse.Namespace) -> Sum:
    first = int(time.time()) * 1000 if options.first is None else options.first
    total, told = Sum(), 0.0
    for total in crowd.soak(options.soak, options.profile, first, count=options.workers):
        if total.seconds - told > 10:
            told = total.seconds
            print(total, flush=True)
    possible = {
        "swarm": POSSIBLE,
        "wire": POSSIBLE_ON_THE_WIRE,
        "shared": POSSIBLE_IF_SHARED,
    }.get(options.profile)
    if possible is not None:
        print("never hit:", missing(total.hits, possible) or "nothing")
    return total


def _crash(options: argparse.Namespace) -> Sum:
    first = options.first or 0
    seeds = range(first, first + len(BASES))
    runs = [*all_points(seeds), *pairs(options.crashes, first=first, seeds=seeds)]
    return crowd.run_all_crashes(runs, count=options.workers)


if __name__ == "__main__":
    raise SystemExit(main())
