"""Somebody with full rights over the stores alters what lies there: no plaintext byte, no early end, no silence."""

import base64
import hashlib
import secrets

import httpx
import pytest

from tests.acceptance.people import add_file, bearer, claim, issue, look, ok, open_transfer, send, try_claim

CONTENT = bytes(range(256)) * 1_024  # 16 chunks and a short one


@pytest.fixture
def blob(house, staff):
    """A share and the path of its blob."""
    share = send(staff, CONTENT)
    (blob_id,) = house.installation.rows("SELECT blob_id FROM files WHERE transfer_id = ?", share.transfer_id)[0]
    (path,) = [file for file in house.installation.files("blobs") if file.name == blob_id]
    return share, path


@pytest.mark.parametrize("place", [0, 23, 24, 55, 56, 16_455, 16_456, 200_000, -1])
def test_a_flipped_bit_of_a_blob_cuts_the_download_before_any_wrong_byte(blob, anyone, place):
    """Lesson 23 and 33: truncated, extended, reordered or altered chunks fail loudly."""
    share, path = blob
    sealed = bytearray(path.read_bytes())
    sealed[place] ^= 1
    path.write_bytes(sealed)
    _must_be_cut(claim(anyone, share))


def test_cut_extended_reordered_and_swapped_chunks_fail_loudly(staff, blob, anyone, house):
    """Lesson 33."""
    share, path = blob
    sealed = path.read_bytes()
    chunk = 16_384 + 16
    first, second, rest = sealed[56 : 56 + chunk], sealed[56 + chunk : 56 + 2 * chunk], sealed[56 + 2 * chunk :]
    held = claim(anyone, share)
    whole = held.get().content
    assert whole == CONTENT
    for altered in (
        sealed[:-1],
        sealed[: 56 + 3 * chunk],
        sealed[:56],
        sealed[:10],
        b"",
        sealed + b"x",
        sealed + sealed[56 : 56 + chunk],
        sealed[:56] + second + first + rest,
        sealed[:56] + first + first + rest,
    ):
        path.write_bytes(altered)
        _must_be_cut(held)
    path.write_bytes(sealed)


def test_blobs_of_the_same_transfer_cannot_stand_in_for_each_other(house, staff, anyone):
    transfer, key = open_transfer(staff)
    for content in (b"one" * 9, b"two" * 9):
        ok(add_file(staff, transfer, key, content), 201)
    held = claim(anyone, issue(staff, transfer, key))
    ids = [row[0] for row in house.installation.rows("SELECT blob_id FROM files WHERE transfer_id = ?", transfer)]
    paths = [path for path in house.installation.files("blobs") if path.name in ids]
    one, two = (path.read_bytes() for path in paths)
    paths[0].write_bytes(two)
    paths[1].write_bytes(one)
    for number in (0, 1):
        _must_be_cut(held, f"files/{number}", (b"one" * 9, b"two" * 9)[number])


def _must_be_cut(held, path="files/0", content=CONTENT):
    """The answer is an error, or the connection is reset before its announced length, with nothing but right bytes."""
    received = bytearray()
    try:
        with held.http.stream(
            "GET", f"/api/v1/claims/{held.id}/{path}", headers={"Authorization": f"Bearer {held.token}"}
        ) as answer:
            if answer.status_code != 200:
                assert answer.status_code >= 400
                return
            for piece in answer.iter_bytes():
                received += piece
    except (httpx.RemoteProtocolError, httpx.ReadError):
        pass
    else:
        raise AssertionError("the answer ended as if it were whole")
    assert len(received) < len(content)
    assert content.startswith(received)


