"""A service waits for its receiver, who follows the link in a real browser."""

import asyncio
from pathlib import Path

from browser import Browser
from visits import ASKS_RECEIVER, client_of, request_of

from billblend_async import (
    CallbackEndpoint,
    Orchestrator,
    Outcome,
    SqliteJournal,
    State,
    read_final_redirect,
)
from billblend_async.events import CalledBack
from billblend_async.sandbox import Sandbox
from billblend_async.server import Server, take_port


async def test_the_service_learns_it(browser: Browser, tmp_path: Path) -> None:
    """The receiver confirms in the browser; the callback wakes the service, which knows the end."""
    links: asyncio.Queue[Outcome] = asyncio.Queue()
    came_back: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def thank(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        sizes = [line for line in head.splitlines() if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(sizes[0].partition(":")[2])) if sizes else b""
        if body and not came_back.done():
            came_back.set_result(body)
        page = b'<!DOCTYPE html><link rel="icon" href="data:,"><h1>Thank you</h1>'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(page), page))
        await writer.drain()
        writer.close()

    async with (
        Sandbox(validation=0.1, processing=1.0) as sandbox,
        client_of(sandbox) as client,
        Orchestrator(
            client, SqliteJournal(tmp_path / "payouts.db"), on_redirect=links.put
        ) as payouts,
        await asyncio.start_server(thank, "127.0.0.1", 0) as merchant,
    ):
        with take_port("127.0.0.1", 0) as listener:
            server = Server(CallbackEndpoint(payouts), asyncio.Event())
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await server.open_or_ended(serving)
            request = request_of(
                account_number=ASKS_RECEIVER,
                server_callback_url=f"http://127.0.0.1:{listener.getsockname()[1]}/callback",
                redirect_url=f"http://127.0.0.1:{merchant.sockets[0].getsockname()[1]}/back",
            )
            running = asyncio.create_task(payouts.run(request))
            waiting = await links.get()
            assert State.AWAITING_RECEIVER is waiting.state

            await browser.go(waiting.redirect_to or "")
            await (await browser.find("#code")).type("123456")
            await (await browser.find("button[value=confirm]")).click()
            await browser.until_text("h1", "Thank you")

            outcome = await running
            server.leave()
            await serving
        assert outcome.is_approved
        assert outcome.redirect_to is None
        told = read_final_redirect(await came_back, [sandbox.merchant_control])
        assert ("po-1", "approved") == (told.client_orderid, told.status)
        assert 1 == sandbox.gateway.paid("po-1")
        history = await payouts._means.journal.history("po-1")
        assert any(isinstance(event, CalledBack) for event in history)
