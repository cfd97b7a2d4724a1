"""The log at size: verifying it takes little longer than reading it, and appending does not slow down as it grows.

Both figures are ratios measured in one run, so that a busy machine disturbs both sides alike. The full-scale run has a
million entries (`make acceptance`); the ordinary one looks at what must hold at any size.
"""

import sqlite3
import time
from contextlib import closing
from hashlib import sha256
from statistics import median

import pytest
from sqlalchemy import event, update

from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.verify_log import verify_log
from app.crypto.log_check import STRETCH
from app.db import audit_size
from app.db.tables import audit_entries
from app.runtime.installation import open_resources
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from bench.log_entries import downloads
from tests.full_rights import take_full_rights


def fill(database, size: int, *, at_once: int = 5_000) -> None:
    """Let the log grow to that size, through the same code as every act."""
    with database.reading() as connection:
        first = audit_size.size(connection)
    while first < size:
        count = min(at_once, size - first)
        with database.writing() as transaction:
            transaction.log(*downloads(first, count))
        first += count


@pytest.fixture
def installations(tmp_path):
    """Opens as many fresh installations as are asked for."""
    opened: list[Resources] = []

    def fresh():
        opened.append(open_resources(Settings(data_dir=tmp_path / str(len(opened)), log_format="json")))
        return opened[-1]

    yield fresh
    for resources in opened:
        resources.close()


@pytest.fixture
def installation(installations):
    return installations()


def plain_loop(file) -> float:
    """Seconds to read and hash every entry, and nothing else."""
    begun = time.perf_counter()
    with closing(sqlite3.connect(file)) as connection:
        for _sequence, content in connection.execute("SELECT sequence, content FROM audit_entries ORDER BY sequence"):
            sha256(b"\x00" + content.encode()).digest()
    return time.perf_counter() - begun


def verification(resources, size: int) -> float:
    """Seconds to verify everything."""
    begun = time.perf_counter()
    verdict = verify_log(resources, SigningFolder(resources.settings.signing_dir))
    took = time.perf_counter() - begun
    assert (verdict.problem, verdict.entries) == (None, size)
    return took


def ratio_of_verifying(resources, size: int, *, rounds: int) -> float:
    """How many times the plain loop it takes: the best of some rounds in turns, since other work only adds."""
    taken = [(verification(resources, size), plain_loop(resources.database.file)) for _ in range(rounds)]
    return min(verified for verified, _ in taken) / min(plain for _, plain in taken)


def seconds_of_an_append(database) -> float:
    """Processor time of one transaction that appends one entry: what does not wait for the disk."""
    with database.reading() as connection:
        (entry,) = downloads(audit_size.size(connection), 1)
    begun = time.process_time()
    with database.writing() as transaction:
        transaction.log(entry)
    return time.process_time() - begun


def growth_of_an_append(small, large, *, rounds: int) -> float:
    """How many times as much an append to the large log costs, in turns; medians."""
    taken = [(seconds_of_an_append(small), seconds_of_an_append(large)) for _ in range(rounds)]
    return median(cost for _, cost in taken) / median(cost for cost, _ in taken)


@pytest.mark.acceptance
@pytest.mark.timeout(1800)
def test_verifying_and_appending_to_a_million_entries_are_fast(installations):
    """Verifying takes at most three plain loops; the rate of appends falls by less than 10% from 1,000 entries."""
    small, large = installations(), installations()
    fill(small.database, 1_000)
    fill(large.database, 1_000_000)
    sign_checkpoint(large, SigningFolder(large.settings.signing_dir))
    growth_of_an_append(small.database, large.database, rounds=300)  # caches warm
    growth = growth_of_an_append(small.database, large.database, rounds=3_000)
    large.database.forget_deleted()
    with large.database.reading() as connection:
        size = audit_size.size(connection)
    ratio = ratio_of_verifying(large, size, rounds=5)
    print(f"an append to {size:,} entries: {growth:.2f} of one to 1,000; verifying: {ratio:.2f} plain loops")
    assert growth < 1 / 0.9
    assert ratio <= 3


def statements_of_one_append(database) -> tuple[int, int]:
    """How many statements read and how many write when one entry is appended."""
    said: list[str] = []

    def listen(_connection, _cursor, statement, *_rest) -> None:
        said.append(statement.split(None, 1)[0].upper())

    with database.reading() as connection:
        first = audit_size.size(connection)
    with database.writing() as transaction:
        event.listen(transaction.connection, "before_cursor_execute", listen)
        transaction.log(*downloads(first, 1))
    event.remove(transaction.connection, "before_cursor_execute", listen)
    return said.count("SELECT"), said.count("INSERT")


def test_an_append_reads_one_node_for_each_that_it_completes_and_no_more(installation):
    """On a small scale: one node on average, whatever the size of the log; none for every other entry."""
    for size in (3, 1_000, 4_095):
        fill(installation.database, size)
        completed = ((size + 1) & -(size + 1)).bit_length() - 1  # trailing zeros of the new size
        assert statements_of_one_append(installation.database) == (1 + completed, 1 + (completed > 0))


def test_each_stretch_is_checked_and_the_first_failure_of_the_log_is_named(installation):
    """On a small scale: two ranges and a part of a third; of two failures, the earlier one is reported."""
    size = 2 * STRETCH + 5
    fill(installation.database, size)
    sign_checkpoint(installation, SigningFolder(installation.settings.signing_dir))
    assert verification(installation, size) > 0
    for sequence in (2 * STRETCH + 1, STRETCH + 7):
        with installation.database.writing() as transaction:
            take_full_rights(transaction.connection)
            transaction.connection.execute(
                update(audit_entries).where(audit_entries.c.sequence == sequence).values(content="{}")
            )
        verdict = verify_log(installation, SigningFolder(installation.settings.signing_dir))
        assert (verdict.kind, verdict.sequence) == ("changed", sequence)
