"""The PostgreSQL instance of a key vault: the settings without which a deleted key would live on in it.

Each would keep keys, or write them, where deleting a row does not reach: WAL that is archived, sent or kept, a log with
the values of statements, a file that survives a crash. `deploy/vault-postgresql.conf` sets all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

LEAST_VERSION = 150_000
LEAST_LOCKS = 128
"""Searching all hours locks each of their tables, up to 31 days of hours twice."""


@dataclass(frozen=True, slots=True)
class Required:
    """A setting of the instance and its right value."""

    name: str
    value: str
    at_least: bool = False

    def allows(self, found: str) -> bool:
        """Return whether the instance's value is right."""
        return int(found) >= int(self.value) if self.at_least else found == self.value


REQUIRED = (
    # Nothing else keeps the WAL.
    Required("archive_mode", "off"),
    Required("wal_level", "minimal"),
    Required("max_wal_senders", "0"),
    Required("wal_recycle", "off"),
    Required("wal_keep_size", "0"),
    Required("max_prepared_transactions", "0"),
    # What is committed survives a crash.
    Required("fsync", "on"),
    Required("full_page_writes", "on"),
    Required("synchronous_commit", "on"),
    # No value of a statement is logged.
    Required("log_statement", "none"),
    Required("log_duration", "off"),
    Required("log_min_duration_statement", "-1"),
    Required("log_min_duration_sample", "-1"),
    Required("log_transaction_sample_rate", "0"),
    Required("log_parameter_max_length", "0"),
    Required("log_parameter_max_length_on_error", "0"),
    Required("log_error_verbosity", "terse"),
    Required("log_min_error_statement", "panic"),
    Required("log_min_messages", "warning"),
    Required("debug_print_parse", "off"),
    Required("debug_print_rewritten", "off"),
    Required("debug_print_plan", "off"),
    # No module sees keys.
    Required("shared_preload_libraries", ""),
    Required("session_preload_libraries", ""),
    Required("local_preload_libraries", ""),
    Required("max_locks_per_transaction", str(LEAST_LOCKS), at_least=True),
)

_RIGHTS = {
    "pg_checkpoint": "pg_has_role('pg_checkpoint', 'USAGE')",
    **{
        f"EXECUTE ON FUNCTION {function}": f"has_function_privilege('{function}', 'EXECUTE')"
        for function in ("pg_switch_wal()", "pg_ls_dir(text)", "pg_ls_waldir()")
    },
}
"""What the vault's role may do besides owning its database, and how the instance is asked."""


def problems(connection: Connection) -> Iterator[str]:
    """Yield everything about this instance that would let a destroyed key live on, each with what is right."""
    found = {str(row[0]): str(row[1]) for row in connection.exec_driver_sql("SELECT name, setting FROM pg_settings")}
    if int(found["server_version_num"]) < LEAST_VERSION:
        yield f"it is PostgreSQL {found['server_version']}, must be {LEAST_VERSION // 10_000} or later"
    for required in REQUIRED:
        value = found.get(required.name)
        least = "at least " if required.at_least else ""
        right = f"must be {least}{required.value or 'empty'}"
        if value is None:
            yield f"{required.name} cannot be read, {right}: GRANT pg_monitor to the vault's role"
        elif not required.allows(value):
            yield f"{required.name} is {value or 'empty'}, {right}"
    yield from _company(connection)


def _company(connection: Connection) -> Iterator[str]:
    """Yield what else uses the instance: standbys, replication slots and other databases, whose WAL is the same."""
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        yield "it is a standby, must be an instance of its own"
    for (slot,) in connection.exec_driver_sql("SELECT slot_name FROM pg_replication_slots"):
        yield f"it has the replication slot {slot}, must have none"
    others = connection.exec_driver_sql(
        "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname NOT IN ('postgres', current_database())"
    )
    for (name,) in others:
        yield f"it has another database {name}, must have only the vault's"
    for right, test in _RIGHTS.items():
        if not connection.exec_driver_sql(f"SELECT {test}").scalar_one():
            yield f"the vault's role lacks a right: GRANT {right}"
