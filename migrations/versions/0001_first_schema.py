"""The first schema: transfers, files, shares, claims, access tokens, the service's state, the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _member(name: str) -> str:
    """A member of an entry's canonical JSON, as the database derives it."""
    if op.get_bind().dialect.name == "postgresql":
        return f"""\"substring\"(content, '"{name}":"([^"]*)"'::text)"""
    if name == "transfer":  # the last member, an id of 22 characters
        return 'CASE WHEN substr(content, -36, 12) = \'"transfer":"\' THEN substr(content, -24, 22) END'
    key = f'\'"{name}":"\''
    rest = f"substr(content, instr(content, {key}) + {len(name) + 4})"
    return f"CASE WHEN instr(content, {key}) > 0 THEN substr({rest}, 1, instr({rest}, '\"') - 1) END"


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_access_tokens_digest")),
    )
    op.create_table(
        "audit_boundaries",
        sa.Column("below", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("below", name=op.f("pk_audit_boundaries")),
        comment="what the database asks before it lets content go: entries below this are pruned, and an entry says so",
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoints")),
    )
    op.create_table(
        "audit_entries",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=True, comment="canonical JSON; absent once pruned"),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("event", sa.Text(), sa.Computed(_member("event"), persisted=True), nullable=True),
        sa.Column("transfer", sa.Text(), sa.Computed(_member("transfer"), persisted=True), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"], unique=False)
    op.create_index("ix_audit_entries_transfer", "audit_entries", ["transfer", "event", "at"], unique=False)
    op.create_table(
        "audit_nodes",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_audit_nodes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "service_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("installation_id", sa.String(length=22), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("log_origin", sa.String(length=200), nullable=False),
        sa.Column("time_mark", sa.BigInteger(), nullable=False, comment="the highest time ever accepted"),
        sa.Column(
            "anchor_at",
            sa.BigInteger(),
            nullable=True,
            comment="the moment that time is counted from, with its boot clock",
        ),
        sa.Column("anchor_boot_id", sa.String(length=64), nullable=True),
        sa.Column("anchor_boot_seconds", sa.Float(), nullable=True),
        sa.Column(
            "clock_problem",
            sa.String(length=200),
            nullable=True,
            comment="why the clock is not believed; deposits and fetches are refused",
        ),
        sa.Column("clock_waited_seconds", sa.Float(), nullable=False),
        sa.Column("last_sweep_at", sa.BigInteger(), nullable=True, comment="the end of the last sweep that succeeded"),
        sa.Column("last_drill_at", sa.BigInteger(), nullable=True, comment="the last restore drill that passed"),
        sa.Column("locked_down_at", sa.BigInteger(), nullable=True),
        sa.Column(
            "rolled_back_at",
            sa.BigInteger(),
            nullable=True,
            comment="when a sweep found that the vault remembers more of the log than this",
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_service_state_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_state")),
    )
    op.create_table(
        "sweep_gaps",
        sa.Column("ended_at", sa.BigInteger(), nullable=False, comment="the sweep that succeeded after the gap"),
        sa.Column("began_at", sa.BigInteger(), nullable=False, comment="the sweep that succeeded before it"),
        sa.PrimaryKeyConstraint("ended_at", name=op.f("pk_sweep_gaps")),
    )
    op.create_table(
        "transfers",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("token_id", sa.String(length=22), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True, comment="when the first share was issued"),
        sa.Column("keep_until_expiry", sa.Boolean(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("purpose", sa.String(length=200), nullable=True),
        sa.Column("records", sa.Integer(), nullable=True),
        sa.Column("owner_wrap", sa.LargeBinary(), nullable=True, comment="the transfer key under the depositor's key"),
        sa.Column("ending", sa.String(length=20), nullable=True, comment="why it was denied"),
        sa.Column("denied_at", sa.BigInteger(), nullable=True),
        sa.Column("verified_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True, comment="when the sweeper must look at this transfer next"),
        sa.Column("failures", sa.Integer(), nullable=False, comment="deletion attempts that failed in a row"),
        sa.ForeignKeyConstraint(["token_id"], ["access_tokens.id"], name=op.f("fk_transfers_token_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
    )
    op.create_index("ix_transfers_due_at", "transfers", ["due_at"], unique=False)
    op.create_index(
        "ix_transfers_failing",
        "transfers",
        ["state"],
        unique=False,
        sqlite_where=sa.text("failures > 0"),
        postgresql_where=sa.text("failures > 0"),
    )
    op.create_index("ix_transfers_token_id_created_at", "transfers", ["token_id", "created_at"], unique=False)
    op.create_table(
        "files",
        sa.Column("transfer_id", sa.String(length=22), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("blob_id", sa.String(length=22), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sealed_size", sa.BigInteger(), nullable=False),
        sa.Column("sealed_meta", sa.LargeBinary(), nullable=True, comment="name and type, encrypted"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "lease_until",
            sa.BigInteger(),
            nullable=True,
            comment="while it is received: an upload that outlives this is dead",
        ),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name=op.f("fk_files_transfer_id")),
        sa.PrimaryKeyConstraint("transfer_id", "number", name=op.f("pk_files")),
        sa.UniqueConstraint("blob_id", name=op.f("uq_files_blob_id")),
    )
    op.create_table(
        "shares",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("transfer_id", sa.String(length=22), nullable=False),
        sa.Column("recipient", sa.String(length=200), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "link_proof_digest",
            sa.LargeBinary(length=32),
            nullable=True,
            comment="absent while a sealing program has not opened the share",
        ),
        sa.Column("verifier_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("argon2_salt", sa.LargeBinary(), nullable=False),
        sa.Column("argon2_time", sa.Integer(), nullable=False),
        sa.Column("argon2_memory_kib", sa.Integer(), nullable=False),
        sa.Column("argon2_lanes", sa.Integer(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="wrong passwords and those being checked"),
        sa.Column("failures", sa.Integer(), nullable=False, comment="wrong passwords"),
        sa.Column("attempted_at", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("keys_destroyed_at", sa.BigInteger(), nullable=True, comment="when the end of its keys was observed"),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name=op.f("fk_shares_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
    )
    op.create_index(op.f("ix_shares_transfer_id"), "shares", ["transfer_id"], unique=False)
    op.create_table(
        "claims",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("share_id", sa.String(length=22), nullable=False),
        sa.Column("transfer_id", sa.String(length=22), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("by_proof", sa.Boolean(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.Column("window_until", sa.BigInteger(), nullable=False),
        sa.Column("allowance", sa.BigInteger(), nullable=False, comment="bytes this claim may fetch in all"),
        sa.Column("bytes_served", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True, comment="when the one-line route sent its last byte"),
        sa.ForeignKeyConstraint(["share_id"], ["shares.id"], name=op.f("fk_claims_share_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name=op.f("fk_claims_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
        sa.UniqueConstraint("share_id", name=op.f("uq_claims_share_id")),
    )
    op.create_index(op.f("ix_claims_transfer_id"), "claims", ["transfer_id"], unique=False)


def downgrade() -> None:
    """Drop all tables."""
    op.drop_index(op.f("ix_claims_transfer_id"), table_name="claims")
    op.drop_table("claims")
    op.drop_index(op.f("ix_shares_transfer_id"), table_name="shares")
    op.drop_table("shares")
    op.drop_table("files")
    op.drop_index("ix_transfers_token_id_created_at", table_name="transfers")
    op.drop_index(
        "ix_transfers_failing",
        table_name="transfers",
        sqlite_where=sa.text("failures > 0"),
        postgresql_where=sa.text("failures > 0"),
    )
    op.drop_index("ix_transfers_due_at", table_name="transfers")
    op.drop_table("transfers")
    op.drop_table("sweep_gaps")
    op.drop_table("service_state")
    op.drop_table("counters")
    op.drop_table("audit_nodes")
    op.drop_index("ix_audit_entries_transfer", table_name="audit_entries")
    op.drop_index("ix_audit_entries_at", table_name="audit_entries")
    op.drop_table("audit_entries")
    op.drop_table("audit_checkpoints")
    op.drop_table("audit_boundaries")
    op.drop_table("access_tokens")
