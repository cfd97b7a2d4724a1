"""Requests that are not what the routes expect: methods, targets, JSON, headers. Never a 500, never HTML, no echo."""

import json

import pytest

from tests.acceptance.people import bearer, look, ok, send
from tests.attacks.raw import connected, exchange, head, receive_all

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module", autouse=True)
def said_before(house):
    """How long the log was when the first test of this file began."""
    return len(house.server.log)


@pytest.mark.parametrize(
    "target",
    [
        *("//", "/api", "/api/v1", "/api/v2/me", "/API/V1/ME", "/api/v1/me/", "/api/v1//me", "/api/v1/me%00"),
        *("/api/v1/me;x", "/api/v1/../../etc/passwd", "/api/v1/%2e%2e/%2e%2e/etc/passwd", "/s/a/b"),
        *("/s/../api/v1/me", "/s/assets/..", "/s/assets/%2e%2e%2fserver.py", "/s/assets//etc/passwd"),
        *("/docs", "/redoc", "/openapi.json", "/metrics/", "/favicon.ico", "/robots.txt", "/.git/config", "*", "?"),
        *(
            "http://127.0.0.1/api/v1/me",
            "/api/v1/shares",
            "/api/v1/claims/x",
            "/api/v1/uploads/../x",
            "/%ff%fe",
            "/\u00e9",
        ),
    ],
)
def test_unknown_targets_are_not_found(server, house, target):
    token = f"Authorization: Bearer {house.tokens['staff']}"
    answer = exchange(server.port, head("GET", target.encode(), server.port, token))
    assert answer.status in {400, 404}, answer.received
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] in {"not_found", "invalid_request"}


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X"]
)
@pytest.mark.parametrize(
    "path", ["/livez", "/s/x", "/api/v1/me", "/api/v1/transfers", "/api/v1/shares/x/claim", "/api/v1/claims/x/files/0"]
)
def test_methods_that_a_route_does_not_take_are_refused(server, house, method, path):
    token = f"Authorization: Bearer {house.tokens['staff']}"
    answer = exchange(server.port, head(method, path, server.port, token, "Content-Length: 0"))
    assert answer.status in {200, 400, 404, 405}, answer.received
    if answer.status == 405:
        assert method not in answer.headers["allow"].split(", ")
        assert method == "HEAD" or answer.json["code"] == "method_not_allowed"
    assert "access-control-allow-origin" not in answer.headers, "nobody else's page may ask"


def test_a_preflight_from_another_origin_allows_nothing(anyone):
    for path in ("/api/v1/shares/x/claim", "/api/v1/send/a", "/api/v1/claims/x/files/0"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = anyone.options(path, headers=headers)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"true",
        b"[]",
        b'"text"',
        b"1",
        b"\xff\xfe",
        b'{"link_proof": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b'{"link_proof": 1}',
        b'{"link_proof": null}',
        b'{"link_proof": ["A"]}',
        b'{"link_proof": {"a": "b"}}',
        b'{"link_proof": "A", "admin": true}',
        b'{"__proto__": {}, "link_proof": "A"}',
        b'{"link_proof": NaN}',
        b'{"link_proof": ' + b"9" * 10_000 + b"}",
        b'{"link_proof": "' + b"A" * 300 + b'"}',
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b'{"link_proof": "\\ud800"',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_json_of_any_wrong_kind_is_refused_and_never_echoed(anyone, body):
    """Lesson 29: JSON depth. What was sent may hold a password: the answer says where it is wrong, not what it was."""
    for path in ("/api/v1/shares/x/look", "/api/v1/shares/x/claim"):
        answer = anyone.post(path, content=body, headers=JSON)
        assert ok(answer, 400)["code"] == "invalid_request"
        assert "AAAA" not in answer.text
        assert len(answer.content) < 600


def test_lone_surrogates_and_odd_text_in_json_are_wrong_like_anything_else(staff, anyone):
    share = send(staff)
    for text in ("\\ud800", "\\u0000", "\\udfff" * 43):
        body = '{"link_secret": "%s", "password": "%s"}' % (share.secret, text)  # noqa: UP031 - braces of its own
        refused = anyone.post(f"/api/v1/shares/{share.id}/claim", content=body, headers=JSON)
        assert ok(refused, 400)["code"] in {"malformed_password", "invalid_request"}
        body = json.dumps({"link_proof": "@"}).replace("@", text)
        refused = anyone.post(f"/api/v1/shares/{share.id}/look", content=body, headers=JSON)
        assert refused.status_code in {400, 404}
    assert look(anyone, share)["attempts_left"] == 5


def test_json_beyond_the_limit_is_refused_whether_announced_or_not(server, anyone, staff):
    """Lesson 29: unbounded bodies, without an account."""
    big = b'{"link_proof": "' + b"A" * 70_000 + b'"}'
    for path in ("/api/v1/shares/x/look", "/api/v1/shares/x/claim"):
        for content in (big, iter([big[:1000], big[1000:]])):
            answer = anyone.post(path, content=content, headers=JSON)
            assert ok(answer, 413)["code"] == "too_large", path
    assert anyone.post("/api/v1/claims/x/complete", content=big, headers=JSON).status_code == 404, "it reads none"
    assert ok(staff.post("/api/v1/transfers", content=big, headers=JSON), 413)["code"] == "too_large"
    announced = ["Content-Type: application/json", "Content-Length: 99999999999"]
    assert exchange(server.port, head("POST", "/api/v1/shares/x/look", server.port, *announced)).status == 413


def test_a_body_that_no_route_reads_does_not_keep_a_worker(server):
    """A route without a body, sent an endless one: answered at once, the connection closed."""
    request = head("POST", "/livez", server.port, "Transfer-Encoding: chunked")
    with connected(server.port) as connection:
        connection.sendall(request + b"5\r\nabcde\r\n")
        assert receive_all(connection).status == 405


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"]
)
def test_only_json_is_read_as_json(staff, anyone, kind):
    """A page elsewhere can make a browser send these without asking first (CORS "simple requests")."""
    share = send(staff)
    body = json.dumps({"link_secret": share.secret, "password": share.password})
    answer = anyone.post(f"/api/v1/shares/{share.id}/claim", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) in {(400, "invalid_request"), (415, "unsupported_media_type")}
    assert look(anyone, share)["state"] == "issued"


