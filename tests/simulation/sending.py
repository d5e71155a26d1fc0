"""What is sent to the gateway, what comes back, and who looks on."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Protocol

import attrs

from billblend_async.gateway.wire import RequestKind

from .loop import Mortal
from .orders import Order

__all__ = ["LOST", "UNANSWERED", "Lost", "Reply", "Send", "Witness"]


@attrs.frozen
class Lost:
    """No answer in the gateway's protocol."""

    reason: str
    http_status: int | None = None


Reply = Mapping[str, str] | Lost


@attrs.define(eq=False, kw_only=True)
class Send:
    """A request that may move money, from its first byte on.

    Attributes:
        kind: The command.
        client_orderid: Our id.
        number: The order to be paid; None for check and one-step payout.
        amount: The amount of a check or one-step payout.
        currency: Its currency.
        fault: What goes wrong with it.
        whose: The program that sent it.
        is_lost: Whether it went down with its sender's connection before it could take effect.
    """

    kind: RequestKind
    client_orderid: str
    number: str | None = None
    amount: Decimal | None = None
    currency: str = ""
    fault: str | None = None
    whose: Mortal | None = None
    is_lost: bool = False


class Witness(Protocol):
    """Looks at what the gateway does."""

    def sees_leaving(self, send: Send) -> None:
        """Look at a request whose first byte leaves."""
        ...

    def sees_paid(self, order: Order, send: Send) -> None:
        """Look at a pay that takes effect."""
        ...

    def sees_calling(self, client_orderid: str, whose: Mortal, *, is_send: bool) -> None:
        """Look at a program that calls upon its client."""
        ...


LOST: Final = {
    "lost-before": Lost("ReadTimeout"),
    "lost-after": Lost("ReadTimeout"),
    "late": Lost("ReadTimeout"),
    "garbled": Lost("an answer that cannot be read"),
    "denied": Lost("access denied (HTTP 403)", 403),
    "broken-after": Lost("HTTP 502", 502),
}
"""What becomes of the answer to a send."""
UNANSWERED: Final = {
    "unanswered": (Lost("ReadTimeout"), Lost("ConnectError")),
    "refused-by-proxy": (Lost("access denied (HTTP 403)", 403), Lost("HTTP 429", 429)),
    "garbled-status": (Lost("an answer that cannot be read"), Lost("HTTP 500", 500)),
}
"""What may become of the answer to a question."""
