"""Transactions: what is written with them, what is not left behind, and what an exception may say."""

import gc
import socket
import sqlite3
import threading
import time
import traceback
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text
from sqlalchemy.exc import StatementError

from app.crypto.token import new_secret
from app.db import (
    audit_rows,
    audit_size,
    retention_figures,
    service_rows,
    share_rows,
    sqlite_connections,
    transfer_rows,
)
from app.db import engine as engine_module
from app.db.column_types import UtcTime
from app.db.engine import Database
from app.db.errors import DatabaseUnavailable
from app.db.tables import access_tokens, audit_entries, transfers
from app.domain.audit_events import Entry, Event
from app.domain.share import ShareState
from app.domain.transfer import Ending
from tests.integration.db.rows import NOW, SECOND, a_share, a_token, a_transfer, claim_of

ENTRY = Entry(event=Event.TRANSFER_CREATED, at=NOW, actor="system")
SQLITE_ONLY = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://caducee:hunter2@db.example/x",
        "mysql+nonsense://caducee:hunter2@db.example/x",
        "postgresql+psycopg2://caducee:hunter2@db.example/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///x.sqlite",
    ],
)
def test_another_database_is_refused_without_saying_its_password(url):
    with pytest.raises(DatabaseUnavailable, match="CADUCEE_DATABASE_URL") as refused:
        Database(url)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


# An act and its entry


def test_an_act_and_its_entry_are_committed_together(filled):
    with filled.writing() as transaction:
        a_transfer(transaction.connection)
        transaction.log(ENTRY)
    with filled.reading() as connection:
        assert retention_figures.count_by_state(connection) == {"live": 1}
        assert audit_size.size(connection) == 1


def test_neither_is_left_of_an_act_that_failed(filled):
    def act():
        with filled.writing() as transaction:
            a_transfer(transaction.connection)
            transaction.log(ENTRY)
            raise KeyError

    with pytest.raises(KeyError):
        act()
    with filled.reading() as connection:
        assert retention_figures.count_by_state(connection) == {}
        assert audit_size.size(connection) == 0


def test_nothing_is_left_of_an_act_whose_entry_cannot_be_written(filled, monkeypatch):
    """No act without its trace: a log that fails stops the service, not the other way round."""

    def fail(*args):
        raise KeyError

    def act():
        with filled.writing() as transaction:
            a_transfer(transaction.connection)
            transaction.log(ENTRY)

    monkeypatch.setattr(audit_rows, "append", fail)
    with pytest.raises(KeyError):
        act()
    with filled.reading() as connection:
        assert retention_figures.count_by_state(connection) == {}


# Reading


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(filled):
    """PostgreSQL shows each statement a state of its own unless told otherwise: a claim without its share."""
    with filled.reading() as connection:
        before = connection.execute(select(transfers.c.id)).all()
        with filled.writing() as transaction:
            a_transfer(transaction.connection)
        assert connection.execute(select(transfers.c.id)).all() == before == []
    with filled.reading() as connection:
        assert len(connection.execute(select(transfers.c.id)).all()) == 1


def test_readers_and_writers_do_not_wait_for_each_other(filled):
    with filled.reading() as outer:
        outer.execute(select(transfers.c.id)).all()
        with filled.writing() as transaction:
            a_transfer(transaction.connection)
            with filled.reading() as connection:
                assert connection.execute(select(transfers.c.id)).all() == []


