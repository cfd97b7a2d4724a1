"""Which vault this is, the mark it keeps, and the end of all its keys: absence proves nothing in the wrong folder."""

import os

import pytest

from app.storage import hour_folder
from app.storage.errors import KeyGone, VaultUnavailable
from app.storage.vault_folder import VaultFolder
from tests.integration.storage.vault_places import BEFORE, EXPIRY, HOUR, everything_below, path_of, put, some_name

# The right vault, or none


def operations(vault, name):
    return {
        "create": lambda: put(vault, some_name()),
        "open": lambda: vault.open(name, BEFORE),
        "destroy": lambda: vault.destroy([name]),
        "holds": lambda: vault.holds(name),
        "purge": lambda: vault.purge(BEFORE),
        "names": lambda: list(vault.names()),
        "destroy_everything": vault.destroy_everything,
        "write_mark": lambda: vault.write_mark("x"),
        "read_mark": vault.read_mark,
    }


ALL = ["create", "destroy", "destroy_everything", "holds", "names", "open", "purge", "read_mark", "write_mark"]


@pytest.mark.parametrize("operation", ALL)
@pytest.mark.parametrize("mount_point_stays", [False, True])
def test_an_unmounted_vault_answers_nothing_and_is_not_made_again(vault, vault_root, operation, mount_point_stays):
    """An empty mount point must never read as "all keys are destroyed"."""
    name = some_name()
    put(vault, name)
    vault_root.rename(vault_root.with_name("unmounted"))
    if mount_point_stays:
        vault_root.mkdir()
    with pytest.raises(VaultUnavailable):
        operations(vault, name)[operation]()
    assert vault_root.exists() == mount_point_stays
    assert not mount_point_stays or everything_below(vault_root) == set()


@pytest.mark.parametrize("operation", ALL)
def test_the_vault_of_another_installation_is_refused(vault, vault_root, operation):
    name = some_name()
    put(vault, name)
    (vault_root / "installation").write_text("installation-2\n")
    with pytest.raises(VaultUnavailable, match="another installation"):
        operations(vault, name)[operation]()


def test_everything_is_not_destroyed_in_a_foreign_vault(vault, vault_root):
    name = some_name()
    key = put(vault, name)
    with pytest.raises(VaultUnavailable, match="another installation"):
        VaultFolder(vault_root, installation_id="installation-2").destroy_everything()
    assert vault.open(name, BEFORE) == key


def test_a_lost_installation_file_does_not_hold_up_destruction(vault, vault_root):
    names = [some_name(), some_name(EXPIRY + HOUR), some_name(EXPIRY + 2 * HOUR)]
    for name in names:
        put(vault, name)
    (vault_root / "installation").unlink()
    with pytest.raises(VaultUnavailable):
        vault.destroy(names[:1])
    with pytest.raises(VaultUnavailable):
        vault.purge(EXPIRY + HOUR)
    assert [path_of(vault_root, name).exists() for name in names] == [False, False, True]
    with pytest.raises(VaultUnavailable):
        vault.destroy_everything()
    assert everything_below(vault_root) == {"CACHEDIR.TAG"}


def test_adopting_makes_the_vault_once(vault_root):
    root = vault_root / "below" / "new" / "folders"
    vault = VaultFolder(root)
    assert vault.installation() is None
    vault.adopt("installation-1")
    vault.adopt("installation-1")
    assert vault.installation() == VaultFolder(root).installation() == "installation-1"
    assert everything_below(root) == {"installation", "CACHEDIR.TAG"}


def test_adopting_an_empty_mount_point_works(vault_root):
    vault_root.mkdir()
    (vault_root / "lost+found").mkdir()
    vault = VaultFolder(vault_root)
    assert vault.installation() is None
    vault.adopt("installation-1")
    put(vault, some_name())
    assert vault.purge(BEFORE).failed == ()


def test_a_vault_is_adopted_by_one_installation_only(vault, vault_root):
    with pytest.raises(VaultUnavailable, match="another installation"):
        VaultFolder(vault_root).adopt("installation-2")
    assert vault.installation() == "installation-1"


def test_a_vault_nobody_adopted_takes_no_keys(vault_root):
    vault_root.mkdir()
    with pytest.raises(VaultUnavailable):
        put(VaultFolder(vault_root), some_name())
    assert everything_below(vault_root) == set()


def test_a_vault_that_was_expected_and_is_not_there_is_unavailable(vault_root):
    with pytest.raises(VaultUnavailable):
        VaultFolder(vault_root, installation_id="installation-1").installation()


