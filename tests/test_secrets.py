"""No secret is told: planted in every secret field, they are searched for in all that is left.

Three exceptions are documented, and each is held to exactly what it says: the results file repeats
the input's columns with card number, expiry and CVV masked; the journal keeps the last four
characters of a number of eight or more; a redirect link lies in the journal until the payout is
final, and is told to the caller.
"""

import asyncio
import base64
import csv
import gc
import io
import logging
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from echo_gateway import ENDINGS, LOST, EchoGateway
from leaks import (
    CARD,
    CONTROL,
    PASSWORD,
    RECEIVER,
    TOKENS,
    forms,
    leaks,
    private_pem,
    told_by,
)
from leaks import secrets as planted
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console

import billblend_async
from billblend_async import Observer, OpenTelemetryObserver
from billblend_async.batch.parser import read_batch
from billblend_async.core.events import Event
from billblend_async.core.models import Deadlines, Flow, OpenReason, Outcome, Polling, State
from billblend_async.core.payout import Payout
from billblend_async.core.payout import outcome as outcome_of
from billblend_async.core.request import PARAMETERS, PayoutRequest
from billblend_async.core.responses import StatusReport
from billblend_async.errors import BillblendError, InvalidInput, JournalError
from billblend_async.gateway.client import Client
from billblend_async.gateway.credentials import Credentials
from billblend_async.gateway.exchange import Timeouts
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.orchestrator.orchestrator import Orchestrator
from billblend_async.reporting.terminal import print_outcome, print_problems, print_report

PEOPLE = frozenset(RECEIVER) - TOKENS
WAYS = (*ENDINGS, "redirect", "refused", *LOST, *(f"pay{way}" for way in LOST))
MASKED_COLUMNS = frozenset({"credit_card_number", "expire_month", "expire_year", "cvv2"})


def request(name: str, *, token: bool = False) -> PayoutRequest:
    """Make a payout in which every secret parameter holds its secret."""
    card = {"credit_card_number", "card_printed_name", "expire_month", "expire_year"}
    left_out = card if token else TOKENS
    given: dict[str, Any] = {n: text for n, text in RECEIVER.items() if n not in left_out}
    for n in TOKENS & given.keys():
        given[n] = int(given[n])
    return PayoutRequest(client_orderid=name, amount=Decimal("10.42"), currency="EUR", **given)


# What every record has: among it are times, which may look like any number.
_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message"}


class Notebook(logging.Handler):
    """Keeps all that is logged, with its arguments, fields and tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        self.lines += [self.format(record), repr((record.msg, record.args, fields))]

    @property
    def octets(self) -> bytes:
        return "\n".join(self.lines).encode(errors="backslashreplace")


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """Write down everything that anybody logs."""
    book = Notebook()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(book)
    yield book
    logging.getLogger().removeHandler(book)
    for logger, level in before:
        logger.setLevel(level)


class Diary(Observer):
    """Writes down all that an observer is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def _write(self, payout: Payout, *words: Any, **more: Any) -> None:
        if payout.redirect_to is None:  # the documented exception
            self.told.append(shown(outcome_of(payout), *words, more, attrs.asdict(payout)))

    joined = changed = overtaken = asked = sent = left = _write

    @property
    def octets(self) -> bytes:
        return b"\n".join(self.told)


class Screen:
    """Keeps all that OpenTelemetry shows."""

    def __init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self._tracers = TracerProvider(shutdown_on_exit=False)
        self._tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def observer(self) -> OpenTelemetryObserver:
        """Make an observer that shows payouts here."""
        return OpenTelemetryObserver(tracer_provider=self._tracers, meter_provider=self._meters)

    @property
    def octets(self) -> bytes:
        data = self._reader.get_metrics_data()
        assert data is not None
        spans = [span.to_json() for span in self._spans.get_finished_spans()]
        return "\n".join([*spans, data.to_json()]).encode(errors="backslashreplace")


_LOGGERS = (None, "billblend_async", "httpx", "httpcore", "asyncio", "tenacity")


@pytest.fixture
async def gateway() -> AsyncIterator[EchoGateway]:
    """Open a gateway that repeats what it was told, and let asyncio tell all it knows."""
    asyncio.get_running_loop().set_debug(True)
    async with EchoGateway() as server:
        yield server


