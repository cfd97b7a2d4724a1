"""The key vault in folders: keys come back until they end, and nothing but the vault decides when."""

import multiprocessing
import os
import re
import stat
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial

import pytest

from app.crypto.token import new_id
from app.domain.vault_entry import EntryName
from app.storage.errors import KeyExists, KeyExpired, KeyGone, VaultUnavailable
from app.storage.hour_folder import place_of
from app.storage.key_vault import KeyVault
from app.storage.vault_folder import VaultFolder
from tests.integration.storage.vault_places import (
    BEFORE,
    EXPIRY,
    HOUR,
    SECOND,
    everything_below,
    path_of,
    put,
    some_name,
)


def test_it_is_a_key_vault(vault_root):
    vault: KeyVault = VaultFolder(vault_root)
    assert vault.installation() is None


# Keys come and go


@pytest.mark.parametrize("share", [False, True])
def test_a_key_opens_until_it_is_destroyed(vault, share):
    name = some_name(share=share)
    key = put(vault, name)
    assert len(key) == 32
    assert vault.open(name, BEFORE) == key
    assert vault.holds(name)
    vault.destroy([name])
    assert not vault.holds(name)
    with pytest.raises(KeyGone):
        vault.open(name, BEFORE)


def test_every_key_is_another(vault):
    assert len({put(vault, some_name()) for _ in range(20)}) == 20


def test_another_process_opens_the_same_key(vault, vault_root):
    name = some_name()
    key = put(vault, name)
    assert VaultFolder(vault_root, installation_id="installation-1").open(name, BEFORE) == key


def test_an_existing_key_is_never_replaced(vault):
    name = some_name()
    key = put(vault, name)
    with pytest.raises(KeyExists):
        put(vault, name)
    assert vault.open(name, BEFORE) == key


def test_a_key_that_never_was_is_gone(vault):
    put(vault, some_name())
    with pytest.raises(KeyGone):
        vault.open(some_name(), BEFORE)
    with pytest.raises(KeyGone):
        vault.open(some_name(EXPIRY + 5 * HOUR), BEFORE)


def test_destroying_again_and_what_never_was_is_fine(vault):
    name, neighbour = some_name(), some_name()
    put(vault, name)
    key = put(vault, neighbour)
    vault.destroy([name, some_name(), some_name(EXPIRY + 9 * HOUR)])
    vault.destroy([name])
    vault.destroy([])
    assert vault.open(neighbour, BEFORE) == key


def test_a_share_ends_without_its_transfer(vault):
    transfer = some_name()
    share = EntryName(transfer.transfer_id, EXPIRY, new_id())
    key = put(vault, transfer)
    put(vault, share)
    vault.destroy([share])
    assert vault.open(transfer, BEFORE) == key


def test_a_thousand_keys_end_in_one_call_with_one_sync_per_hour(vault, monkeypatch):
    names = [some_name(EXPIRY + timedelta(minutes=7 * (i % 20))) for i in range(1000)]
    for name in names:
        put(vault, name)
    assert set(vault.names()) == set(names)
    syncs: list[int] = []
    monkeypatch.setattr(os, "fsync", syncs.append)
    vault.destroy(iter(names))
    assert len(syncs) == len({place_of(name)[0] for name in names}) == 3
    assert list(vault.names()) == []


# The expiry


def test_an_expired_key_is_refused_though_it_is_on_disk(vault):
    """The sweeper stopped for a year; the vault refuses all the same (Dispose kept files a year past their expiry)."""
    name = some_name()
    put(vault, name)
    assert vault.open(name, EXPIRY - timedelta(microseconds=1))
    for now in (EXPIRY, EXPIRY + SECOND, EXPIRY + timedelta(days=365)):
        with pytest.raises(KeyExpired):
            vault.open(name, now)
    assert vault.holds(name)


def test_expiry_is_refused_before_the_disk_is_touched(vault, vault_root):
    vault_root.rename(vault_root.with_name("elsewhere"))
    with pytest.raises(KeyExpired):
        vault.open(some_name(), EXPIRY)


@pytest.mark.parametrize("later", [SECOND, HOUR, timedelta(days=30)])
def test_asking_with_a_later_expiry_finds_nothing(vault, later):
    """Editing `expires_at` in the database extends nothing."""
    name = some_name()
    put(vault, name)
    with pytest.raises(KeyGone):
        vault.open(EntryName(name.transfer_id, EXPIRY + later), EXPIRY)


def test_an_entry_renamed_to_a_later_second_does_not_open(vault, vault_root):
    """Renaming the file too extends nothing: what is wrapped is bound to the expiry."""
    name = some_name()
    put(vault, name)
    later = EntryName(name.transfer_id, EXPIRY + SECOND)
    path_of(vault_root, name).rename(path_of(vault_root, later))
    with pytest.raises(VaultUnavailable, match="altered"):
        vault.open(later, EXPIRY)


