"""The recipient's half of the HTTP contract: look, claim, fetch with ranges, resume, complete."""

import re

import pytest

from tests.acceptance.people import (
    add_file,
    bearer,
    claim,
    issue,
    look,
    ok,
    open_transfer,
    send,
    try_claim,
    wrong_password,
    wrong_secret,
)
from tests.acceptance.service import until

CONTENT = bytes(range(256)) * 300


@pytest.fixture
def held(staff, anyone):
    """A claim to fetch from."""
    return claim(anyone, send(staff, CONTENT))


def test_a_look_tells_what_the_link_is_and_redeems_nothing(staff, anyone):
    share = send(staff, label="Labo Nord")
    for _ in range(3):
        seen = look(anyone, share)
    expires_at = seen.pop("expires_at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", expires_at)
    assert seen == {
        "state": "issued",
        "label": "Labo Nord",
        "recipient": "CPAM 75",
        "files": 1,
        "size": 7,
        "sealed": False,
        "attempts_left": 5,
    }
    assert look(anyone, send(staff))["label"] is None
    claim(anyone, share)
    seen = look(anyone, share)
    assert seen["state"] == "claimed"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", seen["used_at"])


def test_a_look_counts_the_files_and_says_when_they_were_destroyed(staff, anyone):
    """G2: only once the deletion was verified, and by the log's entry, not by the row alone."""
    transfer, key = open_transfer(staff)
    for content in (b"12", b"", b"345"):
        ok(add_file(staff, transfer, key, content, allow_empty=True), 201)
    share, other = issue(staff, transfer, key), issue(staff, transfer, key, "CNAM")
    assert (look(anyone, share)["files"], look(anyone, share)["size"]) == (3, 5)
    ok(claim(anyone, share).complete(), 204)
    seen = look(anyone, share)
    assert (seen["state"], "destroyed_at" in seen) == ("completed", False), "somebody else is still waiting"
    ok(claim(anyone, other).complete(), 204)
    until(lambda: "destroyed_at" in look(anyone, share), what="the verified deletion")
    listed = ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)
    assert listed["state"] == "verified"
    assert look(anyone, share)["destroyed_at"] == listed["deleted_at"]


def test_a_row_that_claims_a_deletion_is_not_believed(house, staff, anyone):
    """Lesson 39: `destroyed_at` is what the log recorded, whatever the row says."""
    share = send(staff)
    altered = "UPDATE transfers SET state = 'verified', verified_at = created_at WHERE id = ?"
    assert house.installation.alter(altered, share.transfer_id) == 1
    assert "destroyed_at" not in look(anyone, share)


def test_the_recipient_is_hidden_where_the_house_wants_that(installation):
    with installation.serving(SHOW_RECIPIENT="0") as server, server.http(installation.token()) as http:
        assert "recipient" not in look(http, send(http))


def test_a_claim_by_secret_answers_names_and_by_proof_what_decrypts_them(staff, anyone):
    by_secret = claim(anyone, send(staff, b"123", "é.csv")).answer
    assert set(by_secret) == {"claim_id", "claim_token", "transfer_id", "expires_at", "files"}
    file = by_secret["files"][0]
    assert file == {"number": 0, "size": 3, "sealed_size": 75, "name": "é.csv", "type": "application/octet-stream"}
    share = send(staff, b"123")
    by_proof = claim(anyone, share, link_secret=None, link_proof=share.proof).answer
    assert set(by_proof) == set(by_secret) | {"server_part", "wrapped_key"}
    assert set(by_proof["files"][0]) == {"number", "size", "sealed_size", "sealed_meta"}


@pytest.mark.parametrize(
    ("instead", "status", "code"),
    [
        ({"link_proof": "both"}, 400, "invalid_request"),
        ({"link_secret": None}, 400, "invalid_request"),
        ({"password": None}, 400, "invalid_request"),
        ({"password": "too short"}, 400, "malformed_password"),
        ({"password": "U" * 16}, 400, "malformed_password"),
        ({"claim_token": "short"}, 400, "invalid_request"),
    ],
)
def test_a_claim_that_is_not_well_formed_costs_nothing(staff, anyone, instead, status, code):
    share = send(staff)
    assert ok(try_claim(anyone, share, **instead), status)["code"] == code
    seen = look(anyone, share)
    assert (seen["state"], seen["attempts_left"]) == ("issued", 5)
    claim(anyone, share)