def credentials() -> Credentials:
    """Make credentials of secrets."""
    return Credentials("m1", private_pem(), password=PASSWORD, merchant_control=CONTROL)


def client_of(gateway: EchoGateway, version: Literal[2, 4] = 4, **options: Any) -> Client:
    """Make a client of the echoing gateway that waits for little."""
    return Client(
        options.pop("credentials", None) or credentials(),
        endpoint_id=39915,
        base_url=gateway.url,
        status_version=version,
        timeouts=Timeouts(connect=2, write=2, send_read=0.4, poll_read=2),
        **options,
    )


def files(folder: Path) -> dict[str, bytes]:
    """Read every file of a journal."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if "payouts.db" in path.name}


def shown(*things: object) -> bytes:
    """Write down how things show themselves."""
    return "\n".join(f"{thing!r} {thing}" for thing in things).encode(errors="backslashreplace")


def reported(*outcomes: Outcome) -> bytes:
    """Write down what people are shown."""
    console = Console(file=io.StringIO(), width=200)
    print_problems(console, outcomes, most=100)
    for outcome in outcomes:
        print_outcome(console, outcome)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().encode()


class TestDetector:
    """A search that finds nothing says something only if it would find it."""

    def test_every_secret_field_is_planted(self) -> None:
        """Every parameter that is called secret has a secret of its own."""
        assert {name for name, row in PARAMETERS.items() if row.secret} == set(RECEIVER)
        assert len(set(RECEIVER.values())) == len(RECEIVER)

    def test_every_form_is_found(self) -> None:
        """A secret is found in every form, wherever it stands."""
        for name, secret in planted().items():
            if len(secret) < 6:
                continue
            for form, octets in forms(secret):
                assert [f"{name} in x"] == leaks({"x": b"ab" + octets + b"yz"}, [name]), form
            for n in range(3):
                text = base64.b64encode(b"abc"[:n] + secret.encode() + b"tail")
                assert leaks({"x": text}, [name])

    def test_short_ones(self) -> None:
        """A short secret is found as a word or beside its name, and not in a longer number."""
        assert [] == leaks({"x": b"17391, 73910, 0.7391, 11, 2.2097"})
        told = {"x": b"cvv2=7391&expire_month=11&expire_year=2097", "y": b"{'expire_month': '11'}"}
        found = ["expire_month in x", "expire_year in x", "cvv2 in x", "expire_month in y"]
        assert sorted(found) == sorted(leaks(told))

    def test_variables_of_an_exception(self) -> None:
        """A secret is found in an exception's chain and in the variables of foreign frames."""
        code = compile("def fail(number):\n    raise ValueError\n", "/lib/foreign.py", "exec")
        foreign: dict[str, Any] = {}
        exec(code, foreign)

        def fail() -> None:
            try:
                foreign["fail"](CARD)
            except ValueError as error:
                raise BillblendError("all is well") from error

        with pytest.raises(BillblendError) as caught:
            fail()
        assert ["credit_card_number in x"] == leaks({"x": told_by(caught.value)})


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("flow", Flow)
async def test_payouts(
    gateway: EchoGateway,
    notebook: Notebook,
    tmp_path: Path,
    flow: Flow,
    version: Literal[2, 4],
) -> None:
    """However a payout goes, nobody but the gateway is told a secret of it."""
    seen: list[bytes] = []
    while_open: dict[str, bytes] = {}

    diary, screen = Diary(), Screen()
    made, path = credentials(), tmp_path / "payouts.db"
    requests = [request(f"{way}-{n}", token=n > 0) for way in WAYS for n in range(2)]

    async def pay(each: PayoutRequest) -> Outcome:
        # An orchestrator of its own: what is lost for one stops the sends of the others.
        journal = SqliteJournal(path)
        payouts = Orchestrator(
            client,
            journal,
            observer=[diary, screen.observer()],
            polling=Polling(shortest=0.02, longest=0.04),
            deadlines=Deadlines(doubt=2.0),
        )
        async with payouts:
            outcome = await payouts.run(each, flow=flow)
            while outcome.open_reason is OpenReason.UNCONFIRMED:  # on a machine that is busy
                outcome = await payouts.run(each, flow=flow)
            while_open.update(files(tmp_path))
            seen.append(shown(payouts, journal, outcome, await journal.load(each.client_orderid)))
            return outcome

    async with client_of(gateway, version, credentials=made) as client:
        outcomes = [await pay(requests[0])]  # it makes the journal
        outcomes += await asyncio.gather(*map(pay, requests[1:]))
        report = await client.status("approved-0")
        assert isinstance(report, StatusReport)
        seen.append(shown(made, made.signer, client, report, *requests))
        told = io.StringIO()
        print_report(Console(file=told), report)
        seen.append(told.getvalue().encode())

    lost = len(LOST) * (2 if flow is Flow.CHECK_PAY else 1)
    ends = [State.FINAL] * (len(WAYS) - lost - 1) + [State.ATTENTION] * lost + [State.REJECTED]
    assert sorted(ends * 2) == sorted(told.state for told in outcomes)
    assert b"httpcore" in notebook.octets
    assert b"Using selector" in notebook.octets or b"asyncio" in notebook.octets
    assert all(f"{way}-0".encode() in screen.octets for way in WAYS)
    assert len(diary.told) > 5 * len(requests)
    gc.collect()
    evidence = {
        **files(tmp_path),
        "log": notebook.octets,
        "shown": b"\n".join(seen),
        "observer": diary.octets,
        "OpenTelemetry": screen.octets,
        "report": reported(*outcomes),
    }
    assert [] == leaks(evidence)
    assert [] == leaks(while_open, planted().keys() - {"redirect_to"})
    assert CARD[-4:].encode() in evidence["payouts.db"]  # the documented exception
    assert CARD.encode() in gateway.received


