"""Several schedulers on hosts of their own; a program may run on the schema of the next version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_OWNED = {"clock": "whose host's clock that is", "vault": "whose scheduler found that"}


def upgrade() -> None:
    """Which host found a problem, and when, by the database's clock; the oldest program that may run on this schema."""
    for what, comment in _OWNED.items():
        op.add_column("service_state", sa.Column(f"{what}_problem_boot_id", sa.String(64), comment=comment))
        op.add_column("service_state", sa.Column(f"{what}_problem_at", sa.BigInteger(), comment="last, database time"))
    table = op.create_table(
        "schema_compatibility",
        sa.Column("revision", sa.String(32), nullable=False),
        sa.Column("oldest_program", sa.String(32), nullable=False, comment="the newest revision that it knows"),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_schema_compatibility")),
    )
    op.bulk_insert(table, [{"revision": revision, "oldest_program": revision}])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            """
            DO $$
            BEGIN
                IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'caducee_app') THEN
                    GRANT SELECT ON schema_compatibility TO caducee_app;
                END IF;
            END $$
            """
        )


def downgrade() -> None:
    """One scheduler."""
    op.drop_table("schema_compatibility")
    for what in _OWNED:
        op.drop_column("service_state", f"{what}_problem_at")
        op.drop_column("service_state", f"{what}_problem_boot_id")
