"""Sign-out at the provider, too (OpenID Connect RP-Initiated Logout 1.0): our session ends first, whatever follows."""

import json
from html import unescape

import pytest

from app.crypto.encoding import decode
from app.web.session_cookies import MAX_ID_TOKEN
from tests.marks import in_test_all
from tests.sign_in.people import NURSE, STAFF, change, entries_of, query_of

ID_TOKEN = "caducee-id-token"
WITHOUT_LOGOUT = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "jwks_uri": "/jwks"}


def next_of(browser):
    """Sign out as the page's script does; return where it is sent."""
    answer = browser.service.post("/sign-out", headers=browser.page_headers())
    assert answer.status_code == 200, answer.text
    assert browser.me().status_code == 401
    return answer.json()["next"]


def provider_session(service):
    with service.resources.database.reading() as connection:
        query = "SELECT provider_session FROM sessions ORDER BY created_at DESC LIMIT 1"
        return connection.exec_driver_sql(query).scalar()


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(decode(payload, length=len(payload) * 3 // 4))


def test_who_signs_out_is_led_to_the_providers_sign_out(service, provider, browser):
    """On a shared computer the next person would otherwise be signed in as this one."""
    browser.sign_in()
    first = provider_session(service)
    browser.sign_in()
    assert provider_session(service) == first, "at the provider, the person is still signed in"
    address = next_of(browser)
    asked = query_of(address)
    assert address.startswith(f"{provider.issuer}/session/end?")
    assert asked.keys() == {"client_id", "post_logout_redirect_uri", "state", "id_token_hint"}
    assert asked["post_logout_redirect_uri"] == f"{STAFF}/sign-in"
    assert len(asked["state"]) == 43
    assert claims_of(asked["id_token_hint"])["sub"] == "nurse"
    assert entries_of(service.resources, "session.ended")[-1]["outcome"] == "signed_out"
    back = browser.sign_out_at_provider(address)
    assert back == f"/sign-in?state={asked['state']}"
    assert browser.get(back, **{"Sec-Fetch-Site": "cross-site"}).status_code == 200
    browser.sign_in()
    assert provider_session(service) != first


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "Sign out at your"), in_test_all("fr", "Se déconnecter de l")]
)
def test_a_form_is_led_there_by_a_page(service, provider, browser, language, sentence):
    """Chromium refuses a form's redirect to an origin that its page's `form-action` does not name."""
    browser.sign_in()
    token = browser.me().json()["session"]["token"]
    left = browser.post("/sign-out", {"session_token": token}, **{"Accept-Language": language})
    assert (left.status_code, browser.me().status_code) == (200, 401)
    assert sentence in left.text
    assert "form-action 'self'" in left.headers["content-security-policy"]
    assert "sandbox" not in left.headers["content-security-policy"], "which would stop the page's refresh"
    refresh = unescape(left.text.partition('content="0; url=')[2].partition('"')[0])
    assert refresh == unescape(left.text.partition('href="')[2].partition('"')[0])
    assert browser.sign_out_at_provider(refresh).startswith("/sign-in?state=")


@pytest.mark.parametrize("reason", ["switched off", "out of reach", "not offered"])
def test_where_nobody_can_be_led_there_the_page_says_so(service, provider, browser, reason):
    """Never reported: a sign-out that was not observed."""
    browser.sign_in()
    change(service.resources, oidc_logout=reason != "switched off")
    if reason == "out of reach":
        provider.does(answer={"path": "/.well-known", "status": 503})
    if reason == "not offered":
        places = {name: f"{provider.issuer}{path}" for name, path in WITHOUT_LOGOUT.items()}
        provider.does(answer={"path": "/.well-known", "body": json.dumps({"issuer": provider.issuer} | places)})
    address = next_of(browser)
    assert address == "/sign-in?signed_out=here"
    assert "You may still be signed in at your institution" in browser.get(address).text
    assert "peut-être encore connecté" in browser.get(address, **{"Accept-Language": "fr"}).text


def test_the_browser_keeps_the_id_token_for_the_sign_out_alone(service, browser):
    """The service stores none; only `/sign-out` receives it, and no script reads it."""
    cookies = browser.sign_in().headers.get_list("set-cookie")
    (cookie,) = [each for each in cookies if each.startswith(f"{ID_TOKEN}=")]
    token, *attributes = cookie.partition("=")[2].split("; ")
    assert {"HttpOnly", "Path=/sign-out", "SameSite=lax"} <= set(attributes)
    assert not any(each.startswith("Max-Age") for each in attributes), "it ends with the browser"
    signature = token.rpartition(".")[2].encode()
    folder = service.resources.settings.data_dir
    assert [path for path in folder.rglob("*") if path.is_file() and signature in path.read_bytes()] == []
    assert query_of(next_of(browser))["id_token_hint"] == token
    assert ID_TOKEN not in service.http.cookies


@pytest.mark.parametrize(
    "kept", ["", "é" * 40, "a.b", "a.b.c" * 2_000, "a.b.c&client_id=x"], ids=["", "é", "a.b", "long", "&"]
)
def test_without_an_id_token_the_provider_asks(service, provider, browser, kept):
    browser.sign_in()
    service.http.cookies.delete(ID_TOKEN)
    cookie = f"caducee-session={service.http.cookies['caducee-session']}; {ID_TOKEN}={kept}"
    headers = browser.page_headers() | {"Cookie": cookie.encode()}
    address = service.http.post("/sign-out", headers=headers).json()["next"]
    assert query_of(address).keys() == {"client_id", "post_logout_redirect_uri", "state"}
    assert browser.sign_out_at_provider(address).startswith("/sign-in?state=")


def test_an_id_token_that_no_cookie_holds_is_not_kept(service, provider, browser):
    """Nor the one of an earlier sign-in, of somebody else."""
    browser.sign_in()
    assert ID_TOKEN in service.http.cookies
    provider.does(NURSE | {"groups": ["depositors", "x" * MAX_ID_TOKEN]})
    assert browser.sign_in().status_code == 303
    assert ID_TOKEN not in service.http.cookies
    assert "id_token_hint" not in query_of(next_of(browser))
