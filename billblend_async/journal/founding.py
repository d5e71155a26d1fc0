"""Makes a journal in a database: its tables, and the key that belongs to them."""

import os

import attrs

from ..errors import ConfigurationError, JournalMismatch, JournalUnavailable
from .location import JOURNAL_KEY, DatabasePlace

__all__ = ["found"]


async def found(place: DatabasePlace) -> tuple[int, int, bool]:
    """Make the tables of a journal, and its key where there is none.

    Returns:
        The version of the tables before, 0 for none, the version now, and whether a key was made.

    Raises:
        ConfigurationError: The key is not here, but the journal has one.
        JournalError: The database cannot be reached or refuses it; a key that was made is kept.
    """
    from .key_file import make_key
    from .postgres import PostgresJournal

    path, schema = place.key_file(), place.schema
    try:
        # Before the tables, which are never without it then.
        is_made = not path.exists() and make_key(path, os.urandom(32))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{JOURNAL_KEY}: {path}: {reason}; give another path") from None
    journal = PostgresJournal(place.url, key=place.read_key(), schema=schema)
    problem: ConfigurationError | JournalUnavailable
    try:
        before, now = await journal.initialise()
    except JournalMismatch as error:
        if not is_made or error.field != "fingerprint key":
            raise
        path.unlink()  # only now is it certain that nothing depends on it
        problem = ConfigurationError(
            f"{JOURNAL_KEY}: {path} is not there, and this journal has a key already; copy its "
            "file from a machine that has it"
        )
    except JournalUnavailable as error:
        if not is_made:
            raise
        # What has failed may have been committed, and then this is the journal's only key.
        kept = f"its key is kept in {path}; run init again"
        problem = attrs.evolve(error, reason=f"{error.reason}; {kept}")
    else:
        return before, now, is_made
    finally:
        await journal.aclose()
    raise problem
