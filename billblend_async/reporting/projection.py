"""The read model: one row for each payout, its status word, and the commands that may help."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import attrs

from ..core.descriptions import legible
from ..core.discrepancies import RECONCILE as RECONCILE_SENTENCE
from ..core.discrepancies import explain, sentence_of
from ..core.events import Approved, Decision, Released
from ..core.models import Alarm, Doubt, OpenReason, Outcome, State
from ..core.payout import Payout, deadline
from ..core.responses import Status
from ..errors import SendingStopped

__all__ = [
    "ATTENTION",
    "AWAITS_APPROVAL",
    "RECONCILE",
    "RELEASED",
    "UNFINISHED",
    "Line",
    "Remedy",
    "Total",
    "Verdicts",
    "explanation_of",
    "line_of",
    "remedies",
    "remedies_of",
    "status_word",
    "told_status",
    "verdicts",
]

_WAITS: Final[Mapping[State, str]] = {
    State.NEW: "Accepted, and nothing was sent for it yet; a run of its file goes on with it.",
    State.CHECKING: (
        "The answer to payout-check is not known yet; a run of its file asks for it and does not "
        "repeat the check."
    ),
    State.VALIDATING: "The bank is validating it; a run of its file asks again and then pays it.",
    State.VALIDATED: "The bank has validated it and pay was not sent; a run of its file pays it.",
    State.PAYING: (
        "The answer to the pay request is not known yet; a run of its file asks for it and never "
        "repeats the payment."
    ),
    State.AWAITING_FINAL: (
        "The gateway has taken the pay request; a run of its file asks for the final status."
    ),
    State.AWAITING_RECEIVER: (
        "The receiver must open a link and fill in a form; the link stands in the results file."
    ),
}
"""What each state waits for, and what a run of its file does about it."""
_RELEASED: Final = (
    "A person has allowed one more send, after one that may have left; a run of its file sends it."
)
_APPROVE: Final = "The bank has validated it; approve it to pay, or withdraw it."


RECONCILE: Final = "error"
"""The name of the reason to ask what became of a payout that is finished."""
ATTENTION: Final = (
    *(f"doubt {doubt}" for doubt in Doubt),
    *(f"alarm {alarm}" for alarm in Alarm),
    RECONCILE,
)
"""The names of the reasons for which a person must look."""
AWAITS_APPROVAL: Final = "awaiting-approval"
"""The name of the reason of those that a person must approve."""
RELEASED: Final = "released"
"""The name of the reason of those for which a person has allowed one more send."""
UNFINISHED: Final = (*(state.value for state in _WAITS), AWAITS_APPROVAL, RELEASED)
"""The names of the reasons for which a payout is not finished and needs no person."""


@attrs.frozen(kw_only=True)
class Line:
    """What a report says of one payout: no receiver, no link.

    Attributes:
        client_orderid: The caller's id.
        status: One word for what became of it, as in the results of a batch.
        state: The situation it is in.
        amount: Asked amount in major units.
        currency: Asked currency.
        paynet_order_id: The gateway's order id, once known.
        order_stage: The gateway's word for the final stage.
        error_code: The gateway's code for a refusal.
        error_message: The gateway's text for a refusal.
        doubt: Why a person must look.
        alarms: What does not fit.
        acknowledged: Which of the alarms, and ``error`` of the status, a person has acknowledged.
        held: Whether it waits for a person's approval.
        accepted_at: When it was accepted, in seconds since the epoch.
        since: When it came into its state.
        late_at: When its wait has taken longer than it was given; None where nothing is waited for.
        sequence: How many events have changed it.
        details: What does not fit about it in particular, by the name of the reason.
        decisions: What people have decided about it, in order.
    """

    client_orderid: str
    status: str
    state: State
    amount: Decimal
    currency: str
    paynet_order_id: str | None
    order_stage: str | None
    error_code: str | None
    error_message: str | None
    doubt: Doubt | None
    alarms: tuple[Alarm, ...]
    acknowledged: tuple[str, ...]
    held: bool
    accepted_at: float
    since: float
    late_at: float | None
    sequence: int
    details: tuple[tuple[str, str], ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def is_paid(self) -> bool:
        """Whether the gateway says that the money has moved."""
        return self.state is State.FINAL and self.status == Status.APPROVED

    @property
    def needs_person(self) -> bool:
        """Whether a person must look."""
        is_parked = self.state is State.ATTENTION
        return is_parked or bool(self.open_alarms) or self.needs_reconciliation

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        """The alarms that no person has acknowledged."""
        return tuple(alarm for alarm in self.alarms if alarm not in self.acknowledged)

    @property
    def needs_reconciliation(self) -> bool:
        """Whether to ask the gateway what became of the money: its status does not say."""
        is_error = self.state is State.FINAL and self.status == Status.ERROR
        return is_error and Status.ERROR not in self.acknowledged

    @property
    def seconds_to_final(self) -> float | None:
        """How long it took from its acceptance to the gateway's final status, if it has one."""
        if self.state is not State.FINAL:
            return None
        return max(0.0, self.since - self.accepted_at)  # a clock may have been set back

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Why it needs somebody or is not finished: each reason by its name and in words."""
        return _reasons(self)

    def detail(self, reason: str) -> str:
        """Say what holds of this payout alone for one reason; empty where all are told alike."""
        return dict(self.details).get(reason, "")

    @property
    def explanation(self) -> str:
        """The same in words that are about this payout alone, with its numbers."""
        return " ".join(self.detail(name) or sentence for name, sentence in self.reasons)


def line_of(payout: Payout) -> Line:
    """Take from a payout what a report says of it."""
    wait = deadline(payout)
    waits = wait is not None and payout.state is not State.ATTENTION and not payout.held
    return Line(
        client_orderid=payout.client_orderid,
        status=status_word(payout.state, payout.status, None if wait is None else wait[0]),
        state=payout.state,
        amount=payout.amount,
        currency=payout.currency,
        paynet_order_id=payout.paynet_order_id,
        order_stage=payout.order_stage,
        error_code=payout.error_code,
        error_message=payout.error_message,
        doubt=payout.doubt,
        alarms=payout.alarms,
        acknowledged=payout.acknowledged,
        held=payout.held,
        accepted_at=payout.opened_at,
        since=payout.since,
        late_at=wait[1] if wait is not None and waits else None,
        sequence=payout.sequence,
        details=_details(payout),
        decisions=payout.decisions,
    )


def _details(payout: Payout) -> tuple[tuple[str, str], ...]:
    told: dict[str, list[str]] = {}
    findings = payout.told_findings
    for each, sentence in zip(findings, explain(findings, payout), strict=True):
        told.setdefault(f"alarm {each.alarm}", []).append(sentence)
    if payout.doubt_sentence is not None:
        told[f"doubt {payout.doubt}"] = [payout.doubt_sentence]
    return tuple((name, " ".join(sentences)) for name, sentences in told.items())


def explanation_of(outcome: Outcome) -> str:
    """Say why a payout stands where it does; empty where the status says all."""
    return outcome.explanation or _WAITS.get(outcome.state, "")


def _is_released(line: Line) -> bool:
    return any(isinstance(each, Released) for each in line.decisions)


def _reasons(line: Line) -> list[tuple[str, str]]:
    reasons: list[tuple[str, str]] = []
    if line.doubt is not None and line.state is State.ATTENTION:
        reasons.append((f"doubt {line.doubt}", line.doubt.sentence))
    # An alarm that only repeats the doubt is no second reason, and has no details.
    told, doubt = dict(line.details), line.doubt if reasons else None
    reasons += [
        (f"alarm {alarm}", sentence_of(alarm))
        for alarm in line.open_alarms
        if alarm.value != doubt or f"alarm {alarm}" in told
    ]
    if line.needs_reconciliation:
        reasons.append((RECONCILE, RECONCILE_SENTENCE))
    if line.held and line.state is State.VALIDATED:
        reasons.append((AWAITS_APPROVAL, _APPROVE))
    elif line.state in (State.NEW, State.VALIDATED) and _is_released(line):
        reasons.append((RELEASED, _RELEASED))
    elif line.state in _WAITS:
        reasons.append((line.state.value, _WAITS[line.state]))
    return reasons


def told_status(outcome: Outcome | None) -> str:
    """Say in one word what became of a payout: the gateway's final status, or where it stands."""
    if outcome is None or isinstance(outcome.problem, SendingStopped):
        return "unfinished"
    if outcome.problem is not None:
        return "conflict"
    return status_word(outcome.state, outcome.status, outcome.open_reason)


