"""A FastAPI service that pays people, whatever happens to it in the meantime.

Set what ``billblend`` needs (``BILLBLEND_LOGIN``, ``BILLBLEND_PRIVATE_KEY``, …) and ``PUBLIC_URL``,
the address under which the gateway and the receivers reach this service; then::

    uvicorn --app-dir examples --no-access-log fastapi_service:app

    curl localhost:8000/payouts --json '{"client_orderid": "po-1", "amount": "10.42",
        "currency": "USD", "account_number": "1234567890"}'
    curl localhost:8000/payouts/po-1

An access log would hold the queries of the callbacks, and with them what they tell about people.
Who may use ``/payouts`` is for your service to decide; ``/callback`` and ``/redirected`` are open
to everybody. One process owns the two files: do not start several workers.

The journal holds nobody's data, so this service keeps each request in a file of its own until the
gateway has it. If you pay to cards, that file falls under PCI DSS: encrypt it.
"""

import asyncio
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from billblend_async import (
    BillblendError,
    CallbackEndpoint,
    Client,
    ClosedError,
    EventsMissed,
    InvalidInput,
    Orchestrator,
    Outcome,
    PayoutConflict,
    PayoutNotFound,
    PayoutRequest,
    SqliteJournal,
    VerificationFailed,
    read_final_redirect,
)
from billblend_async.gateway.settings import read_settings

log = logging.getLogger("payouts")

PUBLIC_URL = os.environ["PUBLIC_URL"].rstrip("/")
GO_ON_EVERY = 600.0
"""Seconds after which payouts that were handed back unfinished are gone on with."""
MOST_AT_ONCE = 8
"""Those that go on at once: a payout that waits for its receiver holds one up for an hour."""
PAUSE = 5.0
"""Seconds until something is tried again that has failed."""
LONGEST_BODY = 256 * 1024
"""Bytes of the longest final redirect that ``read_final_redirect`` reads."""
ANSWERS = {InvalidInput: 422, PayoutConflict: 409, PayoutNotFound: 404, VerificationFailed: 403}


class Requests:
    """The requests that may have to be sent yet, in a file that nobody else can read."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA secure_delete = ON")
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS requests"
            " (client_orderid TEXT PRIMARY KEY, fields TEXT NOT NULL)"
        )

    def keep(self, request: PayoutRequest) -> bool:
        """Keep a request, durably when this returns; False if it is kept already.

        Raises:
            PayoutConflict: Another one is kept under its id, and stays.
        """
        name, fields = request.client_orderid, json.dumps(dict(request.given()))
        is_new = self._file.execute(
            "INSERT INTO requests VALUES (?, ?) ON CONFLICT DO NOTHING", (name, fields)
        ).rowcount
        if not is_new and self.find(name) not in (request, None):
            raise PayoutConflict(name, ("request",))
        return bool(is_new)

    def find(self, client_orderid: str) -> PayoutRequest | None:
        """Find the request of a payout."""
        found = self._file.execute(
            "SELECT fields FROM requests WHERE client_orderid = ?", (client_orderid,)
        ).fetchone()
        return PayoutRequest.from_text(json.loads(found[0])) if found else None

    def forget(self, client_orderid: str) -> None:
        """Forget the request of a payout, if it is there."""
        self._file.execute("DELETE FROM requests WHERE client_orderid = ?", (client_orderid,))

    def names(self) -> list[str]:
        """List the payouts whose requests are here."""
        return [name for (name,) in self._file.execute("SELECT client_orderid FROM requests")]


async def resolve(client_orderid: str) -> PayoutRequest | None:
    """Find the request of a payout that was accepted and never checked."""
    return await asyncio.to_thread(requests.find, client_orderid)


settings = read_settings(os.environ)
requests = Requests(Path("requests.db"))
client = Client(
    settings.credentials,
    endpoint_id=settings.endpoint.endpoint_id,
    endpoint_group_id=settings.endpoint.endpoint_group_id,
    base_url=settings.endpoint.base_url,
    status_version=settings.status_version,
)
payouts = Orchestrator(
    client,
    SqliteJournal("payouts.db"),
    resolve=resolve,
    server_callback_url=f"{PUBLIC_URL}/callback",
)
callbacks = CallbackEndpoint(payouts)
turns = WeakValueDictionary[str, asyncio.Lock]()


def turn(client_orderid: str) -> asyncio.Lock:
    """Let one at a time decide whether the request of a payout is kept."""
    return turns.setdefault(client_orderid, asyncio.Lock())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Go on with what is unfinished, and own all that runs in the background.

    Closing the orchestrator ends every run, so the task group closes last and waits for no payout.
    An error that got out of one of its tasks would end them all: none may.
    """
    async with asyncio.TaskGroup() as tasks, client, payouts:
        app.state.tasks = tasks
        background = [tasks.create_task(go_on(tasks)), tasks.create_task(forget_sent())]
        yield
        for task in background:
            task.cancel()


async def go_on(tasks: asyncio.TaskGroup) -> None:
    """Go on with every unfinished payout: at the start, and after a deadline or a full disk.

    It waits for none of them, since the slowest takes hours; what runs already is joined.
    """
    running = set[asyncio.Task[None]]()
    while True:
        running = {task for task in running if not task.done()}
        if len(running) < MOST_AT_ONCE:
            running.add(tasks.create_task(work(payouts.resume)))
        await asyncio.sleep(GO_ON_EVERY)


