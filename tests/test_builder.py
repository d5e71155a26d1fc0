"""What is shown of a signature is what would be sent, verifies elsewhere, and tells no secret."""

import base64
import hashlib
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from leaks import CARD, CONTROL, RECEIVER, TOKENS, leaks
from oauthlib.oauth1.rfc5849 import signature as oracle
from rsa_keys import PEM_2048, public_pem

from billblend_async.cli.main import main
from billblend_async.gateway.signing import body_parameters, verify_authorization
from billblend_async.gateway.wire import FORM
from billblend_async.sandbox import Sandbox

URL = "https://gateway.example/checkout"
FIXED = ("--nonce", "n0nce", "--timestamp", "1700000000")
ENV = {
    "BILLBLEND_LOGIN": "mörchant & co",
    "BILLBLEND_MERCHANT_CONTROL": CONTROL,
    "BILLBLEND_ENDPOINT_ID": "39915",
    "BILLBLEND_BASE_URL": URL,
}
Sign = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Sign:
    """Run the command with settings of its own; its status, output and errors."""
    key = tmp_path / "key.pem"
    key.write_text(PEM_2048)
    for name in [name for name in os.environ if name.startswith("BILLBLEND_")]:
        monkeypatch.delenv(name)
    for name, value in {**ENV, "BILLBLEND_PRIVATE_KEY": str(key)}.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, str, str]:
        try:
            status = main(["sign", *words])
        except SystemExit as end:
            status = int(end.code or 0)
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def steps(told: tuple[int, str, str]) -> dict[str, str]:
    """Read the steps of a run that went well."""
    status, out, error = told
    assert (0, "") == (status, error)
    read: dict[str, str] = json.loads(out)
    return read


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("payout-check", ["client_orderid=po 1", "amount=10.42", "account_name=Zoë & Söhne"]),
        ("payout", ["client_orderid=po-1", f"credit_card_number={CARD}", "cvv2="]),
        ("v4/payout-pay", ["client_orderid=po-1", "orderid=6982864"]),
        ("status", ["client_orderid=po+1%"]),
        ("create-card-ref", ["a=1", "x-y=a=b&c", "empty="]),
    ],
)
def test_oauthlib_agrees(sign: Sign, command: str, words: list[str]) -> None:
    """Every step of any command is the one that oauthlib comes to, and the signature verifies."""
    told = steps(sign(command, *words, *FIXED, "--json", "--show-secrets"))

    url = told["URL"].removeprefix("POST ")
    assert f"{URL}/api/v4/{command.removeprefix('v4/')}/39915" == url
    header = told["Authorization header"].removeprefix("Authorization: ")
    pairs = oracle.collect_parameters(
        body=told["POST body"], headers={"Authorization": header}, exclude_oauth_signature=True
    )
    normalized: str = oracle.normalize_parameters(pairs)  # pyright: ignore[reportArgumentType] - its own collect_parameters gives a list
    assert normalized == told["normalized parameters"]
    text = oracle.signature_base_string("POST", oracle.base_string_uri(url), normalized)
    assert text == told["signature base string"]
    assert base64.b64decode(told["signature, Base64"]).hex() == told["signature, hex"]
    seen = SimpleNamespace(
        params=pairs, uri=url, http_method="POST", signature=told["signature, Base64"]
    )
    assert oracle.verify_rsa_sha256(seen, public_pem(2048).decode())
    body = body_parameters(told["POST body"].encode())
    fields = verify_authorization(header, "POST", url, body, public_key=public_pem(2048))
    assert ("n0nce", "1700000000") == (fields["oauth_nonce"], fields["oauth_timestamp"])
    given = [tuple(word.split("=", 1)) for word in words]
    has_login = command in ("v4/payout-pay", "status")
    assert [*given, *[("login", ENV["BILLBLEND_LOGIN"])] * has_login] == body


