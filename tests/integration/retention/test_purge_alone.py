"""`caducee keys expire` runs alone: each run is a new process, which knows only what the vault remembers.

Without a sweeper, the purge records the time itself; otherwise it would stay at the time of the last sweep for ever.
"""

import threading
from datetime import timedelta
from time import sleep

import pytest

from app.actions import expire_keys as module
from app.actions.accept_clock import accept_clock
from app.actions.expire_keys import expire_keys
from app.actions.keep_time import keep_time
from app.db.errors import DatabaseUnavailable
from app.domain.clock import Uptime
from app.runtime.clock import Clock
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import Mark, anchor_mark
from app.storage.vault_folder import VaultFolder
from app.storage.vault_marks import read_boot_time, read_purge_time
from scheduler import timetable as timetable_module
from scheduler.timetable import Timetable
from tests.integration.actions.stories import keys_held, send

MINUTE, HOUR, DAY, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=365)

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def held(resources, caller):
    """It expires in seven days. The sweeper has left the time in the vault, and never runs again."""
    sent = send(resources, caller, lifetime=7 * DAY)
    keep_time(resources)
    return sent


@pytest.fixture
def next_boot(time, monkeypatch):
    """The host restarts: its boot clock begins anew."""
    boots = iter(range(1000))

    def restart() -> None:
        name, began = f"boot-{next(boots)}", time.running
        monkeypatch.setattr(time, "uptime", lambda: Uptime(name, time.running - began))

    return restart


@pytest.fixture
def said(monkeypatch):
    """What the purge says of trouble."""
    events: list[str] = []
    monkeypatch.setattr(module.log, "error", lambda event, **_fields: events.append(event), raising=False)
    return events


def test_days_after_a_reboot_it_still_believes_the_clock(resources, time, purge, held, next_boot, said):
    """The mark of the last sweep is then more than a day old; that is no pause of the host."""
    next_boot()
    while time.moment < held.transfer.expires_at:
        assert purge().removed == 0
        time.pass_by(min(12 * HOUR, held.transfer.expires_at - time.moment))
    assert purge().removed == 2
    assert said == []


def test_across_reboots_it_goes_on_from_its_own_last_run(resources, time, purge, held, next_boot, said):
    for _ in range(7):
        purge()
        time.pass_by(DAY)
        next_boot()
    assert purge().removed == 2
    assert said == []


def test_after_more_than_a_day_switched_off_it_goes_on_a_day_later_and_waits_one_day_of_running(
    resources, caller, time, purge, held, next_boot, said
):
    """By the boot clock what falls due meanwhile is destroyed; the rest when the host's clock is taken."""
    soon, within = send(resources, caller, lifetime=DAY), send(resources, caller, lifetime=DAY + 3 * HOUR)
    time.pass_by(8 * DAY)
    next_boot()
    assert purge().removed == 2
    assert {name.transfer_id for name in keys_held(resources)} == {held.id, within.id}
    assert soon.id not in {held.id, within.id}
    for hours in range(24):
        time.pass_by(HOUR)
        assert purge().removed == (2 if hours == 2 else 0)
    assert set(said) == {"clock_not_trusted"}
    time.pass_by(MINUTE)
    assert purge().removed == 2
    del said[:]
    purge()
    assert said == []


def test_each_reboot_brings_it_on_by_a_day_at_most(resources, time, purge, held, next_boot):
    """Nothing that expires in seven days ends earlier than the seventh of many reboots under a clock a year ahead."""
    time.leap(YEAR)
    for _ in range(6):
        next_boot()
        assert purge().removed == 0
    next_boot()
    assert purge().removed == 2


def test_a_leap_by_a_year_waits_a_day_too(resources, time, purge, held):
    time.leap(YEAR)
    for _ in range(24):
        assert purge().removed == 0
        time.pass_by(HOUR)
    assert purge().removed == 0, "a sweeper that runs takes it first, and logs it"
    time.pass_by(MINUTE)
    assert purge().removed == 2


def test_the_day_begins_with_the_first_run_that_sees_the_leap(resources, time, purge, held):
    """However long ago the run before was."""
    time.pass_by(30 * HOUR)
    time.leap(YEAR)
    assert purge().removed == 0
    time.pass_by(23 * HOUR)
    assert purge().removed == 0


