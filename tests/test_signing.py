"""The signature is the one that openssl makes and oauthlib reads; nothing else verifies."""

import base64
import copy
import hashlib
import pickle
import re
import traceback
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from oauthlib.common import urldecode
from oauthlib.oauth1.rfc5849 import signature as oracle
from oauthlib.oauth1.rfc5849.utils import escape

from billblend_async.errors import ConfigurationError, InvalidInput, VerificationFailed
from billblend_async.gateway.credentials import Credentials, RsaSigner, Signer
from billblend_async.gateway.signing import (
    authorization,
    base_string,
    body_parameters,
    control,
    control_matches,
    percent_encode,
    read_authorization,
    signature_url,
    verify_authorization,
)

# Made once with openssl genrsa for these tests; it signs nothing but them.
PKCS1 = """\
-----BEGIN RSA PRIVATE KEY-----
MIIEpAIBAAKCAQEAvcwj0h63sN0dA/igmCWolTOfDb8+F8w2tvn76AyZSKuKKgz6
RaGedV69veN+95py3Z/W2zbA3pU4GWPSWKMNHaWDc/8tI94EGWShHVvahBTj1v1m
/qj2LkRwqDgt3QAycOC1cxALFEZ+i5yDxpoZA4VqZ6lpaNorfgzf56LOOsSQgJHq
AgcmCuLsPmGbCquHhBxwaw1pfpXhY4jV7rGKjgPBZcRT+71EJ70CATNBxGrQuRkL
qWH2aCiWtl9mAJ5VE2F3xc9vbVXiMzXfxGj83M7+2Cr801sIE/6llOCwGH9jv/KH
Ns86dgwcjyT/H8uX1Ncfqp2vJm2q7eKOEgJ43wIDAQABAoIBAFU6NxeirY/hKqde
3RaVSod9P74Xk5VyIVu3E7RW+/oS9Z7+ZuAfvB0uZvu/DYO4Oj5lCUE07BTHYwKb
vZgJ19jpOwc6nhWOG78fXe3mElDfZJRlA/v0+V87Ym9Xkti7vurLLQ+3M5JuOWMN
7GqhRfw7y9Uy0N/BoGgg9eZ5SCxA0rU/Knh03X+1XpII7bcBVTj6H88pihVTjR2/
STIEl7Sl63t0inS0fQvPJyPFRhUwiW3HeN4mSGn/zCpiOZwE1J4tMKie9dnFI/cm
SDDxOLFQmatUnMUhMJcBffvVWGfUKhhsOmSOYiMhUjwClMeYtg2B8OZHXWoZ6LWS
m3k+XPECgYEA+a/fhbkSM5agOB1PG997Rnd8O4U3O0au/GXqfy1gGUglaMBwRapo
rHdjweQj1jCSijz8xbyc4o5puUvdj5qlDfu3NUrgCtIhiiiBMHGJ7er074QEevcf
DI93lir7ma8mymVPf6CKTW3bpTKewtKiGgI9526rTxKng9yZyckpuKcCgYEAwpif
89ikcqUWsYZSuRG1gHzbJMAJcOfDGnXTPMcPrmFwSWBACl/9EzXvmkuzPT4+AycN
rfDiEyS8qaN7SYsoYHDkMiC/i4BcF2yBYmxoX6yxZr6dJFun+1eNtM2U2Mc8sZES
XlWWDfYpROMzznwj/PbCiTFkiJ5n1zvGj6hRjQkCgYEAy/nsjc7SWsirnQv8i5W3
nKqSGAHNTCSDYXhU6I6GGkFBJmFHlvIOzw49tbENwbYukLYf/d4HAGI9Zn3ew6kf
O9wuIGBJxS1C7x4F5DBs8Ktoa58bFeV6PQWbOVdl8XgQJXo8RtQ9B+I+dKd04U23
1a2NKtrTIiboKKX4EMvAxLMCgYBompyY+uLjUcUSJq9/Fnrnl7ZBWg15KMxjA+VK
LYNLbMtsVhX2vcSPuBWVbo3qJPQ2w56B2xPb0Iqt8dhLH0fUF7tDCwGMHrLiUIx4
eOfeTjmKjnpwWejBnj3pa/1QTkFc/ivOk9k2phVnF2741xiNWaQXFXsCSYxuUY6a
GJPF6QKBgQCpFm0ntfgVBrrGkvRsimaq381FBRcYLT1VqIBgA5x5VH/AhHkHzGe5
GXSPScHLjDh6whwAZ/8rMoI9FKDyXk6De1I7G5zLzp73vLcHRYHy8akA7dsc9z82
XeTkufb9sjC9QLBDqEUaBxkfRKvfohvn3vdMuQJVWBqiCy/P18K6+w==
-----END RSA PRIVATE KEY-----
"""
# openssl dgst -sha256 -sign over KNOWN_BASE_STRING with the key above, then Base64.
KNOWN_SIGNATURE = (
    "awNXuuSC7oSq1+N618gDbsti8/ClTjLpDi9egQ3CRp9FwlkyPceXVvAwF+66qxcgpTrkBDfsQjbm8aToitG7tUOz"
    "1Z+vGUMc4a4PjID2Lvx+1bXVaODqew6aRMl6lb6EW7wsg6YLZHQPOkW9gRo0JVI92DnxP54LZDJ3Vs4UAr+vnYJT"
    "C37VmhCHgh054olBJVE3UYM5FltDPGuo0m63hjomWufzQnY0xeg97zWafrrlOQVC85/do/mH9ic3foCn4ruzCB+k"
    "XbL+fYwNAI2sEDABtkGtHysvCSVUzt2owH2L+c/jhOnGJb+MqE9Y4fDhxKQxL8kFtDXB00Vb28lKsA=="
)

