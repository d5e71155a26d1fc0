"""Who takes part, and what each is."""

from importlib.util import find_spec
from typing import Final, Literal

import attrs

from .settings import Loop, Settings, Transport

__all__ = ["ENTRANTS", "PLAIN", "TEXTBOOK", "THREADS", "Entrant", "Fast", "ours"]

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
    """

    name: str
    program: str
    about: str
    needs: tuple[str, ...] = ()
    transport: Transport = "httpx"
    loop: Loop = "asyncio"

    @property
    def is_installed(self) -> bool:
        """Whether everything is there that it needs."""
        return all(find_spec(module) is not None for module in self.needs)

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
