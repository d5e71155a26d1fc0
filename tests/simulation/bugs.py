"""Planted bugs: small mistakes in the rules, each of which the simulation must find.

Those here misread what an answer means or what may follow on what; those in ``misdeeds`` drive,
claim and write wrongly, those in ``misbelief`` believe what callbacks and callers say.
"""

from collections.abc import Callable
from typing import Any

import attrs

from billblend_async.core import machine
from billblend_async.core import machine as news
from billblend_async.core.discrepancies import Finding, with_finding
from billblend_async.core.events import (
    Acknowledged,
    Checked,
    CheckNotSent,
    Event,
    Finished,
    NeedsAttention,
    PayNotSent,
    PayStarted,
    Rejected,
    TurnedAway,
    Withdrawn,
)
from billblend_async.core.machine import Check, Pay, PayOut
from billblend_async.core.models import Doubt, Flow, State
from billblend_async.core.payout import Payout
from billblend_async.core.responses import NotFound, NotSent, Refused, Status, Unknown
from billblend_async.orchestrator import runner as driver

from . import client, misbelief, misdeeds
from .planting import BUGS, Garden, bug, planted

__all__ = ["BUGS", "misbelief", "misdeeds", "planted"]

# what answers mean


def _misread(garden: Garden, read: Callable[[Payout, Any, Any, float], Event | None]) -> None:
    """Let something else say what an answer means, where it has an opinion."""

    def event_for(payout: Payout, command: Any, answer: Any, at: float) -> Any:
        return read(payout, command, answer, at) or rightly(payout, command, answer, at)

    rightly = garden.replace(driver, "event_for", event_for)


@bug
def pays_again_after_unknown(garden: Garden) -> None:
    """A pay whose answer is lost counts as not sent."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        lost = isinstance(command, Pay | PayOut) and isinstance(answer, Unknown)
        return PayNotSent(at=at) if lost else None

    _misread(garden, read)


@bug
def checks_again_after_unknown(garden: Garden) -> None:
    """A check whose answer is lost counts as not sent."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        lost = isinstance(command, Check) and isinstance(answer, Unknown)
        return CheckNotSent(at=at) if lost else None

    _misread(garden, read)


@bug
def believes_not_sent_without_proof(garden: Garden) -> None:
    """A timeout counts as a failed connection, and that as the proof that nothing left."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        if not isinstance(answer, NotSent):
            return None
        return CheckNotSent(at=at) if isinstance(command, Check) else PayNotSent(at=at)

    _misread(garden, read)
    garden.replace(client, "Unknown", lambda reason, http_status: NotSent(reason))


@bug
def obeys_stale_refusals(garden: Garden) -> None:
    """A refusal of an earlier round counts for this one."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        if not isinstance(answer, Refused) or not isinstance(command, Check | Pay | PayOut):
            return None
        return news.event_for(payout, attrs.evolve(command, attempt=payout.attempt), answer, at)

    _misread(garden, read)


@bug
def pays_again_while_still_validated(garden: Garden) -> None:
    """A lost pay whose order is still validated counts as one that did not arrive."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        stage = getattr(answer, "stage", None)
        doubted = payout.state is State.PAYING and at > payout.since + 20
        proved = doubted and stage == "payout_check_validated"
        return PayNotSent(at=at) if proved else None

    _misread(garden, read)


@bug
def pays_out_again_when_not_found(garden: Garden) -> None:
    """A one-step payout that is not found is sent again."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        one_step = payout.state is State.PAYING and payout.flow is Flow.ONE_STEP
        return PayNotSent(at=at) if one_step and isinstance(answer, NotFound) else None

    _misread(garden, read)


