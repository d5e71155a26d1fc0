"""Two things are called sandbox, ours and the gateway's, and nobody takes one for the other."""

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
from command_words import PARSERS
from manual import PAGES, ROOT, prose
from rsa_keys import PEM_2048

from billblend_async.batch.parser import read_batch
from billblend_async.cli.doctor import examine_papers, other_sandbox
from billblend_async.cli.pay import confirm, is_cleared
from billblend_async.core.models import Endpoint, Flow, is_own_sandbox, moves_real_money, place_of
from billblend_async.gateway.credentials import Credentials
from billblend_async.gateway.settings import Settings
from billblend_async.journal.location import FilePlace

PLACE = FilePlace(Path("payouts.db"))
OWN = "https://sandbox.billblend.com/checkout"
LOCAL = "http://127.0.0.1:8765/checkout"
REAL = "https://pay.billblend.com/checkout"
NAMED = re.compile(r"(built-in|gateway's own|workflow)\s+sandbox(?:es)?\b", re.IGNORECASE)
BARE = re.compile(r"(?<![\w./-])sandbox(?:es)?(?![\w.])", re.IGNORECASE)
TYPED = re.compile(r"billblend sandbox\b|\bBILLBLEND_BASE_URL=sandbox\b|\bsandbox \(default\)")


def said(text: str) -> tuple[set[str], int, int]:
    """Tell which sandboxes a text names, how often it names one, and how often it says no which."""
    plain = TYPED.sub("", text)
    kinds = {" ".join(kind.lower().split()) for kind in NAMED.findall(plain)}
    return kinds, len(NAMED.findall(plain)), len(BARE.findall(NAMED.sub("", plain)))


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md"))],
    ids=lambda page: page.name,
)
def test_pages(page: Path) -> None:
    """A page says which sandbox it means: each time where it knows both, else the first time."""
    text = re.sub(
        r"`[^`]*`|\]\([^)]*\)|\{eval-rst\}|^\.\. .*$", "", prose(page), flags=re.MULTILINE
    )
    kinds, named, bare = said(text)

    if {"built-in", "gateway's own"} <= kinds:
        assert 0 == bare
    elif named or bare:
        first, other = NAMED.search(text), BARE.search(text)
        assert first is not None
        assert other is not None
        assert first.start() < other.start()


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_help(parser: Any) -> None:
    """Each text of the help that speaks of a sandbox says which."""
    listed = [
        each for action in parser._actions for each in getattr(action, "_choices_actions", ())
    ]
    for each in (parser.description, parser.epilog, *(a.help for a in (*parser._actions, *listed))):
        assert 0 == said(each or "")[2], each


def test_setting() -> None:
    """The setting's help says which sandbox its word means, and where the other one's URL is."""
    told = " ".join(PARSERS[0].epilog.split())

    assert (
        "BILLBLEND_BASE_URL production, a URL, or sandbox (default): the gateway's own sandbox, "
        "sandbox.billblend.com; the URL of the built-in sandbox is printed by billblend sandbox "
    ) in told


@pytest.mark.parametrize(
    ("base_url", "place"),
    [
        ("sandbox", "sandbox.billblend.com, the gateway's own sandbox"),
        ("https://Sandbox.Billblend.com.:443/checkout", place_of(OWN)),
        (LOCAL, "127.0.0.1, on this machine"),
        ("production", "pay.billblend.com"),
        ("https://sandbox.example.com/checkout", "sandbox.example.com"),
    ],
)
def test_place(base_url: str, place: str) -> None:
    """A place is named by its host and, where it moves no money, by what it is."""
    endpoint = Endpoint(base_url=base_url, endpoint_id=7)

    assert place == place_of(endpoint.base_url)
    assert is_own_sandbox(endpoint.base_url) is place.endswith("own sandbox")
    assert moves_real_money(endpoint.base_url) is (", " not in place)


@pytest.mark.parametrize(
    ("base_url", "told"),
    [
        (OWN, f"billblend: about to pay 1 payout, at {place_of(OWN)}\n"),
        (LOCAL, ""),
        (REAL, "About to pay 1 payout\nwith the new journal payouts.db, at pay.billblend.com.\n"),
    ],
)
def test_named_before_a_run(base_url: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before it begins a run names its host, unless it stays on this machine."""
    endpoint = Endpoint(base_url=base_url, endpoint_id=7)
    confirm("pay 1 payout", (), endpoint=endpoint, journal=PLACE, is_given=True)

    assert ("", told) == capsys.readouterr()


@pytest.mark.parametrize("base_url", [OWN, LOCAL])
@pytest.mark.parametrize("is_dry", [True, False])
def test_run_and_dry_run(
    tmp_path: Path, base_url: str, capsys: pytest.CaptureFixture[str], *, is_dry: bool
) -> None:
    """Who believes that the word sandbox leads to this machine reads where it does beforehand."""
    (tmp_path / "p.csv").write_text("client_orderid,amount,currency,account_number\nx,1,EUR,1\n")
    words = argparse.Namespace(
        journal=FilePlace(tmp_path / "payouts.db"),
        out=None,
        dry_run=is_dry,
        similar_ids=False,
        yes=False,
        json=False,
    )
    endpoint = Endpoint(base_url=base_url, endpoint_id=7)
    settings = Settings(Credentials("m1", PEM_2048), endpoint)
    cleared = is_cleared(
        words, read_batch(tmp_path / "p.csv"), settings, flow=Flow.CHECK_PAY, pay=True
    )
    out, error = capsys.readouterr()
    told = f"billblend: about to pay 1 payout(s), 1 EUR, at {place_of(base_url)}\n"

    assert cleared is not is_dry
    assert ("" if is_dry or base_url == LOCAL else told) == error
    assert (f"A run goes to {place_of(base_url)}." in out.splitlines()) is is_dry


@pytest.mark.parametrize(
    ("base_url", "what"),
    [
        ("sandbox", "the gateway's own sandbox at sandbox.billblend.com, where no money is real"),
        (None, "the gateway's own sandbox at sandbox.billblend.com, where no money is real"),
        (LOCAL, "this machine, as with the built-in sandbox, where no money is real"),
        ("production", "real money moves there"),
    ],
)
def test_doctor(tmp_path: Path, base_url: str | None, what: str) -> None:
    """The doctor says which of them the settings lead to, also where the address is not set."""
    (tmp_path / "key.pem").write_text(PEM_2048)
    environ = {
        "BILLBLEND_LOGIN": "merchant",
        "BILLBLEND_PRIVATE_KEY": str(tmp_path / "key.pem"),
        "BILLBLEND_ENDPOINT_ID": "7",
    }
    if base_url is not None:
        environ["BILLBLEND_BASE_URL"] = base_url
    [found] = [each for each in examine_papers(environ).findings if each.about == "settings"]

    assert found.told.endswith(f", endpoint 7: {what}")


def test_remedy() -> None:
    """Where the gateway's own sandbox refuses or is not reached, the built-in one is named."""
    told = "; for the built-in sandbox, use the settings that billblend sandbox prints"

    assert [told, "", ""] == [other_sandbox(url) for url in (OWN, LOCAL, REAL)]
