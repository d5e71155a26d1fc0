"""What a PostgreSQL journal asks of its server, in SQL; ``{schema}`` stands for its schema."""

import re
from typing import Final

from ..errors import ConfigurationError

__all__ = [
    "ACCEPT",
    "APPEND",
    "AUDIT",
    "ERASE",
    "HIDE",
    "LISTED",
    "LOCK",
    "MAY",
    "NAMED",
    "OURS_OF",
    "PAGE",
    "READ",
    "SECRETS",
    "SETTINGS",
    "STATES",
    "STRAYS",
    "WANTED",
    "WRITTEN",
    "check_schema",
]

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")

SETTINGS: Final = (
    "SELECT name, value FROM {schema}.meta"
    " UNION ALL SELECT setting, current_setting(setting)"
    " FROM unnest(ARRAY['fsync', 'full_page_writes', 'server_encoding', 'synchronous_commit'])"
    " AS s(setting)"
)
WRITTEN: Final = (
    "SELECT 1 FROM {schema}.events"
    " WHERE client_orderid = %(key)s AND sequence = %(sequence)s AND token = %(token)s"
)
"""Asks whether an entry is there that is known to be committed."""
WANTED: Final = (
    "unnest(%(keys)s::text[], %(sequences)s::int[], %(states)s::text[], %(open)s::bool[],"
    " %(names)s::text[], %(data)s::text[], %(seals)s::bytea[], %(tokens)s::bytea[])"
    " {ordinality} AS w(client_orderid, sequence, state, is_open, name, data, seal, token{place})"
)
ACCEPT: Final = (
    # Places are drawn in the order of the group, and rows are written in the order of their ids,
    # in which nobody can wait in a circle.
    "WITH wanted AS MATERIALIZED (SELECT w.*, nextval('{schema}.places') AS place FROM {wanted}"
    " ORDER BY n), listed AS (INSERT INTO {schema}.payouts"
    " (place, client_orderid, state, is_open, sequence)"
    " SELECT place, client_orderid, state, is_open, 0 FROM wanted ORDER BY client_orderid"
    " ON CONFLICT (client_orderid) DO NOTHING RETURNING client_orderid)"
    " INSERT INTO {schema}.events (client_orderid, sequence, name, data, seal, token)"
    " SELECT client_orderid, 0, name, data, seal, token FROM wanted JOIN listed"
    " USING (client_orderid) ORDER BY client_orderid RETURNING client_orderid"
)
LOCK: Final = (
    "SELECT 1 FROM {schema}.payouts WHERE client_orderid = ANY(%(keys)s)"
    " ORDER BY client_orderid FOR UPDATE"
)
APPEND: Final = (
    "WITH wanted AS MATERIALIZED (SELECT * FROM {wanted}), written AS ("
    "INSERT INTO {schema}.events (client_orderid, sequence, name, data, seal, token)"
    " SELECT w.client_orderid, w.sequence, w.name, w.data, w.seal, w.token FROM wanted w"
    " JOIN {schema}.payouts p ON p.client_orderid = w.client_orderid"
    " AND p.sequence = w.sequence - 1 ON CONFLICT DO NOTHING RETURNING client_orderid)"
    " UPDATE {schema}.payouts p SET state = w.state, is_open = w.is_open, sequence = w.sequence"
    " FROM wanted w JOIN written USING (client_orderid)"
    " WHERE p.client_orderid = w.client_orderid"
)
OURS_OF: Final = (
    "SELECT token FROM {schema}.events WHERE (client_orderid, sequence) IN"
    " (SELECT * FROM unnest(%(keys)s::text[], %(sequences)s::int[])) AND token = ANY(%(tokens)s)"
)
HIDE: Final = (
    "INSERT INTO {schema}.secrets (client_orderid, sequence, data, seal)"
    " SELECT w.* FROM unnest(%(keys)s::text[], %(sequences)s::int[], %(data)s::text[],"
    " %(seals)s::bytea[]) AS w(client_orderid, sequence, data, seal) JOIN {schema}.events e"
    " USING (client_orderid, sequence) WHERE e.token = ANY(%(tokens)s) ON CONFLICT DO NOTHING"
)
ERASE: Final = (
    "DELETE FROM {schema}.secrets s USING {schema}.payouts p"
    " WHERE p.client_orderid = s.client_orderid AND NOT p.is_open"
    " AND s.client_orderid = ANY(%(keys)s)"
)
READ: Final = (
    "SELECT p.client_orderid, p.place, p.state, p.sequence, e.sequence, e.name, e.data, e.seal,"
    " {secret} FROM {payouts} LEFT JOIN {schema}.events e USING (client_orderid)"
    " {secrets} ORDER BY p.place, e.sequence"
)
SECRETS: Final = (
    "LEFT JOIN {schema}.secrets s"
    " ON s.client_orderid = e.client_orderid AND s.sequence = e.sequence"
)
NAMED: Final = "(SELECT * FROM {schema}.payouts WHERE client_orderid = ANY(%(keys)s)) AS p"
PAGE: Final = (
    "(SELECT * FROM {schema}.payouts WHERE place > %(after)s AND state = ANY(%(states)s)"
    " {open} ORDER BY place LIMIT %(limit)s) AS p"
)
LISTED: Final = (
    "SELECT place, client_orderid, sequence FROM {schema}.payouts WHERE place > %(after)s"
    " ORDER BY place LIMIT %(limit)s"
)
AUDIT: Final = (
    "SELECT (SELECT count(*) FROM {schema}.events)"
    " = (SELECT coalesce(sum(sequence + 1), 0) FROM {schema}.payouts)"
)
STRAYS: Final = (
    "SELECT client_orderid FROM {schema}.events e WHERE client_orderid = ANY(%(keys)s) AND NOT"
    " EXISTS (SELECT 1 FROM {schema}.payouts p WHERE p.client_orderid = e.client_orderid) LIMIT 1"
)
"""Names a payout that has events and is not listed."""
MAY: Final = (
    # Rights to some columns are enough for all but DELETE, which has none for columns.
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',"
    " ARRAY(SELECT what || ' on ' || name FROM (VALUES ('SELECT', 'meta'),"
    " ('SELECT', 'events'), ('INSERT', 'events'), ('SELECT', 'payouts'), ('INSERT', 'payouts'),"
    " ('UPDATE', 'payouts'), ('SELECT', 'secrets'), ('INSERT', 'secrets')) AS w(what, name)"
    " WHERE NOT has_any_column_privilege('{schema}.' || name, what)"
    " UNION ALL SELECT 'DELETE on secrets' WHERE NOT"
    " has_table_privilege('{schema}.secrets', 'DELETE')"
    " UNION ALL SELECT 'USAGE on places' WHERE NOT"
    " has_sequence_privilege('{schema}.places', 'USAGE, UPDATE'))"
)
"""Asks what keeps payouts from being written: a standby, a setting, and which rights lack."""
STATES: Final = "SELECT state, count(*) FROM {schema}.payouts GROUP BY state"


def check_schema(schema: str, setting: str = "schema") -> str:
    """Give a schema's name back if it is one that can stand in SQL as it is.

    Args:
        schema: The name.
        setting: Where it was given, for the error.

    Raises:
        ConfigurationError: It is none.
    """
    if _NAME.fullmatch(schema):
        return schema
    raise ConfigurationError(
        f"{setting}: must be a name of small letters, digits and _, at most 63"
    )
