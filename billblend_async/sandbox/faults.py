"""What can go wrong at the gateway, switched on by command: always, for a share, or a few times.

Only ``drop_before`` and ``denied_403`` keep a request from being carried out; all the others carry
it out and spoil the answer, so that a client which takes a bad answer for "not done" is seen.
"""

import enum
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from ..errors import ConfigurationError
from ..gateway.wire import RequestKind

__all__ = ["CALLBACK", "FAULTS", "FaultKind", "Faults", "Strike", "Switch", "read_switch"]

CALLBACK: Final = "callback"
"""The word for callbacks, where the gateway is the one who sends."""


class FaultKind(enum.StrEnum):
    """What goes wrong."""

    DROP_BEFORE = "drop_before"
    """The connection is closed without an answer, and nothing was done."""
    DROP_AFTER = "drop_after"
    """The request is carried out, and the connection is closed without an answer."""
    ERROR_500 = "error_500"
    """The request is carried out, and the answer is HTTP 500."""
    DENIED_403 = "denied_403"
    """The answer is the gateway's 403 page, and nothing was done."""
    GARBAGE = "garbage"
    """The request is carried out, and the answer is no text."""
    HTML = "html"
    """The request is carried out, and the answer is a page, under HTTP 200."""
    DELAY = "delay"
    """The request is carried out late, even if its client has gone by then."""
    DUPLICATE = "duplicate"
    """The callback is delivered once more after it was delivered."""
    LOST = "lost"
    """The callback is never sent."""


_OF_ANSWERS: Final = tuple(FaultKind)[:7]
FAULTS: Final[Mapping[str, tuple[FaultKind, ...]]] = {
    **{kind.value: _OF_ANSWERS for kind in RequestKind},
    CALLBACK: (FaultKind.DELAY, FaultKind.DUPLICATE, FaultKind.LOST),
}
"""What can go wrong with each command."""
_DEFAULT_DELAY: Final = 1.0


@attrs.frozen
class Switch:
    """One fault that is switched on.

    Attributes:
        command: A command of the gateway, or ``callback``.
        fault: What goes wrong.
        share: With which share of the requests, from 0 to 1.
        count: How many times at most from now on; None for ever.
        seconds: How long a delay is.

    Raises:
        ConfigurationError: A word or a number cannot be right.
    """

    command: str
    fault: FaultKind
    share: float = 1.0
    count: int | None = None
    seconds: float | None = None

    def __attrs_post_init__(self) -> None:
        """Check that there is such a fault, and the numbers."""
        if self.fault not in FAULTS[self.command]:
            raise ConfigurationError(
                f"fault: {self.command} knows {_listed(FAULTS[self.command])}, not {self.fault}"
            )
        if not 0 <= self.share <= 1:
            raise ConfigurationError("share: must lie between 0 and 1")
        if self.count is not None and self.count < 1:
            raise ConfigurationError("count: must be a whole number from 1 on")
        if self.seconds is not None and not 0 <= self.seconds <= 3600:
            raise ConfigurationError("seconds: must lie between 0 and 3600")
        if self.seconds is not None and self.fault is not FaultKind.DELAY:
            raise ConfigurationError(f"seconds: {self.fault} takes none; only delay does")


@attrs.frozen
class Strike:
    """What goes wrong with one request.

    Attributes:
        fault: What goes wrong with it besides a delay; None for nothing.
        seconds: How long it is delayed.
    """

    fault: FaultKind | None = None
    seconds: float = 0.0


_NOTHING: Final = Strike()


