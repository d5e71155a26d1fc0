"""The progress of a run: where its payouts are, and which of them are in doubt.

In doubt is a payout whose request may have been sent and whose outcome is unknown. A move costs the
same however many payouts there are.
"""

import enum
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Final

import attrs

from ..core.events import Event
from ..core.models import Outcome, State
from ..core.payout import Payout, outcome
from ..core.request import PayoutRequest
from ..core.responses import Status
from ..errors import SendingStopped
from ..orchestrator.observer import Command, Observer, SendEnd, StatusEnd

__all__ = [
    "Case",
    "Group",
    "Phase",
    "Snapshot",
    "Tally",
    "Uncertainty",
]


class Group(enum.StrEnum):
    """What a payout has come to, as far as this run is concerned."""

    APPROVED = "approved"
    WAITING = "waiting"
    REFUSED = "refused"
    """Declined, filtered, rejected, or ended by a person."""
    NEEDS_PERSON = "needs-person"
    """In attention, with an alarm, or ended in the status error: money may have moved."""
    AWAITING_APPROVAL = "awaiting-approval"
    UNFINISHED = "unfinished"
    """Handed back by this run; another one goes on with it."""


class Phase(enum.StrEnum):
    """Where on its way a payout is."""

    CHECK = "check"
    BANK = "bank"
    PAY = "pay"
    FINAL = "final"
    RECEIVER = "receiver"
    PERSON = "person"


@attrs.frozen
class Case:
    """A payout that did not go well.

    Attributes:
        client_orderid: The payout.
        text: What happened and what to do, in one line without control characters.
    """

    client_orderid: str
    text: str


@attrs.frozen(kw_only=True)
class Snapshot:
    """Where all payouts of a run stand at one moment.

    Attributes:
        seconds: Since the run began.
        total: How many payouts it is about.
        currencies: Their currencies, the most frequent first.
        counts: How many are in each group.
        amounts: What those sum to, by currency, in major units.
        phases: The phases of this kind of run, in their order.
        now: How many are in each phase.
        through: How many are through each phase that one gets through.
        receivers: How many wait for their receivers.
        finished: How many have come to their end in this run.
        per_second: How many do in a second, lately; None as long as that cannot be told.
        seconds_left: When the rest will have, as fast as they go through the phases lately; None
            as long as that cannot be told. Nobody knows how long receivers take, so they are left
            out.
        cases: The latest that did not go well, those that need a person first, newest first.
        news: Those that need a person and were not in the snapshot before.
        trouble: Why nothing goes on; None while all is well.
        trouble_seconds: For how long that has been so.
        under_way: Requests whose answers are waited for.
        is_stopping: Whether the run is ending early.
        in_doubt: How many were claimed, by this run or an earlier one, and nobody knows whether
            anything took effect.
        doubt_until: When the last of those comes to need a person, in seconds since the epoch.
        at: When this was, in seconds since the epoch.
        journal: The journal, as the user has named it.
    """

    seconds: float
    total: int
    currencies: tuple[str, ...]
    counts: Mapping[Group, int]
    amounts: Mapping[Group, Mapping[str, Decimal]]
    phases: tuple[Phase, ...]
    now: Mapping[Phase, int]
    through: Mapping[Phase, int]
    receivers: int
    finished: int
    per_second: float | None
    seconds_left: float | None
    cases: tuple[Case, ...]
    news: tuple[Case, ...]
    trouble: str | None = None
    trouble_seconds: float = 0.0
    under_way: int = 0
    is_stopping: bool = False
    in_doubt: int = 0
    doubt_until: float | None = None
    at: float = 0.0
    journal: str = ""

    @property
    def over(self) -> int:
        """How many this run has nothing more to do for."""
        return self.total - self.counts[Group.WAITING]


_CLAIMED: Final = (State.CHECKING, State.PAYING)


