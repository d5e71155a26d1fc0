"""The benchmark's contestants do the same work, and none of them pays twice."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from benchmarks import entrants, paperwork, postgres
from benchmarks.__main__ import main
from benchmarks.arena import Arena, Result
from benchmarks.book import Terms
from benchmarks.entrants import ENTRANTS, PLAIN, Entrant, ways
from benchmarks.figures import Stand
from benchmarks.figures.crowd import compare
from benchmarks.figures.engines import engines
from benchmarks.postgres import MISSING, Postgres, running_postgres
from benchmarks.process import cpu_of_family, parent_of
from benchmarks.results import write_results
from benchmarks.row import Row
from benchmarks.scale import QUICK

PAYOUTS = 3
POLLS = 2 + 2
TERMS = Terms(validating=1, processing=1)
ASYNCHRONOUS = [entrant for entrant in ENTRANTS if entrant.program != "threads_requests"]


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """One gateway for all; nobody keeps to a core, since other tests run beside these."""
    with Arena.opened(pinned=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One PostgreSQL for all."""
    with running_postgres() as server:
        if server is None:
            pytest.skip(MISSING)
        yield server


@pytest.fixture
def stand(arena: Arena) -> Stand:
    """A stand that measures few payouts in one round."""
    scale = attrs.evolve(QUICK, rounds=1, engine=PAYOUTS)
    return Stand(arena=arena, scale=scale, transport="aiohttp", wanted=frozenset({"P10"}))


def run(arena: Arena, entrant: Entrant, *, bits: int = 2048, **changes: Any) -> Result:
    """Run three payouts; the gateway verifies every signature and every control."""
    for module in entrant.needs:
        pytest.importorskip(module)
    settings = attrs.evolve(
        entrant.prepared(arena.settings(bits=bits)),
        payouts=PAYOUTS,
        shortest=0.02,
        longest=0.04,
        **changes,
    )
    terms = attrs.evolve(
        TERMS, public_key=arena.public_key(), merchant_control=settings.merchant_control
    )
    return arena.run(entrant.program, settings, terms)


def check(result: Result) -> None:
    """Check that all payouts were paid once, by exactly the requests that it takes."""
    requests = {kind: count for kind, count in result.seen.requests.items() if kind != "probe"}
    assert {"check": PAYOUTS, "status": POLLS * PAYOUTS, "pay": PAYOUTS} == requests
    assert (0, 1) == (result.seen.forged, result.seen.most_pays)
    assert (PAYOUTS, {}) == (result.score.done, result.score.errors)


@pytest.mark.parametrize("entrant", ENTRANTS, ids=lambda entrant: entrant.name)
@pytest.mark.parametrize("status_version", [2, 4])
def test_same_work(arena: Arena, entrant: Entrant, status_version: int) -> None:
    """Every contestant pays each payout once, with the same requests as all others."""
    check(run(arena, entrant, status_version=status_version))


@pytest.mark.parametrize("way", ways("aiohttp"), ids=lambda way: way.name)
def test_ways(arena: Arena, server: Postgres, way: Entrant) -> None:
    """Each way to run payouts pays each once with the same requests, and leaves the same events."""
    database = server.new_database() if way.shares else ""
    result = run(arena, way, database=database, weighs_store=True)

    check(result)
    store = result.score.store
    assert store is not None
    assert {"payouts": PAYOUTS, "events": 7 * PAYOUTS}.items() <= store.rows.items()
    assert (way.program == "on_dbos") == (store.rows_of_dbos > 0)
    assert way.shares == (store.log > 0)


def test_engines(server: Postgres, stand: Stand) -> None:
    """Throughputs are told of each way, and those of the others as ratios to the first."""
    rows = {row.what: row for row in engines(stand)}

    first, *others = (way.name for way in ways("aiohttp"))
    for what in ("payouts a CPU second", "payouts a second"):
        known = rows[f"{what}, {first}"].values[0]
        for other in others:
            ratio = rows[f"{what}, {other} / {first}, {PAYOUTS} at once"]
            assert "P10" == ratio.key
            assert pytest.approx((rows[f"{what}, {other}"].values[0] / known,)) == ratio.values
    costs = [row for what, row in rows.items() if what.startswith("CPU of the PostgreSQL server")]
    assert all(min(row.values) > 0 for row in costs)
    assert len(others) == len(costs)