@pytest.mark.parametrize(
    "headers",
    [["X: " + "a" * 500_000], ["X: y"] * 100_000, ["Cookie: " + "a=b; " * 99_000], ["Authorization: " + "A" * 999_999]],
    ids=["one long", "many", "cookies", "token"],
)
def test_floods_of_headers_are_refused(server, headers):
    """Lesson 29: h11 gives up where another parser took 99 MiB (64 KiB, and what one read of the socket brought)."""
    with connected(server.port) as connection:
        try:
            connection.sendall(head("GET", "/livez", server.port, *headers))
        except (BrokenPipeError, ConnectionResetError):
            return
        assert receive_all(connection).status in {None, 400, 431}


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /livez\r\n\r\n",
        b"GET  /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b\0\r\n\r\n",
        b"GET /li\x00vez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 100 + b"BREW /pot HTCPCP/1.0\r\n\r\n",
        b"\0" * 70_000,
    ],
    ids=lambda request: repr(request[:20]),
)
def test_what_is_no_http_is_refused_as_a_problem_like_everything_else(server, request_):
    answer = exchange(server.port, request_)
    if answer.received:
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.json["code"] in {"invalid_request", "host_not_allowed"}


def test_a_websocket_is_not_opened(server, house):
    """No route speaks it: the upgrade is ignored or refused."""
    upgrade = ["Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13"]
    request = head("GET", "/livez", server.port, *upgrade).replace(b"Connection: close", b"Connection: Upgrade, close")
    assert exchange(server.port, request).status == 200


def test_ids_are_ids_and_nothing_else(staff, anyone):
    """Lesson 26: what stands in a path reaches the database as a value, or not at all."""
    for text in ("' OR 1=1 --", "%27%20OR%20%271%27=%271", "%00", "x" * 5_000, "😀" * 22, "..", "%", "A" * 23, "null"):
        assert staff.get(f"/api/v1/transfers/{text}").status_code in {200, 404}
        assert staff.delete(f"/api/v1/transfers/{text}").status_code in {404, 405}
        assert ok(staff.delete(f"/api/v1/shares/{text}A"), 404)["code"] == "share_not_found"
        refused = anyone.get(f"/api/v1/claims/{text}A/files/0", headers=bearer("A" * 43))
        assert ok(refused, 404)["code"] == "claim_not_found"


def test_nothing_of_all_this_was_an_alert_or_a_traceback(house, said_before):
    """A client's mistakes must not fill the operators' log with alarms. Runs after the others of this file."""
    lines = house.server.log[said_before:].splitlines()
    assert [line for line in lines if '"alert"' in line or "Traceback" in line] == []
