"""The documentation shows only what works: what can be run is run, the rest is held to the code.

A comment right before a block says what becomes of it:

- ``run``: it is run, Python as a program and shell lines by bash, with the settings of a sandbox;
  ``run: 1`` expects that exit status. The blocks of a page are run in their order in one folder.
- ``output``: what the block before it prints.
- ``file: NAME``: a file in that folder.
- ``test``: a file of tests that passes in a pytest of its own.
- ``example: NAME``: a test of that name runs it, below or in test_readme.py.
- ``fragment``: it belongs into a program that is not shown; it parses, and its imports exist.

A block of Python has one of these. A shell block without any is read by the real parser.
"""

import ast
import asyncio
import importlib
import os
import re
import shlex
import sys
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from command_words import below, walk
from desk import Desk, ended, open_desk
from fakes import FakeClient
from hosts import open_host
from manual import DOCS, PAGES, PAPERS, ROOT, Block, anchors, block, blocks, links, prose, spoken

import billblend_async
from billblend_async.cli.main import _parser
from billblend_async.core.models import Alarm, Doubt, Polling, State
from billblend_async.core.request import PayoutRequest
from billblend_async.gateway.client import Client
from billblend_async.gateway.credentials import Credentials
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.orchestrator.orchestrator import Orchestrator
from billblend_async.sandbox import Sandbox

PATIENCE = 120
"""Seconds after which a block that was run will not come to its end."""
EAGER = """
from billblend_async.core.models import Polling
Polling.__init__.__kwdefaults__.update(shortest=0.05, longest=0.1)
"""
"""What every Python of a page runs first: a gateway that is so quick is worth asking often."""
KINDS = ("run", "test", "example", "fragment")
PYTHON = [each for page in PAGES for each in blocks(page) if each.language == "python"]
SHELL = [each for page in (*PAGES, *PAPERS) for each in blocks(page) if each.language == "sh"]
PLAYED = [page for page in PAGES if any(each.kind in ("run", "test") for each in blocks(page))]


def place(thing: object) -> str:
    """Name a page or a block in the list of tests."""
    return str(thing.relative_to(ROOT)) if isinstance(thing, Path) else str(thing)


@pytest.mark.parametrize("page", PLAYED, ids=place)
async def test_page_can_be_played(page: Path, tmp_path: Path) -> None:
    """Whoever types a page from its top to its bottom sees what it says."""
    async with open_desk(tmp_path, validation=0.05, processing=0.05) as desk:
        furnish(desk)
        said = ""
        for each in blocks(page):
            if each.kind == "file":
                (tmp_path / each.name).write_text(each.text, encoding="utf-8")
            elif each.kind in ("run", "test"):
                said = await play(desk, each)
            elif each.kind == "output":
                assert [line.rstrip() for line in said.splitlines()] == each.text.splitlines()


def furnish(desk: Desk) -> None:
    """Put on a desk what a reader has: the command, and a gateway that answers at once."""
    (desk.folder / "bin").mkdir()
    command = desk.folder / "bin" / "billblend"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m billblend_async "$@"\n')
    command.chmod(0o755)
    (desk.folder / "bin" / "sitecustomize.py").write_text(EAGER, encoding="utf-8")
    desk.environ["PATH"] = f"{command.parent}{os.pathsep}{desk.environ['PATH']}"
    desk.environ["PYTHONPATH"] += f"{os.pathsep}{command.parent}"


async def play(desk: Desk, each: Block) -> str:
    """Run a block to its end and give what it has printed."""
    program = desk.folder / f"test_{each.line}.py"
    # What a reader kills in the middle would have ended by then at a gateway that is so quick.
    program.write_text(each.text.replace("\nsleep 3\n", "\nsleep 0.7\n"), encoding="utf-8")
    words: tuple[object, ...] = ("bash", "-eu", program)
    if each.language == "python":
        words = (sys.executable, program)
    if each.kind == "test":
        # Which client a web framework's own test client prefers is not our business: no warnings.
        plugins = ("-p", "billblend_async.testing", "-p", "pytest_asyncio.plugin")
        config = ("-W", "ignore", "-o", "asyncio_mode=auto")
        words = (sys.executable, "-m", "pytest", "-q", *plugins, *config, program)
        desk.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    process = await desk.spawn(*words)
    status, out, error = await asyncio.wait_for(ended(process), PATIENCE)
    assert int(each.name or 0) == status, f"{each}: {out}\n{error}"
    assert "Traceback" not in error, f"{each}: {error}"
    return out


