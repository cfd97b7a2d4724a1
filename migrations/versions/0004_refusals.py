"""The sweeper keeps since when it sees the service refuse recipients, and why it does not trust the key vault."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is refused until a sweep sees it."""
    seen = "when a sweep last saw that recipients are refused: windows of claims stand still meanwhile"
    op.add_column("service_state", sa.Column("outflow_refused_at", sa.BigInteger(), comment=seen))
    why = "why the key vault is not trusted: nothing is taken in or given out"
    op.add_column("service_state", sa.Column("vault_problem", sa.String(200), comment=why))


def downgrade() -> None:
    """The next sweep of an older program does not look for either."""
    op.drop_column("service_state", "vault_problem")
    op.drop_column("service_state", "outflow_refused_at")
