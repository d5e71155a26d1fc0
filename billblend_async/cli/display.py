"""Tells of a run line by line: in plain words for a log, as JSON for machines."""

import contextlib
import datetime as dt
import json
import os
import queue
import shlex
import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Final, TextIO

from ..batch.snapshot import Group, Snapshot
from ..core.legibility import instant
from ..core.models import Outcome
from ..core.notation import Notation
from ..reporting.projection import Total, explanation_of, told_status
from .console import say

__all__ = [
    "WORDS",
    "JsonLines",
    "PlainLines",
    "doubt_text",
    "many",
    "pace",
    "span",
]

WORDS: Final = {
    Group.APPROVED: "approved",
    Group.WAITING: "waiting",
    Group.REFUSED: "refused",
    Group.NEEDS_PERSON: "needs a person",
    Group.AWAITING_APPROVAL: "to approve",
    Group.UNFINISHED: "unfinished",
}
"""The groups as a person reads them."""
_LASTING: Final = 2.0
"""Seconds after which trouble is worth a line of a log."""


class _Scribe:
    """Writes lines from a thread of its own: a reader that is slow holds no payout up.

    Args:
        file: Where to.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # A daemon, so that a reader which never reads on cannot keep a program from being cut off.
        self._thread = threading.Thread(target=self._run, name="billblend lines", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Hand a line over."""
        self._lines.put(line)

    def close(self) -> None:
        """Wait until everything is written, or nobody is there to read it."""
        self._lines.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_read, encoding = True, self._file.encoding or "utf-8"
        while (line := self._lines.get()) is not None:
            if not is_read:
                continue
            try:
                self._file.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
                self._file.flush()
            except OSError:
                is_read = False
                _lead_nowhere(self._file)
                say("nobody reads the output any more; the run goes on and writes its results")


def _lead_nowhere(file: TextIO) -> None:
    """Let what is still in a file's buffer go nowhere, or the program's end would fail over it."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)


class _Lines:
    """What is told of a run line by line, to whomever.

    Args:
        file: Where to.
    """

    pause = 0.25
    is_screen = False
    between: ClassVar[float]
    """Seconds between two lines of progress."""

    def __init__(self, file: TextIO) -> None:
        self._scribe = _Scribe(file)
        self._due = self.between
        self._has_begun = False
        self._told_trouble: str | None = None
        self._doubt_since: float | None = None
        self._has_told_doubt = False

    def close(self) -> None:
        """Write what is left."""
        self._scribe.close()

    def abandon(self) -> bytes:
        """Do nothing: lines leave no terminal to restore."""
        return b""

    def _begins(self) -> bool:
        """Tell, once, that nothing was told before."""
        begins, self._has_begun = not self._has_begun, True
        return begins

    def _doubt_turns(self, snapshot: Snapshot) -> bool:
        """Tell whether it is time to say that payouts are in doubt, or that none is any more.

        A doubt that is cleared up within moments is worth nobody's attention.
        """
        if not snapshot.in_doubt:
            self._doubt_since = None
        elif self._doubt_since is None:
            self._doubt_since = snapshot.seconds
        since = self._doubt_since
        lasts = since is not None and snapshot.seconds - since >= _LASTING
        turns = lasts if not self._has_told_doubt else since is None
        self._has_told_doubt ^= turns
        return turns

    def _is_time(self, snapshot: Snapshot) -> bool:
        """Tell whether it is time to say how far the run is; what was missed is not made up for."""
        late = snapshot.seconds - self._due
        if late < 0:
            return False
        self._due += self.between * (1 + late // self.between)
        return True


class PlainLines(_Lines):
    """What a log shows of a run: a line every ten seconds, and one for each bad turn.

    Args:
        file: Where to.
        notation: How numbers are written.
    """

    between = 10.0

    def __init__(self, file: TextIO, notation: Notation) -> None:
        super().__init__(file)
        self._notation = notation

    def show(self, snapshot: Snapshot) -> None:
        """Write what is new, and how far the run is when it is time for that."""
        if self._begins():
            amounts = {name: _sum(snapshot, name) for name in snapshot.currencies}
            payouts = many(snapshot.total, self._notation)
            self._scribe.write(f"{payouts}: {self._notation.sums(amounts)}")
        for case in snapshot.news:
            self._scribe.write(f"{case.client_orderid} needs a person: {case.text}")
        self._tell_trouble(snapshot)
        if self._doubt_turns(snapshot):
            told = doubt_text(snapshot, self._notation) or "nothing is in doubt any more"
            self._scribe.write(f"{span(snapshot.seconds)}: {told}")
        if self._is_time(snapshot):
            self._scribe.write(_progress(snapshot, self._notation))

    def hear(self, outcome: Outcome) -> None:
        """Leave how a payout ended to the totals and the results."""

    def finish(
        self, exit_status: int, totals: Sequence[Total], results: Path | None, *, interrupted: bool
    ) -> None:
        """Leave the end to what is printed then."""

    def _tell_trouble(self, snapshot: Snapshot) -> None:
        """Say why nothing goes on once that lasts, and when it does again."""
        trouble = snapshot.trouble
        if trouble == self._told_trouble:
            return
        if trouble is None:
            self._scribe.write(f"{span(snapshot.seconds)}: the gateway answers again")
        elif snapshot.trouble_seconds < _LASTING:
            return
        else:
            self._scribe.write(f"{span(snapshot.seconds)}: {trouble}")
        self._told_trouble = trouble


class JsonLines(_Lines):
    """What a machine reads of a run: one JSON object a line.

    Args:
        file: Where to.
    """

    between = 5.0

    def show(self, snapshot: Snapshot) -> None:
        """Write what is new, and how far the run is when it is time for that."""
        if self._begins():
            amounts = {name: _plain(_sum(snapshot, name)) for name in snapshot.currencies}
            self._write("started", payouts=snapshot.total, amounts=amounts)
        for case in snapshot.news:
            self._write("problem", client_orderid=case.client_orderid, problem=case.text)
        if snapshot.trouble != self._told_trouble:
            self._told_trouble = snapshot.trouble
            self._write("trouble", trouble=snapshot.trouble)
        if self._doubt_turns(snapshot):
            self._write(
                "doubt",
                in_doubt=snapshot.in_doubt,
                until=_utc(snapshot.doubt_until),
                doubt=doubt_text(snapshot, Notation()),
                command=_list_command(snapshot),
            )
        if self._is_time(snapshot):
            self._write("progress", **_numbers(snapshot))

    def hear(self, outcome: Outcome) -> None:
        """Write how a payout ended, or was handed back."""
        self._write(
            "payout",
            client_orderid=outcome.client_orderid,
            status=told_status(outcome),
            state=outcome.state.value,
            amount=_plain(outcome.amount),
            currency=outcome.currency,
            paynet_order_id=outcome.paynet_order_id,
            order_stage=outcome.order_stage,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            open_reason=outcome.open_reason,
            doubt=outcome.doubt,
            alarms=list(outcome.alarms),
            acknowledged=list(outcome.acknowledged),
            explanation=explanation_of(outcome) or None,
        )

    def finish(
        self, exit_status: int, totals: Sequence[Total], results: Path | None, *, interrupted: bool
    ) -> None:
        """Write how the run ended."""
        told = [
            {
                "status": total.status,
                "currency": total.currency,
                "payouts": total.payouts,
                "amount": _plain(total.amount),
            }
            for total in totals
        ]
        self._write(
            "finished",
            exit_status=exit_status,
            interrupted=interrupted,
            results=None if results is None else str(results),
            totals=told,
        )

    def _write(self, event: str, **fields: object) -> None:
        at = _utc(dt.datetime.now(dt.UTC).timestamp())
        self._scribe.write(json.dumps({"event": event, "at": at, **fields}))


def many(payouts: int, notation: Notation) -> str:
    """Write how many payouts there are."""
    return "1 payout" if payouts == 1 else f"{notation.count(payouts)} payouts"


def span(seconds: float) -> str:
    """Write a length of time as a person says it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min"