class Uncertainty:
    """Payouts in doubt: their claim is of an earlier run, or the answer to their request is lost.

    One whose request is under way is in no doubt yet.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        """Count them."""
        return len(self._until)

    @property
    def until(self) -> float | None:
        """When the last of them comes to need a person, in seconds since the epoch."""
        return max(self._until.values(), default=None)

    def see(self, payout: Payout, *, is_lost: bool) -> None:
        """Take in where a payout stands.

        Args:
            payout: As it is now.
            is_lost: Whether nobody waits for an answer any more.
        """
        name = payout.client_orderid
        if payout.state not in _CLAIMED:
            self._until.pop(name, None)
        elif is_lost or name in self._until:
            # By then a readable answer parks it, see the machine's news.
            self._until[name] = payout.since + payout.deadlines.doubt

    def drop(self, client_orderid: str) -> None:
        """Forget a payout that this run asks about no more."""
        self._until.pop(client_orderid, None)


_SHOWN: Final = 5
"""How many of the latest cases are kept."""
_WINDOW: Final = 20.0
"""Seconds over which the pace is taken."""
_SHORTEST_WINDOW: Final = 3.0


_PHASES: Final = {
    State.NEW: Phase.CHECK,
    State.CHECKING: Phase.CHECK,
    State.VALIDATING: Phase.BANK,
    State.VALIDATED: Phase.BANK,
    State.PAYING: Phase.PAY,
    State.AWAITING_FINAL: Phase.FINAL,
    State.AWAITING_RECEIVER: Phase.RECEIVER,
    State.ATTENTION: Phase.PERSON,
}
_LATER: Final = {
    Phase.CHECK: (Phase.BANK, Phase.PAY, Phase.FINAL, Phase.RECEIVER),
    Phase.BANK: (Phase.PAY, Phase.FINAL, Phase.RECEIVER),
    Phase.PAY: (Phase.FINAL, Phase.RECEIVER),
    Phase.FINAL: (),
}
"""The phases in which a payout is through another; nobody gets through a receiver or a person."""


@attrs.frozen
class _Standing:
    """Where a payout stands; equal ones are one object within a tally.

    Attributes:
        group: What it has come to.
        phase: Where it is; None before it begins and after it has ended.
        is_over: Whether this run has nothing more to do for it.
        is_ended: Whether nobody has.
        made: How many phases it is through.
        left: How many it has still to get through, as far as that takes a time one can foresee.
    """

    group: Group
    phase: Phase | None
    is_over: bool
    is_ended: bool = False
    made: int = 0
    left: int = 0


_Key = tuple[State, Status | None, bool, bool, bool]
"""What a standing depends on: state, status, whether something is odd, held, handed back."""


class Tally(Observer):
    """Follows the payouts of a run.

    Args:
        requests: The payouts that the run is about; others are not counted.
        is_one_step: Whether they go without a check.
        pays: Whether they are paid, or only checked.

    Attributes:
        answers: How many answers of the gateway have come in.
    """

    def __init__(
        self, requests: Iterable[PayoutRequest], *, is_one_step: bool = False, pays: bool = True
    ) -> None:
        self.answers = 0
        self._requests = {request.client_orderid: request for request in requests}
        self._is_one_step = is_one_step
        self._shown = _phases(is_one_step=is_one_step, pays=pays)
        self._standings: dict[str, _Standing] = {}
        self._ranks = _ranks(self._shown)
        self._known: dict[_Key, _Standing] = {}
        self._not_begun = _Standing(Group.WAITING, None, is_over=False, left=len(self._ranks))
        self._pace, self._progress = _Pace(), _Pace()
        self._back: set[str] = set()
        self._people: deque[Case] = deque(maxlen=_SHOWN)
        self._refusals: deque[Case] = deque(maxlen=_SHOWN)
        self._news: list[Case] = []
        self._doubts = Uncertainty()
        self._finished = self._steps = 0
        self._begin()

    def _begin(self) -> None:
        """Count every payout as one that has not begun."""
        currencies = Counter(request.currency for request in self._requests.values())
        self._currencies = tuple(name for name, _ in currencies.most_common())
        self._counts = dict.fromkeys(Group, 0)
        self._amounts = {group: dict.fromkeys(self._currencies, Decimal(0)) for group in Group}
        self._now = dict.fromkeys(Phase, 0)
        self._ended = self._receivers = self._left = 0
        for request in self._requests.values():
            self._amounts[Group.WAITING][request.currency] += request.amount
        self._count(self._not_begun, len(self._requests))

    def only(self, names: Collection[str]) -> None:
        """Count these payouts and no others, before any has begun: a run leaves the rest alone."""
        self._requests = {n: request for n, request in self._requests.items() if n in names}
        self._begin()

    def joined(self, payout: Payout) -> None:
        """Take in where a payout stands when the run comes to it."""
        self._doubt(payout, is_lost=True)
        self._follow(payout, is_earlier=True)

    def changed(self, payout: Payout, event: Event) -> None:  # noqa: ARG002 - what it is told
        """Take in a change."""
        self._doubt(payout, is_lost=False)
        self._follow(payout)

    def overtaken(self, payout: Payout) -> None:
        """Take in where another process has led a payout."""
        self._doubt(payout, is_lost=True)
        self._follow(payout)

    def asked(
        self,
        payout: Payout,  # noqa: ARG002 - what it is told
        answer: StatusEnd,
        seconds: float,  # noqa: ARG002 - likewise
        late: float,  # noqa: ARG002 - likewise
    ) -> None:
        """Take note that the gateway answers."""
        self.answers += answer != "no-answer"

    def sent(
        self,
        payout: Payout,
        command: Command,  # noqa: ARG002 - what it is told
        answer: SendEnd,
        seconds: float,  # noqa: ARG002 - likewise
    ) -> None:
        """Take note that the gateway answers, or that its answer is lost."""
        self._doubt(payout, is_lost=answer == "unknown")
        self.answers += answer in {"accepted", "refused"}

    def hear(self, told: Outcome) -> None:
        """Take in how the run has handed a payout back."""
        self._doubts.drop(told.client_orderid)
        if isinstance(told.problem, SendingStopped):
            self._move(told, _Standing(Group.UNFINISHED, None, is_over=True))
        elif told.problem is not None:
            self._move(told, _Standing(Group.NEEDS_PERSON, Phase.PERSON, is_over=True))
        else:
            if not told.is_finished:
                self._back.add(told.client_orderid)
            self._follow(told)

    def snapshot(
        self,
        seconds: float,
        *,
        trouble: str | None = None,
        trouble_seconds: float = 0.0,
        under_way: int = 0,
        is_stopping: bool = False,
        at: float = 0.0,
        journal: str = "",
    ) -> Snapshot:
        """Tell where all payouts stand; ask for it again and again, since it takes the pace too.

        Args:
            seconds: Since the run began.
            trouble: What to say of it.
            trouble_seconds: Likewise.
            under_way: Likewise.
            is_stopping: Likewise.
            at: Likewise.
            journal: Likewise.
        """
        per_second = self._pace.take(seconds, self._finished)
        # Long before the first payout ends, the steps that all have made tell when the last will.
        steps_per_second = self._progress.take(seconds, self._steps)
        held = self._counts[Group.AWAITING_APPROVAL]
        through = {
            phase: self._ended + sum(self._now[each] for each in later)
            for phase, later in _LATER.items()
        }
        through[Phase.BANK] += held  # the bank has had its say; a person has not
        news, self._news = tuple(self._news), []
        cases = (*reversed(self._people), *reversed(self._refusals))
        return Snapshot(
            seconds=seconds,
            total=len(self._requests),
            currencies=self._currencies,
            counts=dict(self._counts),
            amounts={group: dict(sums) for group, sums in self._amounts.items()},
            phases=self._shown,
            now={**self._now, Phase.BANK: self._now[Phase.BANK] - held},
            through=through,
            receivers=self._receivers,
            finished=self._finished,
            per_second=per_second,
            seconds_left=self._left / steps_per_second if steps_per_second else None,
            cases=cases[:_SHOWN],
            news=news,
            trouble=trouble,
            trouble_seconds=trouble_seconds,
            under_way=under_way,
            is_stopping=is_stopping,
            in_doubt=len(self._doubts),
            doubt_until=self._doubts.until,
            at=at,
            journal=journal,
        )

    def _doubt(self, payout: Payout, *, is_lost: bool) -> None:
        if payout.client_orderid in self._requests:
            self._doubts.see(payout, is_lost=is_lost)

    def _follow(self, told: Payout | Outcome, *, is_earlier: bool = False) -> None:
        state = told.state
        is_held = state is State.VALIDATED and _is_held(told)
        is_back = told.client_orderid in self._back
        is_odd = bool(told.open_alarms) or told.needs_reconciliation
        key = (state, told.status, is_odd, is_held, is_back)
        standing = self._known.get(key)
        if standing is None:
            standing = self._known[key] = self._stand(key)
        self._move(told, standing, is_earlier=is_earlier)

    def _move(
        self, told: Payout | Outcome, standing: _Standing, *, is_earlier: bool = False
    ) -> None:
        name = told.client_orderid
        request = self._requests.get(name)
        before = self._standings.get(name, self._not_begun)
        if request is None or standing is before:
            return
        self._standings[name] = standing
        self._count(before, -1)
        self._count(standing, 1)
        if not is_earlier:
            self._finished += standing.is_over - before.is_over
            self._steps += max(0, standing.made - before.made)
        if standing.group is not before.group:
            self._amounts[before.group][request.currency] -= request.amount
            self._amounts[standing.group][request.currency] += request.amount
            self._tell(told, before.group, standing.group, is_earlier=is_earlier)

    def _count(self, standing: _Standing, payouts: int) -> None:
        """Count payouts that stand like this in or, with a negative number, out."""
        self._counts[standing.group] += payouts
        self._ended += payouts * standing.is_ended
        self._left += payouts * standing.left
        if standing.phase is not None:
            self._now[standing.phase] += payouts
            if standing.phase is Phase.RECEIVER and not standing.is_over:
                self._receivers += payouts

    def _stand(self, key: _Key) -> _Standing:
        """Work out what a key means for this kind of run."""
        state, status, is_odd, is_held, is_back = key
        steps = len(self._ranks)
        is_parked = state is State.ATTENTION
        if is_odd or is_parked:
            group = Group.NEEDS_PERSON
        elif state.is_terminal:
            is_good = state is State.FINAL and status == Status.APPROVED
            group = Group.APPROVED if is_good else Group.REFUSED
        elif is_held:
            group = Group.AWAITING_APPROVAL
        else:
            group = Group.UNFINISHED if is_back else Group.WAITING
        phase = _PHASES.get(state)
        if phase is Phase.CHECK and phase not in self._ranks:
            phase = Phase.PAY  # in one step
        made = self._ranks.get(Phase.FINAL if phase is Phase.RECEIVER else phase, 0) + is_held
        is_over = state.is_terminal or is_parked or is_held or is_back
        standing = _Standing(
            group,
            phase,
            is_over,
            state.is_terminal,
            made=steps if state.is_terminal else made,
            left=0 if is_over or phase is Phase.RECEIVER else steps - made,
        )
        return next((each for each in self._known.values() if each == standing), standing)

    def _tell(
        self, told: Payout | Outcome, before: Group, group: Group, *, is_earlier: bool
    ) -> None:
        """Keep what did not go well, and what has gone well after all no longer."""
        name = told.client_orderid
        if before is Group.NEEDS_PERSON:
            for case in [each for each in self._people if each.client_orderid == name]:
                self._people.remove(case)
        if group is Group.NEEDS_PERSON:
            case = Case(name, _one_line(_trouble(told)))
            self._people.append(case)
            self._news.append(case)
        elif group is Group.REFUSED and not is_earlier:
            self._refusals.append(Case(name, _one_line(_refusal(told))))


class _Pace:
    """How much is done in a second, over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def take(self, at: float, done: int) -> float | None:
        """Take note of how much is done by now, and tell the pace if it can be told."""
        if not done:
            self._seen.clear()  # the pace begins with what is done first, not with the run
        self._seen.append((at, done))
        while len(self._seen) > 2 and self._seen[1][0] <= at - _WINDOW:
            self._seen.popleft()
        began, before = self._seen[0]
        if at - began < _SHORTEST_WINDOW:
            return None
        return max(0, done - before) / (at - began)


