"""The walk through everything that can ever happen in a small world, and what it finds."""

import gc
from collections import deque
from collections.abc import Sequence

import attrs
from small_world import Broken, Moment, World

from billblend_async.core.models import State


class Found(Exception):
    """A rule was broken; the message tells the shortest way there."""


@attrs.frozen
class Walk:
    """Everything that can ever happen in a world.

    Attributes:
        moments: Every moment there can be, in the order they were found.
        transitions: How many steps lead from one to another.
        before: For each moment, those from which a fair step leads there.
    """

    moments: Sequence[Moment]
    transitions: int
    before: Sequence[Sequence[int]]


def walk(world: World, most: int = 2_000_000) -> Walk:
    """Go breadth-first through everything that can ever happen, to closure.

    Raises:
        Found: A rule is broken; the message tells the shortest way there.
    """
    was_on = gc.isenabled()
    gc.disable()  # it would look through millions of tuples again and again, and find nothing
    try:
        return _walk(world, most)
    finally:
        if was_on:
            gc.enable()


def _walk(world: World, most: int) -> Walk:
    moments = [world.in_order(first) for first in world.beginnings()]
    numbers = {moment: n for n, moment in enumerate(moments)}
    came: list[tuple[int, str]] = [(-1, "")] * len(moments)
    before: list[list[int]] = [[] for _ in moments]
    ahead = deque(range(len(moments)))
    transitions = 0
    while ahead:
        here = ahead.popleft()
        try:
            world.check(moments[here])
            for step in world.successors(moments[here]):
                transitions += 1
                moment = world.in_order(step.moment)
                there = numbers.setdefault(moment, len(moments))
                if there == len(moments):
                    assert there < most, "the world is larger than it should be"
                    moments.append(moment)
                    came.append((here, step.name))
                    before.append([])
                    ahead.append(there)
                if step.is_fair and there != here:
                    before[there].append(here)
        except Broken as broken:
            reason = str(broken)
        else:
            continue
        raise Found("\n".join([*_way(came, here), f"then: {reason}"]))
    return Walk(moments, transitions, before)


def _way(came: Sequence[tuple[int, str]], place: int) -> list[str]:
    steps: list[str] = []
    while came[place][0] >= 0:
        steps.append(came[place][1])
        place = came[place][0]
    return steps[::-1]


def stuck(world: World, walked: Walk) -> list[Moment]:
    """Find the moments from which no fair way leads to an end, or to where a person decides."""
    reaches = [False] * len(walked.moments)
    ahead = deque[int]()
    for n, moment in enumerate(walked.moments):
        payout = world.payout(moment)
        waits = payout.held and payout.state in (State.NEW, State.VALIDATED)
        if payout.state.is_terminal or payout.state is State.ATTENTION or waits:
            reaches[n] = True
            ahead.append(n)
    while ahead:
        for earlier in walked.before[ahead.popleft()]:
            if not reaches[earlier]:
                reaches[earlier] = True
                ahead.append(earlier)
    return [moment for moment, ends in zip(walked.moments, reaches, strict=True) if not ends]
