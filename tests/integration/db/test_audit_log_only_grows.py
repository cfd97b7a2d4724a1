"""The database itself refuses to change the log, whoever asks, but for the pruner's one way.

Lesson 37: the application's own role cannot update or delete entries (PostgreSQL).
"""

import pytest
from sqlalchemy import create_engine, delete, func, insert, make_url, select, text, update

from app.db import audit_pruning, audit_rows, checkpoint_rows
from app.db.checkpoint_rows import StoredCheckpoint
from app.db.engine import Database
from app.db.errors import DatabaseUnavailable
from app.db.tables import audit_boundaries, audit_checkpoints, audit_entries, audit_nodes, metadata, service_state
from app.domain.audit_events import Entry, Event
from tests.integration.db.rows import NOW

FIRST = audit_entries.c.sequence == 0


@pytest.fixture
def grown(filled):
    """A log of six entries."""
    with filled.writing() as transaction:
        transaction.log(*(Entry(event=Event.LINKS_REFUSED, at=NOW, actor="recipient", count=n) for n in range(6)))
    return filled


def try_to(database, *statements):
    with database.writing() as transaction:
        for statement in statements:
            transaction.connection.execute(text(statement) if isinstance(statement, str) else statement)


def log_of(database):
    with database.reading() as connection, audit_rows.raw_page(connection, 0, 100) as rows:
        entries = list(rows)
        return entries, connection.execute(select(audit_nodes)).all()


CHANGES = [
    update(audit_entries).where(FIRST).values(content="{}"),
    update(audit_entries).where(FIRST).values(content=None),
    update(audit_entries).where(FIRST).values(leaf_hash=bytes(32)),
    update(audit_entries).where(FIRST).values(sequence=100),
    update(audit_entries).where(FIRST).values(at=NOW.replace(year=2025)),
    delete(audit_entries).where(FIRST),
    delete(audit_entries),
    update(audit_nodes).values(hash=bytes(32)),
    delete(audit_nodes),
]
ON_SQLITE = [
    "INSERT OR REPLACE INTO audit_entries VALUES (0, 0, '{}', zeroblob(32))",
    "REPLACE INTO audit_nodes VALUES (1, 0, zeroblob(32))",
]
ON_POSTGRESQL = [
    "TRUNCATE audit_entries",
    "TRUNCATE audit_nodes",
    "INSERT INTO audit_entries SELECT * FROM audit_entries ON CONFLICT (sequence) DO UPDATE SET content = '{}'",
    "SELECT caducee_prune_audit(0, 100); UPDATE audit_entries SET content = NULL",
]


def test_whatever_would_change_the_log_is_refused(grown):
    before = log_of(grown)
    for statement in [*CHANGES, *(ON_SQLITE if grown.is_sqlite else ON_POSTGRESQL)]:
        with pytest.raises(DatabaseUnavailable):
            try_to(grown, statement)
        assert log_of(grown) == before


def test_content_goes_below_a_boundary_and_nothing_else_does(grown):
    with grown.writing() as transaction:
        audit_pruning.add_boundary(transaction.connection, 3)
        audit_pruning.prune(transaction.connection, 0, 3)
    entries, nodes = log_of(grown)
    assert [entry[1] is None for entry in entries] == [True] * 3 + [False] * 3
    for statement in (
        update(audit_entries).where(audit_entries.c.sequence == 3).values(content=None),
        update(audit_entries).where(FIRST).values(content="{}"),
        update(audit_entries).where(FIRST).values(content=None),
        update(audit_boundaries).values(below=6),
        delete(audit_boundaries),
    ):
        with pytest.raises(DatabaseUnavailable):
            try_to(grown, statement)
    assert log_of(grown) == (entries, nodes)


# Lesson 37

on_postgresql = pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])


@pytest.fixture
def as_role(grown):
    """The database as a login of its own sees it, member of one of the roles that the migration makes."""
    owner = create_engine(grown.engine.url, isolation_level="AUTOCOMMIT")
    opened: list[tuple[str, Database]] = []

    def connect(*roles: str) -> Database:
        name = f"login_{len(opened)}"
        with owner.connect() as connection:
            connection.execute(text(f"DROP ROLE IF EXISTS {name}"))
            connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'x' IN ROLE {', '.join(roles)}"))
        url = make_url(grown.engine.url).set(username=name, password="x")
        opened.append((name, Database(url.render_as_string(hide_password=False))))
        return opened[-1][1]

    yield connect
    for name, database in opened:
        database.close()
        with owner.connect() as connection:
            connection.execute(text(f"DROP ROLE {name}"))
    owner.dispose()


@on_postgresql
def test_the_applications_role_appends_and_reads_and_can_change_nothing_of_the_log(grown, as_role):
    database = as_role("caducee_app")
    with database.writing() as transaction:
        transaction.log(Entry(event=Event.LINKS_REFUSED, at=NOW, actor="recipient", count=7))
        transaction.connection.execute(update(service_state).values(locked_down_at=NOW))  # the rest is its own
    before = log_of(database)
    assert len(before[0]) == 7
    for statement in [
        *CHANGES,
        *ON_POSTGRESQL,
        insert(audit_boundaries).values(below=7),
        "SELECT caducee_prune_audit(0, 7)",
        insert(audit_checkpoints).values(size=2, at=NOW, note="another"),
        update(audit_checkpoints).values(note="another"),
        delete(audit_checkpoints),
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "DROP TABLE audit_entries CASCADE",
        "DROP FUNCTION caducee_refuse_change() CASCADE",
        "ALTER FUNCTION caducee_prune_audit(bigint, bigint) OWNER TO login_0",
        "UPDATE alembic_version SET version_num = '0001'",
    ]:
        with pytest.raises(DatabaseUnavailable):
            try_to(database, statement)
        assert log_of(grown) == before


@on_postgresql
def test_the_applications_role_may_use_every_table_of_the_service(grown, as_role):
    """Also those of later migrations; without the right to delete from one, no transfer ends."""
    login = as_role("caducee_app").engine.url.username
    log_alone = {"audit_entries", "audit_nodes", "audit_boundaries", "audit_checkpoints"}
    with grown.reading() as connection:
        allowed = {
            table.name: [
                right
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
                if connection.scalar(select(func.has_table_privilege(login, table.name, right)))
            ]
            for table in metadata.sorted_tables
        }
    assert allowed.pop("schema_compatibility") == ["SELECT"]
    whole = ["SELECT", "INSERT", "UPDATE", "DELETE"]
    assert {name: rights for name, rights in allowed.items() if rights != whole and name not in log_alone} == {}


@on_postgresql
def test_the_pruners_role_prunes_below_what_it_logs_and_no_further(grown, as_role):
    database = as_role("caducee_app", "caducee_pruner")
    with database.writing() as transaction:
        audit_pruning.add_boundary(transaction.connection, 2)
        audit_pruning.prune(transaction.connection, 0, 100)
        transaction.log(Entry(event=Event.LOG_PRUNED, at=NOW, actor="scheduler", count=2, below=2))
        for note in ("a note", "the hourly one of an idle log"):
            checkpoint_rows.add(transaction.connection, StoredCheckpoint(7, NOW, note))
    with grown.reading() as connection:
        bare = select(func.count()).where(audit_entries.c.content.is_(None))
        assert connection.execute(bare).scalar() == 2
    for statement in CHANGES:
        with pytest.raises(DatabaseUnavailable):
            try_to(database, statement)
