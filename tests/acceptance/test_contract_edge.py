"""What holds for every answer: headers, problem documents, probes, and who is served at which door."""

import httpx
import pytest

from tests.acceptance.people import claim, ok, send
from tests.acceptance.service import until

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


@pytest.fixture
def answers(staff, anyone):
    """One answer of each kind, good and bad."""
    share = send(staff)
    held = claim(anyone, share)
    return {
        "sent": staff.put("/api/v1/send/a?recipient=x", content=b"x"),
        "text": staff.put("/api/v1/send/a?recipient=x", content=b"x", headers={"Accept": "text/plain"}),
        "list": staff.get("/api/v1/transfers"),
        "me": staff.get("/api/v1/me"),
        "page": anyone.get(f"/s/{share.id}"),
        "script": anyone.get("/s/assets/receive.js"),
        "claimed": anyone.post(f"/api/v1/shares/{share.id}/look", json={"link_proof": share.proof}),
        "file": held.get(),
        "part": held.get(range="bytes=0-0"),
        "blob": held.get("blobs/0"),
        "done": held.complete(),
        "gone": held.get(),
        "live": anyone.get("/livez"),
        "ready": anyone.get("/readyz"),
        "unknown": anyone.get("/nowhere"),
        "method": anyone.delete("/livez"),
        "anonymous": anyone.get("/api/v1/me"),
        "malformed": anyone.post(f"/api/v1/shares/{share.id}/look", content=b"{"),
        "host": anyone.get("/api/v1/me", headers={"Host": "evil.example"}),
    }


def test_every_answer_carries_the_safe_headers_and_names_no_software(answers):
    for what, answer in answers.items():
        carried = {name: answer.headers.get(name) for name in ALWAYS}
        assert carried == ALWAYS, what
        assert "default-src 'none'" in answer.headers["content-security-policy"], what
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], what
        assert "unsafe" not in answer.headers["content-security-policy"], what
        assert "server" not in answer.headers, what
        assert "strict-transport-security" not in answer.headers, "this origin has no TLS"


def test_only_the_page_may_run_anything_and_only_its_own_script(answers):
    for what, answer in answers.items():
        policy = answer.headers["content-security-policy"]
        if what == "page":
            assert "script-src 'self'" in policy
            assert "form-action 'none'" in policy
        else:
            assert "sandbox" in policy, what
            assert "text/html" not in answer.headers.get("content-type", ""), what


def test_every_refusal_is_a_problem_document_with_a_code(answers):
    refusals = {what: answer for what, answer in answers.items() if answer.status_code >= 400}
    assert {what: answer.json()["code"] for what, answer in refusals.items()} == {
        "gone": "claim_ended",
        "unknown": "not_found",
        "method": "method_not_allowed",
        "anonymous": "not_authenticated",
        "malformed": "invalid_request",
        "host": "host_not_allowed",
    }
    for answer in refusals.values():
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert set(answer.json()) == {"type", "title", "status", "code", "detail"}
    assert answers["method"].headers["allow"] == "GET, HEAD"
    assert answers["anonymous"].headers["www-authenticate"].startswith("Bearer")


def test_probes_answer_under_any_host(anyone):
    for path, body in (("/livez", {"alive": True}), ("/readyz", {"ready": True, "reasons": []})):
        assert ok(anyone.get(path, headers={"Host": "10.1.2.3:8000"}), 200) == body
        head = anyone.head(path, headers={"Host": "10.1.2.3:8000"})
        assert (head.status_code, head.content) == (200, b"")


def test_the_page_is_byte_for_byte_the_same_whatever_the_id(staff, anyone):
    """Lesson 14 and 19: a page that told whether a share exists could be asked."""
    share = send(staff)
    pages = [anyone.get(f"/s/{it}", headers={"Accept-Language": "fr"}) for it in (share.id, "A" * 22, "x", "%00")]
    assert {page.status_code for page in pages} == {200}
    assert len({page.content for page in pages}) == 1
    assert len({tuple(sorted((k, v) for k, v in page.headers.items() if k != "date")) for page in pages}) == 1
    assert pages[0].headers["content-language"] == "fr"
    assert b'lang="fr"' in pages[0].content


def test_a_public_origin_with_tls_is_announced_to_browsers_and_in_cookies(installation):
    """Behind a TLS proxy: links and cookies are those of the public origin, whatever the port we listen on."""
    with (
        installation.serving(PUBLIC_URL="https://files.example.org") as server,
        server.http(installation.token(), host="files.example.org") as http,
    ):
        answer = http.put("/api/v1/send/a?recipient=x", content=b"x")
        sent = ok(answer, 201)
        assert "max-age=" in answer.headers["strict-transport-security"]
        assert sent["link"].startswith(f"https://files.example.org/s/{sent['share_id']}#")
        body = {"link_secret": sent["link"].partition("#")[2], "password": sent["password"]}
        won = http.post(f"/api/v1/shares/{sent['share_id']}/claim", json=body)
        assert "; Secure" in won.headers["set-cookie"]
        direct = httpx.get(f"{server.origin}/s/x", trust_env=False)
        assert ok(direct, 400)["code"] == "host_not_allowed"


