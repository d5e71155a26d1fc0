"""The parsers of the command line, as a test walks through them."""

from collections.abc import Iterator
from typing import Any

from billblend_async.cli.main import _parser

__all__ = ["PARSERS", "below", "walk"]


def below(parser: Any) -> dict[str, Any]:
    """Give the parsers right below one."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            return dict(action.choices)
    return {}


def walk(parser: Any) -> Iterator[Any]:
    """Iterate over a parser and all below it."""
    yield parser
    for each in below(parser).values():
        yield from walk(each)


PARSERS = list(walk(_parser()))
"""The parser of the command, and those of all commands below it."""