async def told_while(work: Callable[[], Awaitable[object]]) -> BaseException:
    """Give the exception that some work ends in."""
    try:
        await work()
    except BillblendError as error:
        return error
    raise AssertionError("nothing was raised")


class TestExceptions:
    """An exception carries no secret: not in its words, its chain or the frames it has passed."""

    @pytest.mark.parametrize("name", sorted(RECEIVER))
    def test_wrong_value(self, name: str) -> None:
        """A wrong value beside every other secret is not repeated."""
        wrong = RECEIVER[name] + ("\x00" if name != "merchant_data" else "x" * 70_000)
        fields = {n: text for n, text in RECEIVER.items() if n not in TOKENS} | {name: wrong}
        makers: list[Callable[[], object]] = [
            lambda: PayoutRequest.from_text(
                {"client_orderid": "po-1", "amount": "10.42", "currency": "EUR", **fields}
            ),
            lambda: PayoutRequest(
                client_orderid="po-1",
                amount=Decimal("10.42"),
                currency="EUR",
                **fields,  # type: ignore[arg-type] # wrong on purpose
            ),
        ]
        for make in makers:
            with pytest.raises(InvalidInput) as caught:
                make()
            assert [] == leaks({"error": told_by(caught.value)})

    @pytest.mark.parametrize(
        ("pem", "password", "control"),
        [
            (private_pem(), "wrong", CONTROL),
            (private_pem(), None, CONTROL),
            (private_pem()[:-200], PASSWORD, CONTROL),
            (private_pem().replace("BEGIN", "BEGAN"), PASSWORD, CONTROL),
            (private_pem(), PASSWORD, f"{CONTROL}\n"),
            (private_pem().encode(), PASSWORD.encode("utf-16"), CONTROL),
        ],
    )
    def test_wrong_key(self, pem: str | bytes, password: str | bytes | None, control: str) -> None:
        """A wrong key, password or control is not repeated."""
        with pytest.raises(BillblendError) as caught:
            Credentials("m1", pem, password=password, merchant_control=control)
        assert [] == leaks({"error": told_by(caught.value)})

    @pytest.mark.parametrize("what", ["header", "rows", "quotes", "encoding", "no header"])
    def test_wrong_file(self, tmp_path: Path, what: str) -> None:
        """A wrong payouts file is not repeated."""
        file = tmp_path / "payouts.csv"
        write_rows(file, 3, zip_code="Berlin" if what == "rows" else None)
        text = file.read_text("utf-8")
        match what:
            case "header":
                text = text.replace("cvv2,", f"{CARD},", 1)
            case "quotes":
                text += '"open'
            case "no header":
                text = text.split("\n", 1)[1]
        file.write_bytes(text.encode("latin-1" if what == "encoding" else "utf-8"))
        with pytest.raises(InvalidInput) as caught:
            read_batch(file)
        assert [] == leaks({"error": told_by(caught.value)})

    @pytest.mark.parametrize("flow", Flow)
    @pytest.mark.parametrize("fault", ["accept", "gone", "claim"])
    async def test_journal_that_fails(
        self, gateway: EchoGateway, notebook: Notebook, tmp_path: Path, fault: str, flow: Flow
    ) -> None:
        """What a failing journal raises has passed no frame that holds a payout."""
        journal = SqliteJournal(tmp_path / "payouts.db", busy_timeout=0.1)
        async with client_of(gateway) as client, Orchestrator(client, journal) as payouts:
            if fault == "gone":
                (tmp_path / "payouts.db").unlink()
            else:
                break_file(tmp_path, "payouts" if fault == "accept" else "events")
            error = await told_while(lambda: payouts.run(request("po-1"), flow=flow))

        assert isinstance(error, JournalError)
        assert [] == leaks({"error": told_by(error), "log": notebook.octets, **files(tmp_path)})
        assert all("/status/" in each.target for each in gateway.requests)

    @pytest.mark.parametrize("command", ["check", "payout"])
    async def test_claim_that_fails(
        self, gateway: EchoGateway, notebook: Notebook, command: str
    ) -> None:
        """What a caller's own ``before_send`` raises has passed no frame that holds a payout."""

        async def refuse() -> None:
            raise BillblendError("not now")

        async with client_of(gateway) as client:
            send = getattr(client, command)
            error = await told_while(lambda: send(request("po-1"), before_send=refuse))

        assert [] == leaks({"error": told_by(error), "log": notebook.octets})

    async def test_signer_that_fails(
        self, gateway: EchoGateway, notebook: Notebook, tmp_path: Path
    ) -> None:
        """What a failing key service says is not repeated."""
        made = Credentials("m1", FailingSigner())
        limits = Deadlines(sending=0.2)
        async with client_of(gateway, credentials=made) as client:
            journal = SqliteJournal(tmp_path / "payouts.db")
            async with Orchestrator(client, journal, deadlines=limits) as payouts:
                outcome = await payouts.run(request("po-1"))

        assert State.NEW is outcome.state
        told = shown(outcome, made, client)
        assert [] == leaks({"shown": told, "log": notebook.octets, **files(tmp_path)})