@bug
def sends_twice_after_release(garden: Garden) -> None:
    """After a release a lost pay is sent again."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        released = isinstance(command, Pay | PayOut) and command.attempt > 1
        return PayNotSent(at=at) if released and isinstance(answer, Unknown) else None

    _misread(garden, read)


@bug
def takes_errors_for_refusals(garden: Garden) -> None:
    """An error without an order id counts as a refusal."""

    def read(fields: Any, **ids: Any) -> Any:
        answer = rightly(fields, **ids)
        nameless = fields.get("type") == "error" and "paynet-order-id" not in fields
        return Refused(fields["error-code"]) if nameless else answer

    rightly = garden.replace(client, "read_send_answer", read)


@bug
def believes_any_status(garden: Garden) -> None:
    """A status that names no order, or another one, counts for ours."""

    def read(fields: Any, *, client_orderid: str, paynet_order_id: str | None = None) -> Any:
        ours = {**fields, "merchant-order-id": client_orderid}
        if paynet_order_id is not None:
            ours["paynet-order-id"] = paynet_order_id
        return rightly(ours, client_orderid=client_orderid, paynet_order_id=paynet_order_id)

    rightly = garden.replace(client, "read_status_answer", read)


@bug
def adopts_foreign_orders(garden: Garden) -> None:
    """An order that is found counts as ours whatever its amount is."""
    garden.replace(news, "_adoptable", lambda payout, report: report.paynet_order_id is not None)


@bug
def sends_receivers_anywhere(garden: Garden) -> None:
    """A link is not looked at."""
    garden.replace(news, "is_safe_link", lambda link: True)


@bug
def takes_unknown_words_for_final(garden: Garden) -> None:
    """A word that is not known to be going on is taken for an end."""
    going_on = (Status.PROCESSING, Status.UNKNOWN, Status.CHAIN_DECLINED)
    garden.replace(Status, "is_final", property(lambda word: word not in going_on))


@bug
def takes_unknown_for_final(garden: Garden) -> None:
    """The status ``unknown`` is taken for an end."""
    ends = ("approved", "declined", "filtered", "error", "unknown")
    garden.replace(Status, "is_final", property(lambda word: word in ends))


@bug
def believes_refusals(garden: Garden) -> None:
    """A one-step payout that is refused counts as one that was not made, without a question."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        refused = isinstance(command, PayOut) and isinstance(answer, Refused)
        return Rejected(at=at) if refused else None

    _misread(garden, read)


@bug
def sends_again_after_a_refused_setting(garden: Garden) -> None:
    """A one-step payout that is refused for a setting counts as one that was not sent."""

    def read(payout: Payout, command: Any, answer: Any, at: float) -> Event | None:
        refused = isinstance(command, PayOut) and isinstance(answer, Refused)
        return TurnedAway(at=at) if refused and answer.is_about_settings else None

    def next_command(payout: Payout, at: float) -> Any:
        return rightly(attrs.evolve(payout, restored=False), at)

    _misread(garden, read)
    rightly = garden.replace(driver, "next_command", next_command)


@bug
def pays_another_amount(garden: Garden) -> None:
    """An order that was validated is paid, whatever its amount is."""
    garden.replace(news, "_is_asked", lambda payout, amount, currency: True)


# what may follow on what


@bug
def checks_again_after_one_not_found(garden: Garden) -> None:
    """One answer that no such order exists is enough."""
    garden.replace(machine, "NOT_SEEN_TIMES", 1)
    garden.replace(machine, "NOT_SEEN_FOR", 0.0)


@bug
def does_not_wait_for_late_orders(garden: Garden) -> None:
    """Five answers are enough, however fast they come."""
    garden.replace(machine, "NOT_SEEN_FOR", 0.0)


@bug
def releases_at_once(garden: Garden) -> None:
    """A doubt can be released while the request may still be under way."""
    garden.replace(machine, "RELEASE_AFTER", 0.0)


@bug
def takes_early_approval_for_an_end(garden: Garden) -> None:
    """Approved before pay counts as paid."""
    rightly = machine._finish

    def finish(payout: Payout, event: Finished) -> Payout:
        return attrs.evolve(
            rightly(attrs.evolve(payout, pays=max(1, payout.pays)), event), pays=payout.pays
        )

    garden.replace(machine, "_finish", finish)