@pytest.mark.parametrize("threads", [12])
def test_many_writers_at_once_all_get_their_turn(filled, threads):
    """A deferred BEGIN that later writes gave 149 of 200 "database is locked" in spite of busy_timeout."""
    failures: list[Exception] = []
    others = [Database(filled.engine.url.render_as_string(hide_password=False)) for _ in range(3)]  # other processes

    def work(database):
        try:
            for _ in range(5):
                with database.writing() as transaction:
                    retention_figures.count_by_state(transaction.connection)  # reads first, as most actions do
                    a_transfer(transaction.connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            failures.append(error)

    workers = [threading.Thread(target=work, args=([filled, *others][each % 4],)) for each in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for database in others:
        database.close()
    assert failures == []
    with filled.reading() as connection:
        assert retention_figures.count_by_state(connection) == {"live": threads * 5}


# What an exception may say


def everything_said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_values_are_in_no_exception(filled):
    """Lesson 34: an exception ends in a log; a wrapped key or a label in it would too."""
    secret = f"{'CAN'}{'ARY'}".encode() * 5

    def twice():
        with filled.writing() as transaction:
            a_token(transaction.connection, digest=secret)

    with pytest.raises(DatabaseUnavailable) as caught:
        twice()
    said = everything_said(caught.value)
    assert "IntegrityError" in str(caught.value)
    assert "CANARY" not in said


def test_what_the_database_quotes_of_a_row_is_in_no_exception(filled):
    """Lesson 34: PostgreSQL's own message says "Failing row contains (...)", label, wrapped key and all."""
    secret = f"{'CAN'}{'ARY'}"

    def act():
        with filled.writing() as transaction:
            a_transfer(transaction.connection, label=secret, failures=None)

    with pytest.raises(DatabaseUnavailable) as caught:
        act()
    assert "IntegrityError" in str(caught.value)
    assert secret not in everything_said(caught.value)


@SQLITE_ONLY
def test_a_text_that_is_damaged_is_in_no_exception(filled):
    """Lesson 34: Python's driver says "Could not decode to UTF-8 column 'label' with text ...", label and all."""
    secret = f"{'CAN'}{'ARY'}"
    with filled.writing() as transaction:
        row = a_transfer(transaction.connection)
        damage = text("UPDATE transfers SET label = CAST(:label AS TEXT) WHERE id = :id")
        transaction.connection.execute(damage, {"label": secret.encode() + b"\xff", "id": row.id})
    with pytest.raises(DatabaseUnavailable) as caught, filled.reading() as connection:
        transfer_rows.find(connection, row.id)
    assert "OperationalError" in str(caught.value)
    assert secret not in everything_said(caught.value)


def test_a_statement_that_cannot_be_bound_does_not_say_its_values(filled):
    """Lesson 34."""
    secret = f"{'CAN'}{'ARY'}"
    values = {"id": NOW, "name": secret, "role": object(), "digest": secret.encode(), "created_at": NOW}

    def act():
        with filled.writing() as transaction:
            transaction.connection.execute(insert(access_tokens).values(**values))

    with pytest.raises(DatabaseUnavailable) as caught:
        act()
    assert "CANARY" not in everything_said(caught.value)


def test_a_database_that_is_not_there_is_unavailable(tmp_path, database_kind):
    urls = {
        "sqlite": f"sqlite:///{tmp_path}",
        "postgres": f"postgresql+psycopg://u:CANARY@/none?host={tmp_path}",
    }
    database = Database(urls[database_kind])
    with pytest.raises(DatabaseUnavailable) as caught:
        database.check()
    assert "CANARY" not in everything_said(caught.value)
    database.close()


def test_the_password_of_the_database_is_in_no_repr():
    """Lesson 34."""
    database = Database("postgresql+psycopg://caducee:CANARY@127.0.0.1/caducee")
    assert "CANARY" not in repr(database.engine)
    database.close()


# Times


def test_a_naive_time_is_refused(filled):
    with pytest.raises(DatabaseUnavailable) as caught, filled.writing() as transaction:
        a_transfer(transaction.connection, created_at=NOW.replace(tzinfo=None))
    assert isinstance(caught.value.__context__, StatementError)
    with filled.reading() as connection:
        assert retention_figures.count_by_state(connection) == {}


def test_a_time_comes_back_as_the_same_instant_in_utc(filled):
    paris = NOW.astimezone(timezone(timedelta(hours=1)))
    with filled.writing() as transaction:
        row = a_transfer(transaction.connection, created_at=paris)
    with filled.reading() as connection:
        found = transfer_rows.find(connection, row.id)
    assert found is not None
    assert found.created_at == NOW
    assert found.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("stored", [2**63 - 1, -(2**63), 1e300, -1e300, float("inf")])
def test_a_number_that_names_no_time_is_the_nearest_that_can_be_counted_with(stored):
    read = UtcTime().process_result_value(stored, None)  # type: ignore[arg-type]
    assert read is not None
    read + timedelta(days=300) if stored > 0 else read - timedelta(days=300)
    assert read.year == (9999 if stored > 0 else 100)


@given(st.datetimes(datetime(1900, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_no_time_is_rounded(moment):
    column: UtcTime = UtcTime()
    dialect = None
    stored = column.process_bind_param(moment, dialect)  # type: ignore[arg-type]
    assert column.process_result_value(stored, dialect) == moment  # type: ignore[arg-type]


# Forgetting what was deleted (SQLite)


def everything_on_disk(database: Database) -> bytes:
    assert database.file is not None
    return b"".join(path.read_bytes() for path in sorted(database.file.parent.glob(f"{database.file.name}*")))


@SQLITE_ONLY
def test_a_wrapped_key_that_was_dropped_is_nowhere_in_the_file_or_its_log(filled):
    """G2: secure_delete with WAL leaves the old page in the log until wal_checkpoint(TRUNCATE)."""
    keys = {name: new_secret() for name in ("owner_wrap", "wrapped_key", "claim", "meta")}
    with filled.writing() as transaction:
        transfer = a_transfer(transaction.connection, owner_wrap=keys["owner_wrap"])
        share = a_share(transaction.connection, transfer, wrapped_key=keys["wrapped_key"])
        share_rows.claim(transaction.connection, claim_of(share, wrapped_key=keys["claim"]), NOW)
    assert [name for name, key in keys.items() if key in everything_on_disk(filled)] == [
        "owner_wrap",
        "wrapped_key",
        "claim",
    ]
    with filled.writing() as transaction:
        share_rows.end(transaction.connection, [share.id], ShareState.COMPLETED, NOW)
        transfer_rows.deny(transaction.connection, [transfer.id], Ending.COMPLETED, NOW)
    assert any(key in everything_on_disk(filled) for key in keys.values())  # the trap
    assert filled.forget_deleted() is True
    assert not any(key in everything_on_disk(filled) for key in keys.values())


@SQLITE_ONLY
def test_with_a_reader_open_it_says_that_the_key_is_still_there(filled):
    """G2: the checkpoint answers busy=1 and raises nothing. And it must not wait: every writer waits for it."""
    key = new_secret()
    with filled.writing() as transaction:
        transfer = a_transfer(transaction.connection, owner_wrap=key)
    with filled.reading() as connection:
        retention_figures.count_by_state(connection)
        with filled.writing() as transaction:
            transfer_rows.deny(transaction.connection, [transfer.id], Ending.DELETED, NOW)
        began = time.monotonic()
        assert filled.forget_deleted() is False
        assert time.monotonic() - began < 5
        assert key in everything_on_disk(filled)
    assert filled.forget_deleted() is True
    assert key not in everything_on_disk(filled)


@SQLITE_ONLY
def test_connections_are_as_safe_as_they_were_after_the_log_was_cut(filled):
    """Neither the wait for others nor any other setting is lost on the way."""
    names = ["journal_mode", "synchronous", "secure_delete", "foreign_keys", "temp_store", "busy_timeout"]

    def values():
        with filled.reading() as connection:
            return [connection.execute(text(f"PRAGMA {name}")).scalar() for name in names]

    assert values() == ["wal", 2, 1, 1, 2, 30_000]
    assert filled.forget_deleted()
    assert values() == ["wal", 2, 1, 1, 2, 30_000]


@SQLITE_ONLY
def test_another_process_that_reads_is_noticed_too(filled):
    with filled.writing() as transaction:
        transfer = a_transfer(transaction.connection)
    assert filled.file is not None
    other = sqlite3.connect(filled.file, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM transfers").fetchone()
    with filled.writing() as transaction:
        transfer_rows.deny(transaction.connection, [transfer.id], Ending.DELETED, NOW)
    assert filled.forget_deleted() is False
    other.execute("COMMIT")
    assert filled.forget_deleted() is True
    other.close()


# What a transaction leaves on its connection (SQLite)


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("way", ["reading", "writing"])
@SQLITE_ONLY
def test_a_result_that_was_not_read_to_its_end_ends_with_its_transaction(filled, monkeypatch, way, fails):
    """A damaged row stops a read half-way, and its traceback holds the cursor: each sweep after it waited 30 s for a
    state that its own connection kept, until the scheduler was killed.
    """
    monkeypatch.setattr(sqlite_connections, "BUSY_TIMEOUT_SECONDS", 2)
    with filled.writing() as transaction:
        rows = [a_transfer(transaction.connection) for _ in range(3)]
    in_hand = []

    def act():
        with getattr(filled, way)() as opened:
            connection = opened if way == "reading" else opened.connection
            in_hand.append(connection.execute(select(transfers.c.id)))
            assert in_hand[0].fetchone()
            if fails:
                raise KeyError

    with pytest.raises(KeyError) if fails else nullcontext():
        act()
    other = Database(filled.engine.url.render_as_string(hide_password=False))  # another process
    with other.writing() as transaction:
        transfer_rows.deny(transaction.connection, [rows[0].id], Ending.DELETED, NOW)
    other.close()
    with filled.writing() as transaction:
        a_transfer(transaction.connection)
    with filled.reading() as connection:
        assert retention_figures.count_by_state(connection) == {"denied": 1, "live": 3}
    assert filled.forget_deleted() is True


@SQLITE_ONLY
def test_a_writer_that_still_reads_an_older_state_fails_at_once_and_is_replaced(filled):
    """No waiting makes that state newer: while it waited, every other writer of the process would wait with it."""
    with filled.writing() as transaction:
        for _ in range(3):
            a_transfer(transaction.connection)
        raw = sqlite3.Cursor(transaction.connection.connection.dbapi_connection)
    raw.execute("SELECT id FROM transfers").fetchone()  # behind the engine's back
    other = Database(filled.engine.url.render_as_string(hide_password=False))
    with other.writing() as transaction:
        a_transfer(transaction.connection)
    other.close()
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable), filled.writing():
        pass
    assert time.monotonic() - began < 5
    with filled.writing() as transaction:
        a_transfer(transaction.connection)


@SQLITE_ONLY
def test_a_connection_that_is_kept_keeps_no_cursor(filled):
    """Connections live as long as the service, and cut the log each second."""

    def held():
        gc.collect()
        return sum(isinstance(one, sqlite3.Cursor) for one in gc.get_objects())

    def use():
        assert filled.forget_deleted() is True
        filled.check()
        with filled.writing() as transaction:
            a_transfer(transaction.connection)

    use()
    before = held()
    for _ in range(5):
        use()
    assert held() == before


# The service's row


def test_the_time_mark_only_rises_and_a_failed_sweep_counts_for_nothing(filled):
    """Lesson 12; and a sweep that left keys does not put off the dead-man's switch."""

    def state_after(moment, *, succeeded):
        with filled.writing() as transaction:
            service_rows.keep_mark(transaction.connection, moment)
            if succeeded:
                service_rows.record_sweep(transaction.connection, moment)
        with filled.reading() as connection:
            state = service_rows.get(connection)
        return state.time_mark, state.last_sweep_at

    later, latest = NOW + SECOND, NOW + 2 * SECOND
    assert state_after(later, succeeded=True) == (later, later)
    assert state_after(latest, succeeded=False) == (latest, later)
    assert state_after(later, succeeded=True) == (latest, later)
    assert state_after(latest, succeeded=True) == (latest, latest)


def test_a_long_gap_between_sweeps_is_kept_and_a_short_one_is_not(filled):
    """What nobody watched must at least be seen afterwards (Dispose: a year)."""
    moments = [NOW, NOW + SECOND, NOW + timedelta(hours=1), NOW + timedelta(hours=1, seconds=1)]
    with filled.writing() as transaction:
        for moment in moments:
            service_rows.record_sweep(transaction.connection, moment)
        assert service_rows.gaps_since(transaction.connection, NOW) == [(moments[1], moments[2])]
        assert service_rows.gaps_since(transaction.connection, NOW + timedelta(hours=2)) == []
        for moment in moments[:3]:  # a clock that was set back brings the same instants again; no sweep fails for it
            service_rows.record_sweep(transaction.connection, moment)
        assert service_rows.gaps_since(transaction.connection, NOW) == [(moments[1], moments[2])]


def test_there_is_one_installation_in_a_database(filled):
    with filled.reading() as connection:
        state = service_rows.get(connection)
    with pytest.raises(DatabaseUnavailable), filled.writing() as transaction:
        service_rows.create(transaction.connection, state)


# Any text survives


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_any_label_comes_back_as_it_was(filled, label):
    with filled.writing() as transaction:
        row = a_transfer(transaction.connection, label=label)
    with filled.reading() as connection:
        found = transfer_rows.find(connection, row.id)
    assert found is not None
    assert found.label == label


def test_no_entry_is_written_outside_of_writing(filled):
    with filled.reading() as connection:
        assert connection.execute(select(audit_entries)).all() == []


# A database that does not answer


POSTGRES_ONLY = pytest.mark.parametrize(
    "database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@POSTGRES_ONLY
def test_nobody_waits_for_a_lock_or_a_statement_for_ever(database_url, filled, monkeypatch):
    """The sweeper's threads are few: each that hangs is one that deletes nothing."""
    monkeypatch.setattr(engine_module, "LOCK_SECONDS", 1)
    monkeypatch.setattr(engine_module, "STATEMENT_SECONDS", 2)
    impatient = Database(database_url)
    try:
        with filled.writing() as holder:
            holder.connection.execute(text("LOCK TABLE transfers"))
            with pytest.raises(DatabaseUnavailable, match="lock timeout"), impatient.writing() as transaction:
                transaction.connection.execute(select(transfers.c.id))
        with pytest.raises(DatabaseUnavailable, match="statement timeout"), impatient.reading() as connection:
            connection.execute(text("SELECT pg_sleep(10)"))
    finally:
        impatient.close()


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(engine_module, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql+psycopg://caducee@127.0.0.1:{silent.getsockname()[1]}/caducee?sslmode=disable")
        with pytest.raises(DatabaseUnavailable, match="timeout"):
            database.check()
        database.close()
