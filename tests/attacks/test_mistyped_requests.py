"""Requests that miss by a little: a misspelt query parameter, the wrong method. The refusal names what is right."""

import pytest

from app.domain.access_token import Role
from app.web.queries import query_names
from tests.attacks.inside import inside
from tests.attacks.test_every_route_is_guarded import BY_FORM, OPEN_TO_ANYBODY, asked, routes_of


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with inside(tmp_path_factory.mktemp("mistyped")) as opened:
        yield opened


def documented_parameters(opened):
    """The query parameters of each route, by method and path, as OpenAPI describes them."""
    return {
        (method.upper(), path): sorted(it["name"] for it in operation.get("parameters", ()) if it["in"] == "query")
        for path, operations in opened.app.openapi()["paths"].items()
        for method, operation in operations.items()
    }


def test_every_route_with_a_token_refuses_a_misspelt_parameter_and_names_the_right_one(opened):
    """An ignored `expires` means seven days, and an ignored `sate` returns everything."""
    header, documented = opened.people(Role.ADMIN), documented_parameters(opened)
    checked = 0
    for method, path, route in routes_of(opened.app):
        if (method, path) in OPEN_TO_ANYBODY | BY_FORM:
            continue
        of_page = [] if route.include_in_schema else sorted(query_names(route.dependant))
        known = documented.get((method, path.replace(":path}", "}")), of_page)
        for right in known or ["anything"]:
            answer = opened.http.request(method, asked(path), params={f"{right}q7": "1"}, headers=header)
            assert answer.status_code == 400, f"{method} {path}"
            if method == "HEAD":
                continue
            assert answer.json()["code"] == "unknown_query_parameter", f"{method} {path}"
            expected = f"is {right} meant? This address knows {', '.join(known)}." if known else "no query parameters."
            assert answer.json()["detail"].endswith(expected), f"{method} {path}"
            assert "q7" not in answer.text, "what was typed may be a value in the wrong place"
            checked += len(known)
    assert checked > 20


def test_a_misspelt_parameter_is_refused_in_the_language_asked_for(opened):
    headers = opened.people() | {"Accept-Language": "fr", "Accept": "text/plain"}
    answer = opened.http.put("/api/v1/send/a?recipent=x", content=b"x", headers=headers)
    assert answer.status_code == 400
    assert "s’agit-il de recipient" in answer.text
    assert "Code : unknown_query_parameter" in answer.text.replace("\N{NO-BREAK SPACE}", " ")


def test_a_recipients_link_works_with_what_mail_programs_add(opened):
    for path in ("/s/x", "/audit", "/livez"):
        assert opened.http.get(path, params={"utm_source": "mail"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/send/a", "PUT"),
        ("POST", "/api/v1/send", "PUT"),
        ("POST", "/api/v1/transfers/x/files/a", "PUT"),
        ("DELETE", "/api/v1/transfers", "GET, POST"),
        ("PUT", "/api/v1/transfers/x", "DELETE, GET"),
        ("POST", "/api/v1/transfers/x/key", "GET, PUT"),
        ("PUT", "/api/v1/uploads/x", "DELETE, HEAD, PATCH"),
        ("GET", "/api/v1/shares/x/claim", "POST"),
        ("POST", "/s/x", "GET, HEAD"),
        ("DELETE", "/livez", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_refused_with_those_that_are_right(opened, method, path, allowed):
    """`curl -d` is a POST: where a file is expected, the refusal names `curl -T`."""
    form = {"data": {"a": "b"}} if method == "POST" else {}
    answer = opened.http.request(method, path, headers=opened.people(), **form)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed
    assert allowed in answer.json()["detail"]
    assert ("curl -T FILE" in answer.json()["detail"]) == (allowed == "PUT")


def test_a_wrong_method_is_refused_in_the_language_asked_for(opened):
    answer = opened.http.post("/api/v1/send/a", headers={"Accept-Language": "fr"})
    assert "avec PUT" in answer.json()["detail"]
    assert "curl -T FICHIER" in answer.json()["detail"]
