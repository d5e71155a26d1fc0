"""``python -m benchmarks``: what signing, journaling and the machine cost, side by side.

Each line is measured in turn with what it is compared to, and told as the median of the pairwise
ratios with their range: single times mean little on a shared machine.
"""

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import attrs
from oauthlib.oauth1 import SIGNATURE_RSA_SHA256, SIGNATURE_TYPE_AUTH_HEADER
from oauthlib.oauth1 import Client as OauthlibClient

from billblend_async.events import CheckStarted, Opened
from billblend_async.journal import Owner
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.keys import RsaSigner, make_private_key
from billblend_async.machine import evolve, open_payout
from billblend_async.models import Flow
from billblend_async.request import PayoutRequest
from billblend_async.signing import authorization
from billblend_async.wire import build_form, build_payout

URL = "https://sandbox.billblend.com/checkout/api/v4/payout-check/39915"
FORM = "application/x-www-form-urlencoded"
REQUEST = PayoutRequest(
    client_orderid="po-1",
    amount=Decimal("10.42"),
    currency="USD",
    order_desc="Invoice 1",
    ipaddress="192.0.2.1",
    purpose="Refund",
    account_number="1234567890",
    account_name="Ann Smith",
    bank_name="First Bank",
    bank_code="123",
    bank_city="Springfield",
    bank_address1="1 Main Street",
    routing_number="15",
    receiver_first_name="Ann",
    receiver_last_name="Smith",
    receiver_country_code="USA",
    receiver_city="Springfield",
    receiver_address1="2 Main Street",
    receiver_phone="+12025550123",
    receiver_email="ann@example.com",
    merchant_data="campaign=1",
    server_callback_url="https://example.com/callback",
)


def seconds(work: Callable[[], object], times: int) -> float:
    """Measure the CPU time of one piece of work, over some repetitions."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def compare(name: str, ours: Callable[[], float], other: Callable[[], float], rounds: int) -> None:
    """Measure two things in turn and tell their ratio."""
    pairs = [(ours(), other()) for _ in range(rounds)]
    ratios = sorted(mine / theirs for mine, theirs in pairs)
    mine = statistics.median(pair[0] for pair in pairs) * 1e6
    theirs = statistics.median(pair[1] for pair in pairs) * 1e6
    print(
        f"{name:<52} {mine:>10.1f} {theirs:>10.1f}  x{statistics.median(ratios):.3f}"
        f" ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


def signing(rounds: int) -> None:
    """Compare a signed header with a bare RSA signature, and with oauthlib."""
    pem = make_private_key()
    signer = RsaSigner.from_pem(pem)
    parameters = build_payout(REQUEST)
    body = build_form(parameters).decode()
    oauthlib = OauthlibClient(
        "merchant",
        rsa_key=pem,
        signature_method=SIGNATURE_RSA_SHA256,
        signature_type=SIGNATURE_TYPE_AUTH_HEADER,
    )

    def sign() -> object:
        return authorization(
            signer, "merchant", "POST", URL, parameters, nonce="n" * 32, timestamp=1_800_000_000
        )

    compare(
        "a signed header, 22 parameters / a bare RSA-2048 signature",
        lambda: seconds(sign, 200),
        lambda: seconds(lambda: signer.sign(b"x" * 900), 200),
        rounds,
    )
    compare(
        "a signed header / oauthlib, which reads the key each time",
        lambda: seconds(sign, 50),
        lambda: seconds(lambda: oauthlib.sign(URL, "POST", body, {"Content-Type": FORM}), 10),
        rounds,
    )


def machine(rounds: int) -> None:
    """Compare a transition with the copy of a frozen value that it has to make anyway."""
    payout = open_payout(_opened(0))
    event = CheckStarted(at=1_800_000_001.0)
    compare(
        "a transition of the machine / a bare attrs.evolve",
        lambda: seconds(lambda: evolve(payout, event), 2000),
        lambda: seconds(lambda: attrs.evolve(payout, sequence=1), 2000),
        rounds,
    )


def _opened(number: int) -> Opened:
    return Opened(
        at=1_800_000_000.0,
        client_orderid=f"po-{number}",
        flow=Flow.CHECK_PAY,
        amount=Decimal("10.42"),
        currency="USD",
        fingerprint="f" * 64,
    )


async def accept(folder: Path, waiting: int, total: int) -> float:
    """Measure the wall time of one durable record with some tasks waiting at once."""
    journal = SqliteJournal(folder / f"ours-{waiting}-{time.monotonic_ns()}.db")
    await journal.open(Owner(base_url="https://example.com", login="merchant", endpoint="1"))
    numbers = iter(range(total))

    async def work() -> None:
        for number in numbers:
            await journal.accept(_opened(number))

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(waiting)))
    spent = time.perf_counter() - began
    await journal.aclose()
    return spent / total


def commit_each(folder: Path, total: int) -> float:
    """Measure the wall time of one durable record in a loop that commits each."""
    database = sqlite3.connect(folder / f"bare-{time.monotonic_ns()}.db", isolation_level=None)
    mode = "WAL" if sqlite3.sqlite_version_info >= (3, 51, 3) else "TRUNCATE"
    database.execute(f"PRAGMA journal_mode={mode}")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE event (id TEXT, n INTEGER, data TEXT, PRIMARY KEY (id, n))")
    began = time.perf_counter()
    for number in range(total):
        database.execute("INSERT INTO event VALUES (?, 0, ?)", (f"po-{number}", "x" * 250))
    spent = time.perf_counter() - began
    database.close()
    return spent / total


def journal(rounds: int) -> None:
    """Compare durable records with a bare loop over SQLite in the same mode."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for waiting, total in ((1, 100), (64, 1000), (1000, 4000)):
            compare(
                f"a durable record, {waiting} waiting / a bare commit",
                lambda w=waiting, t=total: asyncio.run(accept(folder, w, t)),  # type: ignore[misc] # bound for the loop
                lambda: commit_each(folder, 100),
                rounds,
            )


def main() -> None:
    """Measure everything."""
    rounds = 5 if "--quick" in sys.argv else 15
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}; microseconds")
    print(f"{'':<52} {'ours':>10} {'other':>10}  ratio (range)")
    signing(rounds)
    machine(rounds)
    journal(rounds)


if __name__ == "__main__":
    main()
