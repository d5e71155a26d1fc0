"""What reading, checking and reporting a file of payouts cost beside paying it.

A file is tried with ``billblend pay --dry-run``, paid against a sandbox in a process of its own at
the usual pace, and reported as a page and as a table; each command is run as people run it. ::

    python -m benchmarks.paperwork --payouts 10000

For each it prints the CPU seconds of its whole process and their share of the run's. Reading,
checking and reporting should cost less than 2 % of that, the starts of their two commands counted;
so should another dry run, when the journal knows every payout. What is short is run five times and
told as its median, with the least and the most.
"""

import argparse
import csv
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_COMMAND: Final = (sys.executable, "-m", "billblend_async")
_PATIENCE: Final = 600.0
"""Seconds that any command may take."""
_GOAL: Final = 0.02
_ROUNDS: Final = 5
_DRY_RUN: Final = "dry run"
_RUN: Final = "run"
_REPORT: Final = "report"
_AGAIN: Final = "dry run, all known"
_START: Final = "start of a command"
_COLUMNS: Final = (
    *("client_orderid", "amount", "currency", "account_number"),
    *("receiver_first_name", "receiver_last_name", "purpose"),
)


@contextmanager
def running_sandbox() -> Iterator[dict[str, str]]:
    """Run a sandbox as a process of its own and give the settings to use with it."""
    words = (*_COMMAND, "sandbox", "--port", "0", "--no-callbacks")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as sandbox:
        try:
            assert sandbox.stdout is not None
            settings: dict[str, str] = {}
            while len(settings) < 5:  # as many as it prints
                line = sandbox.stdout.readline()
                if not line:
                    sys.exit("the sandbox has ended before it told its settings")
                if line.startswith("export "):
                    name, _, value = shlex.split(line)[1].partition("=")
                    settings[name] = value
            yield settings
        finally:
            sandbox.terminate()


def write_file(path: Path, payouts: int) -> None:
    """Write a file of payouts that are all approved."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for number in range(payouts):
            amount, who = f"{number % 500 + 1}.50", ("1234567890", "Ann", "Smith")
            writer.writerow((f"payday-{number:06}", amount, "EUR", *who, f"Salary {number:06}"))


def cpu_of(words: tuple[str, ...], folder: Path, environ: Mapping[str, str]) -> float:
    """Run a command to its end and give its CPU seconds, user and system, of all its threads."""
    with (folder / "output.txt").open("w+b") as output:
        process = subprocess.Popen(
            (*_COMMAND, *words), cwd=folder, env=environ, stdout=output, stderr=output
        )
        alarm = threading.Timer(_PATIENCE, process.kill)
        alarm.start()
        try:
            _, ended, usage = os.wait4(process.pid, 0)
        finally:
            alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode:
            output.seek(0)
            told = output.read()[-2000:].decode(errors="replace")
            sys.exit(f"{' '.join(words)}: exit status {process.returncode}\n{told}")
    return usage.ru_utime + usage.ru_stime


def measure(payouts: int, folder: Path) -> dict[str, list[float]]:
    """Run every command and give the CPU seconds of each, once for each time that it ran."""
    write_file(folder / "payouts.csv", payouts)
    paths = ("payouts.csv", "--journal", "payouts.db")
    report = ("--journal", "payouts.db", "--html", "report.html", "--csv", "report.csv")
    with running_sandbox() as settings:
        kept = {name: value for name, value in os.environ.items() if "BILLBLEND" not in name}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever installs it has it compiled
        paths_of_python = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        }
        environ = {**kept, **paths_of_python, **settings}
        commands = {
            _DRY_RUN: ("pay", *paths, "--dry-run"),
            _RUN: ("pay", *paths, "--out", "results.csv"),
            _REPORT: ("report", *report),
            _AGAIN: ("pay", *paths, "--dry-run"),
            _START: ("--version",),
        }
        return {
            name: [cpu_of(words, folder, environ) for _ in range(1 if name == _RUN else _ROUNDS)]
            for name, words in commands.items()
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What does the work around a run cost?")
    parser.add_argument("--payouts", type=int, default=10_000)
    payouts = parser.parse_args().payouts
    with tempfile.TemporaryDirectory(prefix="billblend-paperwork-") as folder:
        found = measure(payouts, Path(folder))
    cost = {name: statistics.median(seconds) for name, seconds in found.items()}
    print(f"{f'{payouts:,} payouts':<22}{'CPU':>10}{'of the run':>12}   range")
    for name, times in found.items():
        told = f"{min(times):.2f} to {max(times):.2f}" if len(times) > 1 else ""
        print(f"{name:<22}{cost[name]:>8.2f} s{cost[name] / cost[_RUN]:>12.2%}   {told}".rstrip())
    print()
    goals = {
        "reading, checking and reporting": cost[_DRY_RUN] + cost[_REPORT],
        "reading and checking again": cost[_AGAIN],
    }
    for name, seconds in goals.items():
        share = seconds / cost[_RUN]
        verdict = "met" if share < _GOAL else "not met"
        print(f"{name}: {share:.2%} (goal: below {_GOAL:.0%}, {verdict})")


if __name__ == "__main__":
    main()
