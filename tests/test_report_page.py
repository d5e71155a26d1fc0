"""The report in a real browser: ten and ten thousand payouts, by day, by night and on paper."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from browser import Browser
from journals import mixed, write_journal
from payouts import START
from visits import LIGHT_OR_DARK, TOO_FAINT

from billblend_async.journal.location import FilePlace
from billblend_async.reporting.html import report_page
from billblend_async.reporting.summary import Source

SIZES: Final = (10, 10_000)
WIDTHS: Final = (1280, 390)
every_size = pytest.mark.parametrize("size", SIZES)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The address of a report for each number of payouts."""
    folder = tmp_path_factory.mktemp("reports")
    made = {}
    for size in SIZES:
        journal, file = folder / f"{size}.db", folder / f"{size}.html"
        write_journal(journal, mixed(size))
        file.write_text(report_page(Source(FilePlace(journal)).read(START + 2000)), "utf-8")
        made[size] = file.as_uri()
    return made


@asynccontextmanager
async def looking(
    browser: Browser, *, width: int = 1280, scheme: str = "light", media: str = ""
) -> AsyncIterator[None]:
    """Look at a page on a screen of a width, by day or by night, or as it will be printed."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await browser.devtools("Emulation.setDeviceMetricsOverride", **size)
    await browser.devtools("Emulation.setEmulatedMedia", media=media, features=features)
    try:
        yield
    finally:
        await browser.devtools("Emulation.clearDeviceMetricsOverride")
        await browser.devtools("Emulation.setEmulatedMedia", media="", features=[])


UNFOLD: Final = "document.querySelectorAll('details').forEach(d => d.open = true)"
# What sticks out of the page, and what is cut off inside its own box.
CUT: Final = """
const width = document.documentElement.clientWidth;
return [...document.querySelectorAll('body *')].filter((e) => {
  if (!e.checkVisibility() || e.closest('caption, svg, thead')) return false;
  const box = e.getBoundingClientRect();
  return box.right > width + 1 || box.left < -1 || e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).display !== 'inline' && e.clientWidth > 0;
}).map((e) => e.outerHTML.slice(0, 120));
"""


@every_size
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", LIGHT_OR_DARK)
async def test_is_legible(
    browser: Browser, pages: dict[int, str], size: int, width: int, scheme: str
) -> None:
    """Nothing is cut or faint or makes the page scroll sideways, folded or not, on any screen."""
    async with looking(browser, width=width, scheme=scheme):
        await browser.go(pages[size])
        for _ in range(2):
            assert await browser.execute(CUT) == []
            assert await browser.execute("return document.documentElement.scrollWidth") <= width
            await browser.execute(UNFOLD)
        assert await browser.execute(TOO_FAINT) == []
    requested = [url for url in await browser.requested() if not url.startswith("data:")]
    assert requested == [pages[size]]


async def test_long_words(browser: Browser, pages: dict[int, str]) -> None:
    """The gateway's long words may be broken after an underscore, and are copied whole."""
    await browser.go(pages[10_000])
    stages = "#refused td[data-name=Stage]"
    assert (await browser.texts(stages))[0] == "payout_declined"
    assert await browser.execute(
        "return document.querySelector(arguments[0]).innerHTML", stages
    ) == ("payout_<wbr>declined")


@every_size
async def test_is_complete_without_scripts(
    browser: Browser, pages: dict[int, str], size: int
) -> None:
    """Without scripts all is there, and nothing is offered that would not work."""
    await browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        await browser.go(pages[size])
        assert await (await browser.find("#overview table")).is_shown()
        assert not await (await browser.find("#filter")).is_shown()
        assert await browser.find_all("#listing button") == []
    finally:
        await browser.devtools("Emulation.setScriptExecutionDisabled", value=False)


