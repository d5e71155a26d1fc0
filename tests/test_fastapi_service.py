"""The FastAPI example in full: what it tells its callers and receivers, and that it survives."""

import asyncio
import json
import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest
from desk import ACCOUNTS, Desk, open_desk
from hosts import ASKS_RECEIVER, UVICORN, Host, open_host
from test_sandbox_site import Form
from truth import Truth

from billblend_async import Client, Orchestrator, PayoutRequest, SqliteJournal
from billblend_async.core.events import PayNotSent, PayStarted
from billblend_async.core.models import State
from billblend_async.gateway.callbacks import LONGEST_QUERY
from billblend_async.gateway.settings import read_settings
from billblend_async.gateway.wire import RequestKind

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


async def test_silent_refusal(tmp_path: Path) -> None:
    """What is wrong with a payout is told by field; what was sent is not repeated."""
    fields = {"client_orderid": "po-1", "amount": "1.00", "currency": "EUR"}
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:
        for card, cvv in ((4111111111111111, 987), ("4111111111111111", [987])):
            body = {**fields, "credit_card_number": card, "cvv2": cvv}
            wrong = await host.browser.post(f"{host.url}/payouts", json=body)
            assert 422 == wrong.status_code
            assert "cvv2: " in wrong.json()["error"]
            assert "4111" not in wrong.text + host.said
            assert "987" not in wrong.text
        wrong = await host.browser.post(f"{host.url}/payouts", content='{"cvv2": 987')
        assert 422 == wrong.status_code
        assert "987" not in wrong.text
        await host.end()


async def test_redirects_of_the_caller(tmp_path: Path) -> None:
    """A caller may name two addresses for the receiver's return in place of ours."""
    fields = {"client_orderid": "po-1", "amount": "1.00", "currency": "EUR"}
    both = {"redirect_success_url": "https://a.example/", "redirect_fail_url": "https://b.example/"}
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:
        body = {**fields, **both, "account_number": APPROVED}
        assert 202 == (await host.browser.post(f"{host.url}/payouts", json=body)).status_code
        await host.told("po-1", status="approved")


