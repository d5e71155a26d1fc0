"""Who mistypes an option or a command is told what was probably meant, and no value is repeated."""

import pytest
from command_words import PARSERS, below
from leaks import CARD

from billblend_async.cli.main import main, nearest


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Give the last line of what a wrong command line is told."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert 3 == caught.value.code
    out, error = capsys.readouterr()
    assert ("", 1) == (out, error.count("usage: "))
    return error.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "meant", "of"),
    [
        ("pay f --jornal j --out o", "--journal", "pay"),
        ("pay f --journal j --ouput o", "--out", "pay"),
        ("pay f --journal j -out o", "--out", "pay"),
        ("pay f --dryrun", "--dry-run", "pay"),
        ("pay f --journal j --out o --decimal_comma", "--decimal-comma", "pay"),
        ("pay f --journal j --out o --Max-Amuont=5", "--max-amount", "pay"),
        ("report --jornal=j", "--journal", "report"),
        ("attention release po-1 --journal j --woh ann --why x", "--who", "attention release"),
        ("pya f", "pay", ""),
        ("stauts po-1 --jornal j", "status", ""),
        ("attention lst --journal j", "list", "attention"),
        ("--verison", "--version", ""),
    ],
)
def test_meant(capsys: pytest.CaptureFixture[str], line: str, meant: str, of: str) -> None:
    """What was meant is named, and the help of the very command that knows it."""
    program = f"billblend {of}".rstrip()
    told = said(line.split(), capsys)

    assert told.startswith(f"{program}: ")
    assert told.endswith(f"; did you mean {meant}? See {program} --help")


@pytest.mark.parametrize(
    ("line", "of"),
    [
        ("nonsense", ""),
        ("", ""),
        ("pay f --journal j --out o --quiet", "pay"),
        ("pay f --journal j --out o more", "pay"),
        ("pay f --journ j --out o --poll 5", "pay"),
        ("watch --journal j --p x", "watch"),
        ("report --journal j -- --jornal", "report"),
    ],
)
def test_nothing_near(capsys: pytest.CaptureFixture[str], line: str, of: str) -> None:
    """Where nothing is near, or the options are right, nothing is made up."""
    told = said(line.split(), capsys)

    assert told.endswith(f"; see {f'billblend {of}'.rstrip()} --help")
    assert "did you mean" not in told


@pytest.mark.parametrize(
    "words", [["--jornal", CARD], [f"--jornal={CARD}"], ["--jornal", f"{CARD[:4]} {CARD[4:]}"]]
)
def test_values_stay_hidden(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """A number beside a mistyped option is masked, and the right option is named all the same."""
    told = said(["pay", "f", "--out", "o", *words], capsys)

    assert (False, True) == (CARD[:6] in told, "did you mean --journal?" in told)
    assert CARD not in said([CARD], capsys)


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://ann:Secretword@db/x",
        "postgresql://ann:p@Secretword@db/x",
        "host=db password=Secretword",
    ],
)
def test_passwords_stay_hidden(capsys: pytest.CaptureFixture[str], value: str) -> None:
    """A password beside a mistyped option is masked."""
    told = said(["pay", "f", "--out", "o", "--jurnal", value], capsys)

    assert "Secretword" not in told
    assert "did you mean --journal?" in told


def test_sign(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that takes any parameter tells a mistyped option from one, too."""
    monkeypatch.setattr("billblend_async.cli.sign.read_settings", lambda _: None)

    assert 3 == main(["sign", "payout", "client_orderid=po-1", f"--noce={CARD}", "-x=1"])
    assert [
        "--noce: is no option of billblend sign; did you mean --nonce?",
        "-x: is no option of billblend sign",
    ] == capsys.readouterr().err.splitlines()[:2]


def test_every_name_is_found() -> None:
    """Each long option and each command is found again when two of its letters change places."""
    for parser in PARSERS:
        options = [name for name in parser._option_string_actions if name.startswith("--")]
        for names in (options, list(below(parser))):
            for name in (name for name in names if name != "--id"):  # two letters tell too little
                swapped = f"{name[:-2]}{name[-1]}{name[-2]}"
                assert name == nearest(swapped, names)
