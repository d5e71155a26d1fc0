"""What a log and a machine are told of a run, line by line."""

import io
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from payouts import PATHS, START, finished, fold, opened, payout_in, request

from billblend_async.batch.progress import Snapshot, Tally
from billblend_async.cli.display import JsonLines, PlainLines, doubt_text, span
from billblend_async.core.descriptions import Notation
from billblend_async.core.models import State
from billblend_async.core.payout import outcome
from billblend_async.reporting.projection import Total


class Paper(io.StringIO):
    """Text that stays readable once it is closed, and says how often it was flushed."""

    encoding = "ascii"  # what a log's may well be

    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def run() -> Iterator[tuple[Tally, Snapshot]]:
    """Play a run of four payouts, second by second: one parked after 12 s."""
    tally = Tally(request(f"po-{n}") for n in range(4))
    for second in range(26):
        if second == 12:
            tally.changed(payout_in(State.ATTENTION, client_orderid="po-3"), opened())
        trouble = "the gateway is away" if 14 <= second <= 18 else None
        yield (
            tally,
            tally.snapshot(float(second), trouble=trouble, trouble_seconds=max(0.0, second - 14.0)),
        )


def written(view: PlainLines | JsonLines, paper: Paper) -> list[str]:
    """End a view and read its lines."""
    view.close()
    return paper.getvalue().splitlines()


class TestPlain:
    def test_a_run(self) -> None:
        """A log has a line every ten seconds, one for each bad turn, and nothing else."""
        paper = Paper()
        view = PlainLines(paper, Notation())
        for _, shot in run():
            view.show(shot)
        lines = written(view, paper)
        assert "4 payouts: 41.68 USD" == lines[0]
        assert "10 s: 4 waiting (41.68 USD)" == lines[1]
        assert lines[2].startswith("po-3 needs a person: pay-unconfirmed. The answer")
        assert "16 s: the gateway is away" == lines[3]
        assert "19 s: the gateway answers again" == lines[4]
        assert "20 s: 3 waiting (31.26 USD); 1 needs a person (10.42 USD)" in lines[5]
        assert 6 == len(lines)
        assert 6 == paper.flushes

    def test_short_trouble(self) -> None:
        """Trouble that is over at once is no line of a log."""
        paper, tally = Paper(), Tally([request()])
        view = PlainLines(paper, Notation())
        view.show(tally.snapshot(1.0, trouble="away", trouble_seconds=0.1))
        view.show(tally.snapshot(2.0))
        assert ["1 payout: 10.42 USD"] == written(view, paper)

    def test_a_long_pause(self) -> None:
        """After a long pause one line tells where the run is, and not one for each ten seconds."""
        paper, tally = Paper(), Tally([request()])
        view = PlainLines(paper, Notation())
        for second in (0.0, 95.0, 96.0, 99.9, 100.0):
            view.show(tally.snapshot(second))
        times = [line.partition(":")[0] for line in written(view, paper)[1:]]
        assert ["1 min 35 s", "1 min 40 s"] == times

    def test_any_alphabet(self) -> None:
        """A text that the log's encoding does not know is written so that it can be read."""
        paper, tally = Paper(), Tally([request("zażółć")])
        tally.changed(payout_in(State.ATTENTION, client_orderid="zażółć"), opened())
        view = PlainLines(paper, Notation())
        view.show(tally.snapshot(0.0))
        assert r"za\u017c\xf3\u0142\u0107 needs a person" in written(view, paper)[1]

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (0.4, "0 s"),
            (59.4, "59 s"),
            (60, "1 min 00 s"),
            (3599, "59 min 59 s"),
            (3600, "1 h 00 min"),
            (360_000, "100 h 00 min"),
        ],
    )
    def test_span(self, seconds: float, words: str) -> None:
        """Lengths of time are written as people say them."""
        assert words == span(seconds)


class TestJson:
    def events(self, view: JsonLines, paper: Paper) -> list[dict[str, Any]]:
        """Read all events."""
        return [json.loads(line) for line in written(view, paper)]

    def test_a_run(self) -> None:
        """A machine reads a start, progress every five seconds, problems, trouble and an end."""
        paper = Paper()
        view = JsonLines(paper)
        for _, shot in run():
            view.show(shot)
        total = Total("attention", "USD", 1, Decimal("10.42"))
        view.finish(2, [total], Path("results.csv"), interrupted=False)
        events = self.events(view, paper)
        names = [event["event"] for event in events]
        first = ["started", "progress", "progress", "problem", "trouble"]
        assert [*first, "progress", "trouble", "progress", "progress", "finished"] == names
        assert {"payouts": 4, "amounts": {"USD": "41.68"}}.items() <= events[0].items()
        assert "po-3" == events[3]["client_orderid"]
        assert ["the gateway is away", None] == [events[4]["trouble"], events[6]["trouble"]]
        assert {"waiting": 3, "needs-person": 1}.items() <= events[7]["counts"].items()
        assert "31.26" == events[7]["amounts"]["waiting"]["USD"]
        assert 1 == events[7]["phases"]["person"]
        assert {
            "exit_status": 2,
            "interrupted": False,
            "results": "results.csv",
            "totals": [{"status": "attention", "currency": "USD", "payouts": 1, "amount": "10.42"}],
        }.items() <= events[-1].items()
        assert all(event["at"].endswith("Z") for event in events)

    def test_payout(self) -> None:
        """A payout's end has the words of the results file and the ids for the support."""
        path = (*PATHS[State.AWAITING_FINAL], finished("declined", error_message="no money"))
        paper = Paper()
        view = JsonLines(paper)
        view.hear(outcome(fold(*path)))
        [event] = self.events(view, paper)
        assert {
            "event": "payout",
            "client_orderid": "po-1",
            "status": "declined",
            "state": "final",
            "amount": "10.42",
            "currency": "USD",
            "paynet_order_id": "6982864",
            "error_message": "no money",
            "alarms": [],
        }.items() <= event.items()

    def test_no_link(self) -> None:
        """The link for a receiver is for nobody's log."""
        paper = Paper()
        view = JsonLines(paper)
        told = outcome(payout_in(State.AWAITING_RECEIVER))
        assert told.redirect_to
        view.hear(told)
        [line] = written(view, paper)
        assert told.redirect_to not in line
        assert "awaiting-receiver" == json.loads(line)["status"]