def _notice(garden: Garden, notice: Callable[[Payout, Event], Payout | None]) -> None:
    """Let an event move a state that does not list it."""
    rightly = machine._notice
    garden.replace(
        machine, "_notice", lambda payout, event: notice(payout, event) or rightly(payout, event)
    )


@bug
def overwrites_final(garden: Garden) -> None:
    """A later final word replaces the first."""

    def notice(payout: Payout, event: Event) -> Payout | None:
        again = payout.state is State.FINAL and isinstance(event, Finished)
        return machine._finish(payout, event) if again and isinstance(event, Finished) else None

    _notice(garden, notice)


@bug
def acknowledges_into_sending(garden: Garden) -> None:
    """Who acknowledges a lost pay lets it be sent again."""

    def notice(payout: Payout, event: Event) -> Payout | None:
        if payout.doubt is not Doubt.PAY_UNCONFIRMED or not isinstance(event, Acknowledged):
            return None
        if payout.state is not State.ATTENTION:
            return None
        back = State.NEW if payout.flow is Flow.ONE_STEP else State.VALIDATED
        return attrs.evolve(payout, state=back, since=event.at, doubt=None, validated_at=None)

    _notice(garden, notice)


@bug
def acknowledges_what_is_to_come(garden: Garden) -> None:
    """Of a payout that was acknowledged once, nothing that does not fit is told any more."""

    def add(findings: tuple[Finding, ...], new: Finding) -> tuple[Finding, ...]:
        is_seen = any(known.is_acknowledged for known in findings)
        return with_finding(findings, attrs.evolve(new, is_acknowledged=is_seen))

    garden.replace(machine, "with_finding", add)


@bug
def acknowledges_what_was_not_shown(garden: Garden) -> None:
    """Who acknowledges one thing that does not fit about a payout has acknowledged all of it."""

    def acknowledged(findings: tuple[Finding, ...], _numbers: Any) -> tuple[Finding, ...]:
        return tuple(attrs.evolve(each, is_acknowledged=True) for each in findings)

    garden.replace(machine, "acknowledged", acknowledged)


@bug
def withdraws_after_pay(garden: Garden) -> None:
    """A payout can be taken back although pay was started."""

    def notice(payout: Payout, event: Event) -> Payout | None:
        late = payout.state in (State.PAYING, State.AWAITING_FINAL)
        if not late or not isinstance(event, Withdrawn):
            return None
        return attrs.evolve(payout, state=State.WITHDRAWN, since=event.at)

    _notice(garden, notice)


@bug
def replaces_the_order_id(garden: Garden) -> None:
    """The last order that is named is the one that is paid."""

    def notice(payout: Payout, event: Event) -> Payout | None:
        if payout.state.is_terminal or not isinstance(event, Checked):
            return None
        return attrs.evolve(payout, paynet_order_id=event.paynet_order_id)

    _notice(garden, notice)


@bug
def sends_in_attention(garden: Garden) -> None:
    """A parked pay is sent again after a while."""

    def notice(payout: Payout, event: Event) -> Payout | None:
        if payout.state is not State.ATTENTION or not isinstance(event, PayStarted):
            return None
        return attrs.evolve(payout, state=State.PAYING, since=event.at, doubt=None)

    def next_command(payout: Payout, at: float) -> Any:
        order = payout.paynet_order_id
        if payout.doubt is Doubt.PAY_UNCONFIRMED and order is not None:
            return Pay(order, payout.attempt)
        return rightly(payout, at)

    _notice(garden, notice)
    rightly = garden.replace(driver, "next_command", next_command)


@bug
def rearms_when_the_doubt_is_old(garden: Garden) -> None:
    """A pay that stays in doubt is sent again instead of parked."""
    rightly = machine._apply

    def apply(payout: Payout, event: Event) -> Payout:
        if isinstance(event, NeedsAttention) and event.doubt is Doubt.PAY_UNCONFIRMED:
            back = State.NEW if payout.flow is Flow.ONE_STEP else State.VALIDATED
            return attrs.evolve(payout, state=back, since=event.at, validated_at=None)
        return rightly(payout, event)

    garden.replace(machine, "_apply", apply)
