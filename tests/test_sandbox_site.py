"""What a browser finds at the sandbox, and what it may not do from elsewhere."""

import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import attrs
import httpx
import pytest
from merchants import AT, FIRST, SECRET, Caller, Clock, Unserved, check, pay, payout
from rsa_keys import PEM_2048

from billblend_async.gateway.signing import control
from billblend_async.sandbox.faults import FAULTS
from billblend_async.sandbox.gateway import Gateway
from billblend_async.sandbox.web import HEADERS

ROOT = "http://127.0.0.1:8080"
REDIRECT = "2000000001"
ONE_URL = "http://127.0.0.1:9/back?cart=7"


@attrs.frozen
class Visitor:
    """A browser without scripts, and the gateway that it visits."""

    http: httpx.AsyncClient
    gateway: Gateway
    clock: Clock
    caller: Caller

    async def get(self, path: str, **settings: Any) -> httpx.Response:
        return await self.http.get(f"{ROOT}{path}", **settings)

    async def post(self, path: str, **settings: Any) -> httpx.Response:
        return await self.http.post(f"{ROOT}{path}", **settings)

    async def faults(self) -> list[dict[str, Any]]:
        """What is switched on."""
        set_now: list[dict[str, Any]] = (await self.get("/sandbox/faults")).json()["faults"]
        return set_now

    def link(self, **changes: str) -> str:
        """Make a payout that waits for its receiver; give the path of the link."""
        payout(self.gateway, AT, account_number=REDIRECT, **changes)
        newest = next(reversed(self.gateway.orders.values()))
        return f"/sandbox/form/{newest.token}"


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    """Visit the app itself."""
    clock = Clock()
    unserved = Unserved(PEM_2048, clock)
    transport = httpx.ASGITransport(unserved.app())
    async with httpx.AsyncClient(transport=transport, verify=False) as http:
        yield Visitor(http, unserved.gateway, clock, Caller(http, unserved))


class Form(HTMLParser):
    """Reads where a page's form goes and what it holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action, self.method = "", ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action, self.method = given["action"], given["method"]
        elif tag == "input" and given.get("type") == "hidden":
            self.fields[given["name"]] = given["value"]


class TestForm:
    async def test_link_is_the_form(self, visitor: Visitor) -> None:
        """The link that status gives leads to the form, which posts back to itself."""
        visitor.link()
        told = visitor.gateway.orders[FIRST]
        link = f"{visitor.gateway.site}/sandbox/form/{told.token}"

        page = await visitor.get(httpx.URL(link).path)
        assert 200 == page.status_code
        assert "10.42" in page.text
        assert FIRST in page.text
        form = Form(page.text)
        assert ("post", httpx.URL(link).path) == (form.method, form.action)
        for name, value in HEADERS.items():
            assert value == page.headers[name]

    @pytest.mark.parametrize(
        ("decision", "word", "why"),
        [("confirm", "approved", "null"), ("cancel", "declined", "Cancelled by the receiver")],
    )
    async def test_sent_back(self, visitor: Visitor, decision: str, word: str, why: str) -> None:
        """The browser is sent back with a POST of the documented fields to the merchant's URL."""
        link = visitor.link(redirect_url=ONE_URL)

        form = Form((await visitor.post(link, data={"decision": decision})).text)
        assert ("post", ONE_URL) == (form.method, form.action)
        assert (word, why) == (form.fields["status"], form.fields["error_message"])
        assert control(word, FIRST, "po-1", SECRET) == form.fields["control"]
        visitor.clock.now += 2
        assert word == visitor.gateway.orders[FIRST].standing(visitor.clock.now).status

    async def test_odd_characters(self, visitor: Visitor) -> None:
        """What a merchant has written comes back as it was, and never as a part of the page."""
        data = "\"><script>alert('1')</script>&amp;"
        link = visitor.link(redirect_url=ONE_URL, merchant_data=data)

        page = await visitor.post(link, data={"decision": "confirm"})
        assert data == Form(page.text).fields["merchantdata"]
        assert "<script>alert" not in page.text

    async def test_nowhere_to_go(self, visitor: Visitor) -> None:
        """Without a URL of the merchant's the receiver is told that all is done."""
        page = await visitor.post(visitor.link(), data={"decision": "confirm"})

        assert 200 == page.status_code
        assert "confirmed" in page.text
        assert "" == Form(page.text).action

    async def test_used_link(self, visitor: Visitor) -> None:
        """A link that was used or never given is not found, and changes nothing."""
        link = visitor.link()
        await visitor.post(link, data={"decision": "confirm"})

        for path in (link, "/sandbox/form/form-1", "/sandbox/form/%00"):
            for answer in (
                await visitor.get(path),
                await visitor.post(path, data={"decision": "cancel"}),
            ):
                assert 404 == answer.status_code
                assert "not valid" in answer.text
        assert 1 == visitor.gateway.paid("po-1")

    @pytest.mark.parametrize("body", [b"", b"decision=maybe", b"\xff", b"decision=" + b"x" * 99999])
    async def test_no_decision(self, visitor: Visitor, body: bytes) -> None:
        """A form without a decision is a bad request, and the link stays good."""
        link = visitor.link()

        assert 400 == (await visitor.post(link, content=body)).status_code
        assert 200 == (await visitor.get(link)).status_code


