"""Looks at what the merchant brings: the settings of the environment, the key, the versions."""

import difflib
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from ... import __version__
from ...core.models import Endpoint, is_callback_address, is_own_sandbox
from ...errors import ConfigurationError
from ...gateway.credentials import RsaSigner
from ...gateway.settings import NAMES, Settings, read_settings
from .findings import Finding, fine, problem, skipped, warning

__all__ = ["Papers", "examine_papers", "examine_versions"]

_KEY: Final = "BILLBLEND_PRIVATE_KEY"
_SECRET: Final = frozenset(
    {
        "BILLBLEND_PRIVATE_KEY_PASSWORD",
        "BILLBLEND_MERCHANT_CONTROL",
        "BILLBLEND_FORMER_MERCHANT_CONTROL",
    }
)
_OTHERS: Final = frozenset({"BILLBLEND_TRACEBACK", "BILLBLEND_NEED_BROWSER"})
"""Variables that are no settings."""
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")
_LARGEST: Final = 4096
"""Bits that the gateway's own request builder takes."""
_COMPARE: Final = (
    "compare it with the key that the gateway has: "
    "openssl pkey -pubin -in registered.pem -outform DER | openssl dgst -sha256"
)


@attrs.frozen(kw_only=True)
class Papers:
    """What the merchant brings.

    Attributes:
        settings: All settings, if they can be used.
        endpoint: Where the gateway is, as far as that can be told.
        fingerprint: That of the public key, if the key can be read.
        proxies: Names of variables that set a proxy, which this library does not use.
        findings: What was found.
    """

    settings: Settings | None
    endpoint: Endpoint | None
    fingerprint: str | None
    proxies: tuple[str, ...]
    findings: tuple[Finding, ...]


def examine_papers(environ: Mapping[str, str]) -> Papers:
    """Look at the settings and the key; what is wrong with one hides nothing of the others."""
    given = {name: environ[name].strip() for name in NAMES if environ.get(name, "").strip()}
    findings = [fine("setting", f"{name} is {_shown(name, given)}") for name in given]
    findings += _strays(environ)
    settings, wrong = None, ""
    try:
        settings = read_settings(environ)
    except ConfigurationError as error:
        wrong = str(error)
    if settings is None:
        findings.append(problem("settings", wrong, "billblend --help lists them all"))
    else:
        findings.append(fine("settings", f"complete, from the environment; {_leads(settings)}"))
    fingerprint, told = _examine_key(given)
    proxies = tuple(name for name in sorted(environ) if name.lower() in _PROXIES and environ[name])
    return Papers(
        settings=settings,
        endpoint=_endpoint(given) if settings is None else settings.endpoint,
        fingerprint=fingerprint,
        proxies=proxies,
        findings=(*findings, *told, _examine_proxies(proxies), *_examine_transport(given)),
    )


def _leads(settings: Settings) -> str:
    endpoint = settings.endpoint
    what = "real money moves there"
    if is_own_sandbox(endpoint.base_url):
        what = "the gateway's own sandbox at sandbox.billblend.com, where no money is real"
    elif not endpoint.is_production:
        what = "this machine, as with the built-in sandbox, where no money is real"
    return f"{endpoint.base_url}, endpoint {endpoint.path}: {what}"


