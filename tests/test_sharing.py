"""Worker processes share payouts over one PostgreSQL while they and it are killed."""

import asyncio
from pathlib import Path

import pytest
import sharing

from benchmarks.postgres import MISSING, find_programs, is_needed


@pytest.mark.skipif(find_programs() is None and not is_needed(), reason=MISSING)
@pytest.mark.parametrize("engine", ["plain", "dbos"])
def test_nobody_is_paid_twice_whoever_dies(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Workers are killed and frozen, PostgreSQL is restarted, and each payout is paid once."""
    numbers = {"payouts": 60, "every": 2, "bank": 3, "poll": 1, "doubt": 5}
    trouble = {"freeze": 6, "restarts": 2, "seed": 5, "engine": engine}
    words = [f"--{name}={value}" for name, value in {**numbers, **trouble}.items()]
    options = sharing.read_options([*words, "--leave-doubts"])
    status = asyncio.run(sharing.run(options, tmp_path))
    told = capsys.readouterr().out
    assert status == 0, told
    assert "paid twice: 0" in told
    assert "2 restarts" in told
