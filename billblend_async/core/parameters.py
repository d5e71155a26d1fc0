"""What a request parameter may hold: kind, length, need and secrecy, and how a value is checked.

The rules are those of the parameter table of document 3.24 (/api/v4/payout). "Conditional" means
agreed with the support manager for one integration, so its presence is never enforced here.
The currencies are ISO 4217's "Current currency & funds code list" (list one) as SIX, the standard's
maintenance agency, publishes it; a newer edition is taken over here and nowhere else.
"""

import enum
import ipaddress
import re
import unicodedata
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

__all__ = [
    "CODES",
    "EXPONENTS",
    "PUBLISHED",
    "Kind",
    "Need",
    "Parameter",
    "amount_text",
    "check_id",
    "check_value",
    "decimals",
    "mask_digits",
    "parameter",
    "parse_value",
]

PUBLISHED: Final = "2026-01-01"
"""The edition of the list."""

_LISTED: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL "
    "GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR "
    "LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD "
    "PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC "
    "SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR "
    "ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_WITHOUT_DECIMALS: Final = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"
"""Metals, units of account and the like, for which the list gives no decimals."""
_WITHDRAWN: Final = {2: "ANG BGN"}
"""Codes that the list has lost in 2025 and 2026, and that may still be asked for."""

EXPONENTS: Final = {
    code: exponent
    for table in (_LISTED, _WITHDRAWN)
    for exponent, codes in table.items()
    for code in codes.split()
}
"""Decimals of each currency; a code that is not here is not limited."""
CODES: Final = frozenset(" ".join((*_LISTED.values(), _WITHOUT_DECIMALS)).split())
"""Every code of the list."""


AMOUNT_LENGTH: Final = 10
"""Characters of an amount on the wire, the point included (document 3.24)."""


class Kind(enum.Enum):
    """What a parameter's value looks like."""

    AMOUNT = "a decimal amount in major units"
    CURRENCY = "a currency code of three capital letters"
    TEXT = "text"
    LONG_TEXT = "text that may have several lines"
    DIGITS = "digits"
    PHONE = "a phone number: digits, with an optional + and spaces, hyphens or brackets"
    ZIP = "digits, with spaces or hyphens between them"
    MONTH = "a month from 01 to 12"
    YEAR = "a year of four digits"
    INTEGER = "a whole number from 0 on"
    IP = "an IPv4 or IPv6 address"
    URL = "an http or https URL"

    __hash__ = object.__hash__  # enum's own is written in Python, and each value is looked up by it


class Need(enum.Enum):
    """Whether the gateway wants a parameter."""

    REQUIRED = "required"
    CONDITIONAL = "conditional"
    OPTIONAL = "optional"


@attrs.frozen
class Parameter:
    """One row of the gateway's parameter table.

    Attributes:
        kind: What the value looks like.
        longest: The most characters it may have; None where the table gives no length.
        shortest: The fewest characters it may have.
        need: Whether the gateway wants it.
        secret: Whether it is masked wherever it is shown.
        receiver: Whether it says who gets the money; a repeat that differs in it is refused.
        alias: The second name that the gateway documents for it.
    """

    kind: Kind
    longest: int | None
    shortest: int = 1
    need: Need = Need.CONDITIONAL
    secret: bool = False
    receiver: bool = False
    alias: str | None = None


def mask_digits(text: str) -> str:
    """Mask every run of eight or more digits, so that no card or account number is repeated."""
    return _LONG_DIGITS.sub(lambda found: "*" * 4 + found.group()[-4:], text)


_LONG_DIGITS: Final = re.compile(r"\d(?:[ -]?\d){7,}")


def parameter(kind: Kind, longest: int | None = None, **rest: Any) -> Any:  # noqa: ANN401 - the field's own annotation types it
    """Declare a parameter as an attrs field; one that is not required defaults to None."""
    row = Parameter(kind, longest, **rest)
    return attrs.field(
        default=attrs.NOTHING if row.need is Need.REQUIRED else None,
        metadata={"parameter": row},
    )


def decimals(currency: str) -> int:
    """Tell how many decimals a currency has; none for one that ISO 4217 does not list."""
    return EXPONENTS.get(currency, 0)


def amount_text(amount: Decimal, currency: str) -> str:
    """Write an amount as the wire wants it: major units, a point, no exponent.

    Zeros past the currency's own decimals are dropped, so that a ``Decimal("10.4200")`` of a
    database column travels as ``10.42``.
    """
    exponent = EXPONENTS.get(currency)
    places = amount.as_tuple().exponent
    if exponent is not None and isinstance(places, int) and -places > exponent:
        shorter = amount.quantize(Decimal((0, (1,), -exponent)), context=_CONTEXT)
        if shorter == amount:
            amount = shorter
    return format(amount, "f")


