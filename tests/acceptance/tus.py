"""A depositor that uploads in parts, as small as a script would write it, and where a service records its nonces."""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.people import key_header

PART = {"Content-Type": "application/offset+octet-stream"}

RECORDER = """
import os, hashlib
from app.crypto.chunked import cipher as module
seal, path, size = module.MessageCipher.seal, os.environ["NONCES_OF_A_TEST"], module.CHUNK_BYTES
out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def recorded(cipher, first, count, plain, sealed):
    for i in range(count):
        digest = hashlib.sha256(plain[i * size : (i + 1) * size]).hexdigest()
        os.write(out, f"{cipher.header.hex()} {first + i} {digest}\\n".encode())
    seal(cipher, first, count, plain, sealed)
module.MessageCipher.seal = recorded
"""


def nonces_in(recorded: Path) -> list[tuple[str, str]]:
    """The nonces that were used, in order, each with the digest of what it encrypted."""
    lines = recorded.read_text(encoding="utf-8").splitlines()
    assert lines, "they were recorded"
    return [(nonce, digest) for nonce, _, digest in (line.rpartition(" ") for line in lines)]


def random_content(dice: random.Random, size: int) -> bytes:
    """Content of this size; `randbytes` alone ends below 256 MiB."""
    return b"".join(dice.randbytes(min(1 << 20, size - at)) for at in range(0, size, 1 << 20))


def record_nonces(monkeypatch: Any, folder: Path) -> Path:
    """Have every Python process that is started from now on write down each nonce before it is used."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("NONCES_OF_A_TEST", str(folder / "nonces"))
    return folder / "nonces"


def tus_headers(key: str | None = None, **more: str) -> dict[str, str]:
    """The headers of every request, with others by name, `upload_offset="5"`."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Tus-Resumable": "1.0.0"} | (key_header(key) if key else {}) | named


def metadata(**values: str) -> str:
    """The header Upload-Metadata."""
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def announce(http: httpx.Client, opened: tuple[str, str | None], length: int, **values: str) -> httpx.Response:
    """Announce a file of a transfer, which is given with its client key."""
    transfer, key = opened
    given = metadata(**({"filename": "a.bin"} | values if key else values))
    headers = tus_headers(key, upload_length=str(length), upload_metadata=given)
    return http.post(f"/api/v1/transfers/{transfer}/uploads", headers=headers)


def offset(http: httpx.Client, upload: str) -> int:
    """Where an upload stands."""
    answer = http.head(upload, headers=tus_headers())
    assert answer.status_code == httpx.codes.OK, answer.status_code
    return int(answer.headers["Upload-Offset"])


def patch(http: httpx.Client, upload: str, key: str | None, at: int, part: Any, **more: str) -> httpx.Response:
    """Send a part."""
    return http.patch(upload, headers=tus_headers(key, upload_offset=str(at), **more) | PART, content=part)
