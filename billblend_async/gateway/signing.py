"""OAuth 1.0a RSA-SHA256 signatures and the SHA-1 control: made here, verified here.

What is signed is what is sent: whatever two readers could read differently is refused. No
exception carries a key, password, control or value; they are raised outside `except` blocks, since
even a suppressed `__context__` keeps the foreign exception, and UnicodeEncodeError the whole text.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote, unquote, urlsplit

from ..errors import ConfigurationError, InvalidInput, Problem, VerificationFailed
from .credentials import PublicKey, Signer, is_signature

__all__ = [
    "authorization",
    "base_string",
    "body_parameters",
    "control",
    "control_matches",
    "normalized_parameters",
    "percent_encode",
    "read_authorization",
    "signature_url",
    "verify_authorization",
]

_Pairs = Iterable[tuple[str, str]]

_SIGNATURE = "oauth_signature"
_FIXED = {"oauth_signature_method": "RSA-SHA256", "oauth_version": "1.0"}
_FIELDS = {"oauth_consumer_key", "oauth_nonce", "oauth_timestamp", _SIGNATURE, *_FIXED}
_HEADER = re.compile(r'(?i:OAuth)[ \t]+(?:realm="[ !#-\[\]-~]*"[ \t]*,)?(.+)')
_HEADER_FIELD = re.compile(r'[ \t]*(oauth_[a-z_]{1,32})="([A-Za-z0-9\-._~%]+)"[ \t]*')
_UNRESERVED = "-._~"
_PLAIN = re.compile(r"[A-Za-z0-9\-._~]*+")
_ESCAPES = {code: quote(chr(code), safe=_UNRESERVED) for code in range(128)}
_ENCODED = re.compile(r"(?:[!-$&-~]++|%[0-9A-Fa-f]{2})*+")
_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NOT_TEXT = "holds half of a surrogate pair, which UTF-8 cannot carry; remove it"


def percent_encode(text: str) -> str:
    """Percent-encode a text as OAuth wants it: a space is %20, never a plus sign.

    Only letters, digits and ``-._~`` stay (RFC 5849 §3.6). InvalidInput for a lone surrogate.
    """
    with suppress(UnicodeEncodeError):
        return _escape(text)
    raise InvalidInput((Problem("text", _NOT_TEXT),))


def _escape(text: str) -> str:
    """Percent-encode; quote() would look at each byte in Python."""
    if _PLAIN.fullmatch(text):
        return text
    return text.translate(_ESCAPES) if text.isascii() else quote(text, safe=_UNRESERVED)


def signature_url(url: str) -> str:
    """Give the form of a URL that is signed: no query, no fragment, no default port.

    Scheme and host become lower case; the path stays as sent, an empty one is ``/`` (RFC 5849
    §3.4.1.2). ConfigurationError for a URL that is not http(s), has no host, has a user name or
    password, or holds a character that an HTTP client would rewrite after it was signed.
    """
    try:
        parts = urlsplit(url) if _URL.fullmatch(url) else None
        port = parts.port if parts else None
    except ValueError:
        parts = port = None
    if not parts or parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        raise ConfigurationError(
            "url: must be a whole http or https address in plain ASCII with a host and without "
            "user name or password, like https://pay.billblend.com/checkout"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{suffix}{parts.path or '/'}"


def base_string(method: str, url: str, parameters: _Pairs) -> str:
    """Build the text that is signed, the signature base string of RFC 5849 §3.4.1.

    `parameters` are the decoded pairs of body and header, without ``oauth_signature``; the URL's
    query is added. InvalidInput lists the names that are given twice (each side may keep another
    one) or cannot be encoded; ConfigurationError as `signature_url`.
    """
    normalized = normalized_parameters(url, parameters)
    # Only these three are left to encode a second time; quote() would look at every byte.
    twice = normalized.replace("%", "%25").replace("=", "%3D").replace("&", "%26")
    return f"{percent_encode(method.upper())}&{percent_encode(signature_url(url))}&{twice}"


def normalized_parameters(url: str, parameters: _Pairs) -> str:
    """Write the parameters that are signed, encoded and in order (RFC 5849 §3.4.1.3.2).

    Arguments and errors are those of `base_string`.
    """
    encoded: dict[str, str] = {}
    problems: list[Problem] = []
    for name, value in (*parameters, *_query_parameters(url)):
        try:
            key, text = _escape(name), _escape(value)
        except UnicodeEncodeError:
            problems.append(Problem(name.encode("ascii", "backslashreplace").decode(), _NOT_TEXT))
            continue
        if key in encoded:
            problems.append(Problem(name, "is given twice; give it once"))
        elif key == _SIGNATURE:
            problems.append(Problem(name, "takes no part in what is signed; leave it out"))
        encoded[key] = text
    if problems:
        raise InvalidInput(tuple(problems))
    return "&".join([f"{key}={text}" for key, text in sorted(encoded.items())])


def authorization(
    signer: Signer,
    consumer_key: str,
    method: str,
    url: str,
    parameters: _Pairs,
    *,
    nonce: str,
    timestamp: int,
) -> str:
    """Sign a request: give the value of its Authorization header.

    `parameters` are the decoded pairs of the body that is sent (`body_parameters`); `timestamp` is
    Unix time in seconds. Six fields in alphabetical order, no realm (RFC 5849 §3.5.1).
    Raises what `base_string` raises, and InvalidInput for names that begin with ``oauth``.
    """
    consumer = {"oauth_consumer_key": consumer_key, "oauth_nonce": nonce}
    fields = {**consumer, "oauth_timestamp": str(timestamp), **_FIXED}
    signature = signer.sign(_message(method, url, parameters, fields))
    fields[_SIGNATURE] = base64.b64encode(signature).decode()
    return "OAuth " + ", ".join(
        [f'{name}="{percent_encode(value)}"' for name, value in sorted(fields.items())]
    )


def _message(method: str, url: str, parameters: _Pairs, fields: dict[str, str]) -> bytes:
    parameters = list(parameters)
    # One vendor client takes such names for OAuth fields, another overwrites them.
    names = [name for name, _ in (*parameters, *_query_parameters(url))]
    if reserved := [name for name in names if name[:5].lower() == "oauth"]:
        wrong = "begins with oauth, which is reserved for the signature; rename it"
        raise InvalidInput(tuple(Problem(name, wrong) for name in reserved))
    return base_string(method, url, (*parameters, *fields.items())).encode()


def body_parameters(body: bytes) -> list[tuple[str, str]]:
    """Read a form-encoded body, where ``+`` is a space, into the pairs that are signed.

    InvalidInput lists every pair without name or ``=``, with a broken escape, with a raw byte
    outside printable ASCII, or with what is no UTF-8. An empty body has no pairs.
    """
    pairs: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for number, piece in enumerate(body.decode("latin-1").split("&") if body else (), start=1):
        raw_name, equals, raw_value = piece.replace("+", "%20").partition("=")
        name, value = _decode(raw_name), _decode(raw_value)
        if name and equals and value is not None:
            pairs.append((name, value))
        else:
            # Without "=" it may be the rest of a value whose & was left unescaped: not shown.
            field = (equals and name) or f"pair {number}"
            problems.append(Problem(field, "must read name=value, in percent-encoded UTF-8"))
    if problems:
        raise InvalidInput(tuple(problems))
    return pairs


def _query_parameters(url: str) -> list[tuple[str, str]]:
    return body_parameters(url.partition("#")[0].partition("?")[2].encode("ascii", "replace"))


def _decode(text: str) -> str | None:
    """Undo percent encoding, or return None for a broken escape, a raw byte or no UTF-8."""
    try:
        return unquote(text, errors="strict") if _ENCODED.fullmatch(text) else None
    except UnicodeDecodeError:
        return None


def read_authorization(header: str) -> dict[str, str]:
    """Read an Authorization header into its six OAuth fields, decoded; nothing is verified yet.

    A gateway finds the consumer key here, and with it the public key. A leading realm is left out
    (RFC 5849 §3.5.1). VerificationFailed unless it is RSA-SHA256 with each field exactly once.
    """
    match = _HEADER.fullmatch(header)
    fields: dict[str, str] = {}
    for piece in match[1].split(",") if match else ():
        field = _HEADER_FIELD.fullmatch(piece)
        value = _decode(field[2]) if field else None
        if field is None or value is None or field[1] in fields:
            raise VerificationFailed('the header has a field twice, or not as name="encoded value"')
        fields[field[1]] = value
    known = fields.keys() == _FIELDS and _FIXED.items() <= fields.items()
    if not known or not re.fullmatch("[0-9]{1,20}", fields["oauth_timestamp"]):
        wanted = ", ".join(sorted(_FIELDS))
        raise VerificationFailed(f"the header must be OAuth RSA-SHA256 1.0 with {wanted}")
    return fields


def verify_authorization(
    header: str, method: str, url: str, parameters: _Pairs, *, public_key: PublicKey
) -> dict[str, str]:
    """Verify a signed request as the gateway does; give the OAuth fields of its header, decoded.

    `public_key` is loaded or PEM (SubjectPublicKeyInfo), else ConfigurationError. Anything but the
    signature of exactly this request is VerificationFailed; whether nonce and timestamp are fresh
    is for the caller to judge.
    """
    fields = read_authorization(header)
    signed = {name: value for name, value in fields.items() if name != _SIGNATURE}
    signature, message, reason = b"", b"", ""
    try:
        message = _message(method, url, parameters, signed)
    except (InvalidInput, ConfigurationError) as error:
        reason = str(error)
    with suppress(ValueError):
        signature = base64.b64decode(fields[_SIGNATURE])
    # Base64 can spell the same bytes in several ways; a signature has one spelling.
    spelled_right = base64.b64encode(signature).decode() == fields[_SIGNATURE]
    if message and spelled_right and is_signature(public_key, signature, message):
        return fields
    raise VerificationFailed(
        reason or "oauth_signature is not the signature of this request by this key"
    )


def control(*parts: str) -> str:
    """Make the control of a v2 command or callback: SHA-1 of the joined parts, lower-case hex.

    No separators, UTF-8, the merchant control last (documents 2.2, 3.37).
    """
    # A lone surrogate gives a control that no gateway can make, and no error that holds the text.
    octets = "".join(parts).encode("utf-8", "surrogatepass")
    # The protocol forces SHA-1; without the flag a FIPS build would refuse it.
    return hashlib.sha1(octets, usedforsecurity=False).hexdigest()


def control_matches(given: str, *parts: str) -> bool:
    """Tell in constant time whether a control, in any case of its hex, is that of these parts.

    An empty part never matches: an empty callback has a valid hash too. Leave out a
    value that was not sent, such as an order id not yet known.
    """
    whole = given.isascii() and bool(parts) and all(parts)
    return whole and hmac.compare_digest(given.lower(), control(*parts))
