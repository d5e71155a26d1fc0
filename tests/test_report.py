"""A report says the same in the terminal, as a page and as a table, and harms no reader."""

import base64
import csv
import hashlib
import io
import os
import re
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
from journals import HOSTILE, mixed, write_journal
from payouts import DOUBT_PATHS, LINK, PATHS, START, finished, opened
from rich.console import Console
from test_pages import Reader

from billblend_async.cli.main import main
from billblend_async.core.descriptions import duration, format_amount, instant, legible, many
from billblend_async.core.events import (
    Approved,
    Checked,
    CheckStarted,
    Rejected,
    Released,
    Restored,
    Withdrawn,
)
from billblend_async.core.models import Doubt, State
from billblend_async.journal.key_file import make_key
from billblend_async.journal.location import FilePlace
from billblend_async.reporting.export import COLUMNS, sheet
from billblend_async.reporting.html import (
    HEADERS,
    MOST_DECISIONS,
    MOST_LISTED,
    report_page,
    trouble_page,
    watch_page,
)
from billblend_async.reporting.summary import LONGEST_GROUP, Choice, Report, Source
from billblend_async.reporting.terminal import print_whole

AT: Final = START + 1000
PAGES: Final[dict[str, Callable[[Report], str]]] = {"file": report_page, "live": watch_page}
every_page = pytest.mark.parametrize("make", PAGES.values(), ids=PAGES)


