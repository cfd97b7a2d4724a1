"""The one-line route when a store fails once the claim is won: the share is used, so the claim must not be lost."""

import io
import zipfile

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.crypto import chunked
from app.crypto.encoding import encode
from app.crypto.errors import CannotDecrypt
from app.db import share_rows
from app.db.errors import DatabaseUnavailable
from app.db.tables import files
from app.domain.audience import Audience
from app.lifecycle import key_ring
from app.main import create_app
from app.storage.errors import BlobUnavailable
from tests.integration.actions.stories import CONTENT, a_transfer, deposit, issue, run, send, transfer_row

FAILURES = {
    "database_unavailable": (503, DatabaseUnavailable("gone")),
    "blobs_unavailable": (503, BlobUnavailable("gone")),
    "internal_error": (500, CannotDecrypt()),
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure_after_the_claim_still_hands_the_claim_out(resources, caller, monkeypatch, code):
    share = send(resources, caller).share
    status, failure = FAILURES[code]

    def fail(*_given):
        raise failure

    application = create_app(Audience.RECIPIENT, settings=resources.settings, resources=resources)
    with TestClient(application, base_url=resources.settings.public_url, raise_server_exceptions=False) as http:
        with monkeypatch.context() as patch:
            patch.setattr(share_rows, "reserve_bytes", fail)
            both = f"{encode(share.link_secret)}.{share.password}"
            answer = http.post(f"/api/v1/shares/{share.id}/content", auth=("link", both))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        claim_id, _, token = answer.headers["Caducee-Claim"].partition(".")
        held = {"Authorization": f"Bearer {token}"}
        assert http.get(f"/api/v1/claims/{claim_id}/files/0", headers=held).content == CONTENT


def test_an_archive_of_older_deposits_opens_but_cannot_be_resumed(resources, caller):
    """Their metadata hold no checksum: it follows the content, as readers that seek accept, and no range is served."""
    transfer = a_transfer(resources, caller)
    for content in (CONTENT, b"", b"new"):
        run(deposit(resources, caller, transfer, content))
    row, now = transfer_row(resources, transfer.id), resources.clock.now()
    key = key_ring.open_for_owner(resources.vault, row, transfer.client_key, now).transfer_key
    for number in (0, 1):
        older = chunked.seal(key, chunked.meta_context(transfer.id, number), b'{"name": "a.csv", "type": "text/csv"}')
        with resources.database.writing() as transaction:
            of_file = (files.c.transfer_id == transfer.id, files.c.number == number)
            transaction.connection.execute(update(files).where(*of_file).values(sealed_meta=older))
    share = run(issue(resources, caller, transfer))
    application = create_app(Audience.RECIPIENT, settings=resources.settings, resources=resources)
    with TestClient(application, base_url=resources.settings.public_url) as http:
        auth = ("link", f"{encode(share.link_secret)}.{share.password}")
        answer = http.post(f"/api/v1/shares/{share.id}/content", auth=auth, headers={"Range": "bytes=5-"})
    assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert [archive.read(info) for info in archive.infolist()] == [CONTENT, b"", b"new"]
        assert [info.flag_bits for info in archive.infolist()] == [0x808, 0x808, 0x800]
