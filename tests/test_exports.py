"""The public door: complete, sorted, lazy, typed."""

import re
import subprocess
import sys
from importlib import metadata, resources

import pytest

import billblend_async

CALLED = "from billblend_async.cli.main import load; load("


def test_all_is_sorted() -> None:
    """The public names are sorted and none is there twice."""
    assert sorted(set(billblend_async.__all__)) == billblend_async.__all__


@pytest.mark.parametrize("name", billblend_async.__all__)
def test_every_door_opens(name: str) -> None:
    """Every public name can be imported from the package."""
    assert getattr(billblend_async, name).__name__ or name


def test_doors_are_all_listed() -> None:
    """What can be opened is public, and what is public can be opened."""
    assert sorted(billblend_async._DOORS) == billblend_async.__all__
    assert set(billblend_async.__all__) <= set(dir(billblend_async))


def test_unknown_name() -> None:
    """A name that is not there is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = billblend_async.nothing_here


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [
        ("psycopg", "PostgresJournal", "postgres"),
    ],
)
def test_extras(package: str, name: str, extra: str) -> None:
    """A name whose extra is not installed says which one brings it."""
    probe = f"import sys; sys.modules[{package!r}] = None; from billblend_async import {name}"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False, timeout=60
    )

    told = f"{package} is missing; install it with: pip install 'billblend-async[{extra}]'"
    assert done.stderr.strip().endswith(f"ModuleNotFoundError: {name}: {told}")


def test_core_needs_no_extra() -> None:
    """What the core requires holds no database driver and no engine."""
    needed = [
        re.split(r"[ ;<>=\[]", each, maxsplit=1)[0]
        for each in metadata.requires("billblend-async") or []
        if "extra ==" not in each
    ]
    assert ["attrs", "cryptography", "httpx", "tenacity"] == sorted(needed)


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import billblend_async", ["httpx", "cryptography", "tenacity", "attrs", "asyncio"]),
        ("import billblend_async.core.machine", ["httpx", "cryptography", "tenacity", "asyncio"]),
        (
            "import billblend_async.cli.main",
            ["asyncio", "cryptography", "httpx", "rich", "uvicorn", "psycopg", "dbos"],
        ),
        (f"{CALLED}['--help'])", ["billblend_async.batch.parser", "billblend_async.sandbox"]),
        (f"{CALLED}['pay', 'a.csv'])", ["asyncio", "httpx", "rich", "sqlite3"]),
        (f"{CALLED}['report'])", ["asyncio", "cryptography", "rich", "billblend_async.cli.run"]),
        ("import billblend_async.sandbox", ["httpx", "starlette", "uvicorn"]),
    ],
)
def test_imports_stay_light(statement: str, unwanted: list[str]) -> None:
    """Importing a part does not import what it does not need."""
    probe = f"{statement}; import sys; print([n for n in {unwanted!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )

    assert "[]" == done.stdout.strip()


def test_is_typed() -> None:
    """The package tells type checkers that it is typed."""
    assert resources.files(billblend_async).joinpath("py.typed").is_file()
