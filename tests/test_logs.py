"""Log records carry the documented fields and nothing else, at the documented levels."""

import ast
import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from fakes import LOST_AFTER, LOST_BEFORE, NOT_CONNECTED, UNANSWERED, FakeClient, Fault
from house import house
from payouts import (
    ALARM_PATHS,
    LINK,
    ORDER,
    START,
    finished,
    fold,
    opened,
    payout_in,
    request,
    seen,
)
from virtual_time import run_virtual

import billblend_async
from billblend_async.core import payout as logs
from billblend_async.core.discrepancies import Finding
from billblend_async.core.machine import evolve
from billblend_async.core.models import Alarm, Deadlines, Doubt, State
from billblend_async.core.payout import FIELDS, fields, fields_of
from billblend_async.core.request import PayoutRequest
from billblend_async.core.responses import Refused, Status, StatusReport
from billblend_async.errors import RequestNeeded
from billblend_async.gateway.wire import RequestKind
from billblend_async.integrations.asgi import answer_callback
from billblend_async.orchestrator.observer import Monitor

CHECK, PAY, STATUS = RequestKind.CHECK, RequestKind.PAY, RequestKind.STATUS
PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
PACKAGE = Path(billblend_async.__file__).parent


def told(record: logging.LogRecord) -> dict[str, Any]:
    """Give what a record carries beside what every record has."""
    return {name: value for name, value in vars(record).items() if name not in PLAIN}


def chosen(records: list[logging.LogRecord], **wanted: object) -> list[logging.LogRecord]:
    """Choose records by their fields, given without their common prefix."""
    return [
        record
        for record in records
        if all(told(record).get(f"billblend_{name}") == value for name, value in wanted.items())
    ]


async def _fail(*_: object) -> None:
    raise LookupError("zq-secret")


async def _every_outcome() -> None:
    """Let payouts come to every kind of end, with trouble of every kind on their way."""
    client = FakeClient()

    async def resolve(client_orderid: str) -> PayoutRequest | None:
        raise LookupError(client_orderid)

    options: dict[str, Any] = {
        "deadlines": Deadlines(doubt=60.0),
        "on_redirect": _fail,
        "resolve": resolve,
    }
    async with house(client, **options) as h:
        await h.payouts.run(request("approved"))
        await h.payouts.run(request("declined", account_number="0987654321"))
        await h.payouts.run(request("error", account_number="1987654321"))
        client.faults[CHECK] = [Fault(reaches=False, answer=Refused("8", "no"))]
        await h.payouts.run(request("rejected"))
        client.faults[CHECK] = [NOT_CONNECTED, LOST_AFTER]
        client.faults[STATUS] = [UNANSWERED] * 3
        await h.payouts.run(request("troubled"))
        client.faults[PAY] = [LOST_BEFORE]
        await h.payouts.run(request("doubted"))
        await asyncio.sleep(70)
        await h.payouts.close("doubted", who="ann", why="never arrived")
        await h.payouts.run(request("withdrawn"), pay=False)
        await h.payouts.withdraw("withdrawn", who="ann", why="typo")
        await _led_by_reports(h)
        client.faults[CHECK] = [LOST_BEFORE] * 12
        stuck = [asyncio.create_task(h.payouts.run(request(f"lost-{n}"))) for n in range(12)]
        await asyncio.sleep(30)
        for task in stuck:
            task.cancel()
        await asyncio.wait(stuck)
        for query in (b"status=approved", b""):
            assert 403 == await answer_callback(h.payouts, query)
        await h.journal.accept(opened("unsent"))
    async with house(None, h.journal.twin(), **options) as again:
        with pytest.raises(RequestNeeded):
            await again.payouts.advance("unsent")


async def _led_by_reports(h: Any) -> None:
    """Let a payout wait for its receiver, and be paid another amount than it should."""
    task = asyncio.create_task(h.payouts.run(request("redirected")))
    while not h.client.count(PAY, "redirected"):
        await asyncio.sleep(0.01)
    report = StatusReport(
        type="status-response",
        status=Status("processing"),
        paynet_order_id=h.payouts._crew.get("redirected").payout.paynet_order_id,
        merchant_order_id="redirected",
        redirect_to=LINK,
    )
    paid = attrs.evolve(
        report, status=Status("approved"), redirect_to=None, amount=request().amount * 2
    )
    h.client.faults[STATUS] = [Fault(answer=report), Fault(answer=attrs.evolve(paid))]
    await task