# The Authorization header of the gateway's own example, /api/v4/payout, 3.24.
SEED_HEADER = (
    'OAuth oauth_consumer_key="TestMerchant", oauth_nonce="b5E31Tw6SVjauE29uOf2jOLnuUSXmVdE", '
    'oauth_signature="'
    "WrW79JHNUVwDRhCGWQYgaN6xmJXpQxy8XSNyCOL6b2Wyf7V5BWGMe2TZa1bjC9ZeO0Q3FcQxeGGHv0%2F7hsMAsJ"
    "NQEET321VNsbDwao2Ep%2Bp7eoYiGYrVveSrSW1diCrBf3AJYJZM0PTJ67Sl8XyeTVBHT4kpC5qBu3xDQ3aFfKnm"
    "RTmn9fiVsYsYu3DQrsHM1K9uAoltGt3Muz0kCDZ3MWNGrNqtdpWuar8HRQD3kckcPjuN9D6VrSuQm9eLx27G%2Fv"
    "kiP%2BZ44i8ghIUp61NWSrJ4Ky69JiZ%2FoaVVmUTEaanc%2F%2B%2BQT6jBwWy%2Bb%2FTLUrxtSakeNfcjn1JV"
    "wRf4aCX2fhyG5ozH%2BjiXF6eRb83WVqBUAwykSq35pLU3Vmua3pKMKAJK1ZRDZdjGrT50KJg5tBniC4JFzdQqjQ"
    "f%2FhFnDYodfIK3S2qZo%2FD3Bmlya46iEcK6SAQdNBBQue3E5Qi8FEHYrY1o7K8wDyzT1QzqqHF%2BQdmXcElSG"
    "u9ge0Y655%2BbGtXhnsUWnKEO0NGqErvAwzm7yUg0e5QWHVf505aE7pr5K4z%2Fzj7AvkuD7R1savqam%2BnnuSf"
    "q1E%2BnnnN7mTcC0g18Sr38vdTshcGq99YW3xWKc%2FpuooZYdYa5A6u46o%2BREZSTCD2XexcV49%2F9eVn3xdo"
    "TXYq4NISJSY8U7ThKnr0g%3D"
    '", oauth_signature_method="RSA-SHA256", oauth_timestamp="1677831012", oauth_version="1.0"'
)

# The request of the gateway's own example: its header values and its body of 150 bytes.
URL = "https://sandbox.billblend.com/checkout/api/v4/payout/39915"
LOGIN, NONCE, TIMESTAMP = "TestMerchant", "b5E31Tw6SVjauE29uOf2jOLnuUSXmVdE", 1677831012
BODY = (
    b"account_name=1234&account_number=1234&amount=10.42&client_orderid=1&currency=USD"
    b"&routing_number=15&server_callback_url=https%3A%2F%2Fhttpstat.us%2F200"
)
PAIRS = [
    ("account_name", "1234"),
    ("account_number", "1234"),
    ("amount", "10.42"),
    ("client_orderid", "1"),
    ("currency", "USD"),
    ("routing_number", "15"),
    ("server_callback_url", "https://httpstat.us/200"),
]
KNOWN_BASE_STRING = (
    "POST&https%3A%2F%2Fsandbox.billblend.com%2Fcheckout%2Fapi%2Fv4%2Fpayout%2F39915&"
    "account_name%3D1234%26account_number%3D1234%26amount%3D10.42%26client_orderid%3D1%26"
    "currency%3DUSD%26oauth_consumer_key%3DTestMerchant%26"
    "oauth_nonce%3Db5E31Tw6SVjauE29uOf2jOLnuUSXmVdE%26oauth_signature_method%3DRSA-SHA256%26"
    "oauth_timestamp%3D1677831012%26oauth_version%3D1.0%26routing_number%3D15%26"
    "server_callback_url%3Dhttps%253A%252F%252Fhttpstat.us%252F200"
)
CONTROL_KEY = "AF4B5DE6-3468-424C-A922-C1DAD7CB4509"
PASSWORD = "correct horse"
PRIVATE = serialization.PrivateFormat

KEY = serialization.load_pem_private_key(PKCS1.encode(), None)
assert isinstance(KEY, rsa.RSAPrivateKey)
PUBLIC_KEY = KEY.public_key()
SIGNER = RsaSigner(KEY)

