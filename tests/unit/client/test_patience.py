"""Patience ends a time after the last progress, neither before nor never."""

import time
from contextlib import contextmanager

import httpx
import pytest

from app.client import http_calls, patience
from app.client.errors import ServiceUnavailable
from app.client.parts import SealedUpload
from app.client.patience import Patience
from app.client.sealed_transfer import SealedTransfer
from app.client.source import SealedSource
from app.domain.file_meta import FileMeta


def test_what_went_well_for_long_may_fail_once():
    """A thousand small files take longer than the patience for one failure."""
    waiting, failures = Patience(0.1), [ServiceUnavailable("down")]

    def act():
        if failures:
            raise failures.pop()
        return "done"

    time.sleep(0.15)
    assert waiting.call(lambda: "moved") == "moved"
    assert waiting.call(act) == "done"


def test_the_pause_that_the_service_names_is_kept_as_far_as_patience_goes():
    pauses = list[float]()
    busy = httpx.Response(503, headers={"Retry-After": "7"}, json={"code": "busy", "detail": "Busy."})
    failures = [http_calls.refused(busy)]

    def act():
        if failures:
            raise failures.pop()

    Patience(0.3, waiting=pauses.append).call(act)
    assert 0.5 < pauses[0] < 1
    assert failures == []
    assert vars(http_calls.refused(busy))["retry_after_seconds"] == 7
    for strange in ("9" * 20, "-1", "Sat, 28 Nov 2026 08:00:00 GMT"):
        refusal = http_calls.refused(httpx.Response(503, headers={"Retry-After": strange}))
        assert "retry_after_seconds" not in vars(refusal)


def test_a_line_that_breaks_all_the_time_is_no_failure_while_the_service_gets_more(tmp_path, monkeypatch):
    """Lesson 43: progress is what the service has, whatever a socket has taken. Ten cuts, and patience for one."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.02)
    arrived = bytearray()

    def answer(request):
        if request.method == "HEAD":
            return httpx.Response(200, headers={"Upload-Offset": str(len(arrived))})
        sent = request.read()
        arrived.extend(sent[:1000])
        if len(sent) > 1000:
            raise httpx.WriteError("cut")
        return httpx.Response(204)

    with uploading(tmp_path, b"x" * 10_000, answer) as upload:
        upload.run(Patience(0.05))
        assert len(arrived) == upload.source.sealed_size


def test_a_service_that_says_where_to_go_on_and_takes_nothing_is_given_up(tmp_path):
    def answer(request):
        if request.method == "HEAD":
            return httpx.Response(200, headers={"Upload-Offset": "0"})
        return httpx.Response(507, json={"code": "disk_nearly_full", "detail": "Full."})

    with uploading(tmp_path, b"x", answer) as upload, pytest.raises(ServiceUnavailable, match="disk_nearly_full"):
        upload.run(Patience(0.1))


@contextmanager
def uploading(folder, content, answer):
    """A sealed upload to a service that answers so."""
    path = folder / "a"
    path.write_bytes(content)
    changed_ns = path.stat().st_mtime_ns
    meta, moved = FileMeta("a", "text/plain"), lambda _: None
    with (
        httpx.Client(base_url="http://127.0.0.1", transport=httpx.MockTransport(answer)) as http,
        SealedSource(path, size=len(content), changed_ns=changed_ns, journal=folder / "journal") as source,
    ):
        transfer = SealedTransfer(http, "A" * 22, client_key=bytes(32), transfer_key=bytes(32))
        yield SealedUpload(transfer, 0, meta, source, upload="/api/v1/uploads/x", moved=moved)
