"""A pytest plugin: test your own service against a gateway on this machine, without a network.

Once the package is installed with its extra ``cli``, pytest knows these fixtures, for sync and
async tests alike::

    def test_payday(billblend_sandbox, monkeypatch):
        for name, value in billblend_sandbox.environ.items():
            monkeypatch.setenv(name, value)
        ...  # run your service
        billblend_sandbox.assert_paid_once("po-1")

pytest loads this file at its start, in every project that has the package installed: it imports
nothing but pytest until a fixture is asked for.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .sandbox import BrowserPost, RunningFaults, RunningSandbox

__all__ = [
    "BrowserPost",
    "RunningFaults",
    "RunningSandbox",
    "billblend_private_key",
    "billblend_sandbox",
    "billblend_sandbox_factory",
]


def __getattr__(name: str) -> object:
    """Import the running sandbox only when somebody asks for it."""
    if name not in ("BrowserPost", "RunningFaults", "RunningSandbox"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import sandbox

    return getattr(sandbox, name)


@pytest.fixture(scope="session")
def billblend_private_key() -> str:
    """The private key of the sandboxes' merchant as PEM, made once for the whole session."""
    from ..gateway.credentials import make_private_key

    return make_private_key()


@pytest.fixture
def billblend_sandbox_factory(
    billblend_private_key: str, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Callable[..., RunningSandbox]]":
    """Start running sandboxes with settings of their own; each is closed at the end of the test.

    ``billblend_sandbox_factory(validation=1.0, scenarios=..., callbacks=False)`` takes the settings
    of ``RunningSandbox``, all but the folder.
    """
    with ExitStack() as stack:

        def start(**options: Any) -> "RunningSandbox":  # noqa: ANN401 - those of RunningSandbox
            running = _running_sandbox()
            folder = tmp_path_factory.mktemp("billblend")
            options = {"private_key": billblend_private_key, **options}
            return stack.enter_context(running(folder, **options))

        yield start


@pytest.fixture
def billblend_sandbox(
    billblend_sandbox_factory: "Callable[..., RunningSandbox]",
) -> "RunningSandbox":
    """A gateway on a loopback port that pays in 0.1 seconds; see ``RunningSandbox``."""
    return billblend_sandbox_factory()


def _running_sandbox() -> "type[RunningSandbox]":
    reason = ""
    try:
        from .sandbox import RunningSandbox
    except ImportError as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise  # it is not the server's packages that are missing
        reason = str(error)
    else:
        return RunningSandbox
    pytest.fail(reason, pytrace=False)
