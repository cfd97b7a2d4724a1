"""The administrators' pages: what a form changes, what it refuses and how the refusal looks, without a browser."""

import html
import re
from contextlib import contextmanager

import pytest

from app.actions.issue_access_token import issue_access_token
from app.actions.list_access_tokens import list_access_tokens
from app.actions.lock_down import lift_lockdown, lockdown_since
from app.actions.revoke_session import revoke_session
from app.actions.stop_intake import resume_intake
from app.crypto.token import new_id
from app.db.errors import DatabaseUnavailable
from app.domain.access_token import Role
from tests.attacks.test_every_route_is_guarded import ADMINISTRATORS_FORMS
from tests.sign_in.people import entries_of

HOSTILE = '"><script>alert(1)</script>'


def found(pattern, text):
    """What the group of a pattern matches; it must match."""
    match = re.search(pattern, text, re.DOTALL)
    assert match, text
    return match[1]


def fields_of(page, action):
    """The fields of a form of this page, as a browser would send them untouched."""
    form = found(rf'<form method="post" action="{action}">(.*?)</form>', page.text)
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))


def opened(nurse, path, action, **query):
    page = nurse.get(path + "?" + "&".join(f"{name}={value}" for name, value in {"lang": "fr", **query}.items()))
    assert page.status_code == 200, page.text
    return fields_of(page, action)


def created(nurse, **filled):
    form = opened(nurse, "/house/tokens/new", "/house/tokens/new")
    wanted = {"name": f"{HOSTILE} {new_id()}", "role": "staff", "expires_in": "30d"} | filled
    return form | wanted, nurse.post("/house/tokens/new", form | wanted)


def secret_in(page):
    return found(r'id="secret"[^>]*value="(cad_[^"]+)"', page.text)


def test_a_created_token_is_in_one_response_only(by_token, nurse, capfd):
    """Lesson 34: no cookie, address, list, log or cache has it; the name is text wherever it is shown."""
    form, page = created(nurse)
    secret = secret_in(page)
    assert (page.status_code, page.headers["cache-control"]) == (201, "no-store")
    assert "location" not in page.headers
    assert "set-cookie" not in page.headers
    list_page = nurse.get("/house/tokens")
    assert "&lt;script&gt;" in list_page.text
    for shown in (page, list_page):
        assert "<script" not in shown.text
        assert "script-src" not in shown.headers["content-security-policy"]
    with by_token.resources.database.reading() as connection:
        entries = str(connection.exec_driver_sql("SELECT content FROM audit_entries").fetchall())
    for text in (list_page.text, entries, *capfd.readouterr()):
        assert secret not in text
    assert form["name"] not in entries
    again = nurse.post("/house/tokens/new", form)  # a double click, or a reload
    assert 'role="alert"' in again.text
    assert secret_in(again) != secret
    assert bearer_status(by_token, secret) == 401
    assert bearer_status(by_token, secret_in(again)) == 200
    by_token.resources.threads.submit(lambda: None).result()  # the use is noted
    for filled in ({}, {"expires_in": "7d"}):
        late = nurse.post("/house/tokens/new", form | filled)
        assert (late.status_code, 'id="secret"' in late.text) == (422 if filled else 409, False)


def bearer_status(service, secret):
    return service.http.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code


@pytest.mark.parametrize(
    ("filled", "said"),
    [
        ({"name": ""}, "Un jeton doit avoir un nom."),
        ({"name": "x" * 201}, "name"),
        ({"role": "admin"}, "caducee token create"),
        ({"expires_in": "3650d"}, "durée de vie"),
        ({"expires_in": ""}, "Une durée"),
        ({"role": "root"}, "forme attendue"),
        ({"key": "short"}, "Idempotency-Key"),
    ],
    ids=str,
)
def test_a_refused_form_comes_back_as_it_was_filled_in(nurse, filled, said):
    form, page = created(nurse, **filled)
    assert page.status_code in {400, 403}
    alert = found(r'<p class="error" id="refusal" role="alert">(.*?)</p>', page.text)
    assert said in alert
    assert f'value="{form["name"].replace(chr(34), "&#34;").replace("<", "&lt;").replace(">", "&gt;")}"' in page.text
    assert fields_of(page, "/house/tokens/new")["key"] != form["key"], "what is sent next is another request"


