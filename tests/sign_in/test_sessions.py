"""Sessions of browsers: how they begin and end, and who cannot use them."""

import asyncio
from datetime import timedelta

import pytest

from app.actions.end_due_sessions import end_due_sessions
from app.actions.revoke_access_token import revoke_access_token
from app.actions.revoke_session import revoke_session
from app.db.errors import DatabaseUnavailable
from app.domain.audit_events import Reason
from app.domain.session import IDLE, LONGEST
from app.web import audit_answers
from tests.acceptance.service import until
from tests.attacks.test_every_route_is_guarded import OPEN_TO_ANYBODY, asked, routes_of
from tests.sign_in.conftest import serving
from tests.sign_in.people import Browser, code_of, entries_of, scope_of

CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


def age(service, **moments):
    """Set times of every session back, as if they had passed."""
    with service.resources.database.writing() as transaction:
        for column, back in moments.items():
            transaction.connection.exec_driver_sql(
                f"UPDATE sessions SET {column} = {column} - {int(back.total_seconds() * 1_000_000)}"
                " WHERE ended_at IS NULL"
            )


def use_is_noted(service):
    """A thread notes it, after the answer."""
    until(lambda: not service.resources.sessions_noting, what="the use to be noted")


def session_of(browser):
    return browser.me().json()["session"]["id"]


def state_of(service, session_id):
    with service.resources.database.reading() as connection:
        query = f"SELECT digest, ending FROM sessions WHERE id = '{session_id}'"
        return tuple(connection.exec_driver_sql(query).one())


def test_every_change_needs_the_own_page_and_the_sessions_token(by_token, nurse):
    """CSRF, on each route that there is: none can be forgotten."""
    token = nurse.page_headers()["Caducee-Session-Token"]
    changing = [
        (method, path)
        for method, path, _ in routes_of(by_token.app)
        if method in CHANGING and (method, path) not in OPEN_TO_ANYBODY
    ]
    assert len(changing) > 15
    for method, path in changing:
        for site in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}, {}):
            if not site and path in {"/sign-out", "/audit/{report}", "/house/checkpoint"}:
                continue  # forms say so below
            headers = site | {"Caducee-Session-Token": token}
            refused = by_token.http.request(method, asked(path), headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "cross_site_request"), f"{method} {path}"
        for wrong in ({}, {"Caducee-Session-Token": "A" * 43}, {"Caducee-Session-Token": token[:-1]}):
            refused = by_token.http.request(method, asked(path), headers={"Sec-Fetch-Site": "same-origin"} | wrong)
            assert (refused.status_code, refused.json()["code"]) == (403, "session_token_required"), f"{method} {path}"
        if path != "/sign-out":
            own = by_token.http.request(method, asked(path), headers=nurse.page_headers())
            assert own.json().get("code") not in {"cross_site_request", "session_token_required"}, f"{method} {path}"
    for path in ("/sign-out", "/audit/retention", "/house/checkpoint"):
        assert by_token.http.post(path, data={"session_token": token}).json()["code"] == "cross_site_request"
    assert nurse.me().status_code == 200


def test_another_origins_page_reads_nothing(by_token, nurse):
    for site in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}):
        refused = by_token.http.get("/api/v1/me", headers=site)
        assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize(
    "site", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": "https://evil.example"}, {}]
)
def test_no_other_site_signs_a_visitor_in(by_token, nurse, site):
    """Login CSRF: the visitor would deposit into the attacker's account."""
    by_token.http.cookies.clear()
    headers = {"Accept": "text/html"} | site
    refused = by_token.http.post("/sign-in", data={"token": nurse.token.token}, headers=headers)
    assert (refused.status_code, code_of(refused)) == (403, "cross_site_request")
    assert not by_token.http.cookies


def test_a_session_cannot_be_planted(by_token, nurse):
    """Fixation: each sign-in has a new cookie, and the browser's earlier session is over."""
    planted, earlier = dict(by_token.http.cookies), session_of(nurse)
    assert nurse.post("/sign-in", {"token": nurse.token.token}).status_code == 303
    assert dict(by_token.http.cookies) != planted
    assert session_of(nurse) != earlier
    assert state_of(by_token, earlier) == (None, "replaced")
    by_token.http.cookies.clear()
    by_token.http.cookies.update(planted)
    assert nurse.me().json()["code"] == "session_ended"


