"""Where a journal lies, as the command line names it."""

import argparse
import asyncio
from pathlib import Path

import pytest

from billblend_async.errors import ConfigurationError
from billblend_async.journal.location import (
    JOURNAL_KEY,
    JOURNAL_SCHEMA,
    DatabasePlace,
    FilePlace,
    found,
    read_address,
    read_place,
)

URL = "postgresql://ann@db.example:5433/payouts"
KEY = bytes(range(32))


def keyed(folder: Path, **environ: str) -> DatabasePlace:
    """Name a database whose key lies in a folder."""
    file = folder / "journal.key"
    file.write_text(f"{KEY.hex()}\n")
    return DatabasePlace(URL, {JOURNAL_KEY: str(file), **environ})


class TestReading:
    @pytest.mark.parametrize("text", ["payouts.db", "/a/b", "postgresql", "postgresql:/x", ""])
    def test_files(self, text: str) -> None:
        """Whatever is no address of PostgreSQL's is a file, and reads as it was typed."""
        place = read_place(text)
        assert isinstance(place, FilePlace)
        assert str(Path(text)) == str(place)

    @pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
    def test_databases(self, scheme: str) -> None:
        """Both of libpq's schemes name a database, and read as they were typed."""
        text = f"{scheme}://ann@db.example:5433/payouts?sslmode=verify-full"
        assert DatabasePlace(text) == read_place(text)
        assert text == str(read_place(text))

    @pytest.mark.parametrize(
        "text",
        [
            "postgresql://ann:Secretword@db/payouts",
            "postgresql://ann:pw#Secretword@db/payouts",
            "postgresql://ann:pw?Secretword@db/payouts",
            "postgresql://ann:pw/Secretword@db/payouts",
            "postgresql://ann:pw@Secretword@db/payouts",
            "postgresql://:Secretword@db/payouts",
            "postgresql://db/payouts?user=ann&password=Secretword",
            "postgres://db/payouts?sslpassword=Secretword",
            "postgres://db/payouts?oauth_client_secret=Secretword",
            "postgres://db/payouts?scram_client_key=Secretword",
        ],
    )
    def test_passwords(self, text: str) -> None:
        """A password on a command line is refused, and not repeated."""
        for read in (read_place, read_address):
            with pytest.raises(argparse.ArgumentTypeError) as refused:
                read(text)
            assert "PGPASSWORD" in str(refused.value)
            assert "Secretword" not in str(refused.value)

    @pytest.mark.parametrize(
        "text",
        [
            "host=db dbname=payouts",
            " dbname=payouts password=Secretword",
            "password=Secretword host=db",
            "Postgresql://ann:Secretword@db/payouts",
            "postgresql+psycopg://ann:Secretword@db/payouts",
            " postgresql://ann:Secretword@db/payouts",
            "file:///payouts.db",
        ],
    )
    def test_other_ways_to_name_a_database(self, text: str) -> None:
        """What names a database in another way is refused, and never taken for a new file."""
        with pytest.raises(
            argparse.ArgumentTypeError, match="a file's path, or an addr"
        ) as refused:
            read_place(text)
        assert "Secretword" not in str(refused.value)

    @pytest.mark.parametrize("text", ["hosts.db", "host/x=1.db", "passwords", "a=b.db"])
    def test_odd_files(self, text: str) -> None:
        """A file may be called nearly anything."""
        assert FilePlace(Path(text)) == read_place(text)

    @pytest.mark.parametrize(
        "text",
        [
            *("postgresql://[db/payouts", "payouts.db", "mysql://db/x", "postgresql://db/x#y"),
            *("postgresql://d b/x", "postgresql://db/x\n"),
        ],
    )
    def test_no_addresses(self, text: str) -> None:
        """What is no address of PostgreSQL's is refused with an example of one."""
        with pytest.raises(argparse.ArgumentTypeError, match="postgresql://user@host/database"):
            read_address(text)


class TestDatabasePlace:
    def test_names(self, tmp_path: Path) -> None:
        """Its title tells host, database and schema, and not who connects."""
        place = keyed(tmp_path, **{JOURNAL_SCHEMA: "june"})
        assert "postgresql://db.example:5433/payouts (schema june)" == place.title
        assert "schema billblend" in keyed(tmp_path).title
        assert (tmp_path / "journal.key",) == place.files
        assert "Key" not in repr(place)

    def test_key(self, tmp_path: Path) -> None:
        """Its key is the one in the file that the environment names."""
        assert KEY == keyed(tmp_path).read_key()

    @pytest.mark.parametrize(
        ("environ", "reason"),
        [
            ({}, "BILLBLEND_JOURNAL_KEY is not set"),
            ({JOURNAL_KEY: "  "}, "BILLBLEND_JOURNAL_KEY is not set"),
            ({JOURNAL_KEY: "missing.key"}, "No such file or directory; copy the journal's key"),
            ({JOURNAL_KEY: "."}, "Is a directory"),
            ({JOURNAL_KEY: KEY.hex()}, "must be the path of a file, not the key"),
            ({JOURNAL_KEY: __file__}, "holds no key of a journal"),
        ],
    )
    def test_no_key(self, environ: dict[str, str], reason: str) -> None:
        """Without its key it is refused before anything is connected, and why is said."""
        place = DatabasePlace(URL, environ)
        for ask in (place.check, place.read_key, place.journal):
            with pytest.raises(ConfigurationError, match=reason) as refused:
                ask()
            assert KEY.hex() not in str(refused.value)

    @pytest.mark.parametrize("schema", ["Payouts", "prod-payouts", "june.meta -- ", "x" * 64])
    def test_no_schema(self, tmp_path: Path, schema: str) -> None:
        """What is no plain name of a schema is refused before anything is connected or made."""
        place = keyed(tmp_path, **{JOURNAL_SCHEMA: schema})
        for ask in (place.check, place.journal, place.reader, lambda: place.title):
            with pytest.raises(ConfigurationError, match="BILLBLEND_JOURNAL_SCHEMA: must be") as no:
                ask()
            assert schema not in str(no.value)
        place.files[0].unlink()
        with pytest.raises(ConfigurationError, match="BILLBLEND_JOURNAL_SCHEMA: must be"):
            asyncio.run(found(place))
        assert not place.files[0].exists()


class TestFilePlace:
    def test_new(self, tmp_path: Path) -> None:
        """A file is a new journal as long as it is not there."""
        place = FilePlace(tmp_path / "payouts.db")
        assert place.is_new()
        place.check(must_exist=False)
        with pytest.raises(ConfigurationError, match="there is no such file"):
            place.check()
        place.path.write_bytes(b"SQLite format 3\0")
        assert not place.is_new()
        place.check()

    def test_files(self, tmp_path: Path) -> None:
        """Nothing may be written over the file, its key or what SQLite lays beside it."""
        names = [path.name for path in FilePlace(tmp_path / "a.db").files]
        assert [
            "a.db",
            *(f"a.db{end}" for end in (".key", ".restored", "-journal", "-wal")),
        ] == names
        with pytest.raises(ConfigurationError, match="this is a directory"):
            _ = FilePlace(Path("/")).files
