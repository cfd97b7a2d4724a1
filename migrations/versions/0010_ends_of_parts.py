"""No column decides how an upload goes on, and `caducee_app` may use the tables that were made since 0002."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Files whose upload was interrupted begin again."""
    op.drop_column("uploads", "salt")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            """
            DO $$
            BEGIN
                IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'caducee_app') THEN
                    GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys, uploads TO caducee_app;
                END IF;
            END $$
            """
        )


def downgrade() -> None:
    """Files whose upload was interrupted begin again. The grants stay: without them an older program fails, too."""
    salt = sa.Column("salt", sa.LargeBinary(24), comment="of the encryption, once something is stored")
    op.add_column("uploads", salt)
