"""How much is measured: enough to believe, or enough to see that it works."""

from typing import Final

import attrs

from .book import Terms
from .settings import Gap

__all__ = ["FULL", "QUICK", "Scale"]

REAL: Final = Gap(3.2, 4.8)
"""The library's own gaps of 3 to 5 s."""


@attrs.frozen(kw_only=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: How often each comparison is repeated.
        slow_rounds: How often with those that take a minute.
        everybody: Whether the crowd has also those that no goal needs.
        patience: Seconds that a crowd may take.
        crowd: Payouts that start at once.
        crowd_threads: The same for the threads, whose cost does not depend on how many there are.
        crowd_gap: Their gaps: 4 s, scaled to 1 s.
        engine: Payouts that start at once on each engine.
        engine_gap: Their gaps, so short that the CPU is what they wait for.
        gap: The gaps of everything that is measured at the real pace.
        held: Our payouts held open, more and more while lateness allows it.
        held_peer: The same for the textbook's.
        held_few: Payouts that the memory of the first of ``held`` is compared with.
        window: Seconds for which lateness is measured, once all are open.
        opening: Seconds that opening them may take.
        many: Payouts whose cost is compared with that of few.
        few: How many are few.
        long: How long those live, so that all of them are open at once.
        host: Payouts that run while the lag of the host's event loop is measured.
        host_gap: Their gaps.
        sends: Requests of each side in one round.
        records: Durable records, as (waiting at once, in all).
    """

    rounds: int
    slow_rounds: int
    everybody: bool
    patience: float
    crowd: int
    crowd_threads: int
    crowd_gap: Gap
    engine: int
    engine_gap: Gap
    gap: Gap
    held: tuple[int, ...]
    held_peer: tuple[int, ...]
    held_few: int
    window: float
    opening: float
    many: int
    few: int
    long: Terms
    host: int
    host_gap: Gap
    sends: int
    records: tuple[tuple[int, int], ...]


FULL: Final = Scale(
    rounds=3,
    slow_rounds=1,
    everybody=True,
    patience=120.0,
    crowd=400,
    crowd_threads=400,
    crowd_gap=Gap(0.8, 1.2),
    engine=600,
    engine_gap=Gap(0.2, 0.3),
    gap=REAL,
    held=(5_000, 7_500, 10_000),
    held_peer=(1_000,),
    held_few=1_000,
    window=20.0,
    opening=200.0,
    many=10_000,
    few=100,
    long=Terms(validating=18, processing=4),
    host=1_000,
    host_gap=REAL,
    sends=60,
    records=((1, 100), (64, 1_000), (1_000, 8_000)),
)
QUICK: Final = Scale(
    rounds=2,
    slow_rounds=1,
    everybody=False,
    patience=35.0,
    crowd=400,
    crowd_threads=100,
    crowd_gap=Gap(0.8, 1.2),
    engine=40,
    engine_gap=Gap(0.2, 0.3),
    gap=Gap(0.4, 0.6),
    held=(400,),
    held_peer=(200,),
    held_few=100,
    window=4.0,
    opening=25.0,
    many=200,
    few=40,
    long=Terms(validating=4, processing=2),
    host=100,
    host_gap=Gap(0.3, 0.5),
    sends=15,
    records=((1, 50), (64, 500), (1_000, 2_000)),
)
