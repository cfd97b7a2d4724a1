"""Administrators over the network: tokens, sessions, lockdown and intake, and what only a command does."""

import asyncio
import json

import pytest
from sqlalchemy import select

from app.actions.list_access_tokens import show_access_token
from app.actions.lock_down import lift_lockdown, lockdown_since
from app.actions.revoke_session import revoke_session
from app.crypto.token import new_id
from app.db.tables import metadata
from app.domain.access_token import Role
from app.domain.administration import LONGEST
from tests.acceptance.service import until
from tests.attacks.test_every_route_is_guarded import FOR_ADMINISTRATORS, asked
from tests.integration.actions.stories import out_of_reach
from tests.sign_in.people import entries_of, scope_of

HOSTILE = "<script>alert(1)</script> \N{HEBREW LETTER ALEF}\N{SNOWMAN} O'Neil & fils"


@pytest.fixture
def admin(by_token, nurse):
    """What an administrator's page sends."""
    own = nurse.page_headers()

    def sent(method, path, headers=None, **more):
        return by_token.http.request(method, f"/api/v1/{path}", headers=own | (headers or {}), **more)

    yield sent
    lift_lockdown(by_token.resources.database, by_token.resources.clock)


def create(admin, key=None, **wanted):
    body = {"name": f"lab {new_id()}", "expires_in": "90d"} | wanted
    return admin("POST", "access-tokens", json=body, headers={} if key is None else {"Idempotency-Key": key})


def listed(admin, kind="access-tokens", **query):
    return admin("GET", kind, params=query).json()[kind.removeprefix("access-")]


def entry_of(service, event):
    return entries_of(service.resources, event)[-1]


def test_a_token_is_made_shown_once_used_and_revoked(by_token, nurse, admin):
    name = f"{HOSTILE} {new_id()}"
    answer = create(admin, name=name, role="auditor")
    made = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert (made["name"], made["role"], made["owner"]) == (name, "auditor", f"token:{name}")
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert by_token.http.get("/api/v1/audit/checkpoint", headers=bearer).status_code in {200, 404}
    (row,) = [each for each in listed(admin, show="valid") if each["id"] == made["id"]]
    assert (row["state"], row["current"], row["expires_at"]) == ("valid", False, made["expires_at"])
    assert [each["id"] for each in listed(admin) if each["current"]] == [nurse.token.row.id]
    for _ in range(2):  # two tabs
        assert admin("DELETE", f"access-tokens/{made['id']}", params={"reason": "mistake"}).status_code == 204
    assert by_token.http.get("/api/v1/me", headers=bearer).json()["code"] == "not_authenticated"
    assert made["id"] not in [each["id"] for each in listed(admin, show="valid")]
    created, revoked = entry_of(by_token, "token.created"), entry_of(by_token, "token.revoked")
    for entry in (created, revoked):
        assert (entry["actor"], entry["token"]) == (f"token:{nurse.token.row.id}", made["id"])
        assert entry["address"] == "unknown"
        assert name not in str(entry)
    assert revoked["reason"] == "mistake"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"role": "admin"}, "only_by_command"),
        ({"owner": "token:nobody has it"}, "only_by_command"),
        ({"owner": "person:https://issuer.example#doctor"}, "only_by_command"),
        ({"owner": "everybody"}, "invalid_request"),
        ({"expires_in": f"{LONGEST.days + 1}d"}, "lifetime_out_of_range"),
        ({"expires_in": "59m"}, "lifetime_out_of_range"),
        ({"expires_in": "never"}, "invalid_duration"),
        ({"expires_in": None}, "invalid_request"),
        ({"role": "root"}, "invalid_request"),
        ({"name": " "}, "invalid_request"),
        ({"name": "two\nlines"}, "invalid_request"),
        ({"name": "x" * 201}, "invalid_request"),
        ({"token": "cad_mine"}, "invalid_request"),
    ],
    ids=str,
)
def test_what_only_a_command_makes_is_refused(admin, wanted, code):
    """A stolen session becomes neither another administrator, nor a token without an end, nor somebody else."""
    before = len(listed(admin))
    assert create(admin, **wanted).json()["code"] == code
    assert len(listed(admin)) == before


