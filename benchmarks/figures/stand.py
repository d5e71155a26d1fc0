"""Where figures are taken: the arena, how much is measured, and what was held open already."""

import time

import attrs

from ..arena import Arena, DidNotFinish
from ..entrants import Entrant, Fast, ours
from ..scale import Scale
from ..settings import Loop
from ..spread import Spread

__all__ = ["Held", "Stand"]


@attrs.frozen(kw_only=True)
class Held:
    """How an entrant did while it held payouts open.

    Attributes:
        payouts: How many were open.
        lateness: Seconds from when a poll was due to its arrival.
        share: Polls that arrived, as a share of those that would have come had none been late: what
            is stuck somewhere has no lateness yet, and must not count as in time.
        busy: CPU seconds for each second that passed.
        resident: Bytes of memory that were resident.
        opening: Seconds until all were open.
        gateway_busy: CPU seconds of the gateway for each second that passed: where it is not far
            from 1, lateness is the gateway's.
    """

    payouts: int
    lateness: Spread
    share: float
    busy: float
    resident: int
    opening: float
    gateway_busy: float


@attrs.define(eq=False)
class Stand:
    """What every figure needs.

    Attributes:
        arena: Where contestants meet the gateway.
        scale: How much is measured.
        transport: What sends our status questions where they go fast.
        wanted: The goals that are measured.
    """

    arena: Arena
    scale: Scale
    transport: Fast
    wanted: frozenset[str]
    _held: dict[tuple[str, int], Held] = attrs.field(factory=dict, init=False)

    def fast(self, loop: Loop = "asyncio") -> Entrant:
        """Enter this library with its fast transport."""
        return ours(self.transport, loop)

    @property
    def fastest(self) -> Entrant:
        """This library as fast as it gets here: on uvloop, where that is installed."""
        on_uvloop = self.fast("uvloop")
        return on_uvloop if on_uvloop.is_installed else self.fast()

    def hold(self, entrant: Entrant, payouts: int) -> Held:
        """Hold payouts open in a fresh process and watch them for a while; once for each number.

        Raises:
            DidNotFinish: They did not all come open.
        """
        if (entrant.name, payouts) not in self._held:
            self._held[entrant.name, payouts] = self._hold(entrant, payouts)
        return self._held[entrant.name, payouts]

    def _hold(self, entrant: Entrant, payouts: int) -> Held:
        scale = self.scale
        settings = attrs.evolve(
            entrant.prepared(self.arena.settings()),
            payouts=payouts,
            shortest=scale.gap.shortest,
            longest=scale.gap.longest,
            patience=2 * scale.opening,
            tells_due=True,
        )
        with self.arena.holding(entrant.program, settings) as performance:
            performance.wait_until_open(scale.opening)
            time.sleep(scale.gap.longest)  # what queued up while they came open is gone by then
            before, seen_before = performance.sample(), self.arena.gateway.figures()
            self.arena.gateway.mark()
            time.sleep(scale.window)
            after = performance.sample()
            seen = self.arena.gateway.figures()
        if not seen.lateness.count:
            raise DidNotFinish(f"no poll of {payouts} payouts arrived in {scale.window:g} s")
        wall = after.wall - before.wall
        due = payouts * wall / ((scale.gap.shortest + scale.gap.longest) / 2)
        return Held(
            payouts=payouts,
            lateness=seen.lateness,
            share=seen.lateness.count / due,
            busy=(after.cpu - before.cpu) / wall,
            resident=after.resident,
            opening=before.wall,
            gateway_busy=(seen.cpu - seen_before.cpu) / wall,
        )