STAFF_PATHS = [
    ("PUT", "/api/v1/send/a"),
    ("PUT", "/api/v1/send"),
    ("POST", "/api/v1/transfers"),
    ("GET", "/api/v1/transfers"),
    ("GET", f"/api/v1/transfers/{'A' * 22}"),
    ("DELETE", f"/api/v1/transfers/{'A' * 22}"),
    ("PUT", f"/api/v1/transfers/{'A' * 22}/files/a"),
    ("POST", f"/api/v1/transfers/{'A' * 22}/shares"),
    ("GET", f"/api/v1/transfers/{'A' * 22}/receipt"),
    ("DELETE", f"/api/v1/shares/{'A' * 22}"),
    ("GET", "/api/v1/me"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/audit/retention"),
    ("GET", "/api/v1/audit/log"),
]
RECIPIENT_PATHS = [
    ("GET", "/s/x"),
    ("GET", "/s/assets/receive.js"),
    ("POST", f"/api/v1/shares/{'A' * 22}/look"),
    ("POST", f"/api/v1/shares/{'A' * 22}/claim"),
    ("POST", f"/api/v1/shares/{'A' * 22}/content"),
    ("GET", f"/api/v1/claims/{'A' * 22}/files/0"),
    ("POST", f"/api/v1/claims/{'A' * 22}/complete"),
]
NOBODYS_PATHS = [
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
    ("GET", "/openapi.json"),
    ("GET", "/debug"),
    ("GET", "/admin"),
    ("GET", "/.env"),
    ("GET", "/s/assets/..%2f..%2fcaller.py"),
]


def test_each_door_serves_its_own_people_only(installation):
    """Lesson 25: the recipients' port has no staff, docs, metrics, debug or licence route (GoAnywhere, ownCloud)."""
    token = installation.token()
    with installation.serving("--audience", "recipient") as recipients:
        with recipients.http(token) as http:
            for method, path in STAFF_PATHS + NOBODYS_PATHS:
                assert ok(http.request(method, path), 404)["code"] == "not_found", path
            assert {http.request(*route).json().get("code") for route in RECIPIENT_PATHS[2:]} <= {
                "share_not_found",
                "claim_not_found",
                "link_credentials_required",
                "invalid_request",
            }
            assert {http.request(*route).status_code for route in RECIPIENT_PATHS[:2]} == {200}
        with installation.serving("--audience", "staff", "--no-scheduler") as staff, staff.http(token) as http:
            until(lambda: http.get("/api/v1/me").status_code == 200)
            for method, path in RECIPIENT_PATHS + NOBODYS_PATHS[1:]:
                answer = http.request(method, path)
                assert answer.status_code in {404, 405}, path
                assert answer.json()["code"] in {"not_found", "method_not_allowed"}, path
            ok(http.put("/api/v1/send/a?recipient=x", content=b"x"), 201)


@pytest.mark.parametrize("audience", ["all", "staff", "recipient"])
def test_with_two_origins_each_host_serves_its_own_people_only(installation, audience):
    """The recipients' host reaches the internet: no staff route may answer there, whatever `--audience` says."""
    token = installation.token()
    origins = {"PUBLIC_URL": "https://share.example.org", "STAFF_URL": "https://staff.example.org"}
    sides = {
        "recipient": ("share.example.org", ("GET", "/s/x"), RECIPIENT_PATHS, STAFF_PATHS),
        "staff": ("STAFF.example.org", ("GET", "/api/v1/me"), STAFF_PATHS, RECIPIENT_PATHS),
    }
    with installation.serving("--audience", audience, **origins) as server:
        for people, (host, known, own, others) in sides.items():
            with server.http(token, host=host) as http:
                served = audience in {"all", people}
                assert http.request(*known).status_code == (200 if served else 400)
                refused = {http.request(*route).status_code for route in others if route not in own}
                assert refused <= ({404, 405} if served else {400}), people
                assert not any(http.request(*route).is_success for route in others)
                assert http.get("/readyz").status_code == 200


@pytest.mark.parametrize("form", ["Bearer\u00a0{}", "Bearer {}\u00a0", "Bearer \u200b{}"])
def test_a_token_copied_with_an_invisible_character_is_refused_saying_so(staff, anyone, form):
    """By the service, and in French."""
    token = staff.headers["authorization"].removeprefix("Bearer ")
    headers = {"Authorization": form.format(token).encode(), "Accept": "text/plain", "Accept-Language": "fr"}
    refused = anyone.get("/api/v1/me", headers=headers)
    assert refused.status_code == 401
    assert "espace insécable" in refused.text
    assert token not in refused.text
