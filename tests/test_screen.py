"""The live view is read as a person reads it: at every size, in colour and without."""

import io
import re
import time
from decimal import Decimal

import attrs
import pytest
from payouts import PATHS, finished, fold, opened, payout_in, request
from rich.console import Console

from billblend_async.batch.progress import Snapshot, Tally
from billblend_async.cli.display import Frame
from billblend_async.core.descriptions import Notation
from billblend_async.core.models import State
from billblend_async.core.payout import outcome
from billblend_async.reporting.projection import Total
from billblend_async.reporting.terminal import print_problems, print_totals

SIZES = [(80, 24), (40, 24), (40, 12), (30, 8), (120, 50), (200, 60), (20, 5), (10, 3)]


class Terminal(io.StringIO):
    """A terminal's output."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a StringIO has none
        """What it can show."""
        return self._encoding

    def isatty(self) -> bool:
        return True


def console(width: int = 80, height: int = 24, **options: object) -> Console:
    """Make a console of this size."""
    given: dict[str, object] = {"file": Terminal(), "color_system": "truecolor", "_environ": {}}
    return Console(width=width, height=height, **{**given, **options})  # type: ignore[arg-type]


def picture(on: Console, shot: Snapshot, title: str = "payouts.csv") -> list[str]:
    """Render a snapshot and give its lines."""
    with on.capture() as caught:
        on.print(Frame(title, Notation(), shot), end="")
    return caught.get().split("\n")[:-1]


def plain(width: int = 80, height: int = 24) -> Console:
    """Make a console without colours."""
    return console(width, height, color_system=None)


def busy(payouts: int = 1000, *, trouble: str | None = None, stopping: bool = False) -> Snapshot:
    """Make a snapshot in the middle of a run, with something of everything."""
    currencies = ("EUR", "USD", "GBP")
    tally = Tally(
        request(f"po-{n}", amount=Decimal(n + 1) * 10, currency=currencies[n % 3])
        for n in range(payouts)
    )
    declined = (*PATHS[State.AWAITING_FINAL], finished("declined", error_message="No such account"))
    path = [PATHS[state] for state in (State.FINAL, State.FINAL, State.VALIDATING, State.PAYING)]
    path += [
        PATHS[State.AWAITING_RECEIVER],
        PATHS[State.ATTENTION],
        declined,
        PATHS[State.CHECKING],
    ]
    tally.snapshot(0.0)
    for n in range(payouts * 4 // 5):
        amount, currency = Decimal(n + 1) * 10, currencies[n % 3]
        first = opened(f"po-{n}", amount=amount, currency=currency)
        events = list(path[n % len(path)])
        if n % len(path) < 2:  # paid as it was asked for
            events[-1] = finished(amount=amount, currency=currency)
        tally.changed(fold(*events, first=first), first)
        if n == payouts // 2:
            tally.snapshot(10.0)
    return tally.snapshot(
        42.0, trouble=trouble, trouble_seconds=3.2, under_way=12, is_stopping=stopping
    )


class TestPicture:
    def test_what_is_on_it(self) -> None:
        """On 80 by 24 there is all: phases, groups, every currency, pace, end and problems."""
        lines = picture(plain(), busy())
        text = "\n".join(lines)
        assert lines[0].startswith("payouts.csv · 1,000 payouts")
        assert lines[0].endswith("42 s")
        for word in ("check", "bank", "pay", "final", "receiver", "person", "now", "through"):
            assert word in text
        for word in ("approved", "waiting", "refused", "needs a person", "EUR", "USD", "GBP"):
            assert word in text
        assert "finished per second" in text
        assert "left" in text
        assert "100 wait for their receivers" in text
        problems = lines[next(n for n, line in enumerate(lines) if "latest problems" in line) :]
        assert len(problems) >= 4
        assert "pay-unconfirmed" in problems[1]

    @pytest.mark.parametrize(("width", "height"), SIZES)
    @pytest.mark.parametrize("payouts", [1, 10, 1000])
    @pytest.mark.parametrize("is_bad", [False, True])
    def test_fits(self, width: int, height: int, payouts: int, *, is_bad: bool) -> None:
        """It fits any terminal: no line is too long and none too many."""
        trouble = "the gateway cannot be reached (ConnectError); check the network" * is_bad
        shot = busy(payouts, trouble=trouble or None, stopping=is_bad)
        lines = picture(plain(width, height), shot)
        assert 1 <= len(lines) < max(height, 2)
        assert max(map(len, lines)) < width

    def test_narrow(self) -> None:
        """On 40 columns there are bars, counts and the first currency, and the rest is counted."""
        lines = picture(plain(40), busy())
        text = "\n".join(lines)
        for word in ("check", "needs a person", "EUR", "+2", "per second", "latest problems"):
            assert word in text
        assert "through" not in text

    def test_nothing_is_cut_of_the_pace(self) -> None:
        """Where the pace does not fit in one line it goes on in the next."""
        for width in (30, 40, 80):
            text = " ".join(line.strip() for line in picture(plain(width, 30), busy()))
            assert "left · 100 wait for their receivers" in text

    def test_blocks_stand_apart(self) -> None:
        """On 80 by 24 a blank line stands before each block; three problems are listed still."""
        lines = picture(plain(), busy())
        for word in ("payouts  ", "finished per second", "latest problems"):
            place = next(n for n, line in enumerate(lines) if word in line and n > 2)
            assert "" == lines[place - 1].strip(), word
        assert len(lines) - lines.index("latest problems") >= 4

    @pytest.mark.parametrize(("width", "height"), SIZES)
    def test_doubt(self, width: int, height: int) -> None:
        """What is in doubt is said below the title, and fits."""
        shot = attrs.evolve(busy(), in_doubt=3, doubt_until=900.0, at=600.0, journal="payouts.db")
        lines = picture(plain(width, height), shot)
        assert 1 <= len(lines) < max(height, 2)
        assert max(map(len, lines)) < width
        if width >= 80:
            told = " ".join(line.strip() for line in lines[1:5])
            assert "3 payouts in doubt: claimed, by this run or another" in told
            assert "until 1970-01-01 00:15:00 UTC at the longest (5 min 00 s from now)" in told
            assert "needs a person: billblend attention list --journal payouts.db" in told

    def test_trouble_and_stopping(self) -> None:
        """Trouble and an early end are said right below the title, whole."""
        shot = busy(trouble="the gateway cannot be reached (ConnectError)", stopping=True)
        for width in (40, 80):
            lines = picture(plain(width), shot)
            told = " ".join(line.strip() for line in lines[1:8])
            assert "stopping: nothing new is sent, 12 request(s) under way" in told
            assert "Ctrl-C again cuts it off" in told
            assert "for 3 s: the gateway cannot be reached (ConnectError)" in told

    def test_bars(self) -> None:
        """A bar is full for those who are through, and shows a single payout among thousands."""
        tally = Tally(request(f"po-{n}") for n in range(10_000))
        tally.changed(payout_in(State.PAYING, client_orderid="po-1"), opened())
        lines = picture(plain(), tally.snapshot(1.0))
        bars = {line.split()[0]: line for line in lines if line}
        assert 1 == bars["pay"].count("▒")
        assert 0 == bars["check"].count("█")
        for n in range(10_000):
            tally.changed(payout_in(State.FINAL, client_orderid=f"po-{n}"), opened())
        lines = picture(plain(), tally.snapshot(2.0))
        bars = {line.split()[0]: line for line in lines if line}
        for phase in ("check", "bank", "pay", "final"):
            assert "·" not in bars[phase]
            assert bars[phase].rstrip().endswith("10,000")

    def test_nothing_to_do(self) -> None:
        """A run without payouts is shown as such."""
        lines = picture(plain(), Tally([]).snapshot(0.0))
        assert "0 payouts" in lines[0]

    def test_many_currencies(self) -> None:
        """Of more currencies than fit, the most frequent are shown and the rest counted."""
        names = [f"C{chr(65 + n)}X" for n in range(20)]
        tally = Tally(
            request(f"po-{n}-{m}", currency=name)
            for n, name in enumerate(names)
            for m in range(n + 1)
        )
        lines = picture(plain(), tally.snapshot(0.0))
        header = next(line for line in lines if "payouts " in line and "C" in line)
        assert "CTX" in header
        assert "CAX" not in header
        assert header.rstrip().endswith(f" +{20 - header.count('X')}")

    def test_plain_alphabet(self) -> None:
        """A terminal that knows ASCII only is shown ASCII only."""
        on = console(file=Terminal("ascii"), color_system=None)
        text = "\n".join(picture(on, busy()))
        assert text.isascii()
        assert "###" in text

    def test_colours(self) -> None:
        """Colours say nothing that the words do not: without them the text is the same."""
        shot = busy()
        with_colours = picture(console(), shot)
        without = picture(plain(), shot)
        assert any("\x1b[" in line for line in with_colours)
        assert not any("\x1b[" in line for line in without)
        assert without == [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in with_colours]

    def test_wide_letters(self) -> None:
        """Names of wide letters are cut by the cells that they take."""
        tally = Tally([request("払い戻し" * 20)])
        tally.changed(payout_in(State.ATTENTION, client_orderid="払い戻し" * 20), opened())
        on = plain(40)
        for line in picture(on, tally.snapshot(0.0), title="支払い" * 20):
            assert len(line) + sum(ord(c) > 0x2E80 for c in line) < 40


class TestEnd:
    @pytest.mark.parametrize("width", [40, 60, 80])
    def test_no_word_is_broken(self, width: int) -> None:
        """What is told at the end is broken between words, also where there is little room."""
        on, waits = plain(width), "awaiting-receiver"
        open_payout = outcome(payout_in(State.AWAITING_RECEIVER))
        with on.capture() as caught:
            print_totals(on, [Total(waits, "EUR", 30, Decimal("4635.00"))], Notation())
            print_problems(on, [open_payout] * 5)
        text = caught.get()
        assert max(map(len, text.split("\n"))) <= width
        words = text.replace("-\n", "-").split()
        for word in ("awaiting-", "receiver", "must", "redirect_to"):
            assert any(each.startswith(word) for each in words), text
        assert "link redirect_to and fill in a form." in " ".join(words)

    def test_in_a_log(self) -> None:
        """In a log each problem is one line, however long it is."""
        on = Console(file=io.StringIO(), width=40)
        print_problems(on, [outcome(payout_in(State.AWAITING_RECEIVER))])
        assert isinstance(on.file, io.StringIO)
        assert 1 == on.file.getvalue().count("\n")


def test_costs_little() -> None:
    """The four pictures of a second take less than a fiftieth of that second."""
    shot, on = busy(10_000), console()
    picture(on, shot)
    began = time.thread_time()
    for _ in range(40):
        picture(on, shot)
    assert (time.thread_time() - began) / 40 * 4 < 0.02
