"""The house stands: imports point inward, one foreign package lives in one file."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import billblend_async

PACKAGE = Path(billblend_async.__file__).parent
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Each room and the rooms that it may import from; every room may import errors.
VALUES = {"currencies", "parameters", "request", "answers", "models"}
MACHINE = {"events", "findings", "history", "payout", "commands", "transitions", "news", "machine"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "currencies": set(),
    "parameters": {"currencies"},
    "answers": set(),
    "request": {"parameters"},
    "models": {"answers"},
    "events": VALUES,
    "legibility": set(),
    "findings": VALUES | {"events", "legibility"},
    "history": VALUES | {"events", "legibility"},
    "payout": VALUES | {"events", "findings", "history"},
    "commands": VALUES | {"payout"},
    "news": VALUES | {"events", "payout", "commands"},
    "machine": VALUES | MACHINE,
    "diagram": {"transitions", "models"},
    "transitions": {"events", "models"},
    "polling": {"commands"},
    "observer": {"events", "payout"},
    "logs": {"events", "payout"},
    "monitor": VALUES | MACHINE | {"observer", "logs"},
    "otel": VALUES | {"events", "payout", "observer"},
    "wire": VALUES,
    "keys": set(),
    "signing": {"keys"},
    "departure": set(),
    "exchange": {"departure"},
    "authorizer": {"keys", "signing"},
    "transport": {"keys", "signing", "authorizer", "departure", "exchange"},
    "lane": {"departure", "exchange", "logs"},
    "express": {"authorizer", "departure", "exchange"},
    "lanes": {"authorizer", "exchange", "keys", "lane", "transport", "express", "wire"},
    "callbacks": {"answers", "signing", "wire"},
    "replies": {"answers", "exchange", "wire"},
    "client": VALUES
    | {"wire", "keys", "signing", "callbacks", "departure", "exchange", "transport", "lanes"}
    | {"replies"},
    "journal": VALUES | MACHINE,
    "breaker": {"answers", "logs"},
    "feed": {"callbacks", "events", "models"},
    "questions": set(),
    "alarms": set(),
    "steps": {"models"},
    "redirects": {"models", "logs"},
    "means": VALUES
    | MACHINE
    | {"polling", "journal", "breaker", "callbacks", "feed", "redirects"}
    | {"observer", "logs", "monitor", "questions", "alarms"},
    "timing": VALUES | MACHINE | {"alarms", "polling", "questions"},
    "driver": VALUES | MACHINE | {"means", "objections", "steps", "timing", "logs"},
    "crew": {"commands", "driver", "means", "payout", "timing"},
    "delivery": VALUES | MACHINE | {"callbacks", "crew", "driver", "feed", "timing", "logs"},
    "admission": VALUES | MACHINE | {"means", "crew", "driver"},
    "objections": VALUES | MACHINE | {"legibility"},
    "oversight": VALUES | MACHINE | {"means", "crew", "objections"},
    "concurrency": set(),
    "repeating": set(),
    "guidance": set(),
    "orchestrator": VALUES
    | MACHINE
    | {"polling", "journal", "means", "driver", "crew", "concurrency"}
    | {
        "admission",
        "callbacks",
        "delivery",
        "feed",
        "oversight",
        "redirects",
        "repeating",
        "steps",
    },
    "engines": VALUES | {"callbacks", "delivery", "logs", "orchestrator", "steps"},
    "endpoint": {"callbacks", "delivery", "logs"},
    "extras": set(),
    "places": {"journal", "payout"},
    "founding": {"journal", "places"},
    "settings": {"models", "keys", "places"},
    "cells": {"parameters"},
    "workbook": {"cells"},
    "sheets": {"request", "cells", "workbook"},
    "formulas": set(),
    "notation": set(),
    "batch": VALUES | {"cells", "formulas", "notation", "sheets", "workbook"},
    "intake": {"batch"},
    "remarks": {"batch", "currencies"},
    "replacement": set(),
    "results": VALUES
    | {"batch", "cells", "formulas", "replacement", "sheets", "standing", "workbook"},
    "likeness": {"batch"},
    "limits": VALUES | {"batch", "notation", "payout"},
    "survey": VALUES
    | {"batch", "console", "journal", "likeness", "limits", "notation", "payout", "places"}
    | {"settings"},
    "preflight": VALUES
    | {"batch", "console", "intake", "limits", "notation", "places", "remarks", "results"}
    | {"settings", "survey"},
    "report": VALUES | {"events", "history", "legibility", "notation", "standing"},
    "timeline": set(),
    "remedies": VALUES | {"legibility", "standing"},
    "standing": VALUES | {"batch", "events", "findings", "payout"},
    "summary": VALUES | {"batch", "standing", "timeline"},
    "reporting": VALUES
    | {"batch", "console", "events", "formulas", "history", "intake", "journal", "legibility"}
    | {"places", "remedies", "replacement", "server"}
    | {"standing", "summary", "timeline"},
    "server": set(),
    "listening": {"callbacks", "console", "desk", "endpoint", "places", "server", "settings"},
    "sandbox": VALUES | {"console", "wire", "keys", "signing", "server"},
    "demo": {"batch", "console", "options", "payroll", "places", "polling", "settings"},
    "inquiry": VALUES | {"console", "desk", "places", "report", "settings"},
    "desk": {"settings", "models", "places", "polling", "client", "means", "orchestrator"}
    | {"redirects"},
    "console": set(),
    "snapshot": set(),
    "uncertainty": VALUES | {"payout"},
    "tally": VALUES | {"events", "payout", "observer", "snapshot", "uncertainty"},
    "ending": {"console"},
    "lines": VALUES | {"batch", "console", "legibility", "notation", "snapshot", "standing"},
    "screen": VALUES | {"batch", "lines", "notation", "snapshot"},
    "live": VALUES
    | {"batch", "client", "console", "ending", "lines", "notation", "orchestrator", "screen"}
    | {"snapshot", "tally"},
    "links": VALUES | {"batch", "orchestrator", "payout", "results"},
    "options": {"models", "polling"},
    "payday": {"ending", "lines", "models", "options", "payroll", "places", "polling"}
    | {"preflight", "results", "settings"},
    "payroll": {"batch", "console", "desk", "models", "orchestrator", "places", "polling"}
    | {"notation", "replacement", "report", "results", "settings"}
    | {"ending", "links", "live", "screen", "tally"},
    "entrance": {"cli"},
    "builder": {"intake", "models", "parameters", "request", "settings", "signing", "wire"},
    "doctor": {"answers", "client", "console", "exchange", "journal", "keys", "models", "settings"}
    | {"places", "transport"},
    "declarations": {"desk", "founding", "places", "settings"},
    "takeover": {"engines", "places"},
    "acknowledgements": VALUES
    | {"notation", "batch", "console", "desk", "legibility", "limits", "preflight", "settings"},
    "decisions": {
        "acknowledgements",
        "batch",
        "concurrency",
        "console",
        "desk",
        "models",
        "settings",
        "report",
    }
    | {
        "intake",
        "limits",
        "notation",
        "options",
        "orchestrator",
        "payday",
        "payroll",
        "places",
        "polling",
        "preflight",
        "remarks",
        "request",
        "survey",
    }
    | {"ending", "links", "tally"},
    "testing": VALUES | {"keys", "client", "journal", "orchestrator", "polling", "sandbox"},
    "cli": set(FILES),
    "__main__": {"entrance"},
    "__init__": set(FILES) | {"journal"},
}
PURE = (
    VALUES
    | MACHINE
    | {"observer", "logs", "objections"}
    | {"errors", "diagram", "legibility", "polling", "wire", "keys", "signing", "callbacks"}
    | {"batch", "cells", "sheets", "workbook", "results", "formulas", "likeness", "notation"}
    | {"remarks"}
    | {"remedies", "snapshot", "standing", "summary", "tally", "timeline", "uncertainty"}
)
PURE_SANDBOX = {  # the model of the gateway, without its server
    f"sandbox.{name}"
    for name in (
        *("books", "faults", "gateway", "notices", "orders"),
        *("pages", "replies", "scenarios", "wire"),
    )
}
PURE_REPORTING = {  # what is shown, without where it comes from and goes to
    f"reporting.{name}"
    for name in (
        *("words", "tables", "charts", "pieces", "parts", "people", "page", "sheet"),
        "verdicts",
    )
}
IMPURE = {"time", "random", "secrets", "uuid", "asyncio", "logging", "threading", "socket", "httpx"}
HOMES = {
    "httpx": {"transport", "sandbox.postman"},  # the postman plays the gateway's own sending side
    "aiohttp": {"express"},
    "yarl": {"express"},  # aiohttp's URLs
    "cryptography": {"keys"},
    "tenacity": {"orchestrator", "repeating"},
    "opentelemetry": {"otel"},
    "rich": {"report", "screen", "inquiry", "decisions", "reporting.terminal", "reporting.command"},
    "pytest": {"testing"},
    "starlette": {"sandbox.app", "sandbox.site", "sandbox.messages"},
    "uvicorn": {"server"},
    "sqlite3": {"journal"},
    "psycopg": {"journal.connections"},
    "openpyxl": {"workbook"},
    "dbos": {"engines"},
}


def room(module: str) -> str:
    """Name the room of a module: the journal and the sandbox are one room each."""
    return module.partition(".")[0] if module else "__init__"


def imports(module: str) -> Iterator[str]:
    """List what a module imports, our own as ``billblend_async.x``."""
    is_package = FILES[module].name == "__init__.py"
    here = ["billblend_async", *(module.split(".") if module not in ("", "__init__") else [])]
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.ImportFrom):
            up = node.level - (1 if is_package else 0)
            base = here[: len(here) - up]
            yield from (
                ".".join([*base, node.module] if node.module else [*base, alias.name])
                for alias in node.names
            )


def own(module: str) -> set[str]:
    """The rooms of our own that a module imports from."""
    found = set()
    for name in imports(module):
        if name.startswith("billblend_async."):
            found.add(room(name.removeprefix("billblend_async.")))
    return found - {"__version__"}


@pytest.mark.parametrize("module", FILES)
def test_arrows(module: str) -> None:
    """No module imports from a room that it may not know."""
    allowed = ARROWS[room(module)] | {"errors", room(module)}

    assert set() == own(module) - allowed


@pytest.mark.parametrize(
    "module",
    [name for name in FILES if room(name) in PURE or name in PURE_SANDBOX | PURE_REPORTING],
)
def test_pure_ring(module: str) -> None:
    """The pure ring knows no clock, no chance, no network and no event loop."""
    tops = {name.partition(".")[0] for name in imports(module)}

    assert set() == tops & IMPURE
    source = FILES[module].read_text(encoding="utf-8")
    assert "datetime.now" not in source
    assert "async def" not in source


def test_machine_needs_only_attrs() -> None:
    """The machine and all that it imports need nothing but the standard library and attrs."""
    seen, todo = set(), {"machine"}
    while todo:
        module = todo.pop()
        seen.add(module)
        todo |= {name for name in own(module) if name != "errors"} - seen
    foreign = {
        top
        for module in {*seen, "errors"}
        for name in imports(module)
        if (top := name.partition(".")[0]) not in {*sys.stdlib_module_names, "billblend_async"}
    }

    assert {"attrs"} == foreign
    assert MACHINE <= seen


def test_one_package_one_home() -> None:
    """Each foreign package is imported by one file, so that changing it is editing one file."""
    homes = defaultdict(set)
    for module in FILES:
        for name in imports(module):
            homes[name.partition(".")[0]].add(module)

    for package, rooms in HOMES.items():
        strays = {m for m in homes[package] if m not in rooms and room(m) not in rooms}
        assert set() == strays, package
    known = {*sys.stdlib_module_names, "billblend_async", "attrs", "h11", *HOMES}
    assert set() == set(homes) - known


@pytest.mark.parametrize(
    "example", sorted(PACKAGE.parent.glob("examples/*.py")), ids=lambda path: path.stem
)
def test_examples_use_public_names(example: Path) -> None:
    """An example takes from us what anybody may take, and no more."""
    taken = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(example.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("billblend_async")
        for alias in node.names
    }
    public = {("billblend_async", name) for name in billblend_async.__all__}
    # Two doors of their own: the settings of a program, and the gateway of its tests.
    beside = {
        ("billblend_async.settings", "read_settings"),
        ("billblend_async.testing", "RunningSandbox"),
    }

    assert taken - beside
    assert set() == taken - public - beside
    assert "import billblend_async" not in example.read_text(encoding="utf-8")


def test_sandbox_never_meets_the_client() -> None:
    """The sandbox plays the other side and shares no code that sends."""
    for module in FILES:
        if room(module) == "sandbox":
            assert set() == own(module) & {"client", "driver", "orchestrator", "transport"}
