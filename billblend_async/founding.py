"""Makes a journal in a database: its tables, and the key that belongs to them."""

import os

from .errors import ConfigurationError, JournalMismatch
from .places import JOURNAL_KEY, DatabasePlace

__all__ = ["found"]


async def found(place: DatabasePlace) -> tuple[int, int, bool]:
    """Make the tables of a journal, and its key where there is none.

    Returns:
        The version of the tables before, 0 for none, the version now, and whether a key was made.

    Raises:
        ConfigurationError: The key is not here, but the journal has one.
        JournalError: The database cannot be reached or refuses it.
    """
    from .journal.files import make_key
    from .journal.postgres import PostgresJournal

    path = place.key_file()
    is_made = not path.exists()
    if is_made:
        try:
            make_key(path, os.urandom(32))  # before the tables, which are never without it then
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(
                f"{JOURNAL_KEY}: {path}: {reason}; give another path"
            ) from None
    is_kept = False
    journal = PostgresJournal(place.url, key=place.read_key(), schema=place.schema)
    try:
        before, now = await journal.initialise()
        is_kept = True
    except JournalMismatch as error:
        if not is_made or error.field != "fingerprint key":
            raise
    finally:
        await journal.aclose()
        if is_made and not is_kept:
            path.unlink()
    if is_kept:
        return before, now, is_made
    raise ConfigurationError(
        f"{JOURNAL_KEY}: {path} is not there, and this journal has a key already; copy its file "
        "from a machine that has it"
    )
