"""What ``--help`` says is enough to go on with, for every command and every option."""

import argparse
import re
from typing import Any

import pytest
from command_words import PARSERS

every_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)


@every_parser
def test_help(parser: Any) -> None:
    """Each command says what it does, and each of its options what it is for."""
    assert (parser.description or "").rstrip().endswith(".")
    for action in parser._actions:
        if not isinstance(action.choices, dict):  # the commands below have texts of their own
            assert (action.help or "").strip(), f"{parser.prog} {action.dest}"


@every_parser
def test_defaults_are_told(parser: Any) -> None:
    """What an option is when nobody gives it stands in its help, where it is a word or a number."""
    for action in parser._actions:
        default = action.default
        is_told = type(default) in (str, int, float) and default != argparse.SUPPRESS
        if action.option_strings and is_told:
            shown = default if isinstance(default, str) else f"{default:g}"
            where = f"{parser.prog} {action.option_strings[0]}"
            words = {word.strip(".:") for word in re.findall(r"[\w.:]+", action.help)}
            assert {"default", shown} <= words, where


def test_examples_of_commands() -> None:
    """Each command's help shows a way to call it."""
    for parser in PARSERS[1:]:
        if len(parser.prog.split()) == 2:
            assert f"example:\n  {parser.prog} " in parser.epilog, parser.prog
