"""A running sandbox in the hands of a test: its settings, its ledger, its faults, its receiver."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import attrs

from ..core.models import Polling
from ..core.parameters import amount_text
from ..errors import ClosedError, InvalidInput, Problem
from ..gateway.client import Client
from ..gateway.credentials import Credentials
from ..journal import Journal
from ..journal.sqlite import SqliteJournal
from ..orchestrator.orchestrator import Orchestrator
from ..sandbox import Sandbox
from ..sandbox.callbacks import Delivery, callback, final_redirect
from ..sandbox.faults import Switch
from ..sandbox.orders import Order

__all__ = [
    "QUICK",
    "BrowserPost",
    "RunningFaults",
    "RunningSandbox",
    "SandboxThread",
]

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


QUICK: Final = 0.05
"""Seconds that the bank and a payment take, unless a test wants others."""


@attrs.frozen
class BrowserPost:
    """The final redirect: what the receiver's browser posts to your service.

    Attributes:
        url: Your ``redirect_url``, or that for success or failure.
        fields: The form.
    """

    url: str
    fields: dict[str, str]


class RunningFaults:
    """The fault switches of a running sandbox, for any thread."""

    def __init__(self, sandbox: Sandbox, thread: SandboxThread) -> None:
        self._faults = sandbox.faults
        self._thread = thread

    def set(
        self,
        command: str,
        fault: str,
        *,
        share: float = 1.0,
        count: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Switch a fault on, in place of the same one; a share of 0 switches it off.

        Args:
            command: ``payout-check``, ``payout-pay``, ``payout``, ``status`` or ``callback``.
            fault: ``drop_before``, ``drop_after``, ``error_500``, ``denied_403``, ``garbage``,
                ``html`` or ``delay``; of callbacks ``duplicate``, ``lost`` or ``delay``.
            share: With which share of the requests.
            count: How many times at most from now on; None for ever.
            seconds: How long a delay is; 1 by default.

        Raises:
            ConfigurationError: There is no such command or fault, or a number cannot be right.
        """
        self._thread.call(
            lambda: self._faults.set(command, fault, share=share, count=count, seconds=seconds)
        )

    def clear(self, command: str | None = None) -> None:
        """Switch all faults off, or all of one command.

        Raises:
            ConfigurationError: There is no such command.
        """
        self._thread.call(partial(self._faults.clear, command))

    def switches(self) -> list[Switch]:
        """List what is switched on."""
        return self._thread.call(self._faults.switches)


