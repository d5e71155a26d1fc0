"""What visitors of the sandbox's pages need: payouts, links to follow, and an eye for the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

from browser import Browser

from billblend_async import Client, Credentials, PayoutRequest, StatusReport
from billblend_async.core.responses import Accepted
from billblend_async.sandbox import Sandbox

ASKS_RECEIVER: Final = "2000000001"
LIGHT_OR_DARK: Final = ("light", "dark")
# The parts of a page that are harder to read than WCAG 2.2 allows (level AA).
TOO_FAINT: Final = """
const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
};
const light = (color) => [...rgba(color)].slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => {
  const color = getComputedStyle(e).backgroundColor;
  return rgba(color)[3] === 255 || !e.parentElement ? color : ground(e.parentElement);
};
return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()
  && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())).filter((e) => {
  const pair = [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05) < 4.5;
}).map((e) => e.outerHTML.slice(0, 120));
"""


@asynccontextmanager
async def client_of(sandbox: Sandbox) -> AsyncIterator[Client]:
    credentials = Credentials(
        sandbox.login, sandbox.private_key, merchant_control=sandbox.merchant_control
    )
    async with Client(
        credentials, endpoint_id=sandbox.endpoint_id, base_url=sandbox.base_url
    ) as client:
        yield client


def request_of(**changes: Any) -> PayoutRequest:
    fields = {"amount": Decimal("10.42"), "currency": "USD", "account_number": "1234567890"}
    return PayoutRequest(**{"client_orderid": "po-1", **fields, **changes})


async def pay(client: Client, **changes: Any) -> StatusReport:
    """Check and pay, and give the status after that."""
    request = request_of(**changes)
    made = await client.check(request)
    assert isinstance(made, Accepted)
    assert isinstance(await client.pay(request.client_orderid, made.paynet_order_id), Accepted)
    return await report_of(client, request.client_orderid)


async def report_of(client: Client, client_orderid: str = "po-1") -> StatusReport:
    report = await client.status(client_orderid)
    assert isinstance(report, StatusReport)
    return report


async def link_of(client: Client, **changes: Any) -> str:
    """Make a payout that waits for its receiver, and give the link for them."""
    report = await pay(client, account_number=ASKS_RECEIVER, **changes)
    assert report.redirect_to is not None
    return report.redirect_to


def origin_of(sandbox: Sandbox) -> str:
    return sandbox.base_url.removesuffix("/checkout")


def page_of(sandbox: Sandbox) -> str:
    return f"{origin_of(sandbox)}/sandbox/"


async def expected_refusal(browser: Browser) -> bool:
    """Tell whether the console's only complaint is the page's own HTTP status."""
    complaints = await browser.complaints()
    return len(complaints) == 1 and "the server responded with a status of 4" in complaints[0]


@asynccontextmanager
async def narrow(browser: Browser) -> AsyncIterator[None]:
    """Give the page the screen of a small telephone."""
    size = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": False}
    await browser.devtools("Emulation.setDeviceMetricsOverride", **size)
    try:
        yield
    finally:
        await browser.devtools("Emulation.clearDeviceMetricsOverride")


async def assert_legible(browser: Browser, url: str, scheme: str, css: str = "h1") -> None:
    """See that text stands out from its ground and nothing is wider than a narrow screen."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await browser.devtools("Emulation.setEmulatedMedia", features=features)
    try:
        async with narrow(browser):
            await browser.go(url)
            await browser.find(css)
            query = f"(prefers-color-scheme: {scheme})"
            assert await browser.execute("return matchMedia(arguments[0]).matches", query)
            await browser.execute(
                "document.querySelectorAll('details').forEach(d => d.open = true)"
            )
            assert await browser.execute(TOO_FAINT) == []
            assert await browser.execute("return document.documentElement.scrollWidth") <= 320
    finally:
        await browser.devtools("Emulation.setEmulatedMedia", features=[])