@pytest.mark.parametrize("with_hour_key", [False, True])
def test_an_entry_moved_to_a_later_hour_does_not_open(vault, vault_root, with_hour_key):
    """Not even with a copy of its hour key: what is wrapped is bound to the expiry."""
    name, later = some_name(), some_name(EXPIRY + HOUR)
    put(vault, name)
    put(vault, later)
    moved = EntryName(name.transfer_id, later.expires_at)
    path_of(vault_root, name).rename(path_of(vault_root, moved))
    if with_hour_key:
        hour_key = path_of(vault_root, name).with_name("hour.key").read_bytes()
        path_of(vault_root, later).with_name("hour.key").write_bytes(hour_key)
    with pytest.raises(VaultUnavailable, match="altered"):
        vault.open(moved, EXPIRY)


def test_an_entry_moved_under_its_own_name_is_gone(vault, vault_root):
    name, later = some_name(), some_name(EXPIRY + HOUR)
    put(vault, name)
    put(vault, later)
    path_of(vault_root, name).rename(path_of(vault_root, later).with_name(place_of(name)[1]))
    with pytest.raises(KeyGone):
        vault.open(name, BEFORE)
    assert list(vault.names()) == [later]


def test_two_entries_exchanged_do_not_open(vault, vault_root):
    one, other = some_name(), some_name(share=True)
    put(vault, one)
    put(vault, other)
    first = path_of(vault_root, one).read_bytes()
    path_of(vault_root, one).write_bytes(path_of(vault_root, other).read_bytes())
    path_of(vault_root, other).write_bytes(first)
    for name in (one, other):
        with pytest.raises(VaultUnavailable, match="altered"):
            vault.open(name, BEFORE)


# Alteration and accidents


def test_any_flipped_byte_is_refused(vault, vault_root):
    name = some_name()
    key = put(vault, name)
    path = path_of(vault_root, name)
    content = path.read_bytes()
    assert len(content) == 60
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(VaultUnavailable, match="altered"):
            vault.open(name, BEFORE)
    path.write_bytes(content)
    assert vault.open(name, BEFORE) == key


@pytest.mark.parametrize("length", [0, 1, 12, 28, 59, 61, 300])
def test_an_entry_cut_short_by_a_crash_or_extended_is_refused(vault, vault_root, length):
    name = some_name()
    put(vault, name)
    path = path_of(vault_root, name)
    path.write_bytes((path.read_bytes() + bytes(300))[:length])
    with pytest.raises(VaultUnavailable):
        vault.open(name, BEFORE)
    vault.destroy([name])
    assert not vault.holds(name)


def test_an_entry_without_its_hour_key_is_gone(vault, vault_root):
    name = some_name()
    put(vault, name)
    path_of(vault_root, name).with_name("hour.key").unlink()
    with pytest.raises(KeyGone):
        vault.open(name, BEFORE)
    assert vault.holds(name)


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33)])
def test_an_hour_key_of_another_length_is_refused(vault, vault_root, content):
    name = some_name()
    put(vault, name)
    path_of(vault_root, name).with_name("hour.key").write_bytes(content)
    with pytest.raises(VaultUnavailable):
        vault.open(name, BEFORE)
    with pytest.raises(VaultUnavailable):
        put(vault, some_name())


def test_no_key_is_kept_in_memory(vault, vault_root):
    """Removing the hour key ends the keys for a running process too."""
    name = some_name()
    put(vault, name)
    vault.open(name, BEFORE)
    path_of(vault_root, name).with_name("hour.key").unlink()
    with pytest.raises(KeyGone):
        vault.open(name, BEFORE)


@pytest.mark.parametrize("planted", ["hour folder", "hour.key", "entry"])
def test_symbolic_links_are_refused(vault, vault_root, tmp_path, planted):
    name = some_name()
    put(vault, name)
    path = path_of(vault_root, name)
    victim = {"hour folder": path.parent, "hour.key": path.with_name("hour.key"), "entry": path}[planted]
    victim.rename(tmp_path / "elsewhere")
    victim.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VaultUnavailable):
        vault.open(name, BEFORE)


def test_destroying_through_a_linked_hour_removes_nothing_elsewhere(vault, vault_root, tmp_path):
    name = some_name()
    put(vault, name)
    hour = path_of(vault_root, name).parent
    hour.rename(tmp_path / "elsewhere")
    hour.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VaultUnavailable):
        vault.destroy([name])
    assert (tmp_path / "elsewhere" / place_of(name)[1]).exists()
    with pytest.raises(VaultUnavailable):
        list(vault.names())


