"""The settings of the command line, read from the environment."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import attrs

from ..core.models import Endpoint, is_callback_address
from ..errors import ConfigurationError
from .credentials import Credentials

__all__ = ["NAMES", "Settings", "read_settings"]

NAMES: Final = (
    "BILLBLEND_LOGIN",
    "BILLBLEND_PRIVATE_KEY",
    "BILLBLEND_PRIVATE_KEY_PASSWORD",
    "BILLBLEND_MERCHANT_CONTROL",
    "BILLBLEND_ENDPOINT_ID",
    "BILLBLEND_ENDPOINT_GROUP_ID",
    "BILLBLEND_BASE_URL",
    "BILLBLEND_FORMER_MERCHANT_CONTROL",
    "BILLBLEND_STATUS_VERSION",
    "BILLBLEND_POLL_TRANSPORT",
    "BILLBLEND_SERVER_CALLBACK_URL",
    "BILLBLEND_JOURNAL_KEY",  # as the journal's location reads them
    "BILLBLEND_JOURNAL_SCHEMA",
)
"""Every setting that is read, by this or by who opens the journal."""
_VARIABLES: Final = {
    "login": "BILLBLEND_LOGIN",
    "private_key": "BILLBLEND_PRIVATE_KEY, the content of its file",
    "password": "BILLBLEND_PRIVATE_KEY_PASSWORD",
    "merchant_control": "BILLBLEND_MERCHANT_CONTROL",
    "base_url": "BILLBLEND_BASE_URL",
    "former_merchant_controls": "BILLBLEND_FORMER_MERCHANT_CONTROL",
}
"""How the fields that Credentials and Endpoint complain about are called here."""


@attrs.frozen
class Settings:
    """Who we are and where the gateway is.

    Attributes:
        credentials: Login, key and merchant control.
        endpoint: The gateway's address and our endpoint.
        status_version: 2 or 4, or None for the client's own choice.
        server_callback_url: Where the gateway sends its callbacks, if it shall.
        poll_transport: What status requests travel on, if not on httpx.
    """

    credentials: Credentials
    endpoint: Endpoint
    status_version: Literal[2, 4] | None = None
    server_callback_url: str | None = None
    poll_transport: Literal["aiohttp"] | None = None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables; an empty one counts as not set.

    Raises:
        ConfigurationError: One is missing or wrong; the message names it.
    """
    given = {name: environ[name].strip() for name in NAMES if environ.get(name, "").strip()}
    try:
        return _make_settings(given)
    except ConfigurationError as error:
        field, colon, wrong = error.message.partition(":")
    # Error trackers record the variables of every frame that an exception passes.
    del environ, given
    raise ConfigurationError(f"{_VARIABLES.get(field, field)}{colon}{wrong}")


def _make_settings(given: Mapping[str, str]) -> Settings:
    for name in ("BILLBLEND_LOGIN", "BILLBLEND_PRIVATE_KEY"):
        if name not in given:
            raise ConfigurationError(f"{name} is not set")
    if ("BILLBLEND_ENDPOINT_ID" in given) is ("BILLBLEND_ENDPOINT_GROUP_ID" in given):
        raise ConfigurationError(
            "set either BILLBLEND_ENDPOINT_ID or BILLBLEND_ENDPOINT_GROUP_ID, and not both"
        )
    endpoint = Endpoint(
        base_url=given.get("BILLBLEND_BASE_URL", "sandbox"),
        endpoint_id=_number(given, "BILLBLEND_ENDPOINT_ID"),
        endpoint_group_id=_number(given, "BILLBLEND_ENDPOINT_GROUP_ID"),
    )
    credentials = Credentials(
        given["BILLBLEND_LOGIN"],
        _read_key(given["BILLBLEND_PRIVATE_KEY"]),
        password=given.get("BILLBLEND_PRIVATE_KEY_PASSWORD"),
        merchant_control=given.get("BILLBLEND_MERCHANT_CONTROL"),
        former_merchant_controls=[given[_FORMER]] if _FORMER in given else [],
    )
    version = _VERSIONS.get(given.get("BILLBLEND_STATUS_VERSION", ""))
    if version is None and "BILLBLEND_STATUS_VERSION" in given:
        raise ConfigurationError("BILLBLEND_STATUS_VERSION must be 2 or 4")
    if version == 2 and credentials.merchant_control is None:
        raise ConfigurationError("BILLBLEND_STATUS_VERSION 2 needs BILLBLEND_MERCHANT_CONTROL")
    address = given.get("BILLBLEND_SERVER_CALLBACK_URL")
    if address is not None and not is_callback_address(address):
        raise ConfigurationError(
            "BILLBLEND_SERVER_CALLBACK_URL must be an http or https URL of at most 128 characters "
            "on port 80, 8080, 443 or 8443"
        )
    poll_transport = given.get("BILLBLEND_POLL_TRANSPORT", "httpx")
    if poll_transport not in _POLL_TRANSPORTS:
        raise ConfigurationError("BILLBLEND_POLL_TRANSPORT must be httpx or aiohttp")
    return Settings(credentials, endpoint, version, address, _POLL_TRANSPORTS[poll_transport])


_FORMER: Final = "BILLBLEND_FORMER_MERCHANT_CONTROL"
_POLL_TRANSPORTS: Final[Mapping[str, Literal["aiohttp"] | None]] = {
    "httpx": None,
    "aiohttp": "aiohttp",
}
_VERSIONS: Final[Mapping[str, Literal[2, 4]]] = {"2": 2, "4": 4}


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 19 and 0 < int(text) < 2**63:
        return int(text)
    raise ConfigurationError(f"{name} must be a whole number from 1 to 2^63 - 1")


def _read_key(path: str) -> bytes:
    if "-----BEGIN" in path:
        raise ConfigurationError(
            "BILLBLEND_PRIVATE_KEY must be the path of a PEM file, not the key"
        )
    # What cannot be read is raised below, without the system's own exception; nor is it repeated,
    # since it may be a key after all.
    with contextlib.suppress(OSError, ValueError):
        return Path(path).read_bytes()
    raise ConfigurationError(
        "BILLBLEND_PRIVATE_KEY: this file cannot be read; give the path of the private key's PEM "
        "file"
    )
