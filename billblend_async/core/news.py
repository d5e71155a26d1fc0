"""What the gateway's answer means for a payout: an event, or no news."""

from decimal import Decimal
from typing import Final, assert_never

from .commands import Ask, Check, Command, Pay, PayOut
from .events import (
    Checked,
    CheckRefused,
    Event,
    Finished,
    NeedsAttention,
    NotSeen,
    PayAccepted,
    PayRefused,
    RedirectCleared,
    RedirectRequired,
    Rejected,
    TurnedAway,
    Validated,
)
from .models import Doubt, Flow, State, is_safe_link
from .payout import Payout, is_fresh
from .responses import (
    Accepted,
    NoAnswer,
    NotFound,
    NotSent,
    Refused,
    SendAnswer,
    StatusAnswer,
    StatusReport,
    Unknown,
    is_later_transaction,
)

__all__ = ["event_for"]

_VALIDATED_STAGE: Final = "payout_check_validated"


def event_for(
    payout: Payout, command: Command, answer: SendAnswer | StatusAnswer, at: float
) -> Event | None:
    """Say what an answer to a command means for a payout; None when it is no news."""
    match answer:
        case Accepted(paynet_order_id=order):
            if isinstance(command, Check):
                return Checked(at=at, paynet_order_id=order)
            return PayAccepted(at=at, paynet_order_id=order)
        case Refused(error_code=code, error_message=text):
            if not isinstance(command, Check | Pay | PayOut) or command.attempt != payout.attempt:
                return None  # said of an earlier round, after which a person has decided
            if isinstance(command, Pay | PayOut):
                about = isinstance(command, PayOut) and answer.is_about_settings
                return PayRefused(at=at, error_code=code, error_message=text, about_settings=about)
            # No money moves by a check, so one that is refused for a setting is just sent again.
            refusal = TurnedAway if answer.is_about_settings else CheckRefused
            return refusal(at=at, error_code=code, error_message=text)
        case NotSent() | Unknown():
            # What is not sent has changed nothing. If it is claimed all the same, since whoever
            # carries it gave it up meanwhile, it is asked about like any other claim.
            return None
        case StatusReport():
            return _event_for_report(payout, answer, at) or _end_of_doubt(payout, at)
        case NotFound() | NoAnswer():
            return _event_for_no_order(payout, command, answer, at)
        case _:
            assert_never(answer)


def _event_for_no_order(
    payout: Payout, command: Command, answer: NotFound | NoAnswer, at: float
) -> Event | None:
    """Say what it means that an answer names no order."""
    # Asked before the latest send left, or was answered, it proves nothing about that send.
    is_stale = isinstance(command, Ask) and command.since not in (None, payout.since)
    denies = isinstance(answer, NotFound)
    if isinstance(answer, NoAnswer):
        if not answer.readable:
            return None
        if payout.refused and not answer.is_about_settings and answer.error_code is not None:
            # An error without an order says why none was made (document 3.16). For a check any is
            # enough; for what may have paid it must be the refusal's own.
            is_check = payout.state is State.CHECKING
            denies = is_check or answer.error_code == payout.error_code
    if not denies or is_stale:
        return _end_of_doubt(payout, at)
    if payout.refused and payout.state is State.CHECKING:
        code, text = payout.error_code, payout.error_message
        return Rejected(at=at, error_code=code, error_message=text)
    if payout.refused or payout.state in (State.NEW, State.CHECKING):
        return NotSeen(at=at)
    return _end_of_doubt(payout, at)


def _event_for_report(payout: Payout, report: StatusReport, at: float) -> Event | None:
    order = payout.paynet_order_id
    if order is None:
        match _adoptable(payout, report):
            case None:
                return None
            case False:
                return NeedsAttention(at=at, doubt=Doubt.FOREIGN_ORDER)
        order = report.paynet_order_id
        assert order is not None  # noqa: S101 - _adoptable saw it; this tells the type checker
    elif report.paynet_order_id not in (None, order):
        return None
    is_later = is_later_transaction(report.transaction_type, report.order_stage)
    if is_later and not payout.state.is_terminal:
        if payout.paynet_order_id is None:
            return _found(payout, order, at)
        return NeedsAttention(at=at, doubt=Doubt.OTHER_TRANSACTION)
    if report.status.is_final:
        return Finished(
            at=at,
            status=report.status,
            paynet_order_id=order,
            order_stage=report.order_stage,
            amount=report.amount,
            currency=report.currency,
            error_code=report.error_code,
            error_message=report.error_message,
            transaction_type=report.transaction_type,
        )
    if payout.paynet_order_id is None:
        return _found(payout, order, at)
    if not payout.pays and payout.state in (State.VALIDATING, State.VALIDATED):
        amount, currency = report.asked_amount, report.currency
        if report.has_unreadable_amount or not _is_asked(payout, amount, currency):
            return NeedsAttention(
                at=at, doubt=Doubt.AMOUNT_DIFFERS, amount=amount, currency=currency
            )
    if report.redirect_to and payout.pays:
        if not is_safe_link(report.redirect_to):
            return NeedsAttention(at=at, doubt=Doubt.BAD_REDIRECT)
        return RedirectRequired(at=at, redirect_to=report.redirect_to)
    if payout.state is State.AWAITING_RECEIVER:
        return RedirectCleared(at=at)
    if report.stage != _VALIDATED_STAGE:
        return None
    # A payout that waits for approval is asked about for long: only the last look counts.
    looks_again = payout.state is State.VALIDATED and not payout.held and not is_fresh(payout, at)
    return Validated(at=at) if payout.state is State.VALIDATING or looks_again else None


def _found(payout: Payout, order: str, at: float) -> Event:
    found = Checked if payout.flow is Flow.CHECK_PAY else PayAccepted
    return found(at=at, paynet_order_id=order)


def _adoptable(payout: Payout, report: StatusReport) -> bool | None:
    """Tell whether an order found by client_orderid alone is ours; None when it does not say."""
    amount, currency = report.asked_amount, report.currency
    if report.paynet_order_id is None or amount is None or currency is None:
        return None
    if report.merchant_order_id != payout.client_orderid:
        return None
    return _is_asked(payout, amount, currency)


def _is_asked(payout: Payout, amount: Decimal | None, currency: str | None) -> bool:
    """Tell whether nothing that is told of an order differs from what was asked for."""
    same_amount = amount is None or amount == payout.amount
    return same_amount and (currency or payout.currency).upper() == payout.currency


def _end_of_doubt(payout: Payout, at: float) -> Event | None:
    """Park a payout whose doubt has lasted too long; said only when the gateway itself answered."""
    if at < payout.since + payout.deadlines.doubt:
        return None
    if payout.state is State.CHECKING:
        return NeedsAttention(at=at, doubt=Doubt.CHECK_UNCONFIRMED)
    if payout.state is State.PAYING:
        doubt = Doubt.PAY_REFUSED if payout.refused else Doubt.PAY_UNCONFIRMED
        return NeedsAttention(at=at, doubt=doubt)
    if payout.state is State.NEW and payout.restored:
        return NeedsAttention(at=at, doubt=Doubt.RESTORED)
    return None
