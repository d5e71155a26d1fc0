"""What a browser finds at the sandbox: the receiver's form, the orders and the switches for faults.

Only a browser or program on this machine gets in, and only pages of the sandbox itself may change
a switch: a web page elsewhere can neither read nor set anything through somebody's browser.
"""

import base64
import contextlib
import functools
import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

import attrs
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ..core.models import is_loopback
from ..core.parameters import amount_text
from ..errors import ConfigurationError, InvalidInput, Problem
from ..gateway.wire import FORM
from .callbacks import Delivery, Postman, final_redirect
from .faults import FAULTS, Faults
from .gateway import Gateway
from .orders import Happening, Order
from .wire import read_form

__all__ = [
    "HEADERS",
    "Site",
    "content_type",
    "done_page",
    "final_redirect_page",
    "form_page",
    "orders_page",
    "read_body",
    "unknown_page",
]


def form_page(*, amount: str, currency: str, action: str, paynet_order_id: str) -> str:
    """Ask the receiver to confirm or cancel a payout, as their bank's page would.

    The form posts ``decision``, which is ``confirm`` or ``cancel``, and ``code``, to ``action``.
    """
    return _single(
        "Confirm your payout",
        f"""\
<p class="brand">Sandbox Bank</p>
{_NOTICE}
<h1>Confirm your payout</h1>
<p class="amount number">{escape(amount)} <span class="currency">{escape(currency)}</span></p>
<dl class="facts">
<dt>Order</dt><dd class="number">{escape(paynet_order_id)}</dd>
<dt>Goes to</dt><dd>your account</dd>
</dl>
<form method="post" action="{escape(action)}" accept-charset="utf-8">
<div>
<label for="code">One-time code</label>
<input id="code" name="code" autocomplete="one-time-code" inputmode="numeric" maxlength="64"
 spellcheck="false" aria-describedby="hint" required>
<p class="hint soft small" id="hint">A bank would have sent it to you. Here any code will do.</p>
</div>
<div class="buttons">
<button name="decision" value="confirm" class="main">Confirm</button>
<button name="decision" value="cancel" formnovalidate>Cancel</button>
</div>
</form>""",
    )


def final_redirect_page(*, url: str, fields: Mapping[str, str]) -> str:
    """Send the receiver's browser back to the merchant with a POST of these fields."""
    hidden = "\n".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(text)}">'
        for name, text in fields.items()
    )
    return _single(
        "Back to the merchant",
        f"""\
<p class="brand">Sandbox Bank</p>
<h1>You are being taken back</h1>
<p>Your answer has been noted. If nothing happens, go on yourself.</p>
<form method="post" action="{escape(url)}" accept-charset="utf-8">
{hidden}
<div class="buttons"><button class="main">Continue</button></div>
</form>
<script>{_SUBMIT}</script>""",
    )


def done_page(*, is_confirmed: bool, paynet_order_id: str) -> str:
    """Tell the receiver that all is said, when the merchant has no page for them."""
    title = "Payout confirmed" if is_confirmed else "Payout cancelled"
    return _single(
        title,
        f"""\
<p class="brand">Sandbox Bank</p>
{_NOTICE}
<h1>{title}</h1>
<p>Order <span class="number">{escape(paynet_order_id)}</span> has your answer.
 You can close this page.</p>""",
    )


def unknown_page() -> str:
    """Tell whoever follows a link that it leads nowhere, or no longer."""
    return _single(
        "Link not valid",
        f"""\
<p class="brand">Sandbox Bank</p>
{_NOTICE}
<h1>This link is not valid</h1>
<p>It has been used, has expired, or was never given out.
 Ask the one who sent it to you for a new one.</p>""",
    )


def orders_page() -> str:
    """Show the orders live, and the switches for faults."""
    body = f"{_ORDERS_BODY}<script>{_ORDERS_SCRIPT}</script>"
    return _html_page("Orders of the built-in sandbox", body, _STYLE + _ORDERS_STYLE)


def _single(title: str, content: str) -> str:
    """Put content on one sheet in the middle of a page."""
    return _html_page(title, f'<div class="single"><main>\n{content}\n</main></div>', _STYLE)


def _html_page(title: str, body: str, style: str) -> str:
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{escape(title)} · Built-in sandbox</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _static(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Name a style or script in a policy by what it says."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_FOLDER: Final = Path(__file__).with_name("static")
_NOTICE: Final = '<p class="notice">This is a sandbox. No money moves.</p>'
_STYLE: Final = _static("pages.css")
_ORDERS_STYLE: Final = _static("orders.css")
_ORDERS_BODY: Final = _static("orders.html")
_ORDERS_SCRIPT: Final = _static("orders.js")
# A field may be called "submit", so the form's own method is not asked by its name on the form.
_SUBMIT: Final = "HTMLFormElement.prototype.submit.call(document.forms[0])"

HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(_STYLE)} {_hash(_STYLE + _ORDERS_STYLE)}",
            f"script-src {_hash(_SUBMIT)} {_hash(_ORDERS_SCRIPT)}",
            "connect-src 'self'",
            "img-src data:",
            # The final redirect goes wherever the merchant wants it, but it runs nothing.
            "form-action http: https:",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Cache-Control": "no-store",
    # The link is a secret of the receiver's, so the merchant's page hears of the site alone.
    "Referrer-Policy": "origin",
    "X-Content-Type-Options": "nosniff",
}
"""What is sent with every page."""


