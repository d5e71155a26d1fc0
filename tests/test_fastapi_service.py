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
from hosts import ASKS_RECEIVER, UVICORN, Host, open_host
from test_sandbox_site import Form
from truth import Truth

from billblend_async.events import PayNotSent, PayStarted
from billblend_async.models import State
from billblend_async.wire import RequestKind

SERVICE = (*UVICORN, "fastapi_service:app")
NAMES = [f"po-{n}" for n in range(50)]
APPROVED = "1234567890"


async def test_receiver(tmp_path: Path) -> None:
    """The receiver gets the link, comes back to a page, and the page believes only the status."""
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:
        await host.pay("po-1", ASKS_RECEIVER)
        link = (await host.told("po-1", state="awaiting-receiver"))["redirect_to"]
        assert 200 == (await host.browser.get(link)).status_code
        desk.sandbox.faults.set("status", "error_500")
        form = Form((await host.browser.post(link, data={"decision": "confirm"})).text)

        # The service cannot learn the end yet, and the browser may say what it likes.
        page = await host.browser.post(form.action, data=form.fields)
        assert (200, "approved") == (page.status_code, form.fields["status"])
        assert "under way" in page.text
        forged = await host.browser.post(form.action, data={**form.fields, "status": "declined"})
        assert 403 == forged.status_code
        assert "under way" in (await host.browser.post(form.action, data=form.fields)).text

        desk.sandbox.faults.clear()
        final = await host.told("po-1", state="final", status="approved")
        assert not final["redirect_to"]
        assert ["200"] == [delivery.answer for delivery in desk.sandbox.deliveries]
        assert "on its way" in (await host.browser.post(form.action, data=form.fields)).text
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


@pytest.mark.parametrize(("kind", "many"), [(RequestKind.CHECK, 20), (RequestKind.PAY, 10)])
async def test_killed(kind: RequestKind, many: int, tmp_path: Path) -> None:
    """Killed in the middle of fifty payouts and started again, it finishes them: none paid twice.

    What was about to be paid and never arrived stays open for a person: these, and no others. Two
    pays are lost on purpose; the kill may add some.
    """
    async with (
        open_desk(tmp_path, validation=0.5, processing=0.5) as desk,
        open_host(desk, *SERVICE) as host,
    ):
        desk.sandbox.faults.set("payout-pay", "drop_before", count=2)
        handing_in = asyncio.gather(*(hand_in(host, name) for name in NAMES))
        await host.until(lambda: sum(desk.count(kind).values()) >= many, f"{many} {kind}")
        await host.kill()
        accepted = {name for name, is_accepted in await handing_in if is_accepted}
        killed = await host.records()
        assert accepted <= {*killed}
        assert not all(record.payout.state.is_terminal for record in killed.values())

        await host.start()
        # Whoever got no answer asks again, as they must; the others need not.
        for name in {*NAMES} - accepted:
            assert 202 == (await host.pay(name, account(name))).status_code
        lost = await finish(host)
        assert 2 <= len(lost)


async def test_killed_before_the_checks(tmp_path: Path) -> None:
    """What was accepted and not checked before a kill is known from the service's own file."""
    async with (
        open_desk(tmp_path, validation=0.5, processing=0.5) as desk,
        open_host(desk, *SERVICE) as host,
    ):
        # Sends begin one at a time, so the first slow check holds the others back.
        desk.sandbox.faults.set("payout-check", "delay", seconds=10.0)
        for name, is_accepted in await asyncio.gather(*(hand_in(host, name) for name in NAMES)):
            assert is_accepted, name
        await host.kill()
        desk.sandbox.faults.clear()
        found = {record.payout.state for record in (await host.records()).values()}
        assert {State.NEW, State.CHECKING} <= found

        await host.start()
        assert set() == await finish(host)


async def finish(host: Host) -> set[str]:
    """Wait for the end, hold the journal against the ledger, and name the pays that were lost."""
    desk, asked = host.desk, dict[str, int]()
    for name in NAMES:
        await host.until(partial(is_over, host, name, asked), name)
    await host.end()

    records, gateway = await host.records(), desk.sandbox.gateway
    truth = Truth(gateway, records, time.time())
    assert {*NAMES} == {*records}
    assert [] == [wrong for record in records.values() for wrong in truth._wrong_sends(record)]
    claimed = {n for n, r in records.items() if r.claims(PayStarted, PayNotSent)}
    lost = claimed - {*desk.count(RequestKind.PAY)}
    assert lost == {n for n, record in records.items() if record.payout.state is State.PAYING}
    for name in {*NAMES} - lost:
        outcome = records[name].outcome
        assert ACCOUNTS[account(name)] == outcome.status
        assert outcome.is_approved == gateway.paid(name)
    assert not lost & {entry.client_orderid for entry in gateway.ledger}
    assert [] == kept(desk.folder / "requests.db")
    return lost


async def hand_in(host: Host, name: str) -> tuple[str, bool]:
    """Hand a payout in; whether it was accepted, for all that its caller knows."""
    try:
        answer = await host.pay(name, account(name))
    except httpx.TransportError:
        return name, False
    assert 202 == answer.status_code
    return name, True


async def is_over(host: Host, name: str, asked: dict[str, int]) -> bool:
    """Tell whether a payout is final, or asked about since its pay was sent and never arrived."""
    told: dict[str, str] = (await host.get(f"/payouts/{name}")).json()
    if told["state"] != "paying" or name in host.desk.count(RequestKind.PAY):
        return told["state"] == "final"
    questions = host.desk.count(RequestKind.STATUS)[name]
    return questions > asked.setdefault(name, questions)


def kept(path: Path) -> list[str]:
    """Name the payouts whose requests the service still keeps."""
    with closing(sqlite3.connect(path)) as file:
        return [name for (name,) in file.execute("SELECT client_orderid FROM requests")]


def account(name: str) -> str:
    """Choose where a payout goes: of ten one is declined and one ends in an error."""
    last = name[-1]
    return {"4": "0987654321", "7": "1987654321"}.get(last, APPROVED)