def test_a_cookie_is_kept_as_a_digest_alone(by_token, nurse):
    ((name, value),) = by_token.http.cookies.items()
    assert (name, len(value)) == ("caducee-session", 43)
    for secret in (value, nurse.page_headers()["Caducee-Session-Token"]):
        with by_token.resources.database.reading() as connection:
            assert secret not in str(connection.exec_driver_sql("SELECT * FROM sessions").fetchall())
            assert secret not in str(connection.exec_driver_sql("SELECT content FROM audit_entries").fetchall())


def test_with_tls_no_other_host_can_set_the_cookie(tmp_path):
    with serving(tmp_path, public_url="https://files.example.org", staff_url="https://staff.example.org") as service:
        token = service.people()["Authorization"].split()[1]
        answer = Browser(service.http, service.http).post("/sign-in", {"token": token})
        cookie, id_token = answer.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-caducee-session=")
        assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
        assert "Max-Age" not in cookie, "it ends with the browser"
        assert "Domain" not in cookie
        assert id_token.startswith('__Secure-caducee-id-token=""; HttpOnly; Max-Age=0; Path=/sign-out;')
        page = service.http.get("/")
        assert "script-src 'self';" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_nobody_signs_in_where_recipients_share_the_origin(tmp_path):
    with serving(tmp_path, public_url="https://files.example.org") as service:
        token = service.people()["Authorization"].split()[1]
        browser = Browser(service.http, service.http)
        for answer in (browser.get("/sign-in"), browser.post("/sign-in", {"token": token})):
            assert (answer.status_code, code_of(answer)) == (403, "sign_in_not_offered")
        assert not service.http.cookies
        service.http.cookies.set("__Host-caducee-session", "A" * 43)
        assert service.http.get("/api/v1/me").json()["code"] == "not_authenticated"


def test_a_token_in_a_header_wins_over_the_cookie(by_token, nurse):
    other = by_token.people()
    created = by_token.http.post("/api/v1/transfers", json={}, headers=other)
    assert created.status_code == 201
    assert by_token.http.get("/api/v1/me", headers=other).json()["session"] is None
    wrong = by_token.http.get("/api/v1/me", headers={"Authorization": "Bearer cad_wrong"})
    assert wrong.json()["code"] == "not_authenticated"


@pytest.mark.parametrize(
    ("moments", "ending"),
    [
        ({"used_at": IDLE}, "idle"),
        ({"expires_at": LONGEST, "created_at": LONGEST}, "expired"),
    ],
    ids=str,
)
def test_time_ends_a_session_and_the_sweep_says_so(by_token, nurse, moments, ending):
    session_id = session_of(nurse)
    age(by_token, **{column: back - timedelta(seconds=20) for column, back in moments.items()})
    assert nurse.me().status_code == 200
    use_is_noted(by_token)
    age(by_token, **moments)
    assert nurse.me().json()["code"] == "session_ended"
    assert end_due_sessions(by_token.resources) >= 1
    assert state_of(by_token, session_id) == (None, ending)
    (entry,) = [e for e in entries_of(by_token.resources, "session.ended") if e["session"] == session_id]
    assert (entry["actor"], entry["outcome"]) == ("system", ending)


def test_use_prolongs_a_session_but_not_beyond_ten_hours(by_token, nurse):
    age(by_token, used_at=IDLE - timedelta(minutes=1))
    assert nurse.me().status_code == 200
    use_is_noted(by_token)
    age(by_token, used_at=IDLE - timedelta(minutes=1))
    assert nurse.me().status_code == 200


def test_a_session_ends_with_its_token(by_token, nurse):
    session_id = session_of(nurse)
    revoke_access_token(by_token.resources.database, by_token.resources.clock, nurse.token.row.id)
    assert nurse.me().json()["code"] == "session_ended"
    assert nurse.get("/").status_code == 200  # the sign-in page
    end_due_sessions(by_token.resources)
    assert state_of(by_token, session_id) == (None, "token_ended")


