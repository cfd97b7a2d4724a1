"""What a restored backup may hold, and what counts as a copy of the vault or as a place to hide one."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.crypto.token import new_id, new_secret
from app.storage import durable_files
from app.storage.backup_search import search_backup
from app.storage.durable_files import CACHE_TAG, put_once
from app.storage.local_disk import LocalDisk
from app.storage.vault_folder import VaultFolder
from tests.integration.storage.blob_stories import run, store
from tests.integration.storage.vault_places import put, some_name

NOBODY = 65_534
INSTALLATION = new_id()


@pytest.fixture
def backup(tmp_path):
    """All that the documentation lets into a backup: database, blobs, the signing folder's files, settings."""
    folder = tmp_path / "backup"
    for part in ("db", "keys", "etc"):
        (folder / part).mkdir(parents=True)
    for name in ("caducee.sqlite", "caducee.sqlite-wal", "caducee.sqlite-shm"):
        (folder / "db" / name).write_bytes(b"SQLite format 3\0" + new_secret())
    LocalDisk(folder / "blobs", min_free_bytes=0).adopt(INSTALLATION)
    for prefix in ("AB", "incoming"):
        (folder / "blobs" / prefix).mkdir(exist_ok=True)
        (folder / "blobs" / prefix / f"AB{new_id()[2:]}").write_bytes(new_secret())
    (folder / "installation").write_text(INSTALLATION)
    (folder / "keys" / "log.key").write_text("cGxhaW4gdGV4dA\n")
    (folder / "etc" / "caducee.env").write_text("CADUCEE_ORGANISATION=Hôpital\n" * 100_000, encoding="utf-8")
    (folder / "empty").touch()
    return folder


def problems_in(folder):
    """What a service with these stores would find, wherever its own stores are."""
    return search_backup(folder, LocalDisk(Path("blobs"), min_free_bytes=0), VaultFolder(Path("vault")))


@contextmanager
def bound_by_permissions():
    """As a user whom they bind: tests may run as root."""
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_belongs_into_a_backup_is_no_finding(backup):
    assert list(problems_in(backup)) == []


def test_every_file_of_a_vault_is_found(backup):
    """`adopt` makes the tag and the installation file, the marks come later; `hour.key` lies a folder deeper."""
    vault = VaultFolder(backup / "vault")
    vault.adopt(INSTALLATION)
    tag = backup / "vault" / "CACHEDIR.TAG"
    assert list(problems_in(backup)) == [f"a file of the vault is in the backup: {tag}"]
    vault.write_mark("{}")
    assert len(list(problems_in(backup))) == 2


def test_a_tag_alone_is_what_careful_backup_programs_leave_of_a_vault(backup):
    """`tar --exclude-caches` keeps the tag and leaves out everything beside it."""
    (backup / "vault").mkdir()
    (backup / "vault" / "CACHEDIR.TAG").write_bytes(CACHE_TAG)
    assert list(problems_in(backup)) == []


@pytest.mark.parametrize("name", ["hour.key", "high-water", "purge-time", "CACHEDIR.TAG"])
def test_what_a_crash_leaves_of_a_vault_file_is_found(backup, name, monkeypatch):
    """Killed between link(2) and unlink(2): a second name for the hour key. The real writer makes it."""
    (backup / "a").mkdir()
    monkeypatch.setattr("os.unlink", lambda *_, **__: None)
    with durable_files.opened_folder(backup / "a") as folder:
        put_once(name, b"text, so that the name alone can tell", within=folder)
    (backup / "a" / name).rename(backup / "empty")
    (left,) = (backup / "a").iterdir()
    assert left.suffix == ".new"
    assert list(problems_in(backup)) == [f"a file of the vault is in the backup: {left}"]


def test_a_key_under_another_name_is_not_passed_over(backup):
    (backup / "renamed").write_bytes(b"\xff" + new_secret())
    (finding,) = problems_in(backup)
    assert finding == f"could not be looked into (packed, encrypted or of unknown kind): {backup / 'renamed'}"


