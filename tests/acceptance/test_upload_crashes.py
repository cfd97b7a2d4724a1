"""kill -9 of the service at any moment of an upload in parts: the file still arrives, and no nonce serves twice."""

import random
from threading import Timer

import httpx
import pytest

from app.crypto.encoding import encode
from tests.acceptance.people import claim, issue, open_transfer
from tests.acceptance.sealed_people import a_sealed_transfer
from tests.acceptance.service import until
from tests.acceptance.test_contract_uploads import claim_of
from tests.acceptance.tus import announce, nonces_in, offset, patch, random_content, record_nonces, tus_headers

META = encode(bytes(24 + 32 + 16 + 40))


def send_what_is_left(http, upload, key, content, part):
    """Go on as the documents say, until the upload is complete. Raises TransportError when the service dies."""
    while True:
        until(lambda: http.head(upload, headers=tus_headers()).status_code == httpx.codes.OK, seconds=30, what="HEAD")
        at = offset(http, upload)
        if at == len(content):
            return
        patch(http, upload, key, at, content[at : at + part])


def kill_again_and_again(installation, nonces, *, size, part, kills, seconds):
    """Upload a file in clear and one that was sealed before, while the service is killed `kills` times."""
    dice, token = random.Random(size), installation.token()
    content = random_content(dice, size)
    with installation.serving("--workers", "1") as server, server.http(token) as http:
        stored = claim_of(http, a_sealed_transfer(http, content)).get("blobs/0").content
        transfer, sealed = open_transfer(http), a_sealed_transfer(http)
        plain_upload = announce(http, transfer, size).headers["Location"]
        sealed_upload = announce(http, (sealed.id, None), len(stored), number="0", sealed_meta=META).headers["Location"]
    todo = [(plain_upload, transfer[1], content), (sealed_upload, None, stored)]
    while todo:
        with installation.serving("--workers", "1") as server, server.http(token) as http:
            blow = Timer(dice.uniform(0, seconds), server.kill)
            if kills:
                blow.start()
            try:
                while todo:
                    send_what_is_left(http, *todo[0], part)
                    del todo[0]
            except httpx.TransportError:
                kills -= 1
            blow.cancel()
            blow.join() if blow.ident else None
        installation.alter("UPDATE uploads SET part_until = 1 WHERE part IS NOT NULL")  # the lease, not waited for
    with installation.serving() as server, server.http(token) as http:
        assert claim(http, issue(http, *transfer)).get().content == content
        sealed.http = http
        assert claim_of(http, sealed).get("blobs/0").content == stored
    used = [nonce for nonce, _ in nonces_in(nonces)]
    assert len(used) > size // 16_384
    assert len(set(used)) == len(used), "a nonce was used twice"
    held = {row[0] for row in installation.rows("SELECT blob_id FROM files")}
    assert {path.name for path in installation.files("blobs")} <= held, "nothing of what began again is left"
    installation.run("audit", "verify")
    return kills


@pytest.fixture
def nonces(monkeypatch, tmp_path):
    return record_nonces(monkeypatch, tmp_path / "recorder")


def test_killed_during_an_upload_in_parts(installation, nonces):
    assert kill_again_and_again(installation, nonces, size=16_000_003, part=1_200_000, kills=2, seconds=0.1) < 2


@pytest.mark.acceptance
@pytest.mark.timeout(1200)
def test_killed_five_times_during_an_upload_of_1_gib(installation, nonces):
    left = kill_again_and_again(installation, nonces, size=1 << 30, part=64 << 20, kills=5, seconds=2)
    assert left <= 1, "otherwise it proves nothing"
