"""Where a contestant performs: told what to do, warmed up, measured, and ended in time."""

import asyncio
import gc
import json
import sys
import time
from array import array
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Final, Protocol

import attrs

from ..book import WARM_UP
from ..process import busy_seconds, obey, peak_bytes, pin_to, raise_file_limit, resident_bytes
from ..settings import Gap, Sample, Score, Settings
from ..spread import Spread
from ..store import Store, look

__all__ = ["WARM_UP_GAP", "Contestant", "Meter", "names", "perform", "take_settings"]

WARM_UP_GAP: Final = Gap(0.01, 0.02)
_NAP: Final = 0.005
_BETWEEN_FULL_COLLECTIONS: Final = 1_000
"""What the README advises where thousands wait at once; everybody here has it."""


class Contestant(Protocol):
    """What runs payouts in an event loop.

    Attributes:
        errors: What went wrong on the way, by the class of the exception.
    """

    errors: Counter[str]

    def run(self, payouts: Sequence[str], gap: Gap) -> AsyncGenerator[bool, None]:
        """Begin all payouts at once; tell of each, when it ends, whether it was approved."""
        ...


Opening = Callable[[Settings], AbstractAsyncContextManager[Contestant]]


@attrs.define(eq=False)
class Meter:
    """Measures this process, from ``start``.

    Attributes:
        core: The core that it keeps to; None for any.
        done: How many payouts were approved.
    """

    core: int | None
    done: int = 0
    _cpu: float = attrs.field(factory=time.process_time, init=False)
    _wall: float = attrs.field(factory=time.monotonic, init=False)
    _busy: float = attrs.field(default=0.0, init=False)

    def start(self) -> None:
        """Begin to measure."""
        self._busy = self._core_busy()
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def tell_sample(self) -> None:
        """Print how the process stands now."""
        sample = Sample(
            cpu=time.process_time() - self._cpu,
            wall=time.monotonic() - self._wall,
            resident=resident_bytes(),
        )
        print(json.dumps(attrs.asdict(sample)), flush=True)

    def tell_score(
        self,
        payouts: int,
        errors: Counter[str],
        lag: Spread | None = None,
        weigh: Callable[[], Store] | None = None,
    ) -> None:
        """Print how it has done; what has come to the store is weighed after that was measured."""
        cpu, wall = time.process_time() - self._cpu, time.monotonic() - self._wall
        score = Score(
            payouts=payouts,
            done=self.done,
            cpu=cpu,
            wall=wall,
            peak=peak_bytes(),
            errors=dict(errors),
            lag=lag,
            others=max(0.0, self._core_busy() - self._busy - cpu),
            store=None if weigh is None else weigh(),
        )
        print(json.dumps(attrs.asdict(score)), flush=True)

    def _core_busy(self) -> float:
        return 0.0 if self.core is None else busy_seconds(self.core)


def take_settings() -> tuple[Settings, Meter]:
    """Read the command line, keep to the core, and answer the parent from now on."""
    settings = Settings.from_json(sys.argv[1])
    if settings.core is not None:
        pin_to(settings.core)
    raise_file_limit()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _BETWEEN_FULL_COLLECTIONS)
    meter = Meter(settings.core)
    obey(meter.tell_sample)
    return settings, meter


def names(settings: Settings) -> list[str]:
    """Name the payouts."""
    return [f"po-{number}" for number in range(settings.payouts)]


def perform(opening: Opening) -> None:
    """Run an asynchronous contestant as a program."""
    settings, meter = take_settings()
    performance = _perform(opening, settings, meter)
    if settings.loop == "uvloop":
        import uvloop  # noqa: PLC0415 - only where it is wanted

        uvloop.run(performance)
    else:
        asyncio.run(performance)


async def _perform(opening: Opening, settings: Settings, meter: Meter) -> None:
    async with opening(settings) as contestant:
        async for _ in contestant.run([WARM_UP], WARM_UP_GAP):
            pass
        contestant.errors.clear()
        lags: array[float] = array("d")
        watch = asyncio.create_task(_watch(lags)) if settings.measures_lag else None
        before = look(settings.store) if settings.weighs_store else None
        meter.start()
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(settings.patience),
                aclosing(contestant.run(names(settings), settings.gap)) as ends,
            ):
                async for is_approved in ends:
                    meter.done += is_approved
        if watch is not None:
            watch.cancel()
        meter.tell_score(
            settings.payouts,
            contestant.errors,
            Spread.of(lags) if settings.measures_lag else None,
            None if before is None else lambda: look(settings.store).since(before),
        )


async def _watch(lags: "array[float]") -> None:
    """Note again and again by how many seconds a nap of the host's is too long."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _NAP
        await asyncio.sleep(_NAP)
        lags.append(loop.time() - due)
