"""The live page: only for who has its link, only to look at, and true while payouts run."""

import asyncio
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from browser import Browser
from journal_cases import OWNER, live
from journals import mixed, write_journal
from payouts import DOUBT_PATHS, PATHS, START, opened
from visits import LIGHT_OR_DARK, assert_legible

from billblend_async.core.models import Doubt, State
from billblend_async.errors import ConfigurationError
from billblend_async.journal.location import FilePlace
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.reporting.dashboard import Watch
from billblend_async.reporting.summary import Choice

AT = START + 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "payouts.db"


@pytest_asyncio.fixture
async def journal(path: Path) -> AsyncIterator[SqliteJournal]:
    """A journal that a run has open."""
    journal = SqliteJournal(path)
    await journal.open(OWNER)
    yield journal
    await journal.aclose()


@pytest_asyncio.fixture
async def watch(journal: SqliteJournal, path: Path) -> AsyncIterator[Watch]:
    """The live page of a journal with ten payouts."""
    for number in range(10):
        await live(journal, opened(f"po-{number}"), PATHS[State.FINAL])
    async with Watch(FilePlace(path), clock=lambda: AT) as running:
        yield running


async def ask(url: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Ask for a page as no browser would."""
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.request(method, url, headers=headers)


class TestDoor:
    async def test_headers(self, watch: Watch) -> None:
        """The page is kept nowhere, tells nobody its address and cannot be put into a frame."""
        answer = await ask(watch.url)
        assert answer.status_code == 200
        assert "Payouts of payouts.db" in answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "Set-Cookie" not in answer.headers

    @pytest.mark.parametrize("place", ["/", "/x/", "/x/main", "/main", "/favicon.ico", "/é/"])
    async def test_strangers(self, watch: Watch, place: str) -> None:
        """Who does not know the token learns nothing, not even the journal's name."""
        origin = watch.url[: watch.url.index("/", 7)]
        answer = await ask(f"{origin}{place}")
        assert answer.status_code == 404
        assert "payouts" not in answer.text

    async def test_token_is_new_each_time(self, watch: Watch, path: Path) -> None:
        """A second page has another link, and the first's token does not open it."""
        async with Watch(FilePlace(path)) as second:
            token = watch.url.split("/")[3]
            assert len(token) >= 32
            assert token not in second.url
            other = second.url.replace(second.url.split("/")[3], token)
            assert (await ask(other)).status_code == 404

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "[::1]:80", ""])
    async def test_rebinding(self, watch: Watch, host: str) -> None:
        """A name that was made to point to this machine is turned away, even with the token."""
        answer = await ask(watch.url, Host=host)
        assert answer.status_code in (400, 403)
        assert "po-1" not in answer.text

    async def test_localhost(self, watch: Watch) -> None:
        """The machine's own name is as good as its address."""
        assert (await ask(watch.url.replace("127.0.0.1", "localhost"))).status_code == 200

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    async def test_only_to_look_at(self, watch: Watch, method: str) -> None:
        """There is nothing to do on the page but to look."""
        answer = await ask(watch.url, method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")

    async def test_head(self, watch: Watch) -> None:
        """HEAD has the headers of the page and no body."""
        answer = await ask(watch.url, "HEAD")
        assert (answer.status_code, answer.content) == (200, b"")

    async def test_without_a_slash(self, watch: Watch) -> None:
        """A link whose last slash was lost leads to the page, and a wrong page to nothing."""
        answer = await ask(watch.url.rstrip("/"))
        assert answer.status_code == 308
        assert watch.url.endswith(answer.headers["Location"])
        assert (await ask(f"{watch.url}other")).status_code == 404

    async def test_port_is_taken(self, watch: Watch, path: Path) -> None:
        """A port that is taken is refused by its number."""
        port = int(watch.url.split(":")[2].split("/")[0])
        with pytest.raises(ConfigurationError, match=f"port: {port}"):
            await Watch(FilePlace(path), port).__aenter__()


class TestTruth:
    async def test_without_scripts(self, watch: Watch) -> None:
        """Without scripts the page loads itself again."""
        assert '<noscript><meta http-equiv="refresh"' in (await ask(watch.url)).text

    async def test_is_read_again(self, watch: Watch, journal: SqliteJournal) -> None:
        """What a run writes is on the page when it is asked for after a moment."""
        watch._stale_at = 0.0
        await live(journal, opened("new"), DOUBT_PATHS[Doubt.PAY_UNCONFIRMED])
        text = (await ask(f"{watch.url}main")).text
        assert "One needs a person." in text
        assert "<html" not in text

    async def test_is_not_read_for_each_who_asks(
        self, watch: Watch, journal: SqliteJournal
    ) -> None:
        """However many ask at once, the journal is read no more often than is good for the run."""
        watch._stale_at = float("inf")
        await live(journal, opened("new"))
        assert "po-9" in (await ask(watch.url)).text
        assert "new</" not in (await ask(watch.url)).text

    async def test_choice(self, watch: Watch, journal: SqliteJournal, path: Path) -> None:
        """A page of chosen payouts tells of no others, and of new ones that are chosen too."""
        choice = Choice(since=START + 5, words="accepted since then")
        async with Watch(FilePlace(path), choice=choice, clock=lambda: AT) as chosen:
            assert "The journal holds no payouts of this choice." in (await ask(chosen.url)).text
            for name, at in (("older", START), ("newer", START + 6)):
                await live(journal, opened(name, at=at))
            chosen._stale_at = 0.0
            text = (await ask(chosen.url)).text
        assert "accepted since then" in text
        assert "newer</" in text
        assert "older</" not in text
        assert "po-9" in (await ask(watch.url)).text

    async def test_journal_is_gone(self, watch: Watch, path: Path) -> None:
        """When the journal cannot be read the page says why, and goes on when it can be again."""
        path.rename(path.with_name("elsewhere"))
        watch._stale_at = 0.0
        page, main = await ask(watch.url), await ask(f"{watch.url}main")
        assert (page.status_code, main.status_code) == (503, 503)
        assert "the file is gone, but its key file is there" in page.text
        assert "the file is gone" in main.text
        path.with_name("elsewhere").rename(path)
        assert (await ask(watch.url)).status_code == 200

    async def test_another_journal(self, path: Path, tmp_path: Path) -> None:
        """A file that took the journal's place is told as what it is."""
        await asyncio.to_thread(write_journal, path, mixed(20))
        async with Watch(FilePlace(path), clock=lambda: AT) as watch:
            other = tmp_path / "other.db"
            await asyncio.to_thread(write_journal, other, [(opened("other"), ())])
            other.replace(path)
            tmp_path.joinpath("other.db.key").replace(tmp_path / "payouts.db.key")
            watch._stale_at = 0.0
            text = (await ask(watch.url)).text
        assert "0 of 1 payout finished" in text

    async def test_payouts_are_gone(self, watch: Watch, journal: SqliteJournal, path: Path) -> None:
        """What an older copy in the same file does not hold is not shown any more."""
        await live(journal, opened("newest"))
        watch._stale_at = 0.0
        assert "newest</" in (await ask(watch.url)).text
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM events WHERE client_orderid = 'newest'")
            connection.execute("DELETE FROM payouts WHERE client_orderid = 'newest'")
        watch._stale_at = 0.0
        text = (await ask(watch.url)).text
        assert "newest</" not in text
        assert "10 of 10 payouts finished" in text


class TestBrowser:
    async def test_is_live(self, browser: Browser, watch: Watch, journal: SqliteJournal) -> None:
        """The page shows a new payout by itself; what was unfolded, typed and reached stays."""
        await browser.go(watch.url)
        await browser.until_text(".verdict", "10 of 10 payouts")
        await (await browser.find("#timeline-table summary")).click()
        await (await browser.find("#filter")).type("po-")
        await browser.until_text("#fitting", "10 of 10")
        await browser.execute("document.getElementById('listing-fold-summary').focus()")
        await browser.execute("scrollTo(0, 500)")
        y = await browser.execute("return scrollY")
        await live(journal, opened("po-new"), DOUBT_PATHS[Doubt.PAY_UNCONFIRMED])

        await browser.until_text(".verdict", "One needs a person.")
        await browser.until_text("#fitting", "11 of 11")
        assert await (await browser.find("#timeline-table table")).is_shown()
        focus = await browser.execute("return document.activeElement.id")
        assert focus == "listing-fold-summary"
        assert y > 0
        assert await browser.execute("return scrollY") > 0
        assert await browser.foreign_requests(watch.url) == []

    async def test_is_ended(self, browser: Browser, journal: SqliteJournal, path: Path) -> None:
        """When the command was ended the page says so and keeps what it has shown."""
        await live(journal, opened("po-1"))
        async with Watch(FilePlace(path), clock=lambda: AT) as watch:
            await browser.go(watch.url)
        await browser.until_text("#trouble", "does not answer")
        assert len(await browser.find_all("#listing tbody tr")) == 1
        await browser.go("about:blank")
        assert all("ERR_" in each for each in await browser.complaints())

    @pytest.mark.parametrize("scheme", LIGHT_OR_DARK)
    async def test_is_legible(self, browser: Browser, watch: Watch, scheme: str) -> None:
        """The live page can be read by day and by night, also on a small telephone."""
        await assert_legible(browser, watch.url, scheme, "#listing tr")


async def test_command(path: Path) -> None:
    """The command prints the link, serves it and ends at once and quietly on Ctrl-C."""
    await asyncio.to_thread(write_journal, path, mixed(5))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "billblend_async", "watch", "--journal", str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode()
    assert first.startswith("Watch it at http://127.0.0.1:")
    assert (await ask(first.split()[-1])).status_code == 200
    process.send_signal(signal.SIGINT)
    _, error = await process.communicate()
    assert (process.returncode, error) == (0, b"")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM payouts").fetchone() == (5,)
