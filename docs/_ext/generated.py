"""Fills in what the pages have from the code: ``<!-- generated: NAME WORDS -->`` in a page.

Each generator writes Markdown, so that headings, tables and links of what is generated are the same
as those that somebody has written.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

import commands
import picture
from diagram import diagram
from sphinx.util.typing import stringify_annotation

import billblend_async
from billblend_async import errors
from billblend_async.core import payout as logs
from billblend_async.core.events import Event
from billblend_async.core.machine import TRANSITIONS
from billblend_async.core.models import Alarm, Doubt
from billblend_async.core.request import PARAMETERS
from billblend_async.sandbox.faults import FAULTS, FaultKind
from billblend_async.sandbox.orders import SCENARIOS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PLACEHOLDER: Final = re.compile(r"^<!-- generated: ([a-z-]+)((?: \w+)*) -->$", re.MULTILINE)
_ANY_EVENT: Final = stringify_annotation(Event, "smart")
_MADE_BY_US: Final = ("billblend_async.Events", "billblend_async.testing.RunningFaults")
_SEVERAL: Final = re.compile(r"^( +)([A-Z]\w+(?:, [A-Z]\w+)+): (.*)$")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Add to Sphinx what this file does."""
    app.connect("source-read", _fill_in)
    # Before napoleon, which reads the section.
    app.connect("autodoc-process-docstring", _split_raises, priority=400)
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def fill_in(text: str) -> str:
    """Write a page with all that is generated in it.

    Raises:
        KeyError: It asks for something that no generator writes.
    """
    return PLACEHOLDER.sub(lambda found: GENERATORS[found[1]](*found[2].split()), text)


def _fill_in(_: "Sphinx", __: str, source: list[str]) -> None:
    source[0] = fill_in(source[0])


def _split_raises(
    _app: object, _what: str, _name: str, _thing: object, _options: object, lines: list[str]
) -> None:
    """Give each of several errors that share a sentence a line of its own."""
    lines[:] = [
        f"{found[1]}{name}: {found[3]}" if found else line
        for line in lines
        for found in [_SEVERAL.match(line)]
        for name in (found[2].split(", ") if found else [""])
    ]


def _shorten(
    _app: object,
    _what: str,
    name: str,
    _thing: object,
    _options: object,
    sign: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Call the union of all events by its name, and leave out how to make what only we make."""
    sign, returns = (text and text.replace(_ANY_EVENT, "Event") for text in (sign, returns))
    return ("" if sign and name in _MADE_BY_US else sign), returns


def _reference(*names: str) -> str:
    """Let autodoc describe public names, in this order."""
    told = ["```{eval-rst}", ".. currentmodule:: billblend_async", ""]
    for name in names:
        thing = getattr(billblend_async, name)
        if not inspect.isclass(thing):
            told += [f".. autofunction:: {name}", ""]
            continue
        told += [f".. autoclass:: {name}", "   :members:"]
        if issubclass(thing, Exception):
            told.append("   :show-inheritance:")
        elif _is_split(thing):
            told.append("   :inherited-members:")
        if issubclass(thing, Enum):
            told.append("   :undoc-members:")
        told.append("")
    return "\n".join([*told, "```"])


def _is_split(kind: type) -> bool:
    """Tell whether a class has methods of its own in another one that is not public."""
    ours = [base for base in kind.__bases__ if base.__module__.startswith("billblend_async")]
    return any(base.__name__ not in billblend_async.__all__ for base in ours)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _transitions() -> str:
    """Write the machine's table: for each state what moves it, and where to."""
    rows = [
        (
            f"`{state.name}`",
            f"`{event.__name__}`",
            ", ".join(f"`{target.name}`" for target in sorted(targets)),
        )
        for state, row in TRANSITIONS.items()
        for event, targets in row.items()
    ]
    return _table(("in", "on", "may become"), rows)


def _mermaid() -> str:
    return f"```text\n{diagram()}\n```"


def _doubts() -> str:
    rows = [(f"[`{doubt}`](../guide/attention.md#{doubt})", doubt.sentence) for doubt in Doubt]
    return _table(("doubt", "what it says"), rows)


def _alarms() -> str:
    told = _member_docs(Alarm)
    rows = [(f"[`{alarm}`](../guide/attention.md#{alarm})", told[alarm.name]) for alarm in Alarm]
    return _table(("alarm", "what it says"), rows)


def _member_docs(kind: type[Enum]) -> dict[str, str]:
    """Read the sentence that stands below each member in the source."""
    pattern = re.compile(r'^    ([A-Z0-9_]+) = .*\n    """(.+?)"""$', re.MULTILINE)
    return dict(pattern.findall(inspect.getsource(kind)))


def _errors() -> str:
    """Write the tree of the exceptions, as their file begins."""
    tree = inspect.cleandoc(errors.__doc__ or "").split("::\n\n", 1)[1].split("\n\n")[0]
    return f"```text\n{inspect.cleandoc(tree)}\n```"


def _parameters() -> str:
    rows = []
    for name, row in PARAMETERS.items():
        shortest = f"{row.shortest} to " if row.shortest > 1 else ""
        length = "" if row.longest is None else f"; {shortest}{row.longest} characters"
        marks = [word for word, is_so in (("masked", row.secret), ("who", row.receiver)) if is_so]
        alias = f" or `{row.alias}`" if row.alias else ""
        notes = ", ".join([row.need.value, *marks])
        rows.append((f"`{name}`{alias}", f"{row.kind.value}{length}", notes))
    return _table(("name", "what it is", "notes"), rows)


def _accounts() -> str:
    rows = [(f"`{account}`", each.tale) for account, each in SCENARIOS.items()]
    return _table(("`account_number`", "what happens to its payouts"), rows)


def _faults() -> str:
    told = _member_docs(FaultKind)
    knows: dict[FaultKind, list[str]] = {kind: [] for kind in FaultKind}
    for command, kinds in FAULTS.items():
        for kind in kinds:
            knows[kind].append(f"`{command}`")
    rows = [(f"`{kind}`", told[kind.name], ", ".join(knows[kind])) for kind in FaultKind]
    return _table(("fault", "what goes wrong", "of"), rows)


def _log_fields() -> str:
    """Write the table of the fields of our log records, as their file begins."""
    lines = inspect.cleandoc(logs.__doc__ or "").splitlines()
    rows = [tuple(re.split(r"  +", line, maxsplit=1)) for line in lines if line.startswith("``")]
    return _table(("field", "what it is"), [(row[0], row[1]) for row in rows])


GENERATORS: Final[dict[str, Callable[..., str]]] = {
    "accounts": _accounts,
    "alarms": _alarms,
    "commands": commands.write,
    "doubts": _doubts,
    "errors": _errors,
    "faults": _faults,
    "log-fields": _log_fields,
    "mermaid": _mermaid,
    "parameters": _parameters,
    "picture": lambda: f"```{{raw}} html\n{picture.draw()}\n```",
    "reference": _reference,
    "transitions": _transitions,
}
