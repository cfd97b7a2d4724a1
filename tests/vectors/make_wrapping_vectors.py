"""Writes wrapping.json: every key derivation and wrap of docs/security.md, computed a second time, independently.

Imports nothing from `app`: HKDF is written out below from RFC 5869 with hmac, so that the vectors check the
application rather than repeat it. Other implementations (the pages' JavaScript) can be held against the same file.

Run `python tests/vectors/make_wrapping_vectors.py` from the repository; the result is the same every time.
"""

import hmac
import json
from base64 import urlsafe_b64encode
from hashlib import sha256, sha512
from pathlib import Path
from zlib import crc32

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OUTPUT = Path(__file__).with_name("wrapping.json")

COBBLESTONE = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"

CONTENT = b"id;result\n1;negative\n"
EXAMPLE = """
    transfer_id share_id transfer_key client_key owner_part owner_key owner_nonce wrapped_for_owner meta
    meta_salt sealed_meta content file_context file_salt file_key file_base_nonce file_commitment sealed_file
    sha256_of_sealed_full_chunk link_secret link_proof server_part share_key share_nonce wrapped_for_share
    link
"""
"""What the worked example shows, in order."""

PASSWORDS = [
    # what a person or a mail program may make of it, and what is stretched (null: refused)
    ("0123-4567-89AB-CDEF", "0123456789ABCDEF"),
    ("ghjk-mnpq-rstv-wxyz", "GHJKMNPQRSTVWXYZ"),
    ("OoIi-LlGH-JKMN-PQRS", "001111GHJKMNPQRS"),
    ("  0123 4567\t89AB\r\nCDEF ", "0123456789ABCDEF"),
    ("0123\u20114567\u201389AB\u2014CDEF", "0123456789ABCDEF"),  # non-breaking hyphen, en dash, em dash
    ("0123\u22124567\ufe6389AB\uff0dCDEF", "0123456789ABCDEF"),  # minus sign, small and full-width hyphen
    ("0123\u00a04567\u202f89AB\u3000CDEF", "0123456789ABCDEF"),  # no-break, narrow no-break, ideographic space
    ("\ufeff0123-4567-89AB-\u200bCD\u00adEF", "0123456789ABCDEF"),  # byte order mark, zero width space, soft hyphen
    ("0123-4567-89AB-CDEU", None),  # no U in the alphabet
    ("0123-4567-89AB-CDE", None),
    ("0123-4567-89AB-CDEF-0", None),
    ("0123_4567_89AB_CDEF", None),
    ("\u0131123-4567-89AB-CDEF", None),  # dotless i is not an I
    ("0123-4567-89AB-CDE\u017f", None),  # long s is not an S
    ("\uff10123-4567-89AB-CDEF", None),  # full-width zero
    ("\u0660123-4567-89AB-CDEF", None),  # Arabic-Indic zero
    ("", None),
]


def hkdf(material: bytes, salt: bytes, info: str) -> bytes:
    """HKDF-SHA512, extract and expand, 32 bytes out (one block): RFC 5869 sections 2.2 and 2.3."""
    pseudorandom_key = hmac.new(salt or bytes(64), material, sha512).digest()
    return hmac.new(pseudorandom_key, info.encode("ascii") + b"\x01", sha512).digest()[:32]


