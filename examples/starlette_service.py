"""A Starlette service that pays and takes callbacks in, as short as it can be.

With ``BILLBLEND_LOGIN`` and its like and ``PUBLIC_URL``, the service's own address, set::

    uvicorn --app-dir examples --no-access-log starlette_service:app

``fastapi_service.py`` shows what a service needs beside that.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from billblend_async import (
    CallbackEndpoint,
    Client,
    ClosedError,
    Orchestrator,
    Outcome,
    PayoutRequest,
    SqliteJournal,
)
from billblend_async.gateway.settings import read_settings

settings = read_settings(os.environ)
client = Client(
    settings.credentials,
    endpoint_id=settings.endpoint.endpoint_id,
    base_url=settings.endpoint.base_url,
)
payouts = Orchestrator(
    client,
    SqliteJournal("payouts.db"),
    server_callback_url=os.environ["PUBLIC_URL"] + "/callback",
)
callbacks = CallbackEndpoint(payouts)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Own the orchestrator and what runs in the background, which ends with it."""
    async with asyncio.TaskGroup() as tasks, client, payouts:
        app.state.tasks = tasks
        tasks.create_task(work(payouts.resume))
        yield


async def work(begin: Callable[[], AsyncIterable[Outcome]]) -> None:
    """Run payouts in the background, say which need a person, and try again what has failed."""
    while True:
        try:
            async for outcome in begin():
                if outcome.needs_person:
                    logging.warning("payout %s: %s", outcome.client_orderid, outcome.explanation)
        except ClosedError:
            return
        except Exception as error:  # noqa: BLE001 - it would end whatever else runs in the group
            logging.error("payouts stand still: %s", type(error).__name__)
            await asyncio.sleep(5)
        else:
            return


async def create(request: Request) -> JSONResponse:
    """Accept a payout and run it in the background."""
    payout = PayoutRequest.from_text(await request.json())
    await payouts.accept(payout)
    request.app.state.tasks.create_task(work(lambda: payouts.run_many([payout])))
    return JSONResponse({"client_orderid": payout.client_orderid}, 202)


async def show(request: Request) -> JSONResponse:
    """Tell where a payout stands."""
    outcome = await payouts.status(request.path_params["client_orderid"])
    return JSONResponse({"state": outcome.state, "status": outcome.status})


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/callback", callbacks),
        Route("/callback/", callbacks),
        Route("/payouts", create, methods=["POST"]),
        Route("/payouts/{client_orderid}", show),
    ],
)
