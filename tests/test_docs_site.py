"""The site that is made of docs/ is whole, asks nobody for anything and fits every screen."""

import os
import re
import subprocess
import sys
import tomllib
from html import unescape
from importlib import metadata
from pathlib import Path

import pytest
from browser import Browser
from command_words import PARSERS
from diagram import diagram
from manual import DOCS, PAGES, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PATIENCE = 120
"""Seconds after which a site that is being built never will be."""


WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"the extra docs brings no {{name}}", name=name)

sys.meta_path.insert(0, Without())
"""
"""What a Python runs first that shall have no more than the extra docs brings along."""


def brought(*extras: str) -> set[str]:
    """Name the distributions that come with this package and some of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours, seen = canonicalize_name(project["name"]), set[tuple[str, str]]()
    todo = [Requirement(f"{ours}[{','.join(extras)}]")]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        for extra in {"", *wanted.extras} - {extra for of, extra in seen if of == name}:
            seen.add((name, extra))
            if name == ours:
                optional = project["optional-dependencies"]
                required = optional[extra] if extra else project["dependencies"]
            else:
                required = metadata.requires(name) or []
            each = map(Requirement, required)
            todo += [r for r in each if r.marker is None or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def absent(*extras: str) -> set[str]:
    """Name the modules that are installed here and would not be with these extras alone."""
    known = brought(*extras)
    return {
        module
        for module, homes in metadata.packages_distributions().items()
        if not known & {canonicalize_name(home) for home in homes}
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from nothing with the extra docs alone; a warning of the builder ends it."""
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="needs the extra docs: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    first = folder / "first"
    first.mkdir()
    first.joinpath("sitecustomize.py").write_text(WITHOUT.format(absent=absent("docs")), "utf-8")
    words = (sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-d")
    done = subprocess.run(
        [*words, str(folder / "trees"), str(DOCS), str(folder / "html")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(first), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return folder / "html"


def test_site_is_whole(site: Path) -> None:
    """The site has every page, the state machine drawn from its table, and every command."""
    for page in PAGES:
        assert (site / page.relative_to(DOCS).with_suffix(".html")).is_file()
    picture = unescape((site / "background" / "machine.html").read_text(encoding="utf-8"))
    for begin, end in re.findall(r"([A-Z_]+) --> ([A-Z_]+):", diagram()):
        assert f"<title>{begin} → {end}: " in picture
    told = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for parser in PARSERS:
        assert f'id="{parser.prog.replace(" ", "-")}"' in told


def test_docs_alone() -> None:
    """What only other extras bring is away while the site is built, so it needs none of it."""
    assert {"dbos", "aiohttp", "openpyxl", "django", "hypothesis"} <= absent("docs")
    assert set() == absent("docs") & {"sphinx", "furo", "psycopg", "psycopg_pool", "uvicorn"}


def test_site_contacts_nobody(site: Path) -> None:
    """Whoever reads the site asks no other machine for anything."""
    for file in site.rglob("*"):
        if file.suffix in (".html", ".css"):
            text = file.read_text(encoding="utf-8")
            assert [] == _FOREIGN.findall(text), file.name


_FOREIGN = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b(?=[^>]*rel=["'](?!canonical|author|next|prev|search|index))[^>]*"""
    r"""href=["'](?:https?:)?//[^>]*>"""
    r"""|url\(["']?(?:https?:)?//[^)]*\)|@import\s+["'](?:https?:)?//"""
)
"""Whatever a browser loads by itself from somewhere else."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_site_fits(site: Path, browser: Browser, width: int, scheme: str) -> None:
    """No page is wider than its screen, complains, or loads anything from elsewhere."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    await browser.devtools("Emulation.setEmulatedMedia", features=features)
    await browser.devtools("Emulation.setDeviceMetricsOverride", **size)
    try:
        for page in sorted(site.rglob("*.html")):
            await browser.go(page.as_uri())
            wide = await browser.execute("return document.documentElement.scrollWidth")
            assert wide <= width, page.name
            assert [] == await browser.complaints()
            foreign = [url for url in await browser.requested() if not _is_ours(url)]
            assert [] == foreign, page.name
    finally:
        await browser.devtools("Emulation.clearDeviceMetricsOverride")
        await browser.devtools("Emulation.setEmulatedMedia", features=[])


def _is_ours(url: str) -> bool:
    return url.startswith(("file:", "data:", "about:"))
