"""``billblend sign``: does what the gateway's own request builder does, and sends nothing.

Each text that is shown is built anew from masked values, so no secret stands in one, however often
encoded; the signature is that of the true values.
"""

import argparse
import base64
import json
import os
import re
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from ..core.models import Endpoint
from ..core.parameters import mask_digits
from ..core.request import PARAMETER_NAMES, PARAMETERS, PayoutRequest
from ..errors import InvalidInput, Problem
from ..gateway.settings import Settings, read_settings
from ..gateway.signing import (
    authorization,
    base_string,
    control,
    normalized_parameters,
    read_authorization,
)
from ..gateway.wire import FORM, Form, RequestKind, build_form, build_payout, status_control_parts
from .options import add_reading, read_chosen

__all__ = ["Recipe", "add_sign", "build_recipe"]

MASK: Final = "MASKED"
"""Stands for a secret; no encoding changes it."""

_COMMAND: Final = re.compile(r"(?:v([24])/)?([a-z0-9]+(?:-[a-z0-9]+)*)")
_NAMES_A_PAYOUT: Final = frozenset({RequestKind.CHECK.value, RequestKind.PAYOUT.value})
_NEEDS_LOGIN: Final = frozenset({RequestKind.PAY.value, RequestKind.STATUS.value})
_OPEN: Final = frozenset({"login", "orderid", "by-request-sn", "control"})
"""Parameters beside those of a payout that may be shown; others may hold anything."""
_MOVES: Final = {
    "payout-pay": "Running this MOVES MONEY, and no journal knows of it.",
    "payout": "Running this MOVES MONEY, and no journal knows of it.",
    "payout-check": "Running this makes an order at the gateway that no journal knows of.",
    "status": "Running this only asks.",
}
_MAY_MOVE: Final = "What this command does is not known here: running it MAY MOVE MONEY."


@attrs.frozen(repr=False, kw_only=True)
class Recipe:
    """A request as it would be sent, and each step of its signature.

    Attributes:
        command: The gateway's command, without its version.
        url: Where it would go.
        parameters: What stands in its body, decoded and in order.
        fields: The OAuth fields of its header, decoded; none where a control signs it.
        authorization: The value of its Authorization header, where it has one.
        control_parts: What the control covers, without the merchant control.
    """

    command: str
    url: str
    parameters: tuple[tuple[str, str], ...]
    fields: Mapping[str, str]
    authorization: str
    control_parts: tuple[str, ...] = ()

    @property
    def is_masked(self) -> bool:
        """Whether anything of it is not shown."""
        return _masked(self.parameters) != self.parameters

    def steps(self, *, merchant_control: str = MASK, show: bool = False) -> dict[str, str]:
        """Name each step with its text.

        Args:
            merchant_control: The secret at the end of the control's source.
            show: Whether secrets are shown.
        """
        pairs = self.parameters if show else _masked(self.parameters)
        told = {"URL": f"POST {self.url}"}
        if self.fields:
            signed = {n: text for n, text in self.fields.items() if n != "oauth_signature"}
            signature = base64.b64decode(self.fields["oauth_signature"])
            every = (*pairs, *signed.items())
            told["normalized parameters"] = normalized_parameters(self.url, every)
            told["signature base string"] = base_string("POST", self.url, every)
            told["signature, Base64"] = self.fields["oauth_signature"]
            told["signature, hex"] = signature.hex()
            told["Authorization header"] = f"Authorization: {self.authorization}"
        else:
            told["control, source"] = "".join((*self.control_parts, merchant_control))
            told["control, SHA-1"] = dict(self.parameters)["control"]
        told["POST body"] = build_form(pairs).decode()
        return told

    def curl(self) -> str:
        """Write the command line that sends it, and say what it does. It holds every secret."""
        words = ["curl", "--silent", "--show-error", "--request", "POST", self.url]
        words += ["--header", f"Content-Type: {FORM}"]
        if self.authorization:
            words += ["--header", f"Authorization: {self.authorization}"]
        words += ["--data-raw", build_form(self.parameters).decode()]
        return f"# {_MOVES.get(self.command, _MAY_MOVE)}\n{shlex.join(words)}"


