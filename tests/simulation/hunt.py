"""How many seeds it takes to find each planted bug, and which seeds find it again quickly."""

import gc
import json
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from . import miscarriages, mislaying  # noqa: F401 - they list their bugs
from .bugs import BUGS, planted
from .crowd import workers
from .plan import Profile
from .planting import SHARED_BUGS, WIRE_BUGS
from .world import run_seed

__all__ = ["KILLERS", "MOST_SEEDS", "Kill", "find", "read_killers", "write_killers"]

MOST_SEEDS: Final = 2000
"""Seeds within which every bug must be found."""
KILLERS: Final[dict[Profile, Path]] = {
    "swarm": Path(__file__).with_name("killers.json"),
    "wire": Path(__file__).with_name("wire_killers.json"),
    "shared": Path(__file__).with_name("shared_killers.json"),
}
"""For each bug how many seeds it took, and some that find it; written by ``--hunt``."""
_ENOUGH: Final = 3
_EVERY: Final = 100


@attrs.frozen(kw_only=True)
class Kill:
    """How a bug was found.

    Attributes:
        bug: Its name.
        found_after: How many seeds it took, from 0 on; None when it was not found.
        seeds: Some seeds that find it.
        rule: The rule that it breaks.
    """

    bug: str
    found_after: int | None
    seeds: tuple[int, ...]
    rule: str


def find(
    bug: str, profile: Profile = "swarm", *, most: int = MOST_SEEDS, enough: int = _ENOUGH
) -> Kill:
    """Plant a bug and run seed after seed until it is found often enough."""
    found: list[tuple[int, str]] = []
    gc.disable()
    try:
        for seed in range(most):
            with planted(bug):
                problem = run_seed(seed, profile).problem
            if problem is not None and run_seed(seed, profile).problem is None:
                found.append((seed, problem))
            if len(found) == enough:
                break
            if seed % _EVERY == _EVERY - 1:
                gc.collect()
    finally:
        gc.enable()
    return Kill(
        bug=bug,
        found_after=found[0][0] + 1 if found else None,
        seeds=tuple(seed for seed, _ in found),
        rule=found[0][1].partition(" (po")[0] if found else "",
    )


def read_killers(profile: Profile = "swarm") -> dict[str, Kill]:
    """Read the table."""
    table = json.loads(KILLERS[profile].read_text(encoding="utf-8"))
    return {
        bug: Kill(bug=bug, **{**row, "seeds": tuple(row["seeds"])}) for bug, row in table.items()
    }


def write_killers(profile: Profile, *, count: int) -> int:
    """Find every bug, print and write the table; 1 when one was not found."""
    table, bugs = {}, {"wire": WIRE_BUGS, "shared": SHARED_BUGS}.get(profile, BUGS)
    with workers(count) as pool:
        for kill in pool.map(partial(find, profile=profile), bugs):
            print(f"{kill.found_after!s:>5} seeds  {kill.bug}: {kill.rule}", flush=True)
            row = attrs.asdict(kill)
            table[row.pop("bug")] = row
    KILLERS[profile].write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return int(any(row["found_after"] is None for row in table.values()))
