"""A gateway to play and test against: what it says it paid is the truth.

``Gateway`` is the pure model and needs nothing but attrs; ``Sandbox`` serves it over HTTP on this
machine and needs the extra ``cli`` (starlette and uvicorn), so it is imported when it is asked for.
``SCENARIOS`` tells what happens to a payout by its ``account_number``, and ``Scenario`` makes more.
"""

from typing import TYPE_CHECKING

from .gateway import Gateway
from .orders import SCENARIOS, Scenario, Standing

if TYPE_CHECKING:
    from .server import Sandbox

__all__ = ["SCENARIOS", "Gateway", "Sandbox", "Scenario", "Standing"]


def __getattr__(name: str) -> object:
    """Import the server only when somebody asks for it."""
    if name != "Sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .server import Sandbox  # noqa: PLC0415 - the model must load without the server's packages
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise ImportError(
            f"the sandbox server needs {error.name}; install billblend-async[cli]"
        ) from error
    return Sandbox
