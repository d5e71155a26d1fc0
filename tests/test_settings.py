"""Settings that are missing or wrong are named by their variable, and no secret is shown."""

import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from billblend_async.core.models import Endpoint
from billblend_async.errors import ConfigurationError
from billblend_async.gateway.settings import Settings, read_settings

SECRET = "hush-4929"
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """Make the merchant's key."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def environ(tmp_path: Path, key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Set what is needed, and the key's file."""
    path = tmp_path / "key.pem"
    path.write_bytes(pem(key))
    return {
        "BILLBLEND_LOGIN": "Merchant",
        "BILLBLEND_PRIVATE_KEY": str(path),
        "BILLBLEND_MERCHANT_CONTROL": SECRET,
        "BILLBLEND_ENDPOINT_ID": "39915",
    }


def pem(key: rsa.RSAPrivateKey, password: str | None = None) -> bytes:
    """Write a key as PEM."""
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        lock = serialization.BestAvailableEncryption(password.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def refusal(environ: Mapping[str, str]) -> str:
    """Gather the message of refused settings, once it is sure that no secret is shown."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(environ)
    error = caught.value
    ours = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename != __file__
    ]
    shown = "".join([repr(error), *traceback.format_exception(error), repr(ours)])
    assert (None, None) == (error.__context__, error.__cause__)
    for name in ("PRIVATE_KEY_PASSWORD", "MERCHANT_CONTROL"):
        secret = environ.get(f"BILLBLEND_{name}", "").strip()
        assert not secret or secret not in shown
    assert SECRET not in shown
    return str(error)


class TestGood:
    def test_least(self, environ: dict[str, str]) -> None:
        """Login, key and endpoint are enough, and lead to the sandbox."""
        del environ["BILLBLEND_MERCHANT_CONTROL"]
        settings = read_settings(environ)

        assert Endpoint(endpoint_id=39915) == settings.endpoint
        assert ("Merchant", None) == (
            settings.credentials.login,
            settings.credentials.merchant_control,
        )
        assert 2048 == settings.credentials.signer.key_size

    def test_all(self, environ: dict[str, str], key: rsa.RSAPrivateKey) -> None:
        """Everything that is set is used, without the white space around it."""
        Path(environ["BILLBLEND_PRIVATE_KEY"]).write_bytes(pem(key, PASSWORD))
        del environ["BILLBLEND_ENDPOINT_ID"]
        environ |= {
            "BILLBLEND_PRIVATE_KEY_PASSWORD": PASSWORD,
            "BILLBLEND_ENDPOINT_GROUP_ID": "007",
            "BILLBLEND_BASE_URL": "production",
        }
        settings = read_settings({name: f" {value}\n" for name, value in environ.items()})

        assert Endpoint(base_url="production", endpoint_group_id=7) == settings.endpoint
        assert SECRET == settings.credentials.merchant_control

    @pytest.mark.parametrize(
        ("given", "expected"), [("aiohttp", "aiohttp"), ("httpx", None), ("", None)]
    )
    def test_poll_transport(
        self, environ: dict[str, str], given: str, expected: str | None
    ) -> None:
        """Status requests travel on httpx, or on aiohttp if that is wanted."""
        settings = read_settings(environ | {"BILLBLEND_POLL_TRANSPORT": given})

        assert expected == settings.poll_transport

    def test_empty(self, environ: dict[str, str]) -> None:
        """An empty variable counts as not set, and foreign ones are not looked at."""
        environ |= {
            "BILLBLEND_ENDPOINT_GROUP_ID": "",
            "BILLBLEND_BASE_URL": " ",
            "BILLBLEND_PRIVATE_KEY_PASSWORD": "",
            "BILLBLEND_OTHER": "x",
        }

        assert Endpoint(endpoint_id=39915) == read_settings(environ).endpoint

    @pytest.mark.parametrize(
        ("given", "base_url"),
        [
            ("sandbox", "https://sandbox.billblend.com/checkout"),
            ("production", "https://pay.billblend.com/checkout"),
            ("https://gate.example/paynet/", "https://gate.example/paynet"),
            ("http://127.0.0.1:8765/checkout", "http://127.0.0.1:8765/checkout"),
        ],
    )
    def test_base_url(self, environ: dict[str, str], given: str, base_url: str) -> None:
        """The base URL is a known name, https, or plain http on this machine."""
        settings = read_settings(environ | {"BILLBLEND_BASE_URL": given})

        assert base_url == settings.endpoint.base_url

    def test_repr(self, environ: dict[str, str]) -> None:
        """Settings can be shown: the repr holds neither key nor control."""
        settings = read_settings(environ)

        assert isinstance(settings, Settings)
        assert "Merchant" in repr(settings)
        assert SECRET not in repr(settings)
        assert "BEGIN" not in repr(settings)


class TestBad:
    @pytest.mark.parametrize("name", ["BILLBLEND_LOGIN", "BILLBLEND_PRIVATE_KEY"])
    @pytest.mark.parametrize("value", ["", " \n", None])
    def test_missing(self, environ: dict[str, str], name: str, value: str | None) -> None:
        """What is needed and not set is named."""
        del environ[name]
        if value is not None:
            environ[name] = value

        assert f"{name} is not set" == refusal(environ)

    def test_poll_transport(self, environ: dict[str, str]) -> None:
        """A way for status requests that nobody knows is refused by the name of its variable."""
        expected = "BILLBLEND_POLL_TRANSPORT must be httpx or aiohttp"

        assert expected == refusal(environ | {"BILLBLEND_POLL_TRANSPORT": "requests"})

    @pytest.mark.parametrize("group", ["7", None])
    def test_endpoint_or_group(self, environ: dict[str, str], group: str | None) -> None:
        """Either the endpoint or the group is set, and the message names both variables."""
        if group is None:
            del environ["BILLBLEND_ENDPOINT_ID"]
        else:
            environ["BILLBLEND_ENDPOINT_GROUP_ID"] = group

        assert (
            "set either BILLBLEND_ENDPOINT_ID or BILLBLEND_ENDPOINT_GROUP_ID, and not both"
        ) == refusal(environ)

    @pytest.mark.parametrize("name", ["BILLBLEND_ENDPOINT_ID", "BILLBLEND_ENDPOINT_GROUP_ID"])
    @pytest.mark.parametrize(
        "value", ["0", "-1", "1.0", "1e3", "abc", "\u0661", str(2**63), "9" * 5000, SECRET]
    )
    def test_number(self, environ: dict[str, str], name: str, value: str) -> None:
        """An endpoint's number that is none is named by its variable."""
        del environ["BILLBLEND_ENDPOINT_ID"]
        expected = f"{name} must be a whole number from 1 to 2^63 - 1"

        assert expected == refusal(environ | {name: value})

    @pytest.mark.parametrize(
        "url",
        [
            *["live", "pay.billblend.com", "http://pay.billblend.com/checkout", "ftp://e.co"],
            *[f"https://user:{SECRET}@e.co", f"https://e.co/?{SECRET}", f"https://e.co:{SECRET}"],
        ],
    )
    def test_base_url(self, environ: dict[str, str], url: str) -> None:
        """A base URL that cannot be right is named by its variable, and not repeated."""
        assert refusal(environ | {"BILLBLEND_BASE_URL": url}).startswith("BILLBLEND_BASE_URL: ")

    @pytest.mark.parametrize(
        ("name", "value"),
        [("BILLBLEND_LOGIN", "Mer\nchant"), ("BILLBLEND_MERCHANT_CONTROL", "\x07control")],
    )
    def test_text(self, environ: dict[str, str], name: str, value: str) -> None:
        """A login or control that is no plain text is named by its variable."""
        assert refusal(environ | {name: value}).startswith(f"{name}: must be printable")

    def test_password(self, environ: dict[str, str], key: rsa.RSAPrivateKey) -> None:
        """A password that is missing, wrong or needless is named by its variable."""
        path, name = Path(environ["BILLBLEND_PRIVATE_KEY"]), "BILLBLEND_PRIVATE_KEY_PASSWORD"

        assert refusal(environ | {name: PASSWORD}).startswith(f"{name}: the private key is not")
        path.write_bytes(pem(key, PASSWORD))
        assert refusal(environ).startswith(f"{name}: the private key is encrypted")
        assert refusal(environ | {name: "guessed wrong"}).startswith(f"{name}: is wrong")


class TestKeyFile:
    def test_unreadable(self, environ: dict[str, str], tmp_path: Path) -> None:
        """A path that leads nowhere, to a directory or to no file at all is no key."""
        expected = (
            "BILLBLEND_PRIVATE_KEY: this file cannot be read; give the path of the private key's "
            "PEM file"
        )

        for path in (tmp_path / "nothing.pem", tmp_path, tmp_path / "key.pem" / "x", "nul\0"):
            assert expected == refusal(environ | {"BILLBLEND_PRIVATE_KEY": str(path)})

    @pytest.mark.parametrize("content", [b"", b"no key", SECRET.encode(), b"\xff\xfe"])
    def test_no_key(self, environ: dict[str, str], content: bytes) -> None:
        """A file that holds no key is not a setting that works."""
        Path(environ["BILLBLEND_PRIVATE_KEY"]).write_bytes(content)

        assert refusal(environ).startswith("BILLBLEND_PRIVATE_KEY, the content of its file: must")

    def test_key_instead_of_path(self, environ: dict[str, str], key: rsa.RSAPrivateKey) -> None:
        """A key given instead of its path is refused and not repeated, not even in part."""
        text = pem(key).decode()
        body = "".join(text.splitlines()[1:-1])

        for given in (text, f"\n{text}"):
            message = refusal(environ | {"BILLBLEND_PRIVATE_KEY": given})
            assert message.endswith("must be the path of a PEM file, not the key")
        for given in (text, text.replace("\n", "\\n"), body, body[:64], text[28:]):
            message = refusal(environ | {"BILLBLEND_PRIVATE_KEY": given})
            assert message.startswith("BILLBLEND_PRIVATE_KEY")
            assert "PEM file" in message
            assert body[20:40] not in message
