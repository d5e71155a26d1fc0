"""A second gateway, written from the documents alone: threads, oauthlib, no code of ours."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote_plus

import attrs
from oauthlib.oauth1.rfc5849.signature import verify_rsa_sha256
from oauthlib.oauth1.rfc5849.utils import parse_authorization_header, unescape

LOGIN, CONTROL, ENDPOINT = "TestMerchant", "AF4B5DE6-3468-424C-A922-C1DAD7CB4509", 39915
ENDINGS = {"1234567890": "approved", "0987654321": "declined", "1987654321": "error"}


@attrs.define
class Order:
    """An order as this gateway keeps it."""

    number: str
    fields: dict[str, str]
    checked_at: float
    paid_at: float | None = None


@attrs.define
class OtherGateway:
    """What it knows and what it was asked.

    Attributes:
        public_key: The merchant's public key, PEM.
        style: How it writes its answers: ``lf`` as documented, ``trailing`` with LF after every
            value, ``plain`` without any, or ``loud`` with capitals and spaces.
        asked: Each request: command, client_orderid, instant.
        wrong: Requests whose signature or control did not verify.
    """

    public_key: str
    style: str = "lf"
    delay: float = 0.5
    base_url: str = ""
    orders: list[Order] = attrs.Factory(list)
    asked: list[tuple[str, str, float]] = attrs.Factory(list)
    wrong: list[str] = attrs.Factory(list)
    lock: Any = attrs.Factory(threading.Lock)

    def serve(self, command: str, fields: dict[str, str]) -> dict[str, str]:
        """Answer a request that verified."""
        now = time.time()
        self.asked.append((command, fields.get("client_orderid", ""), now))
        if command == "payout-check":
            order = Order(str(700000 + len(self.orders)), fields, now)
            self.orders.append(order)
            return self.created(order)
        order = next(
            o for o in self.orders if o.fields["client_orderid"] == fields["client_orderid"]
        )
        if command == "payout-pay":
            assert (order.number, LOGIN) == (fields["orderid"], fields["login"])
            order.paid_at = now
            return self.created(order)
        return self.status(order, now)

    def created(self, order: Order) -> dict[str, str]:
        """Acknowledge an order."""
        return {
            "type": "async-response",
            "serial-number": "00000000-0000-0000-0000-0000000003bd",
            "merchant-order-id": order.fields["client_orderid"],
            "paynet-order-id": order.number,
        }

    def status(self, order: Order, now: float) -> dict[str, str]:
        """Tell where an order stands."""
        status, stage = "processing", "payout_check_validating"
        if order.paid_at is not None:
            stage = "payout_processing"
            if now - order.paid_at > self.delay:
                status = ENDINGS[order.fields["account_number"]]
                stage = f"payout_{status}"
        elif now - order.checked_at > self.delay:
            stage = "payout_check_validated"
        return {
            "type": "status-response",
            "serial-number": "00000000-0000-0000-0000-0000000003be",
            "merchant-order-id": order.fields["client_orderid"],
            "paynet-order-id": order.number,
            "status": status,
            "order-stage": stage,
            "amount": order.fields["amount"],
            "something-new": "a b&c=d",
        }

    def write(self, fields: dict[str, str]) -> bytes:
        """Write an answer in this gateway's style."""
        if self.style == "loud":
            fields = {
                k: v.upper() if k in ("status", "order-stage") else v for k, v in fields.items()
            }
        pairs = [f"{name}={quote_plus(value)}" for name, value in fields.items()]
        text = {
            "lf": "\n&".join(pairs),
            "trailing": "".join(f"&{pair}\n" for pair in pairs)[1:],
            "plain": "&".join(pairs),
            "loud": "\r\n&".join(pairs) + "\r\n",
        }[self.style]
        return text.encode()

    def verifies(self, version: str, command: str, header: str, url: str, body: str) -> bool:
        """Verify a request as the documents say."""
        pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=True)
        fields = dict(pairs)
        if version == "v2":
            text = LOGIN + fields["client_orderid"] + fields.get("orderid", "") + CONTROL
            return (
                command == "status" and fields["control"] == hashlib.sha1(text.encode()).hexdigest()
            )
        given = {name: unescape(value) for name, value in parse_authorization_header(header)}
        signature = given.pop("oauth_signature")
        request = SimpleNamespace(
            http_method="POST", uri=url, params=[*pairs, *given.items()], signature=signature
        )
        signed: bool = verify_rsa_sha256(request, self.public_key)
        return signed and given["oauth_consumer_key"] == LOGIN


@contextmanager
def other_gateway(public_key: str, style: str) -> Iterator[OtherGateway]:
    """Run the second gateway in threads on a free loopback port."""
    gateway = OtherGateway(public_key, style)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Verify and answer."""
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            _, _, _, version, command, endpoint = self.path.split("/")
            url = f"http://{self.headers['Host']}{self.path}"
            header = self.headers.get("Authorization", "")
            with gateway.lock:
                if endpoint != str(ENDPOINT) or not gateway.verifies(
                    version, command, header, url, body
                ):
                    gateway.wrong.append(command)
                    self.answer(403, b"<html><body><p>Access is denied</p></body></html>")
                    return
                fields = dict(parse_qsl(body, keep_blank_values=True))
                self.answer(200, gateway.write(gateway.serve(command, fields)))

        def answer(self, status: int, body: bytes) -> None:
            """Send an answer."""
            self.send_response(status, "")
            self.send_header("Content-Type", "text/html;charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base's word
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    gateway.base_url = f"http://127.0.0.1:{server.server_address[1]}/checkout"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
