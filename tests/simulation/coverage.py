"""The faults that can be injected, at which steps, and how often each pair was hit."""

from collections import Counter
from typing import Final

__all__ = ["CARRIERS", "POSSIBLE", "POSSIBLE_IF_SHARED", "POSSIBLE_ON_THE_WIRE", "Hits", "missing"]

Hits = Counter[tuple[str, str]]
"""How often each fault was hit at each step."""

SENDS: Final = ("check", "pay", "payout")
SEND_FAULTS: Final = (
    "not-sent",
    "lost-before",
    "lost-after",
    "late",
    "garbled",
    "denied",
    "broken-after",
    "slow",
    "refused",
    "nameless-error",
    "misnamed",
)
STATUS_FAULTS: Final = (
    "unanswered",
    "refused-by-proxy",
    "garbled-status",
    "slow-status",
    "stale",
    "denies-order",
    "odd-word",
    "no-order-id",
    "no-amount",
    "other-amount",
    "misnamed-status",
    "nameless-status",
)
PROBE_FAULTS: Final = ("unanswered", "refused-by-proxy", "garbled-status", "slow-status")
JOURNAL_FAULTS: Final = ("slow-before", "slow-after", "fails-before", "fails-after", "freezes")
JOURNALED: Final = (
    "Opened",
    "CheckStarted",
    "Checked",
    "NotSeen",
    "Validated",
    "PayStarted",
    "PayAccepted",
    "Finished",
    "NeedsAttention",
    "RedirectRequired",
    "Approved",
    "CalledBack",
)
TRAITS: Final = (
    "declined",
    "filtered",
    "error",
    "ends-at-check",
    "paid-by-others",
    "redirect",
    "redirect-again",
    "bad-redirect",
    "contradicts",
    "slow-bank",
    "wavering-word",
)
LATER: Final = ("reversal", "chargeback")
"""Traits of orders that are approved: what follows on them."""
CALLBACK_FAULTS: Final = (
    "lost",
    "late",
    "repeated",
    "hangs-up",
    "replayed",
    "type-swapped",
    "never-true",
    "mispaired",
    "shifted",
)
HOST_FAULTS: Final = ("hook-raises", "hook-hangs", "listens")
WIRE_FAULTS: Final = (
    "connect-refused",
    "connect-timeout",
    "connect-slow",
    "reset-early",
    "cut-head",
    "cut-body",
    "stuck-write",
    "broken-write",
    "reset-unacted",
    "reset-acted",
    "silence",
    "held-back",
    "cut-answer",
    "undelimited",
    "cut-undelimited",
    "garbled-bytes",
    "error-page",
    "too-many",
    "moved",
    "oversized",
    "compressed",
    "trickle",
    "twice",
    "empty",
    "mixed-up",
    "interim",
)
"""What happens to bytes between two machines."""
KEPT_FAULTS: Final = ("stale-connection",)
"""What happens to connections that are used again."""
CARRIERS: Final = ("repeats-failures", "repeats-answers", "hedges", "gives-up")
"""What a host's transport does by itself with a request that may move money."""
STATEMENTS: Final = ("settle", "write", "read", "page")
SERVER_FAULTS: Final = (
    "lost-before",
    "lost-after",
    "executed-late",
    "committed-late",
    "hangs",
    "restarts",
    "rolled-back",
    "refused",
    "freezes-before-commit",
    "freezes-after-commit",
)
"""What happens to a statement of a journal's server, and to its program meanwhile."""
FREEZES: Final = ("freezes-at-times", "freezes-on-the-brink")
MOMENTS: Final = ("at-a-time", "at-a-turn", "head", "body", "before-commit", "after-commit")
"""When a program stands still."""
STATES: Final = (
    "new",
    "checking",
    "validating",
    "validated",
    "paying",
    "awaiting-final",
    "awaiting-receiver",
    "attention",
)
DEEDS: Final = (
    "release",
    "wrong-release",
    "close",
    "acknowledge",
    "acknowledge-again",
    "withdraw",
    "cancelled-caller",
    "clock-forward",
    "clock-back",
    "second-process",
    "duplicate",
    "conflict",
    "foreign-order",
    "stopped",
    "approve",
    "approve-early",
    "approve-at-once",
    "approve-again",
    "withdraw-held",
    "run-again",
    "forgotten",
)
ANSWERS: Final = (
    *(f"genuine-{status}" for status in (200, 403, 503)),
    *(f"forged-{status}" for status in (200, 403, 503)),
    "nobody-there",
)

POSSIBLE: Final = frozenset(
    [(step, fault) for step in SENDS for fault in SEND_FAULTS]
    + [(step, "lying-refusal") for step in SENDS]
    + [("check", "turned-away"), ("payout", "turned-away"), ("order", "misread")]
    + [("probe", fault) for fault in PROBE_FAULTS]
    + [("status", fault) for fault in STATUS_FAULTS]
    + [(event, fault) for event in JOURNALED for fault in JOURNAL_FAULTS]
    + [("order", trait) for trait in (*TRAITS, *LATER)]
    + [("crash", state) for state in (*STATES, "approved")]
    + [("callback", fault) for fault in (*CALLBACK_FAULTS, *ANSWERS)]
    + [("callback-in", state) for state in (*STATES[1:], "final", "withdrawn", "closed")]
    + [("hook", fault) for fault in ("raises", "hangs")]
    + [("listener", pace) for pace in ("slow", "quick")]
    + [("world", deed) for deed in DEEDS]
)
"""Every pair that a run over enough seeds must hit."""


POSSIBLE_ON_THE_WIRE: Final = frozenset(
    [(step, fault) for step in (*SENDS, "probe", "status") for fault in WIRE_FAULTS]
    + [("status", fault) for fault in KEPT_FAULTS]
    + [("transport", manner) for manner in CARRIERS]
    + [("crash", state) for state in STATES]
    + [("callback", fault) for fault in (*CALLBACK_FAULTS, *ANSWERS)]
)
"""Every pair that a run over enough seeds must hit at the level of HTTP requests."""

POSSIBLE_IF_SHARED: Final = frozenset(
    [(statement, fault) for statement in STATEMENTS for fault in SERVER_FAULTS]
    + [("freeze", moment) for moment in (*MOMENTS, "woke-too-late", "hung-up", "sent-late")]
    + [("server", "broke-off"), ("world", "replaced"), ("world", "advance-at-once")]
    + [("failover", what) for what in ("noticed", "marked", "declared")]
    + [("crash", state) for state in STATES]
)
"""Every pair that a run over enough seeds must hit on a journal that programs share."""


def missing(hits: Hits, possible: frozenset[tuple[str, str]] = POSSIBLE) -> list[tuple[str, str]]:
    """List the pairs that were never hit."""
    return sorted(pair for pair in possible if not hits[pair])
