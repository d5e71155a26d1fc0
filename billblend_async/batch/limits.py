"""What a file of payouts may sum to and hold: limits that its owner knows and the file does not."""

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import attrs

from ..core.models import Outcome
from ..core.notation import Notation, misread, with_point
from ..core.payout import Payout
from ..core.request import PayoutRequest
from ..errors import InvalidInput, Problem
from .parser import Batch

__all__ = ["Limits", "add_limits", "amounts_text", "check_limits", "limits_of"]

Amount = PayoutRequest | Outcome | Payout
"""Whatever has an amount and a currency."""

_AMOUNT: Final = r"[0-9]{1,40}(?:[.,][0-9]{1,40})?"
_NAMED_AMOUNT: Final = re.compile(rf"([A-Z]{{3}})=({_AMOUNT})")


@attrs.frozen(kw_only=True)
class Limits:
    """What a file may hold.

    Attributes:
        totals: What it must sum to per currency; every currency is named, or none is.
        most: The largest amount of a row per currency.
        most_of_any: The largest amount of a row in any other currency; None is no limit.
    """

    totals: Mapping[str, Decimal] = attrs.field(factory=dict)
    most: Mapping[str, Decimal] = attrs.field(factory=dict)
    most_of_any: Decimal | None = None


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that say what a file may hold."""
    parser.add_argument(
        "--expect-total",
        type=_named_amount,
        action="append",
        default=[],
        metavar="CURRENCY=AMOUNT",
        help="refuse a file that sums to anything else; once for each currency",
    )
    parser.add_argument(
        "--max-amount",
        type=_limit,
        action="append",
        default=[],
        metavar="[CURRENCY=]AMOUNT",
        help="refuse a file with a payout above this; a bare amount is for every other currency",
    )


def _named_amount(text: str) -> tuple[str, str]:
    named = _NAMED_AMOUNT.fullmatch(text)
    if named is None:
        raise argparse.ArgumentTypeError("must be CURRENCY=AMOUNT, such as EUR=1234.50")
    return named[1], named[2]


def _limit(text: str) -> tuple[str, str]:
    if re.fullmatch(_AMOUNT, text):
        return "", text
    if _NAMED_AMOUNT.fullmatch(text):
        return _named_amount(text)
    raise argparse.ArgumentTypeError("must be CURRENCY=AMOUNT or AMOUNT, such as EUR=500 or 500")


def limits_of(arguments: argparse.Namespace) -> Limits:
    """Read the limits of a command line, whose amounts are written as those of its file.

    Raises:
        InvalidInput: One is given twice, or has a comma or a point that may say something else.
    """
    decimal_comma = arguments.decimal_comma
    given = {"--expect-total": arguments.expect_total, "--max-amount": arguments.max_amount}
    problems = [
        Problem(f"{option} {currency}".rstrip(), "is given twice; give it once")
        for option, amounts in given.items()
        for currency, times in Counter(currency for currency, _ in amounts).items()
        if times > 1
    ]
    problems += (
        Problem(f"{option} {currency}".rstrip(), wrong)
        for option, amounts in given.items()
        for currency, text in amounts
        if (wrong := misread(text, decimal_comma=decimal_comma))
    )
    if problems:
        raise InvalidInput(tuple(problems))
    totals, most = (
        {
            currency: Decimal(with_point(text, decimal_comma=decimal_comma))
            for currency, text in amounts
        }
        for amounts in given.values()
    )
    return Limits(totals=totals, most_of_any=most.pop("", None), most=most)


def check_limits(batch: Batch, limits: Limits) -> None:
    """Refuse a file that sums to anything else than was expected, or has too large an amount.

    Raises:
        InvalidInput: Every row and currency in question is named.
    """
    problems, write = [], batch.notation.amount
    sums, expected = _sums(row.request for row in batch.rows), limits.totals
    for currency in sorted({*sums, *expected} if expected else ()):
        found = sums.get(currency, Decimal(0))
        if currency not in expected:
            wrong = f"is not given, and the file holds {write(found)} {currency}"
            problems.append(Problem(f"--expect-total {currency}", wrong))
        elif found != expected[currency]:
            wrong = f"is {write(expected[currency])}, but the file sums to {write(found)}"
            problems.append(Problem(f"--expect-total {currency}", wrong))
    for row in batch.rows:
        currency = row.request.currency
        most = limits.most.get(currency, limits.most_of_any)
        if most is not None and row.request.amount > most:
            wrong = f"is above --max-amount, which is {write(most)} {currency}"
            problems.append(Problem(batch.place(row, "amount"), wrong))
    if problems:
        raise InvalidInput(tuple(problems))


def _sums(requests: Iterable[Amount]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for request in requests:
        sums[request.currency] = sums.get(request.currency, Decimal(0)) + request.amount
    return sums


def amounts_text(requests: Iterable[Amount], notation: Notation) -> str:
    """Write what payouts sum to per currency, such as ``1,234.50 EUR, 99.00 USD``."""
    return notation.sums(_sums(requests))