class RunningSandbox:
    """A built-in sandbox that serves on a loopback port from a thread of its own, inside ``with``.

    Everything here can be used from sync and async tests alike and takes about a millisecond.

    Args:
        folder: Where its key goes, for ``environ``.
        validation: Seconds that the bank takes to validate.
        processing: Seconds from the pay to the final status.
        callback_pace: What the pauses of 1, 2, 4, … seconds between two tries of a callback are
            multiplied by.
        options: The other settings of ``billblend_async.sandbox.Sandbox``: ``scenarios``,
            ``callbacks``, ``private_key``, ``login``, …

    Attributes:
        faults: What is to go wrong: ``sandbox.faults.set("payout-pay", "drop_after", count=1)``.
        polling: How often to ask such a quick gateway: give it to an orchestrator of your own.

    Raises:
        ConfigurationError: A setting cannot be right.
    """

    def __init__(
        self,
        folder: Path,
        *,
        validation: float = QUICK,
        processing: float = QUICK,
        callback_pace: float = 0.05,
        **options: Any,  # noqa: ANN401 - those of Sandbox
    ) -> None:
        self._folder = folder
        self._sandbox = Sandbox(
            validation=validation, processing=processing, callback_pace=callback_pace, **options
        )
        self._thread = SandboxThread(self._sandbox)
        self.faults = RunningFaults(self._sandbox, self._thread)
        self.polling = Polling(shortest=0.05, longest=0.1)

    def __repr__(self) -> str:
        """Show where it listens; keys and secrets stay out."""
        return repr(self._sandbox).replace("Sandbox", type(self).__name__, 1)

    def __enter__(self) -> Self:
        """Take a port and begin to answer."""
        self._thread.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop answering, give the port back and end the thread."""
        self._thread.__exit__(*_)

    @property
    def base_url(self) -> str:
        """The URL to give to a client."""
        return self._sandbox.base_url

    @property
    def page_url(self) -> str:
        """Where to look at its orders in a browser, while a test stands still in a debugger."""
        return self._sandbox.page_url

    @property
    def login(self) -> str:
        """The login of its merchant."""
        return self._sandbox.login

    @property
    def private_key(self) -> str:
        """The merchant's private key as PEM."""
        return self._sandbox.private_key

    @property
    def merchant_control(self) -> str:
        """The merchant's control secret."""
        return self._sandbox.merchant_control

    @property
    def endpoint_id(self) -> int:
        """The number of its endpoint, and of its endpoint group."""
        return self._sandbox.endpoint_id

    @cached_property
    def credentials(self) -> Credentials:
        """Login, key and merchant control, to give to a client."""
        return Credentials(self.login, self.private_key, merchant_control=self.merchant_control)

    @cached_property
    def environ(self) -> dict[str, str]:
        """The settings as ``BILLBLEND_*`` variables, for ``read_settings`` or a process."""
        return self._sandbox.export(self._folder)

    @property
    def validation(self) -> float:
        """Seconds that the bank takes to validate; it can be set, for payouts made from then on."""
        return self._sandbox.gateway.validation

    @validation.setter
    def validation(self, seconds: float) -> None:
        self._thread.call(partial(setattr, self._sandbox.gateway, "validation", seconds))

    @property
    def processing(self) -> float:
        """Seconds from the pay to the final status; it can be set, as ``validation``."""
        return self._sandbox.gateway.processing

    @processing.setter
    def processing(self, seconds: float) -> None:
        self._thread.call(partial(setattr, self._sandbox.gateway, "processing", seconds))

    @property
    def ledger(self) -> dict[str, dict[str, Any]]:
        """What has become of each client_orderid by now, as plain JSON values.

        ``paid`` counts how often money left; ``orders``, ``checks``, ``pays``, ``amount``,
        ``currency`` and ``status`` are what ``Gateway.snapshot`` says.
        """
        return self._thread.call(lambda: self._sandbox.gateway.snapshot(self._sandbox.clock()))

    @property
    def orders(self) -> dict[str, Order]:
        """Every order as it is now, by its paynet_order_id, oldest first."""
        return self._thread.call(lambda: dict(self._sandbox.gateway.orders))

    @property
    def deliveries(self) -> list[Delivery]:
        """Every callback and what has become of it by now, in the order they became due."""
        return self._thread.call(
            lambda: [attrs.evolve(each, log=list(each.log)) for each in self._sandbox.deliveries]
        )

    def paid(self, client_orderid: str) -> int:
        """Count how often money has left for a client_orderid."""
        return self._thread.call(partial(self._sandbox.gateway.paid, client_orderid))

    def assert_paid_once(self, *client_orderids: str) -> None:
        """Assert that money has left exactly once for each of these; else say what happened."""
        __tracebackhide__ = True
        wrong = self._thread.call(
            lambda: [
                self._tale(each)
                for each in client_orderids
                if self._sandbox.gateway.paid(each) != 1
            ]
        )
        if wrong or not client_orderids:
            raise AssertionError("\n".join(wrong) or "name the payouts: none was asked about")

    def reverse(
        self, paynet_order_id: str, kind: Literal["reversal", "chargeback"] = "reversal"
    ) -> None:
        """Let the money of an approved payout come back now; the status says so, and a callback.

        Raises:
            InvalidInput: No such payout is approved.
        """
        self._thread.call(partial(self._sandbox.reverse, paynet_order_id, kind))

    def submit_form(
        self, link: str, decision: Literal["confirm", "cancel"] = "confirm"
    ) -> BrowserPost | None:
        """Play the receiver who follows ``redirect_to`` and submits the form.

        Returns:
            What the receiver's browser would post to your service next, for your test to post; None
            if the payout has no ``redirect_url``.

        Raises:
            InvalidInput: The link is none of this sandbox, or was used; or no such decision.
        """
        if decision not in ("confirm", "cancel"):
            raise InvalidInput((Problem("decision", "must be confirm or cancel"),))
        sent = self._thread.call(partial(self._submit, link, is_confirmed=decision == "confirm"))
        return None if sent is None else BrowserPost(*sent)

    def callback(self, client_orderid: str) -> dict[str, str]:
        """Write the query of the callback about a payout's newest order, as it is sent now.

        For a service that no socket leads to, such as one inside a framework's test client; to any
        other the sandbox sends its callbacks itself.

        Raises:
            InvalidInput: No such order is at its end, so the gateway would not send any.
        """
        return self._thread.call(partial(self._callback, client_orderid))

    def client(self, **options: Any) -> Client:  # noqa: ANN401 - those of Client
        """Make a client of this sandbox, to be opened by ``async with``."""
        given = {"endpoint_id": self.endpoint_id, "base_url": self.base_url, **options}
        return Client(self.credentials, **given)

    @asynccontextmanager
    async def orchestrator(
        self,
        journal: Journal | Path | str = ":memory:",
        *,
        client: Client | None = None,
        **options: Any,  # noqa: ANN401 - those of Orchestrator
    ) -> AsyncIterator[Orchestrator]:
        """Open an orchestrator that asks often, over a client of its own, for an ``async with``.

        Args:
            journal: A journal or the path of one.
            client: An open client instead.
            options: Settings of ``Orchestrator``.
        """
        async with AsyncExitStack() as stack:
            if client is None:
                client = await stack.enter_async_context(self.client())
            kept = SqliteJournal(journal) if isinstance(journal, Path | str) else journal
            options = {"polling": self.polling, **options}
            yield await stack.enter_async_context(Orchestrator(client, kept, **options))

    def _newest(self, client_orderid: str) -> list[Order]:
        found = [
            order
            for order in self._sandbox.gateway.orders.values()
            if order.client_orderid == client_orderid
        ]
        return found[::-1]

    def _submit(self, link: str, *, is_confirmed: bool) -> tuple[str, dict[str, str]] | None:
        gateway = self._sandbox.gateway
        token = link.removeprefix(f"{gateway.site}/sandbox/form/")
        order = gateway.submit(token, self._sandbox.clock(), is_confirmed=is_confirmed)
        if order is None:
            raise InvalidInput(
                (Problem("link", "must be a redirect_to of this sandbox that nobody has used"),)
            )
        return final_redirect(order, self.merchant_control)

    def _callback(self, client_orderid: str) -> dict[str, str]:
        at = self._sandbox.clock()
        for order in self._newest(client_orderid)[:1]:
            if order.standing(at).status.is_final:
                return callback(order, order.transaction_type(at), at, self.merchant_control)
        raise InvalidInput((Problem("client_orderid", "must name an order that is at its end"),))

    def _tale(self, client_orderid: str) -> str:
        """Say how often money left for a payout, and how that came."""
        gateway, at = self._sandbox.gateway, self._sandbox.clock()
        said = [f"{client_orderid!r} was paid {gateway.paid(client_orderid)} times, not once:"]
        for order in reversed(self._newest(client_orderid)):
            amount = amount_text(order.amount, order.currency)
            history = ", ".join(each.what for each in order.history(at))
            stage = order.standing(at).order_stage
            said.append(
                f"  order {order.paynet_order_id} of {amount} {order.currency}: {history}; "
                f"now {stage}"
            )
        if len(said) == 1:
            known = sorted({repr(order.client_orderid) for order in gateway.orders.values()})
            others = f"it knows {', '.join(known)}" if known else "nothing has reached it"
            said.append(f"  the gateway knows no such order; {others}")
        return "\n".join(said)
