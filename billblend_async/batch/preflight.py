"""Where the payouts of a file stand before a run, from the journal, which is not changed."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from ..cli.console import Patience
from ..core.models import Flow, OpenReason, Outcome, State
from ..core.notation import Notation
from ..core.payout import Payout, differences, outcome
from ..core.request import PayoutRequest
from ..errors import InvalidInput, Problem
from ..gateway.settings import Settings
from ..journal.location import Place
from .likeness import find_similar
from .limits import amounts_text
from .parser import Batch

__all__ = ["Group", "Survey", "approvable", "is_approvable", "is_released", "question", "survey"]

_NEW: Final = "new"
_GOES_ON: Final = "begun"
_RELEASED: Final = "released"
_HELD: Final = "awaiting approval"
_PARKED: Final = "needing a person"
_FINISHED: Final = "finished"
_ACTIONS: Final = {
    _NEW: "",  # the way of the run says it
    _GOES_ON: "to go on where they stand",
    _RELEASED: "to be paid again",
    _HELD: "to be left alone; see billblend approve",
    _PARKED: "to be asked about only; see billblend attention list",
    _FINISHED: "to be left alone",
}


@attrs.frozen
class Group:
    """Rows of a file for which a run does the same.

    Attributes:
        word: What they have in common.
        payouts: How many.
        amounts: Their sums, as text.
        action: What a run does with them.
        notation: How numbers are written.
    """

    word: str
    payouts: int
    amounts: str
    action: str
    notation: Notation = Notation()

    def __str__(self) -> str:
        """Read as a line of a list."""
        count = self.notation.count(self.payouts)
        return f"{count:>9} {self.word}: {self.amounts}, {self.action}"


@attrs.frozen
class Survey:
    """Where the payouts of a file stand before a run.

    Attributes:
        batch: The file.
        outcomes: Those that the journal knows, by client_orderid.
        new: What a run does with the others.
        released: Those for which a pay may have left already, and a person allows another.
        is_first: Whether the journal holds no payout at all.
        is_restored: Whether it was declared restored: what it has lost is asked about.
    """

    batch: Batch
    outcomes: Mapping[str, Outcome]
    new: str
    released: frozenset[str] = frozenset()
    is_first: bool = False
    is_restored: bool = False

    def groups(self) -> list[Group]:
        """Sort the rows by what a run does with them."""
        words: dict[str, list[PayoutRequest]] = {word: [] for word in _ACTIONS}
        for row in self.batch.rows:
            words[self._word(row.request.client_orderid)].append(row.request)
        notation = self.batch.notation
        return [
            Group(
                word,
                len(requests),
                amounts_text(requests, notation),
                _ACTIONS[word] or self.new,
                notation,
            )
            for word, requests in words.items()
            if requests
        ]

    @property
    def moving(self) -> list[PayoutRequest]:
        """The payouts for which something may be sent, unlike those that are left to a person."""
        words = (_NEW, _GOES_ON, _RELEASED)
        requests = (row.request for row in self.batch.rows)
        return [request for request in requests if self._word(request.client_orderid) in words]

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return all(group.word == _FINISHED for group in self.groups())

    def _word(self, name: str) -> str:
        told = self.outcomes.get(name)
        if told is None:
            return _NEW
        if told.is_finished:
            return _FINISHED
        if told.state is State.ATTENTION:
            return _PARKED
        if told.open_reason is OpenReason.AWAITING_APPROVAL:
            return _HELD
        return _RELEASED if name in self.released else _GOES_ON


def survey(
    batch: Batch,
    journal: Place | None,
    settings: Settings,
    *,
    flow: Flow,
    pay: bool,
    similar_ids: bool = False,
    is_dry: bool = False,
) -> Survey:
    """Compare a file with the journal, which is not changed, before anything is sent.

    Args:
        batch: The file.
        journal: The journal; one that is not there knows nothing.
        settings: Whose payouts the journal must hold.
        flow: Which way the payouts are to go.
        pay: Whether they are to be paid, or only checked.
        similar_ids: Whether new ids may look like others of the file or of the journal.
        is_dry: Whether nothing is sent afterwards, so that the journal need not take writes.

    Raises:
        InvalidInput: The journal holds ids of the file for other payouts, or new ones look like
            others; every line is named.
        JournalError: The journal cannot be read, or is somebody else's.
    """
    held = _find(batch, journal, settings, compares_ids=not similar_ids, is_sending=not is_dry)
    found, problems = held.payouts, list(held.similar)
    for row in batch.rows:
        payout = found.get(row.request.client_orderid)
        wrong = "" if payout is None else _conflict(payout, row.request, held.key, flow, pay=pay)
        if wrong:
            problems.append(Problem(batch.place(row, "client_orderid"), wrong))
    if problems:
        raise InvalidInput(tuple(problems))
    new = "to be paid in one step" if flow is Flow.ONE_STEP else "to be checked and then paid"
    outcomes = {name: outcome(payout) for name, payout in found.items()}
    released = frozenset(name for name, payout in found.items() if is_released(payout))
    new = new if pay else "to be checked only"
    return Survey(
        batch, outcomes, new, released, is_first=held.is_first, is_restored=held.is_restored
    )


def approvable(
    batch: Batch, journal: Place, settings: Settings, names: Container[str]
) -> list[Payout]:
    """List the payouts of a file, among these names, that an approval pays.

    Raises:
        JournalError: The journal cannot be read, or is somebody else's.
    """
    held = _find(batch, journal, settings)
    same = (
        payout
        for row in batch.rows
        if (payout := held.payouts.get(row.request.client_orderid)) is not None
        and not differences(payout, row.request, held.key)
    )
    return [
        payout
        for payout in same
        if payout.client_orderid in names and is_approvable(outcome(payout))
    ]


def question(found: Sequence[Payout], notation: Notation) -> tuple[str, list[str]]:
    """Say what an approval sends, and what else there is to know of it."""
    paid = [payout for payout in found if payout.state is not State.ATTENTION]
    parts = {
        "released: {}, to be paid again": [payout for payout in paid if is_released(payout)],
        "needing a person: {}, to be asked about only": [
            payout for payout in found if payout.state is State.ATTENTION
        ],
    }
    details = [
        f"{notation.count(len(payouts)):>9} {words.format(amounts_text(payouts, notation))}"
        for words, payouts in parts.items()
        if payouts
    ]
    if not paid:
        return "ask about payouts that need a person", details
    count = notation.count(len(paid))
    return f"approve {count} payout(s): {amounts_text(paid, notation)}", details


def is_released(payout: Payout) -> bool:
    """Tell whether a pay may have left for a payout and, by a person's decision, another will."""
    return payout.pays > 0 and payout.state in (State.NEW, State.VALIDATED)


