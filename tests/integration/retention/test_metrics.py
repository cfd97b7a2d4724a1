"""What Prometheus is told, as the text that it scrapes."""

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.actions.keep_time import keep_time
from app.actions.lock_down import lock_down
from app.actions.measure import measure
from app.db.errors import DatabaseUnavailable
from app.storage.errors import BlobUnavailable
from app.storage.local_disk import LocalDisk
from scheduler.metrics import ServiceCollector
from tests.integration.actions.stories import a_transfer, send, sweep

MINUTE, HOUR, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=365)


@pytest.fixture
def scrape(resources):
    """One scrape: samples by name and labels."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(lambda: measure(resources)))

    def samples() -> dict[str, float]:
        text = generate_latest(registry).decode()
        return {
            sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    return samples


def test_an_installation_that_is_well(resources, caller, scrape, time):
    send(resources, caller)
    time.pass_by(30)
    a_transfer(resources, caller)
    seen = scrape()
    assert seen["caducee_transfers[live]"] == seen["caducee_transfers[receiving]"] == 1
    assert seen["caducee_oldest_object_age_seconds"] == seen["caducee_seconds_since_sweep"] == 30
    assert seen["caducee_overdue_transfers"] == seen["caducee_failing_deletions"] == seen["caducee_locked_down"] == 0
    assert seen["caducee_deletion_assured"] == seen["caducee_clock_trusted"] == 1


def test_what_goes_wrong_shows(resources, caller, scrape, time, monkeypatch):
    sent = send(resources, caller, lifetime=MINUTE)
    time.pass_until(sent.transfer.expires_at)
    assert scrape()["caducee_overdue_transfers"] == 1

    async def refuse(_store, blob_ids, *, force=False):
        return {blob_id: BlobUnavailable("I/O error") for blob_id in blob_ids}

    with monkeypatch.context() as broken:
        broken.setattr(LocalDisk, "delete", refuse)
        sweep(resources)
    assert scrape()["caducee_failing_deletions"] == 1
    keep_time(resources)
    time.leap(YEAR)
    keep_time(resources)
    lock_down(resources.database, resources.clock)
    time.pass_by(HOUR)
    seen = scrape()
    assert (seen["caducee_clock_trusted"], seen["caducee_locked_down"], seen["caducee_deletion_assured"]) == (0, 1, 0)


def test_deletions_are_counted_by_lateness(resources, caller, scrape, time):
    for lateness in (0, 4):
        sent = send(resources, caller, lifetime=MINUTE)
        time.pass_until(sent.transfer.expires_at + timedelta(seconds=lateness))
        sweep(resources)
    seen = scrape()
    name = "caducee_deletion_lateness_seconds"
    assert (seen[f"{name}_bucket[1.0]"], seen[f"{name}_bucket[5.0]"], seen[f"{name}_bucket[+Inf]"]) == (1, 2, 2)
    assert (seen[f"{name}_count"], seen[f"{name}_sum"]) == (2, 4)
    assert seen["caducee_sweeps_total[succeeded]"] == 2
    assert seen["caducee_sweeps_total[failed]"] == 0


def test_without_any_sweep_the_age_of_the_last_one_is_infinite(unswept_resources):
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(lambda: measure(unswept_resources)))
    text = generate_latest(registry).decode()
    assert "caducee_seconds_since_sweep +Inf\n" in text
    assert "caducee_deletion_assured 0.0\n" in text


def test_a_failure_to_measure_fails_the_scrape(resources, monkeypatch):
    """No stale number is shown as if it were of now."""

    def fail():
        raise DatabaseUnavailable("the database failed")

    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(fail))
    with pytest.raises(DatabaseUnavailable):
        generate_latest(registry)
