"""A whole installation of a test's own: real database, blobs and vault on disk, and a clock that the test moves."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from app.actions.create_transfer import CreatedTransfer
from app.actions.issue_share import IssuedShare
from app.db import audit_rows, service_rows, sqlite_connections
from app.domain.access_token import Caller
from app.domain.clock import Uptime
from app.runtime import resources as resources_module
from app.runtime import stream_watch, vault_time
from app.runtime.clock import Clock
from app.runtime.installation import open_resources
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.storage.signing_folder import SigningFolder
from tests.integration.actions.documented_entries import contradiction
from tests.integration.actions.stories import Sent, a_caller, a_transfer, send

# The service's own log is not looked at here; structlog's default would draw each traceback with all its variables.
structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.ReturnLoggerFactory())

START = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)


class MovableTime:
    """The host's clock as the service reads it; it stands still until a test moves it, either way."""

    def __init__(self, moment: datetime = START) -> None:
        self.moment = moment
        self.running = 1000.0

    def __call__(self) -> datetime:
        return self.moment

    def uptime(self) -> Uptime:
        """The boot clock: it only ever goes on, also when somebody sets the other one back."""
        return Uptime("this-boot", self.running)

    def pass_by(self, duration: timedelta | float) -> None:
        """Let time pass, in seconds or as a timedelta; negative: somebody sets the clock back."""
        passed = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        self.moment += passed
        self.running += max(0.0, passed.total_seconds())

    def leap(self, duration: timedelta) -> None:
        """Somebody sets the host's clock; no time passes."""
        self.moment += duration

    def pass_until(self, moment: datetime) -> None:
        self.pass_by(moment - self.moment)


@pytest.fixture
def time() -> MovableTime:
    return MovableTime()


@pytest.fixture
def without_waiting_for_the_disk(monkeypatch) -> None:
    """Nobody pulls the plug in these tests. The stores' own tests, and the database's, wait as the service does."""
    prepare = sqlite_connections.prepare

    def prepare_and_trust(connection, record) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    monkeypatch.setattr(sqlite_connections, "prepare", prepare_and_trust)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def entries_as_documented(monkeypatch) -> None:
    """Whatever any test here has the service log, it is what docs/audit-log.md says of that event."""
    append = audit_rows.append

    def check_and_append(connection, entries) -> list[tuple[int, bytes]]:
        assert [reason for reason in map(contradiction, entries) if reason] == []
        return append(connection, entries)

    monkeypatch.setattr(audit_rows, "append", check_and_append)


@pytest.fixture
def start_service(
    database_url, time, tmp_path, monkeypatch, without_waiting_for_the_disk, entries_as_documented
) -> Iterator[Callable[..., Resources]]:
    """Opens the installation as one process of the service does; again for a further process. Settings by name."""
    monkeypatch.setattr(resources_module, "Clock", lambda: Clock(time, time.uptime))
    monkeypatch.setattr(vault_time, "REFRESH_SECONDS", 0.0)  # a test moves the time by hours in a moment
    monkeypatch.setattr(service_rows, "WITH_CLOCK", {})  # PostgreSQL's clock is the real one, not the test's
    opened: list[Resources] = []

    def start(**changes) -> Resources:
        given: dict[str, Any] = {
            "data_dir": tmp_path,
            "database_url": database_url,
            "min_lifetime": "1s",
            "min_free_bytes": 0,
            "purposes": "biology,imaging",
            "argon2_time": 1,
            "argon2_memory_kib": 64,
            "argon2_lanes": 1,
        }
        resources = open_resources(Settings(**(given | changes)))
        opened.append(resources)
        return resources

    yield start
    for resources in opened:
        resources.threads.shutdown(
            cancel_futures=True
        )  # a check that is under way still has a connection: it is waited for
        resources.close()


@pytest.fixture
def unswept_resources(start_service: Callable[..., Resources]) -> Resources:
    """A fresh installation that no sweep has passed over yet."""
    return start_service()


@pytest.fixture
def resources(unswept_resources: Resources) -> Resources:
    """An installation that takes deposits in: a sweep has just succeeded."""
    with unswept_resources.database.writing() as transaction:
        now = unswept_resources.clock.now()
        service_rows.record_sweep(transaction.connection, now)
    return unswept_resources


@pytest.fixture
def caller(resources) -> Caller:
    return a_caller(resources)


@pytest.fixture
def signing(resources) -> SigningFolder:
    return SigningFolder(resources.settings.signing_dir)


@pytest.fixture
def transfer(resources, caller) -> CreatedTransfer:
    """A transfer open for files."""
    return a_transfer(resources, caller)


@pytest.fixture
def sent(resources, caller) -> Sent:
    """A transfer of one file with one share, ready to be claimed."""
    return send(resources, caller)


@pytest.fixture
def share(sent: Sent) -> IssuedShare:
    """The share of that transfer."""
    return sent.share


@pytest.fixture
def quick_watch(monkeypatch) -> None:
    """Streams are checked each second; a test waits less."""
    monkeypatch.setattr(stream_watch, "CHECK_SECONDS", 0.02)
