"""Pages of transfers use an index, whichever filter narrows them."""

import pytest
from sqlalchemy import event, text

from app.crypto.token import new_id
from app.db import transfer_listing, whole_transfers
from app.domain.transfer import TransferState
from app.domain.transfer_list import Position, TransferFilter, parse_position
from tests.integration.db.rows import NOBODY, NOW, SECOND, a_file, a_share, a_transfer

OWNER = f"token:{NOBODY}"


@pytest.fixture
def writing(filled):
    with filled.writing() as transaction:
        yield transaction.connection


def test_pages_join_without_gap_or_overlap_where_times_are_equal(writing):
    """On both databases ids compare byte by byte or by collation: the order and the comparison must agree."""
    made = {a_transfer(writing, created_at=NOW + (number % 3) * SECOND).id for number in range(40)}
    found: list[str] = []
    after = None
    while True:
        rows, after = transfer_listing.page(writing, TransferFilter(), after, 7)
        found += [row.id for row in rows]
        if after is None:
            break
        after = parse_position(str(after))
        assert transfer_listing.count(writing, TransferFilter(), after) == 40 - len(found)
    assert len(found) == 40
    assert set(found) == made


def test_filters_combine(writing):
    wanted = a_transfer(writing, created_at=NOW + SECOND)
    for transfer in (wanted, a_transfer(writing), a_transfer(writing, created_at=NOW + SECOND, owner="token:x")):
        a_share(writing, transfer, recipient="ARS")
        a_share(writing, transfer, recipient="ARS")
    ended = a_transfer(writing, created_at=NOW + SECOND, state=TransferState.VERIFIED)
    a_share(writing, ended, recipient=None)
    both = TransferFilter(state=TransferState.LIVE, owner=OWNER, recipient="ARS", since=NOW + SECOND)
    assert [row.id for row in transfer_listing.page(writing, both, None, 10)[0]] == [wanted.id]
    assert transfer_listing.count(writing, both, None) == 1


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (TransferFilter(), "ix_transfers_created_at_id"),
        (TransferFilter(since=NOW), "ix_transfers_created_at_id"),
        (TransferFilter(owner=OWNER), "ix_transfers_owner_created_at_id"),
        (TransferFilter(owner=OWNER, state=TransferState.LIVE), "ix_transfers_owner_created_at_id"),
    ],
)
@pytest.mark.parametrize("after", [None, Position(NOW, new_id())])
def test_a_page_reads_an_index_in_order_and_sorts_nothing(filled, wanted, index, after, monkeypatch):
    """100,000 rows are measured in docs/performance.md."""
    asked = []
    with filled.writing() as transaction:
        for number in range(300 if filled.is_sqlite else 3000):
            a_transfer(transaction.connection, created_at=NOW + number * SECOND)
        if not filled.is_sqlite:
            transaction.connection.execute(text("ANALYZE transfers"))
    with filled.reading() as connection:
        execute = connection.execute

        def asking(query):
            asked.append(query)
            return execute(query)

        monkeypatch.setattr(connection, "execute", asking)
        transfer_listing.page(connection, wanted, after, 10)
        (query,) = asked
        compiled = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        explain = "EXPLAIN QUERY PLAN" if filled.is_sqlite else "EXPLAIN"
        plan = "\n".join(str(row) for row in execute(text(f"{explain} {compiled.replace(':', chr(92) + ':')}")))
    assert index in plan or not filled.is_sqlite, plan
    assert "created_at_id" in plan, plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_a_page_takes_four_statements_and_no_scan_whatever_it_holds(filled):
    """The list of thousands costs what its page costs (`make bench`): no statement per transfer, none over a table."""
    asked = []
    with filled.writing() as transaction:
        for number in range(60):
            transfer = a_transfer(transaction.connection, created_at=NOW + number * SECOND)
            a_file(transaction.connection, transfer)
            a_share(transaction.connection, transfer)
    with filled.reading() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
        for limit in (1, 50):
            rows, _ = transfer_listing.page(connection, TransferFilter(owner=OWNER), None, limit)
            wholes = whole_transfers.load(connection, rows)
            assert [len(each.files + each.shares) for each in wholes] == [2] * limit
            statements, asked[:] = list(asked), []
            assert len(statements) == 4
        if filled.is_sqlite:
            plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given) for sql, given in statements]
            steps = [row[3] for plan in plans for row in plan]
            assert [step for step in steps if step.startswith("SCAN") and "VIRTUAL" not in step] == []
