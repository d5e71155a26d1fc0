"""Payouts come as JSON Lines and as workbooks too, and no number there loses its zeros unseen."""

import csv
import datetime as dt
import io
import json
import sys
import traceback
import tracemalloc
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

from billblend_async.batch.formats import column_letters
from billblend_async.batch.parser import Batch, read_batch
from billblend_async.errors import ConfigurationError, InvalidInput

COLUMNS = ("client_orderid", "amount", "currency", "account_number")
GOOD = ("po-1", "10.42", "USD", "0012345678")
SECRET = "hush-4929"
TEXT = "format the column as text and enter it again"


def problems(path: Path) -> list[str]:
    """Gather what is wrong with a file, once it is sure that no value of it is shown."""
    with pytest.raises(InvalidInput) as caught:
        read_batch(path)
    error = caught.value
    ours = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename != __file__
    ]
    shown = "".join([repr(error), *traceback.format_exception(error), repr(ours)])
    assert SECRET not in shown
    assert error.__context__ is None
    return [str(problem).replace(f"{path}: ", "") for problem in error.problems]


def changed(file: Path, old: bytes, new: bytes) -> Path:
    """Change what a workbook's first sheet says in its XML; the changed copy."""
    other = file.with_name("changed.xlsx")
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(other, "w") as copy:
        for name in whole.namelist():
            part = whole.read(name)
            if name == "xl/worksheets/sheet1.xml":
                assert old in part
                part = part.replace(old, new)
            copy.writestr(name, part)
    return other


def fields(batch: Batch) -> list[tuple[Any, ...]]:
    """Give the usual fields of each payout."""
    return [tuple(getattr(row.request, name) for name in COLUMNS) for row in batch.rows]


class TestJsonLines:
    def write(self, folder: Path, *lines: object, name: str = "payouts.jsonl") -> Path:
        """Write lines, objects among them as JSON."""
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (folder / name).write_text("\n".join(texts), "utf-8")
        return folder / name

    def test_good(self, tmp_path: Path) -> None:
        """Texts and exact numbers become the payout that a line says, blank lines apart."""
        file = self.write(
            tmp_path,
            dict(zip(COLUMNS, GOOD, strict=True)),
            "",
            '{"amount": 0.30, "client_orderid": "po-2", "currency": "EUR", "customer_id": 7}',
            '{"amount": 5, "client_orderid": "po-3", "currency": "EUR", "account_number": null}',
        )
        batch = read_batch(file)

        assert [
            ("po-1", Decimal("10.42"), "USD", "0012345678"),
            ("po-2", Decimal("0.30"), "EUR", None),
            ("po-3", Decimal(5), "EUR", None),
        ] == fields(batch)
        assert (*COLUMNS, "customer_id") == batch.columns
        assert [
            (1, (*GOOD, "")),
            (3, ("po-2", "0.30", "EUR", "", "7")),
            (4, ("po-3", "5", "EUR", "", "")),
        ] == [(row.line, row.cells) for row in batch.rows]
        assert "0.30" == str(batch.rows[1].request.amount)

    @pytest.mark.parametrize("name", ["payouts.ndjson", "payouts.json", "payouts.txt", "payouts"])
    def test_by_content(self, tmp_path: Path, name: str) -> None:
        """A file whose first character opens an object is JSON Lines, whatever it is called."""
        file = self.write(tmp_path, dict(zip(COLUMNS, GOOD, strict=True)), name=name)

        assert "0012345678" == read_batch(file).rows[0].request.account_number

    def test_every_line(self, tmp_path: Path) -> None:
        """Every wrong line and name is told at once, and no value is shown."""
        good = dict(zip(COLUMNS, GOOD, strict=True))
        file = self.write(
            tmp_path,
            good | {"account_number": 4929},
            good | {"iban": SECRET},
            f'{{"client_orderid": "{SECRET}", "amount": "1"',
            f'["{SECRET}"]',
            f'{{"amount": 1, "amount": "{SECRET}"}}',
            good | {"client_orderid": "po-6", "amount": True, "currency": {"x": SECRET}},
            {"client_orderid": "po-7", "amount": "1e3", "first_name": [SECRET]},
            '{"client_orderid": "po-8", "amount": NaN, "currency": "USD"}',
            "[" * 100_000,
            '{"client_orderid": "po-9", "amount": 1E2, "currency": "USD"}',
        )
        loses = "is a number, and numbers lose zeros and digits; write it as text, in quotes"

        assert [
            f"line 1, account_number: {loses}",
            "column iban: is no parameter of a payout",
            "line 2, client_orderid: is the same as on line 1",
            "line 3: is no JSON from its character 46 on",
            'line 4: is no JSON object; write one like {"client_orderid": "po-1", …}',
            "line 5: names amount twice",
            "line 6, amount: is true or false; write it as text, in quotes",
            "line 6, currency: is an object or a list; write it as text, in quotes",
            "line 7, amount: must be a plain number such as 10.42, with a point and no comma",
            "line 7, currency: is missing",
            "line 7, first_name: is an object or a list; write it as text, in quotes",
            "line 8: is no JSON of names and texts",
            "line 9: is no JSON of names and texts",
            "line 10, amount: must be a plain number such as 10.42, with a point and no comma",
        ] == problems(file)

    def test_what_only_later_lines_name(self, tmp_path: Path) -> None:
        """A first line without what every payout needs is told, though later ones have it."""
        file = self.write(
            tmp_path, {"client_orderid": "po-0"}, dict(zip(COLUMNS, GOOD, strict=True))
        )

        assert ["line 1, amount: is missing", "line 1, currency: is missing"] == problems(file)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("", "the file is empty"),
            ("[\n{}\n]", "is no JSON Lines; write one object per line, without [ and ]"),
            ('{"iban": 1}', "header: the first line names no parameter of a payout"),
            ("{" + " " * (1 << 20), "line 1 is longer than 1,048,576 characters"),
            ("{\xff", "is not UTF-8; save it as CSV UTF-8"),
            (
                "\n".join(f'{{"amount": 1, "x{n}": 1}}' for n in range(1001)),
                "line 1000 brings the different names above 1,000",
            ),
        ],
    )
    def test_no_payouts(self, tmp_path: Path, content: str, problem: str) -> None:
        """A file that cannot be read to its end as JSON Lines is refused with its reason."""
        (tmp_path / "payouts.jsonl").write_bytes(content.encode("latin-1"))

        assert problem == problems(tmp_path / "payouts.jsonl")[-1]

    def test_surrogates(self, tmp_path: Path) -> None:
        """Half a character is refused before it could break the results file."""
        file = self.write(tmp_path, dict(zip(COLUMNS, GOOD, strict=True)) | {"purpose": "\ud800"})

        assert ["line 1, purpose: holds characters that are no valid Unicode text"] == (
            problems(file)
        )