_Handler = Callable[[Request], Awaitable[Response]]
_LONGEST_BODY: Final = 64 * 1024
_MOST_ORDERS: Final = 100


@attrs.frozen
class Site:
    """The sandbox's own pages and JSON, under ``/sandbox/``.

    Attributes:
        gateway: The model behind them.
        faults: What is to go wrong.
        postman: Who brings the callbacks.
        controls: The control secret of each merchant, by login.
        clock: Seconds since the epoch.
    """

    gateway: Gateway
    faults: Faults
    postman: Postman
    controls: Mapping[str, str] = attrs.field(repr=False)
    clock: Callable[[], float]

    def routes(self) -> list[Route]:
        """List the paths."""
        return [
            Route("/sandbox", _for_this_machine(_show_start)),
            Route("/sandbox/", _for_this_machine(_show_start)),
            Route("/sandbox/ledger", _for_this_machine(self.show_ledger)),
            Route("/sandbox/orders", _for_this_machine(self.show_orders)),
            Route("/sandbox/deliveries", _for_this_machine(self.show_deliveries)),
            Route("/sandbox/faults", _for_this_machine(self.show_faults)),
            Route("/sandbox/faults", _for_this_machine(self.set_fault), methods=["POST"]),
            Route("/sandbox/form/{token}", self.show_form),
            Route("/sandbox/form/{token}", self.submit_form, methods=["POST"]),
        ]

    async def show_ledger(self, _: Request) -> Response:
        """Answer what became of every client_orderid."""
        return JSONResponse(self.gateway.snapshot(self.clock()))

    async def show_orders(self, request: Request) -> Response:
        """Answer the newest orders with their history; ``text`` filters them, ``limit`` ends them.

        ``total`` counts all orders, ``matching`` those that fit the text: each of its words must
        be a part of an id, the amount, the currency or the status.
        """
        words = request.query_params.get("text", "").casefold().split()
        limit = request.query_params.get("limit", "")
        most = int(limit) if limit.isascii() and limit.isdigit() else _MOST_ORDERS
        at = self.clock()
        total = len(self.gateway.orders)
        newest = reversed(self.gateway.orders.values())
        fitting = [order for order in newest if _fits(order, words, at)] if words else newest
        return JSONResponse(
            {
                "total": total,
                "matching": len(fitting) if isinstance(fitting, list) else total,
                "orders": [self._order(order, at) for order in itertools.islice(fitting, most)],
            }
        )

    async def show_deliveries(self, _: Request) -> Response:
        """Answer what became of every callback, newest first."""
        return JSONResponse([_delivery(each) for each in reversed(self.postman.deliveries)])

    async def show_faults(self, _: Request) -> Response:
        """Answer what can go wrong with each command and what is switched on."""
        return JSONResponse(
            {
                "commands": {command: list(kinds) for command, kinds in FAULTS.items()},
                "faults": [attrs.asdict(each) for each in self.faults.switches()],
            }
        )

    async def set_fault(self, request: Request) -> Response:
        """Switch one fault on, or without ``fault`` all of a command off, or all of them.

        JSON or a form with ``command``, ``fault``, ``share``, ``count`` and ``seconds``, as in
        ``Faults.set``.
        """
        if not _is_from_here(request):
            return PlainTextResponse("only pages of the sandbox may set faults\n", 403)
        try:
            given = await _read_settings(request)
            command, fault = given.pop("command", None), given.pop("fault", None)
            if fault is None:
                self.faults.clear(command)
            else:
                self.faults.set(command or "", fault, **given)
        except (ConfigurationError, InvalidInput) as error:
            return PlainTextResponse(f"{error}\n", 400)
        return await self.show_faults(request)

    async def show_form(self, request: Request) -> Response:
        """Show the receiver their form, as long as it was not submitted."""
        order = self.gateway.order_of(request.path_params["token"])
        if order is None:
            return _page(unknown_page(), 404)
        return _page(
            form_page(
                amount=amount_text(order.amount, order.currency),
                currency=order.currency,
                action=request.scope["path"],
                paynet_order_id=order.paynet_order_id,
            )
        )

    async def submit_form(self, request: Request) -> Response:
        """Take the receiver's decision and send their browser back to the merchant."""
        token = request.path_params["token"]
        if self.gateway.order_of(token) is None:
            return _page(unknown_page(), 404)
        body = await read_body(request, _LONGEST_BODY)
        decision = None
        with contextlib.suppress(InvalidInput):
            decision = read_form(body or b"").get("decision")
        if decision not in ("confirm", "cancel"):
            return PlainTextResponse("decision: must be confirm or cancel\n", 400)
        is_confirmed = decision == "confirm"
        order = self.gateway.submit(token, self.clock(), is_confirmed=is_confirmed)
        if order is None:  # submitted a second time while this one was read
            return _page(unknown_page(), 404)
        sent = final_redirect(order, self.controls[order.login])
        if sent is None:
            named = order.paynet_order_id
            return _page(done_page(is_confirmed=is_confirmed, paynet_order_id=named))
        url, fields = sent
        return _page(final_redirect_page(url=url, fields=fields))

    def _order(self, order: Order, at: float) -> dict[str, object]:
        standing = order.standing(at)
        deliveries = self.postman.of(order.paynet_order_id)
        lines = [*order.history(at), *(line for each in deliveries for line in each.log)]
        return {
            "paynet_order_id": order.paynet_order_id,
            "client_orderid": order.client_orderid,
            "amount": amount_text(order.amount_at(at), order.currency),
            "currency": order.currency,
            "made_at": order.made_at,
            "status": str(standing.status),
            "order_stage": standing.order_stage,
            "error_message": standing.error_message,
            "history": _lines(lines),
            "deliveries": [_delivery(each) for each in deliveries],
        }


