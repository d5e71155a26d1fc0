"""aiohttp with hand-written loops: no journal, no machine. The speed limit of honest Python.

Its signing is ours, since careful signing is what somebody who counts cycles would write.
"""

import asyncio
import hashlib
import random
import secrets
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from billblend_async import RsaSigner
from billblend_async.gateway.signing import authorization

from ..gateway import DUE
from ..settings import Gap, Settings
from .forms import (
    CHECK,
    FORM,
    PAY,
    check_form,
    is_approved,
    is_validated,
    pay_form,
    read_answer,
    status_form,
    status_path,
)
from .stage import perform


class PlainAiohttp:
    """Payouts over one ``aiohttp.ClientSession`` with kept connections."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        self.errors: Counter[str] = Counter()
        self._settings = settings
        self._http = http
        self._signer = RsaSigner.from_pem(Path(settings.key).read_bytes())
        self._status_url = settings.base_url + status_path(settings.status_version)

    async def run(self, payouts: Sequence[str], gap: Gap) -> AsyncGenerator[bool, None]:
        """Begin all payouts at once."""
        tasks = [asyncio.create_task(self._payout(name, gap)) for name in payouts]
        try:
            for end in asyncio.as_completed(tasks):
                yield await end
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _payout(self, name: str, gap: Gap) -> bool:
        base_url = self._settings.base_url
        try:
            checked = await self._signed(base_url + CHECK, check_form(name))
            order = checked["paynet-order-id"]
            await self._wait_until(is_validated, name, order, gap)
            await self._signed(base_url + PAY, pay_form(self._settings.login, name, order))
            await self._wait_until(is_approved, name, order, gap)
        except (aiohttp.ClientError, TimeoutError, KeyError) as error:
            self.errors[type(error).__name__] += 1
            return False
        return True

    async def _wait_until(
        self, is_over: Callable[[dict[str, str]], bool], name: str, order: str, gap: Gap
    ) -> None:
        settings = self._settings
        form = status_form(settings.login, name, order)
        if settings.status_version == 2:
            secret = settings.login + name + order + settings.merchant_control
            form["control"] = hashlib.sha1(secret.encode(), usedforsecurity=False).hexdigest()
        body = urlencode(form).encode()
        while True:
            seconds = gap.choose(random.random())
            due = time.monotonic() + seconds
            await asyncio.sleep(seconds)
            headers = {DUE: str(due)} if settings.tells_due else {}
            try:
                if settings.status_version == 4:
                    answer = await self._signed(self._status_url, form, headers)
                else:
                    answer = await self._post(self._status_url, body, headers)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.errors[type(error).__name__] += 1
                continue
            if is_over(answer):
                return

    async def _signed(
        self, url: str, form: dict[str, str], headers: dict[str, str] | None = None
    ) -> dict[str, str]:
        signature = authorization(
            self._signer,
            self._settings.login,
            "POST",
            url,
            form.items(),
            nonce=secrets.token_hex(16),
            timestamp=int(time.time()),
        )
        headers = {"Authorization": signature, **(headers or {})}
        return await self._post(url, urlencode(form).encode(), headers)

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        async with self._http.post(url, data=body, headers=headers) as response:
            response.raise_for_status()
            return read_answer((await response.read()).decode())


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[PlainAiohttp]:
    """Open a session that sends no more than it must."""
    trusted = ssl.create_default_context(cafile=settings.ca) if settings.ca else True
    connector = aiohttp.TCPConnector(limit=100, ssl=trusted, keepalive_timeout=60)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": FORM},
    ) as http:
        yield PlainAiohttp(settings, http)


if __name__ == "__main__":
    perform(opened)