careful = settings(deadline=None, max_examples=100)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(
    "!#$%&'()*+,/:;=?@[] \"<>\\^`{|}-._~aZ0é€𝄞\n", max_size=20
)
names = texts.filter(lambda name: name and name[:5].lower() != "oauth")
parameters = st.dictionaries(names, texts, max_size=22).map(lambda pairs: list(pairs.items()))


def pem(
    form: serialization.PrivateFormat = PRIVATE.PKCS8,
    password: str | None = None,
    private: "rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey" = KEY,
) -> bytes:
    """Write a key as PEM."""
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        lock = serialization.BestAvailableEncryption(password.encode())
    return private.private_bytes(serialization.Encoding.PEM, form, lock)


def sign(
    pairs: list[tuple[str, str]], *, signer: Signer = SIGNER, url: str = URL, nonce: str = NONCE
) -> str:
    """Sign the example request, or one that differs from it."""
    return authorization(signer, LOGIN, "POST", url, pairs, nonce=nonce, timestamp=TIMESTAMP)


def verify(header: str, pairs: list[tuple[str, str]] = PAIRS) -> dict[str, str]:
    """Verify the example request."""
    return verify_authorization(header, "POST", URL, pairs, public_key=PUBLIC_KEY)


def oauthlib_base_string(pairs: Any) -> str:
    """Build the base string of the example URL as oauthlib does."""
    url = oracle.base_string_uri(URL)
    return str(oracle.signature_base_string("POST", url, oracle.normalize_parameters(pairs)))


def all_that_is_shown(error: BaseException) -> str:
    """Gather what a log or an error tracker could show, with the variables of our own frames."""
    assert error.__context__ is None
    assert error.__cause__ is None
    ours = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.endswith(("gateway/signing.py", "gateway/credentials.py"))
    ]
    assert ours
    return "".join([str(error), repr(error), *traceback.format_exception(error), repr(ours)])


class TestEncoding:
    @pytest.mark.parametrize(
        ("text", "encoded"),
        [
            ("!'()*", "%21%27%28%29%2A"),
            ("John Smith", "John%20Smith"),
            ("a+b", "a%2Bb"),
            ("é", "%C3%A9"),
            ("abcXYZ019-._~", "abcXYZ019-._~"),
            ("a/b", "a%2Fb"),
            ("", ""),
        ],
    )
    def test_vectors(self, text: str, encoded: str) -> None:
        """The gateway's vendor encodes these texts this way."""
        assert encoded == percent_encode(text)

    @careful
    @given(texts)
    def test_any_text(self, text: str) -> None:
        """Any text is encoded as oauthlib does it, and comes back whole."""
        encoded = percent_encode(text)

        assert escape(text) == encoded
        assert text == unquote(encoded)

    def test_lone_surrogate(self) -> None:
        """A lone surrogate is refused without showing the text around it."""
        with pytest.raises(InvalidInput) as caught:
            percent_encode("4111111111111111\ud800")

        assert "4111" not in str(caught.value) + repr(caught.value)
        assert caught.value.__context__ is None


class TestSignatureUrl:
    @pytest.mark.parametrize(
        ("url", "signed"),
        [
            (URL, URL),
            ("HTTP://EXAMPLE.COM:80/r%20v/X?id=123", "http://example.com/r%20v/X"),
            ("https://www.example.net:8080/?q=1", "https://www.example.net:8080/"),
            ("https://Example.com:443/A/b;c#part", "https://example.com/A/b;c"),
            ("https://example.com:80/", "https://example.com:80/"),
            ("https://example.com", "https://example.com/"),
            ("https://example.com:/x", "https://example.com/x"),
            ("http://[::1]:8080/checkout", "http://[::1]:8080/checkout"),
            ("http://127.0.0.1:8080/checkout/", "http://127.0.0.1:8080/checkout/"),
        ],
    )
    def test_form(self, url: str, signed: str) -> None:
        """Scheme and host are lower case, default port, query and fragment go, the path stays."""
        assert signed == signature_url(url)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "/checkout/api",
            "example.com/checkout",
            "//example.com/checkout",
            "https://",
            "https:///checkout",
            "https://:443/checkout",
            "ftp://example.com/checkout",
            "https://merchant:s3cret@example.com/checkout",
            "https://s3cret@example.com/checkout",
            "https://example.com:s3cret/checkout",
            "https://example.com:99999/checkout",
            "https://[::1/checkout",
            "https://example.com/check out",
            "https://example.com/check\tout",
            "https://example.com/checkout\n",
            "https://example.com\\@s3cret/checkout",
            "https://exämple.com/checkout",
            "https://example.com/\ud800",
        ],
    )
    def test_refusal(self, url: str) -> None:
        """A URL that is not whole, has a user, or would be rewritten later cannot be signed."""
        with pytest.raises(ConfigurationError, match="url: ") as caught:
            signature_url(url)

        assert "s3cret" not in str(caught.value) + repr(caught.value)
        assert caught.value.__context__ is None


