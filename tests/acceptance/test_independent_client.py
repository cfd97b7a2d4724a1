"""A recipient's program that knows only the published formats (docs/security.md) reads what the service stores."""

import os
import zlib

import pytest

from tests.acceptance.independent_client import (
    decrypt_file,
    decrypt_meta,
    link_proof,
    to_bytes,
    to_text,
    unwrap_share,
)
from tests.acceptance.people import bearer, ok, send, wrong_secret

SIZES = [0, 1, 16_383, 16_384, 16_385, 3 * 16_384, 1_500_000]


@pytest.mark.parametrize("size", SIZES)
def test_files_are_readable_with_published_formulas_alone(staff, anyone, size):
    content = os.urandom(size)
    share = send(staff, content, "résultats.csv", allow_empty=True)
    secret = to_bytes(share.secret)
    body = {"link_proof": to_text(link_proof(secret)), "password": share.password}
    claimed = ok(anyone.post(f"/api/v1/shares/{share.id}/claim", json=body), 200)
    transfer = claimed["transfer_id"]
    assert transfer == share.transfer_id

    server_part, wrapped = to_bytes(claimed["server_part"]), to_bytes(claimed["wrapped_key"])
    key = unwrap_share(secret, server_part, wrapped, transfer=transfer, share=share.id)
    (file,) = claimed["files"]
    meta = decrypt_meta(key, transfer=transfer, number=0, sealed=to_bytes(file["sealed_meta"]))
    assert meta == {"name": "résultats.csv", "type": "application/octet-stream", "crc32": zlib.crc32(content)}
    path = f"/api/v1/claims/{claimed['claim_id']}"
    sealed = anyone.get(f"{path}/blobs/0", headers=bearer(claimed["claim_token"])).content
    assert len(sealed) == file["sealed_size"]
    assert decrypt_file(key, transfer=transfer, number=0, sealed=sealed) == content
    assert anyone.post(f"{path}/complete", headers=bearer(claimed["claim_token"])).status_code == 204


def test_the_stored_blob_is_what_is_handed_out_and_holds_no_plaintext(house, staff, anyone):
    content = b"NIR 2 69 05 49 588 157 80 " * 2_000
    share = send(staff, content)
    body = {"link_proof": share.proof, "password": share.password}
    claimed = ok(anyone.post(f"/api/v1/shares/{share.id}/claim", json=body), 200)
    path = f"/api/v1/claims/{claimed['claim_id']}/blobs/0"
    sealed = anyone.get(path, headers=bearer(claimed["claim_token"])).content
    (blob_id,) = house.installation.rows("SELECT blob_id FROM files WHERE transfer_id = ?", share.transfer_id)[0]
    stored = [file for file in house.installation.files("blobs") if file.name == blob_id]
    assert [file.read_bytes() for file in stored] == [sealed]
    assert content[:26] not in sealed


def test_neither_half_of_the_secret_opens_alone(staff, anyone):
    """G3: the link without the password, or the password without the link, is no key."""
    share = send(staff)
    body = {"link_proof": share.proof, "password": share.password}
    claimed = ok(anyone.post(f"/api/v1/shares/{share.id}/claim", json=body), 200)
    wrapped = to_bytes(claimed["wrapped_key"])
    right = {"link_secret": to_bytes(share.secret), "server_part": to_bytes(claimed["server_part"])}
    unwrap_share(**right, wrapped=wrapped, transfer=share.transfer_id, share=share.id)
    from cryptography.exceptions import InvalidTag

    for wrong in ({"link_secret": to_bytes(wrong_secret())}, {"server_part": to_bytes(wrong_secret())}):
        with pytest.raises(InvalidTag):
            unwrap_share(**(right | wrong), wrapped=wrapped, transfer=share.transfer_id, share=share.id)
