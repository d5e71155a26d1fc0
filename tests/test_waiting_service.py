"""A service waits for its receiver, who follows the link in a real browser."""

import asyncio
from pathlib import Path

from browser import Browser
from servers import Connection, http_answer
from servers import Server as Merchant
from visits import ASKS_RECEIVER, client_of, request_of

from billblend_async import (
    CallbackEndpoint,
    Orchestrator,
    Outcome,
    SqliteJournal,
    State,
    read_final_redirect,
)
from billblend_async.core.events import CalledBack
from billblend_async.sandbox import Sandbox
from billblend_async.server import Server, take_port


async def test_the_service_learns_it(browser: Browser, tmp_path: Path) -> None:
    """The receiver confirms in the browser; the callback wakes the service, which knows the end."""
    links: asyncio.Queue[Outcome] = asyncio.Queue()

    async def thank(connection: Connection) -> None:
        await connection.read_request()
        page = b'<!DOCTYPE html><link rel="icon" href="data:,"><h1>Thank you</h1>'
        await connection.write(http_answer(page))

    async with (
        Sandbox(validation=0.1, processing=1.0) as sandbox,
        client_of(sandbox) as client,
        Orchestrator(
            client, SqliteJournal(tmp_path / "payouts.db"), on_redirect=links.put
        ) as payouts,
        Merchant(thank) as merchant,
    ):
        with take_port("127.0.0.1", 0) as listener:
            server = Server(CallbackEndpoint(payouts), asyncio.Event())
            await server.begin(listener)
            request = request_of(
                account_number=ASKS_RECEIVER,
                server_callback_url=f"http://127.0.0.1:{listener.getsockname()[1]}/callback",
                redirect_url=f"{merchant.origin}/back",
            )
            running = asyncio.create_task(payouts.run(request))
            waiting = await links.get()
            assert State.AWAITING_RECEIVER is waiting.state

            await browser.go(waiting.redirect_to or "")
            await (await browser.find("#code")).type("123456")
            await (await browser.find("button[value=confirm]")).click()
            await browser.until_text("h1", "Thank you")

            outcome = await running
            await server.end()
        assert outcome.is_approved
        assert outcome.redirect_to is None
        told = read_final_redirect(merchant.requests[0].body, [sandbox.merchant_control])
        assert ("po-1", "approved") == (told.client_orderid, told.status)
        assert 1 == sandbox.gateway.paid("po-1")
        history = await payouts._means.journal.history("po-1")
        assert any(isinstance(event, CalledBack) for event in history)
