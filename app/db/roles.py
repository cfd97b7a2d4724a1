"""Roles on PostgreSQL: what each process may do in the database, in one table. `caducee db roles` prints it as SQL.

The rights of a process that is taken over end at its role: the recipients' has no staff's tables and deletes nothing;
the staff's, which also serves administrators, prunes nothing and signs nothing; the auditor's writes nothing. One test
does each process's work as its role, and another what the role must not do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.db.tables import metadata

READ, ADD, CHANGE, ALL = (
    "SELECT",
    "SELECT, INSERT",
    "SELECT, INSERT, UPDATE",
    "SELECT, INSERT, UPDATE, DELETE",
)
PRUNE = "caducee_prune_audit(bigint, bigint)"


@dataclass(frozen=True, slots=True, eq=False)
class Role:
    """A role, the processes that connect as a member of it, its rights by table, and the functions it may call."""

    name: str
    process: str
    tables: dict[str, str]
    functions: tuple[str, ...] = ()


_LOG = {"audit_entries": ADD, "audit_nodes": ADD, "audit_checkpoints": READ, "audit_boundaries": READ}
_SERVICE = {"alembic_version": READ, "schema_compatibility": READ, "service_state": READ, "counters": CHANGE}

RECIPIENTS = Role(
    "caducee_recipients",
    "serve --audience recipient",
    {
        **_SERVICE,
        **_LOG,
        "transfers": "SELECT, UPDATE (state, ending, denied_at, due_at, owner_wrap, failures)",
        "files": "SELECT, UPDATE (sealed_meta)",
        "uploads": READ,
        "shares": (
            "SELECT, UPDATE (state, attempts, failures, attempted_at, used_at, ended_at, wrapped_key, link_seen_at)"
        ),
        "claims": (
            "SELECT, INSERT, UPDATE (wrapped_key, window_until, allowance, bytes_served, bytes_reserved, delivered_at)"
        ),
    },
)
STAFF = Role(
    "caducee_staff",
    "serve --audience staff",
    {
        **_SERVICE,
        **_LOG,
        "sweep_gaps": READ,
        "service_state": "SELECT, UPDATE (locked_down_at, intake_off_at)",
        "access_tokens": "SELECT, INSERT, UPDATE (digest, last_used_at, revoked_at)",
        "sessions": CHANGE,
        "logout_tokens": CHANGE,
        "transfers": CHANGE,
        "files": ALL,
        "uploads": ALL,
        "shares": CHANGE,
        "claims": "SELECT, UPDATE",
        "idempotency_keys": CHANGE,
    },
)
SCHEDULER = Role(
    "caducee_scheduler",
    "scheduler, and the operator's commands",
    {
        **{table.name: CHANGE for table in metadata.sorted_tables},
        **_SERVICE,
        **_LOG,
        "service_state": CHANGE,
        "audit_boundaries": ADD,
        "audit_checkpoints": ALL,
        "files": ALL,
        "uploads": ALL,
        "sessions": ALL,
        "logout_tokens": ALL,
        "idempotency_keys": ALL,
    },
    (PRUNE,),
)
AUDITOR = Role(
    "caducee_auditor",
    "audit commands that only read",
    {
        "alembic_version": READ,
        "schema_compatibility": READ,
        "service_state": READ,
        "counters": READ,
        "sweep_gaps": READ,
        **dict.fromkeys(_LOG, READ),
        "transfers": READ,
        "files": READ,
        "shares": READ,
        "claims": READ,
    },
)
ROLES = (RECIPIENTS, STAFF, SCHEDULER, AUDITOR)


def statements(schema: str = "public") -> Iterator[str]:
    """Yield the SQL that creates the roles, where they are missing, and gives each exactly its rights. The owner of the
    tables runs it after each `caducee db upgrade`; it may run again at any time.
    """
    for role in ROLES:
        yield (
            f"DO $$ BEGIN CREATE ROLE {role.name} NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
            f" -- {role.process}"
        )
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role.name};"
        yield f"GRANT USAGE ON SCHEMA {schema} TO {role.name};"
        for table, rights in role.tables.items():
            yield f"GRANT {rights} ON {schema}.{table} TO {role.name};"
        for function in role.functions:
            yield f"GRANT EXECUTE ON FUNCTION {schema}.{function} TO {role.name};"
