"""An operator can stop the intake of new transfers while those that exist go on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Intake is on."""
    since = "since when no new transfer is accepted; those that exist go on"
    op.add_column("service_state", sa.Column("intake_off_at", sa.BigInteger(), comment=since))


def downgrade() -> None:
    """An older program accepts new transfers."""
    op.drop_column("service_state", "intake_off_at")
