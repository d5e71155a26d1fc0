"""Runs payouts on DBOS: one durable workflow for each, driven on whichever machine it is.

Theory of operation
===================

DBOS repeats the step that a dead process was in; it cannot know whether the step's request had
left. So nothing here rests on a step that runs once: the step is ``Orchestrator.advance``, whose
claim in the journal lets each send leave once, and which asks where it cannot know. DBOS only says
when and where it is called. Its tables hold ids, a word for the state and seconds: no receiver, no
amount, no link and no error text.

A workflow is a loop of a step and ``recv``. Within its step a payout is advanced again and again as
long as the pauses are short (``nap`` seconds) and for ``stint`` seconds at most; a longer pause is
spent in ``recv``, where a message from any machine ends it. A round costs three rows in DBOS's
tables, so a payout that is final within minutes costs about four and one that waits for a day less
than a thousand; with a round for every question a payout would cost three rows every four seconds.
A crash within a step loses what is in no table and no journal: the pauses. The step is begun again
elsewhere and asks.

A workflow ends when its payout is finished, and for no other reason. Whatever is wrong, be it the
journal, the settings or a bug, is logged and tried again, ever more slowly. One in Attention or
held for approval stays too: it is asked about every few minutes, after a while every quarter of an
hour, and so goes on by itself once somebody has decided; ``wake`` makes that at once. While it
waits it costs a coroutine and no thread.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

from dbos import DBOS, DBOSClient, SetWorkflowID, error

from ..core.models import Flow, Outcome, State
from ..core.payout import fields
from ..core.request import PayoutRequest
from ..core.responses import Callback
from ..errors import BillblendError, ClosedError, ConfigurationError, JournalUnavailable
from ..orchestrator.inbox import Delivery
from ..orchestrator.orchestrator import Orchestrator
from ..orchestrator.runner import Done, Waiting

__all__ = [
    "DbosEngine",
    "Round",
    "Stints",
    "take_over",
    "warn",
]

log = logging.getLogger("billblend_async.engines.stints")

_SOON: Final = 1.0
_LATE: Final = 300.0
"""Seconds until what went wrong is tried again: at first, and for what only a person can mend."""

Round = tuple[str, float | None]
"""A word for where a payout stands, and seconds until the next round; None for no more."""


class Stints:
    """What one process does for the payouts that an engine gives it.

    Args:
        orchestrator: Advances them.
        length: Seconds that one stint goes on for at most.
        nap: Seconds that a stint waits through; a longer pause ends it.
    """

    def __init__(self, orchestrator: Orchestrator, *, length: float, nap: float) -> None:
        self._orchestrator = orchestrator
        self._length = length
        self._nap = nap
        self._news: dict[str, asyncio.Event] = {}

    def wake(self, client_orderid: str) -> bool:
        """End the nap of a payout; False when it has no stint here."""
        news = self._news.get(client_orderid)
        if news is not None:
            news.set()
        return news is not None

    async def go_on(self, client_orderid: str) -> Round:
        """Advance a payout as long as its pauses are short.

        An engine would write an error down, with whatever it holds, and end the workflow: so
        whatever goes wrong is logged, and tried again.
        """
        now = asyncio.get_running_loop().time
        until, soon = now() + self._length, _SOON
        self._news[client_orderid] = news = asyncio.Event()
        try:
            while True:
                news.clear()
                longest = self._nap
                try:
                    step = await self._orchestrator.advance(client_orderid)
                except (JournalUnavailable, ClosedError) as failed:  # it passes
                    warn(client_orderid, failed, "it is tried again")
                    word, seconds, longest = "trouble", soon, self._length
                    soon = min(2 * soon, _LATE)
                except Exception as failed:  # noqa: BLE001 - of the host's code, or a bug of ours
                    warn(client_orderid, failed, "it is tried again")
                    word, seconds = "trouble", _LATE
                else:
                    word, soon = step.outcome.state.value, _SOON
                    match step:
                        case Done():
                            return word, None
                        case Waiting():
                            seconds = step.seconds
                if seconds > min(longest, until - now()):
                    return word, seconds
                await _rest(news, seconds)
        finally:
            if self._news.get(client_orderid) is news:
                del self._news[client_orderid]


def warn(client_orderid: str, failed: Exception, then: str) -> None:
    """Say what keeps a payout; of an error that is not ours its class alone."""
    reason = type(failed).__name__
    told = (
        str(failed) if isinstance(failed, BillblendError) else f"payout {client_orderid}: {reason}"
    )
    log.warning("%s (%s)", told, then, extra=fields(client_orderid, reason=reason))


async def _rest(news: asyncio.Event, seconds: float) -> None:
    """Wait; news ends it."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        pass


