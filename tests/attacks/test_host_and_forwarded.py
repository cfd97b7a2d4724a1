"""Lesson 21: an unlisted `Host` gets 400; spoofed `X-Forwarded-*` changes neither links, limits nor log
(Accellion FTA CVE-2021-27101; transfer.sh GHSA-h54g-hggh-9q98). Lesson 46: addresses and hosts are parsed.
"""

import json

import pytest

from tests.acceptance.people import ok, send
from tests.attacks.raw import exchange
from tests.marks import in_test_all

SPOOFED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Server": "evil.example",
    "X-Real-IP": "203.0.113.7",
    "X-Original-URL": "/api/v1/openapi.json",
    "X-Rewrite-URL": "/api/v1/openapi.json",
    "X-HTTP-Method-Override": "DELETE",
    "Forwarded": "for=203.0.113.7;host=evil.example;proto=https",
    "True-Client-IP": "203.0.113.7",
    "X-Remote-User": "admin",
}


@pytest.mark.parametrize(
    "hosts",
    [
        ["evil.example"],
        ["127.0.0.1"],
        ["127.0.0.1:1"],
        ["localhost:{port}"],
        ["127.0.0.1:{port}.evil.example"],
        ["evil.example:{port}"],
        ["127.0.0.1:{port}@evil.example"],
        ["http://127.0.0.1:{port}"],
        ["127.0.0.1:{port}/"],
        ["127.0.0.1:{port} "],
        ["[::1]:{port}"],
        ["2130706433:{port}"],
        ["127.1:{port}"],
        [""],
        ["127.0.0.1:{port}", "evil.example"],
        ["evil.example", "127.0.0.1:{port}"],
        ["127.0.0.1:{port}, evil.example"],
        ["\xff"],
    ],
    ids=" and ".join,
)
def test_another_host_is_refused_before_anything_else(house, server, hosts):
    lines = "".join(f"Host: {host.format(port=server.port)}\r\n" for host in hosts)
    request = f"PUT /api/v1/send/a?recipient=x HTTP/1.1\r\n{lines}Authorization: Bearer {house.tokens['staff']}\r\n"
    answer = exchange(server.port, request.encode("latin-1") + b"Content-Length: 1\r\nConnection: close\r\n\r\nx")
    if hosts == ["127.0.0.1:{port} "]:
        assert answer.status == 201, "trailing space is no part of a header's value (RFC 9112, 5.1)"
        return
    assert answer.status == 400
    assert answer.json["code"] in {"host_not_allowed", "invalid_request"}
    assert b"evil.example" not in answer.received


def test_no_host_at_all_is_refused_also_of_old_clients(server):
    for version in ("1.0", "1.1"):
        answer = exchange(server.port, f"GET /s/x HTTP/{version}\r\nConnection: close\r\n\r\n".encode())
        assert answer.status == 400


def test_spoofed_headers_change_no_link_and_no_answer(server, staff, anyone):
    sent = ok(staff.put("/api/v1/send/a?recipient=x", content=b"x", headers=SPOOFED), 201)
    assert sent["link"].startswith(f"{server.origin}/s/")
    assert anyone.get("/livez", headers=SPOOFED).json() == {"alive": True}
    assert anyone.get("/nowhere", headers=SPOOFED).status_code == 404
    assert anyone.get("/api/v1/transfers", headers=SPOOFED).status_code == 401
    page = anyone.get("/s/x", headers=SPOOFED)
    assert page.content == anyone.get("/s/x").content


def test_spoofed_addresses_do_not_reach_the_log(house, staff, anyone):
    share = send(staff)
    body = {"link_secret": share.secret, "password": share.password}
    ok(anyone.post(f"/api/v1/shares/{share.id}/claim", json=body, headers=SPOOFED), 200)
    entries = [json.loads(row[0]) for row in house.installation.rows("SELECT content FROM audit_entries")]
    (claimed,) = [e for e in entries if e["event"] == "share.claimed" and e["share"] == share.id]
    assert claimed["address"] == "127.0.0.1"
    assert "203.0.113.7" not in str(entries)


def test_a_listed_proxy_is_believed_about_the_hop_before_it_only(installation):
    """What stands to the left of the last untrusted address was written by the client itself; several lines of the
    header are one list (RFC 9110, 5.3).
    """
    with (
        installation.serving(TRUSTED_PROXIES="127.0.0.1,10.0.0.2") as server,
        server.http(installation.token()) as http,
    ):
        expected = {
            "203.0.113.7": "203.0.113.7",
            "1.2.3.4, 203.0.113.7": "203.0.113.7",
            "1.2.3.4, 203.0.113.7, 10.0.0.2": "203.0.113.7",
            "": "127.0.0.1",
            "1.2.3.4 | 203.0.113.7": "203.0.113.7",
            "1.2.3.4 | 203.0.113.7, 10.0.0.2": "203.0.113.7",
        }
        shares = {}
        for forwarded in expected:
            share = send(http)
            shares[share.id] = forwarded
            lines = [("X-Forwarded-For", line) for line in forwarded.split(" | ")]
            body = {"link_secret": share.secret, "password": share.password}
            ok(http.post(f"/api/v1/shares/{share.id}/claim", json=body, headers=lines), 200)
    entries = [json.loads(row[0]) for row in installation.rows("SELECT content FROM audit_entries")]
    seen = {shares[e["share"]]: e["address"] for e in entries if e["event"] == "share.claimed"}
    assert seen == expected


@pytest.mark.parametrize("workers", [in_test_all("1"), "2"])
def test_both_families_are_served_and_a_mapped_proxy_is_the_listed_one(installation, workers):
    """On a socket for both families, 127.0.0.1 appears as ::ffff:127.0.0.1 (tinyice #47)."""
    options = ("--host", "::", "--workers", workers)
    with (
        installation.serving(*options, TRUSTED_PROXIES="127.0.0.0/8") as server,
        server.http(installation.token()) as http,
    ):
        share = send(http)
        body = {"link_secret": share.secret, "password": "A" * 16}
        for host, forwarded in (("127.0.0.1", "203.0.113.7:4711"), ("[::1]", "203.0.113.8")):
            url = f"http://{host}:{server.port}/api/v1/shares/{share.id}/claim"
            headers = {"X-Forwarded-For": forwarded, "Host": f"127.0.0.1:{server.port}"}
            assert http.post(url, json=body, headers=headers).status_code == 401
    entries = [json.loads(row[0]) for row in installation.rows("SELECT content FROM audit_entries")]
    assert [e["address"] for e in entries if e["event"] == "password.wrong"] == ["203.0.113.7", "::1"]


def test_a_host_is_known_in_every_spelling(installation):
    """Default port (g3 #720), trailing dot, capitals; the links have the one that browsers use."""
    spelt = ["files.example.org", "FILES.Example.org", "files.example.org.", "files.example.org:443"]
    others = ["files.example.org:80", "files.example.org:8443", "files.example.org..", "xfiles.example.org", "[::1]"]
    with installation.serving(PUBLIC_URL="https://Files.example.org:443/") as server:
        for host, status in [*((each, 401) for each in spelt), *((each, 400) for each in others)]:
            with server.http(host=host) as http:
                assert http.get("/api/v1/me").status_code == status, host
        with server.http(installation.token(), host=spelt[3]) as http:
            sent = ok(http.put("/api/v1/send/a?recipient=x", content=b"x"), 201)
    assert sent["link"].startswith("https://files.example.org/s/")
