"""``billblend doctor``: finds out why it does not work, and says what to do about it.

It looks at the settings, the key and the versions; at the journal, its server or its disk; at the
way to the gateway; and asks one signed question about an order that was never made. Nothing is
changed and no money moves. The way to the gateway is checked by itself, not as the client does it,
to tell apart what a client calls one failure; a HEAD request without login or signature is sent.
The file is long because it holds every check of one command.
"""

import argparse
import asyncio
import contextlib
import difflib
import email.utils
import enum
import importlib.metadata
import importlib.util
import ipaddress
import json
import os
import platform
import re
import shlex
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import attrs

from .. import __version__
from ..core.models import Endpoint, State, is_callback_address, is_loopback, is_own_sandbox
from ..core.responses import NoAnswer, StatusAnswer
from ..errors import BillblendError, ConfigurationError, JournalError
from ..gateway.client import Client
from ..gateway.credentials import RsaSigner
from ..gateway.exchange import Timeouts
from ..gateway.httpx_transport import make_ssl_context
from ..gateway.settings import NAMES, Settings, read_settings
from ..journal import Owner
from ..journal.key_file import has_key, itself
from ..journal.location import JOURNAL_HELP, DatabasePlace, FilePlace, Place, read_place
from ..journal.sqlite_database import Inspection, describe_sqlite, inspect_journal
from .console import BAD_CONFIGURATION

__all__ = [
    "Finding",
    "Papers",
    "Verdict",
    "add_doctor",
    "examine",
    "examine_journal",
    "examine_network",
    "examine_papers",
    "examine_versions",
    "filesystem_of",
    "fine",
    "other_sandbox",
    "problem",
    "skipped",
    "warning",
]


class Verdict(enum.StrEnum):
    """How a thing stands."""

    OK = "ok"
    WARNING = "warning"
    """It works, and somebody should know."""
    PROBLEM = "problem"
    """It must be mended before money moves."""
    NOT_CHECKED = "not checked"


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        about: The thing, in a word or two.
        verdict: How it stands.
        told: What was found; never a secret.
        remedy: What to do, where there is something to do.
    """

    about: str
    verdict: Verdict
    told: str
    remedy: str = ""

    def __str__(self) -> str:
        """Read as one line: "problem      clock: 75 s ahead of the gateway; set it"."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.verdict:<11}  {self.about}: {self.told}{remedy}"


def fine(about: str, told: str) -> Finding:
    """Find that a thing is as it should be."""
    return Finding(about, Verdict.OK, told)


def warning(about: str, told: str, remedy: str) -> Finding:
    """Find something that works, and that somebody should know."""
    return Finding(about, Verdict.WARNING, told, remedy)


def problem(about: str, told: str, remedy: str) -> Finding:
    """Find something that must be mended."""
    return Finding(about, Verdict.PROBLEM, told, remedy)


def skipped(about: str, why: str) -> Finding:
    """Say why a thing could not be looked at."""
    return Finding(about, Verdict.NOT_CHECKED, why)


RESOLVING: Final = 5.0
CONNECTING: Final = 5.0
EXCHANGING: Final = 8.0
"""Seconds for each part; with the signed question, all of them are over within 30."""
_LONGEST_HEAD: Final = 64 * 1024
_SKEW_SEEN: Final = 5.0
_SKEW_REFUSED: Final = 60.0
"""Seconds of difference; the gateway does not say how old an OAuth timestamp may be."""
_SOON: Final = 14
"""Days before a certificate's end."""
_DAY: Final = 86_400.0
_ABOUT_NETWORK: Final = ("name", "connection", "TLS", "clock")


@attrs.frozen(kw_only=True)
class _Head:
    """What came back on one connection.

    Attributes:
        date: What the gateway's clock says, in seconds since the epoch; None if it does not say.
        began: Our clock before the request.
        ended: Our clock after the answer's head.
        protocol: TLS's version; None without TLS.
        certificate: The gateway's certificate as ``ssl`` reads it.
    """

    date: float | None
    began: float
    ended: float
    protocol: str | None
    certificate: dict[str, Any]


