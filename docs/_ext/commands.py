"""Writes the reference of the command line from the texts that ``--help`` shows."""

import argparse
import re
from collections.abc import Iterator

from billblend_async.cli.main import _parser

__all__ = ["walk", "write"]

_WIDTH = 76


def walk(
    parser: argparse.ArgumentParser | None = None,
) -> Iterator[tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]]:
    """Iterate over a parser and all parsers below it, each with those right below it."""
    parser = _parser() if parser is None else parser
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse shows its options nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            below = dict(action.choices)
    yield parser, below
    for each in below.values():
        yield from walk(each)


def write() -> str:
    """Write every command with its usage, its description and its options."""
    return "\n\n".join(_command(parser) for parser, _ in walk())


def _command(parser: argparse.ArgumentParser) -> str:
    words = parser.prog.split()
    told = [f"{'#' * min(1 + len(words), 4)} {parser.prog}"]
    if parser.description:
        told.append(_plain(parser.description))
    told.append(f"```text\n{_usage(parser)}\n```")
    told += [_option(parser, action) for action in parser._actions if _is_told(action)]  # noqa: SLF001 - as above
    if parser.epilog:
        told.append(f"```text\n{parser.epilog.strip()}\n```")
    return "\n\n".join(told)


def _usage(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=_WIDTH)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)  # noqa: SLF001 - as above
    return formatter.format_help().strip()


def _is_told(action: argparse.Action) -> bool:
    if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):  # noqa: SLF001 - as above
        return False
    return not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - as above


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Write one option as an entry of a list: what to type, then what it does."""
    if action.choices and action.metavar is None:
        value = f"{{{','.join(map(str, action.choices))}}}"
    else:
        name = action.dest.upper() if action.option_strings else action.dest
        value = str(action.metavar or name)
    typed = ", ".join(action.option_strings) or value
    if action.option_strings and action.nargs != 0:
        typed = f"{typed} {value}"
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    needed = " (required)" if action.option_strings and action.required else ""
    return f"`{typed}`{needed}\n: {_plain(text)}"


def _plain(text: str) -> str:
    """Let nothing of a text be read as Markdown."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
