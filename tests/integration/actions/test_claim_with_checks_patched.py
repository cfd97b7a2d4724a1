"""G3: no plaintext without password, link and keys, though every check in the code is patched to "yes"."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from app.actions.claim_share import claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.withdraw_share import withdraw_share
from app.crypto import wrapping
from app.crypto.token import new_secret
from app.db.tables import claims, shares
from app.domain import share as share_rules
from app.domain.errors import (
    ClaimEnded,
    ClaimNotFound,
    Refusal,
    ShareExpired,
    WrongPassword,
)
from app.domain.share import ShareState
from app.domain.vault_entry import EntryName
from app.lifecycle.key_ring import open_for_owner
from tests.integration.actions.claim_stories import by_proof, opened_by_hand, own_key, refusal_of
from tests.integration.actions.stories import (
    ADDRESS,
    WRONG_PASSWORD,
    change,
    claim,
    claim_row,
    count_rows,
    fetch,
    files_of,
    keys_held,
    run,
    share_row,
    sweep,
    transfer_row,
)


@pytest.fixture
def every_check_says_yes(monkeypatch):
    """Lesson 20 (HCP Anywhere 2021: a flaw bypassed the password): comparisons, states and expiry checks pass."""
    for module in ("actions.claim_share", "lifecycle.claimable_share", "lifecycle.secret_lookup"):
        monkeypatch.setattr(f"app.{module}.same", lambda _a, _b: True)
    monkeypatch.setattr(share_rules, "refusal", lambda _state: None)
    monkeypatch.setattr(share_rules, "state_shown", lambda state, _expires_at, _now: state)


def test_a_wrong_password_yields_no_plaintext_though_every_check_says_yes(resources, share, every_check_says_yes):
    """Lesson 20, G3."""
    for _ in range(5):
        assert isinstance(refusal_of(resources, share, password=WRONG_PASSWORD), WrongPassword)
    assert count_rows(resources, claims) == 0
    assert own_key(share) not in keys_held(resources)


def test_a_wrong_link_yields_no_plaintext_though_every_check_says_yes(resources, share, every_check_says_yes):
    """Lesson 20, G3."""
    wrong = replace(share, link_secret=hashlib.sha256(b"guess").digest())
    assert isinstance(refusal_of(resources, wrong), WrongPassword)
    assert count_rows(resources, claims) == 0


def test_what_a_wrong_password_hands_out_by_proof_opens_nothing(resources, share, every_check_says_yes):
    """Lesson 20, G3: the server part of a wrong password is noise."""
    claimed = run(claim_share(resources, share.id, by_proof(share, password=WRONG_PASSWORD)))
    with pytest.raises(Exception, match="cannot decrypt"):
        opened_by_hand(resources, share, claimed)


def test_a_wrong_claim_token_yields_no_plaintext_though_every_check_says_yes(resources, share, every_check_says_yes):
    """Lesson 20, G3."""
    claimed = run(claim(resources, share))
    with pytest.raises(ClaimNotFound):
        run(fetch(resources, replace(claimed, token=new_secret())))


@pytest.mark.parametrize("end", ["withdrawn", "locked", "completed", "expired"])
def test_an_ended_share_yields_no_plaintext_though_every_check_says_yes(
    resources, caller, share, time, end, monkeypatch
):
    """Lesson 20, G2: its keys are gone; also with the rows put back as they were."""
    before, token = share_row(resources, share.id), new_secret()
    if end == "withdrawn":
        withdraw_share(resources, share.id, caller=caller)
    elif end == "locked":
        for _ in range(5):
            refusal_of(resources, share, password=WRONG_PASSWORD)
    elif end == "completed":
        claimed = run(claim(resources, share, token=token))
        complete_claim(resources, claim_id=claimed.claim_id, token=token, address=ADDRESS)
        with resources.database.writing() as transaction:
            transaction.connection.execute(claims.delete())
    else:
        time.pass_until(share.expires_at)
        sweep(resources)
    restored = {name: getattr(before, name) for name in ("state", "wrapped_key", "attempts", "failures")}
    change(resources, shares, share.id, **restored, expires_at=share.expires_at + timedelta(days=9))
    for module in ("actions.claim_share", "lifecycle.claimable_share", "lifecycle.secret_lookup"):
        monkeypatch.setattr(f"app.{module}.same", lambda _a, _b: True)
    refusal = refusal_of(resources, share)
    assert isinstance(refusal, ShareExpired)
    change(resources, shares, share.id, expires_at=share.expires_at)
    assert isinstance(refusal_of(resources, share), ShareExpired)


def test_a_claim_that_ended_yields_no_plaintext_though_its_row_is_put_back(resources, share):
    """Lesson 18, G5."""
    claimed = run(claim(resources, share))
    rows = share_row(resources, share.id), claim_row(resources, share.id)
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    change(resources, shares, share.id, state=ShareState.CLAIMED, wrapped_key=rows[0].wrapped_key)
    change(resources, claims, claimed.claim_id, wrapped_key=rows[1].wrapped_key)
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))


def test_the_depositor_opens_nothing_after_the_end_either(resources, caller, sent, time):
    """G2."""
    before = transfer_row(resources, sent.id)
    delete_transfer(resources, sent.id, caller=caller)
    with pytest.raises(Refusal):
        open_for_owner(resources.vault, before, sent.transfer.client_key, time())


def test_everything_stolen_at_rest_opens_nothing_without_the_link(resources, share):
    """G4: database, blobs and vault together, and the right password: not without the link secret."""
    row = share_row(resources, share.id)
    assert row.wrapped_key is not None
    keys = {
        name: resources.vault.open(name, resources.clock.now())
        for name in (EntryName(share.transfer_id, share.expires_at), own_key(share))
    }
    shred_key, share_shred_key = keys.values()
    from app.crypto.stretching import stretch

    stretched = stretch(share.password, row.argon2_salt, resources.settings.argon2)
    part = wrapping.server_part(stretched, shred_key, share_shred_key, share.id)
    with pytest.raises(Exception, match="cannot decrypt"):
        wrapping.unwrap_for_share(
            row.wrapped_key,
            share_key=wrapping.share_key(new_secret(), part, share.id),
            transfer_id=share.transfer_id,
            share_id=share.id,
        )
    assert len(files_of(resources, share.transfer_id)) == 1