def is_approvable(told: Outcome) -> bool:
    """Tell whether a payout awaits approval, or was approved in a run that did not end well."""
    awaits = told.open_reason is OpenReason.AWAITING_APPROVAL
    return awaits or (told.approved_by is not None and not told.is_finished)


@attrs.frozen
class _Held:
    """What a journal says to a file.

    Attributes:
        payouts: Those of the file that it knows.
        key: The secret of its fingerprints.
        similar: Ids of the file that are new and look like others.
        is_first: Whether it holds no payout at all.
        is_restored: Whether it was declared restored.
    """

    payouts: Mapping[str, Payout]
    key: bytes
    similar: Sequence[Problem]
    is_first: bool = True
    is_restored: bool = False


def _find(
    batch: Batch,
    journal: Place | None,
    settings: Settings,
    *,
    compares_ids: bool = False,
    is_sending: bool = True,
) -> _Held:
    """Look a file up in the journal, and compare its ids with all the others if that is wanted."""
    if journal is None:
        return _Held({}, b"", find_similar(batch, (), ()) if compares_ids else ())
    from ..journal import Owner

    endpoint, login = settings.endpoint, settings.credentials.login
    owner = Owner(base_url=endpoint.base_url, login=login, endpoint=endpoint.path)
    names = [row.request.client_orderid for row in batch.rows]
    known: dict[str, Payout] = {}
    patience = Patience(f"looking the file's payouts up in {journal.title}", len(names))
    with journal.lookup(owner, is_sending=is_sending) as lookup:
        for done, (name, payout) in enumerate(zip(names, lookup.find(names), strict=True)):
            patience.hear(done)
            if payout is not None:
                known[name] = payout
        similar = find_similar(batch, known, _told(lookup.names())) if compares_ids else []
        return _Held(
            known,
            lookup.fingerprint_key,
            similar,
            is_first=not lookup.holds_payouts,
            is_restored=lookup.is_restored,
        )


def _told(names: Iterable[str]) -> Iterator[str]:
    """Say how far it is when a journal holds so many ids that going through them takes long."""
    patience = Patience("comparing the file's ids with those of the journal")
    for done, name in enumerate(names):
        if not done % 10_000:
            patience.hear(done)
        yield name


def _conflict(payout: Payout, request: PayoutRequest, key: bytes, flow: Flow, *, pay: bool) -> str:
    """Say why a run would not take a row as the payout that the journal holds; empty if it does."""
    differs = differences(payout, request, key)
    if differs:
        other = " and ".join(differs)
        return f"is in the journal with another {other}; use a new id, or put the row back"
    if payout.flow is not flow:
        how = "with" if payout.flow is Flow.ONE_STEP else "without"
        return f"was begun {how} --one-step; run it {how} it again, or use a new id"
    is_settled = payout.held or payout.approved_by is not None or payout.state.is_terminal
    if not pay and not is_settled:
        return "was begun to be paid; leave out --check-only, or withdraw it first"
    return ""
