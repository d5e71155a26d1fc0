"""Where a report's payouts come from: a journal, read again only where it has changed."""

from collections.abc import Collection

import attrs

from ..errors import ConfigurationError
from ..journal import Owner
from ..journal.location import Place, Reader
from .projection import Line, line_of
from .summary import Summary, summarize

__all__ = ["Choice", "Report", "Source"]


@attrs.frozen(kw_only=True)
class Choice:
    """Which payouts are told of.

    Attributes:
        since: Those that were accepted at this instant or later.
        until: Those that were accepted before this instant.
        among: Those with one of these client_orderids.
        words: The choice in words; empty for all payouts.
    """

    since: float | None = None
    until: float | None = None
    among: Collection[str] | None = None
    words: str = ""

    def takes(self, line: Line) -> bool:
        """Tell whether a payout is chosen."""
        return (
            (self.since is None or line.accepted_at >= self.since)
            and (self.until is None or line.accepted_at < self.until)
            and (self.among is None or line.client_orderid in self.among)
        )


@attrs.frozen(kw_only=True)
class Report:
    """What a journal holds, at one moment.

    Attributes:
        journal: Its name.
        named: The same as the user has named it, to be repeated in commands.
        owner: Whose payouts it holds.
        at: When it was read, in seconds since the epoch.
        choice: Which payouts are told of, in words; empty for all.
        missing: How many that were chosen by id the journal does not know.
        lines: The payouts, in the order in which they were accepted.
        summary: What they come to.
    """

    journal: str
    named: str
    owner: Owner
    at: float
    choice: str
    missing: int
    lines: tuple[Line, ...] = attrs.field(repr=False)
    summary: Summary = attrs.field(repr=False)


class Source:
    """A journal, and what was read of it.

    Args:
        place: Where it lies.
        choice: Which payouts are told of.
    """

    def __init__(self, place: Place, choice: Choice | None = None) -> None:
        self._place = place
        self._choice = Choice() if choice is None else choice
        self._identity: object = None
        self._known: dict[str, int] = {}
        self._lines: dict[str, Line] = {}

    def read(self, at: float) -> Report:
        """Read what has changed since the last time, and say what everything comes to.

        Args:
            at: Now, in seconds since the epoch.

        Raises:
            JournalError: It cannot be read, or is not what was written.
            ConfigurationError: Nobody has opened it yet.
        """
        with self._place.reader() as reader:
            owner = self._read(reader)
        lines = tuple(self._lines.values())
        among = self._choice.among
        return Report(
            journal=self._place.title,
            named=str(self._place),
            owner=owner,
            at=at,
            choice=self._choice.words,
            missing=0 if among is None else sum(name not in self._known for name in among),
            lines=lines,
            summary=summarize(lines, at=at),
        )

    def _read(self, reader: Reader) -> Owner:
        owner, identity = reader.owner(), reader.identity()
        if owner is None:
            wrong = "nobody has run payouts from it yet, so there is nothing to tell"
            raise ConfigurationError(f"--journal {self._place}: {wrong}")
        if self._identity != identity:
            # Another journal lies there now: nothing that was read is true of it.
            self._identity, self._known, self._lines = identity, {}, {}
        listed: set[str] = set()
        for payout in reader.payouts(self._known, listed=listed):
            line = line_of(payout)
            if self._choice.takes(line):
                self._lines[line.client_orderid] = line
            self._known[line.client_orderid] = line.sequence
        for name in self._known.keys() - listed:
            # A copy, or a standby that was behind, has taken the journal's place.
            del self._known[name]
            self._lines.pop(name, None)
        return owner
