"""Looks at the way to the gateway: its name, a connection, TLS, and what its clock says.

It goes there by itself, not as the client does, to tell apart what a client calls one failure. What
it asks means nothing to a gateway: a HEAD of its address, without login or signature.
"""

import asyncio
import contextlib
import email.utils
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import attrs

from ...core.models import Endpoint, is_loopback, is_own_sandbox
from ...gateway.httpx_transport import make_ssl_context
from .findings import Finding, fine, problem, skipped, warning

__all__ = ["examine_network", "other_sandbox"]

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
_ABOUT: Final = ("name", "connection", "TLS", "clock")


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
            left = _ABOUT[len(findings) :]
            why = f"there is no {finding.about} to go on with"
            return [*findings, *(skipped(about, why) for about in left)]
    head = await _ask(parts, trust, wall_clock)
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


async def _ask(
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
