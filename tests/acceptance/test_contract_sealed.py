"""Sealed transfers as the contract has them (docs/http-api.md), driven by the client that programs will use."""

import os
import re

import pytest

from app.client.errors import ServiceRefused
from app.client.link import Link
from app.client.sealed_claim import SealedClaim, look
from app.client.sealed_transfer import SealedTransfer
from app.crypto.errors import CannotDecrypt
from app.crypto.token import new_secret
from app.domain.file_meta import FileMeta
from tests.acceptance.independent_client import (
    decrypt_file,
    decrypt_meta,
    link_proof,
    to_bytes,
    to_text,
    unwrap_share,
)
from tests.acceptance.people import add_file, bearer, issue, key_header, ok, open_transfer, wrong_password, wrong_secret
from tests.acceptance.sealed_people import NAME, a_sealed_transfer, pieces, send_sealed
from tests.acceptance.service import until

SECRET = r"[A-Za-z0-9_-]{43}"
ID = r"[A-Za-z0-9_-]{22}"


def test_the_whole_life_of_a_sealed_transfer(house, staff, anyone):
    contents = [os.urandom(300_000), b"", b"small"]
    transfer = a_sealed_transfer(staff, *contents)
    share = transfer.issue("CPAM 75")
    text = share.link.text()
    assert re.fullmatch(rf"{house.server.origin}/s/{ID}#sealed\.{SECRET}", text)
    assert re.fullmatch(r"(?:[0-9A-Z]{4}-){3}[0-9A-Z]{4}", share.password)

    link = Link.parse(text)
    seen = look(anyone, link)
    assert (seen["state"], seen["sealed"], seen["attempts_left"]) == ("issued", True, 5)
    claim = SealedClaim.redeem(anyone, link, share.password.lower())
    assert [(file.number, file.size, file.meta.name) for file in claim.files] == [
        (number, len(content), NAME) for number, content in enumerate(contents)
    ]
    assert [b"".join(claim.fetch(number)) for number in range(3)] == contents
    claim.complete()
    claim.complete()
    with pytest.raises(ServiceRefused) as refused:
        SealedClaim.redeem(anyone, link, share.password)
    assert refused.value.code == "share_used"
    path = f"/api/v1/transfers/{transfer.id}"
    shown = until(lambda: _ended(staff, path), what="the deletion")
    assert (shown["state"], shown["ending"], shown["sealed"]) == ("verified", "completed", True)


def _ended(staff, path):
    shown = ok(staff.get(path), 200)
    return shown if shown["deleted_at"] else None


def test_what_a_program_sealed_opens_with_published_formulas_alone(staff, anyone):
    """The other direction of `test_independent_client`: here the client wrote, there the server."""
    content = os.urandom(40_000)
    share = send_sealed(staff, content)
    secret = share.link.secret
    body = {"link_proof": to_text(link_proof(secret)), "password": share.password}
    claimed = ok(anyone.post(f"/api/v1/shares/{share.id}/claim", json=body), 200)
    transfer = claimed["transfer_id"]
    server_part, wrapped = to_bytes(claimed["server_part"]), to_bytes(claimed["wrapped_key"])
    key = unwrap_share(secret, server_part, wrapped, transfer=transfer, share=share.id)
    (file,) = claimed["files"]
    assert set(file) == {"number", "size", "sealed_size", "sealed_meta"}
    meta = decrypt_meta(key, transfer=transfer, number=0, sealed=to_bytes(file["sealed_meta"]))
    assert meta == {"name": NAME, "type": "text/csv"}
    path = f"/api/v1/claims/{claimed['claim_id']}/blobs/0"
    sealed = anyone.get(path, headers=bearer(claimed["claim_token"])).content
    assert decrypt_file(key, transfer=transfer, number=0, sealed=sealed) == content


def test_a_program_goes_on_later_with_its_client_key_alone(staff, anyone):
    transfer = a_sealed_transfer(staff, b"one")
    again = SealedTransfer.reopen(staff, transfer.id, transfer.client_key)
    assert again.add(FileMeta("two.bin", "application/octet-stream"), pieces(b"two")) == 1
    share = again.issue("ARS")
    claim = SealedClaim.redeem(anyone, share.link, share.password)
    assert [b"".join(claim.fetch(number)) for number in (0, 1)] == [b"one", b"two"]
    with pytest.raises(CannotDecrypt):
        SealedTransfer.reopen(staff, transfer.id, new_secret())


def test_a_lost_answer_costs_the_recipient_nothing(staff, anyone):
    share, token = send_sealed(staff, b"content"), new_secret()
    first, second = (SealedClaim.redeem(anyone, share.link, share.password, token=token) for _ in range(2))
    assert (first.id, first.token) == (second.id, second.token)
    assert b"".join(second.fetch(0)) == b"content"


