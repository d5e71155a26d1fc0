"""A run's end in this process: what is known is written, and what is not known stays as it is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from desk import Desk, open_desk

from billblend_async.batch.parser import read_batch
from billblend_async.cli import run as links
from billblend_async.cli.run import Plan, run_batch
from billblend_async.core.models import Outcome, Polling
from billblend_async.core.request import PayoutRequest
from billblend_async.errors import JournalUnavailable
from billblend_async.gateway.settings import read_settings
from billblend_async.gateway.wire import RequestKind
from billblend_async.journal.location import FilePlace

GOOD, REDIRECT = "1234567890", "2000000001"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


def started(desk: Desk, file: Path, *, concurrency: int = 1000) -> asyncio.Task[int]:
    """Run a file in this process."""
    plan = Plan(
        journal=FilePlace(desk.folder / "payouts.db"),
        out=desk.folder / "results.csv",
        polling=Polling(shortest=0.1, longest=0.2),
        concurrency=concurrency,
    )
    return asyncio.create_task(run_batch(read_settings(desk.environ), read_batch(file), plan))


async def locked(*_: object) -> Outcome:
    """Read a journal that another program holds."""
    raise JournalUnavailable("payouts.db", "database is locked")


class TestUnread:
    async def test_results_stay(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where the journal cannot be read at the end, earlier results stay, and it is said why."""
        file = desk.write(3, accounts=[GOOD])
        assert 0 == await started(desk, file)
        before = (desk.folder / "results.csv").read_bytes()
        header, *rows = file.read_text().splitlines()
        file.write_text("\n".join([header, rows[0].replace("po-0", "slow"), *rows]))
        desk.sandbox.gateway.validation = 1e6
        capsys.readouterr()

        run = started(desk, file, concurrency=1)
        while "slow" not in desk.count(RequestKind.CHECK):
            await asyncio.sleep(0.01)
        monkeypatch.setattr(links, "stands", locked)
        run.cancel()

        assert 2 == await run
        assert before == (desk.folder / "results.csv").read_bytes()
        out, error = capsys.readouterr()
        assert "unfinished" not in out + error
        assert "results.csv: left as it is, since where the payouts stand is unknown" in error
        assert "database is locked" in error

    async def test_links_wait(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """While the journal cannot be read, a link takes no earlier result back."""
        file = desk.write(2, accounts=[REDIRECT, GOOD])
        asked, stands = list[str](), links.stands

        async def held(payouts: object, request: PayoutRequest) -> Outcome:
            asked.append(request.client_orderid)
            if len(asked) == 1:
                return await locked()
            return await stands(payouts, request)  # type: ignore[arg-type] # handed on

        monkeypatch.setattr(links, "stands", held)
        monkeypatch.setattr(links, "_BETWEEN_RESULTS", 0.01)
        run = started(desk, file)
        while not (desk.folder / "results.csv").exists():
            assert not run.done()
            await asyncio.sleep(0.01)
        assert "awaiting-receiver" == desk.results()["po-0"]["status"]
        run.cancel()
        assert 2 == await run
        assert len(asked) > 1
