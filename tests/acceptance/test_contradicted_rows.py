"""Somebody writes to the database of a running service: nothing false is signed, and whatever lies is red."""

from http import HTTPStatus

from tests.acceptance.people import send
from tests.acceptance.service import Installation, until

HOUR_US = 3_600_000_000


def test_a_shifted_expiry_is_red_and_its_deletion_honest(tmp_path):
    """The receipt used to be signed while the key lay under the true expiry."""
    installation = Installation(tmp_path)
    with installation.serving() as server, server.http(installation.token()) as http:
        transfer = send(http, expires_in="1h").transfer_id
        assert installation.run("audit", "retention").code == 0
        moved = "UPDATE transfers SET expires_at = expires_at - ? WHERE id = ?"
        assert installation.alter(moved, HOUR_US // 2, transfer) == 1
        said = installation.run("audit", "retention", code=1).out
        assert f"contradiction: expiry {transfer}" in said
        report = installation.run("audit", "retention", "--json", code=1).json
        assert {"word": "expiry", "transfer": transfer} in report["witnesses"]["contradictions"]
        page = tmp_path / "page.html"
        installation.run("audit", "retention", "--html", str(page), code=1)
        assert transfer in page.read_text("utf-8")

        installation.run("transfer", "delete", "--", transfer)
        assert installation.key_files() == []
        receipt = f"/api/v1/transfers/{transfer}/receipt"
        until(lambda: http.get(receipt).status_code == HTTPStatus.OK, what="the receipt")
        until(lambda: '"row_contradicts_witness"' in server.log, what="the alert")
        installation.run("audit", "retention")


def test_a_row_that_was_made_immortal_ends_with_its_key(tmp_path):
    installation = Installation(tmp_path, MIN_LIFETIME="1s")
    with installation.serving() as server, server.http(installation.token()) as http:
        transfer = send(http, expires_in="4s").transfer_id
        forever = "UPDATE transfers SET expires_at = expires_at + ?, due_at = due_at + ? WHERE id = ?"
        assert installation.alter(forever, 1000 * HOUR_US, 1000 * HOUR_US, transfer) == 1
        verified = "SELECT ending FROM transfers WHERE id = ? AND state = 'verified'"
        assert until(lambda: installation.rows(verified, transfer), what="the end of the bytes") == [("expired",)]
        assert installation.files("blobs") == []
        assert '"row_contradicts_witness"' in server.log


def test_there_is_no_receipt_while_a_key_is_there(tmp_path):
    installation = Installation(tmp_path)
    with installation.serving() as server, server.http(installation.token()) as http:
        transfer = send(http).transfer_id
        (key,) = [path for path in installation.key_files() if path.name.count(".") == 1]
        copy = key.read_bytes()
        installation.run("transfer", "delete", "--", transfer)
        receipt = f"/api/v1/transfers/{transfer}/receipt"
        until(lambda: http.get(receipt).status_code == HTTPStatus.OK, what="the receipt")
        key.write_bytes(copy)
        refused = http.get(receipt)
        assert (refused.status_code, refused.json()["code"]) == (HTTPStatus.CONFLICT, "deletion_contradicted")
        assert installation.run("audit", "receipt", "--", transfer, code=None).code != 0
        installation.run("audit", "retention", code=1)
        installation.run("doctor", "--reconcile", code=None)
        assert not key.exists()
        assert http.get(receipt).status_code == HTTPStatus.OK
        installation.run("audit", "retention")
