"""The vault's own purge: the third end of a key, which needs no database."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from app.crypto.token import new_id
from app.domain.vault_entry import EntryName
from app.storage.errors import KeyGone, VaultUnavailable
from app.storage.hour_folder import place_of
from app.storage.key_vault import PurgeReport
from tests.integration.storage.vault_places import put

HOUR_BEGINS = datetime(2026, 3, 1, 14, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
NOTHING = PurgeReport(removed=0, hours=0, failed=(), due_left=0)


@pytest.fixture
def store(vault):
    """Put an entry that expires at this instant into the vault; returns its name."""

    def store(expires_at, *, share=False):
        name = EntryName(new_id(), expires_at, new_id() if share else None)
        put(vault, name)
        return name

    return store


@pytest.fixture
def hour_folder(vault_root):
    return vault_root / "2026-03-01T14"


def replace_by_a_full_folder(path):
    """Make a file irremovable, for root too."""
    path.unlink()
    (path / "inside").mkdir(parents=True)


def test_an_entry_goes_at_its_own_second(vault, store):
    due = HOUR_BEGINS + 20 * MINUTE
    first, share, second = store(due), store(due, share=True), store(due + SECOND)
    assert vault.purge(due - timedelta(microseconds=1)) == NOTHING
    assert vault.purge(due) == PurgeReport(removed=2, hours=0, failed=(), due_left=0)
    assert [vault.holds(name) for name in (first, share, second)] == [False, False, True]
    assert vault.purge(due + timedelta(microseconds=999_999)) == NOTHING
    assert vault.purge(due + SECOND).removed == 1
    assert not vault.holds(second)


def test_an_entry_on_the_full_hour_goes_as_that_hour_begins(vault, store, vault_root):
    last, on_the_hour = store(HOUR_BEGINS + HOUR - SECOND), store(HOUR_BEGINS + HOUR)
    assert vault.purge(HOUR_BEGINS + HOUR - SECOND).removed == 1
    assert [vault.holds(name) for name in (last, on_the_hour)] == [False, True]
    assert vault.purge(HOUR_BEGINS + HOUR) == PurgeReport(removed=1, hours=1, failed=(), due_left=0)
    assert not vault.holds(on_the_hour)
    assert [path.name for path in vault_root.glob("2026*")] == ["2026-03-01T15"]


def test_an_hour_ends_with_its_last_second_and_not_before(vault, store, hour_folder):
    store(HOUR_BEGINS + 5 * MINUTE)
    vault.purge(HOUR_BEGINS + HOUR - SECOND)
    assert [path.name for path in hour_folder.iterdir()] == ["hour.key"]
    assert vault.purge(HOUR_BEGINS + HOUR) == PurgeReport(removed=0, hours=1, failed=(), due_left=0)
    assert not hour_folder.exists()


def test_after_a_long_stop_everything_due_goes_at_once(vault, store, vault_root):
    """The scheduler was down for two days; a restart purges (Pingvin Share #36)."""
    names = [store(HOUR_BEGINS + i * HOUR) for i in range(60)]
    report = vault.purge(HOUR_BEGINS + 48 * HOUR)
    assert report == PurgeReport(removed=49, hours=48, failed=(), due_left=0)
    assert sorted(map(place_of, vault.names())) == sorted(map(place_of, names[49:]))
    assert len(list(vault_root.glob("2026*"))) == 12


def test_the_hour_key_goes_before_the_entries(vault, store, hour_folder, monkeypatch):
    store(HOUR_BEGINS)
    (hour_folder / "hour.key.00ff.new").write_bytes(bytes(32))
    (hour_folder / "notes").touch()
    order = []
    unlink = os.unlink

    def note(name, *, dir_fd):
        order.append(name.startswith("hour.key"))
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", note)
    vault.purge(HOUR_BEGINS + HOUR)
    assert order == [True, True, False, False]


def test_leftovers_of_crashed_writers_go_with_their_hour(vault, store, hour_folder):
    """No temporary file survives (after kill -9 all peers kept theirs); this one is a second link to the hour key."""
    store(HOUR_BEGINS + 5 * MINUTE)
    os.link(hour_folder / "hour.key", hour_folder / "hour.key.0123456789abcdef.new")
    (hour_folder / "something else").write_bytes(b"")
    (hour_folder / "an empty folder").mkdir()
    assert vault.purge(HOUR_BEGINS + HOUR) == PurgeReport(removed=1, hours=1, failed=(), due_left=0)
    assert not hour_folder.exists()


def test_in_a_running_hour_files_being_made_are_left_alone(vault, store, hour_folder):
    store(HOUR_BEGINS + 5 * MINUTE)
    (hour_folder / "hour.key.0123456789abcdef.new").write_bytes(b"")
    (hour_folder / "notes").write_bytes(b"")
    assert vault.purge(HOUR_BEGINS + HOUR - SECOND).removed == 1
    assert sorted(path.name for path in hour_folder.iterdir()) == ["hour.key", "hour.key.0123456789abcdef.new", "notes"]


def test_an_entry_goes_by_its_name_alone(vault, store, hour_folder):
    """Whatever is in it, and whatever follows the second in its name."""
    store(HOUR_BEGINS + 5 * MINUTE)
    second = int((HOUR_BEGINS + MINUTE).timestamp())
    (hour_folder / f"{second}.not-an-id").write_bytes(b"x" * 5000)
    assert vault.purge(HOUR_BEGINS + MINUTE).due_left == 0
    assert not (hour_folder / f"{second}.not-an-id").exists()


def test_one_entry_that_resists_stops_no_other(vault, store, vault_root):
    """The first of 100 raises: the other 99 are gone, and the one is reported until it is."""
    names = [store(HOUR_BEGINS + i * MINUTE) for i in range(100)]
    stubborn = vault_root.joinpath(*place_of(names[0]))
    replace_by_a_full_folder(stubborn)
    report = vault.purge(HOUR_BEGINS + 99 * MINUTE)
    assert report.removed == 99
    assert report.failed == ("/".join(place_of(names[0])),)
    assert report.due_left == 1
    assert [name for name in names if vault.holds(name)] == names[:1]
    assert not stubborn.with_name("hour.key").exists()

    (stubborn / "inside").rmdir()
    assert vault.purge(HOUR_BEGINS + 99 * MINUTE) == PurgeReport(removed=1, hours=1, failed=(), due_left=0)


def test_an_hour_key_that_resists_is_reported_and_its_entries_go(vault, store, hour_folder):
    name = store(HOUR_BEGINS + MINUTE)
    replace_by_a_full_folder(hour_folder / "hour.key")
    report = vault.purge(HOUR_BEGINS + HOUR)
    assert report == PurgeReport(removed=1, hours=0, failed=("2026-03-01T14/hour.key",), due_left=1)
    assert not vault.holds(name)


def test_an_hour_that_cannot_be_listed_is_reported_and_the_next_goes(vault, store, hour_folder, tmp_path):
    store(HOUR_BEGINS)
    other = store(HOUR_BEGINS + HOUR)
    hour_folder.rename(tmp_path / "elsewhere")
    hour_folder.symlink_to(tmp_path / "elsewhere")
    report = vault.purge(HOUR_BEGINS + 2 * HOUR)
    assert report == PurgeReport(removed=1, hours=1, failed=("2026-03-01T14/",), due_left=1)
    assert not vault.holds(other)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


def test_a_folder_that_cannot_be_synced_is_no_success(vault, store, hour_folder, monkeypatch):
    store(HOUR_BEGINS + MINUTE)
    fsync = os.fsync

    def fail(descriptor):
        if os.path.samestat(os.fstat(descriptor), hour_folder.stat()):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    report = vault.purge(HOUR_BEGINS + MINUTE)
    assert report == PurgeReport(removed=1, hours=0, failed=("2026-03-01T14/",), due_left=1)


def test_when_nothing_is_due_only_the_running_hour_is_listed(vault, store, vault_root, monkeypatch):
    for i in range(50):
        store(HOUR_BEGINS + i * HOUR + 30 * MINUTE)
    listed = []
    scandir = os.scandir

    def note(path):
        listed.append(os.path.realpath(f"/proc/self/fd/{path}"))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", note)
    assert vault.purge(HOUR_BEGINS - SECOND) == NOTHING
    assert vault.purge(HOUR_BEGINS) == NOTHING
    assert listed == [str(vault_root), str(vault_root), str(vault_root / "2026-03-01T14")]


def test_when_nothing_is_due_nothing_is_synced(vault, store, monkeypatch):
    store(HOUR_BEGINS + 30 * MINUTE)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: pytest.fail("a sync each second for nothing"))
    assert vault.purge(HOUR_BEGINS) == NOTHING