@pytest.mark.parametrize("each", PYTHON, ids=place)
def test_python_has_a_marker(each: Block) -> None:
    """Each block of Python says how it is held to the code, and parses."""
    assert each.kind in KINDS
    for node in ast.walk(ast.parse(each.text)):
        if isinstance(node, ast.ImportFrom):
            module = load(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name) or load(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            assert all(load(alias.name) for alias in node.names)


def load(module: str) -> Any:
    """Import a module; what others warn of while they are imported is their business."""
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(module)


def test_examples_have_tests() -> None:
    """Each named example of the pages is run by a test of this file."""
    named = {each.name for each in PYTHON if each.kind == "example"}
    source = Path(__file__).read_text(encoding="utf-8")

    assert {"fast", "service", "watch"} == named
    assert set() == {name for name in named if f'"example: {name}"' not in source}


@pytest.mark.parametrize("each", SHELL, ids=place)
def test_command_lines_parse(each: Block) -> None:
    """Each line that calls the command is one that its parser takes, with settings that exist."""
    for line in spoken(each.text, "billblend"):
        words = shlex.split(line)
        if words not in (["--version"], ["--help"]):
            assert _parser().parse_args(words).run
    assert set() == set(re.findall(r"\bBILLBLEND_\w+", each.text)) - SETTINGS


SETTINGS = {
    *re.findall(r"\bBILLBLEND_\w+", _parser().format_help()),
    *("BILLBLEND_NEED_BROWSER", "BILLBLEND_TRACEBACK"),
}
"""What the command reads, and what is read beside its settings."""


@pytest.mark.parametrize("page", [*PAGES, *PAPERS], ids=place)
def test_words_of_commands_exist(page: Path) -> None:
    """Each command, option and setting that the prose names is one of the command's."""
    for line in re.findall(r"`billblend ([^`]+)`", prose(page)):
        options = {word for word in line.split() if word.startswith("--")}
        assert set() == options - options_of(line.split()), line
    named = set(re.findall(r"`(BILLBLEND_\w+)", prose(page)))
    assert set() == named - SETTINGS


def options_of(words: list[str]) -> set[str]:
    """Give the options that the command has to which words lead, and those of all below it."""
    parser = _parser()
    assert words[0].startswith("-") or words[0] in below(parser), words
    for word in words:
        parser = below(parser).get(word, parser)
    return {
        name for each in walk(parser) for action in each._actions for name in action.option_strings
    }


@pytest.mark.parametrize("page", [*PAGES, *PAPERS], ids=place)
def test_links(page: Path) -> None:
    """Each link to a file of ours leads to one, and to a heading that is there."""
    for link in links(page):
        if re.match("[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page if not name else (page.parent / name).resolve()
        assert target.exists(), link
        # The headings of the commands are made when the site is, which finds a wrong one then.
        if anchor and target.name != "commands.md":
            assert anchor in anchors(target), link


def test_pages_need_no_network() -> None:
    """No page brings a picture, a script or a font from somewhere else."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert [] == re.findall(r"!\[[^\]]*\]\(https?:|<(?:script|img|iframe|link)\b", text), page


def test_public_names_are_described() -> None:
    """Each public name is described once, and nothing else is."""
    told = [
        name
        for page in PAGES
        for names in re.findall(
            r"<!-- generated: reference ([\w ]+) -->", page.read_text(encoding="utf-8")
        )
        for name in names.split()
    ]

    assert billblend_async.__all__ == sorted(told)


def test_handbook() -> None:
    """The handbook has a section for each doubt, with its own words, and for each alarm."""
    page = DOCS / "guide" / "attention.md"
    sections = dict(
        re.findall(r"^### (\S+)\n\n(.*?)(?=^##|\Z)", prose(page), re.DOTALL | re.MULTILINE)
    )

    for doubt in Doubt:
        assert sections[doubt].startswith(f"> {doubt.sentence}\n"), doubt
        for step in ("**What happened.**", "**Ask.**", "**Then.**"):
            assert step in sections[doubt], doubt
    assert set() == {alarm.value for alarm in Alarm} - set(sections)


def test_pages_are_reached() -> None:
    """Each page stands in the table of contents, and nothing stands there that is none."""
    listed = {
        line
        for each in blocks(DOCS / "index.md")
        if each.language == "{toctree}"
        for line in each.text.splitlines()
        if line and not line.startswith(":")
    }

    assert listed == {
        page.relative_to(DOCS).with_suffix("").as_posix()
        for page in PAGES
        if page.name != "index.md"
    }


async def test_service(tmp_path: Path) -> None:
    """The service of the guide pays over HTTP and takes the gateway's callback in."""
    text = block("example: service", DOCS / "guide" / "embed.md")
    (tmp_path / "service.py").write_text(text, encoding="utf-8")
    words = ("-m", "uvicorn", "--app-dir", str(tmp_path), "--no-access-log", "--port", "{port}")
    async with open_desk(tmp_path) as desk, open_host(desk, *words, "service:app") as host:
        assert 202 == (await host.pay("po-1", "1234567890")).status_code
        await host.told("po-1", status="approved")
        await host.until(lambda: desk.sandbox.deliveries[0].is_delivered, "the callback")
        await host.end()
        assert 1 == desk.sandbox.gateway.paid("po-1")


async def test_fast() -> None:
    """The faster way pays a payout too."""
    async with Sandbox(validation=0.05, processing=0.05) as sandbox:
        credentials = Credentials(
            sandbox.login, sandbox.private_key, merchant_control=sandbox.merchant_control
        )
        names = names_of(block("example: fast", DOCS / "guide" / "performance.md"))
        names["make_client"](credentials)  # as it stands there, for another endpoint
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


def test_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example that watches payouts makes an orchestrator with both observers."""
    monkeypatch.chdir(tmp_path)
    names = names_of(block("example: watch", DOCS / "guide" / "watching.md"))
    told = type("Payout", (), {"state": State.ATTENTION, "client_orderid": "po-1", "doubt": None})
    names["Pager"]().changed(told, None)

    assert isinstance(names["watched"](FakeClient()), Orchestrator)


def names_of(text: str) -> dict[str, Any]:
    """Run an example's definitions."""
    names: dict[str, Any] = {}
    exec(compile(text, "an example", "exec"), names)
    return names
