"""Signs requests: small keys at once, large ones in threads, so that the event loop never waits."""

import asyncio
import contextlib
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from .errors import BillblendError, SigningFailed
from .keys import Credentials, RsaSigner
from .signing import authorization, body_parameters

__all__ = ["Authorizer"]

_INLINE_KEY_SIZE: Final = 3072
"""Bits up to which a signature (2.2 ms) costs the event loop less than a trip to a thread saves."""
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
        self._turn = asyncio.Lock()
        inline = isinstance(signer, RsaSigner) and signer.key_size <= _INLINE_KEY_SIZE
        self._threads = (
            None
            if inline
            else ThreadPoolExecutor(
                max_workers=_threads(), thread_name_prefix="billblend-sign", initializer=_step_back
            )
        )

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
                async with self._turn:
                    header = sign(self._nonce(), int(self._wall_clock()))
                    await asyncio.sleep(0)  # between two signatures the host has its turn
                return header
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


def _step_back() -> None:
    """Let the event loop go first where both have one core; elsewhere it makes no difference."""
    if sys.platform == "linux":  # alone there a thread has a priority of its own
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _threads() -> int:
    """Say how many threads may sign at once: a few, and one core stays the event loop's."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(4, cores - 1))
