"""What programs at both ends of a sealed transfer compute, against vectors that were made without the application."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.client import sealing
from app.crypto import chunked
from app.crypto.errors import CannotDecrypt, Truncated
from app.crypto.token import new_id, new_secret
from app.crypto.wrapping import link_proof
from app.domain.errors import InvalidFileName
from app.domain.file_meta import FileMeta

KEY, TRANSFER = new_secret(), new_id()
META = FileMeta("dépistage.csv", "text/csv")


@pytest.fixture(scope="module")
def vectors() -> Any:
    return json.loads((Path(__file__).parents[2] / "vectors" / "wrapping.json").read_text("utf-8"))


def known(vectors: Any, *names: str) -> Iterator[bytes]:
    return (bytes.fromhex(vectors["life"][name]) for name in names)


def test_a_sealed_name_opens_as_the_vectors_say(vectors):
    (key,) = known(vectors, "transfer_key")
    sealed = bytes.fromhex(vectors["sealed"]["sealed_meta"])
    assert sealing.open_meta(key, vectors["life"]["transfer_id"], 7, sealed) == META
    assert bytes.fromhex(vectors["sealed"]["meta"]) == META.to_json()
    assert chunked.meta_context(vectors["life"]["transfer_id"], 7).decode() == vectors["sealed"]["context"]


def test_the_depositor_and_the_recipient_open_what_the_vectors_wrap(vectors):
    """Argon2 and the vault are the server's part; all else is done at the ends."""
    transfer_id, share_id = vectors["life"]["transfer_id"], vectors["life"]["share_id"]
    key, wrapped, client_key, owner_part = known(
        vectors, "transfer_key", "wrapped_for_owner", "client_key", "owner_part"
    )
    assert (
        sealing.unwrap_for_owner(wrapped, client_key=client_key, owner_part=owner_part, transfer_id=transfer_id) == key
    )
    wrapped, secret, server_part, proof = known(
        vectors, "wrapped_for_share", "link_secret", "server_part", "link_proof"
    )
    assert link_proof(secret) == proof
    opened = sealing.unwrap_for_share(
        wrapped, link_secret=secret, server_part=server_part, transfer_id=transfer_id, share_id=share_id
    )
    assert opened == key


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 3_000_000])
def test_a_file_goes_through_in_pieces_of_any_size(size):
    content = random.Random(size).randbytes(size)
    for piece in (7_919, 65_536, 4_000_000):
        pieces = [content[at : at + piece] for at in range(0, size, piece)]
        sealed = b"".join(sealing.seal_file(KEY, TRANSFER, 3, pieces))
        assert len(sealed) == chunked.sealed_size(size)
        cut = [sealed[at : at + piece] for at in range(0, len(sealed), piece)]
        assert b"".join(sealing.open_file(KEY, TRANSFER, 3, cut)) == content


def test_no_two_sealings_are_alike():
    """A file that is sent again after a break goes under another salt: no chunk number is sealed twice under one."""
    one, other = (b"".join(sealing.seal_file(KEY, TRANSFER, 0, [b"x"])) for _ in range(2))
    assert one[:24] != other[:24]
    assert one[56:] != other[56:]


@pytest.mark.parametrize("cut", [1, 16, 17, 16_400, 16_401])
def test_a_file_that_was_cut_fails_at_its_end(cut):
    """Lesson 33, at the recipient's end."""
    sealed = b"".join(sealing.seal_file(KEY, TRANSFER, 0, [bytes(40_000)]))
    with pytest.raises(CannotDecrypt):
        list(sealing.open_file(KEY, TRANSFER, 0, [sealed[:-cut]]))
    whole_chunks = sealed[: 56 + 2 * 16_400]
    with pytest.raises(Truncated):
        list(sealing.open_file(KEY, TRANSFER, 0, [whole_chunks]))


def test_what_was_swapped_or_altered_does_not_open():
    """Lesson 33: another file's, another transfer's, or another key's ciphertext; a name in another's place."""
    sealed = b"".join(sealing.seal_file(KEY, TRANSFER, 0, [bytes(40_000)]))
    name = sealing.seal_meta(KEY, TRANSFER, 0, META)
    for key, transfer, number in ((new_secret(), TRANSFER, 0), (KEY, new_id(), 0), (KEY, TRANSFER, 1)):
        with pytest.raises(CannotDecrypt):
            list(sealing.open_file(key, transfer, number, [sealed]))
        with pytest.raises(CannotDecrypt):
            sealing.open_meta(key, transfer, number, name)
    for place in (0, 30, 60, 20_000, len(sealed) - 1):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(CannotDecrypt):
            list(sealing.open_file(KEY, TRANSFER, 0, [bytes(altered)]))


@pytest.mark.parametrize(
    "meta",
    [
        b'{"name": "../../etc/passwd"}',
        b'{"name": "a\\u0000b"}',
        b'{"name": "gpj.\\u202eexe"}',
        b'{"name": 7}',
        b'{"name": null}',
        b'{"type": "text/csv"}',
        b'{"name": "a", "type": 7}',
        b"[]",
        b"7",
        b"{",
        b"\xff",
    ],
)
def test_a_hostile_name_is_refused_by_the_recipients_program(meta):
    """Lesson 26: the server cannot look into sealed names, so the receiving program must."""
    sealed = chunked.seal(KEY, chunked.meta_context(TRANSFER, 0), meta)
    with pytest.raises(InvalidFileName):
        sealing.open_meta(KEY, TRANSFER, 0, sealed)


def test_the_wraps_are_bound_to_their_transfer_and_share():
    part, secret, client_key = new_secret(), new_secret(), new_secret()
    share = new_id()
    for_share = sealing.wrap_for_share(KEY, link_secret=secret, server_part=part, transfer_id=TRANSFER, share_id=share)
    for_owner = sealing.wrap_for_owner(KEY, client_key=client_key, owner_part=part, transfer_id=TRANSFER)
    right: dict[str, Any] = {"link_secret": secret, "server_part": part, "transfer_id": TRANSFER, "share_id": share}
    assert sealing.unwrap_for_share(for_share, **right) == KEY
    for wrong in ({"share_id": new_id()}, {"transfer_id": new_id()}, {"link_secret": part}, {"server_part": secret}):
        with pytest.raises(CannotDecrypt):
            sealing.unwrap_for_share(for_share, **(right | wrong))
    with pytest.raises(CannotDecrypt):
        sealing.unwrap_for_owner(for_owner, client_key=client_key, owner_part=part, transfer_id=new_id())
    with pytest.raises(CannotDecrypt):
        sealing.unwrap_for_owner(b"", client_key=client_key, owner_part=part, transfer_id=TRANSFER)
