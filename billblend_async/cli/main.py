"""The ``billblend`` command: its parser, the help of each command, and the dispatch."""

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from .. import __version__, advice
from ..errors import BillblendError, ConfigurationError, InvalidInput, JournalError, PayoutNotFound
from .console import BAD_CONFIGURATION, BAD_INPUT, UNFINISHED, say

__all__ = [
    "complete",
    "explain",
    "load",
    "main",
    "nearest",
]

_WIDTH: Final = 78
_MOST_CHOICES: Final = 4
"""Words that fit into a usage line; of more, the help tells."""
_VALUES: Final[Mapping[Any, str]] = {Path: "FILE", int: "N", float: "SECONDS"}
"""What to call the value of an option that has no word for it, by its type."""

_TEXTS: Final = {
    "pay": (
        "Pay every row of a file, each exactly once, and write what became of it. A file with a "
        "wrong row is refused whole. Interrupted or killed? Run the same command again: "
        "finished rows are told from the journal, the rest goes on."
    ),
    "status": (
        "Tell where one payout stands: what the journal knows of it, and what the gateway says "
        "now. Nothing is sent that moves money."
    ),
    "attention": (
        "List the payouts for which nothing is sent until a person has looked, and those that are "
        "odd, or decide about them. Ask the gateway's support before you release one that may have "
        "been paid."
    ),
    "approve": (
        "Pay the rows of a file that was run with --check-only, all of them or the ones named. "
        "What was changed in the file since its check stays unpaid."
    ),
    "withdraw": (
        "Take payouts back before they are paid. Each is ended for good; to pay it after all "
        "takes a new client_orderid."
    ),
    "journal": (
        "Make the tables of a journal in PostgreSQL, or declare what a journal cannot know by "
        "itself: that it was restored from a copy, and later that nothing is missing from it."
    ),
    "take-over": (
        "Let living processes of a DBOS application go on with the payouts of dead ones. To be "
        "wrong about who is dead is harmless: each send still leaves once. Nothing is sent from "
        "here, and no settings are needed."
    ),
    "listen": (
        "Take the gateway's callbacks in for payouts that other processes run on the same "
        "journal. It never sends a payout. It speaks plain HTTP: put your TLS in front of it."
    ),
    "sandbox": (
        "Run the built-in sandbox, a gateway to play against on this machine, and print the "
        "settings to use with it. Each start is a new one with a new key: begin a new journal with "
        "it. The setting BILLBLEND_BASE_URL=sandbox leads to another: the gateway's own sandbox."
    ),
    "demo": (
        "Pay a sample file against a built-in sandbox of its own and compare the results with the "
        "books of that. It needs no settings and no network."
    ),
}
_EXAMPLES: Final = {
    "pay": "billblend pay payouts.csv --journal payouts.db --out results.csv",
    "status": "billblend status po-1 --journal payouts.db",
    "attention": 'billblend attention release po-7 --journal payouts.db --who ann --why "not paid"',
    "approve": "billblend approve payouts.csv --journal payouts.db --out results.csv --who ann",
    "withdraw": 'billblend withdraw po-2 --journal payouts.db --who ann --why "wrong amount"',
    "journal": "billblend journal restored --journal payouts.db",
    "take-over": "billblend take-over machine-7 --database postgresql://dbos@db/payouts_dbos",
    "listen": "billblend listen --journal payouts.db --port 8080",
    "sandbox": "billblend sandbox --fault payout-pay:drop_after:0.1",
    "demo": "billblend demo --payouts 60",
    "report": "billblend report --journal payouts.db --html report.html",
    "watch": "billblend watch --journal payouts.db",
    "doctor": "billblend doctor --journal payouts.db",
    "sign": "billblend sign payout-pay client_orderid=po-1 orderid=6982864",
}


