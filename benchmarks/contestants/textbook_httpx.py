"""Plain httpx with its defaults, a signature as the OAuth pages show it, a tenacity loop per wait.

What somebody writes in an afternoon: one ``AsyncClient``, ``asyncio.gather`` over all payouts.
"""

import asyncio
import base64
import hashlib
import random
import secrets
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    retry_if_result,
    wait_random,
)

from ..gateway import DUE
from ..settings import Gap, Settings
from .forms import (
    CHECK,
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

_NOTHING_SENT = (httpx.PoolTimeout, httpx.ConnectTimeout, httpx.ConnectError)


class TextbookHttpx:
    """The textbook's payouts over one ``httpx.AsyncClient``."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        self.errors: Counter[str] = Counter()
        self._settings = settings
        self._http = http
        key = serialization.load_pem_private_key(Path(settings.key).read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key

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
        try:
            checked = await self._send(CHECK, check_form(name), gap)
            order = checked["paynet-order-id"]
            await self._wait_until(is_validated, name, order, gap)
            await self._send(PAY, pay_form(self._settings.login, name, order), gap)
            await self._wait_until(is_approved, name, order, gap)
        except (httpx.HTTPError, KeyError) as error:
            self.errors[type(error).__name__] += 1
            return False
        return True

    async def _send(self, path: str, form: dict[str, str], gap: Gap) -> dict[str, str]:
        """Send what may move money; again only if nothing was sent."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(_NOTHING_SENT),
            wait=wait_random(gap.shortest, gap.longest),
            after=self._count,
            reraise=True,
        ):
            with attempt:
                return await self._post(path, form, is_signed=True)
        raise AssertionError("tenacity ends in a return or a raise")

    async def _wait_until(
        self, is_over: Callable[[dict[str, str]], bool], name: str, order: str, gap: Gap
    ) -> None:
        due = 0.0

        def pause(state: RetryCallState | None = None) -> float:
            nonlocal due
            seconds = gap.choose(random.random())
            # A question that never left stays due since it was: only what arrives is counted.
            if state is None or state.outcome is None or not state.outcome.failed:
                due = time.monotonic() + seconds
            return seconds

        async def ask() -> dict[str, str]:
            return await self._status(name, order, due)

        await asyncio.sleep(pause())
        await AsyncRetrying(
            retry=retry_if_exception_type(httpx.TransportError)
            | retry_if_result(lambda answer: not is_over(answer)),
            wait=pause,
            after=self._count,
        )(ask)

    async def _status(self, name: str, order: str, due: float) -> dict[str, str]:
        settings = self._settings
        form = status_form(settings.login, name, order)
        if settings.status_version == 2:
            secret = settings.login + name + order + settings.merchant_control
            form["control"] = hashlib.sha1(secret.encode()).hexdigest()
        path = status_path(settings.status_version)
        headers = {DUE: str(due)} if settings.tells_due else {}
        is_signed = settings.status_version == 4
        return await self._post(path, form, is_signed=is_signed, headers=headers)

    async def _post(
        self,
        path: str,
        form: dict[str, str],
        *,
        is_signed: bool,
        headers: dict[str, str] | None = None,
    ) -> dict[str, str]:
        url = self._settings.base_url + path
        headers = dict(headers or {})
        if is_signed:
            headers["Authorization"] = self._sign(url, form)
        response = await self._http.post(url, data=form, headers=headers)
        response.raise_for_status()
        return read_answer(response.text)

    def _sign(self, url: str, form: dict[str, str]) -> str:
        oauth = {
            "oauth_consumer_key": self._settings.login,
            "oauth_nonce": secrets.token_hex(16),
            "oauth_signature_method": "RSA-SHA256",
            "oauth_timestamp": str(int(time.time())),
            "oauth_version": "1.0",
        }
        pairs = sorted(
            (quote(name, safe="-._~"), quote(value, safe="-._~"))
            for name, value in {**form, **oauth}.items()
        )
        normalized = "&".join(f"{name}={value}" for name, value in pairs)
        base = "&".join(quote(part, safe="-._~") for part in ("POST", url, normalized))
        signature = self._key.sign(base.encode(), padding.PKCS1v15(), hashes.SHA256())
        oauth["oauth_signature"] = base64.b64encode(signature).decode()
        fields = (f'{name}="{quote(value, safe="-._~")}"' for name, value in oauth.items())
        return "OAuth " + ", ".join(fields)

    def _count(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is not None:
            self.errors[type(error).__name__] += 1


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[TextbookHttpx]:
    """Open the client as httpx's first page does; only the test gateway's authority is added."""
    verify = ssl.create_default_context(cafile=settings.ca) if settings.ca else True
    async with httpx.AsyncClient(verify=verify) as http:
        yield TextbookHttpx(settings, http)


if __name__ == "__main__":
    perform(opened)
