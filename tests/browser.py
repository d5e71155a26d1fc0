"""Chromium without a screen, driven over the W3C WebDriver protocol.

Debian's chromium and chromedriver are used as they are; nothing is downloaded. A browser is shared
by the tests of a module and stopped by process id, also after a test that failed.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import attrs
import httpx
import pytest

T = TypeVar("T")

NEED: Final = "BILLBLEND_NEED_BROWSER"
PATIENCE: Final = 60.0
"""Seconds that a busy machine may take for anything a test waits for."""
_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
    # Nothing but this machine exists, so that a page which wants more is seen.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class WebDriverError(Exception):
    """The driver refused a command; the first word is its own name for why."""


def find_programs() -> tuple[str, str]:
    """Find chromium and chromedriver; skip the test, or fail it where a browser is promised."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if found[0] and found[1]:
        return found[0], found[1]
    sentence = "needs Debian's packages: apt-get install chromium chromium-driver"
    if os.environ.get(NEED) == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)


@attrs.frozen
class Session:
    """A running browser: where its driver takes commands."""

    url: str
    browser_pid: int


@contextmanager
def running_browser(directory: Path) -> Iterator[Session]:
    """Run a browser whose profile is a new folder in this directory."""
    chromium, chromedriver = find_programs()
    with (directory / "chromedriver.log").open("wb") as log:
        driver = subprocess.Popen(
            [chromedriver, "--port=0"], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        port = _read_port(driver)
        session = _open_session(f"http://127.0.0.1:{port}", chromium, directory / "profile")
        try:
            yield session
        finally:
            with suppress(httpx.HTTPError):
                httpx.delete(session.url, timeout=PATIENCE)
            _stop(session.browser_pid)
    finally:
        driver.terminate()
        driver.wait(PATIENCE)
        assert driver.stdout is not None
        driver.stdout.close()


def _read_port(driver: subprocess.Popen[bytes]) -> int:
    assert driver.stdout is not None
    for line in driver.stdout:
        if b"started successfully on port " in line:
            return int(line.rstrip(b".\n").rpartition(b" ")[2])
    raise WebDriverError("chromedriver ended before it took a port")


def _open_session(origin: str, chromium: str, profile: Path) -> Session:
    options = {
        "binary": chromium,
        "args": [*_FLAGS, f"--user-data-dir={profile}"],
        "perfLoggingPrefs": {"enableNetwork": True, "enablePage": False},
    }
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    answer = httpx.post(
        f"{origin}/session", json={"capabilities": {"alwaysMatch": wanted}}, timeout=PATIENCE
    )
    value = _value(answer)
    pid = int(value["capabilities"]["goog:processID"])
    return Session(f"{origin}/session/{value['sessionId']}", pid)


def _stop(pid: int) -> None:
    """Kill the browser if it did not go when its session was closed."""
    with suppress(ProcessLookupError):
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


def _value(answer: httpx.Response) -> Any:
    value = answer.json()["value"]
    if answer.is_error:
        raise WebDriverError(f"{value['error']}: {value['message']}")
    return value


@attrs.frozen
class Element:
    """Something on the page."""

    browser: "Browser"
    id: str

    async def click(self) -> None:
        """Click it as a person does."""
        await self._do("click")

    async def type(self, text: str) -> None:
        """Type into it."""
        await self._do("value", text=text)

    async def erase(self) -> None:
        """Empty a field as a person does: mark everything and press the delete key."""
        await self.type("\ue009a\ue000\ue017")

    async def text(self) -> str:
        """Read what a person sees of it."""
        return str(await self.browser.command("GET", f"element/{self.id}/text"))

    async def role(self) -> str:
        """Read its role in the accessibility tree."""
        return str(await self.browser.command("GET", f"element/{self.id}/computedrole"))

    async def label(self) -> str:
        """Read its name in the accessibility tree."""
        return str(await self.browser.command("GET", f"element/{self.id}/computedlabel"))

    async def is_shown(self) -> bool:
        """Tell whether a person sees it."""
        return bool(await self.browser.command("GET", f"element/{self.id}/displayed"))

    async def _do(self, verb: str, **fields: str) -> None:
        await self.browser.command("POST", f"element/{self.id}/{verb}", fields)


@attrs.frozen
class Browser:
    """A page that a test looks at and acts on."""

    session: Session
    http: httpx.AsyncClient

    async def command(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send one command to the driver."""
        return _value(
            await self.http.request(
                method,
                f"{self.session.url}/{path}",
                json=(body or {}) if method == "POST" else None,
            )
        )

    async def devtools(self, name: str, **parameters: Any) -> Any:
        """Send one command of Chromium's own protocol."""
        return await self.command("POST", "goog/cdp/execute", {"cmd": name, "params": parameters})

    async def go(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        await self.command("POST", "url", {"url": url})

    async def url(self) -> str:
        """Tell where the browser is."""
        return str(await self.command("GET", "url"))

    async def title(self) -> str:
        """Read the page's title."""
        return str(await self.command("GET", "title"))

    async def find(self, css: str) -> Element:
        """Wait until something is on the page, and give the first."""

        async def look() -> Element | None:
            found = await self.find_all(css)
            return found[0] if found else None

        return await self.until(look, css)

    async def find_all(self, css: str) -> list[Element]:
        """Give everything that is on the page now."""
        body = {"using": "css selector", "value": css}
        found = await self.command("POST", "elements", body)
        return [Element(self, each[_ELEMENT]) for each in found]

    async def texts(self, css: str) -> list[str]:
        """Read everything that fits, in one look."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())"
        return [str(text) for text in await self.execute(script, css)]

    async def execute(self, script: str, *arguments: Any) -> Any:
        """Run a function's body in the page and give what it returns."""
        body = {"script": script, "args": list(arguments)}
        return await self.command("POST", "execute/sync", body)

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str) -> T:
        """Look again until there is something; a page that is being replaced is looked at again."""
        deadline = time.monotonic() + PATIENCE
        seen: T | None = None
        while time.monotonic() < deadline:
            try:
                seen = await look()
            except WebDriverError as error:
                if not str(error).startswith(
                    ("stale element", "no such element", "no such window")
                ):
                    raise
            if seen:
                return seen
            await asyncio.sleep(0.05)
        raise AssertionError(f"waited in vain for {what}; the page says:\n{await self.page_text()}")

    async def until_text(self, css: str, text: str) -> None:
        """Wait until one of the fitting elements says a text."""

        async def look() -> bool:
            return any(text in each for each in await self.texts(css))

        await self.until(look, f"{text!r} in {css}")

    async def until_texts(self, css: str, texts: list[str]) -> None:
        """Wait until the fitting elements say exactly this."""

        async def look() -> bool:
            return await self.texts(css) == texts

        await self.until(look, f"{texts} in {css}")

    async def page_text(self) -> str:
        """Read what a person sees."""
        return str(await self.execute("return document.body.innerText"))

    async def complaints(self) -> list[str]:
        """Read, and forget, what the console has been told since the last time."""
        entries = await self.command("POST", "se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] != "DEBUG"]

    async def requested(self) -> list[str]:
        """Read, and forget, every address that was asked for since the last time."""
        entries = await self.command("POST", "se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            each["params"]["request"]["url"]
            for each in events
            if each["method"] == "Network.requestWillBeSent"
        ]

    async def foreign_requests(self, *origins: str) -> list[str]:
        """Read, and forget, the requests that went elsewhere than to these origins."""
        own = {urlsplit(origin).netloc for origin in origins}
        return [
            url
            for url in await self.requested()
            if urlsplit(url).netloc not in own and not url.startswith(("data:", "about:"))
        ]

    async def screenshot(self, path: Path) -> None:
        """Keep a picture of what a person sees."""
        path.write_bytes(base64.b64decode(await self.command("GET", "screenshot")))

    async def make_new(self) -> None:
        """Forget what the last test left behind."""
        await self.go("about:blank")
        await self.command("DELETE", "cookie")
        await self.complaints()
        await self.requested()
