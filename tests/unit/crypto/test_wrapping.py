"""Every derivation and wrap against vectors computed independently; every alteration refused."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import wrapping
from app.crypto.errors import CannotDecrypt, Truncated

VECTORS = Path(__file__).parents[2] / "vectors"
KEYS = (
    "transfer_key",
    "client_key",
    "shred_key",
    "share_shred_key",
    "link_secret",
    "stretched",
    "claim_token",
    "hour_key",
)


class Life:
    """The vectors of one transfer's life, as attributes: bytes, ids, numbers and labels."""

    def __init__(self, values):
        for name, value in values.items():
            is_plain = isinstance(value, int) or name.endswith(("_id", "_label"))
            setattr(self, name, value if is_plain else bytes.fromhex(value))


@pytest.fixture
def life(wrapping_vectors):
    return Life(wrapping_vectors["life"])


def wraps_of(life):
    """Every kind of wrap: its vector, what it holds, and how it is opened with the right key and ids."""
    t, s, c = life.transfer_id, life.share_id, life.claim_id
    return {
        "owner": lambda wrapped, key=life.owner_key, t=t: wrapping.unwrap_for_owner(
            wrapped, owner_key=key, transfer_id=t
        ),
        "share": lambda wrapped, key=life.share_key, t=t, s=s: wrapping.unwrap_for_share(
            wrapped, share_key=key, transfer_id=t, share_id=s
        ),
        "claim": lambda wrapped, key=life.claim_key, t=t, s=s, c=c: wrapping.unwrap_for_claim(
            wrapped, claim_key=key, transfer_id=t, share_id=s, claim_id=c
        ),
    }


def test_the_committed_vectors_are_what_their_script_writes():
    """Nobody edited wrapping.json by hand."""
    spec = importlib.util.spec_from_file_location("make_wrapping_vectors", VECTORS / "make_wrapping_vectors.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.document() == (VECTORS / "wrapping.json").read_text("utf-8")


def test_derivation_vectors(life):
    """All parts and keys, each from the vectors' own inputs."""
    shreds = (life.shred_key, life.share_shred_key)
    assert wrapping.owner_part(life.shred_key, life.transfer_id) == life.owner_part
    assert wrapping.owner_key(life.client_key, life.owner_part, life.transfer_id) == life.owner_key
    assert wrapping.link_proof(life.link_secret) == life.link_proof
    assert wrapping.verifier(life.stretched, life.share_id) == life.verifier
    assert wrapping.server_part(life.stretched, *shreds, life.share_id) == life.server_part
    assert wrapping.share_key(life.link_secret, life.server_part, life.share_id) == life.share_key
    assert wrapping.claim_key(life.claim_token, *shreds, life.claim_id) == life.claim_key
    assert wrapping.tail_key(life.transfer_key, life.upload_id) == life.tail_key


def test_label_vectors(life):
    """The labels that others pass in as AAD."""
    assert wrapping.shred_label(life.transfer_id, life.expiry_unix) == life.shred_label
    assert wrapping.share_shred_label(life.transfer_id, life.share_id, life.expiry_unix) == life.share_shred_label
    assert wrapping.tail_label(life.upload_id, life.offset) == life.tail_label


def test_unwrap_vectors(life):
    """Wraps made by another implementation open here."""
    for name, unwrap in wraps_of(life).items():
        assert unwrap(getattr(life, f"wrapped_for_{name}")) == life.transfer_key
    assert wrapping.unwrap(life.hour_key, life.wrapped_for_shred, life.shred_label) == life.shred_key
    assert wrapping.unwrap(life.hour_key, life.wrapped_for_share_shred, life.share_shred_label) == life.share_shred_key
    assert wrapping.unwrap(life.tail_key, life.wrapped_for_tail, life.tail_label) == life.tail


def test_wrap_vectors(life, monkeypatch):
    """Given the vectors' nonces, wraps made here are theirs byte for byte."""
    t, s, c = life.transfer_id, life.share_id, life.claim_id
    makers = {
        "owner": lambda: wrapping.wrap_for_owner(life.transfer_key, owner_key=life.owner_key, transfer_id=t),
        "share": lambda: wrapping.wrap_for_share(
            life.transfer_key, share_key=life.share_key, transfer_id=t, share_id=s
        ),
        "claim": lambda: wrapping.wrap_for_claim(
            life.transfer_key, claim_key=life.claim_key, transfer_id=t, share_id=s, claim_id=c
        ),
        "shred": lambda: wrapping.wrap(life.hour_key, life.shred_key, life.shred_label),
        "share_shred": lambda: wrapping.wrap(life.hour_key, life.share_shred_key, life.share_shred_label),
        "tail": lambda: wrapping.wrap(life.tail_key, life.tail, life.tail_label),
    }
    for name, make in makers.items():
        nonce = getattr(life, f"{name}_nonce")
        monkeypatch.setattr(os, "urandom", lambda _count, nonce=nonce: nonce)
        assert make() == getattr(life, f"wrapped_for_{name}")


def test_bytearrays_serve_as_keys(life):
    """Callers keep keys where they can be wiped; nothing here wipes or changes them."""
    key = bytearray(life.link_secret)
    assert wrapping.share_key(key, bytearray(life.server_part), life.share_id) == life.share_key
    assert key == life.link_secret
    wrapped = wrapping.wrap(key, bytearray(b"x"), "label")
    assert wrapping.unwrap(key, wrapped, "label") == b"x"


def test_a_nonce_never_comes_twice():
    """The same wrap, made again, is another one."""
    assert len({wrapping.wrap(bytes(32), b"", "label") for _ in range(100)}) == 100


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32))
def test_round_trip_of_any_length(secret, key):
    """A tail has up to 16383 bytes, a key 32."""
    assert wrapping.unwrap(key, wrapping.wrap(key, secret, "label"), "label") == secret


