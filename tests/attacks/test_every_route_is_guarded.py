"""Lesson 24: one authentication function guards every route from an allow-list of open ones; an exception inside it
denies; anonymous never equals anonymous (CrushFTP CVE-2025-31161, MOVEit CVE-2024-5806, CVE-2026-62382).
"""

import re

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from app.domain.access_token import Caller, Role
from app.domain.audience import Audience
from app.web import guard
from tests.attacks.inside import inside

OPEN_ON_THE_STAFF_PORT = {
    ("GET", "/audit"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/sign-in/start"),
    ("GET", "/sign-in/callback"),
    ("POST", "/sign-in/logout"),
    ("GET", "/house/assets/{name}"),
    ("HEAD", "/house/assets/{name}"),
    ("GET", "/staff/assets/{name}"),
    ("HEAD", "/staff/assets/{name}"),
}
"""Pages without any data, and what signs somebody in or out by what the request itself proves."""

OPEN_TO_ANYBODY = OPEN_ON_THE_STAFF_PORT | {
    ("GET", "/livez"),
    ("HEAD", "/livez"),
    ("GET", "/readyz"),
    ("HEAD", "/readyz"),
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/s"),
    ("HEAD", "/s"),
    ("GET", "/s/"),
    ("HEAD", "/s/"),
    ("GET", "/S/{link:path}"),
    ("HEAD", "/S/{link:path}"),
    ("GET", "/s/{share_id}"),
    ("HEAD", "/s/{share_id}"),
    ("GET", "/s/{share_id}/{altered:path}"),
    ("HEAD", "/s/{share_id}/{altered:path}"),
    ("GET", "/s/assets/{name}"),
    ("HEAD", "/s/assets/{name}"),
    ("POST", "/api/v1/shares/{share_id}/look"),
    ("GET", "/api/v1/shares/{share_id}/receipt"),
    ("POST", "/api/v1/shares/{share_id}/claim"),
    ("POST", "/api/v1/shares/{share_id}/content"),
    ("GET", "/api/v1/claims/{claim_id}/files/{number}"),
    ("HEAD", "/api/v1/claims/{claim_id}/files/{number}"),
    ("GET", "/api/v1/claims/{claim_id}/blobs/{number}"),
    ("HEAD", "/api/v1/claims/{claim_id}/blobs/{number}"),
    ("GET", "/api/v1/claims/{claim_id}/zip"),
    ("HEAD", "/api/v1/claims/{claim_id}/zip"),
    ("POST", "/api/v1/claims/{claim_id}/complete"),
}
"""Whoever adds a route that needs no access token adds it here too, and thinks twice."""

OPEN_ON_BOTH_PORTS = {(method, path) for method, path in OPEN_TO_ANYBODY if path in {"/", "/livez", "/readyz"}}
"""`/` is the recipients' page on one, the sign-in page on the other."""

OPEN_TO_EVERY_TOKEN = {("GET", "/api/v1/me"), ("GET", "/api/v1/openapi.json")}

FOR_AUDITORS = {
    ("GET", "/house"),
    ("GET", "/house/retention"),
    ("GET", "/house/exposure"),
    ("GET", "/house/deliveries"),
    ("GET", "/house/log"),
    ("GET", "/house/receipts"),
    ("GET", "/house/checkpoint"),
    ("GET", "/house/export"),
    ("GET", "/api/v1/audit/retention"),
    ("GET", "/api/v1/audit/exposure"),
    ("GET", "/api/v1/audit/log"),
    ("GET", "/api/v1/audit/deliveries"),
    ("GET", "/api/v1/audit/checkpoint"),
    ("POST", "/api/v1/audit/consistency"),
    ("GET", "/api/v1/audit/export"),
    ("GET", "/api/v1/audit/receipts/{transfer_id}"),
}

FOR_ADMINISTRATORS = {
    ("GET", "/api/v1/access-tokens"),
    ("POST", "/api/v1/access-tokens"),
    ("DELETE", "/api/v1/access-tokens/{token_id}"),
    ("GET", "/api/v1/sessions"),
    ("DELETE", "/api/v1/sessions/{session_id}"),
    ("GET", "/api/v1/lockdown"),
    ("PUT", "/api/v1/lockdown"),
    ("GET", "/api/v1/intake"),
    ("PUT", "/api/v1/intake"),
    ("GET", "/house/tokens"),
    ("GET", "/house/tokens/new"),
    ("GET", "/house/tokens/revoke"),
    ("GET", "/house/sessions"),
    ("GET", "/house/sessions/revoke"),
    ("GET", "/house/service"),
}
"""Nobody else reaches any of them, by token or in a session: tests/sign_in/test_administration.py."""

ADMINISTRATORS_FORMS = {
    ("POST", "/house/tokens/new"),
    ("POST", "/house/tokens/revoke"),
    ("POST", "/house/sessions/revoke"),
    ("POST", "/house/lockdown"),
    ("POST", "/house/intake"),
}

BY_FORM = {("POST", "/audit/{report}"), ("POST", "/sign-out"), ("POST", "/house/checkpoint")} | ADMINISTRATORS_FORMS
"""The token is in the body; a header authenticates nobody (tests/acceptance/test_auditor_over_http.py)."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with inside(tmp_path_factory.mktemp("guarded")) as opened:
        yield opened


def routes_of(app):
    """Every (method, path, route) that the application can reach, however deep routers are nested."""

    def walk(routes):
        for route in routes:
            if isinstance(route, Route):
                yield from ((method, route.path, route) for method in route.methods or ())
            else:  # FastAPI keeps included routers as they are; ours bring their prefix themselves
                assert route.include_context.prefix == ""
                yield from walk(route.original_router.routes)

    return list(walk(app.router.routes))


def asked(path):
    """A path with something in each of its parameters."""
    return re.sub(r"{number}", "0", re.sub(r"{(?!number)[^}]*}", "A" * 22, path))


def code_of(answer):
    """The code of a refusal; a response to HEAD has no body to tell it."""
    return answer.json()["code"] if answer.request.method != "HEAD" else "not_authenticated"


def test_the_list_of_routes_is_complete(opened):
    """What the router serves is what is looked at below; an empty walk would prove nothing."""
    found = {(method, path) for method, path, _ in routes_of(opened.app)}
    assert found >= OPEN_TO_ANYBODY | OPEN_TO_EVERY_TOKEN
    assert len(found) > len(OPEN_TO_ANYBODY) + 8
    documented = {(m.upper(), p) for p, methods in opened.app.openapi()["paths"].items() for m in methods}
    assert {(m, p.replace(":path", "")) for m, p in found} >= documented


def test_every_route_is_of_the_guarded_kind(opened):
    """A route added around the guard (mount, websocket, plain Starlette route) is found here."""
    for method, path, route in routes_of(opened.app):
        assert isinstance(route, APIRoute), f"{method} {path}"
        assert isinstance(route, guard.GuardedRoute), f"{method} {path}"


def test_every_route_that_is_not_on_the_list_refuses_without_a_token(opened):
    for method, path, _ in routes_of(opened.app):
        answer = opened.http.request(method, asked(path))
        if (method, path) in OPEN_TO_ANYBODY:
            asked_for = "link_credentials_required" if path.endswith("/content") else None
            assert answer.status_code != 401 or answer.json()["code"] == asked_for, f"{method} {path}"
        else:
            assert (answer.status_code, code_of(answer)) == (401, "not_authenticated"), f"{method} {path}"


@pytest.mark.parametrize("path", ["/api/v1/transfers", "/api/v1/send/a"])
def test_a_refusal_comes_before_anything_else_is_looked_at(opened, path):
    """Neither form nor existence: who has no token learns nothing from the order of checks."""
    for body in (b"{", b"x" * 100_000):
        method = "PUT" if "send" in path else "POST"
        answer = opened.http.request(method, path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 401


def test_an_auditor_reaches_nothing_of_a_depositor(opened):
    """A wrong role is refused everywhere but where every token is let in, and in the auditors' own routes."""
    header = opened.people(Role.AUDITOR)
    for method, path, _ in routes_of(opened.app):
        if (method, path) in OPEN_TO_ANYBODY | FOR_AUDITORS:
            continue
        answer = opened.http.request(method, asked(path), headers=header)
        expected = 200 if (method, path) in OPEN_TO_EVERY_TOKEN else 401 if (method, path) in BY_FORM else 403
        assert answer.status_code == expected, f"{method} {path}"


def test_a_depositor_reaches_nothing_of_an_auditor(opened):
    """The log tells of everybody's transfers."""
    found = {(method, path) for method, path, _ in routes_of(opened.app)}
    assert found >= FOR_AUDITORS | FOR_ADMINISTRATORS | ADMINISTRATORS_FORMS
    header = opened.people(Role.STAFF)
    for method, path in FOR_AUDITORS:
        answer = opened.http.request(method, path, params={"from": "2026-01-01"}, headers=header)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed"), path
        assert opened.http.request(method, path, headers=opened.people(Role.ADMIN)).status_code != 403, path


@pytest.mark.parametrize("failure", [RuntimeError("boom"), KeyError("x"), None])
def test_an_exception_inside_the_guard_denies(opened, monkeypatch, failure):
    """Also when it answers nothing at all where a caller was expected."""

    def broken(*_):
        if failure is not None:
            raise failure

    monkeypatch.setattr(guard, "authenticate", broken)
    for method, path, _ in routes_of(opened.app):
        if (method, path) not in OPEN_TO_ANYBODY:
            answer = opened.http.request(method, asked(path), headers={"Authorization": "Bearer x"})
            assert answer.status_code in {401, 500}, f"{method} {path}"
            assert code_of(answer) in {"internal_error", "not_authenticated"}
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_nobody_is_a_caller_by_accident(opened):
    """Anonymous never equals anonymous: a request that nobody was let into has no caller, whatever its state says."""
    from starlette.requests import Request

    for state in ({}, {"caller": None}, {"caller": ""}, {"caller": "anonymous"}, {"caller": 0}):
        with pytest.raises(Exception, match="access token"):
            guard.caller_of(Request({"type": "http", "headers": [], "state": state}))
    assert Caller("a", "", Role.STAFF, None, "token:a") == Caller("a", "", Role.STAFF, None, "token:a")


@pytest.mark.parametrize(
    ("audience", "count"), [("recipient", len(OPEN_TO_ANYBODY - OPEN_ON_THE_STAFF_PORT)), ("staff", None)]
)
def test_each_audience_has_its_routes_only(tmp_path, audience, count):
    """Lesson 25: the recipients' port has no staff, docs, metrics, debug or licence route."""
    with inside(tmp_path, Audience(audience)) as opened:
        found = {(method, path) for method, path, _ in routes_of(opened.app)}
    if audience == "recipient":
        assert found == OPEN_TO_ANYBODY - OPEN_ON_THE_STAFF_PORT
        assert len(found) == count
    else:
        assert found & OPEN_TO_ANYBODY == OPEN_ON_THE_STAFF_PORT | OPEN_ON_BOTH_PORTS
