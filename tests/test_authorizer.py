"""Signatures are made one a round of the event loop, in any loop, and large keys in few threads."""

import asyncio
import os
import sys
import threading
from typing import Any

import pytest
from rsa_keys import private_key

from billblend_async.gateway.credentials import Credentials, RsaSigner, Signer
from billblend_async.gateway.exchange import Authorizer

URL = "https://127.0.0.1/checkout/api/v4/payout-pay/39915"
BODY = b"client_orderid=po-1&login=acme&orderid=77"


class Key:
    """Signs like a key service, and sees in which threads."""

    key_size = 2048

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.niceness: set[int] = set()
        self._meeting = threading.Barrier(8)

    def sign(self, message: bytes) -> bytes:
        self._meeting.wait(10)
        self.threads.add(threading.current_thread().name)
        return b"signed" + message[:0]


def authorizer(signer: Signer | None = None) -> Authorizer:
    return Authorizer(Credentials("acme", signer or RsaSigner(private_key(2048))))


async def rounds(work: Any) -> int:
    """Count the rounds of the event loop while something is awaited."""
    count = 0
    task = asyncio.ensure_future(work)
    while not task.done():
        count += 1
        await asyncio.sleep(0)
    await task
    return count


class TestTurns:
    async def test_one_a_round(self) -> None:
        """Of many requests that come at once, one is signed in each round of the event loop."""
        signing = authorizer()
        together = asyncio.gather(*(signing.authorize("POST", URL, BODY) for _ in range(20)))

        assert 20 <= await rounds(together) <= 30

    async def test_cancelled(self) -> None:
        """Whoever leaves the queue passes the turn on, also when it has just come."""
        signing = authorizer()
        tasks = [asyncio.create_task(signing.authorize("POST", URL, BODY)) for _ in range(9)]
        for number, task in enumerate(tasks):
            if number % 2:
                task.cancel()
            await asyncio.sleep(0)
        headers = await asyncio.gather(*tasks, return_exceptions=True)

        assert all(isinstance(header, str) for header in headers[::2])
        assert await asyncio.wait_for(signing.authorize("POST", URL, BODY), 10)

    def test_two_loops(self) -> None:
        """An authorizer that was used in one event loop serves another as well."""
        signing = authorizer()

        async def many() -> list[str]:
            return await asyncio.gather(*(signing.authorize("POST", URL, BODY) for _ in range(5)))

        assert all(header.startswith("OAuth ") for _ in range(2) for header in asyncio.run(many()))


class TestThreads:
    async def test_key_service(self) -> None:
        """A signer of the user's own may wait: eight of its signatures are made side by side."""
        key = Key()
        signing = authorizer(key)
        try:
            await asyncio.gather(*(signing.authorize("POST", URL, BODY) for _ in range(8)))
        finally:
            signing.close()

        assert 8 == len(key.threads)

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
    async def test_steps_back(self) -> None:
        """Threads that compute step back for the event loop, whose own priority stays."""
        seen: list[int] = []
        signer = RsaSigner(private_key(4096))
        sign = signer.sign

        class Watched(RsaSigner):
            def sign(self, message: bytes) -> bytes:
                seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
                return sign(message)

        before = os.getpriority(os.PRIO_PROCESS, 0)
        signing = authorizer(Watched(private_key(4096)))
        try:
            await signing.authorize("POST", URL, BODY)
        finally:
            signing.close()

        assert [min(19, before + 5)] == seen
        assert before == os.getpriority(os.PRIO_PROCESS, 0)
