"""Sign-in at a certified provider: what is let in, and every way in which it must not be."""

import pytest

from tests.marks import in_test_all
from tests.sign_in.people import NURSE, change, code_of, entries_of, query_of


def test_a_person_signs_in_deposits_and_signs_out(service, browser):
    """G7: no token, no shell. The log names a pseudonym; the transfer belongs to the person."""
    answer = browser.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/"), answer.text
    me = browser.me().json()
    assert (me["role"], me["name"], me["session"]["idle_seconds"]) == ("staff", "Nadia Nurse", 1800)
    assert 'id="sign-out"' in browser.get("/", **{"Sec-Fetch-Site": "cross-site"}).text
    sent = service.http.put(
        "/api/v1/send/a.txt", content=b"x", params={"recipient": "b"}, headers=browser.page_headers()
    )
    assert sent.status_code == 201, sent.text
    created, started = (entries_of(service.resources, event)[-1] for event in ("transfer.created", "session.started"))
    assert created["actor"] == started["actor"] == f"person:{me['id']}"
    assert "nurse" not in str([started, created])
    signed_out = browser.post("/sign-out", {"session_token": me["session"]["token"]})
    assert signed_out.status_code == 200, signed_out.text
    assert browser.me().status_code == 401
    assert entries_of(service.resources, "session.ended")[-1]["outcome"] == "signed_out"


def test_the_provider_is_asked_for_a_code_by_query_with_state_nonce_and_challenge(browser):
    asked = query_of(browser.to_provider())
    assert (asked["response_type"], asked["response_mode"], asked["code_challenge_method"]) == ("code", "query", "S256")
    assert asked["scope"] == "openid"
    assert {len(asked[name]) for name in ("state", "nonce", "code_challenge")} == {43}


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": {"aud": "another client"}},
        in_test_all({"claims": {"aud": ["caducee", "another client"]}}),
        {"claims": {"azp": "another client"}},
        {"claims": {"iss": "https://other.example.org"}},
        {"claims": {"nonce": "A" * 43}},
        in_test_all({"claims": {"nonce": None}}),
        {"claims": {"sub": None}},
        in_test_all({"claims": {"sub": ""}}),
        in_test_all({"claims": {"sub": "a" * 256}}),
        in_test_all({"claims": {"sub": ["nurse"]}}),
        {"claims": {"exp": 1_700_000_000}},
        in_test_all({"claims": {"exp": None}}),
        in_test_all({"claims": {"iat": 33_000_000_000}}),
        {"header": {"typ": "logout+jwt"}},
        in_test_all({"header": {"kid": "unknown"}}),
        {"key": "none"},
        in_test_all({"key": "secret"}),
        {"key": "other"},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_this_sign_in_signs_nobody_in(service, provider, browser, wrong):
    provider.does(**wrong)
    refused = browser.sign_in()
    assert (refused.status_code, code_of(refused)) == (403, "sign_in_refused")
    assert browser.me().status_code == 401
    assert service.resources.refused_sign_ins.take().count == 1


@pytest.mark.parametrize(("skew", "code"), [(-50, 303), in_test_all(50, 303), (-70, 403), in_test_all(400, 403)])
def test_clocks_may_differ_by_a_minute(provider, browser, service, skew, code):
    now = int(service.resources.clock.now().timestamp())
    provider.does(claims={"exp": now + 5 + skew, "iat": now + skew} if skew < 0 else {"iat": now + skew})
    assert browser.sign_in().status_code == code


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["depositors"], "staff"),
        ("auditors", "auditor"),
        (["depositors", "admins"], "admin"),
        (["depositors", "auditors"], "two_roles"),
        in_test_all([], "role_missing"),
        (None, "role_missing"),
        in_test_all(["Depositors", "depositors "], "role_missing"),
        in_test_all({"depositors": True}, "role_missing"),
        in_test_all([["depositors"]], "role_missing"),
    ],
    ids=str,
)
def test_one_role_comes_from_the_claim(provider, browser, groups, role):
    provider.does(NURSE | {"groups": groups})
    answer = browser.sign_in()
    assert (browser.me().json()["role"] if answer.status_code == 303 else code_of(answer)) == role


@pytest.mark.parametrize(
    ("team", "owner"),
    [
        ("biology", "#biology"),
        (["biology"], "#biology"),
        (["biology", "virology"], None),
        in_test_all([], None),
        in_test_all(None, None),
        in_test_all("", None),
        in_test_all(" biology", None),
        in_test_all({"a": "b"}, None),
    ],
    ids=str,
)
def test_a_team_is_one_string_or_nobody_signs_in(service, provider, browser, team, owner):
    change(service.resources, oidc_team_claim="team")
    provider.does(NURSE | {"team": team})
    answer = browser.sign_in()
    if owner is None:
        assert (answer.status_code, code_of(answer)) == (403, "team_unclear")
        return
    with service.resources.database.reading() as connection:
        found = connection.exec_driver_sql("SELECT owner FROM sessions ORDER BY created_at DESC").scalar()
    assert found == f"team:{provider.issuer}{owner}"


@pytest.mark.parametrize(
    ("login", "accepted"),
    [
        ({"acr": "eidas2"}, True),
        ({"amr": ["pwd", "mfa"]}, True),
        ({"acr": "eidas1", "amr": ["pwd"]}, False),
        ({}, False),
    ],
    ids=str,
)
def test_the_way_of_authentication_is_one_that_the_house_accepts(service, provider, browser, login, accepted):
    change(service.resources, oidc_acr=("eidas2", "mfa"))
    provider.does(login=login)
    assert query_of(browser.to_provider())["acr_values"] == "eidas2 mfa"
    answer = browser.sign_in()
    assert (answer.status_code == 303) == accepted
    assert accepted or code_of(answer) == "authentication_too_weak"