class TestOrders:
    async def test_newest_first(self, visitor: Visitor) -> None:
        """The orders are listed newest first, each with where it stands and its history."""
        check(visitor.gateway)
        pay(visitor.gateway, AT + 2)
        check(visitor.gateway, AT + 3, client_orderid="po-2", account_number="3000000003")
        visitor.clock.now = AT + 5

        answer = (await visitor.get("/sandbox/orders")).json()
        assert (2, 2) == (answer["total"], answer["matching"])
        second, first = answer["orders"]
        assert {
            "paynet_order_id": FIRST,
            "client_orderid": "po-1",
            "amount": "10.42",
            "currency": "USD",
            "made_at": AT,
            "status": "approved",
            "order_stage": "payout_approved",
            "error_message": None,
            "history": [
                {"at": AT, "what": "made"},
                {"at": AT + 2, "what": "validated"},
                {"at": AT + 2, "what": "paid"},
                {"at": AT + 4, "what": "final: approved"},
            ],
            "deliveries": [],
        } == first
        assert ("declined", "Declined by the bank") == (second["status"], second["error_message"])

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("", ["po-3", "po-2", "po-1"]),
            ("po-2", ["po-2"]),
            ("PO", ["po-3", "po-2", "po-1"]),
            (FIRST, ["po-1"]),
            ("7 usd", ["po-3"]),
            ("declined", ["po-2"]),
            ("decl", ["po-2"]),
            ("10.4 po-1", ["po-1"]),
            ("10.4 po-3", []),
        ],
    )
    async def test_filter(self, visitor: Visitor, text: str, names: list[str]) -> None:
        """A text filters by id, amount, currency or status; all its words must fit."""
        payout(visitor.gateway)
        payout(visitor.gateway, client_orderid="po-2", account_number="0987654321")
        payout(visitor.gateway, client_orderid="po-3", amount="7")
        visitor.clock.now = AT + 2

        answer = (await visitor.get("/sandbox/orders", params={"text": text})).json()
        assert names == [order["client_orderid"] for order in answer["orders"]]
        assert (3, len(names)) == (answer["total"], answer["matching"])

    async def test_limit(self, visitor: Visitor) -> None:
        """At most a hundred are listed, or as many as the limit says."""
        for _ in range(120):
            payout(visitor.gateway)

        for limit, count in (("", 100), ("7", 7), ("0", 0), ("-1", 100), ("500", 120)):
            answer = (await visitor.get("/sandbox/orders", params={"limit": limit})).json()
            assert (120, count) == (answer["matching"], len(answer["orders"]))

    async def test_no_receiver(self, visitor: Visitor) -> None:
        """No page and no list shows an account, a card or the receiver's link."""
        payout(visitor.gateway, account_number="12345678901234")
        link = visitor.link(client_orderid="po-2")
        for path in ("orders", "ledger", "deliveries", "faults", ""):
            page = await visitor.get(f"/sandbox/{path}")
            assert 200 == page.status_code
            assert "12345678901234" not in page.text
            assert link not in page.text

    async def test_start(self, visitor: Visitor) -> None:
        """The start page is HTML, also for who leaves out the last slash."""
        page = await visitor.get("/sandbox", follow_redirects=True)

        assert f"{ROOT}/sandbox/" == str(page.url)
        assert page.text.startswith("<!DOCTYPE html>")


