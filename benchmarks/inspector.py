"""Whether a request is the merchant's own: the gateway's side of signatures and controls."""

from urllib.parse import unquote_plus

from billblend_async.errors import VerificationFailed
from billblend_async.gateway.signing import body_parameters, control_matches, verify_authorization

from .book import Terms

__all__ = ["is_genuine"]


def is_genuine(
    terms: Terms, url: str, authorization: str, body: bytes, fields: dict[bytes, bytes]
) -> bool:
    """Verify a request; where the terms hold no public key, everything is genuine.

    Args:
        terms: Whose requests are expected.
        url: The whole address that was asked for.
        authorization: The header of that name, or an empty text.
        body: The bytes of the form.
        fields: The same, read.
    """
    if terms.public_key is None:
        return True
    if not authorization:
        parts = [
            unquote_plus(fields.get(name, b"").decode())
            for name in (b"login", b"client_orderid", b"orderid")
        ]
        control = fields.get(b"control", b"").decode()
        return control_matches(control, *filter(None, parts), terms.merchant_control)
    try:
        verify_authorization(
            authorization,
            "POST",
            url,
            body_parameters(body),
            public_key=terms.public_key.encode(),
        )
    except VerificationFailed:
        return False
    return True