def test_reproduced(sign: Sign) -> None:
    """The same nonce and time give the same signature; without them each run has its own."""
    words = ("status", "client_orderid=po-1")

    assert sign(*words, *FIXED) == sign(*words, *FIXED)
    assert steps(sign(*words, "--json")) != steps(sign(*words, "--json"))


def test_options_anywhere(sign: Sign) -> None:
    """Parameters may stand before and after options, and are signed in the order they come."""
    told = steps(sign("payout", "a=1", "--nonce", "n", "b=2", "--json", "c=3", "--show-secrets"))

    assert "a=1&b=2&c=3" == told["POST body"]


@pytest.mark.parametrize("extra", [[], ["orderid=6982864"]])
def test_control(sign: Sign, extra: list[str]) -> None:
    """For v2 the source of the control is shown without its secret, and its SHA-1 is right."""
    words = ("v2/status", "client_orderid=po-1", *extra)
    told = steps(sign(*words, "--json"))

    source = f"{ENV['BILLBLEND_LOGIN']}po-1{'6982864' if extra else ''}"
    assert f"{source}MASKED" == told["control, source"]
    expected = hashlib.sha1((source + CONTROL).encode()).hexdigest()
    assert expected == told["control, SHA-1"] == dict(parse_qsl(told["POST body"]))["control"]
    assert (
        f"{source}{CONTROL}" == steps(sign(*words, "--json", "--show-secrets"))["control, source"]
    )
    assert "Authorization header" not in told


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_secret_is_shown(sign: Sign, form: list[str], tmp_path: Path) -> None:
    """No secret parameter, nor one of an unknown name, is told in any encoding."""
    given = {name: text for name, text in RECEIVER.items() if name not in TOKENS}
    told = sign("payout", *(f"{name}={text}" for name, text in given.items()), *form)
    token = sign("payout", "card_recurring_payment_id=7700112233445566778", *form)
    aliased = sign("payout", f"first_name={RECEIVER['receiver_first_name']}", f"pan={CARD}", *form)
    file = tmp_path / "payout.json"
    payout = {"client_orderid": "po-1", "amount": "10.42", "currency": "EUR", **given}
    file.write_text(json.dumps(payout))
    read = sign("payout-check", "--file", str(file), *form)
    control = sign("v2/status", "client_orderid=po-1", *form)

    for status, out, error in (told, token, aliased, read, control):
        assert (0, "") == (status, error)
        assert [] == leaks({"out": out.encode()})
    assert "MASKED" in told[1]
    assert "po-1" in read[1]


def test_secrets_on_request(sign: Sign) -> None:
    """With --show-secrets everything is shown, and nothing is called masked."""
    _, out, _ = sign("payout", f"credit_card_number={CARD}", "--show-secrets")

    assert 3 == out.count(CARD)
    assert "MASKED" not in out