async def test_filter_and_sort(browser: Browser, pages: dict[int, str]) -> None:
    """What is typed leaves the payouts that fit, and a heading sorts by its column."""
    await browser.go(pages[10_000])
    field = await browser.find("#filter")
    await field.type("EUR rejected")
    await browser.until_text("#fitting", "of 500 listed payouts fit")
    shown = await browser.texts("#listing tbody tr:not([hidden])")
    assert shown
    assert all("EUR" in row and "rejected" in row for row in shown)
    await field.erase()
    await browser.until_texts("#fitting", [""])

    await (await browser.find("#sort-1")).click()
    amounts = await browser.texts("#listing tbody tr td:nth-child(2)")
    numbers = [float(text.split()[0].replace(",", "")) for text in amounts]
    assert numbers == sorted(numbers)
    assert len(numbers) == 500
    await (await browser.find("#sort-1")).click()
    head = await browser.find("#listing th[aria-sort=descending]")
    assert await head.role() == "columnheader"
    assert await head.text() == "Amount"


@every_size
@pytest.mark.parametrize("width", WIDTHS)
async def test_can_be_heard(browser: Browser, pages: dict[int, str], size: int, width: int) -> None:
    """A screen reader finds landmarks, named tables of rows and cells, and pictures in words."""
    async with looking(browser, width=width):
        await browser.go(pages[size])
        await browser.execute(UNFOLD)
        for css, role in {
            "main": "main",
            "#person": "region",
            "#listing": "table",
            "#listing tbody tr": "row",
            "#listing tbody th": "rowheader",
            "#listing tbody td": "cell",
        }.items():
            assert await (await browser.find(css)).role() == role
        assert await (await browser.find("#person")).label() == "Needs a person"
        assert (await (await browser.find("#listing")).label()).startswith("Payouts, ")
        assert await (await browser.find("svg.paid")).label() == "Paid over time"


@every_size
async def test_prints(browser: Browser, pages: dict[int, str], size: int, tmp_path: Path) -> None:
    """On paper nothing is wider than a sheet, and the ground is white also by night."""
    async with looking(browser, width=720, scheme="dark", media="print"):
        await browser.go(pages[size])
        assert await browser.execute(CUT) == []
        ground = "return getComputedStyle(document.body).backgroundColor"
        assert await browser.execute(ground) == "rgb(255, 255, 255)"
        display = "return getComputedStyle(document.querySelector('#overview thead')).display"
        assert await browser.execute(display) == "table-header-group"
        assert await browser.execute(TOO_FAINT) == []
    printed = await browser.command("POST", "print", {"shrinkToFit": False})
    assert base64.b64decode(printed).startswith(b"%PDF-")


async def test_paper_keeps_together(browser: Browser, pages: dict[int, str]) -> None:
    """On paper no heading loses what it heads, each sheet has the table's head, dots are inked."""
    styles = """
    const style = (css, part) => getComputedStyle(document.querySelector(css), part);
    return [
      style('#timeline h2').breakAfter, style('#timeline-part > p').breakAfter,
      style('.series:has(+ .axis)').breakAfter, style('.axis').breakInside,
      style('#listing thead').breakInside, style('#listing thead button').display,
      style('.status.good', '::before').printColorAdjust,
    ];"""
    async with looking(browser, width=720, media="print"):
        await browser.go(pages[10])
        told = await browser.execute(styles)
    # A button as a box of its own would keep the head from being repeated.
    assert told == [*["avoid"] * 5, "contents", "exact"]


async def test_paper_tells_what_is_folded(browser: Browser, pages: dict[int, str]) -> None:
    """A list that is folded when the page is printed is named; the table of a chart is left out."""
    after = "return getComputedStyle(document.querySelector(arguments[0]), '::after').content"
    async with looking(browser, width=720, media="print"):
        await browser.go(pages[10_000])
        label = await browser.find("#listing-fold summary")
        assert await label.is_shown()
        assert await label.text() == "Show the newest 500 of 10,000"
        told = await browser.execute(after, "#listing-fold summary")
        assert told == '": folded away when this was printed"'
        assert not await (await browser.find("#timeline-table summary")).is_shown()
        await browser.execute(UNFOLD)
        assert not await label.is_shown()
        assert await (await browser.find("#listing")).is_shown()
