"""The README shows only what works: its examples run, its diagram is drawn from the machine."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desk import open_desk
from fakes import FakeClient
from hosts import open_host

from billblend_async.batch import read_batch
from billblend_async.cli import _parser
from billblend_async.client import Client
from billblend_async.diagram import diagram
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.keys import Credentials
from billblend_async.models import State
from billblend_async.orchestrator import Orchestrator
from billblend_async.polling import Polling
from billblend_async.request import PayoutRequest
from billblend_async.sandbox import Sandbox

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")


def block(marker: str) -> str:
    """Cut out the code block that follows a marker."""
    match = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)```", TEXT, re.DOTALL)
    assert match, f"README.md has no block {marker}"
    return match[1]


def example(name: str) -> dict[str, Any]:
    """Run an example's definitions."""
    names: dict[str, Any] = {}
    exec(compile(block(f"example: {name}"), f"README.md, {name}", "exec"), names)
    return names


def test_diagram_is_current() -> None:
    """The README's diagram is the one that the machine draws."""
    assert diagram() + "\n" == block("diagram")


async def test_fast() -> None:
    """The faster way of the README pays a payout too."""
    async with Sandbox(validation=0.05, processing=0.05) as sandbox:
        credentials = Credentials(
            sandbox.login, sandbox.private_key, merchant_control=sandbox.merchant_control
        )
        example("fast")["make_client"](credentials)  # as it stands there, for another endpoint
        async with (
            Client(
                credentials,
                endpoint_id=sandbox.endpoint_id,
                base_url=sandbox.base_url,
                poll_transport="aiohttp",
            ) as client,
            Orchestrator(
                client, SqliteJournal(":memory:"), polling=Polling(shortest=0.05, longest=0.1)
            ) as payouts,
        ):
            outcome = await payouts.run(
                PayoutRequest(
                    client_orderid="po-1",
                    amount=Decimal(10),
                    currency="USD",
                    account_number="1234567890",
                )
            )

    assert outcome.is_approved


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


async def test_service(tmp_path: Path) -> None:
    """The service of the README pays over HTTP and takes the gateway's callback in."""
    (tmp_path / "service.py").write_text(block("example: service"), encoding="utf-8")
    words = ("-m", "uvicorn", "--app-dir", str(tmp_path), "--no-access-log", "--port", "{port}")
    async with open_desk(tmp_path) as desk, open_host(desk, *words, "service:app") as host:
        assert 202 == (await host.pay("po-1", "1234567890")).status_code
        await host.told("po-1", status="approved")
        await host.until(lambda: desk.sandbox.deliveries[0].is_delivered, "the callback")
        await host.end()
        assert 1 == desk.sandbox.gateway.paid("po-1")


def test_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example that watches payouts makes an orchestrator with both observers."""
    monkeypatch.chdir(tmp_path)
    names = example("watch")
    told = type("Payout", (), {"state": State.ATTENTION, "client_orderid": "po-1", "doubt": None})
    names["Pager"]().changed(told, None)

    assert isinstance(names["watched"](FakeClient()), Orchestrator)


def test_tested_service(tmp_path: Path) -> None:
    """The test of a service in the README passes in a pytest of its own."""
    (tmp_path / "test_service.py").write_text(block("example: testing"), encoding="utf-8")
    # Which client its own test client prefers is the web framework's business.
    words = ["-m", "pytest", "-q", "-p", "billblend_async.testing", "-W", "ignore"]
    environ = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(README.parent),
    }
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout
    assert "1 passed" in done.stdout


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
    """The simulation's command runs as the README shows it, if not for as long."""
    command = block("soak").strip().removeprefix("cd tests && ../.venv/bin/python ")
    arguments = shlex.split(command.replace("600", "1"))
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