class TestBaseString:
    @pytest.mark.parametrize(
        ("url", "pairs", "expected"),
        [
            (
                "https://gateway.example/paynet/api/v4/sale/123",
                [
                    ("oauth_consumer_key", "merchant"),
                    ("amount", "1.00"),
                    ("client_orderid", "hf-1"),
                ],
                (
                    "POST&https%3A%2F%2Fgateway.example%2Fpaynet%2Fapi%2Fv4%2Fsale%2F123&"
                    "amount%3D1.00%26client_orderid%3Dhf-1%26oauth_consumer_key%3Dmerchant"
                ),
            ),
            (
                "https://gateway.example/x",
                [("card_printed_name", "")],
                "POST&https%3A%2F%2Fgateway.example%2Fx&card_printed_name%3D",
            ),
        ],
    )
    def test_vectors(self, url: str, pairs: list[tuple[str, str]], expected: str) -> None:
        """The gateway's vendor builds these base strings."""
        assert expected == base_string("post", url, pairs)

    @careful
    @given(parameters)
    def test_oracle(self, pairs: list[tuple[str, str]]) -> None:
        """Any parameters are normalized as oauthlib does it."""
        expected = oauthlib_base_string(pairs)

        assert expected == base_string("POST", URL, pairs)
        assert expected == base_string("POST", URL, reversed(pairs))

    @careful
    @given(parameters, parameters)
    def test_query(self, query: list[tuple[str, str]], pairs: list[tuple[str, str]]) -> None:
        """The parameters of the URL's query take part like those of the body."""
        query = [(name, value) for name, value in query if name not in dict(pairs)]

        assert base_string("POST", URL, [*query, *pairs]) == base_string(
            "POST", f"{URL}?{urlencode(query)}#part", pairs
        )

    def test_every_problem_at_once(self) -> None:
        """Each field that cannot be signed is named, and no value is shown."""
        pairs = [
            ("amount", "10.42"),
            ("account_number", "4111111111111111\udfff"),
            ("amount", "99.99"),
            ("half\ud800", "secret"),
            ("oauth_signature", "secret"),
        ]

        with pytest.raises(InvalidInput) as caught:
            base_string("POST", URL, pairs)

        fields = [problem.field for problem in caught.value.problems]
        assert fields == ["account_number", "amount", "half\\ud800", "oauth_signature"]
        assert not re.search("4111|99.99|10.42|secret", str(caught.value) + repr(caught.value))
        assert caught.value.__context__ is None

    def test_duplicate_in_query(self) -> None:
        """A name that stands in the query and in the body is given twice."""
        with pytest.raises(InvalidInput, match="amount: is given twice"):
            base_string("POST", f"{URL}?amount=1", [("amount", "2")])


class TestBody:
    @pytest.mark.parametrize(
        ("body", "pairs"),
        [
            (b"", []),
            (BODY, PAIRS),
            (b"name=John+Smith&sum=a%2Bb", [("name", "John Smith"), ("sum", "a+b")]),
            (b"cvv2=&x=%c3%a9", [("cvv2", ""), ("x", "é")]),
            (b"form=a=b==&f%3Dg=%26", [("form", "a=b=="), ("f=g", "&")]),
            (b"twice=1&twice=2", [("twice", "1"), ("twice", "2")]),
        ],
    )
    def test_pairs(self, body: bytes, pairs: list[tuple[str, str]]) -> None:
        """A form-encoded body is read into its decoded pairs, in order."""
        assert pairs == body_parameters(body)

    @careful
    @given(parameters)
    def test_round_trip(self, pairs: list[tuple[str, str]]) -> None:
        """Whatever was form-encoded is read back unchanged, with + or with %20 for a space."""
        assert pairs == body_parameters(urlencode(pairs).encode())
        assert pairs == body_parameters(urlencode(pairs, quote_via=quote).encode())

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b"amount=1&s3cret", "pair 2"),
            (b"amount=1&", "pair 2"),
            (b"amount=1&&currency=USD", "pair 2"),
            (b"=s3cret", "pair 1"),
            (b"s3cret%zz=1", "pair 1"),
            (b"cvv2=s3cret%2", "cvv2"),
            (b"cvv2=s3cret%", "cvv2"),
            (b"cvv2=s3cret%G0", "cvv2"),
            (b"cvv2=s3cret%+1", "cvv2"),
            (b"cvv2=s3cret%FF", "cvv2"),
            (b"cvv2=s3cret%ED%A0%80", "cvv2"),
            (b"cvv2=s3cret\xc3\xa9", "cvv2"),
            (b"cvv2=s3cret\n", "cvv2"),
            (b"cvv2=s3cret 1", "cvv2"),
        ],
    )
    def test_refusal(self, body: bytes, field: str) -> None:
        """What two readers could read differently is refused by name or place, never by value."""
        with pytest.raises(InvalidInput) as caught:
            body_parameters(body)

        assert [field] == [problem.field for problem in caught.value.problems]
        assert "s3cret" not in str(caught.value) + repr(caught.value)
        assert caught.value.__context__ is None


