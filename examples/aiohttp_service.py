"""An aiohttp service that pays and takes callbacks in, as short as it can be.

With ``BILLBLEND_LOGIN`` and its like and ``PUBLIC_URL``, the service's own address, set::

    python examples/aiohttp_service.py 8000

``fastapi_service.py`` shows what a service needs beside that.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable

from aiohttp import web

from billblend_async import (
    Client,
    ClosedError,
    Orchestrator,
    Outcome,
    PayoutRequest,
    SqliteJournal,
    answer_callback,
)
from billblend_async.gateway.settings import read_settings

PAYOUTS = web.AppKey("payouts", Orchestrator)
TASKS = web.AppKey("tasks", asyncio.TaskGroup)
routes = web.RouteTableDef()


@routes.get("/callback{slash:/?}", allow_head=False)
async def callback(request: web.Request) -> web.Response:
    """Take a callback in, by its query as it came: ``request.query_string`` is decoded."""
    query = request.rel_url.raw_query_string
    return web.Response(status=await answer_callback(request.app[PAYOUTS], query))


@routes.post("/payouts")
async def create(request: web.Request) -> web.Response:
    """Accept a payout and run it in the background."""
    payouts, payout = request.app[PAYOUTS], PayoutRequest.from_text(await request.json())
    await payouts.accept(payout)
    request.app[TASKS].create_task(work(lambda: payouts.run_many([payout])))
    return web.json_response({"client_orderid": payout.client_orderid}, status=202)


@routes.get("/payouts/{client_orderid}")
async def show(request: web.Request) -> web.Response:
    """Tell where a payout stands."""
    outcome = await request.app[PAYOUTS].status(request.match_info["client_orderid"])
    return web.json_response({"state": outcome.state, "status": outcome.status})


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


async def lifespan(app: web.Application) -> AsyncIterator[None]:
    """Own the orchestrator and what runs in the background, which ends with it."""
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
    async with asyncio.TaskGroup() as tasks, client, payouts:
        app[PAYOUTS], app[TASKS] = payouts, tasks
        tasks.create_task(work(payouts.resume))
        yield


if __name__ == "__main__":
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.append(lifespan)
    # An access log would hold the queries of the callbacks.
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None)
