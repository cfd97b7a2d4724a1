"""`column IN (…)` with one parameter, on both databases."""

import pytest
from sqlalchemy import bindparam, select

from app.db.any_of import Texts, any_of
from app.db.tables import transfers
from tests.integration.db.rows import a_transfer

LABELS = ["plain", "it's", 'a "quoted" one', "back\\slash", "é ß 漢 😀", "[]", "null", ""]


@pytest.fixture
def labelled(filled):
    """The connection of one transaction, with a transfer of each label and one without any."""
    with filled.writing() as transaction:
        for label in (*LABELS, None):
            a_transfer(transaction.connection, label=label)
        yield transaction.connection


@pytest.mark.parametrize(
    "wanted", [[], *([label] for label in LABELS), LABELS, [*LABELS, "no such"], ["Plain", "plai"]]
)
def test_what_is_found_is_what_was_asked_for(labelled, wanted):
    found = set(labelled.execute(select(transfers.c.label).where(any_of(transfers.c.label, wanted))).scalars())
    assert found == set(wanted) & set(LABELS)


def test_there_can_be_more_values_than_a_database_takes_parameters(labelled):
    many = [f"number {each}" for each in range(70_000)]
    query = select(transfers.c.label).where(any_of(transfers.c.label, [*many, "plain"]))
    assert list(labelled.execute(query).scalars()) == ["plain"]


def test_a_statement_built_once_takes_other_values_each_time(labelled):
    query = select(transfers.c.label).where(any_of(transfers.c.label, bindparam("labels", type_=Texts())))
    for label in LABELS:
        assert list(labelled.execute(query, {"labels": iter([label])}).scalars()) == [label]
