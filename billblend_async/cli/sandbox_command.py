"""The ``sandbox`` command: the built-in sandbox, with its settings on the screen."""

import argparse
import asyncio
import contextlib
import shlex
import tempfile
from pathlib import Path

from ..errors import ConfigurationError
from ..sandbox.faults import FAULTS, Switch, read_switch
from ..sandbox.scenarios import SCENARIOS
from .console import end_on_signals

__all__ = ["add_sandbox"]


def add_sandbox(parser: argparse.ArgumentParser) -> None:
    """Give ``billblend sandbox`` its options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{_faults()}\n\n{_accounts()}"
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one")
    parser.add_argument("--validation", type=float, default=2.0, help="seconds the bank takes")
    parser.add_argument("--processing", type=float, default=2.0, help="seconds a payment takes")
    parser.add_argument(
        "--fault",
        type=_switch,
        action="append",
        default=[],
        metavar="COMMAND:FAULT[:HOW-OFTEN[:SECONDS]]",
        help="let something go wrong; may be given several times (see below)",
    )
    parser.add_argument(
        "--no-callbacks", dest="callbacks", action="store_false", help="send no callbacks"
    )
    # For whoever starts it beside itself, and has its own use for a terminal's Ctrl-C.
    parser.add_argument("--ignore-interrupt", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(arguments))
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    """Print the settings to use with a new sandbox, and serve it until cancelled."""
    from ..sandbox.server import Sandbox

    end_on_signals(ignore_interrupt=arguments.ignore_interrupt)
    sandbox = Sandbox(
        port=arguments.port,
        validation=arguments.validation,
        processing=arguments.processing,
        callbacks=arguments.callbacks,
    )
    for switch in arguments.fault:
        sandbox.faults.add(switch)
    with tempfile.TemporaryDirectory(prefix="billblend-sandbox-") as directory:
        async with sandbox:
            exports = await asyncio.to_thread(sandbox.export, Path(directory))
            print("# The built-in sandbox is running on this machine; Ctrl-C stops it.")
            print(f"# Its orders and the switches for faults: {sandbox.page_url}")
            print("# Use these settings (BILLBLEND_BASE_URL=sandbox is the gateway's own sandbox):")
            lines = (f"export {name}={shlex.quote(value)}" for name, value in exports.items())
            print("\n".join(lines), flush=True)
            with contextlib.suppress(asyncio.CancelledError):
                await sandbox.wait()


def _switch(text: str) -> Switch:
    reason = ""
    try:
        return read_switch(text)
    except ConfigurationError as error:
        reason = str(error)
    raise argparse.ArgumentTypeError(reason)


def _faults() -> str:
    lines = [f"  {command}: {', '.join(faults)}" for command, faults in FAULTS.items()]
    return "\n".join(
        [
            "faults, by command; HOW-OFTEN is a share (0.1), a count (x3) or both (0.1x3):",
            *lines,
        ]
    )


def _accounts() -> str:
    lines = [f"  {account}  {scenario.tale}" for account, scenario in SCENARIOS.items()]
    return "\n".join(["what happens to a payout, by its account_number:", *lines])
