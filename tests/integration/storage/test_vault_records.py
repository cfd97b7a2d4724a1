"""What the vault knows beside its keys: who claimed a share first, what lives, and what does not belong."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from app.crypto.token import new_id, new_secret
from app.domain.vault_entry import EntryName
from app.storage.errors import KeyGone, VaultUnavailable
from app.storage.key_vault import Mark, anchor_mark
from app.storage.vault_folder import VaultFolder
from tests.integration.storage.vault_places import BEFORE, EXPIRY, HOUR, SECOND, path_of, put, some_name


@pytest.fixture
def share(vault):
    name = some_name(share=True)
    put(vault, name)
    return name


def _record(root, name, digest):
    return VaultFolder(root, installation_id="installation-1").record_claim(name, digest)


def test_of_many_processes_one_records_the_claim_and_all_read_its_digest(vault, vault_root, share):
    """Lesson 13, without any database."""
    digests = [new_secret() for _ in range(16)]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(partial(_record, vault_root, share.of_claim), digests))
    assert len(set(found)) == 1
    assert found[0] in digests
    assert path_of(vault_root, share.of_claim).read_bytes() == found[0] == vault.claim_recorded(share.of_claim)


def test_a_claim_that_was_recorded_stays_when_the_shares_key_goes(vault, share):
    vault.record_claim(share.of_claim, bytes(32))
    vault.destroy([share])
    assert vault.record_claim(share.of_claim, bytes([1] * 32)) == bytes(32)


def test_a_record_goes_at_its_second_and_by_name(vault, share):
    vault.record_claim(share.of_claim, bytes(32))
    other = some_name(EXPIRY + HOUR, share=True)
    put(vault, other)
    vault.record_claim(other.of_claim, bytes(32))
    assert vault.purge(EXPIRY).removed == 2
    vault.destroy([other.of_claim])
    assert list(vault.names()) == [other]


def test_nothing_is_recorded_where_the_keys_are_gone(vault, vault_root, share):
    vault.purge(EXPIRY + HOUR)
    with pytest.raises(KeyGone):
        vault.record_claim(share.of_claim, bytes(32))
    assert vault.claim_recorded(share.of_claim) is None


def test_a_damaged_record_is_no_answer(vault, vault_root, share):
    path_of(vault_root, share.of_claim).write_bytes(b"short")
    with pytest.raises(VaultUnavailable):
        vault.claim_recorded(share.of_claim)
    with pytest.raises(VaultUnavailable):
        vault.record_claim(share.of_claim, bytes(32))


def test_without_the_installation_file_nobody_claimed_is_no_answer(vault, vault_root, share):
    """Lesson 40: an unmounted volume looks like a vault in which nothing was ever claimed."""
    (vault_root / "installation").unlink()
    for ask in (
        vault.claim_recorded,
        lambda name: vault.record_claim(name, bytes(32)),
        lambda name: vault.living([name]),
    ):
        with pytest.raises(VaultUnavailable):
            ask(share.of_claim)
    with pytest.raises(VaultUnavailable):
        vault.find({share.transfer_id})


def test_a_key_without_its_hours_key_does_not_live(vault, vault_root, share):
    assert vault.living([share, some_name()]) == {share}
    (path_of(vault_root, share).parent / "hour.key").unlink()
    assert vault.living([share]) == set()
    assert vault.holds(share)


def test_all_of_a_transfer_is_found_in_whatever_hour_it_lies(vault, vault_root):
    transfer, share = new_id(), new_id()
    names = {EntryName(transfer, EXPIRY), EntryName(transfer, EXPIRY + 30 * HOUR, share)}
    for name in names:
        put(vault, name)
    put(vault, some_name())
    record = EntryName(transfer, EXPIRY + 30 * HOUR, share).of_claim
    vault.record_claim(record, bytes(32))
    found = vault.find({transfer, new_id()})
    assert found.names == names | {record}
    assert found.misplaced == set()


def test_an_entry_that_was_moved_to_another_hour_is_found_and_a_stranger(vault, vault_root, share):
    put(vault, some_name(EXPIRY + HOUR))
    place = path_of(vault_root, share)
    hidden = vault_root / "2026-03-01T15" / place.name
    place.rename(hidden)
    assert vault.find({share.transfer_id}).misplaced == {share.transfer_id}
    assert list(vault.strangers()) == [f"2026-03-01T15/{place.name}"]


def test_what_ends_by_a_moment_is_listed_and_no_more(vault):
    due, on_time, later = some_name(BEFORE), some_name(), some_name(EXPIRY + SECOND)
    for name in (due, on_time, later):
        put(vault, name)
    assert set(vault.ending_by(EXPIRY)) == {due, on_time}


def test_in_a_vault_that_nobody_tampered_with_there_are_no_strangers(vault, vault_root, share):
    vault.record_claim(share.of_claim, bytes(32))
    for mark in (*Mark, anchor_mark("0b5d6a0c-6a44-4bb0-8d27-0d4df0f0a5d1")):
        vault.write_mark("text", mark)
    (vault_root / "lost+found").mkdir()
    (vault_root / "high-water.0011223344556677.new").touch()  # a writer that crashed
    (path_of(vault_root, share).parent / "hour.key.0011223344556677.new").touch()
    assert list(vault.strangers()) == []


@pytest.mark.parametrize("name", ["note.txt", "high-water.old", "anchor.X", "2026-03-01T14.bak", "2026-03-01T14/copy"])
def test_a_file_that_is_not_understood_is_a_stranger(vault, vault_root, share, name):
    (vault_root / name).touch()
    assert list(vault.strangers()) == [name]


@pytest.mark.parametrize("mark", ["installation", "../high-water", "anchor.", "anchor.A/B", "hour.key"])
def test_only_marks_are_written_as_marks(vault, mark):
    with pytest.raises(ValueError, match="mark"):
        vault.write_mark("text", mark)
