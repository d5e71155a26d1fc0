"""The sandbox as a server on a loopback port, a guest in the caller's event loop."""

import asyncio
import contextlib
import functools
import math
import random
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

from ..core.models import Endpoint, is_loopback
from ..errors import ClosedError, ConfigurationError
from ..gateway.credentials import Credentials, RsaSigner, make_private_key
from ..server import Server, take_port
from .app import PREFIX, Merchant, build_app
from .callbacks import Delivery, Postman
from .faults import Faults
from .gateway import Gateway
from .orders import Scenario

__all__ = ["Sandbox"]

T = TypeVar("T")


class Sandbox:
    """A gateway on this machine, inside ``async with``, for a client to play against.

    Args:
        port: The port to listen on; 0 takes a free one.
        host: The loopback address to listen on.
        validation: Seconds from payout-check until the bank has validated.
        processing: Seconds from payout-pay or payout until the final status.
        login: The login of its one merchant.
        endpoint_id: The number of its one endpoint, and of its one endpoint group.
        private_key: The merchant's key as PEM; by default a new one of 2048 bits is made.
        merchant_control: The merchant's control secret; by default a new one is made.
        scenarios: How payouts to accounts of your own go, beside or instead of ``SCENARIOS``.
        callbacks: Whether callbacks are sent to orders' ``server_callback_url``, as far as that is
            on this machine.
        callback_pace: What the pauses of 1, 2, 4, … up to 60 seconds between two tries of a
            callback are multiplied by.
        chance: Decides about faults that strike a share of the requests, as ``random.random``.
        clock: Seconds since the epoch.

    Attributes:
        gateway: The model behind it, with the ledger.
        faults: What is to go wrong: ``sandbox.faults.set("payout-pay", "drop_after", share=0.1)``.
        clock: Seconds since the epoch, by which it lives.

    Raises:
        ConfigurationError: A setting cannot be right, or the host is no loopback address.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        validation: float = 2.0,
        processing: float = 2.0,
        login: str = "sandbox",
        endpoint_id: int = 39915,
        private_key: str | None = None,
        merchant_control: str | None = None,
        scenarios: Mapping[str, Scenario] | None = None,
        callbacks: bool = True,
        callback_pace: float = 1.0,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not is_loopback(host):
            raise ConfigurationError(
                "host: the sandbox takes no real money and no strangers; use a loopback address"
            )
        if not 0 <= port < 65536:
            raise ConfigurationError("port: must lie between 0, for any free one, and 65535")
        if not (0 <= validation < math.inf and 0 <= processing < math.inf):
            raise ConfigurationError("validation and processing: must be 0 or more seconds")
        Endpoint(endpoint_id=endpoint_id)  # making it checks the number
        if callback_pace < 0:
            raise ConfigurationError("callback_pace: must be 0 or more")
        self.gateway = Gateway(
            validation=validation,
            processing=processing,
            scenarios=scenarios or {},
            make_token=secrets.token_urlsafe,
        )
        self.faults = Faults(chance)
        self.login = login
        self.endpoint_id = endpoint_id
        self.merchant_control = merchant_control or str(uuid.uuid4()).upper()
        self._private_key = private_key
        self._host = host
        self._port = port
        self.clock = clock
        self._postman = Postman(
            self.gateway,
            {login: self.merchant_control},
            faults=self.faults,
            clock=clock,
            pace=callback_pace,
        )
        self._sends_callbacks = callbacks
        self._round: asyncio.Task[None] | None = None
        self._base_url: str | None = None
        self._server: Server | None = None

    def __repr__(self) -> str:
        """Show where it listens; keys and secrets stay out."""
        return f"<Sandbox at {self._base_url}>" if self._base_url else "<Sandbox, not open>"

    @property
    def base_url(self) -> str:
        """The URL to give to a client, up to and with ``/checkout``."""
        return _made(self._base_url)

    @property
    def page_url(self) -> str:
        """Where to look at its orders in a browser, and to let things go wrong."""
        return f"{_made(self._base_url).removesuffix(PREFIX)}/sandbox/"

    @property
    def private_key(self) -> str:
        """The merchant's private key as PEM, to give to a client."""
        return _made(self._private_key)

    @property
    def deliveries(self) -> list[Delivery]:
        """Every callback and what became of it, in the order in which they became due."""
        return self._postman.deliveries

    def export(self, folder: Path) -> dict[str, str]:
        """Write its key into a folder and give the environment variables of a client's settings."""
        key = folder / "private-key.pem"
        key.touch(mode=0o600)  # before it holds anything that others could read
        key.write_text(self.private_key, encoding="ascii")
        return {
            "BILLBLEND_BASE_URL": self.base_url,
            "BILLBLEND_LOGIN": self.login,
            "BILLBLEND_PRIVATE_KEY": str(key),
            "BILLBLEND_MERCHANT_CONTROL": self.merchant_control,
            "BILLBLEND_ENDPOINT_ID": str(self.endpoint_id),
        }

    def reverse(
        self, paynet_order_id: str, kind: Literal["reversal", "chargeback"] = "reversal"
    ) -> None:
        """Let the money of an approved payout come back now; the status says so, and a callback.

        Raises:
            InvalidInput: No such payout is approved.
        """
        self.gateway.reverse(paynet_order_id, self.clock(), kind)

    async def __aenter__(self) -> Self:
        """Make the key, take the port and begin to answer.

        Raises:
            ConfigurationError: The key, login or control cannot be right, or the port is taken.
        """
        # Making a key and reading one each take longer than an event loop may be held up.
        self._private_key, merchant = await asyncio.to_thread(self._enrol, self._private_key)
        listener = take_port(self._host, self._port)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.gateway.site = f"http://{host}:{listener.getsockname()[1]}"
        self._base_url = f"{self.gateway.site}{PREFIX}"
        leaving = asyncio.Event()
        app = build_app(
            self.gateway,
            [merchant],
            clock=self.clock,
            faults=self.faults,
            postman=self._postman,
            nap=functools.partial(_nap, leaving),
        )
        self._server = Server(app, leaving)
        await self._server.begin(listener)
        if self._sends_callbacks:
            self.gateway.on_notice = self._postman.wake
            self._round = asyncio.create_task(self._postman.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop answering, hang up and give the port back."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.wait({self._round})
        if self._server is not None:
            await self._server.end()
        if self._round is not None and not self._round.cancelled():
            self._round.result()  # what made the postman fail is nobody's to swallow

    async def wait(self) -> None:
        """Go on answering until this wait is cancelled, as a program does that only serves."""
        await _made(self._server).wait()

    def _enrol(self, private_key: str | None) -> tuple[str, Merchant]:
        pem = private_key or make_private_key()
        signer = RsaSigner.from_pem(pem)
        # A client will be set up with these, so they must satisfy it.
        Credentials(self.login, signer, merchant_control=self.merchant_control)
        return pem, Merchant(
            login=self.login,
            endpoint_id=self.endpoint_id,
            public_key=signer.public_pem(),
            merchant_control=self.merchant_control,
        )


async def _nap(leaving: asyncio.Event, seconds: float) -> None:
    """Wait, but not beyond the end: what is under way is then finished at once."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(leaving.wait(), seconds)


def _made(value: T | None) -> T:
    if value is None:
        raise ClosedError("sandbox")
    return value