def expand(pseudorandom_key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand-SHA512: RFC 5869 section 2.3."""
    output = block = b""
    for counter in range(1, -(-length // 64) + 1):
        block = hmac.new(pseudorandom_key, block + info + bytes([counter]), sha512).digest()
        output += block
    return output[:length]


def seal(key: bytes, salt: bytes, context: str, plain: bytes) -> bytes:
    """C2SP chunked encryption, Cobblestone-256, of less than one chunk: its nonce is the base nonce."""
    material = expand(key, COBBLESTONE + salt + context.encode("ascii"), 32 + 12 + 32)
    return salt + material[44:] + AESGCM(material[:32]).encrypt(material[32:44], plain, None)


def wrap(key: bytes, nonce: bytes, secret: bytes, aad: str) -> bytes:
    """`nonce || AES-256-GCM`."""
    return nonce + AESGCM(key).encrypt(nonce, secret, aad.encode("ascii"))


def made_up(name: str, length: int = 32) -> bytes:
    """Bytes that are the same at every run."""
    return sha256(f"caducee wrapping vector: {name}".encode("ascii")).digest()[:length]


def made_up_id(name: str) -> str:
    """An id as the service makes them."""
    return urlsafe_b64encode(made_up(name, 16)).rstrip(b"=").decode("ascii")


def stretching() -> list[dict[str, object]]:
    """Argon2id with cheap parameters, and once with the default ones."""
    cases: list[dict[str, object]] = []
    for time, memory_kib, lanes in ((1, 8, 1), (2, 64, 2), (3, 65536, 4)):
        salt = made_up(f"salt {time}", 16)
        out = hash_secret_raw(b"0123456789ABCDEF", salt, time, memory_kib, lanes, 32, Type.ID, 0x13)
        cases.append(
            {
                "password": "0123-4567-89ab-cdef",
                "salt": salt.hex(),
                "time": time,
                "memory_kib": memory_kib,
                "lanes": lanes,
                "stretched": out.hex(),
            }
        )
    return cases


def one_life() -> dict[str, str | int]:
    """All keys of one transfer, one share, one claim and one interrupted upload; bytes in hexadecimal."""
    transfer_id, share_id = made_up_id("transfer"), made_up_id("share")
    claim_id, upload_id = made_up_id("claim"), made_up_id("upload")
    transfer_salt, share_salt, claim_salt = transfer_id.encode(), share_id.encode(), claim_id.encode()
    names = (
        "transfer_key client_key shred_key share_shred_key link_secret stretched claim_token"
        " hour_key owner_nonce share_nonce claim_nonce shred_nonce share_shred_nonce tail_nonce"
    )
    given = {name: made_up(name, 12 if name.endswith("nonce") else 32) for name in names.split()}
    shreds = given["shred_key"] + given["share_shred_key"]
    expiry_unix, offset, tail = 1790000000, 81921, b"the beginning of a chunk"

    owner_part = hkdf(given["shred_key"], transfer_salt, "caducee/v1 owner part")
    owner_key = hkdf(given["client_key"] + owner_part, transfer_salt, "caducee/v1 owner key")
    server_part = hkdf(given["stretched"] + shreds, share_salt, "caducee/v1 server part")
    share_key = hkdf(given["link_secret"] + server_part, share_salt, "caducee/v1 share key")
    claim_key = hkdf(given["claim_token"] + shreds, claim_salt, "caducee/v1 claim key")
    tail_key = hkdf(given["transfer_key"], upload_id.encode(), "caducee/v1 tail")

    labels = {
        "owner_label": f"caducee/v1 owner {transfer_id}",
        "share_label": f"caducee/v1 share {transfer_id} {share_id}",
        "claim_label": f"caducee/v1 claim {transfer_id} {share_id} {claim_id}",
        "shred_label": f"caducee/v1 shred {transfer_id} {expiry_unix}",
        "share_shred_label": f"caducee/v1 share shred {transfer_id} {share_id} {expiry_unix}",
        "tail_label": f"caducee/v1 tail {upload_id} {offset}",
    }
    wraps = {
        "owner": (owner_key, given["transfer_key"]),
        "share": (share_key, given["transfer_key"]),
        "claim": (claim_key, given["transfer_key"]),
        "shred": (given["hour_key"], given["shred_key"]),
        "share_shred": (given["hour_key"], given["share_shred_key"]),
        "tail": (tail_key, tail),
    }
    wrapped = {
        f"wrapped_for_{name}": wrap(key, given[f"{name}_nonce"], secret, labels[f"{name}_label"])
        for name, (key, secret) in wraps.items()
    }
    derived = {
        "owner_part": owner_part,
        "owner_key": owner_key,
        "link_proof": hkdf(given["link_secret"], b"", "caducee/v1 link proof"),
        "verifier": hkdf(given["stretched"], share_salt, "caducee/v1 verifier"),
        "server_part": server_part,
        "share_key": share_key,
        "claim_key": claim_key,
        "tail_key": tail_key,
        "tail": tail,
    }
    ids: dict[str, str | int] = {
        "transfer_id": transfer_id,
        "share_id": share_id,
        "claim_id": claim_id,
        "upload_id": upload_id,
        "expiry_unix": expiry_unix,
        "offset": offset,
    }
    return ids | labels | {name: value.hex() for name, value in {**given, **derived, **wrapped}.items()}


def sealed_name() -> dict[str, str]:
    """The name of a file, sealed for the transfer above, and the link of its share; bytes in hexadecimal."""
    transfer_id, share_id = made_up_id("transfer"), made_up_id("share")
    context, salt = f"caducee/v1 meta {transfer_id} 7", made_up("meta salt", 24)
    meta = json.dumps({"name": "d\u00e9pistage.csv", "type": "text/csv"}, ensure_ascii=False).encode()
    fragment = urlsafe_b64encode(made_up("link_secret")).rstrip(b"=").decode("ascii")
    return {
        "context": context,
        "salt": salt.hex(),
        "meta": meta.hex(),
        "sealed_meta": seal(made_up("transfer_key"), salt, context, meta).hex(),
        "link": f"https://files.example/s/{share_id}#sealed.{fragment}",
    }


def worked_example() -> dict[str, str]:
    """The worked example of docs/protocol.md, with the keys of `one_life`; bytes in base64url, as on the wire."""
    life, names = one_life(), EXAMPLE.split()
    transfer_id, share_id = str(life["transfer_id"]), str(life["share_id"])
    key, meta_salt, file_salt = made_up("transfer_key"), made_up("example meta salt", 24), made_up("file salt", 24)
    meta = json.dumps({"name": "d\u00e9pistage.csv", "type": "text/csv", "crc32": crc32(CONTENT)}, ensure_ascii=False)
    file_context = f"caducee/v1 file {transfer_id} 0"
    material = expand(key, COBBLESTONE + file_salt + file_context.encode("ascii"), 32 + 12 + 32)
    secret = urlsafe_b64encode(made_up("link_secret")).rstrip(b"=").decode("ascii")
    texts = {"content": CONTENT.decode("ascii"), "meta": meta, "file_context": file_context}
    texts |= {"link": f"https://files.example/s/{share_id}#sealed.{secret}"}
    values = {
        "meta_salt": meta_salt,
        "sealed_meta": seal(key, meta_salt, f"caducee/v1 meta {transfer_id} 0", meta.encode()),
        "file_salt": file_salt,
        "file_key": material[:32],
        "file_base_nonce": material[32:44],
        "file_commitment": material[44:],
        "sealed_file": seal(key, file_salt, file_context, CONTENT),
        "sha256_of_sealed_full_chunk": sha256(seal_full_chunk(key, file_salt, file_context)).digest(),
    }
    known = {name: bytes.fromhex(str(life[name])) for name in names if name in life and not name.endswith("_id")}
    encoded = {name: urlsafe_b64encode(value).rstrip(b"=").decode("ascii") for name, value in (known | values).items()}
    found = {"transfer_id": transfer_id, "share_id": share_id} | texts | encoded
    return {name: found[name] for name in names}


def seal_full_chunk(key: bytes, salt: bytes, context: str) -> bytes:
    """16,384 times the letter a: a full chunk, and the empty one that has to follow it."""
    material = expand(key, COBBLESTONE + salt + context.encode("ascii"), 32 + 12 + 32)
    cipher, base = AESGCM(material[:32]), int.from_bytes(material[32:44], "big")
    chunks = (b"a" * 16384, b"")
    sealed = (cipher.encrypt((base ^ k).to_bytes(12, "big"), chunk, None) for k, chunk in enumerate(chunks))
    return salt + material[44:] + b"".join(sealed)


def document() -> str:
    """The whole file."""
    passwords = [{"typed": typed, "normalised": normalised} for typed, normalised in PASSWORDS]
    content = {
        "source": "tests/vectors/make_wrapping_vectors.py: independent of the application; bytes in hexadecimal",
        "passwords": passwords,
        "stretching": stretching(),
        "life": one_life(),
        "sealed": sealed_name(),
        "example": worked_example(),
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(document(), encoding="utf-8")
    print(f"wrote {OUTPUT.name}")
