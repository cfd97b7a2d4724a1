"""The truth table of docs/deletion.md: host, vault and database each wrong; running, restarted, one-shot `keys expire`.

Whatever is wrong, nothing is destroyed earlier than the bounds allow, nothing is held more than five minutes past its
true second while something runs, and a lie is red while it stands (lessons 12, 38 and 39).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from sqlalchemy import update

from app.actions.accept_clock import accept_clock
from app.actions.accept_vault import accept_older_vault
from app.actions.check_readiness import check_readiness
from app.actions.expire_keys import expire_keys
from app.actions.keep_time import keep_time_or_alert
from app.db.tables import service_state
from app.domain.errors import Refusal
from app.runtime.clock import Clock
from app.storage.key_vault import Mark
from app.storage.vault_folder import VaultFolder
from tests.integration.actions.stories import a_transfer, claim, keys_held, run, send, sweep
from tests.marks import first
from tests.unit.docs_tables import rows

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DAY, DECADE = timedelta(days=1), timedelta(days=3650)
LIFETIME = 6 * HOUR
STEP = 10 * SECOND


def _alter(resources, **values) -> None:
    with resources.database.writing() as transaction:
        transaction.connection.execute(update(service_state).values(values))


def _shift(column: str, by: timedelta):
    def shift(resources, _time, _old) -> None:
        with resources.database.writing() as transaction:
            at = transaction.connection.execute(service_state.select()).one()._mapping[column]
            transaction.connection.execute(update(service_state).values({column: at + by}))

    return shift


def _lose_marks(resources, _time, _old) -> None:
    for path in resources.settings.vault_dir.iterdir():
        if path.name in set(Mark) or path.name.startswith("anchor."):
            path.unlink()


def _restore_marks(resources, _time, old: dict[str, bytes]) -> None:
    for name, content in old.items():
        (resources.settings.vault_dir / name).write_bytes(content)


class Wrong(NamedTuple):
    """What is wrong, as the row of the table names it: how it comes about; how early and how late things may end; what
    is red, if it is; and whether that ends by itself.
    """

    alter: Callable[..., None]
    early: timedelta
    late: timedelta
    red: str | None
    heals: bool = False


HOST = {
    "host a year ahead": Wrong(
        lambda _r, time, _o: time.leap(timedelta(days=365)), 5 * MINUTE, STEP, "clock_not_trusted"
    ),
    "host a day behind": Wrong(lambda _r, time, _o: time.leap(-DAY), timedelta(0), STEP, "clock_not_trusted"),
    "host 30 minutes ahead": Wrong(
        lambda _r, time, _o: time.leap(30 * MINUTE), HOUR, STEP, "clock_not_trusted", heals=True
    ),
    "machine paused for 30 minutes": Wrong(
        lambda _r, time, _o: time.leap(30 * MINUTE), timedelta(0), 5 * MINUTE, "clock_not_trusted", heals=True
    ),
}
VAULT = {
    "vault is yesterday's copy": Wrong(_restore_marks, timedelta(0), STEP, "vault_rolled_back"),
    "vault without its marks": Wrong(_lose_marks, timedelta(0), STEP, "vault_rolled_back"),
}
DATABASE = {
    "database's mark 10 years ahead": Wrong(_shift("time_mark", DECADE), timedelta(0), STEP, "clock_not_trusted"),
    "database's mark 10 years back": Wrong(_shift("time_mark", -DECADE), timedelta(0), STEP, None),
    "database's anchor 10 years ahead": Wrong(_shift("anchor_at", DECADE), timedelta(0), STEP, "clock_not_trusted"),
    "database's anchor 10 years back": Wrong(_shift("anchor_at", -DECADE), timedelta(0), STEP, "clock_not_trusted"),
}
TABLE = {**HOST, **VAULT, **DATABASE}


@pytest.fixture
def yesterday(resources, time, caller) -> dict[str, bytes]:
    """The vault's marks as they were a day ago, in the same boot. The log has grown since."""
    keep_time_or_alert(resources)
    vault = resources.settings.vault_dir
    old = {path.name: path.read_bytes() for path in vault.iterdir() if path.is_file() and path.name != "installation"}
    time.pass_by(DAY)
    _tick(resources)
    a_transfer(resources, caller, lifetime=MINUTE)
    time.pass_by(MINUTE)
    _tick(resources)
    return old


def _tick(resources) -> None:
    """What a scheduler does, and its purge with a clock of its own."""
    keep_time_or_alert(resources)
    sweep(resources)


class Seen(NamedTuple):
    """When the last key was seen to be gone, in true time, and what was ever red."""

    gone_at: datetime | None
    red: set[str]


