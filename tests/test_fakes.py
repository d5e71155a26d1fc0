"""The journal that other tests use in place of SQLite keeps the same promises."""

import pytest
from fakes import MemoryJournal
from journal_cases import JournalCases, Maker


class TestMemoryJournal(JournalCases):
    @pytest.fixture
    def make(self) -> Maker:
        return MemoryJournal
