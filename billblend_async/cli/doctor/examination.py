"""The whole examination: papers, journal, the way to the gateway, and one signed question.

Nothing is changed and no money moves: the gateway is asked about an order that nobody has made.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from ...core.responses import NoAnswer, StatusAnswer
from ...errors import BillblendError
from ...gateway.client import Client
from ...gateway.exchange import Timeouts
from ...gateway.settings import Settings
from ...journal.inspection import describe_sqlite
from ...journal.location import Place
from .findings import Finding, Verdict, fine, problem, skipped
from .network import examine_network, other_sandbox
from .papers import examine_papers, examine_versions
from .records import examine_journal

__all__ = ["examine"]

_ASKING: Final = 10.0
"""Seconds for the signed question, which are two where status v2 is used."""
_ABOUT: Final = "signed question"
_MEANINGS: Final = {
    "2": "the merchant control is wrong; take BILLBLEND_MERCHANT_CONTROL from the gateway again",
    "3": "the gateway has no merchant control for you; ask its support to set one",
    "4": "the endpoint is missing; check BILLBLEND_ENDPOINT_ID or BILLBLEND_ENDPOINT_GROUP_ID",
    "5": "the endpoint is no number to it; check BILLBLEND_ENDPOINT_ID",
    "7": "nobody has this login there; check BILLBLEND_LOGIN, BILLBLEND_ENDPOINT_ID and "
    "BILLBLEND_BASE_URL",
}
"""What the gateway's error codes about settings mean (document 5.6)."""


async def examine(
    environ: Mapping[str, str],
    journal: Place | None = None,
    *,
    wall_clock: Callable[[], float] = time.time,
) -> list[Finding]:
    """Look at everything; what is broken keeps nothing from being looked at that can be.

    Args:
        environ: The settings.
        journal: A journal to look at too.
        wall_clock: Seconds since the epoch, as signatures would carry them.

    Returns:
        What was found, in half a minute at most.
    """
    papers = examine_papers(environ)
    findings = [examine_versions(describe_sqlite()), *papers.findings]
    findings += await asyncio.to_thread(examine_journal, journal, papers.settings)
    if papers.endpoint is None:
        return [*findings, skipped("network", "BILLBLEND_BASE_URL says not where the gateway is")]
    network = await examine_network(papers.endpoint, proxies=papers.proxies, wall_clock=wall_clock)
    return [*findings, *network, await _ask(papers.settings, papers.fingerprint, network)]


async def _ask(
    settings: Settings | None, fingerprint: str | None, network: list[Finding]
) -> Finding:
    """Ask the gateway, signed, about an order that nobody has made."""
    if settings is None:
        return skipped(_ABOUT, "the settings must be mended first")
    if any(finding.verdict is Verdict.PROBLEM and finding.about != "clock" for finding in network):
        return skipped(_ABOUT, "the gateway cannot be reached")
    wrong = ""
    try:
        async with asyncio.timeout(_ASKING):
            return _read(await _probe(settings), settings, fingerprint)
    except TimeoutError:
        wrong = f"no answer within {_ASKING:g} s"
    except BillblendError as error:
        wrong = str(error)
    return problem(_ABOUT, wrong, "mend that and look again")


async def _probe(settings: Settings) -> StatusAnswer:
    endpoint = settings.endpoint
    async with Client(
        settings.credentials,
        endpoint_id=endpoint.endpoint_id,
        endpoint_group_id=endpoint.endpoint_group_id,
        base_url=endpoint.base_url,
        status_version=settings.status_version,
        poll_transport=settings.poll_transport,
        timeouts=Timeouts(connect=3.0, write=1.0, send_read=5.0, poll_read=5.0),
        max_sends=1,
        max_polls=1,
    ) as client:
        return await client.probe()


def _read(answer: StatusAnswer, settings: Settings, fingerprint: str | None) -> Finding:
    """Say what an answer means for each setting of ours."""
    if not isinstance(answer, NoAnswer):
        return fine(_ABOUT, _known(settings))
    if answer.is_about_settings:
        return problem(
            _ABOUT, f"it is refused ({answer.reason})", _MEANINGS[answer.error_code or ""]
        )
    if answer.readable:
        return fine(_ABOUT, f"{_known(settings)}; it says: {answer.reason}")
    match answer.http_status:
        case 401 | 403:
            key = f" (SHA-256 {fingerprint})" if fingerprint else ""
            login, endpoint = settings.credentials.login, settings.endpoint.path
            remedy = (
                f"have the gateway's support compare what it knows of login {login!r}, endpoint "
                f"{endpoint} and its public key with this one{key}, and ask whether it lets this "
                "machine's address in; look at the clock too"
                f"{other_sandbox(settings.endpoint.base_url)}"
            )
            return problem(_ABOUT, f"access is refused (HTTP {answer.http_status})", remedy)
        case 404 | 405 | 410 | 501:
            remedy = "check BILLBLEND_BASE_URL (it ends before /api) and the endpoint's number"
            told = f"there is no gateway at this address (HTTP {answer.http_status})"
            return problem(_ABOUT, told, remedy)
        case _:
            remedy = "try again later; if it stays so, ask the gateway's support"
            return problem(_ABOUT, f"there is no answer that can be read ({answer.reason})", remedy)


def _known(settings: Settings) -> str:
    v2 = settings.status_version != 4 and settings.credentials.merchant_control is not None
    control = " and the merchant control" if v2 else ""
    return f"the gateway knows this login, endpoint and key{control}"