class Paper(io.StringIO):
    """What somebody looks at as it is written."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "payouts.db"


def everything(path: Path, count: int = 0) -> Report:
    """Report a journal that holds a payout in every state and with every doubt, and more."""
    lives = [*PATHS.items(), *DOUBT_PATHS.items()]
    write_journal(
        path, [(opened(f"po-{name}-{n}"), events) for n, (name, events) in enumerate(lives)]
    )
    write_journal(path, mixed(count))
    return Source(FilePlace(path)).read(AT)


def hostile(path: Path) -> Report:
    """Report a journal whose every text was written by somebody who means harm."""
    refused = Rejected(at=START + 2, error_code=HOSTILE, error_message=HOSTILE)
    ended = finished(
        "declined", order_stage=HOSTILE, error_message=HOSTILE, paynet_order_id=HOSTILE
    )
    checked = Checked(at=START + 2, paynet_order_id=HOSTILE)
    renamed = (CheckStarted(at=START + 1), checked)
    lives = [
        (opened(HOSTILE), (*PATHS[State.CHECKING], refused)),
        (opened(f"{HOSTILE}2", currency=HOSTILE), (*renamed, ended)),
        (opened(f"{HOSTILE}3"), DOUBT_PATHS[Doubt.PAY_UNCONFIRMED]),
        (opened(f"{HOSTILE}4"), (Withdrawn(at=START + 5, who=HOSTILE, why=f"{HOSTILE}\n" * 99),)),
        (opened(f"{HOSTILE}5", held=True), (Approved(at=START + 5, who=HOSTILE),)),
    ]
    write_journal(path, lives)
    return Source(FilePlace(path), Choice(words=HOSTILE)).read(AT)


class TestWords:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (None, ""),
            ("Declined by the bank", "Declined by the bank"),
            ("a\nb\tc", "a b c"),
            ("\x1b[31mred", "\N{REPLACEMENT CHARACTER}[31mred"),
            ("\u202eevil\ud800", "\N{REPLACEMENT CHARACTER}evil\N{REPLACEMENT CHARACTER}"),
            ("é ü 東京", "é ü 東京"),
            ("x" * 400, "x" * 299 + "…"),
        ],
    )
    def test_legible(self, text: str | None, shown: str) -> None:
        """A stranger's text is one line that neither steers a terminal nor goes on for ever."""
        assert legible(text) == shown

    @pytest.mark.parametrize(
        ("seconds", "told"),
        [
            (0, "0.0 s"),
            (9.94, "9.9 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (3599.6, "1 h 00 min"),
            (90_000, "1 d 01 h"),
        ],
    )
    def test_duration(self, seconds: float, told: str) -> None:
        """A duration is told in the units that matter, also where it is rounded into the next."""
        assert duration(seconds) == told

    def test_instant(self) -> None:
        """An instant is told in UTC, and one beyond every calendar as unknown."""
        assert instant(1_800_000_000.9) == "2027-01-15 08:00:00"
        assert instant(1e300) == instant(-1e18) == "unknown"

    @pytest.mark.parametrize(
        ("amount", "currency", "told"),
        [
            ("1234567.5", "EUR", "1,234,567.50"),
            ("1E+3", "JPY", "1,000"),
            ("1", "KWD", "1.000"),
            ("0.125", "USD", "0.125"),
            ("7", "???", "7"),
        ],
    )
    def test_money(self, amount: str, currency: str, told: str) -> None:
        """An amount shows all decimals of its currency and hides none that it has."""
        assert format_amount(Decimal(amount), currency) == told

    def test_many(self) -> None:
        """One is not told like two."""
        assert (many(1, "payout"), many(2000, "payout")) == ("1 payout", "2,000 payouts")


class TestPage:
    @every_page
    def test_is_well_formed(self, path: Path, make: Callable[[Report], str]) -> None:
        """Every page is closed in order, has one first heading, landmarks, and ids of one use."""
        page = make(everything(path, 100))
        reader = Reader(page)
        assert reader.values("html", "lang") == ["en"]
        for tag in ("h1", "header", "main", "footer"):
            assert len(reader.values(tag, "id")) == 1
        ids = [name for _, given in reader.tags if (name := given.get("id"))]
        assert len(set(ids)) == len(ids)
        for _, given in reader.tags:
            for reference in ("aria-labelledby", "aria-describedby", "for"):
                assert given.get(reference) in (None, *ids)

    @every_page
    def test_tables_can_be_heard(self, path: Path, make: Callable[[Report], str]) -> None:
        """Every table has a caption and scopes, and every picture says what it shows."""
        page = make(everything(path, 100))
        reader = Reader(page)
        tables = reader.values("table", "role")
        assert tables == ["table"] * len(tables)
        assert page.count("<caption>") == len(tables) >= 15
        assert set(reader.values("th", "scope")) == {"col", "row"}
        assert page.count("<desc ") == len(reader.values("svg", "role")) == 5
        assert set(reader.values("svg", "role")) == {"img"}

    @every_page
    def test_policy_allows_what_the_page_holds(
        self, path: Path, make: Callable[[Report], str]
    ) -> None:
        """The policy names the hash of the style and the script, and nothing is unsafe."""
        page = make(everything(path))
        inside = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
        policy = HEADERS["Content-Security-Policy"] if make is watch_page else inside and inside[1]
        assert policy
        for kind in ("style", "script"):
            (text,) = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'")
        assert ("connect-src" in policy) is (make is watch_page)
        assert " style=" not in page

    @every_page
    def test_hostile_texts_are_text(self, path: Path, make: Callable[[Report], str]) -> None:
        """What the gateway or a merchant writes becomes text, never markup or commands."""
        page = make(hostile(path))
        reader = Reader(page)
        assert len(reader.values("script", "id")) == 1
        assert "<script>alert" not in page
        assert not {"\x1b", "\u202e"} & set(page)

    def test_nothing_secret_is_shown(self, path: Path) -> None:
        """No link and nothing of the receiver stands on the page, in the table or the terminal."""
        report = everything(path)
        told = report_page(report) + repr(report) + terminal(report)
        assert LINK not in told
        assert "7890" not in told
        assert "f" * 64 not in told

    def test_persons_are_told_why(self, path: Path) -> None:
        """The page tells each reason in the words that are used elsewhere, with both ids."""
        page = report_page(everything(path))
        for doubt in DOUBT_PATHS:
            assert doubt.sentence.replace("'", "&#x27;") in page
            assert re.search(f"po-{doubt}-", page)
        assert "6982864" in page

    def test_error_needs_a_person(self, path: Path) -> None:
        """Page, terminal and table list the status error among what needs a person."""
        events = (*PATHS[State.AWAITING_FINAL], finished("error", error_code="7"))
        write_journal(path, [(opened("po-1"), events)])
        report = Source(FilePlace(path)).read(AT)
        for told in (report_page(report), terminal(report)):
            assert "One needs a person." in told
            assert re.search(r"Needs a person.*error.*1 payout.*ask its support", told, re.DOTALL)
            assert "To reconcile" not in told
        (row,) = csv.DictReader(io.StringIO(sheet(report)))
        assert ("error", "yes") == (row["status"], row["needs_person"])
        assert "whether the money moved" in row["reason"]

    def test_what_to_run(self, path: Path) -> None:
        """Each group that needs somebody says what to run, with the journal as it was named."""
        alarm = (*PATHS[State.AWAITING_FINAL], finished(amount=Decimal(1)))
        lives = [
            (opened("po-1"), PATHS[State.ATTENTION]),
            (opened("po-2"), alarm),
            (opened("po-3"), PATHS[State.VALIDATING]),
        ]
        write_journal(path, lives)
        report = Source(FilePlace(path)).read(AT)
        page, printed = report_page(report), terminal(report)
        for words in (
            f"billblend status --journal {path} po-1",
            f"billblend attention release --journal {path} po-1",
            f"billblend attention close --journal {path} po-1",
            f"billblend attention acknowledge --journal {path} po-2",
            f"billblend pay --journal {path} --out RESULTS FILE",
        ):
            assert f"<code>{words}</code>" in page
            assert f"      {words}\n" in printed
        assert "To end each (add --who and --why):" in page
        for told in (page, printed):
            assert "The gateway paid 1 USD, but 10.42 USD was asked for" in told
        first, second, third = csv.DictReader(io.StringIO(sheet(report)))
        assert first["what_to_run"] == (
            f"billblend attention release --journal {path} po-1"
            f" or: billblend attention close --journal {path} po-1"
        )
        assert second["what_to_run"].endswith(" po-2")
        assert third["what_to_run"].startswith("billblend pay ")

    def test_decisions(self, path: Path) -> None:
        """Who has decided what about which payout, when and why, is told everywhere."""
        released = Released(at=START + 90, who="Ann & Bob", why="support: <not> paid")
        lives = [
            (opened("po-1"), (*PATHS[State.ATTENTION], released)),
            (opened("po-2"), PATHS[State.CLOSED]),
            *((opened(f"held-{n}", held=True), (Approved(at=START, who="eve"),)) for n in range(3)),
        ]
        write_journal(path, lives)
        report = Source(FilePlace(path)).read(AT)
        page, printed = report_page(report), terminal(report)
        section = page[page.index('id="decisions"') : page.index('id="timeline"')]
        assert section.index("po-2") < section.index("po-1")  # the latest first
        assert "eve has approved 3 payouts." in section
        for words in ("Ann &amp; Bob", "support: &lt;not&gt; paid", "2027-01-15 08:01:30"):
            assert words in section
        assert "closed by ann: asked the bank" in page[page.index('id="payouts"') :]
        assert "eve has approved 3 payouts" in printed
        assert "2027-01-15 08:01:30 UTC  po-1 released by Ann & Bob: support: <not> paid" in printed
        first, second, third, *_ = csv.DictReader(io.StringIO(sheet(report)))
        assert ("released", "2027-01-15 08:01:30", "Ann & Bob", "support: <not> paid") == tuple(
            first[name] for name in ("decision", "decided_at", "who", "why")
        )
        assert ("closed", "ann", "asked the bank", "") == tuple(
            second[name] for name in ("decision", "who", "why", "earlier_decisions")
        )
        assert ("approved", "eve", "") == (third["decision"], third["who"], third["why"])

    def test_earlier_decisions(self, path: Path) -> None:
        """A payout about which people have decided again and again tells all of it in the table."""
        released = Released(at=START + 90, who="=1+1", why="@x")
        closed = PATHS[State.CLOSED][-1]
        events = (*PATHS[State.ATTENTION], released, Restored(at=START + 95), closed)
        write_journal(path, [(opened("po-1"), events)])
        (row,) = csv.DictReader(io.StringIO(sheet(Source(FilePlace(path)).read(AT))))
        assert "2027-01-15 08:01:30 released by =1+1: @x" == row["earlier_decisions"]
        assert "closed" == row["decision"]

    def test_many_decisions(self, path: Path) -> None:
        """Of very many decisions the latest are listed, and it is said that there are more."""
        count = MOST_DECISIONS + 5
        write_journal(
            path,
            (
                (opened(f"po-{n}"), (Withdrawn(at=START + n, who="ann", why="typo"),))
                for n in range(count)
            ),
        )
        page = report_page(Source(FilePlace(path)).read(AT))
        section = page[page.index('id="decisions"') : page.index('id="timeline"')]
        assert f">po-{count - 1}<" in section
        assert ">po-4<" not in section
        assert "5 earlier decisions are in the CSV file" in section

    def test_long_lists_are_bounded(self, path: Path) -> None:
        """Thousands of payouts are summed up, and the page says which of them it lists."""
        doubtful = (
            (opened(f"doubt-{n}"), DOUBT_PATHS[Doubt.PAY_UNCONFIRMED])
            for n in range(LONGEST_GROUP + 100)
        )
        write_journal(path, doubtful)
        page = report_page(Source(FilePlace(path)).read(AT))
        assert f"The first {LONGEST_GROUP} of {LONGEST_GROUP + 100} are listed" in page
        assert f"The list holds the newest {MOST_LISTED} of {LONGEST_GROUP + 100} payouts" in page
        assert page.count('<tr role="row">') < LONGEST_GROUP + MOST_LISTED + 200

    def test_nothing_to_show(self, path: Path) -> None:
        """An empty journal is told as such."""
        write_journal(path, [])
        page = report_page(Source(FilePlace(path)).read(AT))
        Reader(page)
        assert "The journal holds no payouts yet." in page

    def test_trouble(self) -> None:
        """Where there is no report the page says why and loads itself again."""
        page = trouble_page(f"journal {HOSTILE}: gone")
        Reader(page)
        assert "<script>" not in page
        assert '<meta http-equiv="refresh"' in page


def terminal(report: Report) -> str:
    """Print a report where nobody looks."""
    told = io.StringIO()
    print_whole(Console(file=told, width=100), report)
    return told.getvalue()


class TestTerminal:
    def test_says_what_the_page_says(self, path: Path) -> None:
        """The terminal tells the totals, the reasons with both ids, and the times."""
        told = terminal(everything(path, 200))
        for words in ("approved", "Needs a person", "Not finished", "Refused, by reason", "median"):
            assert words in told
        for doubt in DOUBT_PATHS:
            assert doubt.sentence in told
        assert "order 6982864" in told
        assert told.rstrip().splitlines()[-1].endswith("need a person.")

    def test_hostile_texts_are_text(self, path: Path) -> None:
        """No text of a stranger steers the terminal."""
        told = terminal(hostile(path))
        assert not {"\x1b", "\u202e"} & set(told)
        assert "<script>alert(1)" in told

    def test_nothing_to_show(self, path: Path) -> None:
        """An empty journal is told in a line."""
        write_journal(path, [])
        assert "No payouts." in terminal(Source(FilePlace(path)).read(AT))


def rows(file: Path) -> list[dict[str, str]]:
    """Read a table."""
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


class TestWidth:
    @pytest.mark.parametrize("width", [40, 80])
    def test_on_a_terminal(self, path: Path, width: int) -> None:
        """On a terminal lines are broken between words, set in as they began, and no picture is."""
        paper = Paper()
        on = Console(file=paper, width=width, color_system=None)
        write_journal(path, mixed(2000))
        print_whole(on, Source(FilePlace(path)).read(AT))
        lines = [line.rstrip() for line in paper.getvalue().splitlines()]
        commands = [line for line in lines if line.startswith("      billblend ")]
        assert max(len(line) for line in lines if line not in commands) <= width
        assert any(len(line) > width for line in commands)  # they are copied whole
        amount = sum(first.amount for first, _ in mixed(2000) if first.currency == "EUR")
        assert sum(f"{amount:,f}" in line for line in lines) == 1
        first = next(n for n, line in enumerate(lines) if "  check-unconfirmed: " in line)
        assert re.match(r"  \S", lines[first + 1])
        told = " ".join(line.strip() for line in lines)
        assert "…" not in told
        assert lines[lines.index("Refused, by reason") - 1] == ""
        assert "ask its support about this client_orderid, then release or close." in told
        assert any(
            line.startswith("  accepted") and line.endswith("  2,000") for line in lines
        ) or ("  accepted 2,000" in lines)

    def test_in_a_file(self, path: Path) -> None:
        """In a file each line is one, however long it is."""
        write_journal(path, mixed(2000))
        paper = io.StringIO()
        print_whole(Console(file=paper, width=40), Source(FilePlace(path)).read(AT))
        told = paper.getvalue().splitlines()
        assert any(
            "check-unconfirmed: " in line and "then release or close." in line for line in told
        )
        assert any("accepted ▇" in line or "accepted █" in line for line in told)


class TestCommand:
    def test_page_and_table(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """One command writes both, and the table holds every payout in its order."""
        lives = list(mixed(700))
        write_journal(path, lives)
        html, table = path.with_name("r.html"), path.with_name("r.csv")
        words = ["report", "--journal", str(path), "--html", str(html), "--csv", str(table)]
        assert main(words) == main(words) == 0
        assert capsys.readouterr().out == f"Report: {html}\nReport: {table}\n" * 2
        told = rows(table)
        assert list(told[0]) == list(COLUMNS)
        assert [row["client_orderid"] for row in told] == [
            first.client_orderid for first, _ in lives
        ]
        total = sum(Decimal(row["amount"]) for row in told if row["currency"] == "EUR")
        assert f"{total:,f} EUR" in html.read_text("utf-8")
        assert [path.name for path in path.parent.glob(".*")] == []
        assert html.stat().st_mode & 0o077 == 0

    def test_needs_no_settings(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A report is printed without any setting of the environment."""
        for name in os.environ:
            if name.startswith("BILLBLEND"):
                monkeypatch.delenv(name)
        write_journal(path, mixed(50))
        assert main(["report", "--journal", str(path)]) == 0
        assert "50 payouts finished" in capsys.readouterr().out

    def test_formulas_are_defused(self, path: Path) -> None:
        """A cell that a spreadsheet would reckon out begins with an apostrophe; numbers stay."""
        cells = [
            "=1+1",
            "+a1",
            "-a1",
            "@SUM(A1)",
            "\t=1",
            "\N{FULLWIDTH EQUALS SIGN}1",
            "-1",
            "harmless",
        ]
        gone = PATHS[State.CHECKING]
        write_journal(
            path,
            [(opened(cell), (*gone, Rejected(at=START + 2, error_message=cell))) for cell in cells],
        )
        table = path.with_name("r.csv")
        assert main(["report", "--journal", str(path), "--csv", str(table)]) == 0
        for cell, row in zip(cells, rows(table), strict=True):
            shown = cell if cell in ("-1", "harmless") else f"'{legible(cell)}"
            assert (row["client_orderid"], row["error_message"]) == (shown, shown)

    def test_choice(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Payouts are chosen by when they were accepted and by a file, and the report says so."""
        lives = [(opened(f"po-{n}", at=START + 3600 * n), ()) for n in range(5)]
        write_journal(path, lives)
        batch = path.with_name("payday.csv")
        header = "client_orderid,amount,currency,account_number"
        batch.write_text(f"{header}\npo-1,1.00,EUR,1234567890\nother,1.00,EUR,1234567890\n")
        hours = ["--since", "2027-01-15T09:00", "--until", "2027-01-15T11:00:00+00:00"]
        for words, told in (
            (hours, ["2 payouts finished", "accepted since 2027-01-15 09:00:00 UTC"]),
            (["--batch", str(batch)], ["1 payout finished", "1 payout of the file not in"]),
            (["--since", "2030-01-01"], ["No payouts."]),
        ):
            assert main(["report", "--journal", str(path), *words]) == 0
            out = capsys.readouterr().out
            assert all(each in out for each in told), out

    @pytest.mark.parametrize("option", ["--html", "--csv"])
    @pytest.mark.parametrize("what", ["notes", "journal", "key", "folder", "nowhere"])
    def test_nothing_else_is_overwritten(
        self, path: Path, capsys: pytest.CaptureFixture[str], option: str, what: str
    ) -> None:
        """A report replaces nothing but a report, and the refusal names the option."""
        write_journal(path, mixed(3))
        target = {
            "notes": path.with_name("notes.html"),
            "journal": path,
            "key": path.with_name(f"{path.name}.key"),
            "folder": path.with_name("folder"),
            "nowhere": path.with_name("nowhere") / "r.html",
        }[what]
        if what == "notes":
            target.write_text("my notes\n")
        if what == "folder":
            target.mkdir()
        before = target.read_bytes() if target.is_file() else None
        assert main(["report", "--journal", str(path), option, str(target)]) == 4
        error = capsys.readouterr().err
        assert error.startswith(f"billblend: {option} {target}: ")
        assert error.count("\n") == 1
        assert (target.read_bytes() if target.is_file() else None) == before

    def test_one_file_for_two(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The page and the table need a file each."""
        write_journal(path, [])
        one = str(path.with_name("r"))
        assert main(["report", "--journal", str(path), "--html", one, "--csv", one]) == 4
        assert "the file of --html too" in capsys.readouterr().err

    @pytest.mark.parametrize("command", ["report", "watch"])
    def test_no_journal(self, path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
        """A journal that is not there, or is none, is one sentence."""
        assert main([command, "--journal", str(path)]) == 4
        path.write_text("client_orderid,amount\n" * 100)
        make_key(path.with_name(f"{path.name}.key"), bytes(32))
        assert main([command, "--journal", str(path)]) == 4
        first, second = capsys.readouterr().err.splitlines()
        assert "there is no such file" in first
        assert "SQLITE_NOTADB" in second

    @pytest.mark.parametrize("word", ["yesterday", "2027-13-01", "99999-01-01"])
    def test_no_time(self, path: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
        """A time that is none is refused with what is right."""
        with pytest.raises(SystemExit) as caught:
            main(["report", "--journal", str(path), "--since", word])
        assert caught.value.code == 3
        assert "YYYY-MM-DDTHH:MM" in capsys.readouterr().err

    def test_wrong_port(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A port that cannot be is refused by its name."""
        write_journal(path, [])
        assert main(["watch", "--journal", str(path), "--port", "65536"]) == 4
        assert "--port: must lie between" in capsys.readouterr().err


def test_costs_little(tmp_path: Path) -> None:
    """The page of two thousand payouts costs a small part of what paying them costs."""
    path = tmp_path / "payouts.db"
    write_journal(path, mixed(2000))
    began = time.process_time()
    page = report_page(Source(FilePlace(path)).read(AT))
    assert len(page) < 1_000_000
    # Paying one costs about 12 ms of CPU time, and two hundredths of that are 0.24 ms. The bound is
    # twice that, so that a busy machine fails nobody; a report costs 0.1 ms for each.
    assert time.process_time() - began < 2000 * 0.00048
