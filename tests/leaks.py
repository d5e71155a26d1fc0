"""Secrets that are planted, and the search for them in whatever a program leaves behind."""

import base64
import functools
import json
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives import serialization
from rsa_keys import private_key

from billblend_async.core.parameters import Kind
from billblend_async.core.request import PARAMETERS

CARD: Final = "4539148803436467"
LINK: Final = "https://127.0.0.1/form/zqLinkSecret?token=zq%2Ftoken"
PASSWORD: Final = "zq-pem pässword/7&"
CONTROL: Final = "ZQ5F0A77-CONTROL-4C1D"
_SPECIAL: Final = {
    "credit_card_number": CARD,
    "expire_month": "11",
    "expire_year": "2097",
    "cvv2": "7391",
    "receiver_birthday": "19610523771",
    "receiver_phone": "+49 151 7700112233",
    "receiver_zip_code": "90210 774411",
    "receiver_email": "zq.secret+mail@example.org",
    "ipaddress": "203.0.113.177",
    "merchant_data": "zq merchant\ndata & more=secret",
    "card_recurring_payment_id": "7700112233445566778",
    "recurring_payment_id": "7700998877665544332",
}

RECEIVER: Final = {
    name: _SPECIAL.get(name, f"zq{n:02} {name[:12]} & Ä")
    for n, (name, row) in enumerate(PARAMETERS.items())
    if row.secret
}
"""A distinctive value for every secret parameter."""
TOKENS: Final = frozenset({"card_recurring_payment_id", "recurring_payment_id"})
"""Those that stand in for card data and so need a payout of their own."""
assert all(row.kind is Kind.INTEGER for name, row in PARAMETERS.items() if name in TOKENS)


@functools.cache
def private_pem() -> str:
    """Write the private key as PEM, encrypted with the password."""
    return _pem(serialization.BestAvailableEncryption(PASSWORD.encode()))


def _pem(
    encryption: serialization.KeySerializationEncryption,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
) -> str:
    return private_key(2048).private_bytes(serialization.Encoding.PEM, form, encryption).decode()


@functools.cache
def secrets() -> Mapping[str, str]:
    """Give every secret by its name; a key by the lines of its PEM and by its numbers."""
    plain = serialization.NoEncryption()
    pems = {
        "encrypted": private_pem(),
        "pkcs8": _pem(plain),
        "pkcs1": _pem(plain, serialization.PrivateFormat.TraditionalOpenSSL),
    }
    numbers = private_key(2048).private_numbers()
    return {
        **RECEIVER,
        **{
            f"private key, {name} line {n}": line
            for name, pem in pems.items()
            for n, line in enumerate(pem.splitlines()[2:-2])
        },
        "private key, d": str(numbers.d),
        "private key, p": f"{numbers.p:x}",
        "password": PASSWORD,
        "merchant_control": CONTROL,
        "redirect_to": LINK,
    }


def forms(secret: str) -> Iterator[tuple[str, bytes]]:
    """Give the ways in which a secret may be written."""
    octets = secret.encode()
    yield "raw", octets
    yield "repr", repr(secret)[1:-1].encode()
    yield "repr of bytes", repr(octets)[2:-1].encode()
    yield "JSON", json.dumps(secret)[1:-1].encode()
    every = "".join(f"%{octet:02X}" for octet in octets)
    for name, text in (
        ("url", quote(secret, safe="")),
        ("url +", quote_plus(secret)),
        ("%", every),
    ):
        yield name, text.encode()
        yield f"{name}, small", re.sub("%..", lambda found: found.group().lower(), text).encode()
    yield "hex", octets.hex().encode()
    yield "HEX", octets.hex().upper().encode()
    for before in range(3):
        # The characters that mix with what stands before or after are left out.
        text = base64.b64encode(b"\0" * before + octets).decode()
        end = len(text) - (0 if (before + len(octets)) % 3 == 0 else 4)
        core = text[4 if before else 0 : end]
        yield f"base64 + {before}", core.encode()
        yield f"base64 + {before}, for URLs", core.translate({43: 45, 47: 95}).encode()


@functools.cache
def _pattern(name: str) -> tuple[re.Pattern[bytes], ...]:
    """Make what finds a secret; a short one only as a word, the shortest beside its name."""
    secret = secrets()[name]
    if len(secret) < 3:
        return (re.compile(rb"%s\W{1,9}%s\b" % (name.encode(), secret.encode())),)
    if len(secret) < 6:
        return (
            re.compile(rb"(?<![0-9A-Za-z.])%s(?![0-9A-Za-z])" % secret.encode()),
            re.compile(rb"%s\W{1,9}%s" % (name.encode(), secret.encode().hex().encode())),
        )
    found = {form for _, form in forms(secret) if len(form) >= 8}
    return (re.compile(b"|".join(re.escape(form) for form in sorted(found))),)


def leaks(evidence: Mapping[str, bytes], names: Iterable[str] | None = None) -> list[str]:
    """Name each secret that stands in some evidence, and where."""
    wanted = secrets() if names is None else names
    return [
        f"{name} in {where}"
        for where, octets in evidence.items()
        for name in wanted
        if any(pattern.search(octets) for pattern in _pattern(name))
    ]


_OURS: Final = str(Path(__file__).parent)


def told_by(error: BaseException) -> bytes:
    """Write out all that an error tracker sees of an exception: its chain, frames and variables.

    The frames of the tests themselves are left out: theirs are the caller's own variables.
    """
    parts: list[str] = []
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        each = ahead.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        ahead += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            ahead += each.exceptions
        parts += [str(each), repr(each), repr(each.args), repr(getattr(each, "__dict__", None))]
        parts += [repr(getattr(each, "__notes__", None))]
        told = traceback.TracebackException.from_exception(each, capture_locals=True)
        parts += [
            f"{frame.filename}:{frame.lineno} {frame.name} {frame.locals}"
            for frame in told.stack
            if not frame.filename.startswith(_OURS)
        ]
    return "\n".join(parts).encode(errors="backslashreplace")
