"""The payouts of a run that were claimed and of which nobody knows whether anything took effect."""

from typing import Final

from ..core.models import State
from ..core.payout import Payout

__all__ = ["Uncertainty"]

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
