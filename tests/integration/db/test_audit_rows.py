"""The log's rows: one sequence without gaps whoever appends, and the tree over them."""

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from app.crypto import merkle
from app.db import audit_rows, audit_size, audit_tree, checkpoint_rows
from app.db.checkpoint_rows import StoredCheckpoint
from app.db.engine import Database
from app.db.tables import audit_entries, audit_nodes
from app.domain.audit_events import Entry, Event
from tests.full_rights import take_full_rights
from tests.integration.db.rows import NOW, SECOND


def entry(count=0):
    return Entry(event=Event.LINKS_REFUSED, at=NOW, actor="recipient", count=count)


def append(database, *counts):
    with database.writing() as transaction:
        transaction.log(*(entry(count) for count in counts))


def leaves(database) -> list[bytes]:
    with database.reading() as connection:
        stored = audit_rows.page(connection, 0, 10_000)
    assert [each.sequence for each in stored] == list(range(len(stored)))
    assert [merkle.leaf_hash((each.content or "").encode()) for each in stored] == [each.leaf_hash for each in stored]
    return [each.leaf_hash for each in stored]


def assert_tree_is_right(database):
    """Against the RFC's own definition of the root, for every size the log ever had."""
    hashes = leaves(database)
    with database.reading() as connection:
        assert audit_size.size(connection) == len(hashes)
        for size in {0, 1, 2, 3, len(hashes) // 2, max(0, len(hashes) - 1), len(hashes)}:
            if size <= len(hashes):
                assert audit_tree.root(connection, size) == merkle.root(hashes[:size])
        nodes = {(level, position): value for level, position, value in connection.execute(select(audit_nodes))}
    for (level, position), value in nodes.items():
        assert value == merkle.root(hashes[position << level : (position + 1) << level])
    expected = {(level, at) for level in range(1, 20) for at in range(len(hashes) >> level)}
    assert set(nodes) == expected


def test_an_empty_log_has_the_root_of_nothing(database):
    with database.reading() as connection:
        assert audit_size.size(connection) == 0
        assert audit_tree.root(connection, 0) == merkle.EMPTY_ROOT


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 9), max_size=5))
def test_whatever_way_entries_come_the_tree_is_that_of_the_rfc(database, sizes):
    for size in sizes:
        append(database, *range(size))
    assert_tree_is_right(database)