def test_a_callback_counts_once_and_only_in_the_browser_that_began(service, browser):
    """Replay of code and state; a callback that an attacker sends to a victim (login CSRF); an old one."""
    address = browser.back_from_provider(browser.to_provider())
    kept = dict(service.http.cookies)
    service.http.cookies.clear()
    assert code_of(browser.get(address)) == "sign_in_expired"  # another browser
    service.http.cookies.update(kept)
    assert browser.get(address.replace("state=", "state=x")).status_code == 400
    service.http.cookies.update(kept)
    assert browser.get(address).status_code == 303
    service.http.cookies.clear()
    assert code_of(browser.get(address)) == "sign_in_expired"
    service.http.cookies.update(kept)  # a copy of the cookie, too: the provider exchanges a code once
    assert code_of(browser.get(address)) == "sign_in_refused"
    assert browser.me().status_code == 401


def test_a_sign_in_takes_ten_minutes_at_most(service, browser, monkeypatch):
    address = browser.back_from_provider(browser.to_provider())
    ((name, value),) = service.http.cookies.items()
    secret, _, begun_at = value.partition(".")
    for begun in (int(begun_at) - 601, int(begun_at) + 5):  # also if the browser keeps or changes the cookie
        service.http.cookies.clear()
        service.http.cookies.set(name, f"{secret}.{begun}")
        assert code_of(browser.get(address)) == "sign_in_expired"


def test_a_refusal_of_the_provider_is_a_page_with_a_way_back(browser):
    state = query_of(browser.to_provider())["state"]
    refused = browser.get(f"/sign-in/callback?error=access_denied&error_description=%3Cb%3Edupont&state={state}")
    assert (refused.status_code, code_of(refused)) == (403, "sign_in_refused")
    assert "dupont" not in refused.text
    assert 'href="/sign-in?lang=en"' in refused.text
    french = browser.get("/sign-in/callback", **{"Accept-Language": "fr"})
    assert "Recommencez" in french.text
    assert "sign_in_expired" in french.text


def test_rotated_keys_are_fetched_again(service, provider, browser):
    assert browser.sign_in().status_code == 303
    provider.rotate_keys()
    service.resources.provider._keys = (service.resources.provider._keys[0] - 31, service.resources.provider._keys[1])
    assert browser.sign_in().status_code == 303


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"path": "/.well-known", "status": 503}, "provider_out_of_reach"),
        in_test_all({"path": "/.well-known", "status": 404}, "provider_answer_unusable"),
        in_test_all({"path": "/.well-known", "status": 302}, "provider_answer_unusable"),
        ({"path": "/.well-known", "body": "<html>"}, "provider_answer_unusable"),
        in_test_all({"path": "/.well-known", "body": "[]"}, "provider_answer_unusable"),
        ({"path": "/.well-known", "body": '{"issuer": "https://other.example.org"}'}, "provider_answer_unusable"),
        ({"path": "/.well-known", "body": "[", "repeat": 900_000}, "provider_answer_unusable"),
        ({"path": "/.well-known", "body": "0123456789", "repeat": 200_000}, "provider_answer_unusable"),
        ({"path": "/token", "status": 500}, "provider_out_of_reach"),
        ({"path": "/token", "status": 401, "body": '{"error": "invalid_client"}'}, "provider_answer_unusable"),
        in_test_all({"path": "/token", "body": '{"id_token": 7}'}, "provider_answer_unusable"),
        ({"path": "/token", "body": '{"id_token": "a.b.c"}'}, "sign_in_refused"),
        in_test_all({"path": "/token", "body": '{"id_token": "é"}'}, "sign_in_refused"),
        ({"path": "/jwks", "body": '{"keys": [7, {"kty": "RSA"}, {"kty": "oct", "k": "AAAA"}]}'}, "sign_in_refused"),
        in_test_all({"path": "/jwks", "body": "null"}, "sign_in_refused"),
    ],
    ids=str,
)
def test_a_provider_that_is_down_or_returns_rubbish_lets_nobody_in(provider, browser, answer, code):
    """Clear pages, no exception, nothing of the answer repeated."""
    provider.does(answer=answer)
    begun = browser.get("/sign-in/start")
    refused = browser.get(browser.back_from_provider(begun.headers["location"])) if begun.status_code == 303 else begun
    assert code_of(refused) == code, refused.text
    assert browser.me().status_code == 401


def test_a_provider_that_never_answers_is_not_waited_for(provider, browser, monkeypatch):
    monkeypatch.setattr("app.runtime.identity_provider.ANSWER_SECONDS", 0.2)
    provider.does(answer={"path": "/.well-known", "silent": True})
    assert code_of(browser.get("/sign-in/start")) == "provider_out_of_reach"
    provider.does()
    assert code_of(browser.get("/sign-in/start")) == "provider_out_of_reach"  # left alone for some seconds


def test_with_a_provider_no_token_signs_in(service, browser):
    token = service.people()["Authorization"].split()[1]
    refused = browser.post("/sign-in", {"token": token})
    assert (refused.status_code, code_of(refused)) == (403, "token_sign_in_not_offered")
    assert "/sign-in/start" in browser.get("/sign-in").text
