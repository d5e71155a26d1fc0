"""What is checked before a file is paid: the journal, similar ids, limits, and warnings.

The journal is not changed. A limit is what the file's owner knows and the file does not. A warning
names what looks wrong and may be right; it refuses nothing.
"""

import argparse
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

import attrs

from ..cli.console import Patience
from ..core.descriptions import Notation, misread, with_point
from ..core.models import Flow, OpenReason, Outcome, State
from ..core.parameters import CODES, PUBLISHED
from ..core.payout import Payout, differences, outcome
from ..core.request import PayoutRequest
from ..errors import InvalidInput, Problem
from ..gateway.settings import Settings
from ..journal.location import Place
from .parser import Batch, Row

__all__ = [
    "Group",
    "Limits",
    "Survey",
    "add_limits",
    "amounts_text",
    "approvable",
    "check_limits",
    "find_similar",
    "is_approvable",
    "is_released",
    "limits_of",
    "question",
    "remarks",
    "shapes",
    "survey",
]

_HYPHENS: Final = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u02d7\u2796\ufe58", "-")
)
"""What looks like a hyphen and is none, and what word processors make of one."""
_ZEROS: Final = re.compile(r"(?<!\d)0+(?=\d)")
_ADVICE: Final = (
    "only in case, width, spaces, hyphens or leading zeros, as when a spreadsheet has changed it, "
    "and both would be paid; use one id for one payout, or add --similar-ids if they are two"
)


def find_similar(batch: Batch, known: Container[str], held: Iterable[str]) -> list[Problem]:
    """Name the rows whose id is new and looks like another one of the file or of the journal.

    Args:
        batch: The file.
        known: Which of its ids the journal holds.
        held: All ids that the journal holds; they may be millions, and few of them are kept.
    """
    rows = [
        (row, shapes(row.request.client_orderid))
        for row in batch.rows
        if row.request.client_orderid not in known
    ]
    if not rows:
        return []
    wanted = {shape for _, own in rows for shape in own}
    seen = {
        shape: f"{name} in the journal"
        for name in held
        for shape in shapes(name)
        if shape in wanted
    }
    problems = []
    for row, own in rows:
        name = row.request.client_orderid
        other = next((seen[shape] for shape in own if shape in seen), None)
        if other is not None:
            wrong = f"{name} differs from {other} {_ADVICE}"
            problems.append(Problem(batch.place(row, "client_orderid"), wrong))
        place = f"{name} on {batch.form.unit} {row.line}"
        seen.update((shape, place) for shape in own if shape not in seen)
    return problems


def shapes(name: str) -> tuple[str, ...]:
    """Reduce an id to what is left where only people look: two ids that share one are alike.

    There are two where zeros stand behind a space, which may or may not part two numbers.
    """
    return tuple(dict.fromkeys(_shapes(name)))


def _shapes(name: str) -> Iterator[str]:
    if name.isascii():  # nearly all are, and this is much faster
        text = name.lower()
    else:
        text = unicodedata.normalize("NFKC", name).casefold().translate(_HYPHENS)
        text = unicodedata.normalize("NFKC", text)
    joined = "".join(text.split())
    yield _ZEROS.sub("", joined) if "0" in joined else joined
    if joined != text and "0" in text:
        yield "".join(_ZEROS.sub("", text).split())


Amount = PayoutRequest | Outcome | Payout
"""Whatever has an amount and a currency."""

_AMOUNT: Final = r"[0-9]{1,40}(?:[.,][0-9]{1,40})?"
_NAMED_AMOUNT: Final = re.compile(rf"([A-Z]{{3}})=({_AMOUNT})")


