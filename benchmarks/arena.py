"""Where contestants meet one gateway: each process on its own core, ended whatever happens."""

import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import attrs

from billblend_async.gateway.credentials import RsaSigner, make_private_key

from .book import Figures, Terms
from .process import cores
from .settings import Sample, Score, Settings

__all__ = ["Arena", "DidNotFinish", "Gateway", "Performance", "Result"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_START: Final = 60.0
_CONTROL: Final = 30.0
_GRACE: Final = 45.0
_LOOK: Final = 0.5


class DidNotFinish(Exception):
    """A program did not do within its time what it was asked for."""


@attrs.frozen
class Result:
    """What came of one contestant's run.

    Attributes:
        score: What it told itself.
        seen: What the gateway has seen.
    """

    score: Score
    seen: Figures

    @property
    def is_whole(self) -> bool:
        """Whether every payout came to its end."""
        return self.score.done == self.score.payouts

    @property
    def cpu_each(self) -> float:
        """CPU seconds for each payout that was begun.

        Of a run that is not whole this is less than a payout costs, since more would have to be
        spent to finish the rest. To divide by those that were done would say nothing where hardly
        any was.
        """
        return self.score.cpu / self.score.payouts


class Program:
    """A Python module that runs as a process, writes lines and ends when its input does."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._name = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, patience: float) -> str:
        """Wait for the next line.

        Raises:
            DidNotFinish: It did not come within so many seconds, or the process has ended.
        """
        assert self._process.stdout is not None
        alarm = threading.Timer(patience, self._process.kill)
        alarm.start()
        try:
            line = self._process.stdout.readline()
        finally:
            alarm.cancel()
        if not line:
            raise DidNotFinish(f"{self._name} did not answer within {patience:g} s")
        return line

    def ask(self, patience: float = _CONTROL) -> str:
        """Ask for a line and wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.read(patience)

    def close(self) -> None:
        """End the process."""
        with self._process:
            self._process.kill()


@attrs.frozen
class Gateway:
    """The gateway's process, as the benchmark sees it.

    Attributes:
        base_url: Where it is.
        ca: The PEM file of the authority to trust; None for http.
    """

    base_url: str
    ca: str | None

    def reset(self, terms: Terms) -> None:
        """Forget all orders and begin on new terms."""
        self._command("reset", attrs.asdict(terms))

    def mark(self) -> None:
        """Begin a new window of lateness."""
        self._command("mark")

    def figures(self) -> Figures:
        """Tell what it has seen since it was reset."""
        return Figures.from_json(self._command("figures"))

    def _command(self, name: str, told: object = None) -> bytes:
        where = urlsplit(self.base_url)
        host, port = where.hostname or "", where.port
        connection = (
            http.client.HTTPConnection(host, port, timeout=_CONTROL)
            if self.ca is None
            else http.client.HTTPSConnection(
                host, port, timeout=_CONTROL, context=ssl.create_default_context(cafile=self.ca)
            )
        )
        try:
            connection.request("POST", f"/control/{name}", json.dumps(told))
            return connection.getresponse().read()
        finally:
            connection.close()


class Performance:
    """One contestant while it runs."""

    def __init__(self, program: Program, gateway: Gateway, payouts: int) -> None:
        self._program = program
        self._gateway = gateway
        self._payouts = payouts

    def sample(self) -> Sample:
        """Ask it how it stands."""
        return Sample(**json.loads(self._program.ask()))

    def wait_until_open(self, patience: float) -> None:
        """Wait until every payout was checked and asked about.

        Raises:
            DidNotFinish: That took more than so many seconds.
        """
        until = time.monotonic() + patience
        while (opened := self._gateway.figures().asked) < self._payouts:
            if time.monotonic() > until:
                raise DidNotFinish(f"{opened} of {self._payouts} open after {patience:g} s")
            time.sleep(_LOOK)


@attrs.frozen
class Arena:
    """One gateway, the merchant's keys, and a folder for everything.

    Attributes:
        gateway: The gateway.
        folder: Where files are written.
        core: The core that contestants keep to.
        servers_core: The core that the gateway, and any other server, keeps to.
    """

    gateway: Gateway
    folder: Path
    core: int | None
    servers_core: int | None

    @classmethod
    @contextmanager
    def opened(cls, *, plain: bool = False, pinned: bool = True) -> Iterator[Self]:
        """Start the gateway on the last core; contestants keep to the first.

        Args:
            plain: Without TLS.
            pinned: Whether anybody keeps to a core.
        """
        known = cores()
        is_pinned = pinned and len(known) > 1
        mine, theirs = (known[0], known[-1]) if is_pinned else (None, None)
        core = () if theirs is None else ("--core", str(theirs))
        with tempfile.TemporaryDirectory(prefix="billblend-benchmark-") as name:
            folder = Path(name)
            for bits in (2048, 4096):
                key = make_private_key(bits)
                (folder / f"{bits}.pem").write_text(key, encoding="ascii")
            program = Program("gateway", "--folder", name, *core, *(["--plain"] if plain else []))
            try:
                gateway = Gateway(**json.loads(program.read(_START)))
                yield cls(gateway, folder, mine, theirs)
            finally:
                program.close()

    def settings(self, *, bits: int = 2048) -> Settings:
        """Give the settings that everybody shares.

        Args:
            bits: The size of the merchant's key.
        """
        return Settings(
            base_url=self.gateway.base_url,
            ca=self.gateway.ca,
            key=str(self.folder / f"{bits}.pem"),
            folder=str(self.folder),
            core=self.core,
        )

    def public_key(self, *, bits: int = 2048) -> str:
        """Give the public half of the merchant's key, as PEM."""
        return RsaSigner.from_pem((self.folder / f"{bits}.pem").read_bytes()).public_pem().decode()

    def run(self, contestant: str, settings: Settings, terms: Terms = Terms()) -> Result:
        """Run a contestant to its end, or to the end of its patience.

        Raises:
            DidNotFinish: It did not even tell how far it came.
        """
        with self._started(contestant, settings, terms) as program:
            score = Score.from_json(program.read(settings.patience + _START + _GRACE))
            return Result(score, self.gateway.figures())

    def measure(self, program: str, settings: Settings, rounds: int) -> list[tuple[float, float]]:
        """Run a program that compares two things in turn; give its pairs, one for each round.

        Raises:
            DidNotFinish: It did not come to its end.
        """
        with self._started(program, settings, Terms(), str(rounds)) as process:
            return [(mine, theirs) for mine, theirs in json.loads(process.read(settings.patience))]

    @contextmanager
    def holding(
        self, contestant: str, settings: Settings, terms: Terms = Terms(is_held=True)
    ) -> Iterator[Performance]:
        """Keep a contestant's payouts open until the block ends, and end it there."""
        with self._started(contestant, settings, terms) as program:
            yield Performance(program, self.gateway, settings.payouts)

    @contextmanager
    def _started(
        self, contestant: str, settings: Settings, terms: Terms, *more: str
    ) -> Iterator[Program]:
        self.gateway.reset(terms)
        with tempfile.TemporaryDirectory(dir=self.folder) as own:
            settings = attrs.evolve(settings, folder=own)
            program = Program(f"contestants.{contestant}", settings.to_json(), *more)
            try:
                yield program
            finally:
                program.close()