class TestFaults:
    async def test_set_and_clear(self, visitor: Visitor) -> None:
        """A fault is set by JSON or by a form, listed, and cleared by command or altogether."""
        await visitor.post(
            "/sandbox/faults",
            json={"command": "status", "fault": "delay", "share": 0.5, "seconds": 2, "count": None},
        )
        wanted = {"command": "payout", "fault": "html", "count": "3", "share": "", "seconds": ""}
        answer = await visitor.post("/sandbox/faults", data=wanted)

        assert answer.json() == (await visitor.get("/sandbox/faults")).json()
        assert dict(FAULTS) == {k: tuple(v) for k, v in answer.json()["commands"].items()}
        html = {"command": "payout", "fault": "html", "share": 1, "count": 3, "seconds": None}
        delay = {"command": "status", "fault": "delay", "share": 0.5, "count": None, "seconds": 2}
        assert [html, delay] == await visitor.faults()
        await visitor.post("/sandbox/faults", json={"command": "payout", "fault": None})
        assert [delay] == await visitor.faults()
        await visitor.post("/sandbox/faults", json={})
        assert [] == await visitor.faults()

    async def test_it_strikes(self, visitor: Visitor) -> None:
        """What is set here goes wrong there."""
        await visitor.post("/sandbox/faults", json={"command": "payout", "fault": "error_500"})
        fields = {"client_orderid": "po-1", "amount": "1", "currency": "USD"}

        assert 500 == (await visitor.caller.post("payout", fields)).status_code
        assert 1 == visitor.gateway.paid("po-1")

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"command": "pay", "fault": "html"}, "command: must be payout-check, "),
            ({"command": "payout", "fault": "lost"}, "fault: payout knows"),
            ({"fault": "html"}, "command: must be"),
            ({"command": "payout", "fault": "html", "share": 2}, "share:"),
            ({"command": "payout", "fault": "html", "share": "half"}, "share: must be a number"),
            ({"command": "payout", "fault": "html", "count": True}, "count: must be a number"),
            ({"command": "payout", "fault": "html", "often": 1}, "often: is unknown"),
            ([], "body: must be"),
            (None, "body: must be"),
        ],
    )
    async def test_wrong_settings(self, visitor: Visitor, settings: object, said: str) -> None:
        """What cannot be right is refused with a sentence, and nothing is set."""
        answer = await visitor.post("/sandbox/faults", json=settings)

        assert 400 == answer.status_code
        assert said in answer.text
        assert [] == await visitor.faults()

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b"{", "application/json"),
            (b"[" * 100_000, "application/json"),
            (b"{}", "text/plain"),
            (b"command=payout&command=status", "application/x-www-form-urlencoded"),
        ],
    )
    async def test_unreadable(self, visitor: Visitor, content: bytes, kind: str) -> None:
        """A body that is neither JSON nor a form is a bad request."""
        answer = await visitor.post(
            "/sandbox/faults", content=content, headers={"Content-Type": kind}
        )
        assert 400 == answer.status_code

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ({}, 200),
            ({"Origin": ROOT}, 200),
            ({"Origin": ROOT, "Sec-Fetch-Site": "same-origin"}, 200),
            ({"Sec-Fetch-Site": "none"}, 200),
            ({"Origin": "https://elsewhere.example"}, 403),
            ({"Origin": "http://127.0.0.1:8081"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Origin": ROOT, "Sec-Fetch-Site": "same-site"}, 403),
            ({"Host": "rebound.example:8080"}, 403),
            ({"Host": "rebound.example:8080", "Origin": "http://rebound.example:8080"}, 403),
        ],
    )
    async def test_cross_site(self, visitor: Visitor, headers: dict[str, str], code: int) -> None:
        """A web page of another site, or under a name of its own, can set nothing."""
        fault = json.dumps({"command": "payout", "fault": "html"})
        answer = await visitor.post(
            "/sandbox/faults",
            content=fault,
            headers={"Content-Type": "application/json", **headers},
        )
        assert code == answer.status_code
        assert (code == 200) is bool(await visitor.faults())

    @pytest.mark.parametrize("path", ["", "orders", "ledger", "deliveries", "faults"])
    async def test_rebound_name(self, visitor: Visitor, path: str) -> None:
        """A page whose name was made to point to this machine can read nothing either."""
        answer = await visitor.get(f"/sandbox/{path}", headers={"Host": "rebound.example"})

        assert 403 == answer.status_code
