"""Connections to PostgreSQL: transactions, and the retry of what a lost connection interrupted.

Nothing is prepared and nothing outlives its transaction, so a pooler in transaction mode may stand
between.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from ..errors import ConfigurationError, JournalUnavailable

__all__ = [
    "Attempts",
    "Connections",
    "Lost",
    "OwnPool",
    "Pool",
    "Row",
    "Transaction",
    "describe",
    "is_local",
]

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


class Lost(Exception):
    """An attempt has failed in a way that another one may not; what it wanted may have happened."""


class Attempts:
    """Makes attempts until one succeeds or the patience is used up.

    Args:
        name: The journal's, for errors.
        patience: Seconds after which whoever waits is told.
    """

    def __init__(self, name: str, patience: float) -> None:
        self._name = name
        self._patience = patience
        self._abandoned: set[asyncio.Future[Any]] = set()

    async def make(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work that may be done twice.

        Raises:
            JournalUnavailable: It did not succeed in time; what it wanted may have happened.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._patience, _FIRST_PAUSE
        while True:
            task = asyncio.ensure_future(work())
            try:
                await asyncio.wait({task}, timeout=max(0.0, until - loop.time()))
            except asyncio.CancelledError:
                self._abandon(task)
                raise
            if not task.done():
                # It cannot be waited for: a connection that nobody answers on ends in minutes.
                self._abandon(task)
                raise self._unavailable(f"it has not answered for {self._patience:g} seconds")
            lost = task.exception()
            if not isinstance(lost, Lost):
                return task.result()
            if loop.time() + pause >= until:
                raise self._unavailable(str(lost))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _abandon(self, task: asyncio.Future[Any]) -> None:
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # nobody else looks at it

    def _unavailable(self, reason: str) -> JournalUnavailable:
        return JournalUnavailable(self._name, reason)


Row = tuple[Any, ...]

SILENCE: Final = 5.0
"""Seconds after which the server ends a transaction whose program says nothing more."""
_OURS: Final[Mapping[str, str | int]] = {
    # A server that is gone is noticed while somebody waits for it.
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "billblend_async",
}
_ENCODING: Final = "UTF8"
"""In which text travels: in another one ids may come back as other ones, or as bytes."""
_WORTH_ANOTHER: Final = (
    *("08", "40", "53", "57"),  # connections, rollbacks, resources, operators
    # A standby that is about to be the primary; our own silence; a lock that is held.
    *("25006", "25P03", "55P03"),
)
_NO_TABLES: Final = ("3F000", "42P01")
_PASSING: Final = ("starting up", "shutting down", "recovery", "too many", "remaining connection")
"""What a server says that will take connections soon; whatever else it refuses stays refused."""


class Pool(Protocol):
    """Where connections come from: ours, or the host's ``psycopg_pool.AsyncConnectionPool``."""

    def connection(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """Lend a connection; commit when it comes back, or roll back if that raises."""
        ...


@attrs.frozen
class Transaction:
    """A transaction in which each statement sees what was committed before it."""

    _connection: psycopg.AsyncConnection[Any]
    _pipeline: psycopg.AsyncPipeline
    _schema: str

    @property
    def is_exposed(self) -> bool:
        """Whether others on the way to the server can read what is said: it travels without TLS."""
        link = self._connection.pgconn
        host, address = link.host.decode(), link.hostaddr.decode()
        return not link.ssl_in_use and not is_local(host, address)

    async def run(self, sql: str, values: Mapping[str, object] | None = None) -> None:
        """Have a statement executed, without waiting for that."""
        await self._execute(sql, values)

    async def rows(self, sql: str, values: Mapping[str, object] | None = None) -> list[Row]:
        """Execute a statement and fetch its rows."""
        [rows] = await self.each((sql, values))
        return rows

    async def each(self, *statements: tuple[str, Mapping[str, object] | None]) -> list[list[Row]]:
        """Execute some statements in one round trip and fetch the rows of each."""
        cursors = [await self._execute(sql, values) for sql, values in statements]
        await self._pipeline.sync()  # or the server would not count our silence
        return [await cursor.fetchall() for cursor in cursors]

    async def _execute(
        self, sql: str, values: Mapping[str, object] | None
    ) -> psycopg.AsyncCursor[Row]:
        cursor = self._connection.cursor(row_factory=tuple_row)  # a host's pool may have its own
        text = sql.replace("{schema}", self._schema).encode()
        return await cursor.execute(text, values, prepare=False)


@attrs.frozen
class Connections:
    """Opens transactions on a pool's connections.

    Attributes:
        pool: Where connections come from.
        schema: The schema that ``{schema}`` stands for.
        name: The journal's, for errors.
    """

    pool: Pool
    schema: str
    name: str

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a transaction; its statements are sent together until one's rows are fetched.

        Raises:
            Lost: It has failed in a way that another attempt may not; it may have been committed.
            JournalUnavailable: It was refused.
        """
        with self._telling():
            async with (
                self._lent() as connection,
                connection.pipeline() as pipeline,
                connection.transaction(),
            ):
                transaction = Transaction(connection, pipeline, self.schema)
                # Whatever the role or the pool prefers: a second look must see what has changed.
                await transaction.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                # A program that stands still in between, or whose machine is gone, holds its locks
                # until the server hears of that, which by default takes hours.
                silence = f"SET LOCAL idle_in_transaction_session_timeout = {1000 * SILENCE:.0f}"
                await transaction.run(silence)
                yield transaction

    @contextlib.asynccontextmanager
    async def _lent(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Borrow a connection; a host's pool may have set up its own in any way."""
        async with self.pool.connection() as connection:
            encoding = connection.pgconn.parameter_status(b"client_encoding")
            if encoding not in (None, _ENCODING.encode()):  # a pooler may not tell
                wrong = "the connections of its pool do not use client_encoding UTF8; set that"
                raise JournalUnavailable(self.name, wrong)
            yield connection

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Say in our words what failed; foreign errors, which may hold data, stay behind."""
        told: Exception | None = None
        try:
            yield
        except psycopg.Error as error:
            told = self._told(error)
        except TimeoutError:
            told = Lost("it cannot be reached in time")
        except OSError as error:
            told = Lost(error.strerror or type(error).__name__)
        if told is not None:
            raise told

    def _told(self, error: psycopg.Error) -> Exception:
        kind, state = type(error).__name__, error.sqlstate
        if state is None:
            # The connection itself has failed, and what is said of that holds no data.
            reason = " ".join(str(error).split()) or kind
            is_refused = "FATAL" in reason and not any(word in reason for word in _PASSING)
            return JournalUnavailable(self.name, reason) if is_refused else Lost(reason)
        if state in _NO_TABLES:
            missing = f"there are no tables of a journal in schema {self.schema}"
            make = "billblend journal init (or PostgresJournal.initialise) makes them"
            return JournalUnavailable(self.name, f"{missing}; {make}")
        reason = f"PostgreSQL refuses it ({kind}, {state})"
        is_passing = state.startswith(_WORTH_ANOTHER)
        return Lost(reason) if is_passing else JournalUnavailable(self.name, reason)


class OwnPool:
    """Connections of our own, made when they are needed; as many are kept as are used at once.

    Args:
        conninfo: A connection string or URL; what it does not say of time limits is added, and
            text always travels as UTF-8, whatever ``PGCLIENTENCODING`` says.
    """

    def __init__(self, conninfo: str) -> None:
        given: dict[str, Any] = conninfo_to_dict(conninfo)
        self._conninfo = make_conninfo(conninfo, **{**_OURS, **given, "client_encoding": _ENCODING})
        self._idle: list[psycopg.AsyncConnection[Any]] = []

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Lend a connection; one that fails is not used again."""
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            yield connection
        except BaseException:
            await connection.close()
            raise
        self._idle.append(connection)

    async def aclose(self) -> None:
        """Close what is not in use."""
        while self._idle:
            await self._idle.pop().close()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, prepare_threshold=None
        )


def is_local(host: str, address: str) -> bool:
    """Tell whether a server is reached without leaving this machine.

    Args:
        host: Its name or address, or the directory of its socket.
        address: The address that was found for it; empty where none was needed.
    """
    if host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(address or host).is_loopback
    except ValueError:
        return False


def describe(conninfo: str) -> str:
    """Name a database without its secrets.

    Raises:
        ConfigurationError: It is no connection string.
    """
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        given = None
    if given is None:  # out here, since libpq's own error may repeat the password
        raise ConfigurationError(
            "the journal's database: must be a connection string or URL of PostgreSQL, such as"
            " postgresql://user@host/database"
        )
    host, port = given.get("host") or "", given.get("port")
    return f"postgresql://{host}{f':{port}' if port else ''}/{given.get('dbname') or ''}"
