"""Shares of sealed transfers: prepared, opened once, claimed by proof."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.actions.claim_share import claim_share
from app.actions.complete_claim import complete_claim
from app.actions.issue_share import NewShare, prepare_share
from app.actions.keep_owner_key import store_owner_key
from app.actions.look_at_share import look_at_share
from app.crypto.token import new_secret
from app.crypto.wrapping import link_proof
from app.db.tables import shares
from app.domain import share as share_rules
from app.domain.errors import (
    KeyAlreadySet,
    MalformedPassword,
    OwnerKeyMissing,
    Refusal,
    ShareLocked,
    ShareNotFound,
    ShareUsed,
    TransferClosed,
    TransferEmpty,
    WrongPassword,
)
from app.domain.share import ShareState
from app.lifecycle.claimable_share import LinkAndPassword
from tests.integration.actions.sealed_stories import (
    SealedShare,
    a_sealed_transfer,
    claim_sealed,
    deposit_sealed,
    let_claim,
    opened,
    owner_wrap,
    prepare,
)
from tests.integration.actions.stories import (
    ADDRESS,
    WRONG_PASSWORD,
    count_rows,
    events_of,
    keys_held,
    run,
    share_row,
    transfer_row,
)


def by_proof(share: SealedShare, password: str | None = None) -> LinkAndPassword:
    return LinkAndPassword(link_proof(share.link_secret), None, password or share.password, None, ADDRESS)


def test_a_share_needs_a_file_whole_and_the_owners_key(resources, caller):
    bare = a_sealed_transfer(resources, caller, keyed=False)
    with pytest.raises(TransferEmpty):
        run(prepare(resources, caller, bare))
    run(deposit_sealed(resources, caller, bare))
    with pytest.raises(OwnerKeyMissing):
        run(prepare(resources, caller, bare))
    assert count_rows(resources, shares) == 0
    assert transfer_row(resources, bare.id).closed_at is None
    store_owner_key(resources, caller, bare.id, owner_wrap(bare))
    assert run(prepare(resources, caller, bare)).id
    with pytest.raises(TransferClosed):
        run(deposit_sealed(resources, caller, bare, number=1))


@pytest.mark.parametrize("password", ["", "short", "0123-4567-89AB-CDEU", "0123456789ABCDEF0", "Élan-4567-89AB-CDEF"])
def test_a_password_must_be_well_formed(resources, caller, filled, password):
    with pytest.raises(MalformedPassword):
        run(prepare_share(resources, caller, NewShare(filled.id, "Agency"), password=password))
    assert count_rows(resources, shares) == 0


def test_a_password_works_however_it_was_written_at_either_end(resources, caller, filled):
    share = run(prepare(resources, caller, filled, password="o1lz 2345-6789 abcd"))
    let_claim(resources, caller, share)
    assert run(claim_sealed(resources, share, password="011Z-2345-6789-ABCD")).server_part is not None


def test_the_password_is_part_of_the_key_and_not_only_asked_for(resources, share):
    """G3: five wrong ones lock the share, and its keys are gone."""
    for _ in range(5):
        with pytest.raises(WrongPassword):
            run(claim_sealed(resources, share, password=WRONG_PASSWORD))
    with pytest.raises(ShareLocked):
        run(claim_sealed(resources, share))
    names = {name.share_id for name in keys_held(resources)}
    assert share.id not in names


def test_a_prepared_share_is_unknown_to_recipients(resources, caller, prepared):
    """The same answer as for any link that opens nothing, whatever is presented, and nothing is spent."""
    for proof in (link_proof(prepared.link_secret), bytes(32), new_secret()):
        with pytest.raises(ShareNotFound):
            look_at_share(resources, prepared.id, proof)
        with pytest.raises(ShareNotFound):
            run(claim_share(resources, prepared.id, LinkAndPassword(proof, None, prepared.password, None, ADDRESS)))
    assert share_row(resources, prepared.id).attempts == 0
    let_claim(resources, caller, prepared)
    assert look_at_share(resources, prepared.id, link_proof(prepared.link_secret)).sealed is True


def test_a_prepared_share_yields_nothing_though_every_check_says_yes(resources, prepared, monkeypatch):
    """Lesson 20, G3."""
    for module in ("actions.claim_share", "lifecycle.claimable_share", "lifecycle.secret_lookup"):
        monkeypatch.setattr(f"app.{module}.same", lambda _a, _b: True)
    monkeypatch.setattr(share_rules, "refusal", lambda _state: None)
    with pytest.raises(Refusal):
        run(claim_share(resources, prepared.id, by_proof(prepared)))
    assert share_row(resources, prepared.id).state == ShareState.PREPARED


def test_a_share_is_opened_once(resources, caller, prepared):
    """A replay, or somebody with the depositor's token, cannot put another link or key in the place of the first."""
    let_claim(resources, caller, prepared)
    before = share_row(resources, prepared.id)
    other = replace(prepared, link_secret=new_secret())
    for again in (prepared, other):
        with pytest.raises(KeyAlreadySet):
            let_claim(resources, caller, again)
    assert share_row(resources, prepared.id) == before
    with pytest.raises(ShareNotFound):
        run(claim_sealed(resources, other))
    claimed = run(claim_sealed(resources, prepared))
    with pytest.raises(KeyAlreadySet):
        let_claim(resources, caller, other)
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    with pytest.raises(ShareUsed):
        let_claim(resources, caller, other)


def test_of_many_keys_at_once_one_opens_the_share(resources, caller, prepared):
    candidates = [replace(prepared, link_secret=new_secret()) for _ in range(8)]

    def attempt(candidate):
        try:
            let_claim(resources, caller, candidate)
        except KeyAlreadySet:
            return None
        return candidate

    with ThreadPoolExecutor(8) as threads:
        winners = [winner for winner in threads.map(attempt, candidates) if winner]
    assert len(winners) == 1
    assert events_of(resources, event="share.issued") == ["share.issued"]
    claimed = run(claim_sealed(resources, winners[0]))
    assert opened(winners[0], claimed) == prepared.transfer.key


def test_of_claims_at_once_one_wins(resources, share):
    """Lesson 13, by proof."""

    async def story():
        return await asyncio.gather(*(claim_sealed(resources, share) for _ in range(10)), return_exceptions=True)

    answers = run(story())
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    assert {type(answer) for answer in answers if isinstance(answer, BaseException)} == {ShareUsed}