def _phases(*, is_one_step: bool, pays: bool) -> tuple[Phase, ...]:
    """Choose the phases that a run of this kind goes through."""
    left_out: set[Phase] = set()
    if is_one_step:
        left_out = {Phase.CHECK, Phase.BANK}
    elif not pays:
        left_out = {Phase.PAY, Phase.FINAL, Phase.RECEIVER}
    return tuple(phase for phase in Phase if phase not in left_out)


def _ranks(phases: tuple[Phase, ...]) -> dict[Phase | None, int]:
    """Number the phases that one gets through: how many come before each."""
    return {phase: rank for rank, phase in enumerate(p for p in phases if p in _LATER)}


def _is_held(told: Payout | Outcome) -> bool:
    if isinstance(told, Payout):
        return told.held
    return told.open_reason == "awaiting-approval"


def _trouble(told: Payout | Outcome) -> str:
    """Say why a person must look."""
    told = outcome(told) if isinstance(told, Payout) else told
    names = ", ".join(told.concerns)
    return f"{names}. {told.explanation}" if names else told.explanation or ""


def _refusal(told: Payout | Outcome) -> str:
    word = told.status if told.state is State.FINAL else told.state
    reasons = [text for text in (told.error_message, told.error_code) if text]
    return f"{word}: {reasons[0]}" if reasons else str(word)


def _one_line(text: str) -> str:
    """Take out whatever could move a cursor, since part of it is the gateway's."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
