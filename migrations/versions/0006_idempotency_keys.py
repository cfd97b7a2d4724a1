"""Requests can be repeated after a lost response; shares remember when their link was first presented."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Links presented before the upgrade count as not presented: no older deposit has an idempotency key."""
    scope = "of the key, with its owner, route and transfer"
    alike = "what a repeated request must be like"
    op.create_table(
        "idempotency_keys",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False, comment=scope),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False, comment=alike),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.String(22), nullable=False, comment="the request that holds the key, or held it last"),
        sa.Column("lease_until", sa.BigInteger(), comment="while that request runs"),
        sa.Column("transfer_id", sa.String(22), comment="the result"),
        sa.Column("share_id", sa.String(22)),
        sa.Column("made_at", sa.BigInteger(), comment="when the result became usable"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_idempotency_keys")),
    )
    seen = "when somebody first presented the link"
    op.add_column("shares", sa.Column("link_seen_at", sa.BigInteger(), comment=seen))


def downgrade() -> None:
    """Repeated requests are new ones again."""
    op.drop_column("shares", "link_seen_at")
    op.drop_table("idempotency_keys")
