"""What one deposit, claim and fetch cost in statements and syncs: a control must not make them dearer unnoticed.

The numbers are counts, so that they hold on any machine. Statements on the log's tree are left out: how many there are
depends on the log's size. Whoever changes a number says why in the commit.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, event

from app.actions.complete_claim import complete_claim
from app.actions.keep_time import keep_time
from app.actions.list_transfers import list_transfers
from tests.integration.actions.stories import ADDRESS, claim, fetch, run, send

TREE = ("audit_nodes", "audit_entries.leaf_hash")

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def cost(monkeypatch) -> Iterator[Callable[[Callable[[], object]], Counter[str]]]:
    """Counts statements, and syncs of files and folders, while something is done."""
    counted: Counter[str] = Counter()

    def count(_connection, _cursor, statement, *_more) -> None:
        if not any(part in statement for part in TREE):
            counted.update(["reads" if statement.startswith("SELECT") else "writes"])

    event.listen(Engine, "before_cursor_execute", count)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: counted.update(["fsync"]))

    def of(act: Callable[[], object]) -> Counter[str]:
        counted.clear()
        act()
        return Counter(counted)

    yield of
    event.remove(Engine, "before_cursor_execute", count)


def test_a_deposit_of_one_file_with_a_share(resources, caller, cost):
    """Two keys, a blob and the folders that name them are synced; the database syncs by itself."""
    keep_time(resources)
    send(resources, caller)
    assert cost(lambda: send(resources, caller)) == {"reads": 17, "writes": 10, "fsync": 8}


def test_a_page_of_transfers_costs_four_statements_however_long_it_is(resources, caller, cost):
    for _ in range(3):
        send(resources, caller)
    assert cost(lambda: list_transfers(resources, caller)) == {"reads": 4}
    page = list_transfers(resources, caller, limit=1)
    assert cost(lambda: list_transfers(resources, caller, after=page.following, limit=1)) == {"reads": 4}


def test_a_claim_its_fetch_and_its_completion(resources, caller, cost):
    """The vault's record of the claim is a file and its folder. Whether the keys are there costs no statement."""
    keep_time(resources)
    warm, sent = send(resources, caller), send(resources, caller)
    run(fetch(resources, run(claim(resources, warm.share))))
    claimed = []
    assert cost(lambda: claimed.append(run(claim(resources, sent.share)))) == {"reads": 12, "writes": 6, "fsync": 2}
    (won,) = claimed
    assert cost(lambda: run(fetch(resources, won))) == {"reads": 6, "writes": 4}

    def complete() -> None:
        complete_claim(resources, claim_id=won.claim_id, token=won.token, address=ADDRESS)

    assert cost(complete) == {"reads": 10, "writes": 7, "fsync": 1}
