"""Lists of transfers are read page by page, and each access token keeps the hour of its last use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The id after the time makes the order of a list total, so that a page can begin after any row."""
    op.create_index("ix_transfers_created_at_id", "transfers", ["created_at", "id"], unique=False)
    op.create_index("ix_transfers_owner_created_at_id", "transfers", ["owner", "created_at", "id"], unique=False)
    op.drop_index("ix_transfers_owner_created_at", table_name="transfers")
    op.add_column("access_tokens", sa.Column("last_used_at", sa.BigInteger(), comment="the hour of its last use"))


def downgrade() -> None:
    """An older program lists the newest transfers only."""
    op.drop_column("access_tokens", "last_used_at")
    op.create_index("ix_transfers_owner_created_at", "transfers", ["owner", "created_at"], unique=False)
    op.drop_index("ix_transfers_owner_created_at_id", table_name="transfers")
    op.drop_index("ix_transfers_created_at_id", table_name="transfers")
