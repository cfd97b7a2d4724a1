"""Queries of a key vault on PostgreSQL: which entries, claims and hours exist."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from app.domain.vault_entry import EntryName
from app.storage.vault_hours import (
    IS_WANTED,
    NAME_COLUMNS,
    WANTED,
    Columns,
    by_hour,
    columns_of,
    name_of,
    tables_of_hours,
)

HOURS_PER_QUERY = 100
"""PostgreSQL plans each hour's table apart; a week of hours takes two queries."""


def living(connection: Connection, names: Iterable[EntryName]) -> set[EntryName]:
    """Return those of the entries that exist together with their hour key."""
    wanted = by_hour(names)
    there = set(tables_of_hours(connection, "hour")) & set(tables_of_hours(connection, "keys"))
    hours = {hour: some for hour, some in wanted.items() if hour in there}
    claimed = [name for some in hours.values() for name in some if name.claimed]
    return _in_hours(connection, hours, only_with_key=True) | _in_table(connection, "claims", claimed)


def held(connection: Connection, names: Iterable[EntryName]) -> set[EntryName]:
    """Return those of the entries that exist, or whose deleted key is not yet erased."""
    wanted = by_hour(names)
    there = set(tables_of_hours(connection, "keys"))
    hours = {hour: some for hour, some in wanted.items() if hour in there}
    every = [name for some in wanted.values() for name in some]
    return (
        _in_hours(connection, hours, only_with_key=False)
        | _in_table(connection, "ending", [name for name in every if not name.claimed])
        | _in_table(connection, "claims", [name for name in every if name.claimed])
    )


def _in_hours(connection: Connection, hours: dict[str, list[EntryName]], *, only_with_key: bool) -> set[EntryName]:
    """Return those of the keys that lie in the tables of their hours. Each table is asked for its own names."""
    found: set[EntryName] = set()
    keys = [(hour, [name for name in some if not name.claimed]) for hour, some in hours.items()]
    for at in range(0, len(keys), HOURS_PER_QUERY):
        queries: list[str] = []
        values: Columns = {}
        for number, (hour, some) in enumerate(keys[at : at + HOURS_PER_QUERY]):
            opens = f" WHERE EXISTS (SELECT FROM vault.hour_{hour})" if only_with_key else ""
            wanted = WANTED.replace(")s", f"{number})s")
            queries.append(f"SELECT {NAME_COLUMNS} FROM vault.keys_{hour} JOIN {wanted} ON {IS_WANTED}{opens}")
            values |= {f"{column}{number}": content for column, content in columns_of(some).items()}
        found.update(name_of(row) for row in connection.exec_driver_sql(" UNION ALL ".join(queries), values))
    return found


def _in_table(connection: Connection, table: str, names: list[EntryName]) -> set[EntryName]:
    """Return those of the entries that a table names."""
    if not names:
        return set()
    asked = f"SELECT {NAME_COLUMNS} FROM vault.{table} JOIN {WANTED} ON {IS_WANTED}"
    return {name_of(row, claimed=table == "claims") for row in connection.exec_driver_sql(asked, columns_of(names))}


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
