"""A receiver follows their link in a real browser, and the payout ends as they decide."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from browser import Browser
from servers import Connection, Server, http_answer
from visits import (
    LIGHT_OR_DARK,
    assert_legible,
    client_of,
    expected_refusal,
    link_of,
    origin_of,
    report_of,
)

from billblend_async.gateway.signing import control_matches
from billblend_async.sandbox import Sandbox


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(validation=0, processing=0) as running:
        yield running


@pytest_asyncio.fixture
async def merchant() -> AsyncIterator[Server]:
    """The page to which the receiver is sent back."""

    async def thank(connection: Connection) -> None:
        await connection.read_request()
        page = b'<!DOCTYPE html><link rel="icon" href="data:,"><h1>Thank you</h1>'
        await connection.write(http_answer(page))

    async with Server(thank) as server:
        yield server


class TestReceiver:
    async def test_confirms(self, browser: Browser, sandbox: Sandbox, merchant: Server) -> None:
        """A receiver confirms, is sent back with a verifiable POST, and the payout is approved."""
        async with client_of(sandbox) as client:
            link = await link_of(client, redirect_url=f"{merchant.origin}/back?cart=7")

            await browser.go(link)
            assert "10.42 USD" in await browser.page_text()
            assert "No money moves" in await browser.page_text()
            await (await browser.find("#code")).type("123456")
            await (await browser.find("button[value=confirm]")).click()
            await browser.until_text("h1", "Thank you")

            assert (await report_of(client)).status == "approved"
        (back,) = merchant.requests
        assert (back.method, back.target) == ("POST", "/back?cart=7")
        assert back.form["status"] == "approved"
        parts = (back.form[name] for name in ("status", "orderid", "client_orderid"))
        assert control_matches(back.form["control"], *parts, sandbox.merchant_control)
        assert await browser.foreign_requests(sandbox.base_url, merchant.origin) == []

    async def test_cancels(self, browser: Browser, sandbox: Sandbox, merchant: Server) -> None:
        """A receiver cancels without a code, and the payout is declined."""
        async with client_of(sandbox) as client:
            await browser.go(await link_of(client, redirect_url=f"{merchant.origin}/back"))
            await (await browser.find("button[value=cancel]")).click()
            await browser.until_text("h1", "Thank you")

            assert (await report_of(client)).status == "declined"
        assert merchant.requests[0].form["status"] == "declined"

    async def test_without_javascript(
        self, browser: Browser, sandbox: Sandbox, merchant: Server
    ) -> None:
        """Without JavaScript everything works, with one more button on the way back."""
        async with client_of(sandbox) as client:
            link = await link_of(client, redirect_url=f"{merchant.origin}/back")
            await browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
            try:
                await browser.go(link)
                await (await browser.find("#code")).type("1")
                await (await browser.find("button[value=confirm]")).click()
                back = await browser.find("form:not([action^='/']) button")
                assert await back.text() == "Continue"
                assert merchant.requests == []
                await back.click()
                await merchant.until(lambda: bool(merchant.requests))
            finally:
                await browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
            assert (await report_of(client)).status == "approved"

    async def test_forgets_the_code(self, browser: Browser, sandbox: Sandbox) -> None:
        """Without a code the browser itself keeps the receiver from confirming."""
        async with client_of(sandbox) as client:
            await browser.go(await link_of(client))
            await (await browser.find("button[value=confirm]")).click()

            assert await browser.execute("return document.activeElement.id") == "code"
            assert (await report_of(client)).status == "processing"

    async def test_has_no_way_back(self, browser: Browser, sandbox: Sandbox) -> None:
        """Where the merchant has no page for the receiver, the sandbox says that all is done."""
        async with client_of(sandbox) as client:
            await browser.go(await link_of(client))
            await (await browser.find("#code")).type("1")
            await (await browser.find("button[value=confirm]")).click()
            await browser.until_text("h1", "Payout confirmed")

    async def test_used_link(self, browser: Browser, sandbox: Sandbox) -> None:
        """A link that has been used says that it is not valid any more."""
        async with client_of(sandbox) as client:
            link = await link_of(client)
            await browser.go(link)
            await (await browser.find("button[value=cancel]")).click()
            await browser.until_text("h1", "Payout cancelled")

            await browser.go(link)
            await browser.until_text("h1", "This link is not valid")
        assert await expected_refusal(browser)

    async def test_unknown_link(self, browser: Browser, sandbox: Sandbox) -> None:
        """A link that was never given out says so."""
        await browser.go(f"{origin_of(sandbox)}/sandbox/form/nothing")
        await browser.until_text("h1", "This link is not valid")
        assert await expected_refusal(browser)

    async def test_is_announced(self, browser: Browser, sandbox: Sandbox) -> None:
        """A screen reader hears what the field and the buttons are."""
        async with client_of(sandbox) as client:
            await browser.go(await link_of(client))
            field = await browser.find("#code")
            assert (await field.role(), await field.label()) == ("textbox", "One-time code")
            for name in ("Confirm", "Cancel"):
                button = await browser.find(f"button[value={name.lower()}]")
                assert (await button.role(), await button.label()) == ("button", name)

    @pytest.mark.parametrize("scheme", LIGHT_OR_DARK)
    async def test_is_legible(self, browser: Browser, sandbox: Sandbox, scheme: str) -> None:
        """The form can be read by day and by night, and fits a narrow screen."""
        async with client_of(sandbox) as client:
            link = await link_of(client)
        await assert_legible(browser, link, scheme)