@pytest.mark.parametrize("typed", ["lower", "spaced", "glued", "misread"])
def test_a_password_is_taken_as_people_type_it(staff, anyone, typed):
    share = send(staff)
    ways = {
        "lower": share.password.lower(),
        "spaced": f" {share.password.replace('-', ' ')}\u00a0",
        "glued": share.password.replace("-", ""),
        "misread": share.password.replace("0", "O").replace("1", "l"),
    }
    claim(anyone, share, password=ways[typed])


def test_wrong_passwords_count_down_and_the_fifth_locks_for_good(house, staff, anyone):
    share = send(staff)
    left = []
    for _ in range(5):
        refused = try_claim(anyone, share, password=wrong_password())
        assert refused.headers["content-type"] == "application/problem+json"
        left.append(ok(refused, 401)["attempts_left"])
    assert left == [4, 3, 2, 1, 0]
    assert ok(try_claim(anyone, share), 410)["code"] == "share_locked"
    assert look(anyone, share)["state"] == "locked"
    assert not any(share.id in path.name for path in house.installation.key_files()), "its key is destroyed"
    claim(anyone, issue(staff, share.transfer_id, share.client_key))


def test_a_second_claim_is_told_that_the_link_was_used(staff, anyone):
    share = send(staff)
    held = claim(anyone, share)
    assert ok(try_claim(anyone, share), 410)["code"] == "share_used"
    assert ok(try_claim(anyone, share, claim_token=wrong_secret()), 410)["code"] == "share_used"
    assert held.complete().status_code == 204
    assert ok(try_claim(anyone, share), 410)["code"] == "share_used"


def test_the_same_claim_with_a_token_of_ones_own_answers_the_same_again(staff, anyone):
    share, token = send(staff), wrong_secret()
    first = ok(try_claim(anyone, share, claim_token=token), 200)
    again = ok(try_claim(anyone, share, claim_token=token), 200)
    assert first == again
    assert first["claim_token"] == token
    wrong = try_claim(anyone, share, claim_token=token, password=wrong_password())
    assert wrong.status_code == 401, "the token alone is not enough"
    assert ok(try_claim(anyone, share, claim_token=token), 200) == first
    ok(anyone.post(f"/api/v1/claims/{first['claim_id']}/complete", headers=bearer(token)), 204)
    assert ok(try_claim(anyone, share, claim_token=token), 410)["code"] == "share_used"


def test_a_claim_by_secret_sets_a_cookie_that_counts_only_from_our_own_page(staff, anyone, server):
    share = send(staff, CONTENT)
    won = try_claim(anyone, share)
    claim_id = ok(won, 200)["claim_id"]
    name, _, rest = won.headers["set-cookie"].partition("=")
    value, *attributes = [part.strip() for part in rest.split(";")]
    assert value == won.json()["claim_token"]
    path = f"/api/v1/claims/{claim_id}"
    assert {f"Path={path}", "HttpOnly", "SameSite=strict"} <= {part.replace("Strict", "strict") for part in attributes}
    assert "Secure" not in attributes, "this server's origin is http on loopback"

    def fetch(**headers):
        sent = {key.replace("_", "-"): text for key, text in headers.items()} | {"Cookie": f"{name}={value}"}
        return anyone.get(f"{path}/files/0", headers=sent).status_code

    assert fetch() == 404
    assert fetch(sec_fetch_site="cross-site") == 404
    assert fetch(sec_fetch_site="same-site") == 404
    assert fetch(sec_fetch_site="none") == 200, "a browser that resumes a download by itself says none"
    assert fetch(origin="https://evil.example") == 404
    assert fetch(origin=f"{server.origin}.evil.example") == 404
    assert fetch(origin=server.origin, sec_fetch_site="cross-site") == 404
    assert fetch(sec_fetch_site="same-origin") == 200
    assert fetch(origin=server.origin) == 200