def test_a_pipe_in_place_of_an_entry_does_not_hang(vault, vault_root):
    name = some_name()
    put(vault, name)
    path_of(vault_root, name).unlink()
    os.mkfifo(path_of(vault_root, name))
    with pytest.raises(VaultUnavailable):
        vault.open(name, BEFORE)


def test_one_entry_that_resists_does_not_stop_the_others(vault, vault_root):
    """The first of 100 raises: the other 99 are gone (Bitwarden, Pingvin Share and transfer.sh stop at the first)."""
    names = [some_name(EXPIRY + timedelta(minutes=i)) for i in range(100)]
    for name in names:
        put(vault, name)
    stubborn = path_of(vault_root, names[0])
    stubborn.unlink()
    (stubborn / "inside").mkdir(parents=True)
    with pytest.raises(VaultUnavailable, match=f"1 entries.*{names[0].transfer_id}"):
        vault.destroy(names)
    assert [name for name in names if vault.holds(name)] == [names[0]]
    assert list(vault.names()) == [names[0]]


def test_a_failed_write_leaves_no_entry(vault, monkeypatch):
    name = some_name()
    put(vault, some_name())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VaultUnavailable, match="No space left"):
        put(vault, name)
    monkeypatch.undo()
    assert not vault.holds(name)
    assert put(vault, name)


def test_a_folder_left_by_a_crash_before_its_hour_key_is_used(vault, vault_root):
    name = some_name()
    hour = path_of(vault_root, name).parent
    hour.mkdir(mode=0o700)
    (hour / "hour.key.0123456789abcdef.new").write_bytes(bytes(17))
    key = put(vault, name)
    assert vault.open(name, BEFORE) == key
    assert list(vault.names()) == [name]


def test_processes_that_race_for_an_hour_agree_on_its_key(vault):
    """Twelve new hours, four processes at once in each: one key per hour, and every entry opens."""
    names = [some_name(EXPIRY + i // 4 * HOUR) for i in range(48)]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(time.sleep, [0.3] * 4))  # until all four are up
        keys = list(pool.map(partial(put, vault), names))
    assert [vault.open(name, BEFORE) for name in names] == keys


# What is on disk


def test_modes_are_private_and_names_are_those_of_the_layout(vault, vault_root):
    name = some_name(share=True)
    old = os.umask(0)
    try:
        put(vault, name)
        vault.write_mark("x")
    finally:
        os.umask(old)
    hour = "2026-03-01T14"
    entry = f"{hour}/1772374800.{name.transfer_id}.{name.share_id}"
    assert everything_below(vault_root) == {
        hour, f"{hour}/hour.key", entry, "installation", "high-water", "CACHEDIR.TAG",
    }  # fmt: skip
    for path in (vault_root, *vault_root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_the_key_is_not_on_disk_in_clear(vault, vault_root):
    key = put(vault, some_name())
    assert not any(key in path.read_bytes() for path in vault_root.rglob("*") if path.is_file())


def test_backup_programs_are_told_to_leave_it_out(vault_root, vault):
    """The Cache Directory Tagging Specification: the first 43 bytes."""
    assert (vault_root / "CACHEDIR.TAG").read_bytes()[:43] == b"Signature: 8a477f597d28d172789f06886806bc55"


@pytest.fixture
def synced(vault_root, monkeypatch):
    """What was synced, in order, below the vault; temporary names without their random part."""
    names: list[str] = []

    def note(descriptor):
        path = os.path.relpath(os.path.realpath(f"/proc/self/fd/{descriptor}"), vault_root)
        names.append(re.sub("[0-9a-f]{16}", "*", path))

    monkeypatch.setattr(os, "fsync", note)
    return names


def test_a_new_hour_is_synced_before_its_key_appears_and_the_entry_before_its_folder(vault, synced):
    first, second = some_name(), some_name()
    put(vault, first)
    hour = place_of(first)[0]
    assert synced == [".", f"{hour}/hour.key.*.new", hour, f"{hour}/{place_of(first)[1]}", hour]
    synced.clear()
    put(vault, second)
    assert synced == [f"{hour}/{place_of(second)[1]}", hour]


def test_the_mark_is_synced_before_and_after_it_takes_its_place(vault, synced):
    vault.write_mark("mark")
    assert synced == ["high-water.*.new", "."]


def test_an_ended_hour_is_synced_before_and_after_it_is_removed(vault, synced):
    name = some_name()
    put(vault, name)
    synced.clear()
    vault.purge(EXPIRY + HOUR)
    assert synced == [place_of(name)[0], "."]
