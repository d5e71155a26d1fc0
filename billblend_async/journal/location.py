"""Where a journal lies: in a file of this machine, or in a database that many machines share.

It also makes a journal in a database: the tables, and the key that belongs to them.
"""

import argparse
import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

import attrs

from ..core.payout import Payout
from ..errors import ConfigurationError, JournalMismatch, JournalUnavailable

if TYPE_CHECKING:
    from . import Journal, Owner
    from .postgres import PostgresReader
    from .sqlite import SqliteReader

__all__ = [
    "JOURNAL_HELP",
    "JOURNAL_KEY",
    "JOURNAL_SCHEMA",
    "DatabasePlace",
    "FilePlace",
    "Lookup",
    "Place",
    "Reader",
    "found",
    "read_address",
    "read_place",
]

JOURNAL_HELP: Final = "the journal: a file, or the postgresql:// address of a database"
JOURNAL_KEY: Final = "BILLBLEND_JOURNAL_KEY"
JOURNAL_SCHEMA: Final = "BILLBLEND_JOURNAL_SCHEMA"
_SQLITE: Final = b"SQLite format 3\0"
_SCHEMES: Final = ("postgresql://", "postgres://")
_SUCH_AS: Final = "such as postgresql://user@host/database"
_SECRETS: Final = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
"""Parameters of libpq's that nobody else may see."""
_CONNECTION_STRING: Final = re.compile(
    r"\s*(?:host|hostaddr|port|dbname|user|password|passfile|service|options|ssl\w+)\s*="
)
"""How libpq's other form begins."""
_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")


class Lookup(Protocol):
    """A journal in which payouts are looked up before a run."""

    @property
    def fingerprint_key(self) -> bytes:
        """The secret under which receivers are fingerprinted; empty where no payout is known."""
        ...

    @property
    def holds_payouts(self) -> bool:
        """Whether it holds any payout."""
        ...

    @property
    def is_restored(self) -> bool:
        """Whether it was declared restored from a copy: it asks before it sends anything."""
        ...

    def find(self, client_orderids: Sequence[str]) -> Iterator[Payout | None]:
        """Look payouts up in this order; None for each that the journal does not know."""
        ...

    def names(self) -> Iterable[str]:
        """Iterate over the ids of all payouts, none of which is read."""
        ...


class Reader(Protocol):
    """A journal of which a report is made."""

    def owner(self) -> "Owner | None":
        """Tell whose payouts it holds; None where nobody has opened it yet."""
        ...

    def identity(self) -> object:
        """Name what is read, so that it is noticed when something else has taken its place."""
        ...

    def payouts(
        self, known: Mapping[str, int] | None = None, *, listed: set[str] | None = None
    ) -> Iterator[Payout]:
        """Iterate over the payouts, except those that are known as they stand.

        Args:
            known: Sequences by client_orderid.
            listed: Takes in the ids of all that are there, passed over or not.
        """
        ...


class Place(Protocol):
    """Where a journal lies, as the command line names it; its text is what was typed."""

    @property
    def title(self) -> str:
        """A short name for people."""
        ...

    @property
    def label(self) -> str:
        """All that tells it from other journals, for a person who decides about money."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of it, which nothing else may be written over."""
        ...

    def is_new(self) -> bool:
        """Tell whether nobody has run payouts from it yet.

        Raises:
            JournalError: It cannot be looked at.
        """
        ...

    def check(self, *, must_exist: bool = True) -> None:
        """Refuse what is no journal, and one that is not there: it knows nothing of anybody paid.

        Raises:
            ConfigurationError: It is none; the message says what to give.
        """
        ...

    def journal(self) -> "Journal":
        """Make the journal, to run payouts from."""
        ...

    def lookup(self, owner: "Owner", *, is_sending: bool = True) -> AbstractContextManager[Lookup]:
        """Open it for somebody who is about to run payouts, and change nothing.

        Args:
            owner: Whose payouts it must hold.
            is_sending: Whether it must take what a run writes; it need not for a dry run.

        Raises:
            JournalError: It cannot be read or written, or is somebody else's.
        """
        ...

    def reader(self) -> AbstractContextManager[Reader]:
        """Open it for a report, and change nothing."""
        ...