def test_a_successor_takes_over_the_owner_and_namesakes_are_refused(admin):
    first = create(admin).json()
    assert create(admin, name=first["name"]).json()["code"] == "owner_taken"
    second = create(admin, name=first["name"], owner=first["owner"]).json()
    assert second["owner"] == first["owner"]
    assert second["id"] != first["id"]


def test_a_repeated_request_makes_no_second_token(by_token, admin):
    """A double click, or a response that was lost: the first secret opens nothing."""
    wanted, key = {"name": f"lab {new_id()}", "expires_in": "90d"}, new_id()
    first, second = (create(admin, key, **wanted).json() for _ in range(2))
    assert (first["id"], first["expires_at"]) == (second["id"], second["expires_at"])
    me = {each["token"]: by_token.http.get("/api/v1/me", headers=bearer(each)).status_code for each in (first, second)}
    assert list(me.values()) == [401, 200]
    assert entry_of(by_token, "token.created")["outcome"] == "replaced"
    database, made = by_token.resources.database, first["id"]
    until(lambda: show_access_token(database, made).last_used_at, what="the use to be noted")
    assert create(admin, key, **wanted).json()["code"] == "already_answered"
    assert create(admin, key, **wanted | {"expires_in": "91d"}).json()["code"] == "idempotency_key_reused"


def bearer(made):
    return {"Authorization": f"Bearer {made['token']}"}


def test_long_lists_come_in_pages(nurse, admin):
    made = [create(admin).json()["id"] for _ in range(5)]
    found, after = [], None
    while True:
        page = admin("GET", "access-tokens", params={"limit": 2} | ({"after": after} if after else {})).json()
        found += [each["id"] for each in page["tokens"]]
        after = page["next"]
        if after is None:
            break
    assert found[:5] == made[::-1]
    assert len(found) == len(set(found)) == len(listed(admin))
    nurse.post("/sign-in", {"token": nurse.token.token})  # a second session
    assert admin("GET", "sessions", params={"limit": 1, "ended": True}).json()["next"] is not None
    assert admin("GET", "sessions", params={"after": "x"}).json()["code"] == "invalid_request"


def test_sessions_are_listed_and_revoked_the_own_one_too(by_token, nurse, admin):
    (own,) = [each for each in listed(admin, "sessions") if each["current"]]
    assert (own["actor"], own["role"], own["state"]) == (f"token:{nurse.token.row.id}", "admin", "open")
    assert admin("DELETE", f"sessions/{own['id']}", params={"reason": "incident"}).status_code == 204
    assert nurse.me().json()["code"] == "session_ended"
    entry = entry_of(by_token, "session.ended")
    assert (entry["actor"], entry["outcome"]) == (own["actor"], "revoked")
    assert (entry["session"], entry["reason"], entry["address"]) == (own["id"], "incident", "unknown")


def test_a_mistyped_id_is_not_reported_as_revoked(admin):
    for kind, code in (("access-tokens", "token_not_found"), ("sessions", "session_not_found")):
        for each in (new_id(), "x", "%00"):
            refused = admin("DELETE", f"{kind}/{each}")
            assert (refused.status_code, refused.json()["code"]) == (404, code)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_lockdown_needs_its_word_and_only_a_command_lifts_it(by_token, admin, language):
    asked_in = {"Accept-Language": language}
    word = admin("GET", "lockdown", headers=asked_in).json()["word"]
    assert word == {"en": "lock down", "fr": "verrouiller"}[language]
    for wrong in ("", "lock", f"{word}!"):
        assert admin("PUT", "lockdown", json={"word": wrong}).json()["code"] == "confirmation_required"
    assert lockdown_since(by_token.resources.database) is None
    begun = [admin("PUT", "lockdown", json={"word": f" {word.upper()} ", "reason": "incident"}) for _ in range(2)]
    assert begun[0].json()["since"] == begun[1].json()["since"] is not None
    entry = entry_of(by_token, "lockdown.begun")
    assert (entry["actor"][:6], entry["reason"], entry["address"]) == ("token:", "incident", "unknown")
    assert admin("POST", "transfers", json={}).json()["code"] == "locked_down"
    for method in ("DELETE", "POST", "PATCH"):
        assert admin(method, "lockdown", json={}).status_code == 405
    assert create(admin).json()["code"] == "locked_down", "whoever causes the lockdown makes no token under it"
    assert listed(admin, "sessions"), "what remains possible: to see and revoke"