def test_answers_have_the_members_of_the_contract(staff):
    opened = ok(staff.post("/api/v1/transfers", json={"sealed": True, "label": "Labo"}), 201)
    assert set(opened) == {"id", "owner_part", "expires_at"}
    path = f"/api/v1/transfers/{opened['id']}"
    assert ok(staff.get(f"{path}/key"), 200) == {"owner_part": opened["owner_part"]}
    wrapped = to_text(os.urandom(60))
    assert staff.put(f"{path}/key", json={"wrapped_key": wrapped}).status_code == 204
    assert ok(staff.get(f"{path}/key"), 200) == {"owner_part": opened["owner_part"], "wrapped_key": wrapped}

    answer = staff.put(f"{path}/blobs/0", content=bytes(72), headers={"Caducee-Sealed-Meta": to_text(bytes(90))})
    assert ok(answer, 201) == {"number": 0, "size": 0}
    password = wrong_password()
    prepared = ok(staff.post(f"{path}/shares", json={"recipient": "ARS", "password": password}), 201)
    assert set(prepared) == {"share_id", "server_part", "page", "expires_at"}
    assert prepared["page"].endswith(f"/s/{prepared['share_id']}")
    assert re.fullmatch(SECRET, prepared["server_part"])
    shown = ok(staff.get(path), 200)
    assert (shown["sealed"], shown["files"][0]["state"]) == (True, "live")
    assert [share["state"] for share in shown["shares"]] == ["prepared"]
    key = {"wrapped_key": wrapped, "link_proof": wrong_secret()}
    assert staff.put(f"/api/v1/shares/{prepared['share_id']}/key", json=key).status_code == 204
    assert ok(staff.get(path), 200)["shares"][0]["state"] == "issued"


def test_a_sealed_transfer_refuses_every_plain_way(staff, anyone):
    """409, nothing redeemed, nothing stored, no attempt spent."""
    asked = staff.post("/api/v1/transfers", json={"sealed": True}, headers=key_header(wrong_secret()))
    assert ok(asked, 409)["code"] == "transfer_is_sealed"
    transfer = a_sealed_transfer(staff, b"content")
    path = f"/api/v1/transfers/{transfer.id}"
    named = {"Caducee-File-Name": "a", "Caducee-Sealed-Meta": to_text(bytes(90))}
    shared = {"recipient": "x", "password": wrong_password()}
    for answer in (
        add_file(staff, transfer.id, wrong_secret(), b"x"),
        staff.put(f"{path}/files/a", content=b"x"),
        staff.put(f"{path}/blobs/1", content=bytes(72), headers=named),
        staff.post(f"{path}/shares", json=shared, headers=key_header(wrong_secret())),
        staff.post(f"{path}/shares", json={"recipient": "x"}, headers=key_header(wrong_secret())),
    ):
        assert ok(answer, 409)["code"] == "transfer_is_sealed"
    assert ok(staff.post(f"{path}/shares", json={"recipient": "x"}), 400)["code"] == "invalid_request"
    share = transfer.issue("CPAM 75")
    secret = to_text(share.link.secret)
    for password in (share.password, wrong_password()):
        for answer in (
            anyone.post(f"/api/v1/shares/{share.id}/claim", json={"link_secret": secret, "password": password}),
            anyone.post(f"/api/v1/shares/{share.id}/content", auth=("link", f"{secret}.{password}")),
            anyone.post(f"/api/v1/shares/{share.id}/content", auth=("link", f"sealed.{secret}.{password}")),
        ):
            assert ok(answer, 409)["code"] == "transfer_is_sealed"
    assert look(anyone, share.link)["attempts_left"] == 5
    claim = SealedClaim.redeem(anyone, share.link, share.password)
    answer = anyone.get(f"/api/v1/claims/{claim.id}/files/0", headers=bearer(claim.token))
    assert ok(answer, 409)["code"] == "claimed_by_proof"
    assert b"".join(claim.fetch(0)) == b"content"


