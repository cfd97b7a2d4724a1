"""A complete client, written from docs/protocol.md alone: Python's standard library, and `cryptography` for AES-GCM.

    export CADUCEE_SERVER=https://files.example.org CADUCEE_TOKEN=cad_...
    python protocol_client.py deposit FILE --to NAME                 # the service encrypts
    python protocol_client.py send FILE... --to NAME --state FOLDER  # sealed: encrypted here
    python protocol_client.py get LINK --password-file FILE --state FOLDER -o FOLDER

`send` and `get` go on after any failure; started again with the same state folder, they go on where they stopped. They
print JSON. Exit codes: 0 done, 1 stopped, 75 try again later. It is meant to be read, and to be copied.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import secrets
import ssl
import sys
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

T = TypeVar("T")

CHUNK, SEALED_CHUNK, HEADER = 16_384, 16_400, 56
PART = 4 << 20
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LINK = re.compile(r"(https?://[^/]+)/s/([A-Za-z0-9_-]{22})#(?:sealed\.)?([A-Za-z0-9_-]{43})")
TUS = {"Tus-Resumable": "1.0.0"}
UNSAFE, UNSEEN = '/\\:*?"<>|', {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
PASSING = {408, 423, 429, *range(500, 600)}


# --- encodings and cryptography


def to_text(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    """The bytes of base64url without padding."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_text(data) != text:
        raise Stopped("a value is not base64url")
    return data


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-512 (RFC 5869, 2.3)."""
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha512).digest()
        output, counter = output + block, counter + 1
    return output[:length]


def hkdf(secret: bytes, salt: str, info: str) -> bytes:
    """HKDF with SHA-512 (RFC 5869), 32 bytes."""
    return expand(hmac.new(salt.encode(), secret, hashlib.sha512).digest(), info.encode(), 32)


def wrap(key: bytes, plain: bytes, aad: str) -> bytes:
    """A nonce, then AES-256-GCM."""
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, plain, aad.encode())


def unwrap(key: bytes, wrapped: bytes, aad: str) -> bytes:
    """The plaintext of `wrap`. Raises InvalidTag."""
    return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], aad.encode())


class Chunks:
    """The cipher of one sealed stream: its header, and its chunks by number."""

    def __init__(self, key: bytes, context: str, salt: bytes) -> None:
        """`salt` has 24 bytes."""
        info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context.encode()
        material = expand(key, info, 76)
        self._cipher, self._base = AESGCM(material[:32]), int.from_bytes(material[32:44], "big")
        self.header = salt + material[44:]

    def seal(self, number: int, plain: bytes) -> bytes:
        """Encrypt a chunk."""
        return self._cipher.encrypt((self._base ^ number).to_bytes(12, "big"), plain, None)

    def open(self, number: int, sealed: bytes) -> bytes:
        """Decrypt a chunk. Raises InvalidTag."""
        return self._cipher.decrypt((self._base ^ number).to_bytes(12, "big"), sealed, None)


def seal(key: bytes, context: str, plain: BinaryIO, out: BinaryIO, salt: bytes | None = None) -> int:
    """Encrypt a stream; return its CRC-32. A salt is given only to compare with the worked example."""
    chunks, number, checksum = Chunks(key, context, salt or os.urandom(24)), 0, 0
    out.write(chunks.header)
    while True:
        piece = plain.read(CHUNK)
        out.write(chunks.seal(number, piece))
        checksum, number = zlib.crc32(piece, checksum), number + 1
        if len(piece) < CHUNK:
            return checksum


def seal_bytes(key: bytes, context: str, plain: bytes, salt: bytes | None = None) -> bytes:
    """Encrypt something short."""
    chunks = Chunks(key, context, salt or os.urandom(24))
    return chunks.header + chunks.seal(0, plain)


def opened(key: bytes, context: str, header: bytes, sealed: Iterator[bytes], first: int) -> Iterator[bytes]:
    """Decrypt a stream from chunk `first` on. It is whole only if the iteration ends; raises InvalidTag else."""
    chunks, number, last = Chunks(key, context, header[:24]), first, b""
    if not hmac.compare_digest(chunks.header, header):
        raise InvalidTag
    for chunk in exact(sealed, SEALED_CHUNK):
        if last:
            yield chunks.open(number, last)
            number += 1
        last = chunk
    if len(last) == SEALED_CHUNK:
        raise InvalidTag  # it was cut at the boundary of a chunk
    yield chunks.open(number, last)


def exact(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Cut pieces of any size into pieces of one size; the last one may be shorter."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


def new_password() -> str:
    """16 characters in groups of four."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))


