"""Queries of a key vault on PostgreSQL: which entries, claims and hours exist."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from app.domain.vault_entry import EntryName
from app.storage.vault_hours import (
    IS_WANTED,
    NAME_COLUMNS,
    WANTED,
    by_hour,
    columns_of,
    first_second,
    name_of,
    tables_of_hours,
)


def living(connection: Connection, names: Iterable[EntryName]) -> set[EntryName]:
    """Return those of the entries that exist together with their hour key."""
    wanted = by_hour(names)
    hours = wanted.keys() & set(tables_of_hours(connection, "hour")) & set(tables_of_hours(connection, "keys"))
    return _found(
        connection,
        [name for hour in hours for name in wanted[hour]],
        [
            f"SELECT {NAME_COLUMNS}, {claimed} FROM {table} JOIN {WANTED} ON {IS_WANTED}"
            f" WHERE EXISTS (SELECT FROM vault.hour_{hour}) AND {_in_hour(hour)}"
            for hour in sorted(hours)
            for claimed, table in (("false", f"vault.keys_{hour}"), ("true", "vault.claims"))
        ],
    )


def held(connection: Connection, names: Iterable[EntryName]) -> set[EntryName]:
    """Return those of the entries that exist, or whose deleted key is not yet erased."""
    wanted = by_hour(names)
    hours = sorted(wanted.keys() & set(tables_of_hours(connection, "keys")))
    tables = [("false", f"vault.keys_{hour}") for hour in hours] + [("false", "vault.ending"), ("true", "vault.claims")]
    return _found(
        connection,
        [name for some in wanted.values() for name in some],
        [f"SELECT {NAME_COLUMNS}, {claimed} FROM {table} JOIN {WANTED} ON {IS_WANTED}" for claimed, table in tables],
    )


def _found(connection: Connection, names: list[EntryName], queries: list[str]) -> set[EntryName]:
    if not names or not queries:
        return set()
    rows = connection.exec_driver_sql(" UNION ALL ".join(queries), columns_of(names))
    return {name_of(row, claimed=bool(row[3])) for row in rows} & set(names)


def _in_hour(hour: str) -> str:
    first = first_second(hour)
    return f"expiry >= {first} AND expiry < {first + 3600}"


def recorded(connection: Connection, name: EntryName) -> bytes | None:
    """Return the token digest (32 bytes) of a recorded claim, or None."""
    found = connection.exec_driver_sql(
        f"SELECT token_digest FROM vault.claims JOIN {WANTED} ON {IS_WANTED}",
        columns_of([name]),
    ).first()
    return None if found is None else bytes(found[0])


def all_hours(connection: Connection) -> list[str]:
    """Return the hours that have a table, in order of time."""
    return sorted({*tables_of_hours(connection, "hour"), *tables_of_hours(connection, "keys")})


def begun(connection: Connection, current: str) -> list[str]:
    """Return the hours that have a table and have begun."""
    return [hour for hour in all_hours(connection) if hour <= current]


def ending_hours(connection: Connection) -> list[str]:
    """Return the hours whose key was dropped and is not yet erased."""
    return [str(row[0]) for row in connection.exec_driver_sql("SELECT hour FROM vault.ending_hours")]


def due_left(connection: Connection, current: str, now_unix: int) -> int:
    """Count what should have been destroyed by now: ended hours, expired keys and claims, and what is not erased."""
    hours = begun(connection, current)
    tables = ["vault.claims", "vault.ending", *(["vault.keys_" + current] if current in hours else [])]
    counts = " + ".join(f"(SELECT count(*) FROM {table} WHERE expiry <= {int(now_unix)})" for table in tables)
    left = int(connection.exec_driver_sql(f"SELECT {counts}").scalar_one())
    return left + len({*hours, *ending_hours(connection)} - {current})
