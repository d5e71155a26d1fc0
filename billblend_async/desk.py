"""Opens what a command works with, from the settings of its environment."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import ConfigurationError
from .models import Deadlines
from .polling import Polling
from .settings import Settings

if TYPE_CHECKING:
    from .client import Client
    from .means import Observers
    from .orchestrator import Orchestrator
    from .redirects import OnRedirect

__all__ = ["check_content", "check_journal", "make_client", "make_orchestrator"]

_SQLITE: Final = b"SQLite format 3\0"


def make_client(settings: Settings) -> "Client":
    """Make a client of the endpoint that the settings name."""
    from .client import Client

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
    journal: Path,
    *,
    polling: Polling = Polling(),
    deadlines: Deadlines = Deadlines(),
    observer: "Observers | None" = None,
    on_redirect: "OnRedirect | None" = None,
    server_callback_url: str | None = None,
) -> "Orchestrator":
    """Make an orchestrator over a journal in a file."""
    from .journal.sqlite import SqliteJournal
    from .orchestrator import Orchestrator

    return Orchestrator(
        client,
        SqliteJournal(journal),
        polling=polling,
        deadlines=deadlines,
        observer=observer,
        on_redirect=on_redirect,
        server_callback_url=server_callback_url,
    )


def check_journal(journal: Path | None) -> None:
    """Refuse a journal that is not there: a new one knows nothing, so its path is a mistake."""
    if journal is None:
        return
    check_content(journal)
    reason = "there is no such file"
    try:
        if journal.is_file():
            reason = ""
    except OSError as error:
        reason = f"it cannot be looked at ({error.strerror}); mend the permissions"
    if reason:
        raise ConfigurationError(f"--journal {journal}: {reason}")


def check_content(journal: Path | None) -> None:
    """Refuse what is no journal in a file, such as the payouts file itself."""
    if str(journal) == ":memory:":
        wrong = "a journal in memory forgets who was paid; give a file's path"
        raise ConfigurationError(f"--journal {journal}: {wrong}")
    if journal is None or not journal.is_file():
        return
    if journal.with_name(f"{journal.name}.key").exists():
        return  # it was one: what has become of it is told where it is opened
    reason = ""
    try:
        with journal.open("rb") as file:
            start = file.read(len(_SQLITE))
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    else:
        if start and start != _SQLITE:
            reason = "this is no journal; give the path of one, or of a file that is not there yet"
    if reason:
        raise ConfigurationError(f"--journal {journal}: {reason}")