# --- HTTP


class Stopped(Exception):
    """It cannot be done."""


class Refused(Exception):
    """The service refused a request; `code` is None if the response is not the service's."""

    def __init__(self, status: int, answer: dict[str, Any], retry_after: str | None) -> None:
        """`answer` is the problem document."""
        self.status, self.answer, self.code = status, answer, answer.get("code")
        self.pause = float(retry_after) if (retry_after or "").isdigit() else None  # type: ignore[arg-type]
        super().__init__(f"{answer.get('detail', 'refused')} ({self.code or status})")


class Service:
    """One service, over one connection, which is opened again when it breaks."""

    def __init__(self, origin: str, token: str = "", connect_to: str = "") -> None:
        """`connect_to` is `host:port` to connect to in place of the origin's, as in `curl --connect-to`."""
        self._parts, self._token = urlsplit(origin), token
        self._at = urlsplit(f"//{connect_to}") if connect_to else self._parts
        if self._parts.scheme != "https" and self._parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise Stopped("the service must be https")
        self._connection: http.client.HTTPConnection | None = None

    def open(
        self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """Send a request; return the response, to be read to its end. Raises Refused, OSError, HTTPException."""
        sent = {"Host": self._parts.netloc, **(headers or {})}
        if self._token:
            sent.setdefault("Authorization", f"Bearer {self._token}")
        connection = self._connection = self._connection or self._connect()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have refused the body: read why
            connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
        if answer.length is None and not answer.chunked:
            raise http.client.IncompleteRead(b"")  # http.client takes headers that were cut for all there are
        return answer

    def ask(self, method: str, path: str, asked: Any = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Send JSON, if any, and return the JSON of the response."""
        body = None if asked is None else json.dumps(asked).encode()
        kind = {} if asked is None else {"Content-Type": "application/json"}
        content = self.open(method, path, body=body, headers=kind | (headers or {})).read()
        found: dict[str, Any] = json.loads(content) if content else {}
        return found

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._at.hostname or "", self._at.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=60, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=60)

    @staticmethod
    def _refusal(answer: http.client.HTTPResponse) -> Refused:
        content = answer.read()
        try:
            found = json.loads(content)
        except ValueError:
            found = {}
        return Refused(answer.status, found if isinstance(found, dict) else {}, answer.getheader("Retry-After"))


def required(answer: http.client.HTTPResponse, header: str) -> str:
    """A header without which the response is not whole."""
    found = answer.getheader(header)
    if found is None:
        raise http.client.IncompleteRead(b"")
    return found


class Patience:
    """Repeats what failed and may pass, with growing pauses; gives up `seconds` after a failure if nothing moves."""

    def __init__(self, service: Service, seconds: float) -> None:
        """Begin."""
        self._service, self._seconds = service, seconds
        self.moved()

    def moved(self) -> None:
        """Something moved."""
        self._since: float | None = None
        self._pause = 0.5

    def call(self, act: Callable[[], T]) -> T:
        """Call until it succeeds. Raises the last failure."""
        while True:
            try:
                found = act()
            except (Refused, OSError, http.client.HTTPException) as failure:
                self.wait_after(failure)
            else:
                self.moved()
                return found

    def wait_after(self, failure: Exception) -> None:
        """Pause, or raise the failure."""
        self._service.close()
        final = isinstance(failure, Refused) and failure.status not in PASSING
        self._since = self._since or time.monotonic()
        if final or time.monotonic() - self._since >= self._seconds:
            raise failure
        asked = failure.pause if isinstance(failure, Refused) else None
        time.sleep((asked or self._pause) * random.uniform(1.0, 1.2))  # noqa: S311 - no secret
        self._pause = min(60.0, self._pause * 2)


def keep(path: Path, state: dict[str, Any]) -> None:
    """Replace a file that only its user can read."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(state, out)
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)


def load(path: Path) -> dict[str, Any]:
    """What was kept, or nothing."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


# --- the depositor


def deposit(service: Service, path: Path, recipient: str, patience: Patience) -> dict[str, Any]:
    """Deposit one file, which the service encrypts."""
    headers = {
        "Caducee-File-Name": quote(path.name, safe=""),
        "Content-Type": "application/octet-stream",
        "Content-Length": str(path.stat().st_size),
        "Idempotency-Key": secrets.token_urlsafe(24),
    }

    def once() -> dict[str, Any]:
        with path.open("rb") as body:
            address = f"/api/v1/send?{urlencode({'recipient': recipient})}"
            found: dict[str, Any] = json.loads(service.open("PUT", address, body=body, headers=headers).read())
        return found

    return patience.call(once)


class Sending:
    """One sealed transfer, with what is kept of it in a folder: ciphertext, upload ids, the client key."""

    def __init__(self, service: Service, folder: Path, patience: Patience) -> None:
        """Load what an interrupted run has kept."""
        self._service, self._folder, self._patience = service, folder, patience
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = load(folder / "send.json")

    def run(self, paths: list[Path], recipient: str) -> dict[str, Any]:
        """Send the files to one recipient."""
        rules = self._ask("GET", "/api/v1/me")
        if len(paths) > rules["max_files"] or sum(path.stat().st_size for path in paths) > rules["max_bytes"]:
            raise Stopped("the service does not accept so much in one transfer")
        transfer_key = self._recovered() if self._state.get("ready") else self._created()
        for number, path in enumerate(paths):
            self._upload(number, path, transfer_key)
        for share in self._ask("GET", self._path)["shares"]:
            if share["state"] in {"prepared", "issued"}:  # of an interrupted run: nobody was told
                self._ask("DELETE", f"/api/v1/shares/{share['id']}")
        issued = self._issue(transfer_key, recipient)
        for each in self._folder.iterdir():
            each.unlink()
        return issued

    @property
    def _path(self) -> str:
        return f"/api/v1/transfers/{self._state['id']}"

    def _ask(self, *request: Any) -> dict[str, Any]:
        return self._patience.call(lambda: self._service.ask(*request))

    def _keep(self) -> None:
        keep(self._folder / "send.json", self._state)

    def _created(self) -> bytes:
        """Steps 1 and 2: a transfer, and its key wrapped for ourselves."""
        header = {"Idempotency-Key": secrets.token_urlsafe(24)}
        opened = self._ask("POST", "/api/v1/transfers", {"sealed": True}, header)
        client_key, transfer_key = os.urandom(32), os.urandom(32)
        self._state = {"id": opened["id"], "client_key": to_text(client_key), "files": {}}
        wrapped = wrap(self._owner_key(opened["owner_part"]), transfer_key, f"caducee/v1 owner {opened['id']}")
        key = {"wrapped_key": to_text(wrapped)}
        try:
            self._ask("PUT", f"{self._path}/key", key)
        except Refused as refusal:
            if self._ask("GET", f"{self._path}/key").get("wrapped_key") != key["wrapped_key"]:
                raise refusal from None
        self._state["ready"] = True
        self._keep()
        return transfer_key

    def _recovered(self) -> bytes:
        found = self._ask("GET", f"{self._path}/key")
        wrapped = to_bytes(found["wrapped_key"])
        return unwrap(self._owner_key(found["owner_part"]), wrapped, f"caducee/v1 owner {self._state['id']}")

    def _owner_key(self, owner_part: str) -> bytes:
        secret = to_bytes(self._state["client_key"]) + to_bytes(owner_part)
        return hkdf(secret, self._state["id"], "caducee/v1 owner key")

    def _upload(self, number: int, path: Path, transfer_key: bytes) -> None:
        """Step 3. The ciphertext is made once, and kept until the file is stored."""
        sealed, name = self._folder / f"{number}.sealed", str(number)
        if name not in self._state["files"]:
            self._state["files"][name] = {"meta": self._sealed(number, path, sealed, transfer_key)}
            self._keep()
        file = self._state["files"][name]
        with sealed.open("rb") as body:
            while not file.get("stored"):
                if "upload" not in file:
                    file["upload"] = self._patience.call(lambda: self._announced(number, sealed, file["meta"]))
                    self._keep()
                try:
                    self._send_rest(file["upload"], body, sealed.stat().st_size)
                    file["stored"] = True
                except (Refused, OSError, http.client.HTTPException) as failure:
                    code = failure.code if isinstance(failure, Refused) else None
                    if code == "upload_not_found":
                        del file["upload"]
                    elif code != "wrong_offset":
                        self._patience.wait_after(failure)

    def _sealed(self, number: int, path: Path, sealed: Path, transfer_key: bytes) -> str:
        """Encrypt a file into another; return its sealed metadata."""
        with path.open("rb") as plain, sealed.open("wb") as out:
            checksum = seal(transfer_key, f"caducee/v1 file {self._state['id']} {number}", plain, out)
            out.flush()
            os.fsync(out.fileno())
        meta = {"name": path.name, "type": "application/octet-stream", "crc32": checksum}
        context = f"caducee/v1 meta {self._state['id']} {number}"
        return to_text(seal_bytes(transfer_key, context, json.dumps(meta, ensure_ascii=False).encode()))

    def _announced(self, number: int, sealed: Path, sealed_meta: str) -> str:
        values = {"number": str(number), "sealed_meta": sealed_meta}
        given = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())
        headers = TUS | {"Upload-Length": str(sealed.stat().st_size), "Upload-Metadata": given}
        answer = self._service.open("POST", f"{self._path}/uploads", headers=headers)
        answer.read()
        return required(answer, "Location")

    def _send_rest(self, upload: str, body: BinaryIO, size: int) -> None:
        answer = self._service.open("HEAD", upload, headers=TUS)
        answer.read()
        at = int(required(answer, "Upload-Offset"))
        while at < size:
            body.seek(at)
            part = body.read(PART)
            headers = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(at)}
            self._service.open("PATCH", upload, body=part, headers=headers).read()
            at += len(part)
            self._patience.moved()

    def _issue(self, transfer_key: bytes, recipient: str) -> dict[str, Any]:
        """Steps 4 to 6: a share, its key, and the link."""
        password, secret = new_password(), os.urandom(32)
        asked = {"recipient": recipient, "password": password}
        header = {"Idempotency-Key": secrets.token_urlsafe(24)}
        prepared = self._ask("POST", f"{self._path}/shares", asked, header)
        share_id = prepared["share_id"]
        share_key = hkdf(secret + to_bytes(prepared["server_part"]), share_id, "caducee/v1 share key")
        wrapped = wrap(share_key, transfer_key, f"caducee/v1 share {self._state['id']} {share_id}")
        proof = hkdf(secret, "", "caducee/v1 link proof")
        key = {"wrapped_key": to_text(wrapped), "link_proof": to_text(proof)}
        try:
            self._ask("PUT", f"/api/v1/shares/{share_id}/key", key)
        except Refused as refusal:
            if refusal.code != "key_already_set":
                raise
            self._ask("DELETE", f"/api/v1/shares/{share_id}")
            return self._issue(transfer_key, recipient)
        link = f"{prepared['page']}#sealed.{to_text(secret)}"
        return {"transfer_id": self._state["id"], "share_id": share_id, "link": link, "password": password}


# --- the recipient


class Fetching:
    """One claim. Its token is kept in a folder until everything has arrived."""

    def __init__(self, service: Service, share_id: str, secret: bytes, patience: Patience) -> None:
        """`secret` is that of the link."""
        self._service, self._share, self._secret, self._patience = service, share_id, secret, patience

    def run(self, password: str, folder: Path, state: Path) -> list[str]:
        """Claim, fetch and complete; return the paths of the files."""
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        kept = state / f"{self._share}.json"
        if not kept.exists():
            keep(kept, {"token": to_text(os.urandom(32)), "done": {}})
        try:
            return self._all(load(kept), kept, password, folder)
        except Refused as refusal:
            if refusal.status == http.client.GONE:  # what has arrived can never be completed
                kept.unlink(missing_ok=True)
                for part in folder.glob(f".{self._share}-*.part"):
                    part.unlink()
            raise

    def _all(self, record: dict[str, Any], kept: Path, password: str, folder: Path) -> list[str]:
        proof = to_text(hkdf(self._secret, "", "caducee/v1 link proof"))
        asked = {"link_proof": proof, "password": password, "claim_token": record["token"]}
        claim = self._patience.call(lambda: self._service.ask("POST", f"/api/v1/shares/{self._share}/claim", asked))
        key = self._key(claim)
        for file in claim["files"]:
            if str(file["number"]) not in record["done"]:
                record["done"][str(file["number"])] = str(self._file(claim, key, file, folder))
                keep(kept, record)
        done, token = f"/api/v1/claims/{claim['claim_id']}/complete", {"Authorization": f"Bearer {record['token']}"}
        self._patience.call(lambda: self._service.ask("POST", done, None, token))
        kept.unlink()
        return list(record["done"].values())

    def _key(self, claim: dict[str, Any]) -> bytes:
        share_key = hkdf(self._secret + to_bytes(claim["server_part"]), self._share, "caducee/v1 share key")
        label = f"caducee/v1 share {claim['transfer_id']} {self._share}"
        return unwrap(share_key, to_bytes(claim["wrapped_key"]), label)

    def _file(self, claim: dict[str, Any], key: bytes, file: dict[str, Any], folder: Path) -> Path:
        number, sealed_meta = file["number"], to_bytes(file["sealed_meta"])
        context = f"caducee/v1 meta {claim['transfer_id']} {number}"
        meta = json.loads(b"".join(opened(key, context, sealed_meta[:HEADER], iter([sealed_meta[HEADER:]]), 0)))
        place, part = place_of(folder, meta, number), folder / f".{self._share}-{number}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
            while True:
                try:
                    self._arrive(claim, key, number, out)
                    break
                except (Refused, OSError, http.client.HTTPException) as failure:
                    self._patience.wait_after(failure)
                except InvalidTag:
                    part.unlink()
                    raise
            out.flush()
            os.fsync(out.fileno())
        require_whole(part, file["size"], meta.get("crc32"))
        place.parent.mkdir(parents=True, exist_ok=True)
        return placed(part, place)

    def _arrive(self, claim: dict[str, Any], key: bytes, number: int, out: BinaryIO) -> None:
        """Go on after the whole chunks that have arrived."""
        first = out.seek(0, os.SEEK_END) // CHUNK
        out.truncate(first * CHUNK)
        header = b"".join(self._pieces(claim, number, 0, str(HEADER - 1)))
        sealed = self._pieces(claim, number, HEADER + first * SEALED_CHUNK)
        for piece in opened(key, f"caducee/v1 file {claim['transfer_id']} {number}", header, sealed, first):
            out.write(piece)
            self._patience.moved()

    def _pieces(self, claim: dict[str, Any], number: int, start: int, last: str = "") -> Iterator[bytes]:
        headers = {"Authorization": f"Bearer {claim['claim_token']}", "Range": f"bytes={start}-{last}"}
        path = f"/api/v1/claims/{claim['claim_id']}/blobs/{number}"
        answer = self._service.open("GET", path, headers=headers)
        if answer.status != http.client.PARTIAL_CONTENT:
            raise Stopped("the response is not the range that was asked for")
        left = int(required(answer, "Content-Length"))
        while left:
            piece = answer.read(min(left, 1 << 20))
            if not piece:
                raise http.client.IncompleteRead(b"", left)
            left -= len(piece)
            yield piece
        answer.read()


def place_of(folder: Path, meta: dict[str, Any], number: int) -> Path:
    """Where a file goes: below `folder`, whatever its name and path are; the depositor may be malicious."""
    above = str(meta.get("path") or "")
    folders = [safe_name(each, "folder") for each in above.split("/")] if above else []
    return folder.joinpath(*folders, safe_name(str(meta["name"]), f"file-{number + 1}"))


def safe_name(name: str, instead: str) -> str:
    """The name without what leads elsewhere, cannot be stored, or cannot be seen."""
    visible = "".join("_" if unicodedata.category(each) in UNSEEN or each in UNSAFE else each for each in name)
    return visible.strip(" .").encode()[:200].decode(errors="ignore") or instead


def require_whole(part: Path, size: int, crc32: object) -> None:
    """Compare size and checksum. Raises Stopped."""
    checksum = 0
    with part.open("rb") as body:
        while piece := body.read(1 << 20):
            checksum = zlib.crc32(piece, checksum)
    if part.stat().st_size != size or crc32 not in {None, checksum}:
        part.unlink()
        raise Stopped("a file is not what was sent")


def placed(part: Path, path: Path) -> Path:
    """Give the file its name, and replace nothing."""
    count = 1
    while True:
        target = path if count == 1 else path.with_name(f"{path.stem} ({count}){path.suffix}")
        try:
            os.link(part, target)
        except FileExistsError:
            count += 1
            continue
        part.unlink()
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return target


# --- the command line


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=["deposit", "send", "get"])
    parser.add_argument("what", nargs="+", help="files, or the link")
    parser.add_argument("--to", default="")
    parser.add_argument("--state", type=Path, default=Path(".protocol-client"))
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path())
    parser.add_argument("--patience", type=float, default=600, help="seconds to go on while nothing moves")
    parser.add_argument("--connect-to", default="", help="host:port to connect to in place of the service's")
    given = parser.parse_args()
    try:
        print(json.dumps(run(given)))  # noqa: T201 - the result
    except (Refused, OSError, http.client.HTTPException) as failure:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr)  # noqa: T201 - for people
        return 1 if isinstance(failure, Refused) and failure.status not in PASSING else 75
    except Stopped as failure:
        print(f"stopped: {failure}", file=sys.stderr)  # noqa: T201 - for people
        return 1
    except InvalidTag:
        print("stopped: link or file were altered", file=sys.stderr)  # noqa: T201 - for people
        return 1
    return 0


def run(given: argparse.Namespace) -> Any:
    """Run one command; return what to print."""
    if given.command == "get":
        found = LINK.fullmatch(given.what[0].strip())
        if found is None:
            raise Stopped("this is no link")
        with closing(Service(found[1], connect_to=given.connect_to)) as service:
            fetching = Fetching(service, found[2], to_bytes(found[3]), Patience(service, given.patience))
            return fetching.run(given.password_file.read_text().strip(), given.output, given.state)
    server, token = os.environ["CADUCEE_SERVER"], os.environ["CADUCEE_TOKEN"]
    with closing(Service(server, token, given.connect_to)) as service:
        patience, paths = Patience(service, given.patience), [Path(each) for each in given.what]
        if given.command == "deposit":
            return deposit(service, paths[0], given.to, patience)
        return Sending(service, given.state, patience).run(paths, given.to)


if __name__ == "__main__":
    sys.exit(main())