def status_word(state: State, status: Status | None, open_reason: OpenReason | None) -> str:
    """Say the same of a payout that was taken in.

    Args:
        state: The situation it is in.
        status: Its final status, once there is one.
        open_reason: Why it is not finished, if it is not.
    """
    if state is State.FINAL and status is not None:
        return str(status)
    if state.is_terminal or state is State.ATTENTION:
        return state.value
    match open_reason:
        case OpenReason.AWAITING_APPROVAL | OpenReason.AWAITING_RECEIVER as reason:
            return reason.value
        case _:
            return "unfinished"


@attrs.frozen
class Total:
    """How many payouts of one status and currency, and what they sum to.

    Attributes:
        status: The word of ``told_status``.
        currency: The currency.
        payouts: How many.
        amount: Their sum in major units.
    """

    status: str
    currency: str
    payouts: int
    amount: Decimal


# What decides lacks who and why, so that nobody decides by copying a command unread.
_SIGN: Final = "add --who and --why"
_FILE: Final = "FILE is the file that they are in, RESULTS the results file to write"
_FOR_GOOD: Final = (Doubt.APPROVED_BEFORE_PAY, Doubt.OTHER_TRANSACTION)
_RELEASES: Final = {
    Doubt.CHECK_UNCONFIRMED: "to check each once more, when the support has no such order",
    Doubt.CHECKS_SPENT: "to check each once more, when the cause is mended",
    Doubt.FOREIGN_ORDER: "to check each once more, if the other order never pays this receiver",
    Doubt.AMOUNT_DIFFERS: "to ask about each once more, and to pay it if its amount is right then",
    Doubt.PAY_REFUSED: "to pay each once more, when the cause is mended",
    Doubt.BAD_REDIRECT: "to go on asking for each; nothing is paid again",
}
_RELEASE: Final = (
    "to pay each once more, when the support says that it was not paid and will not be"
)


