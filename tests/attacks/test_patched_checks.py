"""Lesson 20: patch the checks to "always true": no route yields plaintext (HCP Anywhere 2021: the flaw bypassed the
password, which was only a gate in front of the files). Here link, password and tokens are key material (G3).
"""

import pytest

from app.actions import claim_share
from app.lifecycle import claimable_share, secret_lookup
from tests.acceptance.people import bearer, claim, look, ok, send, try_claim, wrong_password, wrong_secret
from tests.attacks.inside import inside

CONTENT = b"NIR 2 69 05 49 588 157 80"


@pytest.fixture
def opened(tmp_path):
    with inside(tmp_path) as opened:
        yield opened


@pytest.fixture
def always_true(monkeypatch):
    for module in (claim_share, claimable_share, secret_lookup):
        monkeypatch.setattr(module, "same", lambda a, b: True)


def test_without_the_patch_the_right_link_and_password_open(opened):
    """The control: what the tests below ask for is there to be had."""
    http = opened.staff()
    assert claim(http, send(http, CONTENT)).get().content == CONTENT


@pytest.mark.usefixtures("always_true")
@pytest.mark.parametrize(
    "wrong",
    [
        {"password": wrong_password()},
        {"link_secret": wrong_secret()},
        {"link_secret": wrong_secret(), "password": wrong_password()},
    ],
    ids=["password", "link", "both"],
)
def test_a_wrong_link_or_password_opens_nothing(opened, wrong):
    http = opened.staff()
    share = send(http, CONTENT)
    refused = try_claim(http, share, **wrong)
    assert refused.status_code == 401
    assert "claim_token" not in refused.text
    basic = (wrong.get("link_secret", share.secret), wrong.get("password", share.password))
    refused = http.post(f"/api/v1/shares/{share.id}/content", auth=basic)
    assert refused.status_code == 401
    assert CONTENT not in refused.content
    assert look(http, share)["state"] == "issued", "nothing was redeemed"
    assert claim(http, share).get().content == CONTENT


@pytest.mark.usefixtures("always_true")
def test_a_claim_by_proof_with_a_wrong_password_gets_no_part_that_opens(opened):
    """By proof the server cannot judge but by the verifier; its part for a wrong password is no part of the key."""
    from cryptography.exceptions import InvalidTag

    from tests.acceptance.independent_client import to_bytes, unwrap_share

    http = opened.staff()
    share = send(http, CONTENT)
    body = {"link_proof": share.proof, "password": wrong_password()}
    answer = ok(http.post(f"/api/v1/shares/{share.id}/claim", json=body), 200)
    parts = {"server_part": to_bytes(answer["server_part"]), "wrapped": to_bytes(answer["wrapped_key"])}
    with pytest.raises(InvalidTag):
        unwrap_share(to_bytes(share.secret), **parts, transfer=share.transfer_id, share=share.id)


@pytest.mark.usefixtures("always_true")
def test_a_wrong_claim_token_opens_no_file(opened):
    http = opened.staff()
    held = claim(http, send(http, CONTENT))
    refused = http.get(f"/api/v1/claims/{held.id}/files/0", headers=bearer(wrong_secret()))
    assert refused.status_code == 404
    assert CONTENT not in refused.content
    sealed = http.get(f"/api/v1/claims/{held.id}/blobs/0", headers=bearer(wrong_secret()))
    assert CONTENT not in sealed.content
    assert held.get().content == CONTENT


def test_a_wrong_client_key_opens_nothing_though_nothing_checks_it(opened):
    """There is no check to patch: the key either opens the wrap or it does not."""
    http = opened.staff()
    share = send(http, CONTENT)
    headers = {"Caducee-Client-Key": wrong_secret()}
    refused = http.post(f"/api/v1/transfers/{share.transfer_id}/shares", json={"recipient": "x"}, headers=headers)
    assert ok(refused, 403)["code"] == "wrong_client_key"
