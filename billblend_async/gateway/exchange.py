"""One exchange with the gateway: limits, signing off the loop, the send guard and the bulkhead.

``Timeouts``, ``Reply`` and ``Failure`` are what both transports share. ``Departure`` guards one
request: it proves that no first byte has left, or says that it may have. ``Authorizer`` signs small
keys at once and large ones in threads, so that the event loop never waits. ``Lane`` bounds how many
exchanges run at once and lets each one end, whoever stops waiting for it.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import attrs

from ..core.payout import fields
from ..errors import BillblendError, ClaimLost, ConfigurationError, SigningFailed
from .credentials import Credentials, RsaSigner, Signer
from .signing import authorization, body_parameters

__all__ = [
    "KEEP_ALIVE",
    "LONGEST_ANSWER",
    "LONGEST_STAND",
    "Authorizer",
    "BeforeSend",
    "Departure",
    "Failure",
    "Lane",
    "MayNotLeave",
    "Reply",
    "Sender",
    "Timeouts",
    "is_cancelled",
    "judge",
    "no_transport",
    "unfit_for_sending",
]

BeforeSend = Callable[[], Awaitable[None]]
"""Awaited right before the first byte; if it raises, nothing is sent."""

LONGEST_STAND: Final = 10.0
"""Seconds that may lie between the leave to go and the last part of a request."""
_HEAD: Final = ".send_request_headers.started"
_BODY: Final = ".send_request_body.started"
_FOLLOWED: Final = (_HEAD, _BODY)
_NOBODY_WAITS: Final = "nobody waits for this request any more"


class MayNotLeave(Exception):
    """Keeps a request from leaving a second time, too late, or for nobody."""


class Departure:
    """Watches one request leave: whether it may have, and what is done right before.

    Put it into a request's extensions under ``Departure.EXTENSION``. Over httpx's own transport it
    listens to httpcore's awaited event ``send_request_headers.started``, which comes when the
    connection is open and before the first byte. Over one that calls a handler in this process, the
    request counts as leaving before that transport is called.

    A transport may send copies, one after the other or at the same moment: one of them leaves. Its
    body is given out once, to whoever was just seen to begin with it (see ``give_body``).

    A program may stand still for minutes at any moment, as when its machine is paused, and others
    may decide meanwhile what becomes of the payout. So the clocks are looked at once more when the
    head has left and the body has not: a head alone does nothing.

    Args:
        before_send: Awaited right before the first byte.
        wall_clock: Seconds since the epoch, which goes on while a machine sleeps.

    Attributes:
        has_begun: Whether somebody has asked to let it go, so that nobody else may.
        may_have_left: Whether the first byte may have left this machine.
        refusal: What ``before_send`` raised, or why it may not leave; then nothing was sent.
        is_over: Whether nobody waits for the request any more; set it, and it does not leave.
        is_shielded: Whether a transport may give up by itself; set it, and ``before_send`` is not
            cut off by that.
    """

    EXTENSION: Final = "billblend.departure"

    __slots__ = (
        "_before_send",
        "_claiming",
        "_is_body_due",
        "_left_at",
        "_wall_clock",
        "has_begun",
        "is_over",
        "is_shielded",
        "may_have_left",
        "refusal",
    )

    def __init__(
        self,
        before_send: BeforeSend | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._before_send = before_send
        self._wall_clock = wall_clock
        self._left_at = (0.0, 0.0)
        self._is_body_due = False
        self._claiming: asyncio.Future[None] | None = None
        self.has_begun = False
        self.may_have_left = False
        self.is_over = False
        self.is_shielded = False
        self.refusal: BaseException | None = None

    async def leave(self) -> None:
        """Do what must be done before the first byte, then let the request go, once.

        Whoever cancels this keeps the request from leaving; that is no refusal, for the claim may
        be on record.

        Raises:
            MayNotLeave: Somebody else has asked before, or nobody waits any more.
            BaseException: What ``before_send`` raised.
        """
        if self.has_begun or self.refusal is not None:
            # A transport that repeats requests by itself must not repeat one that moves money.
            raise MayNotLeave("a request leaves only once")
        if self.is_over:
            raise MayNotLeave(_NOBODY_WAITS)  # before a claim is made that nobody takes back
        self.has_begun = True  # before anything is awaited: copies come at the same moment
        try:
            if self._before_send is not None:
                await self._claim(self._before_send)
        except asyncio.CancelledError as error:
            if not is_cancelled():
                self.refusal = error
            raise
        except BaseException as error:
            self.refusal = error
            raise
        if self.is_over:
            raise MayNotLeave(_NOBODY_WAITS)
        self.may_have_left = True
        self._left_at = self._now()

    async def _claim(self, before_send: BeforeSend) -> None:
        if not self.is_shielded:
            await before_send()
            return
        self._claiming = asyncio.ensure_future(before_send())
        try:
            await asyncio.shield(self._claiming)
        except asyncio.CancelledError:
            await self.settle()
            raise

    async def settle(self) -> None:
        """Wait until what is done before the first byte has ended, whoever gave it up meanwhile."""
        if self._claiming is None:
            return
        await asyncio.wait([self._claiming])
        if not self._claiming.cancelled() and self.refusal is None:
            self.refusal = self._claiming.exception()

    def refuse(self, refusal: BaseException) -> None:
        """Let it never leave, unless it has begun to."""
        if not self.has_begun and self.refusal is None:
            self.refusal = refusal

    def go_on(self) -> None:
        """Let the rest of the request go, unless its head has left too long ago.

        Raises:
            MayNotLeave: The program stood still in between, or nobody waits any more.
        """
        if self.is_over:
            raise MayNotLeave(_NOBODY_WAITS)
        passed = [now - then for now, then in zip(self._now(), self._left_at, strict=True)]
        if max(map(abs, passed)) > LONGEST_STAND:
            raise MayNotLeave("the program stood still while the request was leaving")

    def give_body(self) -> None:
        """Let the body be read, once, by whoever was just seen to begin with sending it.

        Raises:
            MayNotLeave: It would be read before its head has left, or for another copy.
        """
        if not self._is_body_due:
            raise MayNotLeave("a request's body is read only while it leaves")
        self._is_body_due = False

    def _now(self) -> tuple[float, float]:
        return asyncio.get_running_loop().time(), self._wall_clock()

    async def on_trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Follow httpcore's trace; a proxy's CONNECT carries nothing of the request."""
        self._is_body_due = False
        if not name.endswith(_FOLLOWED) or info["request"].method == b"CONNECT":
            return
        if name.endswith(_HEAD):
            await self.leave()
        else:
            self.go_on()
            self._is_body_due = self.may_have_left


