"""Key derivation and wrapping: every step from password, link, client key and key vault to a transfer key.

The stores hold wraps and shred keys, neither of which is useful alone; `chunked` needs the transfer key. HKDF is
HKDF-SHA512 (RFC 5869) with an output of 32 bytes; a wrap is `nonce(12) || AES-256-GCM ciphertext and tag`. All keys,
secrets and parts have 32 bytes; ids enter salts and labels as ASCII text. Functions raise ValueError for a key of
another length (a bug of the caller) and CannotDecrypt for a wrap that does not decrypt.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.crypto.errors import CannotDecrypt
from app.crypto.labels import label, salt_of

Key = bytes | bytearray

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
WRAPPED_KEY_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES


# The wrap itself


def wrap(key: Key, secret: Key, aad: str) -> bytes:
    """Encrypt `secret` (any length) under `key`, bound to the label `aad`. The result begins with a fresh nonce."""
    _check_keys(key)
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret, aad.encode("ascii"))


def unwrap(key: Key, wrapped: bytes, aad: str) -> bytes:
    """Decrypt the output of `wrap`. Raises CannotDecrypt for another key or label, altered bytes, or a wrong length."""
    _check_keys(key)
    if len(wrapped) < NONCE_BYTES + TAG_BYTES:
        raise CannotDecrypt
    try:
        return AESGCM(key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], aad.encode("ascii"))
    except InvalidTag:
        raise CannotDecrypt from None


# The depositor: client key and shred key


def owner_part(shred_key: Key, transfer_id: str) -> bytes:
    """Return the key vault's part of the owner key; sent to the depositor's client for sealed transfers."""
    return _hkdf(shred_key, salt=salt_of(transfer_id), purpose="owner part")


def owner_key(client_key: Key, owner_part: Key, transfer_id: str) -> bytes:
    """Return the key that wraps the transfer key for the depositor, who adds files and issues shares with it."""
    return _hkdf(client_key, owner_part, salt=salt_of(transfer_id), purpose="owner key")


def wrap_for_owner(transfer_key: Key, *, owner_key: Key, transfer_id: str) -> bytes:
    """Wrap a transfer key for its depositor."""
    return _wrap_key(owner_key, transfer_key, label("owner", transfer_id))


def unwrap_for_owner(wrapped: bytes, *, owner_key: Key, transfer_id: str) -> bytes:
    """Return the transfer key from `wrap_for_owner`. Raises CannotDecrypt."""
    return _unwrap_key(owner_key, wrapped, label("owner", transfer_id))


# A share: link secret, password, shred key and share shred key


def link_proof(link_secret: Key) -> bytes:
    """Return the proof that a recipient has the link, without revealing its secret; its digest is stored."""
    return _hkdf(link_secret, salt=b"", purpose="link proof")


def verifier(stretched: Key, share_id: str) -> bytes:
    """Return the value that verifies a password; its digest is stored."""
    return _hkdf(stretched, salt=salt_of(share_id), purpose="verifier")


def server_part(stretched: Key, shred_key: Key, share_shred_key: Key, share_id: str) -> bytes:
    """Return the part of password and key vault in the share key; lost as soon as either shred key is destroyed."""
    return _hkdf(stretched, shred_key, share_shred_key, salt=salt_of(share_id), purpose="server part")


def share_key(link_secret: Key, server_part: Key, share_id: str) -> bytes:
    """Return the key derived from the link's secret and `server_part`; it wraps the transfer key for a recipient."""
    return _hkdf(link_secret, server_part, salt=salt_of(share_id), purpose="share key")


def wrap_for_share(transfer_key: Key, *, share_key: Key, transfer_id: str, share_id: str) -> bytes:
    """Wrap a transfer key for one recipient."""
    return _wrap_key(share_key, transfer_key, label("share", transfer_id, share_id))


def unwrap_for_share(wrapped: bytes, *, share_key: Key, transfer_id: str, share_id: str) -> bytes:
    """Return the transfer key from `wrap_for_share`. Raises CannotDecrypt."""
    return _unwrap_key(share_key, wrapped, label("share", transfer_id, share_id))


# A claim: resuming a download needs no second password


def claim_key(claim_token: Key, shred_key: Key, share_shred_key: Key, claim_id: str) -> bytes:
    """Return the key derived from a claim token and both shred keys; it wraps the transfer key for one claim."""
    return _hkdf(claim_token, shred_key, share_shred_key, salt=salt_of(claim_id), purpose="claim key")


def wrap_for_claim(transfer_key: Key, *, claim_key: Key, transfer_id: str, share_id: str, claim_id: str) -> bytes:
    """Wrap a transfer key for the window of one claim."""
    return _wrap_key(claim_key, transfer_key, label("claim", transfer_id, share_id, claim_id))


def unwrap_for_claim(wrapped: bytes, *, claim_key: Key, transfer_id: str, share_id: str, claim_id: str) -> bytes:
    """Return the transfer key from `wrap_for_claim`. Raises CannotDecrypt."""
    return _unwrap_key(claim_key, wrapped, label("claim", transfer_id, share_id, claim_id))


# The key vault


def shred_label(transfer_id: str, expiry_unix: int) -> str:
    """Return the label under which an hour key wraps a transfer's shred key; it binds the expiry (Unix seconds)."""
    return label("shred", transfer_id, expiry_unix)


def share_shred_label(transfer_id: str, share_id: str, expiry_unix: int) -> str:
    """Return the label under which an hour key wraps a share's shred key."""
    return label("share shred", transfer_id, share_id, expiry_unix)


# The partial chunk at the end of an interrupted upload


def tail_key(transfer_key: Key, upload_id: str) -> bytes:
    """Return the key that encrypts the partial chunk of a resumable upload until the rest arrives."""
    return _hkdf(transfer_key, salt=salt_of(upload_id), purpose="tail")


def tail_label(upload_id: str, offset: int) -> str:
    """Return the label of the partial chunk that ends at plaintext byte `offset` of the upload."""
    return label("tail", upload_id, offset)


def _hkdf(*secrets: Key, salt: bytes, purpose: str) -> bytes:
    _check_keys(*secrets)
    derivation = HKDF(algorithm=SHA512(), length=KEY_BYTES, salt=salt, info=label(purpose).encode("ascii"))
    material = bytearray().join(secrets)
    derived = derivation.derive(material)
    material[:] = bytes(len(material))
    return derived


def _wrap_key(key: Key, transfer_key: Key, aad: str) -> bytes:
    _check_keys(transfer_key)
    return wrap(key, transfer_key, aad)


def _unwrap_key(key: Key, wrapped: bytes, aad: str) -> bytes:
    if len(wrapped) != WRAPPED_KEY_BYTES:
        raise CannotDecrypt
    return unwrap(key, wrapped, aad)


def _check_keys(*keys: Key) -> None:
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError("keys, secrets and parts have 32 bytes")
