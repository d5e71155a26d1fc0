"""A file of payouts in, a file of results out."""

import contextlib
import csv
import io
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs

from .errors import InvalidInput, Problem, SendingStopped
from .models import OpenReason, Outcome, State
from .parameters import mask_digits
from .request import PARAMETER_NAMES, PayoutRequest

__all__ = [
    "RESULT_COLUMNS",
    "Batch",
    "Row",
    "Total",
    "are_results",
    "exit_status",
    "read_batch",
    "told_status",
    "totals",
    "write_results",
]

RESULT_COLUMNS: Final = (
    "status",
    "paynet_order_id",
    "order_stage",
    "error_code",
    "error_message",
    "explanation",
    "redirect_to",
)
"""The columns that a results file adds to those of the payouts file."""

_SHORTENED: Final = re.compile(r"\d([.,]\d+)?[eE]\+\d+")
"""A long number as a spreadsheet writes it: its digits are lost."""
_CARD_COLUMNS: Final = frozenset({"credit_card_number", "expire_month", "expire_year", "cvv2"})


@attrs.frozen
class Row:
    """One payout of a file.

    Attributes:
        line: The line of the file on which it ends.
        cells: The cells as they stand there.
        request: The payout.
    """

    line: int
    cells: tuple[str, ...] = attrs.field(repr=False)
    request: PayoutRequest


@attrs.frozen
class Batch:
    """A file of payouts, all of them good.

    Attributes:
        columns: The file's header.
        rows: The payouts in the file's order.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_batch(path: Path) -> Batch:
    """Read a CSV file whose headers are parameter names (UTF-8, comma, with or without a BOM).

    The file is taken whole or not at all.

    Raises:
        InvalidInput: Every wrong line and field is named, none with its value.
    """
    read = _read_records(path, _read_csv(path))
    if isinstance(read, Batch):
        return read
    raise InvalidInput(tuple(read))


def _read_records(
    path: Path, records: Sequence[tuple[int, tuple[str, ...]]]
) -> Batch | list[Problem]:
    """Read a header and its payouts, or return the problems: no exception passes the cells."""
    if not records:
        return [Problem(str(path), "the file is empty")]
    columns = tuple(name.strip() for name in records[0][1])
    problems = list(_column_problems(columns))
    if problems:
        return problems
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for line, cells in records[1:]:
        if len(cells) != len(columns):
            wrong = f"has {len(cells)} cells, but the header has {len(columns)}"
            problems.append(Problem(f"line {line}", wrong))
            continue
        try:
            request = PayoutRequest.from_text(dict(zip(columns, cells, strict=True)))
        except InvalidInput as error:
            problems += (
                Problem(f"line {line}, {problem.field}", problem.message)
                for problem in error.problems
            )
            continue
        problems += (
            Problem(f"line {line}, {name}", "was shortened by a spreadsheet; format it as text")
            for name, cell in zip(columns, cells, strict=True)
            if _SHORTENED.fullmatch(cell.strip())
        )
        first = seen.setdefault(request.client_orderid, line)
        if first != line:
            problems.append(
                Problem(f"line {line}, client_orderid", f"is the same as on line {first}")
            )
        rows.append(Row(line, cells, request))
    if not rows and not problems:
        problems.append(Problem(str(path), "the file has a header and no payouts"))
    return problems or Batch(columns, tuple(rows))


def _read_csv(path: Path) -> list[tuple[int, tuple[str, ...]]]:
    """Read the records that are not blank, each with the line on which it ends."""
    reason = ""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                return [(reader.line_num, tuple(record)) for record in reader if any(record)]
            except csv.Error as error:
                reason = f"line {reader.line_num} is no CSV: {error}"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = "is not UTF-8; save it as CSV UTF-8"
    raise InvalidInput((Problem(str(path), reason),))


def _column_problems(columns: Sequence[str]) -> Iterable[Problem]:
    if not any(name in PARAMETER_NAMES for name in columns):
        # It may well be a payout, whose cells are not to be repeated.
        hint = "; save it with commas between the cells" if ";" in "".join(columns) else ""
        yield Problem("header", f"the first line names no parameter of a payout{hint}")
        return
    required = ("client_orderid", "amount", "currency")
    missing = [name for name in required if name not in columns]
    if missing:
        yield Problem("header", f"has no column {' and no column '.join(missing)}")
    named = Counter(PARAMETER_NAMES.get(name, name) for name in columns)
    for name in columns:
        if name not in PARAMETER_NAMES:
            shown = mask_digits(name) or "(without a name)"
            yield Problem(f"column {shown}", "is no parameter of a payout")
        elif named[PARAMETER_NAMES[name]] > 1:
            yield Problem(f"column {name}", "is there twice, under its name or its alias")


def told_status(outcome: Outcome | None) -> str:
    """Say in one word what became of a payout: the gateway's final status, or where it stands."""
    if outcome is None or isinstance(outcome.problem, SendingStopped):
        return "unfinished"
    if outcome.problem is not None:
        return "conflict"
    if outcome.state is State.FINAL and outcome.status is not None:
        return str(outcome.status)
    if outcome.is_finished or outcome.state is State.ATTENTION:
        return outcome.state.value
    match outcome.open_reason:
        case OpenReason.AWAITING_APPROVAL | OpenReason.AWAITING_RECEIVER as reason:
            return reason.value
        case _:
            return "unfinished"


