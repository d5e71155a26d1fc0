"""A desk to work at: a sandbox, a folder with files, and the command as a real process."""

import asyncio
import csv
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from billblend_async.gateway.wire import RequestKind
from billblend_async.sandbox import Sandbox

ACCOUNTS = {"1234567890": "approved", "0987654321": "declined", "1987654321": "error"}
NAMES = ("Wolfgang-Secretname", "Ludwiga-Hiddenname")
ROOT = Path(__file__).parent.parent
COMMAND = ("-m", "billblend_async")


@attrs.define
class Desk:
    """A sandbox, a folder and the settings that go with them."""

    sandbox: Sandbox
    folder: Path
    environ: dict[str, str]

    def write(
        self,
        rows: int,
        name: str = "payouts.csv",
        accounts: Sequence[str] | None = None,
        *,
        prefix: str = "po-",
    ) -> Path:
        """Write a payouts file."""
        file = self.folder / name
        accounts = accounts or list(ACCOUNTS)
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(
                ("client_orderid", "amount", "currency", "account_number", "first_name", "cvv2")
            )
            for n in range(rows):
                account, person = accounts[n % len(accounts)], NAMES[n % 2]
                writer.writerow((f"{prefix}{n}", f"{n + 1}.50", "EUR", account, person, "987"))
        return file

    async def start(
        self, *arguments: object, program: Sequence[str] = COMMAND
    ) -> asyncio.subprocess.Process:
        """Start the command, or another program of Python's."""
        return await self.spawn(sys.executable, *program, *arguments)

    async def spawn(self, *words: object) -> asyncio.subprocess.Process:
        """Start any program with the desk's settings."""
        return await asyncio.create_subprocess_exec(
            *map(str, words),
            env=self.environ,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def billblend(self, *arguments: object) -> tuple[int | None, str, str]:
        """Run the command to its end."""
        return await ended(await self.start(*arguments))

    async def pay(self, file: Path, *arguments: object) -> tuple[int | None, str, str]:
        """Pay a file with the usual paths."""
        return await self.billblend(*pay_arguments(file), *arguments)

    def results(self, name: str = "results.csv") -> dict[str, dict[str, str]]:
        """Read the results file."""
        with (self.folder / name).open(encoding="utf-8", newline="") as file:
            return {row["client_orderid"]: row for row in csv.DictReader(file)}

    def count(self, kind: RequestKind) -> Counter[str]:
        """Count the requests of a kind that the gateway acted on, by client_orderid."""
        return Counter(r.client_orderid for r in self.sandbox.gateway.requests if r.kind is kind)

    @property
    def sends(self) -> int:
        """How many requests that may move money the gateway has acted on."""
        return sum(r.kind is not RequestKind.STATUS for r in self.sandbox.gateway.requests)


def pay_arguments(file: Path) -> tuple[object, ...]:
    """Give the words that pay a file with the usual paths."""
    return ("pay", file, "--journal", "payouts.db", "--out", "results.csv")


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Wait until a process has ended; its status and what it has said."""
    out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()


async def ended_when_quiet(
    desk: Desk, process: asyncio.subprocess.Process, quiet: float
) -> tuple[int | None, str, str]:
    """End a process kindly once it has only asked, and sent nothing, for that many seconds."""
    heard, ending = len(desk.sandbox.gateway.requests), asyncio.create_task(ended(process))
    sends, since = -1, time.monotonic()
    while not ending.done() and time.monotonic() < since + quiet:
        if desk.sends != sends or len(desk.sandbox.gateway.requests) == heard:
            sends, since = desk.sends, time.monotonic()
        await asyncio.wait({ending}, timeout=0.1)
    if not ending.done():
        process.terminate()
    return await ending


@asynccontextmanager
async def open_desk(
    folder: Path, *, validation: float = 0.2, processing: float = 0.2
) -> AsyncIterator[Desk]:
    """Open a desk in a folder."""
    async with Sandbox(validation=validation, processing=processing) as sandbox:
        key = folder / "key.pem"
        key.write_text(sandbox.private_key)
        kept = {name: value for name, value in os.environ.items() if "BILLBLEND" not in name}
        settings = {
            "BILLBLEND_LOGIN": sandbox.login,
            "BILLBLEND_PRIVATE_KEY": str(key),
            "BILLBLEND_MERCHANT_CONTROL": sandbox.merchant_control,
            "BILLBLEND_ENDPOINT_ID": str(sandbox.endpoint_id),
            "BILLBLEND_BASE_URL": sandbox.base_url,
            "PYTHONPATH": str(ROOT),
        }
        yield Desk(sandbox, folder, {**kept, **settings})