def test_engines_without_server(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a PostgreSQL nothing is run, and a sentence says what to install."""
    monkeypatch.delenv(postgres.NEEDED, raising=False)
    monkeypatch.setattr(postgres, "find_programs", lambda: None)
    rows = list(engines(stand))

    assert [("P10", (), MISSING)] * 2 == [(row.key, row.values, row.note) for row in rows]


def test_engines_without_modules(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way whose modules are missing is left out, and a sentence says what to install."""
    monkeypatch.setattr(entrants, "find_spec", lambda name: None if name == "dbos" else name)
    rows = list(engines(stand))

    assert "dbos is missing: pip install 'billblend-async[bench]'" == rows[0].note
    assert not any("DBOS over" in row.what for row in rows[1:])


@pytest.mark.skipif(parent_of(os.getpid()) is None, reason="the system does not say")
def test_family() -> None:
    """What a child spends counts to its parent while it lives and when it is gone."""
    before = cpu_of_family(os.getpid())
    burn = "sum(range(10**7))"
    with subprocess.Popen(
        [sys.executable, "-c", f"{burn}; print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = cpu_of_family(os.getpid())
        parent = parent_of(child.pid)
    after = cpu_of_family(os.getpid())

    assert os.getpid() == parent
    assert before is not None
    assert during is not None
    assert after is not None
    assert before + 0.05 < during <= after


@pytest.mark.parametrize("entrant", ASYNCHRONOUS, ids=lambda entrant: entrant.name)
def test_due(arena: Arena, entrant: Entrant) -> None:
    """Every question tells when it was due, and the host's naps are watched, if that is wanted."""
    result = run(arena, entrant, tells_due=True, measures_lag=True)

    check(result)
    assert result.seen.lateness.count >= POLLS * PAYOUTS
    assert result.score.lag is not None
    assert result.score.lag.count > 0


def test_forged(arena: Arena) -> None:
    """The gateway refuses what another key has signed, so no contestant skips the signing."""
    result = run(arena, PLAIN, bits=4096)

    assert 0 == result.score.done
    assert result.seen.forged >= PAYOUTS
    assert {} == result.seen.requests


def test_held(arena: Arena) -> None:
    """Payouts that are held stay open until the block ends, and tell how they stand meanwhile."""
    settings = attrs.evolve(arena.settings(), payouts=PAYOUTS, shortest=0.02, longest=0.04)
    with arena.holding("ours", settings) as performance:
        performance.wait_until_open(60.0)
        sample = performance.sample()
        seen = arena.gateway.figures()

    assert (PAYOUTS, PAYOUTS, 0) == (seen.orders, seen.most_unfinished, seen.most_pays)
    assert sample.cpu > 0
    assert sample.resident > 2**20


def test_patience(arena: Arena) -> None:
    """A contestant that does not come to its end in time tells how far it came."""
    settings = attrs.evolve(arena.settings(), payouts=PAYOUTS, patience=0.5)
    result = arena.run("ours", settings, Terms(is_held=True))

    assert (PAYOUTS, 0) == (result.score.payouts, result.score.done)


def test_unfinished(arena: Arena) -> None:
    """A run that did not finish never flatters us: ours says nothing, theirs counts for less."""
    settings = attrs.evolve(arena.settings(), payouts=PAYOUTS, shortest=0.02, longest=0.04)
    whole = arena.run("ours", settings)
    cut = attrs.evolve(whole, score=attrs.evolve(whole.score, done=0))

    assert ((1.0,), "") == compare({0: whole}, {0: whole})
    assert ((), "ours did not finish in 1 of 1 rounds") == compare({0: cut}, {0: whole})
    values, note = compare({0: whole}, {0: cut})
    assert (1.0,) == values
    assert note.startswith("at most")


def test_results(tmp_path: Path) -> None:
    """The page shows each figure with its goal, and its chart is well-formed."""
    rows = [
        Row(what="a cost", unit="ms", values=(2.0, 3.0, 5.0), contestant="ours & theirs"),
        Row(key="P1", what="a ratio", unit="×", values=(0.05, 0.07), goal=0.1),
        Row(key="P5", what="a number", unit="", values=(9000.0,), goal=10_000, is_floor=True),
        Row(key="P6", what="a failure", unit="×", values=(), goal=1.25, note="too slow"),
        Row(key="P10", what="no goal", unit="×", values=(0.5,)),
    ]
    write_results({"all": rows}, command="--quick", folder=tmp_path)

    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| P1 | a ratio | ≤ 0.1 × | **0.06 ×** | 0.05 to 0.07 | met |  |" in page
    assert "| P5 | a number | ≥ 10,000 | **9,000** |  | not met |  |" in page
    assert "| P6 | a failure | ≤ 1.25 × | **none** |  | not met | too slow |" in page
    assert page.index("| P6 |") < page.index("| P10 | no goal |  | **0.5 ×** |  |  |  |")
    chart = ET.parse(tmp_path / "RESULTS.svg").getroot()
    assert "ours & theirs" in "".join(chart.itertext())


def test_results_of_a_part(tmp_path: Path) -> None:
    """What a run of a part measured replaces the same figures alone, and each names its run."""
    former, latter = (Row(key="P9", what=what, unit="", values=(1.5,)) for what in ("old", "new"))
    other = Row(key="P10", what="another", unit="", values=(2.5,), note="stays")
    write_results({"journal": [former], "engines": [other]}, command="", folder=tmp_path)
    whole = (tmp_path / "RESULTS.md").read_text("utf-8")
    command = "--only P9 --write"
    write_results({"journal": [latter]}, command=command, keeps_others=True, folder=tmp_path)
    part = (tmp_path / "RESULTS.md").read_text("utf-8")

    assert "Written by `python -m benchmarks`. The" in whole
    assert "| P9 | old |" in whole
    assert "| P9 | old |" not in part
    assert "| P9 | new |" in part
    assert "| P10 | another |  | **2.5** |  |  | stays |" in part
    assert "- P9: `python -m benchmarks --only P9 --write`." in part
    assert "- P10: `python -m benchmarks`." in part
    assert "### P10" in part


def test_only(capsys: pytest.CaptureFixture[str]) -> None:
    """A goal that nobody measures is refused with those that there are."""
    with pytest.raises(SystemExit):
        main(["--only", "P99"])

    assert "P9" in capsys.readouterr().err


def test_paperwork(tmp_path: Path) -> None:
    """What goes on around a run is measured with commands that all end well."""
    found = paperwork.measure(2, tmp_path)

    assert ["dry run", "run", "report"] == list(found)[:3]
    assert all(min(seconds) > 0 for seconds in found.values())
    assert 3 == len((tmp_path / "report.csv").read_text("utf-8").splitlines())
