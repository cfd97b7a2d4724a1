"""Lesson 30: one depositor never sees another's transfers, not by id, list or answer; revoked or demoted tokens lose
their rights at once (Gokapi CVE-2026-29061).
"""

import json
import time
from typing import Any

from tests.acceptance.people import bearer, issue, key_header, look, ok, open_transfer, send, wrong_secret


def told(answer):
    """All that an answer tells, but for the time of day, and whether it came before the body had arrived."""
    return answer.status_code, answer.content, dict(answer.headers) | {"date": "", "connection": ""}


def test_anothers_transfer_answers_like_one_that_never_was(staff, colleague):
    share = send(staff, label="mine")
    transfer, key = open_transfer(staff)
    nobody = "A" * 22
    attempts: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/api/v1/transfers/{}", {}),
        ("DELETE", "/api/v1/transfers/{}", {}),
        ("PUT", "/api/v1/transfers/{}/files/a", {"content": b"x", "headers": key_header(key)}),
        ("POST", "/api/v1/transfers/{}/shares", {"json": {"recipient": "x"}, "headers": key_header(share.client_key)}),
        ("POST", "/api/v1/transfers/{}/shares", {"json": {"recipient": "x"}, "headers": key_header(wrong_secret())}),
    ]
    for method, path, rest in attempts:
        for mine in (share.transfer_id, transfer):
            theirs = colleague.request(method, path.format(mine), **rest)
            none = colleague.request(method, path.format(nobody), **rest)
            assert theirs.status_code == 404
            assert told(theirs) == told(none)
    theirs, none = (colleague.delete(f"/api/v1/shares/{it}") for it in (share.id, nobody))
    assert ok(theirs, 404) == ok(none, 404)
    assert look(staff, share)["state"] == "issued"
    assert ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)["state"] == "receiving"


def test_colleagues_share_what_their_owner_owns(house, server, staff):
    """A colleague's token, or its successor, deposits, sees, shares and deletes as the first one does."""
    made = [
        house.installation.run("token", "create", name, *owner, "--json").json
        for name, owner in (("ward 7", ()), ("ward 7, night", ("--owner", "token:ward 7")))
    ]
    with server.http(made[0]["token"]) as first, server.http(made[1]["token"]) as second:
        share = send(first, label="of ward 7")
        assert share.transfer_id in second.get("/api/v1/transfers").text
        assert issue(second, share.transfer_id, share.client_key, "ARS").id != share.id
        assert ok(staff.get(f"/api/v1/transfers/{share.transfer_id}"), 404)["code"] == "transfer_not_found"
        ok(second.delete(f"/api/v1/transfers/{share.transfer_id}"), 204)
        assert ok(first.get(f"/api/v1/transfers/{share.transfer_id}"), 200)["state"] != "live"


def test_a_list_holds_ones_own_only(staff, colleague):
    share = send(staff, label="mine alone")
    listed = colleague.get("/api/v1/transfers")
    assert ok(listed, 200) is not None
    assert share.transfer_id not in listed.text
    assert share.id not in listed.text
    assert "mine alone" not in listed.text
    assert share.transfer_id in staff.get("/api/v1/transfers").text


def test_an_administrator_over_http_sees_no_more_than_ones_own(house, staff):
    """Operators look on the machine, where the log says so; a role is no skeleton key over the network."""
    share = send(staff)
    with house.server.http(house.tokens["admin"]) as admin:
        assert admin.get(f"/api/v1/transfers/{share.transfer_id}").status_code == 404
        assert share.transfer_id not in admin.get("/api/v1/transfers").text


def test_a_recipients_claim_does_not_reach_another_transfer(staff, anyone):
    from tests.acceptance.people import claim

    one, other = claim(anyone, send(staff, b"one")), claim(anyone, send(staff, b"other"))
    for path in ("files/0", "blobs/0"):
        crossed = anyone.get(f"/api/v1/claims/{other.id}/{path}", headers=bearer(one.token))
        assert ok(crossed, 404)["code"] == "claim_not_found"


def test_a_revoked_token_is_refused_by_the_very_next_request(house, server):
    """On a connection that is already open, and for what it had under way."""
    installation = house.installation
    made = installation.run("token", "create", "leaver", "--json").json
    with server.http(made["token"]) as http:
        transfer, key = open_transfer(http)
        assert http.get("/api/v1/me").status_code == 200
        installation.run("token", "revoke", made["id"])
        for answer in (
            http.get("/api/v1/me"),
            http.get(f"/api/v1/transfers/{transfer}"),
            http.put(f"/api/v1/transfers/{transfer}/files/a", content=b"x", headers=key_header(key)),
            http.put("/api/v1/send/a?recipient=x", content=b"x"),
        ):
            assert ok(answer, 401)["code"] == "not_authenticated"
    assert installation.run("token", "revoke", made["id"], code=1).out == ""
    listed = {token["id"]: token for token in json.loads(installation.run("token", "list", "--json").out)["tokens"]}
    assert listed[made["id"]]["revoked_at"]
    assert "cad_" not in str(listed)


def test_a_token_taken_back_during_an_upload_deposits_nothing(house, server):
    """The file that was under way when its depositor left is not one."""
    installation = house.installation
    made = installation.run("token", "create", "leaver in haste", "--json").json

    def slowly():
        yield b"first"
        installation.alter("UPDATE access_tokens SET revoked_at = created_at WHERE id = ?", made["id"])
        yield b"last"

    with server.http(made["token"]) as http:
        transfer, key = open_transfer(http)
        answer = http.put(f"/api/v1/transfers/{transfer}/files/a", content=slowly(), headers=key_header(key))
    assert answer.status_code in {401, 403}, answer.text


def test_a_demoted_token_loses_its_rights_at_once(house, server):
    made = house.installation.run("token", "create", "moved", "--json").json
    with server.http(made["token"]) as http:
        ok(http.get("/api/v1/transfers"), 200)
        house.installation.alter("UPDATE access_tokens SET role = 'auditor' WHERE id = ?", made["id"])
        assert ok(http.get("/api/v1/transfers"), 403)["code"] == "not_allowed"
        assert ok(http.get("/api/v1/me"), 200)["role"] == "auditor"


def test_a_token_ends_at_its_second(house, server):
    made = house.installation.run("token", "create", "short", "--expires", "2s", "--json").json
    with server.http(made["token"]) as http:
        deadline = time.monotonic() + 5
        while (answer := http.get("/api/v1/me")).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert ok(answer, 401)["code"] == "not_authenticated"


def test_shares_of_one_transfer_know_nothing_of_each_other(staff, anyone):
    share = send(staff, recipient="CPAM 75")
    other = issue(staff, share.transfer_id, share.client_key, "ARS")
    seen = look(anyone, other)
    assert "CPAM" not in str(seen)
    assert share.id not in str(seen)
