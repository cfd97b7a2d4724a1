"""Bytes that downloads under way may still send are counted apart from those that went out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is reserved before the upgrade stays counted as served: no download outlives a restart."""
    what = "of the allowance, taken by downloads under way"
    op.add_column(
        "claims", sa.Column("bytes_reserved", sa.BigInteger(), nullable=False, server_default="0", comment=what)
    )


def downgrade() -> None:
    """What is reserved just now is forgotten."""
    op.drop_column("claims", "bytes_reserved")
