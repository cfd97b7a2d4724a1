"""Attacks on sealed transfers: other people's, replays, numbers and bodies that lie; and that no secret of the programs
reaches the server by any way (G4), which here means its traffic too.
"""

from typing import Any

import httpx
import pytest

from app.client.errors import ServiceRefused
from app.client.sealed_claim import SealedClaim, look
from app.client.sealed_transfer import SealedTransfer
from app.crypto.encoding import encode
from app.domain.file_meta import FileMeta
from tests.acceptance.independent_client import to_text
from tests.acceptance.people import bearer, ok, wrong_password, wrong_secret
from tests.acceptance.sealed_people import NAME, Recorder, a_sealed_transfer, pieces, send_sealed
from tests.acceptance.service import until
from tests.attacks.raw import connected, exchange, head
from tests.attacks.test_canaries import found_in
from tests.attacks.test_other_peoples_transfers import told

CONTENT = b"CANARI-NIR;2690549588157;seropositive\n"
META = {"Caducee-Sealed-Meta": to_text(bytes(90))}
KEY = {"wrapped_key": to_text(bytes(60))}
EMPTY_BLOB = bytes(72)


@pytest.fixture
def transfer(staff):
    return a_sealed_transfer(staff, CONTENT)


@pytest.fixture
def path(transfer):
    return f"/api/v1/transfers/{transfer.id}"


def files_of(staff, path):
    return ok(staff.get(path), 200)["files"]


def test_anothers_sealed_transfer_answers_like_one_that_never_was(staff, colleague, transfer):
    """Lesson 30."""
    asked = {"recipient": "x", "password": wrong_password()}
    prepared = ok(staff.post(f"/api/v1/transfers/{transfer.id}/shares", json=asked), 201)["share_id"]
    attempts: list[tuple[str, str, dict[str, Any], str]] = [
        ("PUT", "/api/v1/transfers/{}/key", {"json": KEY}, transfer.id),
        ("GET", "/api/v1/transfers/{}/key", {}, transfer.id),
        ("PUT", "/api/v1/transfers/{}/blobs/1", {"content": EMPTY_BLOB, "headers": META}, transfer.id),
        ("POST", "/api/v1/transfers/{}/shares", {"json": asked}, transfer.id),
        ("PUT", "/api/v1/shares/{}/key", {"json": KEY | {"link_proof": wrong_secret()}}, prepared),
    ]
    for method, route, rest, mine in attempts:
        theirs, none = (colleague.request(method, route.format(it), **rest) for it in (mine, "A" * 22))
        assert theirs.status_code == 404, route
        assert told(theirs) == told(none)
    shown = ok(staff.get(f"/api/v1/transfers/{transfer.id}"), 200)
    assert [share["state"] for share in shown["shares"]] == ["prepared"]


def test_a_replayed_key_changes_nothing(staff, anyone, transfer, path):
    """Whoever gets hold of the depositor's token later can neither lock the depositor out nor redirect a share."""
    assert ok(staff.put(f"{path}/key", json=KEY), 409)["code"] == "key_already_set"
    share = transfer.issue("CPAM 75")
    for proof in (wrong_secret(), to_text(bytes(32))):
        again = staff.put(f"/api/v1/shares/{share.id}/key", json=KEY | {"link_proof": proof})
        assert ok(again, 409)["code"] == "key_already_set"
    claim = SealedClaim.redeem(anyone, share.link, share.password)
    assert b"".join(claim.fetch(0)) == CONTENT
    assert SealedTransfer.reopen(staff, transfer.id, transfer.client_key).transfer_key == transfer.transfer_key


