"""The database itself refuses to change the log: triggers on both databases, roles on PostgreSQL.

Entries and tree nodes may be inserted and read. One thing else is let through, the pruner's: an entry's content may
become NULL below a boundary in `audit_boundaries`. Whoever owns the tables can disable triggers; so on PostgreSQL the
service should connect as a member of `caducee_app`, which may insert and select, and the scheduler as one of
`caducee_pruner` too, which signs and prunes (docs/operations.md). Roles are made if the migrating user may make roles,
and left out if not.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = {
    "audit_entries": "sequence = NEW.sequence",
    "audit_nodes": "level = NEW.level AND position = NEW.position",
    "audit_boundaries": "below = NEW.below",
}
"""The tables, and what finds the row that a new one would replace."""

REFUSED = "the audit log only grows"
BOUNDARY = "(SELECT max(below) FROM audit_boundaries)"
EXPLAINING = ("log.started", "log.renewed", "database.restored")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _upgrade_postgresql()
    else:
        _upgrade_sqlite()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _downgrade_postgresql()
    else:
        for table in APPEND_ONLY:
            for act in ("insert", "update", "delete"):
                op.execute(f"DROP TRIGGER {table}_{act}")


# SQLite


def _upgrade_sqlite() -> None:
    """`INSERT OR REPLACE` deletes without firing delete triggers, so inserting looks for what it would replace."""
    pruning = (
        "NEW.content IS NULL AND OLD.content IS NOT NULL AND NEW.sequence = OLD.sequence AND NEW.at = OLD.at "
        f"AND NEW.leaf_hash = OLD.leaf_hash AND OLD.sequence < {BOUNDARY}"
    )
    for table, key in APPEND_ONLY.items():
        replaced = f"EXISTS (SELECT 1 FROM {table} WHERE {key})"
        unless_pruning = f"WHEN ({pruning}) IS NOT TRUE" if table == "audit_entries" else ""
        for act, when in (("insert", f"WHEN {replaced}"), ("update", unless_pruning), ("delete", "")):
            op.execute(
                f"CREATE TRIGGER {table}_{act} BEFORE {act.upper()} ON {table} {when} "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END"
            )


# PostgreSQL


def _upgrade_postgresql() -> None:
    _refuse_changes()
    _make_pruner()
    _make_roles()


def _refuse_changes() -> None:
    op.execute(
        f"""
        CREATE FUNCTION caducee_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'audit_entries' THEN
                IF NEW.content IS NULL AND OLD.content IS NOT NULL AND NEW.sequence = OLD.sequence
                   AND NEW.at = OLD.at AND NEW.leaf_hash = OLD.leaf_hash AND OLD.sequence < {BOUNDARY} THEN
                    RETURN NEW;
                END IF;
            END IF;
            RAISE EXCEPTION '{REFUSED}' USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION caducee_refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_not_emptied BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION caducee_refuse_change()"
        )


def _make_pruner() -> None:
    """The one way for content to go: with the owner's rights, below a boundary, a stretch at a time."""
    telling = " AND ".join(f'strpos(content, \'"event":"{event}"\') = 0' for event in EXPLAINING)
    op.execute(
        f"""
        CREATE FUNCTION caducee_prune_audit(start bigint, stop bigint) RETURNS void
        LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
            UPDATE audit_entries SET content = NULL
            WHERE sequence >= start AND sequence < least(stop, {BOUNDARY}) AND content IS NOT NULL
              AND {telling}
        $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION caducee_prune_audit(bigint, bigint) FROM PUBLIC")


def _make_roles() -> None:
    """Roles belong to the whole server: another database may have made them, and another may use them still."""
    op.execute(
        """
        DO $$
        DECLARE
            wanted text;
            may_make boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
        BEGIN
            FOREACH wanted IN ARRAY ARRAY['caducee_app', 'caducee_pruner'] LOOP
                IF may_make AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                    BEGIN
                        EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
                    EXCEPTION WHEN duplicate_object OR unique_violation THEN
                        NULL;  -- another database was quicker
                    END;
                END IF;
            END LOOP;
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'caducee_app') THEN
                EXECUTE format('GRANT USAGE ON SCHEMA %I TO caducee_app', current_schema());
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO caducee_app',
                               current_schema());
                REVOKE UPDATE, DELETE ON audit_entries, audit_nodes FROM caducee_app;
                REVOKE INSERT, UPDATE, DELETE ON audit_boundaries, audit_checkpoints, alembic_version FROM caducee_app;
            END IF;
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'caducee_pruner') THEN
                GRANT INSERT, SELECT ON audit_boundaries TO caducee_pruner;
                GRANT INSERT, UPDATE, DELETE, SELECT ON audit_checkpoints TO caducee_pruner;
                GRANT EXECUTE ON FUNCTION caducee_prune_audit(bigint, bigint) TO caducee_pruner;
            END IF;
        END $$
        """
    )


def _downgrade_postgresql() -> None:
    """The roles stay: other databases of the server may use them."""
    op.execute(
        """
        DO $$
        DECLARE
            had text;
        BEGIN
            FOREACH had IN ARRAY ARRAY['caducee_app', 'caducee_pruner'] LOOP
                IF EXISTS (SELECT FROM pg_roles WHERE rolname = had) THEN
                    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), had);
                    EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM %I', current_schema(), had);
                END IF;
            END LOOP;
        END $$
        """
    )
    op.execute("DROP FUNCTION caducee_prune_audit(bigint, bigint)")
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER {table}_not_emptied ON {table}")
        op.execute(f"DROP TRIGGER {table}_kept ON {table}")
    op.execute("DROP FUNCTION caducee_refuse_change()")
