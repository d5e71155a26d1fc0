"""Many seeds over all cores: workers that are started afresh, and the sum of what they saw."""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from typing import Any, Final

from .crashes import Deaths, run_deaths
from .plan import Profile
from .sums import Sum
from .world import Report, run_seed

__all__ = ["CORES", "run_all_crashes", "run_chunk", "run_crashes", "run_seeds", "soak", "workers"]

CORES: Final = os.cpu_count() or 1
_CHUNK: Final = 50


def workers(count: int = CORES) -> ProcessPoolExecutor:
    """Start workers that inherit nothing, so that every one sees the same world."""
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def run_chunk(seeds: range, profile: Profile) -> Sum:
    """Run some seeds in this process."""
    return _add_up(partial(run_seed, seed, profile) for seed in seeds)


def run_crashes(runs: Sequence[Deaths]) -> Sum:
    """Run some crash points in this process."""
    return _add_up(partial(run_deaths, seed, deaths) for seed, deaths in runs)


def _add_up(runs: Iterable[Callable[[], Report]]) -> Sum:
    total = Sum()
    # A world is full of cycles, and collecting them piece by piece costs more than all at once.
    gc.disable()
    try:
        for run in runs:
            total.add(run())
    finally:
        gc.enable()
        gc.collect()
    return total


def run_seeds(seeds: range, profile: Profile, *, count: int = CORES) -> Sum:
    """Run seeds over all cores."""
    return _share_out(partial(run_chunk, profile=profile), seeds, count)


def run_all_crashes(runs: Sequence[Deaths], *, count: int = CORES) -> Sum:
    """Run crash points over all cores."""
    return _share_out(run_crashes, runs, count)


def _share_out(work: Callable[[Any], Sum], things: Sequence[Any], count: int) -> Sum:
    began, total = time.monotonic(), Sum()
    chunks = [things[at : at + _CHUNK] for at in range(0, len(things), _CHUNK)]
    with workers(count) as pool:
        for part in pool.map(work, chunks):
            total.merge(part)
    total.seconds = time.monotonic() - began
    return total


def soak(seconds: float, profile: Profile, first: int, *, count: int = CORES) -> Iterator[Sum]:
    """Run fresh seeds for some time and tell the figures as they grow."""
    began, total = time.monotonic(), Sum()
    with workers(count) as pool:
        under_way: set[Future[Sum]] = set()
        while under_way or total.seconds < seconds:
            while len(under_way) < 2 * count and total.seconds < seconds:
                under_way.add(pool.submit(run_chunk, range(first, first + _CHUNK), profile))
                first += _CHUNK
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for part in done:
                total.merge(part.result())
            total.seconds = time.monotonic() - began
            yield total
