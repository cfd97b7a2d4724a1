"""The migrations, on both databases: they end where the models stand, go up and down, and guard the door."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

import migrations
from app.db import schema
from app.db.engine import Database
from app.db.errors import DatabaseUnavailable, SchemaOutdated
from app.db.tables import metadata, schema_compatibility


@pytest.fixture
def empty(empty_database_url):
    database = Database(empty_database_url)
    yield database
    database.close()


@pytest.fixture
def built(empty):
    schema.upgrade(empty)
    return empty


def alembic_config(connection) -> Config:
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    config.attributes["connection"] = connection
    return config


def differences(database):
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, metadata)


def tables(database) -> set[str]:
    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


def test_the_migrations_end_where_the_models_stand(built):
    assert differences(built) == []
    assert tables(built) == {*metadata.tables, "alembic_version"}


def test_the_comparison_sees_a_column_that_the_migrations_forgot(built):
    """Lest the test above compare nothing."""
    with built.writing() as transaction:
        transaction.connection.execute(text("ALTER TABLE shares DROP COLUMN recipient"))
    assert [difference[0] for difference in differences(built)] == ["add_column"]


def test_an_empty_database_is_built(empty):
    assert schema.current_revision(empty) is None
    schema.require_current(empty)
    assert schema.current_revision(empty) == schema.newest_revision()
    assert differences(empty) == []


def test_every_step_down_undoes_its_step_up(built):
    revisions = list(ScriptDirectory.from_config(alembic_config(None)).walk_revisions())
    for revision in revisions:  # newest first
        before = revision.down_revision
        with built.writing() as transaction:
            command.downgrade(alembic_config(transaction.connection), str(before or "base"))
        assert schema.current_revision(built) == before
    assert tables(built) == {"alembic_version"}
    schema.upgrade(built)
    assert differences(built) == []


def test_what_was_held_before_owners_belongs_to_the_token_that_made_it(built):
    """Tokens of one name stay apart."""
    with built.writing() as transaction:
        command.downgrade(alembic_config(transaction.connection), "0004")
        for number in (1, 2):
            transaction.connection.execute(
                text(
                    "INSERT INTO access_tokens (id, name, role, digest, created_at) VALUES (:id, 'lab', 'staff', :d, 0)"
                ),
                {"id": f"token{number}", "d": bytes([number] * 32)},
            )
            transaction.connection.execute(
                text(
                    "INSERT INTO transfers (id, token_id, state, sealed, created_at, expires_at, keep_until_expiry,"
                    " failures) VALUES (:id, :token, 'live', :no, 0, 0, :no, 0)"
                ),
                {"id": f"transfer{number}", "token": f"token{number}", "no": False},
            )
    schema.upgrade(built)
    for table, key in (("access_tokens", "id"), ("transfers", "token_id")):
        with built.reading() as connection:
            found = connection.execute(text(f"SELECT {key}, owner FROM {table} ORDER BY {key}")).fetchall()
        assert [tuple(row) for row in found] == [("token1", "token:token1"), ("token2", "token:token2")]


def test_building_again_changes_nothing(built):
    schema.upgrade(built)
    schema.require_current(built)
    assert differences(built) == []


@pytest.mark.parametrize("found", ["0000", "9999", "someone else's"])
def test_an_old_or_unknown_schema_is_refused_naming_the_command(built, found):
    """An old program on a new database, or the other way round, must not guess."""
    with built.writing() as transaction:
        transaction.connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    with pytest.raises(SchemaOutdated, match="run `caducee db upgrade`"):
        schema.require_current(built)
    assert schema.current_revision(built) == found


def test_there_is_one_line_of_versions_and_its_last_is_the_programs():
    assert ScriptDirectory.from_config(alembic_config(None)).get_heads() == [schema.newest_revision()]


def test_a_migration_that_fails_leaves_nothing_of_itself(empty, monkeypatch):
    """In one transaction, on SQLite too."""

    def stop(*args, **kwargs):
        raise RuntimeError("power cut")

    monkeypatch.setattr("app.db.audit_rows.append", stop)  # the last thing before the commit
    with pytest.raises(RuntimeError, match="power cut"):
        schema.upgrade(empty)
    assert tables(empty) == set()


def test_a_program_runs_on_the_next_schema_if_that_says_so(built):
    """Nodes are upgraded one after the other: the first `db upgrade` must not stop those that still run."""
    later, program = "9998", schema.newest_revision()
    for oldest, accepted in ((program, True), ("9997", False)):
        with built.writing() as transaction:
            connection = transaction.connection
            connection.execute(text("UPDATE alembic_version SET version_num = :later"), {"later": later})
            connection.execute(schema_compatibility.delete().where(schema_compatibility.c.revision == later))
            connection.execute(schema_compatibility.insert().values(revision=later, oldest_program=oldest))
        if accepted:
            schema.require_current(built)
        else:
            with pytest.raises(SchemaOutdated, match=later):
                schema.require_this_schema(built)


def test_every_migration_from_here_on_says_which_programs_may_run_on_its_schema(built):
    with built.reading() as connection:
        stated = dict(connection.execute(select(schema_compatibility)).all())
    expected = {each.revision for each in ScriptDirectory.from_config(alembic_config(None)).walk_revisions()}
    assert stated.keys() == {revision for revision in expected if revision >= "0012"}


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_a_migration_gives_up_soon_when_others_keep_a_lock(built, monkeypatch):
    """Behind a migration that waits, every request for the table waits, too."""
    with built.writing() as transaction:
        command.downgrade(alembic_config(transaction.connection), "-1")
    before = schema.current_revision(built)
    monkeypatch.setattr(schema, "LOCK_SECONDS", 1)
    with built.reading() as connection:
        connection.execute(text("SELECT installation_id FROM service_state"))
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            schema.upgrade(built)
    assert schema.current_revision(built) == before
    schema.upgrade(built)
