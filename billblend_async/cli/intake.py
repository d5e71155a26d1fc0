"""How a command reads the payouts file that it is given: each reads the same file the same way."""

import argparse
from pathlib import Path

from ..batch.parser import Batch, read_batch
from ..errors import InvalidInput, Problem

__all__ = ["add_reading", "read_chosen", "read_payouts"]


def add_reading(command: argparse.ArgumentParser, *, reads_only: bool = False) -> None:
    """Give a command the option that says how its payouts file is written.

    Args:
        command: The command.
        reads_only: Whether what it tells has points all the same: others and machines read it too.
    """
    told = "what is shown keeps its points" if reads_only else "amounts are shown like that too"
    command.add_argument(
        "--decimal-comma",
        action="store_true",
        help=f"take 10,42 for an amount in text; one with a point is refused then, and {told}",
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