class TestKnownAnswer:
    def test_openssl(self) -> None:
        """The example request gets, byte for byte, the signature that openssl makes."""
        expected = (
            f'OAuth oauth_consumer_key="{LOGIN}", oauth_nonce="{NONCE}", '
            f'oauth_signature="{quote(KNOWN_SIGNATURE, safe="")}", '
            f'oauth_signature_method="RSA-SHA256", oauth_timestamp="{TIMESTAMP}", '
            'oauth_version="1.0"'
        )

        assert len(BODY) == 150
        assert expected == sign(body_parameters(BODY))

    def test_what_is_signed(self) -> None:
        """The signer is asked to sign the base string and nothing else, once."""
        asked: list[bytes] = []

        class Hardware:
            key_size = 4096

            def sign(self, message: bytes) -> bytes:
                asked.append(message)
                return b"\xff" * 512

        header = sign(PAIRS, signer=Credentials(LOGIN, Hardware()).signer)

        assert [KNOWN_BASE_STRING.encode()] == asked
        assert (
            base64.b64encode(b"\xff" * 512).decode()
            == (read_authorization(header)["oauth_signature"])
        )

    def test_seed_shape(self) -> None:
        """Our header differs from the gateway's example in its signature only."""
        ours, theirs = (
            re.sub('(?<=oauth_signature=")[^"]+', "…", header)
            for header in (sign(PAIRS), SEED_HEADER)
        )

        assert theirs == ours

    def test_seed_is_read(self) -> None:
        """The gateway's example has six fields in alphabetical order and a 4096-bit signature."""
        fields = read_authorization(SEED_HEADER)

        assert sorted(fields) == list(fields)
        assert len(fields) == 6
        assert len(base64.b64decode(fields["oauth_signature"], validate=True)) == 512
        assert fields["oauth_consumer_key"] == LOGIN

    @careful
    @given(parameters, texts.filter(bool))
    def test_oauthlib_reads_it(self, pairs: list[tuple[str, str]], nonce: str) -> None:
        """What oauthlib reads out of our header, body and URL is what the signature covers."""
        header = sign(pairs, nonce=nonce)
        read = oracle.collect_parameters(headers={"Authorization": header})
        text = oauthlib_base_string([*read, *urldecode(urlencode(pairs))])

        signature = base64.b64decode(read_authorization(header)["oauth_signature"])
        assert SIGNER.sign(text.encode()) == signature

    def test_oauthlib_verifies_it(self) -> None:
        """The verification of oauthlib, which needs PyJWT, accepts our signature."""
        pytest.importorskip("jwt", reason="oauthlib verifies RSA with PyJWT")
        fields = verify(sign(PAIRS))
        signature = fields.pop("oauth_signature")
        request = SimpleNamespace(
            http_method="POST", uri=URL, params=[*PAIRS, *fields.items()], signature=signature
        )

        assert oracle.verify_rsa_sha256(request, SIGNER.public_pem().decode())


class TestKeys:
    @pytest.mark.parametrize("password", [None, PASSWORD])
    @pytest.mark.parametrize("form", [PRIVATE.TraditionalOpenSSL, PRIVATE.PKCS8])
    def test_every_form(self, form: serialization.PrivateFormat, password: str | None) -> None:
        """PKCS#1 and PKCS#8, plain and encrypted, as bytes and as text, are the same key."""
        written = pem(form, password)
        secret = password and password.encode()

        for signer in (
            RsaSigner.from_pem(written, secret),
            RsaSigner.from_pem(written.decode().replace("\n", "\r\n"), password),
        ):
            assert (
                base64.b64encode(signer.sign(KNOWN_BASE_STRING.encode())).decode()
            ) == KNOWN_SIGNATURE

    def test_empty_password(self) -> None:
        """An empty password, such as an unset variable gives, is no password."""
        assert RsaSigner.from_pem(PKCS1, "").key_size == 2048

    def test_public_pem(self) -> None:
        """The public key is handed out as PEM and verifies what the private key signed."""
        public = SIGNER.public_pem()

        assert public.startswith(b"-----BEGIN PUBLIC KEY-----\n")
        assert verify_authorization(sign(PAIRS), "POST", URL, PAIRS, public_key=public)

    def test_repr(self) -> None:
        """A signer shows the size of its key and nothing else."""
        assert repr(SIGNER) == "RsaSigner(key_size=2048)"

    def test_protocol(self) -> None:
        """An RsaSigner is a Signer."""
        assert isinstance(SIGNER, Signer)

    @pytest.mark.parametrize("secret", [SIGNER, Credentials(LOGIN, SIGNER)])
    def test_stays_here(self, secret: object) -> None:
        """What holds a key can be neither pickled nor copied."""
        for carry in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="never pickled or copied"):
                carry(secret)

    @pytest.mark.parametrize(
        ("key", "password", "sentence"),
        [
            (PKCS1, "wr0ng", "password: the private key is not encrypted"),
            (pem(password=PASSWORD), None, "password: the private key is encrypted"),
            (pem(password=PASSWORD), "", "password: the private key is encrypted"),
            (pem(password=PASSWORD), "wr0ng", "password: is wrong; or private_key"),
            (pem(password=PASSWORD), b"wr0ng", "password: is wrong; or private_key"),
            (pem(password=PASSWORD), "wr0ng\ud800", "password: is wrong; or private_key"),
            (
                pem(PRIVATE.TraditionalOpenSSL, PASSWORD),
                "wr0ng",
                "password: is wrong; or private_key",
            ),
            ("", None, "private_key: must be an RSA private key"),
            ("merchant.pem", None, "private_key: must be an RSA private key"),
            (PKCS1[:400], None, "private_key: must be an RSA private key"),
            (PKCS1.replace("A", "B", 9), None, "private_key: must be an RSA private key"),
            (PKCS1 + "\ud800", None, "private_key: must be an RSA private key"),
            (SIGNER.public_pem(), None, "private_key: must be an RSA private key"),
            (
                pem(private=ec.generate_private_key(ec.SECP256R1())),
                None,
                "private_key: must be an RSA private key",
            ),
            (
                pem(private=rsa.generate_private_key(65537, 1024)),
                None,
                "private_key: has 1024 bits, but 2048 or more are needed",
            ),
        ],
    )
    def test_refusal(self, key: bytes | str, password: bytes | str | None, sentence: str) -> None:
        """A key that cannot be used is refused in words, with nothing of key or password."""
        material = key if isinstance(key, str) else key.decode()
        lines = [line for line in material.splitlines() if len(line) > 20 and "-----" not in line]

        for load in (
            lambda: RsaSigner.from_pem(key, password),
            lambda: Credentials(LOGIN, key, password=password, merchant_control=CONTROL_KEY),
        ):
            with pytest.raises(ConfigurationError, match=re.escape(sentence)) as caught:
                load()

            shown = all_that_is_shown(caught.value)
            assert not [secret for secret in (*lines, "wr0ng", CONTROL_KEY) if secret in shown]