async def examine_network(
    endpoint: Endpoint,
    *,
    proxies: tuple[str, ...] = (),
    trust: ssl.SSLContext | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> list[Finding]:
    """Look at each part of the way to the gateway; what follows a broken part is not looked at.

    Args:
        endpoint: Where the gateway is.
        proxies: Variables that set a proxy, which may be why there is no way without.
        trust: TLS's settings; made as the client makes them, if they are needed and not given.
        wall_clock: Seconds since the epoch.
    """
    parts = urlsplit(endpoint.base_url)
    findings: list[Finding] = []
    for step in (_resolve, _connect):
        finding = await step(parts, proxies)
        findings.append(finding)
        if finding.remedy:
            left = _ABOUT_NETWORK[len(findings) :]
            why = f"there is no {finding.about} to go on with"
            return [*findings, *(skipped(about, why) for about in left)]
    head = await _ask_over_socket(parts, trust, wall_clock)
    if isinstance(head, Finding):
        return [*findings, *_unasked(head, parts)]
    return [*findings, _examine_tls(head, wall_clock()), _examine_clock(head)]


def other_sandbox(base_url: str) -> str:
    """Continue a remedy for whoever has taken the gateway's own sandbox for the built-in one."""
    if not is_own_sandbox(base_url):
        return ""
    return "; for the built-in sandbox, use the settings that billblend sandbox prints"


def _unasked(finding: Finding, parts: SplitResult) -> list[Finding]:
    """Say what follows from a question that was not answered."""
    if finding.about == "TLS":
        return [finding, skipped("clock", "there is no TLS to ask over")]
    return [
        skipped("TLS", _NO_TLS if parts.scheme == "http" else "no answer came over it"),
        finding,
    ]


_NO_TLS: Final = "it is not used on loopback"


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


async def _resolve(parts: SplitResult, _: tuple[str, ...]) -> Finding:
    """Look the gateway's name up."""
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return fine("name", f"{host} is an address")
    remedy = (
        f"check BILLBLEND_BASE_URL and this machine's name servers{other_sandbox(parts.geturl())}"
    )
    try:
        async with asyncio.timeout(RESOLVING):
            found = await _look_up(host, _port(parts))
    except TimeoutError:
        told = f"looking {host} up took more than {RESOLVING:g} s"
        return problem("name", told, remedy)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no name"
        return problem("name", f"{host} is not known ({reason})", remedy)
    addresses = sorted({str(address[0]) for *_, address in found})
    return fine("name", f"{host} is {', '.join(addresses[:4])}")


async def _look_up(host: str, port: int) -> list[Any]:
    """Look a name up in a thread that holds up nobody's end, however long it takes."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Any]] = loop.create_future()

    def tell(found: list[Any] | Exception) -> None:
        if done.done():
            return
        if isinstance(found, Exception):
            done.set_exception(found)
        else:
            done.set_result(found)

    def look() -> None:
        found: list[Any] | Exception
        try:
            found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop is gone, and nobody waits
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=look, name="billblend doctor", daemon=True).start()
    return await done


async def _connect(parts: SplitResult, proxies: tuple[str, ...]) -> Finding:
    """Open a connection and close it."""
    host, port = parts.hostname or "", _port(parts)
    began = time.monotonic()
    try:
        async with asyncio.timeout(CONNECTING):
            _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=0.25)
    except TimeoutError:
        reason = f"no answer within {CONNECTING:g} s"
    except OSError as error:  # asyncio's own text repeats the address
        reason = os.strerror(error.errno) if error.errno else "no address of it answers"
    else:
        took = 1000 * (time.monotonic() - began)
        await _close(writer)
        return fine("connection", f"{host} port {port} answers after {took:.0f} ms")
    remedy = "check BILLBLEND_BASE_URL, and whether a firewall lets this machine out"
    remedy += other_sandbox(parts.geturl())
    if proxies:
        remedy += f" without the proxy of {', '.join(proxies)}"
    if is_loopback(host):
        remedy = "start the built-in sandbox: billblend sandbox"
    return problem("connection", f"{host} port {port} cannot be reached ({reason})", remedy)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()  # nobody's goodbye is worth waiting for
    await asyncio.sleep(0)


async def _ask_over_socket(
    parts: SplitResult, trust: ssl.SSLContext | None, wall_clock: Callable[[], float]
) -> _Head | Finding:
    """Ask for the head of the gateway's address, over TLS as the client would."""
    remedy = "ask the gateway's support, or whoever runs what stands between it and this machine"
    missing = "TLS" if parts.scheme == "https" else "clock"
    try:
        async with asyncio.timeout(EXCHANGING):
            reader, writer = await _open(parts, trust)
            missing = "clock"
            return await _talk(reader, writer, parts, wall_clock)
    except TimeoutError:
        return problem(missing, f"no answer within {EXCHANGING:g} s", remedy)
    except ssl.SSLCertVerificationError as error:
        told = f"the certificate is not trusted ({error.verify_message})"
        remedy = (
            "check BILLBLEND_BASE_URL and this machine's clock; where something reads the traffic "
            "of this network, have the gateway exempted from it"
        )
        return problem("TLS", told, remedy)
    except ssl.SSLError as error:
        return problem("TLS", f"it cannot be set up ({error.reason or 'no reason'})", remedy)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        reason = getattr(error, "strerror", None) or "what came back is no HTTP"
        return problem(missing, f"there is no answer ({reason})", remedy)


async def _open(
    parts: SplitResult, trust: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, context = parts.hostname or "", None
    if parts.scheme == "https":
        context = trust or await asyncio.to_thread(make_ssl_context)
    return await asyncio.open_connection(
        host,
        _port(parts),
        ssl=context,
        server_hostname=host if context else None,
        limit=_LONGEST_HEAD,
        happy_eyeballs_delay=0.25,
    )


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    parts: SplitResult,
    wall_clock: Callable[[], float],
) -> _Head:
    try:
        secured: Any = writer.get_extra_info("ssl_object")
        began = wall_clock()
        words = (f"HEAD {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close")
        writer.write("\r\n".join([*words, "", ""]).encode("ascii"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        ended = wall_clock()
    finally:
        await _close(writer)
    status, *lines = head.split("\r\n")
    if not status.startswith("HTTP/1."):
        raise ValueError("this is no HTTP")
    pairs = (line.partition(":") for line in lines)
    return _Head(
        date=_read_date({name.lower(): text.strip() for name, _, text in pairs}),
        began=began,
        ended=ended,
        protocol=secured.version() if secured else None,
        certificate=(secured.getpeercert() or {}) if secured else {},
    )


def _read_date(fields: dict[str, str]) -> float | None:
    """Read the Date header, and count in how old an answer from a cache is."""
    age = fields.get("age", "0")
    try:
        date = email.utils.parsedate_to_datetime(fields.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return date + (int(age) if age.isascii() and age.isdigit() and len(age) < 9 else 0)


def _examine_tls(head: _Head, now: float) -> Finding:
    if head.protocol is None:
        return skipped("TLS", _NO_TLS)
    names = dict(pair for part in head.certificate.get("subject", ()) for pair in part)
    subject = names.get("commonName") or names.get("organizationName") or "a name of the address"
    days = int((ssl.cert_time_to_seconds(head.certificate["notAfter"]) - now) // _DAY)
    told = f"{head.protocol}, trusted certificate of {subject}, {days} days left"
    if days < _SOON:
        return warning("TLS", told, "tell the gateway's support that it is about to end")
    return fine("TLS", told)


def _examine_clock(head: _Head) -> Finding:
    """Compare our clock with the gateway's; its header names a whole second, often the last one."""
    if head.date is None:
        return skipped("clock", "the gateway's answer has no Date header to compare with")
    ours, spread = (head.began + head.ended) / 2, (head.ended - head.began) / 2 + 1.0
    ahead = ours - (head.date + 0.5)
    certain = max(0.0, abs(ahead) - spread)
    told = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the gateway's"
    if not certain:
        return fine("clock", f"no difference that can be measured (to {spread:.1f} s)")
    if certain <= _SKEW_SEEN:
        return fine("clock", told)
    remedy = "signatures carry the time and may be refused; set this machine's clock (NTP)"
    if certain <= _SKEW_REFUSED:
        return warning("clock", told, remedy)
    return problem("clock", told, remedy)


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


_ROOM: Final = 64 * 1024 * 1024
"""Bytes that must be free: ten thousand payouts take about half of it."""
_REMOTE: Final = frozenset(
    {
        *("9p", "afs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs"),
        *("fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"),
        "virtiofs",
    }
)
"""File systems of other machines, whose locks do not hold what SQLite needs."""
_FORGETFUL: Final = frozenset({"ramfs", "tmpfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")


def examine_journal(
    place: Place | None, settings: Settings | None, *, mounts: Path = _MOUNTS
) -> list[Finding]:
    """Look at a journal without changing it.

    Args:
        place: The journal, if one was named.
        settings: Whose it should be, if that is known.
        mounts: Where Linux lists its file systems.
    """
    match place:
        case DatabasePlace():
            return _examine_database(place, settings)
        case FilePlace(path=path):
            return _examine_disk(path, settings, mounts)
        case _:
            return [skipped("journal", "none was named; give one with --journal")]


def _examine_disk(path: Path, settings: Settings | None, mounts: Path) -> list[Finding]:
    try:
        return [_examine_file(path, settings), *_examine_place(itself(path).parent, mounts)]
    except OSError as error:
        remedy = "let the user who runs this use the journal's directory"
        return [problem("journal", f"{path} cannot be looked at ({error.strerror})", remedy)]


def _examine_file(path: Path, settings: Settings | None) -> Finding:
    if not path.name or path.is_dir():
        return problem("journal", f"{path} is a directory", "give the path of a file")
    if not path.exists():
        if has_key(path):
            told = f"{path} is gone, but its key file is there"
            return problem("journal", told, "restore it from its newest copy, with its key file")
        return fine("journal", f"{path} is not there yet; the first run makes it")
    found = inspect_journal(path)
    if isinstance(found, str):
        remedy = "nothing is sent from it until it can be read; keep it as it is meanwhile"
        return problem("journal", f"{path}: {found}", remedy)
    return _compare(str(path), found, settings)


def _examine_database(place: DatabasePlace, settings: Settings | None) -> list[Finding]:
    """Look at a journal in PostgreSQL, its key's file and its server."""
    try:
        place.check()
    except ConfigurationError as error:
        return [problem("journal", str(error), "nothing of it can be looked at until then")]
    key = _examine_journal_key(place)
    try:
        with place.reader() as reader:
            found = reader.inspect()
    except JournalError as error:
        remedy = "nothing is sent from it until it can be read; keep it as it is meanwhile"
        return [key, problem("journal", str(error), remedy)]
    server = f"{found.mode} keeps what it has written (fsync and synchronous_commit are on)"
    findings = [key, _compare(place.title, found, settings), fine("journal server", server)]
    if found.obstacle:
        enough = "as it stands it is enough for reports; payouts cannot be run with it"
        findings.append(warning("journal writes", found.obstacle, enough))
    if found.is_exposed:
        told = "the server is reached without TLS, so others on the way can read and change it all"
        findings.append(warning("journal TLS", told, "add ?sslmode=verify-full to its address"))
    return findings


def _examine_journal_key(place: DatabasePlace) -> Finding:
    path, about = place.key_file(), "journal key"
    if os.name != "nt" and path.stat().st_mode & 0o077:
        return warning(about, f"others than its owner may use {path}", f"chmod 600 {path}")
    return fine(about, f"{path} can be read, by its owner only")


def _compare(name: str, found: Inspection, settings: Settings | None) -> Finding:
    """Say whether a sound journal fits the settings."""
    if settings is None:
        told = f"{name} is sound; {_described(found)}. Whose it should be is not known"
        return skipped("journal", told)
    endpoint = settings.endpoint
    owner, theirs = owner_of(settings.credentials.login, endpoint), found.owner
    if theirs is None:
        return fine("journal", f"{name} is sound, and no program has opened it yet")
    if not found.takes(owner):
        told = f"{name} holds payouts of {theirs.login} at {theirs.base_url} {theirs.endpoint}"
        return problem("journal", told, "use the settings that belong to it, or another journal")
    if owner != theirs:
        told = f"{name} was made with other settings and takes these, since it has sent nothing"
        return fine("journal", f"{told}; {_described(found)}")
    return fine("journal", f"{name} is sound and fits the settings; {_described(found)}")


def owner_of(login: str, endpoint: Endpoint) -> Owner:
    """Name the owner of the payouts that some settings make."""
    return Owner(base_url=endpoint.base_url, login=login, endpoint=endpoint.path)


def _described(found: Inspection) -> str:
    total = sum(found.states.values())
    unfinished = sum(count for state, count in found.states.items() if not state.is_terminal)
    parked = found.states.get(State.ATTENTION, 0)
    told = f"{total:,} payouts, {unfinished:,} unfinished, {parked:,} in attention"
    return f"{told}, declared restored" if found.is_restored else told


def _examine_place(directory: Path, mounts: Path) -> list[Finding]:
    about = "journal directory"
    if not directory.is_dir():
        return [problem(about, f"{directory} is not there", f"make it: mkdir -p {directory}")]
    if not os.access(directory, os.W_OK | os.X_OK):
        told = f"{directory} cannot be written, and SQLite makes files beside the journal"
        return [problem(about, told, "let the user who runs this write there")]
    free = shutil.disk_usage(directory).free
    told = f"{directory} can be written, {free / 1e9:,.1f} GB are free"
    if free < _ROOM:
        place = problem(about, told, "make room: without it nothing is sent")
    else:
        place = fine(about, told)
    return [place, _examine_filesystem(directory, mounts)]


def _examine_filesystem(directory: Path, mounts: Path) -> Finding:
    about, kind = "file system", filesystem_of(directory, mounts)
    if kind is None:
        return skipped(about, "this system does not list its file systems; use a local disk")
    if kind in _REMOTE:
        remedy = "put it on a disk of this machine: over a network SQLite's locks may not hold"
        return problem(about, f"the journal lies on {kind}", remedy)
    if kind in _FORGETFUL:
        remedy = "put it on a disk, unless its payouts are play: a restart forgets who was paid"
        return warning(about, f"the journal lies in memory ({kind})", remedy)
    return fine(about, f"{kind}, which is no network's")


def filesystem_of(directory: Path, mounts: Path = _MOUNTS) -> str | None:
    """Name the file system that a directory lies on; None where the system is no Linux."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    inside, best, kind = directory.resolve(), -1, None
    for line in lines:
        # "36 35 98:0 /root /mount/point options tags - type source options" (proc(5))
        left, dash, right = line.partition(" - ")
        words, names = left.split(" "), right.split(" ")
        if not dash or len(words) < 5:
            continue
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), words[4]))
        depth = len(point.parts)
        if inside.is_relative_to(point) and depth >= best:  # a later mount hides an earlier one
            best, kind = depth, names[0]
    return kind


_OCTAL: Final = re.compile(r"\\([0-7]{3})")


_ASKING: Final = 10.0
"""Seconds for the signed question, which are two where status v2 is used."""
_ABOUT: Final = "signed question"
_MEANINGS: Final = {
    "2": "the merchant control is wrong; take BILLBLEND_MERCHANT_CONTROL from the gateway again",
    "3": "the gateway has no merchant control for you; ask its support to set one",
    "4": "the endpoint is missing; check BILLBLEND_ENDPOINT_ID or BILLBLEND_ENDPOINT_GROUP_ID",
    "5": "the endpoint is no number to it; check BILLBLEND_ENDPOINT_ID",
    "7": "nobody has this login there; check BILLBLEND_LOGIN, BILLBLEND_ENDPOINT_ID and "
    "BILLBLEND_BASE_URL",
}
"""What the gateway's error codes about settings mean (document 5.6)."""


async def examine(
    environ: Mapping[str, str],
    journal: Place | None = None,
    *,
    wall_clock: Callable[[], float] = time.time,
) -> list[Finding]:
    """Look at everything; what is broken keeps nothing from being looked at that can be.

    Args:
        environ: The settings.
        journal: A journal to look at too.
        wall_clock: Seconds since the epoch, as signatures would carry them.

    Returns:
        What was found, in half a minute at most.
    """
    papers = examine_papers(environ)
    findings = [examine_versions(describe_sqlite()), *papers.findings]
    findings += await asyncio.to_thread(examine_journal, journal, papers.settings)
    if papers.endpoint is None:
        return [*findings, skipped("network", "BILLBLEND_BASE_URL says not where the gateway is")]
    network = await examine_network(papers.endpoint, proxies=papers.proxies, wall_clock=wall_clock)
    return [*findings, *network, await _ask(papers.settings, papers.fingerprint, network)]


async def _ask(
    settings: Settings | None, fingerprint: str | None, network: list[Finding]
) -> Finding:
    """Ask the gateway, signed, about an order that nobody has made."""
    if settings is None:
        return skipped(_ABOUT, "the settings must be mended first")
    if any(finding.verdict is Verdict.PROBLEM and finding.about != "clock" for finding in network):
        return skipped(_ABOUT, "the gateway cannot be reached")
    wrong = ""
    try:
        async with asyncio.timeout(_ASKING):
            return _read(await _probe(settings), settings, fingerprint)
    except TimeoutError:
        wrong = f"no answer within {_ASKING:g} s"
    except BillblendError as error:
        wrong = str(error)
    return problem(_ABOUT, wrong, "mend that and look again")


async def _probe(settings: Settings) -> StatusAnswer:
    endpoint = settings.endpoint
    async with Client(
        settings.credentials,
        endpoint_id=endpoint.endpoint_id,
        endpoint_group_id=endpoint.endpoint_group_id,
        base_url=endpoint.base_url,
        status_version=settings.status_version,
        poll_transport=settings.poll_transport,
        timeouts=Timeouts(connect=3.0, write=1.0, send_read=5.0, poll_read=5.0),
        max_sends=1,
        max_polls=1,
    ) as client:
        return await client.probe()


def _read(answer: StatusAnswer, settings: Settings, fingerprint: str | None) -> Finding:
    """Say what an answer means for each setting of ours."""
    if not isinstance(answer, NoAnswer):
        return fine(_ABOUT, _known(settings))
    if answer.is_about_settings:
        return problem(
            _ABOUT, f"it is refused ({answer.reason})", _MEANINGS[answer.error_code or ""]
        )
    if answer.readable:
        return fine(_ABOUT, f"{_known(settings)}; it says: {answer.reason}")
    match answer.http_status:
        case 401 | 403:
            key = f" (SHA-256 {fingerprint})" if fingerprint else ""
            login, endpoint = settings.credentials.login, settings.endpoint.path
            remedy = (
                f"have the gateway's support compare what it knows of login {login!r}, endpoint "
                f"{endpoint} and its public key with this one{key}, and ask whether it lets this "
                "machine's address in; look at the clock too"
                f"{other_sandbox(settings.endpoint.base_url)}"
            )
            return problem(_ABOUT, f"access is refused (HTTP {answer.http_status})", remedy)
        case 404 | 405 | 410 | 501:
            remedy = "check BILLBLEND_BASE_URL (it ends before /api) and the endpoint's number"
            told = f"there is no gateway at this address (HTTP {answer.http_status})"
            return problem(_ABOUT, told, remedy)
        case _:
            remedy = "try again later; if it stays so, ask the gateway's support"
            return problem(_ABOUT, f"there is no answer that can be read ({answer.reason})", remedy)


def _known(settings: Settings) -> str:
    v2 = settings.status_version != 4 and settings.credentials.merchant_control is not None
    control = " and the merchant control" if v2 else ""
    return f"the gateway knows this login, endpoint and key{control}"


def add_doctor(doctor: argparse.ArgumentParser) -> None:
    """Give ``billblend doctor`` its options."""
    doctor.description = (
        "Look at the settings, the key, the journal and the way to the gateway, and say what to do "
        "about each. Nothing is changed and no money moves. Exit status: 0 when all is well, 4 "
        "when something must be mended."
    )
    doctor.add_argument("--journal", type=read_place, help=JOURNAL_HELP)
    doctor.add_argument("--json", action="store_true", help="one JSON object, for machines")
    doctor.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:

    findings = asyncio.run(examine(os.environ, arguments.journal))
    counts = {verdict: sum(f.verdict is verdict for f in findings) for verdict in Verdict}
    if arguments.json:
        told = [
            {"about": f.about, "verdict": f.verdict, "told": f.told, "remedy": f.remedy}
            for f in findings
        ]
        print(json.dumps({"counts": counts, "findings": told}, indent=2))
    else:
        for finding in findings:
            print(finding)
        print(", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count))
    return BAD_CONFIGURATION if counts[Verdict.PROBLEM] else 0