def build_recipe(
    settings: Settings,
    command: str,
    parameters: Iterable[tuple[str, str]],
    *,
    nonce: str,
    timestamp: int,
) -> Recipe:
    """Build a request without sending it.

    Args:
        settings: Whose request it is, and where it goes.
        command: The gateway's command, as ``payout-pay``, ``status`` or ``v2/status``; v4 is meant
            where no version is named.
        parameters: What goes into its body. The login of payout-pay and status is added, and the
            control of v2/status.
        nonce: The signature's nonce.
        timestamp: The signature's time, in seconds since the epoch.

    Raises:
        InvalidInput: The command or a parameter cannot be signed.
    """
    found = _COMMAND.fullmatch(command)
    if found is None:
        wrong = "must be a command of the gateway, such as payout-pay, status or v2/status"
        raise InvalidInput((Problem("COMMAND", wrong),))
    version, name = found[1] or "4", found[2]
    if version == "2" and name != RequestKind.STATUS:
        wrong = "with v2 only status can be signed; what other controls cover is not known here"
        raise InvalidInput((Problem("COMMAND", wrong),))
    pairs = tuple(parameters)
    login = settings.credentials.login
    if name in _NEEDS_LOGIN and "login" not in dict(pairs):
        pairs = (*pairs, ("login", login))
    url = _url(settings.endpoint, version, name)
    if version == "2":
        return _controlled(settings, url, pairs)
    header = authorization(
        settings.credentials.signer,
        login,
        "POST",
        url,
        pairs,
        nonce=nonce,
        timestamp=timestamp,
    )
    return Recipe(
        command=name,
        url=url,
        parameters=pairs,
        fields=read_authorization(header),
        authorization=header,
    )


def _url(endpoint: Endpoint, version: str, name: str) -> str:
    return f"{endpoint.base_url}/api/v{version}/{name}/{endpoint.path}"


def _controlled(settings: Settings, url: str, pairs: tuple[tuple[str, str], ...]) -> Recipe:
    """Sign a v2 status with its control (document 3.16)."""
    secret = settings.credentials.merchant_control
    if secret is None:
        wrong = "v2/status needs BILLBLEND_MERCHANT_CONTROL; set it, or use v4"
        raise InvalidInput((Problem("COMMAND", wrong),))
    normalized_parameters(url, pairs)  # finds what cannot be encoded or is given twice
    given = dict(pairs)
    if "control" in given:
        raise InvalidInput((Problem("control", "is computed here; leave it out"),))
    login, ours = given["login"], given.get("client_orderid", "")
    parts = tuple(status_control_parts(login, ours, given.get("orderid")))
    pairs = (*pairs, ("control", control(*parts, secret)))
    return Recipe(
        command=RequestKind.STATUS.value,
        url=url,
        parameters=pairs,
        fields={},
        authorization="",
        control_parts=parts,
    )


def _masked(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, text if _is_open(name) else MASK) for name, text in pairs)


def _is_open(name: str) -> bool:
    """Tell whether a parameter may be shown: only what is known to be no secret."""
    known = PARAMETER_NAMES.get(name)
    return name in _OPEN if known is None else not PARAMETERS[known].secret


# The command


def add_sign(sign: argparse.ArgumentParser) -> None:
    """Give ``billblend sign`` its options."""
    sign.description = (
        "Show how a request is signed, step by step, as the gateway's own request builder does: to "
        "compare when a signature is refused. Nothing is sent. What is secret, or not known to be "
        "none, is shown as MASKED; the signature is that of the true values."
    )
    sign.add_argument("command", metavar="COMMAND", help="payout-check, payout-pay, payout, status")
    sign.add_argument("words", nargs="*", metavar="name=value", help="the body's parameters")
    sign.add_argument(
        "--file", type=Path, metavar="JSON", help="a payout as one object; - is stdin"
    )
    sign.add_argument("--batch", type=Path, metavar="FILE", help="a payouts file, with --id")
    add_reading(sign, reads_only=True)
    sign.add_argument("--id", metavar="ID", help="the client_orderid of the payout in the file")
    sign.add_argument("--nonce", help="the nonce of a signature to reproduce")
    sign.add_argument("--timestamp", type=_seconds, help="its time, in seconds since the epoch")
    sign.add_argument("--show-secrets", action="store_true", help="mask nothing")
    sign.add_argument("--curl", action="store_true", help="end with a curl command that sends it")
    sign.add_argument("--json", action="store_true", help="one JSON object, for machines")
    sign.set_defaults(run=_sign, rest=[])


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise argparse.ArgumentTypeError("must be whole seconds since the epoch")
    return int(text)