@attrs.frozen(kw_only=True)
class Limits:
    """What a file may hold.

    Attributes:
        totals: What it must sum to per currency; every currency is named, or none is.
        most: The largest amount of a row per currency.
        most_of_any: The largest amount of a row in any other currency; None is no limit.
    """

    totals: Mapping[str, Decimal] = attrs.field(factory=dict)
    most: Mapping[str, Decimal] = attrs.field(factory=dict)
    most_of_any: Decimal | None = None


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that say what a file may hold."""
    parser.add_argument(
        "--expect-total",
        type=_named_amount,
        action="append",
        default=[],
        metavar="CURRENCY=AMOUNT",
        help="refuse a file that sums to anything else; once for each currency",
    )
    parser.add_argument(
        "--max-amount",
        type=_limit,
        action="append",
        default=[],
        metavar="[CURRENCY=]AMOUNT",
        help="refuse a file with a payout above this; a bare amount is for every other currency",
    )


def _named_amount(text: str) -> tuple[str, str]:
    named = _NAMED_AMOUNT.fullmatch(text)
    if named is None:
        raise argparse.ArgumentTypeError("must be CURRENCY=AMOUNT, such as EUR=1234.50")
    return named[1], named[2]


def _limit(text: str) -> tuple[str, str]:
    if re.fullmatch(_AMOUNT, text):
        return "", text
    if _NAMED_AMOUNT.fullmatch(text):
        return _named_amount(text)
    raise argparse.ArgumentTypeError("must be CURRENCY=AMOUNT or AMOUNT, such as EUR=500 or 500")


def limits_of(arguments: argparse.Namespace) -> Limits:
    """Read the limits of a command line, whose amounts are written as those of its file.

    Raises:
        InvalidInput: One is given twice, or has a comma or a point that may say something else.
    """
    decimal_comma = arguments.decimal_comma
    given = {"--expect-total": arguments.expect_total, "--max-amount": arguments.max_amount}
    problems = [
        Problem(f"{option} {currency}".rstrip(), "is given twice; give it once")
        for option, amounts in given.items()
        for currency, times in Counter(currency for currency, _ in amounts).items()
        if times > 1
    ]
    problems += (
        Problem(f"{option} {currency}".rstrip(), wrong)
        for option, amounts in given.items()
        for currency, text in amounts
        if (wrong := misread(text, decimal_comma=decimal_comma))
    )
    if problems:
        raise InvalidInput(tuple(problems))
    totals, most = (
        {
            currency: Decimal(with_point(text, decimal_comma=decimal_comma))
            for currency, text in amounts
        }
        for amounts in given.values()
    )
    return Limits(totals=totals, most_of_any=most.pop("", None), most=most)


def check_limits(batch: Batch, limits: Limits) -> None:
    """Refuse a file that sums to anything else than was expected, or has too large an amount.

    Raises:
        InvalidInput: Every row and currency in question is named.
    """
    problems, write = [], batch.notation.amount
    sums, expected = _sums(row.request for row in batch.rows), limits.totals
    for currency in sorted({*sums, *expected} if expected else ()):
        found = sums.get(currency, Decimal(0))
        if currency not in expected:
            wrong = f"is not given, and the file holds {write(found)} {currency}"
            problems.append(Problem(f"--expect-total {currency}", wrong))
        elif found != expected[currency]:
            wrong = f"is {write(expected[currency])}, but the file sums to {write(found)}"
            problems.append(Problem(f"--expect-total {currency}", wrong))
    for row in batch.rows:
        currency = row.request.currency
        most = limits.most.get(currency, limits.most_of_any)
        if most is not None and row.request.amount > most:
            wrong = f"is above --max-amount, which is {write(most)} {currency}"
            problems.append(Problem(batch.place(row, "amount"), wrong))
    if problems:
        raise InvalidInput(tuple(problems))


def _sums(requests: Iterable[Amount]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for request in requests:
        sums[request.currency] = sums.get(request.currency, Decimal(0)) + request.amount
    return sums


def amounts_text(requests: Iterable[Amount], notation: Notation) -> str:
    """Write what payouts sum to per currency, such as ``1,234.50 EUR, 99.00 USD``."""
    return notation.sums(_sums(requests))


_MOST_NAMED: Final = 5


def remarks(batch: Batch, among: Container[str]) -> list[str]:
    """Tell what a person should look at before payouts of a file are sent.

    A payout that names no receiver is legal where the receiver fills a form in, and a currency that
    no list has may be one that the gateway has added.

    Args:
        batch: The file.
        among: The ids of those that are to be sent.
    """
    told, rows = list[str](), [row for row in batch.rows if row.request.client_orderid in among]
    if nobody := [row for row in rows if not row.request.names_receiver]:
        told.append(
            f"warning: {len(nobody):,} payout(s) name no card, account, wallet or other receiver: "
            f"{_places(batch, nobody)}; right only where receivers fill a form in behind a link"
        )
    odd: dict[str, list[Row]] = {}
    for row in rows:
        if row.request.currency not in CODES:
            odd.setdefault(row.request.currency, []).append(row)
    told += (
        f"warning: {currency} is no currency of ISO 4217 (list of {PUBLISHED}): "
        f"{_places(batch, of)}; mend it, unless the gateway knows it"
        for currency, of in islice(odd.items(), _MOST_NAMED)
    )
    if len(odd) > _MOST_NAMED:
        told.append(
            f"warning: {len(odd) - _MOST_NAMED:,} more words are no currencies of it either"
        )
    return told


def _places(batch: Batch, rows: Sequence[Row]) -> str:
    """Name the first rows, for a person who has the file before them."""
    lines = [f"{row.line:,}" for row in rows[:_MOST_NAMED]]
    if len(rows) > _MOST_NAMED:
        lines.append(f"{len(rows) - _MOST_NAMED:,} more")
    unit = batch.form.unit
    if len(lines) == 1:
        return f"{unit} {lines[0]}"
    return f"{unit}s {', '.join(lines[:-1])} and {lines[-1]}"


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
