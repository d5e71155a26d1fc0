"""How often a status is asked for."""

from typing import Final

import attrs

from ..core.commands import Pace

__all__ = ["Polling"]


@attrs.frozen(kw_only=True)
class Polling:
    """How often a status is asked for, in seconds from one answer to the next request.

    The gateway wants 3 to 5 s (document 1.10, step 17) and less often once a payout takes long
    (document 5.5). Gaps are spread evenly over the inner 80 % of the range, so that network and
    scheduling leave them inside it.

    Attributes:
        shortest: The shortest gap.
        longest: The longest gap.
        eager_for: How long a payout in one state is asked about that often; then gaps grow in
            proportion to the time it has waited, so that news is never later than 2 % of it.
        slowest: The longest gap that they grow to.
        with_callbacks: How many times as long the gaps are after pay while callbacks come in: the
            latest payout that came to its end here was announced by one. The first that is not
            brings the usual gaps back.
    """

    shortest: float = attrs.field(default=3.0, validator=attrs.validators.gt(0))
    longest: float = 5.0
    eager_for: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))
    slowest: float = 300.0
    with_callbacks: float = attrs.field(default=3.0, validator=attrs.validators.ge(1))

    def __attrs_post_init__(self) -> None:
        """Check that the range is one."""
        if not self.shortest <= self.longest <= self.slowest:
            raise ValueError("shortest, longest and slowest must be in this order")

    def gap(self, pace: Pace, waited: float, chance: float, *, is_announced: bool = False) -> float:
        """Choose the next gap.

        Args:
            pace: How urgent the question is.
            waited: Seconds that the payout has been in its state.
            chance: A number from 0 to 1 that spreads the gaps.
            is_announced: Whether a callback is likely to tell the news first.
        """
        width = self.longest - self.shortest
        gap = self.shortest + (0.1 + 0.8 * chance) * width
        gap *= _PACES[pace] * max(1.0, waited / self.eager_for)
        if is_announced and pace is Pace.NORMAL:
            gap *= self.with_callbacks
        return min(gap, self.slowest)


_PACES: Final = {Pace.NORMAL: 1.0, Pace.RECEIVER: 3.0, Pace.PERSON: 15.0}