class TestCredentials:
    def test_repr(self) -> None:
        """Credentials show the login and the size of the key, and mask all else."""
        shown = repr(Credentials(LOGIN, PKCS1, merchant_control=CONTROL_KEY))

        assert f"Credentials(login='{LOGIN}', signer=2048 bits, merchant_control=***)" == shown

    def test_no_control(self) -> None:
        """Who needs no control gives none."""
        credentials = Credentials(LOGIN, pem(password=PASSWORD), password=PASSWORD)

        assert (credentials.login, credentials.merchant_control) == (LOGIN, None)
        assert credentials.signer.key_size == 2048
        assert repr(credentials).endswith("merchant_control=None)")

    def test_frozen(self) -> None:
        """Credentials do not change once they are made."""
        credentials = Credentials(LOGIN, SIGNER, merchant_control=CONTROL_KEY)

        with pytest.raises(AttributeError):
            credentials.login = "other"  # type: ignore[misc] # the point of the test

    @pytest.mark.parametrize(
        "text", ["", " ", f"{CONTROL_KEY}\n", f" {CONTROL_KEY}", "a\ud800b", 7]
    )
    @pytest.mark.parametrize("field", ["login", "merchant_control"])
    def test_text(self, field: str, text: Any) -> None:
        """An empty login or control, or one with a stray newline, is refused by name."""
        values = {"login": LOGIN, "merchant_control": CONTROL_KEY, field: text}

        with pytest.raises(ConfigurationError, match=f"{field}: must be printable text") as caught:
            Credentials(values["login"], PKCS1, merchant_control=values["merchant_control"])

        assert caught.value.__context__ is None
        assert CONTROL_KEY not in str(caught.value) + repr(caught.value)
        assert PKCS1.splitlines()[1] not in all_that_is_shown(caught.value)

    @pytest.mark.parametrize("key", [None, 7, KEY, object()])
    def test_no_signer(self, key: Any) -> None:
        """What is neither a PEM nor a Signer is refused at once, even a bare RSA key."""
        with pytest.raises(ConfigurationError, match="or a Signer"):
            Credentials(LOGIN, key)

    def test_signer_with_password(self) -> None:
        """A password that belongs to nothing is a mistake."""
        with pytest.raises(ConfigurationError, match="without password"):
            Credentials(LOGIN, SIGNER, password=PASSWORD)


class TestAuthorization:
    @pytest.mark.parametrize("name", ["oauth_nonce", "oauth_token", "OAuth_x", "OAUTH", "oauthor"])
    def test_reserved_names(self, name: str) -> None:
        """A business parameter cannot pass for a field of the signature, nor one of the query."""
        for url, pairs in ((URL, [(name, "s3cret")]), (f"{URL}?{name}=s3cret", [])):
            with pytest.raises(InvalidInput, match=f"^{name}: begins with oauth") as caught:
                sign(pairs, url=url)

            assert "s3cret" not in str(caught.value) + repr(caught.value)

    def test_unencodable_login(self) -> None:
        """A header value that cannot be encoded is named by its field."""
        with pytest.raises(InvalidInput, match="oauth_nonce: holds half"):
            sign(PAIRS, nonce="n\ud800")

    def test_generator(self) -> None:
        """Parameters may come from a generator: they are read once."""
        header = authorization(
            SIGNER, LOGIN, "POST", URL, iter(PAIRS), nonce=NONCE, timestamp=TIMESTAMP
        )

        assert sign(PAIRS) == header
        assert verify_authorization(header, "post", URL, iter(PAIRS), public_key=PUBLIC_KEY)


