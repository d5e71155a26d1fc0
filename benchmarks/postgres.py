"""A real PostgreSQL of this machine, started and stopped by whoever measures or tests with it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final, Self

__all__ = ["MISSING", "Postgres", "find_programs", "is_needed", "running_postgres"]

NEEDED: Final = "BILLBLEND_NEED_POSTGRES"
"""With this in the environment a test that misses PostgreSQL fails."""
MISSING: Final = (
    "PostgreSQL is not installed: apt-get install postgresql (its server programs are enough;"
    " nothing of it need run)"
)
PATIENCE: Final = 30.0
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "log_min_messages": "fatal",
}
_SCHEMAS: Final = count(1)
_DATABASES: Final = count(1)


def find_programs() -> Path | None:
    """Find the directory with the server's programs."""
    found = shutil.which("postgres")
    if found and shutil.which("initdb"):
        return Path(found).resolve().parent
    kept = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3])
    )
    return kept[-1].parent if kept else None


def is_needed() -> bool:
    """Tell whether a test that misses PostgreSQL must fail instead of being skipped."""
    return bool(os.environ.get(NEEDED))


class Postgres:
    """One server with a data directory of its own, on a port of its own of 127.0.0.1.

    Args:
        programs: Where its programs are.
        directory: Where its data go.
        core: The core that all its processes keep to; None for any.
    """

    def __init__(self, programs: Path, directory: Path, core: int | None = None) -> None:
        self._programs = programs
        self._data = directory / "data"
        self._directory = directory
        self._core = core
        self._server: subprocess.Popen[bytes] | None = None
        self._pooler: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        # PostgreSQL refuses to run as root.
        self._user: int | None = None
        self._group: int | None = None
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres" if _has_user("postgres") else "nobody")
            self._user, self._group = user.pw_uid, user.pw_gid
            os.chown(directory, self._user, self._group)

    @property
    def url(self) -> str:
        """How to connect to it."""
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"

    def new_schema(self) -> str:
        """Name a schema that nobody has used."""
        return f"journal_{os.getpid()}_{next(_SCHEMAS)}"

    def new_database(self) -> str:
        """Make a database that nobody has used and say how to connect to it."""
        name = f"database_{next(_DATABASES)}"
        where = ("-h", "127.0.0.1", "-p", self.port, "-U", "tester")
        self._call("createdb", *where, name)
        return f"postgresql://tester@127.0.0.1:{self.port}/{name}"

    def make(self) -> Self:
        """Make its data directory."""
        self._call("initdb", "-D", self._data, "-U", "tester", "-A", "trust", "-E", "UTF8", "-N")
        return self

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        settings = {**_SETTINGS, "port": str(self.port)}
        settings["unix_socket_directories"] = str(self._directory)
        arguments = [f"-c{name}={value}" for name, value in settings.items()]
        self._server = server = self._start(
            self._programs / "postgres", "-D", self._data, *arguments
        )
        if self._core is not None:  # the processes that it starts inherit it
            os.sched_setaffinity(server.pid, {self._core})
        until = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert server.poll() is None, "PostgreSQL has ended"
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends every connection, SIGQUIT or SIGKILL is a crash."""
        server, self._server = self._server, None
        if server is not None:
            # A crash takes the whole server: killed alone, the processes of its connections go on.
            server.send_signal(signal.SIGQUIT if how is signal.SIGKILL else how)
            server.wait(PATIENCE)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it and start it again."""
        self.stop(how)
        self.start()

    def start_pooler(self) -> str:
        """Start pgbouncer in transaction mode, with one connection to this server; say where."""
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        assert program is not None
        port, settings = _free_port(), self._directory / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={self.port} user=tester pool_size=2\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\nmax_client_conn = 100\n"
        )
        self._pooler = self._start(program, settings)
        until = time.monotonic() + PATIENCE
        while not self._is_ready(port):
            assert self._pooler.poll() is None, "pgbouncer has ended"
            assert time.monotonic() < until, "pgbouncer does not start"
            time.sleep(0.02)
        return f"postgresql://tester@127.0.0.1:{port}/postgres"

    def stop_pooler(self) -> None:
        """Stop pgbouncer, if it runs."""
        pooler, self._pooler = self._pooler, None
        if pooler is not None:
            pooler.terminate()
            pooler.wait(PATIENCE)

    def _start(self, *arguments: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(argument) for argument in arguments],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            group=self._group,
        )

    def _is_ready(self, port: int | None = None) -> bool:
        port = self.port if port is None else port
        asked = self._call("pg_isready", "-q", "-h", "127.0.0.1", "-p", port, check=False)
        return asked.returncode == 0

    def _call(
        self, program: str, *arguments: object, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._programs / program, *map(str, arguments)],
            cwd=self._directory,
            check=check,
            capture_output=True,
            timeout=PATIENCE,
            user=self._user,
            group=self._group,
        )


@contextmanager
def running_postgres(core: int | None = None) -> Iterator[Postgres | None]:
    """Run a server inside the block; None where PostgreSQL is not installed.

    Args:
        core: The core that all its processes keep to; None for any.
    """
    programs = find_programs()
    if programs is None:
        assert not is_needed(), MISSING
        yield None
        return
    # A short path of its own: a socket's path has at most 107 characters, and pytest's
    # directories are closed to the user that the server runs as.
    directory = Path(tempfile.mkdtemp(prefix="billblend-pg-"))
    server = Postgres(programs, directory, core).make()
    try:
        server.start()
        yield server
    finally:
        server.stop_pooler()
        server.stop(signal.SIGQUIT)  # what is thrown away need not be written down before
        shutil.rmtree(directory, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
