"""The house pages: who may open them and from where, and that they show what the database holds as text.

Lesson 24: depositors reach nothing of an auditor; lesson 26: no string that a user sent is taken for markup.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from app.actions.issue_access_token import issue_access_token
from app.crypto.token import new_id
from app.db.tables import audit_entries, shares
from app.domain.access_token import Role
from app.web.house_page import CSP
from tests.attacks.inside import inside
from tests.full_rights import take_full_rights

VIEWS = [
    "/house",
    "/house/retention",
    "/house/exposure?from=2020-01-01",
    "/house/deliveries?from=2020-01-01T00:00",
    "/house/log",
    "/house/receipts",
    "/house/checkpoint",
]
OWN = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
TAB = {
    "Accept": "text/html",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with inside(tmp_path_factory.mktemp("house")) as opened:
        yield opened


def token_of(opened, role, name):
    return issue_access_token(opened.resources, name=f"{name} {new_id()}", role=role, lifetime=None).token


def sign_in(opened, role, back="/house", name="somebody"):
    """A browser of a person of this role; return where the sign-in led."""
    opened.http.cookies.clear()
    token = token_of(opened, role, name)
    if back:
        opened.http.get(back, headers=OWN)
    answer = opened.http.post("/sign-in", data={"token": token}, headers=OWN, follow_redirects=False)
    return answer.headers["location"]


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("view", [*VIEWS, "/house/export"])
def test_a_depositor_gets_nothing_and_a_stranger_the_way_to_sign_in(opened, view):
    sign_in(opened, Role.STAFF)
    refused = opened.http.get(view, headers=OWN)
    assert (refused.status_code, "not_allowed" in refused.text) == (403, True)
    assert "<nav" not in refused.text
    opened.http.cookies.clear()
    stranger = opened.http.get(view, headers=OWN)
    assert (stranger.status_code, "not_authenticated" in stranger.text) == (401, True)
    assert 'href="/sign-in' in stranger.text


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMIN])
def test_every_view_runs_nothing_and_sends_only_to_its_origin(opened, role):
    sign_in(opened, role)
    for view in VIEWS:
        page = opened.http.get(view, headers=OWN)
        assert (page.status_code, page.headers["content-security-policy"]) == (200, CSP), view
        assert page.headers["cache-control"] == "no-store"
        assert "script-src" not in CSP
        elements = Elements(page.text).found
        assert not {"script", "style", "iframe", "object"} & {tag for tag, _ in elements}
        for tag, attributes in elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (view, tag)
            for name in ("href", "src", "action"):
                assert re.fullmatch(r"[/#].*", attributes.get(name, "/")), (view, attributes)


def test_other_sites_open_a_view_in_a_tab_only(opened):
    """A link in a mail or wiki works; a frame, a script and an export get nothing, and a form changes nothing."""
    sign_in(opened, Role.AUDITOR)
    for view in VIEWS:
        assert opened.http.get(view, headers=TAB).status_code == 200
        for change in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Dest": "embed"}, {"Sec-Fetch-Mode": "no-cors"}):
            assert opened.http.get(view, headers=TAB | change).status_code == 401, change
    assert opened.http.get("/house/export", headers=TAB).status_code == 401
    assert opened.http.get("/api/v1/audit/retention", headers=TAB).status_code == 401
    sent = opened.http.post("/house/checkpoint", data={"kept": "x"}, headers=TAB)
    assert (sent.status_code, "cross_site_request" in sent.text) == (403, True)
    own = opened.http.post("/house/checkpoint", data={"kept": "x"}, headers=OWN)
    assert (own.status_code, "session_token_required" in own.text) == (403, True)


def test_what_people_typed_is_text(opened):
    """Names of tokens and recipients, and what stands in the address."""
    depositor = {"Authorization": f"Bearer {token_of(opened, Role.STAFF, HOSTILE)}"}
    sent = opened.http.put("/api/v1/send/a.csv", params={"recipient": "x"}, content=b"x", headers=depositor)
    with opened.resources.database.writing() as transaction:
        transaction.connection.execute(
            update(shares).where(shares.c.id == sent.json()["share_id"]).values(recipient=HOSTILE)
        )
    sign_in(opened, Role.AUDITOR, name=HOSTILE)
    plain = opened.http.get("/house/deliveries", params={"from": "2020-01-01"}, headers=OWN).text
    assert plain.count("&lt;img src=x onerror") >= 3, "the person, the depositor and the recipient"
    for view in VIEWS:
        for parameter in ("transfer", "actor", "event", "from", "to", "lang", "save", "start", HOSTILE):
            page = opened.http.get(view.partition("?")[0], params={parameter: HOSTILE}, headers=OWN)
            assert page.status_code in {200, 400, 404}
            assert "<script" not in page.text
            assert not [attributes for _, attributes in Elements(page.text).found if "onerror" in attributes]
            assert "49" not in re.findall(r"&#39;(\d+)", page.text)


def test_a_sign_in_leads_back_to_the_view_that_was_asked_for(opened):
    assert sign_in(opened, Role.AUDITOR, "/house/log?event=share.claimed&lang=fr") == (
        "/house/log?event=share.claimed&lang=fr"
    )
    assert opened.http.get("/", headers=TAB, follow_redirects=False).headers["location"] == "/house?lang=en"
    assert "caducee-way-back" not in opened.http.cookies, "it leads there once"
    assert sign_in(opened, Role.STAFF, "/house/log") == "/", "depositors have no way there"


def test_a_sign_in_leads_back_to_pages_only(opened):
    """Not to the export: its download needs the house's own page, so a return from the provider would be refused."""
    opened.http.cookies.clear()
    refused = opened.http.get("/house/export", headers=OWN)
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    assert refused.headers["www-authenticate"].startswith("Bearer")