class _Shelf(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(scope="module")
def records() -> list[logging.LogRecord]:
    """Give all that we log while payouts come to every kind of end."""
    logger, shelf = logging.getLogger("billblend_async"), _Shelf()
    logger.addHandler(shelf)
    logger.setLevel(logging.DEBUG)
    try:
        run_virtual(_every_outcome())
    finally:
        logger.removeHandler(shelf)
        logger.setLevel(logging.NOTSET)
    assert len(shelf.records) > 100
    return shelf.records


def test_only_documented_fields(records: list[logging.LogRecord]) -> None:
    """However payouts end, a record carries documented fields of plain values, and no secret."""
    assert {name for record in records for name in told(record)} == FIELDS
    plain = [type(value) for record in records for value in told(record).values()]
    assert {str, int, float} == set(plain)
    everything = "\n".join(f"{r.getMessage()} {told(r)} {r.exc_text}" for r in records)
    for secret in ("zq-secret", "1234567890", "0987654321", "10.42", LINK):
        assert secret not in everything


def test_every_record_can_be_found(records: list[logging.LogRecord]) -> None:
    """A record names in its fields each payout and reason that its message names."""
    for record in records:
        message = record.getMessage()
        named = re.match("payout ([^ :]+)", message)
        if named:
            assert named[1] == told(record)["billblend_client_orderid"], message
        else:
            assert told(record)["billblend_reason"], message


def test_levels(records: list[logging.LogRecord]) -> None:
    """Changes are DEBUG, ends are INFO, what a person should know is WARNING, our host's ERROR."""

    def levels(**wanted: object) -> set[str]:
        return {record.levelname for record in chosen(records, **wanted)}

    assert {"DEBUG"} == levels(event="PayStarted") == levels(event="Checked")
    assert {"INFO"} == levels(client_orderid="approved", event="Finished")
    assert (
        {"INFO"} == levels(event="Rejected") == levels(event="Closed") == levels(status="declined")
    )
    assert {"INFO"} == levels(event="Withdrawn")
    assert {"WARNING"} == levels(status="error") == levels(alarm="amount-differs")
    assert {"WARNING"} == levels(event="NeedsAttention", state="attention")
    assert {"ERROR"} == levels(reason="LookupError")
    (stop,) = {r.getMessage() for r in records if "billblend_seconds" in told(r)}
    assert stop.startswith("sending stops for")
    refused = [r for r in records if r.name.endswith("endpoint")]
    assert [logging.WARNING] * 2 == [r.levelno for r in refused]


def test_messages(records: list[logging.LogRecord]) -> None:
    """A message says alone what happened."""
    messages = {record.getMessage() for record in records}
    assert {
        "payout approved: PayStarted -> paying",
        "payout approved has ended: approved",
        "payout rejected has ended: rejected",
        "payout error has ended: error",
        "payout doubted needs a person: pay-unconfirmed",
        "payout redirected: alarm: amount-differs",
        "payout redirected: on_redirect failed: LookupError; it is called again",
    } <= messages


def test_alarm_that_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    """An alarm is a WARNING also when it comes again after a person has acknowledged it."""
    before = fold(*ALARM_PATHS[Alarm.LATER_TRANSACTION])
    again = finished(at=START + 200, transaction_type="reversal")
    caplog.set_level(logging.DEBUG, logger="billblend_async")
    for event in (seen(START + 100), again):
        payout = evolve(before, event)
        Monitor().changed(payout, event, before)
        before = payout

    assert [
        ("DEBUG", "payout po-1: Acknowledged -> final"),
        ("WARNING", "payout po-1: alarm: later-transaction"),
    ] == [(record.levelname, record.getMessage()) for record in caplog.records]


def test_every_call_gives_fields() -> None:
    """Every log call of the package gives fields, but the sandbox's, which plays the other side."""
    calls = 0
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "sandbox":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and "log." in ast.unparse(node.func):
                name = ast.unparse(node.func)
                if name.endswith(".isEnabledFor"):
                    continue
                (extra,) = [k.value for k in node.keywords if k.arg == "extra"]
                assert ast.unparse(extra).startswith(("fields(", "fields_of(")), path
                assert not name.endswith(".exception"), path
                calls += 1
    assert calls >= 12


def test_fields_are_documented() -> None:
    """The table in the docstring lists exactly the fields that there are."""
    assert logs.__doc__
    listed = re.findall(r"^``(billblend_\w+)``", logs.__doc__, re.MULTILINE)

    assert sorted(FIELDS) == sorted(listed)


def test_what_does_not_apply_is_left_out() -> None:
    """A field that does not apply is absent, and words are plain text."""
    assert {} == fields()
    odd = (Alarm.SECOND_ORDER, Alarm.AMOUNT_DIFFERS)
    findings = tuple(Finding(alarm=alarm, number=5, paynet_order_id=ORDER) for alarm in odd)
    parked = attrs.evolve(payout_in(State.ATTENTION), alarms=odd, findings=findings)
    given = fields_of(parked)
    assert {"billblend_event", "billblend_status", "billblend_reason"} == FIELDS - given.keys() - {
        "billblend_seconds"
    }
    assert (Doubt.PAY_UNCONFIRMED.value, "amount-differs") == (
        given["billblend_doubt"],
        given["billblend_alarm"],
    )
    assert {str, int} == {type(value) for value in given.values()}