def _watch(resources, time, work, *, true_now: datetime, true_end: datetime) -> Seen:
    """Let time pass until ten minutes past the end, and do what runs meanwhile. Moments are true ones: those of a watch
    on somebody's wrist, which nobody sets.
    """
    gone_at, red = None, set[str]()
    while true_now < true_end + 10 * MINUTE:
        near = abs(true_end - true_now) < 10 * MINUTE or true_end - true_now > LIFETIME - 5 * MINUTE
        step = STEP if near else 5 * MINUTE
        time.pass_by(step)
        true_now += step
        work()
        red |= set(check_readiness(resources))
        if gone_at is None and not keys_held(resources):
            gone_at = true_now
    return Seen(gone_at, red)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("how", first(1, ["restarted", "running", "keys expire"]))
@pytest.mark.parametrize("what", TABLE)
def test_each_row_of_the_table(what, how, resources, caller, time, yesterday, start_service, tmp_path):
    wrong = TABLE[what]
    sent = send(resources, caller, lifetime=LIFETIME)
    keep_time_or_alert(resources)
    true_end = sent.transfer.expires_at
    true_now = time.moment + (30 * MINUTE if what.startswith("machine paused") else timedelta(0))
    wrong.alter(resources, time, yesterday)
    if how == "restarted":
        resources = start_service()
    vault = tmp_path / "vault"
    work = {
        "running": lambda: _tick(resources),
        "restarted": lambda: _tick(resources),
        "keys expire": lambda: expire_keys(VaultFolder(vault), Clock(time, time.uptime)),
    }[how]
    seen = _watch(resources, time, work, true_now=true_now, true_end=true_end)
    assert seen.gone_at is not None
    assert true_end - wrong.early <= seen.gone_at <= true_end + wrong.late + STEP
    if how != "keys expire":
        assert (wrong.red in seen.red) if wrong.red else (seen.red <= {"retention_not_assured"})
        assert (check_readiness(resources) == []) == (wrong.red is None or wrong.heals)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("what", [name for name, wrong in TABLE.items() if wrong.red and not wrong.heals])
def test_what_is_red_refuses_both_ways_until_the_documented_word(what, resources, caller, time, yesterday):
    sent = send(resources, caller, lifetime=DAY)
    TABLE[what].alter(resources, time, yesterday)
    keep_time_or_alert(resources)
    for refused in (lambda: a_transfer(resources, caller), lambda: run(claim(resources, sent.share))):
        with pytest.raises(Refusal) as refusal:
            refused()
        assert refusal.value.code == TABLE[what].red
    if TABLE[what].red == "vault_rolled_back":
        accept_older_vault(resources)
    else:
        accept_clock(resources)
    _tick(resources)
    assert check_readiness(resources) == []


@pytest.mark.parametrize("by", [-10 * HOUR, 13 * HOUR])
def test_a_lost_anchor_is_no_reboot(resources, caller, time, start_service, by):
    """Whoever ends every process, removes one file of the vault and sets the clock moves the time by five minutes at
    most: the other marks carry the anchor of this boot too.
    """
    send(resources, caller, lifetime=LIFETIME)
    keep_time_or_alert(resources)
    (anchor,) = resources.settings.vault_dir.glob("anchor.*")
    anchor.unlink()
    _alter(resources, anchor_at=None, anchor_boot_id=None, anchor_boot_seconds=None)
    time.pass_by(10 * HOUR)
    true_now = time.moment
    time.leap(by)
    late = start_service()
    _tick(late)
    assert timedelta(0) <= late.clock.now() - true_now <= 5 * MINUTE
    assert check_readiness(late) == ["clock_not_trusted"]
    assert keys_held(late) == set()


def test_a_vault_that_lost_every_mark_is_remembered_by_the_signers_folder(resources, caller, time, start_service):
    send(resources, caller, lifetime=LIFETIME)
    keep_time_or_alert(resources)
    _lose_marks(resources, time, {})
    time.leap(DAY)
    late = start_service()
    _tick(late)
    assert len(keys_held(late)) == 2
    assert "vault_rolled_back" in check_readiness(late)


def test_a_mere_stop_is_not_red(resources, caller, time, start_service):
    """Of the service for days, in one boot: the boot clock counted on."""
    sent = send(resources, caller, lifetime=LIFETIME)
    keep_time_or_alert(resources)
    time.pass_by(5 * DAY)
    late = start_service()
    _tick(late)
    assert check_readiness(late) == []
    assert keys_held(late) == set()
    assert sent.id


def test_the_table_is_the_one_that_is_documented():
    assert [row[0] for row in rows("docs/deletion.md", "what is wrong")] == list(TABLE)