def _sign(arguments: argparse.Namespace) -> int:
    settings = read_settings(os.environ)
    words = [*arguments.words, *arguments.rest]
    pairs = (*_payout(arguments), *_parameters(words, arguments.suggest))
    nonce = secrets.token_hex(16) if arguments.nonce is None else arguments.nonce
    if not nonce.isprintable() or not nonce:
        raise InvalidInput((Problem("--nonce", "must be printable text"),))
    timestamp = int(time.time()) if arguments.timestamp is None else arguments.timestamp
    recipe = build_recipe(settings, arguments.command, pairs, nonce=nonce, timestamp=timestamp)
    show = bool(arguments.show_secrets)
    if arguments.curl and recipe.is_masked and not show:
        wrong = "needs --show-secrets, since a masked body does not fit its signature"
        raise InvalidInput((Problem("--curl", wrong),))
    merchant_control = settings.credentials.merchant_control
    told = recipe.steps(
        merchant_control=merchant_control if show and merchant_control else MASK, show=show
    )
    if arguments.curl:
        told["curl"] = recipe.curl()
    if arguments.json:
        print(json.dumps(told, indent=2))
    else:
        print("\n\n".join(f"{name}:\n{text}" for name, text in told.items()))
        _add_notes(recipe, show=show)
    return 0


def _add_notes(recipe: Recipe, *, show: bool) -> None:
    """Say what the texts do not say by themselves."""
    if recipe.is_masked and not show:
        print(
            f"\n{MASK} stands for a secret; signature and control are those of the true values. "
            "Whoever has the public key can try a guess against the signature, so keep that too."
        )
    print("\nNothing was sent.")


def _parameters(words: Sequence[str], suggest: Callable[[str], str]) -> list[tuple[str, str]]:
    """Read name=value; what is wrong is told by its place, since it may be a card number."""
    pairs: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for number, word in enumerate(words, 1):
        name, equals, text = word.partition("=")
        if name.startswith("-"):
            hint = f"; did you mean {meant}?" if (meant := suggest(name)) else ""
            problems.append(Problem(mask_digits(name), f"is no option of billblend sign{hint}"))
            continue
        if not equals or not name:
            problems.append(Problem(f"parameter {number}", "must read name=value"))
            continue
        pairs.append((name, text))
    if problems:
        raise InvalidInput(tuple(problems))
    return pairs


def _payout(arguments: argparse.Namespace) -> Form:
    """Read the payout of --file or --batch, as it would be sent."""
    is_given = arguments.file is not None or arguments.batch is not None
    if is_given and arguments.command.removeprefix("v4/") not in _NAMES_A_PAYOUT:
        wrong = "names a payout, for payout-check and payout only; give name=value instead"
        raise InvalidInput((Problem("--file" if arguments.file else "--batch", wrong),))
    if arguments.file is not None and arguments.batch is not None:
        raise InvalidInput((Problem("--file", "excludes --batch; give one"),))
    batch = read_chosen(arguments)
    if batch is None and arguments.id is not None:
        raise InvalidInput((Problem("--id", "belongs to --batch; give that too"),))
    if arguments.file is not None:
        return build_payout(PayoutRequest.from_text(_read_object(arguments.file)))
    if batch is None:
        return Form()
    for row in batch.rows:
        if row.request.client_orderid == arguments.id:
            return build_payout(row.request)
    raise InvalidInput((Problem("--id", "names no payout of the file; look at client_orderid"),))


def _read_object(path: Path) -> dict[str, str]:
    """Read one flat JSON object; numbers keep every digit."""
    found: object = None
    reason = "holds no flat JSON object of texts and numbers"
    try:
        octets = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        found = json.loads(octets, parse_int=str, parse_float=str, parse_constant=str)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError):
        pass  # its own error holds the text
    if isinstance(found, dict) and all(isinstance(text, str) for text in found.values()):
        return found
    raise InvalidInput((Problem(f"--file {path}", reason),))