def test_every_flipped_bit_is_refused(life):
    """Nonce, ciphertext and tag, in every kind of wrap."""
    for name, unwrap in wraps_of(life).items():
        wrapped = getattr(life, f"wrapped_for_{name}")
        for bit in range(8 * len(wrapped)):
            altered = bytearray(wrapped)
            altered[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CannotDecrypt):
                unwrap(bytes(altered))


def test_every_truncated_or_extended_wrap_is_refused(life):
    """From nothing to one byte too many, by the general opener and the particular ones."""
    for name, unwrap in wraps_of(life).items():
        wrapped = getattr(life, f"wrapped_for_{name}")
        for bad in [*(wrapped[:length] for length in range(len(wrapped))), wrapped + b"\0", wrapped * 2]:
            with pytest.raises(CannotDecrypt):
                unwrap(bad)
            with pytest.raises(CannotDecrypt):
                wrapping.unwrap(life.owner_key, bad, "label")


def test_a_genuine_wrap_of_something_else_than_a_key_is_refused(life):
    """Sealed mode stores what a program sent: what opens must be 32 bytes long as well."""
    wrapped = wrapping.wrap(life.owner_key, b"short", f"caducee/v1 owner {life.transfer_id}")
    with pytest.raises(CannotDecrypt):
        wrapping.unwrap_for_owner(wrapped, owner_key=life.owner_key, transfer_id=life.transfer_id)


def test_wrong_context_is_refused(life):
    """A wrap moved to another transfer, share or claim."""
    opens = wraps_of(life)
    with pytest.raises(CannotDecrypt):
        opens["owner"](life.wrapped_for_owner, t=life.share_id)
    for moved in ({"t": life.claim_id}, {"s": life.transfer_id}):
        with pytest.raises(CannotDecrypt):
            opens["share"](life.wrapped_for_share, **moved)
    for moved in ({"t": life.claim_id}, {"s": life.transfer_id}, {"c": life.share_id}):
        with pytest.raises(CannotDecrypt):
            opens["claim"](life.wrapped_for_claim, **moved)


def test_swapped_wraps_are_refused(life):
    """Under one and the same key, the label tells the kinds apart."""
    key, t, s = bytes(32), life.transfer_id, life.share_id
    owned = wrapping.wrap_for_owner(life.transfer_key, owner_key=key, transfer_id=t)
    with pytest.raises(CannotDecrypt):
        wrapping.unwrap_for_share(owned, share_key=key, transfer_id=t, share_id=s)


def test_a_later_expiry_is_refused(life):
    """A vault entry renamed to live longer does not open."""
    with pytest.raises(CannotDecrypt):
        wrapping.unwrap(
            life.hour_key, life.wrapped_for_shred, wrapping.shred_label(life.transfer_id, life.expiry_unix + 86400)
        )


def test_without_any_one_secret_there_is_no_share_key(life):
    """Each of password, shred key, share shred key and link secret matters, and so does the share."""
    right = {"stretched": life.stretched, "shred_key": life.shred_key, "share_shred_key": life.share_shred_key}
    parts = {wrapping.server_part(**right, share_id=each) for each in (life.share_id, life.claim_id)}
    for name in right:
        parts.add(wrapping.server_part(**(right | {name: bytes(32)}), share_id=life.share_id))
    assert len(parts) == 5
    keys = {wrapping.share_key(life.link_secret, part, life.share_id) for part in parts}
    keys.add(wrapping.share_key(bytes(32), life.server_part, life.share_id))
    assert len(keys) == 6


def test_wrong_key_is_refused(life):
    """Another key, one and the same message, and no library error behind it."""
    for name, unwrap in wraps_of(life).items():
        with pytest.raises(CannotDecrypt) as caught:
            unwrap(getattr(life, f"wrapped_for_{name}"), key=bytes(32))
        assert not isinstance(caught.value, Truncated)
        assert str(caught.value) == CannotDecrypt.message
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_keys_of_another_length_are_refused(length):
    """A bug of the caller, reported without the key."""
    bad, good = b"K" * length, bytes(32)
    calls = [
        lambda: wrapping.wrap(bad, b"", "label"),
        lambda: wrapping.unwrap(bad, bytes(60), "label"),
        lambda: wrapping.link_proof(bad),
        lambda: wrapping.share_key(good, bad, "id"),
        lambda: wrapping.server_part(good, good, bad, "id"),
        lambda: wrapping.wrap_for_owner(bad, owner_key=good, transfer_id="id"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="32 bytes") as caught:
            call()
        assert "K" not in str(caught.value)


@pytest.mark.parametrize("bad", ["", "a b", "a\nb", "é", "\x7f"])
def test_ids_that_could_blur_a_label_are_refused(bad):
    """With a space inside, two lists of ids could make one label."""
    with pytest.raises(ValueError, match="printable ASCII"):
        wrapping.shred_label(bad, 0)
    with pytest.raises(ValueError, match="printable ASCII"):
        wrapping.verifier(bytes(32), bad)
    with pytest.raises(ValueError, match="negative"):
        wrapping.tail_label("id", -1)


def test_no_key_shows_in_an_error():
    """The message is a constant; arguments and cause are empty of bytes."""
    key, secret = os.urandom(32), os.urandom(32)
    with pytest.raises(CannotDecrypt) as caught:
        wrapping.unwrap(key, wrapping.wrap(secret, key, "label"), "label")
    assert caught.value.args == (CannotDecrypt.message,)
