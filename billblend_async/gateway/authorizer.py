"""Signs requests: small keys at once, large ones in threads, so that the event loop never waits."""

import asyncio
import contextlib
import os
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ..errors import BillblendError, SigningFailed
from .credentials import Credentials, RsaSigner, Signer
from .signing import authorization, body_parameters

__all__ = ["Authorizer"]

_INLINE_KEY_SIZE: Final = 3072
"""Bits up to which a signature (2.2 ms) costs the event loop less than a trip to a thread saves."""
_MOST_WAITING: Final = 8
_NICENESS: Final = 5
"""How far the signing threads step back: to a quarter of a core that the event loop keeps busy."""


class Authorizer:
    """Makes the Authorization header of each request, OAuth 1.0a RSA-SHA256.

    The key is read once, when the credentials are made. Keys over 3072 bits, and signers of the
    user's own, sign in a few threads of their own.

    Args:
        credentials: Login and signer.
        nonce: Makes a value that is never used twice.
        wall_clock: Seconds since the epoch, for the signature's timestamp.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._nonce = nonce
        self._wall_clock = wall_clock
        signer = credentials.signer
        self._turns = _Turns()
        self._threads = _threads(signer)

    async def authorize(self, method: str, url: str, body: bytes) -> str:
        """Sign a request: give the value of its Authorization header.

        The parameters that are signed are read from the body that is sent, so nothing else can be
        signed (RFC 5849 section 3.4.1.3.1).

        Raises:
            InvalidInput: The body is no form data, or holds a name twice.
            SigningFailed: The signer, nonce or clock raised.
        """
        parameters = body_parameters(body)

        def sign(nonce: str, timestamp: int) -> str:
            return authorization(
                self._credentials.signer,
                self._credentials.login,
                method,
                url,
                parameters,
                nonce=nonce,
                timestamp=timestamp,
            )

        try:
            if self._threads is None:
                async with self._turns.one():
                    return sign(self._nonce(), int(self._wall_clock()))
            fresh = self._nonce(), int(self._wall_clock())
            return await asyncio.get_running_loop().run_in_executor(self._threads, sign, *fresh)
        except BillblendError:
            raise
        except Exception as error:  # noqa: BLE001 - a signer of the user's own may raise anything
            reason = type(error).__name__
        raise SigningFailed(reason)

    def close(self) -> None:
        """Stop the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)


class _Turns:
    """Lets one signature be made in each round of the event loop, first come, first served.

    A whole row of them would hold up the host, which has its turn between two.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a turn."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # an earlier loop is over, and with it whoever waited in it
            self._loop, self._waiting, self._is_taken = loop, deque(), False
        if self._is_taken:
            turn = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self._pass_on()
                raise
        self._is_taken = True
        try:
            yield
        finally:
            if self._waiting:
                self._pass_on()  # who is woken goes on in the next round
            else:
                loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False


def _threads(signer: Signer) -> ThreadPoolExecutor | None:
    """Make the threads that sign; none for a key that signs faster than a thread is reached."""
    name = "billblend-sign"
    if not isinstance(signer, RsaSigner):
        # It may wait for a key service, and takes no core then.
        return ThreadPoolExecutor(_MOST_WAITING, thread_name_prefix=name)
    if signer.key_size <= _INLINE_KEY_SIZE:
        return None
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    most = max(1, min(4, cores - 1))  # one core stays the event loop's
    return ThreadPoolExecutor(most, thread_name_prefix=name, initializer=_step_back)


def _step_back() -> None:
    """Let the event loop go first where both have one core; elsewhere it makes no difference."""
    if sys.platform == "linux":  # alone there a thread has a priority of its own
        with contextlib.suppress(OSError):
            niceness = os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, niceness))