def is_cancelled() -> bool:
    """Tell whether the running task itself was cancelled, rather than something it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


LONGEST_ANSWER: Final = 1024 * 1024
"""Bytes of the longest answer that is read; merchant_data alone may be 192 KiB when encoded."""
KEEP_ALIVE: Final = 2.0
"""Seconds that an idle connection is kept: below the poll interval and the gateway's own limit, so
that no poll is written into a connection that the gateway is closing."""
_GIVEN_UP: Final = "the transport gave it up before it left"
_UNSEEN: Final = (
    "answered without being seen leaving; does a mocking library replace httpx's insides? "
    "see the testing guide"
)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each part of an exchange may take, in seconds.

    Attributes:
        connect: Until the connection is open and secured.
        write: Until a part of the request is handed to the network.
        send_read: Until the next part of the answer to a request that may move money; long, since
            an answer that is given up on must be asked about.
        poll_read: Until the next part of the answer to a status request.
    """

    connect: float = 10.0
    write: float = 30.0
    send_read: float = 90.0
    poll_read: float = 30.0


@attrs.frozen
class Reply:
    """What came back.

    Attributes:
        http_status: The HTTP status.
        body: The bytes as they came; masked, since they may hold personal data.
        is_delimited: Whether their end was declared, so that a cut would have been seen.
    """

    http_status: int
    body: bytes = attrs.field(repr=False)
    is_delimited: bool


