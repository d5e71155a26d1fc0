"""What everything was measured on."""

import os
import platform
import sqlite3
import ssl
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

from .postgres import find_programs

__all__ = ["describe_machine"]

_LIBRARIES: Final = (
    "billblend-async",
    "httpx",
    "cryptography",
    "tenacity",
    "attrs",
    "aiohttp",
    "pyreqwest",
    "uvloop",
    "psycopg",
    "dbos",
    "requests",
    "requests-oauthlib",
)


def describe_machine() -> dict[str, str]:
    """Name the machine, its system, Python, and the libraries with their versions."""
    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "journal": f"SQLite {sqlite3.sqlite_version} on {_file_system()}",
        "server": _postgres(),
        "TLS": ssl.OPENSSL_VERSION,
        "libraries": ", ".join(
            f"{name} {version}" for name in _LIBRARIES if (version := _version(name))
        ),
    }


def _postgres() -> str:
    programs = find_programs()
    if programs is None:
        return "no PostgreSQL"
    asked = (programs / "postgres", "--version")
    return subprocess.run(asked, capture_output=True, check=True, text=True).stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


def _file_system() -> str:
    """Name the kind of the file system that the journals lie on: durable costs nothing on some."""
    folder = Path(tempfile.gettempdir()).resolve()
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "an unknown file system"
    mounts = {Path(where): kind for _, where, kind, *_ in map(str.split, lines)}
    return next(mounts[path] for path in (folder, *folder.parents) if path in mounts)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
