"""Staff sign in with a browser: sessions, logout tokens, and transfers of persons who have no access token."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_REQUIRED, _OPTIONAL = "token_id VARCHAR(22) NOT NULL,", "token_id VARCHAR(22),"


def upgrade() -> None:
    """Nobody is signed in, and every transfer is a token's."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(22), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), comment="of the cookie; absent once the session ended"),
        sa.Column("token_id", sa.String(22), comment="of the token that began it"),
        sa.Column("person", sa.String(22), comment="the pseudonym in the log of who signed in at the provider"),
        sa.Column("subject", sa.String(500), comment="who that is: person:<issuer>#<subject>"),
        sa.Column("provider_session", sa.String(255), comment="the provider's name (sid) of its own session"),
        sa.Column("name", sa.String(200)),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("owner", sa.String(500), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False, comment="its last use, to the minute"),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("ending", sa.String(30)),
        sa.ForeignKeyConstraint(["token_id"], ["access_tokens.id"], name=op.f("fk_sessions_token_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("digest", name=op.f("uq_sessions_digest")),
    )
    for column in ("token_id", "subject", "ended_at"):
        op.create_index(op.f(f"ix_sessions_{column}"), "sessions", [column], unique=False)
    op.create_table(
        "logout_tokens",
        sa.Column(
            "digest", sa.LargeBinary(32), nullable=False, comment="of the id (jti) of a logout token that was accepted"
        ),
        sa.Column("kept_until", sa.BigInteger(), nullable=False, comment="from then on its age refuses it"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_logout_tokens")),
    )
    op.add_column("transfers", sa.Column("person", sa.String(22), comment="the pseudonym of that person"))
    _redefine_token_id(_REQUIRED, _OPTIONAL, nullable=True)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            """
            DO $$
            BEGIN
                IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'caducee_app') THEN
                    GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, logout_tokens TO caducee_app;
                END IF;
            END $$
            """
        )


def downgrade() -> None:
    """Everybody is signed out. Fails while a transfer without a token is recorded, which an older program misreads."""
    _redefine_token_id(_OPTIONAL, _REQUIRED, nullable=False)
    op.drop_column("transfers", "person")
    op.drop_table("logout_tokens")
    op.drop_table("sessions")


def _redefine_token_id(before: str, after: str, *, nullable: bool) -> None:
    """Change whether a transfer needs a token. SQLite cannot alter a column, and copying the table would break the
    foreign keys of others, so its text in the schema is edited, as SQLite documents for constraints
    (https://www.sqlite.org/lang_altertable.html#otheralter).
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        comment = "absent if a person without a token deposited" if nullable else None
        op.alter_column("transfers", "token_id", existing_type=sa.String(22), nullable=nullable, comment=comment)
        return
    if not nullable and connection.execute(sa.text("SELECT 1 FROM transfers WHERE token_id IS NULL LIMIT 1")).first():
        raise RuntimeError("transfers of persons without an access token are recorded")
    version = connection.execute(sa.text("PRAGMA schema_version")).scalar_one()
    connection.execute(sa.text("PRAGMA writable_schema = ON"))
    changed = connection.execute(
        sa.text(
            "UPDATE sqlite_master SET sql = replace(sql, :before, :after)"
            " WHERE type = 'table' AND name = 'transfers' AND instr(sql, :before) > 0"
        ),
        {"before": before, "after": after},
    )
    connection.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    connection.execute(sa.text("PRAGMA writable_schema = OFF"))
    if changed.rowcount != 1:
        raise RuntimeError("the table of transfers has another definition than the migrations give it")