@pytest.mark.parametrize("size", [0, 1, 2 * 16_384, 1_048_576, 2 * 1_048_576])
def test_sizes_altered_in_the_database_cannot_cut_a_file_short(house, staff, anyone, size):
    """Lesson 33: a cut at the end of a piece leaves whole chunks only; that the last one is missing must be seen."""
    content = bytes(2_500_000)
    share = send(staff, content)
    sealed = 56 + size + 16 * (size // 16_384 + 1)
    statement = "UPDATE files SET size = ?, sealed_size = ? WHERE transfer_id = ?"
    assert house.installation.alter(statement, size, sealed, share.transfer_id) == 1
    received = claim(anyone, share)
    answer = received.get("files/0", "HEAD")
    assert answer.headers["content-length"] == str(size)
    if size:
        _must_be_cut(received, content=content[:size])


@pytest.mark.parametrize("column", ["wrapped_key", "verifier_digest", "argon2_salt"])
@pytest.mark.parametrize("place", [0, 15])
def test_a_flipped_bit_of_a_shares_row_opens_nothing(house, staff, anyone, column, place):
    """Lesson 23: one and the same refusal, whichever part was altered."""
    share = send(staff)
    (value,) = house.installation.rows(f"SELECT {column} FROM shares WHERE id = ?", share.id)[0]
    altered = bytearray(value)
    altered[place] ^= 1
    house.installation.alter(f"UPDATE shares SET {column} = ? WHERE id = ?", bytes(altered), share.id)
    assert ok(try_claim(anyone, share), 401)["code"] == "wrong_password"
    house.installation.alter(f"UPDATE shares SET {column} = ? WHERE id = ?", value, share.id)
    assert claim(anyone, share).get().content == b"content"


def test_an_altered_vault_entry_refuses_and_leaves_the_share_redeemable(house, staff, anyone):
    """Lesson 17 and 23."""
    share = send(staff)
    (entry,) = [path for path in house.installation.key_files() if share.id in path.name]
    content = entry.read_bytes()
    entry.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert ok(try_claim(anyone, share), 503)["code"] == "vault_unavailable"
    seen = look(anyone, share)
    assert (seen["state"], seen["attempts_left"]) == ("issued", 5)
    entry.write_bytes(content)
    claim(anyone, share)


def test_an_expiry_moved_in_the_database_extends_nothing(house, staff, anyone):
    """docs/deletion.md: the vault's entry carries the exact expiry; editing `expires_at` in the database is no use."""
    share = send(staff, b"no later than it was")
    later = 3_600 * 1_000_000 * 24
    for table, column in (("transfers", "id"), ("shares", "transfer_id")):
        statement = f"UPDATE {table} SET expires_at = expires_at + ? WHERE {column} = ?"
        assert house.installation.alter(statement, later, share.transfer_id) == 1
    refused = try_claim(anyone, share)
    assert refused.status_code in {410, 503}
    assert b"claim_token" not in refused.content
    assert b"no later" not in refused.content


def test_a_used_share_set_back_in_the_database_stays_used(house, staff, anyone):
    """Lesson 11 and 18: its keys are gone, whatever the row says."""
    share = send(staff, keep_until_expiry=True)
    (wrapped,) = house.installation.rows("SELECT wrapped_key FROM shares WHERE id = ?", share.id)[0]
    assert claim(anyone, share).complete().status_code == 204
    house.installation.alter("DELETE FROM claims WHERE share_id = ?", share.id)
    statement = "UPDATE shares SET state = 'issued', wrapped_key = ?, used_at = NULL, ended_at = NULL WHERE id = ?"
    assert house.installation.alter(statement, wrapped, share.id) == 1
    refused = try_claim(anyone, share)
    assert refused.status_code == 410
    assert b"claim_token" not in refused.content


def test_rows_set_back_let_nobody_claim_a_second_time(house, staff, anyone):
    """Lesson 13: by link and password, by the one-line route; whoever was first goes on."""
    share, token = send(staff, b"once"), secrets.token_urlsafe(32)
    assert claim(anyone, share, claim_token=token).get().content == b"once"
    house.installation.alter("DELETE FROM claims WHERE share_id = ?", share.id)
    house.installation.alter("UPDATE shares SET state = 'issued', used_at = NULL WHERE id = ?", share.id)
    assert ok(try_claim(anyone, share), 410)["code"] == "share_used"
    one_line = anyone.post(f"/api/v1/shares/{share.id}/content", auth=share.basic)
    assert ok(one_line, 410)["code"] == "share_used"
    assert claim(anyone, share, claim_token=token).get().content == b"once"


def test_a_token_written_into_a_claim_opens_nothing(house, staff, anyone):
    """The vault knows another; the answer is the one to a wrong token."""
    held, token = claim(anyone, send(staff)), secrets.token_urlsafe(32)
    digest = hashlib.sha256(base64.urlsafe_b64decode(f"{token}=")).digest()
    house.installation.alter("UPDATE claims SET token_digest = ? WHERE id = ?", digest, held.id)
    for method, path in (("GET", "files/0"), ("GET", "blobs/0"), ("HEAD", "blobs/0"), ("POST", "complete")):
        answer = anyone.request(method, f"/api/v1/claims/{held.id}/{path}", headers=bearer(token))
        assert answer.status_code == 404
    assert ok(anyone.get(f"/api/v1/claims/{held.id}/files/0", headers=bearer(token)), 404)["code"] == "claim_not_found"
