"""Which extra brings a package that the core does without."""

from typing import Final

__all__ = ["advice"]

_EXTRAS: Final = {
    "aiohttp": "aiohttp",
    "dbos": "dbos",
    "openpyxl": "xlsx",
    "psycopg": "postgres",
    "rich": "cli",
    "starlette": "cli",
    "uvicorn": "cli",
}


def advice(missing: ModuleNotFoundError) -> str | None:
    """Say how to install what is missing; None when no extra of ours brings it."""
    package = (missing.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return None
    extra = _EXTRAS[package]
    return f"{package} is missing; install it with: pip install 'billblend-async[{extra}]'"
