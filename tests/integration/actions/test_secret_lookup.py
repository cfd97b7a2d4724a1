"""A share by its link, a claim by its token: an unknown id and a wrong secret cannot be told apart."""

import pytest

from app.crypto import wrapping
from app.crypto.token import new_id, new_secret
from app.db.tables import claims, shares
from app.domain.errors import ClaimNotFound, ShareNotFound
from app.domain.share import ShareState
from app.lifecycle.secret_lookup import find_by_proof, find_by_token
from tests.integration.actions.stories import change, claim, run, send


def by_proof(resources, share_id, proof):
    with resources.database.reading() as connection:
        return find_by_proof(connection, share_id, proof)


def by_token(resources, claim_id, token):
    with resources.database.reading() as connection:
        return find_by_token(connection, claim_id, token)


def refused(find, resources, key, secret, refusal):
    with pytest.raises(refusal) as caught:
        find(resources, key, secret)
    return str(caught.value)


def test_a_link_finds_its_share_and_transfer(resources, sent):
    share, transfer = by_proof(resources, sent.share.id, wrapping.link_proof(sent.share.link_secret))
    assert (share.id, transfer.id) == (sent.share.id, sent.id)


def test_whatever_is_wrong_with_a_link_is_one_refusal(resources, caller, sent):
    right, other = wrapping.link_proof(sent.share.link_secret), send(resources, caller)
    wrong = [
        (sent.share.id, new_secret()),
        (sent.share.id, wrapping.link_proof(other.share.link_secret)),
        (sent.share.id, right[:-1]),
        (sent.share.id, b""),
        (new_id(), right),
        ("\0", right),
    ]
    assert {refused(by_proof, resources, *each, ShareNotFound) for each in wrong} == {ShareNotFound.title}


@pytest.mark.parametrize("column", [{"link_proof_digest": None}, {"state": ShareState.PREPARED}])
def test_a_share_without_a_link_is_found_by_none(resources, sent, column):
    change(resources, shares, sent.share.id, **column)
    for proof in (wrapping.link_proof(sent.share.link_secret), bytes(32), b""):
        refused(by_proof, resources, sent.share.id, proof, ShareNotFound)


def test_a_token_finds_its_claim_and_share(resources, sent):
    held = run(claim(resources, sent.share))
    found, share = by_token(resources, held.claim_id, held.token)
    assert (found.id, share.id) == (held.claim_id, sent.share.id)


def test_whatever_is_wrong_with_a_token_is_one_refusal(resources, caller, sent):
    held, other = run(claim(resources, sent.share)), run(claim(resources, send(resources, caller).share))
    wrong = [
        (held.claim_id, new_secret()),
        (held.claim_id, other.token),
        (held.claim_id, b""),
        (other.claim_id, held.token),
        (new_id(), held.token),
        ("\0", held.token),
    ]
    assert {refused(by_token, resources, *each, ClaimNotFound) for each in wrong} == {ClaimNotFound.title}
    change(resources, claims, held.claim_id, token_digest=bytes(32))
    refused(by_token, resources, held.claim_id, bytes(32), ClaimNotFound)
