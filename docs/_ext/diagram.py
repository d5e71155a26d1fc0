"""The state machine as a picture, drawn from the table that it runs on."""

from billblend_async.core.machine import TRANSITIONS
from billblend_async.core.models import State

__all__ = ["diagram"]


def diagram() -> str:
    """Draw the transitions as a Mermaid state diagram; news that moves nothing is left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.NEW.name}"]
    for state, row in TRANSITIONS.items():
        ways: dict[State, list[str]] = {}
        for event, targets in row.items():
            for target in sorted(targets - {state}):
                ways.setdefault(target, []).append(event.__name__)
        lines += [
            f"    {state.name} --> {target.name}: {', '.join(events)}"
            for target, events in ways.items()
        ]
        if state.is_terminal:
            lines.append(f"    {state.name} --> [*]")
    return "\n".join(lines)
