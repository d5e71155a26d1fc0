"""Who takes part, and what each is."""

from importlib.util import find_spec
from typing import Final, Literal

import attrs

from .settings import Loop, Settings, Transport

__all__ = ["ENTRANTS", "PLAIN", "TEXTBOOK", "THREADS", "Entrant", "Fast", "ours", "ways"]

Fast = Literal["aiohttp", "pyreqwest"]
"""The transports that may send status questions instead of httpx's own."""


@attrs.frozen(kw_only=True)
class Entrant:
    """One contestant with its settings.

    Attributes:
        name: What the tables call it.
        program: The module in ``contestants`` that it is.
        about: What it is, in a sentence.
        needs: Modules that must be there for it to run.
        transport: What sends our status questions.
        loop: Whose event loop runs it.
        shares: Whether its journal is in PostgreSQL, where several processes can share it.
    """

    name: str
    program: str
    about: str
    needs: tuple[str, ...] = ()
    transport: Transport = "httpx"
    loop: Loop = "asyncio"
    shares: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether everything is there that it needs."""
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not there."""
        return tuple(module for module in self.needs if find_spec(module) is None)

    def prepared(self, settings: Settings) -> Settings:
        """Give the settings that it runs with."""
        return attrs.evolve(settings, transport=self.transport, loop=self.loop)


def ours(transport: Transport, loop: Loop = "asyncio") -> Entrant:
    """Enter this library with one transport for its status questions."""
    needs = {"httpx": (), "aiohttp": ("aiohttp",), "pyreqwest": ("pyreqwest",)}[transport]
    return Entrant(
        name=f"ours, {transport}" + (", uvloop" if loop == "uvloop" else ""),
        program="ours",
        about=(
            "this library with its journal on disk; check and pay over httpx on fresh connections,"
            f" status over {transport}" + (", on uvloop" if loop == "uvloop" else "")
        ),
        needs=(*needs, *(("uvloop",) if loop == "uvloop" else ())),
        transport=transport,
        loop=loop,
    )


def ways(transport: Transport) -> tuple[Entrant, ...]:
    """Enter the ways to run payouts with this library, the simplest first."""
    alone = attrs.evolve(
        ours(transport),
        name="run_many over SQLite",
        about=f"`run_many` over a `SqliteJournal`, status over {transport}",
    )
    shared = attrs.evolve(
        alone,
        name="run_many over PostgreSQL",
        about="the same over a `PostgresJournal`",
        needs=(*alone.needs, "psycopg"),
        shares=True,
    )
    on_dbos = attrs.evolve(
        shared,
        name="DBOS over PostgreSQL",
        program="on_dbos",
        about="`DbosEngine` over the same journal, DBOS's tables in the same database",
        needs=(*shared.needs, "dbos"),
    )
    return alone, shared, on_dbos


TEXTBOOK: Final = Entrant(
    name="(a) textbook httpx",
    program="textbook_httpx",
    about=(
        "`httpx.AsyncClient` with its defaults, a signature as the OAuth pages show it,"
        " a tenacity loop for each wait, `asyncio.gather` over all"
    ),
)
THREADS: Final = Entrant(
    name="(b) requests, 200 threads",
    program="threads_requests",
    about="`requests` in 200 threads, signed by requests-oauthlib, `time.sleep` between polls",
    needs=("requests", "requests_oauthlib"),
)
PLAIN: Final = Entrant(
    name="(c) plain aiohttp",
    program="plain_aiohttp",
    about=(
        "aiohttp on kept connections with hand-written loops and our signing; no journal,"
        " no machine"
    ),
    needs=("aiohttp",),
)

ENTRANTS: Final = (
    ours("httpx"),
    ours("aiohttp"),
    ours("pyreqwest"),
    ours("aiohttp", "uvloop"),
    ours("pyreqwest", "uvloop"),
    PLAIN,
    TEXTBOOK,
    THREADS,
)
"""Everybody, ours first."""
