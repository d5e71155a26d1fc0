"""Servers on raw sockets of this machine, for what no HTTP library would do.

Each plays one script for each connection and keeps every byte that arrives.
"""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Final, Self, SupportsIndex
from urllib.parse import parse_qsl, quote_plus, unquote

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from oauthlib.oauth1.rfc5849 import signature as oracle
from oauthlib.oauth1.rfc5849.utils import parse_authorization_header
from rsa_keys import public_pem

from billblend_async.gateway.signing import body_parameters, verify_authorization

HOST: Final = "127.0.0.1"
ORDER: Final = "6982864"


@attrs.frozen
class Received:
    """One request, as it came."""

    method: str
    target: str
    lines: list[tuple[str, str]]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name; none may come twice."""
        headers = {name.lower(): value for name, value in self.lines}
        assert len(headers) == len(self.lines)
        return headers

    @property
    def form(self) -> dict[str, str]:
        """The body's fields."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


def read_head(head: bytes) -> tuple[str, str, list[tuple[str, str]]]:
    """Read method, target and header lines."""
    first, *rest = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    lines = [line.split(": ", 1) for line in rest]
    return method, target, [(name, value) for name, value in lines]


class _KeepingReader(asyncio.StreamReader):
    """Keeps every byte that arrives, read or not."""

    def __init__(self) -> None:
        super().__init__()
        self.received = bytearray()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.received.extend(data)
        super().feed_data(data)


class Connection:
    """One connection that a client has opened."""

    def __init__(
        self, server: "Server", reader: _KeepingReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.is_over = False

    @property
    def received(self) -> bytes:
        """Every byte that has arrived, read or not."""
        return bytes(self.reader.received)

    async def read_head(self) -> bytes:
        """Read up to and with the empty line."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def read_request(self) -> Received:
        """Read one whole request; asyncio.IncompleteReadError when the client has closed."""
        method, target, lines = read_head(await self.read_head())
        length = {name.lower(): value for name, value in lines}.get("content-length", "0")
        body = await self.reader.readexactly(int(length))
        request = Received(method, target, lines, body)
        self.server.requests.append(request)
        self.server.note()
        return request

    async def write(self, octets: bytes) -> None:
        """Write bytes."""
        self.writer.write(octets)
        await self.writer.drain()

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Connection], Awaitable[object]]


class Server:
    """Plays a script for each connection, and closes the connection when the script ends."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.connections: list[Connection] = []
        self.requests: list[Received] = []
        self._script = script
        self._tls = tls
        self._changed = asyncio.Event()
        self._players: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: asyncio.StreamReaderProtocol(_KeepingReader(), self._play),
            HOST,
            0,
            ssl=self._tls,
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop whatever is open."""
        self._server.close()
        await settle()
        for player in self._players:
            player.cancel()
        await asyncio.gather(*self._players, return_exceptions=True)
        for connection in self.connections:
            connection.writer.transport.abort()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()
        await self._server.wait_closed()

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"{self.origin}/checkout"

    @property
    def received(self) -> bytes:
        """Every byte that has arrived over any connection."""
        return b"".join(connection.received for connection in self.connections)

    @property
    def open_connections(self) -> int:
        """How many connections neither side has closed."""
        return sum(not connection.is_over for connection in self.connections)

    def note(self) -> None:
        """Let whoever waits look again."""
        self._changed.set()
        self._changed.clear()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of this server."""
        while not holds():
            await self._changed.wait()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _KeepingReader)
        connection = Connection(self, reader, writer)
        player = asyncio.current_task()
        assert player is not None
        self._players.add(player)
        self.connections.append(connection)
        self.note()
        try:
            await self._script(connection)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone, which a script need not foresee
        finally:
            connection.is_over = True
            writer.close()
            self._players.discard(player)
            self.note()


class GatewayServer(Server):
    """Answers every request well, as soon as its gate is open."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(self._serve, tls=tls)
        self.gate = asyncio.Event()
        self.gate.set()
        self.busy = 0
        self.peak = 0

    async def _serve(self, connection: Connection) -> None:
        while True:
            request = await connection.read_request()
            self.busy += 1
            self.peak = max(self.peak, self.busy)
            self.note()
            await self.gate.wait()
            # Before the answer, since the client may send the next request right after it.
            self.busy -= 1
            await connection.write(http_answer(answer_to(request)))
            if request.headers.get("connection") == "close":
                return


class ProxyServer(Server):
    """An HTTP proxy that opens tunnels; ``answer`` says what it says to CONNECT instead."""

    def __init__(self, answer: bytes | None = None) -> None:
        super().__init__(self._serve)
        self.answer = answer
        self.tunnels: list[str] = []

    async def _serve(self, connection: Connection) -> None:
        method, target, _ = read_head(await connection.read_head())
        assert method == "CONNECT"
        self.tunnels.append(target)
        if self.answer is not None:
            await connection.write(self.answer)
            return
        host, _, port = target.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            await connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(connection.reader, writer), _pump(reader, connection.writer))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
    writer.close()


async def settle() -> None:
    """Let everything that is ready run, to see that nothing more happens."""
    for _ in range(20):
        await asyncio.sleep(0)


def pairs(**fields: str) -> bytes:
    """Write an answer as the gateway does; underscores stand for hyphens."""
    return "\n&".join(
        f"{key.replace('_', '-')}={quote_plus(text)}" for key, text in fields.items()
    ).encode()


def answer_to(request: Received) -> bytes:
    """Answer as the gateway does when all is well."""
    ours = request.form["client_orderid"]
    if "/status/" in request.target:
        return pairs(
            type="status-response",
            status="processing",
            paynet_order_id=ORDER,
            merchant_order_id=ours,
        )
    return pairs(
        type="async-response",
        serial_number="00000000-0000-0000-0000-0000000000ab",
        merchant_order_id=ours,
        paynet_order_id=request.form.get("orderid", ORDER),
        end_point_id="39915",
    )


def http_answer(body: bytes, status: int = 200) -> bytes:
    """Write a whole HTTP answer, like the gateway without a reason phrase."""
    head = f"HTTP/1.1 {status} \r\nContent-Type: text/html;charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def verified(request: Received, origin: str, *, bits: int = 2048) -> dict[str, str]:
    """Give the OAuth fields of a request whose signature both we and oauthlib have verified."""
    header, url, pem = request.headers["authorization"], origin + request.target, public_pem(bits)
    parameters = oracle.collect_parameters(
        body=request.body.decode(), headers={"Authorization": header}
    )
    seen = SimpleNamespace(
        params=parameters,
        uri=url,
        http_method=request.method,
        signature=unquote(dict(parse_authorization_header(header))["oauth_signature"]),
    )
    assert oracle.verify_rsa_sha256(seen, pem.decode())
    return verify_authorization(
        header, request.method, url, body_parameters(request.body), public_key=pem
    )


def tls_contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate for loopback; give the server's side and that of a client it trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test gateway")])
    now = dt.datetime.now(dt.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = directory / "gateway.pem"
    file.write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())
