"""This library, as its users run it: client, journal and machine."""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import httpx

from billblend_async import (
    Client,
    Credentials,
    Journal,
    Observer,
    Orchestrator,
    Payout,
    Polling,
    SqliteJournal,
)

from ..book import WARM_UP
from ..gateway import DUE, ENDPOINT
from ..settings import Gap, Settings
from .forms import payout_request
from .stage import perform

if TYPE_CHECKING:
    from billblend_async import PostgresJournal

_POLLS: Final = 64
_KEEP_ALIVE: Final = 30.0
_KEY: Final = bytes(range(32))


@attrs.define(eq=False)
class _Due:
    """When the next question about one payout is due, by the machine's monotonic clock."""

    at: float | None = None


_due: ContextVar[_Due] = ContextVar("_due")


class DueObserver(Observer):
    """Makes room in each payout's own task; the tasks that send for it see the same place."""

    def joined(self, payout: Payout) -> None:  # noqa: ARG002 - whose it is the task knows
        """Begin with a payout."""
        _due.set(_Due())


class DuePolling(Polling):
    """Remembers when the next question is due."""

    def gap(self, *about: Any, **more: Any) -> float:  # noqa: ANN401 - whatever it is told
        """Choose the next gap as always."""
        seconds = super().gap(*about, **more)
        if (due := _due.get(None)) is not None:
            due.at = time.monotonic() + seconds
        return seconds


@attrs.frozen
class DueTransport(httpx.AsyncBaseTransport):
    """Tells the gateway with each question when it was due."""

    inner: httpx.AsyncBaseTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a question."""
        due = _due.get(None)
        if due is not None and due.at is not None:
            request.headers[DUE] = str(due.at)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close what sends."""
        await self.inner.aclose()


def _tell_due_over_aiohttp() -> None:
    """Let every question of this process that travels over aiohttp tell when it was due."""
    import aiohttp  # noqa: PLC0415 - only where it is wanted

    post = aiohttp.ClientSession.post

    def post_with_due(self: aiohttp.ClientSession, *target: Any, **options: Any) -> Any:  # noqa: ANN401 - handed on
        due = _due.get(None)
        if due is not None and due.at is not None:
            options["headers"] = {**(options.get("headers") or {}), DUE: str(due.at)}
        return post(self, *target, **options)

    aiohttp.ClientSession.post = post_with_due  # type: ignore[method-assign]  # on purpose


class Ours:
    """Payouts by ``Orchestrator.run_many``, all of them open at once."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self.errors: Counter[str] = Counter()
        self._settings = settings
        self._client = client

    async def run(self, payouts: Sequence[str], gap: Gap) -> AsyncGenerator[bool, None]:
        """Begin all payouts at once."""
        async with Orchestrator(
            self._client,
            self._journal(is_warm_up=payouts[0].startswith(WARM_UP)),
            polling=make_polling(self._settings, gap),
            observer=DueObserver() if self._settings.tells_due else None,
        ) as orchestrator:
            requests = (payout_request(name) for name in payouts)
            async for outcome in orchestrator.run_many(requests, concurrency=len(payouts)):
                if outcome.problem is not None:
                    self.errors[type(outcome.problem).__name__] += 1
                yield outcome.is_approved

    def _journal(self, *, is_warm_up: bool) -> Journal:
        settings = self._settings
        if settings.database:
            return make_shared_journal(settings.database)
        is_kept = settings.is_durable and not is_warm_up
        return SqliteJournal(settings.store if is_kept else ":memory:")


def make_polling(settings: Settings, gap: Gap) -> Polling:
    """Give a polling whose gaps are these."""
    # The library spreads its gaps over the inner 80 % of the range that it is given.
    margin = (gap.longest - gap.shortest) / 8
    make = DuePolling if settings.tells_due else Polling
    return make(shortest=gap.shortest - margin, longest=gap.longest + margin)


def make_shared_journal(database: str) -> "PostgresJournal":
    """Make a journal in a PostgreSQL database."""
    from billblend_async import PostgresJournal  # noqa: PLC0415 - its psycopg may be missing

    return PostgresJournal(database, key=_KEY)


async def make_tables(database: str) -> None:
    """Make the tables of that journal."""
    journal = make_shared_journal(database)
    await journal.initialise()
    await journal.aclose()


def _poll_transport(
    settings: Settings, trusted: ssl.SSLContext | None
) -> httpx.AsyncBaseTransport | Literal["aiohttp"] | None:
    """Make what sends status questions, or name it; None for the library's own."""
    match settings.transport:
        case "aiohttp":
            if settings.tells_due:
                _tell_due_over_aiohttp()
            return "aiohttp"
        case "pyreqwest":
            from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - likewise
            from pyreqwest.compatibility.httpx import HttpxTransport  # noqa: PLC0415 - likewise

            builder = (
                ClientBuilder().max_connections(_POLLS).http1_only().follow_redirects(enable=False)
            )
            if settings.ca is not None:
                builder = builder.add_root_certificate_pem(Path(settings.ca).read_bytes())
            return HttpxTransport(builder.build())
        case _ if settings.tells_due:
            limits = httpx.Limits(
                max_connections=_POLLS,
                max_keepalive_connections=_POLLS,
                keepalive_expiry=_KEEP_ALIVE,
            )
            return httpx.AsyncHTTPTransport(verify=trusted or True, limits=limits, trust_env=False)
        case _:
            return None


@asynccontextmanager
async def opened_client(settings: Settings) -> AsyncIterator[Client]:
    """Open the client as a service does, once for the process."""
    trusted = ssl.create_default_context(cafile=settings.ca) if settings.ca else None
    key = await asyncio.to_thread(Path(settings.key).read_text, "ascii")
    credentials = Credentials(settings.login, key, merchant_control=settings.merchant_control)
    transport = _poll_transport(settings, trusted)
    made = transport if isinstance(transport, httpx.AsyncBaseTransport) else None
    if made is not None and settings.tells_due:
        transport = made = DueTransport(made)
    try:
        async with Client(
            credentials,
            endpoint_id=ENDPOINT,
            base_url=settings.base_url,
            status_version=settings.status_version,
            poll_transport=transport,
            ssl_context=trusted,
            max_polls=_POLLS,
        ) as client:
            yield client
    finally:
        if made is not None:
            await made.aclose()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Ours]:
    """Open the client, and the journal for each crowd."""
    if settings.database:
        await make_tables(settings.database)
    async with opened_client(settings) as client:
        yield Ours(settings, client)


if __name__ == "__main__":
    perform(opened)