def test_a_revoked_session_is_refused_and_its_upload_cut(by_token, nurse):
    """Lesson 30: also what is under way."""
    session_id, headers = session_of(nurse), nurse.page_headers()

    def body():
        yield b"x" * 1024
        revoke_session(by_token.resources.database, by_token.resources.clock, session_id, reason=Reason.INCIDENT)
        yield b"y" * 1024

    cut = by_token.http.put("/api/v1/send/a", params={"recipient": "b"}, content=body(), headers=headers)
    assert (cut.status_code, cut.json()["code"]) == (401, "session_ended")
    assert nurse.me().json()["code"] == "session_ended"
    entry = entries_of(by_token.resources, "session.ended")[-1]
    assert (entry["actor"], entry["outcome"], entry["reason"]) == ("operator", "revoked", "incident")
    again = revoke_session(by_token.resources.database, by_token.resources.clock, session_id)
    assert not again


def test_ended_sessions_name_people_as_long_as_the_log_and_then_go(by_token, nurse):
    session_id = session_of(nurse)
    signed_out = nurse.post("/sign-out", {}, **nurse.page_headers())
    assert (signed_out.status_code, signed_out.headers["location"]) == (303, "/sign-in")
    end_due_sessions(by_token.resources)
    assert state_of(by_token, session_id) == (None, "signed_out")
    kept = int(by_token.resources.settings.audit_retention.total_seconds() * 1_000_000)
    with by_token.resources.database.writing() as transaction:
        transaction.connection.exec_driver_sql(f"UPDATE sessions SET ended_at = ended_at - {kept} - 1")
    end_due_sessions(by_token.resources)
    with by_token.resources.database.reading() as connection:
        assert connection.exec_driver_sql(f"SELECT 1 FROM sessions WHERE id = '{session_id}'").first() is None


def test_a_form_of_the_house_pages_takes_the_session(by_token, nurse):
    """An auditor who is signed in needs no form that asks for a token."""
    opened = nurse.get("/audit")
    assert (opened.status_code, opened.headers["location"].partition("?")[0]) == (303, "/house")
    page = nurse.get("/house")
    assert 'name="token"' not in page.text
    token = page.text.partition('name="session_token" value="')[2].partition('"')[0]
    for path in ("/house/checkpoint", "/audit/retention"):
        assert nurse.post(path, {"session_token": "x"}).status_code == 403
    assert nurse.post("/audit/retention", {"session_token": token}).status_code == 200
    assert "checkpoint_not_found" in nurse.post("/house/checkpoint", {"session_token": token}).text


@pytest.mark.parametrize("cookie", ["", "x", "A" * 42, "A" * 43, "é" * 43, "A" * 9000])
def test_a_cookie_that_is_none_signs_nobody_in(by_token, cookie):
    headers = {"Cookie": f"caducee-session={cookie}".encode()}
    by_token.http.cookies.clear()
    assert by_token.http.get("/api/v1/me", headers=headers).status_code == 401
    assert by_token.http.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/audit/retention", "/house/intake"])
def test_a_form_gets_a_page_when_the_database_is_away(by_token, nurse, monkeypatch, path):
    """A browser shows whatever comes: never a problem document."""
    form = {"token": nurse.token.token, "lang": "fr"}
    with monkeypatch.context() as patch:
        patch.setattr(by_token.resources.database, "reading", away)
        answer = nurse.post(path, form)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert answer.headers["retry-after"]
    assert "La base de données est injoignable" in answer.text


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("path", ["/house/export", "/api/v1/audit/export"])
def test_an_export_ends_with_its_session(by_token, nurse, monkeypatch, path, ended):
    """Whoever reads slowly gets no more of the log once the session was revoked."""
    monkeypatch.setattr(audit_answers, "LINES", 1)
    resources, session, lines = by_token.resources, session_of(nurse), []

    async def send(message):
        if message.get("body"):
            lines.append(message["body"])
        if ended and len(lines) == 1:
            revoke_session(resources.database, resources.clock, session)

    async def receive():
        await asyncio.Event().wait()  # stays connected

    request = by_token.http.build_request("GET", path, headers={"Sec-Fetch-Site": "same-origin"})
    asyncio.run(by_token.app(scope_of(request), receive, send))
    assert (len(lines) > 2, b'"kind":"end"' in lines[-1]) == (not ended, not ended), lines[-1]


def away():
    raise DatabaseUnavailable("gone")
