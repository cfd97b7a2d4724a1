"""A database, and the rows that tests put into it."""

import pytest

from app.db.engine import Database
from tests.integration.db.rows import NOW, a_service, a_token


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def filled(database):
    """A database in use, with an access token named `NOBODY`."""
    with database.writing() as transaction:
        a_service(transaction.connection, NOW)
        a_token(transaction.connection)
    return database
