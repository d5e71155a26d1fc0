"""Ids that a spreadsheet makes of each other are told from those that are two."""

from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path

import pytest
from desk import Desk, open_desk

from billblend_async.batch.parser import Batch, read_batch
from billblend_async.batch.preflight import find_similar, shapes
from billblend_async.gateway.wire import RequestKind

HEADER = "client_orderid,amount,currency,account_number"
FAST = ("--poll", "0.1:0.2")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk."""
    async with open_desk(tmp_path) as desk:
        yield desk


def batch_of(folder: Path, *ids: str) -> Batch:
    """Read a file with these ids."""
    rows = [f"{name},5,EUR,1234567890" for name in ids]
    (folder / "payouts.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    return read_batch(folder / "payouts.csv")


def similar(batch: Batch, *held: str) -> list[str]:
    """Name the problems of a batch, each up to the advice."""
    return [str(problem).partition(" only in ")[0] for problem in find_similar(batch, held, held)]


class TestShapes:
    @pytest.mark.parametrize(
        "alike",
        [
            ("po-1", "PO-1", "Po-01", "po-0001"),
            ("12", "0012", "00012", "1 2", "\uff11\uff12"),
            ("0", "00", "000"),
            ("a 1", "a1", "a  1", "a\u30001"),
            ("1 01", "1 1"),
            ("1 01", "101"),
            ("po-1", "po\u20101", "po\u20111", "po\u20131", "po\u22121", "po\uff0d1", "\uff30o-1"),
            ("stra\xdfe", "STRASSE", "Strasse"),
            ("\xe9t\xe9", "\xc9T\xc9", "e\u0301te\u0301"),
        ],
    )
    def test_alike(self, alike: tuple[str, ...]) -> None:
        """What differs in case, width, spaces, hyphens or leading zeros looks like one id."""
        first, *others = alike
        assert all(set(shapes(first)) & set(shapes(other)) for other in others)

    def test_not_alike(self) -> None:
        """Ids that people tell apart stay apart: digits, letters, accents, and zeros behind."""
        ids = ("po-1", "po-10", "po-100", "po1", "po_1", "p0-1", "1-po", "pó-1", "po-11", "po-1.0")
        for one, other in combinations(ids, 2):
            assert not set(shapes(one)) & set(shapes(other)), (one, other)


class TestFile:
    def test_rows(self, tmp_path: Path) -> None:
        """Of rows that look alike each later one is named, with the line of the first."""
        batch = batch_of(tmp_path, "po-1", "po-2", "PO-1", "po-01", "po-3")

        first = "differs from po-1 on line 2"
        named = [f"line 4, client_orderid: PO-1 {first}", f"line 5, client_orderid: po-01 {first}"]
        assert named == similar(batch)

    def test_journal(self, tmp_path: Path) -> None:
        """A new id is held against the journal; one that the journal has goes on as it did."""
        batch = batch_of(tmp_path, "12", "po-1", "po-01")

        wrong = "line 2, client_orderid: 12 differs from 0012 in the journal"
        assert [wrong] == similar(batch, "0012", "po-1", "po-01", "po-001")

    async def test_command(self, desk: Desk) -> None:
        """The zeros that a spreadsheet has dropped pay nobody twice, unless two ids are meant."""
        file = desk.write(1, accounts=["1234567890"], prefix="001")
        assert 0 == (await desk.pay(file, *FAST))[0]
        file.write_text(file.read_text().replace("\n0010,", "\n10,"))
        for more in ((), ("--dry-run",)):
            status, _, error = await desk.pay(file, *more, *FAST)
            assert 3 == status
            assert "line 2, client_orderid: 10 differs from 0010 in the journal only" in error
            assert "both would be paid; use one id for one payout, or add --similar-ids" in error
        assert {"0010": 1} == desk.count(RequestKind.PAY)

        # Its results stand in the way of nobody, and once it is paid nobody is asked again.
        assert 0 == (await desk.pay(file, "--similar-ids", *FAST))[0]
        assert 0 == (await desk.pay(file, *FAST))[0]
        assert {"0010": 1, "10": 1} == desk.count(RequestKind.PAY)