def test_a_claim_by_proof_sets_no_cookie_and_gets_no_plaintext(staff, anyone):
    share = send(staff)
    won = try_claim(anyone, share, link_secret=None, link_proof=share.proof)
    assert "set-cookie" not in won.headers
    held = bearer(ok(won, 200)["claim_token"])
    path = f"/api/v1/claims/{won.json()['claim_id']}"
    assert ok(anyone.get(f"{path}/files/0", headers=held), 409)["code"] == "claimed_by_proof"
    assert anyone.get(f"{path}/blobs/0", headers=held).status_code == 200


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, None),
        ("bytes=16383-16384", 16_383, 16_385),
        ("bytes=70000-999999999", 70_000, None),
        ("bytes=-5", -5, None),
        ("bytes=-999999", 0, None),
    ],
)
@pytest.mark.parametrize("path", ["files/0", "blobs/0"])
def test_ranges_are_answered_in_part(held, path, asked, start, stop):
    whole = held.get(path).content
    part = held.get(path, range=asked)
    expected = whole[start:stop]
    assert part.status_code == 206
    assert part.content == expected
    first = start if start >= 0 else len(whole) + start
    assert part.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(whole)}"
    assert part.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=a-b", "bytes=0-1,3-4", "lines=0-5", "bytes=", "bytes=-", "0-5"])
def test_a_range_that_is_malformed_or_multiple_is_ignored(staff, anyone, asked):
    answer = claim(anyone, send(staff, b"0123456789")).get(range=asked)
    assert (answer.status_code, answer.content) == (200, b"0123456789")


@pytest.mark.parametrize("asked", ["bytes=76800-", "bytes=99999999999-", "bytes=-0"])
def test_a_range_outside_the_file_is_not_satisfiable(held, asked):
    answer = held.get(range=asked)
    assert ok(answer, 416)["code"] == "range_not_satisfiable"
    assert answer.headers["content-range"].startswith("bytes */")


def test_head_tells_what_get_would_send_and_sends_nothing(held):
    for path, size in (("files/0", len(CONTENT)), ("blobs/0", None)):
        told, sent = held.get(path, "HEAD"), held.get(path)
        assert (told.status_code, told.content) == (200, b"")
        for name in ("content-length", "etag", "content-disposition", "accept-ranges", "content-type"):
            assert told.headers[name] == sent.headers[name]
        assert told.headers["accept-ranges"] == "bytes"
        assert size is None or told.headers["content-length"] == str(size)


def test_if_range_resumes_the_same_version_and_sends_all_of_another(held):
    etag = held.get(range="bytes=0-0").headers["etag"]
    assert re.fullmatch(r'"[^"]+"', etag)
    assert held.get(range="bytes=1-2", if_range=etag).status_code == 206
    assert held.get(range="bytes=1-2", if_range='"another"').status_code == 200
    assert etag != held.get("blobs/0", "HEAD").headers["etag"], "ciphertext and plaintext are different things"


def test_completing_is_idempotent_and_ends_every_access(staff, anyone):
    share = send(staff)
    held = claim(anyone, share)
    assert [held.complete().status_code for _ in range(3)] == [204, 204, 204]
    assert ok(held.get(), 410)["code"] == "claim_ended"
    assert ok(held.get("blobs/0"), 410)["code"] == "claim_ended"


def test_a_file_that_is_not_there_is_not_found(held):
    for number in ("1", "-1", "99999999999999999999999999"):
        assert ok(held.get(f"files/{number}"), 404)["code"] == "file_not_found"
    assert ok(held.get("files/zero"), 400)["code"] == "invalid_request"


def test_an_expired_share_says_so_from_its_second_on(staff, anyone):
    share = send(staff, expires_in="1")
    held = claim(anyone, other := issue(staff, share.transfer_id, share.client_key))
    until(lambda: look(anyone, share)["state"] == "expired", what="the expiry")
    assert look(anyone, other)["state"] == "expired"
    assert ok(try_claim(anyone, share), 410)["code"] == "share_expired"
    assert ok(held.get(), 410)["code"] == "claim_ended"
