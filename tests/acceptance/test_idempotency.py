"""`Idempotency-Key`: a deposit whose response was lost is repeated, and never leaves two of it.

Lesson 42: an answer that is lost must not leave patient data that nobody can fetch or withdraw.
"""

import secrets
import socket
import time

import pytest

from tests.acceptance.people import Share, claim, issue, key_header, look, ok, open_transfer, try_claim
from tests.acceptance.service import until


def a_key() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_urlsafe(24)}


def send_with(http, key, content=b"content", name="a.csv", **query):
    query = {"recipient": "CPAM 75", "expires_in": "1h"} | query
    return http.put(f"/api/v1/send/{name}", params=query, content=content, headers=key)


def share_of(answer) -> Share:
    sent = ok(answer, 201)
    return Share(sent["transfer_id"], sent["client_key"], sent["share_id"], sent["link"], sent["password"])


def endings(http, *transfers) -> list[str | None]:
    return [ok(http.get(f"/api/v1/transfers/{each}"), 200)["ending"] for each in transfers]


def test_a_repeated_deposit_replaces_the_first_and_a_seen_one_is_kept(staff, anyone):
    key = a_key()
    first, second = share_of(send_with(staff, key)), share_of(send_with(staff, key))
    assert endings(staff, first.transfer_id, second.transfer_id) == ["replaced", None]
    assert ok(try_claim(anyone, first), 410)["code"] == "share_withdrawn"
    assert look(anyone, second)["state"] == "issued"
    refused = ok(send_with(staff, key), 409)
    assert refused["code"] == "already_answered"
    assert (refused["transfer_id"], refused["share_id"]) == (second.transfer_id, second.id)
    assert claim(anyone, second).get().content == b"content"


@pytest.mark.parametrize("how", ["a malformed password", "a wrong password", "a claim", "a deletion", "another share"])
def test_whatever_shows_that_the_response_arrived_keeps_the_result(staff, anyone, how):
    key = a_key()
    first = share_of(send_with(staff, key))
    if how == "a malformed password":
        assert try_claim(anyone, first, password="short").status_code == 400
    elif how == "a wrong password":
        assert try_claim(anyone, first, password="0000-0000-0000-0000").status_code == 401
    elif how == "a claim":
        claim(anyone, first)
    elif how == "a deletion":
        assert staff.delete(f"/api/v1/transfers/{first.transfer_id}").status_code == 204
    else:
        issue(staff, first.transfer_id, first.client_key)
    assert ok(send_with(staff, key), 409)["code"] == "already_answered"


def test_a_wrong_link_proves_nothing(staff, anyone):
    key = a_key()
    first = share_of(send_with(staff, key))
    wrong = anyone.post(f"/api/v1/shares/{first.id}/look", json={"link_proof": first.secret})
    assert wrong.status_code == 404
    second = share_of(send_with(staff, key))
    assert endings(staff, first.transfer_id, second.transfer_id) == ["replaced", None]


@pytest.mark.parametrize(
    "other",
    [{"content": b"CONTENT"}, {"content": b"longer content"}, {"name": "b.csv"}, {"recipient": "CPAM 92"}],
)
def test_a_key_counts_for_one_request_alone(staff, other):
    key = a_key()
    first = share_of(send_with(staff, key))
    assert ok(send_with(staff, key, **other), 422)["code"] == "idempotency_key_reused"
    assert endings(staff, first.transfer_id) == [None]


def test_a_key_counts_for_one_owner_and_route(staff, colleague):
    key = a_key()
    first = share_of(send_with(staff, key))
    second = share_of(send_with(colleague, key))
    made = ok(staff.post("/api/v1/transfers", json={}, headers=key), 201)
    assert endings(staff, first.transfer_id, made["id"]) == [None, None]
    assert endings(colleague, second.transfer_id) == [None]


def test_a_large_body_is_told_by_its_length(staff):
    key, large = a_key(), secrets.token_bytes(70_000)
    first = share_of(send_with(staff, key, large))
    second = share_of(send_with(staff, key, large[::-1]))
    assert endings(staff, first.transfer_id, second.transfer_id) == ["replaced", None]


@pytest.mark.parametrize("key", ["short", "x" * 256, "with a space in it!", "é" * 16, ""])
def test_a_malformed_key_is_refused(staff, key):
    answer = send_with(staff, {"Idempotency-Key": key.encode()})
    assert ok(answer, 400)["code"] == "invalid_request"
    assert len(key) < 16 or key not in answer.text


def test_quotes_around_a_key_do_not_matter(staff):
    key = secrets.token_urlsafe(24)
    first = share_of(send_with(staff, {"Idempotency-Key": f'"{key}"'}))
    second = share_of(send_with(staff, {"Idempotency-Key": key}))
    assert endings(staff, first.transfer_id, second.transfer_id) == ["replaced", None]


def test_transfers_and_shares_are_repeated_alike(staff, anyone):
    key = a_key()
    first = ok(staff.post("/api/v1/transfers", json={"expires_in": "1h"}, headers=key), 201)
    second = ok(staff.post("/api/v1/transfers", json={"expires_in": "1h"}, headers=key), 201)
    assert endings(staff, first["id"], second["id"]) == ["replaced", None]
    transfer, client_key = second["id"], second["client_key"]
    ok(staff.put(f"/api/v1/transfers/{transfer}/files/a", content=b"one", headers=key_header(client_key)), 201)
    assert (
        ok(staff.post("/api/v1/transfers", json={"expires_in": "1h"}, headers=key), 409)["code"] == "already_answered"
    )
    path, headers = f"/api/v1/transfers/{transfer}/shares", key_header(client_key) | a_key()
    lost, found = (ok(staff.post(path, json={"recipient": "CPAM"}, headers=headers), 201) for _ in range(2))
    shares = {each["id"]: each["state"] for each in ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)["shares"]}
    assert shares == {lost["share_id"]: "withdrawn", found["share_id"]: "issued"}
    assert endings(staff, transfer) == [None]
    share = Share(transfer, client_key, found["share_id"], found["link"], found["password"])
    assert claim(anyone, share).get().content == b"one"
    assert ok(staff.post(path, json={"recipient": "CPAM"}, headers=headers), 409)["code"] == "already_answered"


def test_while_the_first_runs_the_second_waits(server, staff):
    key = a_key()
    body = b"x" * 100_000
    host = server.origin.removeprefix("http://")
    with socket.create_connection(("127.0.0.1", int(host.partition(":")[2]))) as first:
        head = {"Host": host, "Content-Length": str(len(body))} | key
        head |= {"Authorization": staff.headers["authorization"]}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        first.sendall(f"PUT /api/v1/send/a.csv?recipient=CPAM+75&expires_in=1h HTTP/1.1\r\n{lines}\r\n".encode())
        first.sendall(body[:70_000])
        time.sleep(0.5)
        waiting = send_with(staff, key, body)
        assert ok(waiting, 503)["code"] == "idempotency_in_progress"
        assert waiting.headers["retry-after"] == "5"
        assert ok(send_with(staff, key, body, name="b.csv"), 422)["code"] == "idempotency_key_reused"
    repeated = until(lambda: (answer := send_with(staff, key, body)).status_code == 201 and answer)
    assert endings(staff, share_of(repeated).transfer_id) == [None]


def test_a_transfer_opened_without_a_key_is_nobodys_repetition(staff):
    first, second = open_transfer(staff)[0], open_transfer(staff)[0]
    assert endings(staff, first, second) == [None, None]
