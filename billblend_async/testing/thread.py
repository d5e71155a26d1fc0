"""A sandbox in a thread with an event loop of its own, so that any test can use it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self, TypeVar

from ..errors import ClosedError
from ..sandbox import Sandbox

__all__ = ["SandboxThread"]

T = TypeVar("T")


class SandboxThread:
    """Serves a sandbox beside the test, inside ``with``.

    The test's own event loop may stand still, be another one in each test or not be there at all.
    What the sandbox knows belongs to its thread: look at it and change it by ``call`` only.

    Args:
        sandbox: The sandbox, not yet open.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        # A session that is torn down without its fixtures must not hang at the end.
        self._thread = threading.Thread(target=self._run, name="billblend-sandbox", daemon=True)
        self._opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._ended: Future[None] = Future()
        self._lock = threading.Lock()
        self._is_open = False

    def __enter__(self) -> Self:
        """Start the thread and wait until the sandbox answers; raise what kept it from doing so."""
        self._thread.start()
        try:
            self._opened.result()
        except Exception:
            self._thread.join()
            raise
        self._is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        """Close the sandbox and wait for the end of the thread; raise what went wrong in it."""
        loop, leaving = self._opened.result()
        with self._lock:
            self._is_open = False
            loop.call_soon_threadsafe(leaving.set)
        self._thread.join()
        self._ended.result()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the sandbox's thread, between two of its steps; give what it gives.

        Raises:
            ClosedError: The sandbox is not open.
        """
        answer: Future[T] = Future()

        def carry_out() -> None:
            try:
                answer.set_result(function())
            except Exception as error:  # noqa: BLE001 - raised again where it was asked for
                answer.set_exception(error)

        # Under the lock, so that nothing is asked for after the loop was told to end.
        with self._lock:
            if not self._is_open:
                raise ClosedError("sandbox")
            self._opened.result()[0].call_soon_threadsafe(carry_out)
        return answer.result()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever opens or closes it
            (self._ended if self._opened.done() else self._opened).set_exception(error)
        else:
            self._ended.set_result(None)

    async def _live(self) -> None:
        async with self._sandbox:
            leaving = asyncio.Event()
            self._opened.set_result((asyncio.get_running_loop(), leaving))
            await leaving.wait()