def test_a_client_key_is_refused_wherever_sealed_things_are_taken_or_given(staff, anyone):
    """It came where it never should: the program that sent it learns so at once, and nothing is stored."""
    transfer = ok(staff.post("/api/v1/transfers", json={"sealed": True}), 201)["id"]
    path, sent = f"/api/v1/transfers/{transfer}", key_header(wrong_secret())
    key = {"wrapped_key": to_text(bytes(60))}
    meta = {"Caducee-Sealed-Meta": to_text(bytes(90))}
    for answer in (
        staff.put(f"{path}/key", json=key, headers=sent),
        staff.get(f"{path}/key", headers=sent),
        staff.put(f"{path}/blobs/0", content=bytes(72), headers=meta | sent),
        staff.put(f"{path}/blobs/0", content=bytes(72), headers=meta | {"Caducee-Client-Key": "malformed"}),
    ):
        assert ok(answer, 409)["code"] == "transfer_is_sealed"
    assert ok(staff.get(path), 200)["files"] == []
    assert "wrapped_key" not in ok(staff.get(f"{path}/key"), 200)
    assert anyone.put(f"{path}/blobs/0", content=bytes(72), headers=meta | sent).status_code == 401
    share = a_sealed_transfer(staff, b"content")
    prepared = ok(
        staff.post(f"/api/v1/transfers/{share.id}/shares", json={"recipient": "x", "password": wrong_password()}), 201
    )["share_id"]
    opened = staff.put(f"/api/v1/shares/{prepared}/key", json=key | {"link_proof": wrong_secret()}, headers=sent)
    assert ok(opened, 409)["code"] == "transfer_is_sealed"
    shown = ok(staff.get(f"/api/v1/transfers/{share.id}"), 200)
    assert [each["state"] for each in shown["shares"]] == ["prepared"]


def test_an_unsealed_transfer_refuses_every_sealed_way(staff):
    transfer, key = open_transfer(staff)
    ok(add_file(staff, transfer, key, b"x"), 201)
    share = issue(staff, *open_with_file(staff))
    path, meta = f"/api/v1/transfers/{transfer}", {"Caducee-Sealed-Meta": to_text(bytes(90))}
    wrapped = {"wrapped_key": to_text(bytes(60))}
    for answer in (
        staff.put(f"{path}/key", json=wrapped),
        staff.get(f"{path}/key"),
        staff.put(f"{path}/blobs/1", content=bytes(72), headers=meta),
        staff.post(f"{path}/shares", json={"recipient": "x", "password": wrong_password()}, headers=key_header(key)),
        staff.put(f"/api/v1/shares/{share.id}/key", json=wrapped | {"link_proof": wrong_secret()}),
    ):
        assert ok(answer, 409)["code"] == "transfer_not_sealed"
    assert ok(staff.post(f"{path}/shares", json={"recipient": "x"}), 400)["code"] == "client_key_required"


def open_with_file(staff):
    transfer, key = open_transfer(staff)
    ok(add_file(staff, transfer, key, b"x"), 201)
    return transfer, key


def test_a_share_waits_for_a_file_and_for_the_owners_key(staff):
    opened = ok(staff.post("/api/v1/transfers", json={"sealed": True}), 201)
    path, asked = f"/api/v1/transfers/{opened['id']}", {"recipient": "x", "password": wrong_password()}
    assert ok(staff.post(f"{path}/shares", json=asked), 409)["code"] == "transfer_empty"
    meta = {"Caducee-Sealed-Meta": to_text(bytes(90))}
    ok(staff.put(f"{path}/blobs/0", content=bytes(72), headers=meta), 201)
    assert ok(staff.post(f"{path}/shares", json=asked), 409)["code"] == "owner_key_missing"
    assert ok(staff.post(f"{path}/shares", json=asked | {"password": "short"}), 400)["code"] == "malformed_password"


@pytest.mark.parametrize("value", ["", "x", to_text(bytes(59)), to_text(bytes(61)), to_text(bytes(60)) + "=", "é" * 80])
def test_a_wrapped_key_has_60_bytes(staff, value):
    opened = ok(staff.post("/api/v1/transfers", json={"sealed": True}), 201)
    put = [
        staff.put(f"/api/v1/transfers/{opened['id']}/key", json={"wrapped_key": value}),
        staff.put(f"/api/v1/shares/{opened['id']}/key", json={"wrapped_key": value, "link_proof": wrong_secret()}),
    ]
    for answer in put:
        assert ok(answer, 400)["code"] == "invalid_request"
        assert value not in answer.text or not value.strip("x")


def test_the_client_withdraws_a_share_that_it_could_not_open(staff, monkeypatch):
    transfer = a_sealed_transfer(staff, b"content")
    whole = staff.request

    def cut(method, path, **rest):
        if method == "PUT" and "/shares/" in path:
            rest["json"] = {"wrapped_key": "short", "link_proof": "short"}
        return whole(method, path, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(staff, "request", cut)
        with pytest.raises(ServiceRefused):
            transfer.issue("ARS")
    shown = ok(staff.get(f"/api/v1/transfers/{transfer.id}"), 200)
    assert [share["state"] for share in shown["shares"]] == ["withdrawn"]
    assert transfer.issue("ARS").link.sealed