def test_the_operator_s_word_reaches_the_purge_at_once(resources, time, purge, held, next_boot, start_service):
    """Though no sweeper runs that would carry it there."""
    time.pass_by(8 * DAY)
    next_boot()
    assert purge().removed == 0
    accept_clock(start_service())
    assert purge().removed == 2


def test_a_clock_that_is_set_right_is_believed_at_once(resources, time, purge, held, said):
    time.leap(YEAR)
    purge()
    time.leap(-YEAR)
    del said[:]
    purge()
    boot = read_boot_time(resources.vault, "this-boot")
    assert boot is not None
    assert boot.doubt is None
    assert said == []


def test_beside_a_sweeper_it_writes_nothing(resources, time, purge, held):
    for _ in range(3):
        keep_time(resources)
        purge()
        time.pass_by(1)
    assert read_purge_time(resources.vault) is None


# What cannot be read


def test_without_the_sweepers_mark_the_purge_uses_its_own(resources, time, purge, held, said):
    time.pass_by(HOUR)
    purge()
    resources.vault.write_mark("tomorrow")
    time.leap(YEAR)
    assert purge().removed == 0
    time.pass_by(7 * DAY)
    assert purge().removed == 2
    assert "mark_not_kept" in said


def test_without_its_own_mark_the_purge_uses_the_sweepers(resources, time, purge, held, said):
    resources.vault.write_mark("tomorrow", Mark.PURGE_TIME)
    time.pass_by(7 * DAY)
    assert purge().removed == 2
    assert "mark_not_kept" in said


def test_a_purge_that_keeps_running_needs_neither_mark(resources, time, held, said, tmp_path):
    """The scheduler's own purge: its clock counts on from what the vault said before."""
    vault, clock = VaultFolder(tmp_path / "vault"), Clock(time, time.uptime)
    expire_keys(vault, clock)
    for mark in (*Mark, anchor_mark("this-boot")):
        vault.write_mark("tomorrow", mark)
    time.leap(YEAR)
    assert expire_keys(vault, clock).removed == 0
    time.pass_by(7 * DAY)
    assert expire_keys(vault, clock).removed == 2


def test_a_new_process_with_neither_does_not_go_by_the_host_s_word(resources, time, purge, held):
    resources.vault.write_mark("tomorrow")
    resources.vault.write_mark("{}", Mark.PURGE_TIME)
    resources.vault.write_mark("[]", anchor_mark("this-boot"))
    with pytest.raises(VaultUnavailable):
        purge()


def test_a_vault_that_cannot_keep_the_time_is_purged_all_the_same(resources, time, purge, held, said, monkeypatch):
    def full(_vault, _text, _mark=None):
        raise VaultUnavailable("key vault, write the mark: No space left on device")

    monkeypatch.setattr(VaultFolder, "write_mark", full)
    time.pass_by(7 * DAY)
    assert purge().removed == 2
    assert said == ["mark_not_kept"]


def test_a_lost_installation_file_holds_up_no_expiry(resources, time, purge, held):
    """It is loud each time, since an empty folder would look the same; the keys are gone before that."""
    (resources.settings.vault_dir / "installation").unlink()
    time.pass_until(held.transfer.expires_at)
    with pytest.raises(VaultUnavailable, match="no installation file"):
        purge()
    assert [path.name for path in resources.settings.vault_dir.glob("20*/*")] == ["hour.key"]


def test_it_runs_though_every_other_job_hangs_on_the_database(resources, time, held, monkeypatch):
    """A PostgreSQL that takes connections and does not answer: the sweeper's threads are all lost to it."""
    answers, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(timetable_module, "Clock", lambda: Clock(time, time.uptime))
    for name in ("SWEEP", "PURGE", "CHECKPOINT", "RECONCILE", "PRUNE"):
        monkeypatch.setattr(timetable_module, f"{name}_SECONDS", 0.05)

    def hang(_settings):
        answers.wait(20)
        raise DatabaseUnavailable("no answer")

    monkeypatch.setattr(timetable_module, "open_resources", hang)
    thread = threading.Thread(target=Timetable(resources.settings).run, args=(stop,))
    thread.start()
    try:
        sleep(0.5)
        time.pass_until(held.transfer.expires_at)
        sleep(0.5)
        assert keys_held(resources) == set()
    finally:
        stop.set()
        answers.set()
        thread.join(20)