def test_the_successor_has_the_owner_of_its_token_whatever_the_form_says(by_token, nurse):
    _, page = created(nurse, name=f"lab {new_id()}")
    renewed = found(r'<dd class="id">([\w-]{22})', page.text)
    form = opened(nurse, "/house/tokens/new", "/house/tokens/new", renew=renewed)
    filled = {"name": "successor", "role": "staff", "expires_in": "30d", "owner": "person:https://i.example#x"}
    made = nurse.post("/house/tokens/new", form | filled)
    assert made.status_code == 201
    rows = by_token.http.get("/api/v1/access-tokens", headers=nurse.page_headers()).json()["tokens"]
    assert {row["owner"] for row in rows if row["id"] == renewed} == {row["owner"] for row in rows[:1]}
    assert nurse.get(f"/house/tokens/new?renew={new_id()}").status_code == 404


def test_hundreds_of_tokens_are_reached_by_following_links(by_token, nurse):
    for _ in range(110):
        issue_access_token(by_token.resources, name=f"lab {new_id()}", role=Role.STAFF, lifetime=None)
    listed, following, pages = [], ["/house/tokens?lang=fr&show=every"], 0
    while following:
        page = nurse.get(html.unescape(following[0])).text
        listed += re.findall(r'<span class="id">([\w-]{22})</span>', page)
        following = re.findall(r'<a href="([^"]*)" rel="next">', page)
        pages += 1
    rows = {row.id for row in list_access_tokens(by_token.resources.database)}
    assert (len(listed), set(listed)) == (len(rows), rows)
    assert pages == -(-len(rows) // 50)


@pytest.mark.parametrize("kind", ["tokens", "sessions"])
def test_whoever_revokes_the_own_credential_is_warned_and_signed_out(by_token, nurse, kind):
    own = nurse.token.row.id if kind == "tokens" else nurse.me().json()["session"]["id"]
    question = nurse.get(f"/house/{kind}/revoke?lang=en&id={own}")
    assert '<p class="warning">' in question.text
    form = fields_of(question, f"/house/{kind}/revoke")
    done = nurse.post(f"/house/{kind}/revoke", form | {"reason": "request"})
    assert (done.status_code, done.headers["location"]) == (303, "/sign-in?lang=en")
    gone = [each.partition("=")[0] for each in done.headers.get_list("set-cookie") if "Max-Age=0" in each]
    assert gone == ["caducee-session", "caducee-id-token"]
    assert nurse.get("/house/tokens").status_code == 401
    event = "token.revoked" if kind == "tokens" else "session.ended"
    assert entries_of(by_token.resources, event)[-1]["reason"] == "request"


def test_another_tab_that_revokes_again_is_told_what_is_so(nurse):
    _, page = created(nurse)
    token = found(r'<dd class="id">([\w-]{22})', page.text)
    form = opened(nurse, "/house/tokens/revoke", "/house/tokens/revoke", id=token)
    for _ in range(2):
        done = nurse.post("/house/tokens/revoke", form)
        assert done.status_code == 303
        after = nurse.get(done.headers["location"])
        assert "a été révoqué le" in after.text
        assert '<form method="post" action="/house/tokens/revoke"' not in after.text


def test_a_form_whose_session_ended_meanwhile_changes_nothing(by_token, nurse):
    form = opened(nurse, "/house/service", "/house/lockdown")
    resources = by_token.resources
    revoke_session(resources.database, resources.clock, nurse.me().json()["session"]["id"])
    late = nurse.post("/house/lockdown", form | {"word": "verrouiller"})
    assert late.status_code == 401
    assert "/sign-in?lang=fr" in late.text
    assert "<h1>Se connecter</h1>" in late.text
    assert lockdown_since(resources.database) is None


def test_every_form_needs_the_sessions_token_and_the_own_page(by_token, nurse):
    """CSRF, with everything else as it should be."""
    right = {"session_token": nurse.page_headers()["Caducee-Session-Token"], "word": "lock down", "intake": "off"}
    for _, path in ADMINISTRATORS_FORMS:
        other_site = nurse.post(path, right, **{"Sec-Fetch-Site": "cross-site"})
        no_token = nurse.post(path, right | {"session_token": "A" * 43})
        assert (other_site.status_code, no_token.status_code) == (403, 403), path
        assert "cross_site_request" in other_site.text
        assert "session_token_required" in no_token.text
    assert lockdown_since(by_token.resources.database) is None


CHANGES = {
    "tokens/revoke": ("access_tokens", "revoked_at"),
    "sessions/revoke": ("sessions", "ended_at"),
    "lockdown": ("service_state", "locked_down_at"),
    "intake": ("service_state", "intake_off_at"),
}


@contextmanager
def undone_by_trigger(database, table, column):
    if database.is_sqlite:
        when = f"AFTER UPDATE OF {column} ON {table} WHEN new.{column} IS NOT NULL"
        made = [f"CREATE TRIGGER undoing {when} BEGIN UPDATE {table} SET {column} = NULL; END"]
        dropped = "DROP TRIGGER undoing"
    else:
        body = f"BEGIN NEW.{column} := NULL; RETURN NEW; END"
        when = f"BEFORE UPDATE OF {column} ON {table} FOR EACH ROW EXECUTE FUNCTION undo()"
        made = [
            f"CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS '{body}'",
            f"CREATE TRIGGER undoing {when}",
        ]
        dropped = "DROP FUNCTION undo CASCADE"
    with database.writing() as transaction:
        for statement in made:
            transaction.connection.exec_driver_sql(statement)
    yield
    with database.writing() as transaction:
        transaction.connection.exec_driver_sql(dropped)


@contextmanager
def unreadable_afterwards(database, _table, _column):
    kept = database.before_commit

    def gone():
        raise DatabaseUnavailable("gone")

    def keep(entries, places):
        kept(entries, places)
        if entries:
            patch.setattr(database, "reading", gone)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "before_commit", keep)
        yield


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("failure", [undone_by_trigger, unreadable_afterwards])
def test_no_page_reports_what_the_database_did_not_confirm(by_token, nurse, path, failure):
    """A trigger undoes the change, or the database fails between the change and the look at it: then neither "done" nor
    "nothing was changed" is known.
    """
    resources = by_token.resources
    ids = {"tokens/revoke": nurse.token.row.id, "sessions/revoke": nurse.me().json()["session"]["id"]}
    token = nurse.page_headers()["Caducee-Session-Token"]
    form = {"session_token": token, "id": ids.get(path, ""), "word": "lock down", "intake": "off", "lang": "fr"}
    try:
        with failure(resources.database, *CHANGES[path]):
            answer = nurse.post(f"/house/{path}", form)
    finally:
        lift_lockdown(resources.database, resources.clock)
        resume_intake(resources.database, resources.clock)
    assert (answer.status_code, "change_not_confirmed" in answer.text) == (503, True), answer.text
    assert "n’a pas confirmé" in answer.text