@attrs.frozen
class Failure:
    """Nothing that can be read came back.

    Attributes:
        reason: The kind of failure.
        may_have_left: Whether the request may have left this machine.
        http_status: The HTTP status, if there was one.
    """

    reason: str
    may_have_left: bool
    http_status: int | None = None


class Sender(Protocol):
    """Carries requests to the gateway over connections of its own.

    Attributes:
        connections: How many requests may be under way.
        longest: Seconds that a whole exchange may take, however well each part keeps its time.
    """

    connections: int
    longest: float

    async def post(
        self, url: str, body: bytes, departure: Departure | None = None
    ) -> Reply | Failure:
        """Send one request and read its answer; every failure becomes a value."""
        ...


async def judge(
    answer: Reply | Failure, departure: Departure, *, is_answered: bool, came_before: bool
) -> Reply | Failure:
    """Tell what an exchange has come to, by what was seen of its departure.

    What proves that nothing has left is both a failure of a kind that comes before the first byte,
    and a departure that has seen no first byte; or that the transport has given up while the
    request was let go, for nothing leaves after that.

    Args:
        answer: What came of it.
        departure: What was seen.
        is_answered: Whether something was answered.
        came_before: Whether it has failed in a way that comes before the first byte.

    Raises:
        BaseException: What it was refused for; then nothing was sent.
    """
    if is_answered and not departure.has_begun and departure.refusal is None:
        # An answer to what was not seen leaving: put it on record, late, and trust no more.
        await departure.leave()
        answer = Failure(_UNSEEN, may_have_left=True)
    departure.is_over = True  # copies that the transport still holds leave no more
    await departure.settle()
    if departure.refusal is not None:
        # What the transport made of it, or that it went on regardless, says nothing; its frames
        # hold the request's bytes.
        raise departure.refusal.with_traceback(None)
    if departure.may_have_left:
        return answer
    if departure.has_begun:
        return Failure(_GIVEN_UP, may_have_left=False)
    if came_before and isinstance(answer, Failure):
        return attrs.evolve(answer, may_have_left=False)
    return answer


def no_transport(name: str, thing: object, others: str) -> ConfigurationError:
    """Say that what was given as a transport is none, and what to give."""
    given = f"the class {_name(thing)}" if isinstance(thing, type) else _name(type(thing))
    return ConfigurationError(
        f"{name} must be an httpx.AsyncBaseTransport{others}, and not {given}; give an "
        "httpx.AsyncHTTPTransport, which takes verify, cert, proxy and more"
    )


def unfit_for_sending(transport: object) -> ConfigurationError:
    """Say that a transport is not seen to send a request, and what to give instead."""
    return ConfigurationError(
        f"transport {_name(type(transport))}: it reads a request before it sends it, or does not "
        "tell when it leaves, so it could send it twice; use httpx.AsyncHTTPTransport, which takes "
        "verify, cert, proxy and more, or give this one as poll_transport, for questions alone. In "
        "tests use httpx.MockTransport, and if a mocking library replaces httpx's insides, see the "
        "testing guide"
    )


def _name(thing: type) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


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


T = TypeVar("T")

log = logging.getLogger("billblend_async.lane")


class _Exchange:
    """One exchange with the gateway.

    Attributes:
        task: What sends and reads.
        end: Done when that has ended, or had all of its time.
        until: When its time is over, by the event loop's clock.
        holds_permit: Whether its permit is free only when it has ended.
    """

    __slots__ = ("end", "holds_permit", "task", "until")

    def __init__(
        self, task: "asyncio.Task[Reply | Failure]", end: "asyncio.Future[None]", until: float
    ) -> None:
        self.task = task
        self.end = end
        self.until = until
        self.holds_permit = False


