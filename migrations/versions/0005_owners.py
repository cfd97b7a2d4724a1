"""Transfers belong to an owner, which several tokens can share; what exists belongs to the token that made it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Existing rows belong to `token:<id>`: tokens that have the same name never see each other's transfers.

    SQLite adds a NOT NULL column with a default only. It is the owner of nobody.
    """
    whose = "whose transfers it deposits and sees"
    op.add_column(
        "access_tokens", sa.Column("owner", sa.String(500), nullable=False, server_default=sa.text("''"), comment=whose)
    )
    whom = "whom it belongs to; no token has ''"
    op.add_column(
        "transfers", sa.Column("owner", sa.String(500), nullable=False, server_default=sa.text("''"), comment=whom)
    )
    op.execute("UPDATE access_tokens SET owner = 'token:' || id")
    op.execute("UPDATE transfers SET owner = 'token:' || token_id")
    op.create_index("ix_access_tokens_owner", "access_tokens", ["owner"], unique=False)
    op.create_index("ix_transfers_owner_created_at", "transfers", ["owner", "created_at"], unique=False)
    op.drop_index("ix_transfers_token_id_created_at", table_name="transfers")


def downgrade() -> None:
    """Each transfer belongs again to the token that deposited it."""
    op.create_index("ix_transfers_token_id_created_at", "transfers", ["token_id", "created_at"], unique=False)
    op.drop_index("ix_transfers_owner_created_at", table_name="transfers")
    op.drop_index("ix_access_tokens_owner", table_name="access_tokens")
    op.drop_column("transfers", "owner")
    op.drop_column("access_tokens", "owner")