@pytest.mark.parametrize(("kind", "suffix"), [("gztar", ".tar.gz"), ("tar", ".tar"), ("zip", ".zip")])
@pytest.mark.parametrize("disguised", [False, True])
def test_an_archive_is_not_passed_over_whatever_it_is_called(backup, tmp_path, kind, suffix, disguised):
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "hour.key").write_bytes(new_secret())
    made = shutil.make_archive(str(backup / "vault"), kind, tmp_path / "vault")
    assert made.endswith(suffix)
    if disguised:
        made = shutil.move(made, backup / "blobs" / "notes")
    assert [finding.rpartition(": ")[2] for finding in problems_in(backup)] == [str(made)]


@pytest.mark.parametrize("name", ["vault.tgz", "vault.7z", "VAULT.ZIP", "vault.tar.zst", "vault.tar.aa", "vault.age"])
def test_the_name_of_an_archive_is_enough(backup, name):
    """An encrypted one may be armoured, that is, text."""
    (backup / name).write_text("-----BEGIN AGE ENCRYPTED FILE-----\n")
    (finding,) = problems_in(backup)
    assert finding.endswith(name)


def test_a_blob_elsewhere_than_blobs_lie_is_no_blob(backup):
    (backup / "elsewhere").mkdir()
    (backup / "elsewhere" / new_id()).write_bytes(b"\xff" + new_secret())
    assert len(list(problems_in(backup))) == 1


def test_each_store_recognises_the_files_that_it_makes(tmp_path):
    blobs, vault = LocalDisk(tmp_path / "blobs", min_free_bytes=0), VaultFolder(tmp_path / "vault")
    for each in (blobs, vault):
        each.adopt(INSTALLATION)
    blob_id = run(lambda: store(blobs))
    for name in (some_name(share=False), some_name(share=True)):
        put(vault, name)
    assert blobs.recognises(next(tmp_path.glob(f"blobs/*/{blob_id}")))
    assert not blobs.recognises(tmp_path / "blobs" / "installation")
    made = [path.name for path in tmp_path.glob("vault/*/*")]
    assert len(made) >= 3
    assert all(map(vault.recognises, made))
    assert not vault.recognises("caducee.sqlite")


def test_the_stores_recognise_their_own_files(backup):
    """Another layout needs no change here: a store of that layout recognises its blobs, and a vault its keys."""

    class Flat(LocalDisk):
        def recognises(self, path):
            return path.suffix == ".blob"

    class Cards(VaultFolder):
        def recognises(self, file_name):
            return file_name.endswith(".card")

    for part in ("blobs/AB", "blobs/incoming"):
        shutil.rmtree(backup / part)
    (backup / "blobs" / "one.blob").write_bytes(b"\xff" + new_secret())
    (backup / "key.card").touch()
    found = list(search_backup(backup, Flat(Path("blobs"), min_free_bytes=0), Cards(Path("vault"))))
    assert found == [f"a file of the vault is in the backup: {backup / 'key.card'}"]


def test_a_link_and_a_pipe_are_not_passed_over(backup, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (backup / "vault").symlink_to(tmp_path / "elsewhere")
    (backup / "a.sqlite").symlink_to(backup / "db" / "caducee.sqlite")
    (backup / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(backup / "pipe")
    found = {finding.rpartition("/")[2] for finding in problems_in(backup)}
    assert found == {"vault", "a.sqlite", "dangling", "pipe"}


def test_a_folder_and_a_file_that_may_not_be_read_are_not_passed_over(backup, monkeypatch):
    """What lies in them may be a vault: an error is not an absence."""
    (backup / "vault").mkdir()
    (backup / "vault" / "hour.key").write_bytes(new_secret())
    for path in (backup, *backup.rglob("*")):
        path.chmod(0o755)
    (backup / "vault").chmod(0)
    (backup / "etc" / "caducee.env").chmod(0)
    monkeypatch.chdir(backup)  # the folders above are closed to others
    with bound_by_permissions():
        found = list(problems_in(backup.relative_to(backup)))
    reason = "could not be looked into (Permission denied)"
    assert sorted(found) == [f"{reason}: etc/caducee.env", f"{reason}: vault"]


def test_a_name_that_is_no_utf_8_can_be_told(backup):
    (backup / os.fsdecode(b"\xe9t\xe9.zip")).touch()
    (finding,) = problems_in(backup)
    assert finding.endswith("\\udce9t\\udce9.zip")
