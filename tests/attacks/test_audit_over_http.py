"""The auditor's routes: who may, what they answer, and that bad questions are refused with a code."""

import json

import pytest

from app.actions.sign_checkpoint import sign_checkpoint
from app.domain.access_token import Role
from app.domain.audience import Audience
from app.runtime.hashing_queue import FairQueue
from app.storage.signing_folder import SigningFolder
from tests.attacks.inside import inside

ROUTES = ("retention", "exposure?from=2026-01-01", "log", "checkpoint")
PREFIX = "/api/v1/audit/"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with inside(tmp_path_factory.mktemp("audited")) as opened:
        staff = opened.people()
        sent = opened.http.put(
            "/api/v1/send/DUPONT_VIH.csv", params={"recipient": "CANARY-agency"}, content=b"x" * 50, headers=staff
        )
        assert sent.status_code == 201
        yield opened


@pytest.fixture(scope="module")
def auditor(opened):
    return opened.people(Role.AUDITOR)


def get(opened, path, headers=None, **parameters):
    return opened.http.get(f"{PREFIX}{path}", params=parameters or None, headers=headers or {})


@pytest.mark.parametrize("path", ROUTES)
def test_nobody_401_staff_403(opened, path):
    assert (get(opened, path).status_code, get(opened, path).json()["code"]) == (401, "not_authenticated")
    refused = get(opened, path, opened.people())
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")


@pytest.mark.parametrize("path", ROUTES)
def test_the_recipients_port_has_none_of_it(tmp_path, path):
    with inside(tmp_path, Audience.RECIPIENT) as outside:
        assert get(outside, path, outside.people(Role.AUDITOR)).status_code == 404


def test_a_checkpoint_once_there_is_one(opened, auditor):
    if get(opened, "checkpoint", auditor).status_code == 404:
        assert get(opened, "checkpoint", auditor).json()["code"] == "checkpoint_not_found"
    signing = SigningFolder(opened.resources.settings.signing_dir)
    sign_checkpoint(opened.resources, signing)
    answer = get(opened, "checkpoint", auditor).json()
    assert answer == {"note": signing.last_checkpoint(), "public_key": signing.verifier_key()}
    text = get(opened, "checkpoint", auditor | {"Accept": "text/plain"})
    assert text.text == signing.last_checkpoint()
    assert text.headers["content-type"].startswith("text/plain")


def test_retention_says_what_the_command_says(opened, auditor):
    answer = get(opened, "retention", auditor).json()
    assert (answer["orphans"], answer["exit_code"], answer["transfers"]) == (0, 0, {"live": 1})
    assert answer["last_sweep_at"].endswith("Z")


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMIN])
def test_exposure_tells_what_is_held(opened, role):
    answer = get(opened, "exposure", opened.people(role), **{"from": "2020-01-01"})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["complete"], told["held"]["transfers"], told["held"]["bytes"]) == (True, 1, 50)
    assert told["transfers"][0]["deleted_at"] is None
    for canary in ("DUPONT", "CANARY"):
        assert canary not in answer.text


def test_the_log_comes_in_pages(opened, auditor):
    found = []
    start: int | None = 0
    while start is not None:
        page = get(opened, "log", auditor, start=start, limit=2).json()
        found += page["entries"]
        start = page["next"]
    assert [entry["sequence"] for entry in found] == list(range(len(found)))
    assert {"log.started", "share.issued"} <= {entry["event"] for entry in found}
    (issued,) = get(opened, "log", auditor, event="share.issued").json()["entries"]
    assert get(opened, "log", auditor, share=issued["share"]).json()["entries"] == [issued]
    for canary in ("DUPONT", "CANARY"):
        assert canary not in json.dumps(found)


def test_the_log_comes_newest_first_on_request(opened, auditor):
    forwards = get(opened, "log", auditor, limit=1000).json()["entries"]
    page = get(opened, "log", auditor, order="newest", limit=2).json()
    found = page["entries"]
    while page["next"] is not None:
        page = get(opened, "log", auditor, order="newest", limit=2, start=page["next"]).json()
        found += page["entries"]
    assert found == forwards[::-1]
    assert get(opened, "log", auditor, order="newest", event="log.started").json()["entries"] == forwards[:1]


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("log", {"order": "random"}, "invalid_request"),
        ("exposure", {}, "invalid_request"),
        ("exposure", {"from": "yesterday"}, "invalid_time"),
        ("exposure", {"from": "2026-02-30"}, "invalid_time"),
        ("exposure", {"from": "2026-01-01T00:00:00"}, "invalid_time"),
        ("exposure", {"from": "2026-01-02", "to": "2026-01-01"}, "invalid_time"),
        ("exposure", {"from": "2026-01-01", "till": "2026-01-02"}, "unknown_query_parameter"),
        ("exposure", {"from": "x" * 1000}, "invalid_request"),
        ("log", {"from": "2026-13-01"}, "invalid_time"),
        ("log", {"event": "file.stolen"}, "invalid_request"),
        ("log", {"transfer": "../../etc/passwd"}, "invalid_request"),
        ("log", {"actor": "\0"}, "invalid_request"),
        ("log", {"limit": "1001"}, "invalid_request"),
        ("log", {"start": "-1"}, "invalid_request"),
        ("log", {"start": "9" * 40}, "invalid_request"),
        ("log", {"form": "2026-01-01"}, "unknown_query_parameter"),
    ],
)
def test_a_bad_question_is_refused_with_a_code(opened, auditor, path, parameters, code):
    answer = get(opened, path, auditor, **parameters)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text


def test_too_many_reports_at_once_are_refused_and_slow_nobody_down(opened, auditor, monkeypatch):
    monkeypatch.setitem(vars(opened.resources), "reporting", FairQueue(waiting=-1))
    refused = get(opened, "retention", auditor)
    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert opened.http.get("/api/v1/transfers", headers=opened.people()).status_code == 200