def test_a_share_that_was_not_opened_answers_like_one_that_never_was(staff, anyone, path):
    asked = {"recipient": "x", "password": wrong_password()}
    share = ok(staff.post(f"{path}/shares", json=asked), 201)["share_id"]
    for proof in (wrong_secret(), to_text(bytes(32))):
        for route, body in (
            ("look", {"link_proof": proof}),
            ("claim", {"link_proof": proof, "password": asked["password"]}),
            ("claim", {"link_secret": proof, "password": asked["password"]}),
        ):
            theirs, none = (anyone.post(f"/api/v1/shares/{it}/{route}", json=body) for it in (share, "A" * 22))
            assert theirs.status_code == 404
            assert told(theirs) == told(none)


def test_steps_in_another_order_are_refused(staff, transfer, path):
    """A key for a share that is withdrawn; a file after sharing; a share of what is deleted."""
    asked = {"recipient": "x", "password": wrong_password()}
    share = ok(staff.post(f"{path}/shares", json=asked), 201)["share_id"]
    late = staff.put(f"{path}/blobs/1", content=EMPTY_BLOB, headers=META)
    assert ok(late, 409)["code"] == "transfer_closed"
    assert staff.delete(f"/api/v1/shares/{share}").status_code == 204
    key = KEY | {"link_proof": wrong_secret()}
    assert ok(staff.put(f"/api/v1/shares/{share}/key", json=key), 410)["code"] == "share_withdrawn"
    assert staff.delete(path).status_code == 204
    for answer in (
        staff.get(f"{path}/key"),
        staff.put(f"{path}/key", json=KEY),
        staff.post(f"{path}/shares", json=asked),
        staff.put(f"{path}/blobs/1", content=EMPTY_BLOB, headers=META),
    ):
        assert ok(answer, 410)["code"] == "transfer_ended"


@pytest.mark.parametrize("number", ["0", "2", "-1", "1" + "0" * 30, "2147483648"])
def test_a_number_that_is_not_the_next_is_refused(staff, path, number):
    answer = ok(staff.put(f"{path}/blobs/{number}", content=EMPTY_BLOB, headers=META), 409)
    assert (answer["code"], answer["next_number"]) == ("wrong_file_number", 1)
    assert len(files_of(staff, path)) == 1


@pytest.mark.parametrize("number", ["one", "1.5", "0x1", "9" * 5_000, "%00", "1/2"])
def test_what_is_no_number_is_refused(staff, path, number):
    answer = staff.put(f"{path}/blobs/{number}", content=EMPTY_BLOB, headers=META)
    assert answer.status_code in {400, 404, 405}
    assert len(files_of(staff, path)) == 1


@pytest.mark.parametrize("length", [0, 1, 71, 56 + 16_400, 56 + 16_400 + 15])
@pytest.mark.parametrize("announced", [True, False])
def test_ciphertext_of_an_impossible_length_leaves_nothing(staff, path, length, announced):
    body = bytes(length) if announced else iter([bytes(length)])
    answer = ok(staff.put(f"{path}/blobs/1", content=body, headers=META), 400)
    assert answer["code"] == "malformed_ciphertext"
    assert len(files_of(staff, path)) == 1


@pytest.mark.parametrize(
    "meta", [None, "", "=", "é", to_text(bytes(71)), to_text(bytes(4_000)), to_text(bytes(30_000)), "A" * 121]
)
def test_a_sealed_name_that_is_none_is_refused(staff, path, meta):
    """Bounded: it goes into the database."""
    headers = {} if meta is None else {"Caducee-Sealed-Meta": meta.encode("latin-1")}
    answer = ok(staff.put(f"{path}/blobs/1", content=EMPTY_BLOB, headers=headers), 400)
    assert answer["code"] == "invalid_request"
    assert len(files_of(staff, path)) == 1