@attrs.frozen
class Remedy:
    """Something to run.

    Attributes:
        purpose: What for, such as ``to end each``.
        command: The command, to be copied.
        missing: What is to be known of it, to be added or put in; empty where it is whole.
    """

    purpose: str
    command: str
    missing: str = ""

    @property
    def heading(self) -> str:
        """What stands above the command."""
        what = f"{self.purpose[0].upper()}{self.purpose[1:]}"
        return f"{what} ({self.missing})" if self.missing else what


def remedies(reason: str, lines: Sequence[Line], journal: str, *, most: int) -> list[Remedy]:
    """Say what can be run about payouts with one reason.

    Args:
        reason: The name of the reason, as a summary's group has it.
        lines: The payouts.
        journal: The journal, as the user has named it.
        most: How many ids stand in a command.
    """
    named = [line for line in lines if _can_be_typed(line.client_orderid)]
    if reason == AWAITS_APPROVAL:
        return _of_held(named, len(lines), journal, most)
    if reason == RECONCILE or reason.startswith("alarm "):
        ended = [line for line in named if line.state.is_terminal]
        seen = _decision("acknowledge", ended, journal, most, "when you know what became of it")
        return [*_look(named, journal), *seen]
    if reason in tuple(Doubt):
        doubt = Doubt(reason)
        told = _look(named, journal)
        if doubt not in _FOR_GOOD:
            purpose = _RELEASES.get(doubt, _RELEASE)
            told += _decision("release", named, journal, most, purpose)
        return [*told, *_decision("close", named, journal, most, "to end each")]
    again = f"billblend pay --journal {shlex.quote(journal)} --out RESULTS FILE"
    return [Remedy("to go on, as they were run before", again, _FILE)]