class TestVerification:
    @careful
    @given(parameters, texts.filter(bool), st.integers(min_value=0, max_value=2**40))
    def test_what_is_signed_verifies(
        self, pairs: list[tuple[str, str]], nonce: str, timestamp: int
    ) -> None:
        """Whatever was signed verifies after a trip through the wire, fields and all."""
        header = authorization(SIGNER, LOGIN, "POST", URL, pairs, nonce=nonce, timestamp=timestamp)
        sent = body_parameters(urlencode(pairs).encode())

        fields = verify_authorization(header, "POST", URL, sent, public_key=PUBLIC_KEY)

        assert (LOGIN, nonce, str(timestamp)) == (
            fields["oauth_consumer_key"],
            fields["oauth_nonce"],
            fields["oauth_timestamp"],
        )

    @pytest.mark.parametrize(
        ("method", "url", "pairs"),
        [
            ("GET", URL, PAIRS),
            ("POST", URL.replace("39915", "39916"), PAIRS),
            ("POST", URL.replace("sandbox", "pay"), PAIRS),
            ("POST", URL.replace("https", "http"), PAIRS),
            ("POST", f"{URL}/", PAIRS),
            ("POST", f"{URL}?x=1", PAIRS),
            ("POST", "not a url", PAIRS),
            ("POST", URL, PAIRS[1:]),
            ("POST", URL, [*PAIRS, ("extra", "")]),
            ("POST", URL, [*PAIRS, PAIRS[0]]),
            ("POST", URL, [*PAIRS, ("oauth_token", "")]),
            ("POST", URL, [*PAIRS, ("half", "\ud800")]),
            ("POST", URL, [*PAIRS[:2], ("amount", "10.43"), *PAIRS[3:]]),
            ("POST", URL, [*PAIRS[:2], ("Amount", "10.42"), *PAIRS[3:]]),
        ],
    )
    def test_changed_request(self, method: str, url: str, pairs: list[tuple[str, str]]) -> None:
        """A signature is good for one method, one URL and one set of parameters."""
        with pytest.raises(VerificationFailed) as caught:
            verify_authorization(sign(PAIRS), method, url, pairs, public_key=PUBLIC_KEY)

        assert caught.value.__context__ is None

    @careful
    @given(parameters.filter(bool), st.data())
    def test_any_changed_value(self, pairs: list[tuple[str, str]], data: st.DataObject) -> None:
        """No single value can be changed without breaking the signature."""
        header = sign(pairs)
        place = data.draw(st.integers(0, len(pairs) - 1))
        name, value = pairs[place]
        changed = data.draw(texts.filter(lambda text: text != value))

        with pytest.raises(VerificationFailed):
            verify(header, [*pairs[:place], (name, changed), *pairs[place + 1 :]])

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (NONCE, NONCE.swapcase()),
            (str(TIMESTAMP), str(TIMESTAMP + 1)),
            (LOGIN, "OtherMerchant"),
            ("%3D%3D", ""),
            ("%3D%3D", "%C3%A9"),
            ("%3D%3D", "%3D%3D%3D%3D"),
            ("%3D%3D", "%0A%3D%3D"),
            ("A%3D%3D", "B%3D%3D"),
            ("awNX", "awNY"),
            ("awNX", ""),
        ],
    )
    def test_changed_header(self, old: str, new: str) -> None:
        """Any change of a signed field fails, and so does another spelling of the signature."""
        header = sign(PAIRS)
        assert header.count(old) >= 1

        with pytest.raises(VerificationFailed, match="not the signature of this") as caught:
            verify(header.replace(old, new, 1))

        assert caught.value.__context__ is None
        assert KNOWN_SIGNATURE[10:40] not in str(caught.value) + repr(caught.value)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('oauth_version="1.0"', 'oauth_version="1.1"'),
            ("RSA-SHA256", "RSA-SHA1"),
            ("RSA-SHA256", "PLAINTEXT"),
            ("OAuth ", "Bearer "),
            ("OAuth ", "OAuth"),
            ("OAuth ", ""),
            ("OAuth ", 'OAuth realm="x" '),
            ("OAuth ", 'OAuth oauth_token="", '),
            ("OAuth ", 'OAuth oauth_token="x", '),
            ("OAuth ", 'OAuth oauth_version="1.0", '),
            ("OAuth ", "OAuth , "),
            (', oauth_version="1.0"', ""),
            (', oauth_version="1.0"', ', oauth_version="1.0",'),
            (', oauth_version="1.0"', ', oauth_version="1.0", realm="x"'),
            (', oauth_version="1.0"', ", oauth_version=1.0"),
            (', oauth_version="1.0"', ", oauth_version='1.0'"),
            (', oauth_version="1.0"', '; oauth_version="1.0"'),
            (', oauth_version="1.0"', ',\n oauth_version="1.0"'),
            ("oauth_version", "OAUTH_VERSION"),
            (f'"{TIMESTAMP}"', '"soon"'),
            (f'"{TIMESTAMP}"', '"-1"'),
            (f'"{TIMESTAMP}"', '""'),
            (f'"{NONCE}"', '"%FF"'),
            (f'"{NONCE}"', '"%4"'),
            (f'"{NONCE}"', '"a b"'),
            ("%3D%3D", "=="),
        ],
    )
    def test_malformed_header(self, old: str, new: str) -> None:
        """A header is read only with the six fields once each, in RSA-SHA256, version 1.0."""
        header = sign(PAIRS)
        assert header.count(old) >= 1

        with pytest.raises(VerificationFailed, match="the header"):
            read_authorization(header.replace(old, new, 1))

    @pytest.mark.parametrize("header", ["", "OAuth", "OAuth ", "é", "OAuth \ud800", "OAuth " * 999])
    def test_no_header(self, header: str) -> None:
        """Something that is no OAuth header at all is a failure like any other."""
        with pytest.raises(VerificationFailed):
            verify(header)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("OAuth ", 'OAuth realm="", '),
            ("OAuth ", 'OAuth realm="a, oauth_nonce=x",'),
            ("OAuth ", "oauth\t"),
            (", ", ","),
            (", ", " ,\t "),
            ("%2B", "%2b"),
        ],
    )
    def test_tolerated_header(self, old: str, new: str) -> None:
        """A leading realm is not signed, and white space and case are as free as RFC 5849 says."""
        fields = verify(sign(PAIRS).replace(old, new))

        assert "realm" not in fields
        assert len(fields) == 6

    def test_other_key(self) -> None:
        """Another merchant's key does not verify, whatever its size."""
        other = rsa.generate_private_key(65537, 1024).public_key()

        with pytest.raises(VerificationFailed, match="not the signature of this request"):
            verify_authorization(sign(PAIRS), "POST", URL, PAIRS, public_key=other)

    @pytest.mark.parametrize(
        "key",
        [
            b"",
            b"garbage",
            PKCS1.encode(),
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            SIGNER.public_pem().decode(),
        ],
    )
    def test_no_public_key(self, key: Any) -> None:
        """A public key that is none is a mistake of the gateway's settings, not of the request."""
        with pytest.raises(ConfigurationError, match="public_key: must be an RSA") as caught:
            verify_authorization(sign(PAIRS), "POST", URL, PAIRS, public_key=key)

        assert caught.value.__context__ is None


