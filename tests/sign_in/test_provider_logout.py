"""Back-channel logout: what the provider ends, and tokens that end nothing."""

import pytest

from tests.marks import in_test_all
from tests.sign_in.people import entries_of


def logged_out(service, token):
    return service.http.post("/sign-in/logout", data={"logout_token": token})


@pytest.fixture
def sid(service, browser):
    """The provider's session of the nurse, who is signed in."""
    assert browser.sign_in().status_code == 303
    with service.resources.database.reading() as connection:
        query = "SELECT provider_session FROM sessions WHERE ended_at IS NULL ORDER BY created_at DESC"
        return connection.exec_driver_sql(query).scalar()


def test_a_logout_ends_the_session_once(service, provider, browser, sid):
    assert sid is not None
    token = provider.logout_token("nurse", sid)
    assert logged_out(service, token).status_code == 200
    assert browser.me().json()["code"] == "session_ended"
    entry = entries_of(service.resources, "session.ended")[-1]
    assert (entry["actor"], entry["outcome"]) == ("provider", "signed_out_at_provider")
    again = logged_out(service, token)
    assert (again.status_code, again.json()["code"]) == (400, "logout_token_refused")


def test_other_sessions_go_on(service, provider, browser, sid):
    for sub, other in (("doctor", sid), ("nurse", "another session")):
        assert logged_out(service, provider.logout_token(sub, other)).status_code == 200
        assert browser.me().status_code == 200


@pytest.mark.parametrize(
    ("claims", "ended"), [({"sid": None}, True), ({"sub": None}, True)], ids=["by person", "by session"]
)
def test_a_logout_names_the_person_or_the_session(service, provider, browser, sid, claims, ended):
    provider.does(claims=claims, header={"typ": "logout+jwt"})
    assert logged_out(service, provider.logout_token("nurse", sid)).status_code == 200
    assert (browser.me().status_code == 401) == ended


@pytest.mark.parametrize(
    "wrong",
    [
        {"header": {"typ": "JWT"}},
        in_test_all({"header": {"typ": None}}),
        {"claims": {"events": None}},
        in_test_all({"claims": {"events": {"http://schemas.openid.net/event/other": {}}}}),
        in_test_all({"claims": {"events": ["http://schemas.openid.net/event/backchannel-logout"]}}),
        {"claims": {"nonce": "a"}},
        {"claims": {"jti": None}},
        in_test_all({"claims": {"jti": 7}}),
        {"claims": {"aud": "another client"}},
        {"claims": {"iss": "https://other.example.org"}},
        {"claims": {"iat": 1_700_000_000}},
        in_test_all({"claims": {"exp": 1_700_000_000}}),
        {"claims": {"sub": None, "sid": None}},
        in_test_all({"key": "none"}),
        in_test_all({"key": "secret"}),
        {"key": "other"},
    ],
    ids=str,
)
def test_a_token_that_is_no_logout_token_ends_nothing(service, provider, browser, sid, wrong):
    provider.does(**{"header": {"typ": "logout+jwt"}} | wrong)
    refused = logged_out(service, provider.logout_token("nurse", sid))
    assert (refused.status_code, refused.json()["code"]) == (400, "logout_token_refused")
    assert browser.me().status_code == 200


@pytest.mark.parametrize("form", [{}, {"logout_token": ""}, {"logout_token": "é"}, {"logout_token": "a.b.c" * 10_000}])
def test_rubbish_is_refused(service, form):
    assert service.http.post("/sign-in/logout", data=form).json()["code"] == "logout_token_refused"
