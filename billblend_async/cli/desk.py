"""Opens what a command works with, from the settings of its environment."""

from typing import TYPE_CHECKING

from ..core.models import Deadlines, Polling
from ..journal.location import Place

if TYPE_CHECKING:
    from ..gateway.client import Client
    from ..gateway.settings import Settings
    from ..orchestrator.context import Observers
    from ..orchestrator.orchestrator import Orchestrator
    from ..orchestrator.redirects import OnRedirect

__all__ = ["make_client", "make_orchestrator"]


def make_client(settings: "Settings") -> "Client":
    """Make a client of the endpoint that the settings name."""
    from ..gateway.client import Client

    endpoint = settings.endpoint
    return Client(
        settings.credentials,
        endpoint_id=endpoint.endpoint_id,
        endpoint_group_id=endpoint.endpoint_group_id,
        base_url=endpoint.base_url,
        status_version=settings.status_version,
        poll_transport=settings.poll_transport,
    )


def make_orchestrator(
    client: "Client",
    journal: Place,
    *,
    polling: Polling = Polling(),
    deadlines: Deadlines = Deadlines(),
    observer: "Observers | None" = None,
    on_redirect: "OnRedirect | None" = None,
    server_callback_url: str | None = None,
) -> "Orchestrator":
    """Make an orchestrator over a journal."""
    from ..orchestrator.orchestrator import Orchestrator

    return Orchestrator(
        client,
        journal.journal(),
        polling=polling,
        deadlines=deadlines,
        observer=observer,
        on_redirect=on_redirect,
        server_callback_url=server_callback_url,
    )
