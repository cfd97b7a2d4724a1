"""The contract of resumable uploads, tus 1.0.0, by hand and by two clients that others wrote."""

import base64
import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from tusclient.client import TusClient

from app.crypto.encoding import encode
from tests.acceptance.independent_client import link_proof, to_text
from tests.acceptance.people import Claim, bearer, claim, issue, key_header, ok, open_transfer
from tests.acceptance.sealed_people import a_sealed_transfer
from tests.acceptance.service import until
from tests.acceptance.tus import PART, announce, metadata, offset, patch, tus_headers

NODE = Path(__file__).parent.parent / "browser" / "node_modules"
CONTENT = random.Random(3).randbytes(1_000_003)


@pytest.fixture
def transfer(staff):
    """Deleted afterwards with its unfinished uploads: other tests look whether anything stays on the shared service."""
    opened = open_transfer(staff)
    yield opened
    staff.delete(f"/api/v1/transfers/{opened[0]}")


def problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    return answer.json()


def fetched(staff, transfer):
    held = claim(staff, issue(staff, *transfer))
    return held.answer["files"], [held.get(f"files/{each['number']}").content for each in held.answer["files"]]


def test_a_file_in_parts(staff, transfer):
    answer = announce(staff, transfer, len(CONTENT), filename="résultats.csv", filetype="text/csv")
    assert answer.status_code == httpx.codes.CREATED
    assert parsedate_to_datetime(answer.headers["Upload-Expires"]).tzinfo is not None
    upload = answer.headers["Location"]
    assert offset(staff, upload) == 0
    answer = patch(staff, upload, transfer[1], 0, CONTENT[:300_000])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "300000")
    assert staff.head(upload, headers=tus_headers()).headers["Cache-Control"] == "no-store"
    assert patch(staff, upload, transfer[1], 300_000, CONTENT[300_000:]).headers["Upload-Offset"] == str(len(CONTENT))
    assert offset(staff, upload) == len(CONTENT), "an answer that was lost is asked for again"
    files, contents = fetched(staff, transfer)
    assert (files[0]["name"], files[0]["type"], contents) == ("résultats.csv", "text/csv", [CONTENT])


def test_what_the_service_supports(staff, anyone):
    offered = staff.options("/api/v1/uploads")
    assert offered.status_code == httpx.codes.NO_CONTENT
    assert offered.headers["Tus-Version"] == "1.0.0"
    assert set(offered.headers["Tus-Extension"].split(",")) >= {"creation", "termination", "expiration", "checksum"}
    assert int(offered.headers["Tus-Max-Size"]) == 8 * 1024 * 1024
    assert anyone.options("/api/v1/uploads").status_code == httpx.codes.UNAUTHORIZED


def test_a_first_part_may_come_with_the_announcement(staff, transfer):
    headers = tus_headers(transfer[1], upload_length="5", upload_metadata=metadata(filename="a")) | PART
    answer = staff.post(f"/api/v1/transfers/{transfer[0]}/uploads", headers=headers, content=b"whole")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "5")
    empty = announce(staff, transfer, 0)
    assert (empty.status_code, empty.headers["Upload-Offset"]) == (201, "0"), "nothing more is to come"
    assert fetched(staff, transfer)[1] == [b"whole", b""]


