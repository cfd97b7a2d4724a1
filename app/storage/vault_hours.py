"""The tables of a key vault on PostgreSQL, and the SQL that knows their names.

Each hour has two tables: `vault.hour_<YYYYMMDDHH>` with its hour key, which is never rewritten, and
`vault.keys_<YYYYMMDDHH>` with the shred keys that expire in that hour, wrapped with it. A deleted key leaves its name
in `vault.ending`, and a dropped hour in `vault.ending_hours`, until `vault_erasure.py` has observed that the bytes are
gone too: only then does the vault report them as destroyed. Claim records contain no key, and have one table.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from app.domain.vault_entry import EntryName
from app.storage.errors import VaultUnavailable

PAGE = 2_000
SETUP_LOCK = 0x0CAD_0001
_HOUR = re.compile(r"[0-9]{10}")
_TABLES = frozenset({"installation", "marks", "claims", "keys", "ending", "ending_hours"})

NAME_COLUMNS = "transfer_id, share_id, expiry"

SCHEMA = """
CREATE SCHEMA vault;
CREATE TABLE vault.installation (one boolean PRIMARY KEY DEFAULT true CHECK (one), id text NOT NULL);
CREATE TABLE vault.marks (name text PRIMARY KEY, content text NOT NULL);
CREATE TABLE vault.claims (
    transfer_id varchar(22) NOT NULL, share_id varchar(22) NOT NULL, expiry bigint NOT NULL,
    token_digest bytea NOT NULL, PRIMARY KEY (transfer_id, share_id, expiry));
CREATE INDEX claims_by_expiry ON vault.claims (expiry);
CREATE TABLE vault.keys (
    transfer_id varchar(22) NOT NULL, share_id varchar(22) NOT NULL, expiry bigint NOT NULL,
    wrapped bytea NOT NULL CHECK (octet_length(wrapped) < 256));
ALTER TABLE vault.keys ALTER COLUMN wrapped SET STATISTICS 0, ALTER COLUMN wrapped SET STORAGE PLAIN;
CREATE TABLE vault.ending (
    transfer_id varchar(22) NOT NULL, share_id varchar(22) NOT NULL, expiry bigint NOT NULL,
    erasing boolean NOT NULL DEFAULT false, PRIMARY KEY (transfer_id, share_id, expiry));
CREATE TABLE vault.ending_hours (hour text PRIMARY KEY, erasing boolean NOT NULL DEFAULT false);
"""

_HOUR_TABLES = """
CREATE TABLE IF NOT EXISTS vault.hour_{hour} (one boolean PRIMARY KEY DEFAULT true CHECK (one), key bytea NOT NULL)
    WITH (autovacuum_enabled = off);
ALTER TABLE vault.hour_{hour} ALTER COLUMN key SET STATISTICS 0, ALTER COLUMN key SET STORAGE PLAIN;
CREATE TABLE IF NOT EXISTS vault.keys_{hour} (
    rewritten integer NOT NULL DEFAULT 0,
    PRIMARY KEY (transfer_id, share_id, expiry), CHECK (expiry >= {first} AND expiry < {first} + 3600)
    ) INHERITS (vault.keys) WITH (autovacuum_enabled = off);
CREATE INDEX IF NOT EXISTS keys_{hour}_by_expiry ON vault.keys_{hour} (expiry);
ALTER TABLE vault.keys_{hour} ALTER COLUMN wrapped SET STATISTICS 0, ALTER COLUMN wrapped SET STORAGE PLAIN
"""

Columns = dict[str, list[str] | list[int]]


def hour_of(name: EntryName) -> str:
    """Return the hour of an entry, as its tables are named."""
    return hour_at(name.expires_at)


def hour_at(moment: datetime) -> str:
    """Return the UTC hour that contains a moment; the names sort chronologically."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H")


def first_second(hour: str) -> int:
    """Return when an hour begins, in Unix seconds."""
    return int(datetime.strptime(hour, "%Y%m%d%H").replace(tzinfo=UTC).timestamp())


def columns_of(names: Iterable[EntryName]) -> Columns:
    """Return names as columns for `unnest`, in one order for all callers, so that they lock rows without deadlocks."""
    rows = sorted((name.transfer_id, name.share_id or "", name.expiry_unix) for name in names)
    return {"t": [row[0] for row in rows], "s": [row[1] for row in rows], "e": [row[2] for row in rows]}


WANTED = "unnest(%(t)s::text[], %(s)s::text[], %(e)s::bigint[]) AS n (t, s, e)"
IS_WANTED = "transfer_id = n.t AND share_id = n.s AND expiry = n.e"


def name_of(row: Sequence[object], *, claimed: bool = False) -> EntryName:
    """Return the entry that a row names. Raises VaultUnavailable for a malformed row."""
    transfer_id, share_id, expiry = row[:3]
    try:
        return EntryName(
            str(transfer_id), datetime.fromtimestamp(int(str(expiry)), UTC), str(share_id) or None, claimed
        )
    except (ValueError, OverflowError, OSError):
        raise VaultUnavailable("an entry of the key vault was altered") from None


def by_hour(names: Iterable[EntryName]) -> dict[str, list[EntryName]]:
    """Group names by hour, in order of time."""
    grouped: defaultdict[str, list[EntryName]] = defaultdict(list)
    for name in names:
        grouped[hour_of(name)].append(name)
    return dict(sorted(grouped.items()))


