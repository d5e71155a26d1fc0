"""The journal: the log of events that decides what was sent, whatever crashes."""

from collections.abc import AsyncIterator, Collection
from typing import Protocol

import attrs

from ..core.events import Event, Opened
from ..core.models import State
from ..core.payout import Payout

__all__ = ["Journal", "Owner"]


@attrs.frozen(kw_only=True)
class Owner:
    """Whose payouts a journal holds; one journal never serves two owners.

    Attributes:
        base_url: The gateway's address.
        login: The merchant's login.
        endpoint: The endpoint or endpoint group, as it ends the gateway's URLs.
    """

    base_url: str
    login: str
    endpoint: str


class Journal(Protocol):
    """A durable log of events, one for each payout, with the primary key (payout, sequence).

    That one constraint covers accepting, claiming and releasing: of two owners that write the same
    step exactly one succeeds. What a method has returned from is durable. While a journal cannot
    be written, accept and append raise: nothing is sent that is not on record.

    Every method but ``open`` raises ClosedError before ``open`` and after ``aclose``, and
    JournalUnavailable when the storage cannot be read or written.

    JournalRolledBack means that the storage no longer holds the last entry that this journal knows
    to be written: an older copy, or a standby without the last commits, has taken its place. What
    is there now was marked as restored before, if it could be. Each later call but ``aclose``
    raises it too. A journal that cannot notice that by itself may leave it to the orchestrator,
    which then calls ``declare_restored``.
    """

    @property
    def fingerprint_key(self) -> bytes:
        """The random secret under which receivers are fingerprinted; kept beside the journal."""
        ...

    async def open(self, owner: Owner) -> None:
        """Open the journal for one owner and make it if it is not there.

        Settings that were wrong from the start can be mended: an empty journal takes any owner, one
        in which nothing was ever claimed another environment, and one whose payouts are all New
        another endpoint. One that was declared restored takes none, since it may have forgotten
        what was sent.

        Raises:
            JournalMismatch: It belongs to another environment, login, endpoint or version.
            JournalDamaged: What it holds cannot be what was written.
        """
        ...

    async def accept(self, opened: Opened) -> Payout:
        """Accept a payout once for ever and return the payout that the journal holds under its id.

        If the id is taken, that is the earlier payout as it stands: compare before going on.

        Raises:
            JournalMismatch: The journal has got another owner since it was opened.
        """
        ...

    async def append(self, becomes: Payout, event: Event) -> None:
        """Write one event of a payout.

        Args:
            becomes: What the event makes of the payout; its ``sequence`` is the place to write.
            event: The event.

        Raises:
            ClaimLost: The place is taken: somebody else went on with this payout.
            JournalMismatch: The journal has got another owner since it was opened.
        """
        ...

    async def declare_restored(self, at: float) -> int:
        """Take note that this is a restored copy, which newer events may be missing from.

        Every unfinished payout gets Restored, and so does every payout that is accepted from now
        on, since the copy may not know that it was paid; all of it at once or not at all.

        Args:
            at: Now, in seconds since the epoch.

        Returns:
            How many payouts were marked.
        """
        ...

    async def declare_complete(self) -> None:
        """Take note that the journal knows every payout again; new ones are sent without asking."""
        ...

    async def load(self, client_orderid: str) -> Payout | None:
        """Fold a payout from its events; None when the journal holds no such payout.

        Raises:
            JournalDamaged: The events do not fold to what was written.
        """
        ...

    async def history(self, client_orderid: str) -> list[Event]:
        """Read a payout's events in order; empty when the journal holds no such payout."""
        ...

    def payouts(self, states: Collection[State] | None = None) -> AsyncIterator[Payout]:
        """Iterate over the payouts in the order they were accepted, in these states or in all."""
        ...

    async def aclose(self) -> None:
        """Finish what was handed in and close; a second call does nothing."""
        ...
