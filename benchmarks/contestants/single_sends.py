"""``Client.check`` in turn with the least that it could be: a bare transport, a bare signature.

Both send over httpx's transport on a fresh connection for each request. Prints one line of JSON:
for each round the CPU seconds of one request, ours and the bare one's.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import httpx

from billblend_async import Accepted, Client, Credentials, RsaSigner

from ..gateway import ENDPOINT
from ..settings import Settings
from .forms import CHECK, FORM, check_form, payout_request
from .stage import take_settings

_SIGNED: Final = b"x" * 900
"""As long as what is signed for a usual payout."""
_AUTHORIZATION: Final = f'OAuth oauth_signature="{"x" * 344}"'

Send = Callable[[str], Awaitable[None]]


async def measure(settings: Settings, rounds: int) -> list[tuple[float, float]]:
    """Measure both in turn: CPU seconds of one request, ours and the bare one's."""
    pem = await asyncio.to_thread(Path(settings.key).read_text, "ascii")
    signer = RsaSigner.from_pem(pem)
    trusted = ssl.create_default_context(cafile=settings.ca) if settings.ca else None
    bare = httpx.AsyncHTTPTransport(
        verify=trusted or True, limits=httpx.Limits(max_keepalive_connections=0), trust_env=False
    )
    headers = {"Content-Type": FORM, "Connection": "close", "Authorization": _AUTHORIZATION}
    url = settings.base_url + CHECK

    async def send_bare(name: str) -> None:
        signer.sign(_SIGNED)
        body = urlencode(check_form(name)).encode()
        request = httpx.Request("POST", url, headers=headers, content=body)
        response = await bare.handle_async_request(request)
        await response.aread()
        await response.aclose()

    credentials = Credentials(settings.login, signer, merchant_control=settings.merchant_control)
    async with (
        bare,
        Client(
            credentials,
            endpoint_id=ENDPOINT,
            base_url=settings.base_url,
            ssl_context=trusted,
        ) as client,
    ):

        async def send_ours(name: str) -> None:
            answer = await client.check(payout_request(name))
            assert isinstance(answer, Accepted)

        times = settings.payouts // rounds
        for send in (send_ours, send_bare):
            await _seconds(send, "warm-up", 3)
        return [
            (
                await _seconds(send_ours, f"ours-{number}", times),
                await _seconds(send_bare, f"bare-{number}", times),
            )
            for number in range(rounds)
        ]


async def _seconds(send: Send, name: str, times: int) -> float:
    """Measure the CPU seconds of one request, over some."""
    began = time.process_time()
    for number in range(times):
        await send(f"{name}-{number}")
    return (time.process_time() - began) / times


def main() -> None:
    """Measure and print."""
    settings, _ = take_settings()
    print(json.dumps(asyncio.run(measure(settings, int(sys.argv[2])))), flush=True)


if __name__ == "__main__":
    main()
