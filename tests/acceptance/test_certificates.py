"""Receipts and certificates of destruction, for everyone who may have one: depositor, recipient, auditor, operator."""

import re
from datetime import datetime
from html import unescape

import pytest

from app.actions.verify_receipt import verify_receipt
from tests.acceptance.people import claim, send
from tests.acceptance.service import until

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NEVER_SAID = re.compile(r"eras|effac|no cop|aucune copie|all copies|toutes les copies|forever|jamais", re.IGNORECASE)
"""Design: the service observed that keys and objects are absent. It knows nothing of copies or of a disk's blocks."""


def proof_of(share) -> dict[str, str]:
    return {"Caducee-Link-Proof": share.proof}


@pytest.fixture(scope="module")
def key(house):
    return house.installation.run("audit", "checkpoint", "--json").json["public_key"]


@pytest.fixture
def gone(staff, anyone):
    """A share that was fetched and confirmed, of a transfer whose deletion is verified and signed."""
    share = send(staff)
    held = claim(anyone, share)
    held.get()
    held.complete()
    path = f"/api/v1/transfers/{share.transfer_id}/receipt"
    until(lambda: staff.get(path).status_code == 200, what="a receipt")
    return share


def receipt_in(page: str) -> str:
    return unescape(page.partition('<pre id="receipt">')[2].partition("</pre>")[0])


def routes_to(gone, house, staff, anyone):
    """Who may have the receipt of a transfer: the client, the path and the headers to ask with."""
    auditor = {"Authorization": f"Bearer {house.tokens['auditor']}"}
    return [
        (staff, f"/api/v1/transfers/{gone.transfer_id}/receipt", {}),
        (anyone, f"/api/v1/shares/{gone.id}/receipt", proof_of(gone)),
        (anyone, f"/api/v1/audit/receipts/{gone.transfer_id}", auditor),
    ]


def test_each_of_them_gets_the_receipt_and_the_certificate_that_contains_it(house, staff, anyone, gone, key):
    for client, path, headers in routes_to(gone, house, staff, anyone):
        receipt = client.get(path, headers=headers)
        assert receipt.headers["content-type"].startswith("text/plain")
        verdict = verify_receipt(receipt.text, key)
        assert verdict.transfer == gone.transfer_id
        for language in ("fr", "en"):
            answer = client.get(path, headers=headers | PAGE | {"Accept-Language": language})
            assert (answer.status_code, answer.headers["content-language"]) == (200, language)
            assert "sandbox" in answer.headers["content-security-policy"]
            assert verify_receipt(receipt_in(answer.text), key).entry == verdict.entry
            assert gone.transfer_id in answer.text
            assert key in unescape(answer.text)
            assert not NEVER_SAID.search(re.sub(r"<style>.*?</style>", "", answer.text, flags=re.DOTALL))
        other = client.get(path, headers=headers | PAGE | {"Accept-Language": "fr"}, params={"lang": "en"})
        assert other.headers["content-language"] == "en"


def test_the_certificate_says_when_it_was_observed_and_how_often_it_was_fetched(house, gone, key, tmp_path):
    said = house.installation.run("audit", "certificate", "--json", "--", gone.transfer_id).json
    entry = verify_receipt(said["receipt"], key).entry
    assert said["observed_at"] == document_time(entry["time"])
    assert (said["entry"], said["claims"], said["downloads"]) == (entry["sequence"], 1, 1)
    file = tmp_path / "certificat.html"
    house.installation.run("audit", "certificate", "--lang", "fr", "-o", str(file), "--", gone.transfer_id)
    page = file.read_text("utf-8")
    assert "Certificat de destruction" in page
    assert "1 téléchargement de ses fichiers, en 1 récupération" in page.replace("\u00a0", " ")
    assert verify_receipt(receipt_in(page), key).transfer == gone.transfer_id


def document_time(text: object) -> str:
    return str(datetime.fromisoformat(str(text)).strftime("%Y-%m-%dT%H:%M:%SZ"))


@pytest.mark.parametrize("page", [{}, PAGE], ids=["receipt", "certificate"])
def test_before_the_deletion_is_verified_it_is_refused_with_what_is_missing(house, staff, anyone, page):
    share = send(staff)
    for client, path, headers in routes_to(share, house, staff, anyone):
        refused = client.get(path, headers=headers | page)
        assert (refused.status_code, refused.json()["code"], refused.json()["missing"]) == (
            409,
            "not_deleted_yet",
            "end",
        )
    assert "has not ended" in house.installation.run("audit", "certificate", "--", share.transfer_id, code=1).err


@pytest.mark.parametrize("page", [{}, PAGE], ids=["receipt", "certificate"])
def test_wrong_ids_and_wrong_proofs_are_one_refusal(staff, anyone, gone, page):
    """Lesson 19: whoever lacks the link learns neither whether a share exists nor whether it has ended."""
    held = send(staff)
    unknown = "A" * 22
    tries = [
        (unknown, proof_of(gone)),
        (gone.id, proof_of(held)),
        (held.id, proof_of(gone)),
        (gone.id, {"Caducee-Link-Proof": gone.secret}),
        (gone.id, {"Caducee-Link-Proof": "short"}),
        (unknown, {"Caducee-Link-Proof": "short"}),
    ]
    answers = [anyone.get(f"/api/v1/shares/{share}/receipt", headers=headers | page) for share, headers in tries]
    assert {(it.status_code, it.text) for it in answers} == {(404, answers[0].text)}
    assert answers[0].json()["code"] == "share_not_found"
    for headers in ({}, {"Caducee-Link-Proof": "x" * 257}):
        for share in (unknown, gone.id):
            refused = anyone.get(f"/api/v1/shares/{share}/receipt", headers=headers | page)
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")


def test_other_depositors_transfers_do_not_exist(colleague, gone):
    """Lesson 30."""
    refused = colleague.get(f"/api/v1/transfers/{gone.transfer_id}/receipt", headers=PAGE)
    assert (refused.status_code, refused.json()["code"]) == (404, "transfer_not_found")