class Lane:
    """One way to the gateway, with as many permits as its pool has connections.

    Args:
        sender: What sends.

    Attributes:
        in_flight: The exchanges that are under way.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._permits = asyncio.Semaphore(sender.connections)
        self._owed = 0
        self._exchanges: dict[asyncio.Task[Reply | Failure], _Exchange] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self.in_flight: set[asyncio.Future[Any]] = set()

    async def run(self, exchange: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run an exchange in a task of its own, so that a cancelled caller leaves it whole.

        Waiting for a permit can be cancelled; nothing has begun then. A request that is cancelled
        inside httpcore may hold its place in the pool for ever, so none is.
        """
        await self._permits.acquire()
        task = asyncio.create_task(exchange())
        self.in_flight.add(task)
        task.add_done_callback(self._landed)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def ask(self, url: str, body: bytes, may_begin: Callable[[], None]) -> Reply | Failure:
        """Ask something that moves nothing, when its turn comes; first come, first served.

        Whoever is cancelled leaves the question whole; one that takes too long keeps its permit.

        Args:
            url: Where to.
            body: The question.
            may_begin: Called when it has its permit; raises if it shall not be asked any more.
        """
        await self._permits.acquire()
        try:
            may_begin()
        except BaseException:
            self._permits.release()
            raise
        asking = self._begin(url, body)
        asking.holds_permit = True
        self.in_flight.add(asking.end)
        await asyncio.shield(asking.end)
        return self._told(asking)

    async def drain(self) -> None:
        """Wait for every exchange that is under way now."""
        if self.in_flight:
            await asyncio.wait(set(self.in_flight))

    async def post(
        self, url: str, body: bytes, departure: Departure | None = None
    ) -> Reply | Failure:
        """Send one request and read its answer, in a bounded time.

        Each part of an answer may keep its time and the whole still take for ever. What takes too
        long is left to itself, with its permit: cancelled, it could hold its place in the pool.

        Raises:
            BaseException: What ``before_send`` raised; then nothing was sent.
        """
        sending = self._begin(url, body, departure)
        await sending.end
        if not sending.task.done():
            if departure is not None:
                departure.is_over = True
            self._owed += 1
            sending.holds_permit = True
        return self._told(sending)

    def _begin(self, url: str, body: bytes, departure: Departure | None = None) -> _Exchange:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._sender.post(url, body, departure))
        exchange = _Exchange(task, loop.create_future(), loop.time() + self._sender.longest)
        self._exchanges[task] = exchange
        task.add_done_callback(self._ended)
        if self._sweeper is None:
            self._sweeper = loop.call_at(exchange.until, self._sweep, loop)
        return exchange

    def _told(self, exchange: _Exchange) -> Reply | Failure:
        if exchange.task.done():
            return exchange.task.result()
        return Failure(f"no whole answer in {self._sender.longest:g} s", may_have_left=True)

    def _ended(self, task: "asyncio.Task[Reply | Failure]") -> None:
        exchange = self._exchanges.pop(task)
        self._settle(exchange)
        if not self._exchanges and self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if exchange.holds_permit:
            self._permits.release()
            if not task.cancelled():
                task.exception()  # nobody else may look at it

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the wait for what had all of its time; one timer is enough, for all have the same."""
        self._sweeper = None
        for exchange in self._exchanges.values():
            if exchange.until > loop.time():
                self._sweeper = loop.call_at(exchange.until, self._sweep, loop)
                return
            self._settle(exchange)

    def _settle(self, exchange: _Exchange) -> None:
        self.in_flight.discard(exchange.end)
        if not exchange.end.done():
            exchange.end.set_result(None)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self.in_flight.discard(task)
        if self._owed:
            self._owed -= 1  # the request that it has left to itself still needs its place
        else:
            self._permits.release()


def _log_failure(task: asyncio.Task[Any]) -> None:
    """Tell the log what nobody waits for any more; a lost claim is the order of the day."""
    if not task.cancelled() and (error := task.exception()) is not None:
        level = logging.INFO if isinstance(error, ClaimLost) else logging.ERROR
        log.log(
            level,
            "an exchange whose caller was cancelled failed: %s",
            error,
            extra=fields(reason=type(error).__name__),
        )