class Faults:
    """The switches of a sandbox, and the chance that decides about a share.

    Args:
        chance: Gives a number from 0 up to 1, as ``random.random`` does; a seeded one makes a run
            that can be repeated.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._switches: dict[str, dict[FaultKind, Switch]] = {command: {} for command in FAULTS}

    def set(
        self,
        command: str,
        fault: str,
        *,
        share: float = 1.0,
        count: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Switch a fault on, in place of the same one; a share of 0 switches it off.

        Args:
            command: ``payout-check``, ``payout-pay``, ``payout``, ``status`` or ``callback``.
            fault: ``drop_before``, ``drop_after``, ``error_500``, ``denied_403``, ``garbage``,
                ``html`` or ``delay``; of callbacks ``duplicate``, ``lost`` or ``delay``.
            share: With which share of the requests.
            count: How many times at most from now on; None for ever.
            seconds: How long a delay is; 1 by default.

        Raises:
            ConfigurationError: There is no such command or fault, or a number cannot be right.
        """
        self.add(Switch(_command(command), _fault(fault), share, count, seconds))

    def add(self, switch: Switch) -> None:
        """Switch a fault on, in place of the same one; a share of 0 switches it off."""
        switches = self._switches[switch.command]
        if switch.share:
            switches[switch.fault] = switch
        else:
            switches.pop(switch.fault, None)

    def clear(self, command: str | None = None) -> None:
        """Switch all faults off, or all of one command.

        Raises:
            ConfigurationError: There is no such command.
        """
        for each in FAULTS if command is None else (_command(command),):
            self._switches[each].clear()

    def switches(self) -> list[Switch]:
        """List what is switched on."""
        return [each for of in self._switches.values() for each in of.values()]

    def draw(self, command: str) -> Strike:
        """Decide what goes wrong with one request; beside a delay at most one thing does."""
        switches = self._switches[command]
        if not switches:
            return _NOTHING
        fault: FaultKind | None = None
        seconds = 0.0
        for switch in tuple(switches.values()):
            is_delay = switch.fault is FaultKind.DELAY
            if (fault is None or is_delay) and self._strikes(switch):
                if is_delay:
                    seconds = _DEFAULT_DELAY if switch.seconds is None else switch.seconds
                else:
                    fault = switch.fault
        return Strike(fault, seconds)

    def _strikes(self, switch: Switch) -> bool:
        if switch.share < 1 and self._chance() >= switch.share:
            return False
        if switch.count is not None:
            switches = self._switches[switch.command]
            if switch.count > 1:
                switches[switch.fault] = attrs.evolve(switch, count=switch.count - 1)
            else:
                del switches[switch.fault]
        return True


def read_switch(text: str) -> Switch:
    """Read ``COMMAND:FAULT[:HOW-OFTEN[:SECONDS]]``, as the command line takes it.

    How often is a share (``0.1``), a count (``x3``, the next three) or both (``0.1x3``).

    Raises:
        ConfigurationError: It is nothing of that kind.
    """
    match = _SWITCH.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            "fault: must be COMMAND:FAULT[:HOW-OFTEN[:SECONDS]], such as payout-pay:drop_after:0.1,"
            " status:error_500:x3 or status:delay:0.5:2"
        )
    return Switch(
        _command(match["command"]),
        _fault(match["fault"]),
        float(match["share"] or 1),
        int(match["count"]) if match["count"] else None,
        float(match["seconds"]) if match["seconds"] else None,
    )


_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_SWITCH: Final = re.compile(
    rf"(?P<command>[^:]+):(?P<fault>[^:]+)"
    rf"(?::(?P<share>{_NUMBER})?(?:x(?P<count>[0-9]{{1,9}}))?)?(?::(?P<seconds>{_NUMBER}))?"
)


def _command(word: str) -> str:
    if word not in FAULTS:
        raise ConfigurationError(f"command: must be {_listed(FAULTS)}")
    return word


def _fault(word: str) -> FaultKind:
    if word not in FaultKind.__members__.values():
        raise ConfigurationError(f"fault: must be {_listed(FaultKind)}")
    return FaultKind(word)


def _listed(words: Mapping[str, object] | type[FaultKind] | tuple[FaultKind, ...]) -> str:
    *most, last = map(str, words)
    return f"{', '.join(most)} or {last}"
