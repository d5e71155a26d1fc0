"""What a request to the gateway came to: the four ends of a send, the three ends of a question."""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar, Final, Self

import attrs

__all__ = [
    "Accepted",
    "Callback",
    "NoAnswer",
    "NotFound",
    "NotSent",
    "Refused",
    "SendAnswer",
    "Status",
    "StatusAnswer",
    "StatusReport",
    "Unknown",
    "is_later_transaction",
]

_SETTING_ERRORS: Final = frozenset({"2", "3", "4", "5", "7"})
"""Control wrong or not set up, endpoint missing or unreadable, merchant unknown (document 5.6)."""


@attrs.frozen
class NotSent:
    """Proved: not one byte of the request has left this machine, so it may be sent again.

    Attributes:
        reason: The kind of failure.
    """

    reason: str


@attrs.frozen
class Accepted:
    """The gateway acknowledged the request and named our order.

    Attributes:
        paynet_order_id: The gateway's order id.
        serial_number: The gateway's id of this one request.
    """

    paynet_order_id: str
    serial_number: str | None = None


@attrs.frozen
class Refused:
    """The gateway refused the request and made no order.

    Attributes:
        error_code: The gateway's code, an open string.
        error_message: The gateway's text, long numbers masked.
    """

    error_code: str | None = None
    error_message: str | None = None

    @property
    def is_about_settings(self) -> bool:
        """Whether it refuses us rather than this request: every other one would end the same."""
        return self.error_code in _SETTING_ERRORS


@attrs.frozen
class Unknown:
    """Nobody can tell whether the request took effect; ask for the status, never send it again.

    Attributes:
        reason: What happened instead of an answer.
        http_status: The HTTP status, if there was one.
    """

    reason: str
    http_status: int | None = None


SendAnswer = Accepted | Refused | NotSent | Unknown
"""The four ends of a request that may move money."""


class Status(str):
    """A status word of the gateway in lower case; a word we have never seen is kept and not final.

    Documented: approved, declined, filtered and error are final; processing, unknown and
    chain_declined are not (document 5.9).

    Attributes:
        raw: The word as the gateway wrote it.
    """

    __slots__ = ("raw",)

    raw: str

    APPROVED: ClassVar["Status"]
    DECLINED: ClassVar["Status"]
    FILTERED: ClassVar["Status"]
    ERROR: ClassVar["Status"]
    PROCESSING: ClassVar["Status"]
    UNKNOWN: ClassVar["Status"]
    CHAIN_DECLINED: ClassVar["Status"]

    def __new__(cls, word: str) -> Self:
        """Read a word in any case."""
        status = super().__new__(cls, word.strip().casefold())
        status.raw = word
        return status

    @property
    def is_final(self) -> bool:
        """Whether it ends a payout: then it is asked about no more.

        The gateway may still change it later: after a reconciliation a transaction's status can
        change even if it was final (the status list of document 5.9, newest edition).
        """
        return self in _FINAL


Status.APPROVED = Status("approved")
Status.DECLINED = Status("declined")
Status.FILTERED = Status("filtered")
Status.ERROR = Status("error")
Status.PROCESSING = Status("processing")
Status.UNKNOWN = Status("unknown")
Status.CHAIN_DECLINED = Status("chain_declined")

_FINAL: Final = frozenset({Status.APPROVED, Status.DECLINED, Status.FILTERED, Status.ERROR})

_LATER_TRANSACTIONS: Final = frozenset(
    {"reversal", "chargeback", "fraud", "retrieval", "dispute", "refund", "cancel", "void"}
)


def is_later_transaction(transaction_type: str | None, order_stage: str | None = None) -> bool:
    """Tell whether a status is about what may come after a payment: a reversal, a chargeback, ….

    It says how that ended, and not how the payout did (document 3.37). It is told by the type, or
    by the family that the order stage begins with (document 5.6); one that is missing, or that we
    have never seen, counts as the payout itself.
    """
    family = (order_stage or "").strip().casefold().partition("_")[0]
    kind = (transaction_type or "").strip().casefold()
    return not _LATER_TRANSACTIONS.isdisjoint((kind, family))


def _seen(*, shown: bool = False) -> str | None:
    """Declare a response field; most may hold personal data and stay out of the repr."""
    field: str | None = attrs.field(default=None, repr=shown)
    return field


