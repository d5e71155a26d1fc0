"""A second process at a journal; run as a file by test_journal.py.

``claim PATH COUNT`` says "ready", waits for a line, races for the claims and prints the won ones.
``write PATH WHO`` writes until it is killed and prints each step once the journal has taken it.
``fill PATH BYTES`` writes until the file may grow no more, then lifts that limit and goes on.
``watch PATH`` uses a journal and prints what its event loop's thread did to the files.
"""

import asyncio
import resource
import sys
import threading
from collections.abc import Coroutine
from typing import Any

from journal_cases import OWNER, grow, listed, live
from payouts import PATHS, START, opened

from billblend_async.core.events import CheckStarted
from billblend_async.core.machine import Payout
from billblend_async.core.models import State
from billblend_async.errors import ClaimLost, JournalUnavailable
from billblend_async.journal.sqlite import SqliteJournal


def say(*words: object) -> None:
    """Print a line at once."""
    print(*words, flush=True)  # noqa: T201 - read by the test


async def claim(path: str, count: str) -> None:
    """Race for the claims of ``po-0`` … and print the won ones."""
    journal = SqliteJournal(path)
    await journal.open(OWNER)
    say("ready")
    sys.stdin.readline()

    async def one(name: str) -> None:
        first = opened(name)
        await journal.accept(first)
        [step] = grow(first, (CheckStarted(at=START),))
        try:
            await journal.append(*step)
        except ClaimLost:
            return
        say(name)

    await asyncio.gather(*(one(f"po-{number}") for number in range(int(count))))
    await journal.aclose()


async def write(path: str, who: str) -> None:
    """Lead payouts to their end, eight at a time, until somebody kills this process."""
    journal = SqliteJournal(path)
    await journal.open(OWNER)

    async def line(number: int) -> None:
        while True:
            first = opened(f"{who}-{number}")
            await journal.accept(first)
            say(first.client_orderid, 0)
            for becomes, event in grow(first, PATHS[State.FINAL]):
                await journal.append(becomes, event)
                say(first.client_orderid, becomes.sequence)
            number += 8

    await asyncio.gather(*(line(number) for number in range(8)))


async def fill(path: str, size: str) -> None:
    """Write until the file is full, say how far that came, and go on with more room."""
    journal = SqliteJournal(path)
    await journal.open(OWNER)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), most))
    taken: list[str] = []
    try:
        while True:
            name = f"po-{len(taken)}"
            taken.append((await live(journal, opened(name), PATHS[State.FINAL])).client_orderid)
    except JournalUnavailable as error:
        say("full", error)
    late = [f"late-{number}" for number in range(200)]
    results = await asyncio.gather(
        *(journal.accept(opened(name)) for name in late), return_exceptions=True
    )
    late = [name for name, result in zip(late, results, strict=True) if isinstance(result, Payout)]
    say("refused", sum(isinstance(result, JournalUnavailable) for result in results))
    say("expected", taken + late)
    say("held", [name for name in await listed(journal) if name in late or name in taken])
    say("final", len(await listed(journal, State.FINAL)), len(taken))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    say("after", (await live(journal, opened("after"), PATHS[State.FINAL])).state)
    await journal.aclose()


async def watch(path: str) -> None:
    """Use a journal in every way and print what the loop's thread did to its files."""
    loop_thread = threading.get_ident()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if threading.get_ident() == loop_thread and path in repr(arguments):
            say("touched", event)

    sys.addaudithook(hook)
    journal = SqliteJournal(path)
    await journal.open(OWNER)
    await live(journal, opened(), PATHS[State.FINAL])
    await journal.history("po-1")
    say("listed", [payout.client_orderid async for payout in journal.payouts()])
    await journal.aclose()


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    programs: dict[str, Any] = {"claim": claim, "write": write, "fill": fill, "watch": watch}
    program: Coroutine[Any, Any, None] = programs[name](*arguments)
    asyncio.run(program)
