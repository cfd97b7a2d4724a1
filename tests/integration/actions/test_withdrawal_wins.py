"""A withdrawal that wins a race is named: whoever loses it reads `share_withdrawn`, not that something is over."""

import pytest

from app.actions import claim_share as claim_module
from app.actions import issue_share as issue_module
from app.actions.delete_transfer import delete_transfer
from app.actions.withdraw_share import withdraw_share
from app.domain.errors import ShareExpired, ShareWithdrawn, TransferEnded
from app.lifecycle import claim_record, key_ring
from tests.integration.actions.stories import (
    a_transfer,
    claim,
    deposit,
    fetch,
    issue,
    keys_held,
    log_of,
    run,
    send,
)


@pytest.fixture
def sent(resources, caller):
    return send(resources, caller)


WAYS = {
    "withdrawn": lambda resources, caller, sent: withdraw_share(resources, sent.share.id, caller=caller),
    "deleted": lambda resources, caller, sent: delete_transfer(resources, sent.id, caller=caller),
}


def at(monkeypatch, module, point, act):
    """Do something the first time that an action reaches a point."""
    left = [act]

    def reach(reached):
        if reached == point and left:
            left.pop()()

    monkeypatch.setattr(module, "reach", reach)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("point", ["claim.attempt_reserved", "claim.key_opened"])
def test_a_claim(resources, caller, sent, monkeypatch, point, way):
    """The keys are gone before the steps that need them, or between."""
    at(monkeypatch, claim_module, point, lambda: WAYS[way](resources, caller, sent))
    with pytest.raises(ShareWithdrawn):
        run(claim(resources, sent.share))


def test_a_claim_that_loses_to_the_purge_is_told_that_it_expired(resources, sent, monkeypatch):
    """The control: without a withdrawal the refusal stays what it was."""
    at(monkeypatch, claim_module, "claim.attempt_reserved", lambda: resources.vault.destroy(keys_held(resources)))
    with pytest.raises(ShareExpired):
        run(claim(resources, sent.share))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("decrypted", [True, False])
@pytest.mark.parametrize("module", [claim_record, key_ring], ids=["before its record is read", "before its key is"])
def test_a_fetch(resources, caller, sent, monkeypatch, module, decrypted, way):
    claimed = run(claim(resources, sent.share))
    name = {claim_record: "require_recorded", key_ring: "open_for_claim"}[module]
    read = getattr(module, name)

    def late(*given):
        WAYS[way](resources, caller, sent)
        return read(*given)

    monkeypatch.setattr(module, name, late)
    if module is key_ring and not decrypted:
        WAYS[way](resources, caller, sent)
    with pytest.raises(ShareWithdrawn):
        run(fetch(resources, claimed, decrypted=decrypted))


def test_an_issue(resources, caller, monkeypatch):
    """Its share is in the depositor's list before its key is in the vault."""
    transfer = a_transfer(resources, caller)
    run(deposit(resources, caller, transfer))

    def withdraw():
        withdraw_share(resources, log_of(resources, event="share.issued")[0]["share"], caller=caller)

    at(monkeypatch, issue_module, "share.row_written", withdraw)
    with pytest.raises(ShareWithdrawn):
        run(issue(resources, caller, transfer))
    assert {name.share_id for name in keys_held(resources)} == {None}


def test_an_issue_whose_transfer_is_deleted_is_told_so(resources, caller, monkeypatch):
    transfer = a_transfer(resources, caller)
    run(deposit(resources, caller, transfer))
    at(
        monkeypatch,
        issue_module,
        "share.row_written",
        lambda: delete_transfer(resources, transfer.id, caller=caller),
    )
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, transfer))