def _shown(name: str, given: Mapping[str, str]) -> str:
    """Show a setting, unless it is a secret or may be one that stands in the wrong place."""
    value = given[name]
    if name in _SECRET:
        return "***"
    shown = False
    match name:
        case "BILLBLEND_LOGIN":
            shown = value.isprintable()
        case "BILLBLEND_PRIVATE_KEY" | "BILLBLEND_JOURNAL_KEY":
            shown = "-----BEGIN" not in value and _is_file(value)
        case "BILLBLEND_JOURNAL_SCHEMA":
            shown = value.isidentifier()
        case "BILLBLEND_ENDPOINT_ID" | "BILLBLEND_ENDPOINT_GROUP_ID":
            shown = value.isascii() and value.isdigit() and len(value) < 20
        case "BILLBLEND_BASE_URL":
            shown = _endpoint(given) is not None
        case "BILLBLEND_SERVER_CALLBACK_URL":
            value, mark, _ = value.partition("?")
            shown, value = is_callback_address(value), f"{value}{mark and '?***'}"
        case _:
            shown = value in ("2", "4", "httpx", "aiohttp")
    return value if shown else "set, and not shown since it does not look right"


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def _strays(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Find variables that look like settings and are none."""
    for name in sorted(environ):
        if name.startswith("BILLBLEND_") and name not in {*NAMES, *_OTHERS}:
            close = difflib.get_close_matches(name, NAMES, 1)
            hint = f"did you mean {close[0]}?" if close else "billblend --help lists the settings"
            yield warning("setting", f"{name} is none, so nobody reads it", hint)


def _endpoint(given: Mapping[str, str]) -> Endpoint | None:
    """Find out where the gateway is, whatever else is wrong."""
    try:
        return Endpoint(base_url=given.get("BILLBLEND_BASE_URL", "sandbox"), endpoint_id=1)
    except ConfigurationError:
        return None


# The key


def _examine_key(given: Mapping[str, str]) -> tuple[str | None, list[Finding]]:
    """Look at the key's file and at the key in it; its fingerprint, if it can be read."""
    if _KEY not in given or not _is_file(given[_KEY]):
        why = "is not set" if _KEY not in given else "names no file that can be found"
        return None, [skipped("key", f"{_KEY} {why}")]
    path = Path(given[_KEY])
    findings = [_examine_permissions(path)]
    try:
        pem = path.read_bytes()
    except OSError as error:
        told = f"{path} cannot be read ({error.strerror})"
        remedy = "let the user who runs this read it, and nobody else"
        return None, [*findings, problem("key", told, remedy)]
    try:
        signer = RsaSigner.from_pem(pem, given.get("BILLBLEND_PRIVATE_KEY_PASSWORD"))
    except ConfigurationError as error:
        remedy = "give the path of an RSA private key's PEM file, and its password if it has one"
        return None, [*findings, problem("key", error.message, remedy)]
    findings.append(_examine_size(signer.key_size, is_encrypted=b"ENCRYPTED" in pem))
    fingerprint = signer.fingerprint()
    told = f"the public key's SHA-256 is {fingerprint}; {_COMPARE}"
    return fingerprint, [*findings, fine("key fingerprint", told)]


def _examine_permissions(path: Path) -> Finding:
    about = "key file"
    if os.name == "nt":
        return skipped(about, "Windows keeps permissions in another way; look at them yourself")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        told = f"{path} can be used by others (mode {mode:04o})"
        return problem(about, told, f"run: chmod 600 {shlex.quote(str(path))}")
    return fine(about, f"{path} is open to its owner only (mode {mode:04o})")


def _examine_size(bits: int, *, is_encrypted: bool) -> Finding:
    kept = "encrypted" if is_encrypted else "not encrypted, so its file's permissions guard it"
    told = f"RSA with {bits} bits, {kept}"
    if bits > _LARGEST:
        remedy = f"the gateway documents up to {_LARGEST} bits and may refuse it; ask its support"
        return warning("key", told, remedy)
    return fine("key", told)


# What else is around


def _examine_proxies(proxies: tuple[str, ...]) -> Finding:
    if not proxies:
        return fine("proxy", "none is set")
    told = f"{', '.join(proxies)} set one, and this library uses none"
    remedy = "let this machine reach the gateway directly, or give Client a transport of your own"
    return warning("proxy", told, remedy)


def _examine_transport(given: Mapping[str, str]) -> Iterator[Finding]:
    if given.get("BILLBLEND_POLL_TRANSPORT") != "aiohttp":
        return
    if importlib.util.find_spec("aiohttp") is None:
        told = "BILLBLEND_POLL_TRANSPORT is aiohttp, which is not installed"
        yield problem("aiohttp", told, "run: pip install 'billblend-async[aiohttp]'")
    else:
        yield fine("aiohttp", f"version {importlib.metadata.version('aiohttp')}")


def examine_versions(sqlite: str) -> Finding:
    """Tell the versions that matter, for whoever is asked for help.

    Args:
        sqlite: SQLite's version, and how journals are written with it.
    """
    names = ("httpx", "cryptography", "attrs", "tenacity")
    told = [f"{name} {importlib.metadata.version(name)}" for name in names]
    ours = [f"billblend-async {__version__}", f"Python {platform.python_version()}"]
    return fine("versions", ", ".join([*ours, ssl.OPENSSL_VERSION, *told, sqlite]))
