"""The result of one step of a payout: it is done, or the next step comes later."""

import attrs

from ..core.models import Outcome

__all__ = ["Done", "Waiting"]


@attrs.frozen
class Done:
    """Nothing more is sent or asked for this payout.

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