async def test_long_redirect(tmp_path: Path) -> None:
    """The final redirect is read as far as one can reach, and no further."""
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:

        async def body(length: int) -> AsyncIterator[bytes]:
            for _ in range(length // 1024):
                yield b"a" * 1024
            yield b"a" * (length % 1024)

        for length, status in ((LONGEST_QUERY, 403), (LONGEST_QUERY + 1, 413), (1 << 26, 413)):
            url = f"{host.url}/redirected"
            assert status == (await host.browser.post(url, content=body(length))).status_code
        await host.end()


async def test_refused_requests(tmp_path: Path) -> None:
    """A refused request is not kept, and stands in nobody's way."""
    async with open_desk(tmp_path) as desk:
        right = desk.environ["BILLBLEND_ENDPOINT_ID"]
        desk.environ["BILLBLEND_ENDPOINT_ID"] = "999"
        async with open_host(desk, *SERVICE) as host:
            for wrong in ("1111111111", APPROVED):
                assert 503 == (await host.pay("po-1", wrong)).status_code
                assert [] == kept(tmp_path / "requests.db")
            await host.end()
        for path in tmp_path.glob("payouts.db*"):
            path.unlink()  # it belongs to the other endpoint
        desk.environ["BILLBLEND_ENDPOINT_ID"] = right

        async with open_host(desk, *SERVICE) as host:
            assert 202 == (await host.pay("po-1", APPROVED)).status_code
            await host.told("po-1", status="approved")
            for number, status in (("4111111111111111", 409), (APPROVED, 202)):
                assert status == (await host.pay("po-1", number)).status_code
                assert [] == kept(tmp_path / "requests.db")
            await host.end()


async def test_many_at_once_for_one_id(tmp_path: Path) -> None:
    """Of two receivers handed in at once under one id the first stays, also through a crash."""
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:
        # Sends begin one at a time, so this slow check holds the other back.
        desk.sandbox.faults.set("payout-check", "delay", seconds=30.0)
        await host.pay("po-0", APPROVED)
        numbers = [APPROVED, "0987654321"] * 5
        answers = await asyncio.gather(*(host.pay("po-1", number) for number in numbers))
        taken = {n for n, a in zip(numbers, answers, strict=True) if a.status_code == 202}
        assert {202, 409} == {answer.status_code for answer in answers}
        [number] = taken
        await host.kill()
        desk.sandbox.faults.clear()

        await host.start()
        assert {409} == {(await host.pay("po-1", n)).status_code for n in {*numbers} - taken}
        assert 202 == (await host.pay("po-1", number)).status_code
        await host.told("po-1", status=ACCOUNTS[number])
        await host.until(lambda: "po-1" not in kept(tmp_path / "requests.db"), "its forgetting")
        await host.end()


async def test_requests_are_held(tmp_path: Path) -> None:
    """A file of requests that another program has held for long stops no payout and no service."""
    async with open_desk(tmp_path) as desk, open_host(desk, *SERVICE) as host:
        with closing(sqlite3.connect(tmp_path / "requests.db", isolation_level=None)) as file:
            desk.sandbox.faults.set("payout-check", "delay", seconds=1.0)
            assert 202 == (await host.pay("po-1", APPROVED)).status_code
            file.execute("BEGIN EXCLUSIVE")
            assert 503 == (await host.pay("po-2", APPROVED)).status_code
            await host.until(lambda: "not forgotten: OperationalError" in host.said, "a word of it")
            await host.told("po-1", status="approved")
            file.execute("ROLLBACK")

        assert 202 == (await host.pay("po-2", APPROVED)).status_code
        await host.told("po-2", status="approved")
        await host.until(lambda: not kept(tmp_path / "requests.db"), "both to be forgotten")
        await host.end()


async def test_slow_payout(tmp_path: Path) -> None:
    """A payout that waits for its receiver holds up no other that is to be gone on with."""
    eager = "import fastapi_service as service\nservice.GO_ON_EVERY = 0.2\napp = service.app\n"
    (tmp_path / "eager_service.py").write_text(eager, encoding="utf-8")
    async with open_desk(tmp_path) as desk:
        desk.environ["PYTHONPATH"] += os.pathsep + str(tmp_path)
        async with open_host(desk, *UVICORN, "eager_service:app") as host:
            await host.pay("po-1", ASKS_RECEIVER)
            await host.told("po-1", state="awaiting-receiver")
            asked = desk.count(RequestKind.STATUS)["po-1"]
            await host.end()
            await host.start()
            await host.until(lambda: desk.count(RequestKind.STATUS)["po-1"] > asked, "a question")

            await accept_elsewhere(desk, "po-2")
            await host.told("po-2", status="approved")
            assert "awaiting-receiver" == (await host.told("po-1"))["state"]
            await host.end()


async def accept_elsewhere(desk: Desk, name: str) -> None:
    """Accept a payout beside the service, which learns of it from the files alone."""
    fields = {"client_orderid": name, "amount": "10.42", "currency": "EUR"}
    fields["account_number"] = APPROVED
    with closing(sqlite3.connect(desk.folder / "requests.db")) as file, file:
        file.execute("INSERT INTO requests VALUES (?, ?)", (name, json.dumps(fields)))
    settings = read_settings(desk.environ)
    client = Client(
        settings.credentials,
        endpoint_id=settings.endpoint.endpoint_id,
        base_url=settings.endpoint.base_url,
    )
    async with client, Orchestrator(client, SqliteJournal(desk.folder / "payouts.db")) as payouts:
        await payouts.accept(PayoutRequest.from_text(fields))


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
        assert State.NEW in found
        assert found <= {State.NEW, State.CHECKING}

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
