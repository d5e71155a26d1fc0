"""A developer watches the sandbox's orders in a real browser, and breaks what they like."""

import time
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from browser import NEED, Browser, find_programs
from servers import Connection, Server, http_answer
from visits import (
    LIGHT_OR_DARK,
    assert_legible,
    client_of,
    narrow,
    page_of,
    pay,
    request_of,
)

from billblend_async.core.models import Endpoint
from billblend_async.core.responses import Accepted, Unknown
from billblend_async.gateway.wire import RequestKind
from billblend_async.sandbox import Sandbox
from billblend_async.sandbox.orders import SCENARIOS

NAMES: Final = "#rows th span:first-child"


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(validation=0, processing=0) as running:
        yield running


class TestOrders:
    async def test_is_live(self, browser: Browser, sandbox: Sandbox) -> None:
        """The list begins empty, shows a payout as it comes, and loads nothing from elsewhere."""
        await browser.go(page_of(sandbox))
        await browser.until_text("#count", "No orders yet")
        async with client_of(sandbox) as client:
            await pay(client, client_orderid="<b>po-1</b>", account_number="0987654321")

        await browser.until_text("#rows .status", "declined")
        (row,) = await browser.texts("#rows tr")
        assert "<b>po-1</b>" in row
        assert "10.42 USD" in row
        assert "Declined by the bank" in row
        assert "0987654321" not in await browser.execute("return document.body.innerHTML")
        assert await browser.foreign_requests(sandbox.base_url) == []

    async def test_long_words(self, browser: Browser, sandbox: Sandbox) -> None:
        """On a telephone long words break after an underscore, and nothing is named in vain."""
        async with client_of(sandbox) as client:
            await pay(client, account_number="1987654321")
        async with narrow(browser):
            await browser.go(page_of(sandbox))
            await browser.until_text("#rows .status", "error")
            (stage,) = await browser.texts("#rows td[data-name=Status] .small")
            assert stage == "payout_error: PROCESSOR_INTERNAL_ERROR"
            assert len(await browser.find_all("#rows .small wbr")) == 3
            named = """return [...document.querySelectorAll('#rows td')].map(
              (e) => getComputedStyle(e, '::before').content !== 'none' && e.dataset.name)"""
            assert await browser.execute(named) == ["Amount", "Status", "Made", "History", False]

    async def test_history(self, browser: Browser) -> None:
        """A history that was opened stays open while its order goes on."""
        now = [1_700_000_000.0]
        async with Sandbox(validation=10, clock=lambda: now[0]) as sandbox:
            async with client_of(sandbox) as client:
                await browser.go(page_of(sandbox))
                made = await client.check(request_of())
                assert isinstance(made, Accepted)
                await (await browser.find("#rows summary")).click()
                assert len(await browser.texts("#rows li")) == 1

                now[0] += 10
                await browser.until_text("#rows li", "validated")
                await client.pay("po-1", made.paynet_order_id)
                now[0] += 10
                await browser.until_text("#rows li", "final: approved")
            assert await (await browser.find("#rows li")).is_shown()

    async def test_filter(self, browser: Browser, sandbox: Sandbox) -> None:
        """What is typed into the filter leaves the orders that fit, and is announced."""
        async with client_of(sandbox) as client:
            await pay(client)
            await pay(client, client_orderid="po-2", account_number="0987654321")
        await browser.go(page_of(sandbox))
        await browser.until_text("#count", "2 orders")

        field = await browser.find("#filter")
        await field.type("DECLINED")
        await browser.until_text("#said", "1 of 2 orders fit")
        assert await browser.texts(NAMES) == ["po-2"]
        await field.erase()
        await browser.until_texts("#said", ["2 orders"])
        assert await browser.texts(NAMES) == ["po-2", "po-1"]

    async def test_many(self, browser: Browser, sandbox: Sandbox) -> None:
        """Ten thousand orders are counted, the newest 500 are shown and any can be found."""
        for number in range(10_000):
            fields = {"client_orderid": f"po-{number}", "amount": "1.00", "currency": "USD"}
            sandbox.gateway.handle(
                RequestKind.PAYOUT,
                Endpoint(endpoint_id=sandbox.endpoint_id),
                sandbox.login,
                {**fields, "account_number": "1234567890"},
                time.time(),
            )
        await browser.go(page_of(sandbox))
        await browser.until_text("#count", "10,000 orders; the newest 500 are shown")
        assert len(await browser.find_all("#rows tr")) == 500

        await (await browser.find("#filter")).type("po-4242")
        await browser.until_text("#count", "1 of 10,000 orders fit")
        assert len(await browser.find_all("#rows tr")) == 1

    async def test_callbacks(self, browser: Browser, sandbox: Sandbox) -> None:
        """An order shows what became of the callbacks about it."""

        async def take(connection: Connection) -> None:
            await connection.read_request()
            await connection.write(http_answer(b"OK"))

        await browser.go(page_of(sandbox))
        async with Server(take) as merchant, client_of(sandbox) as client:
            await pay(client, server_callback_url=f"{merchant.origin}/callback")
            await browser.until_texts("#rows ul li", ["payout: delivered, 1 try"])

    async def test_sandbox_is_gone(self, browser: Browser) -> None:
        """When the sandbox has ended the page says so, and keeps what it has shown."""
        async with Sandbox(validation=0, processing=0) as sandbox, client_of(sandbox) as client:
            await pay(client)
            await browser.go(page_of(sandbox))
            await browser.until_text("#rows .status", "approved")
        await browser.until_text("#trouble", "does not answer")

        assert len(await browser.find_all("#rows tr")) == 1
        await browser.go("about:blank")
        assert all("ERR_" in each for each in await browser.complaints())

    async def test_is_announced(self, browser: Browser, sandbox: Sandbox) -> None:
        """A screen reader finds a named table of rows and cells, also on a narrow screen."""
        async with client_of(sandbox) as client:
            await pay(client)
        async with narrow(browser):
            await browser.go(page_of(sandbox))
            row = await browser.find("#rows tr")
            table, name = await browser.find("table"), await browser.find("#rows th")
            assert (await table.role(), await table.label()) == ("table", "Orders")
            assert (await row.role(), await name.role()) == ("row", "rowheader")
            assert {await cell.role() for cell in await browser.find_all("#rows td")} == {"cell"}

    @pytest.mark.parametrize("scheme", LIGHT_OR_DARK)
    async def test_is_legible(self, browser: Browser, sandbox: Sandbox, scheme: str) -> None:
        """The list can be read by day and by night, and fits a narrow screen."""
        async with client_of(sandbox) as client:
            for number, account in enumerate(SCENARIOS):
                made = await client.check(
                    request_of(client_orderid=f"po-{number}", account_number=account)
                )
                assert isinstance(made, Accepted)
                await client.pay(f"po-{number}", made.paynet_order_id)
        await assert_legible(browser, page_of(sandbox), scheme, "#rows tr")