async def work(begin: Callable[[], AsyncIterable[Outcome]]) -> None:
    """Run payouts in the background, again after a pause when something ends them all."""
    while True:
        try:
            async for outcome in begin():
                if outcome.needs_person:
                    log.warning("payout %s: %s", outcome.client_orderid, outcome.explanation)
        except ClosedError:
            return  # the service ends; its next start goes on
        except Exception as error:  # noqa: BLE001 - nothing that happens to payouts ends the service
            log.error("payouts stand still: %s", cause(error))
            await asyncio.sleep(PAUSE)
        else:
            return


def cause(error: Exception) -> str:
    """Say what is wrong: our errors hold no secrets, and of others nobody knows."""
    return str(error) if isinstance(error, BillblendError) else type(error).__name__


async def forget_sent() -> None:
    """Forget each request as soon as the gateway has it, and what a crash has left."""
    while True:
        try:
            with payouts.events() as events:
                for name in await asyncio.to_thread(requests.names):
                    async with turn(name):
                        await forget_unneeded(name)
                async for notice in events:
                    if not may_be_sent(notice.outcome):
                        await asyncio.to_thread(requests.forget, notice.outcome.client_orderid)
        except EventsMissed:
            log.warning("too much happened at once: looking through all requests")
        except Exception as error:  # noqa: BLE001 - as above
            log.error("requests are not forgotten: %s", cause(error))
            await asyncio.sleep(PAUSE)
        else:
            return


async def forget_unneeded(client_orderid: str) -> None:
    """Forget a request that was sent, or that was never accepted."""
    try:
        is_needed = may_be_sent(await payouts.status(client_orderid))
    except PayoutNotFound:
        is_needed = False
    if not is_needed:
        await asyncio.to_thread(requests.forget, client_orderid)


def may_be_sent(outcome: Outcome) -> bool:
    """Tell whether the receiver's data may be needed yet."""
    return outcome.paynet_order_id is None and not outcome.is_finished


async def take_in(request: PayoutRequest) -> None:
    """Accept a payout and keep its request as long as it may be needed; a refused one never is."""
    name = request.client_orderid
    async with turn(name):
        await forget_unneeded(name)
        is_new = await asyncio.to_thread(requests.keep, request)
        try:
            await payouts.accept(request)
        except PayoutConflict:
            if is_new:  # the payout of the journal is not this one
                await asyncio.to_thread(requests.forget, name)
            raise
        finally:
            await forget_unneeded(name)


app = FastAPI(
    lifespan=lifespan,
    # Both, since a redirect from one to the other is an answer that the gateway does not take.
    routes=[Route("/callback", callbacks), Route("/callback/", callbacks)],
)


@app.exception_handler(BillblendError)
async def tell(_: Request, error: Exception) -> JSONResponse:
    """Answer with what is wrong: our errors hold no secrets."""
    return JSONResponse({"error": str(error)}, ANSWERS.get(type(error), 503))


@app.exception_handler(sqlite3.Error)
async def tell_to_come_again(_: Request, error: Exception) -> JSONResponse:
    """Answer that requests cannot be kept now; whoever asks again does nothing twice."""
    log.error("requests cannot be kept: %s", cause(error))
    return JSONResponse({"error": "the service cannot keep requests now; try again"}, 503)


@app.exception_handler(RequestValidationError)
async def name_fields(_: Request, error: Exception) -> JSONResponse:
    """Answer with fields and messages only: FastAPI's own answer repeats what was sent."""
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    told = [f"{'.'.join(map(str, each['loc'][1:])) or 'body'}: {each['msg']}" for each in wrong]
    return JSONResponse({"error": "; ".join(told)}, 422)


@app.post("/payouts", status_code=202)
async def create(fields: dict[str, str]) -> dict[str, str]:
    """Accept a payout and run it in the background; the same payout again is the same payout."""
    if not (fields.get("redirect_success_url") or fields.get("redirect_fail_url")):
        fields = {"redirect_url": f"{PUBLIC_URL}/redirected", **fields}
    request = PayoutRequest.from_text(fields)
    await take_in(request)
    app.state.tasks.create_task(work(lambda: payouts.run_many([request])))
    return {"client_orderid": request.client_orderid}


@app.get("/payouts/{client_orderid}")
async def show(client_orderid: str) -> dict[str, str | None]:
    """Tell where a payout stands, and where its receiver must go, while they must."""
    outcome = await payouts.status(client_orderid)
    return {
        "client_orderid": client_orderid,
        "state": outcome.state,
        "status": outcome.status,
        "explanation": outcome.explanation,
        "redirect_to": outcome.redirect_to,
    }


@app.post("/redirected")
async def welcome_back(request: Request) -> HTMLResponse:
    """Show the receiver where the payout stands; what the browser brings says only which it is."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise HTTPException(413)
    redirect = read_final_redirect(bytes(body), settings.credentials.callback_controls)
    outcome = await payouts.status(redirect.client_orderid)
    if outcome.paynet_order_id != redirect.paynet_order_id:
        raise VerificationFailed("the redirect's order is not the order of this payout")
    if outcome.is_approved:
        return HTMLResponse("<p>The money is on its way to you.</p>")
    if outcome.is_finished:
        return HTMLResponse("<p>The payout was not made.</p>")
    return HTMLResponse("<p>The payout is under way. Look again in a moment.</p>")