class TestWorkbook:
    def write(self, folder: Path, *rows: tuple[Any, ...], name: str = "payouts.xlsx") -> Path:
        """Write rows as a spreadsheet program would; a pair is a value and its number format."""
        book = Workbook()
        sheet = book.worksheets[0]
        for number, row in enumerate(rows, 1):
            for column, value in enumerate(row, 1):
                cell = sheet.cell(number, column)
                if isinstance(value, tuple):
                    cell.value, cell.number_format = value
                else:
                    cell.value = value
        book.create_sheet("empty")
        book.save(folder / name)
        return folder / name

    def test_good(self, tmp_path: Path) -> None:
        """Text cells keep their zeros, amounts may be numbers, and blank rows are passed over."""
        file = self.write(
            tmp_path,
            (),
            (*COLUMNS, "expire_year", "customer_id"),
            (*GOOD, 2031, 7),
            (None, ""),
            ("po-2", 1.5, "EUR", "0001"),
            ("po-3", (1234.5, '#,##0.00\\ "€"'), "EUR", "0001"),
            ("po-4", (0.1 + 0.2, "0.00"), "EUR"),
            ("po-5", (7, "@"), "JPY"),
        )
        batch = read_batch(file)

        assert [
            ("po-1", Decimal("10.42"), "USD", "0012345678"),
            ("po-2", Decimal("1.5"), "EUR", "0001"),
            ("po-3", Decimal("1234.50"), "EUR", "0001"),
            ("po-4", Decimal("0.30"), "EUR", None),
            ("po-5", Decimal(7), "JPY", None),
        ] == fields(batch)
        assert [3, 5, 6, 7, 8] == [row.line for row in batch.rows]
        assert (*GOOD, "2031", "7") == batch.rows[0].cells
        assert ("po-3", "1234.50", "EUR", "0001", "", "") == batch.rows[2].cells
        assert 7 == batch.rows[0].request.customer_id

    def test_every_cell(self, tmp_path: Path) -> None:
        """Every cell that is no text where it must be is named with its row and column."""
        day = dt.date(2030, 1, 2)
        file = self.write(
            tmp_path,
            (*COLUMNS, "receiver_birthday", "first_name"),
            (1, "1", "USD", 1234567890, day, "Ann"),
            ("po-2", "=1+1", "USD", "=HYPERLINK(0)", "20300102", True),
            ("po-3", 10.425, "EUR", "#N/A", dt.time(1), SECRET),
            ("po-4", (10.42, "0"), "EUR"),
            ("po-5", (0.5, "0%"), "EUR"),
            ("po-6", (2500, "0,"), "EUR"),
            ("po-7", (2500, "[>9]0.00;0"), "EUR"),
            ("po-8", 12345678901234567, "EUR"),
            ("po-9", 1, "EUR", SECRET, "", "", "more"),
        )
        sheet = "is a number, and numbers lose zeros and digits; " + TEXT
        date = "is a date or a time; format the cell as text and enter it again"
        formula = "is a formula; copy it and paste its value, as text"
        broken = "is an error of the spreadsheet, such as #N/A; enter it again"
        long = "has more digits than a spreadsheet keeps; format the cell as text"
        hides = "does not show the number that it holds; format the cell as text"

        assert [
            f"row 2, client_orderid (column A): {sheet}",
            f"row 2, account_number (column D): {sheet}",
            f"row 2, receiver_birthday (column E): {date}",
            f"row 3, amount (column B): {formula}",
            f"row 3, account_number (column D): {formula}",
            "row 3, first_name (column F): is TRUE or FALSE; format the cell as text",
            "row 4, amount (column B): has more decimals than EUR, which has 2",
            f"row 4, account_number (column D): {broken}",
            f"row 4, receiver_birthday (column E): {date}",
            f"row 5, amount (column B): {hides}",
            f"row 6, amount (column B): {hides}",
            f"row 7, amount (column B): {hides}",
            f"row 8, amount (column B): {hides}",
            f"row 9, amount (column B): {long}",
            "row 10: has 7 cells, but the header has 6",
        ] == problems(file)

    @pytest.mark.parametrize(
        ("value", "number_format", "text"),
        [
            (1234.5, "#,##0.00", "1234.50"),
            (1234.5, '_-* #,##0.00\\ "kr"_-;\\-* #,##0.00\\ "kr"_-', "1234.50"),
            (1234.5, "[$€-407] #,##0.00", "1234.50"),
            (1234.5, "0.##", "1234.5"),
            (1234, "0", "1234"),
            (-5, "General", "-5"),
        ],
    )
    def test_number_formats(
        self, tmp_path: Path, value: float, number_format: str, text: str
    ) -> None:
        """A number is taken as its cell shows it, whatever stands beside it there."""
        row = ("po-1", (abs(value), number_format), "EUR")
        batch = read_batch(self.write(tmp_path, COLUMNS[:3], row))

        assert text.removeprefix("-") == batch.rows[0].cells[1]

    def test_two_sheets(self, tmp_path: Path) -> None:
        """A workbook with two sheets of content is refused, since one would be passed over."""
        book = Workbook()
        book.worksheets[0].append(COLUMNS)
        book.create_sheet().append([SECRET])
        book.save(tmp_path / "payouts.xlsx")

        assert ["holds 2 sheets, hidden ones too; keep the one with the payouts"] == (
            problems(tmp_path / "payouts.xlsx")
        )

    def hide(self, folder: Path, rows: int, *hidden: int) -> Path:
        """Write so many payouts and hide some rows."""
        file = self.write(folder, COLUMNS, *((f"po-{n}", "1", "EUR") for n in range(rows)))
        book = load_workbook(file)
        for place in hidden:
            book.worksheets[0].row_dimensions[place].hidden = True
        book.save(file)
        return file

    def test_hidden_rows(self, tmp_path: Path) -> None:
        """Rows that a filter, a hand or a fold hides are named, and nobody is paid unseen."""
        file = self.hide(tmp_path, 9, 1, 3, 5, 6, 20)
        book = load_workbook(file)
        sheet = book.worksheets[0]
        sheet.row_dimensions.group(8, 9, hidden=True)
        book.save(file)
        flat = changed(file, b'<row r="10"', b'<row r="10" ht="0" customHeight="1"')

        [told] = problems(flat)
        assert told == (
            "rows 3, 5 to 6 and 8 to 10 are hidden, by a filter or by hand, and would be paid like "
            "all others; show them, or delete those that are not to be paid"
        )

    def test_many_hidden_rows(self, tmp_path: Path) -> None:
        """Of very many hidden rows the first are named, and a single one is told as one."""
        many = self.hide(tmp_path, 60, *range(2, 62, 2))
        assert "36, 38, 40 and others are hidden" in problems(many)[0]
        assert "row 7 is hidden, by a filter" in problems(self.hide(tmp_path, 9, 7))[0]

    def test_hidden_and_wrong(self, tmp_path: Path) -> None:
        """What else is wrong with the workbook is told at the same time."""
        file = self.write(tmp_path, COLUMNS, ("po-2", "x", "EUR"), GOOD)
        book = load_workbook(file)
        book.worksheets[0].row_dimensions[3].hidden = True
        book.save(file)
        first, second = problems(file)

        assert first.startswith("row 2, amount (column B): ")
        assert second.startswith("row 3 is hidden")

    def test_shown_rows(self, tmp_path: Path) -> None:
        """Rows with a height or a fold of their own are seen, and hidden blanks pay nobody."""
        file = self.hide(tmp_path, 3, 1, 7)
        book = load_workbook(file)
        sheet = book.worksheets[0]
        sheet.row_dimensions.group(2, 3, hidden=False)
        sheet.row_dimensions[4].height = 30
        book.save(file)

        assert 3 == len(read_batch(file).rows)

    def test_hidden_sheet(self, tmp_path: Path) -> None:
        """Payouts on a sheet that is hidden are refused."""
        file = self.write(tmp_path, COLUMNS, GOOD)
        book = load_workbook(file)
        book.worksheets[0].sheet_state = "hidden"
        book.active = 1
        book.save(file)

        [told] = problems(file)
        assert (
            "has its rows on a hidden sheet; show the sheet, so that it is seen what is paid"
            == told
        )

    def test_wrong_size(self, tmp_path: Path) -> None:
        """Rows and columns beyond the size that a sheet says it has are read all the same."""
        file = self.write(tmp_path, COLUMNS, GOOD)
        small = changed(file, b'ref="A1:D2"', b'ref="A1:B1"')

        assert fields(read_batch(file)) == fields(read_batch(small))

    @pytest.mark.parametrize(
        ("name", "content", "problem"),
        [
            ("payouts.xlsx", b"client_orderid,amount\n", "is no Excel workbook; save it as .xlsx"),
            ("payouts.xls", b"\xd0\xcf\x11\xe0 old", "is an old or encrypted Excel file; save it"),
            ("payouts.xlsx", b"PK\x03\x04 broken", "is no Excel workbook that can be read; save"),
            ("payouts.csv", b"PK\x03\x04 broken", "is no Excel workbook that can be read; save"),
        ],
    )
    def test_no_workbook(self, tmp_path: Path, name: str, content: bytes, problem: str) -> None:
        """What is no workbook that can be read is refused in words."""
        (tmp_path / name).write_bytes(content)
        [told] = problems(tmp_path / name)

        assert told.startswith(problem)

    def test_other_office_file(self, tmp_path: Path) -> None:
        """Another office program's file, which is a zip archive too, is refused in words."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        (tmp_path / "payouts.ods").write_bytes(content.getvalue())

        assert ["is no Excel workbook that can be read; save it as .xlsx again"] == (
            problems(tmp_path / "payouts.ods")
        )

    @pytest.mark.parametrize("rows", [(), (COLUMNS,)])
    def test_no_payouts(self, tmp_path: Path, rows: tuple[tuple[str, ...], ...]) -> None:
        """A workbook without payouts is refused."""
        told = "the file has a header and no payouts" if rows else "the file is empty"

        assert [told] == problems(self.write(tmp_path, *rows))

    def test_without_openpyxl(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where openpyxl is missing, the reader learns what to install."""
        file = self.write(tmp_path, COLUMNS, GOOD)
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'billblend-async\[xlsx\]'"):
            read_batch(file)


def test_column_letters() -> None:
    """Columns are named as a spreadsheet names them."""
    assert ["A", "Z", "AA", "AZ", "ZZ", "AAA"] == [
        column_letters(number) for number in (1, 26, 27, 52, 702, 703)
    ]


@pytest.mark.parametrize("name", ["payouts.csv", "payouts.jsonl"])
def test_memory(tmp_path: Path, name: str) -> None:
    """While a file is read, little more is held than its payouts, and what repeats is held once."""
    rows = [(f"po-{n:05}", f"{n + 1}.50", "EUR", f"{n:010}", "Salary of May") for n in range(3000)]
    columns = (*COLUMNS, "purpose")
    with (tmp_path / name).open("w", newline="") as file:
        if name.endswith(".csv"):
            csv.writer(file).writerows([columns, *rows])
        else:
            file.writelines(f"{json.dumps(dict(zip(columns, row, strict=True)))}\n" for row in rows)
    del rows
    tracemalloc.start()
    try:
        batch = read_batch(tmp_path / name)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 3000 == len(batch.rows)
    assert peak < 1.25 * held
    assert held < 3000 * 1200
    assert 1 == len({id(row.cells[4]) for row in batch.rows})
    assert 1 == len({id(row.request.purpose) for row in batch.rows})