class TestControl:
    @pytest.mark.parametrize(
        ("parts", "expected"),
        [
            (
                ("approved", "1234567", "hf-abc", "test-merchant-control"),
                "652ace404c4dfe8bba069ecee594ec23a89340e1",
            ),
            (
                ("approved", "123", "invoice-1", CONTROL_KEY),
                "5bc8ee48f9ba37c0fd1e0b052a9bc105c6df87e1",
            ),
        ],
    )
    def test_vectors(self, parts: tuple[str, ...], expected: str) -> None:
        """The documented controls are made, and match in either case of their hex."""
        assert expected == control(*parts)
        assert control_matches(expected, *parts)
        assert control_matches(expected.upper(), *parts)

    def test_empty_callback(self) -> None:
        """A callback with empty fields never matches, although its hash is right."""
        parts = ("", "", "", "test-merchant-control")

        assert control(*parts) == "1a66987ac24e927ff2979f83a41cb818936a9e62"
        assert not control_matches("1a66987ac24e927ff2979f83a41cb818936a9e62", *parts)

    @pytest.mark.parametrize(
        "given",
        [
            "",
            " ",
            "0" * 40,
            "5bc8ee48f9ba37c0fd1e0b052a9bc105c6df87e",
            "é",
            "\ud800",
            "\uff15" * 40,
        ],
    )
    def test_mismatch(self, given: str) -> None:
        """Anything but the whole control is no match, and no error."""
        assert not control_matches(given, "approved", "123", "invoice-1", CONTROL_KEY)

    def test_nothing(self) -> None:
        """The hash of nothing matches nothing."""
        assert not control_matches(control())
        assert not control_matches(control("approved", ""), "approved", "")

    @careful
    @given(st.lists(texts.filter(bool), min_size=1), st.lists(texts.filter(bool), min_size=1))
    def test_any_parts(self, parts: list[str], others: list[str]) -> None:
        """A control is the SHA-1 of the joined UTF-8 parts and matches no other text."""
        made = control(*parts)

        assert hashlib.sha1("".join(parts).encode()).hexdigest() == made
        assert control_matches(made, *parts)
        assert ("".join(parts) == "".join(others)) == control_matches(made, *others)

    def test_lone_surrogate(self) -> None:
        """A lone surrogate raises nothing that could show the secret beside it."""
        assert not control_matches(control("approved"), "approved\ud800", CONTROL_KEY)
