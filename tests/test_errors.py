"""The exceptions: the tree that is written is the tree that is, and nothing in it leaks."""

import pickle
import re
from typing import Any

import attrs
import pytest

from billblend_async import errors
from billblend_async.errors import (
    BillblendError,
    InvalidInput,
    JournalDamaged,
    JournalUnavailable,
    Problem,
)

CLASSES = [getattr(errors, name) for name in errors.__all__ if name != "Problem"]
LEAVES = [kind for kind in CLASSES if attrs.has(kind)]
UNSAID = ("sequence", "is_setting", "is_reader", "is_marked", "again_at")
"""Fields that a message does not repeat."""
VALUES: dict[str, Any] = {
    "problems": (Problem("amount", "is missing"),),
    "differs": ("amount",),
    "sequence": 3,
    "http_status": 502,
}


def example(kind: type[BillblendError]) -> BillblendError:
    """Make an exception of a kind, each field with a value."""
    fields = attrs.fields(kind)  # type: ignore[arg-type] # only attrs classes are asked for
    return kind(*(VALUES.get(field.name, field.name) for field in fields))


def test_tree_is_the_docstring() -> None:
    """The tree in the module's docstring is the real one, in its order."""
    written = []
    stack: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"    (?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: {2,}.*)?", line)
        if match:
            depth = len(match["indent"]) // 4
            stack[depth:] = [match["name"]]
            written.append((match["name"], stack[depth - 1] if depth else "Exception"))
    real = {(kind.__name__, kind.__bases__[0].__name__) for kind in CLASSES}

    assert real == set(written)
    assert len(real) == len(written)


@pytest.mark.parametrize("kind", LEAVES)
def test_pickles(kind: type[BillblendError]) -> None:
    """Every exception survives pickling with its fields and its message."""
    error = example(kind)

    again = pickle.loads(pickle.dumps(error))

    assert str(error) == str(again)
    assert attrs.asdict(error) == attrs.asdict(again)  # type: ignore[arg-type] # as above


@pytest.mark.parametrize("kind", LEAVES)
def test_message(kind: type[BillblendError]) -> None:
    """Every message is a sentence that names its fields' values."""
    error = example(kind)

    assert re.match(r"[A-Za-z]", str(error))
    for field in attrs.fields(kind):  # type: ignore[arg-type] # as above
        if field.name != "problems":
            value = getattr(error, field.name)
            text = value[0] if isinstance(value, tuple) else str(value)
            assert text in str(error) or field.name in UNSAID


@pytest.mark.parametrize("kind", LEAVES)
def test_flat(kind: type[BillblendError]) -> None:
    """The fields of an exception are flat values."""
    for field in attrs.fields(kind):  # type: ignore[arg-type] # as above
        numbers = (int, int | None, float | None)
        assert field.type in (str, bool, *numbers, tuple[str, ...], tuple[Problem, ...])


def test_problems_are_listed() -> None:
    """Bad input names every field that is wrong."""
    error = InvalidInput((Problem("a", "is missing"), Problem("b", "is empty")))

    assert "a: is missing; b: is empty" == str(error)


def test_reader_of_a_journal() -> None:
    """Who only looks at a journal is told of reading, and never of sending."""
    reader, sender = (
        JournalUnavailable("payouts.db", "locked", is_reader=x) for x in (True, False)
    )

    assert "payouts.db: locked. Nothing is told of it until it can be read; look" in str(reader)
    assert "payouts.db: locked. Nothing is sent until it can be written; look" in str(sender)


@pytest.mark.parametrize(
    ("journal", "look", "kept"),
    [
        ("payouts.db", "look at free space, permissions and other programs", "Keep this file as"),
        ("postgresql://db/payouts (schema june)", "look at the server, the way", "this schema as"),
        ("PostgreSQL (schema june)", "look at the server, the way", "Keep this schema as"),
    ],
)
def test_what_to_look_at(journal: str, look: str, kept: str) -> None:
    """What to look at is what there is: a file's disk, or a database's server."""
    assert look in str(JournalUnavailable(journal, "locked"))
    assert kept in str(JournalDamaged(journal, "an event is missing"))