@pytest.mark.parametrize("word", ["verrouiller", "Lock  Down"])
def test_a_lockdown_needs_the_word_and_shows_no_form_afterwards(by_token, nurse, word):
    try:
        form = opened(nurse, "/house/service", "/house/lockdown")
        wrong = nurse.post("/house/lockdown", form | {"word": word[1:], "reason": "incident"})
        assert wrong.status_code == 400
        assert 'aria-invalid="true"' in wrong.text
        assert lockdown_since(by_token.resources.database) is None
        done = nurse.post("/house/lockdown", form | {"word": word, "reason": "incident"})
        assert done.headers["location"] == "/house/service?lang=fr"
        page = nurse.get(done.headers["location"])
        assert "Verrouillé depuis" in page.text
        assert "Les nouveaux transferts sont acceptés" not in page.text
        assert "/house/lockdown" not in page.text
        assert "caducee lockdown off" in page.text
        assert entries_of(by_token.resources, "lockdown.begun")[-1]["actor"] == f"token:{nurse.token.row.id}"
    finally:
        lift_lockdown(by_token.resources.database, by_token.resources.clock)


@pytest.mark.parametrize(
    "path", ["tokens/revoke?id=x", "sessions/revoke?id=%00", "tokens?after=x", "tokens?show=perhaps"]
)
def test_an_address_that_was_altered_gets_a_page(nurse, path):
    page = nurse.get(f"/house/{path}&lang=fr")
    assert page.status_code in {400, 404}
    assert 'role="alert"' in page.text
    assert 'lang="fr"' in page.text
