"""What our log records carry beside their message: fields that a log system can search by.

Every record of the logger ``billblend_async`` and of those below it has a message that can be read
alone, and those of these fields that apply to it, as attributes of the record (``extra``). They
hold ids and words of ours and the gateway's: never an account number, a name, a key, a control, a
redirect link or a body, and no amount.

=============================  ================================================================
``billblend_client_orderid``   your id of the payout
``billblend_paynet_order_id``  the gateway's id of its order
``billblend_flow``             ``check-pay`` or ``one-step``
``billblend_state``            the state that the payout is in, such as ``awaiting-final``
``billblend_sequence``         how many events after the first have changed it
``billblend_event``            the event that has just changed it, such as ``PayStarted``
``billblend_status``           the gateway's final status
``billblend_doubt``            why a person must look, such as ``pay-unconfirmed``
``billblend_alarm``            what does not fit, such as ``amount-differs``
``billblend_reason``           why something failed, in a few words or as the class of an error
``billblend_seconds``          for how long something rests
=============================  ================================================================

Levels: DEBUG for each change, INFO for a payout that has ended and for a claim that another owner
got first, WARNING for what a person should know (Attention, alarms, the status ``error``, a stop of
sending, a callback that was refused), ERROR for what failed in the host's own code or settings. The
sandbox plays the gateway: its records carry none of these fields.
"""

from typing import Final

from .events import Event
from .payout import Payout

__all__ = ["FIELDS", "fields", "fields_of"]

FIELDS: Final = frozenset(
    f"billblend_{name}"
    for name in (
        "alarm",
        "client_orderid",
        "doubt",
        "event",
        "flow",
        "paynet_order_id",
        "reason",
        "seconds",
        "sequence",
        "state",
        "status",
    )
)
"""The names of all fields."""


def fields(
    client_orderid: str | None = None,
    *,
    reason: str | None = None,
    seconds: float | None = None,
) -> dict[str, object]:
    """Give the fields of a record that says why something failed or rests."""
    return _given(client_orderid=client_orderid, reason=reason, seconds=seconds)


def fields_of(
    payout: Payout, event: Event | None = None, *, reason: str | None = None
) -> dict[str, object]:
    """Give the fields of a record about a payout as it stands."""
    return _given(
        client_orderid=payout.client_orderid,
        paynet_order_id=payout.paynet_order_id,
        flow=payout.flow.value,
        state=payout.state.value,
        sequence=payout.sequence,
        event=None if event is None else type(event).__name__,
        status=None if payout.status is None else str(payout.status),
        doubt=None if payout.doubt is None else payout.doubt.value,
        alarm=payout.findings[-1].alarm.value if payout.findings else None,
        reason=reason,
    )


def _given(**values: object) -> dict[str, object]:
    return {f"billblend_{name}": value for name, value in values.items() if value is not None}