@pytest.mark.parametrize("headers", [("Content-Length: 1000072",), ("Transfer-Encoding: chunked",)])
def test_a_body_that_is_cut_leaves_nothing_and_its_number_free(house, server, staff, transfer, path, headers):
    """Lesson 9."""
    token = f"Authorization: Bearer {house.tokens['staff']}"
    meta = f"Caducee-Sealed-Meta: {META['Caducee-Sealed-Meta']}"
    begun = b"186a0\r\n" + bytes(100_000) if "chunked" in headers[0] else bytes(300_000)
    with connected(server.port) as connection:
        connection.sendall(head("PUT", f"{path}/blobs/1", server.port, token, meta, *headers) + begun)
        until(lambda: len(files_of(staff, path)) == 2, what="the beginning")
    until(lambda: len(files_of(staff, path)) == 1, what="the removal of what was half sent")
    known = {row[0] for row in house.installation.rows("SELECT blob_id FROM files")}
    assert {blob.name for blob in house.installation.files("blobs")} <= known
    assert transfer.add(FileMeta("again.bin", "application/octet-stream"), pieces(b"again")) == 1


def test_a_form_is_not_taken_for_ciphertext(staff, path):
    """More of this kind: `test_bodies_with_another_meaning.py`."""
    headers = META | {"Content-Type": "multipart/form-data; boundary=x"}
    answer = ok(staff.put(f"{path}/blobs/1", content=EMPTY_BLOB, headers=headers), 415)
    assert answer["code"] == "unsupported_media_type"


def test_every_check_comes_before_the_body(house, server, path):
    """Nothing is read of what will be refused: the answer comes though no byte of the body was sent."""
    token = f"Authorization: Bearer {house.tokens['staff']}"
    meta = f"Caducee-Sealed-Meta: {META['Caducee-Sealed-Meta']}"
    for number, length, expected in ((5, 1_000_072, 409), (1, 56 + 16_400, 400), (1, 1 << 40, 413)):
        request = head("PUT", f"{path}/blobs/{number}", server.port, token, meta, f"Content-Length: {length}")
        assert exchange(server.port, request).status == expected


def test_a_claim_by_proof_learns_nothing_without_the_password(staff, anyone):
    share = send_sealed(staff, CONTENT)
    for left in (4, 3):
        with pytest.raises(ServiceRefused) as refused:
            SealedClaim.redeem(anyone, share.link, wrong_password())
        assert refused.value.code == "wrong_password"
        assert look(anyone, share.link)["attempts_left"] == left


def test_no_secret_of_the_programs_reaches_the_server(house, server):
    """Canaries: link secret, transfer key, client key, content and name stand in no request or answer, not in the data
    folder, not in the log. The password does reach it: alone it opens nothing.
    """
    recorder = Recorder()

    def program(token: str | None = None) -> httpx.Client:
        headers = bearer(token) if token else {}
        return httpx.Client(base_url=server.origin, headers=headers, timeout=30, transport=recorder)

    with program(house.tokens["staff"]) as depositor, program() as recipient:
        transfer = a_sealed_transfer(depositor, CONTENT * 1_000, CONTENT)
        again = SealedTransfer.reopen(depositor, transfer.id, transfer.client_key)
        share = again.issue("ARS")
        with pytest.raises(ServiceRefused):
            SealedClaim.redeem(recipient, share.link, wrong_password())
        look(recipient, share.link)
        claim = SealedClaim.redeem(recipient, share.link, share.password)
        assert b"".join(claim.fetch(0)) == CONTENT * 1_000
        at_rest = {str(path): content for path, content in house.installation.bytes_at_rest().items()}
        claim.complete()
    secrets = {
        "link secret": share.link.secret,
        "link as written": f"sealed.{encode(share.link.secret)}",
        "transfer key": transfer.transfer_key,
        "client key": transfer.client_key,
        "content": CONTENT,
        "name": NAME,
        "ASCII part of the name": "CANARI-DUPONT",
    }
    assert len(recorder.said) >= 12
    assert found_in(recorder.said, {"password": share.password}), "the recorder hears what is said"
    assert found_in(recorder.said, secrets) == []
    assert len(at_rest) > 10
    assert found_in(at_rest, secrets | {"password": share.password}) == []
    assert b"/blobs/{number}" in server.log.encode()
    assert found_in({"log": server.log.encode()}, secrets | {"password": share.password}) == []