def test_a_connection_that_is_lost_keeps_what_arrived(staff, house, transfer):
    upload = announce(staff, transfer, len(CONTENT)).headers["Location"]
    head = f"PATCH {upload} HTTP/1.1\r\nHost: 127.0.0.1:{house.server.port}\r\nContent-Length: {len(CONTENT)}\r\n"
    sent = bearer(house.tokens["staff"]) | tus_headers(transfer[1], upload_offset="0") | PART
    head += "".join(f"{name}: {value}\r\n" for name, value in sent.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", house.server.port)) as connection:
        connection.sendall(head.encode() + CONTENT[:400_000])
        until(lambda: staff.head(upload, headers=tus_headers()).status_code == httpx.codes.LOCKED, what="the part")
        assert patch(staff, upload, transfer[1], 0, CONTENT).status_code == httpx.codes.LOCKED
    until(lambda: staff.head(upload, headers=tus_headers()).status_code == httpx.codes.OK, what="the end of the part")
    at = offset(staff, upload)
    assert at == 400_000
    assert patch(staff, upload, transfer[1], at, CONTENT[at:]).status_code == httpx.codes.NO_CONTENT
    assert fetched(staff, transfer)[1] == [CONTENT]


def test_a_caller_is_checked_before_the_first_byte(staff, colleague, anyone, house, transfer):
    upload = announce(staff, transfer, len(CONTENT)).headers["Location"]
    for http, status in ((anyone, 401), (colleague, 404)):
        for answer in (
            http.head(upload, headers=tus_headers()),
            patch(http, upload, transfer[1], 0, CONTENT),
            http.delete(upload, headers=tus_headers()),
            announce(http, transfer, 5),
        ):
            assert answer.status_code == status
    problem(patch(staff, upload, to_text(bytes(32)), 0, b"x"), 403, "wrong_client_key")
    problem(patch(staff, upload, None, 0, b"x"), 400, "client_key_required")
    with socket.create_connection(("127.0.0.1", house.server.port)) as connection:
        connection.sendall(
            f"PATCH {upload} HTTP/1.1\r\nHost: 127.0.0.1:{house.server.port}\r\nContent-Length: 1000000\r\n"
            "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 401"), "answered without a byte of the body"
    assert offset(staff, upload) == 0


def test_malformed_requests_have_their_codes(staff, transfer):
    upload = announce(staff, transfer, 10).headers["Location"]
    path = f"/api/v1/transfers/{transfer[0]}/uploads"
    problem(staff.patch(upload, content=b"x", headers=PART), 412, "tus_version_unsupported")
    assert staff.patch(upload, content=b"x", headers=PART).headers["Tus-Version"] == "1.0.0"
    assert problem(patch(staff, upload, transfer[1], 3, b"x"), 409, "wrong_offset")["offset"] == 0
    problem(patch(staff, upload, transfer[1], 0, b"x" * 11), 413, "too_large")
    problem(announce(staff, transfer, 9 * 1024 * 1024), 413, "too_large")
    problem(announce(staff, transfer, 10, filename="a/b"), 400, "invalid_file_name")
    for headers in (
        {"upload_length": "x"},
        {"upload_length": "-1"},
        {"upload_length": "1", "upload_metadata": "filename !!"},
        {"upload_length": "1", "upload_metadata": "filename YQ==,filename YQ=="},
        {"upload_length": "1", "upload_metadata": metadata(filename="a", number="x")},
        {"upload_length": "1", "upload_metadata": metadata(sealed_meta="AAAA", filename="a")},
    ):
        problem(staff.post(path, headers=tus_headers(transfer[1], **headers)), 400, "invalid_request")
    answer = staff.patch(upload, headers=tus_headers(transfer[1], upload_offset="0"), content=b"x")
    problem(answer, 415, "unsupported_media_type")
    problem(staff.delete("/api/v1/uploads/AAAAAAAAAAAAAAAAAAAAAA", headers=tus_headers()), 404, "upload_not_found")


def test_a_checksum_is_held_against_the_part(staff, transfer):
    upload = announce(staff, transfer, 10).headers["Location"]
    digest = base64.b64encode(hashlib.sha1(b"0123456789", usedforsecurity=False).digest()).decode()
    wrong = patch(staff, upload, transfer[1], 0, b"9876543210", upload_checksum=f"sha1 {digest}")
    assert (wrong.status_code, wrong.json()["code"]) == (460, "checksum_mismatch")
    problem(patch(staff, upload, transfer[1], 0, b"x", upload_checksum="md5 AAAA"), 400, "invalid_request")
    assert offset(staff, upload) == 0
    right = patch(staff, upload, transfer[1], 0, b"0123456789", upload_checksum=f"sha1 {digest}")
    assert right.status_code == httpx.codes.NO_CONTENT


def test_until_it_is_complete_or_removed_no_share_is_issued(staff, transfer):
    upload = announce(staff, transfer, 10).headers["Location"]
    shares = f"/api/v1/transfers/{transfer[0]}/shares"
    asked = {"json": {"recipient": "CPAM 75"}, "headers": key_header(transfer[1])}
    assert ok(staff.post(shares, **asked), 409)["code"] == "upload_unfinished"
    assert staff.delete(upload, headers=tus_headers()).status_code == httpx.codes.NO_CONTENT
    assert ok(staff.post(shares, **asked), 409)["code"] == "transfer_empty"


def test_a_sealed_file_in_parts(staff):
    """Offsets are those of the ciphertext; the server never has the key."""
    sealed = a_sealed_transfer(staff, CONTENT)
    held = claim_of(staff, sealed)
    stored = held.get("blobs/0").content
    again = a_sealed_transfer(staff)
    meta = encode(bytes(24 + 32 + 16 + 40))
    upload = announce(staff, (again.id, None), len(stored), number="0", sealed_meta=meta).headers["Location"]
    assert announce(staff, (again.id, None), len(stored), number="0", sealed_meta=meta).headers["Location"] == upload
    for at in range(0, len(stored), 333_333):
        assert patch(staff, upload, None, at, stored[at : at + 333_333]).status_code == httpx.codes.NO_CONTENT
    assert claim_of(staff, again).get("blobs/0").content == stored
    key = to_text(bytes(32))
    problem(patch(staff, upload, key, 0, b"x"), 409, "transfer_is_sealed")
    third = a_sealed_transfer(staff)
    for length, values in ((71, {"number": "0", "sealed_meta": meta}), (72, {"sealed_meta": meta})):
        assert announce(staff, (third.id, None), length, **values).status_code == httpx.codes.BAD_REQUEST


def claim_of(staff, sealed):
    share = sealed.issue("CPAM 75")
    body = {"link_proof": to_text(link_proof(share.link.secret)), "password": share.password}
    answer = ok(staff.post(f"/api/v1/shares/{share.id}/claim", json=body), 200)
    return Claim(staff, answer["claim_id"], answer["claim_token"], answer)


def test_tuspy_uploads_and_resumes(house, staff, transfer):
    headers = bearer(house.tokens["staff"]) | key_header(transfer[1])
    client = TusClient(f"{house.server.origin}/api/v1/transfers/{transfer[0]}/uploads", headers=headers)
    asked = {"file_stream": io.BytesIO(CONTENT), "chunk_size": 300_000, "metadata": {"filename": "a.bin"}}
    first = client.uploader(**asked)
    first.upload_chunk()
    assert 0 < first.offset < len(CONTENT)
    second = client.uploader(url=first.url, upload_checksum=True, **asked)
    assert second.offset == first.offset
    second.upload()
    assert fetched(staff, transfer)[1] == [CONTENT]


SCRIPT = """
const tus = require(process.argv[1] + "/tus-js-client");
const [origin, transfer, headers, size] = [process.argv[2], process.argv[3], JSON.parse(process.argv[4]), 1000003];
const content = require("fs").readFileSync(0);
const options = { endpoint: `${origin}/api/v1/transfers/${transfer}/uploads`, headers, chunkSize: 300000,
  metadata: { filename: "a.bin", filetype: "text/csv" }, retryDelays: [100, 100], onError: (e) => { throw e; } };
const first = new tus.Upload(content, { ...options, onChunkComplete: () => first.abort().then(() => {
  const second = new tus.Upload(content, { ...options, uploadUrl: first.url, onSuccess: () => console.log("done") });
  second.start();
}) });
first.start();
"""


def test_tus_js_client_uploads_and_resumes(house, staff, transfer):
    node = shutil.which("node")
    if node is None or not (NODE / "tus-js-client").exists():
        missing = pytest.fail if os.environ.get("CADUCEE_REQUIRE_ALL") == "1" else pytest.skip
        missing("node or tus-js-client is missing (make lint installs it): the second foreign client was NOT tried")
    headers = bearer(house.tokens["staff"]) | key_header(transfer[1])
    arguments = [node, "-e", SCRIPT, str(NODE), house.server.origin, transfer[0], json.dumps(headers)]
    done = subprocess.run(arguments, input=CONTENT, capture_output=True, timeout=60, check=False)
    assert done.stdout == b"done\n", done.stderr.decode()
    assert fetched(staff, transfer)[1] == [CONTENT]
