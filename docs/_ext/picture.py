"""Draws the state machine from the table that it runs on, as SVG in the colours of the page.

A payout goes from top to bottom. To the left lie the ends, to the right the Attention of a person;
dashed lines jump over a step. Every line tells its events when it is pointed at.
"""

from html import escape
from itertools import pairwise
from typing import Final

from billblend_async.core.machine import TRANSITIONS
from billblend_async.core.models import State

__all__ = ["draw"]

_WAY: Final = (
    State.NEW,
    State.CHECKING,
    State.VALIDATING,
    State.VALIDATED,
    State.PAYING,
    State.AWAITING_FINAL,
    State.AWAITING_RECEIVER,
)
_ENDS: Final = {State.FINAL: 0, State.REJECTED: 82, State.WITHDRAWN: 82}
_LEFT, _RIGHT, _BAR, _HIGH, _STEP, _TOP = 330, 510, 730, 40, 92, 20
_Ways = dict[tuple[State, State], str]


def draw() -> str:
    """Draw the transitions; news that moves nothing is left out."""
    ways = _ways()
    bottom = _TOP + len(_WAY) * _STEP
    told = [*_bar(bottom), *(line for state in _WAY for line in _row(state, ways))]
    drawn = {pair for pair in ways if State.ATTENTION in pair or pair[1] in _ENDS}
    for above, below in pairwise(_WAY):
        for pair, shift in (((above, below), -12), ((below, above), 12)):
            if pair in ways:
                told += _step(pair, ways[pair], shift)
                drawn.add(pair)
    jumps = sorted(set(ways) - drawn, key=lambda pair: (_WAY.index(pair[0]), _WAY.index(pair[1])))
    told += [line for place, pair in enumerate(jumps) for line in _jump(pair, ways[pair], place)]
    told += _after_attention(ways, bottom)
    return (
        '<div class="picture" tabindex="0" role="region" aria-label="The state machine">'
        f'<svg role="img" aria-label="The states of a payout and what leads from one to another; '
        f'the table below says the same" viewBox="0 0 900 {bottom + 70}">{_ARROW}'
        f"{''.join(told)}</svg></div>"
    )


_ARROW: Final = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
)


def _ways() -> _Ways:
    """Give every pair of states of which one may follow the other, with the events that do it."""
    ways: dict[tuple[State, State], list[str]] = {}
    for state, row in TRANSITIONS.items():
        for event, targets in row.items():
            for target in targets - {state}:
                ways.setdefault((state, target), []).append(event.__name__)
    return {pair: ", ".join(events) for pair, events in ways.items()}


def _middle(state: State) -> int:
    return _TOP + _WAY.index(state) * _STEP + _HIGH // 2


def _box(x: int, y: int, width: int, name: str, kind: str = "", high: int = _HIGH) -> str:
    return (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="{width}" height="{high}" rx="6"/>'
        f'<text x="{x + width // 2}" y="{y + high // 2 + 5}" text-anchor="middle">{name}</text></g>'
    )


def _line(path: str, pair: tuple[State, State], events: str, kind: str = "") -> str:
    title = escape(f"{pair[0].name} → {pair[1].name}: {events}")
    return f'<path class="{kind}" d="{path}" marker-end="url(#tip)"><title>{title}</title></path>'


def _label(x: int, y: int, text: str, anchor: str = "start") -> str:
    return f'<text class="event" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _bar(bottom: int) -> list[str]:
    high = bottom - _TOP - _STEP + _HIGH
    return [_box(_BAR, _TOP, 120, State.ATTENTION.name, "person", high)]


def _row(state: State, ways: _Ways) -> list[str]:
    """Draw a state, what ends it, and its ways to Attention and back."""
    y = _middle(state)
    told = [_box(_LEFT, y - _HIGH // 2, _RIGHT - _LEFT, state.name)]
    for end, x in _ENDS.items():
        if (events := ways.get((state, end))) is not None:
            low = 14 if end is State.REJECTED else -14 if end is State.WITHDRAWN else 0
            width = 70 if end is State.FINAL else 92
            told.append(_box(x + 4, y + low - 12, width, end.name, "end", 24))
            told.append(_line(f"M{_LEFT} {y + low}H{x + width + 8}", (state, end), events))
    for pair, low, path in (
        ((state, State.ATTENTION), -9, f"M{_RIGHT} {y - 9}H{_BAR - 2}"),
        ((State.ATTENTION, state), 11, f"M{_BAR} {y + 11}H{_RIGHT + 2}"),
    ):
        if pair in ways:
            told.append(_line(path, pair, ways[pair]))
            told.append(_label((_RIGHT + _BAR) // 2, y + low - 4, ways[pair], "middle"))
    return told


def _step(pair: tuple[State, State], events: str, shift: int) -> list[str]:
    """Draw a step to the next state, or back from it."""
    x, (begin, end) = (_LEFT + _RIGHT) // 2 + shift, map(_middle, pair)
    half = _HIGH // 2 if begin < end else -_HIGH // 2
    y = (begin + end) // 2 + 4
    anchor = "end" if shift < 0 else "start"
    path = f"M{x} {begin + half}V{end - half}"
    return [_line(path, pair, events), _label(x + shift // 2, y, events, anchor)]


def _jump(pair: tuple[State, State], events: str, place: int) -> list[str]:
    """Draw a way that leaves states out, as an arc on the left."""
    begin, end = map(_middle, pair)
    low = 3 * (place % 3) + 3
    out = _LEFT - 34 * abs(_WAY.index(pair[0]) - _WAY.index(pair[1]))
    path = f"M{_LEFT} {begin + low}C{out} {begin + low} {out} {end - low} {_LEFT - 2} {end - low}"
    return [_line(path, pair, events, "jump")]


def _after_attention(ways: _Ways, bottom: int) -> list[str]:
    """Draw the ends that Attention comes to."""
    told, begin = [], bottom - _STEP + _HIGH
    for x, end in ((_BAR - 40, State.FINAL), (_BAR + 60, State.CLOSED)):
        pair, y = (State.ATTENTION, end), bottom + 14
        told.append(_box(x, y, 90, end.name, "end", 26))
        told.append(_line(f"M{x + 45} {begin}V{y - 2}", pair, ways[pair]))
        told.append(_label(x + 50, (begin + y) // 2 + 4, ways[pair]))
    return told
