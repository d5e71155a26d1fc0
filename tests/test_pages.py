"""The sandbox's pages show what they are given, and run nothing but what is their own."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Final

import pytest

from billblend_async.sandbox import web as pages

HOSTILE: Final = "\"><script>alert(1)</script>'&amp;"
LOCAL: Final = "http://127.0.0.1/back"
VOID: Final = {"input", "link", "meta", "br", "wbr"}
PAGES: Final[dict[str, Callable[[str], str]]] = {
    "form": lambda text: pages.form_page(
        amount=text, currency=text, action=text, paynet_order_id=text
    ),
    "redirect": lambda text: pages.final_redirect_page(url=text, fields={text: text}),
    "done": lambda text: pages.done_page(is_confirmed=True, paynet_order_id=text),
    "cancelled": lambda text: pages.done_page(is_confirmed=False, paynet_order_id=text),
    "unknown": lambda _: pages.unknown_page(),
    "orders": lambda _: pages.orders_page(),
}
every_page = pytest.mark.parametrize("make", PAGES.values(), ids=PAGES)


class Reader(HTMLParser):
    """Reads a page's tags and refuses what is not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, tag: str, name: str) -> list[str | None]:
        """Give an attribute of each tag of a kind."""
        return [attributes.get(name) for each, attributes in self.tags if each == tag]


@every_page
def test_pages_are_well_formed(make: Callable[[str], str]) -> None:
    """Every page is closed in order, names its language and has one heading of the first rank."""
    reader = Reader(make("6982864"))

    assert reader.values("html", "lang") == ["en"]
    assert len(reader.values("h1", "id")) == 1
    assert len(reader.values("title", "id")) == 1


@pytest.mark.parametrize("name", ["form", "redirect", "done", "cancelled"])
def test_values_are_escaped(name: str) -> None:
    """What a merchant or a stranger puts in becomes text, never markup."""
    make = PAGES[name]
    harmless, hostile = Reader(make("x")), Reader(make(HOSTILE))

    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert "<script>alert" not in make(HOSTILE)


@every_page
def test_policy_allows_what_the_page_holds(make: Callable[[str], str]) -> None:
    """The policy names the hash of each style and script in a page, and nothing is unsafe."""
    policy = pages.HEADERS["Content-Security-Policy"]
    for kind in ("style", "script"):
        for text in re.findall(f"<{kind}>(.*?)</{kind}>", make("x"), re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


@every_page
def test_pages_load_nothing(make: Callable[[str], str]) -> None:
    """No page names anything that a browser would fetch from elsewhere."""
    page = make(LOCAL)
    reader = Reader(page)

    assert re.findall("https?://[^\"' ]*", page.replace(LOCAL, "")) == []
    assert reader.values("link", "href") == ["data:,"]
    for tag in ("script", "img", "iframe"):
        assert [src for src in reader.values(tag, "src") if src] == []


def test_form_fields() -> None:
    """The form posts a code and a decision to the address that it is given."""
    page = pages.form_page(amount="10.42", currency="USD", action="/a?b=1&c", paynet_order_id="7")
    reader = Reader(page)

    assert reader.values("form", "action") == ["/a?b=1&c"]
    assert reader.values("form", "method") == ["post"]
    assert reader.values("input", "name") == ["code"]
    assert reader.values("button", "value") == ["confirm", "cancel"]
    assert "10.42" in page


def test_final_redirect_fields() -> None:
    """The final redirect posts every field it is given, as it is given."""
    fields = {"status": "approved", "submit": "a & b", "descriptor": HOSTILE}
    reader = Reader(pages.final_redirect_page(url=LOCAL, fields=fields))

    names, texts = reader.values("input", "name"), reader.values("input", "value")
    assert dict(zip(names, texts, strict=True)) == fields
    assert reader.values("form", "action") == [LOCAL]