@attrs.frozen
class FilePlace:
    """A file of SQLite's on this machine.

    Attributes:
        path: The file; its key lies beside it.
    """

    path: Path

    def __str__(self) -> str:
        """Read as it was typed."""
        return str(self.path)

    @property
    def title(self) -> str:
        """The name of the file."""
        return self.path.name

    @property
    def label(self) -> str:
        """The path of the file."""
        return str(self.path)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file and what SQLite and we lay beside it."""
        from .key_file import siblings

        if not self.path.name:
            raise ConfigurationError(f"--journal {self}: this is a directory; give a file's path")
        return siblings(self.path)

    def is_new(self) -> bool:
        """Tell whether the file is not there."""
        return not self.path.exists()

    def check(self, *, must_exist: bool = True) -> None:
        """Refuse what is no journal in a file, such as the payouts file itself."""
        if str(self.path) == ":memory:":
            wrong = "a journal in memory forgets who was paid; give a file's path"
            raise ConfigurationError(f"--journal {self}: {wrong}")
        reason = self._wrong_content() or (self._wrong_place() if must_exist else "")
        if reason:
            raise ConfigurationError(f"--journal {self}: {reason}")

    def journal(self) -> "Journal":
        """Make the journal; the file is made when it is opened."""
        from .sqlite import SqliteJournal

        return SqliteJournal(self.path)

    @contextlib.contextmanager
    def lookup(self, owner: "Owner", *, is_sending: bool = True) -> Iterator[Lookup]:  # noqa: ARG002 - a run itself opens the file before it sends
        """Open the file for questions before a run."""
        from .sqlite import SqliteReader

        with SqliteReader(self.path) as reader:
            reader.check(owner)
            yield reader

    def reader(self) -> "SqliteReader":
        """Open the file for a report."""
        from .sqlite import SqliteReader

        return SqliteReader(self.path, is_reader=True)

    def _wrong_place(self) -> str:
        try:
            return "" if self.path.is_file() else "there is no such file"
        except OSError as error:
            return f"it cannot be looked at ({error.strerror}); mend the permissions"

    def _wrong_content(self) -> str:
        from .key_file import has_key

        if not self.path.is_file() or has_key(self.path):
            return ""  # with a key it was one: what has become of it is told where it is opened
        try:
            with self.path.open("rb") as file:
                start = file.read(len(_SQLITE))
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if start and start != _SQLITE:
            return "this is no journal; give the path of one, or of a file that is not there yet"
        return ""


@attrs.frozen
class DatabasePlace:
    """A schema of a PostgreSQL database.

    The schema and the path of the key's file come from the environment, so that every command
    and every machine name the journal in one way.

    Attributes:
        url: Its address, without a password.
        environ: Where the other settings are.
    """

    url: str
    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ, repr=False, eq=False)

    def __str__(self) -> str:
        """Read as it was typed."""
        return self.url

    @property
    def title(self) -> str:
        """The name of the database and of the schema."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"postgresql://{host}{parts.path} (schema {self.schema})"

    @property
    def label(self) -> str:
        """The same: the schemas of a database are journals of their own."""
        return self.title

    @property
    def files(self) -> tuple[Path, ...]:
        """The key's file."""
        path = self.environ.get(JOURNAL_KEY, "").strip()
        return (Path(path),) if path else ()

    @property
    def schema(self) -> str:
        """The schema of its tables.

        Raises:
            ConfigurationError: It is no name of a schema.
        """
        from .postgres_store import check_schema

        return check_schema(
            self.environ.get(JOURNAL_SCHEMA, "").strip() or "billblend", JOURNAL_SCHEMA
        )

    def is_new(self) -> bool:
        """Tell whether no program has opened it yet."""
        with self.reader() as reader:
            return reader.owner() is None

    def check(self, *, must_exist: bool = True) -> None:  # noqa: ARG002 - init makes it, and no run
        """Refuse settings with which it cannot be opened."""
        _ = self.schema
        self.read_key()

    def journal(self) -> "Journal":
        """Make the journal."""
        from .postgres import PostgresJournal

        return PostgresJournal(self.url, key=self.read_key(), schema=self.schema)

    @contextlib.contextmanager
    def lookup(self, owner: "Owner", *, is_sending: bool = True) -> Iterator[Lookup]:
        """Open it for questions before a run."""
        with self._reader() as reader:
            reader.check(owner, is_sending=is_sending)
            yield reader

    def reader(self) -> "PostgresReader":
        """Open it for a report."""
        return self._reader(is_reader=True)

    def read_key(self) -> bytes:
        """Read the journal's key.

        Raises:
            ConfigurationError: There is none; the message says what to do.
        """
        from .key_file import read_key

        path = self.key_file()
        try:
            key = read_key(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "cannot be read"
        else:
            if key is not None:
                return key
            reason = "holds no key of a journal"
        raise ConfigurationError(
            f"{JOURNAL_KEY}: {path}: {reason}; copy the journal's key file from a machine that has "
            "it, or let billblend journal init make the first one"
        )

    def key_file(self) -> Path:
        """Tell where the journal's key is kept on this machine."""
        if not self.files:
            raise ConfigurationError(
                f"{JOURNAL_KEY} is not set; give the path of the journal's key file, which "
                "billblend journal init makes"
            )
        if _KEY.fullmatch(str(self.files[0])):
            raise ConfigurationError(f"{JOURNAL_KEY} must be the path of a file, not the key")
        return self.files[0]

    def _reader(self, *, is_reader: bool = False) -> "PostgresReader":
        from .postgres import PostgresReader

        return PostgresReader(
            self.url, key=self.read_key(), schema=self.schema, is_reader=is_reader
        )


def read_place(text: str) -> FilePlace | DatabasePlace:
    """Read where a journal lies from the command line.

    What looks like another way to name a database is no new file: that would know nobody who was
    paid.
    """
    if text.startswith(_SCHEMES):
        return DatabasePlace(read_address(text))
    if "://" in text or _CONNECTION_STRING.match(text):
        raise argparse.ArgumentTypeError(f"must be a file's path, or an address {_SUCH_AS}")
    return FilePlace(Path(text))


def read_address(text: str) -> str:
    """Read the address of a database from the command line, which others can see.

    It is taken apart as libpq does it, which lets a password hold nearly everything.
    """
    scheme, _, rest = text.partition("://")
    query = parse_qsl(rest.partition("?")[2])
    if f"{scheme}://" not in _SCHEMES or "#" in rest.rpartition("@")[2] or not _is_whole(rest):
        raise argparse.ArgumentTypeError(f"must be an address {_SUCH_AS}")
    if ":" in rest.rpartition("@")[0] or any(value and name in _SECRETS for name, value in query):
        raise argparse.ArgumentTypeError(
            "leave the password out, which others can see; use PGPASSWORD or ~/.pgpass"
        )
    return text


def _is_whole(rest: str) -> bool:
    """Tell whether an address can be taken apart at all."""
    try:
        urlsplit(f"postgresql://{rest.rpartition('@')[2]}")
    except ValueError:
        return False
    return rest.isprintable() and " " not in rest


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