def remedies_of(line: Line, journal: str) -> list[Remedy]:
    """Say what can be run about one payout, to decide about it or to go on."""
    names = dict.fromkeys(name.removeprefix("doubt ") for name, _ in line.reasons)
    told = [each for name in names for each in remedies(name, [line], journal, most=1)]
    return [each for each in dict.fromkeys(told) if not each.command.startswith(_LOOK)]


_LOOK: Final = "billblend status "


def _look(lines: Sequence[Line], journal: str) -> list[Remedy]:
    """Look at the first one: what has happened to it, and what the gateway says now."""
    if not lines:
        return []
    name = shlex.quote(lines[0].client_orderid)
    command = f"{_LOOK}--journal {shlex.quote(journal)} {name}"
    return [Remedy("to look at the first", command)]


def _decision(
    decision: str, lines: Sequence[Line], journal: str, most: int, purpose: str
) -> list[Remedy]:
    if not lines:
        return []
    start = f"billblend attention {decision} --journal {shlex.quote(journal)}"
    first = f"the first {most}; " if len(lines) > most else ""
    return [Remedy(purpose, f"{start} {_names(lines, most)}", f"{first}{_SIGN}")]


def _of_held(lines: Sequence[Line], count: int, journal: str, most: int) -> list[Remedy]:
    """Name what is to be approved, or approve a file as a whole where it is too many."""
    where = f"--journal {shlex.quote(journal)}"
    approve, missing = f"billblend approve {where} --out RESULTS FILE", f"add --who; {_FILE}"
    if not count == len(lines) <= most:
        return [Remedy("to pay all of a file that waits", approve, missing)]
    names = _names(lines, most)
    return [
        Remedy("to pay them", f"{approve} {names}", missing),
        Remedy("to end them unpaid", f"billblend withdraw {where} {names}", _SIGN),
    ]


def _names(lines: Iterable[Line], most: int) -> str:
    return " ".join([shlex.quote(line.client_orderid) for line in lines][:most])


def _can_be_typed(name: str) -> bool:
    """Tell whether an id stands in a command line as it is, and is none of its options."""
    return legible(name, len(name)) == name and not name.startswith("-")


@attrs.frozen(kw_only=True)
class Verdicts:
    """What people have decided.

    Attributes:
        listed: The latest decisions but for approvals, each with its payout, the latest first.
        unlisted: How many earlier ones there are.
        approvals: How many payouts each person has approved, the busiest first.
    """

    listed: tuple[tuple[Line, Decision], ...]
    unlisted: int
    approvals: tuple[tuple[str, int], ...]


def verdicts(lines: Sequence[Line], most: int) -> Verdicts:
    """Gather what people have decided; approvals are many and alike, so they are counted.

    Args:
        lines: The payouts.
        most: How many decisions are listed.
    """
    found: list[tuple[Line, Decision]] = []
    approvals: Counter[str] = Counter()
    for line in lines:
        for decision in line.decisions:
            if isinstance(decision, Approved):
                approvals[legible(decision.who)] += 1
            else:
                found.append((line, decision))
    found.sort(key=lambda each: -each[1].at)
    return Verdicts(
        listed=tuple(found[:most]),
        unlisted=max(0, len(found) - most),
        approvals=tuple(approvals.most_common()),
    )
