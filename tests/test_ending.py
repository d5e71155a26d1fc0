"""A signal ends a run whatever else goes wrong."""

import asyncio
import os
import signal

import pytest

from billblend_async.cli.ending import Ending


def full() -> None:
    """Tell somebody over an output that takes nothing and does not wait."""
    raise BlockingIOError(11, "stderr is full")


async def test_nobody_can_be_told() -> None:
    """The run is ended by its first signal although nobody can be told of it."""
    with Ending(on_first=full, at_cut=lambda: b"", last_words="cut") as ending:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
    assert ending.is_stopping


async def test_ignored() -> None:
    """An interrupt that the caller wants to be ignored ends no run, and SIGTERM still does."""
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Ending(on_first=lambda: None, at_cut=lambda: b"", last_words="cut") as ending:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)
            assert not ending.is_stopping
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.Event().wait(), 5)
        assert signal.SIG_IGN is signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)