TOPIC: Final = "billblend"
_SEASONED: Final = 250
"""Rounds after which a payout is in no hurry: about six hours."""
_PATIENT: Final = 900.0
"""Seconds between two rounds then."""
_ENDED: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class DbosEngine:
    """Runs an orchestrator's payouts as DBOS workflows.

    Make it before ``DBOS.launch()``, which must find its workflow; use it inside ``async with``
    after that, within the orchestrator's. Make it in every process of the application, also in one
    that only submits. It neither launches nor destroys DBOS.

    Set ``application_version`` in DBOS's configuration, or DBOS makes one of the sources and leaves
    alone what another release has begun; and an ``executor_id`` of its own for each process.

    Args:
        dbos: The host's DBOS.
        orchestrator: Runs the payouts. It needs ``resolve``: the workflow may run where nobody has
            handed the request in, and DBOS is not told it.
        name: Names the queue and the workflow, and begins the workflows' ids; another one for each
            orchestrator of an application.
        concurrency: Payouts that are open in one process at once, those that wait for a receiver or
            a person too; None for no limit.
        starts_per_second: Payouts that all processes together begin in a second; None for no limit.
        stint: Seconds that one step goes on for at most.
        nap: Seconds that a step waits through; what must wait longer can be woken.

    Raises:
        ConfigurationError: The orchestrator has no ``resolve``.
    """

    def __init__(
        self,
        dbos: DBOS,
        orchestrator: Orchestrator,
        *,
        name: str = "billblend",
        concurrency: int | None = None,
        starts_per_second: int | None = None,
        stint: float = 300.0,
        nap: float = 10.0,
    ) -> None:
        if not orchestrator.can_resolve:
            raise ConfigurationError(
                "resolve: an engine needs it, since a payout may go on where nobody has handed its "
                "request in; give the Orchestrator a resolve"
            )
        self._dbos = dbos
        self._orchestrator = orchestrator
        self._name = name
        self._concurrency = concurrency
        self._starts_per_second = starts_per_second
        self._stints = Stints(orchestrator, length=stint, nap=nap)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()
        self._under_way: set[asyncio.Task[Round]] = set()
        self._drive = self._register()

    def __repr__(self) -> str:
        """Show its name and whether it is open."""
        return f"<DbosEngine {self._name} {'closed' if self._loop is None else 'open'}>"

    async def __aenter__(self) -> Self:
        """Open the queue; what DBOS has recovered goes on from here.

        Raises:
            ConfigurationError: DBOS is not launched.
        """
        starts = self._starts_per_second
        try:
            await self._dbos.register_queue_async(
                self._name,
                worker_concurrency=self._concurrency,
                limiter=None if starts is None else {"limit": starts, "period": 1.0},
            )
        except error.DBOSException as refused:
            problem = f"DBOS does not take the queue {self._name} ({refused})"
        else:
            self._loop = asyncio.get_running_loop()
            self._context = contextvars.copy_context()
            return self
        raise ConfigurationError(f"{problem}; call DBOS.launch() first, after making the engine")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Begin nothing new here; what is open is pending in DBOS and goes on at the next start."""
        self._loop = None
        under_way = tuple(self._under_way)
        for stint in under_way:
            stint.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def workflow_id(self, client_orderid: str) -> str:
        """Name the workflow of a payout."""
        return f"{self._name}:{client_orderid}"

    async def submit(
        self, request: PayoutRequest, *, flow: Flow = Flow.CHECK_PAY, pay: bool = True
    ) -> Outcome:
        """Accept a payout into the journal and enqueue its workflow; twice is as good as once.

        Keep the request where ``resolve`` finds it before. If this raises or the process dies in
        it, submit it again, or ``resume``: a payout may be in the journal and not in the queue.

        Args:
            request: The payout.
            flow: Which way it goes.
            pay: False to let it wait for ``approve``, as in ``Orchestrator.run``.

        Returns:
            Where it stands.

        Raises:
            PayoutConflict, InvalidInput, SendingStopped, JournalError: As for ``Orchestrator.run``;
                nothing was enqueued.
        """
        self._check_open()
        told = await self._orchestrator.accept(request, flow=flow, pay=pay)
        await self._enqueue(told)
        return told

    async def resume(self) -> int:
        """Enqueue every unfinished payout of the journal that no workflow drives.

        Call it at the start of a process, and after a workflow was cancelled by hand.

        Returns:
            How many payouts are unfinished.
        """
        self._check_open()
        unfinished = 0
        async for told in self._orchestrator.unfinished():
            unfinished += 1
            await self._enqueue(told)
        return unfinished

    def verify_callback(self, query: str | bytes) -> Callback:
        """Verify a callback, as ``Orchestrator.verify_callback`` does."""
        return self._orchestrator.verify_callback(query)

    async def deliver(self, callback: Callback) -> Delivery:
        """Take a verified callback in and wake the payout's workflow wherever it runs.

        It is durable in the journal when this returns. ``CallbackEndpoint`` takes the engine in
        place of the orchestrator.

        Raises:
            PayoutNotFound, VerificationFailed, DeliverAgain, JournalError: As for
                ``Orchestrator.deliver``.
        """
        self._check_open()
        told = await self._orchestrator.deliver(callback)
        if told is Delivery.NOTED:  # what was heard before must not make anybody ask, or write
            await self.wake(callback.client_orderid)
        return told

    async def wake(self, client_orderid: str) -> None:
        """Let a payout's workflow look at once, wherever it runs; for after a person's decision.

        It is a hint: whoever loses it finds out a little later.
        """
        self._check_open()
        if self._stints.wake(client_orderid):
            return
        try:
            await self._dbos.send_async(self.workflow_id(client_orderid), None, topic=TOPIC)
        except error.DBOSNonExistentWorkflowError:
            return  # somebody runs it without the engine
        except Exception as failed:  # noqa: BLE001 - of any database driver
            warn(client_orderid, failed, "its workflow was not woken, and looks later")

    async def outcome(self, client_orderid: str) -> Outcome:
        """Wait until a payout is finished and tell what became of it.

        Who only wants to know where it stands asks ``Orchestrator.status``.

        Raises:
            PayoutNotFound: The journal knows no such payout.
        """
        self._check_open()
        told = await self._orchestrator.status(client_orderid)
        if told.is_finished:
            return told
        await self._enqueue(told)
        await self._dbos.get_result_async(self.workflow_id(client_orderid))
        return await self._orchestrator.status(client_orderid)

    async def take_over(self, executors: Sequence[str]) -> int:
        """Let living processes go on with the payouts of dead ones.

        Taking over what is alive is harmless: both may ask about a payout for a while, and the
        journal still lets each send leave once.

        Args:
            executors: The ``executor_id`` of each process that is dead.

        Returns:
            How many payouts were taken from them.
        """
        self._check_open()
        return await _take_over(self._dbos, executors, self._name)

    def _register(self) -> Callable[[str], Coroutine[Any, Any, str]]:
        """Make the workflow known to DBOS, which finds it by its name after a restart."""
        dbos = self._dbos

        @dbos.step(name=f"{self._name}.advance")
        async def advance(client_orderid: str) -> Round:
            return await self._advance(client_orderid)

        # However often it was recovered, it is not given up.
        @dbos.workflow(name=_workflow(self._name), max_recovery_attempts=None)
        async def drive(client_orderid: str) -> str:
            for number in count():
                word, seconds = await advance(client_orderid)
                if seconds is None:
                    return word
                patience = 0.0 if number < _SEASONED else _PATIENT
                await dbos.recv_async(TOPIC, timeout_seconds=max(seconds, patience))
            raise AssertionError("unreachable")

        return drive

    async def _enqueue(self, told: Outcome) -> None:
        """Enqueue a workflow if the payout needs one and has none."""
        if told.is_finished:
            return
        name = self.workflow_id(told.client_orderid)
        with SetWorkflowID(name):
            handle = await self._dbos.enqueue_workflow_async(
                self._name, self._drive, told.client_orderid
            )
        if told.state is not State.NEW and (await handle.get_status()).status in _ENDED:
            # Somebody has cancelled it, or it ended with a payout of a copy that was restored.
            await self._dbos.rewind_workflow_async(name, queue_name=self._name)

    async def _advance(self, client_orderid: str) -> Round:
        """Advance a payout in the orchestrator's own event loop, once the engine is open."""
        while (loop := self._loop) is None:  # noqa: ASYNC110 - opened in another loop, perhaps
            await asyncio.sleep(0.05)
        stint = self._begin(client_orderid)
        if loop is asyncio.get_running_loop():
            return await stint
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stint, loop))

    async def _begin(self, client_orderid: str) -> Round:
        """Keep DBOS's context from the host's code: what it calls there is no part of this step."""
        task = asyncio.create_task(
            self._stints.go_on(client_orderid),
            name=f"billblend payout {client_orderid}",
            context=self._context.copy(),
        )
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await task

    def _check_open(self) -> None:
        if self._loop is None:
            raise ClosedError("engine")