def pace(per_second: float, what: str, notation: Notation) -> str:
    """Write how fast it goes, in a unit in which it is no fraction."""
    if 0 < per_second < 1:
        return f"{notation.tenths(60 * per_second)} {what}per minute"
    return f"{notation.tenths(per_second)} {what}per second"


def doubt_text(snapshot: Snapshot, notation: Notation) -> str | None:
    """Say how many payouts are in doubt, how long they are asked about, and what comes then."""
    until = snapshot.doubt_until
    if not snapshot.in_doubt or until is None:
        return None
    left = until - snapshot.at
    how_long = "until the gateway answers"
    if left > 0:
        how_long = f"until {instant(until)} UTC at the longest ({span(left)} from now)"
    they = "It is" if snapshot.in_doubt == 1 else "They are"
    return (
        f"{many(snapshot.in_doubt, notation)} in doubt: claimed, by this run or another, and no "
        f"answer is known. {they} asked about {how_long}; what is in doubt then needs a person: "
        f"{_list_command(snapshot)}"
    )


def _list_command(snapshot: Snapshot) -> str:
    return f"billblend attention list --journal {shlex.quote(snapshot.journal)}"


def _utc(at: float | None) -> str | None:
    """Write an instant for machines."""
    if at is None:
        return None
    told = dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")


def _progress(snapshot: Snapshot, notation: Notation) -> str:
    """Say in one line how far a run is."""
    told = []
    for group, word in WORDS.items():
        if snapshot.counts[group]:
            sums = {name: s for name, s in snapshot.amounts[group].items() if s}
            count = notation.count(snapshot.counts[group])
            told.append(f"{count} {word} ({notation.sums(sums)})")
    line = f"{span(snapshot.seconds)}: {'; '.join(told)}"
    if snapshot.per_second:
        line += f"; {pace(snapshot.per_second, 'finished ', notation)}"
    if snapshot.seconds_left and not snapshot.is_stopping:
        line += f"; about {span(snapshot.seconds_left)} left"
    if snapshot.in_doubt and snapshot.doubt_until is not None:
        count = notation.count(snapshot.in_doubt)
        line += f"; {count} in doubt, until {instant(snapshot.doubt_until)} UTC"
    return line


def _numbers(snapshot: Snapshot) -> dict[str, object]:
    """Give how far a run is in numbers."""
    amounts = {
        group: {name: _plain(amount) for name, amount in sums.items()}
        for group, sums in snapshot.amounts.items()
    }
    rate, left = snapshot.per_second, snapshot.seconds_left
    return {
        "seconds": round(snapshot.seconds, 1),
        "counts": dict(snapshot.counts),
        "amounts": amounts,
        "phases": {phase: snapshot.now[phase] for phase in snapshot.phases},
        "per_second": None if rate is None else round(rate, 2),
        "seconds_left": None if left is None else round(left),
        "under_way": snapshot.under_way,
        "stopping": snapshot.is_stopping,
        "in_doubt": snapshot.in_doubt,
        "doubt_until": _utc(snapshot.doubt_until),
    }


def _sum(snapshot: Snapshot, currency: str) -> Decimal:
    return sum((sums[currency] for sums in snapshot.amounts.values()), Decimal(0))


def _plain(amount: Decimal) -> str:
    return f"{amount:f}"
