"""The parts by themselves: a signature and a transition of the machine."""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import attrs

from billblend_async import RsaSigner
from billblend_async.core.events import CheckStarted
from billblend_async.core.machine import evolve, open_payout
from billblend_async.gateway.credentials import make_private_key
from billblend_async.gateway.signing import authorization
from billblend_async.gateway.wire import build_form, build_payout

from ..contestants.forms import CHECK, FORM, payout_request
from ..row import Row
from .journal import opened
from .stand import Stand

__all__ = ["parts"]

_URL = f"https://sandbox.billblend.com/checkout{CHECK}"


def parts(stand: Stand) -> Iterator[Row]:
    """Compare each part with the least that it could be."""
    rounds = 3 * stand.scale.rounds
    pem = make_private_key()
    signer = RsaSigner.from_pem(pem)
    parameters = build_payout(payout_request("po-1"))

    def sign() -> object:
        return authorization(
            signer, "merchant", "POST", _URL, parameters, nonce="n" * 32, timestamp=1_800_000_000
        )

    yield _compare(
        "a signed header / a bare RSA-2048 signature",
        lambda: _seconds(sign, 100),
        lambda: _seconds(lambda: signer.sign(b"x" * 900), 100),
        rounds,
    )
    if find_spec("oauthlib") is not None:
        from oauthlib import oauth1  # noqa: PLC0415 - only where it is installed

        oauthlib = oauth1.Client(
            "merchant", rsa_key=pem, signature_method=oauth1.SIGNATURE_RSA_SHA256
        )
        body = build_form(parameters).decode()
        yield _compare(
            "a signed header / oauthlib, which reads the key each time",
            lambda: _seconds(sign, 50),
            lambda: _seconds(lambda: oauthlib.sign(_URL, "POST", body, {"Content-Type": FORM}), 5),
            rounds,
        )
    payout = open_payout(opened(0))
    event = CheckStarted(at=1_800_000_001.0)
    yield _compare(
        "a transition of the machine / a bare attrs.evolve",
        lambda: _seconds(lambda: evolve(payout, event), 2000),
        lambda: _seconds(lambda: attrs.evolve(payout, sequence=1), 2000),
        rounds,
    )


def _compare(what: str, ours: Callable[[], float], other: Callable[[], float], rounds: int) -> Row:
    """Measure two things in turn."""
    pairs = [(ours(), other()) for _ in range(rounds)]
    return Row(
        what=f"CPU of {what}",
        unit="×",
        values=tuple(mine / theirs for mine, theirs in pairs),
        note=f"{min(mine for mine, _ in pairs) * 1e6:,.0f} µs at best",
    )


def _seconds(work: Callable[[], object], times: int) -> float:
    """Measure the CPU seconds of one piece of work, over some repetitions."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times
