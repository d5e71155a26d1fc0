"""``billblend doctor``: finds out why it does not work, and says what to do about it."""

import argparse
import asyncio
import json
import os

from ...journal.location import JOURNAL_HELP, read_place
from ..console import BAD_CONFIGURATION

__all__ = ["add_doctor"]


def add_doctor(doctor: argparse.ArgumentParser) -> None:
    """Give ``billblend doctor`` its options."""
    doctor.description = (
        "Look at the settings, the key, the journal and the way to the gateway, and say what to do "
        "about each. Nothing is changed and no money moves. Exit status: 0 when all is well, 4 "
        "when something must be mended."
    )
    doctor.add_argument("--journal", type=read_place, help=JOURNAL_HELP)
    doctor.add_argument("--json", action="store_true", help="one JSON object, for machines")
    doctor.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from .examination import examine
    from .findings import Verdict

    findings = asyncio.run(examine(os.environ, arguments.journal))
    counts = {verdict: sum(f.verdict is verdict for f in findings) for verdict in Verdict}
    if arguments.json:
        told = [
            {"about": f.about, "verdict": f.verdict, "told": f.told, "remedy": f.remedy}
            for f in findings
        ]
        print(json.dumps({"counts": counts, "findings": told}, indent=2))
    else:
        for finding in findings:
            print(finding)
        print(", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count))
    return BAD_CONFIGURATION if counts[Verdict.PROBLEM] else 0
