"""Clients that share no code with us use the sandbox: oauthlib and httpx, or openssl and curl."""

import asyncio
import base64
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

import httpx
import pytest
from merchants import signed
from rsa_keys import PEM_2048

from billblend_async.sandbox.server import Sandbox

REQUEST = {
    "client_orderid": "stranger-1",
    "amount": "10.42",
    "currency": "USD",
    "account_number": "1234567890",
    "purpose": "Honorar für März + & = ~ *",
}
Post = Callable[[str, dict[str, str]], Awaitable[dict[str, str]]]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(private_key=PEM_2048, validation=0.1, processing=0.1) as opened:
        yield opened


def read(text: str) -> dict[str, str]:
    """Read an answer by the documents alone: pairs whose values may end in a line feed."""
    return {name: value.strip() for name, value in parse_qsl(text, keep_blank_values=True)}


async def go_the_whole_way(post: Post, login: str) -> list[str]:
    """Check, wait for the bank, pay and wait for the end; list the stages that were told."""
    checked = await post("payout-check", REQUEST)
    assert checked["type"] == "async-response", checked
    order = checked["paynet-order-id"]
    ids = {"client_orderid": REQUEST["client_orderid"], "orderid": order, "login": login}
    stages: list[str] = []
    for end in ("payout_check_validated", "payout_approved"):
        while not stages or stages[-1] != end:
            told = await post("status", ids)
            assert (told["type"], told["paynet-order-id"]) == ("status-response", order)
            stages.append(told["order-stage"])
        if end == "payout_check_validated":
            assert (await post("payout-pay", ids))["type"] == "async-response"
    return stages


@pytest.mark.parametrize("endpoint", ["39915", "group/39915"])
async def test_oauthlib_and_httpx(sandbox: Sandbox, endpoint: str) -> None:
    """A client of oauthlib and httpx checks, polls, pays and polls, on an endpoint or a group."""
    async with httpx.AsyncClient(trust_env=False) as http:

        async def post(command: str, fields: dict[str, str]) -> dict[str, str]:
            url = f"{sandbox.base_url}/api/v4/{command}/{endpoint}"
            body = urlencode(fields)
            headers = signed(url, body, sandbox.private_key, sandbox.login)
            answer = await http.post(url, content=body, headers=headers)
            assert answer.status_code == 200
            return read(answer.text)

        stages = await go_the_whole_way(post, sandbox.login)
    assert "payout_approved" == stages[-1]
    assert 1 == sandbox.gateway.paid("stranger-1")


async def run(*command: str | Path, given: bytes = b"") -> bytes:
    """Run a program and give what it writes."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(given)
    assert process.returncode == 0
    return out


async def test_openssl_and_curl(sandbox: Sandbox, tmp_path: Path) -> None:
    """Two programs of any Unix do: ``openssl dgst -sha256 -sign`` signs and curl sends."""
    openssl, curl = shutil.which("openssl"), shutil.which("curl")
    if openssl is None or curl is None:
        pytest.skip("needs the programs openssl and curl: apt-get install openssl curl")
    key = tmp_path / "key.pem"
    key.write_text(sandbox.private_key)

    async def post(command: str, fields: dict[str, str]) -> dict[str, str]:
        url = f"{sandbox.base_url}/api/v4/{command}/{sandbox.endpoint_id}"
        oauth = {
            "oauth_consumer_key": sandbox.login,
            "oauth_nonce": secrets.token_hex(16),
            "oauth_signature_method": "RSA-SHA256",
            "oauth_timestamp": str(int(time.time())),
            "oauth_version": "1.0",
        }
        encoded = sorted(map(encode_pair, {**fields, **oauth}.items()))
        base_string = "&".join(("POST", encode(url), encode("&".join(encoded))))
        signature = await run(openssl, "dgst", "-sha256", "-sign", key, given=base_string.encode())
        oauth["oauth_signature"] = base64.b64encode(signature).decode()
        header = ", ".join(f'{name}="{encode(value)}"' for name, value in oauth.items())
        data = [part for pair in fields.items() for part in ("--data-urlencode", "=".join(pair))]
        answer = await run(
            *(curl, "--silent", "--fail", "--noproxy", "*", "--max-time", "60"),
            *("--header", f"Authorization: OAuth {header}", *data, url),
        )
        return read(answer.decode())

    stages = await go_the_whole_way(post, sandbox.login)
    assert "payout_approved" == stages[-1]
    assert 1 == sandbox.gateway.paid("stranger-1")


def encode(text: str) -> str:
    """Percent-encode as RFC 5849 section 3.6 says."""
    return quote(text, safe="~")


def encode_pair(pair: tuple[str, str]) -> str:
    return "=".join(map(encode, pair))
