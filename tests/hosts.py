"""The examples as real processes, each a host of ours over a socket, and what comes to them."""

import asyncio
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import attrs
import httpx
from desk import ROOT, Desk
from truth import Record, read_records

from billblend_async.gateway.signing import control
from billblend_async.sandbox.callbacks import callback
from billblend_async.sandbox.orders import Order

ASKS_RECEIVER = "2000000001"
"""The sandbox's account whose payout waits for its receiver."""
EXAMPLES = ROOT / "examples"
UVICORN = (*("-m", "uvicorn", "--app-dir", str(EXAMPLES), "--no-access-log", "--port", "{port}"),)
"""How the docstrings of the examples start them."""
PATIENCE = 120.0
"""Seconds after which what has not happened never will."""
SLOW = 30.0
"""Seconds that one answer may take on a machine that has much to do."""


@attrs.define
class Host:
    """An example that runs, or ran, at a desk.

    Attributes:
        desk: The sandbox, the folder and the settings that it uses.
        words: The program and its arguments.
        url: Where it listens.
        browser: Whoever asks it something; it follows no redirects.
        process: The process of its latest start.
    """

    desk: Desk
    words: tuple[str, ...]
    url: str
    browser: httpx.AsyncClient
    process: asyncio.subprocess.Process

    @property
    def said(self) -> str:
        """All that it has printed."""
        return (self.desk.folder / "host.log").read_text(encoding="utf-8")

    async def get(self, path: str) -> httpx.Response:
        """Ask it something."""
        return await self.browser.get(self.url + path)

    async def pay(self, client_orderid: str, account: str) -> httpx.Response:
        """Hand a payout in."""
        fields = {
            "client_orderid": client_orderid,
            "amount": "10.42",
            "currency": "EUR",
            "account_number": account,
        }
        return await self.browser.post(f"{self.url}/payouts", json=fields)

    async def call(self, fields: dict[str, str], path: str = "/callback") -> int:
        """Send it a callback and give the status of the answer."""
        return (await self.get(f"{path}?{urlencode(fields)}")).status_code

    async def told(self, client_orderid: str, **wanted: str) -> dict[str, str]:
        """Wait until it tells this of a payout."""
        told: dict[str, str] = {}

        async def is_so() -> bool:
            nonlocal told
            told = (await self.get(f"/payouts/{client_orderid}")).json()
            return all(told.get(name) == value for name, value in wanted.items())

        await self.until(is_so, f"{client_orderid}: {wanted}")
        return told

    async def until(self, is_so: Callable[[], object], what: str) -> None:
        """Wait until something is so while it lives."""
        late = time.monotonic() + PATIENCE
        while True:
            found = is_so()
            if await found if asyncio.iscoroutine(found) else found:
                return
            assert self.process.returncode is None, self.said
            assert time.monotonic() < late, f"waited in vain for {what}: {self.said}"
            await asyncio.sleep(0.02)

    async def start(self) -> None:
        """Start it again and wait until it answers."""
        self.process = await _start(self.desk, self.words)
        await self.until(self.answers, "its first answer")

    async def answers(self) -> bool:
        """Tell whether it answers."""
        try:
            await self.get("/callback")
        except httpx.TransportError:
            return False
        return True

    async def kill(self) -> None:
        """Kill it without warning."""
        self.process.kill()
        await self.process.wait()

    async def end(self) -> None:
        """End it kindly, as a supervisor does; it must go, and without a complaint."""
        self.process.terminate()
        await asyncio.wait_for(self.process.wait(), PATIENCE)
        assert self.process.returncode in (0, -signal.SIGTERM), self.said
        assert "Traceback" not in self.said, self.said

    async def records(self) -> dict[str, Record]:
        """Read its journal; from a copy, so that a crash is mended by the next start alone."""
        with TemporaryDirectory() as folder:
            for path in self.desk.folder.glob("payouts.db*"):
                shutil.copy(path, folder)
            return await read_records(Path(folder) / "payouts.db", self.desk.environ)


@asynccontextmanager
async def open_host(desk: Desk, *words: str) -> AsyncIterator[Host]:
    """Start an example; ``{port}`` in its words is a free port."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    words = tuple(word.replace("{port}", str(port)) for word in words)
    desk.environ.update(PUBLIC_URL=url, BILLBLEND_SERVER_CALLBACK_URL=f"{url}/callback")
    async with httpx.AsyncClient(timeout=SLOW) as browser:
        host = Host(desk, words, url, browser, await _start(desk, words))
        try:
            await host.until(host.answers, "its first answer")
            yield host
        finally:
            if host.process.returncode is None:
                await host.kill()


def genuine(order: Order, merchant_control: str, status: str | None = None) -> dict[str, str]:
    """Write the callback of an order as the gateway does, about now or about a status to come."""
    fields = callback(order, "payout", time.time(), merchant_control)
    told = status or fields["status"]
    signed = control(told, order.paynet_order_id, order.client_orderid, merchant_control)
    return {**fields, "status": told, "control": signed}


async def _start(desk: Desk, words: tuple[str, ...]) -> asyncio.subprocess.Process:
    with (desk.folder / "host.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            env={**desk.environ, "PYTHONUNBUFFERED": "1"},
            cwd=desk.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _free_port() -> int:
    """Find a port that nothing else takes before the host does: no connection goes out from it."""
    chance = random.Random(os.urandom(8))
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