def doubtful() -> list[Snapshot]:
    """Make the snapshots of a run that begins with what a killed one has claimed."""
    tally = Tally([request("po-1"), request("po-2")])
    shots = []
    for second in range(25):
        if second == 1:
            for name in ("po-1", "po-2"):
                tally.joined(payout_in(State.PAYING, client_orderid=name))
        if second == 15:
            for name in ("po-1", "po-2"):
                tally.changed(payout_in(State.ATTENTION, client_orderid=name), opened())
        at = START + 11 + 600 + second
        shots.append(tally.snapshot(float(second), at=at, journal="my payouts.db"))
    return shots


class TestDoubt:
    def test_in_a_log(self) -> None:
        """A log says once how many are in doubt, until when that may last, and what comes then."""
        paper = Paper()
        view = PlainLines(paper, Notation())
        for shot in doubtful():
            view.show(shot)
        lines = written(view, paper)
        [told] = [line for line in lines if "in doubt:" in line]
        claimed, asked = told.split(". ")
        whose = "by this run or another, and no answer is known"
        assert f"3 s: 2 payouts in doubt: claimed, {whose}" == claimed
        assert asked == (
            "They are asked about until 2027-01-15 08:15:11 UTC at the longest (4 min 57 s from "
            "now); what is in doubt then needs a person: "
            "billblend attention list --journal 'my payouts.db'"
        )
        assert sum("; 2 in doubt, until 2027-01-15 08:15:11 UTC" in line for line in lines) == 1
        assert "15 s: nothing is in doubt any more" in lines

    def test_for_machines(self) -> None:
        """A machine is told when doubts begin and end, with the numbers."""
        paper = Paper()
        view = JsonLines(paper)
        for shot in doubtful():
            view.show(shot)
        events = [json.loads(line) for line in written(view, paper)]
        first, last = [each for each in events if each["event"] == "doubt"]
        assert (2, "2027-01-15T08:15:11.000Z") == (first["in_doubt"], first["until"])
        assert "billblend attention list --journal 'my payouts.db'" == first["command"]
        assert first["doubt"].startswith("2 payouts in doubt: ")
        assert (0, None, None) == (last["in_doubt"], last["until"], last["doubt"])
        counts = [each["in_doubt"] for each in events if each["event"] == "progress"]
        assert [2, 2, 0, 0] == counts

    def test_short_ones(self) -> None:
        """A doubt that is cleared up within moments is told to nobody."""
        tally, paper = Tally([request()]), Paper()
        view = PlainLines(paper, Notation())
        tally.joined(payout_in(State.PAYING))
        view.show(tally.snapshot(0.0))
        tally.changed(payout_in(State.AWAITING_FINAL), opened())
        view.show(tally.snapshot(1.0))
        view.show(tally.snapshot(5.0))
        assert not any("doubt" in line for line in written(view, paper))

    def test_overdue(self) -> None:
        """What has been in doubt for longer than it may be is decided by the next answer."""
        tally = Tally([request()])
        tally.joined(payout_in(State.PAYING))
        told = doubt_text(tally.snapshot(0.0, at=START + 10_000, journal="j.db"), Notation())
        assert told is not None
        assert "1 payout in doubt" in told
        assert "It is asked about until the gateway answers; what is in doubt then" in told


class TestReaders:
    def test_who_leaves(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A reader who leaves is told of once, and no later line fails over it."""
        there, here = os.pipe()
        os.close(there)
        tally = Tally([request()])
        with os.fdopen(here, "w") as file:
            view = PlainLines(file, Notation())
            for second in range(30):
                view.show(tally.snapshot(float(second)))
            view.close()
        assert 1 == capsys.readouterr().err.count("nobody reads the output any more")

    def test_who_is_slow(self) -> None:
        """A reader who does not read yet holds nobody up, and misses nothing."""
        there, here = os.pipe()
        told = outcome(payout_in(State.FINAL))
        with os.fdopen(here, "w") as file, os.fdopen(there) as reader:
            view = JsonLines(file)
            for _ in range(2000):  # far more than a pipe holds
                view.hear(told)
            lines = [reader.readline() for _ in range(2000)]
            view.close()
        assert {"po-1"} == {json.loads(line)["client_orderid"] for line in lines}