class FailingSigner:
    """A key service that tells too much when it fails."""

    key_size = 2048

    def sign(self, message: bytes) -> bytes:
        """Fail, with the message in the error."""
        raise RuntimeError(f"cannot sign {message!r} with {CONTROL}")


def break_file(folder: Path, table: str) -> None:
    """Let the next write into a table of the journal fail."""
    with closing(sqlite3.connect(folder / "payouts.db")) as connection:
        connection.execute(
            f"CREATE TRIGGER broken BEFORE INSERT ON {table}"
            " WHEN new.client_orderid = 'po-1'"
            + (" AND new.sequence > 0" if table == "events" else "")
            + " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
        connection.commit()


def write_rows(
    file: Path, rows: int, ways: tuple[str, ...] = ("approved",), **changed: str | None
) -> None:
    """Write a payouts file with every secret in each row."""
    names = sorted(PEOPLE)
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["client_orderid", "amount", "currency", *names])
        for n in range(rows):
            cells = [
                changed.get(PARAMETERS[name].alias or name) or RECEIVER[name] for name in names
            ]
            writer.writerow([f"{ways[n % len(ways)]}-{n}", "10.42", "EUR", *cells])


class TestRedirectLink:
    async def test_link(self, gateway: EchoGateway, notebook: Notebook, tmp_path: Path) -> None:
        """A link lies in the journal and is told while the receiver needs it, and then nowhere."""
        path = tmp_path / "payouts.db"
        told: list[tuple[State, dict[str, list[str]]]] = []

        def observe(payout: Payout, event: Event) -> None:
            rest = {"shown": shown(payout, event, outcome_of(payout)), "log": notebook.octets}
            links = ["redirect_to"]
            told.append(
                (payout.state, {"file": leaks(files(tmp_path), links), "else": leaks(rest, links)})
            )

        polling = Polling(shortest=0.02, longest=0.04)
        async with (
            client_of(gateway) as client,
            Orchestrator(client, SqliteJournal(path), observer=observe, polling=polling) as payouts,
        ):
            outcome = await payouts.run(request("redirect-1"))

        assert outcome.is_approved
        assert ["redirect_to in payouts.db"] == dict(told)[State.AWAITING_RECEIVER]["file"]
        assert all([] == found["else"] for _, found in told)
        assert [] == leaks({**files(tmp_path), "log": notebook.octets, "shown": shown(outcome)})


