"""Files can be uploaded in parts, and go on after a connection is lost (tus)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No upload in parts is under way."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(22), nullable=False),
        sa.Column("transfer_id", sa.String(22), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="of the file"),
        sa.Column("blob_id", sa.String(22), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False, comment="bytes that the client will send in all"),
        sa.Column("offset", sa.BigInteger(), nullable=False, comment="bytes of them that are durable"),
        sa.Column("salt", sa.LargeBinary(24), comment="of the encryption, once something is stored"),
        sa.Column("tail", sa.LargeBinary(), comment="the unfinished chunk at the end, encrypted"),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "part",
            sa.String(22),
            comment="the request that is sending a part; absent when the blob ends at the offset",
        ),
        sa.Column("part_until", sa.BigInteger(), comment="the end of that request's lease"),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name=op.f("fk_uploads_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("transfer_id", "number", name=op.f("uq_uploads_transfer_id_number")),
    )


def downgrade() -> None:
    """An older program drops unfinished uploads once their leases end."""
    op.drop_table("uploads")
