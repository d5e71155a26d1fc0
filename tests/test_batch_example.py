"""The batch example runs a file, and again."""

from pathlib import Path

from desk import Desk, open_desk
from hosts import EXAMPLES

SCRIPT = str(EXAMPLES / "batch.py")


async def test_batch(tmp_path: Path) -> None:
    """The script pays a file once, however often it runs, and names what needs a person."""
    async with open_desk(tmp_path) as desk:
        desk.write(6)
        first, again = [await run(desk) for _ in range(2)]

        assert first == again
        assert "{'approved': 2, 'declined': 2, 'error': 2}" == first[-1]
        assert ["po-2", "po-5"] == [line.split()[0] for line in first[:-1]]
        assert all("needs a person: " in line for line in first[:-1])
        assert ["po-0", "po-3"] == sorted(e.client_orderid for e in desk.sandbox.gateway.ledger)


async def test_bad_file(tmp_path: Path) -> None:
    """A wrong row stops the script before anything is sent, without its value."""
    async with open_desk(tmp_path) as desk:
        (tmp_path / "payouts.csv").write_text("client_orderid,amount,currency\npo-1,ten,EUR\n")
        process = await desk.start("payouts.csv", program=(SCRIPT,))
        _, error = await process.communicate()

        assert 1 == process.returncode
        assert b"amount" in error
        assert b"ten" not in error
        assert b"Traceback" not in error
        assert [] == desk.sandbox.gateway.requests


async def run(desk: Desk) -> list[str]:
    """Run the script to its end; its lines are sorted, since rows end in any order."""
    process = await desk.start("payouts.csv", program=(SCRIPT,))
    out, error = await process.communicate()
    assert (0, b"") == (process.returncode, error)
    *lines, counts = out.decode().splitlines()
    return [*sorted(lines), counts]