class TestFaults:
    async def test_set_and_clear(self, browser: Browser, sandbox: Sandbox) -> None:
        """A fault that is set on the page happens to the next request, until it is cleared."""
        async with client_of(sandbox) as client:
            await set_fault(browser, sandbox, "payout-pay", "denied_403")
            await browser.until_texts("#faults span", ["payout-pay: denied 403, each request"])
            await browser.until_texts("#fault-count", ["1 set"])
            made = await client.check(request_of())
            assert isinstance(made, Accepted)
            denied = await client.pay("po-1", made.paynet_order_id)
            assert isinstance(denied, Unknown)
            assert denied.http_status == 403

            await (await browser.find("#faults button")).click()
            await browser.until_texts("#fault-count", ["none set"])
            assert await browser.texts("#answer") == ["The fault is cleared."]
            assert isinstance(await client.pay("po-1", made.paynet_order_id), Accepted)
        assert await browser.foreign_requests(sandbox.base_url) == []

    async def test_runs_out(self, browser: Browser, sandbox: Sandbox) -> None:
        """A fault that is to happen once leaves the list after it has happened."""
        async with client_of(sandbox) as client:
            await set_fault(browser, sandbox, "payout-check", "drop_before", limit="1")
            only = "payout-check: drop before, each request, 1 more time at most"
            await browser.until_texts("#faults span", [only])

            assert isinstance(await client.check(request_of()), Unknown)
            await browser.until_texts("#fault-count", ["none set"])
            assert isinstance(await client.check(request_of()), Accepted)

    async def test_share_and_delay(self, browser: Browser, sandbox: Sandbox) -> None:
        """A share and a delay are taken as they are written; only a delay takes seconds."""
        await set_fault(browser, sandbox, "status", "delay", share="12.5", seconds="0.25")
        await browser.until_texts("#faults span", ["status: delay of 0.25 s, 12.5 % of requests"])

        await (await browser.find("#fault option[value=html]")).click()
        assert await browser.execute("return document.querySelector('#seconds').disabled")

    async def test_each_command_offers_its_own(self, browser: Browser, sandbox: Sandbox) -> None:
        """Only what can go wrong with a command is offered for it."""
        await open_faults(browser, sandbox)
        await (await browser.find("#command option[value=callback]")).click()

        await browser.until_texts("#fault option", ["delay", "duplicate", "lost"])

    async def test_wrong_number(self, browser: Browser, sandbox: Sandbox) -> None:
        """A number that cannot be right sets nothing."""
        await set_fault(browser, sandbox, "status", "html", share="101")

        assert await browser.execute("return document.activeElement.id") == "share"
        assert await browser.texts("#fault-count") == ["none set"]


async def open_faults(browser: Browser, sandbox: Sandbox) -> None:
    await browser.go(page_of(sandbox))
    await (await browser.find("#fault-panel summary")).click()
    await browser.find("#command option")


async def set_fault(
    browser: Browser, sandbox: Sandbox, command: str, fault: str, **fields: str
) -> None:
    await open_faults(browser, sandbox)
    await (await browser.find(f"#command option[value={command}]")).click()
    await (await browser.find(f"#fault option[value={fault}]")).click()
    for name, text in fields.items():
        field = await browser.find(f"#{name}")
        await field.erase()
        await field.type(text)
    await (await browser.find("#fault-form button")).click()


class TestPrograms:
    def test_missing_browser_skips(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a browser these tests are skipped, with a word on what to install."""
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv(NEED, raising=False)
        with pytest.raises(pytest.skip.Exception, match="apt-get install chromium chromium-driver"):
            find_programs()

    def test_missing_browser_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a browser is promised they fail instead."""
        monkeypatch.setenv("PATH", "")
        monkeypatch.setenv(NEED, "1")
        with pytest.raises(pytest.fail.Exception, match="chromium-driver"):
            find_programs()