def test_a_frame_or_script_of_another_origin_learns_nobody_from_the_entrance(opened):
    """A host of the same site gets the cookie sent; it could tell an auditor's redirect from a depositor's page."""
    sign_in(opened, Role.AUDITOR)
    for path in ("/", "/audit"):
        own = opened.http.get(path, headers=TAB, follow_redirects=False)
        assert (own.status_code, own.headers["location"][:6]) == (303, "/house")
        for change in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}):
            other = opened.http.get(
                path, headers=TAB | {"Sec-Fetch-Site": "same-site"} | change, follow_redirects=False
            )
            assert (other.status_code, "location" in other.headers) == (200, False), (path, change)


def test_a_page_carries_the_token_of_no_other_persons_session(opened):
    """A request with an access token is that token's, whoever is signed in in the same browser."""
    sign_in(opened, Role.STAFF)
    token = token_of(opened, Role.ADMIN, "somebody else")
    page = opened.http.get("/house/service", headers=OWN | {"Authorization": f"Bearer {token}"})
    assert (page.status_code, page.text.count('name="session_token" value=""')) == (200, 3)


@pytest.mark.parametrize(
    "page",
    ["//evil.example", "https://evil.example/house", "/house/../x", "/housekeeping", "/house/log\r\nX: y", "/sign-out"],
)
def test_the_way_back_leads_to_no_other_page(opened, page):
    """Also if another service of the host set the cookie."""
    opened.http.cookies.clear()
    token = token_of(opened, Role.AUDITOR, "somebody")
    opened.http.cookies.set("caducee-way-back", quote(page, safe=""))
    answer = opened.http.post("/sign-in", data={"token": token}, headers=OWN, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_what_is_asked_for_wrongly_is_named_and_kept(opened):
    sign_in(opened, Role.AUDITOR)
    for address, status, code in (
        ("/house/log?transfer=x&event=share.claimed", 400, "22 letters"),
        ("/house/log?actor=%25", 400, "one of the words below"),
        ("/house/log?from=2026-13-01T00:00", 400, "period"),
        ("/house/log?start=-1", 400, "invalid_request"),
        ("/house/log?form=1", 400, "unknown_query_parameter"),
        ("/house/exposure?from=2026-01-02T00:00&to=2026-01-01T00:00", 400, "period"),
        ("/house/exposure?from=", 400, "period"),
        ("/house/receipts?transfer=" + "A" * 22, 404, "No transfer"),
        ("/house/receipts?transfer=%00", 404, "No transfer"),
        ("/house/retention?save=pdf", 400, "invalid_request"),
    ):
        answer = opened.http.get(address, headers=OWN)
        assert (answer.status_code, code in answer.text) == (status, True), (address, answer.text)
        assert 'role="alert"' in answer.text
    assert 'value="x"' in opened.http.get("/house/log?transfer=x", headers=OWN).text


def test_a_report_is_saved_as_the_api_returns_it(opened):
    sign_in(opened, Role.AUDITOR)
    for name in ("exposure", "deliveries"):
        period = {"from": "2020-01-01", "to": "2020-01-02"}
        kept = opened.http.get(f"/house/{name}", params=period | {"save": "json"}, headers=OWN)
        said = opened.http.get(f"/api/v1/audit/{name}", params=period, headers={"Sec-Fetch-Site": "same-origin"})
        changing = {"at": None, "evidence": None, "entries": None}
        assert kept.json() | changing == said.json() | changing
        assert re.fullmatch(
            rf'attachment; filename="{name}-\d{{4}}-\d\d-\d\d\.json"', kept.headers["content-disposition"]
        )
        page = opened.http.get(f"/house/{name}", params=period | {"save": "html"}, headers=OWN)
        assert page.headers["content-disposition"].endswith('.html"')
        assert "sandbox" in page.headers["content-security-policy"]
        assert "<link" not in page.text


def test_an_altered_log_is_called_so(tmp_path):
    """An entry that no service writes: a report neither guesses at it nor calls it a fault of the program."""
    with inside(tmp_path) as opened:
        opened.http.put(
            "/api/v1/send/a.csv", params={"recipient": "x"}, content=b"x", headers=opened.people()
        ).raise_for_status()
        auditor = opened.people(Role.AUDITOR)
        with opened.resources.database.writing() as transaction:
            take_full_rights(transaction.connection)
            of_transfer = audit_entries.c.event == "transfer.created"
            (content,) = transaction.connection.execute(select(audit_entries.c.content).where(of_transfer)).scalars()
            altered = re.sub(r'"expires_at":"[^"]*"', '"expires_at":7', content)
            transaction.connection.execute(update(audit_entries).where(of_transfer).values(content=altered))
        for path, kind in (("/house", "text/html"), ("/api/v1/audit", "application/problem+json")):
            for report in ("exposure", "deliveries"):
                address = f"{path}/{report}?from=2020-01-01"
                answer = opened.http.get(address, headers=auditor | {"Accept": kind})
                assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (409, kind), address
                assert "log_altered" in answer.text
