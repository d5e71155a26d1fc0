"""The results of a batch as a file: its own columns and what became of each row."""

import contextlib
import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final, Literal

import attrs

from ..core.models import OpenReason, Outcome, State
from ..core.responses import Status
from ..errors import ConfigurationError
from ..reporting.export import harmless, replacing
from ..reporting.projection import Total, explanation_of, told_status
from .formats import Form, Unfit, check_openpyxl, open_sheet, read_header, write_workbook
from .parser import RESULT_COLUMNS, Batch

__all__ = [
    "ToldRow",
    "are_results",
    "check_ending",
    "exit_status",
    "told_rows",
    "totals",
    "write_results",
]

_CARD_COLUMNS: Final = frozenset({"credit_card_number", "expire_month", "expire_year", "cvv2"})
_ENDINGS: Final[Mapping[str, Literal["jsonl", "xlsx"]]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
}
_MISLEADING: Final = frozenset({".json", ".ods", ".xls", ".xlsb", ".xlsm"})
_LONGEST_HEADER: Final = 1 << 20
_NOTHING_KNOWN: Final = ("unfinished", "conflict")
"""How a row is told for which nothing was accepted, as after a run that was stopped at once."""
_ENDED: Final = frozenset(
    {status.value for status in (State.REJECTED, State.WITHDRAWN, State.CLOSED)}
    | {str(status) for status in (Status.APPROVED, Status.DECLINED, Status.FILTERED, Status.ERROR)}
)
"""How a row is told of which nothing more was to come."""


@attrs.frozen
class ToldRow:
    """What a results file tells of a payout.

    Attributes:
        status: Its word for where the payout stands.
        paynet_order_id: The gateway's order id; empty where none was known.
    """

    status: str
    paynet_order_id: str

    @property
    def is_known(self) -> bool:
        """Whether more is told than that nothing is known."""
        return self.status not in _NOTHING_KNOWN or self.paynet_order_id != ""

    def is_ahead_of(self, told: Outcome) -> bool:
        """Tell whether the payout had come further than where a journal says that it stands."""
        has_ended = self.status.strip().lower() in _ENDED and not told.is_finished
        return has_ended or bool(self.paynet_order_id and told.paynet_order_id is None)


def check_ending(path: Path) -> None:
    """Find out whether results can be written in the form that a file's name promises.

    Raises:
        ConfigurationError: They cannot; the message says how to mend that.
    """
    ending = path.suffix.lower()
    if ending in _MISLEADING:
        raise ConfigurationError(f"--out {path}: let it end in .csv, .jsonl or .xlsx")
    if _ENDINGS.get(ending) == "xlsx":
        check_openpyxl()


def are_results(path: Path) -> bool:
    """Tell whether a file is empty or holds the results of a batch."""
    with path.open("rb") as file:
        header = file.readline(_LONGEST_HEADER)
        if header.startswith(b"PK"):
            file.seek(0)
            return tuple(read_header(file)[-len(RESULT_COLUMNS) :]) == RESULT_COLUMNS
    text = header.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    if text.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            return tuple(json.loads(text))[-len(RESULT_COLUMNS) :] == RESULT_COLUMNS
    return not header or any(text.endswith(mark.join(RESULT_COLUMNS)) for mark in ",;\t")


def told_rows(path: Path) -> dict[str, ToldRow]:
    """Read what a results file tells, by client_orderid, as far as it can be read.

    Raises:
        OSError: The file cannot be read.
    """
    rows: dict[str, ToldRow] = {}
    with path.open("rb") as file:
        sheet = open_sheet(file, ending=path.suffix)
        for record in sheet.records:
            if isinstance(record, Unfit):
                break
            row = dict(zip(sheet.columns, map(str, record.cells), strict=False))
            told = ToldRow(row.get("status", ""), row.get("paynet_order_id", ""))
            rows[row.get("client_orderid", "").strip()] = told
    return rows


def write_results(path: Path, batch: Batch, outcomes: Mapping[str, Outcome]) -> None:
    """Write the input columns and what became of each row, in the input's order, atomically.

    A path that ends in .jsonl or .xlsx gets that form, any other CSV in the manner of the payouts
    file. Card number, expiry and CVV are masked. A file that is there is replaced only by a whole
    one.

    Raises:
        OSError: The file cannot be written.
    """
    rows = _rows(batch, outcomes)
    with replacing(path) as file:
        match _ENDINGS.get(path.suffix.lower()):
            case "xlsx":
                write_workbook(file, rows)
            case "jsonl":
                _write_objects(file, rows)
            case _:
                _write_csv(file, rows, batch.form)


def _rows(batch: Batch, outcomes: Mapping[str, Outcome]) -> Iterator[list[str]]:
    yield [*batch.columns, *RESULT_COLUMNS]
    for row in batch.rows:
        outcome = outcomes.get(row.request.client_orderid)
        cells = (_masked(*cell) for cell in zip(batch.columns, row.cells, strict=True))
        yield [*cells, *_results(outcome)]


def _write_csv(file: BinaryIO, rows: Iterable[list[str]], form: Form) -> None:
    encoding = "utf-8-sig" if form.has_mark else "utf-8"
    text = io.TextIOWrapper(file, encoding, newline="")
    writer = csv.writer(text, delimiter=form.delimiter)
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    text.flush()
    text.detach()  # whoever has opened the file closes it


def _write_objects(file: BinaryIO, rows: Iterator[list[str]]) -> None:
    columns = next(rows)
    for row in rows:
        named = dict(zip(columns, row, strict=True))
        file.write(json.dumps(named, ensure_ascii=False).encode() + b"\n")


def _results(outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return ["unfinished", *[""] * (len(RESULT_COLUMNS) - 1)]
    return [
        told_status(outcome),
        outcome.paynet_order_id or "",
        outcome.order_stage or "",
        outcome.error_code or "",
        outcome.error_message or "",
        explanation_of(outcome),
        outcome.redirect_to or "",
    ]


def _masked(column: str, cell: str) -> str:
    number = cell.strip()
    if column not in _CARD_COLUMNS or not number:
        return cell
    return "****" + number[-4:] if column == "credit_card_number" and len(number) >= 8 else "****"


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
        filtered, rejected or ended by a person; 2: something unfinished or in need of a person, as
        the status ``error`` is: money may have moved, so nobody should pay it again unasked.
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
