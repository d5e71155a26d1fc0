"""How a command reads the payouts file that it is given: each reads the same file the same way."""

import argparse
from pathlib import Path

from .batch import Batch, read_batch
from .errors import InvalidInput, Problem

__all__ = ["add_reading", "read_chosen", "read_payouts"]


def add_reading(command: argparse.ArgumentParser) -> None:
    """Give a command the option that says how its payouts file is written."""
    command.add_argument(
        "--decimal-comma",
        action="store_true",
        help="take 10,42 for an amount in text; one with a point is refused then",
    )


def read_payouts(path: Path, arguments: argparse.Namespace) -> Batch:
    """Read a payouts file as the command line says that it is written.

    Raises:
        InvalidInput: Every wrong line and field is named, none with its value.
    """
    return read_batch(path, decimal_comma=arguments.decimal_comma)


def read_chosen(arguments: argparse.Namespace) -> Batch | None:
    """Read the file of ``--batch``; None where there is none.

    Raises:
        InvalidInput: Something is wrong with the file, or there is none to be read in that way.
    """
    if arguments.batch is not None:
        return read_payouts(arguments.batch, arguments)
    if arguments.decimal_comma:
        raise InvalidInput((Problem("--decimal-comma", "belongs to --batch; give that too"),))
    return None
