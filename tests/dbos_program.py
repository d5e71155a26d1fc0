"""A worker of a DBOS application; run as a file by test_dbos.py, also to be killed.

``work EXECUTOR [die]`` drives payouts with the engine. ``unguarded EXECUTOR [die]`` does so with a
step that has no journal, as anybody would write it first. Both say "ready", then do what the lines
of their stdin say, such as ``submit po-1``, and say what came of it, and end with it. With ``die``
the process ends by ``os._exit`` once its first payout-pay has taken effect, before it hears of it.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from dbos import DBOS, SetWorkflowID

from billblend_async import Client, Orchestrator, PayoutRequest, Polling
from billblend_async.core.responses import SendAnswer
from billblend_async.gateway.settings import read_settings
from billblend_async.integrations.dbos import DbosEngine
from billblend_async.journal.postgres import PostgresJournal

ACCOUNTS = {"form": "2000000001", "po": "1234567890"}
"""By how an id begins."""
KEY = bytes(range(32))


def say(*words: object) -> None:
    """Print a line at once."""
    print(*words, flush=True)  # noqa: T201 - read by the test


def request(client_orderid: str) -> PayoutRequest:
    """Make the request of a payout, as every process of the application can."""
    return PayoutRequest(
        client_orderid=client_orderid,
        amount=Decimal("10.42"),
        currency="USD",
        account_number=ACCOUNTS[client_orderid.partition("-")[0]],
    )


async def resolve(client_orderid: str) -> PayoutRequest:
    """Find a request again."""
    return request(client_orderid)


class Mortal(Client):
    """A client whose process dies as soon as the gateway has answered a payout-pay."""

    async def pay(
        self,
        client_orderid: str,
        paynet_order_id: str,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[SendAnswer], Awaitable[None]] | None = None,
    ) -> SendAnswer:
        """Pay, and be gone before anybody hears of it."""

        async def die(_: SendAnswer) -> None:
            os._exit(9)

        return await super().pay(
            client_orderid, paynet_order_id, before_send=before_send, after=die
        )


def launch(executor: str) -> DBOS:
    """Make a DBOS over the database of the environment."""
    return DBOS(
        config={
            "name": "payouts",
            "system_database_url": os.environ["DBOS_URL"],
            "application_version": "1",
            "executor_id": executor,
            "log_level": "WARNING",
        }
    )


def make_client(kind: type[Client]) -> Client:
    """Make a client by the settings of the environment."""
    settings = read_settings(os.environ)
    return kind(
        settings.credentials,
        endpoint_id=settings.endpoint.endpoint_id,
        base_url=settings.endpoint.base_url,
    )


async def obey(words: dict[str, Callable[[str], Awaitable[object]]]) -> None:
    """Do what the lines of stdin say, side by side, until it ends."""

    async def do(word: str, thing: str) -> None:
        say(word, thing, await words[word](thing))

    say("ready")
    # A thread of its own: DBOS may end the pool that the loop's threads come from.
    with ThreadPoolExecutor(1) as reader:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while line := await loop.run_in_executor(reader, sys.stdin.readline):
                word, thing = line.split()
                tasks.create_task(do(word, thing))


async def work(executor: str, fault: str = "") -> None:
    """Drive payouts with the engine."""
    dbos = launch(executor)
    client = make_client(Mortal if fault == "die" else Client)
    journal = PostgresJournal(os.environ["DBOS_URL"], key=KEY)
    gap = float(os.environ.get("GAP", "0.1"))
    polling = Polling(shortest=gap, longest=2 * gap)
    payouts = Orchestrator(client, journal, resolve=resolve, polling=polling)
    engine = DbosEngine(dbos, payouts, nap=float(os.environ.get("NAP", "10")))
    async with client, payouts:
        if "THREAD" in os.environ:  # DBOS finds no event loop there, and runs one of its own
            await asyncio.to_thread(DBOS.launch)
        else:
            DBOS.launch()
        async with engine:

            async def submit(name: str) -> object:
                return (await engine.submit(request(name))).state

            async def outcome(name: str) -> object:
                return (await engine.outcome(name)).status

            async def link(name: str) -> object:
                return (await payouts.status(name)).redirect_to

            async def deliver(query: str) -> object:
                return (await engine.deliver(engine.verify_callback(query))).value

            async def take_over(name: str) -> object:
                return await engine.take_over([name])

            await obey(
                {
                    "submit": submit,
                    "outcome": outcome,
                    "link": link,
                    "deliver": deliver,
                    "take_over": take_over,
                }
            )
    DBOS.destroy()


async def unguarded(executor: str, fault: str = "") -> None:
    """Drive payouts with a step that has no journal."""
    dbos = launch(executor)
    client = make_client(Mortal if fault == "die" else Client)

    @dbos.step(name="check")
    async def check(client_orderid: str) -> str:
        answer: Any = await client.check(request(client_orderid))
        report: Any = None
        while report is None or report.order_stage != "payout_check_validated":
            await asyncio.sleep(0.05)
            report = await client.status(client_orderid, answer.paynet_order_id)
        return str(answer.paynet_order_id)

    @dbos.step(name="pay")
    async def pay(client_orderid: str, paynet_order_id: str) -> str:
        return type(await client.pay(client_orderid, paynet_order_id)).__name__

    @dbos.workflow(name="unguarded")
    async def drive(client_orderid: str) -> str:
        return await pay(client_orderid, await check(client_orderid))

    async with client:
        DBOS.launch()
        await dbos.register_queue_async("unguarded", worker_concurrency=1)

        async def submit(name: str) -> object:
            with SetWorkflowID(name):
                await dbos.enqueue_workflow_async("unguarded", drive, name)
            return None

        await obey({"submit": submit, "outcome": dbos.get_result_async})
    DBOS.destroy()


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    programs: dict[str, Any] = {"work": work, "unguarded": unguarded}
    asyncio.run(programs[name](*arguments))
