"""What a person can run about payouts that need one: commands to copy, with the ids in them."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from ..core.legibility import legible
from ..core.models import Doubt
from .projection import AWAITS_APPROVAL, RECONCILE, Line

__all__ = ["Remedy", "remedies", "remedies_of"]

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
