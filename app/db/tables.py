"""The tables. A test compares them with those that `migrations/` builds.

Times are microseconds since 1970 UTC, read and written as aware datetimes (`column_types.py`). No column holds a file
name, a password, a link secret, a client key, a token or a transfer key.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from app.db.column_types import EntryMember, UtcTime

Id = String(22)
Digest = LargeBinary(32)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

service_state = Table(
    "service_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("installation_id", Id, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("log_origin", String(200), nullable=False),
    Column("time_mark", UtcTime, nullable=False, comment="the highest time ever accepted"),
    Column("anchor_at", UtcTime, comment="the moment that time is counted from, with its boot clock"),
    Column("anchor_boot_id", String(64)),
    Column("anchor_boot_seconds", Float),
    Column("clock_problem", String(200), comment="why the clock is not believed; deposits and fetches are refused"),
    Column("clock_waited_seconds", Float, nullable=False),
    Column("last_sweep_at", UtcTime, comment="the end of the last sweep that succeeded"),
    Column("last_drill_at", UtcTime, comment="the last restore drill that passed"),
    Column("locked_down_at", UtcTime),
    Column("rolled_back_at", UtcTime, comment="when a sweep found that the vault remembers more of the log than this"),
    Column(
        "outflow_refused_at",
        UtcTime,
        comment="when a sweep last saw that recipients are refused: windows of claims stand still meanwhile",
    ),
    Column("vault_problem", String(200), comment="why the key vault is not trusted: nothing is taken in or given out"),
    Column("intake_off_at", UtcTime, comment="since when no new transfer is accepted; those that exist go on"),
    Column("clock_problem_boot_id", String(64), comment="whose host's clock that is"),
    Column("clock_problem_at", UtcTime, comment="last, database time"),
    Column("vault_problem_boot_id", String(64), comment="whose scheduler found that"),
    Column("vault_problem_at", UtcTime, comment="last, database time"),
    CheckConstraint("id = 1", name="single_row"),
)

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("revision", String(32), primary_key=True),
    Column("oldest_program", String(32), nullable=False, comment="the newest revision that it knows"),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

sweep_gaps = Table(
    "sweep_gaps",
    metadata,
    Column("ended_at", UtcTime, primary_key=True, comment="the sweep that succeeded after the gap"),
    Column("began_at", UtcTime, nullable=False, comment="the sweep that succeeded before it"),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("digest", Digest, nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column(
        "owner", String(500), nullable=False, server_default=text("''"), comment="whose transfers it deposits and sees"
    ),
    Column("last_used_at", UtcTime, comment="the hour of its last use"),
    Index("ix_access_tokens_owner", "owner"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("digest", Digest, unique=True, comment="of the cookie; absent once the session ended"),
    Column("token_id", Id, ForeignKey("access_tokens.id"), index=True, comment="of the token that began it"),
    Column("person", Id, comment="the pseudonym in the log of who signed in at the provider"),
    Column("subject", String(500), index=True, comment="who that is: person:<issuer>#<subject>"),
    Column("provider_session", String(255), comment="the provider's name (sid) of its own session"),
    Column("name", String(200)),
    Column("role", String(20), nullable=False),
    Column("owner", String(500), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("used_at", UtcTime, nullable=False, comment="its last use, to the minute"),
    Column("expires_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime, index=True),
    Column("ending", String(30)),
)

logout_tokens = Table(
    "logout_tokens",
    metadata,
    Column("digest", Digest, primary_key=True, comment="of the id (jti) of a logout token that was accepted"),
    Column("kept_until", UtcTime, nullable=False, comment="from then on its age refuses it"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("token_id", Id, ForeignKey("access_tokens.id"), comment="absent if a person without a token deposited"),
    Column("person", Id, comment="the pseudonym of that person"),
    Column("state", String(20), nullable=False),
    Column("sealed", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("closed_at", UtcTime, comment="when the first share was issued"),
    Column("keep_until_expiry", Boolean, nullable=False),
    Column("label", String(200)),
    Column("purpose", String(200)),
    Column("records", Integer),
    Column("owner_wrap", LargeBinary, comment="the transfer key under the depositor's key"),
    Column("ending", String(20), comment="why it was denied"),
    Column("denied_at", UtcTime),
    Column("verified_at", UtcTime),
    Column("due_at", UtcTime, comment="when the sweeper must look at this transfer next"),
    Column("failures", Integer, nullable=False, default=0, comment="deletion attempts that failed in a row"),
    Column(
        "owner", String(500), nullable=False, server_default=text("''"), comment="whom it belongs to; no token has ''"
    ),
    Index("ix_transfers_due_at", "due_at"),
    Index("ix_transfers_failing", "state", sqlite_where=text("failures > 0"), postgresql_where=text("failures > 0")),
    Index("ix_transfers_created_at_id", "created_at", "id"),
    Index("ix_transfers_owner_created_at_id", "owner", "created_at", "id"),
)

files = Table(
    "files",
    metadata,
    Column("transfer_id", Id, ForeignKey("transfers.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("blob_id", Id, nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sealed_size", BigInteger, nullable=False),
    Column("sealed_meta", LargeBinary, comment="name and type, encrypted"),
    Column("created_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime, comment="while it is received: an upload that outlives this is dead"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Id, primary_key=True),
    Column("transfer_id", Id, ForeignKey("transfers.id"), nullable=False),
    Column("number", Integer, nullable=False, comment="of the file"),
    Column("blob_id", Id, nullable=False),
    Column("length", BigInteger, nullable=False, comment="bytes that the client will send in all"),
    Column("offset", BigInteger, nullable=False, comment="bytes of them that are durable"),
    Column("tail", LargeBinary, comment="the unfinished chunk at the end, encrypted"),
    Column("expires_at", UtcTime, nullable=False),
    Column("part", Id, comment="the request that is sending a part; absent when the blob ends at the offset"),
    Column("part_until", UtcTime, comment="the end of that request's lease"),
    UniqueConstraint("transfer_id", "number"),
)

shares = Table(
    "shares",
    metadata,
    Column("id", Id, primary_key=True),
    Column("transfer_id", Id, ForeignKey("transfers.id"), nullable=False, index=True),
    Column("recipient", String(200)),
    Column("state", String(20), nullable=False),
    Column("issued_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("link_proof_digest", Digest, comment="absent while a sealing program has not opened the share"),
    Column("verifier_digest", Digest, nullable=False),
    Column("argon2_salt", LargeBinary, nullable=False),
    Column("argon2_time", Integer, nullable=False),
    Column("argon2_memory_kib", Integer, nullable=False),
    Column("argon2_lanes", Integer, nullable=False),
    Column("wrapped_key", LargeBinary),
    Column("attempts", Integer, nullable=False, default=0, comment="wrong passwords and those being checked"),
    Column("failures", Integer, nullable=False, default=0, comment="wrong passwords"),
    Column("attempted_at", UtcTime),
    Column("used_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("keys_destroyed_at", UtcTime, comment="when the end of its keys was observed"),
    Column("link_seen_at", UtcTime, comment="when somebody first presented the link"),
)

claims = Table(
    "claims",
    metadata,
    Column("id", Id, primary_key=True),
    Column("share_id", Id, ForeignKey("shares.id"), nullable=False),
    Column("transfer_id", Id, ForeignKey("transfers.id"), nullable=False, index=True),
    Column("token_digest", Digest, nullable=False),
    Column("by_proof", Boolean, nullable=False),
    Column("wrapped_key", LargeBinary),
    Column("claimed_at", UtcTime, nullable=False),
    Column("window_until", UtcTime, nullable=False),
    Column("allowance", BigInteger, nullable=False, comment="bytes this claim may fetch in all"),
    Column("bytes_served", BigInteger, nullable=False, default=0),
    Column("delivered_at", UtcTime, comment="when the one-line route sent its last byte"),
    Column(
        "bytes_reserved",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="of the allowance, taken by downloads under way",
    ),
    UniqueConstraint("share_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("digest", Digest, primary_key=True, comment="of the key, with its owner, route and transfer"),
    Column("fingerprint", Digest, nullable=False, comment="what a repeated request must be like"),
    Column("created_at", UtcTime, nullable=False),
    Column("attempt", Id, nullable=False, comment="the request that holds the key, or held it last"),
    Column("lease_until", UtcTime, comment="while that request runs"),
    Column("transfer_id", Id, comment="the result"),
    Column("share_id", Id),
    Column("made_at", UtcTime, comment="when the result became usable"),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("content", Text, comment="canonical JSON; absent once pruned"),
    Column("leaf_hash", Digest, nullable=False),
    Column("event", Text, Computed(EntryMember("event"), persisted=True)),
    Column("transfer", Text, Computed(EntryMember("transfer"), persisted=True)),
    Index("ix_audit_entries_at", "at"),
    Index("ix_audit_entries_transfer", "transfer", "event", "at"),
)

audit_nodes = Table(
    "audit_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Digest, nullable=False),
    sqlite_with_rowid=False,  # stored in the order in which it is read, with one B-tree lookup instead of two
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("note", Text, nullable=False),
)

audit_boundaries = Table(
    "audit_boundaries",
    metadata,
    Column("below", BigInteger, primary_key=True, autoincrement=False),
    comment="what the database asks before it lets content go: entries below this are pruned, and an entry says so",
)