@pytest.mark.parametrize("words", [("status",), ("v2/status",)])
async def test_sandbox_takes_it(sign: Sign, words: tuple[str, ...], monkeypatch: Any) -> None:
    """A request that is sent as it is shown is accepted by a gateway that verifies it."""
    async with Sandbox(private_key=PEM_2048, merchant_control=CONTROL) as sandbox:
        monkeypatch.setenv("BILLBLEND_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("BILLBLEND_LOGIN", sandbox.login)
        told = steps(sign(*words, "client_orderid=po-1", "--json", "--curl"))
        curl = shlex.split(told["curl"], comments=True)
        headers = dict(word.split(": ", 1) for word in curl if ": " in word)
        async with httpx.AsyncClient(trust_env=False) as http:
            url = next(word for word in curl if word.startswith("http"))
            answer = await http.post(url, content=curl[-1], headers=headers)

    assert FORM == headers["Content-Type"]
    assert told["POST body"] == curl[-1]
    assert (200, True) == (answer.status_code, "error-code=101" in answer.text)


@pytest.mark.parametrize(
    ("command", "marked"),
    [
        ("payout-pay", "MOVES MONEY"),
        ("payout", "MOVES MONEY"),
        ("payout-check", "makes an order"),
        ("status", "only asks"),
        ("transfer-by-ref", "MAY MOVE MONEY"),
    ],
)
def test_curl_says_what_it_does(sign: Sign, command: str, marked: str) -> None:
    """A curl command says first what running it does, and is never printed with a mask in it."""
    told = steps(sign(command, "client_orderid=po-1", "--json", "--curl"))
    assert marked in told["curl"].splitlines()[0]
    status, out, error = sign(command, "client_orderid=po-1", "cvv2=123", "--curl")
    assert (3, "", True) == (status, out, "--show-secrets" in error)


def test_from_files(sign: Sign, tmp_path: Path) -> None:
    """A payout of a payouts file or of one JSON object is signed as it would be sent."""
    rows = tmp_path / "payouts.csv"
    header = "client_orderid,amount,currency,account_number,first_name"
    rows.write_text(f"{header}\npo-1,1.00,EUR,1234567890,Ann\npo-2,2.50,EUR,0987654321,Bob\n")
    one = tmp_path / "payout.json"
    one.write_text('{"client_orderid": "po-2", "amount": 2.50, "currency": "EUR",'
                   ' "account_number": "0987654321", "first_name": "Bob"}')  # fmt: skip
    options = (*FIXED, "--json", "--show-secrets")
    batched = steps(sign("payout-check", "--batch", str(rows), "--id", "po-2", *options))

    assert batched == steps(sign("payout-check", "--file", str(one), *options))
    body = dict(parse_qsl(batched["POST body"]))
    assert ("2.50", "Bob") == (body["amount"], body["receiver_first_name"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["payout pay"], "COMMAND: must be a command"),
        (["v2/payout"], "COMMAND: with v2 only status"),
        (["status", CARD], "parameter 1: must read name=value"),
        (["status", "=x"], "parameter 1: must read name=value"),
        (["status", "--bogus", "a=1"], "--bogus: is no option"),
        (["payout", "a=1", "a=2"], "a: is given twice"),
        (["payout", "oauth_nonce=1"], "oauth_nonce: begins with oauth"),
        (["payout", "a=\udcff"], "a: holds half of a surrogate"),
        (["v2/status", "a=\udcff"], "a: holds half of a surrogate"),
        (["v2/status", "control=00"], "control: is computed here"),
        (["status", "--nonce", "a\nb"], "--nonce: must be printable"),
        (["status", "--timestamp", "now"], "--timestamp: must be whole seconds"),
        (["payout", "--id", "po-1"], "--id: belongs to --batch"),
        (["status", "--file", "x.json"], "--file: names a payout"),
        (["payout", "--file", "/nowhere.json"], "cannot be read"),
        (["payout", "--file", "/"], "cannot be read"),
        (["payout", "--batch", "/nowhere.csv", "--id", "po-1"], "/nowhere.csv"),
    ],
)
def test_refusals(sign: Sign, words: list[str], said: str) -> None:
    """What cannot be signed is told by its name or place, and no value is repeated."""
    status, out, error = sign(*words)

    assert (3, "") == (status, out)
    assert said in error
    assert CARD not in error


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": {"b": 1}}', f'{{"credit_card_number": {CARD}', "\xff"]
)
def test_wrong_object(sign: Sign, tmp_path: Path, text: str) -> None:
    """A file that holds no flat object is refused by its name, and not repeated."""
    file = tmp_path / "payout.json"
    file.write_bytes(text.encode("latin-1"))
    status, out, error = sign("payout", "--file", str(file))

    assert (3, "", True) == (status, out, "holds no flat JSON object" in error)
    assert CARD not in error


def test_control_is_needed(sign: Sign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a merchant control v2 cannot be signed, and the variable is named."""
    monkeypatch.delenv("BILLBLEND_MERCHANT_CONTROL")

    assert "BILLBLEND_MERCHANT_CONTROL" in sign("v2/status", "client_orderid=po-1")[2]
