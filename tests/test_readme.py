"""The README shows only what works: its examples run, its commands are those that are checked."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import manual
import pytest

from billblend_async.batch.parser import read_batch
from billblend_async.cli.main import _parser
from billblend_async.core.models import Polling
from billblend_async.core.request import PayoutRequest
from billblend_async.orchestrator.orchestrator import Orchestrator
from billblend_async.sandbox import Sandbox

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")


def block(marker: str, page: Path = README) -> str:
    """Cut out the code block that follows a marker."""
    return manual.block(marker, page)


def example(name: str) -> dict[str, Any]:
    """Run an example's definitions."""
    names: dict[str, Any] = {}
    exec(compile(block(f"example: {name}"), f"README.md, {name}", "exec"), names)
    return names


async def test_embedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedding example pays a payout against a gateway over HTTP."""
    monkeypatch.chdir(tmp_path)
    eager = Polling(shortest=0.05, longest=0.1)
    monkeypatch.setattr(
        "billblend_async.Orchestrator",
        lambda client, journal: Orchestrator(client, journal, polling=eager),
    )
    async with Sandbox(validation=0.05, processing=0.05) as sandbox:
        await example("embed")["pay"](
            sandbox.login, sandbox.private_key, sandbox.merchant_control, sandbox.base_url
        )

        assert 1 == sandbox.gateway.paid("po-1")
    assert "approved 6982864\n" == capsys.readouterr().out


def test_many(capsys: pytest.CaptureFixture[str]) -> None:
    """The example for many payouts runs over whatever run_many yields."""

    class Told:
        """An orchestrator whose payouts all need a person."""

        async def run_many(self, requests: list[PayoutRequest], *, concurrency: int) -> Any:
            assert concurrency == 1000
            for request in requests:
                yield type("Outcome", (), {**_named(request), "needs_person": True})

    request = PayoutRequest(client_orderid="po-1", amount=Decimal(1), currency="USD")
    asyncio.run(example("many")["pay_all"](Told(), [request]))

    assert "po-1 look here\n" == capsys.readouterr().out


def _named(request: PayoutRequest) -> dict[str, str]:
    return {"client_orderid": request.client_orderid, "explanation": "look here"}


def test_payouts_file(tmp_path: Path) -> None:
    """The README's payouts file is a good one."""
    file = tmp_path / "payouts.csv"
    file.write_text(block("file: payouts.csv"))

    assert ["po-1", "po-2"] == [row.request.client_orderid for row in read_batch(file).rows]


def test_commands_exist() -> None:
    """Every billblend command line of the README is one that the parser takes."""
    words = "pay|status|attention|approve|withdraw|journal|report|watch|listen|sandbox|demo"
    pattern = rf"(?:^|`|&& \S*/)billblend ((?:{words})[^`\n]*)"
    lines = re.findall(pattern, TEXT, re.MULTILINE)

    assert len(lines) >= 6
    for line in lines:
        assert _parser().parse_args(shlex.split(line)).run


def test_ci_runs_the_same_commands() -> None:
    """The README holds exactly the two commands that the checks run."""
    commands = re.findall(
        r"^python3 .*$", block("commands") + TEXT.split("<!-- commands -->")[1], re.MULTILINE
    )

    assert len(set(commands)) == 2


def test_soak() -> None:
    """The simulation's command runs as CONTRIBUTING.md shows it, if not for as long."""
    command = block("soak", README.with_name("CONTRIBUTING.md")).strip()
    arguments = shlex.split(
        command.removeprefix("cd tests && ../.venv/bin/python ").replace("600", "1")
    )
    done = subprocess.run(
        [sys.executable, *arguments, "--workers", "1"],
        cwd=README.parent / "tests",
        env={**os.environ, "PYTHONPATH": str(README.parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert "seeds" in done.stdout
