"""Where `/metrics` is served: nowhere unless told, on the one address that was named, never at deletion's expense."""

import socket
import threading
import time as real_time

import httpx
import pytest
from pydantic import ValidationError

from app.db import service_rows
from app.runtime.clock import Clock
from app.runtime.settings import Settings
from scheduler import timetable as timetable_module
from scheduler.metrics import serve_metrics
from scheduler.timetable import Timetable
from tests.integration.conftest import START

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def said(monkeypatch):
    """What the scheduler says of trouble: (event, job)."""
    events = []
    monkeypatch.setattr(
        timetable_module.log, "error", lambda event, **fields: events.append((event, fields.get("job"))), raising=False
    )
    return events


@pytest.fixture
def run_until_swept(unswept_resources, time, monkeypatch):
    """The scheduler with this setting, from its start to its first successful sweep."""
    monkeypatch.setattr(timetable_module, "Clock", lambda: Clock(time, time.uptime))

    def run(metrics_bind):
        settings = unswept_resources.settings.model_copy(update={"metrics_bind": metrics_bind})
        stop = threading.Event()
        thread = threading.Thread(target=Timetable(settings).run, args=(stop,))
        thread.start()
        give_up_at = real_time.monotonic() + 15
        while last_sweep(unswept_resources) is None and real_time.monotonic() < give_up_at:
            real_time.sleep(0.05)
        stop.set()
        thread.join()
        return last_sweep(unswept_resources)

    return run


def last_sweep(resources):
    with resources.database.reading() as connection:
        return service_rows.get(connection).last_sweep_at


def test_unless_told_it_is_served_nowhere(run_until_swept, monkeypatch):
    served = []
    monkeypatch.setattr(timetable_module, "serve_metrics", lambda bind, _measure: served.append(bind))
    assert Settings().metrics_bind is None
    assert run_until_swept(None) == START
    assert served == []


def test_a_port_that_is_taken_is_loud_and_the_scheduler_goes_on(run_until_swept, said, free_port):
    with socket.create_server(("127.0.0.1", free_port)):
        assert run_until_swept(f"127.0.0.1:{free_port}") == START
    assert said == [("job_failed", "metrics")]


@pytest.mark.parametrize("bind", [":9464", "9464", "localhost", "127.0.0.1:", "127.0.0.1:port", "a b:1"])
def test_an_address_must_be_named_in_full(resources, bind):
    """An empty host would be every address of the machine, the recipients' too."""
    assert resources.settings.metrics_bind is None
    with pytest.raises(ValidationError):
        Settings(metrics_bind=bind)


def test_no_other_address_answers(resources, free_port):
    def fail():
        raise AssertionError("nobody asks")

    serve_metrics(f"127.0.0.1:{free_port}", fail)
    with httpx.Client(trust_env=False, timeout=5) as http, pytest.raises(httpx.ConnectError):
        http.get(f"http://127.0.0.2:{free_port}/metrics")
