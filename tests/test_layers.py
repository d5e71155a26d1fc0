"""The house stands: packages import in one direction, and one foreign package lives in one file."""

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

CONTRACTS: dict[str, set[str]] = {
    "errors": set(),
    "core": set(),
    "server": set(),
    "gateway": {"core"},
    "journal": {"core"},
    "orchestrator": {"core", "journal"},
    "integrations": {"core", "orchestrator"},
    "reporting": {"core", "journal", "server"},
    "sandbox": {"core", "gateway", "server"},
    "batch": {"core", "gateway", "journal", "orchestrator", "reporting"},
    "testing": {"core", "gateway", "journal", "orchestrator", "sandbox"},
    "cli": {
        *("core", "server", "gateway", "journal", "orchestrator", "integrations", "reporting"),
        *("sandbox", "batch", "__version__", "advice"),
    },
    "__main__": {"cli"},
}
"""What each package may import besides errors and itself. A new package joins with its contract."""
SIDEWAYS = {
    ("batch.preflight", "cli"),
    ("gateway.client", "__version__"),
    ("integrations.otel", "__version__"),
}
"""Imports against the contracts that still have to go; nothing is added here."""
FLOORS = 8
PURE = {
    *("core", "errors"),
    *("gateway.wire", "gateway.credentials", "gateway.signing", "gateway.callbacks"),
    *("batch.parser", "batch.formats", "batch.results", "batch.progress"),
    *("reporting.projection", "reporting.summary", "reporting.html"),
    *("sandbox.faults", "sandbox.gateway", "sandbox.orders", "sandbox.wire"),
}
"""Packages and modules that know no clock, no chance, no network and no event loop."""
IMPURE = {"time", "random", "secrets", "uuid", "asyncio", "logging", "threading", "socket", "httpx"}
HOMES = {
    # The sandbox plays the gateway's own sending side.
    "httpx": {"gateway.httpx_transport", "sandbox.callbacks"},
    "aiohttp": {"gateway.aiohttp_transport"},
    "yarl": {"gateway.aiohttp_transport"},  # aiohttp's URLs
    "cryptography": {"gateway.credentials"},
    "tenacity": {"orchestrator.orchestrator", "orchestrator.polling"},
    "opentelemetry": {"integrations.otel"},
    "rich": {"reporting.terminal", "cli.display", "cli.review", "cli.report"},
    "pytest": {"testing"},
    "starlette": {"sandbox.app", "sandbox.web"},
    "uvicorn": {"server"},
    "sqlite3": {"journal"},
    "psycopg": {"journal.postgres_connection"},
    "openpyxl": {"batch.formats"},
    "dbos": {"integrations"},
}


def room(module: str) -> str:
    """Name the package of a module, or the module itself where it lies in the root."""
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
            for alias in node.names:
                name = ".".join([*base, *([node.module] if node.module else [])])
                below = f"{name}.{alias.name}"
                is_module = below.removeprefix("billblend_async.") in FILES or not node.module
                yield below if is_module else name


def own(module: str) -> set[str]:
    """List the modules of our own that a module imports."""
    names = {name.removeprefix("billblend_async.") for name in imports(module) if is_own(name)}
    return names - {module}


def is_own(name: str) -> bool:
    """Tell whether an import is one of our own modules."""
    return name.startswith("billblend_async.")


@pytest.mark.parametrize("module", [name for name in FILES if name not in ("", "__init__")])
def test_contracts(module: str) -> None:
    """A module imports from the packages that its own package may know, and from no other."""
    here = room(module)
    found = {room(name) for name in own(module)} - {here, "errors"} - CONTRACTS[here]

    assert {target for source, target in SIDEWAYS if source == module} == found


def test_floors() -> None:
    """The packages lie on few floors, without a cycle."""
    graph = {name: targets & set(CONTRACTS) for name, targets in CONTRACTS.items()}
    floors: dict[str, int] = {}
    while len(floors) < len(graph):
        ready = [name for name in graph if name not in floors and graph[name] <= set(floors)]
        assert ready, "a cycle"
        floors |= {
            name: 1 + max((floors[each] for each in graph[name]), default=0) for name in ready
        }

    assert max(floors.values()) <= FLOORS
    assert {room(name) for name in FILES if name not in ("", "__init__")} == set(CONTRACTS)


def is_pure(module: str) -> bool:
    """Tell whether a module belongs to what must stay pure."""
    return module in PURE or room(module) in PURE


@pytest.mark.parametrize("module", [name for name in FILES if is_pure(name)])
def test_pure_ring(module: str) -> None:
    """The pure modules know no clock, no chance, no network and no event loop."""
    tops = {name.partition(".")[0] for name in imports(module)}
    allowed = set[str]()

    assert set() == tops & (IMPURE - allowed)
    source = FILES[module].read_text(encoding="utf-8")
    assert "datetime.now" not in source
    assert "async def" not in source


def test_pure_names_are_there() -> None:
    """Every module that is listed as pure exists, so that none leaves the list by its name."""
    assert set() == PURE - set(FILES) - {room(name) for name in FILES}


def test_core_needs_only_attrs() -> None:
    """The core needs nothing but the standard library and attrs."""
    foreign = {
        top
        for module in FILES
        if room(module) in ("core", "errors")
        for name in imports(module)
        if (top := name.partition(".")[0]) not in {*sys.stdlib_module_names, "billblend_async"}
    }

    assert {"attrs"} == foreign


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
        ("billblend_async.gateway.settings", "read_settings"),
        ("billblend_async.testing", "RunningSandbox"),
    }

    assert taken - beside
    assert set() == taken - public - beside
    assert "import billblend_async" not in example.read_text(encoding="utf-8")


def test_sandbox_never_meets_the_client() -> None:
    """The sandbox plays the other side and shares no code that sends."""
    shared = {"gateway.wire", "gateway.signing", "gateway.credentials"}
    for module in FILES:
        if room(module) == "sandbox":
            met = {name for name in own(module) if room(name) in ("gateway", "orchestrator")}
            assert set() == met - shared, module
