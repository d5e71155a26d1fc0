"""The command that lets living processes go on with the payouts of dead ones."""

import argparse
import asyncio
import os
from typing import Final

from ..errors import ConfigurationError
from ..journal.location import read_address

__all__ = ["add_take_over"]

_DATABASE: Final = "DBOS_SYSTEM_DATABASE_URL"


def add_take_over(parser: argparse.ArgumentParser) -> None:
    """Give ``billblend take-over`` its options."""
    parser.add_argument("executor", nargs="+", help="the executor_id of each process that is dead")
    parser.add_argument(
        "--database",
        type=read_address,
        metavar="URL",
        help="DBOS's system database, without a password: see PGPASSWORD (default: "
        f"{_DATABASE} from the environment)",
    )
    parser.add_argument("--name", default="billblend", help="the engine's name")
    parser.add_argument("--schema", default="dbos", help="DBOS's dbos_system_schema")
    parser.set_defaults(run=_take_over)


def _take_over(arguments: argparse.Namespace) -> int:
    from ..integrations.dbos import take_over

    database = arguments.database or os.environ.get(_DATABASE, "").strip()
    if not database:
        raise ConfigurationError(f"give DBOS's system database in --database or {_DATABASE}")
    taken = asyncio.run(
        take_over(database, arguments.executor, name=arguments.name, schema=arguments.schema)
    )
    who = ", ".join(arguments.executor)
    print(f"{taken:,} payout(s) of {who} go on with whoever takes them from the queue.")
    return 0
