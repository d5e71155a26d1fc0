"""An asyncio client and payout orchestrator for the Billblend payment gateway.

Every name below is imported when it is first used, so that ``import billblend_async`` costs
nothing and the pure parts load where an HTTP library may not.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .core.models import (
        Alarm,
        Deadlines,
        Doubt,
        Endpoint,
        Flow,
        OpenReason,
        Outcome,
        Polling,
        State,
    )
    from .core.payout import Payout
    from .core.request import PayoutRequest
    from .core.responses import (
        Accepted,
        Callback,
        NoAnswer,
        NotFound,
        NotSent,
        Refused,
        Status,
        StatusReport,
        Unknown,
    )
    from .errors import (
        BillblendError,
        ClaimLost,
        ClosedError,
        ConfigurationError,
        DecisionRefused,
        DeliverAgain,
        EventsMissed,
        InvalidInput,
        JournalDamaged,
        JournalError,
        JournalMismatch,
        JournalRolledBack,
        JournalUnavailable,
        PayoutConflict,
        PayoutNotFound,
        Problem,
        RequestNeeded,
        SendingStopped,
        SigningFailed,
        UnreadableAnswer,
        VerificationFailed,
    )
    from .gateway.callbacks import FinalRedirect, read_final_redirect, verify_callback
    from .gateway.client import Client
    from .gateway.credentials import Credentials, RsaSigner, Signer
    from .gateway.exchange import Timeouts
    from .gateway.httpx_transport import SigningTransport
    from .integrations.asgi import CallbackEndpoint, answer_callback
    from .integrations.otel import OpenTelemetryObserver
    from .journal import Journal, Owner
    from .journal.postgres import PostgresJournal
    from .journal.sqlite import SqliteJournal
    from .orchestrator.inbox import Delivery
    from .orchestrator.observer import Events, Notice, Observer
    from .orchestrator.orchestrator import Orchestrator
    from .orchestrator.runner import Done, Waiting

__all__ = [
    "Accepted",
    "Alarm",
    "BillblendError",
    "Callback",
    "CallbackEndpoint",
    "ClaimLost",
    "Client",
    "ClosedError",
    "ConfigurationError",
    "Credentials",
    "Deadlines",
    "DecisionRefused",
    "DeliverAgain",
    "Delivery",
    "Done",
    "Doubt",
    "Endpoint",
    "Events",
    "EventsMissed",
    "FinalRedirect",
    "Flow",
    "InvalidInput",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalMismatch",
    "JournalRolledBack",
    "JournalUnavailable",
    "NoAnswer",
    "NotFound",
    "NotSent",
    "Notice",
    "Observer",
    "OpenReason",
    "OpenTelemetryObserver",
    "Orchestrator",
    "Outcome",
    "Owner",
    "Payout",
    "PayoutConflict",
    "PayoutNotFound",
    "PayoutRequest",
    "Polling",
    "PostgresJournal",
    "Problem",
    "Refused",
    "RequestNeeded",
    "RsaSigner",
    "SendingStopped",
    "Signer",
    "SigningFailed",
    "SigningTransport",
    "SqliteJournal",
    "State",
    "Status",
    "StatusReport",
    "Timeouts",
    "Unknown",
    "UnreadableAnswer",
    "VerificationFailed",
    "Waiting",
    "answer_callback",
    "read_final_redirect",
    "verify_callback",
]

_ROOMS = {
    "core.responses": "Accepted Callback NoAnswer NotFound NotSent Refused Status StatusReport "
    "Unknown",
    "gateway.callbacks": "FinalRedirect read_final_redirect verify_callback",
    "gateway.client": "Client",
    "orchestrator.inbox": "Delivery",
    "orchestrator.runner": "Done Waiting",
    "integrations.asgi": "CallbackEndpoint answer_callback",
    "errors": "BillblendError ClaimLost ClosedError ConfigurationError DecisionRefused "
    "DeliverAgain EventsMissed InvalidInput JournalDamaged JournalError JournalMismatch "
    "JournalRolledBack JournalUnavailable PayoutConflict PayoutNotFound Problem RequestNeeded "
    "SendingStopped SigningFailed UnreadableAnswer VerificationFailed",
    "journal": "Journal Owner",
    "journal.postgres": "PostgresJournal",
    "journal.sqlite": "SqliteJournal",
    "core.models": "Alarm Deadlines Doubt Endpoint Flow OpenReason Outcome Polling State",
    "orchestrator.observer": "Events Notice Observer",
    "orchestrator.orchestrator": "Orchestrator",
    "integrations.otel": "OpenTelemetryObserver",
    "core.payout": "Payout",
    "core.request": "PayoutRequest",
    "gateway.credentials": "Credentials RsaSigner Signer",
    "gateway.exchange": "Timeouts",
    "gateway.httpx_transport": "SigningTransport",
}
_DOORS = {name: room for room, names in _ROOMS.items() for name in names.split()}


_EXTRAS: Final = {
    "aiohttp": "aiohttp",
    "dbos": "dbos",
    "openpyxl": "xlsx",
    "psycopg": "postgres",
    "rich": "cli",
    "starlette": "cli",
    "uvicorn": "cli",
}
"""The extra that brings each package that the core does without."""


def advice(missing: ModuleNotFoundError) -> str | None:
    """Say how to install what is missing; None when no extra of ours brings it."""
    package = (missing.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return None
    extra = _EXTRAS[package]
    return f"{package} is missing; install it with: pip install 'billblend-async[{extra}]'"


# A library is silent unless its host listens.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    """Open a door: import the module that holds a public name."""
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    missing: ModuleNotFoundError
    try:
        value = getattr(import_module(f".{_DOORS[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if (told := advice(error)) is None:
            raise
        missing = ModuleNotFoundError(f"{name}: {told}", name=error.name)
    else:
        globals()[name] = value
        return value
    raise missing


def __dir__() -> list[str]:
    """List the public names, opened or not."""
    return sorted({*globals(), *__all__})
