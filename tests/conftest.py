"""A browser for the tests that look at pages, and signals as the commands under test want them."""

import signal
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio
from browser import PATIENCE, Browser, Session, running_browser

pytest_plugins = ["pytester"]  # for the sessions inside test_testing_sessions.py


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let commands hear Ctrl-C although a shell has started the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One browser for all tests of this module."""
    with running_browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest_asyncio.fixture
async def browser(session: Session) -> AsyncIterator[Browser]:
    """A page that remembers nothing; the console must have nothing to say after the test."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        page = Browser(session, http)
        await page.make_new()
        yield page
        assert await page.complaints() == []