def make_hour(connection: Connection, hour: str, key: bytes) -> None:
    """Create the tables and key of an hour, unless they exist. Raises VaultUnavailable while the hour is erased."""
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))
    if connection.exec_driver_sql("SELECT 1 FROM vault.ending_hours WHERE hour = %s", (hour,)).first():
        raise VaultUnavailable(f"the key vault is destroying the hour {hour}")
    connection.exec_driver_sql(_HOUR_TABLES.format(hour=hour, first=first_second(hour)))
    connection.exec_driver_sql(f"INSERT INTO vault.hour_{hour} (key) VALUES (%s) ON CONFLICT DO NOTHING", (key,))


def tables_of_hours(connection: Connection, kind: str) -> list[str]:
    """Return the hours that have a table of this kind, `hour` or `keys`, in order of time."""
    return sorted(
        name.removeprefix(f"{kind}_") for name in relations(connection) if re.fullmatch(f"{kind}_[0-9]{{10}}", name)
    )


def relations(connection: Connection) -> list[str]:
    """Return the names of the tables in the vault's schema."""
    found = connection.exec_driver_sql(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = 'vault' AND relkind NOT IN ('i', 'I', 'c')"
    )
    return [str(row[0]) for row in found]


def foreign_relations(connection: Connection) -> list[str]:
    """Return the tables, sequences and views of the database outside the vault's schema."""
    found = connection.exec_driver_sql(
        "SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname NOT IN ('vault', 'pg_catalog', 'information_schema', 'pg_toast') AND relkind NOT IN ('i', 'I')"
        " ORDER BY 1"
    )
    return [str(row[0]) for row in found]


def is_known(relation: str) -> bool:
    """Return whether a table of this name belongs in the vault's schema."""
    kind, _, hour = relation.partition("_")
    return relation in _TABLES or (kind in {"hour", "keys"} and _HOUR.fullmatch(hour) is not None)


def delete_keys(connection: Connection, hour: str, names: Iterable[EntryName]) -> int:
    """Delete the keys of these entries of one hour; their names stay in `vault.ending`. Return how many."""
    return connection.exec_driver_sql(
        f"WITH gone AS (DELETE FROM vault.keys_{hour} USING {WANTED} WHERE {IS_WANTED} RETURNING {NAME_COLUMNS})"
        f" INSERT INTO vault.ending ({NAME_COLUMNS}) SELECT {NAME_COLUMNS} FROM gone ON CONFLICT DO NOTHING",
        columns_of(names),
    ).rowcount


def delete_due_keys(connection: Connection, hour: str, now_unix: int) -> int:
    """Delete the keys of one hour that expired by `now_unix`; return how many."""
    return connection.exec_driver_sql(
        f"WITH gone AS (DELETE FROM vault.keys_{hour} WHERE expiry <= %s RETURNING {NAME_COLUMNS})"
        f" INSERT INTO vault.ending ({NAME_COLUMNS}) SELECT {NAME_COLUMNS} FROM gone ON CONFLICT DO NOTHING",
        (now_unix,),
    ).rowcount


def rewrite_keys(connection: Connection, hour: str) -> None:
    """Rewrite the keys of an hour into a new file, without the deleted ones.

    This form of ALTER TABLE copies what is visible now. VACUUM FULL would also copy deleted rows that an old snapshot,
    such as an open transaction in a console, could still see.
    """
    connection.exec_driver_sql(f"ALTER TABLE vault.keys_{hour} ALTER COLUMN rewritten TYPE integer USING rewritten + 1")


def drop_hour_key(connection: Connection, hour: str) -> int:
    """Drop the key of an hour, after which nothing in the hour opens; the hour stays in `vault.ending_hours`. Return 0,
    because no entry was removed.
    """
    connection.exec_driver_sql("INSERT INTO vault.ending_hours (hour) VALUES (%s) ON CONFLICT DO NOTHING", (hour,))
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS vault.hour_{hour}")
    return 0


def drop_keys(connection: Connection, hour: str) -> int:
    """Drop the keys of an hour; their names stay in `vault.ending`. Return how many there were."""
    connection.exec_driver_sql(f"LOCK TABLE vault.keys_{hour} IN ACCESS EXCLUSIVE MODE")
    moved = connection.exec_driver_sql(
        f"INSERT INTO vault.ending ({NAME_COLUMNS}) SELECT {NAME_COLUMNS} FROM ONLY vault.keys_{hour}"
        " ON CONFLICT DO NOTHING"
    ).rowcount
    connection.exec_driver_sql(f"DROP TABLE vault.keys_{hour}")
    return moved


def page_of(connection: Connection, table: str, after: EntryName | None, up_to: int | None) -> list[EntryName]:
    """Return the next names of a table in their order, at most PAGE; with `up_to`, only those that expire by then."""
    start = ("", "", -1) if after is None else (after.transfer_id, after.share_id or "", after.expiry_unix)
    due = "" if up_to is None else f" AND expiry <= {int(up_to)}"
    rows = connection.exec_driver_sql(
        f"SELECT {NAME_COLUMNS} FROM vault.{table} WHERE ({NAME_COLUMNS}) > (%s, %s, %s){due}"
        f" ORDER BY {NAME_COLUMNS} LIMIT {PAGE}",
        start,
    )
    return [name_of(row, claimed=table == "claims") for row in rows]


def strange_keys(connection: Connection) -> Iterator[str]:
    """Yield the parent table if somebody has put a key into it: it belongs to no hour."""
    if connection.exec_driver_sql("SELECT 1 FROM ONLY vault.keys LIMIT 1").first():
        yield "vault.keys"