async def test_the_command(gateway: EchoGateway, tmp_path: Path) -> None:
    """The command tells no secret on its streams, in its results or its journal."""
    key, rows, out = (tmp_path / name for name in ("key.pem", "payouts.csv", "results.csv"))
    key.write_text(private_pem())
    write_rows(rows, 3, ("approved", "declined", "refused"))
    kept = {name: value for name, value in os.environ.items() if "BILLBLEND" not in name}
    environ = kept | {
        "BILLBLEND_LOGIN": "m1",
        "BILLBLEND_PRIVATE_KEY": str(key),
        "BILLBLEND_PRIVATE_KEY_PASSWORD": PASSWORD,
        "BILLBLEND_MERCHANT_CONTROL": CONTROL,
        "BILLBLEND_ENDPOINT_ID": "39915",
        "BILLBLEND_BASE_URL": gateway.url,
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONPATH": str(Path(billblend_async.__file__).parents[1]),
        "PYTHONIOENCODING": "utf-8",
    }

    async def billblend(*arguments: object, **changed: str) -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-X", "dev", "-m", "billblend_async", *map(str, arguments)),
            env=environ | changed,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        streams, _ = await process.communicate()
        return process.returncode, streams

    pay = ("pay", rows, "--journal", "payouts.db", "--out", out, "--poll", "0.05:0.1")
    status, streams = await billblend(*pay)
    told = {"pay": streams}
    assert 1 == status, streams
    for name in ("approved-0", "refused-2"):
        _, told[f"status {name}"] = await billblend("status", name, "--journal", "payouts.db")
    _, told["attention"] = await billblend("attention", "list", "--journal", "payouts.db")
    report = ("report", "--journal", "payouts.db")
    _, told["report"] = await billblend(*report)
    await billblend(*report, "--html", "report.html", "--csv", "report.csv")
    told |= {name: (tmp_path / name).read_bytes() for name in ("report.html", "report.csv")}
    told |= {f"pay: {name}": octets for name, octets in files(tmp_path).items()}
    status, told["wrong password"] = await billblend(
        *pay, BILLBLEND_PRIVATE_KEY_PASSWORD=f"{PASSWORD}x"
    )
    assert 4 == status
    status, told["the key itself"] = await billblend(*pay, BILLBLEND_PRIVATE_KEY=private_pem())
    assert 4 == status
    (tmp_path / "payouts.db.key").write_bytes(b"nothing")
    status, told["a damaged journal"] = await billblend(*pay)
    assert 4 == status
    write_rows(rows, 3, zip_code="Berlin")
    status, told["wrong rows"] = await billblend(*pay)
    assert 3 == status

    assert b"approved" in told["status approved-0"]
    assert b"billblend: 3 problem(s)" in told["wrong rows"]
    assert [] == leaks(told)
    # The documented exception: the other columns are the caller's own, repeated.
    names = [name for name in planted() if name not in PEOPLE - MASKED_COLUMNS]
    assert [] == leaks({"results": out.read_bytes()}, names)
    with out.open(encoding="utf-8", newline="") as file:
        (first, *_) = csv.DictReader(file)
    masked = {name: first[name] for name in MASKED_COLUMNS}
    hidden = dict.fromkeys(MASKED_COLUMNS, "****")
    assert hidden | {"credit_card_number": f"****{CARD[-4:]}"} == masked
    assert {name: first[name] for name in PEOPLE - MASKED_COLUMNS} == {
        name: RECEIVER[name] for name in PEOPLE - MASKED_COLUMNS
    }