@attrs.frozen
class Total:
    """How many payouts of one status and currency, and what they sum to.

    Attributes:
        status: The word of ``told_status``.
        currency: The currency.
        payouts: How many.
        amount: Their sum in major units.
    """

    status: str
    currency: str
    payouts: int
    amount: Decimal


def totals(batch: Batch, outcomes: Mapping[str, Outcome]) -> list[Total]:
    """Sum a batch up per status and currency."""
    counts: Counter[tuple[str, str]] = Counter()
    sums: dict[tuple[str, str], Decimal] = {}
    for row in batch.rows:
        request = row.request
        key = told_status(outcomes.get(request.client_orderid)), request.currency
        counts[key] += 1
        sums[key] = sums.get(key, Decimal(0)) + request.amount
    return [Total(*key, counts[key], sums[key]) for key in sorted(counts)]


def exit_status(batch: Batch, outcomes: Mapping[str, Outcome], *, check_only: bool = False) -> int:
    """Sum a batch up in one number.

    Args:
        batch: The batch.
        outcomes: What became of its payouts.
        check_only: Whether the batch was to be checked and to wait for approval.

    Returns:
        0: all approved, or awaiting approval where that is all that was wanted; 1: some declined,
        error, filtered or rejected; 2: something unfinished or in need of a person.
    """
    told = [outcomes.get(row.request.client_orderid) for row in batch.rows]
    good = 0
    for outcome in told:
        held = outcome is not None and outcome.open_reason is OpenReason.AWAITING_APPROVAL
        if outcome is None or outcome.needs_person:
            return 2
        if not outcome.is_finished and not (held and check_only):
            return 2
        good += outcome.is_approved or held
    return 0 if good == len(told) else 1


def are_results(path: Path) -> bool:
    """Tell whether a file is empty or holds the results of a batch."""
    with path.open("rb") as file:
        header = file.readline(65_536).decode(errors="replace").rstrip("\r\n")
    return not header or header.endswith(",".join(RESULT_COLUMNS))


def write_results(path: Path, batch: Batch, outcomes: Mapping[str, Outcome]) -> None:
    """Write the input columns and what became of each row, in the input's order, atomically.

    Card number, expiry and CVV are masked. A file that is there is replaced only by a whole one.

    Raises:
        OSError: The file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*batch.columns, *RESULT_COLUMNS])
    for row in batch.rows:
        outcome = outcomes.get(row.request.client_orderid)
        cells = (_masked(*cell) for cell in zip(batch.columns, row.cells, strict=True))
        writer.writerow([*cells, *_results(outcome)])
    path = path.resolve()  # a link stays one
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _results(outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return ["unfinished", *[""] * (len(RESULT_COLUMNS) - 1)]
    return [
        told_status(outcome),
        outcome.paynet_order_id or "",
        outcome.order_stage or "",
        outcome.error_code or "",
        outcome.error_message or "",
        outcome.explanation or "",
        outcome.redirect_to or "",
    ]


def _masked(column: str, cell: str) -> str:
    number = cell.strip()
    if column not in _CARD_COLUMNS or not number:
        return cell
    return "****" + number[-4:] if column == "credit_card_number" and len(number) >= 8 else "****"