# The host's own decimal context may round, or raise; here what does not fit becomes NaN.
_CONTEXT: Final = Context(prec=28, traps=[])


def check_amount(amount: object, currency: object) -> str | None:
    """Say what is wrong with an amount, or None."""
    if isinstance(amount, float):
        return "must be a Decimal; a float cannot hold money exactly"
    if not isinstance(amount, Decimal):
        return "must be a plain decimal number in major units such as 10.42, as a Decimal"
    if not amount.is_finite() or amount <= 0:
        return "must be greater than zero"
    too_long = f"must have at most {AMOUNT_LENGTH} characters, the point included"
    if abs(amount.adjusted()) > AMOUNT_LENGTH:  # 1E+999999999 is not written out to be measured
        return too_long
    text = amount_text(amount, currency if isinstance(currency, str) else "")
    if len(text) > AMOUNT_LENGTH:
        return too_long
    exponent = EXPONENTS.get(currency) if isinstance(currency, str) else None
    if exponent is not None and len(text.partition(".")[2]) > exponent:
        return f"has more decimals than {currency}, which has {exponent}"
    return None


def check_value(row: Parameter, value: object) -> str | None:
    """Say what is wrong with a value that is no amount, without repeating it, or None."""
    if row.kind is Kind.INTEGER:
        return _check_integer(row, value)
    if not isinstance(value, str):
        return "must be text"
    if not value:
        return "is empty; leave it out instead" if row.need is not Need.REQUIRED else "is empty"
    if not value.isprintable():  # what can be printed is neither of these
        try:
            value.encode()
        except UnicodeEncodeError:
            return "holds characters that are no valid Unicode text"
        if row.kind is not Kind.LONG_TEXT and _CONTROL.search(value):
            return "holds control characters or line breaks"
    if value != value.strip():
        return "begins or ends with white space, which the gateway would drop"
    if row.longest is not None and not row.shortest <= len(value) <= row.longest:
        least = f"{row.shortest} to " if row.shortest > 1 else "at most "
        return f"must have {least}{row.longest} characters, not {len(value)}"
    return None if _FORMS[row.kind](value) else f"must be {row.kind.value}"


def check_id(value: str) -> str | None:
    """Say why an id may be taken for another one by whoever reads it, or None.

    What a journal holds under such an id goes on under it; only new requests are refused.
    """
    if not value.isprintable():
        return "holds characters that cannot be seen, or an odd space; type it anew"
    if not unicodedata.is_normalized("NFC", value):
        return "holds a letter in two parts; write it as one character (Unicode NFC)"
    return None


def parse_value(row: Parameter, text: str) -> str | int | Decimal:
    """Turn the text of a file's cell into the value of a parameter.

    Text that cannot be turned is handed on as it is: the check that follows names the field.
    """
    if row.kind is Kind.AMOUNT and _PLAIN_NUMBER.fullmatch(text):
        return Decimal(text)
    if row.kind is Kind.INTEGER and _is_digits(text) and len(text) <= 19:
        return int(text)
    return text


def _check_integer(row: Parameter, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return "must be a whole number"
    if not 0 <= value < 2**63:
        return "must lie between 0 and 2^63 - 1"
    if row.longest is not None and len(str(value)) > row.longest:
        return f"must have at most {row.longest} digits"
    return None


def _is_digits(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port  # reading it checks it
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in value


_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_PLAIN_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
_PHONE: Final = re.compile(r"\+?[0-9() -]*[0-9][0-9() -]*")
_ZIP: Final = re.compile(r"[0-9]+([ -][0-9]+)*")

_FORMS: Final[dict[Kind, Callable[[str], object]]] = {
    Kind.CURRENCY: re.compile("[A-Z]{3}").fullmatch,
    Kind.TEXT: lambda _: True,
    Kind.LONG_TEXT: lambda _: True,
    Kind.DIGITS: _is_digits,
    Kind.PHONE: _PHONE.fullmatch,
    Kind.ZIP: _ZIP.fullmatch,
    Kind.MONTH: re.compile("0?[1-9]|1[0-2]").fullmatch,
    Kind.YEAR: re.compile("[0-9]{4}").fullmatch,
    Kind.IP: _is_ip,
    Kind.URL: _is_url,
}