@pytest.mark.parametrize("bad", ["", "two words", "two\nlines", "é", "x" * 128])
def test_an_unfit_installation_id_is_refused(vault_root, bad):
    with pytest.raises(ValueError, match="one short word"):
        VaultFolder(vault_root).adopt(bad)


# Lockdown


def test_everything_is_destroyed_but_the_vault_itself(vault, vault_root):
    names = [some_name(EXPIRY + i * HOUR, share=bool(i % 2)) for i in range(30)]
    for name in names:
        put(vault, name)
    (path_of(vault_root, names[0]).parent / "hour.key.00ff.new").write_bytes(bytes(32))
    vault.write_mark("mark")
    assert vault.destroy_everything() == 30
    assert everything_below(vault_root) == {"installation", "CACHEDIR.TAG", "high-water"}
    assert vault.destroy_everything() == 0
    with pytest.raises(KeyGone):
        vault.open(names[0], BEFORE)
    assert put(vault, names[0])


def test_all_hour_keys_go_before_the_first_entry(vault, monkeypatch):
    for i in range(3):
        put(vault, some_name(EXPIRY + i * HOUR))
    order = []
    unlink = os.unlink

    def note(name, *, dir_fd):
        order.append(name == "hour.key")
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", note)
    assert vault.destroy_everything() == 3
    assert order == [True] * 3 + [False] * 3


def test_one_that_resists_does_not_stop_the_destruction_of_everything(vault, vault_root):
    names = [some_name(EXPIRY + i * HOUR) for i in range(5)]
    for name in names:
        put(vault, name)
    stubborn = path_of(vault_root, names[0]).parent / "hour.key"
    stubborn.unlink()
    (stubborn / "inside").mkdir(parents=True)
    with pytest.raises(VaultUnavailable, match=r"could not be removed.*hour\.key"):
        vault.destroy_everything()
    assert list(vault.names()) == []


def test_an_hour_that_cannot_be_opened_does_not_stop_the_destruction_of_everything(vault, vault_root, tmp_path):
    names = [some_name(EXPIRY + i * HOUR) for i in range(3)]
    for name in names:
        put(vault, name)
    hour = path_of(vault_root, names[0]).parent
    hour.rename(tmp_path / "elsewhere")
    hour.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VaultUnavailable, match=rf"could not be removed.*{hour.name}/"):
        vault.destroy_everything()
    assert [path.name for path in vault_root.glob("2026*")] == [hour.name]


def test_an_hour_that_another_process_ends_meanwhile_is_no_failure(vault, monkeypatch):
    """Two schedulers, or `caducee keys expire` beside one: whoever comes second finds the work done."""
    put(vault, some_name())
    hours_in = hour_folder.hours_in
    monkeypatch.setattr(hour_folder, "hours_in", lambda root: [*hours_in(root), "2026-03-01T13"])
    report = vault.purge(EXPIRY + HOUR)
    assert (report.removed, report.hours, report.failed, report.due_left) == (1, 1, (), 0)
    put(vault, some_name())
    assert vault.destroy_everything() == 1


# The mark


def test_the_mark_comes_back_as_it_was_written(vault, vault_root):
    assert vault.read_mark() is None
    for text in ("first", '{"at": "2026-03-01T14:20:00Z", "size": 7}', "", "é\n"):
        vault.write_mark(text)
        assert VaultFolder(vault_root).read_mark() == text
    assert everything_below(vault_root) == {"installation", "CACHEDIR.TAG", "high-water"}


def test_a_crash_while_the_mark_is_written_keeps_the_old_one(vault, vault_root, monkeypatch):
    vault.write_mark("old")

    def fail(*_args, **_kwargs):
        raise OSError(5, "Input/output error")

    for step in ("fsync", "rename"):
        monkeypatch.setattr(os, step, fail)
        with pytest.raises(VaultUnavailable):
            vault.write_mark("new")
        monkeypatch.undo()
        assert vault.read_mark() == "old"
    assert everything_below(vault_root) == {"installation", "CACHEDIR.TAG", "high-water"}


def test_a_mark_that_is_no_text_or_too_long_is_refused(vault, vault_root):
    with pytest.raises(ValueError, match="64 KiB"):
        vault.write_mark("x" * 65537)
    (vault_root / "high-water").write_bytes(b"\xff")
    with pytest.raises(VaultUnavailable):
        vault.read_mark()
    (vault_root / "high-water").write_bytes(bytes(65537))
    with pytest.raises(VaultUnavailable):
        vault.read_mark()
