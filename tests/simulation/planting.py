"""Planting a bug: names are replaced for as long as it stands, and put back whatever happens."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = [
    "BUGS",
    "SHARED_BUGS",
    "WIRE_BUGS",
    "Garden",
    "bug",
    "planted",
    "shared_bug",
    "wire_bug",
]


class Garden:
    """What is replaced at present."""

    def __init__(self) -> None:
        self._old: list[tuple[Any, str, Any]] = []

    def replace(self, where: Any, name: str, new: Any) -> Any:
        """Put something in a name's place, and give what stood there."""
        # Of a class, what is written there: a static method must come back as one.
        old = vars(where).get(name) or getattr(where, name)
        self._old.append((where, name, old))
        setattr(where, name, new)
        return old

    def restore(self) -> None:
        """Put everything back."""
        while self._old:
            setattr(*self._old.pop())


BUGS: Final[dict[str, Callable[[Garden], None]]] = {}
"""Every bug by its name; calling it plants it."""


def bug(plant: Callable[[Garden], None]) -> Callable[[Garden], None]:
    """List a bug under the name of its function."""
    BUGS[plant.__name__] = plant
    return plant


WIRE_BUGS: Final[dict[str, Callable[[Garden], None]]] = {}
"""Likewise, those that are looked for at the level of HTTP requests."""


def wire_bug(plant: Callable[[Garden], None]) -> Callable[[Garden], None]:
    """List a bug that is looked for at the level of HTTP requests."""
    WIRE_BUGS[plant.__name__] = plant
    return plant


SHARED_BUGS: Final[dict[str, Callable[[Garden], None]]] = {}
"""Likewise, those that are looked for on a journal that programs share."""


def shared_bug(plant: Callable[[Garden], None]) -> Callable[[Garden], None]:
    """List a bug that is looked for on a journal that programs share."""
    SHARED_BUGS[plant.__name__] = plant
    return plant


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Let a bug stand for a while."""
    garden = Garden()
    try:
        {**BUGS, **WIRE_BUGS, **SHARED_BUGS}[name](garden)
        yield
    finally:
        garden.restore()
