"""A test of a FastAPI service: a pay's answer is lost, and the money still leaves once.

With the package's extra ``cli``, pytest knows ``billblend_sandbox``; in a project of your own::

    pytest test_payday.py
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.testclient import TestClient

from billblend_async import Orchestrator, PayoutRequest
from billblend_async.testing import RunningSandbox


def make_app(open_payouts: Callable[[], AbstractAsyncContextManager[Orchestrator]]) -> FastAPI:
    """Make the service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_payouts() as app.state.payouts:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/payouts")
    async def pay(fields: dict[str, str]) -> dict[str, str | None]:
        outcome = await app.state.payouts.run(PayoutRequest.from_text(fields))
        return {"status": outcome.status}

    return app


def test_lost_answer(billblend_sandbox: RunningSandbox) -> None:
    """A payout whose answer is lost is asked about and not paid again."""
    billblend_sandbox.faults.set("payout-pay", "drop_after", count=1)
    fields = {"client_orderid": "po-1", "amount": "10.42", "currency": "USD"}
    with TestClient(make_app(billblend_sandbox.orchestrator)) as http:
        answer = http.post("/payouts", json={**fields, "account_number": "1234567890"})
    assert answer.json() == {"status": "approved"}
    billblend_sandbox.assert_paid_once("po-1")
