"""What can be run about payouts is a command that the parser takes, with the right ids in it."""

import shlex
from collections.abc import Sequence
from typing import Final

import pytest
from payouts import (
    ALARM_PATHS,
    DOUBT_PATHS,
    PATHS,
    START,
    doubtful,
    finished,
    fold,
    opened,
    payout_in,
)

from billblend_async.cli.main import _parser
from billblend_async.core.events import Acknowledged, Checked
from billblend_async.core.machine import evolve
from billblend_async.core.models import Alarm, Doubt, State
from billblend_async.core.payout import Payout
from billblend_async.reporting.projection import Line, line_of, remedies, remedies_of
from billblend_async.reporting.summary import summarize

JOURNAL: Final = "my payouts/j'1.db"


def commands(*payouts: Payout, most: int = 20) -> list[str]:
    """Give all commands about payouts, as a report would show them."""
    told = summarize(map(line_of, payouts), at=START + 100)
    groups = (*told.attention, *told.unfinished)
    each = (remedies(group.name, group.lines, JOURNAL, most=most) for group in groups)
    return [remedy.command for part in each for remedy in part]


def parsed(command: str) -> tuple[str, list[str]]:
    """Let the real parser read a command whose missing words were added; its verb and its ids."""
    program, *words = shlex.split(command)
    assert "billblend" == program
    if words[0] in ("attention", "withdraw"):
        words += ["--who", "ann", "--why", "asked"]
    if words[0] == "approve":
        words += ["--who", "ann"]
    given = _parser().parse_args(words)
    assert JOURNAL == str(given.journal)
    names = getattr(given, "client_orderid", [])
    verb = words[1] if words[0] == "attention" else words[0]
    return verb, [names] if isinstance(names, str) else names


def verbs(found: Sequence[str]) -> list[str]:
    """Give what each command does."""
    return [parsed(command)[0] for command in found]


@pytest.mark.parametrize("doubt", DOUBT_PATHS)
def test_doubts(doubt: Doubt) -> None:
    """What is in doubt can be looked at, released where that can be right, and closed."""
    found = commands(doubtful(doubt))
    for_good = doubt in (Doubt.APPROVED_BEFORE_PAY, Doubt.OTHER_TRANSACTION)

    assert ["status", *["release"] * (not for_good), "close"] == verbs(found)
    assert {("po-1",)} == {tuple(parsed(command)[1]) for command in found}


@pytest.mark.parametrize("alarm", [a for a in Alarm if a is not Alarm.APPROVED_BEFORE_PAY])
def test_alarms(alarm: Alarm) -> None:
    """What does not fit about a finished payout can be acknowledged, and then nothing is left."""
    payout = fold(*ALARM_PATHS[alarm])
    told = tuple(each.number for each in payout.findings)
    seen = evolve(
        payout, Acknowledged(at=START + 300, who="ann", why="asked", findings=told, error=False)
    )

    assert ["status", "acknowledge"] == verbs(commands(payout))
    assert [] == commands(seen)


def test_error() -> None:
    """The status error is acknowledged likewise."""
    payout = fold(*PATHS[State.AWAITING_FINAL], finished("error"))

    assert ["status", "acknowledge"] == verbs(commands(payout))


def test_alarm_that_is_not_finished() -> None:
    """What goes on is run again, and is not offered to be acknowledged."""
    payout = evolve(payout_in(State.PAYING), Checked(at=START + 20, paynet_order_id="999"))

    assert ["status", "pay"] == verbs(commands(payout))


@pytest.mark.parametrize(
    "state", [s for s in State if not s.is_terminal and s is not State.ATTENTION]
)
def test_unfinished(state: State) -> None:
    """What is not finished goes on with its file."""
    assert ["pay"] == verbs(commands(payout_in(state)))


def test_held() -> None:
    """What awaits approval is approved by its ids, or ended; of too many the whole file is."""
    few = [payout_in(State.VALIDATED, held=True, client_orderid=f"po {n}") for n in range(3)]
    many = [payout_in(State.VALIDATED, held=True, client_orderid=f"po-{n}") for n in range(21)]

    names = ["po 0", "po 1", "po 2"]
    assert [("approve", names), ("withdraw", names)] == [parsed(each) for each in commands(*few)]
    assert [("approve", [])] == [parsed(each) for each in commands(*many)]


def test_finished() -> None:
    """About a payout that came to its end there is nothing to run."""
    assert [] == commands(payout_in(State.FINAL), payout_in(State.REJECTED))


def test_many() -> None:
    """Of very many payouts a command names the first, and says so."""
    lines = [
        line_of(fold(*DOUBT_PATHS[Doubt.PAY_UNCONFIRMED], first=opened(f"po-{n}")))
        for n in range(30)
    ]
    _, release, close = remedies("pay-unconfirmed", lines, JOURNAL, most=7)

    assert ("close", [f"po-{n}" for n in range(7)]) == parsed(close.command)
    assert "(the first 7; add --who and --why)" in release.heading


@pytest.mark.parametrize(
    "name", ["$(rm -rf ~)", "a;b", "a'b\"c", "`x`", "a b", "!!", "ä€", "*", "a\\"]
)
def test_nothing_is_run_by_a_name(name: str) -> None:
    """An id is one word of a shell, whatever it holds."""
    found = commands(payout_in(State.ATTENTION, client_orderid=name))

    assert [[name]] * 3 == [parsed(command)[1] for command in found]


@pytest.mark.parametrize("name", ["-x", "--journal=other.db", "a\nb", "a\x1b[2J", "a\u202eb"])
def test_what_cannot_be_typed(name: str) -> None:
    """An id that would be an option, or cannot be seen, stands in no command."""
    good = payout_in(State.ATTENTION, client_orderid="po-2")
    found = commands(payout_in(State.ATTENTION, client_orderid=name), good)

    assert [["po-2"]] * 3 == [parsed(command)[1] for command in found]
    assert [] == commands(payout_in(State.ATTENTION, client_orderid=name))


def test_one_payout() -> None:
    """Of one payout each command is told once, however many reasons there are."""
    payout = fold(*ALARM_PATHS[Alarm.AMOUNT_DIFFERS], *ALARM_PATHS[Alarm.SECOND_ORDER][-1:])
    line: Line = line_of(payout)

    assert ["acknowledge"] == verbs([each.command for each in remedies_of(line, JOURNAL)])
    assert ["release", "close"] == verbs(
        [each.command for each in remedies_of(line_of(payout_in(State.ATTENTION)), JOURNAL)]
    )
    assert [] == remedies_of(line_of(payout_in(State.FINAL)), JOURNAL)
