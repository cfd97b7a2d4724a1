"""The one-line route when a store fails once the claim is won: the share is used, so the claim must not be lost."""

import pytest
from fastapi.testclient import TestClient

from app.crypto.encoding import encode
from app.crypto.errors import CannotDecrypt
from app.db import share_rows
from app.db.errors import DatabaseUnavailable
from app.domain.audience import Audience
from app.main import create_app
from app.storage.errors import BlobUnavailable
from tests.integration.actions.stories import CONTENT, send

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
