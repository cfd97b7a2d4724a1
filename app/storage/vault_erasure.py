"""Erasure of deleted keys from the files of a vault's PostgreSQL instance; only then are they called destroyed.

DELETE leaves a row in its page until the table is rewritten; DROP and a rewrite leave it in the WAL until the segment
is switched and a checkpoint removes it (measured, docs/adr/0035). So: rewrite the tables of the hours that lost keys,
switch the WAL, CHECKPOINT, and look: no WAL from before, no file that belongs to no table, no setting that would have
kept a copy. What was deleted meanwhile waits for the next erasure. A crash at any point leaves the names in
`vault.ending`, and the next erasure does it all again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.domain.vault_entry import EntryName
from app.storage.errors import VaultKeepsKeys, VaultUnavailable
from app.storage.vault_connections import is_undefined
from app.storage.vault_hours import IS_WANTED, WANTED, columns_of, rewrite_keys
from app.storage.vault_instance import problems

ERASURE_LOCK = 0x0CAD_0002
TURN_SECONDS = 60
"""How long a node waits for another one's erasure, which then has erased for both."""
LOOKS, LOOK_PAUSE = 5, 0.2
"""Another process may just be creating or dropping a table: its file is looked at again."""
_HOUR_OF_EXPIRY = "to_char(to_timestamp(expiry) AT TIME ZONE 'UTC', 'YYYYMMDDHH24')"
_RELATION_FILE = re.compile(r"([0-9]+)(_fsm|_vm|_init)?(\.[0-9]+)?")
_OTHER_FILES = frozenset({"PG_VERSION", "pg_filenode.map", "pg_internal.init"})


def is_ending(connection: Connection, names: Iterable[EntryName]) -> bool:
    """Return whether a key of one of these entries was deleted and is not yet observed to be gone."""
    asked = f"SELECT 1 FROM vault.ending JOIN {WANTED} ON {IS_WANTED} LIMIT 1"
    return connection.exec_driver_sql(asked, columns_of(names)).first() is not None


def anything_is_ending(connection: Connection) -> bool:
    """Return whether any deleted key or dropped hour is not yet observed to be gone."""
    asked = "SELECT 1 WHERE EXISTS (SELECT FROM vault.ending) OR EXISTS (SELECT FROM vault.ending_hours)"
    return connection.exec_driver_sql(asked).first() is not None


def erase(connection: Connection) -> None:
    """Erase everything that was deleted until now, in a session whose statements commit one by one. Of concurrent
    callers in any process one erases for all that wait.

    Raises VaultUnavailable if any of it was not observed to be gone.
    """
    connection.exec_driver_sql(f"SET lock_timeout = '{TURN_SECONDS}s'")
    connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (ERASURE_LOCK,))
    connection.exec_driver_sql("RESET lock_timeout")
    try:
        if anything_is_ending(connection):
            _erase(connection)
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (ERASURE_LOCK,))


def _erase(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE vault.ending SET erasing = true WHERE NOT erasing")
    connection.exec_driver_sql("UPDATE vault.ending_hours SET erasing = true WHERE NOT erasing")
    hours = f"SELECT DISTINCT {_HOUR_OF_EXPIRY} FROM vault.ending WHERE erasing"
    for (hour,) in connection.exec_driver_sql(hours).all():
        _rewrite(connection, str(hour))
    _pass_the_wal(connection)
    wrong = list(problems(connection))
    if wrong:
        raise VaultKeepsKeys(wrong)
    strays = strays_of(connection)
    left = _forget(connection, all_of_them=not strays)
    if left:
        raise VaultUnavailable(f"{strays_said(strays)}: {left} keys are deleted and not destroyed")


def _rewrite(connection: Connection, hour: str) -> None:
    try:
        rewrite_keys(connection, hour)
    except DBAPIError as error:
        if not is_undefined(error):  # the hour has ended
            raise


def _pass_the_wal(connection: Connection) -> None:
    """Have PostgreSQL remove all WAL that was written until now, and look whether it did."""
    switched = connection.exec_driver_sql("SELECT pg_switch_wal()").scalar_one()
    connection.exec_driver_sql("CHECKPOINT")
    passed, left = connection.exec_driver_sql(
        "SELECT redo_lsn >= %s::pg_lsn, (SELECT count(*) FROM pg_ls_waldir()"
        " WHERE name ~ '^[0-9A-F]{24}' AND substr(name, 9, 16) < substr(redo_wal_file, 9, 16))"
        " FROM pg_control_checkpoint()",
        (str(switched),),
    ).one()
    if not passed or left:
        raise VaultUnavailable("the vault's PostgreSQL keeps WAL from before its checkpoint")


def strays_said(strays: list[str]) -> str:
    """Return in words what such files are."""
    return f"files of the vault's PostgreSQL belong to no table, and may hold deleted keys: {', '.join(strays[:5])}"


def strays_of(connection: Connection) -> list[str]:
    """Return the files of the database that no table owns. A crash during a rewrite leaves one, for ever."""
    for attempt in range(LOOKS):
        if attempt:
            time.sleep(LOOK_PAUSE)
            connection.exec_driver_sql("CHECKPOINT")  # removes the files of tables that were dropped meanwhile
        folder = connection.exec_driver_sql(
            "SELECT 'base/' || oid FROM pg_database WHERE datname = current_database()"
        ).scalar_one()
        files = [str(row[0]) for row in connection.exec_driver_sql("SELECT pg_ls_dir(%s)", (folder,))]
        owned = {str(row[0]) for row in connection.exec_driver_sql("SELECT pg_relation_filenode(oid) FROM pg_class")}
        strays = sorted(name for name in files if name not in _OTHER_FILES and _node(name) not in owned)
        if not strays:
            return []
    return [f"{folder}/{name}" for name in strays]


def _node(file_name: str) -> str | None:
    found = _RELATION_FILE.fullmatch(file_name)
    return found[1] if found else None


def _forget(connection: Connection, *, all_of_them: bool) -> int:
    """Remove the names of what was erased; with files that no table owns, only of hours whose key is gone. Return how
    many are left.
    """
    hour_is_gone = "" if all_of_them else f" AND to_regclass('vault.hour_' || {_HOUR_OF_EXPIRY}) IS NULL"
    connection.exec_driver_sql(f"DELETE FROM vault.ending WHERE erasing{hour_is_gone}")
    connection.exec_driver_sql("DELETE FROM vault.ending_hours WHERE erasing")
    return int(connection.exec_driver_sql("SELECT count(*) FROM vault.ending WHERE erasing").scalar_one())
