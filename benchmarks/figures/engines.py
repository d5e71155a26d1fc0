"""P10: what the ways to run payouts cost beside each other: alone, sharing a journal, on DBOS."""

from collections.abc import Callable, Generator, Iterator
from typing import Final

import attrs

from ..arena import DidNotFinish, Result
from ..entrants import Entrant, ways
from ..postgres import MISSING, Postgres, running_postgres
from ..row import Row
from .crowd import Runs, tell
from .stand import Stand

__all__ = ["engines"]

_KEY: Final = "P10"


def _for_each_cpu_second(run: Result) -> float:
    return 1 / run.cpu_each


def _for_each_second(run: Result) -> float:
    return run.score.payouts / run.score.wall


_THROUGHPUTS: Final[dict[str, Callable[[Result], float]]] = {
    "payouts a CPU second": _for_each_cpu_second,
    "payouts a second": _for_each_second,
}


def engines(stand: Stand) -> Iterator[Row]:
    """Run the same payouts each way in turn, some rounds, and compare all with the first way."""
    with running_postgres(stand.arena.servers_core) as server:
        lacking = {way: _lack(way, server) for way in ways(stand.transport)}
        for way, lack in lacking.items():
            if lack:
                yield Row(key=_KEY, what=f"payouts, {way.name}", unit="", values=(), note=lack)
        able = [way for way, lack in lacking.items() if not lack]
        runs = (yield from _run_all(stand, able, server)) if server and len(able) > 1 else {}
    for what, throughput in _THROUGHPUTS.items():
        for way, mine in runs.items():
            values = tuple(map(throughput, mine.values()))
            note = _tell(mine) if throughput is _for_each_second else ""
            yield Row(what=f"{what}, {way.name}", unit="", values=values, note=note)
        for way in able[1:]:
            yield _compare(stand, what, throughput, (way, able[0]), runs)
    for way, mine in runs.items():
        yield from _weigh(way, mine)


def _lack(way: Entrant, server: Postgres | None) -> str:
    """Say why a way cannot be measured here; empty if it can."""
    if way.missing:
        return f"{' and '.join(way.missing)} is missing: pip install 'billblend-async[bench]'"
    return MISSING if way.shares and server is None else ""


def _run_all(
    stand: Stand, able: list[Entrant], server: Postgres
) -> Generator[Row, None, dict[Entrant, Runs]]:
    """Run everybody in turn; a run that is not whole counts for nothing."""
    runs: dict[Entrant, Runs] = {way: {} for way in able}
    for number in range(stand.scale.rounds):
        for way in able:
            try:
                run = _run(stand, way, server)
            except DidNotFinish as late:
                problem = str(late)
            else:
                if run.is_whole:
                    runs[way][number] = run
                    continue
                problem = tell(run)
            yield Row(what=f"{way.name}, round {number}", unit="", values=(), note=problem)
    return runs


def _run(stand: Stand, way: Entrant, server: Postgres) -> Result:
    scale = stand.scale
    settings = attrs.evolve(
        way.prepared(stand.arena.settings()),
        payouts=scale.engine,
        shortest=scale.engine_gap.shortest,
        longest=scale.engine_gap.longest,
        patience=scale.patience,
        database=server.new_database() if way.shares else "",
        weighs_store=True,
    )
    return stand.arena.run(way.program, settings)


def _compare(
    stand: Stand,
    what: str,
    throughput: Callable[[Result], float],
    pair: tuple[Entrant, Entrant],
    runs: dict[Entrant, Runs],
) -> Row:
    """Compare two ways round by round."""
    mine, theirs = (runs.get(way, {}) for way in pair)
    return Row(
        key=_KEY,
        what=f"{what}, {pair[0].name} / {pair[1].name}, {stand.scale.engine} at once",
        unit="×",
        values=tuple(
            throughput(mine[number]) / throughput(theirs[number])
            for number in mine
            if number in theirs
        ),
    )


def _tell(runs: Runs) -> str:
    """Tell how the last round went, and what disturbed them all."""
    if not runs:
        return "no round was whole"
    *_, last = runs.values()
    questions = last.seen.requests["status"] / last.score.payouts
    others = [run.score.others / run.score.wall for run in runs.values()]
    return (
        f"{tell(last)}, {questions:.3g} questions each;"
        f" in all rounds others had {min(others):.0%} to {max(others):.0%} of its core"
    )


def _weigh(way: Entrant, runs: Runs) -> Iterator[Row]:
    """Tell what a payout leaves in the store, and what it costs the server."""
    taken = [(store, run.score.payouts) for run in runs.values() if (store := run.score.store)]
    if not taken:
        return
    store, payouts = taken[-1]
    yield Row(
        what=f"rows of a payout, the journal's events and DBOS's, {way.name}",
        unit="",
        values=tuple((store.events + store.rows_of_dbos) / payouts for store, payouts in taken),
        note=", ".join(
            f"{count / payouts:.3g} in {table}"
            for table, count in store.rows.items()
            if count >= payouts
        ),
    )
    if way.shares:
        yield Row(
            what=f"CPU of the PostgreSQL server for each payout, {way.name}",
            unit="ms",
            values=tuple(
                store.cpu / payouts * 1e3 for store, payouts in taken if store.cpu is not None
            ),
            note=f"{store.log / payouts / 1e3:.1f} kB of write-ahead log each",
        )
