"""An asyncio client and payout orchestrator for the Billblend payment gateway.

Every name below is imported when it is first used, so that ``import billblend_async`` costs
nothing and the pure parts load where an HTTP library may not.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .extras import advice

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .answers import (
        Accepted,
        NoAnswer,
        NotFound,
        NotSent,
        Refused,
        Status,
        StatusReport,
        Unknown,
    )
    from .callbacks import Callback, FinalRedirect, read_final_redirect, verify_callback
    from .client import Client
    from .delivery import Delivery
    from .endpoint import CallbackEndpoint, answer_callback
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
    from .exchange import Timeouts
    from .feed import Events, Notice
    from .journal import Journal, Owner
    from .journal.postgres import PostgresJournal
    from .journal.sqlite import SqliteJournal
    from .keys import Credentials, RsaSigner, Signer
    from .models import (
        Alarm,
        Deadlines,
        Doubt,
        Endpoint,
        Flow,
        OpenReason,
        Outcome,
        State,
    )
    from .observer import Observer
    from .orchestrator import Orchestrator
    from .otel import OpenTelemetryObserver
    from .payout import Payout
    from .polling import Polling
    from .request import PayoutRequest
    from .steps import Done, Waiting
    from .transport import SigningTransport

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
    "answers": "Accepted NoAnswer NotFound NotSent Refused Status StatusReport Unknown",
    "callbacks": "Callback FinalRedirect read_final_redirect verify_callback",
    "client": "Client",
    "delivery": "Delivery",
    "steps": "Done Waiting",
    "endpoint": "CallbackEndpoint answer_callback",
    "errors": "BillblendError ClaimLost ClosedError ConfigurationError DecisionRefused "
    "DeliverAgain EventsMissed InvalidInput JournalDamaged JournalError JournalMismatch "
    "JournalRolledBack JournalUnavailable PayoutConflict PayoutNotFound Problem RequestNeeded "
    "SendingStopped SigningFailed UnreadableAnswer VerificationFailed",
    "feed": "Events Notice",
    "journal": "Journal Owner",
    "journal.postgres": "PostgresJournal",
    "journal.sqlite": "SqliteJournal",
    "models": "Alarm Deadlines Doubt Endpoint Flow OpenReason Outcome State",
    "observer": "Observer",
    "orchestrator": "Orchestrator",
    "otel": "OpenTelemetryObserver",
    "payout": "Payout",
    "polling": "Polling",
    "request": "PayoutRequest",
    "keys": "Credentials RsaSigner Signer",
    "exchange": "Timeouts",
    "transport": "SigningTransport",
}
_DOORS = {name: room for room, names in _ROOMS.items() for name in names.split()}


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
