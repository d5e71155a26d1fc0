"""Planted bugs on a journal that programs share, and in programs that stand still."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs

from billblend_async.core.payout import Payout, open_payout
from billblend_async.errors import JournalUnavailable
from billblend_async.gateway.exchange import Departure
from billblend_async.journal import group_commit as groups
from billblend_async.journal import postgres
from billblend_async.journal.group_commit import Groups
from billblend_async.journal.postgres import PostgresJournal
from billblend_async.orchestrator import runner as driver

from . import server
from .planting import Garden, shared_bug

__all__: list[str] = []


@shared_bug
def takes_any_token_for_its_own(garden: Garden) -> None:
    """A step that anybody has written counts as one's own."""

    async def write(self: Any, jobs: Sequence[Any]) -> list[bool]:
        await rightly(self, jobs)
        return [True] * len(jobs)

    rightly = garden.replace(PostgresJournal, "_write", write)


@shared_bug
def tries_again_with_another_token(garden: Garden) -> None:
    """A step is written anew when it is tried again, and not recognised."""

    async def write(self: Any, jobs: Sequence[Any]) -> list[bool]:
        entries = [getattr(job, "opened", job) for job in jobs]

        async def work() -> set[bytes]:
            anew = [attrs.evolve(entry, token=self._random_bytes(16)) for entry in entries]
            written = await self._statements.write(self._wanted, anew, (), self._written)
            return {e.token for e, a in zip(entries, anew, strict=True) if a.token in written}

        written = await self._attempts.make(work)
        return [entry.token in written for entry in entries]

    garden.replace(PostgresJournal, "_write", write)


@shared_bug
def claims_before_it_is_durable(garden: Garden) -> None:
    """Nobody waits until a step is written."""

    async def append(self: Any, becomes: Payout, event: Any) -> None:
        handed_in = asyncio.create_task(rightly(self, becomes, event))
        handed_in.add_done_callback(lambda task: task.cancelled() or task.exception())

    rightly = garden.replace(PostgresJournal, "append", append)


@shared_bug
def mixes_up_a_group(garden: Garden) -> None:
    """Of a group each one hears what became of another."""

    async def done(self: Any, jobs: list[Any]) -> Sequence[Any]:
        return list(reversed(await rightly(self, jobs)))

    rightly = garden.replace(Groups, "_done", done)


@shared_bug
def puts_steps_together(garden: Garden) -> None:
    """Of a group that holds something new everything counts as written."""

    async def write(self: Any, jobs: Sequence[Any]) -> list[bool]:
        written = await rightly(self, jobs)
        return [any(written)] * len(jobs)

    rightly = garden.replace(PostgresJournal, "_write", write)


@shared_bug
def takes_silence_for_yes(garden: Garden) -> None:
    """A server that does not answer in time counts as one that has written."""

    async def write(self: Any, jobs: Sequence[Any]) -> Sequence[bool]:
        try:
            result: Sequence[bool] = await rightly(self, jobs)
        except JournalUnavailable:
            return [True] * len(jobs)
        return result

    rightly = garden.replace(PostgresJournal, "_write", write)


@shared_bug
def believes_that_it_was_first(garden: Garden) -> None:
    """Whoever accepts a payout goes on with its own, whatever is there."""

    async def accept(self: Any, opened: Any) -> Payout:
        await rightly(self, opened)
        return open_payout(opened)

    rightly = garden.replace(PostgresJournal, "accept", accept)


@shared_bug
def reads_one_page(garden: Garden) -> None:
    """After the first page nothing more is read."""

    async def payouts(self: Any, states: Any = None) -> AsyncIterator[Payout]:
        read = 0
        async for payout in rightly(self, states):
            yield payout
            read += 1
            if read == postgres.PAGE:
                return

    rightly = garden.replace(PostgresJournal, "payouts", payouts)


@shared_bug
def overwrites_when_late(garden: Garden) -> None:
    """A statement that is executed late puts its step wherever the payout stands."""

    def write(self: Any, transaction: Any, owner: Any, entries: Any, *more: Any) -> set[bytes]:
        written: set[bytes] = rightly(self, transaction, owner, entries, *more)
        if transaction.has_commit:
            transaction.staged = [e for e in entries if e.sequence]
        return written

    rightly = garden.replace(server.Server, "write", write)


@shared_bug
def never_looks_at_the_age(garden: Garden) -> None:
    """A claim is sent on, however long its writing took."""
    garden.replace(driver, "FRESH_FOR", 1e9)


@shared_bug
def does_not_look_again(garden: Garden) -> None:
    """Once the head has left, nobody looks at the clock before the rest."""
    garden.replace(Departure, "go_on", lambda self: None)


@shared_bug
def gives_up_after_one_loss(garden: Garden) -> None:
    """A step whose answer is lost counts as not written, and is not tried again."""

    async def done(self: Any, jobs: list[Any]) -> Sequence[Any]:
        results = await rightly(self, jobs)
        lost = isinstance(results[0], JournalUnavailable) and self._do.__name__ == "_write"
        return [False] * len(results) if lost else results

    rightly = garden.replace(groups.Groups, "_done", done)


# what a standby has forgotten


@shared_bug
def believes_that_it_is_marked(garden: Garden) -> None:
    """That commits are lost is known to the program that has noticed it, and to no other one."""

    async def mark(self: Any) -> None:
        self._rolled_back = attrs.evolve(self._rolled_back, is_marked=True)

    garden.replace(PostgresJournal, "_mark", mark)


@shared_bug
def marks_nothing_that_is_unfinished(garden: Garden) -> None:
    """Only the journal is marked as restored, and none of its payouts."""

    def restore(self: Any, transaction: Any, *values: Any) -> Sequence[Any]:
        entries: Sequence[Any] = rightly(self, transaction, *values)
        transaction.staged = []
        return entries

    rightly = garden.replace(server.Server, "restore", restore)


@shared_bug
def accepts_as_if_nothing_were_lost(garden: Garden) -> None:
    """A payout that a restored journal has never heard of is taken for a new one."""
    rightly = server.Server.write

    def write(self: Any, transaction: Any, owner: Any, entries: Any, _: Any, known: Any) -> Any:
        return rightly(self, transaction, owner, entries, (), known)

    garden.replace(server.Server, "write", write)
