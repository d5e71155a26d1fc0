"""The keys: the merchant's private key or signer, and the public key that checks it.

The only file that knows the cryptography library. No exception carries a key, password or control;
they are raised outside `except` blocks, since even a suppressed `__context__` keeps the foreign
exception, and the frames that they pass hold no secret either.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn, Protocol, runtime_checkable

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..errors import ConfigurationError

__all__ = ["Credentials", "PublicKey", "RsaSigner", "Signer", "is_signature", "make_private_key"]

PublicKey = rsa.RSAPublicKey | bytes
"""A loaded RSA public key, or one as PEM (SubjectPublicKeyInfo)."""

_PADDING, _HASH = padding.PKCS1v15(), hashes.SHA256()
_NO_KEY = (
    "private_key: must be an RSA private key as PEM, PKCS#1 or PKCS#8, from its BEGIN line to its "
    "END line (what is in the file, not its path)"
)


@runtime_checkable
class Signer(Protocol):
    """Whatever signs with the merchant's RSA key: `RsaSigner`, or your own, such as an HSM."""

    @property
    def key_size(self) -> int:
        """The size of the key in bits; the gateway wants 2048 or more."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign a message: RSASSA-PKCS1-v1_5 with SHA-256."""
        ...


def _refuse_pickle(self: object) -> NoReturn:
    raise TypeError(
        f"{type(self).__name__} holds secrets and is never pickled or copied; make a new one there"
    )


@attrs.frozen(repr=False, eq=False)
class RsaSigner:
    """Sign with an RSA private key that is held in memory; ConfigurationError under 2048 bits."""

    _key: rsa.RSAPrivateKey

    def __attrs_post_init__(self) -> None:
        """Refuse what the gateway's vendor calls too short."""
        if self.key_size < 2048:
            raise ConfigurationError(
                f"private_key: has {self.key_size} bits, but 2048 or more are needed; make a new "
                "one and give its public key to the gateway's support"
            )

    @classmethod
    def from_pem(cls, pem: bytes | str, password: bytes | str | None = None) -> "RsaSigner":
        """Load a PEM, PKCS#1 or PKCS#8, plain or encrypted; an empty password is none.

        Whatever is wrong with key or password, ConfigurationError says what to do.
        """
        key = _load_private_key(pem, password)
        # Error trackers record the variables of every frame that an exception passes.
        del pem, password
        if isinstance(key, str):
            raise ConfigurationError(key)
        return cls(key)

    @property
    def key_size(self) -> int:
        """The size of the key in bits."""
        return self._key.key_size

    def sign(self, message: bytes) -> bytes:
        """Sign a message: RSASSA-PKCS1-v1_5 with SHA-256."""
        return self._key.sign(message, _PADDING, _HASH)

    def public_pem(self) -> bytes:
        """Give the public key (PEM, SubjectPublicKeyInfo), for the gateway's support."""
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, spki)

    def fingerprint(self) -> str:
        """Tell the public key from others: SHA-256 of its DER (SubjectPublicKeyInfo), in hex."""
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        der = self._key.public_key().public_bytes(serialization.Encoding.DER, spki)
        return hashlib.sha256(der).hexdigest()

    def __repr__(self) -> str:
        """Show the size of the key and nothing else."""
        return f"{type(self).__name__}(key_size={self.key_size})"

    __reduce__ = _refuse_pickle


def _load_private_key(pem: object, password: bytes | str | None) -> rsa.RSAPrivateKey | str:
    """Load a key, or return the sentence that says what to do: no exception comes out."""
    try:
        octets = pem.encode() if isinstance(pem, str) else pem
        secret = password.encode() if isinstance(password, str) else password
        if isinstance(octets, bytes):
            key = serialization.load_pem_private_key(octets, secret or None)
            return key if isinstance(key, rsa.RSAPrivateKey) else _NO_KEY
    except TypeError:
        mend = "not encrypted; leave it out" if password else "encrypted; give its password"
        return f"password: the private key is {mend}"
    except (ValueError, UnsupportedAlgorithm):
        pass
    return f"password: is wrong; or {_NO_KEY}" if password else _NO_KEY


