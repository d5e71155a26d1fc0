"""What a step of a payout leaves to be done: nothing more, or the next one later."""

import attrs

from .models import Outcome

__all__ = ["Done", "Waiting"]


@attrs.frozen
class Done:
    """Nothing more will happen to this payout.

    Attributes:
        outcome: What became of it.
    """

    outcome: Outcome


@attrs.frozen
class Waiting:
    """The payout goes on later.

    Attributes:
        outcome: Where it stands.
        seconds: How long to wait before the next ``advance``.
        until: The same as an instant, in seconds since the epoch.
    """

    outcome: Outcome
    seconds: float
    until: float