def test_what_is_not_an_hour_stays(vault, vault_root):
    vault.write_mark("mark")
    for other in ("lost+found", "2026", "2026-03-01T14.old"):
        (vault_root / other).mkdir()
    before = sorted(vault_root.iterdir())
    assert vault.purge(HOUR_BEGINS + HOUR) == NOTHING
    assert sorted(vault_root.iterdir()) == before


def test_the_hour_is_taken_in_utc_and_a_time_without_zone_is_refused(vault, store):
    name = store(HOUR_BEGINS)
    with pytest.raises(ValueError, match="zone"):
        vault.purge(HOUR_BEGINS.replace(tzinfo=None))
    assert vault.holds(name)


def test_a_purged_hour_does_not_come_back_with_its_folder(vault, store, hour_folder, tmp_path):
    """A copy of an entry, put back after the purge, opens nothing: its hour key is gone."""
    name = store(HOUR_BEGINS + 30 * MINUTE)
    entry = (hour_folder / place_of(name)[1]).read_bytes()
    vault.purge(HOUR_BEGINS + HOUR)
    hour_folder.mkdir()
    (hour_folder / place_of(name)[1]).write_bytes(entry)
    with pytest.raises(KeyGone):  # even with the clock set back
        vault.open(name, HOUR_BEGINS)
    put(vault, EntryName(new_id(), HOUR_BEGINS + MINUTE))
    with pytest.raises(VaultUnavailable, match="altered"):
        vault.open(name, HOUR_BEGINS)
