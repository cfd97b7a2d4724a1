"""The cost of a sweep: what is due in thousands ends at a steady price, and a sweep with nothing due costs nothing.

Small in the ordinary suite; at full scale, with the figures that are promised, in tests/acceptance/test_scale.py.
"""

from datetime import timedelta
from time import process_time

import pytest

from app.db import retention_figures
from app.db.tables import audit_entries
from app.domain.transfer import TransferState
from tests.integration.actions.stories import blobs_held, count_rows, keys_held, sweep
from tests.integration.retention.seeding import seed

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
def seeded(resources, caller, time):
    """Transfers that will be due in a minute, or whose rows alone are there and live for days."""

    def put(count: int, *, lifetime: timedelta = MINUTE, stored: bool = True) -> None:
        expires_at = (time.moment + lifetime).replace(microsecond=0)
        seed(
            resources,
            count,
            token_id=caller.token_id,
            created_at=time.moment - DAY,
            expires_at=expires_at,
            stored=stored,
        )

    return put


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_each_of_many_goes_every_step_in_one_sweep(resources, time, seeded):
    seeded(1_300)
    assert (len(keys_held(resources)), len(blobs_held(resources))) == (1_300, 1_300)
    before = count_rows(resources, audit_entries)
    time.pass_by(2 * MINUTE)
    report = sweep(resources)
    assert (report.ended, report.deleted, report.failed, report.succeeded) == (1_300, 1_300, 0, True)
    assert keys_held(resources) == set()
    assert blobs_held(resources) == set()
    assert count_rows(resources, audit_entries) == before + 4 * 1_300
    assert transfers_in(resources) == {str(TransferState.VERIFIED): 1_300}


def transfers_in(resources):

    with resources.database.reading() as connection:
        return retention_figures.count_by_state(connection)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_price_of_one_does_not_grow_with_their_number(resources, time, seeded):
    """Processor time, since the machine may be busy; three times leaves room for that, and none for a square."""
    prices = []
    for count in (300, 2_000):
        seeded(count)
        time.pass_by(2 * MINUTE)
        began = process_time()
        assert sweep(resources).deleted == count
        prices.append((process_time() - began) / count)
    assert prices[1] < 3 * prices[0]


def test_a_sweep_with_nothing_due_does_not_look_at_what_is_held(resources, seeded):
    seeded(20_000, lifetime=DAY, stored=False)
    sweep(resources)
    took = []
    for _ in range(5):
        began = process_time()
        report = sweep(resources)
        took.append(process_time() - began)
        assert (report.ended, report.deleted, report.failed) == (0, 0, 0)
    assert min(took) < 0.05
