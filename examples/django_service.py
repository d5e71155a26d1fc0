"""An async Django service that pays and takes callbacks in, as short as it can be.

With ``BILLBLEND_LOGIN`` and its like and ``PUBLIC_URL``, the service's own address, set::

    uvicorn --app-dir examples --no-access-log --lifespan on django_service:application

Django knows no lifespan, so the ASGI application around it owns the orchestrator.
``fastapi_service.py`` shows what a service needs beside that.
"""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterable, Callable

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

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

django_settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])

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
tasks = asyncio.TaskGroup()


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


async def create(request: HttpRequest) -> JsonResponse:
    """Accept a payout and run it in the background."""
    payout = PayoutRequest.from_text(json.loads(request.body))
    await payouts.accept(payout)
    tasks.create_task(work(lambda: payouts.run_many([payout])))
    return JsonResponse({"client_orderid": payout.client_orderid}, status=202)


async def show(_: HttpRequest, client_orderid: str) -> JsonResponse:
    """Tell where a payout stands."""
    outcome = await payouts.status(client_orderid)
    return JsonResponse({"state": outcome.state, "status": outcome.status})


urlpatterns = [path("payouts", create), path("payouts/<client_orderid>", show)]
django = get_asgi_application()


async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Live as long as the server, take callbacks in, and leave the rest to Django."""
    if scope["type"] == "lifespan":
        await receive()
        async with tasks, client, payouts:
            tasks.create_task(work(payouts.resume))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] in ("/callback", "/callback/"):
        await callbacks(scope, receive, send)
    else:
        await django(scope, receive, send)