def test_what_stops_things_needs_no_vault(by_token, admin):
    """Lesson 41: lockdown and revocation with the vault unmounted."""
    made = create(admin).json()["id"]
    with out_of_reach(by_token.resources.settings.vault_dir):
        by_token.resources.vault_time.refresh()
        assert admin("DELETE", f"access-tokens/{made}").status_code == 204
        assert admin("PUT", "lockdown", json={"word": "lock down"}).json()["locked_down"] is True
        assert admin("GET", "intake").status_code == 200
    assert lockdown_since(by_token.resources.database) is not None


def test_intake_goes_off_and_on(by_token, nurse, admin):
    off = admin("PUT", "intake", json={"intake_off": True}).json()
    assert off == admin("GET", "intake").json()
    assert (off["intake_off"], off["held"]) == (True, 0)
    assert admin("POST", "transfers", json={}).json()["code"] == "intake_off"
    assert admin("PUT", "intake", json={"intake_off": False}).json()["since"] is None
    assert admin("POST", "transfers", json={}).status_code == 201
    for event in ("intake.stopped", "intake.resumed"):
        assert entry_of(by_token, event)["actor"] == f"token:{nurse.token.row.id}"


@pytest.mark.parametrize("role", [Role.STAFF, Role.AUDITOR])
def test_nobody_else_reaches_any_of_it_and_learns_nothing(by_token, nurse, role):
    """Neither by token nor in a session: refused before the body is read or an id looked up."""
    made = by_token.people(role)
    assert nurse.post("/sign-in", {"token": made["Authorization"].split()[1]}).status_code == 303
    for method, path in FOR_ADMINISTRATORS:
        for headers in (made, nurse.page_headers()):
            refused = by_token.http.request(method, asked(path), headers=headers, content=b"{")
            assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed"), f"{method} {path}"


def test_a_revoked_administrator_makes_no_token(by_token, nurse, admin):
    assert admin("DELETE", f"access-tokens/{nurse.token.row.id}").status_code == 204
    assert create(admin).json()["code"] == "session_ended"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "intake", {"intake_off": True}),
        ("PUT", "lockdown", {"word": "lock down"}),
        ("POST", "access-tokens", {"name": "late", "expires_in": "90d"}),
        ("POST", "transfers", {}),
    ],
)
def test_a_body_that_is_kept_back_outlasts_no_revocation(by_token, nurse, method, path, body):
    """A request that was admitted, and whose body arrives only after its session was revoked, changes nothing."""
    resources, session = by_token.resources, nurse.me().json()["session"]["id"]
    sent = by_token.http.build_request(method, f"/api/v1/{path}", headers=nurse.page_headers(), json=body)

    async def late():
        revoke_session(resources.database, resources.clock, session)
        return {"type": "http.request", "body": json.dumps(body).encode()}

    before = len(entries_of(resources, "transfer.created"))
    assert answered(by_token.app, sent, late)["code"] == "session_ended"
    with resources.database.reading() as connection:
        assert connection.exec_driver_sql("SELECT id FROM access_tokens WHERE name = 'late'").first() is None
    assert len(entries_of(resources, "transfer.created")) == before
    assert lockdown_since(resources.database) is None


def answered(app, request, receive):
    """What the application answers to a request whose body `receive` returns."""
    messages = []

    async def send(message):
        messages.append(message)

    asyncio.run(app(scope_of(request), receive, send))
    return json.loads(b"".join(message.get("body", b"") for message in messages))


def test_a_new_token_is_kept_nowhere(by_token, admin, caplog, capfd):
    """Lesson 34: not in the database, the service's log or the audit log."""
    token = create(admin, new_id()).json()["token"]
    out, err = capfd.readouterr()
    with by_token.resources.database.reading() as connection:
        stored = [str(connection.execute(select(table)).fetchall()) for table in metadata.sorted_tables]
    for text in (*stored, out, err, caplog.text):
        assert token not in text
        assert token[4:47] not in text


def test_a_token_that_ends_soon_is_counted_until_it_has_a_successor(admin):
    def count():
        return admin("GET", "access-tokens", params={"limit": 1}).json()["ending_unreplaced"]

    before, soon = count(), create(admin, expires_in="13d").json()
    assert count() == before + 1
    create(admin, owner=soon["owner"])
    assert count() == before
    assert [each["state"] for each in listed(admin, show="ending")] == ["ends_soon"]
