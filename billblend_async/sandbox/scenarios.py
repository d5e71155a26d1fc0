"""The test accounts: the account that a payout goes to decides how it goes.

The first three are the gateway's own (document 3.24); the others are ours, grouped by their first
digit: 2 asks the receiver, 3 is about the check, 4 about the way after the pay, 5 about the amount.
A payout to any other account, card or wallet is approved.
"""

import math
from collections.abc import Mapping
from typing import Final

import attrs

from ..core.responses import Status

__all__ = [
    "APPROVED",
    "CANCELLED",
    "ORDINARY",
    "PROCESSING",
    "SCENARIOS",
    "VALIDATED",
    "VALIDATING",
    "Scenario",
    "Standing",
]


@attrs.frozen
class Standing:
    """Where an order stands, in the gateway's words.

    Attributes:
        status: The status of document 5.9.
        order_stage: The finer word for it.
        error_code: Why it was not approved, as a code.
        error_message: Why it was not approved.
    """

    status: Status
    order_stage: str
    error_code: str | None = None
    error_message: str | None = None


VALIDATING: Final = Standing(Status.PROCESSING, "payout_check_validating")
VALIDATED: Final = Standing(Status.PROCESSING, "payout_check_validated")
PROCESSING: Final = Standing(Status.PROCESSING, "payout_processing")
APPROVED: Final = Standing(Status.APPROVED, "payout_approved")

# The documented error codes end long before these: the processor's own are not published.
_DECLINED: Final = Standing(Status.DECLINED, "payout_declined", "20001", "Declined by the bank")
_FAILED: Final = Standing(Status.ERROR, "payout_error", "20002", "PROCESSOR_INTERNAL_ERROR")
_FILTERED: Final = Standing(Status.FILTERED, "payout_filtered", "20003", "Stopped as fraud")
CANCELLED: Final = Standing(
    Status.DECLINED, "payout_cancelled", "20004", "Cancelled by the receiver"
)
_UNKNOWN: Final = Standing(Status.UNKNOWN, "payout_unknown")
_CHAIN_DECLINED: Final = Standing(Status.CHAIN_DECLINED, "payout_chain_declined")
_CHECK_DECLINED: Final = attrs.evolve(_DECLINED, order_stage="payout_check_declined")
_CHECK_FILTERED: Final = attrs.evolve(_FILTERED, order_stage="payout_check_filtered")
_CHECK_FAILED: Final = attrs.evolve(_FAILED, order_stage="payout_check_error")


def _must_be_final(_: object, field: "attrs.Attribute[Standing]", end: Standing | None) -> None:
    if end is not None and not end.status.is_final:
        raise ValueError(f"{field.name}: {end.status} is no final status")


def _must_go_on(_: object, field: "attrs.Attribute[Standing]", interim: Standing | None) -> None:
    if interim is not None and interim.status.is_final:
        raise ValueError(f"{field.name}: {interim.status} is a final status")


@attrs.frozen
class Scenario:
    """How a payout goes.

    Attributes:
        tale: The same in one sentence.
        ending: Where it stands at last, once it is paid; money leaves if that is approved.
        validation: How many times as long as usual the bank takes to validate; infinite for never.
        check_ending: The final standing that the check itself comes to, so that it is never paid;
            None if the bank validates.
        interim: Where it stands for twice the usual processing, between processing and the ending.
        asks_receiver: Whether it waits for the receiver's form once it is paid; a receiver who
            cancels ends it as declined.
        multiple: How many times the asked amount leaves.
    """

    tale: str
    ending: Standing = attrs.field(default=APPROVED, kw_only=True, validator=_must_be_final)
    validation: float = attrs.field(default=1.0, kw_only=True, validator=attrs.validators.ge(0))
    check_ending: Standing | None = attrs.field(
        default=None, kw_only=True, validator=_must_be_final
    )
    interim: Standing | None = attrs.field(default=None, kw_only=True, validator=_must_go_on)
    asks_receiver: bool = attrs.field(default=False, kw_only=True)
    multiple: int = attrs.field(default=1, kw_only=True, validator=attrs.validators.ge(1))


ORDINARY: Final = Scenario("The bank validates, and the payout is approved.")
"""What a payout to any other account comes to."""

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "1234567890": ORDINARY,
    "0987654321": Scenario(
        "The bank validates, and declines after the payout was paid.", ending=_DECLINED
    ),
    "1987654321": Scenario(
        "The bank validates, and the payout ends as an error after it was paid.", ending=_FAILED
    ),
    "2000000001": Scenario(
        "The receiver must fill in a form after the pay: confirmed it is approved, cancelled it is "
        "declined.",
        asks_receiver=True,
    ),
    "2000000002": Scenario(
        "The receiver must fill in a form after the pay, and the payout is declined whether they "
        "confirm or cancel.",
        asks_receiver=True,
        ending=_DECLINED,
    ),
    "3000000001": Scenario("The bank never validates.", validation=math.inf),
    "3000000002": Scenario(
        "A slow bank: it takes ten times as long as usual to validate, and the payout is approved.",
        validation=10.0,
    ),
    "3000000003": Scenario(
        "The check ends as declined, before anything can be paid.",
        check_ending=_CHECK_DECLINED,
        ending=_DECLINED,
    ),
    "3000000004": Scenario(
        "The check ends as filtered, before anything can be paid.",
        check_ending=_CHECK_FILTERED,
        ending=_FILTERED,
    ),
    "3000000005": Scenario(
        "The check ends as an error, before anything can be paid.",
        check_ending=_CHECK_FAILED,
        ending=_FAILED,
    ),
    "4000000001": Scenario(
        "After the pay the status is unknown for a while, and then approved.", interim=_UNKNOWN
    ),
    "4000000002": Scenario(
        "After the pay the status is chain_declined for a while, and then approved.",
        interim=_CHAIN_DECLINED,
    ),
    "4000000003": Scenario(
        "The bank validates, and a fraud filter stops the payout after it was paid.",
        ending=_FILTERED,
    ),
    "5000000001": Scenario(
        "The payout is approved with another amount: twice the asked one leaves.", multiple=2
    ),
}
"""What happens to a payout, by the account_number that it goes to."""