def complete(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Complete what an argument is declared with: the word for its value, and its default.

    Args:
        names: The names of the argument.
        options: What ``add_argument`` is given beside them.
    """
    told = dict(options)
    if not names[0].startswith("-"):
        return told
    kind, default, text = told.get("type"), told.get("default"), told.get("help")
    choices = list(told.get("choices") or ())
    if text and len(choices) > _MOST_CHOICES:
        told.setdefault("metavar", names[0].lstrip("-").upper())
        told["help"] = text = f"{text}: {', '.join(map(str, choices))}"
    if "action" not in told and (type(default) is int or kind in _VALUES):
        told.setdefault("metavar", _VALUES.get(kind, "N"))
    if type(default) in (str, int, float) and default != argparse.SUPPRESS:
        shown = default if isinstance(default, str) else f"{default:g}"
        if text and "default" not in text:
            told["help"] = f"{text} (default {shown})"
    return told


def explain(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Let ``--help`` of each command say what it is for, and show an example of it."""
    for name, command in commands.items():
        # The example stands on a line of its own, so nothing is wrapped for us.
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.description = textwrap.fill(_TEXTS.get(name) or command.description or "", _WIDTH)
        if example := _EXAMPLES.get(name):
            rest = f"\n\n{command.epilog}" if command.epilog else ""
            command.epilog = f"example:\n  {example}{rest}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Find what was meant by an option or a command that does not exist; empty where that is open.

    Args:
        word: What was typed, without a value.
        known: What there is.
    """
    typed = word.lstrip("-").lower().replace("_", "-")
    names = {name.lstrip("-"): name for name in known}
    near = get_close_matches(typed, names)
    # Of --who and --why, --woh is rather the one with the same letters.
    meant = min(near, key=lambda name: sorted(name) != sorted(typed), default=None)
    return "" if meant is None else names[meant]


_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "pay": ("pay:add_pay", "run a file of payouts, or go on with it"),
    "status": ("review:add_status", "tell where one payout stands"),
    "attention": ("review:add_attention", "decide about payouts that need a person"),
    "approve": ("review:add_approve", "pay payouts that were checked only"),
    "withdraw": ("review:add_withdraw", "take payouts back that are not paid yet"),
    "journal": ("admin:add_journal", "make a journal, or say what it cannot know"),
    "take-over": ("admin:add_take_over", "let others go on with a dead process's work"),
    "report": ("report:add_report", "tell what a journal holds, as text, page or CSV"),
    "watch": ("report:add_watch", "show a journal in the browser while payouts run"),
    "listen": ("admin:add_listen", "take the gateway's callbacks in"),
    "doctor": ("doctor:add_doctor", "find out why it does not work, and what to do"),
    "sign": ("sign:add_sign", "show how a request is signed; nothing is sent"),
    "sandbox": (
        "sandbox:add_sandbox",
        "run the built-in sandbox, a gateway of this machine",
    ),
    "demo": ("sandbox:add_demo", "pay a sample file against the built-in sandbox"),
}
"""Every command: what gives it its options, and what it is for."""
_MOST_PROBLEMS: Final = 100
_PASSWORD: Final = re.compile(r"((?:://[^\s:@/]*:|password=))\S*?((?:@[^@\s]*)?(?=\s|$))")
"""What stands where an address or a connection string has its password."""
_DATE: Final = re.compile(r"(?<![\d-])((?:19|20)\d\d-(?:0\d|1[0-2])-[0-3]\d)(?![\d-])")
_EXIT_STATUS: Final = """\
exit status:
  0  all payouts are approved
  1  some are declined, filtered, rejected or ended by a person
  2  something is unfinished, or needs a person, as the status error does
  3  bad input: nothing was sent
  4  bad configuration: nothing was sent
"""
_SETTINGS: Final = """\
settings, from the environment:
  BILLBLEND_LOGIN                 the merchant's login
  BILLBLEND_PRIVATE_KEY           path of the RSA private key's PEM file
  BILLBLEND_PRIVATE_KEY_PASSWORD  its password, if it is encrypted
  BILLBLEND_MERCHANT_CONTROL      the control secret, for status v2 and callbacks
  BILLBLEND_FORMER_MERCHANT_CONTROL  the one before it, while both are live
  BILLBLEND_STATUS_VERSION        2 or 4 (default 2, and 4 without a merchant control)
  BILLBLEND_POLL_TRANSPORT        httpx (default) or aiohttp, for status requests
  BILLBLEND_SERVER_CALLBACK_URL   where the gateway sends its callbacks (billblend listen)
  BILLBLEND_ENDPOINT_ID           the endpoint's number, or
  BILLBLEND_ENDPOINT_GROUP_ID     the endpoint group's number
  BILLBLEND_BASE_URL              production, a URL, or sandbox (default): the gateway's own
                                  sandbox, sandbox.billblend.com; the URL of the built-in
                                  sandbox is printed by billblend sandbox
  BILLBLEND_JOURNAL_KEY           path of the key file of a journal in PostgreSQL
  BILLBLEND_JOURNAL_SCHEMA        the schema of its tables (default billblend)
  BILLBLEND_TRACEBACK             1 shows where something unexpected came from, without any values
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose usage errors are bad input, and name what was probably meant."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as argparse takes them
        super().__init__(**options)
        self._words: Sequence[str] = ()
        # The innermost parser is the one that knows the options which were meant.
        self.set_defaults(refuse=self.error, suggest=self.suggest)

    def parse_known_args(  # type: ignore[override]  # argparse declares one form for each namespace
        self,
        args: Sequence[str] | None = None,
        namespace: Any = None,  # noqa: ANN401 - as argparse takes it
    ) -> tuple[Any, list[str]]:
        """Parse what can be parsed, and keep the words for what is said when they are wrong."""
        self._words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(self._words, namespace)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:  # noqa: ANN401 - as argparse takes them
        """Add an argument whose help says what an option takes, and what it is by default."""
        return super().add_argument(*names, **complete(names, options))

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, without numbers that may be somebody's."""
        from ..core.parameters import mask_digits

        self.print_usage(sys.stderr)
        pieces = _DATE.split(message)  # every other one is a date
        told = "".join(text if n % 2 else mask_digits(text) for n, text in enumerate(pieces))
        told = _PASSWORD.sub(r"\1***\2", told)
        meant = next(filter(None, self._meant()), "")
        see = f"did you mean {meant}? See" if meant else "see"
        self.exit(BAD_INPUT, f"{self.prog}: {told}; {see} {self.prog} --help\n")

    def suggest(self, word: str) -> str:
        """Name the option that was meant by a word which looks like one and is none."""
        name, known = word.partition("=")[0], self._option_string_actions
        if not name.startswith("-") or any(each.startswith(name) for each in known):
            return ""
        return nearest(name, known)

    def _meant(self) -> Iterator[str]:
        """Iterate over what was probably meant by words that are no option and no command."""
        commands = next((a.choices for a in self._actions if isinstance(a.choices, dict)), None)
        for word in self._words:
            if word == "--":
                return
            if commands is not None and not word.startswith("-"):
                yield "" if word in commands else nearest(word, commands)
                return  # what follows is for the command
            yield self.suggest(word)


def load(words: Sequence[str]) -> None:
    """Import what the command works with that these words call, and nothing of the others."""
    called = _called(words)
    if called in _COMMANDS:
        _door(called)


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    parser = _parser(_called(words))
    arguments, rest = parser.parse_known_args(words)
    if rest and "rest" not in arguments:
        arguments.refuse(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest, arguments.typed = rest, words
    try:
        status: int = arguments.run(arguments)
    except InvalidInput as error:
        for problem in error.problems[:_MOST_PROBLEMS]:
            print(problem, file=sys.stderr)
        more = len(error.problems) - _MOST_PROBLEMS
        if more > 0:
            print(f"and {more:,} more", file=sys.stderr)
        say(f"{len(error.problems):,} problem(s); nothing was sent. Mend them and run again.")
        return BAD_INPUT
    except PayoutNotFound as error:
        say(str(error))
        return BAD_INPUT
    except (ConfigurationError, JournalError) as error:
        say(str(error))
        return BAD_CONFIGURATION
    except BillblendError as error:
        say(str(error))
        return UNFINISHED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"{where}{error.strerror or type(error).__name__}; mend that and run it again")
        return UNFINISHED
    except ModuleNotFoundError as error:
        say(advice(error) or f"{error.name} is missing; install the command's requirements again")
        return BAD_CONFIGURATION
    except _interruptions():
        say("interrupted; run the same command again to go on")
        return UNFINISHED
    return status


def _interruptions() -> tuple[type[BaseException], ...]:
    """Tell how interrupted commands end; asyncio is not there before, since some need no loop."""
    from asyncio import CancelledError

    return KeyboardInterrupt, CancelledError


def _called(words: Sequence[str]) -> str:
    """Name the command that is called; empty where none is: what comes before it has no values."""
    return next((word for word in words if not word.startswith("-")), "")


def _door(name: str) -> Callable[[argparse.ArgumentParser], None]:
    """Import what gives a command its options, and with it what the command works with."""
    room, _, door = _COMMANDS[name][0].partition(":")
    add: Callable[[argparse.ArgumentParser], None] = getattr(
        import_module(f".{room}", __package__), door
    )
    return add


def _parser(called: str | None = None) -> argparse.ArgumentParser:
    """Make the parser, with the options of every command or of the one that is called."""
    parser = _Parser(
        prog="billblend",
        description="Pay people through the Billblend payment gateway, each exactly once.\n"
        "Begin with billblend demo, which needs no gateway.",
        epilog=f"{_SETTINGS}\n{_EXIT_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"billblend {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (_, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if called in (None, name):
            _door(name)(command)
            explain({name: command})
    return parser


if __name__ == "__main__":
    sys.exit(main())
