"""A merchant without our library: requests past the signatures, or signed by oauthlib."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import ClassVar, cast
from urllib.parse import urlencode

import attrs
import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from oauthlib import oauth1
from starlette.applications import Starlette

from billblend_async.core.models import Endpoint
from billblend_async.gateway.signing import control
from billblend_async.gateway.wire import FORM, RequestKind
from billblend_async.sandbox.app import Merchant, build_app
from billblend_async.sandbox.gateway import Gateway
from billblend_async.sandbox.server import Sandbox

AT = 1_700_000_000.0
ENDPOINT = Endpoint(endpoint_id=39915)
LOGIN = "sandbox"
SECRET = "AF4B5DE6-3468-424C-A922-C1DAD7CB4509"
FIRST = "6982864"
REQUEST = {"client_orderid": "po-1", "amount": "10.42", "currency": "USD", "account_number": "1"}
CARD = "4444444444444448"

Fields = dict[str, str]


def send(
    gateway: Gateway, kind: RequestKind, fields: Fields, at: float = AT, login: str = LOGIN
) -> Fields:
    """Hand a request to the model, past all signatures."""
    return gateway.handle(kind, ENDPOINT, login, fields, at)


def check(gateway: Gateway, at: float = AT, **changes: str) -> Fields:
    return send(gateway, RequestKind.CHECK, {**REQUEST, **changes}, at)


def payout(gateway: Gateway, at: float = AT, **changes: str) -> Fields:
    return send(gateway, RequestKind.PAYOUT, {**REQUEST, **changes}, at)


def pay(gateway: Gateway, at: float, order: str = FIRST, client_orderid: str = "po-1") -> Fields:
    fields = {"client_orderid": client_orderid, "orderid": order, "login": LOGIN}
    return send(gateway, RequestKind.PAY, fields, at)


def status(gateway: Gateway, at: float, order: str | None = FIRST, **changes: str) -> Fields:
    named = {} if order is None else {"orderid": order}
    fields = {"client_orderid": "po-1", "login": LOGIN, **named, **changes}
    return send(gateway, RequestKind.STATUS, fields, at)


def seen(gateway: Gateway, at: float) -> tuple[str, str]:
    answer = status(gateway, at)
    return answer["status"], answer["order-stage"]


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> float:
        return self.now


@cache
def load(pem: str) -> rsa.RSAPrivateKey:
    return cast(
        "rsa.RSAPrivateKey", serialization.load_pem_private_key(pem.encode(), password=None)
    )


def public_pem(pem: str) -> bytes:
    return (
        load(pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def sign_rsa_sha256(base_string: str, client: oauth1.Client) -> str:
    key = load(client.rsa_key)
    return b64encode(key.sign(base_string.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


class OAuthlib(oauth1.Client):  # type: ignore[misc] # oauthlib ships no types
    """An independent client: oauthlib builds and signs, and only RSA itself is not its own."""

    SIGNATURE_METHODS: ClassVar = {  # pyright: ignore[reportIncompatibleVariableOverride] - theirs is one
        **oauth1.Client.SIGNATURE_METHODS,
        oauth1.SIGNATURE_RSA_SHA256: sign_rsa_sha256,
    }


def signed(url: str, body: str, key: str, login: str = LOGIN) -> Fields:
    """Let oauthlib sign a request: give its headers."""
    client = OAuthlib(login, signature_method=oauth1.SIGNATURE_RSA_SHA256, rsa_key=key)
    _, headers, _ = client.sign(url, "POST", body=body, headers={"Content-Type": FORM})
    return dict(headers)


class Caller:
    """A merchant without our library: oauthlib and httpx."""

    def __init__(self, http: httpx.AsyncClient, sandbox: "Sandbox | Unserved") -> None:
        self.http, self.sandbox = http, sandbox

    async def post(
        self,
        command: str,
        fields: Fields,
        *,
        version: int = 4,
        endpoint: str = "39915",
        login: str = LOGIN,
        key: str | None = None,
        headers: Fields | None = None,
    ) -> httpx.Response:
        """Send one command, signed if it is a v4 one."""
        url = f"{self.sandbox.base_url}/api/v{version}/{command}/{endpoint}"
        body = urlencode(fields)
        own = {"Content-Type": FORM}
        if version == 4:
            own = signed(url, body, key or self.sandbox.private_key, login)
        return await self.http.post(url, content=body, headers={**own, **(headers or {})})

    async def status(self, fields: Fields, headers: Fields | None = None) -> httpx.Response:
        """Ask by v2, with the control that is right unless the fields have one."""
        given = {"login": LOGIN, **fields}
        parts = [given["login"], given["client_orderid"], given.get("orderid", ""), SECRET]
        given = {"control": control(*parts), **given}
        return await self.post("status", given, version=2, headers=headers)


@attrs.frozen
class Unserved:
    """The app without its server, for the rules that need no socket."""

    private_key: str
    clock: Clock
    gateway: Gateway = attrs.field(factory=Gateway)
    base_url: str = "http://127.0.0.1:8080/checkout"

    def app(self) -> Starlette:
        merchant = Merchant(
            login=LOGIN,
            endpoint_id=39915,
            public_key=public_pem(self.private_key),
            merchant_control=SECRET,
        )
        return build_app(self.gateway, [merchant], clock=self.clock)


def is_denied(response: httpx.Response) -> bool:
    """Tell whether this is the documented page, which gives no reason."""
    return (
        response.status_code == 403
        and response.headers["Content-Type"] == "text/html"
        and response.text.startswith("<!DOCTYPE html>")
        and "<p>Access is denied</p>" in response.text
        and 700 < len(response.content) < 770
    )


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; the test's own time limit ends a wait in vain."""
    while not holds():
        await asyncio.sleep(0.005)