def test_many_threads_of_many_processes_keep_one_sequence_without_gaps(database):
    """G6: the sequence is what a verifier relies on; two writers at once must not fork it."""
    others = [Database(database.engine.url.render_as_string(hide_password=False)) for _ in range(2)]
    failures: list[Exception] = []

    def work(own: Database) -> None:
        try:
            for step in range(6):
                append(own, *range(1 + step % 3))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            failures.append(error)

    threads = [threading.Thread(target=work, args=([database, *others][each % 3],)) for each in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    assert failures == []
    assert len(leaves(database)) == 9 * 12
    assert_tree_is_right(database)


def test_entries_of_a_transaction_that_failed_leave_no_gap(database):
    def fail():
        with database.writing() as transaction:
            transaction.log(entry(3))
            raise KeyError

    append(database, 1, 2)
    with pytest.raises(KeyError):
        fail()
    append(database, 4)
    with database.reading() as connection:
        assert [each.fields()["count"] for each in audit_rows.page(connection, 0, 10)] == [1, 2, 4]
    assert_tree_is_right(database)


def test_an_entry_is_canonical_json_with_a_salt_of_its_own(database):
    """So that a kept hash of a pruned entry gives nothing away: 16 random bytes, base64url."""
    append(database, 1, 1, 1)
    with database.reading() as connection:
        stored = audit_rows.page(connection, 0, 10)
    contents = [each.content or "" for each in stored]
    salts = {json.loads(content)["salt"] for content in contents}
    assert len(salts) == 3
    assert {len(salt) for salt in salts} == {22}
    for content in contents:  # RFC 8785: sorted, without spaces
        fields = json.loads(content)
        assert content == json.dumps(fields, sort_keys=True, separators=(",", ":"))


def test_pages_follow_each_other(database):
    append(database, *range(7))
    with database.reading() as connection:
        assert [each.sequence for each in audit_rows.page(connection, 2, 3)] == [2, 3, 4]
        assert [each.sequence for each in audit_rows.page(connection, 5, 100)] == [5, 6]
        assert audit_rows.page(connection, 7, 100) == []


def test_a_pruned_entry_has_no_fields(database):
    assert audit_rows.StoredEntry(0, None, bytes(32), NOW).fields() == {}


def damage(database, *, sequence):
    """All nodes are gone, and an entry with them."""
    with database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(delete(audit_nodes))
        transaction.connection.execute(delete(audit_entries).where(audit_entries.c.sequence == sequence))


def test_missing_nodes_are_built_from_what_is_below_them(database):
    append(database, *range(8))
    with database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(delete(audit_nodes))
    append(database, *range(8))
    with database.reading() as connection:
        assert audit_tree.root(connection, 16) == merkle.root(leaves(database))


def test_a_hole_in_the_tree_is_an_error_and_no_guess(database):
    append(database, *range(4))
    damage(database, sequence=1)
    with database.reading() as connection:
        with pytest.raises(KeyError):
            audit_tree.root(connection, 4)
        with pytest.raises(KeyError):
            audit_tree.node_reader(connection)(0, 1)


def test_an_act_does_not_fail_for_a_hole_in_the_tree(database):
    append(database, *range(7))
    damage(database, sequence=1)
    append(database, 7)
    with database.reading() as connection:
        assert [each.sequence for each in audit_rows.page(connection, 6, 9)] == [6, 7]


def test_the_newest_checkpoint_is_the_largest_and_one_of_the_same_size_replaces_it(database):
    with database.reading() as connection:
        assert checkpoint_rows.last(connection) is None
    checkpoints = [
        StoredCheckpoint(3, NOW, "three"),
        StoredCheckpoint(12, NOW, "twelve"),
        StoredCheckpoint(7, NOW, "7"),
    ]
    again = StoredCheckpoint(12, NOW + SECOND, "twelve, an hour later")
    with database.writing() as transaction:
        for checkpoint in [*checkpoints, again]:
            checkpoint_rows.add(transaction.connection, checkpoint)
    with database.reading() as connection:
        assert checkpoint_rows.last(connection) == again
        assert list(checkpoint_rows.every(connection)) == [checkpoints[0], checkpoints[2], again]


# Rows that somebody wrote beyond the end


def write_row(database, sequence: int) -> None:
    with database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(
            insert(audit_entries).values(sequence=sequence, at=NOW, content="{}", leaf_hash=bytes(32))
        )


@pytest.mark.parametrize("entries", [0, 1, 2, 3, 7, 8])
@pytest.mark.parametrize("gap", [1, 2, 3, 1000, 2**40, 2**53, 2**62])
def test_a_row_beyond_a_gap_is_no_entry(database, entries, gap):
    append(database, *range(entries))
    write_row(database, entries + gap)
    with database.reading() as connection:
        assert (audit_size.size(connection), audit_size.stray_entry(connection)) == (entries, entries + gap)
        assert audit_tree.root(connection, entries)
    append(database, 1)
    append(database, *range(5))
    append(database, 1)
    with database.reading() as connection:
        assert audit_size.size(connection) == entries + 7 + (1 if gap < 7 else 0)
        assert audit_tree.root(connection, audit_size.size(connection))


def test_the_largest_number_stops_no_append(database):
    append(database, 1)
    write_row(database, 2**63 - 1)
    append(database, 1)
    assert_size(database, 2)


def test_many_rows_beyond_a_gap_are_no_entries(database):
    append(database, *range(4))
    for number in range(20):
        write_row(database, 2**40 + number)
    append(database, 1)
    assert_size(database, 5)


@pytest.mark.parametrize("missing", [0, 3, 5, 6, 7])
def test_a_missing_entry_leaves_the_end_where_it_was(database, missing):
    append(database, *range(8))
    with database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(delete(audit_entries).where(audit_entries.c.sequence == missing))
    assert_size(database, 7 if missing == 7 else 8)
    append(database, 1, 2, 3)
    assert_size(database, 10 if missing == 7 else 11)


def test_a_log_without_its_nodes_goes_on_at_its_end(database):
    append(database, *range(9))
    with database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(delete(audit_nodes))
    assert_size(database, 9)
    append(database, 1)
    append(database, 1)
    assert_size(database, 11)
    assert leaves(database)


def assert_size(database, size: int) -> None:
    with database.reading() as connection:
        assert audit_size.size(connection) == size