def _check_text(_: object, attribute: "attrs.Attribute[str]", text: object) -> None:
    # A newline that came along from a file would fail every signature and every control.
    if not isinstance(text, str) or not text.isprintable() or not text or text != text.strip():
        raise ConfigurationError(f"{attribute.name}: must be printable text, no spaces around it")


def _separate(secrets: Iterable[str]) -> tuple[str, ...]:
    # One text would be taken for many secrets of one character, which anybody can guess.
    return (secrets,) if isinstance(secrets, str) else tuple(secrets)


@attrs.frozen(init=False, eq=False)
class Credentials:
    """Who you are to the gateway: your login, your private key and your control secret.

    `login` is also the OAuth consumer key. `private_key` is a PEM, read once and not kept, or a
    `Signer`; `password` opens an encrypted PEM. `merchant_control` is the secret of callbacks and
    v2 commands; `former_merchant_controls` still verify callbacks while a new one replaces them.
    ConfigurationError names the first one that is unusable and says what to do.
    """

    login: str = attrs.field(validator=_check_text)
    signer: Signer = attrs.field(repr=lambda signer: f"{signer.key_size} bits")
    merchant_control: str | None = attrs.field(
        validator=attrs.validators.optional(_check_text),
        repr=lambda secret: "***" if secret else "None",
    )
    former_merchant_controls: tuple[str, ...] = attrs.field(
        converter=_separate,
        validator=attrs.validators.deep_iterable(_check_text),
        repr=False,
    )

    def __init__(
        self,
        login: str,
        private_key: bytes | str | Signer,
        *,
        password: bytes | str | None = None,
        merchant_control: str | None = None,
        former_merchant_controls: Iterable[str] = (),
    ) -> None:
        try:
            signer = _find_signer(private_key, password)
            self.__attrs_init__(login, signer, merchant_control, former_merchant_controls)  # pyright: ignore[reportAttributeAccessIssue] - attrs makes it
        except ConfigurationError as error:
            wrong = error.message
        else:
            return
        del self, private_key, password, merchant_control, former_merchant_controls
        raise ConfigurationError(wrong)

    @property
    def callback_controls(self) -> tuple[str, ...]:
        """Every merchant control that a callback may be signed with."""
        current = () if self.merchant_control is None else (self.merchant_control,)
        return (*current, *self.former_merchant_controls)

    __reduce__ = _refuse_pickle


def _find_signer(private_key: object, password: bytes | str | None) -> Signer:
    if isinstance(private_key, bytes | str):
        return RsaSigner.from_pem(private_key, password)
    # A bare key looks like a Signer, but its sign() wants more arguments: known only when paying.
    bare = isinstance(private_key, rsa.RSAPrivateKey)
    if bare or password or not isinstance(private_key, Signer):
        raise ConfigurationError(f"{_NO_KEY}; or a Signer, like RsaSigner(key), without password")
    return private_key


def is_signature(public_key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature is that of this message by this key (RSASSA-PKCS1-v1_5, SHA-256).

    Raises:
        ConfigurationError: The key is no RSA public key.
    """
    with suppress(InvalidSignature):
        _load_public_key(public_key).verify(signature, message, _PADDING, _HASH)
        return True
    return False


def _load_public_key(public_key: PublicKey) -> rsa.RSAPublicKey:
    key: object = public_key
    if isinstance(public_key, bytes):
        with suppress(ValueError, UnsupportedAlgorithm):
            key = serialization.load_pem_public_key(public_key)
    if isinstance(key, rsa.RSAPublicKey):
        return key
    raise ConfigurationError("public_key: must be an RSA public key as PEM, BEGIN PUBLIC KEY")


def make_private_key(key_size: int = 2048) -> str:
    """Make a new RSA private key, as PEM (PKCS#8, not encrypted); it takes a moment."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=key_size)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