def _lines(lines: list[Happening]) -> list[dict[str, object]]:
    return [attrs.asdict(line) for line in sorted(lines, key=lambda line: line.at)]


def _delivery(delivery: Delivery) -> dict[str, object]:
    return {**attrs.asdict(delivery), "log": _lines(delivery.log)}


def _fits(order: Order, words: list[str], at: float) -> bool:
    amount = amount_text(order.amount_at(at), order.currency)
    status = str(order.standing(at).status)
    told = (order.paynet_order_id, order.client_orderid, amount, order.currency, status)
    text = " ".join(told).casefold()
    return all(word in text for word in words)


async def _show_start(request: Request) -> Response:
    if not request.scope["path"].endswith("/"):
        return RedirectResponse("/sandbox/")
    return _page(orders_page())


def _page(html: str, code: int = 200) -> Response:
    return Response(html, code, headers=dict(HEADERS))


def _for_this_machine(handler: _Handler) -> _Handler:
    """Refuse a request for another host: somebody's name that was made to point to this machine."""

    @functools.wraps(handler)
    async def guarded(request: Request) -> Response:
        if not is_loopback(request.url.hostname or ""):
            return PlainTextResponse("ask for this machine by its own address\n", 403)
        return await handler(request)

    return guarded


def _is_from_here(request: Request) -> bool:
    """Tell whether no web page of another site has sent a request; programs say neither."""
    origin = request.headers.get("origin")
    own = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
    fetch_site = request.headers.get("sec-fetch-site")
    return origin in (None, own) and fetch_site in (None, "same-origin", "none")


async def _read_settings(request: Request) -> dict[str, Any]:
    """Read the fields of a fault, JSON or form; what is null or empty is not given.

    Raises:
        InvalidInput: They cannot be read, or one of them is unknown or no number.
    """
    body = await read_body(request, _LONGEST_BODY)
    if body is None:
        raise InvalidInput((Problem("body", "is too long or cut"),))
    given: object = None
    if content_type(request) == FORM:
        given = read_form(body)
    elif content_type(request) == "application/json":
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(body)
    if not isinstance(given, dict):
        raise InvalidInput((Problem("body", "must be a JSON object or a form"),))
    settings = {name: value for name, value in given.items() if value not in (None, "")}
    problems = [Problem(str(name), "is unknown") for name in settings.keys() - _SETTINGS.keys()]
    for name in settings.keys() & _SETTINGS.keys():
        kind = _SETTINGS[name]
        try:
            settings[name] = kind(str(settings[name]))
        except ValueError:
            problems.append(Problem(name, "must be a number"))
    if problems:
        raise InvalidInput(tuple(problems))
    return settings


_SETTINGS: Final[Mapping[str, Callable[[str], object]]] = {
    "command": str,
    "fault": str,
    "share": float,
    "count": int,
    "seconds": float,
}


def content_type(request: Request) -> str:
    """Tell the type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


async def read_body(request: Request, longest: int) -> bytes | None:
    """Read the body; None if it is too long or was cut.

    A body that is too long is read to its end all the same, and forgotten: a client that is still
    writing when the connection closes would never see the answer.
    """
    body = bytearray()
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= longest:
                body += chunk
    except ClientDisconnect:
        return None
    return bytes(body) if size <= longest else None
