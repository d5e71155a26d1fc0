"""What has happened to a payout, event by event, in words for people; no link and no receiver."""

from decimal import Decimal
from typing import Final, assert_never

from .events import (
    Acknowledged,
    Approved,
    CalledBack,
    Checked,
    CheckNotSent,
    CheckRefused,
    CheckStarted,
    Closed,
    Decision,
    Event,
    Finished,
    NeedsAttention,
    NotSeen,
    Opened,
    PayAccepted,
    PayNotSent,
    PayRefused,
    PayStarted,
    RedirectCleared,
    RedirectRequired,
    Rejected,
    Released,
    Restored,
    TurnedAway,
    Validated,
    Withdrawn,
)
from .legibility import legible
from .models import Flow

__all__ = ["decided", "decision_word", "happened", "money", "reason_of"]

_LONGEST_WHO: Final = 60
_LONGEST_WORD: Final = 40


def decision_word(decision: Decision) -> str:
    """Say in one word what a person has decided: approved, released, closed, …."""
    return type(decision).__name__.lower()


def reason_of(decision: Decision) -> str:
    """Give a person's reason, in one harmless line; an approval has none."""
    return "" if isinstance(decision, Approved) else legible(decision.why)


def decided(decision: Decision) -> str:
    """Say what a person has decided, who it was and why."""
    who = f"{decision_word(decision)} by {legible(decision.who, _LONGEST_WHO)}"
    why = reason_of(decision)
    return f"{who}: {why}" if why else who


def happened(event: Event) -> str:
    """Say what an event is."""
    match event:
        case Opened():
            flow = " in one step" if event.flow is Flow.ONE_STEP else ""
            held = ", to wait for approval" if event.held else ""
            return f"accepted{flow}: {money(event.amount, event.currency)}{held}"
        case CheckStarted():
            return "payout-check was about to leave"
        case PayStarted():
            return "the request to pay was about to leave"
        case CheckNotSent():
            return "payout-check did not leave this machine"
        case PayNotSent():
            return "the request to pay did not leave this machine"
        case Checked(paynet_order_id=order):
            return f"the gateway has it as order {legible(order)}"
        case PayAccepted(paynet_order_id=order):
            return f"the gateway has taken the request to pay order {legible(order)}"
        case NotSeen():
            return "the gateway said that it knows no such order"
        case Rejected():
            return f"the gateway refused it and made no order{_because(event)}"
        case TurnedAway():
            return f"the gateway knows not this merchant or endpoint{_because(event)}"
        case CheckRefused() | PayRefused():
            what = "check" if isinstance(event, CheckRefused) else "pay"
            return f"the gateway refused to {what} it{_because(event)}"
        case Validated():
            return "the bank has validated it"
        case RedirectRequired():
            return "the receiver was asked to open a link"
        case RedirectCleared():
            return "the receiver was asked for nothing more"
        case Finished():
            return _final(event)
        case CalledBack(status=status):
            return f"a callback told {legible(status, _LONGEST_WORD)}, which was asked about"
        case NeedsAttention(doubt=doubt):
            told = money(event.amount, event.currency)
            return f"it came to need a person: {doubt}{f' ({told})' if told else ''}"
        case Approved() | Released() | Closed() | Withdrawn() | Acknowledged():
            return decided(event)
        case Restored():
            return "the journal was declared restored from a copy"
        case _:
            assert_never(event)


def _final(event: Finished) -> str:
    told = [legible(event.transaction_type, _LONGEST_WORD), str(event.status)]
    if event.amount is not None or event.currency:
        told.append(money(event.amount, event.currency))
    return f"the gateway told {', '.join(filter(None, told))}{_because(event)}"


def _because(event: CheckRefused | Rejected | TurnedAway | PayRefused | Finished) -> str:
    told = " ".join(filter(None, (event.error_code, event.error_message)))
    return f": {legible(told)}" if told else ""


def money(amount: Decimal | None, currency: str | None) -> str:
    """Write an amount and its currency, either of which may be missing."""
    number = "" if amount is None else f"{amount:f}"
    return f"{number} {legible(currency, _LONGEST_WORD)}".strip()
