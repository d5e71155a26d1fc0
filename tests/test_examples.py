"""Each example really runs: it pays over HTTP, is called back and knows the end."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from desk import open_desk
from hosts import ASKS_RECEIVER, EXAMPLES, UVICORN, Host, genuine, open_host

from billblend_async.core.events import CalledBack
from billblend_async.gateway.signing import control
from billblend_async.sandbox import Sandbox
from billblend_async.sandbox.orders import Order

HOSTS = {
    "fastapi": (*UVICORN, "fastapi_service:app"),
    "starlette": (*UVICORN, "starlette_service:app"),
    "litestar": (*UVICORN, "litestar_service:app"),
    "django": (*UVICORN, "--lifespan", "on", "django_service:application"),
    "aiohttp": (str(EXAMPLES / "aiohttp_service.py"), "{port}"),
}
PATHS = ("/callback", "/callback/")
IMPATIENT = """
from billblend_async import SqliteJournal
SqliteJournal.__init__.__kwdefaults__["busy_timeout"] = 0.2
"""
"""What a host's interpreter runs first, so that a test need not wait for a held journal."""


@pytest.mark.parametrize("name", HOSTS)
async def test_host(name: str, tmp_path: Path) -> None:
    """A service under this framework pays, takes callbacks in by the book and knows the end."""
    async with open_desk(tmp_path) as desk, open_host(desk, *HOSTS[name]) as host:
        gateway, secret = desk.sandbox.gateway, desk.sandbox.merchant_control
        answer = await host.pay("po-1", ASKS_RECEIVER)
        assert (202, "po-1") == (answer.status_code, answer.json()["client_orderid"])
        await host.told("po-1", state="awaiting-receiver")
        [order] = gateway.orders.values()

        await refuse(host, order, secret)
        # It is genuine as far as can be seen, and early: it changes nothing but the next question.
        early = genuine(order, secret, status="approved")
        assert [200, 200] == [await host.call(early, path) for path in PATHS]
        assert "awaiting-receiver" == (await host.told("po-1"))["state"]

        # The form is submitted, the gateway sends its own callback, and the status is final.
        assert gateway.submit(order.token or "", time.time(), is_confirmed=True)
        await host.told("po-1", state="final", status="approved")
        await host.until(lambda: told_of(desk.sandbox), "a callback that was taken in")
        assert [200, 200] == [await host.call(early, path) for path in PATHS]
        assert 1 == gateway.paid("po-1")

        await host.end()
        record = (await host.records())["po-1"]
        assert [early["status"]] == [e.status for e in record.events if isinstance(e, CalledBack)]
        for secretive in (early["control"], secret, ASKS_RECEIVER):
            assert secretive not in host.said


@pytest.mark.parametrize("name", HOSTS)
async def test_journal_is_held(name: str, tmp_path: Path) -> None:
    """A service whose journal another program has held for long goes on when it may."""
    (tmp_path / "sitecustomize.py").write_text(IMPATIENT, encoding="utf-8")
    async with open_desk(tmp_path) as desk:
        desk.environ["PYTHONPATH"] += os.pathsep + str(tmp_path)
        async with open_host(desk, *HOSTS[name]) as host:
            with closing(sqlite3.connect(tmp_path / "payouts.db", isolation_level=None)) as file:
                assert 202 == (await host.pay("po-1", "1234567890")).status_code
                file.execute("BEGIN IMMEDIATE")
                await host.until(lambda: "payouts stand still" in host.said, "a word of it")
                file.execute("ROLLBACK")

            await host.told("po-1", status="approved")
            assert 1 == desk.sandbox.gateway.paid("po-1")
            await host.end()


async def refuse(host: Host, order: Order, secret: str) -> None:
    """Send what is no callback; each has its answer, and none is a redirect."""
    early = genuine(order, secret, status="approved")
    forged = {**early, "status": "declined"}
    # If anything of the query were decoded before it is read, this name would be another.
    odd = "a+b&c=%41/?"
    unknown = {
        **early,
        "client_orderid": odd,
        "merchant_order": odd,
        "control": control("approved", order.paynet_order_id, odd, secret),
    }
    for path in PATHS:
        assert 403 == await host.call(forged, path)
        assert 403 == await host.call({}, path)
        assert 404 == await host.call(unknown, path)
        for method in ("HEAD", "POST", "PUT"):
            answer = await host.browser.request(method, host.url + path, params=early)
            assert (405, "GET") == (answer.status_code, answer.headers["allow"])


def told_of(sandbox: Sandbox) -> list[bool]:
    """List the callbacks that the host has taken in."""
    return [delivery.is_delivered for delivery in sandbox.deliveries if delivery.is_delivered]
