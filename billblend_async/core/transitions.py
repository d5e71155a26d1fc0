"""The table of the state machine: which state may follow which on what event."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .events import (
    Acknowledged,
    Approved,
    CalledBack,
    Checked,
    CheckNotSent,
    CheckRefused,
    CheckStarted,
    Closed,
    Event,
    Finished,
    NeedsAttention,
    NotSeen,
    PayAccepted,
    PayNotSent,
    PayRefused,
    PayStarted,
    RedirectCleared,
    RedirectRequired,
    Rejected,
    Released,
    Restored,
    TurnedAway,
    Validated,
    Withdrawn,
)
from .models import State

__all__ = ["TRANSITIONS"]

_N, _C, _V, _VD = State.NEW, State.CHECKING, State.VALIDATING, State.VALIDATED
_P, _F, _R, _A = State.PAYING, State.AWAITING_FINAL, State.AWAITING_RECEIVER, State.ATTENTION

_ROWS: Final[Mapping[State, Mapping[type[Event], set[State]]]] = {
    _N: {
        CheckStarted: {_C},
        PayStarted: {_P},
        Checked: {_V},
        PayAccepted: {_F},
        NotSeen: {_N},
        Finished: {State.FINAL, _A},
        NeedsAttention: {_A},
        Approved: {_N},
        CalledBack: {_N},
        Withdrawn: {State.WITHDRAWN},
        Restored: {_N},
    },
    _C: {
        CheckNotSent: {_N},
        CheckRefused: {_C},
        Checked: {_V},
        NotSeen: {_C, _N, _A},
        Rejected: {State.REJECTED},
        TurnedAway: {_N},
        Finished: {State.FINAL, _A},
        NeedsAttention: {_A},
        Approved: {_C},
        CalledBack: {_C},
        Withdrawn: {State.WITHDRAWN},
        Restored: {_C},
    },
    _V: {
        Validated: {_VD, _A},
        Finished: {State.FINAL, _A},
        NeedsAttention: {_A},
        Approved: {_V},
        CalledBack: {_V},
        Withdrawn: {State.WITHDRAWN},
        Restored: {_V},
    },
    _VD: {
        Validated: {_VD},
        PayStarted: {_P},
        PayAccepted: {_F},
        RedirectRequired: {_R},
        Finished: {State.FINAL, _A},
        NeedsAttention: {_A},
        Approved: {_VD},
        CalledBack: {_VD},
        Withdrawn: {State.WITHDRAWN},
        Restored: {_A},
    },
    _P: {
        PayNotSent: {_VD, _N},
        PayAccepted: {_F},
        PayRefused: {_A, _P},
        NotSeen: {_P, State.REJECTED, _A},
        Rejected: {State.REJECTED, _A},
        TurnedAway: {_N},
        RedirectRequired: {_R},
        Finished: {State.FINAL},
        CalledBack: {_P},
        NeedsAttention: {_A},
    },
    _F: {
        RedirectRequired: {_R},
        Finished: {State.FINAL},
        CalledBack: {_F},
        NeedsAttention: {_A},
    },
    _R: {
        RedirectRequired: {_R},
        RedirectCleared: {_F},
        Finished: {State.FINAL},
        CalledBack: {_R},
        NeedsAttention: {_A},
    },
    _A: {
        Checked: {_V},
        PayAccepted: {_F},
        RedirectRequired: {_R},
        Finished: {State.FINAL, _A},
        CalledBack: {_A},
        Released: {_N, _VD, _F},
        Closed: {State.CLOSED},
        Restored: {_A},
    },
    State.FINAL: {Acknowledged: {State.FINAL}},
    State.REJECTED: {Acknowledged: {State.REJECTED}},
    State.WITHDRAWN: {Acknowledged: {State.WITHDRAWN}},
    State.CLOSED: {Acknowledged: {State.CLOSED}},
}

TRANSITIONS: Final[Mapping[State, Mapping[type[Event], frozenset[State]]]] = MappingProxyType(
    {
        state: MappingProxyType({event: frozenset(states) for event, states in row.items()})
        for state, row in _ROWS.items()
    }
)
"""For every state, the events that may move or change it, and the states that may follow."""
