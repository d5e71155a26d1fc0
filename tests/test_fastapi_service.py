"""The FastAPI example in full: what it tells its callers and receivers, and that it survives."""

import asyncio
import sqlite3
import stat
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest
from desk import ACCOUNTS, open_desk
from hosts import UVICORN, Host, genuine, open_host
from test_examples import ASKS_RECEIVER
from truth import Record, Truth

from billblend_async.events import PayNotSent, PayStarted
from billblend_async.models import State
from billblend_async.sandbox.notices import final_redirect
from billblend_async.wire import RequestKind

SERVICE = (*UVICORN, "fastapi_service:app")
NAMES = [f"po-{n}" for n in range(50)]
APPROVED = "1234567890"


async def test_receiver(tmp_path: Path) -> None:
    """The receiver gets the link, comes back to a page, and the page believes only the status."""
    async with open_desk(tmp_path, processing=1.0) as desk, open_host(desk, *SERVICE) as host:
        gateway, secret = desk.sandbox.gateway, desk.sandbox.merchant_control
        await host.pay("po-1", ASKS_RECEIVER)
        told = await host.told("po-1", state="awaiting-receiver")
        [order] = gateway.orders.values()
        assert order.token
        assert told["redirect_to"].startswith("http")
        assert order.token in told["redirect_to"]

        order = gateway.submit(order.token, time.time(), is_confirmed=True) or order
        url, fields = final_redirect(order, secret) or ("", {})
        assert f"{host.url}/redirected" == url
        # The browser is faster than the gateway, and may say what it likes.
        page = await host.browser.post(url, data=fields)
        assert (200, "approved") == (page.status_code, fields["status"])
        assert "under way" in page.text
        forged = await host.browser.post(url, data={**fields, "status": "declined"})
        assert 403 == forged.status_code

        ends_at = order.ends_at or 0.0
        await host.until(lambda: ends_at <= time.time(), "the end")
        assert 200 == await host.call(genuine(order, secret))
        final = await host.told("po-1", state="final", status="approved")
        assert not final["redirect_to"]
        assert "on its way to you" in (await host.browser.post(url, data=fields)).text
        await host.end()


async def test_callers(tmp_path: Path) -> None:
    """A caller hears at once what was accepted, what is wrong and what is taken."""
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:
        wrong = await host.browser.post(f"{host.url}/payouts", json={"amount": "-1"})
        assert 422 == wrong.status_code
        for field in ("client_orderid", "amount", "currency"):
            assert f"{field}: " in wrong.json()["error"]
        assert 404 == (await host.get("/payouts/po-1")).status_code

        answers = await asyncio.gather(*(host.pay("po-1", APPROVED) for _ in range(10)))
        assert {202} == {answer.status_code for answer in answers}
        assert 409 == (await host.pay("po-1", "0987654321")).status_code
        await host.told("po-1", status="approved")
        assert 202 == (await host.pay("po-1", APPROVED)).status_code
        assert 409 == (await host.pay("po-1", "0987654321")).status_code

        assert 1 == desk.count(RequestKind.CHECK)["po-1"]
        assert 1 == desk.sandbox.gateway.paid("po-1")
        await host.end()


async def test_what_is_kept(tmp_path: Path) -> None:
    """What the service keeps of a receiver is for its eyes alone, and gone once it was sent."""
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:
        await host.pay("po-1", "7788990011")
        await host.told("po-1", status="approved")
        await host.end()

        kept = tmp_path / "requests.db"
        assert 0o600 == stat.S_IMODE(kept.stat().st_mode)
        for path in tmp_path.iterdir():
            assert b"7788990011" not in path.read_bytes(), path.name


async def test_ended_kindly(tmp_path: Path) -> None:
    """Ended in the middle of its work, the service goes at once and the next start goes on."""
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:
        for name in NAMES[:5]:
            await host.pay(name, APPROVED)
        await host.end()
        assert [] == desk.sandbox.gateway.ledger

        await host.start()
        for name in NAMES[:5]:
            await host.told(name, status="approved")
        await host.end()
        assert sorted(NAMES[:5]) == sorted(e.client_orderid for e in desk.sandbox.gateway.ledger)


@pytest.mark.parametrize(
    ("kind", "many"), [(RequestKind.CHECK, 1), (RequestKind.CHECK, 20), (RequestKind.PAY, 10)]
)
async def test_killed(kind: RequestKind, many: int, tmp_path: Path) -> None:
    """Killed in the middle of fifty payouts and started again, it finishes them: none paid twice.

    What was about to be paid and never left waits for a person: these, and no others.
    """
    async with (
        open_desk(tmp_path, validation=0.5, processing=0.5) as desk,
        open_host(desk, *SERVICE) as host,
    ):
        handing_in = asyncio.gather(*(hand_in(host, name) for name in NAMES))
        await host.until(lambda: sum(desk.count(kind).values()) >= many, f"{many} {kind}")
        await host.kill()
        accepted = {name for name, answer in await handing_in if answer}
        killed = await host.records()
        assert accepted <= {*killed}
        found = {
            record.payout.state for record in killed.values() if not record.outcome.is_finished
        }
        # Accepted and never checked: only the service's own file knows the receivers.
        assert State.NEW in found if kind is RequestKind.CHECK else found

        await host.start()
        # Whoever got no answer asks again, as they must; the others need not.
        for name in {*NAMES} - accepted:
            assert 202 == (await host.pay(name, account(name))).status_code
        claimed = {name for name, record in killed.items() if pays(record)}
        for name in NAMES:
            await host.until(partial(is_over, host, name, claimed), name)
        await host.end()

        records = await host.records()
        lost = claimed - {*desk.count(RequestKind.PAY)}
        gateway = desk.sandbox.gateway
        truth = Truth(gateway, records, time.time())
        assert {*NAMES} == {*records}
        assert [] == [wrong for record in records.values() for wrong in truth._wrong_sends(record)]
        assert lost == {n for n, record in records.items() if record.payout.state is State.PAYING}
        for name in {*NAMES} - lost:
            outcome = records[name].outcome
            assert ACCOUNTS[account(name)] == outcome.status
            assert outcome.is_approved == gateway.paid(name)
        assert not lost & {entry.client_orderid for entry in gateway.ledger}
        assert [] == kept(tmp_path / "requests.db")


async def hand_in(host: Host, name: str) -> tuple[str, bool]:
    """Hand a payout in; whether it was accepted, for all that its caller knows."""
    try:
        answer = await host.pay(name, account(name))
    except httpx.TransportError:
        return name, False
    assert 202 == answer.status_code
    return name, True


async def is_over(host: Host, name: str, claimed: set[str]) -> bool:
    """Tell whether nothing more will happen to a payout, but for a person's decision."""
    if name in claimed and name not in host.desk.count(RequestKind.PAY):
        return True
    told: dict[str, str] = (await host.get(f"/payouts/{name}")).json()
    return told["state"] == "final"


def kept(path: Path) -> list[str]:
    """Name the payouts whose requests the service still keeps."""
    with closing(sqlite3.connect(path)) as file:
        return [name for (name,) in file.execute("SELECT client_orderid FROM requests")]


def account(name: str) -> str:
    """Choose where a payout goes: of ten one is declined and one ends in an error."""
    last = name[-1]
    return {"4": "0987654321", "7": "1987654321"}.get(last, APPROVED)


def pays(record: Record) -> list[float]:
    """When a payout's pay may have left."""
    return record.claims(PayStarted, PayNotSent)
