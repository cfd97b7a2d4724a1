"""Opening a transfer: its keys, its expiry, and every reason not to."""

from datetime import timedelta

import pytest

from app.actions.create_transfer import TransferOptions, create_transfer
from app.crypto.token import new_secret
from app.db.tables import transfers
from app.domain.errors import InvalidRequest, LifetimeOutOfRange, RetentionNotAssured, VaultOutOfReach, WrongClientKey
from app.domain.transfer import Ending, TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle import key_ring
from tests.integration.actions.stories import (
    a_caller,
    a_transfer,
    count_rows,
    events_of,
    everything_stored,
    keys_held,
    log_of,
    out_of_reach,
    sweep,
    transfer_row,
)


def test_a_transfer_waits_for_files_with_its_shred_key_in_the_vault(resources, caller, time):
    made = a_transfer(resources, caller, lifetime=timedelta(hours=2))
    row = transfer_row(resources, made.id)
    assert made.expires_at == row.expires_at == row.due_at == time() + timedelta(hours=2)
    assert (row.state, row.token_id, row.sealed) == (TransferState.RECEIVING, caller.token_id, False)
    assert len(made.client_key) == 32
    assert keys_held(resources) == {EntryName(made.id, made.expires_at)}


def test_its_client_key_and_nothing_else_opens_it(resources, caller, time):
    made = a_transfer(resources, caller)
    row = transfer_row(resources, made.id)
    keys = key_ring.open_for_owner(resources.vault, row, made.client_key, time())
    assert len(keys.transfer_key) == 32
    with pytest.raises(WrongClientKey):
        key_ring.open_for_owner(resources.vault, row, new_secret(), time())
    assert keys.transfer_key not in everything_stored(resources)
    assert keys.shred_key not in everything_stored(resources)
    assert made.client_key not in everything_stored(resources)
    assert "CreatedTransfer" in repr(made)
    assert repr(made.client_key) not in repr(made)


def test_a_client_key_may_be_the_depositors_own(resources, caller):
    own = new_secret()
    assert create_transfer(resources, caller, TransferOptions(), client_key=own).client_key == own


def test_it_is_logged_without_its_label(resources, caller):
    """Lesson 36."""
    made = a_transfer(resources, caller, label="CANARY", purpose="biology", records=12, keep_until_expiry=True)
    (entry,) = log_of(resources, event="transfer.created")
    assert (entry["actor"], entry["transfer"], entry["purpose"], entry["records"]) == (
        caller.actor,
        made.id,
        "biology",
        12,
    )
    assert "CANARY" not in str(entry)
    assert transfer_row(resources, made.id).label == "CANARY"
    assert transfer_row(resources, made.id).keep_until_expiry is True


def test_no_lifetime_is_the_longest(resources, caller, time):
    assert a_transfer(resources, caller).expires_at == time() + timedelta(days=7)


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ({"lifetime": timedelta(0)}, LifetimeOutOfRange),
        ({"lifetime": timedelta(days=7, seconds=1)}, LifetimeOutOfRange),
        ({"lifetime": timedelta(days=36_500)}, LifetimeOutOfRange),
        ({"lifetime": timedelta.max}, LifetimeOutOfRange),
        ({"purpose": "marketing"}, InvalidRequest),
        ({"purpose": ""}, InvalidRequest),
        ({"records": -1}, InvalidRequest),
        ({"records": 10**9 + 1}, InvalidRequest),
        ({"label": "two\nlines"}, InvalidRequest),
        ({"label": "x" * 201}, InvalidRequest),
    ],
)
def test_what_is_asked_for_amiss_is_refused_and_leaves_nothing(resources, caller, asked, refused):
    """Lesson 7: 0, huge, overflowing, refused by the server."""
    with pytest.raises(refused):
        a_transfer(resources, caller, **asked)
    assert count_rows(resources, transfers) == 0
    assert keys_held(resources) == set()


@pytest.mark.parametrize("records", [0, 10**9])
def test_a_count_of_people_is_kept(resources, caller, records):
    assert transfer_row(resources, a_transfer(resources, caller, records=records).id).records == records


def test_without_configured_purposes_none_can_be_given(start_service, resources, caller):
    with pytest.raises(InvalidRequest, match="none is configured"):
        a_transfer(start_service(purposes=""), caller, purpose="biology")


def test_nothing_is_opened_before_the_first_sweep(unswept_resources):
    """Lesson 1, G1: the service cannot prove yet that it deletes."""
    with pytest.raises(RetentionNotAssured):
        a_transfer(unswept_resources, a_caller(unswept_resources))
    sweep(unswept_resources)
    a_transfer(unswept_resources, a_caller(unswept_resources))


def test_nothing_is_opened_when_sweeps_have_stopped(resources, caller, time):
    """Lesson 1."""
    time.pass_by(resources.settings.deadman + timedelta.resolution)
    with pytest.raises(RetentionNotAssured):
        a_transfer(resources, caller)
    assert count_rows(resources, transfers) == 0


def test_without_the_key_vault_none_is_opened_and_what_was_begun_is_denied(resources, caller):
    with out_of_reach(resources.settings.vault_dir), pytest.raises(VaultOutOfReach):
        a_transfer(resources, caller)
    (entry,) = log_of(resources, event="transfer.denied")
    row = transfer_row(resources, entry["transfer"])
    assert (row.state, row.ending, row.owner_wrap) == (TransferState.DENIED, Ending.FAILED, None)
    sweep(resources)
    assert transfer_row(resources, row.id).state == TransferState.VERIFIED
    assert events_of(resources, transfer=row.id)[-1] == "transfer.deleted"
