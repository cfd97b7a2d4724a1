"""Claiming by proof: the recipient's program decrypts, and the link secret never reaches the server."""

from dataclasses import replace

import pytest

from app.actions.claim_share import claim_share
from app.crypto.token import new_secret
from app.db.tables import transfers
from app.domain.errors import (
    ShareLocked,
    ShareNotFound,
    ShareUsed,
    TransferIsSealed,
    WrongPassword,
)
from app.domain.share import ShareState
from tests.integration.actions.claim_stories import by_proof, by_secret, opened_by_hand, refusal_of
from tests.integration.actions.stories import (
    CONTENT,
    NAME,
    WRONG_PASSWORD,
    change,
    claim_row,
    run,
    share_row,
)


def test_a_program_decrypts_by_itself_what_a_claim_by_proof_hands_out(resources, share):
    """G4: the link secret never reaches the server."""
    claimed = run(claim_share(resources, share.id, by_proof(share)))
    assert claimed.files[0].meta is None
    name, content = opened_by_hand(resources, share, claimed)
    assert content == CONTENT
    assert NAME in name.decode()
    stored = claim_row(resources, share.id)
    assert (stored.by_proof, stored.wrapped_key) == (True, None)


def test_a_claim_by_proof_can_be_repeated_with_its_token(resources, share):
    token = new_secret()
    first = run(claim_share(resources, share.id, by_proof(share, token=token)))
    again = run(claim_share(resources, share.id, by_proof(share, token=token)))
    assert (again.claim_id, again.server_part, again.wrapped_key) == (
        first.claim_id,
        first.server_part,
        first.wrapped_key,
    )
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, by_secret(share, token=token)))


def test_a_proof_is_not_enough_without_the_password(resources, share):
    for _ in range(5):
        with pytest.raises(WrongPassword):
            run(claim_share(resources, share.id, by_proof(share, password=WRONG_PASSWORD)))
    with pytest.raises(ShareLocked):
        run(claim_share(resources, share.id, by_proof(share)))


# Sealed transfers


def test_a_sealed_transfer_refuses_a_link_secret_and_redeems_nothing(resources, share):
    """docs/http-api.md: clients must not send the secret unknowingly, and if one does, nothing comes of it."""
    change(resources, transfers, share.transfer_id, sealed=True)
    assert isinstance(refusal_of(resources, share), TransferIsSealed)
    assert isinstance(refusal_of(resources, share, password=WRONG_PASSWORD), TransferIsSealed)
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0)
    claimed = run(claim_share(resources, share.id, by_proof(share)))
    assert opened_by_hand(resources, share, claimed)[1] == CONTENT


def test_a_sealed_transfer_says_so_only_to_whoever_holds_the_link(resources, share):
    change(resources, transfers, share.transfer_id, sealed=True)
    assert isinstance(refusal_of(resources, replace(share, link_secret=new_secret())), ShareNotFound)