@attrs.frozen(kw_only=True)
class StatusReport:
    """What a status request tells about an order (documents 3.16, 3.22); any field may be missing.

    Field names are the gateway's with underscores. The repr shows only what is never personal.

    Attributes:
        amount: The actual amount in major units; it may change while the payout goes on.
        initial_amount: The amount that was asked for at first.
        rest: Every field that is not known here, under the gateway's own name.
    """

    type: str
    status: Status
    order_stage: str | None = _seen(shown=True)
    paynet_order_id: str | None = _seen(shown=True)
    merchant_order_id: str | None = _seen(shown=True)
    serial_number: str | None = _seen(shown=True)
    by_request_sn: str | None = _seen(shown=True)
    transaction_type: str | None = _seen(shown=True)
    amount: Decimal | None = None
    initial_amount: Decimal | None = None
    currency: str | None = _seen(shown=True)
    error_code: str | None = _seen(shown=True)
    error_message: str | None = _seen()
    redirect_to: str | None = _seen()
    html: str | None = _seen()
    phone: str | None = _seen()
    email: str | None = _seen()
    name: str | None = _seen()
    first_name: str | None = _seen()
    last_name: str | None = _seen()
    processor_tx_id: str | None = _seen()
    processor_rrn: str | None = _seen()
    processor_credit_rrn: str | None = _seen()
    processor_credit_arn: str | None = _seen()
    processor_debit_arn: str | None = _seen()
    processor_auth_credit_code: str | None = _seen()
    auth_response_code: str | None = _seen()
    approval_code: str | None = _seen()
    terminal_id: str | None = _seen()
    receipt_id: str | None = _seen()
    descriptor: str | None = _seen()
    original_gate_descriptor: str | None = _seen()
    last_four_digits: str | None = _seen()
    bin: str | None = _seen()
    card_type: str | None = _seen()
    card_exp_month: str | None = _seen()
    card_exp_year: str | None = _seen()
    cardholder_name: str | None = _seen()
    card_hash_id: str | None = _seen()
    bank_name: str | None = _seen()
    card_country_alpha_three_code: str | None = _seen()
    dest_bank_name: str | None = _seen()
    dest_last_four_digits: str | None = _seen()
    dest_bin: str | None = _seen()
    dest_card_type: str | None = _seen()
    destination_hash_id: str | None = _seen()
    card_ref_id: str | None = _seen()
    destination_card_ref_id: str | None = _seen()
    recurring_payment_id: str | None = _seen()
    ips_src_payment_product_code: str | None = _seen()
    ips_src_payment_product_name: str | None = _seen()
    ips_src_payment_type_code: str | None = _seen()
    ips_src_payment_type_name: str | None = _seen()
    gate_partial_reversal: str | None = _seen()
    gate_partial_capture: str | None = _seen()
    verified_3d_status: str | None = _seen()
    verified_rsc_status: str | None = _seen()
    paynet_processing_date: str | None = _seen()
    acquirer_processing_date: str | None = _seen()
    merchant_data: str | None = _seen()
    loyalty_balance: str | None = _seen()
    loyalty_message: str | None = _seen()
    loyalty_bonus: str | None = _seen()
    loyalty_program: str | None = _seen()
    bank_message: str | None = _seen()
    filter_message: str | None = _seen()
    fraud_message: str | None = _seen()
    control: str | None = _seen()
    rest: Mapping[str, str] = attrs.field(factory=dict, repr=False, hash=False)

    @property
    def has_unreadable_amount(self) -> bool:
        """Whether an amount is told and none of what is told is a number."""
        texts = (self.rest.get("amount", ""), self.rest.get("initial-amount", ""))
        return self.asked_amount is None and any(text.strip() for text in texts)

    @property
    def asked_amount(self) -> Decimal | None:
        """The amount that the order was made with, as far as it is told."""
        return self.amount if self.initial_amount is None else self.initial_amount

    @property
    def stage(self) -> str:
        """The order stage in lower case; tables print capitals, the wire small letters."""
        return (self.order_stage or "").strip().casefold()


@attrs.frozen
class NotFound:
    """The gateway says that it knows no such order (error 101 of document 5.6).

    Attributes:
        error_code: The gateway's code.
    """

    error_code: str | None = None


@attrs.frozen
class NoAnswer:
    """The question brought no news about our order; ask again later.

    Attributes:
        reason: What happened instead.
        http_status: The HTTP status, if there was one.
        readable: Whether the gateway itself answered, in its own protocol.
        error_code: The gateway's code, if it told one.
    """

    reason: str
    http_status: int | None = None
    readable: bool = False
    error_code: str | None = None

    @property
    def is_about_settings(self) -> bool:
        """Whether it refuses us rather than this question: every other one would end the same."""
        return self.error_code in _SETTING_ERRORS


StatusAnswer = StatusReport | NotFound | NoAnswer
"""The three ends of a status request."""


@attrs.frozen(kw_only=True)
class Callback:
    """A callback whose control verifies (document 3.37).

    Attributes:
        status: What the gateway says; signed.
        paynet_order_id: The gateway's order id; signed, but for where it ends.
        client_orderid: The merchant's id; signed, but for where it begins.
        transaction_type: payout, reversal, chargeback, …; not signed.
    """

    status: Status
    paynet_order_id: str
    client_orderid: str
    transaction_type: str | None = None

    @property
    def is_later_transaction(self) -> bool:
        """Whether it says to be about a reversal, a chargeback or the like."""
        return is_later_transaction(self.transaction_type)