async def take_over(
    database: str, executors: Sequence[str], *, name: str = "billblend", schema: str = "dbos"
) -> int:
    """Let living processes go on with the payouts of dead ones, from a program that runs none.

    Args:
        database: The URL of DBOS's system database.
        executors: The ``executor_id`` of each process that is dead.
        name: The engine's.
        schema: DBOS's ``dbos_system_schema``.

    Returns:
        How many payouts were taken from them.

    Raises:
        ConfigurationError: The database cannot be used.
    """
    client = None
    try:
        client = await asyncio.to_thread(
            DBOSClient,
            system_database_url=database,
            dbos_system_schema=schema,
            retry_connection_errors=False,
        )
        return await _take_over(client, executors, name)
    except Exception as failed:  # noqa: BLE001 - of any database driver; its text may hold the URL
        reason = type(failed).__name__
    finally:
        if client is not None:
            await asyncio.to_thread(client.destroy)
    raise ConfigurationError(
        f"system database: it cannot be used ({reason}); check its URL, its schema and that the "
        "application has been launched with it"
    )


async def _take_over(dbos: DBOS | DBOSClient, executors: Sequence[str], name: str) -> int:
    """Enqueue what dead processes have begun; whoever is alive in spite of it finds that out."""
    if not executors:
        return 0
    pending = await dbos.list_workflows_async(
        status="PENDING",
        executor_id=list(executors),
        name=_workflow(name),
        load_input=False,
        load_output=False,
    )
    names = [each.workflow_id for each in pending]
    if names:
        await dbos.resume_workflows_async(names, queue_name=name)
    return len(names)


def _workflow(name: str) -> str:
    return f"{name}.drive"
